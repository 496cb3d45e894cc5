/* HTTP requests, many at once, through libcurl.
 *
 * A batch is performed in parallel and the caller goes on with straight-line code when all of it
 * is answered or has failed. TLS hosts get HTTP/2 by ALPN; clear-text hosts HTTP/1.1. Redirects are
 * not followed (a token would travel along). No retry happens here: whether a request may be
 * repeated is known above (cloud/batch.h), where `sent` below matters. (libcurl's own silent
 * repetition on a reused connection that dies is cut off too.)
 *
 * Thread: one Http belongs to one thread. Limits: 64 requests in flight, 16 connections a host.
 * Ctrl-C: when *stop becomes non-zero, what is in flight is given `grace_ms` to finish (a POST cut
 * off is an object nobody knows), then fails with ERR_INTERRUPTED.
 */
#pragma once
#include "base/buf.h"
#include "base/err.h"
#include "base/secret.h"
#include "base/time.h"
#include <signal.h>

typedef struct Http Http;

/* One finished request, for `-v` and for counters. Borrowed during the call. */
typedef struct HttpTrace {
    const char *method;
    const char *url; /* query values of temp_url_sig are replaced by "..." */
    int status;      /* 0: no answer */
    Msec took_ms;
    const char *request_id; /* or NULL */
} HttpTrace;

typedef struct HttpOptions {
    const volatile sig_atomic_t *stop; /* or NULL */
    Msec grace_ms;                     /* 0: 10 s */
    void (*trace)(void *user, const HttpTrace *t);
    void *trace_user;
} HttpOptions;

/* Gives up to `n` bytes of a body that is made as it is sent, from `offset` on, and says how many:
 * never 0. A repetition begins anew, so any offset may be asked for again. Negative: the request
 * fails with *err. It may use another Http, not the one that sends. */
typedef ssize_t HttpBodyRead(void *user, int64_t offset, char *to, size_t n, Err *err);

typedef struct HttpRequest {
    const char *method;
    const char *url;
    const StrList *headers; /* "Name: value"; may be NULL */
    const Secret *token;    /* sent as X-Auth-Token; or NULL */
    Str body;               /* p NULL: no body */
    int body_fd;            /* with body_size > 0 and body.p NULL: sent from this file's start */
    int64_t body_size;
    HttpBodyRead *body_read; /* with body_size, instead of body_fd; or NULL */
    void *body_user;
    int sink_fd;         /* > 0: a 2xx body goes to this file, from its current position, not to
                            HttpResponse.body. Half a body is taken away again: a repetition can use
                            the same file */
    size_t max_body;     /* bytes; 0: BUF_MAX_BODY, or no limit into sink_fd. More fails with
                            ERR_CORRUPT */
    Msec timeout_ms;     /* whole request; 0: 60 s, and at least 1 byte in 30 s */
    const char *ca_file; /* PEM bundle to trust; NULL: the system's */
    const char *cert_file, *key_file; /* PEM, to show who we are; NULL: none */
    bool insecure;                    /* trust any certificate (`verify: false` of clouds.yaml) */
    const char *resolve;              /* "host:port:address" for tests; or NULL */
    bool last_word; /* goes out after Ctrl-C as well: what cleans up (a lock's removal) */
} HttpRequest;

typedef struct HttpResponse {
    int status;      /* 0: no complete answer; then `err` says why */
    StrList headers; /* "Name: value" of the last answer, as received */
    Buf body;
    Err err;   /* ERR_TEMPORARY (also for an answer that was cut short), ERR_INTERRUPTED,
                  ERR_CORRUPT (too large, not HTTP), ERR_IO (body_fd, sink_fd), body_read's own,
                  ERR_CONFIG (a URL or header that cannot be sent; with a hint, a certificate that
                  is not trusted). Never holds the token or the query of the URL */
    bool sent; /* bytes of the request may have reached the server: if there is no answer, the
                  effect is unknown */
    Msec took_ms;
} HttpResponse;

Http *http_new(const HttpOptions *options);
Http *http_free(Http *h);
/* Performs all n; ret[i] belongs to the caller (http_response_clear) and must be zeroed before.
 * Never fails as a whole: every outcome is in ret[i]. */
void http_perform(Http *h, const HttpRequest *requests, HttpResponse *ret, size_t n);
/* Value of a header (name in any case), borrowed; NULL if not there. */
const char *http_header(const HttpResponse *r, const char *name);
void http_response_clear(HttpResponse *r);
DEFINE_CLEAR(HttpResponse, http_response_clear)
static inline void http_drop(Http *h)
{
    (void)http_free(h);
}
DEFINE_CLEANUP(Http *, http_drop)
