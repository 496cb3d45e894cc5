/* Looking into certificates. */
#include "io/crypt.h"
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>

bool crypt_cert_expired(const char *path, Msec now)
{
    time_t at = (time_t)(now / SECOND);
    bool expired = false;
    FILE *f = fopen(path, "re");

    if (!f)
        return false;
    for (X509 *cert; !expired && (cert = PEM_read_X509(f, NULL, NULL, NULL)); X509_free(cert))
        expired = X509_cmp_time(X509_get0_notAfter(cert), &at) < 0;
    fclose(f);
    return expired;
}
