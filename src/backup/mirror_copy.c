/* Copies one object: by the store, or through here. */
#include "backup/container.h"
#include "backup/mirror_work.h"

#include <strings.h>

/* Read at once of an object that goes through here, and held of it. */
#define WINDOW ((int64_t)4 << 20)
/* A store says nothing while it copies, and a silent connection is given up after half a minute. */
#define BY_STORE_MAX ((int64_t)512 << 20)
#define MANIFEST_MAX ((size_t)8 << 20)
#define DEPTH_MAX 10
#define MD5_OF_NOTHING "d41d8cd98f00b204e9800998ecf8427e"

/* Calls */

static Call call_of(Cloud *c, CallKind kind, const char *method, const char *path,
                    const char *query)
{
    Buf b = BUF_INIT(BUF_MAX_LINE);

    buf_char(&b, '/');
    buf_url_quote(&b, path, "/");
    buf_str(&b, query);
    return (Call){.cloud = c,
                  .service = CLOUD_OBJECT,
                  .kind = kind,
                  .method = method,
                  .path = buf_detach(&b)};
}

/* An ETag without quotes; "" if there is none. To be freed. */
static char *etag_new(const Call *c)
{
    const char *etag = call_header(c, "Etag");

    etag = etag ? etag + strspn(etag, "\"") : "";
    return xstrndup(etag, strcspn(etag, "\""));
}

static int64_t length_of(const Call *c)
{
    const char *range = call_header(c, "Content-Range"), *text;
    int64_t n;

    text = range ? strrchr(range, '/') : NULL;
    text = text ? text + 1 : call_header(c, "Content-Length");
    return text && parse_int(text, 0, INT64_MAX, &n) ? n : -1;
}

static bool is_static(const Call *c)
{
    const char *word = call_header(c, "X-Static-Large-Object");

    return word && strcasecmp(word, "true") == 0;
}

/* What Swift keeps of an upload's headers (its proxy's allowed_headers), but what makes it large.
 */
static void inherit(const Call *from, StrList *ret)
{
    static const char *const kept[] = {"Content-Type",     "Content-Disposition",
                                       "Content-Encoding", "Content-Language",
                                       "Cache-Control",    "Expires",
                                       "X-Robots-Tag",     "X-Delete-At"};
    static const char meta[] = "X-Object-Meta-";

    for (size_t i = 0; i < from->reply_headers.len; i++) {
        const char *line = from->reply_headers.items[i];
        size_t n = strcspn(line, ":");
        bool take = strncasecmp(line, meta, strlen(meta)) == 0;

        for (size_t k = 0; k < ARRAY_LEN(kept); k++)
            take = take || (strlen(kept[k]) == n && strncasecmp(line, kept[k], n) == 0);
        if (take)
            strlist_add(ret, line);
    }
}

/* A PUT's 404 tells of the container, not of an object that went away. */
static int put_failed(int r, const char *path, Err *err)
{
    if (r != -ERR_NOT_FOUND)
        return err_wrap(err, "writing %s", path);
    return err_set(err, ERR_PREFLIGHT, "writing %s: its container is not there (any more)", path);
}

/* By the store */

/* Without job->by_store afterwards it has to go through here. */
static int by_store(MirrorWorker *w, const char *from, const char *to, MirrorJob *job, Err *err)
{
    _cleanup_(call_clear) Call call = call_of(w->to, CALL_IDEMPOTENT, "PUT", to, NULL);
    _cleanup_(buf_clear) Buf quoted = BUF_INIT(BUF_MAX_LINE);
    MirrorShared *s = w->shared;

    buf_str(&quoted, "X-Copy-From: /");
    buf_url_quote(&quoted, from, "/");
    strlist_add(&call.headers, quoted.p);
    if (!s->one_account)
        strlist_addf(&call.headers, "X-Copy-From-Account: %s", s->account);
    call.raw = STR_LIT("");
    int r = cloud_perform(&call, 1, err);
    bool denied = r == -ERR_DENIED || r == -ERR_AUTH;
    _cleanup_free_ char *etag = etag_new(&call);
    job->by_store = r == 0 && !streq(etag, MD5_OF_NOTHING);
    if (r == -ERR_INTERRUPTED || r == -ERR_QUOTA || r == -ERR_TEMPORARY)
        return err_wrap(err, "copying to %s", to);
    /* Another account's objects can't be read by this login (which says nothing of the rest if it
     * is a segment: they have a container of their own); or this proxy knows no copies, and made an
     * empty object. What went away, or is damaged, the other way finds out. */
    if (r == 0 ? !job->by_store : denied && !s->one_account && job->name)
        atomic_store(&s->refused, true);
    err_clear(err);
    return 0;
}

/* Through here */

typedef struct Source {
    Cloud *cloud;
    const char *path;
    char *etag; /* owned; as it was sent */
    int64_t size;
    Buf window;
    int64_t window_at;
} Source;

static void source_clear(Source *s)
{
    free(s->etag);
    buf_clear(&s->window);
}
DEFINE_CLEAR(Source, source_clear)

/* The window from `at` on; with the headers in *ret, of which `If-Match` holds to the first. */
static int fill(Source *s, int64_t at, Call *ret, Err *err)
{
    *ret = call_of(s->cloud, CALL_READ, "GET", s->path, NULL);
    strlist_addf(&ret->headers, "Range: bytes=%lld-%lld", (long long)at,
                 (long long)(at + WINDOW - 1));
    if (s->etag)
        strlist_addf(&ret->headers, "If-Match: %s", s->etag);
    ret->want_text = true;
    ret->max = (size_t)WINDOW;
    int r = cloud_perform(ret, 1, err);
    if (r < 0 && (ret->status == 412 || ret->status == 416))
        return err_set(err, ERR_CHANGED, "%s became another one while it was read", s->path);
    if (r < 0)
        return err_wrap(err, "reading %s", s->path);
    if (ret->status != 206 && at > 0)
        return err_set(err, ERR_CORRUPT, "reading %s: the store can't give a part of it", s->path);
    buf_clear(&s->window);
    s->window = ret->text;
    ret->text = (Buf){0};
    s->window_at = at;
    return 0;
}

static ssize_t give(void *user, int64_t offset, char *to, size_t n, Err *err)
{
    Source *s = user;

    if (offset < s->window_at || offset >= s->window_at + (int64_t)s->window.len) {
        _cleanup_(call_clear) Call call = {0};
        int r = fill(s, offset, &call, err);

        if (r < 0)
            return r;
        if (s->window.len == 0 || length_of(&call) != s->size)
            return err_set(err, ERR_CORRUPT, "%s ends before its size", s->path);
    }
    size_t at = (size_t)(offset - s->window_at), part = MIN(n, s->window.len - at);
    memcpy(to, s->window.p + at, part);
    return (ssize_t)part;
}

static int put_source(MirrorWorker *w, Source *s, const Call *head, const char *to, Err *err)
{
    _cleanup_(call_clear) Call call = call_of(w->to, CALL_IDEMPOTENT, "PUT", to, NULL);
    _cleanup_free_ char *etag = etag_new(head);
    bool md5 = strlen(etag) == 32;

    inherit(head, &call.headers);
    if (md5)
        strlist_addf(&call.headers, "ETag: %s", etag);
    if ((int64_t)s->window.len == s->size) {
        call.raw = buf_as_str(&s->window);
    } else {
        call.raw_size = s->size;
        call.raw_read = give;
        call.raw_user = s;
    }
    int r = cloud_perform(&call, 1, err);
    if (r < 0 && call.status == 422)
        return err_set(err, ERR_CORRUPT, "%s: what was read of it has another MD5 than its ETag %s",
                       to, etag);
    if (r < 0)
        return put_failed(r, to, err);
    _cleanup_free_ char *now = etag_new(&call);
    if (md5 && *now && strcasecmp(now, etag) != 0)
        return err_set(err, ERR_CORRUPT, "%s was stored with the ETag %s, not %s", to, now, etag);
    return 0;
}

/* *ret_large: it is a manifest, and nothing was done. `size`: by its listing or HEAD, not 0. */
static int through(MirrorWorker *w, const char *from, const char *to, bool *ret_large, Err *err)
{
    _cleanup_(source_clear) Source s = {.cloud = w->from, .path = from};
    _cleanup_(call_clear) Call head = {0};
    int r = fill(&s, 0, &head, err);

    *ret_large = false;
    if (r < 0)
        return r;
    if (is_static(&head) || call_header(&head, "X-Object-Manifest")) {
        *ret_large = true;
        return 0;
    }
    s.size = length_of(&head);
    if (s.size < (int64_t)s.window.len)
        return err_set(err, ERR_CORRUPT, "reading %s: the store does not say how long it is", from);
    const char *etag = call_header(&head, "Etag");
    s.etag = etag ? xstrdup(etag) : NULL;
    return put_source(w, &s, &head, to, err);
}

/* An object of no bytes, by the headers of its HEAD. */
static int put_empty(MirrorWorker *w, const Call *head, const char *to, Err *err)
{
    _cleanup_(call_clear) Call call = call_of(w->to, CALL_IDEMPOTENT, "PUT", to, NULL);

    inherit(head, &call.headers);
    call.raw = STR_LIT("");
    int r = cloud_perform(&call, 1, err);
    return r < 0 ? put_failed(r, to, err) : 0;
}

/* Large objects */

static int copy(MirrorWorker *w, const char *from, const char *to, MirrorJob *job, int depth,
                Err *err);

static int need_segments(MirrorWorker *w, Err *err)
{
    MirrorShared *s = w->shared;

    if (atomic_load(&s->segments))
        return 0;
    _cleanup_free_ char *name = xasprintf("%s" MIRROR_SEGMENTS, s->options->to.container);
    _cleanup_(call_clear) Call call = {0};
    int r = backup_container_call(w->to, &call, "PUT", name, err);
    if (r < 0)
        return err_wrap(err, "making the container %s for segments of large objects", name);
    atomic_store(&s->segments, true);
    return 0;
}

/* A segment's row (of a manifest, or of a listing) to that of the new manifest. */
static int copy_segment(MirrorWorker *w, const char *path, const json_t *row, int depth,
                        json_t *ret_manifest, Err *err)
{
    bool sub = json_bool(row, "sub_slo", false);
    const char *hash = json_str_or(row, "hash", ""), *range = json_str(row, "range");
    const char *from = path + strspn(path, "/");
    _cleanup_free_ char *to = mirror_segment_path(w->shared->options->to.container, from);
    _cleanup_free_ char *full = xasprintf("/%s", to);
    int64_t bytes = json_int(row, "bytes", -1);
    /* A row of a manifest has a segment's whole size, whatever its range. */
    MirrorJob part = {.bytes = bytes, .large = sub, .look = bytes <= 0};
    _cleanup_(call_clear) Call there = call_of(w->to, CALL_READ, "HEAD", to, NULL);
    int r = cloud_perform(&there, 1, err);

    if (r < 0 && r != -ERR_NOT_FOUND)
        return err_wrap(err, "looking at %s", to);
    if (r < 0)
        err_clear(err);
    _cleanup_free_ char *etag = etag_new(&there);
    if (r < 0 || is_static(&there) || length_of(&there) != bytes || !streq(etag, hash))
        r = copy(w, from, to, &part, depth + 1, err);
    err_clear(&part.err);
    if (r == -ERR_NOT_FOUND)
        return err_set(err, ERR_CORRUPT, "its segment %s is not there", from);
    if (r < 0)
        return r;
    json_t *out = json_make_new("{s:s, s:I, s:s*}", "path", full, "size_bytes", (json_int_t)bytes,
                                "range", range);
    if (!sub)
        json_object_set_new(out, "etag", json_string(hash));
    json_array_append_new(ret_manifest, out);
    return 0;
}

static int static_rows(MirrorWorker *w, const char *from, json_t **ret, Err *err)
{
    _cleanup_(call_clear) Call call =
        call_of(w->from, CALL_READ, "GET", from, "?multipart-manifest=get");

    call.max = MANIFEST_MAX;
    int r = cloud_perform(&call, 1, err);
    if (r < 0)
        return err_wrap(err, "reading the manifest %s", from);
    if (!json_is_array(call.json))
        return err_set(err, ERR_CORRUPT, "the manifest %s is no list", from);
    *ret = TAKE(call.json);
    return 0;
}

/* "container/prefix", quoted, is what a dynamic manifest says; *ret_container is put before names.
 */
static int dynamic_rows(MirrorWorker *w, const char *manifest, char **ret_container, json_t **ret,
                        Err *err)
{
    _cleanup_(buf_clear) Buf plain = BUF_INIT(BUF_MAX_LINE);
    char *slash = NULL;

    if (buf_url_unquote(&plain, str_of(manifest)))
        slash = strchr(plain.p, '/');
    if (!slash)
        return err_set(err, ERR_CORRUPT, "its X-Object-Manifest is `%s`", manifest);
    *slash = '\0';
    *ret_container = xstrdup(plain.p);
    return swift_list(w->from, plain.p, slash + 1, ret, err);
}

static int copy_rows(MirrorWorker *w, const char *container, const json_t *rows, int depth,
                     json_t *ret_manifest, Err *err)
{
    const json_t *row;
    size_t i;
    int r = need_segments(w, err);

    json_array_foreach (rows, i, row) {
        const char *name = json_str(row, "name");
        bool data = json_object_get(row, "data") != NULL;

        if (r < 0)
            return r;
        if (data) {
            json_array_append(ret_manifest, (json_t *)(uintptr_t)row);
            continue;
        }
        if (!name)
            return err_set(err, ERR_CORRUPT, "its manifest has a segment without a name");
        /* A dynamic one may have segments without bytes; a static one may not. */
        if (container && json_int(row, "bytes", 0) == 0)
            continue;
        _cleanup_free_ char *path = container ? xasprintf("%s/%s", container, name) : xstrdup(name);
        r = copy_segment(w, path, row, depth, ret_manifest, err);
    }
    return r;
}

static int put_manifest(MirrorWorker *w, const Call *head, const json_t *manifest, const char *to,
                        Err *err)
{
    _cleanup_(call_clear) Call call =
        call_of(w->to, CALL_IDEMPOTENT, "PUT", to, "?multipart-manifest=put");
    _cleanup_free_ char *text = json_text_new(manifest), *want = etag_new(head);

    inherit(head, &call.headers);
    call.raw = str_of(text);
    int r = cloud_perform(&call, 1, err);
    if (r < 0)
        return put_failed(r, to, err);
    /* A store without large objects took the list itself for the object. */
    _cleanup_(call_clear) Call now = call_of(w->to, CALL_READ, "HEAD", to, NULL);
    r = cloud_perform(&now, 1, err);
    if (r < 0)
        return err_wrap(err, "looking at %s", to);
    _cleanup_free_ char *etag = etag_new(&now);
    if (is_static(&now) && (!*want || streq(etag, want)))
        return 0;
    if (!is_static(&now) && swift_delete(w->to, to, err) < 0)
        return err_wrap(err, "removing what a store without large objects made of one");
    return err_set(err, ERR_CORRUPT, "%s: the copy of a large object has the ETag %s, not %s", to,
                   etag, want);
}

static int copy_large(MirrorWorker *w, const char *from, const Call *head, const char *to,
                      int depth, Err *err)
{
    _cleanup_json_ json_t *rows = NULL, *manifest = json_array();
    _cleanup_free_ char *container = NULL;
    const char *dynamic = call_header(head, "X-Object-Manifest");

    if (depth > DEPTH_MAX)
        return err_set(err, ERR_CORRUPT, "%s: manifests of manifests, more than %d deep", from,
                       DEPTH_MAX);
    int r = is_static(head) ? static_rows(w, from, &rows, err)
                            : dynamic_rows(w, dynamic, &container, &rows, err);
    if (r == 0)
        r = copy_rows(w, container, rows, depth, manifest, err);
    if (r < 0)
        return r;
    if (json_array_size(manifest) == 0)
        return put_empty(w, head, to, err);
    return put_manifest(w, head, manifest, to, err);
}

/* What a listing did not tell; a link is what it leads to. */
static int look_and_copy(MirrorWorker *w, const char *from, const char *to, MirrorJob *job,
                         int depth, Err *err)
{
    _cleanup_(call_clear) Call head = call_of(w->from, CALL_READ, "HEAD", from, NULL);
    int r = cloud_perform(&head, 1, err);

    if (r < 0)
        return err_wrap(err, "looking at %s", from);
    bool large = is_static(&head) || call_header(&head, "X-Object-Manifest"), again;
    _cleanup_free_ char *etag = etag_new(&head);
    job->bytes = length_of(&head);
    if (job->have_hash && mirror_same(etag, large && job->bytes > 0, job->bytes, &job->have)) {
        job->outcome = MIRROR_SAME;
        return 0;
    }
    if (w->shared->options->dry_run)
        return 0;
    if (large)
        return copy_large(w, from, &head, to, depth, err);
    if (job->bytes == 0)
        return put_empty(w, &head, to, err);
    r = through(w, from, to, &again, err);
    return r == 0 && again
               ? err_set(err, ERR_CHANGED, "%s became another one while it was read", from)
               : r;
}

/* Sets job->outcome to MIRROR_SAME, by_store and bytes where it learns so. */
static int copy(MirrorWorker *w, const char *from, const char *to, MirrorJob *job, int depth,
                Err *err)
{
    MirrorShared *s = w->shared;
    bool large = job->large || job->look;
    int r = 0;

    if (large || s->options->dry_run)
        return job->look || large ? look_and_copy(w, from, to, job, depth, err) : 0;
    if (s->account && !atomic_load(&s->refused) && job->bytes <= BY_STORE_MAX) {
        r = by_store(w, from, to, job, err);
        if (r < 0 || job->by_store)
            return r;
    }
    r = through(w, from, to, &large, err);
    return r == 0 && large ? look_and_copy(w, from, to, job, depth, err) : r;
}

/* Workers */

static Cloud *cloud_of(const MirrorShared *s, const MirrorSide *side, Http *http)
{
    CloudConfig config;

    cloud_config_copy(side->config, &config);
    return cloud_new(&config, &(CloudOptions){.http = http,
                                              .cache_dir = s->options->cache_dir,
                                              .stop = s->options->stop,
                                              .seed = (uint64_t)time_mono()});
}

void *mirror_worker_begin(void *user)
{
    MirrorShared *s = user;
    MirrorWorker *w = NEW(MirrorWorker);
    const HttpOptions o = {.stop = s->options->stop};

    w->shared = s;
    w->http_from = http_new(&o);
    w->http_to = http_new(&o);
    w->from = cloud_of(s, &s->options->from, w->http_from);
    w->to = cloud_of(s, &s->options->to, w->http_to);
    return w;
}

void mirror_worker_end(void *worker)
{
    MirrorWorker *w = worker;

    (void)cloud_free(w->from);
    (void)cloud_free(w->to);
    (void)http_free(w->http_from);
    (void)http_free(w->http_to);
    free(w);
}

MirrorJob *mirror_job_free(MirrorJob *j)
{
    if (!j)
        return NULL;
    free(j->name);
    free(j->have_hash);
    err_clear(&j->err);
    free(j);
    return NULL;
}

void mirror_work(void *worker, void *job)
{
    MirrorWorker *w = worker;
    MirrorJob *j = job;
    const MirrorOptions *o = w->shared->options;
    _cleanup_free_ char *from = xasprintf("%s/%s", o->from.container, j->name);
    _cleanup_free_ char *to = xasprintf("%s/%s", o->to.container, j->name);

    j->outcome = MIRROR_COPIED;
    int r = copy(w, from, to, j, 0, &j->err);
    /* Another object now, or bytes that came wrong: the next try has another listing of it. */
    if (r == -ERR_CHANGED || r == -ERR_CORRUPT) {
        err_clear(&j->err);
        j->look = true;
        r = copy(w, from, to, j, 0, &j->err);
    }
    if (r == -ERR_NOT_FOUND)
        j->outcome = MIRROR_GONE;
    else if (r < 0)
        j->outcome = MIRROR_FAILED;
}
