/* The engine: what to do next, and what all of it will be. Pure: values and the time in, values
 * out; no I/O, no clock.
 *
 * next(want, world, now) gives the steps that are possible now, what is being waited for, and what
 * is stuck. predict(world, step) is the world after a step. A plan is both run to the end on paper;
 * applying is a loop around next() that refuses any step not in the printed plan. So a crash at
 * any byte is followed by the same loop, and ordering lives here alone.
 *
 * Each kind is a row of pure functions (kind_*.c): what it needs before it can be made, in what it
 * differs, what it becomes.
 */
#pragma once
#include "cloud/kinds.h"
#include "cloud/resource.h"

typedef struct Step {
    KindVerb verb;
    ResourceKind kind;
    char *key;
    int generation;
    char *detail; /* KIND_UNRULE: the rule; KIND_GRANT: the role; KIND_ATTACH and KIND_DETACH of a
                     server: the volume; KIND_RENAME: the new key; KIND_SEND: "stop" or NULL */
    char *id;     /* of the found object (delete of a duplicate is of exactly that one); or NULL */
    char *reason; /* "not there", "rule missing: in tcp 5432 group:web", "no longer in the file" */
    int downtime_s; /* an estimate for people; 0 none */
    char *loss;     /* "50 GB of data", or NULL */
} Step;
typedef VEC(Step) Steps;

/* `what` of a host of which nothing has been heard for MAIL_SILENT. */
#define WAIT_SILENT "silent"

typedef struct Wait {
    ResourceKind kind;
    char *key;
    char *what;    /* "booting", "volume is being created", "host is starting services" */
    Msec since;    /* 0: not known */
    Msec deadline; /* when it will be called stuck; 0: not known */
} Wait;
typedef VEC(Wait) Waits;

typedef struct Stuck {
    ResourceKind kind;
    char *key;
    char *why;    /* the service's words where there are any */
    int err_kind; /* ErrKind: HEALTH for a host, PARTIAL for the rest */
    char *report; /* object in the mail container whose body says more (a host); or NULL */
} Stuck;
typedef VEC(Stuck) Stucks;

typedef struct Next {
    Steps steps;
    Waits waits;
    Stucks stucks;
} Next; /* all three empty: done */

typedef struct Goal {
    ResourceVec want;
    bool destroy;     /* nothing is wanted: `want` is only for words */
    bool data;        /* protected things (island_protects) go as well, when nothing wants them */
    bool rebuild;     /* a server whose image is not the file's is rebuilt; its root disk is lost */
    StrList release;  /* names in the cloud, typed by a person: these protected things may go */
    StrList replace;  /* ids of servers to be made anew (of what was there when it was asked) */
    StrList only;     /* "web", "web.0", "volume.db.0"; empty: everything. Other steps wait */
    Msec run_started; /* duplicates younger than this may be removed; 0: none */
} Goal;

/* What is wanted of that kind and key; NULL: nothing is. */
const Resource *goal_find(const Goal *g, ResourceKind kind, const char *key);

/* Metadata of a server that is to be replaced (KIND_MARK). */
#define PLAN_MARK "atoll-replace"

/* ERR_AMBIGUOUS when two objects claim one key and the younger one is used or older than this run:
 * prints both with ids. */
int plan_next(const Goal *g, const World *w, Msec now, Next *ret, Err *err) _must_check_;
/* The world after a step, as far as it can be known ("?" for ids and addresses). */
void plan_predict(const Goal *g, World *w, const Step *s);
/* The world when everything that is under way has come to a good end: builds, first boots, deletes.
 */
void plan_settle(World *w);
/* All steps in order, by next and predict from `w` on; ERR_BUG if it does not end. Steps that an
 * earlier, unfinished run left half done are in it as well. */
int plan_make(const Goal *g, const World *w, Msec now, Steps *ret, Err *err) _must_check_;
/* True if the plan has that step (verb, kind, key, generation, detail; a KIND_SEND whose spec has
 * become known meanwhile is the same step, and one that stops a host belongs to the removal of its
 * server). */
bool plan_has(const Steps *plan, const Step *s);
/* One line for a person: "+ server web.0   c1.c2r2, debian-12   not there"; for --json an object.
 */
void plan_line(const Goal *g, const Step *s, Buf *out);
/* "create server web.0 (not there)", inside a sentence; to be freed. */
char *plan_words_new(const Step *s);
/* "2 things are still under way, the first: host web.0 is silent (for 12 min)"; nothing if there
 * are no waits. */
void plan_under_way(const Next *n, Msec now, Buf *out);
/* "! server web.0   flavor is big, ...": what no step can put right. */
void plan_stuck_line(const Stuck *s, Buf *out);
json_t *plan_step_json_new(const Goal *g, const Step *s);

void goal_clear(Goal *g);
void steps_clear(Steps *s);
void next_clear(Next *n);
DEFINE_CLEAR(Goal, goal_clear)
DEFINE_CLEAR(Steps, steps_clear)
DEFINE_CLEAR(Next, next_clear)
