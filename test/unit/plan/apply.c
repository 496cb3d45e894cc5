/* The loop against a cloud on paper, which builds slowly and fails where it is told to: wherever it
 * fails, and whether before or after the effect, a second run ends with one object a key. */
#include "paper.h"
#include "plan/apply_driver.h"

typedef enum Fault {
    FAULT_NONE,
    FAULT_REFUSED,     /* an error, and nothing happened */
    FAULT_LOST_BEFORE, /* no answer, and nothing happened */
    FAULT_LOST_AFTER,  /* no answer, and it happened */
    FAULT_LOST_LATE,   /* no answer, and it shows in lists only some seconds later */
    FAULT_DOUBLE,      /* no answer, and it happened twice */
    FAULT_CONFLICT,    /* "not now", a few times */
    FAULT_STOP,        /* Ctrl-C during it */
    FAULT_NO_EFFECT    /* taken, and nothing happens, ever */
} Fault;

typedef struct Paper {
    World truth;
    const Goal *goal;
    Msec clock;
    unsigned next_id, performed, looks;
    unsigned fault_at; /* the fault_at-th step performed, from 1; 0: none */
    Fault fault;
    int conflicts;
    volatile sig_atomic_t stop;
    bool foreign_holder, lease, lost_lease, took_over;
    int held_for; /* lease_take is refused so often */
    bool lame;    /* hosts never come up well */
    Msec timeout_ms;
    /* What lists do not show yet. */
    Msec hidden_until;
    char *hidden_id;
    /* What the loop told. */
    unsigned starts, dones, fails, waits, leases, tidied;
    Err last;
} Paper;

static void new_ids(Paper *p)
{
    for (size_t i = 0; i < p->truth.items.len; i++) {
        Resource *r = &p->truth.items.items[i];

        if (!streq(r->id, "?"))
            continue;
        free(r->id);
        r->id = xasprintf("id-%u", ++p->next_id);
        r->created_at = p->clock;
        if (r->kind == RESOURCE_PORT) {
            _cleanup_free_ char *address = xasprintf("10.77.0.%u", p->next_id);

            json_object_set_new(r->attrs, "address", json_string(address));
        }
        if (r->kind == RESOURCE_SERVER)
            paper_status(&p->truth, r->kind, r->key, "BUILD");
        if (r->kind == RESOURCE_VOLUME)
            paper_status(&p->truth, r->kind, r->key, "creating");
        if (r->kind == RESOURCE_HOST)
            json_object_set_new(r->attrs, "hello", json_false());
    }
}

/* A step's effect: as predicted, but not at once. */
static void effect(Paper *p, const Goal *g, const Step *s)
{
    Resource *r;

    if (s->verb == KIND_DELETE && s->kind == RESOURCE_SERVER) {
        r = plan_target(&p->truth, s);
        if (r)
            json_object_set_new(r->attrs, "task", json_string("deleting"));
        return;
    }
    if (s->verb != KIND_CREATE && !plan_target(&p->truth, s))
        return;
    plan_predict(g, &p->truth, s);
    new_ids(p);
    if (s->verb == KIND_SEND) {
        json_t *attrs = plan_target(&p->truth, s)->attrs;

        json_object_set_new(attrs, "seen", json_integer(0));
        json_object_set_new(attrs, "state", json_string(""));
    }
}

/* Something that is under way comes to its end, one thing a look. */
static void progress(Paper *p)
{
    for (size_t i = 0; i < p->truth.items.len; i++) {
        Resource *r = &p->truth.items.items[i];
        bool leaving = streq(json_str(r->attrs, "task"), "deleting");

        if (streq(r->status, "creating")) {
            paper_status(&p->truth, r->kind, r->key, "available");
        } else if (r->kind == RESOURCE_SERVER && leaving) {
            plan_predict(p->goal, &p->truth,
                         &(Step){.verb = KIND_DELETE,
                                 .kind = r->kind,
                                 .key = r->key,
                                 .generation = r->generation,
                                 .id = r->id});
        } else if (streq(r->status, "BUILD")) {
            paper_status(&p->truth, r->kind, r->key, "ACTIVE");
        } else if (r->kind == RESOURCE_HOST && !json_bool(r->attrs, "hello", false) &&
                   streq(world_find(&p->truth, RESOURCE_SERVER, r->key, 0)->status, "ACTIVE")) {
            json_object_set_new(r->attrs, "hello", json_true());
        } else if (r->kind == RESOURCE_HOST &&
                   json_int(r->attrs, "seen", 0) < json_int(r->attrs, "sent", 0)) {
            json_object_set(r->attrs, "seen", json_object_get(r->attrs, "sent"));
            json_object_set_new(r->attrs, "state", json_string(p->lame ? "failed" : "healthy"));
            json_object_set_new(r->attrs, "report", json_string("web.0/n/out/00000001-failed"));
        } else {
            continue;
        }
        return;
    }
}

static void answer(Paper *p, const Goal *g, Doing *d, Fault fault)
{
    size_t before = p->truth.items.len;

    if (fault == FAULT_CONFLICT) {
        d->outcome = d->step->verb == KIND_CREATE ? DOING_THERE : DOING_LATER;
        (void)err_set(&d->err, ERR_CONFLICT, "not now");
        return;
    }
    if (fault == FAULT_REFUSED || fault == FAULT_LOST_BEFORE) {
        d->outcome = fault == FAULT_REFUSED ? DOING_FAILED : DOING_UNKNOWN;
        (void)err_set(&d->err, ERR_TEMPORARY, "no such luck");
        return;
    }
    if (fault != FAULT_NO_EFFECT)
        effect(p, g, d->step);
    if (fault == FAULT_DOUBLE && d->step->verb == KIND_CREATE)
        effect(p, g, d->step);
    if (fault == FAULT_STOP)
        p->stop = 1;
    d->outcome = DOING_DONE;
    if (fault == FAULT_LOST_AFTER || fault == FAULT_LOST_LATE || fault == FAULT_DOUBLE) {
        d->outcome = DOING_UNKNOWN;
        (void)err_set(&d->err, ERR_TEMPORARY, "connection reset");
    } else if (d->step->verb == KIND_CREATE && p->truth.items.len > before) {
        d->resource = resource_copy(&p->truth.items.items[before]);
    }
    if (fault == FAULT_LOST_LATE && p->truth.items.len > before) {
        p->hidden_until = p->clock + 4 * SECOND;
        p->hidden_id = xstrdup(p->truth.items.items[before].id);
    }
}

static int paper_perform(void *user, const Goal *g, const World *w, Doing *doing, size_t n,
                         Err *err)
{
    Paper *p = user;

    (void)w;
    (void)err;
    assert_true(p->lease);
    for (size_t i = 0; i < n; i++) {
        bool now = ++p->performed == p->fault_at;

        if (p->fault == FAULT_CONFLICT && p->conflicts > 0 && p->performed > p->fault_at) {
            p->conflicts--;
            now = true;
        }
        answer(p, g, &doing[i],
               now || (p->fault == FAULT_NO_EFFECT && p->fault_at &&
                       doing[i].step->kind == (ResourceKind)p->fault_at)
                   ? p->fault
                   : FAULT_NONE);
    }
    p->clock += 200;
    return 0;
}

static int paper_look(void *user, unsigned mask, World *w, Err *err)
{
    Paper *p = user;

    (void)err;
    p->looks++;
    for (size_t i = w->items.len; i-- > 0;) {
        if (!(mask & KIND_BIT(w->items.items[i].kind)))
            continue;
        resource_clear(&w->items.items[i]);
        vec_remove(&w->items, i);
    }
    for (size_t i = 0; i < p->truth.items.len; i++) {
        const Resource *r = &p->truth.items.items[i];

        if (mask & KIND_BIT(r->kind) &&
            (!streq(r->id, p->hidden_id) || p->clock >= p->hidden_until))
            (void)world_add(w, resource_copy(r));
    }
    progress(p);
    p->clock += 50;
    return 0;
}

static int paper_lease_take(void *user, bool *ret_took_over, Msec *ret_since, Err *err)
{
    Paper *p = user;

    if (p->held_for-- > 0)
        return err_set(err, ERR_HELD, "jo@laptop is at work");
    p->lease = true;
    *ret_took_over = p->took_over;
    *ret_since = p->clock;
    return 0;
}

static int paper_lease_renew(void *user, Err *err)
{
    Paper *p = user;

    return p->lost_lease && p->performed ? err_set(err, ERR_HELD, "it was taken away") : 0;
}

static void paper_lease_drop(void *user)
{
    ((Paper *)user)->lease = false;
}

static Msec paper_clock(void *user)
{
    return ((Paper *)user)->clock;
}

static void paper_pause(void *user, Msec ms)
{
    ((Paper *)user)->clock += ms;
}

static void paper_tidy(void *user, const World *w)
{
    Paper *p = user;

    (void)w;
    assert_true(p->lease);
    p->tidied++;
}

static char *paper_report(void *user, const char *object)
{
    (void)user;
    return xasprintf("%s says no", object);
}

static const ApplyDriver paper_driver = {.perform = paper_perform,
                                         .look = paper_look,
                                         .lease_take = paper_lease_take,
                                         .lease_renew = paper_lease_renew,
                                         .lease_drop = paper_lease_drop,
                                         .now = paper_clock,
                                         .mono = paper_clock,
                                         .pause = paper_pause,
                                         .tidy = paper_tidy,
                                         .report = paper_report};

static void on_event(void *user, const ApplyEvent *e)
{
    Paper *p = user;

    p->starts += e->what == APPLY_START;
    p->dones += e->what == APPLY_DONE;
    p->fails += e->what == APPLY_FAILED;
    p->waits += e->what == APPLY_WAIT;
    p->leases += e->what == APPLY_LEASE;
}

static int run(Paper *p, const Goal *g, Msec lease_wait_ms)
{
    ApplyContext c = {.stop = &p->stop,
                      .event = on_event,
                      .user = p,
                      .lease_wait_ms = lease_wait_ms,
                      .timeout_ms = p->timeout_ms};
    _cleanup_(world_clear) World w = world_copy(&p->truth);
    _cleanup_(steps_clear) Steps plan = {0};
    int r;

    err_clear(&p->last);
    p->goal = g;
    /* The counter of faults is of this run. */
    p->performed = 0;
    r = plan_make(g, &w, p->clock, &plan, &p->last);
    if (r == 0)
        r = apply_with(&c, &paper_driver, p, g, &plan, &w, &p->last);
    assert_false(p->lease);
    return r;
}

static Paper paper_new(void)
{
    return (Paper){.truth = paper_world(), .clock = NOW};
}

static void paper_free(Paper *p)
{
    world_clear(&p->truth);
    err_clear(&p->last);
    free(p->hidden_id);
}
DEFINE_CLEAR(Paper, paper_free)

static void heal(Paper *p)
{
    p->fault = FAULT_NONE;
    p->fault_at = 0;
    p->stop = 0;
    p->conflicts = 0;
    p->lost_lease = p->lame = false;
}

static void check_whole(const Goal *g, const Paper *p)
{
    _cleanup_(next_clear) Next n = {0};
    _cleanup_free_ char *text = NULL;

    paper_next(g, &p->truth, &n);
    text = paper_text(&n);
    assert_string_equal(text, "");
    for (size_t i = 0; i < p->truth.items.len; i++) {
        const Resource *a = &p->truth.items.items[i];

        for (size_t k = 0; k < i && a->kind != RESOURCE_HOST; k++)
            assert_false(p->truth.items.items[k].kind == a->kind &&
                         streq(p->truth.items.items[k].key, a->key));
    }
}

static void all_goes_well(void **state)
{
    _cleanup_(goal_clear) Goal g = paper_goal(paper_two_tiers);
    _cleanup_(paper_free) Paper p = paper_new();

    (void)state;
    assert_int_equal(run(&p, &g, 0), 0);
    check_whole(&g, &p);
    assert_int_equal(p.starts, 26);
    assert_int_equal(p.dones, 26);
    assert_int_equal(p.fails, 0);
    assert_int_equal(p.tidied, 1);
    assert_true(p.waits > 0);
    /* Lists are asked for when there is something to see, not all the time. */
    assert_true(p.looks < 40);
    /* Nothing to do is one look under the lease. */
    p.looks = p.starts = 0;
    assert_int_equal(run(&p, &g, 0), 0);
    assert_int_equal(p.looks, 1);
    assert_int_equal(p.starts, 0);
    g.destroy = true;
    p.tidied = 0;
    assert_int_equal(run(&p, &g, 0), 0);
    assert_int_equal(p.tidied, 0);
    for (size_t i = 0; i < p.truth.items.len; i++)
        assert_true(island_protects(p.truth.items.items[i].kind, p.truth.items.items[i].key));
    assert_int_equal(p.truth.items.len, 4);
}

/* Fault by fault, step by step. */
static void every_fault_everywhere(void **state)
{
    static const Fault faults[] = {FAULT_REFUSED,   FAULT_LOST_BEFORE, FAULT_LOST_AFTER,
                                   FAULT_LOST_LATE, FAULT_DOUBLE,      FAULT_CONFLICT,
                                   FAULT_STOP};
    _cleanup_(goal_clear) Goal g = paper_goal(paper_two_tiers);

    (void)state;
    for (size_t f = 0; f < ARRAY_LEN(faults); f++) {
        for (unsigned at = 1; at <= 26; at++) {
            _cleanup_(paper_free) Paper p = paper_new();
            int r;

            p.fault = faults[f];
            p.fault_at = at;
            r = run(&p, &g, 0);
            /* What was only lost is found or done again within the run. */
            if (p.fault != FAULT_REFUSED && p.fault != FAULT_STOP && p.fault != FAULT_CONFLICT &&
                r != 0)
                fail_msg("fault %d at %u: %s", p.fault, at, p.last.text);
            if (p.fault == FAULT_STOP)
                assert_int_equal(r, -ERR_INTERRUPTED);
            heal(&p);
            r = run(&p, &g, 0);
            if (r != 0)
                fail_msg("after fault %zu at %u: %s", f, at, p.last.text);
            check_whole(&g, &p);
        }
    }
}

static void faults_while_destroying(void **state)
{
    static const Fault faults[] = {FAULT_REFUSED, FAULT_LOST_BEFORE, FAULT_LOST_AFTER,
                                   FAULT_CONFLICT, FAULT_STOP};
    _cleanup_(goal_clear) Goal g = paper_goal(paper_two_tiers);

    (void)state;
    for (size_t f = 0; f < ARRAY_LEN(faults); f++) {
        for (unsigned at = 1; at <= 22; at++) {
            _cleanup_(paper_free) Paper p = paper_new();
            int r;

            g.destroy = g.data = false;
            assert_int_equal(run(&p, &g, 0), 0);
            g.destroy = g.data = true;
            p.fault = faults[f];
            p.fault_at = at;
            p.conflicts = p.fault == FAULT_CONFLICT ? 3 : 0;
            r = run(&p, &g, 0);
            /* "Not now" is only a matter of time. */
            if (p.fault == FAULT_CONFLICT && r != 0)
                fail_msg("conflict at %u: %s", at, p.last.text);
            heal(&p);
            r = run(&p, &g, 0);
            if (r != 0)
                fail_msg("after fault %zu at %u: %s", f, at, p.last.text);
            assert_int_equal(p.truth.items.len, 0);
        }
    }
}

/* One failure does not stop what does not need it; then the run says what and how many. */
static void partly(void **state)
{
    _cleanup_(goal_clear) Goal g = paper_goal(paper_two_tiers);
    _cleanup_(paper_free) Paper p = paper_new();

    (void)state;
    p.fault = FAULT_REFUSED;
    p.fault_at = 8; /* the volume */
    assert_int_equal(run(&p, &g, 0), -ERR_PARTIAL);
    assert_int_equal(p.last.kind, ERR_PARTIAL);
    assert_string_equal(p.last.text, "1 of 26 steps failed: volume db.0: no such luck");
    assert_string_equal(p.last.hint, "what was done stays; a rerun goes on from there");
    assert_int_equal(p.fails, 1);
    assert_int_equal(p.dones, 23); /* all but the volume, its server and its host */
    assert_non_null(world_find(&p.truth, RESOURCE_HOST, "web.0", 0));
    /* Of a run that did nothing, the kind of its failure is the result. */
    heal(&p);
    p.fault = FAULT_REFUSED;
    p.fault_at = 1;
    assert_int_equal(run(&p, &g, 0), -ERR_TEMPORARY);
}

static void unhealthy(void **state)
{
    _cleanup_(goal_clear) Goal g = paper_goal(paper_two_tiers);
    _cleanup_(paper_free) Paper p = paper_new();

    (void)state;
    p.lame = true;
    assert_int_equal(run(&p, &g, 0), -ERR_HEALTH);
    assert_string_equal(p.last.text, "2 things are not as wanted, the first: host web.0: its "
                                     "services did not become healthy: web.0/n/out/00000001-failed "
                                     "says no");
}

static void no_effect(void **state)
{
    _cleanup_(goal_clear) Goal g = paper_goal(paper_two_tiers);
    _cleanup_(paper_free) Paper p = paper_new();

    (void)state;
    assert_int_equal(run(&p, &g, 0), 0);
    paper_attr(&p.truth, RESOURCE_CONTAINER, "vault", "versions", json_false());
    p.fault = FAULT_NO_EFFECT;
    p.fault_at = RESOURCE_CONTAINER;
    assert_int_equal(run(&p, &g, 0), -ERR_PARTIAL);
    assert_string_equal(p.last.text,
                        "1 of 1 steps failed: container vault: the service took it 5 times, and "
                        "nothing changed (versions is false, to be true)");
}

static void never_ready(void **state)
{
    _cleanup_(goal_clear) Goal g = paper_goal(paper_two_tiers);
    _cleanup_(paper_free) Paper p = paper_new();

    (void)state;
    assert_int_equal(run(&p, &g, 0), 0);
    paper_status(&p.truth, RESOURCE_SERVER, "web.0", "REBOOT");
    assert_int_equal(run(&p, &g, 0), -ERR_PARTIAL);
    assert_string_equal(p.last.text, "server web.0: still changing (the cloud is at work on it) "
                                     "after 10 min");
}

/* Migrations may take a day; a server that has gone is nothing to wait for so long. */
static void silent_while_others_may_take_a_day(void **state)
{
    _cleanup_(goal_clear) Goal g = paper_goal(paper_two_tiers);
    _cleanup_(paper_free) Paper p = paper_new();

    (void)state;
    assert_int_equal(run(&p, &g, 0), 0);
    p.timeout_ms = 24 * HOUR;
    paper_attr(&p.truth, RESOURCE_HOST, "web.0", "state", json_string("starting"));
    paper_attr(&p.truth, RESOURCE_HOST, "web.0", "state_since", json_integer(p.clock - HOUR));
    paper_attr(&p.truth, RESOURCE_HOST, "web.0", "sent_at", json_integer(p.clock - HOUR));
    p.lame = true;
    assert_int_equal(run(&p, &g, 0), -ERR_HEALTH);
    assert_string_equal(p.last.text, "host web.0: still silent after 10 min");
}

/* What the plan did not have is refused before anything is done. */
static void world_changed(void **state)
{
    _cleanup_(goal_clear) Goal g = paper_goal(paper_two_tiers);
    _cleanup_(paper_free) Paper p = paper_new();
    ApplyContext c = {.stop = &p.stop};
    _cleanup_(world_clear) World w = {0};
    _cleanup_(steps_clear) Steps plan = {0};

    (void)state;
    assert_int_equal(run(&p, &g, 0), 0);
    paper_attr(&p.truth, RESOURCE_USER, "media", "roles", json_array());
    w = world_copy(&p.truth);
    assert_int_equal(plan_make(&g, &w, p.clock, &plan, NULL), 0);
    paper_remove(&p.truth, RESOURCE_FLOATING_IP, "main");
    p.performed = 0;
    assert_int_equal(apply_with(&c, &paper_driver, &p, &g, &plan, &w, &p.last), -ERR_CHANGED);
    assert_string_equal(p.last.text, "the cloud is not what the plan was made of; this was not in "
                                     "it: create floating IP main (not there)");
    assert_int_equal(p.performed, 0);
    assert_false(p.lease);
}

static void leases(void **state)
{
    _cleanup_(goal_clear) Goal g = paper_goal(paper_two_tiers);
    _cleanup_(paper_free) Paper p = paper_new();

    (void)state;
    p.held_for = 3;
    assert_int_equal(run(&p, &g, 0), -ERR_HELD);
    assert_int_equal(p.performed, 0);
    assert_int_equal(run(&p, &g, MINUTE), 0);
    assert_int_equal(p.leases, 2);
    /* A lease that is lost ends the run at once. */
    paper_remove(&p.truth, RESOURCE_ROUTER, "main");
    paper_attr(&p.truth, RESOURCE_USER, "media", "roles", json_array());
    p.lost_lease = true;
    assert_int_equal(run(&p, &g, 0), -ERR_HELD);
}

/* After a holder that died, its last request may still land: it is looked for twice. */
static void took_over(void **state)
{
    _cleanup_(goal_clear) Goal g = paper_goal(paper_two_tiers);
    _cleanup_(paper_free) Paper p = paper_new();
    Resource late = resource_copy(goal_find(&g, RESOURCE_NETWORK, "main"));

    (void)state;
    late.id = xstrdup("late");
    late.status = xstrdup("ACTIVE");
    late.created_at = NOW;
    (void)world_add(&p.truth, late);
    p.hidden_id = xstrdup("late");
    p.hidden_until = NOW + SECOND;
    p.took_over = true;
    /* The plan was made before it showed. */
    {
        ApplyContext c = {.stop = &p.stop};
        _cleanup_(world_clear) World empty = paper_world();
        _cleanup_(steps_clear) Steps plan = {0};

        assert_int_equal(plan_make(&g, &empty, p.clock, &plan, NULL), 0);
        assert_int_equal(apply_with(&c, &paper_driver, &p, &g, &plan, &empty, &p.last), 0);
    }
    check_whole(&g, &p);
    assert_string_equal(world_find(&p.truth, RESOURCE_NETWORK, "main", 0)->id, "late");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_goes_well),
        cmocka_unit_test(every_fault_everywhere),
        cmocka_unit_test(faults_while_destroying),
        cmocka_unit_test(partly),
        cmocka_unit_test(unhealthy),
        cmocka_unit_test(no_effect),
        cmocka_unit_test(never_ready),
        cmocka_unit_test(silent_while_others_may_take_a_day),
        cmocka_unit_test(world_changed),
        cmocka_unit_test(leases),
        cmocka_unit_test(took_over),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
