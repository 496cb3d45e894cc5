/* Where to listen and what to talk to: the environment variables of Mastodon's own streaming
 * server, from the process or from the .env file of a Mastodon folder. Pure but for reading that
 * file: the environment is passed in.
 */
#pragma once
#include "base/log.h"
#include "base/secret.h"
#include "stream/settings.h"

typedef struct EnvFile {
    StrList names, values;
} EnvFile;
/* NAME=value lines, as dotenv reads them: quotes, `export `, comments. Later lines win. */
void env_file_parse(Str text, EnvFile *ret);
void env_file_clear(EnvFile *e); /* wipes */

typedef struct RedisPlace {
    char *host; /* or path */
    int port;
    char *path; /* of a unix socket; or NULL */
    bool tls;
    int64_t db;
    char *user;
    Secret *password;
} RedisPlace;

typedef struct StreamConfig {
    char *socket; /* path; NULL: port and bind */
    int64_t port;
    char *bind;
    LogLevel log_level;
    StrList trusted; /* "10.0.0.0/8", "::1" */
    /* libpq's keywords and values, parallel. */
    StrList pg_keys, pg_values;
    char *pg_host; /* to be looked up first; NULL: none needed */
    int64_t pg_pool;
    bool pg_prepare; /* PREPARED_STATEMENTS is not false */
    RedisPlace redis;
    RedisPlace *sentinels; /* asked one after the other; NULL: none */
    size_t sentinels_len;
    char *sentinel_master;
    char *prefix;  /* namespace with its colon, or "" */
    char *ca_file; /* of certificates to trust; NULL: the system's */
    StreamSettings settings;
} StreamConfig;

typedef struct StreamEnvironment {
    StreamGetenv *get; /* the process's */
    void *user;
    const char *root; /* folder with .env or .env.production; NULL: this one or the one above */
    const char *namespace; /* or NULL: REDIS_NAMESPACE */
} StreamEnvironment;
/* ERR_CONFIG names the variable. */
int stream_config_read(const StreamEnvironment *e, StreamConfig *ret, Err *err) _must_check_;
void stream_config_clear(StreamConfig *c);
DEFINE_CLEAR(StreamConfig, stream_config_clear)

/* Is this address (as inet_ntop writes it) inside one of the ranges? */
bool stream_trusts(const StrList *ranges, const char *address);
