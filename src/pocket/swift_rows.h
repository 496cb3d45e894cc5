/* Swift's rows: account metadata, containers, object versions. Under pocket's lock.
 *
 * An object row is one version. Without versioning its version is "null" and PUT replaces it; with
 * X-Versions-Enabled each PUT makes one whose id is its timestamp, and `current` marks the one that
 * the plain name shows (none after a DELETE, whose delete marker is a row too). delete_at belongs
 * to the plain name, not to the version: when it has passed, the name is gone and the version stays
 * (openstack.md d).
 */
#pragma once
#include "pocket/pocket.h"

typedef struct SwiftContainer {
    int64_t id; /* 0: not there */
    char *account, *name;
    int64_t stamp;
    json_t *meta; /* header name to value, in Title-Case */
} SwiftContainer;
void swift_container_clear(SwiftContainer *c);
DEFINE_CLEAR(SwiftContainer, swift_container_clear)

typedef struct SwiftObject {
    int64_t container;
    char *name, *version; /* "null" or "1795452889.97525" */
    bool current, marker;
    int64_t bytes;
    char *etag, *type;
    char *file; /* below DIR/swift; NULL for an empty body */
    int64_t stamp;
    int64_t delete_at; /* seconds; 0: never */
    json_t *meta;
} SwiftObject;
void swift_object_clear(SwiftObject *o);
DEFINE_CLEAR(SwiftObject, swift_object_clear)

typedef struct SwiftUse {
    int64_t objects, bytes; /* current ones; bytes with all versions */
    int64_t versions;       /* rows that are no "null" version, the current one among them */
} SwiftUse;

void swift_rows_start(Pocket *p);
/* A time in 10 microseconds that no other call got. */
int64_t swift_stamp(Pocket *p);
void swift_stamp_text(int64_t stamp, char out[static 32]); /* "1795452889.97525" */

json_t *swift_account_meta_new(Pocket *p, const char *account);
void swift_account_put(Pocket *p, const char *account, const json_t *meta);
/* False: not there; *ret stays zeroed. */
bool swift_container_get(Pocket *p, const char *account, const char *name, SwiftContainer *ret);
void swift_container_put(Pocket *p, SwiftContainer *c); /* gives a new one its id */
void swift_container_delete(Pocket *p, const SwiftContainer *c);
SwiftUse swift_container_use(Pocket *p, const SwiftContainer *c);

/* `version` NULL: the current one, expired or not. */
bool swift_object_get(Pocket *p, const SwiftContainer *c, const char *name, const char *version,
                      SwiftObject *ret);
void swift_object_put(Pocket *p, const SwiftObject *o); /* inserts or replaces */
void swift_object_delete(Pocket *p, const SwiftObject *o);
/* The name shows nothing any more; versions stay. */
void swift_object_hide(Pocket *p, const SwiftContainer *c, const char *name);
bool swift_file_used(Pocket *p, const char *file);
/* Rows whose delete_at passed before `seconds`, "null" versions removed, others hidden. Their files
 * are added to *ret_files. */
void swift_reap(Pocket *p, int64_t seconds, StrList *ret_files);

/* Walks in the order of names (then newest version first); the callback returns false to stop. */
typedef struct SwiftWalk {
    const char *prefix, *marker, *end_marker; /* or NULL */
    const char *version_marker;               /* with `versions`: of `marker`; or NULL */
    bool versions, reverse;
    bool (*see)(void *user, const SwiftObject *o);
    bool (*see_container)(void *user, const SwiftContainer *c);
    void *user;
} SwiftWalk;
void swift_walk_objects(Pocket *p, const SwiftContainer *c, const SwiftWalk *w);
void swift_walk_containers(Pocket *p, const char *account, const SwiftWalk *w);
