/* A backup's files: packs are fetched by a pool's threads, which write the pages where they belong.
 */
#include "backup/pool.h"
#include "backup/restore_work.h"
#include "io/crypt.h"
#include "io/file.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define HEAD_GUESS ((int64_t)16 << 10)
#define FRAME_BYTES ((size_t)16 << 20)
#define TICK_MS 200
#define THREADS_MOST ((size_t)8) /* each holds a range and a frame */

typedef struct Files {
    const RestoreOptions *o;
    const RestorePlan *plan;
    int folder;           /* of the cluster */
    _Atomic int64_t done; /* bytes written */
    _Atomic int64_t fetched;
} Files;

typedef struct PackJob {
    Files *files;
    const PlanPack *pack;
    size_t index;
    Err err;
    /* The file that was written last stays open: the next run is most likely its too. */
    int fd;
    uint32_t file;
} PackJob;

static int write_error(const char *path, Err *err)
{
    bool full = errno == ENOSPC || errno == EDQUOT;

    err_set(err, full ? ERR_QUOTA : ERR_IO, "writing %s: %m", path);
    return full ? err_hint(err, "make room and run the same command again: it goes on")
                : -(int)ERR_IO;
}

static int write_use(PackJob *job, const PlanUse *u, Str plain, Err *err)
{
    const PlanFile *f = &job->files->plan->files.items[u->file];
    off_t at = (off_t)u->file_page * PAGE_BYTES;
    size_t n = (size_t)MIN((off_t)u->pages * PAGE_BYTES, f->size - at);
    size_t from = (size_t)u->page * PAGE_BYTES;

    if (from > plain.n || n > plain.n - from)
        return err_set(err, ERR_CORRUPT, "%s has not the pages that the manifest says",
                       job->pack->name);
    if (job->fd < 0 || job->file != u->file) {
        if (job->fd >= 0)
            close(job->fd);
        job->fd = openat(job->files->folder, f->path, O_WRONLY | O_CLOEXEC);
        job->file = u->file;
        if (job->fd < 0)
            return write_error(f->path, err);
    }
    for (size_t done = 0; done < n;) {
        ssize_t w = pwrite(job->fd, plain.p + from + done, n - done, at + (off_t)done);
        if (w < 0 && errno == EINTR)
            continue;
        if (w <= 0)
            return write_error(f->path, err);
        done += (size_t)w;
    }
    job->files->done += (int64_t)n;
    return 0;
}

/* Opens the frames of a range and writes what is wanted of them. *use goes on from range to range.
 */
static int write_range(PackJob *job, const ObjectHead *head, const Secret *key,
                       const PlanRange *range, Str stored, size_t *use, Err *err)
{
    _cleanup_(buf_clear) Buf plain = BUF_INIT(FRAME_BYTES);
    int r = 0;

    BUG_IF(range->last >= head->frames.len); /* plan_ranges */
    for (uint32_t i = range->first; r == 0 && i <= range->last; i++) {
        const ObjectFrame *f = &head->frames.items[i];
        Str frame = {stored.p, f->stored};
        if (f->stored > stored.n)
            return err_set(err, ERR_CORRUPT, "%s is cut short", job->pack->name);
        stored = (Str){stored.p + f->stored, stored.n - f->stored};
        if (*use >= job->pack->uses.len || job->pack->uses.items[*use].frame != i)
            continue;
        buf_truncate(&plain, 0);
        r = object_frame_open(key, i, frame, f->plain, &plain, err);
        while (r == 0 && *use < job->pack->uses.len && job->pack->uses.items[*use].frame == i)
            r = write_use(job, &job->pack->uses.items[(*use)++], buf_as_str(&plain), err);
    }
    return r < 0 ? err_wrap(err, "%s", job->pack->name) : 0;
}

/* Is it a pack of this cluster, and may this key read it? */
static int pack_key(const PackJob *job, const ObjectHead *head, Secret **ret, Err *err)
{
    const RestoreOptions *o = job->files->o;

    if (head->kind != OBJECT_PACK)
        return err_set(err, ERR_CORRUPT, "%s is no pack", job->pack->name);
    if (*o->catalogue->system && !streq(head->system, o->catalogue->system))
        return err_set(err, ERR_CORRUPT, "%s is of another cluster (system identifier %s)",
                       job->pack->name, head->system);
    int r = object_key(head, o->reader, ret, err);
    return r < 0 ? err_wrap(err, "%s", job->pack->name) : 0;
}

/* The whole pack in one request; its hash and signature tell that it is what it was. */
static int work_whole(Store *store, PackJob *job, Err *err)
{
    _cleanup_(buf_clear) Buf whole = BUF_INIT(OBJECT_MAX);
    _cleanup_(object_head_clear) ObjectHead head = {0};
    _cleanup_secret_ Secret *key = NULL;
    PlanRanges ranges = {0};
    size_t use = 0;
    int r = catalogue_fetch(store, &job->files->o->catalogue->hosts, job->pack->name, &whole, err);

    job->files->fetched += (int64_t)whole.len;
    if (r == 0)
        r = object_head_whole(buf_as_str(&whole), &head, err);
    if (r == 0)
        r = pack_key(job, &head, &key, err);
    if (r == 0)
        r = plan_ranges(&head, job->pack, 0, &ranges, err);
    for (size_t i = 0; r == 0 && i < ranges.len; i++) {
        Str stored = {whole.p + ranges.items[i].offset, ranges.items[i].bytes};
        if (ranges.items[i].offset + ranges.items[i].bytes > whole.len)
            r = err_set(err, ERR_CORRUPT, "%s is cut short", job->pack->name);
        else
            r = write_range(job, &head, key, &ranges.items[i], stored, &use, err);
    }
    vec_clear(&ranges);
    return r;
}

/* Its head, checked against the manifest's hash of it. */
static int get_head(Store *store, const PackJob *job, ObjectHead *ret, Err *err)
{
    _cleanup_(buf_clear) Buf start = BUF_INIT(BUF_MAX_BODY);
    _cleanup_(buf_clear) Buf hash = BUF_INIT(OBJECT_HASH_MAX);
    _cleanup_(object_head_clear) ObjectHead head = {0};
    int64_t want = MIN(HEAD_GUESS, job->pack->bytes);
    size_t need = 0;

    for (;;) {
        int r = store_get(store, job->pack->name, (int64_t)start.len, want, &start, err);
        if (r == 0)
            r = object_head(buf_as_str(&start), &need, &head, err);
        if (r == 0 && need > (size_t)job->pack->bytes)
            r = err_set(err, ERR_CORRUPT, "its head is longer than itself");
        if (r < 0)
            return err_wrap(err, "%s", job->pack->name);
        if (need == 0)
            break;
        want = (int64_t)need - (int64_t)start.len;
    }
    if (head.frames_at > start.len)
        return err_set(err, ERR_CORRUPT, "%s: its head is cut short", job->pack->name);
    crypt_hash(CRYPT_SHA256, (Str){start.p, head.frames_at}, &hash);
    if (!streq(hash.p, job->pack->head) || head.bytes != (size_t)job->pack->bytes)
        return err_set(err, ERR_CORRUPT, "%s is not the pack that the backup was made with",
                       job->pack->name);
    job->files->fetched += (int64_t)start.len;
    *ret = head;
    head = (ObjectHead){0};
    return 0;
}

static int work_ranges(Store *store, PackJob *job, Err *err)
{
    _cleanup_(object_head_clear) ObjectHead head = {0};
    _cleanup_secret_ Secret *key = NULL;
    PlanRanges ranges = {0};
    size_t use = 0;
    int r = get_head(store, job, &head, err);

    if (r == 0)
        r = pack_key(job, &head, &key, err);
    if (r == 0)
        r = plan_ranges(&head, job->pack, PLAN_GAP_BYTES, &ranges, err);
    for (size_t i = 0; r == 0 && i < ranges.len; i++) {
        const PlanRange *range = &ranges.items[i];
        _cleanup_(buf_clear) Buf stored = BUF_INIT(OBJECT_MAX);
        r = store_get(store, job->pack->name, (int64_t)range->offset, (int64_t)range->bytes,
                      &stored, err);
        job->files->fetched += (int64_t)stored.len;
        if (r == 0)
            r = write_range(job, &head, key, range, buf_as_str(&stored), &use, err);
    }
    vec_clear(&ranges);
    return r;
}

static void *worker_begin(void *user)
{
    const Files *f = user;

    return store_clone(f->o->store);
}

static void worker_work(void *state, void *arg)
{
    PackJob *job = arg;
    /* A manifest may leave out what the head must be: then only the whole can be checked. */
    bool whole = !*job->pack->head;
    int r = whole ? work_whole(state, job, &job->err) : work_ranges(state, job, &job->err);

    if (!whole && object_is_bad(r)) {
        /* Somebody wrote over it, or hid it: an earlier version is found by the hash of the whole.
         */
        err_clear(&job->err);
        r = work_whole(state, job, &job->err);
    }
    if (job->fd >= 0)
        close(job->fd);
    job->fd = -1;
    if (r == -ERR_NOT_FOUND)
        (void)err_set(&job->err, ERR_CORRUPT,
                      "%s is in the backup's manifest, and the store has it not", job->pack->name);
}

static void worker_end(void *state)
{
    (void)store_free(state);
}

static void job_free(void *arg)
{
    PackJob *job = arg;

    err_clear(&job->err);
    free(job);
}

static void tell(const Files *f)
{
    if (f->o->progress)
        f->o->progress(f->o->progress_user, &(RestoreProgress){"files", f->done, f->plan->bytes});
}

static int take_one(Files *f, Pool *pool, RestoreMarker *m, Err *err)
{
    PackJob *job = pool_take(pool, false);
    char line[40];
    int r = 0;

    if (!job) {
        struct pollfd p = {.fd = pool_fd(pool), .events = POLLIN};
        (void)poll(&p, 1, TICK_MS); /* an interruption is looked for by the caller */
        tell(f);
        return 0;
    }
    if (job->err.kind) {
        r = err_move(err, &job->err);
    } else {
        snprintf(line, sizeof line, "pack %zu", job->index);
        r = marker_add(m, line, err);
    }
    job_free(job);
    return r;
}

static bool pack_done(const RestoreMarker *m, size_t index)
{
    char line[40];

    snprintf(line, sizeof line, "pack %zu", index);
    return marker_has(m, line);
}

static int write_packs(Files *f, RestoreMarker *m, Err *err)
{
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    size_t most = MIN((size_t)MAX(cpus, 1) * 2, THREADS_MOST), next = 0;
    size_t threads = f->o->threads ? f->o->threads : most;
    const PoolWork work = {worker_begin, worker_work, worker_end, f};
    Pool *pool = pool_new(&work, threads, threads * 2);
    int r = 0;

    while (r == 0 && (next < f->plan->packs.len || pool_count(pool) > 0)) {
        for (; next < f->plan->packs.len && !pool_full(pool); next++) {
            const PlanPack *pack = &f->plan->packs.items[next];
            if (pack->uses.len == 0)
                continue;
            if (pack_done(m, next)) {
                f->done += pack->pages * PAGE_BYTES;
                continue;
            }
            PackJob *job = NEW(PackJob);
            *job = (PackJob){.files = f, .pack = pack, .index = next, .fd = -1};
            pool_push(pool, job);
        }
        if (pool_count(pool) > 0)
            r = take_one(f, pool, m, err);
        if (r == 0 && f->o->stop && *f->o->stop)
            r = err_set(err, ERR_INTERRUPTED, "interrupted; the same command goes on");
    }
    (void)pool_free(pool, job_free);
    return r;
}

static int own(int fd, const char *path, const RestoreOwner *owner, Err *err)
{
    if (owner->user && fchown(fd, owner->uid, owner->gid) < 0)
        return err_set(err, ERR_IO, "giving %s to %s: %m", path, owner->user);
    return 0;
}

static int make_folder_at(int folder, const char *path, unsigned mode, const RestoreOwner *owner,
                          Err *err)
{
    if (mkdirat(folder, path, mode) < 0 && errno != EEXIST)
        return write_error(path, err);
    int fd = openat(folder, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_set(err, ERR_IO, "opening %s: %m", path);
    int r = own(fd, path, owner, err);
    if (r == 0 && fchmod(fd, mode) < 0)
        r = err_set(err, ERR_IO, "the mode of %s: %m", path);
    close(fd);
    return r;
}

static int make_file(const Files *f, const PlanFile *p, const RestoreOwner *owner, Err *err)
{
    int fd = openat(f->folder, p->path, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return write_error(p->path, err);
    int r = own(fd, p->path, owner, err);
    if (r == 0 && ftruncate(fd, p->size) < 0)
        r = write_error(p->path, err);
    if (r == 0 && fchmod(fd, p->mode ? p->mode : 0600) < 0)
        r = err_set(err, ERR_IO, "the mode of %s: %m", p->path);
    close(fd);
    return r;
}

static int make_tablespace(const Files *f, const PlanFile *p, const RestoreOwner *owner, Err *err)
{
    _cleanup_free_ char *target = plan_tablespace_new(p, f->o->to, f->o->tablespaces);
    int r = file_mkdirs(target, 0700, err);

    if (r == 0)
        r = make_folder_at(AT_FDCWD, target, 0700, owner, err);
    if (r == 0 && unlinkat(f->folder, p->path, 0) < 0 && errno != ENOENT)
        r = err_set(err, ERR_IO, "replacing %s: %m", p->path);
    if (r == 0 && symlinkat(target, f->folder, p->path) < 0)
        r = write_error(p->path, err);
    if (r == 0 && owner->user &&
        fchownat(f->folder, p->path, owner->uid, owner->gid, AT_SYMLINK_NOFOLLOW) < 0)
        r = err_set(err, ERR_IO, "giving %s to %s: %m", p->path, owner->user);
    return r;
}

static bool is_unwanted(const char *path)
{
    /* The map would have PostgreSQL make the old links again; the signals would make a standby of
     * it, or ask for another recovery. */
    static const char *const not_wanted[] = {"tablespace_map", "standby.signal",  "recovery.signal",
                                             "postmaster.pid", "postmaster.opts", NULL};

    for (size_t i = 0; not_wanted[i]; i++)
        if (streq(not_wanted[i], path))
            return true;
    return false;
}

static int make_one(const Files *f, const PlanFile *p, const RestoreOwner *owner, Err *err)
{
    switch (p->kind) {
    case PLAN_DIR:
        return make_folder_at(f->folder, p->path, p->mode ? p->mode : 0700, owner, err);
    case PLAN_LINK:
        return make_tablespace(f, p, owner, err);
    case PLAN_FILE:
        break;
    }
    return make_file(f, p, owner, err);
}

/* Folders by depth, so that each finds the one that it is in; a tablespace's link is made when its
 * folder in pg_tblspc is there, and before what is in it. */
static int make_files(const Files *f, const RestoreOwner *owner, Err *err)
{
    static const char *const always[] = {"pg_wal", "pg_wal/archive_status", "pg_tblspc", NULL};
    int r = make_folder_at(AT_FDCWD, f->o->to, 0700, owner, err);
    _cleanup_free_ char *spaces = path_join(f->o->to, "tablespaces");

    for (size_t i = 0; r == 0 && always[i]; i++)
        r = make_folder_at(f->folder, always[i], 0700, owner, err);
    for (int pass = PLAN_LINK; r == 0 && pass >= PLAN_FILE; pass--)
        for (size_t i = 0; r == 0 && i < f->plan->files.len; i++) {
            const PlanFile *p = &f->plan->files.items[i];
            if ((int)p->kind == pass)
                r = make_one(f, p, owner, err);
        }
    if (r == 0 && file_exists(spaces))
        r = make_folder_at(AT_FDCWD, spaces, 0700, owner, err);
    return r;
}

/* They are made like all others, since pages are written to them; what PostgreSQL must not see goes
 * again. */
static int remove_unwanted(const Files *f, Err *err)
{
    for (size_t i = 0; i < f->plan->files.len; i++) {
        const PlanFile *p = &f->plan->files.items[i];
        if (p->kind == PLAN_FILE && is_unwanted(p->path) && unlinkat(f->folder, p->path, 0) < 0 &&
            errno != ENOENT)
            return err_set(err, ERR_IO, "removing %s: %m", p->path);
    }
    return 0;
}

int restore_files(const RestoreOptions *o, const RestorePlan *plan, const RestoreOwner *owner,
                  RestoreMarker *m, RestoreResult *ret, Err *err)
{
    Files f = {.o = o, .plan = plan};

    f.folder = open(o->to, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (f.folder < 0)
        return err_set(err, ERR_IO, "opening %s: %m", o->to);
    int r = make_files(&f, owner, err);
    if (r == 0)
        r = write_packs(&f, m, err);
    if (r == 0)
        r = remove_unwanted(&f, err);
    if (r == 0)
        r = marker_add(m, "files", err);
    ret->fetched_bytes += f.fetched;
    ret->file_bytes = plan->bytes;
    close(f.folder);
    return r;
}
