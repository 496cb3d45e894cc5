/* Packs: pages, put together as frames and objects (object.h), compressed by one set of threads and
 * stored by another, in the order in which they come.
 *
 * A frame is up to FRAME_PAGES pages of PAGE_BYTES, one behind another; a page that is shorter is
 * filled up with zeros. A pack is closed when it has PACK_BYTES or is about to: what is still being
 * compressed is guessed by how the last frames did, so packs are some megabytes smaller or larger.
 * A page's place is known when it is added; whether its pack is stored is told by `stored`.
 *
 * Thread: a Packer belongs to one thread, and calls back in it only. Memory: 2 MiB for each frame
 * under way (threads + 1 of them), three packs of which two are being stored: at most about 48 MiB.
 */
#pragma once
#include "backup/base.h"
#include "backup/pagemap.h"

typedef struct PackerOptions {
    Store *store; /* cloned for the threads */
    const ObjectSeal *seal;
    const char *run; /* of the packs' names: base.h */
    size_t threads;  /* of compression */
    int level;       /* zstd's */
    /* The number of a pack that is begun, as PagePlace has it. */
    uint32_t (*begin)(void *user);
    /* The store has it. Takes nothing; *p is borrowed. */
    int (*stored)(void *user, uint32_t number, const PackRef *p, Err *err);
    void *user;
} PackerOptions;

typedef struct Packer Packer;
Packer *packer_new(const PackerOptions *o);
/* Threads end; what is not stored is dropped. Takes NULL, returns NULL. */
Packer *packer_free(Packer *p);
static inline void packer_drop(Packer *p)
{
    (void)packer_free(p);
}
DEFINE_CLEANUP(Packer *, packer_drop)
/* PAGE_BYTES of room for the next page, valid until the next packer_add. What is written there and
 * not added is forgotten. */
uint8_t *packer_room(Packer *p);
/* The room's first `bytes` are a page. Waits where the threads or the store are slower. The store's
 * errors, of this or an earlier page. */
int packer_add(Packer *p, size_t bytes, PagePlace *ret, Err *err) _must_check_;
/* Collects what has been done meanwhile, without waiting. */
int packer_tick(Packer *p, Err *err) _must_check_;
/* The last pack; waits until all is stored. */
int packer_end(Packer *p, Err *err) _must_check_;
int64_t packer_bytes(const Packer *p); /* stored so far */
