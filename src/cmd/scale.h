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
/* What people were told last; a desired of -1: nothing. */
typedef struct ScaleSaid {
    bool api_away, redis_away;
    int desired;
    ScaleBinding binding;
} ScaleSaid;
typedef struct ScaleSay {
    Msec when; /* epoch */
    int there;
    bool booting; /* some of them boot */
    int desired;
    ScaleBinding binding;
    const char *reason;
    const StrList *did;
} ScaleSay;
/* A line where the decision is not the last one, and one for each thing that was done. */
void cmd_scale_say(const Cmd *c, const ScaleSay *what, ScaleSaid *said);
#define SCALE_LOOKS_AGAIN "the servers can be looked at again"
/* A trouble, once when it begins and once when it is over. `err`: NULL if there is none; that
 * somebody interrupted is none. */
void cmd_scale_trouble(bool *state, const Err *err, const char *over);
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
