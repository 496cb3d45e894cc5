/* What has to be fetched for a backup's files, and where each page goes. Pure.
 *
 * From the manifest's list (base.h), which the database's host wrote: so nothing in it is believed
 * that could lead out of the folder, or name a page that no pack can have.
 */
#pragma once
#include "backup/base.h"
#include "backup/restore.h"

#define PLAN_PATH_MAX 1024
/* Ranges that are nearer than this are fetched as one: a request costs as much as so many bytes. */
#define PLAN_GAP_BYTES ((size_t)256 << 10)
/* And none is longer than this, but for a frame that is: it is held in memory by each thread. */
#define PLAN_RANGE_BYTES ((size_t)4 << 20)

typedef enum PlanKind { PLAN_FILE, PLAN_DIR, PLAN_LINK } PlanKind;
typedef struct PlanFile {
    PlanKind kind;
    char *path; /* relative to the cluster's folder; below a tablespace "pg_tblspc/OID/..." */
    unsigned mode;
    int64_t size;
    char *target; /* PLAN_LINK: the tablespace's folder on the machine that was backed up */
} PlanFile;

/* Pages that stand one behind another in a frame and in a file. */
typedef struct PlanUse {
    uint32_t frame, page, pages;
    uint32_t file;      /* index */
    uint32_t file_page; /* the first one's */
} PlanUse;

typedef struct PlanPack {
    char *name;
    int64_t bytes;
    char *head; /* SHA-256 of its first bytes up to the first frame, in hex; "" if not told */
    VEC(PlanUse) uses; /* by frame and page */
    int64_t pages;
} PlanPack;

typedef struct RestorePlan {
    VEC(PlanFile) files;
    VEC(PlanPack) packs;
    int64_t bytes;  /* of all files, holes included */
    int64_t stored; /* of all packs that are used */
} RestorePlan;
void restore_plan_clear(RestorePlan *p);
DEFINE_CLEAR(RestorePlan, restore_plan_clear)
/* `facts`: the manifest's; `list`: its plain text. ERR_CORRUPT with the line. */
int restore_plan(const json_t *facts, Str list, RestorePlan *ret, Err *err) _must_check_;

/* One request: bytes of a pack, and the frames in them. */
typedef struct PlanRange {
    size_t offset, bytes;
    uint32_t first, last; /* frames, both included */
} PlanRange;
typedef VEC(PlanRange) PlanRanges;
/* ERR_CORRUPT if the pack has not the frames or the pages that the plan wants of it. */
int plan_ranges(const ObjectHead *head, const PlanPack *pack, size_t gap_bytes, PlanRanges *ret,
                Err *err) _must_check_;

/* Where the tablespaces' folders go: `asked` has "OID=FOLDER" or "OLD FOLDER=FOLDER" (or NULL);
 * another one lies below `to`/tablespaces. To be freed. */
char *plan_tablespace_new(const PlanFile *link, const char *to, const StrList *asked);
/* ERR_USAGE for one that is no such pair, or names no tablespace of the backup. */
int plan_tablespaces_check(const RestorePlan *p, const StrList *asked, Err *err) _must_check_;
