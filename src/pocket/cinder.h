/* Inside Cinder: what cinder.c's routes and cinder_volumes.c share. */
#pragma once
#include "pocket/rows.h"

#define CINDER_VOLUME "volume"
#define cinder_fail(r, status, ...) pocket_fail(POCKET_CINDER, r, status, NULL, __VA_ARGS__)

extern const QuotaSet cinder_quotas;

PocketHandler cinder_volume_list, cinder_volume_detail, cinder_volume_show, cinder_volume_create,
    cinder_volume_update, cinder_volume_delete, cinder_volume_action, cinder_metadata_get,
    cinder_metadata_post, cinder_metadata_put, cinder_metadata_delete;

/* Paths come as /v3/{project}/volumes/... and as /v3/volumes/...: the n-th argument behind the
 * project. NULL when there is none. */
const char *cinder_arg(const PocketCall *c, size_t n);
/* 400 if the path names another project than the token's. */
bool cinder_path_ok(const PocketCall *c, PocketReply *r);
/* The type of that id or name (NULL: the default), or NULL. */
json_t *cinder_type_new(const char *id_or_name);
/* Deleted, and looked at often enough that nobody may see it any more. (A look that answers 404
 * can't remove the row: a failed request changes nothing.) */
bool cinder_volume_gone(const json_t *row);
/* A Python dict literal of strings, as `metadata=` filters have it: {'atoll':'reef'}; NULL if it is
 * none. */
json_t *cinder_dict_new(const char *text);
