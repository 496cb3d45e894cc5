/* Calls on their way: requests in rounds, until each call has its answer or has failed for good.
 *
 * Inside cloud/ only: batch.c sends calls and logins this way.
 */
#pragma once
#include "cloud/login.h"

/* A call on its way: the request that is due next (a retry, another page). */
typedef struct Flight {
    Call *call;
    char *url;
    Buf body;
    StrList headers;
    json_t *joined; /* the list so far */
    size_t pages;
    unsigned logins; /* cloud->logins when it was sent */
    int minor;       /* Nova's, as sent */
    int tries;       /* of this request */
    Msec started, due;
    bool is_login;   /* without a token */
    bool is_version; /* the version document */
    bool relogged, renegotiated;
    bool wants_login, wants_version;
    bool done;
} Flight;

/* The request as far as it is the same in every try; `base` is the service's address. */
void flight_prepare(Flight *f, const char *base);
void flight_clear(Flight *f);
/* Flies all that are not done; each call's outcome is in the call. */
void flight_run(Flight *flights, size_t n);
/* Ends one without an answer. */
void flight_land(Flight *f);
/* Copies an error: one login fails for several calls. */
void flight_copy_err(Err *to, const Err *from);
