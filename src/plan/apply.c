/* The loop: what is possible now, done in parallel, until nothing is left to do or to wait for. */
#include "plan/apply_driver.h"
#include "plan/kind.h"

#define WAIT_DEFAULT (10 * MINUTE)
#define POLL_FIRST ((Msec)300)
#define POLL_MAX (2 * SECOND)
/* How long a list may lag behind an answer of the same service. */
#define LAG (15 * SECOND)
/* How long a refusal "not now" is believed. */
#define LATER_MAX (2 * MINUTE)
/* A step that the service accepted so often without effect won't have one. */
#define DONE_MAX 5

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
    bool looked_at_end;
} Run;

static bool stopped(const Run *r)
{
    return r->c->stop && *r->c->stop;
}

static void event(const Run *r, ApplyEvent e)
{
    if (r->c->event)
        r->c->event(r->c->user, &e);
}

static void step_event(const Run *r, unsigned what, const Doing *d, const Err *err)
{
    event(r, (ApplyEvent){.what = what,
                          .kind = d->step->kind,
                          .key = d->step->key,
                          .step = d->step,
                          .words = d->step->reason,
                          .took_ms = d->took_ms,
                          .err = err});
}

static Try *try_of(Run *r, const Step *s)
{
    _cleanup_free_ char *name =
        xasprintf("%d %d %s %d %s %s", s->verb, s->kind, s->key, s->generation,
                  s->detail ? s->detail : "", s->verb == KIND_DELETE && s->id ? s->id : "");

    for (size_t i = 0; i < r->tries.len; i++) {
        if (streq(r->tries.items[i].name, name))
            return &r->tries.items[i];
    }
    vec_push(&r->tries, (Try){.name = TAKE(name)});
    return vec_last(&r->tries);
}

/* Looking */

/* What was made a moment ago and is not in the list yet is there all the same. */
static void keep_made(Run *r, unsigned mask)
{
    Msec mono = r->o->mono(r->d);

    for (size_t i = 0; i < r->made.len; i++) {
        const Made *m = &r->made.items[i];

        if (mono - m->at < LAG && mask & KIND_BIT(m->r.kind) && m->r.id &&
            !world_find_id(r->w, m->r.kind, m->r.id))
            (void)world_add(r->w, resource_copy(&m->r));
    }
}

static size_t count(const World *w, ResourceKind kind)
{
    size_t n = 0;

    for (size_t i = 0; i < w->items.len; i++)
        n += w->items.items[i].kind == kind;
    return n;
}

static int look(Run *r, unsigned mask, Err *err)
{
    size_t servers = count(r->w, RESOURCE_SERVER);
    int k = mask ? r->o->look(r->d, mask, r->w, err) : 0;

    if (k < 0)
        return err_wrap(err, "looking at what is there");
    keep_made(r, mask);
    /* A server that went has let go of what it held. */
    if (mask & KIND_BIT(RESOURCE_SERVER) && count(r->w, RESOURCE_SERVER) < servers)
        return look(r,
                    KIND_BIT(RESOURCE_PORT) | KIND_BIT(RESOURCE_VOLUME) |
                        KIND_BIT(RESOURCE_SERVER_GROUP) | KIND_BIT(RESOURCE_FLOATING_IP),
                    err);
    return 0;
}

/* The kinds in which a step shows. */
static unsigned touched(const Step *s)
{
    unsigned mask = KIND_BIT(s->kind);

    if (s->kind == RESOURCE_SERVER && s->verb == KIND_DELETE)
        mask |= KIND_BIT(RESOURCE_PORT) | KIND_BIT(RESOURCE_VOLUME) | KIND_BIT(RESOURCE_HOST);
    return mask;
}

/* Outcomes */

static void forget_made(Run *r, const char *id)
{
    for (size_t i = 0; i < r->made.len; i++) {
        if (streq(r->made.items[i].r.id, id)) {
            resource_clear(&r->made.items[i].r);
            vec_remove(&r->made, i);
            return;
        }
    }
}

static void fail(Run *r, Doing *d)
{
    try_of(r, d->step)->failed = true;
    r->failed++;
    step_event(r, APPLY_FAILED, d, &d->err);
    if (r->first.kind)
        return;
    (void)err_wrap(&d->err, "%s %s", resource_row(d->step->kind)->word, d->step->key);
    (void)err_move(&r->first, &d->err);
}

static void done(Run *r, Doing *d)
{
    Try *t = try_of(r, d->step);

    t->done++;
    t->not_before =
        t->done > 1 ? r->o->mono(r->d) + MIN(POLL_MAX, POLL_FIRST << MIN(t->done, 4)) : 0;
    t->later_since = 0;
    r->done++;
    r->poll = POLL_FIRST;
    step_event(r, APPLY_DONE, d, NULL);
    if (d->step->verb == KIND_DELETE)
        forget_made(r, d->step->id);
}

/* Found after a create whose answer was lost or said "there already"? */
static bool adopt(Run *r, Doing *d)
{
    const Resource *found = world_find(r->w, d->step->kind, d->step->key, d->step->generation);

    if (!found)
        return false;
    done(r, d);
    return true;
}

/* Refused for now: again after a pause, until that has gone on for too long. */
static void later(Run *r, Doing *d)
{
    Try *t = try_of(r, d->step);
    Msec mono = r->o->mono(r->d);

    if (!t->later_since)
        t->later_since = mono;
    t->not_before = mono + MIN(5 * SECOND, MAX(SECOND / 2, mono - t->later_since));
    if (mono - t->later_since > LATER_MAX)
        fail(r, d);
}

/* An ambiguous create is never simply repeated: four lists over 15 s, the first at once; what is
 * found is adopted; otherwise the next turn posts it once more (iac.md 2.4). */
static int find_unknown(Run *r, Doing *doing, size_t n, Err *err)
{
    static const Msec pauses[] = {0, 1 * SECOND, 4 * SECOND, 10 * SECOND};
    unsigned mask = 0;
    int k;

    for (size_t i = 0; i < n; i++) {
        if (doing[i].outcome == DOING_UNKNOWN && doing[i].step->verb == KIND_CREATE)
            mask |= KIND_BIT(doing[i].step->kind);
    }
    for (size_t p = 0; mask && p < ARRAY_LEN(pauses) && !stopped(r); p++) {
        if (pauses[p])
            r->o->pause(r->d, pauses[p]);
        if ((k = look(r, mask, err)) < 0)
            return k;
        mask = 0;
        for (size_t i = 0; i < n; i++) {
            Doing *d = &doing[i];

            if (d->outcome != DOING_UNKNOWN || d->step->verb != KIND_CREATE)
                continue;
            if (adopt(r, d))
                d->outcome = DOING_DONE;
            else
                mask |= KIND_BIT(d->step->kind);
        }
    }
    for (size_t i = 0; i < n && !stopped(r); i++) {
        if (doing[i].outcome == DOING_UNKNOWN && ++try_of(r, doing[i].step)->unknown > 1)
            fail(r, &doing[i]);
    }
    return 0;
}

static void take_resource(Run *r, Doing *d)
{
    if (d->step->verb != KIND_CREATE || !d->resource.key)
        return;
    vec_push(&r->made, (Made){resource_copy(&d->resource), r->o->mono(r->d)});
    (void)world_add(r->w, d->resource);
    d->resource = (Resource){0};
}

static int fold(Run *r, Doing *doing, size_t n, Err *err)
{
    unsigned dirty = 0;
    int k;

    for (size_t i = 0; i < n; i++) {
        Doing *d = &doing[i];

        if (d->outcome == DOING_DONE) {
            take_resource(r, d);
            done(r, d);
        } else if (d->outcome == DOING_FAILED && !(d->err.kind == ERR_INTERRUPTED && stopped(r))) {
            fail(r, d);
        } else if (d->outcome == DOING_LATER) {
            later(r, d);
        }
        if (d->outcome != DOING_DONE || d->step->verb != KIND_CREATE)
            dirty |= touched(d->step);
    }
    if (stopped(r))
        return 0;
    if ((k = look(r, dirty, err)) < 0)
        return k;
    for (size_t i = 0; i < n; i++) {
        if (doing[i].outcome == DOING_THERE && !adopt(r, &doing[i]))
            fail(r, &doing[i]);
    }
    return find_unknown(r, doing, n, err);
}

/* A turn */

/* A second one of what this very plan makes: its removal could not be in the plan. */
static bool own_duplicate(const Run *r, const Step *s)
{
    Step create = *s;
    size_t n = 0;

    if (s->verb != KIND_DELETE || !s->id)
        return false;
    create.verb = KIND_CREATE;
    for (size_t i = 0; i < r->w->items.len; i++) {
        const Resource *have = &r->w->items.items[i];

        n += have->kind == s->kind && have->generation == s->generation && streq(have->key, s->key);
    }
    return n > 1 && plan_has(r->plan, &create);
}

static int refuse_unplanned(const Run *r, const Next *next, Err *err)
{
    for (size_t i = 0; i < next->steps.len; i++) {
        const Step *s = &next->steps.items[i];
        _cleanup_(buf_clear) Buf line = BUF_INIT(BUF_MAX_LINE);

        if (plan_has(r->plan, s) || own_duplicate(r, s))
            continue;
        plan_line(&r->g, s, &line);
        (void)err_set(err, ERR_CHANGED,
                      "the cloud is not what the plan was made of; this was not in "
                      "it: %.*s",
                      (int)str_trim(buf_as_str(&line)).n, str_trim(buf_as_str(&line)).p);
        return err_hint(err, "run it again to see the new plan");
    }
    return 0;
}

static int perform(Run *r, Doing *doing, size_t n, Err *err)
{
    Msec start = r->o->mono(r->d);
    int k;

    for (size_t i = 0; i < n; i++)
        step_event(r, APPLY_START, &doing[i], NULL);
    k = r->o->perform(r->d, &r->g, r->w, doing, n, err);
    for (size_t i = 0; i < n; i++)
        doing[i].took_ms = r->o->mono(r->d) - start;
    return k < 0 ? k : fold(r, doing, n, err);
}

/* The steps whose time it is. *ret_pending: kinds of those that come later. */
static size_t pick(Run *r, const Next *next, Doing *doing, unsigned *ret_pending)
{
    Msec mono = r->o->mono(r->d);
    size_t n = 0;

    *ret_pending = 0;
    for (size_t i = 0; i < next->steps.len; i++) {
        const Step *s = &next->steps.items[i];
        Try *t = try_of(r, s);

        if (t->failed)
            continue;
        doing[n] = (Doing){.step = s};
        if (t->done >= DONE_MAX && s->verb != KIND_EMPTY) {
            (void)err_set(&doing[n].err, ERR_CONFLICT,
                          "the service took it %d times, and nothing changed (%s)", t->done,
                          s->reason);
            fail(r, &doing[n]);
            err_clear(&doing[n].err);
        } else if (t->not_before > mono) {
            *ret_pending |= touched(s);
        } else {
            n++;
        }
    }
    return n;
}

static bool creates_unguarded(const Doing *doing, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (doing[i].step->verb == KIND_CREATE && KINDS_UNGUARDED & KIND_BIT(doing[i].step->kind))
            return true;
    }
    return false;
}

/* Waiting */

static Watch *watch_of(Run *r, const Wait *w)
{
    _cleanup_free_ char *name = xasprintf("%d %s %s", w->kind, w->key, w->what);

    for (size_t i = 0; i < r->watches.len; i++) {
        if (streq(r->watches.items[i].name, name))
            return &r->watches.items[i];
    }
    vec_push(&r->watches, (Watch){.name = TAKE(name), .since = r->o->mono(r->d)});
    r->poll = POLL_FIRST;
    return vec_last(&r->watches);
}

/* The kinds waited for; those given up are not among them. */
static unsigned waited_for(Run *r, const Next *next)
{
    Msec limit = r->c->timeout_ms ? r->c->timeout_ms : WAIT_DEFAULT, mono = r->o->mono(r->d);
    unsigned mask = 0;

    for (size_t i = 0; i < r->watches.len; i++)
        r->watches.items[i].seen = false;
    for (size_t i = 0; i < next->waits.len; i++) {
        const Wait *w = &next->waits.items[i];
        Watch *watch = watch_of(r, w);

        watch->seen = true;
        watch->over = mono - watch->since >= limit;
        if (watch->over)
            continue;
        mask |= KIND_BIT(w->kind);
        event(r, (ApplyEvent){.what = APPLY_WAIT,
                              .kind = w->kind,
                              .key = w->key,
                              .words = w->what,
                              .took_ms = mono - watch->since});
    }
    /* What came to its end starts anew if it comes back. */
    for (size_t i = r->watches.len; i-- > 0;) {
        if (!r->watches.items[i].seen) {
            free(r->watches.items[i].name);
            vec_remove(&r->watches, i);
        }
    }
    return mask;
}

/* Only what is waited for is listed; a booting host's server too, now and then: it may fail. */
static int poll(Run *r, unsigned mask, Err *err)
{
    r->o->pause(r->d, r->poll);
    r->poll = MIN(POLL_MAX, r->poll * 3 / 2);
    if (mask & KIND_BIT(RESOURCE_SERVER) || (mask & KIND_BIT(RESOURCE_HOST) && ++r->polls % 5 == 0))
        mask |= KIND_BIT(RESOURCE_SERVER) | KIND_BIT(RESOURCE_HOST);
    return stopped(r) ? 0 : look(r, mask, err);
}

/* The end */

typedef struct Problems {
    size_t n;
    int kind; /* of all: HEALTH only if each one is */
    Err first;
} Problems;

static void problem(Problems *p, int kind, ResourceKind of, const char *key, const char *why)
{
    if (!p->n++) {
        (void)err_set(&p->first, ERR_PARTIAL, "%s %s: %s", resource_row(of)->word, key, why);
        p->kind = kind;
    }
    if (kind != p->kind)
        p->kind = ERR_PARTIAL;
}

static void stuck_problems(Run *r, const Next *next, Problems *p)
{
    char span[TIME_TEXT_MAX];

    for (size_t i = 0; i < next->stucks.len; i++) {
        const Stuck *s = &next->stucks.items[i];
        _cleanup_free_ char *more =
            s->report && s->report[0] && r->o->report ? r->o->report(r->d, s->report) : NULL;
        _cleanup_free_ char *why = xasprintf("%s%s%s", s->why, more ? ": " : "", more ? more : "");

        problem(p, s->err_kind, s->kind, s->key, why);
    }
    for (size_t i = 0; i < next->waits.len; i++) {
        const Wait *w = &next->waits.items[i];
        Msec for_ms = r->o->mono(r->d) - watch_of(r, w)->since;
        _cleanup_free_ char *why = xasprintf("still %s after %s", w->what, time_span(for_ms, span));

        problem(p, w->kind == RESOURCE_HOST ? ERR_HEALTH : ERR_PARTIAL, w->kind, w->key, why);
    }
}

static int conclude(Run *r, const Next *next, Err *err)
{
    Problems p = {0};
    int k;

    stuck_problems(r, next, &p);
    if (r->failed) {
        k = r->done ? -ERR_PARTIAL : -(int)r->first.kind;
        (void)err_move(err, &r->first);
        if (err) {
            err->kind = (ErrKind)-k;
            (void)err_wrap(err, "%zu of %zu steps failed", r->failed, MAX(r->plan->len, r->failed));
        }
        (void)err_hint(err, "what was done stays; a rerun goes on from there");
    } else if (p.n) {
        k = -p.kind;
        if (p.n > 1)
            (void)err_wrap(&p.first, "%zu things are not as wanted, the first", p.n);
        (void)err_move(err, &p.first);
        if (err)
            err->kind = (ErrKind)p.kind;
        (void)err_hint(err, "once it is put right, a rerun goes on from there");
    } else {
        k = 0;
    }
    err_clear(&p.first);
    return k;
}

/* One turn; *ret_end when nothing is left to do (then the result is the run's). */
static int turn(Run *r, bool *ret_end, Err *err)
{
    _cleanup_(next_clear) Next next = {0};
    unsigned pending, waited;
    Doing *doing;
    size_t n;
    int k;

    if ((k = r->o->lease_renew(r->d, err)) < 0)
        return k;
    if ((k = plan_next(&r->g, r->w, r->o->now(r->d), &next, err)) < 0 ||
        (k = refuse_unplanned(r, &next, err)) < 0)
        return k;
    doing = xcalloc(next.steps.len, sizeof *doing);
    n = pick(r, &next, doing, &pending);
    waited = n ? 0 : waited_for(r, &next);
    if (n && r->look_twice && creates_unguarded(doing, n)) {
        /* The last request of a run that died may still land. */
        r->look_twice = false;
        r->o->pause(r->d, 2 * SECOND);
        k = look(r, KINDS_UNGUARDED, err);
    } else if (n) {
        r->looked_at_end = false;
        k = perform(r, doing, n, err);
    } else if (pending | waited) {
        k = poll(r, pending | waited, err);
    } else if (!r->looked_at_end && (next.stucks.len || r->failed)) {
        /* Before giving up: is it still so? */
        r->looked_at_end = true;
        k = look(r, KIND_ALL, err);
    } else {
        *ret_end = true;
        k = conclude(r, &next, err);
    }
    for (size_t i = 0; i < n; i++) {
        err_clear(&doing[i].err);
        resource_clear(&doing[i].resource);
    }
    free(doing);
    return k;
}

static int loop(Run *r, Err *err)
{
    bool end = false;
    int k = 0;

    while (k == 0 && !end) {
        if (stopped(r)) {
            (void)err_set(err, ERR_INTERRUPTED, "interrupted; %zu of %zu steps were done", r->done,
                          r->plan->len);
            return err_hint(err, "run it again: it goes on where it stopped");
        }
        k = turn(r, &end, err);
    }
    return k;
}

static int take_lease(Run *r, Err *err)
{
    Msec start = r->o->mono(r->d);
    int k;

    for (;;) {
        k = r->o->lease_take(r->d, &r->look_twice, &r->g.run_started, err);
        if (k != -ERR_HELD || r->o->mono(r->d) - start >= r->c->lease_wait_ms || stopped(r))
            return k;
        event(r, (ApplyEvent){.what = APPLY_LEASE,
                              .words = err ? err->text : NULL,
                              .took_ms = r->o->mono(r->d) - start});
        err_clear(err);
        r->o->pause(r->d, SECOND);
    }
}

static bool nothing_to_do(const Run *r)
{
    _cleanup_(next_clear) Next next = {0};

    return !r->plan->len && plan_next(&r->g, r->w, r->o->now(r->d), &next, NULL) == 0 &&
           !next.steps.len && !next.waits.len && !next.stucks.len;
}

static void run_clear(Run *r)
{
    for (size_t i = 0; i < r->tries.len; i++)
        free(r->tries.items[i].name);
    for (size_t i = 0; i < r->watches.len; i++)
        free(r->watches.items[i].name);
    for (size_t i = 0; i < r->made.len; i++)
        resource_clear(&r->made.items[i].r);
    vec_clear(&r->tries);
    vec_clear(&r->watches);
    vec_clear(&r->made);
    err_clear(&r->first);
}

int apply_with(const ApplyContext *c, const ApplyDriver *driver, void *d, const Goal *g,
               const Steps *plan, World *w, Err *err)
{
    Run r = {.c = c, .o = driver, .d = d, .g = *g, .plan = plan, .w = w, .poll = POLL_FIRST};
    _cleanup_(err_clear) Err own = {0};
    int k;

    /* The loop reads what it wrote there. */
    if (!err)
        err = &own;
    if (nothing_to_do(&r))
        return 0;
    k = take_lease(&r, err);
    if (k == 0) {
        /* The world of the plan is as old as the person's answer. */
        k = look(&r, KIND_ALL, err);
        if (k == 0)
            k = loop(&r, err);
        driver->lease_drop(d);
    }
    run_clear(&r);
    return k;
}
