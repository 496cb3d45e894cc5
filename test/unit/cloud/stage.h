/* A scripted OpenStack for tests of the client: what it answers to which request is a table, and it
 * writes down what it was asked. On loopback, in threads of the test's own process.
 */
#pragma once
#include "cloud/login.h"
#include "io/httpd.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <signal.h>
#include <stdio.h>

/* Replies to one kind of request, in order; the last one is repeated. The table ends with a NULL
 * request. */
typedef struct StageReply {
    int status;          /* 0: the connection is reset */
    const char *headers; /* "Name: value|Name: value" or NULL */
    const char *body;
} StageReply;
typedef struct StageRule {
    const char *request; /* "GET /network/v2.0/networks": how method and target begin */
    StageReply replies[8];
    int used;
} StageRule;

typedef struct Stage {
    pthread_mutex_t lock;
    StageRule *rules;
    StrList log;    /* "GET /network/v2.0/networks?x" */
    StrList bodies; /* of the same requests */
    StrList minors; /* OpenStack-API-Version of compute requests */
    int port, logins;
    volatile sig_atomic_t *stop; /* set by each request, if there is one */
    Httpd *httpd;
    Http *http;
    Cloud *cloud;
} Stage;

typedef struct StageCall {
    Buf body;
} StageCall;

static void stage_begin(HttpdCall *c)
{
    StageCall *s = NEW(StageCall);
    s->body = BUF_INIT(BUF_MAX_BODY);
    c->state = s;
}

static bool stage_body(HttpdCall *c, Str part)
{
    buf_add(&((StageCall *)c->state)->body, part.p, part.n);
    return true;
}

static void stage_login(Stage *s, HttpdCall *c)
{
    strlist_addf(&c->reply.headers, "X-Subject-Token: token-%d", ++s->logins);
    buf_printf(
        &c->reply.body,
        "{\"token\":{\"expires_at\":\"2099-01-01T00:00:00.000000Z\",\"user\":{\"id\":\"u1\","
        "\"name\":\"jo\",\"domain\":{\"id\":\"d1\",\"name\":\"Default\"}},\"project\":{\"id\":"
        "\"p1\",\"name\":\"reef\"},\"roles\":[{\"id\":\"r1\",\"name\":\"member\"}],\"catalog\":[");
    static const struct {
        const char *type, *path;
    } services[] = {{"compute", "/compute/v2.1"},           {"network", "/network"},
                    {"volumev3", "/volume/v3/p1"},          {"image", "/image"},
                    {"object-store", "/object/v1/AUTH_p1"}, {"orchestration", "/heat/v1/p1"}};
    for (size_t i = 0; i < ARRAY_LEN(services); i++)
        buf_printf(&c->reply.body,
                   "%s{\"type\":\"%s\",\"endpoints\":[{\"interface\":\"public\",\"region\":\"one\","
                   "\"url\":\"http://127.0.0.1:%d%s\"}]}",
                   i ? "," : "", services[i].type, s->port, services[i].path);
    buf_str(&c->reply.body, "]}}");
    c->reply.status = 201;
}

static void stage_reply(Stage *s, HttpdCall *c, const char *request)
{
    for (StageRule *r = s->rules; r && r->request; r++) {
        if (!starts_with(request, r->request))
            continue;
        const StageReply *reply = &r->replies[r->used];
        if (r->used + 1 < (int)ARRAY_LEN(r->replies) &&
            (r->replies[r->used + 1].status || r->replies[r->used + 1].body))
            r->used++;
        c->reply.drop = reply->status == 0;
        c->reply.status = reply->status;
        Str rest = str_of(reply->headers), line;
        while (reply->headers && str_next(&rest, '|', &line))
            strlist_addf(&c->reply.headers, "%.*s", (int)line.n, line.p);
        buf_str(&c->reply.body, reply->body);
        return;
    }
    c->reply.status = 404;
    buf_str(&c->reply.body, "{\"error\":{\"message\":\"not in the script\"}}");
}

static void stage_end(HttpdCall *c)
{
    Stage *s = c->user;
    StageCall *call = c->state;
    const char *version = httpd_header(c, "OpenStack-API-Version");
    _cleanup_free_ char *request =
        xasprintf("%s %s%s%s", c->method, c->target, *c->query ? "?" : "", c->query);
    pthread_mutex_lock(&s->lock);
    if (s->stop)
        *s->stop = 1;
    strlist_add(&s->log, request);
    strlist_add(&s->bodies, call->body.p);
    if (version)
        strlist_add(&s->minors, version);
    /* The rules may have a say about logins too. */
    bool scripted = false;
    for (StageRule *r = s->rules; r && r->request; r++)
        scripted = scripted || starts_with(request, r->request);
    if (!scripted && streq(c->target, "/identity/v3/auth/tokens"))
        stage_login(s, c);
    else
        stage_reply(s, c, request);
    pthread_mutex_unlock(&s->lock);
}

static void stage_close(HttpdCall *c, bool sent)
{
    StageCall *call = c->state;
    (void)sent;
    buf_clear(&call->body);
    free(call);
}

static const HttpdHandler stage_handler = {stage_begin, stage_body, stage_end, stage_close};

static Cloud *stage_cloud(Stage *s, const char *cache_dir)
{
    CloudConfig config = {.name = xstrdup("stage"),
                          .source = xstrdup("a test"),
                          .auth_url = xasprintf("http://127.0.0.1:%d/identity/v3", s->port),
                          .username = xstrdup("jo"),
                          .user_domain_name = xstrdup("Default"),
                          .project_name = xstrdup("reef"),
                          .project_domain_name = xstrdup("Default"),
                          .interface = xstrdup("public"),
                          .secret = secret_new("sesame", 6)};
    return cloud_new(&config, &(CloudOptions){.http = s->http, .cache_dir = cache_dir, .seed = 7});
}

static Stage *stage_open(StageRule *rules)
{
    Stage *s = NEW(Stage);
    int fd;

    signal(SIGPIPE, SIG_IGN);
    pthread_mutex_init(&s->lock, NULL);
    s->rules = rules;
    assert_int_equal(httpd_listen("127.0.0.1", 0, &fd, &s->port, NULL), 0);
    assert_int_equal(httpd_start(fd, &stage_handler, s, &s->httpd, NULL), 0);
    s->http = http_new(&(HttpOptions){0});
    s->cloud = stage_cloud(s, NULL);
    return s;
}

static void stage_close_all(Stage *s)
{
    cloud_free(s->cloud);
    http_free(s->http);
    httpd_stop(s->httpd);
    strlist_clear(&s->log);
    strlist_clear(&s->bodies);
    strlist_clear(&s->minors);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

/* How many requests began like this. */
static _unused_ int stage_count(const Stage *s, const char *request)
{
    int n = 0;
    for (size_t i = 0; i < s->log.len; i++)
        n += starts_with(s->log.items[i], request);
    return n;
}
