/* Objects: reading, metadata, deletion. */
#include "pocket/swift_call.h"
#include <unistd.h>

static bool is(const SwiftCall *c, const char *method)
{
    return streq(c->http->method, method);
}

bool swift_expired(const SwiftCall *c, const SwiftObject *o)
{
    return o->delete_at > 0 && o->delete_at <= swift_now(c);
}

/* ?version-id, or NULL; an empty one counts as none. */
static const char *version_query(const SwiftCall *c)
{
    const char *v = swift_query(c, "version-id");
    return v && *v ? v : NULL;
}

static bool check_version_query(SwiftCall *c, const SwiftContainer *k, const char *version)
{
    if (streq(version, "null"))
        return true;
    if (!swift_version_aware(k))
        return swift_fail(c, 400,
                          "version-aware operations require that the container is versioned");
    if (version[strspn(version, "0123456789.")])
        return swift_fail(c, 400, "Invalid version parameter");
    return true;
}

bool swift_object_open(SwiftCall *c, const char *account, const char *container, const char *object,
                       SwiftContainer *k, SwiftObject *o)
{
    bool there = swift_container_get(c->p, account, container, k);
    const char *version = version_query(c);
    if (there && swift_version_aware(k) && !version)
        swift_version_header(c, "null");
    if (version && there && !check_version_query(c, k, version))
        return false;
    /* Old versions are the owner's: no ACL opens them (openstack.md d). */
    bool hidden = version && !streq(version, "null");
    const char *acl = there && !hidden ? swift_container_acl(k, false) : NULL;
    int denial = swift_authorize(c, account, container, object, acl);
    if (denial)
        return swift_fail(c, denial, NULL);
    bool found = there && swift_object_get(c->p, k, object, version, o);
    if (found && o->marker) {
        swift_version_header(c, o->version);
        return swift_fail(c, 404, NULL);
    }
    if (!found || (!hidden && swift_expired(c, o)))
        return swift_fail(c, 404, NULL);
    return true;
}

static void object_headers(SwiftCall *c, const SwiftContainer *k, const SwiftObject *o)
{
    char stamp[32], date[TIME_TEXT_MAX];
    swift_stamp_text(o->stamp, stamp);
    swift_meta_reply(c, o->meta);
    swift_set_header(c, "Content-Type", o->type ? o->type : "application/octet-stream");
    swift_set_header(c, "Etag", o->etag ? o->etag : "");
    swift_set_header(c, "X-Timestamp", stamp);
    swift_set_header(c, "Last-Modified",
                     time_format_http((o->stamp + 99999) / 100000 * SECOND, date));
    swift_set_header(c, "Accept-Ranges", "bytes");
    if (o->delete_at > 0 && !version_query(c))
        swift_reply_header(c, "X-Delete-At", "%lld", (long long)o->delete_at);
    if (swift_version_aware(k))
        swift_version_header(c, o->version);
}

/* True if the list of a conditional header has the etag (quotes and W/ do not count) or is "*". */
static bool etag_listed(const char *list, const char *etag)
{
    Str want = str_of(etag);
    if (want.n >= 2 && want.p[0] == '"')
        want = (Str){want.p + 1, want.n - 2};
    Str rest = str_of(list), item;
    while (str_next(&rest, ',', &item)) {
        item = str_trim(item);
        if (item.n > 2 && memcmp(item.p, "W/", 2) == 0)
            item = (Str){item.p + 2, item.n - 2};
        if (item.n >= 2 && item.p[0] == '"')
            item = (Str){item.p + 1, item.n - 2};
        if (str_eq(item, STR_LIT("*")) || str_eq(item, want))
            return true;
    }
    return false;
}

static bool not_modified(SwiftCall *c)
{
    HttpdReply *r = &c->http->reply;
    r->status = 304;
    buf_truncate(&r->body, 0);
    return false;
}

/* RFC 7232; in swob's order. False: 304 or 412 is set. */
static bool conditions(SwiftCall *c, const SwiftObject *o)
{
    const char *etag = swift_reply_get(c, "Etag");
    const char *match = swift_header(c, "If-Match"), *none = swift_header(c, "If-None-Match");
    const char *since = swift_header(c, "If-Modified-Since");
    const char *until = swift_header(c, "If-Unmodified-Since");
    Msec modified = (o->stamp + 99999) / 100000 * SECOND, t;
    if (none && etag_listed(none, etag))
        return not_modified(c);
    if (match && !etag_listed(match, etag))
        return swift_fail(c, 412, NULL);
    if (!none && since && time_parse_http(since, &t) && modified <= t)
        return not_modified(c);
    if (until && time_parse_http(until, &t) && modified > t)
        return swift_fail(c, 412, NULL);
    return true;
}

/* One range of "bytes=a-b". False: 416 is set; *ret_end < 0: no (usable) range was asked for. */
static bool range(SwiftCall *c, int64_t size, int64_t *ret_start, int64_t *ret_end)
{
    const char *text = swift_header(c, "Range"), *guard = swift_header(c, "If-Range");
    *ret_end = -1;
    if (!text || !starts_with(text, "bytes=") || strchr(text, ','))
        return true; /* several ranges: the whole, which RFC 7233 allows */
    if (guard && !etag_listed(guard, swift_reply_get(c, "Etag")) &&
        !streq(guard, swift_reply_get(c, "Last-Modified")))
        return true;
    Str to_raw = str_of(text + strlen("bytes=")), from_raw;
    (void)str_next(&to_raw, '-', &from_raw);
    _cleanup_free_ char *from = xstrndup(from_raw.p, from_raw.n);
    _cleanup_free_ char *to = xstrndup(to_raw.p ? to_raw.p : "", to_raw.n);
    int64_t first = 0, last = INT64_MAX;
    bool suffix = !*from;
    if (!to_raw.p || (suffix && !*to) || (!suffix && !parse_int(from, 0, INT64_MAX, &first)) ||
        (*to && !parse_int(to, 0, INT64_MAX, &last)) || (!suffix && last < first))
        return true;
    int64_t start = suffix ? MAX(0, size - last) : first;
    int64_t end = suffix ? size : MIN(size - 1, last) + 1;
    if (start >= size || (suffix && last == 0)) {
        swift_reply_header(c, "Content-Range", "bytes */%lld", (long long)size);
        return swift_fail(c, 416, NULL);
    }
    *ret_start = start;
    *ret_end = end;
    return true;
}

/* Adds the part [start, end) of the pieces; false: a file is not there. */
static bool add_pieces(SwiftCall *c, const Large *l, int64_t start, int64_t end)
{
    int64_t at = 0;
    for (size_t i = 0; i < l->pieces.len; i++) {
        const LargePiece *piece = &l->pieces.items[i];
        int64_t low = MAX(start, at), high = MIN(end, at + piece->size);
        if (low < high) {
            int fd = swift_open_file(c->p, piece->file);
            if (fd < 0)
                return swift_fail(c, 503, NULL);
            httpd_reply_file(c->http, fd, piece->offset + low - at, high - low);
        }
        at += piece->size;
    }
    return true;
}

/* A plain object as the one piece of a "large" one. */
static void single(const SwiftObject *o, Large *l)
{
    l->etag = BUF_INIT(BUF_MAX_LINE);
    l->size = o->bytes;
    if (o->file)
        vec_push(&l->pieces, (LargePiece){.file = xstrdup(o->file), .size = o->bytes});
}

/* The manifest of a static large object as it is stored. */
static bool manifest(SwiftCall *c, const SwiftObject *o, Large *l)
{
    int fd = o->file ? swift_open_file(c->p, o->file) : -1;
    off_t size = fd < 0 ? -1 : lseek(fd, 0, SEEK_END);
    if (fd >= 0)
        close(fd);
    if (size < 0)
        return swift_fail(c, 503, NULL);
    l->etag = BUF_INIT(BUF_MAX_LINE);
    l->size = size;
    vec_push(&l->pieces, (LargePiece){.file = xstrdup(o->file), .size = size});
    swift_set_header(c, "Content-Type", "application/json; charset=utf-8");
    return true;
}

static bool content(SwiftCall *c, const SwiftObject *o, Large *l)
{
    bool as_is = streq(swift_query(c, "multipart-manifest"), "get");
    if (swift_is_slo(o) && as_is)
        return manifest(c, o, l);
    if (as_is || (!swift_is_slo(o) && !json_object_get(o->meta, "X-Object-Manifest"))) {
        single(o, l);
        return true;
    }
    if (!swift_large_open(c, o, l))
        return false;
    swift_set_header(c, "Etag", l->etag.p);
    return true;
}

static void object_read(SwiftCall *c)
{
    _cleanup_(swift_container_clear) SwiftContainer k = {0};
    _cleanup_(swift_object_clear) SwiftObject o = {0};
    _cleanup_(large_clear) Large l = {0};
    if (!swift_object_open(c, c->account, c->container, c->object, &k, &o))
        return;
    object_headers(c, &k, &o);
    int64_t start = 0, end = -1;
    if (!content(c, &o, &l) || !conditions(c, &o) || !range(c, l.size, &start, &end))
        return;
    bool part = end >= 0;
    if (part)
        swift_reply_header(c, "Content-Range", "bytes %lld-%lld/%lld", (long long)start,
                           (long long)end - 1, (long long)l.size);
    if (add_pieces(c, &l, start, part ? end : l.size))
        c->http->reply.status = part ? 206 : 200;
}

static void object_post(SwiftCall *c)
{
    _cleanup_(swift_container_clear) SwiftContainer k = {0};
    _cleanup_(swift_object_clear) SwiftObject o = {0};
    if (version_query(c)) {
        (void)swift_fail(c, 400, "POST to a specific version is not allowed");
        return;
    }
    bool there = swift_container_get(c->p, c->account, c->container, &k);
    const char *acl = there ? swift_container_acl(&k, true) : NULL;
    int denial = swift_authorize(c, c->account, c->container, c->object, acl);
    if (denial) {
        (void)swift_fail(c, denial, NULL);
        return;
    }
    if (!there || !swift_object_get(c->p, &k, c->object, NULL, &o) || swift_expired(c, &o)) {
        (void)swift_fail(c, 404, NULL);
        return;
    }
    /* POST replaces what was set before, expiry included; what makes it a large object stays. */
    json_t *old = o.meta;
    o.meta = json_object();
    const char *const kept[] = {"X-Static-Large-Object", "X-Pocket-Slo-Etag", NULL};
    for (size_t i = 0; kept[i]; i++)
        if (json_object_get(old, kept[i]))
            json_object_set(o.meta, kept[i], json_object_get(old, kept[i]));
    json_decref(old);
    if (!swift_delete_at(c, &o.delete_at) || !swift_object_headers(c, &o))
        return;
    swift_object_put(c->p, &o);
    if (swift_version_aware(&k))
        swift_version_header(c, o.version);
    (void)swift_fail(c, 202, NULL);
}

/* Owner only: removes one version; the plain name shows nothing if it showed that one. */
static int remove_version(SwiftCall *c, const SwiftContainer *k, const char *object,
                          const char *version)
{
    _cleanup_(swift_object_clear) SwiftObject o = {0};
    if (!swift_object_get(c->p, k, object, version, &o))
        return 404;
    swift_object_delete(c->p, &o);
    if (o.file)
        strlist_add(&c->garbage, o.file);
    return 204;
}

void swift_keep_version(SwiftCall *c, const SwiftContainer *k, SwiftObject *o)
{
    char stamp[32];
    if (!streq(o->version, "null")) {
        swift_object_hide(c->p, k, o->name);
        return;
    }
    swift_object_delete(c->p, o);
    swift_stamp_text(o->stamp, stamp);
    free(o->version);
    o->version = xstrdup(stamp);
    o->current = false;
    o->delete_at = 0;
    swift_object_put(c->p, o);
}

static int remove_to_marker(SwiftCall *c, const SwiftContainer *k, const char *object)
{
    _cleanup_(swift_object_clear) SwiftObject o = {0};
    bool found = swift_object_get(c->p, k, object, NULL, &o);
    bool seen = found && !swift_expired(c, &o);
    if (found)
        swift_keep_version(c, k, &o);
    int64_t stamp = swift_stamp(c->p);
    char version[32];
    swift_stamp_text(stamp, version);
    _cleanup_(swift_object_clear)
        SwiftObject marker = {.container = k->id,
                              .name = xstrdup(object),
                              .version = xstrdup(version),
                              .marker = true,
                              .etag = xstrdup("d41d8cd98f00b204e9800998ecf8427e"),
                              .type = xstrdup("application/x-deleted;swift_versions_deleted=1"),
                              .stamp = stamp,
                              .meta = json_object()};
    swift_object_put(c->p, &marker);
    swift_version_header(c, version);
    return seen ? 204 : 404;
}

static int remove_plain(SwiftCall *c, const SwiftContainer *k, const char *object)
{
    _cleanup_(swift_object_clear) SwiftObject o = {0};
    if (!swift_object_get(c->p, k, object, NULL, &o) || swift_expired(c, &o))
        return 404;
    if (!streq(o.version, "null")) {
        swift_object_hide(c->p, k, object);
        return 204;
    }
    swift_object_delete(c->p, &o);
    if (o.file)
        strlist_add(&c->garbage, o.file);
    return 204;
}

int swift_object_remove(SwiftCall *c, const char *account, const char *container,
                        const char *object)
{
    _cleanup_(swift_container_clear) SwiftContainer k = {0};
    bool there = swift_container_get(c->p, account, container, &k);
    const char *version = version_query(c);
    bool old = version && !streq(version, "null");
    const char *acl = there && !old ? swift_container_acl(&k, true) : NULL;
    if (old)
        swift_version_header(c, version);
    int denial = swift_authorize(c, account, container, object, acl);
    if (denial)
        return denial;
    if (!there)
        return 404;
    if (version)
        return remove_version(c, &k, object, version);
    int status;
    if (swift_versioned(&k))
        return remove_to_marker(c, &k, object);
    return swift_legacy_delete(c, &k, object, &status) ? status : remove_plain(c, &k, object);
}

static void object_delete(SwiftCall *c)
{
    if (streq(swift_query(c, "multipart-manifest"), "delete")) {
        swift_slo_delete(c);
        return;
    }
    int status = swift_object_remove(c, c->account, c->container, c->object);
    if (status == 204) {
        c->http->reply.status = 204;
        return;
    }
    (void)swift_fail(c, status, NULL);
    /* What a DELETE of nothing leaves in a versioned container is a delete marker all the same. */
    c->rejected = status != 404;
}

/* PUT ?version-id with no body: that version becomes the current one. */
static void put_version(SwiftCall *c)
{
    _cleanup_(swift_container_clear) SwiftContainer k = {0};
    _cleanup_(swift_object_clear) SwiftObject o = {0}, now = {0};
    const char *version = version_query(c);
    bool there = swift_container_get(c->p, c->account, c->container, &k);
    const char *acl = there ? swift_container_acl(&k, true) : NULL;
    int denial = swift_authorize(c, c->account, c->container, c->object, acl);
    int64_t delete_at;
    if (denial || !there) {
        (void)swift_fail(c, denial ? denial : 404, NULL);
        return;
    }
    if (!check_version_query(c, &k, version) || !swift_delete_at(c, &delete_at))
        return;
    if (c->body.len > 0) {
        (void)swift_fail(c, 400, "PUT version-id requests require a zero byte body");
        return;
    }
    if (!swift_object_get(c->p, &k, c->object, version, &o) || o.marker) {
        (void)swift_fail(c, 404, "The specified version does not exist");
        return;
    }
    if (swift_object_get(c->p, &k, c->object, NULL, &now) && !streq(now.version, o.version))
        swift_keep_version(c, &k, &now);
    o.current = true;
    o.delete_at = delete_at;
    swift_object_put(c->p, &o);
    swift_version_header(c, o.version);
    swift_set_header(c, "Etag", o.etag);
    c->http->reply.status = 201;
}

static void copy_to(SwiftCall *c)
{
    const char *to = swift_header(c, "Destination");
    const char *account = swift_header(c, "Destination-Account");
    _cleanup_(buf_clear) Buf path = BUF_INIT(BUF_MAX_LINE);
    if (!to || !buf_url_unquote(&path, str_of(to + strspn(to, "/"))) || !strchr(path.p, '/')) {
        (void)swift_fail(c, 412,
                         "Destination header must be of the form "
                         "<container name>/<object name>");
        return;
    }
    _cleanup_free_ char *from_account = c->account;
    _cleanup_free_ char *from = xasprintf("%s/%s", c->container, c->object);
    char *slash = strchr(path.p, '/');
    free(c->container);
    free(c->object);
    c->account = xstrdup(account && *account ? account : from_account);
    c->container = xstrndup(path.p, (size_t)(slash - path.p));
    c->object = xstrdup(slash + 1);
    swift_copy(c, from_account, from);
}

static void copy_from(SwiftCall *c)
{
    const char *from = swift_header(c, "X-Copy-From");
    const char *account = swift_header(c, "X-Copy-From-Account");
    _cleanup_(buf_clear) Buf path = BUF_INIT(BUF_MAX_LINE);
    if (c->body.len > 0)
        (void)swift_fail(c, 400, "Copy requests require a zero byte body");
    else if (!buf_url_unquote(&path, str_of(from + strspn(from, "/"))) || !strchr(path.p, '/'))
        (void)swift_fail(c, 412,
                         "X-Copy-From header must be of the form "
                         "<container name>/<object name>");
    else
        swift_copy(c, account && *account ? account : c->account, path.p);
}

static void small_put(SwiftCall *c)
{
    if (version_query(c))
        put_version(c);
    else if (swift_header(c, "X-Copy-From"))
        copy_from(c);
    else
        swift_slo_put(c);
}

void swift_object_call(SwiftCall *c)
{
    static const struct {
        const char *method;
        void (*run)(SwiftCall *c);
    } rows[] = {{"GET", object_read},      {"HEAD", object_read}, {"POST", object_post},
                {"DELETE", object_delete}, {"COPY", copy_to},     {"PUT", small_put}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (is(c, rows[i].method)) {
            rows[i].run(c);
            return;
        }
    (void)swift_fail(c, 405, NULL);
}
