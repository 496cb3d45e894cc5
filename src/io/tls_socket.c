#include "io/tls_socket.h"
#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <unistd.h>

struct TlsSocket {
    SSL_CTX *context;
    SSL *ssl;
    bool wants_write;
};

static bool is_address(const char *host)
{
    uint8_t bytes[16];
    return inet_pton(AF_INET, host, bytes) == 1 || inet_pton(AF_INET6, host, bytes) == 1;
}

/* What cannot be read is no reason to trust others. */
static bool is_there(const char *file)
{
    return file && access(file, F_OK) == 0;
}

static bool set_up(TlsSocket *t, int fd, const char *host, const char *ca_file)
{
    t->context = SSL_CTX_new(TLS_client_method());
    if (!t->context)
        return false;
    if (SSL_CTX_load_verify_locations(t->context, ca_file, NULL) != 1 &&
        (is_there(ca_file) || SSL_CTX_set_default_verify_paths(t->context) != 1))
        return false;
    SSL_CTX_set_verify(t->context, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_mode(t->context,
                     SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    t->ssl = SSL_new(t->context);
    if (!t->ssl || SSL_set_fd(t->ssl, fd) != 1)
        return false;
    X509_VERIFY_PARAM *check = SSL_get0_param(t->ssl);
    if (is_address(host))
        return X509_VERIFY_PARAM_set1_ip_asc(check, host) == 1;
    /* OpenSSL's macro casts const away; it copies the name. */
    _cleanup_free_ char *name = xstrdup(host);
    return SSL_set1_host(t->ssl, name) == 1 && SSL_set_tlsext_host_name(t->ssl, name) == 1;
}

int tls_socket_new(int fd, const char *host, const char *ca_file, TlsSocket **ret, Err *err)
{
    TlsSocket *t = NEW(TlsSocket);

    ERR_clear_error();
    if (!set_up(t, fd, host, ca_file)) {
        (void)tls_socket_free(t);
        return err_set(err, ERR_IO, "cannot set up TLS: %s",
                       ERR_reason_error_string(ERR_get_error()));
    }
    ERR_clear_error();
    SSL_set_connect_state(t->ssl);
    *ret = t;
    return 0;
}

TlsSocket *tls_socket_free(TlsSocket *t)
{
    if (t) {
        SSL_free(t->ssl);
        SSL_CTX_free(t->context);
        free(t);
    }
    return NULL;
}

/* True if the call only has to be made again. */
static bool again(TlsSocket *t, int result)
{
    int why = SSL_get_error(t->ssl, result);
    t->wants_write = why == SSL_ERROR_WANT_WRITE;
    return why == SSL_ERROR_WANT_WRITE || why == SSL_ERROR_WANT_READ;
}

int tls_socket_handshake(TlsSocket *t, Err *err)
{
    ERR_clear_error();
    int r = SSL_do_handshake(t->ssl);
    if (r == 1) {
        t->wants_write = false;
        return 1;
    }
    if (again(t, r))
        return 0;
    long verify = SSL_get_verify_result(t->ssl);
    unsigned long code = ERR_get_error();
    const char *reason = code ? ERR_reason_error_string(code) : NULL;
    return err_set(err, ERR_TEMPORARY, "TLS refused: %s",
                   verify != X509_V_OK ? X509_verify_cert_error_string(verify)
                   : reason            ? reason
                                       : "the connection ended");
}

ssize_t tls_socket_read(TlsSocket *t, void *ret, size_t n)
{
    ERR_clear_error();
    int r = SSL_read(t->ssl, ret, (int)MIN(n, (size_t)INT_MAX));
    if (r > 0)
        return r;
    if (again(t, r)) {
        errno = EAGAIN;
        return -1;
    }
    if (SSL_get_error(t->ssl, r) == SSL_ERROR_ZERO_RETURN)
        return 0;
    errno = ECONNRESET;
    return -1;
}

ssize_t tls_socket_write(TlsSocket *t, const void *bytes, size_t n)
{
    ERR_clear_error();
    int r = SSL_write(t->ssl, bytes, (int)MIN(n, (size_t)INT_MAX));
    if (r > 0)
        return r;
    errno = again(t, r) ? EAGAIN : ECONNRESET;
    return -1;
}

bool tls_socket_wants_write(const TlsSocket *t)
{
    return t->wants_write;
}
