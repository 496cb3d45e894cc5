/* `backup media`: the objects of a media container, kept a second time in another container, of the
 * same project or of another cloud.
 *
 * Both sides are listed page by page, in the store's order, and merged: what the second has not, or
 * has with other bytes, is copied, several at a time. So a run that ended early is taken up by the
 * next one without any notes of its own, and holds two pages and a few MiB for each copy, however
 * many objects there are. Nothing is ever deleted: what the first side has no more stays.
 *
 * An object is copied by the store itself (X-Copy-From) where both sides are of one store and the
 * second's login may read the first; else it is read in ranges, all of the same ETag, and put with
 * that ETag, so that the store refuses what arrived damaged (422). A copy has its name when it is
 * whole: that is how Swift's PUT works. Headers that Swift keeps, X-Object-Meta-* and X-Delete-At
 * come along.
 *
 * Large objects: their segments are copied to "<container>_segments/<container>/<name>" of the
 * second side, and a static manifest that names these (of a dynamic large object too, since its
 * ETag is made the same way: the MD5 of its segments' ETags). A mirror needs nothing of the first
 * side.
 *
 * What is the same is told by the listings alone: size, and MD5 (of a large object: slo_etag). An
 * object without bytes may be a dynamic manifest or a link: it is looked at. A hash that is no MD5
 * (Ceph's uploads in parts) counts as the same.
 *
 * Thread: the caller's; `jobs` threads more, each with connections of its own.
 */
#pragma once
#include "cloud/cloud.h"

typedef struct MirrorSide {
    const CloudConfig *config;
    const char *container;
} MirrorSide;

typedef enum MirrorOutcome {
    MIRROR_SAME,
    MIRROR_COPIED, /* in a dry run: would be */
    MIRROR_GONE,   /* it went away while it was copied */
    MIRROR_FAILED,
    MIRROR_OUTCOMES
} MirrorOutcome;
/* "copied" */
extern const char *const mirror_outcomes[MIRROR_OUTCOMES];

/* One object that is not the same; borrowed during the call. */
typedef struct MirrorItem {
    const char *name;
    int64_t bytes;
    MirrorOutcome outcome;
    bool by_store;  /* copied by X-Copy-From */
    const Err *err; /* MIRROR_FAILED: why */
} MirrorItem;

typedef struct MirrorCount {
    int64_t objects; /* of the first side, as its container counts them (all of it) */
    int64_t seen;    /* of these, listed and not skipped */
    int64_t n[MIRROR_OUTCOMES];
    int64_t bytes, by_store; /* of what was copied; objects that the store copied itself */
    int64_t kept;            /* objects that only the second side has */
    bool made, versions;     /* the second container was made by this run; it keeps versions */
} MirrorCount;

/* Behind a container's name: that of its large objects' segments. */
#define MIRROR_SEGMENTS "_segments"

#define MIRROR_JOBS 8
typedef struct MirrorOptions {
    MirrorSide from, to;
    const char *cache_dir; /* of tokens; NULL: none */
    const volatile sig_atomic_t *stop;
    int jobs;        /* copies at a time; 0: MIRROR_JOBS */
    bool with_cache; /* cache/ too: what Mastodon can fetch again from other servers */
    bool dry_run;    /* nothing is written */
    void (*item)(void *user, const MirrorItem *item);
    void (*progress)(void *user, const MirrorCount *count); /* often: after each object */
    void *user;
} MirrorOptions;

/* *ret is what was done, also after an error. A container that is not there is made on the second
 * side, keeping versions where the cloud can. ERR_USAGE: both sides are one container. ERR_PARTIAL:
 * some objects failed, and were told. What no further object would escape ends the run at once:
 * AUTH, DENIED, QUOTA, INTERRUPTED, PREFLIGHT (the second container went away), and TEMPORARY
 * several times in a row. */
int mirror_run(const MirrorOptions *o, MirrorCount *ret, Err *err) _must_check_;

/* Pure: one row of a listing. Strings are borrowed. */
typedef struct MirrorRow {
    const char *name, *hash;
    char large[64]; /* a static large object's ETag, without quotes; "" none */
    int64_t bytes;
} MirrorRow;
typedef enum MirrorNeed {
    MIRROR_NEED_NONE, /* it is there */
    MIRROR_NEED_LOOK, /* the listing does not tell what it is */
    MIRROR_NEED_COPY
} MirrorNeed;
/* False: it is not a row of an object ("subdir" is none either). */
bool mirror_row(const json_t *row, MirrorRow *ret);
/* `have`: the second side's row of that name, or NULL. */
MirrorNeed mirror_need(const MirrorRow *want, const MirrorRow *have);
/* Hash and size of a plain or large object as its HEAD tells them, against a row. */
bool mirror_same(const char *etag, bool large, int64_t bytes, const MirrorRow *have);
/* "container/name" of a segment to where its copy goes; to be freed. `path` may begin with '/'. */
char *mirror_segment_path(const char *container, const char *path);
