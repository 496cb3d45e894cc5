/* A page map that lies on a database's volume: as it is, and with its checks made right, as who is
 * root there could. No page that it tells of is outside of what it holds.
 *
 * The input is a map's records, without the header; in the second reading each one's check is
 * filled in.
 */
#include "backup/pagemap.h"
#include "fuzz.h"
#include "io/crypt.h"

#include <unistd.h>

#define NOW ((Msec)1764378000000)
#define HEADER_BYTES 48
#define RECORD_HEAD 16
#define CHECK_AT 8

static void map_drop(PageMap *m)
{
    (void)pagemap_free(m);
}
DEFINE_CLEANUP(PageMap *, map_drop)

static void ask(PageMap *m, const char *path, uint32_t page)
{
    static PageChunk c;

    if (!pagemap_find(m, path, page, &c))
        return;
    BUG_IF(c.count == 0 || c.count > PAGEMAP_CHUNK || page - c.first >= c.count);
    for (uint32_t i = 0; i < c.count; i++) {
        const PageMapPack *p = pagemap_pack(m, c.places[i].pack);
        BUG_IF(p && p->ref.name && strlen(p->ref.head) > 64);
    }
}

/* As a file, since a map is read from one. */
static int open_map(Str all, const PageBinding *b, const char *sha256, PageMap **ret)
{
    char path[] = "/tmp/atoll-fuzz.XXXXXX";
    int fd = mkstemp(path);

    BUG_IF(fd < 0 || write(fd, all.p, all.n) != (ssize_t)all.n);
    close(fd);
    int r = pagemap_open(path, b, sha256, NOW, ret, NULL);
    unlink(path);
    return r;
}

static void read_map(Str all, const PageBinding *b)
{
    static const char *const paths[] = {"base/5/1", "base/5/2", "", "x"};
    static const uint32_t pages[] = {0, 1, 1023, 1024, 1030, UINT32_MAX};
    _cleanup_(map_drop) PageMap *m = NULL, *whole = NULL;
    _cleanup_(buf_clear) Buf hex = BUF_INIT(BUF_MAX_LINE);

    BUG_IF(open_map(all, b, NULL, &m) < 0);
    BUG_IF(pagemap_pages(m) > all.n / 24 || pagemap_made(m) != NOW);
    for (size_t i = 0; i < ARRAY_LEN(paths); i++)
        for (size_t k = 0; k < ARRAY_LEN(pages); k++)
            ask(m, paths[i], pages[k]);

    /* Whole, it tells the same; or it isn't. */
    crypt_hash(CRYPT_SHA256, all, &hex);
    int r = open_map(all, b, hex.p, &whole);
    BUG_IF(r < 0 ? r != -ERR_CORRUPT : pagemap_pages(whole) != pagemap_pages(m));
}

/* Goes from record to record by their lengths. */
static void fill_in_checks(Buf *map)
{
    for (size_t at = HEADER_BYTES; map->len - at >= RECORD_HEAD;) {
        uint32_t body;
        memcpy(&body, map->p + at + 4, sizeof body);
        if (body > map->len - at - RECORD_HEAD)
            return;
        Hasher *h = hasher_new(CRYPT_SHA256);
        uint8_t check[8];
        memset(map->p + at + CHECK_AT, 0, sizeof check);
        hasher_once(h, (Str){map->p + at, RECORD_HEAD + body}, check, sizeof check);
        memcpy(map->p + at + CHECK_AT, check, sizeof check);
        hasher_free(h);
        at += RECORD_HEAD + body;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const readers[] = {"a", "b", NULL};
    _cleanup_(buf_clear) Buf map = BUF_INIT(BUF_MAX_BODY);
    const Msec made = NOW;
    PageBinding b;

    pagemap_binding("7321", "folder /mnt", readers, &b);
    buf_add(&map, "ATOLLPM1", 8);
    buf_add(&map, &made, sizeof made);
    buf_add(&map, b.bytes, sizeof b.bytes);
    if (size > 0)
        buf_add(&map, data, size);
    read_map(buf_as_str(&map), &b);
    fill_in_checks(&map);
    read_map(buf_as_str(&map), &b);
    return 0;
}
