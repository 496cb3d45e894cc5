/* Pieces, ranges, histories: what the catalogue says about the log. */
#include "backup/wal.h"

static int compare_pieces(const void *a, const void *b)
{
    const WalPiece *x = a, *y = b;

    if (x->tli != y->tli)
        return x->tli < y->tli ? -1 : 1;
    if (x->start != y->start)
        return x->start < y->start ? -1 : 1;
    if (x->end != y->end)
        return x->end > y->end ? -1 : 1;
    return strcmp(x->part, y->part);
}

static bool is_there(const Seen *s)
{
    return s->pruned == 0 && !s->rubbish && (!s->gone || s->note > 0);
}

static void add_piece(const Seen *holder, const char *part, const Seen *own, WalPieces *ret)
{
    Name n = name_parse(part);

    if (n.kind == NAME_WAL)
        vec_push(ret,
                 (WalPiece){.tli = n.tli,
                            .start = n.start,
                            .end = n.end,
                            .name = holder->name,
                            .part = part,
                            .note = holder->note && own && own->note ? own->note : holder->note,
                            .written = own ? own->written : holder->written});
}

/* As long as a piece is there it stands for itself. One that a prune has removed and has not yet
 * written down is in its segment. */
static bool stands_itself(const Catalogue *c, const Seen *own, const bool *held)
{
    return is_there(own) && !(own->gone && held[own - c->objects.items]);
}

/* Each part of what a note calls merged: without `ret` they are put down in `held`, with it
 * the pieces that do not stand for themselves are added. */
static void read_merged(const Catalogue *c, const Note *n, bool *held, WalPieces *ret)
{
    const char *name = streq(n->kind, "merged") ? json_str(n->body, "segment") : NULL;
    const Seen *holder = name ? catalogue_find(c, name) : NULL;
    size_t i;
    json_t *from;

    if (!holder || !is_there(holder))
        return;
    json_array_foreach (json_at(n->body, "from"), i, from) {
        const char *part = json_string_value(from);
        const Seen *own = part ? catalogue_find(c, part) : NULL;
        if (!ret && own && holder->note > 0 && !holder->gone)
            held[own - c->objects.items] = true;
        if (ret && part && !(own && stands_itself(c, own, held)))
            add_piece(holder, part, own, ret);
    }
}

void wal_pieces(const Catalogue *c, WalPieces *ret)
{
    _cleanup_free_ bool *held = xcalloc(c->objects.len + 1, sizeof *held);

    for (size_t i = 0; i < c->notes.len; i++)
        read_merged(c, &c->notes.items[i], held, NULL);
    for (size_t i = 0; i < c->objects.len; i++) {
        const Seen *s = &c->objects.items[i];
        if (stands_itself(c, s, held))
            add_piece(s, s->name, s, ret);
    }
    for (size_t i = 0; i < c->notes.len; i++)
        read_merged(c, &c->notes.items[i], held, ret);
    if (ret->len)
        qsort(ret->items, ret->len, sizeof *ret->items, compare_pieces);
}

void wal_ranges_of(const WalPieces *pieces, WalRanges *ret)
{
    for (size_t i = 0; i < pieces->len; i++) {
        const WalPiece *p = &pieces->items[i];
        WalRange *last = ret->len ? vec_last(ret) : NULL;
        if (!last || last->tli != p->tli || p->start > last->end) {
            vec_push(ret, (WalRange){p->tli, p->start, p->end, p->written, p->written});
            continue;
        }
        last->end = MAX(last->end, p->end);
        last->first = MIN(last->first, p->written);
        last->last = MAX(last->last, p->written);
    }
}

void wal_ranges(const Catalogue *c, WalRanges *ret)
{
    WalPieces pieces = {0};

    wal_pieces(c, &pieces);
    wal_ranges_of(&pieces, ret);
    vec_clear(&pieces);
}

void wal_histories_clear(WalHistories *h)
{
    for (size_t i = 0; i < h->len; i++)
        vec_clear(&h->items[i].parents);
    vec_clear(h);
}

int wal_history_parse(Timeline tli, Str text, WalHistory *ret, Err *err)
{
    WalHistory h = {.tli = tli};
    Str line;

    while (str_next(&text, '\n', &line)) {
        Str rest = str_trim(line), number, lsn;
        if (rest.n == 0 || rest.p[0] == '#')
            continue;
        bool parts = str_next(&rest, '\t', &number) && str_next(&rest, '\t', &lsn);
        _cleanup_free_ char *n = xstrndup(number.p, number.n);
        _cleanup_free_ char *l = parts ? xstrndup(lsn.p, lsn.n) : xstrdup("");
        int64_t parent = 0;
        WalParent p = {0};
        bool ok = parse_int(n, 1, UINT32_MAX, &parent) && lsn_parse(l, &p.end);
        p.tli = (Timeline)parent;
        const WalParent *before = h.parents.len ? vec_last(&h.parents) : NULL;
        ok = ok && p.tli < tli && (!before || (before->tli < p.tli && before->end <= p.end));
        if (!ok) {
            vec_clear(&h.parents);
            return err_set(err, ERR_CORRUPT, "the history of timeline %u has a line '%.*s'", tli,
                           (int)MIN(line.n, (size_t)100), line.p);
        }
        vec_push(&h.parents, p);
    }
    if (h.parents.len == 0)
        return err_set(err, ERR_CORRUPT, "the history of timeline %u is empty", tli);
    *ret = h;
    return 0;
}

static const WalHistory *find_history(const WalHistories *h, Timeline tli)
{
    for (size_t i = 0; h && i < h->len; i++)
        if (h->items[i].tli == tli)
            return &h->items[i];
    return NULL;
}

Lsn wal_counts(const WalHistories *h, Timeline tli, Timeline of)
{
    if (of == tli)
        return UINT64_MAX;
    const WalHistory *own = find_history(h, tli);
    for (size_t i = 0; own && i < own->parents.len; i++)
        if (own->parents.items[i].tli == of)
            return own->parents.items[i].end;
    return 0;
}

/* The range of a timeline that holds the place; a place right at its end counts. */
static const WalRange *range_at(const WalRanges *ranges, Timeline tli, Lsn at)
{
    for (size_t i = 0; i < ranges->len; i++) {
        const WalRange *r = &ranges->items[i];
        if (r->tli == tli && r->start <= at && at <= r->end)
            return r;
    }
    return NULL;
}

/* The first log of the lineage at or behind a place, where none is at the place. */
static Lsn log_beyond(const WalRanges *ranges, const WalHistories *h, Timeline tli, Lsn at)
{
    Lsn first = 0;

    for (size_t i = 0; i < ranges->len; i++) {
        const WalRange *r = &ranges->items[i];
        if (r->end > at && r->start < wal_counts(h, tli, r->tli) && r->start > at &&
            (first == 0 || r->start < first))
            first = r->start;
    }
    return first;
}

bool wal_reach(const WalRanges *ranges, const WalHistories *h, Timeline tli, Timeline from_tli,
               Lsn from, WalReach *ret)
{
    const WalHistory *own = find_history(h, tli);
    size_t parents = own ? own->parents.len : 0, i = 0;
    const WalRange *r = range_at(ranges, from_tli, from);
    Lsn counts = wal_counts(h, tli, from_tli);

    if (!r || counts == 0 || from > counts)
        return false;
    while (i < parents && own->parents.items[i].tli != from_tli)
        i++;
    WalReach reach;
    for (;; i++) {
        Lsn end = i < parents ? own->parents.items[i].end : UINT64_MAX;
        reach =
            (WalReach){i < parents ? own->parents.items[i].tli : tli, MIN(r->end, end), r->last, 0};
        if (i >= parents || reach.end < end)
            break;
        /* At the switch the next timeline goes on, if any of its log is there. */
        Timeline next = i + 1 < parents ? own->parents.items[i + 1].tli : tli;
        r = range_at(ranges, next, end);
        if (!r)
            break;
    }
    reach.beyond = log_beyond(ranges, h, tli, reach.end);
    *ret = reach;
    return true;
}
