#include "backup/drill.h"
#include "io/child.h"
#include "io/file.h"

#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#define PROGRAM_MS (24 * HOUR)
#define WORDS_MAX 300

const char *const drill_outcomes[DRILL_OUTCOMES] = {"ok", "failed", "skipped"};

void drill_clear(Drill *d)
{
    for (size_t i = 0; i < d->lines.len; i++)
        free(d->lines.items[i].words);
    vec_clear(&d->lines);
    free(d->base);
    d->base = NULL;
}

void drill_add(DrillLines *l, const char *name, DrillOutcome outcome, const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    char *words = xvasprintf(format, ap);
    va_end(ap);
    vec_push(l, (DrillLine){name, outcome, words});
}

int drill_program(const DrillServer *s, const char *const *argv, Buf *ret_out)
{
    _cleanup_free_ char *program = path_join(s->programs, argv[0]);
    const char *const env[] = {"LC_ALL=C", "PATH=/usr/bin:/bin", NULL};
    _cleanup_(err_clear) Err err = {0};
    const char *own[32] = {program};
    int status = 0;

    for (size_t i = 1; argv[i]; i++) {
        BUG_IF(i + 1 >= ARRAY_LEN(own));
        own[i] = argv[i];
    }
    const ChildSpec spec = {
        .argv = own, .env = env, .user = s->user, .cwd = "/", .die_with_parent = true};
    if (child_run(&spec, STR_LIT(""), PROGRAM_MS, ret_out, &status, &err) < 0) {
        buf_str(ret_out, err.text);
        return -1;
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* The last line that says something, at most so long that it fits into a line of a report. */
static char *first_words_new(const Buf *out)
{
    Str rest = buf_as_str(out), line, found = STR_LIT("it said nothing");

    while (str_next(&rest, '\n', &line))
        if (str_trim(line).n > 0) {
            found = str_trim(line);
            break;
        }
    return xstrndup(found.p, MIN(found.n, (size_t)WORDS_MAX));
}

typedef struct Run {
    const RestoreOptions *o;
    DrillServer server;
    Drill *drill;
    RestoreResult result;
} Run;

/* The files against what the server said that it sent, before PostgreSQL changes any. */
static int check_manifest(void *user, Err *err)
{
    Run *run = user;
    DrillLines *lines = &run->drill->lines;
    _cleanup_free_ char *manifest = path_join(run->o->to, "backup_manifest");
    _cleanup_(buf_clear) Buf out = BUF_INIT(BUF_MAX_BODY);
    const char *const argv[] = {"pg_verifybackup",
                                "-n",
                                "-q",
                                "-i",
                                "tablespace_map",
                                "-i",
                                "tablespaces",
                                "-i",
                                RESTORE_MARKER,
                                "-i",
                                "standby.signal",
                                "-i",
                                "recovery.signal",
                                run->o->to,
                                NULL};
    (void)err; /* what it finds is a line */

    if (!file_exists(manifest)) {
        drill_add(lines, "manifest", DRILL_SKIPPED, "the server sent no manifest of its own");
        return 0;
    }
    if (drill_program(&run->server, argv, &out) == 0) {
        drill_add(lines, "manifest", DRILL_OK, "all files are those that the server sent");
        return 0;
    }
    _cleanup_free_ char *words = first_words_new(&out);
    drill_add(lines, "manifest", DRILL_FAILED, "%s", words);
    return 0;
}

static void check_checksums(Run *run)
{
    DrillLines *lines = &run->drill->lines;
    _cleanup_(buf_clear) Buf out = BUF_INIT(BUF_MAX_BODY);
    const char *const argv[] = {"pg_checksums", "--check", "-D", run->o->to, NULL};
    int status = drill_program(&run->server, argv, &out);

    if (status == 0) {
        drill_add(lines, "checksums", DRILL_OK, "every page has the checksum that it should");
        return;
    }
    if (strstr(out.p, "not enabled")) {
        drill_add(lines, "checksums", DRILL_SKIPPED,
                  "the cluster has no page checksums (`pg_checksums --enable` gives it some)");
        return;
    }
    _cleanup_free_ char *words = first_words_new(&out);
    drill_add(lines, "checksums", DRILL_FAILED, "%s", words);
}

/* What says something about this machine or the store's being there, and nothing about the backup.
 */
static bool proves_nothing(int r)
{
    static const ErrKind kinds[] = {ERR_USAGE, ERR_CONFIG, ERR_AUTH, ERR_TEMPORARY, ERR_INTERRUPTED,
                                    ERR_QUOTA, ERR_BUG,    ERR_IO,   ERR_DENIED};

    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (r == -(int)kinds[i])
            return true;
    return false;
}

static void measure(Run *run)
{
    Drill *d = run->drill;
    const RestoreResult *r = &run->result;

    d->rto_ms = r->query_ms;
    d->reached = r->reached;
    d->reached_time = r->reached_time;
    Msec until =
        run->o->target.kind == TARGET_TIME ? run->o->target.time : run->o->choice->end.last;
    d->rpo_ms =
        r->reached_time && run->o->target.kind != TARGET_LSN ? MAX(until - r->reached_time, 0) : -1;
}

static int restore_and_ask(Run *run, Err *err)
{
    RestoreOptions o = *run->o;
    Drill *d = run->drill;
    char lsn[LSN_TEXT_MAX], time[TIME_TEXT_MAX];

    o.keep_running = true;
    o.files_ready = check_manifest;
    o.ready_user = run;
    int r = restore_run(&o, &run->result, err);
    if (r < 0 && !proves_nothing(r)) {
        drill_add(&d->lines, "restore", DRILL_FAILED, "%s", err && err->text ? err->text : "");
        err_clear(err);
        return 0;
    }
    if (r < 0)
        return r;
    measure(run);
    bool hole = o.target.kind == TARGET_LATEST && o.choice->end.beyond != 0;
    lsn_format(d->reached, lsn);
    time_format(d->reached_time, true, time);
    drill_add(&d->lines, "restore", hole ? DRILL_FAILED : DRILL_OK,
              hole ? "the log has a hole at %s; the last transaction before it is of %s"
                   : "reached %s, the last transaction is of %s",
              lsn, d->reached_time ? time : "before the backup");
    run->server.socket = run->result.socket;
    run->server.port = run->result.port;
    run->server.reached_time = d->reached_time ? d->reached_time : o.choice->end.last;
    drill_checks(&run->server, &d->lines);
    r = restore_stop(&run->result, err);
    if (r < 0)
        return r;
    check_checksums(run);
    return 0;
}

/* A check that could not be made would be no fault of the backup's. */
static int check_programs(const char *folder, Err *err)
{
    static const char *const needed[] = {"pg_verifybackup", "pg_amcheck", "pg_checksums", NULL};

    for (size_t i = 0; needed[i]; i++) {
        _cleanup_free_ char *path = path_join(folder, needed[i]);
        if (file_exists(path))
            continue;
        err_set(err, ERR_CONFIG, "there is no %s in %s", needed[i], folder);
        return err_hint(err, "a drill needs all of PostgreSQL's server programs, 14 or later");
    }
    return 0;
}

int drill_run(const RestoreOptions *o, Drill *ret, Err *err)
{
    return drill_run_then(o, NULL, NULL, ret, err);
}

int drill_run_then(const RestoreOptions *o, DrillThen *then, void *user, Drill *ret, Err *err)
{
    _cleanup_(drill_clear) Drill d = {.target = o->target, .rto_ms = -1, .rpo_ms = -1};
    Run run = {.o = o, .drill = &d};

    run.server = (DrillServer){.programs = o->programs,
                               .user = geteuid() == 0 ? (o->user ? o->user : "postgres") : NULL,
                               .role = o->role ? o->role : "postgres",
                               .progress = o->progress,
                               .progress_user = o->progress_user};
    int r = check_programs(o->programs, err);
    if (r == 0 && file_exists(o->to)) {
        err_set(err, ERR_CONFLICT, "%s is there already", o->to);
        r = err_hint(err, "a drill's folder is removed at its end: name one that is not there");
    }
    if (r < 0)
        return r;
    r = restore_and_ask(&run, err);
    d.base = xstrdup(o->choice->base->name);
    snprintf(d.base_id, sizeof d.base_id, "%s", o->choice->base->id);
    d.ok = r == 0;
    for (size_t i = 0; i < d.lines.len; i++)
        d.ok = d.ok && d.lines.items[i].outcome != DRILL_FAILED;
    if (d.ok && then)
        r = then(user, &d, err);
    _cleanup_(err_clear) Err gone = {0};
    if (restore_discard(o->to, &run.result.outer, &gone) < 0 && r == 0)
        r = err_move(err, &gone);
    restore_result_clear(&run.result);
    if (r < 0)
        return r;
    *ret = d;
    d = (Drill){0};
    return 0;
}

json_t *drill_report_new(const Drill *d)
{
    json_t *lines = json_array();
    char target[TIME_TEXT_MAX] = "latest", lsn[LSN_TEXT_MAX], time[TIME_TEXT_MAX] = "";

    if (d->target.kind == TARGET_TIME)
        time_format(d->target.time, true, target);
    if (d->target.kind == TARGET_LSN)
        lsn_format(d->target.lsn, target);
    if (d->reached_time)
        time_format(d->reached_time, true, time);
    for (size_t i = 0; i < d->lines.len; i++) {
        const DrillLine *l = &d->lines.items[i];
        BUG_IF(json_array_append_new(
                   lines, json_make_new("[s,s,s]", l->name, drill_outcomes[l->outcome], l->words)) <
               0);
    }
    return json_make_new("{s:s, s:s, s:b, s:s, s:s, s:s, s:I, s:I, s:o}", "base", d->base, "id",
                         d->base_id, "ok", d->ok, "target", target, "reached",
                         lsn_format(d->reached, lsn), "reached_time", time, "rto_ms",
                         (json_int_t)d->rto_ms, "rpo_ms", (json_int_t)d->rpo_ms, "lines", lines);
}

const Note *drill_last(const Catalogue *c, bool good)
{
    for (size_t i = c->notes.len; i-- > 0;) {
        const Note *n = &c->notes.items[i];
        if (streq(n->kind, "drill") && (!good || json_bool(n->body, "ok", false)))
            return n;
    }
    return NULL;
}
