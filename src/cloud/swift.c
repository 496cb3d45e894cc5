#include "cloud/answer.h"
#include "cloud/cloud.h"
#include "io/crypt.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static char *quoted(const char *path)
{
    Buf b = BUF_INIT(BUF_MAX_LINE);
    buf_char(&b, '/');
    buf_url_quote(&b, path, "/");
    return buf_detach(&b);
}

/* One version of an object; NULL: the newest. */
static char *quoted_version(const char *path, const char *version)
{
    _cleanup_free_ char *plain = quoted(path);
    Buf b = BUF_INIT(BUF_MAX_LINE);

    buf_str(&b, plain);
    if (version) {
        buf_str(&b, "?version-id=");
        buf_url_quote(&b, version, NULL);
    }
    return buf_detach(&b);
}

static Call call_for(Cloud *c, CallKind kind, const char *method, const char *path)
{
    return (Call){
        .cloud = c, .service = CLOUD_OBJECT, .kind = kind, .method = method, .path = quoted(path)};
}

int swift_get(Cloud *c, const char *path, size_t max, Buf *ret, Err *err)
{
    _cleanup_(call_clear) Call call = call_for(c, CALL_READ, "GET", path);

    call.want_text = true;
    call.max = max;
    int r = cloud_perform(&call, 1, err);
    if (r < 0)
        return err_wrap(err, "reading %s", path);
    *ret = call.text;
    call.text = (Buf){0};
    return 0;
}

/* A store that does not know ranges sends all (RFC 7233 3.1). */
static int take_part(Call *call, const SwiftGet *get, Buf *ret, Err *err)
{
    Str all = buf_as_str(&call->text);

    if (call->status == 206 || (get->offset == 0 && get->size == 0)) {
        buf_add(ret, all.p, all.n);
        return 0;
    }
    if ((int64_t)all.n < get->offset)
        return err_set(err, ERR_CORRUPT, "it has %zu bytes only", all.n);
    int64_t rest = (int64_t)all.n - get->offset;
    buf_add(ret, all.p + get->offset, (size_t)(get->size > 0 ? MIN(get->size, rest) : rest));
    return 0;
}

int swift_get_part(Cloud *c, const char *path, const SwiftGet *get, Buf *ret, Err *err)
{
    _cleanup_(call_clear) Call call = call_for(c, CALL_READ, "GET", path);

    free(call.path);
    call.path = quoted_version(path, get->version);
    call.want_text = true;
    call.max = MAX(ret->max - ret->len, 1);
    if (get->size > 0)
        strlist_addf(&call.headers, "Range: bytes=%lld-%lld", (long long)get->offset,
                     (long long)(get->offset + get->size - 1));
    else if (get->offset > 0)
        strlist_addf(&call.headers, "Range: bytes=%lld-", (long long)get->offset);
    int r = cloud_perform(&call, 1, err);
    if (r < 0 && call.status == 416)
        return err_set(err, ERR_CORRUPT, "%s ends before byte %lld", path, (long long)get->offset);
    return r < 0 ? err_wrap(err, "reading %s", path) : take_part(&call, get, ret, err);
}

/* After a lost answer the second PUT meets what the first one left. It is ours if it has our hash.
 */
static bool is_ours(Cloud *c, const char *path, const char *md5)
{
    _cleanup_(call_clear) Call head = call_for(c, CALL_READ, "HEAD", path);

    if (cloud_perform(&head, 1, NULL) < 0)
        return false;
    const char *etag = call_header(&head, "Etag");
    etag = etag ? etag + strspn(etag, "\"") : "";
    return strncmp(etag, md5, strlen(md5)) == 0;
}

static int perform_put(Cloud *c, const char *path, const SwiftPut *put, const char *md5, Call *call,
                       Err *err)
{
    /* With its hash, so that Swift refuses what arrived damaged (422). */
    strlist_addf(&call->headers, "ETag: %s", md5);
    strlist_addf(&call->headers, "Content-Type: %s",
                 put->content_type ? put->content_type : "application/octet-stream");
    if (put->delete_after_s > 0)
        strlist_addf(&call->headers, "X-Delete-After: %lld", (long long)put->delete_after_s);
    if (put->only_new)
        strlist_add(&call->headers, "If-None-Match: *");
    int r = cloud_perform(call, 1, err);
    if (r < 0 && put->only_new && call->status == 412) {
        if (call->unsure && is_ours(c, path, md5)) {
            err_clear(err);
            return 0;
        }
        return err_set(err, ERR_CONFLICT, "%s is there already", path);
    }
    if (r < 0 && call->status == 422)
        return err_set(err, ERR_TEMPORARY, "writing %s: it arrived damaged", path);
    return r < 0 ? err_wrap(err, "writing %s", path) : 0;
}

static int put_file(Cloud *c, const char *path, const SwiftPut *put, Call *call, Err *err)
{
    _cleanup_(buf_clear) Buf md5 = BUF_INIT(BUF_MAX_LINE);
    struct stat st;
    int fd = open(put->file, O_RDONLY | O_CLOEXEC);

    if (fd < 0 || fstat(fd, &st) < 0) {
        int r = err_set(err, ERR_IO, "cannot open %s: %m", put->file);
        if (fd >= 0)
            close(fd);
        return r;
    }
    int r = crypt_hash_file(CRYPT_MD5, put->file, &md5, err);
    if (r == 0) {
        call->raw_fd = fd;
        call->raw_size = st.st_size;
        r = perform_put(c, path, put, md5.p, call, err);
    }
    close(fd);
    return r;
}

int swift_put(Cloud *c, const char *path, const SwiftPut *put, Err *err)
{
    _cleanup_(call_clear) Call call = call_for(c, CALL_IDEMPOTENT, "PUT", path);
    _cleanup_(buf_clear) Buf md5 = BUF_INIT(BUF_MAX_LINE);

    if (put->file)
        return put_file(c, path, put, &call, err);
    call.raw = put->body.p ? put->body : STR_LIT("");
    crypt_hash(CRYPT_MD5, call.raw, &md5);
    return perform_put(c, path, put, md5.p, &call, err);
}

int swift_type(Cloud *c, const char *path, char **ret, Err *err)
{
    _cleanup_(call_clear) Call call = call_for(c, CALL_READ, "HEAD", path);
    int r = cloud_perform(&call, 1, err);

    if (r < 0)
        return err_wrap(err, "looking for %s", path);
    const char *type = call_header(&call, "Content-Type");
    *ret = xstrdup(type ? type : "");
    return 0;
}

int swift_delete_version(Cloud *c, const char *path, const char *version, Err *err)
{
    _cleanup_(call_clear) Call call = call_for(c, CALL_IDEMPOTENT, "DELETE", path);

    free(call.path);
    call.path = quoted_version(path, version);
    int r = cloud_perform(&call, 1, err);
    return r < 0 ? err_wrap(err, "deleting %s", path) : 0;
}

int swift_delete(Cloud *c, const char *path, Err *err)
{
    return swift_delete_version(c, path, NULL, err);
}

static int list(Cloud *c, const char *container, const char *prefix, bool versions, json_t **ret,
                Err *err)
{
    _cleanup_(call_clear) Call call = call_for(c, CALL_READ, "GET", container);
    _cleanup_(buf_clear) Buf path = BUF_INIT(BUF_MAX_LINE);

    buf_printf(&path, "%s%s", call.path, versions ? "?versions=true" : "");
    if (prefix && *prefix) {
        buf_str(&path, versions ? "&prefix=" : "?prefix=");
        buf_url_quote(&path, prefix, NULL);
    }
    free(call.path);
    call.path = buf_detach(&path);
    call.plural = "";
    int r = cloud_perform(&call, 1, err);
    if (r < 0)
        return err_wrap(err, "listing %s", container);
    *ret = TAKE(call.json);
    return 0;
}

int swift_list(Cloud *c, const char *container, const char *prefix, json_t **ret, Err *err)
{
    return list(c, container, prefix, false, ret, err);
}

int swift_list_versions(Cloud *c, const char *container, const char *prefix, json_t **ret, Err *err)
{
    return list(c, container, prefix, true, ret, err);
}

static void page_call(const SwiftPage *p, Call *ret)
{
    _cleanup_free_ char *plain = quoted(p->container);
    Buf path = BUF_INIT(BUF_MAX_LINE);

    buf_printf(&path, "%s?format=json", plain);
    if (p->after) {
        buf_str(&path, "&marker=");
        buf_url_quote(&path, p->after, NULL);
    }
    if (p->before) {
        buf_str(&path, "&end_marker=");
        buf_url_quote(&path, p->before, NULL);
    }
    *ret = (Call){.cloud = p->cloud,
                  .service = CLOUD_OBJECT,
                  .kind = CALL_READ,
                  .method = "GET",
                  .path = buf_detach(&path)};
}

static int take_rows(Call *call, SwiftPage *p, Err *err)
{
    if (call->err.kind) {
        err_move(err, &call->err);
        return err_wrap(err, "listing %s", p->container);
    }
    if (!call->json && call->status == 204)
        call->json = json_array();
    if (!json_is_array(call->json))
        return err_set(err, ERR_CORRUPT, "listing %s: the answer is no list", p->container);
    p->rows = TAKE(call->json);
    return 0;
}

int swift_pages(SwiftPage *pages, size_t n, Err *err)
{
    Call *calls = xcalloc(MAX(n, 1), sizeof *calls);
    int r = 0;

    for (size_t i = 0; i < n; i++) {
        pages[i].rows = NULL;
        page_call(&pages[i], &calls[i]);
    }
    (void)cloud_perform(calls, n, NULL); /* each call's own outcome counts */
    for (size_t i = 0; i < n; i++) {
        if (r == 0)
            r = take_rows(&calls[i], &pages[i], err);
        call_clear(&calls[i]);
    }
    for (size_t i = 0; r < 0 && i < n; i++)
        json_decref(TAKE(pages[i].rows));
    free(calls);
    return r;
}

int swift_expiries(Cloud *c, const char *const *paths, size_t n, int64_t *ret, Err *err)
{
    Call *calls = xcalloc(MAX(n, 1), sizeof *calls);
    int r = 0;

    for (size_t i = 0; i < n; i++)
        calls[i] = call_for(c, CALL_READ, "HEAD", paths[i]);
    (void)cloud_perform(calls, n, NULL); /* each call's own outcome counts */
    for (size_t i = 0; i < n; i++) {
        const char *at = call_header(&calls[i], "X-Delete-At");
        ret[i] = 0;
        if (at && !parse_int(at, 0, INT64_MAX, &ret[i]))
            ret[i] = -1;
        if (r == 0 && calls[i].err.kind && calls[i].err.kind != ERR_NOT_FOUND)
            r = err_move(err, &calls[i].err);
        call_clear(&calls[i]);
    }
    free(calls);
    return r;
}

/* The signature is over the path as the store sees it: decoded, from the address's own path on. */
int swift_temp_url(Cloud *c, const Secret *key, const char *method, const char *path, bool prefix,
                   Msec expires, char **ret, Err *err)
{
    _cleanup_(buf_clear) Buf signature = BUF_INIT(BUF_MAX_LINE);
    Buf url = BUF_INIT(BUF_MAX_LINE);
    const char *base;
    int64_t expires_s = expires / SECOND;
    int r = cloud_endpoint(c, CLOUD_OBJECT, &base, err);

    if (r < 0)
        return r;
    const char *host = strstr(base, "://");
    const char *base_path = host ? strchr(host + 3, '/') : NULL;
    _cleanup_free_ char *signed_path = xasprintf("%s/%s", base_path ? base_path : "", path);
    crypt_temp_url(CRYPT_SHA256, key, method, expires_s, signed_path, prefix, &signature);
    buf_printf(&url, "%s/", base);
    buf_url_quote(&url, path, "/");
    buf_printf(&url, "?temp_url_sig=%s&temp_url_expires=%lld", signature.p, (long long)expires_s);
    const char *slash = strchr(path, '/');
    if (prefix) {
        buf_str(&url, "&temp_url_prefix=");
        buf_url_quote(&url, slash ? slash + 1 : "", NULL);
    }
    *ret = buf_detach(&url);
    return 0;
}
