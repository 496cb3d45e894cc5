/* `backup export`: a cluster's files as a plain archive, for leaving: no program of ours is needed
 * to read it, no key, and no store that we know.
 *
 *     cluster.tar.zst.00000, .00001, ...   one tar, compressed by zstd, cut at frames: behind one
 *                                          another they are the archive
 *     SHA256SUMS                           of the pieces, as sha256sum -c reads it
 *     README.txt                           what this is, and the command that restores it
 *     manifest.json                        the last: without it an export is not one
 *
 * The archive is of a cluster that was restored and stopped in order, so nothing has to be
 * replayed: it is unpacked and started. Links of tablespaces lead to `tablespaces/` in it,
 * relatively; where the configuration was elsewhere (Debian) a small one is put in, that lets only
 * this machine in.
 *
 * It is not encrypted. Files are 0600, folders 0700; a container that everybody may read is
 * refused.
 *
 * manifest.json: {"format": "atoll export 1", "encrypted": false, "version": server_version_num,
 * "backup": id, "reached": LSN, "reached_time", "made": time, "bytes" (of the pieces),
 * "plain_bytes", "restore": the command, "drill": the report (backup/drill.h), "pieces": [{"name",
 * "bytes", "sha256"}, ...]}
 */
#pragma once
#include "cloud/cloud.h"

#define EXPORT_MANIFEST "manifest.json"
#define EXPORT_PIECES "cluster.tar.zst." /* then their number, of five digits */
#define EXPORT_PIECE_MIN ((int64_t)64 << 20)

/* A folder of a run's own, locked while it works: what a killed run left in it is removed by the
 * next one. It may be entered by all (PostgreSQL runs as another user), and holds folders that may
 * not. */
typedef struct ExportWork {
    char *path;
    int lock;
} ExportWork;
/* ERR_HELD: another run works in it. ERR_CONFLICT: something else is there. */
int export_work_open(const char *path, ExportWork *ret, Err *err) _must_check_;
/* Removes it. */
void export_work_clear(ExportWork *w);
DEFINE_CLEAR(ExportWork, export_work_clear)

/* Where an export goes: each file is written below `stage`, and then kept. */
typedef struct ExportPlace ExportPlace;
struct ExportPlace {
    int (*keep)(ExportPlace *p, const char *name, Err *err); /* it is whole, and on disk */
    int (*end)(ExportPlace *p, Err *err);                    /* all are */
    char *stage;                                             /* owned */
    char *to;      /* folder: its name; container: "container/prefix/"; owned */
    char *command; /* that gives the pieces, one behind another: "cat ..."; owned. %zu pieces */
    Cloud *cloud;  /* borrowed */
};
/* A new folder `to`, written as `work`/export, which is on the same disk. ERR_CONFLICT: it is
 * there. */
int export_to_folder(const char *to, const ExportWork *work, ExportPlace *ret,
                     Err *err) _must_check_;
/* Below a prefix in a container, by its owner's login; each piece lies in `work` until it is put.
 * What a run that was cut off left there is removed. ERR_CONFLICT: an export is there. ERR_DENIED:
 * the container is public. */
int export_to_container(Cloud *c, const char *container, const char *prefix, const ExportWork *work,
                        ExportPlace *ret, Err *err) _must_check_;
void export_place_clear(ExportPlace *p);
DEFINE_CLEAR(ExportPlace, export_place_clear)

typedef struct ExportOptions {
    const char *folder; /* the cluster; changed a little (see above) */
    ExportPlace *place;
    const json_t *drill; /* its report */
    int64_t version;     /* server_version_num */
    int64_t piece_bytes; /* a piece is cut when it has so many */
    int level;           /* zstd's; 0: 3 */
    size_t threads;      /* that compress; 0: as many as processors */
    const volatile sig_atomic_t *stop;
    void (*progress)(void *user, int64_t plain_bytes); /* read so far; or NULL */
    void *user;
} ExportOptions;
typedef struct ExportResult {
    int64_t pieces, bytes, plain_bytes;
    char *command; /* the whole one that restores it */
} ExportResult;
void export_result_clear(ExportResult *r);
DEFINE_CLEAR(ExportResult, export_result_clear)
/* ERR_QUOTA: no space. ERR_CONFLICT: the cluster runs. The cloud's errors. */
int export_run(const ExportOptions *o, ExportResult *ret, Err *err) _must_check_;
