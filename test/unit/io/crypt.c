#include "io/crypt.h"
#include "base/json.h"
#include "io/file.h"

#include <setjmp.h>
#include <unistd.h>

#include <cmocka.h>

static void hex_of(CryptHash kind, const char *text, Buf *ret)
{
    buf_truncate(ret, 0);
    crypt_hash(kind, str_of(text), ret);
}

/* RFC 1321 A.5, FIPS 180-4 examples. */
static void test_hash(void **state)
{
    static const struct {
        CryptHash kind;
        const char *text, *hex;
    } table[] = {
        {CRYPT_MD5, "", "d41d8cd98f00b204e9800998ecf8427e"},
        {CRYPT_MD5, "message digest", "f96b697d7cb7938d525a2f31aaf161d0"},
        {CRYPT_SHA1, "abc", "a9993e364706816aba3e25717850c26c9cd0d89d"},
        {CRYPT_SHA256, "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {CRYPT_SHA512, "abc",
         "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
         "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"},
    };
    (void)state;
    _cleanup_(buf_clear) Buf b = BUF_INIT(BUF_MAX_LINE);

    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        hex_of(table[i].kind, table[i].text, &b);
        assert_string_equal(b.p, table[i].hex);
    }
    Hasher *h = hasher_new(CRYPT_SHA256);
    hasher_add(h, "a", 1);
    hasher_add(h, "bc", 2);
    buf_truncate(&b, 0);
    hasher_end(h, &b);
    assert_string_equal(b.p, table[3].hex);
    assert_null(hasher_free(hasher_new(CRYPT_MD5)));
    assert_null(hasher_free(NULL));
}

static void test_hash_file(void **state)
{
    (void)state;
    char folder[] = "/tmp/atoll-crypt.XXXXXX";
    _cleanup_(err_clear) Err err = {0};
    _cleanup_(buf_clear) Buf b = BUF_INIT(BUF_MAX_LINE);
    assert_non_null(mkdtemp(folder));
    _cleanup_free_ char *path = path_join(folder, "f");

    assert_int_equal(crypt_hash_file(CRYPT_MD5, path, &b, &err), -ERR_NOT_FOUND);
    assert_int_equal(file_write(path, STR_LIT("message digest"), 0600, &err), 0);
    assert_int_equal(crypt_hash_file(CRYPT_MD5, path, &b, &err), 0);
    assert_string_equal(b.p, "f96b697d7cb7938d525a2f31aaf161d0");
    assert_int_equal(crypt_hash_file(CRYPT_MD5, folder, &b, &err), -ERR_IO);
    assert_int_equal(file_remove_tree(folder, &err), 0);
}

/* RFC 2202 (SHA-1, case 2), RFC 4231 (cases 2 and 6: a key longer than a block). */
static void test_hmac(void **state)
{
    char long_key[131];
    memset(long_key, 0xaa, sizeof long_key);
    const struct {
        CryptHash kind;
        Str key, text;
        const char *hex;
    } table[] = {
        {CRYPT_SHA1, STR_LIT("Jefe"), STR_LIT("what do ya want for nothing?"),
         "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"},
        {CRYPT_SHA256, STR_LIT("Jefe"), STR_LIT("what do ya want for nothing?"),
         "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"},
        {CRYPT_SHA512, STR_LIT("Jefe"), STR_LIT("what do ya want for nothing?"),
         "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554"
         "9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737"},
        {CRYPT_SHA256,
         {long_key, sizeof long_key},
         STR_LIT("Test Using Larger Than Block-Size Key - Hash Key First"),
         "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"},
    };
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        _cleanup_secret_ Secret *key = secret_new(table[i].key.p, table[i].key.n);
        _cleanup_(buf_clear) Buf b = BUF_INIT(BUF_MAX_LINE);
        crypt_hmac(table[i].kind, key, table[i].text, &b);
        assert_string_equal(b.p, table[i].hex);
    }
    _cleanup_secret_ Secret *jefe = secret_new("Jefe", 4);
    _cleanup_secret_ Secret *derived = crypt_derive_new(jefe, "what do ya want for nothing?");
    _cleanup_(buf_clear) Buf b = BUF_INIT(BUF_MAX_LINE);
    crypt_hex(&b, secret_expose(derived).p, secret_expose(derived).n);
    assert_string_equal(b.p, table[1].hex);
}

/* RFC 4648, 10; and what must be refused: 12 of it says that canonical text matters. */
static void test_base64(void **state)
{
    static const struct {
        const char *bytes, *text;
    } table[] = {
        {"", ""},
        {"f", "Zg=="},
        {"fo", "Zm8="},
        {"foo", "Zm9v"},
        {"foob", "Zm9vYg=="},
        {"fooba", "Zm9vYmE="},
        {"foobar", "Zm9vYmFy"},
    };
    static const char *const bad[] = {"Zg=", "Z", "Zh==", "Zm9v!", "Zg==Zg==", "+-", " Zm9v"};
    (void)state;
    _cleanup_(buf_clear) Buf b = BUF_INIT(BUF_MAX_LINE);

    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        buf_truncate(&b, 0);
        crypt_base64(&b, table[i].bytes, strlen(table[i].bytes));
        assert_string_equal(b.p, table[i].text);
        buf_truncate(&b, 0);
        assert_true(crypt_unbase64(&b, str_of(table[i].text)));
        assert_string_equal(b.p, table[i].bytes);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(crypt_unbase64(&b, str_of(bad[i])));
    buf_truncate(&b, 0);
    crypt_base64_url(&b, "\xfb\xff\xfe", 3);
    assert_string_equal(b.p, "-__-");
    buf_truncate(&b, 0);
    crypt_base64(&b, "\xfb\xff\xfe", 3);
    assert_string_equal(b.p, "+//+");
    buf_truncate(&b, 0);
    assert_true(crypt_unbase64(&b, STR_LIT("-__-")) && crypt_unbase64(&b, STR_LIT("+//+")));
    assert_memory_equal(b.p, "\xfb\xff\xfe\xfb\xff\xfe", 6);
    buf_truncate(&b, 0);
    assert_true(crypt_unbase64(&b, STR_LIT("Zm8")));
    assert_string_equal(b.p, "fo");
}

static void test_long_text_forms(void **state)
{
    (void)state;
    char bytes[1000];
    crypt_random(bytes, sizeof bytes);
    _cleanup_(buf_clear) Buf text = BUF_INIT(BUF_MAX_LINE);
    _cleanup_(buf_clear) Buf back = BUF_INIT(BUF_MAX_LINE);

    crypt_base64(&text, bytes, sizeof bytes);
    assert_int_equal(text.len, 1336);
    assert_true(crypt_unbase64(&back, buf_as_str(&text)));
    assert_memory_equal(back.p, bytes, sizeof bytes);
    buf_truncate(&text, 0);
    buf_truncate(&back, 0);
    crypt_hex(&text, bytes, sizeof bytes);
    assert_int_equal(text.len, 2000);
    assert_true(crypt_unhex(&back, buf_as_str(&text)));
    assert_memory_equal(back.p, bytes, sizeof bytes);
    assert_false(crypt_unhex(&back, STR_LIT("abc")));
    assert_false(crypt_unhex(&back, STR_LIT("zz")));
}

/* The examples of Swift's documentation of tempurl; the prefix one was made by python-swiftclient
 * (swift tempurl --absolute --prefix-based). */
static void test_temp_url(void **state)
{
    static const struct {
        CryptHash kind;
        int64_t expires;
        const char *path;
        bool prefix;
        const char *hex;
    } table[] = {
        {CRYPT_SHA1, 1374497657, "/v1/AUTH_account/container/object", false,
         "5c4cc8886f36a9d0919d708ade98bf0cc71c9e91"},
        {CRYPT_SHA256, 1512508563, "/v1/AUTH_account/container/object", false,
         "732fcac368abb10c78a4cbe95c3fab7f311584532bf779abd5074e13cbe8b88b"},
        {CRYPT_SHA256, 1512508563, "/v1/AUTH_account/container/pre", true,
         "32f398a48a1a8ca6f2711efcca444100723360239733c6e7b31d868f62f66b47"},
    };
    (void)state;
    _cleanup_secret_ Secret *key = secret_new("mykey", 5);

    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        _cleanup_(buf_clear) Buf b = BUF_INIT(BUF_MAX_LINE);
        crypt_temp_url(table[i].kind, key, "GET", table[i].expires, table[i].path, table[i].prefix,
                       &b);
        assert_string_equal(b.p, table[i].hex);
    }
}

static void test_random(void **state)
{
    (void)state;
    _cleanup_secret_ Secret *a = crypt_random_new(32), *b = crypt_random_new(32);
    assert_int_equal(secret_expose(a).n, 32);
    assert_false(secret_eq(a, b));

    _cleanup_secret_ Secret *long_one = crypt_password_new(4000);
    Str s = secret_expose(long_one);
    assert_int_equal(s.n, 4000);
    bool seen[256] = {false};
    for (size_t i = 0; i < s.n; i++)
        seen[(unsigned char)s.p[i]] = true;
    /* A character is missing among 4000 with a probability of 62 * e^-64. */
    for (int c = 0; c < 256; c++) {
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        assert_int_equal(seen[c], letter);
    }
    char hex[2][17], uuid[2][CRYPT_UUID_MAX];
    for (int i = 0; i < 2; i++) {
        crypt_random_hex(hex[i], 16);
        crypt_uuid(uuid[i]);
        assert_int_equal(strspn(hex[i], "0123456789abcdef"), 16);
        assert_int_equal(strlen(hex[i]), 16);
        assert_int_equal(strspn(uuid[i], "0123456789abcdef-"), 36);
        assert_true(uuid[i][8] == '-' && uuid[i][13] == '-' && uuid[i][18] == '-' &&
                    uuid[i][23] == '-' && strlen(uuid[i]) == 36);
        assert_int_equal(uuid[i][14], '4');
        assert_non_null(strchr("89ab", uuid[i][19]));
    }
    assert_string_not_equal(hex[0], hex[1]);
    assert_string_not_equal(uuid[0], uuid[1]);
    assert_true(crypt_equal(STR_LIT("abc"), STR_LIT("abc")));
    assert_false(crypt_equal(STR_LIT("abc"), STR_LIT("abd")));
    assert_false(crypt_equal(STR_LIT("abc"), STR_LIT("ab")));
    assert_true(crypt_equal(STR_LIT(""), STR_LIT("")));
}

static void test_seal(void **state)
{
    (void)state;
    _cleanup_(keypair_clear) KeyPair a = {0}, b = {0}, stranger = {0};
    _cleanup_(buf_clear) Buf sealed = BUF_INIT(BUF_MAX_BODY);
    _cleanup_(buf_wipe) Buf plain = BUF_INIT(BUF_MAX_BODY);
    _cleanup_(err_clear) Err err = {0};
    crypt_box_keys(&a);
    crypt_box_keys(&b);
    crypt_box_keys(&stranger);
    const char *const to[] = {a.public_b64, b.public_b64, NULL};

    assert_int_equal(crypt_seal(to, "bundle", STR_LIT("hello\0there"), &sealed, &err), 0);
    assert_null(strstr(sealed.p, "hello"));
    assert_null(strchr(sealed.p, '\n'));
    const KeyPair *const openers[] = {&a, &b};
    for (size_t i = 0; i < 2; i++) {
        buf_truncate(&plain, 0);
        assert_int_equal(crypt_open(openers[i], "bundle", buf_as_str(&sealed), &plain, &err), 0);
        assert_int_equal(plain.len, 11);
        assert_memory_equal(plain.p, "hello\0there", 11);
    }
    buf_truncate(&plain, 0);
    assert_int_equal(crypt_open(&stranger, "bundle", buf_as_str(&sealed), &plain, &err),
                     -ERR_DENIED);
    assert_int_equal(crypt_open(&a, "report", buf_as_str(&sealed), &plain, &err), -ERR_CORRUPT);

    /* The right public half with another's secret. */
    _cleanup_(keypair_clear) KeyPair wrong = {secret_copy(stranger.secret), xstrdup(a.public_b64)};
    assert_int_equal(crypt_open(&wrong, "bundle", buf_as_str(&sealed), &plain, &err), -ERR_CORRUPT);
    assert_int_equal(plain.len, 0);

    const char *const nobody[] = {NULL};
    assert_int_equal(crypt_seal(nobody, "x", STR_LIT("x"), &sealed, &err), -ERR_BUG);
    const char *const garbage[] = {"AAAA", NULL};
    assert_int_equal(crypt_seal(garbage, "x", STR_LIT("x"), &sealed, &err), -ERR_CORRUPT);
    const char *const zero[] = {"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", NULL};
    assert_int_equal(crypt_seal(zero, "x", STR_LIT("x"), &sealed, &err), -ERR_CORRUPT);
    _cleanup_(buf_clear) Buf small = BUF_INIT(100);
    assert_int_equal(crypt_seal(to, "x", STR_LIT("x"), &small, &err), -ERR_CORRUPT);
}

/* One key of many is lent, and no other. */
static void test_grant(void **state)
{
    (void)state;
    _cleanup_(keypair_clear) KeyPair owner = {0}, guest = {0}, stranger = {0};
    _cleanup_json_ json_t *one = json_object(), *other = json_object();
    _cleanup_secret_ Secret *key = crypt_random_new(CRYPT_KEY_BYTES), *got = NULL, *none = NULL;
    crypt_box_keys(&owner);
    crypt_box_keys(&guest);
    crypt_box_keys(&stranger);
    const char *const to[] = {owner.public_b64, NULL};
    assert_int_equal(crypt_seal_key(to, key, one, NULL), 0);
    assert_int_equal(crypt_seal_key(to, key, other, NULL), 0);

    guest.grants = json_object();
    assert_int_equal(crypt_open_key(&guest, one, &none, NULL), -ERR_DENIED);
    assert_int_equal(crypt_grant(&stranger, one, guest.public_b64, guest.grants, NULL),
                     -ERR_DENIED);
    assert_int_equal(crypt_grant(&owner, one, guest.public_b64, guest.grants, NULL), 0);
    assert_int_equal(crypt_open_key(&guest, one, &got, NULL), 0);
    assert_true(crypt_equal(secret_expose(got), secret_expose(key)));
    assert_int_equal(crypt_open_key(&guest, other, &none, NULL), -ERR_DENIED);
    /* Of no use without the guest's own secret. */
    stranger.grants = json_incref(guest.grants);
    assert_int_equal(crypt_open_key(&stranger, one, &none, NULL), -ERR_CORRUPT);
}

/* Every byte of an envelope counts: flip one bit in each, and cut it off at each. */
static void test_seal_tamper(void **state)
{
    (void)state;
    _cleanup_(keypair_clear) KeyPair a = {0}, b = {0};
    _cleanup_(buf_clear) Buf sealed = BUF_INIT(BUF_MAX_BODY);
    _cleanup_(buf_wipe) Buf plain = BUF_INIT(BUF_MAX_BODY);
    _cleanup_(err_clear) Err err = {0};
    crypt_box_keys(&a);
    crypt_box_keys(&b);
    const char *const to[] = {a.public_b64, b.public_b64, NULL};
    assert_int_equal(crypt_seal(to, "p", STR_LIT("secret"), &sealed, &err), 0);

    for (size_t i = 0; i < sealed.len; i++) {
        for (unsigned bit = 0; bit < 8; bit += 3) {
            sealed.p[i] = (char)(sealed.p[i] ^ (1 << bit));
            int r = crypt_open(&a, "p", buf_as_str(&sealed), &plain, &err);
            if (r == 0)
                fail_msg("bit %u of byte %zu of %s", bit, i, sealed.p);
            assert_true(r == -ERR_CORRUPT || r == -ERR_DENIED);
            assert_int_equal(plain.len, 0);
            sealed.p[i] = (char)(sealed.p[i] ^ (1 << bit));
        }
        Str cut = {sealed.p, i};
        assert_int_equal(crypt_open(&a, "p", cut, &plain, &err), -ERR_CORRUPT);
    }
    assert_int_equal(crypt_open(&a, "p", buf_as_str(&sealed), &plain, &err), 0);
    assert_string_equal(plain.p, "secret");
}

static void test_public_again(void **state)
{
    (void)state;
    _cleanup_(keypair_clear) KeyPair a = {0}, again = {0}, bad = {0};
    _cleanup_(err_clear) Err err = {0};
    crypt_box_keys(&a);
    assert_int_equal(crypt_box_public(a.secret, &again, &err), 0);
    assert_string_equal(a.public_b64, again.public_b64);
    assert_true(secret_eq(a.secret, again.secret));
    _cleanup_secret_ Secret *shorter = secret_new("abc", 3);
    assert_int_equal(crypt_box_public(shorter, &bad, &err), -ERR_CORRUPT);
}

static void test_sign(void **state)
{
    (void)state;
    _cleanup_(keypair_clear) KeyPair a = {0}, b = {0};
    _cleanup_(buf_clear) Buf s = BUF_INIT(BUF_MAX_LINE);
    crypt_sign_keys(&a);
    crypt_sign_keys(&b);
    crypt_sign(&a, STR_LIT("bundle 7"), &s);

    assert_true(crypt_verify(a.public_b64, STR_LIT("bundle 7"), buf_as_str(&s)));
    assert_false(crypt_verify(a.public_b64, STR_LIT("bundle 8"), buf_as_str(&s)));
    assert_false(crypt_verify(b.public_b64, STR_LIT("bundle 7"), buf_as_str(&s)));
    assert_false(crypt_verify("nonsense", STR_LIT("bundle 7"), buf_as_str(&s)));
    assert_false(crypt_verify(a.public_b64, STR_LIT("bundle 7"), STR_LIT("")));
    for (size_t i = 0; i < s.len; i++) {
        s.p[i] ^= 1;
        assert_false(crypt_verify(a.public_b64, STR_LIT("bundle 7"), buf_as_str(&s)));
        s.p[i] ^= 1;
    }
}

static void test_wrap(void **state)
{
    (void)state;
    _cleanup_secret_ Secret *secret = crypt_random_new(32), *pass = secret_new("open sesame", 11);
    _cleanup_secret_ Secret *wrong = secret_new("open barley", 11), *empty = secret_new("", 0);
    _cleanup_secret_ Secret *back = NULL;
    _cleanup_(buf_clear) Buf text = BUF_INIT(BUF_MAX_LINE);
    _cleanup_(err_clear) Err err = {0};

    assert_int_equal(crypt_wrap(secret, empty, &text, &err), -ERR_USAGE);
    assert_int_equal(crypt_wrap(secret, pass, &text, &err), 0);
    assert_int_equal(crypt_unwrap(buf_as_str(&text), wrong, &back, &err), -ERR_AUTH);
    assert_null(back);
    assert_int_equal(crypt_unwrap(buf_as_str(&text), pass, &back, &err), 0);
    assert_true(secret_eq(secret, back));

    /* A file that asks for the memory of the whole machine. */
    _cleanup_json_ json_t *doc = json_parse_new(text.p, text.len, &err);
    json_object_set_new(doc, "mem", json_integer((json_int_t)1 << 40));
    _cleanup_free_ char *greedy = json_text_new(doc);
    _cleanup_secret_ Secret *none = NULL;
    assert_int_equal(crypt_unwrap(str_of(greedy), pass, &none, &err), -ERR_CORRUPT);
    assert_int_equal(crypt_unwrap(STR_LIT("{}"), pass, &none, &err), -ERR_CORRUPT);
    assert_int_equal(crypt_unwrap(STR_LIT("not json"), pass, &none, &err), -ERR_CORRUPT);
    assert_null(none);
}

static void test_vapid(void **state)
{
    (void)state;
    _cleanup_secret_ Secret *private = NULL;
    _cleanup_free_ char *public = NULL;
    _cleanup_(buf_clear) Buf b = BUF_INIT(BUF_MAX_LINE);
    crypt_vapid(&private, &public);

    /* 32 and 65 bytes, padded. */
    assert_int_equal(secret_expose(private).n, 44);
    assert_int_equal(strlen(public), 88);
    assert_null(strpbrk(public, "+/"));
    assert_true(crypt_unbase64(&b, str_of(public)));
    assert_int_equal(b.len, 65);
    assert_int_equal(b.p[0], 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hash),
        cmocka_unit_test(test_hash_file),
        cmocka_unit_test(test_hmac),
        cmocka_unit_test(test_base64),
        cmocka_unit_test(test_long_text_forms),
        cmocka_unit_test(test_temp_url),
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_seal),
        cmocka_unit_test(test_grant),
        cmocka_unit_test(test_seal_tamper),
        cmocka_unit_test(test_public_again),
        cmocka_unit_test(test_sign),
        cmocka_unit_test(test_wrap),
        cmocka_unit_test(test_vapid),
    };
    crypt_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
