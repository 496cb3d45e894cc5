/* The list of files in a backup's manifest, which the database's host wrote: no path leads out of
 * the folder, every page has one place, and no place is outside of a pack.
 */
#include "backup/restore_plan.h"
#include "fuzz.h"

#define PACK(c) "host/pack/run-00000" c "-0123456789abcdef0123456789abcde" c

static void check_path(const char *path)
{
    BUG_IF(!*path || *path == '/' || streq(path, "..") || starts_with(path, "../") ||
           strstr(path, "/../") || ends_with(path, "/..") || strlen(path) > PLAN_PATH_MAX + 32);
}

static void check_file(const PlanFile *f)
{
    static const char to[] = "/restored/tablespaces/";

    check_path(f->path);
    BUG_IF(f->size < 0 || f->mode > 0777 || (f->kind != PLAN_FILE && f->size > 0));
    if (f->kind != PLAN_LINK)
        return;
    _cleanup_free_ char *folder = plan_tablespace_new(f, "/restored", NULL);
    BUG_IF(!starts_with(folder, to) || strchr(folder + strlen(to), '/'));
}

/* Returns how many of its pages are used. */
static int64_t check_pack(const RestorePlan *p, const PlanPack *pack)
{
    int64_t pages = 0;

    for (size_t i = 0; i < pack->uses.len; i++) {
        const PlanUse *u = &pack->uses.items[i];
        BUG_IF(u->file >= p->files.len || u->pages == 0 || u->pages > FRAME_PAGES);
        BUG_IF(u->page >= FRAME_PAGES || u->page + u->pages > FRAME_PAGES);
        BUG_IF((int64_t)u->file_page * PAGE_BYTES >= p->files.items[u->file].size);
        BUG_IF(i > 0 && u[-1].frame > u->frame);
        pages += u->pages;
    }
    BUG_IF(pages != pack->pages);
    return pages;
}

/* Against a head that has some of the frames. */
static void check_ranges(const PlanPack *pack)
{
    ObjectFrame items[3] = {{1000, FRAME_PAGES * PAGE_BYTES}, {700000, PAGE_BYTES}, {16, 0}};
    ObjectHead head = {.frames = {.items = items, .len = ARRAY_LEN(items)}, .frames_at = 100};
    PlanRanges ranges = {0};
    _cleanup_(err_clear) Err err = {0};

    int r = plan_ranges(&head, pack, PLAN_GAP_BYTES, &ranges, &err);
    BUG_IF(r < 0 && r != -ERR_CORRUPT);
    for (size_t i = 0; i < ranges.len; i++) {
        const PlanRange *g = &ranges.items[i];
        BUG_IF(g->last < g->first || g->last >= ARRAY_LEN(items));
        BUG_IF(g->offset < head.frames_at || g->offset + g->bytes > 100 + 1000 + 700000 + 16);
    }
    vec_clear(&ranges);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_json_ json_t *facts =
        json_make_new("{s:[[s,i,s],[s,i]]}", "packs", PACK("1"), 1000000, "aa", PACK("2"), 2000000);
    _cleanup_(restore_plan_clear) RestorePlan p = {0};
    _cleanup_(err_clear) Err err = {0};
    Str list = {size ? (const char *)data : "", size};

    if (restore_plan(facts, list, &p, &err) < 0) {
        BUG_IF(err.kind != ERR_CORRUPT || !err.text || p.files.len || p.packs.len);
        return 0;
    }
    int64_t pages = 0, bytes = 0, used = 0;
    for (size_t i = 0; i < p.files.len; i++) {
        check_file(&p.files.items[i]);
        bytes += p.files.items[i].size;
        pages += (p.files.items[i].size + PAGE_BYTES - 1) / PAGE_BYTES;
    }
    BUG_IF(bytes != p.bytes || p.files.len == 0);
    for (size_t i = 0; i < p.packs.len; i++) {
        used += check_pack(&p, &p.packs.items[i]);
        check_ranges(&p.packs.items[i]);
    }
    BUG_IF(used > pages);
    return 0;
}
