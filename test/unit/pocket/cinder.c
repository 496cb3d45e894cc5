#include "pocket/cinder.h"
#include "cloud.h"

#define C POCKET_CINDER

static void test_dict(void **state)
{
    (void)state;
    static const struct {
        const char *text, *want; /* JSON with single quotes; NULL: refused */
    } rows[] = {
        {"{'atoll':'reef'}", "{'atoll':'reef'}"},
        {"{ 'a' : \"b\" , 'c': 'd' }", "{'a':'b','c':'d'}"},
        {"{u'a': u'b'}", "{'a':'b'}"},
        {"{'a':'b',}", "{'a':'b'}"},
        {"{'it\\'s':'x'}", "{'its':'x'}"}, /* adjusted below: a quote is no quote */
        {"{}", "{}"},
        {"{'a':1}", NULL},
        {"{'a'}", NULL},
        {"{'a':'b'", NULL},
        {"{'a':'b'} x", NULL},
        {"['a']", NULL},
        {"", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_json_ json_t *got = cinder_dict_new(rows[i].text);
        if (!rows[i].want) {
            assert_null(got);
            continue;
        }
        assert_non_null(got);
        if (strchr(rows[i].text, '\\')) {
            assert_string_equal(json_string_value(json_object_get(got, "it's")), "x");
            continue;
        }
        _cleanup_json_ json_t *want = cloud_json_new(rows[i].want);
        assert_true(json_equal(got, want));
    }
}

static char *volume_new(Cloud *c, const char *name, const char *marker)
{
    return cloud_make(c, C, "/v3/project-demo/volumes", "volume",
                      "{'volume':{'name':'%s','size':2,'metadata':{'atoll':'%s'},"
                      "'volume_type':'b1.sr-r3-nvme-1000'}}",
                      name, marker);
}

static int call_volume(Cloud *c, const char *method, const char *id, const char *rest,
                       const char *body)
{
    _cleanup_free_ char *path = xasprintf("/v3/project-demo/volumes/%s%s", id, rest);
    return cloud_call(c, C, method, path, body);
}

static const char *status_of(Cloud *c, const char *id)
{
    int status = call_volume(c, "GET", id, "", NULL);
    return status == 200 ? cloud_text(c, "volume.status") : status == 404 ? "404" : "?";
}

static void test_life(void **state)
{
    Cloud *c = *state;
    c->p.settle_lists = 2;
    _cleanup_free_ char *id = volume_new(c, "db", "reef");
    assert_string_equal(cloud_text(c, "volume.status"), "creating");
    _cleanup_free_ char *dir = cinder_volume_dir(&c->p, id);
    assert_true(file_exists(dir));
    assert_string_equal(status_of(c, id), "creating");
    assert_int_equal(cloud_get(c, C, "/v3/volumes/detail"), 200); /* a list is a look too */
    assert_string_equal(cloud_nth(c, "volumes", 0, "status"), "creating");
    assert_int_equal(call_volume(c, "DELETE", id, "", NULL), 400);
    assert_string_equal(status_of(c, id), "available");
    assert_string_equal(cloud_text(c, "volume.volume_type"), "b1.sr-r3-nvme-1000");

    assert_int_equal(call_volume(c, "POST", id, "/action", "{'os-extend':{'new_size':2}}"), 400);
    assert_int_equal(call_volume(c, "POST", id, "/action", "{'os-extend':{'new_size':5}}"), 202);
    assert_string_equal(status_of(c, id), "extending");
    assert_int_equal(json_int(c->answer, "volume.size", 0), 2);
    assert_string_equal(status_of(c, id), "extending");
    assert_string_equal(status_of(c, id), "available");
    assert_int_equal(json_int(c->answer, "volume.size", 0), 5);
    assert_int_equal(call_volume(c, "POST", id, "/action", "{'os-paint':{}}"), 400);

    store_begin(c->p.store);
    assert_true(cinder_attach(&c->p, id, "server-1"));
    assert_false(cinder_attach(&c->p, id, "server-2"));
    store_end(c->p.store, true);
    assert_string_equal(status_of(c, id), "in-use");
    assert_int_equal(call_volume(c, "DELETE", id, "", NULL), 400);
    c->microversion = 41;
    assert_int_equal(call_volume(c, "POST", id, "/action", "{'os-extend':{'new_size':6}}"), 400);
    c->microversion = 42;
    assert_int_equal(call_volume(c, "POST", id, "/action", "{'os-extend':{'new_size':6}}"), 202);
    store_begin(c->p.store);
    cinder_detach(&c->p, id);
    store_end(c->p.store, true);
    assert_int_equal(call_volume(c, "DELETE", id, "", NULL), 202);
    assert_false(file_exists(dir));
    assert_string_equal(status_of(c, id), "deleting");
    assert_string_equal(status_of(c, id), "deleting");
    assert_string_equal(status_of(c, id), "404");
    assert_string_equal(status_of(c, id), "404");
    assert_int_equal(cloud_get(c, C, "/v3/volumes"), 200);
    assert_int_equal(cloud_count(c, "volumes"), 0);
}

/* Types of one backend change in place; to another backend only with a migration, and Cinder's 202
 * does not tell. */
static void test_retype(void **state)
{
    Cloud *c = *state;
    static const struct {
        const char *body;
        int status;
        const char *words, *type; /* of the error; afterwards */
    } rows[] = {
        {"{}", 400, "'new_type' is a required property", "pocket"},
        {"{'new_type':'gold'}", 404, "Volume type with name gold could not be found.", "pocket"},
        {"{'new_type':'pocket'}", 400, "requested type has to be different", "pocket"},
        {"{'new_type':'pocket-ssd','migration_policy':'soon'}", 400, "is not one of", "pocket"},
        {"{'new_type':'pocket-ssd','colour':1}", 400, "'colour' was unexpected", "pocket"},
        {"{'new_type':'pocket-ssd','migration_policy':'never'}", 202, NULL, "pocket-ssd"},
        {"{'new_type':'5f1b4a36-9d2c-4a7e-8a35-0c6d7be1f004'}", 202, NULL, "pocket"},
        {"{'new_type':'b1.sr-r3-nvme-1000'}", 202, NULL, "pocket"},
        {"{'new_type':'b1.sr-r3-nvme-1000','migration_policy':'on-demand'}", 202, NULL,
         "b1.sr-r3-nvme-1000"},
    };
    c->p.settle_lists = 1;
    for (int in_use = 0; in_use < 2; in_use++) {
        const char *then = in_use ? "in-use" : "available";
        _cleanup_free_ char *id = cloud_make(c, C, "/v3/volumes", "volume",
                                             "{'volume':{'size':1,'volume_type':'pocket'}}");
        (void)status_of(c, id);
        (void)status_of(c, id);
        store_begin(c->p.store);
        assert_true(!in_use || cinder_attach(&c->p, id, "server-1"));
        store_end(c->p.store, true);
        for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
            _cleanup_free_ char *body = xasprintf("{'os-retype':%s}", rows[i].body);
            int status = call_volume(c, "POST", id, "/action", body);
            const char *words =
                json_str_or(c->answer, "badRequest.message", cloud_text(c, "itemNotFound.message"));
            if (status != rows[i].status || (rows[i].words && !strstr(words, rows[i].words)))
                fail_msg("%s: %d %s", rows[i].body, status, words);
            if (status == 202) {
                assert_string_equal(status_of(c, id), "retyping");
                assert_int_equal(call_volume(c, "POST", id, "/action", body), 400);
            }
            assert_string_equal(status_of(c, id), then);
            assert_string_equal(cloud_text(c, "volume.volume_type"), rows[i].type);
        }
    }
}

static void test_filters(void **state)
{
    Cloud *c = *state;
    free(volume_new(c, "a", "reef"));
    free(volume_new(c, "b", "reef"));
    free(volume_new(c, "b", "lagoon"));
    static const struct {
        const char *query;
        int want;
    } rows[] = {
        {"", 3},
        {"name=b", 2},
        {"name=B", 0},
        {"status=available", 3},
        {"status=in-use", 0},
        {"metadata=%7B%27atoll%27%3A%27reef%27%7D", 2},
        {"metadata=%7B%27atoll%27%3A%27reef%27%7D&name=b", 1},
        {"metadata=%7B%27atoll%27%3A%27ree%27%7D", 0},
        {"metadata=reef", 0},
        {"limit=2", 2},
        {"all_tenants=1", 3}, /* is for admin only */
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_free_ char *path = xasprintf("/v3/volumes/detail?%s", rows[i].query);
        int status = cloud_get(c, C, path);
        int got = status == 200 ? (int)cloud_count(c, "volumes") : -status;
        if (got != rows[i].want)
            fail_msg("%s: %d, not %d", rows[i].query, got, rows[i].want);
    }
    cloud_get(c, C, "/v3/volumes");
    assert_string_equal(cloud_nth(c, "volumes", 2, "name"), "a"); /* newest first */
    c->as = &c->other;
    assert_int_equal(cloud_get(c, C, "/v3/volumes"), 200);
    assert_int_equal(cloud_count(c, "volumes"), 0);
    assert_int_equal(cloud_get(c, C, "/v3/project-demo/volumes"), 400); /* another's path */
    c->as = &c->admin;
    assert_int_equal(cloud_get(c, C, "/v3/volumes?all_tenants=1"), 200);
    assert_int_equal(cloud_count(c, "volumes"), 3);
}

static void test_refused(void **state)
{
    Cloud *c = *state;
    static const struct {
        const char *volume;
        int status;
    } rows[] = {
        {"{}", 400},
        {"{'size':0}", 400},
        {"{'size':'two'}", 400},
        {"{'size':1,'metadata':{'a':1}}", 400},
        {"{'size':1,'volume_type':'gold'}", 404},
        {"{'size':1,'snapshot_id':'x'}", 501},
        {"{'size':'1'}", 202},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int status = cloud_send(c, C, "POST", "/v3/volumes", "{'volume':%s}", rows[i].volume);
        if (status != rows[i].status)
            fail_msg("%s: %d", rows[i].volume, status);
    }
}

/* 413 with Retry-After: 0, which nobody should obey. */
static void test_quota(void **state)
{
    Cloud *c = *state;
    static const struct {
        const char *quota, *words;
    } rows[] = {
        {"{'quota_set':{'volumes':1}}",
         "VolumeLimitExceeded: Maximum number of volumes allowed (1) exceeded for quota "
         "'volumes'."},
        {"{'quota_set':{'volumes':9,'gigabytes':3}}",
         "VolumeSizeExceedsAvailableQuota: Requested volume or snapshot exceeds allowed "
         "gigabytes quota. Requested 2G, quota is 3G and 2G has been consumed."},
        {"{'quota_set':{'per_volume_gigabytes':1}}",
         "VolumeSizeExceedsLimit: Requested volume size 2G is larger than maximum allowed "
         "limit 1G."},
        {"{'quota_set':{'per_volume_gigabytes':-1,'gigabytes':9,'volumes___DEFAULT__':0}}",
         "VolumeLimitExceeded: Maximum number of volumes allowed (0) exceeded for quota "
         "'volumes___DEFAULT__'."},
        {"{'quota_set':{'gigabytes___DEFAULT__':1}}",
         "VolumeSizeExceedsAvailableQuota: Requested volume or snapshot exceeds allowed "
         "gigabytes___DEFAULT__ quota. Requested 2G, quota is 1G and 0G has been consumed."}};
    free(volume_new(c, "one", "reef"));
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        c->as = &c->admin;
        assert_int_equal(
            cloud_send(c, C, "PUT", "/v3/os-quota-sets/project-demo", "%s", rows[i].quota), 200);
        c->as = &c->user;
        assert_int_equal(cloud_send(c, C, "POST", "/v3/volumes", "{'volume':{'size':2}}"), 413);
        assert_string_equal(cloud_text(c, "overLimit.message"), rows[i].words);
        assert_int_equal(json_int(c->answer, "overLimit.code", 0), 413);
        assert_string_equal(header_of(&c->headers, "Retry-After"), "0");
    }
    assert_int_equal(cloud_get(c, C, "/v3/os-quota-sets/project-demo?usage=True"), 200);
    assert_int_equal(json_int(c->answer, "quota_set.gigabytes.in_use", -1), 2);
    assert_int_equal(json_int(c->answer, "quota_set.volumes.limit", -1), 9);
    assert_int_equal(cloud_get(c, C, "/v3/os-quota-sets/project-jo"), 403);
    c->as = &c->admin;
    assert_int_equal(
        cloud_send(c, C, "PUT", "/v3/os-quota-sets/project-demo", "{'quota_set':{'colour':1}}"),
        400);
    assert_string_equal(cloud_text(c, "badRequest.message"),
                        "Invalid input received: Bad key(s) in quota set: colour");
    assert_int_equal(
        cloud_send(c, C, "PUT", "/v3/os-quota-sets/project-demo", "{'quota_set':{'gigabytes':1}}"),
        400);
    assert_string_equal(cloud_text(c, "badRequest.message"),
                        "Quota gigabytes limit must be equal or greater than existing resources. "
                        "Current usage is 2 and the requested limit is 1.");
}

static int setup(void **state)
{
    *state = cloud_new(false);
    return 0;
}

static int teardown(void **state)
{
    cloud_free(*state);
    return 0;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_dict),    TEST(test_life),    TEST(test_retype),
        TEST(test_filters), TEST(test_refused), TEST(test_quota),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
