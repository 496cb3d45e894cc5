/* atoll backup verify: is everything there as it was stored, and nothing else? */
#include "backup/verify.h"
#include "cmd/backup.h"
#include "cmd/cmd.h"
#include "io/crypt.h"

#include <stdio.h>
#include <unistd.h>

#define TELL_MS 500
#define TELL_LINES_MS (10 * SECOND) /* where nobody looks at a terminal */

typedef struct Options {
    const char *settings, *recovery_file;
    bool data, frames;
    int64_t threads;
} Options;

static const Opt options[] = {
    OPT_SETTINGS(Options),
    {.name = "data",
     .type = OPT_FLAG,
     .sentence = "Read every object, not only the listing and the manifests.",
     .offset = offsetof(Options, data)},
    {.name = "frames",
     .type = OPT_FLAG,
     .sentence = "Also open each frame, with the drill key; with --data.",
     .offset = offsetof(Options, frames)},
    {.name = "recovery-file",
     .type = OPT_STRING,
     .argument = "FILE",
     .sentence = "Open frames with the recovery key, whose text is in this file; with --data.",
     .offset = offsetof(Options, recovery_file)},
    {.name = "threads",
     .type = OPT_INT,
     .argument = "N",
     .sentence = "How many read at once.",
     .min = 1,
     .max = 64,
     .offset = offsetof(Options, threads),
     .def = "4"},
    OPT_END,
};

typedef struct Run {
    Cmd *c;
    const Options *o;
    BackupSettings settings;
    Store *store;
    Catalogue catalogue;
    KeyPair reader;
    Msec told;
} Run;

static void run_clear(Run *r)
{
    catalogue_clear(&r->catalogue);
    (void)store_free(r->store);
    keypair_clear(&r->reader);
    backup_settings_clear(&r->settings);
}
DEFINE_CLEAR(Run, run_clear)

static int open_all(Run *r, Err *err)
{
    StoreOptions o = {.stop = r->c->stop};
    int e = cmd_backup_settings(r->o->settings, &r->settings, err);

    crypt_random(&o.seed, sizeof o.seed);
    if (e == 0 && (r->o->frames || r->o->recovery_file) && !r->o->data)
        e = err_set(err, ERR_USAGE, "frames are opened with --data only");
    if (e == 0 && (r->o->frames || r->o->recovery_file))
        e = backup_reader(&r->settings, r->o->recovery_file, &r->reader, err);
    if (e == 0)
        e = backup_settings_store(&r->settings, r->c->cache_dir, &o, &r->store, err);
    if (e == 0)
        e = cmd_backup_catalogue(&r->settings, r->store, &r->catalogue, err);
    return e;
}

static void show_progress(void *user, int64_t done, int64_t total)
{
    Run *r = user;
    bool terminal = isatty(STDERR_FILENO) && !r->c->common.json;
    Msec now = time_mono();

    if (r->c->common.quiet || now - r->told < (terminal ? TELL_MS : TELL_LINES_MS))
        return;
    r->told = now;
    if (r->c->common.json)
        cmd_json(json_make_new("{s:s, s:I, s:I}", "event", "progress", "done", (json_int_t)done,
                               "total", (json_int_t)total));
    else
        fprintf(stderr, "%sread %lld of %lld MB%s", terminal ? "\r\033[K" : "",
                (long long)(done >> 20), (long long)(total >> 20), terminal ? "" : "\n");
}

static void show_json(const Findings *f)
{
    for (size_t i = 0; i < f->len; i++) {
        const FindingRow *row = &finding_rows[f->items[i].kind];
        cmd_json(json_make_new("{s:s, s:s, s:s, s:s, s:s}", "event", "finding", "kind", row->word,
                               "name", f->items[i].name, "words", f->items[i].words, "advice",
                               row->advice));
    }
}

static void show(const Run *r, const Findings *f)
{
    bool told[FINDING_KINDS] = {false};

    for (size_t i = 0; i < f->len; i++) {
        const Finding *x = &f->items[i];
        printf("%-8s %s%s%s\n", finding_rows[x->kind].word, x->name, x->name[0] ? ": " : "",
               x->words);
        told[x->kind] = true;
    }
    for (int k = 0; k < FINDING_KINDS; k++)
        if (told[k])
            printf("\n%s: %s.\n", finding_rows[k].word, finding_rows[k].advice);
    if (f->len == 0)
        cmd_say(r->c, "%zu objects, %zu notes: all is as it was seen%s.\n",
                r->catalogue.objects.len, r->catalogue.notes.len,
                r->o->data ? ", and every byte is what its name says"
                           : " (--data reads every byte)");
    else
        printf("\n%zu findings.\n", f->len);
}

static int run(Cmd *c, char **operands, Err *err)
{
    (void)operands; /* none */
    _cleanup_(run_clear) Run r = {.c = c, .o = c->options};
    _cleanup_(verify_clear) Findings found = {0};
    int e = open_all(&r, err);

    if (e < 0)
        return e;
    VerifyOptions o = {.store = r.store,
                       .catalogue = &r.catalogue,
                       .reader = r.o->frames || r.o->recovery_file ? &r.reader : NULL,
                       .data = r.o->data,
                       .threads = (size_t)r.o->threads,
                       .stop = c->stop,
                       .progress = show_progress,
                       .user = &r};
    e = verify_run(&o, &found, err);
    if (r.told && isatty(STDERR_FILENO) && !c->common.json)
        fputc('\n', stderr);
    if (e < 0)
        return e;
    if (c->common.json)
        show_json(&found);
    else
        show(&r, &found);
    return found.len ? 1 : 0;
}

const Verb verb_backup_verify = {
    .name = "backup verify",
    .usage = "backup verify [options]",
    .sentence = "Check that everything stored is there as it was seen, and nothing else.",
    .text =
        "Compares the repository with its catalogue: what is missing, what was written over, what "
        "will expire, names that are nothing of ours, holes in the log, what nobody countersigned "
        "in time. Manifests are read. With --data every object is: its hash, its signature, what "
        "its head says against its name, and the chain of the log's pieces. With a reader's key "
        "also each frame is opened, and pieces that overlap are compared. Names each finding and "
        "says what to do; exit status 1 if there is any.\n\n"
        "Needs a login that reads the repository, audit.pub and host.pub; writes nothing.",
    .options_size = sizeof(Options),
    .options = options,
    .run = run,
};
