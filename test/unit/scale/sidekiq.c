/* What the versions of Sidekiq write. The shapes of 6.4 were seen in a running 6.4.1 (Debian's);
 * those of 7 and 8 are written by hand after what could be read of 7.3.9 and 8.1.7: they can't be
 * installed here. */
#include "scale/sidekiq.h"

#include <math.h>
#include <setjmp.h>

#include <cmocka.h>

static void test_enqueued(void **state)
{
    (void)state;
    static const struct {
        const char *job;
        double at; /* 0: unknown */
    } rows[] = {
        {"{\"class\":\"A\",\"enqueued_at\":1795953600.25,\"created_at\":1.5}", 1795953600.25},
        {"{\"class\":\"A\",\"enqueued_at\":1795953600}", 1795953600},
        {"{\"class\":\"A\",\"enqueued_at\":1795953600250}", 1795953600.25}, /* 8.0 on */
        {"{\"class\":\"A\",\"enqueued_at\":\"1795953600.25\"}", 1795953600.25},
        {"{\"class\":\"A\",\"enqueued_at\":\"1795953600250\"}", 1795953600.25},
        {"{\"class\":\"A\",\"created_at\":1795953600250}", 1795953600.25},
        {"{\"class\":\"A\",\"args\":[{\"enqueued_at\":5}]}", 0},
        {"{\"class\":\"A\",\"enqueued_at\":\"2026-11-29T12:00:00Z\"}", 0},
        {"{\"class\":\"A\",\"enqueued_at\":-4}", 0},
        {"{\"class\":\"A\",\"enqueued_at\":null}", 0},
        {"{}", 0},
        {"rubbish", 0},
        {"", 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_(sidekiq_job_clear) SidekiqJob job = {0};
        sidekiq_job(str_of(rows[i].job), &job);
        if (fabs(job.at - rows[i].at) > 0.001)
            fail_msg("%s: %f", rows[i].job, job.at);
    }
}

static void test_class(void **state)
{
    (void)state;
    static const struct {
        const char *job, *name;
    } rows[] = {
        {"{\"class\":\"PushJob\"}", "PushJob"},
        {"{\"class\":\"ActiveJob::JobWrapper\",\"wrapped\":\"MailJob\"}", "MailJob"},
        {"{\"class\":7}", NULL},
        {"[1", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_(sidekiq_job_clear) SidekiqJob job = {0};
        sidekiq_job(str_of(rows[i].job), &job);
        assert_true(streq(job.name, rows[i].name));
    }
}

static void test_process(void **state)
{
    (void)state;
    static const struct {
        const char *what, *fields[5]; /* info, concurrency, busy, beat, quiet */
        bool alive, quiet, embedded;
        int busy, threads;
        size_t queues;
        const char *host;
    } rows[] = {
        {"6.4",
         {"{\"hostname\":\"w1\",\"started_at\":5.5,\"pid\":7,\"tag\":\"\",\"concurrency\":25,"
          "\"queues\":[\"default\",\"push\"],\"labels\":[]}",
          NULL, "3", "990.5", "false"},
         true,
         false,
         false,
         3,
         25,
         2,
         "w1"},
        {"7.3",
         {"{\"hostname\":\"w1\",\"pid\":7,\"concurrency\":10,\"queues\":[\"default\"],\"weights\":["
          "{"
          "\"default\":0}],\"labels\":[],\"identity\":\"w1:7:abc\",\"version\":\"7.3.9\","
          "\"embedded\":true}",
          NULL, "0", "999", "true"},
         true,
         true,
         true,
         0,
         10,
         1,
         "w1"},
        {"8.1.7",
         {"{\"hostname\":\"w1\",\"pid\":7,\"capsules\":{\"default\":{\"concurrency\":5,\"mode\":"
          "\"weighted\",\"weights\":{\"default\":8,\"push\":6}},\"single\":{\"concurrency\":1,"
          "\"mode\":\"strict\",\"weights\":{\"scheduler\":0}}},\"version\":\"8.1.7\",\"embedded\":"
          "false}",
          "6", "6", "995", "false"},
         true,
         false,
         false,
         6,
         6,
         3,
         "w1"},
        {"stopped beating",
         {"{\"hostname\":\"w1\"}", "5", "1", "960", "false"},
         false,
         false,
         false,
         1,
         5,
         0,
         "w1"},
        {"gone", {NULL, NULL, NULL, NULL, NULL}, false, false, false, 0, 0, 0, "w1"},
        {"rubbish", {"[", "-5", "x", "y", "maybe"}, false, false, false, 0, 0, 0, "w1"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        SidekiqProcess p;
        sidekiq_process("w1:7:0123456789ab", rows[i].fields, 1000, &p);
        if (p.alive != rows[i].alive || p.quiet != rows[i].quiet ||
            p.embedded != rows[i].embedded || p.busy != rows[i].busy ||
            p.threads != rows[i].threads || p.queues.len != rows[i].queues ||
            !streq(p.host, rows[i].host))
            fail_msg("%s: alive %d quiet %d busy %d threads %d queues %zu host %s", rows[i].what,
                     p.alive, p.quiet, p.busy, p.threads, p.queues.len, p.host);
        sidekiq_process_clear(&p);
    }
}

static void test_minute(void **state)
{
    (void)state;
    /* 2026-11-29 09:05:59 UTC */
    _cleanup_free_ char *of_7 = sidekiq_minute_key(1795943159, false);
    _cleanup_free_ char *of_8 = sidekiq_minute_key(1795943159, true);
    assert_string_equal(of_7, "j|20261129|9:5");
    assert_string_equal(of_8, "j|261129|9:05");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_enqueued),
        cmocka_unit_test(test_class),
        cmocka_unit_test(test_process),
        cmocka_unit_test(test_minute),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
