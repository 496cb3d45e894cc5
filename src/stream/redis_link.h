/* One connection to Redis that never gives up: it connects, logs in, chooses the database, asks
 * sentinels where the master is, and when it is lost tries again after min(50 ms x n, 2 s).
 *
 * hiredis reads and writes the protocol; the socket, plain, unix or TLS, is ours, since Debian 12's
 * hiredis has no TLS. What is added while there is no connection is dropped: whoever adds says it
 * all anew when it is ready again. One thread: the loop's.
 */
#pragma once
#include "base/buf.h"
#include "base/time.h"
#include "stream/config.h"
#include <hiredis/hiredis.h>
#include <uv.h>

typedef struct RedisLink RedisLink;

typedef struct RedisLinkOptions {
    uv_loop_t *loop;
    const StreamConfig *config; /* borrowed for the link's life */
    const char *word;           /* for the log: "subscriptions" */
    void (*ready)(void *user);
    void (*reply)(void *user, redisReply *reply); /* borrowed; not those of logging in */
    void *user;
} RedisLinkOptions;

RedisLink *redis_link_new(const RedisLinkOptions *o); /* begins to connect */
RedisLink *redis_link_free(RedisLink *l);             /* takes NULL, returns NULL */
bool redis_link_is_ready(const RedisLink *l);
/* One command; sent by redis_link_flush. `len` NULL: the arguments are terminated. */
void redis_link_add(RedisLink *l, int argc, const char **argv, const size_t *len);
void redis_link_flush(RedisLink *l);
/* Called about every second: a connection that was silent for too long is given up. */
void redis_link_tick(RedisLink *l, Msec now_mono);
