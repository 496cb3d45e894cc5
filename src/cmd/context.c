/* What verbs share: logins, the vault, output. */
#include "cmd/cmd.h"
#include "host/control.h"
#include "host/env.h"
#include "host/keys.h"
#include "io/crypt.h"
#include "io/file.h"
#include "stream/settings.h"
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

Cloud *cmd_cloud_of(Cmd *c, CloudConfig *config)
{
    uint64_t seed = 0;
    crypt_random(&seed, sizeof seed);
    return cloud_new(
        config,
        &(CloudOptions){.http = c->http, .cache_dir = c->cache_dir, .stop = c->stop, .seed = seed});
}

int cmd_cloud(Cmd *c, const char *name, Cloud **ret, Err *err)
{
    CloudConfig config = {0};
    int r = cloud_config_load(name, &config, err);
    if (r == 0)
        *ret = cmd_cloud_of(c, &config);
    cloud_config_clear(&config);
    return r;
}

static int check_environment(const Cmd *c, Err *err)
{
    const char *name = c->common.environment;

    if (!name || environment_name_ok(name))
        return 0;
    return err_set(err, ERR_USAGE,
                   "-e %s: up to 16 of a-z and 0-9, a letter first, such as staging", name);
}

/* The streaming server's own, which only it knows: a wrong one is better found here than by it. */
static int check_bound(const Island *i, const IslandEnv *e, Err *err)
{
    StreamSettings settings;
    _cleanup_(err_clear) Err why = {0};
    _cleanup_(buf_clear) Buf text = BUF_INIT(BUF_MAX_LINE);
    _cleanup_free_ char *path = xasprintf("env.%s", e->name), *place = island_place(i, path);

    if (!e->value)
        return err_set(err, ERR_CONFIG, "%s is no secret: give its value", place);
    for (const char *p = e->name + strlen(ENV_STREAM); *p; p++)
        buf_char(&text, *p == '_' ? '-' : (char)(*p >= 'A' && *p <= 'Z' ? *p + 32 : *p));
    buf_printf(&text, "=%s", e->value);
    stream_settings_default(&settings);
    if (stream_settings_set(&settings, text.p, &why) == 0)
        return 0;
    (void)err_set(err, ERR_CONFIG, "%s: %s", place, why.text);
    return err_hint(err, "%s", why.hint ? why.hint : "`atoll stream --show-settings` lists them");
}

static int check_bounds(const Island *i, Err *err)
{
    int r = 0;

    for (size_t k = 0; r == 0 && k < i->env.len; k++)
        if (starts_with(i->env.items[k].name, ENV_STREAM))
            r = check_bound(i, &i->env.items[k], err);
    return r;
}

int cmd_prepare(Cmd *c, unsigned needs, Err *err)
{
    if (!(needs & NEED_ISLAND))
        return 0;
    c->lent = getenv(CONTROL_VAULT_ENV) != NULL;
    int r = check_environment(c, err);
    if (r == 0)
        r = island_load(c->common.file, c->common.environment, &c->island, err);
    if (r == 0)
        r = check_bounds(&c->island, err);
    if (r == -ERR_NOT_FOUND)
        err_hint(err, "`atoll init` writes a first island file; -f names another one");
    if (r < 0 || !(needs & NEED_CLOUD))
        return r;
    r = cmd_cloud(c, c->island.cloud, &c->owned[CLOUD_OF_ISLAND], err);
    if (r < 0)
        return r;
    const char *media = c->island.media.cloud;
    if (*media && !streq(media, c->island.cloud)) {
        r = cmd_cloud(c, media, &c->owned[CLOUD_OF_MEDIA], err);
        if (r < 0)
            return r;
    }
    const char *backup = c->island.backup.cloud;
    if (*backup && !streq(backup, c->island.cloud)) {
        r = cmd_cloud(c, backup, &c->owned[CLOUD_OF_BACKUP], err);
        if (r < 0)
            return r;
    }
    c->clouds.island = c->island.name;
    if (*c->island.media.user_id) {
        c->clouds.media_user = c->island.media.user_id;
        c->clouds.media_user_name = c->island.media.user;
    }
    c->clouds.used = (*c->island.network.router ? CLOUDS_USE_ROUTER : 0u) |
                     (*c->island.network.name ? CLOUDS_USE_NETWORK : 0u);
    for (int i = 0; i < CLOUD_ROLES; i++)
        c->clouds.of[i] = c->owned[i] ? c->owned[i] : c->owned[CLOUD_OF_ISLAND];
    return 0;
}

void cmd_keys_clear(CmdKeys *k)
{
    keypair_clear(&k->own);
    strlist_clear(&k->recipients);
}

/* Who may work on one island of the file need not be able to work on another. */
static int own_keys(const Cmd *c, Err *err)
{
    _cleanup_(keyfiles_clear) KeyFiles files = keys_paths(c->island.name);

    if (!c->common.environment || file_exists(files.pub_path))
        return 0;
    (void)err_set(err, ERR_NOT_FOUND, "island %s has keys of its own, and %s is not there",
                  c->island.name, files.pub_path);
    return err_hint(err,
                    "`atoll init -e %s` makes them; on another machine, copy them from the first",
                    c->common.environment);
}

int cmd_keys(Cmd *c, CmdKeys *ret, Err *err)
{
    _cleanup_secret_ Secret *passphrase = NULL;
    int r = own_keys(c, err);
    if (r == 0)
        r = keys_recipients(c->island.name, &ret->recipients, err);
    if (r == 0 && c->lent)
        return 0; /* the operator's key stays with him */
    if (r == 0)
        r = keys_passphrase(false, &passphrase, err);
    return r < 0 ? r : keys_open(c->island.name, passphrase, &ret->own, err);
}

/* The password of an upload user that is given: the operator's to keep. */
static int given_password(const Cmd *c, Vault *vault, Err *err)
{
    const char *path = c->island.media.password_file;
    _cleanup_(buf_wipe) Buf text = BUF_INIT(BUF_MAX_LINE);
    int r = file_read(path, &text, err);

    if (r < 0)
        return err_wrap(err, "reading media.user.password_file");
    size_t n = strcspn(text.p, "\r\n");
    if (n == 0)
        return err_set(err, ERR_CONFIG, "%s (media.user.password_file) has no first line", path);
    Secret *password = secret_new(text.p, n);
    vault_set(vault, "media_password", password);
    secret_free(password);
    return 0;
}

int cmd_vault(Cmd *c, const CmdKeys *keys, bool make, Vault **ret, Err *err)
{
    int r = vault_open(c->clouds.of[CLOUD_OF_ISLAND], c->island.name, &keys->own, &keys->recipients,
                       make, ret, err);
    if (r == 0 && *c->island.media.user_id) {
        r = given_password(c, *ret, err);
        if (r < 0)
            *ret = vault_free(*ret);
    }
    return r;
}

void cmd_json(json_t *event)
{
    _cleanup_free_ char *text = json_text_new(event);
    puts(text);
    fflush(stdout);
    json_decref(event);
}

void cmd_say(const Cmd *c, const char *format, ...)
{
    if (c->common.quiet || c->common.json)
        return;
    va_list ap;
    va_start(ap, format);
    vprintf(format, ap);
    va_end(ap);
    fflush(stdout);
}

int cmd_ask(const char *question, const char *expected, Err *err)
{
    if (!isatty(STDIN_FILENO)) {
        err_set(err, ERR_USAGE, "this needs a confirmation, and standard input is no terminal");
        return err_hint(err, "-y says yes beforehand");
    }
    fprintf(stderr, "%s ", question);
    fflush(stderr);
    char line[128] = "";
    errno = 0;
    if (!fgets(line, sizeof line, stdin))
        return err_set(err, ERR_INTERRUPTED, "not confirmed; nothing was done");
    Str typed = str_trim(str_of(line));
    if (!str_eq(typed, str_of(expected)))
        return err_set(err, ERR_INTERRUPTED, "not confirmed ('%s' was expected); nothing was done",
                       expected);
    return 0;
}

void cmd_cost(const Cmd *c, Buf *out)
{
    buf_printf(out, "%zu calls, %.2f s", c->calls, (double)(time_mono() - c->started) / 1000.0);
}

int cmd_package(const char *given, char **ret, Err *err)
{
    if (given) {
        if (!file_exists(given))
            return err_set(err, ERR_NOT_FOUND, "no package at %s", given);
        *ret = xstrdup(given);
        return 0;
    }
    char self[4096] = "";
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    char *slash = n > 0 ? strrchr(self, '/') : NULL;
    if (slash)
        *slash = '\0';
    const char *const folders[] = {self, "/var/cache/apt/archives"};
    for (size_t f = 0; f < ARRAY_LEN(folders); f++) {
        _cleanup_(strlist_clear) StrList names = {0};
        if (file_list(folders[f], &names, NULL) < 0)
            continue;
        for (size_t i = 0; i < names.len; i++)
            if (starts_with(names.items[i], "atoll_" ATOLL_VERSION) &&
                ends_with(names.items[i], ".deb")) {
                *ret = path_join(folders[f], names.items[i]);
                return 0;
            }
    }
    err_set(err, ERR_PREFLIGHT,
            "servers install atoll " ATOLL_VERSION ", and its package was not found");
    return err_hint(err, "--package FILE names it; `make deb` builds it from source");
}

int cmd_need_keys(Cmd *c, Err *err)
{
    int r = c->has_keys ? 0 : cmd_keys(c, &c->keys, err);

    c->has_keys = r == 0;
    return r;
}

static int lent_vault(Vault **ret, Err *err)
{
    const char *path = getenv(CONTROL_VAULT_ENV);
    _cleanup_(buf_wipe) Buf text = BUF_INIT(BUF_MAX_BODY);
    int r = file_read(path, &text, err);

    if (r == 0)
        r = vault_read(buf_as_str(&text), ret, err);
    return r < 0 ? err_wrap(err, "%s (" CONTROL_VAULT_ENV ")", path) : 0;
}

int cmd_need_vault(Cmd *c, bool make, const Vault **ret, Err *err)
{
    int r = cmd_need_keys(c, err);

    if (r == 0 && !c->vault)
        r = c->lent ? lent_vault(&c->vault, err) : cmd_vault(c, &c->keys, make, &c->vault, err);
    *ret = c->vault;
    return r;
}
