#include "backup/merge.h"

#define NAMES_MOST 4

void merges_clear(Merges *m)
{
    for (size_t i = 0; i < m->len; i++) {
        free(m->items[i].segment);
        strlist_clear(&m->items[i].from);
    }
    vec_clear(m);
}

static char *segment_name_new(Timeline tli, Lsn start, uint32_t segment_bytes)
{
    char file[SEGMENT_NAME_MAX];

    return xasprintf("segment/%08x/%s", tli, segment_format(tli, start, segment_bytes, file));
}

static bool is_merged(const Catalogue *c, const char *segment)
{
    size_t n = strlen(segment);

    for (size_t i = 0; i < c->notes.len; i++) {
        const char *name = json_str(c->notes.items[i].body, "segment");
        if (streq(c->notes.items[i].kind, "merged") && name && starts_with(name, segment) &&
            name[n] == '-')
            return true;
    }
    return false;
}

static bool is_settled(const Catalogue *c, const WalPiece *p, Msec before)
{
    const Seen *s = catalogue_find(c, p->name);

    return s && s->note > 0 && !s->gone && !s->marked && !s->pruned && streq(p->name, p->part) &&
           p->written < before;
}

/* The pieces from `first` on that begin in one segment; do they make it whole? */
static bool is_whole(const Catalogue *c, const WalPiece *p, size_t n, uint32_t segment_bytes,
                     Msec before)
{
    Lsn start = p[0].start - p[0].start % segment_bytes, end = start + segment_bytes, at = start;
    int64_t bytes = 0;

    for (size_t i = 0; i < n; i++) {
        if (!is_settled(c, &p[i], before) || p[i].start > at || p[i].end > end)
            return false;
        at = MAX(at, p[i].end);
        bytes += catalogue_find(c, p[i].name)->bytes;
    }
    return n > 1 && at == end && bytes <= (int64_t)OBJECT_MAX;
}

static size_t group(const WalPieces *l, size_t first, uint32_t segment_bytes)
{
    const WalPiece *p = &l->items[first];
    size_t n = 1;

    while (first + n < l->len && p[n].tli == p->tli &&
           p[n].start / segment_bytes == p->start / segment_bytes)
        n++;
    return n;
}

void merge_choose(const Catalogue *c, uint32_t segment_bytes, Msec before, Merges *ret)
{
    WalPieces pieces = {0};

    wal_pieces(c, &pieces);
    for (size_t i = 0, n; i < pieces.len && ret->len < MERGE_MOST; i += n) {
        const WalPiece *p = &pieces.items[i];
        n = group(&pieces, i, segment_bytes);
        if (!is_whole(c, p, n, segment_bytes, before))
            continue;
        _cleanup_free_ char *segment =
            segment_name_new(p->tli, p->start - p->start % segment_bytes, segment_bytes);
        if (is_merged(c, segment))
            continue;
        Merge m = {.segment = TAKE(segment)};
        for (size_t k = 0; k < n; k++)
            strlist_add(&m.from, p[k].name);
        vec_push(ret, m);
    }
    vec_clear(&pieces);
}

/* 0: the store has these bytes under this name; ERR_CONFLICT: other ones. */
static int put_or_find(Store *s, const char *name, Str bytes, Err *err)
{
    _cleanup_(buf_clear) Buf there = BUF_INIT(OBJECT_MAX);
    int r = store_put(s, name, bytes, STORE_NEW, err);

    if (r != -ERR_CONFLICT)
        return r;
    err_clear(err);
    r = store_get(s, name, 0, 0, &there, err);
    if (r == 0 && !str_eq(buf_as_str(&there), bytes))
        return err_set(err, ERR_CONFLICT, "%s is there with other bytes", name);
    return r;
}

int merge_put(Store *s, const Catalogue *c, const Merge *m, Merged *ret, Err *err)
{
    _cleanup_(buf_clear) Buf all = BUF_INIT(OBJECT_MAX), hash = BUF_INIT(BUF_MAX_LINE);
    _cleanup_free_ char *name = NULL;
    int r = 0;

    for (size_t i = 0; r == 0 && i < m->from.len; i++) {
        r = catalogue_fetch(s, &c->hosts, m->from.items[i], &all, err);
        ret->bad = object_is_bad(r) ? m->from.items[i] : NULL;
    }
    if (r == 0)
        r = -ERR_CONFLICT;
    for (int n = 0; r == -ERR_CONFLICT && n < NAMES_MOST; n++) {
        err_clear(err);
        free(name);
        name = xasprintf("%s-%d", m->segment, n);
        r = put_or_find(s, name, buf_as_str(&all), err);
    }
    if (r < 0)
        return err_wrap(err, "merging %s", m->segment);
    crypt_hash(CRYPT_SHA256, buf_as_str(&all), &hash);
    ret->name = TAKE(name);
    memcpy(ret->hash, hash.p, OBJECT_HASH_MAX);
    return 0;
}
