/* Recovery windows. */
#include "backup/window.h"

/* All log that the backup needs. */
static bool has_log_of(const WalRange *r, const Base *b)
{
    return r->tli == b->tli && r->start <= b->start && r->end >= b->stop;
}

bool window_log_whole(const Base *b, const WalRanges *ranges)
{
    for (size_t i = 0; i < ranges->len; i++)
        if (has_log_of(&ranges->items[i], b))
            return true;
    return false;
}

static int compare_windows(const void *a, const void *b)
{
    const Window *x = a, *y = b;

    if (x->tli != y->tli)
        return x->tli < y->tli ? -1 : 1;
    if (x->start != y->start)
        return x->start < y->start ? -1 : 1;
    return x->end < y->end ? -1 : x->end > y->end;
}

/* Sorts, and makes one of those that touch. */
static void merge(Windows *w)
{
    size_t n = 0;

    if (w->len)
        qsort(w->items, w->len, sizeof *w->items, compare_windows);
    for (size_t i = 0; i < w->len; i++) {
        Window *last = n ? &w->items[n - 1] : NULL;
        if (last && last->tli == w->items[i].tli && w->items[i].start <= last->end)
            last->end = MAX(last->end, w->items[i].end);
        else
            w->items[n++] = w->items[i];
    }
    w->len = n;
}

static void add_times(Windows *w, const WalPieces *pieces)
{
    for (size_t i = 0; i < w->len; i++) {
        Window *x = &w->items[i];
        bool any = false;
        for (size_t j = 0; j < pieces->len; j++) {
            const WalPiece *p = &pieces->items[j];
            if (p->tli != x->tli || p->end < x->start || p->start >= MAX(x->end, x->start + 1))
                continue;
            x->from = any ? MIN(x->from, p->written) : p->written;
            x->to = any ? MAX(x->to, p->written) : p->written;
            any = true;
        }
    }
}

/* From a window that was found, on along the timelines that came of it. `entered`: where each range
 * was entered first on the way from this backup; again only if it is earlier. */
static void follow(Window at, const WalRanges *ranges, Lsn *entered, Windows *ret)
{
    Windows todo = {0};

    vec_push(&todo, at);
    while (todo.len > 0) {
        at = *vec_last(&todo);
        todo.len--;
        vec_push(ret, at);
        for (size_t i = 0; i < ranges->len; i++) {
            const WalRange *r = &ranges->items[i];
            Lsn from = MAX(r->start, at.start);
            if (r->tli <= at.tli || r->start > at.end || r->end <= at.start || from >= entered[i])
                continue;
            entered[i] = from;
            vec_push(&todo, (Window){r->tli, from, r->end, 0, 0});
        }
    }
    vec_clear(&todo);
}

void windows_find(const BaseRefs *bases, const WalPieces *pieces, Windows *ret)
{
    WalRanges ranges = {0};

    wal_ranges_of(pieces, &ranges);
    _cleanup_free_ Lsn *entered = xcalloc(ranges.len + 1, sizeof *entered);
    for (size_t i = 0; i < bases->len; i++) {
        const Base *b = bases->items[i];
        memset(entered, 0xff, ranges.len * sizeof *entered);
        for (size_t j = 0; j < ranges.len; j++) {
            const WalRange *r = &ranges.items[j];
            if (has_log_of(r, b))
                follow((Window){r->tli, b->stop, r->end, 0, 0}, &ranges, entered, ret);
        }
    }
    vec_clear(&ranges);
    merge(ret);
    add_times(ret, pieces);
}

void windows_lost(const Windows *before, const Windows *after, const WalPieces *pieces,
                  Windows *ret)
{
    for (size_t i = 0; i < before->len; i++) {
        Window rest = before->items[i];
        bool left = true;
        for (size_t j = 0; j < after->len && left; j++) {
            const Window *a = &after->items[j];
            if (a->tli != rest.tli || a->end < rest.start || a->start > rest.end)
                continue;
            if (a->start > rest.start)
                vec_push(ret, (Window){rest.tli, rest.start, a->start, 0, 0});
            left = a->end < rest.end;
            rest.start = a->end;
        }
        if (left)
            vec_push(ret, rest);
    }
    add_times(ret, pieces);
}
