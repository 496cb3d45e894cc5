/* A hundred thousand histories of a store, with promotions, clusters that begin again, late audits,
 * clocks that jump, prunes that are cut off and thieves: whatever happened, a prune takes nothing
 * that the rules promise. What can be restored is judged here by walking the log byte by byte, one
 * unit a byte, with none of the code under test. A failing history is told by its seed. */
#include "past.h"

#define HISTORIES 100000
#define STEPS 20
#define BEGIN ((Msec)1795953600 * SECOND)
#define LOG_MAX 90
#define TLI_MAX 7

static uint64_t rng, seed;
static uint32_t below(uint32_t n)
{
    rng ^= rng >> 12;
    rng ^= rng << 25;
    rng ^= rng >> 27;
    return (uint32_t)((rng * 0x2545F4914F6CDD1DULL) >> 33) % n;
}

#define CHECK(c)                                                                                   \
    do {                                                                                           \
        if (!(c))                                                                                  \
            fail_msg("seed %llu: %s", (unsigned long long)seed, #c);                               \
    } while (0)

/* What the test knows of an object and the store does not. */
typedef struct Truth {
    const char *name;
    Name parts;
    bool forged;
    Msec written;       /* truly */
    Msec marked;        /* 0: not */
    const char *merged; /* into that object; or NULL */
} Truth;

typedef struct Life {
    Past p;
    VEC(Truth) truth;
    Timeline tli;
    Lsn at;
    json_t *packs;        /* of the last backup */
    const char *manifest; /* of a backup that is finished and whose manifest is on its way */
    Lsn start, stop;
    Msec begun;
    int64_t theft; /* notes when it began; -1: none */
    bool folder, clashes;
    RetentionRules rules;
    struct {
        uint64_t prunes, removed, floods, resets, lost, held, merges, doubles;
    } count;
} Life;

static Truth *truth_of(Life *l, const char *name)
{
    for (size_t i = l->truth.len; i-- > 0;)
        if (streq(l->truth.items[i].name, name))
            return &l->truth.items[i];
    return NULL;
}

static const char *know(Life *l, const char *name, bool forged)
{
    vec_push(&l->truth, (Truth){name, name_parse(name), forged, l->p.now, 0, NULL});
    return name;
}

/* What happens */

static void write_log(Life *l, Lsn bytes)
{
    Lsn end = l->at + bytes;

    end = MIN(end, (Lsn)LOG_MAX - 1);
    if (end <= l->at)
        return;
    /* A stream that began anew from where the server still knew. */
    Lsn start = below(5) == 0 && l->at > 2 ? l->at - below(3) : l->at;
    if (below(40) != 0)
        know(l, past_wal(&l->p, l->tli, start, end), false);
    l->at = end;
}

static void begin_base(Life *l)
{
    json_t *packs = json_array(), *pack;
    size_t i;

    json_array_foreach (l->packs, i, pack)
        if (below(3) > 0)
            json_array_append(packs, pack);
    json_array_append_new(packs, json_string(know(l, past_pack(&l->p), false)));
    json_decref(l->packs);
    l->packs = packs;
    l->start = l->at;
    l->begun = l->p.now;
    write_log(l, 1 + below(6));
    l->stop = MAX(l->at, l->start + 1);
    l->manifest = "on its way";
}

static void end_base(Life *l, Timeline tli)
{
    /* No run is gone on with that is older (base.h). */
    if (l->manifest && l->p.now - l->begun < RETENTION_RUN_MS)
        know(l, past_base(&l->p, tli, l->start, l->stop, json_incref(l->packs)), false);
    l->manifest = NULL;
}

static void promote(Life *l)
{
    Timeline before = l->tli;

    if (l->tli + 1 >= TLI_MAX / 2)
        return;
    l->tli++;
    know(l, past_history(&l->p, l->tli), false);
    write_log(l, 1 + below(4));
    end_base(l, before);
}

/* pg_upgrade, or an initdb: another system identifier, timeline 1, any place. A backup that was
 * under way has ended with its cluster. */
static void begin_again(Life *l)
{
    if (l->tli == 1 && below(2))
        l->clashes = true;
    l->manifest = NULL;
    json_decref(l->packs);
    l->packs = json_array();
    l->tli = 1;
    l->at = below(LOG_MAX / 2);
    l->count.resets++;
}

static const char *any_name(Life *l, NameKind kind)
{
    const SeenList *o = &l->p.c.objects;

    for (int tries = 0; tries < 8 && o->len > 0; tries++) {
        const char *name = o->items[below((uint32_t)o->len)].name;
        if (name_parse(name).kind == kind)
            return name;
    }
    return NULL;
}

/* With the host's key anything can be put below host/, with any words in it. */
static void flood(Life *l)
{
    uint32_t n = 1 + below(4);

    if (l->theft < 0)
        l->theft = (int64_t)l->p.c.notes.len;
    l->count.floods++;
    while (n-- > 0) {
        json_t *packs = json_array();
        Timeline tli = below(3) ? l->tli : 1 + below(TLI_MAX - 1);
        Lsn start = below(LOG_MAX - 20), stop = start + 1 + below(12), end = stop + below(8);
        const char *pack = any_name(l, NAME_PACK);
        if (pack)
            json_array_append_new(packs, json_string(pack));
        if (below(3) == 0)
            json_array_append_new(packs, json_string(know(l, past_pack(&l->p), true)));
        if (below(4) == 0)
            json_array_append_new(packs, json_string("host/pack/none"));
        if (below(4) > 0)
            know(l, past_wal(&l->p, tli, start, end), true);
        if (below(6) == 0)
            know(l, past_history(&l->p, tli), true);
        know(l, past_base(&l->p, tli, start, stop, packs), true);
    }
}

static void drill(Life *l)
{
    if (l->p.bases.len > 0)
        past_drill(&l->p, l->p.bases.items[below((uint32_t)l->p.bases.len)].name, below(4) > 0);
}

/* Two pieces that follow one another and that an audit would join (merge.h). */
static void merge(Life *l)
{
    _cleanup_(strlist_clear) StrList from = {0};
    const char *one = any_name(l, NAME_WAL);

    for (size_t i = 0; one && i < l->truth.len && from.len == 0; i++) {
        Truth *a = truth_of(l, one), *b = &l->truth.items[i];
        const Seen *x = past_seen(&l->p, one), *y = past_seen(&l->p, b->name);
        if (b->parts.kind != NAME_WAL || a->parts.tli != b->parts.tli ||
            a->parts.end != b->parts.start || a->merged || b->merged || !x->note || !y->note ||
            x->marked || y->marked || x->gone || y->gone)
            continue;
        strlist_add(&from, a->name);
        strlist_add(&from, b->name);
    }
    if (from.len == 0)
        return;
    const char *segment = know(l, past_merge(&l->p, &from), false);
    for (size_t i = 0; i < from.len; i++)
        truth_of(l, from.items[i])->merged = segment;
    l->count.merges++;
}

/* The judge */

typedef struct Walk {
    bool log[TLI_MAX][LOG_MAX]; /* is the byte there */
    bool can[TLI_MAX][LOG_MAX]; /* can the place be restored to */
    bool old[TLI_MAX][LOG_MAX]; /* was the byte first there before the window */
} Walk;

#define ANY (-1)
/* `gone`: names that are not there any more; `by`: only what was countersigned by that note. */
static bool is_there(const Seen *s, const StrList *gone, int64_t by)
{
    return s && !s->pruned && (by < 0 || (s->note > 0 && s->note <= by)) &&
           !strlist_has(gone, s->name);
}

/* As itself or in a merged segment. */
static bool is_piece_there(const Life *l, const Truth *t, const StrList *gone, int64_t by)
{
    const Seen *own = past_seen(&l->p, t->name);

    if (is_there(own, gone, by))
        return true;
    return t->merged && (by < 0 || (own->note > 0 && own->note <= by)) &&
           is_there(past_seen(&l->p, t->merged), gone, ANY);
}

static void lay_log(const Life *l, const StrList *gone, int64_t by, Walk *w)
{
    memset(w, 0, sizeof *w);
    for (size_t i = 0; i < l->truth.len; i++) {
        const Name *n = &l->truth.items[i].parts;
        const Seen *s = n->kind == NAME_WAL ? past_seen(&l->p, l->truth.items[i].name) : NULL;
        if (!s || !is_piece_there(l, &l->truth.items[i], gone, by))
            continue;
        for (Lsn b = n->start; b < n->end; b++) {
            w->log[n->tli][b] = true;
            w->old[n->tli][b] |= s->written <= l->p.now - l->rules.keep.window_ms;
        }
    }
    /* What lies before old log is old, when it came late too; and so is a copy of it with which a
     * later timeline begins. */
    for (Timeline tli = 1; tli < TLI_MAX; tli++)
        for (Lsn b = LOG_MAX - 1; b-- > 0;)
            w->old[tli][b] |= w->old[tli][b + 1] || w->old[tli - 1][b];
}

static bool restorable(const Life *l, const Base *b, const StrList *gone, int64_t by, const Walk *w)
{
    const json_t *packs = json_at(b->facts, "packs");
    size_t i;
    json_t *pack;

    if (!is_there(past_seen(&l->p, b->name), gone, by))
        return false;
    json_array_foreach (packs, i, pack)
        if (!is_there(past_seen(&l->p, json_string_value(json_array_get(pack, 0))), gone, by))
            return false;
    for (Lsn at = b->start; at < b->stop; at++)
        if (!w->log[b->tli][at])
            return false;
    return true;
}

/* From a place along its timeline, and onto later ones whose log is there. */
static void walk(Walk *w, Timeline tli, Lsn at, bool *been)
{
    for (; !been[tli * LOG_MAX + at]; at++) {
        been[tli * LOG_MAX + at] = true;
        w->can[tli][at] = true;
        for (Timeline next = tli + 1; next < TLI_MAX; next++)
            if (w->log[next][at])
                walk(w, next, at, been);
        if (!w->log[tli][at])
            return;
    }
}

static void judge(const Life *l, const StrList *gone, Walk *w)
{
    static bool been[TLI_MAX * LOG_MAX];

    lay_log(l, gone, ANY, w);
    for (size_t i = 0; i < l->p.bases.len; i++) {
        const Base *b = &l->p.bases.items[i];
        memset(been, 0, sizeof been);
        if (restorable(l, b, gone, ANY, w))
            walk(w, b->tli, b->stop, been);
    }
}

/* Properties */

static bool is_in(const Windows *w, Timeline tli, Lsn at, bool inside)
{
    for (size_t i = 0; i < w->len; i++)
        if (w->items[i].tli == tli && w->items[i].start <= at && at <= w->items[i].end &&
            (!inside || (w->items[i].start < at && at < w->items[i].end)))
            return true;
    return false;
}

static void check_windows(const Life *l, const Retention *r, const StrList *unkept)
{
    static Walk before, after;
    static const StrList none;

    judge(l, &none, &before);
    judge(l, unkept, &after);
    for (Timeline tli = 0; tli < TLI_MAX; tli++)
        for (Lsn at = 0; at < LOG_MAX; at++) {
            CHECK(is_in(&r->before, tli, at, false) == before.can[tli][at]);
            CHECK(is_in(&r->after, tli, at, false) == after.can[tli][at]);
            if (before.can[tli][at] && !after.can[tli][at])
                CHECK(is_in(&r->lost, tli, at, false));
            else
                CHECK(!is_in(&r->lost, tli, at, true) || !after.can[tli][at]);
            /* A moment of the window that could be had can be had. Only without a thief and on
             * one cluster does the place alone say which moment it is. */
            if (l->theft < 0 && !l->clashes && l->count.resets == 0 && !l->folder && at > 0 &&
                before.can[tli][at] && before.log[tli][at - 1] && !before.old[tli][at - 1])
                CHECK(after.can[tli][at]);
        }
}

static void check_needs(const Life *l, const Retention *r, const StrList *unkept)
{
    static Walk before, after;
    static const StrList none;

    lay_log(l, &none, INT64_MAX, &before);
    lay_log(l, unkept, INT64_MAX, &after);
    for (size_t i = 0; i < l->p.bases.len; i++) {
        const Base *b = &l->p.bases.items[i];
        if (!strlist_has(unkept, b->name) && restorable(l, b, &none, INT64_MAX, &before))
            CHECK(restorable(l, b, unkept, INT64_MAX, &after));
    }
    Timeline newest = 0;
    for (size_t i = 0; i < l->truth.len; i++) {
        const Name *n = &l->truth.items[i].parts;
        if (n->kind == NAME_WAL && is_piece_there(l, &l->truth.items[i], unkept, ANY))
            newest = MAX(newest, n->tli);
    }
    for (size_t i = 0; i < unkept->len; i++) {
        Name n = name_parse(unkept->items[i]);
        CHECK(n.kind != NAME_HISTORY || n.tli > newest);
        CHECK(past_seen(&l->p, unkept->items[i])->note > 0);
    }
    (void)r;
}

static bool is_proven(const Life *l, const Base *b)
{
    for (size_t i = 0; i < l->p.c.notes.len; i++) {
        const Note *n = &l->p.c.notes.items[i];
        if (streq(n->kind, "drill") && json_bool(n->body, "ok", false) &&
            streq(json_str(n->body, "base"), b->name))
            return true;
    }
    return false;
}

/* Where times lie, those that one note saw are equally new. */
static bool is_newer(const Life *l, const Seen *a, const Seen *b)
{
    int64_t x = a->note ? a->note : INT64_MAX, y = b->note ? b->note : INT64_MAX;

    return x != y ? x > y : !l->folder && a->written > b->written;
}

static void check_proven(const Life *l, const StrList *unkept)
{
    const Seen *best = NULL;
    bool kept = true;

    for (size_t i = 0; i < l->p.bases.len; i++) {
        const Base *b = &l->p.bases.items[i];
        const Seen *s = past_seen(&l->p, b->name);
        if (!is_proven(l, b))
            continue;
        bool own = !strlist_has(unkept, b->name);
        if (!best || is_newer(l, s, best)) {
            best = s;
            kept = own;
        } else if (!is_newer(l, best, s)) {
            kept = kept || own;
        }
    }
    CHECK(kept);
}

static int64_t period_of(Msec t, int days)
{
    return days == 1 ? t / DAY : (t / DAY + 3) / 7;
}

/* Is it the only one of its day or week that came before the theft? */
static bool is_alone(const Life *l, const Seen *s, int days)
{
    for (size_t i = 0; i < l->p.bases.len; i++) {
        const Seen *o = past_seen(&l->p, l->p.bases.items[i].name);
        if (o != s && o->note > 0 && o->note <= l->theft &&
            period_of(o->written, days) == period_of(s->written, days))
            return false;
    }
    return true;
}

/* Whatever came since the theft: what was countersigned and whole before it, and is of the last
 * days or weeks of the calendar, or in the window, stays. */
static void check_flood(Life *l, const StrList *unkept)
{
    static Walk w;
    static const StrList none;
    const BackupKeep *k = &l->rules.keep;

    if (l->folder || l->theft < 0)
        return;
    lay_log(l, &none, l->theft, &w);
    for (size_t i = 0; i < l->p.bases.len; i++) {
        const Base *b = &l->p.bases.items[i];
        const Seen *s = past_seen(&l->p, b->name);
        if (s->note == 0 || s->note > l->theft || !restorable(l, b, &none, l->theft, &w))
            continue;
        CHECK(!truth_of(l, b->name)->forged);
        l->count.held++;
        bool daily =
            is_alone(l, s, 1) && period_of(s->written, 1) > period_of(l->p.now, 1) - k->daily;
        bool weekly =
            is_alone(l, s, 7) && period_of(s->written, 7) > period_of(l->p.now, 7) - k->weekly;
        CHECK(!(daily || weekly || s->written > l->p.now - k->window_ms) ||
              !strlist_has(unkept, b->name));
    }
}

static void check_grace(Life *l, const Retention *r)
{
    for (size_t i = 0; i < r->remove.len; i++) {
        Truth *t = truth_of(l, r->remove.items[i]);
        CHECK(t->marked > 0 && l->p.now - t->marked >= l->rules.grace_ms);
    }
    for (size_t i = 0; i < r->mark.len; i++)
        truth_of(l, r->mark.items[i])->marked = l->p.now;
    for (size_t i = 0; i < r->unmark.len; i++)
        truth_of(l, r->unmark.items[i])->marked = 0;
}

static void decide(Life *l, Retention *ret)
{
    _cleanup_(err_clear) Err err = {0};

    l->rules.now = l->p.now;
    if (retention_decide(&l->p.c, &l->p.bases, &l->rules, ret, &err) < 0)
        fail_msg("seed %llu: %s", (unsigned long long)seed, err.text);
}

/* All that is not kept, marked before or now: what will be gone in the end. */
static void unkept_of(const Life *l, const Retention *r, StrList *ret)
{
    for (size_t i = 0; i < l->p.c.objects.len; i++) {
        const Seen *s = &l->p.c.objects.items[i];
        if (!s->pruned &&
            ((s->marked && !strlist_has(&r->unmark, s->name)) || strlist_has(&r->mark, s->name)))
            strlist_add(ret, s->name);
    }
}

static void prune(Life *l)
{
    _cleanup_(retention_clear) Retention r = {0}, again = {0};
    _cleanup_(strlist_clear) StrList unkept = {0};

    decide(l, &r);
    unkept_of(l, &r, &unkept);
    for (size_t i = 0; i < r.remove.len; i++)
        CHECK(strlist_has(&unkept, r.remove.items[i]));
    check_proven(l, &unkept);
    check_windows(l, &r, &unkept);
    check_needs(l, &r, &unkept);
    check_flood(l, &unkept);
    check_grace(l, &r);
    l->count.prunes++;
    l->count.removed += r.remove.len;
    for (size_t i = 0; i < r.remove.len; i++) {
        const char *segment = truth_of(l, r.remove.items[i])->merged;
        l->count.doubles += segment && !strlist_has(&unkept, segment);
    }
    l->count.lost += r.lost.len;
    bool cut = r.remove.len > 0 && below(4) == 0;
    past_prune(&l->p, &r, l->rules.grace_ms, cut ? below((uint32_t)r.remove.len) : SIZE_MAX);
    decide(l, &again);
    /* Of a segment whose mark was taken back the pieces are marked only now. */
    bool back = false;
    for (size_t i = 0; i < r.unmark.len; i++)
        back = back || name_parse(r.unmark.items[i]).kind == NAME_SEGMENT;
    CHECK((back || again.mark.len == 0) && again.unmark.len == 0);
    CHECK(cut || again.remove.len == 0);
    CHECK(again.keep.len == r.keep.len);
    for (size_t i = 0; i < r.keep.len; i++)
        CHECK(streq(r.keep.items[i].why, again.keep.items[i].why));
}

static void step(Life *l)
{
    /* Audits are a minute apart; prunes and drills come between them. */
    l->p.now += below(4) ? HOUR + below(20) * HOUR : below(20) * DAY;
    l->p.skew = l->folder && below(4) == 0 ? ((Msec)below(80) - 40) * DAY : 0;
    switch (below(12)) {
    case 0:
    case 1:
    case 2:
        write_log(l, 1 + below(8));
        break;
    case 3:
    case 4:
        begin_base(l);
        if (below(3) > 0)
            end_base(l, l->tli);
        break;
    case 5:
        end_base(l, l->tli);
        break;
    case 6:
        if (below(2))
            promote(l);
        else if (below(3) == 0)
            begin_again(l);
        break;
    case 7:
        drill(l);
        break;
    case 8:
        if (l->theft >= 0 || below(12) == 0)
            flood(l);
        break;
    case 9:
    case 10:
        prune(l);
        break;
    default:
        merge(l);
    }
    if (below(3) > 0)
        past_audit(&l->p);
}

static void live(Life *l)
{
    l->p.now = BEGIN + (Msec)below(1000) * HOUR;
    l->tli = 1;
    l->theft = -1;
    l->folder = below(4) == 0;
    l->packs = json_array();
    l->rules = (RetentionRules){
        .keep = {below(5), below(4), below(4), (Msec)below(12) * DAY},
        .grace_ms = HOUR + (Msec)below(6) * DAY,
    };
    for (int i = 0; i < STEPS; i++)
        step(l);
    prune(l);
}

static void test_histories(void **state)
{
    (void)state;
    Life total = {0};
    /* Fewer where each takes long: under sanitizers. */
    const char *asked = getenv("ATOLL_HISTORIES");
    uint64_t histories = asked ? strtoull(asked, NULL, 10) : HISTORIES;

    for (seed = 1; seed <= histories; seed++) {
        Life l = {0};
        rng = seed * 0x9E3779B97F4A7C15ULL;
        live(&l);
        total.count.prunes += l.count.prunes;
        total.count.removed += l.count.removed;
        total.count.floods += l.count.floods;
        total.count.resets += l.count.resets;
        total.count.lost += l.count.lost;
        total.count.held += l.count.held;
        total.count.merges += l.count.merges;
        total.count.doubles += l.count.doubles;
        vec_clear(&l.truth);
        json_decref(l.packs);
        past_clear(&l.p);
    }
    /* So many that no property was shown for want of anything to show. */
    assert_true(total.count.prunes > histories * 3);
    assert_true(total.count.removed > histories);
    assert_true(total.count.floods > histories / 10);
    assert_true(total.count.resets > histories / 10);
    assert_true(total.count.lost > histories / 2);
    assert_true(total.count.held > histories / 10);
    assert_true(total.count.merges > histories / 10);
    assert_true(total.count.doubles > histories / 100);
    print_message(
        "# %llu prunes, %llu removed, %llu floods, %llu resets, %llu windows lost, %llu held, "
        "%llu merged, %llu pieces of them removed\n",
        (unsigned long long)total.count.prunes, (unsigned long long)total.count.removed,
        (unsigned long long)total.count.floods, (unsigned long long)total.count.resets,
        (unsigned long long)total.count.lost, (unsigned long long)total.count.held,
        (unsigned long long)total.count.merges, (unsigned long long)total.count.doubles);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_histories)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
