#include "cmd/backup.h"
#include "io/file.h"

#include <malloc.h>

#define LARGE_BYTES (4 << 20)

void cmd_backup_memory(void)
{
    (void)mallopt(M_MMAP_THRESHOLD, LARGE_BYTES); /* fails only for a size that is none */
}

int cmd_backup_settings(const char *given, BackupSettings *ret, Err *err)
{
    _cleanup_free_ char *folder = given ? NULL : path_config();
    _cleanup_free_ char *usual = folder ? path_join(folder, "backup.yaml") : NULL;

    if (!given && !usual)
        return err_set(err, ERR_USAGE,
                       "there is no home folder to look for backup.yaml in; "
                       "--settings FILE names it");
    return backup_settings_load(given ? given : usual, ret, err);
}

int cmd_backup_catalogue(const BackupSettings *s, Store *store, Catalogue *ret, Err *err)
{
    _cleanup_(strlist_clear) StrList auditors = {0};
    int r = backup_signers(s, BACKUP_KEY_AUDIT, &auditors, err);

    if (r == 0)
        r = catalogue_load(store, &auditors, ret, err);
    if (r == 0 && ret->hosts.len == 0)
        r = backup_signers(s, BACKUP_KEY_HOST, &ret->hosts, err);
    return r;
}

void cmd_writer_clear(CmdWriter *w)
{
    (void)store_free(w->store);
    secret_free(w->password);
    keypair_clear(&w->host);
    strlist_clear(&w->recipients);
    backup_settings_clear(&w->settings);
    *w = (CmdWriter){0};
}

static int open_server(CmdWriter *w, Err *err)
{
    _cleanup_secret_ Secret *second = NULL;
    int r = backup_settings_target(&w->settings, NULL, &w->server, &w->password, err);

    if (r == 0)
        r = backup_settings_target(&w->settings, "postgres", &w->sql, &second, err);
    w->sql.password = w->password;
    return r;
}

int cmd_writer_open(Cmd *c, const char *settings, Msec patience_ms, CmdWriter *ret, Err *err)
{
    const StoreOptions o = {
        .stop = c->stop, .patience_ms = patience_ms, .seed = (uint64_t)time_mono()};
    int r = cmd_backup_settings(settings, &ret->settings, err);

    if (r == 0)
        r = backup_keys_recipients(&ret->settings, &ret->recipients, err);
    if (r == 0)
        r = backup_key(&ret->settings, BACKUP_KEY_HOST, &ret->host, err);
    if (r == 0)
        r = open_server(ret, err);
    if (r == 0)
        r = backup_settings_store(&ret->settings, c->cache_dir, &o, &ret->store, err);
    ret->seal = (ObjectSeal){.recipients = (const char *const *)ret->recipients.items,
                             .signer = &ret->host};
    return r;
}
