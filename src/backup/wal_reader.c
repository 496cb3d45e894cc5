/* Segments made of pieces, fetched ahead by a pool's threads. */
#include "backup/pool.h"
#include "backup/wal_fetch.h"

#define AHEAD_SEGMENTS ((size_t)8)
#define AHEAD_BYTES ((size_t)32 << 20)
#define JOBS_MAX ((size_t)1024)
#define HISTORY_MAX ((size_t)BUF_MAX_LINE * 16)

/* A stretch of a segment that has its bytes, and who gave them. */
typedef struct Filled {
    Lsn start, end;
    const WalPiece *by;
} Filled;

typedef struct Segment {
    Timeline tli;
    Lsn start;
    WalPieces pieces; /* first countersigned first, then by name of the object that holds them */
    size_t pushed, taken;
    Buf bytes;
    VEC(Filled) filled;
    VEC(const WalPiece *) rubbish;
    Err err;
} Segment;

struct WalReader {
    WalReaderOptions o;
    WalPieces pieces;
    Pool *pool;
    VEC(Segment *) ahead; /* oldest first */
    Buf spare;            /* the memory of a segment that nobody needs any more */
    StrList forks, rubbish;
};

static void segment_free(Segment *s)
{
    vec_clear(&s->pieces);
    vec_clear(&s->filled);
    vec_clear(&s->rubbish);
    buf_clear(&s->bytes);
    err_clear(&s->err);
    free(s);
}

static void *worker_begin(void *user)
{
    const WalReader *w = user;

    return store_clone(w->o.store);
}

static void worker_work(void *state, void *job)
{
    Fetch *f = job;

    /* The error itself is read by who takes the job. */
    (void)!wal_fetch(state, f, &f->err);
}

static void worker_end(void *state)
{
    (void)store_free(state);
}

WalReader *wal_reader_new(const WalReaderOptions *o)
{
    WalReader *w = NEW(WalReader);
    const PoolWork work = {worker_begin, worker_work, worker_end, w};

    w->o = *o;
    w->spare = BUF_INIT(o->segment_bytes);
    wal_pieces(o->catalogue, &w->pieces);
    w->pool = pool_new(&work, o->threads ? o->threads : 4, JOBS_MAX);
    return w;
}

static void forget_ahead(WalReader *w)
{
    Fetch *f;

    while ((f = pool_take(w->pool, true)))
        wal_fetch_free(f);
    for (size_t i = 0; i < w->ahead.len; i++)
        segment_free(w->ahead.items[i]);
    vec_clear(&w->ahead);
}

WalReader *wal_reader_free(WalReader *w)
{
    if (!w)
        return NULL;
    (void)pool_free(w->pool, wal_fetch_free);
    for (size_t i = 0; i < w->ahead.len; i++)
        segment_free(w->ahead.items[i]);
    vec_clear(&w->ahead);
    vec_clear(&w->pieces);
    buf_clear(&w->spare);
    strlist_clear(&w->forks);
    strlist_clear(&w->rubbish);
    free(w);
    return NULL;
}

const StrList *wal_reader_forks(const WalReader *w)
{
    return &w->forks;
}

const StrList *wal_reader_rubbish(const WalReader *w)
{
    return &w->rubbish;
}

static int compare_trust(const void *a, const void *b)
{
    const WalPiece *x = a, *y = b;

    /* No note at all is later than any. */
    uint64_t nx = (uint64_t)x->note - 1, ny = (uint64_t)y->note - 1;
    if (nx != ny)
        return nx < ny ? -1 : 1;
    int by_name = strcmp(x->name, y->name);
    return by_name ? by_name : strcmp(x->part, y->part);
}

/* Up to where the log of `of` may be used: for a segment of `tli`, and for the timeline asked for.
 */
static Lsn counts_until(const WalReader *w, Timeline tli, Timeline of)
{
    Lsn end = wal_counts(w->o.histories, tli, of);
    Lsn asked = w->o.tli && w->o.tli != of ? wal_counts(w->o.histories, w->o.tli, of) : UINT64_MAX;

    /* A timeline that is no parent of the one asked for is served whole: PostgreSQL may look at it.
     */
    return asked > 0 ? MIN(end, asked) : end;
}

/* NULL: the catalogue has no byte of it. */
static Segment *segment_plan(const WalReader *w, Timeline tli, Lsn start)
{
    Lsn end = start + w->o.segment_bytes;
    bool own = false;
    Segment *s = NEW(Segment);

    *s = (Segment){.tli = tli, .start = start, .bytes = BUF_INIT(w->o.segment_bytes)};
    for (size_t i = 0; i < w->pieces.len; i++) {
        WalPiece p = w->pieces.items[i];
        p.end = MIN(p.end, counts_until(w, tli, p.tli));
        if (p.start >= MIN(p.end, end) || p.end <= start)
            continue;
        own = own || p.tli == tli;
        vec_push(&s->pieces, w->pieces.items[i]);
    }
    if (!own) {
        segment_free(s);
        return NULL;
    }
    qsort(s->pieces.items, s->pieces.len, sizeof *s->pieces.items, compare_trust);
    return s;
}

static void pump(WalReader *w)
{
    for (size_t i = 0; i < w->ahead.len; i++) {
        Segment *s = w->ahead.items[i];
        while (s->pushed < s->pieces.len && !pool_full(w->pool)) {
            Fetch *f = NEW(Fetch);
            *f = (Fetch){.o = &w->o, .user = s, .pieces = &s->pieces.items[s->pushed]};
            while (s->pushed < s->pieces.len &&
                   streq(s->pieces.items[s->pushed].name, f->pieces->name)) {
                s->pushed++;
                f->count++;
            }
            pool_push(w->pool, f);
        }
    }
}

static void swap(Buf *a, Buf *b)
{
    Buf c = *a;

    *a = *b;
    *b = c;
}

/* Zeros up to its end, if it has none yet. Memory that was used before is at hand at once; of new
 * memory each page is a fault. */
static void zero_fill(WalReader *w, Segment *s)
{
    if (s->bytes.len == w->o.segment_bytes)
        return;
    swap(&s->bytes, &w->spare);
    buf_truncate(&s->bytes, 0);
    s->bytes.max = w->o.segment_bytes; /* a caller's may have been another */
    memset(buf_room(&s->bytes, w->o.segment_bytes), 0, w->o.segment_bytes);
    buf_grow(&s->bytes, w->o.segment_bytes);
}

/* What of a piece counts for a segment. */
static void stretch_of(const WalReader *w, const Segment *s, const WalPiece *p, Lsn *ret_from,
                       Lsn *ret_to)
{
    *ret_from = MAX(p->start, s->start);
    *ret_to = MIN(MIN(p->end, counts_until(w, s->tli, p->tli)), s->start + w->o.segment_bytes);
}

/* Have others all that this piece could give? `before`: those that were countersigned before. */
static bool is_covered(const WalReader *w, const Segment *s, const WalPiece *p, bool before)
{
    Lsn at, to, last;

    stretch_of(w, s, p, &at, &to);
    do {
        last = at;
        for (size_t i = 0; i < s->filled.len; i++) {
            const Filled *f = &s->filled.items[i];
            bool counts = !before || (f->by->note > 0 && f->by->note != p->note);
            if (counts && f->start <= at && f->end > at)
                at = f->end;
        }
    } while (at < to && at > last);
    return at >= to;
}

/* Rubbish under the name of a piece must not stand in the way of what was there before it. */
static bool leave_out(WalReader *w, const Fetch *f)
{
    const Segment *s = f->user;
    const WalPiece *p = f->pieces;

    if (f->err.kind != ERR_CORRUPT && f->err.kind != ERR_DENIED && f->err.kind != ERR_CONFLICT)
        return false;
    for (size_t i = 0; i < f->count; i++)
        if (!is_covered(w, s, p + i, true))
            return false;
    strlist_addf(&w->forks,
                 "%s was left out, since others that were countersigned before have all "
                 "of it: %s",
                 p->name, f->err.text);
    return true;
}

/* Puts a part's bytes into the segment, but for those that are there already, which must be the
 * same. */
static int put_part(WalReader *w, Segment *s, const WalPiece *p, const Part *part, Err *err)
{
    Lsn from, to;

    stretch_of(w, s, p, &from, &to);
    const char *bytes = part->bytes.p + (from - part->start);
    for (size_t i = 0; i < s->filled.len; i++) {
        const Filled *f = &s->filled.items[i];
        Lsn a = MAX(from, f->start), b = MIN(to, f->end);
        if (a >= b || memcmp(s->bytes.p + (a - s->start), bytes + (a - from), b - a) == 0)
            continue;
        /* A child's first segment begins with a copy of its parent's log: the same rule. */
        if (f->by->note > 0 && f->by->note != p->note) { /* compare_trust: it was first */
            strlist_addf(&w->forks,
                         "%s differs from %s, which was countersigned first: it was left out",
                         p->part, f->by->part);
            return 0;
        }
        err_set(err, ERR_CORRUPT, "two histories of the cluster: %s and %s differ", f->by->part,
                p->part);
        return err_hint(err, "somebody wrote the log of two clusters, or a forged one, into this "
                             "store; `atoll backup verify` tells more, and a moment before can be "
                             "restored");
    }
    zero_fill(w, s);
    memcpy(s->bytes.p + (from - s->start), bytes, to - from);
    vec_push(&s->filled, (Filled){from, to, p});
    return 0;
}

/* Waits for the oldest job and puts what it brought where it belongs. False: there is none. */
static bool collect(WalReader *w)
{
    Fetch *f = pool_take(w->pool, true);

    if (!f)
        return false;
    Segment *s = f->user;
    if (f->rubbish)
        vec_push(&s->rubbish, f->pieces);
    else if (f->err.kind && !s->err.kind && !leave_out(w, f))
        (void)err_move(&s->err, &f->err);
    if (f->trouble && !f->err.kind)
        strlist_add(&w->forks, f->trouble);
    for (size_t i = 0; i < f->parts.len && !f->err.kind && !s->err.kind; i++)
        /* Kept in the segment until it is asked for. */
        (void)!put_part(w, s, &f->pieces[i], &f->parts.items[i], &s->err);
    s->taken += f->count;
    wal_fetch_free(f);
    return true;
}

/* Rubbish is as if it were not there: where nothing else has its stretch, who asked must not rely
 * on that. */
static void judge_rubbish(WalReader *w, Segment *s)
{
    for (size_t i = 0; i < s->rubbish.len && !s->err.kind; i++) {
        const WalPiece *p = s->rubbish.items[i];
        bool covered = is_covered(w, s, p, false);
        strlist_addf(covered ? &w->forks : &w->rubbish,
                     covered ? "%s is rubbish, and was so "
                               "from the start: it was left out"
                             : "%s",
                     p->name);
        if (!covered)
            err_set(&s->err, ERR_CORRUPT, "%s is rubbish, and was so from the start", p->name);
    }
}

static size_t ahead_most(const WalReader *w)
{
    size_t fit = AHEAD_BYTES / w->o.segment_bytes;

    return MIN(MAX(fit, (size_t)2), AHEAD_SEGMENTS);
}

/* Adds the segments that will be asked for next. */
static void look_ahead(WalReader *w)
{
    while (w->ahead.len > 0 && w->ahead.len < ahead_most(w)) {
        const Segment *last = *vec_last(&w->ahead);
        Segment *next = segment_plan(w, last->tli, last->start + w->o.segment_bytes);
        if (!next)
            break;
        vec_push(&w->ahead, next);
    }
}

/* From here on. False: no byte of it was stored, and all stays as it is. */
static bool go_to(WalReader *w, Timeline tli, Lsn start)
{
    Segment *s = segment_plan(w, tli, start);

    if (!s)
        return false;
    forget_ahead(w);
    vec_push(&w->ahead, s);
    return true;
}

void wal_reader_expect(WalReader *w, Timeline tli, Lsn at)
{
    if (!go_to(w, tli, at - at % w->o.segment_bytes))
        return;
    look_ahead(w);
    pump(w);
}

static int get_segment(WalReader *w, Timeline tli, Lsn start, Buf *ret, Err *err)
{
    size_t skip = 0;

    while (skip < w->ahead.len &&
           (w->ahead.items[skip]->tli != tli || w->ahead.items[skip]->start != start))
        skip++;
    if (skip == w->ahead.len) {
        if (!go_to(w, tli, start))
            return err_set(err, ERR_NOT_FOUND, "no byte of it was stored");
        skip = 0;
    }
    look_ahead(w);
    for (size_t i = 0; i <= skip; i++) {
        Segment *s = w->ahead.items[0];
        while (s->taken < s->pieces.len) {
            pump(w);
            BUG_IF(!collect(w));
        }
        if (i == skip)
            judge_rubbish(w, s);
        if (i < skip) {
            segment_free(s);
            vec_remove(&w->ahead, 0);
        }
    }
    Segment *s = w->ahead.items[0];
    vec_remove(&w->ahead, 0);
    int r = s->err.kind ? err_move(err, &s->err) : 0;
    if (r == 0) {
        zero_fill(w, s);
        swap(ret, &s->bytes);
        swap(&s->bytes, &w->spare);
    }
    segment_free(s);
    look_ahead(w);
    pump(w);
    return r;
}

/* The text of a history file. */
static int fetch_history(Store *store, const Catalogue *c, const KeyPair *reader, const Seen *s,
                         Buf *ret, Err *err)
{
    _cleanup_(buf_clear) Buf whole = BUF_INIT(OBJECT_MAX);
    int r = catalogue_fetch(store, &c->hosts, s->name, &whole, err);

    if (r == 0)
        r = object_open(buf_as_str(&whole), reader, ret, err);
    if (r == -ERR_NOT_FOUND)
        return err_set(err, ERR_CORRUPT, "%s was stored, and the store has it no more", s->name);
    return r < 0 ? err_wrap(err, "fetching %s", s->name) : 0;
}

/* A history that was found, and of those that can't be read the one that was there first. */
typedef struct Found {
    const Seen *by, *bad_by;
    Buf text;
    Err bad;
} Found;

/* Counts this one more than that one? What was countersigned first does. */
static bool is_before(const Seen *a, const Seen *b)
{
    return (uint64_t)a->note - 1 < (uint64_t)b->note - 1; /* 0: later than any */
}

static int take_history(Found *best, const Seen *s, Buf *text, Err *err)
{
    bool same = best->by && best->by->note == s->note;

    if (same && !str_eq(buf_as_str(&best->text), buf_as_str(text)))
        return err_set(err, ERR_CORRUPT, "two histories of one timeline: %s and %s differ",
                       best->by->name, s->name);
    if (best->by && !is_before(s, best->by))
        return 0;
    buf_truncate(&best->text, 0);
    buf_add(&best->text, text->p, text->len);
    best->by = s;
    return 0;
}

/* Rubbish, if another one was there before it. */
static void note_bad(Found *best, const Seen *s, Err *why)
{
    if (best->bad_by && !is_before(s, best->bad_by))
        return;
    err_clear(&best->bad);
    (void)err_move(&best->bad, why);
    best->bad_by = s;
}

static int tell_history(Found *best, Timeline tli, Buf *ret, Err *err)
{
    if (best->bad_by && (!best->by || !is_before(best->by, best->bad_by)))
        return err_move(err, &best->bad);
    if (!best->by)
        return err_set(err, ERR_NOT_FOUND, "no history of timeline %u was stored", tli);
    buf_add(ret, best->text.p, best->text.len);
    return 0;
}

/* Is it the history's fault, and not the store's or ours? */
static bool history_is_bad(int r)
{
    return r == -ERR_CORRUPT || r == -ERR_DENIED;
}

/* The history of a timeline: what was countersigned first. ERR_NOT_FOUND: none was stored. */
static int get_history(Store *store, const Catalogue *c, const KeyPair *reader, Timeline tli,
                       Buf *ret, Err *err)
{
    Found best = {.text = BUF_INIT(HISTORY_MAX)};
    int r = 0;

    for (size_t i = 0; r == 0 && i < c->objects.len; i++) {
        const Seen *s = &c->objects.items[i];
        Name n = name_parse(s->name);
        if (n.kind != NAME_HISTORY || n.tli != tli || s->pruned || (s->gone && s->note == 0))
            continue;
        _cleanup_(buf_clear) Buf text = BUF_INIT(HISTORY_MAX);
        _cleanup_(err_clear) Err own = {0};
        r = fetch_history(store, c, reader, s, &text, &own);
        if (r == 0) {
            r = take_history(&best, s, &text, err);
        } else if (history_is_bad(r)) {
            note_bad(&best, s, &own);
            r = 0;
        } else {
            r = err_move(err, &own);
        }
    }
    if (r == 0)
        r = tell_history(&best, tli, ret, err);
    buf_clear(&best.text);
    err_clear(&best.bad);
    return r;
}

int wal_histories_load(Store *store, const Catalogue *c, const KeyPair *reader, WalHistories *ret,
                       StrList *ret_bad, Err *err)
{
    Timeline last = 0;
    int denied = 0;

    for (size_t i = 0; i < c->objects.len; i++) {
        /* By name, so by timeline. */
        Name n = name_parse(c->objects.items[i].name);
        if (n.kind != NAME_HISTORY || n.tli == last)
            continue;
        last = n.tli;
        _cleanup_(buf_clear) Buf text = BUF_INIT(HISTORY_MAX);
        WalHistory h = {0};
        int r = get_history(store, c, reader, n.tli, &text, err);
        if (r == -ERR_NOT_FOUND) { /* pruned */
            err_clear(err);
            continue;
        }
        if (r == 0)
            r = wal_history_parse(n.tli, buf_as_str(&text), &h, err);
        if (history_is_bad(r)) {
            strlist_addf(ret_bad, "timeline %u: %s", n.tli,
                         err && err->text ? err->text : "damaged");
            denied = r == -ERR_DENIED ? r : denied;
            continue;
        }
        if (r < 0) {
            wal_histories_clear(ret);
            return r;
        }
        vec_push(ret, h);
    }
    if (ret->len == 0 && denied)
        return denied;
    err_clear(err);
    return 0;
}

int wal_reader_get(WalReader *w, const char *file_name, Buf *ret, Err *err)
{
    Timeline tli;
    Lsn start;

    if (history_parse(file_name, &tli)) {
        int r = get_history(w->o.store, w->o.catalogue, w->o.reader, tli, ret, err);
        /* PostgreSQL asks for later ones to find a number that is free: what nothing leads to is
         * not there. */
        if (tli > w->o.tli && history_is_bad(r))
            return err_set(err, ERR_NOT_FOUND, "no history of timeline %u that counts", tli);
        return r;
    }
    if (segment_parse(file_name, w->o.segment_bytes, &tli, &start))
        return get_segment(w, tli, start, ret, err);
    return err_set(err, ERR_USAGE, "'%s' is the name of no segment and no history", file_name);
}
