/* Churn on a streaming server: stream-soak [OPTIONS], for test/story/stream_soak.py, which starts
 * and restarts what is around it.
 *
 * Some clients stay for the whole time; what is published for them is numbered, and each has to get
 * each number once and in order. All other connections live a random life (see Plan) that ends with
 * a reset, a close frame or a silence at any state of the protocol. A message counts as due when
 * Redis said that the server heard it; it is excused when Redis died within UNDER_WAY_S, before
 * it was delivered, and one that the server has to filter while PostgreSQL is away (lines "postgres
 * down" and "postgres up" on stdin). Ends by itself after --seconds; a line of JSON about every
 * five seconds, the last one says "end". The exit status is 1 when a message was lost or doubled or
 * a client that stays was cut.
 */
#include "bench/post.h"
#include "bench/publisher.h"
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <unistd.h>

enum {
    RING = 1 << 14,
    LOST_AFTER_S = 40,
    UNDER_WAY_S = 12,
    TICK_MS = 20,
    OP_CONTINUE = 0,
    OP_TEXT = 1,
    OP_CLOSE = 8
};

typedef enum Plan {
    CONNECT_AND_RESET,
    HALF_A_REQUEST,
    RESET_WHILE_ASKED,
    RESET_ON_ANSWER,
    RESET_WHILE_SUBSCRIBING,
    HALF_A_FRAME,
    HALF_A_MESSAGE,
    CLOSE_FRAME,
    BAD_FRAME,
    BAD_TOKEN,
    MANY_SUBSCRIPTIONS,
    DEAF,
    EVENTS_AND_RESET,
    EVENTS_FOR_A_WHILE,
    STAY_A_WHILE, /* and all numbers above */
    PLANS = 24,
} Plan;

typedef enum Kind { KIND_USER, KIND_PUBLIC } Kind;

typedef struct Message {
    double at;
    uint32_t left;
    uint8_t kind;
    bool heard, excused;
} Message;

typedef struct Life {
    uint8_t plan;
    double until;
} Life;

typedef struct Soak {
    Peers p;
    Publisher b;
    const char *server, *redis, *token;
    int64_t connections, stayers, users, seconds, born_per_s, account, rate;
    Peer *peers; /* the first `stayers` stay */
    Life *lives;
    Message ring[RING];
    int64_t published, replied, oldest, due, delivered, lost, doubled, excused, cut, born, ends,
        restarts;
    int64_t public_stayers, settled;
    bool strict, postgres_down, postgres_settling, redis_down;
    double retry_at;
    uint64_t random;
    size_t cursor;
} Soak;

static uint32_t below(Soak *s, uint32_t n)
{
    s->random ^= s->random << 13;
    s->random ^= s->random >> 7;
    s->random ^= s->random << 17;
    return (uint32_t)((s->random >> 16) % n);
}

static size_t stayer(const Soak *s, const Peer *peer)
{
    return (size_t)(peer - s->peers) < (size_t)s->stayers ? 1 : 0;
}

/* ---- What is published ---- */

/* What may be under way; of what was missed before, this is no reason. */
static void excuse(Soak *s, bool public_only)
{
    double now = peer_now();

    for (int64_t i = s->oldest; i < s->published; i++) {
        Message *m = &s->ring[i % RING];
        if (m->left && now - m->at < UNDER_WAY_S && (!public_only || m->kind == KIND_PUBLIC))
            m->excused = true;
    }
}

static void redis_gone(Soak *s)
{
    publisher_close(&s->b, &s->p);
    excuse(s, false);
    s->replied = s->published;
    s->redis_down = true;
    s->retry_at = peer_now() + 0.1;
    s->restarts++;
}

static void on_reply(Publisher *b, int64_t heard)
{
    Soak *s = b->user;
    Message *m = &s->ring[s->replied++ % RING];

    m->heard = heard > 0;
    if (heard <= 0)
        m->left = 0; /* nobody was there */
    else if (s->strict)
        s->due += m->left;
}

static void publish(Soak *s, Kind kind)
{
    static char text[POST_MAX];
    char channel[64] = "timeline:public";
    Message *m = &s->ring[s->published % RING];

    if (s->published - s->oldest >= RING - 1)
        return;
    size_t n = s->published % 3 ? post_write(text, s->published, s->published % 7 == 0)
                                : post_delete(text, s->published);
    *m = (Message){.at = peer_now(), .kind = (uint8_t)kind, .left = (uint32_t)s->public_stayers};
    if (kind == KIND_USER) {
        int64_t who = s->account + (below(s, (uint32_t)s->stayers) & ~1U);
        m->left = 1;
        (void)snprintf(channel, sizeof channel, "timeline:%lld", (long long)who);
    } else if (s->postgres_down || s->postgres_settling) {
        m->excused = true;
    }
    if (!s->strict)
        m->excused = true;
    s->published++;
    publisher_add(&s->b, channel, text, n);
}

/* Those that are complete or too old go. */
static void look_at_old(Soak *s)
{
    double now = peer_now();

    for (; s->oldest < s->replied; s->oldest++) {
        Message *m = &s->ring[s->oldest % RING];
        if (m->left && now - m->at < (m->excused ? 10 : LOST_AFTER_S))
            return;
        if (m->left && m->excused) {
            s->excused += m->left;
        } else if (m->left) {
            if (s->lost < 20)
                (void)fprintf(stderr, "lost: message %lld of %s at %u clients\n",
                              (long long)s->oldest, m->kind == KIND_USER ? "a user" : "public",
                              m->left);
            s->lost += m->left;
        }
        m->left = 0;
    }
}

/* ---- What the clients do ---- */

static void life_ends(Soak *s, Peer *peer)
{
    peer_reset(peer);
    peer->deaf = peer->sse = false;
    s->ends++;
}

static void say(Peer *peer, const char *text)
{
    (void)peer_send(peer, OP_TEXT, text, strlen(text));
}

static void opened(Soak *s, Peer *peer, Life *life)
{
    static const char half[] = {(char)0x81, (char)0xfe, 1};
    static const char begin[] = {1, (char)0x82, 0, 0, 0, 0, '{', '"'};
    static const char bad[] = {(char)0x81, 2, '{', '}'};

    switch ((Plan)life->plan) {
    case RESET_ON_ANSWER:
    case EVENTS_AND_RESET:
        life_ends(s, peer);
        break;
    case RESET_WHILE_SUBSCRIBING:
        say(peer, "{\"type\":\"subscribe\",\"stream\":\"list\",\"list\":\"1\"}");
        say(peer, "{\"type\":\"subscribe\",\"stream\":\"hashtag\",\"tag\":\"vanished\"}");
        if (below(s, 2))
            life_ends(s, peer);
        break;
    case HALF_A_FRAME:
        (void)peer_write(peer, half, sizeof half);
        break;
    case HALF_A_MESSAGE:
        (void)peer_write(peer, begin, sizeof begin);
        break;
    case BAD_FRAME:
        (void)peer_write(peer, bad, sizeof bad);
        break;
    case CLOSE_FRAME:
        (void)peer_send(peer, OP_CLOSE, "\x03\xe8", 2);
        break;
    case MANY_SUBSCRIPTIONS:
        for (int i = 0; i < 30; i++) {
            char text[100];
            (void)snprintf(text, sizeof text,
                           "{\"type\":\"%s\",\"stream\":\"hashtag\",\"tag\":\"t%u\"}",
                           below(s, 3) ? "subscribe" : "unsubscribe", below(s, 20));
            say(peer, text);
        }
        break;
    default:
        say(peer, "{\"type\":\"subscribe\",\"stream\":\"direct\"}");
    }
}

static char *request_of(Soak *s, Peer *peer, Life *life)
{
    static const char *const streams[] = {"/?stream=user", "/?stream=public",
                                          "/?stream=hashtag&tag=sea", "/"};
    bool events = life->plan == EVENTS_AND_RESET || life->plan == EVENTS_FOR_A_WHILE;

    peer->sse = events;
    return peer_request(life->plan == BAD_TOKEN ? "nobody-" : s->token, peer->number,
                        events ? "/api/v1/streaming/public" : streams[below(s, ARRAY_LEN(streams))],
                        events);
}

static void begin_life(Soak *s, Peer *peer, Life *life)
{
    life->plan = (uint8_t)below(s, PLANS);
    life->until = peer_now() +
                  (life->plan >= STAY_A_WHILE ? 1 + below(s, 30) : 0.02 + below(s, 3000) / 1000.0);
    peer->number = (uint32_t)(s->stayers + below(s, (uint32_t)(s->users - s->stayers)));
    _cleanup_free_ char *request = request_of(s, peer, life);
    if (life->plan == HALF_A_REQUEST)
        request[1 + below(s, (uint32_t)strlen(request) - 2)] = 0;
    else if (life->plan == CONNECT_AND_RESET)
        request[0] = 0;
    peer->deaf = life->plan == DEAF;
    if (!peer_open(&s->p, peer, request)) {
        peer->state = PEER_NONE;
        return;
    }
    s->born++;
    if (life->plan == CONNECT_AND_RESET || (life->plan == RESET_WHILE_ASKED && below(s, 2)))
        life_ends(s, peer);
    else if (life->plan == DEAF)
        peers_forget(&s->p, peer->fd); /* its subscription comes from the request alone */
}

/* Each tick looks at some of them. */
static void churn(Soak *s, int64_t births)
{
    int64_t count = s->connections - s->stayers;
    double now = peer_now();

    for (int64_t i = 0; i < count / 10 + 1 && count; i++) {
        size_t at = (size_t)s->stayers + s->cursor++ % (size_t)count;
        Peer *peer = &s->peers[at];
        Life *life = &s->lives[at];
        if (peer->state != PEER_NONE && now >= life->until) {
            if (peer->state == PEER_OPEN && below(s, 2))
                (void)peer_send(peer, OP_CLOSE, "", 0);
            life_ends(s, peer);
        } else if (peer->state == PEER_NONE && births > 0) {
            begin_life(s, peer, life);
            births--;
        }
    }
}

/* ---- What comes ---- */

static void on_open(Peers *p, Peer *peer, int status)
{
    Soak *s = p->user;
    size_t at = (size_t)(peer - s->peers);

    if (status == 0) {
        life_ends(s, peer); /* a full backlog; another time */
    } else if (stayer(s, peer)) {
        if (status != 101) {
            (void)fprintf(stderr, "a client that stays was answered %d\n", status);
            exit(2);
        }
    } else if (status == 101 || status == 200) {
        opened(s, peer, &s->lives[at]);
    } else {
        life_ends(s, peer);
    }
}

static void on_end(Peers *p, Peer *peer, const char *why)
{
    Soak *s = p->user;

    if (stayer(s, peer)) {
        s->cut++;
        (void)fprintf(stderr, "client %u that stays was cut: %s\n", peer->number, why);
    } else {
        s->ends++;
        peer->sse = false;
    }
}

static void on_message(Peers *p, Peer *peer)
{
    Soak *s = p->user;
    int64_t sequence = stayer(s, peer) ? post_sequence(peer->start) : -1;

    if (sequence < 0)
        return;
    if (sequence <= peer->seen) {
        if (!s->doubled++)
            (void)fprintf(stderr, "doubled or out of order: %lld behind %lld\n",
                          (long long)sequence, (long long)peer->seen);
        return;
    }
    peer->seen = sequence;
    Message *m = &s->ring[sequence % RING];
    if (sequence < s->oldest || !m->left)
        return;
    s->delivered++;
    if (--m->left == 0 && m->kind == KIND_PUBLIC && s->postgres_settling && !s->postgres_down &&
        sequence >= s->settled)
        s->postgres_settling = false;
}

static void on_stdin(Soak *s)
{
    char line[256];
    ssize_t n = read(STDIN_FILENO, line, sizeof line - 1);

    if (n <= 0)
        exit(2); /* whoever started it is gone */
    line[n] = 0;
    if (strstr(line, "postgres down")) {
        excuse(s, true);
        s->postgres_down = s->postgres_settling = true;
    }
    if (strstr(line, "postgres up")) {
        s->postgres_down = false;
        s->settled = s->published;
    }
}

static void on_other(Peers *p, void *what)
{
    Soak *s = p->user;
    if (what == s)
        on_stdin(s);
    else if (!publisher_read(&s->b))
        redis_gone(s);
}

static void report(Soak *s, const char *event, double since)
{
    (void)printf("{\"event\":\"%s\",\"seconds\":%.1f,\"born\":%lld,\"ended\":%lld,\"published\":%"
                 "lld,\"due\":%lld,"
                 "\"delivered\":%lld,\"excused\":%lld,\"lost\":%lld,\"doubled\":%lld,\"cut\":%lld,"
                 "\"redis_restarts\":%lld}\n",
                 event, peer_now() - since, (long long)s->born, (long long)s->ends,
                 (long long)s->published, (long long)s->due, (long long)s->delivered,
                 (long long)s->excused, (long long)s->lost, (long long)s->doubled,
                 (long long)s->cut, (long long)s->restarts);
    (void)fflush(stdout);
}

static bool redis_there(Soak *s)
{
    if (!s->redis_down)
        return true;
    if (peer_now() < s->retry_at)
        return false;
    s->retry_at = peer_now() + 0.1;
    s->redis_down = !publisher_open(&s->b, &s->p, s->redis);
    return !s->redis_down;
}

static void turn(Soak *s)
{
    peers_turn(&s->p, TICK_MS / 1000.0);
    if (!s->redis_down && !publisher_flush(&s->b))
        redis_gone(s);
    look_at_old(s);
}

/* Until each of them has seen something: from then on nothing may be lost. */
static void stayers_open(Soak *s)
{
    double end = peer_now() + 60, due = 0;

    for (int64_t i = 0; i < s->stayers; i++) {
        Peer *peer = &s->peers[i];
        peer->number = (uint32_t)i;
        peer->seen = -1;
        s->public_stayers += i % 2;
        _cleanup_free_ char *request = peer_request(
            s->token, peer->number, i % 2 ? "/?stream=public" : "/?stream=user", false);
        if (!peer_open(&s->p, peer, request))
            exit(2);
        if (i % 100 == 99)
            peers_turn(&s->p, 0.05);
    }
    for (bool all = false; !all; turn(s)) {
        if (peer_now() > end) {
            (void)fprintf(stderr, "not all clients that stay get something\n");
            exit(2);
        }
        all = true;
        for (int64_t i = 0; i < s->stayers; i++)
            all = all && s->peers[i].seen >= 0;
        if (peer_now() < due)
            continue;
        due = peer_now() + 0.1;
        publish(s, KIND_PUBLIC);
        for (int64_t i = 0; i < s->stayers; i++)
            publish(s, KIND_USER);
    }
    s->strict = true;
}

static void run(Soak *s)
{
    double start = peer_now(), end = start + (double)s->seconds, said = start, due = start,
           born = 0;

    while (peer_now() < end) {
        double now = peer_now();
        born += (double)s->born_per_s * TICK_MS / 1000;
        churn(s, (int64_t)born);
        born -= (double)(int64_t)born;
        for (; redis_there(s) && due <= now; due += 1.0 / (double)s->rate)
            publish(s, below(s, 4) ? KIND_USER : KIND_PUBLIC);
        if (s->redis_down)
            due = now;
        turn(s);
        if (now - said >= 5) {
            report(s, "soak", start);
            said = now;
        }
    }
    for (double limit = peer_now() + LOST_AFTER_S + 5;
         s->oldest < s->published && peer_now() < limit;) {
        (void)redis_there(s);
        turn(s);
    }
    for (int64_t i = 0; i < s->connections; i++)
        peer_reset(&s->peers[i]);
    report(s, "end", start);
}

static const struct option options[] = {
    {"server", required_argument, NULL, 's'},  {"redis", required_argument, NULL, 'r'},
    {"token", required_argument, NULL, 'T'},   {"connections", required_argument, NULL, 'k'},
    {"stayers", required_argument, NULL, 'S'}, {"users", required_argument, NULL, 'u'},
    {"seconds", required_argument, NULL, 't'}, {"births", required_argument, NULL, 'b'},
    {"account", required_argument, NULL, 'a'}, {"rate", required_argument, NULL, 'R'},
    {"seed", required_argument, NULL, 'x'},    {0},
};

static void parse(Soak *s, int argc, char **argv)
{
    int64_t
        seed = 1,
        *numbers[256] = {
            ['k'] = &s->connections, ['S'] = &s->stayers, ['u'] = &s->users, ['t'] = &s->seconds,
            ['b'] = &s->born_per_s,  ['a'] = &s->account, ['R'] = &s->rate,  ['x'] = &seed};
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (c == 's')
            s->server = optarg;
        else if (c == 'r')
            s->redis = optarg;
        else if (c == 'T')
            s->token = optarg;
        else if (c == '?' || !numbers[c] || !parse_int(optarg, 0, INT64_MAX / 2, numbers[c]))
            exit(2);
    }
    s->random = 88172645463325252ULL ^ (uint64_t)seed * 2654435761ULL;
    if (s->stayers < 2 || s->stayers > s->connections || s->users <= s->stayers || !s->rate)
        exit(2);
}

int main(int argc, char **argv)
{
    static Soak s;

    signal(SIGPIPE, SIG_IGN); /* hiredis writes to a Redis that has just gone */
    s.server = "127.0.0.1:4000";
    s.redis = "127.0.0.1:6379";
    s.token = "bench-";
    s.connections = 1000;
    s.stayers = 100;
    s.users = 2000;
    s.seconds = 60;
    s.born_per_s = 300;
    s.account = 1000;
    s.rate = 100;
    parse(&s, argc, argv);
    peers_init(&s.p, s.server);
    s.p.on_open = on_open;
    s.p.on_end = on_end;
    s.p.on_message = on_message;
    s.p.on_other = on_other;
    s.p.user = &s;
    s.b.on_reply = on_reply;
    s.b.user = &s;
    if (!publisher_open(&s.b, &s.p, s.redis))
        return 2;
    peers_watch(&s.p, STDIN_FILENO, &s);
    s.peers = xcalloc((size_t)s.connections, sizeof *s.peers);
    s.lives = xcalloc((size_t)s.connections, sizeof *s.lives);
    stayers_open(&s);
    report(&s, "ready", peer_now());
    run(&s);
    publisher_close(&s.b, &s.p);
    peers_clear(&s.p);
    free(s.peers);
    free(s.lives);
    return s.lost || s.doubled || s.cut ? 1 : 0;
}
