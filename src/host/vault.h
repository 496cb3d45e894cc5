/* The secrets of an island: made once, kept sealed in the cloud.
 *
 * The object `secrets` in container `<island>-vault` is the authority. It is created with
 * If-None-Match and read back before first use, so two first runs agree. Never in a plan, a log, an
 * argv. Names in it (all there from the first apply on): master (32 bytes: keys are derived from
 * it), db_password, redis_password, media_password, secret_key_base (128 hex), vapid_private,
 * vapid_public, active_record_primary, active_record_deterministic, active_record_salt (32
 * alphanumerics each), search_password (from master, also where an older atoll made the vault),
 * sign_secret, sign_public (Ed25519: bundles), and the user's own (`atoll
 * secret`, island file {secret: NAME}). Formats: mastodon.md 3.2.
 *
 * What changes later is in a part: an object of its own beside it, which is written whole. Swift
 * has no If-Match for PUT, so writing `secrets` again could lose what somebody else put there.
 */
#pragma once
#include "cloud/cloud.h"
#include "io/crypt.h"

typedef struct Vault Vault;

/* Opens, making it when it is not there (then the container must be). `recipients` of
 * keys_recipients. ERR_NOT_FOUND when not there and !make; ERR_DENIED when sealed for other keys.
 */
int vault_open(Cloud *c, const char *island, const KeyPair *operator_key, const StrList *recipients,
               bool make, Vault **ret, Err *err) _must_check_;
Vault *vault_free(Vault *v);
const Secret *vault_secret(const Vault *v, const char *name); /* borrowed; NULL if not there */
/* The object's text and back: what vault_open does between its requests. */
int vault_seal(const Vault *v, const char *island, const StrList *recipients, Buf *ret,
               Err *err) _must_check_;
int vault_unseal(Str sealed, const char *island, const KeyPair *key, Vault **ret,
                 Err *err) _must_check_;
/* The same without a seal: {name: base64}, for what is sealed as a whole or stays in a 0600 file.
 */
int vault_write(const Vault *v, Buf *ret, Err *err) _must_check_;
int vault_read(Str text, Vault **ret, Err *err) _must_check_;
/* Adds the secrets of the part `<island>-vault/<part>`, sealed with the purpose
 * "vault/<island>/<part>". ERR_NOT_FOUND when there is none; ERR_DENIED when sealed for other keys.
 */
int vault_part_load(Cloud *c, const char *island, const char *part, const KeyPair *key, Vault *v,
                    Err *err) _must_check_;
typedef struct VaultPart {
    const char *name;
    const char *content_type; /* what a listing may show of it; or NULL */
    const StrList *recipients;
    const Vault *secrets; /* all of them */
} VaultPart;
/* Writes it, over what was there (the container keeps versions). */
int vault_part_store(Cloud *c, const char *island, const VaultPart *part, Err *err) _must_check_;
/* In memory only; for tests and for `host` of a bundle. */
Vault *vault_new(void);
void vault_set(Vault *v, const char *name, const Secret *value);
void vault_remove(Vault *v, const char *name); /* if it is there */
/* Fills in whatever of the list above is missing. */
void vault_generate(Vault *v);
/* The Ed25519 pair that signs bundles. */
int vault_sign_keys(const Vault *v, KeyPair *ret, Err *err) _must_check_;
/* Derived keys: "boot/<server>/<nonce>" (K of a first boot), "temp-url/boot", "temp-url/mail". As
 * 64 hex digits, so that a key can stand in a header or a script. */
Secret *vault_derive_new(const Vault *v, const char *label);
static inline void vault_drop(Vault *v)
{
    (void)vault_free(v);
}
DEFINE_CLEANUP(Vault *, vault_drop)
