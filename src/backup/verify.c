/* What the listing and the catalogue say about each other; the log; the chain of its pieces. */
#include "backup/verify.h"
#include "backup/window.h"

const FindingRow finding_rows[FINDING_KINDS] = {
    [FINDING_CHANGED] = {"changed", "If the words name no earlier version that is whole, its bytes "
                                    "are lost: take a new backup (atoll backup base) and drill it"},
    [FINDING_FORGED] = {"forged", "Somebody without the host's key wrote it, or with the key wrote "
                                  "what is not so: find out who can write here, and replace the "
                                  "host's key and its addresses"},
    [FINDING_MISSING] = {"missing", "Bring it back from a copy or from the store's versions, or "
                                    "take a new backup (atoll backup base)"},
    [FINDING_EXTRA] = {"extra", "Nothing of atoll's put it there: find out who can write here, and "
                                "remove it by hand"},
    [FINDING_VERSION] = {"version", "Somebody wrote over it. Restores use the first version; find "
                                    "out who can write here"},
    [FINDING_EXPIRES] = {"expires", "Somebody asked the store to remove it: remove its X-Delete-At "
                                    "header (a POST by the owner) before that, and find out who "
                                    "can write here"},
    [FINDING_GAP] = {"gap", "Moments in the hole can't be restored. Take a new backup (atoll "
                            "backup base), and see why the stream lost its slot"},
    [FINDING_FORK] = {"fork", "Two writers: two clusters that both think they are the primary, or "
                              "a thief. What was countersigned first counts"},
    [FINDING_CHAIN] = {"chain", "A piece is out of order or its forerunner was never stored: see "
                                "who else has the host's key, and take a new backup"},
    [FINDING_LATE] = {"late", "Nobody vouches for when it came: see whether `atoll backup audit` "
                              "runs"},
};

void verify_clear(Findings *f)
{
    for (size_t i = 0; i < f->len; i++) {
        free(f->items[i].name);
        free(f->items[i].words);
    }
    vec_clear(f);
}

void verify_add(Findings *f, FindingKind kind, const char *name, char *words)
{
    vec_push(f, (Finding){.kind = kind, .name = xstrdup(name), .words = words});
}

/* The listing */

/* All versions of one name. */
typedef struct Versions {
    const StoreItem *first, *newest; /* newest: NULL when a plain get finds nothing */
    size_t others;                   /* later ones that differ from the first */
} Versions;

/* A put that was repeated has the same bytes: that is no second version. */
static bool differs(const StoreItem *a, const StoreItem *b)
{
    return a->bytes != b->bytes || (a->etag && b->etag && !streq(a->etag, b->etag));
}

static Versions versions_at(const StoreItems *l, size_t *at)
{
    Versions v = {.first = &l->items[*at]};

    for (; *at < l->len && streq(l->items[*at].name, v.first->name); (*at)++) {
        const StoreItem *i = &l->items[*at];
        if (i->newest)
            v.newest = i;
        v.others += differs(v.first, i);
    }
    return v;
}

static void check_seen(const Seen *s, const Versions *v, Findings *ret)
{
    const StoreItem *i = v->first;

    if (s->pruned)
        verify_add(ret, FINDING_EXTRA, s->name,
                   xasprintf("note %lld says that it was pruned, and it is there: who wrote the "
                             "note wants it forgotten",
                             (long long)s->pruned));
    if (s->bytes != i->bytes)
        verify_add(ret, FINDING_CHANGED, s->name,
                   xasprintf("%lld bytes; note %lld saw %lld", (long long)i->bytes,
                             (long long)s->note, (long long)s->bytes));
    else if (s->etag && i->etag && !streq(s->etag, i->etag))
        verify_add(
            ret, FINDING_CHANGED, s->name,
            xasprintf("its MD5 is %s; note %lld saw %s", i->etag, (long long)s->note, s->etag));
}

static void check_object(const Catalogue *c, const Versions *v, Msec now, Findings *ret)
{
    const char *name = v->first->name;
    const Seen *s = catalogue_find(c, name);
    NameKind kind = name_parse(name).kind;

    if (kind == NAME_OTHER) {
        verify_add(ret, FINDING_EXTRA, name, xstrdup("nothing of ours has such a name"));
        return;
    }
    if (kind == NAME_NOTE && catalogue_stray(c, name)) {
        verify_add(ret, FINDING_EXTRA, name,
                   xstrdup("it has the name of a note, and no auditor that is believed signed it"));
        return;
    }
    if (v->newest && v->newest->expires)
        verify_add(ret, FINDING_EXPIRES, name,
                   xstrdup("the store will remove it by itself (X-Delete-At)"));
    if (v->others)
        verify_add(ret, kind == NAME_NOTE ? FINDING_FORK : FINDING_VERSION, name,
                   xasprintf("%zu later version%s with other bytes than the first", v->others,
                             v->others == 1 ? "" : "s"));
    if (!v->newest)
        verify_add(ret, FINDING_MISSING, name,
                   xstrdup("it was deleted; an earlier version is there, which restores use"));
    if (kind == NAME_NOTE)
        return;
    if (s && s->note > 0)
        check_seen(s, v, ret);
    else if (c->notes.len > 0 && v->first->written < now - VERIFY_LATE_MS)
        verify_add(ret, FINDING_LATE, name, xstrdup("no note tells of it"));
}

void verify_listing(const Catalogue *c, const StoreItems *items, Msec now, Findings *ret)
{
    for (size_t at = 0; at < items->len;) {
        Versions v = versions_at(items, &at);
        check_object(c, &v, now, ret);
    }
    for (size_t i = 0; i < c->objects.len; i++) {
        const Seen *s = &c->objects.items[i];
        if (s->gone && s->note > 0 && !s->pruned)
            verify_add(ret, FINDING_MISSING, s->name,
                       xasprintf("note %lld saw it, and it is not there", (long long)s->note));
    }
    if (c->notes.len == 0 && items->len > 0)
        verify_add(ret, FINDING_LATE, "",
                   xstrdup("nobody countersigns: what is missing or came late can't be told"));
}

/* Backups and the log */

static void check_packs(const Catalogue *c, const Base *b, Findings *ret)
{
    json_t *pack;
    size_t i;

    json_array_foreach (json_at(b->facts, "packs"), i, pack) {
        const char *name = json_string_value(json_array_get(pack, 0));
        const Seen *s = base_pack(c, pack);
        if (s && !s->pruned)
            continue;
        verify_add(ret, FINDING_MISSING, name ? name : b->name,
                   s ? xasprintf("the backup %s needs it, and note %lld says it was pruned", b->id,
                                 (long long)s->pruned)
                     : xasprintf("the backup %s needs it, and nobody ever saw it", b->id));
    }
}

static void add_gap(Findings *ret, const char *name, Timeline tli, Lsn from, Lsn to)
{
    char a[LSN_TEXT_MAX], b[LSN_TEXT_MAX];

    verify_add(ret, FINDING_GAP, name,
               xasprintf("there is no log from %s to %s on timeline %u", lsn_format(from, a),
                         lsn_format(to, b), tli));
}

/* A prune takes log between backups, and says so. */
static bool was_pruned(const Catalogue *c, Timeline tli, Lsn from, Lsn to)
{
    for (size_t i = 0; i < c->objects.len; i++) {
        if (!c->objects.items[i].pruned)
            continue;
        Name n = name_parse(c->objects.items[i].name);
        if (n.kind == NAME_WAL && n.tli == tli && n.start < to && n.end > from)
            return true;
    }
    return false;
}

static const char *piece_at(const WalPieces *pieces, Timeline tli, Lsn start)
{
    for (size_t i = 0; i < pieces->len; i++)
        if (pieces->items[i].tli == tli && pieces->items[i].start == start)
            return pieces->items[i].name;
    return "";
}

static bool is_backed(const Bases *bases, const WalRange *r)
{
    for (size_t i = 0; i < bases->len; i++) {
        const Base *b = &bases->items[i];
        if (b->tli < r->tli || (b->tli == r->tli && b->start < r->start))
            return true;
    }
    return false;
}

/* Where a timeline's log begins, an older one's must lead there, unless a backup begins in it. */
static bool is_joined(const Bases *bases, const WalRanges *ranges, const WalRange *r)
{
    bool older = false;

    for (size_t i = 0; i < bases->len; i++) {
        const Base *b = &bases->items[i];
        if (b->tli == r->tli && r->start <= b->start && b->start < r->end)
            return true;
    }
    for (size_t i = 0; i < ranges->len; i++) {
        const WalRange *o = &ranges->items[i];
        older = older || o->tli < r->tli;
        if (o->tli < r->tli && o->start <= r->start && r->start <= o->end)
            return true;
    }
    return !older;
}

void verify_backups(const Catalogue *c, const Bases *bases, Findings *ret)
{
    WalPieces pieces = {0};
    WalRanges ranges = {0};

    wal_pieces(c, &pieces);
    wal_ranges_of(&pieces, &ranges);
    for (size_t i = 0; i < bases->len; i++) {
        const Base *b = &bases->items[i];
        check_packs(c, b, ret);
        if (!window_log_whole(b, &ranges))
            verify_add(ret, FINDING_GAP, b->name,
                       xasprintf("the log from its start to its stop has a hole, so the backup "
                                 "%s can't be restored",
                                 b->id));
    }
    for (size_t i = 0; i < ranges.len; i++) {
        const WalRange *r = &ranges.items[i], *before = i ? r - 1 : NULL;
        const char *name = piece_at(&pieces, r->tli, r->start);
        if (!is_backed(bases, r))
            continue;
        if (before && before->tli == r->tli) {
            if (!was_pruned(c, r->tli, before->end, r->start))
                add_gap(ret, name, r->tli, before->end, r->start);
        } else if (!is_joined(bases, &ranges, r) && !was_pruned(c, r->tli, 0, r->start + 1)) {
            char text[LSN_TEXT_MAX];
            verify_add(ret, FINDING_GAP, name,
                       xasprintf("timeline %u begins at %s, where no older timeline's log leads",
                                 r->tli, lsn_format(r->start, text)));
        }
    }
    vec_clear(&pieces);
    vec_clear(&ranges);
}

/* The chain */

void chain_links_clear(ChainLinks *l)
{
    for (size_t i = 0; i < l->len; i++) {
        free(l->items[i].run);
        free(l->items[i].prev);
    }
    vec_clear(l);
}

static int by_identity(const void *a, const void *b)
{
    return strcmp(((const ChainLink *)a)->parts.identity, ((const ChainLink *)b)->parts.identity);
}

static int by_run_and_prev(const void *a, const void *b)
{
    const ChainLink *x = *(const ChainLink *const *)a, *y = *(const ChainLink *const *)b;
    int runs = strcmp(x->run, y->run);

    if (runs)
        return runs;
    int prevs = strcmp(x->prev, y->prev);
    return prevs ? prevs : strcmp(x->name, y->name);
}

/* Identities of pieces that are no longer there by themselves, sorted. */
static void gone_pieces(const Catalogue *c, StrList *ret)
{
    for (size_t i = 0; i < c->objects.len; i++) {
        const Seen *s = &c->objects.items[i];
        Name n = name_parse(s->name);
        if (n.kind == NAME_WAL && (s->pruned || s->gone))
            strlist_add(ret, n.identity);
    }
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int by_place(const void *a, const void *b)
{
    const ChainLink *x = *(const ChainLink *const *)a, *y = *(const ChainLink *const *)b;

    if (x->parts.tli != y->parts.tli)
        return x->parts.tli < y->parts.tli ? -1 : 1;
    return x->parts.start < y->parts.start ? -1 : x->parts.start > y->parts.start;
}

/* Several pieces are on their way at once: when the stream dies, a later one may be there and one
 * before it not. The next run sends both stretches again, cut anew: a piece that others' pieces
 * have all of is no news. `order`: by place. */
static bool was_sent_again(const ChainLink *const *order, size_t n, const ChainLink *l)
{
    Lsn at = l->parts.start;

    for (size_t i = 0; i < n && at < l->parts.end; i++) {
        const ChainLink *o = order[i];
        if (o->parts.tli == l->parts.tli && !streq(o->run, l->run) && o->parts.start <= at)
            at = MAX(at, o->parts.end);
    }
    return at >= l->parts.end;
}

static void check_link(const ChainLinks *links, const ChainLink *const *order, const StrList *gone,
                       const ChainLink *l, Findings *ret)
{
    ChainLink key = {0};
    char *prev = key.parts.identity;

    if (!l->prev[0])
        return;
    memcpy(prev, l->prev, MIN(strlen(l->prev), sizeof key.parts.identity - 1));
    const ChainLink *p = bsearch(&key, links->items, links->len, sizeof key, by_identity);
    if (!p && gone->len &&
        bsearch(&prev, gone->items, gone->len, sizeof *gone->items, compare_texts))
        return;
    if (!p && was_sent_again(order, links->len, l))
        return;
    if (!p)
        verify_add(ret, FINDING_CHAIN, l->name,
                   xasprintf("the piece before it, %s, is not there", prev));
    else if (p->parts.end != l->parts.start)
        verify_add(ret, FINDING_CHAIN, l->name,
                   xasprintf("it says that it follows %s, which ends elsewhere", p->name));
}

void verify_chain(const Catalogue *c, ChainLinks *links, Findings *ret)
{
    _cleanup_(strlist_clear) StrList gone = {0};
    _cleanup_free_ const ChainLink **order = xcalloc(links->len + 1, sizeof *order);

    if (links->len == 0)
        return;
    gone_pieces(c, &gone);
    if (gone.len)
        qsort(gone.items, gone.len, sizeof *gone.items, compare_texts);
    qsort(links->items, links->len, sizeof *links->items, by_identity);
    for (size_t i = 0; i < links->len; i++)
        order[i] = &links->items[i];
    qsort(order, links->len, sizeof *order, by_place);
    for (size_t i = 0; i < links->len; i++)
        check_link(links, order, &gone, &links->items[i], ret);
    qsort(order, links->len, sizeof *order, by_run_and_prev);
    for (size_t i = 1; i < links->len; i++) {
        const ChainLink *a = order[i - 1], *b = order[i];
        /* A run that begins anew from an earlier place follows nothing. */
        if (b->prev[0] && streq(a->run, b->run) && streq(a->prev, b->prev))
            verify_add(
                ret, FINDING_FORK, b->name,
                xasprintf("it and %s of one run say that they follow the same piece", a->name));
    }
}
