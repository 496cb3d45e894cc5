#include "io/http.h"
#include "io/child.h"
#include "io/file.h"
#include "peer.h"

#include <fcntl.h>
#include <setjmp.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>

#include <cmocka.h>

#define TOKEN "gAAAAAB-very-secret-token"

typedef struct World {
    Peer *peer;
    Http *http;
    volatile sig_atomic_t stop;
    char url[64][128];
    size_t urls;
    /* What the trace saw last. */
    int traces, status;
    char shown[512], request_id[64];
} World;

static void on_trace(void *user, const HttpTrace *t)
{
    World *w = user;
    w->traces++;
    w->status = t->status;
    snprintf(w->shown, sizeof w->shown, "%s %s", t->method, t->url);
    snprintf(w->request_id, sizeof w->request_id, "%s", t->request_id ? t->request_id : "");
}

static int setup(void **state)
{
    World *w = NEW(World);
    sigset_t alarm_only;
    /* The server's threads inherit the mask: SIGALRM always meets the one that waits in curl. */
    sigemptyset(&alarm_only);
    sigaddset(&alarm_only, SIGALRM);
    pthread_sigmask(SIG_BLOCK, &alarm_only, NULL);
    w->peer = peer_start();
    pthread_sigmask(SIG_UNBLOCK, &alarm_only, NULL);
    w->peer->stop = &w->stop;
    w->http = http_new(
        &(HttpOptions){.stop = &w->stop, .grace_ms = 300, .trace = on_trace, .trace_user = w});
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    World *w = *state;
    http_free(w->http);
    peer_stop(w->peer);
    free(w);
    return 0;
}

static const char *url_of(World *w, const char *path)
{
    char *url = w->url[w->urls++ % ARRAY_LEN(w->url)];
    snprintf(url, sizeof w->url[0], "http://127.0.0.1:%d%s", w->peer->port, path);
    return url;
}

static HttpResponse get(World *w, const char *method, const char *path)
{
    HttpResponse r = {0};
    HttpRequest q = {.method = method, .url = url_of(w, path), .timeout_ms = 10 * SECOND};
    http_perform(w->http, &q, &r, 1);
    return r;
}

static void test_answers(void **state)
{
    static const struct {
        const char *method, *path;
        int status;
        const char *body;
    } table[] = {
        {"GET", "/ok", 200, "hello"},    {"HEAD", "/ok", 200, ""},
        {"DELETE", "/ok", 200, "hello"}, {"POST", "/ok", 200, "hello"},
        {"PUT", "/ok", 200, "hello"},    {"GET", "/missing", 404, "nope"},
        {"POST", "/nothing", 204, ""},   {"POST", "/early", 201, ""},
        {"GET", "/chunked", 200, "abc"}, {"COPY", "/ok", 200, "hello"},
        {"GET", "/trailer", 200, "abc"}, {"GET", "/moved", 301, ""},
        {"GET", "/ok", 200, "hello"},
    };
    World *w = *state;

    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        _cleanup_(http_response_clear) HttpResponse r = get(w, table[i].method, table[i].path);
        if (r.err.kind)
            fail_msg("%s", r.err.text);
        assert_int_equal(r.status, table[i].status);
        assert_string_equal(r.body.p, table[i].body);
        assert_true(r.sent);
        assert_int_equal(w->status, table[i].status);
    }
    /* All of it on one connection, and each request came once. */
    assert_int_equal(w->peer->conns_n, 1);
    assert_int_equal(w->peer->requests, ARRAY_LEN(table));
    assert_int_equal(w->traces, ARRAY_LEN(table));
}

static void test_headers(void **state)
{
    World *w = *state;
    _cleanup_(http_response_clear) HttpResponse r = get(w, "GET", "/ok");
    assert_string_equal(http_header(&r, "content-LENGTH"), "5");
    assert_string_equal(http_header(&r, "X-Empty"), "");
    assert_null(http_header(&r, "X-Openstack-Request"));
    assert_string_equal(w->request_id, "req-77");
    /* Those of an early hint don't count. */
    _cleanup_(http_response_clear) HttpResponse early = get(w, "GET", "/early");
    assert_null(http_header(&early, "X-Early"));
    assert_string_equal(w->request_id, "tx5");
}

/* What goes over the wire. */
static void test_request(void **state)
{
    World *w = *state;
    _cleanup_(strlist_clear) StrList headers = {0};
    strlist_add(&headers, "Content-Type: application/json");
    strlist_add(&headers, "X-Remove-Me: ");
    _cleanup_secret_ Secret *token = secret_new(TOKEN, strlen(TOKEN));
    _cleanup_(http_response_clear) HttpResponse r = {0}, r2 = {0};
    HttpRequest q = {.method = "POST",
                     .url = url_of(w, "/a/../ok"),
                     .headers = &headers,
                     .token = token,
                     .body = STR_LIT("{}")};

    http_perform(w->http, &q, &r, 1);
    assert_int_equal(r.status, 200);
    assert_true(starts_with(w->peer->head, "POST /a/../ok HTTP/1.1\r\n"));
    assert_non_null(strstr(w->peer->head, "\r\nX-Auth-Token: " TOKEN "\r\n"));
    assert_non_null(strstr(w->peer->head, "\r\nContent-Type: application/json\r\n"));
    assert_non_null(strstr(w->peer->head, "\r\nX-Remove-Me:\r\n"));
    assert_non_null(strstr(w->peer->head, "\r\nContent-Length: 2\r\n"));
    assert_non_null(strstr(w->peer->head, "\r\nUser-Agent: atoll/"));

    /* The handle is reused: nothing of the last request may stay on it. */
    HttpRequest plain = {.method = "PUT", .url = url_of(w, "/ok")};
    http_perform(w->http, &plain, &r2, 1);
    assert_non_null(strstr(w->peer->head, "\r\nContent-Length: 0\r\n"));
    static const char *const absent[] = {"X-Auth-Token", "Content-Type", "X-Remove", "Expect",
                                         "Transfer-Encoding"};
    for (size_t i = 0; i < ARRAY_LEN(absent); i++)
        assert_null(strcasestr(w->peer->head, absent[i]));
}

static void test_bad_requests(void **state)
{
    World *w = *state;
    _cleanup_(strlist_clear) StrList split = {0}, colon = {0};
    strlist_add(&split, "X-A: 1\r\nX-B: 2");
    strlist_add(&colon, "X-A");
    _cleanup_secret_ Secret *token = secret_new("a\nb", 3);
    const HttpRequest table[] = {
        {.method = "GET", .url = url_of(w, "/ok"), .headers = &split},
        {.method = "GET", .url = url_of(w, "/ok"), .headers = &colon},
        {.method = "GET", .url = url_of(w, "/ok"), .token = token},
        {.method = "GET", .url = "http://"},
        {.method = "GET", .url = "file:///etc/passwd"},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        _cleanup_(http_response_clear) HttpResponse r = {0};
        http_perform(w->http, &table[i], &r, 1);
        assert_int_equal(r.err.kind, ERR_CONFIG);
        assert_int_equal(r.status, 0);
        assert_false(r.sent);
    }
    assert_int_equal(w->peer->requests, 0);
    http_perform(w->http, NULL, NULL, 0);
}

/* No answer, in all ways; the request may have had its effect in each. */
static void test_failures(void **state)
{
    static const struct {
        const char *path;
        int kind;
    } table[] = {
        {"/reset", ERR_TEMPORARY}, {"/close", ERR_TEMPORARY},     {"/half", ERR_TEMPORARY},
        {"/short", ERR_TEMPORARY}, {"/slow", ERR_TEMPORARY},      {"/chunk-cut", ERR_TEMPORARY},
        {"/garbage", ERR_CORRUPT}, {"/early-cut", ERR_TEMPORARY},
    };
    World *w = *state;
    _cleanup_secret_ Secret *token = secret_new(TOKEN, strlen(TOKEN));

    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        _cleanup_(http_response_clear) HttpResponse r = {0};
        _cleanup_free_ char *path = xasprintf("%s", table[i].path);
        HttpRequest q = {.method = "POST",
                         .url = url_of(w, path),
                         .token = token,
                         .body = STR_LIT("{}"),
                         .timeout_ms = 300};
        http_perform(w->http, &q, &r, 1);
        if (r.err.kind != (ErrKind)table[i].kind)
            fail_msg("%s: %s", path, r.err.text);
        assert_int_equal(r.status, 0);
        assert_true(r.sent);
        assert_int_equal(r.body.len, 0);
        assert_non_null(strstr(r.err.text, path));
        assert_null(strstr(r.err.text, TOKEN));
    }
    assert_int_equal(w->peer->requests, ARRAY_LEN(table));
}

/* A request on a connection that was used before and dies now is not repeated behind our back. */
static void test_no_silent_repeat(void **state)
{
    static const char *const paths[] = {"/reset", "/close"};
    static const char *const methods[] = {"POST", "GET", "DELETE"};
    World *w = *state;
    int expected = 0;

    for (size_t i = 0; i < ARRAY_LEN(paths) * ARRAY_LEN(methods); i++) {
        _cleanup_(http_response_clear) HttpResponse first = get(w, "GET", "/ok");
        assert_int_equal(first.status, 200);
        _cleanup_(http_response_clear) HttpResponse r =
            get(w, methods[i / ARRAY_LEN(paths)], paths[i % ARRAY_LEN(paths)]);
        expected += 2;
        assert_int_equal(r.err.kind, ERR_TEMPORARY);
        assert_true(r.sent);
        assert_int_equal(w->peer->requests, expected);
    }
}

/* A connection that the server closed while it was idle is noticed and replaced. */
static void test_stale_connection(void **state)
{
    World *w = *state;
    _cleanup_(http_response_clear) HttpResponse first = get(w, "GET", "/ok-then-close");
    assert_int_equal(first.status, 200);
    assert_true(peer_wait_closed(w->peer, 1));
    _cleanup_(http_response_clear) HttpResponse second = get(w, "POST", "/ok");
    assert_int_equal(second.status, 200);
    assert_int_equal(w->peer->requests, 2);
}

static void test_not_sent(void **state)
{
    World *w = *state;
    /* A port that is bound but does not listen refuses. */
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &n), 0);
    char url[64];
    snprintf(url, sizeof url, "http://127.0.0.1:%d/", ntohs(a.sin_port));
    const HttpRequest table[] = {
        {.method = "POST", .url = url},
        {.method = "POST", .url = "http://name.invalid/"},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        _cleanup_(http_response_clear) HttpResponse r = {0};
        http_perform(w->http, &table[i], &r, 1);
        assert_int_equal(r.err.kind, ERR_TEMPORARY);
        assert_false(r.sent);
        assert_int_equal(r.status, 0);
    }
    close(fd);
}

static void test_max_body(void **state)
{
    World *w = *state;
    const struct {
        size_t max;
        int status, kind;
    } table[] = {{100000, 200, 0}, {99999, 0, ERR_CORRUPT}, {0, 200, 0}};

    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        _cleanup_(http_response_clear) HttpResponse r = {0};
        HttpRequest q = {.method = "GET", .url = url_of(w, "/big"), .max_body = table[i].max};
        http_perform(w->http, &q, &r, 1);
        assert_int_equal(r.status, table[i].status);
        assert_int_equal(r.err.kind, table[i].kind);
        assert_int_equal(r.body.len, table[i].status ? 100000 : 0);
    }
}

/* Into a file: only the body of a success, and nothing of half an answer. */
static void test_sink(void **state)
{
    World *w = *state;
    int fd = memfd_create("sink", MFD_CLOEXEC);
    assert_int_equal(write(fd, "before:", 7), 7);
    static const struct {
        const char *path;
        int status;
        const char *body;
        off_t end;
    } table[] = {
        {"/missing", 404, "nope", 7}, {"/short", 0, "", 7},      {"/ok", 200, "", 12},
        {"/big", 200, "", 100012},    {"/close", 0, "", 100012},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        _cleanup_(http_response_clear) HttpResponse r = {0};
        HttpRequest q = {.method = "GET", .url = url_of(w, table[i].path), .sink_fd = fd};
        http_perform(w->http, &q, &r, 1);
        assert_int_equal(r.status, table[i].status);
        assert_string_equal(r.body.p, table[i].body);
        assert_int_equal(lseek(fd, 0, SEEK_CUR), table[i].end);
        assert_int_equal(lseek(fd, 0, SEEK_END), table[i].end);
    }
    char text[13] = "";
    assert_int_equal(pread(fd, text, 12, 0), 12);
    assert_string_equal(text, "before:hello");
    close(fd);

    int closed_for_writing = open("/dev/null", O_RDONLY | O_CLOEXEC);
    _cleanup_(http_response_clear) HttpResponse r = {0};
    HttpRequest q = {.method = "GET", .url = url_of(w, "/ok"), .sink_fd = closed_for_writing};
    http_perform(w->http, &q, &r, 1);
    assert_int_equal(r.err.kind, ERR_IO);
    close(closed_for_writing);
}

static void test_upload(void **state)
{
    World *w = *state;
    enum { SIZE = 8 << 20 };
    int fd = memfd_create("upload", MFD_CLOEXEC);
    char *bytes = xcalloc(SIZE, 1);
    crypt_random(bytes, SIZE);
    assert_int_equal(write(fd, bytes, SIZE), SIZE);
    _cleanup_(buf_clear) Buf hash = BUF_INIT(BUF_MAX_LINE);
    crypt_hash(CRYPT_SHA256, (Str){bytes, SIZE}, &hash);
    free(bytes);

    static const char *const methods[] = {"PUT", "POST"};
    for (size_t i = 0; i < 2; i++) {
        _cleanup_(http_response_clear) HttpResponse r = {0};
        HttpRequest q = {
            .method = methods[i], .url = url_of(w, "/ok"), .body_fd = fd, .body_size = SIZE};
        http_perform(w->http, &q, &r, 1);
        assert_int_equal(r.status, 200);
        assert_string_equal(w->peer->body_hash, hash.p);
        assert_true(starts_with(w->peer->head, methods[i]));
        assert_non_null(strstr(w->peer->head, "\r\nContent-Length: 8388608\r\n"));
        assert_null(strcasestr(w->peer->head, "Expect"));
        assert_null(strcasestr(w->peer->head, "Transfer-Encoding"));
    }
    /* A file that is shorter than promised. */
    _cleanup_(http_response_clear) HttpResponse r = {0};
    HttpRequest q = {
        .method = "PUT", .url = url_of(w, "/ok"), .body_fd = fd, .body_size = SIZE + 1};
    http_perform(w->http, &q, &r, 1);
    assert_int_equal(r.err.kind, ERR_IO);
    assert_true(r.sent);
    assert_int_equal(r.status, 0);
    close(fd);
}

typedef struct Made {
    const char *bytes;
    int64_t size, fails_at; /* -1: never */
    size_t asked;
} Made;

static ssize_t give(void *user, int64_t offset, char *to, size_t n, Err *err)
{
    Made *m = user;
    size_t part = MIN(MIN(n, (size_t)1000), (size_t)(m->size - offset));

    m->asked++;
    if (m->fails_at >= 0 && offset >= m->fails_at)
        return err_set(err, ERR_CHANGED, "it is another one now");
    memcpy(to, m->bytes + offset, part);
    return (ssize_t)part;
}

/* A body that is made while it is sent, in pieces of the maker's own size. */
static void test_upload_made(void **state)
{
    World *w = *state;
    enum { SIZE = 300001 };
    _cleanup_free_ char *bytes = xcalloc(SIZE, 1);
    crypt_random(bytes, SIZE);
    _cleanup_(buf_clear) Buf hash = BUF_INIT(BUF_MAX_LINE);
    crypt_hash(CRYPT_SHA256, (Str){bytes, SIZE}, &hash);
    Made made = {.bytes = bytes, .size = SIZE, .fails_at = -1};
    HttpRequest q = {.method = "PUT",
                     .url = url_of(w, "/ok"),
                     .body_size = SIZE,
                     .body_read = give,
                     .body_user = &made};
    _cleanup_(http_response_clear) HttpResponse r = {0}, failed = {0};

    http_perform(w->http, &q, &r, 1);
    assert_int_equal(r.status, 200);
    assert_string_equal(w->peer->body_hash, hash.p);
    assert_non_null(strstr(w->peer->head, "\r\nContent-Length: 300001\r\n"));
    assert_true(made.asked >= 301);
    /* Its own failure is the request's. */
    made.fails_at = 200000;
    http_perform(w->http, &q, &failed, 1);
    assert_int_equal(failed.status, 0);
    assert_int_equal(failed.err.kind, ERR_CHANGED);
    assert_non_null(strstr(failed.err.text, "it is another one now"));
    assert_true(failed.sent);
}

/* 20 at once, at least 16 of them really at the same time; and more than fit in flight. */
static void test_parallel(void **state)
{
    World *w = *state;
    HttpRequest q[100];
    HttpResponse r[ARRAY_LEN(q)] = {0};
    static const size_t counts[] = {20, 100};
    w->peer->barrier = 16;

    for (size_t k = 0; k < ARRAY_LEN(counts); k++) {
        for (size_t i = 0; i < counts[k]; i++)
            q[i] = (HttpRequest){.method = "GET", .url = url_of(w, "/barrier")};
        http_perform(w->http, q, r, counts[k]);
        for (size_t i = 0; i < counts[k]; i++) {
            assert_int_equal(r[i].status, 200);
            http_response_clear(&r[i]);
        }
    }
    assert_int_equal(w->peer->most_waiting, 16);
    assert_int_equal(w->peer->conns_n, 16);
    assert_int_equal(w->peer->requests, 120);
}

/* One bad request among good ones fails alone. */
static void test_mixed(void **state)
{
    World *w = *state;
    static const char *const paths[] = {"/ok", "/reset", "/missing", "/short", "/ok"};
    static const int expected[] = {200, 0, 404, 0, 200};
    HttpRequest q[5];
    HttpResponse r[5] = {0};
    for (size_t i = 0; i < 5; i++)
        q[i] = (HttpRequest){.method = "GET", .url = url_of(w, paths[i])};
    http_perform(w->http, q, r, 5);
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(r[i].status, expected[i]);
        assert_int_equal(r[i].err.kind, expected[i] ? ERR_NONE : ERR_TEMPORARY);
        http_response_clear(&r[i]);
    }
}

/* What is in flight gets its time of grace; what was not begun is not begun. */
static void test_stop(void **state)
{
    World *w = *state;
    HttpRequest q[70];
    HttpResponse r[ARRAY_LEN(q)] = {0};
    for (size_t i = 0; i < ARRAY_LEN(q); i++)
        q[i] = (HttpRequest){
            .method = "POST", .url = url_of(w, "/stop-slow"), .timeout_ms = 20 * SECOND};
    Msec start = time_mono();
    http_perform(w->http, q, r, ARRAY_LEN(q));
    Msec took = time_mono() - start;
    assert_true(took >= 300 && took < 10 * SECOND);
    size_t sent = 0;
    for (size_t i = 0; i < ARRAY_LEN(q); i++) {
        assert_int_equal(r[i].err.kind, ERR_INTERRUPTED);
        assert_int_equal(r[i].status, 0);
        sent += r[i].sent;
        http_response_clear(&r[i]);
    }
    assert_int_equal(sent, 16);
    assert_int_equal(w->peer->requests, 16);

    /* The flag is still set: nothing goes out any more. */
    _cleanup_(http_response_clear) HttpResponse late = get(w, "GET", "/ok");
    assert_int_equal(late.err.kind, ERR_INTERRUPTED);
    assert_false(late.sent);
    w->stop = 0;
    _cleanup_(http_response_clear) HttpResponse again = get(w, "GET", "/ok");
    assert_int_equal(again.status, 200);
}

static void test_stop_graceful(void **state)
{
    World *w = *state;
    _cleanup_(http_response_clear) HttpResponse r = get(w, "POST", "/stop-ok");
    assert_int_equal(r.status, 200);
    assert_int_equal(w->stop, 1);
}

static volatile sig_atomic_t *alarm_flag;
static void on_alarm(int s)
{
    (void)s;
    *alarm_flag = 1;
}

/* As Ctrl-C does it: a signal in the middle of the wait. */
static void test_stop_signal(void **state)
{
    World *w = *state;
    struct sigaction old, act = {.sa_handler = on_alarm};
    alarm_flag = &w->stop;
    sigaction(SIGALRM, &act, &old);
    setitimer(ITIMER_REAL, &(struct itimerval){.it_value.tv_usec = 100000}, NULL);
    Msec start = time_mono();
    _cleanup_(http_response_clear) HttpResponse r = get(w, "POST", "/slow");
    sigaction(SIGALRM, &old, NULL);
    assert_int_equal(r.err.kind, ERR_INTERRUPTED);
    assert_true(r.sent);
    assert_true(time_mono() - start < 5 * SECOND);
}

static void test_trace(void **state)
{
    World *w = *state;
    _cleanup_(http_response_clear) HttpResponse r =
        get(w, "GET", "/ok?temp_url_sig=deadbeef&temp_url_expires=5&x=temp_url_sig=f00");
    char expected[256];
    snprintf(expected, sizeof expected,
             "GET http://127.0.0.1:%d/ok?temp_url_sig=...&temp_url_expires=5&x=temp_url_sig=...",
             w->peer->port);
    assert_int_equal(r.status, 200);
    assert_string_equal(w->shown, expected);
    _cleanup_(http_response_clear) HttpResponse none = {0};
    HttpRequest q = {.method = "GET", .url = "http://127.0.0.1:1/x?temp_url_sig=deadbeef"};
    http_perform(w->http, &q, &none, 1);
    assert_int_equal(none.err.kind, ERR_TEMPORARY);
    assert_null(strstr(none.err.text, "deadbeef"));
    assert_int_equal(w->status, 0);
}

/* A proxy in the environment is not for this machine's own addresses. */
static void test_proxy(void **state)
{
    World *w = *state;
    setenv("http_proxy", "http://127.0.0.1:1", 1);
    _cleanup_(http_response_clear) HttpResponse r = get(w, "GET", "/ok");
    assert_int_equal(r.status, 200);
    _cleanup_(http_response_clear) HttpResponse far = {0};
    HttpRequest q = {.method = "GET", .url = "http://192.0.2.1/", .timeout_ms = 5 * SECOND};
    http_perform(w->http, &q, &far, 1);
    unsetenv("http_proxy");
    assert_int_equal(far.err.kind, ERR_TEMPORARY);
    assert_non_null(strstr(far.err.text, "127.0.0.1"));
}

static void test_resolve(void **state)
{
    World *w = *state;
    char url[64], resolve[64];
    snprintf(url, sizeof url, "http://cloud.test:%d/ok", w->peer->port);
    snprintf(resolve, sizeof resolve, "cloud.test:%d:127.0.0.1", w->peer->port);
    _cleanup_(http_response_clear) HttpResponse r = {0};
    HttpRequest q = {.method = "GET", .url = url, .resolve = resolve};
    http_perform(w->http, &q, &r, 1);
    assert_int_equal(r.status, 200);
}

/* TLS against openssl's own server, with a certificate made here. */

static int free_port(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &n), 0);
    close(fd);
    return ntohs(a.sin_port);
}

static HttpResponse tls_get(const char *url, const char *ca_file, bool insecure)
{
    HttpResponse r = {0};
    HttpRequest q = {.method = "GET",
                     .url = url,
                     .timeout_ms = 5 * SECOND,
                     .ca_file = ca_file,
                     .insecure = insecure};
    _cleanup_(http_drop) Http *h = http_new(&(HttpOptions){0});
    http_perform(h, &q, &r, 1);
    return r;
}

static pid_t start_tls_server(const char *folder, int port)
{
    char accept[32];
    int status;
    snprintf(accept, sizeof accept, "127.0.0.1:%d", port);
    const char *const make[] = {"openssl",
                                "req",
                                "-x509",
                                "-newkey",
                                "ec",
                                "-pkeyopt",
                                "ec_paramgen_curve:P-256",
                                "-nodes",
                                "-keyout",
                                "key.pem",
                                "-out",
                                "cert.pem",
                                "-days",
                                "2",
                                "-subj",
                                "/CN=test",
                                "-addext",
                                "subjectAltName=IP:127.0.0.1",
                                NULL};
    _cleanup_(err_clear) Err err = {0};
    if (child_run(&(ChildSpec){.argv = make, .cwd = folder}, STR_LIT(""), 20 * SECOND, NULL,
                  &status, &err) < 0 ||
        status != 0)
        return -1;
    const char *const serve[] = {"openssl", "s_server", "-accept", accept,    "-www", "-quiet",
                                 "-cert",   "cert.pem", "-key",    "key.pem", NULL};
    pid_t pid;
    int null_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    int r = child_spawn(&(ChildSpec){.argv = serve,
                                     .cwd = folder,
                                     .out_fd = null_fd,
                                     .err_fd = null_fd,
                                     .die_with_parent = true},
                        &pid, &err);
    close(null_fd);
    return r < 0 ? -1 : pid;
}

static void test_tls(void **state)
{
    (void)state;
    char folder[] = "/tmp/atoll-tls.XXXXXX", url[64];
    assert_non_null(mkdtemp(folder));
    int port = free_port();
    pid_t pid = start_tls_server(folder, port);
    if (pid < 0) {
        assert_int_equal(file_remove_tree(folder, NULL), 0);
        skip();
    }
    snprintf(url, sizeof url, "https://127.0.0.1:%d/", port);
    _cleanup_free_ char *ca = path_join(folder, "cert.pem");
    HttpResponse good = {0};
    for (Msec end = time_mono() + 10 * SECOND; time_mono() < end && good.status == 0;) {
        http_response_clear(&good);
        good = tls_get(url, ca, false);
    }
    HttpResponse unknown = tls_get(url, NULL, false), insecure = tls_get(url, NULL, true);
    HttpResponse no_file = tls_get(url, "/nonexistent.pem", false);
    snprintf(url, sizeof url, "https://localhost:%d/", port);
    HttpResponse wrong_name = tls_get(url, ca, false);
    child_kill_tree(pid);
    waitpid(pid, NULL, 0);

    assert_int_equal(good.status, 200);
    assert_int_equal(insecure.status, 200);
    HttpResponse *const bad[] = {&unknown, &no_file, &wrong_name};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(bad[i]->err.kind, ERR_CONFIG);
        assert_non_null(strstr(bad[i]->err.hint, "cacert"));
        assert_false(bad[i]->sent);
        http_response_clear(bad[i]);
    }
    http_response_clear(&good);
    http_response_clear(&insecure);
    assert_int_equal(file_remove_tree(folder, NULL), 0);
}

#define WITH_PEER(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_PEER(test_answers),
        WITH_PEER(test_headers),
        WITH_PEER(test_request),
        WITH_PEER(test_bad_requests),
        WITH_PEER(test_failures),
        WITH_PEER(test_no_silent_repeat),
        WITH_PEER(test_stale_connection),
        WITH_PEER(test_not_sent),
        WITH_PEER(test_max_body),
        WITH_PEER(test_sink),
        WITH_PEER(test_upload),
        WITH_PEER(test_upload_made),
        WITH_PEER(test_parallel),
        WITH_PEER(test_mixed),
        WITH_PEER(test_stop),
        WITH_PEER(test_stop_graceful),
        WITH_PEER(test_stop_signal),
        WITH_PEER(test_trace),
        WITH_PEER(test_proxy),
        WITH_PEER(test_resolve),
        cmocka_unit_test(test_tls),
    };
    crypt_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
