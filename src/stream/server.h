/* The streaming server: what Mastodon's own does (the API documentation's "Streaming"), on a libuv
 * loop or on several (the setting `loops`). One call runs it until `stop` is set and its clients
 * have been told. */
#pragma once
#include "stream/config.h"
#include <signal.h>

typedef struct StreamRun {
    const StreamConfig *config;
    const volatile sig_atomic_t *stop;
    void (*ready)(void *user, const char *where); /* it listens; called once */
    void *user;
} StreamRun;
/* ERR_IO when it cannot listen. Redis and PostgreSQL may be away: it waits for them. */
int stream_serve(const StreamRun *run, Err *err) _must_check_;
