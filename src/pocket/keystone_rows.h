/* What the files of Keystone share. Under pocket's lock. */
#pragma once
#include "pocket/core.h"
#include "pocket/keystone.h"

#define DEFAULT_DOMAIN "default"

static inline const Caller *caller_of(const PocketCall *c)
{
    return (const Caller *)(const void *)c->user;
}
/* Role admin: may do everything. */
bool ks_admin(const PocketCall *c);
/* Admin, or role manager and the thing is in the caller's domain. Keystone wants a token scoped to
 * the domain for this persona (2024.1, "domain manager"); here any token with the role will do. */
bool ks_manages(const PocketCall *c, const char *domain_id);
bool ks_is_self(const PocketCall *c, const char *user_id);

/* Errors in Keystone's words. */
void ks_forbidden(PocketReply *r, const char *action); /* "identity:list_users" */
void ks_missing(PocketReply *r, const char *kind, const char *id);
void ks_unauthorized(const Pocket *p, PocketReply *r);

/* {"<singular>": row}, with links.self; `row` is taken. */
void ks_one(Pocket *p, PocketReply *r, int status, const char *singular, const char *path,
            json_t *row);
/* {"<plural>": rows, "links": {...}}; `rows` is taken. `path`: below /v3. */
void ks_list(Pocket *p, const PocketCall *c, PocketReply *r, const char *plural, json_t *rows);
/* Keeps the rows whose `key` is the query's `name` (case counts), if the query has it. */
json_t *ks_filter_new(const PocketCall *c, json_t *rows_taken, const char *name, const char *key);

/* Names of the roles of a user on a project; `implied`: with those they imply. */
void ks_roles(Pocket *p, const char *user_id, const char *project_id, bool implied,
              StrList *ret_names);
/* Adds what the names imply: admin all, member and manager reader. */
void ks_imply(StrList *names);
json_t *ks_role_new(Pocket *p, const char *name); /* row or NULL */
/* Drops the tokens of a user; project NULL: all of them. */
void ks_drop_tokens(Pocket *p, const char *user_id, const char *project_id);
void ks_drop_expired(Pocket *p);
void ks_drop_credentials(Pocket *p, const char *user_id, const char *project_id);

/* {"salt","hash"} of a password or a credential's secret. */
json_t *ks_hash_new(const char *secret);
bool ks_hash_fits(const json_t *hash, const char *secret);
/* The row's domain by {"id"} or {"name"} of an auth request; NULL: not there. */
json_t *ks_domain_new(Pocket *p, const json_t *by);
json_t *ks_user_new(Pocket *p, const json_t *by);
json_t *ks_project_new(Pocket *p, const json_t *by);
/* Adds a user row (the caller has checked the name); borrowed id is inside the result. */
json_t *ks_add_user(Pocket *p, const char *name, const char *domain_id, const char *password);
/* What the outside may see of a user. */
json_t *ks_user_view_new(const json_t *user);

PocketHandler ks_token_post, ks_token_get, ks_token_delete, ks_catalog_get, ks_auth_projects;
PocketHandler ks_user_list, ks_user_get, ks_user_post, ks_user_patch, ks_user_delete,
    ks_user_password, ks_user_projects;
PocketHandler ks_project_list, ks_project_get, ks_project_post, ks_project_patch, ks_project_delete,
    ks_domain_list, ks_domain_get, ks_domain_post;
PocketHandler ks_role_list, ks_role_get, ks_role_post, ks_role_delete, ks_grant_put,
    ks_grant_delete, ks_grant_head, ks_grant_list, ks_assignment_list;
PocketHandler ks_credential_list, ks_credential_get, ks_credential_post, ks_credential_delete;
