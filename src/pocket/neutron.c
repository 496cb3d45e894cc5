/* Neutron: its routes, version and extension documents, quotas, and the seed of a new cloud. */
#include "pocket/neutron.h"
#include "io/crypt.h"

#define EXTERNAL_NAME "public"

const NeutronKind *const neutron_kinds[] = {&kind_network,  &kind_subnet, &kind_port,
                                            &kind_router,   &kind_group,  &kind_rule,
                                            &kind_floating, NULL};

/* ---- quotas */

#define USED(kind, name)                                                                           \
    static int64_t used_##kind(Pocket *p, const char *project)                                     \
    {                                                                                              \
        return store_count(p->store, name, project);                                               \
    }
USED(network, "network")
USED(subnet, "subnet")
USED(port, "port")
USED(router, "router")
USED(group, "security_group")
USED(rule, "security_group_rule")
USED(floating, "floatingip")

static const Quota quotas[] = {
    {"network", 100, used_network},     {"subnet", 100, used_subnet},
    {"port", 500, used_port},           {"router", 10, used_router},
    {"security_group", 50, used_group}, {"security_group_rule", 500, used_rule},
    {"floatingip", 10, used_floating},  {"subnetpool", -1, NULL},
    {"rbac_policy", 10, NULL},          {0},
};
const QuotaSet neutron_quotas = {"neutron_quota", quotas};

/* A project's own quotas, or any for admin. */
static bool quota_allowed(const PocketCall *c, PocketReply *r)
{
    if (streq(c->args.items[0], c->user->project_id) || row_admin(c))
        return true;
    neutron_fail(r, 403, "PolicyNotAuthorized", "rule:get_quota is disallowed by policy");
    return false;
}

static void quota_answer(Pocket *p, const PocketCall *c, PocketReply *r, QuotaView view)
{
    if (!quota_allowed(c, r))
        return;
    r->status = 200;
    r->json = json_make_new("{s:o}", "quota",
                            quota_view_new(p, &neutron_quotas, c->args.items[0], view, "used"));
}

static void quota_show(Pocket *p, const PocketCall *c, PocketReply *r)
{
    quota_answer(p, c, r, QUOTA_LIMITS);
}

static void quota_details(Pocket *p, const PocketCall *c, PocketReply *r)
{
    quota_answer(p, c, r, QUOTA_DETAILS);
}

static void quota_defaults(Pocket *p, const PocketCall *c, PocketReply *r)
{
    quota_answer(p, c, r, QUOTA_DEFAULTS);
}

static void quota_put(Pocket *p, const PocketCall *c, PocketReply *r)
{
    json_t *in = json_object_get(c->body, "quota");
    if (json_is_object(in) && quota_change(p, &neutron_quotas, c->args.items[0], in))
        quota_show(p, c, r);
    else if (quota_unknown(&neutron_quotas, in))
        neutron_fail(r, 400, "HTTPBadRequest", "Unrecognized attribute(s) '%s'",
                     quota_unknown(&neutron_quotas, in));
    else
        neutron_fail(r, 400, "InvalidInput",
                     "Invalid input for operation: a quota is not an integer.");
}

static void quota_delete(Pocket *p, const PocketCall *c, PocketReply *r)
{
    quota_reset(p, &neutron_quotas, c->args.items[0]);
    r->status = 204;
}

/* ---- documents */

static const struct {
    const char *alias, *name;
} extensions[] = {
    {"router", "Neutron L3 Router"},
    {"external-net", "Neutron external network"},
    {"security-group", "security-group"},
    {"stateful-security-group", "Stateful security group"},
    {"port-security", "Port Security"},
    {"allowed-address-pairs", "Allowed Address Pairs"},
    {"binding", "Port Binding"},
    {"extra_dhcp_opt", "Neutron Extra DHCP options"},
    {"net-mtu", "Network MTU"},
    {"net-mtu-writable", "Network MTU (writable)"},
    {"quotas", "Quota management support"},
    {"quota_details", "Quota details management support"},
    {"pagination", "Pagination support"},
    {"sorting", "Sorting support"},
    {"project-id", "project_id field enabled"},
    {"filter-validation", "Filter parameters validation"},
    {"ip-substring-filtering", "IP address substring filtering"},
    {"standard-attr-description", "standard-attr-description"},
    {"standard-attr-tag", "Tag support for resources with standard attribute"},
    {"standard-attr-timestamp", "Resource timestamps"},
    {"standard-attr-revisions", "Resource revision numbers"},
    {"revision-if-match", "If-Match constraints based on revision_number"},
    {"fip-port-details", "Floating IP Port Details Extension"},
    {"availability_zone", "Availability Zone"},
    {"ext-gw-mode", "Neutron L3 Configurable external gateway mode"},
};

static json_t *extension_new(size_t i)
{
    return json_make_new("{s:s, s:s, s:s, s:s, s:[]}", "alias", extensions[i].alias, "name",
                         extensions[i].name, "description", extensions[i].name, "updated",
                         "2022-10-05T00:00:00-00:00", "links");
}

static void extension_list(_unused_ Pocket *p, _unused_ const PocketCall *c, PocketReply *r)
{
    json_t *list = json_array();
    for (size_t i = 0; i < ARRAY_LEN(extensions); i++)
        json_array_append_new(list, extension_new(i));
    r->status = 200;
    r->json = json_make_new("{s:o}", "extensions", list);
}

static void extension_show(_unused_ Pocket *p, const PocketCall *c, PocketReply *r)
{
    for (size_t i = 0; i < ARRAY_LEN(extensions); i++)
        if (streq(extensions[i].alias, c->args.items[0])) {
            r->status = 200;
            r->json = json_make_new("{s:o}", "extension", extension_new(i));
            return;
        }
    _cleanup_free_ char *words =
        xasprintf("The resource could not be found.<br /><br />\nExtension with alias %s does not "
                  "exist\n\n",
                  c->args.items[0]);
    r->status = 404; /* in a shape of its own */
    r->json = json_make_new("{s:s, s:s, s:s}", "message", words, "code", "404 Not Found", "title",
                            "Not Found");
}

static void versions(Pocket *p, _unused_ const PocketCall *c, PocketReply *r)
{
    _cleanup_free_ char *url = pocket_url(p, POCKET_NEUTRON);
    _cleanup_free_ char *href = xasprintf("%s/v2.0/", url);
    r->status = 200;
    r->json = json_make_new("{s:[{s:s, s:s, s:[{s:s, s:s}]}]}", "versions", "id", "v2.0", "status",
                            "CURRENT", "links", "href", href, "rel", "self");
}

static void resources(Pocket *p, _unused_ const PocketCall *c, PocketReply *r)
{
    _cleanup_free_ char *url = pocket_url(p, POCKET_NEUTRON);
    json_t *list = json_array();
    for (const NeutronKind *const *k = neutron_kinds; *k; k++) {
        _cleanup_free_ char *href = xasprintf("%s/v2.0/%s", url, (*k)->path);
        json_array_append_new(list, json_make_new("{s:s, s:s, s:[{s:s, s:s}]}", "name", (*k)->name,
                                                  "collection", (*k)->path, "links", "href", href,
                                                  "rel", "self"));
    }
    r->status = 200;
    r->json = json_make_new("{s:o}", "resources", list);
}

static void zones(_unused_ Pocket *p, _unused_ const PocketCall *c, PocketReply *r)
{
    r->status = 200;
    r->json = json_make_new("{s:[{s:s, s:s, s:s}, {s:s, s:s, s:s}]}", "availability_zones", "name",
                            "nova", "resource", "network", "state", "available", "name", "nova",
                            "resource", "router", "state", "available");
}

/* ---- life cycle */

static json_t *seed_new(Pocket *p, const NeutronKind *k, json_t *in)
{
    PocketReply r = {0};
    _cleanup_json_ json_t *body = in;
    json_t *row = neutron_row_new(p, NULL, k, body, &r);
    BUG_IF(!row || !k->create(p, NULL, body, row, &r));
    neutron_put(p, k, row);
    return row;
}

void neutron_start(Pocket *p, bool fresh)
{
    if (fresh) {
        _cleanup_json_ json_t *project = store_find_new(p->store, "project", NULL, "admin");
        const char *admin = row_get(project, "id");
        /* Two clouds on one machine must not hand out the same addresses. */
        uint8_t octets[2];
        crypt_random(octets, sizeof octets);
        _cleanup_free_ char *cidr = xasprintf("127.%d.%d.0/24", 64 + octets[0] % 12, octets[1]);
        _cleanup_json_ json_t *net =
            seed_new(p, &kind_network,
                     json_make_new("{s:s, s:s, s:b, s:b}", "name", EXTERNAL_NAME, "project_id",
                                   admin, "shared", 1, "router:external", 1));
        _cleanup_json_ json_t *subnet =
            seed_new(p, &kind_subnet,
                     json_make_new("{s:s, s:s, s:s, s:i, s:s, s:b}", "name", EXTERNAL_NAME,
                                   "project_id", admin, "network_id", row_get(net, "id"),
                                   "ip_version", 4, "cidr", cidr, "enable_dhcp", 0));
        BUG_IF(!subnet);
    }
    neutron_forward_sync(p);
}

/* ---- routes */

#define COLLECTION(path)                                                                           \
    {"GET", "/v2.0/" path, NEED_PROJECT, neutron_list},                                            \
        {"POST", "/v2.0/" path, NEED_MEMBER, neutron_create},                                      \
        {"GET", "/v2.0/" path "/{id}", NEED_PROJECT, neutron_show},                                \
    {                                                                                              \
        "DELETE", "/v2.0/" path "/{id}", NEED_MEMBER, neutron_remove                               \
    }
#define CHANGED_AND_TAGGED(path)                                                                   \
    {"PUT", "/v2.0/" path "/{id}", NEED_MEMBER, neutron_update},                                   \
        {"GET", "/v2.0/" path "/{id}/tags", NEED_PROJECT, neutron_tags_get},                       \
        {"PUT", "/v2.0/" path "/{id}/tags", NEED_MEMBER, neutron_tags_put},                        \
        {"DELETE", "/v2.0/" path "/{id}/tags", NEED_MEMBER, neutron_tags_delete},                  \
        {"GET", "/v2.0/" path "/{id}/tags/{tag}", NEED_PROJECT, neutron_tag_get},                  \
        {"PUT", "/v2.0/" path "/{id}/tags/{tag}", NEED_MEMBER, neutron_tag_put},                   \
    {                                                                                              \
        "DELETE", "/v2.0/" path "/{id}/tags/{tag}", NEED_MEMBER, neutron_tag_delete                \
    }

const PocketRoute neutron_routes[] = {
    {"GET", "/", NEED_NOTHING, versions},
    {"GET", "/v2.0", NEED_NOTHING, resources},
    {"GET", "/v2.0/", NEED_NOTHING, resources},
    {"GET", "/v2.0/extensions", NEED_TOKEN, extension_list},
    {"GET", "/v2.0/extensions/{alias}", NEED_TOKEN, extension_show},
    {"GET", "/v2.0/availability_zones", NEED_PROJECT, zones},
    {"GET", "/v2.0/quotas/{project}", NEED_PROJECT, quota_show},
    {"GET", "/v2.0/quotas/{project}/details", NEED_PROJECT, quota_details},
    {"GET", "/v2.0/quotas/{project}/details.json", NEED_PROJECT, quota_details},
    {"GET", "/v2.0/quotas/{project}/default", NEED_PROJECT, quota_defaults},
    {"PUT", "/v2.0/quotas/{project}", NEED_ADMIN, quota_put},
    {"DELETE", "/v2.0/quotas/{project}", NEED_ADMIN, quota_delete},
    COLLECTION("networks"),
    CHANGED_AND_TAGGED("networks"),
    COLLECTION("subnets"),
    CHANGED_AND_TAGGED("subnets"),
    COLLECTION("ports"),
    CHANGED_AND_TAGGED("ports"),
    {"PUT", "/v2.0/routers/{id}/add_router_interface", NEED_MEMBER, neutron_interface_add},
    {"PUT", "/v2.0/routers/{id}/remove_router_interface", NEED_MEMBER, neutron_interface_remove},
    COLLECTION("routers"),
    CHANGED_AND_TAGGED("routers"),
    COLLECTION("security-groups"),
    CHANGED_AND_TAGGED("security-groups"),
    COLLECTION("security-group-rules"),
    COLLECTION("floatingips"),
    CHANGED_AND_TAGGED("floatingips"),
    {0},
};
