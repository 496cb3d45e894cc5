#include "backup/object.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

typedef struct Keys {
    KeyPair recovery, drill, host, other;
    const char *recipients[3];
    StrList signers;
    ObjectSeal seal;
} Keys;

static int make_keys(void **state)
{
    Keys *k = NEW(Keys);

    crypt_init();
    crypt_box_keys(&k->recovery);
    crypt_box_keys(&k->drill);
    crypt_box_keys(&k->other);
    crypt_sign_keys(&k->host);
    k->recipients[0] = k->recovery.public_b64;
    k->recipients[1] = k->drill.public_b64;
    strlist_add(&k->signers, k->host.public_b64);
    k->seal = (ObjectSeal){"7321000000000000001", k->recipients, &k->host};
    *state = k;
    return 0;
}

static int free_keys(void **state)
{
    Keys *k = *state;

    keypair_clear(&k->recovery);
    keypair_clear(&k->drill);
    keypair_clear(&k->other);
    keypair_clear(&k->host);
    strlist_clear(&k->signers);
    free(k);
    return 0;
}

/* Text that compresses, but not to nothing. */
static Buf sample(size_t n)
{
    Buf b = BUF_INIT(n + 64);

    for (size_t i = 0; b.len < n; i++)
        buf_printf(&b, "row %zu of %zu;", i * i % 977, i);
    buf_truncate(&b, n);
    return b;
}

static Buf sealed(Keys *k, size_t n, char hash[static OBJECT_HASH_MAX])
{
    _cleanup_(buf_clear) Buf plain = sample(n);
    Buf object = BUF_INIT(OBJECT_MAX);

    assert_int_equal(object_seal(&k->seal, OBJECT_WAL, buf_as_str(&plain),
                                 json_make_new("{s:s}", "run", "r1"), &object, hash, NULL),
                     0);
    return object;
}

static void test_round_trip(void **state)
{
    Keys *k = *state;
    static const size_t sizes[] = {0, 1, 300, 1 << 20, (1 << 20) + 1, (3 << 20) + 77};

    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        char hash[OBJECT_HASH_MAX], again[OBJECT_HASH_MAX];
        _cleanup_(buf_clear) Buf plain = sample(sizes[i]), object = sealed(k, sizes[i], hash);
        KeyPair *readers[] = {&k->recovery, &k->drill};

        assert_int_equal(object_check(buf_as_str(&object), &k->signers, again, NULL), 0);
        assert_string_equal(hash, again);
        for (size_t r = 0; r < ARRAY_LEN(readers); r++) {
            _cleanup_(buf_clear) Buf back = BUF_INIT(OBJECT_MAX);
            assert_int_equal(object_open(buf_as_str(&object), readers[r], &back, NULL), 0);
            assert_true(str_eq(buf_as_str(&back), buf_as_str(&plain)));
        }
        _cleanup_(buf_clear) Buf back = BUF_INIT(OBJECT_MAX);
        assert_int_equal(object_open(buf_as_str(&object), &k->other, &back, NULL), -ERR_DENIED);
        assert_true(sizes[i] < 1000 || object.len < sizes[i] / 2);
    }
}

static void test_every_byte_counts(void **state)
{
    Keys *k = *state;
    char hash[OBJECT_HASH_MAX], again[OBJECT_HASH_MAX];
    _cleanup_(buf_clear) Buf object = sealed(k, 2000, hash);

    for (size_t i = 0; i < object.len; i++) {
        object.p[i] ^= 4;
        assert_true(object_check(buf_as_str(&object), &k->signers, again, NULL) < 0);
        object.p[i] ^= 4;
    }
    for (size_t n = 0; n < object.len; n += 7)
        assert_true(object_check((Str){object.p, n}, &k->signers, again, NULL) < 0);
    buf_char(&object, 0);
    assert_int_equal(object_check(buf_as_str(&object), &k->signers, again, NULL), -ERR_CORRUPT);
    buf_truncate(&object, object.len - 1);
    _cleanup_(strlist_clear) StrList others = {0};
    assert_int_equal(object_check(buf_as_str(&object), &others, again, NULL), -ERR_DENIED);
    strlist_add(&others, k->drill.public_b64);
    assert_int_equal(object_check(buf_as_str(&object), &others, again, NULL), -ERR_DENIED);
}

static void test_head_by_parts(void **state)
{
    Keys *k = *state;
    char hash[OBJECT_HASH_MAX];
    _cleanup_(buf_clear) Buf object = sealed(k, 3 << 20, hash);
    _cleanup_(object_head_clear) ObjectHead h = {0};
    _cleanup_secret_ Secret *key = NULL;
    size_t need = 0;

    assert_int_equal(object_head((Str){object.p, 3}, &need, &h, NULL), 0);
    assert_int_equal(need, OBJECT_PREFIX_BYTES);
    assert_int_equal(object_head((Str){object.p, need}, &need, &h, NULL), 0);
    assert_true(need > OBJECT_PREFIX_BYTES);
    assert_int_equal(object_head((Str){object.p, need}, &need, &h, NULL), 0);
    assert_int_equal(need, 0);
    assert_int_equal(h.kind, OBJECT_WAL);
    assert_int_equal(h.bytes, object.len);
    assert_int_equal(h.frames.len, 3);
    assert_string_equal(h.system, "7321000000000000001");
    assert_string_equal(json_str(h.facts, "run"), "r1");

    /* One frame alone; and not under another's index. */
    assert_int_equal(object_key(&h, &k->drill, &key, NULL), 0);
    _cleanup_(buf_clear) Buf plain = sample(3 << 20), back = BUF_INIT(2 << 20);
    Str second = {object.p + h.frames_at + h.frames.items[0].stored, h.frames.items[1].stored};
    assert_int_equal(object_frame_open(key, 1, second, h.frames.items[1].plain, &back, NULL), 0);
    assert_memory_equal(back.p, plain.p + (1 << 20), 1 << 20);
    assert_int_equal(object_frame_open(key, 2, second, 1 << 20, &back, NULL), -ERR_CORRUPT);
}

static void test_bad_heads(void **state)
{
    static const char *const heads[] = {
        "",
        "{}",
        "[]",
        "{\"kind\":\"wal\"}",
        "{\"facts\":{},\"frames\":[[1,2]],\"kind\":\"wal\",\"system\":\"1\",\"to\":{}}",
        "{\"facts\":{},\"frames\":[[99999999,2]],\"kind\":\"wal\",\"system\":\"1\",\"to\":{}}",
        "{\"facts\":{},\"frames\":[[20,99999999]],\"kind\":\"wal\",\"system\":\"1\",\"to\":{}}",
        "{\"facts\":{},\"frames\":[[-20,2]],\"kind\":\"wal\",\"system\":\"1\",\"to\":{}}",
        "{\"facts\":{},\"frames\":[],\"kind\":\"wall\",\"system\":\"1\",\"to\":{}}",
        "{\"facts\":[],\"frames\":[],\"kind\":\"wal\",\"system\":\"1\",\"to\":{}}",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(heads); i++) {
        _cleanup_(buf_clear) Buf b = BUF_INIT(BUF_MAX_LINE);
        ObjectHead h = {0};
        size_t need;
        buf_str(&b, "ATOLLBK1");
        buf_char(&b, (char)strlen(heads[i]));
        buf_add(&b, "\0\0", 3);
        buf_str(&b, heads[i]);
        assert_int_equal(object_head(buf_as_str(&b), &need, &h, NULL), -ERR_CORRUPT);
    }
    ObjectHead h = {0};
    size_t need;
    assert_int_equal(object_head(STR_LIT("ATOLLBK1\xff\xff\xff\xff"), &need, &h, NULL),
                     -ERR_CORRUPT);
    assert_int_equal(object_head(STR_LIT("PK"), &need, &h, NULL), -ERR_CORRUPT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_every_byte_counts),
        cmocka_unit_test(test_head_by_parts),
        cmocka_unit_test(test_bad_heads),
    };
    return cmocka_run_group_tests(tests, make_keys, free_keys);
}
