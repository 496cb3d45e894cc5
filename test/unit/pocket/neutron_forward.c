/* The forwarder with real sockets on loopback. */
#include "pocket/neutron_forward.h"
#include "base/log.h"
#include "base/time.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cmocka.h>

#define FROM "127.78.91.3"
#define TO "127.79.91.5"
#define DEADLINE (10 * SECOND)

static struct sockaddr_in address(const char *text, int port)
{
    struct sockaddr_in s = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    inet_pton(AF_INET, text, &s.sin_addr);
    return s;
}

/* Reads of a test never hang. */
static int client_socket(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct timeval limit = {.tv_sec = DEADLINE / SECOND};
    assert_true(fd >= 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    return fd;
}

static int server_listen(const char *text, int *ret_port)
{
    int fd = client_socket(), on = 1;
    struct sockaddr_in s = address(text, *ret_port);
    socklen_t n = sizeof s;
    /* Or what a closed connection leaves behind would keep the address for a minute. */
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    assert_int_equal(bind(fd, (struct sockaddr *)&s, sizeof s), 0);
    assert_int_equal(listen(fd, 8), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&s, &n), 0);
    *ret_port = ntohs(s.sin_port);
    return fd;
}

/* Connects, or polls until something listens there. */
static int connect_to(const char *text, int port)
{
    struct sockaddr_in s = address(text, port);
    for (Msec end = time_mono() + DEADLINE; time_mono() < end; time_sleep(5)) {
        int fd = client_socket();
        if (connect(fd, (struct sockaddr *)&s, sizeof s) == 0)
            return fd;
        close(fd);
    }
    fail_msg("nobody listens on %s:%d", text, port);
    return -1;
}

static bool refused(const char *text, int port)
{
    struct sockaddr_in s = address(text, port);
    for (Msec end = time_mono() + DEADLINE; time_mono() < end; time_sleep(5)) {
        int fd = client_socket();
        int r = connect(fd, (struct sockaddr *)&s, sizeof s);
        close(fd);
        if (r < 0)
            return true;
    }
    return false;
}

static ForwardRoute route(int port)
{
    ForwardRoute r = {.port = port};
    snprintf(r.from, sizeof r.from, FROM);
    snprintf(r.to, sizeof r.to, TO);
    return r;
}

typedef struct Setup {
    Forward *f;
    int listener, port;
} Setup;

static Setup begin(void)
{
    Setup s = {0};
    s.listener = server_listen(TO, &s.port);
    assert_int_equal(forward_open(&s.f, NULL), 0);
    ForwardRoute r = route(s.port);
    forward_set(s.f, &r, 1);
    return s;
}

static void end(Setup *s)
{
    s->f = forward_close(s->f);
    close(s->listener);
}

/* The client ends its half; the server still answers. */
static void test_half_close(void **state)
{
    (void)state;
    Setup s = begin();
    char text[16] = {0};
    int client = connect_to(FROM, s.port), server = accept(s.listener, NULL, NULL);
    assert_int_equal(send(client, "question", 8, 0), 8);
    shutdown(client, SHUT_WR);
    assert_int_equal(recv(server, text, 8, MSG_WAITALL), 8);
    assert_string_equal(text, "question");
    assert_int_equal(recv(server, text, 1, 0), 0);
    assert_int_equal(send(server, "answer", 6, 0), 6);
    close(server);
    memset(text, 0, sizeof text);
    assert_int_equal(recv(client, text, sizeof text, MSG_WAITALL), 6);
    assert_string_equal(text, "answer");
    close(client);
    end(&s);
}

typedef struct Stream {
    int fd;
    size_t bytes;
} Stream;

static void *write_stream(void *arg)
{
    Stream *s = arg;
    unsigned char part[8192];
    for (size_t at = 0; at < s->bytes;) {
        size_t n = MIN(sizeof part, s->bytes - at);
        for (size_t i = 0; i < n; i++)
            part[i] = (unsigned char)((at + i) * 7 % 251);
        ssize_t sent = send(s->fd, part, n, MSG_NOSIGNAL);
        if (sent <= 0)
            break;
        at += (size_t)sent;
    }
    shutdown(s->fd, SHUT_WR);
    return NULL;
}

/* More than all buffers together, read slowly at first: nothing is lost or reordered. */
static void test_backpressure(void **state)
{
    (void)state;
    Setup s = begin();
    Stream out = {.bytes = (size_t)16 << 20};
    out.fd = connect_to(FROM, s.port);
    int server = accept(s.listener, NULL, NULL);
    pthread_t writer;
    assert_int_equal(pthread_create(&writer, NULL, write_stream, &out), 0);
    unsigned char part[4096];
    size_t at = 0;
    for (ssize_t n; (n = recv(server, part, sizeof part, 0)) > 0; at += (size_t)n)
        for (ssize_t i = 0; i < n; i++)
            if (part[i] != (unsigned char)((at + (size_t)i) * 7 % 251))
                fail_msg("byte %zu is wrong", at + (size_t)i);
    assert_int_equal(at, out.bytes);
    pthread_join(writer, NULL);
    close(server);
    close(out.fd);
    end(&s);
}

/* Taking the route away cuts what runs and refuses what comes. */
static void test_taken_away(void **state)
{
    (void)state;
    Setup s = begin();
    char byte;
    int client = connect_to(FROM, s.port), server = accept(s.listener, NULL, NULL);
    forward_set(s.f, NULL, 0);
    assert_true(recv(client, &byte, 1, 0) <= 0);
    assert_true(recv(server, &byte, 1, 0) <= 0);
    assert_true(refused(FROM, s.port));
    close(client);
    close(server);
    ForwardRoute r = route(s.port);
    forward_set(s.f, &r, 1);
    close(connect_to(FROM, s.port));
    end(&s);
    assert_true(refused(FROM, s.port));
}

/* Nobody listens on the server: the client sees a reset, and the forwarder goes on. */
static void test_refused(void **state)
{
    (void)state;
    Setup s = begin();
    char byte;
    close(s.listener);
    int client = connect_to(FROM, s.port);
    assert_true(recv(client, &byte, 1, 0) <= 0);
    close(client);
    s.listener = server_listen(TO, &s.port);
    client = connect_to(FROM, s.port);
    int server = accept(s.listener, NULL, NULL);
    assert_int_equal(send(client, "x", 1, 0), 1);
    assert_int_equal(recv(server, &byte, 1, 0), 1);
    close(server);
    close(client);
    end(&s);
}

/* An address that somebody else has is tried again. */
static void test_busy(void **state)
{
    (void)state;
    int port = 0;
    int busy = server_listen(FROM, &port);
    Setup s = {.port = port};
    s.listener = server_listen(TO, &s.port);
    assert_int_equal(forward_open(&s.f, NULL), 0);
    ForwardRoute r = route(s.port);
    forward_set(s.f, &r, 1);
    int wrong = connect_to(FROM, port);
    close(accept(busy, NULL, NULL));
    close(wrong);
    close(busy);
    int client = connect_to(FROM, port), server = accept(s.listener, NULL, NULL);
    assert_true(server >= 0);
    close(client);
    close(server);
    end(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_half_close), cmocka_unit_test(test_backpressure),
        cmocka_unit_test(test_taken_away), cmocka_unit_test(test_refused),
        cmocka_unit_test(test_busy),
    };
    log_init("test", LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
