#include "base/log.h"
#include "base/json.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <unistd.h>

static int real_stderr, file;

/* Standard error goes to a file from here on. */
static void catch_lines(void)
{
    assert_int_equal(ftruncate(file, 0), 0);
    (void)lseek(file, 0, SEEK_SET);
    assert_true(dup2(file, STDERR_FILENO) >= 0);
}

/* What was written since; standard error is the real one again. */
static const char *caught(void)
{
    static char text[4096];
    assert_true(dup2(real_stderr, STDERR_FILENO) >= 0);
    ssize_t n = pread(file, text, sizeof text - 1, 0);
    assert_true(n >= 0);
    text[n] = '\0';
    return text;
}

static int open_file(void **state)
{
    (void)state;
    real_stderr = dup(STDERR_FILENO);
    FILE *f = tmpfile();
    if (!f || real_stderr < 0)
        return -1;
    file = dup(fileno(f));
    return fclose(f) || file < 0 ? -1 : 0;
}

static int close_file(void **state)
{
    (void)state;
    return close(file) || close(real_stderr) ? -1 : 0;
}

static void levels(void **state)
{
    (void)state;
    log_init(NULL, LOG_LEVEL_WARN);
    assert_true(log_on(LOG_LEVEL_ERROR));
    assert_true(log_on(LOG_LEVEL_WARN));
    assert_false(log_on(LOG_LEVEL_INFO));
    catch_lines();
    log_error("one");
    log_warn("two %d", 2);
    log_info("three");
    log_debug("four");
    assert_string_equal(caught(), "one\ntwo 2\n");
    log_init(NULL, LOG_LEVEL_DEBUG);
    catch_lines();
    log_info("three");
    log_debug("four");
    assert_string_equal(caught(), "three\nfour\n");
}

static void debug_is_not_evaluated_when_off(void **state)
{
    (void)state;
    log_init(NULL, LOG_LEVEL_INFO);
    int calls = 0;
    log_debug("%d", ++calls);
    assert_int_equal(calls, 0);
}

static void a_daemon_says_when_and_who(void **state)
{
    (void)state;
    log_init("scale", LOG_LEVEL_INFO);
    catch_lines();
    log_info("first\nsecond");
    const char *line = caught();
    assert_int_equal(strlen(line), strlen("12:34:56 scale: first second\n"));
    assert_true(line[2] == ':' && line[5] == ':');
    assert_string_equal(line + 8, " scale: first second\n");
}

static void no_escape_sequence_passes(void **state)
{
    (void)state;
    log_init(NULL, LOG_LEVEL_INFO);
    catch_lines();
    log_info("%s", "a\x1b[31mb\tc\rd\ne \xc3\xa4");
    assert_string_equal(caught(), "a?[31mb\tc?d\ne \xc3\xa4\n");
}

static void errno_is_kept(void **state)
{
    (void)state;
    log_init(NULL, LOG_LEVEL_INFO);
    catch_lines();
    errno = ENOENT;
    log_error("opening: %m");
    int after = errno;
    assert_string_equal(caught(), "opening: No such file or directory\n");
    assert_int_equal(after, ENOENT);
}

static void objects_for_a_collector(void **state)
{
    static const struct {
        const char *text, *msg;
    } rows[] = {
        {"a \"word\"", "a \"word\""}, {"\xc3\xa4", "\xc3\xa4"}, {"a\xff", "a?"}, {"a\nb", "a b"}};
    int real_stdout = dup(STDOUT_FILENO);

    (void)state;
    log_init_pino("streaming", LOG_LEVEL_INFO);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        catch_lines();
        (void)fflush(stdout);
        assert_true(dup2(file, STDOUT_FILENO) >= 0);
        log_warn("%s", rows[i].text);
        log_debug("not this");
        assert_true(dup2(real_stdout, STDOUT_FILENO) >= 0);
        const char *line = caught();
        _cleanup_json_ json_t *o = json_parse_new(line, strlen(line), NULL);
        assert_string_equal(line + strlen(line) - 2, "}\n");
        assert_int_equal(json_int(o, "level", 0), 40);
        assert_string_equal(json_str(o, "name"), "streaming");
        assert_string_equal(json_str(o, "msg"), rows[i].msg);
        assert_true(json_int(o, "time", 0) > 1764000000000 && json_int(o, "pid", 0) == getpid());
        assert_non_null(json_str(o, "hostname"));
    }
    assert_int_equal(close(real_stdout), 0);
    log_init(NULL, LOG_LEVEL_INFO);
}

static void an_error_with_all_it_has(void **state)
{
    (void)state;
    log_init(NULL, LOG_LEVEL_ERROR);
    _cleanup_(err_clear) Err err = {0};
    (void)err_set(&err, ERR_QUOTA, "no cores left");
    catch_lines();
    log_err(&err);
    assert_string_equal(caught(), "error: no cores left\n");
    (void)err_hint(&err, "ask for more");
    err_request_id(&err, "req-1");
    catch_lines();
    log_err(&err);
    assert_string_equal(caught(), "error: no cores left\nhint: ask for more\nrequest: req-1\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(levels),
        cmocka_unit_test(debug_is_not_evaluated_when_off),
        cmocka_unit_test(a_daemon_says_when_and_who),
        cmocka_unit_test(no_escape_sequence_passes),
        cmocka_unit_test(errno_is_kept),
        cmocka_unit_test(objects_for_a_collector),
        cmocka_unit_test(an_error_with_all_it_has),
    };
    return cmocka_run_group_tests(tests, open_file, close_file);
}
