/* Glance v2, as much of it as someone who starts servers needs: images can be found; they have no
 * content. */
#include "pocket/core.h"

static json_t *version_new(Pocket *p, const char *id, const char *status)
{
    _cleanup_free_ char *base = pocket_url(p, POCKET_GLANCE);
    _cleanup_free_ char *href = xasprintf("%s/v2/", base);
    return json_make_new("{s:s,s:s,s:[{s:s,s:s}]}", "id", id, "status", status, "links", "rel",
                         "self", "href", href);
}

static void versions(Pocket *p, PocketReply *r, int status)
{
    static const char *const older[] = {"v2.13", "v2.9", "v2.7", "v2.6", "v2.5",
                                        "v2.4",  "v2.3", "v2.2", "v2.1", "v2.0"};
    json_t *list = json_array();
    json_array_append_new(list, version_new(p, "v2.15", "CURRENT"));
    for (size_t i = 0; i < ARRAY_LEN(older); i++)
        json_array_append_new(list, version_new(p, older[i], "SUPPORTED"));
    r->status = status;
    r->json = json_make_new("{s:o}", "versions", list);
}

static void get_root(Pocket *p, const PocketCall *c, PocketReply *r)
{
    (void)c;
    versions(p, r, 300);
}

static void get_versions(Pocket *p, const PocketCall *c, PocketReply *r)
{
    (void)c;
    versions(p, r, 200);
}

static bool visible(const PocketCall *c, const json_t *image)
{
    return streq(json_str(image, "visibility"), "public") ||
           streq(json_str(image, "owner"), c->user->project_id) ||
           pocket_has_role(c->user, "admin");
}

/* "in:a,b" with quotes around an item that has a comma in it. */
static bool in_list(const char *list, const char *value)
{
    while (*list) {
        bool quoted = *list == '"';
        list += quoted;
        size_t n = strcspn(list, quoted ? "\"" : ",");
        if (n == strlen(value) && memcmp(list, value, n) == 0)
            return true;
        list += n;
        list += strspn(list, "\",");
    }
    return false;
}

static bool tagged(const json_t *image, const char *tag)
{
    size_t i;
    json_t *item;
    json_array_foreach (json_object_get(image, "tags"), i, item) {
        if (streq(json_string_value(item), tag))
            return true;
    }
    return false;
}

/* One pair of the query. Every name that means nothing else is a property. */
static bool fits_one(const json_t *image, const char *name, const char *want)
{
    static const char *const others[] = {"limit",    "marker",        "sort",
                                         "sort_key", "sort_dir",      "size_min",
                                         "size_max", "member_status", "os_hidden"};
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        if (streq(name, others[i]))
            return true;
    if (streq(name, "tag"))
        return tagged(image, want);
    const json_t *have = json_object_get(image, name);
    if (json_is_boolean(have))
        return streq(want, json_is_true(have) ? "true" : "false");
    const char *text = json_string_value(have);
    if (!text)
        return false;
    return starts_with(want, "in:") ? in_list(want + 3, text) : streq(want, text);
}

static bool fits(const PocketCall *c, const json_t *image)
{
    const char *name;
    json_t *value;
    json_object_foreach (c->query, name, value) {
        if (!fits_one(image, name, pocket_query(c, name)))
            return false;
    }
    return true;
}

static void bad_request(PocketReply *r, const char *words, const char *value)
{
    pocket_fail(POCKET_GLANCE, r, 400, NULL, "%s%s", words, value);
}

/* One of the sort keys: texts by their bytes, numbers by their value, as the database would. */
static int compare(const json_t *a, const json_t *b, const char *key)
{
    const json_t *x = json_object_get(a, key), *y = json_object_get(b, key);
    if (json_is_integer(x) && json_is_integer(y))
        return (json_integer_value(x) > json_integer_value(y)) -
               (json_integer_value(x) < json_integer_value(y));
    const char *s = json_string_value(x), *t = json_string_value(y);
    return strcmp(s ? s : "", t ? t : "");
}

/* The first key of sort=key:dir,key:dir, or of sort_key and sort_dir. False: there is no such key
 * or direction, and the reply is filled. */
static bool sort_of(const PocketCall *c, char **ret_key, bool *ret_down, PocketReply *r)
{
    static const char *const keys[] = {"name", "status", "container_format", "disk_format",
                                       "size", "id",     "created_at",       "updated_at"};
    const char *sort = pocket_query(c, "sort");
    const char *key = pocket_query(c, "sort_key"), *dir = pocket_query(c, "sort_dir");
    _cleanup_free_ char *spec =
        sort ? xstrdup(sort) : xasprintf("%s:%s", key ? key : "created_at", dir ? dir : "desc");
    spec[strcspn(spec, ",")] = 0;
    char *colon = strchr(spec, ':');
    if (colon)
        *colon++ = 0;
    if (colon && !streq(colon, "asc") && !streq(colon, "desc")) {
        bad_request(r, "Invalid sort direction: ", colon);
        return false;
    }
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        if (streq(spec, keys[i])) {
            *ret_key = TAKE(spec);
            *ret_down = !colon || streq(colon, "desc");
            return true;
        }
    bad_request(r, "Invalid sort key: ", spec);
    return false;
}

/* The rows come oldest first and insertion keeps equal ones in order. */
static void sort_rows(json_t *rows, const char *key, bool down)
{
    for (size_t i = 1; i < json_array_size(rows); i++)
        for (size_t j = i; j > 0; j--) {
            json_t *a = json_array_get(rows, j - 1), *b = json_array_get(rows, j);
            int order = compare(a, b, key);
            if (down ? order >= 0 : order <= 0)
                break;
            json_incref(a);
            json_array_set(rows, j - 1, b);
            json_array_set_new(rows, j, a);
        }
}

/* The query without its marker. */
static void add_query(const PocketCall *c, Buf *b)
{
    const char *name;
    json_t *value;
    json_object_foreach (c->query, name, value) {
        if (streq(name, "marker") || !json_is_string(value))
            continue;
        buf_url_quote(b, name, "");
        buf_char(b, '=');
        buf_url_quote(b, json_string_value(value), "");
        buf_char(b, '&');
    }
}

static void page(Pocket *p, const PocketCall *c, PocketReply *r, json_t *rows)
{
    int64_t max = p->page_max > 0 ? p->page_max : 1000;
    int64_t limit = MIN(25, max); /* Glance's own default */
    const char *text = pocket_query(c, "limit"), *marker = pocket_query(c, "marker");
    if (text && !parse_int(text, INT32_MIN, INT32_MAX, &limit)) {
        bad_request(r, "limit param must be an integer", "");
        return;
    }
    if (limit < 0) {
        bad_request(r, "limit param must be positive", "");
        return;
    }
    size_t start = 0, size = json_array_size(rows);
    while (marker && start < size && !streq(json_str(json_array_get(rows, start), "id"), marker))
        start++;
    if (marker && start++ == size) {
        bad_request(r, "Invalid marker: ", marker);
        return;
    }
    json_t *images = json_array();
    size_t end = MIN(size, start + (size_t)MIN(limit, max));
    for (size_t i = start; i < end; i++)
        json_array_append(images, json_array_get(rows, i));
    _cleanup_(buf_clear) Buf first = BUF_INIT(BUF_MAX_LINE);
    buf_str(&first, "/v2/images?");
    add_query(c, &first);
    r->status = 200;
    r->json = json_make_new("{s:o,s:s}", "images", images, "schema", "/v2/schemas/images");
    /* A full page names a next one, even if nothing follows. */
    if (end > start && end - start == (size_t)MIN(limit, max)) {
        _cleanup_free_ char *next =
            xasprintf("%smarker=%s", first.p, json_str(json_array_get(rows, end - 1), "id"));
        json_object_set_new(r->json, "next", json_string(next));
    }
    first.p[first.len - 1] = 0; /* the last ? or & */
    json_object_set_new(r->json, "first", json_string(first.p));
}

static void list_images(Pocket *p, const PocketCall *c, PocketReply *r)
{
    _cleanup_free_ char *key = NULL;
    bool down;
    if (!sort_of(c, &key, &down, r))
        return;
    _cleanup_json_ json_t *all = store_list_new(p->store, "image", NULL);
    _cleanup_json_ json_t *rows = json_array();
    size_t i;
    json_t *image;
    json_array_foreach (all, i, image) {
        if (visible(c, image) && fits(c, image))
            json_array_append(rows, image);
    }
    sort_rows(rows, key, down);
    page(p, c, r, rows);
}

/* The image of the path if the caller may see it; else NULL and a 404. */
static json_t *image_get_new(Pocket *p, const PocketCall *c, PocketReply *r)
{
    json_t *image = store_get_new(p->store, "image", c->args.items[0]);
    if (image && visible(c, image))
        return image;
    json_decref(image);
    pocket_fail(POCKET_GLANCE, r, 404, NULL, "No image found with ID %s", c->args.items[0]);
    return NULL;
}

static void get_image(Pocket *p, const PocketCall *c, PocketReply *r)
{
    json_t *image = image_get_new(p, c, r);
    if (!image)
        return;
    r->status = 200;
    r->json = image;
}

/* `name` and `owner` may be NULL. */
static json_t *image_new(Pocket *p, const char *name, const char *owner)
{
    _cleanup_free_ char *id = pocket_uuid(true);
    _cleanup_free_ char *now = pocket_stamp(p, POCKET_GLANCE);
    _cleanup_free_ char *self = xasprintf("/v2/images/%s", id);
    _cleanup_free_ char *file = xasprintf("/v2/images/%s/file", id);
    json_t *image = json_make_new(
        "{s:s,s:s,s:s,s:b,s:b,s:n,s:n,s:i,s:i,s:n,s:n,s:n,s:s,s:s,s:s,s:s,s:[]}", "id", id,
        "status", "queued", "visibility", "shared", "protected", 0, "os_hidden", 0,
        "container_format", "disk_format", "min_disk", 0, "min_ram", 0, "size", "virtual_size",
        "checksum", "created_at", now, "updated_at", now, "self", self, "file", file, "tags");
    json_object_set_new(image, "name", name ? json_string(name) : json_null());
    json_object_set_new(image, "owner", json_string(owner ? owner : ""));
    json_object_set_new(image, "schema", json_string("/v2/schemas/image"));
    return image;
}

/* Without a content it stays queued: nobody can upload one. */
static void create_image(Pocket *p, const PocketCall *c, PocketReply *r)
{
    static const char *const keys[] = {"container_format", "disk_format", "min_disk", "min_ram",
                                       "tags"};
    if (!json_is_object(c->body)) {
        bad_request(r, "Expecting to be sent an object", "");
        return;
    }
    json_t *image = image_new(p, json_str(c->body, "name"), c->user->project_id);
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        if (json_object_get(c->body, keys[i]))
            json_object_set(image, keys[i], json_object_get(c->body, keys[i]));
    store_put(p->store, "image", c->user->project_id, json_str_or(image, "name", ""), image);
    r->status = 201;
    r->json = image;
}

static void delete_image(Pocket *p, const PocketCall *c, PocketReply *r)
{
    _cleanup_json_ json_t *image = image_get_new(p, c, r);
    if (!image)
        return;
    if (!streq(json_str(image, "owner"), c->user->project_id) &&
        !pocket_has_role(c->user, "admin")) {
        pocket_fail(POCKET_GLANCE, r, 403, NULL, "You are not permitted to delete this image.");
        return;
    }
    (void)store_delete(p->store, "image", c->args.items[0]);
    r->status = 204;
}

const PocketRoute glance_routes[] = {
    {"GET", "/", NEED_NOTHING, get_root},
    {"GET", "/versions", NEED_NOTHING, get_versions},
    {"GET", "/v2/images", NEED_PROJECT, list_images},
    {"POST", "/v2/images", NEED_MEMBER, create_image},
    {"GET", "/v2/images/{id}", NEED_PROJECT, get_image},
    {"DELETE", "/v2/images/{id}", NEED_MEMBER, delete_image},
    {0},
};

static void seed(Pocket *p, const char *name, const char *owner)
{
    _cleanup_json_ json_t *image = image_new(p, name, owner);
    _cleanup_json_ json_t *more =
        json_make_new("{s:s,s:s,s:s,s:s,s:i,s:i,s:i,s:i,s:s,s:s}", "status", "active", "visibility",
                      "public", "container_format", "bare", "disk_format", "qcow2", "min_disk", 2,
                      "min_ram", 256, "size", 0, "virtual_size", 0, "checksum",
                      "d41d8cd98f00b204e9800998ecf8427e", "os_distro", "debian");
    json_object_update(image, more);
    store_put(p->store, "image", NULL, name, image);
}

/* Two, so that one may replace the other: both stand for what pocket's own machine runs. */
void glance_start(Pocket *p, bool fresh)
{
    if (!fresh)
        return;
    _cleanup_json_ json_t *admin = store_find_new(p->store, "project", NULL, "admin");
    const char *owner = json_str_or(admin, "id", "");
    seed(p, "debian-13", owner);
    seed(p, "debian-12", owner);
}
