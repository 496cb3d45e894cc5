/* A few commands to a Redis server, through hiredis: one connection, one command at a time or a
 * pipeline of many, a reply as a tree. (Debian 12's hiredis has no TLS: there its codec is used
 * over a socket of ours.)
 *
 * Thread: a Redis belongs to one thread at a time. Limits: every wait is bounded by timeout_ms;
 * after an error of the connection the Redis is of no use any more and is closed by its owner.
 */
#pragma once
#include "base/buf.h"
#include "base/err.h"
#include "base/secret.h"
#include "base/time.h"

typedef struct Redis Redis;

typedef struct RedisTarget {
    const char *host;
    int port;
    const Secret *password; /* or NULL */
    const char *user;       /* of the server's ACL, with a password; NULL: the default user */
    const char *sentinel;   /* host and port are a Sentinel's, which knows where the master of this
                               name is; NULL: they are the server's own */
    bool tls;               /* the certificate must be of `host`, or what the Sentinel calls it */
    const char *ca_file;    /* PEM of its root; NULL: the system's folder */
    Msec timeout_ms;        /* for connecting and for each reply; 0: 1 s */
} RedisTarget;

typedef enum RedisType { REDIS_NIL, REDIS_INTEGER, REDIS_TEXT, REDIS_LIST } RedisType;

typedef struct RedisReply {
    RedisType type;
    int64_t integer;
    char *text; /* owned, terminated; may hold further NULs */
    size_t len; /* of text, or of items */
    struct RedisReply *items;
} RedisReply;

/* Connects and logs in. ERR_TEMPORARY when nobody answers or the server is still loading, ERR_AUTH
 * for a wrong password. */
int redis_open(const RedisTarget *t, Redis **ret, Err *err) _must_check_;
Redis *redis_close(Redis *r); /* takes NULL, returns NULL */
/* `argv`: NULL-ended, the command and its arguments. An error reply is ERR_AUTH, ERR_DENIED,
 * ERR_TEMPORARY (LOADING, BUSY) or ERR_CONFLICT with the server's words. */
int redis_command(Redis *r, const char *const *argv, RedisReply *ret, Err *err) _must_check_;
/* A pipeline: redis_send as often as wanted writes nothing yet, then redis_next once for each, in
 * the same order; the first of these sends them all. So it is one round trip. An error reply is
 * redis_next's own error, as redis_command's, and the following replies can still be had unless
 * redis_broken. */
void redis_send(Redis *r, const char *const *argv);
int redis_next(Redis *r, RedisReply *ret, Err *err) _must_check_;
size_t redis_trips(const Redis *r); /* round trips so far, those of the login included */
bool redis_broken(const Redis *r);  /* the connection is lost: close it */
void redis_reply_clear(RedisReply *r);
DEFINE_CLEAR(RedisReply, redis_reply_clear)
static inline void redis_drop(Redis *r)
{
    (void)redis_close(r);
}
DEFINE_CLEANUP(Redis *, redis_drop)
