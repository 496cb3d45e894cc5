/* Inside plan/ only: what a lease's description says, and who holds. Pure, but for asking this
 * machine whether a process of it lives. */
#pragma once
#include "base/buf.h"
#include "base/json.h"
#include "base/time.h"
#include "base/vec.h"

typedef struct LeaseText {
    char *id;
    char *holder; /* "jo@laptop" */
    char *run;    /* "<machine>:<pid>:<start ticks>:<nonce>" */
    Msec until;
    Msec created_at; /* by the cloud's clock */
} LeaseText;
typedef VEC(LeaseText) LeaseTexts;

/* "atoll-lease:reef holder=jo@laptop run=... until=..."; to be freed. */
char *lease_text_new(const char *island, const char *holder, const char *run, Msec until);
/* The leases of an island among a list of security groups; others of that name are not ours. */
void lease_read(const json_t *groups, const char *island, LeaseTexts *ret);
void lease_texts_clear(LeaseTexts *l);
DEFINE_CLEAR(LeaseTexts, lease_texts_clear)

/* This process. To be freed. `nonce`: text that no other run has. */
char *lease_run_new(const char *nonce);
/* False when `run` names a process of this machine that is gone. Others' are taken for living. */
bool lease_run_lives(const char *run);

typedef enum LeaseElection {
    LEASE_WON,
    LEASE_TIE, /* made in the same moment, and ours would be the first: look again a second later */
    LEASE_LOST /* *ret_other holds */
} LeaseElection;
/* Among the living ones (not expired at `now`): does the one with our id hold? The oldest by
 * (created_at, id) does; but who was first within one second can't be told from created_at alone.
 */
LeaseElection lease_elect(const LeaseTexts *l, const char *id, Msec now,
                          const LeaseText **ret_other);
