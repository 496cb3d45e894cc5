/* Hashes, MACs, sealing and signing. OpenSSL's EVP for what protocols demand (MD5, SHA, HMAC,
 * P-256), libsodium for what is ours: X25519 sealed boxes, XChaCha20-Poly1305, Ed25519, Argon2id.
 *
 * A sealed envelope is JSON, one line: {"v":1,"to":{"<public key b64>":"<data key sealed to it>"},
 * "nonce":"...","body":"..."}: a random data key encrypts the body, and is sealed (crypto_box_seal)
 * to each recipient. `purpose` and the whole of "to" are authenticated with the body (additional
 * data), so that an envelope made for one place is refused in another and not a byte of it can be
 * changed unnoticed. Who may open it is fixed when it is made.
 */
#pragma once
#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "base/secret.h"
#include "base/time.h"

#define CRYPT_KEY_BYTES 32

/* Call once before threads start. */
void crypt_init(void);
void crypt_random(void *ret, size_t n);
Secret *crypt_random_new(size_t n);
/* `digits` (even, at most 64) of hex, half as many random bytes; ends with a NUL. */
void crypt_random_hex(char *ret, size_t digits);
/* A fresh UUID, version 4 (RFC 9562), in lower case. */
#define CRYPT_UUID_MAX 37
void crypt_uuid(char ret[static CRYPT_UUID_MAX]);
/* n characters of [A-Za-z0-9], uniformly. */
Secret *crypt_password_new(size_t n);

void crypt_hex(Buf *b, const void *data, size_t n);
void crypt_base64(Buf *b, const void *data, size_t n);     /* RFC 4648 4, padded */
void crypt_base64_url(Buf *b, const void *data, size_t n); /* RFC 4648 5, padded */
bool crypt_unbase64(Buf *b, Str s) _must_check_;           /* accepts both alphabets */
bool crypt_unhex(Buf *b, Str s) _must_check_;

typedef enum CryptHash { CRYPT_MD5, CRYPT_SHA1, CRYPT_SHA256, CRYPT_SHA512 } CryptHash;
typedef struct Hasher Hasher;
Hasher *hasher_new(CryptHash kind);
void hasher_add(Hasher *h, const void *data, size_t n);
/* Appends the digest in lower-case hex and frees the hasher. */
void hasher_end(Hasher *h, Buf *ret_hex);
Hasher *hasher_free(Hasher *h);
/* The first n bytes of the digest of `data` alone, whatever was added before; the hasher stays good
 * for more. For many small pieces: it makes nothing anew. */
void hasher_once(Hasher *h, Str data, uint8_t *ret, size_t n);
/* In one go, appended as hex. */
void crypt_hash(CryptHash kind, Str data, Buf *ret_hex);
int crypt_hash_file(CryptHash kind, const char *path, Buf *ret_hex, Err *err) _must_check_;
void crypt_hmac(CryptHash kind, const Secret *key, Str data, Buf *ret_hex);
/* 32 bytes derived from a master for one named use: HMAC-SHA256(master, label). */
Secret *crypt_derive_new(const Secret *master, const char *label);
/* True if a certificate in this PEM file was valid only before `now`. */
bool crypt_cert_expired(const char *path, Msec now);
bool crypt_equal(Str a, Str b); /* in constant time for equal lengths */

/* Swift TempURL signature, hex (HMAC over "METHOD\nEXPIRES\nPATH"; for a prefix URL, PATH is
 * "prefix:" + path of the prefix). OpenStack Swift, middleware tempurl. */
void crypt_temp_url(CryptHash kind, const Secret *key, const char *method, int64_t expires_s,
                    const char *path, bool prefix, Buf *ret_hex);

/* Key pairs: X25519 for sealing, Ed25519 for signing. Public halves are base64 text. */
typedef struct KeyPair {
    Secret *secret; /* 32 bytes (X25519) or 64 (Ed25519) */
    char *public_b64;
    json_t *grants; /* crypt_grant; or NULL */
} KeyPair;
void crypt_box_keys(KeyPair *ret);
void crypt_sign_keys(KeyPair *ret);
/* The same pair each time from a secret of 32 bytes. */
void crypt_sign_keys_from(const Secret *seed, KeyPair *ret);
/* The public half again from the secret one. */
int crypt_box_public(const Secret *secret, KeyPair *ret, Err *err) _must_check_;
void keypair_clear(KeyPair *k);
DEFINE_CLEAR(KeyPair, keypair_clear)

int crypt_seal(const char *const *recipients_b64, const char *purpose, Str plain, Buf *ret,
               Err *err) _must_check_; /* recipients: NULL-ended */
/* ERR_CORRUPT if it is damaged or for another purpose, ERR_DENIED if not for this key. *ret must be
 * wiped by the caller if it holds a secret. */
int crypt_open(const KeyPair *key, const char *purpose, Str sealed, Buf *ret,
               Err *err) _must_check_;
/* The same in parts, for what is larger than JSON likes: a key of CRYPT_KEY_BYTES is sealed to each
 * recipient (added to the object *ret_to), and encrypts frames (XChaCha20-Poly1305,
 * CRYPT_FRAME_BYTES longer than the plain bytes). A frame's index is its nonce: a key must never be
 * used for two sets of frames. Frames are pure, for any thread. */
#define CRYPT_FRAME_BYTES 16
int crypt_seal_key(const char *const *recipients_b64, const Secret *key, json_t *ret_to,
                   Err *err) _must_check_;
int crypt_open_key(const KeyPair *key, const json_t *to, Secret **ret, Err *err) _must_check_;
/* Lends one key of many: what `from` may open of `to` is sealed to another public key, as a row of
 * *ret_grants. A pair of that key with these grants in it (owned by it) opens `to` as if it were
 * named there, and nothing else. */
int crypt_grant(const KeyPair *from, const json_t *to, const char *public_b64, json_t *ret_grants,
                Err *err) _must_check_;
void crypt_frame_seal(const Secret *key, uint32_t index, Str plain, Buf *ret);
/* False if it is damaged, of another index or key, or does not fit into *ret. */
bool crypt_frame_open(const Secret *key, uint32_t index, Str sealed, Buf *ret) _must_check_;

#define CRYPT_SIGNATURE_BYTES 64
/* Signatures as text and, where a format has fixed bytes, as such. */
void crypt_sign(const KeyPair *key, Str data, Buf *ret_b64);
bool crypt_verify(const char *public_b64, Str data, Str signature_b64) _must_check_;

/* A secret wrapped by a passphrase (Argon2id, interactive limits, XChaCha20-Poly1305): text for a
 * 0600 file. An empty passphrase is refused with ERR_USAGE. Opening with a wrong one: ERR_AUTH. */
int crypt_wrap(const Secret *secret, const Secret *passphrase, Buf *ret, Err *err) _must_check_;
int crypt_unwrap(Str text, const Secret *passphrase, Secret **ret, Err *err) _must_check_;

/* Web Push (VAPID) keys as Mastodon wants them: URL-safe base64 with padding, 32-byte scalar and
 * 65-byte uncompressed point of P-256 (reference: mastodon `webpush:generate_vapid_key`). */
void crypt_vapid(Secret **ret_private, char **ret_public);
