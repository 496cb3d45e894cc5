/* A group of servers that Heat has: its stack, the parameters that size it, its members, and the
 * requests that change it.
 *
 * Two kinds, and what of their template has to come from parameters, since a PATCH of parameters is
 * all that is sent (`size` and `victims` may have any names; they are read from the template):
 *
 *   OS::Heat::ResourceGroup       count: {get_param: size}
 *                                 removal_policies: [{resource_list: {get_param: victims}}]
 *     A name in resource_list goes, whatever the count is. It stays listed until the parameter is
 *     sent again, so both are always sent.
 *   OS::Heat::AutoScalingGroup    min_size, max_size, desired_capacity: {get_param: size}
 *     Lowering min_size shrinks nothing, and a smaller desired_capacity takes the oldest; a member
 *     that is marked unhealthy goes before all others and is not counted. A bound outside
 *     [min_size, max_size] is refused, so all that are parameters get the size.
 *
 * Sources: Heat's API reference (orchestration v1: stacks, resources), heat's resource_group.py,
 * instance_group.py, scaling/template.py; tried with Heat 19 (Zed). A signal's 200 says nothing
 * about the group's size, and none is sent. A PATCH answers 202 with a line of text. The
 * convergence engine takes a PATCH in the middle of an update and drops what that one was at: who
 * calls must look first. The older engine answers 409.
 */
#pragma once
#include "base/time.h"
#include "base/vec.h"
#include "cloud/cloud.h"

typedef struct HeatStack {
    char *path;    /* "/stacks/NAME/ID" */
    char *status;  /* "UPDATE_COMPLETE" */
    char *reason;  /* in Heat's words */
    char *updated; /* when its last update began; "" before the first */
} HeatStack;
void heat_stack_clear(HeatStack *s);
DEFINE_CLEAR(HeatStack, heat_stack_clear)
bool heat_is_busy(const HeatStack *s); /* some action goes on */

typedef struct HeatGroup {
    bool autoscaling; /* else a ResourceGroup */
    char *name;       /* "pool" */
    StrList sizes;    /* parameters that are to have the size */
    char *victims;    /* parameter that lists who goes; of a ResourceGroup only */
} HeatGroup;
void heat_group_clear(HeatGroup *g);
DEFINE_CLEAR(HeatGroup, heat_group_clear)

typedef struct HeatMember {
    char *name;   /* Heat's: "2", "cqkdqn2seuym" */
    char *path;   /* "/stacks/NAME/ID/resources/2" */
    char *status; /* "CREATE_COMPLETE" */
    char *id;     /* the server's; "" before there is one */
    char *server; /* its name in Nova; NULL: Nova has no such server */
    bool error;   /* Nova says so */
    Msec made;
    bool goes; /* the caller's: a victim */
} HeatMember;
typedef struct HeatMembers {
    VEC(HeatMember) items;
} HeatMembers;
void heat_members_clear(HeatMembers *m);
DEFINE_CLEAR(HeatMembers, heat_members_clear)

/* ERR_NOT_FOUND. */
int heat_stack(Cloud *c, const char *name, HeatStack *ret, Err *err) _must_check_;
/* The group in the stack's template; `name` NULL: the only one. ERR_CONFIG, with the lines that
 * are missing, where a PATCH of parameters couldn't do it. */
int heat_group(Cloud *c, const HeatStack *s, const char *name, HeatGroup *ret,
               Err *err) _must_check_;
/* Its members, which may be stacks with one server each, and what Nova says of them, in one batch;
 * and for each whose server its list is without, what it says of that one. ERR_TEMPORARY if it does
 * not say that it is gone. */
int heat_members(Cloud *c, const HeatStack *s, const HeatGroup *g, HeatMembers *ret,
                 Err *err) _must_check_;
/* Begins the update: `size` members, without those of `m` that go. Absolute: may be repeated.
 * ERR_CONFLICT: another action goes on. */
int heat_resize(Cloud *c, const HeatStack *s, const HeatGroup *g, int size, const HeatMembers *m,
                Err *err) _must_check_;

/* The same of answers; pure. */
int heat_group_read(const json_t *heat_template, const char *name, HeatGroup *ret,
                    Err *err) _must_check_;
void heat_members_read(const json_t *resources, const json_t *servers, const HeatGroup *g,
                       HeatMembers *ret);
/* Is a group what was asked for when it was `before`: of the size, without those that go, with all
 * others? ERR_PARTIAL names what isn't. */
int heat_verify(const HeatMembers *before, int size, const HeatMembers *now, Err *err) _must_check_;
