#include "deploy/rules.h"
#include "base/buf.h"

#include <setjmp.h>

#include <cmocka.h>

/* A way in words of the table; `more` has the facts. */
typedef struct Way {
    const char *from, *to; /* from NULL: a first install */
    DeployWay more;
} Way;

static void find(const Way *way, Findings *ret)
{
    DeployWay w = way->more;
    Version from, to;

    assert_int_equal(version_parse(way->to, &to, NULL), 0);
    w.to = &to;
    if (way->from) {
        assert_int_equal(version_parse(way->from, &from, NULL), 0);
        w.from = &from;
    }
    rules_find(&w, ret);
}

static void show(const Way *way, const Findings *l)
{
    print_message("%s to %s:\n", way->from ? way->from : "nothing", way->to);
    for (size_t i = 0; i < l->len; i++)
        print_message("  %d %s\n", (int)l->items[i].kind, l->items[i].words);
}

static size_t count(const Findings *l, FindingKind kind, const char *words)
{
    size_t n = 0;

    for (size_t i = 0; i < l->len; i++)
        n += l->items[i].kind == kind && strstr(l->items[i].words, words);
    return n;
}

static void what_may_follow_what(_unused_ void **state)
{
    static const struct {
        Way way;
        const char *refusal; /* NULL: the way is open */
    } rows[] = {
        {{NULL, "v4.7.6", {0}}, NULL},
        {{"v4.7.6", "v4.7.6", {0}}, NULL},
        /* Patch releases may be skipped, minors may not. */
        {{"4.7.0", "4.7.6", {0}}, NULL},
        {{"4.7.0", "4.7.6", {.post_pending = true}}, NULL},
        {{"4.6.0", "4.7.6", {0}}, NULL},
        {{"4.5.20", "v4.7.6", {0}}, "4.7.6 cannot follow 4.5.20: deploy a release of 4.6 first"},
        {{"4.2.0", "4.7.6", {0}}, "deploy a release of 4.3 first"},
        {{"3.1.4", "3.2.0", {0}}, NULL},
        {{"3.5.19", "4.0.0", {0}}, NULL},
        {{"3.4.0", "4.0.0", {0}}, "deploy a release of 3.5 first"},
        {{"3.5.19", "4.1.0", {0}}, "deploy a release of 4.0 first"},
        {{"3.0.1", "4.7.6", {0}}, "3.0.1 is older than what atoll knows (3.1)"},
        {{NULL, "2.9.4", {0}}, "2.9.4 is older than what atoll knows"},
        /* What comes next is not known, but that something was skipped may be. */
        {{"4.7.6", "4.8.0", {0}}, NULL},
        {{"4.7.6", "5.0.0", {0}}, NULL},
        {{"4.6.5", "5.0.0", {0}}, "deploy a release of 4.7 first"},
        {{"4.6.5", "4.8.0", {0}}, "deploy a release of 4.7 first"},
        {{"4.7.6", "4.9.0", {0}}, "a minor between them would be skipped"},
        {{"4.7.6", "5.1.0", {0}}, "a minor between them would be skipped"},
        {{"4.8.0", "4.9.0", {0}}, NULL},
        /* The deploy before is finished first. */
        {{"4.6.5", "4.7.0", {.post_pending = true}}, "post-deployment migrations of 4.6.5"},
        /* The tag of a minor. */
        {{"4.6.5", "v4.7", {0}}, NULL},
        {{"4.7.6", "v4.7", {0}}, NULL},
        {{"v4.7", "4.7.2", {0}}, NULL},
        {{"4.5.1", "v4.7", {0}}, "deploy a release of 4.6 first"},
        /* Back. */
        {{"4.7.6", "4.7.5", {0}}, NULL},
        {{"4.7.6", "4.6.5", {0}}, "only a deploy can be taken back"},
        {{"4.7.6", "4.6.5", {.rollback = true}}, NULL},
        {{"4.0.0", "3.5.1", {.rollback = true}}, NULL},
        {{"4.7.6", "4.6.5", {.rollback = true, .post_run = true}}, "migrations of 4.7.6 have run"},
        {{"4.7.6", "4.7.5", {.rollback = true}}, NULL},
        {{"4.7.6", "4.7.5", {.rollback = true, .post_run = true}}, "migrations of 4.7.6 have run"},
        {{"4.7.6", "4.7.5", {.post_run = true}}, "migrations of 4.7.6 have run"},
        {{"4.7.6", "4.5.5", {.rollback = true}}, "the way back is of one minor only"},
        {{"4.8.0", "4.7.6", {.rollback = true}}, NULL},
        {{"5.0.0", "4.7.6", {.rollback = true}}, NULL},
        {{"5.0.0", "4.8.6", {.rollback = true}}, NULL},
        {{"4.8.0", "4.6.5", {.rollback = true}}, "the way back is of one minor only"},
        {{"5.0.0", "4.6.5", {.rollback = true}}, "the way back is of one minor only"},
        {{"5.1.0", "4.7.6", {.rollback = true}}, "the way back is of one minor only"},
        /* The canary. */
        {{NULL, "1", {0}}, NULL},
        {{"1", "2", {0}}, NULL},
        {{"1", "4", {0}}, NULL},
        {{"2", "4", {.post_pending = true}}, "post-deployment migrations of 2"},
        {{"2", "1", {0}}, "1 is older than 2; it can only be rolled back to"},
        {{"2", "1", {.rollback = true}}, NULL},
        {{"2", "1", {.rollback = true, .post_run = true}},
         "post-deployment migrations of 2 have run"},
        {{"2", "4.7.6", {0}}, "4.7.6 cannot follow 2 on the same island"},
        {{"4.7.6", "2", {0}}, "2 cannot follow 4.7.6 on the same island"},
        /* What it demands. */
        {{"4.6.5", "4.7.6", {.postgres = 130020}},
         "4.7.6 needs PostgreSQL 14 or later, and here is 13"},
        {{"4.6.5", "4.7.6", {.postgres = 140010}}, NULL},
        {{NULL, "4.7.6", {.redis = 60216}}, "4.7.6 needs Redis 7.0 or later, and here is 6.2"},
        {{NULL, "4.7.6", {.redis = 70015, .postgres = 150018}}, NULL},
        {{"4.3.1", "4.4.0", {.redis = 60000}}, "4.4.0 needs Redis 6.2 or later, and here is 6.0"},
        {{NULL, "3.1.4", {.postgres = 90424}},
         "3.1.4 needs PostgreSQL 9.5 or later, and here is 9.4"},
        {{"4.7.6", "4.8.0", {.postgres = 130000}}, "4.8.0 needs PostgreSQL 14"},
        /* Beside running processes: from which schema. */
        {{"4.6.5", "4.7.0", {.schema = "20241007071623"}},
         "only from 4.3's schema (20241007071624)"},
        {{"4.6.5", "4.7.0", {.schema = "20241007071623", .stopped = true}}, NULL},
        {{"4.6.5", "4.7.0", {.schema = "20241007071624"}}, NULL},
        {{"4.3.1", "4.4.0", {.schema = "20230907150099"}}, "only from 4.2's schema"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_(findings_clear) Findings l = {0};
        find(&rows[i].way, &l);
        bool good = rows[i].refusal ? count(&l, FINDING_REFUSAL, rows[i].refusal) == 1
                                    : !findings_refuse(&l);
        if (!good)
            show(&rows[i].way, &l);
        assert_true(good);
    }
}

static void what_an_operator_is_told(_unused_ void **state)
{
    static const struct {
        Way way;
        FindingKind kind;
        const char *words;
        bool told;
    } rows[] = {
        {{"4.6.5", "4.7.0", {0}}, FINDING_WARNING, "accounts.uri", true},
        {{"4.7.0", "4.7.6", {0}}, FINDING_WARNING, "accounts.uri", false},
        {{"4.6.5", "v4.7", {0}}, FINDING_WARNING, "accounts.uri", true},
        {{"4.6.5", "v4.7", {0}}, FINDING_WARNING, "is a tag that moves", true},
        {{"4.6.5", "4.7.0-rc.1", {0}}, FINDING_WARNING, "accounts.uri", true},
        {{"4.7.0-rc.1", "4.7.0", {0}}, FINDING_WARNING, "accounts.uri", false},
        {{"4.6.5", "4.7.0-rc.1", {0}}, FINDING_WARNING, "4.7.0-rc.1 is a pre-release", true},
        {{"4.7.0-rc.1", "4.6.5", {.rollback = true}},
         FINDING_WARNING,
         "4.7.0-rc.1 is a pre-release",
         true},
        {{"4.6.0-beta.1", "4.7.0", {0}}, FINDING_WARNING, "deploy one of 4.6 before", true},
        {{"4.6.5", "4.7.0", {.streaming = true}},
         FINDING_STEP,
         "streaming must be restarted",
         true},
        {{"4.6.5", "4.7.0", {0}}, FINDING_STEP, "streaming", false},
        {{"4.6.5", "4.7.0", {.tree = true}}, FINDING_WARNING, "Ruby 3.3 and Node 22", true},
        {{"4.6.5", "4.7.0", {0}}, FINDING_WARNING, "Ruby", false},
        {{"4.7.0", "4.7.6", {.tree = true}}, FINDING_WARNING, "Ruby", false},
        {{"4.7.0", "v4.7", {.tree = true}}, FINDING_STEP, "3.4.13", true},
        {{"4.6.5", "v4.7", {.tree = true}}, FINDING_STEP, "3.4.13", true},
        {{"4.7.0", "4.7.6", {.tree = true}}, FINDING_STEP, "3.4.13", true},
        {{"4.1.0", "4.2.0", {.search = true}}, FINDING_STEP, "public_statuses", true},
        {{"4.1.0", "4.2.0", {0}}, FINDING_STEP, "public_statuses", false},
        {{"4.3.1", "4.4.0", {0}}, FINDING_WARNING, "REDIS_NAMESPACE", true},
        {{"4.4.1", "4.3.1", {.rollback = true}}, FINDING_WARNING, "REDIS_NAMESPACE", false},
        {{"4.4.1", "4.3.1", {.rollback = true}},
         FINDING_WARNING,
         "jobs of a kind that only 4.4.1 knows",
         true},
        {{"4.7.6", "4.7.5", {0}}, FINDING_WARNING, "4.7.5 is older than 4.7.6", true},
        {{"4.7.6", "4.8.0", {0}}, FINDING_WARNING, "newer than what atoll", true},
        {{NULL, "4.7.6", {0}}, FINDING_WARNING, "", false},
        {{NULL, "4.7.6", {.swift = true}}, FINDING_WARNING, "", false},
        {{NULL, "4.3.0", {.swift = true}}, FINDING_WARNING, "content security policy", true},
        {{NULL, "4.3.1", {.swift = true}}, FINDING_WARNING, "content security policy", false},
        {{NULL, "4.2.9", {.swift = true}}, FINDING_WARNING, "content security policy", false},
        {{NULL, "4.3.0", {0}}, FINDING_WARNING, "content security policy", false},
        {{NULL, "4.4.14", {.swift = true}}, FINDING_WARNING, "logs in to Keystone", true},
        {{NULL, "4.4.15", {.swift = true}}, FINDING_WARNING, "logs in to Keystone", false},
        {{NULL, "4.5.7", {.swift = true}}, FINDING_WARNING, "logs in to Keystone", true},
        {{NULL, "4.5.8", {.swift = true}}, FINDING_WARNING, "logs in to Keystone", false},
        {{NULL, "4.7.3", {.swift = true}}, FINDING_WARNING, "known holes", true},
        {{NULL, "4.7.4", {.swift = true}}, FINDING_WARNING, "known holes", false},
        {{NULL, "v4.7", {.swift = true}}, FINDING_WARNING, "known holes", false},
        {{NULL, "4.7.6", {.postgres = 140003}}, FINDING_WARNING, "14.0 to 14.3", true},
        {{NULL, "4.7.6", {.postgres = 140004}}, FINDING_WARNING, "14.0 to 14.3", false},
        {{NULL, "4.4.27", {.today = "2026-12-17"}}, FINDING_WARNING, "support", false},
        {{NULL, "4.4.27", {.today = "2026-12-18"}}, FINDING_WARNING, "support of 4.4 ended", true},
        {{NULL, "2", {.postgres = 1, .redis = 1, .swift = true, .tree = true}},
         FINDING_WARNING,
         "",
         false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_(findings_clear) Findings l = {0};
        find(&rows[i].way, &l);
        bool good = count(&l, rows[i].kind, rows[i].words) == (rows[i].told ? 1 : 0);
        if (!good)
            show(&rows[i].way, &l);
        assert_true(good);
    }
}

/* From the first known version to the last: each minor is one open way, and its steps come in the
 * order of the way, with words, a source, and a command where there is something to run. */
static void the_whole_way(_unused_ void **state)
{
    static const char *const way[] = {"3.1.4", "3.2.0", "3.3.0", "3.4.0", "3.5.0", "4.0.0", "4.1.0",
                                      "4.2.0", "4.3.9", "4.4.0", "4.5.0", "4.6.0", "4.7.6"};
    static const char *const commands[] = {"cache clear", "search deploy",
                                           "search deploy --only=accounts",
                                           "search deploy --only-mapping --only=accounts"};
    size_t commands_seen = 0, secrets = 0, restarts = 0;

    for (size_t i = 1; i < ARRAY_LEN(way); i++) {
        _cleanup_(findings_clear) Findings l = {0};
        Way one = {way[i - 1], way[i], {.search = true, .streaming = true, .tree = true}};
        find(&one, &l);
        assert_false(findings_refuse(&l));
        for (size_t j = 0; j < l.len; j++) {
            const Finding *f = &l.items[j];
            assert_true(strlen(f->words) > 20 && !strchr(f->words, '\n'));
            assert_non_null(f->source);
            assert_true(j == 0 || f[-1].kind < f->kind ||
                        (f[-1].kind == f->kind && f[-1].when <= f->when));
            assert_int_equal(f->action == ACTION_TOOTCTL, f->command != NULL);
            assert_true(f->kind == FINDING_STEP ||
                        (f->action == ACTION_BY_HAND && f->when == FINDING_AT_FIRST));
            if (f->command) {
                assert_true(commands_seen < ARRAY_LEN(commands));
                assert_string_equal(f->command, commands[commands_seen++]);
                assert_non_null(strstr(f->words, f->command));
            }
            secrets += f->action == ACTION_SECRETS && f->when == FINDING_AT_FIRST;
            restarts += f->action == ACTION_RESTART_STREAMING && f->when == FINDING_ROLLING;
        }
    }
    assert_int_equal(commands_seen, ARRAY_LEN(commands));
    assert_int_equal(secrets, 1);
    assert_int_equal(restarts, 1);
}

/* What empties an index is left to a person. */
static void indexes_that_changed(_unused_ void **state)
{
    static const struct {
        const char *to, *command;
        bool by_itself;
    } rows[] = {
        {"v4.1.0", "search deploy", false},
        {"v4.3.9", "search deploy", false},
        {"v4.4.0", "search deploy", false},
        {"v4.4.1", "search deploy --only-mapping", true},
        {"v4.7.6", "search deploy --only-mapping", true},
        {"v9.9.9", "search deploy --only-mapping", true},
        {"7", "search deploy --only-mapping", true},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        Version to;
        assert_int_equal(version_parse(rows[i].to, &to, NULL), 0);
        const SearchRule *rule = rules_search(&to);
        assert_string_equal(rule->command, rows[i].command);
        assert_int_equal(rule->by_itself, rows[i].by_itself);
        assert_non_null(rule->source);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_may_follow_what),
        cmocka_unit_test(what_an_operator_is_told),
        cmocka_unit_test(the_whole_way),
        cmocka_unit_test(indexes_that_changed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
