/* POST /servers. The order of checks is Nova's: policy (the route), schema, flavor, image, key,
 * group, ports, volumes, quotas. All writes are undone by the core when one fails. */
#include "io/crypt.h"
#include "pocket/cinder.h"
#include "pocket/neutron.h"
#include "pocket/nova.h"
#include "pocket/server.h"
#include <inttypes.h>

#define USER_DATA_MAX 65535 /* base64 characters */
#define USER_DATA_BYTES ((size_t)48 << 10)

typedef enum PropType { PROP_TEXT, PROP_LIST, PROP_OBJECT, PROP_BOOL, PROP_ANY } PropType;

/* Properties of `server` that are accepted, by microversion; others are a 400. */
static const struct {
    const char *name;
    PropType type;
    int since, until; /* 0: no end */
} props[] = {
    {"name", PROP_TEXT, 1, 0},
    {"flavorRef", PROP_ANY, 1, 0},
    {"imageRef", PROP_TEXT, 1, 0},
    {"networks", PROP_ANY, 1, 0},
    {"metadata", PROP_OBJECT, 1, 0},
    {"tags", PROP_LIST, 52, 0},
    {"user_data", PROP_TEXT, 1, 0},
    {"key_name", PROP_TEXT, 1, 0},
    {"config_drive", PROP_BOOL, 1, 0},
    {"security_groups", PROP_LIST, 1, 0},
    {"availability_zone", PROP_TEXT, 1, 0},
    {"block_device_mapping_v2", PROP_LIST, 1, 0},
    {"adminPass", PROP_TEXT, 1, 0},
    {"min_count", PROP_ANY, 1, 0},
    {"max_count", PROP_ANY, 1, 0},
    {"OS-DCF:diskConfig", PROP_TEXT, 1, 0},
    {"accessIPv4", PROP_TEXT, 1, 0},
    {"accessIPv6", PROP_TEXT, 1, 0},
    {"personality", PROP_LIST, 1, 56},
    {"description", PROP_TEXT, 19, 0},
    {"trusted_image_certificates", PROP_LIST, 63, 0},
    {"hostname", PROP_TEXT, 90, 0},
};

static bool type_fits(PropType type, const json_t *v)
{
    if (json_is_null(v))
        return true;
    switch (type) {
    case PROP_TEXT:
        return json_is_string(v);
    case PROP_LIST:
        return json_is_array(v);
    case PROP_OBJECT:
        return json_is_object(v);
    case PROP_BOOL:
        return json_is_boolean(v) || json_is_string(v);
    case PROP_ANY:
        break;
    }
    return true;
}

static bool prop_valid(const PocketCall *c, const char *name, const json_t *value, PocketReply *r)
{
    for (size_t i = 0; i < ARRAY_LEN(props); i++) {
        if (!streq(props[i].name, name) || c->microversion < props[i].since ||
            (props[i].until && c->microversion > props[i].until))
            continue;
        if (type_fits(props[i].type, value))
            return true;
        nova_fail(r, 400, "Invalid input for field/attribute %s.", name);
        return false;
    }
    nova_fail(r, 400,
              "Invalid input for field/attribute server. Additional properties are not allowed "
              "('%s' was unexpected)",
              name);
    return false;
}

static bool required(const json_t *in, const char *name, PocketReply *r)
{
    if (json_object_get(in, name))
        return true;
    nova_fail(r, 400, "Invalid input for field/attribute server. '%s' is a required property",
              name);
    return false;
}

/* The bytes of user_data; false with a 400 when it is too long or no base64. */
static bool user_data_decode(const json_t *in, Buf *ret, PocketReply *r)
{
    const char *text = json_str(in, "user_data");
    if (!text)
        return true;
    if (strlen(text) > USER_DATA_MAX) {
        nova_fail(r, 400, "Invalid input for field/attribute user_data. Value is too long");
        return false;
    }
    if (strlen(text) % 4 == 0 && crypt_unbase64(ret, str_of(text)) && !ret->overflow)
        return true;
    nova_fail(r, 400,
              "Invalid input for field/attribute user_data. Value: %s. '%s' is not a 'base64'",
              text, text);
    return false;
}

static bool counts_valid(const json_t *in, PocketReply *r)
{
    static const char *const names[] = {"min_count", "max_count"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        const json_t *v = json_object_get(in, names[i]);
        if (!v || json_integer_value(v) == 1 || streq(json_string_value(v), "1"))
            continue;
        nova_fail(r, 501, "The pocket cloud makes one server a request: %s is 1", names[i]);
        return false;
    }
    return true;
}

static bool schema_valid(const PocketCall *c, json_t *in, PocketReply *r)
{
    const char *name;
    json_t *value;
    if (!json_is_object(in)) {
        nova_fail(r, 400, "Invalid input for field/attribute. 'server' is a required property");
        return false;
    }
    if (!required(in, "name", r) || !required(in, "flavorRef", r) ||
        (c->microversion >= 37 && !required(in, "networks", r)))
        return false;
    json_object_foreach (in, name, value) {
        if (!prop_valid(c, name, value, r))
            return false;
    }
    const json_t *tags = json_object_get(in, "tags");
    return nova_name_valid(json_str(in, "name"), r) &&
           nova_metadata_valid(json_object_get(in, "metadata"), r) &&
           (!tags || nova_tags_valid(tags, r)) && counts_valid(in, r);
}

/* ---- what it refers to */

const Flavor *nova_flavor_ref(const json_t *ref, PocketReply *r)
{
    _cleanup_free_ char *digits =
        json_is_integer(ref) ? xasprintf("%lld", (long long)json_integer_value(ref)) : NULL;
    const char *text = digits ? digits : json_string_value(ref);
    /* A reference may be a URL: its last part counts. */
    const char *slash = text ? strrchr(text, '/') : NULL;
    const Flavor *f = nova_flavor(slash ? slash + 1 : text);
    if (!f)
        nova_fail(r, 400, "Flavor %s could not be found.", text ? text : "");
    return f;
}

static bool set_flavor(const json_t *in, json_t *row, PocketReply *r)
{
    const Flavor *f = nova_flavor_ref(json_object_get(in, "flavorRef"), r);
    if (f)
        row_text(row, "flavor", f->id);
    return f != NULL;
}

static bool boots_from_volume(const json_t *in)
{
    size_t i;
    json_t *bdm;
    json_array_foreach (json_object_get(in, "block_device_mapping_v2"), i, bdm) {
        const json_t *index = json_object_get(bdm, "boot_index");
        if (streq(json_str(bdm, "destination_type"), "volume") &&
            ((json_is_integer(index) && json_integer_value(index) == 0) ||
             streq(json_string_value(index), "0")))
            return true;
    }
    return false;
}

static bool set_image(Pocket *p, const PocketCall *c, const json_t *in, json_t *row, PocketReply *r)
{
    const char *id = json_str_or(in, "imageRef", "");
    if (!*id && boots_from_volume(in)) {
        row_text(row, "image", "");
        return true;
    }
    _cleanup_json_ json_t *image = store_get_new(p->store, "image", id);
    bool ours = image && (streq(row_get(image, "visibility"), "public") ||
                          streq(row_get(image, "owner"), c->user->project_id) || row_admin(c));
    if (!ours) {
        nova_fail(r, 400, *id ? "Image %s could not be found." : "Invalid imageRef provided.%s",
                  id);
        return false;
    }
    if (!streq(row_get(image, "status"), "active")) {
        nova_fail(r, 400, "Image %s is not active.", id);
        return false;
    }
    row_text(row, "image", id);
    return true;
}

static bool set_key(Pocket *p, const PocketCall *c, const json_t *in, json_t *row, PocketReply *r)
{
    const char *name = json_str(in, "key_name");
    _cleanup_json_ json_t *key = name ? nova_keypair_new(p, c->user->user_id, name) : NULL;
    if (name && !key) {
        nova_fail(r, 400, "Invalid key_name provided.");
        return false;
    }
    row_text(row, "key_name", name);
    return true;
}

static bool set_group(Pocket *p, const PocketCall *c, json_t *row, PocketReply *r)
{
    const json_t *hints = json_object_get(c->body, "os:scheduler_hints");
    if (!hints)
        hints = json_object_get(c->body, "OS-SCH-HNT:scheduler_hints");
    const json_t *hint = json_object_get(hints, "group");
    const char *id = json_string_value(json_is_array(hint) ? json_array_get(hint, 0) : hint);
    row_text(row, "group", id ? id : "");
    if (!id)
        return true;
    _cleanup_json_ json_t *group = store_get_new(p->store, NOVA_GROUP, id);
    if (!group || !row_own(c, group)) {
        nova_fail(r, 400, "Instance group %s could not be found.", id);
        return false;
    }
    _cleanup_json_ json_t *members = nova_group_members_new(p, id);
    int64_t max = quota_limit(p, &nova_quotas, c->user->project_id, "server_group_members");
    if (max >= 0 && (int64_t)json_array_size(members) >= max) {
        nova_fail(r, 403, "Quota exceeded, too many servers in group");
        return false;
    }
    return true;
}

/* ---- ports */

static bool use_port(Pocket *p, const PocketCall *c, const char *id, json_t *row, PocketReply *r)
{
    _cleanup_json_ json_t *port = store_get_new(p->store, kind_port.name, id);
    if (!port || !neutron_visible(p, c, &kind_port, port)) {
        nova_fail(r, 400, "Port id %s could not be found.", id);
        return false;
    }
    if (!*neutron_fixed_address(port)) {
        nova_fail(r, 400, "Port %s requires a FixedIP in order to be used.", id);
        return false;
    }
    if (*row_get(port, "device_id") || !neutron_bind_port(p, id, row_get(row, "id"))) {
        nova_fail(r, 409, "Port %s is still in use.", id);
        return false;
    }
    json_array_append_new(json_object_get(row, "ports"), json_string(id));
    return true;
}

/* Groups by name or id, for ports that Nova makes: with ports of one's own they count for nothing,
 * as on a real cloud. */
static json_t *groups_new(Pocket *p, const PocketCall *c, const json_t *in, PocketReply *r)
{
    _cleanup_json_ json_t *ids = json_array();
    const json_t *asked = json_object_get(in, "security_groups");
    size_t i;
    json_t *item;
    json_array_foreach (asked, i, item) {
        const char *name = json_str_or(item, "name", "");
        _cleanup_free_ char *id = neutron_find_group(p, c->user->project_id, name);
        if (!id) {
            nova_fail(r, 400, "Security group %s not found.", name);
            return NULL;
        }
        json_array_append_new(ids, json_string(id));
    }
    if (json_array_size(ids) == 0) {
        _cleanup_free_ char *id = neutron_default_group(p, c->user->project_id);
        json_array_append_new(ids, json_string(id));
    }
    return TAKE(ids);
}

static bool make_port(Pocket *p, const PocketCall *c, const json_t *in, const json_t *wish,
                      json_t *row, PocketReply *r)
{
    const char *network = json_str_or(wish, "uuid", "");
    _cleanup_json_ json_t *net = store_get_new(p->store, kind_network.name, network);
    if (!net || !neutron_visible(p, c, &kind_network, net)) {
        nova_fail(r, 400, "Network %s could not be found.", network);
        return false;
    }
    if (!quota_allows(p, &neutron_quotas, c->user->project_id, "port", 1)) {
        nova_fail(r, 403, "Maximum number of ports exceeded");
        return false;
    }
    _cleanup_json_ json_t *groups = groups_new(p, c, in, r);
    if (!groups)
        return false;
    PortWish w = {.project = c->user->project_id,
                  .network = network,
                  .address = json_str(wish, "fixed_ip"),
                  .owner = "compute:nova",
                  .device = row_get(row, "id"),
                  .status = "ACTIVE",
                  .groups = groups};
    PocketReply inner = {0};
    _cleanup_json_ json_t *port = neutron_port_new(p, &w, &inner);
    if (!port || !*neutron_fixed_address(port)) {
        int status = inner.status == 409 ? 409 : 400;
        nova_fail(r, status, "%s",
                  json_str_or(inner.json, "NeutronError.message",
                              "Network requires a subnet in order to boot instances on."));
        json_decref(inner.json);
        return false;
    }
    json_array_append(json_object_get(row, "ports"), json_object_get(port, "id"));
    json_array_append(json_object_get(row, "own_ports"), json_object_get(port, "id"));
    return true;
}

static bool set_ports(Pocket *p, const PocketCall *c, const json_t *in, json_t *row, PocketReply *r)
{
    const json_t *networks = json_object_get(in, "networks");
    size_t i;
    json_t *wish;
    if (json_is_string(networks) && !streq(json_string_value(networks), "none")) {
        nova_fail(r, 400, "Unable to automatically allocate a network for project %s",
                  c->user->project_id);
        return false;
    }
    json_array_foreach (networks, i, wish) {
        const char *port = json_str(wish, "port");
        if (!port && !json_str(wish, "uuid")) {
            nova_fail(r, 400, "Invalid input for field/attribute networks.");
            return false;
        }
        if (port ? !use_port(p, c, port, row, r) : !make_port(p, c, in, wish, row, r))
            return false;
    }
    return true;
}

/* ---- volumes */

static bool set_volumes(Pocket *p, const PocketCall *c, const json_t *in, json_t *row,
                        PocketReply *r)
{
    size_t i;
    json_t *bdm;
    json_array_foreach (json_object_get(in, "block_device_mapping_v2"), i, bdm) {
        const char *source = json_str_or(bdm, "source_type", ""), *id = json_str(bdm, "uuid");
        const char *to = json_str_or(bdm, "destination_type", "");
        if (streq(source, "image") && streq(to, "local"))
            continue; /* the root disk */
        if (!streq(source, "volume") || !id) {
            nova_fail(r, 400,
                      "Block Device Mapping is Invalid: the pocket cloud attaches volumes that are "
                      "there, and makes none from source_type %s.",
                      source);
            return false;
        }
        if (!nova_attach(p, c, row, id, json_bool(bdm, "delete_on_termination", false), r))
            return false;
    }
    return true;
}

/* ---- quotas */

static void add_word(Buf *b, const char *word)
{
    buf_printf(b, "%s%s", b->len ? ", " : "", word);
}

static void add_number(Buf *b, int64_t n)
{
    buf_printf(b, "%s%" PRId64, b->len ? ", " : "", n);
}

bool nova_quota_left(Pocket *p, const char *project, const NovaNeed *need, PocketReply *r)
{
    const struct {
        const char *name;
        int64_t more;
    } needs[] = {{"cores", need->cores}, {"instances", need->instances}, {"ram", need->ram}};
    _cleanup_(buf_clear) Buf names = BUF_INIT(256), more = BUF_INIT(256), used = BUF_INIT(256),
                             limits = BUF_INIT(256);
    for (size_t i = 0; i < ARRAY_LEN(needs); i++) {
        const char *name = needs[i].name;
        if (needs[i].more < 1 || quota_allows(p, &nova_quotas, project, name, needs[i].more))
            continue;
        add_word(&names, name);
        add_number(&more, needs[i].more);
        add_number(&used, quota_used(p, &nova_quotas, project, name));
        add_number(&limits, quota_limit(p, &nova_quotas, project, name));
    }
    if (names.len > 0)
        nova_fail(r, 403, "Quota exceeded for %s: Requested %s, but already used %s of %s %s",
                  names.p, more.p, used.p, limits.p, names.p);
    return names.len == 0;
}

/* ---- the row */

static json_t *row_new(Pocket *p, const PocketCall *c, const json_t *in)
{
    _cleanup_free_ char *id = pocket_uuid(true), *now = pocket_stamp(p, POCKET_NOVA);
    _cleanup_free_ char *host = pocket_uuid(false);
    json_t *drive = json_object_get(in, "config_drive");
    const json_t *metadata = json_object_get(in, "metadata");
    const json_t *tags = json_object_get(in, "tags");
    json_t *row = json_make_new(
        "{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:[], s:[], s:[], s:o, s:o, s:s}", "id", id,
        "project_id", c->user->project_id, "user_id", c->user->user_id, "name",
        json_str(in, "name"), "created", now, "updated", now, "host_id", host, "ports", "own_ports",
        "volumes", "metadata", metadata ? json_deep_copy(metadata) : json_object(), "tags",
        tags ? json_deep_copy(tags) : json_array(), "hostname",
        json_str_or(in, "hostname", json_str(in, "name")));
    row_text(row, "user_data", json_str(in, "user_data"));
    row_text(row, "description", json_str(in, "description"));
    json_object_set_new(
        row, "config_drive",
        json_boolean(json_is_true(drive) || strcasecmp(row_get(in, "config_drive"), "true") == 0));
    return row;
}

/* A flavor that fits no host: the server is made, and fails as Nova's scheduler lets it fail, with
 * its ports and volumes still free. */
static void fail_scheduling(Pocket *p, json_t *row)
{
    nova_set_fault(p, row, "No valid host was found. There are not enough hosts available.");
    nova_server_change(p, row, "BUILD", "scheduling", "ERROR");
}

static void answer(Pocket *p, const PocketCall *c, const json_t *row, const json_t *in,
                   PocketReply *r)
{
    const char *id = row_get(row, "id");
    _cleanup_secret_ Secret *password = crypt_password_new(12);
    _cleanup_free_ char *url = pocket_url(p, POCKET_NOVA);
    nova_record(p, c, row, "create");
    r->status = 202;
    r->json = json_make_new("{s:{s:s, s:o, s:s, s:[{s:s}], s:s}}", "server", "id", id, "links",
                            nova_links_new(p, "servers", id), "OS-DCF:diskConfig", "MANUAL",
                            "security_groups", "name", "default", "adminPass",
                            json_str_or(in, "adminPass", secret_expose(password).p));
    strlist_addf(&r->headers, "Location: %s/v2.1/servers/%s", url, id);
}

void nova_server_create(Pocket *p, const PocketCall *c, PocketReply *r)
{
    json_t *in = json_object_get(c->body, "server");
    _cleanup_(buf_wipe) Buf user_data = BUF_INIT(USER_DATA_BYTES);
    _cleanup_(err_clear) Err err = {0};
    if (!schema_valid(c, in, r) || !user_data_decode(in, &user_data, r))
        return;
    _cleanup_json_ json_t *row = row_new(p, c, in);
    if (!set_flavor(in, row, r) || !set_image(p, c, in, row, r) || !set_key(p, c, in, row, r) ||
        !set_group(p, c, row, r))
        return;
    const Flavor *f = nova_flavor(row_get(row, "flavor"));
    const NovaNeed need = {1, f->vcpus, f->ram_mb};
    if (!nova_metadata_left(p, c->user->project_id, json_object_get(in, "metadata"), r))
        return;
    if (!nova_quota_left(p, c->user->project_id, &need, r))
        return;
    if (f->hostless) {
        fail_scheduling(p, row);
        answer(p, c, row, in, r);
        return;
    }
    if (!set_ports(p, c, in, row, r) || !set_volumes(p, c, in, row, r))
        return;
    nova_server_change(p, row, "BUILD", "scheduling", "ACTIVE");
    if (p->servers_run && server_make(p, row_get(row, "id"), buf_as_str(&user_data), &err) < 0)
        nova_set_fault(p, row, err.text);
    else
        nova_power_on(p, row);
    /* The processes run already; what callers see is a build that takes its time. */
    if (streq(row_get(row, "status"), "ERROR"))
        nova_server_change(p, row, "BUILD", "spawning", "ERROR");
    neutron_forward_sync(p);
    answer(p, c, row, in, r);
}
