#include "host/health.h"
#include "host/backlog.h"
#include "host/backup.h"
#include "host/container.h"
#include "io/crypt.h"
#include "io/http.h"
#include "io/pg.h"
#include "io/redis.h"
#include "island/roles.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <pwd.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

#define ANSWER_MS (2 * SECOND)

/* Owned by two: who asked, and the thread that finds out. The second to let go frees it. */
struct Health {
    ServiceHealth kind;
    HealthAsk ask;
    pid_t pid;
    pid_t init; /* the first process of its container; 0: none is there */
    bool container, first;
    char *address, *path;
    char *user;    /* that its process has; NULL: not known */
    char *sidekiq; /* what it was told to call its machine; NULL: nothing */
    const char *health_user;
    int port;
    Secret *secret;
    int result;
    json_t *found; /* the thread's until `done` */
    char why[160];
    atomic_bool done;
    atomic_int owners;
};

static void let_go(Health *h)
{
    if (atomic_fetch_sub(&h->owners, 1) > 1)
        return;
    free(h->address);
    free(h->path);
    free(h->user);
    free(h->sidekiq);
    (void)secret_free(h->secret);
    json_decref(h->found);
    free(h);
}

static int ask_tcp(const Health *h, Err *err)
{
    char port[16];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST}, *found = NULL;

    snprintf(port, sizeof port, "%d", h->port);
    if (getaddrinfo(h->address, port, &hints, &found) != 0)
        return err_set(err, ERR_CONFIG, "%s is not an address", h->address);
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int e = fd < 0 || (connect(fd, found->ai_addr, found->ai_addrlen) < 0 && errno != EINPROGRESS)
                ? errno
                : 0;
    freeaddrinfo(found);
    if (e == 0) {
        struct pollfd p = {.fd = fd, .events = POLLOUT};
        socklen_t len = sizeof e;
        if (poll(&p, 1, (int)ANSWER_MS) <= 0)
            e = ETIMEDOUT;
        else if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &e, &len) < 0)
            e = errno;
    }
    if (fd >= 0)
        close(fd);
    return e == 0 ? 0 : err_set(err, ERR_TEMPORARY, "port %d: %s", h->port, strerror(e));
}

/* GET; an answer of any status. `login`: "user:password" and its end, or NULL. */
static int get(const Health *h, const char *path, const Buf *login, HttpResponse *ret, Err *err)
{
    _cleanup_(http_drop) Http *http = http_new(&(HttpOptions){0});
    _cleanup_(strlist_wipe) StrList headers = {0};
    bool v6 = strchr(h->address, ':') != NULL;
    _cleanup_free_ char *url =
        xasprintf("http://%s%s%s:%d%s", v6 ? "[" : "", h->address, v6 ? "]" : "", h->port, path);

    if (login) {
        _cleanup_(buf_wipe) Buf b64 = BUF_INIT(BUF_MAX_LINE);
        crypt_base64(&b64, login->p, login->len);
        strlist_addf(&headers, "Authorization: Basic %s", b64.p);
    }
    http_perform(http,
                 &(HttpRequest){.method = "GET",
                                .url = url,
                                .headers = &headers,
                                .max_body = BUF_MAX_LINE,
                                .timeout_ms = ANSWER_MS},
                 ret, 1);
    return ret->status == 0 ? err_move(err, &ret->err) : 0;
}

static int ask_http(const Health *h, Err *err)
{
    _cleanup_(http_response_clear) HttpResponse answer = {0};
    const char *path = h->path ? h->path : "/";

    int r = get(h, path, NULL, &answer, err);
    if (r == 0 && answer.status != 200)
        r = err_set(err, ERR_TEMPORARY, "%s answers %d", path, answer.status);
    return r;
}

int health_search(int status, Str body, Err *err)
{
    if (status == 401)
        return err_set(err, ERR_DENIED, "the search server does not take its password");
    if (status != 200)
        return err_set(err, ERR_TEMPORARY, "/_cluster/health answers %d", status);
    _cleanup_json_ json_t *found = json_parse_new(body.p, body.n, NULL);
    const char *color = json_str_or(found, "status", "");
    if (streq(color, "green") || streq(color, "yellow"))
        return 0;
    return err_set(err, ERR_TEMPORARY, "the search cluster is %.20s",
                   *color ? color : "of no status that it tells");
}

static int ask_search(const Health *h, Err *err)
{
    _cleanup_(http_response_clear) HttpResponse answer = {0};
    _cleanup_(buf_wipe) Buf login = BUF_INIT(BUF_MAX_LINE);

    if (h->secret)
        buf_printf(&login, "%s:%s", h->health_user ? h->health_user : "",
                   secret_expose(h->secret).p);
    int r = get(h, "/_cluster/health", h->secret ? &login : NULL, &answer, err);
    return r < 0 ? r : health_search(answer.status, buf_as_str(&answer.body), err);
}

static int ask_postgres(const Health *h, Err *err)
{
    PgTarget socket = {.host = h->path,
                       .port = h->port,
                       .user = "postgres",
                       .database = "postgres",
                       .peer = h->user};

    if (h->first && h->secret) {
        int r = pg_ensure_database(&socket, "mastodon", h->secret, "mastodon_production", err);
        if (r == 0)
            r = pg_run(&socket, backup_role_statements, err);
        if (r < 0)
            return r;
    }
    /* Only now: making a database may take its time. */
    socket.timeout_ms = ANSWER_MS;
    return pg_run(&socket, (const char *const[]){"SELECT 1", NULL}, err);
}

static int open_redis(const Health *h, Redis **ret, Err *err)
{
    return redis_open(
        &(RedisTarget){
            .host = h->address, .port = h->port, .password = h->secret, .timeout_ms = ANSWER_MS},
        ret, err);
}

static int ask_redis(const Health *h, Err *err)
{
    _cleanup_(redis_drop) Redis *redis = NULL;
    _cleanup_(redis_reply_clear) RedisReply reply = {0};

    int r = open_redis(h, &redis, err);
    if (r == 0)
        r = redis_command(redis, (const char *const[]){"PING", NULL}, &reply, err);
    if (r == 0 && !streq(reply.text, "PONG"))
        r = err_set(err, ERR_TEMPORARY, "Redis does not answer PONG");
    return r;
}

/* How Sidekiq's name for its process begins, which is "<host name>:<pid>:<12 hex digits>"
 * (mastodon.md 8.1). A container has a host name of its own, and the pid is one of in there. */
static int identity_prefix(const Health *h, Buf *ret, Err *err)
{
    char name[256] = "";

    if (h->sidekiq) {
        buf_printf(ret, "%s:%d:", h->sidekiq, (int)h->pid);
        return 0;
    }
    if (h->container) {
        int r = container_host(h->init, name, err);
        buf_printf(ret, "%s:", name);
        return r;
    }
    if (gethostname(name, sizeof name - 1) < 0)
        return err_set(err, ERR_IO, "cannot find out this machine's name: %m");
    buf_printf(ret, "%s:%d:", name, (int)h->pid);
    return 0;
}

/* To be freed. ERR_NOT_FOUND if it is not in the set. */
static int find_identity(const Health *h, Redis *redis, char **ret, Err *err)
{
    _cleanup_(redis_reply_clear) RedisReply all = {0};
    _cleanup_(buf_clear) Buf prefix = BUF_INIT(BUF_MAX_LINE);

    int r = identity_prefix(h, &prefix, err);
    if (r < 0)
        return r;
    r = redis_command(redis, (const char *const[]){"SMEMBERS", "processes", NULL}, &all, err);
    if (r < 0)
        return r;
    for (size_t i = 0; all.type == REDIS_LIST && i < all.len; i++)
        if (all.items[i].text && starts_with(all.items[i].text, prefix.p)) {
            *ret = xstrdup(all.items[i].text);
            return 0;
        }
    return err_set(err, ERR_NOT_FOUND, "Sidekiq has not registered itself in Redis");
}

/* Once quiet, always quiet: an agent that was killed at draining it may have left it so. Unless
 * somebody waits for that. */
static int ask_drain(Redis *redis, const char *identity, Err *err)
{
    _cleanup_(redis_reply_clear) RedisReply mark = {0};
    _cleanup_free_ char *key = xasprintf(SIDEKIQ_DRAIN_MARK "%s", identity);

    int r = redis_command(redis, (const char *const[]){"EXISTS", key, NULL}, &mark, err);
    if (r < 0 || mark.integer == 1)
        return r;
    return err_set(err, ERR_TEMPORARY, "Sidekiq takes no jobs: it was told to be quiet");
}

/* The hash of a process lives for 60 s after its last beat; the set may still name a dead one. */
static int ask_sidekiq(const Health *h, Err *err)
{
    _cleanup_(redis_drop) Redis *redis = NULL;
    _cleanup_(redis_reply_clear) RedisReply hash = {0};
    _cleanup_free_ char *identity = NULL;

    int r = open_redis(h, &redis, err);
    if (r == 0)
        r = find_identity(h, redis, &identity, err);
    if (r == 0)
        r = redis_command(redis,
                          (const char *const[]){"HMGET", identity, "busy", "quiet", "beat", NULL},
                          &hash, err);
    if (r < 0)
        return r;
    if (hash.type != REDIS_LIST || hash.len != 3 || !hash.items[2].text)
        return err_set(err, ERR_NOT_FOUND, "Sidekiq's heartbeat is not in Redis");
    if (h->ask == ASK_HEALTH)
        return streq(hash.items[1].text, "true") ? ask_drain(redis, identity, err) : 0;
    /* busy = 0 counts only once the process has written that it is quiet: before that it may take
     * another job. */
    if (!streq(hash.items[1].text, "true") || !streq(hash.items[0].text, "0"))
        return err_set(err, ERR_CONFLICT, "%s jobs are at work",
                       hash.items[0].text ? hash.items[0].text : "some");
    return 0;
}

static int ask_backlog(Health *h, Err *err)
{
    _cleanup_(redis_drop) Redis *redis = NULL;

    int r = open_redis(h, &redis, err);
    return r < 0 ? r : backlog_ask(redis, &h->found, err);
}

int health_clients(Str body, json_t **ret, Err *err)
{
    static const char *const types[] = {"websocket", "eventsource"};
    _cleanup_json_ json_t *found = json_object();
    Str line;

    while (str_next(&body, '\n', &line)) {
        for (size_t i = 0; i < ARRAY_LEN(types); i++) {
            _cleanup_free_ char *name = xasprintf("connected_clients{type=\"%s\"} ", types[i]);
            _cleanup_free_ char *text = xstrndup(line.p ? line.p : "", line.n);
            int64_t n;

            if (starts_with(text, name) && parse_int(text + strlen(name), 0, INT32_MAX, &n))
                json_object_set_new(found, types[i], json_integer((json_int_t)n));
        }
    }
    if (json_object_size(found) == 0)
        return err_set(err, ERR_NOT_FOUND, "/metrics does not tell of clients");
    *ret = TAKE(found);
    return 0;
}

static int ask_clients(Health *h, Err *err)
{
    _cleanup_(http_response_clear) HttpResponse answer = {0};

    int r = get(h, "/metrics", NULL, &answer, err);
    return r < 0 ? r : health_clients(buf_as_str(&answer.body), &h->found, err);
}

static int ask(Health *h, Err *err)
{
    if (h->ask == ASK_BACKLOG)
        return ask_backlog(h, err);
    if (h->ask == ASK_CLIENTS)
        return ask_clients(h, err);
    switch (h->kind) {
    case HEALTH_TCP:
        return ask_tcp(h, err);
    case HEALTH_HTTP:
        return ask_http(h, err);
    case HEALTH_POSTGRES:
        return ask_postgres(h, err);
    case HEALTH_REDIS:
        return ask_redis(h, err);
    case HEALTH_SEARCH:
        return ask_search(h, err);
    case HEALTH_SIDEKIQ:
        return ask_sidekiq(h, err);
    case HEALTH_RUNNING:
    case HEALTH_ONCE:
        break; /* the driver knows */
    }
    return 0;
}

static void *run(void *arg)
{
    Health *h = arg;
    _cleanup_(err_clear) Err err = {0};

    h->result = ask(h, &err);
    snprintf(h->why, sizeof h->why, "%s", err.text ? err.text : "");
    atomic_store(&h->done, true);
    let_go(h);
    return NULL;
}

static char *user_new(const Service *s)
{
    if (s->user && geteuid() == 0)
        return xstrdup(s->user);
    const struct passwd *me = getpwuid(geteuid());
    return me ? xstrdup(me->pw_name) : NULL;
}

Health *health_begin(const Service *s, HealthAsk asked, pid_t pid, bool first)
{
    Health *h = NEW(Health);
    pthread_attr_t attr;
    pthread_t thread;

    h->kind = asked == ASK_DRAINED ? HEALTH_SIDEKIQ : s->health;
    h->ask = asked;
    h->pid = pid;
    h->container = s->image != NULL;
    h->init = container_init(s, pid);
    h->first = first;
    h->address = xstrdup(s->health_address ? s->health_address : "127.0.0.1");
    h->path = s->health_path ? xstrdup(s->health_path) : NULL;
    h->port = s->health_port;
    h->user = user_new(s);
    h->health_user = s->health_user;
    h->sidekiq = s->machine && !s->image ? xstrdup(s->machine) : NULL;
    h->secret = s->health_secret ? secret_copy(s->health_secret) : NULL;
    atomic_init(&h->owners, 2);
    /* Signals are the main thread's business. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    int e = pthread_create(&thread, &attr, run, h);
    pthread_attr_destroy(&attr);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (e != 0) {
        h->result = -ERR_IO;
        snprintf(h->why, sizeof h->why, "cannot start a thread: %s", strerror(e));
        atomic_store(&h->done, true);
        atomic_store(&h->owners, 1);
    }
    return h;
}

bool health_answer(Health *h, int *ret, char why[static 160])
{
    if (!atomic_load(&h->done))
        return false;
    *ret = h->result;
    memcpy(why, h->why, sizeof h->why);
    return true;
}

json_t *health_found_new(Health *h)
{
    return atomic_load(&h->done) ? TAKE(h->found) : NULL;
}

Health *health_free(Health *h)
{
    if (h)
        let_go(h);
    return NULL;
}
