/* Inside of a Cloud: the session that a login gives, and where its services are. For cloud/ only.
 */
#pragma once
#include "cloud/cloud.h"

/* Asked for until a cloud says that it has less: the newest that atoll needs (iac.md 2.2). */
#define COMPUTE_MINOR 67
/* A token is not used in its last two minutes (as keystoneauth does). */
#define TOKEN_SPARE (2 * MINUTE)

struct Cloud {
    CloudConfig config;
    Http *http;
    char *cache_dir;
    const volatile sig_atomic_t *stop;
    uint64_t random;
    Secret *token;
    unsigned logins; /* counts, so that a call knows whether its 401 is about this token */
    Msec expires_at; /* by this machine's clock */
    Msec skew_ms;    /* the cloud's clock less this machine's, as its last answer says */
    json_t *session; /* {project_id, user_id, domain_id, domain_name, roles: [..], catalog: [..],
                        compute_minor} */
    char *endpoints[CLOUD_SERVICES];
    bool cache_looked; /* the token cache was read */
};

/* {"auth": ...} of POST /v3/auth/tokens; the caller's, to be wiped (answer_wipe). */
json_t *login_body_new(const CloudConfig *c);
/* Keeps what the answer to it says, also in the cache. */
int login_accept(Cloud *c, const char *token, const json_t *answer, Err *err) _must_check_;
/* Takes the cloud's clock from the Date (NULL: none, or none that can be read) of an answer that
 * came between `start` and `end`. */
void login_note_date(Cloud *c, const char *date, Msec start, Msec end);
/* A token is there, from the cache or this run, and good for a while. */
bool login_is_good(Cloud *c, Msec now);
/* The token was refused: it is thrown away, in the cache too. */
void login_forget(Cloud *c);
/* Logs all in that have no good token, in parallel. The first failure ends it. (batch.c) */
int login_all(Cloud *const *clouds, size_t n, Err *err) _must_check_;

/* Nova's microversion 2.N. */
int cloud_compute_minor(const Cloud *c);
void cloud_set_compute_minor(Cloud *c, int minor);
uint64_t cloud_random(Cloud *c);

/* Token cache: one file, 0600. */
void token_cache_load(Cloud *c, Msec now);
void token_cache_save(const Cloud *c);
void token_cache_drop(const Cloud *c);
/* "<prefix>-<16 hex>" of who and where, in cache_dir; to be freed. NULL without a cache. */
char *cache_path(const char *cache_dir, const char *prefix, const CloudConfig *c);

/* The base address of a service in a catalogue, with its version suffix; *ret_region borrowed from
 * the catalogue or NULL. Pure. */
bool catalogue_overrides(const CloudConfig *c, CloudService s); /* its address, by the settings */
int catalogue_endpoint(const json_t *catalog, const CloudConfig *c, const char *project_id,
                       CloudService s, char **ret_url, const char **ret_region,
                       Err *err) _must_check_;
