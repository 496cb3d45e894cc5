/* Reading what is stored: bytes against names, heads against names, frames, overlaps. */
#include "backup/pool.h"
#include "backup/verify.h"
#include "base/json.h"

#define THREADS 4
#define BOUND 16

typedef struct Job {
    const VerifyOptions *o;
    const Seen *seen;
    Name parts;
    Findings found;
    ChainLinks links; /* of a piece: one; of a merged segment: each part's */
    Err err;          /* the store's */
} Job;

static void job_free(void *job)
{
    Job *j = job;

    verify_clear(&j->found);
    chain_links_clear(&j->links);
    err_clear(&j->err);
    free(j);
}

static void *thread_begin(void *user)
{
    return store_clone(user);
}

static void thread_end(void *state)
{
    (void)store_free(state);
}

/* Does a restore find the right bytes all the same? */
static const char *rescue(Store *s, const Job *j)
{
    _cleanup_(buf_clear) Buf bytes = BUF_INIT(OBJECT_MAX);

    if (j->parts.identity[0] &&
        catalogue_fetch(s, &j->o->catalogue->hosts, j->seen->name, &bytes, NULL) == 0)
        return "; an earlier version is whole, and is what restores use";
    return "; no version of it is whole";
}

/* What its head says about itself, in a word or two where it is not what the name says. */
static const char *lies(const Name *n, const ObjectHead *h)
{
    static const ObjectKind kinds[] = {[NAME_WAL] = OBJECT_WAL,
                                       [NAME_HISTORY] = OBJECT_HISTORY,
                                       [NAME_PACK] = OBJECT_PACK,
                                       [NAME_BASE] = OBJECT_BASE};
    Lsn start = 0, end = 0;

    if (h->kind != kinds[n->kind])
        return "of another kind";
    if ((n->kind == NAME_WAL || n->kind == NAME_HISTORY) && json_int(h->facts, "tli", 0) != n->tli)
        return "of another timeline";
    if (n->kind == NAME_BASE && !streq(json_str(h->facts, "id"), n->id))
        return "another backup";
    if (n->kind != NAME_WAL)
        return NULL;
    if (!lsn_parse(json_str_or(h->facts, "start", ""), &start) ||
        !lsn_parse(json_str_or(h->facts, "end", ""), &end) || start != n->start || end != n->end)
        return "another stretch of the log";
    return NULL;
}

static void add_link(Job *j, const char *name, const Name *parts, const ObjectHead *h)
{
    if (parts->kind == NAME_WAL)
        vec_push(&j->links, (ChainLink){.name = name,
                                        .parts = *parts,
                                        .run = xstrdup(json_str_or(h->facts, "run", "")),
                                        .prev = xstrdup(json_str_or(h->facts, "prev", ""))});
}

/* An object that is whole and signed: is it what its name says? */
static void check_head(Job *j, Str whole)
{
    _cleanup_(object_head_clear) ObjectHead head = {0};
    _cleanup_(err_clear) Err err = {0};
    _cleanup_(buf_clear) Buf plain = BUF_INIT(OBJECT_MAX);
    const char *system = j->o->catalogue->system, *name = j->seen->name, *what = NULL;

    if (object_head_whole(whole, &head, &err) < 0) {
        verify_add(&j->found, FINDING_CHANGED, name, xstrdup("its head can't be read"));
        return;
    }
    if ((what = lies(&j->parts, &head)))
        verify_add(&j->found, FINDING_FORGED, name,
                   xasprintf("it is signed, and its head says that it is %s", what));
    else if (system && *system && !streq(head.system, system))
        verify_add(
            &j->found, FINDING_FORGED, name,
            xasprintf("it is signed, and of another cluster (system identifier %s)", head.system));
    else
        add_link(j, name, &j->parts, &head);
    if (!j->o->reader || object_open(whole, j->o->reader, &plain, &err) == 0)
        return;
    verify_add(&j->found, err.kind == ERR_DENIED ? FINDING_FORGED : FINDING_CHANGED, name,
               xasprintf("it is signed, and can't be opened: %s", err.text));
}

static void check_one(Store *s, Job *j, Str whole)
{
    _cleanup_(err_clear) Err err = {0};
    char hash[OBJECT_HASH_MAX] = "";
    int r = object_check(whole, &j->o->catalogue->hosts, hash, &err);

    if (r == -ERR_DENIED)
        verify_add(&j->found, FINDING_FORGED, j->seen->name,
                   xasprintf("no host that is known has signed it%s", rescue(s, j)));
    else if (r < 0)
        verify_add(&j->found, FINDING_CHANGED, j->seen->name,
                   xasprintf("%s%s", err.text, rescue(s, j)));
    else if (strncmp(hash, j->parts.identity, strlen(j->parts.identity)) != 0)
        verify_add(
            &j->found, FINDING_CHANGED, j->seen->name,
            xasprintf("it is the whole object of another name (%.32s)%s", hash, rescue(s, j)));
    else
        check_head(j, whole);
}

/* A merged segment: whole objects one behind another, with no name each but their hash. */
static void check_merged(Job *j, Str rest)
{
    while (rest.n > 0) {
        _cleanup_(object_head_clear) ObjectHead head = {0};
        _cleanup_(err_clear) Err err = {0};
        char hash[OBJECT_HASH_MAX];
        size_t need = 0;
        int r = object_head(rest, &need, &head, &err);
        if (r == 0 && (need > 0 || head.bytes > rest.n))
            r = err_set(&err, ERR_CORRUPT, "it ends in the middle of a piece");
        if (r == 0)
            r = object_check((Str){rest.p, head.bytes}, &j->o->catalogue->hosts, hash, &err);
        if (r < 0) {
            verify_add(&j->found, r == -ERR_DENIED ? FINDING_FORGED : FINDING_CHANGED,
                       j->seen->name, xstrdup(err.text));
            return;
        }
        Name n = {.kind = NAME_WAL, .tli = (Timeline)json_int(head.facts, "tli", 0)};
        memcpy(n.identity, hash, sizeof n.identity - 1);
        if (lsn_parse(json_str_or(head.facts, "start", ""), &n.start) &&
            lsn_parse(json_str_or(head.facts, "end", ""), &n.end))
            add_link(j, j->seen->name, &n, &head);
        rest = (Str){rest.p + head.bytes, rest.n - head.bytes};
    }
}

static void work(void *state, void *job)
{
    Job *j = job;
    _cleanup_(buf_clear) Buf bytes = BUF_INIT(OBJECT_MAX + 1);
    int r = store_get(state, j->seen->name, 0, 0, &bytes, &j->err);

    /* The listing tells of what is not there. */
    if (r == -ERR_NOT_FOUND)
        err_clear(&j->err);
    if (r == -ERR_CORRUPT) {
        verify_add(&j->found, FINDING_CHANGED, j->seen->name, xstrdup(j->err.text));
        err_clear(&j->err);
    }
    if (r < 0)
        return;
    if (j->parts.kind == NAME_SEGMENT)
        check_merged(j, buf_as_str(&bytes));
    else
        check_one(state, j, buf_as_str(&bytes));
}

static bool is_read(const VerifyOptions *o, const Seen *s, const Name *n)
{
    bool ours = n->kind == NAME_WAL || n->kind == NAME_HISTORY || n->kind == NAME_PACK ||
                n->kind == NAME_BASE || n->kind == NAME_SEGMENT;

    return ours && !s->gone && (o->data || n->kind == NAME_BASE);
}

static int take(Pool *p, ChainLinks *links, Findings *ret, int64_t *done, Err *err)
{
    Job *j = pool_take(p, true);
    int r = j->err.kind ? err_wrap(&j->err, "reading %s", j->seen->name) : 0;

    if (r < 0)
        err_move(err, &j->err);
    for (size_t i = 0; i < j->found.len; i++)
        vec_push(ret, j->found.items[i]);
    for (size_t i = 0; i < j->links.len; i++)
        vec_push(links, j->links.items[i]);
    vec_clear(&j->found);
    vec_clear(&j->links);
    *done += j->seen->bytes;
    job_free(j);
    return r;
}

int verify_data(const VerifyOptions *o, ChainLinks *links, Findings *ret, Err *err)
{
    const SeenList *all = &o->catalogue->objects;
    int64_t total = 0, done = 0;
    int r = 0;

    for (size_t i = 0; i < all->len; i++) {
        Name n = name_parse(all->items[i].name);
        total += is_read(o, &all->items[i], &n) ? all->items[i].bytes : 0;
    }
    Pool *p = pool_new(&(PoolWork){thread_begin, work, thread_end, o->store},
                       o->threads ? o->threads : THREADS, BOUND);
    for (size_t i = 0; i < all->len && r == 0; i++) {
        Name n = name_parse(all->items[i].name);
        if (!is_read(o, &all->items[i], &n))
            continue;
        if (o->stop && *o->stop)
            r = err_set(err, ERR_INTERRUPTED, "interrupted");
        if (r == 0 && pool_full(p))
            r = take(p, links, ret, &done, err);
        if (r < 0)
            break;
        Job *j = NEW(Job);
        *j = (Job){.o = o, .seen = &all->items[i], .parts = n};
        pool_push(p, j);
        if (o->progress)
            o->progress(o->user, done, total);
    }
    while (r == 0 && pool_count(p) > 0) {
        r = take(p, links, ret, &done, err);
        if (o->progress)
            o->progress(o->user, done, total);
    }
    pool_free(p, job_free);
    return r;
}

/* Pieces that overlap, opened and compared: with a reader's key only. */

static bool same_bytes(const WalPiece *a, Str x, const WalPiece *b, Str y)
{
    Lsn from = MAX(a->start, b->start), to = MIN(a->end, b->end);

    if (x.n != a->end - a->start || y.n != b->end - b->start)
        return true; /* told elsewhere */
    return memcmp(x.p + (from - a->start), y.p + (from - b->start), to - from) == 0;
}

static int open_piece(const VerifyOptions *o, const WalPiece *p, Buf *ret, Err *err)
{
    _cleanup_(buf_clear) Buf whole = BUF_INIT(OBJECT_MAX);
    int r = catalogue_fetch(o->store, &o->catalogue->hosts, p->name, &whole, err);

    if (r == 0)
        r = object_open(buf_as_str(&whole), o->reader, ret, err);
    /* What can't be had or opened was found before. */
    if (object_is_bad(r)) {
        err_clear(err);
        buf_truncate(ret, 0);
        r = 0;
    }
    return r;
}

static int compare(const VerifyOptions *o, const WalPiece *a, const WalPiece *b, Findings *ret,
                   Err *err)
{
    _cleanup_(buf_clear) Buf x = BUF_INIT(OBJECT_MAX), y = BUF_INIT(OBJECT_MAX);
    int r = open_piece(o, a, &x, err);

    if (r == 0)
        r = open_piece(o, b, &y, err);
    if (r == 0 && !same_bytes(a, buf_as_str(&x), b, buf_as_str(&y)))
        verify_add(ret, FINDING_FORK, b->name,
                   xasprintf("it and %s differ where they overlap", a->name));
    return r;
}

static int verify_overlaps(const VerifyOptions *o, Findings *ret, Err *err)
{
    WalPieces pieces = {0};
    size_t last = 0; /* the piece before that reaches furthest */
    int r = 0;

    wal_pieces(o->catalogue, &pieces);
    for (size_t i = 1; i < pieces.len && r == 0; i++) {
        const WalPiece *a = &pieces.items[last], *b = &pieces.items[i];
        bool own = streq(a->name, a->part) && streq(b->name, b->part);
        if (own && a->tli == b->tli && b->start < a->end)
            r = compare(o, a, b, ret, err);
        if (a->tli != b->tli || b->end > a->end)
            last = i;
        if (r == 0 && o->stop && *o->stop)
            r = err_set(err, ERR_INTERRUPTED, "interrupted");
    }
    vec_clear(&pieces);
    return r;
}

/* All of it */

/* By name; of one object each kind once. */
static int compare_findings(const void *a, const void *b)
{
    const Finding *x = a, *y = b;
    int names = strcmp(x->name, y->name);

    if (names)
        return names;
    return x->kind != y->kind ? (x->kind < y->kind ? -1 : 1) : strcmp(x->words, y->words);
}

static void settle(Findings *f)
{
    size_t n = 0;

    if (f->len)
        qsort(f->items, f->len, sizeof *f->items, compare_findings);
    for (size_t i = 0; i < f->len; i++) {
        Finding *last = n ? &f->items[n - 1] : NULL;
        if (last && last->kind == f->items[i].kind && f->items[i].name[0] &&
            streq(last->name, f->items[i].name)) {
            free(f->items[i].name);
            free(f->items[i].words);
        } else {
            f->items[n++] = f->items[i];
        }
    }
    f->len = n;
}

int verify_run(const VerifyOptions *o, Findings *ret, Err *err)
{
    StoreItems items = {0};
    Findings found = {0};
    _cleanup_(bases_clear) Bases bases = {0};
    _cleanup_(strlist_clear) StrList bad = {0}; /* verify_data tells of these itself */
    _cleanup_(chain_links_clear) ChainLinks links = {0};
    int r = store_list(o->store, "", true, &items, err);

    if (r == 0)
        r = store_expiries(o->store, &items, err);
    if (r == 0)
        verify_listing(o->catalogue, &items, store_now(o->store), &found);
    if (r == 0)
        r = bases_load(o->store, o->catalogue, &bases, &bad, err);
    if (r == 0) {
        verify_backups(o->catalogue, &bases, &found);
        r = verify_data(o, &links, &found, err);
    }
    if (r == 0 && o->data)
        verify_chain(o->catalogue, &links, &found);
    if (r == 0 && o->data && o->reader)
        r = verify_overlaps(o, &found, err);
    store_items_clear(&items);
    settle(&found);
    if (r < 0)
        verify_clear(&found);
    else
        *ret = found;
    return r;
}
