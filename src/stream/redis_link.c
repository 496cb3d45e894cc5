#include "stream/redis_link.h"
#include "base/log.h"
#include "io/tls_socket.h"
#include "stream/fd_watch.h"
#include <errno.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define CONNECT_MS (10 * SECOND)
#define OUT_MAX ((size_t)256 << 20)
#define READ_BYTES ((size_t)64 << 10)

typedef enum State {
    WAITING, /* for the next try */
    RESOLVING,
    CONNECTING,
    SHAKING,    /* TLS */
    LOGGING_IN, /* replies to AUTH and SELECT are awaited */
    ASKING,     /* a sentinel */
    READY
} State;

struct RedisLink {
    RedisLinkOptions o;
    State state;
    unsigned tries;
    uv_timer_t *timer;
    uv_getaddrinfo_t *resolving;
    struct addrinfo *addresses, *address; /* all, the one being tried */
    RedisPlace place;                     /* what is being connected to; its strings are borrowed */
    char *master_host;                    /* told by a sentinel */
    size_t sentinel;                      /* the next one to ask */
    bool to_sentinel;
    int fd;
    FdWatch *watch;
    TlsSocket *tls;
    redisReader *reader;
    Buf out;
    size_t sent;
    int awaited; /* replies of logging in */
    Msec heard, pinged, began;
    char *last_words; /* of the last failure that was logged */
};

static void start(RedisLink *l);
static void on_event(void *user, int events);

static void free_handle(uv_handle_t *h)
{
    free(h);
}

static void on_timer(uv_timer_t *timer)
{
    start(timer->data);
}

/* Forgets the connection, not the link. */
static void disconnect(RedisLink *l)
{
    l->tls = tls_socket_free(l->tls);
    l->watch = fd_watch_end(l->watch, true);
    l->fd = -1;
    if (l->reader)
        redisReaderFree(l->reader);
    l->reader = NULL;
    buf_wipe(&l->out);
    l->sent = 0;
    if (l->resolving) {
        l->resolving->data = NULL;
        (void)uv_cancel((uv_req_t *)l->resolving);
        l->resolving = NULL;
    }
    if (l->addresses)
        uv_freeaddrinfo(l->addresses);
    l->addresses = l->address = NULL;
}

static void lost(RedisLink *l, const char *why)
{
    bool was_ready = l->state == READY;

    if (was_ready || !streq(why, l->last_words)) {
        log_warn("Redis (%s): %s; trying again", l->o.word, why);
        free(l->last_words);
        l->last_words = xstrdup(why);
    }
    disconnect(l);
    l->state = WAITING;
    l->tries = was_ready ? 1 : l->tries + 1;
    (void)uv_timer_start(l->timer, on_timer, MIN(50u * l->tries, 2000u), 0);
}

static bool out_is_empty(const RedisLink *l)
{
    return l->sent == l->out.len;
}

static void want(RedisLink *l)
{
    bool write = !out_is_empty(l) || (l->tls && tls_socket_wants_write(l->tls));
    if (l->watch)
        fd_watch_for(l->watch, UV_READABLE | (write ? UV_WRITABLE : 0));
}

void redis_link_flush(RedisLink *l)
{
    if (l->state < LOGGING_IN)
        return;
    while (!out_is_empty(l)) {
        const char *p = l->out.p + l->sent;
        size_t n = l->out.len - l->sent;
        ssize_t done = l->tls ? tls_socket_write(l->tls, p, n)
                              : send(l->fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0 && errno != EAGAIN) {
            lost(l, "the connection ended");
            return;
        }
        if (done < 0)
            break;
        l->sent += (size_t)done;
        if (out_is_empty(l)) {
            buf_truncate(&l->out, 0);
            l->sent = 0;
            if (l->out.cap > READ_BYTES)
                buf_clear(&l->out);
        }
    }
    want(l);
}

static void add(RedisLink *l, int argc, const char **argv, const size_t *len)
{
    char *text = NULL;
    long long n = redisFormatCommandArgv(&text, argc, argv, len);
    BUG_IF(n < 0);
    buf_add(&l->out, text, (size_t)n);
    redisFreeCommand(text);
}

void redis_link_add(RedisLink *l, int argc, const char **argv, const size_t *len)
{
    if (l->state == READY)
        add(l, argc, argv, len);
}

static void log_in(RedisLink *l)
{
    l->reader = redisReaderCreate();
    l->awaited = 0;
    l->state = LOGGING_IN;
    if (l->place.password) {
        const char *argv[3] = {"AUTH"};
        int n = 1;
        if (l->place.user)
            argv[n++] = l->place.user;
        argv[n++] = secret_expose(l->place.password).p;
        add(l, n, argv, NULL);
        l->awaited++;
    }
    if (l->to_sentinel) {
        const char *argv[] = {"SENTINEL", "get-master-addr-by-name", l->o.config->sentinel_master};
        add(l, 3, argv, NULL);
    } else {
        char db[24];
        (void)snprintf(db, sizeof(db), "%lld", (long long)l->place.db);
        const char *select[] = {"SELECT", db};
        add(l, 2, select, NULL);
        l->awaited++;
    }
    if (l->to_sentinel && l->awaited == 0)
        l->state = ASKING;
    redis_link_flush(l);
}

static void shake(RedisLink *l)
{
    _cleanup_(err_clear) Err err = {0};
    int r = tls_socket_handshake(l->tls, &err);
    if (r < 0)
        lost(l, err.text);
    else if (r == 1)
        log_in(l);
    else
        fd_watch_for(l->watch, tls_socket_wants_write(l->tls) ? UV_WRITABLE : UV_READABLE);
}

static void connected(RedisLink *l)
{
    _cleanup_(err_clear) Err err = {0};

    if (!l->place.tls) {
        log_in(l);
        return;
    }
    l->state = SHAKING;
    if (tls_socket_new(l->fd, l->place.host, l->o.config->ca_file, &l->tls, &err) < 0)
        lost(l, err.text);
    else
        shake(l);
}

static bool connect_to(RedisLink *l, const struct sockaddr *address, socklen_t n)
{
    l->fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (l->fd < 0)
        return false;
    int on = 1;
    if (address->sa_family != AF_UNIX) {
        (void)setsockopt(l->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)); /* only faster */
        (void)setsockopt(l->fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    }
    if (connect(l->fd, address, n) < 0 && errno != EINPROGRESS) {
        int error = errno;
        (void)close(l->fd);
        l->fd = -1;
        errno = error;
        return false;
    }
    l->state = CONNECTING;
    l->watch = fd_watch_new(l->o.loop, l->fd, on_event, l);
    fd_watch_for(l->watch, UV_WRITABLE);
    return true;
}

/* The next of the addresses of a name. */
static void connect_next(RedisLink *l)
{
    char why[160];

    while (l->address) {
        const struct addrinfo *a = l->address;
        l->address = a->ai_next;
        if (connect_to(l, a->ai_addr, a->ai_addrlen))
            return;
    }
    (void)snprintf(why, sizeof(why), "cannot connect to %s port %d: %s", l->place.host,
                   l->place.port, strerror(errno));
    lost(l, why);
}

static void on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *found)
{
    RedisLink *l = request->data;
    free(request);
    if (!l) {
        if (found)
            uv_freeaddrinfo(found);
        return;
    }
    l->resolving = NULL;
    if (status < 0) {
        char why[160];
        (void)snprintf(why, sizeof(why), "cannot find %s: %s", l->place.host, uv_strerror(status));
        lost(l, why);
        return;
    }
    l->addresses = l->address = found;
    connect_next(l);
}

static void resolve(RedisLink *l)
{
    char port[16];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};

    (void)snprintf(port, sizeof(port), "%d", l->place.port);
    l->state = RESOLVING;
    l->resolving = NEW(uv_getaddrinfo_t);
    l->resolving->data = l;
    if (uv_getaddrinfo(l->o.loop, l->resolving, on_resolved, l->place.host, port, &hints) < 0) {
        free(l->resolving);
        l->resolving = NULL;
        lost(l, "cannot look a name up");
    }
}

static void begin(RedisLink *l, const RedisPlace *place)
{
    l->place = *place;
    l->began = time_mono();
    if (!place->path) {
        resolve(l);
        return;
    }
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    char why[200];
    if (strlen(place->path) < sizeof(a.sun_path)) {
        memcpy(a.sun_path, place->path, strlen(place->path));
        if (connect_to(l, (struct sockaddr *)&a, sizeof(a)))
            return;
    }
    (void)snprintf(why, sizeof(why), "cannot connect to %s: %s", place->path, strerror(errno));
    lost(l, why);
}

static void start(RedisLink *l)
{
    const StreamConfig *c = l->o.config;
    l->to_sentinel = c->sentinels_len > 0;
    begin(l, l->to_sentinel ? &c->sentinels[l->sentinel++ % c->sentinels_len] : &c->redis);
}

/* A sentinel has said where the master is. */
static void on_master(RedisLink *l, const redisReply *reply)
{
    int64_t port;

    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2 ||
        reply->element[0]->type != REDIS_REPLY_STRING ||
        reply->element[1]->type != REDIS_REPLY_STRING ||
        !parse_int(reply->element[1]->str, 1, 65535, &port)) {
        lost(l, "the sentinel knows no such master");
        return;
    }
    free(l->master_host);
    l->master_host = xstrdup(reply->element[0]->str);
    disconnect(l);
    RedisPlace master = l->o.config->redis;
    master.host = l->master_host;
    master.port = (int)port;
    l->to_sentinel = false;
    begin(l, &master);
}

/* Returns false if the connection is not the same any more. */
static bool on_reply(RedisLink *l, redisReply *reply)
{
    if (l->state == ASKING) {
        on_master(l, reply);
        return false;
    }
    if (l->state == READY) {
        l->o.reply(l->o.user, reply);
        return l->state == READY;
    }
    if (reply->type == REDIS_REPLY_ERROR) {
        lost(l, reply->str);
        return false;
    }
    if (--l->awaited > 0)
        return true;
    if (l->to_sentinel) {
        l->state = ASKING;
        return true;
    }
    l->state = READY;
    l->tries = 0;
    l->heard = l->pinged = time_mono();
    free(l->last_words);
    l->last_words = NULL;
    log_debug("Redis (%s): connected", l->o.word);
    l->o.ready(l->o.user);
    return l->state == READY;
}

static bool read_replies(RedisLink *l)
{
    void *reply;

    while (redisReaderGetReply(l->reader, &reply) == REDIS_OK) {
        if (!reply)
            return true;
        bool same = on_reply(l, reply);
        freeReplyObject(reply);
        if (!same)
            return false;
    }
    lost(l, "what came is not Redis's protocol");
    return false;
}

static void on_readable(RedisLink *l)
{
    static char bytes[READ_BYTES]; /* all links are in one thread: the feed's */

    /* Not for ever: others have a turn, and the loop comes back at once for what is left. TLS
     * holds records back, so that its is read to the end. */
    for (int i = 0; i < 16 || l->tls; i++) {
        ssize_t n = l->tls ? tls_socket_read(l->tls, bytes, sizeof(bytes))
                           : recv(l->fd, bytes, sizeof(bytes), MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            break;
        if (n <= 0) {
            lost(l, "the connection ended");
            return;
        }
        l->heard = time_mono();
        if (redisReaderFeed(l->reader, bytes, (size_t)n) != REDIS_OK || !read_replies(l))
            return;
    }
    want(l);
}

static void on_event(void *user, int events)
{
    RedisLink *l = user;

    if (l->state == CONNECTING) {
        int error = 0;
        socklen_t n = sizeof(error);
        if (getsockopt(l->fd, SOL_SOCKET, SO_ERROR, &error, &n) < 0)
            error = errno;
        if (error == 0) {
            connected(l);
            return;
        }
        l->watch = fd_watch_end(l->watch, true);
        l->fd = -1;
        errno = error;
        if (l->address || !l->place.path)
            connect_next(l);
        else
            lost(l, strerror(error));
    } else if (l->state == SHAKING) {
        shake(l);
    } else {
        if (events & UV_READABLE || (l->tls && events))
            on_readable(l);
        if (l->state >= LOGGING_IN && events & UV_WRITABLE)
            redis_link_flush(l);
    }
}

void redis_link_tick(RedisLink *l, Msec now)
{
    Msec silence = l->o.config->settings.redis_silence_ms;

    if (l->state == READY && now - l->heard > silence) {
        lost(l, "nothing was heard for too long");
    } else if (l->state == READY && now - l->heard > silence / 2 && now - l->pinged > silence / 4) {
        const char *argv[] = {"PING"};
        add(l, 1, argv, NULL);
        l->pinged = now;
        redis_link_flush(l);
    } else if (l->state != READY && l->state != WAITING && now - l->began > CONNECT_MS) {
        lost(l, "connecting takes too long");
    }
}

bool redis_link_is_ready(const RedisLink *l)
{
    return l->state == READY;
}

RedisLink *redis_link_new(const RedisLinkOptions *o)
{
    RedisLink *l = NEW(RedisLink);
    l->o = *o;
    l->fd = -1;
    l->out = BUF_INIT(OUT_MAX);
    l->timer = NEW(uv_timer_t);
    (void)uv_timer_init(o->loop, l->timer);
    l->timer->data = l;
    start(l);
    return l;
}

RedisLink *redis_link_free(RedisLink *l)
{
    if (!l)
        return NULL;
    disconnect(l);
    uv_close((uv_handle_t *)l->timer, free_handle);
    free(l->master_host);
    free(l->last_words);
    free(l);
    return NULL;
}
