/* atoll backup stream: PostgreSQL's log, into the repository as it is written. */
#include "backup/stream.h"
#include "base/log.h"
#include "cmd/backup.h"
#include "cmd/cmd.h"
#include "io/systemd.h"

#include <stdio.h>
#include <unistd.h>

#define TRY_MS (3 * SECOND) /* the store's patience: the stream itself tries again */
#define SQL_MS (5 * SECOND) /* while it lasts, nothing is read from the log */

typedef struct Options {
    const char *settings, *until;
    bool make_slot;
} Options;

static const Opt options[] = {
    OPT_SETTINGS(Options),
    {.name = "make-slot",
     .type = OPT_FLAG,
     .sentence = "Make the replication slot if the server has it not.",
     .offset = offsetof(Options, make_slot)},
    {.name = "until",
     .type = OPT_STRING,
     .argument = "LSN",
     .sentence = "End when all up to here is stored.",
     .offset = offsetof(Options, until)},
    OPT_END,
};

typedef struct Display {
    const Cmd *c;
    bool line; /* one is drawn on the terminal */
} Display;

static void ready(void *user)
{
    (void)user;
    systemd_notify("READY=1");
}

static void show_json(const StreamStatus *s)
{
    char received[LSN_TEXT_MAX], stored[LSN_TEXT_MAX], server[LSN_TEXT_MAX], at[TIME_TEXT_MAX];
    json_t *trouble = s->trouble ? json_string(s->trouble) : json_null();

    cmd_json(json_make_new(
        "{s:s, s:I, s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:b, s:b, s:o}", "event", "stream",
        "timeline", (json_int_t)s->tli, "received", lsn_format(s->received, received), "stored",
        lsn_format(s->stored, stored), "server", lsn_format(s->server, server), "stored_at",
        s->stored_at ? time_format(s->stored_at, true, at) : "", "put_ms", (json_int_t)s->put_ms,
        "pieces", (json_int_t)s->pieces, "bytes", (json_int_t)s->bytes, "stored_bytes",
        (json_int_t)s->stored_bytes, "connected", s->connected, "synchronous", s->synchronous,
        "trouble", trouble));
}

static void show(void *user, const StreamStatus *s)
{
    Display *d = user;
    char stored[LSN_TEXT_MAX];
    uint64_t behind = s->server > s->stored ? s->server - s->stored : 0;
    _cleanup_free_ char *words =
        xasprintf("stored up to %s, %llu kB behind, %llu pieces%s%s", lsn_format(s->stored, stored),
                  (unsigned long long)(behind >> 10), (unsigned long long)s->pieces,
                  s->trouble ? "; " : "", s->trouble ? s->trouble : "");
    _cleanup_free_ char *state = xasprintf("STATUS=%s", words);

    systemd_notify(state);
    if (d->c->common.json) {
        show_json(s);
        return;
    }
    d->line = !d->c->common.quiet && isatty(STDERR_FILENO);
    if (d->line)
        fprintf(stderr, "\r\033[K%s", words);
}

static int run(Cmd *c, char **operands, Err *err)
{
    (void)operands; /* none */
    const Options *o = c->options;
    _cleanup_(backup_settings_clear) BackupSettings s = {0};
    _cleanup_(strlist_clear) StrList recipients = {0};
    _cleanup_(keypair_clear) KeyPair signer = {0};
    _cleanup_secret_ Secret *password = NULL, *again = NULL;
    _cleanup_(store_drop) Store *store = NULL;
    PgTarget server = {0}, sql = {0};
    Lsn until = 0;

    log_init("stream", c->common.verbose ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO);
    if (o->until && !lsn_parse(o->until, &until))
        return err_set(err, ERR_USAGE, "--until: '%s' is no LSN like 16/B374D848", o->until);
    int r = cmd_backup_settings(o->settings, &s, err);
    if (r == 0)
        r = backup_keys_recipients(&s, &recipients, err);
    if (r == 0)
        r = backup_key(&s, BACKUP_KEY_HOST, &signer, err);
    if (r == 0)
        r = backup_settings_store(&s, c->cache_dir, &(StoreOptions){.patience_ms = TRY_MS}, &store,
                                  err);
    if (r == 0)
        r = backup_settings_target(&s, NULL, &server, &password, err);
    if (r == 0)
        r = backup_settings_target(&s, "postgres", &sql, &again, err);
    if (r < 0)
        return r;
    sql.timeout_ms = SQL_MS;
    ObjectSeal seal = {.recipients = (const char *const *)recipients.items, .signer = &signer};
    Display d = {.c = c};
    r = stream_run(&(StreamOptions){.server = &server,
                                    .sql = &sql,
                                    .slot = s.slot,
                                    .make_slot = o->make_slot,
                                    .store = store,
                                    .seal = &seal,
                                    .state = s.state,
                                    .synchronous = s.synchronous,
                                    .give_up_ms = s.give_up_ms,
                                    .until = until,
                                    .stop = c->stop,
                                    .ready = ready,
                                    .status = show,
                                    .user = &d},
                   err);
    if (d.line)
        fputc('\n', stderr);
    return r;
}

const Verb verb_backup_stream = {
    .name = "backup stream",
    .usage = "backup stream [options]",
    .sentence = "Store PostgreSQL's log as it is written.",
    .text =
        "Reads the write-ahead log through a replication slot and puts it into the repository, "
        "sealed: a second after a commit it is there. PostgreSQL keeps what is not stored yet, so "
        "nothing is lost when this program, the network or the store fails; it goes on where it "
        "was. An idle database costs no request.\n\n"
        "The role needs REPLICATION, a line `host replication` in pg_hba.conf, and to be watched "
        "and for `synchronous` also a line for the database postgres. Set max_slot_wal_keep_size "
        "on the server, so that a stream that is away for long can't fill its disk; a warning "
        "comes when half of it is used.\n\n"
        "With `synchronous: strict` commits wait until they are stored, also while this program "
        "does not run. With `synchronous: {give_up: 30s}` they wait no longer than that, and the "
        "time in which they were answered too early is told. Both change "
        "synchronous_standby_names: as a superuser, GRANT ALTER SYSTEM ON PARAMETER "
        "synchronous_standby_names TO the role, and GRANT EXECUTE ON FUNCTION pg_reload_conf().\n\n"
        "SIGTERM stores what was received, within half a minute. Under systemd it is "
        "Type=notify.",
    .options_size = sizeof(Options),
    .options = options,
    .run = run,
};
