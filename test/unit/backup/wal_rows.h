/* Catalogues for tables: each piece of log is a row. */
#pragma once
#include "backup/wal.h"

#include <setjmp.h>

#include <cmocka.h>

typedef struct PieceRow {
    Timeline tli; /* 0 ends a table */
    Lsn start, end;
    int64_t note, pruned;
    bool gone;
    Msec written;
} PieceRow;

static int compare_seen(const void *a, const void *b)
{
    return strcmp(((const Seen *)a)->name, ((const Seen *)b)->name);
}

static void catalogue_sort(Catalogue *c)
{
    if (c->objects.len)
        qsort(c->objects.items, c->objects.len, sizeof(Seen), compare_seen);
}

/* Identities differ from row to row. */
static _unused_ void catalogue_rows(Catalogue *c, const PieceRow *rows)
{
    c->system = xstrdup("7000000000000000001");
    for (size_t i = 0; rows[i].tli; i++) {
        char hash[OBJECT_HASH_MAX];
        snprintf(hash, sizeof hash, "%064zx", i);
        memmove(hash, hash + 32, 32);
        vec_push(&c->objects,
                 (Seen){.name = name_wal_new(rows[i].tli, rows[i].start, rows[i].end, hash),
                        .note = rows[i].note,
                        .pruned = rows[i].pruned,
                        .gone = rows[i].gone,
                        .written = rows[i].written});
    }
    catalogue_sort(c);
}

/* "TLI:START-END@FIRST-LAST ..." */
static _unused_ char *ranges_text(const Catalogue *c)
{
    WalRanges ranges = {0};
    Buf out = BUF_INIT(BUF_MAX_LINE);

    wal_ranges(c, &ranges);
    for (size_t i = 0; i < ranges.len; i++) {
        const WalRange *r = &ranges.items[i];
        buf_printf(&out, "%s%u:%llu-%llu@%lld-%lld", i ? " " : "", r->tli,
                   (unsigned long long)r->start, (unsigned long long)r->end, (long long)r->first,
                   (long long)r->last);
    }
    vec_clear(&ranges);
    return buf_detach(&out);
}

static _unused_ void history_row(WalHistories *h, Timeline tli, const char *text)
{
    WalHistory one = {0};
    assert_int_equal(wal_history_parse(tli, str_of(text), &one, NULL), 0);
    vec_push(h, one);
}
