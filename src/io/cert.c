#include "io/cert.h"
#include "io/crypt.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

static void free_bio(BIO *b)
{
    (void)BIO_free(b); /* in memory */
}
DEFINE_CLEANUP(BIO *, free_bio)

static void free_cert(X509 *c)
{
    X509_free(c);
}
DEFINE_CLEANUP(X509 *, free_cert)

static void free_key(EVP_PKEY *k)
{
    EVP_PKEY_free(k);
}
DEFINE_CLEANUP(EVP_PKEY *, free_key)

static BIO *bio_of(Str s)
{
    BIO *b = BIO_new_mem_buf(s.n ? s.p : "", (int)MIN(s.n, CERT_MAX_BYTES));

    BUG_IF(!b);
    return b;
}

/* The next certificate; NULL at the end (0) or where one is damaged. */
static int next_cert(BIO *b, X509 **ret, Err *err)
{
    unsigned long e;

    ERR_clear_error();
    *ret = PEM_read_bio_X509(b, NULL, NULL, NULL);
    e = ERR_peek_last_error();
    ERR_clear_error();
    if (*ret || (ERR_GET_LIB(e) == ERR_LIB_PEM && ERR_GET_REASON(e) == PEM_R_NO_START_LINE))
        return 0;
    return err_set(err, ERR_CORRUPT, "a certificate in it is damaged");
}

static int no_cert(Err *err)
{
    (void)err_set(err, ERR_CORRUPT, "there is no certificate in it");
    return err_hint(err, "a PEM file is wanted: \"-----BEGIN CERTIFICATE-----\" and so on");
}

static int first_cert(Str pem, X509 **ret, Err *err)
{
    _cleanup_(free_bio) BIO *b = bio_of(pem);
    int r = next_cert(b, ret, err);

    return r < 0 || *ret ? r : no_cert(err);
}

static Msec msec_of(const ASN1_TIME *t)
{
    struct tm tm = {0};

    return ASN1_TIME_to_tm(t, &tm) == 1 ? (Msec)timegm(&tm) * SECOND : 0;
}

static void add_pem(X509 *c, Buf *ret)
{
    _cleanup_(free_bio) BIO *out = BIO_new(BIO_s_mem());
    char *text = NULL;

    BUG_IF(!out || PEM_write_bio_X509(out, c) != 1);
    long size = BIO_get_mem_data(out, &text);
    buf_add(ret, text, (size_t)size);
}

static int cert_add(X509 *c, Buf *hashed, Buf *ret_pem)
{
    unsigned char *der = NULL;
    int n = i2d_X509(c, &der);

    if (n <= 0)
        return -ERR_CORRUPT;
    buf_add(hashed, (const char *)der, (size_t)n);
    OPENSSL_free(der);
    if (ret_pem)
        add_pem(c, ret_pem);
    return 0;
}

int cert_read(Str pem, Cert *ret, Buf *ret_pem, Err *err)
{
    _cleanup_(free_bio) BIO *b = bio_of(pem);
    _cleanup_(buf_clear) Buf hashed = BUF_INIT(CERT_MAX_BYTES), hex = BUF_INIT(BUF_MAX_LINE);
    Cert cert = {0};

    for (bool first = true;; first = false) {
        _cleanup_(free_cert) X509 *c = NULL;
        int r = next_cert(b, &c, err);

        if (r < 0)
            return r;
        if (!c && first)
            return no_cert(err);
        if (!c)
            break;
        if (first) {
            cert.begins = msec_of(X509_get0_notBefore(c));
            cert.ends = msec_of(X509_get0_notAfter(c));
        }
        if (cert_add(c, &hashed, ret_pem) < 0)
            return err_set(err, ERR_CORRUPT, "a certificate in it is damaged");
    }
    crypt_hash(CRYPT_SHA256, buf_as_str(&hashed), &hex);
    snprintf(cert.mark, sizeof cert.mark, "%.16s", hex.p);
    *ret = cert;
    return 0;
}

static int check_time(const Cert *c, Msec now, Err *err)
{
    char at[TIME_TEXT_MAX];

    if (c->ends <= now) {
        (void)err_set(err, ERR_CONFIG, "it ended at %s", time_format(c->ends, false, at));
        return err_hint(err, "have it renewed by who signed it");
    }
    if (c->begins > now) {
        (void)err_set(err, ERR_CONFIG, "it does not begin before %s",
                      time_format(c->begins, false, at));
        return err_hint(err, "is this machine's clock right?");
    }
    return 0;
}

/* "reef.example, www.reef.example": the names that it has. */
static void names_of(X509 *c, Buf *ret)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(c, NID_subject_alt_name, NULL, NULL);

    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *n = sk_GENERAL_NAME_value(names, i);

        if (n->type == GEN_DNS)
            buf_printf(ret, "%s%.*s", ret->len ? ", " : "", ASN1_STRING_length(n->d.dNSName),
                       (const char *)ASN1_STRING_get0_data(n->d.dNSName));
    }
    GENERAL_NAMES_free(names);
}

/* A name in the subject alone is not looked at by browsers any more. */
static int check_domain(X509 *c, const char *domain, Err *err)
{
    _cleanup_(buf_clear) Buf names = BUF_INIT(BUF_MAX_LINE);

    if (X509_check_host(c, domain, 0, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT, NULL) == 1)
        return 0;
    names_of(c, &names);
    (void)err_set(err, ERR_CONFIG, "it is not for %s", domain);
    return err_hint(err, "its names are: %s", names.len ? names.p : "none");
}

static int check_chain(Str pem, Err *err)
{
    _cleanup_(free_bio) BIO *b = bio_of(pem);
    _cleanup_(free_cert) X509 *below = NULL;
    int r = next_cert(b, &below, err);

    while (r == 0 && below) {
        X509 *c = NULL;

        r = next_cert(b, &c, err);
        if (r == 0 && c && X509_check_issued(c, below) != X509_V_OK) {
            (void)err_set(err, ERR_CONFIG, "its certificates are not in order");
            r = err_hint(err,
                         "the server's own comes first, and after each the one that signed it");
        }
        X509_free(below);
        below = c;
    }
    return r;
}

int cert_check(Str pem, const char *domain, Msec now, Err *err)
{
    _cleanup_(free_cert) X509 *c = NULL;
    Cert cert = {0};
    int r = cert_read(pem, &cert, NULL, err);

    if (r == 0)
        r = first_cert(pem, &c, err);
    if (r == 0)
        r = check_domain(c, domain, err);
    if (r == 0)
        r = check_time(&cert, now, err);
    return r < 0 ? r : check_chain(pem, err);
}

/* Nobody is asked for a passphrase. */
static int no_passphrase(char *text, int size, int rwflag, void *asked)
{
    (void)text, (void)size, (void)rwflag;
    *(bool *)asked = true;
    return -1;
}

static int key_text(EVP_PKEY *key, Secret **ret, Err *err)
{
    _cleanup_(free_bio) BIO *out = BIO_new(BIO_s_secmem());
    char *text = NULL;
    long n;

    if (!out || PEM_write_bio_PrivateKey(out, key, NULL, NULL, 0, NULL, NULL) != 1)
        return err_set(err, ERR_CORRUPT, "the key can't be written as PEM");
    n = BIO_get_mem_data(out, &text);
    *ret = secret_new(text, (size_t)n);
    OPENSSL_cleanse(text, (size_t)n);
    return 0;
}

int cert_key(Str pem, Str key_pem, Secret **ret, Err *err)
{
    _cleanup_(free_cert) X509 *c = NULL;
    _cleanup_(free_bio) BIO *b = bio_of(key_pem);
    bool asked = false;
    int r = first_cert(pem, &c, err);

    if (r < 0)
        return r;
    _cleanup_(free_key) EVP_PKEY *key = PEM_read_bio_PrivateKey(b, NULL, no_passphrase, &asked);
    ERR_clear_error();
    if (asked) {
        (void)err_set(err, ERR_CONFIG, "the key has a passphrase, which no server could type");
        return err_hint(err, "`openssl pkey -in FILE -out NEW` takes it off");
    }
    if (!key) {
        (void)err_set(err, ERR_CORRUPT, "there is no private key in it");
        return err_hint(err, "a PEM file is wanted: \"-----BEGIN PRIVATE KEY-----\" and so on");
    }
    r = X509_check_private_key(c, key);
    ERR_clear_error();
    if (r != 1)
        return err_set(err, ERR_CONFIG, "it is not the key of the certificate");
    return key_text(key, ret, err);
}

static bool add_name(X509 *c, const char *domain)
{
    _cleanup_free_ char *value = xasprintf("DNS:%s", domain);
    X509_EXTENSION *names = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, value);
    bool ok = names && X509_add_ext(c, names, -1) == 1;

    X509_EXTENSION_free(names);
    return ok;
}

/* RFC 5280 4.1.2.2: a serial number is positive, and has 20 bytes at most. */
static bool add_serial(X509 *c)
{
    uint64_t number = 0;

    crypt_random(&number, sizeof number);
    return ASN1_INTEGER_set_uint64(X509_get_serialNumber(c), number >> 1 | 1) == 1;
}

int cert_self(const char *domain, Msec now, Buf *ret_pem, Secret **ret_key, Err *err)
{
    _cleanup_(free_key) EVP_PKEY *key = EVP_EC_gen("P-256");
    _cleanup_(free_cert) X509 *c = X509_new();
    X509_NAME *name = c ? X509_get_subject_name(c) : NULL;
    const unsigned char *words = (const unsigned char *)"not signed yet";

    bool ok = key && name && X509_set_version(c, X509_VERSION_3) == 1 && add_serial(c) &&
              X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, words, -1, -1, 0) == 1 &&
              X509_set_issuer_name(c, name) == 1 &&
              ASN1_TIME_set(X509_getm_notBefore(c), (time_t)((now - DAY) / SECOND)) &&
              ASN1_TIME_set(X509_getm_notAfter(c), (time_t)((now + 3650 * DAY) / SECOND)) &&
              X509_set_pubkey(c, key) == 1 && add_name(c, domain) &&
              X509_sign(c, key, EVP_sha256()) > 0;
    ERR_clear_error();
    if (!ok)
        return err_set(err, ERR_IO, "OpenSSL can't make a certificate for %s", domain);
    add_pem(c, ret_pem);
    return key_text(key, ret_key, err);
}
