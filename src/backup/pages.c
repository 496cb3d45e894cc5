#include "backup/pages.h"

#include "io/crypt.h"

/* What a source knows of the 1024 pages that are at hand. */
typedef struct Known {
    PageMap *map;
    bool there;
    PageChunk chunk;
} Known;

struct Pages {
    Manifest *manifest;
    PageMapWriter *map;
    Packer *packer;
    Hasher *hasher;
    Known *known;
    size_t known_count;
    PackRefs packs;
    size_t reused_packs, reuse_max;
    PageChunk chunk;    /* of the file at hand */
    size_t have;        /* bytes of the page at hand, in the packer's room */
    uint32_t page;      /* its number */
    int64_t file_bytes; /* of the file so far */
    int64_t seen, reused;
    char *map_trouble;
};

/* The packer begins a pack: it gets its number now and its name when it is stored. */
static uint32_t begin_pack(void *user)
{
    Pages *p = user;

    vec_push(&p->packs, (PackRef){0});
    return (uint32_t)p->packs.len - 1;
}

/* The map only saves work: what can't be written to it is no reason to be without a backup. */
static void lose_map(Pages *p, Err *why)
{
    p->map = NULL;
    p->map_trouble = TAKE(why->text);
}

static void note_pack(Pages *p, uint32_t number)
{
    _cleanup_(err_clear) Err err = {0};

    if (p->map && pagemap_add_pack(p->map, number, &p->packs.items[number], &err) < 0)
        lose_map(p, &err);
}

static PackRef ref_copy(const PackRef *of)
{
    PackRef r = *of;

    r.name = xstrdup(of->name);
    return r;
}

static int stored_pack(void *user, uint32_t number, const PackRef *ref, Err *err)
{
    Pages *p = user;

    (void)err;
    p->packs.items[number] = ref_copy(ref);
    note_pack(p, number);
    return 0;
}

Pages *pages_new(const PagesOptions *o)
{
    Pages *p = NEW(Pages);
    PackerOptions packer = o->packer;

    *p = (Pages){.manifest = o->manifest,
                 .map = o->map,
                 .hasher = hasher_new(CRYPT_SHA256),
                 .known = xcalloc(MAX(o->source_count, (size_t)1), sizeof(Known)),
                 .known_count = o->source_count,
                 .reuse_max = o->reuse_max ? o->reuse_max : PAGES_REUSE_MAX};
    for (size_t i = 0; i < o->source_count; i++)
        p->known[i].map = o->sources[i];
    packer.begin = begin_pack;
    packer.stored = stored_pack;
    packer.user = p;
    p->packer = packer_new(&packer);
    return p;
}

Pages *pages_free(Pages *p)
{
    if (!p)
        return NULL;
    packer_free(p->packer);
    hasher_free(p->hasher);
    for (size_t i = 0; i < p->packs.len; i++)
        free(p->packs.items[i].name);
    vec_clear(&p->packs);
    free(p->map_trouble);
    free(p->known);
    free(p);
    return NULL;
}

static bool place_follows(PagePlace a, PagePlace b)
{
    if (a.pack != b.pack)
        return false;
    return a.pack == PAGEMAP_NO_PACK || (a.frame == b.frame && a.page + 1 == b.page);
}

/* Is what is known of these pages in too many pieces to be built upon? */
static bool too_many_runs(const PageChunk *c)
{
    size_t runs = 1;

    for (uint32_t i = 1; i < c->count; i++)
        runs += !place_follows(c->places[i - 1], c->places[i]);
    return runs > PAGES_RUNS_MAX;
}

static void look_up(Pages *p, const char *path)
{
    for (size_t i = 0; i < p->known_count; i++) {
        Known *k = &p->known[i];
        k->there = pagemap_find(k->map, path, p->page, &k->chunk) && !too_many_runs(&k->chunk);
    }
}

/* Two sources may know the same pack: a run that was cut off had built upon the last one. */
static uint32_t add_pack(Pages *p, const PackRef *ref)
{
    uint32_t n = (uint32_t)p->packs.len;

    for (uint32_t i = 0; i < n; i++)
        if (streq(p->packs.items[i].name, ref->name))
            return i;
    vec_push(&p->packs, ref_copy(ref));
    note_pack(p, n);
    return n;
}

/* The source's pack by our own number. */
static bool our_pack(Pages *p, PageMap *map, uint32_t number, uint32_t *ret)
{
    PageMapPack *pack = pagemap_pack(map, number);

    if (!pack || !pack->ref.name)
        return false;
    if (pack->now == PAGEMAP_NO_PACK) {
        if (p->reused_packs == p->reuse_max)
            return false;
        pack->now = add_pack(p, &pack->ref);
        p->reused_packs++;
    }
    *ret = pack->now;
    return true;
}

/* Where a page with this hash is stored already. */
static bool find_stored(Pages *p, const PageHash *hash, PagePlace *ret)
{
    for (size_t i = 0; i < p->known_count; i++) {
        const Known *k = &p->known[i];
        uint32_t at = p->page - k->chunk.first;
        if (!k->there || p->page < k->chunk.first || at >= k->chunk.count)
            continue;
        PagePlace place = k->chunk.places[at];
        if (place.pack == PAGEMAP_NO_PACK ||
            memcmp(k->chunk.hashes[at].bytes, hash->bytes, sizeof hash->bytes) != 0 ||
            !our_pack(p, k->map, place.pack, &place.pack))
            continue;
        *ret = place;
        return true;
    }
    return false;
}

static bool all_zero(const uint8_t *page, size_t n)
{
    return page[0] == 0 && memcmp(page, page + 1, n - 1) == 0;
}

static void write_chunk(Pages *p, const char *path)
{
    _cleanup_(err_clear) Err err = {0};
    PageChunk *c = &p->chunk;

    if (c->count > 0 && p->map && pagemap_add_pages(p->map, path, c, &err) < 0)
        lose_map(p, &err);
    c->first = p->page;
    c->count = 0;
}

/* A whole page, or the file's last one, at `data`: it may lie in the packer's room or elsewhere. */
static int end_page(Pages *p, const char *path, const uint8_t *data, size_t n, Err *err)
{
    PageHash hash = {0};
    PagePlace place = {.pack = PAGEMAP_NO_PACK};
    int r = 0;

    if (p->page % PAGEMAP_CHUNK == 0)
        look_up(p, path);
    if (!all_zero(data, n)) {
        hasher_once(p->hasher, (Str){(const char *)data, n}, hash.bytes, sizeof hash.bytes);
        if (find_stored(p, &hash, &place)) {
            p->reused += (int64_t)n;
        } else {
            uint8_t *room = packer_room(p->packer);
            if (data != room)
                memcpy(room, data, n);
            r = packer_add(p->packer, n, &place, err);
        }
    }
    if (r < 0)
        return r;
    manifest_page(p->manifest, place);
    p->chunk.hashes[p->chunk.count] = hash;
    p->chunk.places[p->chunk.count++] = place;
    p->page++;
    p->have = 0;
    if (p->chunk.count == PAGEMAP_CHUNK)
        write_chunk(p, path);
    return 0;
}

int pages_data(Pages *p, const char *path, Str data, Err *err)
{
    int r = 0;

    p->file_bytes += (int64_t)data.n;
    p->seen += (int64_t)data.n;
    while (r == 0 && data.n > 0) {
        /* Most pages of a later backup are stored already: these are not even copied. */
        if (p->have == 0 && data.n >= PAGE_BYTES) {
            r = end_page(p, path, (const uint8_t *)data.p, PAGE_BYTES, err);
            data = (Str){data.p + PAGE_BYTES, data.n - PAGE_BYTES};
            continue;
        }
        uint8_t *room = packer_room(p->packer);
        size_t n = MIN(data.n, PAGE_BYTES - p->have);
        memcpy(room + p->have, data.p, n);
        p->have += n;
        data = (Str){data.p + n, data.n - n};
        if (p->have == PAGE_BYTES)
            r = end_page(p, path, room, PAGE_BYTES, err);
    }
    return r < 0 ? r : packer_tick(p->packer, err);
}

int pages_end_file(Pages *p, const ManifestFile *f, Err *err)
{
    ManifestFile file = *f;
    int r = 0;

    if (p->have > 0)
        r = end_page(p, f->path, packer_room(p->packer), p->have, err);
    write_chunk(p, f->path);
    file.size = p->file_bytes;
    p->page = 0;
    p->chunk.first = 0;
    p->file_bytes = 0;
    return r < 0 ? r : manifest_file(p->manifest, &file, err);
}

int pages_finish(Pages *p, Err *err)
{
    return packer_end(p->packer, err);
}

const PackRefs *pages_packs(const Pages *p)
{
    return &p->packs;
}

int64_t pages_stored(const Pages *p)
{
    return packer_bytes(p->packer);
}

int64_t pages_seen(const Pages *p)
{
    return p->seen;
}

int64_t pages_reused(const Pages *p)
{
    return p->reused;
}

const char *pages_map_trouble(const Pages *p)
{
    return p->map_trouble;
}
