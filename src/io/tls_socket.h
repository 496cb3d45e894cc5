/* TLS over a connected socket (OpenSSL): a non-blocking one that somebody else's loop watches, or
 * one whose waits have a limit (SO_RCVTIMEO, SO_SNDTIMEO), for which "wait" below is that it is
 * over.
 *
 * The caller owns the file descriptor and closes it after tls_socket_free. Reading and writing
 * behave as recv and send do; after -1 with EAGAIN, `tls_socket_wants_write` says what to wait
 * for. One thread at a time. */
#pragma once
#include "base/err.h"

typedef struct TlsSocket TlsSocket;

/* `host` is checked against the server's certificate, which must come from a root of `ca_file`
 * (PEM) or, where that is not there, of the system's folder. */
int tls_socket_new(int fd, const char *host, const char *ca_file, TlsSocket **ret,
                   Err *err) _must_check_;
TlsSocket *tls_socket_free(TlsSocket *t); /* takes NULL, returns NULL */
/* 1: done; 0: wait and call again; negative: refused. */
int tls_socket_handshake(TlsSocket *t, Err *err) _must_check_;
ssize_t tls_socket_read(TlsSocket *t, void *ret, size_t n);
ssize_t tls_socket_write(TlsSocket *t, const void *bytes, size_t n);
bool tls_socket_wants_write(const TlsSocket *t);
