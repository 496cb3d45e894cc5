/* The world after a step, on paper. What the cloud will decide is "?". */
#include "host/mail.h"
#include "host/spec.h"
#include "plan/apply_driver.h"
#include "plan/kind.h"

static void set_text(json_t *attrs, const char *key, const char *text)
{
    json_object_set_new(attrs, key, json_string(text));
}

static void set_status(Resource *r, const char *status)
{
    free(r->status);
    r->status = xstrdup(status);
}

Resource *plan_target(const World *w, const Step *s)
{
    for (size_t i = 0; i < w->items.len; i++) {
        Resource *r = &w->items.items[i];

        if (r->kind == s->kind && streq(r->key, s->key) && r->generation == s->generation &&
            (!s->id || streq(r->id, s->id)))
            return r;
    }
    return NULL;
}

json_t *plan_sent_spec_new(const Goal *g, const World *w, const Resource *host, const Step *s)
{
    const Resource *want = goal_find(g, RESOURCE_HOST, host->key);
    _cleanup_(resource_clear) Resource own = {0};

    if (streq(s->detail, "stop"))
        return host_stop_spec_new(host);
    if (!want)
        return NULL;
    own = want_at_new(want, host->generation);
    return host_spec_new(&own, w);
}

/* As host/mail.h reads it, of a server that has just said hello. */
static json_t *host_attrs_new(void)
{
    return json_make_new("{s:s, s:s, s:b, s:i, s:s, s:i, s:s, s:i, s:s, s:{}, s:{}}", "boot", "?",
                         "server_status", "ACTIVE", "hello", 1, "sent", 0, "sent_spec", "", "seen",
                         0, "state", "", "state_since", 0, "report", "", "keeps", "kept");
}

/* What a new server takes, and the host that comes up on it. */
static void server_made(World *w, const Resource *want)
{
    const json_t *v;
    size_t i;

    json_array_foreach (json_object_get(want->attrs, "volumes"), i, v) {
        Resource *volume = world_find(w, RESOURCE_VOLUME, json_string_value(v), 0);

        if (volume) {
            set_text(volume->attrs, "server", "?");
            set_status(volume, "in-use");
        }
    }
    json_array_foreach (json_object_get(want->attrs, "ports"), i, v) {
        Resource *port = world_find(w, RESOURCE_PORT, json_string_value(v), want->generation);

        if (port)
            set_text(port->attrs, "device", "?");
    }
    (void)world_add(w, (Resource){.kind = RESOURCE_HOST,
                                  .key = xstrdup(want->key),
                                  .generation = want->generation,
                                  .name = xstrdup(want->name),
                                  .cloud = want->cloud,
                                  .attrs = host_attrs_new(),
                                  .id = xstrdup("?"),
                                  .status = xstrdup("")});
}

static void create(const Goal *g, World *w, const Step *s)
{
    const Resource *want = goal_find(g, s->kind, s->key);
    const PlanKind *row = plan_kind(s->kind);
    Resource r;

    BUG_IF(!want);
    r = want_at_new(want, s->generation);
    r.id = xstrdup("?");
    r.status = xstrdup(row->status);
    r.protect = false;
    if (row->made)
        row->made(r.attrs);
    (void)world_add(w, r);
    if (s->kind == RESOURCE_SERVER) {
        _cleanup_(resource_clear) Resource server = want_at_new(want, s->generation);

        server_made(w, &server);
    }
}

static void remove_item(World *w, const Resource *r)
{
    size_t at = (size_t)(r - w->items.items);

    resource_clear(&w->items.items[at]);
    vec_remove(&w->items, at);
}

/* A server lets go of its volumes and ports, and takes its host with it. */
static void server_gone(World *w, const char *key, int generation, const json_t *volumes)
{
    Resource *host;

    for (size_t i = 0; i < w->items.len; i++) {
        Resource *r = &w->items.items[i];

        if (r->kind == RESOURCE_VOLUME && json_list_has(volumes, r->key)) {
            set_text(r->attrs, "server", "");
            if (!streq(r->status, "deleting"))
                set_status(r, "available");
        } else if (r->kind == RESOURCE_PORT && streq(r->key, key) && r->generation == generation) {
            set_text(r->attrs, "device", "");
        }
    }
    host = world_find(w, RESOURCE_HOST, key, generation);
    if (host)
        remove_item(w, host);
}

static void gone(World *w, const Resource *r)
{
    _cleanup_free_ char *key = xstrdup(r->key), *id = xstrdup(r->id ? r->id : "");
    _cleanup_json_ json_t *volumes = json_deep_copy(json_object_get(r->attrs, "volumes"));
    ResourceKind kind = r->kind;
    int generation = r->generation;
    const Resource *host;

    remove_item(w, r);
    if (kind != RESOURCE_SERVER)
        return;
    if (!world_find(w, kind, key, generation))
        server_gone(w, key, generation, volumes);
    else if ((host = world_find_id(w, RESOURCE_HOST, id))) /* one of two of that key */
        remove_item(w, host);
}

static void not_silent(Resource *host)
{
    json_object_set_new(host->attrs, "sent_at", json_integer(0));
    json_object_set_new(host->attrs, "state_since", json_integer(0));
}

static void send(const Goal *g, World *w, Resource *host, const Step *s)
{
    _cleanup_json_ json_t *spec = plan_sent_spec_new(g, w, host, s);
    json_int_t number = json_int(host->attrs, "sent", 0) + 1;
    char hash[17] = "", rest[17] = "";

    if (spec) {
        json_t *keeps = host_keeps_new(spec);

        host_spec_hash(spec, hash);
        host_rest_hash(spec, rest);
        host_kept(json_object_get(host->attrs, "kept"), keeps);
        json_object_set_new(host->attrs, "keeps", keeps);
    }
    json_object_set_new(host->attrs, "sent", json_integer(number));
    json_object_set_new(host->attrs, "seen", json_integer(number));
    set_text(host->attrs, "sent_spec", hash);
    set_text(host->attrs, "sent_rest", rest);
    json_object_set_new(host->attrs, "sent_scheduler",
                        json_boolean(json_bool(spec, "scheduler", false)));
    json_object_set_new(host->attrs, "sent_until", json_integer(INT64_MAX)); /* as new as can be */
    set_text(host->attrs, "state", "healthy");
    not_silent(host);
}

static void unrule(Resource *group, const char *rule)
{
    json_t *rules = json_object_get(group->attrs, "rules");

    for (size_t i = json_array_size(rules); i-- > 0;) {
        if (streq(json_string_value(json_array_get(rules, i)), rule))
            json_array_remove(rules, i);
    }
}

/* The rules that were missing join those that are there. */
static void rules(const Resource *want, Resource *group)
{
    json_t *there = json_object_get(group->attrs, "rules");
    const json_t *v;
    size_t i;

    json_array_foreach (json_object_get(want->attrs, "rules"), i, v) {
        if (!json_list_has(there, json_string_value(v)))
            json_array_append_new(there, json_string(json_string_value(v)));
    }
}

/* A server and the volume that `detail` names. */
static void attach_volume(World *w, Resource *server, const char *key, bool on)
{
    json_t *volumes = json_object_get(server->attrs, "volumes");
    Resource *volume = world_find(w, RESOURCE_VOLUME, key, 0);

    for (size_t i = json_array_size(volumes); i-- > 0;) {
        if (streq(json_string_value(json_array_get(volumes, i)), key))
            json_array_remove(volumes, i);
    }
    if (on)
        json_array_append_new(volumes, json_string(key));
    if (!volume)
        return;
    set_text(volume->attrs, "server", on ? "?" : "");
    set_status(volume, on ? "in-use" : "available");
}

static void attach(World *w, const Step *s, const Resource *want, Resource *have)
{
    const char *key = have->kind == RESOURCE_INTERFACE ? "router" : "port", *to;
    bool on = s->verb == KIND_ATTACH;
    json_t *ids = json_object_get(have->attrs, "ids");
    const Resource *port;

    if (have->kind == RESOURCE_SERVER) {
        attach_volume(w, have, s->detail, on);
        return;
    }
    to = on ? json_str_or(want->attrs, key, "") : "";
    set_text(have->attrs, key, to);
    if (have->kind != RESOURCE_FLOATING_IP)
        return;
    port = on ? world_find(w, RESOURCE_PORT, to, host_current(w, to)) : NULL;
    if (!ids) {
        ids = json_object();
        json_object_set_new(have->attrs, "ids", ids);
    }
    set_text(ids, "port", port && port->id ? port->id : "");
}

/* Its root disk is new, and its first boot comes again. */
static void rebuild(World *w, const Resource *want, Resource *server)
{
    Resource *host = world_find(w, RESOURCE_HOST, server->key, server->generation);

    set_text(server->attrs, "image", json_str_or(want->attrs, "image", ""));
    set_status(server, "REBUILD");
    if (!host)
        return;
    json_decref(host->attrs);
    host->attrs = host_attrs_new();
}

static void mark(Resource *server, const char *name)
{
    json_t *metadata = json_object_get(server->attrs, "metadata");

    if (!metadata) {
        metadata = json_object();
        json_object_set_new(server->attrs, "metadata", metadata);
    }
    set_text(metadata, name, "1");
}

static void rename_to(const Resource *want, Resource *have)
{
    free(have->key);
    free(have->name);
    have->key = xstrdup(want->key);
    have->name = xstrdup(want->name);
}

void plan_predict(const Goal *g, World *w, const Step *s)
{
    const Resource *want = goal_find(g, s->kind, s->verb == KIND_RENAME ? s->detail : s->key);
    Resource *have = s->verb == KIND_CREATE ? NULL : plan_target(w, s);

    if (s->verb == KIND_CREATE) {
        create(g, w, s);
        return;
    }
    BUG_IF(!have);
    switch (s->verb) {
    case KIND_RULES:
        rules(want, have);
        break;
    case KIND_UNRULE:
        unrule(have, s->detail);
        break;
    case KIND_ATTACH:
    case KIND_DETACH:
        attach(w, s, want, have);
        break;
    case KIND_GRANT:
        json_array_append_new(json_object_get(have->attrs, "roles"), json_string(s->detail));
        break;
    case KIND_CHANGE:
        json_object_update(have->attrs, want->attrs);
        break;
    case KIND_EMPTY:
        have->used = false;
        break;
    case KIND_DELETE:
        gone(w, have);
        break;
    case KIND_SEND:
        send(g, w, have, s);
        break;
    case KIND_MARK:
        mark(have, s->detail);
        break;
    case KIND_RESIZE:
        set_text(have->attrs, "flavor", json_str_or(want->attrs, "flavor", ""));
        set_status(have, "RESIZE");
        break;
    case KIND_CONFIRM:
        set_status(have, "ACTIVE");
        break;
    case KIND_REBUILD:
        rebuild(w, want, have);
        break;
    case KIND_EXTEND:
        json_object_set(have->attrs, "size_gb", json_object_get(want->attrs, "size_gb"));
        break;
    case KIND_RETYPE:
        set_text(have->attrs, "type", json_str_or(want->attrs, "type", ""));
        break;
    case KIND_RENAME:
        rename_to(want, have);
        break;
    case KIND_CREATE:
    case KIND_VERBS:
        util_bug(__FILE__, __LINE__, "a step without a verb");
    }
}

static void host_settle(Resource *host)
{
    json_object_set_new(host->attrs, "hello", json_true());
    json_object_set(host->attrs, "seen", json_object_get(host->attrs, "sent"));
    if (json_int(host->attrs, "sent", 0))
        set_text(host->attrs, "state", "healthy");
    not_silent(host);
}

/* The transitions are those that the kinds' rows call waiting or leaving. */
static bool settle_one(World *w, Resource *r)
{
    const PlanKind *row = plan_kind(r->kind);
    State s = row->state ? row->state(r) : (State){STATE_READY};

    if (s.is == STATE_LEAVING) {
        gone(w, r);
        return true;
    }
    if (s.is == STATE_WAIT && r->kind == RESOURCE_VOLUME)
        set_status(r, json_str_or(r->attrs, "server", "")[0] && !streq(r->status, "detaching")
                          ? "in-use"
                          : "available");
    else if (s.is == STATE_WAIT)
        set_status(r, streq(r->status, "RESIZE") ? "VERIFY_RESIZE" : row->status);
    if (r->kind == RESOURCE_SERVER && s.is == STATE_WAIT) {
        Resource *host = world_find(w, RESOURCE_HOST, r->key, r->generation);

        if (host)
            set_text(host->attrs, "server_status", "ACTIVE");
    }
    /* What failed stays failed, but only as the answer to the newest bundle. */
    bool answered = json_int(r->attrs, "seen", 0) >= json_int(r->attrs, "sent", 0);
    if (r->kind == RESOURCE_HOST && !(answered && mail_failed(r)))
        host_settle(r);
    return false;
}

void plan_settle(World *w)
{
    for (size_t i = 0; i < w->items.len;) {
        size_t before = w->items.len;

        if (!settle_one(w, &w->items.items[i]) || w->items.len >= before)
            i++;
    }
}
