/* Metadata of volumes. */
#include "pocket/cinder.h"

bool cinder_metadata_valid(json_t *metadata, PocketReply *r)
{
    const char *key;
    json_t *value;
    bool ok = !metadata || json_is_object(metadata);
    json_object_foreach (metadata, key, value) {
        ok = ok && *key && strlen(key) <= 255 && json_is_string(value) &&
             json_string_length(value) <= 255;
    }
    if (!ok)
        cinder_fail(r, 400, "Invalid input for field/attribute metadata.");
    return ok;
}

static void metadata_answer(const json_t *row, PocketReply *r)
{
    r->status = 200;
    r->json = json_make_new("{s:O}", "metadata", json_object_get(row, "metadata"));
}

void cinder_metadata_get(Pocket *p, const PocketCall *c, PocketReply *r)
{
    _cleanup_json_ json_t *row = cinder_volume_get_new(p, c, false, r);
    if (row)
        metadata_answer(row, r);
}

static void metadata_change(Pocket *p, const PocketCall *c, bool replace, PocketReply *r)
{
    _cleanup_json_ json_t *row = cinder_volume_get_new(p, c, false, r);
    json_t *in = json_object_get(c->body, "metadata");
    if (!row)
        return;
    if (!json_is_object(in)) {
        cinder_fail(r, 400, "Missing required element 'metadata' in request body.");
        return;
    }
    if (!cinder_metadata_valid(in, r))
        return;
    if (replace)
        json_object_set(row, "metadata", in);
    else
        json_object_update(json_object_get(row, "metadata"), in);
    cinder_volume_put(p, row);
    metadata_answer(row, r);
}

void cinder_metadata_post(Pocket *p, const PocketCall *c, PocketReply *r)
{
    metadata_change(p, c, false, r);
}

void cinder_metadata_put(Pocket *p, const PocketCall *c, PocketReply *r)
{
    metadata_change(p, c, true, r);
}

static void meta_answer(const PocketCall *c, const json_t *row, PocketReply *r)
{
    const char *key = cinder_arg(c, 1);
    json_t *value = json_object_get(json_object_get(row, "metadata"), key);
    if (!value) {
        cinder_fail(r, 404, "Volume %s has no metadata with key %s.", row_get(row, "id"), key);
        return;
    }
    r->status = 200;
    r->json = json_make_new("{s:{s:O}}", "meta", key, value);
}

void cinder_metadata_key_get(Pocket *p, const PocketCall *c, PocketReply *r)
{
    _cleanup_json_ json_t *row = cinder_volume_get_new(p, c, false, r);
    if (row)
        meta_answer(c, row, r);
}

void cinder_metadata_key_put(Pocket *p, const PocketCall *c, PocketReply *r)
{
    json_t *in = json_object_get(c->body, "meta");
    _cleanup_json_ json_t *row = cinder_volume_get_new(p, c, false, r);
    if (!row)
        return;
    if (json_object_size(in) != 1 || !json_object_get(in, cinder_arg(c, 1))) {
        cinder_fail(r, 400, "Request body and URI mismatch");
        return;
    }
    if (!cinder_metadata_valid(in, r))
        return;
    json_object_update(json_object_get(row, "metadata"), in);
    cinder_volume_put(p, row);
    meta_answer(c, row, r);
}

void cinder_metadata_delete(Pocket *p, const PocketCall *c, PocketReply *r)
{
    _cleanup_json_ json_t *row = cinder_volume_get_new(p, c, false, r);
    if (!row)
        return;
    if (json_object_del(json_object_get(row, "metadata"), cinder_arg(c, 1)) < 0) {
        cinder_fail(r, 404, "Volume %s has no metadata with key %s.", row_get(row, "id"),
                    cinder_arg(c, 1));
        return;
    }
    cinder_volume_put(p, row);
    r->status = 200;
}
