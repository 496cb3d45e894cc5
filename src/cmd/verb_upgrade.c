/* atoll upgrade: another version of atoll itself on every server. */
#include "cmd/deploy.h"
#include "host/boot.h"

typedef struct Options {
    bool yes;
    const char *package;
    int64_t lease_wait_ms;
} Options;

static const Opt options[] = {
    OPT_YES(Options),
    OPT_PACKAGE(Options, " (default: beside the program, or in apt's archive)."),
    OPT_LEASE_WAIT(Options),
    OPT_END,
};

static void set_text(char **field, const char *text)
{
    free(*field);
    *field = text ? xstrdup(text) : NULL;
}

/* One host has the new version from now on; or, `key` NULL, all have. */
static int tell(CmdDeploy *d, const char *key, const char *sha, Err *err)
{
    ReleaseRecord next = {0};

    release_next(&d->record, &next);
    if (!next.atoll_to || !streq(next.atoll_to, sha))
        strlist_clear(&next.atoll_told); /* of another that was not finished */
    set_text(&next.atoll_to, key ? sha : NULL);
    if (key) {
        strlist_add(&next.atoll_told, key);
    } else {
        strlist_clear(&next.atoll_told);
        set_text(&next.atoll, sha);
    }
    return cmd_deploy_step(d, &next, err);
}

/* It put the version before back by itself: it is no longer told otherwise. */
static void take_back(CmdDeploy *d, const char *key)
{
    _cleanup_(err_clear) Err err = {0};
    ReleaseRecord next = {0};

    release_next(&d->record, &next);
    strlist_clear(&next.atoll_told);
    for (size_t i = 0; i < d->record.atoll_told.len; i++)
        if (!streq(d->record.atoll_told.items[i], key))
            strlist_add(&next.atoll_told, d->record.atoll_told.items[i]);
    /* What failed before is the reason that is told; the next plan shows what is left of this. */
    if (cmd_deploy_step(d, &next, &err) == 0)
        (void)!cmd_deploy_converge(d, &err);
}

static int upgrade_host(CmdDeploy *d, const char *key, const char *sha, Err *err)
{
    cmd_say(d->c, "%s\n", key);
    int r = tell(d, key, sha, err);
    if (r == 0)
        r = cmd_deploy_converge(d, err);
    if (r == -ERR_HEALTH)
        take_back(d, key);
    return r;
}

static int upgrade_all(CmdDeploy *d, const char *sha, Err *err)
{
    _cleanup_(strlist_clear) StrList keys = {0};
    int r = 0;

    for (size_t i = 0; i < d->plan.goal.want.len; i++)
        if (d->plan.goal.want.items[i].kind == RESOURCE_HOST)
            strlist_add(&keys, d->plan.goal.want.items[i].key);
    for (size_t i = 0; r == 0 && i < keys.len; i++)
        if (!streq(d->record.atoll_to, sha) || !strlist_has(&d->record.atoll_told, keys.items[i]))
            r = upgrade_host(d, keys.items[i], sha, err);
    return r < 0 ? r : tell(d, NULL, sha, err);
}

static int check(const CmdDeploy *d, Err *err)
{
    int r = cmd_deploy_installed(d, err);
    if (r < 0)
        return r;
    if (d->record.phase != RELEASE_DONE) {
        (void)err_set(err, ERR_CONFLICT, "a deploy is under way (%s)",
                      release_phase_word(d->record.phase));
        return err_hint(err, "`atoll deploy` finishes it, `atoll rollback` takes it back");
    }
    return d->record.atoll_told.len ? 0 : cmd_deploy_unchanged(d, err);
}

static int run(Cmd *c, char **operands, Err *err)
{
    (void)operands; /* none */
    const Options *o = c->options;
    _cleanup_(cmd_deploy_clear) CmdDeploy d = {.c = c, .lease_wait_ms = o->lease_wait_ms};
    _cleanup_(buf_clear) Buf sha = BUF_INIT(BUF_MAX_LINE);
    _cleanup_free_ char *package = NULL;

    int r = cmd_package(o->package, &package, err);
    if (r == 0)
        r = cmd_deploy_look(&d, err);
    if (r == 0)
        r = check(&d, err);
    if (r < 0)
        return r;
    cmd_say(c, "%s on %s: atoll from %s on every server, one after the other\n", c->island.name,
            c->island.cloud, package);
    r = o->yes ? 0 : cmd_ask("Upgrade? Type yes:", "yes", err);
    if (r == 0)
        r = boot_package(c->clouds.of[CLOUD_OF_ISLAND], c->island.name, package, &sha, err);
    if (r < 0)
        return r;
    if (streq(d.record.atoll, sha.p)) {
        cmd_say(c, "Every server has it already.\n");
        return 0;
    }
    r = upgrade_all(&d, sha.p, err);
    if (r == 0)
        cmd_say(c, "Done: every server of %s has it.\n", c->island.name);
    return r;
}

const Verb verb_upgrade = {
    .name = "upgrade",
    .usage = "upgrade [options]",
    .sentence = "Install another version of atoll itself on every server.",
    .text = "One server after the other is sent the package, checks it, installs it and starts its "
            "agent anew; what it serves runs on. A new agent that does not work within a minute is "
            "replaced by the one before, by the server itself, and the exit status is 9.",
    .needs = NEED_ISLAND | NEED_CLOUD,
    .options_size = sizeof(Options),
    .options = options,
    .run = run,
};
