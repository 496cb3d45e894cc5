#include "stream/server.h"
#include "base/log.h"
#include "io/crypt.h"
#include "stream/internal.h"
#include <arpa/inet.h>
#include <errno.h>
#include <malloc.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define EVENTS 512
#define ACCEPTS 256

typedef struct Running {
    Server s;
    const StreamRun *run;
} Running;

/* ---- listening ---- */

static int listen_unix(const StreamConfig *c, int *ret, Err *err)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};

    if (strlen(c->socket) >= sizeof(a.sun_path))
        return err_set(err, ERR_CONFIG, "SOCKET is too long a path: %s", c->socket);
    memcpy(a.sun_path, c->socket, strlen(c->socket));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || chmod(c->socket, 0666) < 0 ||
        listen(fd, 4096) < 0) {
        err_set(err, ERR_IO, "cannot listen on %s: %m", c->socket);
        if (errno == EADDRINUSE)
            err_hint(err, "remove the file if no other streaming server uses it");
        if (fd >= 0)
            (void)close(fd);
        return -ERR_IO;
    }
    *ret = fd;
    return 0;
}

static int listen_tcp(const StreamConfig *c, int *ret, Err *err)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *found = NULL;
    char port[16];
    int on = 1, fd = -1;

    (void)snprintf(port, sizeof(port), "%d", (int)c->port);
    int r = getaddrinfo(c->bind, port, &hints, &found);
    if (r != 0)
        return err_set(err, ERR_CONFIG, "BIND %s: %s", c->bind, gai_strerror(r));
    fd = socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
        bind(fd, found->ai_addr, found->ai_addrlen) < 0 || listen(fd, 4096) < 0) {
        err_set(err, ERR_IO, "cannot listen on %s port %d: %m", c->bind, (int)c->port);
        if (fd >= 0)
            (void)close(fd);
        fd = -1;
    }
    freeaddrinfo(found);
    *ret = fd;
    return fd < 0 ? -ERR_IO : 0;
}

static void on_listening(void *user, int events)
{
    Server *s = user;
    int on = 1;

    (void)events;
    for (int i = 0; i < ACCEPTS; i++) {
        int fd = accept4(s->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0 && (errno == EMFILE || errno == ENFILE)) {
            /* The kernel keeps them; the next second tries again, when some may have gone. */
            s->metrics.over_connections++;
            fd_watch_for(s->listening, 0);
            return;
        }
        if (fd < 0)
            return;
        if (!s->config->socket) /* frames are written whole: nothing gains by waiting */
            (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        conn_accept(s, fd);
    }
}

/* All clients are behind one epoll descriptor of our own, which libuv watches: a handle of libuv's
 * for each would be larger than all else that an idle connection has. */
static void on_clients(void *user, int events)
{
    Server *s = user;
    struct epoll_event ready[EVENTS];

    (void)events;
    int n = epoll_wait(s->epoll_fd, ready, EVENTS, 0);
    for (int i = 0; i < n; i++) {
        uint64_t data = ready[i].data.u64;
        Conn *c = conn_find(s, (ConnRef){(uint32_t)data, (uint32_t)(data >> 32)});
        if (c)
            conn_event(s, c, ready[i].events);
    }
}

/* ---- time ---- */

static void on_due(void *user, WheelNode *n)
{
    if (n->kind == WHEEL_CONN)
        conn_due(user, n);
    else
        heartbeat_due(user, (Channel *)(void *)((char *)n - offsetof(Channel, beat)));
}

static void drain(Server *s, Msec now)
{
    s->draining = true;
    s->drain_until = now + s->settings->drain_ms;
    s->listening = fd_watch_end(s->listening, true);
    if (s->config->socket)
        (void)unlink(s->config->socket);
    for (uint32_t i = 0; i < s->conns.made; i++) {
        Conn *c = slab_at(&s->conns, i);
        if (c->fd < 0 || c->dead || c->state == CONN_CLOSING)
            continue;
        if (c->state == CONN_OPEN)
            conn_farewell(s, c, WS_CLOSE_AWAY);
        else if (c->state == CONN_HEAD && !c->queue_len)
            conn_drop(s, c);
    }
}

static void on_second(Server *s, Msec now)
{
    redis_link_tick(s->listen_link, now);
    redis_link_tick(s->say_link, now);
    pg_pool_tick(s->pg);
    if (s->listening)
        fd_watch_for(s->listening, UV_READABLE);
}

static void on_tick(uv_timer_t *timer)
{
    Running *r = timer->data;
    Server *s = &r->s;
    Msec now = time_mono();

    wheel_turn(&s->wheel, now, on_due, s);
    if (now >= s->next_second) {
        s->next_second = now + SECOND;
        on_second(s, now);
    }
    if (*r->run->stop && !s->draining)
        drain(s, now);
    if (s->draining && (s->open == 0 || now >= s->drain_until))
        uv_stop(&s->loop);
}

/* Before the loop waits: everything that this turn has brought goes out together. */
static void on_turn(uv_prepare_t *turn)
{
    Server *s = &((Running *)turn->data)->s;

    lookup_end_turn(s->lookup);
    conns_end_turn(s);
    heartbeat_end_turn(s);
}

/* ---- beginning and end ---- */

static void raise_files(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit); /* as many as there are, then */
    }
}

static void frames(Server *s)
{
    uint8_t head[WS_HEADER_MAX];
    size_t n = ws_header(WS_OP_PING, 0, head);

    s->ping = frame_new((Str){(const char *)head, n});
    s->thump = frame_new(STR_LIT("8\r\n:thump\n\n\r\n"));
}

static int open_server(Running *r, Err *err)
{
    Server *s = &r->s;
    uint64_t seed;
    int failed = s->config->socket ? listen_unix(s->config, &s->listen_fd, err)
                                   : listen_tcp(s->config, &s->listen_fd, err);
    if (failed < 0)
        return failed;
    s->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (s->epoll_fd < 0) {
        (void)close(s->listen_fd);
        return err_set(err, ERR_IO, "epoll_create1: %m");
    }
    raise_files();
    /* Frames come and go by the megabyte: what is on top of the heap is not given back each time.
     */
    (void)mallopt(M_TRIM_THRESHOLD, 2 << 20);
    crypt_random(&seed, sizeof(seed));
    (void)uv_loop_init(&s->loop);
    slab_init(&s->conns, sizeof(Conn));
    hub_init(&s->hub, seed);
    wheel_init(&s->wheel, time_mono());
    frames(s);
    s->js = s->js_small = JS_INIT;
    s->scratch = BUF_INIT(SIZE_MAX / 2);
    s->lookup = lookup_new(s);
    s->jobs = jobs_new(s);
    s->pg = pg_pool_new(&s->loop, s->config);
    heartbeat_open(s);
    (void)uv_prepare_init(&s->loop, &s->turn);
    s->turn.data = r;
    (void)uv_prepare_start(&s->turn, on_turn); /* the last started is the first called */
    (void)uv_timer_init(&s->loop, &s->tick);
    s->tick.data = r;
    (void)uv_timer_start(&s->tick, on_tick, WHEEL_TICK_MS, WHEEL_TICK_MS);
    s->listening = fd_watch_new(&s->loop, s->listen_fd, on_listening, s);
    fd_watch_for(s->listening, UV_READABLE);
    s->clients = fd_watch_new(&s->loop, s->epoll_fd, on_clients, s);
    fd_watch_for(s->clients, UV_READABLE);
    return 0;
}

static void close_server(Server *s)
{
    for (uint32_t i = 0; i < s->conns.made; i++) {
        Conn *c = slab_at(&s->conns, i);
        if (c->fd >= 0)
            conn_drop(s, c);
    }
    conns_end_turn(s);
    s->pg = pg_pool_free(s->pg); /* tells all that waits */
    s->jobs = jobs_free(s->jobs);
    s->lookup = lookup_free(s->lookup);
    s->listen_link = redis_link_free(s->listen_link);
    s->say_link = redis_link_free(s->say_link);
    s->listening = fd_watch_end(s->listening, true);
    s->clients = fd_watch_end(s->clients, true);
    uv_close((uv_handle_t *)&s->tick, NULL);
    uv_close((uv_handle_t *)&s->turn, NULL);
    (void)uv_run(&s->loop, UV_RUN_DEFAULT); /* for the handles' last words */
    (void)uv_loop_close(&s->loop);
    hub_clear(&s->hub);
    slab_clear(&s->conns);
    vec_clear(&s->dirty);
    vec_clear(&s->dead);
    (void)frame_unref(s->ping);
    (void)frame_unref(s->thump);
    js_clear(&s->js);
    js_clear(&s->js_small);
    buf_clear(&s->scratch);
}

int stream_serve(const StreamRun *run, Err *err)
{
    Running *r = NEW(Running);

    r->run = run;
    r->s.config = run->config;
    r->s.settings = &run->config->settings;
    int failed = open_server(r, err);
    if (failed == 0) {
        _cleanup_free_ char *where =
            run->config->socket ? xstrdup(run->config->socket)
            : strchr(run->config->bind, ':')
                ? xasprintf("[%s]:%d", run->config->bind, (int)run->config->port)
                : xasprintf("%s:%d", run->config->bind, (int)run->config->port);
        run->ready(run->user, where);
        (void)uv_run(&r->s.loop, UV_RUN_DEFAULT);
        close_server(&r->s);
    }
    free(r);
    return failed;
}
