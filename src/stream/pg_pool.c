#include "stream/pg_pool.h"
#include "base/log.h"
#include "stream/fd_watch.h"
#include <netdb.h>

#define IDLE_MS (10 * SECOND)
#define ANSWER_MS (15 * SECOND)
#define RETRY_MS ((Msec)250)
#define PREPARED_MAX 64

typedef struct Request {
    struct Request *next;
    const PgStatement *statement;
    char *values[PG_PARAMETERS];
    PgDone *done;
    void *user;
    Msec asked;
    bool again; /* its first connection was lost */
} Request;

typedef enum LinkState { LINK_CONNECTING, LINK_IDLE, LINK_PREPARING, LINK_ASKING } LinkState;

typedef struct PgLink {
    struct PgLink *next;
    PgPool *pool;
    PGconn *conn;
    int fd;
    FdWatch *watch;
    LinkState state;
    Request *request; /* under way */
    const PgStatement *prepared[PREPARED_MAX];
    size_t prepared_len;
    PGresult *result;
    Msec since;
} PgLink;

struct PgPool {
    uv_loop_t *loop;
    const StreamConfig *config;
    PgLink *links;
    size_t links_len, size; /* made, at most */
    Request *first, **last;
    size_t waiting;
    char *addresses; /* of the host, "::1,127.0.0.1"; NULL: not looked up yet */
    size_t addresses_len;
    uv_getaddrinfo_t *resolving;
    uv_prepare_t *turn;
    bool prepare, ending;
    Msec not_before; /* the next try to connect */
    char *last_words;
    uint64_t statements, failed;
};

static void on_event(void *user, int events);
static void serve(PgPool *p);

static void request_end(PgPool *p, Request *r, const PGresult *result)
{
    if (!result)
        p->failed++;
    r->done(r->user, result);
    for (size_t i = 0; i < PG_PARAMETERS; i++)
        free(r->values[i]);
    free(r);
}

static void push(PgPool *p, Request *r, bool front)
{
    if (front) {
        r->next = p->first;
        if (!p->first)
            p->last = &r->next;
        p->first = r;
    } else {
        r->next = NULL;
        *p->last = r;
        p->last = &r->next;
    }
    p->waiting++;
}

static Request *pop(PgPool *p)
{
    Request *r = p->first;
    if (r) {
        p->first = r->next;
        if (!p->first)
            p->last = &p->first;
        p->waiting--;
    }
    return r;
}

static void fail_all(PgPool *p)
{
    for (size_t n = p->waiting; n > 0; n--) /* not those that come meanwhile */
        request_end(p, pop(p), NULL);
}

static void say(PgPool *p, const char *why)
{
    if (streq(why, p->last_words))
        return;
    log_warn("PostgreSQL: %s", why);
    free(p->last_words);
    p->last_words = xstrdup(why);
}

static void link_free(PgLink *l)
{
    PgPool *p = l->pool;

    PgLink **at = &p->links;
    while (*at != l)
        at = &(*at)->next;
    *at = l->next;
    p->links_len--;
    l->watch = fd_watch_end(l->watch, false);
    PQclear(l->result);
    PQfinish(l->conn);
    free(l);
}

/* The connection is gone, or its answer overdue. */
static void link_lost(PgLink *l)
{
    PgPool *p = l->pool;
    Request *r = l->request;
    bool connecting = l->state == LINK_CONNECTING;
    _cleanup_free_ char *why = xstrdup(PQerrorMessage(l->conn));

    link_free(l);
    if (r && !r->again && !p->ending) {
        r->again = true;
        push(p, r, true);
    } else if (r) {
        request_end(p, r, NULL);
    }
    if (connecting) {
        say(p, why);
        free(p->addresses); /* it may be elsewhere now */
        p->addresses = NULL;
        p->not_before = (Msec)uv_now(p->loop) + RETRY_MS;
        if (p->links_len == 0)
            fail_all(p);
    }
}

static void watch_again(PgLink *l, int events)
{
    int fd = PQsocket(l->conn);

    if (fd != l->fd || !l->watch) {
        l->watch = fd_watch_end(l->watch, false);
        l->fd = fd;
        if (fd >= 0)
            l->watch = fd_watch_new(l->pool->loop, fd, on_event, l);
    }
    if (l->watch)
        fd_watch_for(l->watch, events);
}

static void flush(PgLink *l)
{
    int left = PQflush(l->conn);
    if (left < 0)
        link_lost(l);
    else
        watch_again(l, UV_READABLE | (left ? UV_WRITABLE : 0));
}

static bool is_prepared(const PgLink *l, const PgStatement *s)
{
    for (size_t i = 0; i < l->prepared_len; i++)
        if (l->prepared[i] == s)
            return true;
    return false;
}

static void send_request(PgLink *l, Request *r)
{
    const PgStatement *s = r->statement;
    const char *const *values = (const char *const *)r->values;
    int ok;

    l->request = r;
    l->since = (Msec)uv_now(l->pool->loop);
    l->state = LINK_ASKING;
    if (!l->pool->prepare || l->prepared_len == PREPARED_MAX) {
        ok = PQsendQueryParams(l->conn, s->sql, s->parameters, NULL, values, NULL, NULL, 0);
    } else if (is_prepared(l, s)) {
        ok = PQsendQueryPrepared(l->conn, s->name, s->parameters, values, NULL, NULL, 0);
    } else {
        l->state = LINK_PREPARING;
        ok = PQsendPrepare(l->conn, s->name, s->sql, s->parameters, NULL);
    }
    if (ok)
        flush(l);
    else
        link_lost(l);
}

/* All of one statement's answer is there. */
static void answered(PgLink *l)
{
    PgPool *p = l->pool;
    Request *r = l->request;
    PGresult *result = TAKE(l->result);
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    LinkState was = l->state;

    l->state = LINK_IDLE;
    l->since = (Msec)uv_now(p->loop);
    l->request = NULL;
    if (was == LINK_PREPARING && PQresultStatus(result) == PGRES_COMMAND_OK) {
        PQclear(result);
        l->prepared[l->prepared_len++] = r->statement;
        send_request(l, r);
        return;
    }
    /* A pooler gave another session than the one that had prepared, or had it already. */
    if (p->prepare && (streq(state, "26000") || streq(state, "42P05"))) {
        log_warn("PostgreSQL: prepared statements do not last (a pooler?); going on without");
        p->prepare = false;
        PQclear(result);
        send_request(l, r);
        return;
    }
    bool ok = was == LINK_ASKING && PQresultStatus(result) == PGRES_TUPLES_OK;
    if (!ok)
        say(p, result ? PQresultErrorMessage(result) : PQerrorMessage(l->conn));
    p->statements++;
    request_end(p, r, ok ? result : NULL);
    PQclear(result);
}

static void read_answers(PgLink *l)
{
    if (!PQconsumeInput(l->conn)) {
        link_lost(l);
        return;
    }
    while (l->state != LINK_IDLE && !PQisBusy(l->conn)) {
        PGresult *result = PQgetResult(l->conn);
        if (result) {
            PQclear(l->result);
            l->result = result;
            continue;
        }
        if (PQstatus(l->conn) == CONNECTION_BAD) {
            link_lost(l);
            return;
        }
        PgPool *p = l->pool;
        answered(l); /* may have lost the link */
        bool there = false;
        for (const PgLink *other = p->links; other; other = other->next)
            there = there || other == l;
        if (!there)
            return;
    }
    if (l->state == LINK_IDLE && !PQisBusy(l->conn)) {
        PGresult *stray = PQgetResult(l->conn);
        PQclear(stray);
        if (PQstatus(l->conn) == CONNECTION_BAD) {
            link_lost(l);
            return;
        }
    }
    serve(l->pool);
}

static void poll_connect(PgLink *l)
{
    switch (PQconnectPoll(l->conn)) {
    case PGRES_POLLING_READING:
        watch_again(l, UV_READABLE);
        break;
    case PGRES_POLLING_WRITING:
        watch_again(l, UV_WRITABLE);
        break;
    case PGRES_POLLING_OK:
        l->state = LINK_IDLE;
        l->since = (Msec)uv_now(l->pool->loop);
        free(l->pool->last_words);
        l->pool->last_words = NULL;
        (void)PQsetnonblocking(l->conn, 1);
        watch_again(l, UV_READABLE);
        serve(l->pool);
        break;
    default:
        link_lost(l);
    }
}

static void on_event(void *user, int events)
{
    PgLink *l = user;

    if (l->state == LINK_CONNECTING) {
        /* The descriptor may be another one behind the same number: watch it anew. */
        l->watch = fd_watch_end(l->watch, false);
        poll_connect(l);
        return;
    }
    if (events & UV_READABLE)
        read_answers(l);
    else if (events & UV_WRITABLE)
        flush(l);
}

static void connect_one(PgPool *p)
{
    const StreamConfig *c = p->config;
    size_t n = c->pg_keys.len;
    const char **keys = xcalloc(n + 2, sizeof(*keys)), **values = xcalloc(n + 2, sizeof(*values));
    _cleanup_(buf_clear) Buf hosts = BUF_INIT(BUF_MAX_LINE);

    for (size_t i = 0; i < n; i++) {
        keys[i] = c->pg_keys.items[i];
        values[i] = c->pg_values.items[i];
        if (p->addresses && streq(keys[i], "host")) {
            for (size_t k = 0; k < p->addresses_len; k++)
                buf_printf(&hosts, "%s%s", k ? "," : "", c->pg_host);
            values[i] = hosts.p;
        }
    }
    if (p->addresses) {
        keys[n] = "hostaddr";
        values[n] = p->addresses;
    }
    PgLink *l = NEW(PgLink);
    l->pool = p;
    l->fd = -1;
    l->state = LINK_CONNECTING;
    l->since = (Msec)uv_now(p->loop);
    l->conn = PQconnectStartParams(keys, values, 0);
    free((void *)keys);
    free((void *)values);
    l->next = p->links;
    p->links = l;
    p->links_len++;
    if (!l->conn || PQstatus(l->conn) == CONNECTION_BAD)
        link_lost(l);
    else
        watch_again(l, UV_WRITABLE);
}

static void on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *found)
{
    PgPool *p = request->data;
    _cleanup_(buf_clear) Buf list = BUF_INIT(BUF_MAX_LINE);

    free(request);
    if (p) {
        p->resolving = NULL;
        p->addresses_len = 0;
        for (const struct addrinfo *a = found; a && status >= 0; a = a->ai_next) {
            char text[NI_MAXHOST];
            if (getnameinfo(a->ai_addr, a->ai_addrlen, text, sizeof(text), NULL, 0,
                            NI_NUMERICHOST) != 0)
                continue;
            buf_printf(&list, "%s%s", list.len ? "," : "", text);
            p->addresses_len++;
        }
        if (p->addresses_len) {
            free(p->addresses);
            p->addresses = buf_detach(&list);
        } else {
            say(p, "cannot find its host");
            p->not_before = (Msec)uv_now(p->loop) + RETRY_MS;
            if (p->links_len == 0)
                fail_all(p);
        }
    }
    if (found)
        uv_freeaddrinfo(found);
}

static void resolve(PgPool *p)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};

    p->resolving = NEW(uv_getaddrinfo_t);
    p->resolving->data = p;
    if (uv_getaddrinfo(p->loop, p->resolving, on_resolved, p->config->pg_host, NULL, &hints) < 0) {
        free(p->resolving);
        p->resolving = NULL;
        fail_all(p);
    }
}

/* Gives what waits to idle connections, and makes more where there are none. */
static void serve(PgPool *p)
{
    size_t coming = 0;

    for (PgLink *l = p->links, *next; l && p->first; l = next) {
        next = l->next;
        coming += l->state == LINK_CONNECTING;
        if (l->state == LINK_IDLE)
            send_request(l, pop(p));
    }
    while (p->waiting > coming && p->links_len < p->size &&
           (Msec)uv_now(p->loop) >= p->not_before) {
        if (p->config->pg_host && !p->addresses) {
            if (!p->resolving)
                resolve(p);
            return;
        }
        connect_one(p);
        coming++;
        if (!p->links) /* refused at once */
            return;
    }
}

static void on_turn(uv_prepare_t *turn)
{
    PgPool *p = turn->data;
    if (p->first)
        serve(p);
}

void pg_pool_ask(PgPool *p, const PgStatement *s, const char *const *values, PgDone *done,
                 void *user)
{
    Request *r = NEW(Request);

    r->statement = s;
    r->done = done;
    r->user = user;
    r->asked = (Msec)uv_now(p->loop);
    for (int i = 0; i < s->parameters; i++)
        r->values[i] = values[i] ? xstrdup(values[i]) : NULL;
    push(p, r, false);
}

Str pg_cell(const PGresult *r, int row, int column)
{
    return (Str){PQgetvalue(r, row, column), (size_t)PQgetlength(r, row, column)};
}

int64_t pg_cell_int(const PGresult *r, int row, int column)
{
    int64_t v = 0;
    (void)(PQgetisnull(r, row, column) ||
           parse_int(PQgetvalue(r, row, column), INT64_MIN, INT64_MAX, &v));
    return v;
}

void pg_pool_tick(PgPool *p)
{
    Msec now = (Msec)uv_now(p->loop);
    bool kept = false;

    for (PgLink *l = p->links, *next; l; l = next) {
        next = l->next;
        if (l->state != LINK_IDLE && now - l->since > ANSWER_MS)
            link_lost(l);
        else if (l->state == LINK_IDLE && now - l->since > IDLE_MS && kept)
            link_free(l);
        else
            kept = true;
    }
    while (p->first && now - p->first->asked > PG_WAIT_MS)
        request_end(p, pop(p), NULL);
}

void pg_pool_numbers(const PgPool *p, PgPoolNumbers *ret)
{
    *ret = (PgPoolNumbers){.total = p->links_len,
                           .waiting = p->waiting,
                           .statements = p->statements,
                           .failed = p->failed};
    for (const PgLink *l = p->links; l; l = l->next)
        ret->idle += l->state == LINK_IDLE;
}

PgPool *pg_pool_new(uv_loop_t *loop, const StreamConfig *config, size_t size)
{
    PgPool *p = NEW(PgPool);

    p->loop = loop;
    p->config = config;
    p->size = size;
    p->last = &p->first;
    p->prepare = config->pg_prepare;
    p->turn = NEW(uv_prepare_t);
    p->turn->data = p;
    (void)uv_prepare_init(loop, p->turn);
    (void)uv_prepare_start(p->turn, on_turn);
    return p;
}

static void free_handle(uv_handle_t *h)
{
    free(h);
}

PgPool *pg_pool_free(PgPool *p)
{
    if (!p)
        return NULL;
    p->ending = true;
    if (p->resolving)
        p->resolving->data = NULL;
    for (PgLink *l = p->links, *next; l; l = next) {
        Request *r = l->request;
        next = l->next;
        link_free(l);
        if (r)
            request_end(p, r, NULL);
    }
    fail_all(p);
    uv_close((uv_handle_t *)p->turn, free_handle);
    free(p->addresses);
    free(p->last_words);
    free(p);
    return NULL;
}
