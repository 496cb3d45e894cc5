#include "base/log.h"
#include "io/crypt.h"
#include "stream/internal.h"
#include <sys/epoll.h>
#include <unistd.h>

#define EVENTS 512
#define FAREWELLS_A_SECOND 200 /* of this loop */

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

static void on_connection(void *user, int fd)
{
    Server *s = user;

    if (fd < 0)
        s->metrics.over_connections++;
    else
        conn_accept(s, fd);
}

/* ---- messages ---- */

static void on_message(void *user, Str channel, Str text)
{
    message_received(user, channel, text);
}

/* What was said while Redis was away was not heard: filters may be others now. */
static void on_renewed(void *user)
{
    Server *s = user;
    hub_filters_forget(&s->hub, NULL);
}

/* ---- time ---- */

static void on_due(void *user, WheelNode *n)
{
    Server *s = user;

    if (n->kind == WHEEL_CONN)
        conn_due(s, n);
    else
        feed_due(s->feed, n);
}

/* Also before timers are set where the loop may have stood still for long: else they are due early.
 */
static void turn_wheel(Server *s, Msec now)
{
    wheel_turn(&s->wheel, now, on_due, s);
}

/* ---- the end ---- */

/* Whoever is told to go comes back at once, here or elsewhere: so they are told one after the
 * other, and until then get their messages. */
static void drain(void *user)
{
    Server *s = user;
    Msec now = time_mono(),
         spread = MIN(s->settings->drain_ms * 4 / 5, s->open * SECOND / FAREWELLS_A_SECOND);
    uint32_t told = 0;

    if (s->draining)
        return;
    s->draining = true;
    s->drain_until = now + s->settings->drain_ms;
    turn_wheel(s, now);
    s->listener = listener_close(s->listener);
    for (uint32_t i = 0; i < s->conns.made; i++) {
        Conn *c = slab_at(&s->conns, i);
        if (c->fd < 0 || c->dead || c->state == CONN_CLOSING)
            continue;
        if (c->state == CONN_OPEN)
            wheel_set(&s->wheel, &c->timer, spread * told++ / s->open);
        else if (c->state == CONN_HEAD && !c->queue_len)
            conn_drop(s, c);
    }
}

/* Messages were thrown away that somebody here would have got, and a kill may have been among them:
 * all who are logged in are told to come back. */
static void on_behind(void *user)
{
    Server *s = user;
    uint64_t n = 0;

    turn_wheel(s, time_mono());
    for (uint32_t i = 0; i < s->conns.made; i++) {
        Conn *c = slab_at(&s->conns, i);
        if (c->fd < 0 || c->dead || c->state == CONN_CLOSING || !c->account)
            continue;
        if (c->state == CONN_OPEN)
            conn_farewell(s, c, WS_CLOSE_AWAY);
        else
            conn_close(s, c);
        n++;
    }
    s->metrics.over_backlog += n;
    log_warn("a loop does not keep up with Redis: its %llu clients are told to come back",
             (unsigned long long)n);
}

/* ---- turns ---- */

static void on_second(Server *s, Msec now)
{
    if (s->feed)
        feed_tick(s->feed, now);
    pg_pool_tick(s->pg);
    listener_tick(s->listener);
}

static void on_tick(uv_timer_t *timer)
{
    Server *s = timer->data;
    Msec now = time_mono();

    turn_wheel(s, now);
    if (now >= s->next_second) {
        s->next_second = now + SECOND;
        on_second(s, now);
    }
    if (s->stop && *s->stop)
        drain(s);
    if (s->draining && (s->open == 0 || now >= s->drain_until))
        uv_stop(&s->loop);
}

static void count(Server *s)
{
    pg_pool_numbers(s->pg, &s->metrics.pg);
    s->metrics.connections = s->open;
    if (s->feed) {
        FeedNumbers n = feed_numbers(s->feed);
        s->metrics.redis_channels = n.channels;
        s->metrics.redis_messages = n.messages;
    }
}

const Metrics *server_numbers(Server *s)
{
    count(s);
    if (!s->port)
        return &s->metrics;
    port_publish(s->port, &s->metrics);
    port_numbers(s->port, &s->all);
    return &s->all;
}

/* Before the loop waits: everything that this turn has brought goes out together. Who is told of
 * something finds it counted, whichever loop he asks. */
static void on_turn(uv_prepare_t *turn)
{
    Server *s = turn->data;

    lookup_end_turn(s->lookup);
    if (s->port) {
        count(s);
        port_publish(s->port, &s->metrics);
    }
    conns_end_turn(s);
    if (!s->port) {
        feed_end_turn(s->feed);
        return;
    }
    count(s);
    port_publish(s->port, &s->metrics);
    port_end_turn(s->port, &s->hub);
}

/* ---- beginning and end ---- */

static void frames(Server *s)
{
    uint8_t head[WS_HEADER_MAX];
    size_t n = ws_header(WS_OP_PING, 0, head);

    s->ping = frame_new((Str){(const char *)head, n});
    s->thump = frame_new(STR_LIT("8\r\n:thump\n\n\r\n"));
}

static void open_feed(Server *s)
{
    s->feed = feed_new(&(FeedOptions){.loop = &s->loop,
                                      .config = s->config,
                                      .hub = &s->hub,
                                      .wheel = &s->wheel,
                                      .message = on_message,
                                      .renewed = on_renewed,
                                      .user = s});
}

int server_open(Server *s, const ServerOptions *o, Err *err)
{
    static const PortEvents events = {.behind = on_behind,
                                      .renewed = on_renewed,
                                      .connection = on_connection,
                                      .message = on_message,
                                      .drain = drain};
    uint64_t seed;

    *s = (Server){.config = o->config,
                  .settings = &o->config->settings,
                  .census = o->census,
                  .stop = o->stop,
                  .port = o->port};
    s->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (s->epoll_fd < 0)
        return err_set(err, ERR_IO, "epoll_create1: %m");
    (void)uv_loop_init(&s->loop);
    int failed =
        s->port ? 0 : listener_open(&s->loop, s->config, on_connection, s, &s->listener, err);
    if (failed < 0) {
        (void)uv_loop_close(&s->loop);
        (void)close(s->epoll_fd);
        return failed;
    }
    crypt_random(&seed, sizeof(seed));
    slab_init(&s->conns, sizeof(Conn));
    hub_init(&s->hub, seed);
    wheel_init(&s->wheel, time_mono());
    frames(s);
    s->js = s->js_small = JS_INIT;
    s->scratch = BUF_INIT(SIZE_MAX / 2);
    s->input = xcalloc(1, INPUT_BYTES);
    s->lookup = lookup_new(s);
    s->jobs = jobs_new(s);
    s->pg = pg_pool_new(&s->loop, s->config, o->pg_connections);
    if (s->port)
        port_open(s->port, &s->loop, &events, s);
    else
        open_feed(s);
    (void)uv_prepare_init(&s->loop, &s->turn);
    s->turn.data = s;
    (void)uv_prepare_start(&s->turn, on_turn); /* the last started is the first called */
    (void)uv_timer_init(&s->loop, &s->tick);
    s->tick.data = s;
    (void)uv_timer_start(&s->tick, on_tick, WHEEL_TICK_MS, WHEEL_TICK_MS);
    s->clients = fd_watch_new(&s->loop, s->epoll_fd, on_clients, s);
    fd_watch_for(s->clients, UV_READABLE);
    return 0;
}

void server_run(Server *s)
{
    (void)uv_run(&s->loop, UV_RUN_DEFAULT);
}

void server_close(Server *s)
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
    s->feed = feed_free(s->feed);
    s->listener = listener_close(s->listener);
    if (s->port)
        port_close(s->port);
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
    free(s->input);
}
