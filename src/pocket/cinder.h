/* Inside Cinder: what cinder.c's routes and cinder_volumes.c share. */
#pragma once
#include "pocket/rows.h"

#define CINDER_VOLUME "volume"
#define cinder_fail(r, status, ...) pocket_fail(POCKET_CINDER, r, status, NULL, __VA_ARGS__)

extern const QuotaSet cinder_quotas;

PocketHandler cinder_volume_list, cinder_volume_detail, cinder_volume_show, cinder_volume_create,
    cinder_volume_update, cinder_volume_delete, cinder_volume_action, cinder_metadata_get,
    cinder_metadata_post, cinder_metadata_put, cinder_metadata_key_get, cinder_metadata_key_put,
    cinder_metadata_delete;

/* cinder_volumes.c: rows. "_left", "_then", "_then_size" and "_then_type" while a state settles. */
void cinder_volume_put(Pocket *p, const json_t *row);
/* `status` now, `then` after so many looks. */
void cinder_volume_change(Pocket *p, json_t *row, const char *status, const char *then);
/* The caller's volume named by the path; NULL with a filled reply. */
json_t *cinder_volume_get_new(Pocket *p, const PocketCall *c, bool looks, PocketReply *r);
/* The size in GiB as a number or digits; 0: none. */
int64_t cinder_size(const json_t *size);

/* cinder_metadata.c */
bool cinder_metadata_valid(json_t *metadata, PocketReply *r); /* or a 400; NULL is fine */

/* cinder_quota.c */
PocketHandler cinder_quota_show, cinder_quota_defaults, cinder_quota_put, cinder_quota_delete,
    cinder_limits;
typedef struct CinderNeed {
    const char *type;           /* name */
    int64_t volumes, gigabytes; /* more than now */
    int64_t total;              /* size of the one volume afterwards; 0: does not change */
} CinderNeed;
/* False and 413 if a quota is too small. */
bool cinder_quota_left(Pocket *p, const char *project, const CinderNeed *need, PocketReply *r);

/* Paths come as /v3/{project}/volumes/... and as /v3/volumes/...: the n-th argument behind the
 * project. NULL when there is none. */
const char *cinder_arg(const PocketCall *c, size_t n);
/* 400 if the path names another project than the token's. */
bool cinder_path_ok(const PocketCall *c, PocketReply *r);
/* The type of that id or name (NULL: the default), or NULL. */
json_t *cinder_type_new(const char *id_or_name);
/* Volumes of one backend are retyped where they are. NULL: no such type. */
const char *cinder_type_backend(const char *name);
/* Deleted, and looked at often enough that nobody may see it any more. (A look that answers 404
 * can't remove the row: a failed request changes nothing.) */
bool cinder_volume_gone(const json_t *row);
/* A Python dict literal of strings, as `metadata=` filters have it: {'atoll':'reef'}; NULL if it is
 * none. */
json_t *cinder_dict_new(const char *text);
