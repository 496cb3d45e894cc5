/* What the verbs of `atoll scale` share. */
#pragma once
#include "cmd/cmd.h"
#include "scale/decide.h"

/* Longest line of an observation, in bytes. */
#define SCALE_LINE_MAX ((size_t)1 << 20)

typedef int ScaleEach(void *user, size_t number, Str line, Err *err);
/* Calls `each` for every line of the file that is not empty. ERR_CORRUPT for one that is longer
 * than SCALE_LINE_MAX; an error of `each` ends it. */
int cmd_scale_lines(FILE *from, const char *name, ScaleEach *each, void *user,
                    Err *err) _must_check_;
/* Waits until that moment (time_mono); false: a signal came. */
bool cmd_scale_wait(const Cmd *c, Msec until);
/* What the island file's `scale` says of a tier of workers: its bounds, deadlines and calendar, and
 * the connections that PostgreSQL has for it. `ret` has its defaults. */
int cmd_scale_config(const Island *island, const Tier *t, ScaleConfig *ret, Err *err) _must_check_;
/* Option --policy: in place of what the observations say, or NULL. */
int cmd_scale_policy(const char *name, ScaleConfig *c, Err *err) _must_check_;
#define OPT_SCALE_POLICY(T)                                                                        \
    {                                                                                              \
        .name = "policy", .type = OPT_STRING, .argument = "NAME",                                  \
        .sentence = "latency, backlog or depth, whatever the observations say.",                   \
        .offset = offsetof(T, policy)                                                              \
    }
