/* A small scripted HTTP server for the test of http.c: what it does with a request is named by the
 * request's path. Threads of the test's own process, loopback, a port of its own.
 */
#pragma once
#include "base/time.h"
#include "io/crypt.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#define PEER_MAX_CONNECTIONS 256

typedef struct Peer Peer;
typedef struct PeerConn {
    Peer *peer;
    int fd;
    pthread_t thread;
} PeerConn;

struct Peer {
    int listen_fd, port;
    pthread_t thread;
    PeerConn conns[PEER_MAX_CONNECTIONS];
    size_t conns_n;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* Under the lock: */
    int requests, closed, waiting, most_waiting, barrier;
    char head[8192];    /* of the last request */
    char body_hash[65]; /* SHA-256 of its body */
    /* What /stop sets. */
    volatile sig_atomic_t *stop;
};

typedef struct PeerRequest {
    char method[16], path[256];
    char head[8192];
    int64_t length; /* of the body; -1: no Content-Length */
    char body_hash[65];
} PeerRequest;

static bool peer_send(int fd, const char *data, size_t n)
{
    while (n > 0) {
        ssize_t part = send(fd, data, n, MSG_NOSIGNAL);
        if (part <= 0)
            return false;
        data += part;
        n -= (size_t)part;
    }
    return true;
}

static bool peer_text(int fd, const char *text)
{
    return peer_send(fd, text, strlen(text));
}

/* One byte at a time up to the empty line: slow, and never too far. */
static bool peer_read_head(int fd, char *head, size_t max)
{
    size_t n = 0;
    while (n < max - 1) {
        if (recv(fd, head + n, 1, 0) != 1)
            return false;
        head[++n] = '\0';
        if (n >= 4 && memcmp(head + n - 4, "\r\n\r\n", 4) == 0)
            return true;
    }
    return false;
}

static bool peer_read_body(int fd, PeerRequest *q)
{
    static __thread char piece[64 << 10];
    Hasher *h = hasher_new(CRYPT_SHA256);
    Buf hex = BUF_INIT(BUF_MAX_LINE);

    for (int64_t left = q->length; left > 0;) {
        ssize_t n = recv(fd, piece, MIN((size_t)left, sizeof piece), 0);
        if (n <= 0) {
            hasher_free(h);
            return false;
        }
        hasher_add(h, piece, (size_t)n);
        left -= n;
    }
    hasher_end(h, &hex);
    memcpy(q->body_hash, hex.p, sizeof q->body_hash);
    buf_clear(&hex);
    return true;
}

static bool peer_read(int fd, PeerRequest *q)
{
    if (!peer_read_head(fd, q->head, sizeof q->head) ||
        sscanf(q->head, "%15s %255s", q->method, q->path) != 2)
        return false;
    const char *length = strcasestr(q->head, "\r\nContent-Length:");
    q->length = length ? strtoll(length + 17, NULL, 10) : -1;
    return peer_read_body(fd, q);
}

static void peer_note(Peer *p, const PeerRequest *q)
{
    pthread_mutex_lock(&p->lock);
    p->requests++;
    memcpy(p->head, q->head, sizeof p->head);
    memcpy(p->body_hash, q->body_hash, sizeof p->body_hash);
    pthread_mutex_unlock(&p->lock);
}

/* Until the client hangs up; the test's own deadline ends a client that does not. */
static void peer_until_hangup(int fd)
{
    char c;
    while (recv(fd, &c, 1, 0) > 0)
        ;
}

/* Answers only when `barrier` requests are here at once, or after 5 s without. */
static void peer_barrier(Peer *p)
{
    struct timespec end;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += 5;
    pthread_mutex_lock(&p->lock);
    p->waiting++;
    p->most_waiting = MAX(p->most_waiting, p->waiting);
    pthread_cond_broadcast(&p->changed);
    while (p->most_waiting < p->barrier)
        if (pthread_cond_timedwait(&p->changed, &p->lock, &end) != 0)
            break;
    p->waiting--;
    pthread_mutex_unlock(&p->lock);
}

static bool peer_ok(int fd, const PeerRequest *q)
{
    return peer_text(fd, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n"
                         "X-Openstack-Request-Id: req-77\r\nX-Empty:\r\n\r\n") &&
           (streq(q->method, "HEAD") || peer_text(fd, "hello"));
}

static bool peer_big(int fd)
{
    char *body = xcalloc(100000, 1);
    bool ok = peer_text(fd, "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n") &&
              peer_send(fd, body, 100000);
    free(body);
    return ok;
}

/* Every path that sends the same bytes and goes on or closes. */
static const struct {
    const char *path, *answer;
    bool close;
} peer_fixed[] = {
    {"/missing", "HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnope", false},
    {"/nothing", "HTTP/1.1 204 No Content\r\n\r\n", false},
    {"/early",
     "HTTP/1.1 103 Early Hints\r\nX-Early: 1\r\n\r\nHTTP/1.1 201 Created\r\n"
     "Content-Length: 0\r\nX-Trans-Id: tx5\r\n\r\n",
     false},
    {"/early-cut", "HTTP/1.1 103 Early Hints\r\nX-Early: 1\r\n\r\n", true},
    {"/trailer",
     "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n"
     "3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n",
     false},
    {"/moved", "HTTP/1.1 301 Moved\r\nLocation: /ok\r\nContent-Length: 0\r\n\r\n", false},
    {"/close", "", true},
    {"/half", "HTTP/1.1 200 OK\r\nContent-Le", true},
    {"/short", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345", true},
    {"/chunk-cut", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n", true},
    {"/chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
     false},
    {"/garbage", "hello, this is not HTTP\r\n", true},
    {"/ok-then-close", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", true},
};

/* True if the connection goes on. */
static bool peer_answer(Peer *p, int fd, const PeerRequest *q)
{
    for (size_t i = 0; i < ARRAY_LEN(peer_fixed); i++)
        if (streq(q->path, peer_fixed[i].path))
            return peer_text(fd, peer_fixed[i].answer) && !peer_fixed[i].close;
    if (streq(q->path, "/reset")) {
        struct linger hard = {1, 0};
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
        return false;
    }
    if (streq(q->path, "/slow")) {
        peer_until_hangup(fd);
        return false;
    }
    if (streq(q->path, "/stop-slow") || streq(q->path, "/stop-ok"))
        *p->stop = 1;
    if (streq(q->path, "/stop-slow")) {
        peer_until_hangup(fd);
        return false;
    }
    if (streq(q->path, "/barrier"))
        peer_barrier(p);
    return streq(q->path, "/big") ? peer_big(fd) : peer_ok(fd, q);
}

static void *peer_serve(void *user)
{
    PeerConn *c = user;
    PeerRequest *q = NEW(PeerRequest);

    while (peer_read(c->fd, q)) {
        peer_note(c->peer, q);
        if (!peer_answer(c->peer, c->fd, q))
            break;
    }
    free(q);
    close(c->fd);
    pthread_mutex_lock(&c->peer->lock);
    c->fd = -1;
    c->peer->closed++;
    pthread_cond_broadcast(&c->peer->changed);
    pthread_mutex_unlock(&c->peer->lock);
    return NULL;
}

static void *peer_accept(void *user)
{
    Peer *p = user;
    int fd;
    while ((fd = accept4(p->listen_fd, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
        pthread_mutex_lock(&p->lock);
        BUG_IF(p->conns_n >= PEER_MAX_CONNECTIONS);
        PeerConn *c = &p->conns[p->conns_n++];
        *c = (PeerConn){.peer = p, .fd = fd};
        pthread_mutex_unlock(&p->lock);
        BUG_IF(pthread_create(&c->thread, NULL, peer_serve, c) != 0);
    }
    return NULL;
}

static Peer *peer_start(void)
{
    Peer *p = NEW(Peer);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;

    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->changed, NULL);
    p->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    BUG_IF(bind(p->listen_fd, (struct sockaddr *)&a, sizeof a) < 0);
    BUG_IF(listen(p->listen_fd, 128) < 0);
    BUG_IF(getsockname(p->listen_fd, (struct sockaddr *)&a, &n) < 0);
    p->port = ntohs(a.sin_port);
    BUG_IF(pthread_create(&p->thread, NULL, peer_accept, p) != 0);
    return p;
}

/* Waits until the server has closed `n` connections. */
static bool peer_wait_closed(Peer *p, int n)
{
    struct timespec end;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += 5;
    pthread_mutex_lock(&p->lock);
    while (p->closed < n && pthread_cond_timedwait(&p->changed, &p->lock, &end) == 0)
        ;
    bool ok = p->closed >= n;
    pthread_mutex_unlock(&p->lock);
    return ok;
}

static void peer_stop(Peer *p)
{
    shutdown(p->listen_fd, SHUT_RDWR);
    pthread_join(p->thread, NULL);
    close(p->listen_fd);
    for (size_t i = 0; i < p->conns_n; i++) {
        pthread_mutex_lock(&p->lock);
        if (p->conns[i].fd >= 0)
            shutdown(p->conns[i].fd, SHUT_RDWR);
        pthread_mutex_unlock(&p->lock);
        pthread_join(p->conns[i].thread, NULL);
    }
    pthread_mutex_destroy(&p->lock);
    pthread_cond_destroy(&p->changed);
    free(p);
}
