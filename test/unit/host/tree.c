/* Archives of trees in the boot container: put there once, known again, refused when they are not
 * what they say, and removed. */
#include "host/tree.h"
#include "io/crypt.h"

#include <setjmp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "fake_swift.h"

typedef struct Place {
    char folder[64], one[96], other[96], gone[96];
    Vault *vault;
} Place;

static int setup(void **state)
{
    Place *p = NEW(Place);
    crypt_init();
    snprintf(p->folder, sizeof p->folder, "/tmp/atoll-tree.XXXXXX");
    if (!mkdtemp(p->folder))
        return -1;
    snprintf(p->one, sizeof p->one, "%s/one.tar.gz", p->folder);
    snprintf(p->other, sizeof p->other, "%s/other.tar.gz", p->folder);
    snprintf(p->gone, sizeof p->gone, "%s/gone.tar.gz", p->folder);
    assert_int_equal(file_write(p->one, str_of("one"), 0600, NULL), 0);
    assert_int_equal(file_write(p->other, str_of("other"), 0600, NULL), 0);
    p->vault = vault_new();
    vault_generate(p->vault);
    *state = p;
    return 0;
}

static int teardown(void **state)
{
    Place *p = *state;
    int r = file_remove_tree(p->folder, NULL);
    (void)vault_free(p->vault);
    free(p);
    fake_clear();
    return r;
}

static void sha_of(const char *text, Buf *ret)
{
    buf_truncate(ret, 0);
    crypt_hash(CRYPT_SHA256, str_of(text), ret);
}

static int put(const Place *p, const char *file, const char *version, char **ret, Err *err)
{
    return tree_put(&(TreeInput){.island = "reef", .file = file, .file_version = "v1"}, p->vault,
                    version, ret, err);
}

static void an_archive_is_put_there_once(void **state)
{
    Place *p = *state;
    _cleanup_free_ char *first = NULL, *second = NULL, *without = NULL;
    _cleanup_(buf_clear) Buf sha = BUF_INIT(BUF_MAX_LINE);

    sha_of("one", &sha);
    assert_int_equal(put(p, p->one, "v1", &first, NULL), 0);
    assert_string_equal(first, sha.p);
    assert_int_equal(fake.puts, 1);
    assert_non_null(fake_find("reef-boot/release-v1.tar.gz"));
    assert_int_equal(put(p, p->one, "v1", &second, NULL), 0);
    assert_string_equal(second, sha.p);
    /* From another machine, which has no such file. */
    assert_int_equal(put(p, p->gone, "v1", &without, NULL), 0);
    assert_string_equal(without, sha.p);
    assert_int_equal(fake.puts, 1);
}

static void what_is_no_good_is_refused(void **state)
{
    Place *p = *state;
    _cleanup_free_ char *sha256 = NULL;
    const struct {
        const char *file, *version, *words;
        ErrKind kind;
    } rows[] = {
        {p->other, "v1", "a version is never changed", ERR_CONFLICT},
        {p->one, "v2", "the archive of the release v2 is not in reef-boot", ERR_PREFLIGHT},
        {NULL, "v2", "the archive of the release v2 is not in reef-boot", ERR_PREFLIGHT},
        {p->folder, "v1", "is no file", ERR_PREFLIGHT},
    };
    assert_int_equal(put(p, p->one, "v1", &sha256, NULL), 0);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_(err_clear) Err err = {0};
        _cleanup_free_ char *none = NULL;
        assert_int_equal(put(p, rows[i].file, rows[i].version, &none, &err), -(int)rows[i].kind);
        assert_null(none);
        if (!strstr(err.text, rows[i].words) || !err.hint)
            fail_msg("%s, without %s", err.text, rows[i].words);
    }
    /* A version that is nowhere, and whose file is not here either. */
    _cleanup_(err_clear) Err err = {0};
    fake_clear();
    assert_int_equal(put(p, p->gone, "v1", &sha256, &err), -ERR_PREFLIGHT);
    assert_non_null(strstr(err.text, "cannot find the release's archive"));
    assert_int_equal(fake.puts, 0);
}

static void a_large_one_is_refused(void **state)
{
    Place *p = *state;
    _cleanup_(err_clear) Err err = {0};

    assert_int_equal(truncate(p->one, TREE_MAX_BYTES), 0);
    assert_int_equal(tree_file_check(p->one, &err), 0);
    assert_int_equal(truncate(p->one, TREE_MAX_BYTES + 1), 0);
    assert_int_equal(tree_file_check(p->one, &err), -ERR_PREFLIGHT);
    assert_non_null(strstr(err.text, "4000 MB"));
}

/* Whoever can write into the container says what they like about an archive of theirs. */
static void a_strangers_archive_is_refused(void **state)
{
    Place *p = *state;
    _cleanup_free_ char *sha256 = NULL, *forged = NULL, *moved = NULL;
    _cleanup_(buf_clear) Buf sha = BUF_INIT(BUF_MAX_LINE);

    assert_int_equal(put(p, p->one, "v1", &sha256, NULL), 0);
    FakeObject *o = fake_find("reef-boot/release-v1.tar.gz");
    sha_of("other", &sha);
    forged = xasprintf("application/vnd.atoll.tree; sha256=%s; mac=%s", sha.p,
                       strstr(o->type, "mac=") + 4);
    moved = xstrdup(o->type);
    const char *const types[] = {forged, "application/gzip", "application/vnd.atoll.tree",
                                 "application/vnd.atoll.tree; sha256=; mac="};
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        _cleanup_(err_clear) Err err = {0};
        _cleanup_free_ char *none = NULL;
        free(o->type);
        o->type = xstrdup(types[i]);
        assert_int_equal(put(p, p->one, "v1", &none, &err), -ERR_DENIED);
        assert_non_null(strstr(err.text, "was not put there with this island's vault"));
        assert_null(none);
    }
    /* The good words of one version are none of another's. */
    o = fake_put("reef-boot/release-v2.tar.gz", str_of("one"));
    o->type = TAKE(moved);
    _cleanup_free_ char *none = NULL;
    assert_int_equal(put(p, NULL, "v2", &none, NULL), -ERR_DENIED);
}

/* Two runs at once: whoever comes second takes what is there, if it is the same. */
static void another_run_was_faster(void **state)
{
    Place *p = *state;
    const struct {
        const char *file;
        int r;
    } rows[] = {{p->one, 0}, {p->other, -ERR_CONFLICT}};
    _cleanup_free_ char *sha256 = NULL;

    assert_int_equal(put(p, p->one, "v1", &sha256, NULL), 0);
    _cleanup_free_ char *type = xstrdup(fake_find("reef-boot/release-v1.tar.gz")->type);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_free_ char *got = NULL;
        fake_clear();
        fake.rival = BUF_INIT(BUF_MAX_LINE);
        buf_str(&fake.rival, "one");
        fake.rival_type = type;
        assert_int_equal(put(p, rows[i].file, "v1", &got, NULL), rows[i].r);
        assert_int_equal(fake.puts, 1);
        if (rows[i].r == 0)
            assert_string_equal(got, sha256);
        else
            assert_null(got);
    }
}

static void a_bundle_names_each_tree_of_its_spec(void **state)
{
    Place *p = *state;
    _cleanup_json_ json_t *known = json_object(), *trees = NULL, *none = NULL;
    _cleanup_json_ json_t *spec =
        json_make_new("{s:{s:s,s:s}, s:[{s:s,s:s}], s:{s:{s:s,s:s}}}", "release", "kind", "tree",
                      "version", "v4.7.6", "fetch", "kind", "tree", "version", "v4.7.7", "prepare",
                      "release", "kind", "tree", "version", "v4.7.7");
    _cleanup_json_ json_t *canary =
        json_make_new("{s:{s:s,s:s}}", "release", "kind", "canary", "version", "1");
    TreeInput in = {.island = "reef", .known = known};
    _cleanup_free_ char *a = NULL, *b = NULL;

    in.file = p->one;
    in.file_version = "v4.7.6";
    assert_int_equal(tree_put(&in, p->vault, "v4.7.6", &a, NULL), 0);
    in.file = p->other;
    in.file_version = "v4.7.7";
    assert_int_equal(tree_put(&in, p->vault, "v4.7.7", &b, NULL), 0);
    assert_int_equal(tree_urls(&in, p->vault, spec, 1800000000 * SECOND, &trees, NULL), 0);
    assert_int_equal(json_object_size(trees), 2);
    const json_t *one = json_object_get(trees, "v4.7.6"), *two = json_object_get(trees, "v4.7.7");
    assert_string_equal(json_str_or(one, "sha256", ""), a);
    assert_string_equal(json_str_or(two, "sha256", ""), b);
    const char *url = json_str_or(one, "url", "");
    assert_non_null(strstr(url, "/reef-boot/release-v4.7.6.tar.gz?temp_url_sig=GET"));
    assert_non_null(strstr(url, "&temp_url_expires=1800000000"));
    assert_null(strstr(url, "temp_url_prefix"));
    assert_int_equal(tree_urls(&in, p->vault, canary, 1, &none, NULL), 0);
    assert_int_equal(json_object_size(none), 0);
}

static void which_releases_need_one(void **state)
{
    static const struct {
        const char *kind, *ref;
        bool needed;
    } rows[] = {
        {"tree", "", true},
        {"image", "oci-archive:mastodon.tar", true},
        {"image", "ghcr.io/mastodon/mastodon", false},
        {"canary", "", false},
    };
    (void)state;
    assert_false(tree_is_needed(NULL));
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_json_ json_t *release =
            json_make_new("{s:s, s:s}", "kind", rows[i].kind, "ref", rows[i].ref);
        assert_int_equal(tree_is_needed(release), rows[i].needed);
    }
}

static void old_archives_go(void **state)
{
    (void)state;
    static const char *const names[] = {"release-v1.tar.gz", "release-v2.tar.gz",
                                        "release-v3.tar.gz", "0123.deb", "release-notes"};
    _cleanup_json_ json_t *keep = json_make_new("[{s:s,s:s}, {s:s,s:s}]", "kind", "tree", "version",
                                                "v3", "kind", "canary", "version", "v1");
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        _cleanup_free_ char *path = xasprintf("reef-boot/%s", names[i]);
        (void)fake_put(path, str_of("x"));
    }
    assert_int_equal(tree_prune(NULL, "reef", keep, NULL), 0);
    assert_null(fake_find("reef-boot/release-v1.tar.gz"));
    assert_null(fake_find("reef-boot/release-v2.tar.gz"));
    assert_non_null(fake_find("reef-boot/release-v3.tar.gz"));
    assert_non_null(fake_find("reef-boot/0123.deb"));
    assert_non_null(fake_find("reef-boot/release-notes"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_archive_is_put_there_once, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_no_good_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(a_large_one_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(a_strangers_archive_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(another_run_was_faster, setup, teardown),
        cmocka_unit_test_setup_teardown(a_bundle_names_each_tree_of_its_spec, setup, teardown),
        cmocka_unit_test_setup_teardown(which_releases_need_one, setup, teardown),
        cmocka_unit_test_setup_teardown(old_archives_go, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
