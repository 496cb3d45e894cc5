/* Archives of releases that come from one, for the verbs that need one (host/tree.h). */
#include "host/tree.h"
#include "base/log.h"
#include "cmd/cmd.h"
#include "io/file.h"

char *cmd_tree_file_new(const Cmd *c)
{
    const char *file = c->island.release.tree, *image = c->island.release.image;

    if (image && starts_with(image, TREE_IMAGE_FILE))
        file = image + strlen(TREE_IMAGE_FILE);
    return file ? island_file_new(&c->island, file) : NULL;
}

int cmd_tree_look(Cmd *c, const json_t *release, const char *from, Err *err)
{
    const char *version = json_str_or(release, "version", "");
    _cleanup_free_ char *named = cmd_tree_file_new(c);
    bool is_named = named && streq(c->island.release.version, version), there = false;

    if (from && !tree_is_needed(release))
        return err_set(err, ERR_USAGE,
                       "--from gives an archive, and this release comes from none: its kind is %s",
                       json_str_or(release, "kind", "?"));
    if (!tree_is_needed(release))
        return 0;
    if (from || (is_named && file_exists(named)))
        return tree_file_check(from ? from : named, err);
    int r = tree_is_there(c->clouds.of[CLOUD_OF_ISLAND], c->island.name, version, &there, err);
    if (r < 0 || there)
        return r;
    if (is_named)
        return tree_file_check(named, err);
    (void)err_set(err, ERR_PREFLIGHT, "there is no archive of %s in %s-boot", version,
                  c->island.name);
    return err_hint(err, "--from FILE.tar.gz gives it; the island file's is of %s",
                    c->island.release.version);
}

int cmd_tree_put(Cmd *c, const json_t *release, const char *from, Err *err)
{
    const char *version = json_str_or(release, "version", "");
    _cleanup_free_ char *named = cmd_tree_file_new(c), *sha256 = NULL;
    const Vault *vault;

    if (!tree_is_needed(release))
        return 0;
    int r = cmd_need_vault(c, false, &vault, err);
    if (r < 0)
        return r;
    if (!c->trees)
        c->trees = json_object();
    return tree_put(&(TreeInput){.cloud = c->clouds.of[CLOUD_OF_ISLAND],
                                 .island = c->island.name,
                                 .file = from ? from : named,
                                 .file_version = from ? version : c->island.release.version,
                                 .known = c->trees},
                    vault, version, &sha256, err);
}

void cmd_tree_prune(const Cmd *c, const World *w, const ReleaseRecord *r)
{
    _cleanup_json_ json_t *before = release_before_new(w->mail, r);
    _cleanup_json_ json_t *keep = json_make_new("[O, O]", r->now, r->to);
    _cleanup_(err_clear) Err err = {0};

    if (before)
        json_array_append(keep, before);
    /* What is left takes room, no more: the next deploy tries again. */
    if (tree_prune(c->clouds.of[CLOUD_OF_ISLAND], c->island.name, keep, &err) < 0)
        log_warn("an old release's archive stays: %s", err.text);
}
