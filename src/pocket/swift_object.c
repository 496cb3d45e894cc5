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

bool swift_etag_listed(const char *list, const char *etag)
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
    if (none && swift_etag_listed(none, etag))
        return not_modified(c);
    if (match && !swift_etag_listed(match, etag))
        return swift_fail(c, 412, NULL);
    if (!none && since && time_parse_http(since, &t) && modified <= t)
        return not_modified(c);
    if (until && time_parse_http(until, &t) && modified > t)
        return swift_fail(c, 412, NULL);
    return true;
}

/* What is read, into `l`. False: the reply is filled. */
static bool content(SwiftCall *c, const SwiftObject *o, Large *l)
{
    bool as_is = streq(swift_query(c, "multipart-manifest"), "get");
    if (swift_is_slo(o) && as_is)
        return swift_slo_manifest(c, o);
    if (as_is || (!swift_is_slo(o) && !json_object_get(o->meta, "X-Object-Manifest"))) {
        large_single(o, l);
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
    if (content(c, &o, &l) && conditions(c, &o))
        swift_reply_content(c, &l);
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

/* Removes one version; the plain name shows nothing if it showed that one. */
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

/* Whoever may write may take away the current version, data and all: Swift 2.30 asks for the
 * right to its link only. Older ones are the owner's (openstack.md d). */
static const char *version_acl(const SwiftContainer *k, const char *version, const SwiftObject *now)
{
    bool old = version && !streq(version, "null") && !streq(version, now->version);
    return old ? NULL : swift_container_acl(k, true);
}

int swift_object_remove(SwiftCall *c, const char *account, const char *container,
                        const char *object)
{
    _cleanup_(swift_container_clear) SwiftContainer k = {0};
    _cleanup_(swift_object_clear) SwiftObject now = {0};
    bool there = swift_container_get(c->p, account, container, &k);
    const char *version = version_query(c);
    if (there)
        (void)swift_object_get(c->p, &k, object, NULL, &now);
    int denial = swift_authorize(c, account, container, object,
                                 there ? version_acl(&k, version, &now) : NULL);
    if (version && !streq(version, "null") && there) {
        bool current = now.version && !now.marker && !streq(version, now.version);
        swift_version_header(c, version);
        swift_set_header(c, "X-Object-Current-Version-Id", current ? now.version : "null");
    }
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
