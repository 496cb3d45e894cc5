#include "base/log.h"
#include "io/crypt.h"
#include "stream/internal.h"
#include <arpa/inet.h>
#include <http_parser.h>
#include <sys/socket.h>

#define PREFIX "/api/v1/streaming/"
#define VIEW_FEEDS 0x100000

static const char *reason_of(int status)
{
    return http_status_str((enum http_status)status);
}

static void begin_answer(Buf *b, int status)
{
    char id[CRYPT_UUID_MAX];

    crypt_uuid(id);
    buf_printf(b,
               "HTTP/1.1 %d %s\r\nX-Powered-By: Express\r\nX-Request-Id: %s\r\n"
               "Access-Control-Allow-Origin: *\r\n",
               status, reason_of(status), id);
}

static void end_headers(Buf *b, const Conn *c)
{
    char date[TIME_TEXT_MAX];

    buf_printf(b, "Date: %s\r\n", time_format_http(time_now(), date));
    buf_str(b, c->keep_alive ? "Connection: keep-alive\r\nKeep-Alive: timeout=5\r\n\r\n"
                             : "Connection: close\r\n\r\n");
}

/* What is behind the request comes next. */
static void forget_head(Input *in)
{
    buf_cut(&in->bytes, in->head_bytes);
    in->head = (Head){0};
}

/* The request is answered: the next one, or the end. */
static void answered(Server *s, Conn *c)
{
    serve_session_end(s, c);
    if (!c->keep_alive) {
        conn_close(s, c);
        return;
    }
    c->state = CONN_HEAD;
    forget_head(c->input);
    conn_timer(s, c);
}

/* `fields`: whole lines. */
static void answer(Server *s, Conn *c, int status, const char *fields, Str body)
{
    _cleanup_(buf_clear) Buf b = BUF_INIT(BUF_MAX_BODY);

    begin_answer(&b, status);
    buf_str(&b, fields);
    if (status != 204 || body.n == 0)
        buf_printf(&b, "Content-Length: %zu\r\n", body.n);
    end_headers(&b, c);
    if (!str_eq(c->input->head.method, STR_LIT("HEAD")))
        buf_add(&b, body.p, body.n);
    conn_text(s, c, buf_as_str(&b));
    answered(s, c);
}

/* The reference writes this head by hand, and nothing else. */
static void refuse_upgrade(Server *s, Conn *c, int status, const char *text)
{
    _cleanup_(buf_clear) Buf b = BUF_INIT(BUF_MAX_LINE);
    char id[CRYPT_UUID_MAX];

    crypt_uuid(id);
    buf_printf(&b,
               "HTTP/1.1 %d %s\r\nConnection: close\r\nContent-Type: text/plain\r\n"
               "Content-Length: 0\r\nX-Request-Id: %s\r\nX-Error-Message: %s\r\n\r\n",
               status, reason_of(status), id, text);
    conn_text(s, c, buf_as_str(&b));
    conn_close(s, c);
}

/* The WebSocket's own headers are wrong. */
static void refuse_websocket(Server *s, Conn *c, int status, const char *fields, const char *text)
{
    _cleanup_(buf_clear) Buf b = BUF_INIT(BUF_MAX_LINE);

    s->metrics.bad_requests++;
    buf_printf(&b,
               "HTTP/1.1 %d %s\r\nConnection: close\r\nContent-Type: text/html\r\n"
               "Content-Length: %zu\r\n%s\r\n%s",
               status, reason_of(status), strlen(text), fields, text);
    conn_text(s, c, buf_as_str(&b));
    conn_close(s, c);
}

void serve_error(Server *s, Conn *c, int status, const char *text)
{
    _cleanup_(buf_clear) Buf body = BUF_INIT(BUF_MAX_LINE);

    if (c->input->head.upgrade) {
        refuse_upgrade(s, c, status, text);
        return;
    }
    buf_str(&body, "{\"error\":");
    js_quote(&body, str_of(text));
    buf_char(&body, '}');
    answer(s, c, status, "Content-Type: application/json\r\n", buf_as_str(&body));
}

void serve_bad(Server *s, Conn *c, int status)
{
    _cleanup_(buf_clear) Buf b = BUF_INIT(BUF_MAX_LINE);

    buf_printf(&b, "HTTP/1.1 %d %s\r\nConnection: close\r\n\r\n", status, reason_of(status));
    conn_text(s, c, buf_as_str(&b));
    conn_close(s, c);
}

/* ---- who it is ---- */

void serve_session_end(Server *s, Conn *c)
{
    unsubscribe_all(s, c);
    if (c->counted)
        s->metrics.clients[c->kind]--;
    c->counted = false;
    languages_unref(c->languages);
    c->languages = NULL;
    census_leave_account(s->census, c->account);
    hub_account_unref(&s->hub, c->account);
    c->account = NULL;
    if (c->address)
        census_leave_address(s->census, c->address);
    c->address = NULL;
}

/* The address of who is behind the proxies that are trusted; false: only such proxies are known. */
static bool client_address(const Server *s, const Conn *c, char ret[static INET6_ADDRSTRLEN])
{
    struct sockaddr_storage peer = {0};
    socklen_t n = sizeof(peer);
    Str list = c->input->head.field[HEAD_FORWARDED_FOR];

    if (getpeername(c->fd, (struct sockaddr *)&peer, &n) < 0)
        return false;
    if (peer.ss_family == AF_INET || peer.ss_family == AF_INET6) {
        const void *bytes = peer.ss_family == AF_INET
                                ? (const void *)&((struct sockaddr_in *)&peer)->sin_addr
                                : (const void *)&((struct sockaddr_in6 *)&peer)->sin6_addr;
        (void)inet_ntop(peer.ss_family, bytes, ret, INET6_ADDRSTRLEN);
        const char *text = starts_with(ret, "::ffff:") ? ret + 7 : ret;
        if (!stream_trusts(&s->config->trusted, text))
            return true;
    }
    while (list.n) {
        const char *comma = memrchr(list.p, ',', list.n);
        Str last = str_trim(comma ? (Str){comma + 1, (size_t)(list.p + list.n - comma - 1)} : list);
        list.n = comma ? (size_t)(comma - list.p) : 0;
        if (last.n == 0 || last.n >= INET6_ADDRSTRLEN)
            continue;
        memcpy(ret, last.p, last.n);
        ret[last.n] = '\0';
        if (!stream_trusts(&s->config->trusted, ret))
            return true;
    }
    return false;
}

static bool within_address_bound(Server *s, Conn *c)
{
    char text[INET6_ADDRSTRLEN];
    uint64_t conns;

    if (!client_address(s, c, text))
        return true;
    c->address = census_enter_address(s->census, text, &conns);
    if (conns <= (uint64_t)s->settings->per_address)
        return true;
    s->metrics.over_address++;
    return false;
}

/* The first credentials that are there: Authorization, the query, the subprotocol. */
static void find_token(const Head *h, Buf *out)
{
    Str field = h->field[HEAD_AUTHORIZATION];

    if (field.n) {
        bool bearer = field.n >= 7 && memcmp(field.p, "Bearer ", 7) == 0;
        buf_add(out, field.p + (bearer ? 7 : 0), field.n - (bearer ? 7 : 0));
        return;
    }
    (void)query_value(h->query, "access_token", out);
    if (out->len == 0)
        buf_add(out, h->field[HEAD_WS_PROTOCOL].p, h->field[HEAD_WS_PROTOCOL].n);
}

static void log_in(Server *s, Conn *c)
{
    _cleanup_(buf_wipe) Buf token = BUF_INIT(HEAD_MAX);

    find_token(&c->input->head, &token);
    if (token.len == 0)
        serve_error(s, c, 401, "Missing access token");
    else if (!within_address_bound(s, c))
        serve_error(s, c, 429, "Too many connections");
    else if (!js_utf8(buf_as_str(&token)) || memchr(token.p, '\0', token.len))
        serve_error(s, c, 401, "Invalid access token"); /* no token of PostgreSQL's */
    else {
        c->state = CONN_LOGIN;
        conn_timer(s, c);
        lookup_token(s->lookup, conn_ref(c), token.p);
    }
}

/* ---- routes ---- */

static bool is_get(const Head *h)
{
    return str_eq(h->method, STR_LIT("GET")) || str_eq(h->method, STR_LIT("HEAD"));
}

/* Without regard to case, with or without a slash at the end. */
static bool is_path(Str path, const char *wanted)
{
    size_t n = strlen(wanted);
    return (path.n == n || (path.n == n + 1 && path.p[n] == '/')) &&
           strncasecmp(path.p, wanted, n) == 0;
}

static void serve_options(Server *s, Conn *c)
{
    _cleanup_(buf_clear) Buf fields = BUF_INIT(BUF_MAX_LINE);
    Str asked = c->input->head.field[HEAD_REQUEST_HEADERS];

    buf_str(&fields, "Access-Control-Allow-Methods: GET,HEAD,PUT,PATCH,POST,DELETE\r\n"
                     "Vary: Access-Control-Request-Headers\r\n");
    if (asked.n)
        buf_printf(&fields, "Access-Control-Allow-Headers: %.*s\r\n", (int)asked.n, asked.p);
    answer(s, c, 204, fields.p, STR_LIT(""));
}

static void serve_metrics(Server *s, Conn *c)
{
    _cleanup_(buf_clear) Buf body = BUF_INIT(BUF_MAX_BODY);

    metrics_write(server_numbers(s), &body);
    answer(s, c, 200,
           "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"
           "Cache-Control: private, no-store\r\n",
           buf_as_str(&body));
}

void serve_request(Server *s, Conn *c)
{
    Input *in = c->input;
    const Head *h = &in->head;

    /* A body is not read: nothing here takes one, and what follows it cannot be told from it. */
    c->keep_alive = h->keep_alive && !h->has_body && !s->draining;
    if (log_on(LOG_LEVEL_DEBUG)) {
        _cleanup_(buf_clear) Buf target = BUF_INIT(HEAD_MAX * 2);
        head_redact(h, &target);
        log_debug("%.*s %s%s", (int)h->method.n, h->method.p, target.p,
                  h->upgrade ? " (upgrade)" : "");
    }
    if (h->upgrade) {
        c->kind = CLIENT_WEBSOCKET;
        log_in(s, c);
        return;
    }
    c->kind = CLIENT_EVENTSOURCE;
    if (str_eq(h->method, STR_LIT("OPTIONS"))) {
        serve_options(s, c);
    } else if (is_get(h) && is_path(h->path, PREFIX "health")) {
        answer(s, c, 200,
               "Content-Type: text/plain; charset=utf-8\r\nCache-Control: private, no-store\r\n",
               STR_LIT("OK"));
    } else if (is_get(h) && is_path(h->path, "/metrics")) {
        serve_metrics(s, c);
    } else if (is_get(h) && is_path(h->path, "/favicon.ico")) {
        answer(s, c, 404, "", STR_LIT(""));
    } else if (h->path.n > strlen(PREFIX) && memcmp(h->path.p, PREFIX, strlen(PREFIX)) == 0 &&
               stream_by_path((Str){h->path.p + strlen(PREFIX), h->path.n - strlen(PREFIX)},
                              &in->sse_stream)) {
        log_in(s, c);
    } else {
        serve_error(s, c, 400, "Unknown channel requested");
    }
}

/* ---- after the login ---- */

static void other_method(Server *s, Conn *c)
{
    _cleanup_(buf_clear) Buf body = BUF_INIT(BUF_MAX_LINE);
    const Head *h = &c->input->head;

    buf_str(&body, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                   "<title>Error</title>\n</head>\n<body>\n");
    buf_printf(&body, "<pre>Cannot %.*s %.*s</pre>\n</body>\n</html>\n", (int)h->method.n,
               h->method.p, (int)h->path.n, h->path.p);
    answer(s, c, 404,
           "Content-Security-Policy: default-src 'none'\r\nX-Content-Type-Options: nosniff\r\n"
           "Content-Type: text/html; charset=utf-8\r\n",
           buf_as_str(&body));
}

void serve_sse_start(Server *s, Conn *c)
{
    _cleanup_(buf_clear) Buf b = BUF_INIT(BUF_MAX_LINE);
    bool head = str_eq(c->input->head.method, STR_LIT("HEAD"));

    begin_answer(&b, 200);
    buf_str(&b, "Content-Type: text/event-stream\r\nCache-Control: private, no-store\r\n"
                "Transfer-Encoding: chunked\r\n");
    c->keep_alive = c->keep_alive && !head;
    end_headers(&b, c);
    if (!head)
        buf_str(&b, "3\r\n:)\n\r\n");
    conn_text(s, c, buf_as_str(&b));
    if (head) {
        conn_close(s, c);
        return;
    }
    c->state = CONN_OPEN;
    buf_truncate(&c->input->bytes, 0);
    conn_timer(s, c);
    conn_resume(s, c);
}

/* A client is in. */
static void count_client(Server *s, Conn *c)
{
    c->counted = true;
    s->metrics.clients[c->kind]++;
}

static void switch_protocols(Server *s, Conn *c)
{
    _cleanup_(buf_clear) Buf b = BUF_INIT(BUF_MAX_LINE);
    const Head *h = &c->input->head;
    Str protocols = h->field[HEAD_WS_PROTOCOL], first = {0}, version = h->field[HEAD_WS_VERSION];
    char id[CRYPT_UUID_MAX];

    if (!str_eq(h->method, STR_LIT("GET"))) {
        refuse_websocket(s, c, 405, "", "Invalid HTTP method");
        return;
    }
    if (h->field[HEAD_UPGRADE].n != 9 ||
        strncasecmp(h->field[HEAD_UPGRADE].p, "websocket", 9) != 0) {
        refuse_websocket(s, c, 400, "", "Invalid Upgrade header");
        return;
    }
    buf_str(&b, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                "Sec-WebSocket-Accept: ");
    if (!ws_accept(h->field[HEAD_WS_KEY], &b)) {
        refuse_websocket(s, c, 400, "", "Missing or invalid Sec-WebSocket-Key header");
        return;
    }
    if (!str_eq(version, STR_LIT("13")) && !str_eq(version, STR_LIT("8"))) {
        refuse_websocket(s, c, 400, "Sec-WebSocket-Version: 13, 8\r\n",
                         "Missing or invalid Sec-WebSocket-Version header");
        return;
    }
    if (protocols.n && str_next(&protocols, ',', &first))
        buf_printf(&b, "\r\nSec-WebSocket-Protocol: %.*s", (int)str_trim(first).n,
                   str_trim(first).p);
    crypt_uuid(id);
    buf_printf(&b, "\r\nX-Request-Id: %s\r\n\r\n", id);
    conn_text(s, c, buf_as_str(&b));
    c->state = CONN_OPEN;
    count_client(s, c);
    conn_timer(s, c);
    subscribe_system(s, c);
    subscribe_query(s, c);
    forget_head(c->input);
    conn_resume(s, c);
}

void serve_login(Server *s, Conn *c, bool ok, const TokenFound *found)
{
    if (c->state != CONN_LOGIN)
        return;
    if (!ok || !found) {
        serve_error(s, c, ok ? 401 : 500,
                    ok ? "Invalid access token" : "An unexpected error occurred");
        conn_resume(s, c);
        return;
    }
    c->account = hub_account_ref(&s->hub, found->account);
    c->token = found->id;
    c->scopes = (uint8_t)found->scopes;
    c->view_feeds = found->permissions & VIEW_FEEDS;
    if (found->has_languages)
        c->languages = languages_ref(c->account, found->languages);
    if (census_enter_account(s->census, c->account) > (uint64_t)s->settings->per_account) {
        s->metrics.over_account++;
        serve_error(s, c, 429, "Too many connections");
        conn_resume(s, c);
    } else if (c->kind == CLIENT_WEBSOCKET) {
        switch_protocols(s, c);
    } else if (!is_get(&c->input->head)) {
        other_method(s, c);
        conn_resume(s, c);
    } else {
        count_client(s, c);
        subscribe_system(s, c);
        subscribe_sse(s, c);
    }
}
