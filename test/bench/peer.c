#include "bench/peer.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/un.h>
#include <unistd.h>

enum { BUFFER = 1 << 18, OP_TEXT = 1, OP_CLOSE = 8, OP_PING = 9, OP_PONG = 10 };

double peer_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void fill_address(Peers *p, const char *text)
{
    const char *colon = strrchr(text, ':');
    int64_t port;

    if (text[0] == '/') {
        struct sockaddr_un *u = (struct sockaddr_un *)(void *)&p->address;
        u->sun_family = AF_UNIX;
        (void)snprintf(u->sun_path, sizeof u->sun_path, "%s", text);
        p->address_len = sizeof *u;
        return;
    }
    struct sockaddr_in *in = (struct sockaddr_in *)(void *)&p->address;
    in->sin_family = AF_INET;
    p->address_len = sizeof *in;
    _cleanup_free_ char *host = xstrndup(text, colon ? (size_t)(colon - text) : 0);
    if (!colon || !parse_int(colon + 1, 1, 65535, &port) ||
        inet_pton(AF_INET, host, &in->sin_addr) != 1) {
        (void)fprintf(stderr, "no address: %s (127.0.0.1:4000 or the path of a socket)\n", text);
        exit(2);
    }
    in->sin_port = htons((uint16_t)port);
}

void peers_init(Peers *p, const char *address)
{
    struct rlimit limit;

    fill_address(p, address);
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit); /* what is too many is seen when it fails */
    }
    p->epoll = epoll_create1(EPOLL_CLOEXEC);
    BUG_IF(p->epoll < 0);
    p->buffer = xcalloc(1, BUFFER);
}

void peers_clear(Peers *p)
{
    (void)close(p->epoll);
    free(p->buffer);
}

static void watch(Peers *p, int fd, uint32_t events, void *what)
{
    struct epoll_event e = {.events = events, .data.ptr = what};
    if (epoll_ctl(p->epoll, EPOLL_CTL_MOD, fd, &e) < 0)
        BUG_IF(epoll_ctl(p->epoll, EPOLL_CTL_ADD, fd, &e) < 0);
}

/* Peers are told from others by the lowest bit, which no pointer has. */
void peers_watch(Peers *p, int fd, void *what)
{
    watch(p, fd, EPOLLIN, (void *)((uintptr_t)what | 1));
}

void peers_forget(Peers *p, int fd)
{
    (void)epoll_ctl(p->epoll, EPOLL_CTL_DEL, fd, NULL);
}

char *peer_request(const char *token, uint32_t number, const char *path, bool sse)
{
    return xasprintf(
        "GET %s HTTP/1.1\r\nHost: stream.example\r\nAuthorization: Bearer %s%u\r\n"
        "X-Forwarded-For: 10.%u.%u.%u\r\n%s\r\n",
        path, token, number, number >> 16 & 255, number >> 8 & 255, number & 255,
        sse ? ""
            : "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
              "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n");
}

bool peer_open(Peers *p, Peer *peer, const char *request)
{
    int fd = socket(p->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;

    if (fd < 0)
        return false;
    if (p->address.ss_family == AF_INET)
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    /* On loopback a connection is made or refused at once, but for a full backlog. */
    if (connect(fd, (struct sockaddr *)(void *)&p->address, p->address_len) < 0 &&
        errno != EINPROGRESS) {
        (void)close(fd);
        return false;
    }
    peer->fd = fd;
    peer->state = PEER_CONNECTING;
    peer->start_len = 0;
    peer->head_len = 0;
    peer->left = 0;
    if (peer_write(peer, request, strlen(request)))
        peer->state = PEER_ASKED;
    watch(p, fd, peer->state == PEER_ASKED ? EPOLLIN : EPOLLOUT, peer);
    return true;
}

bool peer_write(Peer *peer, const void *bytes, size_t len)
{
    return send(peer->fd, bytes, len, MSG_NOSIGNAL) == (ssize_t)len;
}

bool peer_send(Peer *peer, int opcode, const char *text, size_t len)
{
    unsigned char frame[6 + 125];

    BUG_IF(len > 125);
    frame[0] = (unsigned char)(0x80 | opcode);
    frame[1] = (unsigned char)(0x80 | len);
    memset(frame + 2, 0, 4); /* a mask of zeros is a mask */
    if (len)
        memcpy(frame + 6, text, len);
    return peer_write(peer, frame, 6 + len);
}

void peer_close(Peer *peer)
{
    if (peer->state != PEER_NONE)
        (void)close(peer->fd);
    peer->state = PEER_NONE;
}

void peer_reset(Peer *peer)
{
    struct linger now = {.l_onoff = 1};
    if (peer->state != PEER_NONE)
        (void)setsockopt(peer->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    peer_close(peer);
}

static void ended(Peers *p, Peer *peer, const char *why)
{
    peer_close(peer);
    if (p->on_end)
        p->on_end(p, peer, why);
}

/* How many bytes the frame's header has, as far as its first two say it. */
static size_t header_size(const Peer *peer)
{
    if (peer->head_len < 2)
        return 2;
    int n = peer->head[1] & 0x7f;
    return n == 127 ? 10 : n == 126 ? 4 : 2;
}

static void begin_frame(Peer *peer)
{
    size_t size = header_size(peer);

    peer->opcode = peer->head[0] & 15;
    peer->size = size == 2 ? peer->head[1] & 0x7f : 0;
    for (size_t i = 2; i < size; i++)
        peer->size = peer->size << 8 | peer->head[i];
    peer->left = peer->size;
    peer->start_len = 0;
}

static bool frame_done(Peers *p, Peer *peer)
{
    peer->head_len = 0;
    if (peer->opcode == OP_TEXT && p->on_message) {
        p->on_message(p, peer);
    } else if (peer->opcode == OP_PING) {
        (void)peer_send(peer, OP_PONG, peer->start, MIN(peer->start_len, 125));
    } else if (peer->opcode == OP_CLOSE) {
        ended(p, peer, "close frame");
    }
    return peer->state == PEER_OPEN;
}

static size_t keep(Peer *peer, const char *data, size_t len)
{
    size_t n = MIN(len, sizeof peer->start - 1 - peer->start_len);
    memcpy(peer->start + peer->start_len, data, n);
    peer->start_len = (uint16_t)(peer->start_len + n);
    peer->start[peer->start_len] = 0;
    return n;
}

/* The answer's head; what is behind it, or -1 when the peer is at its end. */
static ssize_t answer(Peers *p, Peer *peer, const char *data, size_t len)
{
    size_t used = 0;
    int64_t status = 0;

    while (used < len) {
        used += keep(peer, data + used, 1);
        if (ends_with(peer->start, "\r\n\r\n"))
            break;
        if (peer->start_len == sizeof peer->start - 1) {
            /* Of a longer head only the beginning and the end are kept. */
            memmove(peer->start + 100, peer->start + 200, peer->start_len - 200U);
            peer->start_len = (uint16_t)(peer->start_len - 100);
        }
    }
    if (!ends_with(peer->start, "\r\n\r\n"))
        return (ssize_t)used;
    _cleanup_free_ char *number = xstrndup(peer->start_len > 12 ? peer->start + 9 : "", 3);
    if (!parse_int(number, 100, 599, &status))
        status = 0;
    peer->state = PEER_OPEN;
    peer->start_len = 0;
    p->on_open(p, peer, (int)status);
    return peer->state == PEER_OPEN ? (ssize_t)used : -1;
}

static void consume(Peers *p, Peer *peer, const char *data, size_t len)
{
    while (len) {
        if (peer->state == PEER_ASKED) {
            ssize_t n = answer(p, peer, data, len);
            if (n < 0)
                return;
            data += n;
            len -= (size_t)n;
            continue;
        }
        if (peer->sse)
            return;
        if (peer->head_len < header_size(peer)) {
            peer->head[peer->head_len++] = (uint8_t)*data++;
            len--;
            if (peer->head_len < header_size(peer))
                continue;
            begin_frame(peer);
        } else {
            size_t n = MIN(len, peer->left);
            if (peer->start_len < sizeof peer->start - 1)
                (void)keep(peer, data, n);
            data += n;
            len -= n;
            peer->left -= n;
        }
        if (!peer->left && peer->head_len >= 2 && peer->head_len == header_size(peer) &&
            !frame_done(p, peer))
            return;
    }
}

static void readable(Peers *p, Peer *peer)
{
    if (peer->state == PEER_CONNECTING) {
        /* Its request waited for the connection: the caller sends it again by on_open(0). */
        p->on_open(p, peer, 0);
        if (peer->state == PEER_ASKED)
            watch(p, peer->fd, EPOLLIN, peer);
        return;
    }
    ssize_t n = recv(peer->fd, p->buffer, BUFFER, 0);
    if (n > 0) {
        p->bytes += (uint64_t)n;
        consume(p, peer, p->buffer, (size_t)n);
    } else if (n == 0) {
        ended(p, peer, "end of the stream");
    } else if (errno != EAGAIN && errno != EINTR) {
        ended(p, peer, strerror(errno));
    }
}

void peers_turn(Peers *p, double seconds)
{
    struct epoll_event events[256];
    struct timespec t = {.tv_sec = (time_t)MAX(seconds, 0)};

    t.tv_nsec = (long)((MAX(seconds, 0) - (double)t.tv_sec) * 1e9);
    int n = epoll_pwait2(p->epoll, events, ARRAY_LEN(events), &t, NULL);

    for (int i = 0; i < n; i++) {
        uintptr_t what = (uintptr_t)events[i].data.ptr;
        if (what & 1) {
            p->on_other(p, (void *)(what & ~(uintptr_t)1));
            continue;
        }
        Peer *peer = events[i].data.ptr;
        if (peer->state != PEER_NONE)
            readable(p, peer);
    }
}
