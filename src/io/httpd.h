/* An HTTP server through libmicrohttpd: a thread a connection, so that handlers are straight-line
 * code and may wait.
 *
 * A call goes through four callbacks, all on the connection's own thread:
 *
 *     begin   the head has come. The handler may keep things in `state`, and may already fill
 *             `reply` and set `answered`: then the body is thrown away unseen.
 *     body    a part of the request's body, as it comes: nothing is gathered here, so a body of
 *             any size needs the memory of one part (32 kB or so). False: the rest is thrown away.
 *     end     the whole body is here (or there was none): fills `reply`. Not called when `begin`
 *             answered, nor when the client went away before.
 *     close   the call is over: the reply was sent (`sent`), or the client is gone, or the reply
 *             told to drop the connection. Always called once for each begin. Frees `state`.
 *
 * Replies come from memory or from stretches of files (read with pread as they are sent, so that
 * a large file needs no memory). HEAD sends the head that GET would send: handlers need not care.
 * The request's target is kept as it was sent, undecoded, because %2F and "/" differ for some.
 *
 * Who owns what: Httpd owns the listening socket. HttpdCall and all it points to belong to the
 * server and live until `close` has returned; `reply` is filled by the handler and its contents,
 * file descriptors included, are then the server's.
 *
 * Limits: a request's head is at most 32 kB (431), 1000 connections, an idle connection is closed
 * after five minutes. No TLS: it is for loopback and for behind a proxy. The host process must
 * ignore SIGPIPE.
 */
#pragma once
#include "base/buf.h"
#include "base/err.h"
#include "base/time.h"
#include "base/vec.h"

typedef struct Httpd Httpd;

/* A stretch of a reply's body: bytes (`text`, freed by the server) or a part of a file. */
typedef struct HttpdPiece {
    char *text; /* NULL: from the file */
    int fd;     /* may be shared by several pieces of one reply; closed once when all is over */
    int64_t offset, size;
} HttpdPiece;

typedef struct HttpdReply {
    int status;
    StrList headers; /* "Name: value"; Content-Length, Date and Connection are the server's */
    Buf body;        /* this, or ... */
    VEC(HttpdPiece) pieces; /* ... these, one after the other */
    /* For tests of clients: what a bad network or a dying server does. */
    bool drop;      /* no answer: the connection is reset */
    int64_t cut_at; /* >= 0: after so many bytes of the body the connection is reset, while
                       Content-Length names them all. Set to -1 by the server at first */
} HttpdReply;

typedef struct HttpdCall {
    const char *method;
    const char *target; /* the path as sent, undecoded, without the query */
    const char *query;  /* as sent, without "?"; "" if there was none */
    StrList headers;    /* "Name: value" as received */
    int64_t body_size;  /* Content-Length; 0 without one; -1 when chunked */
    const char *peer;   /* the client's address in text */
    void *user;         /* of the listener */
    void *state;        /* the handler's */
    bool answered;      /* set in `begin`: reply now, without the body */
    HttpdReply reply;
} HttpdCall;

typedef struct HttpdHandler {
    void (*begin)(HttpdCall *c);
    bool (*body)(HttpdCall *c, Str part);
    void (*end)(HttpdCall *c);
    void (*close)(HttpdCall *c, bool sent); /* or NULL */
} HttpdHandler;

/* Listens on an IPv4 or IPv6 address. Port 0: a free one. ERR_CONFLICT if somebody has the port
 * (the port is never shared), ERR_IO. */
int httpd_listen(const char *address, int port, int *ret_fd, int *ret_port, Err *err) _must_check_;
/* Serves on a listening socket (from httpd_listen or from systemd; taken, also on failure).
 * `handler` is borrowed and must outlive the Httpd. ERR_IO. */
int httpd_start(int fd, const HttpdHandler *handler, void *user, Httpd **ret,
                Err *err) _must_check_;
/* Stops listening, cuts every connection and waits until all callbacks have returned. Takes NULL,
 * returns NULL. */
Httpd *httpd_stop(Httpd *h);

/* The value of a request's header, name in any case; NULL if it is not there. Borrowed. */
const char *httpd_header(const HttpdCall *c, const char *name);
/* True when the client has closed its side: for handlers that wait. */
bool httpd_gone(const HttpdCall *c);
/* Adds a stretch of a file; `fd` becomes the server's. */
void httpd_reply_file(HttpdCall *c, int fd, int64_t offset, int64_t size);
/* The body's length as Content-Length says it. */
int64_t httpd_reply_size(const HttpdReply *r);
