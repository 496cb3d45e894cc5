#include "host/vault.h"
#include "base/vec.h"

#include <ctype.h>
#include <setjmp.h>

#include <cmocka.h>

#include "fake_swift.h"

typedef struct Keys {
    KeyPair own, recovery, stranger;
    StrList recipients;
} Keys;

static int setup(void **state)
{
    Keys *k = NEW(Keys);
    crypt_init();
    crypt_box_keys(&k->own);
    crypt_box_keys(&k->recovery);
    crypt_box_keys(&k->stranger);
    strlist_add(&k->recipients, k->own.public_b64);
    strlist_add(&k->recipients, k->recovery.public_b64);
    *state = k;
    return 0;
}

static int teardown(void **state)
{
    Keys *k = *state;
    keypair_clear(&k->own);
    keypair_clear(&k->recovery);
    keypair_clear(&k->stranger);
    strlist_clear(&k->recipients);
    free(k);
    fake_clear();
    return 0;
}

static const char *text(const Vault *v, const char *name)
{
    const Secret *s = vault_secret(v, name);
    assert_non_null(s);
    return secret_expose(s).p;
}

static void generated_secrets_have_their_formats(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        size_t n;
        int (*is)(int);
    } rows[] = {
        {"db_password", 32, isalnum},           {"redis_password", 32, isalnum},
        {"media_password", 32, isalnum},        {"secret_key_base", 128, isxdigit},
        {"active_record_primary", 32, isalnum}, {"active_record_deterministic", 32, isalnum},
        {"active_record_salt", 32, isalnum},    {"vapid_private", 44, isprint},
        {"vapid_public", 88, isprint},          {"sign_public", 44, isprint},
    };
    _cleanup_(vault_drop) Vault *v = vault_new(), *other = vault_new();
    vault_generate(v);
    vault_generate(other);

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const char *s = text(v, rows[i].name);
        assert_int_equal(strlen(s), rows[i].n);
        for (const char *p = s; *p; p++)
            assert_true(rows[i].is((unsigned char)*p));
        assert_string_not_equal(s, text(other, rows[i].name));
    }
    assert_int_equal(secret_expose(vault_secret(v, "master")).n, 32);
    assert_int_equal(secret_expose(vault_secret(v, "sign_secret")).n, 64);
}

static void generating_again_changes_nothing(void **state)
{
    (void)state;
    _cleanup_(vault_drop) Vault *v = vault_new();
    _cleanup_secret_ Secret *mine = secret_new("mine", 4);
    vault_set(v, "db_password", mine);
    vault_generate(v);
    _cleanup_free_ char *key = xstrdup(text(v, "secret_key_base"));

    vault_generate(v);
    assert_string_equal(text(v, "db_password"), "mine");
    assert_string_equal(text(v, "secret_key_base"), key);
}

static void its_pair_signs(void **state)
{
    (void)state;
    _cleanup_(vault_drop) Vault *v = vault_new();
    _cleanup_(keypair_clear) KeyPair sign = {0};
    _cleanup_(buf_clear) Buf mark = BUF_INIT(BUF_MAX_LINE);
    vault_generate(v);

    assert_int_equal(vault_sign_keys(v, &sign, NULL), 0);
    crypt_sign(&sign, STR_LIT("x"), &mark);
    assert_true(crypt_verify(sign.public_b64, STR_LIT("x"), buf_as_str(&mark)));
    _cleanup_(vault_drop) Vault *empty = vault_new();
    _cleanup_(keypair_clear) KeyPair none = {0};
    assert_int_equal(vault_sign_keys(empty, &none, NULL), -ERR_CORRUPT);
}

static void derived_keys_are_stable_text(void **state)
{
    (void)state;
    _cleanup_(vault_drop) Vault *v = vault_new();
    vault_generate(v);
    _cleanup_secret_ Secret *a = vault_derive_new(v, "temp-url/mail");
    _cleanup_secret_ Secret *b = vault_derive_new(v, "temp-url/mail");
    _cleanup_secret_ Secret *c = vault_derive_new(v, "temp-url/boot");

    assert_true(secret_eq(a, b));
    assert_false(secret_eq(a, c));
    assert_int_equal(secret_expose(a).n, 64);
    assert_int_equal(strspn(secret_expose(a).p, "0123456789abcdef"), 64);
}

static void both_keys_open_it_and_no_other(void **state)
{
    Keys *k = *state;
    _cleanup_(vault_drop) Vault *v = vault_new(), *own = NULL, *recovery = NULL, *none = NULL;
    _cleanup_(buf_clear) Buf sealed = BUF_INIT(BUF_MAX_BODY);
    _cleanup_(err_clear) Err err = {0};
    vault_generate(v);
    _cleanup_secret_ Secret *odd = secret_new("a\0b\"\n", 5);
    vault_set(v, "smtp_password", odd);

    assert_int_equal(vault_seal(v, "reef", &k->recipients, &sealed, NULL), 0);
    assert_null(strstr(sealed.p, text(v, "db_password")));
    assert_int_equal(vault_unseal(buf_as_str(&sealed), "reef", &k->own, &own, NULL), 0);
    assert_int_equal(vault_unseal(buf_as_str(&sealed), "reef", &k->recovery, &recovery, NULL), 0);
    assert_string_equal(text(own, "db_password"), text(v, "db_password"));
    assert_true(secret_eq(vault_secret(recovery, "smtp_password"), odd));
    assert_true(secret_eq(vault_secret(recovery, "master"), vault_secret(v, "master")));

    assert_int_equal(vault_unseal(buf_as_str(&sealed), "reef", &k->stranger, &none, &err),
                     -ERR_DENIED);
    assert_non_null(err.hint);
    assert_int_equal(vault_unseal(buf_as_str(&sealed), "atoll", &k->own, &none, NULL),
                     -ERR_CORRUPT);
    sealed.p[sealed.len / 2] ^= 1;
    assert_true(vault_unseal(buf_as_str(&sealed), "reef", &k->own, &none, NULL) < 0);
    assert_null(none);
}

static void it_can_be_a_text_and_lose_a_secret(void **state)
{
    (void)state;
    _cleanup_(vault_drop) Vault *v = vault_new(), *again = NULL, *none = NULL;
    _cleanup_(buf_wipe) Buf whole = BUF_INIT(BUF_MAX_BODY), less = BUF_INIT(BUF_MAX_BODY);
    vault_generate(v);

    assert_int_equal(vault_write(v, &whole, NULL), 0);
    assert_int_equal(vault_read(buf_as_str(&whole), &again, NULL), 0);
    assert_true(secret_eq(vault_secret(again, "master"), vault_secret(v, "master")));
    assert_string_equal(text(again, "sign_public"), text(v, "sign_public"));

    vault_remove(v, "vapid_public");
    vault_remove(v, "vapid_public");
    assert_null(vault_secret(v, "vapid_public"));
    assert_string_equal(text(again, "search_password"), text(v, "search_password"));
    assert_int_equal(vault_write(v, &less, NULL), 0);
    assert_int_equal(vault_read(buf_as_str(&less), &none, NULL), -ERR_CORRUPT);
    assert_int_equal(vault_read(STR_LIT("{\"master\":1}"), &none, NULL), -ERR_CORRUPT);
    assert_null(none);
}

static void a_vault_that_lacks_a_secret_is_damaged(void **state)
{
    Keys *k = *state;
    _cleanup_(vault_drop) Vault *v = vault_new(), *none = NULL;
    _cleanup_(buf_clear) Buf sealed = BUF_INIT(BUF_MAX_BODY);
    _cleanup_(err_clear) Err err = {0};
    _cleanup_secret_ Secret *one = secret_new("x", 1);
    vault_set(v, "master", one);

    assert_int_equal(vault_seal(v, "reef", &k->recipients, &sealed, NULL), 0);
    assert_int_equal(vault_unseal(buf_as_str(&sealed), "reef", &k->own, &none, &err), -ERR_CORRUPT);
    assert_non_null(strstr(err.text, "db_password"));
}

/* The search server is younger than some vaults. */
static void what_is_derived_is_the_same_in_an_older_vault(void **state)
{
    Keys *k = *state;
    _cleanup_(vault_drop) Vault *v = vault_new(), *old = vault_new(), *read = NULL;
    _cleanup_(buf_clear) Buf sealed = BUF_INIT(BUF_MAX_BODY);
    static const char *const names[] = {"master",
                                        "db_password",
                                        "redis_password",
                                        "media_password",
                                        "secret_key_base",
                                        "vapid_private",
                                        "vapid_public",
                                        "active_record_primary",
                                        "active_record_deterministic",
                                        "active_record_salt",
                                        "sign_secret",
                                        "sign_public"};

    vault_generate(v);
    assert_true(starts_with(text(v, "search_password"), "Sr-"));
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        vault_set(old, names[i], vault_secret(v, names[i]));
    assert_int_equal(vault_seal(old, "reef", &k->recipients, &sealed, NULL), 0);
    assert_int_equal(vault_unseal(buf_as_str(&sealed), "reef", &k->own, &read, NULL), 0);
    assert_string_equal(text(read, "search_password"), text(v, "search_password"));
}

static void it_is_made_once_and_then_read(void **state)
{
    Keys *k = *state;
    _cleanup_(vault_drop) Vault *first = NULL, *second = NULL;

    assert_int_equal(vault_open(NULL, "reef", &k->own, &k->recipients, false, &first, NULL),
                     -ERR_NOT_FOUND);
    assert_int_equal(fake.puts, 0);
    assert_int_equal(vault_open(NULL, "reef", &k->own, &k->recipients, true, &first, NULL), 0);
    assert_non_null(fake_find("reef-vault/secrets"));
    assert_int_equal(vault_open(NULL, "reef", &k->recovery, &k->recipients, true, &second, NULL),
                     0);
    assert_int_equal(fake.puts, 1);
    assert_string_equal(text(first, "db_password"), text(second, "db_password"));
}

/* Two operators at the same moment: the slower one uses what the faster one made. */
static void of_two_first_runs_both_use_the_winners(void **state)
{
    Keys *k = *state;
    _cleanup_(vault_drop) Vault *winner = vault_new(), *ours = NULL;
    vault_generate(winner);
    fake.rival = BUF_INIT(BUF_MAX_BODY);
    assert_int_equal(vault_seal(winner, "reef", &k->recipients, &fake.rival, NULL), 0);

    assert_int_equal(vault_open(NULL, "reef", &k->own, &k->recipients, true, &ours, NULL), 0);
    assert_int_equal(fake.puts, 1);
    assert_string_equal(text(ours, "db_password"), text(winner, "db_password"));
}

/* A part is an object of its own: what writes it can't lose what is beside it. */
static void a_part_leaves_the_rest_alone(void **state)
{
    Keys *k = *state;
    _cleanup_(vault_drop) Vault *all = NULL, *part = vault_new(), *none = vault_new();
    _cleanup_secret_ Secret *one = secret_new("PEM", 3), *two = secret_new("NEWER", 5);
    _cleanup_(err_clear) Err err = {0};
    const VaultPart to = {"tls", "a/b; mark=1", &k->recipients, part};

    assert_int_equal(vault_open(NULL, "reef", &k->own, &k->recipients, true, &all, NULL), 0);
    assert_int_equal(vault_part_load(NULL, "reef", "tls", &k->own, all, NULL), -ERR_NOT_FOUND);
    vault_set(part, "tls_key", one);
    assert_int_equal(vault_part_store(NULL, "reef", &to, NULL), 0);
    vault_set(part, "tls_key", two);
    assert_int_equal(vault_part_store(NULL, "reef", &to, NULL), 0);
    assert_null(strstr(fake_find("reef-vault/tls")->body.p, "NEWER"));
    assert_string_equal(fake_find("reef-vault/tls")->type, "a/b; mark=1");

    assert_int_equal(vault_part_load(NULL, "reef", "tls", &k->recovery, all, NULL), 0);
    assert_string_equal(text(all, "tls_key"), "NEWER");
    assert_int_equal(strlen(text(all, "db_password")), 32);
    assert_int_equal(vault_part_load(NULL, "reef", "tls", &k->stranger, none, &err), -ERR_DENIED);

    /* At another place it is nobody's. */
    FakeObject *moved =
        fake_put("reef-vault/secrets", buf_as_str(&fake_find("reef-vault/tls")->body));
    _cleanup_(vault_drop) Vault *wrong = NULL;
    assert_non_null(moved);
    assert_int_equal(vault_open(NULL, "reef", &k->own, &k->recipients, false, &wrong, NULL),
                     -ERR_CORRUPT);
    assert_null(vault_secret(none, "tls_key"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(generated_secrets_have_their_formats, setup, teardown),
        cmocka_unit_test_setup_teardown(generating_again_changes_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(its_pair_signs, setup, teardown),
        cmocka_unit_test_setup_teardown(derived_keys_are_stable_text, setup, teardown),
        cmocka_unit_test_setup_teardown(both_keys_open_it_and_no_other, setup, teardown),
        cmocka_unit_test_setup_teardown(a_vault_that_lacks_a_secret_is_damaged, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_derived_is_the_same_in_an_older_vault, setup,
                                        teardown),
        cmocka_unit_test(it_can_be_a_text_and_lose_a_secret),
        cmocka_unit_test_setup_teardown(it_is_made_once_and_then_read, setup, teardown),
        cmocka_unit_test_setup_teardown(a_part_leaves_the_rest_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(of_two_first_runs_both_use_the_winners, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
