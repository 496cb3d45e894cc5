#include "host/service.h"
#include "io/file.h"

#include <errno.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX_BYTES ((size_t)1 << 20)

const char *service_state_word(ServiceState s)
{
    static const char *const words[] = {[SERVICE_WAITING] = "waiting",
                                        [SERVICE_STARTING] = "starting",
                                        [SERVICE_HEALTHY] = "healthy",
                                        [SERVICE_FAILED] = "failed",
                                        [SERVICE_STOPPED] = "stopped"};
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
    return streq(a->name, b->name) && same_list(&a->argv, &b->argv) &&
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

/* Who is to own things: -1 for "as it is". */
static int find_owner(const char *name, uid_t *ret_uid, gid_t *ret_gid, Err *err)
{
    char text[16 << 10];
    struct passwd pw, *found = NULL;

    *ret_uid = (uid_t)-1;
    *ret_gid = (gid_t)-1;
    if (!name)
        return 0;
    int e = getpwnam_r(name, &pw, text, sizeof text, &found);
    if (e != 0 || !found)
        return err_set(err, ERR_IO, "there is no user %s on this server", name);
    *ret_uid = pw.pw_uid;
    *ret_gid = pw.pw_gid;
    return 0;
}

static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash && slash > path ? xstrndup(path, (size_t)(slash - path)) : xstrdup("/");
}

/* A folder below /tmp has a name that anyone can foresee: what stands there already must be ours or
 * the service's, and no link to somewhere else. */
static int check_dir(const ServiceDir *d, uid_t owner, Err *err)
{
    struct stat st;

    if (lstat(d->path, &st) < 0)
        return err_set(err, ERR_IO, "cannot look at %s: %m", d->path);
    if (!S_ISDIR(st.st_mode))
        return err_set(err, ERR_IO, "%s is in the way: it is not a folder", d->path);
    if (st.st_uid != geteuid() && st.st_uid != owner)
        return err_set(err, ERR_IO, "%s belongs to another user", d->path);
    return 0;
}

static int make_dir(const ServiceDir *d, uid_t uid, gid_t gid, Err *err)
{
    _cleanup_free_ char *parent = folder_of(d->path);

    int r = file_mkdirs(parent, 0711, err);
    if (r < 0)
        return r;
    if (mkdir(d->path, 0700) < 0 && errno != EEXIST)
        return err_set(err, ERR_IO, "cannot make the folder %s: %m", d->path);
    r = check_dir(d, uid, err);
    if (r < 0)
        return r;
    if (uid != (uid_t)-1 && chown(d->path, uid, gid) < 0)
        return err_set(err, ERR_IO, "cannot give %s to its user: %m", d->path);
    if (chmod(d->path, d->mode) < 0)
        return err_set(err, ERR_IO, "cannot set the mode of %s: %m", d->path);
    return 0;
}

int service_prepare(const Service *s, const char *owner, Err *err)
{
    uid_t uid;
    gid_t gid;

    int r = find_owner(owner, &uid, &gid, err);
    for (size_t i = 0; r == 0 && i < s->dirs.len; i++)
        r = make_dir(&s->dirs.items[i], uid, gid, err);
    for (size_t i = 0; r == 0 && i < s->files.len; i++) {
        const ServiceFile *f = &s->files.items[i];
        if (f->content.overflow)
            return err_set(err, ERR_CONFIG, "%s would be larger than %zu bytes", f->path,
                           f->content.max);
        r = file_write(f->path, buf_as_str(&f->content), f->mode, err);
        if (r == 0 && uid != (uid_t)-1 && chown(f->path, uid, gid) < 0)
            r = err_set(err, ERR_IO, "cannot give %s to its user: %m", f->path);
    }
    return r;
}

/* The environment may hold secrets. */
static void wipe_list(StrList *l)
{
    for (size_t i = 0; i < l->len; i++)
        explicit_bzero(l->items[i], strlen(l->items[i]));
    strlist_clear(l);
}

void service_clear(Service *s)
{
    free(s->name);
    strlist_clear(&s->argv);
    wipe_list(&s->env);
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
    free(s->health_address);
    free(s->health_path);
    *s = (Service){0};
}

void services_clear(Services *s)
{
    for (size_t i = 0; i < s->len; i++)
        service_clear(&s->items[i]);
    vec_clear(s);
}
