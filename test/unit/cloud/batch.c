#include "stage.h"

#include "io/file.h"

#include <unistd.h>

static Call call_of(Stage *s, CloudService service, CallKind kind, const char *method,
                    const char *path)
{
    return (Call){.cloud = s->cloud,
                  .service = service,
                  .kind = kind,
                  .method = method,
                  .path = xstrdup(path)};
}

/* One call; its outcome stays in *ret. */
static int one(Stage *s, CloudService service, CallKind kind, const char *method, const char *path,
               Call *ret)
{
    *ret = call_of(s, service, kind, method, path);
    return cloud_perform(ret, 1, NULL);
}

static void a_batch_logs_in_once(void **state)
{
    StageRule rules[] = {
        {"GET /network/v2.0/networks", {{200, NULL, "{\"networks\":[{\"id\":\"n\"}]}"}}},
        {"GET /compute/v2.1/servers", {{200, NULL, "{\"servers\":[]}"}}},
        {"GET /volume/v3/p1/volumes", {{200, NULL, "{\"volumes\":[]}"}}},
        {"HEAD /object/v1/AUTH_p1/c", {{204, "X-Container-Object-Count: 3", NULL}}},
        {"DELETE /network/v2.0/ports/1", {{404, NULL, "{}"}}},
        {NULL},
    };
    Stage *s = stage_open(rules);
    _cleanup_(err_clear) Err err = {0};
    Call calls[] = {
        call_of(s, CLOUD_NETWORK, CALL_READ, "GET", "/networks"),
        call_of(s, CLOUD_COMPUTE, CALL_READ, "GET", "/servers"),
        call_of(s, CLOUD_VOLUME, CALL_READ, "GET", "/volumes"),
        call_of(s, CLOUD_OBJECT, CALL_READ, "HEAD", "/c"),
        call_of(s, CLOUD_NETWORK, CALL_IDEMPOTENT, "DELETE", "/ports/1"),
        call_of(s, CLOUD_IMAGE, CALL_READ, "GET", "/images/7"),
    };

    (void)state;
    calls[0].plural = "networks";
    assert_int_equal(cloud_perform(calls, ARRAY_LEN(calls), &err), -ERR_NOT_FOUND);
    assert_string_equal(err.text, "not in the script");
    assert_int_equal(s->logins, 1);
    assert_int_equal(json_array_size(calls[0].json), 1);
    assert_int_equal(json_array_size(json_object_get(calls[1].json, "servers")), 0);
    assert_string_equal(call_header(&calls[3], "x-container-object-count"), "3");
    assert_int_equal(calls[4].err.kind, ERR_NONE); /* gone is what was asked for */
    assert_int_equal(calls[5].err.kind, ERR_NOT_FOUND);
    assert_int_equal(s->minors.len, 1);
    assert_string_equal(s->minors.items[0], "compute 2.67");
    assert_string_equal(cloud_project_id(s->cloud), "p1");
    assert_string_equal(cloud_region(s->cloud), "one");
    assert_true(cloud_has_role(s->cloud, "Member"));
    for (size_t i = 0; i < ARRAY_LEN(calls); i++)
        call_clear(&calls[i]);
    stage_close_all(s);
}

/* All calls of the batch meet the dead token at once: one new login for all. */
static void a_dead_token_is_renewed_once(void **state)
{
    StageRule rules[] = {
        {"GET /network/v2.0/a", {{401, NULL, "{}"}, {200, NULL, "{}"}}},
        {"GET /network/v2.0/b", {{401, NULL, "{}"}, {200, NULL, "{}"}}},
        {"POST /network/v2.0/c", {{401, NULL, "{}"}, {201, NULL, "{}"}}},
        {"GET /network/v2.0/never", {{401, NULL, "{\"error\":{\"message\":\"No.\"}}"}}},
        {NULL},
    };
    Stage *s = stage_open(rules);
    Call calls[] = {
        call_of(s, CLOUD_NETWORK, CALL_READ, "GET", "/a"),
        call_of(s, CLOUD_NETWORK, CALL_READ, "GET", "/b"),
        call_of(s, CLOUD_NETWORK, CALL_CREATE, "POST", "/c"),
    };
    Call never;

    (void)state;
    assert_int_equal(cloud_perform(calls, ARRAY_LEN(calls), NULL), 0);
    assert_int_equal(s->logins, 2);
    for (size_t i = 0; i < ARRAY_LEN(calls); i++)
        call_clear(&calls[i]);
    assert_int_equal(one(s, CLOUD_NETWORK, CALL_READ, "GET", "/never", &never), -ERR_AUTH);
    assert_string_equal(never.err.text, "No");
    assert_int_equal(s->logins, 3);
    call_clear(&never);
    stage_close_all(s);
}

static void a_renewal_that_fails_fails_once(void **state)
{
    StageRule rules[] = {
        {"POST /identity/v3/auth/tokens", {{401, NULL, "{\"error\":{\"message\":\"disabled\"}}"}}},
        {"GET /network", {{401, NULL, "{}"}}},
        {NULL},
    };
    Stage *s = stage_open(NULL);
    Call calls[] = {
        call_of(s, CLOUD_NETWORK, CALL_READ, "GET", "/a"),
        call_of(s, CLOUD_NETWORK, CALL_READ, "GET", "/b"),
        call_of(s, CLOUD_NETWORK, CALL_READ, "GET", "/c"),
    };

    (void)state;
    assert_int_equal(cloud_login(s->cloud, NULL), 0);
    s->rules = rules;
    assert_int_equal(cloud_perform(calls, ARRAY_LEN(calls), NULL), -ERR_AUTH);
    assert_int_equal(stage_count(s, "POST"), 2);
    for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
        assert_string_equal(calls[i].err.text, "logging in to stage: disabled");
        call_clear(&calls[i]);
    }
    stage_close_all(s);
}

static void a_refused_login_says_so(void **state)
{
    StageRule rules[] = {
        {"POST /identity/v3/auth/tokens",
         {{401, "X-Openstack-Request-Id: req-9",
           "{\"error\":{\"code\":401,\"message\":\"The request you have made requires "
           "authentication.\"}}"}}},
        {NULL},
    };
    Stage *s = stage_open(rules);
    _cleanup_(err_clear) Err err = {0};
    Call calls[] = {
        call_of(s, CLOUD_NETWORK, CALL_READ, "GET", "/a"),
        call_of(s, CLOUD_COMPUTE, CALL_READ, "GET", "/b"),
    };

    (void)state;
    assert_int_equal(cloud_perform(calls, ARRAY_LEN(calls), &err), -ERR_AUTH);
    assert_string_equal(err.text,
                        "logging in to stage: The request you have made requires authentication");
    assert_string_equal(err.hint, "check the user name, password and domain of `stage` in a test");
    assert_string_equal(err.request_id, "req-9");
    assert_string_equal(calls[1].err.text, err.text);
    assert_int_equal(s->log.len, 1);
    assert_null(strstr(err.text, "sesame"));
    for (size_t i = 0; i < ARRAY_LEN(calls); i++)
        call_clear(&calls[i]);
    stage_close_all(s);
}

/* What is repeated, and what is not. */
static void repeating(void **state)
{
    StageRule rules[] = {
        {"GET /network/v2.0/busy",
         {{429, "Retry-After: 0", "{}"}, {503, "Retry-After: 0", "{}"}, {200, NULL, "{}"}}},
        {"POST /network/v2.0/busy", {{429, "Retry-After: 0", "{}"}, {201, NULL, "{}"}}},
        {"GET /network/v2.0/cut", {{0, NULL, NULL}, {200, NULL, "{}"}}},
        {"POST /network/v2.0/cut", {{0, NULL, NULL}}},
        {"POST /network/v2.0/sick", {{500, NULL, "{\"NeutronError\":{\"message\":\"ill\"}}"}}},
        {"GET /network/v2.0/half", {{200, NULL, "{\"netw"}, {200, NULL, "{}"}}},
        {"POST /network/v2.0/half", {{201, NULL, "{\"netw"}}},
        {"POST /volume/v3/p1/volumes",
         {{413, "Retry-After: 0", "{\"overLimit\":{\"message\":\"VolumeLimitExceeded\"}}"}}},
        {NULL},
    };
    static const struct {
        CloudService service;
        CallKind kind;
        const char *method, *path;
        int result, tries;
        bool unknown;
    } rows[] = {
        {CLOUD_NETWORK, CALL_READ, "GET", "/busy", 0, 3, false},
        {CLOUD_NETWORK, CALL_CREATE, "POST", "/busy", 0, 2, false},
        {CLOUD_NETWORK, CALL_READ, "GET", "/cut", 0, 2, false},
        {CLOUD_NETWORK, CALL_CREATE, "POST", "/cut", -ERR_TEMPORARY, 1, true},
        {CLOUD_NETWORK, CALL_CREATE, "POST", "/sick", -ERR_TEMPORARY, 1, true},
        {CLOUD_NETWORK, CALL_READ, "GET", "/half", 0, 2, false},
        {CLOUD_NETWORK, CALL_CREATE, "POST", "/half", -ERR_CORRUPT, 1, true},
        {CLOUD_VOLUME, CALL_CREATE, "POST", "/volumes", -ERR_QUOTA, 1, false},
    };
    Stage *s = stage_open(rules);

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        Call c;
        int r = one(s, rows[i].service, rows[i].kind, rows[i].method, rows[i].path, &c);
        if (r != rows[i].result || c.tries != rows[i].tries || c.unknown_effect != rows[i].unknown)
            fail_msg("row %zu: %d after %d tries, %s", i, r, c.tries, c.err.text);
        call_clear(&c);
    }
    stage_close_all(s);
}

static void a_long_wait_is_not_begun(void **state)
{
    StageRule rules[] = {{"GET /network", {{429, "Retry-After: 3600", "{}"}}}, {NULL}};
    Stage *s = stage_open(rules);
    Call c;

    (void)state;
    assert_int_equal(one(s, CLOUD_NETWORK, CALL_READ, "GET", "/a", &c), -ERR_TEMPORARY);
    assert_int_equal(c.tries, 1);
    call_clear(&c);
    stage_close_all(s);
}

static void ctrl_c_ends_a_wait(void **state)
{
    volatile sig_atomic_t stop = 0;
    StageRule rules[] = {{"GET /network", {{429, "Retry-After: 30", "{}"}}}, {NULL}};
    Stage *s = stage_open(rules);
    Call c;
    Msec begin = time_mono();

    (void)state;
    s->cloud->stop = &stop;
    assert_int_equal(cloud_login(s->cloud, NULL), 0);
    s->stop = &stop; /* from now on each request sets it */
    assert_int_equal(one(s, CLOUD_NETWORK, CALL_READ, "GET", "/a", &c), -ERR_INTERRUPTED);
    assert_int_equal(c.tries, 1);
    assert_true(time_mono() - begin < 10 * SECOND);
    call_clear(&c);
    /* And nothing is begun any more. */
    assert_int_equal(one(s, CLOUD_NETWORK, CALL_READ, "GET", "/a", &c), -ERR_INTERRUPTED);
    assert_int_equal(stage_count(s, "GET"), 1);
    call_clear(&c);
    stage_close_all(s);
}

static void pages_are_joined(void **state)
{
    StageRule rules[] = {
        {"GET /compute/v2.1/servers/detail?tags=x&marker=b",
         {{200, NULL, "{\"servers\":[{\"id\":\"c\"}]}"}}},
        {"GET /compute/v2.1/servers/detail?tags=x",
         {{200, NULL,
           "{\"servers\":[{\"id\":\"a\"},{\"id\":\"b\"}],\"servers_links\":[{\"rel\":\"next\","
           "\"href\":\"http://elsewhere.invalid/v2.1/servers/detail?tags=x&marker=b\"}]}"}}},
        {"GET /network/v2.0/ports?marker=1", {{500, NULL, "{}"}}},
        {"GET /network/v2.0/ports",
         {{200, NULL,
           "{\"ports\":[{\"id\":\"1\"}],\"ports_links\":[{\"rel\":\"next\",\"href\":"
           "\"http://x/v2.0/ports?marker=1\"}]}"}}},
        {"GET /network/v2.0/subnets", {{200, NULL, "{\"nets\":[]}"}}},
        {NULL},
    };
    Stage *s = stage_open(rules);
    Call c = call_of(s, CLOUD_COMPUTE, CALL_READ, "GET", "/servers/detail?tags=x");

    (void)state;
    c.plural = "servers";
    assert_int_equal(cloud_perform(&c, 1, NULL), 0);
    assert_int_equal(json_array_size(c.json), 3);
    assert_string_equal(json_str(json_array_get(c.json, 2), "id"), "c");
    call_clear(&c);
    /* A list without its array is none. */
    c = call_of(s, CLOUD_NETWORK, CALL_CREATE, "GET", "/subnets");
    c.plural = "subnets";
    assert_int_equal(cloud_perform(&c, 1, NULL), -ERR_CORRUPT);
    assert_null(c.json);
    call_clear(&c);
    /* Nor is one whose second page can't be had. (A create, so that it is not tried six times.) */
    c = call_of(s, CLOUD_NETWORK, CALL_CREATE, "GET", "/ports");
    c.plural = "ports";
    assert_int_equal(cloud_perform(&c, 1, NULL), -ERR_TEMPORARY);
    assert_null(c.json);
    call_clear(&c);
    stage_close_all(s);
}

static void an_older_nova_is_asked_what_it_has(void **state)
{
    StageRule rules[] = {
        {"GET /compute/v2.1/servers",
         {{406, NULL, "{\"computeFault\":{\"message\":\"Version 2.67 is not supported\"}}"},
          {200, NULL, "{\"servers\":[]}"}}},
        {"GET /compute/v2.1/flavors", {{406, NULL, "{}"}, {200, NULL, "{\"flavors\":[]}"}}},
        {"GET /compute/v2.1/", {{200, NULL, "{\"version\":{\"version\":\"2.53\"}}"}}},
        {NULL},
    };
    Stage *s = stage_open(rules);
    Call calls[] = {call_of(s, CLOUD_COMPUTE, CALL_READ, "GET", "/servers"),
                    call_of(s, CLOUD_COMPUTE, CALL_READ, "GET", "/flavors")};

    (void)state;
    assert_int_equal(cloud_perform(calls, 2, NULL), 0);
    assert_int_equal(cloud_compute_minor(s->cloud), 53);
    assert_int_equal(s->minors.len, 4);
    assert_string_equal(s->minors.items[0], "compute 2.67");
    assert_string_equal(s->minors.items[3], "compute 2.53");
    for (size_t i = 0; i < ARRAY_LEN(calls); i++)
        call_clear(&calls[i]);
    /* Kept over a new login. */
    login_forget(s->cloud);
    assert_int_equal(cloud_login(s->cloud, NULL), 0);
    assert_int_equal(cloud_compute_minor(s->cloud), 53);
    stage_close_all(s);
}

static void a_token_is_kept_for_the_next_run(void **state)
{
    char dir[] = "/tmp/atoll-token-XXXXXX";
    StageRule rules[] = {{"GET /network", {{200, NULL, "{}"}}}, {NULL}};
    Stage *s = stage_open(rules);

    (void)state;
    assert_non_null(mkdtemp(dir));
    for (int run = 0; run < 3; run++) {
        cloud_free(s->cloud);
        s->cloud = stage_cloud(s, dir);
        assert_int_equal(cloud_get(s->cloud, CLOUD_NETWORK, "/a", NULL, NULL), 0);
        assert_int_equal(s->logins, 1);
    }
    _cleanup_free_ char *path = cache_path(dir, "token", cloud_config(s->cloud));
    _cleanup_(buf_clear) Buf text = BUF_INIT(BUF_MAX_BODY);
    assert_int_equal(file_read(path, &text, NULL), 0);
    assert_null(strstr(text.p, "sesame"));
    /* One that others may read may have been written by them. */
    assert_int_equal(file_write(path, buf_as_str(&text), 0644, NULL), 0);
    cloud_free(s->cloud);
    s->cloud = stage_cloud(s, dir);
    assert_int_equal(cloud_get(s->cloud, CLOUD_NETWORK, "/a", NULL, NULL), 0);
    assert_int_equal(s->logins, 2);
    /* A damaged one is none. */
    assert_int_equal(file_write(path, STR_LIT("{\"version\":1,"), 0600, NULL), 0);
    cloud_free(s->cloud);
    s->cloud = stage_cloud(s, dir);
    assert_int_equal(cloud_get(s->cloud, CLOUD_NETWORK, "/a", NULL, NULL), 0);
    assert_int_equal(s->logins, 3);
    /* A refused one goes from the disk too. */
    login_forget(s->cloud);
    assert_false(file_exists(path));
    assert_int_equal(file_remove_tree(dir, NULL), 0);
    stage_close_all(s);
}

static void objects(void **state)
{
    StageRule rules[] = {
        {"GET /object/v1/AUTH_p1/c/a%20b/c", {{200, NULL, "hello"}}},
        {"GET /object/v1/AUTH_p1/c?", {{200, NULL, "[{\"name\":\"a\"}]"}}},
        /* The first PUT has its effect and its answer is lost: the second meets it. */
        {"PUT /object/v1/AUTH_p1/c/new", {{0, NULL, NULL}, {412, NULL, ""}}},
        {"HEAD /object/v1/AUTH_p1/c/new",
         {{200, "Etag: 5d41402abc4b2a76b9719d911017c592", NULL},
          {200, "Etag: 00000000000000000000000000000000", NULL}}},
        /* One that was refused at first had no effect: what it meets is another's. */
        {"PUT /object/v1/AUTH_p1/c/old", {{429, "Retry-After: 0", ""}, {412, NULL, ""}}},
        {"HEAD /object/v1/AUTH_p1/c/old", {{200, "Etag: 5d41402abc4b2a76b9719d911017c592", NULL}}},
        {"PUT /object/v1/AUTH_p1/c/plain", {{201, NULL, ""}}},
        {"DELETE /object/v1/AUTH_p1/c/gone", {{404, NULL, ""}}},
        {NULL},
    };
    Stage *s = stage_open(rules);
    _cleanup_(buf_clear) Buf text = BUF_INIT(BUF_MAX_LINE);
    _cleanup_(err_clear) Err err = {0};
    _cleanup_json_ json_t *list = NULL;
    SwiftPut hello = {.body = STR_LIT("hello"), .only_new = true, .delete_after_s = 60};
    char file[] = "/tmp/atoll-object-XXXXXX";

    (void)state;
    assert_int_equal(swift_get(s->cloud, "c/a b/c", 100, &text, NULL), 0);
    assert_string_equal(text.p, "hello");
    assert_int_equal(swift_get(s->cloud, "c/a b/c", 3, &text, NULL), -ERR_CORRUPT);
    assert_int_equal(swift_list(s->cloud, "c", "a/", &list, NULL), 0);
    assert_int_equal(json_array_size(list), 1);
    assert_int_equal(stage_count(s, "GET /object/v1/AUTH_p1/c?prefix=a%2F&limit=10000&format=json"),
                     1);
    assert_int_equal(swift_put(s->cloud, "c/new", &hello, &err), 0);
    rules[2].used = 0;
    assert_int_equal(swift_put(s->cloud, "c/new", &hello, &err), -ERR_CONFLICT);
    assert_string_equal(err.text, "c/new is there already");
    assert_int_equal(swift_put(s->cloud, "c/old", &hello, &err), -ERR_CONFLICT);
    assert_int_equal(swift_delete(s->cloud, "c/gone", NULL), 0);
    int fd = mkstemp(file);
    assert_int_equal(write(fd, "from a file", 11), 11);
    close(fd);
    assert_int_equal(swift_put(s->cloud, "c/plain", &(SwiftPut){.file = file}, &err), 0);
    assert_string_equal(s->bodies.items[s->bodies.len - 1], "from a file");
    assert_int_equal(swift_put(s->cloud, "c/plain", &(SwiftPut){.file = "/nowhere/x"}, &err),
                     -ERR_IO);
    unlink(file);
    stage_close_all(s);
}

static void temp_urls(void **state)
{
    Stage *s = stage_open(NULL);
    Secret *key = secret_new("mykey", 5);
    char *url = NULL;

    (void)state;
    assert_int_equal(cloud_login(s->cloud, NULL), 0);
    assert_int_equal(
        swift_temp_url(s->cloud, key, "GET", "c/a b", false, 1700000000 * SECOND, &url, NULL), 0);
    _cleanup_free_ char *begin =
        xasprintf("http://127.0.0.1:%d/object/v1/AUTH_p1/c/a%%20b?temp_url_sig=", s->port);
    assert_true(starts_with(url, begin));
    assert_true(ends_with(url, "&temp_url_expires=1700000000"));
    free(url);
    assert_int_equal(
        swift_temp_url(s->cloud, key, "PUT", "c/web.0/in/", true, 1700000000 * SECOND, &url, NULL),
        0);
    assert_true(ends_with(url, "&temp_url_expires=1700000000&temp_url_prefix=web.0%2Fin%2F"));
    assert_non_null(strstr(url, "/c/web.0/in/?temp_url_sig="));
    free(url);
    secret_free(key);
    stage_close_all(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_batch_logs_in_once),
        cmocka_unit_test(a_dead_token_is_renewed_once),
        cmocka_unit_test(a_renewal_that_fails_fails_once),
        cmocka_unit_test(a_refused_login_says_so),
        cmocka_unit_test(repeating),
        cmocka_unit_test(a_long_wait_is_not_begun),
        cmocka_unit_test(ctrl_c_ends_a_wait),
        cmocka_unit_test(pages_are_joined),
        cmocka_unit_test(an_older_nova_is_asked_what_it_has),
        cmocka_unit_test(a_token_is_kept_for_the_next_run),
        cmocka_unit_test(objects),
        cmocka_unit_test(temp_urls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
