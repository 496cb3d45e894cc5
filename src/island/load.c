/* From text to an Island: the walk over the table. */
#include "island/environment.h"
#include "island/search.h"

char *load_path(const IslandLoad *l, const char *path, const char *key)
{
    const char *star = strchr(path, '*');
    _cleanup_free_ char *outer = NULL;
    size_t n;

    outer = star && l->tier
                ? xasprintf("%.*s%s%s", (int)(star - path), path, l->tier->name, star + 1)
                : xstrdup(path);
    n = strlen(outer);
    if (key && n && outer[n - 1] == '*')
        return xasprintf("%.*s%s", (int)n - 1, outer, key);
    return xstrdup(outer);
}

static const IslandRow *row_of(const char *path, const char *key)
{
    for (const IslandRow *row = island_rows; row->path; row++) {
        const char *name = yaml_row_child(row->path, path);

        if (name && (streq(name, key) || streq(name, "*")))
            return row;
    }
    return NULL;
}

static int unknown_key(const IslandLoad *l, const char *path, const YamlNode *n, Err *err)
{
    _cleanup_free_ char *where = load_path(l, path, NULL);
    const char *names[32] = {0};
    size_t len = 0;

    for (const IslandRow *row = island_rows; row->path && len + 1 < ARRAY_LEN(names); row++) {
        const char *name = yaml_row_child(row->path, path);

        if (name)
            names[len++] = name;
    }
    return yaml_unknown_key(l->yaml, n, where, names, err);
}

/* What a row means that the file does not have. */
static int load_absent(IslandLoad *l, const IslandRow *row, const YamlNode *map, Err *err)
{
    YamlNode node = {.type = YAML_SCALAR, .line = map->line, .column = map->column};
    int r;

    if (!row->def) {
        _cleanup_free_ char *path = load_path(l, row->path, NULL);

        return yaml_missing(l->yaml, map, &(YamlRow){path, row->type, row->allowed}, err);
    }
    if (!row->def[0] || row->def[0] == '<')
        return 0;
    if (streq(row->def, "{}")) {
        node.type = YAML_MAP;
        return row->read(l, row, &node, err);
    }
    node.text = xstrdup(row->def);
    r = row->read(l, row, &node, err);
    free(node.text);
    return r;
}

/* For what only the cloud can tell to be wrong (preflight). */
static void remember_place(IslandLoad *l, const IslandRow *row, const YamlNode *n)
{
    _cleanup_free_ char *path = load_path(l, row->path, n->key);
    _cleanup_free_ char *place = xasprintf("%d:%d", n->line, n->column);

    if (!l->island->places)
        l->island->places = json_object();
    json_object_set_new(l->island->places, path, json_string(place));
}

int load_map(IslandLoad *l, const char *path, const YamlNode *map, Err *err)
{
    int r;

    for (size_t i = 0; i < map->len; i++) {
        const YamlNode *n = &map->items[i];
        const IslandRow *row = row_of(path, n->key);

        if (!row)
            return unknown_key(l, path, n, err);
        if ((r = row->read(l, row, n, err)) < 0)
            return r;
        remember_place(l, row, n);
    }
    for (const IslandRow *row = island_rows; row->path; row++) {
        const char *name = yaml_row_child(row->path, path);

        if (!name || streq(name, "*") || yaml_get(map, name))
            continue;
        if ((r = load_absent(l, row, map, err)) < 0)
            return r;
    }
    return 0;
}

/* Defaults that depend on other keys, and no NULL where the header promises text. */
static void fill_in(Island *i)
{
    if (!i->media.container)
        i->media.container = xasprintf("%s-media", i->name);
    if (!i->backup.container)
        i->backup.container = xasprintf("%s-backup", i->name);
    i->backup.on = json_object_get(i->places, "backup") != NULL;
    if (!i->media.isolation)
        i->media.isolation = xstrdup(i->media.cloud ? "project" : "none");
    if (!i->network.cidr)
        i->network.cidr = xstrdup(island_is_pocket(i) ? "127.77.0.0/24" : "10.77.0.0/24");
    char **texts[] = {&i->network.external,
                      &i->network.router,
                      &i->network.name,
                      &i->network.subnet,
                      &i->edge.acme_email,
                      &i->edge.acme_server,
                      &i->edge.acme_ca,
                      &i->edge.acme_ca_pem,
                      &i->edge.tls_certificate,
                      &i->edge.tls_key,
                      &i->media.cloud,
                      &i->media.url,
                      &i->media.user,
                      &i->media.user_id,
                      &i->media.password_file,
                      &i->backup.cloud,
                      &i->backup.media_cloud,
                      &i->backup.media_container,
                      &i->text,
                      &i->environment};
    for (size_t k = 0; k < ARRAY_LEN(texts); k++) {
        if (!*texts[k])
            *texts[k] = xstrdup("");
    }
    if (!i->search.image)
        i->search.image = xstrdup(SEARCH_IMAGE);
    if (!i->search.version)
        i->search.version = xstrdup(SEARCH_VERSION);
    for (size_t k = 0; k < i->n_tiers; k++) {
        if (!i->tiers[k].volume_type)
            i->tiers[k].volume_type = xstrdup("");
        if (i->tiers[k].scale.on)
            i->tiers[k].count = i->tiers[k].scale.max;
    }
}

static int load_keys(IslandLoad *l, const Environment *e, Err *err)
{
    Island *i = l->island;
    int r = load_map(l, "", &l->yaml->root, err);

    if (r == 0 && e->name)
        r = environment_finish(l, e, err);
    if (r < 0)
        return r;
    if (i->edge.https < 0)
        i->edge.https = i->edge.tls_certificate || i->edge.acme_email ? 443 : 0;
    fill_in(i);
    return check_island(l, err);
}

static int load_yaml(const char *path, Str text, Yaml *yaml, const char *environment, Island *ret,
                     Err *err)
{
    Island island = {.path = xstrdup(path),
                     .text = xstrndup(text.p, text.n),
                     .environment = environment ? xstrdup(environment) : NULL,
                     .edge.https = -1};
    IslandLoad l = {.yaml = yaml, .island = &island};
    Environment e = {.name = environment};
    int r;

    if (yaml->root.type != YAML_MAP) {
        r = yaml_error(yaml, &yaml->root, err, "this is not an island file: no keys");
    } else {
        r = environment ? environment_overlay(yaml, &e, err) : 0;
        if (r == 0)
            r = load_keys(&l, &e, err);
    }
    if (r < 0) {
        island_clear(&island);
        return r;
    }
    *ret = island;
    return 0;
}

int island_parse_as(const char *name, Str text, const char *environment, Island *ret, Err *err)
{
    _cleanup_(yaml_clear) Yaml yaml = {0};
    int r = yaml_parse(name, text, &yaml, err);

    return r < 0 ? r : load_yaml(name, text, &yaml, environment, ret, err);
}

int island_parse(const char *name, Str text, Island *ret, Err *err)
{
    return island_parse_as(name, text, NULL, ret, err);
}

int island_load(const char *path, const char *environment, Island *ret, Err *err)
{
    _cleanup_(buf_clear) Buf text = BUF_INIT(YAML_MAX_BYTES);
    int r = yaml_read(path, &text, err);

    if (r == -ERR_NOT_FOUND)
        return err_hint(err, "`atoll init` writes a first one");
    return r < 0 ? r : island_parse_as(path, buf_as_str(&text), environment, ret, err);
}

static void spans_clear(QueueSpans *spans)
{
    for (size_t i = 0; i < spans->len; i++)
        free(spans->items[i].queue);
    vec_clear(spans);
}

static void tier_clear(Tier *t)
{
    free(t->name);
    free(t->flavor);
    free(t->volume_type);
    free(t->scale.policy);
    spans_clear(&t->scale.queues);
    spans_clear(&t->scale.drain);
    vec_clear(&t->scale.calendar);
    strlist_clear(&t->queues);
}

void island_clear(Island *i)
{
    char *texts[] = {i->path,
                     i->text,
                     i->environment,
                     i->name,
                     i->domain,
                     i->cloud,
                     i->image,
                     i->release.image,
                     i->release.version,
                     i->release.tree,
                     i->release.stream,
                     i->search.image,
                     i->search.version,
                     i->owner.name,
                     i->owner.email,
                     i->network.external,
                     i->network.cidr,
                     i->network.router,
                     i->network.name,
                     i->network.subnet,
                     i->edge.tls_certificate,
                     i->edge.tls_key,
                     i->media.cloud,
                     i->media.container,
                     i->media.isolation,
                     i->media.role,
                     i->media.user,
                     i->media.user_id,
                     i->media.password_file,
                     i->media.url,
                     i->backup.cloud,
                     i->backup.container,
                     i->backup.media_cloud,
                     i->backup.media_container,
                     i->edge.acme_email,
                     i->edge.acme_server,
                     i->edge.acme_ca,
                     i->edge.acme_ca_pem};

    for (size_t k = 0; k < ARRAY_LEN(texts); k++)
        free(texts[k]);
    for (size_t k = 0; k < i->n_tiers; k++)
        tier_clear(&i->tiers[k]);
    for (size_t k = 0; k < i->env.len; k++) {
        free(i->env.items[k].name);
        free(i->env.items[k].value);
        free(i->env.items[k].secret);
    }
    vec_clear(&i->env);
    for (size_t k = 0; k < i->control.logins.len; k++) {
        free(i->control.logins.items[k].cloud);
        free(i->control.logins.items[k].login);
    }
    vec_clear(&i->control.logins);
    for (size_t k = 0; k < i->moved.len; k++) {
        free(i->moved.items[k].to);
        free(i->moved.items[k].from);
    }
    vec_clear(&i->moved);
    strlist_clear(&i->network.dns);
    strlist_clear(&i->ssh_keys);
    json_decref(i->places);
    *i = (Island){0};
}
