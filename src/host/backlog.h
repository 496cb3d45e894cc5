/* What waits for Mastodon's workers, and what they are at, as Sidekiq keeps it in Redis
 * (mastodon.md 8.1): numbers for a report. Of a job nothing is read, only how many there are.
 *
 * Limits: the first 64 queues, by name; a name that is not 1 to 64 of a-z, A-Z, 0-9, dot, dash and
 * underscore is left out, and so are queues in which nothing waits.
 */
#pragma once
#include "base/err.h"
#include "base/json.h"
#include "io/redis.h"

/* {"queues": {"default": 12}, "busy": 3}: jobs that wait, by queue, and jobs at work in all
 * processes that still beat. The caller's. Errors are Redis'. */
int backlog_ask(Redis *redis, json_t **ret, Err *err) _must_check_;
