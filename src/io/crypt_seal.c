/* The half of crypt.h that keeps keys: envelopes, signatures, passphrases, VAPID. */
#include "base/json.h"
#include "io/crypt.h"

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <sodium.h>

#define NONCE_BYTES crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
#define TAG_BYTES crypto_aead_xchacha20poly1305_ietf_ABYTES
_Static_assert(CRYPT_KEY_BYTES == crypto_aead_xchacha20poly1305_ietf_KEYBYTES, "key size");
_Static_assert(CRYPT_KEY_BYTES == crypto_box_SECRETKEYBYTES, "key size");

static char *base64_new(const void *data, size_t n)
{
    Buf b = BUF_INIT(SIZE_MAX / 4);
    crypt_base64(&b, data, n);
    return buf_detach(&b);
}

/* Decodes a base64 text of exactly n bytes. */
static bool unbase64_exact(const char *text, void *ret, size_t n)
{
    _cleanup_(buf_wipe) Buf b = BUF_INIT(n);
    if (!text || !crypt_unbase64(&b, str_of(text)) || b.overflow || b.len != n)
        return false;
    memcpy(ret, b.p, n);
    return true;
}

/* Keys */

static void keys_set(KeyPair *ret, const uint8_t *secret, size_t secret_n, const uint8_t *public)
{
    *ret = (KeyPair){
        .secret = secret_new(secret, secret_n),
        .public_b64 = base64_new(public, CRYPT_KEY_BYTES),
    };
}

void crypt_box_keys(KeyPair *ret)
{
    uint8_t public[crypto_box_PUBLICKEYBYTES], secret[crypto_box_SECRETKEYBYTES];

    BUG_IF(crypto_box_keypair(public, secret) != 0);
    keys_set(ret, secret, sizeof secret, public);
    sodium_memzero(secret, sizeof secret);
}

void crypt_sign_keys(KeyPair *ret)
{
    uint8_t public[crypto_sign_PUBLICKEYBYTES], secret[crypto_sign_SECRETKEYBYTES];

    BUG_IF(crypto_sign_keypair(public, secret) != 0);
    keys_set(ret, secret, sizeof secret, public);
    sodium_memzero(secret, sizeof secret);
}

void crypt_sign_keys_from(const Secret *seed, KeyPair *ret)
{
    uint8_t public[crypto_sign_PUBLICKEYBYTES], secret[crypto_sign_SECRETKEYBYTES];
    Str s = secret_expose(seed);

    BUG_IF(s.n != crypto_sign_SEEDBYTES);
    BUG_IF(crypto_sign_seed_keypair(public, secret, (const uint8_t *)s.p) != 0);
    keys_set(ret, secret, sizeof secret, public);
    sodium_memzero(secret, sizeof secret);
}

int crypt_box_public(const Secret *secret, KeyPair *ret, Err *err)
{
    uint8_t public[crypto_box_PUBLICKEYBYTES];
    Str s = secret_expose(secret);

    if (s.n != CRYPT_KEY_BYTES)
        return err_set(err, ERR_CORRUPT, "a secret key has %zu bytes, not %d", s.n,
                       CRYPT_KEY_BYTES);
    if (crypto_scalarmult_base(public, (const uint8_t *)s.p) != 0)
        return err_set(err, ERR_CORRUPT, "a secret key is not usable");
    keys_set(ret, (const uint8_t *)s.p, s.n, public);
    return 0;
}

void keypair_clear(KeyPair *k)
{
    k->secret = secret_free(k->secret);
    free(k->public_b64);
    k->public_b64 = NULL;
    json_decref(k->grants);
    k->grants = NULL;
}

/* Envelopes. The purpose and the whole list of recipients are authenticated with the body: not a
 * byte of an envelope can be changed unnoticed. */

static void additional_data(Buf *ret, const char *purpose, const json_t *to)
{
    _cleanup_free_ char *recipients = json_text_new(to);
    buf_str(ret, "atoll envelope 1");
    buf_add(ret, "", 1);
    buf_str(ret, purpose);
    buf_add(ret, "", 1);
    buf_str(ret, recipients);
    BUG_IF(ret->overflow);
}

static int seal_key(const char *const *recipients, const uint8_t *key, json_t *to, Err *err)
{
    for (size_t i = 0; recipients[i]; i++) {
        uint8_t public[crypto_box_PUBLICKEYBYTES];
        uint8_t sealed[CRYPT_KEY_BYTES + crypto_box_SEALBYTES];
        /* All-zero and other low-order keys make crypto_box_seal fail. */
        if (!unbase64_exact(recipients[i], public, sizeof public) ||
            crypto_box_seal(sealed, key, CRYPT_KEY_BYTES, public) != 0)
            return err_set(err, ERR_CORRUPT, "\"%.80s\" is not a public key", recipients[i]);
        _cleanup_free_ char *canonical = base64_new(public, sizeof public);
        _cleanup_free_ char *text = base64_new(sealed, sizeof sealed);
        json_object_set_new(to, canonical, json_string(text));
    }
    if (json_object_size(to) == 0)
        return err_set(err, ERR_BUG, "an envelope without a recipient");
    return 0;
}

/* Encrypts with a fresh nonce: both as base64 text, to be freed. */
static void encrypt_new(const uint8_t *key, Str plain, Str ad, char **ret_nonce, char **ret_body)
{
    uint8_t nonce[NONCE_BYTES];
    size_t max = plain.n + TAG_BYTES;
    uint8_t *body = xcalloc(max, 1);
    unsigned long long n = 0;

    randombytes_buf(nonce, sizeof nonce);
    crypto_aead_xchacha20poly1305_ietf_encrypt(body, &n, (const uint8_t *)plain.p, plain.n,
                                               (const uint8_t *)ad.p, ad.n, NULL, nonce, key);
    *ret_nonce = base64_new(nonce, sizeof nonce);
    *ret_body = base64_new(body, (size_t)n);
    free(body);
}

/* False if anything does not fit together. Appends to *ret. */
static bool decrypt(const uint8_t *key, const char *nonce_b64, const char *body_b64, Str ad,
                    Buf *ret)
{
    uint8_t nonce[NONCE_BYTES];
    _cleanup_(buf_clear) Buf body = BUF_INIT(SIZE_MAX / 4);

    if (!unbase64_exact(nonce_b64, nonce, sizeof nonce) || !body_b64 ||
        !crypt_unbase64(&body, str_of(body_b64)) || body.len < TAG_BYTES)
        return false;
    unsigned long long n = 0;
    size_t max = body.len;
    uint8_t *plain = xcalloc(max, 1);
    bool ok = crypto_aead_xchacha20poly1305_ietf_decrypt(plain, &n, NULL, (const uint8_t *)body.p,
                                                         body.len, (const uint8_t *)ad.p, ad.n,
                                                         nonce, key) == 0;
    if (ok)
        buf_add(ret, plain, (size_t)n);
    sodium_memzero(plain, max);
    free(plain);
    return ok;
}

static int add_document(Buf *ret, const json_t *doc, Err *err)
{
    _cleanup_free_ char *text = json_text_new(doc);
    buf_str(ret, text);
    if (ret->overflow)
        return err_set(err, ERR_CORRUPT, "what is to be sealed is larger than %zu bytes", ret->max);
    return 0;
}

int crypt_seal_key(const char *const *recipients_b64, const Secret *key, json_t *ret_to, Err *err)
{
    Str k = secret_expose(key);

    BUG_IF(k.n != CRYPT_KEY_BYTES);
    return seal_key(recipients_b64, (const uint8_t *)k.p, ret_to, err);
}

int crypt_seal(const char *const *recipients_b64, const char *purpose, Str plain, Buf *ret,
               Err *err)
{
    uint8_t key[CRYPT_KEY_BYTES];
    _cleanup_json_ json_t *to = json_object();

    randombytes_buf(key, sizeof key);
    int r = seal_key(recipients_b64, key, to, err);
    if (r < 0) {
        sodium_memzero(key, sizeof key);
        return r;
    }
    _cleanup_free_ char *nonce = NULL, *body = NULL;
    _cleanup_(buf_clear) Buf ad = BUF_INIT(BUF_MAX_BODY);
    additional_data(&ad, purpose, to);
    encrypt_new(key, plain, buf_as_str(&ad), &nonce, &body);
    sodium_memzero(key, sizeof key);
    _cleanup_json_ json_t *doc =
        json_make_new("{s:i, s:O, s:s, s:s}", "v", 1, "to", to, "nonce", nonce, "body", body);
    return add_document(ret, doc, err);
}

/* Under which a grant stands: what is sealed to others tells which key it is of. */
static void grant_name(const json_t *to, Buf *ret)
{
    _cleanup_free_ char *text = json_text_new(to);

    crypt_hash(CRYPT_SHA256, str_of(text), ret);
}

/* Opens the data key of an envelope. */
static int open_key(const KeyPair *key, const json_t *to, uint8_t *ret, Err *err)
{
    Str secret = secret_expose(key->secret);
    uint8_t public[crypto_box_PUBLICKEYBYTES];
    if (secret.n != CRYPT_KEY_BYTES || !unbase64_exact(key->public_b64, public, sizeof public))
        return err_set(err, ERR_CORRUPT, "the key to open with is not a sealing key");

    _cleanup_free_ char *canonical = base64_new(public, sizeof public);
    const json_t *entry = json_object_get(to, canonical);
    if (!entry && key->grants) {
        _cleanup_(buf_clear) Buf name = BUF_INIT(BUF_MAX_LINE);
        grant_name(to, &name);
        entry = json_object_get(key->grants, name.p);
    }
    if (!entry)
        return err_set(err, ERR_DENIED, "not sealed to the key %s", canonical);

    uint8_t sealed[CRYPT_KEY_BYTES + crypto_box_SEALBYTES];
    if (!unbase64_exact(json_string_value(entry), sealed, sizeof sealed))
        return err_set(err, ERR_CORRUPT, "a sealed envelope is damaged");
    if (crypto_box_seal_open(ret, sealed, sizeof sealed, public, (const uint8_t *)secret.p) != 0)
        return err_set(err, ERR_CORRUPT, "a sealed envelope is damaged");
    return 0;
}

int crypt_open_key(const KeyPair *key, const json_t *to, Secret **ret, Err *err)
{
    uint8_t data_key[CRYPT_KEY_BYTES];
    int r = open_key(key, to, data_key, err);

    if (r == 0)
        *ret = secret_new(data_key, sizeof data_key);
    sodium_memzero(data_key, sizeof data_key);
    return r;
}

int crypt_grant(const KeyPair *from, const json_t *to, const char *public_b64, json_t *ret_grants,
                Err *err)
{
    _cleanup_secret_ Secret *key = NULL;
    _cleanup_json_ json_t *sealed = json_object();
    _cleanup_(buf_clear) Buf name = BUF_INIT(BUF_MAX_LINE);
    int r = crypt_open_key(from, to, &key, err);

    if (r == 0)
        r = crypt_seal_key((const char *const[]){public_b64, NULL}, key, sealed, err);
    if (r < 0)
        return r;
    grant_name(to, &name);
    const char *public = json_object_iter_key(json_object_iter(sealed));
    json_object_set(ret_grants, name.p, json_object_get(sealed, public));
    return 0;
}

/* The nonce of a frame is its index: a key serves one object only. */
static void frame_nonce(uint32_t index, uint8_t ret[static NONCE_BYTES])
{
    memset(ret, 0, NONCE_BYTES);
    for (size_t i = 0; i < sizeof index; i++)
        ret[i] = (uint8_t)(index >> (8 * i));
}

void crypt_frame_seal(const Secret *key, uint32_t index, Str plain, Buf *ret)
{
    uint8_t nonce[NONCE_BYTES];
    uint8_t *body = (uint8_t *)buf_room(ret, plain.n + TAG_BYTES);
    unsigned long long n = 0;
    Str k = secret_expose(key);

    BUG_IF(k.n != CRYPT_KEY_BYTES);
    if (!body)
        return; /* told by ret->overflow */
    frame_nonce(index, nonce);
    crypto_aead_xchacha20poly1305_ietf_encrypt(body, &n, (const uint8_t *)plain.p, plain.n, NULL, 0,
                                               NULL, nonce, (const uint8_t *)k.p);
    buf_grow(ret, (size_t)n);
}

bool crypt_frame_open(const Secret *key, uint32_t index, Str sealed, Buf *ret)
{
    uint8_t nonce[NONCE_BYTES];
    unsigned long long n = 0;
    Str k = secret_expose(key);

    if (k.n != CRYPT_KEY_BYTES || sealed.n < TAG_BYTES)
        return false;
    uint8_t *plain = (uint8_t *)buf_room(ret, sealed.n - TAG_BYTES);
    if (!plain)
        return false;
    frame_nonce(index, nonce);
    bool ok = crypto_aead_xchacha20poly1305_ietf_decrypt(plain, &n, NULL, (const uint8_t *)sealed.p,
                                                         sealed.n, NULL, 0, nonce,
                                                         (const uint8_t *)k.p) == 0;
    buf_grow(ret, ok ? (size_t)n : 0);
    return ok;
}

int crypt_open(const KeyPair *key, const char *purpose, Str sealed, Buf *ret, Err *err)
{
    _cleanup_json_ json_t *doc = json_parse_new(sealed.p, sealed.n, err);
    if (!doc)
        return err_wrap(err, "reading a sealed envelope");
    const json_t *to = json_at(doc, "to");
    if (json_int(doc, "v", 0) != 1 || !json_is_object(to) || json_object_size(doc) != 4)
        return err_set(err, ERR_CORRUPT, "not a sealed envelope of version 1");

    uint8_t data_key[CRYPT_KEY_BYTES];
    int r = open_key(key, to, data_key, err);
    if (r < 0)
        return r;
    _cleanup_(buf_clear) Buf ad = BUF_INIT(BUF_MAX_BODY);
    additional_data(&ad, purpose, to);
    bool ok =
        decrypt(data_key, json_str(doc, "nonce"), json_str(doc, "body"), buf_as_str(&ad), ret);
    sodium_memzero(data_key, sizeof data_key);
    if (!ok)
        return err_set(err, ERR_CORRUPT, "a sealed envelope is damaged or not for \"%s\"", purpose);
    if (ret->overflow)
        return err_set(err, ERR_CORRUPT, "a sealed envelope holds more than %zu bytes", ret->max);
    return 0;
}

void crypt_sign(const KeyPair *key, Str data, Buf *ret_b64)
{
    uint8_t signature[crypto_sign_BYTES];
    Str secret = secret_expose(key->secret);

    BUG_IF(secret.n != crypto_sign_SECRETKEYBYTES);
    crypto_sign_detached(signature, NULL, (const uint8_t *)data.p, data.n,
                         (const uint8_t *)secret.p);
    crypt_base64(ret_b64, signature, sizeof signature);
}

bool crypt_verify(const char *public_b64, Str data, Str signature_b64)
{
    uint8_t public[crypto_sign_PUBLICKEYBYTES];
    _cleanup_(buf_clear) Buf signature = BUF_INIT(crypto_sign_BYTES);

    if (!unbase64_exact(public_b64, public, sizeof public) ||
        !crypt_unbase64(&signature, signature_b64) || signature.overflow ||
        signature.len != crypto_sign_BYTES)
        return false;
    return crypto_sign_verify_detached((const uint8_t *)signature.p, (const uint8_t *)data.p,
                                       data.n, public) == 0;
}

/* Passphrases */

#define WRAP_AD STR_LIT("atoll wrapped secret 1")
/* What a file may demand of us: far above what we write, far below what hurts. */
#define WRAP_MAX_OPS 16
#define WRAP_MAX_MEM ((int64_t)1 << 30)

int crypt_wrap(const Secret *secret, const Secret *passphrase, Buf *ret, Err *err)
{
    Str pass = secret_expose(passphrase);
    if (pass.n == 0)
        return err_set(err, ERR_USAGE, "the passphrase is empty");

    uint8_t salt[crypto_pwhash_SALTBYTES], key[CRYPT_KEY_BYTES];
    randombytes_buf(salt, sizeof salt);
    if (crypto_pwhash(key, sizeof key, pass.p, pass.n, salt, crypto_pwhash_OPSLIMIT_INTERACTIVE,
                      crypto_pwhash_MEMLIMIT_INTERACTIVE, crypto_pwhash_ALG_ARGON2ID13) != 0)
        return err_set(err, ERR_IO, "not enough memory to derive a key from the passphrase");

    _cleanup_free_ char *nonce = NULL, *body = NULL, *salt_text = base64_new(salt, sizeof salt);
    encrypt_new(key, secret_expose(secret), WRAP_AD, &nonce, &body);
    sodium_memzero(key, sizeof key);
    _cleanup_json_ json_t *doc =
        json_make_new("{s:i, s:s, s:I, s:I, s:s, s:s, s:s}", "v", 1, "kdf", "argon2id", "ops",
                      (json_int_t)crypto_pwhash_OPSLIMIT_INTERACTIVE, "mem",
                      (json_int_t)crypto_pwhash_MEMLIMIT_INTERACTIVE, "salt", salt_text, "nonce",
                      nonce, "body", body);
    return add_document(ret, doc, err);
}

int crypt_unwrap(Str text, const Secret *passphrase, Secret **ret, Err *err)
{
    _cleanup_json_ json_t *doc = json_parse_new(text.p, text.n, err);
    if (!doc)
        return err_wrap(err, "reading a wrapped secret");
    uint8_t salt[crypto_pwhash_SALTBYTES], key[CRYPT_KEY_BYTES];
    int64_t ops = json_int(doc, "ops", 0), mem = json_int(doc, "mem", 0);
    if (json_int(doc, "v", 0) != 1 || !streq(json_str(doc, "kdf"), "argon2id") || ops < 1 ||
        ops > WRAP_MAX_OPS || mem < (int64_t)crypto_pwhash_MEMLIMIT_MIN || mem > WRAP_MAX_MEM ||
        !unbase64_exact(json_str(doc, "salt"), salt, sizeof salt))
        return err_set(err, ERR_CORRUPT, "not a wrapped secret of version 1");

    Str pass = secret_expose(passphrase);
    if (crypto_pwhash(key, sizeof key, pass.p, pass.n, salt, (unsigned long long)ops, (size_t)mem,
                      crypto_pwhash_ALG_ARGON2ID13) != 0)
        return err_set(err, ERR_IO, "not enough memory to derive a key from the passphrase");
    _cleanup_(buf_wipe) Buf plain = BUF_INIT(BUF_MAX_BODY);
    bool ok = decrypt(key, json_str(doc, "nonce"), json_str(doc, "body"), WRAP_AD, &plain);
    sodium_memzero(key, sizeof key);
    if (!ok)
        return err_set(err, ERR_AUTH, "wrong passphrase, or the file is damaged");
    *ret = secret_new(plain.p, plain.len);
    return 0;
}

/* VAPID */

void crypt_vapid(Secret **ret_private, char **ret_public)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    BIGNUM *scalar = NULL;
    unsigned char private[32], public[65];
    size_t n = 0;

    BUG_IF(!key || EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_PRIV_KEY, &scalar) != 1);
    BUG_IF(BN_bn2binpad(scalar, private, sizeof private) != sizeof private);
    BUG_IF(EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_PUB_KEY, public, sizeof public,
                                           &n) != 1);
    BUG_IF(n != sizeof public || public[0] != 4);
    BN_clear_free(scalar);
    EVP_PKEY_free(key);

    Buf b = BUF_INIT(BUF_MAX_LINE);
    crypt_base64_url(&b, private, sizeof private);
    *ret_private = secret_new(b.p, b.len);
    buf_wipe(&b);
    sodium_memzero(private, sizeof private);
    crypt_base64_url(&b, public, sizeof public);
    *ret_public = buf_detach(&b);
}
