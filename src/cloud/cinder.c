/* Cinder v3: volumes. */
#include "cloud/kind.h"

static json_t *volume_body_new(const KindTask *t, Err *err)
{
    const json_t *a = t->want->attrs;
    const char *type = json_str_or(a, "type", "");
    json_t *body =
        json_make_new("{s:s, s:s, s:I, s:{s:s, s:s}}", "name", t->want->name, "description",
                      t->marker, "size", (json_int_t)json_int(a, "size_gb", 0), "metadata", "atoll",
                      t->clouds->island, "atoll-key", t->want->key);

    (void)err;
    if (*type)
        json_object_set_new(body, "volume_type", json_string(type));
    return body;
}

static json_t *rename_new(const KindTask *t)
{
    return json_make_new("{s:s, s:s, s:{s:s, s:s}}", "name", t->want->name, "description",
                         t->marker, "metadata", "atoll", t->clouds->island, "atoll-key",
                         t->want->key);
}

/* A volume that is in use can be extended from 3.42 on. A type whose disks are elsewhere needs a
 * migration. */
static int volume_call(const KindTask *t, Call *ret, Err *err)
{
    const json_t *a = t->want ? t->want->attrs : NULL;

    (void)err;
    if (t->verb == KIND_RENAME && t->want) {
        ret->body = json_make_new("{s:o}", "volume", rename_new(t));
        return kind_request(ret, CALL_IDEMPOTENT, "PUT", "/volumes/%s", t->have->id);
    }
    if (t->verb == KIND_EXTEND && streq(t->have->status, "in-use"))
        strlist_add(&ret->headers, "OpenStack-API-Version: volume 3.42");
    if (t->verb == KIND_EXTEND)
        ret->body = json_make_new("{s:{s:I}}", "os-extend", "new_size",
                                  (json_int_t)json_int(a, "size_gb", 0));
    else if (t->verb == KIND_RETYPE)
        ret->body = json_make_new("{s:{s:s, s:s}}", "os-retype", "new_type",
                                  json_str_or(a, "type", ""), "migration_policy", "on-demand");
    else
        return 1;
    return kind_request(ret, CALL_CREATE, "POST", "/volumes/%s/action", t->have->id);
}

static bool volume_read(const Look *l, const json_t *item, Resource *ret)
{
    const char *description = json_str_or(item, "description", "");
    const char *type = json_str_or(item, "volume_type", "");
    const json_t *attached = json_array_get(json_object_get(item, "attachments"), 0);

    /* The filter is on metadata; a description that a person changed does not hide it. */
    if (streq(json_str(item, "metadata.atoll"), l->clouds->island))
        description = l->marker;
    if (!kind_read(l, RESOURCE_VOLUME, item, description, ret))
        return false;
    const char *server = json_str_or(attached, "server_id", "");
    ret->attrs = json_make_new("{s:I, s:s, s:s}", "size_gb", (json_int_t)json_int(item, "size", 0),
                               "type", type, "server", server);
    ret->used = *server != '\0';
    if (starts_with(ret->status, "error"))
        ret->fault = xasprintf("the volume is in state %s", ret->status);
    return true;
}

const KindRow kind_volume = {.service = CLOUD_VOLUME,
                             .singular = "volume",
                             .collection = "/volumes",
                             .body_new = volume_body_new,
                             .call = volume_call,
                             .read = volume_read};
