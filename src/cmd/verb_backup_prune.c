/* atoll backup prune: removes what the rules keep no longer, after a wait. */
#include "backup/prune.h"
#include "base/log.h"
#include "cmd/backup.h"
#include "cmd/cmd.h"
#include "io/columns.h"
#include "io/crypt.h"

#include <stdio.h>

typedef struct Options {
    const char *settings;
    bool yes, dry;
    int64_t grace_ms;
    OptList give_up;
} Options;

static const Opt options[] = {
    OPT_SETTINGS(Options),
    {.name = "dry-run",
     .letter = 'n',
     .type = OPT_FLAG,
     .sentence = "Only show what is kept and why, and what will be gone.",
     .offset = offsetof(Options, dry)},
    {.name = "grace",
     .type = OPT_SPAN,
     .argument = "SPAN",
     .sentence = "From a mark to the removal at least.",
     .offset = offsetof(Options, grace_ms),
     .min = 0,
     .max = 365 * DAY,
     .def = "3d"},
    {.name = "give-up",
     .type = OPT_LIST,
     .argument = "NAME",
     .sentence = "A backup whose manifest can't be read is lost: count it no more (all: every one "
                 "of them); may be given again.",
     .offset = offsetof(Options, give_up)},
    OPT_YES(Options),
    OPT_END,
};

typedef struct Run {
    Cmd *c;
    const Options *o;
    BackupSettings settings;
    KeyPair auditor;
    StrList auditors, hosts, lost;
    Store *store;
    Prune prune;
    RetentionRules rules;
} Run;

static void run_clear(Run *r)
{
    prune_clear(&r->prune);
    (void)store_free(r->store);
    keypair_clear(&r->auditor);
    strlist_clear(&r->auditors);
    strlist_clear(&r->hosts);
    strlist_clear(&r->lost);
    backup_settings_clear(&r->settings);
}
DEFINE_CLEAR(Run, run_clear)

static void show_progress(void *user, size_t done, size_t total)
{
    const Run *r = user;

    if (r->c->common.json)
        cmd_json(json_make_new("{s:s, s:I, s:I}", "event", "progress", "done", (json_int_t)done,
                               "total", (json_int_t)total));
    else if (!r->c->common.quiet)
        fprintf(stderr, "removed %zu of %zu\n", done, total);
}

static int open_all(Run *r, Err *err)
{
    StoreOptions o = {.stop = r->c->stop};
    int e = cmd_backup_settings(r->o->settings, &r->settings, err);

    crypt_random(&o.seed, sizeof o.seed);
    if (e == 0)
        e = backup_key(&r->settings, BACKUP_KEY_AUDIT, &r->auditor, err);
    if (e == 0)
        e = backup_signers(&r->settings, BACKUP_KEY_AUDIT, &r->auditors, err);
    if (e == 0)
        e = backup_signers(&r->settings, BACKUP_KEY_HOST, &r->hosts, err);
    if (e == 0)
        e = backup_settings_store(&r->settings, r->c->cache_dir, &o, &r->store, err);
    r->prune = (Prune){.store = r->store,
                       .auditor = &r->auditor,
                       .auditors = &r->auditors,
                       .hosts = &r->hosts,
                       .stop = r->c->stop,
                       .progress = show_progress,
                       .user = r};
    return e;
}

/* Manifests that the owner gives up: those named, or all that can't be read. */
static void collect_lost(Run *r)
{
    bool all = false;

    for (size_t i = 0; i < r->o->give_up.len; i++) {
        all = all || streq(r->o->give_up.items[i], "all");
        strlist_add(&r->lost, r->o->give_up.items[i]);
    }
    for (size_t i = 0; all && i < r->prune.bad.len; i++) {
        const char *line = r->prune.bad.items[i];
        strlist_addf(&r->lost, "%.*s", (int)strcspn(line, ":"), line);
    }
}

static int decide(Run *r, Retention *ret, Err *err)
{
    int e = prune_look(&r->prune, err);

    if (e < 0)
        return e;
    strlist_clear(&r->lost);
    collect_lost(r);
    r->rules = (RetentionRules){.keep = r->settings.keep,
                                .grace_ms = r->o->grace_ms,
                                .now = store_now(r->store),
                                .lost = &r->lost};
    return retention_decide(&r->prune.catalogue, &r->prune.bases, &r->rules, ret, err);
}

/* Showing */

static void json_windows(const Windows *w, const char *when)
{
    char start[LSN_TEXT_MAX], end[LSN_TEXT_MAX], from[TIME_TEXT_MAX], to[TIME_TEXT_MAX];

    for (size_t i = 0; i < w->len; i++) {
        const Window *x = &w->items[i];
        cmd_json(json_make_new("{s:s, s:s, s:I, s:s, s:s, s:s, s:s}", "event", "window", "when",
                               when, "tli", (json_int_t)x->tli, "start",
                               lsn_format(x->start, start), "end", lsn_format(x->end, end), "from",
                               time_format(x->from, false, from), "to",
                               time_format(x->to, false, to)));
    }
}

static void show_json(const Run *r, const Retention *d)
{
    char came[TIME_TEXT_MAX];

    for (size_t i = 0; i < d->keep.len; i++) {
        const Kept *k = &d->keep.items[i];
        cmd_json(json_make_new("{s:s, s:s, s:s, s:s, s:b, s:b, s:s}", "event", "kept", "id", k->id,
                               "name", k->name, "came", time_format(k->came, false, came), "proven",
                               k->proven, "whole", k->whole, "why", k->why));
    }
    json_windows(&d->before, "now");
    json_windows(&d->after, "after");
    json_windows(&d->lost, "lost");
    cmd_json(json_make_new("{s:s, s:o, s:o, s:o, s:I, s:o}", "event", "prune", "mark",
                           json_list_new(&d->mark), "unmark", json_list_new(&d->unmark), "remove",
                           json_list_new(&d->remove), "waiting", (json_int_t)d->waiting, "lying",
                           json_list_new(&r->prune.lying)));
}

static void print_windows(const Windows *w, const char *title)
{
    _cleanup_(buf_clear) Buf out = BUF_INIT(BUF_MAX_BODY);
    Columns *table = columns_new((const char *const[]){"TIMELINE", "FROM", "TO", "LOG", "", NULL});
    char start[LSN_TEXT_MAX], end[LSN_TEXT_MAX], from[TIME_TEXT_MAX], to[TIME_TEXT_MAX];

    for (size_t i = 0; i < w->len; i++) {
        const Window *x = &w->items[i];
        _cleanup_free_ char *tli = xasprintf("%u", x->tli);
        columns_row(table,
                    (const char *const[]){tli, time_format(x->from, false, from),
                                          time_format(x->to, false, to),
                                          lsn_format(x->start, start), lsn_format(x->end, end)});
    }
    if (w->len)
        columns_print(table, &out, 0);
    printf("\n%s%s\n%s", title, w->len ? "" : " nothing", out.p);
    columns_free(table);
}

static void print_kept(const Retention *d)
{
    _cleanup_(buf_clear) Buf out = BUF_INIT(BUF_MAX_BODY);
    Columns *table = columns_new((const char *const[]){"KEPT", "STORED AT", "PROVEN", "WHY", NULL});
    char came[TIME_TEXT_MAX];

    for (size_t i = 0; i < d->keep.len; i++) {
        const Kept *k = &d->keep.items[i];
        _cleanup_free_ char *why =
            xasprintf("%s%s", k->why, k->whole ? "" : "; it can't be restored as it is");
        columns_row(table, (const char *const[]){k->id, time_format(k->came, false, came),
                                                 k->proven ? "yes" : "no", why});
    }
    if (d->keep.len)
        columns_print(table, &out, 0);
    else
        buf_str(&out, "No backups.\n");
    fputs(out.p, stdout);
    columns_free(table);
}

static void show(const Run *r, const Retention *d)
{
    char grace[TIME_TEXT_MAX];

    for (size_t i = 0; i < r->prune.lying.len; i++)
        log_warn("a note says that %s was pruned, and it is there: somebody with the audit key "
                 "wants it forgotten. It counts as there",
                 r->prune.lying.items[i]);
    if (r->c->common.json) {
        show_json(r, d);
        return;
    }
    if (r->c->common.quiet)
        return;
    print_kept(d);
    print_windows(&d->before, "Can be restored now:");
    print_windows(&d->lost, "Will be gone once all that is not kept is removed:");
    printf("\n%zu objects are removed now; %zu are marked, to be removed by a prune after %s; %lld "
           "marked ones wait; %zu marks are taken back.\n",
           d->remove.len, d->mark.len, time_span(r->rules.grace_ms, grace), (long long)d->waiting,
           d->unmark.len);
    if (r->prune.catalogue.notes.len == 0)
        puts("Nobody countersigns, so nothing is removed: `atoll backup audit` does.");
}

/* Acting */

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Only what was shown: a person may take long to answer. */
static void only_shown(const StrList *shown, StrList *l)
{
    StrList both = {0}, sorted = {0};

    for (size_t i = 0; i < shown->len; i++)
        strlist_add(&sorted, shown->items[i]);
    if (sorted.len)
        qsort(sorted.items, sorted.len, sizeof *sorted.items, compare_texts);
    for (size_t i = 0; i < l->len; i++)
        if (sorted.len &&
            bsearch(&l->items[i], sorted.items, sorted.len, sizeof *sorted.items, compare_texts))
            strlist_add(&both, l->items[i]);
    strlist_clear(&sorted);
    strlist_clear(l);
    *l = both;
}

static int act(Run *r, const Retention *shown, Err *err)
{
    _cleanup_(retention_clear) Retention again = {0};
    int e = r->o->yes ? 0 : cmd_ask("Do this? Type yes:", "yes", err);

    if (e == 0)
        e = decide(r, &again, err);
    if (e < 0)
        return e;
    only_shown(&shown->remove, &again.remove);
    only_shown(&shown->mark, &again.mark);
    e = prune_act(&r->prune, &again, &r->rules, err);
    if (e < 0)
        return err_hint(err, "run it again: it goes on where it was");
    cmd_say(r->c, "Done: %zu removed, %zu marked.\n", again.remove.len, again.mark.len);
    return 0;
}

static int run(Cmd *c, char **operands, Err *err)
{
    (void)operands; /* none */
    _cleanup_(run_clear) Run r = {.c = c, .o = c->options};
    _cleanup_(retention_clear) Retention d = {0};
    int e = open_all(&r, err);

    if (e == 0)
        e = decide(&r, &d, err);
    if (e < 0)
        return e;
    show(&r, &d);
    if (r.o->dry || d.mark.len + d.unmark.len + d.remove.len == 0)
        return 0;
    return act(&r, &d, err);
}

const Verb verb_backup_prune = {
    .name = "backup prune",
    .usage = "backup prune [options]",
    .sentence = "Remove old backups and log by the rules of `keep`: mark, wait, remove.",
    .text =
        "Shows each backup that is kept and why, the moments that can be restored, and those that "
        "no longer will be. What is not kept is marked first; a later prune removes it when it has "
        "been marked for --grace and is still not kept. Kept are the first backup of each day, "
        "week and month (and the first proven one), all that came in the window and the backup "
        "before it, the newest proven backup, and whatever these need. What nobody countersigned "
        "is never removed. Only the repository's own times count.\n\n"
        "Needs the login that owns the repository, and the audit key. It belongs on no server of "
        "the island. It may be cut off anywhere; another run goes on.",
    .options_size = sizeof(Options),
    .options = options,
    .run = run,
};
