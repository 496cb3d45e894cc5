/* A restore from beginning to end: what must be so before it, the marker, files, log. */
#include "backup/restore_work.h"
#include "io/child.h"
#include "io/file.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#define GONE_TRIES 100
#define GONE_MS 100
#define PROGRAM_TIMEOUT_MS (10 * SECOND)

void restore_result_clear(RestoreResult *r)
{
    strlist_clear(&r->warnings);
    strlist_clear(&r->rubbish);
    strlist_clear(&r->outer);
    free(r->socket);
    r->socket = NULL;
}

void marker_close(RestoreMarker *m)
{
    if (m->fd > 0)
        close(m->fd);
    m->fd = -1;
    strlist_clear(&m->done);
}

bool marker_has(const RestoreMarker *m, const char *line)
{
    return strlist_has(&m->done, line);
}

int marker_add(RestoreMarker *m, const char *line, Err *err)
{
    _cleanup_free_ char *text = xasprintf("%s\n", line);
    size_t n = strlen(text);

    if (write(m->fd, text, n) != (ssize_t)n)
        return err_set(err, errno == ENOSPC ? ERR_QUOTA : ERR_IO, "writing " RESTORE_MARKER ": %m");
    strlist_add(&m->done, line);
    return 0;
}

static bool inside(const char *path, const char *folder)
{
    return starts_with(path, folder) && path[strlen(folder)] == '/';
}

/* Tablespaces' folders outside the cluster's. */
static void outer_folders(const RestoreOptions *o, const RestorePlan *plan, StrList *ret)
{
    for (size_t i = 0; i < plan->files.len; i++) {
        if (plan->files.items[i].kind != PLAN_LINK)
            continue;
        _cleanup_free_ char *f = plan_tablespace_new(&plan->files.items[i], o->to, o->tablespaces);
        if (!inside(f, o->to))
            strlist_add(ret, f);
    }
}

static void target_text(const Target *t, char out[static TIME_TEXT_MAX])
{
    if (t->kind == TARGET_TIME)
        time_format(t->time, true, out);
    else if (t->kind == TARGET_LSN)
        lsn_format(t->lsn, out);
    else
        snprintf(out, TIME_TEXT_MAX, "latest");
}

/* What is being restored, and on which start of the machine: nothing is forced to disk before the
 * end, so after a crash of the machine nothing of it counts. */
static char *header_new(const RestoreOptions *o, const StrList *outer)
{
    _cleanup_(buf_clear) Buf boot = BUF_INIT(BUF_MAX_LINE);
    char target[TIME_TEXT_MAX];
    _cleanup_json_ json_t *spaces = json_array();

    if (file_read("/proc/sys/kernel/random/boot_id", &boot, NULL) < 0)
        buf_truncate(&boot, 0);
    _cleanup_free_ char *id = xstrndup(boot.p, strcspn(boot.p, "\n"));
    target_text(&o->target, target);
    for (size_t i = 0; i < outer->len; i++)
        BUG_IF(json_array_append_new(spaces, json_string(outer->items[i])) < 0);
    _cleanup_json_ json_t *j =
        json_make_new("{s:s, s:s, s:s, s:i, s:O}", "base", o->choice->base->name, "boot", id,
                      "target", target, "timeline", (int)o->choice->tli, "tablespaces", spaces);
    return json_text_new(j);
}

/* All that is in a folder; one that is not there is fine. */
static int empty_outer(const char *folder, Err *err)
{
    _cleanup_(strlist_clear) StrList names = {0};
    int r = 0;

    if (file_list(folder, &names, NULL) < 0)
        return 0;
    for (size_t n = 0; r == 0 && n < names.len; n++) {
        _cleanup_free_ char *path = path_join(folder, names.items[n]);
        r = file_remove_tree(path, err);
    }
    return r;
}

int restore_discard(const char *to, const StrList *outer, Err *err)
{
    int r = file_remove_tree(to, err);

    for (size_t i = 0; r == 0 && i < outer->len; i++)
        r = empty_outer(outer->items[i], err);
    return r;
}

/* Removes what another, unfinished restore left. */
static int empty_folder(const char *to, Str old_header, Err *err)
{
    _cleanup_(strlist_clear) StrList names = {0};
    _cleanup_json_ json_t *old = json_parse_new(old_header.p, old_header.n, NULL);
    size_t i;
    json_t *space;
    int r = file_list(to, &names, err);

    for (size_t n = 0; r == 0 && n < names.len; n++) {
        _cleanup_free_ char *path = path_join(to, names.items[n]);
        if (!streq(names.items[n], RESTORE_MARKER))
            r = file_remove_tree(path, err);
    }
    json_array_foreach (json_at(old, "tablespaces"), i, space) {
        const char *folder = json_string_value(space);
        if (r == 0 && folder)
            r = empty_outer(folder, err);
    }
    return r;
}

static int check_empty(const char *folder, Err *err)
{
    _cleanup_(strlist_clear) StrList names = {0};
    int r = file_list(folder, &names, NULL);

    if (r < 0 || names.len == 0)
        return 0;
    err_set(err, ERR_CONFLICT, "%s is not empty: %s is in it", folder, names.items[0]);
    return err_hint(err, "a restore overwrites nothing: give it a new folder");
}

/* Reads the marker that was there; its header and which parts are done. */
static int marker_read(RestoreMarker *m, Buf *text, Str *ret_header, Err *err)
{
    char chunk[4096];
    ssize_t n;
    Str rest, line;

    while ((n = pread(m->fd, chunk, sizeof chunk, (off_t)text->len)) > 0)
        buf_add(text, chunk, (size_t)n);
    if (n < 0 || text->overflow)
        return err_set(err, ERR_IO, "reading " RESTORE_MARKER ": %m");
    /* A last line without its end was cut off. */
    while (text->len > 0 && text->p[text->len - 1] != '\n')
        buf_truncate(text, text->len - 1);
    rest = buf_as_str(text);
    if (!str_next(&rest, '\n', ret_header))
        *ret_header = (Str){"", 0};
    while (str_next(&rest, '\n', &line))
        if (line.n > 0) {
            _cleanup_free_ char *done = xstrndup(line.p, line.n);
            strlist_add(&m->done, done);
        }
    return 0;
}

/* The server that ran here may have been of a user, and with content, that nobody trusts: what such
 * a marker says would be removed. */
static int check_marker(const RestoreMarker *m, Err *err)
{
    struct stat st;

    if (fstat(m->fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == geteuid() && st.st_nlink == 1)
        return 0;
    err_set(err, ERR_CONFLICT, RESTORE_MARKER " is not this user's own file");
    return err_hint(err, "remove the folder, or name another one");
}

/* PostgreSQL's own file of the pid, whose process works in the folder. */
static bool is_running(const char *to)
{
    _cleanup_free_ char *path = path_join(to, "postmaster.pid");
    _cleanup_(buf_clear) Buf text = BUF_INIT(BUF_MAX_LINE);
    char cwd[64], where[4096];
    int64_t pid = 0;

    if (file_read(path, &text, NULL) < 0)
        return false;
    buf_truncate(&text, strcspn(text.p, "\n"));
    if (!parse_int(text.p, 1, INT32_MAX, &pid) || !child_alive((pid_t)pid, 0))
        return false;
    /* The number may be another process's by now. */
    snprintf(cwd, sizeof cwd, "/proc/%d/cwd", (int)pid);
    ssize_t n = readlink(cwd, where, sizeof where - 1);
    _cleanup_free_ char *real = realpath(to, NULL);
    return n < 0 || !real || str_eq((Str){where, (size_t)n}, str_of(real));
}

/* An unfinished folder may have been started all the same, and be in use since: then it is not ours
 * any more. postmaster.opts has the words of whatever was started last; those of a restore have its
 * restore_command. */
static int check_untouched(const char *to, Err *err)
{
    _cleanup_free_ char *path = path_join(to, "postmaster.opts");
    _cleanup_(buf_clear) Buf words = BUF_INIT(BUF_MAX_BODY);
    bool started = file_read(path, &words, NULL) == 0;
    bool ours = strstr(words.p, " backup segment ") != NULL;

    /* The server of a restore that was killed ends with it. */
    for (int i = 0; i < GONE_TRIES && is_running(to); i++)
        time_sleep(ours ? GONE_MS : 0);
    if (!is_running(to) && (!started || ours))
        return 0;
    err_set(err, ERR_CONFLICT, "PostgreSQL %s %s, whose restore was not finished",
            is_running(to) ? "runs on" : "was started on", to);
    return err_hint(err, "nothing is changed there: restore to another folder; what is in this one "
                         "is not complete. If it may go, stop the server and remove the folder");
}

static int marker_begin(const RestoreOptions *o, const StrList *outer, RestoreMarker *m, Err *err)
{
    _cleanup_(buf_clear) Buf text = BUF_INIT(BUF_MAX_BODY);
    _cleanup_free_ char *header = header_new(o, outer);
    Str old = {"", 0};
    int r = check_untouched(o->to, err);

    if (r == 0)
        r = marker_read(m, &text, &old, err);
    if (r == 0 && old.n > 0 && str_eq(old, str_of(header))) {
        m->resumed = true;
        if (ftruncate(m->fd, (off_t)text.len) < 0 || lseek(m->fd, 0, SEEK_END) < 0)
            r = err_set(err, ERR_IO, "writing " RESTORE_MARKER ": %m");
        return r;
    }
    strlist_clear(&m->done);
    if (r == 0)
        r = empty_folder(o->to, old, err);
    for (size_t i = 0; r == 0 && i < outer->len; i++)
        r = check_empty(outer->items[i], err);
    if (r == 0 && (ftruncate(m->fd, 0) < 0 || lseek(m->fd, 0, SEEK_SET) < 0))
        r = err_set(err, ERR_IO, "writing " RESTORE_MARKER ": %m");
    if (r == 0)
        r = marker_add(m, header, err);
    return r;
}

int marker_open(const RestoreOptions *o, const RestorePlan *plan, RestoreMarker *ret, Err *err)
{
    _cleanup_free_ char *path = path_join(o->to, RESTORE_MARKER), *above = path_folder(o->to);
    _cleanup_(strlist_clear) StrList outer = {0};
    _cleanup_(marker_close) RestoreMarker m = {.fd = -1};
    struct stat st;
    int r = plan_tablespaces_check(plan, o->tablespaces, err);

    outer_folders(o, plan, &outer);
    if (r == 0 && lstat(path, &st) == 0 && !S_ISREG(st.st_mode))
        return err_set(err, ERR_CONFLICT, "%s is no file of a restore's", path);
    if (r == 0 && !file_exists(path))
        r = check_empty(o->to, err);
    if (r == 0)
        r = file_mkdirs(above, 0755, err);
    if (r == 0)
        r = file_mkdirs(o->to, 0700, err);
    if (r == 0)
        r = file_lock(path, &m.fd, err);
    if (r == -ERR_HELD)
        return err_set(err, ERR_CONFLICT, "another restore works on %s", o->to);
    if (r == 0)
        r = check_marker(&m, err);
    if (r == 0)
        r = marker_begin(o, &outer, &m, err);
    if (r < 0)
        return r;
    *ret = m;
    m = (RestoreMarker){.fd = -1};
    return 0;
}

/* All that is on its disk. */
static int sync_disk_of(const char *folder, Err *err)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int r = fd < 0 || syncfs(fd) < 0 ? err_set(err, ERR_IO, "writing %s to disk: %m", folder) : 0;

    if (fd >= 0)
        close(fd);
    return r;
}

int marker_finish(const RestoreOptions *o, const RestorePlan *plan, RestoreMarker *m, Err *err)
{
    _cleanup_free_ char *path = path_join(o->to, RESTORE_MARKER);
    _cleanup_(strlist_clear) StrList outer = {0};
    int r = sync_disk_of(o->to, err);

    outer_folders(o, plan, &outer);
    for (size_t i = 0; r == 0 && i < outer.len; i++)
        r = sync_disk_of(outer.items[i], err);
    if (r == 0 && unlink(path) < 0)
        r = err_set(err, ERR_IO, "removing %s: %m", path);
    if (r == 0)
        r = file_sync_folder(o->to, err);
    marker_close(m);
    return r;
}

/* The programs must be of the major version that the backup's cluster was of. */
static int check_programs(const RestoreOptions *o, const RestoreOwner *owner, Err *err)
{
    _cleanup_free_ char *postgres = path_join(o->programs, "postgres");
    const char *const argv[] = {postgres, "--version", NULL};
    _cleanup_(buf_clear) Buf out = BUF_INIT(BUF_MAX_LINE);
    const ChildSpec spec = {.argv = argv, .user = owner->user, .cwd = "/"};
    int64_t wanted = json_int(o->choice->base->facts, "version", 0) / 10000;
    int status = 0;
    int r = child_run(&spec, STR_LIT(""), PROGRAM_TIMEOUT_MS, &out, &status, err);

    if (r < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        err_set(err, ERR_CONFIG, "%s does not run", postgres);
        return err_hint(err,
                        "`programs` of the settings is the folder of PostgreSQL %lld's "
                        "programs",
                        (long long)wanted);
    }
    const char *version = strstr(out.p, "PostgreSQL) ");
    long major = version ? strtol(version + strlen("PostgreSQL) "), NULL, 10) : 0;
    if (wanted == 0 || major == wanted)
        return 0;
    err_set(err, ERR_CONFIG, "the backup is of PostgreSQL %lld, and %s is %ld's", (long long)wanted,
            postgres, major);
    return err_hint(err,
                    "install postgresql-%lld and set `programs`; another major version can't "
                    "read the files",
                    (long long)wanted);
}

/* Room for what will be written, before anything is: holes take none. */
static int check_room(const RestoreOptions *o, const RestorePlan *plan, Err *err)
{
    struct statvfs st;
    int64_t need = 0;

    for (size_t i = 0; i < plan->packs.len; i++)
        need += plan->packs.items[i].pages * PAGE_BYTES;
    /* With tablespaces elsewhere nobody can tell beforehand. */
    if ((o->tablespaces && o->tablespaces->len > 0) || statvfs(o->to, &st) < 0)
        return 0;
    int64_t room = (int64_t)st.f_bavail * (int64_t)st.f_frsize;
    if (room >= need)
        return 0;
    err_set(err, ERR_QUOTA,
            "no space: %s has %lld MB left, and the files need %lld MB and what "
            "the log adds",
            o->to, (long long)(room / 1000000), (long long)(need / 1000000));
    return err_hint(err, "--to a larger disk");
}

static int load_plan(const RestoreOptions *o, RestorePlan *ret, Err *err)
{
    const Base *b = o->choice->base;
    _cleanup_(buf_clear) Buf whole = BUF_INIT(OBJECT_MAX);
    _cleanup_(buf_clear) Buf list = BUF_INIT((size_t)2 << 30);
    int r = catalogue_fetch(o->store, &o->catalogue->hosts, b->name, &whole, err);

    if (r == 0)
        r = object_open(buf_as_str(&whole), o->reader, &list, err);
    if (r == -ERR_DENIED)
        err_hint(err, "the backup is sealed to other keys: see `recipients`; --recovery-file reads "
                      "it with the recovery key");
    if (r == 0)
        r = restore_plan(b->facts, buf_as_str(&list), ret, err);
    return r < 0 ? err_wrap(err, "the backup %s", b->id) : 0;
}

/* PostgreSQL itself would refuse to run as root, but not all its programs do. */
static int find_owner(const RestoreOptions *o, RestoreOwner *ret, RestoreResult *result, Err *err)
{
    const struct passwd *me = getpwuid(geteuid());

    *ret = (RestoreOwner){0};
    snprintf(result->user, sizeof result->user, "%s", me ? me->pw_name : "");
    if (geteuid() != 0)
        return 0;
    ret->user = o->user ? o->user : "postgres";
    snprintf(result->user, sizeof result->user, "%s", ret->user);
    int r = child_user(ret->user, &ret->uid, &ret->gid, err);
    if (r == 0 && ret->uid == 0)
        r = err_set(err, ERR_USAGE, "%s is root", ret->user);
    return r < 0 ? err_hint(err, "PostgreSQL does not run as root: --user NAME") : 0;
}

/* PostgreSQL, as its own user, has to get at the folder and at the client: better said before
 * anything is fetched. */
static int check_reach(const RestoreOptions *o, const RestoreOwner *owner, Err *err)
{
    char *above = path_folder(o->to);

    /* Those that are not there yet are made so that it can. */
    while (!file_exists(above) && !streq(above, "/")) {
        char *next = path_folder(above);
        free(above);
        above = next;
    }
    _cleanup_free_ char *nearest = above;
    const char *const paths[] = {nearest, o->client, NULL};
    for (size_t i = 0; owner->user && paths[i]; i++) {
        const char *const argv[] = {"/usr/bin/test", "-x", paths[i], NULL};
        const ChildSpec spec = {.argv = argv, .user = owner->user, .cwd = "/"};
        int status = 0;
        int r = child_run(&spec, STR_LIT(""), PROGRAM_TIMEOUT_MS, NULL, &status, err);
        if (r < 0)
            return r;
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
            err_set(err, ERR_CONFIG, "the user %s, who PostgreSQL runs as, can't reach %s",
                    owner->user, paths[i]);
            return err_hint(err, "give it the right to enter each folder above (chmod o+x), or "
                                 "take another place");
        }
    }
    return 0;
}

static int write_signal(const RestoreOptions *o, const RestoreOwner *owner, RestoreMarker *m,
                        Err *err)
{
    _cleanup_free_ char *path = path_join(o->to, "recovery.signal");
    uid_t uid = owner->user ? owner->uid : (uid_t)-1;
    gid_t gid = owner->user ? owner->gid : (gid_t)-1;

    if (marker_has(m, "log"))
        return 0; /* without the file, recovery is over */
    int r = file_write_as(path, STR_LIT(""), 0600, uid, gid, err);
    return r < 0 ? r : marker_add(m, "log", err);
}

int restore_blame(int r, RestoreResult *ret)
{
    ret->base_bad = object_is_bad(r);
    return r;
}

static int restore_parts(const RestoreOptions *o, const RestorePlan *plan,
                         const RestoreOwner *owner, RestoreMarker *m, RestoreResult *ret, Err *err)
{
    Msec started = time_mono();
    int r = 0;

    if (!marker_has(m, "files")) {
        if (!m->resumed)
            r = check_room(o, plan, err);
        if (r == 0)
            r = restore_blame(restore_files(o, plan, owner, m, ret, err), ret);
    }
    ret->files_ms = time_mono() - started;
    if (r == 0 && o->files_ready && !marker_has(m, "log"))
        r = o->files_ready(o->ready_user, err);
    /* What somebody looks at in between is not restoring. */
    Msec between = time_mono() - started - ret->files_ms;
    if (r == 0)
        r = write_signal(o, owner, m, err);
    if (r == 0)
        r = restore_log(o, owner, started + between, ret, err);
    return r;
}

static int restore_once(const RestoreOptions *o, RestoreResult *ret, Err *err)
{
    _cleanup_(restore_plan_clear) RestorePlan plan = {0};
    _cleanup_(marker_close) RestoreMarker m = {.fd = -1};
    RestoreOwner owner = {0};
    uint64_t before = store_requests(o->store);
    int r = find_owner(o, &owner, ret, err);

    if (r == 0)
        r = check_programs(o, &owner, err);
    if (r == 0)
        r = check_reach(o, &owner, err);
    if (r == 0)
        r = restore_blame(load_plan(o, &plan, err), ret);
    if (r == 0)
        r = marker_open(o, &plan, &m, err);
    if (r < 0)
        return r;
    ret->resumed = m.resumed;
    strlist_clear(&ret->outer);
    outer_folders(o, &plan, &ret->outer);
    r = restore_parts(o, &plan, &owner, &m, ret, err);
    if (r == 0 && !o->keep_running)
        r = marker_finish(o, &plan, &m, err);
    ret->requests += store_requests(o->store) - before;
    return r;
}

int restore_run(const RestoreOptions *o, RestoreResult *ret, Err *err)
{
    int r = restore_once(o, ret, err);

    while (r == -ERR_CORRUPT && ret->rubbish.len > 0 && o->without) {
        err_clear(err);
        r = o->without(o->without_user, &ret->rubbish, err);
        strlist_clear(&ret->rubbish);
        if (r == 0)
            r = restore_once(o, ret, err);
    }
    return r;
}
