/* The island's certificate: what the cloud has of it.
 *
 * The pair, certificate and key, is the part `tls` of the vault (host/vault.h) and, in memory, its
 * secrets TLS_CERTIFICATE and TLS_KEY, as PEM. What is no secret of it is the content type of the
 * object `tls` in the mail container, so that the listing that every plan makes shows it, also
 * where the files are not (the part in the vault has it too, for an island that was destroyed and
 * comes again):
 *
 *   application/vnd.atoll.tls; mark=<16 hex>; from=<Unix seconds>; until=<Unix seconds>
 *
 * A host's spec has the mark ("listen": {"pair"}), so a plan sees that the certificate is another.
 *
 * A certificate that an edge got by itself (host/acme.h) comes as a letter in its outbox, until an
 * apply has moved it into the vault:
 *
 *   <server>/<boot nonce>/out/tls-<mark>-<from>-<until>   {"v":1,"sealed":"<envelope>","mac":
 *                                                         "<hex>"}
 *
 * The envelope is sealed to the recipients of the vault with the purpose "tls/<island>/<mark>"; in
 * it {"certificate", "key", "store"}, the last what certbot needs to go on elsewhere
 * (host/acme_store.h). The MAC, of the envelope by a key that only the island's edges have, says
 * that it is an edge's: whoever may write into the container could seal one too. Both recipients
 * and key come to the edge as the secret TLS_LETTER, {"to": [..], "key"}.
 */
#pragma once
#include "cloud/resource.h"
#include "host/vault.h"
#include "io/cert.h"

#define TLS_PART "tls"
#define TLS_CERTIFICATE "tls_certificate"
#define TLS_KEY "tls_key"
#define TLS_STORE "tls_store"
#define TLS_LETTER "tls_letter"
/* A certificate that ends sooner is worth a warning. */
#define TLS_WARN (14 * DAY)

/* From a listing of the mail container, or of the vault; false if there is none, or it can't be
 * read. */
bool tls_record_read(const json_t *mail, Cert *ret);
void tls_record_type(const Cert *c, Buf *ret_content_type);
/* Where the spec of an edge wants TLS and does not know the certificate's mark, it is the record's.
 * False if there is none. */
bool tls_spec(const json_t *mail, json_t *spec);
/* What the vault's pair is; false if it has none. ERR_CORRUPT through false too: it is then written
 * anew. */
bool tls_of_vault(const Vault *v, Cert *ret);

/* Of the letters in a listing of the mail container that whose certificate begins last; its name is
 * borrowed. False if there is none. */
bool tls_letter_find(const json_t *mail, Cert *ret, const char **ret_name);
/* The secret TLS_LETTER. */
Secret *tls_letter_key_new(const Vault *v, const StrList *recipients);
/* The edge's side: the letter's name in its outbox and its text. `v`: TLS_CERTIFICATE, TLS_KEY,
 * TLS_STORE and TLS_LETTER. ERR_CONFIG, ERR_CORRUPT. */
int tls_letter_make(const char *island, const Vault *v, char **ret_name, Buf *ret,
                    Err *err) _must_check_;
/* The operator's: puts those of the first three that are in it into `ret`. `v`: the island's vault.
 * ERR_DENIED if it is no edge's or not for this key, ERR_CORRUPT if it is damaged or not `mark`'s.
 */
typedef struct TlsLetter {
    const char *island, *mark;
    Str text;
} TlsLetter;
int tls_letter_open(const TlsLetter *l, const KeyPair *key, const Vault *v, Vault *ret,
                    Err *err) _must_check_;
