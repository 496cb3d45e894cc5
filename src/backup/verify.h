/* Is everything there that was seen, as it was seen, and nothing else?
 *
 * Findings are values; each names its object. Any of them makes `atoll backup verify` end with exit
 * code 1. The listing (with every version, and a HEAD for each object's expiry) shows most of it;
 * manifests are always read; with `data` every object is: hash, signature, head against name, and
 * the chain of the pieces. With a reader's key each frame is opened too, and pieces that overlap
 * are compared. Nothing is written.
 */
#pragma once
#include "backup/restore.h"

typedef enum FindingKind {
    FINDING_CHANGED, /* its bytes are not what its name says, or not what the note saw */
    FINDING_FORGED,  /* not signed by a known host, or its head is not what its name says */
    FINDING_MISSING, /* was seen, was not pruned, is not there; or a backup needs it */
    FINDING_EXTRA,   /* a name that nothing of ours has; or it was pruned, by a note that lies */
    FINDING_VERSION, /* later versions that differ from the first: somebody wrote over it */
    FINDING_EXPIRES, /* the store will remove it, which nobody of us asks for */
    FINDING_GAP,     /* the log has a hole behind the oldest backup */
    FINDING_FORK,    /* two pieces differ where they overlap, or follow one piece; or a note was
                        written twice */
    FINDING_CHAIN,   /* a piece's `prev` is not the piece that ends where it begins */
    FINDING_LATE,    /* not countersigned for more than 2 minutes */
    FINDING_KINDS
} FindingKind;
#define VERIFY_LATE_MS (2 * MINUTE)

/* For people and --json: one word, and a sentence with what to do. */
typedef struct FindingRow {
    const char *word, *advice;
} FindingRow;
extern const FindingRow finding_rows[FINDING_KINDS];

typedef struct Finding {
    FindingKind kind;
    char *name;  /* of an object; "" where it is about none */
    char *words; /* what was found */
} Finding;
typedef VEC(Finding) Findings;
void verify_clear(Findings *f);
DEFINE_CLEAR(Findings, verify_clear)
/* Takes words. */
void verify_add(Findings *f, FindingKind kind, const char *name, char *words);

/* Pure. What the listing of all versions says about the catalogue that was joined with it. `now` is
 * the store's. */
void verify_listing(const Catalogue *c, const StoreItems *items, Msec now, Findings *ret);
/* Pure. What backups need and is not there, and holes of the log. */
void verify_backups(const Catalogue *c, const Bases *bases, Findings *ret);

/* A piece's place in its run's chain, from its head. `prev` and `run` are owned by the caller. */
typedef struct ChainLink {
    const char *name;
    Name parts;
    char *run, *prev; /* prev: the SHA-256 of the piece before, "" where the stream began
                          anew; it may be of an earlier run */
} ChainLink;
typedef VEC(ChainLink) ChainLinks;
/* Pure; sorts `links`. A piece that the catalogue knows as pruned or merged may be missing, and one
 * before a piece that other runs' pieces have all of: a stream that died left it. */
void verify_chain(const Catalogue *c, ChainLinks *links, Findings *ret);

typedef struct VerifyOptions {
    Store *store;
    const Catalogue *catalogue;
    const KeyPair *reader; /* or NULL */
    bool data;             /* read every object, not only manifests */
    size_t threads;        /* 0: 4 */
    const volatile sig_atomic_t *stop;
    void (*progress)(void *user, int64_t done, int64_t total); /* bytes; or NULL */
    void *user;
} VerifyOptions;
/* All of the above. What was found of an object twice is told once. Only a store that can't be
 * asked is an error; ERR_INTERRUPTED. */
int verify_run(const VerifyOptions *o, Findings *ret, Err *err) _must_check_;

/* Inside: reads objects, fills in `links` (cleared by the caller: chain_links_clear). */
int verify_data(const VerifyOptions *o, ChainLinks *links, Findings *ret, Err *err) _must_check_;
void chain_links_clear(ChainLinks *l);
DEFINE_CLEAR(ChainLinks, chain_links_clear)
