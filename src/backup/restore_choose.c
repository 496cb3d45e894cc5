/* Which backups there are, and which one a restore begins from. */
#include "backup/restore.h"

bool target_parse(const char *s, Target *ret)
{
    Target t = {0};

    if (streq(s, "latest"))
        t.kind = TARGET_LATEST;
    else if (lsn_parse(s, &t.lsn))
        t.kind = TARGET_LSN;
    else if (time_parse(s, &t.time))
        t.kind = TARGET_TIME;
    else
        return false;
    *ret = t;
    return true;
}

static void base_clear(Base *b)
{
    free(b->name);
    json_decref(b->facts);
}

void bases_clear(Bases *b)
{
    for (size_t i = 0; i < b->len; i++)
        base_clear(&b->items[i]);
    vec_clear(b);
}

static int compare_bases(const void *a, const void *b)
{
    const Base *x = a, *y = b;

    if (x->written != y->written)
        return x->written < y->written ? -1 : 1;
    if (x->stop != y->stop)
        return x->stop < y->stop ? -1 : 1;
    return strcmp(x->name, y->name);
}

/* PostgreSQL's own limits; who reads segments divides by it. */
static bool segment_ok(const json_t *facts)
{
    int64_t n = json_int(facts, "segment", SEGMENT_BYTES);

    return n >= (1 << 20) && n <= (1 << 30) && (n & (n - 1)) == 0;
}

static int base_read(Store *s, const Catalogue *c, const Seen *seen, Base *ret, Err *err)
{
    _cleanup_(buf_clear) Buf whole = BUF_INIT(OBJECT_MAX);
    _cleanup_(object_head_clear) ObjectHead head = {0};
    Name n = name_parse(seen->name);
    int r = catalogue_fetch(s, &c->hosts, seen->name, &whole, err);

    if (r == 0)
        r = object_head_whole(buf_as_str(&whole), &head, err);
    if (r == 0 && head.kind != OBJECT_BASE)
        r = err_set(err, ERR_CORRUPT, "it is no manifest");
    if (r < 0)
        return r;
    Base b = {.written = seen->written, .note = seen->note};
    b.tli = (Timeline)json_int(head.facts, "tli", 0);
    if (!streq(json_str(head.facts, "id"), n.id) || b.tli == 0 ||
        !lsn_parse(json_str_or(head.facts, "start", ""), &b.start) ||
        !lsn_parse(json_str_or(head.facts, "stop", ""), &b.stop) || b.start > b.stop ||
        !segment_ok(head.facts))
        return err_set(err, ERR_CORRUPT, "its facts are not those of a backup of that name");
    if (*c->system && !streq(head.system, c->system))
        return err_set(err, ERR_CORRUPT, "it is of another cluster (system identifier %s, not %s)",
                       head.system, c->system);
    memcpy(b.id, n.id, sizeof b.id);
    b.name = xstrdup(seen->name);
    b.facts = json_deep_copy(head.facts);
    *ret = b;
    return 0;
}

int bases_load(Store *s, const Catalogue *c, Bases *ret, StrList *ret_bad, Err *err)
{
    for (size_t i = 0; i < c->objects.len; i++) {
        const Seen *seen = &c->objects.items[i];
        Base b = {0};
        if (name_parse(seen->name).kind != NAME_BASE || seen->pruned ||
            (seen->gone && seen->note == 0))
            continue;
        int r = base_read(s, c, seen, &b, err);
        if (r == 0) {
            vec_push(ret, b);
            continue;
        }
        if (!object_is_bad(r)) {
            bases_clear(ret);
            return err_wrap(err, "reading %s", seen->name);
        }
        strlist_addf(ret_bad, "%s: %s", seen->name, err && err->text ? err->text : "not readable");
        err_clear(err);
    }
    if (ret->len)
        qsort(ret->items, ret->len, sizeof *ret->items, compare_bases);
    return 0;
}

const Seen *base_pack(const Catalogue *c, const json_t *pack)
{
    const char *name = json_string_value(json_array_get(pack, 0));

    return name ? catalogue_find(c, name) : NULL;
}

/* Was every pack that it needs seen, and not pruned? A thief of the host's key can sign a manifest
 * of anything; one of packs that nobody saw is no backup. */
static bool packs_known(const Catalogue *c, const Base *b)
{
    const json_t *pack;
    size_t i;

    json_array_foreach (json_at(b->facts, "packs"), i, pack) {
        const Seen *s = base_pack(c, pack);
        if (!s || s->pruned)
            return false;
    }
    return true;
}

typedef struct Look {
    const Catalogue *catalogue;
    const Bases *bases;
    const WalRanges *ranges;
    const WalHistories *histories;
    const ChoiceAsk *ask;
} Look;

/* Does the log lead from this backup to its own end, along this timeline? */
static bool base_whole(const Look *l, const Base *b, Timeline tli, WalReach *ret)
{
    return packs_known(l->catalogue, b) && b->stop <= wal_counts(l->histories, tli, b->tli) &&
           wal_reach(l->ranges, l->histories, tli, b->tli, b->start, ret) && ret->end >= b->stop;
}

static bool target_within(const Target *t, const Base *b, const WalReach *reach)
{
    if (t->kind == TARGET_LSN)
        return b->stop <= t->lsn && t->lsn <= reach->end;
    if (t->kind == TARGET_TIME)
        return b->written <= t->time && t->time <= reach->last;
    return true;
}

static bool choose_on(const Look *l, Timeline tli, Choice *ret)
{
    for (size_t i = l->bases->len; i-- > 0;) {
        const Base *b = &l->bases->items[i];
        WalReach reach;
        if (l->ask->base && !streq(l->ask->base, b->id) && !streq(l->ask->base, b->name))
            continue;
        if (l->ask->without && strlist_has(l->ask->without, b->name))
            continue;
        if (!base_whole(l, b, tli, &reach) || !target_within(&l->ask->target, b, &reach))
            continue;
        *ret = (Choice){.base = b, .tli = tli, .end = reach};
        return true;
    }
    return false;
}

/* The newest timeline older than `below` that anything is known of; 0: none. */
static Timeline timeline_below(const Look *l, Timeline below)
{
    Timeline newest = 0;

    for (size_t i = 0; i < l->ranges->len; i++)
        if (l->ranges->items[i].tli < below)
            newest = MAX(newest, l->ranges->items[i].tli);
    for (size_t i = 0; l->histories && i < l->histories->len; i++)
        if (l->histories->items[i].tli < below)
            newest = MAX(newest, l->histories->items[i].tli);
    return newest;
}

static bool has_log(const Look *l, Timeline tli)
{
    for (size_t i = 0; i < l->ranges->len; i++)
        if (l->ranges->items[i].tli == tli)
            return true;
    return false;
}

/* The moments that can be had, one stretch a line. */
static void windows_words(const Look *l, Buf *out)
{
    Lsn last_end = 0;
    Timeline tli = l->ask->tli ? l->ask->tli : timeline_below(l, UINT32_MAX);

    for (; tli; tli = l->ask->tli ? 0 : timeline_below(l, tli))
        for (size_t i = 0; i < l->bases->len; i++) {
            const Base *b = &l->bases->items[i];
            WalReach reach;
            char from[TIME_TEXT_MAX], to[TIME_TEXT_MAX], start[LSN_TEXT_MAX], end[LSN_TEXT_MAX];
            if (!base_whole(l, b, tli, &reach) || reach.end == last_end)
                continue;
            last_end = reach.end;
            buf_printf(out, "%s%s to %s (%s to %s)", out->len ? "; " : "",
                       time_format(b->written, false, from), time_format(reach.last, false, to),
                       lsn_format(b->stop, start), lsn_format(reach.end, end));
        }
}

static int nothing_fits(const Look *l, Err *err)
{
    _cleanup_(buf_clear) Buf windows = BUF_INIT(BUF_MAX_LINE);
    char words[TIME_TEXT_MAX] = "the end of the log";

    if (l->ask->target.kind == TARGET_TIME)
        time_format(l->ask->target.time, false, words);
    if (l->ask->target.kind == TARGET_LSN)
        lsn_format(l->ask->target.lsn, words);
    if (l->bases->len == 0) {
        err_set(err, ERR_NOT_FOUND, "there is no backup to restore from");
        return err_hint(err, "`atoll backup base` makes one");
    }
    windows_words(l, &windows);
    if (windows.len == 0) {
        err_set(err, ERR_NOT_FOUND,
                "no backup can be restored: the log that was written while they were made is not "
                "stored");
        return err_hint(err, "`atoll backup stream` stores the log; backups need it");
    }
    if (l->ask->base)
        err_set(err, ERR_NOT_FOUND, "the backup %s does not lead to %s", l->ask->base, words);
    else
        err_set(err, ERR_NOT_FOUND, "no backup leads to %s", words);
    return err_hint(err, "what can be had: %s; --at latest is the end of what is stored",
                    windows.p);
}

int base_choose(const Bases *b, const Catalogue *c, const WalHistories *h, const ChoiceAsk *ask,
                Choice *ret, Err *err)
{
    WalRanges ranges = {0};
    const Look l = {c, b, &ranges, h, ask};
    Timeline out = 0, tli;
    bool found = false;

    wal_ranges(c, &ranges);
    for (tli = ask->tli ? ask->tli : timeline_below(&l, UINT32_MAX); tli && !found;
         tli = ask->tli ? 0 : timeline_below(&l, tli)) {
        found = choose_on(&l, tli, ret);
        if (!found && out == 0 && has_log(&l, tli))
            out = tli;
    }
    int r = found ? 0 : nothing_fits(&l, err);
    if (found)
        ret->out = out;
    vec_clear(&ranges);
    return r;
}
