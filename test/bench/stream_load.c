/* A load generator for streaming servers of Mastodon's protocol: stream-load [OPTIONS] SCENARIO
 *
 *   fanout      K viewers of `public`, each filtered by the server; posts of 3.4 KB
 *   small       the same viewers, `delete` events (not filtered)
 *   users       K connections on `user`, each message for one of them
 *   handshakes  connect, authenticate, subscribe `user`, in rounds of K
 *   idle        K connections on `user`: memory
 *
 * Connections are those of accounts FIRST.. with tokens PREFIX0.., each with an address of its own
 * in X-Forwarded-For. What is published goes through Redis as Rails does it. With --rate 0 messages
 * are kept in flight (--window of them), so the server is saturated; the figure to compare is
 * deliveries per CPU-second of the server, which the neighbours of a shared machine disturb least.
 * Latency is from just before a message is given to Redis until the LAST of its viewers has it
 * whole. Each delivery is checked: its number must be the next one. One JSON object goes to stdout;
 * the exit status is 1 when a message was lost or doubled.
 */
#include "bench/post.h"
#include "bench/publisher.h"
#include "bench/sample.h"
#include <errno.h>
#include <getopt.h>

enum { WINDOW_MAX = 4096, IN_FLIGHT = 200 };

typedef struct Options {
    const char *server, *redis, *token, *path;
    int64_t connections, seconds, window, first, rate_milli, account;
    SampleOf of;
} Options;

typedef struct Message {
    double at;
    uint32_t left; /* viewers that don't have it */
} Message;

typedef struct Load {
    Peers p;
    Publisher b;
    Options o;
    Peer *peers;
    int64_t open, opening, refused, ended;
    Message ring[WINDOW_MAX];
    int64_t published, completed, deliveries, lost, doubled;
    double *latencies;
    size_t latencies_len, latencies_cap;
    bool timed; /* latencies count */
    uint64_t random;
} Load;

static _noreturn_ void give_up(const char *what)
{
    (void)fprintf(stderr, "stream-load: %s\n", what);
    exit(2);
}

static void on_open(Peers *p, Peer *peer, int status)
{
    Load *l = p->user;

    if (status == 0) {
        _cleanup_free_ char *request = peer_request(l->o.token, peer->number, l->o.path, false);
        if (peer_write(peer, request, strlen(request)))
            peer->state = PEER_ASKED;
        return;
    }
    l->opening--;
    if (status == 101) {
        l->open++;
        return;
    }
    if (!l->refused++)
        (void)fprintf(stderr, "stream-load: the server answers %d\n", status);
    peer_close(peer);
}

static void on_end(Peers *p, Peer *peer, const char *why)
{
    Load *l = p->user;
    if (!l->ended++)
        (void)fprintf(stderr, "stream-load: connection %u ended: %s\n", peer->number, why);
}

static void completed(Load *l, double ms)
{
    l->completed++;
    if (!l->timed)
        return;
    if (l->latencies_len == l->latencies_cap) {
        l->latencies_cap = MAX(l->latencies_cap * 2, (size_t)1024);
        l->latencies = xrealloc(l->latencies, l->latencies_cap, sizeof *l->latencies);
    }
    l->latencies[l->latencies_len++] = ms;
}

static void on_message(Peers *p, Peer *peer)
{
    Load *l = p->user;
    int64_t sequence = post_sequence(peer->start);
    Message *m;

    if (sequence < 0) {
        if (strstr(peer->start, "\"error\"")) {
            (void)fprintf(stderr, "stream-load: %s\n", peer->start);
            give_up("the server refuses a subscription");
        }
        return;
    }
    if (sequence <= peer->seen) {
        l->doubled++;
        return;
    }
    peer->seen = sequence;
    l->deliveries++;
    m = &l->ring[sequence % WINDOW_MAX];
    if (m->left && --m->left == 0)
        completed(l, (peer_now() - m->at) * 1000);
}

static void on_other(Peers *p, void *what)
{
    (void)p;
    if (!publisher_read(what))
        give_up("Redis is gone");
}

static uint32_t random_below(Load *l, uint32_t n)
{
    l->random ^= l->random << 13;
    l->random ^= l->random >> 7;
    l->random ^= l->random << 17;
    return (uint32_t)(l->random % n);
}

static void wait_channels(Load *l, int64_t wanted)
{
    double end = peer_now() + 120;
    for (;;) {
        int64_t n = publisher_channels(&l->b);
        if (n == wanted)
            return;
        if (peer_now() > end) {
            (void)fprintf(stderr, "stream-load: Redis has %lld channels, %lld are expected\n",
                          (long long)n, (long long)wanted);
            give_up("the subscriptions don't come");
        }
        for (int i = 0; i < 20; i++)
            peers_turn(&l->p, 0.005);
    }
}

static void open_all(Load *l)
{
    int64_t next = 0;
    double end = peer_now() + 300;

    while (l->open + l->refused < l->o.connections) {
        for (; next < l->o.connections && l->opening < IN_FLIGHT; next++, l->opening++) {
            Peer *peer = &l->peers[next];
            peer->number = (uint32_t)(l->o.first + next);
            peer->seen = l->published - 1;
            _cleanup_free_ char *request = peer_request(l->o.token, peer->number, l->o.path, false);
            if (!peer_open(&l->p, peer, request))
                give_up(strerror(errno));
        }
        peers_turn(&l->p, 1);
        if (l->ended || peer_now() > end)
            give_up("the connections don't open");
    }
    if (l->refused)
        give_up("connections were refused");
}

static void close_all(Load *l)
{
    for (int64_t i = 0; i < l->o.connections; i++)
        peer_reset(&l->peers[i]);
    l->open = 0;
}

/* One more message on its way. */
typedef void Publish(Load *l, Message *m, int64_t sequence);

static void publish_public(Load *l, Message *m, int64_t sequence)
{
    static char text[POST_MAX];
    size_t n = post_write(text, sequence, sequence % 10 == 0);
    m->left = (uint32_t)l->o.connections;
    publisher_add(&l->b, "timeline:public", text, n);
}

static void publish_small(Load *l, Message *m, int64_t sequence)
{
    static char text[POST_MAX];
    size_t n = post_delete(text, sequence);
    m->left = (uint32_t)l->o.connections;
    publisher_add(&l->b, "timeline:public", text, n);
}

static void publish_user(Load *l, Message *m, int64_t sequence)
{
    static char text[POST_MAX];
    char channel[64];
    size_t n = post_write(text, sequence, false);
    m->left = 1;
    int64_t who = l->o.account + l->o.first + random_below(l, (uint32_t)l->o.connections);
    (void)snprintf(channel, sizeof channel, "timeline:%lld", (long long)who);
    publisher_add(&l->b, channel, text, n);
}

static void publish(Load *l, Publish *next)
{
    Message *m = &l->ring[l->published % WINDOW_MAX];
    m->at = peer_now();
    next(l, m, l->published++);
}

/* For that long: as many in flight as the window says, or at the rate. */
static void run(Load *l, Publish *next, double seconds)
{
    double start = peer_now(), end = start + seconds;
    double interval = l->o.rate_milli ? 1000.0 / (double)l->o.rate_milli : 0, due = start;

    while (peer_now() < end) {
        double now = peer_now();
        while (interval > 0 ? due <= now : l->published - l->completed < l->o.window) {
            if (l->published - l->completed >= WINDOW_MAX - 1)
                break; /* overload: what is due waits, and its latency tells */
            publish(l, next);
            if (interval > 0) {
                l->ring[(l->published - 1) % WINDOW_MAX].at = due;
                due += interval;
            }
        }
        if (!publisher_flush(&l->b))
            give_up("Redis is gone");
        double wait = interval > 0 ? MIN(due, end) - peer_now() : 0.1;
        peers_turn(&l->p, wait);
    }
}

static void drain(Load *l)
{
    double end = peer_now() + 60;
    while (l->completed < l->published && peer_now() < end)
        peers_turn(&l->p, 0.1);
    l->lost += l->published - l->completed;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double percentile(const Load *l, double part)
{
    if (!l->latencies_len)
        return -1;
    return l->latencies[MIN((size_t)(part * (double)l->latencies_len), l->latencies_len - 1)];
}

static void print_traffic(Load *l, const char *name, const Sample *a, const Sample *b,
                          int64_t deliveries)
{
    double cpu = b->server_cpu_s - a->server_cpu_s, n = (double)MAX(deliveries, 1);

    qsort(l->latencies, l->latencies_len, sizeof *l->latencies, by_size);
    (void)printf(
        "{\"scenario\":\"%s\",\"connections\":%lld,\"rate_per_s\":%.3f,\"window\":%lld,"
        "\"wall_s\":%.2f,\"deliveries\":%lld,\"deliveries_per_wall_s\":%.0f,"
        "\"server_cpu_s\":%.2f,\"deliveries_per_server_cpu_s\":%.0f,\"client_cpu_s\":%.2f,",
        name, (long long)l->o.connections, (double)l->o.rate_milli / 1000,
        (long long)(l->o.rate_milli ? 0 : l->o.window), b->wall_s - a->wall_s,
        (long long)deliveries, n / (b->wall_s - a->wall_s), cpu, cpu > 0 ? n / cpu : -1,
        b->client_cpu_s - a->client_cpu_s);
    (void)printf(
        "\"postgres_cpu_us_per_delivery\":%.3f,\"postgres_statement_us_per_delivery\":%.3f,"
        "\"postgres_statements_per_message\":%.2f,",
        (b->postgres_cpu_s - a->postgres_cpu_s) * 1e6 / n,
        b->statement_s < 0 ? -1 : (b->statement_s - a->statement_s) * 1e6 / n,
        (double)(b->statements - a->statements) /
            (double)MAX((int64_t)l->latencies_len, (int64_t)1));
    (void)printf("\"last_delivery_ms\":{\"messages\":%zu,\"p50\":%.3f,\"p90\":%.3f,\"p99\":%.3f,"
                 "\"max\":%.3f},\"lost\":%lld,\"doubled\":%lld}\n",
                 l->latencies_len, percentile(l, 0.5), percentile(l, 0.9), percentile(l, 0.99),
                 percentile(l, 1), (long long)l->lost, (long long)l->doubled);
}

/* Redis knows of the one public channel as soon as its first viewer is there: until each has seen
 * the last of some messages that don't count. */
static void wait_viewers(Load *l)
{
    static char text[POST_MAX];
    double end = peer_now() + 60;

    for (bool all = false; !all;) {
        if (peer_now() > end)
            give_up("not all viewers get something");
        size_t n = post_delete(text, l->published);
        l->ring[l->published % WINDOW_MAX].left = 0;
        publisher_add(&l->b, "timeline:public", text, n);
        (void)publisher_flush(&l->b);
        for (double until = peer_now() + 0.2; !all && peer_now() < until;) {
            peers_turn(&l->p, 0.02);
            all = true;
            for (int64_t i = 0; i < l->o.connections; i++)
                all = all && l->peers[i].seen == l->published;
        }
        l->published++;
        l->completed++;
    }
}

static void traffic(Load *l, const char *name, Publish *next, int64_t channels)
{
    Sample a, b;

    open_all(l);
    wait_channels(l, channels);
    if (next != publish_user)
        wait_viewers(l);
    run(l, next, 1); /* caches, prepared statements, filters are loaded */
    drain(l);
    sample_take(&l->o.of, &a);
    int64_t before = l->deliveries;
    l->timed = true;
    run(l, next, (double)l->o.seconds);
    drain(l);
    sample_take(&l->o.of, &b);
    print_traffic(l, name, &a, &b, l->deliveries - before);
}

static void handshakes(Load *l)
{
    Sample a, b;
    double cpu = 0, postgres = 0, client = 0, statement = 0, wall = 0,
           end = peer_now() + (double)l->o.seconds;
    int64_t done = 0, calls = 0;

    do {
        sample_take(&l->o.of, &a);
        open_all(l);
        wait_channels(l, 4 * l->o.connections);
        sample_take(&l->o.of, &b);
        cpu += b.server_cpu_s - a.server_cpu_s;
        postgres += b.postgres_cpu_s - a.postgres_cpu_s;
        client += b.client_cpu_s - a.client_cpu_s;
        statement += b.statement_s - a.statement_s;
        calls += b.statements - a.statements;
        wall += b.wall_s - a.wall_s;
        done += l->o.connections;
        close_all(l);
        wait_channels(l, 0);
    } while (peer_now() < end);
    (void)printf(
        "{\"scenario\":\"handshakes\",\"connections\":%lld,\"handshakes\":%lld,\"wall_s\":%.2f,"
        "\"handshakes_per_wall_s\":%.0f,\"server_cpu_s\":%.2f,\"handshakes_per_server_cpu_s\":%.0f,"
        "\"client_cpu_s\":%.2f,\"postgres_cpu_us_per_handshake\":%.1f,"
        "\"postgres_statement_us_per_handshake\":%.1f,\"statements_per_handshake\":%.3f}\n",
        (long long)l->o.connections, (long long)done, wall, (double)done / wall, cpu,
        cpu > 0 ? (double)done / cpu : -1, client, postgres * 1e6 / (double)done,
        statement * 1e6 / (double)done, (double)calls / (double)done);
}

static void idle(Load *l)
{
    int64_t before = 0, before_all = 0, after = 0, after_all = 0;
    Sample a, b;

    if (!sample_memory(l->o.of.server_pid, &before, &before_all))
        give_up("idle needs --pid of the server");
    open_all(l);
    wait_channels(l, 4 * l->o.connections);
    sample_take(&l->o.of, &a);
    for (double end = peer_now() + (double)l->o.seconds; peer_now() < end;)
        peers_turn(&l->p, 0.1); /* pings are answered */
    sample_take(&l->o.of, &b);
    if (!sample_memory(l->o.of.server_pid, &after, &after_all))
        give_up("the server is gone");
    (void)printf(
        "{\"scenario\":\"idle\",\"connections\":%lld,\"idle_s\":%.1f,\"private_start_kb\":%lld,"
        "\"private_kb\":%lld,\"resident_start_kb\":%lld,\"resident_kb\":%lld,"
        "\"private_bytes_per_connection\":%.0f,\"server_cpu_s\":%.2f,\"ended\":%lld}\n",
        (long long)l->o.connections, b.wall_s - a.wall_s, (long long)before, (long long)after,
        (long long)before_all, (long long)after_all,
        (double)(after - before) * 1024 / (double)l->o.connections, b.server_cpu_s - a.server_cpu_s,
        (long long)l->ended);
}

static const struct option options[] = {
    {"server", required_argument, NULL, 's'},
    {"redis", required_argument, NULL, 'r'},
    {"pid", required_argument, NULL, 'p'},
    {"postgres-pid", required_argument, NULL, 'P'},
    {"postgres", required_argument, NULL, 'C'},
    {"connections", required_argument, NULL, 'k'},
    {"seconds", required_argument, NULL, 't'},
    {"rate", required_argument, NULL, 'R'},
    {"window", required_argument, NULL, 'w'},
    {"first", required_argument, NULL, 'f'},
    {"account", required_argument, NULL, 'a'},
    {"token", required_argument, NULL, 'T'},
    {0},
};

static _noreturn_ void usage(void)
{
    (void)fprintf(
        stderr, "stream-load [--OPTION VALUE] fanout|small|users|handshakes|idle\n"
                "  --server 127.0.0.1:4000 | /SOCKET   --redis 127.0.0.1:6379\n"
                "  --pid OF-THE-SERVER  --postgres-pid OF-THE-POSTMASTER  --postgres CONNINFO\n"
                "  --connections 1000  --seconds 10  --rate PER-SECOND (0: saturate)  --window 8\n"
                "  --token PREFIX  --first NUMBER  --account ID-OF-ACCOUNT-0\n"
                "Connection n has the token PREFIXn and the account ID + n.\n");
    exit(2);
}

static int64_t number(const char *text, int64_t max)
{
    int64_t n;
    if (!parse_int(text, 0, max, &n))
        usage();
    return n;
}

static void parse(Options *o, int argc, char **argv)
{
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (c) {
        case 's':
            o->server = optarg;
            break;
        case 'r':
            o->redis = optarg;
            break;
        case 'T':
            o->token = optarg;
            break;
        case 'C':
            o->of.conninfo = optarg;
            break;
        case 'p':
            o->of.server_pid = (int)number(optarg, INT32_MAX);
            break;
        case 'P':
            o->of.postgres_pid = (int)number(optarg, INT32_MAX);
            break;
        case 'k':
            o->connections = number(optarg, 1000000);
            break;
        case 't':
            o->seconds = number(optarg, 1000000);
            break;
        case 'w':
            o->window = number(optarg, WINDOW_MAX - 1);
            break;
        case 'f':
            o->first = number(optarg, INT32_MAX);
            break;
        case 'a':
            o->account = number(optarg, INT64_MAX / 2);
            break;
        case 'R':
            o->rate_milli = (int64_t)(strtod(optarg, NULL) * 1000);
            break;
        default:
            usage();
        }
    }
    if (optind + 1 != argc || !o->connections)
        usage();
}

int main(int argc, char **argv)
{
    static Load l;

    l.o = (Options){.server = "127.0.0.1:4000",
                    .redis = "127.0.0.1:6379",
                    .token = "bench-",
                    .connections = 1000,
                    .seconds = 10,
                    .window = 8,
                    .account = 1000};
    l.random = 88172645463325252ULL;
    parse(&l.o, argc, argv);
    const char *name = argv[optind];
    bool public = streq(name, "fanout") || streq(name, "small");
    l.o.path = public ? "/api/v1/streaming/?stream=public" : "/api/v1/streaming/?stream=user";
    peers_init(&l.p, l.o.server);
    l.p.on_open = on_open;
    l.p.on_end = on_end;
    l.p.on_message = on_message;
    l.p.on_other = on_other;
    l.p.user = &l;
    if (!publisher_open(&l.b, &l.p, l.o.redis))
        give_up("Redis can't be reached");
    l.peers = xcalloc((size_t)l.o.connections, sizeof *l.peers);
    if (public)
        traffic(&l, name, streq(name, "small") ? publish_small : publish_public,
                2 * l.o.connections + 1);
    else if (streq(name, "users"))
        traffic(&l, name, publish_user, 4 * l.o.connections);
    else if (streq(name, "handshakes"))
        handshakes(&l);
    else if (streq(name, "idle"))
        idle(&l);
    else
        usage();
    close_all(&l);
    publisher_close(&l.b, &l.p);
    peers_clear(&l.p);
    free(l.latencies);
    free(l.peers);
    return l.lost || l.doubled || l.ended ? 1 : 0;
}
