/* What became of a batch of steps, and what the world looks like after it. */
#include "plan/apply_run.h"

/* How long a list may lag behind an answer of the same service. */
#define LAG (15 * SECOND)
/* How long a refusal "not now" is believed. */
#define LATER_MAX (2 * MINUTE)

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

int run_look(Run *r, unsigned mask, Err *err)
{
    size_t servers = count(r->w, RESOURCE_SERVER);
    int k = mask ? r->o->look(r->d, mask, r->w, err) : 0;

    if (k < 0)
        return err_wrap(err, "looking at what is there");
    keep_made(r, mask);
    /* A server that went has let go of what it held. */
    if (mask & KIND_BIT(RESOURCE_SERVER) && count(r->w, RESOURCE_SERVER) < servers)
        return run_look(r,
                        KIND_BIT(RESOURCE_PORT) | KIND_BIT(RESOURCE_VOLUME) |
                            KIND_BIT(RESOURCE_SERVER_GROUP) | KIND_BIT(RESOURCE_FLOATING_IP),
                        err);
    return 0;
}

/* The kinds in which a step shows. */
unsigned run_touched(const Step *s)
{
    unsigned mask = KIND_BIT(s->kind);

    if (s->kind == RESOURCE_SERVER && s->verb != KIND_CREATE)
        mask |= KIND_BIT(RESOURCE_PORT) | KIND_BIT(RESOURCE_VOLUME) | KIND_BIT(RESOURCE_HOST);
    return mask;
}

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

void run_fail(Run *r, Doing *d)
{
    r->tries.items[d->try].failed = true;
    r->failed++;
    run_step_event(r, APPLY_FAILED, d, &d->err);
    if (r->first.kind)
        return;
    (void)err_wrap(&d->err, "%s %s", resource_row(d->step->kind)->word, d->step->key);
    (void)err_move(&r->first, &d->err);
}

static void done(Run *r, Doing *d)
{
    Try *t = &r->tries.items[d->try];

    t->done++;
    t->unknown = 0;
    t->not_before =
        t->done > 1 ? r->o->mono(r->d) + MIN(POLL_MAX, POLL_FIRST << MIN(t->done, 4)) : 0;
    t->later_since = 0;
    r->done++;
    r->poll = POLL_FIRST;
    run_step_event(r, APPLY_DONE, d, NULL);
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
    Try *t = &r->tries.items[d->try];
    Msec mono = r->o->mono(r->d);

    if (!t->later_since)
        t->later_since = mono;
    t->not_before = mono + MIN(5 * SECOND, MAX(SECOND / 2, mono - t->later_since));
    if (mono - t->later_since > LATER_MAX)
        run_fail(r, d);
    else
        run_event(r, (ApplyEvent){.what = APPLY_WAIT,
                                  .kind = d->step->kind,
                                  .key = d->step->key,
                                  .words = d->err.text ? d->err.text : "not accepted yet",
                                  .took_ms = mono - t->later_since});
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
    r->suspicious = r->suspicious || mask;
    for (size_t p = 0; mask && p < ARRAY_LEN(pauses) && !run_stopped(r); p++) {
        if (pauses[p])
            r->o->pause(r->d, pauses[p]);
        if ((k = run_look(r, mask, err)) < 0)
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
    for (size_t i = 0; i < n && !run_stopped(r); i++) {
        if (doing[i].outcome == DOING_UNKNOWN && ++r->tries.items[doing[i].try].unknown > 1)
            run_fail(r, &doing[i]);
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

int run_fold(Run *r, Doing *doing, size_t n, Err *err)
{
    unsigned dirty = 0;
    int k;

    for (size_t i = 0; i < n; i++) {
        Doing *d = &doing[i];

        if (d->outcome == DOING_DONE) {
            take_resource(r, d);
            done(r, d);
        } else if (d->outcome == DOING_FAILED &&
                   !(d->err.kind == ERR_INTERRUPTED && run_stopped(r))) {
            run_fail(r, d);
        } else if (d->outcome == DOING_LATER) {
            later(r, d);
        }
        if (d->outcome != DOING_DONE || d->step->verb != KIND_CREATE)
            dirty |= run_touched(d->step);
    }
    if (run_stopped(r))
        return 0;
    if ((k = run_look(r, dirty, err)) < 0)
        return k;
    for (size_t i = 0; i < n; i++) {
        if (doing[i].outcome == DOING_THERE && !adopt(r, &doing[i]))
            run_fail(r, &doing[i]);
    }
    return find_unknown(r, doing, n, err);
}
