/* Inside plan/ only: one row of pure functions for each kind of resource.
 *
 * A row answers four questions: can it be made now, is what was found usable, in what does it
 * differ from what is wanted, can it go. plan.c asks them in the order of kinds and knows no kind
 * itself.
 */
#pragma once
#include "island/roles.h"
#include "plan/plan.h"

/* One call of plan_next. */
typedef struct Turn {
    const Goal *g;
    const World *w;
    Msec now;
    Next *next;
    bool *skip;             /* of each item of w: a younger duplicate, which counts for nothing */
    VEC(Resource *) wanted; /* copies of g->want in a later generation (turn_want) */
    const char *blocked;    /* why something is not as wanted: the first reason, for a dead end */
    char *blocked_key;
    ResourceKind blocked_kind;
} Turn;

typedef struct State {
    /* LEAVING: a removal is under way; nothing to do but wait, wanted or not. */
    enum { STATE_READY, STATE_WAIT, STATE_LEAVING, STATE_STUCK } is;
    const char *what;  /* unless READY; a literal, or the resource's own text */
    Msec since, limit; /* WAIT: when it began, and how long is too long; 0: not known */
} State;

typedef struct PlanKind {
    /* Why it can't be made yet, or NULL. Row's function may be NULL: it needs nothing. */
    const char *(*blocked)(const Turn *t, const Resource *want);
    /* NULL: what is there is usable. */
    State (*state)(const Resource *have);
    /* Emits the steps (or stucks) that make a usable `have` what is wanted. */
    void (*differ)(Turn *t, const Resource *want, const Resource *have);
    /* Emits what must come before its removal: true if it did, or if it can't go yet (then with
     * turn_blocked). NULL: it may go. */
    bool (*leave)(Turn *t, const Resource *have);
    /* What a found one is beyond the wanted attrs, right after its creation. */
    void (*made)(json_t *attrs);
    const char *status; /* of one that is ready; "" where the service has none */
    /* A few words for a plan's line. */
    void (*words)(const Resource *r, Buf *out);
} PlanKind;

const PlanKind *plan_kind(ResourceKind kind);
extern const PlanKind plan_network, plan_subnet, plan_router, plan_interface, plan_port,
    plan_floating_ip, plan_group, plan_server_group, plan_volume, plan_server, plan_user,
    plan_container, plan_host;

/* What was found, the oldest of duplicates and of the highest generation; NULL if not there. */
const Resource *turn_find(const Turn *t, ResourceKind kind, const char *key);
/* The same, of one generation. */
const Resource *turn_find_at(const Turn *t, ResourceKind kind, const char *key, int generation);
/* The same as turn_find, only if it is usable. */
const Resource *turn_ready(const Turn *t, ResourceKind kind, const char *key);
const Resource *turn_ready_at(const Turn *t, ResourceKind kind, const char *key, int generation);
/* What is wanted that a found one is to become (`moved:`), or NULL. */
const Resource *goal_moved(const Goal *g, const Resource *have);
/* The reverse: what is there under the old key, unless that is wanted too. */
const Resource *turn_moved(const Turn *t, const Resource *want);
/* `want` in another generation: its name has it, too. */
Resource want_at_new(const Resource *want, int generation);
/* What is wanted, in the generation that is to be there: a server without volumes is replaced by
 * one that stands beside it, with a port and a host of its own. Valid for this turn. */
const Resource *turn_want(Turn *t, const Resource *want);
/* A server that carries PLAN_MARK. */
bool is_marked(const Resource *server);
/* The host that is to run there is there, was told what it is to be, and is at it. */
bool turn_told(const Turn *t, const Resource *want);
/* All hosts but `except` (a found SERVER, or NULL) are. */
bool turn_all_told(const Turn *t, const Resource *except);
/* How long a server is away while it is made anew: by what its first boot took; for people. */
int turn_boot_s(const Turn *t, const char *key);
/* Tells the host to stop its services, and waits until it has: true until then. */
bool host_stop(Turn *t, const Resource *server);
/* True if that has come about: it was told, and its services have stopped. */
bool host_stopped(const Turn *t, const Resource *server);
/* What its host keeps on its root disk; to be freed, or NULL. */
char *root_disk_loss_new(const Turn *t, const Resource *server);
/* Another host that keeps what `role` of the wanted HOST would begin without; NULL: nothing is left
 * behind. A volume that is there, or becomes its own (`moved:`), is what it goes on with. `when`:
 * "keeps" by its newest bundle, or "kept" by any (host/mail.h). */
const Resource *data_elsewhere(const Turn *t, const Resource *want, Role role, const char *when);
/* A server is plugged into its port when it is made: a wanted PORT that is not there, or a found
 * one on which nothing is, is stuck while the server runs. True if so. */
bool port_lost(Turn *t, const Resource *port);
/* A new server of the island is on its way, other than `self` (a HOST or SERVER, wanted or found).
 */
bool others_come_up(Turn *t, const Resource *self);
/* The id that `attr` had before it became a key. */
const char *linked_id(const Resource *r, const char *attr);
/* The tier of "web.0" is that of "web.1"? */
bool same_tier(const char *a, const char *b);
/* For turn_any: a VOLUME of the server with the key `with`, of any generation. */
bool is_volume_of(const Turn *t, const Resource *r, const void *with);
/* True if it is to stay: wanted, and not replaced by a later generation. */
bool turn_wanted(const Turn *t, const Resource *have);
/* Calls with each found resource of a kind that counts; stops at the first true. */
const Resource *turn_any(const Turn *t, ResourceKind kind,
                         bool (*test)(const Turn *t, const Resource *r, const void *with),
                         const void *with);

/* `detail` may be NULL. The result is valid until the next one. */
Step *turn_step(Turn *t, KindVerb verb, const Resource *of, const char *detail, const char *reason,
                ...) _printf_(5, 6);
void turn_stuck(Turn *t, const Resource *of, int err_kind, const char *why, ...) _printf_(4, 5);
void turn_wait(Turn *t, const Resource *of, const State *s);
/* Nothing that --only has left out counts. */
void turn_blocked(Turn *t, const Resource *of, const char *why);
/* --only: "web", "web.0", "volume.db.0". */
bool is_asked(const Goal *g, ResourceKind kind, const char *key);
/* Emits a stuck for an attribute that would need a resize or a replacement, which are not built:
 * false. True if it is as wanted. Values are compared as they are; `instead` is what to do. */
bool turn_same(Turn *t, const Resource *want, const Resource *have, const char *attr,
               const char *instead);

/* Arrays of texts, in any order. */
bool list_same(const json_t *a, const json_t *b);
/* "in tcp 5432 group:web" -> "web"; NULL for other rules. */
const char *rule_group(const char *rule);
