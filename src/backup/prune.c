/* Looking at a store and doing what was decided. */
#include "backup/prune.h"
#include "backup/pool.h"
#include "base/json.h"

#define THREADS 8
#define NOTE_TRIES 10

void prune_clear(Prune *p)
{
    catalogue_clear(&p->catalogue);
    bases_clear(&p->bases);
    strlist_clear(&p->bad);
    strlist_clear(&p->lying);
}

/* A prune removes every version before it says so. */
static void doubt_notes(Prune *p)
{
    for (size_t i = 0; i < p->catalogue.objects.len; i++) {
        Seen *s = &p->catalogue.objects.items[i];
        if (!s->pruned || s->gone)
            continue;
        strlist_add(&p->lying, s->name);
        s->pruned = 0;
    }
}

int prune_look(Prune *p, Err *err)
{
    prune_clear(p);
    int r = catalogue_load(p->store, p->auditors, &p->catalogue, err);

    if (r < 0)
        return r;
    for (size_t i = 0; p->catalogue.hosts.len == 0 && i < p->hosts->len; i++)
        strlist_add(&p->catalogue.hosts, p->hosts->items[i]);
    doubt_notes(p);
    return bases_load(p->store, &p->catalogue, &p->bases, &p->bad, err);
}

/* Another auditor may write the note that was to be ours: then ours comes after it. Takes body. */
static int write_note(Prune *p, const char *kind, json_t *body, Err *err)
{
    int r = -ERR_CONFLICT;

    for (int i = 0; i < NOTE_TRIES && r == -ERR_CONFLICT; i++) {
        r = i > 0 ? catalogue_refresh(p->store, p->auditors, &p->catalogue, err) : 0;
        if (r == 0)
            r = catalogue_note(p->store, &p->catalogue, p->auditor, kind, json_incref(body), err);
    }
    json_decref(body);
    return r;
}

static json_t *names_new(const StrList *l, size_t from, size_t n)
{
    json_t *names = json_array();

    for (size_t i = from; i < from + n; i++)
        json_array_append_new(names, json_string(l->items[i]));
    return names;
}

static int note_all(Prune *p, const char *kind, const StrList *names, const char *not_before,
                    Err *err)
{
    int r = 0;

    for (size_t at = 0; at < names->len && r == 0; at += NOTE_OBJECTS_MAX) {
        size_t n = MIN(names->len - at, (size_t)NOTE_OBJECTS_MAX);
        json_t *body = json_make_new("{s:o}", "objects", names_new(names, at, n));
        if (not_before)
            json_object_set_new(body, "not_before", json_string(not_before));
        r = write_note(p, kind, body, err);
    }
    return r;
}

/* Removals */

typedef struct Job {
    const StoreItem *item;
    Err err;
} Job;

static void *thread_begin(void *user)
{
    return store_clone(user);
}

static void work(void *state, void *job)
{
    Job *j = job;

    (void)!store_delete(state, j->item, &j->err);
}

static void thread_end(void *state)
{
    (void)store_free(state);
}

static void job_free(void *job)
{
    err_clear(&((Job *)job)->err);
    free(job);
}

static int take(Pool *pool, Err *err)
{
    Job *j = pool_take(pool, true);
    int r = j->err.kind ? err_wrap(&j->err, "removing %s", j->item->name) : 0;

    if (r < 0)
        err_move(err, &j->err);
    job_free(j);
    return r;
}

static size_t find_first(const StoreItems *l, const char *name)
{
    size_t low = 0, high = l->len;

    while (low < high) {
        size_t middle = (low + high) / 2;
        if (strcmp(l->items[middle].name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* All versions of one name. */
static int push_name(Pool *pool, const StoreItems *l, const char *name, Err *err)
{
    int r = 0;

    for (size_t i = find_first(l, name); r == 0 && i < l->len && streq(l->items[i].name, name);
         i++) {
        if (pool_full(pool))
            r = take(pool, err);
        if (r < 0)
            break;
        Job *j = NEW(Job);
        j->item = &l->items[i];
        pool_push(pool, j);
    }
    return r;
}

/* A batch is gone before the note about it is written, and before what it needed is touched. */
static int remove_batch(Prune *p, const StoreItems *l, const StrList *names, size_t at, Err *err)
{
    size_t n = MIN(names->len - at, (size_t)PRUNE_BATCH);
    const Seen *first = catalogue_find(&p->catalogue, names->items[at]);
    Pool *pool = pool_new(&(PoolWork){thread_begin, work, thread_end, p->store}, THREADS,
                          (size_t)THREADS * 4);
    int r = 0;

    for (size_t i = at; i < at + n && r == 0; i++) {
        if (p->stop && *p->stop)
            r = err_set(err, ERR_INTERRUPTED, "interrupted");
        /* Manifests first, and wholly: without its packs one only looks like a backup. */
        bool base = starts_with(names->items[i], "host/base/");
        if (r == 0)
            r = push_name(pool, l, names->items[i], err);
        bool last = i + 1 == at + n || !starts_with(names->items[i + 1], "host/base/");
        while (r == 0 && base && last && pool_count(pool) > 0)
            r = take(pool, err);
    }
    while (r == 0 && pool_count(pool) > 0)
        r = take(pool, err);
    pool_free(pool, job_free);
    if (r < 0)
        return r;
    return write_note(p, "pruned",
                      json_make_new("{s:o, s:I}", "objects", names_new(names, at, n), "mark",
                                    (json_int_t)(first ? first->marked : 0)),
                      err);
}

static int remove_all(Prune *p, const StrList *names, Err *err)
{
    StoreItems items = {0};
    int r = names->len ? store_list(p->store, "", true, &items, err) : 0;

    for (size_t at = 0; at < names->len && r == 0; at += PRUNE_BATCH) {
        r = remove_batch(p, &items, names, at, err);
        if (r == 0 && p->progress)
            p->progress(p->user, MIN(at + PRUNE_BATCH, names->len), names->len);
    }
    store_items_clear(&items);
    return r;
}

int prune_act(Prune *p, const Retention *r, const RetentionRules *rules, Err *err)
{
    char at[TIME_TEXT_MAX];
    int e = note_all(p, "unmark", &r->unmark, NULL, err);

    if (e == 0)
        e = note_all(p, "mark", &r->mark, time_format(rules->now + rules->grace_ms, true, at), err);
    return e < 0 ? e : remove_all(p, &r->remove, err);
}
