/* From what the services say to what the engine compares: ids become keys. */
#include "cloud/kind.h"

/* An attribute that names another resource; `list`: an array of such. An id that is none of ours
 * stays as it is, and so does a key, so that all this may be done again after each look. The ids
 * are kept in {ids: {attr: ..}}: of two with one key they tell which is in use. */
static const struct {
    ResourceKind kind;
    const char *attr;
    ResourceKind to;
    bool list;
} links[] = {
    {RESOURCE_SUBNET, "network", RESOURCE_NETWORK, false},
    {RESOURCE_INTERFACE, "network", RESOURCE_NETWORK, false},
    {RESOURCE_INTERFACE, "subnet", RESOURCE_SUBNET, false},
    {RESOURCE_INTERFACE, "router", RESOURCE_ROUTER, false},
    {RESOURCE_PORT, "network", RESOURCE_NETWORK, false},
    {RESOURCE_PORT, "subnet", RESOURCE_SUBNET, false},
    {RESOURCE_PORT, "groups", RESOURCE_GROUP, true},
    {RESOURCE_FLOATING_IP, "port", RESOURCE_PORT, false},
    {RESOURCE_SERVER, "ports", RESOURCE_PORT, true},
    {RESOURCE_SERVER, "volumes", RESOURCE_VOLUME, true},
};

/* What makes a resource used: another kind whose attribute had its id. */
static const struct {
    ResourceKind kind;
    const char *attr;
    ResourceKind used;
} users[] = {
    {RESOURCE_SUBNET, "network", RESOURCE_NETWORK},
    {RESOURCE_PORT, "network", RESOURCE_NETWORK},
    {RESOURCE_INTERFACE, "network", RESOURCE_NETWORK},
    {RESOURCE_PORT, "subnet", RESOURCE_SUBNET},
    {RESOURCE_INTERFACE, "subnet", RESOURCE_SUBNET},
    {RESOURCE_INTERFACE, "router", RESOURCE_ROUTER},
    {RESOURCE_PORT, "groups", RESOURCE_GROUP},
};

static const char *key_of(const World *w, ResourceKind kind, const json_t *id)
{
    const char *text = json_string_value(id);
    const Resource *r = text && *text ? world_find_id(w, kind, text) : NULL;
    return r ? r->key : NULL;
}

static void link_attr(const World *w, Resource *r, const char *attr, ResourceKind to, bool list)
{
    json_t *value = json_object_get(r->attrs, attr), *item;
    json_t *ids = json_object_get(r->attrs, "ids");
    const char *key;
    size_t i;

    if (!ids) {
        ids = json_object();
        json_object_set_new(r->attrs, "ids", ids);
    }
    if (value && !json_object_get(ids, attr))
        json_object_set_new(ids, attr, json_deep_copy(value));
    if (!list) {
        key = key_of(w, to, value);
        if (key)
            json_object_set_new(r->attrs, attr, json_string(key));
        return;
    }
    json_array_foreach (value, i, item) {
        key = key_of(w, to, item);
        if (key)
            json_array_set_new(value, i, json_string(key));
    }
    kind_sort_texts(value);
}

static bool has_text(const json_t *list, const char *text)
{
    const json_t *item;
    size_t i;

    json_array_foreach (list, i, item) {
        if (streq(json_string_value(item), text))
            return true;
    }
    return false;
}

/* A server's ports: those that say so, and those whose address it has, since the two lists may be
 * of different moments. */
static void link_server(const World *w, Resource *server)
{
    json_t *ports = json_object_get(server->attrs, "ports");
    const json_t *addresses = json_object_get(server->attrs, "addresses");

    for (size_t i = 0; i < w->items.len; i++) {
        const Resource *p = &w->items.items[i];
        if (p->kind != RESOURCE_PORT)
            continue;
        const char *address = json_str_or(p->attrs, "address", "");
        bool mine = streq(json_str(p->attrs, "device"), server->id) ||
                    (*address && has_text(addresses, address));
        if (mine && !has_text(ports, p->key))
            json_array_append_new(ports, json_string(p->key));
    }
    kind_sort_texts(ports);
    for (size_t i = 0; i < w->items.len; i++) {
        const Resource *g = &w->items.items[i];
        if (g->kind == RESOURCE_SERVER_GROUP &&
            has_text(json_object_get(g->attrs, "members"), server->id))
            json_object_set_new(server->attrs, "group", json_string(g->key));
    }
}

/* The name of a flavor or image whose id this is. */
static void name_fact(const World *w, Resource *r, const char *attr, const char *facts)
{
    const char *id = json_str(r->attrs, attr), *name;
    json_t *fact;

    json_object_foreach (json_at(w->facts, facts), name, fact) {
        const char *its = json_is_object(fact) ? json_str(fact, "id") : json_string_value(fact);
        if (id && streq(its, id)) {
            json_object_set_new(r->attrs, attr, json_string(name));
            return;
        }
    }
}

void world_link_one(const World *w, Resource *r)
{
    for (size_t i = 0; i < ARRAY_LEN(links); i++)
        if (links[i].kind == r->kind)
            link_attr(w, r, links[i].attr, links[i].to, links[i].list);
    if (r->kind == RESOURCE_GROUP)
        rules_link(w, r->attrs);
    if (r->kind == RESOURCE_CONTAINER)
        container_link(w, r->attrs);
    if (r->kind != RESOURCE_SERVER)
        return;
    link_server(w, r);
    r->used = json_array_size(json_object_get(r->attrs, "ports")) > 0 ||
              json_array_size(json_object_get(r->attrs, "volumes")) > 0;
    name_fact(w, r, "flavor", "flavors");
    name_fact(w, r, "image", "images");
}

static void mark_used(const World *w, const Resource *by, const char *attr, ResourceKind kind)
{
    const json_t *ids = json_object_get(by->attrs, "ids"), *value = json_object_get(ids, attr);

    for (size_t i = 0; i < w->items.len; i++) {
        Resource *r = &w->items.items[i];
        if (r->kind == kind && (streq(json_string_value(value), r->id) || has_text(value, r->id)))
            r->used = true;
    }
}

void world_link(World *w)
{
    for (size_t i = 0; i < w->items.len; i++)
        if (w->items.items[i].attrs && w->items.items[i].id)
            world_link_one(w, &w->items.items[i]);
    for (size_t i = 0; i < w->items.len; i++)
        for (size_t j = 0; j < ARRAY_LEN(users); j++)
            if (users[j].kind == w->items.items[i].kind)
                mark_used(w, &w->items.items[i], users[j].attr, users[j].used);
}
