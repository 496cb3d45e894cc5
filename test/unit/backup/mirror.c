#include "backup/mirror.h"

#include <setjmp.h>

#include <cmocka.h>

#define A "0123456789abcdef0123456789abcdef"
#define B "fedcba9876543210fedcba9876543210"

static MirrorRow row_of(const char *hash, int64_t bytes, const char *slo)
{
    MirrorRow r;
    _cleanup_json_ json_t *j = json_make_new("{s:s, s:s, s:I, s:s*}", "name", "n", "hash", hash,
                                             "bytes", (json_int_t)bytes, "slo_etag", slo);

    assert_true(mirror_row(j, &r));
    r.name = "n";
    r.hash = hash; /* it outlives the row */
    return r;
}

static void test_rows(void **state)
{
    (void)state;
    static const char *const bad[] = {"{\"subdir\": \"a/\"}",
                                      "{\"name\": \"a\", \"hash\": \"x\"}",
                                      "{\"name\": \"a\", \"bytes\": 1}",
                                      "{\"name\": \"\", \"hash\": \"x\", \"bytes\": 1}",
                                      "[]",
                                      "{\"name\": \"a\", \"hash\": \"x\", \"bytes\": -1}"};
    MirrorRow r;

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        _cleanup_json_ json_t *j = json_parse_new(bad[i], strlen(bad[i]), NULL);
        assert_non_null(j);
        assert_false(mirror_row(j, &r));
    }
    assert_false(mirror_row(NULL, &r));
    r = row_of(A, 7, "\"" B "\""); /* as Swift has it */
    assert_string_equal(r.large, B);
    r = row_of(A, 7, B);
    assert_string_equal(r.large, B);
    r = row_of(A, 7, "\"" B B B B); /* nobody's, and it does no harm */
    assert_int_equal(strlen(r.large), 63);
}

static void test_need(void **state)
{
    (void)state;
    static const struct {
        const char *want, *want_large;
        int64_t want_bytes;
        const char *have, *have_large; /* have NULL: not there */
        int64_t have_bytes;
        MirrorNeed need;
    } rows[] = {
        {A, NULL, 5, NULL, NULL, 0, MIRROR_NEED_COPY},
        {A, NULL, 5, A, NULL, 5, MIRROR_NEED_NONE},
        {A, NULL, 5, B, NULL, 5, MIRROR_NEED_COPY},
        {A, NULL, 5, A, NULL, 6, MIRROR_NEED_COPY},
        {A, NULL, 5, A, B, 5, MIRROR_NEED_COPY},
        /* A manifest's own hash differs on both sides; its segments' does not. */
        {A, A, 5, B, A, 5, MIRROR_NEED_NONE},
        {A, A, 5, A, B, 5, MIRROR_NEED_COPY},
        {A, A, 5, A, NULL, 5, MIRROR_NEED_COPY},
        {A, A, 5, B, A, 6, MIRROR_NEED_COPY},
        /* Of no bytes: empty, a manifest, or a link. */
        {A, NULL, 0, A, NULL, 0, MIRROR_NEED_LOOK},
        {A, NULL, 0, NULL, NULL, 0, MIRROR_NEED_LOOK},
        /* Ceph's of an upload in parts. */
        {A "-3", NULL, 5, B, NULL, 5, MIRROR_NEED_NONE},
        {A "-3", NULL, 5, B, NULL, 6, MIRROR_NEED_COPY},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        MirrorRow want = row_of(rows[i].want, rows[i].want_bytes, rows[i].want_large), have = {0};
        if (rows[i].have)
            have = row_of(rows[i].have, rows[i].have_bytes, rows[i].have_large);
        assert_int_equal(mirror_need(&want, rows[i].have ? &have : NULL), rows[i].need);
    }
}

static void test_same(void **state)
{
    (void)state;
    MirrorRow plain = row_of(A, 5, NULL), large = row_of(A, 5, "\"" B "\"");

    assert_true(mirror_same(A, false, 5, &plain));
    assert_false(mirror_same(B, false, 5, &plain));
    assert_false(mirror_same(A, false, 4, &plain));
    assert_false(mirror_same(A, false, 5, NULL));
    assert_false(mirror_same(NULL, false, 5, &plain));
    assert_true(mirror_same("\"" B "\"", true, 5, &large));
    assert_true(mirror_same(B, true, 5, &large));
    assert_false(mirror_same(A, true, 5, &large));
    assert_false(mirror_same(A, true, 5, &plain));
    assert_false(mirror_same(A, false, 5, &large));
}

static void test_segment_path(void **state)
{
    (void)state;
    _cleanup_free_ char *one = mirror_segment_path("mirror", "/media_segments/a/b/1");
    _cleanup_free_ char *two = mirror_segment_path("mirror", "media_segments/a/b/1");

    assert_string_equal(one, "mirror_segments/media_segments/a/b/1");
    assert_string_equal(two, one);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows), cmocka_unit_test(test_need),
                                       cmocka_unit_test(test_same),
                                       cmocka_unit_test(test_segment_path)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
