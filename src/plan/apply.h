/* Looking at the world, and the loop that makes it what is wanted.
 *
 * apply_run holds the lease, looks, asks plan_next, performs the steps in parallel, looks again at
 * only the kinds it waits for, and so on to the end. It refuses any step that was not in the
 * printed plan (ERR_CHANGED). It can be killed at any byte: the next run goes on.
 */
#pragma once
#include "cloud/kinds.h"
#include "host/vault.h"
#include "island/island.h"
#include "plan/ask.h"
#include "plan/plan.h"

typedef struct ApplyEvent {
    enum {
        APPLY_START,  /* a step begins */
        APPLY_DONE,   /* it is done */
        APPLY_FAILED, /* it failed; err */
        APPLY_WAIT,   /* still waiting for a resource; what; since_ms */
        APPLY_LEASE   /* waiting for another holder; what */
    } what;
    ResourceKind kind;
    const char *key;
    const Step *step; /* for START, DONE, FAILED */
    const char *words;
    Msec took_ms;
    const Err *err;
} ApplyEvent;

typedef struct ApplyContext {
    const Clouds *clouds;
    const Island *island;
    /* Opens the island's vault, making it at the first run. Asked when the first step needs a
     * secret; by then the vault's container is there. Destroy never asks. */
    int (*need_vault)(void *need_vault_user, const Vault **ret, Err *err);
    /* Called once, with the vault open, before the first host is told anything: puts into the vault
     * what is the operator's to give (the certificate). The mail container is there. Or NULL. */
    int (*before_send)(void *need_vault_user, Err *err);
    void *need_vault_user;
    const char *package; /* path of atoll's own .deb; for servers to be made */
    /* A tree's archive on this machine, of which version, and what is known of those in the cloud
     * (host/tree.h). */
    const char *tree, *tree_version;
    json_t *trees;
    const char *cache_dir;
    const char *holder; /* who holds the lease: "jo@laptop" */
    Msec lease_wait_ms; /* how long to wait for another holder; 0: not at all */
    Msec timeout_ms;    /* for one wait; 0: 10 min. For a silent host never longer than that */
    int64_t release;    /* as in ApplyLook */
    bool no_wait; /* leave when only hosts are waited for: they come up by themselves, and another
                     run sends them their settings */
    const volatile sig_atomic_t *stop;
    void (*event)(void *user, const ApplyEvent *e);
    void *user;
} ApplyContext;

/* Of what, and of which time: listings of a busy Swift may be old. */
typedef struct ApplyLook {
    const Clouds *clouds;
    const Island *island;
    int64_t release; /* the record that is known to be there (host/release.h): a listing without it
                        is asked for anew, once a second, for so long as APPLY_LOOKS */
    const volatile sig_atomic_t *stop; /* or NULL */
} ApplyLook;
#define APPLY_LOOKS 15

/* Everything a plan needs: world_facts and world_look, the mail with it. *ret is dropped first.
 * ERR_TEMPORARY if the listings do not show l->release in time. */
int apply_look(const ApplyLook *l, const char *cache_dir, Msec now, World *ret,
               Err *err) _must_check_;
/* Is a found server on its way out: being deleted, or told to stop for good? (A stop that is for a
 * replacement is not.) */
bool apply_going(const World *w, const Resource *server);
/* Which servers of a tier are there, as bits; those that are going are not. */
uint64_t apply_numbers(const World *w, const char *tier);
/* The highest go above `max`, the lowest that are free come below `min`. */
uint64_t apply_clamp(uint64_t numbers, int min, int max);
/* The wanted side of an island, island_want in a Goal, with what the command line asks; a
 * scaled tier wants what is there, within its bounds. Errors: as
 * goal_ask. *ret is the caller's to clear also then. */
int apply_goal(const Island *i, const World *w, const GoalAsk *ask, Goal *ret,
               Err *err) _must_check_;
/* Performs. `w` is the world the plan was made of, and is the last one seen afterwards. Also with
 * an empty plan the lease is taken and dropped: what a run that died left of it goes.
 * ERR_PARTIAL when it ended early but safe to rerun (if not one step was done, the kind of the
 * first failure), ERR_HELD, ERR_CHANGED, ERR_AMBIGUOUS, ERR_HEALTH, ERR_INTERRUPTED (in-flight
 * calls were finished). */
int apply_run(const ApplyContext *c, const Goal *g, const Steps *plan, World *w,
              Err *err) _must_check_;
