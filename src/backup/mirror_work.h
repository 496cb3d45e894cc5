/* One object's copy: for mirror.c and mirror_copy.c only. */
#pragma once
#include "backup/mirror.h"
#include <stdatomic.h>

/* Of all threads. */
typedef struct MirrorShared {
    const MirrorOptions *options;
    char *account; /* of the first side, where the store may copy itself; or NULL */
    bool one_account;
    atomic_bool refused;  /* the store would not: each object is read and put */
    atomic_bool segments; /* the container of segments was made */
} MirrorShared;

/* Of a thread: two connections, since one reads while the other sends. */
typedef struct MirrorWorker {
    MirrorShared *shared;
    Http *http_from, *http_to;
    Cloud *from, *to;
} MirrorWorker;

typedef struct MirrorJob {
    char *name; /* NULL: a segment */
    int64_t bytes;
    bool look;       /* MIRROR_NEED_LOOK */
    bool large;      /* the listing says so */
    char *have_hash; /* owned; NULL: the second side has none of that name */
    MirrorRow have;
    /* Result */
    MirrorOutcome outcome;
    bool by_store;
    Err err;
} MirrorJob;

/* A worker; `user` is the MirrorShared. For Pool. */
void *mirror_worker_begin(void *user);
void mirror_worker_end(void *worker);
void mirror_work(void *worker, void *job);
MirrorJob *mirror_job_free(MirrorJob *j);
