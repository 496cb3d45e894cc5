/* When certbot is run, what it is told, and what its words come to. */
#include "host/acme.h"
#include "io/file.h"

#include <setjmp.h>

#include <cmocka.h>

static void a_third_of_its_life_before_its_end_it_is_due(void **state)
{
    (void)state;
    static const struct {
        Msec life, left;
        AcmeDo what;
    } rows[] = {
        {90 * DAY, 90 * DAY, ACME_LOOK},
        {90 * DAY, 30 * DAY + 1, ACME_LOOK},
        {90 * DAY, 30 * DAY, ACME_RENEW},
        {90 * DAY, -DAY, ACME_RENEW},
        /* certbot itself would renew these at every look. */
        {45 * DAY, 30 * DAY, ACME_NOTHING},
        {45 * DAY, 31 * DAY, ACME_LOOK},
        {6 * DAY, 6 * DAY, ACME_NOTHING},
        {6 * DAY, 2 * DAY + 1, ACME_NOTHING},
        {6 * DAY, 2 * DAY, ACME_RENEW},
        {365 * DAY, 120 * DAY, ACME_RENEW},
    };
    const Msec now = 1767225600 * SECOND;

    assert_int_equal(acme_due(NULL, now), ACME_RENEW);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        Msec ends = now + rows[i].left;
        assert_int_equal(acme_due(&(Cert){.begins = ends - rows[i].life, .ends = ends}, now),
                         rows[i].what);
    }
}

/* Let's Encrypt takes 5 failures of a name in an hour. */
static void failures_are_further_and_further_apart(void **state)
{
    (void)state;
    static const int minutes[] = {5, 10, 20, 40, 60, 60};
    Msec sum = 0;
    int within = 1; /* the first, at 0 */

    assert_true(acme_wait(0) == 12 * HOUR);
    for (size_t i = 0; i < ARRAY_LEN(minutes); i++) {
        assert_true(acme_wait((int64_t)i + 1) == minutes[i] * MINUTE);
        sum += acme_wait((int64_t)i + 1);
        within += sum < HOUR;
    }
    assert_true(within <= 5);
    assert_true(acme_wait(INT64_MAX) == HOUR);
}

static bool has_pair(const StrList *l, const char *a, const char *b)
{
    for (size_t i = 0; i + 1 < l->len; i++)
        if (streq(l->items[i], a) && streq(l->items[i + 1], b))
            return true;
    return false;
}

static void certbot_is_told_everything(void **state)
{
    (void)state;
    AcmeSettings s = {.domain = "reef.example", .email = "a@b.c", .server = "", .webroot = "/w"};
    _cleanup_(strlist_clear) StrList first = {0}, look = {0};

    acme_argv("/f", &s, ACME_RENEW, &first);
    assert_string_equal(first.items[0], "certbot");
    assert_string_equal(first.items[1], "certonly");
    assert_true(has_pair(&first, "--server", ACME_SERVER));
    assert_true(has_pair(&first, "--webroot-path", "/w"));
    assert_true(has_pair(&first, "--config-dir", "/f/conf"));
    assert_true(has_pair(&first, "--domain", "reef.example"));
    assert_true(strlist_has(&first, "--force-renewal"));
    assert_true(strlist_has(&first, "--agree-tos"));

    s.server = "https://ca.example/d";
    acme_argv("/f", &s, ACME_LOOK, &look);
    assert_true(has_pair(&look, "--server", "https://ca.example/d"));
    assert_true(strlist_has(&look, "--keep-until-expiring"));
    assert_false(strlist_has(&look, "--force-renewal"));
}

static void another_server_is_seen(void **state)
{
    (void)state;
    static const struct {
        const char *conf, *server;
        bool other;
    } rows[] = {
        {"a = b\nserver = https://x/d\n", "https://x/d", false},
        {"a = b\nserver = https://x/d\n", "https://y/d", true},
        {"server = " ACME_SERVER "\n", "", false},
        {"server = https://x/d", "", true},
        {"# no such line\nmy_server = z\n", "https://x/d", false},
        {"", "", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_int_equal(acme_other_server(str_of(rows[i].conf), rows[i].server), rows[i].other);
}

#define ASK                                                                                        \
    "Ask for help or search for solutions at https://community.letsencrypt.org. See the logfile "  \
    "/x/logs/letsencrypt.log or re-run Certbot with -v for more details.\n"
#define ERROR_LINE "acme.messages.Error: "

static void its_words_are_the_reason_alone(void **state)
{
    (void)state;
    /* As certbot 2.1 printed them. */
    static const struct {
        const char *output, *words;
    } rows[] = {
        {"Saving debug log to /x/logs/letsencrypt.log\nAn unexpected error occurred:\n"
         "ValueError: Requesting 127.0.0.1/directory: Connection refused\n" ASK,
         "ValueError: Requesting 127.0.0.1/directory: Connection refused"},
        {"Renewing an existing certificate for reef.example\n\n"
         "Certbot failed to authenticate some domains (authenticator: webroot). The Certificate "
         "Authority reported these problems:\n  Domain: reef.example\n  Type:   connection\n"
         "  Detail: 192.0.2.1: Fetching http://reef.example/.well-known/acme-challenge/x: Timeout\n"
         "\nHint: The Certificate Authority failed to download the temporary challenge files\n\n"
         "Saving debug log to /x/logs/letsencrypt.log\nSome challenges have failed.\n" ASK,
         "192.0.2.1: Fetching http://reef.example/.well-known/acme-challenge/x: Timeout"},
        {"Another instance of Certbot is already running.\n",
         "Another instance of Certbot is already running."},
        {"a \x01 b\r\n", "a   b"},
        {"", "certbot says nothing"},
        {ASK, "certbot says nothing"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_(buf_clear) Buf words = BUF_INIT(BUF_MAX_LINE);
        acme_words(str_of(rows[i].output), &words);
        assert_string_equal(words.p, rows[i].words);
    }
}

static void what_it_hides_is_in_its_log(void **state)
{
    (void)state;
    static const char hidden[] =
        "An unexpected error occurred:\nAttributeError: can't set attribute\n" ASK;
    static const char log[] = "raise messages.Error.from_json(jobj)\n" ERROR_LINE "urn:x :: old\n"
                              "more\n" ERROR_LINE "urn:y :: too many certificates\nmore\n";
    _cleanup_(buf_clear) Buf words = BUF_INIT(BUF_MAX_LINE), none = BUF_INIT(BUF_MAX_LINE);

    assert_true(acme_log_words(str_of(hidden), str_of(log), &words));
    assert_string_equal(words.p, "urn:y :: too many certificates");
    assert_false(acme_log_words(STR_LIT("Connection refused"), str_of(log), &none));
    assert_false(acme_log_words(str_of(hidden), STR_LIT(""), &none));
    assert_false(acme_log_words(STR_LIT(""), str_of(log), &none));
    assert_int_equal(none.len, 0);
}

static void its_state_is_read_as_it_was_written(void **state)
{
    (void)state;
    char folder[] = "/tmp/atoll-acme.XXXXXX";
    _cleanup_(acme_state_clear) AcmeState empty = {0}, back = {0}, broken = {0};
    AcmeState s = {.of = "0123456789abcdef", .next = 5, .asked = 4, .failed = 3, .why = "a \"b\""};

    assert_non_null(mkdtemp(folder));
    _cleanup_free_ char *path = path_join(folder, "state.json");
    acme_state_read(folder, &empty);
    assert_true(empty.next == 0 && streq(empty.why, "") && !*empty.of);
    assert_int_equal(acme_state_write(folder, &s, NULL), 0);
    acme_state_read(folder, &back);
    assert_string_equal(back.of, s.of);
    assert_string_equal(back.why, s.why);
    assert_true(back.next == 5 && back.asked == 4 && back.failed == 3);
    assert_int_equal(file_write(path, STR_LIT("{\"next\":"), 0600, NULL), 0);
    acme_state_read(folder, &broken);
    assert_true(broken.next == 0 && streq(broken.why, ""));
    assert_int_equal(file_remove_tree(folder, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_third_of_its_life_before_its_end_it_is_due),
        cmocka_unit_test(failures_are_further_and_further_apart),
        cmocka_unit_test(certbot_is_told_everything),
        cmocka_unit_test(another_server_is_seen),
        cmocka_unit_test(its_words_are_the_reason_alone),
        cmocka_unit_test(what_it_hides_is_in_its_log),
        cmocka_unit_test(its_state_is_read_as_it_was_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
