#include "io/cert.h"

#include <setjmp.h>

#include <cmocka.h>

#include "cert_pairs.h"

#define BEGINS (1767225600 * SECOND) /* 2026-01-01 */
#define ENDS (1775001600 * SECOND)   /* 2026-04-01 */
#define INSIDE (BEGINS + DAY)

static char *both_new(const char *a, const char *b)
{
    return xasprintf("%s%s", a, b);
}

static void it_says_when_and_which(void **state)
{
    (void)state;
    _cleanup_free_ char *chain = both_new(reef_pem, authority_pem);
    _cleanup_free_ char *noisy =
        xasprintf("words\n%s\n%smore\n%s", reef_key, reef_pem, authority_pem);
    _cleanup_(buf_clear) Buf clean = BUF_INIT(CERT_MAX_BYTES);
    Cert alone, whole, again;

    assert_int_equal(cert_read(str_of(reef_pem), &alone, NULL, NULL), 0);
    assert_int_equal(cert_read(str_of(chain), &whole, NULL, NULL), 0);
    assert_int_equal(cert_read(str_of(noisy), &again, &clean, NULL), 0);
    assert_true(alone.begins == BEGINS && alone.ends == ENDS);
    assert_true(whole.begins == BEGINS && whole.ends == ENDS);
    assert_int_equal(strspn(whole.mark, "0123456789abcdef"), 16);
    /* The chain is a part of what is served. */
    assert_string_not_equal(alone.mark, whole.mark);
    /* What else is in the file is not. */
    assert_string_equal(again.mark, whole.mark);
    assert_string_equal(clean.p, chain);
}

static void what_is_none_is_refused(void **state)
{
    (void)state;
    _cleanup_free_ char *damaged = xstrdup(reef_pem);
    _cleanup_(err_clear) Err a = {0}, b = {0}, c = {0}, d = {0};
    Cert cert;
    Secret *key = NULL;

    memset(damaged + 200, 'A', 60);
    assert_int_equal(cert_read(str_of(""), &cert, NULL, &a), -ERR_CORRUPT);
    assert_non_null(strstr(a.text, "no certificate in it"));
    assert_int_equal(cert_read(str_of(damaged), &cert, NULL, &b), -ERR_CORRUPT);
    assert_non_null(strstr(b.text, "damaged"));
    assert_int_equal(cert_check(str_of(reef_key), "reef.example", INSIDE, &c), -ERR_CORRUPT);
    assert_int_equal(cert_key(str_of(reef_pem), str_of(reef_pem), &key, &d), -ERR_CORRUPT);
    assert_non_null(strstr(d.text, "no private key in it"));
    assert_null(key);
}

static void a_certificate_serves_its_domain_in_its_time(void **state)
{
    (void)state;
    _cleanup_free_ char *chain = both_new(reef_pem, authority_pem);
    _cleanup_free_ char *turned = both_new(authority_pem, reef_pem);
    _cleanup_free_ char *stranger = both_new(reef_pem, other_pem);
    const struct {
        const char *pem, *domain;
        Msec now;
        const char *words, *hint;
    } rows[] = {
        {reef_pem, "reef.example", INSIDE, NULL, NULL},
        {chain, "reef.example", INSIDE, NULL, NULL},
        {chain, "social.reef.example", INSIDE, NULL, NULL},
        {chain, "reef.example", ENDS - SECOND, NULL, NULL},
        {chain, "reef.example", ENDS, "it ended at 2026-04-01T00:00:00Z", "renewed"},
        {chain, "reef.example", BEGINS - SECOND, "does not begin before 2026-01-01T00:00:00Z",
         "clock"},
        {chain, "a.b.reef.example", INSIDE, "it is not for a.b.reef.example",
         "reef.example, *.reef.example"},
        {chain, "reef", INSIDE, "it is not for reef", "reef.example"}, /* that is its subject */
        {turned, "reef.example", INSIDE, "it is not for reef.example", "none"},
        {stranger, "reef.example", INSIDE, "not in order", "comes first"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_(err_clear) Err err = {0};
        int r = cert_check(str_of(rows[i].pem), rows[i].domain, rows[i].now, &err);

        assert_int_equal(r, rows[i].words ? -ERR_CONFIG : 0);
        if (!rows[i].words)
            continue;
        assert_non_null(strstr(err.text, rows[i].words));
        assert_non_null(strstr(err.hint, rows[i].hint));
    }
}

static void only_its_own_open_key_is_taken(void **state)
{
    (void)state;
    _cleanup_(err_clear) Err wrong = {0}, locked = {0};
    _cleanup_secret_ Secret *key = NULL;
    Secret *none = NULL;

    assert_int_equal(cert_key(str_of(reef_pem), str_of(reef_key), &key, NULL), 0);
    assert_string_equal(secret_expose(key).p, reef_key);
    assert_int_equal(cert_key(str_of(reef_pem), str_of(other_key), &none, &wrong), -ERR_CONFIG);
    assert_non_null(strstr(wrong.text, "not the key of the certificate"));
    assert_int_equal(cert_key(str_of(reef_pem), str_of(locked_key), &none, &locked), -ERR_CONFIG);
    assert_non_null(strstr(locked.text, "passphrase"));
    assert_null(none);
}

static void one_that_signs_itself_can_be_served(void **state)
{
    (void)state;
    _cleanup_(buf_clear) Buf pem = BUF_INIT(CERT_MAX_BYTES), other = BUF_INIT(CERT_MAX_BYTES);
    _cleanup_secret_ Secret *key = NULL, *second_key = NULL, *back = NULL;
    Cert cert;

    assert_int_equal(cert_self("reef.example", INSIDE, &pem, &key, NULL), 0);
    assert_int_equal(cert_self("reef.example", INSIDE, &other, &second_key, NULL), 0);
    assert_int_equal(cert_read(buf_as_str(&pem), &cert, NULL, NULL), 0);
    assert_true(cert.begins == INSIDE - DAY && cert.ends == INSIDE + 3650 * DAY);
    assert_int_equal(cert_check(buf_as_str(&pem), "reef.example", INSIDE, NULL), 0);
    assert_int_equal(cert_check(buf_as_str(&pem), "other.example", INSIDE, NULL), -ERR_CONFIG);
    assert_int_equal(cert_key(buf_as_str(&pem), secret_expose(key), &back, NULL), 0);
    assert_false(secret_eq(key, second_key));
    assert_string_not_equal(pem.p, other.p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_says_when_and_which),
        cmocka_unit_test(what_is_none_is_refused),
        cmocka_unit_test(a_certificate_serves_its_domain_in_its_time),
        cmocka_unit_test(only_its_own_open_key_is_taken),
        cmocka_unit_test(one_that_signs_itself_can_be_served),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
