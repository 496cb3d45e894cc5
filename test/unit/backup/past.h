/* The past of a store for tests of retention: what came when, what was noted, told step by step.
 * Time and notes are the test's. Nothing here knows a rule of retention. */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "backup/retention.h"

typedef struct Past {
    Catalogue c;
    Bases bases;
    Msec now;
    Msec skew; /* of the clock that writes objects' times */
    int64_t made;
} Past;

static inline void past_clear(Past *p)
{
    catalogue_clear(&p->c);
    bases_clear(&p->bases);
    *p = (Past){0};
}
DEFINE_CLEAR(Past, past_clear)

static inline Seen *past_seen(const Past *p, const char *name)
{
    size_t low = 0, high = p->c.objects.len;

    while (low < high) {
        size_t middle = (low + high) / 2;
        int order = strcmp(p->c.objects.items[middle].name, name);
        if (order == 0)
            return &p->c.objects.items[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

/* Takes the name. Borrowed until the past is cleared. */
static inline const char *past_put(Past *p, char *name)
{
    SeenList *l = &p->c.objects;

    vec_push(l, (Seen){.name = name, .bytes = 100, .written = p->now + p->skew});
    Seen own = *vec_last(l);
    size_t at = l->len - 1;
    for (; at > 0 && strcmp(l->items[at - 1].name, name) > 0; at--)
        l->items[at] = l->items[at - 1];
    l->items[at] = own;
    return name;
}

static inline const char *past_hash(Past *p, char out[static OBJECT_HASH_MAX])
{
    Buf b = BUF_INIT(OBJECT_HASH_MAX);

    p->made++;
    buf_printf(&b, "%032llx%032llx", (unsigned long long)p->made, (unsigned long long)p->made);
    memcpy(out, b.p, b.len + 1);
    buf_clear(&b);
    return out;
}

static inline const char *past_wal(Past *p, Timeline tli, Lsn start, Lsn end)
{
    char hash[OBJECT_HASH_MAX];

    return past_put(p, name_wal_new(tli, start, end, past_hash(p, hash)));
}

static inline const char *past_history(Past *p, Timeline tli)
{
    char hash[OBJECT_HASH_MAX];

    return past_put(p, name_history_new(tli, past_hash(p, hash)));
}

static inline const char *past_pack(Past *p)
{
    char hash[OBJECT_HASH_MAX];

    return past_put(p, name_pack_new("9f3ac2d1", (uint32_t)p->made, past_hash(p, hash)));
}

/* Takes `packs`, an array of names. */
static inline const char *past_base(Past *p, Timeline tli, Lsn start, Lsn stop, json_t *packs)
{
    char hash[OBJECT_HASH_MAX];
    json_t *facts = json_make_new("{s:[]}", "packs"), *pack;
    size_t i;

    json_array_foreach (packs, i, pack)
        json_array_append_new(json_at(facts, "packs"), json_make_new("[O, i, s]", pack, 100, ""));
    json_decref(packs);
    _cleanup_free_ char *id = xasprintf("20261129T013000Z-%08llx", (unsigned long long)p->made + 1);
    const char *name = past_put(p, name_base_new(id, past_hash(p, hash)));
    Base b = {.name = xstrdup(name),
              .facts = facts,
              .tli = tli,
              .start = start,
              .stop = stop,
              .written = p->now + p->skew};
    memcpy(b.id, id, strlen(id) + 1);
    vec_push(&p->bases, b);
    return name;
}

/* Takes body. The number of the note. */
static inline int64_t past_note(Past *p, const char *kind, json_t *body)
{
    Note n = {.number = (int64_t)p->c.notes.len + 1, .kind = xstrdup(kind), .at = p->now};

    n.body = body;
    vec_push(&p->c.notes, n);
    return n.number;
}

/* Joins pieces in an object, as an audit does. Its name. */
static inline const char *past_merge(Past *p, const StrList *from)
{
    json_t *names = json_array();
    int64_t bytes = 0;

    for (size_t i = 0; i < from->len; i++) {
        json_array_append_new(names, json_string(from->items[i]));
        bytes += past_seen(p, from->items[i])->bytes;
    }
    const char *name = past_put(
        p, xasprintf("segment/00000001/%024llX-0", 0x100000000ULL + (unsigned long long)p->made++));
    past_seen(p, name)->bytes = bytes;
    past_note(p, "merged", json_make_new("{s:s, s:o}", "segment", name, "from", names));
    return name;
}

/* Countersigns all that is not. */
static inline void past_audit(Past *p)
{
    bool any = false;

    for (size_t i = 0; i < p->c.objects.len; i++)
        any = any || p->c.objects.items[i].note == 0;
    if (!any)
        return;
    int64_t number = past_note(p, "seen", json_object());
    for (size_t i = 0; i < p->c.objects.len; i++)
        if (p->c.objects.items[i].note == 0)
            p->c.objects.items[i].note = number;
}

static inline void past_drill(Past *p, const char *name, bool ok)
{
    past_note(p, "drill", json_make_new("{s:s, s:b}", "base", name, "ok", ok));
}

static inline void past_forget_base(Past *p, const char *name)
{
    for (size_t i = p->bases.len; i-- > 0;)
        if (streq(p->bases.items[i].name, name)) {
            free(p->bases.items[i].name);
            json_decref(p->bases.items[i].facts);
            vec_remove(&p->bases, i);
        }
}

/* Does what a prune does with a decision. `removals`: of how many before it is cut off, with no
 * note of them. SIZE_MAX: of all. */
static inline void past_prune(Past *p, const Retention *r, Msec grace, size_t removals)
{
    if (r->unmark.len)
        past_note(p, "unmark", json_object());
    for (size_t i = 0; i < r->unmark.len; i++)
        past_seen(p, r->unmark.items[i])->marked = 0;
    if (r->mark.len) {
        int64_t number = past_note(p, "mark", json_object());
        for (size_t i = 0; i < r->mark.len; i++) {
            Seen *s = past_seen(p, r->mark.items[i]);
            s->marked = number;
            s->not_before = p->now + grace;
        }
    }
    bool whole = removals >= r->remove.len;
    int64_t number = whole && r->remove.len ? past_note(p, "pruned", json_object()) : 0;
    for (size_t i = 0; i < MIN(removals, r->remove.len); i++) {
        Seen *s = past_seen(p, r->remove.items[i]);
        s->gone = true;
        s->pruned = number;
        past_forget_base(p, s->name);
    }
}
