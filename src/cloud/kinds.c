#include "cloud/kind.h"

#include <stdio.h>

static const KindRow *const kind_rows[RESOURCE_KINDS] = {
    [RESOURCE_NETWORK] = &kind_network,         [RESOURCE_SUBNET] = &kind_subnet,
    [RESOURCE_ROUTER] = &kind_router,           [RESOURCE_GROUP] = &kind_group,
    [RESOURCE_INTERFACE] = &kind_interface,     [RESOURCE_PORT] = &kind_port,
    [RESOURCE_FLOATING_IP] = &kind_floating_ip, [RESOURCE_SERVER_GROUP] = &kind_server_group,
    [RESOURCE_VOLUME] = &kind_volume,           [RESOURCE_USER] = &kind_user,
    [RESOURCE_CONTAINER] = &kind_container,     [RESOURCE_SERVER] = &kind_server,
};

static const char *const verb_words[KIND_VERBS] = {
    [KIND_CREATE] = "create",   [KIND_RULES] = "rules",     [KIND_UNRULE] = "unrule",
    [KIND_ATTACH] = "attach",   [KIND_DETACH] = "detach",   [KIND_GRANT] = "grant",
    [KIND_CHANGE] = "change",   [KIND_EMPTY] = "empty",     [KIND_DELETE] = "delete",
    [KIND_SEND] = "send",       [KIND_MARK] = "mark",       [KIND_RESIZE] = "resize",
    [KIND_CONFIRM] = "confirm", [KIND_REBUILD] = "rebuild", [KIND_EXTEND] = "extend",
    [KIND_RETYPE] = "retype",   [KIND_RENAME] = "rename",
};

const KindRow *kind_row(ResourceKind kind)
{
    return kind < RESOURCE_KINDS ? kind_rows[kind] : NULL;
}

Cloud *clouds_of(const Clouds *c, CloudRole role)
{
    Cloud *own = role < CLOUD_ROLES ? c->of[role] : NULL;
    return own ? own : c->of[CLOUD_OF_ISLAND];
}

/* Writers */

const char *kind_id(const KindTask *t, ResourceKind kind, const char *key, Err *err)
{
    const Resource *r = key && t->world ? world_find(t->world, kind, key, 0) : NULL;

    if (!r && key && t->world)
        r = world_find_id(t->world, kind, key);
    if (r && r->id)
        return r->id;
    err_set(err, ERR_BUG, "the %s `%s` is not there yet", resource_row(kind)->word, key ? key : "");
    return NULL;
}

const char *kind_attr_id(const KindTask *t, ResourceKind kind, const char *attr, Err *err)
{
    return kind_id(t, kind, json_str(t->want->attrs, attr), err);
}

const char *kind_fact_id(const World *w, const char *facts, const char *name)
{
    const json_t *found = json_object_get(json_at(w->facts, facts), name);
    const char *id = json_is_object(found) ? json_str(found, "id") : json_string_value(found);
    return id ? id : name;
}

int kind_request(Call *ret, CallKind kind, const char *method, const char *path, ...)
{
    va_list ap;

    va_start(ap, path);
    free(ret->path);
    ret->path = xvasprintf(path, ap);
    va_end(ap);
    ret->kind = kind;
    ret->method = method;
    return 0;
}

int kind_no_verb(const KindTask *t, Err *err)
{
    return err_set(err, ERR_BUG, "a %s can't be asked to `%s`", resource_row(t->kind)->word,
                   verb_words[t->verb]);
}

static int plain_call(const KindTask *t, const KindRow *row, Call *ret, Err *err)
{
    if (t->verb == KIND_CREATE && row->body_new) {
        json_t *body = row->body_new(t, err);
        if (!body)
            return err && err->kind ? -(int)err->kind : -ERR_BUG;
        ret->body = json_make_new("{s:o}", row->singular, body);
        return kind_request(ret, CALL_CREATE, "POST", "%s", row->collection);
    }
    if (t->verb == KIND_DELETE && t->have && t->have->id)
        return kind_request(ret, CALL_IDEMPOTENT, "DELETE", "%s/%s", row->collection, t->have->id);
    return kind_no_verb(t, err);
}

/* What a verb can't do without. */
static int check_task(const KindTask *t, Err *err)
{
    static const bool needs_want[KIND_VERBS] = {
        [KIND_CREATE] = true, [KIND_RULES] = true,  [KIND_ATTACH] = true,
        [KIND_CHANGE] = true, [KIND_RESIZE] = true, [KIND_REBUILD] = true,
        [KIND_EXTEND] = true, [KIND_RETYPE] = true, [KIND_RENAME] = true};

    if (t->verb >= KIND_VERBS || !kind_row(t->kind))
        return err_set(err, ERR_BUG, "no cloud call for kind %d", (int)t->kind);
    if (needs_want[t->verb] && !t->want)
        return err_set(err, ERR_BUG, "`%s` without what is wanted", verb_words[t->verb]);
    if (t->verb != KIND_CREATE && (!t->have || !t->have->id))
        return err_set(err, ERR_BUG, "`%s` without what is there", verb_words[t->verb]);
    return 0;
}

int kind_call(const Clouds *c, const World *w, ResourceKind kind, KindVerb verb,
              const Resource *want, const Resource *have, const char *detail,
              const KindSecrets *secrets, Call *ret, Err *err)
{
    const Resource *any = want ? want : have;
    _cleanup_free_ char *marker = resource_marker(c->island);
    KindTask t = {.clouds = c,
                  .cloud = clouds_of(c, any ? any->cloud : CLOUD_OF_ISLAND),
                  .world = w,
                  .kind = kind,
                  .verb = verb,
                  .want = want,
                  .have = have,
                  .detail = detail,
                  .secrets = secrets,
                  .marker = marker};
    _cleanup_(call_clear) Call call = {0};
    int r = check_task(&t, err);
    if (r < 0)
        return r;
    const KindRow *row = kind_row(kind);
    r = row->call ? row->call(&t, &call, err) : 1;
    if (r == 1)
        r = plain_call(&t, row, &call, err);
    if (r < 0)
        return r;
    call.cloud = t.cloud;
    call.service = row->service;
    *ret = call;
    call = (Call){0};
    return 0;
}

/* Readers */

json_t *kind_texts_new(const json_t *list, const char *member)
{
    json_t *texts = json_array();
    const json_t *item;
    size_t i;

    json_array_foreach (list, i, item) {
        const char *text = *member ? json_str(item, member) : json_string_value(item);
        if (text)
            json_array_append_new(texts, json_string(text));
    }
    kind_sort_texts(texts);
    return texts;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(json_string_value(*(json_t *const *)a), json_string_value(*(json_t *const *)b));
}

void kind_sort_texts(json_t *texts)
{
    size_t n = json_array_size(texts);
    json_t **items = xcalloc(MAX(n, 1), sizeof(json_t *));

    for (size_t i = 0; i < n; i++)
        items[i] = json_incref(json_array_get(texts, i));
    qsort(items, n, sizeof(json_t *), by_text);
    for (size_t i = 0; i < n; i++)
        json_array_set_new(texts, i, items[i]);
    free(items);
}

/* By Neutron's and Cinder's name for it, or Nova's. */
static Msec time_at(const json_t *item, const char *name, const char *of_nova)
{
    const char *text = json_str(item, name);
    Msec t = 0;

    if (!text)
        text = json_str(item, of_nova);
    return text && time_parse(text, &t) ? t : 0;
}

bool kind_read(const Look *l, ResourceKind kind, const json_t *item, const char *marker_text,
               Resource *ret)
{
    const char *name = json_str(item, "name"), *id = json_str(item, "id");
    char *key = NULL;
    int generation = 1;

    if (!id || (marker_text && !streq(marker_text, l->marker)))
        return false;
    if (!resource_row(kind)->named)
        key = xstrdup("main");
    else if (!resource_parse_name(l->clouds->island, kind, name, &key, &generation))
        return false;
    *ret = (Resource){
        .kind = kind,
        .key = key,
        .generation = generation,
        .name = resource_name(l->clouds->island, kind, key, generation),
        .cloud = CLOUD_OF_ISLAND,
        .id = xstrdup(id),
        .status = xstrdup(json_str_or(item, "status", "")),
        .created_at = time_at(item, "created_at", "created"),
        .changed_at = time_at(item, "updated_at", "updated"),
    };
    return true;
}

/* The answer to a container's PUT is empty; what it is named is in the path. */
static int created_container(const Look *l, const Call *answer, Resource *ret, Err *err)
{
    _cleanup_(buf_clear) Buf name = BUF_INIT(BUF_MAX_LINE);
    bool media = answer->cloud != l->clouds->of[CLOUD_OF_ISLAND];

    if (!answer->path || !buf_url_unquote(&name, str_of(answer->path + 1)) ||
        !container_read(l, media ? CLOUD_OF_MEDIA : CLOUD_OF_ISLAND, name.p, answer, ret))
        return err_set(err, ERR_BUG, "that was no call to make a container");
    world_link_one(l->world, ret);
    return 0;
}

int kind_created(const Clouds *c, const World *w, ResourceKind kind, const Call *answer,
                 Resource *ret, Err *err)
{
    _cleanup_free_ char *marker = resource_marker(c->island);
    Look l = {.clouds = c, .marker = marker, .world = w};
    const KindRow *row = kind_row(kind);

    if (!row)
        return err_set(err, ERR_BUG, "no cloud call for kind %d", (int)kind);
    if (!row->singular)
        return created_container(&l, answer, ret, err);
    /* Nova answers with the id alone: the rest is as it was asked for. */
    json_t *asked = json_object_get(answer->body, row->singular);
    json_t *made = json_object_get(answer->json, row->singular);
    _cleanup_json_ json_t *item = json_is_object(asked) ? json_copy(asked) : json_object();
    if (!json_is_object(made) || !json_str(made, "id"))
        return err_set(err, ERR_CORRUPT, "the answer to the creation of a %s has no id",
                       resource_row(kind)->word);
    json_object_update(item, made);
    if (!row->read(&l, item, ret))
        return err_set(err, ERR_CORRUPT, "what was made is not what was asked for: %s",
                       json_str_or(item, "name", ""));
    if (kind == RESOURCE_SERVER && !*ret->status) {
        free(ret->status);
        ret->status = xstrdup("BUILD");
    }
    world_link_one(w, ret);
    return 0;
}
