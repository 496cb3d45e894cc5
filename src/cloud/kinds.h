/* Each resource kind's calls: how it is listed, read, made, changed and removed.
 *
 * A row builds calls and reads answers; cloud_perform does them. So one batch of steps is one batch
 * of requests, and nothing here waits. All lists of a plan together are 16 calls warm.
 */
#pragma once
#include "cloud/cloud.h"
#include "cloud/resource.h"

/* The logins of an island: [CLOUD_OF_MEDIA] may be the same Cloud as [CLOUD_OF_ISLAND]. */
typedef struct Clouds {
    Cloud *of[CLOUD_ROLES];
    const char *island; /* name */
    unsigned used;      /* further lists of facts: what the island uses and does not own */
    /* An upload user that is given: neither it nor its roles are listed, and it stands in the world
     * with {"given": true}. NULL: the island's own. */
    const char *media_user, *media_user_name;
} Clouds;
enum { CLOUDS_USE_ROUTER = 1, CLOUDS_USE_NETWORK = 2 };

/* What a create or change needs that no plan may hold. Borrowed. */
typedef struct KindSecrets {
    const Secret *user_password; /* RESOURCE_USER */
    const Secret *temp_url_key;  /* RESOURCE_CONTAINER with temp_url */
    const char *user_data;       /* RESOURCE_SERVER: the script, not base64 */
    const char *boot;            /* RESOURCE_SERVER: nonce of this attempt, kept in its metadata */
} KindSecrets;

/* What is to be done to one resource: the verbs of cloud calls. One verb is one request. */
typedef enum KindVerb {
    KIND_CREATE,
    KIND_RULES,  /* group: add the missing rules, in one bulk POST */
    KIND_UNRULE, /* group: remove one rule too many (named in `detail`) */
    KIND_ATTACH, /* interface: to its router; floating IP: to its port; server: the volume `detail`
                  */
    KIND_DETACH, /* interface from its router; floating IP from its port; server: the volume */
    KIND_GRANT,  /* user: one missing role (named in `detail`) */
    KIND_CHANGE, /* container: headers as wanted; port: its security groups */
    KIND_EMPTY,  /* container: its objects (and versions) are deleted, a bounded number a call */
    KIND_DELETE,
    KIND_SEND,    /* host: a bundle; not a cloud call (plan/apply.c does it) */
    KIND_MARK,    /* server: "is to be replaced" into its metadata, so that any run can finish it */
    KIND_RESIZE,  /* server: to the wanted flavor; it reboots */
    KIND_CONFIRM, /* server: the resize is kept */
    KIND_REBUILD, /* server: its root disk made anew from the wanted image */
    KIND_EXTEND,  /* volume: to the wanted size, also while in use */
    KIND_RETYPE,  /* volume: to the wanted type */
    KIND_RENAME,  /* volume: to another key (`detail`), of which `want` is */
    KIND_VERBS
} KindVerb;

/* Builds the call for a verb. `want` (NULL for KIND_DELETE, KIND_EMPTY, KIND_DETACH) and `have`
 * (NULL for KIND_CREATE) as far as there are; ids of others come from the world. ERR_BUG if
 * something it refers to is not there: the engine does not ask before it is. */
int kind_call(const Clouds *c, const World *w, ResourceKind kind, KindVerb verb,
              const Resource *want, const Resource *have, const char *detail,
              const KindSecrets *secrets, Call *ret, Err *err) _must_check_;
/* Reads the answer of a KIND_CREATE into a found resource (id and status at least). */
int kind_created(const Clouds *c, const World *w, ResourceKind kind, const Call *answer,
                 Resource *ret, Err *err) _must_check_;

/* Lists what is there of the kinds in `mask` (bits 1 << RESOURCE_X; HOST is not a cloud kind) into
 * *ret, replacing what it had of them, in one batch. `containers`: NULL-ended "0:reef-boot",
 * "1:user-uploads" (role, name) to HEAD; with a slash behind the name ("0:reef-mail/") its objects
 * are listed by the same call, into ret->mail. Only objects with our marker and a name of ours (or,
 * for server groups, the name alone) are taken. ids become keys. Any list that fails or is cut
 * short fails the whole (iac.md 2.8). */
int world_look(const Clouds *c, unsigned mask, const char *const *containers, World *ret,
               Err *err) _must_check_;
/* Fills ret->facts: who we are in each cloud, and what the cloud offers (external networks,
 * flavors, images, volume types; with `used` also routers {name: id}, or networks {name: id} and
 * subnets {name: {id, network}}). Kept in cache_dir for an hour (NULL: not kept); `fresh`: asks
 * anew. */
int world_facts(const Clouds *c, const char *cache_dir, bool fresh, Msec now, World *ret,
                Err *err) _must_check_;
