#include "pocket/neutron_forward.h"
#include "base/log.h"
#include "base/time.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONNECTIONS_MAX 256
#define PART_BYTES ((size_t)16 << 10)
#define BIND_RETRY SECOND
#define SETTLE_WAIT (2 * SECOND)

/* Bytes on their way from one socket to the other. */
typedef struct Half {
    int from, to;
    size_t start, len;
    bool eof;  /* `from` has ended */
    bool shut; /* and `to` was told */
    char part[PART_BYTES];
} Half;

typedef struct Connection {
    ForwardRoute route;
    int client, server;
    bool connecting;
    Half up, down; /* client to server, server to client */
} Connection;

typedef struct Listener {
    ForwardRoute route;
    int fd;        /* -1: not bound */
    Msec retry_at; /* 0: never again */
    bool wanted;   /* for the comparison with a new set */
    bool said;     /* the log has it */
} Listener;

struct Forward {
    pthread_t thread;
    int wake; /* eventfd */
    pthread_mutex_t lock;
    /* Under the lock. */
    ForwardRoutes next;
    bool changed, ending;
    uint64_t asked, applied; /* sets */
    /* The thread's own. */
    VEC(Listener) listeners;
    VEC(Connection *) connections;
    VEC(struct pollfd) polls;
};

static bool same_listener(const ForwardRoute *a, const ForwardRoute *b)
{
    return a->port == b->port && streq(a->from, b->from) && streq(a->netns, b->netns);
}

static bool same_route(const ForwardRoute *a, const ForwardRoute *b)
{
    return same_listener(a, b) && streq(a->to, b->to);
}

static struct sockaddr_in socket_address(const char *address, int port)
{
    struct sockaddr_in s = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    (void)inet_pton(AF_INET, address, &s.sin_addr);
    return s;
}

/* A socket stays in the namespace in which it was made: the thread is there for this moment only.
 */
static int socket_in(const char *netns)
{
    int fd = -1;
    if (!*netns)
        return socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int here = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    int there = open(netns, O_RDONLY | O_CLOEXEC);
    if (here >= 0 && there >= 0 && setns(there, CLONE_NEWNET) == 0) {
        fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        BUG_IF(setns(here, CLONE_NEWNET) < 0);
    }
    if (here >= 0)
        close(here);
    if (there >= 0)
        close(there);
    return fd;
}

static void listener_bind(Listener *l)
{
    struct sockaddr_in s = socket_address(l->route.from, l->route.port);
    int fd = socket_in(l->route.netns), on = 1;
    if (fd >= 0)
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (fd >= 0 && bind(fd, (struct sockaddr *)&s, sizeof s) == 0 && listen(fd, 128) == 0) {
        l->fd = fd;
        if (!*l->route.netns)
            log_info("floating IP %s:%d forwards to %s", l->route.from, l->route.port, l->route.to);
        return;
    }
    l->retry_at = errno == EACCES ? 0 : time_mono() + BIND_RETRY;
    if (!l->said)
        log_warn("floating IP %s:%d is not forwarded: %m", l->route.from, l->route.port);
    l->said = true;
    if (fd >= 0)
        close(fd);
}

/* `reset`: the peers see an error, not an end. */
static void connection_close(Connection *c, bool reset)
{
    struct linger linger = {.l_onoff = 1, .l_linger = 0};
    if (reset) {
        (void)setsockopt(c->client, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
        (void)setsockopt(c->server, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    }
    close(c->client);
    close(c->server);
    free(c);
}

static void listener_accept(Forward *f, const Listener *l)
{
    int client = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (client < 0)
        return;
    struct sockaddr_in s = socket_address(l->route.to, l->route.port);
    int server = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    Connection *c = NEW(Connection);
    *c = (Connection){.route = l->route, .client = client, .server = server};
    c->up.from = c->down.to = client;
    c->up.to = c->down.from = server;
    c->connecting = true;
    if (server < 0 ||
        (connect(server, (struct sockaddr *)&s, sizeof s) < 0 && errno != EINPROGRESS)) {
        connection_close(c, true);
        return;
    }
    vec_push(&f->connections, c);
}

/* Reads what there is room for and writes what there is. False: the connection is broken. */
static bool half_copy(Half *h)
{
    if (!h->eof && h->len == 0) {
        ssize_t n = recv(h->from, h->part, sizeof h->part, 0);
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            return false;
        h->eof = n == 0;
        h->start = 0;
        h->len = n > 0 ? (size_t)n : 0;
    }
    if (h->len > 0) {
        ssize_t n = send(h->to, h->part + h->start, h->len, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            return false;
        h->start += n > 0 ? (size_t)n : 0;
        h->len -= n > 0 ? (size_t)n : 0;
    }
    if (h->eof && h->len == 0 && !h->shut) {
        (void)shutdown(h->to, SHUT_WR);
        h->shut = true;
    }
    return true;
}

/* One turn after something happened. False: it is over and was closed. */
static bool connection_turn(Connection *c)
{
    if (c->connecting) {
        int error = 0;
        socklen_t n = sizeof error;
        (void)getsockopt(c->server, SOL_SOCKET, SO_ERROR, &error, &n);
        if (error != 0) {
            connection_close(c, true);
            return false;
        }
        c->connecting = false;
    }
    bool ok = half_copy(&c->up) && half_copy(&c->down);
    if (ok && !(c->up.shut && c->down.shut))
        return true;
    connection_close(c, !ok);
    return false;
}

static const ForwardRoute *find_route(const ForwardRoutes *routes, const ForwardRoute *r)
{
    for (size_t i = 0; i < routes->len; i++)
        if (same_route(&routes->items[i], r))
            return &routes->items[i];
    return NULL;
}

/* A floating IP that moves listens on: who is about to connect gets there, a moment later. */
static void retarget(Listener *l, const ForwardRoutes *next)
{
    for (size_t i = 0; i < next->len; i++) {
        const ForwardRoute *r = &next->items[i];
        if (same_listener(r, &l->route) && !streq(r->to, l->route.to)) {
            l->route = *r;
            if (l->fd >= 0 && !*r->netns)
                log_info("floating IP %s:%d forwards to %s", r->from, r->port, r->to);
        }
    }
}

/* Makes listeners and connections agree with a new set. */
static void apply(Forward *f, const ForwardRoutes *next)
{
    for (size_t i = 0; i < f->listeners.len; i++)
        retarget(&f->listeners.items[i], next);
    for (size_t i = f->listeners.len; i-- > 0;) {
        if (find_route(next, &f->listeners.items[i].route))
            continue;
        if (f->listeners.items[i].fd >= 0)
            close(f->listeners.items[i].fd);
        vec_remove(&f->listeners, i);
    }
    for (size_t i = f->connections.len; i-- > 0;) {
        if (find_route(next, &f->connections.items[i]->route))
            continue;
        connection_close(f->connections.items[i], true);
        vec_remove(&f->connections, i);
    }
    for (size_t i = 0; i < next->len; i++) {
        bool have = false;
        for (size_t j = 0; j < f->listeners.len; j++)
            have = have || same_route(&f->listeners.items[j].route, &next->items[i]);
        if (have)
            continue;
        vec_push(&f->listeners, (Listener){.route = next->items[i], .fd = -1});
        listener_bind(vec_last(&f->listeners));
    }
}

/* A descriptor without interest is left out (-1): a hang-up there would wake us for ever. */
static struct pollfd poll_of(int fd, bool in, bool out)
{
    short events = (short)((in ? POLLIN : 0) | (out ? POLLOUT : 0));
    return (struct pollfd){.fd = events ? fd : -1, .events = events};
}

/* Fills f->polls: the eventfd, the listeners, two a connection. Returns the timeout. */
static int prepare(Forward *f)
{
    Msec now = time_mono();
    int timeout = -1;
    bool room = f->connections.len < CONNECTIONS_MAX;
    f->polls.len = 0;
    vec_push(&f->polls, poll_of(f->wake, true, false));
    for (size_t i = 0; i < f->listeners.len; i++) {
        Listener *l = &f->listeners.items[i];
        if (l->fd < 0 && l->retry_at > 0 && l->retry_at <= now)
            listener_bind(l);
        if (l->fd < 0 && l->retry_at > 0)
            timeout = (int)BIND_RETRY;
        vec_push(&f->polls, poll_of(l->fd, l->fd >= 0 && room, false));
    }
    for (size_t i = 0; i < f->connections.len; i++) {
        const Connection *c = f->connections.items[i];
        bool up = !c->connecting && !c->up.eof && c->up.len == 0;
        bool down = !c->connecting && !c->down.eof && c->down.len == 0;
        vec_push(&f->polls, poll_of(c->client, up, c->down.len > 0));
        vec_push(&f->polls, poll_of(c->server, down, c->connecting || c->up.len > 0));
    }
    return timeout;
}

static void dispatch(Forward *f)
{
    size_t listeners = f->listeners.len, connections = f->connections.len;
    for (size_t i = connections; i-- > 0;) {
        const struct pollfd *polls = &f->polls.items[1 + listeners + 2 * i];
        if ((polls[0].revents || polls[1].revents) && !connection_turn(f->connections.items[i]))
            vec_remove(&f->connections, i);
    }
    for (size_t i = 0; i < listeners; i++)
        if (f->polls.items[1 + i].revents && f->connections.len < CONNECTIONS_MAX)
            listener_accept(f, &f->listeners.items[i]);
}

static void *run(void *arg)
{
    Forward *f = arg;
    for (bool ending = false; !ending;) {
        ForwardRoutes next = {0};
        int timeout = prepare(f);
        if (poll(f->polls.items, f->polls.len, timeout) > 0)
            dispatch(f);
        uint64_t ignored;
        if (f->polls.items[0].revents && read(f->wake, &ignored, sizeof ignored) < 0)
            log_warn("floating IPs: %m");
        pthread_mutex_lock(&f->lock);
        ending = f->ending;
        bool changed = f->changed;
        uint64_t asked = f->asked;
        if (changed) {
            next = f->next;
            f->next = (ForwardRoutes){0};
            f->changed = false;
        }
        pthread_mutex_unlock(&f->lock);
        if (changed || ending)
            apply(f, &next);
        pthread_mutex_lock(&f->lock);
        f->applied = asked;
        pthread_mutex_unlock(&f->lock);
        vec_clear(&next);
    }
    return NULL;
}

int forward_open(Forward **ret, Err *err)
{
    Forward *f = NEW(Forward);
    sigset_t all, old;
    pthread_mutex_init(&f->lock, NULL);
    f->wake = eventfd(0, EFD_CLOEXEC);
    /* Signals are for the program's main thread. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int error = f->wake < 0 ? errno : pthread_create(&f->thread, NULL, run, f);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (error) {
        if (f->wake >= 0)
            close(f->wake);
        pthread_mutex_destroy(&f->lock);
        free(f);
        return err_set(err, ERR_IO, "cannot start the forwarder: %s", strerror(error));
    }
    *ret = f;
    return 0;
}

static void wake(Forward *f)
{
    uint64_t one = 1;
    if (write(f->wake, &one, sizeof one) < 0)
        log_warn("floating IPs: %m");
}

void forward_set(Forward *f, const ForwardRoute *routes, size_t n)
{
    pthread_mutex_lock(&f->lock);
    vec_clear(&f->next);
    for (size_t i = 0; i < n; i++)
        vec_push(&f->next, routes[i]);
    f->changed = true;
    f->asked++;
    pthread_mutex_unlock(&f->lock);
    wake(f);
}

void forward_settle(Forward *f)
{
    bool done = false;
    for (Msec end = time_mono() + SETTLE_WAIT; !done && time_mono() < end;) {
        pthread_mutex_lock(&f->lock);
        done = f->applied == f->asked;
        pthread_mutex_unlock(&f->lock);
        if (!done)
            time_sleep(1);
    }
}

Forward *forward_close(Forward *f)
{
    if (!f)
        return NULL;
    pthread_mutex_lock(&f->lock);
    f->ending = true;
    pthread_mutex_unlock(&f->lock);
    wake(f);
    pthread_join(f->thread, NULL);
    close(f->wake);
    pthread_mutex_destroy(&f->lock);
    vec_clear(&f->next);
    vec_clear(&f->listeners);
    vec_clear(&f->connections);
    vec_clear(&f->polls);
    free(f);
    return NULL;
}
