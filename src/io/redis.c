#include "io/redis.h"
#include "io/tls_socket.h"

#include <errno.h>
#include <hiredis/hiredis.h>

#define MAX_ARGS 64
#define MAX_DEPTH 8

struct Redis {
    redisContext *context;
    TlsSocket *tls; /* NULL: hiredis reads and writes by itself */
    Buf out;        /* with TLS: commands that were not written yet */
    bool lost;      /* with TLS: the connection is */
    size_t trips;
    bool unsent; /* commands wait in hiredis's buffer, or in `out` */
};

/* What the first word of an error reply means to a caller; anything else is a refusal. */
static const struct {
    const char *word;
    ErrKind kind;
} error_rows[] = {
    {"NOAUTH", ERR_AUTH},          {"WRONGPASS", ERR_AUTH},    {"ERR invalid password", ERR_AUTH},
    {"NOPERM", ERR_DENIED},        {"LOADING", ERR_TEMPORARY}, {"BUSY", ERR_TEMPORARY},
    {"MASTERDOWN", ERR_TEMPORARY},
};

static int error_reply(const redisReply *reply, Err *err)
{
    for (size_t i = 0; i < ARRAY_LEN(error_rows); i++)
        if (starts_with(reply->str, error_rows[i].word))
            return err_set(err, error_rows[i].kind, "Redis says: %s", reply->str);
    return err_set(err, ERR_CONFLICT, "Redis says: %s", reply->str);
}

static int connection_error(const redisContext *c, Err *err)
{
    /* With REDIS_ERR_IO the words are those of errno (hiredis.h). */
    if (c->err == REDIS_ERR_IO && errno == EAGAIN)
        return err_set(err, ERR_TEMPORARY, "Redis does not answer in time");
    return err_set(err, c->err == REDIS_ERR_PROTOCOL ? ERR_CORRUPT : ERR_TEMPORARY,
                   "cannot talk to Redis: %s", c->errstr);
}

static bool copy_reply(const redisReply *from, RedisReply *to, int depth)
{
    switch (from->type) {
    case REDIS_REPLY_STRING:
    case REDIS_REPLY_STATUS:
    case REDIS_REPLY_ERROR:
        to->type = REDIS_TEXT;
        to->len = (size_t)from->len;
        to->text = xcalloc(to->len + 1, 1);
        memcpy(to->text, from->str, to->len);
        return true;
    case REDIS_REPLY_INTEGER:
        to->type = REDIS_INTEGER;
        to->integer = from->integer;
        return true;
    case REDIS_REPLY_ARRAY:
        if (depth >= MAX_DEPTH)
            return false;
        to->type = REDIS_LIST;
        to->len = from->elements;
        to->items = xcalloc(from->elements + 1, sizeof *to->items);
        for (size_t i = 0; i < from->elements; i++)
            if (!copy_reply(from->element[i], &to->items[i], depth + 1))
                return false;
        return true;
    default:
        to->type = REDIS_NIL;
        return true;
    }
}

void redis_send(Redis *r, const char *const *argv)
{
    const char *args[MAX_ARGS];
    int n = 0;

    for (; argv[n]; n++) {
        BUG_IF(n >= MAX_ARGS);
        args[n] = argv[n];
    }
    r->unsent = true;
    if (!r->tls) {
        /* It fails for want of memory alone, and after an error that redis_next tells of. */
        (void)redisAppendCommandArgv(r->context, n, args, NULL);
        return;
    }
    char *text = NULL;
    int len = redisFormatCommandArgv(&text, n, args, NULL);
    BUG_IF(len < 0); /* no memory */
    buf_add(&r->out, text, (size_t)len);
    explicit_bzero(text, (size_t)len);
    redisFreeCommand(text);
}

size_t redis_trips(const Redis *r)
{
    return r->trips;
}

bool redis_broken(const Redis *r)
{
    return r->lost || r->context->err != 0;
}

int redis_command(Redis *r, const char *const *argv, RedisReply *ret, Err *err)
{
    redis_send(r, argv);
    return redis_next(r, ret, err);
}

static int tls_lost(Redis *r, Err *err)
{
    r->lost = true;
    if (errno == EAGAIN)
        return err_set(err, ERR_TEMPORARY, "Redis does not answer in time");
    return err_set(err, ERR_TEMPORARY, "cannot talk to Redis: %s",
                   errno ? strerror(errno) : "it hung up");
}

/* As redisGetReply does. */
static int tls_reply(Redis *r, void **ret, Err *err)
{
    char piece[16384];

    if (r->lost)
        return err_set(err, ERR_TEMPORARY, "cannot talk to Redis: the connection is lost");
    for (size_t done = 0; done < r->out.len;) {
        ssize_t n = tls_socket_write(r->tls, r->out.p + done, r->out.len - done);
        if (n < 0)
            return tls_lost(r, err);
        done += (size_t)n;
    }
    explicit_bzero(r->out.p, r->out.len);
    r->out.len = 0;
    for (;;) {
        if (redisGetReplyFromReader(r->context, ret) != REDIS_OK)
            return connection_error(r->context, err);
        if (*ret)
            return 0;
        errno = 0;
        ssize_t n = tls_socket_read(r->tls, piece, sizeof piece);
        if (n <= 0)
            return tls_lost(r, err);
        (void)redisReaderFeed(r->context->reader, piece, (size_t)n);
    }
}

int redis_next(Redis *r, RedisReply *ret, Err *err)
{
    void *any = NULL;

    /* What waits redisGetReply sends first (hiredis.h). */
    r->trips += r->unsent;
    r->unsent = false;
    errno = 0;
    int k = r->tls ? tls_reply(r, &any, err) : 0;
    if (k < 0)
        return k;
    if (!r->tls)
        (void)redisGetReply(r->context, &any); /* none: its error is in the context */
    if (!any)
        return connection_error(r->context, err);
    redisReply *reply = any;
    RedisReply copy = {0};
    int result = 0;
    if (reply->type == REDIS_REPLY_ERROR)
        result = error_reply(reply, err);
    else if (!copy_reply(reply, &copy, 0))
        result = err_set(err, ERR_CORRUPT, "Redis answers with lists that are nested too deep");
    freeReplyObject(reply);
    if (result < 0)
        redis_reply_clear(&copy);
    else
        *ret = copy;
    return result;
}

static int log_in(Redis *r, const RedisTarget *t, Err *err)
{
    _cleanup_(redis_reply_clear) RedisReply reply = {0};
    if (!t->password)
        return 0;
    const char *password = secret_expose(t->password).p;
    return redis_command(r,
                         t->user ? (const char *const[]){"AUTH", t->user, password, NULL}
                                 : (const char *const[]){"AUTH", password, NULL},
                         &reply, err);
}

static int start_tls(Redis *r, const RedisTarget *t, const char *host, Err *err)
{
    r->out = BUF_INIT(SIZE_MAX / 2);
    int k = tls_socket_new(r->context->fd, host, t->ca_file, &r->tls, err);
    if (k == 0)
        k = tls_socket_handshake(r->tls, err);
    if (k == 0) /* it is to wait, and has */
        k = err_set(err, ERR_TEMPORARY, "it does not answer in time");
    return k < 0 ? err_wrap(err, "TLS with Redis at %s", host) : 0;
}

static int open_at(const RedisTarget *t, const char *host, int port, Redis **ret, Err *err)
{
    Msec wait = t->timeout_ms ? t->timeout_ms : SECOND;
    struct timeval tv = {.tv_sec = wait / SECOND, .tv_usec = (wait % SECOND) * 1000};
    _cleanup_(redis_drop) Redis *r = NEW(Redis);

    r->context = redisConnectWithTimeout(host, port, tv);
    if (!r->context)
        return err_set(err, ERR_IO, "cannot make a connection to Redis");
    if (r->context->err)
        return err_set(err, ERR_TEMPORARY, "cannot reach Redis at %s:%d: %s", host, port,
                       r->context->errstr);
    if (redisSetTimeout(r->context, tv) != REDIS_OK)
        return err_set(err, ERR_IO, "cannot set the timeout of a connection: %s",
                       r->context->errstr);
    int result = t->tls ? start_tls(r, t, host, err) : 0;
    if (result == 0)
        result = log_in(r, t, err);
    if (result == 0)
        *ret = TAKE(r);
    return result;
}

/* Redis's documentation, "Guidelines for Redis clients with support for Redis Sentinel": the
 * Sentinel is asked at each connection, and is not logged into. */
static int open_by_sentinel(const RedisTarget *t, Redis **ret, Err *err)
{
    const RedisTarget plain = {.host = t->host,
                               .port = t->port,
                               .tls = t->tls,
                               .ca_file = t->ca_file,
                               .timeout_ms = t->timeout_ms};
    _cleanup_(redis_drop) Redis *sentinel = NULL;
    _cleanup_(redis_reply_clear) RedisReply at = {0};
    int64_t port = 0;

    int r = open_at(&plain, t->host, t->port, &sentinel, err);
    BUG_IF(r == 0 && !sentinel);
    if (r == 0)
        r = redis_command(
            sentinel,
            (const char *const[]){"SENTINEL", "get-master-addr-by-name", t->sentinel, NULL}, &at,
            err);
    if (r < 0)
        return err_wrap(err, "asking the Sentinel");
    if (at.type != REDIS_LIST || at.len != 2 || !at.items[0].text || !at.items[1].text ||
        !parse_int(at.items[1].text, 1, 65535, &port))
        return err_set(err, ERR_NOT_FOUND, "the Sentinel knows no master '%s'", t->sentinel);
    return open_at(t, at.items[0].text, (int)port, ret, err);
}

int redis_open(const RedisTarget *t, Redis **ret, Err *err)
{
    return t->sentinel ? open_by_sentinel(t, ret, err) : open_at(t, t->host, t->port, ret, err);
}

Redis *redis_close(Redis *r)
{
    if (!r)
        return NULL;
    (void)tls_socket_free(r->tls);
    buf_wipe(&r->out);
    if (r->context)
        redisFree(r->context);
    free(r);
    return NULL;
}

void redis_reply_clear(RedisReply *r)
{
    free(r->text);
    for (size_t i = 0; r->items && i < r->len; i++)
        redis_reply_clear(&r->items[i]);
    free(r->items);
    *r = (RedisReply){0};
}
