/* atoll media check: whether media on Swift will work for Mastodon, and for nobody else. */
#include "cmd/cmd.h"
#include "host/env.h"
#include "io/file.h"
#include "media/check.h"
#include <stdio.h>

#define FOG_SCRIPT "/usr/share/atoll/fog-login.rb"

typedef struct Options {
    const char *env, *owner, *domain, *require, *fog;
    bool settings;
} Options;

static const Opt options[] = {
    {.name = "env",
     .type = OPT_STRING,
     .argument = "FILE",
     .sentence = "Check the SWIFT_* settings of this .env.production; no island is needed.",
     .offset = offsetof(Options, env)},
    {.name = "owner",
     .type = OPT_STRING,
     .argument = "CLOUD",
     .sentence =
         "With --env: the entry of clouds.yaml that owns the container; it explains failures.",
     .offset = offsetof(Options, owner)},
    {.name = "domain",
     .type = OPT_STRING,
     .argument = "DOMAIN",
     .sentence = "With --env: the instance's domain, for CORS.",
     .offset = offsetof(Options, domain)},
    {.name = "require",
     .type = OPT_STRING,
     .argument = "LEVEL",
     .sentence = "Isolation that must be reached: project, container or none.",
     .offset = offsetof(Options, require)},
    {.name = "settings",
     .type = OPT_FLAG,
     .sentence = "Print the SWIFT_* block for a Mastodon that runs elsewhere (password left out).",
     .offset = offsetof(Options, settings)},
    {.name = "fog",
     .type = OPT_STRING,
     .argument = "SCRIPT",
     .sentence = "The Ruby script that logs in with fog-openstack.",
     .offset = offsetof(Options, fog),
     .def = FOG_SCRIPT},
    OPT_END,
};

/* The settings that Mastodon on this island gets. */
static int island_settings(Cmd *c, MediaSettings *ret, Err *err)
{
    Cloud *media = c->clouds.of[CLOUD_OF_MEDIA];
    int r = cloud_login(media, err);
    const char *object_url = NULL;
    if (r == 0)
        r = cloud_endpoint(media, CLOUD_OBJECT, &object_url, err);
    Vault *vault = NULL;
    _cleanup_(cmd_keys_clear) CmdKeys keys = {0};
    if (r == 0)
        r = cmd_keys(c, &keys, err);
    if (r == 0)
        r = cmd_vault(c, &keys, false, &vault, err);
    if (r < 0)
        return r;
    const Secret *password = vault_secret(vault, "media_password");
    const Island *i = &c->island;
    *ret = (MediaSettings){
        .auth_url = xstrdup(cloud_config(media)->auth_url),
        .username = *i->media.user ? xstrdup(i->media.user)
                                   : resource_name(i->name, RESOURCE_USER, "media", 1),
        .user_domain = xstrdup(cloud_domain_name(media)),
        .project_id = xstrdup(cloud_project_id(media)),
        .region = xstrdup(cloud_region(media)),
        .container = xstrdup(i->media.container),
        .object_url = *i->media.url ? xstrdup(i->media.url)
                                    : xasprintf("%s/%s", object_url, i->media.container),
        .password = password ? secret_copy(password) : NULL,
    };
    vault_free(vault);
    if (ret->password)
        return 0;
    err_set(err, ERR_NOT_FOUND, "the vault has no media password yet");
    return err_hint(err, "`atoll apply` makes it");
}

static int gather(Cmd *c, MediaSettings *settings, MediaCheck *check, Err *err)
{
    const Options *o = c->options;
    if (o->env) {
        int r = media_settings_read(o->env, settings, err);
        if (r == 0 && !o->domain)
            r = err_set(err, ERR_USAGE,
                        "--env needs --domain as well: the instance's domain, for CORS");
        if (r == 0 && o->owner)
            r = cmd_cloud(c, o->owner, &c->owned[CLOUD_OF_MEDIA], err);
        check->owner = c->owned[CLOUD_OF_MEDIA];
        return r < 0 ? r : check->owner ? cloud_login(check->owner, err) : 0;
    }
    int r = cmd_prepare(c, NEED_ISLAND | NEED_CLOUD, err);
    if (r == 0)
        r = island_settings(c, settings, err);
    if (r == 0)
        r = cloud_login(c->clouds.of[CLOUD_OF_ISLAND], err);
    if (r < 0)
        return r;
    check->owner = c->clouds.of[CLOUD_OF_MEDIA];
    check->other_project = cloud_project_id(c->clouds.of[CLOUD_OF_ISLAND]);
    return 0;
}

static int parse_level(const char *word, MediaLevel *ret, Err *err)
{
    for (int l = 0; l < MEDIA_LEVELS; l++)
        if (streq(word, media_levels[l])) {
            *ret = (MediaLevel)l;
            return 0;
        }
    return err_set(err, ERR_USAGE, "isolation '%s' is none of project, container, none", word);
}

static void print_line(const Cmd *c, const MediaLine *l)
{
    static const char *const marks[] = {"ok ", "NOT", "-- "};
    static const char *const words[] = {"ok", "failed", "skipped"};
    if (c->common.json) {
        cmd_json(json_make_new("{s:s, s:s, s:s, s:s, s:s?}", "event", "media_check", "name",
                               l->name, "outcome", words[l->outcome], "words", l->words, "remedy",
                               l->remedy));
        return;
    }
    printf("%s %-10s %s\n", marks[l->outcome], l->name, l->words);
    if (l->remedy)
        printf("               do: %s\n", l->remedy);
}

static int print_settings(const MediaSettings *s, Err *err)
{
    _cleanup_(strlist_clear) StrList block = {0};
    MediaEnv m = {.auth_url = s->auth_url,
                  .username = s->username,
                  .user_domain = s->user_domain,
                  .project_id = s->project_id,
                  .region = s->region,
                  .container = s->container,
                  .object_url = s->object_url};
    int r = env_media(&m, NULL, &block, err);
    for (size_t i = 0; r == 0 && i < block.len; i++)
        puts(block.items[i]);
    return r;
}

static int run(Cmd *c, char **operands, Err *err)
{
    (void)operands; /* none */
    const Options *o = c->options;
    _cleanup_(media_settings_clear) MediaSettings settings = {0};
    MediaCheck check = {.options = {.http = c->http, .stop = c->stop},
                        .fog = file_exists(o->fog) ? o->fog : NULL};
    int r = gather(c, &settings, &check, err);
    if (r < 0)
        return r;
    if (o->settings)
        return print_settings(&settings, err);
    check.settings = &settings;
    check.domain = o->domain ? o->domain : c->island.domain;
    const char *required = o->require                  ? o->require
                           : c->island.media.isolation ? c->island.media.isolation
                                                       : "container";
    r = parse_level(required, &check.required, err);
    if (r < 0)
        return r;
    _cleanup_(media_lines_clear) MediaLines lines = {0};
    MediaLevel level = MEDIA_NONE;
    r = media_check(&check, &lines, &level, err);
    if (r < 0)
        return r;
    size_t failed = 0;
    for (size_t i = 0; i < lines.len; i++) {
        print_line(c, &lines.items[i]);
        failed += lines.items[i].outcome == MEDIA_FAILED;
    }
    if (failed == 0)
        return 0;
    return err_set(err, ERR_PREFLIGHT, "%zu of %zu media checks failed", failed, lines.len);
}

const Verb verb_media_check = {
    .name = "media check",
    .usage = "media check [options]",
    .sentence = "Prove that media works, and that the upload user can do nothing else.",
    .text =
        "Performs each thing as Mastodon, a browser and a stranger would: the upload user logs "
        "in with the exact settings, writes, reads and deletes in its container and is refused "
        "elsewhere; an anonymous GET answers 200 with the CORS header, an anonymous listing is "
        "refused; a server must not be creatable. Each failed line has its remedy, and the exit "
        "code is 8.\n\n"
        "The isolation reached is named: project (nothing but the container, in a project of its "
        "own), container (the same in the island's project), none.",
    .options_size = sizeof(Options),
    .options = options,
    .run = run,
};
