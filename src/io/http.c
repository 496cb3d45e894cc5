#include "base/vec.h"
#include "io/http_call.h"

#include <pthread.h>
#include <signal.h>
#include <strings.h>

#define MAX_IN_FLIGHT 64
#define MAX_HOST_CONNECTIONS 16L
#define DEFAULT_GRACE_MS (10 * SECOND)
/* How late a Ctrl-C may be noticed when nothing else happens. */
#define TICK_MS 100

struct Http {
    HttpOptions options;
    CURLM *multi;
    VEC(CURL *) idle; /* handles ready for reuse; they keep TLS sessions */
};

/* One call of http_perform. */
typedef struct Batch {
    Http *http;
    Call *calls;
    size_t n, next, flying, done;
    Msec give_up; /* when what is in flight is cut off; 0: not stopping */
} Batch;

/* With CURLOPT_NOSIGNAL libcurl leaves SIGPIPE alone, and OpenSSL writes without MSG_NOSIGNAL. So
 * it is blocked in this thread, and one that came up meanwhile is taken away. */
typedef struct Quiet {
    sigset_t before;
    bool was_pending;
} Quiet;

static sigset_t only_sigpipe(void)
{
    sigset_t s;
    sigemptyset(&s);
    sigaddset(&s, SIGPIPE);
    return s;
}

static void quiet_begin(Quiet *q)
{
    sigset_t pending, pipe_set = only_sigpipe();
    sigpending(&pending);
    q->was_pending = sigismember(&pending, SIGPIPE) == 1;
    pthread_sigmask(SIG_BLOCK, &pipe_set, &q->before);
}

static void quiet_end(const Quiet *q)
{
    sigset_t pending, pipe_set = only_sigpipe();
    sigpending(&pending);
    if (!q->was_pending && sigismember(&pending, SIGPIPE) == 1)
        (void)sigtimedwait(&pipe_set, NULL, &(struct timespec){0});
    pthread_sigmask(SIG_SETMASK, &q->before, NULL);
}

static void init_library(void)
{
    BUG_IF(curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK);
}

Http *http_new(const HttpOptions *options)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, init_library);

    Http *h = NEW(Http);
    if (options)
        h->options = *options;
    h->multi = curl_multi_init();
    BUG_IF(!h->multi);
    curl_multi_setopt(h->multi, CURLMOPT_MAX_HOST_CONNECTIONS, MAX_HOST_CONNECTIONS);
    curl_multi_setopt(h->multi, CURLMOPT_MAXCONNECTS, (long)MAX_IN_FLIGHT);
    return h;
}

Http *http_free(Http *h)
{
    if (!h)
        return NULL;
    Quiet quiet;
    quiet_begin(&quiet);
    for (size_t i = 0; i < h->idle.len; i++)
        curl_easy_cleanup(h->idle.items[i]);
    curl_multi_cleanup(h->multi);
    quiet_end(&quiet);
    vec_clear(&h->idle);
    free(h);
    return NULL;
}

/* For -v: a signature in a URL opens the object to whoever reads the log. To be freed. */
static char *shown_url(const char *url)
{
    static const char name[] = "temp_url_sig=";
    Buf b = BUF_INIT(SIZE_MAX / 4);

    for (const char *at; (at = strstr(url, name));) {
        at += sizeof name - 1;
        buf_add(&b, url, (size_t)(at - url));
        buf_str(&b, "...");
        url = at + strcspn(at, "&#");
    }
    buf_str(&b, url);
    return buf_detach(&b);
}

static void trace(const Http *h, const Call *c)
{
    const HttpResponse *r = c->response;
    if (!h->options.trace)
        return;
    _cleanup_free_ char *url = shown_url(c->request->url);
    const char *id = http_header(r, "X-Openstack-Request-Id");
    HttpTrace t = {
        .method = c->request->method,
        .url = url,
        .status = r->status,
        .took_ms = r->took_ms,
        .request_id = id ? id : http_header(r, "X-Trans-Id"),
    };
    h->options.trace(h->options.trace_user, &t);
}

static CURL *take_handle(Http *h)
{
    if (h->idle.len > 0)
        return h->idle.items[--h->idle.len];
    CURL *easy = curl_easy_init();
    BUG_IF(!easy);
    return easy;
}

static void start(Batch *b, Call *c)
{
    Http *h = b->http;
    CURL *easy = take_handle(h);
    _cleanup_(err_clear) Err err = {0};

    if (call_setup(c, easy, &err) < 0) {
        call_refuse(c, &err);
        vec_push(&h->idle, easy);
        b->done++;
        trace(h, c);
        return;
    }
    BUG_IF(curl_multi_add_handle(h->multi, easy) != CURLM_OK);
    b->flying++;
}

static void land(Batch *b, Call *c, CURL *easy)
{
    vec_push(&b->http->idle, easy);
    b->flying--;
    b->done++;
    trace(b->http, c);
}

static void reap(Batch *b)
{
    int left;

    for (CURLMsg *m; (m = curl_multi_info_read(b->http->multi, &left));) {
        if (m->msg != CURLMSG_DONE)
            continue;
        CURL *easy = m->easy_handle;
        CURLcode code = m->data.result;
        char *user = NULL;
        curl_easy_getinfo(easy, CURLINFO_PRIVATE, &user);
        Call *c = (Call *)(void *)user;
        curl_multi_remove_handle(b->http->multi, easy);
        call_end(c, code);
        land(b, c, easy);
    }
}

/* After Ctrl-C nothing new starts, and what is in flight has its time of grace. */
static void check_stop(Batch *b)
{
    const HttpOptions *o = &b->http->options;

    if (!o->stop || !*o->stop)
        return;
    if (b->give_up == 0)
        b->give_up = time_mono() + (o->grace_ms > 0 ? o->grace_ms : DEFAULT_GRACE_MS);
    for (; b->next < b->n && !b->calls[b->next].request->last_word; b->next++, b->done++)
        call_interrupt(&b->calls[b->next]);
    if (time_mono() < b->give_up)
        return;
    for (size_t i = 0; i < b->n; i++) {
        CURL *easy = b->calls[i].easy;
        if (!easy)
            continue;
        curl_multi_remove_handle(b->http->multi, easy);
        call_interrupt(&b->calls[i]);
        land(b, &b->calls[i], easy);
    }
}

static void run(Batch *b)
{
    CURLM *multi = b->http->multi;

    while (b->done < b->n) {
        int running;
        check_stop(b);
        while (b->next < b->n && b->flying < MAX_IN_FLIGHT)
            start(b, &b->calls[b->next++]);
        BUG_IF(curl_multi_perform(multi, &running) != CURLM_OK);
        size_t done = b->done;
        reap(b);
        /* When something ended there may be a next one to start at once. */
        if (b->flying > 0 && done == b->done)
            BUG_IF(curl_multi_poll(multi, NULL, 0, TICK_MS, NULL) != CURLM_OK);
    }
}

void http_perform(Http *h, const HttpRequest *requests, HttpResponse *ret, size_t n)
{
    Batch b = {.http = h, .n = n, .calls = xcalloc(n ? n : 1, sizeof(Call))};
    Quiet quiet;

    for (size_t i = 0; i < n; i++) {
        size_t max = requests[i].max_body ? requests[i].max_body : BUF_MAX_BODY;
        b.calls[i].request = &requests[i];
        b.calls[i].response = &ret[i];
        ret[i] = (HttpResponse){.body = BUF_INIT(max)};
    }
    quiet_begin(&quiet);
    run(&b);
    quiet_end(&quiet);
    free(b.calls);
}

const char *http_header(const HttpResponse *r, const char *name)
{
    size_t n = strlen(name);

    for (size_t i = 0; i < r->headers.len; i++) {
        const char *line = r->headers.items[i];
        if (strncasecmp(line, name, n) == 0 && line[n] == ':')
            return line + n + 1 + strspn(line + n + 1, " \t");
    }
    return NULL;
}

void http_response_clear(HttpResponse *r)
{
    strlist_clear(&r->headers);
    if (r->body.p)
        buf_clear(&r->body);
    err_clear(&r->err);
    r->status = 0;
}
