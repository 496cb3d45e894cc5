/* What a kit reaches, and what not. */
#include "backup/kit.h"

#include <setjmp.h>
#include <stdio.h>

#include <cmocka.h>

#include "wal_store.h"

#define BASE "20261129T013000Z-aaaaaaaaaaaaaaaa"

/* With the sizes that the catalogue of a real store has. */
static void add_sizes(WalStore *w)
{
    for (size_t i = 0; i < w->catalogue.objects.len; i++) {
        Seen *s = &w->catalogue.objects.items[i];
        _cleanup_(buf_clear) Buf all = BUF_INIT(OBJECT_MAX);

        assert_int_equal(store_get(w->store, s->name, 0, 0, &all, NULL), 0);
        s->bytes = (int64_t)all.len;
        s->written = 1000 + (Msec)i;
    }
}

static const char *add_object(WalStore *w, ObjectKind kind, json_t *facts)
{
    _cleanup_(buf_clear) Buf object = BUF_INIT(OBJECT_MAX);
    char hash[OBJECT_HASH_MAX];
    uint32_t number = (uint32_t)json_int(facts, "number", 0);

    assert_int_equal(object_seal(&w->seal, kind, STR_LIT("pages"), facts, &object, hash, NULL), 0);
    char *name = kind == OBJECT_PACK ? name_pack_new("aaaaaaaaaaaaaaaa", number, hash)
                                     : name_base_new(BASE, hash);
    assert_int_equal(store_put(w->store, name, buf_as_str(&object), STORE_ANY, NULL), 0);
    vec_push(&w->catalogue.objects, (Seen){.name = name, .note = 1});
    catalogue_sort(&w->catalogue);
    return name;
}

static json_t *pack_facts(int number)
{
    return json_make_new("{s:s, s:i}", "run", "aaaaaaaaaaaaaaaa", "number", number);
}

static int url_of(void *user, const char *name, char **ret, Err *err)
{
    (void)user;
    (void)err;
    *ret = xasprintf("http://store/%s", name);
    return 0;
}

/* Timeline 2 left timeline 1 in its third segment; timeline 3 left it before the backup. */
typedef struct Past {
    WalStore w;
    Base base;
    WalHistories histories;
    Choice choice;
    KeyPair key;
    const char *needed[16], *others[8];
} Past;

static void past_make(Past *p)
{
    char start[LSN_TEXT_MAX], stop[LSN_TEXT_MAX], text[64], fork[LSN_TEXT_MAX];
    const Lsn s = SEGMENT;
    WalStore *w = &p->w;
    size_t n = 0, o = 0;

    *p = (Past){0};
    wal_store_make(w);
    snprintf(text, sizeof text, "1\t%s\twhy\n", lsn_format(3 * s + 100, fork));
    add_history(w, 2, text);
    snprintf(text, sizeof text, "1\t%s\twhy\n", lsn_format(s + 10, fork));
    add_history(w, 3, text);
    p->others[o++] = add_piece_as(w, 1, 0, s, 0, 1);
    p->needed[n++] = add_piece_as(w, 1, s, 2 * s, 0, 1);
    p->needed[n++] = add_piece_as(w, 1, 2 * s, 3 * s, 0, 1);
    p->needed[n++] = add_piece_as(w, 1, 3 * s, 3 * s + 200, 0, 2);
    p->others[o++] = add_piece_as(w, 1, 3 * s + 200, 4 * s, 0, 2);
    p->needed[n++] = add_piece_as(w, 2, 3 * s + 100, 4 * s, 1, 0);
    p->others[o++] = add_piece_as(w, 3, s + 10, 2 * s, 1, 2);
    p->needed[n++] = add_object(w, OBJECT_PACK, pack_facts(1));
    const char *pack = p->needed[n - 1];
    p->others[o++] = add_object(w, OBJECT_PACK, pack_facts(2));
    p->base = (Base){.id = BASE, .tli = 1, .start = s + 500, .stop = 2 * s, .note = 1};
    p->base.facts = json_make_new(
        "{s:i, s:s, s:s, s:[[s, i]], s:i}", "tli", 1, "start", lsn_format(p->base.start, start),
        "stop", lsn_format(p->base.stop, stop), "packs", pack, 5, "segment", (int)SEGMENT);
    p->needed[n++] = add_object(w, OBJECT_BASE, json_deep_copy(p->base.facts));
    p->base.name = xstrdup(p->needed[n - 1]);
    add_sizes(w);
    assert_int_equal(
        wal_histories_load(w->store, &w->catalogue, &w->reader, &p->histories, &(StrList){0}, NULL),
        0);
    p->choice = (Choice){.base = &p->base, .tli = 2, .end = {2, 4 * s, 77, 0}};
    crypt_box_keys(&p->key);
}

static void past_free(Past *p)
{
    wal_store_free(&p->w);
    free(p->base.name);
    json_decref(p->base.facts);
    wal_histories_clear(&p->histories);
    keypair_clear(&p->key);
}

static int make(Past *p, Buf *ret, size_t *ret_objects, Err *err)
{
    return kit_make(&(KitAsk){.store = p->w.store,
                              .catalogue = &p->w.catalogue,
                              .reader = &p->w.reader,
                              .choice = &p->choice,
                              .histories = &p->histories,
                              .target = {.kind = TARGET_TIME, .time = 12345},
                              .recipient = p->key.public_b64,
                              .url = url_of},
                    ret, ret_objects, err);
}

/* May the kit's reader open it? */
static int opens(const Past *p, const Kit *k, const char *name)
{
    _cleanup_(buf_clear) Buf all = BUF_INIT(OBJECT_MAX), plain = BUF_INIT(OBJECT_MAX);

    assert_int_equal(store_get(p->w.store, name, 0, 0, &all, NULL), 0);
    return object_open(buf_as_str(&all), &k->reader, &plain, NULL);
}

static void what_leads_there_and_nothing_else(void **state)
{
    Past p;
    _cleanup_(buf_clear) Buf sealed = BUF_INIT(KIT_MAX);
    _cleanup_(kit_clear) Kit kit = {0};
    _cleanup_(keypair_clear) KeyPair stranger = {0};
    size_t objects = 0;
    (void)state;

    past_make(&p);
    assert_int_equal(make(&p, &sealed, &objects, NULL), 0);
    assert_int_equal(objects, 8); /* histories of all timelines: which number is free? */
    crypt_box_keys(&stranger);
    assert_int_equal(kit_open(buf_as_str(&sealed), &stranger, &(StoreOptions){0}, &kit, NULL),
                     -ERR_DENIED);
    assert_int_equal(kit_open(buf_as_str(&sealed), &p.key, &(StoreOptions){0}, &kit, NULL), 0);
    for (size_t i = 0; p.needed[i]; i++) {
        assert_int_equal(opens(&p, &kit, p.needed[i]), 0);
        assert_non_null(json_object_get(json_object_get(kit.json, "urls"), p.needed[i]));
        assert_int_equal(catalogue_find(&kit.catalogue, p.needed[i])->bytes,
                         catalogue_find(&p.w.catalogue, p.needed[i])->bytes);
    }
    for (size_t i = 0; p.others[i]; i++) {
        assert_int_equal(opens(&p, &kit, p.others[i]), -ERR_DENIED);
        assert_null(json_object_get(json_object_get(kit.json, "urls"), p.others[i]));
    }
    assert_string_equal(kit.choice.base->id, BASE);
    assert_int_equal(kit.choice.base->start, p.base.start);
    assert_int_equal(kit.choice.tli, 2);
    assert_int_equal(kit.choice.end.end, p.choice.end.end);
    assert_int_equal(kit.target.kind, TARGET_TIME);
    assert_int_equal(kit.target.time, 12345);
    assert_int_equal(kit.histories.len, 2);
    assert_int_equal(wal_counts(&kit.histories, 2, 1), 3 * (Lsn)SEGMENT + 100);
    assert_string_equal(kit.catalogue.system, SYSTEM);
    assert_string_equal(kit.catalogue.hosts.items[0], p.w.host.public_b64);
    /* It reads, and nothing else. */
    _cleanup_(buf_clear) Buf none = BUF_INIT(BUF_MAX_LINE);
    assert_int_equal(store_get(kit.store, p.others[0], 0, 0, &none, NULL), -ERR_NOT_FOUND);
    assert_int_equal(store_put(kit.store, p.needed[0], STR_LIT("x"), STORE_ANY, NULL), -ERR_DENIED);
    past_free(&p);
}

/* Rubbish among the pieces of the log is the restore's to judge; a pack that is gone ends it here.
 */
static void what_is_damaged(void **state)
{
    Past p;
    _cleanup_(buf_clear) Buf sealed = BUF_INIT(KIT_MAX);
    _cleanup_(err_clear) Err err = {0};
    size_t objects = 0;
    (void)state;

    past_make(&p);
    assert_int_equal(store_put(p.w.store, p.needed[1], STR_LIT("rubbish, long enough for a head"),
                               STORE_ANY, NULL),
                     0);
    add_sizes(&p.w);
    assert_int_equal(make(&p, &sealed, &objects, &err), 0);
    _cleanup_free_ char *path = path_join(p.w.folder, p.needed[4]);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(make(&p, &sealed, &objects, &err), -ERR_NOT_FOUND);
    assert_non_null(strstr(err.text, p.needed[4]));
    past_free(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_leads_there_and_nothing_else),
        cmocka_unit_test(what_is_damaged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
