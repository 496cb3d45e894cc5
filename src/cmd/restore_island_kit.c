/* The repository of a restore on the island, and its kit. */
#include "backup/kit.h"
#include "base/log.h"
#include "cmd/restore_island_work.h"
#include "host/backup.h"

#define URL_LIFE (1 * DAY)
#define ID_DIGITS 16

static int open_store(const IslandRestore *w, Store **ret, Err *err)
{
    return store_swift(&(StoreSwift){.config = cloud_config(w->c->clouds.of[CLOUD_OF_BACKUP]),
                                     .cache_dir = w->c->cache_dir,
                                     .container = w->c->island.backup.container,
                                     .prefix = ""},
                       &(StoreOptions){.stop = w->c->stop}, ret, err);
}

/* The repository by the island's own vault: no settings file is needed. */
static int open_repository(IslandRestore *w, Err *err)
{
    const Vault *vault = NULL;
    _cleanup_(backup_pairs_clear) BackupPairs pairs = {0};
    int r = cmd_need_vault(w->c, false, &vault, err);

    if (r == 0)
        r = backup_pairs(vault, &pairs, err);
    if (r < 0)
        return r;
    cmd_restore_clear(&w->repository);
    w->repository = (CmdRestore){.c = w->c, .reader = pairs.drill};
    pairs.drill = (KeyPair){0};
    strlist_add(&w->repository.auditors, pairs.audit.public_b64);
    r = open_store(w, &w->repository.store, err);
    return r < 0 ? r : cmd_restore_read(&w->repository, pairs.host.public_b64, err);
}

int island_choose(IslandRestore *w, Err *err)
{
    int r = cmd_restore_target(w->o->restore, &w->target, err);

    if (r == 0)
        r = open_repository(w, err);
    return r < 0 ? r
                 : cmd_restore_choose(&w->repository, w->o->restore, &w->target, &w->choice, err);
}

/* The newest timeline that anything was stored of; by names alone, so that a damaged catalogue is
 * not in the way back. */
int island_newest_timeline(IslandRestore *w, Timeline *ret, Err *err)
{
    StoreItems listing = {0};
    _cleanup_(store_drop) Store *store = NULL;
    Timeline newest = 1;
    int r = open_store(w, &store, err);

    if (r == 0)
        r = store_list(store, "", false, &listing, err);
    for (size_t i = 0; r == 0 && i < listing.len; i++)
        newest = MAX(newest, name_parse(listing.items[i].name).tli);
    store_items_clear(&listing);
    if (r == 0)
        *ret = newest;
    return r;
}

typedef struct UrlAsk {
    Cloud *cloud;
    const Vault *vault;
    const char *container;
    Msec expires;
} UrlAsk;

static int read_url(void *user, const char *name, char **ret, Err *err)
{
    const UrlAsk *a = user;

    return backup_read_url(a->cloud, a->vault, a->container, name, a->expires, ret, err);
}

int island_put_kit(IslandRestore *w, const char *id, Err *err)
{
    Cloud *backup = w->c->clouds.of[CLOUD_OF_BACKUP];
    _cleanup_(keypair_clear) KeyPair key = {0};
    _cleanup_(buf_clear) Buf kit = BUF_INIT(KIT_MAX);
    _cleanup_free_ char *path = backup_kit_path_new(w->c->island.name, id);
    UrlAsk url = {.cloud = backup, .container = w->c->island.backup.container};
    CmdRestore *from = &w->repository;
    size_t objects = 0;

    int r = cmd_need_vault(w->c, false, &url.vault, err);
    if (r == 0)
        r = backup_kit_key(url.vault, id, &key, err);
    if (r < 0)
        return r;
    url.expires = cloud_now(backup) + URL_LIFE;
    r = kit_make(&(KitAsk){.store = from->store,
                           .catalogue = &from->catalogue,
                           .reader = &from->reader,
                           .choice = &w->choice,
                           .histories = &from->histories,
                           .target = w->target,
                           .recipient = key.public_b64,
                           .url = read_url,
                           .user = &url,
                           .stop = w->c->stop},
                 &kit, &objects, err);
    if (r == 0)
        r = swift_put(
            w->c->clouds.of[CLOUD_OF_ISLAND], path,
            &(SwiftPut){.body = buf_as_str(&kit), .content_type = "application/octet-stream"}, err);
    w->kit = r == 0;
    if (r == 0)
        cmd_say(w->c,
                "the server may read %zu objects for a day: the backup %s and the log up to "
                "the moment\n",
                objects, w->choice.base->id);
    return r;
}

/* Kits are of use to nobody any more; also those of runs that died before anything was begun. */
void island_remove_kits(const IslandRestore *w)
{
    const json_t *object;
    size_t i;

    json_array_foreach (w->d.plan.world.mail, i, object) {
        const char *name = json_str_or(object, "name", "");
        _cleanup_free_ char *path = xasprintf("%s-mail/%s", w->c->island.name, name);
        _cleanup_(err_clear) Err err = {0};

        if (starts_with(name, BACKUP_KIT_FOLDER) &&
            swift_delete(w->c->clouds.of[CLOUD_OF_ISLAND], path, &err) < 0 &&
            err.kind != ERR_NOT_FOUND)
            log_warn("%s stays: %s", path, err.text);
    }
}

char *island_new_id(void)
{
    char *id = xcalloc(ID_DIGITS + 1, 1);

    crypt_random_hex(id, ID_DIGITS);
    return id;
}
