/* Is a service well? Asked in a thread of its own, because an answer may take seconds and the
 * driver's turn may not: begin, look later, free. What was begun and freed early ends by itself.
 */
#pragma once
#include "base/json.h"
#include "host/service.h"

typedef enum HealthAsk {
    ASK_HEALTH,  /* as s->health says */
    ASK_DRAINED, /* Sidekiq was told to be quiet, knows it, and has no job at work */
    ASK_BACKLOG, /* of Redis: what waits for Sidekiq (backlog.h) */
    ASK_CLIENTS  /* of the streaming server: who is connected */
} HealthAsk;

typedef struct Health Health;

/* Copies what it needs of `s`. `first`: not yet well since its process started. */
Health *health_begin(const Service *s, HealthAsk ask, pid_t pid, bool first);
/* False while the answer is out. *ret: 0 or what failed, with its words in `why`. */
bool health_answer(Health *h, int *ret, char why[static 160]);
/* What ASK_BACKLOG or ASK_CLIENTS found, once the answer is there; the caller's. NULL if there is
 * nothing, or it was taken. */
json_t *health_found_new(Health *h);
/* What an answer to GET /_cluster/health means ("Cluster health API"): `status` in it is red while
 * a primary shard is missing, and yellow while a copy is, which a single node can't have. No status
 * is waited for in the call: that answers 408 when it does not come in time. Pure. */
int health_search(int status, Str body, Err *err) _must_check_;
/* {"websocket": 12, "eventsource": 3} of an answer to GET /metrics, Prometheus's text, of
 * Mastodon's streaming server or atoll's. ERR_NOT_FOUND if it tells of neither. Pure. */
int health_clients(Str body, json_t **ret, Err *err) _must_check_;
Health *health_free(Health *h); /* takes NULL, returns NULL */
