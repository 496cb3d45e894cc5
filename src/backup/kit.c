/* A kit is put together: which objects, their heads, their keys. */
#include "backup/kit_work.h"
#include "backup/pool.h"

#define HEAD_GUESS ((int64_t)8 << 10)
#define HEAD_MAX ((size_t)17 << 20)
#define THREADS 16

/* An object whose heads are read; of a merged segment there are several, one behind another. */
typedef struct HeadJob {
    const KitAsk *ask;
    const Seen *seen;
    json_t *grants;
    Err err;
} HeadJob;

typedef struct Making {
    const KitAsk *ask;
    VEC(const Seen *) seen; /* to be read */
    json_t *rows, *urls, *grants, *merged;
} Making;

static void add_row(Making *m, const Seen *s)
{
    json_array_append_new(m->rows,
                          json_make_new("[s, I, I, I, b]", s->name, (json_int_t)s->bytes,
                                        (json_int_t)s->written, (json_int_t)s->note, s->gone));
}

static int need(Making *m, const char *name, Err *err)
{
    const Seen *s = catalogue_find(m->ask->catalogue, name);

    if (!s)
        return err_set(err, ERR_CORRUPT, "the backup needs %.200s, which nobody has seen", name);
    if (json_object_get(m->urls, name))
        return 0;
    char *url = NULL;
    int r = m->ask->url(m->ask->user, name, &url, err);
    if (r < 0)
        return r;
    json_object_set_new(m->urls, name, json_string(url));
    free(url);
    add_row(m, s);
    vec_push(&m->seen, s); /* NOLINT(bugprone-sizeof-expression): pointers are meant */
    return 0;
}

/* Files. */
static int need_base(Making *m, Err *err)
{
    const Base *b = m->ask->choice->base;
    const json_t *pack;
    size_t i;
    int r = need(m, b->name, err);

    json_array_foreach (json_at(b->facts, "packs"), i, pack) {
        const char *name = json_string_value(json_array_get(pack, 0));

        if (r == 0)
            r = need(m, name ? name : "", err);
    }
    return r;
}

/* Of every timeline: PostgreSQL looks which number is free. */
static int need_histories(Making *m, Err *err)
{
    const Catalogue *c = m->ask->catalogue;
    int r = 0;

    for (size_t i = 0; r == 0 && i < c->objects.len; i++) {
        const Seen *s = &c->objects.items[i];

        if (name_parse(s->name).kind == NAME_HISTORY && !s->pruned && !(s->gone && s->note == 0))
            r = need(m, s->name, err);
    }
    return r;
}

/* A piece that has gone into a segment is still what the catalogue judges by. */
static void know_part(Making *m, const WalPiece *p)
{
    const Seen *own = streq(p->part, p->name) ? NULL : catalogue_find(m->ask->catalogue, p->part);

    if (own)
        add_row(m, own);
}

static int need_log(Making *m, Err *err)
{
    const KitAsk *ask = m->ask;
    const Base *b = ask->choice->base;
    uint32_t segment = (uint32_t)json_int(b->facts, "segment", SEGMENT_BYTES);
    Lsn from = b->start - b->start % segment; /* who reads a segment wants its first page */
    WalPieces pieces = {0};
    int r = 0;

    wal_pieces(ask->catalogue, &pieces);
    for (size_t i = 0; r == 0 && i < pieces.len; i++) {
        const WalPiece *p = &pieces.items[i];

        if (p->end <= from || p->start >= wal_counts(ask->histories, ask->choice->tli, p->tli))
            continue;
        r = need(m, p->name, err);
        know_part(m, p);
    }
    vec_clear(&pieces);
    return r;
}

static void need_merged(Making *m)
{
    const Catalogue *c = m->ask->catalogue;

    for (size_t i = 0; i < c->notes.len; i++) {
        const Note *n = &c->notes.items[i];
        const char *name = streq(n->kind, "merged") ? json_str(n->body, "segment") : NULL;

        if (name && json_object_get(m->urls, name))
            json_array_append(m->merged, n->body);
    }
}

/* Heads. */

static int read_head(Store *s, const Seen *seen, int64_t at, ObjectHead *ret, Err *err)
{
    _cleanup_(buf_clear) Buf start = BUF_INIT(HEAD_MAX);
    int64_t left = seen->bytes - at, want = MIN(HEAD_GUESS, left);
    size_t more = 0;

    for (;;) {
        int r = store_get(s, seen->name, at + (int64_t)start.len, want, &start, err);
        if (r == 0)
            r = object_head(buf_as_str(&start), &more, ret, err);
        if (r < 0)
            return r;
        if (more == 0)
            return 0;
        if ((int64_t)more > left || more <= start.len)
            return err_set(err, ERR_CORRUPT, "%s is cut short", seen->name);
        want = (int64_t)(more - start.len);
    }
}

static int grant_all(Store *s, HeadJob *j, Err *err)
{
    bool many = name_parse(j->seen->name).kind == NAME_SEGMENT;
    int r = 0;

    for (int64_t at = 0; r == 0 && at < j->seen->bytes;) {
        _cleanup_(object_head_clear) ObjectHead head = {0};
        r = read_head(s, j->seen, at, &head, err);
        if (r == 0 && !many && head.bytes != (size_t)j->seen->bytes)
            r = err_set(err, ERR_CORRUPT, "%s is not what was stored", j->seen->name);
        if (r == 0)
            r = crypt_grant(j->ask->reader, json_object_get(head.json, "to"), j->ask->recipient,
                            j->grants, err);
        at += (int64_t)head.bytes;
    }
    return r < 0 ? err_wrap(err, "%s", j->seen->name) : 0;
}

static void *begin(void *user)
{
    return store_clone(user);
}

static void work(void *state, void *job)
{
    HeadJob *j = job;

    (void)!grant_all(state, j, &j->err); /* the job has the outcome */
}

static void end(void *state)
{
    (void)store_free(state);
}

static void drop(void *job)
{
    HeadJob *j = job;

    json_decref(j->grants);
    err_clear(&j->err);
    free(j);
}

/* One that can't be read is left out if something else tells the same: the restore finds out. A
 * piece of the log that a thief has put there must not stop it. */
static int take(Making *m, HeadJob *j, Err *err)
{
    int r = j->err.kind ? err_move(err, &j->err) : json_object_update(m->grants, j->grants);

    if (r == -ERR_CORRUPT || r == -ERR_DENIED) {
        NameKind kind = name_parse(j->seen->name).kind;
        if (kind != NAME_BASE && kind != NAME_PACK) {
            err_clear(err);
            r = 0;
        }
    }
    drop(j);
    return r;
}

static int read_heads(Making *m, Err *err)
{
    Pool *p = pool_new(&(PoolWork){begin, work, end, m->ask->store}, THREADS, (size_t)2 * THREADS);
    int r = 0;

    for (size_t i = 0; r == 0 && i < m->seen.len; i++) {
        HeadJob *j = NEW(HeadJob);

        *j = (HeadJob){.ask = m->ask, .seen = m->seen.items[i], .grants = json_object()};
        if (pool_full(p))
            r = take(m, pool_take(p, true), err);
        pool_push(p, j);
        if (m->ask->stop && *m->ask->stop)
            r = err_set(err, ERR_INTERRUPTED, "interrupted");
    }
    while (r == 0 && pool_count(p) > 0)
        r = take(m, pool_take(p, true), err);
    (void)pool_free(p, drop);
    return r;
}

/* Text. */

static json_t *lsn_new(Lsn lsn)
{
    char text[LSN_TEXT_MAX];

    return json_string(lsn_format(lsn, text));
}

static json_t *histories_new(const WalHistories *h)
{
    json_t *all = json_array();

    for (size_t i = 0; h && i < h->len; i++) {
        json_t *parents = json_array();

        for (size_t k = 0; k < h->items[i].parents.len; k++)
            json_array_append_new(
                parents, json_make_new("[I, o]", (json_int_t)h->items[i].parents.items[k].tli,
                                       lsn_new(h->items[i].parents.items[k].end)));
        json_array_append_new(all, json_make_new("[I, o]", (json_int_t)h->items[i].tli, parents));
    }
    return all;
}

static json_t *text_new(const Making *m)
{
    const KitAsk *a = m->ask;
    const Choice *c = a->choice;
    const Base *b = c->base;
    json_t *base = json_make_new("{s:s, s:s, s:O, s:I, s:o, s:o, s:I, s:I}", "name", b->name, "id",
                                 b->id, "facts", b->facts, "tli", (json_int_t)b->tli, "start",
                                 lsn_new(b->start), "stop", lsn_new(b->stop), "written",
                                 (json_int_t)b->written, "note", (json_int_t)b->note);
    json_t *reach = json_make_new("{s:I, s:o, s:I, s:o}", "tli", (json_int_t)c->end.tli, "end",
                                  lsn_new(c->end.end), "last", (json_int_t)c->end.last, "beyond",
                                  lsn_new(c->end.beyond));
    json_t *target = json_make_new("{s:i, s:I, s:o}", "kind", (int)a->target.kind, "time",
                                   (json_int_t)a->target.time, "lsn", lsn_new(a->target.lsn));

    return json_make_new("{s:i, s:s, s:o, s:o, s:I, s:o, s:o, s:o, s:O, s:O, s:O, s:O}", "v", 1,
                         "system", a->catalogue->system, "hosts",
                         json_list_new(&a->catalogue->hosts), "base", base, "tli",
                         (json_int_t)c->tli, "end", reach, "target", target, "histories",
                         histories_new(a->histories), "objects", m->rows, "merged", m->merged,
                         "urls", m->urls, "grants", m->grants);
}

static int put_together(Making *m, Err *err)
{
    int r = need_base(m, err);

    if (r == 0)
        r = need_histories(m, err);
    if (r == 0)
        r = need_log(m, err);
    if (r < 0)
        return r;
    need_merged(m);
    return read_heads(m, err);
}

int kit_make(const KitAsk *ask, Buf *ret, size_t *ret_objects, Err *err)
{
    _cleanup_json_ json_t *rows = json_array(), *urls = json_object(), *grants = json_object();
    _cleanup_json_ json_t *merged = json_array();
    Making m = {.ask = ask, .rows = rows, .urls = urls, .grants = grants, .merged = merged};
    int r = put_together(&m, err);

    if (r == 0) {
        _cleanup_json_ json_t *kit = text_new(&m);
        _cleanup_free_ char *text = json_text_new(kit);
        *ret_objects = m.seen.len;
        r = crypt_seal((const char *const[]){ask->recipient, NULL}, KIT_PURPOSE, str_of(text), ret,
                       err);
        explicit_bzero(text, strlen(text));
    }
    vec_clear(&m.seen);
    return r < 0 ? err_wrap(err, "putting together what the restore needs") : 0;
}
