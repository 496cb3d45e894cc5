/* Storing objects: uploads and copies. */
#include "io/file.h"
#include "pocket/swift_call.h"
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define COPY_BLOCK ((size_t)256 << 10)

Upload *upload_free(Upload *u)
{
    if (!u)
        return NULL;
    if (u->fd >= 0)
        close(u->fd);
    if (u->temporary)
        (void)unlink(u->temporary);
    (void)hasher_free(u->md5);
    free(u->temporary);
    free(u->file);
    free(u);
    return NULL;
}

static Upload *upload_new(const Pocket *p)
{
    Upload *u = NEW(Upload);
    _cleanup_free_ char *id = pocket_uuid(false);
    _cleanup_free_ char *name = xasprintf("tmp/%s", id);
    u->temporary = swift_path(p, name);
    u->md5 = hasher_new(CRYPT_MD5);
    u->fd = open(u->temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    u->failed = u->fd < 0 ? errno : 0;
    return u;
}

static bool upload_write(Upload *u, const char *p, size_t n)
{
    hasher_add(u->md5, p, n);
    u->bytes += (int64_t)n;
    while (n > 0 && !u->failed) {
        ssize_t w = write(u->fd, p, n);
        if (w < 0 && errno == EINTR)
            continue;
        if (w < 0) {
            u->failed = errno;
            break;
        }
        p += w;
        n -= (size_t)w;
    }
    return !u->failed;
}

/* Makes the temporary file lasting under its final name; an empty body has none. */
static bool upload_settle(const Pocket *p, Upload *u)
{
    if (u->failed)
        return false;
    if (u->bytes > 0) {
        if (fsync(u->fd) < 0)
            return false;
        u->file = swift_new_file(p);
        _cleanup_free_ char *path = swift_path(p, u->file);
        if (file_rename(u->temporary, path, NULL) < 0)
            return false;
        /* From here on the name to remove, if nothing comes of it, is the final one. */
        free(u->temporary);
        u->temporary = TAKE(path);
    }
    return true;
}

/* The row has been written: the file stays. */
static void upload_keep(Upload *u)
{
    if (u->bytes == 0)
        return; /* the empty temporary file goes */
    free(u->temporary);
    u->temporary = NULL;
}

bool swift_delete_at(SwiftCall *c, int64_t *ret)
{
    const char *after = swift_header(c, "X-Delete-After"), *at = swift_header(c, "X-Delete-At");
    int64_t seconds;
    *ret = 0;
    if (swift_header(c, "X-Remove-Delete-At") || swift_header(c, "X-Remove-Delete-After"))
        return true;
    if (after && *after) {
        if (!parse_int(after, INT32_MIN, INT64_MAX / 2, &seconds))
            return swift_fail(c, 400, "Non-integer X-Delete-After");
        if (seconds <= 0)
            return swift_fail(c, 400, "X-Delete-After in past");
        *ret = swift_now(c) + seconds;
        return true;
    }
    if (at && *at) {
        if (!parse_int(at, INT32_MIN, INT64_MAX / 2, &seconds))
            return swift_fail(c, 400, "Non-integer X-Delete-At");
        if (seconds <= swift_now(c))
            return swift_fail(c, 400, "X-Delete-At in past");
        *ret = seconds;
    }
    return true;
}

static const char *guess_type(const char *name)
{
    static const struct {
        const char *ending, *type;
    } rows[] = {
        {".txt", "text/plain"},
        {".html", "text/html"},
        {".css", "text/css"},
        {".js", "text/javascript"},
        {".json", "application/json"},
        {".xml", "text/xml"},
        {".csv", "text/csv"},
        {".png", "image/png"},
        {".jpg", "image/jpeg"},
        {".jpeg", "image/jpeg"},
        {".gif", "image/gif"},
        {".svg", "image/svg+xml"},
        {".ico", "image/vnd.microsoft.icon"},
        {".webp", "image/webp"},
        {".mp3", "audio/mpeg"},
        {".mp4", "video/mp4"},
        {".webm", "video/webm"},
        {".pdf", "application/pdf"},
        {".zip", "application/zip"},
        {".tar", "application/x-tar"},
        {".gz", "application/gzip"},
        {".ogg", "audio/ogg"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (ends_with(name, rows[i].ending))
            return rows[i].type;
    return "application/octet-stream";
}

bool swift_object_headers(SwiftCall *c, SwiftObject *o)
{
    static const char *const kept[] = {"X-Object-Manifest", NULL};
    static const char *const plain[] = {"Content-Encoding",
                                        "Content-Disposition",
                                        "Cache-Control",
                                        "Content-Language",
                                        "Expires",
                                        "X-Robots-Tag",
                                        NULL};
    const char *manifest = swift_header(c, "X-Object-Manifest");
    const char *slash = manifest ? strchr(manifest, '/') : NULL;
    if (manifest && (!slash || slash == manifest || !slash[1] || strpbrk(manifest, "?&")))
        return swift_fail(c, 400, "X-Object-Manifest must be in the format container/prefix");
    if (!swift_meta_update(c, o->meta, "Object", kept))
        return false;
    for (size_t i = 0; plain[i]; i++) {
        const char *value = swift_header(c, plain[i]);
        if (value && *value)
            json_object_set_new(o->meta, plain[i], json_string(value));
    }
    const char *type = swift_header(c, "Content-Type");
    if (type && *type) {
        free(o->type);
        o->type = xstrdup(type);
    }
    if (!o->type)
        o->type = xstrdup(guess_type(o->name));
    return true;
}

static int64_t number_in(const json_t *meta, const char *key)
{
    int64_t n;
    const char *text = json_str(meta, key);
    return text && parse_int(text, 0, INT64_MAX, &n) ? n : -1;
}

/* Middleware container_quotas: what is there (all versions) and what comes. */
static bool check_quota(SwiftCall *c, const SwiftContainer *k, int64_t bytes)
{
    int64_t max_bytes = number_in(k->meta, "X-Container-Meta-Quota-Bytes");
    int64_t max_count = number_in(k->meta, "X-Container-Meta-Quota-Count");
    if (max_bytes < 0 && max_count < 0)
        return true;
    SwiftUse use = swift_container_use(c->p, k);
    bool over = (max_bytes >= 0 && use.bytes + bytes > max_bytes) ||
                (max_count >= 0 && use.objects + 1 > max_count);
    return !over || swift_fail(c, 413, "Upload exceeds quota.");
}

static bool precondition(SwiftCall *c, const SwiftContainer *k)
{
    const char *none = swift_header(c, "If-None-Match");
    _cleanup_(swift_object_clear) SwiftObject o = {0};
    if (!none)
        return true;
    if (!streq(none, "*"))
        return swift_fail(c, 400, "If-None-Match only supports *");
    if (swift_object_get(c->p, k, c->object, NULL, &o) && !swift_expired(c, &o))
        return swift_fail(c, 412, NULL);
    return true;
}

/* Authorized to write into a container that is there. */
static bool may_write(SwiftCall *c, SwiftContainer *k)
{
    bool there = swift_container_get(c->p, c->account, c->container, k);
    const char *acl = there ? swift_container_acl(k, true) : NULL;
    int denial = swift_authorize(c, c->account, c->container, c->object, acl);
    if (denial)
        return swift_fail(c, denial, NULL);
    if (!there)
        return swift_fail(c, 404, NULL);
    if (strlen(c->object) > SWIFT_MAX_NAME) {
        _cleanup_free_ char *text = xasprintf("Object name length of %zu longer than %d",
                                              strlen(c->object), SWIFT_MAX_NAME);
        return swift_fail(c, 400, text);
    }
    return true;
}

static bool check_length(SwiftCall *c)
{
    if (c->http->body_size == 0 && !swift_header(c, "Content-Length"))
        return swift_fail(c, 411, "Missing Content-Length header.");
    if (c->http->body_size > SWIFT_MAX_FILE)
        return swift_fail(c, 413, "Your request is too large.");
    return true;
}

/* True for the PUTs whose body is a few words: they are done in swift_object_call. */
static bool small(const SwiftCall *c)
{
    const char *version = swift_query(c, "version-id");
    return (version && *version) || swift_header(c, "X-Copy-From") ||
           streq(swift_query(c, "multipart-manifest"), "put");
}

static bool check_upload(SwiftCall *c, const SwiftContainer *k)
{
    int64_t delete_at;
    if (swift_header(c, "X-Symlink-Target") || swift_query(c, "extract-archive"))
        return swift_fail(c, 501, NULL);
    return check_length(c) && swift_delete_at(c, &delete_at) && swift_meta_check(c, "Object") &&
           precondition(c, k) && check_quota(c, k, MAX(0, c->http->body_size));
}

void swift_put_begin(SwiftCall *c)
{
    _cleanup_(swift_container_clear) SwiftContainer k = {0};
    if (small(c))
        return;
    if (!may_write(c, &k) || !check_upload(c, &k)) {
        c->http->answered = true;
        return;
    }
    c->upload = upload_new(c->p);
}

bool swift_put_body(SwiftCall *c, Str part)
{
    Upload *u = c->upload;
    return u->bytes <= SWIFT_MAX_FILE && upload_write(u, part.p, part.n);
}

/* The ETag that the client says it sent, without quotes; compared in any case of letters. */
static bool etag_fits(const SwiftCall *c, const char *md5)
{
    const char *want = swift_header(c, "ETag");
    if (!want || !*want)
        return true;
    Str s = str_trim(str_of(want));
    if (s.n >= 2 && s.p[0] == '"')
        s = (Str){s.p + 1, s.n - 2};
    return s.n == strlen(md5) && strncasecmp(s.p, md5, s.n) == 0;
}

bool swift_put_settle(SwiftCall *c)
{
    Upload *u = c->upload;
    _cleanup_(buf_clear) Buf md5 = BUF_INIT(64);
    if (u->bytes > SWIFT_MAX_FILE)
        return swift_fail(c, 413, "Your request is too large.");
    hasher_end(TAKE(u->md5), &md5);
    if (!etag_fits(c, md5.p))
        return swift_fail(c, 422, NULL);
    buf_clear(&c->body);
    buf_str(&c->body, md5.p); /* for the commit */
    if (!upload_settle(c->p, u))
        return swift_fail(c, 507, NULL);
    return true;
}

bool swift_store(SwiftCall *c, SwiftContainer *k, SwiftObject *o)
{
    _cleanup_(swift_object_clear) SwiftObject now = {0};
    if (!precondition(c, k) || !check_quota(c, k, o->bytes))
        return false;
    bool found = swift_object_get(c->p, k, c->object, NULL, &now);
    bool seen = found && !swift_expired(c, &now);
    if (seen && !swift_versioned(k) && !swift_legacy_put(c, k, &now))
        return false;
    char version[32] = "null";
    o->container = k->id;
    o->stamp = swift_stamp(c->p);
    o->current = true;
    if (swift_versioned(k))
        swift_stamp_text(o->stamp, version);
    free(o->version);
    o->version = xstrdup(version);
    if (found && swift_versioned(k)) {
        swift_keep_version(c, k, &now);
    } else if (found && streq(now.version, "null")) {
        /* Still there only if legacy versioning has not moved it away. */
        _cleanup_(swift_object_clear) SwiftObject left = {0};
        if (swift_object_get(c->p, k, c->object, NULL, &left) && left.file)
            strlist_add(&c->garbage, left.file);
    } else if (found) {
        swift_object_hide(c->p, k, c->object);
    }
    swift_object_put(c->p, o);
    if (swift_version_aware(k))
        swift_version_header(c, o->version);
    return true;
}

static void created(SwiftCall *c, const SwiftObject *o)
{
    char date[TIME_TEXT_MAX];
    c->http->reply.status = 201;
    swift_set_header(c, "Etag", o->etag);
    swift_set_header(c, "Content-Type", "text/html; charset=UTF-8");
    swift_set_header(c, "Last-Modified",
                     time_format_http((o->stamp + 99999) / 100000 * SECOND, date));
}

void swift_put_commit(SwiftCall *c)
{
    Upload *u = c->upload;
    _cleanup_(swift_container_clear) SwiftContainer k = {0};
    _cleanup_(swift_object_clear) SwiftObject o = {.name = xstrdup(c->object),
                                                   .bytes = u->bytes,
                                                   .etag = xstrdup(c->body.p),
                                                   .file = u->file ? xstrdup(u->file) : NULL,
                                                   .meta = json_object()};
    /* Things may have changed while the body came. The right to write was looked at when it began,
     * as in Swift. */
    if (!swift_container_get(c->p, c->account, c->container, &k)) {
        (void)swift_fail(c, 404, NULL);
        return;
    }
    if (!swift_delete_at(c, &o.delete_at) || !swift_object_headers(c, &o) ||
        !swift_store(c, &k, &o))
        return;
    created(c, &o);
    upload_keep(u);
}

/* A second name for the bytes of a plain object: files never change, so a hard link is a copy. */
static bool link_file(SwiftCall *c, const char *from, char **ret_file)
{
    *ret_file = swift_new_file(c->p);
    _cleanup_free_ char *old = swift_path(c->p, from);
    _cleanup_free_ char *path = swift_path(c->p, *ret_file);
    _cleanup_free_ char *temporary = xasprintf("%s.link", path);
    if (link(old, temporary) < 0 || file_rename(temporary, path, NULL) < 0)
        return swift_fail(c, 503, NULL);
    return true;
}

static bool append_piece(SwiftCall *c, Upload *u, const LargePiece *piece, char *block)
{
    int fd = swift_open_file(c->p, piece->file);
    int64_t at = 0;
    while (fd >= 0 && at < piece->size) {
        size_t n = (size_t)MIN((int64_t)COPY_BLOCK, piece->size - at);
        ssize_t got = pread(fd, block, n, piece->offset + at);
        if (got <= 0 || !upload_write(u, block, (size_t)got))
            break;
        at += got;
    }
    if (fd >= 0)
        close(fd);
    return fd >= 0 && at == piece->size;
}

static bool is_large(const SwiftObject *o)
{
    return swift_is_slo(o) || json_object_get(o->meta, "X-Object-Manifest");
}

/* A large object, or a range of any, is copied as what it reads as: one file of its pieces. */
static bool join_file(SwiftCall *c, const SwiftObject *from, SwiftObject *to)
{
    _cleanup_(large_clear) Large l = {0};
    _cleanup_(ranges_clear) ByteRanges ranges = {0};
    if (!is_large(from))
        large_single(from, &l);
    else if (!swift_large_open(c, from, &l))
        return false;
    if (!swift_ranges(c, l.size, &ranges))
        return false;
    if (ranges.len == 1)
        large_crop(&l, ranges.items[0]);
    Upload *u = upload_new(c->p);
    _cleanup_free_ char *block = xcalloc(1, COPY_BLOCK);
    bool ok = true;
    for (size_t i = 0; i < l.pieces.len && ok; i++)
        ok = append_piece(c, u, &l.pieces.items[i], block);
    _cleanup_(buf_clear) Buf md5 = BUF_INIT(64);
    hasher_end(TAKE(u->md5), &md5);
    ok = ok && upload_settle(c->p, u);
    if (ok) {
        to->file = u->file ? xstrdup(u->file) : NULL;
        to->bytes = u->bytes;
        free(to->etag);
        to->etag = xstrdup(md5.p);
        upload_keep(u);
    } else {
        (void)swift_fail(c, 507, NULL);
    }
    (void)upload_free(u);
    return ok;
}

/* The metadata that goes with a copy: the source's unless fresh is wanted. */
static void inherit(SwiftCall *c, const SwiftObject *from, SwiftObject *to)
{
    static const char *const own[] = {"X-Static-Large-Object", "X-Pocket-Slo-Etag",
                                      "X-Object-Manifest", NULL};
    if (swift_truth(swift_header(c, "X-Fresh-Metadata"))) {
        to->meta = json_object();
        return;
    }
    to->meta = json_deep_copy(from->meta);
    for (size_t i = 0; own[i]; i++)
        json_object_del(to->meta, own[i]);
    to->type = from->type ? xstrdup(from->type) : NULL;
    to->delete_at = from->delete_at;
}

static bool copy_content(SwiftCall *c, const SwiftObject *from, SwiftObject *to)
{
    if (is_large(from) || swift_header(c, "Range"))
        return join_file(c, from, to);
    to->bytes = from->bytes;
    to->etag = xstrdup(from->etag);
    return !from->file || link_file(c, from->file, &to->file);
}

/* Of a copy that was refused at the end: it would hold the bytes when the source is deleted. */
static void drop_file(const SwiftCall *c, const char *file)
{
    _cleanup_free_ char *path = file ? swift_path(c->p, file) : NULL;
    if (path)
        (void)unlink(path);
}

void swift_copy(SwiftCall *c, const char *from_account, const char *from_path)
{
    const char *slash = strchr(from_path, '/');
    _cleanup_free_ char *container = xstrndup(from_path, (size_t)(slash - from_path));
    _cleanup_(swift_container_clear) SwiftContainer source = {0}, k = {0};
    _cleanup_(swift_object_clear) SwiftObject from = {0}, to = {.name = xstrdup(c->object)};
    if (!swift_object_open(c, from_account, container, slash + 1, &source, &from) ||
        !may_write(c, &k))
        return;
    inherit(c, &from, &to);
    int64_t delete_at;
    if (!swift_delete_at(c, &delete_at) || !swift_object_headers(c, &to) ||
        !copy_content(c, &from, &to))
        return;
    if (delete_at)
        to.delete_at = delete_at;
    if (!swift_store(c, &k, &to)) {
        drop_file(c, to.file);
        return;
    }
    char date[TIME_TEXT_MAX];
    created(c, &to);
    swift_set_header(c, "X-Copied-From", from_path);
    swift_set_header(c, "X-Copied-From-Account", from_account);
    swift_set_header(c, "X-Copied-From-Last-Modified",
                     time_format_http((from.stamp + 99999) / 100000 * SECOND, date));
}
