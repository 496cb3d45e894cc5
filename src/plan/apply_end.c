/* The result of a run, in words. */
#include "plan/apply_run.h"

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

        if (r->c->no_wait && w->kind == RESOURCE_HOST)
            continue;
        Msec for_ms = r->o->mono(r->d) - run_watch(r, w)->since;
        _cleanup_free_ char *why = xasprintf("still %s after %s", w->what, time_span(for_ms, span));

        problem(p, w->kind == RESOURCE_HOST ? ERR_HEALTH : ERR_PARTIAL, w->kind, w->key, why);
    }
}

int run_conclude(Run *r, const Next *next, Err *err)
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
