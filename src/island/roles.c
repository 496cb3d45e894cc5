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
                   .user = "www-data"},
    [ROLE_WEB] = {.name = "web",
                  .sentence = "Answers pages and the API (Puma).",
                  .port = 3000,
                  .clients = ROLE_BIT(ROLE_EDGE),
                  .required = true,
                  .user = "mastodon",
                  .health = "/health"},
    [ROLE_STREAM] = {.name = "stream",
                     .sentence = "Pushes live updates to connected users (the streaming API).",
                     .port = 4000,
                     .clients = ROLE_BIT(ROLE_EDGE),
                     .user = "mastodon",
                     .health = "/api/v1/streaming/health"},
    [ROLE_WORKER] = {.name = "worker",
                     .sentence = "Does the background jobs (Sidekiq).",
                     .required = true,
                     .user = "mastodon"},
    [ROLE_REDIS] = {.name = "redis",
                    .sentence = "Keeps queues and caches.",
                    .port = 6379,
                    .clients = WEB | STREAM | WORKER | ROLE_BIT(ROLE_CONTROL),
                    .single = true,
                    .required = true,
                    .user = "redis",
                    .keeps = "queued jobs and what else Redis keeps"},
    [ROLE_POSTGRES] = {.name = "postgres",
                       .sentence = "Keeps the database; needs a volume.",
                       .port = 5432,
                       .clients = WEB | STREAM | WORKER,
                       .single = true,
                       .required = true,
                       .user = "postgres",
                       .keeps = "the database"},
    [ROLE_SEARCH] = {.name = "search",
                     .sentence = "Full-text search (Elasticsearch or OpenSearch).",
                     .port = 9200,
                     .clients = WEB | WORKER,
                     .single = true,
                     .user = "elasticsearch",
                     .keeps = "the search index, which tootctl can make again"},
    [ROLE_CONTROL] = {.name = "control",
                      .sentence = "Works on the island itself (atoll): scales tiers, countersigns "
                                  "backups, renews what the servers hear by.",
                      .single = true,
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
