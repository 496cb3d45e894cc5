/* A tool of test/story/backup_verify.py and backup_thief.py: an object signed by whoever's key is
 * in KEYS, with any facts. Prints the name that its facts and hash give it.
 *
 *     backup_forge KEYS SYSTEM KIND FACTS FILE     FACTS: JSON; FILE: where the object goes
 */
#include "backup/catalogue.h"
#include "backup/settings.h"
#include "io/file.h"
#include <stdio.h>

static char *name_new(ObjectKind kind, const json_t *facts, const char *hash)
{
    Lsn start = 0, end = 0;
    Timeline tli = (Timeline)json_int(facts, "tli", 1);

    (void)!lsn_parse(json_str_or(facts, "start", ""), &start);
    (void)!lsn_parse(json_str_or(facts, "end", ""), &end);
    switch (kind) {
    case OBJECT_WAL:
        return name_wal_new(tli, start, end, hash);
    case OBJECT_HISTORY:
        return name_history_new(tli, hash);
    case OBJECT_PACK:
        return name_pack_new(json_str_or(facts, "run", "0123456789abcdef"), 1, hash);
    default:
        return name_base_new(json_str_or(facts, "id", "20261129T013000Z-01234567"), hash);
    }
}

static int forge(char **argv, Err *err)
{
    BackupSettings s = {.keys = argv[1]};
    _cleanup_(keypair_clear) KeyPair host = {0};
    _cleanup_(strlist_clear) StrList to = {0};
    _cleanup_(buf_clear) Buf object = BUF_INIT(OBJECT_MAX);
    char hash[OBJECT_HASH_MAX];
    int kind = 0;
    json_t *facts = json_parse_new(argv[4], strlen(argv[4]), err);
    int r = facts ? backup_key(&s, BACKUP_KEY_HOST, &host, err) : -ERR_CORRUPT;

    if (r == 0)
        r = backup_keys_recipients(&s, &to, err);
    ObjectSeal seal = {
        .system = argv[2], .recipients = (const char *const *)to.items, .signer = &host};
    while (kind < OBJECT_KINDS && !streq(object_kinds[kind], argv[3]))
        kind++;
    if (r == 0 && kind == OBJECT_KINDS)
        r = err_set(err, ERR_USAGE, "no such kind");
    if (r == 0)
        r = object_seal(&seal, (ObjectKind)kind, STR_LIT("forged"), json_incref(facts), &object,
                        hash, err);
    if (r == 0)
        r = file_write(argv[5], buf_as_str(&object), 0600, err);
    if (r == 0) {
        _cleanup_free_ char *name = name_new((ObjectKind)kind, facts, hash);
        puts(name);
    }
    json_decref(facts);
    return r;
}

int main(int argc, char **argv)
{
    _cleanup_(err_clear) Err err = {0};

    crypt_init();
    if (argc != 6)
        return 2;
    if (forge(argv, &err) == 0)
        return 0;
    fprintf(stderr, "%s\n", err.text);
    return 1;
}
