/* Files become pages, and pages become places: those that are stored already keep theirs, the
 * others go into packs. What a backup does with each byte that the server sends, between tar and
 * manifest.
 *
 * Where more than PAGES_RUNS_MAX pieces of earlier backups would make up the next 1024 pages of a
 * file, these are sent anew instead: so neither manifests nor a restore's requests grow with the
 * number of backups before. Nor does the number of packs, of which a manifest's head holds about
 * 110,000 (base.h): of earlier ones PAGES_REUSE_MAX are built upon, and pages of further ones sent
 * anew.
 *
 * A page map that can't be written (a full volume) is given up, and the backup goes on. One thread.
 */
#pragma once
#include "backup/manifest.h"
#include "backup/pack.h"

#define PAGES_SOURCES_MAX 4
#define PAGES_RUNS_MAX 384
#define PAGES_REUSE_MAX 55000

typedef VEC(PackRef) PackRefs;

typedef struct Pages Pages;
typedef struct PagesOptions {
    PageMap *const *sources; /* borrowed; the first that has a page wins */
    size_t source_count;
    PageMapWriter *map; /* or NULL */
    Manifest *manifest;
    size_t reuse_max;     /* packs of earlier backups; 0: PAGES_REUSE_MAX */
    PackerOptions packer; /* but for its callbacks and user */
} PagesOptions;
Pages *pages_new(const PagesOptions *o);
Pages *pages_free(Pages *p);
static inline void pages_drop(Pages *p)
{
    (void)pages_free(p);
}
DEFINE_CLEANUP(Pages *, pages_drop)
/* A file: its bytes in any pieces, then its line in the manifest with the size that came. */
int pages_data(Pages *p, const char *path, Str data, Err *err) _must_check_;
int pages_end_file(Pages *p, const ManifestFile *f, Err *err) _must_check_;
/* Waits until all packs are stored. */
int pages_finish(Pages *p, Err *err) _must_check_;
/* All packs that the pages seen so far need; complete after pages_finish. Borrowed. */
const PackRefs *pages_packs(const Pages *p);
int64_t pages_stored(const Pages *p); /* bytes of new packs */
int64_t pages_seen(const Pages *p);   /* bytes of files */
int64_t pages_reused(const Pages *p); /* of these: not sent again */
/* Why the map was given up, or NULL. Borrowed. */
const char *pages_map_trouble(const Pages *p);
