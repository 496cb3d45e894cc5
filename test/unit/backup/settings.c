/* The settings file: every key, what is refused in which words, and the folder of keys. */
#include "backup/settings.h"
#include "io/file.h"
#include <setjmp.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static int parse(const char *text, BackupSettings *ret, Err *err)
{
    return backup_settings_parse("/etc/atoll/backup.yaml", str_of(text), ret, err);
}

static void defaults(void **state)
{
    _cleanup_(backup_settings_clear) BackupSettings s = {0};
    _cleanup_(err_clear) Err err = {0};

    (void)state;
    if (parse("repository: {folder: usb}", &s, &err) < 0)
        fail_msg("%s", err.text);
    assert_string_equal(s.path, "/etc/atoll/backup.yaml");
    assert_string_equal(s.host, "/run/postgresql");
    assert_int_equal(s.port, 5432);
    assert_string_equal(s.user, "atoll");
    assert_null(s.password_file);
    assert_string_equal(s.slot, "atoll");
    assert_string_equal(s.folder, "/etc/atoll/usb");
    assert_null(s.cloud);
    assert_null(s.urls);
    assert_string_equal(s.prefix, "");
    assert_string_equal(s.keys, "/etc/atoll/backup");
    assert_int_equal(s.synchronous, BACKUP_ASYNC);
    assert_null(s.state);
    assert_int_equal(s.keep.daily, 7);
    assert_int_equal(s.keep.weekly, 4);
    assert_int_equal(s.keep.monthly, 6);
    assert_int_equal(s.keep.window_ms, 7 * DAY);
    assert_null(s.programs);
    assert_null(s.media_from.cloud);
    assert_null(s.media_to.cloud);
}

static void everything(void **state)
{
    static const char text[] =
        "postgres: {host: db.example, port: 6432, user: bk, password_file: pw}\n"
        "slot: a_1\n"
        "repository: {cloud: catalyst, container: reef-backup, prefix: a/b}\n"
        "keys: /k\n"
        "synchronous: {give_up: 5s}\n"
        "state: /var/lib/x\n"
        "keep: {daily: 1, weekly: 2, monthly: 3, window: 36h}\n"
        "programs: /opt/pg/bin\n"
        "media: {from: {cloud: c1, container: media}, to: {cloud: c2, container: copy}}\n";
    _cleanup_(backup_settings_clear) BackupSettings s = {0};
    _cleanup_(err_clear) Err err = {0};

    (void)state;
    if (parse(text, &s, &err) < 0)
        fail_msg("%s", err.text);
    assert_string_equal(s.host, "db.example");
    assert_int_equal(s.port, 6432);
    assert_string_equal(s.user, "bk");
    assert_string_equal(s.password_file, "/etc/atoll/pw");
    assert_string_equal(s.slot, "a_1");
    assert_null(s.folder);
    assert_string_equal(s.cloud, "catalyst");
    assert_string_equal(s.container, "reef-backup");
    assert_string_equal(s.prefix, "a/b/");
    assert_string_equal(s.keys, "/k");
    assert_int_equal(s.synchronous, BACKUP_GIVE_UP);
    assert_int_equal(s.give_up_ms, 5 * SECOND);
    assert_string_equal(s.state, "/var/lib/x");
    assert_int_equal(s.keep.daily, 1);
    assert_int_equal(s.keep.weekly, 2);
    assert_int_equal(s.keep.monthly, 3);
    assert_int_equal(s.keep.window_ms, 36 * HOUR);
    assert_string_equal(s.programs, "/opt/pg/bin");
    assert_string_equal(s.media_from.cloud, "c1");
    assert_string_equal(s.media_from.container, "media");
    assert_string_equal(s.media_to.cloud, "c2");
    assert_string_equal(s.media_to.container, "copy");
    backup_settings_clear(&s);
    assert_int_equal(parse("synchronous: strict\nrepository: {urls: u}", &s, &err), 0);
    assert_int_equal(s.synchronous, BACKUP_STRICT);
    assert_string_equal(s.urls, "/etc/atoll/u");
}

#define R "repository: {folder: x}\n"
#define AT "/etc/atoll/backup.yaml:"
/* The line that is wrong, its whole message, and the hint. `of` is the row it is about. */
static const struct {
    const char *of, *text, *message, *hint;
} refused[] = {
    {"", R "slott: a", AT "2:1: unknown key \"slott\": did you mean \"slot\"?",
     "allowed: postgres, slot, repository, keys, synchronous, state, keep, programs, "
     "media"},
    {"postgres", R "postgres: here", AT "2:11: postgres is \"here\"; it must be a map",
     "allowed: host, port, user, password_file"},
    {"postgres", R "postgres: {hots: a}",
     AT "2:12: unknown key \"hots\" in postgres: did you mean \"host\"?",
     "allowed: host, port, user, password_file"},
    {"postgres.host", R "postgres: {host: []}",
     AT "2:18: postgres.host is a list; it must be an address or a folder",
     "allowed: a name, an address, or the folder of a unix socket"},
    {"postgres.port", R "postgres: {port: 0}", AT "2:18: postgres.port is \"0\"; it must be a port",
     "allowed: 1 to 65535"},
    {"postgres.port", R "postgres: {port: 65536}",
     AT "2:18: postgres.port is \"65536\"; it must be a port", "allowed: 1 to 65535"},
    {"postgres.user", R "postgres: {user: ''}",
     AT "2:18: postgres.user is empty; it must be a role",
     "allowed: a role with REPLICATION and LOGIN"},
    {"postgres.password_file", R "postgres: {password_file: {}}",
     AT "2:27: postgres.password_file is a map; it must be a file", "allowed: a path"},
    {"slot", R "slot: Atoll", AT "2:7: slot is \"Atoll\"; it must be a slot's name",
     "allowed: up to 63 of a-z, 0-9 and underscores"},
    {"repository", "slot: a", AT "1:1: repository is missing",
     "it must be a map: folder, or cloud and container, or urls"},
    {"repository", "repository: x", AT "1:13: repository is \"x\"; it must be a map",
     "allowed: folder, or cloud and container, or urls"},
    {"repository", "repository: {}", AT "1:1: repository names no place",
     "one of {folder: PATH}, {cloud: NAME, container: NAME}, {urls: FILE}"},
    {"repository", "repository: {folder: a, urls: b}",
     AT "1:1: repository names more than one place",
     "one of {folder: PATH}, {cloud: NAME, container: NAME}, {urls: FILE}"},
    {"repository.cloud", "repository: {cloud: a}", AT "1:1: repository.container is missing",
     "one of {folder: PATH}, {cloud: NAME, container: NAME}, {urls: FILE}"},
    {"repository.container", "repository: {container: a}",
     AT "1:1: repository.container goes with repository.cloud",
     "one of {folder: PATH}, {cloud: NAME, container: NAME}, {urls: FILE}"},
    {"repository.prefix", "repository: {folder: a, prefix: b}",
     AT "1:1: repository.prefix goes with repository.cloud",
     "one of {folder: PATH}, {cloud: NAME, container: NAME}, {urls: FILE}"},
    {"repository.folder", "repository: {folder: ''}",
     AT "1:22: repository.folder is empty; it must be a folder", "allowed: a path"},
    {"repository.cloud", "repository: {cloud: [], container: a}",
     AT "1:21: repository.cloud is a list; it must be an entry of clouds.yaml",
     "allowed: a name in clouds.yaml"},
    {"repository.container", "repository: {cloud: a, container: a/b}",
     AT "1:35: repository.container is \"a/b\"; it must be a container's name",
     "allowed: up to 256 letters without a slash"},
    {"repository.prefix", "repository: {cloud: a, container: b, prefix: ../x}",
     AT "1:46: repository.prefix is \"../x\"; it must be a prefix of names",
     "allowed: up to 100 of a-z, A-Z, 0-9, dots, -, _ and /"},
    {"repository.prefix", "repository: {cloud: a, container: b, prefix: /x}",
     AT "1:46: repository.prefix is \"/x\"; it must be a prefix of names",
     "allowed: up to 100 of a-z, A-Z, 0-9, dots, -, _ and /"},
    {"repository.urls", "repository: {urls: []}",
     AT "1:20: repository.urls is a list; it must be a file", "allowed: a path"},
    {"keys", R "keys: ''", AT "2:7: keys is empty; it must be a folder", "allowed: a path"},
    {"synchronous", R "synchronous: yes",
     AT "2:14: synchronous is \"yes\"; it must be no, strict, or a map",
     "allowed: no, strict, {give_up: 30s}"},
    {"synchronous", R "synchronous: {giveup: 3s}",
     AT "2:15: unknown key \"giveup\" in synchronous: did you mean \"give_up\"?",
     "allowed: give_up"},
    {"synchronous.give_up", R "synchronous: {give_up: 30}",
     AT "2:24: synchronous.give_up is \"30\"; it must be a span", "allowed: 1s to 24h"},
    {"synchronous.give_up", R "synchronous: {give_up: 25h}",
     AT "2:24: synchronous.give_up is \"25h\"; it must be a span", "allowed: 1s to 24h"},
    {"state", R "state: []", AT "2:8: state is a list; it must be a folder", "allowed: a path"},
    {"keep", R "keep: 7", AT "2:7: keep is \"7\"; it must be a map",
     "allowed: daily, weekly, monthly, window"},
    {"keep.daily", R "keep: {daily: -1}", AT "2:15: keep.daily is \"-1\"; it must be a number",
     "allowed: 0 to 10000"},
    {"keep.weekly", R "keep: {weekly: 1.5}", AT "2:16: keep.weekly is \"1.5\"; it must be a number",
     "allowed: 0 to 10000"},
    {"keep.monthly", R "keep: {monthly: 10001}",
     AT "2:17: keep.monthly is \"10001\"; it must be a number", "allowed: 0 to 10000"},
    {"keep.window", R "keep: {window: 7}", AT "2:16: keep.window is \"7\"; it must be a span",
     "allowed: 0s to 3650d"},
    {"programs", R "programs: {}", AT "2:11: programs is a map; it must be a folder",
     "allowed: a path"},
    {"media", R "media: reef", AT "2:8: media is \"reef\"; it must be a map", "allowed: from, to"},
    {"media.from", R "media: {from: a, to: {cloud: a, container: b}}",
     AT "2:15: media.from is \"a\"; it must be a map", "allowed: cloud, container"},
    {"media.from.cloud", R "media: {from: {cloud: [], container: b}, to: {cloud: a, container: b}}",
     AT "2:23: media.from.cloud is a list; it must be an entry of clouds.yaml",
     "allowed: a name in clouds.yaml"},
    {"media.from.container",
     R "media: {from: {cloud: a, container: b/c}, to: {cloud: a, container: b}}",
     AT "2:37: media.from.container is \"b/c\"; it must be a container's name",
     "allowed: up to 256 letters without a slash"},
    {"media.to", R "media: {from: {cloud: a, container: b}}", AT "2:1: media.to is missing",
     "it must be a map: cloud, container"},
    {"media.to.cloud", R "media: {from: {cloud: a, container: b}, to: {container: b}}",
     AT "2:41: media.to.cloud is missing",
     "it must be an entry of clouds.yaml: a name in clouds.yaml"},
    {"media.to.container",
     R "media: {from: {cloud: a, container: b}, to: {cloud: a, container: ''}}",
     AT "2:67: media.to.container is empty; it must be a container's name",
     "allowed: up to 256 letters without a slash"},
    {"", "- a", AT "1:1: this is not a settings file: no keys", NULL},
    {"", R R, AT "2:1: \"repository\" is there twice, first in line 1", NULL},
};

static void refuses(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        _cleanup_(backup_settings_clear) BackupSettings s = {0};
        _cleanup_(err_clear) Err err = {0};

        if (parse(refused[i].text, &s, &err) != -ERR_CONFIG)
            fail_msg("taken: %s", refused[i].text);
        assert_string_equal(err.text, refused[i].message);
        if (refused[i].hint)
            assert_string_equal(err.hint, refused[i].hint);
    }
    /* A row without a refusal here would be one that nobody has tried. */
    for (const BackupSettingRow *row = backup_setting_rows; row->path; row++) {
        bool tried = false;
        for (size_t i = 0; i < ARRAY_LEN(refused); i++)
            tried = tried || streq(refused[i].of, row->path);
        if (!tried)
            fail_msg("no wrong value for %s", row->path);
    }
}

static void not_there(void **state)
{
    _cleanup_(backup_settings_clear) BackupSettings s = {0};
    _cleanup_(err_clear) Err err = {0};

    (void)state;
    assert_int_equal(backup_settings_load("/nonexistent/backup.yaml", &s, &err), -ERR_NOT_FOUND);
    assert_non_null(strstr(err.hint, "--settings FILE"));
}

/* Keys */

typedef struct Shown {
    char *text;
    bool fail;
} Shown;

static int keep(void *user, const Secret *recovery, Err *err)
{
    Shown *shown = user;

    if (shown->fail)
        return err_set(err, ERR_IO, "no paper");
    free(shown->text);
    shown->text = xstrdup(secret_expose(recovery).p);
    return 0;
}

static int folder_make(void **state)
{
    char pattern[] = "/tmp/atoll-test-XXXXXX";

    *state = xstrdup(mkdtemp(pattern));
    return 0;
}

static int folder_remove(void **state)
{
    int r = file_remove_tree(*state, NULL);

    free(*state);
    return r;
}

static void sign_and_check(const BackupSettings *s, BackupKey which)
{
    _cleanup_(keypair_clear) KeyPair k = {0};
    _cleanup_(strlist_clear) StrList public = {0};
    _cleanup_(buf_clear) Buf signature = BUF_INIT(BUF_MAX_LINE);

    assert_int_equal(backup_key(s, which, &k, NULL), 0);
    assert_int_equal(backup_signers(s, which, &public, NULL), 0);
    assert_int_equal(public.len, 1);
    assert_string_equal(public.items[0], k.public_b64);
    crypt_sign(&k, STR_LIT("text"), &signature);
    assert_true(crypt_verify(public.items[0], STR_LIT("text"), buf_as_str(&signature)));
}

static void keys(void **state)
{
    _cleanup_free_ char *folder = path_join(*state, "sub/keys");
    _cleanup_free_ char *recovery_file = path_join(*state, "recovery");
    BackupSettings s = {.keys = folder};
    Shown shown = {.fail = true};
    _cleanup_(strlist_clear) StrList recipients = {0}, names = {0};
    _cleanup_(keypair_clear) KeyPair drill = {0}, recovery = {0}, none = {0};
    _cleanup_(err_clear) Err err = {0};

    /* Nobody has seen the recovery key: nothing is made. */
    assert_int_equal(backup_keys_make(&s, keep, &shown, &err), -ERR_IO);
    assert_int_equal(file_list(folder, &names, NULL), 0);
    assert_int_equal(names.len, 0);
    assert_int_equal(backup_key(&s, BACKUP_KEY_AUDIT, &none, &err), -ERR_NOT_FOUND);
    assert_non_null(strstr(err.hint, "atoll backup init"));

    shown.fail = false;
    assert_int_equal(backup_keys_make(&s, keep, &shown, NULL), 0);
    assert_int_equal(backup_keys_make(&s, keep, &shown, &err), -ERR_CONFLICT);
    assert_int_equal(backup_keys_recipients(&s, &recipients, NULL), 0);
    assert_int_equal(recipients.len, 2);
    sign_and_check(&s, BACKUP_KEY_HOST);
    sign_and_check(&s, BACKUP_KEY_AUDIT);
    assert_int_equal(backup_reader(&s, NULL, &drill, NULL), 0);
    assert_string_equal(drill.public_b64, recipients.items[1]);
    assert_int_equal(file_write(recovery_file, str_of(shown.text), 0600, NULL), 0);
    assert_int_equal(backup_reader(&s, recovery_file, &recovery, NULL), 0);
    assert_string_equal(recovery.public_b64, recipients.items[0]);

    /* Secret halves are for nobody else's eyes. */
    static const char *const secrets[] = {"host.key", "audit.key", "drill.key"};
    for (size_t i = 0; i < ARRAY_LEN(secrets); i++) {
        _cleanup_free_ char *path = backup_key_path(&s, secrets[i]);
        struct stat st;
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
    }
    free(shown.text);
}

/* A run that was cut off before the recipients: its keys are used, with another recovery key. */
static void keys_cut_off(void **state)
{
    BackupSettings s = {.keys = *state};
    Shown shown = {0};
    _cleanup_(keypair_clear) KeyPair before = {0}, after = {0};
    _cleanup_free_ char *recipients = backup_key_path(&s, "recipients");
    _cleanup_free_ char *host = backup_key_path(&s, "host.key");
    _cleanup_(err_clear) Err err = {0};

    assert_int_equal(backup_keys_make(&s, keep, &shown, NULL), 0);
    assert_int_equal(backup_key(&s, BACKUP_KEY_HOST, &before, NULL), 0);
    assert_int_equal(unlink(recipients), 0);
    assert_int_equal(backup_keys_make(&s, keep, &shown, NULL), 0);
    assert_int_equal(backup_key(&s, BACKUP_KEY_HOST, &after, NULL), 0);
    assert_string_equal(before.public_b64, after.public_b64);
    free(shown.text);

    assert_int_equal(file_write(host, STR_LIT("hello\n"), 0600, NULL), 0);
    assert_int_equal(backup_key(&s, BACKUP_KEY_HOST, &before, &err), -ERR_CONFIG);
    assert_int_equal(file_write(recipients, STR_LIT("# none\n"), 0600, NULL), 0);
    _cleanup_(strlist_clear) StrList list = {0};
    assert_int_equal(backup_keys_recipients(&s, &list, &err), -ERR_CONFIG);
}

static void target(void **state)
{
    _cleanup_free_ char *file = path_join(*state, "pw");
    BackupSettings s = {.host = (char[]){"h"}, .user = (char[]){"u"}, .port = 7};
    PgTarget t;
    _cleanup_secret_ Secret *password = NULL, *none = NULL;
    _cleanup_(err_clear) Err err = {0};

    assert_int_equal(backup_settings_target(&s, NULL, &t, &none, NULL), 0);
    assert_null(t.password);
    s.password_file = file;
    assert_int_equal(backup_settings_target(&s, NULL, &t, &none, &err), -ERR_NOT_FOUND);
    assert_int_equal(file_write(file, STR_LIT("\n"), 0600, NULL), 0);
    assert_int_equal(backup_settings_target(&s, NULL, &t, &none, &err), -ERR_CONFIG);
    assert_int_equal(file_write(file, STR_LIT("pass word\r\nmore"), 0600, NULL), 0);
    assert_int_equal(backup_settings_target(&s, "postgres", &t, &password, NULL), 0);
    assert_string_equal(secret_expose(password).p, "pass word");
    assert_ptr_equal(t.password, password);
    assert_int_equal(t.port, 7);
    assert_string_equal(t.database, "postgres");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults),
        cmocka_unit_test(everything),
        cmocka_unit_test(refuses),
        cmocka_unit_test(not_there),
        cmocka_unit_test_setup_teardown(keys, folder_make, folder_remove),
        cmocka_unit_test_setup_teardown(keys_cut_off, folder_make, folder_remove),
        cmocka_unit_test_setup_teardown(target, folder_make, folder_remove),
    };

    crypt_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
