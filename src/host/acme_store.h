/* What must outlive a server of certbot's folder: account, certificate, key, and its settings for
 * them. So that a server that takes another's place asks nobody for anything.
 *
 * As JSON, secrets and all: {"files": {path: text}, "links": {path: target}}, paths below
 * <folder>/conf: accounts/..., renewal/<domain>.conf, and the newest of archive/<domain> with what
 * live/<domain> has of it. certbot's settings name <folder>, which stands as "@folder@" here.
 */
#pragma once
#include "base/buf.h"
#include "base/json.h"

#define ACME_STORE_MAX ((size_t)512 << 10)

/* Of what is there; it may be little. ERR_IO, ERR_CORRUPT (larger than ACME_STORE_MAX, or no text).
 */
int acme_store_pack(const char *folder, const char *domain, Buf *ret, Err *err) _must_check_;
/* Whether there is a certificate of certbot's for the domain that has its settings. */
bool acme_store_there(const char *folder, const char *domain);
/* Puts it there; what is not whole is removed first. To be called only if !acme_store_there: what
 * is there is newer. `store`: NULL: only removes. The settings are written last, so that a kill in
 * the middle is followed by the same again. ERR_CORRUPT for a path that leads elsewhere. */
int acme_store_unpack(const char *folder, const char *domain, const json_t *store,
                      Err *err) _must_check_;
