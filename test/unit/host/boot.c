#include "host/boot.h"
#include "host/bundle.h"
#include "host/spec.h"
#include "io/child.h"

#include <setjmp.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "fake_swift.h"
#include "untold.h"

#define NONCE "00112233aabbccdd"
#define NOW ((Msec)1800000000000)

typedef struct Place {
    char folder[64], root[128], package[128];
    Vault *vault;
} Place;

static void run_in(const Place *p, const char *script, int expect, Buf *out)
{
    _cleanup_(buf_clear) Buf drop = BUF_INIT(BUF_MAX_BODY);
    _cleanup_free_ char *root = xasprintf("ATOLL_ROOT=%s", p->root);
    _cleanup_(err_clear) Err err = {0};
    int status = -1;
    const char *const argv[] = {"sh", NULL};
    const char *const env[] = {"PATH=/usr/bin:/bin", root, "ATOLL_BOOT_PAUSE=0", NULL};
    int r = child_run(&(ChildSpec){.argv = argv, .env = env}, str_of(script), MINUTE,
                      out ? out : &drop, &status, &err);
    if (r < 0)
        fail_msg("%s", err.text);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != expect)
        fail_msg("status %#x: %s", (unsigned)status, out ? out->p : drop.p);
}

/* A package whose `atoll` tells how it was started. */
static const char make_package[] =
    "set -eu\n"
    "umask 022\n"
    "d=${ATOLL_ROOT%/*}/deb\n"
    "mkdir -p \"$d/DEBIAN\" \"$d/usr/bin\"\n"
    "printf 'Package: atoll\\nVersion: 1\\nArchitecture: all\\nMaintainer: x <x@example.org>\\n"
    "Description: test\\n' >\"$d/DEBIAN/control\"\n"
    "printf '#!/bin/sh\\necho \"started: $*\"\\n' >\"$d/usr/bin/atoll\"\n"
    "chmod 755 \"$d/usr/bin/atoll\"\n"
    "dpkg-deb --root-owner-group -b \"$d\" \"${ATOLL_ROOT%/*}/atoll.deb\"\n"
    "mkdir \"$ATOLL_ROOT\"\n";

static int setup(void **state)
{
    Place *p = NEW(Place);
    crypt_init();
    snprintf(p->folder, sizeof p->folder, "/tmp/atoll-boot.XXXXXX");
    if (!mkdtemp(p->folder))
        return -1;
    snprintf(p->root, sizeof p->root, "%s/it's", p->folder);
    snprintf(p->package, sizeof p->package, "%s/atoll.deb", p->folder);
    run_in(p, make_package, 0, NULL);
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

static Secret *k_of(const Place *p)
{
    return vault_derive_new(p->vault, "boot/web.0/" NONCE);
}

static void nonces_are_fresh(void **state)
{
    (void)state;
    char a[17], b[17];
    boot_nonce(a);
    boot_nonce(b);
    assert_int_equal(strspn(a, "0123456789abcdef"), 16);
    assert_int_equal(strlen(a), 16);
    assert_string_not_equal(a, b);
}

static void hello_is_known_by_its_key(void **state)
{
    Place *p = *state;
    _cleanup_secret_ Secret *k = k_of(p), *other = vault_derive_new(p->vault, "boot/web.1/" NONCE);
    _cleanup_(keypair_clear) KeyPair host = {0}, thief = {0};
    _cleanup_(buf_clear) Buf hello = BUF_INIT(BUF_MAX_LINE), forged = BUF_INIT(BUF_MAX_LINE);
    _cleanup_free_ char *public = NULL, *none = NULL;
    crypt_box_keys(&host);
    crypt_box_keys(&thief);

    boot_hello_make(k, "web.0", NONCE, host.public_b64, &hello);
    assert_int_equal(boot_hello_check(k, "web.0", NONCE, buf_as_str(&hello), &public, NULL), 0);
    assert_string_equal(public, host.public_b64);
    assert_int_equal(boot_hello_check(other, "web.0", NONCE, buf_as_str(&hello), &none, NULL),
                     -ERR_DENIED);
    assert_int_equal(boot_hello_check(k, "web.1", NONCE, buf_as_str(&hello), &none, NULL),
                     -ERR_DENIED);
    assert_int_equal(
        boot_hello_check(k, "web.0", "ffffffffffffffff", buf_as_str(&hello), &none, NULL),
        -ERR_DENIED);
    /* Another key under the MAC of the first. */
    _cleanup_json_ json_t *j = json_parse_new(hello.p, hello.len, NULL);
    json_object_set_new(j, "public", json_string(thief.public_b64));
    _cleanup_free_ char *text = json_text_new(j);
    assert_int_equal(boot_hello_check(k, "web.0", NONCE, str_of(text), &none, NULL), -ERR_DENIED);
    /* A key that is none, well authenticated. */
    boot_hello_make(k, "web.0", NONCE, "AAAA", &forged);
    assert_int_equal(boot_hello_check(k, "web.0", NONCE, buf_as_str(&forged), &none, NULL),
                     -ERR_CORRUPT);
    static const char *const rows[] = {"", "{}", "[]", "{\"v\":1,\"public\":\"x\"}",
                                       "{\"v\":2,\"public\":\"x\",\"mac\":\"y\"}"};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_int_equal(boot_hello_check(k, "web.0", NONCE, str_of(rows[i]), &none, NULL),
                         -ERR_CORRUPT);
    assert_null(none);
}

static BootInput input(const Place *p)
{
    return (BootInput){
        .island = "reef", .server = "web.0", .nonce = NONCE, .package = p->package, .now = NOW};
}

/* The value of NAME='...' in the script, as the shell reads it. */
static void value_of(const Place *p, const char *script, const char *name, Buf *ret)
{
    const char *end = strstr(script, "\nsay() {");
    assert_non_null(end);
    _cleanup_free_ char *line =
        xasprintf("%.*s\nprintf %%s \"$%s\"\n", (int)(end - script), script, name);
    run_in(p, line, 0, ret);
}

static void user_data_is_small_and_whole(void **state)
{
    Place *p = *state;
    BootInput in = input(p);
    _cleanup_(buf_wipe) Buf script = BUF_INIT(BUF_MAX_LINE);
    _cleanup_(buf_clear) Buf boot = BUF_INIT(BUF_MAX_LINE), sha = BUF_INIT(BUF_MAX_LINE);
    _cleanup_(buf_clear) Buf url = BUF_INIT(BUF_MAX_LINE), expect = BUF_INIT(BUF_MAX_LINE);
    _cleanup_secret_ Secret *k = k_of(p);

    assert_int_equal(boot_user_data(&in, p->vault, &script, NULL), 0);
    assert_true(starts_with(script.p, "#!/bin/sh\nset -eu\numask 077\n"));
    assert_true(script.len < 4096);
    value_of(p, script.p, "sha", &sha);
    assert_int_equal(crypt_hash_file(CRYPT_SHA256, p->package, &expect, NULL), 0);
    assert_string_equal(sha.p, expect.p);
    _cleanup_free_ char *object = xasprintf("reef-boot/%s.deb", sha.p);
    assert_non_null(fake_find(object));
    value_of(p, script.p, "url", &url);
    assert_non_null(strstr(url.p, object));
    assert_non_null(strstr(url.p, "temp_url_expires=1800001200"));

    value_of(p, script.p, "boot", &boot);
    _cleanup_json_ json_t *j = json_parse_new(boot.p, boot.len, NULL);
    assert_int_equal(json_int(j, "v", 0), 1);
    assert_string_equal(json_str(j, "server"), "web.0");
    assert_string_equal(json_str(j, "nonce"), NONCE);
    assert_string_equal(json_str(j, "k"), secret_expose(k).p);
    assert_string_equal(json_str(j, "sign_public"),
                        secret_expose(vault_secret(p->vault, "sign_public")).p);
    assert_non_null(strstr(json_str(j, "in"), "/reef-mail/web.0/" NONCE "/in/?temp_url_sig=GET"));
    assert_non_null(strstr(json_str(j, "out"), "/reef-mail/web.0/" NONCE "/out/?temp_url_sig=PUT"));
    assert_int_equal(json_int(j, "expires", 0), NOW / 1000 + 20 * 60);
    /* Nothing that lasts is in it. */
    static const char *const lasting[] = {"master", "db_password", "sign_secret", "media_password"};
    for (size_t i = 0; i < ARRAY_LEN(lasting); i++)
        assert_untold(buf_as_str(&script), vault_secret(p->vault, lasting[i]));
}

static void the_package_is_uploaded_once(void **state)
{
    Place *p = *state;
    BootInput in = input(p);
    _cleanup_(buf_wipe) Buf script = BUF_INIT(BUF_MAX_LINE), again = BUF_INIT(BUF_MAX_LINE);

    assert_int_equal(boot_user_data(&in, p->vault, &script, NULL), 0);
    assert_int_equal(fake.puts, 1);
    assert_int_equal(boot_user_data(&in, p->vault, &again, NULL), 0);
    assert_int_equal(fake.puts, 1);
    assert_string_equal(script.p, again.p);
    /* One that is not whole is replaced. */
    buf_truncate(&fake.objects.items[0].body, 10);
    buf_truncate(&again, 0);
    assert_int_equal(boot_user_data(&in, p->vault, &again, NULL), 0);
    assert_int_equal(fake.puts, 2);
}

static void a_missing_package_is_said(void **state)
{
    Place *p = *state;
    BootInput in = input(p);
    _cleanup_(buf_wipe) Buf script = BUF_INIT(BUF_MAX_LINE);
    _cleanup_(err_clear) Err err = {0};
    in.package = "/nonexistent/atoll.deb";

    assert_int_equal(boot_user_data(&in, p->vault, &script, &err), -ERR_CONFIG);
    assert_non_null(err.hint);
    assert_int_equal(script.len, 0);
}

static void script_for(const Place *p, const char *sha, const char *boot, Buf *ret)
{
    _cleanup_(buf_clear) Buf url = BUF_INIT(BUF_MAX_LINE);
    buf_str(&url, "file://");
    buf_url_quote(&url, p->package, "/");
    boot_script(sha, url.p, boot, ret);
}

/* The whole script, run: download, check, unpack, boot.json, start. */
static void it_starts_the_agent_in_its_root(void **state)
{
    Place *p = *state;
    static const char boot[] = "{\"k\":\"it's $HOME `x` \\\\n %s\"}";
    _cleanup_(buf_clear) Buf sha = BUF_INIT(BUF_MAX_LINE), script = BUF_INIT(BUF_MAX_LINE);
    _cleanup_(buf_clear) Buf out = BUF_INIT(BUF_MAX_LINE), kept = BUF_INIT(BUF_MAX_LINE);
    _cleanup_(buf_clear) Buf second = BUF_INIT(BUF_MAX_LINE);
    _cleanup_free_ char *path = path_join(p->root, "etc/atoll/boot.json");
    _cleanup_free_ char *again = path_join(p->root, "var/lib/atoll/boot");
    _cleanup_free_ char *expect = xasprintf("started: host --root %s\n", p->root);
    _cleanup_free_ char *lib = path_join(p->root, "var/lib");
    struct stat st;

    assert_int_equal(crypt_hash_file(CRYPT_SHA256, p->package, &sha, NULL), 0);
    script_for(p, sha.p, boot, &script);
    run_in(p, script.p, 0, &out);
    assert_true(ends_with(out.p, expect));
    assert_null(strstr(out.p, "file://"));
    assert_int_equal(file_read(path, &kept, NULL), 0);
    assert_string_equal(kept.p, "{\"k\":\"it's $HOME `x` \\\\n %s\"}\n");
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(stat(lib, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0755);
    assert_int_equal(stat(again, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);

    /* A later boot. */
    Buf quoted = BUF_INIT(BUF_MAX_LINE);
    buf_str(&quoted, "exec ");
    buf_shell_quote(&quoted, again);
    run_in(p, quoted.p, 0, &second);
    buf_clear(&quoted);
    assert_string_equal(second.p, expect);
}

static void a_wrong_package_is_not_installed(void **state)
{
    Place *p = *state;
    _cleanup_(buf_clear) Buf script = BUF_INIT(BUF_MAX_LINE), out = BUF_INIT(BUF_MAX_LINE);
    _cleanup_free_ char *program = path_join(p->root, "usr");

    script_for(p, "0000000000000000000000000000000000000000000000000000000000000000", "{}",
               &script);
    run_in(p, script.p, 1, &out);
    assert_non_null(strstr(out.p, "not what it should be"));
    assert_false(file_exists(program));
}

static void a_network_that_never_comes_ends_it(void **state)
{
    Place *p = *state;
    _cleanup_(buf_clear) Buf script = BUF_INIT(BUF_MAX_LINE), out = BUF_INIT(BUF_MAX_BODY);
    _cleanup_free_ char *program = path_join(p->root, "usr");

    assert_int_equal(unlink(p->package), 0);
    script_for(p, "00", "{}", &script);
    run_in(p, script.p, 1, &out);
    assert_non_null(strstr(out.p, "giving up"));
    assert_false(file_exists(program));
}

static void mark_of(const KeyPair *host, char ret[static 17])
{
    _cleanup_(buf_clear) Buf raw = BUF_INIT(BUF_MAX_LINE), hex = BUF_INIT(BUF_MAX_LINE);

    assert_true(crypt_unbase64(&raw, str_of(host->public_b64)));
    assert_int_equal(raw.len, CRYPT_KEY_BYTES);
    crypt_hash(CRYPT_SHA256, buf_as_str(&raw), &hex);
    memcpy(ret, hex.p, 16);
    ret[16] = '\0';
}

/* As the server `by` would say it, whose K is of its name. */
static void put_hello(const Place *p, const char *by, const KeyPair *key)
{
    _cleanup_free_ char *label = xasprintf("boot/%s/" NONCE, by);
    _cleanup_secret_ Secret *k = vault_derive_new(p->vault, label);
    _cleanup_(buf_clear) Buf hello = BUF_INIT(BUF_MAX_LINE);

    boot_hello_make(k, "web.0", NONCE, key->public_b64, &hello);
    (void)fake_put("reef-mail/web.0/" NONCE "/out/hello", buf_as_str(&hello));
}

static void a_bundle_is_sent_to_who_said_hello(void **state)
{
    Place *p = *state;
    _cleanup_(keypair_clear) KeyPair host = {0}, sign = {0};
    _cleanup_json_ json_t *spec =
        json_make_new("{s:s, s:[s]}", "server", "web.0", "roles", "redis");
    _cleanup_json_ json_t *body = NULL;
    _cleanup_(err_clear) Err err = {0};
    SendInput in = {
        .island = "reef", .server = "web.0", .nonce = NONCE, .number = 2, .spec = spec, .now = NOW};
    char hash[17], rest[17], mark[17];
    crypt_box_keys(&host);
    assert_int_equal(vault_sign_keys(p->vault, &sign, NULL), 0);

    assert_int_equal(boot_send(&in, p->vault, NULL), -ERR_NOT_FOUND);
    put_hello(p, "web.0", &host);
    assert_int_equal(boot_send(&in, p->vault, NULL), 0);

    FakeObject *o = fake_find("reef-mail/web.0/" NONCE "/in/00000002");
    assert_non_null(o);
    host_spec_hash(spec, hash);
    host_rest_hash(spec, rest);
    mark_of(&host, mark);
    _cleanup_(buf_clear) Buf md5 = BUF_INIT(BUF_MAX_LINE);
    crypt_hash(CRYPT_MD5, buf_as_str(&fake_find("reef-mail/web.0/" NONCE "/out/hello")->body),
               &md5);
    _cleanup_free_ char *type =
        xasprintf("application/vnd.atoll.bundle; spec=%s; rest=%s; until=%lld; key=%s; "
                  "hello=%.16s; redis=root",
                  hash, rest, (long long)((NOW + MAIL_URL_LIFE) / SECOND), mark, md5.p);
    assert_string_equal(o->type, type);
    assert_int_equal(o->delete_after_s, 0);
    assert_int_equal(bundle_open(buf_as_str(&o->body), sign.public_b64, &host,
                                 &(BundleHead){"web.0", NONCE, 2}, 1, &body, NULL),
                     0);
    assert_non_null(strstr(json_str(body, "urls.in"), "/in/?temp_url_sig=GET"));
    /* The number is taken: nobody's bundle is overwritten. */
    assert_int_equal(boot_send(&in, p->vault, &err), -ERR_CONFLICT);
}

static void nothing_is_sent_to_a_stranger(void **state)
{
    Place *p = *state;
    _cleanup_(keypair_clear) KeyPair host = {0};
    _cleanup_json_ json_t *spec =
        json_make_new("{s:s, s:[s]}", "server", "web.0", "roles", "redis");
    SendInput in = {
        .island = "reef", .server = "web.0", .nonce = NONCE, .number = 1, .spec = spec, .now = NOW};
    crypt_box_keys(&host);

    put_hello(p, "web.1", &host);
    assert_int_equal(boot_send(&in, p->vault, NULL), -ERR_DENIED);
    assert_null(fake_find("reef-mail/web.0/" NONCE "/in/00000001"));
}

/* K is on the metadata address: who has read it can write a hello that is good but for its key. */
static void a_second_bundle_goes_to_the_same_key(void **state)
{
    Place *p = *state;
    _cleanup_(keypair_clear) KeyPair host = {0}, thief = {0};
    _cleanup_json_ json_t *spec =
        json_make_new("{s:s, s:[s]}", "server", "web.0", "roles", "redis");
    _cleanup_(err_clear) Err err = {0};
    char mark[17];
    SendInput in = {.island = "reef",
                    .server = "web.0",
                    .nonce = NONCE,
                    .number = 2,
                    .expect_key = mark,
                    .spec = spec,
                    .now = NOW};
    crypt_box_keys(&host);
    crypt_box_keys(&thief);
    mark_of(&host, mark);

    put_hello(p, "web.0", &thief);
    assert_int_equal(boot_send(&in, p->vault, &err), -ERR_DENIED);
    assert_non_null(strstr(err.text, "another key"));
    assert_non_null(strstr(err.hint, "delete the server"));
    assert_null(fake_find("reef-mail/web.0/" NONCE "/in/00000002"));

    put_hello(p, "web.0", &host);
    assert_int_equal(boot_send(&in, p->vault, NULL), 0);
    assert_non_null(fake_find("reef-mail/web.0/" NONCE "/in/00000002"));
}

/* Two operators and an apply at once: each gets a number, and nobody's is overwritten. */
static void asks_and_bundles_share_the_numbers(void **state)
{
    Place *p = *state;
    _cleanup_(keypair_clear) KeyPair host = {0}, sign = {0};
    _cleanup_json_ json_t *spec =
        json_make_new("{s:s, s:[s]}", "server", "web.0", "roles", "redis");
    _cleanup_json_ json_t *ask = json_make_new("{s:s}", "verb", "exec"), *body = NULL;
    SendInput in = {
        .island = "reef", .server = "web.0", .nonce = NONCE, .number = 1, .spec = spec, .now = NOW};
    int64_t number = 0;

    crypt_box_keys(&host);
    assert_int_equal(vault_sign_keys(p->vault, &sign, NULL), 0);
    put_hello(p, "web.0", &host);
    assert_int_equal(boot_send(&in, p->vault, NULL), 0);
    assert_int_equal(boot_ask(&in, ask, p->vault, &number, NULL), 0);
    assert_int_equal(number, 2);
    assert_int_equal(boot_ask(&in, ask, p->vault, &number, NULL), 0);
    assert_int_equal(number, 3);
    FakeObject *o = fake_find("reef-mail/web.0/" NONCE "/in/00000003");
    assert_string_equal(o->type, MAIL_ASK_TYPE);
    /* Longer than any host can still be waiting for it. */
    assert_true(o->delete_after_s * SECOND > MAIL_URL_LIFE);
    assert_int_equal(bundle_open(buf_as_str(&o->body), sign.public_b64, &host,
                                 &(BundleHead){"web.0", NONCE, 3}, 2, &body, NULL),
                     0);
    assert_true(json_equal(json_object_get(body, "ask"), ask));
    assert_null(json_object_get(body, "secrets"));

    in.number = 2;
    assert_int_equal(boot_send(&in, p->vault, NULL), 0);
    assert_non_null(strstr(fake_find("reef-mail/web.0/" NONCE "/in/00000004")->type, "spec="));
    /* Another's bundle is another matter: the world is not what it was. */
    in.number = 4;
    assert_int_equal(boot_send(&in, p->vault, NULL), -ERR_CONFLICT);
    assert_null(fake_find("reef-mail/web.0/" NONCE "/in/00000005"));
    /* An ask does not go to a stranger. */
    in.expect_key = "0123456789abcdef";
    assert_int_equal(boot_ask(&in, ask, p->vault, &number, NULL), -ERR_DENIED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nonces_are_fresh),
        cmocka_unit_test_setup_teardown(hello_is_known_by_its_key, setup, teardown),
        cmocka_unit_test_setup_teardown(user_data_is_small_and_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(the_package_is_uploaded_once, setup, teardown),
        cmocka_unit_test_setup_teardown(a_missing_package_is_said, setup, teardown),
        cmocka_unit_test_setup_teardown(it_starts_the_agent_in_its_root, setup, teardown),
        cmocka_unit_test_setup_teardown(a_wrong_package_is_not_installed, setup, teardown),
        cmocka_unit_test_setup_teardown(a_network_that_never_comes_ends_it, setup, teardown),
        cmocka_unit_test_setup_teardown(a_bundle_is_sent_to_who_said_hello, setup, teardown),
        cmocka_unit_test_setup_teardown(nothing_is_sent_to_a_stranger, setup, teardown),
        cmocka_unit_test_setup_teardown(a_second_bundle_goes_to_the_same_key, setup, teardown),
        cmocka_unit_test_setup_teardown(asks_and_bundles_share_the_numbers, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
