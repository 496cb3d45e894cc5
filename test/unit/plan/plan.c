/* The engine: the whole plan of an empty cloud, what comes next in half-done ones, and what it
 * refuses. */
#include "host/release.h"
#include "paper.h"

static void assert_next(const Goal *g, const World *w, const char *expected)
{
    _cleanup_(next_clear) Next n = {0};
    _cleanup_free_ char *text = NULL;

    paper_next(g, w, &n);
    text = paper_text(&n);
    assert_string_equal(text, expected);
}

/* Of each step. */
static void assert_downtime(const Goal *g, const World *w, int seconds)
{
    _cleanup_(next_clear) Next n = {0};

    paper_next(g, w, &n);
    assert_true(n.steps.len > 0);
    for (size_t i = 0; i < n.steps.len; i++)
        assert_int_equal(n.steps.items[i].downtime_s, seconds);
}

static void assert_plan(const Goal *g, const World *w, const char *const *lines, size_t n)
{
    _cleanup_(steps_clear) Steps steps = {0};
    _cleanup_(err_clear) Err err = {0};

    if (plan_make(g, w, NOW, &steps, &err) < 0)
        fail_msg("%s", err.text);
    for (size_t i = 0; i < steps.len; i++) {
        _cleanup_(buf_clear) Buf line = BUF_INIT(BUF_MAX_LINE);

        plan_line(g, &steps.items[i], &line);
        if (i >= n || !streq(line.p, lines[i]))
            fail_msg("line %zu\n  is:     \"%s\"\n  wanted: \"%s\"", i, line.p,
                     i < n ? lines[i] : "nothing");
    }
    assert_int_equal(steps.len, n);
}

static const char *const from_nothing[] = {
    "  + network main                                              not there",
    "  + router main                                               not there",
    "  + security group web        3 rules                         not there",
    "  + security group db         2 rules                         not there",
    "  + floating IP main                                          not there",
    "  + server group web          soft-anti-affinity              not there",
    "  + server group db           soft-anti-affinity              not there",
    "  + volume db.0               50 GB, nvme                     not there",
    "  + container vault           reef-vault                      not there",
    "  + subnet main               10.77.0.0/24                    not there",
    "  ~ security group web        add rules                       rules missing: in tcp 3000 "
    "group:web; in tcp 80 0.0.0.0/0; in tcp 80 ::/0",
    "  ~ security group db         add rules                       rules missing: in tcp 5432 "
    "group:web; in tcp 6379 group:web",
    "  + user media                role media                      not there",
    "  + container boot            reef-boot                       not there",
    "  + container mail            reef-mail                       not there",
    "  + router interface main     10.77.0.1                       not there",
    "  + port web.0                group web                       not there",
    "  + port db.0                 group db                        not there",
    "  ~ user media                grant role                      role missing: media",
    "  + container media           reef-media                      not there",
    "  ~ router interface main     attach                          not on the router yet",
    "  ~ floating IP main          attach                          on no port, to be on port web.0",
    "  + server web.0              small, debian-12                not there",
    "  + server db.0               big, debian-12, volume db.0     not there",
    "  ~ host web.0                send settings                   no settings sent yet",
    "  ~ host db.0                 send settings                   no settings sent yet",
};

static void empty_world(void **state)
{
    _cleanup_(goal_clear) Goal g = paper_goal(paper_two_tiers);
    _cleanup_(world_clear) World w = paper_world();

    (void)state;
    assert_plan(&g, &w, from_nothing, ARRAY_LEN(from_nothing));
}

static void nothing_after_all(void **state)
{
    static const char *const texts[] = {paper_two_tiers, paper_more};

    (void)state;
    for (size_t k = 0; k < ARRAY_LEN(texts); k++) {
        _cleanup_(goal_clear) Goal g = paper_goal(texts[k]);
        _cleanup_(world_clear) World w = paper_built(&g);

        assert_next(&g, &w, "");
        assert_plan(&g, &w, NULL, 0);
    }
}

/* What one thing that is missing, odd or under way leads to, in an island that is all right
 * otherwise. */
static const struct {
    ResourceKind kind;
    const char *key;
    const char *attr, *value; /* JSON; attr NULL: it is removed; "status": its status */
    const char *next;
} odd[] = {
    {RESOURCE_ROUTER, "main", NULL, NULL, "create router main"},
    {RESOURCE_INTERFACE, "main", NULL, NULL, "create interface main"},
    {RESOURCE_INTERFACE, "main", "router", "\"\"", "attach interface main"},
    {RESOURCE_INTERFACE, "main", "router", "\"r-9\"",
     "stuck interface main: it hangs on the router r-9, which is not the island's"},
    {RESOURCE_FLOATING_IP, "main", NULL, NULL, "create ip main"},
    {RESOURCE_FLOATING_IP, "main", "port", "\"\"", "attach ip main"},
    {RESOURCE_FLOATING_IP, "main", "port", "\"port-9\"", "attach ip main"},
    {RESOURCE_FLOATING_IP, "main", "external", "\"net-9\"",
     "stuck ip main: external is net-9, the island file makes it net-1, and changing it is not "
     "built yet: put it back as it was; a new value needs a new island"},
    {RESOURCE_SUBNET, "main", "cidr", "\"10.0.0.0/24\"",
     "stuck subnet main: cidr is 10.0.0.0/24, the island file makes it 10.77.0.0/24, and changing "
     "it is not built yet: put it back as it was; a new value needs a new island"},
    {RESOURCE_GROUP, "db", "rules", "[]", "rules group db"},
    {RESOURCE_GROUP, "db", "rules",
     "[\"in tcp 22 0.0.0.0/0\",\"in tcp 5432 group:web\",\"in tcp 6379 group:web\"]",
     "unrule group db in tcp 22 0.0.0.0/0"},
    {RESOURCE_GROUP, "db", "rules", "[\"in tcp 1 ::/0\",\"in tcp 6379 group:web\"]",
     "rules group db; unrule group db in tcp 1 ::/0"},
    {RESOURCE_PORT, "web.0", "groups", "[\"default\"]", "change port web.0"},
    {RESOURCE_SERVER_GROUP, "db", NULL, NULL, "create servergroup db"},
    {RESOURCE_USER, "media", "roles", "[\"reader\"]", "grant user media media"},
    {RESOURCE_CONTAINER, "media", "read", "[\".r:*\",\".rlistings\"]", "change container media"},
    {RESOURCE_CONTAINER, "media", "write", "[]", "change container media"},
    {RESOURCE_CONTAINER, "mail", "temp_url", "false", "change container mail"},
    {RESOURCE_CONTAINER, "vault", "versions", "false", "change container vault"},
    /* Volumes. */
    {RESOURCE_VOLUME, "db.0", "size_gb", "60",
     "stuck volume db.0: it has 60 GB, the island file says 50, and volumes only grow: put the old "
     "size back in the island file"},
    {RESOURCE_VOLUME, "db.0", "size_gb", "40", "extend volume db.0"},
    {RESOURCE_VOLUME, "db.0", "type", "\"disk\"", "retype volume db.0"},
    {RESOURCE_VOLUME, "db.0", "status", "creating",
     "stuck volume db.0: still being created after 1 h; delete volume reef-volume-db-0 in the "
     "cloud "
     "and apply again to have it made anew"},
    {RESOURCE_VOLUME, "db.0", "status", "error", "stuck volume db.0: error"},
    {RESOURCE_VOLUME, "db.0", "status", "detaching",
     "wait volume db.0: changing (attaching, detaching, extending or retyping)"},
    /* Servers. */
    {RESOURCE_SERVER, "web.0", NULL, NULL, "create server web.0"},
    {RESOURCE_SERVER, "web.0", "flavor", "\"huge\"", "resize server web.0"},
    /* What it was born from may be gone; that is no reason to touch it. */
    {RESOURCE_SERVER, "web.0", "image", "\"gone\"", ""},
    {RESOURCE_SERVER, "web.0", "status", "BUILD",
     "stuck server web.0: still being built after 1 h; `atoll apply --replace web.0` has it made "
     "anew (volumes stay)"},
    {RESOURCE_SERVER, "web.0", "status", "REBOOT",
     "wait server web.0: changing (the cloud is at work on it)"},
    {RESOURCE_SERVER, "web.0", "task", "\"deleting\"", "wait server web.0: being deleted"},
    {RESOURCE_SERVER, "web.0", "status", "ERROR",
     "stuck server web.0: the cloud says ERROR, and not why"},
    {RESOURCE_SERVER, "web.0", "status", "SHUTOFF",
     "stuck server web.0: it is shut off; start it with `openstack server start`"},
    {RESOURCE_SERVER, "web.0", "status", "VERIFY_RESIZE", "confirm server web.0"},
    {RESOURCE_SERVER, "web.0", "status", "SHELVED_OFFLOADED",
     "stuck server web.0: somebody paused, suspended, shelved or rescued it; bring it back to "
     "ACTIVE"},
    /* Hosts. */
    {RESOURCE_HOST, "web.0", "hello", "false",
     "stuck host web.0: still booting after 1 h; `atoll apply --replace web.0` has it made anew "
     "(volumes stay)"},
    {RESOURCE_HOST, "web.0", "sent", "0", "send host web.0"},
    {RESOURCE_HOST, "web.0", "sent_spec", "\"0123456789abcdef\"", "send host web.0"},
    /* Its mailbox addresses: 4 days are more than half of their life, 2 are not. */
    {RESOURCE_HOST, "web.0", "sent_until", "1765900800000", ""},
    {RESOURCE_HOST, "web.0", "sent_until", "1764172800000", "send host web.0"},
    {RESOURCE_HOST, "web.0", "sent_until", "0", "send host web.0"},
    {RESOURCE_HOST, "web.0", "sent_until", "1763827200000",
     "stuck host web.0: its mailbox addresses ended 2 days ago, so it can't be told anything any "
     "more; `atoll apply --replace web.0` has it made anew (volumes stay)"},
    /* Its newest report: 5 minutes are not silence, 12 are. */
    {RESOURCE_HOST, "web.0", "state_since", "1763999700000", ""},
    {RESOURCE_HOST, "web.0", "state_since", "1763999280000", "wait host web.0: silent"},
    {RESOURCE_HOST, "web.0", "seen", "0", "wait host web.0: taking its settings"},
    {RESOURCE_HOST, "web.0", "state", "\"starting\"", "wait host web.0: starting services"},
    {RESOURCE_HOST, "web.0", "state", "\"\"", "wait host web.0: starting services"},
    {RESOURCE_HOST, "web.0", "state", "\"failed\"",
     "stuck host web.0: its services did not become healthy"},
    /* An hour ago: it is asked once more. */
    {RESOURCE_HOST, "web.0", "state", "\"refused\"", "send host web.0"},
    {RESOURCE_HOST, "web.0", "hello_other", "true",
     "stuck host web.0: somebody has said hello with its bootstrap key a second time: whoever can "
     "read its user_data has tried to be sent its secrets, and was not; `atoll apply --replace "
     "web.0` has it made anew (volumes stay)"},
};

static void one_thing_odd(void **state)
{
    _cleanup_(goal_clear) Goal g = paper_goal(paper_two_tiers);

    (void)state;
    for (size_t k = 0; k < ARRAY_LEN(odd); k++) {
        _cleanup_(world_clear) World w = paper_built(&g);
        _cleanup_(next_clear) Next n = {0};
        _cleanup_free_ char *text = NULL;

        if (!odd[k].attr) {
            paper_remove(&w, odd[k].kind, odd[k].key);
            if (odd[k].kind == RESOURCE_SERVER)
                paper_remove(&w, RESOURCE_HOST, odd[k].key);
        } else if (streq(odd[k].attr, "status")) {
            paper_status(&w, odd[k].kind, odd[k].key, odd[k].value);
        } else {
            json_t *value = json_loads(odd[k].value, JSON_DECODE_ANY, NULL);

            assert_non_null(value);
            paper_attr(&w, odd[k].kind, odd[k].key, odd[k].attr, value);
        }
        paper_next(&g, &w, &n);
        text = paper_text(&n);
        if (!streq(text, odd[k].next))
            fail_msg("%s %s %s\n  is:     %s\n  wanted: %s", resource_row(odd[k].kind)->prefix,
                     odd[k].key, odd[k].attr ? odd[k].attr : "gone", text, odd[k].next);
    }
}

/* A fault's words come from the cloud, a deadline from the clock. */
static void words_and_deadlines(void **state)
{
    _cleanup_(goal_clear) Goal g = paper_goal(paper_two_tiers);
    _cleanup_(world_clear) World w = paper_built(&g);
    _cleanup_(next_clear) Next n = {0};
    _cleanup_(next_clear) Next failed = {0};
    Resource *server = world_find(&w, RESOURCE_SERVER, "web.0", 0);

    (void)state;
    paper_status(&w, RESOURCE_SERVER, "web.0", "ERROR");
    server->fault = xstrdup("No valid host was found.");
    assert_next(&g, &w, "stuck server web.0: No valid host was found.");
    paper_status(&w, RESOURCE_SERVER, "web.0", "BUILD");
    server->created_at = NOW - MINUTE;
    paper_next(&g, &w, &n);
    assert_int_equal(n.waits.len, 1);
    assert_string_equal(n.waits.items[0].what, "being built");
    assert_int_equal(n.waits.items[0].since, NOW - MINUTE);
    assert_int_equal(n.waits.items[0].deadline, NOW + 29 * MINUTE);
    paper_status(&w, RESOURCE_SERVER, "web.0", "ACTIVE");
    paper_attr(&w, RESOURCE_HOST, "web.0", "state", json_string("failed"));
    paper_attr(&w, RESOURCE_HOST, "web.0", "report", json_string("web.0/n/out/00000001-failed"));
    paper_next(&g, &w, &failed);
    assert_int_equal(failed.stucks.items[0].err_kind, ERR_HEALTH);
    assert_string_equal(failed.stucks.items[0].report, "web.0/n/out/00000001-failed");
}

/* What makes a host deaf is put right by a plan that ends, and its words say what it is for. */
static void addresses_that_end(void **state)
{
    _cleanup_(goal_clear) Goal g = paper_goal(paper_two_tiers);
    _cleanup_(world_clear) World w = paper_built(&g);
    _cleanup_(steps_clear) Steps steps = {0}, none = {0};

    (void)state;
    paper_attr(&w, RESOURCE_HOST, "web.0", "sent_until", json_integer(NOW + 2 * DAY));
    /* Silent, but not deaf yet: it is told all the same. */
    paper_attr(&w, RESOURCE_HOST, "web.0", "state_since", json_integer(NOW - HOUR));
    assert_int_equal(plan_make(&g, &w, NOW, &steps, NULL), 0);
    assert_int_equal(steps.len, 1);
    assert_int_equal(steps.items[0].verb, KIND_SEND);
    assert_string_equal(steps.items[0].reason, "its mailbox addresses end in 2 days");
    assert_int_equal(steps.items[0].downtime_s, 0);
    plan_predict(&g, &w, &steps.items[0]);
    assert_int_equal(plan_make(&g, &w, NOW, &none, NULL), 0);
    assert_int_equal(none.len, 0);
    assert_next(&g, &w, "");
}

/* A failure that was reported stays one; but who is sent something new and says nothing is silent.
 */
static void silent_and_failed(void **state)
{
    _cleanup_(goal_clear) Goal g = paper_goal(paper_two_tiers);
    _cleanup_(world_clear) World w = paper_built(&g);

    (void)state;
    paper_attr(&w, RESOURCE_HOST, "web.0", "state", json_string("failed"));
    paper_attr(&w, RESOURCE_HOST, "web.0", "state_since", json_integer(NOW - HOUR));
    assert_next(&g, &w, "stuck host web.0: its services did not become healthy");
    paper_attr(&w, RESOURCE_HOST, "web.0", "seen", json_integer(0));
    assert_next(&g, &w, "wait host web.0: silent");
}

static void what_is_under_way(void **state)
{
    _cleanup_(goal_clear) Goal g = paper_goal(paper_two_tiers);
    _cleanup_(world_clear) World w = paper_built(&g);
    _cleanup_(next_clear) Next calm = {0}, one = {0}, two = {0};
    _cleanup_(buf_clear) Buf none = BUF_INIT(BUF_MAX_LINE), a = BUF_INIT(BUF_MAX_LINE),
                             b = BUF_INIT(BUF_MAX_LINE);

    (void)state;
    paper_next(&g, &w, &calm);
    plan_under_way(&calm, NOW, &none);
    assert_string_equal(none.p, "");
    paper_attr(&w, RESOURCE_HOST, "web.0", "state", json_string("starting"));
    paper_next(&g, &w, &one);
    plan_under_way(&one, NOW, &a);
    assert_string_equal(a.p, "1 thing is still under way: host web.0 is starting services");
    paper_attr(&w, RESOURCE_HOST, "web.0", "state_since", json_integer(NOW - 12 * MINUTE));
    paper_attr(&w, RESOURCE_HOST, "db.0", "state", json_string("starting"));
    paper_next(&g, &w, &two);
    plan_under_way(&two, NOW, &b);
    assert_string_equal(
        b.p, "2 things are still under way, the first: host web.0 is silent (for 12 min)");
}

/* Nothing to do, nothing to wait for, and yet not done. */
static void dead_end(void **state)
{
    _cleanup_(goal_clear) Goal g = paper_goal(paper_two_tiers);
    _cleanup_(world_clear) World w = paper_built(&g);

    (void)state;
    /* Somebody else's server has the volume. */
    paper_remove(&w, RESOURCE_SERVER, "db.0");
    paper_remove(&w, RESOURCE_HOST, "db.0");
    assert_next(&g, &w, "stuck server db.0: its volume is not available");
}

static const char *const to_nothing[] = {
    "  - server web.0                                              the island is destroyed",
    "  - server db.0                                               the island is destroyed",
    "  - user media                                                the island is destroyed",
    "  ~ floating IP main          detach                          its port goes",
    "  - container boot                                            the island is destroyed",
    "  ~ container mail            empty                           before it is deleted",
    "  - server group web                                          the island is destroyed",
    "  - server group db                                           the island is destroyed",
    "  - port web.0                                                the island is destroyed",
    "  - port db.0                                                 the island is destroyed",
    "  ~ router interface main     detach                          before it is deleted",
    "  - container mail                                            the island is destroyed",
    "  - router interface main                                     the island is destroyed",
    "  - security group web                                        the island is destroyed",
    "  - security group db                                         the island is destroyed",
    "  - router main                                               the island is destroyed",
    "  - subnet main                                               the island is destroyed",
    "  - network main                                              the island is destroyed",
};
static const char *const to_nothing_at_all[] = {
    "  - server web.0                                              the island is destroyed",
    "  - server db.0                                               the island is destroyed",
    "  ~ container media           empty                           before it is deleted; LOSES all "
    "media in reef-media",
    "  - user media                                                the island is destroyed",
    "  ~ floating IP main          detach                          its port goes",
    "  - container boot                                            the island is destroyed",
    "  ~ container mail            empty                           before it is deleted",
    "  - container media                                           the island is destroyed",
    "  - volume db.0                                               the island is destroyed; LOSES "
    "50 GB of data",
    "  - server group web                                          the island is destroyed",
    "  - server group db                                           the island is destroyed",
    "  - floating IP main                                          the island is destroyed; LOSES "
    "the address 203.0.113.7",
    "  - port web.0                                                the island is destroyed",
    "  - port db.0                                                 the island is destroyed",
    "  ~ router interface main     detach                          before it is deleted",
    "  - container mail                                            the island is destroyed",
    "  - router interface main                                     the island is destroyed",
    "  - security group web                                        the island is destroyed",
    "  - security group db                                         the island is destroyed",
    "  - router main                                               the island is destroyed",
    "  ~ container vault           empty                           before it is deleted; LOSES the "
    "island's secrets",
    "  - subnet main                                               the island is destroyed",
    "  - container vault                                           the island is destroyed",
    "  - network main                                              the island is destroyed",
};

static void destroy(void **state)
{
    _cleanup_(goal_clear) Goal g = paper_goal(paper_two_tiers);
    _cleanup_(world_clear) World w = paper_built(&g);

    (void)state;
    paper_attr(&w, RESOURCE_FLOATING_IP, "main", "address", json_string("203.0.113.7"));
    world_find(&w, RESOURCE_CONTAINER, "media", 0)->used = true;
    world_find(&w, RESOURCE_CONTAINER, "vault", 0)->used = true;
    world_find(&w, RESOURCE_CONTAINER, "mail", 0)->used = true;
    g.destroy = true;
    assert_plan(&g, &w, to_nothing, ARRAY_LEN(to_nothing));
    g.data = true;
    assert_plan(&g, &w, to_nothing_at_all, ARRAY_LEN(to_nothing_at_all));
}

/* What a file no longer names goes; but data stay until somebody says so. */
static void fewer(void **state)
{
    _cleanup_(goal_clear) Goal more = paper_goal(paper_more), g = paper_goal(paper_two_tiers);
    _cleanup_(world_clear) World w = paper_built(&more);
    _cleanup_(steps_clear) Steps steps = {0}, all = {0};
    bool volume = false;

    (void)state;
    assert_int_equal(plan_make(&g, &w, NOW, &steps, NULL), 0);
    for (size_t i = 0; i < steps.len; i++) {
        /* A server reaches what it uses to its last moment. */
        assert_true(steps.items[i].verb != KIND_UNRULE ||
                    !world_find(&w, RESOURCE_SERVER, "jobs.0", 0));
        plan_predict(&g, &w, &steps.items[i]);
        assert_false(steps.items[i].kind == RESOURCE_VOLUME);
        assert_null(steps.items[i].loss);
    }
    assert_next(&g, &w, "");
    assert_null(world_find(&w, RESOURCE_SERVER, "web.1", 0));
    assert_null(world_find(&w, RESOURCE_PORT, "jobs.1", 0));
    assert_null(world_find(&w, RESOURCE_GROUP, "jobs", 0));
    assert_null(world_find(&w, RESOURCE_SERVER_GROUP, "jobs", 0));
    assert_non_null(world_find(&w, RESOURCE_VOLUME, "jobs.0", 0));
    g.data = true;
    assert_int_equal(plan_make(&g, &w, NOW, &all, NULL), 0);
    for (size_t i = 0; i < all.len; i++) {
        volume = volume || all.items[i].kind == RESOURCE_VOLUME;
        assert_string_equal(all.items[i].loss, "1 GB of data");
    }
    assert_true(volume);
    assert_int_equal(all.len, 2);
}

static Resource *second_network(World *w, const char *id, Msec created_at)
{
    Resource r = resource_copy(world_find(w, RESOURCE_NETWORK, "main", 0));

    free(r.id);
    r.id = xstrdup(id);
    r.created_at = created_at;
    return world_add(w, r);
}

static void duplicates(void **state)
{
    static const struct {
        const char *id;
        Msec created_at, run_started;
        bool used;
        const char *removed; /* id; NULL: ambiguous */
    } rows[] = {
        {"z", NOW - MINUTE, NOW - 2 * MINUTE, false, "z"},
        /* Left by an earlier run that was killed; with no run, as for a plan. */
        {"z", NOW - MINUTE, NOW - 30 * SECOND, false, "z"},
        {"z", NOW - MINUTE, 0, false, "z"},
        /* Used, of no known age. */
        {"z", NOW - MINUTE, NOW - 2 * MINUTE, true, NULL},
        {"z", 0, 0, false, NULL},
        /* In the same second what is in use stays, not the lower id. */
        {"a", NOW - HOUR, NOW - 2 * MINUTE, false, "a"},
        {"a", NOW - HOUR, NOW - 2 * MINUTE, true, NULL},
    };
    _cleanup_(goal_clear) Goal g = paper_goal(paper_two_tiers);

    (void)state;
    for (size_t k = 0; k < ARRAY_LEN(rows); k++) {
        _cleanup_(world_clear) World w = paper_built(&g);
        _cleanup_(next_clear) Next n = {0};
        _cleanup_(err_clear) Err err = {0};

        g.run_started = rows[k].run_started;
        world_find_id(&w, RESOURCE_NETWORK, "id-network-main")->used = true;
        second_network(&w, rows[k].id, rows[k].created_at)->used = rows[k].used;
        if (!rows[k].removed) {
            assert_int_equal(plan_next(&g, &w, NOW, &n, &err), -ERR_AMBIGUOUS);
            continue;
        }
        assert_int_equal(plan_next(&g, &w, NOW, &n, &err), 0);
        assert_int_equal(n.steps.len, 1);
        assert_int_equal(n.steps.items[0].verb, KIND_DELETE);
        assert_string_equal(n.steps.items[0].id, rows[k].removed);
        plan_predict(&g, &w, &n.steps.items[0]);
        assert_non_null(world_find_id(&w, RESOURCE_NETWORK, "id-network-main"));
        assert_next(&g, &w, "");
    }
}

static void ambiguity_in_words(void **state)
{
    _cleanup_(goal_clear) Goal g = paper_goal(paper_two_tiers);
    _cleanup_(world_clear) World w = paper_built(&g);
    _cleanup_(err_clear) Err err = {0};
    _cleanup_(next_clear) Next n = {0};
    _cleanup_(steps_clear) Steps steps = {0};

    (void)state;
    second_network(&w, "z", NOW - MINUTE)->used = true;
    assert_int_equal(plan_next(&g, &w, NOW, &n, &err), -ERR_AMBIGUOUS);
    assert_string_equal(err.text,
                        "two of the cloud's objects claim to be the network main: id-network-main "
                        "(created 2025-11-24T15:00:00Z) and z (created 2025-11-24T15:59:00Z, in "
                        "use)");
    assert_string_equal(err.hint,
                        "look at both, delete the one that is not needed, then run this again");
    /* To take the island down there is nothing to choose. */
    g.destroy = true;
    assert_int_equal(plan_make(&g, &w, NOW, &steps, &err), 0);
    for (size_t i = 0; i < steps.len; i++)
        plan_predict(&g, &w, &steps.items[i]);
    assert_null(world_find(&w, RESOURCE_NETWORK, "main", 0));
}

/* From one island that is all right to another, whole: a change of the file, and what a person
 * asks for. Goldens were read line by line. */
static const struct {
    const char *from, *to;
    const char *replace; /* a server, or NULL */
    bool rebuild;
    const char *text;
} flows[] = {
    {paper_two_tiers, paper_two_tiers, "web.0", false,
     "mark server web.0 atoll-replace\n"
     "create port web.0 g2\n"
     "create server web.0 g2\n"
     "send host web.0 g2\n"
     "attach ip main (2 s)\n"
     "send host web.0 stop\n"
     "send host web.0 g2 (3 s)\n"
     "delete server web.0\n"
     "delete port web.0\n"},
    {paper_two_tiers, paper_two_tiers, "db.0", false,
     "mark server db.0 atoll-replace\n"
     "send host db.0 stop (63 s)\n"
     "delete server db.0\n"
     "create server db.0\n"
     "send host db.0\n"},
    /* More workers of one's own. */
    {paper_two_tiers,
     PAPER_HEAD "  web: {flavor: small, roles: [edge, web]}\n"
                "  jobs: {flavor: small, count: 2, roles: [worker]}\n"
                "  db: {flavor: big, roles: [postgres, redis], volume: {size: 50GB, type: nvme}}\n",
     NULL, false,
     "create group jobs\n"
     "create servergroup jobs\n"
     "rules group db\n"
     "create port jobs.0\n"
     "create port jobs.1\n"
     "create server jobs.0\n"
     "create server jobs.1\n"
     "send host jobs.0\n"
     "send host jobs.1\n"
     "send host web.0 (3 s)\n"
     "send host jobs.0\n"},
    /* From two web servers and two of jobs to one each. */
    {paper_more,
     PAPER_HEAD "  web: {flavor: small, roles: [edge, web]}\n"
                "  jobs: {flavor: small, roles: [worker], volume: {size: 1GB}}\n"
                "  db: {flavor: big, roles: [postgres, redis], volume: {size: 50GB, type: nvme}}\n",
     NULL, false,
     "send host web.0 (3 s)\n"
     "send host web.1 stop\n"
     "send host jobs.1 stop\n"
     "delete server web.1\n"
     "delete server jobs.1\n"
     "delete port web.1\n"
     "delete port jobs.1\n"},
    /* Larger: flavors one after the other, the volume at once. */
    {paper_more,
     PAPER_HEAD "  web: {flavor: large, count: 2, roles: [edge, web]}\n"
                "  jobs: {flavor: small, count: 2, roles: [worker], volume: {size: 1GB}}\n"
                "  db: {flavor: big, roles: [postgres, redis], volume: {size: 70GB, type: nvme}}\n",
     NULL, false,
     "extend volume db.0\n"
     "resize server web.0 (63 s)\n"
     "send host db.0 (3 s)\n"
     "confirm server web.0\n"
     "resize server web.1 (63 s)\n"
     "confirm server web.1\n"},
    {paper_more,
     "image: debian-13\n" PAPER_HEAD "  web: {flavor: small, count: 2, roles: [edge, web]}\n"
     "  jobs: {flavor: small, count: 2, roles: [worker], volume: {size: 1GB}}\n"
     "  db: {flavor: big, roles: [postgres, redis], volume: {size: 50GB, type: nvme}}\n",
     NULL, true,
     "rebuild server web.0 (63 s)\n"
     "rebuild server jobs.0 (63 s)\n"
     "rebuild server db.0 (63 s)\n"
     "send host web.0\n"
     "send host jobs.0\n"
     "send host db.0\n"
     "rebuild server web.1 (63 s)\n"
     "rebuild server jobs.1 (63 s)\n"
     "send host web.1\n"
     "send host jobs.1\n"},
    /* The database of a single server moves to one of its own. */
    {PAPER_HEAD
     "  all: {flavor: big, roles: [edge, web, worker, postgres, redis], volume: {size: 50GB}}\n",
     "moved: {db: all}\n" PAPER_HEAD "  all: {flavor: big, roles: [edge, web, worker]}\n"
     "  db: {flavor: big, roles: [postgres, redis], volume: {size: 50GB}}\n",
     NULL, false,
     "create group db\n"
     "create servergroup db\n"
     "send host all.0 stop (63 s)\n"
     "rules group db\n"
     "create port db.0\n"
     "detach server all.0 all.0\n"
     "rename volume all.0 db.0\n"
     "send host all.0 (3 s)\n"
     "unrule group all in tcp 5432 group:all\n"
     "unrule group all in tcp 6379 group:all\n"
     "create server db.0\n"
     "send host db.0\n"},
    /* What the world talks to moves. */
    {paper_two_tiers,
     PAPER_HEAD "  web: {flavor: small, roles: [web, worker]}\n"
                "  front: {flavor: small, roles: [edge]}\n"
                "  db: {flavor: big, roles: [postgres, redis], volume: {size: 50GB, type: nvme}}\n",
     NULL, false,
     "create group front\n"
     "create servergroup front\n"
     "rules group web\n"
     "rules group front\n"
     "create port front.0\n"
     "create server front.0\n"
     "send host front.0\n"
     "attach ip main (2 s)\n"
     "send host web.0 (3 s)\n"
     "unrule group web in tcp 3000 group:web\n"
     "unrule group web in tcp 80 0.0.0.0/0\n"
     "unrule group web in tcp 80 ::/0\n"},
    /* Workers under another name: the new ones first. */
    {PAPER_HEAD "  web: {flavor: small, roles: [edge, web]}\n"
                "  jobs: {flavor: small, roles: [worker]}\n"
                "  db: {flavor: big, roles: [postgres, redis], volume: {size: 50GB}}\n",
     PAPER_HEAD "  web: {flavor: small, roles: [edge, web]}\n"
                "  sidekiq: {flavor: small, roles: [worker]}\n"
                "  db: {flavor: big, roles: [postgres, redis], volume: {size: 50GB}}\n",
     NULL, false,
     "create group sidekiq\n"
     "create servergroup sidekiq\n"
     "rules group db\n"
     "create port sidekiq.0\n"
     "create server sidekiq.0\n"
     "send host sidekiq.0\n"
     "send host jobs.0 stop\n"
     "send host sidekiq.0 (3 s)\n"
     "delete server jobs.0\n"
     "delete servergroup jobs\n"
     "delete port jobs.0\n"
     "unrule group db in tcp 5432 group:jobs\n"
     "unrule group db in tcp 6379 group:jobs\n"
     "delete group jobs\n"},
    /* Redis by itself, and what it had on a root disk. */
    {PAPER_HEAD "  web: {flavor: big, roles: [edge, web, worker, redis]}\n"
                "  db: {flavor: big, roles: [postgres], volume: {size: 50GB}}\n",
     PAPER_HEAD "  web: {flavor: big, roles: [edge, web, worker]}\n"
                "  db: {flavor: big, roles: [postgres], volume: {size: 50GB}}\n"
                "  queue: {flavor: small, roles: [redis]}\n",
     NULL, false,
     "create group queue\n"
     "create servergroup queue\n"
     "rules group queue\n"
     "create port queue.0\n"
     "create server queue.0\n"
     "send host queue.0 LOSES queued jobs and what else Redis keeps on web.0\n"
     "send host web.0 (3 s)\n"
     "unrule group web in tcp 6379 group:web\n"},
    {PAPER_HEAD "  web: {flavor: big, roles: [edge, web, worker]}\n"
                "  db: {flavor: big, roles: [postgres], volume: {size: 50GB}}\n"
                "  queue: {flavor: small, roles: [redis]}\n",
     PAPER_HEAD "  web: {flavor: big, roles: [edge, web, worker]}\n"
                "  db: {flavor: big, roles: [postgres, redis], volume: {size: 50GB}}\n",
     NULL, false,
     "rules group db\n"
     "send host db.0 (3 s)\n"
     "send host queue.0 stop\n"
     "delete server queue.0 LOSES queued jobs and what else Redis keeps, on its root disk\n"
     "delete servergroup queue\n"
     "delete port queue.0\n"
     "delete group queue\n"},
};

/* What is asked to be replaced, in each of its states: written down, or gone at once. */
static void replaced_in_any_state(void **state)
{
    static const struct {
        const char *status, *next;
    } rows[] = {
        {"ACTIVE", "mark server web.0 atoll-replace"},
        {"SHUTOFF", "mark server web.0 atoll-replace"},
        {"RESIZE", "mark server web.0 atoll-replace"},
        {"VERIFY_RESIZE", "confirm server web.0"},
        {"ERROR", "delete server web.0"},
        {"BUILD", "delete server web.0"},
        {"SHELVED_OFFLOADED", "delete server web.0"},
    };
    _cleanup_(goal_clear) Goal g = paper_goal(paper_two_tiers);

    (void)state;
    strlist_add(&g.replace, "id-server-web.0");
    for (size_t k = 0; k < ARRAY_LEN(rows); k++) {
        _cleanup_(world_clear) World w = paper_built(&g);

        paper_status(&w, RESOURCE_SERVER, "web.0", rows[k].status);
        assert_next(&g, &w, rows[k].next);
    }
}

static const char all_in_one[] = PAPER_HEAD
    "  all: {flavor: big, roles: [edge, web, worker, postgres, redis], volume: {size: 50GB}}\n";

/* A volume goes from a server only when what used it has stopped. */
static void stopped_before_detached(void **state)
{
    _cleanup_(goal_clear)
        Goal from = paper_goal(all_in_one),
             g = paper_goal(
                 "moved: {db: all}\n" PAPER_HEAD
                 "  all: {flavor: big, roles: [edge, web, worker]}\n"
                 "  db: {flavor: big, roles: [postgres, redis], volume: {size: 50GB}}\n");
    _cleanup_(world_clear) World w = paper_built(&from);
    _cleanup_(next_clear) Next silent = {0}, asked = {0}, refused = {0};

    (void)state;
    strlist_add(&g.only, "all");
    paper_attr(&w, RESOURCE_HOST, "all.0", "state_since", json_integer(NOW - HOUR));
    paper_next(&g, &w, &silent);
    assert_int_equal(silent.stucks.len, 1);
    assert_string_equal(silent.stucks.items[0].why,
                        "volume all.0 is no longer its own, and it doesn't stop its services: "
                        "`atoll apply --replace all.0` has it made anew");
    paper_attr(&w, RESOURCE_HOST, "all.0", "state_since", json_integer(NOW - SECOND));
    paper_next(&g, &w, &asked);
    for (size_t i = 0; i < asked.steps.len; i++) {
        if (asked.steps.items[i].verb == KIND_SEND)
            plan_predict(&g, &w, &asked.steps.items[i]);
    }
    paper_attr(&w, RESOURCE_HOST, "all.0", "state", json_string("refused"));
    paper_attr(&w, RESOURCE_HOST, "all.0", "state_since", json_integer(NOW - SECOND));
    paper_next(&g, &w, &refused);
    assert_int_equal(refused.stucks.len, 1);
    for (size_t i = 0; i < refused.steps.len; i++)
        assert_int_not_equal(refused.steps.items[i].verb, KIND_DETACH);
}

/* A database that would begin empty beside the island's own is a mistake in the file. */
static void databases_begin_once(void **state)
{
    _cleanup_(goal_clear)
        Goal from = paper_goal(all_in_one),
             g = paper_goal(
                 PAPER_HEAD
                 "  all: {flavor: big, roles: [edge, web, worker]}\n"
                 "  db: {flavor: big, roles: [postgres, redis], volume: {size: 50GB}}\n");
    _cleanup_(world_clear) World w = paper_built(&from);
    _cleanup_(steps_clear) Steps steps = {0};
    _cleanup_(err_clear) Err err = {0};

    (void)state;
    assert_int_equal(plan_make(&g, &w, NOW, &steps, &err), -ERR_CONFIG);
    assert_string_equal(err.text,
                        "db.0 would begin with an empty database, and volume all.0 may be "
                        "the island's");
    assert_string_equal(
        err.hint, "say in the island file which tier has its volume now, `moved: {db: all}`; or "
                  "put the file back; or, if it is not, say `--delete reef-volume-all-0`");
    g.destroy = true;
    assert_int_equal(plan_make(&g, &w, NOW, &steps, NULL), 0);
}

/* The database's volume is gone, and another one that nothing wants may be it: unless a person says
 * that it may go. */
static void a_stray_volume_that_may_go(void **state)
{
    _cleanup_(goal_clear) Goal g = paper_goal(paper_all);
    _cleanup_(world_clear) World w = paper_built(&g);
    _cleanup_(steps_clear) Steps steps = {0};
    _cleanup_(err_clear) Err err = {0};
    Resource *volume = (Resource *)(uintptr_t)world_find(&w, RESOURCE_VOLUME, "all.0", 0);

    (void)state;
    free(volume->key);
    free(volume->name);
    volume->key = xstrdup("data.0");
    volume->name = xstrdup("reef-volume-data-0");
    json_object_set_new(volume->attrs, "server", json_string(""));
    assert_int_equal(plan_make(&g, &w, NOW, &steps, &err), -ERR_CONFIG);
    assert_non_null(strstr(err.hint, "say `--delete reef-volume-data-0`"));
    strlist_add(&g.release, "reef-volume-data-0");
    assert_int_equal(plan_make(&g, &w, NOW, &steps, NULL), 0);
}

/* `moved` and both are there: which has the data? */
static void moved_and_both_there(void **state)
{
    _cleanup_(goal_clear) Goal g = paper_goal(
        "moved: {db: data}\n" PAPER_HEAD "  web: {flavor: small, roles: [edge, web, worker]}\n"
        "  db: {flavor: big, roles: [postgres, redis], volume: {size: 50GB, type: nvme}}\n");
    _cleanup_(world_clear) World w = paper_built(&g);
    Resource old = resource_copy(world_find(&w, RESOURCE_VOLUME, "db.0", 0));

    (void)state;
    free(old.key);
    free(old.id);
    old.key = xstrdup("data.0");
    old.id = xstrdup("id-volume-data.0");
    json_object_set_new(old.attrs, "server", json_string(""));
    (void)world_add(&w, old);
    g.data = true;
    assert_next(&g, &w,
                "stuck volume db.0: `moved` says that volume data.0 becomes it, and both are "
                "there: delete the one whose data is not needed, or take the line out of the "
                "island file");
}

/* The database goes to another volume, and back: what writes has stopped, the old one is kept. */
static void another_volume(void **state)
{
    static const struct {
        const char *type, *steps;
    } turns[] = {
        {"swap=close; restore=0123456789abcdef", "send host web.0\n"},
        {"db=2; db-before=1; swap=move; restore=0123456789abcdef", "create volume db.0-g2\n"
                                                                   "attach server db.0 db.0-g2\n"
                                                                   "send host db.0 stop\n"
                                                                   "detach server db.0 db.0\n"
                                                                   "send host db.0\n"},
        {"db=2; db-before=1", "send host web.0\nsend host db.0\n"},
        {"db=2; db-before=1; swap=close", "send host web.0\n"},
        {"db=1; db-before=2; swap=move; turn=2", "attach server db.0 db.0\n"
                                                 "send host db.0 stop\n"
                                                 "detach server db.0 db.0-g2\n"
                                                 "send host db.0\n"},
        {"db=1; db-before=2", "send host web.0\nsend host db.0\n"},
    };
    _cleanup_(goal_clear) Goal first = paper_goal(paper_two_tiers);
    _cleanup_(world_clear) World w = paper_built(&first);

    (void)state;
    json_decref(w.mail);
    w.mail = json_array();
    for (size_t i = 0; i < ARRAY_LEN(turns); i++) {
        _cleanup_(goal_clear) Goal g = paper_goal(paper_two_tiers);
        _cleanup_(steps_clear) Steps steps = {0};
        _cleanup_(buf_clear) Buf text = BUF_INIT(BUF_MAX_BODY);
        _cleanup_(err_clear) Err err = {0};
        _cleanup_free_ char *name = release_name((int64_t)i + 1);
        _cleanup_free_ char *type =
            xasprintf("application/vnd.atoll.release; phase=done; now=\"canary,1,\"; "
                      "to=\"canary,1,\"; prepare=none; try=1; gate=180; %s",
                      turns[i].type);

        json_array_append_new(w.mail,
                              json_make_new("{s:s, s:s}", "name", name, "content_type", type));
        assert_int_equal(release_want(&w, &g.want, &err), 0);
        if (i == 0) { /* what a host of a release is told besides is another test's */
            assert_int_equal(plan_make(&g, &w, NOW, &steps, &err), 0);
            for (size_t k = 0; k < steps.len; k++)
                plan_predict(&g, &w, &steps.items[k]);
            continue;
        }
        if (plan_make(&g, &w, NOW, &steps, &err) < 0)
            fail_msg("%s", err.text);
        for (size_t k = 0; k < steps.len; k++) {
            const Step *s = &steps.items[k];

            buf_printf(&text, "%s %s %s%s%s\n", paper_verbs[s->verb], resource_row(s->kind)->prefix,
                       s->key, s->detail ? " " : "", s->detail ? s->detail : "");
            plan_predict(&g, &w, s);
        }
        if (!streq(text.p, turns[i].steps))
            fail_msg("turn %zu: %s\n  is:\n%s", i, turns[i].type, text.p);
    }
    /* Without a record nobody knows which counts. */
    _cleanup_(goal_clear) Goal g = paper_goal(paper_two_tiers), again = paper_goal(paper_two_tiers);
    _cleanup_(err_clear) Err err = {0};
    json_array_clear(w.mail);
    assert_int_equal(release_want(&w, &g.want, &err), -ERR_AMBIGUOUS);
    paper_remove(&w, RESOURCE_VOLUME, "db.0");
    assert_int_equal(release_want(&w, &again.want, &err), 0);
    assert_non_null(goal_find(&again, RESOURCE_VOLUME, "db.0-g2"));
}

/* Put back without a word about the volume: after the whole move, and in its middle. */
static void the_file_is_put_back(void **state)
{
    _cleanup_(goal_clear) Goal all = paper_goal(paper_all), apart = paper_goal(paper_apart);
    _cleanup_(world_clear) World w = paper_built(&all);
    _cleanup_(steps_clear) Steps steps = {0}, none = {0};

    (void)state;
    assert_int_equal(plan_make(&apart, &w, NOW, &steps, NULL), 0);
    for (size_t i = 0; i < steps.len; i++) {
        plan_predict(&apart, &w, &steps.items[i]);
        plan_settle(&w);
        if (steps.items[i].verb == KIND_RENAME)
            assert_int_equal(plan_make(&all, &w, NOW, &none, NULL), -ERR_CONFIG);
    }
    assert_next(&apart, &w, "");
    assert_int_equal(plan_make(&all, &w, NOW, &none, NULL), -ERR_CONFIG);
}

/* Whose mailbox addresses ended serves on, and what it uses stays. */
static void cut_off_but_serving(void **state)
{
    static const char before[] =
        PAPER_HEAD "  web: {flavor: small, roles: [edge, web, worker]}\n"
                   "  db: {flavor: big, roles: [postgres], volume: {size: 50GB}}\n"
                   "  redis: {flavor: small, roles: [redis]}\n";
    static const char after[] =
        PAPER_HEAD "  front: {flavor: small, roles: [edge]}\n"
                   "  web: {flavor: small, roles: [web, worker]}\n"
                   "  db: {flavor: big, roles: [postgres], volume: {size: 50GB}}\n"
                   "  cache: {flavor: small, roles: [redis]}\n";
    _cleanup_(goal_clear) Goal from = paper_goal(before), g = paper_goal(after);
    _cleanup_(world_clear) World w = paper_built(&from);
    _cleanup_(steps_clear) Steps steps = {0};
    bool serves = false;

    (void)state;
    paper_attr(&w, RESOURCE_HOST, "web.0", "sent_until", json_integer(NOW - DAY));
    paper_attr(&w, RESOURCE_HOST, "web.0", "state_since", json_integer(NOW - DAY));
    assert_int_equal(plan_make(&g, &w, NOW, &steps, NULL), 0);
    for (size_t i = 0; i < steps.len; i++) {
        const Step *s = &steps.items[i];

        serves = serves || (s->verb == KIND_SEND && streq(s->key, "front.0"));
        assert_true(s->verb != KIND_DELETE && s->verb != KIND_UNRULE);
        assert_true(s->kind != RESOURCE_FLOATING_IP || serves);
    }
}

/* What died does not take over, however well it was. */
static void dead_generation(void **state)
{
    _cleanup_(goal_clear) Goal g = paper_goal(paper_two_tiers);
    _cleanup_(world_clear) World w = paper_built(&g);
    static const ResourceKind kinds[] = {RESOURCE_PORT, RESOURCE_SERVER, RESOURCE_HOST};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        Resource r = resource_copy(world_find(&w, kinds[i], "web.0", 1));

        r.generation = 2;
        free(r.id);
        r.id = xasprintf("second-%zu", i);
        (void)world_add(&w, r);
    }
    paper_attr(&w, RESOURCE_HOST, "web.0", "state_since", json_integer(NOW - HOUR));
    assert_int_equal(host_current(&w, "web.0"), 1);
    paper_attr(&w, RESOURCE_HOST, "web.0", "state_since", json_integer(NOW - SECOND));
    assert_int_equal(host_current(&w, "web.0"), 2);
    /* Taking further settings does not stop it. */
    paper_attr(&w, RESOURCE_HOST, "web.0", "sent", json_integer(2));
    assert_int_equal(host_current(&w, "web.0"), 2);
    paper_attr(&w, RESOURCE_HOST, "web.0", "state", json_string("failed"));
    paper_attr(&w, RESOURCE_HOST, "web.0", "seen", json_integer(2));
    assert_int_equal(host_current(&w, "web.0"), 1);
}

/* What was told something and never said a word is silent after a while. */
static void never_reported(void **state)
{
    _cleanup_(goal_clear) Goal g = paper_goal(paper_two_tiers);
    _cleanup_(world_clear) World w = paper_built(&g);

    (void)state;
    paper_attr(&w, RESOURCE_SERVER, "db.0", "metadata", json_make_new("{s:s}", PLAN_MARK, "1"));
    paper_attr(&w, RESOURCE_HOST, "db.0", "seen", json_integer(0));
    paper_attr(&w, RESOURCE_HOST, "db.0", "state", json_string(""));
    paper_attr(&w, RESOURCE_HOST, "db.0", "sent_at", json_integer(NOW - MINUTE));
    assert_next(&g, &w, "send host db.0 stop");
    paper_attr(&w, RESOURCE_HOST, "db.0", "sent_at", json_integer(NOW - HOUR));
    assert_next(&g, &w, "delete server db.0");
}

/* A larger flavor may be what they lack. */
static void failed_tier_grows(void **state)
{
    _cleanup_(goal_clear)
        Goal from = paper_goal(paper_more),
             g = paper_goal(
                 PAPER_HEAD
                 "  web: {flavor: large, count: 2, roles: [edge, web]}\n"
                 "  jobs: {flavor: small, count: 2, roles: [worker], volume: {size: 1GB}}\n"
                 "  db: {flavor: big, roles: [postgres, redis], volume: {size: 50GB, type: "
                 "nvme}}\n");
    _cleanup_(world_clear) World w = paper_built(&from);

    (void)state;
    paper_attr(&w, RESOURCE_HOST, "web.0", "state", json_string("failed"));
    paper_attr(&w, RESOURCE_HOST, "web.1", "state", json_string("failed"));
    assert_next(&g, &w,
                "resize server web.0; stuck host web.0: its services did not become healthy; stuck "
                "host web.1: its services did not become healthy");
}

/* One that can't be built is no reason to leave the others without their settings. */
static void built_in_vain(void **state)
{
    _cleanup_(goal_clear) Goal g = paper_goal(paper_more);
    _cleanup_(world_clear) World w = paper_built(&g);

    (void)state;
    paper_status(&w, RESOURCE_SERVER, "web.1", "ERROR");
    paper_attr(&w, RESOURCE_HOST, "web.1", "hello", json_false());
    paper_attr(&w, RESOURCE_HOST, "web.0", "sent_spec", json_string("0000000000000000"));
    assert_next(&g, &w, "send host web.0; stuck server web.1: the cloud says ERROR, and not why");
}

/* Its newest bundle was made of other settings. */
static void paper_outdated(World *w, const char *key)
{
    paper_attr(w, RESOURCE_HOST, key, "sent_spec", json_string("0000000000000000"));
    paper_attr(w, RESOURCE_HOST, key, "sent_rest", json_string("0000000000000000"));
}

/* Two servers that serve the world take other settings in turn, and a bad one only once. */
static void one_server_at_a_time(void **state)
{
    _cleanup_(goal_clear) Goal g = paper_goal(
        PAPER_HEAD "  front: {flavor: small, roles: [edge]}\n"
                   "  web: {flavor: small, count: 3, roles: [web, stream]}\n"
                   "  db: {flavor: big, roles: [worker, postgres, redis], volume: {size: 50GB}}\n");
    _cleanup_(world_clear) World w = paper_built(&g);
    _cleanup_(world_clear) World told = paper_built(&g);
    _cleanup_json_ json_t *sent = json_deep_copy(
        json_object_get(world_find(&w, RESOURCE_HOST, "web.0", 0)->attrs, "sent_spec"));

    (void)state;
    for (int i = 0; i < 3; i++)
        paper_outdated(&w, (const char *[]){"web.0", "web.1", "web.2"}[i]);
    assert_next(&g, &w, "send host web.0");
    assert_downtime(&g, &w, 0);
    paper_attr(&w, RESOURCE_HOST, "web.0", "sent_spec", json_copy(sent));
    paper_attr(&w, RESOURCE_HOST, "web.0", "state", json_string("starting"));
    assert_next(&g, &w, "wait host web.0: starting services");
    paper_attr(&w, RESOURCE_HOST, "web.0", "state", json_string("failed"));
    assert_next(&g, &w, "stuck host web.0: its services did not become healthy");
    paper_attr(&w, RESOURCE_HOST, "web.0", "state", json_string("healthy"));
    paper_attr(&w, RESOURCE_HOST, "web.0", "sent_at", json_integer(NOW - MINUTE));
    paper_attr(&w, RESOURCE_HOST, "web.0", "state_since", json_integer(NOW - 3 * SECOND));
    assert_next(&g, &w, "wait host web.1: another of its tier serves first");
    paper_attr(&w, RESOURCE_HOST, "web.0", "state_since", json_integer(NOW - 4 * SECOND));
    assert_next(&g, &w, "send host web.1");

    /* Of workers the first alone, and then all. */
    _cleanup_(goal_clear) Goal jobs =
        paper_goal(PAPER_HEAD "  jobs: {flavor: small, count: 3, roles: [worker]}\n"
                              "  db: {flavor: big, roles: [edge, web, postgres, redis], "
                              "volume: {size: 50GB}}\n");
    _cleanup_(world_clear) World idle = paper_built(&jobs);
    paper_attr(&idle, RESOURCE_HOST, "jobs.0", "state", json_string("starting"));
    paper_outdated(&idle, "jobs.1");
    paper_outdated(&idle, "jobs.2");
    assert_next(&jobs, &idle, "wait host jobs.0: starting services");
    paper_attr(&idle, RESOURCE_HOST, "jobs.0", "state", json_string("healthy"));
    assert_next(&jobs, &idle, "send host jobs.1; send host jobs.2");

    /* The last one that serves does not go before the others had a chance. */
    _cleanup_(world_clear) World last = paper_built(&g);
    for (int i = 0; i < 3; i++) {
        const char *key = (const char *[]){"web.0", "web.1", "web.2"}[i];
        paper_outdated(&last, key);
        paper_attr(&last, RESOURCE_HOST, key, "state", json_string(i ? "failed" : "healthy"));
    }
    assert_next(&g, &last, "send host web.1; send host web.2");
    paper_attr(&last, RESOURCE_HOST, "web.2", "state", json_string("healthy"));
    assert_next(&g, &last, "send host web.0; send host web.1");

    /* Who does not work has nothing to lose, and who is silent is not waited for. */
    paper_attr(&w, RESOURCE_HOST, "web.2", "state", json_string("failed"));
    assert_next(&g, &w, "send host web.1; send host web.2");
    paper_attr(&w, RESOURCE_HOST, "web.2", "state", json_string("healthy"));
    paper_attr(&w, RESOURCE_HOST, "web.1", "sent_at", json_integer(NOW - HOUR));
    paper_attr(&w, RESOURCE_HOST, "web.1", "state_since", json_integer(NOW - HOUR));
    assert_next(&g, &w, "send host web.1; send host web.2");

    /* Nor is anybody when only whom they talk to is another, or elsewhere. */
    paper_attr(&w, RESOURCE_HOST, "web.1", "sent_at", json_integer(0));
    paper_attr(&w, RESOURCE_HOST, "web.1", "state_since", json_integer(0));
    for (int i = 1; i < 3; i++) {
        const char *key = i == 1 ? "web.1" : "web.2";
        const json_t *attrs = world_find(&told, RESOURCE_HOST, key, 0)->attrs;
        paper_attr(&w, RESOURCE_HOST, key, "sent_rest",
                   json_copy(json_object_get(attrs, "sent_rest")));
    }
    assert_next(&g, &w, "send host web.1; send host web.2");
    assert_downtime(&g, &w, 3);
}

/* The only web server keeps its socket while it restarts, and gives that up for a second one: when
 * that one serves, and not for one that never will. */
static void a_second_web_server(void **state)
{
    static const char one_web[] =
        PAPER_HEAD "  web: {flavor: small, roles: [edge, web]}\n"
                   "  db: {flavor: big, roles: [worker, postgres, redis], volume: {size: 50GB}}\n";
    static const char two_web[] =
        PAPER_HEAD "  web: {flavor: small, count: 2, roles: [edge, web]}\n"
                   "  db: {flavor: big, roles: [worker, postgres, redis], volume: {size: 50GB}}\n";
    _cleanup_(goal_clear) Goal one = paper_goal(one_web), two = paper_goal(two_web);
    _cleanup_(world_clear) World before = paper_built(&one), w = paper_built(&two);
    const json_t *told = world_find(&before, RESOURCE_HOST, "web.0", 0)->attrs;

    (void)state;
    paper_attr(&w, RESOURCE_HOST, "web.0", "sent_spec",
               json_copy(json_object_get(told, "sent_spec")));
    paper_attr(&w, RESOURCE_HOST, "web.0", "sent_rest",
               json_copy(json_object_get(told, "sent_rest")));
    paper_attr(&w, RESOURCE_HOST, "web.1", "state", json_string("failed"));
    assert_next(&two, &w, "stuck host web.1: its services did not become healthy");
    paper_attr(&w, RESOURCE_HOST, "web.1", "state", json_string("healthy"));
    assert_next(&two, &w, "send host web.0");
}

/* What somebody took away by hand, and atoll can't give back. */
static void taken_by_hand(void **state)
{
    _cleanup_(goal_clear) Goal g = paper_goal(paper_two_tiers);
    _cleanup_(world_clear) World w = paper_built(&g);

    (void)state;
    paper_attr(&w, RESOURCE_SERVER, "db.0", "volumes", json_array());
    paper_attr(&w, RESOURCE_VOLUME, "db.0", "server", json_string("a-server-of-theirs"));
    assert_next(&g, &w,
                "stuck server db.0: its volume db.0 is attached to a-server-of-theirs: detach it "
                "there, and apply again");
    world_clear(&w);
    w = paper_built(&g);
    paper_remove(&w, RESOURCE_PORT, "db.0");
    assert_next(
        &g, &w,
        "stuck port db.0: its server runs without it, as if somebody had deleted or "
        "unplugged it: `atoll apply --replace db.0` has the server made anew (volumes stay)");
}

/* What --only leaves out is no reason to call it a dead end. */
static void only_and_dead_ends(void **state)
{
    _cleanup_(goal_clear) Goal g = paper_goal(paper_two_tiers);
    _cleanup_(world_clear) World w = paper_built(&g);

    (void)state;
    paper_remove(&w, RESOURCE_SERVER, "db.0");
    paper_remove(&w, RESOURCE_HOST, "db.0");
    strlist_add(&g.only, "web");
    assert_next(&g, &w, "");
}

/* A server of a scaled tier can't go while a bad setting is held back from another tier's. */
static void leaving_waits_for_all(void **state)
{
#define PAPER_SCALED(JOBS)                                                                         \
    PAPER_HEAD "  web: {flavor: small, count: 2, roles: [edge, web]}\n"                            \
               "  jobs: {flavor: small, count: " JOBS ", roles: [worker]}\n"                       \
               "  db: {flavor: big, roles: [postgres, redis], volume: {size: 50GB}}\n"
    _cleanup_(goal_clear) Goal two = paper_goal(PAPER_SCALED("2")),
                               one = paper_goal(PAPER_SCALED("1"));
    _cleanup_(world_clear) World w = paper_built(&two);

    (void)state;
    strlist_add(&one.only, "jobs");
    assert_next(&one, &w, "send host jobs.1 stop");
    paper_attr(&w, RESOURCE_HOST, "web.0", "state", json_string("failed"));
    paper_outdated(&w, "web.1");
    assert_next(&one, &w,
                "stuck server jobs.1: not every other server has been told to do without it");
}

/* A volume that somebody took away comes back; one that is younger than the server is empty. */
static void volumes_of_servers(void **state)
{
    _cleanup_(goal_clear) Goal g = paper_goal(paper_two_tiers);
    _cleanup_(world_clear) World w = paper_built(&g);

    (void)state;
    paper_attr(&w, RESOURCE_SERVER, "db.0", "volumes", json_array());
    paper_attr(&w, RESOURCE_VOLUME, "db.0", "server", json_string(""));
    paper_status(&w, RESOURCE_VOLUME, "db.0", "available");
    assert_next(&g, &w, "attach server db.0 db.0");
    world_find(&w, RESOURCE_VOLUME, "db.0", 0)->created_at = NOW;
    assert_next(&g, &w,
                "stuck server db.0: volume db.0 is new: `atoll apply --replace db.0` has the "
                "server made anew with it");
    paper_attr(&w, RESOURCE_HOST, "db.0", "kept", json_make_new("{s:s}", "redis", "root"));
    assert_next(&g, &w,
                "stuck server db.0: it keeps queued jobs and what else Redis keeps, on its root "
                "disk, and volume db.0 is new and empty: copy the data away, `atoll apply "
                "--replace db.0`, and copy it back");
}

static void flow(size_t k)
{
    _cleanup_(goal_clear) Goal from = paper_goal(flows[k].from), g = paper_goal(flows[k].to);
    _cleanup_(world_clear) World w = paper_built(&from);
    _cleanup_(steps_clear) Steps steps = {0};
    _cleanup_(err_clear) Err err = {0};
    _cleanup_(buf_clear) Buf text = BUF_INIT(BUF_MAX_BODY);
    Next end = {0};

    g.rebuild = flows[k].rebuild;
    if (flows[k].replace)
        strlist_add(&g.replace, world_find(&w, RESOURCE_SERVER, flows[k].replace, 0)->id);
    if (plan_make(&g, &w, NOW, &steps, &err) < 0)
        fail_msg("flow %zu: %s", k, err.text);
    for (size_t i = 0; i < steps.len; i++) {
        const Step *s = &steps.items[i];

        buf_printf(&text, "%s %s %s", paper_verbs[s->verb], resource_row(s->kind)->prefix, s->key);
        if (s->generation > 1)
            buf_printf(&text, " g%d", s->generation);
        if (s->detail)
            buf_printf(&text, " %s", s->detail);
        if (s->downtime_s)
            buf_printf(&text, " (%d s)", s->downtime_s);
        if (s->loss)
            buf_printf(&text, " LOSES %s", s->loss);
        buf_str(&text, "\n");
        plan_predict(&g, &w, &steps.items[i]);
        plan_settle(&w);
    }
    paper_next(&g, &w, &end);
    if (end.steps.len || end.waits.len || end.stucks.len)
        fail_msg("flow %zu does not end well:\n%s\n%s", k, text.p, paper_text(&end));
    next_clear(&end);
    if (!streq(text.p, flows[k].text))
        fail_msg("flow %zu is\n%s", k, text.p);
}

static void whole_changes(void **state)
{
    (void)state;
    for (size_t k = 0; k < ARRAY_LEN(flows); k++)
        flow(k);
}

static void as_json(void **state)
{
    _cleanup_(goal_clear) Goal g = paper_goal(paper_two_tiers);
    _cleanup_(world_clear) World w = paper_built(&g);
    _cleanup_(steps_clear) Steps steps = {0};
    _cleanup_json_ json_t *j = NULL;
    _cleanup_free_ char *text = NULL;

    (void)state;
    paper_remove(&w, RESOURCE_SERVER, "web.0");
    paper_remove(&w, RESOURCE_HOST, "web.0");
    assert_int_equal(plan_make(&g, &w, NOW, &steps, NULL), 0);
    assert_int_equal(steps.len, 2);
    j = plan_step_json_new(&g, &steps.items[0]);
    text = json_text_new(j);
    assert_string_equal(text, "{\"action\":\"create\",\"downtime_s\":0,\"generation\":1,\"key\":"
                              "\"web.0\",\"kind\":\"server\",\"reason\":\"not there\",\"verb\":"
                              "\"create\",\"what\":\"small, debian-12\"}");
    assert_true(plan_has(&steps, &steps.items[1]));
    steps.items[1].generation = 2;
    Step other = steps.items[0];
    other.verb = KIND_DELETE;
    assert_false(plan_has(&steps, &other));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(empty_world),
        cmocka_unit_test(nothing_after_all),
        cmocka_unit_test(one_thing_odd),
        cmocka_unit_test(words_and_deadlines),
        cmocka_unit_test(addresses_that_end),
        cmocka_unit_test(silent_and_failed),
        cmocka_unit_test(what_is_under_way),
        cmocka_unit_test(dead_end),
        cmocka_unit_test(destroy),
        cmocka_unit_test(fewer),
        cmocka_unit_test(duplicates),
        cmocka_unit_test(ambiguity_in_words),
        cmocka_unit_test(whole_changes),
        cmocka_unit_test(volumes_of_servers),
        cmocka_unit_test(replaced_in_any_state),
        cmocka_unit_test(stopped_before_detached),
        cmocka_unit_test(databases_begin_once),
        cmocka_unit_test(a_stray_volume_that_may_go),
        cmocka_unit_test(moved_and_both_there),
        cmocka_unit_test(only_and_dead_ends),
        cmocka_unit_test(leaving_waits_for_all),
        cmocka_unit_test(another_volume),
        cmocka_unit_test(the_file_is_put_back),
        cmocka_unit_test(cut_off_but_serving),
        cmocka_unit_test(dead_generation),
        cmocka_unit_test(never_reported),
        cmocka_unit_test(failed_tier_grows),
        cmocka_unit_test(built_in_vain),
        cmocka_unit_test(one_server_at_a_time),
        cmocka_unit_test(a_second_web_server),
        cmocka_unit_test(taken_by_hand),
        cmocka_unit_test(as_json),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
