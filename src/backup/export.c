#include "backup/export.h"
#include "backup/pool.h"
#include "backup/restore.h"
#include "io/child.h"
#include "io/crypt.h"
#include "io/file.h"
#include "io/zip.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* Compressed by itself: a frame. */
#define CHUNK ((size_t)2 << 20)
#define LEVEL 3
#define PIECES_MAX 99999
#define PIECE_NAME EXPORT_PIECES "%05lld"
#define WORDS_MAX 300

void export_result_clear(ExportResult *r)
{
    free(r->command);
    *r = (ExportResult){0};
}

/* The cluster, made ready to move */

static int write_as(const char *folder, const char *name, const char *text, const struct stat *st,
                    Err *err)
{
    _cleanup_free_ char *path = path_join(folder, name);

    if (file_exists(path))
        return 0;
    return file_write_as(path, str_of(text), 0600, st->st_uid, st->st_gid, err);
}

/* Debian keeps it in /etc. What is prepared for a second phase needs a setting to be kept. */
static int add_configuration(const char *folder, const struct stat *st, Err *err)
{
    _cleanup_free_ char *twophase = path_join(folder, "pg_twophase");
    _cleanup_(strlist_clear) StrList prepared = {0};
    int r = file_list(twophase, &prepared, err);

    if (r == -ERR_NOT_FOUND) {
        err_clear(err);
        r = 0;
    }
    _cleanup_free_ char *text = xasprintf(
        "# The configuration was not among the cluster's files: this one has its defaults.\n"
        "max_prepared_transactions = %zu\n",
        prepared.len);
    if (r == 0)
        r = write_as(folder, "postgresql.conf", text, st, err);
    if (r == 0)
        r = write_as(folder, "pg_hba.conf",
                     "local all all peer\nhost all all 127.0.0.1/32 scram-sha-256\n"
                     "host all all ::1/128 scram-sha-256\n",
                     st, err);
    return r < 0 ? r : write_as(folder, "pg_ident.conf", "", st, err);
}

/* They lead to where the cluster lies now; behind the move that is elsewhere. */
static int move_link(const char *folder, const char *name, const struct stat *st, Err *err)
{
    _cleanup_free_ char *path = xasprintf("%s/pg_tblspc/%s", folder, name);
    _cleanup_free_ char *inner = xasprintf("%s/tablespaces/", folder);
    char old[4096] = "";

    if (readlink(path, old, sizeof old - 1) < 0)
        return errno == EINVAL ? 0 : err_set(err, ERR_IO, "reading the link %s: %m", path);
    if (!starts_with(old, inner))
        return err_set(err, ERR_BUG, "the tablespace %s lies elsewhere, in %s", name, old);
    _cleanup_free_ char *target = xasprintf("../tablespaces/%s", old + strlen(inner));
    if (unlink(path) < 0 || symlink(target, path) < 0 || lchown(path, st->st_uid, st->st_gid) < 0)
        return err_set(err, ERR_IO, "changing the link %s: %m", path);
    return 0;
}

static int prepare(const char *folder, Err *err)
{
    _cleanup_free_ char *spaces = path_join(folder, "pg_tblspc"),
                        *pid = path_join(folder, "postmaster.pid");
    _cleanup_(strlist_clear) StrList links = {0};
    struct stat st;

    if (stat(folder, &st) < 0)
        return err_set(err, ERR_IO, "cannot look at %s: %m", folder);
    if (file_exists(pid))
        return err_set(err, ERR_CONFLICT, "PostgreSQL runs on %s", folder);
    int r = file_list(spaces, &links, err);
    for (size_t i = 0; r == 0 && i < links.len; i++)
        r = move_link(folder, links.items[i], &st, err);
    return r < 0 ? r : add_configuration(folder, &st, err);
}

/* Compression */

typedef struct Chunk {
    char *plain;
    size_t plain_bytes;
    Buf packed;
    int level, r;
    Err err;
} Chunk;

static void pack(void *state, void *job)
{
    Chunk *c = job;
    (void)state;

    c->packed = BUF_INIT(2 * CHUNK);
    c->r = zip_pack((Str){c->plain, c->plain_bytes}, c->level, &c->packed, &c->err);
    if (c->r == 0 && c->packed.overflow)
        c->r = err_set(&c->err, ERR_BUG, "a frame is larger than twice its content");
    free(TAKE(c->plain));
}

static void chunk_free(void *job)
{
    Chunk *c = job;

    free(c->plain);
    if (c->packed.max)
        buf_clear(&c->packed);
    err_clear(&c->err);
    free(c);
}

/* Pieces */

typedef struct Run {
    const ExportOptions *o;
    Pool *pool;
    json_t *pieces;
    Buf sums;
    int fd; /* of the piece that is being written; -1: none */
    char name[64];
    int64_t piece_bytes;
    Hasher *hash;
    ExportResult *ret;
} Run;

static int write_error(const char *name, Err *err)
{
    bool full = errno == ENOSPC || errno == EDQUOT;

    return err_set(err, full ? ERR_QUOTA : ERR_IO, "writing %s: %m", name);
}

static int begin_piece(Run *run, Err *err)
{
    if (run->ret->pieces > PIECES_MAX)
        return err_set(err, ERR_USAGE, "more than %d pieces: larger ones are needed", PIECES_MAX);
    snprintf(run->name, sizeof run->name, PIECE_NAME, (long long)run->ret->pieces);
    _cleanup_free_ char *path = path_join(run->o->place->stage, run->name);
    run->fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (run->fd < 0)
        return write_error(path, err);
    run->piece_bytes = 0;
    run->hash = hasher_new(CRYPT_SHA256);
    return 0;
}

static int end_piece(Run *run, Err *err)
{
    _cleanup_(buf_clear) Buf hex = BUF_INIT(128);
    int r = fsync(run->fd) < 0 ? write_error(run->name, err) : 0;

    if (close(run->fd) < 0 && r == 0)
        r = write_error(run->name, err);
    run->fd = -1;
    hasher_end(TAKE(run->hash), &hex);
    if (r == 0)
        r = run->o->place->keep(run->o->place, run->name, err);
    if (r < 0)
        return r;
    buf_printf(&run->sums, "%s  %s\n", hex.p, run->name);
    json_array_append_new(run->pieces,
                          json_make_new("{s:s, s:I, s:s}", "name", run->name, "bytes",
                                        (json_int_t)run->piece_bytes, "sha256", hex.p));
    run->ret->pieces++;
    run->ret->bytes += run->piece_bytes;
    return 0;
}

static int write_frame(Run *run, Str frame, Err *err)
{
    int r = run->fd < 0 ? begin_piece(run, err) : 0;

    if (r < 0)
        return r;
    hasher_add(run->hash, frame.p, frame.n);
    run->piece_bytes += (int64_t)frame.n;
    while (frame.n > 0) {
        ssize_t n = write(run->fd, frame.p, frame.n);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return write_error(run->name, err);
        frame = (Str){frame.p + n, frame.n - (size_t)n};
    }
    return run->piece_bytes >= run->o->piece_bytes ? end_piece(run, err) : 0;
}

static int take_chunk(Run *run, Err *err)
{
    Chunk *c = pool_take(run->pool, true);
    int r = c->r < 0 ? err_move(err, &c->err) : write_frame(run, buf_as_str(&c->packed), err);

    chunk_free(c);
    return r;
}

/* The archive */

static const char no_marker[] = "--exclude=./" RESTORE_MARKER;

static int spawn_tar(const char *folder, int words, int *ret_fd, pid_t *ret_pid, Err *err)
{
    const char *const argv[] = {"tar",
                                "--create",
                                "--file=-",
                                "--format=gnu",
                                "--sort=name",
                                no_marker,
                                "--exclude=./postmaster.opts",
                                "--directory",
                                folder,
                                ".",
                                NULL};
    const char *const env[] = {"LC_ALL=C", "PATH=/usr/bin:/bin", NULL};
    int fds[2];

    if (pipe2(fds, O_CLOEXEC) < 0)
        return err_set(err, ERR_IO, "cannot make a pipe: %m");
    const ChildSpec spec = {.argv = argv,
                            .env = env,
                            .cwd = "/",
                            .out_fd = fds[1],
                            .err_fd = words,
                            .die_with_parent = true};
    int r = child_spawn(&spec, ret_pid, err);
    close(fds[1]);
    if (r < 0)
        close(fds[0]);
    else
        *ret_fd = fds[0];
    return r;
}

/* A whole chunk, or what is left. */
static int read_chunk(int fd, Chunk *c, Err *err)
{
    c->plain = xcalloc(CHUNK, 1);
    while (c->plain_bytes < CHUNK) {
        ssize_t n = read(fd, c->plain + c->plain_bytes, CHUNK - c->plain_bytes);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set(err, ERR_IO, "reading from tar: %m");
        if (n == 0)
            break;
        c->plain_bytes += (size_t)n;
    }
    return 0;
}

static int feed(Run *run, int fd, Err *err)
{
    const ExportOptions *o = run->o;

    for (;;) {
        Chunk *c = NEW(Chunk);
        c->level = o->level ? o->level : LEVEL;
        int r = o->stop && *o->stop ? err_set(err, ERR_INTERRUPTED, "interrupted")
                                    : read_chunk(fd, c, err);
        if (r < 0 || c->plain_bytes == 0) {
            chunk_free(c);
            return r;
        }
        run->ret->plain_bytes += (int64_t)c->plain_bytes;
        while (r == 0 && pool_full(run->pool))
            r = take_chunk(run, err);
        if (r < 0) {
            chunk_free(c);
            return r;
        }
        pool_push(run->pool, c);
        if (o->progress)
            o->progress(o->user, run->ret->plain_bytes);
    }
}

static int tar_failed(int words, int status, Err *err)
{
    char text[64], said[WORDS_MAX] = "";
    ssize_t n = pread(words, said, sizeof said - 1, 0);

    said[strcspn(said, "\n")] = '\0';
    return err_set(err, ERR_IO, "tar: %s%s%s", child_status_text(status, text), n > 0 ? ": " : "",
                   said);
}

static int write_archive(Run *run, Err *err)
{
    int words = memfd_create("tar", MFD_CLOEXEC), fd = -1, status = 0;
    pid_t pid = 0;

    if (words < 0)
        return err_set(err, ERR_IO, "cannot keep what tar says: %m");
    int r = spawn_tar(run->o->folder, words, &fd, &pid, err);
    if (r == 0) {
        r = feed(run, fd, err);
        close(fd); /* so that it ends, if that was before its end */
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
            ;
        if (r == 0 && !(WIFEXITED(status) && WEXITSTATUS(status) == 0))
            r = tar_failed(words, status, err);
    }
    close(words);
    while (r == 0 && pool_count(run->pool) > 0)
        r = take_chunk(run, err);
    if (r == 0 && run->fd >= 0)
        r = end_piece(run, err);
    return r;
}

/* What stands beside it */

static char *restore_command_new(const Run *run)
{
    const char *get = run->o->place->command, *last = strstr(get, "LAST");
    _cleanup_free_ char *whole =
        last ? xasprintf("%.*s%05lld%s", (int)(last - get), get, (long long)run->ret->pieces - 1,
                         last + strlen("LAST"))
             : xstrdup(get);

    return xasprintf("mkdir -m 0700 restored && %s | zstd -dc | tar -xpf - -C restored", whole);
}

static void readme(const Run *run, Buf *b)
{
    const json_t *d = run->o->drill;
    const char *last = json_str_or(d, "reached_time", "");

    buf_printf(
        b,
        "A PostgreSQL %lld cluster: all databases, roles and settings, as files.\n\n"
        "IT IS NOT ENCRYPTED. Who reads these files has everything that is in the database.\n\n"
        "It is as it was at %s%s%s. Before this was written it was restored\n"
        "from its backup, and its pages, indexes and foreign keys were checked.\n\n"
        "Is it whole:      sha256sum -c SHA256SUMS\n"
        "Unpack it, as the user that PostgreSQL is to run as:\n\n    %s\n\n",
        (long long)run->o->version / 10000, json_str_or(d, "reached", "?"),
        *last ? ", after the transaction of " : "", last, run->ret->command);
    buf_printf(
        b,
        "Start it with PostgreSQL %lld of the same architecture, no other version:\n\n"
        "    /usr/lib/postgresql/%lld/bin/pg_ctl -D restored start\n\n"
        "Where the old server's configuration was not in its data folder (Debian), a small one\n"
        "was put in: look through postgresql.conf, pg_hba.conf and postgresql.auto.conf. If\n"
        "commits hang: ALTER SYSTEM RESET synchronous_standby_names; SELECT pg_reload_conf();\n"
        "Indexes of text follow the collations of the machine that they were made on: on another\n"
        "distribution or version, REINDEX DATABASE each database that does not use C.\n",
        (long long)run->o->version / 10000, (long long)run->o->version / 10000);
}

static int write_text(const Run *run, const char *name, Str text, Err *err)
{
    _cleanup_free_ char *path = path_join(run->o->place->stage, name);
    int r = file_write(path, text, 0600, err);

    return r < 0 ? r : run->o->place->keep(run->o->place, name, err);
}

static int write_manifest(const Run *run, Err *err)
{
    const json_t *d = run->o->drill;
    char made[TIME_TEXT_MAX];
    _cleanup_json_ json_t *manifest = json_make_new(
        "{s:s, s:b, s:I, s:s, s:s, s:s, s:s, s:I, s:I, s:s, s:O, s:O}", "format", "atoll export 1",
        "encrypted", 0, "version", (json_int_t)run->o->version, "backup", json_str_or(d, "id", ""),
        "reached", json_str_or(d, "reached", ""), "reached_time",
        json_str_or(d, "reached_time", ""), "made", time_format(time_now(), false, made), "bytes",
        (json_int_t)run->ret->bytes, "plain_bytes", (json_int_t)run->ret->plain_bytes, "restore",
        run->ret->command, "drill", d, "pieces", run->pieces);
    _cleanup_free_ char *text = json_text_new(manifest);
    _cleanup_free_ char *line = xasprintf("%s\n", text);

    return write_text(run, EXPORT_MANIFEST, str_of(line), err);
}

static int export_all(Run *run, Err *err)
{
    _cleanup_(buf_clear) Buf text = BUF_INIT(BUF_MAX_LINE);
    int r = prepare(run->o->folder, err);

    if (r == 0)
        r = write_archive(run, err);
    if (r < 0)
        return r;
    run->ret->command = restore_command_new(run);
    readme(run, &text);
    r = write_text(run, "SHA256SUMS", buf_as_str(&run->sums), err);
    if (r == 0)
        r = write_text(run, "README.txt", buf_as_str(&text), err);
    if (r == 0)
        r = write_manifest(run, err);
    return r < 0 ? r : run->o->place->end(run->o->place, err);
}

int export_run(const ExportOptions *o, ExportResult *ret, Err *err)
{
    size_t processors = (size_t)MAX(sysconf(_SC_NPROCESSORS_ONLN), 1L);
    size_t threads = o->threads ? o->threads : processors;
    const PoolWork work = {.work = pack};
    Run run = {.o = o,
               .pool = pool_new(&work, threads, 2 * threads),
               .pieces = json_array(),
               .sums = BUF_INIT(BUF_MAX_BODY),
               .fd = -1,
               .ret = ret};

    *ret = (ExportResult){0};
    int r = export_all(&run, err);
    run.pool = pool_free(run.pool, chunk_free);
    if (run.fd >= 0)
        close(run.fd);
    hasher_free(run.hash);
    json_decref(run.pieces);
    buf_clear(&run.sums);
    return r;
}
