/* Who runs where: one server in the main thread, or several in threads of their own with the relay
 * in the main one. */
#include "stream/internal.h"
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

typedef struct Loops {
    const StreamRun *run;
    const StreamConfig *config;
    Census census;
    size_t n;
    Server *servers; /* those that were opened */
    size_t opened, started;
    pthread_t threads[STREAM_LOOPS_MAX];
    /* of the relay's thread; only where there are several */
    uv_loop_t loop;
    uv_timer_t tick;
    uv_prepare_t turn;
    Wheel wheel;
    Relay *relay;
    Feed *feed;
    Listener *listener;
    Metrics metrics;
    bool draining;
    Msec next_second;
} Loops;

static void say_ready(const Loops *l)
{
    const StreamConfig *c = l->config;
    _cleanup_free_ char *where = c->socket ? xstrdup(c->socket)
                                 : strchr(c->bind, ':')
                                     ? xasprintf("[%s]:%d", c->bind, (int)c->port)
                                     : xasprintf("%s:%d", c->bind, (int)c->port);
    l->run->ready(l->run->user, where);
}

/* Each has its share of DB_POOL, and one at least. */
static int open_server(Loops *l, Port *port, Err *err)
{
    size_t i = l->opened, pool = (size_t)MAX(l->config->pg_pool, 1);
    ServerOptions o = {.config = l->config,
                       .census = &l->census,
                       .pg_connections = MAX(pool / l->n + (i < pool % l->n), 1),
                       .stop = port ? NULL : l->run->stop,
                       .port = port};

    int failed = server_open(&l->servers[i], &o, err);
    if (failed == 0)
        l->opened++;
    return failed;
}

static int serve_one(Loops *l, Err *err)
{
    int failed = open_server(l, NULL, err);

    if (failed < 0)
        return failed;
    say_ready(l);
    server_run(&l->servers[0]);
    server_close(&l->servers[0]);
    return 0;
}

/* ---- the relay's loop ---- */

static void on_message(void *user, Str channel, Str text)
{
    Loops *l = user;
    relay_message(l->relay, channel, text);
}

static void on_renewed(void *user)
{
    Loops *l = user;
    relay_renewed(l->relay);
}

static void on_connection(void *user, int fd)
{
    Loops *l = user;

    if (fd >= 0 && relay_connections(l->relay) < (uint64_t)l->config->settings.connections) {
        relay_connection(l->relay, fd);
        return;
    }
    l->metrics.over_connections++;
    if (fd >= 0)
        (void)close(fd);
}

static void on_ended(void *user)
{
    Loops *l = user;
    uv_stop(&l->loop);
}

static void on_due(void *user, WheelNode *n)
{
    Loops *l = user;
    feed_due(l->feed, n);
}

static void on_tick(uv_timer_t *timer)
{
    Loops *l = timer->data;
    Msec now = time_mono();

    wheel_turn(&l->wheel, now, on_due, l);
    if (now >= l->next_second) {
        l->next_second = now + SECOND;
        feed_tick(l->feed, now);
        listener_tick(l->listener);
    }
    if (*l->run->stop && !l->draining) {
        l->draining = true;
        l->listener = listener_close(l->listener);
        relay_drain(l->relay);
    }
}

static void on_turn(uv_prepare_t *turn)
{
    Loops *l = turn->data;

    feed_end_turn(l->feed);
    FeedNumbers n = feed_numbers(l->feed);
    l->metrics.redis_channels = n.channels;
    l->metrics.redis_messages = n.messages;
    relay_end_turn(l->relay, &l->metrics);
}

static void open_relay(Loops *l)
{
    (void)uv_loop_init(&l->loop);
    wheel_init(&l->wheel, time_mono());
    l->relay = relay_new(&(RelayOptions){.loop = &l->loop,
                                         .ports = l->n,
                                         .backlog_bytes = (size_t)l->config->settings.backlog_bytes,
                                         .ended = on_ended,
                                         .user = l});
    l->feed = feed_new(&(FeedOptions){.loop = &l->loop,
                                      .config = l->config,
                                      .hub = relay_hub(l->relay),
                                      .wheel = &l->wheel,
                                      .message = on_message,
                                      .renewed = on_renewed,
                                      .user = l});
    (void)uv_prepare_init(&l->loop, &l->turn);
    l->turn.data = l;
    (void)uv_prepare_start(&l->turn, on_turn);
    (void)uv_timer_init(&l->loop, &l->tick);
    l->tick.data = l;
    (void)uv_timer_start(&l->tick, on_tick, WHEEL_TICK_MS, WHEEL_TICK_MS);
}

static void close_relay(Loops *l)
{
    l->listener = listener_close(l->listener);
    l->feed = feed_free(l->feed);
    relay_close(l->relay);
    uv_close((uv_handle_t *)&l->tick, NULL);
    uv_close((uv_handle_t *)&l->turn, NULL);
    (void)uv_run(&l->loop, UV_RUN_DEFAULT); /* for the handles' last words */
    (void)uv_loop_close(&l->loop);
    l->relay = relay_free(l->relay);
}

/* ---- the others' ---- */

static void *run_server(void *user)
{
    Server *s = user;

    server_run(s);
    port_ended(s->port);
    return NULL;
}

/* Signals are the main thread's. */
static int start_threads(Loops *l, Err *err)
{
    sigset_t all, before;
    int failed = 0;

    sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before); /* fails for no such set */
    for (size_t i = 0; failed == 0 && i < l->n; i++) {
        failed = pthread_create(&l->threads[i], NULL, run_server, &l->servers[i]);
        if (failed == 0)
            (void)pthread_setname_np(l->threads[l->started++], "loop"); /* for top -H */
    }
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed)
        return err_set(err, ERR_IO, "cannot start a thread: %s", strerror(failed));
    return 0;
}

static int serve_several(Loops *l, Err *err)
{
    int failed = 0;

    open_relay(l);
    while (failed == 0 && l->opened < l->n)
        failed = open_server(l, relay_port(l->relay, l->opened), err);
    if (failed == 0)
        failed = listener_open(&l->loop, l->config, on_connection, l, &l->listener, err);
    if (failed == 0)
        failed = start_threads(l, err);
    if (failed == 0) {
        say_ready(l);
        (void)uv_run(&l->loop, UV_RUN_DEFAULT);
    } else {
        relay_drain(l->relay);
        relay_end_turn(l->relay, &l->metrics);
    }
    while (l->started > 0)
        (void)pthread_join(l->threads[--l->started], NULL);
    while (l->opened > 0)
        server_close(&l->servers[--l->opened]);
    close_relay(l);
    return failed;
}

static void raise_files(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit); /* as many as there are, then */
    }
}

int stream_serve(const StreamRun *run, Err *err)
{
    int64_t wanted = run->config->settings.loops;
    Loops *l = NEW(Loops);

    l->run = run;
    l->config = run->config;
    l->n = MIN(wanted ? (size_t)wanted : uv_available_parallelism(), STREAM_LOOPS_MAX);
    l->servers = xcalloc(l->n, sizeof(Server));
    census_init(&l->census, l->n > 1);
    raise_files();
    /* Frames come and go by the megabyte: what is on top of the heap is not given back each time.
     */
    (void)mallopt(M_TRIM_THRESHOLD, 2 << 20);
    int failed = l->n > 1 ? serve_several(l, err) : serve_one(l, err);
    census_clear(&l->census);
    free(l->servers);
    free(l);
    return failed;
}
