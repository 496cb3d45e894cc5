/* A Swift container by a login. */
#include "backup/store_driver.h"

typedef struct Swift {
    Store store;
    Http *http;
    Cloud *cloud;
    char *container, *prefix, *cache_dir;
} Swift;

#define EXPIRIES_BATCH 500

static Swift *swift_of(const Store *s)
{
    return (Swift *)(uintptr_t)s;
}

/* "container/prefix and name"; to be freed. */
static char *path_of(const Store *s, const char *name)
{
    const Swift *w = swift_of(s);

    return xasprintf("%s/%s%s", w->container, w->prefix, name);
}

static int no_container(Err *err)
{
    return err_hint(err, "`atoll backup init` makes the container");
}

static int put(Store *s, const char *name, Str body, StorePut how, Err *err)
{
    _cleanup_free_ char *path = path_of(s, name);
    int r = swift_put(swift_of(s)->cloud, path,
                      &(SwiftPut){.body = body, .only_new = how == STORE_NEW}, err);

    return r == -ERR_NOT_FOUND ? no_container(err) : r;
}

static int get(Store *s, const char *name, const char *version, int64_t offset, int64_t size,
               Buf *ret, Err *err)
{
    _cleanup_free_ char *path = path_of(s, name);

    return swift_get_part(swift_of(s)->cloud, path,
                          &(SwiftGet){.version = version, .offset = offset, .size = size}, ret,
                          err);
}

/* A marker of a deletion has no bytes: it only says that a plain get finds nothing. */
static bool is_marker(const json_t *row)
{
    return strstr(json_str_or(row, "content_type", ""), "swift_versions_deleted=1") != NULL;
}

static int take_row(const Swift *w, const json_t *row, StoreItems *ret, Err *err)
{
    const char *name = json_str(row, "name"), *when = json_str(row, "last_modified");
    const char *version = json_str(row, "version_id"), *etag = json_str(row, "hash");
    Msec written;

    if (!name || !when || !time_parse(when, &written) || json_int(row, "bytes", -1) < 0 ||
        !starts_with(name, w->prefix))
        return err_set(err, ERR_CORRUPT, "the object store's list has a row without name or time");
    if (is_marker(row))
        return 0;
    vec_push(ret, (StoreItem){.name = xstrdup(name + strlen(w->prefix)),
                              .version = version ? xstrdup(version) : NULL,
                              .etag = etag && *etag ? xstrdup(etag) : NULL,
                              .bytes = json_int(row, "bytes", 0),
                              .written = written,
                              .newest = json_bool(row, "is_latest", true)});
    return 0;
}

static int list(Store *s, const char *prefix, bool versions, StoreItems *ret, Err *err)
{
    const Swift *w = swift_of(s);
    _cleanup_json_ json_t *rows = NULL;
    _cleanup_free_ char *whole = xasprintf("%s%s", w->prefix, prefix);
    const json_t *row;
    size_t i;
    int r = versions ? swift_list_versions(w->cloud, w->container, whole, &rows, err)
                     : swift_list(w->cloud, w->container, whole, &rows, err);

    if (r == -ERR_NOT_FOUND)
        return no_container(err);
    json_array_foreach (rows, i, row) {
        if (r == 0)
            r = take_row(w, row, ret, err);
    }
    return r;
}

static int remove_item(Store *s, const StoreItem *item, Err *err)
{
    _cleanup_free_ char *path = path_of(s, item->name);

    return swift_delete_version(swift_of(s)->cloud, path, item->version, err);
}

static int expiries_of(Store *s, StoreItem *items, size_t n, Err *err)
{
    StrList paths = {0};
    int64_t *at = xcalloc(n, sizeof *at);

    for (size_t i = 0; i < n; i++) {
        _cleanup_free_ char *path = path_of(s, items[i].name);
        strlist_add(&paths, path);
    }
    int r = swift_expiries(swift_of(s)->cloud, (const char *const *)paths.items, n, at, err);
    for (size_t i = 0; r == 0 && i < n; i++)
        items[i].expires = items[i].newest && at[i] != 0;
    strlist_clear(&paths);
    free(at);
    return r;
}

static int expiries(Store *s, StoreItems *items, Err *err)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < items->len; i += EXPIRIES_BATCH)
        r = expiries_of(s, &items->items[i], MIN(items->len - i, (size_t)EXPIRIES_BATCH), err);
    return r;
}

static Msec now(const Store *s)
{
    return cloud_now(swift_of(s)->cloud);
}

static void count(void *user, const HttpTrace *t)
{
    (void)t;
    store_count(user, 1);
}

/* Its own connection and login; takes *config. */
static void connect_cloud(Swift *w, CloudConfig *config)
{
    w->http = http_new(
        &(HttpOptions){.stop = w->store.options.stop, .trace = count, .trace_user = &w->store});
    w->cloud = cloud_new(config, &(CloudOptions){.http = w->http,
                                                 .cache_dir = w->cache_dir,
                                                 .stop = w->store.options.stop,
                                                 .seed = w->store.options.seed});
}

static Store *clone(const Store *s)
{
    const Swift *of = swift_of(s);
    Swift *w = NEW(Swift);
    CloudConfig config;

    store_init_clone(&w->store, s);
    w->container = xstrdup(of->container);
    w->prefix = xstrdup(of->prefix);
    w->cache_dir = of->cache_dir ? xstrdup(of->cache_dir) : NULL;
    cloud_config_copy(cloud_config(of->cloud), &config);
    connect_cloud(w, &config);
    return &w->store;
}

static void free_swift(Store *s)
{
    Swift *w = swift_of(s);

    (void)cloud_free(w->cloud);
    (void)http_free(w->http);
    free(w->container);
    free(w->prefix);
    free(w->cache_dir);
}

int store_swift(const StoreSwift *s, const StoreOptions *o, Store **ret, Err *err)
{
    static const StoreDriver driver = {.put = put,
                                       .clone = clone,
                                       .free = free_swift,
                                       .get = get,
                                       .list = list,
                                       .remove = remove_item,
                                       .expiries = expiries,
                                       .now = now};
    CloudConfig config;

    if (*s->prefix && !ends_with(s->prefix, "/"))
        return err_set(err, ERR_CONFIG, "the prefix %s does not end in a slash", s->prefix);
    Swift *w = NEW(Swift);
    store_init(&w->store, &driver, o,
               xasprintf("container %s%s%s of %s", s->container, *s->prefix ? "/" : "", s->prefix,
                         s->config->name ? s->config->name : s->config->auth_url));
    w->container = xstrdup(s->container);
    w->prefix = xstrdup(s->prefix);
    w->cache_dir = s->cache_dir ? xstrdup(s->cache_dir) : NULL;
    cloud_config_copy(s->config, &config);
    connect_cloud(w, &config);
    *ret = &w->store;
    return 0;
}
