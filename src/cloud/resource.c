#include "cloud/resource.h"
#include "base/buf.h"

#include <ctype.h>
#include <stdio.h>

/* `words` is how many parts a key has: "web" or "web.0". It makes names read back exactly: the
 * island `reef` never takes `reef-web-db-0`, which is the server db.0 of the island `reef-web`. */
static const struct {
    ResourceRow row;
    int words;
    bool prefixed; /* the prefix is part of the name */
} rows[RESOURCE_KINDS] = {
    [RESOURCE_NETWORK] = {{"network", "network", true}, 1, true},
    [RESOURCE_SUBNET] = {{"subnet", "subnet", true}, 1, true},
    [RESOURCE_ROUTER] = {{"router", "router", true}, 1, true},
    [RESOURCE_GROUP] = {{"security group", "group", true}, 1, true},
    [RESOURCE_INTERFACE] = {{"router interface", "interface", true}, 1, true},
    [RESOURCE_PORT] = {{"port", "port", true}, 2, true},
    [RESOURCE_FLOATING_IP] = {{"floating IP", "ip", false}, 1, true},
    [RESOURCE_SERVER_GROUP] = {{"server group", "servergroup", true}, 1, true},
    [RESOURCE_VOLUME] = {{"volume", "volume", true}, 2, true},
    [RESOURCE_USER] = {{"user", "user", true}, 1, true},
    [RESOURCE_CONTAINER] = {{"container", "container", true}, 1, false},
    [RESOURCE_SERVER] = {{"server", "server", true}, 2, false},
    [RESOURCE_HOST] = {{"host", "host", false}, 2, true},
};

const ResourceRow *resource_row(ResourceKind kind)
{
    BUG_IF(kind >= RESOURCE_KINDS);
    return &rows[kind].row;
}

char *resource_marker(const char *island)
{
    return xasprintf("atoll:%s", island);
}

static void add_prefix(Buf *b, const char *island, ResourceKind kind)
{
    buf_printf(b, "%s-", island);
    if (rows[kind].prefixed)
        buf_printf(b, "%s-", rows[kind].row.prefix);
}

char *resource_name(const char *island, ResourceKind kind, const char *key, int generation)
{
    Buf b = BUF_INIT(BUF_MAX_LINE);

    add_prefix(&b, island, kind);
    for (const char *p = key; *p; p++)
        buf_char(&b, (char)(*p == '.' ? '-' : *p));
    if (generation > 1)
        buf_printf(&b, "-g%d", generation);
    return buf_detach(&b);
}

/* A tier's name, and the like: [a-z][a-z0-9]*. */
static bool is_word(Str s)
{
    if (s.n == 0 || !islower((unsigned char)s.p[0]))
        return false;
    for (size_t i = 1; i < s.n; i++)
        if (!islower((unsigned char)s.p[i]) && !isdigit((unsigned char)s.p[i]))
            return false;
    return true;
}

/* As printf writes it: no sign, no leading zero. */
static bool is_number(Str s, int64_t min, int64_t *ret)
{
    _cleanup_free_ char *text = xstrndup(s.p, s.n);
    if (s.n == 0 || !isdigit((unsigned char)s.p[0]) || (s.n > 1 && s.p[0] == '0'))
        return false;
    return parse_int(text, min, INT32_MAX, ret);
}

bool resource_parse_name(const char *island, ResourceKind kind, const char *name, char **ret_key,
                         int *ret_generation)
{
    _cleanup_(buf_clear) Buf prefix = BUF_INIT(BUF_MAX_LINE);
    int64_t number = 0, generation = 1;
    Str word, part;

    add_prefix(&prefix, island, kind);
    if (!name || !starts_with(name, prefix.p))
        return false;
    Str rest = str_of(name + prefix.len);
    if (!str_next(&rest, '-', &word) || !is_word(word))
        return false;
    bool two = rows[kind].words == 2;
    if (two && (!str_next(&rest, '-', &part) || !is_number(part, 0, &number)))
        return false;
    if (str_next(&rest, '-', &part)) {
        if (part.n < 2 || part.p[0] != 'g' ||
            !is_number((Str){part.p + 1, part.n - 1}, 2, &generation))
            return false;
        if (str_next(&rest, '-', &part))
            return false;
    }
    *ret_key = two ? xasprintf("%.*s.%lld", (int)word.n, word.p, (long long)number)
                   : xstrndup(word.p, word.n);
    *ret_generation = (int)generation;
    if (kind == RESOURCE_VOLUME) {
        _cleanup_free_ char *server = *ret_key;

        *ret_key = volume_key_new(server, (int)generation);
        *ret_generation = 1;
    }
    return true;
}

char *volume_key_new(const char *server, int generation)
{
    return generation > 1 ? xasprintf("%s-g%d", server, generation) : xstrdup(server);
}

int volume_generation(const char *key)
{
    const char *dash = strchr(key, '-');
    int64_t n;

    return dash && dash[1] == 'g' && parse_int(dash + 2, 2, INT32_MAX, &n) ? (int)n : 1;
}

bool volume_is_of(const char *key, const char *other)
{
    size_t n = strcspn(key, "-");

    return n == strcspn(other, "-") && strncmp(key, other, n) == 0;
}

Resource *world_add(World *w, Resource r)
{
    if (r.generation < 1)
        r.generation = 1;
    vec_push(&w->items, r);
    return vec_last(&w->items);
}

Resource *world_find(const World *w, ResourceKind kind, const char *key, int generation)
{
    Resource *found = NULL;

    for (size_t i = 0; i < w->items.len; i++) {
        Resource *r = &w->items.items[i];
        if (r->kind != kind || !streq(r->key, key))
            continue;
        if (generation > 0 && r->generation == generation)
            return r;
        if (generation <= 0 && (!found || r->generation > found->generation))
            found = r;
    }
    return found;
}

Resource *world_find_id(const World *w, ResourceKind kind, const char *id)
{
    for (size_t i = 0; i < w->items.len; i++) {
        Resource *r = &w->items.items[i];
        if (r->kind == kind && r->id && streq(r->id, id))
            return r;
    }
    return NULL;
}

static char *copy_text(const char *s)
{
    return s ? xstrdup(s) : NULL;
}

Resource resource_copy(const Resource *r)
{
    Resource c = *r;

    c.key = copy_text(r->key);
    c.name = copy_text(r->name);
    c.id = copy_text(r->id);
    c.status = copy_text(r->status);
    c.fault = copy_text(r->fault);
    c.attrs = json_deep_copy(r->attrs);
    return c;
}

void resource_clear(Resource *r)
{
    free(r->key);
    free(r->name);
    free(r->id);
    free(r->status);
    free(r->fault);
    json_decref(r->attrs);
    *r = (Resource){0};
}

bool server_leaving(const Resource *server)
{
    return streq(server->status, "DELETED") || streq(json_str(server->attrs, "task"), "deleting");
}

World world_copy(const World *w)
{
    World c = {.facts = json_deep_copy(w->facts), .mail = json_incref(w->mail), .now = w->now};

    for (size_t i = 0; i < w->items.len; i++)
        vec_push(&c.items, resource_copy(&w->items.items[i]));
    return c;
}

void world_clear(World *w)
{
    for (size_t i = 0; i < w->items.len; i++)
        resource_clear(&w->items.items[i]);
    vec_clear(&w->items);
    json_decref(w->facts);
    json_decref(w->mail);
    w->facts = w->mail = NULL;
}
