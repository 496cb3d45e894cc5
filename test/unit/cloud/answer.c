#include "cloud/answer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

/* Bodies as the services send them (reference iac.md 2.6, openstack.md; Zed). */
static void errors_in_the_services_words(void **state)
{
    static const struct {
        CloudService service;
        int status;
        const char *header, *body;
        ErrKind kind;
        const char *text, *id;
    } rows[] = {
        {CLOUD_COMPUTE, 400, "X-Openstack-Request-Id: req-1",
         "{\"badRequest\": {\"code\": 400, \"message\": \"Flavor c9 could not be found.\"}}",
         ERR_CONFLICT, "Flavor c9 could not be found", "req-1"},
        {CLOUD_COMPUTE, 403, "x-compute-request-id: req-2",
         "{\"forbidden\": {\"code\": 403, \"message\": \"Quota exceeded for cores: Requested 1, "
         "but "
         "already used 20 of 20 cores\"}}",
         ERR_QUOTA, "Quota exceeded for cores: Requested 1, but already used 20 of 20 cores",
         "req-2"},
        {CLOUD_COMPUTE, 403, NULL,
         "{\"forbidden\": {\"code\": 403, \"message\": \"Policy doesn't allow "
         "os_compute_api:servers:create to be performed.\"}}",
         ERR_DENIED, "Policy doesn't allow os_compute_api:servers:create to be performed", NULL},
        {CLOUD_COMPUTE, 409, NULL,
         "{\"conflictingRequest\": {\"code\": 409, \"message\": \"Port 1 is still in use.\"}}",
         ERR_CONFLICT, "Port 1 is still in use", NULL},
        {CLOUD_COMPUTE, 404, NULL, "{\"itemNotFound\": {\"code\": 404, \"message\": \"gone\"}}",
         ERR_NOT_FOUND, "gone", NULL},
        {CLOUD_COMPUTE, 429, NULL,
         "{\"overLimit\": {\"code\": 429, \"message\": \"slow down\", \"retryAfter\": \"3\"}}",
         ERR_TEMPORARY, "slow down", NULL},
        {CLOUD_NETWORK, 409, NULL,
         "{\"NeutronError\": {\"type\": \"OverQuota\", \"message\": \"Quota exceeded for "
         "resources: "
         "['port'].\", \"detail\": \"\"}}",
         ERR_QUOTA, "Quota exceeded for resources: ['port']", NULL},
        {CLOUD_NETWORK, 409, NULL,
         "{\"NeutronError\": {\"type\": \"IpAddressInUse\", \"message\": \"in use\", \"detail\": "
         "\"\"}}",
         ERR_CONFLICT, "in use", NULL},
        {CLOUD_NETWORK, 412, NULL,
         "{\"NeutronError\": {\"type\": \"RevisionNumberConstraintFailed\", \"message\": \"m\"}}",
         ERR_CONFLICT, "m", NULL},
        {CLOUD_VOLUME, 413, "X-Openstack-Request-Id: req-3",
         "{\"overLimit\": {\"code\": 413, \"message\": \"VolumeSizeExceedsAvailableQuota: "
         "Requested "
         "volume\", \"retryAfter\": \"0\"}}",
         ERR_QUOTA, "VolumeSizeExceedsAvailableQuota: Requested volume", "req-3"},
        {CLOUD_IDENTITY, 401, NULL,
         "{\"error\": {\"code\": 401, \"message\": \"The request you have made requires "
         "authentication.\", \"title\": \"Unauthorized\"}}",
         ERR_AUTH, "The request you have made requires authentication", NULL},
        {CLOUD_IDENTITY, 409, NULL,
         "{\"error\": {\"code\": 409, \"message\": \"Conflict occurred\", \"title\": \"C\"}}",
         ERR_CONFLICT, "Conflict occurred", NULL},
        {CLOUD_IMAGE, 404, NULL,
         "<html>\n <head>\n  <title>404 Not Found</title>\n </head>\n <body>\n  <h1>404 Not "
         "Found</h1>\n  No image found with ID x<br /><br />\n </body>\n</html>",
         ERR_NOT_FOUND, "the image service answers 404 Not Found: No image found with ID x", NULL},
        {CLOUD_OBJECT, 403, "X-Trans-Id: tx1",
         "<html><h1>Forbidden</h1><p>Access was denied to this resource.</p></html>", ERR_DENIED,
         "the object store answers 403 Forbidden: Access was denied to this resource", "tx1"},
        {CLOUD_OBJECT, 413, NULL, "Upload exceeds quota.", ERR_QUOTA,
         "the object store answers 413 Request Entity Too Large: Upload exceeds quota", NULL},
        {CLOUD_OBJECT, 412, NULL, "", ERR_CONFLICT,
         "the object store answers 412 Precondition Failed", NULL},
        {CLOUD_OBJECT, 498, NULL, "Slow down", ERR_TEMPORARY,
         "the object store answers 498 Rate Limited: Slow down", NULL},
        {CLOUD_NETWORK, 502, NULL,
         "<html><head><title>502 Bad Gateway</title></head><body><center><h1>502 Bad "
         "Gateway</h1></center><hr><center>nginx</center></body></html>",
         ERR_TEMPORARY, "the answer of the network service is not JSON: 502 Bad Gateway", NULL},
        {CLOUD_COMPUTE, 503, NULL, "<html><title>Maintenance</title></html>", ERR_TEMPORARY,
         "the answer of the compute service is not JSON: 503 Service Unavailable: Maintenance",
         NULL},
        {CLOUD_VOLUME, 503, NULL, "", ERR_TEMPORARY,
         "the volume service answers 503 Service Unavailable", NULL},
        {CLOUD_VOLUME, 418, NULL, "{}", ERR_CONFLICT, "the volume service answers 418", NULL},
        {CLOUD_COMPUTE, 403, NULL,
         "{\"error_msg\": \"APIGW says no\", \"error_code\": \"APIGW.0101\"}", ERR_DENIED,
         "APIGW says no", NULL},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_(strlist_clear) StrList headers = {0};
        _cleanup_(err_clear) Err err = {0};
        if (rows[i].header)
            strlist_add(&headers, rows[i].header);
        Answer a = {rows[i].service, rows[i].status, &headers, str_of(rows[i].body)};
        assert_int_equal(answer_error(&a, NULL, &err), -(int)rows[i].kind);
        assert_string_equal(err.text, rows[i].text);
        assert_true(streq(err.request_id, rows[i].id));
    }
}

static void a_secret_quoted_back_is_left_out(void **state)
{
    _cleanup_(err_clear) Err err = {0};
    _cleanup_json_ json_t *request =
        json_make_new("{s:{s:s, s:s, s:[{s:s}]}}", "server", "name", "reef-web-0", "user_data",
                      "U0VDUkVU", "list", "password", "hunter22");

    (void)state;
    answer_error(&(Answer){CLOUD_COMPUTE, 400, NULL,
                           STR_LIT("{\"badRequest\": {\"message\": \"Invalid input for user_data. "
                                   "Value: U0VDUkVU. 'U0VDUkVU' and hunter22 of reef-web-0\"}}")},
                 request, &err);
    assert_string_equal(err.text,
                        "Invalid input for user_data. Value: .... '...' and ... of reef-web-0");
    answer_wipe(request);
    assert_string_equal(json_str(request, "server.user_data"), "");
    assert_string_equal(json_str(request, "server.name"), "reef-web-0");
}

static void long_words_are_cut(void **state)
{
    _cleanup_(err_clear) Err err = {0};
    Buf body = BUF_INIT(BUF_MAX_LINE);

    (void)state;
    buf_str(&body, "{\"message\": \"");
    for (int i = 0; i < 1000; i++)
        buf_str(&body, "long ");
    buf_str(&body, "\"}");
    answer_error(&(Answer){CLOUD_COMPUTE, 400, NULL, buf_as_str(&body)}, NULL, &err);
    assert_true(strlen(err.text) < 500);
    assert_true(ends_with(err.text, "..."));
    buf_clear(&body);
}

/* May it be repeated? */
static void retries(void **state)
{
    enum { NO, WAIT, LOGIN, UNKNOWN };
    static const struct {
        CallKind kind;
        CloudService service;
        int status;
        ErrKind failure;
        bool sent;
        const char *retry_after;
        int tries;
        Msec spent;
        int expected;
        Msec wait; /* at least, and at most 250 ms or a half more; 0: don't look */
    } rows[] = {
        {CALL_READ, CLOUD_NETWORK, 503, 0, true, NULL, 1, 0, WAIT, 375},
        {CALL_READ, CLOUD_NETWORK, 500, 0, true, NULL, 2, 0, WAIT, 750},
        {CALL_READ, CLOUD_NETWORK, 502, 0, true, NULL, 5, 9000, WAIT, 6000},
        {CALL_READ, CLOUD_NETWORK, 502, 0, true, NULL, 6, 9000, NO, 0},
        {CALL_READ, CLOUD_NETWORK, 502, 0, true, NULL, 3, 59900, NO, 0},
        {CALL_READ, CLOUD_NETWORK, 504, 0, true, NULL, 1, 0, WAIT, 0},
        {CALL_READ, CLOUD_NETWORK, 501, 0, true, NULL, 1, 0, NO, 0},
        {CALL_READ, CLOUD_NETWORK, 400, 0, true, NULL, 1, 0, NO, 0},
        {CALL_READ, CLOUD_NETWORK, 404, 0, true, "1", 1, 0, NO, 0},
        {CALL_READ, CLOUD_NETWORK, 409, 0, true, NULL, 1, 0, NO, 0},
        {CALL_READ, CLOUD_NETWORK, 429, 0, true, "7", 1, 0, WAIT, 7000},
        {CALL_READ, CLOUD_NETWORK, 429, 0, true, "70", 1, 0, NO, 0},
        {CALL_READ, CLOUD_NETWORK, 429, 0, true, "Tue, 24 Nov 2026 17:31:44 GMT", 1, 0, WAIT, 5000},
        {CALL_READ, CLOUD_NETWORK, 429, 0, true, "soon", 1, 0, WAIT, 375},
        {CALL_READ, CLOUD_NETWORK, 401, 0, true, NULL, 1, 0, LOGIN, 0},
        {CALL_READ, CLOUD_NETWORK, 0, ERR_TEMPORARY, true, NULL, 1, 0, WAIT, 0},
        {CALL_READ, CLOUD_NETWORK, 0, ERR_CORRUPT, true, NULL, 1, 0, WAIT, 0},
        {CALL_READ, CLOUD_NETWORK, 0, ERR_CORRUPT, true, NULL, 3, 0, NO, 0},
        {CALL_READ, CLOUD_NETWORK, 0, ERR_CONFIG, false, NULL, 1, 0, NO, 0},
        {CALL_READ, CLOUD_NETWORK, 0, ERR_INTERRUPTED, true, NULL, 1, 0, NO, 0},
        {CALL_READ, CLOUD_VOLUME, 413, 0, true, "0", 1, 0, NO, 0},
        {CALL_READ, CLOUD_OBJECT, 498, 0, true, NULL, 1, 0, WAIT, 0},
        {CALL_READ, CLOUD_COMPUTE, 498, 0, true, NULL, 1, 0, NO, 0},
        {CALL_IDEMPOTENT, CLOUD_OBJECT, 503, 0, true, NULL, 1, 0, WAIT, 0},
        {CALL_IDEMPOTENT, CLOUD_OBJECT, 0, ERR_TEMPORARY, true, NULL, 1, 0, WAIT, 0},
        {CALL_CREATE, CLOUD_COMPUTE, 429, 0, true, "1", 1, 0, WAIT, 1000},
        {CALL_CREATE, CLOUD_COMPUTE, 429, 0, true, NULL, 1, 0, WAIT, 0},
        {CALL_CREATE, CLOUD_COMPUTE, 503, 0, true, "0", 1, 0, WAIT, 0},
        {CALL_CREATE, CLOUD_COMPUTE, 503, 0, true, NULL, 1, 0, UNKNOWN, 0},
        {CALL_CREATE, CLOUD_COMPUTE, 500, 0, true, "1", 1, 0, UNKNOWN, 0},
        {CALL_CREATE, CLOUD_COMPUTE, 504, 0, true, NULL, 1, 0, UNKNOWN, 0},
        {CALL_CREATE, CLOUD_COMPUTE, 401, 0, true, NULL, 1, 0, LOGIN, 0},
        {CALL_CREATE, CLOUD_COMPUTE, 403, 0, true, NULL, 1, 0, NO, 0},
        {CALL_CREATE, CLOUD_COMPUTE, 409, 0, true, NULL, 1, 0, NO, 0},
        {CALL_CREATE, CLOUD_VOLUME, 413, 0, true, "0", 1, 0, NO, 0},
        {CALL_CREATE, CLOUD_COMPUTE, 0, ERR_TEMPORARY, true, NULL, 1, 0, UNKNOWN, 0},
        {CALL_CREATE, CLOUD_COMPUTE, 0, ERR_CORRUPT, true, NULL, 1, 0, UNKNOWN, 0},
        {CALL_CREATE, CLOUD_COMPUTE, 0, ERR_INTERRUPTED, true, NULL, 1, 0, UNKNOWN, 0},
        {CALL_CREATE, CLOUD_COMPUTE, 0, ERR_INTERRUPTED, false, NULL, 1, 0, NO, 0},
        {CALL_CREATE, CLOUD_COMPUTE, 0, ERR_TEMPORARY, false, NULL, 1, 0, WAIT, 0},
    };
    Msec now = 0;

    (void)state;
    assert_true(time_parse("2026-11-24T17:31:39Z", &now));
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        for (uint64_t random = 0; random < 5; random++) {
            Retry r = answer_retry(&(RetryCase){.kind = rows[i].kind,
                                                .service = rows[i].service,
                                                .status = rows[i].status,
                                                .failure = rows[i].failure,
                                                .sent = rows[i].sent,
                                                .retry_after = rows[i].retry_after,
                                                .tries = rows[i].tries,
                                                .spent_ms = rows[i].spent,
                                                .now = now,
                                                .random = random * 123457});
            int got = r.what == RETRY_WAIT    ? WAIT
                      : r.what == RETRY_LOGIN ? LOGIN
                      : r.unknown_effect      ? UNKNOWN
                                              : NO;
            if (got != rows[i].expected)
                fail_msg("row %zu: %d, not %d", i, got, rows[i].expected);
            if (rows[i].wait)
                assert_in_range(r.wait_ms, rows[i].wait,
                                rows[i].retry_after ? rows[i].wait + 250 : rows[i].wait * 5 / 3);
        }
    }
    Retry put = answer_retry(&(RetryCase){.kind = CALL_IDEMPOTENT, .status = 502, .tries = 1});
    assert_true(put.what == RETRY_WAIT && put.unknown_effect);
    put = answer_retry(&(RetryCase){.kind = CALL_IDEMPOTENT, .status = 429, .tries = 1});
    assert_true(put.what == RETRY_WAIT && !put.unknown_effect);
    Retry again = answer_retry(&(RetryCase){.status = 401, .relogged = true});
    assert_int_equal(again.what, RETRY_NO);
}

static void pages(void **state)
{
    static const struct {
        CloudService service;
        const char *plural, *url, *page;
        size_t items;
        const char *next; /* NULL: the last; "!...": an error with these words */
        size_t before;
        int64_t total; /* 0: not told */
    } rows[] = {
        {CLOUD_COMPUTE, "servers", "https://c/v2.1/servers/detail?tags=a",
         "{\"servers\":[{},{}],\"servers_links\":[{\"rel\":\"next\",\"href\":"
         "\"http://inner:8774/v2.1/servers/detail?tags=a&marker=2\"}]}",
         2, "https://c/v2.1/servers/detail?tags=a&marker=2"},
        {CLOUD_COMPUTE, "servers", "https://c/v2.1/servers/detail", "{\"servers\":[]}", 0, NULL},
        {CLOUD_COMPUTE, "servers", "https://c/v2.1/servers/detail", "{\"server\":[]}", 0,
         "!has no list `servers`"},
        {CLOUD_COMPUTE, "servers", "https://c/v2.1/servers/detail", "[]", 0, "!has no list"},
        {CLOUD_VOLUME, "volumes", "https://c/v3/p/volumes/detail?metadata=x",
         "{\"volumes\":[{}],\"volumes_links\":[{\"rel\":\"next\",\"href\":\"http://i/v3/p/volumes/"
         "detail?metadata=x&marker=1\"}]}",
         1, "https://c/v3/p/volumes/detail?metadata=x&marker=1"},
        {CLOUD_NETWORK, "ports", "https://n/v2.0/ports?description=x",
         "{\"ports\":[{}],\"ports_links\":[{\"rel\":\"previous\",\"href\":\"http://n/"
         "?p\"},{\"rel\":"
         "\"next\",\"href\":\"http://n/v2.0/ports?description=x&marker=1\"}]}",
         1, "https://n/v2.0/ports?description=x&marker=1"},
        {CLOUD_NETWORK, "ports", "https://n/v2.0/ports",
         "{\"ports\":[{}],\"ports_links\":[{\"rel\":\"previous\",\"href\":\"http://n/?p\"}]}", 1,
         NULL},
        {CLOUD_NETWORK, "ports", "https://n/v2.0/ports?marker=1",
         "{\"ports\":[{}],\"ports_links\":[{\"rel\":\"next\",\"href\":\"http://n/?marker=1\"}]}", 1,
         "!as its own next one"},
        {CLOUD_NETWORK, "ports", "https://n/v2.0/ports",
         "{\"ports\":[{}],\"ports_links\":[{\"rel\":\"next\",\"href\":\"http://n/ports\"}]}", 1,
         "!can't be asked"},
        {CLOUD_IDENTITY, "users", "https://k/v3/users?name=x",
         "{\"users\":[{}],\"links\":{\"next\":\"http://k/v3/users?name=x&marker=9\"}}", 1,
         "https://k/v3/users?name=x&marker=9"},
        {CLOUD_IDENTITY, "users", "https://k/v3/users",
         "{\"users\":[{}],\"links\":{\"next\":null}}", 1, NULL},
        {CLOUD_IDENTITY, "users", "https://k/v3/users",
         "{\"users\":[{}],\"truncated\":true,\"links\":{\"next\":null}}", 1, "!cut the list"},
        {CLOUD_IMAGE, "images", "https://g/v2/images?status=active&limit=1000",
         "{\"images\":[{}],\"next\":\"/v2/images?status=active&limit=1000&marker=7\"}", 1,
         "https://g/v2/images?status=active&limit=1000&marker=7"},
        {CLOUD_OBJECT, "", "https://s/v1/A/c?limit=2&format=json",
         "[{\"name\":\"a\"},{\"name\":\"b c/d\"}]", 2,
         "https://s/v1/A/c?limit=2&format=json&marker=b%20c%2Fd"},
        {CLOUD_OBJECT, "", "https://s/v1/A/c?limit=2&format=json&marker=a", "[{\"name\":\"b\"}]", 1,
         NULL},
        {CLOUD_OBJECT, "", "https://s/v1/A/c?limit=1&format=json&marker=a", "[{\"name\":\"b\"}]", 1,
         "https://s/v1/A/c?limit=1&format=json&marker=b"},
        {CLOUD_OBJECT, "", "https://s/v1/A/c?limit=1&format=json&marker=b", "[{\"name\":\"b\"}]", 1,
         "!as its own next one"},
        /* A store that gives fewer than it was asked for. */
        {CLOUD_OBJECT, "", "https://s/c?limit=9", "[{\"name\":\"a\"}]", 1,
         "https://s/c?limit=9&marker=a", 0, 2},
        {CLOUD_OBJECT, "", "https://s/c?limit=9&marker=a", "[{\"name\":\"b\"}]", 1, NULL, 1, 2},
        {CLOUD_OBJECT, "", "https://s/c?limit=9&marker=a", "[]", 0, NULL, 1, 2},
        {CLOUD_OBJECT, "", "https://s/v1/A/c?limit=2", "{}", 0, "!has no list"},
        {CLOUD_COMPUTE, "server_groups", "https://c/v2.1/os-server-groups?limit=2",
         "{\"server_groups\":[{},{}]}", 2, "https://c/v2.1/os-server-groups?limit=2&offset=2"},
        {CLOUD_COMPUTE, "server_groups", "https://c/v2.1/os-server-groups?limit=2&offset=2",
         "{\"server_groups\":[{},{}]}", 2, "https://c/v2.1/os-server-groups?limit=2&offset=4"},
        {CLOUD_COMPUTE, "server_groups", "https://c/v2.1/os-server-groups?limit=2&offset=4",
         "{\"server_groups\":[{}]}", 1, NULL},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_(err_clear) Err err = {0};
        _cleanup_json_ json_t *page = json_parse_new(rows[i].page, strlen(rows[i].page), NULL);
        json_t *items = NULL;
        _cleanup_free_ char *next = NULL;
        AnswerPage p = {rows[i].service, rows[i].plural,
                        rows[i].url,     page,
                        rows[i].before,  rows[i].total ? rows[i].total : -1};
        int r = answer_page(&p, &items, &next, &err);
        if (rows[i].next && *rows[i].next == '!') {
            assert_int_equal(r, -ERR_CORRUPT);
            assert_non_null(strstr(err.text, rows[i].next + 1));
            continue;
        }
        assert_int_equal(r, 0);
        assert_int_equal(json_array_size(items), rows[i].items);
        assert_true(streq(next, rows[i].next));
    }
}

static void first_pages(void **state)
{
    static const struct {
        CloudService service;
        const char *plural, *path, *url;
    } rows[] = {
        {CLOUD_NETWORK, "ports", "/ports?x=1", "b/ports?x=1"},
        {CLOUD_NETWORK, NULL, "/ports/7", "b/ports/7"},
        {CLOUD_IMAGE, "images", "/images?status=active", "b/images?status=active&limit=1000"},
        {CLOUD_IMAGE, "images", "/images?limit=3", "b/images?limit=3"},
        {CLOUD_COMPUTE, "server_groups", "/os-server-groups", "b/os-server-groups?limit=100"},
        {CLOUD_OBJECT, "", "/c", "b/c?limit=10000&format=json"},
        {CLOUD_OBJECT, "", "/c?prefix=a", "b/c?prefix=a&limit=10000&format=json"},
        {CLOUD_OBJECT, NULL, "/c/o", "b/c/o"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_free_ char *url =
            answer_first_url(rows[i].service, rows[i].plural, "b", rows[i].path);
        assert_string_equal(url, rows[i].url);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_in_the_services_words),
        cmocka_unit_test(a_secret_quoted_back_is_left_out),
        cmocka_unit_test(long_words_are_cut),
        cmocka_unit_test(retries),
        cmocka_unit_test(pages),
        cmocka_unit_test(first_pages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
