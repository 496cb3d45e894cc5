/* Temporary URLs (Swift, middleware tempurl; openstack.md g). */
#include "pocket/swift_call.h"

static bool invalid(SwiftCall *c)
{
    return swift_fail(c, 401, "401 Unauthorized: Temp URL invalid\n");
}

/* A hex signature tells its hash by its length; "sha512:base64" names it. False: neither. */
static bool split_signature(const char *sig, CryptHash *ret_hash, Buf *ret_hex)
{
    static const struct {
        const char *name;
        CryptHash hash;
        size_t hex;
    } hashes[] = {
        {"sha1", CRYPT_SHA1, 40}, {"sha256", CRYPT_SHA256, 64}, {"sha512", CRYPT_SHA512, 128}};
    const char *colon = strchr(sig, ':');
    for (size_t i = 0; i < ARRAY_LEN(hashes); i++) {
        *ret_hash = hashes[i].hash;
        if (!colon && strlen(sig) == hashes[i].hex) {
            buf_str(ret_hex, sig);
            return true;
        }
        size_t n = strlen(hashes[i].name);
        if (!colon || (size_t)(colon - sig) != n || memcmp(sig, hashes[i].name, n) != 0)
            continue;
        _cleanup_(buf_clear) Buf raw = BUF_INIT(256);
        if (!crypt_unbase64(&raw, str_of(colon + 1)))
            return false;
        crypt_hex(ret_hex, raw.p, raw.len);
        return true;
    }
    return false;
}

/* Seconds since 1970 or RFC 3339 in UTC; 0 if it is neither or has passed. */
static int64_t expires_of(const SwiftCall *c)
{
    const char *text = swift_query(c, "temp_url_expires");
    int64_t seconds;
    Msec t;
    if (!parse_int(text, 0, INT64_MAX / 1000, &seconds))
        seconds = ends_with(text, "Z") && time_parse(text, &t) ? t / SECOND : 0;
    return seconds < swift_now(c) ? 0 : seconds;
}

static bool key_fits(const SwiftCall *c, CryptHash hash, const char *key, const char *method,
                     const char *path, Str signature)
{
    if (!key || !*key)
        return false;
    _cleanup_secret_ Secret *secret = secret_new(key, strlen(key));
    _cleanup_(buf_clear) Buf want = BUF_INIT(256);
    const char *prefix = swift_query(c, "temp_url_prefix");
    crypt_temp_url(hash, secret, method, c->temp_url.expires, path, prefix != NULL, &want);
    return crypt_equal(buf_as_str(&want), signature);
}

/* Tries the keys of one level for the methods that the request's may stand for: HEAD is allowed by
 * a signature for GET, PUT or POST. */
static bool level_fits(const SwiftCall *c, const json_t *meta, const char *name, CryptHash hash,
                       const char *path, Str signature)
{
    static const char *const for_head[] = {"HEAD", "GET", "POST", "PUT", NULL};
    const char *const only[] = {c->http->method, NULL};
    const char *const *methods = streq(c->http->method, "HEAD") ? for_head : only;
    _cleanup_free_ char *second = xasprintf("%s-2", name);
    for (size_t i = 0; methods[i]; i++)
        if (key_fits(c, hash, json_str(meta, name), methods[i], path, signature) ||
            key_fits(c, hash, json_str(meta, second), methods[i], path, signature))
            return true;
    return false;
}

static bool find_key(SwiftCall *c, CryptHash hash, Str signature)
{
    const char *prefix = swift_query(c, "temp_url_prefix");
    _cleanup_free_ char *path =
        xasprintf("/v1/%s/%s/%s", c->account, c->container, prefix ? prefix : c->object);
    _cleanup_json_ json_t *account = swift_account_meta_new(c->p, c->account);
    _cleanup_(swift_container_clear) SwiftContainer k = {0};
    c->temp_url.account_scope = true;
    if (level_fits(c, account, "X-Account-Meta-Temp-Url-Key", hash, path, signature))
        return true;
    c->temp_url.account_scope = false;
    return swift_container_get(c->p, c->account, c->container, &k) &&
           level_fits(c, k.meta, "X-Container-Meta-Temp-Url-Key", hash, path, signature);
}

/* What would let an uploader point at what he may not read. */
static bool refuse_pointers(SwiftCall *c)
{
    static const char *const names[] = {"X-Object-Manifest", "X-Symlink-Target", "X-Copy-From",
                                        NULL};
    if (streq(c->http->method, "GET") || streq(c->http->method, "HEAD"))
        return true;
    for (size_t i = 0; names[i]; i++)
        if (swift_header(c, names[i])) {
            _cleanup_free_ char *text =
                xasprintf("The header '%s' is not allowed in this tempurl", names[i]);
            return swift_fail(c, 400, text);
        }
    return true;
}

bool swift_temp_url(SwiftCall *c)
{
    static const char *const methods[] = {"GET", "HEAD", "PUT", "POST", "DELETE", NULL};
    const char *sig = swift_query(c, "temp_url_sig");
    const char *expires = swift_query(c, "temp_url_expires");
    if ((!sig && !expires) || streq(c->http->method, "OPTIONS"))
        return true;
    c->temp_url.tried = true;
    size_t i = 0;
    while (methods[i] && !streq(methods[i], c->http->method))
        i++;
    if (!sig || !expires || !c->object || !methods[i])
        return invalid(c);
    const char *prefix = swift_query(c, "temp_url_prefix");
    _cleanup_(buf_clear) Buf signature = BUF_INIT(512);
    CryptHash hash;
    c->temp_url.expires = expires_of(c);
    if (!c->temp_url.expires || !split_signature(sig, &hash, &signature) ||
        (prefix && !starts_with(c->object, prefix)) || !find_key(c, hash, buf_as_str(&signature)))
        return invalid(c);
    if (!refuse_pointers(c))
        return false;
    const char *filename = swift_query(c, "filename");
    c->temp_url.used = true;
    c->temp_url.inline_ = swift_query(c, "inline") != NULL;
    c->temp_url.filename = filename && *filename ? xstrdup(filename) : NULL;
    /* Nothing else of the query counts: so a signature never reaches a version or a manifest. */
    json_object_clear(c->query);
    return true;
}

static void set_disposition(SwiftCall *c, const char *kind, const char *filename)
{
    _cleanup_(buf_clear) Buf b = BUF_INIT(BUF_MAX_LINE);
    buf_printf(&b, "%s; filename=\"", kind);
    buf_url_quote(&b, filename, " /");
    buf_str(&b, "\"; filename*=UTF-8''");
    buf_url_quote(&b, filename, "/");
    swift_set_header(c, "Content-Disposition", b.p);
}

void swift_temp_url_reply(SwiftCall *c)
{
    HttpdReply *r = &c->http->reply;
    if (!c->temp_url.used)
        return;
    for (size_t i = 0; i < r->headers.len;) {
        char *line = r->headers.items[i];
        if (strncasecmp(line, "X-Object-Meta-", 14) == 0 &&
            strncasecmp(line, "X-Object-Meta-Public-", 21) != 0) {
            free(line);
            memmove(&r->headers.items[i], &r->headers.items[i + 1],
                    (r->headers.len - i) * sizeof *r->headers.items);
            r->headers.len--;
        } else {
            i++;
        }
    }
    bool read = streq(c->http->method, "GET") || streq(c->http->method, "HEAD");
    if (!read || r->status / 100 != 2)
        return;
    const char *slash = strrchr(c->object, '/');
    const char *name = slash && slash[1] ? slash + 1 : c->object;
    if (c->temp_url.filename)
        set_disposition(c, c->temp_url.inline_ ? "inline" : "attachment", c->temp_url.filename);
    else if (c->temp_url.inline_)
        swift_set_header(c, "Content-Disposition", "inline");
    else if (!swift_reply_get(c, "Content-Disposition"))
        set_disposition(c, "attachment", name);
    char date[TIME_TEXT_MAX];
    swift_set_header(c, "Expires", time_format_http(c->temp_url.expires * SECOND, date));
}
