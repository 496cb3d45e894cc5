#include "host/driver.h"
#include "io/child.h"
#include "io/crypt.h"
#include "io/file.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX_BYTES ((size_t)1 << 20)

const char *service_state_word(ServiceState s)
{
    static const char *const words[] = {
        [SERVICE_WAITING] = "waiting",   [SERVICE_STARTING] = "starting",
        [SERVICE_HEALTHY] = "healthy",   [SERVICE_FAILED] = "failed",
        [SERVICE_STOPPING] = "stopping", [SERVICE_STOPPED] = "stopped"};
    return words[s];
}

void service_dir(Service *s, unsigned mode, char *path)
{
    vec_push(&s->dirs, (ServiceDir){.path = path, .mode = mode});
}

Buf *service_file(Service *s, unsigned mode, char *path)
{
    vec_push(&s->files,
             (ServiceFile){.path = path, .content = BUF_INIT(FILE_MAX_BYTES), .mode = mode});
    return &vec_last(&s->files)->content;
}

static bool same_list(const StrList *a, const StrList *b)
{
    if (a->len != b->len)
        return false;
    for (size_t i = 0; i < a->len; i++)
        if (!streq(a->items[i], b->items[i]))
            return false;
    return true;
}

bool service_same(const Service *a, const Service *b)
{
    return streq(a->name, b->name) && same_list(&a->argv, &b->argv) && streq(a->image, b->image) &&
           streq(a->image_user, b->image_user) && same_list(&a->image_args, &b->image_args) &&
           same_list(&a->env, &b->env) && streq(a->cwd, b->cwd) && streq(a->user, b->user) &&
           a->once == b->once;
}

bool service_same_files(const Service *a, const Service *b)
{
    if (a->files.len != b->files.len)
        return false;
    for (size_t i = 0; i < a->files.len; i++) {
        const ServiceFile *x = &a->files.items[i], *y = &b->files.items[i];
        if (!streq(x->path, y->path) || x->mode != y->mode ||
            !str_eq(buf_as_str(&x->content), buf_as_str(&y->content)))
            return false;
    }
    return true;
}

static void hash_text(Buf *b, const char *text)
{
    buf_add(b, text ? text : "", (text ? strlen(text) : 0) + 1);
}

static void hash_list(Buf *b, const StrList *l)
{
    for (size_t i = 0; i < l->len; i++)
        hash_text(b, l->items[i]);
    hash_text(b, NULL);
}

void service_hash(const Service *s, char ret[static 17])
{
    _cleanup_(buf_wipe) Buf all = BUF_INIT(64 * FILE_MAX_BYTES);
    _cleanup_(buf_clear) Buf hex = BUF_INIT(BUF_MAX_LINE);

    hash_list(&all, &s->argv);
    hash_list(&all, &s->env);
    if (s->image)
        hash_text(&all, s->image);
    if (s->image_user) {
        hash_text(&all, s->image_user);
        hash_list(&all, &s->image_args);
    }
    hash_text(&all, s->cwd);
    hash_text(&all, s->user);
    for (size_t i = 0; i < s->files.len; i++) {
        hash_text(&all, s->files.items[i].path);
        buf_add(&all, s->files.items[i].content.p, s->files.items[i].content.len);
        hash_text(&all, NULL);
    }
    crypt_hash(CRYPT_SHA256, buf_as_str(&all), &hex);
    snprintf(ret, 17, "%.16s", hex.p);
}

int stop_signal(ServiceStop rule, StopStep step)
{
    static const struct {
        int first, last;
    } rows[] = {
        [STOP_TERM] = {SIGTERM, SIGKILL},
        [STOP_QUIET_TERM] = {SIGTERM, SIGKILL},
        [STOP_FAST] = {SIGINT, SIGQUIT},
    };

    return step == STOP_STEP_ALL    ? SIGKILL
           : step == STOP_STEP_LAST ? rows[rule].last
                                    : rows[rule].first;
}

/* A folder below /tmp has a name that anyone can foresee: what stands there already must be ours or
 * the service's, and no link to somewhere else. All is asked and done of the open folder, because
 * the service's user may own the one above and change names in it meanwhile. */
static int own_dir(int fd, const ServiceDir *d, uid_t uid, gid_t gid, Err *err)
{
    struct stat st;

    if (fstat(fd, &st) < 0)
        return err_set(err, ERR_IO, "cannot look at %s: %m", d->path);
    if (st.st_uid != geteuid() && st.st_uid != uid)
        return err_set(err, ERR_IO, "%s belongs to another user", d->path);
    if (uid != (uid_t)-1 && fchown(fd, uid, gid) < 0)
        return err_set(err, ERR_IO, "cannot give %s to its user: %m", d->path);
    if (fchmod(fd, d->mode) < 0)
        return err_set(err, ERR_IO, "cannot set the mode of %s: %m", d->path);
    return 0;
}

static int make_dir(const ServiceDir *d, uid_t uid, gid_t gid, Err *err)
{
    _cleanup_free_ char *parent = path_folder(d->path);

    int r = file_mkdirs(parent, 0711, err);
    if (r < 0)
        return r;
    if (mkdir(d->path, 0700) < 0 && errno != EEXIST)
        return err_set(err, ERR_IO, "cannot make the folder %s: %m", d->path);
    int fd = open(d->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOTDIR || errno == ELOOP
                   ? err_set(err, ERR_IO, "%s is in the way: it is not a folder", d->path)
                   : err_set(err, ERR_IO, "cannot open the folder %s: %m", d->path);
    r = own_dir(fd, d, uid, gid, err);
    close(fd);
    return r;
}

/* "1000:0" */
static bool read_numbers(const char *text, uid_t *ret_uid, gid_t *ret_gid)
{
    Str rest = str_of(text), first;
    int64_t uid, gid;

    if (!str_next(&rest, ':', &first))
        return false;
    _cleanup_free_ char *user = xstrndup(first.p, first.n), *group = xstrndup(rest.p, rest.n);
    if (!parse_int(user, 0, INT32_MAX, &uid) || !parse_int(group, 0, INT32_MAX, &gid))
        return false;
    *ret_uid = (uid_t)uid;
    *ret_gid = (gid_t)gid;
    return true;
}

int service_prepare(const Service *s, const char *owner, Err *err)
{
    uid_t uid = (uid_t)-1;
    gid_t gid = (gid_t)-1;

    /* In a container folders belong to a number, whoever that is on this machine. */
    bool numbers = owner && s->image_user && read_numbers(s->image_user, &uid, &gid);
    int r = owner && !numbers ? child_user(owner, &uid, &gid, err) : 0;
    for (size_t i = 0; r == 0 && i < s->dirs.len; i++)
        r = make_dir(&s->dirs.items[i], uid, gid, err);
    for (size_t i = 0; r == 0 && i < s->files.len; i++) {
        const ServiceFile *f = &s->files.items[i];
        if (f->content.overflow)
            return err_set(err, ERR_CONFIG, "%s would be larger than %zu bytes", f->path,
                           f->content.max);
        r = file_write_as(f->path, buf_as_str(&f->content), f->mode, uid, gid, err);
    }
    return r;
}

void service_clear(Service *s)
{
    free(s->name);
    strlist_clear(&s->argv);
    free(s->image);
    free(s->image_user);
    strlist_clear(&s->image_args);
    strlist_wipe(&s->env); /* it may hold secrets */
    free(s->cwd);
    free(s->user);
    strlist_clear(&s->after);
    for (size_t i = 0; i < s->dirs.len; i++)
        free(s->dirs.items[i].path);
    vec_clear(&s->dirs);
    for (size_t i = 0; i < s->files.len; i++) {
        free(s->files.items[i].path);
        buf_wipe(&s->files.items[i].content);
    }
    vec_clear(&s->files);
    free(s->skip_path);
    free(s->progress_path);
    free(s->health_address);
    free(s->health_path);
    free(s->machine);
    *s = (Service){0};
}

bool services_have(const Services *s, const char *name)
{
    for (size_t i = 0; i < s->len; i++)
        if (streq(s->items[i].name, name))
            return true;
    return false;
}

void services_clear(Services *s)
{
    for (size_t i = 0; i < s->len; i++)
        service_clear(&s->items[i]);
    vec_clear(s);
}
