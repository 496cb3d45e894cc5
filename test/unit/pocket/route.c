#include "pocket/core.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void handler(Pocket *p, const PocketCall *c, PocketReply *r)
{
    (void)p, (void)c, (void)r;
}

static const PocketRoute table[] = {
    {"GET", "/", NEED_NOTHING, handler},
    {"GET", "/servers/{id}", NEED_PROJECT, handler},
    {"GET", "/servers/detail", NEED_PROJECT, handler},
    {"DELETE", "/servers/{id}", NEED_MEMBER, handler},
    {"GET", "/servers/{id}/tags/{tag}", NEED_PROJECT, handler},
    {"HEAD", "/roles/{id}", NEED_TOKEN, handler},
    {"GET", "/roles/{id}", NEED_TOKEN, handler},
    {"GET", "/files/{rest...}", NEED_TOKEN, handler},
    {0},
};

static void test_find(void **state)
{
    (void)state;
    static const struct {
        const char *method, *target;
        int row; /* -1: none */
        bool other;
        const char *args; /* joined by spaces */
    } rows[] = {
        {"GET", "/", 0, false, ""},
        {"GET", "", 0, false, ""},
        {"GET", "/servers/abc", 1, true, "abc"},
        {"GET", "/servers/abc/", 1, true, "abc"},
        {"GET", "/servers/detail", 2, true, ""},
        {"DELETE", "/servers/detail", 3, true, "detail"},
        {"POST", "/servers/abc", -1, true, ""},
        {"GET", "/servers", -1, false, ""},
        {"GET", "/servers/a/b", -1, false, ""},
        {"GET", "/servers/a%2Fb", 1, true, "a/b"},
        {"GET", "/servers/a/tags/x%20y", 4, false, "a x y"},
        {"GET", "/servers/bad%zz", 1, true, "bad%zz"},
        {"HEAD", "/servers/abc", 1, true, "abc"},
        {"HEAD", "/roles/abc", 5, false, "abc"},
        {"GET", "/roles/abc", 6, true, "abc"},
        {"GET", "/files/a/b%2Fc/d", 7, false, "a/b/c/d"},
        {"GET", "/nowhere", -1, false, ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        StrList args = {0};
        bool other;
        const PocketRoute *r = route_find(table, rows[i].method, rows[i].target, &args, &other);
        _cleanup_(buf_clear) Buf joined = BUF_INIT(BUF_MAX_LINE);
        for (size_t j = 0; r && j < args.len; j++)
            buf_printf(&joined, "%s%s", j ? " " : "", args.items[j]);
        if ((rows[i].row < 0 ? r != NULL : r != &table[rows[i].row]) || other != rows[i].other ||
            !streq(joined.p, rows[i].args))
            fail_msg("%s %s: route %s, args \"%s\", other method %d", rows[i].method,
                     rows[i].target, r ? r->pattern : "none", joined.p, other);
        strlist_clear(&args);
    }
}

static void test_query(void **state)
{
    (void)state;
    static const struct {
        const char *query, *want;
    } rows[] = {
        {"", "{}"},
        {"a=1&b=x+y%2Bz", "{\"a\":\"1\",\"b\":\"x y+z\"}"},
        {"include_names&x=", "{\"include_names\":\"\",\"x\":\"\"}"},
        {"a=1&a=2&a=3", "{\"a\":[\"1\",\"2\",\"3\"]}"},
        {"router:external=true&sort=a%3Adesc",
         "{\"router:external\":\"true\",\"sort\":\"a:desc\"}"},
        {"bad=%zz&&=x", "{\"bad\":\"%zz\"}"},
        {"bytes=%ff", "{\"bytes\":\"\"}"},
        {"q=a=b", "{\"q\":\"a=b\"}"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_json_ json_t *j = query_parse_new(rows[i].query);
        _cleanup_free_ char *text = json_text_new(j);
        assert_string_equal(text, rows[i].want);
    }
}

static void test_microversion(void **state)
{
    (void)state;
    static const struct {
        PocketService service;
        const char *header;
        int want;
    } rows[] = {
        {POCKET_NOVA, "X: y", 1},
        {POCKET_NOVA, "OpenStack-API-Version: compute 2.67", 67},
        {POCKET_NOVA, "openstack-api-version: Compute 2.1", 1},
        {POCKET_NOVA, "OpenStack-API-Version: compute latest", 93},
        {POCKET_NOVA, "OpenStack-API-Version: compute 2.94", -1},
        {POCKET_NOVA, "OpenStack-API-Version: compute 3.1", -1},
        {POCKET_NOVA, "OpenStack-API-Version: volume 3.42", 1},
        {POCKET_NOVA, "X-OpenStack-Nova-API-Version: 2.52", 52},
        {POCKET_NOVA, "X-OpenStack-Nova-API-Version: two", -1},
        {POCKET_CINDER, "OpenStack-API-Version: volume 3.42", 42},
        {POCKET_CINDER, "X: y", 0},
        {POCKET_NEUTRON, "OpenStack-API-Version: compute 2.67", 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        StrList headers = {0};
        strlist_add(&headers, rows[i].header);
        assert_int_equal(microversion_of(rows[i].service, &headers, 93), rows[i].want);
        strlist_clear(&headers);
    }
}

static void test_access_path(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *path;
        bool want;
    } rows[] = {
        {"/v1/AUTH_p/box/**", "/v1/AUTH_p/box/a/b", true},
        {"/v1/AUTH_p/box/**", "/v1/AUTH_p/box", false},
        {"/v1/AUTH_p/box/**", "/v1/AUTH_p/boxes/a", false},
        {"/v1/*/box/*", "/v1/AUTH_p/box/a", true},
        {"/v1/*/box/*", "/v1/AUTH_p/box/a/b", false},
        {"/v2.1/servers/{server_id}", "/v2.1/servers/abc", true},
        {"/v2.1/servers/{server_id}", "/v2.1/servers/abc/action", false},
        {"/v2.1/servers", "/v2.1/servers", true},
        {"/**", "/anything/at/all", true},
        {"", "/x", false},
        {"/broken/{name", "/broken/x", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (access_path_matches(rows[i].pattern, rows[i].path) != rows[i].want)
            fail_msg("%s against %s", rows[i].pattern, rows[i].path);
}

static json_t *rows_new(int n)
{
    json_t *rows = json_array();
    for (int i = 0; i < n; i++) {
        _cleanup_free_ char *id = xasprintf("id%d", i);
        json_array_append_new(rows, json_make_new("{s:s}", "id", id));
    }
    return rows;
}

static void test_page(void **state)
{
    (void)state;
    static const struct {
        const char *query;
        int status;
        size_t n;
        const char *first, *next; /* next: what the link ends with, or NULL */
    } rows[] = {
        {"", 200, 4, "id0", "/v2.0/ports?marker=id3"},
        {"limit=2&name=x", 200, 2, "id0", "?limit=2&name=x&marker=id1"},
        {"limit=2&marker=id1", 200, 2, "id2", "?limit=2&marker=id3"},
        {"marker=id3", 200, 3, "id4", NULL},
        {"marker=id6", 200, 0, NULL, NULL},
        {"limit=100", 200, 4, "id0", "?limit=100&marker=id3"},
        {"limit=x", 400, 0, NULL, NULL},
        {"limit=-1", 400, 0, NULL, NULL},
        {"marker=unknown", 400, 0, NULL, NULL},
    };
    Pocket p = {.page_max = 4};
    p.port[POCKET_NEUTRON] = 9696;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        PocketCall c = {.path = "/v2.0/ports", .query = query_parse_new(rows[i].query)};
        PocketReply r = {0};
        pocket_page(&p, POCKET_NEUTRON, &c, &r, "ports", rows_new(7));
        assert_int_equal(r.status, rows[i].status);
        const json_t *page = json_object_get(r.json, "ports");
        assert_int_equal(json_array_size(page), rows[i].n);
        if (rows[i].first)
            assert_string_equal(json_str(json_array_get(page, 0), "id"), rows[i].first);
        const json_t *link = json_array_get(json_object_get(r.json, "ports_links"), 0);
        const char *href = json_str(link, "href");
        if (rows[i].next ? !href || !ends_with(href, rows[i].next) : href != NULL)
            fail_msg("?%s: next is %s", rows[i].query, href ? href : "not there");
        if (href)
            assert_true(starts_with(href, "http://127.0.0.1:9696/v2.0/ports?"));
        json_decref(c.query);
        json_decref(r.json);
    }
}

static void test_fail(void **state)
{
    (void)state;
    static const struct {
        PocketService service;
        int status;
        const char *type, *want;
    } rows[] = {
        {POCKET_KEYSTONE, 404, NULL,
         "{\"error\":{\"code\":404,\"message\":\"no <x>\",\"title\":\"Not Found\"}}"},
        {POCKET_NOVA, 409, NULL, "{\"conflictingRequest\":{\"code\":409,\"message\":\"no <x>\"}}"},
        {POCKET_NOVA, 429, NULL, "{\"overLimit\":{\"code\":429,\"message\":\"no <x>\"}}"},
        {POCKET_CINDER, 413, "overLimit", "{\"overLimit\":{\"code\":413,\"message\":\"no <x>\"}}"},
        {POCKET_NEUTRON, 409, "OverQuota",
         "{\"NeutronError\":{\"detail\":\"\",\"message\":\"no <x>\",\"type\":\"OverQuota\"}}"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        PocketReply r = {0};
        pocket_fail(rows[i].service, &r, rows[i].status, rows[i].type, "no %s", "<x>");
        _cleanup_free_ char *text = json_text_new(r.json);
        assert_string_equal(text, rows[i].want);
        assert_int_equal(r.status, rows[i].status);
        json_decref(r.json);
    }
    PocketReply html = {0};
    pocket_fail(POCKET_GLANCE, &html, 404, NULL, "no <x>");
    assert_string_equal(json_str(html.json, "code"), "404 Not Found");
    assert_non_null(strstr(json_str(html.json, "message"), "no &lt;x&gt;"));
    error_page(&html); /* for who does not ask for JSON */
    assert_null(html.json);
    assert_non_null(strstr(html.text.p, "<h1>404 Not Found</h1>\n  no &lt;x&gt;"));
    buf_clear(&html.text);
    strlist_clear(&html.headers);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_find),         cmocka_unit_test(test_query),
        cmocka_unit_test(test_microversion), cmocka_unit_test(test_access_path),
        cmocka_unit_test(test_page),         cmocka_unit_test(test_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
