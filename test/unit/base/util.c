#include "base/util.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static void strings_compare(void **state)
{
    (void)state;
    assert_true(streq("a", "a"));
    assert_false(streq("a", "b"));
    assert_false(streq("a", NULL));
    assert_false(streq(NULL, ""));
    assert_true(streq(NULL, NULL));
    assert_true(starts_with("server", "ser"));
    assert_true(starts_with("server", ""));
    assert_false(starts_with("se", "ser"));
    assert_false(starts_with(NULL, "ser"));
    assert_true(ends_with("server", "ver"));
    assert_true(ends_with("ver", "ver"));
    assert_false(ends_with("er", "ver"));
    assert_false(ends_with("server", NULL));
}

static void whole_numbers_only(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t min, max;
        bool good;
        int64_t value;
    } rows[] = {
        {"0", 0, 9, true, 0},
        {"9", 0, 9, true, 9},
        {"10", 0, 9, false, 0},
        {"-1", 0, 9, false, 0},
        {"-1", -1, 9, true, -1},
        {"007", 0, 9, true, 7},
        {"9223372036854775807", 0, INT64_MAX, true, INT64_MAX},
        {"9223372036854775808", 0, INT64_MAX, false, 0},
        {"-9223372036854775808", INT64_MIN, 0, true, INT64_MIN},
        {"-9223372036854775809", INT64_MIN, 0, false, 0},
        {"", 0, 9, false, 0},
        {"-", -9, 9, false, 0},
        {"+1", 0, 9, false, 0},
        {" 1", 0, 9, false, 0},
        {"- 1", -9, 9, false, 0},
        {"1 ", 0, 9, false, 0},
        {"1a", 0, 9, false, 0},
        {"0x1", 0, 9, false, 0},
        {"1.0", 0, 9, false, 0},
        {NULL, 0, 9, false, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int64_t value = 4711;
        assert_int_equal(parse_int(rows[i].text, rows[i].min, rows[i].max, &value), rows[i].good);
        assert_int_equal(value, rows[i].good ? rows[i].value : 4711);
    }
}

static void memory_is_never_null(void **state)
{
    (void)state;
    _cleanup_free_ void *nothing = xcalloc(0, 0);
    assert_non_null(nothing);
    _cleanup_free_ int64_t *numbers = xcalloc(3, sizeof *numbers);
    assert_int_equal(numbers[2], 0);
    numbers = xrealloc(numbers, 100, sizeof *numbers);
    numbers[99] = 1;
    numbers = xrealloc(numbers, 0, sizeof *numbers);
    assert_non_null(numbers);
    _cleanup_free_ char *a = xstrdup("island"), *b = xstrndup("island", 2),
                        *c = xstrndup("island", 100), *d = xasprintf("%s-%d", "reef", 7);
    assert_string_equal(a, "island");
    assert_string_equal(b, "is");
    assert_string_equal(c, "island");
    assert_string_equal(d, "reef-7");
}

static void take_leaves_null(void **state)
{
    (void)state;
    char *p = xstrdup("x");
    char *q = TAKE(p);
    assert_null(p);
    assert_string_equal(q, "x");
    free(q);
}

/* How `f` ends in a process of its own, and what it says on standard error. */
static int status_of(void (*f)(void), char *said, size_t size)
{
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct rlimit none = {0};
        (void)setrlimit(RLIMIT_CORE, &none);
        (void)signal(SIGABRT, SIG_DFL);
        (void)dup2(fds[1], STDERR_FILENO);
        f();
        _exit(0);
    }
    (void)close(fds[1]);
    size_t len = 0;
    ssize_t n;
    while (len + 1 < size && (n = read(fds[0], said + len, size - 1 - len)) > 0)
        len += (size_t)n;
    said[len] = '\0';
    (void)close(fds[0]);
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void too_much(void)
{
    (void)xrealloc(NULL, SIZE_MAX / 2, 3);
}

static void our_bug(void)
{
    BUG_IF(1 + 1 == 2);
}

static void bugs_and_no_memory_abort(void **state)
{
    (void)state;
    static const struct {
        void (*f)(void);
        const char *says;
    } rows[] = {{too_much, "out of memory"}, {our_bug, "bug of ours: 1 + 1 == 2"}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char said[512];
        int status = status_of(rows[i].f, said, sizeof said);
        assert_true(WIFSIGNALED(status));
        assert_int_equal(WTERMSIG(status), SIGABRT);
        assert_non_null(strstr(said, rows[i].says));
    }
}

static void nearest_word(void **state)
{
    (void)state;
    static const char *const list[] = {"apply", "destroy", "plan", "status",
                                       "lock",  "unlock",  "ms",   NULL};
    static const struct {
        const char *word, *nearest;
    } rows[] = {
        {"aply", "apply"},      {"appyl", "apply"}, {"APPLY", "apply"},  {"pln", "plan"},
        {"stauts", "status"},   {"locks", "lock"},  {"unlok", "unlock"}, {"dstory", "destroy"},
        {"distroi", "destroy"}, {"xyzzy", NULL},    {"", NULL},          {"zz", NULL},
        {"apply", "apply"},     {"q", NULL},        {NULL, NULL},        {"applications", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const char *nearest = util_nearest(rows[i].word, list);
        assert_true(streq(nearest, rows[i].nearest));
    }
    static const char *const none[] = {NULL};
    assert_null(util_nearest("apply", none));
    char longer[4096];
    memset(longer, 'a', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    assert_null(util_nearest(longer, list));
    const char *const long_list[] = {longer, NULL};
    assert_null(util_nearest("aaa", long_list));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strings_compare),          cmocka_unit_test(whole_numbers_only),
        cmocka_unit_test(memory_is_never_null),     cmocka_unit_test(take_leaves_null),
        cmocka_unit_test(bugs_and_no_memory_abort), cmocka_unit_test(nearest_word),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
