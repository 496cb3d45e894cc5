/* atoll check: what can be known before the first write. */
#include "cmd/cmd.h"
#include "host/keys.h"
#include "io/file.h"

typedef struct Line {
    Cmd *c;
    int failed; /* the first failure's kind, negative */
} Line;

static void say(Line *l, int r, Err *err, const char *what, const char *words)
{
    const char *mark = r < 0 ? "NOT" : "ok ";
    if (l->c->common.json)
        cmd_json(json_make_new("{s:s, s:s, s:b, s:s}", "event", "check", "name", what, "ok", r >= 0,
                               "words", r < 0 && err->text ? err->text : words));
    else if (r < 0)
        cmd_say(l->c, "%s %-10s %s%s%s\n", mark, what, err->text,
                err->hint ? "\n               " : "", err->hint ? err->hint : "");
    else
        cmd_say(l->c, "%s %-10s %s\n", mark, what, words);
    if (r < 0 && l->failed == 0)
        l->failed = r;
    if (r < 0)
        err_clear(err);
}

static void check_login(Line *l, const char *what, Cloud *cloud)
{
    _cleanup_(err_clear) Err err = {0};
    int r = cloud_login(cloud, &err);
    const CloudConfig *config = cloud_config(cloud);
    _cleanup_free_ char *words = r < 0 ? NULL
                                       : xasprintf("%s from %s, project %s", config->name,
                                                   config->source, cloud_project_id(cloud));
    say(l, r, &err, what, words);
}

static void check_services(Line *l, Cloud *cloud)
{
    for (int s = 0; s < CLOUD_ORCHESTRATION; s++) {
        _cleanup_(err_clear) Err err = {0};
        const char *url = NULL;
        int r = cloud_endpoint(cloud, (CloudService)s, &url, &err);
        say(l, r, &err, "service", url);
    }
}

static int run(Cmd *c, char **operands, Err *err)
{
    (void)operands; /* none */
    Line l = {.c = c};
    _cleanup_free_ char *file =
        xasprintf("%s: island %s, %zu tiers", c->common.file, c->island.name, c->island.n_tiers);
    say(&l, 0, NULL, "file", file);
    check_login(&l, "login", c->clouds.of[CLOUD_OF_ISLAND]);
    if (c->owned[CLOUD_OF_MEDIA])
        check_login(&l, "media", c->owned[CLOUD_OF_MEDIA]);
    if (c->owned[CLOUD_OF_BACKUP])
        check_login(&l, "backup", c->owned[CLOUD_OF_BACKUP]);
    if (cmd_has_control(c)) {
        _cleanup_(err_clear) Err no_login = {0};
        int k = cmd_control_check(c, &no_login);
        say(&l, k, &no_login, "control", "its logins can be handed on");
    }
    if (l.failed == 0)
        check_services(&l, c->clouds.of[CLOUD_OF_ISLAND]);
    if (l.failed == 0) {
        _cleanup_(world_clear) World w = {0};
        int r = world_facts(&c->clouds, c->cache_dir, true, time_now(), &w, err);
        if (r == 0)
            r = island_preflight(&c->island, w.facts, err);
        say(&l, r, err, "offers", "flavors, image, volume types and external network are there");
    }
    _cleanup_free_ char *tree = cmd_tree_file_new(c);
    if (l.failed == 0 && tree) {
        _cleanup_(err_clear) Err no_tree = {0};
        _cleanup_json_ json_t *release = island_release_new(&c->island);
        int k = cmd_tree_look(c, release, NULL, &no_tree);
        say(&l, k, &no_tree, "release", tree);
    }
    _cleanup_(keyfiles_clear) KeyFiles keys = keys_paths(c->island.name);
    _cleanup_(err_clear) Err no_key = {0};
    int r = file_exists(keys.key_path) && file_exists(keys.pub_path)
                ? 0
                : err_set(&no_key, ERR_NOT_FOUND, "no operator's key at %s", keys.key_path);
    if (r < 0 && c->common.environment)
        err_hint(&no_key, "island %s has keys of its own: `atoll init -e %s` makes them",
                 c->island.name, c->common.environment);
    else if (r < 0)
        err_hint(&no_key, "`atoll init` makes it, with the island file");
    say(&l, r, &no_key, "key", keys.key_path);
    if (c->island.edge.https) {
        _cleanup_(err_clear) Err bad = {0};
        _cleanup_free_ char *words = NULL;
        r = cmd_tls_check(c, &words, &bad);
        say(&l, r, &bad, "tls", words);
    }
    if (l.failed < 0)
        return err_exit_code(l.failed);
    cmd_say(c, "\nnext: `atoll plan`\n");
    return 0;
}

const Verb verb_check = {
    .name = "check",
    .usage = "check [options]",
    .sentence = "Check file, login, services, offers and keys; writes nothing.",
    .text =
        "One line for each thing that can be known before the first write: the island file, the "
        "login and where it comes from, each service's endpoint, whether flavors, image, volume "
        "types and the external network exist, whether a source tree's archive can be had, whether "
        "the operator's key is there, and whether the certificate and its key could serve the "
        "domain.",
    .needs = NEED_ISLAND | NEED_CLOUD,
    .options = NULL,
    .run = run,
};
