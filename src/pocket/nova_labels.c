/* Metadata and tags of servers. */
#include "pocket/nova.h"

#define TEXT_MAX 255
#define TAGS_MAX 50
#define TAG_TEXT_MAX 60

bool nova_metadata_valid(json_t *metadata, PocketReply *r)
{
    const char *key;
    json_t *value;
    bool ok = !metadata || json_is_object(metadata);
    json_object_foreach (metadata, key, value) {
        ok = ok && *key && strlen(key) <= TEXT_MAX && json_is_string(value) &&
             json_string_length(value) <= TEXT_MAX;
    }
    if (!ok)
        nova_fail(r, 400, "Invalid input for field/attribute metadata.");
    return ok;
}

bool nova_metadata_left(Pocket *p, const char *project, const json_t *metadata, PocketReply *r)
{
    int64_t max = quota_limit(p, &nova_quotas, project, "metadata_items");
    if (max < 0 || (int64_t)json_object_size(metadata) <= max)
        return true;
    nova_fail(r, 403, "Maximum number of metadata items exceeds %lld", (long long)max);
    return false;
}

/* Nova takes words for a server only in these, whatever its task. */
static bool metadata_open(const json_t *row, const char *action, PocketReply *r)
{
    static const char *const states[] = {"active", "paused", "suspended", "stopped", NULL};

    return nova_in_state(row, action, states, r);
}

/* The result of a change fits; then it is stored. */
static bool metadata_store(Pocket *p, json_t *row, json_t *metadata, PocketReply *r)
{
    if (!metadata_open(row, "update metadata", r) ||
        !nova_metadata_left(p, row_get(row, "project_id"), metadata, r))
        return false;
    json_object_set(row, "metadata", metadata);
    nova_server_put(p, row);
    return true;
}

static void metadata_answer(const json_t *row, PocketReply *r)
{
    r->status = 200;
    r->json = json_make_new("{s:O}", "metadata", json_object_get(row, "metadata"));
}

void nova_metadata_get(Pocket *p, const PocketCall *c, PocketReply *r)
{
    _cleanup_json_ json_t *row = nova_server_get_new(p, c, false, r);
    if (row)
        metadata_answer(row, r);
}

static void metadata_change(Pocket *p, const PocketCall *c, bool replace, PocketReply *r)
{
    json_t *in = json_object_get(c->body, "metadata");
    _cleanup_json_ json_t *row = nova_server_get_new(p, c, false, r);
    if (!row)
        return;
    if (!json_is_object(in)) {
        nova_fail(r, 400, "'metadata' is a required property");
        return;
    }
    if (!nova_metadata_valid(in, r))
        return;
    _cleanup_json_ json_t *next =
        replace ? json_object() : json_deep_copy(json_object_get(row, "metadata"));
    json_object_update(next, in);
    if (metadata_store(p, row, next, r))
        metadata_answer(row, r);
}

void nova_metadata_post(Pocket *p, const PocketCall *c, PocketReply *r)
{
    metadata_change(p, c, false, r);
}

void nova_metadata_put(Pocket *p, const PocketCall *c, PocketReply *r)
{
    metadata_change(p, c, true, r);
}

static void meta_answer(const json_t *row, const char *key, PocketReply *r)
{
    json_t *value = json_object_get(json_object_get(row, "metadata"), key);
    if (!value) {
        nova_fail(r, 404, "Metadata item was not found");
        return;
    }
    json_t *meta = json_object();
    json_object_set(meta, key, value);
    r->status = 200;
    r->json = json_make_new("{s:o}", "meta", meta);
}

void nova_metadata_key_get(Pocket *p, const PocketCall *c, PocketReply *r)
{
    _cleanup_json_ json_t *row = nova_server_get_new(p, c, false, r);
    if (row)
        meta_answer(row, c->args.items[1], r);
}

void nova_metadata_key_put(Pocket *p, const PocketCall *c, PocketReply *r)
{
    const char *key = c->args.items[1];
    json_t *in = json_object_get(c->body, "meta");
    _cleanup_json_ json_t *row = nova_server_get_new(p, c, false, r);
    if (!row)
        return;
    if (json_object_size(in) != 1 || !json_object_get(in, key)) {
        nova_fail(r, 400, "Request body and URI mismatch");
        return;
    }
    if (!nova_metadata_valid(in, r))
        return;
    _cleanup_json_ json_t *next = json_deep_copy(json_object_get(row, "metadata"));
    json_object_update(next, in);
    if (metadata_store(p, row, next, r))
        meta_answer(row, key, r);
}

void nova_metadata_key_delete(Pocket *p, const PocketCall *c, PocketReply *r)
{
    _cleanup_json_ json_t *row = nova_server_get_new(p, c, false, r);
    if (!row)
        return;
    if (json_object_get(json_object_get(row, "metadata"), c->args.items[1]) &&
        !metadata_open(row, "delete metadata", r))
        return;
    if (json_object_del(json_object_get(row, "metadata"), c->args.items[1]) < 0) {
        nova_fail(r, 404, "Metadata item was not found");
        return;
    }
    nova_server_put(p, row);
    r->status = 204;
}

/* ---- tags, since 2.26 */

static bool tag_valid(const char *tag)
{
    return tag && *tag && strlen(tag) <= TAG_TEXT_MAX && !strpbrk(tag, ",/");
}

bool nova_tags_valid(const json_t *tags, PocketReply *r)
{
    bool ok = json_is_array(tags) && json_array_size(tags) <= TAGS_MAX;
    size_t i;
    json_t *tag;
    json_array_foreach (tags, i, tag) {
        ok = ok && tag_valid(json_string_value(tag));
    }
    if (!ok)
        nova_fail(r, 400, "Invalid input for field/attribute tags.");
    return ok;
}

static json_t *tagged_new(Pocket *p, const PocketCall *c, PocketReply *r)
{
    if (c->microversion >= 26)
        return nova_server_get_new(p, c, false, r);
    nova_fail(r, 404, "The resource could not be found.");
    return NULL;
}

static void tags_answer(const json_t *row, PocketReply *r)
{
    r->status = 200;
    r->json = json_make_new("{s:O}", "tags", json_object_get(row, "tags"));
}

void nova_tags_get(Pocket *p, const PocketCall *c, PocketReply *r)
{
    _cleanup_json_ json_t *row = tagged_new(p, c, r);
    if (row)
        tags_answer(row, r);
}

void nova_tags_put(Pocket *p, const PocketCall *c, PocketReply *r)
{
    json_t *tags = json_object_get(c->body, "tags");
    _cleanup_json_ json_t *row = tagged_new(p, c, r);
    if (!row || !nova_tags_valid(tags, r))
        return;
    json_object_set(row, "tags", tags);
    nova_server_put(p, row);
    tags_answer(row, r);
}

void nova_tags_delete(Pocket *p, const PocketCall *c, PocketReply *r)
{
    _cleanup_json_ json_t *row = tagged_new(p, c, r);
    if (!row)
        return;
    json_object_set_new(row, "tags", json_array());
    nova_server_put(p, row);
    r->status = 204;
}

static ssize_t tag_find(const json_t *row, const char *tag)
{
    size_t i;
    json_t *item;
    json_array_foreach (json_object_get(row, "tags"), i, item) {
        if (streq(json_string_value(item), tag))
            return (ssize_t)i;
    }
    return -1;
}

static void tag_missing(const json_t *row, const char *tag, PocketReply *r)
{
    nova_fail(r, 404, "Server %s has no tag '%s'", row_get(row, "id"), tag);
}

void nova_tag_get(Pocket *p, const PocketCall *c, PocketReply *r)
{
    _cleanup_json_ json_t *row = tagged_new(p, c, r);
    if (row && tag_find(row, c->args.items[1]) < 0)
        tag_missing(row, c->args.items[1], r);
    else if (row)
        r->status = 204;
}

void nova_tag_put(Pocket *p, const PocketCall *c, PocketReply *r)
{
    const char *tag = c->args.items[1];
    _cleanup_json_ json_t *row = tagged_new(p, c, r);
    if (!row)
        return;
    r->status = 204;
    if (tag_find(row, tag) >= 0)
        return;
    json_t *tags = json_object_get(row, "tags");
    json_array_append_new(tags, json_string(tag));
    if (!nova_tags_valid(tags, r))
        return;
    nova_server_put(p, row);
    r->status = 201;
}

void nova_tag_delete(Pocket *p, const PocketCall *c, PocketReply *r)
{
    _cleanup_json_ json_t *row = tagged_new(p, c, r);
    if (!row)
        return;
    ssize_t at = tag_find(row, c->args.items[1]);
    if (at < 0) {
        tag_missing(row, c->args.items[1], r);
        return;
    }
    json_array_remove(json_object_get(row, "tags"), (size_t)at);
    nova_server_put(p, row);
    r->status = 204;
}
