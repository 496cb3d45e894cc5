/* Swift containers: made and changed by headers, and emptied. */
#include "cloud/answer.h"
#include "cloud/kind.h"

#include <strings.h>

#define EMPTY_PAGE 1000
#define EMPTY_MOST 5000
#define EMPTY_ROUNDS 100
#define CORS_MAX_AGE "3600"
#define META_MARKER "X-Container-Meta-Atoll"
#define META_KEY "X-Container-Meta-Atoll-Key"
#define META_TEMP_URL "X-Container-Meta-Temp-URL-Key"
#define META_ORIGIN "X-Container-Meta-Access-Control-Allow-Origin"
#define META_MAX_AGE "X-Container-Meta-Access-Control-Max-Age"

static char *path_of(const char *name)
{
    Buf b = BUF_INIT(BUF_MAX_LINE);
    buf_char(&b, '/');
    buf_url_quote(&b, name, NULL);
    return buf_detach(&b);
}

/* A header, or (in a change) its removal: "X-Container-Read" becomes "X-Remove-Container-Read". */
static void set_header(StrList *l, bool change, const char *name, const char *value)
{
    if (value && *value)
        strlist_addf(l, "%s: %s", name, value);
    else if (change)
        strlist_addf(l, "X-Remove-%s: x", name + strlen("X-"));
}

/* "project:user,project:user": ids, since names match in the default domain only (openstack.md b).
 * NULL with *err. */
static char *write_acl_new(const KindTask *t, Err *err)
{
    Buf b = BUF_INIT(BUF_MAX_LINE);
    const json_t *key;
    size_t i;

    json_array_foreach (json_object_get(t->want->attrs, "write"), i, key) {
        const char *id = kind_id(t, RESOURCE_USER, json_string_value(key), err);
        if (!id) {
            buf_clear(&b);
            return NULL;
        }
        buf_printf(&b, "%s%s:%s", i ? "," : "", cloud_project_id(t->cloud), id);
    }
    return buf_detach(&b);
}

static char *read_acl_new(const json_t *attrs)
{
    Buf b = BUF_INIT(BUF_MAX_LINE);
    const json_t *word;
    size_t i;

    json_array_foreach (json_object_get(attrs, "read"), i, word) {
        buf_printf(&b, "%s%s", i ? "," : "", json_string_value(word));
    }
    return buf_detach(&b);
}

static int set_headers(const KindTask *t, StrList *l, Err *err)
{
    const json_t *a = t->want->attrs;
    bool change = t->verb == KIND_CHANGE, versions = json_bool(a, "versions", false);
    bool temp_url = json_bool(a, "temp_url", false);
    const char *cors = json_str_or(a, "cors", "");
    _cleanup_free_ char *write = write_acl_new(t, err), *read = read_acl_new(a);
    const Secret *key = t->secrets ? t->secrets->temp_url_key : NULL;

    if (!write)
        return -ERR_BUG;
    if (temp_url && !key)
        return err_set(err, ERR_BUG, "no Temp-URL key for the container %s", t->want->name);
    set_header(l, false, META_MARKER, t->marker);
    set_header(l, false, META_KEY, t->want->key);
    set_header(l, change, "X-Container-Read", read);
    set_header(l, change, "X-Container-Write", write);
    set_header(l, change, META_ORIGIN, cors);
    set_header(l, change, META_MAX_AGE, *cors ? CORS_MAX_AGE : "");
    set_header(l, change, META_TEMP_URL, temp_url ? secret_expose(key).p : "");
    if (versions || (change && json_bool(t->have->attrs, "versions", false)))
        set_header(l, false, "X-Versions-Enabled", versions ? "true" : "false");
    return 0;
}

/* PUT also changes one that is there, so it may be repeated. */
static int put_call(const KindTask *t, Call *ret, Err *err)
{
    _cleanup_free_ char *path = path_of(t->want->name);
    int r = set_headers(t, &ret->headers, err);

    if (r < 0)
        return r;
    return kind_request(ret, CALL_IDEMPOTENT, t->verb == KIND_CREATE ? "PUT" : "POST", "%s", path);
}

static int container_call(const KindTask *t, Call *ret, Err *err)
{
    if (t->verb == KIND_CREATE || t->verb == KIND_CHANGE)
        return put_call(t, ret, err);
    if (t->verb != KIND_EMPTY && t->verb != KIND_DELETE)
        return kind_no_verb(t, err);
    _cleanup_free_ char *path = path_of(t->have->name);
    /* A container whose objects are all gone may hold versions, which nothing tells of. */
    if (t->verb == KIND_EMPTY || json_bool(t->have->attrs, "versions", false)) {
        bool versions = json_bool(t->have->attrs, "versions", false);
        int r = container_empty(t->cloud, t->have->name, versions, err);
        if (r < 0)
            return r;
    }
    if (t->verb == KIND_EMPTY)
        return kind_request(ret, CALL_READ, "HEAD", "%s", path);
    return kind_request(ret, CALL_IDEMPOTENT, "DELETE", "%s", path);
}

const KindRow kind_container = {.service = CLOUD_OBJECT, .call = container_call};

/* Reading */

static json_t *words_new(const char *list)
{
    Str rest = str_of(list), part;
    json_t *words = json_array();

    while (str_next(&rest, ',', &part)) {
        part = str_trim(part);
        if (part.n)
            json_array_append_new(words, json_stringn(part.p, part.n));
    }
    kind_sort_texts(words);
    return words;
}

static bool is_true(const char *word)
{
    return word && (strcasecmp(word, "true") == 0 || streq(word, "1"));
}

static int64_t number(const char *word)
{
    int64_t n = 0;
    return word && parse_int(word, 0, INT64_MAX, &n) ? n : 0;
}

static char *key_of(const Look *l, CloudRole role, const char *name, const char *told)
{
    char *key;
    int generation;

    if (told && *told)
        return xstrdup(told);
    if (resource_parse_name(l->clouds->island, RESOURCE_CONTAINER, name, &key, &generation))
        return key;
    return xstrdup(role == CLOUD_OF_MEDIA ? "media" : role == CLOUD_OF_BACKUP ? "backup" : name);
}

bool container_read(const Look *l, CloudRole role, const char *name, const Call *head,
                    Resource *ret)
{
    /* After a create, whose answer says nothing, it is as its own headers say. */
    const StrList *h = streq(head->method, "PUT") ? &head->headers : &head->reply_headers;
    const char *read = answer_header(h, "X-Container-Read");
    const char *write = answer_header(h, "X-Container-Write");
    const char *cors = answer_header(h, META_ORIGIN), *key = answer_header(h, META_TEMP_URL);
    int64_t objects = number(answer_header(h, "X-Container-Object-Count"));
    int64_t bytes = number(answer_header(h, "X-Container-Bytes-Used"));

    if (!streq(answer_header(h, META_MARKER), l->marker))
        return false;
    *ret = (Resource){
        .kind = RESOURCE_CONTAINER,
        .key = key_of(l, role, name, answer_header(h, META_KEY)),
        .generation = 1,
        .name = xstrdup(name),
        .cloud = role,
        .id = xstrdup(name),
        .status = xstrdup(""),
        .used = objects > 0 || bytes > 0,
    };
    ret->attrs = json_make_new(
        "{s:o, s:o, s:s, s:b, s:b, s:I, s:I, s:s}", "read", words_new(read ? read : ""), "write",
        words_new(write ? write : ""), "cors", cors ? cors : "", "versions",
        is_true(answer_header(h, "X-Versions-Enabled")), "temp_url", key && *key, "objects",
        (json_int_t)objects, "bytes", (json_int_t)bytes, "project", cloud_project_id(head->cloud));
    return true;
}

/* "<our project>:<user id>" to the user's key; what is not ours stays, and shows as a difference.
 */
void container_link(const World *w, json_t *attrs)
{
    json_t *write = json_object_get(attrs, "write"), *word;
    const char *project = json_str_or(attrs, "project", "");
    size_t i;

    json_array_foreach (write, i, word) {
        const char *text = json_string_value(word), *colon = strchr(text, ':');
        const Resource *user = colon ? world_find_id(w, RESOURCE_USER, colon + 1) : NULL;
        if (user && (size_t)(colon - text) == strlen(project) && starts_with(text, project))
            json_array_set_new(write, i, json_string(user->key));
    }
    kind_sort_texts(write);
}

/* Emptying */

static char *object_path_of(const char *container, const json_t *item)
{
    Buf b = BUF_INIT(BUF_MAX_LINE);
    const char *version = json_str(item, "version_id");

    buf_char(&b, '/');
    buf_url_quote(&b, container, NULL);
    buf_char(&b, '/');
    buf_url_quote(&b, json_str_or(item, "name", ""), "/");
    if (version) {
        buf_str(&b, "?version-id=");
        buf_url_quote(&b, version, NULL);
    }
    return buf_detach(&b);
}

static int delete_all(Cloud *c, const char *container, const json_t *items, Err *err)
{
    size_t n = json_array_size(items), i;
    Call *calls = xcalloc(MAX(n, 1), sizeof *calls);
    const json_t *item;

    json_array_foreach (items, i, item) {
        calls[i] = (Call){.cloud = c,
                          .service = CLOUD_OBJECT,
                          .kind = CALL_IDEMPOTENT,
                          .method = "DELETE",
                          .path = object_path_of(container, item)};
    }
    int r = cloud_perform(calls, n, err);
    for (i = 0; i < n; i++)
        call_clear(&calls[i]);
    free(calls);
    return r;
}

static int list_some(Cloud *c, const char *container, bool versions, json_t **ret, Err *err)
{
    _cleanup_free_ char *path = path_of(container);
    _cleanup_(call_clear) Call call = {.cloud = c,
                                       .service = CLOUD_OBJECT,
                                       .kind = CALL_READ,
                                       .method = "GET",
                                       .path = xasprintf("%s?%sformat=json&limit=%d", path,
                                                         versions ? "versions=&" : "", EMPTY_PAGE)};
    int r = cloud_perform(&call, 1, err);

    if (r == -ERR_NOT_FOUND || (r == 0 && call.status == 204)) {
        err_clear(err);
        *ret = json_array();
        return 0;
    }
    if (r < 0)
        return r;
    if (!json_is_array(call.json))
        return err_set(err, ERR_CORRUPT, "the object store's list of %s is no list", container);
    *ret = TAKE(call.json);
    return 0;
}

int container_empty(Cloud *c, const char *name, bool versions, Err *err)
{
    size_t gone = 0;

    /* Until a page is empty: a short one may be a store that gives few at once. */
    for (int round = 0; round < EMPTY_ROUNDS && gone < EMPTY_MOST; round++) {
        _cleanup_json_ json_t *items = NULL;
        int r = list_some(c, name, versions, &items, err);
        if (r == 0)
            r = delete_all(c, name, items, err);
        if (r < 0)
            return err_wrap(err, "emptying the container %s", name);
        if (json_array_size(items) == 0)
            break;
        gone += json_array_size(items);
    }
    return 0;
}
