#include "cloud/adopt.h"
#include "cloud/kind.h"

const char *const adopt_kinds[] = {"network", "subnet", "router", "group", "ip", "volume", NULL};

bool adopt_parse(const char *prefix, ResourceKind *ret)
{
    for (size_t i = 0; adopt_kinds[i]; i++) {
        if (!streq(prefix, adopt_kinds[i]))
            continue;
        for (int k = 0; k < RESOURCE_KINDS; k++) {
            if (streq(resource_row((ResourceKind)k)->prefix, prefix)) {
                *ret = (ResourceKind)k;
                return true;
            }
        }
    }
    return false;
}

/* What the PUT sets, and what a reader of lists knows ours by. */
static json_t *marks_new(const Clouds *c, const Resource *want)
{
    _cleanup_free_ char *marker = resource_marker(c->island);
    json_t *marks = json_make_new("{s:s}", "description", marker);

    if (resource_row(want->kind)->named)
        json_object_set_new(marks, "name", json_string(want->name));
    if (want->kind == RESOURCE_VOLUME)
        json_object_set_new(
            marks, "metadata",
            json_make_new("{s:s, s:s}", "atoll", c->island, "atoll-key", want->key));
    return marks;
}

static int whose(const Clouds *c, const Resource *want, const json_t *item, const char *id,
                 Err *err)
{
    const char *word = resource_row(want->kind)->word;
    const char *description = json_str_or(item, "description", "");
    const char *island = json_str(item, "metadata.atoll");

    if (!island && starts_with(description, "atoll:"))
        island = description + strlen("atoll:");
    if (island && streq(island, c->island))
        return err_set(err, ERR_CONFLICT, "the %s %s is the island's already (%s)", word, id,
                       json_str_or(item, "name", "without a name"));
    if (island)
        return err_set(err, ERR_AMBIGUOUS, "the %s %s belongs to the island %s", word, id, island);
    return 0;
}

/* Of a foreign server or port it would be taken away: by a person, not by us. */
static int is_free(const World *w, const Resource *have, Err *err)
{
    const char *word = resource_row(have->kind)->word;
    const char *server = json_str_or(have->attrs, "server", "");
    const char *port = json_str_or(have->attrs, "port", "");

    if (have->kind == RESOURCE_VOLUME && *server && !world_find_id(w, RESOURCE_SERVER, server))
        return err_set(err, ERR_CONFLICT,
                       "the volume %s is attached to the server %s, which is "
                       "not the island's: detach it first",
                       have->id, server);
    if (have->kind == RESOURCE_FLOATING_IP && *port && !world_find(w, RESOURCE_PORT, port, 0))
        return err_set(err, ERR_CONFLICT,
                       "the %s %s is on the port %s, which is not the island's: "
                       "take it off first",
                       word, have->id, port);
    return 0;
}

void adoption_clear(Adoption *a)
{
    resource_clear(&a->have);
    free(a->was);
    json_decref(a->marks);
    *a = (Adoption){0};
}

/* Into *a, which the caller clears. */
static int look_at(const Clouds *c, const World *w, const Resource *want, const char *id,
                   Adoption *a, Err *err)
{
    const KindRow *row = kind_row(want->kind);
    _cleanup_free_ char *path = xasprintf("%s/%s", row->collection, id);
    _cleanup_free_ char *marker = resource_marker(c->island);
    _cleanup_json_ json_t *answer = NULL;
    Look l = {.clouds = c, .marker = marker, .world = w};
    int r = cloud_get(clouds_of(c, want->cloud), row->service, path, &answer, err);

    if (r < 0)
        return err_wrap(err, "looking at the %s %s", resource_row(want->kind)->word, id);
    json_t *item = json_object_get(answer, row->singular);
    if (!json_str(item, "id"))
        return err_set(err, ERR_CORRUPT, "the answer about %s is no %s", id,
                       resource_row(want->kind)->word);
    r = whose(c, want, item, id, err);
    if (r < 0)
        return r;
    a->was = xstrdup(json_str_or(item, "floating_ip_address", json_str_or(item, "name", "")));
    /* Cinder replaces all metadata by what a PUT has. */
    json_t *metadata = json_object_get(a->marks, "metadata");
    if (metadata)
        json_object_update_missing(metadata, json_object_get(item, "metadata"));
    json_object_update(item, a->marks);
    if (!row->read(&l, item, &a->have))
        return err_set(err, ERR_BUG, "%s can't be read as what it would be", id);
    world_link_one(w, &a->have);
    return is_free(w, &a->have, err);
}

int adopt_look(const Clouds *c, const World *w, const Resource *want, const char *id, Adoption *ret,
               Err *err)
{
    *ret = (Adoption){.marks = marks_new(c, want)};
    int r = look_at(c, w, want, id, ret, err);

    if (r < 0)
        adoption_clear(ret);
    return r;
}

int adopt_write(const Clouds *c, const Adoption *a, Err *err)
{
    const KindRow *row = kind_row(a->have.kind);
    _cleanup_(call_clear) Call call = {.cloud = clouds_of(c, a->have.cloud),
                                       .service = row->service,
                                       .kind = CALL_IDEMPOTENT,
                                       .method = "PUT",
                                       .path = xasprintf("%s/%s", row->collection, a->have.id),
                                       .body = json_make_new("{s:O}", row->singular, a->marks)};

    int r = cloud_perform(&call, 1, err);
    return r < 0 ? err_wrap(err, "giving the %s %s its name and marker",
                            resource_row(a->have.kind)->word, a->have.id)
                 : 0;
}
