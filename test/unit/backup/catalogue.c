/* The catalogue: the chain of notes and what breaks it, what they tell, and objects that somebody
 * wrote over. On a folder as a store; test/story/backup_store.py has the rest on Swift. */
#include "backup/catalogue.h"
#include "backup/store_driver.h"
#include "io/file.h"
#include <setjmp.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

typedef struct Place {
    char folder[40];
    Store *store;
    KeyPair auditor, host;
    StrList auditors, hosts;
} Place;

static int place_make(void **state)
{
    Place *p = NEW(Place);

    memcpy(p->folder, "/tmp/atoll-test-XXXXXX", sizeof "/tmp/atoll-test-XXXXXX");
    *state = p;
    crypt_sign_keys(&p->auditor);
    crypt_sign_keys(&p->host);
    strlist_add(&p->auditors, p->auditor.public_b64);
    strlist_add(&p->hosts, p->host.public_b64);
    return mkdtemp(p->folder) ? store_folder(p->folder, false, &(StoreOptions){0}, &p->store, NULL)
                              : -1;
}

static int place_remove(void **state)
{
    Place *p = *state;
    int r = file_remove_tree(p->folder, NULL);

    (void)store_free(p->store);
    keypair_clear(&p->auditor);
    keypair_clear(&p->host);
    strlist_clear(&p->auditors);
    strlist_clear(&p->hosts);
    free(p);
    return r;
}

static void write_note(Place *p, Catalogue *c, const char *kind, json_t *body)
{
    _cleanup_(err_clear) Err err = {0};

    if (catalogue_note(p->store, c, &p->auditor, kind, body, &err) < 0)
        fail_msg("%s", err.text);
}

static void begin(Place *p, Catalogue *c)
{
    assert_int_equal(catalogue_load(p->store, &p->auditors, c, NULL), 0);
    write_note(p, c, "begin",
               json_make_new("{s:s, s:[s]}", "system", "73", "hosts", p->host.public_b64));
}

static json_t *seen_new(const char *name, int bytes, const char *written)
{
    return json_make_new("{s:[[s, i, s, s]]}", "objects", name, bytes, "0123", written);
}

static void put(Place *p, const char *name, const char *text)
{
    assert_int_equal(store_put(p->store, name, str_of(text), STORE_ANY, NULL), 0);
}

static int load(Place *p, Catalogue *ret, Err *err)
{
    return catalogue_load(p->store, &p->auditors, ret, err);
}

#define A "host/pack/r-000001-00000000000000000000000000000000"
#define B "host/pack/r-000002-00000000000000000000000000000000"

static void empty(void **state)
{
    Place *p = *state;
    _cleanup_(catalogue_clear) Catalogue c = {0};

    put(p, A, "bytes");
    assert_int_equal(load(p, &c, NULL), 0);
    assert_string_equal(c.system, "");
    assert_int_equal(c.notes.len, 0);
    assert_int_equal(c.objects.len, 1);
    assert_int_equal(catalogue_find(&c, A)->note, 0);
    assert_int_equal(catalogue_find(&c, A)->bytes, 5);
    assert_false(catalogue_find(&c, A)->gone);
    assert_null(catalogue_find(&c, B));
}

static void told(void **state)
{
    Place *p = *state;
    _cleanup_(catalogue_clear) Catalogue c = {0}, again = {0};
    Msec written, not_before;

    begin(p, &c);
    put(p, B, "later");
    write_note(p, &c, "seen", seen_new(A, 7, "2026-11-29T00:00:00.123Z"));
    /* The first word about an object stands. */
    write_note(p, &c, "seen", seen_new(A, 8, "2027-11-29T00:00:00Z"));
    write_note(p, &c, "mark",
               json_make_new("{s:[s,s], s:s}", "objects", A, "host/unknown", "not_before",
                             "2026-12-01T00:00:00Z"));
    write_note(p, &c, "strange", json_make_new("{s:s}", "words", "kept"));
    assert_int_equal(load(p, &again, NULL), 0);
    const Catalogue *both[] = {&c, &again};
    assert_true(time_parse("2026-11-29T00:00:00.123Z", &written));
    assert_true(time_parse("2026-12-01T00:00:00Z", &not_before));
    for (size_t i = 0; i < 2; i++) {
        const Seen *a = catalogue_find(both[i], A);
        assert_string_equal(both[i]->system, "73");
        assert_string_equal(both[i]->hosts.items[0], p->host.public_b64);
        assert_int_equal(both[i]->notes.len, 5);
        assert_string_equal(json_str(both[i]->notes.items[4].body, "words"), "kept");
        assert_int_equal(a->note, 2);
        assert_int_equal(a->bytes, 7);
        assert_int_equal(a->written, written);
        assert_string_equal(a->etag, "0123");
        assert_int_equal(a->marked, 4);
        assert_int_equal(a->not_before, not_before);
        assert_true(a->gone);
    }
    assert_int_equal(catalogue_find(&again, B)->note, 0);
    write_note(p, &again, "unmark", json_make_new("{s:[s]}", "objects", A));
    assert_int_equal(catalogue_find(&again, A)->marked, 0);
    write_note(p, &again, "seen", seen_new(B, 5, "2026-11-29T00:00:00Z"));
    assert_int_equal(catalogue_find(&again, B)->note, 7);
    assert_false(catalogue_find(&again, B)->gone);
    write_note(p, &again, "pruned", json_make_new("{s:[s], s:i}", "objects", A, "mark", 4));
    assert_int_equal(catalogue_find(&again, A)->pruned, 8);
    /* One that was loaded before learns what others wrote. */
    assert_int_equal(catalogue_refresh(p->store, &p->auditors, &c, NULL), 0);
    assert_int_equal(c.notes.len, 8);
    assert_int_equal(catalogue_find(&c, A)->pruned, 8);
    assert_int_equal(catalogue_find(&c, B)->note, 7);
    assert_int_equal(c.objects.len, 2);
}

static void expect_many(Place *p, size_t notes)
{
    _cleanup_(catalogue_clear) Catalogue c = {0};
    _cleanup_(err_clear) Err err = {0};

    if (load(p, &c, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(c.notes.len, notes);
    assert_int_equal(c.objects.len, notes - 1);
}

static void remove_note(const Place *p, const char *name)
{
    _cleanup_free_ char *path = xasprintf("%s/catalogue/%s", p->folder, name);

    assert_int_equal(unlink(path), 0);
}

/* Many notes: read by several threads, in order, and by bundles. */
static void many(void **state)
{
    Place *p = *state;
    _cleanup_(catalogue_clear) Catalogue c = {0};
    bool more = true;
    int made = 0;

    begin(p, &c);
    for (int i = 1; i < 2 * NOTES_BUNDLE + 10; i++) {
        _cleanup_free_ char *name =
            xasprintf("host/pack/r-%06d-00000000000000000000000000000000", i);
        write_note(p, &c, "seen", seen_new(name, i, "2026-11-29T00:00:00Z"));
    }
    expect_many(p, 2 * NOTES_BUNDLE + 10);
    while (more) {
        assert_int_equal(catalogue_bundle(p->store, &p->auditors, &c, &more, NULL), 0);
        made += more;
    }
    assert_int_equal(made, 2);
    uint64_t before = store_requests(p->store);
    expect_many(p, 2 * NOTES_BUNDLE + 10);
    assert_int_equal(store_requests(p->store) - before, 1 + 2 + 10);
    /* Both are enough for all: a note and a bundle without the other, and one that is no good. */
    remove_note(p, "0000000005");
    expect_many(p, 2 * NOTES_BUNDLE + 10);
    put(p, "catalogue/0000000257-0000000512", "rubbish");
    expect_many(p, 2 * NOTES_BUNDLE + 10);
    put(p, "catalogue/0000000001-0000000256", "rubbish");
    _cleanup_(catalogue_clear) Catalogue broken = {0};
    assert_int_equal(load(p, &broken, NULL), -ERR_CORRUPT);
}

static char *note_path(const Place *p, int number)
{
    return xasprintf("%s/catalogue/%010d", p->folder, number);
}

static void three(Place *p)
{
    _cleanup_(catalogue_clear) Catalogue c = {0};

    begin(p, &c);
    write_note(p, &c, "seen", seen_new(A, 1, "2026-11-29T00:00:00Z"));
    write_note(p, &c, "seen", seen_new(B, 1, "2026-11-29T00:00:00Z"));
}

static void replace_in(const char *path, const char *what, const char *with)
{
    _cleanup_(buf_clear) Buf text = BUF_INIT(BUF_MAX_LINE), changed = BUF_INIT(BUF_MAX_LINE);

    assert_int_equal(file_read(path, &text, NULL), 0);
    const char *at = strstr(text.p, what);
    assert_non_null(at);
    buf_add(&changed, text.p, (size_t)(at - text.p));
    buf_printf(&changed, "%s%s", with, at + strlen(what));
    assert_int_equal(file_write(path, buf_as_str(&changed), 0600, NULL), 0);
}

static void gap(Place *p)
{
    _cleanup_free_ char *second = note_path(p, 2);
    assert_int_equal(unlink(second), 0);
}

static void changed(Place *p)
{
    _cleanup_free_ char *second = note_path(p, 2);
    replace_in(second, "000001-", "000009-");
}

static void cut(Place *p)
{
    _cleanup_free_ char *second = note_path(p, 2);
    assert_int_equal(truncate(second, 20), 0);
}

static void swapped(Place *p)
{
    _cleanup_free_ char *second = note_path(p, 2), *third = note_path(p, 3);
    assert_int_equal(rename(third, second), 0);
}

/* Signed by somebody else, in its place in the chain. */
static void forged(Place *p)
{
    _cleanup_(catalogue_clear) Catalogue c = {0};
    _cleanup_(keypair_clear) KeyPair thief = {0};
    _cleanup_free_ char *third = note_path(p, 3);

    assert_int_equal(unlink(third), 0);
    assert_int_equal(load(p, &c, NULL), 0);
    crypt_sign_keys(&thief);
    assert_int_equal(
        catalogue_note(p->store, &c, &thief, "seen", seen_new(B, 9, "2026-11-29T00:00:00Z"), NULL),
        0);
}

/* Signed by the auditor, for another history. */
static void other_history(Place *p)
{
    Note n = {.number = 3,
              .kind = xstrdup("seen"),
              .body = seen_new(B, 9, "2026-11-29T00:00:00Z"),
              .prev = "00"};
    _cleanup_(buf_clear) Buf text = BUF_INIT(BUF_MAX_LINE);
    _cleanup_free_ char *third = note_path(p, 3);

    note_write(&n, &p->auditor, &text);
    note_clear(&n);
    assert_int_equal(file_write(third, buf_as_str(&text), 0600, NULL), 0);
}

static void begins_again(Place *p)
{
    _cleanup_(catalogue_clear) Catalogue c = {0};

    assert_int_equal(load(p, &c, NULL), 0);
    assert_int_equal(catalogue_note(p->store, &c, &p->auditor, "begin",
                                    json_make_new("{s:s, s:[]}", "system", "9", "hosts"), NULL),
                     -ERR_CORRUPT);
}

static const struct {
    const char *name;
    void (*harm)(Place *p);
    const char *note, *words;
} harms[] = {
    {"gap", gap, "catalogue/0000000002", "it is missing, and there are later ones"},
    {"changed", changed, "catalogue/0000000002", "no auditor that is believed has signed it"},
    {"cut", cut, "catalogue/0000000002", "it is not two lines"},
    {"swapped", swapped, "catalogue/0000000002", "it has the number of another one"},
    {"forged", forged, "catalogue/0000000003", "no auditor that is believed has signed it"},
    {"other_history", other_history, "catalogue/0000000003", "the note before it is not the one"},
    {"begins_again", begins_again, "catalogue/0000000004", "can't say what it says"},
};

static void harmed(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(harms); i++) {
        void *place;
        _cleanup_(catalogue_clear) Catalogue c = {0};
        _cleanup_(err_clear) Err err = {0};

        assert_int_equal(place_make(&place), 0);
        three(place);
        harms[i].harm(place);
        if (load(place, &c, &err) != -ERR_CORRUPT)
            fail_msg("believed: %s", harms[i].name);
        if (!strstr(err.text, harms[i].note) || !strstr(err.text, harms[i].words))
            fail_msg("%s: %s", harms[i].name, err.text);
        assert_int_equal(place_remove(&place), 0);
    }
}

/* Somebody put names of notes to come: the next one, and one far ahead. The catalogue is read,
 * tells of them, and goes on over them. */
static void strays(void **state)
{
    static const char *const rows[][2] = {{"catalogue/9999999999", NULL},
                                          {"catalogue/0000000004", NULL},
                                          {"catalogue/0000000004", "catalogue/0000000007"}};
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        void *place;
        _cleanup_(catalogue_clear) Catalogue c = {0}, again = {0};
        size_t n = rows[i][1] ? 2 : 1;
        assert_int_equal(place_make(&place), 0);
        Place *p = place;
        three(p);
        for (size_t k = 0; k < n; k++)
            put(p, rows[i][k], "rubbish\nof two lines\n");
        put(p, "catalogue/9999999745-9999999999", "rubbish");
        assert_int_equal(load(p, &c, NULL), 0);
        assert_int_equal(c.notes.len, 3);
        assert_int_equal(c.strays.len, n);
        assert_string_equal(c.strays.items[0].name, rows[i][0]);
        /* What is known is not read again. */
        uint64_t before = store_requests(p->store);
        assert_int_equal(catalogue_refresh(p->store, &p->auditors, &c, NULL), 0);
        assert_int_equal(store_requests(p->store) - before, 1);
        write_note(p, &c, "seen", seen_new(A, 1, "2026-11-29T00:00:00Z"));
        assert_int_equal(load(p, &again, NULL), 0);
        assert_int_equal(again.notes.len, 4);
        assert_int_equal(again.strays.len, i == 1 ? 0 : 1);
        assert_int_equal(place_remove(&place), 0);
    }
}

static void two_auditors(void **state)
{
    Place *p = *state;
    _cleanup_(catalogue_clear) Catalogue one = {0}, two = {0};
    _cleanup_(err_clear) Err err = {0};

    begin(p, &one);
    assert_int_equal(load(p, &two, NULL), 0);
    write_note(p, &one, "seen", seen_new(A, 1, "2026-11-29T00:00:00Z"));
    assert_int_equal(catalogue_note(p->store, &two, &p->auditor, "seen",
                                    seen_new(B, 1, "2026-11-29T00:00:00Z"), &err),
                     -ERR_CONFLICT);
    assert_non_null(strstr(err.hint, "another `atoll backup audit`"));
    assert_int_equal(two.notes.len, 1);
    assert_int_equal(catalogue_refresh(p->store, &p->auditors, &two, NULL), 0);
    write_note(p, &two, "seen", seen_new(B, 1, "2026-11-29T00:00:00Z"));
    assert_int_equal(two.notes.len, 3);
}

static char *put_object(Place *p, Str plain)
{
    _cleanup_(keypair_clear) KeyPair reader = {0};
    _cleanup_(buf_clear) Buf b = BUF_INIT(BUF_MAX_LINE);
    char hash[OBJECT_HASH_MAX];

    crypt_box_keys(&reader);
    const char *recipients[] = {reader.public_b64, NULL};
    ObjectSeal seal = {.system = "73", .recipients = recipients, .signer = &p->host};
    assert_int_equal(object_seal(&seal, OBJECT_PACK, plain,
                                 json_make_new("{s:s, s:i}", "run", "r", "number", 1), &b, hash,
                                 NULL),
                     0);
    char *name = name_pack_new("r", 1, hash);
    assert_int_equal(store_put(p->store, name, buf_as_str(&b), STORE_ANY, NULL), 0);
    return name;
}

static void fetched(void **state)
{
    Place *p = *state;
    _cleanup_free_ char *name = put_object(p, STR_LIT("pages"));
    _cleanup_(buf_clear) Buf b = BUF_INIT(BUF_MAX_LINE);
    _cleanup_(strlist_clear) StrList strangers = {0};
    _cleanup_(keypair_clear) KeyPair other = {0};
    _cleanup_(err_clear) Err err = {0};

    crypt_sign_keys(&other);
    strlist_add(&strangers, other.public_b64);
    assert_int_equal(catalogue_fetch(p->store, &p->hosts, name, &b, &err), 0);
    assert_true(b.len > 64);
    assert_int_equal(catalogue_fetch(p->store, &strangers, name, &b, &err), -ERR_DENIED);
    assert_int_equal(catalogue_fetch(p->store, &p->hosts, A, &b, &err), -ERR_NOT_FOUND);
    put(p, name, "something else");
    size_t before = b.len;
    assert_int_equal(catalogue_fetch(p->store, &p->hosts, name, &b, &err), -ERR_CORRUPT);
    assert_int_equal(b.len, before);
}

/* A store of one name that was written twice: a plain get gives what was written last. */

typedef struct Twice {
    Store store;
    const char *name;
    Str first, last;
} Twice;

static int twice_get(Store *s, const char *name, const char *version, int64_t offset, int64_t size,
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

static int twice_list(Store *s, const char *prefix, bool versions, StoreItems *ret, Err *err)
{
    const Twice *t = (const Twice *)(const void *)s;
    (void)prefix;
    (void)err;

    if (versions)
        vec_push(ret, (StoreItem){.name = xstrdup(t->name), .version = xstrdup("1"), .written = 1});
    vec_push(ret,
             (StoreItem){
                 .name = xstrdup(t->name), .version = xstrdup("2"), .written = 2, .newest = true});
    return 0;
}

static void twice_free(Store *s)
{
    (void)s;
}

/* What somebody wrote over an object is no part of what is given. */
static void first_of_two(void **state)
{
    static const StoreDriver driver = {.get = twice_get, .list = twice_list, .free = twice_free};
    Place *p = *state;
    _cleanup_free_ char *name = put_object(p, STR_LIT("pages"));
    _cleanup_(buf_clear) Buf right = BUF_INIT(BUF_MAX_BODY), got = BUF_INIT(BUF_MAX_BODY);
    Twice *t = NEW(Twice);

    assert_int_equal(store_get(p->store, name, 0, 0, &right, NULL), 0);
    store_init(&t->store, &driver, &(StoreOptions){.patience_ms = 1}, xstrdup("two versions"));
    t->name = name;
    t->first = buf_as_str(&right);
    t->last = STR_LIT("forged");
    buf_str(&got, "before");
    assert_int_equal(catalogue_fetch(&t->store, &p->hosts, name, &got, NULL), 0);
    assert_int_equal(got.len, strlen("before") + right.len);
    assert_memory_equal(got.p + strlen("before"), right.p, right.len);
    (void)store_free(&t->store);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, place_make, place_remove)
    const struct CMUnitTest tests[] = {
        TEST(empty),
        TEST(told),
        TEST(many),
        TEST(two_auditors),
        TEST(fetched),
        TEST(first_of_two),
        cmocka_unit_test(harmed),
        cmocka_unit_test(strays),
    };

    crypt_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
