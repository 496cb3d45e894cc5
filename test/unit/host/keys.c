#include "host/keys.h"
#include "io/file.h"

#include <setjmp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[64];

static int setup(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/atoll-keys.XXXXXX");
    crypt_init();
    return mkdtemp(folder) ? setenv("XDG_CONFIG_HOME", folder, 1) : -1;
}

static int teardown(void **state)
{
    (void)state;
    unsetenv("XDG_CONFIG_HOME");
    return file_remove_tree(folder, NULL);
}

static Secret *secret(const char *s)
{
    return secret_new(s, strlen(s));
}

static int keep(void *user, const Secret *recovery, Err *err)
{
    Secret **ret = user;
    (void)err;
    *ret = secret_copy(recovery);
    return 0;
}

static int keep_nothing(void *user, const Secret *recovery, Err *err)
{
    (void)user;
    (void)recovery;
    return err_set(err, ERR_IO, "the disk is full");
}

static void both_keys_are_made_and_open(void **state)
{
    (void)state;
    _cleanup_secret_ Secret *pass = secret("correct horse"), *wrong = secret("wrong"),
                            *recovery = NULL;
    _cleanup_(keypair_clear) KeyPair own = {0}, second = {0}, none = {0};
    _cleanup_(strlist_clear) StrList recipients = {0};
    _cleanup_(keyfiles_clear) KeyFiles files = keys_paths("reef");
    struct stat st;

    assert_int_equal(keys_make("reef", pass, keep, &recovery, NULL), 0);
    assert_int_equal(stat(files.key_path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(keys_open("reef", pass, &own, NULL), 0);
    assert_int_equal(keys_recovery(secret_expose(recovery), &second, NULL), 0);
    assert_int_equal(keys_recipients("reef", &recipients, NULL), 0);
    assert_int_equal(recipients.len, 2);
    assert_string_equal(recipients.items[0], own.public_b64);
    assert_string_equal(recipients.items[1], second.public_b64);
    assert_string_not_equal(own.public_b64, second.public_b64);
    assert_int_equal(keys_open("reef", wrong, &none, NULL), -ERR_AUTH);
}

static void they_are_made_only_once(void **state)
{
    (void)state;
    _cleanup_secret_ Secret *pass = secret("p"), *first = NULL, *second = NULL;
    _cleanup_(keypair_clear) KeyPair own = {0};

    assert_int_equal(keys_make("reef", pass, keep, &first, NULL), 0);
    assert_int_equal(keys_make("reef", pass, keep, &second, NULL), -ERR_CONFLICT);
    assert_null(second);
    assert_int_equal(keys_open("reef", pass, &own, NULL), 0);
}

/* Killed between the two files: nothing was sealed yet, so a new pair is made. */
static void a_run_that_was_cut_off_is_made_again(void **state)
{
    (void)state;
    _cleanup_secret_ Secret *pass = secret("p"), *first = NULL, *second = NULL;
    _cleanup_(keyfiles_clear) KeyFiles files = keys_paths("reef");

    assert_int_equal(keys_make("reef", pass, keep, &first, NULL), 0);
    assert_int_equal(unlink(files.pub_path), 0);
    assert_int_equal(keys_make("reef", pass, keep, &second, NULL), 0);
    assert_non_null(second);
}

static void a_recovery_key_that_is_not_kept_makes_nothing(void **state)
{
    (void)state;
    _cleanup_secret_ Secret *pass = secret("p");
    _cleanup_(keyfiles_clear) KeyFiles files = keys_paths("reef");

    assert_int_equal(keys_make("reef", pass, keep_nothing, NULL, NULL), -ERR_IO);
    assert_int_not_equal(access(files.key_path, F_OK), 0);
    assert_int_not_equal(access(files.pub_path, F_OK), 0);
}

static void an_empty_passphrase_makes_nothing(void **state)
{
    (void)state;
    _cleanup_secret_ Secret *pass = secret(""), *recovery = NULL;
    _cleanup_(keyfiles_clear) KeyFiles files = keys_paths("reef");

    assert_int_equal(keys_make("reef", pass, keep, &recovery, NULL), -ERR_USAGE);
    assert_false(file_exists(files.pub_path));
    assert_false(file_exists(files.key_path));
}

static void missing_keys_have_a_hint(void **state)
{
    (void)state;
    _cleanup_secret_ Secret *pass = secret("p");
    _cleanup_(keypair_clear) KeyPair own = {0};
    _cleanup_(strlist_clear) StrList recipients = {0};
    _cleanup_(err_clear) Err err = {0};

    assert_int_equal(keys_open("reef", pass, &own, &err), -ERR_NOT_FOUND);
    assert_non_null(strstr(err.hint, "atoll init"));
    assert_int_equal(keys_recipients("reef", &recipients, NULL), -ERR_NOT_FOUND);
}

static void recovery_keys_survive_handwriting(void **state)
{
    (void)state;
    _cleanup_secret_ Secret *pass = secret("p"), *recovery = NULL;
    _cleanup_(keypair_clear) KeyPair plain = {0}, copied = {0};
    _cleanup_(buf_clear) Buf odd = BUF_INIT(BUF_MAX_LINE);
    assert_int_equal(keys_make("reef", pass, keep, &recovery, NULL), 0);
    const char *text = secret_expose(recovery).p;

    buf_str(&odd, " \n");
    for (const char *p = text; *p; p++) {
        buf_char(&odd, *p >= 'a' && *p <= 'f' && p > text + 20 ? (char)(*p - 32) : *p);
        if (*p == '-' && p > text + 20)
            buf_str(&odd, " \n");
    }
    assert_int_equal(keys_recovery(secret_expose(recovery), &plain, NULL), 0);
    assert_int_equal(keys_recovery(buf_as_str(&odd), &copied, NULL), 0);
    assert_string_equal(plain.public_b64, copied.public_b64);
}

static void every_slip_of_the_pen_is_noticed(void **state)
{
    (void)state;
    _cleanup_secret_ Secret *pass = secret("p"), *recovery = NULL;
    assert_int_equal(keys_make("reef", pass, keep, &recovery, NULL), 0);
    Str good = secret_expose(recovery);

    for (size_t i = 0; i < good.n; i++) {
        _cleanup_free_ char *bad = xstrndup(good.p, good.n);
        _cleanup_(keypair_clear) KeyPair none = {0};
        if (bad[i] == '-')
            continue;
        bad[i] = bad[i] == '0' ? '1' : '0';
        assert_int_equal(keys_recovery(str_of(bad), &none, NULL), -ERR_CORRUPT);
    }
    static const char *const rows[] = {"", "atoll-recovery-1-", "atoll-recovery-2-00", "hello"};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_(keypair_clear) KeyPair none = {0};
        assert_int_equal(keys_recovery(str_of(rows[i]), &none, NULL), -ERR_CORRUPT);
    }
    _cleanup_(keypair_clear) KeyPair none = {0};
    assert_int_equal(keys_recovery((Str){good.p, good.n - 1}, &none, NULL), -ERR_CORRUPT);
}

static void damaged_public_files_are_refused(void **state)
{
    (void)state;
    static const char *const rows[] = {"", "AAAA\n", "not base64!\n\n",
                                       "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"};
    _cleanup_(keyfiles_clear) KeyFiles files = keys_paths("reef");
    _cleanup_free_ char *keys = path_join(folder, "atoll/keys");
    assert_int_equal(file_mkdirs(keys, 0700, NULL), 0);

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_(strlist_clear) StrList recipients = {0};
        assert_int_equal(file_write(files.pub_path, str_of(rows[i]), 0644, NULL), 0);
        assert_int_equal(keys_recipients("reef", &recipients, NULL), -ERR_CONFIG);
    }
}

static void passphrases_come_from_a_file(void **state)
{
    (void)state;
    static const struct {
        const char *content, *expect;
        int r;
    } rows[] = {
        {"secret\n", "secret", 0},
        {"two words", "two words", 0},
        {"trailing space \n", "trailing space ", 0},
        {"\n", NULL, -ERR_USAGE},
        {"", NULL, -ERR_USAGE},
    };
    _cleanup_free_ char *path = path_join(folder, "pass");
    setenv("ATOLL_PASSPHRASE_FILE", path, 1);

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_secret_ Secret *pass = NULL;
        assert_int_equal(file_write(path, str_of(rows[i].content), 0600, NULL), 0);
        assert_int_equal(keys_passphrase(true, &pass, NULL), rows[i].r);
        if (rows[i].expect)
            assert_string_equal(secret_expose(pass).p, rows[i].expect);
    }
    _cleanup_secret_ Secret *none = NULL;
    assert_int_equal(unlink(path), 0);
    assert_int_equal(keys_passphrase(false, &none, NULL), -ERR_NOT_FOUND);
    unsetenv("ATOLL_PASSPHRASE_FILE");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(both_keys_are_made_and_open, setup, teardown),
        cmocka_unit_test_setup_teardown(they_are_made_only_once, setup, teardown),
        cmocka_unit_test_setup_teardown(a_run_that_was_cut_off_is_made_again, setup, teardown),
        cmocka_unit_test_setup_teardown(a_recovery_key_that_is_not_kept_makes_nothing, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(an_empty_passphrase_makes_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(missing_keys_have_a_hint, setup, teardown),
        cmocka_unit_test_setup_teardown(recovery_keys_survive_handwriting, setup, teardown),
        cmocka_unit_test_setup_teardown(every_slip_of_the_pen_is_noticed, setup, teardown),
        cmocka_unit_test_setup_teardown(damaged_public_files_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(passphrases_come_from_a_file, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
