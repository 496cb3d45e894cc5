/* What a cloud offers, kept for an hour: it changes seldom, and costs five calls. */
#include "cloud/kind.h"
#include "cloud/login.h"
#include "io/file.h"

#define FACTS_VERSION 1
#define FACTS_LIFE HOUR
#define FACTS_MAX ((size_t)16 << 20)

/* {name: id}, the first of each name. */
static json_t *ids_new(const json_t *list)
{
    json_t *o = json_object();
    const json_t *item;
    size_t i;

    json_array_foreach (list, i, item) {
        const char *name = json_str(item, "name"), *id = json_str(item, "id");
        if (name && id && !json_object_get(o, name))
            json_object_set_new(o, name, json_string(id));
    }
    return o;
}

static json_t *flavors_new(const json_t *list)
{
    json_t *o = json_object();
    const json_t *item;
    size_t i;

    json_array_foreach (list, i, item) {
        const char *name = json_str(item, "name"), *id = json_str(item, "id");
        if (name && id)
            json_object_set_new(o, name,
                                json_make_new("{s:s, s:I, s:I}", "id", id, "vcpus",
                                              (json_int_t)json_int(item, "vcpus", 0), "ram_mb",
                                              (json_int_t)json_int(item, "ram", 0)));
    }
    return o;
}

static json_t *subnets_new(const json_t *list)
{
    json_t *o = json_object();
    const json_t *item;
    size_t i;

    json_array_foreach (list, i, item) {
        const char *name = json_str(item, "name"), *id = json_str(item, "id");
        if (name && id && !json_object_get(o, name))
            json_object_set_new(o, name,
                                json_make_new("{s:s, s:s}", "id", id, "network",
                                              json_str_or(item, "network_id", "")));
    }
    return o;
}

static json_t *names_new(const json_t *list)
{
    return kind_texts_new(list, "name");
}

static const struct {
    const char *name;
    CloudRole role;
    CloudService service;
    const char *plural, *path;
    json_t *(*read_new)(const json_t *list);
    bool may_be_denied; /* an ordinary login may not see it */
    unsigned used;      /* asked for only if the island has that bit */
} rows[] = {
    {"external", CLOUD_OF_ISLAND, CLOUD_NETWORK, "networks", "/networks?router:external=true",
     ids_new, false, 0},
    {"routers", CLOUD_OF_ISLAND, CLOUD_NETWORK, "routers", "/routers", ids_new, false,
     CLOUDS_USE_ROUTER},
    {"networks", CLOUD_OF_ISLAND, CLOUD_NETWORK, "networks", "/networks", ids_new, false,
     CLOUDS_USE_NETWORK},
    {"subnets", CLOUD_OF_ISLAND, CLOUD_NETWORK, "subnets", "/subnets", subnets_new, false,
     CLOUDS_USE_NETWORK},
    {"flavors", CLOUD_OF_ISLAND, CLOUD_COMPUTE, "flavors", "/flavors/detail", flavors_new, false,
     0},
    /* Newest first: an image is often replaced by another of its name. */
    {"images", CLOUD_OF_ISLAND, CLOUD_IMAGE, "images", "/images?status=active&sort=created_at:desc",
     ids_new, false, 0},
    {"volume_types", CLOUD_OF_ISLAND, CLOUD_VOLUME, "volume_types", "/types", names_new, false, 0},
    {"roles", CLOUD_OF_MEDIA, CLOUD_IDENTITY, "roles", "/roles", ids_new, true, 0},
};

static char *path_new(const Clouds *c, const char *cache_dir, CloudRole role)
{
    return cache_path(cache_dir, role == CLOUD_OF_ISLAND ? "facts" : "roles",
                      cloud_config(clouds_of(c, role)));
}

/* What is kept of a role's cloud; NULL if there is nothing young enough. */
static json_t *load_new(const Clouds *c, const char *cache_dir, CloudRole role, Msec now)
{
    _cleanup_free_ char *path = path_new(c, cache_dir, role);
    _cleanup_(buf_clear) Buf text = BUF_INIT(FACTS_MAX);

    if (!path || file_read(path, &text, NULL) < 0)
        return NULL;
    _cleanup_json_ json_t *j = json_parse_new(text.p, text.len, NULL);
    Msec at = json_int(j, "at", 0);
    if (json_int(j, "version", 0) != FACTS_VERSION || at > now || now - at > FACTS_LIFE)
        return NULL;
    json_t *facts = json_object_get(j, "facts");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (rows[i].role == role && (rows[i].used & c->used) &&
            !json_object_get(facts, rows[i].name))
            return NULL;
    return json_incref(facts);
}

static void save(const Clouds *c, const char *cache_dir, CloudRole role, json_t *facts, Msec now)
{
    _cleanup_free_ char *path = path_new(c, cache_dir, role);

    if (!path)
        return;
    _cleanup_json_ json_t *j = json_make_new("{s:i, s:I, s:O}", "version", FACTS_VERSION, "at",
                                             (json_int_t)now, "facts", facts);
    _cleanup_free_ char *text = json_text_new(j);
    bool kept =
        file_mkdirs(cache_dir, 0700, NULL) == 0 && file_write(path, str_of(text), 0600, NULL) == 0;
    (void)kept; /* then they are asked for again */
}

/* Asks for all of the roles whose facts[role] is NULL, in one batch. */
static int ask(const Clouds *c, json_t **facts, Err *err)
{
    Call calls[ARRAY_LEN(rows)] = {0};
    size_t row_of[ARRAY_LEN(rows)], n = 0;
    int r = 0;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (facts[rows[i].role] || (rows[i].used & ~c->used))
            continue;
        row_of[n] = i;
        calls[n++] = (Call){.cloud = clouds_of(c, rows[i].role),
                            .service = rows[i].service,
                            .kind = CALL_READ,
                            .method = "GET",
                            .plural = rows[i].plural,
                            .path = xstrdup(rows[i].path)};
    }
    (void)cloud_perform(calls, n, NULL); /* each has its own error */
    for (size_t k = 0; k < n; k++) {
        size_t i = row_of[k];
        bool denied = rows[i].may_be_denied && calls[k].err.kind == ERR_DENIED;
        if (calls[k].err.kind && !denied && r == 0) {
            err_move(err, &calls[k].err);
            r = err_wrap(err, "asking what the cloud has (%s)", rows[i].name);
        }
        if (r == 0) {
            if (!facts[rows[i].role])
                facts[rows[i].role] = json_object();
            json_object_set_new(facts[rows[i].role], rows[i].name,
                                denied ? json_object() : rows[i].read_new(calls[k].json));
        }
        call_clear(&calls[k]);
    }
    return r;
}

static json_t *who_new(Cloud *c)
{
    const char *object_url = "";

    if (cloud_endpoint(c, CLOUD_OBJECT, &object_url, NULL) < 0)
        object_url = "";
    return json_make_new("{s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "project_id", cloud_project_id(c),
                         "user_id", cloud_user_id(c), "domain_id", cloud_domain_id(c),
                         "domain_name", cloud_domain_name(c), "region", cloud_region(c), "auth_url",
                         cloud_config(c)->auth_url, "object_url", object_url);
}

static json_t *clouds_new(const Clouds *c)
{
    static const char *const names[CLOUD_ROLES] = {"island", "media", "backup"};
    json_t *o = json_object();

    for (size_t i = 0; i < CLOUD_ROLES; i++)
        if (c->of[i])
            json_object_set_new(o, names[i], who_new(c->of[i]));
    return o;
}

int world_facts(const Clouds *c, const char *cache_dir, bool fresh, Msec now, World *ret, Err *err)
{
    static const CloudRole roles[] = {CLOUD_OF_ISLAND, CLOUD_OF_MEDIA};
    json_t *facts[CLOUD_ROLES] = {NULL};
    bool kept[CLOUD_ROLES] = {false};
    int r = clouds_login(c, err);

    if (r < 0)
        return r;
    for (size_t i = 0; i < ARRAY_LEN(roles) && !fresh; i++) {
        facts[roles[i]] = load_new(c, cache_dir, roles[i], now);
        kept[roles[i]] = facts[roles[i]] != NULL;
    }
    r = ask(c, facts, err);
    if (r == 0) {
        /* Kept ones have no `asked`: it is this look's, for who would ask again. */
        json_t *all =
            json_make_new("{s:o, s:b}", "clouds", clouds_new(c), "asked", !kept[CLOUD_OF_ISLAND]);
        for (size_t i = 0; i < ARRAY_LEN(roles); i++) {
            json_object_update(all, facts[roles[i]]);
            if (!kept[roles[i]])
                save(c, cache_dir, roles[i], facts[roles[i]], now);
        }
        json_decref(ret->facts);
        ret->facts = all;
        world_link(ret);
    }
    for (size_t i = 0; i < CLOUD_ROLES; i++)
        json_decref(facts[i]);
    return r;
}
