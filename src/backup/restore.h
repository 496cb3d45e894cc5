/* Restore: a base backup's files and the log behind it, up to a moment.
 *
 * Packs are fetched by ranges that are merged when they are near, in parallel; each frame is
 * decompressed once and its pages written where they belong. Then PostgreSQL itself is started on
 * the folder, closed to the network, and asks for the log through a socket (restore_command =
 * atoll's own client); it is prefetched. What is not there is not there by the catalogue; a store
 * that is away ends recovery with an error, and never as the end of the log.
 *
 * At the end the cluster is promoted onto a timeline that the catalogue does not know, stopped, and
 * all of it is on disk: the folder is a cluster that is started like any other. Nothing of the
 * restore's own settings stays in it. Tablespaces lie below its folder `tablespaces`, or where the
 * caller says.
 */
#pragma once
#include "backup/wal.h"

/* What to restore to. */
typedef enum TargetKind { TARGET_LATEST, TARGET_TIME, TARGET_LSN } TargetKind;
typedef struct Target {
    TargetKind kind;
    Msec time;
    Lsn lsn;
} Target;
/* "latest", a time (time_parse), an LSN; false otherwise. */
bool target_parse(const char *s, Target *ret) _must_check_;

/* A backup as the catalogue tells it: from the head of its manifest. */
typedef struct Base {
    char *name;
    char id[64];
    json_t *facts;
    Timeline tli;
    Lsn start, stop;
    Msec written; /* the store's time of the manifest */
    int64_t note;
} Base;
typedef VEC(Base) Bases;
void bases_clear(Bases *b);
DEFINE_CLEAR(Bases, bases_clear)
/* Reads the heads of all manifests, oldest first. One that is not what its name says is left out
 * and told in `*ret_bad`. */
int bases_load(Store *s, const Catalogue *c, Bases *ret, StrList *ret_bad, Err *err) _must_check_;
/* `pack`: one of its facts' "packs". NULL: nobody has seen it. */
const Seen *base_pack(const Catalogue *c, const json_t *pack);
/* What is restored from. */
typedef struct Choice {
    const Base *base;
    Timeline tli; /* whose lineage is followed: recovery's target timeline */
    WalReach end; /* of the log that can be had */
    Timeline out; /* a newer timeline that has log which no backup leads to; 0: none */
} Choice;
typedef struct ChoiceAsk {
    Target target;
    const char *base;       /* this backup, by its id; or NULL */
    Timeline tli;           /* this timeline; 0: the newest that has log or a history */
    const StrList *without; /* not these, by their names; or NULL */
} ChoiceAsk;
/* Pure: the newest backup whose stop is reachable and not behind the target, with the log from its
 * start without a hole to the target. A moment is compared with the store's times: later than the
 * store got the last piece is ERR_NOT_FOUND, since what happened between then and the moment may
 * be lost. ERR_NOT_FOUND says what moments can be had. `h` or NULL. */
int base_choose(const Bases *b, const Catalogue *c, const WalHistories *h, const ChoiceAsk *ask,
                Choice *ret, Err *err) _must_check_;

typedef struct RestoreProgress {
    const char *phase; /* "files", "log", "checks" */
    int64_t done, total;
} RestoreProgress;

typedef struct RestoreOptions {
    Store *store;
    const Catalogue *catalogue;
    const KeyPair *reader;
    const Choice *choice;
    const WalHistories *histories;
    Target target;
    const char *to; /* absolute; must be empty, not there, or an unfinished restore */
    const char
        *programs;      /* folder of postgres, pg_controldata, ... of the backup's major version */
    const char *client; /* this program's file: restore_command is its `backup segment` */
    const char *user;   /* to run PostgreSQL as, when root, and not root; NULL: "postgres" */
    const char *role;   /* a superuser of the cluster; NULL: "postgres" */
    const StrList *tablespaces; /* "OID=FOLDER" or "OLD FOLDER=FOLDER"; or NULL */
    size_t threads;             /* 0: twice the processors, at most 8 */
    bool keep_running;          /* leave PostgreSQL running (drill): RestoreResult.server */
    const volatile sig_atomic_t *stop;
    void (*progress)(void *user, const RestoreProgress *p);
    void *progress_user;
    /* Called when all files are there and PostgreSQL has not begun; or NULL. */
    int (*files_ready)(void *user, Err *err);
    void *ready_user;
    /* Called when the choice rested on pieces of log that never were any: it is to be made anew
     * without them, in the same place. Or NULL: that is an error. */
    int (*without)(void *user, const StrList *rubbish, Err *err);
    void *without_user;
} RestoreOptions;

typedef struct RestoreResult {
    Msec files_ms, query_ms; /* until the files were there; until the first query was answered */
    Lsn reached;             /* end of recovery */
    Timeline tli;            /* that the cluster is on now */
    Msec reached_time;       /* time of the last transaction replayed; 0: none */
    int64_t fetched_bytes, file_bytes;
    uint64_t requests;
    bool resumed;
    StrList warnings; /* sentences */
    StrList rubbish;  /* inside: names for `without` */
    StrList outer;    /* folders of tablespaces outside `to` that it filled */
    bool base_bad;    /* the error is of the backup itself, and an older one may hold */
    pid_t server;     /* keep_running; 0: it is stopped */
    char *socket;     /* its folder; keep_running */
    int lock;         /* inside: on that folder; 0: none */
    char user[64];    /* who PostgreSQL ran as, and the files belong to */
    int port;
} RestoreResult;
void restore_result_clear(RestoreResult *r);
DEFINE_CLEAR(RestoreResult, restore_result_clear)
#define RESTORE_MARKER "atoll-restore-unfinished"
/* A folder that is not finished has the file RESTORE_MARKER in it; the next run with the same
 * backup, target and machine start goes on where it was, another one begins anew. ERR_CONFLICT: the
 * folder has something else in it, another restore works on it, or PostgreSQL was started there by
 * somebody else. ERR_CONFIG: programs of another
 * major version. ERR_QUOTA: no space. ERR_DENIED: a key that reads nothing here. The store's
 * errors; then the same command goes on. */
int restore_run(const RestoreOptions *o, RestoreResult *ret, Err *err) _must_check_;
/* Removes a folder that was restored to, and what lies in its outer tablespaces' folders. */
int restore_discard(const char *to, const StrList *outer, Err *err) _must_check_;
/* Stops what keep_running left running, and waits for it. */
int restore_stop(RestoreResult *r, Err *err) _must_check_;

/* The client that PostgreSQL runs: `atoll backup segment SOCKET NAME PATH`. 0: the file is there;
 * 1: there is none, by the catalogue; anything else is more than 125, which makes PostgreSQL give
 * up (restore_command, its documentation 26.3.4), since it takes less for the end of the log. */
int segment_client(const char *socket, const char *name, const char *path);
