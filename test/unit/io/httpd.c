/* The server against a plain socket: what goes over the wire is what counts. */
#include "io/httpd.h"
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

/* What the handler saw; one request at a time in these tests. */
typedef struct Seen {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    Httpd *httpd;
    int port;
    int begins, ends, closes;
    bool sent, gone;
    int64_t bytes; /* of bodies */
    size_t largest_part;
    char *target, *query, *x, *peer;
    int64_t body_size;
} Seen;

static void on_begin(HttpdCall *c)
{
    Seen *s = c->user;
    pthread_mutex_lock(&s->lock);
    s->begins++;
    s->bytes = 0;
    free(s->target);
    free(s->query);
    free(s->x);
    free(s->peer);
    s->target = xstrdup(c->target);
    s->query = xstrdup(c->query);
    s->peer = xstrdup(c->peer);
    const char *x = httpd_header(c, "x-TEST");
    s->x = x ? xstrdup(x) : NULL;
    s->body_size = c->body_size;
    pthread_mutex_unlock(&s->lock);
    if (streq(c->target, "/refuse")) {
        c->reply.status = 403;
        buf_str(&c->reply.body, "no");
        c->answered = true;
    }
}

static bool on_body(HttpdCall *c, Str part)
{
    Seen *s = c->user;
    s->bytes += (int64_t)part.n;
    s->largest_part = MAX(s->largest_part, part.n);
    return !streq(c->target, "/enough") || s->bytes < 10;
}

static void reply_file(HttpdCall *c)
{
    char path[] = "/tmp/atoll-httpd-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    unlink(path);
    assert_int_equal(write(fd, "0123456789", 10), 10);
    httpd_reply_file(c, fd, 2, 3);
    vec_push(&c->reply.pieces, (HttpdPiece){.text = xstrdup("-and-"), .size = 5});
    httpd_reply_file(c, fd, 8, 2);
}

static void on_end(HttpdCall *c)
{
    Seen *s = c->user;
    c->reply.status = 200;
    strlist_add(&c->reply.headers, "X-Answer: yes");
    if (streq(c->target, "/file"))
        reply_file(c);
    else if (streq(c->target, "/cut"))
        c->reply.cut_at = 4;
    else if (streq(c->target, "/drop"))
        c->reply.drop = true;
    if (streq(c->target, "/wait"))
        for (int i = 0; i < 5000 && !httpd_gone(c); i++)
            (void)poll(NULL, 0, 2);
    if (!streq(c->target, "/file"))
        buf_printf(&c->reply.body, "%s %lld", c->method, (long long)s->bytes);
    pthread_mutex_lock(&s->lock);
    s->ends++;
    s->gone = httpd_gone(c);
    pthread_mutex_unlock(&s->lock);
}

static void on_close(HttpdCall *c, bool sent)
{
    Seen *s = c->user;
    pthread_mutex_lock(&s->lock);
    s->closes++;
    s->sent = sent;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

static const HttpdHandler handler = {on_begin, on_body, on_end, on_close};

static int setup(void **state)
{
    Seen *s = NEW(Seen);
    int fd;
    (void)signal(SIGPIPE, SIG_IGN);
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->changed, NULL);
    assert_int_equal(httpd_listen("127.0.0.1", 0, &fd, &s->port, NULL), 0);
    assert_int_equal(httpd_start(fd, &handler, s, &s->httpd, NULL), 0);
    *state = s;
    return 0;
}

static int teardown(void **state)
{
    Seen *s = *state;
    s->httpd = httpd_stop(s->httpd);
    assert_int_equal(s->begins, s->closes);
    free(s->target);
    free(s->query);
    free(s->x);
    free(s->peer);
    free(s);
    return 0;
}

static int connect_to(const Seen *s)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)s->port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct timeval limit = {.tv_sec = 10};
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    return fd;
}

static void send_all(int fd, const char *p, size_t n)
{
    while (n > 0) {
        ssize_t w = send(fd, p, n, MSG_NOSIGNAL);
        assert_true(w > 0);
        p += w;
        n -= (size_t)w;
    }
}

static void send_text(int fd, const char *text)
{
    send_all(fd, text, strlen(text));
}

/* Reads one answer: head, and as much body as Content-Length says (none for `head`). Returns errno
 * if the connection broke before. */
static int read_answer(int fd, bool head, Buf *out)
{
    buf_truncate(out, 0);
    for (;;) {
        char *end = strstr(out->p, "\r\n\r\n");
        const char *length = end ? strcasestr(out->p, "Content-Length: ") : NULL;
        size_t want = end ? (size_t)(end + 4 - out->p) : SIZE_MAX;
        if (length && length < end && !head)
            want += (size_t)strtoul(length + 16, NULL, 10);
        if (out->len >= want)
            return 0;
        char c;
        ssize_t n = recv(fd, &c, 1, 0);
        if (n <= 0)
            return n == 0 ? ESHUTDOWN : errno;
        buf_char(out, c);
    }
}

static void assert_answer(int fd, bool head, const char *status, const char *body)
{
    _cleanup_(buf_clear) Buf b = BUF_INIT(BUF_MAX_BODY);
    assert_int_equal(read_answer(fd, head, &b), 0);
    if (!strstr(b.p, status) || !ends_with(b.p, body))
        fail_msg("answer: %s", b.p);
}

/* Several requests on one connection: an answer in MHD's first call would close it. */
static void test_keep_alive(void **state)
{
    Seen *s = *state;
    int fd = connect_to(s);
    send_text(fd, "GET /a%2Fb/%C3%A9?x=%20&y HTTP/1.1\r\nHost: x\r\nX-Test:  v \r\n\r\n");
    assert_answer(fd, false, "200 OK", "GET 0");
    assert_string_equal(s->target, "/a%2Fb/%C3%A9");
    assert_string_equal(s->query, "x=%20&y");
    assert_string_equal(s->x, "v");
    assert_string_equal(s->peer, "127.0.0.1");
    send_text(fd, "PUT /p HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhel");
    send_text(fd, "lo");
    assert_answer(fd, false, "200 OK", "PUT 5");
    assert_int_equal(s->body_size, 5);
    send_text(fd, "PUT /p HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                  "3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n");
    assert_answer(fd, false, "200 OK", "PUT 7");
    assert_int_equal(s->body_size, -1);
    send_text(fd, "HEAD /h HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_answer(fd, true, "Content-Length: 6", "\r\n\r\n");
    send_text(fd, "GET /last HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_answer(fd, false, "X-Answer: yes", "GET 0");
    close(fd);
    assert_int_equal(s->begins, 5);
}

static void test_refusal(void **state)
{
    Seen *s = *state;
    int fd = connect_to(s);
    /* Without Expect the body is read and thrown away, and the connection lives on. */
    send_text(fd, "PUT /refuse HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello");
    assert_answer(fd, false, "403 Forbidden", "no");
    send_text(fd, "PUT /enough HTTP/1.1\r\nHost: x\r\nContent-Length: 30\r\n\r\n0123456789");
    send_text(fd, "01234567890123456789");
    assert_answer(fd, false, "200 OK", "");
    /* With it the answer comes instead of "100 Continue". */
    send_text(fd, "PUT /refuse HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n"
                  "Expect: 100-continue\r\n\r\n");
    assert_answer(fd, false, "403 Forbidden", "no");
    close(fd);
    assert_int_equal(s->ends, 1);
}

static void test_file(void **state)
{
    Seen *s = *state;
    int fd = connect_to(s);
    send_text(fd, "GET /file HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_answer(fd, false, "Content-Length: 10", "234-and-89");
    send_text(fd, "HEAD /file HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_answer(fd, true, "Content-Length: 10", "\r\n\r\n");
    close(fd);
}

static void test_large_body(void **state)
{
    Seen *s = *state;
    int fd = connect_to(s);
    size_t block = 1 << 20;
    _cleanup_free_ char *data = xcalloc(1, block);
    send_text(fd, "PUT /big HTTP/1.1\r\nHost: x\r\nContent-Length: 67108864\r\n\r\n");
    for (int i = 0; i < 64; i++)
        send_all(fd, data, block);
    assert_answer(fd, false, "200 OK", "PUT 67108864");
    assert_in_range(s->largest_part, 1, 64 << 10);
    close(fd);
}

static void test_faults(void **state)
{
    Seen *s = *state;
    _cleanup_(buf_clear) Buf b = BUF_INIT(BUF_MAX_BODY);
    int fd = connect_to(s);
    send_text(fd, "GET /drop HTTP/1.1\r\nHost: x\r\n\r\n");
    int r = read_answer(fd, false, &b);
    assert_true(r == ECONNRESET || r == ESHUTDOWN);
    assert_int_equal(b.len, 0);
    close(fd);
    fd = connect_to(s);
    send_text(fd, "PUT /cut HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx");
    r = read_answer(fd, false, &b);
    assert_true(r == ECONNRESET || r == ESHUTDOWN);
    if (b.len > 0) { /* a reset may overtake what was on its way */
        assert_non_null(strstr(b.p, "Content-Length: 5"));
        assert_null(strstr(b.p, "PUT 1"));
    }
    close(fd);
}

static void wait_closes(Seen *s, int n)
{
    struct timespec end;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += 10;
    pthread_mutex_lock(&s->lock);
    int r = 0;
    while (s->closes < n && r == 0)
        r = pthread_cond_timedwait(&s->changed, &s->lock, &end);
    pthread_mutex_unlock(&s->lock);
    assert_int_equal(r, 0);
}

/* A client that leaves: half way through its body, and while the handler waits. */
static void test_disconnect(void **state)
{
    Seen *s = *state;
    int fd = connect_to(s);
    send_text(fd, "PUT /half HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf");
    close(fd);
    wait_closes(s, 1);
    assert_int_equal(s->ends, 0);
    assert_false(s->sent);
    fd = connect_to(s);
    send_text(fd, "GET /wait HTTP/1.1\r\nHost: x\r\n\r\n");
    close(fd);
    wait_closes(s, 2);
    assert_true(s->gone);
}

static void test_bad_requests(void **state)
{
    Seen *s = *state;
    int fd = connect_to(s);
    _cleanup_(buf_clear) Buf b = BUF_INIT(BUF_MAX_BODY);
    buf_str(&b, "GET / HTTP/1.1\r\nHost: x\r\nX-Long: ");
    for (int i = 0; i < 90000; i++)
        buf_char(&b, 'x');
    buf_str(&b, "\r\n\r\n");
    /* The server may close before all of it is sent. */
    (void)!send(fd, b.p, b.len, MSG_NOSIGNAL);
    int r = read_answer(fd, false, &b);
    assert_true(r != 0 || strstr(b.p, "431") || strstr(b.p, "413"));
    close(fd);
    fd = connect_to(s);
    send_text(fd, "nonsense\r\n\r\n");
    r = read_answer(fd, false, &b);
    assert_true(r != 0 || strstr(b.p, "400"));
    close(fd);
    assert_int_equal(s->begins, 0);
}

static void test_listen(void **state)
{
    Seen *s = *state;
    _cleanup_(err_clear) Err err = {0};
    int fd, port;
    assert_int_equal(httpd_listen("127.0.0.1", s->port, &fd, &port, &err), -ERR_CONFLICT);
    assert_int_equal(httpd_listen("localhost", 0, &fd, &port, &err), -ERR_USAGE);
    assert_int_equal(httpd_listen("192.0.2.1", 0, &fd, &port, &err), -ERR_IO);
    assert_int_equal(httpd_listen("::1", 0, &fd, &port, &err), 0);
    close(fd);
    assert_null(httpd_stop(NULL));
    /* Stopping cuts a handler's client, and the port is free at once. */
    int client = connect_to(s);
    send_text(client, "PUT /half HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf");
    s->httpd = httpd_stop(s->httpd);
    close(client);
    assert_int_equal(httpd_listen("127.0.0.1", s->port, &fd, &port, &err), 0);
    close(fd);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_keep_alive),   CASE(test_refusal), CASE(test_file),
        CASE(test_large_body),   CASE(test_faults),  CASE(test_disconnect),
        CASE(test_bad_requests), CASE(test_listen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
