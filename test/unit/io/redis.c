/* Against a peer that says exactly what a row tells it to; the real server is met in
 * test/unit/host/stores.c. */
#include "io/redis.h"
#include "io/httpd.h"

#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

typedef struct Peer {
    int listen_fd, port;
    pthread_t thread;
    const char *say; /* to each command; NULL: nothing, until the client goes away */
    Buf heard;
} Peer;

static void *serve(void *arg)
{
    Peer *p = arg;
    int fd = accept(p->listen_fd, NULL, NULL);
    char piece[4096];
    ssize_t n;
    while ((n = read(fd, piece, sizeof piece)) > 0) {
        buf_add(&p->heard, piece, (size_t)n);
        if (p->say && send(fd, p->say, strlen(p->say), MSG_NOSIGNAL) < 0)
            break;
        if (p->say && !*p->say)
            break; /* "" : hangs up */
    }
    close(fd);
    return NULL;
}

static void begin(Peer *p, const char *say)
{
    *p = (Peer){.say = say, .heard = BUF_INIT(BUF_MAX_LINE)};
    assert_int_equal(httpd_listen("127.0.0.1", 0, &p->listen_fd, &p->port, NULL), 0);
    assert_int_equal(pthread_create(&p->thread, NULL, serve, p), 0);
}

static void end(Peer *p)
{
    pthread_join(p->thread, NULL);
    close(p->listen_fd);
    buf_clear(&p->heard);
}

static RedisTarget target(const Peer *p)
{
    return (RedisTarget){.host = "127.0.0.1", .port = p->port, .timeout_ms = 300};
}

static const char *const ping[] = {"PING", NULL};

static void replies_and_errors(void **state)
{
    (void)state;
    static const struct {
        const char *say;
        int r;
        RedisType type;
        const char *text;
        int64_t integer;
        size_t len;
    } rows[] = {
        {"+PONG\r\n", 0, REDIS_TEXT, "PONG", 0, 4},
        {"$5\r\nhello\r\n", 0, REDIS_TEXT, "hello", 0, 5},
        {"$0\r\n\r\n", 0, REDIS_TEXT, "", 0, 0},
        {"$-1\r\n", 0, REDIS_NIL, NULL, 0, 0},
        {":-42\r\n", 0, REDIS_INTEGER, NULL, -42, 0},
        {"*0\r\n", 0, REDIS_LIST, NULL, 0, 0},
        {"*3\r\n$1\r\na\r\n:7\r\n*1\r\n$-1\r\n", 0, REDIS_LIST, NULL, 0, 3},
        {"-NOAUTH Authentication required.\r\n", -ERR_AUTH, 0, NULL, 0, 0},
        {"-WRONGPASS invalid username-password pair\r\n", -ERR_AUTH, 0, NULL, 0, 0},
        {"-NOPERM this user has no permissions\r\n", -ERR_DENIED, 0, NULL, 0, 0},
        {"-LOADING Redis is loading the dataset in memory\r\n", -ERR_TEMPORARY, 0, NULL, 0, 0},
        {"-ERR unknown command\r\n", -ERR_CONFLICT, 0, NULL, 0, 0},
        {"!what is this\r\n", -ERR_CORRUPT, 0, NULL, 0, 0},
        {"", -ERR_TEMPORARY, 0, NULL, 0, 0},
        {NULL, -ERR_TEMPORARY, 0, NULL, 0, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        Peer p;
        Redis *redis = NULL;
        _cleanup_(redis_reply_clear) RedisReply reply = {0};
        _cleanup_(err_clear) Err err = {0};
        begin(&p, rows[i].say);
        RedisTarget t = target(&p);
        assert_int_equal(redis_open(&t, &redis, NULL), 0);
        assert_int_equal(redis_command(redis, ping, &reply, &err), rows[i].r);
        if (rows[i].r == 0) {
            assert_int_equal(reply.type, rows[i].type);
            assert_true(streq(reply.text, rows[i].text));
            assert_int_equal(reply.integer, rows[i].integer);
            assert_int_equal(reply.len, rows[i].len);
        } else {
            assert_non_null(err.text);
        }
        redis = redis_close(redis);
        end(&p);
    }
}

static void lists_are_trees(void **state)
{
    (void)state;
    Peer p;
    Redis *redis = NULL;
    _cleanup_(redis_reply_clear) RedisReply reply = {0};
    begin(&p, "*3\r\n$1\r\na\r\n:7\r\n*2\r\n$-1\r\n+x\r\n");
    RedisTarget t = target(&p);

    assert_int_equal(redis_open(&t, &redis, NULL), 0);
    assert_int_equal(redis_command(redis, ping, &reply, NULL), 0);
    assert_string_equal(reply.items[0].text, "a");
    assert_int_equal(reply.items[1].integer, 7);
    assert_int_equal(reply.items[2].items[0].type, REDIS_NIL);
    assert_string_equal(reply.items[2].items[1].text, "x");
    redis = redis_close(redis);
    end(&p);
}

static void it_logs_in_first(void **state)
{
    (void)state;
    static const struct {
        const char *say;
        int r;
    } rows[] = {{"+OK\r\n", 0}, {"-ERR invalid password\r\n", -ERR_AUTH}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        Peer p;
        Redis *redis = NULL;
        _cleanup_secret_ Secret *password = secret_new("pass word", 9);
        _cleanup_(err_clear) Err err = {0};
        begin(&p, rows[i].say);
        RedisTarget t = target(&p);
        t.password = password;
        assert_int_equal(redis_open(&t, &redis, &err), rows[i].r);
        redis = redis_close(redis);
        pthread_join(p.thread, NULL);
        assert_string_equal(p.heard.p, "*2\r\n$4\r\nAUTH\r\n$9\r\npass word\r\n");
        assert_true(!err.text || !strstr(err.text, "pass word"));
        close(p.listen_fd);
        buf_clear(&p.heard);
    }
}

static void nobody_there(void **state)
{
    (void)state;
    int fd, port;
    Redis *redis = NULL;
    _cleanup_(err_clear) Err err = {0};
    assert_int_equal(httpd_listen("127.0.0.1", 0, &fd, &port, NULL), 0);
    close(fd);

    RedisTarget t = {.host = "127.0.0.1", .port = port};
    assert_int_equal(redis_open(&t, &redis, &err), -ERR_TEMPORARY);
    assert_non_null(strstr(err.text, "refused"));
    assert_null(redis);
}

/* Three commands go out at once; the second's error is its own. */
static void a_pipeline(void **state)
{
    (void)state;
    Peer p;
    _cleanup_(redis_drop) Redis *r = NULL;
    _cleanup_(redis_reply_clear) RedisReply reply = {0};
    RedisTarget t;

    begin(&p, ":1\r\n-WRONGTYPE of key\r\n:3\r\n");
    t = target(&p);
    assert_int_equal(redis_open(&t, &r, NULL), 0);
    for (int i = 0; i < 3; i++)
        redis_send(r, ping);
    assert_int_equal(redis_next(r, &reply, NULL), 0);
    assert_int_equal(reply.integer, 1);
    assert_int_equal(redis_next(r, &reply, NULL), -ERR_CONFLICT);
    assert_false(redis_broken(r));
    assert_int_equal(redis_next(r, &reply, NULL), 0);
    assert_int_equal(reply.integer, 3);
    assert_int_equal(redis_trips(r), 1);
    r = redis_close(r);
    end(&p);
}

/* The Sentinel says where the master is; a user of the ACL logs in there, and not at the Sentinel.
 */
static void a_sentinel(void **state)
{
    (void)state;
    Peer sentinel, master;
    _cleanup_(redis_drop) Redis *r = NULL;
    _cleanup_secret_ Secret *password = secret_new("hidden", 6);
    RedisTarget t;

    begin(&master, "+OK\r\n");
    _cleanup_free_ char *port = xasprintf("%d", master.port);
    _cleanup_free_ char *say =
        xasprintf("*2\r\n$9\r\n127.0.0.1\r\n$%zu\r\n%s\r\n", strlen(port), port);
    begin(&sentinel, say);
    t = target(&sentinel);
    t.sentinel = "mymaster";
    t.user = "scaler";
    t.password = password;
    assert_int_equal(redis_open(&t, &r, NULL), 0);
    r = redis_close(r);
    pthread_join(sentinel.thread, NULL);
    pthread_join(master.thread, NULL);
    assert_non_null(strstr(sentinel.heard.p, "mymaster"));
    assert_null(strstr(sentinel.heard.p, "hidden"));
    assert_non_null(strstr(master.heard.p, "scaler"));
    assert_non_null(strstr(master.heard.p, "hidden"));
    close(sentinel.listen_fd);
    close(master.listen_fd);
    buf_clear(&sentinel.heard);
    buf_clear(&master.heard);
}

/* It knows no such master, or talks nonsense. */
static void a_sentinel_without_a_master(void **state)
{
    (void)state;
    static const char *const rows[] = {"*-1\r\n", "$-1\r\n", "*1\r\n$1\r\nx\r\n",
                                       "*2\r\n$1\r\nx\r\n$1\r\ny\r\n"};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        Peer p;
        Redis *r = NULL;
        RedisTarget t;
        begin(&p, rows[i]);
        t = target(&p);
        t.sentinel = "mymaster";
        assert_int_equal(redis_open(&t, &r, NULL), -ERR_NOT_FOUND);
        end(&p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replies_and_errors),
        cmocka_unit_test(lists_are_trees),
        cmocka_unit_test(it_logs_in_first),
        cmocka_unit_test(nobody_there),
        cmocka_unit_test(a_pipeline),
        cmocka_unit_test(a_sentinel),
        cmocka_unit_test(a_sentinel_without_a_master),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
