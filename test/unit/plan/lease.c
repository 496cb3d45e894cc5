/* The lease's words, and who holds it. */
#include "plan/lease_text.h"
#include <setjmp.h>
#include <unistd.h>

#include <sys/wait.h>

#include <cmocka.h>

static json_t *group_new(const char *id, const char *description, const char *created)
{
    return json_make_new("{s:s, s:s, s:s}", "id", id, "description", description, "created_at",
                         created);
}

static void round_trip(void **state)
{
    _cleanup_free_ char *text =
        lease_text_new("reef", "jo smith run=evil@laptop", "m:1:2:abc", 1764000000000);
    _cleanup_json_ json_t *groups = json_array();
    _cleanup_(lease_texts_clear) LeaseTexts l = {0};

    (void)state;
    assert_string_equal(text, "atoll-lease:reef holder=jo_smith_run_evil@laptop run=m:1:2:abc "
                              "until=2025-11-24T16:00:00Z");
    json_array_append_new(groups, group_new("a", text, "2025-11-24T15:58:00Z"));
    /* Of another island, somebody's own group of that name, a spoilt one. */
    json_array_append_new(groups, group_new("b", "atoll-lease:reef-2 holder=x run=y until=z", ""));
    json_array_append_new(groups, group_new("c", "my lease", ""));
    json_array_append_new(groups, group_new("d", "atoll-lease:reef holder=jo", "yesterday"));
    lease_read(groups, "reef", &l);
    assert_int_equal(l.len, 2);
    assert_string_equal(l.items[0].id, "a");
    assert_string_equal(l.items[0].holder, "jo_smith_run_evil@laptop");
    assert_string_equal(l.items[0].run, "m:1:2:abc");
    assert_int_equal(l.items[0].until, 1764000000000);
    assert_int_equal(l.items[0].created_at, 1763999880000);
    assert_int_equal(l.items[1].until, 0);
    assert_int_equal(l.items[1].created_at, 0);
}

static void who_lives(void **state)
{
    _cleanup_free_ char *own = lease_run_new("n"), *child = NULL;
    int fds[2];
    pid_t pid;
    char text[256] = "";

    (void)state;
    assert_true(lease_run_lives(own));
    /* A process of this machine that is gone. */
    assert_int_equal(pipe(fds), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        _cleanup_free_ char *run = lease_run_new("n");

        _exit(write(fds[1], run, strlen(run)) > 0 ? 0 : 1);
    }
    assert_true(read(fds[0], text, sizeof text - 1) > 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    close(fds[0]);
    close(fds[1]);
    assert_false(lease_run_lives(text));
    /* The same pid that began at another time is another process. */
    child = xstrdup(own);
    *strrchr(child, ':') = '\0';
    *strrchr(child, ':') = '\0';
    assert_true(snprintf(text, sizeof text, "%s:1:n", child) > 0);
    assert_false(lease_run_lives(text));
    /* Of other machines nothing is known. */
    assert_true(lease_run_lives("0123456789abcdef:1:1:n"));
    assert_true(lease_run_lives("rubbish"));
    assert_true(lease_run_lives(""));
}

#define AT(s) ((Msec)(s)*SECOND)
#define LIVE AT(1000)

static const struct {
    struct {
        const char *id;
        Msec created_at, until;
    } there[4];
    const char *own;
    LeaseElection expected;
    const char *other;
} elections[] = {
    {{{"a", AT(10), LIVE}}, "a", LEASE_WON, NULL},
    /* The older holds. */
    {{{"a", AT(10), LIVE}, {"b", AT(9), LIVE}}, "a", LEASE_LOST, "b"},
    {{{"a", AT(10), LIVE}, {"b", AT(9), LIVE}}, "b", LEASE_WON, NULL},
    /* An expired one holds nothing. */
    {{{"a", AT(10), LIVE}, {"b", AT(9), AT(1)}}, "a", LEASE_WON, NULL},
    /* In one second: the lower id stays to look again, the other goes. */
    {{{"a", AT(10), LIVE}, {"b", AT(10) + 999, LIVE}}, "a", LEASE_TIE, "b"},
    {{{"a", AT(10), LIVE}, {"b", AT(10) + 999, LIVE}}, "b", LEASE_LOST, "a"},
    {{{"a", AT(10), LIVE}, {"b", AT(11), LIVE}, {"c", AT(12), LIVE}}, "a", LEASE_WON, NULL},
    /* Ours is gone. */
    {{{"b", AT(11), LIVE}}, "a", LEASE_LOST, "b"},
    {{{NULL, 0, 0}}, "a", LEASE_LOST, NULL},
};

static void election(void **state)
{
    (void)state;
    for (size_t k = 0; k < ARRAY_LEN(elections); k++) {
        _cleanup_(lease_texts_clear) LeaseTexts l = {0};
        const LeaseText *other = NULL;

        for (size_t i = 0; i < 4 && elections[k].there[i].id; i++)
            vec_push(&l, (LeaseText){.id = xstrdup(elections[k].there[i].id),
                                     .created_at = elections[k].there[i].created_at,
                                     .until = elections[k].there[i].until});
        assert_int_equal(lease_elect(&l, elections[k].own, AT(100), &other), elections[k].expected);
        assert_true(streq(other ? other->id : NULL, elections[k].other));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),
        cmocka_unit_test(who_lives),
        cmocka_unit_test(election),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
