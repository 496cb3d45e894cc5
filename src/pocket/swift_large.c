/* Large objects: static (SLO, a manifest that names its segments) and dynamic (DLO, a prefix). */
#include "io/file.h"
#include "pocket/swift_call.h"

#define DEPTH_MAX 10
#define SEGMENTS_MAX 1000

void large_clear(Large *l)
{
    for (size_t i = 0; i < l->pieces.len; i++)
        free(l->pieces.items[i].file);
    vec_clear(&l->pieces);
    if (l->etag.max)
        buf_clear(&l->etag);
    *l = (Large){0};
}

void large_single(const SwiftObject *o, Large *l)
{
    l->etag = BUF_INIT(BUF_MAX_LINE);
    l->size = o->bytes;
    if (o->file)
        vec_push(&l->pieces, (LargePiece){.file = xstrdup(o->file), .size = o->bytes});
}

bool swift_is_slo(const SwiftObject *o)
{
    return swift_truth(json_str(o->meta, "X-Static-Large-Object"));
}

static json_t *manifest_new(const SwiftCall *c, const SwiftObject *o)
{
    _cleanup_(buf_clear) Buf text = BUF_INIT(BUF_MAX_BODY);
    _cleanup_free_ char *path = swift_path(c->p, o->file ? o->file : "");
    if (!o->file || file_read(path, &text, NULL) < 0)
        return NULL;
    return json_parse_new(text.p, text.len, NULL);
}

/* With format=raw the words are those that a client puts. */
static json_t *raw_new(const json_t *row)
{
    return json_make_new("{s:s,s:s,s:I,s:s*}", "path", json_str_or(row, "name", ""), "etag",
                         json_str_or(row, "hash", ""), "size_bytes",
                         (json_int_t)json_int(row, "bytes", 0), "range", json_str(row, "range"));
}

static json_t *shown_new(const json_t *row)
{
    json_t *shown = json_copy((json_t *)(uintptr_t)row);
    json_object_del(shown, "first");
    json_object_del(shown, "length");
    return shown;
}

bool swift_slo_manifest(SwiftCall *c, const SwiftObject *o)
{
    _cleanup_json_ json_t *rows = manifest_new(c, o);
    bool raw = streq(swift_query(c, "format"), "raw");
    json_t *out = json_array();
    size_t i;
    json_t *row;
    if (!rows) {
        json_decref(out);
        return swift_fail(c, 503, NULL);
    }
    json_array_foreach (rows, i, row) {
        json_array_append_new(out, raw ? raw_new(row) : shown_new(row));
    }
    swift_reply_json(c, 200, out);
    if (raw)
        swift_set_header(c, "Content-Type", o->type ? o->type : "application/octet-stream");
    return false;
}

/* "/container/object" */
static bool split(const char *path, char **ret_container, const char **ret_object)
{
    path += strspn(path, "/");
    const char *slash = strchr(path, '/');
    if (!slash || !slash[1])
        return false;
    *ret_container = xstrndup(path, (size_t)(slash - path));
    *ret_object = slash + 1;
    return true;
}

/* A segment that the caller may read; 0, or the status of a failed read. */
static int segment_get(SwiftCall *c, const char *path, SwiftObject *o)
{
    _cleanup_free_ char *container = NULL;
    const char *object;
    if (!split(path, &container, &object))
        return 400;
    _cleanup_(swift_container_clear) SwiftContainer k = {0};
    bool there = swift_container_get(c->p, c->account, container, &k);
    int denial = swift_authorize(c, c->account, container, object,
                                 there ? swift_container_acl(&k, false) : NULL);
    if (denial)
        return denial;
    bool found = there && swift_object_get(c->p, &k, object, NULL, o) && !swift_expired(c, o);
    return found ? 0 : 404;
}

static bool add_slo(SwiftCall *c, const SwiftObject *o, Large *l, int depth);

static bool conflict(SwiftCall *c)
{
    return swift_fail(c, 409, NULL);
}

static bool add_segment(SwiftCall *c, const json_t *row, Large *l, int depth)
{
    _cleanup_(swift_object_clear) SwiftObject o = {0};
    if (segment_get(c, json_str_or(row, "name", ""), &o) != 0)
        return conflict(c);
    if (json_bool(row, "sub_slo", false) && swift_is_slo(&o))
        return add_slo(c, &o, l, depth + 1);
    /* A segment that is no longer the one that was named makes the object unreadable (d2). */
    if (!streq(o.etag, json_str(row, "hash")) || o.bytes != json_int(row, "bytes", -1))
        return conflict(c);
    int64_t offset = json_int(row, "first", 0), size = json_int(row, "length", o.bytes);
    if (o.file)
        vec_push(&l->pieces, (LargePiece){.file = xstrdup(o.file), .offset = offset, .size = size});
    l->size += size;
    return true;
}

static bool add_slo(SwiftCall *c, const SwiftObject *o, Large *l, int depth)
{
    _cleanup_json_ json_t *rows = depth > DEPTH_MAX ? NULL : manifest_new(c, o);
    if (!rows)
        return conflict(c);
    size_t i;
    json_t *row;
    json_array_foreach (rows, i, row) {
        if (!add_segment(c, row, l, depth))
            return false;
    }
    return true;
}

typedef struct Dynamic {
    Large *large;
    Buf etags;
} Dynamic;

static bool see_dynamic(void *user, const SwiftObject *o)
{
    Dynamic *d = user;
    if (o->file)
        vec_push(&d->large->pieces, (LargePiece){.file = xstrdup(o->file), .size = o->bytes});
    d->large->size += o->bytes;
    buf_str(&d->etags, o->etag);
    return true;
}

static bool add_dlo(SwiftCall *c, const SwiftObject *o, Large *l)
{
    _cleanup_(buf_clear) Buf path = BUF_INIT(BUF_MAX_LINE);
    _cleanup_free_ char *container = NULL;
    const char *prefix;
    if (!buf_url_unquote(&path, str_of(json_str(o->meta, "X-Object-Manifest"))) ||
        !split(path.p, &container, &prefix))
        return swift_fail(c, 404, NULL);
    _cleanup_(swift_container_clear) SwiftContainer k = {0};
    bool there = swift_container_get(c->p, c->account, container, &k);
    const char *acl = there ? swift_container_acl(&k, false) : NULL;
    int denial = swift_authorize(c, c->account, container, NULL, acl);
    if (denial || !there)
        return swift_fail(c, denial ? denial : 404, NULL);
    Dynamic d = {.large = l, .etags = BUF_INIT(BUF_MAX_BODY)};
    SwiftWalk walk = {.prefix = prefix, .see = see_dynamic, .user = &d};
    swift_walk_objects(c->p, &k, &walk);
    buf_char(&l->etag, '"');
    crypt_hash(CRYPT_MD5, buf_as_str(&d.etags), &l->etag);
    buf_char(&l->etag, '"');
    buf_clear(&d.etags);
    return true;
}

bool swift_large_open(SwiftCall *c, const SwiftObject *o, Large *ret)
{
    bool owner = c->owner;
    ret->etag = BUF_INIT(BUF_MAX_LINE);
    bool ok;
    if (swift_is_slo(o)) {
        buf_printf(&ret->etag, "\"%s\"", json_str_or(o->meta, "X-Pocket-Slo-Etag", ""));
        ok = add_slo(c, o, ret, 1);
    } else {
        ok = add_dlo(c, o, ret);
    }
    c->owner = owner;
    return ok;
}

typedef struct Manifest {
    json_t *rows; /* as they are stored */
    Buf errors, etags;
    int64_t size;
} Manifest;

/* "first-last" of a segment; false: unsatisfiable. */
static bool segment_range(const char *text, int64_t size, int64_t *ret_first, int64_t *ret_length)
{
    Str to_raw = str_of(text), from_raw;
    (void)str_next(&to_raw, '-', &from_raw);
    _cleanup_free_ char *from = xstrndup(from_raw.p, from_raw.n);
    _cleanup_free_ char *to = xstrndup(to_raw.p ? to_raw.p : "", to_raw.n);
    int64_t first = 0, last = size - 1, n;
    if (!*from) {
        if (!parse_int(to, 1, INT64_MAX, &n))
            return false;
        first = MAX(0, size - n);
    } else if (!parse_int(from, 0, size - 1, &first) ||
               (*to && !parse_int(to, first, INT64_MAX, &last))) {
        return false;
    }
    *ret_first = first;
    *ret_length = MIN(last, size - 1) - first + 1;
    return true;
}

static const char *fault_of(const json_t *in, const SwiftObject *o)
{
    const char *etag = json_str(in, "etag");
    int64_t size = json_int(in, "size_bytes", o->bytes);
    const char *have = swift_is_slo(o) ? json_str_or(o->meta, "X-Pocket-Slo-Etag", "") : o->etag;
    if (etag && !streq(etag, have))
        return "Etag Mismatch";
    return size == o->bytes ? NULL : "Size Mismatch";
}

static void check_segment(SwiftCall *c, const json_t *in, Manifest *m)
{
    const char *path = json_str_or(in, "path", ""), *range = json_str(in, "range");
    _cleanup_(swift_object_clear) SwiftObject o = {0};
    int status = segment_get(c, path, &o);
    const char *fault = status ? NULL : fault_of(in, &o);
    int64_t first = 0, length = o.bytes;
    if (!status && !fault && range && !segment_range(range, o.bytes, &first, &length))
        fault = "Unsatisfiable Range";
    if (status)
        buf_printf(&m->errors, "%s, %d %s\n", path, status, status_title(status));
    else if (fault)
        buf_printf(&m->errors, "%s, %s\n", path, fault);
    if (status || fault)
        return;
    char *when = swift_time_text((o.stamp + 99999) / 100000 * 100000);
    json_t *row = json_make_new("{s:s,s:s,s:I,s:s,s:s}", "name", path, "hash", o.etag, "bytes",
                                (json_int_t)o.bytes, "content_type", o.type ? o.type : "",
                                "last_modified", when);
    free(when);
    if (swift_is_slo(&o))
        json_object_set_new(row, "sub_slo", json_true());
    if (range) {
        json_object_set_new(row, "range", json_string(range));
        json_object_set_new(row, "first", json_integer(first));
        json_object_set_new(row, "length", json_integer(length));
    }
    json_array_append_new(m->rows, row);
    const char *etag = swift_is_slo(&o) ? json_str_or(o.meta, "X-Pocket-Slo-Etag", "") : o.etag;
    buf_str(&m->etags, etag);
    if (range)
        buf_printf(&m->etags, ":%lld-%lld;", (long long)first, (long long)(first + length - 1));
    m->size += length;
}

static void store_manifest(SwiftCall *c, SwiftContainer *k, Manifest *m)
{
    _cleanup_free_ char *text = json_dumps(m->rows, JSON_COMPACT);
    _cleanup_(buf_clear) Buf md5 = BUF_INIT(64), slo = BUF_INIT(64);
    crypt_hash(CRYPT_MD5, str_of(text), &md5);
    crypt_hash(CRYPT_MD5, buf_as_str(&m->etags), &slo);
    _cleanup_(swift_object_clear) SwiftObject o = {.name = xstrdup(c->object),
                                                   .bytes = m->size,
                                                   .etag = xstrdup(md5.p),
                                                   .file = swift_new_file(c->p),
                                                   .meta = json_object()};
    _cleanup_free_ char *path = swift_path(c->p, o.file);
    json_object_set_new(o.meta, "X-Static-Large-Object", json_string("True"));
    json_object_set_new(o.meta, "X-Pocket-Slo-Etag", json_string(slo.p));
    if (file_write(path, str_of(text), 0600, NULL) < 0) {
        (void)swift_fail(c, 507, NULL);
        return;
    }
    if (!swift_delete_at(c, &o.delete_at) || !swift_object_headers(c, &o) || !swift_store(c, k, &o))
        return;
    c->http->reply.status = 201;
    swift_reply_header(c, "Etag", "\"%s\"", slo.p);
}

static bool may_write(SwiftCall *c, SwiftContainer *k)
{
    bool there = swift_container_get(c->p, c->account, c->container, k);
    int denial = swift_authorize(c, c->account, c->container, c->object,
                                 there ? swift_container_acl(k, true) : NULL);
    if (denial || !there)
        return swift_fail(c, denial ? denial : 404, NULL);
    return true;
}

/* False: 400 is set with Swift's words. */
static bool check_keys(SwiftCall *c, const json_t *rows)
{
    static const char *const known[] = {"path", "etag", "size_bytes", "range", "data"};
    size_t i;
    json_t *row, *value;
    const char *key;
    json_array_foreach (rows, i, row) {
        json_object_foreach (row, key, value) {
            bool found = false;
            for (size_t j = 0; j < ARRAY_LEN(known); j++)
                found = found || streq(known[j], key);
            _cleanup_free_ char *text =
                found ? NULL : xasprintf("Index %zu: extraneous keys \"%s\"\n", i, key);
            if (text)
                return swift_fail(c, 400, text);
        }
    }
    return true;
}

void swift_slo_put(SwiftCall *c)
{
    _cleanup_(swift_container_clear) SwiftContainer k = {0};
    if (!may_write(c, &k))
        return;
    _cleanup_json_ json_t *in = json_parse_new(c->body.p, c->body.len, NULL);
    size_t n = json_array_size(in);
    if (!json_is_array(in) || n == 0 || n > SEGMENTS_MAX) {
        (void)swift_fail(c, 400, "Manifest must be a list.\n");
        return;
    }
    if (!check_keys(c, in))
        return;
    Manifest m = {
        .rows = json_array(), .errors = BUF_INIT(BUF_MAX_BODY), .etags = BUF_INIT(BUF_MAX_BODY)};
    size_t i;
    json_t *row;
    json_array_foreach (in, i, row) {
        check_segment(c, row, &m);
    }
    if (m.errors.len > 0) {
        _cleanup_free_ char *text = xasprintf("Errors:\n%s", m.errors.p);
        (void)swift_fail(c, 400, text);
    } else {
        store_manifest(c, &k, &m);
    }
    json_decref(m.rows);
    buf_clear(&m.errors);
    buf_clear(&m.etags);
}

/* Deletes one path and counts what came of it, as bulk delete does. */
static void remove_one(SwiftCall *c, const char *path, int counts[2], json_t *errors)
{
    _cleanup_free_ char *container = NULL;
    const char *object;
    int status = split(path, &container, &object)
                     ? swift_object_remove(c, c->account, container, object)
                     : 400;
    if (status == 204 || status == 404) {
        counts[status == 404]++;
        return;
    }
    _cleanup_free_ char *text = xasprintf("%d %s", status, status_title(status));
    json_array_append_new(errors, json_make_new("[s,s]", path, text));
}

void swift_slo_delete(SwiftCall *c)
{
    _cleanup_free_ char *own = xasprintf("/%s/%s", c->container, c->object);
    _cleanup_(swift_object_clear) SwiftObject o = {0};
    json_t *errors = json_array();
    int counts[2] = {0};
    int status = segment_get(c, own, &o);
    _cleanup_json_ json_t *rows = status == 0 && swift_is_slo(&o) ? manifest_new(c, &o) : NULL;
    if (status == 404) {
        counts[1]++;
    } else if (!rows) {
        const char *why = status == 0 && !swift_is_slo(&o)
                              ? "Not an SLO manifest"
                              : "Unable to load SLO manifest or segment.";
        json_array_append_new(errors, json_make_new("[s,s]", own, why));
    } else {
        size_t i;
        json_t *row;
        json_array_foreach (rows, i, row) {
            remove_one(c, json_str_or(row, "name", ""), counts, errors);
        }
        remove_one(c, own, counts, errors);
    }
    bool bad = json_array_size(errors) > 0 || (counts[0] == 0 && counts[1] == 0);
    swift_reply_json(c, 200,
                     json_make_new("{s:s,s:s,s:i,s:i,s:o}", "Response Status",
                                   bad ? "400 Bad Request" : "200 OK", "Response Body", "",
                                   "Number Deleted", counts[0], "Number Not Found", counts[1],
                                   "Errors", errors));
}
