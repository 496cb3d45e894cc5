#include "backup/dump.h"
#include "io/child.h"
#include "io/crypt.h"
#include "io/file.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define TICK_MS 200
#define END_MS (5 * SECOND) /* for the parts of a pg_dump that is gone */
#define JOBS_MOST 4
#define PROGRAMS_DEBIAN "/usr/lib/postgresql/%lld/bin"

void dump_result_clear(DumpResult *r)
{
    free(r->database);
    free(r->manifest);
    *r = (DumpResult){0};
}

const char *dump_database(const StrList *all, Err *err)
{
    const char *found = NULL, *own = NULL;
    _cleanup_(buf_clear) Buf names = BUF_INIT(BUF_MAX_LINE);
    size_t n = 0;

    for (size_t i = 0; i < all->len; i++) {
        if (streq(all->items[i], "postgres")) {
            own = all->items[i];
            continue;
        }
        found = all->items[i];
        buf_printf(&names, "%s%s", n++ ? ", " : "", found);
    }
    if (n == 1 || (n == 0 && own))
        return n == 1 ? found : own;
    err_set(err, ERR_USAGE, "the server has %zu databases%s%s: --database says which one", n,
            n ? ": " : "", names.p);
    return NULL;
}

ErrKind dump_failure(Str words)
{
    static const struct {
        const char *words;
        ErrKind kind;
    } rows[] = {
        {"No space left on device", ERR_QUOTA},
        {"Disk quota exceeded", ERR_QUOTA},
        {"password authentication failed", ERR_AUTH},
        {"no password supplied", ERR_AUTH},
        {"permission denied for", ERR_DENIED},
        {"row-level security", ERR_DENIED},
        {"server closed the connection unexpectedly", ERR_TEMPORARY},
        {"terminating connection due to", ERR_TEMPORARY},
        {"could not connect to server", ERR_TEMPORARY},
        {"canceling statement due to lock timeout", ERR_TEMPORARY},
    };
    _cleanup_free_ char *text = xstrndup(words.p, words.n);

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (strstr(text, rows[i].words))
            return rows[i].kind;
    return ERR_IO;
}

/* One run. */
typedef struct Dump {
    const DumpOptions *o;
    PgTarget server;
    char *database, *programs;
    char *folder, *part; /* `<to>.unfinished`, and what will be `to` in it */
    int lock;
    int64_t version, total;
    Msec began;
    StrList env;
    bool made; /* the folder is ours */
} Dump;

static void dump_clear(Dump *d)
{
    /* The password is in one of them. */
    for (size_t i = 0; i < d->env.len; i++)
        explicit_bzero(d->env.items[i], strlen(d->env.items[i]));
    strlist_clear(&d->env);
    free(d->database);
    free(d->programs);
    free(d->folder);
    free(d->part);
    if (d->lock >= 0)
        close(d->lock);
}
DEFINE_CLEAR(Dump, dump_clear)

/* The server and its programs */

static int ask_server(Dump *d, Err *err)
{
    _cleanup_(strlist_clear) StrList version = {0}, all = {0}, size = {0};

    d->server = *d->o->server;
    d->server.database = d->o->database ? d->o->database : "postgres";
    int r = pg_query(&d->server, "SHOW server_version_num", NULL, &version, err);
    if (r == 0 && !d->o->database)
        r = pg_query(&d->server,
                     "SELECT datname FROM pg_database WHERE datallowconn AND NOT datistemplate "
                     "ORDER BY 1",
                     NULL, &all, err);
    if (r < 0)
        return r;
    const char *name = d->o->database ? d->o->database : dump_database(&all, err);
    if (!name)
        return -ERR_USAGE;
    d->database = xstrdup(name);
    d->server.database = d->database;
    r = pg_query(&d->server, "SELECT pg_database_size(current_database())", NULL, &size, err);
    if (r < 0)
        return r;
    if (version.len != 1 || !parse_int(version.items[0], 0, INT32_MAX, &d->version) ||
        size.len != 1 || !parse_int(size.items[0], 0, INT64_MAX, &d->total))
        return err_set(err, ERR_CORRUPT, "the server's version and size are no numbers");
    return 0;
}

static int find_programs(Dump *d, Err *err)
{
    static const char *const needed[] = {"pg_dump", "pg_restore"};

    d->programs = d->o->programs ? xstrdup(d->o->programs)
                                 : xasprintf(PROGRAMS_DEBIAN, (long long)d->version / 10000);
    for (size_t i = 0; i < ARRAY_LEN(needed); i++) {
        _cleanup_free_ char *path = path_join(d->programs, needed[i]);
        if (access(path, X_OK) == 0)
            continue;
        err_set(err, ERR_CONFIG, "there is no %s in %s", needed[i], d->programs);
        return err_hint(err,
                        "apt install postgresql-client-%lld, or say `programs: FOLDER` in the "
                        "settings",
                        (long long)d->version / 10000);
    }
    return 0;
}

/* By the environment, since a name of a database with a "=" in argv would be taken for a list of
 * settings, and a password there would be seen by all. */
static void make_env(Dump *d)
{
    const PgTarget *t = &d->server;

    strlist_add(&d->env, "LC_ALL=C");
    strlist_add(&d->env, "PATH=/usr/bin:/bin");
    strlist_add(&d->env, "PGAPPNAME=atoll dump");
    strlist_addf(&d->env, "PGHOST=%s", t->host);
    strlist_addf(&d->env, "PGPORT=%d", t->port);
    strlist_addf(&d->env, "PGUSER=%s", t->user);
    strlist_addf(&d->env, "PGDATABASE=%s", d->database);
    if (t->password)
        strlist_addf(&d->env, "PGPASSWORD=%s", secret_expose(t->password).p);
}

/* Programs */

static int64_t bytes_of(const char *path)
{
    _cleanup_(strlist_clear) StrList names = {0};
    int64_t bytes = 0;
    struct stat st;

    if (lstat(path, &st) < 0)
        return 0;
    if (!S_ISDIR(st.st_mode))
        return st.st_size;
    if (file_list(path, &names, NULL) < 0)
        return 0; /* only for progress */
    for (size_t i = 0; i < names.len; i++) {
        _cleanup_free_ char *one = path_join(path, names.items[i]);
        if (lstat(one, &st) == 0)
            bytes += st.st_size;
    }
    return bytes;
}

typedef struct Program {
    pid_t pid;
    int words_fd;
    Buf *words;
} Program;

/* Waits at most `wait_ms` for words, and reads them; what is too much is dropped. False: all who
 * could say something are gone. */
static bool read_words(Program *p, Msec wait_ms)
{
    struct pollfd fd = {.fd = p->words_fd, .events = POLLIN};
    char bytes[4096];

    if (poll(&fd, 1, (int)wait_ms) <= 0)
        return true;
    ssize_t n = read(p->words_fd, bytes, sizeof bytes);
    if (n > 0)
        buf_add(p->words, bytes, MIN((size_t)n, p->words->max - p->words->len - 1));
    return n > 0 || (n < 0 && errno == EINTR);
}

/* Its parts run in its own group: whatever became of it, none of them writes any more. */
static int end_program(Program *p)
{
    Msec until = time_mono() + END_MS;
    int status = 0;

    (void)kill(-p->pid, SIGKILL); /* fails when there is none */
    while (waitpid(p->pid, &status, 0) < 0 && errno == EINTR)
        ;
    while (time_mono() < until && read_words(p, TICK_MS))
        ;
    return status;
}

static int wait_program(const Dump *d, Program *p, const char *phase, int *ret_status, Err *err)
{
    const DumpOptions *o = d->o;
    bool heard = true;

    for (;;) {
        siginfo_t seen = {0};
        if (o->stop && *o->stop) {
            (void)end_program(p);
            return err_set(err, ERR_INTERRUPTED, "interrupted");
        }
        /* Not reaped yet, so that the group's number stays its own. */
        if (waitid(P_PID, (id_t)p->pid, &seen, WEXITED | WNOHANG | WNOWAIT) == 0 && seen.si_pid) {
            *ret_status = end_program(p);
            return 0;
        }
        if (heard)
            heard = read_words(p, TICK_MS);
        else
            (void)poll(NULL, 0, TICK_MS);
        if (o->progress)
            o->progress(o->user, &(DumpProgress){phase, bytes_of(d->part), d->total});
    }
}

static int failed(const Dump *d, const char *program, int status, const Buf *words, Err *err)
{
    ErrKind kind = dump_failure(buf_as_str(words));
    char text[64];
    Str said = str_trim(buf_as_str(words));
    int shown = (int)MIN(said.n, (size_t)1000);

    err_set(err, kind, "%s: %s%s%.*s", program, child_status_text(status, text), said.n ? ": " : "",
            shown, said.p);
    if (kind == ERR_DENIED)
        return err_hint(err, "a superuser may let it read: GRANT pg_read_all_data TO %s;",
                        d->server.user);
    return -(int)kind;
}

/* argv[0]: a program of PostgreSQL's. 0 only if it ended with exit status 0. */
static int run_program(const Dump *d, const char *phase, StrList *argv, Err *err)
{
    _cleanup_free_ char *path = path_join(d->programs, argv->items[0]);
    _cleanup_free_ const char **own = xcalloc(argv->len + 1, sizeof *own);
    _cleanup_free_ const char **env = xcalloc(d->env.len + 1, sizeof *env);
    _cleanup_(buf_clear) Buf words = BUF_INIT(BUF_MAX_BODY);
    int fds[2], status = 0;

    for (size_t i = 0; i < argv->len; i++)
        own[i] = i ? argv->items[i] : path;
    for (size_t i = 0; i < d->env.len; i++)
        env[i] = d->env.items[i];
    if (pipe2(fds, O_CLOEXEC) < 0)
        return err_set(err, ERR_IO, "cannot make a pipe: %m");
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    const ChildSpec spec = {.argv = own,
                            .env = env,
                            .cwd = "/",
                            .out_fd = null < 0 ? fds[1] : null,
                            .err_fd = fds[1],
                            .new_session = true,
                            .die_with_parent = true};
    Program p = {.words_fd = fds[0], .words = &words};
    int r = child_spawn(&spec, &p.pid, err);
    close(fds[1]);
    if (r == 0)
        r = wait_program(d, &p, phase, &status, err);
    close(fds[0]);
    if (null >= 0)
        close(null);
    if (r == 0 && !(WIFEXITED(status) && WEXITSTATUS(status) == 0))
        r = failed(d, argv->items[0], status, &words, err);
    return r;
}

static int run_dump(const Dump *d, Err *err)
{
    _cleanup_(strlist_clear) StrList argv = {0};
    long processors = MAX(sysconf(_SC_NPROCESSORS_ONLN), 1L);
    int jobs = d->o->jobs ? d->o->jobs : (int)MIN(processors, (long)JOBS_MOST);

    strlist_add(&argv, "pg_dump");
    strlist_add(&argv, d->o->one_file ? "--format=custom" : "--format=directory");
    if (!d->o->one_file)
        strlist_addf(&argv, "--jobs=%d", jobs);
    strlist_add(&argv, "--no-password");
    /* Behind an ALTER TABLE that nobody ends it would hold its locks for ever. */
    strlist_add(&argv, "--lock-wait-timeout=600000");
    strlist_addf(&argv, "--file=%s", d->part);
    return run_program(d, "dump", &argv, err);
}

static int run_restore(const Dump *d, bool all, Err *err)
{
    _cleanup_(strlist_clear) StrList argv = {0};

    strlist_add(&argv, "pg_restore");
    if (!all)
        strlist_add(&argv, "--list");
    else
        strlist_add(&argv, "--file=/dev/null");
    strlist_add(&argv, d->part);
    int r = run_program(d, "check", &argv, err);
    return r < 0 ? err_wrap(err, "what pg_dump wrote can't be read back") : 0;
}

/* The manifest, and the name */

static int list_file(const char *path, const char *name, json_t *files, int64_t *bytes, Err *err)
{
    _cleanup_(buf_clear) Buf hash = BUF_INIT(BUF_MAX_LINE);
    struct stat st;

    if (stat(path, &st) < 0)
        return err_set(err, ERR_IO, "cannot look at %s: %m", path);
    int r = crypt_hash_file(CRYPT_SHA256, path, &hash, err);
    if (r < 0)
        return r;
    BUG_IF(json_array_append_new(files, json_make_new("{s:s, s:I, s:s}", "name", name, "bytes",
                                                      (json_int_t)st.st_size, "sha256", hash.p)) <
           0);
    *bytes += st.st_size;
    return 0;
}

static int list_files(const Dump *d, json_t *files, int64_t *bytes, Err *err)
{
    _cleanup_(strlist_clear) StrList names = {0};
    const char *slash = strrchr(d->o->to, '/');

    if (d->o->one_file)
        return list_file(d->part, slash ? slash + 1 : d->o->to, files, bytes, err);
    int r = file_list(d->part, &names, err);
    for (size_t i = 0; r == 0 && i < names.len; i++) {
        _cleanup_free_ char *path = path_join(d->part, names.items[i]);
        r = list_file(path, names.items[i], files, bytes, err);
    }
    return r;
}

static int write_manifest(const Dump *d, DumpResult *ret, Err *err)
{
    _cleanup_json_ json_t *files = json_array();
    char began[TIME_TEXT_MAX], ended[TIME_TEXT_MAX];
    _cleanup_free_ char *path =
        d->o->one_file ? xasprintf("%s.json", d->o->to) : path_join(d->part, DUMP_MANIFEST);
    int r = list_files(d, files, &ret->bytes, err);

    if (r < 0)
        return r;
    ret->files = (int64_t)json_array_size(files);
    _cleanup_json_ json_t *manifest =
        json_make_new("{s:s, s:I, s:s, s:s, s:O}", "database", d->database, "server",
                      (json_int_t)d->version, "began", time_format(d->began, false, began), "ended",
                      time_format(time_now(), false, ended), "files", files);
    _cleanup_free_ char *text = json_text_new(manifest);
    _cleanup_free_ char *line = xasprintf("%s\n", text);
    return file_write(path, str_of(line), 0600, err);
}

static int must_be_free(const char *to, Err *err)
{
    int r = file_absent(to, err);

    return r == -ERR_CONFLICT
               ? err_hint(err, "a dump is never written over another one: name a new one")
               : r;
}

static int begin(Dump *d, Err *err)
{
    const char *to = d->o->to;
    _cleanup_free_ char *above = path_folder(to);
    _cleanup_free_ char *lock = xasprintf("%s.unfinished/lock", to);
    struct stat st;
    int r = must_be_free(to, err);

    if (r < 0)
        return r;
    if (stat(above, &st) < 0 || !S_ISDIR(st.st_mode))
        return err_set(err, ERR_NOT_FOUND, "there is no folder %s", above);
    d->folder = xasprintf("%s.unfinished", to);
    d->part = path_join(d->folder, "dump");
    if (mkdir(d->folder, 0700) < 0 && (errno != EEXIST || !file_exists(lock)))
        return err_set(err, ERR_IO, "cannot make the folder %s: %m", d->folder);
    r = file_lock(lock, &d->lock, err);
    if (r == -ERR_HELD)
        return err_set(err, ERR_HELD, "another run dumps to %s", to);
    if (r < 0)
        return r;
    d->made = true;
    return file_remove_tree(d->part, err);
}

static int work(Dump *d, DumpResult *ret, Err *err)
{
    int r = run_dump(d, err);

    if (r == 0)
        r = run_restore(d, false, err);
    if (r == 0 && d->o->check)
        r = run_restore(d, true, err);
    if (r == 0 && d->o->one_file && chmod(d->part, 0600) < 0)
        r = err_set(err, ERR_IO, "cannot change the rights of %s: %m", d->part);
    if (r == 0)
        r = must_be_free(d->o->to, err);
    if (r == 0)
        r = write_manifest(d, ret, err);
    if (r == 0)
        r = file_rename(d->part, d->o->to, err);
    return r;
}

int dump_run(const DumpOptions *o, DumpResult *ret, Err *err)
{
    _cleanup_(dump_clear) Dump d = {.o = o, .lock = -1, .began = time_now()};
    _cleanup_(dump_result_clear) DumpResult made = {0};
    _cleanup_(err_clear) Err gone = {0};
    int r = ask_server(&d, err);

    if (r == 0)
        r = find_programs(&d, err);
    if (r == 0)
        r = begin(&d, err);
    if (r == 0) {
        make_env(&d);
        r = work(&d, &made, err);
    }
    if (d.made && file_remove_tree(d.folder, &gone) < 0 && r == 0)
        r = err_move(err, &gone);
    if (r < 0)
        return r;
    made.database = xstrdup(d.database);
    made.manifest = o->one_file ? xasprintf("%s.json", o->to) : path_join(o->to, DUMP_MANIFEST);
    *ret = made;
    made = (DumpResult){0};
    return 0;
}
