/* The page map: where each page of a cluster's files was stored last, and its hash. It lies on the
 * database's volume and may be lost at any time: then the next backup sends everything.
 *
 * With it a backup tells a page that is already stored from one that is not, by the place where the
 * page stands (file and number) and the first 16 bytes of its SHA-256. 24 bytes a page: 0.3 % of
 * the cluster.
 *
 * A map is written from its beginning to its end, while a backup runs, and is that run's journal at
 * the same time: whatever is readable of a map counts, up to the first record that is not whole,
 * and a page counts if the pack that it is in has a record, since that is written when the store
 * has acknowledged the pack. So after a crash at any byte the next run takes up what was stored.
 * Only a map that has an end is complete; it replaces the last one by a rename.
 *
 * In the folder `state`:
 *     pages                the map of the last backup that was finished
 *     pages.<made, ms>     of a run that is under way, or was cut off
 *
 * On disk, in the machine's byte order (a map never travels):
 *     8 bytes   "ATOLLPM1"
 *     8 bytes   since when its packs that no manifest names can have been stored, ms
 *     32 bytes  binding: SHA-256 of the cluster's system identifier, the store's place (store.h)
 * and the recipients' public keys. Another cluster, store or set of readers must not use it: the
 * pages would be elsewhere, or unreadable to a new reader records   u32 type, u32 bytes of the body
 * (a multiple of 8), 8 bytes check (of the SHA-256 of the record with zeros for check), body: 1
 * pack    u32 its number within this map, u32 0, i64 bytes of the object, 64 hex digits of its
 * head's SHA-256 (base.h), name, zeros 2 pages   u32 length of path, u32 first page, u32 count (at
 * most 1024), u32 0, path, zeros up to a multiple of 8, count hashes of 16 bytes, count places of 8
 * bytes 3 end     u64 how many records were before it
 *
 * What the SHA-256 of the whole map protects from: it stands in the manifest's facts, and in `note`
 * beside the map; a map that is not the one that the last finished backup wrote (bits that rotted,
 * half a file, one of another day that somebody copied there) is not used. It does not protect from
 * who is root on the database's host: such a person can write both, and can send what he likes.
 *
 * Pages that a cut-off run stored belong to no manifest yet, and a prune may remove them once they
 * are old: a journal is used for PAGEMAP_JOURNAL_MS only. Memory: 24 bytes a file and 8 MiB of it.
 * One thread.
 */
#pragma once
#include "base/buf.h"
#include "base/err.h"
#include "base/time.h"

#define PAGEMAP_HASH_BYTES 16
#define PAGEMAP_CHUNK 1024 /* pages of a record at most */
#define PAGEMAP_JOURNAL_MS (2 * DAY)
#define PAGEMAP_NO_PACK UINT32_MAX /* a page of zeros: it is nowhere */

/* Where a page is. */
typedef struct PagePlace {
    uint32_t pack;  /* number within a map or manifest */
    uint16_t frame; /* of the pack */
    uint16_t page;  /* of the frame */
} PagePlace;
typedef struct PageHash {
    uint8_t bytes[PAGEMAP_HASH_BYTES];
} PageHash;

/* Pages of one file that stand one behind another. */
typedef struct PageChunk {
    uint32_t first, count;
    PageHash hashes[PAGEMAP_CHUNK];
    PagePlace places[PAGEMAP_CHUNK];
} PageChunk;

/* A pack that the store has. */
typedef struct PackRef {
    char *name;
    char head[65]; /* SHA-256 of its head, hex (base.h) */
    int64_t bytes;
} PackRef;

typedef struct PageBinding {
    uint8_t bytes[32];
} PageBinding;
/* Pure. `recipients`: NULL-ended, in any order. */
void pagemap_binding(const char *system, const char *store_place, const char *const *recipients,
                     PageBinding *ret);

/* Writing. The file is made anew. `made`: when it was begun; or, where it builds upon the journal
 * of a run that was cut off, when that was. */
typedef struct PageMapWriter PageMapWriter;
int pagemap_create(const char *path, const PageBinding *b, Msec made, PageMapWriter **ret,
                   Err *err) _must_check_;
/* A pack that is stored. In any order to the pages. */
int pagemap_add_pack(PageMapWriter *w, uint32_t number, const PackRef *p, Err *err) _must_check_;
int pagemap_add_pages(PageMapWriter *w, const char *path, const PageChunk *c,
                      Err *err) _must_check_;
/* Writes the end and makes the file durable; *ret_sha256 in hex. */
int pagemap_finish(PageMapWriter *w, char ret_sha256[static 65], Err *err) _must_check_;
/* What was written stays. Takes NULL, returns NULL. */
PageMapWriter *pagemap_writer_free(PageMapWriter *w);
static inline void pagemap_writer_drop(PageMapWriter *w)
{
    (void)pagemap_writer_free(w);
}
DEFINE_CLEANUP(PageMapWriter *, pagemap_writer_drop)

/* Reading. */
typedef struct PageMap PageMap;
typedef struct PageMapPack {
    PackRef ref;  /* name NULL: not stored, as far as the map knows */
    uint32_t now; /* the reader's own: its number in a new map; PAGEMAP_NO_PACK at first */
} PageMapPack;
/* Reads the map once from end to end. `sha256`: what the whole file must have (a complete map's),
 * or NULL for a journal, of which the readable part counts. ERR_NOT_FOUND: there is none;
 * ERR_CHANGED: of another cluster, store or readers, or a journal that is too old; ERR_CORRUPT: not
 * whole. */
int pagemap_open(const char *path, const PageBinding *b, const char *sha256, Msec now,
                 PageMap **ret, Err *err) _must_check_;
PageMap *pagemap_free(PageMap *m);
/* The chunk of a file that has this page, read from disk; false if the map has none (or can't be
 * read: then the page is sent again). */
bool pagemap_find(PageMap *m, const char *path, uint32_t page, PageChunk *ret);
/* A pack by the map's number; NULL if it has no such. Borrowed, may be changed. */
PageMapPack *pagemap_pack(PageMap *m, uint32_t number);
size_t pagemap_pages(const PageMap *m); /* how many it knows */
Msec pagemap_made(const PageMap *m);
