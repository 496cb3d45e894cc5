#include "cloud/flight.h"
#include "cloud/answer.h"

#define SLICE_MS 100
#define PAGES_MAX 1000
/* A slow transfer is given a second for each 100 kB beyond the usual minute. */
#define BYTES_PER_MS 100

static bool stopped(const Flight *f)
{
    const volatile sig_atomic_t *stop = f->call->cloud->stop;
    return stop && *stop && (!f->call->last_word || f->tries);
}

void flight_land(Flight *f)
{
    f->done = true;
    f->wants_login = f->wants_version = false;
}

static int append_body(const char *data, size_t n, void *user)
{
    buf_add(user, data, n);
    return 0;
}

void flight_prepare(Flight *f, const char *base)
{
    Call *c = f->call;
    bool typed = answer_header(&c->headers, "Content-Type");

    f->url = answer_first_url(c->service, c->plural, base, c->path);
    f->body = BUF_INIT(BUF_MAX_BODY);
    for (size_t i = 0; i < c->headers.len; i++)
        strlist_add(&f->headers, c->headers.items[i]);
    if (c->service != CLOUD_OBJECT)
        strlist_add(&f->headers, "Accept: application/json");
    if (!c->body)
        return;
    BUG_IF(json_dump_callback(c->body, append_body, &f->body, JSON_COMPACT) != 0);
    if (!typed)
        strlist_add(&f->headers, "Content-Type: application/json");
}

void flight_clear(Flight *f)
{
    free(f->url);
    buf_wipe(&f->body);
    for (size_t i = 0; i < f->headers.len; i++)
        explicit_bzero(f->headers.items[i], strlen(f->headers.items[i]));
    strlist_clear(&f->headers);
    json_decref(f->joined);
}

/* Nova's version is a header of each request, since it may change between two tries. */
static void request_of(Flight *f, HttpRequest *q, StrList *headers)
{
    const Call *c = f->call;

    for (size_t i = 0; i < f->headers.len; i++)
        strlist_add(headers, f->headers.items[i]);
    f->minor = cloud_compute_minor(c->cloud);
    if (c->service == CLOUD_COMPUTE && !f->is_version && f->minor > 1) {
        strlist_addf(headers, "OpenStack-API-Version: compute 2.%d", f->minor);
        strlist_addf(headers, "X-OpenStack-Nova-API-Version: 2.%d", f->minor);
    }
    f->logins = c->cloud->logins;
    *q = (HttpRequest){.last_word = c->last_word,
                       .method = c->method,
                       .url = f->url,
                       .headers = headers,
                       .token = f->is_login ? NULL : c->cloud->token,
                       .body = c->body ? buf_as_str(&f->body) : c->raw,
                       .max_body = c->max,
                       .ca_file = c->cloud->config.ca_file,
                       .cert_file = c->cloud->config.cert_file,
                       .key_file = c->cloud->config.key_file,
                       .insecure = c->cloud->config.insecure};
    if (!q->body.p && c->raw_size > 0) {
        q->body_fd = c->raw_fd;
        q->body_size = c->raw_size;
        q->body_read = c->raw_read;
        q->body_user = c->raw_user;
    }
    int64_t bytes = MAX(MAX(q->body_size, (int64_t)c->raw.n), (int64_t)c->max);
    if (bytes > 0)
        q->timeout_ms = MINUTE + bytes / BYTES_PER_MS;
}

void flight_copy_err(Err *to, const Err *from)
{
    err_set(to, from->kind, "%s", from->text ? from->text : "");
    if (from->hint)
        err_hint(to, "%s", from->hint);
    if (from->request_id)
        err_request_id(to, from->request_id);
}

/* Answers */

static void say_tries(Err *err, int tries)
{
    _cleanup_(err_clear) Err with = {0};

    err_set(&with, err->kind, "%s (after %d tries)", err->text, tries);
    if (err->hint)
        err_hint(&with, "%s", err->hint);
    if (err->request_id)
        err_request_id(&with, err->request_id);
    err_move(err, &with);
}

/* Decides what becomes of a request that failed with *err (taken). */
static void fail(Flight *f, int status, const HttpResponse *r, bool final, Err *err)
{
    Call *c = f->call;
    Msec now = time_mono();

    if (status == 406 && c->service == CLOUD_COMPUTE && !f->is_version && !f->renegotiated) {
        f->wants_version = true;
        err_move(&c->err, err);
        return;
    }
    Retry retry = answer_retry(&(RetryCase){
        .kind = c->kind,
        .service = c->service,
        .status = status,
        .failure = err->kind,
        .sent = r->sent || r->status > 0,
        .retry_after = answer_header(&c->reply_headers, "Retry-After"),
        .relogged = f->relogged || f->is_login,
        .tries = final ? RETRY_TRIES : f->tries,
        .spent_ms = now - f->started,
        .now = time_now(),
        .random = cloud_random(c->cloud),
    });
    c->unsure = c->unsure || retry.unknown_effect;
    c->unknown_effect = retry.unknown_effect && c->kind == CALL_CREATE;
    err_move(&c->err, err);
    if (retry.what == RETRY_WAIT) {
        f->due = now + retry.wait_ms;
    } else if (retry.what == RETRY_LOGIN) {
        f->wants_login = true;
    } else {
        if (f->tries > 1 && c->err.kind == ERR_TEMPORARY)
            say_tries(&c->err, f->tries);
        flight_land(f);
    }
}

static int take_page(Flight *f, const json_t *page, Err *err)
{
    Call *c = f->call;
    const char *count = answer_header(&c->reply_headers, "X-Container-Object-Count");
    AnswerPage p = {c->service, c->plural, f->url, page, json_array_size(f->joined), -1};
    json_t *items;
    char *next;

    if (count && !parse_int(count, 0, INT64_MAX, &p.total))
        p.total = -1;
    int r = answer_page(&p, &items, &next, err);
    if (r < 0)
        return r;
    if (!f->joined)
        f->joined = json_array();
    json_array_extend(f->joined, items);
    if (!next) {
        c->json = TAKE(f->joined);
        flight_land(f);
        return 0;
    }
    free(f->url);
    f->url = next;
    f->tries = 0;
    f->started = f->due = time_mono();
    if (++f->pages > PAGES_MAX)
        return err_set(err, ERR_CORRUPT, "the list `%s` of the %s has no end", c->plural,
                       answer_service_name(c->service));
    return 0;
}

/* *ret_final: it was read, and is not what was asked for; another try will not change that. */
static int read_body(Flight *f, HttpResponse *r, bool *ret_final, Err *err)
{
    Call *c = f->call;
    const char *type = answer_header(&c->reply_headers, "Content-Type");
    bool is_json = type && starts_with(type, "application/json");

    if (c->want_text) {
        buf_clear(&c->text);
        c->text = r->body;
        r->body = BUF_INIT(0);
    } else if (c->plural && r->status == 204 && c->service == CLOUD_OBJECT) {
        _cleanup_json_ json_t *none = json_array();
        *ret_final = true;
        return take_page(f, none, err);
    } else if (c->plural || (r->body.len > 0 && (is_json || c->service != CLOUD_OBJECT))) {
        _cleanup_json_ json_t *j = json_parse_new(r->body.p, r->body.len, err);
        if (!j) {
            _cleanup_free_ char *status = answer_status_text(r->status);
            if (str_trim(buf_as_str(&r->body)).n && str_trim(buf_as_str(&r->body)).p[0] == '<') {
                err_set(err, ERR_CORRUPT,
                        "the %s at %.*s answers with a web page (%s), not as OpenStack does",
                        answer_service_name(c->service), (int)strcspn(f->url, "?"), f->url, status);
                return err_hint(err,
                                "a login page or a proxy may stand before it; the address is "
                                "from clouds.yaml (auth_url, %s) or the cloud's catalogue",
                                "<service>_endpoint_override");
            }
            return err_wrap(err, "the answer of the %s (%s)", answer_service_name(c->service),
                            status);
        }
        *ret_final = true;
        if (c->plural)
            return take_page(f, j, err);
        json_decref(c->json);
        c->json = TAKE(j);
    }
    flight_land(f);
    return 0;
}

static void settle(Flight *f, HttpResponse *r)
{
    Call *c = f->call;
    _cleanup_(err_clear) Err err = {0};
    bool gone = r->status == 404 && streq(c->method, "DELETE");

    c->tries++;
    f->tries++;
    c->status = r->status;
    err_clear(&c->err);
    strlist_clear(&c->reply_headers);
    c->reply_headers = r->headers;
    r->headers = (StrList){0};
    if (r->status == 0) {
        bool final = r->err.kind == ERR_CORRUPT;
        err_move(&err, &r->err);
        fail(f, 0, r, final, &err);
    } else if (gone) {
        flight_land(f);
    } else if (r->status >= 200 && r->status < 300) {
        bool final = false;
        if (read_body(f, r, &final, &err) < 0)
            fail(f, 0, r, final, &err);
    } else {
        answer_error(&(Answer){c->service, r->status, &c->reply_headers, buf_as_str(&r->body)},
                     c->body, &err);
        fail(f, r->status, r, false, &err);
    }
}

/* Rounds */

static bool is_waiting(const Flight *f)
{
    return !f->done && !f->wants_login && !f->wants_version;
}

/* All that are due and go through one Http, in one batch. */
static void perform(Flight **due, size_t n)
{
    HttpRequest *requests = xcalloc(n, sizeof *requests);
    HttpResponse *responses = xcalloc(n, sizeof *responses);
    StrList *headers = xcalloc(n, sizeof *headers);

    for (size_t i = 0; i < n; i++)
        request_of(due[i], &requests[i], &headers[i]);
    http_perform(due[0]->call->cloud->http, requests, responses, n);
    for (size_t i = 0; i < n; i++) {
        settle(due[i], &responses[i]);
        buf_wipe(&responses[i].body);
        http_response_clear(&responses[i]);
        for (size_t j = 0; j < headers[i].len; j++)
            explicit_bzero(headers[i].items[j], strlen(headers[i].items[j]));
        strlist_clear(&headers[i]);
    }
    free(headers);
    free(responses);
    free(requests);
}

static void perform_due(Flight *flights, size_t n)
{
    Flight **due = xcalloc(n, sizeof(Flight *));
    bool *taken = xcalloc(n, sizeof *taken);
    Msec now = time_mono();

    for (size_t first = 0; first < n; first++) {
        Http *http = flights[first].call->cloud->http;
        size_t k = 0;
        for (size_t i = first; i < n; i++) {
            Flight *f = &flights[i];
            if (taken[i] || !is_waiting(f) || f->due > now || f->call->cloud->http != http)
                continue;
            taken[i] = true;
            due[k++] = f;
        }
        if (k > 0)
            perform(due, k);
    }
    free(taken);
    free(due);
}

/* What this cloud's Nova has at most, and so what is sent from now on. */
static int negotiate(Cloud *c, Err *err)
{
    const char *base;
    int r = cloud_endpoint(c, CLOUD_COMPUTE, &base, err);
    if (r < 0)
        return r;
    /* ".../v2.1/<project>" to ".../v2.1" */
    const char *version = strstr(base, "/v2");
    size_t length =
        version ? (size_t)(version - base) + 1 + strcspn(version + 1, "/") : strlen(base);
    _cleanup_free_ char *root = xstrndup(base, length);
    _cleanup_(call_clear) Call call = {.cloud = c,
                                       .service = CLOUD_COMPUTE,
                                       .kind = CALL_READ,
                                       .method = "GET",
                                       .path = xstrdup("/")};
    Flight f = {.call = &call, .is_version = true, .started = time_mono()};
    flight_prepare(&f, root);
    flight_run(&f, 1);
    flight_clear(&f);
    if (call.err.kind)
        return err_move(err, &call.err);
    const char *newest = json_str_or(call.json, "version.version", "");
    int64_t minor = 1;
    /* Some clouds say "": they have none (iac.md 2.2). */
    if (starts_with(newest, "2.") && !parse_int(newest + 2, 1, 100000, &minor))
        return err_set(err, ERR_CORRUPT, "the compute service names its version `%s`", newest);
    cloud_set_compute_minor(c, (int)MIN(minor, COMPUTE_MINOR));
    return 0;
}

/* It fails for all of the cloud's calls that wait for the same. */
static void renewal_failed(Flight *flights, size_t n, const Flight *of, const Err *err)
{
    const Cloud *c = of->call->cloud;
    bool login = of->wants_login;

    for (size_t i = 0; i < n; i++) {
        Flight *f = &flights[i];
        if (f->done || f->call->cloud != c || !(login ? f->wants_login : f->wants_version))
            continue;
        flight_copy_err(&f->call->err, err);
        flight_land(f);
    }
}

/* A cloud whose token or Nova version was refused gets a new one, once, for all its calls. */
static void renew(Flight *flights, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        Flight *f = &flights[i];
        Cloud *c = f->call->cloud;
        _cleanup_(err_clear) Err err = {0};
        int r = 0;

        if (f->done || (!f->wants_login && !f->wants_version))
            continue;
        if (f->wants_login) {
            if (f->logins == c->logins)
                login_forget(c);
            r = login_all(&c, 1, &err);
            f->relogged = true;
        } else {
            if (f->minor == cloud_compute_minor(c))
                r = negotiate(c, &err);
            f->renegotiated = true;
        }
        if (r < 0) {
            renewal_failed(flights, n, f, &err);
            continue;
        }
        f->wants_login = f->wants_version = false;
        f->due = time_mono();
    }
}

/* Sleeps until `due` in slices, so that a Ctrl-C ends it. */
static void wait_until(Msec due, const Flight *f)
{
    for (Msec now = time_mono(); now < due && !stopped(f); now = time_mono())
        time_sleep(MIN(due - now, SLICE_MS));
}

static void interrupt(Flight *flights, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        Flight *f = &flights[i];
        if (f->done)
            continue;
        err_set(&f->call->err, ERR_INTERRUPTED, "interrupted");
        flight_land(f);
    }
}

void flight_run(Flight *flights, size_t n)
{
    for (;;) {
        const Flight *next = NULL;
        for (size_t i = 0; i < n; i++)
            if (is_waiting(&flights[i]) && (!next || flights[i].due < next->due))
                next = &flights[i];
        if (!next)
            return;
        if (next->due > time_mono())
            wait_until(next->due, next);
        if (stopped(next)) {
            interrupt(flights, n);
            return;
        }
        perform_due(flights, n);
        renew(flights, n);
    }
}
