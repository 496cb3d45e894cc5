/* The lines of `atoll scale decide`. */
#include "steady.h"

static const char line[] =
    "{\"v\": 1, \"t\": 15, \"epoch\": 1795953600, \"tick\": 15, \"cfg\": {\"min\": 2, \"max\": 9, "
    "\"threads\": 25, \"boot_s\": 120, \"queues\": {\"push\": {\"slo\": 60, \"weight\": 6}, "
    "\"pull\": {\"slo\": 600, \"weight\": 1}}}, \"redis_ok\": true, \"api_ok\": true, \"pool\": "
    "{\"desired\": 3, \"active\": 2, \"booting\": 1, \"draining\": 0, \"error\": 0}, \"busy\": 12, "
    "\"queues\": {\"push\": {\"len\": 5, \"age\": 0.5, \"done\": 100, \"ms\": 5000}, \"pull\": "
    "{\"len\": 0, \"age\": 0, \"done\": 7, \"ms\": 700}, \"other\": {\"len\": 9}}, \"retry_due\": "
    "{\"60\": 4, \"300\": 9}}";

static void test_line(void **state)
{
    (void)state;
    _cleanup_(err_clear) Err err = {0};
    ScaleConfig c;
    ScaleObservation o;
    ScaleDecision d;
    Scale *s = scale_new();

    scale_config_default(&c);
    assert_int_equal(scale_decide_line(s, &c, str_of(line), &o, &d, &err), 0);
    assert_int_equal(c.min, 2);
    assert_int_equal(c.max, 9);
    assert_int_equal(c.n_queues, 2);
    assert_true(c.boot_s == 120);
    assert_true(o.queues[0].len + o.queues[1].done == 12);
    assert_int_equal(o.pool.booting, 1);
    assert_true(o.due_300 == 9);
    assert_int_equal(d.desired, 3);
    _cleanup_json_ json_t *out = scale_decision_new(&c, &o, &d);
    assert_int_equal(json_int(out, "desired", -1), 3);
    assert_non_null(json_str(out, "binding"));
    assert_non_null(json_str(out, "reason"));
    assert_int_equal(json_int(out, "inputs.pool.active", -1), 2);
    assert_true(json_is_number(json_at(out, "terms.work")));
    (void)scale_free(s);
}

/* A policy that a person asked for counts over those of the lines; one that there is not is told of
 * all the same. */
static void test_policy_stays(void **state)
{
    (void)state;
    static const struct {
        bool stays;
        ScalePolicy policy;
    } rows[] = {{false, SCALE_DEPTH}, {true, SCALE_BACKLOG}};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        ScaleConfig c;
        scale_config_default(&c);
        c.policy = SCALE_BACKLOG;
        c.policy_stays = rows[i].stays;
        _cleanup_json_ json_t *cfg = json_make_new("{s:s, s:i}", "policy", "depth", "max", 9);
        assert_int_equal(scale_config_read(cfg, &c, NULL), 0);
        assert_int_equal(c.policy, rows[i].policy);
        assert_int_equal(c.max, 9);
        json_object_set_new(cfg, "policy", json_string("dept"));
        assert_int_equal(scale_config_read(cfg, &c, NULL), -ERR_CONFIG);
    }
}

/* What is written is read again as it was. */
static void test_round_trip(void **state)
{
    (void)state;
    Steady s;
    ScaleConfig c;
    ScaleObservation o;

    steady_begin(&s, SCALE_DEPTH, 3);
    s.c.n_calendar = 1;
    s.c.calendar[0] = (ScaleHours){0x12, 18 * 60 + 5, 60, 4};
    s.c.budget = 100;
    s.c.quota = 7;
    s.o.pool.poison = true;
    s.o.queues[0] = (ScaleSeen){true, 12, 3.5, 100, 2000};
    _cleanup_json_ json_t *out = scale_observation_new(&s.c, &s.o);
    scale_config_default(&c);
    assert_int_equal(scale_config_read(json_at(out, "cfg"), &c, NULL), 0);
    assert_int_equal(scale_observation_read(out, &c, &o, NULL), 0);
    _cleanup_json_ json_t *again = scale_observation_new(&c, &o);
    assert_true(json_equal(out, again));
    assert_int_equal(c.calendar[0].from, 18 * 60 + 5);
    assert_int_equal(c.calendar[0].days, 0x12);
    steady_end(&s);
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *words;
    } rows[] = {
        {"[]", "an observation is"},
        {"{", "line"},
        {"{\"v\": 2, \"t\": 1}", "version 2"},
        {"{\"v\": 1}", "without a number `t`"},
        {"{\"t\": 1, \"cfg\": {\"min\": \"x\"}}", "cfg.min"},
        {"{\"t\": 1, \"cfg\": {\"max\": 0}}", "cfg.max: less"},
        {"{\"t\": 1, \"cfg\": {\"threads\": 0}}", "cfg.threads"},
        {"{\"t\": 1, \"cfg\": {\"policy\": \"latancy\"}}", "no policy 'latancy'"},
        {"{\"t\": 1, \"cfg\": {\"queues\": {\"push\": {}}}}", "cfg.queues.push.slo"},
        {"{\"t\": 1, \"cfg\": {\"queues\": {\"push\": {\"slo\": 5, \"weight\": 0}}}}", "weight"},
        {"{\"t\": 1, \"cfg\": {\"calendar\": [{\"from\": \"25:00\", \"to\": \"01:00\"}]}}",
         "HH:MM"},
        {"{\"t\": 1, \"cfg\": {\"calendar\": [{\"from\": \"20:00\", \"to\": \"21:00\", \"days\": "
         "[\"monday\"]}]}}",
         "HH:MM"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_(err_clear) Err err = {0};
        ScaleConfig c;
        ScaleObservation o;
        ScaleDecision d;
        Scale *s = scale_new();
        scale_config_default(&c);
        int r = scale_decide_line(s, &c, str_of(rows[i].text), &o, &d, &err);
        if (r >= 0 || !strstr(err.text, rows[i].words))
            fail_msg("%s: %s", rows[i].text, r < 0 ? err.text : "taken");
        assert_int_equal(c.max, 1); /* a bad line changes nothing */
        (void)scale_free(s);
    }
}

/* Numbers that nobody meant don't end in a size that nobody meant. */
static void test_wild_numbers(void **state)
{
    (void)state;
    static const char *const rows[] = {
        "{\"t\": 1, \"pool\": {\"active\": -5}, \"queues\": {\"push\": {\"len\": -3, \"age\": "
        "-1}}}",
        "{\"t\": 2, \"pool\": {\"active\": 1e300}, \"queues\": {\"push\": {\"len\": 1e300}}}",
        "{\"t\": -1e300, \"epoch\": 1e300, \"pool\": {}, \"queues\": {}}",
        "{\"t\": 3, \"busy\": 1e300, \"pool\": {\"active\": 2}, \"queues\": {\"push\": {\"len\": "
        "1, "
        "\"done\": 1e300, \"ms\": 1e300}}}",
        "{\"t\": 18, \"tick\": 0, \"pool\": [], \"queues\": 7}",
    };
    Scale *s = scale_new();
    ScaleConfig c;

    scale_config_default(&c);
    c.max = 9;
    c.n_queues = 1;
    c.queues[0] = (ScaleQueue){.name = "push", .slo_s = 60, .weight = 1};
    for (int policy = 0; policy < SCALE_POLICIES; policy++)
        for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
            ScaleObservation o;
            ScaleDecision d;
            c.policy = (ScalePolicy)policy;
            assert_int_equal(scale_decide_line(s, &c, str_of(rows[i]), &o, &d, NULL), 0);
            assert_true(d.desired >= c.min && d.desired <= c.max);
        }
    (void)scale_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_line),         cmocka_unit_test(test_policy_stays),
        cmocka_unit_test(test_round_trip),   cmocka_unit_test(test_refused),
        cmocka_unit_test(test_wild_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
