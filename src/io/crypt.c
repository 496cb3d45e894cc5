#include "io/crypt.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <sodium.h>
#include <unistd.h>

void crypt_init(void)
{
    BUG_IF(sodium_init() < 0);
}

void crypt_random(void *ret, size_t n)
{
    randombytes_buf(ret, n);
}

Secret *crypt_random_new(size_t n)
{
    uint8_t *bytes = xcalloc(n ? n : 1, 1);
    randombytes_buf(bytes, n);
    Secret *s = secret_new(bytes, n);
    sodium_memzero(bytes, n);
    free(bytes);
    return s;
}

void crypt_random_hex(char *ret, size_t digits)
{
    uint8_t bytes[32];

    BUG_IF(digits % 2 || digits > 2 * sizeof bytes);
    randombytes_buf(bytes, digits / 2);
    sodium_bin2hex(ret, digits + 1, bytes, digits / 2);
}

void crypt_uuid(char ret[static CRYPT_UUID_MAX])
{
    uint8_t b[16];
    char hex[2 * sizeof b + 1];

    randombytes_buf(b, sizeof b);
    b[6] = (uint8_t)((b[6] & 0x0f) | 0x40);
    b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
    sodium_bin2hex(hex, sizeof hex, b, sizeof b);
    snprintf(ret, CRYPT_UUID_MAX, "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12, hex + 16,
             hex + 20);
}

Secret *crypt_password_new(size_t n)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    char *text = xcalloc(n + 1, 1);

    for (size_t i = 0; i < n; i++)
        text[i] = alphabet[randombytes_uniform(sizeof alphabet - 1)];
    Secret *s = secret_new(text, n);
    sodium_memzero(text, n);
    free(text);
    return s;
}

/* Text forms. The helpers convert piece by piece, so that no second copy of a secret is made on
 * the heap. */

void crypt_hex(Buf *b, const void *data, size_t n)
{
    const uint8_t *p = data;

    while (n > 0) {
        char text[2 * 64 + 1];
        size_t part = MIN(n, (size_t)64);
        buf_str(b, sodium_bin2hex(text, sizeof text, p, part));
        sodium_memzero(text, sizeof text);
        p += part;
        n -= part;
    }
}

static void add_base64(Buf *b, const void *data, size_t n, int variant)
{
    const uint8_t *p = data;

    while (n > 0) {
        /* A multiple of 3, so that padding can only come at the very end. */
        char text[4 * 64 + 1];
        size_t part = MIN(n, (size_t)3 * 64);
        buf_str(b, sodium_bin2base64(text, sizeof text, p, part, variant));
        sodium_memzero(text, sizeof text);
        p += part;
        n -= part;
    }
}

void crypt_base64(Buf *b, const void *data, size_t n)
{
    add_base64(b, data, n, sodium_base64_VARIANT_ORIGINAL);
}

void crypt_base64_url(Buf *b, const void *data, size_t n)
{
    add_base64(b, data, n, sodium_base64_VARIANT_URLSAFE);
}

bool crypt_unbase64(Buf *b, Str s)
{
    bool url = s.n > 0 && (memchr(s.p, '-', s.n) || memchr(s.p, '_', s.n));
    bool padded = s.n > 0 && s.p[s.n - 1] == '=';
    int variant;
    if (url)
        variant = padded ? sodium_base64_VARIANT_URLSAFE : sodium_base64_VARIANT_URLSAFE_NO_PADDING;
    else
        variant =
            padded ? sodium_base64_VARIANT_ORIGINAL : sodium_base64_VARIANT_ORIGINAL_NO_PADDING;

    size_t max = s.n / 4 * 3 + 3, len = 0;
    uint8_t *bytes = xcalloc(max, 1);
    bool ok = sodium_base642bin(bytes, max, s.p, s.n, NULL, &len, NULL, variant) == 0;
    if (ok)
        buf_add(b, bytes, len);
    sodium_memzero(bytes, max);
    free(bytes);
    return ok;
}

bool crypt_unhex(Buf *b, Str s)
{
    if (s.n % 2 != 0)
        return false;
    size_t max = s.n / 2, len = 0;
    uint8_t *bytes = xcalloc(max + 1, 1);
    bool ok = sodium_hex2bin(bytes, max, s.p, s.n, NULL, &len, NULL) == 0;
    if (ok)
        buf_add(b, bytes, len);
    sodium_memzero(bytes, max);
    free(bytes);
    return ok;
}

/* Hashes */

struct Hasher {
    EVP_MD_CTX *ctx;
};

static const EVP_MD *md_of(CryptHash kind)
{
    const EVP_MD *const table[] = {
        [CRYPT_MD5] = EVP_md5(),
        [CRYPT_SHA1] = EVP_sha1(),
        [CRYPT_SHA256] = EVP_sha256(),
        [CRYPT_SHA512] = EVP_sha512(),
    };
    BUG_IF((size_t)kind >= ARRAY_LEN(table));
    return table[kind];
}

Hasher *hasher_new(CryptHash kind)
{
    Hasher *h = NEW(Hasher);
    h->ctx = EVP_MD_CTX_new();
    BUG_IF(!h->ctx || EVP_DigestInit_ex(h->ctx, md_of(kind), NULL) != 1);
    return h;
}

void hasher_add(Hasher *h, const void *data, size_t n)
{
    BUG_IF(EVP_DigestUpdate(h->ctx, data, n) != 1);
}

void hasher_end(Hasher *h, Buf *ret_hex)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned n = 0;

    BUG_IF(EVP_DigestFinal_ex(h->ctx, digest, &n) != 1);
    crypt_hex(ret_hex, digest, n);
    hasher_free(h);
}

void hasher_once(Hasher *h, Str data, uint8_t *ret, size_t n)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned have = 0;

    BUG_IF(EVP_DigestInit_ex(h->ctx, NULL, NULL) != 1 ||
           EVP_DigestUpdate(h->ctx, data.p, data.n) != 1 ||
           EVP_DigestFinal_ex(h->ctx, digest, &have) != 1 || have < n);
    memcpy(ret, digest, n);
}

Hasher *hasher_free(Hasher *h)
{
    if (h) {
        EVP_MD_CTX_free(h->ctx);
        free(h);
    }
    return NULL;
}

void crypt_hash(CryptHash kind, Str data, Buf *ret_hex)
{
    Hasher *h = hasher_new(kind);
    hasher_add(h, data.p, data.n);
    hasher_end(h, ret_hex);
}

int crypt_hash_file(CryptHash kind, const char *path, Buf *ret_hex, Err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return err_set(err, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, "cannot open %s: %m", path);

    enum { CHUNK = 128 << 10 };
    _cleanup_free_ char *chunk = xcalloc(CHUNK, 1);
    Hasher *h = hasher_new(kind);
    ssize_t n;
    while ((n = read(fd, chunk, CHUNK)) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            break;
        hasher_add(h, chunk, (size_t)n);
    }
    int r = 0;
    if (n < 0) {
        r = err_set(err, ERR_IO, "cannot read %s: %m", path);
        hasher_free(h);
    } else {
        hasher_end(h, ret_hex);
    }
    close(fd);
    return r;
}

static size_t hmac_raw(CryptHash kind, const Secret *key, Str data,
                       unsigned char out[static EVP_MAX_MD_SIZE])
{
    Str k = secret_expose(key);
    unsigned n = 0;

    BUG_IF(k.n > INT32_MAX);
    BUG_IF(!HMAC(md_of(kind), k.p, (int)k.n, (const unsigned char *)data.p, data.n, out, &n));
    return n;
}

void crypt_hmac(CryptHash kind, const Secret *key, Str data, Buf *ret_hex)
{
    unsigned char mac[EVP_MAX_MD_SIZE];
    size_t n = hmac_raw(kind, key, data, mac);

    crypt_hex(ret_hex, mac, n);
    sodium_memzero(mac, sizeof mac);
}

Secret *crypt_derive_new(const Secret *master, const char *label)
{
    unsigned char mac[EVP_MAX_MD_SIZE];
    size_t n = hmac_raw(CRYPT_SHA256, master, str_of(label), mac);

    Secret *s = secret_new(mac, n);
    sodium_memzero(mac, sizeof mac);
    return s;
}

bool crypt_equal(Str a, Str b)
{
    return a.n == b.n && (a.n == 0 || sodium_memcmp(a.p, b.p, a.n) == 0);
}

void crypt_temp_url(CryptHash kind, const Secret *key, const char *method, int64_t expires_s,
                    const char *path, bool prefix, Buf *ret_hex)
{
    _cleanup_(buf_clear) Buf text = BUF_INIT(BUF_MAX_LINE);

    buf_printf(&text, "%s\n%lld\n%s%s", method, (long long)expires_s, prefix ? "prefix:" : "",
               path);
    /* A signature over a shortened path would be valid for another object. */
    BUG_IF(text.overflow);
    crypt_hmac(kind, key, buf_as_str(&text), ret_hex);
}
