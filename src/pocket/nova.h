/* Inside Nova: what nova*.c share. All under pocket's lock. */
#pragma once
#include "pocket/rows.h"

#define NOVA_SERVER "server"
#define NOVA_GROUP "server_group"
#define NOVA_KEYPAIR "keypair"
#define nova_fail(r, status, ...) pocket_fail(POCKET_NOVA, r, status, NULL, __VA_ARGS__)

extern const QuotaSet nova_quotas;

typedef struct Flavor {
    const char *id, *name; /* NULL ends the table */
    int vcpus, ram_mb, disk_gb;
    bool hostless; /* fits no host: a server of it becomes ERROR */
} Flavor;

/* nova.c */
const Flavor *nova_flavor(const char *id); /* NULL: there is none */
json_t *nova_links_new(Pocket *p, const char *collection, const char *id);
/* False and 400 for a name that the schema refuses. */
bool nova_name_valid(const char *name, PocketReply *r);

/* nova_servers.c: rows of servers.
 *
 * A row has "id", "project_id", "user_id", "name", "status", "task_state", "flavor" (id), "image"
 * (id or ""), "ports" and "own_ports" (ids; the latter were made by Nova and go with the server),
 * "volumes" ([{"id", "device", "delete"}]), "group", "key_name", "config_drive", "metadata",
 * "tags", "user_data" (base64), "description", "hostname", "created", "updated", "launched",
 * "fault", and
 * "_left", "_then" (and "_then_flavor") while a state settles, "_off" when a server that is shut
 * down is resized or rebuilt, and "_old_flavor" until a resize is confirmed. */
PocketHandler nova_server_list, nova_server_detail, nova_server_show, nova_server_update,
    nova_server_delete, nova_server_ips, nova_metadata_get, nova_metadata_post, nova_metadata_put,
    nova_metadata_key_get, nova_metadata_key_put, nova_metadata_key_delete, nova_tags_get,
    nova_tags_put, nova_tags_delete, nova_tag_get, nova_tag_put, nova_tag_delete;
void nova_server_put(Pocket *p, const json_t *row);
/* Sets status and task and what they become after so many looks (NULL: nothing); stores. */
void nova_server_change(Pocket *p, json_t *row, const char *status, const char *task,
                        const char *then);
/* The server the path names; NULL with a 404. `looks`: counts as a look. */
json_t *nova_server_get_new(Pocket *p, const PocketCall *c, bool looks, PocketReply *r);
bool nova_server_gone(const json_t *row);
bool nova_metadata_valid(json_t *metadata, PocketReply *r);
/* False and 403 if it is more than the quota. */
bool nova_metadata_left(Pocket *p, const char *project, const json_t *metadata, PocketReply *r);
bool nova_tags_valid(const json_t *tags, PocketReply *r);
/* Ids of its volumes as an array of texts. */
json_t *nova_volume_ids_new(const json_t *row);
/* Switches its processes on; on failure the row becomes ERROR with a fault (not stored). */
void nova_power_on(Pocket *p, json_t *row);
/* A soft reboot of its processes. False: they are not on. */
bool nova_restart(Pocket *p, const json_t *row);
/* Gives it a new root with this user_data, at its next boot: at once if it is on, when its programs
 * have ended. On failure the row becomes ERROR (not stored). */
void nova_wipe(Pocket *p, json_t *row, Str user_data);
void nova_set_fault(Pocket *p, json_t *row, const char *message);

/* nova_view.c */
json_t *nova_view_new(Pocket *p, const PocketCall *c, const json_t *row, bool detail);
/* {network name: [address, ...]}: fixed ones, then their floating ones. */
json_t *nova_addresses_new(Pocket *p, const json_t *row);
const char *nova_vm_state(const json_t *row); /* "active" */

/* nova_create.c */
PocketHandler nova_server_create;
typedef struct NovaNeed {
    int64_t instances, cores, ram; /* more than now; what is below 1 is not asked for */
} NovaNeed;
/* False and 403 if a quota is too small for it; all that are too small are named. */
bool nova_quota_left(Pocket *p, const char *project, const NovaNeed *need, PocketReply *r);
/* The flavor that a flavorRef (text, number or URL) names; NULL with a 400. */
const Flavor *nova_flavor_ref(const json_t *ref, PocketReply *r);

/* nova_actions.c */
PocketHandler nova_server_action, nova_attachment_list, nova_attachment_show,
    nova_attachment_create, nova_attachment_delete;
/* Attaches a volume to the row (not stored): 400 when it is not there or not available. */
bool nova_attach(Pocket *p, const PocketCall *c, json_t *row, const char *volume_id,
                 bool delete_with_server, PocketReply *r);

/* A 409 unless its vm_state is one of these (NULL-ended). */
bool nova_in_state(const json_t *row, const char *action, const char *const *vm_states,
                   PocketReply *r);
/* Nova's 409s: the state is the wrong one (vm_states: NULL-ended, NULL for any), or something is
 * going on. */
bool nova_ready(const json_t *row, const char *action, const char *const *vm_states,
                PocketReply *r);
typedef void NovaAction(Pocket *p, const PocketCall *c, const json_t *in, json_t *row,
                        PocketReply *r);

/* nova_resize.c */
NovaAction nova_resize, nova_confirm_resize, nova_revert_resize, nova_rebuild;

/* nova_history.c */
PocketHandler nova_act_list, nova_act_show;
/* Notes who did this to the server: "create", "stop"... */
void nova_record(Pocket *p, const PocketCall *c, const json_t *server, const char *action);

/* nova_keys.c */
PocketHandler nova_keypair_list, nova_keypair_show, nova_keypair_create, nova_keypair_delete,
    nova_group_list, nova_group_show, nova_group_create, nova_group_delete;
/* The caller's keypair of that name, or NULL. */
json_t *nova_keypair_new(Pocket *p, const char *user_id, const char *name);
/* Ids of the group's servers. */
json_t *nova_group_members_new(Pocket *p, const char *group_id);
