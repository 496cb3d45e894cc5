/* Private to the role_*.c files: one function a role, and what they share. */
#pragma once
#include "host/role_services.h"
#include "island/roles.h"

typedef struct RoleContext {
    const json_t *spec;
    const Vault *secrets;
    const HostPaths *paths;
    unsigned roles; /* of this server */
} RoleContext;

typedef int RoleFunction(const RoleContext *c, Services *ret, Err *err);
RoleFunction role_postgres, role_redis, role_prepare, role_web, role_stream, role_worker, role_edge,
    role_certbot, role_search, role_control;

/* The folder of the edge that nginx serves challenges from (RFC 8555 8.3). */
#define EDGE_CHALLENGES "acme"

/* The database's backup (spec "backup"), beside the server that listens in the folder `socket`;
 * nothing where the spec has none. */
int role_backup(const RoleContext *c, const char *socket, Services *ret, Err *err) _must_check_;

/* What all processes of Mastodon's own share ("web", "worker", "prepare"): environment, folders,
 * the release's folder, and what its programs are started by in argv. `s` is the caller's also on
 * failure. */
int app_service(const RoleContext *c, const json_t *release, const char *role, Service *s,
                Err *err) _must_check_;
/* A service with its name, its user (the role's, where there is such a one), its folder
 * <root>/var/lib/atoll-services/<name> (0700, its own) and that as its working folder. */
Service role_service(const RoleContext *c, Role role, const char *name);
/* A path in that folder; to be freed. */
char *role_path(const RoleContext *c, const char *service, const char *name);
/* A file that may hold secrets (0600); takes path. */
void role_json(Service *s, char *path, const json_t *j);
void role_argv(Service *s, const char *const *argv); /* NULL-ended */
/* PATH and LANG: for programs that need no more. */
void role_plain_env(Service *s);
/* After those of `names` (NULL-ended) that this server has. */
void role_after(const Services *so_far, Service *s, const char *const *names);
/* A secret of the bundle; ERR_CONFIG if it is not there. Borrowed. */
int role_secret(const RoleContext *c, const char *name, const Secret **ret, Err *err);
