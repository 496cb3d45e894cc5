#include "cloud/quota.h"
#include "cloud/history.h"
#include "stage.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* As real services answered (Zed), shortened. */
static const char nova[] =
    "{\"limits\": {\"rate\": [], \"absolute\": {\"maxTotalInstances\": 10, \"maxTotalCores\": 20, "
    "\"maxTotalRAMSize\": -1, \"maxServerGroups\": 10, \"maxServerGroupMembers\": 10, "
    "\"totalRAMUsed\": 512, \"totalCoresUsed\": 3, \"totalInstancesUsed\": 2, "
    "\"totalServerGroupsUsed\": 1}}}";
static const char cinder[] =
    "{\"quota_set\": {\"volumes\": {\"limit\": 10, \"in_use\": 4, \"reserved\": 1}, "
    "\"gigabytes\": {\"limit\": 1000, \"in_use\": 40, \"reserved\": 0}, \"volumes_file\": "
    "{\"limit\": -1, \"in_use\": 0, \"reserved\": 0}, \"id\": \"p\"}}";
static const char neutron[] =
    "{\"quota\": {\"network\": {\"limit\": 100, \"used\": 2, \"reserved\": 0}, "
    "\"security_group\": {\"limit\": 10, \"used\": 3, \"reserved\": 1}}}";
static const char neutron_plain[] = "{\"quota\": {\"network\": 100, \"port\": 500}}";

static void answers(void **state)
{
    static const struct {
        CloudService service;
        const char *answer;
        QuotaItem item;
        Quota expected;
    } rows[] = {
        {CLOUD_COMPUTE, nova, QUOTA_INSTANCES, {10, 2}},
        {CLOUD_COMPUTE, nova, QUOTA_CORES, {20, 3}},
        {CLOUD_COMPUTE, nova, QUOTA_RAM_MB, {-1, 512}},
        {CLOUD_COMPUTE, nova, QUOTA_GROUP_MEMBERS, {10, 0}},
        {CLOUD_VOLUME, cinder, QUOTA_VOLUMES, {10, 5}},
        {CLOUD_VOLUME, cinder, QUOTA_GIGABYTES, {1000, 40}},
        {CLOUD_NETWORK, neutron, QUOTA_NETWORKS, {100, 2}},
        {CLOUD_NETWORK, neutron, QUOTA_GROUPS, {10, 4}},
        {CLOUD_NETWORK, neutron, QUOTA_PORTS, {-1, -1}}, /* not told */
        {CLOUD_NETWORK, neutron_plain, QUOTA_PORTS, {500, -1}},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_json_ json_t *j = json_parse_new(rows[i].answer, strlen(rows[i].answer), NULL);
        Quota have[QUOTA_ITEMS];

        for (size_t k = 0; k < QUOTA_ITEMS; k++)
            have[k] = (Quota){-1, -1};
        assert_true(quota_read(rows[i].service, j, have));
        assert_int_equal(have[rows[i].item].limit, rows[i].expected.limit);
        assert_int_equal(have[rows[i].item].used, rows[i].expected.used);
    }
}

static void no_answers(void **state)
{
    static const char *const texts[] = {"{}", "[]", "{\"limits\": {\"absolute\": {}}}",
                                        "{\"quota\": []}", "{\"quota_set\": {\"id\": \"p\"}}"};
    static const CloudService services[] = {CLOUD_COMPUTE, CLOUD_VOLUME, CLOUD_NETWORK};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        for (size_t s = 0; s < ARRAY_LEN(services); s++) {
            _cleanup_json_ json_t *j = json_parse_new(texts[i], strlen(texts[i]), NULL);
            Quota have[QUOTA_ITEMS] = {{0, 0}};

            assert_false(quota_read(services[s], j, have));
        }
}

static void the_last_act(void **state)
{
    static const struct {
        const char *answer, *action, *user;
    } rows[] = {
        {"{\"instanceActions\": [{\"action\": \"resize\", \"user_id\": \"u2\", \"start_time\": "
         "\"2026-11-24T14:03:00.000000\"}, {\"action\": \"create\", \"user_id\": \"u1\", "
         "\"start_time\": \"2026-11-24T10:00:00.000000\"}]}",
         "resize", "u2"},
        /* In any order; the service itself has no user. */
        {"{\"instanceActions\": [{\"action\": \"create\", \"user_id\": \"u1\", \"start_time\": "
         "\"2026-11-24T10:00:00.000000\"}, {\"action\": \"stop\", \"user_id\": null, "
         "\"start_time\": \"2026-11-24T14:03:00.000000\"}]}",
         "stop", NULL},
        {"{\"instanceActions\": []}", NULL, NULL},
        {"{\"instanceActions\": [{\"action\": 3, \"start_time\": \"yesterday\"}]}", NULL, NULL},
        {"{}", NULL, NULL},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_json_ json_t *j = json_parse_new(rows[i].answer, strlen(rows[i].answer), NULL);
        ServerAct act = {0};

        server_history_read(j, &act);
        assert_true(streq(act.action, rows[i].action));
        assert_true(streq(act.user_id, rows[i].user));
        assert_int_equal(act.at != 0, rows[i].action != NULL);
        server_act_clear(&act);
    }
}

/* One batch; Neutron without the extension is asked again, and who may not see a quota is not
 * told. */
static void a_look(void **state)
{
    StageRule rules[] = {
        {"GET /compute/v2.1/limits", {{403, NULL, "{\"forbidden\":{\"message\":\"no\"}}"}}},
        {"GET /volume/v3/p1/os-quota-sets/p1?usage=true", {{200, NULL, cinder}}},
        {"GET /network/v2.0/quotas/p1/details.json", {{404, NULL, "{}"}}},
        {"GET /network/v2.0/quotas/p1", {{200, NULL, neutron_plain}}},
        {NULL},
    };
    Stage *s = stage_open(rules);
    Clouds clouds = {.of = {s->cloud, s->cloud}, .island = "reef"};
    _cleanup_(err_clear) Err err = {0};
    Quota have[QUOTA_ITEMS];

    (void)state;
    if (quota_look(&clouds, (1u << QUOTA_ITEMS) - 1, have, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(have[QUOTA_INSTANCES].limit, -1);
    assert_int_equal(have[QUOTA_VOLUMES].limit, 10);
    assert_int_equal(have[QUOTA_PORTS].limit, 500);
    assert_int_equal(have[QUOTA_PORTS].used, -1);
    assert_int_equal(s->log.len, 5); /* with the login */
    assert_int_equal(quota_look(&clouds, 1u << QUOTA_VOLUMES, have, &err), 0);
    assert_int_equal(s->log.len, 6);
    stage_close_all(s);
}

static void may_servers_be_made(void **state)
{
    static const struct {
        int status;
        const char *body;
        int result;
    } rows[] = {
        {400, "{\"badRequest\":{\"message\":\"Flavor atoll-no-such-flavor could not be found.\"}}",
         0},
        {404, "{\"itemNotFound\":{\"message\":\"Flavor not found\"}}", 0},
        {403, "{\"forbidden\":{\"message\":\"Policy doesn't allow it\"}}", -ERR_DENIED},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        StageRule rules[] = {{"POST /compute/v2.1/servers", {{rows[i].status, NULL, rows[i].body}}},
                             {NULL}};
        Stage *s = stage_open(rules);
        Clouds clouds = {.of = {s->cloud, s->cloud}, .island = "reef"};
        _cleanup_(err_clear) Err err = {0};

        assert_int_equal(quota_may_create_servers(&clouds, &err), rows[i].result);
        if (rows[i].result)
            assert_non_null(strstr(err.hint, "the role `member`"));
        stage_close_all(s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers),
        cmocka_unit_test(no_answers),
        cmocka_unit_test(the_last_act),
        cmocka_unit_test(a_look),
        cmocka_unit_test(may_servers_be_made),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
