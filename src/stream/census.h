/* How many connections a client address and an account have, whichever loop they are on. One for
 * all loops of a server, under a lock: it is asked when a client logs in and when it goes. */
#pragma once
#include "stream/hub.h"
#include <pthread.h>

typedef struct Census {
    pthread_mutex_t lock;
    bool several; /* loops: else the account's own count is the one there is */
    Hub hub;      /* only its addresses and accounts */
} Census;

void census_init(Census *c, bool several);
void census_clear(Census *c);

/* One connection more of this address; *ret_conns: how many there are now. The caller keeps the
 * address for census_leave_address. */
Address *census_enter_address(Census *c, const char *text, uint64_t *ret_conns);
void census_leave_address(Census *c, Address *a);
/* One connection more of an account, which the loop's hub has counted; returns how many in all. */
uint64_t census_enter_account(Census *c, const Account *a);
void census_leave_account(Census *c, const Account *a); /* takes NULL; before the hub forgets it */
