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

static bool fits(const PocketCall *c, const json_t *image)
{
    static const char *const keys[] = {"id",    "name",        "status",           "visibility",
                                       "owner", "disk_format", "container_format", NULL};
    for (size_t i = 0; keys[i]; i++) {
        const char *want = pocket_query(c, keys[i]);
        const char *have = json_str_or(image, keys[i], "");
        if (!want)
            continue;
        if (starts_with(want, "in:") ? !in_list(want + 3, have) : !streq(want, have))
            return false;
    }
    return true;
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

/* sort=key:dir,key:dir, or sort_key and sort_dir; the rows come oldest first and insertion keeps
 * equal ones in order. */
static void sort_rows(const PocketCall *c, json_t *rows)
{
    const char *sort = pocket_query(c, "sort");
    const char *key = pocket_query(c, "sort_key"), *dir = pocket_query(c, "sort_dir");
    _cleanup_free_ char *spec =
        sort ? xstrdup(sort) : xasprintf("%s:%s", key ? key : "created_at", dir ? dir : "desc");
    size_t n = strcspn(spec, ",");
    spec[n] = 0;
    char *colon = strchr(spec, ':');
    bool down = colon ? streq(colon + 1, "desc") : true;
    if (colon)
        *colon = 0;
    for (size_t i = 1; i < json_array_size(rows); i++)
        for (size_t j = i; j > 0; j--) {
            json_t *a = json_array_get(rows, j - 1), *b = json_array_get(rows, j);
            int order = compare(a, b, spec);
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
    if (text && !parse_int(text, 0, INT32_MAX, &limit)) {
        pocket_fail(POCKET_GLANCE, r, 400, NULL, "limit param must be an integer");
        return;
    }
    size_t start = 0, size = json_array_size(rows);
    while (marker && start < size && !streq(json_str(json_array_get(rows, start), "id"), marker))
        start++;
    if (marker && start++ == size) {
        pocket_fail(POCKET_GLANCE, r, 404, NULL, "Failed to find image %s to page from", marker);
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
    if (end > start && end < size) {
        _cleanup_free_ char *next =
            xasprintf("%smarker=%s", first.p, json_str(json_array_get(rows, end - 1), "id"));
        json_object_set_new(r->json, "next", json_string(next));
    }
    first.p[first.len - 1] = 0; /* the last ? or & */
    json_object_set_new(r->json, "first", json_string(first.p));
}

static void list_images(Pocket *p, const PocketCall *c, PocketReply *r)
{
    _cleanup_json_ json_t *all = store_list_new(p->store, "image", NULL);
    _cleanup_json_ json_t *rows = json_array();
    size_t i;
    json_t *image;
    json_array_foreach (all, i, image) {
        if (visible(c, image) && fits(c, image))
            json_array_append(rows, image);
    }
    sort_rows(c, rows);
    page(p, c, r, rows);
}

static void get_image(Pocket *p, const PocketCall *c, PocketReply *r)
{
    json_t *image = store_get_new(p->store, "image", c->args.items[0]);
    if (image && visible(c, image)) {
        r->status = 200;
        r->json = image;
        return;
    }
    json_decref(image);
    pocket_fail(POCKET_GLANCE, r, 404, NULL, "No image found with ID %s", c->args.items[0]);
}

const PocketRoute glance_routes[] = {
    {"GET", "/", NEED_NOTHING, get_root},
    {"GET", "/versions", NEED_NOTHING, get_versions},
    {"GET", "/v2/images", NEED_PROJECT, list_images},
    {"GET", "/v2/images/{id}", NEED_PROJECT, get_image},
    {0},
};

void glance_start(Pocket *p, bool fresh)
{
    if (!fresh)
        return;
    _cleanup_free_ char *id = pocket_uuid(true);
    _cleanup_free_ char *now = pocket_stamp(p, POCKET_GLANCE);
    _cleanup_free_ char *self = xasprintf("/v2/images/%s", id);
    _cleanup_free_ char *file = xasprintf("/v2/images/%s/file", id);
    _cleanup_json_ json_t *admin = store_find_new(p->store, "project", NULL, "admin");
    _cleanup_json_ json_t *image = json_make_new(
        "{s:s,s:s,s:s,s:s,s:b,s:b,s:s,s:s,s:i,s:i,s:i,s:I,s:s,s:s,s:s,s:s,s:s,s:s,s:[]}", "id", id,
        "name", "debian-12", "status", "active", "visibility", "public", "protected", 0,
        "os_hidden", 0, "container_format", "bare", "disk_format", "qcow2", "min_disk", 2,
        "min_ram", 256, "size", 0, "virtual_size", (json_int_t)0, "owner",
        json_str_or(admin, "id", ""), "checksum", "d41d8cd98f00b204e9800998ecf8427e", "created_at",
        now, "updated_at", now, "self", self, "file", file, "tags");
    json_object_set_new(image, "schema", json_string("/v2/schemas/image"));
    json_object_set_new(image, "os_distro", json_string("debian"));
    store_put(p->store, "image", NULL, "debian-12", image);
}
