#include "island/env_rules.h"
#include "base/util.h"

/* A second value would win or lose by chance, or break Mastodon (mastodon.md 1.2, 1.8, 3, 4.3). The
 * first row that fits tells. */
static const struct {
    const char *name; /* '*' at its end: all that begin so */
    const char *why;
} rules[] = {
    {"LOCAL_DOMAIN", "it is `domain`"},
    {"SWIFT_TENANT", "even an empty one makes the client speak Keystone v2"},
    {"SWIFT_CACHE_TTL", "it does nothing"},
    {"SWIFT_*", "media are `media`"},
    {"S3_*", "media are `media`, and Mastodon would name the S3 host in its content policy"},
    {"AWS_*", "media are `media`"},
    {"DB_*", "the database is the tier with the role postgres"},
    {"DATABASE_URL", "the database is the tier with the role postgres"},
    {"REDIS_NAMESPACE", "Mastodon does not start with it since 4.4"},
    {"REDIS_*", "Redis is the tier with the role redis"},
    {"SECRET_KEY_BASE", "it is in the vault"},
    {"VAPID_*", "it is in the vault"},
    {"ACTIVE_RECORD_ENCRYPTION_*", "it is in the vault"},
    {"SKIP_POST_DEPLOYMENT_MIGRATIONS",
     "migrations are atoll's, and any value, even an empty one, leaves a release half done"},
    {"SELF_DESTRUCT", "it deletes the instance"},
    {"RAILS_ENV", "it is always production"},
    {"NODE_ENV", "it is always production"},
    {"RAILS_SERVE_STATIC_FILES", "it is always true"},
    {"BIND", "addresses are atoll's"},
    {"PORT", "ports are atoll's"},
    {"SOCKET", "services are reached by address and port"},
    {"WEB_CONCURRENCY", "it is `processes: {web: ...}`"},
    {"MAX_THREADS", "it is `threads: {web: ...}`"},
    {"SIDEKIQ_CONCURRENCY", "it is `threads: {worker: ...}`"},
    {"MALLOC_ARENA_MAX", "it is a process's own, not Mastodon's"},
    {"LANG", "it is a process's own, not Mastodon's"},
    {"PATH", "it is a process's own, not Mastodon's"},
    {"HOME", "it is a process's own, not Mastodon's"},
    {"TMPDIR", "it is a process's own, not Mastodon's"},
};

static const char *const secrets[] = {
    "db_password",        "redis_password", "media_password",        "secret_key_base",
    "vapid_private",      "vapid_public",   "active_record_primary", "active_record_deterministic",
    "active_record_salt",
};

const char *env_rule_why(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
        const char *row = rules[i].name;
        size_t n = strlen(row) - 1;

        if (row[n] == '*' ? strncmp(name, row, n) == 0 : streq(name, row))
            return rules[i].why;
    }
    return NULL;
}

/* Without a search tier they are the file's own: its server may be somebody else's. */
bool env_rule_search(const char *name)
{
    static const char *const names[] = {"ES_ENABLED", "ES_HOST", "ES_PORT",
                                        "ES_USER",    "ES_PASS", "ES_PRESET"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (streq(name, names[i]))
            return true;
    return false;
}

bool env_reads_alike(Str value)
{
    for (size_t i = 0; i < value.n; i++) {
        unsigned char c = (unsigned char)value.p[i];

        if (c <= ' ' || c == 0x7f || strchr("'\"`#$\\", c))
            return false;
    }
    return true;
}

bool env_secret_made(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(secrets); i++) {
        if (streq(name, secrets[i]))
            return true;
    }
    return false;
}
