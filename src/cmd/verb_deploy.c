/* atoll deploy: another release of Mastodon, without an outage. */
#include "base/log.h"
#include "cmd/backup_age.h"
#include "cmd/deploy.h"
#include "deploy/rules.h"
#include "host/mail.h"
#include "host/spec.h"

typedef struct Options {
    bool yes, dry_run, hold;
    const char *from;
    int64_t gate_ms, lease_wait_ms;
} Options;

static const Opt options[] = {
    OPT_YES(Options),
    {.name = "dry-run",
     .type = OPT_FLAG,
     .sentence = "Say what would be done, and do nothing.",
     .offset = offsetof(Options, dry_run)},
    {.name = "hold",
     .type = OPT_FLAG,
     .sentence = "Stop before the migrations after the restart: until then `atoll rollback` can go "
                 "back.",
     .offset = offsetof(Options, hold)},
    {.name = "gate",
     .type = OPT_SPAN,
     .argument = "SPAN",
     .sentence = "A restarted service must be healthy after so long, or all goes back.",
     .offset = offsetof(Options, gate_ms),
     .def = "3m",
     .min = 5 * SECOND,
     .max = 1 * HOUR},
    {.name = "from",
     .type = OPT_STRING,
     .argument = "FILE",
     .sentence =
         "The archive of VERSION (release: {tree}, {image: oci-archive:...}); uploaded once.",
     .offset = offsetof(Options, from)},
    OPT_LEASE_WAIT(Options),
    OPT_END,
};

static json_t *wanted_new(const Cmd *c, const char *version)
{
    json_t *to = island_release_new(&c->island);

    if (version)
        json_object_set_new(to, "version", json_string(version));
    return to;
}

static void list_wave(const StrList *wave, Buf *b)
{
    for (size_t i = 0; i < wave->len; i++)
        buf_printf(b, "%s%s", i ? " and " : "", wave->items[i]);
}

static void say_plan(const CmdDeploy *d, const json_t *to)
{
    _cleanup_(buf_clear) Buf order = BUF_INIT(BUF_MAX_LINE);
    _cleanup_free_ char *prepares = island_first_server(&d->c->island, ROLE_WEB);
    char from[128], into[128];

    for (size_t i = 0; i < d->waves.len; i++) {
        buf_str(&order, i ? ", then " : "");
        list_wave(&d->waves.items[i], &order);
    }
    cmd_say(d->c,
            "%s on %s: from %s to %s\n"
            "  1  every server fetches the release\n"
            "  2  migrations before, on %s, while the old release runs\n"
            "  3  restarts: %s; each must be healthy before the next\n"
            "  4  migrations after, on %s; from here there is no way back\n",
            d->c->island.name, d->c->island.cloud, release_words(d->record.now, from),
            release_words(to, into), prepares, order.p, prepares);
}

/* What is known of the way from here to there. Printed; refusals end it. */
static int check_way(const CmdDeploy *d, const json_t *to, Err *err)
{
    static const char *const words[] = {[FINDING_REFUSAL] = "can't be",
                                        [FINDING_WARNING] = "beware",
                                        [FINDING_STEP] = "to be done"};
    _cleanup_(findings_clear) Findings l = {0};
    Version a = {0}, b = {0};
    char today[TIME_TEXT_MAX];

    int r = version_parse(json_str_or(d->record.now, "version", ""), &a, err);
    if (r == 0)
        r = version_parse(json_str_or(to, "version", ""), &b, err);
    if (r < 0)
        return r;
    if (a.canary != b.canary) {
        (void)err_set(err, ERR_PREFLIGHT,
                      "the canary's database is not Mastodon's: one can't follow the other");
        return err_hint(err, "`atoll destroy --data`, then `atoll apply` with the other release");
    }
    time_format(cloud_now(d->c->clouds.of[CLOUD_OF_ISLAND]), false, today);
    today[strlen("2026-11-28")] = '\0';
    rules_find(&(DeployWay){.from = &a,
                            .to = &b,
                            .tree = streq(json_str(to, "kind"), "tree"),
                            .search = cmd_has_search(d->c),
                            .swift = true,
                            .today = today},
               &l);
    for (size_t i = 0; i < l.len; i++) {
        const Finding *f = &l.items[i];

        if (d->c->common.json)
            cmd_json(json_make_new("{s:s, s:s, s:s, s:s}", "event", "finding", "kind",
                                   words[f->kind], "words", f->words, "source", f->source));
        else
            cmd_say(d->c, "  %s: %s%s%s\n", words[f->kind], f->words,
                    f->command ? ": atoll tootctl " : "", f->command ? f->command : "");
    }
    if (!findings_refuse(&l))
        return 0;
    return err_set(err, ERR_PREFLIGHT, "%s", l.items[0].words);
}

/* A deploy is no reason to refuse for want of a backup, but one to say so. */
static int say_backup(Cmd *c, Err *err)
{
    _cleanup_(buf_clear) Buf words = BUF_INIT(BUF_MAX_LINE);
    BackupAge age;

    if (!c->island.backup.on) {
        cmd_say(c, "  backup: none; `backup: {}` in %s makes them, or copy the database first\n",
                c->island.path);
        return 0;
    }
    int r = cmd_backup_age(c, &age, err);
    if (r < 0)
        return r;
    Msec now = cloud_now(c->clouds.of[CLOUD_OF_BACKUP]);
    cmd_backup_age_words(&age, now, &words);
    cmd_say(c, "  backup: %s\n", words.p);
    const char *warning = cmd_backup_age_warning(&age, c->island.backup.every_h, now);
    if (warning)
        log_warn("%s", warning);
    return 0;
}

/* Its archive may be gone from the cloud all the same, and a new server needs it. */
static int runs_already(CmdDeploy *d, const Options *o, const json_t *to, Err *err)
{
    char words[128];

    int r = o->from && !o->dry_run ? cmd_tree_put(d->c, to, o->from, err) : 0;
    if (r == 0)
        cmd_say(d->c, "%s runs %s already.\n", d->c->island.name, release_words(to, words));
    return r == 0 && !o->dry_run ? cmd_search_settle(d->c, &d->record, err) : r;
}

static int begin(CmdDeploy *d, const Options *o, const char *version, bool *ret_nothing, Err *err)
{
    _cleanup_json_ json_t *to = wanted_new(d->c, version);
    ReleaseRecord next = {0};

    int r = cmd_tree_look(d->c, to, o->from, err);
    if (r < 0)
        return r;
    *ret_nothing = release_same(to, d->record.now);
    if (*ret_nothing)
        return runs_already(d, o, to, err);
    say_plan(d, to);
    r = check_way(d, to, err);
    if (r == 0)
        r = cmd_deploy_unchanged(d, err);
    if (r < 0)
        return r;
    r = say_backup(d->c, err);
    if (r == 0)
        r = cmd_deploy_disk(d, err);
    if (r < 0)
        return r;
    *ret_nothing = o->dry_run;
    if (o->dry_run)
        return 0;
    r = o->yes ? 0 : cmd_ask("Deploy this? Type yes:", "yes", err);
    if (r == 0)
        r = cmd_tree_put(d->c, to, o->from, err);
    if (r < 0)
        return r;
    deploy_begin(&d->record, to, (int)(o->gate_ms / SECOND), &next);
    return cmd_deploy_step(d, &next, err);
}

/* The migrations after the restart ended without success. Where they run on, as when the machine
 * died that asked for them, they are waited for: another attempt would end them in the middle. */
static bool migrations_failed(const CmdDeploy *d)
{
    _cleanup_free_ char *key = island_first_server(&d->c->island, ROLE_WEB);
    const World *w = &d->plan.world;
    const Resource *host = world_find(w, RESOURCE_HOST, key, host_current(w, key));

    return d->record.phase == RELEASE_POST && host && mail_failed(host) &&
           json_int(host->attrs, "seen", 0) >= json_int(host->attrs, "sent", 0);
}

/* What another run left: its phase once more. */
static int resume(CmdDeploy *d, const Options *o, const char *version, Err *err)
{
    ReleaseRecord next = {0};
    char words[128];

    if (version && !streq(version, json_str(d->record.to, "version"))) {
        (void)err_set(err, ERR_CONFLICT, "a deploy of %s is under way (%s)",
                      release_words(d->record.to, words), release_phase_word(d->record.phase));
        return err_hint(err, "`atoll deploy` finishes it, `atoll rollback` takes it back");
    }
    int r = o->from ? cmd_tree_look(d->c, d->record.to, o->from, err) : 0;
    if (r == 0 && o->from && !o->dry_run)
        r = cmd_tree_put(d->c, d->record.to, o->from, err);
    if (r < 0)
        return r;
    if (d->record.phase == RELEASE_BACK)
        cmd_say(d->c, "Going on with the way back to %s.\n", release_words(d->record.now, words));
    else
        cmd_say(d->c, "Going on with the deploy of %s.\n", release_words(d->record.to, words));
    if (o->dry_run || !migrations_failed(d))
        return 0;
    deploy_again(&d->record, &next);
    return cmd_deploy_step(d, &next, err);
}

static int run(Cmd *c, char **operands, Err *err)
{
    const Options *o = c->options;
    _cleanup_(cmd_deploy_clear)
        CmdDeploy d = {.c = c, .lease_wait_ms = o->lease_wait_ms, .hold = o->hold};
    const char *version = operands[0];
    bool nothing = false;

    if (version && !island_version_ok(version))
        return err_set(err, ERR_USAGE,
                       "'%s' is no version: letters, digits, dots and dashes, such as v4.7.6",
                       version);
    int r = cmd_deploy_look(&d, err);
    if (r == 0)
        r = cmd_deploy_installed(&d, err);
    if (r < 0)
        return r;
    r = d.record.phase == RELEASE_DONE ? begin(&d, o, version, &nothing, err)
                                       : resume(&d, o, version, err);
    return r < 0 || nothing || o->dry_run ? r : cmd_deploy_run(&d, err);
}

const Verb verb_deploy = {
    .name = "deploy",
    .usage = "deploy [options] [VERSION]",
    .operands = 1,
    .sentence = "Change the release of Mastodon, without an outage.",
    .text =
        "Without VERSION, to the one that the island file names. Every server fetches the release "
        "first; then come the migrations that the old code can live with; then servers are "
        "restarted, web servers one by one, the one with the scheduler's queue last; and when all "
        "run the new release, the migrations after it.\n\n"
        "A server that does not become healthy ends it: all goes back to the old release by "
        "itself, and the exit status is 9. A migration after the restart that fails leaves the new "
        "release running; `atoll deploy` tries it again.\n\n"
        "With a search tier the definitions of indexes are compared at the end. Where they are "
        "others tootctl brings the mappings up to date; if it can't, the release runs all the same "
        "(exit 3), and it is said what makes the index anew, which is for a person to begin.\n\n"
        "A release that is a source tree, or an image in a file, is uploaded first: with VERSION "
        "of another than the "
        "island file names, --from gives its archive. A version is never changed: another archive "
        "needs another one.\n\n"
        "How far it is stands in the cloud. It can be interrupted or killed at any moment: `atoll "
        "deploy`, from any machine, goes on.",
    .needs = NEED_ISLAND | NEED_CLOUD,
    .options_size = sizeof(Options),
    .options = options,
    .run = run,
};
