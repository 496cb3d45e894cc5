/* Listings of accounts, containers and versions (Object Storage API, "Show container details and
 * list objects"). */
#include "pocket/swift_call.h"

typedef struct Listing {
    SwiftCall *c;
    json_t *rows; /* {"name": ...} or {"subdir": ...} */
    const char *prefix, *delimiter, *marker, *end_marker;
    size_t limit;
    bool reverse, versions;
    char *path;        /* of ?path=: a folder, without the folders in it */
    char *subdir;      /* the last one that was listed */
    char *latest_name; /* with versions: whose newest row has been seen */
} Listing;

static void listing_clear(Listing *l)
{
    json_decref(l->rows);
    free(l->path);
    free(l->subdir);
    free(l->latest_name);
}
DEFINE_CLEAR(Listing, listing_clear)

char *swift_time_text(int64_t stamp)
{
    char text[TIME_TEXT_MAX];
    (void)time_format(stamp / 100000 * SECOND, false, text);
    text[strlen(text) - 1] = 0;
    return xasprintf("%s.%06lld", text, (long long)(stamp % 100000 * 10));
}

/* True if the row goes into a subdir (listed now or before); *ret_more is false at the end. */
static bool fold(Listing *l, const char *name)
{
    if (!l->delimiter || !*l->delimiter)
        return false;
    size_t skip = l->prefix ? strlen(l->prefix) : 0;
    const char *at = strstr(name + skip, l->delimiter);
    if (!at)
        return false;
    char *subdir = xstrndup(name, (size_t)(at - name) + strlen(l->delimiter));
    int order = l->marker && *l->marker ? strcmp(subdir, l->marker) : 1;
    bool old = streq(subdir, l->subdir) || (l->reverse ? l->marker && order >= 0 : order <= 0);
    if (old) {
        free(subdir);
        return true;
    }
    free(l->subdir);
    l->subdir = subdir;
    if (!l->path)
        json_array_append_new(l->rows, json_make_new("{s:s}", "subdir", subdir));
    return true;
}

/* A token of RFC 9110, or (where `quotes`) a quoted string; 0: neither. */
static size_t word_length(const char *s, bool quotes)
{
    if (!quotes || *s != '"') {
        size_t n = 0;
        while ((unsigned char)s[n] > ' ' && s[n] != 0x7f && !strchr("()<>@,;:\"/[]?={}\\", s[n]))
            n++;
        return n;
    }
    for (size_t n = 1; s[n]; n++) {
        if (s[n] == '"')
            return n + 1;
        n += s[n] == '\\' && s[n + 1];
    }
    return 0;
}

/* A listing has the parameters of a type as Swift's container server reads them: what follows a
 * token and is none is lost, such as all behind the ',' of "now=canary,1". */
static void listed_type(const char *type, Buf *b)
{
    size_t n = strcspn(type, ";");

    buf_add(b, type, n);
    for (const char *p = type + n; (p = strchr(p, ';'));) {
        p += 1 + strspn(p + 1, " ");
        size_t name = word_length(p, false);
        const char *value = p + name + strspn(p + name, " ");
        if (!name)
            continue;
        if (*value == '=')
            value += 1 + strspn(value + 1, " ");
        else
            value = "";
        buf_printf(b, ";%.*s=%.*s", (int)name, p, (int)word_length(value, true), value);
        p += name;
    }
}

static json_t *object_row_new(Listing *l, const SwiftObject *o)
{
    _cleanup_free_ char *when = swift_time_text(o->stamp);
    _cleanup_(buf_clear) Buf type = BUF_INIT(BUF_MAX_LINE);

    listed_type(o->type ? o->type : "", &type);
    json_t *row =
        json_make_new("{s:s,s:s,s:I,s:s,s:s}", "name", o->name, "hash", o->etag ? o->etag : "",
                      "bytes", (json_int_t)o->bytes, "content_type", type.p, "last_modified", when);
    if (swift_is_slo(o)) {
        /* The hash of a manifest is that of its segments, in quotes, beside its own. */
        const char *etag = json_str(o->meta, "X-Pocket-Slo-Etag");
        json_object_set_new(row, "slo_etag", json_string(etag ? etag : ""));
    }
    if (!l->versions)
        return row;
    bool first = !streq(l->latest_name, o->name);
    free(l->latest_name);
    l->latest_name = xstrdup(o->name);
    json_object_set_new(row, "version_id", json_string(o->version));
    json_object_set_new(row, "is_latest", json_boolean(o->current || (o->marker && first)));
    return row;
}

static bool full(const Listing *l)
{
    return json_array_size(l->rows) >= l->limit;
}

static bool see_object(void *user, const SwiftObject *o)
{
    Listing *l = user;
    if (full(l))
        return false;
    if (!fold(l, o->name))
        json_array_append_new(l->rows, object_row_new(l, o));
    return !full(l);
}

static bool see_container(void *user, const SwiftContainer *k)
{
    Listing *l = user;
    if (full(l))
        return false;
    if (!fold(l, k->name)) {
        SwiftUse use = swift_container_use(l->c->p, k);
        _cleanup_free_ char *when = swift_time_text(k->stamp);
        json_array_append_new(l->rows, json_make_new("{s:s,s:I,s:I,s:s}", "name", k->name, "count",
                                                     (json_int_t)use.objects, "bytes",
                                                     (json_int_t)use.bytes, "last_modified", when));
    }
    return !full(l);
}

/* What the query asks for; false: 412 is set. */
static bool read_query(SwiftCall *c, Listing *l)
{
    int64_t most = c->p->page_max > 0 ? MIN(c->p->page_max, SWIFT_MAX_LISTING) : SWIFT_MAX_LISTING;
    int64_t limit = most;
    const char *text = swift_query(c, "limit");
    if (text && !parse_int(text, 0, INT64_MAX, &limit))
        limit = most;
    if (limit > SWIFT_MAX_LISTING)
        return swift_fail(c, 412, "Maximum limit is 10000");
    *l = (Listing){.c = c,
                   .rows = json_array(),
                   .prefix = swift_query(c, "prefix"),
                   .delimiter = swift_query(c, "delimiter"),
                   .marker = swift_query(c, "marker"),
                   .end_marker = swift_query(c, "end_marker"),
                   .limit = (size_t)MIN(limit, most),
                   .reverse = swift_truth(swift_query(c, "reverse"))};
    const char *path = swift_query(c, "path");
    if (path && c->container) {
        l->path = xasprintf("%s%s", path, *path && !ends_with(path, "/") ? "/" : "");
        l->prefix = l->path;
        l->delimiter = "/";
    }
    if (l->prefix && !*l->prefix)
        l->prefix = NULL;
    return true;
}

/* `format` in the query, or its type in Accept. */
static bool wants(const SwiftCall *c, const char *word, const char *type)
{
    const char *format = swift_query(c, "format"), *accept = swift_header(c, "Accept");
    if (format)
        return streq(format, word);
    return accept && strstr(accept, type);
}

static void add_escaped(Buf *b, const char *text)
{
    static const char *const names[] = {
        ['&'] = "&amp;", ['<'] = "&lt;", ['>'] = "&gt;", ['"'] = "&quot;"};
    for (; *text; text++) {
        const char *name = (size_t)*text < ARRAY_LEN(names) ? names[(size_t)*text] : NULL;
        if (name)
            buf_str(b, name);
        else
            buf_char(b, *text);
    }
}

static void add_element(Buf *b, const char *name, const json_t *value)
{
    buf_printf(b, "<%s>", name);
    if (json_is_integer(value))
        buf_printf(b, "%lld", (long long)json_integer_value(value));
    else
        add_escaped(b, json_is_string(value) ? json_string_value(value) : "");
    buf_printf(b, "</%s>", name);
}

static void reply_xml(SwiftCall *c, json_t *rows)
{
    const char *root = c->container ? "container" : "account";
    const char *item = c->container ? "object" : "container";
    Buf *b = &c->http->reply.body;
    size_t i;
    json_t *row, *value;
    const char *key;
    buf_printf(b, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<%s name=\"", root);
    add_escaped(b, c->container ? c->container : c->account);
    buf_str(b, "\">");
    json_array_foreach (rows, i, row) {
        const char *subdir = json_str(row, "subdir");
        if (subdir) {
            buf_str(b, "<subdir name=\"");
            add_escaped(b, subdir);
            buf_str(b, "\">");
            add_element(b, "name", json_object_get(row, "subdir"));
            buf_str(b, "</subdir>");
            continue;
        }
        buf_printf(b, "<%s>", item);
        json_object_foreach (row, key, value) {
            add_element(b, key, value);
        }
        buf_printf(b, "</%s>", item);
    }
    buf_printf(b, "</%s>", root);
    c->http->reply.status = 200;
    swift_set_header(c, "Content-Type", "application/xml; charset=utf-8");
}

static void reply(SwiftCall *c, json_t *rows)
{
    if (wants(c, "json", "application/json")) {
        swift_reply_json(c, 200, json_incref(rows));
        return;
    }
    if (wants(c, "xml", "application/xml")) {
        reply_xml(c, rows);
        return;
    }
    Buf *b = &c->http->reply.body;
    size_t i;
    json_t *row;
    json_array_foreach (rows, i, row) {
        const char *name = json_str(row, "name");
        buf_printf(b, "%s\n", name ? name : json_str(row, "subdir"));
    }
    c->http->reply.status = b->len > 0 ? 200 : 204;
    swift_set_header(c, "Content-Type", "text/plain; charset=utf-8");
}

static void reap(SwiftCall *c)
{
    /* Like the expirer, some seconds late: until then a listing shows what GET does not. */
    swift_reap(c->p, swift_now(c) - 5, &c->garbage);
}

void swift_container_list(SwiftCall *c, const SwiftContainer *k)
{
    _cleanup_(listing_clear) Listing l = {0};
    if (!read_query(c, &l))
        return;
    l.versions = swift_query(c, "versions");
    const char *version_marker = swift_query(c, "version_marker");
    if (l.versions && version_marker && !l.marker) {
        (void)swift_fail(c, 400, "version_marker param requires marker");
        return;
    }
    if (l.versions && !swift_query(c, "format"))
        json_object_set_new(c->query, "format", json_string("json")); /* the only one there is */
    reap(c);
    SwiftWalk walk = {.prefix = l.prefix,
                      .marker = l.marker,
                      .end_marker = l.end_marker,
                      .version_marker = l.versions ? version_marker : NULL,
                      .versions = l.versions,
                      .reverse = l.reverse,
                      .see = see_object,
                      .user = &l};
    if (l.limit > 0)
        swift_walk_objects(c->p, k, &walk);
    reply(c, l.rows);
}

void swift_account_list(SwiftCall *c, const json_t *meta)
{
    (void)meta;
    _cleanup_(listing_clear) Listing l = {0};
    if (!read_query(c, &l))
        return;
    reap(c);
    SwiftWalk walk = {.prefix = l.prefix,
                      .marker = l.marker,
                      .end_marker = l.end_marker,
                      .reverse = l.reverse,
                      .see_container = see_container,
                      .user = &l};
    if (l.limit > 0)
        swift_walk_containers(c->p, c->account, &walk);
    reply(c, l.rows);
}
