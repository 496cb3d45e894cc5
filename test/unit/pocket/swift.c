/* Swift as a client sees it, without sockets. */
#include "calls.h"

static int setup(void **state)
{
    *state = calls_new();
    return 0;
}

static int teardown(void **state)
{
    calls_free(*state);
    return 0;
}

static void assert_body(const Calls *c, const char *want)
{
    assert_string_equal(c->body.p, want);
}

static void assert_header(const Calls *c, const char *name, const char *want)
{
    const char *have = header(c, name);
    if (want ? !streq(have, want) : have != NULL)
        fail_msg("%s: %s, not %s", name, have ? have : "(none)", want ? want : "(none)");
}

static void must(Calls *c, int want, const char *method, const char *path, const char *headers,
                 const char *body)
{
    int got = ask(c, method, path, headers, body);
    if (got != want)
        fail_msg("%s %s: %d, not %d: %s", method, path, got, want, c->body.p);
}

static void test_objects(void **state)
{
    Calls *c = *state;
    must(c, 404, "PUT", "/box/a", NULL, "x");
    must(c, 201, "PUT", "/box", NULL, NULL);
    must(c, 202, "PUT", "/box", NULL, NULL);
    must(c, 201, "PUT", "/box/a%2Fb.txt",
         "X-Object-Meta-colour: red\nCache-Control: max-age=9\nContent-Encoding: none", "hello");
    assert_header(c, "Etag", "5d41402abc4b2a76b9719d911017c592");
    must(c, 200, "GET", "/box/a/b.txt", NULL, NULL);
    assert_body(c, "hello");
    assert_header(c, "Content-Type", "text/plain");
    assert_header(c, "X-Object-Meta-Colour", "red");
    assert_header(c, "Cache-Control", "max-age=9");
    assert_header(c, "Content-Encoding", "none");
    assert_header(c, "Accept-Ranges", "bytes");
    assert_header(c, "X-Object-Version-Id", NULL);
    must(c, 202, "POST", "/box/a/b.txt", "X-Object-Meta-Size: big", NULL);
    must(c, 200, "HEAD", "/box/a/b.txt", NULL, NULL);
    assert_header(c, "X-Object-Meta-Colour", NULL);
    assert_header(c, "X-Object-Meta-Size", "big");
    assert_header(c, "Content-Type", "text/plain");
    must(c, 201, "PUT", "/box/copy", "X-Copy-From: /box/a%2Fb.txt\nX-Object-Meta-New: 1", NULL);
    must(c, 201, "COPY", "/box/copy", "Destination: box/c2\nX-Fresh-Metadata: true", NULL);
    must(c, 200, "GET", "/box/copy", NULL, NULL);
    assert_header(c, "X-Object-Meta-Size", "big");
    assert_header(c, "X-Object-Meta-New", "1");
    must(c, 200, "GET", "/box/c2", NULL, NULL);
    assert_header(c, "X-Object-Meta-Size", NULL);
    assert_body(c, "hello");
    must(c, 409, "DELETE", "/box", NULL, NULL);
    must(c, 204, "DELETE", "/box/a/b.txt", NULL, NULL);
    must(c, 404, "DELETE", "/box/a/b.txt", NULL, NULL);
    must(c, 200, "GET", "/box/copy", NULL, NULL); /* lives on without its source */
    assert_body(c, "hello");
    assert_int_equal(count_files(c), 2);
    must(c, 204, "DELETE", "/box/copy", NULL, NULL);
    must(c, 204, "DELETE", "/box/c2", NULL, NULL);
    must(c, 204, "DELETE", "/box", NULL, NULL);
    assert_int_equal(count_files(c), 0);
}

/* What may not happen leaves nothing: no row, no file. */
static void test_refused_puts(void **state)
{
    Calls *c = *state;
    static const struct {
        const char *headers, *body;
        int status;
    } rows[] = {
        {"ETag: 00000000000000000000000000000000", "hello", 422},
        {"If-None-Match: abc", "hello", 400},
        {"X-Delete-At: 1", "hello", 400},
        {"X-Delete-At: soon", "hello", 400},
        {"X-Delete-After: 0", "hello", 400},
        {"X-Object-Meta-: x", "hello", 400},
        {"X-Symlink-Target: box/x", "", 501},
    };
    must(c, 201, "PUT", "/box", "X-Container-Meta-Quota-Bytes: 20", NULL);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        must(c, rows[i].status, "PUT", "/box/new", rows[i].headers, rows[i].body);
    must(c, 413, "PUT", "/box/new", NULL, "more than twenty bytes");
    assert_body(c, "Upload exceeds quota.");
    _cleanup_free_ char *target = xasprintf("/v1/AUTH_%s/box/new", c->project);
    call_parts(c, &c->swift, "PUT", target, NULL, "cut half way", false);
    must(c, 404, "GET", "/box/new", NULL, NULL);
    assert_int_equal(count_files(c), 0);
    must(c, 201, "PUT", "/box/new", "If-None-Match: *\nETag: \"5D41402ABC4B2A76B9719D911017C592\"",
         "hello");
    must(c, 412, "PUT", "/box/new", "If-None-Match: *", "other");
    must(c, 200, "GET", "/box/new", NULL, NULL);
    assert_body(c, "hello");
    assert_int_equal(count_files(c), 1);
    must(c, 201, "PUT", "/box/empty", NULL, "");
    must(c, 200, "GET", "/box/empty", NULL, NULL);
    assert_body(c, "");
    assert_int_equal(count_files(c), 1);
}

/* A crash between rename and commit leaves a file without a row; one during a PUT a temporary. */
static void test_sweep(void **state)
{
    Calls *c = *state;
    must(c, 201, "PUT", "/box", NULL, NULL);
    must(c, 201, "PUT", "/box/a", NULL, "kept");
    _cleanup_free_ char *orphan = xasprintf("%s/swift/ab/abcdef", c->p.dir);
    _cleanup_free_ char *half = xasprintf("%s/swift/tmp/half", c->p.dir);
    assert_int_equal(file_write(orphan, STR_LIT("x"), 0600, NULL), 0);
    assert_int_equal(file_write(half, STR_LIT("x"), 0600, NULL), 0);
    calls_close(c);
    calls_open(c);
    assert_int_equal(count_files(c), 1);
    must(c, 200, "GET", "/box/a", NULL, NULL);
    assert_body(c, "kept");
}

static void test_ranges(void **state)
{
    Calls *c = *state;
    static const struct {
        const char *headers;
        int status;
        const char *body, *range;
    } rows[] = {
        {"Range: bytes=0-0", 206, "0", "bytes 0-0/10"},
        {"Range: bytes=2-5", 206, "2345", "bytes 2-5/10"},
        {"Range: bytes=7-", 206, "789", "bytes 7-9/10"},
        {"Range: bytes=-3", 206, "789", "bytes 7-9/10"},
        {"Range: bytes=-30", 206, "0123456789", "bytes 0-9/10"},
        {"Range: bytes=8-99", 206, "89", "bytes 8-9/10"},
        {"Range: bytes=0-1,20-30", 206, "01", "bytes 0-1/10"},
        {"Range: bytes=20-30,40-", 416, NULL, "bytes */10"},
        {"Range: bytes=0-1,x", 200, "0123456789", NULL},
        {"Range: bytes=10-", 416, NULL, "bytes */10"},
        {"Range: bytes=-0", 416, NULL, "bytes */10"},
        {"Range: bytes=5-2", 200, "0123456789", NULL},
        {"Range: bytes=x", 200, "0123456789", NULL},
        {"Range: items=0-1", 200, "0123456789", NULL},
        {"If-Match: \"nope\"", 412, NULL, NULL},
        {"If-None-Match: \"781e5e245d69b566979b86e28d23f2c7\"", 304, "", NULL},
        {"If-None-Match: nope, W/\"781e5e245d69b566979b86e28d23f2c7\"", 304, "", NULL},
        {"If-None-Match: nope", 200, "0123456789", NULL},
        {"If-Modified-Since: Tue, 01 Jan 2030 00:00:00 GMT", 304, "", NULL},
        {"If-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT", 200, "0123456789", NULL},
        {"If-Unmodified-Since: Thu, 01 Jan 1970 00:00:00 GMT", 412, NULL, NULL},
    };
    must(c, 201, "PUT", "/box", NULL, NULL);
    must(c, 201, "PUT", "/box/a", NULL, "0123456789");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        must(c, rows[i].status, "GET", "/box/a", rows[i].headers, NULL);
        if (rows[i].body)
            assert_body(c, rows[i].body);
        assert_header(c, "Content-Range", rows[i].range);
    }
}

static void test_expiry(void **state)
{
    Calls *c = *state;
    must(c, 201, "PUT", "/box", NULL, NULL);
    must(c, 201, "PUT", "/box/a", "X-Delete-After: 5", "x");
    must(c, 200, "HEAD", "/box/a", NULL, NULL);
    _cleanup_free_ char *at = xasprintf("%lld", (long long)(calls_now / SECOND + 5));
    assert_header(c, "X-Delete-At", at);
    calls_now += 4999;
    must(c, 200, "GET", "/box/a", NULL, NULL);
    calls_now += 1;
    must(c, 404, "GET", "/box/a", NULL, NULL);
    must(c, 404, "POST", "/box/a", "X-Remove-Delete-At: 1", NULL);
    must(c, 200, "GET", "/box", NULL, NULL); /* until it is reaped */
    assert_body(c, "a\n");
    calls_now += 10 * SECOND;
    must(c, 204, "GET", "/box", NULL, NULL);
    assert_int_equal(count_files(c), 0);
    /* A POST without it takes the expiry away. */
    must(c, 201, "PUT", "/box/b", "X-Delete-After: 5", "x");
    must(c, 202, "POST", "/box/b", "X-Object-Meta-A: b", NULL);
    calls_now += 10 * SECOND;
    must(c, 200, "GET", "/box/b", NULL, NULL);
}

static void test_listing(void **state)
{
    Calls *c = *state;
    static const char *const names[] = {"a", "b/1", "b/2", "b/c/1", "b0", "c%20d", "%C3%A9"};
    static const struct {
        const char *query, *want; /* names with ; subdirs have their slash */
    } rows[] = {
        {"", "a;b/1;b/2;b/c/1;b0;c d;\xc3\xa9;"},
        {"?prefix=b/", "b/1;b/2;b/c/1;"},
        {"?delimiter=/", "a;b/;b0;c d;\xc3\xa9;"},
        {"?delimiter=/&prefix=b/", "b/1;b/2;b/c/;"},
        {"?delimiter=/&prefix=b", "b/;b0;"},
        {"?limit=2", "a;b/1;"},
        {"?limit=2&marker=b/1", "b/2;b/c/1;"},
        {"?limit=2&delimiter=/&marker=b/", "b0;c d;"},
        {"?marker=b/2&end_marker=c", "b/c/1;b0;"},
        {"?reverse=true&limit=3", "\xc3\xa9;c d;b0;"},
        {"?reverse=true&marker=b0&prefix=b", "b/c/1;b/2;b/1;"},
        {"?prefix=nothing", ""},
        {"?limit=0", ""},
    };
    must(c, 201, "PUT", "/box", NULL, NULL);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        _cleanup_free_ char *path = xasprintf("/box/%s", names[i]);
        must(c, 201, "PUT", path, NULL, "12");
    }
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_free_ char *path = xasprintf("/box%s", rows[i].query);
        ask(c, "GET", path, NULL, NULL);
        for (char *p = c->body.p; *p; p++)
            *p = *p == '\n' ? ';' : *p;
        assert_int_equal(c->status, *rows[i].want ? 200 : 204);
        if (!streq(c->body.p, rows[i].want))
            fail_msg("%s: %s", rows[i].query, c->body.p);
    }
    must(c, 200, "GET", "/box?format=json&limit=1", NULL, NULL);
    const json_t *row = json_array_get(c->json, 0);
    assert_string_equal(json_str(row, "name"), "a");
    assert_string_equal(json_str(row, "hash"), "c20ad4d76fe97759aa27a0c99bff6710");
    assert_int_equal(json_int(row, "bytes", 0), 2);
    assert_string_equal(json_str(row, "content_type"), "application/octet-stream");
    assert_int_equal(strlen(json_str(row, "last_modified")), 26);
    assert_header(c, "X-Container-Object-Count", "7");
    assert_header(c, "X-Container-Bytes-Used", "14");
    must(c, 412, "GET", "/box?limit=10001", NULL, NULL);
    must(c, 201, "PUT", "/other", NULL, NULL);
    must(c, 200, "GET", "?format=json&prefix=b", NULL, NULL);
    assert_int_equal(json_array_size(c->json), 1);
    assert_int_equal(json_int(json_array_get(c->json, 0), "count", 0), 7);
    assert_header(c, "X-Account-Container-Count", "2");
    c->p.page_max = 3;
    must(c, 200, "GET", "/box", NULL, NULL);
    assert_body(c, "a\nb/1\nb/2\n");
}

/* The id of the version of the last answer; to be freed. */
static char *version(const Calls *c)
{
    const char *v = header(c, "X-Object-Version-Id");
    assert_non_null(v);
    return xstrdup(v);
}

/* "bytes:id:latest " for each row; ids as their index among `ids`. */
static void assert_versions(Calls *c, char *const *ids, size_t n, const char *want)
{
    must(c, 200, "GET", "/box?versions", NULL, NULL);
    _cleanup_(buf_clear) Buf b = BUF_INIT(BUF_MAX_LINE);
    size_t i;
    json_t *row;
    json_array_foreach (c->json, i, row) {
        size_t at = 0;
        while (at < n && !streq(ids[at], json_str(row, "version_id")))
            at++;
        bool marker = starts_with(json_str(row, "content_type"), "application/x-deleted");
        buf_printf(&b, "%s%zu%s ", marker ? "-" : "", at,
                   json_bool(row, "is_latest", false) ? "*" : "");
    }
    if (!streq(b.p, want))
        fail_msg("versions: %s, not %s", b.p, want);
}

static void test_versions(void **state)
{
    Calls *c = *state;
    char *id[6] = {0};
    must(c, 201, "PUT", "/box", NULL, NULL);
    must(c, 201, "PUT", "/box/o", NULL, "before"); /* before versioning: "null" until overwritten */
    must(c, 204, "POST", "/box", "X-Versions-Enabled: true", NULL);
    must(c, 200, "HEAD", "/box/o", NULL, NULL);
    id[0] = version(c);
    assert_string_equal(id[0], "null");
    must(c, 201, "PUT", "/box/o", NULL, "one");
    id[1] = version(c);
    must(c, 201, "PUT", "/box/o", NULL, "two");
    id[2] = version(c);
    must(c, 200, "GET", "/box?versions", NULL, NULL);
    free(id[0]);
    id[0] = xstrdup(json_str(json_array_get(c->json, 2), "version_id"));
    assert_string_not_equal(id[0], "null");
    assert_versions(c, id, 3, "2* 1 0 ");
    must(c, 204, "DELETE", "/box/o", NULL, NULL);
    id[3] = version(c);
    must(c, 404, "GET", "/box/o", NULL, NULL);
    must(c, 404, "DELETE", "/box/o", NULL, NULL); /* and one more marker */
    id[4] = version(c);
    assert_versions(c, id, 5, "-4* -3 2 1 0 ");
    _cleanup_free_ char *one = xasprintf("/box/o?version-id=%s", id[1]);
    _cleanup_free_ char *marker = xasprintf("/box/o?version-id=%s", id[3]);
    must(c, 200, "GET", one, NULL, NULL);
    assert_body(c, "one");
    must(c, 404, "GET", marker, NULL, NULL);
    must(c, 400, "POST", one, "X-Object-Meta-A: b", NULL);
    must(c, 400, "PUT", one, NULL, "bytes");
    must(c, 404, "PUT", "/box/o?version-id=1.00000", NULL, "");
    must(c, 201, "PUT", one, NULL, "");
    must(c, 200, "GET", "/box/o", NULL, NULL);
    assert_body(c, "one");
    /* As Swift has it: a marker that is the newest row counts as latest beside the current one. */
    assert_versions(c, id, 5, "-4* -3 2 1* 0 ");
    must(c, 409, "DELETE", "/box", NULL, NULL);
    assert_body(c, "Delete all versions before deleting container.");
    /* Expiry hides the name; the version stays (openstack.md d). */
    must(c, 202, "POST", "/box/o", "X-Delete-After: 1\nX-Object-Meta-Evil: 1", NULL);
    calls_now += 2 * SECOND;
    must(c, 404, "GET", "/box/o", NULL, NULL);
    must(c, 200, "GET", one, NULL, NULL);
    assert_header(c, "X-Object-Meta-Evil", "1");
    for (size_t i = 0; i < 5; i++) {
        _cleanup_free_ char *path = xasprintf("/box/o?version-id=%s", id[i]);
        must(c, 204, "DELETE", path, NULL, NULL);
        must(c, 404, "DELETE", path, NULL, NULL);
        free(id[i]);
    }
    assert_int_equal(count_files(c), 0);
    must(c, 204, "DELETE", "/box", NULL, NULL);
}

/* "bytes" of each object of a container in order, markers as "-": "2 5 -". */
static void assert_sizes(Calls *c, const char *container, const char *want)
{
    _cleanup_free_ char *path = xasprintf("/%s?format=json", container);
    must(c, 200, "GET", path, NULL, NULL);
    _cleanup_(buf_clear) Buf b = BUF_INIT(BUF_MAX_LINE);
    size_t i;
    json_t *row;
    json_array_foreach (c->json, i, row) {
        if (starts_with(json_str(row, "content_type"), "application/x-deleted"))
            buf_str(&b, i ? " -" : "-");
        else
            buf_printf(&b, "%s%lld", i ? " " : "", (long long)json_int(row, "bytes", -1));
    }
    if (!streq(b.p, want))
        fail_msg("%s holds \"%s\", not \"%s\"", container, b.p, want);
}

/* The path of a container's nth object; to be freed. */
static char *nth(Calls *c, const char *container, size_t n)
{
    _cleanup_free_ char *path = xasprintf("/%s?format=json", container);
    must(c, 200, "GET", path, NULL, NULL);
    return xasprintf("/%s/%s", container, json_str(json_array_get(c->json, n), "name"));
}

/* openstack.md (d): n + 1 DELETEs destroy n versions. */
static void test_stack(void **state)
{
    Calls *c = *state;
    must(c, 201, "PUT", "/vers", NULL, NULL);
    must(c, 201, "PUT", "/prim", "X-Versions-Location: vers", NULL);
    must(c, 204, "HEAD", "/prim", NULL, NULL);
    assert_header(c, "X-Versions-Location", "vers");
    must(c, 201, "PUT", "/prim/db", NULL, "v1");
    must(c, 201, "PUT", "/prim/db", NULL, "evil2");
    must(c, 201, "PUT", "/prim/db", NULL, "evil33");
    assert_sizes(c, "vers", "2 5");
    _cleanup_free_ char *first = nth(c, "vers", 0);
    assert_true(starts_with(first, "/vers/002db/"));
    static const char *const prim[] = {"5", "2", ""}, *const vers[] = {"2", "", ""};
    for (size_t i = 0; i < ARRAY_LEN(prim); i++) {
        must(c, 204, "DELETE", "/prim/db", NULL, NULL);
        assert_sizes(c, "prim", prim[i]);
        assert_sizes(c, "vers", vers[i]);
    }
    must(c, 404, "DELETE", "/prim/db", NULL, NULL);
    assert_int_equal(count_files(c), 0);
    /* A pending expiry travels into the copy, which then expires (x1). */
    must(c, 201, "PUT", "/prim/u", NULL, "good");
    must(c, 202, "POST", "/prim/u", "X-Delete-After: 3", NULL);
    must(c, 201, "PUT", "/prim/u", NULL, "evil");
    _cleanup_free_ char *copy = nth(c, "vers", 0);
    must(c, 200, "HEAD", copy, NULL, NULL);
    assert_non_null(header(c, "X-Delete-At"));
    /* What has expired is overwritten without a copy. */
    must(c, 201, "PUT", "/prim/w", NULL, "v1");
    must(c, 202, "POST", "/prim/w", "X-Delete-After: 1", NULL);
    calls_now += 3 * SECOND;
    must(c, 404, "GET", copy, NULL, NULL);
    must(c, 201, "PUT", "/prim/w", NULL, "evil");
    assert_sizes(c, "vers", "4");
    must(c, 201, "PUT", "/lost", "X-Versions-Location: nowhere", NULL);
    must(c, 201, "PUT", "/lost/a", NULL, "1");
    must(c, 412, "PUT", "/lost/a", NULL, "2");
    must(c, 200, "GET", "/lost/a", NULL, NULL);
    assert_body(c, "1");
}

/* openstack.md (d): a DELETE leaves the content and a marker; PUT then DELETE seals. */
static void test_history(void **state)
{
    Calls *c = *state;
    must(c, 201, "PUT", "/vers", NULL, NULL);
    must(c, 201, "PUT", "/prim", "X-History-Location: vers", NULL);
    must(c, 201, "PUT", "/prim/db", NULL, "v1");
    must(c, 201, "PUT", "/prim/db", NULL, "evil2");
    assert_sizes(c, "vers", "2");
    must(c, 204, "DELETE", "/prim/db", NULL, NULL);
    assert_sizes(c, "prim", "");
    assert_sizes(c, "vers", "2 5 -");
    must(c, 404, "DELETE", "/prim/db", NULL, NULL);
    must(c, 404, "POST", "/prim/db", "X-Delete-After: 1", NULL);
    assert_sizes(c, "vers", "2 5 - -");
    _cleanup_free_ char *copy = nth(c, "vers", 0);
    must(c, 200, "GET", copy, NULL, NULL);
    assert_body(c, "v1");
    must(c, 201, "PUT", "/prim/t", "X-Delete-After: 4", "tt");
    must(c, 204, "DELETE", "/prim/t", NULL, NULL);
    _cleanup_free_ char *sealed = nth(c, "vers", 0);
    assert_true(starts_with(sealed, "/vers/001t/"));
    must(c, 200, "HEAD", sealed, NULL, NULL);
    assert_non_null(header(c, "X-Delete-At"));
}

/* (x4): nobody complains about both kinds on one container, in this order. */
static void test_both_kinds(void **state)
{
    Calls *c = *state;
    must(c, 201, "PUT", "/vers", NULL, NULL);
    must(c, 201, "PUT", "/ovt", "X-Versions-Enabled: true", NULL);
    must(c, 204, "POST", "/ovt", "X-Versions-Location: vers", NULL);
    must(c, 204, "HEAD", "/ovt", NULL, NULL);
    assert_header(c, "X-Versions-Enabled", "True");
    assert_header(c, "X-Versions-Location", "vers");
    must(c, 201, "PUT", "/both", "X-Versions-Enabled: true\nX-History-Location: vers", NULL);
}

/* A token of the project with only the role reader, and its user's id. */
static char *writer_token(Calls *c, char **ret_id)
{
    const char *before = c->token;
    c->token = c->admin;
    assert_int_equal(
        ask_keystone(c, "POST", "/v3/users", "{\"user\":{\"name\":\"w\",\"password\":\"pw\"}}"),
        201);
    *ret_id = xstrdup(json_str(c->json, "user.id"));
    _cleanup_json_ json_t *role = store_find_new(c->p.store, "role", NULL, "reader");
    _cleanup_free_ char *path =
        xasprintf("/v3/projects/%s/users/%s/roles/%s", c->project, *ret_id, json_str(role, "id"));
    assert_int_equal(ask_keystone(c, "PUT", path, NULL), 204);
    c->token = before;
    char *token = login(c, "w", "pw", "demo");
    assert_non_null(token);
    return token;
}

static void test_writer(void **state)
{
    Calls *c = *state;
    _cleanup_free_ char *id = NULL;
    _cleanup_free_ char *token = writer_token(c, &id);
    _cleanup_free_ char *acl = xasprintf("X-Container-Write: %s:%s", c->project, id);
    static const struct {
        const char *method, *path, *headers;
        int status;
    } rows[] = {
        {"GET", "/box/o", NULL, 403},
        {"HEAD", "/box/o", NULL, 403},
        {"GET", "/box", NULL, 403},
        {"POST", "/box", "X-Container-Read: .r:*", 403},
        {"PUT", "/box", NULL, 403},
        {"DELETE", "/box", NULL, 403},
        {"PUT", "/new", NULL, 403},
        {"GET", "", NULL, 403},
        {"POST", "", "X-Account-Meta-Temp-URL-Key: k", 403},
        {"PUT", "/other/x", NULL, 403},
        {"PUT", "/box/copy", "X-Copy-From: /box/o", 403},
        {"PUT", "/box/mine", NULL, 201},
        {"POST", "/box/o", "X-Delete-After: 100", 202},
        {"DELETE", "/box/o", NULL, 204},
        {"DELETE", "/box/nosuch", NULL, 404},
    };
    must(c, 201, "PUT", "/box", acl, NULL);
    must(c, 201, "PUT", "/other", NULL, NULL);
    must(c, 201, "PUT", "/box/o", NULL, "precious");
    c->token = token;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        must(c, rows[i].status, rows[i].method, rows[i].path, rows[i].headers, NULL);
    /* The owner sees the ACL; a reader of the container does not. */
    c->token = c->demo;
    must(c, 204, "POST", "/box", "X-Container-Read: reader", NULL);
    must(c, 204, "HEAD", "/box", NULL, NULL);
    assert_header(c, "X-Container-Read", "reader");
    c->token = token;
    must(c, 204, "HEAD", "/box", NULL, NULL);
    assert_header(c, "X-Container-Read", NULL);
    /* A container's public read, and a bad token, which is as none. */
    c->token = c->demo;
    must(c, 204, "POST", "/box", "X-Container-Read: .r:*", NULL);
    c->token = NULL;
    must(c, 200, "GET", "/box/mine", NULL, NULL);
    must(c, 401, "GET", "/box", NULL, NULL);
    assert_header(c, "WWW-Authenticate", "Keystone uri=\"http://127.0.0.1:20000\"");
    c->token = "no-such-token";
    must(c, 200, "GET", "/box/mine", NULL, NULL);
    must(c, 401, "PUT", "/box/x", NULL, "x");
}

static void sign(const char *method, const char *key, CryptHash hash, int64_t expires,
                 const char *path, bool prefix, Buf *out)
{
    _cleanup_secret_ Secret *secret = secret_new(key, strlen(key));
    crypt_temp_url(hash, secret, method, expires, path, prefix, out);
}

/* Whoever may write may destroy the current version, as on a real Swift; others are the owner's. */
static void test_writer_and_versions(void **state)
{
    Calls *c = *state;
    _cleanup_free_ char *id = NULL;
    _cleanup_free_ char *token = writer_token(c, &id);
    _cleanup_free_ char *acl =
        xasprintf("X-Versions-Enabled: true\nX-Container-Write: %s:%s", c->project, id);
    must(c, 201, "PUT", "/box", acl, NULL);
    must(c, 201, "PUT", "/box/o", NULL, "one");
    _cleanup_free_ char *one = xasprintf("/box/o?version-id=%s", header(c, "X-Object-Version-Id"));
    must(c, 201, "PUT", "/box/o", NULL, "two");
    _cleanup_free_ char *now = xstrdup(header(c, "X-Object-Version-Id"));
    _cleanup_free_ char *two = xasprintf("/box/o?version-id=%s", now);
    c->token = token;
    must(c, 403, "DELETE", one, NULL, NULL);
    assert_header(c, "X-Object-Current-Version-Id", now);
    must(c, 204, "DELETE", two, NULL, NULL);
    assert_header(c, "X-Object-Current-Version-Id", "null");
    must(c, 403, "DELETE", one, NULL, NULL);
    c->token = c->demo;
    must(c, 404, "GET", two, NULL, NULL);
    must(c, 200, "GET", one, NULL, NULL);
}

static void test_temp_url(void **state)
{
    Calls *c = *state;
    static const struct {
        const char *signed_for, *key;
        CryptHash hash;
        int life;
        const char *method, *more;
        int status;
        const char *disposition;
    } rows[] = {
        {"GET", "ck", CRYPT_SHA1, 60, "GET", "", 200,
         "attachment; filename=\"o\"; filename*=UTF-8''o"},
        {"GET", "ck", CRYPT_SHA256, 60, "GET", "", 200,
         "attachment; filename=\"o\"; filename*=UTF-8''o"},
        {"GET", "ck", CRYPT_SHA512, 60, "GET", "&inline", 200, "inline"},
        {"GET", "ak", CRYPT_SHA256, 60, "GET", "&filename=x%20y", 200,
         "attachment; filename=\"x y\"; filename*=UTF-8''x%20y"},
        {"GET", "ck2", CRYPT_SHA256, 60, "GET", "", 200,
         "attachment; filename=\"o\"; filename*=UTF-8''o"},
        {"GET", "bad", CRYPT_SHA256, 60, "GET", "", 401, NULL},
        {"GET", "ck", CRYPT_SHA256, -1, "GET", "", 401, NULL},
        {"GET", "ck", CRYPT_SHA256, 60, "HEAD", "", 200,
         "attachment; filename=\"o\"; filename*=UTF-8''o"},
        {"PUT", "ck", CRYPT_SHA256, 60, "HEAD", "", 200,
         "attachment; filename=\"o\"; filename*=UTF-8''o"},
        {"PUT", "ck", CRYPT_SHA256, 60, "GET", "", 401, NULL},
        {"PUT", "ck", CRYPT_SHA256, 60, "DELETE", "", 401, NULL},
        {"GET", "ck", CRYPT_SHA256, 60, "PUT", "", 401, NULL},
        {"PUT", "ck", CRYPT_SHA256, 60, "PUT", "", 201, NULL},
        {"DELETE", "ck", CRYPT_SHA256, 60, "DELETE", "", 204, NULL},
    };
    _cleanup_free_ char *path = xasprintf("/v1/AUTH_%s/box/o", c->project);
    must(c, 204, "POST", "", "X-Account-Meta-Temp-URL-Key: ak", NULL);
    must(c, 201, "PUT", "/box",
         "X-Container-Meta-Temp-URL-Key: ck\nX-Container-Meta-Temp-URL-Key-2: ck2", NULL);
    must(c, 201, "PUT", "/box/o", "X-Object-Meta-Secret: s", "secret");
    c->token = NULL;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int64_t expires = calls_now / SECOND + rows[i].life;
        _cleanup_(buf_clear) Buf sig = BUF_INIT(BUF_MAX_LINE);
        sign(rows[i].signed_for, rows[i].key, rows[i].hash, expires, path, false, &sig);
        _cleanup_free_ char *url = xasprintf("%s?temp_url_sig=%s&temp_url_expires=%lld%s", path,
                                             sig.p, (long long)expires, rows[i].more);
        must(c, rows[i].status, rows[i].method, url, NULL,
             streq(rows[i].method, "PUT") ? "new" : NULL);
        assert_header(c, "Content-Disposition", rows[i].disposition);
        assert_header(c, "X-Object-Meta-Secret", NULL);
        assert_header(c, "WWW-Authenticate", NULL);
        if (rows[i].status == 401 && !streq(rows[i].method, "HEAD"))
            assert_body(c, "401 Unauthorized: Temp URL invalid\n");
    }
}

static void test_temp_url_limits(void **state)
{
    Calls *c = *state;
    int64_t expires = calls_now / SECOND + 60;
    _cleanup_free_ char *prefix = xasprintf("/v1/AUTH_%s/box/in/", c->project);
    _cleanup_(buf_clear) Buf sig = BUF_INIT(BUF_MAX_LINE);
    must(c, 201, "PUT", "/box", "X-Container-Meta-Temp-URL-Key: ck\nX-Versions-Enabled: true",
         NULL);
    must(c, 201, "PUT", "/box/in/a", NULL, "one");
    _cleanup_free_ char *first = version(c);
    must(c, 201, "PUT", "/box/in/a", NULL, "two");
    must(c, 201, "PUT", "/box/out", NULL, "out");
    c->token = NULL;
    sign("GET", "ck", CRYPT_SHA256, expires, prefix, true, &sig);
    _cleanup_free_ char *query = xasprintf(
        "?temp_url_sig=%s&temp_url_expires=%lld&temp_url_prefix=in/", sig.p, (long long)expires);
    _cleanup_free_ char *inside = xasprintf("/box/in/a%s", query);
    _cleanup_free_ char *outside = xasprintf("/box/out%s", query);
    _cleanup_free_ char *old = xasprintf("/box/in/a%s&version-id=%s", query, first);
    must(c, 200, "GET", inside, NULL, NULL);
    assert_body(c, "two");
    must(c, 401, "GET", outside, NULL, NULL);
    must(c, 200, "GET", old, NULL, NULL); /* the rest of the query does not count */
    assert_body(c, "two");
    /* No pointer to what the holder may not read. */
    buf_truncate(&sig, 0);
    sign("PUT", "ck", CRYPT_SHA256, expires, prefix, true, &sig);
    _cleanup_free_ char *put =
        xasprintf("/box/in/b?temp_url_sig=%s&temp_url_expires=%lld&temp_url_prefix=in/", sig.p,
                  (long long)expires);
    must(c, 400, "PUT", put, "X-Object-Manifest: box/out", "");
    assert_body(c, "The header 'X-Object-Manifest' is not allowed in this tempurl");
    must(c, 400, "PUT", put, "X-Copy-From: box/out", "");
    must(c, 201, "PUT", put, "X-Delete-After: 30", "x");
    c->token = c->demo;
    must(c, 200, "HEAD", "/box/in/b", NULL, NULL);
    assert_non_null(header(c, "X-Delete-At"));
}

static void test_cors(void **state)
{
    Calls *c = *state;
    static const char preflight[] =
        "Origin: https://m.example\nAccess-Control-Request-Method: GET\n"
        "Access-Control-Request-Headers: range";
    must(c, 201, "PUT", "/box", "X-Container-Read: .r:*", NULL);
    must(c, 201, "PUT", "/box/o", "X-Object-Meta-K: v", "x");
    c->token = NULL;
    must(c, 401, "OPTIONS", "/box/o", preflight, NULL);
    must(c, 200, "GET", "/box/o", "Origin: https://m.example", NULL);
    assert_header(c, "Access-Control-Allow-Origin", NULL);
    c->token = c->demo;
    must(c, 204, "POST", "/box",
         "X-Container-Meta-Access-Control-Allow-Origin: https://m.example https://w.example\n"
         "X-Container-Meta-Access-Control-Max-Age: 3600",
         NULL);
    c->token = NULL;
    must(c, 200, "OPTIONS", "/box/o", preflight, NULL);
    assert_header(c, "Access-Control-Allow-Origin", "https://m.example");
    assert_header(c, "Vary", "Origin, Access-Control-Request-Headers");
    assert_header(c, "Access-Control-Max-Age", "3600");
    assert_header(c, "Access-Control-Allow-Headers", "range");
    must(c, 401, "OPTIONS", "/box/o",
         "Origin: https://evil.example\nAccess-Control-Request-Method: GET", NULL);
    must(c, 200, "GET", "/box/o", "Origin: https://m.example", NULL);
    assert_header(c, "Access-Control-Allow-Origin", "https://m.example");
    assert_header(c, "Vary", "Origin");
    assert_non_null(strstr(header(c, "Access-Control-Expose-Headers"), "x-object-meta-k"));
    must(c, 404, "GET", "/box/no", "Origin: https://m.example", NULL);
    assert_header(c, "Access-Control-Allow-Origin", "https://m.example");
    must(c, 200, "GET", "/box/o", "Origin: https://evil.example", NULL);
    assert_header(c, "Access-Control-Allow-Origin", NULL);
    must(c, 200, "OPTIONS", "/box/o", NULL, NULL);
    assert_header(c, "Allow", "POST, DELETE, PUT, HEAD, OPTIONS, GET, COPY");
}

static void test_large(void **state)
{
    Calls *c = *state;
    must(c, 201, "PUT", "/seg", NULL, NULL);
    must(c, 201, "PUT", "/seg/a/1", NULL, "11");
    must(c, 201, "PUT", "/seg/a/2", NULL, "22222");
    must(c, 400, "PUT", "/seg/slo?multipart-manifest=put", NULL, "[{\"path\":\"/seg/none\"}]");
    assert_body(c, "Errors:\n/seg/none, 404 Not Found\n");
    must(c, 400, "PUT", "/seg/slo?multipart-manifest=put", NULL,
         "[{\"path\":\"/seg/a/1\",\"size_bytes\":3}]");
    must(c, 201, "PUT", "/seg/slo?multipart-manifest=put", NULL,
         "[{\"path\":\"/seg/a/1\"},{\"path\":\"/seg/a/2\",\"range\":\"1-2\"}]");
    must(c, 200, "GET", "/seg/slo", NULL, NULL);
    assert_body(c, "1122");
    assert_header(c, "X-Static-Large-Object", "True");
    assert_header(c, "X-Pocket-Slo-Etag", NULL);
    must(c, 206, "GET", "/seg/slo", "Range: bytes=1-2", NULL);
    assert_body(c, "12");
    must(c, 200, "GET", "/seg/slo?multipart-manifest=get", NULL, NULL);
    assert_int_equal(json_array_size(c->json), 2);
    must(c, 201, "PUT", "/seg/copy", "X-Copy-From: seg/slo", NULL);
    must(c, 201, "PUT", "/seg/dlo", "X-Object-Manifest: seg/a/", "");
    must(c, 200, "GET", "/seg/dlo", NULL, NULL);
    assert_body(c, "1122222");
    must(c, 201, "PUT", "/seg/a/1", NULL, "ev"); /* another segment than the manifest named */
    must(c, 409, "GET", "/seg/slo", NULL, NULL);
    must(c, 200, "GET", "/seg/copy", NULL, NULL);
    assert_body(c, "1122");
    must(c, 200, "DELETE", "/seg/slo?multipart-manifest=delete", NULL, NULL);
    assert_int_equal(json_int(c->json, "Number Deleted", 0), 3);
    must(c, 200, "DELETE", "/seg/copy?multipart-manifest=delete", NULL, NULL);
    assert_string_equal(json_str(c->json, "Response Status"), "400 Bad Request");
}

static void test_bulk(void **state)
{
    Calls *c = *state;
    must(c, 201, "PUT", "/box", NULL, NULL);
    must(c, 201, "PUT", "/box/a%20b", NULL, "x");
    must(c, 201, "PUT", "/box/c", NULL, "x");
    must(c, 200, "POST", "?bulk-delete", "Accept: application/json",
         "box/a%20b\n/box/none\n\nbox/c\nbox\n");
    assert_int_equal(json_int(c->json, "Number Deleted", 0), 3);
    assert_int_equal(json_int(c->json, "Number Not Found", 0), 1);
    assert_string_equal(json_str(c->json, "Response Status"), "200 OK");
    must(c, 404, "HEAD", "/box", NULL, NULL);
    assert_int_equal(count_files(c), 0);
    must(c, 200, "POST", "?bulk-delete", "Accept: application/json", "");
    assert_string_equal(json_str(c->json, "Response Body"), "Invalid bulk delete.");
}

/* Several ranges, copies of a range, folders as ?path=, XML, and manifests as they were put. */
static void test_rare_forms(void **state)
{
    Calls *c = *state;
    must(c, 201, "PUT", "/box", NULL, NULL);
    must(c, 201, "PUT", "/box/a&b", NULL, "0123456789");
    must(c, 201, "PUT", "/box/in/deep/x", NULL, "x");
    must(c, 206, "GET", "/box/a&b", "Range: bytes=0-1,-2", NULL);
    assert_true(starts_with(header(c, "Content-Type"), "multipart/byteranges;boundary="));
    assert_non_null(strstr(c->body.p, "Content-Range: bytes 8-9/10\r\n\r\n89\r\n--"));
    must(c, 201, "PUT", "/box/part", "X-Copy-From: /box/a%26b\nRange: bytes=2-4", NULL);
    must(c, 200, "GET", "/box/part", NULL, NULL);
    assert_body(c, "234");
    must(c, 416, "PUT", "/box/part", "X-Copy-From: /box/part\nRange: bytes=3-", NULL);
    must(c, 200, "GET", "/box?path=", NULL, NULL);
    assert_body(c, "a&b\npart\n");
    must(c, 200, "GET", "/box?path=in/deep", NULL, NULL);
    assert_body(c, "in/deep/x\n");
    must(c, 200, "GET", "/box?format=xml&delimiter=/", NULL, NULL);
    assert_non_null(strstr(c->body.p, "<object><name>a&amp;b</name>"));
    assert_non_null(strstr(c->body.p, "<subdir name=\"in/\"><name>in/</name></subdir>"));
    must(c, 201, "PUT", "/box/slo?multipart-manifest=put", NULL,
         "[{\"path\":\"/box/part\",\"range\":\"0-1\"}]");
    must(c, 200, "GET", "/box/slo?multipart-manifest=get&format=raw", NULL, NULL);
    assert_string_equal(json_str(json_array_get(c->json, 0), "path"), "/box/part");
    assert_string_equal(json_str(json_array_get(c->json, 0), "range"), "0-1");
    must(c, 400, "PUT", "/box/slo?multipart-manifest=put", NULL,
         "[{\"path\":\"/box/part\",\"colour\":1}]");
    must(c, 400, "PUT", "/box/dlo", "X-Object-Manifest: box", "");
}

static void test_odd_requests(void **state)
{
    Calls *c = *state;
    static const struct {
        const char *method, *path, *headers;
        int status;
    } rows[] = {
        {"GET", "/v1", NULL, 412},      {"GET", "/v1/AUTH_nobody", NULL, 403},
        {"GET", "/box%00x", NULL, 412}, {"GET", "/box/%ff", NULL, 412},
        {"GET", "/bo%zzx", NULL, 412},  {"PATCH", "/box", NULL, 405},
        {"PATCH", "/box/o", NULL, 405}, {"DELETE", "", NULL, 403},
        {"GET", "/none", NULL, 404},    {"GET", "/none/o", NULL, 404},
        {"POST", "/none", NULL, 404},   {"PUT", "/box", "X-Container-Write: .r:*", 400},
        {"GET", "/info", NULL, 200},
    };
    must(c, 201, "PUT", "/box", NULL, NULL);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        must(c, rows[i].status, rows[i].method, rows[i].path, rows[i].headers, NULL);
    assert_non_null(json_at(c->json, "tempurl.methods"));
    assert_non_null(header(c, "X-Trans-Id"));
    assert_string_equal(header(c, "X-Trans-Id"), header(c, "X-Openstack-Request-Id"));
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_objects),
        CASE(test_refused_puts),
        CASE(test_sweep),
        CASE(test_ranges),
        CASE(test_expiry),
        CASE(test_listing),
        CASE(test_versions),
        CASE(test_stack),
        CASE(test_history),
        CASE(test_both_kinds),
        CASE(test_writer),
        CASE(test_temp_url),
        CASE(test_temp_url_limits),
        CASE(test_cors),
        CASE(test_large),
        CASE(test_bulk),
        CASE(test_writer_and_versions),
        CASE(test_rare_forms),
        CASE(test_odd_requests),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
