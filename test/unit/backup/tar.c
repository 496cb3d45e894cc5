#include "backup/tar.h"

#include <setjmp.h>
#include <stdio.h>

#include <cmocka.h>

/* A field's bytes; most have no end. */
static void put(char *header, size_t at, const char *bytes, size_t n)
{
    memcpy(header + at, bytes, n);
}

/* A header as tarCreateHeader of PostgreSQL's src/port/tar.c writes it. */
static void header(Buf *b, const char *name, char type, int64_t size)
{
    char h[TAR_BLOCK] = {0};
    int sum = 0;

    put(h, 0, name, strlen(name));
    put(h, 100, "0000600 ", 8);
    put(h, 108, "0000000 ", 8);
    put(h, 116, "0000000 ", 8);
    if (size < (1LL << 33)) {
        char digits[32];
        snprintf(digits, sizeof digits, "%011llo ", (unsigned long long)size);
        put(h, 124, digits, 12);
    } else {
        h[124] = (char)0x80;
        for (int i = 0; i < 8; i++)
            h[135 - i] = (char)(size >> 8 * i);
    }
    put(h, 136, "14722633153 ", 12);
    h[156] = type;
    if (type == '2')
        put(h, 157, "/srv/space", 10);
    put(h, 257, "ustar\00000", 8);
    for (size_t i = 0; i < TAR_BLOCK; i++)
        sum += i >= 148 && i < 156 ? ' ' : (unsigned char)h[i];
    char octal[16];
    snprintf(octal, sizeof octal, "%06o", (unsigned)sum);
    put(h, 148, octal, 7);
    h[155] = ' ';
    buf_add(b, h, sizeof h);
}

static void content(Buf *b, const char *text)
{
    buf_str(b, text);
    while (b->len % TAR_BLOCK)
        buf_char(b, '\0');
}

static void sample(Buf *b)
{
    static const char zeros[2 * TAR_BLOCK] = {0};

    header(b, "backup_label", '0', 5);
    content(b, "label");
    header(b, "./base/", '5', 0);
    header(b, "base/empty", '0', 0);
    header(b, "pg_tblspc/16400", '2', 0);
    header(b, "global/pg_control", '0', 512);
    for (int i = 0; i < 128; i++)
        buf_str(b, "four");
    buf_add(b, zeros, sizeof zeros);
}

/* All events as text, fed `step` bytes at a time. */
static int events(Str all, size_t step, Buf *out, Err *err)
{
    Tar t = {0};
    int r = 0;

    while (r == 0 && all.n > 0) {
        Str in = {all.p, MIN(step, all.n)}, data;
        TarEvent e = TAR_DATA;
        all.p += in.n;
        all.n -= in.n;
        while (r == 0 && e != TAR_MORE) {
            r = tar_next(&t, &in, &e, &data, err);
            if (r < 0)
                break;
            if (e == TAR_ENTRY)
                buf_printf(out, "%d %s %s %o %lld %lld:", (int)t.entry.kind, t.entry.path,
                           t.entry.target, t.entry.mode, (long long)t.entry.size,
                           (long long)t.entry.mtime);
            else if (e == TAR_DATA)
                buf_add(out, data.p, data.n);
            else if (e == TAR_DONE)
                buf_char(out, '\n');
            else if (e == TAR_END)
                buf_str(out, "end");
        }
    }
    return r < 0 ? r : tar_finish(&t, err);
}

static void test_any_pieces(void **state)
{
    (void)state;
    _cleanup_(buf_clear) Buf b = BUF_INIT(BUF_MAX_LINE);
    _cleanup_(buf_clear) Buf first = BUF_INIT(BUF_MAX_LINE);
    _cleanup_(err_clear) Err err = {0};

    sample(&b);
    assert_int_equal(events(buf_as_str(&b), b.len, &first, &err), 0);
    assert_true(starts_with(first.p, "0 backup_label  600 5 1732982379:label\n1 base  600 0 "));
    assert_non_null(strstr(first.p, "\n2 pg_tblspc/16400 /srv/space 600 0 1732982379:\n"));
    assert_true(ends_with(first.p, "four\nend"));
    for (size_t step = 1; step < 1030; step += 7) {
        _cleanup_(buf_clear) Buf out = BUF_INIT(BUF_MAX_LINE);
        assert_int_equal(events(buf_as_str(&b), step, &out, &err), 0);
        assert_string_equal(out.p, first.p);
    }
}

static void test_no_end_blocks(void **state)
{
    (void)state;
    _cleanup_(buf_clear) Buf b = BUF_INIT(BUF_MAX_LINE);
    _cleanup_(buf_clear) Buf out = BUF_INIT(BUF_MAX_LINE);
    _cleanup_(err_clear) Err err = {0};

    header(&b, "PG_VERSION", '0', 3);
    content(&b, "13\n");
    assert_int_equal(events(buf_as_str(&b), 100, &out, &err), 0);
    assert_true(ends_with(out.p, ":13\n\n"));
    /* Cut short anywhere else it is an error. */
    for (size_t n = 1; n < b.len; n++)
        assert_int_equal(events((Str){b.p, n}, n, &out, &err), -ERR_CORRUPT);
}

static void test_large(void **state)
{
    (void)state;
    _cleanup_(buf_clear) Buf b = BUF_INIT(BUF_MAX_LINE);
    _cleanup_(err_clear) Err err = {0};
    Tar t = {0};
    TarEvent e;
    Str data;

    header(&b, "base/5/1", '0', (1LL << 40) + 1);
    Str in = buf_as_str(&b);
    assert_int_equal(tar_next(&t, &in, &e, &data, &err), 0);
    assert_int_equal(e, TAR_ENTRY);
    assert_true(t.entry.size == (1LL << 40) + 1);
    assert_int_equal(t.padding, 511);
}

static void test_bad(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        char type;
    } table[] = {{"/etc/passwd", '0'}, {"base/../../x", '0'}, {"..", '5'},      {"", '0'},
                 {"a//b", '0'},        {"a/./b", '0'},        {"a\nb", '0'},    {"a", '1'},
                 {"fifo", '6'},        {"long", 'L'},         {"base/..", '5'}, {"/", '5'}};

    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        _cleanup_(buf_clear) Buf b = BUF_INIT(BUF_MAX_LINE);
        _cleanup_(buf_clear) Buf out = BUF_INIT(BUF_MAX_LINE);
        _cleanup_(err_clear) Err err = {0};
        header(&b, table[i].name, table[i].type, 0);
        assert_int_equal(events(buf_as_str(&b), b.len, &out, &err), -ERR_CORRUPT);
        assert_int_equal(out.len, 0);
    }
}

/* A header of which any one bit is another is refused, or tells the same. */
static void test_bits(void **state)
{
    (void)state;
    _cleanup_(buf_clear) Buf b = BUF_INIT(BUF_MAX_LINE);
    _cleanup_(err_clear) Err err = {0};

    header(&b, "base/5/1259", '0', 0);
    _cleanup_(buf_clear) Buf right = BUF_INIT(BUF_MAX_LINE);
    assert_int_equal(events(buf_as_str(&b), b.len, &right, &err), 0);
    for (size_t bit = 0; bit < 8 * TAR_BLOCK; bit++) {
        _cleanup_(buf_clear) Buf out = BUF_INIT(BUF_MAX_LINE);
        b.p[bit / 8] = (char)(b.p[bit / 8] ^ (1 << bit % 8));
        int r = events(buf_as_str(&b), b.len, &out, &err);
        b.p[bit / 8] = (char)(b.p[bit / 8] ^ (1 << bit % 8));
        if (r == 0)
            assert_string_equal(out.p, right.p);
        else
            assert_int_equal(r, -ERR_CORRUPT);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_any_pieces), cmocka_unit_test(test_no_end_blocks),
        cmocka_unit_test(test_large),      cmocka_unit_test(test_bad),
        cmocka_unit_test(test_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
