/* Accounts and containers. */
#include "pocket/swift_call.h"

static bool is(const SwiftCall *c, const char *method)
{
    return streq(c->http->method, method);
}

static bool denied(SwiftCall *c, int status)
{
    if (status)
        (void)swift_fail(c, status, NULL);
    return status != 0;
}

typedef struct AccountUse {
    Pocket *p;
    SwiftUse sum;
    int64_t containers;
} AccountUse;

static bool add_use(void *user, const SwiftContainer *k)
{
    AccountUse *u = user;
    SwiftUse use = swift_container_use(u->p, k);
    u->sum.objects += use.objects;
    u->sum.bytes += use.bytes;
    u->containers++;
    return true;
}

static void account_head(SwiftCall *c, const json_t *meta)
{
    AccountUse use = {.p = c->p};
    SwiftWalk walk = {.see_container = add_use, .user = &use};
    swift_walk_containers(c->p, c->account, &walk);
    swift_reply_header(c, "X-Account-Container-Count", "%lld", (long long)use.containers);
    swift_reply_header(c, "X-Account-Object-Count", "%lld", (long long)use.sum.objects);
    swift_reply_header(c, "X-Account-Bytes-Used", "%lld", (long long)use.sum.bytes);
    swift_reply_header(c, "X-Timestamp", "%lld.00000", (long long)swift_now(c));
    swift_set_header(c, "Accept-Ranges", "bytes");
    swift_meta_reply(c, meta);
}

void swift_account_call(SwiftCall *c)
{
    if (denied(c, swift_authorize(c, c->account, NULL, NULL, NULL)))
        return;
    _cleanup_json_ json_t *meta = swift_account_meta_new(c->p, c->account);
    if (is(c, "GET") || is(c, "HEAD")) {
        account_head(c, meta);
        if (is(c, "GET"))
            swift_account_list(c, meta);
        else
            c->http->reply.status = 204;
    } else if (is(c, "POST")) {
        if (!swift_meta_update(c, meta, "Account", NULL))
            return;
        swift_account_put(c->p, c->account, meta);
        c->http->reply.status = 204;
    } else {
        (void)swift_fail(c, 405, NULL);
    }
}

/* Headers of a container that are no X-Container-Meta-; ACLs are cleaned apart. */
static const char *const container_headers[] = {"X-Versions-Location", "X-History-Location", NULL};

static bool update_acl(SwiftCall *c, json_t *meta, bool write)
{
    const char *name = write ? "X-Container-Write" : "X-Container-Read";
    const char *value = swift_header(c, name);
    if (swift_header(c, write ? "X-Remove-Container-Write" : "X-Remove-Container-Read"))
        value = "";
    if (!value)
        return true;
    _cleanup_free_ char *clean = NULL, *error = NULL;
    if (!acl_clean(write, value, &clean, &error))
        return swift_fail(c, 400, error);
    if (*clean)
        json_object_set_new(meta, name, json_string(clean));
    else
        json_object_del(meta, name);
    return true;
}

/* X-Versions-Enabled stays in the row as False when it is switched off: the container goes on
 * knowing versions (openstack.md d). */
static bool update_versions(SwiftCall *c, json_t *meta)
{
    const char *value = swift_header(c, "X-Versions-Enabled");
    if (!value)
        return true;
    if (json_object_get(meta, "X-Versions-Location") || json_object_get(meta, "X-History-Location"))
        return swift_fail(c, 400,
                          "Cannot enable object versioning on a container that is already using "
                          "the legacy versioned writes feature.");
    bool on = swift_truth(value);
    if (on || json_object_get(meta, "X-Versions-Enabled"))
        json_object_set_new(meta, "X-Versions-Enabled", json_string(on ? "True" : "False"));
    return true;
}

static bool check_quota(SwiftCall *c)
{
    static const struct {
        const char *header, *error;
    } rows[] = {{"X-Container-Meta-Quota-Bytes", "Invalid bytes quota."},
                {"X-Container-Meta-Quota-Count", "Invalid count quota."}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const char *value = swift_header(c, rows[i].header);
        int64_t n;
        if (value && *value && !parse_int(value, 0, INT64_MAX, &n))
            return swift_fail(c, 400, rows[i].error);
    }
    return true;
}

/* Both kinds of legacy versioning, one location at most. */
static bool check_legacy(SwiftCall *c, json_t *meta)
{
    const char *stack = swift_header(c, "X-Versions-Location");
    const char *history = swift_header(c, "X-History-Location");
    if (stack && *stack && history && *history)
        return swift_fail(c, 400,
                          "Only one of X-History-Location or X-Versions-Location may be "
                          "specified");
    if (stack && *stack)
        json_object_del(meta, "X-History-Location");
    if (history && *history)
        json_object_del(meta, "X-Versions-Location");
    return true;
}

static bool update(SwiftCall *c, json_t *meta)
{
    return check_quota(c) && update_acl(c, meta, false) && update_acl(c, meta, true) &&
           update_versions(c, meta) && check_legacy(c, meta) &&
           swift_meta_update(c, meta, "Container", container_headers);
}

static void container_put(SwiftCall *c, SwiftContainer *k)
{
    if (strlen(c->container) > SWIFT_MAX_CONTAINER_NAME) {
        _cleanup_free_ char *text = xasprintf("Container name length of %zu longer than %d",
                                              strlen(c->container), SWIFT_MAX_CONTAINER_NAME);
        (void)swift_fail(c, 400, text);
        return;
    }
    bool fresh = k->id == 0;
    if (fresh)
        *k = (SwiftContainer){.account = xstrdup(c->account),
                              .name = xstrdup(c->container),
                              .stamp = swift_stamp(c->p),
                              .meta = json_object()};
    if (!update(c, k->meta))
        return;
    swift_container_put(c->p, k);
    if (fresh)
        c->http->reply.status = 201;
    else
        (void)swift_fail(c, 202, NULL);
}

static void container_post(SwiftCall *c, SwiftContainer *k)
{
    if (k->id == 0)
        (void)swift_fail(c, 404, NULL);
    else if (update(c, k->meta)) {
        swift_container_put(c->p, k);
        c->http->reply.status = 204;
    }
}

static void container_head(SwiftCall *c, const SwiftContainer *k)
{
    SwiftUse use = swift_container_use(c->p, k);
    char stamp[32], date[TIME_TEXT_MAX];
    swift_stamp_text(k->stamp, stamp);
    swift_reply_header(c, "X-Container-Object-Count", "%lld", (long long)use.objects);
    swift_reply_header(c, "X-Container-Bytes-Used", "%lld", (long long)use.bytes);
    swift_set_header(c, "X-Timestamp", stamp);
    swift_set_header(c, "X-Put-Timestamp", stamp);
    swift_set_header(c, "Last-Modified",
                     time_format_http((k->stamp + 99999) / 100000 * SECOND, date));
    swift_set_header(c, "X-Storage-Policy", "Policy-0");
    swift_set_header(c, "Accept-Ranges", "bytes");
    swift_set_header(c, "Vary", "Accept");
    swift_meta_reply(c, k->meta);
}

int swift_container_remove(SwiftCall *c, const char *account, const char *container,
                           const char **ret_text)
{
    *ret_text = NULL;
    _cleanup_(swift_container_clear) SwiftContainer k = {0};
    bool there = swift_container_get(c->p, account, container, &k);
    SwiftUse use = there ? swift_container_use(c->p, &k) : (SwiftUse){0};
    /* Versions are looked for before anybody asks who calls (openstack.md d). */
    if (there && swift_version_aware(&k) && use.versions > 0) {
        *ret_text = "Delete all versions before deleting container.";
        return 409;
    }
    int denial = swift_authorize(c, account, container, NULL, NULL);
    if (denial)
        return denial;
    if (!there)
        return 404;
    if (use.objects > 0 || use.versions > 0)
        return 409;
    swift_container_delete(c->p, &k);
    return 204;
}

static void container_delete(SwiftCall *c)
{
    const char *text;
    int status = swift_container_remove(c, c->account, c->container, &text);
    if (status == 204)
        c->http->reply.status = 204;
    else
        (void)swift_fail(c, status, text);
}

static void container_read(SwiftCall *c)
{
    _cleanup_(swift_container_clear) SwiftContainer k = {0};
    bool there = swift_container_get(c->p, c->account, c->container, &k);
    const char *acl = there ? swift_container_acl(&k, false) : NULL;
    if (denied(c, swift_authorize(c, c->account, c->container, NULL, acl)))
        return;
    if (!there) {
        (void)swift_fail(c, 404, NULL);
        return;
    }
    container_head(c, &k);
    if (is(c, "GET"))
        swift_container_list(c, &k);
    else
        c->http->reply.status = 204;
}

void swift_container_call(SwiftCall *c)
{
    if (is(c, "GET") || is(c, "HEAD")) {
        container_read(c);
        return;
    }
    if (is(c, "DELETE")) {
        container_delete(c);
        return;
    }
    if (!is(c, "PUT") && !is(c, "POST")) {
        (void)swift_fail(c, 405, NULL);
        return;
    }
    if (denied(c, swift_authorize(c, c->account, c->container, NULL, NULL)))
        return;
    _cleanup_(swift_container_clear) SwiftContainer k = {0};
    (void)swift_container_get(c->p, c->account, c->container, &k);
    if (is(c, "PUT"))
        container_put(c, &k);
    else
        container_post(c, &k);
}
