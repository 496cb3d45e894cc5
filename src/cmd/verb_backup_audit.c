/* atoll backup audit: the second identity that writes down what was stored, and when. */
#include "backup/audit.h"
#include "backup/container.h"
#include "backup/restore.h"
#include "base/log.h"
#include "cmd/backup.h"
#include "cmd/cmd.h"
#include "io/crypt.h"
#include "io/file.h"
#include "io/systemd.h"

#define SLICE_MS 200

typedef struct Options {
    const char *settings, *urls;
    int64_t alarm_ms, merge_after_ms;
    bool once;
} Options;

static const Opt options[] = {
    OPT_SETTINGS(Options),
    {.name = "once",
     .type = OPT_FLAG,
     .sentence = "Look once, then end.",
     .offset = offsetof(Options, once)},
    {.name = "urls",
     .type = OPT_STRING,
     .argument = "FILE",
     .sentence = "Write PUT-only addresses for the database's side to this file (0600), and anew "
                 "each hour.",
     .offset = offsetof(Options, urls)},
    {.name = "merge-after",
     .type = OPT_SPAN,
     .argument = "SPAN",
     .sentence =
         "Put the pieces of each finished segment of the log into one object, once they are "
         "so old; 0s: never.",
     .offset = offsetof(Options, merge_after_ms),
     .def = "0s"},
    {.name = "alarm-after",
     .type = OPT_SPAN,
     .argument = "SPAN",
     .sentence = "Say so when nothing was stored for so long; 0s: never.",
     .offset = offsetof(Options, alarm_ms),
     .def = "1h"},
    OPT_END,
};

/* What a run has. */
typedef struct Run {
    Cmd *c;
    const Options *o;
    BackupSettings settings;
    KeyPair auditor;
    StrList auditors, hosts;
    Audit audit;
    Cloud *cloud; /* with --urls */
    Msec urls_at; /* time_mono of the last file; 0: none */
    bool quiet, odd;
} Run;

static void run_clear(Run *r)
{
    Store *store = r->audit.store;

    audit_clear(&r->audit);
    (void)store_free(store);
    (void)cloud_free(r->cloud);
    keypair_clear(&r->auditor);
    strlist_clear(&r->auditors);
    strlist_clear(&r->hosts);
    backup_settings_clear(&r->settings);
}
DEFINE_CLEAR(Run, run_clear)

static int check_options(const Run *r, Err *err)
{
    if (r->settings.urls) {
        err_set(err, ERR_CONFIG, "%s is for the database's side, which can't list what was stored",
                r->settings.path);
        return err_hint(err, "run it with settings whose repository has a cloud and a container");
    }
    if (r->o->urls && !r->settings.cloud)
        return err_set(err, ERR_USAGE, "--urls is for a repository in a cloud");
    return 0;
}

static int open_all(Run *r, Err *err)
{
    StoreOptions o = {.stop = r->c->stop};
    BackupSettings *s = &r->settings;
    int e = cmd_backup_settings(r->o->settings, s, err);

    crypt_random(&o.seed, sizeof o.seed);
    if (e == 0)
        e = check_options(r, err);
    if (e == 0)
        e = backup_key(s, BACKUP_KEY_AUDIT, &r->auditor, err);
    if (e == 0)
        e = backup_signers(s, BACKUP_KEY_AUDIT, &r->auditors, err);
    if (e == 0)
        e = backup_signers(s, BACKUP_KEY_HOST, &r->hosts, err);
    if (e == 0)
        e = backup_settings_store(s, r->c->cache_dir, &o, &r->audit.store, err);
    if (e == 0 && r->o->urls)
        e = cmd_cloud(r->c, s->cloud, &r->cloud, err);
    r->audit.auditor = &r->auditor;
    r->audit.merge_after_ms = r->o->merge_after_ms;
    r->audit.auditors = &r->auditors;
    r->audit.hosts = &r->hosts;
    return e;
}

/* Addresses */

static int write_urls(Run *r, Err *err)
{
    _cleanup_(buf_wipe) Buf text = BUF_INIT(BUF_MAX_LINE);
    int e;

    if (!r->o->urls || (r->urls_at && time_mono() - r->urls_at < URLS_EVERY_MS))
        return 0;
    e = backup_container_urls(r->cloud, r->settings.container, r->settings.prefix, &text, err);
    if (e == 0)
        e = file_write(r->o->urls, buf_as_str(&text), 0600, err);
    if (e < 0)
        return err_wrap(err, "writing the PUT-only addresses");
    r->urls_at = time_mono();
    cmd_say(r->c, "wrote %s: PUT-only addresses, for three days\n", r->o->urls);
    return 0;
}

/* Words */

/* Each alarm once when it begins, and once when it is over. */
static void alarm_line(bool *state, bool now, const char *begins, const char *ends)
{
    if (now && !*state)
        log_warn("%s", begins);
    else if (!now && *state)
        log_info("%s", ends);
    *state = now;
}

static void say_alarms(Run *r, const AuditLook *l)
{
    char since[TIME_TEXT_MAX];
    Msec now = store_now(r->audit.store);
    _cleanup_free_ char *quiet = xasprintf(
        "nothing was stored since %s: is `atoll backup stream` running, and the database's "
        "host up?",
        time_format(l->newest, false, since));
    _cleanup_free_ char *odd =
        xasprintf("%zu objects are nothing of ours: `atoll backup verify` names them", l->odd);

    alarm_line(&r->quiet, audit_is_quiet(l, r->o->alarm_ms, now), quiet, "the log comes again");
    alarm_line(&r->odd, l->odd > 0, odd, "objects with strange names are gone");
}

static void say_look(Run *r, const AuditLook *l)
{
    const Catalogue *c = &r->audit.catalogue;

    if (r->c->common.json) {
        cmd_json(json_make_new("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:b}", "event", "audit", "seen",
                               (json_int_t)l->seen, "bytes", (json_int_t)l->bytes, "notes",
                               (json_int_t)c->notes.len, "merged", (json_int_t)l->merged, "odd",
                               (json_int_t)l->odd, "newest_ms", (json_int_t)l->newest, "quiet",
                               r->quiet));
    } else if (l->seen > 0) {
        cmd_say(r->c, "note %zu: %zu new objects, %lld bytes\n", c->notes.len, l->seen,
                (long long)l->bytes);
    } else if (r->o->once) {
        cmd_say(r->c,
                c->notes.len ? "nothing new; %zu notes\n" : "nothing is stored yet; %zu notes\n",
                c->notes.len);
    }
    _cleanup_free_ char *status = xasprintf("STATUS=%zu notes, %zu objects%s", c->notes.len,
                                            c->objects.len, r->quiet ? "; nothing comes" : "");
    systemd_notify(status);
}

/* How long the cluster's segments are its newest backup says, if it says what PostgreSQL can have.
 */
static int find_segment_bytes(Run *r, Err *err)
{
    Bases bases = {0};
    StrList bad = {0};
    int e = catalogue_refresh(r->audit.store, &r->auditors, &r->audit.catalogue, err);

    if (e == 0)
        e = bases_load(r->audit.store, &r->audit.catalogue, &bases, &bad, err);
    int64_t said = e == 0 && bases.len ? json_int(vec_last(&bases)->facts, "segment", 0) : 0;
    bool possible = said >= 1 << 20 && said <= 1 << 30 && (said & (said - 1)) == 0;
    if (e == 0)
        r->audit.segment_bytes = possible ? (uint32_t)said : SEGMENT_BYTES;
    bases_clear(&bases);
    strlist_clear(&bad);
    return e;
}

static int look(Run *r, Err *err)
{
    AuditLook l = {0};
    int e = 0;

    if (r->o->merge_after_ms && !r->audit.segment_bytes)
        e = find_segment_bytes(r, err);
    if (e == 0)
        e = audit_look(&r->audit, &l, err);

    if (e < 0)
        return e;
    say_alarms(r, &l);
    say_look(r, &l);
    return write_urls(r, err);
}

/* The foreground service */

static bool stopped(const Run *r)
{
    return *r->c->stop != 0;
}

static void pause_until(const Run *r, Msec until)
{
    for (Msec now = time_mono(); now < until && !stopped(r); now = time_mono())
        time_sleep(MIN(until - now, (Msec)SLICE_MS));
}

/* What waiting can heal. All else ends the service: somebody has to look. */
static bool goes_on(int e)
{
    return e == -ERR_TEMPORARY || e == -ERR_CONFLICT || e == -ERR_QUOTA || e == -ERR_IO;
}

static int serve(Run *r, Err *err)
{
    bool in_trouble = false;

    systemd_notify("READY=1");
    while (!stopped(r)) {
        Msec next = time_mono() + AUDIT_PAUSE_MS;
        int e = look(r, err);
        if (stopped(r))
            break;
        if (e < 0 && !goes_on(e))
            return e;
        if (e < 0 && !in_trouble)
            log_err(err);
        if (e == 0 && in_trouble)
            log_info("the repository is there again");
        in_trouble = e < 0;
        err_clear(err);
        pause_until(r, next);
    }
    systemd_notify("STOPPING=1");
    err_clear(err);
    return 0;
}

static int run(Cmd *c, char **operands, Err *err)
{
    (void)operands; /* none */
    _cleanup_(run_clear) Run r = {.c = c, .o = c->options};
    int e = open_all(&r, err);

    if (e < 0)
        return e;
    return r.o->once ? look(&r, err) : serve(&r, err);
}

const Verb verb_backup_audit = {
    .name = "backup audit",
    .usage = "backup audit [options]",
    .sentence = "Write down what was stored, and when, signed by a second key.",
    .text =
        "The database's host can put objects and nothing else. This, run elsewhere (on control, or "
        "the operator's machine) with a login to the repository and audit.key, looks every 30 "
        "seconds at what is new and writes it into the catalogue: names, sizes, hashes and times "
        "as "
        "the store has them, in notes that are signed and chained. What is in a note can be proven "
        "to have been there before a theft. It reads nothing and needs no key that reads.\n\n"
        "With --urls it also writes the addresses by which the database's side puts: for three "
        "days, so that it may be away for that long. Copy the file there (it is taken without a "
        "restart). Runs in the foreground; a line tells when nothing was stored for long.",
    .options_size = sizeof(Options),
    .options = options,
    .run = run,
};
