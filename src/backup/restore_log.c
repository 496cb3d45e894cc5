/* PostgreSQL is started on the restored files, is given the log, and is promoted at the target. */
#include "backup/restore_work.h"
#include "backup/segments.h"
#include "io/child.h"
#include "io/file.h"
#include "io/pg.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define RUN_PREFIX "atoll-restore-"
#define YOUNG_MS (10 * SECOND)
#define TICK_MS 20
#define STOP_MS (5 * MINUTE)
#define LOCK_TRIES 50    /* until the processes of a restore that was killed have gone */
#define SERVER_PORT 5432 /* a name within the socket's folder, nothing more */
#define LATE_BYTES ((Lsn)1 << 20)

typedef struct Log {
    const RestoreOptions *o;
    const RestoreOwner *owner;
    RestoreResult *ret;
    Msec started;
    char *run; /* folder of sockets, settings and PostgreSQL's output; removed at the end */
    int lock;  /* on it, so that others see that it is in use; 0: none */
    SegmentServer *server;
    pid_t pid;
    bool to_end;         /* without a target, to the end of the log */
    int prepared, locks; /* limits of the cluster that recovery needs */
} Log;

static char *run_path(const Log *l, const char *name)
{
    return path_join(l->run, name);
}

static int give(const Log *l, const char *path, Err *err)
{
    if (l->owner->user && chown(path, l->owner->uid, l->owner->gid) < 0)
        return err_set(err, ERR_IO, "giving %s to %s: %m", path, l->owner->user);
    return 0;
}

static int write_own(const Log *l, const char *name, const char *text, Err *err)
{
    _cleanup_free_ char *path = run_path(l, name);
    uid_t uid = l->owner->user ? l->owner->uid : (uid_t)-1;
    gid_t gid = l->owner->user ? l->owner->gid : (gid_t)-1;

    return file_write_as(path, str_of(text), 0600, uid, gid, err);
}

/* A descriptor that holds the folder as long as its process lives; 0: another one does, or it is
 * none. */
static int lock_folder(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

    if (fd > 0 && flock(fd, LOCK_EX | LOCK_NB) == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    return 0;
}

/* Folders of restores that were killed. A young one may be about to be locked. */
static void sweep(const Log *l, const char *base)
{
    _cleanup_(strlist_clear) StrList names = {0};

    if (file_list(base, &names, NULL) < 0)
        return;
    for (size_t i = 0; i < names.len; i++) {
        _cleanup_free_ char *path = path_join(base, names.items[i]);
        struct stat st;
        if (!starts_with(names.items[i], RUN_PREFIX) || lstat(path, &st) < 0 ||
            !S_ISDIR(st.st_mode) || st.st_mtime * SECOND > time_now() - YOUNG_MS)
            continue;
        bool ours = st.st_uid == geteuid() || (l->owner->user && st.st_uid == l->owner->uid);
        int fd = ours ? lock_folder(path) : 0;
        if (fd > 0) {
            (void)!file_remove_tree(path, NULL); /* whoever comes next tries again */
            close(fd);
        }
    }
}

/* A folder of its own in the system's place for such: a socket's path must be short. */
static int make_run_folder(Log *l, Err *err)
{
    const char *base = getenv("TMPDIR");

    base = base && *base ? base : "/tmp";
    sweep(l, base);
    char *run = xasprintf("%s/" RUN_PREFIX "XXXXXX", base);
    if (!mkdtemp(run)) {
        err_set(err, ERR_IO, "making %s: %m", run);
        free(run);
        return -(int)ERR_IO;
    }
    l->run = run;
    l->lock = lock_folder(run);
    int r = give(l, run, err);
    if (r == 0)
        r = write_own(l, "postgresql.conf", "", err);
    /* Only this user reaches the socket; whoever does is let in. */
    if (r == 0)
        r = write_own(l, "pg_hba.conf", "local all all trust\n", err);
    if (r == 0)
        r = write_own(l, "pg_ident.conf", "", err);
    return r;
}

/* A number of pg_controldata's output; `def` if it is not there. */
static int64_t control_number(const char *text, const char *name, int64_t def)
{
    const char *at = strstr(text, name);
    int64_t value = def;

    if (!at)
        return def;
    at += strlen(name);
    at += strspn(at, ": ");
    _cleanup_free_ char *word = xstrndup(at, strcspn(at, "\n"));
    return parse_int(word, 0, INT32_MAX, &value) ? value : def;
}

/* Is it the right cluster, and which limits does its log need? */
static int read_control(Log *l, Err *err)
{
    _cleanup_free_ char *program = path_join(l->o->programs, "pg_controldata");
    const char *const argv[] = {program, "-D", l->o->to, NULL};
    const char *const env[] = {"LC_ALL=C", "PATH=/usr/bin:/bin", NULL};
    const ChildSpec spec = {.argv = argv, .env = env, .user = l->owner->user};
    _cleanup_(buf_clear) Buf out = BUF_INIT(BUF_MAX_LINE);
    const char *system = l->o->catalogue->system;
    int status = 0;
    int r = child_run(&spec, STR_LIT(""), MINUTE, &out, &status, err);

    if (r < 0)
        return r;
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        return err_set(err, ERR_CORRUPT, "pg_controldata reads no cluster in %s: %.200s", l->o->to,
                       out.p);
    if (*system && !strstr(out.p, system)) {
        err_set(err, ERR_CONFLICT, "the restored files are of another cluster than %s", system);
        return err_hint(err, "see `atoll backup list`");
    }
    l->prepared = (int)control_number(out.p, "max_prepared_xacts setting", 0);
    l->locks = (int)control_number(out.p, "max_locks_per_xact setting", 64);
    return 0;
}

/* In single quotes, for a setting's value that is a shell's command, or one of a shell's words. */
static void add_setting(StrList *argv, const char *format, ...) _printf_(2, 3);
static void add_setting(StrList *argv, const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    _cleanup_free_ char *text = xvasprintf(format, ap);
    va_end(ap);
    strlist_add(argv, "-c");
    strlist_add(argv, text);
}

/* PostgreSQL takes % for its own: %% is one. */
static char *restore_command_new(const Log *l)
{
    _cleanup_free_ char *socket = run_path(l, "segments");
    _cleanup_(buf_clear) Buf words = BUF_INIT(BUF_MAX_LINE), out = BUF_INIT(BUF_MAX_LINE);

    buf_shell_quote(&words, l->o->client);
    buf_str(&words, " backup segment ");
    buf_shell_quote(&words, socket);
    for (const char *p = words.p; *p; p++)
        buf_printf(&out, "%s%c", *p == '%' ? "%" : "", *p);
    /* Whatever becomes of the client, only its own 1 says that there is no such file. */
    buf_str(&out, " \"%f\" \"%p\"; r=$?; [ $r -le 1 ] && exit $r; exit 200");
    return buf_detach(&out);
}

static void add_target(const Log *l, StrList *argv)
{
    static const char *const none[] = {"recovery_target",      "recovery_target_name",
                                       "recovery_target_xid",  "recovery_target_lsn",
                                       "recovery_target_time", NULL};
    char lsn[LSN_TEXT_MAX], time[TIME_TEXT_MAX];

    /* A Z would be an abbreviation, of which PostgreSQL knows none yet when it reads this. */
    time_format(l->o->target.time, true, time);
    *strchr(time, 'Z') = '\0';
    add_setting(argv, "recovery_target_timeline=%u", l->o->choice->tli);
    add_setting(argv, "recovery_target_action=promote");
    /* What is not wanted goes before what is: PostgreSQL refuses an empty one behind it. */
    for (size_t i = 0; none[i]; i++)
        add_setting(argv, "%s=", none[i]);
    /* A place in the log is where a record begins that is not wanted any more: as
     * pg_current_wal_lsn() tells it. */
    bool by_lsn = !l->to_end && l->o->target.kind == TARGET_LSN;
    add_setting(argv, "recovery_target_inclusive=%s", by_lsn ? "off" : "on");
    if (!l->to_end && l->o->target.kind == TARGET_TIME)
        add_setting(argv, "recovery_target_time=%s+00", time);
    if (by_lsn)
        add_setting(argv, "recovery_target_lsn=%s", lsn_format(l->o->target.lsn, lsn));
}

/* All on the command line, which wins over postgresql.auto.conf, and leaves nothing in the folder.
 */
static void add_settings(const Log *l, StrList *argv)
{
    static const char *const fixed[] = {
        "listen_addresses=", "unix_socket_permissions=0700", "ssl=off", "logging_collector=off",
        "log_destination=stderr", "lc_messages=C", "log_line_prefix=", "log_min_messages=warning",
        "log_checkpoints=off",
        /* Nobody else is told anything, or waited for. */
        "archive_mode=off", "primary_conninfo=", "primary_slot_name=", "synchronous_standby_names=",
        "recovery_min_apply_delay=0",
        "archive_cleanup_command=", "recovery_end_command=", "external_pid_file=",
        /* Code that need not be on this machine. */
        "shared_preload_libraries=", "session_preload_libraries=", "local_preload_libraries=",
        /* Quick: what is restored goes to disk once, at the end. */
        "fsync=off", "full_page_writes=off", "hot_standby=off", "autovacuum=off",
        "checkpoint_timeout=1h", "max_wal_size=4GB", "maintenance_io_concurrency=64",
        "shared_buffers=256MB", "huge_pages=off", "max_connections=100", "max_worker_processes=16",
        "max_wal_senders=0", "wal_level=replica", NULL};
    /* A server refuses what its version does not know. */
    static const struct {
        const char *setting;
        int first, last;
    } some[] = {{"promote_trigger_file=", 12, 15}, {"recovery_prefetch=try", 15, INT_MAX}};
    _cleanup_free_ char *command = restore_command_new(l);
    int64_t major = json_int(l->o->choice->base->facts, "version", 0) / 10000;

    for (size_t i = 0; fixed[i]; i++)
        add_setting(argv, "%s", fixed[i]);
    for (size_t i = 0; i < ARRAY_LEN(some); i++)
        if (some[i].first <= major && major <= some[i].last)
            add_setting(argv, "%s", some[i].setting);
    add_setting(argv, "config_file=%s/postgresql.conf", l->run);
    add_setting(argv, "hba_file=%s/pg_hba.conf", l->run);
    add_setting(argv, "ident_file=%s/pg_ident.conf", l->run);
    add_setting(argv, "unix_socket_directories=%s", l->run);
    add_setting(argv, "port=%d", SERVER_PORT);
    add_setting(argv, "max_prepared_transactions=%d", l->prepared);
    add_setting(argv, "max_locks_per_transaction=%d", MAX(l->locks, 64));
    add_setting(argv, "restore_command=%s", command);
    add_target(l, argv);
}

static int start(Log *l, Err *err)
{
    _cleanup_(strlist_clear) StrList argv = {0};
    _cleanup_free_ char *program = path_join(l->o->programs, "postgres");
    _cleanup_free_ char *log = run_path(l, "log");
    const char *const env[] = {"LC_ALL=C", "PATH=/usr/bin:/bin", "TZ=UTC", NULL};

    strlist_add(&argv, program);
    strlist_add(&argv, "-D");
    strlist_add(&argv, l->o->to);
    add_settings(l, &argv);
    int fd = open(log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_set(err, ERR_IO, "making %s: %m", log);
    const ChildSpec spec = {.argv = (const char *const *)argv.items,
                            .env = env,
                            .user = l->owner->user,
                            .cwd = l->run,
                            .out_fd = fd,
                            .err_fd = fd,
                            .new_session = true,
                            .die_with_parent = true,
                            /* Its functions are a database's that a thief may have written. */
                            .no_network = true};
    int r = child_spawn(&spec, &l->pid, err);
    close(fd);
    return r;
}

/* The last line of PostgreSQL's output that begins with one of these words, without them; or "". To
 * be freed. */
static char *last_words(const Log *l, const char *const *levels)
{
    _cleanup_free_ char *path = run_path(l, "log");
    _cleanup_(buf_clear) Buf text = BUF_INIT(BUF_MAX_BODY);
    char *found = xstrdup("");

    if (file_read(path, &text, NULL) < 0)
        return found;
    Str rest = buf_as_str(&text), line;
    while (str_next(&rest, '\n', &line))
        for (size_t i = 0; levels[i]; i++) {
            size_t n = strlen(levels[i]);
            if (line.n > n && strncmp(line.p, levels[i], n) == 0) {
                Str words = str_trim((Str){line.p + n, line.n - n});
                free(found);
                found = xstrndup(words.p, words.n);
            }
        }
    return found;
}

/* What PostgreSQL's last words mean, and what to do. */
static int explain_end(const char *words, Err *err)
{
    static const struct {
        const char *part;
        ErrKind kind;
        const char *hint;
    } rows[] = {
        {"before consistent recovery point", ERR_NOT_FOUND,
         "this backup was not finished at that moment: --base with an older one"},
        {"No space left", ERR_QUOTA, "make room and run the same command again: it goes on"},
        {"incompatible with server", ERR_CONFIG,
         "set `programs` to those of the version, and architecture, that the cluster was of"},
        {"still in use", ERR_CONFLICT, "another PostgreSQL runs on the folder: stop it"},
        {"lock file", ERR_CONFLICT, "another PostgreSQL runs on the folder: stop it"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (strstr(words, rows[i].part)) {
            err_set(err, rows[i].kind, "PostgreSQL ended: %s", words);
            return err_hint(err, "%s", rows[i].hint);
        }
    return err_set(err, ERR_CORRUPT, "PostgreSQL ended during recovery: %s",
                   *words ? words : "it said nothing");
}

/* PostgreSQL writes its state into the last line of postmaster.pid (miscadmin.h, PM_STATUS). */
static bool is_ready(const Log *l)
{
    _cleanup_free_ char *path = path_join(l->o->to, "postmaster.pid");
    _cleanup_(buf_clear) Buf text = BUF_INIT(BUF_MAX_LINE);

    if (file_read(path, &text, NULL) < 0)
        return false;
    int64_t pid = 0;
    _cleanup_free_ char *first = xstrndup(text.p, strcspn(text.p, "\n"));
    return parse_int(first, 1, INT32_MAX, &pid) && pid == l->pid &&
           strstr(text.p, "\nready") != NULL;
}

static void tell(const Log *l)
{
    const Choice *c = l->o->choice;
    uint32_t segment = (uint32_t)json_int(c->base->facts, "segment", SEGMENT_BYTES);
    Timeline tli;
    Lsn at = c->base->start;

    if (!l->o->progress)
        return;
    if (!segment_parse(segment_server_last(l->server), segment, &tli, &at) || at < c->base->start)
        at = c->base->start;
    Lsn end = l->o->target.kind == TARGET_LSN ? l->o->target.lsn : c->end.end;
    l->o->progress(l->o->progress_user, &(RestoreProgress){"log", (int64_t)(at - c->base->start),
                                                           (int64_t)(end - c->base->start)});
}

static bool reap(Log *l)
{
    int status;

    if (l->pid > 0 && waitpid(l->pid, &status, WNOHANG) == l->pid)
        l->pid = 0;
    return l->pid == 0;
}

static int stop_server(pid_t pid, Err *err)
{
    Msec end = time_mono() + STOP_MS;
    int status;

    if (pid <= 0)
        return 0;
    /* Fast: sessions are ended, and what is in memory is written. */
    if (kill(pid, SIGINT) < 0)
        return 0;
    while (waitpid(pid, &status, WNOHANG) == 0) {
        if (time_mono() > end) {
            child_kill_tree(pid);
            (void)waitpid(pid, &status, 0); /* it is gone now */
            return err_set(err, ERR_TEMPORARY, "PostgreSQL did not stop within 5 minutes");
        }
        time_sleep(TICK_MS);
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    char text[64];
    return err_set(err, ERR_IO, "PostgreSQL ended while it stopped: %s",
                   child_status_text(status, text));
}

/* One life of PostgreSQL, until it is ready (0), or has ended. */
static int run_once(Log *l, Err *err)
{
    static const char *const fatal[] = {"FATAL:", "PANIC:", NULL};
    int r = start(l, err);
    Msec told = 0;

    while (r == 0) {
        struct pollfd p = {.fd = segment_server_fd(l->server), .events = POLLIN};
        if (poll(&p, 1, TICK_MS) > 0)
            segment_server_turn(l->server);
        if (time_mono() - told > 10 * TICK_MS) {
            tell(l);
            told = time_mono();
        }
        if (l->o->stop && *l->o->stop)
            return err_set(err, ERR_INTERRUPTED, "interrupted; the same command goes on");
        if (is_ready(l))
            return 0;
        if (!reap(l))
            continue;
        Err *why = segment_server_error(l->server);
        if (why->kind) {
            (void)err_move(err, why); /* the hint gives the kind again */
            return err_hint(err, "%sthe same command goes on where it was",
                            err->kind == ERR_QUOTA ? "make room: " : "");
        }
        _cleanup_free_ char *words = last_words(l, fatal);
        r = restore_blame(explain_end(words, err), l->ret);
    }
    return r;
}

static bool ended_with(const Err *err, const char *words)
{
    return err->text && strstr(err->text, words);
}

/* Until the target, or the log's end where no transaction lies behind the target: PostgreSQL
 * doesn't believe that it was reached then. */
static int run_recovery(Log *l, Err *err)
{
    for (int tries = 0;; tries++) {
        l->ret->base_bad = false;
        int r = run_once(l, err);
        if (r == 0)
            return 0;
        if (ended_with(err, "before configured recovery target") && !l->to_end) {
            l->to_end = true;
        } else if ((ended_with(err, "lock file") || ended_with(err, "still in use")) &&
                   tries < LOCK_TRIES) {
            time_sleep(10 * TICK_MS);
        } else {
            return r;
        }
        err_clear(err);
    }
}

static int ask_server(Log *l, Err *err)
{
    const char *role = l->o->role ? l->o->role : "postgres";
    const PgTarget t = {.host = l->run, .port = SERVER_PORT, .user = role, .database = "template1"};
    _cleanup_(strlist_clear) StrList cells = {0};
    int64_t ms = 0, tli = 0;
    int r = pg_query(&t,
                     "SELECT coalesce(pg_last_wal_replay_lsn(), '0/0'), "
                     "coalesce(floor(extract(epoch from pg_last_xact_replay_timestamp()) * "
                     "1000)::bigint, 0), timeline_id, rolsuper FROM pg_control_checkpoint(), "
                     "pg_roles WHERE rolname = current_user",
                     NULL, &cells, err);

    if (r < 0)
        return strstr(err->text ? err->text : "", "role")
                   ? err_hint(err, "name a superuser of the cluster: --role NAME")
                   : r;
    if (cells.len != 4 || !lsn_parse(cells.items[0], &l->ret->reached) ||
        !parse_int(cells.items[1], 0, INT64_MAX, &ms) ||
        !parse_int(cells.items[2], 1, UINT32_MAX, &tli))
        return err_set(err, ERR_BUG, "PostgreSQL's answer was not understood");
    l->ret->reached_time = ms;
    l->ret->tli = (Timeline)tli;
    l->ret->query_ms = time_mono() - l->started;
    return 0;
}

/* The log's end by the catalogue must be where recovery ended; the last record may have been cut
 * off with the machine that wrote it. */
static int check_end(const Log *l, Err *err)
{
    const WalReach *end = &l->o->choice->end;
    bool to_end = l->to_end || l->o->target.kind == TARGET_LATEST;
    char reached[LSN_TEXT_MAX], stored[LSN_TEXT_MAX];

    if (!to_end || l->ret->reached == 0 || l->ret->reached + LATE_BYTES >= end->end)
        return 0;
    err_set(err, ERR_CORRUPT, "recovery ended at %s, and the log is stored up to %s",
            lsn_format(l->ret->reached, reached), lsn_format(end->end, stored));
    return err_hint(err, "a record there can't be read: --at %s restores to before it, knowingly",
                    reached);
}

static int recover(Log *l, Err *err)
{
    _cleanup_free_ char *path = run_path(l, "segments");
    const RestoreOptions *o = l->o;
    const WalReaderOptions wal = {
        .store = o->store,
        .catalogue = o->catalogue,
        .reader = o->reader,
        .segment_bytes = (uint32_t)json_int(o->choice->base->facts, "segment", SEGMENT_BYTES),
        .threads = o->threads,
        .histories = o->histories,
        .tli = o->choice->tli};
    uid_t uid = l->owner->user ? l->owner->uid : (uid_t)-1;
    gid_t gid = l->owner->user ? l->owner->gid : (gid_t)-1;
    _cleanup_(wal_reader_drop) WalReader *reader = wal_reader_new(&wal);

    int r = segment_server_open(path, reader, uid, gid, &l->server, err);
    if (r == 0) {
        /* While PostgreSQL starts. */
        wal_reader_expect(reader, o->choice->base->tli, o->choice->base->start);
        r = run_recovery(l, err);
    }
    if (r == 0)
        r = ask_server(l, err);
    if (r == 0)
        r = check_end(l, err);
    const StrList *forks = wal_reader_forks(reader);
    for (size_t i = 0; i < forks->len; i++)
        strlist_add(&l->ret->warnings, forks->items[i]);
    const StrList *rubbish = wal_reader_rubbish(reader);
    for (size_t i = 0; i < rubbish->len; i++)
        strlist_add(&l->ret->rubbish, rubbish->items[i]);
    l->server = segment_server_free(l->server);
    return r;
}

int restore_log(const RestoreOptions *o, const RestoreOwner *owner, Msec started,
                RestoreResult *ret, Err *err)
{
    Log l = {.o = o, .owner = owner, .ret = ret, .started = started};
    int r = read_control(&l, err);

    /* Also when it is another cluster's. */
    ret->base_bad = r == -ERR_CORRUPT || r == -ERR_CONFLICT;
    if (r == 0)
        r = make_run_folder(&l, err);
    if (r == 0)
        r = recover(&l, err);
    if (r == 0 && o->keep_running) {
        ret->server = l.pid;
        ret->socket = TAKE(l.run);
        ret->lock = l.lock;
        ret->port = SERVER_PORT;
        return 0;
    }
    Err stop = {0};
    int s = stop_server(l.pid, r == 0 ? err : &stop);
    err_clear(&stop); /* what came before it says more */
    if (l.run)
        (void)!file_remove_tree(l.run, NULL); /* leftovers in a temporary folder are no fault */
    free(l.run);
    if (l.lock > 0)
        close(l.lock);
    return r < 0 ? r : s;
}

int restore_stop(RestoreResult *r, Err *err)
{
    int s = stop_server(r->server, err);

    r->server = 0;
    if (r->socket)
        (void)!file_remove_tree(r->socket, NULL); /* the same */
    if (r->lock > 0)
        close(r->lock);
    r->lock = 0;
    return s;
}
