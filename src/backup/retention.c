/* What a choice of backups means for every object: kept, marked, removed. */
#include "backup/retention_work.h"
#include "base/json.h"

static void deciding_clear(Deciding *d)
{
    for (size_t i = 0; i < d->backups.len; i++)
        free(d->backups.items[i].why);
    vec_clear(&d->backups);
    vec_clear(&d->pieces);
    free(d->keep);
    free(d->holder);
    free(d->names);
    free(d->floors);
}
DEFINE_CLEAR(Deciding, deciding_clear)

void retention_clear(Retention *r)
{
    for (size_t i = 0; i < r->keep.len; i++) {
        free(r->keep.items[i].name);
        free(r->keep.items[i].why);
    }
    vec_clear(&r->keep);
    strlist_clear(&r->mark);
    strlist_clear(&r->unmark);
    strlist_clear(&r->remove);
    vec_clear(&r->before);
    vec_clear(&r->after);
    vec_clear(&r->lost);
    *r = (Retention){0};
}

/* What they need */

static void keep_packs(Deciding *d)
{
    const Catalogue *c = d->c;

    for (size_t i = 0; i < d->backups.len; i++) {
        const Backup *b = &d->backups.items[i];
        json_t *pack;
        size_t k;
        if (!b->why)
            continue;
        d->keep[b->seen - c->objects.items] = true;
        json_array_foreach (json_at(b->base->facts, "packs"), k, pack) {
            const Seen *s = base_pack(c, pack);
            if (s)
                d->keep[s - c->objects.items] = true;
        }
    }
}

/* Log from a backup on (retention.h). */
static bool is_log_from(const Backup *b, const WalPiece *p, Msec came, int64_t note)
{
    return retention_since(b, came, note) || (p->tli >= b->base->tli && p->end > b->base->start &&
                                              came >= b->came - RETENTION_RUN_MS);
}

static bool keeps_piece(const Deciding *d, const WalPiece *p)
{
    const Backup *const from[] = {d->anchor, d->newest_proven, d->newest_good};
    const Seen *own = catalogue_find(d->c, p->part);
    int64_t note = own ? own->note : p->note;
    Msec came = own ? retention_came(d, own) : p->written;

    if (p->note == 0 || note == 0 || !d->anchor)
        return true;
    for (size_t i = 0; i < ARRAY_LEN(from); i++)
        if (from[i] && is_log_from(from[i], p, came, note))
            return true;
    for (size_t i = 0; i < d->backups.len; i++) {
        const Base *b = d->backups.items[i].base;
        if (d->backups.items[i].why && p->tli == b->tli && p->start < b->stop && p->end > b->start)
            return true;
    }
    return false;
}

/* Merged segments */

/* Does it hold all that the note says, by its size? (Its hash was the note's when it was put.) */
static bool holds_all(const Deciding *d, const Seen *holder, const json_t *from)
{
    int64_t bytes = 0;
    size_t i;
    json_t *part;

    json_array_foreach (from, i, part) {
        const char *name = json_string_value(part);
        const Seen *own = name ? catalogue_find(d->c, name) : NULL;
        if (!own || d->names[own - d->c->objects.items].kind != NAME_WAL)
            return false;
        bytes += own->bytes;
    }
    return holder->pruned == 0 && bytes == holder->bytes &&
           d->names[holder - d->c->objects.items].kind == NAME_SEGMENT;
}

static void find_holders(Deciding *d)
{
    for (size_t i = 0; i < d->c->notes.len; i++) {
        const Note *n = &d->c->notes.items[i];
        const char *name = streq(n->kind, "merged") ? json_str(n->body, "segment") : NULL;
        const Seen *holder = name ? catalogue_find(d->c, name) : NULL;
        const json_t *from = json_at(n->body, "from");
        json_t *part;
        size_t k;
        if (!holder || !holds_all(d, holder, from))
            continue;
        json_array_foreach (from, k, part) {
            const Seen *own = catalogue_find(d->c, json_string_value(part)); /* holds_all saw it */
            d->holder[own - d->c->objects.items] = holder;
        }
    }
}

/* What is merged need not be there twice. */
static bool is_double(const Seen *s, const Seen *holder)
{
    return holder && s->note > 0 && holder->note > 0 && !holder->gone && holder->marked == 0;
}

/* Whatever is not judged here stays. */
static void judge_kinds(Deciding *d)
{
    for (size_t i = 0; i < d->c->objects.len; i++) {
        const Seen *s = &d->c->objects.items[i];
        NameKind kind = d->names[i].kind;
        bool young = retention_came(d, s) > d->rules->now - RETENTION_RUN_MS;
        bool judged = kind == NAME_WAL || kind == NAME_HISTORY || kind == NAME_BASE ||
                      (kind == NAME_PACK && !young);
        d->keep[i] = s->note == 0 || !judged;
    }
    /* A segment is judged by the pieces that it is known to hold. */
    for (size_t i = 0; i < d->pieces.len; i++) {
        const Seen *s = catalogue_find(d->c, d->pieces.items[i].name);
        if (s && s->note > 0)
            d->keep[s - d->c->objects.items] = false;
    }
    for (size_t i = 0; i < d->c->objects.len; i++)
        if (d->holder[i] && d->holder[i]->note > 0)
            d->keep[d->holder[i] - d->c->objects.items] = false;
}

static void keep_log(Deciding *d)
{
    const Catalogue *c = d->c;
    Timeline newest = 0;

    for (size_t i = 0; i < d->pieces.len; i++) {
        const WalPiece *p = &d->pieces.items[i];
        const Seen *s = catalogue_find(c, p->name);
        const Seen *holder = s ? d->holder[s - c->objects.items] : NULL;
        /* A segment that is not yet countersigned stays, and so its log does. */
        if (!s || !(keeps_piece(d, p) || (holder && holder->note == 0)))
            continue;
        if (holder)
            d->keep[holder - c->objects.items] = true;
        if (!is_double(s, holder))
            d->keep[s - c->objects.items] = true;
        newest = MAX(newest, p->tli);
    }
    for (size_t i = 0; i < d->backups.len; i++)
        if (d->backups.items[i].why)
            newest = MAX(newest, d->backups.items[i].base->tli);
    for (size_t i = 0; i < c->objects.len; i++) {
        const Seen *s = &c->objects.items[i];
        const Name *n = &d->names[i];
        if (n->kind == NAME_HISTORY && (n->tli <= newest || !d->anchor ||
                                        retention_since(d->anchor, retention_came(d, s), s->note)))
            d->keep[i] = true;
    }
}

/* Results */

/* Are all packs of the manifest among the objects that count? */
static bool packs_there(const Catalogue *c, const Base *b, const bool *counts)
{
    const json_t *packs = json_at(b->facts, "packs");
    json_t *pack;
    size_t i;

    json_array_foreach (packs, i, pack) {
        const Seen *s = base_pack(c, pack);
        if (!s || !counts[s - c->objects.items])
            return false;
    }
    return json_is_array(packs);
}

static void only_pieces(const Deciding *d, const bool *counts, WalPieces *ret)
{
    for (size_t i = 0; i < d->pieces.len; i++) {
        const Seen *s = catalogue_find(d->c, d->pieces.items[i].name);
        const Seen *holder = s ? d->holder[s - d->c->objects.items] : NULL;
        if (s &&
            (counts[s - d->c->objects.items] || (holder && counts[holder - d->c->objects.items])))
            vec_push(ret, d->pieces.items[i]);
    }
}

static void tell_lists(const Deciding *d, Retention *ret)
{
    /* A manifest without its packs would be a backup that only looks like one. */
    for (int manifests = 1; manifests >= 0; manifests--)
        for (size_t i = 0; i < d->c->objects.len; i++) {
            const Seen *s = &d->c->objects.items[i];
            if (s->pruned || starts_with(s->name, "host/base/") != (manifests == 1))
                continue;
            if (d->keep[i] && s->marked)
                strlist_add(&ret->unmark, s->name);
            else if (!d->keep[i] && !s->marked)
                strlist_add(&ret->mark, s->name);
            else if (!d->keep[i] && retention_due(d, s))
                strlist_add(&ret->remove, s->name);
            else
                ret->waiting += !d->keep[i];
        }
}

static void tell_windows(const Deciding *d, const bool *counts, Windows *ret)
{
    WalPieces pieces = {0};
    BaseRefs bases = {0};

    only_pieces(d, counts, &pieces);
    for (size_t i = 0; i < d->backups.len; i++) {
        const Backup *b = &d->backups.items[i];
        if (counts[b->seen - d->c->objects.items] && packs_there(d->c, b->base, counts))
            vec_push(&bases, b->base);
    }
    windows_find(&bases, &pieces, ret);
    vec_clear(&pieces);
    vec_clear(&bases);
}

static void tell(const Deciding *d, Retention *ret)
{
    _cleanup_free_ bool *now = xcalloc(d->c->objects.len + 1, sizeof *now);
    _cleanup_free_ bool *then = xcalloc(d->c->objects.len + 1, sizeof *then);

    for (size_t i = 0; i < d->backups.len; i++) {
        const Backup *b = &d->backups.items[i];
        Kept kept = {.came = b->came, .proven = b->proven, .whole = b->whole > 0};
        if (!b->why)
            continue;
        kept.name = xstrdup(b->base->name);
        kept.why = xstrdup(b->why);
        memcpy(kept.id, b->base->id, sizeof kept.id);
        vec_push(&ret->keep, kept);
    }
    for (size_t i = 0; i < d->c->objects.len; i++) {
        now[i] = !d->c->objects.items[i].pruned;
        then[i] = now[i] && d->keep[i];
    }
    tell_lists(d, ret);
    tell_windows(d, now, &ret->before);
    tell_windows(d, then, &ret->after);
    windows_lost(&ret->before, &ret->after, &d->pieces, &ret->lost);
}

int retention_decide(const Catalogue *c, const Bases *bases, const RetentionRules *rules,
                     Retention *ret, Err *err)
{
    _cleanup_(deciding_clear) Deciding d = {.c = c, .rules = rules};

    wal_pieces(c, &d.pieces);
    int r = retention_choose(&d, bases, err);
    if (r < 0)
        return r;
    d.keep = xcalloc(c->objects.len + 1, sizeof *d.keep);
    d.names = xcalloc(c->objects.len + 1, sizeof *d.names);
    for (size_t i = 0; i < c->objects.len; i++)
        d.names[i] = name_parse(c->objects.items[i].name);
    d.holder = xcalloc(c->objects.len + 1, sizeof *d.holder);
    find_holders(&d);
    judge_kinds(&d);
    keep_packs(&d);
    keep_log(&d);
    *ret = (Retention){0};
    tell(&d, ret);
    return 0;
}
