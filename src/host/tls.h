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
 */
#pragma once
#include "cloud/resource.h"
#include "host/vault.h"
#include "io/cert.h"

#define TLS_PART "tls"
#define TLS_CERTIFICATE "tls_certificate"
#define TLS_KEY "tls_key"
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
