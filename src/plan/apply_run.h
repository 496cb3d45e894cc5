/* Inside plan/ only: a run of apply.c, whose parts are in apply_fold.c (what became of steps) and
 * apply_end.c (what to say at the end). */
#pragma once
#include "plan/apply_driver.h"
#include "plan/kind.h"

#define POLL_FIRST ((Msec)300)
#define POLL_MAX (2 * SECOND)

/* What is known of a step that was tried. */
typedef struct Try {
    char *name;
    int done, unknown;
    Msec later_since; /* mono, of the first DOING_LATER; 0: none */
    Msec not_before;  /* mono */
    bool failed;
} Try;

typedef struct Watch {
    char *name; /* of a wait: kind, key, what */
    Msec since; /* mono */
    bool seen, over;
} Watch;

typedef struct Made {
    Resource r;
    Msec at; /* mono */
} Made;

typedef struct Run {
    const ApplyContext *c;
    const ApplyDriver *o;
    void *d;
    Goal g; /* shallow copy; run_started is by the lease */
    const Steps *plan;
    World *w;
    VEC(Try) tries;
    VEC(Watch) watches;
    VEC(Made) made;
    size_t done, failed, polls;
    Err first; /* the first step's that failed */
    Msec poll;
    bool look_twice; /* before the first create that nothing guards */
    bool suspicious; /* a create may have happened twice: look once more at the end */
    bool looked_at_end;
} Run;

bool run_stopped(const Run *r);
void run_event(const Run *r, ApplyEvent e);
void run_step_event(const Run *r, unsigned what, const Doing *d, const Err *err);
Watch *run_watch(Run *r, const Wait *w);
/* Lists the kinds in `mask` (0: nothing) anew; what was made a moment ago stays. */
int run_look(Run *r, unsigned mask, Err *err) _must_check_;
/* The kinds in which a step shows. */
unsigned run_touched(const Step *s);
/* Counts it, tells it, and never tries it again. */
void run_fail(Run *r, Doing *d);
/* Takes a batch's outcomes into the world; looks where they show only there. */
int run_fold(Run *r, Doing *doing, size_t n, Err *err) _must_check_;
/* The run's result, when nothing more can be done. */
int run_conclude(Run *r, const Next *next, Err *err);
