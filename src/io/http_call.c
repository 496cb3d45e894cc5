#include "io/http_call.h"
#include "io/crypt.h"

#include <ctype.h>
#include <errno.h>
#include <strings.h>
#include <unistd.h>

/* The default of libcurl's CApath switches its cache of parsed CA certificates off, so only a
 * bundle is used (17 connections: 361 ms without the cache, 38 ms with it). */
#define SYSTEM_CA "/etc/ssl/certs/ca-certificates.crt"
#define DEFAULT_TIMEOUT_MS (60 * SECOND)
#define CONNECT_TIMEOUT_MS (15 * SECOND)
#define MAX_HEADER_BYTES ((size_t)256 << 10)

/* A wrong option is our bug: they are all known to the libcurl we build with. */
#define SET(easy, option, value) BUG_IF(curl_easy_setopt(easy, option, value) != CURLE_OK)

/* Callbacks. Each gets the Call; a reason to stop goes to c->own. */

static bool is_success(const Call *c)
{
    long status = 0;
    curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &status);
    return status >= 200 && status < 300;
}

static size_t on_header(char *data, size_t size, size_t n, void *user)
{
    Call *c = user;
    Str line = str_trim((Str){data, size * n});

    c->header_bytes += size * n;
    if (c->header_bytes > MAX_HEADER_BYTES) {
        err_set(&c->own, ERR_CORRUPT, "more than %zu bytes of headers", MAX_HEADER_BYTES);
        return 0;
    }
    /* A status line: of this answer, or the final one behind a 100 or 103. */
    if (line.n > 5 && memcmp(line.p, "HTTP/", 5) == 0) {
        strlist_clear(&c->response->headers);
        c->head_complete = false;
    } else if (line.n > 0) {
        strlist_addf(&c->response->headers, "%.*s", (int)line.n, line.p);
    } else {
        c->head_complete = true;
    }
    return size * n;
}

static bool write_sink(Call *c, const char *data, size_t n)
{
    while (n > 0) {
        ssize_t part = write(c->request->sink_fd, data, n);
        if (part < 0 && errno == EINTR)
            continue;
        if (part < 0) {
            err_set(&c->own, ERR_IO, "cannot write what was received: %m");
            return false;
        }
        data += part;
        n -= (size_t)part;
    }
    return true;
}

static size_t on_body(char *data, size_t size, size_t n, void *user)
{
    Call *c = user;
    const HttpRequest *q = c->request;
    bool sink = q->sink_fd > 0 && is_success(c);
    size_t max = q->max_body ? q->max_body : sink ? SIZE_MAX : BUF_MAX_BODY;

    if (size * n > max - c->body_bytes) {
        err_set(&c->own, ERR_CORRUPT, "the answer is larger than %zu bytes", max);
        return 0;
    }
    c->body_bytes += size * n;
    if (!sink)
        buf_add(&c->response->body, data, size * n);
    else if (!write_sink(c, data, size * n))
        return 0;
    return size * n;
}

static size_t read_made(Call *c, char *data, size_t want)
{
    ssize_t got = c->request->body_read(c->request->body_user, c->body_at, data, want, &c->own);

    if (got < 0)
        return CURL_READFUNC_ABORT;
    BUG_IF(got == 0 || (size_t)got > want);
    c->body_at += got;
    return (size_t)got;
}

static size_t on_read(char *data, size_t size, size_t n, void *user)
{
    Call *c = user;
    const HttpRequest *q = c->request;
    size_t want = MIN(size * n, (size_t)(q->body_size - c->body_at));
    ssize_t got;

    if (want == 0)
        return 0;
    if (q->body_read)
        return read_made(c, data, want);
    while ((got = pread(q->body_fd, data, want, (off_t)c->body_at)) < 0 && errno == EINTR)
        ;
    if (got > 0) {
        c->body_at += got;
        return (size_t)got;
    }
    if (got < 0)
        err_set(&c->own, ERR_IO, "cannot read the file to send: %m");
    else
        err_set(&c->own, ERR_IO, "the file to send ended after %lld of %lld bytes",
                (long long)c->body_at, (long long)q->body_size);
    return CURL_READFUNC_ABORT;
}

static int on_seek(void *user, curl_off_t offset, int origin)
{
    Call *c = user;
    if (origin != SEEK_SET)
        return CURL_SEEKFUNC_CANTSEEK;
    c->body_at = offset;
    return CURL_SEEKFUNC_OK;
}

static int64_t bytes_sent(const Call *c)
{
    long head = 0;
    curl_off_t body = 0;
    curl_easy_getinfo(c->easy, CURLINFO_REQUEST_SIZE, &head);
    curl_easy_getinfo(c->easy, CURLINFO_SIZE_UPLOAD_T, &body);
    return head + body;
}

/* Called before the request is written to a connection. libcurl silently repeats a request, a POST
 * too, when a reused connection dies before the first byte of the answer: but the server may have
 * acted on it, and only the caller knows what a repetition does. */
static int on_connected(void *user, char *ip, char *local_ip, int port, int local_port)
{
    Call *c = user;
    (void)ip, (void)local_ip, (void)port, (void)local_port;

    if (c->tries++ == 0 || bytes_sent(c) == 0)
        return CURL_PREREQFUNC_OK;
    err_set(&c->own, ERR_TEMPORARY, "the connection was closed before an answer came");
    return CURL_PREREQFUNC_ABORT;
}

/* Setting up */

static void add_header(Call *c, const char *line)
{
    struct curl_slist *longer = curl_slist_append(c->headers, line);
    BUG_IF(!longer);
    c->headers = longer;
}

static int add_caller_header(Call *c, const char *line, Err *err)
{
    const char *colon = strchr(line, ':');
    if (!colon)
        return err_set(err, ERR_CONFIG, "a header without a colon");
    for (const char *p = line; *p; p++)
        if (iscntrl((unsigned char)*p) && *p != '\t')
            return err_set(err, ERR_CONFIG, "the header %.*s holds a control character",
                           (int)MIN(colon - line, 80), line);
    const char *value = colon + 1 + strspn(colon + 1, " \t");
    if (*value) {
        add_header(c, line);
        return 0;
    }
    /* To libcurl "Name:" means: don't send it. An empty value (which removes a header in Swift) is
     * written with a semicolon. */
    _cleanup_free_ char *empty = xasprintf("%.*s;", (int)(colon - line), line);
    add_header(c, empty);
    return 0;
}

static int add_token(Call *c, Err *err)
{
    Str token = secret_expose(c->request->token);
    for (size_t i = 0; i < token.n; i++)
        if (iscntrl((unsigned char)token.p[i]))
            return err_set(err, ERR_CONFIG, "the token holds a control character");

    _cleanup_(buf_wipe) Buf line = BUF_INIT(BUF_MAX_LINE);
    buf_str(&line, "X-Auth-Token: ");
    buf_add(&line, token.p, token.n);
    if (line.overflow)
        return err_set(err, ERR_CONFIG, "the token is longer than %zu bytes", line.max);
    add_header(c, line.p);
    return 0;
}

static int set_headers(Call *c, CURL *easy, Err *err)
{
    const StrList *extra = c->request->headers;
    bool has_type = false;
    int r = 0;

    for (size_t i = 0; extra && i < extra->len && r == 0; i++) {
        r = add_caller_header(c, extra->items[i], err);
        has_type = has_type || strncasecmp(extra->items[i], "content-type:", 13) == 0;
    }
    if (r == 0 && c->request->token)
        r = add_token(c, err);
    if (r < 0)
        return r;
    /* What libcurl would add by itself: a wait of a second, and a wrong type. */
    add_header(c, "Expect:");
    if (!has_type)
        add_header(c, "Content-Type:");
    SET(easy, CURLOPT_HTTPHEADER, c->headers);
    return 0;
}

/* Always with a Content-Length, also of 0, where the method has a body by nature: some proxies
 * answer 411 without. */
static void set_body(Call *c, CURL *easy)
{
    const HttpRequest *q = c->request;
    bool from_file = !q->body.p && q->body_size > 0;

    if (from_file) {
        SET(easy, CURLOPT_UPLOAD, 1L);
        SET(easy, CURLOPT_INFILESIZE_LARGE, (curl_off_t)q->body_size);
        SET(easy, CURLOPT_READFUNCTION, on_read);
        SET(easy, CURLOPT_READDATA, c);
        SET(easy, CURLOPT_SEEKFUNCTION, on_seek);
        SET(easy, CURLOPT_SEEKDATA, c);
        SET(easy, CURLOPT_UPLOAD_BUFFERSIZE, 256L << 10);
    } else if (q->body.p || streq(q->method, "POST") || streq(q->method, "PUT") ||
               streq(q->method, "PATCH")) {
        SET(easy, CURLOPT_POSTFIELDS, q->body.p ? q->body.p : "");
        SET(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)(q->body.p ? q->body.n : 0));
    } else if (streq(q->method, "HEAD")) {
        SET(easy, CURLOPT_NOBODY, 1L);
    }
    SET(easy, CURLOPT_CUSTOMREQUEST, q->method);
}

static bool is_loopback(const char *url)
{
    const char *host = strstr(url, "://");
    if (!host)
        return false;
    host += 3;
    return starts_with(host, "127.") || starts_with(host, "[::1]") ||
           (strncasecmp(host, "localhost", 9) == 0 && strchr(":/?", host[9]));
}

static void set_connection(Call *c, CURL *easy)
{
    const HttpRequest *q = c->request;
    bool tls = strncasecmp(q->url, "https://", 8) == 0;
    Msec timeout = q->timeout_ms > 0 ? q->timeout_ms : DEFAULT_TIMEOUT_MS;

    SET(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    SET(easy, CURLOPT_NOSIGNAL, 1L);
    SET(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    SET(easy, CURLOPT_TCP_KEEPIDLE, 30L);
    SET(easy, CURLOPT_TCP_KEEPINTVL, 15L);
    SET(easy, CURLOPT_TIMEOUT_MS, (long)timeout);
    SET(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)MIN(timeout, CONNECT_TIMEOUT_MS));
    SET(easy, CURLOPT_LOW_SPEED_LIMIT, 1L);
    SET(easy, CURLOPT_LOW_SPEED_TIME, 30L);
    /* On clear text waiting for a connection to multiplex on costs a whole latency. */
    SET(easy, CURLOPT_PIPEWAIT, tls ? 1L : 0L);
    SET(easy, CURLOPT_HTTP_VERSION,
        tls ? (long)CURL_HTTP_VERSION_2TLS : (long)CURL_HTTP_VERSION_1_1);
    SET(easy, CURLOPT_CAPATH, (char *)NULL);
    SET(easy, CURLOPT_CAINFO, q->ca_file ? q->ca_file : SYSTEM_CA);
    if (q->cert_file)
        SET(easy, CURLOPT_SSLCERT, q->cert_file);
    if (q->key_file)
        SET(easy, CURLOPT_SSLKEY, q->key_file);
    SET(easy, CURLOPT_SSL_VERIFYPEER, q->insecure ? 0L : 1L);
    SET(easy, CURLOPT_SSL_VERIFYHOST, q->insecure ? 0L : 2L);
    /* libcurl heeds http_proxy and no_proxy; a proxy never leads back to this machine. */
    if (is_loopback(q->url) || q->resolve)
        SET(easy, CURLOPT_NOPROXY, "*");
    if (q->resolve) {
        c->resolve = curl_slist_append(NULL, q->resolve);
        SET(easy, CURLOPT_RESOLVE, c->resolve);
    }
}

int call_setup(Call *c, CURL *easy, Err *err)
{
    c->easy = easy;
    c->start = time_mono();
    int r = set_headers(c, easy, err);
    if (r < 0)
        return r;
    if (c->request->sink_fd > 0)
        c->sink_start = lseek(c->request->sink_fd, 0, SEEK_CUR);
    SET(easy, CURLOPT_URL, c->request->url);
    /* An object may be named "a/../b". */
    SET(easy, CURLOPT_PATH_AS_IS, 1L);
    SET(easy, CURLOPT_USERAGENT, "atoll/" ATOLL_VERSION);
    SET(easy, CURLOPT_PRIVATE, c);
    SET(easy, CURLOPT_ERRORBUFFER, c->words);
    SET(easy, CURLOPT_HEADERFUNCTION, on_header);
    SET(easy, CURLOPT_HEADERDATA, c);
    SET(easy, CURLOPT_WRITEFUNCTION, on_body);
    SET(easy, CURLOPT_WRITEDATA, c);
    SET(easy, CURLOPT_PREREQFUNCTION, on_connected);
    SET(easy, CURLOPT_PREREQDATA, c);
    if (c->request->sink_fd > 0)
        SET(easy, CURLOPT_BUFFERSIZE, 256L << 10);
    set_body(c, easy);
    set_connection(c, easy);
    return 0;
}

/* Ending */

/* Only what differs from ERR_TEMPORARY. */
static const struct {
    CURLcode code;
    ErrKind kind;
    const char *hint;
} failures[] = {
    {CURLE_PEER_FAILED_VERIFICATION, ERR_CONFIG,
     "if this cloud has a CA of its own, name its bundle as `cacert` in clouds.yaml"},
    {CURLE_SSL_CACERT_BADFILE, ERR_CONFIG, "check `cacert` in clouds.yaml"},
    {CURLE_SSL_CERTPROBLEM, ERR_CONFIG, "check `cert` and `key` in clouds.yaml"},
    {CURLE_URL_MALFORMAT, ERR_CONFIG, NULL},
    {CURLE_UNSUPPORTED_PROTOCOL, ERR_CONFIG, NULL},
    {CURLE_WEIRD_SERVER_REPLY, ERR_CORRUPT, NULL},
    {CURLE_BAD_CONTENT_ENCODING, ERR_CORRUPT, NULL},
    {CURLE_OUT_OF_MEMORY, ERR_BUG, NULL},
};

/* OpenSSL's words for a certificate that was valid once, or will be (X509_V_ERR_...). */
#define CERT_NOT_YET_VALID 9
#define CERT_HAS_EXPIRED 10

/* The one of the cloud, or the one that signed it and that this machine keeps? */
static void hint_of_time(const Call *c, Err *err)
{
    const char *ca = c->request->ca_file;
    char now[TIME_TEXT_MAX];
    long verified = 0;

    curl_easy_getinfo(c->easy, CURLINFO_SSL_VERIFYRESULT, &verified);
    if (verified != CERT_HAS_EXPIRED && verified != CERT_NOT_YET_VALID)
        return;
    if (verified == CERT_HAS_EXPIRED && ca && crypt_cert_expired(ca, time_now()))
        err_hint(err,
                 "the authority in %s (`cacert` in clouds.yaml) has expired: ask the cloud's "
                 "provider for its new one",
                 ca);
    else
        err_hint(err,
                 "the cloud's provider has to renew it; or this machine's clock is wrong: it "
                 "says %s",
                 time_format(time_now(), false, now));
}

static void set_failure(Call *c, CURLcode code)
{
    Err *err = &c->response->err;
    const char *words = c->words[0] ? c->words : curl_easy_strerror(code);

    if (c->own.kind) {
        err_move(err, &c->own);
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(failures); i++) {
        if (failures[i].code != code)
            continue;
        /* An answer in HTTP/0.9, that is, in no HTTP at all, has this code too. */
        bool answered = code == CURLE_UNSUPPORTED_PROTOCOL && c->response->sent;
        err_set(err, answered ? ERR_CORRUPT : failures[i].kind, "%s", words);
        if (code == CURLE_PEER_FAILED_VERIFICATION)
            hint_of_time(c, err);
        if (failures[i].hint)
            err_hint(err, "%s", failures[i].hint);
        return;
    }
    err_set(err, ERR_TEMPORARY, "%s", words);
}

static void release(Call *c)
{
    if (c->easy)
        curl_easy_reset(c->easy);
    c->easy = NULL;
    for (struct curl_slist *s = c->headers; s; s = s->next)
        explicit_bzero(s->data, strlen(s->data));
    curl_slist_free_all(c->headers);
    curl_slist_free_all(c->resolve);
    c->headers = c->resolve = NULL;
    err_clear(&c->own);
}

/* Half an answer is none; and the caller may try again into the same file. */
static void drop_answer(Call *c)
{
    buf_clear(&c->response->body);
    strlist_clear(&c->response->headers);
    if (c->request->sink_fd > 0 && c->sink_start >= 0 && c->body_bytes > 0 &&
        ftruncate(c->request->sink_fd, c->sink_start) == 0)
        (void)lseek(c->request->sink_fd, c->sink_start, SEEK_SET);
}

/* Without the query, which may be long or hold a signature. */
static void name_failure(Call *c)
{
    const char *url = c->request->url;
    err_wrap(&c->response->err, "%s %.*s", c->request->method, (int)strcspn(url, "?"), url);
    drop_answer(c);
}

void call_end(Call *c, CURLcode code)
{
    HttpResponse *r = c->response;
    long status = 0;

    r->took_ms = time_mono() - c->start;
    r->sent = bytes_sent(c) > 0;
    curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &status);
    /* libcurl takes a connection closed among the headers for the end of an empty answer. */
    if (code == CURLE_OK && !c->own.kind && (!c->head_complete || status < 200))
        err_set(&c->own, ERR_TEMPORARY, "the answer was cut short");
    if (code == CURLE_OK && !c->own.kind) {
        r->status = (int)status;
    } else {
        set_failure(c, code);
        name_failure(c);
    }
    release(c);
}

void call_interrupt(Call *c)
{
    HttpResponse *r = c->response;

    if (c->easy) {
        r->took_ms = time_mono() - c->start;
        r->sent = bytes_sent(c) > 0;
    }
    err_set(&r->err, ERR_INTERRUPTED, "interrupted");
    name_failure(c);
    release(c);
}

void call_refuse(Call *c, Err *err)
{
    err_move(&c->response->err, err);
    name_failure(c);
    release(c);
}
