/* Which release of Mastodon an island runs, and the change of it that is under way.
 *
 * It is in the cloud: objects release/<number> in the mail container, each written once
 * (If-None-Match) and never changed, so two operators can't both take the next step, and any
 * machine goes on where another died. The newest counts. Its content type says all of it, so that
 * the listing that every plan makes shows it:
 *
 *   application/vnd.atoll.release; phase=roll; now=<release>; to=<release>; prepare=pre; try=1;
 *   told=web.0+web.1; gate=180; maintenance=1; owner=1; index=<16 hex>; index-due=1;
 * atoll=<sha256>; atoll-to=<sha256>; atoll-told=web.0; db=2; db-before=1; swap=move;
 * restore=<16 hex>; restore-to="<moment>"; turn=3; was-closed=1
 *
 * where <release> is "kind,version,ref" in quotes (want.h). No record: the island file's release,
 * until the first apply writes one.
 *
 * A change goes fetch, pre, roll, (held,) post, done. Until post it can go back.
 *
 * It also says which volume the database is on, and a change of that (`atoll restore --island`):
 * close, move, and nothing again. So any plan in the middle of it wants just what it wants.
 */
#pragma once
#include "base/buf.h"
#include "cloud/resource.h"

typedef enum ReleasePhase {
    RELEASE_DONE,  /* `now` runs; `to` is the same */
    RELEASE_FETCH, /* every host gets `to` onto its disk; nothing else changes */
    RELEASE_PRE,   /* pre-deployment migrations, with the code of `to`, while `now` runs */
    RELEASE_ROLL,  /* the hosts in `told` run `to` */
    RELEASE_HELD,  /* all run `to`; the post-deployment migrations wait for a person */
    RELEASE_POST,  /* post-deployment migrations; there is no way back from here */
    RELEASE_BACK,  /* the hosts in `told` still run `to`; all others `now` again */
    RELEASE_PHASES
} ReleasePhase;

/* What the host that prepares the database does with it. */
typedef enum ReleasePrepare {
    PREPARE_INSTALL, /* db:prepare: makes and seeds a database, or does all migrations */
    PREPARE_PRE,     /* the migrations that the code before can live with */
    PREPARE_POST,    /* all */
    PREPARE_NONE,
    PREPARES
} ReleasePrepare;

/* The database goes to another volume of its server (generations: cloud/resource.h). */
typedef enum ReleaseSwap {
    SWAP_NONE,
    SWAP_CLOSE, /* Mastodon's processes are stopped, the edge says so; the database is as it was */
    SWAP_MOVE,  /* its server has the volume `db`; Mastodon is still stopped */
    SWAPS
} ReleaseSwap;

typedef struct ReleaseRecord {
    int64_t number; /* 0: there is none */
    ReleasePhase phase;
    json_t *now, *to; /* {"kind", "version", "ref"}; owned */
    ReleasePrepare prepare;
    int attempt;  /* of the phase: another one makes the host try again */
    StrList told; /* keys of hosts */
    int gate_s;   /* so long a service may take to become healthy */
    bool maintenance;
    bool owner; /* the account of the file's owner was made */
    /* Of the definitions that the search server's indexes were made or mapped from last, 16 hex
     * digits (deploy/facts.h); NULL: there are none yet. Due: another release came after that. */
    char *index;
    bool index_due;
    /* atoll itself, by its package's SHA-256 in hex (host/upgrade.h): what hosts have, and what
     * those in atoll_told are to have; NULL: nothing is said of it. */
    char *atoll, *atoll_to;
    StrList atoll_told;
    int db;        /* generation of the database's volume, from 1 */
    int db_before; /* of the one that it had until it last changed, and that is kept; 0: none */
    ReleaseSwap swap;
    /* While it changes. The kit (backup/kit.h) that a new volume is filled by, 16 hex digits, and
     * the moment that it leads to, for people; NULL: to one that has its data. */
    char *restore, *restore_to;
    /* The newest timeline that is known of, when the database goes back to a volume with data: it
     * goes on on one behind that. 0: no matter. */
    uint32_t turn;
    bool was_closed; /* `maintenance` before, and afterwards */
} ReleaseRecord;

const char *release_phase_word(ReleasePhase p);
const char *release_swap_word(ReleaseSwap s); /* "none", "close", "move" */
/* The newest in a listing of the mail container. False if there is none: *ret is then the file's
 * release, done, installed. */
bool release_read(const json_t *mail, const json_t *file_release, ReleaseRecord *ret);
/* The newest record in words that this version does not know, if that is newer than all that it
 * does: a later atoll wrote it, and what it says must not be undone. 0: there is none. */
int64_t release_unknown(const json_t *mail);
/* The number of the newest; 0: there is none. */
int64_t release_newest(const json_t *mail);
/* The release that ran before r->now, by the records in a listing; NULL if none tells of another.
 * To be freed. */
json_t *release_before_new(const json_t *mail, const ReleaseRecord *r);
/* Records that nobody needs any more, by object name, oldest first, at most RELEASE_OLD_MAX: what
 * is older than the RELEASE_KEEP newest finished ones. What a change that is under way began from
 * is among those, and so is what tells of the release before, however old. */
#define RELEASE_KEEP 20
#define RELEASE_OLD_MAX 50
void release_old(const json_t *mail, StrList *ret);
void release_copy(ReleaseRecord *to, const ReleaseRecord *from);
/* The same as the record after it, to be changed. */
void release_next(const ReleaseRecord *r, ReleaseRecord *ret);
void release_clear(ReleaseRecord *r);
DEFINE_CLEAR(ReleaseRecord, release_clear)
/* "release/00000007"; to be freed. */
char *release_name(int64_t number);
void release_type(const ReleaseRecord *r, Buf *ret_content_type);
/* What host `key` runs. Borrowed. */
const json_t *release_of_host(const ReleaseRecord *r, const char *key);
/* Makes a host's spec (island/want.h: "release", "prepare": bool) that of the record: "release"
 * what it runs, "fetch" what it also has to have on its disk, "prepare" {"do", "release",
 * "attempt"} or not there, "streaming" {"kind", "version", "ref"} the image of Mastodon's own
 * streaming server where "streams_node" asks for it, "gate_s", "maintenance" (edge), "atoll"; while
 * the database's volume changes "paused" (web, stream, worker: none of their services) and, with
 * the database, "restore":
 * {"id", "attempt"} or "turn": {"after": timeline, "attempt"}. */
void release_spec(const ReleaseRecord *r, json_t *spec);
/* Makes the wants of an island (island/want.h) those of the record that a world shows: the volume
 * of its database, and who has it. Without a record it is the one that is there; ERR_AMBIGUOUS if
 * there are several. */
int release_want(const World *w, ResourceVec *want, Err *err) _must_check_;
/* The generation of the only volume that a server has; 1 if it has none, 0 if it has several. */
int release_found_db(const World *w, const char *server);
/* "canary 2", "ghcr.io/mastodon/mastodon v4.7.6". Returns `out`. */
const char *release_words(const json_t *release, char out[static 128]);
bool release_same(const json_t *a, const json_t *b);
