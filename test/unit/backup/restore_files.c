/* A backup's files out of a store where somebody wrote over a pack. */
#include "backup/restore_work.h"
#include "backup/store_driver.h"
#include "io/file.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#define PAGES 40
#define FILE_PAGE 7

/* A store of one name: a plain get gives what was written last. */
typedef struct Twice {
    Store store;
    const char *name;
    Str first, last;
} Twice;

static int get(Store *s, const char *name, const char *version, int64_t offset, int64_t size,
               Buf *ret, Err *err)
{
    const Twice *t = (const Twice *)(const void *)s;
    Str all = version && streq(version, "1") ? t->first : t->last;

    if (!streq(name, t->name))
        return err_set(err, ERR_NOT_FOUND, "not there");
    size_t at = MIN((size_t)offset, all.n);
    buf_add(ret, all.p + at, size ? MIN((size_t)size, all.n - at) : all.n - at);
    return 0;
}

static int list(Store *s, const char *prefix, bool versions, StoreItems *ret, Err *err)
{
    const Twice *t = (const Twice *)(const void *)s;
    (void)prefix;
    (void)versions;
    (void)err;

    vec_push(ret, (StoreItem){.name = xstrdup(t->name), .version = xstrdup("1"), .written = 1});
    vec_push(ret,
             (StoreItem){
                 .name = xstrdup(t->name), .version = xstrdup("2"), .written = 2, .newest = true});
    return 0;
}

static Store *copy(const Store *s)
{
    const Twice *of = (const Twice *)(const void *)s;
    Twice *t = NEW(Twice);

    *t = *of;
    store_init_clone(&t->store, s);
    return &t->store;
}

static void nothing(Store *s)
{
    (void)s;
}

static void a_pack_that_was_overwritten_is_read_as_it_was(void **state)
{
    static const StoreDriver driver = {.get = get, .list = list, .clone = copy, .free = nothing};
    char folder[] = "/tmp/atoll-files-XXXXXX", hash[OBJECT_HASH_MAX];
    KeyPair reader, host;
    _cleanup_(buf_clear) Buf plain = BUF_INIT(OBJECT_MAX), pack = BUF_INIT(OBJECT_MAX);
    _cleanup_(buf_clear) Buf head_hash = BUF_INIT(OBJECT_HASH_MAX), got = BUF_INIT(OBJECT_MAX);
    _cleanup_(object_head_clear) ObjectHead head = {0};
    _cleanup_(restore_plan_clear) RestorePlan plan = {0};
    _cleanup_(err_clear) Err err = {0};
    uint8_t page[PAGE_BYTES];
    size_t need;
    (void)state;

    crypt_init();
    crypt_box_keys(&reader);
    crypt_sign_keys(&host);
    assert_non_null(mkdtemp(folder));
    for (int i = 0; i < PAGES; i++) {
        crypt_random(page, sizeof page);
        buf_add(&plain, page, sizeof page);
    }
    const ObjectSeal seal = {"7", (const char *const[]){reader.public_b64, NULL}, &host};
    assert_int_equal(
        object_seal(&seal, OBJECT_PACK, buf_as_str(&plain), json_object(), &pack, hash, NULL), 0);
    assert_int_equal(object_head(buf_as_str(&pack), &need, &head, NULL), 0);
    crypt_hash(CRYPT_SHA256, (Str){pack.p, head.frames_at}, &head_hash);
    _cleanup_free_ char *name = name_pack_new("0123456789abcdef", 1, hash);
    _cleanup_json_ json_t *facts =
        json_make_new("{s:[[s, I, s]]}", "packs", name, (json_int_t)pack.len, head_hash.p);
    _cleanup_free_ char *lines = xasprintf(
        "{\"path\":\"f\",\"kind\":\"file\",\"mode\":384,\"size\":%d,\"runs\":[[0,0,%d,1]]}\n",
        PAGE_BYTES, FILE_PAGE);
    assert_int_equal(restore_plan(facts, str_of(lines), &plan, &err), 0);
    assert_string_not_equal(plan.packs.items[0].head, "");

    Twice *t = NEW(Twice);
    store_init(&t->store, &driver, &(StoreOptions){.patience_ms = 1}, xstrdup("two versions"));
    t->name = name;
    t->first = buf_as_str(&pack);
    t->last = STR_LIT("ATOLLBK1 is what it was once");
    Catalogue c = {.system = xstrdup("7")};
    strlist_add(&c.hosts, host.public_b64);
    const RestoreOptions o = {
        .store = &t->store, .catalogue = &c, .reader = &reader, .to = folder, .threads = 1};
    _cleanup_free_ char *marker = path_join(folder, RESTORE_MARKER), *file = path_join(folder, "f");
    RestoreMarker m = {.fd = open(marker, O_RDWR | O_CREAT, 0600)};
    RestoreResult result = {0};
    if (restore_files(&o, &plan, &(RestoreOwner){0}, &m, &result, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(file_read(file, &got, NULL), 0);
    assert_int_equal(got.len, PAGE_BYTES);
    assert_memory_equal(got.p, plain.p + (size_t)FILE_PAGE * PAGE_BYTES, PAGE_BYTES);

    marker_close(&m);
    catalogue_clear(&c);
    (void)store_free(&t->store);
    keypair_clear(&reader);
    keypair_clear(&host);
    assert_int_equal(file_remove_tree(folder, NULL), 0);
}

/* The folder is PostgreSQL's user's, and what ran there may have been anything. */
static void a_marker_of_somebody_else_is_not_believed(void **state)
{
    static const char *const hows[] = {"link", "hard link", "owner"};
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(hows); i++) {
        char folder[] = "/tmp/atoll-marker-XXXXXX";
        _cleanup_(buf_clear) Buf got = BUF_INIT(BUF_MAX_LINE);
        _cleanup_(err_clear) Err err = {0};
        assert_non_null(mkdtemp(folder));
        _cleanup_free_ char *to = path_join(folder, "to"), *other = path_join(folder, "other");
        _cleanup_free_ char *marker = path_join(to, RESTORE_MARKER), *kept = path_join(to, "kept");
        assert_int_equal(file_mkdirs(to, 0700, NULL), 0);
        assert_int_equal(file_write(other, STR_LIT("{}\n"), 0600, NULL), 0);
        assert_int_equal(file_write(kept, STR_LIT("x"), 0600, NULL), 0);
        if (i == 0)
            assert_int_equal(symlink(other, marker), 0);
        if (i == 1)
            assert_int_equal(link(other, marker), 0);
        if (i == 2) {
            assert_int_equal(rename(other, marker), 0);
            assert_int_equal(symlink(marker, other), 0);
        }
        /* Only root can give a file away; all others would meet their own. */
        if (i < 2 || chown(marker, 65534, 65534) == 0) {
            Base base = {.name = (char *)(uintptr_t) "host/base/b"};
            const Choice choice = {.base = &base, .tli = 1};
            const RestoreOptions o = {.to = to, .choice = &choice};
            RestorePlan plan = {0};
            RestoreMarker m;
            assert_int_equal(marker_open(&o, &plan, &m, &err), -ERR_CONFLICT);
            assert_true(file_exists(kept));
            assert_int_equal(file_read(other, &got, NULL), 0);
            assert_string_equal(got.p, "{}\n");
        }
        assert_int_equal(file_remove_tree(folder, NULL), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pack_that_was_overwritten_is_read_as_it_was),
        cmocka_unit_test(a_marker_of_somebody_else_is_not_believed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
