/* Inside plan/ only: what the loop of apply.c asks of the outside. The real one is apply_cloud.c;
 * tests have a cloud of their own that fails as they like. Functions return 0 or a negative kind.
 */
#pragma once
#include "plan/apply.h"

typedef enum DoingOutcome {
    DOING_FAILED,
    DOING_DONE,
    DOING_UNKNOWN, /* it may or may not have happened: look before doing it again */
    DOING_THERE,   /* a create was refused because something is there already */
    DOING_LATER    /* refused for now: something still depends on it, or is at work on it */
} DoingOutcome;

typedef struct Doing {
    const Step *step;
    DoingOutcome outcome;
    Err err;           /* unless DONE */
    Resource resource; /* DONE of a KIND_CREATE: what it became; taken by the loop */
    Msec took_ms;
    size_t try; /* the loop's own: which of Run.tries */
} Doing;

typedef struct ApplyDriver {
    /* All at once; each has its own outcome. An error is of the whole (no vault): nothing more can
     * be done. */
    int (*perform)(void *d, const Goal *g, const World *w, Doing *doing, size_t n, Err *err);
    /* Lists kinds (bits, HOST too) anew. */
    int (*look)(void *d, unsigned mask, World *w, Err *err);
    int (*lease_take)(void *d, bool *ret_took_over, Msec *ret_since, Err *err);
    int (*lease_renew)(void *d, Err *err);
    void (*lease_drop)(void *d);
    Msec (*now)(void *d);
    Msec (*mono)(void *d);
    void (*pause)(void *d, Msec ms); /* ends early when the run is to stop */
    /* Under the lease, when all else is done: takes away what only takes room. What fails is for
     * the next run. NULL: nothing is. */
    void (*tidy)(void *d, const World *w);
    /* A host's report in words; to be freed, or NULL. */
    char *(*report)(void *d, const char *object);
} ApplyDriver;

/* The found resource that a step is about: by id where it names one; NULL if it is not there. */
Resource *plan_target(const World *w, const Step *s);
/* What a KIND_SEND tells a host; NULL if it can't be told yet. */
json_t *plan_sent_spec_new(const Goal *g, const World *w, const Resource *host, const Step *s);
/* Lists kinds (bits, HOST too) anew into *w. */
int apply_look_kinds(const ApplyLook *l, unsigned mask, World *w, Err *err) _must_check_;
extern const ApplyDriver apply_cloud_driver;

int apply_with(const ApplyContext *c, const ApplyDriver *driver, void *d, const Goal *g,
               const Steps *plan, World *w, Err *err) _must_check_;

#define KIND_BIT(k) (1u << (k))
#define KIND_ALL ((1u << RESOURCE_KINDS) - 1)
/* Kinds of which the cloud takes any number by one name. A server's port is no guard: of two POSTs
 * that name it at once, both are accepted (doc/clouds.md). */
#define KINDS_UNGUARDED                                                                            \
    (KIND_BIT(RESOURCE_NETWORK) | KIND_BIT(RESOURCE_ROUTER) | KIND_BIT(RESOURCE_GROUP) |           \
     KIND_BIT(RESOURCE_SERVER_GROUP) | KIND_BIT(RESOURCE_FLOATING_IP) | KIND_BIT(RESOURCE_PORT) |  \
     KIND_BIT(RESOURCE_VOLUME) | KIND_BIT(RESOURCE_USER) | KIND_BIT(RESOURCE_SERVER))
