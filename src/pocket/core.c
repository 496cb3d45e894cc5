#include "pocket/core.h"
#include "io/crypt.h"
#include <pthread.h>
#include <stdio.h>

static pthread_mutex_t the_lock = PTHREAD_MUTEX_INITIALIZER;

void pocket_lock(Pocket *p)
{
    (void)p;
    pthread_mutex_lock(&the_lock);
}

void pocket_unlock(Pocket *p)
{
    (void)p;
    pthread_mutex_unlock(&the_lock);
}

static const struct {
    const char *name, *type;
} services[POCKET_SERVICES] = {
    [POCKET_KEYSTONE] = {"keystone", "identity"}, [POCKET_NOVA] = {"nova", "compute"},
    [POCKET_NEUTRON] = {"neutron", "network"},    [POCKET_CINDER] = {"cinder", "volumev3"},
    [POCKET_GLANCE] = {"glance", "image"},        [POCKET_SWIFT] = {"swift", "object-store"},
};

const char *service_name(PocketService s)
{
    return services[s].name;
}

const char *service_type(PocketService s)
{
    return services[s].type;
}

/* Titles as webob has them; and the words Nova, Cinder and Neutron use for a status when the
 * handler names none. */
static const struct {
    int status;
    const char *title, *nova, *neutron;
} titles[] = {
    {400, "Bad Request", "badRequest", "BadRequest"},
    {401, "Unauthorized", "unauthorized", "HTTPUnauthorized"},
    {403, "Forbidden", "forbidden", "PolicyNotAuthorized"},
    {404, "Not Found", "itemNotFound", "HTTPNotFound"},
    {405, "Method Not Allowed", "badMethod", "HTTPMethodNotAllowed"},
    {406, "Not Acceptable", "computeFault", "HTTPNotAcceptable"},
    {409, "Conflict", "conflictingRequest", "Conflict"},
    {411, "Length Required", "computeFault", "HTTPLengthRequired"},
    {412, "Precondition Failed", "computeFault", "RevisionNumberConstraintFailed"},
    {413, "Request Entity Too Large", "overLimit", "HTTPRequestEntityTooLarge"},
    {415, "Unsupported Media Type", "badMediaType", "HTTPUnsupportedMediaType"},
    {416, "Requested Range Not Satisfiable", "computeFault", "HTTPRequestRangeNotSatisfiable"},
    {422, "Unprocessable Entity", "computeFault", "HTTPUnprocessableEntity"},
    {429, "Too Many Requests", "overLimit", "HTTPTooManyRequests"},
    {498, "Rate Limited", "overLimit", "HTTPTooManyRequests"},
    {500, "Internal Server Error", "computeFault", "HTTPInternalServerError"},
    {501, "Not Implemented", "notImplemented", "HTTPNotImplemented"},
    {502, "Bad Gateway", "computeFault", "HTTPBadGateway"},
    {503, "Service Unavailable", "serviceUnavailable", "HTTPServiceUnavailable"},
    {504, "Gateway Timeout", "computeFault", "HTTPGatewayTimeout"},
    {507, "Insufficient Storage", "computeFault", "HTTPInsufficientStorage"},
};

static size_t title_row(int status)
{
    for (size_t i = 0; i < ARRAY_LEN(titles); i++)
        if (titles[i].status == status)
            return i;
    return title_row(status < 500 ? 400 : 500);
}

const char *status_title(int status)
{
    return titles[title_row(status)].title;
}

static void html_text(Buf *b, const char *s)
{
    for (; *s; s++)
        switch (*s) {
        case '<':
            buf_str(b, "&lt;");
            break;
        case '>':
            buf_str(b, "&gt;");
            break;
        case '&':
            buf_str(b, "&amp;");
            break;
        default:
            buf_char(b, *s);
        }
}

static void fail_html(PocketReply *r, int status, const char *message)
{
    strlist_add(&r->headers, "Content-Type: text/html; charset=UTF-8");
    if (!r->text.max)
        r->text = BUF_INIT(BUF_MAX_BODY);
    buf_truncate(&r->text, 0);
    const char *title = status_title(status);
    buf_printf(&r->text, "<html><h1>%s</h1><p>", title);
    html_text(&r->text, message);
    buf_str(&r->text, "</p></html>");
}

/* What WebOb makes of an error for who takes JSON only; serve.c makes a page of it for others. */
static void fail_parts(PocketReply *r, int status, const char *message)
{
    _cleanup_(buf_clear) Buf text = BUF_INIT(BUF_MAX_BODY);
    html_text(&text, message);
    buf_str(&text, "<br /><br />\n\n\n");
    _cleanup_free_ char *code = xasprintf("%d %s", status, status_title(status));
    r->json = json_make_new("{s:s, s:s, s:s}", "message", text.p, "code", code, "title",
                            status_title(status));
}

void error_page(PocketReply *r)
{
    _cleanup_json_ json_t *parts = r->json;
    const char *code = json_str_or(parts, "code", ""), *message = json_str_or(parts, "message", "");
    r->json = NULL;
    strlist_add(&r->headers, "Content-Type: text/html; charset=UTF-8");
    if (!r->text.max)
        r->text = BUF_INIT(BUF_MAX_BODY);
    buf_truncate(&r->text, 0);
    buf_printf(&r->text,
               "<html>\n <head>\n  <title>%s</title>\n </head>\n <body>\n  <h1>%s</h1>\n  %s\n "
               "</body>\n</html>",
               code, code, message);
}

void pocket_fail(PocketService s, PocketReply *r, int status, const char *type, const char *format,
                 ...)
{
    va_list ap;
    va_start(ap, format);
    _cleanup_free_ char *message = xvasprintf(format, ap);
    va_end(ap);
    json_decref(r->json);
    r->json = NULL;
    r->status = status;
    size_t row = title_row(status);
    switch (s) {
    case POCKET_KEYSTONE:
        r->json = json_make_new("{s:{s:i,s:s,s:s}}", "error", "code", status, "message", message,
                                "title", titles[row].title);
        break;
    case POCKET_NOVA:
    case POCKET_CINDER:
        r->json = json_make_new("{s:{s:i,s:s}}", type ? type : titles[row].nova, "code", status,
                                "message", message);
        break;
    case POCKET_NEUTRON:
        r->json =
            json_make_new("{s:{s:s,s:s,s:s}}", "NeutronError", "type",
                          type ? type : titles[row].neutron, "message", message, "detail", "");
        break;
    case POCKET_GLANCE:
        fail_parts(r, status, message);
        break;
    case POCKET_SWIFT:
    case POCKET_SERVICES:
        fail_html(r, status, message);
        break;
    }
}

const char *pocket_query(const PocketCall *c, const char *name)
{
    const json_t *v = json_object_get(c->query, name);
    return json_string_value(json_is_array(v) ? json_array_get(v, 0) : v);
}

const char *pocket_header(const PocketCall *c, const char *name)
{
    return header_of(c->headers, name);
}

bool pocket_has_role(const PocketUser *u, const char *role)
{
    return u && strlist_has(&u->roles, role);
}

char *pocket_url(const Pocket *p, PocketService s)
{
    return xasprintf("http://127.0.0.1:%d", p->port[s]);
}

char *pocket_uuid(bool dashes)
{
    char uuid[CRYPT_UUID_MAX], *to = uuid;

    crypt_uuid(uuid);
    for (const char *from = uuid; *from; from++)
        if (dashes || *from != '-')
            *to++ = *from;
    return xstrndup(uuid, (size_t)(to - uuid));
}

char *pocket_stamp(const Pocket *p, PocketService s)
{
    char text[TIME_TEXT_MAX];
    Msec now = p->now();
    (void)time_format(now, false, text);
    int micro = (int)(now % SECOND) * 1000;
    text[strlen(text) - 1] = 0; /* the Z */
    if (s == POCKET_CINDER)
        return xasprintf("%s.%06d", text, micro);
    if (s == POCKET_KEYSTONE)
        return xasprintf("%s.%06dZ", text, micro);
    return xasprintf("%sZ", text);
}

/* The page's limit: the query's, at most page_max. False: it is no number. */
static bool page_limit(const Pocket *p, PocketService s, const PocketCall *c, size_t *ret)
{
    int64_t max = p->page_max > 0 ? p->page_max : 1000;
    int64_t limit = max;
    const char *text = pocket_query(c, "limit");
    if (text && !parse_int(text, 0, INT32_MAX, &limit))
        return false;
    /* Neutron takes 0 for all, Nova and Cinder for none. */
    *ret = (size_t)(limit == 0 && s == POCKET_NEUTRON ? max : MIN(limit, max));
    return true;
}

/* Index of the first row of the page; false: the marker is no row's id. */
static bool page_start(const PocketCall *c, const json_t *rows, size_t *ret)
{
    *ret = 0;
    const char *marker = pocket_query(c, "marker");
    if (!marker || !*marker)
        return true;
    for (size_t i = 0; i < json_array_size(rows); i++)
        if (streq(json_str(json_array_get(rows, i), "id"), marker)) {
            *ret = i + 1;
            return true;
        }
    return false;
}

static void add_query(Buf *b, const char *name, const char *value)
{
    buf_char(b, b->len == 0 ? '?' : '&');
    buf_url_quote(b, name, "");
    buf_char(b, '=');
    buf_url_quote(b, value, "");
}

/* The same list from this marker on; marker NULL: none. */
static json_t *page_link_new(const Pocket *p, PocketService s, const PocketCall *c, bool backwards,
                             const char *marker)
{
    _cleanup_(buf_clear) Buf query = BUF_INIT(BUF_MAX_LINE);
    const char *name;
    json_t *value;
    json_object_foreach (c->query, name, value) {
        if (streq(name, "marker") || streq(name, "page_reverse"))
            continue;
        if (json_is_string(value))
            add_query(&query, name, json_string_value(value));
        size_t i;
        json_t *item;
        json_array_foreach (value, i, item) {
            add_query(&query, name, json_string_value(item));
        }
    }
    if (marker)
        add_query(&query, "marker", marker);
    if (backwards)
        add_query(&query, "page_reverse", "True");
    _cleanup_free_ char *base = pocket_url(p, s);
    _cleanup_free_ char *href = xasprintf("%s%s%s", base, c->path, query.p);
    return json_make_new("{s:s,s:s}", "rel", backwards ? "previous" : "next", "href", href);
}

/* A page that is full names a next one, even if nothing follows: that is all a service looks at.
 * Neutron names the way back too, for who asked for a limit. NULL: no links. */
static json_t *page_links_new(const Pocket *p, PocketService s, const PocketCall *c,
                              const json_t *page, size_t limit)
{
    json_t *links = json_array();
    size_t n = json_array_size(page);
    const char *last = n > 0 && n == limit ? json_str(json_array_get(page, n - 1), "id") : NULL;
    if (last)
        json_array_append_new(links, page_link_new(p, s, c, false, last));
    if (s == POCKET_NEUTRON && pocket_query(c, "limit") && !streq(pocket_query(c, "limit"), "0"))
        json_array_append_new(
            links, page_link_new(p, s, c, true, json_str(json_array_get(page, 0), "id")));
    if (json_array_size(links) > 0)
        return links;
    json_decref(links);
    return NULL;
}

void pocket_page(Pocket *p, PocketService s, const PocketCall *c, PocketReply *r,
                 const char *plural, json_t *rows)
{
    size_t limit, start;
    if (!page_limit(p, s, c, &limit)) {
        pocket_fail(s, r, 400, NULL, "Invalid input for query parameters limit. Value: %s.",
                    pocket_query(c, "limit"));
        json_decref(rows);
        return;
    }
    if (!page_start(c, rows, &start)) {
        pocket_fail(s, r, 400, NULL, "marker [%s] not found", pocket_query(c, "marker"));
        json_decref(rows);
        return;
    }
    json_t *page = json_array();
    size_t end = MIN(start + limit, json_array_size(rows));
    for (size_t i = start; i < end; i++)
        json_array_append(page, json_array_get(rows, i));
    r->status = 200;
    r->json = json_object();
    json_object_set_new(r->json, plural, page);
    json_t *links = page_links_new(p, s, c, page, limit);
    if (links) {
        _cleanup_free_ char *name = xasprintf("%s_links", plural);
        json_object_set_new(r->json, name, links);
    }
    json_decref(rows);
}
