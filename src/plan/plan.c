/* The loop over kinds: what is possible now. The rules of each kind are in its row (kind_*.c). */
#include "island/want.h"
#include "plan/kind.h"

/* A plan has a few turns for each step of the longest chain; more means that it does not end. */
#define TURNS_MAX 200

static void want_one(Turn *t, const Resource *want)
{
    const PlanKind *row = plan_kind(want->kind);
    const Resource *have = turn_find(t, want->kind, want->key);
    State s = {STATE_READY};
    const char *why;

    if (!have && want->kind == RESOURCE_HOST) {
        turn_blocked(t, want, "its server is not there");
    } else if (!have) {
        why = row->blocked ? row->blocked(t, want) : NULL;
        if (why)
            turn_blocked(t, want, why);
        else
            turn_step(t, KIND_CREATE, want, NULL, "not there");
    } else {
        if (row->state)
            s = row->state(have);
        if (s.is == STATE_WAIT || s.is == STATE_LEAVING)
            turn_wait(t, have, &s);
        else if (s.is == STATE_STUCK)
            turn_stuck(t, have, ERR_PARTIAL, "%s", s.what);
        else if (row->differ)
            row->differ(t, want, have);
    }
}

static char *loss_of(const Resource *have)
{
    if (have->kind == RESOURCE_VOLUME)
        return xasprintf("%lld GB of data", (long long)json_int(have->attrs, "size_gb", 0));
    if (have->kind == RESOURCE_FLOATING_IP)
        return xasprintf("the address %s", json_str_or(have->attrs, "address", "?"));
    return NULL;
}

static void remove_one(Turn *t, const Resource *have)
{
    const PlanKind *row = plan_kind(have->kind);
    State s = row->state ? row->state(have) : (State){STATE_READY};
    Step *step;

    if (island_protects(have->kind, have->key) && !t->g->data) {
        /* It stays for its own sake; but an address lets go of a port that goes. */
        if (have->kind == RESOURCE_FLOATING_IP)
            (void)row->leave(t, have);
        return;
    }
    if (s.is == STATE_LEAVING) {
        turn_wait(t, have, &s);
        return;
    }
    if (row->leave && row->leave(t, have))
        return;
    if (have->kind == RESOURCE_VOLUME && s.is == STATE_WAIT) {
        turn_wait(t, have, &s);
        return;
    }
    step =
        turn_step(t, KIND_DELETE, have, NULL,
                  t->g->destroy                            ? "the island is destroyed"
                  : goal_find(t->g, have->kind, have->key) ? "a later generation stands in for it"
                                                           : "no longer in the island file");
    step->loss = loss_of(have);
}

/* Which of two that claim one name is kept: the older, then the lower id (iac.md 2.4). */
static bool older(const Resource *a, const Resource *b)
{
    if (a->created_at != b->created_at)
        return a->created_at < b->created_at;
    return strcmp(a->id ? a->id : "", b->id ? b->id : "") < 0;
}

static int ambiguous(const Resource *kept, const Resource *other, Err *err)
{
    char kept_at[TIME_TEXT_MAX] = "unknown", other_at[TIME_TEXT_MAX] = "unknown";

    if (kept->created_at)
        time_format(kept->created_at, false, kept_at);
    if (other->created_at)
        time_format(other->created_at, false, other_at);
    (void)err_set(err, ERR_AMBIGUOUS,
                  "two of the cloud's objects claim to be the %s %s: %s (created %s%s) and %s "
                  "(created %s%s)",
                  resource_row(kept->kind)->word, kept->key, kept->id, kept_at,
                  kept->used ? ", in use" : "", other->id, other_at, other->used ? ", in use" : "");
    return err_hint(err, "look at both, delete the one that is not needed, then run this again");
}

/* A second one that may go: younger, nothing hangs on it, and no data or address is lost with it
 * unless this very run made it. */
static bool may_go(const Turn *t, const Resource *other)
{
    bool of_this_run = t->g->run_started && other->created_at >= t->g->run_started;

    return !other->used && other->created_at &&
           (of_this_run || !island_protects(other->kind, other->key));
}

/* Marks all but one of those with the same identity. About those that may not go a person has to
 * decide. */
static int find_duplicates(Turn *t, Err *err)
{
    const ResourceVec *v = &t->w->items;

    for (size_t i = 0; i < v->len; i++) {
        const Resource *a = &v->items[i];

        for (size_t k = i + 1; k < v->len && !t->skip[i] && a->kind != RESOURCE_HOST; k++) {
            const Resource *b = &v->items[k];
            bool a_stays = older(a, b);
            const Resource *kept = a_stays ? a : b, *other = a_stays ? b : a;

            if (a->kind != b->kind || a->generation != b->generation || t->skip[k] ||
                !streq(a->key, b->key))
                continue;
            if (!t->g->destroy && !may_go(t, other))
                return ambiguous(kept, other, err);
            t->skip[a_stays ? k : i] = true;
            if (!t->g->destroy && turn_wanted(t, kept))
                turn_step(t, KIND_DELETE, other, NULL, "a second one, younger and not in use");
        }
    }
    return 0;
}

/* Nothing to do, nothing to wait for, and yet not done: say so instead of calling it done. */
static void dead_end(Turn *t)
{
    if (!t->blocked || t->next->steps.len || t->next->waits.len || t->next->stucks.len)
        return;
    vec_push(&t->next->stucks, (Stuck){.kind = t->blocked_kind,
                                       .key = xstrdup(t->blocked_key),
                                       .why = xstrdup(t->blocked),
                                       .err_kind = ERR_PARTIAL});
}

int plan_next(const Goal *g, const World *w, Msec now, Next *ret, Err *err)
{
    Next next = {0};
    Turn t = {.g = g, .w = w, .now = now, .next = &next};
    int r;

    t.skip = xcalloc(w->items.len, sizeof *t.skip);
    r = find_duplicates(&t, err);
    for (int kind = 0; r == 0 && kind < RESOURCE_KINDS; kind++) {
        for (size_t i = 0; !g->destroy && i < g->want.len; i++) {
            if ((int)g->want.items[i].kind == kind)
                want_one(&t, &g->want.items[i]);
        }
    }
    for (int kind = RESOURCE_KINDS; r == 0 && kind-- > 0;) {
        for (size_t i = 0; kind != RESOURCE_HOST && i < w->items.len; i++) {
            const Resource *have = &w->items.items[i];

            if ((int)have->kind == kind && (!t.skip[i] || g->destroy) && !turn_wanted(&t, have))
                remove_one(&t, have);
        }
    }
    if (r == 0)
        dead_end(&t);
    free(t.skip);
    free(t.blocked_key);
    if (r < 0)
        next_clear(&next);
    else
        *ret = next;
    return r;
}

static Step step_copy(const Step *s)
{
    Step c = *s;

    c.key = xstrdup(s->key);
    c.detail = s->detail ? xstrdup(s->detail) : NULL;
    c.id = s->id ? xstrdup(s->id) : NULL;
    c.reason = xstrdup(s->reason);
    c.loss = s->loss ? xstrdup(s->loss) : NULL;
    return c;
}

static bool same_step(const Step *a, const Step *b)
{
    return a->verb == b->verb && a->kind == b->kind && a->generation == b->generation &&
           streq(a->key, b->key) && streq(a->detail, b->detail);
}

bool plan_has(const Steps *plan, const Step *s)
{
    for (size_t i = 0; i < plan->len; i++) {
        if (same_step(&plan->items[i], s))
            return true;
    }
    return false;
}

int plan_make(const Goal *g, const World *w, Msec now, Steps *ret, Err *err)
{
    World paper = world_copy(w);
    Steps steps = {0};
    int r = 0, turn;

    for (turn = 0; turn < TURNS_MAX && r == 0; turn++) {
        _cleanup_(next_clear) Next next = {0};

        r = plan_next(g, &paper, now, &next, err);
        if (r < 0 || (!next.steps.len && !next.waits.len))
            break;
        for (size_t i = 0; i < next.steps.len; i++) {
            vec_push(&steps, step_copy(&next.steps.items[i]));
            plan_predict(g, &paper, &next.steps.items[i]);
        }
        if (!next.steps.len)
            plan_settle(&paper);
    }
    world_clear(&paper);
    if (r == 0 && turn == TURNS_MAX) {
        const Step *last = steps.len ? vec_last(&steps) : NULL;

        r = err_set(err, ERR_BUG, "the plan does not end: %s %s comes back again and again",
                    last ? resource_row(last->kind)->word : "a wait", last ? last->key : "");
    }
    if (r < 0)
        steps_clear(&steps);
    else
        *ret = steps;
    return r;
}

static void step_clear(Step *s)
{
    free(s->key);
    free(s->detail);
    free(s->id);
    free(s->reason);
    free(s->loss);
}

void steps_clear(Steps *s)
{
    for (size_t i = 0; i < s->len; i++)
        step_clear(&s->items[i]);
    vec_clear(s);
}

void next_clear(Next *n)
{
    steps_clear(&n->steps);
    for (size_t i = 0; i < n->waits.len; i++) {
        free(n->waits.items[i].key);
        free(n->waits.items[i].what);
    }
    for (size_t i = 0; i < n->stucks.len; i++) {
        free(n->stucks.items[i].key);
        free(n->stucks.items[i].why);
        free(n->stucks.items[i].report);
    }
    vec_clear(&n->waits);
    vec_clear(&n->stucks);
}

void goal_clear(Goal *g)
{
    for (size_t i = 0; i < g->want.len; i++)
        resource_clear(&g->want.items[i]);
    vec_clear(&g->want);
    *g = (Goal){0};
}
