#include "stream/config.h"
#include "stream/head.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const char *lookup(void *user, const char *name)
{
    const char *const *pairs = user;
    for (; pairs[0]; pairs += 2)
        if (streq(pairs[0], name))
            return pairs[1];
    return NULL;
}

static int read_config(const char *const *pairs, StreamConfig *c, Err *err)
{
    StreamEnvironment e = {.get = lookup, .user = (void *)(uintptr_t)pairs, .root = "/nonexistent"};
    return stream_config_read(&e, c, err);
}

static const char *pg(const StreamConfig *c, const char *key)
{
    for (size_t i = 0; i < c->pg_keys.len; i++)
        if (streq(c->pg_keys.items[i], key))
            return c->pg_values.items[i];
    return NULL;
}

static void test_defaults(void **state)
{
    (void)state;
    const char *pairs[] = {"NODE_ENV", "production", NULL};
    _cleanup_(stream_config_clear) StreamConfig c = {0};

    assert_int_equal(read_config(pairs, &c, NULL), 0);
    assert_int_equal(c.port, 4000);
    assert_string_equal(c.bind, "127.0.0.1");
    assert_string_equal(pg(&c, "host"), "localhost");
    assert_string_equal(pg(&c, "user"), "mastodon");
    assert_string_equal(pg(&c, "dbname"), "mastodon_production");
    assert_null(pg(&c, "sslmode"));
    assert_string_equal(c.redis.host, "127.0.0.1");
    assert_int_equal(c.redis.port, 6379);
    assert_int_equal(c.pg_pool, 10);
    assert_string_equal(c.prefix, "");
}

/* Each pair of a variable, and where it must be found (in words) or "" for an error. */
static void test_errors_name_the_variable(void **state)
{
    (void)state;
    static const char *const rows[][2] = {{"PORT", "x"},
                                          {"DB_POOL", "ten"},
                                          {"DB_PORT", "5432a"},
                                          {"REDIS_DB", "-1"},
                                          {"REDIS_PORT", "70000"},
                                          {"NODE_ENV", "staging"},
                                          {"REDIS_URL", "http://x"},
                                          {"DATABASE_URL", "mysql://x"},
                                          {"ATOLL_STREAM_QUEUE", "1"}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const char *pairs[] = {rows[i][0], rows[i][1], "NODE_ENV", "production", NULL};
        StreamConfig c;
        _cleanup_(err_clear) Err err = {0};
        assert_true(read_config(pairs, &c, &err) < 0);
        assert_non_null(strstr(err.text, rows[i][0]));
    }
}

static void test_database_url(void **state)
{
    (void)state;
    const char *pairs[] = {
        "DATABASE_URL",
        "postgresql://jo%40e:p%3Aw+x@db.example:6543/my%20db?sslmode=no-verify&pool=5",
        "DB_HOST",
        "ignored",
        "NODE_ENV",
        "test",
        NULL};
    _cleanup_(stream_config_clear) StreamConfig c = {0};

    assert_int_equal(read_config(pairs, &c, NULL), 0);
    assert_string_equal(pg(&c, "host"), "db.example");
    assert_string_equal(pg(&c, "port"), "6543");
    assert_string_equal(pg(&c, "user"), "jo@e");
    assert_string_equal(pg(&c, "password"), "p:w+x");
    assert_string_equal(pg(&c, "dbname"), "my db");
    assert_string_equal(pg(&c, "sslmode"), "require");
}

static void test_redis_urls(void **state)
{
    (void)state;
    const char *tls[] = {"REDIS_URL", "rediss://user:s%23t@r.example:7000/3", "REDIS_HOST", "no",
                         NULL};
    const char *unixy[] = {"REDIS_URL", "unix:///run/redis.sock?db=2", NULL};
    const char *ip6[] = {"REDIS_URL", "redis://[::1]:7001", NULL};
    StreamConfig c;

    assert_int_equal(read_config(tls, &c, NULL), 0);
    assert_true(c.redis.tls);
    assert_string_equal(c.redis.host, "r.example");
    assert_string_equal(c.redis.user, "user");
    assert_string_equal(secret_expose(c.redis.password).p, "s#t");
    assert_int_equal(c.redis.port, 7000);
    assert_int_equal(c.redis.db, 3);
    stream_config_clear(&c);
    assert_int_equal(read_config(unixy, &c, NULL), 0);
    assert_string_equal(c.redis.path, "/run/redis.sock");
    assert_int_equal(c.redis.db, 2);
    stream_config_clear(&c);
    assert_int_equal(read_config(ip6, &c, NULL), 0);
    assert_string_equal(c.redis.host, "::1");
    assert_int_equal(c.redis.port, 7001);
    stream_config_clear(&c);
}

static void test_sentinels(void **state)
{
    (void)state;
    const char *pairs[] = {"REDIS_SENTINELS",
                           "one, two:7000,[::1]:7001,::2",
                           "REDIS_SENTINEL_MASTER",
                           "main",
                           "REDIS_PASSWORD",
                           "p",
                           NULL};
    _cleanup_(stream_config_clear) StreamConfig c = {0};
    static const struct {
        const char *host;
        int port;
    } expected[] = {{"one", 26379}, {"two", 7000}, {"::1", 7001}, {"::2", 26379}};

    assert_int_equal(read_config(pairs, &c, NULL), 0);
    assert_int_equal(c.sentinels_len, 4);
    for (size_t i = 0; i < 4; i++) {
        assert_string_equal(c.sentinels[i].host, expected[i].host);
        assert_int_equal(c.sentinels[i].port, expected[i].port);
        assert_string_equal(secret_expose(c.sentinels[i].password).p, "p");
    }
}

static void test_env_file(void **state)
{
    (void)state;
    EnvFile e = {0};
    static const char *const expected[][2] = {{"A", "1"},          {"B", "two words"}, {"C", "x#y"},
                                              {"D", "line\nnext"}, {"E", ""},          {"F", "a=b"},
                                              {"G", "two\nlines"}, {"H", "end"}};

    env_file_parse(
        STR_LIT("# comment\nA=1\nexport B=two words # said\nC='x#y'\nD=\"line\\nnext\"\nE=\n"
                "F=a=b\nnonsense\nG=\"two\nlines\"\n H = end"),
        &e);
    assert_int_equal(e.names.len, ARRAY_LEN(expected));
    for (size_t i = 0; i < ARRAY_LEN(expected); i++) {
        assert_string_equal(e.names.items[i], expected[i][0]);
        assert_string_equal(e.values.items[i], expected[i][1]);
    }
    env_file_clear(&e);
}

static void test_settings(void **state)
{
    (void)state;
    StreamSettings s;
    _cleanup_(err_clear) Err err = {0};

    stream_settings_default(&s);
    assert_int_equal(s.queue_bytes, 256 << 10);
    assert_int_equal(stream_settings_set(&s, "ping=2s", NULL), 0);
    assert_int_equal(s.ping_ms, 2000);
    assert_int_equal(stream_settings_set(&s, "ping=200", NULL), 0);
    assert_int_equal(s.ping_ms, 200);
    assert_true(stream_settings_set(&s, "pings=2s", &err) < 0);
    assert_string_equal(err.hint, "did you mean ping?");
    assert_true(stream_settings_set(&s, "ping=1", NULL) < 0);
    assert_int_equal(s.loops, 1);
    assert_int_equal(stream_settings_set(&s, "loops=32", NULL), 0);
    assert_int_equal(s.loops, 32);
    assert_int_equal(stream_settings_set(&s, "loops=auto", NULL), 0);
    assert_int_equal(s.loops, 0);
    assert_true(stream_settings_set(&s, "loops=0", NULL) < 0);
    assert_true(stream_settings_set(&s, "loops=33", NULL) < 0);
    assert_true(stream_settings_set(&s, "batch=auto", NULL) < 0);
    assert_true(stream_settings_set(&s, "ping", NULL) < 0);
}

static void test_trusted_ranges(void **state)
{
    (void)state;
    StrList ranges = {0};

    strlist_add(&ranges, "127.0.0.0/8");
    strlist_add(&ranges, "172.16.0.0/12");
    strlist_add(&ranges, "fc00::/7");
    strlist_add(&ranges, "192.0.2.7");
    assert_true(stream_trusts(&ranges, "127.1.2.3"));
    assert_true(stream_trusts(&ranges, "172.31.255.255"));
    assert_false(stream_trusts(&ranges, "172.32.0.0"));
    assert_true(stream_trusts(&ranges, "fd00::1"));
    assert_true(stream_trusts(&ranges, "192.0.2.7"));
    assert_false(stream_trusts(&ranges, "192.0.2.8"));
    assert_false(stream_trusts(&ranges, "nonsense"));
    strlist_clear(&ranges);
}

static void test_heads(void **state)
{
    (void)state;
    Head h;
    size_t used;
    static const char text[] =
        "GET /a/b?tag=x%20y&tag=z&access_token=s HTTP/1.1\r\nHost: h\r\nupgrade: "
        "websocket\r\nConnection: keep-alive, Upgrade\r\nAuthorization:  Bearer t "
        "\r\n\r\nrest";

    for (size_t n = 0; n < sizeof(text) - 5; n++)
        assert_int_equal(head_read((Str){text, n}, &h, &used), HEAD_MORE);
    assert_int_equal(head_read((Str){text, sizeof(text) - 1}, &h, &used), HEAD_OK);
    assert_int_equal(used, sizeof(text) - 5);
    assert_true(h.upgrade && h.keep_alive && !h.has_body);
    assert_true(str_eq(h.path, STR_LIT("/a/b")));
    assert_true(str_eq(h.field[HEAD_AUTHORIZATION], STR_LIT("Bearer t")));
    _cleanup_(buf_clear) Buf value = BUF_INIT(100), line = BUF_INIT(100);
    assert_int_equal(query_value(h.query, "tag", &value), 2);
    assert_string_equal(value.p, "x y");
    assert_int_equal(query_value(h.query, "list", &value), 0);
    head_redact(&h, &line);
    assert_string_equal(line.p, "/a/b?tag=x%20y&tag=z&access_token=[Redacted]");
    assert_int_equal(head_read(STR_LIT("nonsense\r\n\r\n"), &h, &used), HEAD_BAD);
    assert_int_equal(
        head_read(STR_LIT("POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc"), &h, &used), HEAD_OK);
    assert_true(h.has_body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),     cmocka_unit_test(test_errors_name_the_variable),
        cmocka_unit_test(test_database_url), cmocka_unit_test(test_redis_urls),
        cmocka_unit_test(test_sentinels),    cmocka_unit_test(test_env_file),
        cmocka_unit_test(test_settings),     cmocka_unit_test(test_trusted_ranges),
        cmocka_unit_test(test_heads)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
