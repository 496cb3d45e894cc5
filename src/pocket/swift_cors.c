/* Cross-origin requests (Swift proxy, cors_validation and OPTIONS; openstack.md e). */
#include "pocket/swift_call.h"

#define CORS "X-Container-Meta-Access-Control-"

/* "*", the origin itself, or NULL if it is not allowed. */
static const char *allowed_origin(const SwiftContainer *k, const char *origin)
{
    const char *list = json_str(k->meta, CORS "Allow-Origin");
    if (!list)
        return NULL;
    Str whole = str_trim(str_of(list));
    if (str_eq(whole, STR_LIT("*")))
        return "*";
    Str rest = whole, item;
    while (str_next(&rest, ' ', &item))
        if (str_eq(item, str_of(origin)) || str_eq(item, STR_LIT("*")))
            return origin;
    return NULL;
}

static void add_vary(SwiftCall *c, const char *value)
{
    const char *there = swift_reply_get(c, "Vary");
    _cleanup_free_ char *both = there ? xasprintf("%s, %s", there, value) : xstrdup(value);
    swift_set_header(c, "Vary", both);
}

static bool known_method(const char *method)
{
    static const char *const methods[] = {"POST",    "DELETE", "PUT",  "HEAD",
                                          "OPTIONS", "GET",    "COPY", NULL};
    for (size_t i = 0; method && methods[i]; i++)
        if (streq(methods[i], method))
            return true;
    return false;
}

void swift_options(SwiftCall *c)
{
    static const char plain[] = "POST, DELETE, PUT, HEAD, OPTIONS, GET";
    static const char with_copy[] = "POST, DELETE, PUT, HEAD, OPTIONS, GET, COPY";
    const char *all = c->object ? with_copy : plain;
    const char *origin = swift_header(c, "Origin");
    c->http->reply.status = 200;
    if (!origin || !c->container) {
        swift_set_header(c, "Allow", all);
        return;
    }
    _cleanup_(swift_container_clear) SwiftContainer k = {0};
    bool there = swift_container_get(c->p, c->account, c->container, &k);
    const char *allowed = there ? allowed_origin(&k, origin) : NULL;
    if (!allowed || !known_method(swift_header(c, "Access-Control-Request-Method"))) {
        (void)swift_fail(c, 401, NULL);
        swift_set_header(c, "Allow", plain);
        return;
    }
    swift_set_header(c, "Allow", all);
    swift_set_header(c, "Access-Control-Allow-Origin", allowed);
    if (!streq(allowed, "*"))
        add_vary(c, "Origin");
    const char *age = json_str(k.meta, CORS "Max-Age");
    if (age)
        swift_set_header(c, "Access-Control-Max-Age", age);
    swift_set_header(c, "Access-Control-Allow-Methods", all);
    const char *wanted = swift_header(c, "Access-Control-Request-Headers");
    if (wanted && *wanted) {
        swift_set_header(c, "Access-Control-Allow-Headers", wanted);
        add_vary(c, "Access-Control-Request-Headers");
    }
}

static void expose(SwiftCall *c, const SwiftContainer *k)
{
    _cleanup_(buf_clear) Buf b = BUF_INIT(BUF_MAX_LINE);
    buf_str(&b, "cache-control, content-language, content-type, expires, last-modified, pragma, "
                "etag, x-timestamp, x-trans-id, x-openstack-request-id");
    const StrList *headers = &c->http->reply.headers;
    for (size_t i = 0; i < headers->len; i++) {
        const char *line = headers->items[i];
        if (strncasecmp(line, "X-Object-Meta-", 14) != 0 &&
            strncasecmp(line, "X-Container-Meta-", 17) != 0)
            continue;
        _cleanup_free_ char *name = xstrndup(line, strcspn(line, ":"));
        for (char *p = name; *p; p++)
            *p = *p >= 'A' && *p <= 'Z' ? (char)(*p + 32) : *p;
        buf_printf(&b, ", %s", name);
    }
    Str rest = str_of(json_str(k->meta, CORS "Expose-Headers")), item;
    while (str_next(&rest, ' ', &item)) {
        _cleanup_free_ char *name = xstrndup(item.p, item.n);
        for (char *p = name; *p; p++)
            *p = *p >= 'A' && *p <= 'Z' ? (char)(*p + 32) : *p;
        if (*name)
            buf_printf(&b, ", %s", name);
    }
    swift_set_header(c, "Access-Control-Expose-Headers", b.p);
}

/* Also on errors, so that a page can read why. */
void swift_cors_reply(SwiftCall *c)
{
    const char *origin = swift_header(c, "Origin");
    if (!origin || !c->container || streq(c->http->method, "OPTIONS"))
        return;
    _cleanup_(swift_container_clear) SwiftContainer k = {0};
    if (!swift_container_get(c->p, c->account, c->container, &k))
        return;
    const char *allowed = allowed_origin(&k, origin);
    if (!allowed)
        return;
    expose(c, &k);
    swift_set_header(c, "Access-Control-Allow-Origin", allowed);
    if (!streq(allowed, "*"))
        add_vary(c, "Origin");
}
