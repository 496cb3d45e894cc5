/* A server's certificate and its private key, as the PEM files that people have: what they say, and
 * whether they can serve a domain. OpenSSL's; nothing here asks the network.
 *
 * `pem` is a whole file: the server's certificate first, then those that sign it, as nginx's
 * ssl_certificate wants it. Other parts of it (a key, words) are not looked at. No error names the
 * file: the caller wraps it. Thread-safe.
 */
#pragma once
#include "base/buf.h"
#include "base/err.h"
#include "base/secret.h"
#include "base/time.h"

#define CERT_MAX_BYTES ((size_t)256 << 10) /* of a file */

typedef struct Cert {
    char mark[17]; /* 16 hex digits of the SHA-256 over all certificates of the file, in order */
    Msec begins, ends; /* of the server's own */
} Cert;

/* ERR_CORRUPT if there is none, or one of them is damaged. ret_pem: the same certificates, and
 * nothing else, as PEM; or NULL. */
int cert_read(Str pem, Cert *ret, Buf *ret_pem, Err *err) _must_check_;
/* ERR_CONFIG, with a hint, if browsers would refuse it for this domain at this time, or if the
 * chain is not in order. Who signs it is not asked: it may be an authority of one's own. */
int cert_check(Str pem, const char *domain, Msec now, Err *err) _must_check_;
/* The private key of a file, as PEM without a passphrase. ERR_CORRUPT if there is none; ERR_CONFIG
 * if it has a passphrase, or is not the first certificate's. */
int cert_key(Str pem, Str key_pem, Secret **ret, Err *err) _must_check_;
/* A pair that signs itself, for a server that must answer before anybody has signed for it: a
 * P-256 key, valid for ten years from a day before `now`. Browsers refuse it. ERR_IO where OpenSSL
 * can't. */
int cert_self(const char *domain, Msec now, Buf *ret_pem, Secret **ret_key, Err *err) _must_check_;
