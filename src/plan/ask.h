/* What a person asks of a plan on the command line, checked against what is wanted and what is
 * there. Pure.
 */
#pragma once
#include "island/island.h"
#include "plan/plan.h"

typedef struct GoalAsk {
    bool destroy, data, rebuild;
    bool agreed;         /* from a saved plan, whose names were checked when it was made: what is
                            done of it by now is no error */
    StrList only;        /* "web", "web.0", "volume.db.0" */
    StrList replace;     /* servers by key */
    StrList replace_ids; /* and by id */
    StrList release;     /* names in the cloud */
} GoalAsk;
void goal_ask_clear(GoalAsk *a);
DEFINE_CLEAR(GoalAsk, goal_ask_clear)

/* Puts the words of *ask into *g, whose `want` is there. ERR_USAGE for a name that is neither
 * wanted nor there (with the nearest right spelling), a server to be replaced that is not there, a
 * thing to be deleted that is not kept. */
int goal_ask(const GoalAsk *ask, const World *w, Goal *g, Err *err) _must_check_;
/* True for a found thing that no file names any more and that stays all the same: it holds data,
 * or an address people know. `--delete` names it to let it go. */
bool goal_keeps(const Goal *g, const Resource *have);
