/* The loop: what is possible now, done in parallel, until nothing is left to do or to wait for. */
#include "host/spec.h"
#include "plan/apply_run.h"

#define WAIT_DEFAULT (10 * MINUTE)
/* A step that the service accepted so often without effect won't have one. */
static int done_max(const Step *s)
{
    switch (s->verb) {
    case KIND_EMPTY: /* many steps of some thousand objects, with counters that lag */
        return 200;
    case KIND_RESIZE: /* each costs an outage, or hours of copying */
    case KIND_REBUILD:
    case KIND_RETYPE:
        return 2;
    default:
        return 5;
    }
}

bool run_stopped(const Run *r)
{
    return r->c->stop && *r->c->stop;
}

void run_event(const Run *r, ApplyEvent e)
{
    if (r->c->event)
        r->c->event(r->c->user, &e);
}

void run_step_event(const Run *r, unsigned what, const Doing *d, const Err *err)
{
    run_event(r, (ApplyEvent){.what = what,
                              .kind = d->step->kind,
                              .key = d->step->key,
                              .step = d->step,
                              .words = d->step->reason,
                              .took_ms = d->took_ms,
                              .err = err});
}

/* Its place in r->tries. */
static size_t find_try(Run *r, const Step *s)
{
    const Resource *host = s->verb == KIND_SEND ? plan_target(r->w, s) : NULL;
    _cleanup_json_ json_t *spec = host ? plan_sent_spec_new(&r->g, r->w, host, s) : NULL;
    _cleanup_free_ char *name = NULL;
    char hash[17] = "";

    /* Other settings are another step. */
    if (spec)
        host_spec_hash(spec, hash);
    name =
        xasprintf("%d %d %s %d %s %s %s", s->verb, s->kind, s->key, s->generation,
                  s->detail ? s->detail : "", s->verb == KIND_DELETE && s->id ? s->id : "", hash);

    for (size_t i = 0; i < r->tries.len; i++) {
        if (streq(r->tries.items[i].name, name))
            return i;
    }
    vec_push(&r->tries, (Try){.name = TAKE(name)});
    return r->tries.len - 1;
}

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
        _cleanup_free_ char *words = NULL;

        if (plan_has(r->plan, s) || own_duplicate(r, s))
            continue;
        words = plan_words_new(s);
        (void)err_set(err, ERR_CHANGED,
                      "the cloud is not what the plan was made of; this was not in it: %s", words);
        return err_hint(err, "run it again to see the new plan");
    }
    return 0;
}

static int perform(Run *r, Doing *doing, size_t n, Err *err)
{
    Msec start = r->o->mono(r->d);
    int k;

    for (size_t i = 0; i < n; i++)
        run_step_event(r, APPLY_START, &doing[i], NULL);
    k = r->o->perform(r->d, &r->g, r->w, doing, n, err);
    for (size_t i = 0; i < n; i++)
        doing[i].took_ms = r->o->mono(r->d) - start;
    return k < 0 ? k : run_fold(r, doing, n, err);
}

/* The steps whose time it is. *ret_pending: kinds of those that come later. */
static size_t pick(Run *r, const Next *next, Doing *doing, unsigned *ret_pending)
{
    Msec mono = r->o->mono(r->d);
    size_t n = 0;

    *ret_pending = 0;
    for (size_t i = 0; i < next->steps.len; i++) {
        const Step *s = &next->steps.items[i];
        size_t at = find_try(r, s);
        const Try *t = &r->tries.items[at];

        if (t->failed)
            continue;
        doing[n] = (Doing){.step = s, .try = at};
        if (t->done >= done_max(s)) {
            (void)err_set(&doing[n].err, ERR_CONFLICT,
                          "the service took it %d times, and nothing changed (%s)", t->done,
                          s->reason);
            run_fail(r, &doing[n]);
            err_clear(&doing[n].err);
        } else if (t->not_before > mono) {
            *ret_pending |= run_touched(s);
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

Watch *run_watch(Run *r, const Wait *w)
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
    Msec most = r->c->timeout_ms ? r->c->timeout_ms : WAIT_DEFAULT, mono = r->o->mono(r->d);
    unsigned mask = 0;

    for (size_t i = 0; i < r->watches.len; i++)
        r->watches.items[i].seen = false;
    for (size_t i = 0; i < next->waits.len; i++) {
        const Wait *w = &next->waits.items[i];
        Watch *watch = run_watch(r, w);
        Msec limit = streq(w->what, WAIT_SILENT) ? MIN(most, WAIT_DEFAULT) : most;

        watch->seen = true;
        watch->over = mono - watch->since >= limit;
        if (watch->over || (r->c->no_wait && w->kind == RESOURCE_HOST))
            continue;
        mask |= KIND_BIT(w->kind);
        run_event(r, (ApplyEvent){.what = APPLY_WAIT,
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
    return run_stopped(r) ? 0 : run_look(r, mask, err);
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
        k = run_look(r, KINDS_UNGUARDED, err);
    } else if (n) {
        r->looked_at_end = false;
        k = perform(r, doing, n, err);
    } else if (pending | waited) {
        k = poll(r, pending | waited, err);
    } else if (!r->looked_at_end && (next.stucks.len || r->failed || r->suspicious)) {
        /* Before giving up: is it still so? Before calling it done: is it there once? */
        r->looked_at_end = true;
        k = run_look(r, KIND_ALL, err);
    } else {
        *ret_end = true;
        k = run_conclude(r, &next, err);
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
        if (run_stopped(r)) {
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
        if (k != -ERR_HELD || r->o->mono(r->d) - start >= r->c->lease_wait_ms || run_stopped(r))
            return k;
        run_event(r, (ApplyEvent){.what = APPLY_LEASE,
                                  .words = err ? err->text : NULL,
                                  .took_ms = r->o->mono(r->d) - start});
        err_clear(err);
        r->o->pause(r->d, SECOND);
    }
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

/* What ended a run that had done something already is, for whoever started it, "partly done". */
static int partly(const Run *r, int k, Err *err)
{
    static const int own_codes[] = {ERR_HELD,        ERR_CHANGED, ERR_AMBIGUOUS,
                                    ERR_INTERRUPTED, ERR_HEALTH,  ERR_PARTIAL};

    for (size_t i = 0; i < ARRAY_LEN(own_codes); i++) {
        if (k == -own_codes[i])
            return k;
    }
    if (k == 0 || !r->done)
        return k;
    err->kind = ERR_PARTIAL;
    return err_hint(err, "what was done stays; a rerun goes on from there");
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
    k = take_lease(&r, err);
    r.suspicious = r.look_twice;
    if (k == 0) {
        /* The world of the plan is as old as the person's answer. */
        k = run_look(&r, KIND_ALL, err);
        if (k == 0)
            k = partly(&r, loop(&r, err), err);
        if (k == 0 && driver->tidy && !g->destroy)
            driver->tidy(d, w);
        driver->lease_drop(d);
    }
    run_clear(&r);
    return k;
}
