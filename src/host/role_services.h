/* From a bundle's spec and secrets to services and files: nginx, Puma, streaming, Sidekiq, Redis,
 * PostgreSQL.
 * Pure, but for asking the machine where its programs are (HostPaths). */
#pragma once
#include "host/service.h"
#include "host/vault.h"

/* Where things are on this server. */
typedef struct HostPaths {
    const char *root;    /* "" on a real server, the folder of a pocket server otherwise */
    const char *address; /* own; NULL from host_paths_find: the agent takes it from the spec */
    const char *server;  /* this server's key ("web.0"); NULL: not known */
    const char *data;    /* folder for what must outlive the server: its volume's (host/volume.h),
                            or <root>/srv/atoll; NULL from host_paths_find */
    const char *canary;  /* /usr/share/atoll/canary, below root */
    const char *pg_bin;  /* /usr/lib/postgresql/15/bin; NULL: PostgreSQL is not installed */
    bool as_root;
    bool paper; /* only to see whether the spec is one that can be run, once what it needs is
                   installed (host/machine.h): programs and users need not be there */
} HostPaths;
/* root, canary and pg_bin are owned: host_paths_clear frees them. */
int host_paths_find(const char *root, HostPaths *ret, Err *err) _must_check_;
/* Looks for the programs again: they may have been installed. */
void host_paths_again(HostPaths *p);
void host_paths_clear(HostPaths *p);

/* Connections that the island's PostgreSQL takes. */
#define ROLE_POSTGRES_CONNECTIONS 200
/* How often a free thread looks into a queue of Mastodon's first; 1 for others. */
int role_queue_weight(const char *queue);
/* `secrets` is a Vault holding just this bundle's. ERR_CONFIG for a spec that this version does not
 * know. */
int role_services(const json_t *spec, const Vault *secrets, const HostPaths *p, Services *ret,
                  Err *err) _must_check_;
/* A program of the operator's, run as a role's own services are: their user, environment and (web,
 * worker) working folder. `role` "": the server's first of web, worker, postgres, redis.. With
 * PGHOST, or the password for redis-cli, where the role has such, and ATOLL_ADDRESS. ERR_NOT_FOUND
 * if the server does not have the role. */
int role_command(const json_t *spec, const Vault *secrets, const HostPaths *p, const char *role,
                 const StrList *argv, Service *ret, Err *err) _must_check_;
