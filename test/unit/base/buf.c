#include "base/buf.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "freed.h"

#include <errno.h>

static void str_splits(void **state)
{
    (void)state;
    static const struct {
        const char *text, *joined; /* the parts, each followed by '|' */
    } rows[] = {
        {"a,,b", "a||b|"}, {"", "|"}, {",", "||"}, {"a", "a|"}, {"a,", "a||"}, {",a", "|a|"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_(buf_clear) Buf joined = BUF_INIT(100);
        Str rest = str_of(rows[i].text), part;
        while (str_next(&rest, ',', &part)) {
            buf_add(&joined, part.p, part.n);
            buf_char(&joined, '|');
        }
        assert_null(rest.p);
        assert_string_equal(joined.p, rows[i].joined);
    }
}

static void str_compares_and_trims(void **state)
{
    (void)state;
    assert_true(str_eq(str_of("ab"), STR_LIT("ab")));
    assert_false(str_eq(str_of("ab"), str_of("abc")));
    assert_false(str_eq(str_of("ab"), str_of("ac")));
    assert_true(str_eq((Str){0}, str_of(NULL)));
    assert_true(str_eq(str_trim(str_of(" \t a b\r\n")), str_of("a b")));
    assert_int_equal(str_trim(str_of("  \n")).n, 0);
    assert_int_equal(str_trim(str_of("")).n, 0);
}

static void grows_and_is_terminated(void **state)
{
    (void)state;
    _cleanup_(buf_clear) Buf b = BUF_INIT(SIZE_MAX);
    assert_string_equal(b.p, "");
    buf_str(&b, NULL);
    buf_add(&b, NULL, 0);
    assert_int_equal(b.cap, 0);
    for (int i = 0; i < 30000; i++) {
        buf_char(&b, 'x');
        buf_printf(&b, "%05d", i);
    }
    assert_int_equal(b.len, 180000);
    assert_int_equal(strlen(b.p), 180000);
    assert_memory_equal(b.p + b.len - 12, "x29998x29999", 12);
    assert_false(b.overflow);
    assert_int_equal(buf_as_str(&b).n, b.len);
}

static void the_cap_holds(void **state)
{
    (void)state;
    _cleanup_(buf_clear) Buf b = BUF_INIT(5);
    buf_str(&b, "abc");
    buf_str(&b, "de");
    assert_false(b.overflow);
    assert_string_equal(b.p, "abcde");
    buf_char(&b, 'f');
    assert_true(b.overflow);
    assert_string_equal(b.p, "abcde");

    /* What a Buf holds is a beginning of what was added: nothing small slips in after a gap. */
    _cleanup_(buf_clear) Buf c = BUF_INIT(5);
    buf_str(&c, "abc");
    buf_printf(&c, "%s", "def");
    buf_char(&c, 'g');
    buf_printf(&c, "%d", 1);
    assert_true(c.overflow);
    assert_string_equal(c.p, "abc");
    buf_truncate(&c, 1);
    assert_true(c.overflow);
    assert_string_equal(c.p, "a");
    buf_truncate(&c, 0);
    buf_printf(&c, "%s", "12345");
    assert_false(c.overflow);
    assert_string_equal(c.p, "12345");
    buf_clear(&c);
    assert_string_equal(c.p, "");
    buf_printf(&c, "%s", "123456");
    assert_true(c.overflow);
    assert_string_equal(c.p, "");
}

static void printf_keeps_errno(void **state)
{
    (void)state;
    _cleanup_(buf_clear) Buf b = BUF_INIT(1000);
    errno = ENOENT;
    buf_printf(&b, "%m");
    assert_string_equal(b.p, "No such file or directory");
    buf_truncate(&b, 2);
    errno = ENOENT;
    buf_printf(&b, ": %m");
    assert_string_equal(b.p, "No: No such file or directory");
    buf_printf(&b, "%s", "");
    assert_int_equal(b.len, 29);
}

static void room_is_written_to_at_once(void **state)
{
    (void)state;
    _cleanup_(buf_clear) Buf b = BUF_INIT(10);

    buf_str(&b, "ab");
    char *room = buf_room(&b, 8);
    assert_non_null(room);
    memcpy(room, "cdefghij", 8);
    buf_grow(&b, 3);
    assert_string_equal(b.p, "abcde");
    assert_int_equal(b.len, 5);
    assert_null(buf_room(&b, 6));
    assert_true(b.overflow);
    assert_string_equal(b.p, "abcde");
}

static void cut_keeps_what_is_behind(void **state)
{
    (void)state;
    _cleanup_(buf_clear) Buf b = BUF_INIT(1000);
    buf_cut(&b, 0);
    assert_string_equal(b.p, "");
    buf_str(&b, "abcdef");
    buf_cut(&b, 2);
    assert_string_equal(b.p, "cdef");
    buf_cut(&b, 4);
    assert_int_equal(b.len, 0);
    assert_string_equal(b.p, "");
}

static void detach_leaves_an_empty_one(void **state)
{
    (void)state;
    _cleanup_(buf_clear) Buf b = BUF_INIT(10);
    _cleanup_free_ char *empty = buf_detach(&b);
    assert_string_equal(empty, "");
    buf_str(&b, "abc");
    _cleanup_free_ char *text = buf_detach(&b);
    assert_string_equal(text, "abc");
    assert_string_equal(b.p, "");
    assert_int_equal(b.len, 0);
    buf_str(&b, "0123456789");
    assert_false(b.overflow);
}

static void wipe_overwrites(void **state)
{
    (void)state;
    _cleanup_(buf_wipe) Buf b = BUF_INIT(10);
    buf_wipe(&b);
    buf_str(&b, "secret");
    buf_wipe(&b);
    assert_string_equal(b.p, "");
    buf_str(&b, "again");
    assert_string_equal(b.p, "again");

    char bytes[1000];
    memset(bytes, 'S', sizeof bytes);
    Buf grown = BUF_INIT(100000);
    freed_mark = 'S';
    for (int i = 0; i < 50; i++)
        buf_add(&grown, bytes, sizeof bytes);
    buf_wipe(&grown);
    freed_mark = 0;
    assert_int_equal(freed_unwiped, 0);

    bytes[sizeof bytes - 1] = '\0';
    StrList list = {0};
    for (int i = 0; i < 50; i++)
        strlist_add(&list, bytes);
    freed_mark = 'S';
    strlist_wipe(&list);
    freed_mark = 0;
    assert_int_equal(freed_unwiped, 0);
    assert_int_equal(list.len, 0);
    strlist_wipe(&list);

    Buf zeroed = {0}; /* as a part of a struct that was never filled */
    buf_clear(&zeroed);
    buf_wipe(&zeroed);
    assert_string_equal(zeroed.p, "");
}

static void url_quoting(void **state)
{
    (void)state;
    static const struct {
        const char *text, *keep, *quoted;
    } rows[] = {
        {"a-Z_0.9~", NULL, "a-Z_0.9~"},
        {"a b/c", NULL, "a%20b%2Fc"},
        {"a b/c", "/", "a%20b/c"},
        {"\xc3\xa4%+&", "", "%C3%A4%25%2B%26"},
        {"", NULL, ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_(buf_clear) Buf b = BUF_INIT(100), back = BUF_INIT(100);
        buf_url_quote(&b, rows[i].text, rows[i].keep);
        assert_string_equal(b.p, rows[i].quoted);
        assert_true(buf_url_unquote(&back, buf_as_str(&b)));
        assert_string_equal(back.p, rows[i].text);
    }
}

static void url_unquoting(void **state)
{
    (void)state;
    static const char *const bad[] = {"%", "a%", "%1", "%g0", "%0g", "%%41", "%-1"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        _cleanup_(buf_clear) Buf b = BUF_INIT(100);
        assert_false(buf_url_unquote(&b, str_of(bad[i])));
    }
    _cleanup_(buf_clear) Buf b = BUF_INIT(100);
    assert_true(buf_url_unquote(&b, str_of("a%00%c3%A4+")));
    assert_int_equal(b.len, 5);
    assert_memory_equal(b.p, "a\0\xc3\xa4+", 5);
}

static void shell_quoting(void **state)
{
    (void)state;
    static const char *const words[] = {
        "", "plain", "two words", "it's", "''", "$HOME `id` \\ \"x\"", "a\nb"};
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        _cleanup_(buf_clear) Buf command = BUF_INIT(1000);
        buf_str(&command, "printf %s ");
        buf_shell_quote(&command, words[i]);
        FILE *shell = popen(command.p, "r");
        assert_non_null(shell);
        char said[100];
        size_t n = fread(said, 1, sizeof said - 1, shell);
        said[n] = '\0';
        assert_int_equal(pclose(shell), 0);
        assert_string_equal(said, words[i]);
    }
}

static void lists(void **state)
{
    (void)state;
    _cleanup_(strlist_clear) StrList l = {0};
    assert_false(strlist_has(&l, "a"));
    for (int i = 0; i < 100; i++) {
        if (i % 2)
            strlist_addf(&l, "item %d", i);
        else
            strlist_add(&l, "even");
        assert_null(l.items[l.len]);
    }
    assert_int_equal(l.len, 100);
    assert_string_equal(l.items[99], "item 99");
    assert_true(strlist_has(&l, "item 51"));
    assert_false(strlist_has(&l, "item 52"));
    strlist_clear(&l);
    assert_null(l.items);
    strlist_add(&l, "again");
    assert_int_equal(l.len, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(str_splits),
        cmocka_unit_test(str_compares_and_trims),
        cmocka_unit_test(grows_and_is_terminated),
        cmocka_unit_test(the_cap_holds),
        cmocka_unit_test(printf_keeps_errno),
        cmocka_unit_test(room_is_written_to_at_once),
        cmocka_unit_test(cut_keeps_what_is_behind),
        cmocka_unit_test(detach_leaves_an_empty_one),
        cmocka_unit_test(wipe_overwrites),
        cmocka_unit_test(url_quoting),
        cmocka_unit_test(url_unquoting),
        cmocka_unit_test(shell_quoting),
        cmocka_unit_test(lists),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
