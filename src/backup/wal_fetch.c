/* One object of the log, in whichever version holds. */
#include "backup/wal_fetch.h"

#define PIECE_MAX ((size_t)64 << 20)

void wal_fetch_free(void *job)
{
    Fetch *f = job;

    for (size_t i = 0; i < f->parts.len; i++)
        buf_clear(&f->parts.items[i].bytes);
    vec_clear(&f->parts);
    err_clear(&f->err);
    free(f->trouble);
    free(f);
}

/* The plain bytes of a whole, checked object, if it is the piece that it should be. */
static int open_piece(const WalReaderOptions *o, const WalPiece *p, Str whole, Part *ret, Err *err)
{
    _cleanup_(object_head_clear) ObjectHead head = {0};
    Lsn start = 0, end = 0;
    int r = object_head_whole(whole, &head, err);

    if (r < 0)
        return r;
    const char *s = json_str_or(head.facts, "start", ""), *e = json_str_or(head.facts, "end", "");
    if (head.kind != OBJECT_WAL || json_int(head.facts, "tli", 0) != p->tli ||
        !lsn_parse(s, &start) || !lsn_parse(e, &end) || start != p->start || end != p->end)
        return err_set(err, ERR_CORRUPT, "%s holds another stretch of the log than its name says",
                       p->part);
    if (*o->catalogue->system && !streq(head.system, o->catalogue->system))
        return err_set(err, ERR_CONFLICT, "%s is of another cluster (system identifier %s, not %s)",
                       p->part, head.system, o->catalogue->system);
    ret->start = start;
    ret->bytes = BUF_INIT(PIECE_MAX);
    r = object_open(whole, o->reader, &ret->bytes, err);
    if (r == 0 && ret->bytes.len != end - start)
        r = err_set(err, ERR_CORRUPT, "%s has %zu bytes, not the %llu that its name says", p->part,
                    ret->bytes.len, (unsigned long long)(end - start));
    if (r < 0)
        buf_clear(&ret->bytes);
    return r;
}

static bool has_part(const Fetch *f, size_t i)
{
    return f->parts.items[i].bytes.len > 0;
}

static bool has_all(const Fetch *f)
{
    for (size_t i = 0; i < f->count; i++)
        if (!has_part(f, i))
            return false;
    return true;
}

/* A merged segment is parted again, and each part is checked to be the piece that the note about
 * the merging names. Those that are there already are left as they are. */
static int open_merged(Fetch *f, Str all, Err *err)
{
    const WalPiece *pieces = f->pieces;

    while (!has_all(f)) {
        _cleanup_(object_head_clear) ObjectHead head = {0};
        size_t need = 0;
        char hash[OBJECT_HASH_MAX];
        int r = object_head(all, &need, &head, err);
        if (r == 0 && (need > 0 || head.bytes > all.n))
            r = err_set(err, ERR_CORRUPT, "%s lacks pieces that it should have", pieces->name);
        Str part = {all.p, head.bytes};
        if (r == 0)
            r = object_check(part, &f->o->catalogue->hosts, hash, err);
        for (size_t i = 0; r == 0 && i < f->count; i++) {
            Name n = name_parse(pieces[i].part);
            if (strncmp(n.identity, hash, strlen(n.identity)) == 0 && !has_part(f, i))
                r = open_piece(f->o, &pieces[i], part, &f->parts.items[i], err);
        }
        if (r < 0)
            return r;
        all = (Str){all.p + head.bytes, all.n - head.bytes};
    }
    return 0;
}

/* What was written over it is not looked at: the first version first. */
static int fetch_versions(Store *store, Fetch *f, const char *name, Err *err)
{
    StoreItems l = {0};
    int r = store_list(store, name, true, &l, err);

    for (size_t i = 0; r == 0 && !has_all(f) && i < l.len; i++) {
        _cleanup_(buf_clear) Buf whole = BUF_INIT(OBJECT_MAX);
        _cleanup_(err_clear) Err own = {0};
        if (!streq(l.items[i].name, name))
            continue;
        int got = store_get_version(store, &l.items[i], 0, 0, &whole, &own);
        if (got == 0)
            got = open_merged(f, buf_as_str(&whole), &own);
        if (got < 0 && !object_is_bad(got))
            r = err_move(err, &own);
    }
    store_items_clear(&l);
    return r;
}

/* The pieces that it was made of, as long as the store has them. */
static int fetch_pieces(Store *store, Fetch *f, Err *err)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < f->count; i++) {
        const WalPiece *p = &f->pieces[i];
        _cleanup_(buf_clear) Buf whole = BUF_INIT(OBJECT_MAX);
        if (has_part(f, i))
            continue;
        r = catalogue_fetch(store, &f->o->catalogue->hosts, p->part, &whole, err);
        if (r == 0)
            r = open_piece(f->o, p, buf_as_str(&whole), &f->parts.items[i], err);
    }
    return r;
}

/* From its newest version, else an older one, else its pieces. */
static int fetch_merged(Store *store, Fetch *f, Err *err)
{
    const char *name = f->pieces[0].name;
    _cleanup_(buf_clear) Buf whole = BUF_INIT(OBJECT_MAX);
    _cleanup_(err_clear) Err other = {0};

    for (size_t i = 0; i < f->count; i++)
        vec_push(&f->parts, (Part){.bytes = BUF_INIT(PIECE_MAX)});
    int r = store_get(store, name, 0, 0, &whole, err);
    if (r == 0)
        r = open_merged(f, buf_as_str(&whole), err);
    if (!object_is_bad(r))
        return r;
    int again = fetch_versions(store, f, name, &other);
    const char *what = has_all(f) ? "an earlier version of it" : "the pieces it was made of";
    if (again == 0 && !has_all(f))
        again = fetch_pieces(store, f, &other);
    if (again < 0)
        return object_is_bad(again) ? r : err_move(err, &other);
    f->trouble = xasprintf("%s was read from %s: %s", name, what, err->text);
    err_clear(err);
    return 0;
}

/* Was it never an object of ours? Only what it was from the start proves that: the bytes that the
 * store first noted, by its MD5 of them. */
static bool was_never_ours(Store *store, const Fetch *f, const char *name)
{
    const Seen *seen = catalogue_find(f->o->catalogue, name);
    StoreItems l = {0};
    bool proven = false;

    if (!seen || !seen->etag || store_list(store, name, true, &l, NULL) < 0)
        return false;
    for (size_t i = 0; i < l.len && !proven; i++) {
        _cleanup_(buf_clear) Buf whole = BUF_INIT(OBJECT_MAX), md5 = BUF_INIT(BUF_MAX_LINE);
        if (!streq(l.items[i].name, name) ||
            store_get_version(store, &l.items[i], 0, 0, &whole, NULL) < 0)
            continue;
        crypt_hash(CRYPT_MD5, buf_as_str(&whole), &md5);
        proven = streq(md5.p, seen->etag);
    }
    store_items_clear(&l);
    return proven;
}

static int fetch_piece(Store *store, Fetch *f, Err *err)
{
    const WalPiece *p = f->pieces;
    _cleanup_(buf_clear) Buf whole = BUF_INIT(OBJECT_MAX);
    Part part = {0};
    int r = catalogue_fetch(store, &f->o->catalogue->hosts, p->name, &whole, err);

    if (r == 0) {
        r = open_piece(f->o, p, buf_as_str(&whole), &part, err);
        f->rubbish = r == -ERR_CORRUPT; /* it is what its name says, and has been all the time */
    } else if (r == -ERR_CORRUPT || r == -ERR_DENIED) {
        f->rubbish = was_never_ours(store, f, p->name);
    }
    if (r == 0)
        vec_push(&f->parts, part);
    return r;
}

int wal_fetch(Store *store, Fetch *f, Err *err)
{
    const WalPiece *p = f->pieces;
    int r = streq(p->name, p->part) ? fetch_piece(store, f, err) : fetch_merged(store, f, err);

    if (r == -ERR_NOT_FOUND) {
        /* Whatever the store answers: the catalogue says that it is there. */
        err_set(err, ERR_CORRUPT, "%s was stored, and the store has it no more", p->name);
        return err_hint(err, "`atoll backup verify` tells what else is missing");
    }
    return r < 0 ? err_wrap(err, "fetching %s", p->name) : 0;
}
