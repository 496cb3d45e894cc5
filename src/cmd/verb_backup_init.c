/* atoll backup init: the keys of a backup, and the container that it is kept in. */
#include "backup/container.h"
#include "cmd/backup.h"
#include "cmd/cmd.h"
#include "io/file.h"

typedef struct Options {
    const char *settings, *recovery_file;
    bool without_versions;
} Options;

static const Opt options[] = {
    OPT_SETTINGS(Options),
    OPT_RECOVERY_FILE(Options),
    {.name = "without-versions",
     .type = OPT_FLAG,
     .sentence = "Take a cloud that can't keep old versions of objects.",
     .offset = offsetof(Options, without_versions)},
    OPT_END,
};

static int make_container(Cmd *c, const BackupSettings *s, Err *err)
{
    const Options *o = c->options;
    ContainerMake make = {.name = s->container, .without_versions = o->without_versions};
    ContainerOutcome outcome = CONTAINER_KEPT;
    bool versions = false;
    Cloud *cloud = NULL;
    int r = cmd_cloud(c, s->cloud, &cloud, err);

    if (r == 0)
        r = backup_container_make(cloud, &make, &outcome, &versions, err);
    cloud = cloud_free(cloud);
    if (r < 0)
        return r;
    static const char *const words[] = {"made ", "set  ", "kept "};
    cmd_say(c, "%s container %s of %s: %s\n", words[outcome], s->container, s->cloud,
            versions ? "it keeps versions, and has a key for PUT-only addresses"
                     : "it keeps NO versions: whoever can put can write over backups");
    return 0;
}

static int make_repository(Cmd *c, const BackupSettings *s, Err *err)
{
    if (s->cloud)
        return make_container(c, s, err);
    if (s->urls) {
        err_set(err, ERR_CONFIG,
                "%s is for the database's side: its repository is %s, which can "
                "only be put into",
                s->path, s->urls);
        return err_hint(err, "run it with settings whose repository has a cloud and a container");
    }
    int r = file_mkdirs(s->folder, 0700, err);
    if (r == 0)
        cmd_say(c, "folder    %s: whoever can write to it can remove backups\n", s->folder);
    return r;
}

static int make_keys(Cmd *c, const BackupSettings *s, CmdRecovery *recovery, Err *err)
{
    int r = backup_keys_make(s, cmd_recovery_keep, recovery, err);

    if (r == 0)
        cmd_say(c,
                "made  keys in %s\n"
                "        the database's side needs host.key and recipients, and nothing else\n"
                "        audit.key is for `atoll backup audit`, drill.key for `atoll drill`: take\n"
                "        both away from the database's host\n",
                s->keys);
    return r;
}

static int run(Cmd *c, char **operands, Err *err)
{
    (void)operands; /* none */
    const Options *o = c->options;
    _cleanup_(backup_settings_clear) BackupSettings s = {0};
    CmdRecovery recovery = {.c = c, .file = o->recovery_file};
    int r = cmd_backup_settings(o->settings, &s, err);
    if (r < 0)
        return r;
    _cleanup_free_ char *recipients = backup_key_path(&s, "recipients");
    bool there = file_exists(recipients);
    /* Before anything is made. */
    if (!there)
        r = cmd_recovery_can(&recovery, err);
    if (r == 0)
        r = make_repository(c, &s, err);
    if (r == 0 && there)
        cmd_say(c, "kept  keys in %s: they were there\n", s.keys);
    else if (r == 0)
        r = make_keys(c, &s, &recovery, err);
    if (r == 0)
        cmd_say(c, "\nnext: `atoll backup audit`, then `atoll backup stream` and `atoll backup "
                   "base` on the database's side\n");
    return r;
}

const Verb verb_backup_init = {
    .name = "backup init",
    .usage = "backup init [options]",
    .sentence = "Make the keys of a backup, and the container that it is kept in.",
    .text =
        "Makes the container with versions, so that what was stored stays whatever is written over "
        "it, and with a key for PUT-only addresses. A cloud that can't keep versions is refused, "
        "and so is a container with the older kind of versions: there who may write can tell an "
        "object to expire, and no copy is kept.\n\n"
        "Makes the keys that are missing in the folder of the settings. The recovery key reads "
        "every backup; it is shown once and stands in no file of atoll's. What is there already is "
        "kept.",
    .options_size = sizeof(Options),
    .options = options,
    .run = run,
};
