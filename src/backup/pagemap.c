#include "backup/pagemap.h"

#include "base/vec.h"
#include "io/crypt.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define MAGIC "ATOLLPM1"
#define HEADER_BYTES 48
#define RECORD_HEAD 16
#define CHECK_AT 8
#define PAGES_HEAD 16
#define HEAD_HEX 64
#define PACK_HEAD (16 + HEAD_HEX)
#define PATH_BYTES_MAX 1024
#define BODY_MAX (PAGES_HEAD + PATH_BYTES_MAX + PAGEMAP_CHUNK * 24)
#define WRITE_BYTES ((size_t)256 << 10)
/* Of packs: a little more than what a manifest can list (base.h), so that a number that is none
 * does not cost the memory for all up to it. */
#define NUMBER_MAX (1u << 17)

enum { RECORD_PACK = 1, RECORD_PAGES = 2, RECORD_END = 3 };

/* One record as it is read; aligned as its numbers want it. */
typedef union Record {
    uint64_t align;
    uint8_t bytes[RECORD_HEAD + BODY_MAX];
} Record;

static size_t up8(size_t n)
{
    return (n + 7) & ~(size_t)7;
}

static void put32(uint8_t *p, uint32_t v)
{
    memcpy(p, &v, sizeof v);
}

static uint32_t get32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static uint64_t get64(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

void pagemap_binding(const char *system, const char *store_place, const char *const *recipients,
                     PageBinding *ret)
{
    size_t n = 0;
    _cleanup_(buf_clear) Buf text = BUF_INIT(BUF_MAX_LINE);

    while (recipients[n])
        n++;
    _cleanup_free_ const char **sorted = xcalloc(n + 1, sizeof *sorted);
    if (n > 0)
        memcpy(sorted, recipients, n * sizeof *sorted);
    qsort(sorted, n, sizeof *sorted, by_text);
    buf_printf(&text, "atoll page map\n%s\n%s\n", system, store_place);
    for (size_t i = 0; i < n; i++)
        buf_printf(&text, "%s\n", sorted[i]);
    BUG_IF(text.overflow);
    Hasher *h = hasher_new(CRYPT_SHA256);
    hasher_once(h, buf_as_str(&text), ret->bytes, sizeof ret->bytes);
    hasher_free(h);
}

/* Writing */

struct PageMapWriter {
    int fd;
    char *path;
    Hasher *whole, *once;
    Buf pending;
    uint64_t records;
};

PageMapWriter *pagemap_writer_free(PageMapWriter *w)
{
    if (!w)
        return NULL;
    if (w->fd >= 0)
        close(w->fd);
    hasher_free(w->whole);
    hasher_free(w->once);
    buf_clear(&w->pending);
    free(w->path);
    free(w);
    return NULL;
}

static int flush(PageMapWriter *w, Err *err)
{
    hasher_add(w->whole, w->pending.p, w->pending.len);
    for (size_t at = 0; at < w->pending.len;) {
        ssize_t n = write(w->fd, w->pending.p + at, w->pending.len - at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set(err, ERR_IO, "writing the page map %s: %m", w->path);
        at += (size_t)n;
    }
    buf_truncate(&w->pending, 0);
    return 0;
}

int pagemap_create(const char *path, const PageBinding *b, Msec made, PageMapWriter **ret, Err *err)
{
    _cleanup_(pagemap_writer_drop) PageMapWriter *w = NEW(PageMapWriter);

    w->path = xstrdup(path);
    w->pending = BUF_INIT(WRITE_BYTES + sizeof(Record));
    w->whole = hasher_new(CRYPT_SHA256);
    w->once = hasher_new(CRYPT_SHA256);
    w->fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (w->fd < 0)
        return err_set(err, ERR_IO, "cannot make the page map %s: %m", path);
    buf_add(&w->pending, MAGIC, 8);
    buf_add(&w->pending, &made, sizeof made);
    buf_add(&w->pending, b->bytes, sizeof b->bytes);
    *ret = TAKE(w);
    return 0;
}

static void check_of(Hasher *h, const Record *r, size_t bytes, uint8_t ret[static 8])
{
    hasher_once(h, (Str){(const char *)r->bytes, bytes}, ret, 8);
}

/* Fills in the head and appends; `bytes` of body. */
static int add_record(PageMapWriter *w, Record *r, uint32_t type, size_t bytes, Err *err)
{
    uint8_t check[8];

    put32(r->bytes, type);
    put32(r->bytes + 4, (uint32_t)bytes);
    memset(r->bytes + CHECK_AT, 0, 8);
    check_of(w->once, r, RECORD_HEAD + bytes, check);
    memcpy(r->bytes + CHECK_AT, check, 8);
    buf_add(&w->pending, r->bytes, RECORD_HEAD + bytes);
    w->records++;
    return w->pending.len >= WRITE_BYTES ? flush(w, err) : 0;
}

int pagemap_add_pack(PageMapWriter *w, uint32_t number, const PackRef *p, Err *err)
{
    Record r = {0};
    size_t n = strlen(p->name);
    uint8_t *body = r.bytes + RECORD_HEAD;

    BUG_IF(n >= PATH_BYTES_MAX || strlen(p->head) != HEAD_HEX);
    put32(body, number);
    memcpy(body + 8, &p->bytes, sizeof p->bytes);
    memcpy(body + 16, p->head, HEAD_HEX);
    memcpy(body + PACK_HEAD, p->name, n);
    int e = add_record(w, &r, RECORD_PACK, up8(PACK_HEAD + n + 1), err);
    /* At once: it is what a next run goes by if this one is killed. */
    return e < 0 ? e : flush(w, err);
}

int pagemap_add_pages(PageMapWriter *w, const char *path, const PageChunk *c, Err *err)
{
    Record r = {0};
    size_t n = strlen(path), at = RECORD_HEAD;

    if (n >= PATH_BYTES_MAX || c->count > PAGEMAP_CHUNK)
        return err_set(err, ERR_BUG, "the page map cannot hold %s", path);
    put32(r.bytes + at, (uint32_t)n);
    put32(r.bytes + at + 4, c->first);
    put32(r.bytes + at + 8, c->count);
    at += PAGES_HEAD;
    memcpy(r.bytes + at, path, n);
    at += up8(n);
    memcpy(r.bytes + at, c->hashes, c->count * sizeof *c->hashes);
    at += c->count * sizeof *c->hashes;
    memcpy(r.bytes + at, c->places, c->count * sizeof *c->places);
    at += c->count * sizeof *c->places;
    return add_record(w, &r, RECORD_PAGES, at - RECORD_HEAD, err);
}

int pagemap_finish(PageMapWriter *w, char ret_sha256[static 65], Err *err)
{
    Record r = {0};
    _cleanup_(buf_clear) Buf hex = BUF_INIT(65);

    memcpy(r.bytes + RECORD_HEAD, &w->records, sizeof w->records);
    int e = add_record(w, &r, RECORD_END, 8, err);
    if (e == 0)
        e = flush(w, err);
    if (e < 0)
        return e;
    if (fsync(w->fd) < 0)
        return err_set(err, ERR_IO, "writing the page map %s: %m", w->path);
    hasher_end(TAKE(w->whole), &hex);
    memcpy(ret_sha256, hex.p, 65);
    return 0;
}

/* Reading */

/* Where a chunk's record is. The path is known by its hash: the record itself has it. */
typedef struct Entry {
    uint64_t path_hash;
    int64_t at; /* of the record */
    uint32_t first, count;
} Entry;

struct PageMap {
    int fd;
    VEC(Entry) entries; /* by path_hash, first */
    VEC(PageMapPack) packs;
    size_t pages;
    Msec made;
};

PageMap *pagemap_free(PageMap *m)
{
    if (!m)
        return NULL;
    if (m->fd >= 0)
        close(m->fd);
    for (size_t i = 0; i < m->packs.len; i++)
        free(m->packs.items[i].ref.name);
    vec_clear(&m->packs);
    vec_clear(&m->entries);
    free(m);
    return NULL;
}

static void map_drop(PageMap *m)
{
    (void)pagemap_free(m);
}
DEFINE_CLEANUP(PageMap *, map_drop)

/* FNV-1a: only to find a record; whether it is the file's is then told by its path. */
static uint64_t hash_path(const char *p, size_t n)
{
    uint64_t h = 0xcbf29ce484222325u;

    for (size_t i = 0; i < n; i++)
        h = (h ^ (uint8_t)p[i]) * 0x100000001b3u;
    return h;
}

/* Is all there that was asked for? */
static bool read_at(int fd, int64_t at, void *ret, size_t n)
{
    for (size_t have = 0; have < n;) {
        ssize_t got = pread(fd, (uint8_t *)ret + have, n - have, at + (int64_t)have);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        have += (size_t)got;
    }
    return true;
}

/* The record at a place, checked; false where it is not whole. *ret_bytes with its head. */
static bool read_record(int fd, int64_t at, Hasher *once, Record *ret, size_t *ret_bytes)
{
    uint8_t told[8], check[8];

    if (!read_at(fd, at, ret->bytes, RECORD_HEAD))
        return false;
    size_t body = get32(ret->bytes + 4);
    if (body > BODY_MAX || body % 8 != 0 || body < 8 ||
        !read_at(fd, at + RECORD_HEAD, ret->bytes + RECORD_HEAD, body))
        return false;
    *ret_bytes = RECORD_HEAD + body;
    memcpy(told, ret->bytes + CHECK_AT, 8);
    memset(ret->bytes + CHECK_AT, 0, 8);
    check_of(once, ret, *ret_bytes, check);
    memcpy(ret->bytes + CHECK_AT, told, 8);
    return memcmp(told, check, 8) == 0;
}

static bool note_pack(PageMap *m, const Record *r, size_t bytes)
{
    const uint8_t *body = r->bytes + RECORD_HEAD;
    uint32_t number = get32(body);

    if (bytes < RECORD_HEAD + PACK_HEAD + 8 || r->bytes[bytes - 1] != 0 || number >= NUMBER_MAX)
        return false;
    while (m->packs.len <= number)
        vec_push(&m->packs, (PageMapPack){.now = PAGEMAP_NO_PACK});
    PageMapPack *p = &m->packs.items[number];
    if (p->ref.name)
        return false;
    p->ref = (PackRef){.name = xstrdup((const char *)body + PACK_HEAD),
                       .bytes = (int64_t)get64(body + 8)};
    memcpy(p->ref.head, body + 16, HEAD_HEX);
    return true;
}

static bool pages_fit(const Record *r, size_t bytes, size_t *ret_path)
{
    if (bytes < RECORD_HEAD + PAGES_HEAD)
        return false;
    size_t path = get32(r->bytes + RECORD_HEAD), count = get32(r->bytes + RECORD_HEAD + 8);
    *ret_path = path;
    return path < PATH_BYTES_MAX && count > 0 && count <= PAGEMAP_CHUNK &&
           bytes == RECORD_HEAD + PAGES_HEAD + up8(path) + count * 24;
}

static bool note_pages(PageMap *m, const Record *r, size_t bytes, int64_t at)
{
    const uint8_t *body = r->bytes + RECORD_HEAD;
    size_t path = 0;

    if (!pages_fit(r, bytes, &path))
        return false;
    Entry e = {.path_hash = hash_path((const char *)body + PAGES_HEAD, path),
               .at = at,
               .first = get32(body + 4),
               .count = get32(body + 8)};
    vec_push(&m->entries, e);
    m->pages += e.count;
    return true;
}

static int by_place(const void *a, const void *b)
{
    const Entry *x = a, *y = b;

    if (x->path_hash != y->path_hash)
        return x->path_hash < y->path_hash ? -1 : 1;
    return x->first == y->first ? 0 : x->first < y->first ? -1 : 1;
}

static int read_header(PageMap *m, const PageBinding *b, bool journal, Msec now, Hasher *whole,
                       Err *err)
{
    uint8_t h[HEADER_BYTES];

    if (!read_at(m->fd, 0, h, sizeof h) || memcmp(h, MAGIC, 8) != 0)
        return err_set(err, ERR_CORRUPT, "it is no page map");
    hasher_add(whole, h, sizeof h);
    if (memcmp(h + 16, b->bytes, sizeof b->bytes) != 0)
        return err_set(err, ERR_CHANGED, "it is of another cluster, repository or set of keys");
    m->made = (Msec)get64(h + 8);
    Msec age = now - m->made;
    if (journal && (age > PAGEMAP_JOURNAL_MS || age < -HOUR))
        return err_set(err, ERR_CHANGED, "it is of a run that was cut off too long ago");
    return 0;
}

/* All records up to the end or the first that is not whole; true if the end was there. */
static bool read_records(PageMap *m, Hasher *whole)
{
    _cleanup_free_ Record *r = NEW(Record);
    Hasher *once = hasher_new(CRYPT_SHA256);
    uint64_t records = 0;
    size_t bytes = 0;
    bool ended = false, good = true;

    for (int64_t at = HEADER_BYTES; good && !ended; at += (int64_t)bytes, records++) {
        if (!read_record(m->fd, at, once, r, &bytes))
            break;
        hasher_add(whole, r->bytes, bytes);
        switch (get32(r->bytes)) {
        case RECORD_PACK:
            good = note_pack(m, r, bytes);
            break;
        case RECORD_PAGES:
            good = note_pages(m, r, bytes, at);
            break;
        case RECORD_END:
            ended = get64(r->bytes + RECORD_HEAD) == records;
            good = ended;
            break;
        default:
            good = false;
        }
    }
    hasher_free(once);
    return ended;
}

int pagemap_open(const char *path, const PageBinding *b, const char *sha256, Msec now,
                 PageMap **ret, Err *err)
{
    _cleanup_(map_drop) PageMap *m = NEW(PageMap);
    _cleanup_(buf_clear) Buf hex = BUF_INIT(65);

    m->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (m->fd < 0)
        return err_set(err, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, "cannot open %s: %m", path);
    Hasher *whole = hasher_new(CRYPT_SHA256);
    int r = read_header(m, b, !sha256, now, whole, err);
    if (r < 0) {
        hasher_free(whole);
        return r;
    }
    bool ended = read_records(m, whole);
    hasher_end(whole, &hex);
    if (sha256 && (!ended || !streq(hex.p, sha256)))
        return err_set(err, ERR_CORRUPT, "it is not the one that the last backup wrote");
    if (m->entries.len > 0)
        qsort(m->entries.items, m->entries.len, sizeof *m->entries.items, by_place);
    *ret = TAKE(m);
    return 0;
}

/* The last entry of the path that begins at or before the page; NULL. */
static const Entry *find_entry(const PageMap *m, uint64_t path_hash, uint32_t page)
{
    size_t low = 0, high = m->entries.len;
    const Entry key = {.path_hash = path_hash, .first = page};

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (by_place(&m->entries.items[middle], &key) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == 0)
        return NULL;
    const Entry *e = &m->entries.items[low - 1];
    return e->path_hash == path_hash && page - e->first < e->count ? e : NULL;
}

bool pagemap_find(PageMap *m, const char *path, uint32_t page, PageChunk *ret)
{
    size_t n = strlen(path), path_bytes = 0;
    const Entry *e = find_entry(m, hash_path(path, n), page);
    if (!e)
        return false;
    _cleanup_free_ Record *r = xcalloc(1, sizeof *r);
    size_t head = RECORD_HEAD + PAGES_HEAD + up8(n);
    size_t bytes = head + (size_t)e->count * 24;
    const uint8_t *name = r->bytes + RECORD_HEAD + PAGES_HEAD;

    if (bytes > sizeof r->bytes || !read_at(m->fd, e->at, r->bytes, bytes) ||
        !pages_fit(r, bytes, &path_bytes) || path_bytes != n || memcmp(name, path, n) != 0)
        return false;
    ret->first = e->first;
    ret->count = e->count;
    memcpy(ret->hashes, r->bytes + head, e->count * sizeof *ret->hashes);
    memcpy(ret->places, r->bytes + head + e->count * sizeof *ret->hashes,
           e->count * sizeof *ret->places);
    return true;
}

PageMapPack *pagemap_pack(PageMap *m, uint32_t number)
{
    return number < m->packs.len ? &m->packs.items[number] : NULL;
}

size_t pagemap_pages(const PageMap *m)
{
    return m->pages;
}

Msec pagemap_made(const PageMap *m)
{
    return m->made;
}
