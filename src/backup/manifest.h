/* A backup's manifest while it is written: the list of files (base.h), a line each, compressed and
 * encrypted as it grows. So of the list only what is compressed is held: about 2 bytes for each run
 * of pages, and at most OBJECT_MAX.
 */
#pragma once
#include "backup/base.h"
#include "backup/pagemap.h"

/* A file whose runs are being collected. */
typedef struct ManifestFile {
    const char *path, *kind; /* "file", "dir", "link" */
    const char *target;      /* or NULL */
    unsigned mode;
    int64_t size, mtime;
    uint32_t tablespace; /* oid; 0: none */
} ManifestFile;

typedef struct Manifest Manifest;
Manifest *manifest_new(void);
Manifest *manifest_free(Manifest *m);
static inline void manifest_drop(Manifest *m)
{
    (void)manifest_free(m);
}
DEFINE_CLEANUP(Manifest *, manifest_drop)
/* The next page of the file that will be added next; pack PAGEMAP_NO_PACK: zeros. */
void manifest_page(Manifest *m, PagePlace at);
/* ERR_CONFIG: a path that is not UTF-8. ERR_QUOTA: more than an object holds. */
int manifest_file(Manifest *m, const ManifestFile *f, Err *err) _must_check_;
/* The whole object. Takes facts. */
int manifest_end(Manifest *m, const ObjectSeal *seal, json_t *facts, Buf *ret,
                 char ret_hash[static OBJECT_HASH_MAX], Err *err) _must_check_;
