/* Mastodon's environment, rendered exactly (mastodon.md 1.2, 3): what goes into .env.production and
 * what must be in the process's own environment (RAILS_ENV, PORT, BIND...). SWIFT_TENANT is never
 * there, SWIFT_AUTH_URL has no trailing slash, S3_* are not set, SKIP_POST_DEPLOYMENT_MIGRATIONS is
 * absent. Values that dotenv and docker would read differently (quotes, spaces, '#', '$') are
 * refused with ERR_CONFIG and the variable's name. */
#pragma once
#include "base/json.h"
#include "host/vault.h"

typedef struct MediaEnv {
    const char *auth_url, *username, *user_domain, *project_id, *region, *container;
    const char *object_url; /* public base of the container, no trailing slash */
} MediaEnv;
/* The SWIFT_* block ("NAME=value" lines); password NULL: a placeholder line that says where it is.
 */
int env_media(const MediaEnv *m, const Secret *password, StrList *ret, Err *err) _must_check_;
/* What the streaming server is told beside PATH: where it listens, PostgreSQL, Redis, and the
 * island file's own variables that it reads (ENV_STREAM*, LOG_LEVEL, TRUSTED_PROXY_IP; never
 * secrets). */
#define ENV_STREAM "ATOLL_STREAM_"
/* The time that its clients have to close, where ENV_STREAM_DRAIN does not say another. */
#define ENV_STREAM_DRAIN ENV_STREAM "DRAIN"
#define ENV_STREAM_DRAIN_MS (5 * SECOND)
int env_stream(const json_t *spec, const Vault *secrets, StrList *ret, Err *err) _must_check_;
/* The whole environment of one role ("web", "worker", ...) of a spec, but for ENV_STREAM*. */
int env_role(const json_t *spec, const Vault *secrets, const char *role, StrList *ret,
             Err *err) _must_check_;
