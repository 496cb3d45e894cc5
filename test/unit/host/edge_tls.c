/* Which pair an edge serves, when it has news for the operator, and that certbot can go on where
 * another server left off. In folders that stand for servers. */
#include "host/edge_tls.h"
#include "host/tls.h"

#include <setjmp.h>

#include <cmocka.h>

#include "lineage.h"

typedef struct Place {
    char root[64], other[64];
    char *folder, *there; /* certbot's on each */
    Vault *island;
    KeyPair operator;
    StrList recipients;
} Place;

static char *folder_new(const char *root)
{
    _cleanup_free_ char *own = xasprintf("%s/var/lib/atoll", root);

    assert_int_equal(file_mkdirs(own, 0711, NULL), 0);
    return xasprintf("%s/var/lib/atoll-services/" ACME_SERVICE, root);
}

static int setup(void **state)
{
    Place *p = NEW(Place);

    crypt_init();
    snprintf(p->root, sizeof p->root, "/tmp/atoll-edge.XXXXXX");
    snprintf(p->other, sizeof p->other, "/tmp/atoll-edge.XXXXXX");
    if (!mkdtemp(p->root) || !mkdtemp(p->other))
        return -1;
    p->folder = folder_new(p->root);
    p->there = folder_new(p->other);
    p->island = vault_new();
    vault_generate(p->island);
    crypt_box_keys(&p->operator);
    strlist_add(&p->recipients, p->operator.public_b64);
    *state = p;
    return 0;
}

static int teardown(void **state)
{
    Place *p = *state;
    int r = file_remove_tree(p->root, NULL);

    if (r == 0)
        r = file_remove_tree(p->other, NULL);
    free(p->folder);
    free(p->there);
    (void)vault_free(p->island);
    keypair_clear(&p->operator);
    strlist_clear(&p->recipients);
    free(p);
    return r;
}

static json_t *spec_new(const char *pair, bool here)
{
    return json_make_new("{s:s, s:s, s:{s:i, s:s, s:{s:s, s:b}}}", "island", "reef", "domain",
                         DOMAIN, "listen", "https", 443, "pair", pair, "acme", "email", "a@b.c",
                         "here", here);
}

/* A bundle's secrets. */
static Vault *secrets_new(const Place *p)
{
    Vault *v = vault_new();
    _cleanup_secret_ Secret *how = tls_letter_key_new(p->island, &p->recipients);

    vault_set(v, TLS_LETTER, how);
    return v;
}

static void mark_of(const Vault *v, char ret[static 17])
{
    Cert c;

    assert_true(tls_of_vault(v, &c));
    memcpy(ret, c.mark, 17);
}

static void it_begins_with_one_that_signs_itself(void **state)
{
    Place *p = *state;
    EdgeTls *t = edge_tls_open(p->root), *again = edge_tls_open(p->root);
    _cleanup_(vault_drop) Vault *v = secrets_new(p), *later = secrets_new(p);
    _cleanup_json_ json_t *spec = spec_new("", true), *none = json_object(), *plain = NULL;
    char first[17], second[17];

    assert_int_equal(edge_tls_pair(t, none, v, FIRST, NULL), 0);
    assert_null(vault_secret(v, TLS_KEY));
    assert_null(edge_tls_report_new(t));
    assert_int_equal(edge_tls_pair(t, spec, v, FIRST, NULL), 0);
    mark_of(v, first);
    plain = edge_tls_report_new(t);
    assert_true(json_bool(plain, "self", false));
    assert_string_equal(json_str(plain, "why"), "");
    /* The same after a restart: nginx is not told of another. */
    assert_int_equal(edge_tls_pair(again, spec, later, FIRST + DAY, NULL), 0);
    mark_of(later, second);
    assert_string_equal(first, second);
    /* And it is nothing for the vault. */
    EdgeLetter letter = {0};
    assert_false(edge_tls_turn(t, spec, v, 0, FIRST));
    assert_false(edge_tls_letter(t, spec, v, FIRST, &letter));
    (void)edge_tls_close(t);
    (void)edge_tls_close(again);
}

static void what_begins_last_is_served(void **state)
{
    Place *p = *state;
    EdgeTls *t = edge_tls_open(p->root);
    _cleanup_(vault_drop) Vault *v = secrets_new(p), *next = secrets_new(p);
    _cleanup_json_ json_t *spec = spec_new("", true), *elsewhere = spec_new("", false);
    char self[17], first[17], second[17], got[17];

    assert_int_equal(edge_tls_pair(t, spec, v, FIRST, NULL), 0);
    mark_of(v, self);
    /* certbot's first, noticed once; then its second. */
    lineage(p->folder, 1, FIRST);
    assert_true(edge_tls_turn(t, spec, v, 0, FIRST));
    mark_of(v, first);
    assert_string_not_equal(self, first);
    assert_false(edge_tls_turn(t, spec, v, 5 * SECOND, FIRST));
    lineage(p->folder, 2, FIRST + 60 * DAY);
    assert_false(edge_tls_turn(t, spec, v, 5 * SECOND + 1, FIRST)); /* once a second */
    assert_true(edge_tls_turn(t, spec, v, 10 * SECOND, FIRST));
    mark_of(v, second);
    assert_string_not_equal(first, second);
    /* A bundle that was made before it does not undo it. */
    assert_int_equal(edge_tls_pair(t, spec, next, FIRST, NULL), 0);
    mark_of(next, got);
    assert_string_equal(got, second);
    /* Where the edge is not the one that asks, the bundle's counts. */
    assert_false(edge_tls_turn(t, elsewhere, v, 20 * SECOND, FIRST));
    (void)edge_tls_close(t);
}

/* certbot turns four links, one after the other. */
static void a_key_that_does_not_fit_yet_is_waited_for(void **state)
{
    Place *p = *state;
    EdgeTls *t = edge_tls_open(p->root);
    _cleanup_(vault_drop) Vault *v = secrets_new(p);
    _cleanup_json_ json_t *spec = spec_new("", true);
    _cleanup_free_ char *live = acme_live(p->folder, DOMAIN, "privkey.pem");
    char before[17], after[17];

    lineage(p->folder, 1, FIRST);
    assert_int_equal(edge_tls_pair(t, spec, v, FIRST, NULL), 0);
    mark_of(v, before);
    lineage(p->folder, 2, FIRST + 60 * DAY);
    assert_int_equal(unlink(live), 0);
    assert_int_equal(symlink("../../archive/" DOMAIN "/privkey1.pem", live), 0);
    assert_false(edge_tls_turn(t, spec, v, 0, FIRST));
    mark_of(v, after);
    assert_string_equal(before, after);
    assert_int_equal(unlink(live), 0);
    assert_int_equal(symlink("../../archive/" DOMAIN "/privkey2.pem", live), 0);
    assert_true(edge_tls_turn(t, spec, v, 2 * SECOND, FIRST));
    (void)edge_tls_close(t);
}

/* Sealed on one server, opened by the operator, unpacked on another. */
static void a_letter_brings_it_all_to_the_next_server(void **state)
{
    Place *p = *state;
    EdgeTls *t = edge_tls_open(p->root);
    _cleanup_(vault_drop) Vault *v = secrets_new(p), *part = vault_new();
    _cleanup_json_ json_t *spec = spec_new("", true), *store = NULL;
    _cleanup_(edge_letter_clear) EdgeLetter letter = {0}, other = {0};
    _cleanup_(buf_clear) Buf conf = BUF_INIT(BUF_MAX_LINE), key = BUF_INIT(BUF_MAX_LINE);
    char mark[17];
    Cert got;

    lineage(p->folder, 1, FIRST);
    assert_int_equal(edge_tls_pair(t, spec, v, FIRST, NULL), 0);
    mark_of(v, mark);
    assert_false(edge_tls_turn(t, spec, v, 0, FIRST));
    assert_true(edge_tls_letter(t, spec, v, FIRST, &letter));
    assert_true(starts_with(letter.name, "tls-") && starts_with(letter.name + 4, mark));
    assert_null(strstr(letter.body.p, "geheim"));
    assert_int_equal(letter.life_s, 3650 * DAY / SECOND);
    edge_tls_sent(t);
    assert_false(edge_tls_turn(t, spec, v, 2 * SECOND, FIRST));
    assert_false(edge_tls_letter(t, spec, v, FIRST, &other));
    /* It may have been lost. */
    assert_false(edge_tls_turn(t, spec, v, DAY, FIRST));
    assert_true(edge_tls_letter(t, spec, v, FIRST, &other));
    assert_string_equal(other.name, letter.name);

    assert_int_equal(tls_letter_open(&(TlsLetter){"reef", mark, buf_as_str(&letter.body)},
                                     &p->operator, p->island, part, NULL),
                     0);
    Str text = secret_expose(vault_secret(part, TLS_STORE));
    store = json_parse_new(text.p, text.n, NULL);
    assert_false(acme_store_there(p->there, DOMAIN));
    put(p->there, "live/" DOMAIN "/half", STR_LIT("of an attempt that was killed"));
    assert_int_equal(acme_store_unpack(p->there, DOMAIN, store, NULL), 0);
    assert_true(acme_store_there(p->there, DOMAIN));
    assert_int_equal(acme_pair(p->there, DOMAIN, &got, NULL, NULL, NULL), 0);
    assert_string_equal(got.mark, mark);
    _cleanup_free_ char *settings = xasprintf("%s/conf/renewal/" DOMAIN ".conf", p->there),
                        *account = xasprintf("%s/conf/accounts/ca.example/directory/1/"
                                             "private_key.json",
                                             p->there);
    assert_int_equal(file_read(settings, &conf, NULL), 0);
    assert_non_null(strstr(conf.p, p->there)); /* its own place, not the other's */
    assert_null(strstr(conf.p, p->root));
    assert_int_equal(file_read(account, &key, NULL), 0);
    assert_string_equal(key.p, "{\"d\":\"geheim\"}");
    (void)edge_tls_close(t);
}

static void what_the_bundle_has_is_no_news(void **state)
{
    Place *p = *state;
    EdgeTls *t = edge_tls_open(p->root);
    _cleanup_(vault_drop) Vault *v = secrets_new(p);
    _cleanup_json_ json_t *first = spec_new("", true), *spec = NULL;
    EdgeLetter letter = {0};
    char mark[17];

    lineage(p->folder, 1, FIRST);
    assert_int_equal(edge_tls_pair(t, first, v, FIRST, NULL), 0);
    mark_of(v, mark);
    spec = spec_new(mark, true);
    assert_false(edge_tls_turn(t, spec, v, 0, FIRST));
    assert_false(edge_tls_letter(t, spec, v, FIRST, &letter));
    (void)edge_tls_close(t);
}

static void a_letter_of_somebody_else_is_refused(void **state)
{
    Place *p = *state;
    EdgeTls *t = edge_tls_open(p->root);
    _cleanup_(vault_drop) Vault *v = secrets_new(p), *part = vault_new(), *theirs = vault_new();
    _cleanup_(keypair_clear) KeyPair stranger = {0};
    _cleanup_json_ json_t *spec = spec_new("", true);
    _cleanup_(edge_letter_clear) EdgeLetter letter = {0};
    char mark[17];

    lineage(p->folder, 1, FIRST);
    assert_int_equal(edge_tls_pair(t, spec, v, FIRST, NULL), 0);
    mark_of(v, mark);
    assert_false(edge_tls_turn(t, spec, v, 0, FIRST));
    assert_true(edge_tls_letter(t, spec, v, FIRST, &letter));
    vault_generate(theirs);
    crypt_box_keys(&stranger);
    Str body = buf_as_str(&letter.body);
    const struct {
        TlsLetter letter;
        const KeyPair *key;
        const Vault *vault;
        int r;
    } rows[] = {
        {{"reef", mark, body}, &p->operator, theirs, -ERR_DENIED}, /* another island's */
        {{"reef", mark, body}, &stranger, p->island, -ERR_DENIED},
        {{"reef", "0123456789abcdef", body}, &p->operator, p->island, -ERR_CORRUPT},
        {{"atoll", mark, body}, &p->operator, p->island, -ERR_CORRUPT},
        {{"reef", mark, STR_LIT("{}")}, &p->operator, p->island, -ERR_DENIED},
        {{"reef", mark, STR_LIT("[")}, &p->operator, p->island, -ERR_CORRUPT},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_(err_clear) Err err = {0};
        assert_int_equal(tls_letter_open(&rows[i].letter, rows[i].key, rows[i].vault, part, &err),
                         rows[i].r);
        assert_null(vault_secret(part, TLS_KEY));
    }
    (void)edge_tls_close(t);
}

static void a_store_leads_nowhere_else(void **state)
{
    Place *p = *state;
    static const char *const stores[] = {
        "{\"files\": {\"accounts/../../../x\": \"\"}}",
        "{\"files\": {\"/etc/x\": \"\"}}",
        "{\"files\": {\"hooks/x\": \"\"}}",
        "{\"files\": {\"accounts//x\": \"\"}}",
        "{\"files\": {\"accounts/x\": 7}}",
        "{\"files\": {\"renewal/../x\": \"\"}}",
        "{\"links\": {\"live/" DOMAIN "/cert.pem\": \"/etc/passwd\"}}",
        "{\"links\": {\"live/" DOMAIN "/cert.pem\": \"../../archive/../../../x\"}}",
        "{\"links\": {\"live/../cert.pem\": \"../../archive/a/b\"}}",
    };
    for (size_t i = 0; i < ARRAY_LEN(stores); i++) {
        _cleanup_json_ json_t *store = json_parse_new(stores[i], strlen(stores[i]), NULL);
        assert_non_null(store);
        assert_int_equal(acme_store_unpack(p->there, DOMAIN, store, NULL), -ERR_CORRUPT);
    }
    /* Nothing at all is fine: certbot begins anew. */
    assert_int_equal(acme_store_unpack(p->there, DOMAIN, NULL, NULL), 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(it_begins_with_one_that_signs_itself),
        TEST(what_begins_last_is_served),
        TEST(a_key_that_does_not_fit_yet_is_waited_for),
        TEST(a_letter_brings_it_all_to_the_next_server),
        TEST(what_the_bundle_has_is_no_news),
        TEST(a_letter_of_somebody_else_is_refused),
        TEST(a_store_leads_nowhere_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
