#include "host/bundle.h"
#include "island/roles.h"

#include <setjmp.h>

#include <cmocka.h>

#include "untold.h"

#define NONCE "00112233aabbccdd"

typedef struct World {
    Vault *vault;
    KeyPair host, stranger, sign;
    json_t *spec;
    Buf text; /* bundle 3 of web.0 */
} World;

static const BundleHead head = {"web.0", NONCE, 3};
static const BundleUrls urls = {"https://s/in/?q", "https://s/out/?q", 1800000000};

static json_t *spec_new(const char *role)
{
    return json_make_new("{s:s, s:[s], s:{s:s}}", "server", "web.0", "roles", role, "env_secrets",
                         "SMTP_PASSWORD", "smtp_password");
}

static int setup(void **state)
{
    World *w = NEW(World);
    _cleanup_secret_ Secret *smtp = secret_new("s3cret-smtp", 11);
    crypt_init();
    w->vault = vault_new();
    vault_generate(w->vault);
    vault_set(w->vault, "smtp_password", smtp);
    crypt_box_keys(&w->host);
    crypt_box_keys(&w->stranger);
    assert_int_equal(vault_sign_keys(w->vault, &w->sign, NULL), 0);
    w->spec = spec_new("web");
    w->text = BUF_INIT(BUF_MAX_BODY);
    assert_int_equal(
        bundle_make(&head, w->host.public_b64, w->spec, w->vault, &urls, &w->text, NULL), 0);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    World *w = *state;
    (void)vault_free(w->vault);
    keypair_clear(&w->host);
    keypair_clear(&w->stranger);
    keypair_clear(&w->sign);
    json_decref(w->spec);
    buf_clear(&w->text);
    free(w);
    return 0;
}

static int open_as(const World *w, Str text, const BundleHead *expect, int64_t last, json_t **ret)
{
    return bundle_open(text, w->sign.public_b64, &w->host, expect, last, ret, NULL);
}

static void it_opens_to_what_was_put_in(void **state)
{
    World *w = *state;
    _cleanup_json_ json_t *body = NULL;
    _cleanup_(vault_drop) Vault *inside = vault_new();

    assert_int_equal(open_as(w, buf_as_str(&w->text), &head, 2, &body), 0);
    assert_true(json_equal(json_object_get(body, "spec"), w->spec));
    assert_int_equal(json_int(body, "number", 0), 3);
    assert_string_equal(json_str(body, "urls.in"), urls.in);
    assert_string_equal(json_str(body, "urls.out"), urls.out);
    assert_int_equal(json_int(body, "urls.expires", 0), urls.expires_s);
    assert_int_equal(bundle_vault(body, inside, NULL), 0);
    assert_true(
        secret_eq(vault_secret(inside, "db_password"), vault_secret(w->vault, "db_password")));
    assert_string_equal(secret_expose(vault_secret(inside, "smtp_password")).p, "s3cret-smtp");
    assert_null(vault_secret(inside, "master"));
    assert_null(vault_secret(inside, "sign_secret"));
}

static void nothing_of_it_is_readable(void **state)
{
    World *w = *state;
    assert_null(strstr(w->text.p, "s3cret-smtp"));
    assert_null(strstr(w->text.p, "https://s/"));
    assert_untold(buf_as_str(&w->text), vault_secret(w->vault, "db_password"));
}

static void each_role_has_only_its_secrets(void **state)
{
    (void)state;
    static const struct {
        unsigned roles;
        const char *has, *has_not;
        size_t n;
    } rows[] = {
        {ROLE_BIT(ROLE_EDGE), NULL, "db_password", 0},
        {ROLE_BIT(ROLE_REDIS), "redis_password", "db_password", 1},
        {ROLE_BIT(ROLE_POSTGRES), "db_password", "redis_password", 1},
        {ROLE_BIT(ROLE_STREAM), "redis_password", "media_password", 2},
        {ROLE_BIT(ROLE_REDIS) | ROLE_BIT(ROLE_POSTGRES), "db_password", "secret_key_base", 2},
        {ROLE_BIT(ROLE_WEB), "smtp_password", "master", 10},
        {ROLE_BIT(ROLE_WORKER), "media_password", "sign_secret", 10},
        {ROLE_BIT(ROLE_WEB) | ROLE_BIT(ROLE_WORKER), "vapid_private", "master", 10},
    };
    _cleanup_json_ json_t *env =
        json_make_new("{s:s, s:s}", "SMTP_PASSWORD", "smtp_password", "X", "smtp_password");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_(strlist_clear) StrList names = {0};
        bundle_secrets_for(rows[i].roles, env, &names);
        assert_int_equal(names.len, rows[i].n);
        assert_true(!rows[i].has || strlist_has(&names, rows[i].has));
        assert_false(strlist_has(&names, rows[i].has_not));
    }
}

/* The certificate goes to the edge of an island that ends TLS itself, and to no other server. */
static void a_pair_goes_to_who_listens_with_it(void **state)
{
    World *w = *state;
    static const char *const pairs[] = {"", "0123456789abcdef"};
    _cleanup_secret_ Secret *pem = secret_new("PEM", 3);

    vault_set(w->vault, "tls_certificate", pem);
    vault_set(w->vault, "tls_key", pem);
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        _cleanup_(buf_clear) Buf text = BUF_INIT(BUF_MAX_BODY);
        _cleanup_json_ json_t *body = NULL;
        json_object_set_new(w->spec, "listen", json_make_new("{s:s}", "pair", pairs[i]));
        assert_int_equal(
            bundle_make(&head, w->host.public_b64, w->spec, w->vault, &urls, &text, NULL), 0);
        assert_int_equal(open_as(w, buf_as_str(&text), &head, 2, &body), 0);
        assert_int_equal(json_str(json_object_get(body, "secrets"), "tls_key") != NULL, i == 1);
        assert_int_equal(json_str(json_object_get(body, "secrets"), "tls_certificate") != NULL,
                         i == 1);
    }
}

/* How a new one is sent, and what certbot had, only to the edge that asks for it. */
static void who_asks_for_the_pair_gets_what_that_needs(void **state)
{
    World *w = *state;
    _cleanup_secret_ Secret *value = secret_new("{}", 2);

    vault_set(w->vault, "tls_letter", value);
    for (int kept = 0; kept <= 1; kept++) {
        for (int here = 0; here <= 1; here++) {
            _cleanup_(buf_clear) Buf text = BUF_INIT(BUF_MAX_BODY);
            _cleanup_json_ json_t *body = NULL;
            json_object_set_new(w->spec, "listen",
                                json_make_new("{s:s, s:{s:b}}", "pair", "", "acme", "here", here));
            assert_int_equal(
                bundle_make(&head, w->host.public_b64, w->spec, w->vault, &urls, &text, NULL), 0);
            assert_int_equal(open_as(w, buf_as_str(&text), &head, 2, &body), 0);
            const json_t *secrets = json_object_get(body, "secrets");
            assert_int_equal(json_str(secrets, "tls_letter") != NULL, here);
            assert_int_equal(json_str(secrets, "tls_store") != NULL, here && kept);
            assert_null(json_str(secrets, "tls_key"));
        }
        vault_set(w->vault, "tls_store", value);
    }
}

static void a_secret_that_is_not_there_is_named(void **state)
{
    World *w = *state;
    _cleanup_(buf_clear) Buf text = BUF_INIT(BUF_MAX_BODY);
    _cleanup_(err_clear) Err err = {0};
    json_object_set_new(w->spec, "env_secrets", json_make_new("{s:s}", "X", "nobody_made_it"));

    assert_int_equal(bundle_make(&head, w->host.public_b64, w->spec, w->vault, &urls, &text, &err),
                     -ERR_CONFIG);
    assert_non_null(strstr(err.text, "nobody_made_it"));
    assert_int_equal(text.len, 0);
}

static void it_is_refused_elsewhere(void **state)
{
    World *w = *state;
    const struct {
        BundleHead expect;
        int64_t last;
        int kind;
    } rows[] = {
        {{"web.0", NONCE, 3}, 2, 0},
        {{"web.0", NONCE, 0}, 0, 0},
        {{"web.1", NONCE, 3}, 2, ERR_DENIED},
        {{"web.0", "ffffffffffffffff", 3}, 2, ERR_DENIED},
        {{"web.0", NONCE, 3}, 3, ERR_CONFLICT},
        {{"web.0", NONCE, 3}, 9, ERR_CONFLICT},
        {{"web.0", NONCE, 4}, 2, ERR_DENIED},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_json_ json_t *body = NULL;
        assert_int_equal(open_as(w, buf_as_str(&w->text), &rows[i].expect, rows[i].last, &body),
                         -rows[i].kind);
        assert_true((body != NULL) == (rows[i].kind == 0));
    }
}

static void other_keys_do_not_open_it(void **state)
{
    World *w = *state;
    _cleanup_(keypair_clear) KeyPair other = {0};
    _cleanup_json_ json_t *body = NULL;
    Str text = buf_as_str(&w->text);
    crypt_sign_keys(&other);

    assert_int_equal(bundle_open(text, w->sign.public_b64, &w->stranger, &head, 2, &body, NULL),
                     -ERR_DENIED);
    assert_int_equal(bundle_open(text, other.public_b64, &w->host, &head, 2, &body, NULL),
                     -ERR_DENIED);
    assert_int_equal(bundle_open(text, "", &w->host, &head, 2, &body, NULL), -ERR_DENIED);
    assert_null(body);
}

/* Signs whatever a thief of the mail container could have put together, with the given key. */
static void forge(const KeyPair *sign, const char *inner, Buf *ret)
{
    _cleanup_(buf_clear) Buf b64 = BUF_INIT(BUF_MAX_BODY), mark = BUF_INIT(BUF_MAX_LINE);
    buf_truncate(ret, 0);
    crypt_base64(&b64, inner, strlen(inner));
    crypt_sign(sign, str_of(inner), &mark);
    buf_printf(ret, "{\"v\":1,\"signed\":\"%s\",\"signature\":\"%s\"}", b64.p, mark.p);
}

static void forged_insides_are_refused(void **state)
{
    World *w = *state;
    _cleanup_(buf_clear) Buf text = BUF_INIT(BUF_MAX_BODY), sealed = BUF_INIT(BUF_MAX_BODY);
    const char *const to_host[] = {w->host.public_b64, NULL};
    _cleanup_json_ json_t *body = NULL;

    /* Signed well, but sealed for another purpose: an old bundle's inside under a new number. */
    assert_int_equal(crypt_seal(to_host, "bundle/web.0/" NONCE "/2",
                                STR_LIT("{\"spec\":{},\"secrets\":{}}"), &sealed, NULL),
                     0);
    _cleanup_json_ json_t *inner = json_make_new("{s:s, s:s, s:i, s:s}", "server", "web.0", "nonce",
                                                 NONCE, "number", 3, "sealed", sealed.p);
    _cleanup_free_ char *inner_text = json_text_new(inner);
    forge(&w->sign, inner_text, &text);
    assert_int_equal(open_as(w, buf_as_str(&text), &head, 2, &body), -ERR_CORRUPT);

    static const char *const insides[] = {
        "",
        "null",
        "[]",
        "{}",
        "{\"server\":\"web.0\"}",
        "{\"server\":\"web.0\",\"nonce\":\"" NONCE "\",\"number\":\"3\",\"sealed\":\"x\"}",
        "{\"server\":\"web.0\",\"nonce\":\"" NONCE "\",\"number\":3}",
        "{\"server\":\"web.0\",\"nonce\":\"" NONCE "\",\"number\":3,\"sealed\":\"{}\"}",
    };
    for (size_t i = 0; i < ARRAY_LEN(insides); i++) {
        forge(&w->sign, insides[i], &text);
        assert_true(open_as(w, buf_as_str(&text), &head, 2, &body) < 0);
        assert_null(body);
    }
    /* A good seal around nothing. */
    static const char *const plains[] = {"", "[]", "{}", "{\"spec\":{}}",
                                         "{\"spec\":1,\"secrets\":{}}"};
    for (size_t i = 0; i < ARRAY_LEN(plains); i++) {
        buf_truncate(&sealed, 0);
        assert_int_equal(
            crypt_seal(to_host, "bundle/web.0/" NONCE "/3", str_of(plains[i]), &sealed, NULL), 0);
        json_object_set_new(inner, "sealed", json_string(sealed.p));
        _cleanup_free_ char *t = json_text_new(inner);
        forge(&w->sign, t, &text);
        assert_int_equal(open_as(w, buf_as_str(&text), &head, 2, &body), -ERR_CORRUPT);
    }
}

static void a_foreign_signature_is_refused(void **state)
{
    World *w = *state;
    _cleanup_(keypair_clear) KeyPair thief = {0};
    _cleanup_(buf_clear) Buf text = BUF_INIT(BUF_MAX_BODY);
    _cleanup_json_ json_t *outer = json_parse_new(w->text.p, w->text.len, NULL), *body = NULL;
    _cleanup_(buf_clear) Buf inner = BUF_INIT(BUF_MAX_BODY);
    crypt_sign_keys(&thief);

    assert_true(crypt_unbase64(&inner, str_of(json_str(outer, "signed"))));
    forge(&thief, inner.p, &text);
    assert_int_equal(open_as(w, buf_as_str(&text), &head, 2, &body), -ERR_DENIED);
}

/* Every byte of the object matters: changed anywhere, it is refused or it is the same. */
static void no_byte_can_be_changed(void **state)
{
    World *w = *state;
    for (size_t i = 0; i < w->text.len; i += 7) {
        _cleanup_free_ char *bad = xstrndup(w->text.p, w->text.len);
        _cleanup_json_ json_t *body = NULL;
        bad[i] = bad[i] == 'A' ? 'B' : 'A';
        int r = open_as(w, (Str){bad, w->text.len}, &head, 2, &body);
        assert_true(r == -ERR_CORRUPT || r == -ERR_DENIED);
        assert_null(body);
    }
    for (size_t n = 0; n < w->text.len; n += 61) {
        _cleanup_json_ json_t *body = NULL;
        assert_true(open_as(w, (Str){w->text.p, n}, &head, 2, &body) < 0);
    }
}

/* Where a tree's archive is, and what it must be, comes sealed and signed. */
static void it_says_where_a_tree_is(void **state)
{
    World *w = *state;
    _cleanup_json_ json_t *trees =
        json_make_new("{s:{s:s, s:s}}", "v4.7.6", "url", "https://s/tree?q", "sha256", "abcd");
    _cleanup_json_ json_t *none = json_object(), *body = NULL;
    BundleUrls with = urls;
    const json_t *const of[] = {NULL, none, trees};

    for (size_t i = 0; i < ARRAY_LEN(of); i++) {
        _cleanup_(buf_clear) Buf text = BUF_INIT(BUF_MAX_BODY);
        with.trees = of[i];
        assert_int_equal(
            bundle_make(&head, w->host.public_b64, w->spec, w->vault, &with, &text, NULL), 0);
        json_decref(body);
        body = NULL;
        assert_int_equal(open_as(w, buf_as_str(&text), &head, 0, &body), 0);
        const json_t *got = json_at(body, "urls.trees");
        assert_true(of[i] == trees ? json_equal(got, trees) : got == NULL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(it_opens_to_what_was_put_in, setup, teardown),
        cmocka_unit_test_setup_teardown(nothing_of_it_is_readable, setup, teardown),
        cmocka_unit_test_setup_teardown(each_role_has_only_its_secrets, setup, teardown),
        cmocka_unit_test_setup_teardown(a_pair_goes_to_who_listens_with_it, setup, teardown),
        cmocka_unit_test_setup_teardown(who_asks_for_the_pair_gets_what_that_needs, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_secret_that_is_not_there_is_named, setup, teardown),
        cmocka_unit_test_setup_teardown(it_is_refused_elsewhere, setup, teardown),
        cmocka_unit_test_setup_teardown(other_keys_do_not_open_it, setup, teardown),
        cmocka_unit_test_setup_teardown(forged_insides_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(a_foreign_signature_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(no_byte_can_be_changed, setup, teardown),
        cmocka_unit_test_setup_teardown(it_says_where_a_tree_is, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
