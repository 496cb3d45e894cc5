/* Bundles: what the operator tells a host. Sealed to the host, signed, numbered.
 *
 * Text of the object: {"v":1,"signed":"<base64 of JSON {server, nonce, number, sealed}>",
 * "signature":"<base64>"}. The signature is over the decoded `signed`; `sealed` is an envelope
 * (io/crypt.h) with the purpose "bundle/<server>/<nonce>/<number>". Inside: {"spec": host spec,
 * "secrets": {name: value}, "urls": {"in": prefix GET URL, "out": prefix PUT URL, "expires": s,
 * "trees": {version: {"url", "sha256"}}}}; the last only where the spec names trees (tree.h).
 * An ask (host/ask.h) is a bundle with {"ask": ..} inside instead of spec, secrets and urls: it
 * takes a number like any other, and changes nothing of what the host runs.
 * A host refuses a wrong signature, another server's or boot's bundle, and a number not above the
 * last it took.
 */
#pragma once
#include "base/json.h"
#include "host/vault.h"

#define BUNDLE_TEXT_MAX ((size_t)8 << 20)

/* Names of the vault's secrets that a role set (bits of island/roles.h) needs; each role has only
 * what it needs. Appends. (The certificate goes to where the spec's "listen" has a pair.) */
void bundle_secrets_for(unsigned roles, const json_t *env_secrets, StrList *ret);

typedef struct BundleHead {
    const char *server, *nonce;
    int64_t number;
} BundleHead;

typedef struct BundleUrls {
    const char *in, *out; /* prefix TempURLs: the object's name goes before the '?' */
    int64_t expires_s;
    const char *package; /* of atoll itself, where the spec names one; or NULL */
    const json_t *trees; /* tree_urls; NULL or empty: none */
    const char *backup;  /* goes among the secrets (host/backup.h); or NULL */
    const char *kit;     /* the same, of a restore; with kit_key; or NULL */
    const Secret *kit_key;
} BundleUrls;

int bundle_make(const BundleHead *head, const char *host_public_b64, const json_t *spec,
                const Vault *v, const BundleUrls *urls, Buf *ret, Err *err) _must_check_;
int bundle_make_ask(const BundleHead *head, const char *host_public_b64, const json_t *ask,
                    const Vault *v, Buf *ret, Err *err) _must_check_;
/* The host's side. `last`: number of the last bundle taken. expect->number: the place it was found
 * at; 0: any. ERR_DENIED (signature, other host, other place), ERR_CONFLICT (old number),
 * ERR_CORRUPT. *ret_body is the inside, with "number" added (wipe by json_decref is not possible:
 * keep it short-lived). */
int bundle_open(Str text, const char *sign_public_b64, const KeyPair *host_key,
                const BundleHead *expect, int64_t last, json_t **ret_body, Err *err) _must_check_;
/* The secrets of an opened bundle, as a vault. ERR_CORRUPT. */
int bundle_vault(const json_t *body, Vault *v, Err *err) _must_check_;
