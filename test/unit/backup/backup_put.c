/* A tool of test/story/backup_store.py: what the database's side does with its addresses, and what
 * a reader does.
 *
 *     backup_put URLS KEYS pack FILE           puts an object with FILE's text; prints its name
 *     backup_put fetch CLOUD/CONTAINER KEYS NAME   prints an object's plain text
 */
#include "backup/catalogue.h"
#include "backup/settings.h"
#include "io/file.h"
#include <stdio.h>
#include <unistd.h>

static int put(char **argv, Err *err)
{
    BackupSettings s = {.keys = argv[2]};
    const char *patience = getenv("ATOLL_TEST_PATIENCE");
    StoreOptions o = {.patience_ms = patience ? -1 : 20 * SECOND};
    _cleanup_(keypair_clear) KeyPair host = {0};
    _cleanup_(strlist_clear) StrList to = {0};
    _cleanup_(buf_clear) Buf text = BUF_INIT(BUF_MAX_LINE), object = BUF_INIT(OBJECT_MAX);
    _cleanup_(store_drop) Store *store = NULL;
    char hash[OBJECT_HASH_MAX];
    int r = backup_key(&s, BACKUP_KEY_HOST, &host, err);

    if (r == 0)
        r = backup_keys_recipients(&s, &to, err);
    if (r == 0)
        r = file_read(argv[4], &text, err);
    ObjectSeal seal = {.system = "7300000000000000001",
                       .recipients = (const char *const *)to.items,
                       .signer = &host};
    if (r == 0)
        r = object_seal(&seal, OBJECT_PACK, buf_as_str(&text),
                        json_make_new("{s:s, s:i}", "run", "r", "number", 1), &object, hash, err);
    if (r < 0)
        return r;
    _cleanup_free_ char *name = name_pack_new("0123456789abcdef", 1, hash);
    r = store_urls(argv[1], &o, &store, err);
    if (r == 0)
        r = store_put(store, name, buf_as_str(&object), STORE_ANY, err);
    if (r == 0)
        puts(name);
    return r;
}

static int fetch(char **argv, Err *err)
{
    BackupSettings s = {.keys = argv[3]};
    char *slash = strchr(argv[2], '/');
    _cleanup_free_ char *cloud = xstrndup(argv[2], (size_t)(slash - argv[2]));
    _cleanup_(cloud_config_clear) CloudConfig config = {0};
    _cleanup_(keypair_clear) KeyPair reader = {0};
    _cleanup_(strlist_clear) StrList hosts = {0};
    _cleanup_(buf_clear) Buf object = BUF_INIT(OBJECT_MAX), text = BUF_INIT(OBJECT_MAX);
    _cleanup_(store_drop) Store *store = NULL;
    int r = cloud_config_load(cloud, &config, err);

    if (r == 0)
        r = store_swift(&(StoreSwift){.config = &config, .container = slash + 1, .prefix = ""},
                        &(StoreOptions){0}, &store, err);
    if (r == 0)
        r = backup_signers(&s, BACKUP_KEY_HOST, &hosts, err);
    if (r == 0)
        r = backup_reader(&s, NULL, &reader, err);
    if (r == 0)
        r = catalogue_fetch(store, &hosts, argv[4], &object, err);
    if (r == 0)
        r = object_open(buf_as_str(&object), &reader, &text, err);
    if (r == 0)
        puts(text.p);
    return r;
}

int main(int argc, char **argv)
{
    _cleanup_(err_clear) Err err = {0};

    crypt_init();
    if (argc != 5)
        return 2;
    if ((streq(argv[1], "fetch") ? fetch : put)(argv, &err) == 0)
        return 0;
    fprintf(stderr, "%s\n%s\n", err.text, err.hint ? err.hint : "");
    return 1;
}
