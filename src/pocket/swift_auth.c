/* Who may: keystoneauth and the container ACLs, in the order of the real middleware (Swift,
 * keystoneauth.authorize; openstack.md a, b, c). */
#include "pocket/swift_call.h"

/* The host of a Referer as urlparse finds it, or "unknown". */
static void referer_host(const char *referer, Buf *out)
{
    const char *p = referer ? strstr(referer, "://") : NULL;
    if (p) {
        p += 3;
        size_t n = strcspn(p, "/?#");
        const char *at = memchr(p, '@', n);
        if (at) {
            n -= (size_t)(at + 1 - p);
            p = at + 1;
        }
        buf_add(out, p, strcspn(p, ":/?#") < n ? strcspn(p, ":/?#") : n);
    }
    for (size_t i = 0; i < out->len; i++)
        if (out->p[i] >= 'A' && out->p[i] <= 'Z')
            out->p[i] = (char)(out->p[i] + 32);
    if (out->len == 0)
        buf_str(out, "unknown");
}

static bool host_matches(const char *rule, const char *host)
{
    return streq(rule, host) || (rule[0] == '.' && ends_with(host, rule));
}

bool acl_referrer_allowed(const char *referer, const char *acl)
{
    bool allow = false;
    _cleanup_(buf_clear) Buf host = BUF_INIT(BUF_MAX_LINE);
    referer_host(referer, &host);
    Str rest = str_of(acl), item;
    while (str_next(&rest, ',', &item)) {
        _cleanup_free_ char *rule = xstrndup(item.p, item.n);
        if (!starts_with(rule, ".r:"))
            continue;
        const char *want = rule + 3;
        if (want[0] == '-')
            allow = allow && !host_matches(want + 1, host.p);
        else
            allow = allow || streq(want, "*") || host_matches(want, host.p);
    }
    return allow;
}

/* True if an item of the ACL that is no referrer rule equals the text (`fold`: in any case). */
static bool has_item(const char *acl, const char *text, bool fold)
{
    Str rest = str_of(acl), item;
    while (str_next(&rest, ',', &item)) {
        if (item.n >= 3 && memcmp(item.p, ".r:", 3) == 0)
            continue;
        _cleanup_(buf_clear) Buf plain = BUF_INIT(BUF_MAX_LINE);
        if (!buf_url_unquote(&plain, item)) {
            buf_truncate(&plain, 0);
            buf_add(&plain, item.p, item.n);
        }
        if (fold ? strcasecmp(plain.p, text) == 0 : streq(plain.p, text))
            return true;
    }
    return false;
}

/* project:user with each side an id, a name (if names are allowed) or *; the project is the
 * token's, not the container's. */
static bool matches_user(const AclCaller *caller, const char *acl)
{
    const char *projects[] = {caller->project_id, "*",
                              caller->names_allowed ? caller->project_name : NULL};
    const char *users[] = {caller->user_id, "*", caller->names_allowed ? caller->user_name : NULL};
    for (size_t i = 0; i < ARRAY_LEN(projects); i++)
        for (size_t j = 0; j < ARRAY_LEN(users); j++) {
            if (!projects[i] || !users[j])
                continue;
            _cleanup_free_ char *pair = xasprintf("%s:%s", projects[i], users[j]);
            if (has_item(acl, pair, false))
                return true;
        }
    return false;
}

static bool has_role(const AclCaller *caller, const char *role)
{
    for (size_t i = 0; i < caller->roles->len; i++)
        if (strcasecmp(caller->roles->items[i], role) == 0)
            return true;
    return false;
}

AclAnswer acl_decide(const AclCaller *caller, const char *account, bool is_object, const char *acl,
                     const char *referer)
{
    bool by_referrer = acl_referrer_allowed(referer, acl);
    bool referrer_ok = by_referrer && (is_object || has_item(acl, ".rlistings", false));
    if (!caller)
        return referrer_ok ? ACL_ALLOWED : ACL_DENIED;
    if (has_role(caller, "ResellerAdmin"))
        return ACL_OWNER;
    if (matches_user(caller, acl) || referrer_ok)
        return ACL_ALLOWED;
    if (!caller->project_id || !starts_with(account, "AUTH_") ||
        !streq(account + strlen("AUTH_"), caller->project_id))
        return ACL_DENIED;
    if (has_role(caller, "admin") || has_role(caller, "member"))
        return ACL_OWNER;
    /* A referrer rule that matched a listing it does not cover decides against the roles. */
    if (by_referrer)
        return ACL_DENIED;
    for (size_t i = 0; i < caller->roles->len; i++)
        if (has_item(acl, caller->roles->items[i], true))
            return ACL_ALLOWED;
    return ACL_DENIED;
}

static bool in_default_domain(const char *domain)
{
    return !domain || streq(domain, "default");
}

/* Names count only if user, token's project and the account's project are in the default domain. */
static bool names_allowed(SwiftCall *c, const char *account)
{
    if (!in_default_domain(c->caller->user_domain_id) ||
        !in_default_domain(c->caller->project_domain_id))
        return false;
    if (!starts_with(account, "AUTH_"))
        return false;
    _cleanup_json_ json_t *project =
        store_get_new(c->p->store, "project", account + strlen("AUTH_"));
    return project && in_default_domain(json_str(project, "domain_id"));
}

static int authorize_temp_url(const SwiftCall *c, const char *account, const char *container)
{
    bool ok =
        streq(account, c->account) && (c->temp_url.account_scope || streq(container, c->container));
    return ok ? 0 : 401;
}

int swift_authorize(SwiftCall *c, const char *account, const char *container, const char *object,
                    const char *acl)
{
    c->owner = false;
    if (c->temp_url.used)
        return authorize_temp_url(c, account, container);
    const Caller *k = c->caller;
    AclCaller caller = {0};
    if (k)
        caller = (AclCaller){.user_id = k->user.user_id,
                             .user_name = k->user.user_name,
                             .project_id = k->user.project_id,
                             .project_name = k->user.project_name,
                             .roles = &k->user.roles,
                             .names_allowed = names_allowed(c, account)};
    /* Nobody deletes an account: only a reseller may. */
    if (k && !container && streq(c->http->method, "DELETE") && !swift_query(c, "bulk-delete"))
        return 403;
    AclAnswer a =
        acl_decide(k ? &caller : NULL, account, object != NULL, acl, swift_header(c, "Referer"));
    c->owner = a == ACL_OWNER;
    if (a != ACL_DENIED)
        return 0;
    return k ? 403 : 401;
}

const char *swift_container_acl(const SwiftContainer *k, bool write)
{
    return json_str(k->meta, write ? "X-Container-Write" : "X-Container-Read");
}

static char *trimmed(Str s)
{
    s = str_trim(s);
    return xstrndup(s.p, s.n);
}

/* One item with a colon; false with the reason. */
static bool clean_pair(bool write, Str raw, Buf *out, char **ret_error)
{
    Str second_raw = raw, first_raw;
    (void)str_next(&second_raw, ':', &first_raw);
    _cleanup_free_ char *whole = trimmed(raw);
    _cleanup_free_ char *first = trimmed(first_raw);
    _cleanup_free_ char *second = trimmed(second_raw);
    if (first[0] != '.') {
        buf_str(out, whole);
        return true;
    }
    if (!streq(first, ".r") && !streq(first, ".ref") && !streq(first, ".referer") &&
        !streq(first, ".referrer")) {
        *ret_error = xasprintf("Unknown designator '%s' in ACL: '%s'", first, whole);
        return false;
    }
    if (write) {
        *ret_error = xasprintf("Referrers not allowed in write ACL: '%s'", whole);
        return false;
    }
    const char *host = second;
    bool negate = *host == '-';
    host += negate;
    host += strspn(host, " ");
    if (*host == '*' && host[1]) {
        host++;
        host += strspn(host, " ");
    }
    if (!*host || streq(host, ".")) {
        *ret_error =
            xasprintf("No host/domain value after referrer designation in ACL: '%s'", whole);
        return false;
    }
    buf_printf(out, ".r:%s%s", negate ? "-" : "", host);
    return true;
}

bool acl_clean(bool write, const char *value, char **ret, char **ret_error)
{
    _cleanup_(buf_clear) Buf out = BUF_INIT(BUF_MAX_LINE);
    Str rest = str_of(value), item;
    while (str_next(&rest, ',', &item)) {
        item = str_trim(item);
        if (item.n == 0)
            continue;
        if (out.len > 0)
            buf_char(&out, ',');
        if (!memchr(item.p, ':', item.n))
            buf_add(&out, item.p, item.n);
        else if (!clean_pair(write, item, &out, ret_error))
            return false;
    }
    *ret = buf_detach(&out);
    return true;
}
