#include "stream/ws.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* A client's frame: masked. */
static void add_frame(Buf *b, int first, size_t n, const char *data)
{
    static const char key[4] = {0x12, 0x34, 0x56, 0x78};

    buf_char(b, (char)first);
    if (n < 126) {
        buf_char(b, (char)(0x80 | n));
    } else {
        buf_char(b, (char)(0x80 | 126));
        buf_char(b, (char)(n >> 8));
        buf_char(b, (char)n);
    }
    buf_add(b, key, 4);
    for (size_t i = 0; i < n; i++)
        buf_char(b, (char)(data[i] ^ key[i % 4]));
}

static const struct {
    const char *bytes;
    size_t n;
    int kind, code;
} wrong[] = {
    {"\x81\x01x", 3, WS_ERROR, WS_CLOSE_PROTOCOL},             /* not masked */
    {"\xc1\x81", 2, WS_ERROR, WS_CLOSE_PROTOCOL},              /* a reserved bit */
    {"\x83\x80", 2, WS_ERROR, WS_CLOSE_PROTOCOL},              /* a reserved opcode */
    {"\x8b\x80", 2, WS_ERROR, WS_CLOSE_PROTOCOL},              /* the same, control */
    {"\x09\x80", 2, WS_ERROR, WS_CLOSE_PROTOCOL},              /* a ping in parts */
    {"\x89\xfe", 2, WS_ERROR, WS_CLOSE_PROTOCOL},              /* a long ping */
    {"\x80\x80", 2, WS_ERROR, WS_CLOSE_PROTOCOL},              /* nothing to go on with */
    {"\x81\xff\0\0\0\1\0\0\0\0", 10, WS_ERROR, WS_CLOSE_SIZE}, /* 4 GB */
    {"\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff", 10, WS_ERROR, WS_CLOSE_SIZE},
    {"\x81\x82\0\0\0\0\xc3\x28", 8, WS_ERROR, WS_CLOSE_DATA},     /* not UTF-8 */
    {"\x88\x81\0\0\0\0x", 7, WS_ERROR, WS_CLOSE_PROTOCOL},        /* half a code */
    {"\x88\x82\0\0\0\0\x03\xed", 8, WS_ERROR, WS_CLOSE_PROTOCOL}, /* 1005 */
    {"\x88\x82\0\0\0\0\x07\xd0", 8, WS_ERROR, WS_CLOSE_PROTOCOL}, /* 2000 */
    {"\x88\x83\0\0\0\0\x03\xe8\xff", 9, WS_ERROR, WS_CLOSE_DATA},
    {"\x88\x80\0\0\0\0", 6, WS_CLOSE, WS_CLOSE_NONE},
    {"\x88\x82\0\0\0\0\x03\xe9", 8, WS_CLOSE, WS_CLOSE_AWAY},
    {"\x82\x81\0\0\0\0x", 7, WS_BINARY, 0},
    {"\x8a\x80\0\0\0\0", 6, WS_PONG, 0},
};

static void test_single_frames(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        char bytes[16];
        WsReader r = {0};
        WsEvent e;
        memcpy(bytes, wrong[i].bytes, wrong[i].n);
        ws_read(&r, bytes, wrong[i].n, 4096, &e);
        assert_int_equal(e.kind, wrong[i].kind);
        assert_int_equal(e.code, wrong[i].code);
        ws_reader_clear(&r);
    }
}

/* A text in three frames with a ping between, given in pieces of every size. */
static void test_pieces(void **state)
{
    (void)state;
    _cleanup_(buf_clear) Buf all = BUF_INIT(1000);
    add_frame(&all, 0x01, 2, "a\xc3");
    add_frame(&all, 0x89, 4, "ping");
    add_frame(&all, 0x00, 0, "");
    add_frame(&all, 0x80, 2, "\xbc!");
    for (size_t piece = 1; piece <= all.len; piece++) {
        _cleanup_(buf_clear) Buf b = BUF_INIT(1000);
        WsReader r = {0};
        WsEvent e;
        int texts = 0, pings = 0;
        for (size_t at = 0; at < all.len; at += piece) {
            buf_add(&b, all.p + at, MIN(piece, all.len - at));
            do {
                ws_read(&r, b.p, b.len, 4096, &e);
                assert_true(e.kind != WS_ERROR);
                if (e.kind == WS_TEXT)
                    texts += str_eq(e.data, STR_LIT("a\xc3\xbc!"));
                if (e.kind == WS_PING)
                    pings += str_eq(e.data, STR_LIT("ping"));
                memmove(b.p, b.p + e.used, b.len - e.used);
                buf_truncate(&b, b.len - e.used);
            } while (e.used);
        }
        assert_int_equal(texts, 1);
        assert_int_equal(pings, 1);
        assert_int_equal(b.len, 0);
        ws_reader_clear(&r);
    }
}

static void test_bound_is_of_the_message(void **state)
{
    (void)state;
    WsReader r = {0};
    WsEvent e;
    char data[60] = {0};
    _cleanup_(buf_clear) Buf b = BUF_INIT(1000);

    memset(data, 'x', sizeof(data));
    add_frame(&b, 0x01, 60, data);
    ws_read(&r, b.p, b.len, 100, &e);
    assert_int_equal(e.kind, WS_PART);
    buf_truncate(&b, 0);
    add_frame(&b, 0x80, 41, data);
    ws_read(&r, b.p, b.len, 100, &e);
    assert_int_equal(e.code, WS_CLOSE_SIZE);
    ws_read(&r, b.p, b.len, 101, &e);
    assert_int_equal(e.kind, WS_TEXT);
    assert_int_equal(e.data.n, 101);
    ws_reader_clear(&r);
}

static void test_headers(void **state)
{
    (void)state;
    uint8_t head[WS_HEADER_MAX];

    assert_int_equal(ws_header(WS_OP_TEXT, 125, head), 2);
    assert_int_equal(ws_header(WS_OP_TEXT, 126, head), 4);
    assert_int_equal(ws_header(WS_OP_TEXT, 65535, head), 4);
    assert_int_equal(ws_header(WS_OP_TEXT, 65536, head), 10);
    assert_memory_equal(head, "\x81\x7f\0\0\0\0\0\1\0\0", 10);
}

static void test_accept(void **state)
{
    (void)state;
    _cleanup_(buf_clear) Buf b = BUF_INIT(100);

    assert_true(ws_accept(STR_LIT("dGhlIHNhbXBsZSBub25jZQ=="), &b)); /* RFC 6455 1.3 */
    assert_string_equal(b.p, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    assert_false(ws_accept(STR_LIT(""), &b));
    assert_false(ws_accept(STR_LIT("dGhlIHNhbXBsZSBub25jZQ="), &b));
    assert_false(ws_accept(STR_LIT("dGhlIHNhbXBsZSBub25jZ!=="), &b));
}

static void test_close_frames(void **state)
{
    (void)state;
    _cleanup_(buf_clear) Buf b = BUF_INIT(1000);

    ws_close(&b, WS_CLOSE_NONE, "");
    assert_memory_equal(b.p, "\x88\0", 2);
    buf_truncate(&b, 0);
    ws_close(&b, WS_CLOSE_UNSUPPORTED, "no");
    assert_memory_equal(b.p, "\x88\4\x03\xebno", 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_single_frames),
                                       cmocka_unit_test(test_pieces),
                                       cmocka_unit_test(test_bound_is_of_the_message),
                                       cmocka_unit_test(test_headers),
                                       cmocka_unit_test(test_accept),
                                       cmocka_unit_test(test_close_frames)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
