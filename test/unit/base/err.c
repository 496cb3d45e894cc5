#include "base/err.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>

static void set_once(void **state)
{
    (void)state;
    _cleanup_(err_clear) Err err = {0};
    errno = ENOENT;
    assert_int_equal(err_set(&err, ERR_IO, "cannot open %s: %m", "key"), -ERR_IO);
    assert_int_equal(err.kind, ERR_IO);
    assert_string_equal(err.text, "cannot open key: No such file or directory");
    assert_null(err.hint);
    err_request_id(&err, "req-1");
    assert_int_equal(err_hint(&err, "look"), -ERR_IO);
    /* Setting again drops what was there, also when the words are built from it. */
    assert_int_equal(err_set(&err, ERR_CORRUPT, "<%s>", err.text), -ERR_CORRUPT);
    assert_string_equal(err.text, "<cannot open key: No such file or directory>");
    assert_null(err.hint);
    assert_null(err.request_id);
}

static void wrapping_keeps_the_rest(void **state)
{
    (void)state;
    _cleanup_(err_clear) Err err = {0};
    (void)err_set(&err, ERR_QUOTA, "no cores left");
    err_request_id(&err, "req-1");
    assert_int_equal(err_hint(&err, "ask for %d", 4), -ERR_QUOTA);
    assert_int_equal(err_hint(&err, "another"), -ERR_QUOTA);
    assert_int_equal(err_wrap(&err, "creating %s", "reef-web-0"), -ERR_QUOTA);
    assert_int_equal(err_wrap(&err, "apply"), -ERR_QUOTA);
    assert_string_equal(err.text, "apply: creating reef-web-0: no cores left");
    assert_string_equal(err.hint, "ask for 4");
    assert_string_equal(err.request_id, "req-1");
    err_request_id(&err, "req-2");
    assert_string_equal(err.request_id, "req-2");
    err_request_id(&err, NULL);
    assert_null(err.request_id);
}

static void without_words(void **state)
{
    (void)state;
    assert_int_equal(err_set(NULL, ERR_DENIED, "x"), -ERR_DENIED);
    assert_int_equal(err_wrap(NULL, "y"), -ERR_DENIED);
    assert_int_equal(err_hint(NULL, "z"), -ERR_DENIED);
    err_request_id(NULL, "req");
    err_clear(NULL);
}

static void a_failure_never_becomes_success(void **state)
{
    (void)state;
    _cleanup_(err_clear) Err wrapped = {0}, hinted = {0};
    assert_int_equal(err_wrap(&wrapped, "around"), -ERR_BUG);
    assert_string_equal(wrapped.text, "around: no reason was given");
    assert_int_equal(err_hint(&hinted, "hint"), -ERR_BUG);
    assert_string_equal(hinted.hint, "hint");
}

static void moving(void **state)
{
    (void)state;
    _cleanup_(err_clear) Err from = {0}, to = {0};
    (void)err_set(&from, ERR_HELD, "held");
    (void)err_set(&to, ERR_BUG, "old");
    assert_int_equal(err_move(&to, &from), -ERR_HELD);
    assert_string_equal(to.text, "held");
    assert_int_equal(from.kind, ERR_NONE);
    assert_null(from.text);
    assert_int_equal(err_move(&to, &to), -ERR_HELD);
    assert_string_equal(to.text, "held");
    assert_int_equal(err_move(NULL, &to), -ERR_HELD);
    assert_null(to.text);
    assert_int_equal(err_wrap(NULL, "x"), -ERR_HELD);
    (void)err_set(&to, ERR_BUG, "old");
    assert_int_equal(err_move(&to, &from), 0);
    assert_int_equal(to.kind, ERR_NONE);
}

static void exit_codes(void **state)
{
    (void)state;
    static const struct {
        ErrKind kind;
        int code;
    } rows[] = {
        {ERR_NONE, 0},      {ERR_USAGE, 64},    {ERR_CONFIG, 1},   {ERR_AUTH, 6},
        {ERR_DENIED, 6},    {ERR_NOT_FOUND, 1}, {ERR_CONFLICT, 1}, {ERR_QUOTA, 8},
        {ERR_TEMPORARY, 1}, {ERR_CORRUPT, 1},   {ERR_IO, 1},       {ERR_INTERRUPTED, 130},
        {ERR_BUG, 1},       {ERR_PARTIAL, 3},   {ERR_HELD, 4},     {ERR_CHANGED, 5},
        {ERR_AMBIGUOUS, 7}, {ERR_PREFLIGHT, 8}, {ERR_HEALTH, 9},
    };
    assert_int_equal(ARRAY_LEN(rows), ERR_KINDS);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_int_equal(rows[i].kind, i);
        assert_int_equal(err_exit_code(-(int)rows[i].kind), rows[i].code);
        const ErrRow *row = err_row(rows[i].kind);
        assert_int_equal(row->exit_code, rows[i].code);
        assert_int_equal(row->retry, rows[i].kind == ERR_TEMPORARY);
        assert_true(row->name[0] && row->sentence[strlen(row->sentence) - 1] == '.');
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(row->name, err_row((ErrKind)k)->name);
    }
    assert_int_equal(err_exit_code(3), 0);
    assert_int_equal(err_exit_code(-ERR_KINDS), 1);
    assert_int_equal(err_exit_code(INT32_MIN), 1);
    assert_ptr_equal(err_row(ERR_KINDS), err_row(ERR_BUG));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(set_once),      cmocka_unit_test(wrapping_keeps_the_rest),
        cmocka_unit_test(without_words), cmocka_unit_test(a_failure_never_becomes_success),
        cmocka_unit_test(moving),        cmocka_unit_test(exit_codes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
