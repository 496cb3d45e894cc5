/* Nova 2.1: servers and server groups. */
#include "cloud/kind.h"
#include "cloud/login.h"
#include "io/crypt.h"

/* Nova takes 65535 characters of base64. */
#define USER_DATA_MAX ((size_t)65535)
/* From these microversions on (iac.md 2.2). */
#define MINOR_TAGS_AT_CREATE 52
#define MINOR_REBUILD_USER_DATA 57
#define MINOR_GROUP_POLICY 64

/* Server group: a name, and nothing else to tell it by. */

static json_t *server_group_body_new(const KindTask *t, Err *err)
{
    const char *policy = json_str_or(t->want->attrs, "policy", "soft-anti-affinity");

    (void)err;
    if (cloud_compute_minor(t->cloud) >= MINOR_GROUP_POLICY)
        return json_make_new("{s:s, s:s}", "name", t->want->name, "policy", policy);
    return json_make_new("{s:s, s:[s]}", "name", t->want->name, "policies", policy);
}

static bool server_group_read(const Look *l, const json_t *item, Resource *ret)
{
    const char *policy = json_str(item, "policy");

    if (!kind_read(l, RESOURCE_SERVER_GROUP, item, NULL, ret))
        return false;
    if (!policy)
        policy = json_string_value(json_array_get(json_object_get(item, "policies"), 0));
    json_t *members = kind_texts_new(json_object_get(item, "members"), "");
    ret->used = json_array_size(members) > 0;
    ret->attrs = json_make_new("{s:s, s:o}", "policy", policy ? policy : "", "members", members);
    return true;
}

const KindRow kind_server_group = {.service = CLOUD_COMPUTE,
                                   .singular = "server_group",
                                   .collection = "/os-server-groups",
                                   .body_new = server_group_body_new,
                                   .read = server_group_read};

/* Server */

/* [{"port": id}..]. Groups are on the ports, never on the server: Nova would apply them to some
 * ports and not to others. */
static json_t *networks_new(const KindTask *t, Err *err)
{
    _cleanup_json_ json_t *list = json_array();
    const json_t *key;
    size_t i;

    json_array_foreach (json_object_get(t->want->attrs, "ports"), i, key) {
        const char *id = kind_id(t, RESOURCE_PORT, json_string_value(key), err);
        if (!id)
            return NULL;
        json_array_append_new(list, json_make_new("{s:s}", "port", id));
    }
    return TAKE(list);
}

/* The image on a local disk that goes with the server, and data volumes that stay. They are
 * attached by the create itself: a volume that is taken makes it fail, which guards it. */
static json_t *devices_new(const KindTask *t, const char *image, Err *err)
{
    _cleanup_json_ json_t *list =
        json_make_new("[{s:i, s:s, s:s, s:s, s:b}]", "boot_index", 0, "uuid", image, "source_type",
                      "image", "destination_type", "local", "delete_on_termination", 1);
    const json_t *key;
    size_t i;

    json_array_foreach (json_object_get(t->want->attrs, "volumes"), i, key) {
        const char *id = kind_id(t, RESOURCE_VOLUME, json_string_value(key), err);
        if (!id)
            return NULL;
        json_array_append_new(list,
                              json_make_new("{s:i, s:s, s:s, s:s, s:b}", "boot_index", -1, "uuid",
                                            id, "source_type", "volume", "destination_type",
                                            "volume", "delete_on_termination", 0));
    }
    return TAKE(list);
}

static json_t *metadata_new(const KindTask *t)
{
    const char *group = json_str_or(t->want->attrs, "group", "");
    json_t *metadata =
        json_make_new("{s:s, s:s}", "atoll", t->clouds->island, "atoll-key", t->want->key);

    if (t->secrets && t->secrets->boot)
        json_object_set_new(metadata, "atoll-boot", json_string(t->secrets->boot));
    /* Which group it is in is told by the groups only: kept here, one list tells all. */
    if (*group)
        json_object_set_new(metadata, "atoll-group", json_string(group));
    return metadata;
}

static json_t *server_body_new(const KindTask *t, Err *err)
{
    const json_t *a = t->want->attrs;
    const char *image = kind_fact_id(t->world, "images", json_str_or(a, "image", ""));
    _cleanup_(buf_wipe) Buf user_data = BUF_INIT(USER_DATA_MAX);
    json_t *networks = networks_new(t, err);
    json_t *devices = networks ? devices_new(t, image, err) : NULL;

    if (!devices) {
        json_decref(networks);
        return NULL;
    }
    json_t *body =
        json_make_new("{s:s, s:s, s:s, s:o, s:o, s:o, s:b}", "name", t->want->name, "flavorRef",
                      kind_fact_id(t->world, "flavors", json_str_or(a, "flavor", "")), "imageRef",
                      image, "networks", networks, "block_device_mapping_v2", devices, "metadata",
                      metadata_new(t), "config_drive", 1);
    if (cloud_compute_minor(t->cloud) >= MINOR_TAGS_AT_CREATE)
        json_object_set_new(body, "tags", json_make_new("[s]", t->marker));
    if (t->secrets && t->secrets->user_data)
        crypt_base64(&user_data, t->secrets->user_data, strlen(t->secrets->user_data));
    if (user_data.overflow) {
        err_set(err, ERR_BUG, "the user_data of %s is too long", t->want->name);
        json_decref(body);
        return NULL;
    }
    if (user_data.len)
        json_object_set_new(body, "user_data", json_string(user_data.p));
    return body;
}

static json_t *resize_new(const KindTask *t, Err *err)
{
    (void)err;
    return json_make_new(
        "{s:s}", "flavorRef",
        kind_fact_id(t->world, "flavors", json_str_or(t->want->attrs, "flavor", "")));
}

/* The same server with a new root disk; its first boot comes again, with a script of its own. */
static json_t *rebuild_new(const KindTask *t, Err *err)
{
    const char *image = kind_fact_id(t->world, "images", json_str_or(t->want->attrs, "image", ""));
    _cleanup_(buf_wipe) Buf user_data = BUF_INIT(USER_DATA_MAX);

    if (cloud_compute_minor(t->cloud) < MINOR_REBUILD_USER_DATA) {
        err_set(err, ERR_PREFLIGHT,
                "this cloud is too old to rebuild a server with a new user_data");
        err_hint(err, "--replace %s makes a new server instead", t->want->key);
        return NULL;
    }
    if (!t->secrets || !t->secrets->user_data) {
        err_set(err, ERR_BUG, "a rebuild without user_data");
        return NULL;
    }
    crypt_base64(&user_data, t->secrets->user_data, strlen(t->secrets->user_data));
    if (user_data.overflow) {
        err_set(err, ERR_BUG, "the user_data of %s is too long", t->want->name);
        return NULL;
    }
    return json_make_new("{s:s, s:o, s:s}", "imageRef", image, "metadata", metadata_new(t),
                         "user_data", user_data.p);
}

static json_t *null_new(const KindTask *t, Err *err)
{
    (void)t;
    (void)err;
    return json_null();
}

/* POST /servers/{id}/action: {name: body}. */
static const struct {
    KindVerb verb;
    const char *name;
    json_t *(*body_new)(const KindTask *t, Err *err);
} server_actions[] = {
    {KIND_RESIZE, "resize", resize_new},
    {KIND_CONFIRM, "confirmResize", null_new},
    {KIND_REBUILD, "rebuild", rebuild_new},
};

static int server_action(const KindTask *t, Call *ret, Err *err)
{
    for (size_t i = 0; i < ARRAY_LEN(server_actions); i++) {
        if (server_actions[i].verb != t->verb)
            continue;
        json_t *body = server_actions[i].body_new(t, err);
        if (!body)
            return err && err->kind ? -(int)err->kind : -ERR_BUG;
        ret->body = json_make_new("{s:o}", server_actions[i].name, body);
        return kind_request(ret, CALL_CREATE, "POST", "/servers/%s/action", t->have->id);
    }
    return 1;
}

static int server_volume(const KindTask *t, Call *ret, Err *err)
{
    const char *id = kind_id(t, RESOURCE_VOLUME, t->detail, err);

    if (!id)
        return -ERR_BUG;
    if (t->verb == KIND_DETACH)
        return kind_request(ret, CALL_IDEMPOTENT, "DELETE", "/servers/%s/os-volume_attachments/%s",
                            t->have->id, id);
    ret->body = json_make_new("{s:{s:s}}", "volumeAttachment", "volumeId", id);
    return kind_request(ret, CALL_CREATE, "POST", "/servers/%s/os-volume_attachments", t->have->id);
}

static int server_mark(const KindTask *t, Call *ret)
{
    ret->body = json_make_new("{s:{s:s}}", "metadata", t->detail, "1");
    return kind_request(ret, CALL_IDEMPOTENT, "POST", "/servers/%s/metadata", t->have->id);
}

/* The hint stands beside the server. */
static int server_call(const KindTask *t, Call *ret, Err *err)
{
    const char *group = t->want ? json_str_or(t->want->attrs, "group", "") : "";

    if (t->verb == KIND_MARK)
        return server_mark(t, ret);
    if (t->verb == KIND_ATTACH || t->verb == KIND_DETACH)
        return server_volume(t, ret, err);
    if (t->verb != KIND_CREATE)
        return server_action(t, ret, err);
    if (!*group)
        return 1;
    const char *id = kind_attr_id(t, RESOURCE_SERVER_GROUP, "group", err);
    json_t *server = id ? server_body_new(t, err) : NULL;
    if (!server)
        return -ERR_BUG;
    ret->body =
        json_make_new("{s:o, s:{s:s}}", "server", server, "os:scheduler_hints", "group", id);
    return kind_request(ret, CALL_CREATE, "POST", "/servers");
}

static bool is_marked(const Look *l, const json_t *item)
{
    const json_t *tag;
    size_t i;

    if (streq(json_str(item, "metadata.atoll"), l->clouds->island))
        return true;
    json_array_foreach (json_object_get(item, "tags"), i, tag) {
        if (streq(json_string_value(tag), l->marker))
            return true;
    }
    return false;
}

/* Of an answer, or (after a create, whose answer has the id only) of the request. */
static json_t *port_ids_new(const json_t *item)
{
    return kind_texts_new(json_object_get(item, "networks"), "port");
}

static json_t *volume_ids_new(const json_t *item)
{
    const json_t *attached = json_object_get(item, "os-extended-volumes:volumes_attached"), *d;
    json_t *ids = json_array();
    size_t i;

    if (attached) {
        json_decref(ids);
        return kind_texts_new(attached, "id");
    }
    json_array_foreach (json_object_get(item, "block_device_mapping_v2"), i, d) {
        if (streq(json_str(d, "source_type"), "volume"))
            json_array_append_new(ids, json_string(json_str_or(d, "uuid", "")));
    }
    return ids;
}

/* Fixed addresses: a server's ports are found by them too, while the list of ports is older. */
static json_t *addresses_new(const json_t *item)
{
    json_t *list = json_array(), *network;
    const char *name;
    const json_t *a;
    size_t i;

    json_object_foreach (json_object_get(item, "addresses"), name, network) {
        json_array_foreach (network, i, a) {
            if (!streq(json_str(a, "OS-EXT-IPS:type"), "floating"))
                json_array_append_new(list, json_string(json_str_or(a, "addr", "")));
        }
    }
    return list;
}

static bool server_read(const Look *l, const json_t *item, Resource *ret)
{
    const char *flavor = json_str(item, "flavor.original_name");
    const char *fault = json_str(item, "fault.message");

    if (!kind_read(l, RESOURCE_SERVER, item, is_marked(l, item) ? l->marker : "", ret))
        return false;
    if (!flavor)
        flavor = json_str_or(item, "flavor.id", json_str_or(item, "flavorRef", ""));
    const char *image = json_str_or(item, "image.id", json_str_or(item, "imageRef", ""));
    json_t *metadata = json_object_get(item, "metadata");
    metadata = json_is_object(metadata) ? json_deep_copy(metadata) : json_object();
    Msec updated = 0;
    if (!time_parse(json_str_or(item, "updated", ""), &updated))
        updated = 0;
    ret->attrs = json_make_new(
        "{s:I, s:s, s:s, s:o, s:o, s:s, s:o, s:s, s:o}", "updated", (json_int_t)updated, "flavor",
        flavor, "image", image, "ports", port_ids_new(item), "volumes", volume_ids_new(item),
        "group", json_str_or(metadata, "atoll-group", ""), "metadata", metadata, "task",
        json_str_or(item, "OS-EXT-STS:task_state", ""), "addresses", addresses_new(item));
    if (fault && streq(ret->status, "ERROR"))
        ret->fault = xstrdup(fault);
    return true;
}

const KindRow kind_server = {.service = CLOUD_COMPUTE,
                             .singular = "server",
                             .collection = "/servers",
                             .body_new = server_body_new,
                             .call = server_call,
                             .read = server_read};
