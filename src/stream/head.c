#include "stream/head.h"
#include <http_parser.h>

static const char *const names[HEAD_FIELDS] = {
    [HEAD_AUTHORIZATION] = "authorization",
    [HEAD_FORWARDED_FOR] = "x-forwarded-for",
    [HEAD_UPGRADE] = "upgrade",
    [HEAD_WS_KEY] = "sec-websocket-key",
    [HEAD_WS_PROTOCOL] = "sec-websocket-protocol",
    [HEAD_WS_VERSION] = "sec-websocket-version",
    [HEAD_REQUEST_HEADERS] = "access-control-request-headers",
};

typedef struct Reading {
    Head *head;
    Str url, name, value;
    bool in_value, complete;
} Reading;

/* The parser gives a token in pieces only where its input came in pieces, or was folded: then what
 * lies between belongs to it too. */
static void extend(Str *token, const char *at, size_t n)
{
    if (!token->p)
        token->p = at;
    token->n = (size_t)(at + n - token->p);
}

static void keep_field(Reading *r)
{
    for (int i = 0; i < HEAD_FIELDS; i++)
        if (r->name.n == strlen(names[i]) && strncasecmp(r->name.p, names[i], r->name.n) == 0 &&
            !r->head->field[i].p)
            r->head->field[i] = r->value.p ? str_trim(r->value) : STR_LIT("");
    r->name = r->value = (Str){0};
    r->in_value = false;
}

static int on_url(http_parser *p, const char *at, size_t n)
{
    extend(&((Reading *)p->data)->url, at, n);
    return 0;
}

static int on_field(http_parser *p, const char *at, size_t n)
{
    Reading *r = p->data;
    if (r->in_value)
        keep_field(r);
    extend(&r->name, at, n);
    return 0;
}

static int on_value(http_parser *p, const char *at, size_t n)
{
    Reading *r = p->data;
    r->in_value = true;
    extend(&r->value, at, n);
    return 0;
}

static int on_complete(http_parser *p)
{
    Reading *r = p->data;
    Head *h = r->head;

    if (r->in_value)
        keep_field(r);
    h->upgrade = p->upgrade && p->method != HTTP_CONNECT;
    h->keep_alive = http_should_keep_alive(p);
    h->has_body =
        (p->flags & F_CHUNKED) || (p->content_length != 0 && p->content_length != UINT64_MAX);
    h->method = str_of(http_method_str((enum http_method)p->method));
    r->complete = true;
    return 2; /* whatever comes next is not the parser's */
}

/* Is the empty line there? Cheap, so that a head that comes byte by byte is parsed once. */
static bool has_end(Str bytes)
{
    return memmem(bytes.p, bytes.n, "\n\r\n", 3) || memmem(bytes.p, bytes.n, "\n\n", 2);
}

HeadResult head_read(Str bytes, Head *ret, size_t *ret_used)
{
    static const http_parser_settings settings = {.on_url = on_url,
                                                  .on_header_field = on_field,
                                                  .on_header_value = on_value,
                                                  .on_headers_complete = on_complete};
    if (!has_end(bytes))
        return bytes.n >= HEAD_MAX ? HEAD_TOO_LARGE : HEAD_MORE;

    http_parser p;
    Reading r = {.head = ret};
    *ret = (Head){0};
    http_parser_init(&p, HTTP_REQUEST);
    p.data = &r;
    size_t used = http_parser_execute(&p, &settings, bytes.p, bytes.n);
    if (!r.complete)
        return HTTP_PARSER_ERRNO(&p) != HPE_OK ? HEAD_BAD
               : bytes.n >= HEAD_MAX           ? HEAD_TOO_LARGE
                                               : HEAD_MORE;
    if (used > HEAD_MAX)
        return HEAD_TOO_LARGE;
    /* An absolute target ("GET http://host/path") is for proxies; its path is what counts. */
    Str url = r.url;
    if (url.n > 7 && strncasecmp(url.p, "http://", 7) == 0) {
        const char *slash = memchr(url.p + 7, '/', url.n - 7);
        url = slash ? (Str){slash, url.n - (size_t)(slash - url.p)} : STR_LIT("/");
    }
    const char *mark = url.n ? memchr(url.p, '?', url.n) : NULL;
    ret->path = mark ? (Str){url.p, (size_t)(mark - url.p)} : url;
    ret->query = mark ? (Str){mark + 1, url.n - (size_t)(mark + 1 - url.p)} : STR_LIT("");
    *ret_used = used;
    return HEAD_OK;
}

/* What is no escape stays. */
static void decode(Str s, char plus, Buf *out)
{
    for (size_t i = 0; i < s.n; i++) {
        int high = s.p[i] == '%' && i + 2 < s.n ? hex_value(s.p[i + 1]) : -1;
        int low = high >= 0 ? hex_value(s.p[i + 2]) : -1;
        if (low >= 0) {
            buf_char(out, (char)(high << 4 | low));
            i += 2;
        } else {
            buf_char(out, s.p[i] == '+' ? plus : s.p[i]);
        }
    }
}

void url_decode(Str s, Buf *out)
{
    decode(s, '+', out);
}

/* The next "name=value" of a query; a value that is not there is "". */
static bool next_pair(Str *rest, Str *ret_name, Str *ret_value)
{
    Str part;
    if (!str_next(rest, '&', &part))
        return false;
    const char *equals = part.n ? memchr(part.p, '=', part.n) : NULL;
    *ret_name = equals ? (Str){part.p, (size_t)(equals - part.p)} : part;
    *ret_value = equals ? (Str){equals + 1, part.n - (size_t)(equals + 1 - part.p)} : STR_LIT("");
    return true;
}

size_t query_value(Str query, const char *name, Buf *out)
{
    _cleanup_(buf_clear) Buf decoded = BUF_INIT(HEAD_MAX);
    Str key, value;
    size_t count = 0;

    while (next_pair(&query, &key, &value)) {
        buf_truncate(&decoded, 0);
        decode(key, ' ', &decoded);
        if (str_eq(buf_as_str(&decoded), str_of(name)) && count++ == 0)
            decode(value, ' ', out);
    }
    return count;
}

void head_redact(const Head *h, Buf *out)
{
    Str query = h->query, key, value;
    char mark = '?';

    buf_add(out, h->path.p, h->path.n);
    while (h->query.n && next_pair(&query, &key, &value)) {
        _cleanup_(buf_clear) Buf name = BUF_INIT(HEAD_MAX);
        decode(key, ' ', &name);
        buf_char(out, mark);
        mark = '&';
        buf_add(out, key.p, key.n);
        buf_char(out, '=');
        if (str_eq(buf_as_str(&name), STR_LIT("access_token")))
            buf_str(out, "[Redacted]");
        else
            buf_add(out, value.p, value.n);
    }
}
