/* The Swift container of a repository, by its owner's login: made so that whoever can only put into
 * it destroys nothing, and addresses for putting.
 *
 * It keeps versions (X-Versions-Enabled; Swift, "Object versioning") and has a TempURL key, which
 * only the owner can read back. The older versioned_writes (X-Versions-Location,
 * X-History-Location) is refused: it keeps nothing of an object that is told to expire
 * (`POST X-Delete-After: 1`), and what it did keep expires with it.
 */
#pragma once
#include "cloud/cloud.h"

/* One call on a container itself: HEAD, PUT (makes it, or changes one that is there) or POST, with
 * what `call` has in `headers`. cloud_perform's errors. */
int backup_container_call(Cloud *c, Call *call, const char *method, const char *container,
                          Err *err) _must_check_;

/* The same of a PUT or POST, asking for versions. ERR_PREFLIGHT: this cloud has none, and nothing
 * was done. It may also take the request and keep none. */
int backup_container_call_versions(Cloud *c, Call *call, const char *method, const char *container,
                                   Err *err) _must_check_;
/* By a HEAD's answer: are versions kept? */
bool backup_container_has_versions(const Call *head);

typedef enum ContainerOutcome {
    CONTAINER_MADE,
    CONTAINER_CHANGED,
    CONTAINER_KEPT
} ContainerOutcome;
typedef struct ContainerMake {
    const char *name;
    bool without_versions; /* taken also where the cloud can't keep them */
} ContainerMake;
/* ERR_PREFLIGHT: it can't keep versions, or has the older kind; says which and why. *ret_versions:
 * it keeps them. */
int backup_container_make(Cloud *c, const ContainerMake *m, ContainerOutcome *ret,
                          bool *ret_versions, Err *err) _must_check_;

#define URLS_LIVE_MS (3 * DAY)
#define URLS_EVERY_MS HOUR
/* The file that store_urls reads, for what lies below `prefix`host/ in the container. ERR_NOT_FOUND
 * where the container has no key. *ret is to be wiped. */
int backup_container_urls(Cloud *c, const char *container, const char *prefix, Buf *ret,
                          Err *err) _must_check_;
