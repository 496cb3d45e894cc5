#include "cloud/quota.h"
#include "cloud/history.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers),
        cmocka_unit_test(no_answers),
        cmocka_unit_test(the_last_act),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
