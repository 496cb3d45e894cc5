/* atoll backup settings: an island's backups, for the verbs of this machine. */
#include "cmd/backup.h"
#include "cmd/cmd.h"
#include "host/backup.h"
#include "io/file.h"

typedef struct Options {
    const char *to;
} Options;

static const Opt options[] = {
    {.name = "to",
     .type = OPT_STRING,
     .argument = "FILE",
     .sentence = "Write to this file, the keys beside it (default: backup.yaml in "
                 "~/.config/atoll).",
     .offset = offsetof(Options, to)},
    OPT_END,
};

static void write_settings(const Island *i, const char *keys, Buf *b)
{
    _cleanup_free_ char *db = island_first_server(i, ROLE_POSTGRES);

    buf_printf(
        b,
        "# Backups of the island %s, as `atoll backup settings` wrote them. The database is\n"
        "# read by its own server (%s); from here: audit, list, verify, prune, restore, "
        "drill.\n"
        "postgres: {host: /run/atoll-postgres, port: %d, user: " BACKUP_ROLE "}\n"
        "slot: atoll\n"
        "repository: {cloud: %s, container: %s}\n"
        "keys: \"%s\"\n"
        "keep: {daily: %d, weekly: %d, monthly: %d, window: %dd}\n",
        i->name, db, role_rows[ROLE_POSTGRES].port, *i->backup.cloud ? i->backup.cloud : i->cloud,
        i->backup.container, keys, i->backup.keep.daily, i->backup.keep.weekly,
        i->backup.keep.monthly, i->backup.keep.window_d);
    if (*i->backup.media_container)
        buf_printf(b, "media: {from: {cloud: %s, container: %s}, to: {cloud: %s, container: %s}}\n",
                   *i->media.cloud ? i->media.cloud : i->cloud, i->media.container,
                   i->backup.media_cloud, i->backup.media_container);
}

static int run(Cmd *c, char **operands, Err *err)
{
    (void)operands; /* none */
    const Options *o = c->options;
    _cleanup_free_ char *config = path_config();
    _cleanup_free_ char *usual = config ? path_join(config, "backup.yaml") : NULL;
    const char *path = o->to ? o->to : usual;
    _cleanup_(backup_pairs_clear) BackupPairs pairs = {0};
    _cleanup_(strlist_clear) StrList readers = {0};
    _cleanup_(backup_settings_clear) BackupSettings s = {0};
    _cleanup_(buf_clear) Buf text = BUF_INIT(BUF_MAX_LINE);
    const Vault *vault = NULL;

    if (!path)
        return err_set(err, ERR_USAGE, "there is no home folder to write to; --to FILE names one");
    if (!c->island.backup.on) {
        err_set(err, ERR_CONFIG, "%s has no backup", c->island.path);
        return err_hint(err, "add `backup: {}` to it, and `atoll apply`");
    }
    int r = cmd_need_vault(c, false, &vault, err);
    if (r == 0)
        r = backup_pairs(vault, &pairs, err);
    if (r < 0)
        return r;
    _cleanup_free_ char *keys = xasprintf("%s.backup", c->island.name);
    write_settings(&c->island, keys, &text);
    r = backup_settings_parse(path, buf_as_str(&text), &s, err);
    if (r < 0)
        return r;
    backup_readers(&pairs, &c->keys.recipients, &readers);
    KeyPair files[BACKUP_KEYS] = {[BACKUP_KEY_HOST] = pairs.host,
                                  [BACKUP_KEY_AUDIT] = pairs.audit,
                                  [BACKUP_KEY_DRILL] = pairs.drill};
    _cleanup_free_ char *folder = path_folder(path);
    r = file_mkdirs(folder, 0700, err);
    if (r == 0)
        r = backup_keys_put(&s, files, &readers, err);
    if (r == 0)
        r = file_write(path, buf_as_str(&text), 0600, err);
    if (r == 0)
        cmd_say(
            c,
            "wrote %s, and keys in %s: they read every backup, so keep them as you keep\n"
            "the island's own\n\nnext: `atoll backup audit`, for as long as this machine runs\n",
            path, s.keys);
    return r;
}

const Verb verb_backup_settings = {
    .name = "backup settings",
    .usage = "backup settings [options]",
    .sentence = "Write an island's backup settings and keys to this machine.",
    .text = "An island whose file has `backup:` streams its database's log into a container, and "
            "whole copies every day, from its own server, which can only add to it. This writes "
            "what the other side needs: a settings file for `atoll backup audit`, `list`, "
            "`verify`, `prune`, `restore` and `drill`, and the keys that countersign and read, out "
            "of the island's vault. It can be written again at any time.",
    .needs = NEED_ISLAND | NEED_CLOUD,
    .options_size = sizeof(Options),
    .options = options,
    .run = run,
};
