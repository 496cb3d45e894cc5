/* Counters and gauges of the streaming server, in Prometheus's text form, one row each. Where there
 * are several loops each counts its own, and a reader adds them up. */
#pragma once
#include "base/buf.h"
#include "stream/names.h"
#include "stream/pg_pool.h"

typedef enum ClientKind { CLIENT_WEBSOCKET, CLIENT_EVENTSOURCE, CLIENT_KINDS } ClientKind;

typedef struct Metrics {
    uint64_t clients[CLIENT_KINDS];
    uint64_t streams[CLIENT_KINDS][STREAMS];
    uint64_t sent[CLIENT_KINDS];
    uint64_t redis_channels, redis_messages;
    PgPoolNumbers pg;
    uint64_t connections;
    /* what was refused or dropped, by why */
    uint64_t over_connections, over_address, over_account, over_subscriptions, over_queue,
        over_message, over_pending, over_backlog, handshake_late, ping_late, malformed,
        failed_filter, bad_requests, killed;
} Metrics;

void metrics_add(Metrics *to, const Metrics *more);
void metrics_write(const Metrics *m, Buf *out);
