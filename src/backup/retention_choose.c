/* Which backups are kept, and why. */
#include "backup/retention_work.h"
#include "base/json.h"

/* Notes of one audit come close together; an earlier audit is at least so much older. */
#define AUDIT_APART_MS (10 * MINUTE)

/* Notes */

static int check_notes(const Catalogue *c, Err *err)
{
    static const char *const known[] = {"begin", "host",   "seen",   "merged",
                                        "mark",  "unmark", "pruned", "drill"};

    for (size_t i = 0; i < c->notes.len; i++) {
        const Note *n = &c->notes.items[i];
        bool ok = false;
        for (size_t k = 0; k < ARRAY_LEN(known); k++)
            ok = ok || streq(n->kind, known[k]);
        if (n->number != (int64_t)i + 1)
            return err_set(err, ERR_CORRUPT, "the catalogue's notes have a gap before %lld",
                           (long long)n->number);
        if (!ok) {
            err_set(err, ERR_CORRUPT,
                    "note %lld of the catalogue is of a kind '%s' that is not "
                    "known here, so what it asks to keep isn't either",
                    (long long)n->number, n->kind);
            return err_hint(err, "prune with the version of atoll that wrote it, or a later one");
        }
    }
    return 0;
}

static const Note *note_of(const Catalogue *c, int64_t number)
{
    return number > 0 && (size_t)number <= c->notes.len ? &c->notes.items[number - 1] : NULL;
}

static Msec *floors_new(const Catalogue *c)
{
    Msec *floors = xcalloc(c->notes.len + 1, sizeof *floors);
    size_t before = 0; /* the notes in front of it are old enough, where the clock went forward */

    for (size_t i = 0; i < c->notes.len; i++) {
        const Note *n = &c->notes.items[i];
        floors[i] = INT64_MIN;
        while (before < i && c->notes.items[before].at <= n->at - AUDIT_APART_MS)
            before++;
        for (size_t k = before; k-- > 0 && floors[i] == INT64_MIN;)
            if (streq(c->notes.items[k].kind, "seen") &&
                c->notes.items[k].at <= n->at - AUDIT_APART_MS)
                floors[i] = c->notes.items[k].at;
    }
    return floors;
}

Msec retention_came(const Deciding *d, const Seen *s)
{
    const Note *n = note_of(d->c, s->note);

    if (!n)
        return s->written;
    return MIN(MAX(s->written, d->floors[s->note - 1]), n->at);
}

bool retention_due(const Deciding *d, const Seen *s)
{
    const Note *n = note_of(d->c, s->marked);

    return n && d->rules->now >= s->not_before && d->rules->now - d->rules->grace_ms >= n->at;
}

/* Backups */

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* By the time they came; the note parts those of one moment. */
static int compare_backups(const void *a, const void *b)
{
    const Backup *x = a, *y = b;

    if (x->came != y->came)
        return x->came < y->came ? -1 : 1;
    if (x->seen->note != y->seen->note)
        return x->seen->note < y->seen->note ? -1 : 1;
    return strcmp(x->base->name, y->base->name);
}

/* A manifest that can't be read names packs that nobody knows: nothing may go then. */
static int check_unread(const Deciding *d, const Bases *bases, Err *err)
{
    _cleanup_free_ const char **names = xcalloc(bases->len + 1, sizeof *names);

    for (size_t i = 0; i < bases->len; i++)
        names[i] = bases->items[i].name;
    qsort(names, bases->len, sizeof *names, compare_names);
    for (size_t i = 0; i < d->c->objects.len; i++) {
        const Seen *s = &d->c->objects.items[i];
        if (s->pruned || !starts_with(s->name, "host/base/") ||
            bsearch(&s->name, names, bases->len, sizeof *names, compare_names))
            continue;
        if (d->rules->lost && strlist_has(d->rules->lost, s->name))
            continue;
        /* Our own removal, cut off before its note. */
        if (s->gone && retention_due(d, s))
            continue;
        err_set(err, ERR_CORRUPT,
                "what the backup %s needs can't be told: its manifest can't be "
                "read, so nothing is removed",
                s->name);
        return err_hint(err, "`atoll backup verify --data` says why; --give-up %s if it is lost",
                        s->name);
    }
    return 0;
}

static int collect_backups(Deciding *d, const Bases *bases, Err *err)
{
    for (size_t i = 0; i < bases->len; i++) {
        const Base *b = &bases->items[i];
        const Seen *s = catalogue_find(d->c, b->name);
        if (!s)
            return err_set(err, ERR_CORRUPT, "the backup %s is not in the catalogue", b->name);
        if (!s->pruned)
            vec_push(&d->backups, (Backup){.base = b, .seen = s, .came = retention_came(d, s)});
    }
    if (d->backups.len)
        qsort(d->backups.items, d->backups.len, sizeof *d->backups.items, compare_backups);
    return 0;
}

static void read_drills(Deciding *d)
{
    for (size_t i = 0; i < d->c->notes.len; i++) {
        const Note *n = &d->c->notes.items[i];
        const char *name = streq(n->kind, "drill") ? json_str(n->body, "base") : NULL;
        for (size_t k = 0; name && k < d->backups.len; k++) {
            Backup *b = &d->backups.items[k];
            if (!streq(b->base->name, name))
                continue;
            b->good = json_bool(n->body, "ok", false);
            b->proven = b->proven || b->good;
        }
    }
}

/* Was all log of it countersigned by that note? `pieces`: those that overlap it. */
static bool log_by(const Base *b, const WalPieces *pieces, int64_t note)
{
    Lsn end = b->start;

    for (size_t i = 0; i < pieces->len; i++) {
        const WalPiece *p = &pieces->items[i];
        if (p->note <= note && p->start <= end)
            end = MAX(end, p->end);
    }
    return end >= b->stop;
}

/* The first note by which all log of it was countersigned, 0: none. */
static int64_t log_note(const Deciding *d, const Base *b)
{
    WalPieces pieces = {0};
    int64_t low = 1, high = (int64_t)d->c->notes.len;

    for (size_t i = 0; i < d->pieces.len; i++) {
        const WalPiece *p = &d->pieces.items[i];
        if (p->note > 0 && p->tli == b->tli && p->start < b->stop && p->end > b->start)
            vec_push(&pieces, *p);
    }
    if (!log_by(b, &pieces, high))
        low = high = 0;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (log_by(b, &pieces, middle))
            high = middle;
        else
            low = middle + 1;
    }
    vec_clear(&pieces);
    return low;
}

/* The same of its packs. */
static int64_t packs_note(const Catalogue *c, const Base *b)
{
    const json_t *packs = json_at(b->facts, "packs");
    int64_t note = json_is_array(packs) ? 1 : 0;
    const json_t *pack;
    size_t i;

    json_array_foreach (packs, i, pack) {
        const Seen *s = base_pack(c, pack);
        if (!s || s->note == 0 || s->pruned)
            return 0;
        note = MAX(note, s->note);
    }
    return note;
}

/* A thief could make an old backup whole that was not, by log of his own, and so let it take the
 * place of a good one: hence by which note it was whole, and not only that it is. */
static void find_whole(Deciding *d)
{
    for (size_t i = 0; i < d->backups.len; i++) {
        Backup *b = &d->backups.items[i];
        int64_t packs = packs_note(d->c, b->base), log = log_note(d, b->base);
        if (b->seen->note > 0 && packs > 0 && log > 0)
            b->whole = MAX(b->seen->note, MAX(packs, log));
    }
}

/* Rules */

static void keep_for(Backup *b, const char *why)
{
    char *longer = b->why ? xasprintf("%s, %s", b->why, why) : xstrdup(why);

    free(b->why);
    b->why = longer;
}

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

typedef struct Period {
    const char *name;
    int64_t (*of)(Msec t);
    Msec (*begin)(Msec t); /* of its first day */
    size_t label;          /* letters of the date that name it */
} Period;

static int64_t day_of(Msec t)
{
    return floor_div(t, DAY);
}

/* The epoch was a Thursday; ISO weeks begin on Mondays. */
static int64_t week_of(Msec t)
{
    return floor_div(day_of(t) + 3, 7);
}

static int64_t month_of(Msec t)
{
    char text[TIME_TEXT_MAX];
    int64_t year = 0, month = 0;

    time_format(t, false, text);
    text[4] = text[7] = '\0';
    /* Beyond the year 9999 is only a folder's file that somebody touched. */
    if (!parse_int(text, 0, 9999, &year) || !parse_int(text + 5, 1, 12, &month))
        return INT64_MAX;
    return year * 12 + month - 1;
}

static Msec same_day(Msec t)
{
    return t;
}

static Msec monday_of(Msec t)
{
    return (week_of(t) * 7 - 3) * DAY;
}

static const Period periods[] = {
    {"daily", day_of, same_day, strlen("2026-11-29")},
    {"weekly", week_of, monday_of, strlen("2026-11-23")},
    {"monthly", month_of, same_day, strlen("2026-11")},
};

/* Was `a` whole before `b`? */
static bool earlier(const Backup *a, const Backup *b)
{
    if (a->whole != b->whole)
        return a->whole < b->whole;
    return compare_backups(a, b) < 0;
}

static void keep_period(Backup *b, const Period *p, bool proven)
{
    char text[TIME_TEXT_MAX];
    _cleanup_free_ char *why =
        xasprintf("%s %.*s%s", p->name, (int)p->label, time_format(p->begin(b->came), false, text),
                  proven ? " (proven)" : "");

    keep_for(b, why);
}

/* Backups lie by time, so those of a period lie together; from the newest period on. */
static void choose_periods(Deciding *d, const Period *p, int64_t count)
{
    size_t at = d->backups.len;

    while (at > 0 && count > 0) {
        int64_t period = p->of(d->backups.items[at - 1].came);
        Backup *first = NULL, *proven = NULL;
        for (; at > 0 && p->of(d->backups.items[at - 1].came) == period; at--) {
            Backup *b = &d->backups.items[at - 1];
            if (b->whole && (!first || earlier(b, first)))
                first = b;
            if (b->whole && b->proven && (!proven || earlier(b, proven)))
                proven = b;
        }
        if (first)
            keep_period(first, p, false);
        if (proven && proven != first)
            keep_period(proven, p, true);
        count -= first != NULL;
    }
}

bool retention_since(const Backup *b, Msec came, int64_t note)
{
    return came >= b->came || note >= b->seen->note;
}

/* Its manifest may be there before the last of its log is: moments of the window that lie in
 * between need an older one. */
static bool was_whole(const Deciding *d, const Backup *b, Msec t)
{
    const Note *n = note_of(d->c, b->whole);

    return n && b->came <= t && n->at <= t;
}

static void choose_window(Deciding *d)
{
    for (size_t i = 0; i < d->backups.len; i++) {
        Backup *b = &d->backups.items[i];
        if (was_whole(d, b, d->rules->now - d->rules->keep.window_ms))
            d->anchor = b;
        if (b->proven)
            d->newest_proven = b;
        if (b->good)
            d->newest_good = b;
    }
    for (size_t i = 0; i < d->backups.len; i++) {
        Backup *b = &d->backups.items[i];
        if (b->seen->note == 0)
            keep_for(b, "not yet countersigned");
        else if (b == d->anchor)
            keep_for(b, "the window begins with it");
        else if (!d->anchor || retention_since(d->anchor, b->came, b->seen->note))
            keep_for(b, "in the window");
    }
}

static void choose_all(Deciding *d)
{
    const BackupKeep *k = &d->rules->keep;
    const int64_t counts[] = {k->daily, k->weekly, k->monthly};

    choose_window(d);
    for (size_t i = 0; i < ARRAY_LEN(periods); i++)
        choose_periods(d, &periods[i], counts[i]);
    if (d->newest_proven)
        keep_for(d->newest_proven, "newest proven");
    if (d->newest_good && d->newest_good != d->newest_proven)
        keep_for(d->newest_good, "newest whose last drill was good");
}

int retention_choose(Deciding *d, const Bases *bases, Err *err)
{
    int r = check_notes(d->c, err);

    if (r < 0)
        return r;
    d->floors = floors_new(d->c);
    r = check_unread(d, bases, err);
    if (r == 0)
        r = collect_backups(d, bases, err);
    if (r < 0)
        return r;
    read_drills(d);
    find_whole(d);
    choose_all(d);
    return 0;
}
