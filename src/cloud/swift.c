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

int swift_delete(Cloud *c, const char *path, Err *err)
{
    _cleanup_(call_clear) Call call = call_for(c, CALL_IDEMPOTENT, "DELETE", path);
    int r = cloud_perform(&call, 1, err);

    return r < 0 ? err_wrap(err, "deleting %s", path) : 0;
}

int swift_list(Cloud *c, const char *container, const char *prefix, json_t **ret, Err *err)
{
    _cleanup_(call_clear) Call call = call_for(c, CALL_READ, "GET", container);
    _cleanup_(buf_clear) Buf path = BUF_INIT(BUF_MAX_LINE);

    buf_str(&path, call.path);
    if (prefix && *prefix) {
        buf_str(&path, "?prefix=");
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
