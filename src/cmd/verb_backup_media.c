/* atoll backup media: a media container, kept a second time. */
#include "backup/mirror.h"
#include "cmd/backup.h"
#include "cmd/every.h"

#include <stdio.h>
#include <unistd.h>

#define TERMINAL_MS 250
#define LINE_MS (30 * SECOND)
#define JSON_MS SECOND

typedef struct Options {
    const char *settings, *from, *to;
    bool with_cache, dry_run;
    int64_t jobs, every_ms;
} Options;

static const Opt options[] = {
    OPT_SETTINGS(Options),
    {.name = "from",
     .type = OPT_STRING,
     .argument = "CLOUD/CONTAINER",
     .sentence = "The media, in place of the settings' media.from.",
     .offset = offsetof(Options, from)},
    {.name = "to",
     .type = OPT_STRING,
     .argument = "CLOUD/CONTAINER",
     .sentence = "Where to, in place of the settings' media.to. With both no settings are read.",
     .offset = offsetof(Options, to)},
    {.name = "with-cache",
     .type = OPT_FLAG,
     .sentence = "Also what lies below cache/, which Mastodon can fetch again from other servers.",
     .offset = offsetof(Options, with_cache)},
    {.name = "dry-run",
     .type = OPT_FLAG,
     .sentence = "Write nothing; list what would be copied.",
     .offset = offsetof(Options, dry_run)},
    {.name = "jobs",
     .type = OPT_INT,
     .argument = "N",
     .sentence = "Objects that are copied at once.",
     .offset = offsetof(Options, jobs),
     .min = 1,
     .max = 64,
     .def = "8"},
    {.name = "every",
     .type = OPT_SPAN,
     .argument = "SPAN",
     .sentence = "Stay, and do it again so long after the last time (24h).",
     .offset = offsetof(Options, every_ms),
     .min = MINUTE,
     .max = 365 * DAY},
    OPT_END,
};

typedef struct Shown {
    const Cmd *c;
    bool terminal, drawn, dry_run;
    Msec began, at; /* time_mono; of the last line */
} Shown;

static void undraw(Shown *s)
{
    if (s->drawn)
        fputs("\r\033[K", stderr);
    s->drawn = false;
}

static void show_item(void *user, const MirrorItem *i)
{
    Shown *s = user;
    bool copied = i->outcome == MIRROR_COPIED;
    char bytes[SIZE_TEXT_MAX];

    if (copied && !s->dry_run)
        return; /* a first run has millions */
    if (s->c->common.json) {
        cmd_json(json_make_new("{s:s, s:s, s:I, s:s, s:s*}", "event", "object", "name", i->name,
                               "bytes", (json_int_t)i->bytes, "outcome",
                               copied ? "would copy" : mirror_outcomes[i->outcome], "error",
                               i->err ? i->err->text : NULL));
        return;
    }
    undraw(s);
    if (copied)
        cmd_say(s->c, "would copy %s (%s)\n", i->name, size_format(i->bytes, bytes));
    else if (i->err)
        fprintf(stderr, "atoll: not copied: %s: %s\n", i->name, i->err->text);
    else if (!s->c->common.quiet)
        fprintf(stderr, "%s went away while it was copied\n", i->name);
}

static void show_progress(void *user, const MirrorCount *n)
{
    Shown *s = user;
    Msec now = time_mono();
    Msec pause = s->c->common.json ? JSON_MS : s->terminal ? TERMINAL_MS : LINE_MS;
    char bytes[SIZE_TEXT_MAX], span[TIME_TEXT_MAX];

    if (s->c->common.quiet || now - s->at < pause)
        return;
    s->at = now;
    if (s->c->common.json) {
        cmd_json(json_make_new("{s:s, s:I, s:I, s:I, s:I}", "event", "progress", "objects",
                               (json_int_t)n->objects, "seen", (json_int_t)n->seen, "copied",
                               (json_int_t)n->n[MIRROR_COPIED], "bytes", (json_int_t)n->bytes));
        return;
    }
    fprintf(stderr, "%s%lld of at most %lld objects looked at, %lld copied (%s), %s%s",
            s->terminal ? "\r\033[K  ... " : "", (long long)n->seen, (long long)n->objects,
            (long long)n->n[MIRROR_COPIED], size_format(n->bytes, bytes),
            time_span(now - s->began, span), s->terminal ? "" : "\n");
    fflush(stderr);
    s->drawn = s->terminal;
}

static void print_result(const Cmd *c, const MirrorOptions *o, const MirrorCount *n, Msec took)
{
    char bytes[SIZE_TEXT_MAX], span[TIME_TEXT_MAX];
    bool dry = o->dry_run;

    if (c->common.json) {
        cmd_json(json_make_new(
            "{s:s, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:b, s:b, s:I}", "event", "mirror",
            "dry_run", dry, "seen", (json_int_t)n->seen, "same", (json_int_t)n->n[MIRROR_SAME],
            "copied", (json_int_t)n->n[MIRROR_COPIED], "bytes", (json_int_t)n->bytes, "by_store",
            (json_int_t)n->by_store, "gone", (json_int_t)n->n[MIRROR_GONE], "failed",
            (json_int_t)n->n[MIRROR_FAILED], "kept", (json_int_t)n->kept, "made", n->made,
            "versions", n->versions, "ms", (json_int_t)took));
        return;
    }
    if (n->made)
        cmd_say(c, "made the container %s%s\n", o->to.container,
                n->versions ? ", which keeps versions"
                            : "; this cloud keeps no versions of what is written over");
    cmd_say(c, "%lld objects: %lld %s (%s, %lld by the store itself), %lld were there",
            (long long)n->seen, (long long)n->n[MIRROR_COPIED], dry ? "would be copied" : "copied",
            size_format(n->bytes, bytes), (long long)n->by_store, (long long)n->n[MIRROR_SAME]);
    if (n->n[MIRROR_GONE])
        cmd_say(c, ", %lld went away meanwhile", (long long)n->n[MIRROR_GONE]);
    if (n->n[MIRROR_FAILED])
        cmd_say(c, ", %lld failed", (long long)n->n[MIRROR_FAILED]);
    cmd_say(c, "; %s\n", time_span(took, span));
    if (n->kept)
        cmd_say(c, "%lld more are in the mirror alone, and stay\n", (long long)n->kept);
}

static int read_place(const char *option, const char *value, BackupPlace *ret, Err *err)
{
    const char *slash = strchr(value, '/');

    if (!slash || slash == value || !slash[1] || strchr(slash + 1, '/'))
        return err_set(err, ERR_USAGE, "%s %s: CLOUD/CONTAINER, an entry of clouds.yaml and a name",
                       option, value);
    *ret = (BackupPlace){xstrndup(value, (size_t)(slash - value)), xstrdup(slash + 1)};
    return 0;
}

static int nothing_said(const char *path, Err *err)
{
    if (path)
        err_set(err, ERR_USAGE, "%s has no `media`", path);
    else
        err_set(err, ERR_USAGE, "there is no settings file that says what to mirror");
    return err_hint(err, "media: {from: {cloud: A, container: B}, to: {cloud: C, container: D}}; "
                         "or --from A/B --to C/D");
}

/* The option's, else the settings', which is taken. */
static int take_place(const char *option, const char *value, BackupPlace *given, BackupPlace *ret,
                      Err *err)
{
    if (value)
        return read_place(option, value, ret, err);
    *ret = *given;
    *given = (BackupPlace){0};
    return 0;
}

static int places(const Options *o, BackupPlace *ret_from, BackupPlace *ret_to, Err *err)
{
    _cleanup_(backup_settings_clear) BackupSettings s = {0};
    int r = o->from && o->to ? 0 : cmd_backup_settings(o->settings, &s, err);

    if (r == -ERR_NOT_FOUND && !o->settings)
        return nothing_said(NULL, err);
    if (r < 0)
        return r;
    if ((!o->from && !s.media_from.cloud) || (!o->to && !s.media_to.cloud))
        return nothing_said(s.path, err);
    r = take_place("--from", o->from, &s.media_from, ret_from, err);
    return r < 0 ? r : take_place("--to", o->to, &s.media_to, ret_to, err);
}

static int mirror(Cmd *c, Err *err)
{
    const Options *o = c->options;
    _cleanup_(backup_place_clear) BackupPlace from = {0}, to = {0};
    _cleanup_(cloud_config_clear) CloudConfig from_config = {0}, to_config = {0};
    MirrorCount count = {0};
    Shown shown = {.c = c,
                   .terminal = isatty(STDERR_FILENO) && !c->common.json && !c->common.quiet,
                   .dry_run = o->dry_run,
                   .began = time_mono(),
                   .at = time_mono()};
    int r = places(o, &from, &to, err);

    if (r == 0)
        r = cloud_config_load(from.cloud, &from_config, err);
    if (r == 0)
        r = cloud_config_load(to.cloud, &to_config, err);
    if (r < 0)
        return r;
    const MirrorOptions how = {.from = {&from_config, from.container},
                               .to = {&to_config, to.container},
                               .cache_dir = c->cache_dir,
                               .stop = c->stop,
                               .jobs = (int)o->jobs,
                               .with_cache = o->with_cache,
                               .dry_run = o->dry_run,
                               .item = show_item,
                               .progress = show_progress,
                               .user = &shown};
    r = mirror_run(&how, &count, err);
    undraw(&shown);
    if (r == 0 || count.seen > 0)
        print_result(c, &how, &count, time_mono() - shown.began);
    return r;
}

static int run(Cmd *c, char **operands, Err *err)
{
    (void)operands; /* none */
    const Options *o = c->options;
    const CmdEvery every = {.word = "backup media", .every_ms = o->every_ms, .work = mirror};

    if (o->every_ms && o->dry_run)
        return err_set(err, ERR_USAGE, "--every and --dry-run do not go together");
    return o->every_ms ? cmd_every(c, &every, err) : mirror(c, err);
}

const Verb verb_backup_media = {
    .name = "backup media",
    .usage = "backup media [options]",
    .sentence = "Mirror the media container to a second container or another cloud.",
    .text =
        "Lists both containers and copies what the second has not, or has with another size or "
        "MD5: all but cache/, which Mastodon can fetch again. Nothing is deleted: what the first "
        "has no more stays in the second. A run that was cut off, killed or full is taken up by "
        "the next one. Large objects come with their segments, so the mirror needs nothing of the "
        "first container; headers come along.\n\n"
        "Where both are of one store it copies by itself, else each object goes through this "
        "machine: a few MiB of memory for each copy, whatever its size. Every object's MD5 is "
        "checked by the store that gets it.\n\n"
        "The second container is made if it is not there, keeping versions where the cloud can, "
        "and not public. Let nobody who can write the media write it: another project, best "
        "another cloud. To bring media back, swap --from and --to. Exit status 3 if an "
        "object could not be copied.",
    .options_size = sizeof(Options),
    .options = options,
    .run = run,
};
