/* Inside cloud/ only: one row of functions for each kind of resource, in the file of its service.
 *
 * A reader turns a service's JSON into a Resource; ids stay ids there, and world.c turns them into
 * keys when all is read. A writer turns a verb into a Call.
 */
#pragma once
#include "cloud/kinds.h"

/* What readers know. */
typedef struct Look {
    const Clouds *clouds;
    const char *marker; /* "atoll:reef" */
    const World *world;
} Look;

/* One verb, as kind_call got it. */
typedef struct KindTask {
    const Clouds *clouds;
    Cloud *cloud; /* whose login it is made with */
    const World *world;
    ResourceKind kind;
    KindVerb verb;
    const Resource *want, *have;
    const char *detail;
    const KindSecrets *secrets;
    const char *marker;
} KindTask;

typedef struct KindRow {
    CloudService service;
    const char *singular;   /* {"network": {...}} of a create and its answer; NULL: no JSON */
    const char *collection; /* "/networks": where it is created and, with its id, deleted */
    /* The object of a create call; NULL with *err when something it refers to is not there. */
    json_t *(*body_new)(const KindTask *t, Err *err);
    /* Any verb but CREATE and DELETE, and those where they are not the plain form. Fills method,
     * path, kind and body. 1: the plain form will do. NULL: always. */
    int (*call)(const KindTask *t, Call *ret, Err *err);
    /* False if it is not ours. */
    bool (*read)(const Look *l, const json_t *item, Resource *ret);
} KindRow;
extern const KindRow kind_network, kind_subnet, kind_router, kind_group, kind_interface, kind_port,
    kind_floating_ip, kind_server_group, kind_volume, kind_user, kind_container, kind_server;
const KindRow *kind_row(ResourceKind kind);

/* For writers. */
/* The id of one of ours by its key, the highest generation; ERR_BUG if it is not there. Borrowed.
 */
const char *kind_id(const KindTask *t, ResourceKind kind, const char *key, Err *err);
/* The id by an attribute of the want. */
const char *kind_attr_id(const KindTask *t, ResourceKind kind, const char *attr, Err *err);
/* Sets method and path (printf); the service is the row's. Returns 0. */
int kind_request(Call *ret, CallKind kind, const char *method, const char *path, ...)
    _printf_(4, 5);
int kind_no_verb(const KindTask *t, Err *err);
/* id of a name in facts ("flavors"), or the name itself. */
const char *kind_fact_id(const World *w, const char *facts, const char *name);

/* For readers. */
/* Takes name, id, status and created_at, if the item's name is one of ours; marker_text is what
 * stands where the marker belongs (NULL: the kind has none). Leaves attrs to the caller. */
bool kind_read(const Look *l, ResourceKind kind, const json_t *item, const char *marker_text,
               Resource *ret);
/* Sorted array of the texts at `member` of each item ("" : the items themselves). */
json_t *kind_texts_new(const json_t *list, const char *member);
void kind_sort_texts(json_t *texts);

/* Security rules. */
/* "in tcp 5432 group:<id>" of a Neutron rule; NULL if it is not ingress. To be freed. */
char *rule_text_new(const json_t *rule);
/* A Neutron rule of a text, whose "group:KEY" is looked up. NULL with *err. */
json_t *rule_body_new(const KindTask *t, const char *group_id, const char *text, Err *err);
/* Makes rules (sorted) from rule_ids, whose group ids become keys. */
void rules_link(const World *w, json_t *attrs);

/* A container as HEAD shows it; false if it is not marked as ours. */
bool container_read(const Look *l, CloudRole role, const char *name, const Call *head,
                    Resource *ret);
/* In its `write`, ids of our users become keys. */
void container_link(const World *w, json_t *attrs);
/* Deletes up to a bounded number of what is in a container; old versions and delete markers too
 * where it has them. */
int container_empty(Cloud *c, const char *name, bool versions, Err *err) _must_check_;

/* Turns ids into keys, all over the world, and sees what is in use. (world_link.c) */
void world_link(World *w);
void world_link_one(const World *w, Resource *r);

/* The login for a role: the island's, where it has none of its own. */
Cloud *clouds_of(const Clouds *c, CloudRole role);
/* Logs in where that is needed: all of them, in parallel. */
int clouds_login(const Clouds *c, Err *err) _must_check_;
