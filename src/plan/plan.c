/* The loop over kinds: what is possible now. The rules of each kind are in its row (kind_*.c). */
#include "island/want.h"
#include "plan/kind.h"

/* A plan has a few turns for each step of the longest chain; more means that it does not end. */
#define TURNS_MAX 2000

/* Not there: it is made, or what was another's until now becomes it (`moved:`). */
static void make_one(Turn *t, const Resource *want)
{
    const PlanKind *row = plan_kind(want->kind);
    const Resource *old = turn_moved(t, want);
    const char *why = row->blocked ? row->blocked(t, want) : NULL;

    if (old && row->leave && row->leave(t, old))
        return;
    if (old)
        turn_step(t, KIND_RENAME, old, want->key, "the island file says that it moved");
    else if (want->kind == RESOURCE_HOST)
        turn_blocked(t, want, "its server is not there");
    else if (want->kind == RESOURCE_PORT && port_lost(t, want))
        return;
    else if (why)
        turn_blocked(t, want, why);
    else
        turn_step(t, KIND_CREATE, want, NULL, "not there");
}

static void remove_one(Turn *t, const Resource *have);

static bool is_to_be_marked(const Turn *t, const Resource *server)
{
    return strlist_has(&t->g->replace, server->id) && !is_marked(server);
}

/* A person asked for it to be made anew: that is written down first, so that any run can finish it;
 * on what Nova takes no word for, the removal comes at once. True if it does not stay. */
static bool replace_one(Turn *t, const Resource *have)
{
    /* Those of vm_state active, paused, suspended and stopped, with whatever task (nova,
     * compute/api.py, update_instance_metadata). */
    static const char *const takes[] = {"ACTIVE",    "SHUTOFF",     "PAUSED",  "SUSPENDED",
                                        "REBOOT",    "HARD_REBOOT", "REBUILD", "RESIZE",
                                        "MIGRATING", "PASSWORD",    "UNKNOWN"};

    State s;

    if (have->kind != RESOURCE_SERVER || !is_to_be_marked(t, have))
        return false;
    s = plan_server.state(have);
    for (size_t i = 0; i < ARRAY_LEN(takes); i++) {
        if (s.is != STATE_LEAVING && streq(have->status, takes[i])) {
            turn_step(t, KIND_MARK, have, PLAN_MARK, "to be replaced, as was asked");
            return true;
        }
    }
    if (s.is == STATE_LEAVING || (s.is == STATE_WAIT && t->now < s.since + s.limit))
        turn_wait(t, have, &s);
    else if (streq(have->status, "VERIFY_RESIZE"))
        turn_step(t, KIND_CONFIRM, have, NULL, "before it can be replaced, as was asked");
    else
        remove_one(t, have);
    return true;
}

/* The port and the host of one that is asked to be replaced, before that is written down. */
static bool goes_with_server(const Turn *t, const Resource *have)
{
    const Resource *server = have->kind == RESOURCE_PORT || have->kind == RESOURCE_HOST
                                 ? turn_find_at(t, RESOURCE_SERVER, have->key, have->generation)
                                 : NULL;

    return server && is_to_be_marked(t, server);
}

static void want_one(Turn *t, const Resource *want)
{
    const PlanKind *row = plan_kind(want->kind);
    const Resource *have = turn_find_at(t, want->kind, want->key, want->generation), *old;
    State s = {STATE_READY};

    if (!have) {
        make_one(t, want);
    } else if (!turn_wanted(t, have) || replace_one(t, have) || goes_with_server(t, have)) {
        return; /* it goes, and comes again */
    } else if ((old = turn_moved(t, want))) {
        turn_stuck(t, have, ERR_PARTIAL,
                   "`moved` says that %s %s becomes it, and both are there: delete the one whose "
                   "data is not needed, or take the line out of the island file",
                   resource_row(old->kind)->word, old->key);
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

static bool is_newest(const Turn *t, const Resource *have)
{
    return turn_find(t, have->kind, have->key)->generation == have->generation;
}

static char *loss_of(const Turn *t, const Resource *have)
{
    if (have->kind == RESOURCE_VOLUME)
        return xasprintf("%lld GB of data", (long long)json_int(have->attrs, "size_gb", 0));
    if (have->kind == RESOURCE_FLOATING_IP)
        return xasprintf("the address %s", json_str_or(have->attrs, "address", "?"));
    if (have->kind == RESOURCE_SERVER)
        return root_disk_loss_new(t, have);
    return NULL;
}

static void remove_one(Turn *t, const Resource *have)
{
    const PlanKind *row = plan_kind(have->kind);
    State s = row->state ? row->state(have) : (State){STATE_READY};
    Step *step;

    if (!t->g->destroy && goal_moved(t->g, have))
        return; /* it goes on under another key */
    if (island_protects(have->kind, have->key) && !t->g->data &&
        !strlist_has(&t->g->release, have->name)) {
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
    step = turn_step(t, KIND_DELETE, have, NULL,
                     t->g->destroy                             ? "the island is destroyed"
                     : !goal_find(t->g, have->kind, have->key) ? "no longer in the island file"
                     : is_newest(t, have)                      ? "to be made anew"
                                          : "a later generation stands in for it");
    step->loss = loss_of(t, have);
}

/* Which of two that claim one name is kept: the older (iac.md 2.4). Services count seconds: of two
 * made in the same one, that which is in use, then the lower id. */
static bool older(const Resource *a, const Resource *b)
{
    if (a->created_at != b->created_at)
        return a->created_at < b->created_at;
    if (a->used != b->used)
        return a->used;
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

/* A volume of the island that nothing wants and that is not to go, while the database of `want` has
 * lost its own. */
static const Resource *stray_volume(const Turn *t, const Resource *want)
{
    const Resource *own = turn_find(t, RESOURCE_HOST, want->key);
    const Resource *volume =
        goal_find(t->g, RESOURCE_VOLUME, json_str_or(want->attrs, "volume", ""));

    if (!own || !volume || !json_str(own->attrs, "kept.postgres") ||
        turn_find(t, RESOURCE_VOLUME, volume->key) || turn_moved(t, volume))
        return NULL;
    for (size_t i = 0; i < t->w->items.len; i++) {
        const Resource *r = &t->w->items.items[i];

        if (r->kind == RESOURCE_VOLUME && !goal_find(t->g, r->kind, r->key) &&
            !(json_bool(volume->attrs, "filled", false) && volume_is_of(r->key, volume->key)) &&
            !goal_moved(t->g, r) && !strlist_has(&t->g->release, r->name))
            return r;
    }
    return NULL;
}

/* The one on which another host keeps the database. */
static const Resource *other_volume(const Turn *t, const Resource *want)
{
    const Resource *host = data_elsewhere(t, want, ROLE_POSTGRES, "kept");
    const Resource *volume = host ? turn_any(t, RESOURCE_VOLUME, is_volume_of, host->key) : NULL;

    return volume && !strlist_has(&t->g->release, volume->name) ? volume : NULL;
}

/* A database begins once; one that begins empty while another volume holds the island's data is not
 * what anybody means. */
static int check_database(const Turn *t, Err *err)
{
    for (size_t i = 0; !t->g->destroy && i < t->g->want.len; i++) {
        const Resource *want = &t->g->want.items[i], *old;

        if (want->kind != RESOURCE_HOST ||
            !json_list_has(json_object_get(want->attrs, "roles"), role_rows[ROLE_POSTGRES].name) ||
            (!(old = other_volume(t, want)) && !(old = stray_volume(t, want))))
            continue;
        (void)err_set(err, ERR_CONFIG,
                      "%s would begin with an empty database, and volume %s may be the island's",
                      want->key, old->key);
        return err_hint(err,
                        "say in the island file which tier has its volume now, `moved: {%.*s: "
                        "%.*s}`; or put the file back; or, if it is not, say `--delete %s`",
                        (int)strcspn(want->key, "."), want->key, (int)strcspn(old->key, "."),
                        old->key, old->name);
    }
    return 0;
}

/* The host of a server that counts for nothing has its id. */
static void skip_host(Turn *t, const Resource *server)
{
    const Resource *host =
        server->kind == RESOURCE_SERVER ? world_find_id(t->w, RESOURCE_HOST, server->id) : NULL;

    if (host)
        t->skip[host - t->w->items.items] = true;
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
            skip_host(t, other);
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

static void step_clear(Step *s)
{
    free(s->key);
    free(s->detail);
    free(s->id);
    free(s->reason);
    free(s->loss);
}

static void wait_clear(Wait *w)
{
    free(w->key);
    free(w->what);
}

static void stuck_clear(Stuck *s)
{
    free(s->key);
    free(s->why);
    free(s->report);
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
    for (size_t i = 0; i < n->waits.len; i++)
        wait_clear(&n->waits.items[i]);
    for (size_t i = 0; i < n->stucks.len; i++)
        stuck_clear(&n->stucks.items[i]);
    vec_clear(&n->waits);
    vec_clear(&n->stucks);
}

/* --only: what else there is to do, to wait for or to mend stays as it is. */
static void only_asked(const Goal *g, Next *n)
{
    for (size_t i = n->steps.len; i-- > 0;) {
        if (is_asked(g, n->steps.items[i].kind, n->steps.items[i].key))
            continue;
        step_clear(&n->steps.items[i]);
        vec_remove(&n->steps, i);
    }
    for (size_t i = n->waits.len; i-- > 0;) {
        if (is_asked(g, n->waits.items[i].kind, n->waits.items[i].key))
            continue;
        wait_clear(&n->waits.items[i]);
        vec_remove(&n->waits, i);
    }
    for (size_t i = n->stucks.len; i-- > 0;) {
        if (is_asked(g, n->stucks.items[i].kind, n->stucks.items[i].key))
            continue;
        stuck_clear(&n->stucks.items[i]);
        vec_remove(&n->stucks, i);
    }
}

int plan_next(const Goal *g, const World *w, Msec now, Next *ret, Err *err)
{
    Next next = {0};
    Turn t = {.g = g, .w = w, .now = now, .next = &next};
    int r;

    t.skip = xcalloc(w->items.len, sizeof *t.skip);
    r = find_duplicates(&t, err);
    if (r == 0)
        r = check_database(&t, err);
    for (int kind = 0; r == 0 && kind < RESOURCE_KINDS; kind++) {
        for (size_t i = 0; !g->destroy && i < g->want.len; i++) {
            if ((int)g->want.items[i].kind == kind)
                want_one(&t, turn_want(&t, &g->want.items[i]));
        }
    }
    for (int kind = RESOURCE_KINDS; r == 0 && kind-- > 0;) {
        for (size_t i = 0; kind != RESOURCE_HOST && i < w->items.len; i++) {
            const Resource *have = &w->items.items[i];

            if ((int)have->kind == kind && (!t.skip[i] || g->destroy) && !turn_wanted(&t, have))
                remove_one(&t, have);
        }
    }
    if (r == 0) {
        only_asked(g, &next);
        dead_end(&t);
    }
    for (size_t i = 0; i < t.wanted.len; i++) {
        resource_clear(t.wanted.items[i]);
        free(t.wanted.items[i]);
    }
    vec_clear(&t.wanted);
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

static bool has(const Steps *plan, const Step *s)
{
    for (size_t i = 0; i < plan->len; i++) {
        if (same_step(&plan->items[i], s))
            return true;
    }
    return false;
}

bool plan_has(const Steps *plan, const Step *s)
{
    /* A host that has come to hear again is stopped the careful way before its server is deleted.
     */
    Step removal = {
        .verb = KIND_DELETE, .kind = RESOURCE_SERVER, .key = s->key, .generation = s->generation};

    return has(plan, s) || (s->verb == KIND_SEND && s->detail && has(plan, &removal));
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

const Resource *goal_find(const Goal *g, ResourceKind kind, const char *key)
{
    for (size_t i = 0; i < g->want.len; i++) {
        if (g->want.items[i].kind == kind && streq(g->want.items[i].key, key))
            return &g->want.items[i];
    }
    return NULL;
}

void goal_clear(Goal *g)
{
    for (size_t i = 0; i < g->want.len; i++)
        resource_clear(&g->want.items[i]);
    vec_clear(&g->want);
    strlist_clear(&g->release);
    strlist_clear(&g->replace);
    strlist_clear(&g->only);
    *g = (Goal){0};
}
