/* What is kept, rule by rule. */
#include "past.h"

/* Sunday 2026-11-29 12:00 UTC. */
#define NOW ((Msec)1795953600 * SECOND)
#define GRACE (3 * DAY)

static RetentionRules rules_of(const Past *p, int64_t daily, int64_t weekly, int64_t monthly)
{
    return (RetentionRules){
        .keep = {daily, weekly, monthly, 7 * DAY}, .grace_ms = GRACE, .now = p->now};
}

/* A backup of its own pack and log, countersigned at once, `ago` before NOW. */
static const char *whole(Past *p, Msec ago, Lsn start)
{
    p->now = NOW - ago;
    json_t *packs = json_make_new("[s]", past_pack(p));
    past_wal(p, 1, start, start + 10);
    const char *name = past_base(p, 1, start, start + 10, packs);
    past_audit(p);
    p->now = NOW;
    return name;
}

static const char *why(const Retention *r, const char *name)
{
    for (size_t i = 0; i < r->keep.len; i++)
        if (streq(r->keep.items[i].name, name))
            return r->keep.items[i].why;
    return NULL;
}

static void decide(const Past *p, RetentionRules rules, Retention *ret)
{
    _cleanup_(err_clear) Err err = {0};
    int r = retention_decide(&p->c, &p->bases, &rules, ret, &err);

    if (r < 0)
        fail_msg("%s", err.text);
}

static void refused(const Past *p, RetentionRules rules, const char *words)
{
    _cleanup_(err_clear) Err err = {0};
    _cleanup_(retention_clear) Retention r = {0};

    assert_int_equal(retention_decide(&p->c, &p->bases, &rules, &r, &err), -ERR_CORRUPT);
    assert_non_null(strstr(err.text, words));
    assert_non_null(err.hint);
}

static void test_periods(void **state)
{
    (void)state;
    static const struct {
        Msec ago;
        const char *why; /* NULL: not kept */
    } rows[] = {
        {400 * DAY, NULL},
        {90 * DAY, NULL},
        {58 * DAY, "monthly 2026-10"}, /* 2026-10-02 */
        {57 * DAY, NULL},
        {28 * DAY, "monthly 2026-11"}, /* 2026-11-01 */
        {20 * DAY, NULL},
        {13 * DAY, "weekly 2026-11-16"}, /* Monday */
        {12 * DAY, NULL},
        {8 * DAY, "the window begins with it"},
        {6 * DAY, "in the window, weekly 2026-11-23"}, /* Monday */
        {DAY, "in the window, daily 2026-11-28"},
        {DAY - HOUR, "in the window"},
        {6 * HOUR, "in the window, daily 2026-11-29"},
    };
    _cleanup_(past_clear) Past p = {0};
    _cleanup_(retention_clear) Retention r = {0};
    const char *names[ARRAY_LEN(rows)];

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        names[i] = whole(&p, rows[i].ago, 100 + 20 * i);
    decide(&p, rules_of(&p, 2, 2, 2), &r);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const char *got = why(&r, names[i]);
        if (!streq(got, rows[i].why))
            fail_msg("row %zu: %s, wanted %s", i, got ? got : "-", rows[i].why ? rows[i].why : "-");
    }
}

/* Marks of what is not kept; removal when the grace is over; nothing more then. */
static void test_mark_wait_remove(void **state)
{
    (void)state;
    _cleanup_(past_clear) Past p = {0};
    const char *old = whole(&p, 100 * DAY, 100);
    const char *anchor = whole(&p, 10 * DAY, 200);

    RetentionRules rules = rules_of(&p, 1, 0, 0);
    _cleanup_(retention_clear) Retention first = {0}, second = {0}, third = {0}, last = {0};
    decide(&p, rules, &first);
    assert_int_equal(first.keep.len, 1);
    assert_string_equal(first.keep.items[0].name, anchor);
    assert_int_equal(first.mark.len, 3);
    assert_string_equal(first.mark.items[0], old);
    assert_int_equal(first.remove.len, 0);
    assert_int_equal(first.before.len, 2);
    assert_int_equal(first.after.len, 1);
    assert_int_equal(first.lost.len, 1);
    assert_int_equal(first.lost.items[0].start, 110);
    past_prune(&p, &first, GRACE, SIZE_MAX);

    rules.now = p.now = NOW + GRACE - 1;
    decide(&p, rules, &second);
    assert_int_equal(second.mark.len + second.remove.len, 0);
    assert_int_equal(second.waiting, 3);
    rules.now = p.now = NOW + GRACE;
    decide(&p, rules, &third);
    assert_int_equal(third.remove.len, 3);
    assert_string_equal(third.remove.items[0], old);
    past_prune(&p, &third, GRACE, SIZE_MAX);
    decide(&p, rules, &last);
    assert_int_equal(last.mark.len + last.remove.len + last.lost.len, 0);
    assert_int_equal(last.waiting, 0);
}

/* A drill that comes in the meantime takes the mark back, and somebody else's mark does nothing. */
static void test_unmark(void **state)
{
    (void)state;
    _cleanup_(past_clear) Past p = {0};
    const char *old = whole(&p, 100 * DAY, 100);
    const char *anchor = whole(&p, 10 * DAY, 200);
    _cleanup_(retention_clear) Retention first = {0}, second = {0};

    decide(&p, rules_of(&p, 1, 0, 0), &first);
    past_prune(&p, &first, GRACE, SIZE_MAX);
    past_drill(&p, old, true);
    past_seen(&p, anchor)->marked = 1;
    p.now += 10 * DAY;
    decide(&p, rules_of(&p, 1, 0, 0), &second);
    assert_int_equal(second.remove.len, 0);
    assert_int_equal(second.unmark.len, 4);
    assert_string_equal(why(&second, old), "newest proven");
}

/* A later backup of the day, proven or not, takes no place; a failed drill none from a good one. */
static void test_proven(void **state)
{
    (void)state;
    _cleanup_(past_clear) Past p = {0};
    _cleanup_(retention_clear) Retention r = {0};
    const char *first = whole(&p, 50 * DAY, 100);
    const char *good = whole(&p, 50 * DAY - HOUR, 200);
    const char *later = whole(&p, 50 * DAY - 2 * HOUR, 300);
    const char *failed = whole(&p, 40 * DAY, 400);
    whole(&p, 9 * DAY, 500);

    past_drill(&p, good, true);
    past_drill(&p, failed, true);
    past_drill(&p, failed, false);
    decide(&p, rules_of(&p, 3, 0, 0), &r);
    assert_string_equal(why(&r, first), "daily 2026-10-10");
    assert_string_equal(why(&r, good),
                        "daily 2026-10-10 (proven), newest whose last drill was good");
    assert_null(why(&r, later));
    assert_string_equal(why(&r, failed), "daily 2026-10-20, newest proven");
}

/* What a backup must not be whole without: its packs, its log, and who countersigned it. */
static void test_whole(void **state)
{
    (void)state;
    _cleanup_(past_clear) Past p = {0};
    _cleanup_(retention_clear) Retention r = {0};
    const char *anchor = whole(&p, 20 * DAY, 100);
    const char *hole = whole(&p, 19 * DAY, 200), *pack = whole(&p, 18 * DAY, 300);

    for (size_t i = 0; i < p.bases.len; i++) {
        if (streq(p.bases.items[i].name, hole))
            p.bases.items[i].stop += 1;
        if (streq(p.bases.items[i].name, pack))
            json_array_append_new(json_at(p.bases.items[i].facts, "packs"),
                                  json_make_new("[s]", "host/pack/none"));
    }
    p.now = NOW - 17 * DAY;
    past_wal(&p, 1, 400, 410);
    past_audit(&p);
    const char *late = past_base(&p, 1, 400, 410, json_array());
    p.now = NOW;
    decide(&p, rules_of(&p, 9, 9, 9), &r);
    assert_non_null(strstr(why(&r, anchor), "the window begins with it"));
    assert_string_equal(why(&r, hole), "in the window");
    assert_string_equal(why(&r, pack), "in the window");
    assert_string_equal(why(&r, late), "not yet countersigned");
    assert_int_equal(r.mark.len, 0);
}

/* A pack whose manifest may be on its way stays; later it goes. What is not ours stays for ever. */
static void test_packs_of_nobody(void **state)
{
    (void)state;
    _cleanup_(past_clear) Past p = {0};
    _cleanup_(retention_clear) Retention young = {0}, old = {0};
    whole(&p, 20 * DAY, 100);
    p.now = NOW - 6 * DAY;
    const char *pack = past_pack(&p);
    past_put(&p, xstrdup("host/photo.jpg"));
    past_audit(&p);

    p.now = NOW;
    decide(&p, rules_of(&p, 1, 1, 1), &young);
    assert_int_equal(young.mark.len, 0);
    p.now = NOW + 2 * DAY;
    decide(&p, rules_of(&p, 1, 1, 1), &old);
    assert_int_equal(old.mark.len, 1);
    assert_string_equal(old.mark.items[0], pack);
}

static void test_refusals(void **state)
{
    (void)state;
    _cleanup_(past_clear) Past p = {0};
    const char *lost = whole(&p, 20 * DAY, 100);
    _cleanup_(strlist_clear) StrList given = {0};
    _cleanup_(retention_clear) Retention r = {0};

    whole(&p, 10 * DAY, 200);
    past_forget_base(&p, lost);
    RetentionRules rules = rules_of(&p, 7, 4, 6);
    refused(&p, rules, lost);
    strlist_add(&given, lost);
    rules.lost = &given;
    decide(&p, rules, &r);
    assert_string_equal(r.mark.items[0], lost);
    past_note(&p, "blessing", json_object());
    refused(&p, rules, "blessing");
}

/* A cluster that began again at timeline 1: places in the log that only look alike. */
static void test_begun_again(void **state)
{
    (void)state;
    _cleanup_(past_clear) Past p = {0};
    _cleanup_(retention_clear) Retention r = {0};
    const char *old = whole(&p, 60 * DAY, 5000), *mine;

    p.now = NOW - 59 * DAY;
    const char *behind = past_wal(&p, 1, 5010, 6000);
    past_audit(&p);
    mine = whole(&p, 10 * DAY, 100);
    p.now = NOW - 10 * DAY + HOUR;
    const char *next = past_wal(&p, 1, 110, 120);
    past_audit(&p);
    p.now = NOW;
    decide(&p, rules_of(&p, 1, 0, 0), &r);
    assert_null(why(&r, old));
    assert_non_null(why(&r, mine));
    assert_true(strlist_has(&r.mark, behind));
    assert_false(strlist_has(&r.mark, next));
    assert_int_equal(r.after.len, 1);
    assert_int_equal(r.after.items[0].end, 120);
}

/* A folder's file that somebody touched, or a clock that jumped. */
static void test_times_that_lie(void **state)
{
    (void)state;
    _cleanup_(past_clear) Past p = {0};
    _cleanup_(retention_clear) Retention r = {0};

    whole(&p, 30 * DAY, 100);
    p.skew = 1000 * DAY;
    const char *future = whole(&p, 20 * DAY, 300);
    p.skew = -1000 * DAY;
    const char *past = whole(&p, 5 * DAY, 200);
    p.skew = 0;
    decide(&p, rules_of(&p, 1, 0, 0), &r);
    assert_non_null(why(&r, past));
    assert_non_null(why(&r, future));
    for (size_t i = 0; i < r.keep.len; i++)
        assert_true(r.keep.items[i].came <= NOW && r.keep.items[i].came >= NOW - 30 * DAY);
}

/* Log of the window in two pieces, merged: the pieces go, if their segment is what it should be. */
static void test_merged(void **state)
{
    (void)state;
    static const struct {
        const char *words;
        bool unseen, gone, marked, short_of, part_unknown;
        bool twice; /* both stay */
    } rows[] = {
        {.words = "as it should be"},
        {.words = "not countersigned", .unseen = true, .twice = true},
        {.words = "not in the listing", .gone = true, .twice = true},
        {.words = "marked", .marked = true, .twice = true},
        {.words = "too short", .short_of = true, .twice = true},
        {.words = "of a piece that nobody saw", .part_unknown = true, .twice = true},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_(past_clear) Past p = {0};
        _cleanup_(retention_clear) Retention r = {0};
        _cleanup_(strlist_clear) StrList from = {0};
        whole(&p, 10 * DAY, 100);
        p.now = NOW - 5 * DAY;
        strlist_add(&from, past_wal(&p, 1, 110, 120));
        strlist_add(&from, past_wal(&p, 1, 120, 130));
        past_audit(&p);
        if (rows[i].part_unknown)
            strlist_add(&from, past_wal(&p, 1, 130, 140));
        const char *segment = past_merge(&p, &from);
        if (rows[i].part_unknown)
            past_seen(&p, from.items[2])->name[strlen(from.items[2]) - 1] ^= 1;
        if (!rows[i].unseen)
            past_audit(&p);
        Seen *s = past_seen(&p, segment);
        s->gone = rows[i].gone;
        s->marked = rows[i].marked;
        s->bytes -= rows[i].short_of;
        p.now = NOW;
        decide(&p, rules_of(&p, 1, 0, 0), &r);
        bool both = strlist_has(&r.mark, from.items[0]) && strlist_has(&r.mark, from.items[1]);
        bool none = !strlist_has(&r.mark, from.items[0]) && !strlist_has(&r.mark, from.items[1]);
        if (rows[i].twice ? !none : !both)
            fail_msg("%s: %zu marks", rows[i].words, r.mark.len);
        assert_false(strlist_has(&r.mark, segment));
        assert_int_equal(strlist_has(&r.unmark, segment), rows[i].marked);
        assert_int_equal(r.lost.len, 0);
    }
}

/* Once the pieces are gone the segment is kept for their log, and with it it goes. */
static void test_merged_grows_old(void **state)
{
    (void)state;
    _cleanup_(past_clear) Past p = {0};
    _cleanup_(retention_clear) Retention first = {0}, second = {0}, third = {0}, last = {0};
    _cleanup_(strlist_clear) StrList from = {0};
    RetentionRules rules = rules_of(&p, 1, 0, 0);

    whole(&p, 10 * DAY, 100);
    p.now = NOW - 5 * DAY;
    strlist_add(&from, past_wal(&p, 1, 110, 120));
    strlist_add(&from, past_wal(&p, 1, 120, 130));
    const char *segment = past_merge(&p, &from);
    past_audit(&p);
    rules.now = p.now = NOW;
    decide(&p, rules, &first);
    assert_int_equal(first.mark.len, 2);
    past_prune(&p, &first, GRACE, SIZE_MAX);
    rules.now = p.now = NOW + GRACE;
    decide(&p, rules, &second);
    assert_int_equal(second.remove.len, 2);
    past_prune(&p, &second, GRACE, 1); /* cut off: one is gone, and no note says so */
    assert_int_equal(second.after.len, 1);
    assert_int_equal(second.after.items[0].end, 130);
    decide(&p, rules, &third);
    assert_int_equal(third.remove.len, 2);
    assert_int_equal(third.before.items[0].end, 130);
    past_prune(&p, &third, GRACE, SIZE_MAX);

    whole(&p, 0, 200);
    rules.now = p.now = NOW + 30 * DAY;
    decide(&p, rules, &last);
    assert_true(strlist_has(&last.mark, segment));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_periods),
        cmocka_unit_test(test_mark_wait_remove),
        cmocka_unit_test(test_unmark),
        cmocka_unit_test(test_proven),
        cmocka_unit_test(test_whole),
        cmocka_unit_test(test_packs_of_nobody),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_begun_again),
        cmocka_unit_test(test_times_that_lie),
        cmocka_unit_test(test_merged),
        cmocka_unit_test(test_merged_grows_old),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
