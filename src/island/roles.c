#include "island/roles.h"

#define WEB ROLE_BIT(ROLE_WEB)
#define STREAM ROLE_BIT(ROLE_STREAM)
#define WORKER ROLE_BIT(ROLE_WORKER)

/* Ports are Mastodon's own defaults (mastodon.md 2); who connects to whom is iac.md 3.2. */
const RoleRow role_rows[ROLES] = {
    [ROLE_EDGE] = {.name = "edge",
                   .sentence = "Takes requests from the world (nginx): TLS, files, routing.",
                   .world = true,
                   .required = true,
                   .ready = true,
                   .user = "www-data"},
    [ROLE_WEB] = {.name = "web",
                  .sentence = "Answers pages and the API (Puma).",
                  .port = 3000,
                  .clients = ROLE_BIT(ROLE_EDGE),
                  .required = true,
                  .ready = true,
                  .user = "mastodon",
                  .health = "/health"},
    [ROLE_STREAM] = {.name = "stream",
                     .sentence = "Pushes live updates to connected users (the streaming API).",
                     .port = 4000,
                     .clients = ROLE_BIT(ROLE_EDGE),
                     .instead =
                         "leave the role out: pages work and reload instead of updating live",
                     .user = "mastodon",
                     .health = "/api/v1/streaming/health"},
    [ROLE_WORKER] = {.name = "worker",
                     .sentence = "Does the background jobs (Sidekiq).",
                     .required = true,
                     .ready = true,
                     .user = "mastodon"},
    [ROLE_REDIS] = {.name = "redis",
                    .sentence = "Keeps queues and caches.",
                    .port = 6379,
                    .clients = WEB | STREAM | WORKER,
                    .single = true,
                    .required = true,
                    .ready = true,
                    .user = "redis",
                    .keeps = "queued jobs and what else Redis keeps"},
    [ROLE_POSTGRES] = {.name = "postgres",
                       .sentence = "Keeps the database; needs a volume.",
                       .port = 5432,
                       .clients = WEB | STREAM | WORKER,
                       .single = true,
                       .required = true,
                       .ready = true,
                       .user = "postgres",
                       .keeps = "the database"},
    [ROLE_SEARCH] = {.name = "search",
                     .sentence = "Full-text search.",
                     .port = 9200,
                     .clients = WEB | WORKER,
                     .single = true,
                     .instead = "leave the role out: an instance runs without full-text search",
                     .user = "elasticsearch"},
    [ROLE_CONTROL] = {.name = "control",
                      .sentence = "Scales tiers and shows the board.",
                      .single = true,
                      .instead = "leave the role out and run atoll from your own machine",
                      .user = "atoll"},
};

bool role_parse(const char *name, Role *ret)
{
    for (int i = 0; i < ROLES; i++) {
        if (streq(name, role_rows[i].name)) {
            *ret = (Role)i;
            return true;
        }
    }
    return false;
}

const char *const *role_names(void)
{
    static const char *names[ROLES + 1];

    if (!names[0]) {
        for (int i = ROLES; i-- > 0;)
            names[i] = role_rows[i].name;
    }
    return names;
}
