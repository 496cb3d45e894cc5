/* Where an export is written: a folder, or below a prefix in a container. */
#include "backup/container.h"
#include "backup/export.h"
#include "io/file.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOCK "lock"

/* Work folders */

int export_work_open(const char *path, ExportWork *ret, Err *err)
{
    _cleanup_free_ char *lock = path_join(path, LOCK), *above = path_folder(path);
    struct stat st;
    bool made = mkdir(path, 0711) == 0;

    if (!made && errno == ENOENT)
        return err_set(err, ERR_NOT_FOUND, "there is no folder %s", above);
    if (!made && errno != EEXIST)
        return err_set(err, ERR_IO, "cannot make the folder %s: %m", path);
    if (lstat(path, &st) < 0)
        return err_set(err, ERR_IO, "cannot look at %s: %m", path);
    if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid() || (!made && !file_exists(lock)))
        return err_set(err, ERR_CONFLICT, "%s is there, and is not a former run's", path);
    int fd, r = file_lock(lock, &fd, err);
    if (r == -ERR_HELD) {
        err_set(err, ERR_HELD, "another run works in %s", path);
        return err_hint(err, "wait for its end, or --scratch FOLDER");
    }
    if (r < 0)
        return r;
    *ret = (ExportWork){.path = xstrdup(path), .lock = fd};
    _cleanup_(strlist_clear) StrList left = {0};
    r = chmod(path, 0711) < 0 ? err_set(err, ERR_IO, "the mode of %s: %m", path)
                              : file_list(path, &left, err);
    for (size_t i = 0; r == 0 && i < left.len; i++) {
        _cleanup_free_ char *one = path_join(path, left.items[i]);
        if (!streq(left.items[i], LOCK))
            r = file_remove_tree(one, err);
    }
    return r;
}

void export_work_clear(ExportWork *w)
{
    if (!w->path)
        return;
    (void)!file_remove_tree(w->path, NULL); /* the next run removes what is left */
    close(w->lock);
    free(w->path);
    *w = (ExportWork){0};
}

void export_place_clear(ExportPlace *p)
{
    free(p->stage);
    free(p->to);
    free(p->command);
    *p = (ExportPlace){0};
}

static void hand_over(ExportPlace *from, ExportPlace *ret)
{
    *ret = *from;
    *from = (ExportPlace){0};
}

/* A folder */

static int must_be_free(const char *to, Err *err)
{
    int r = file_absent(to, err);

    return r == -ERR_CONFLICT
               ? err_hint(err, "an export is never written over anything: name a new folder")
               : r;
}

static int keep_in_folder(ExportPlace *p, const char *name, Err *err)
{
    (void)p, (void)name, (void)err; /* it is where it belongs */
    return 0;
}

static int end_folder(ExportPlace *p, Err *err)
{
    int r = must_be_free(p->to, err);

    return r < 0 ? r : file_rename(p->stage, p->to, err);
}

int export_to_folder(const char *to, const ExportWork *work, ExportPlace *ret, Err *err)
{
    _cleanup_(export_place_clear)
        ExportPlace p = {.keep = keep_in_folder, .end = end_folder, .to = xstrdup(to)};
    Buf command = BUF_INIT(BUF_MAX_LINE);
    int r = must_be_free(to, err);

    p.stage = path_join(work->path, "export");
    buf_str(&command, "cat ");
    buf_shell_quote(&command, to);
    buf_str(&command, "/" EXPORT_PIECES "*");
    p.command = buf_detach(&command);
    if (r == 0)
        r = file_mkdirs(p.stage, 0700, err);
    if (r < 0)
        return r;
    hand_over(&p, ret);
    return 0;
}

/* A container */

static int keep_in_container(ExportPlace *p, const char *name, Err *err)
{
    _cleanup_free_ char *file = path_join(p->stage, name), *path = xasprintf("%s%s", p->to, name);
    struct stat st;

    if (stat(file, &st) < 0)
        return err_set(err, ERR_IO, "cannot look at %s: %m", file);
    int r = swift_put(p->cloud, path, &(SwiftPut){.file = file}, err);
    if (r == 0 && unlink(file) < 0)
        r = err_set(err, ERR_IO, "removing %s: %m", file);
    return r;
}

static int end_container(ExportPlace *p, Err *err)
{
    (void)p, (void)err; /* the manifest was the last */
    return 0;
}

/* Made where it is not there; for its owner alone. */
static int check_container(Cloud *c, const char *container, Err *err)
{
    _cleanup_(call_clear) Call head = {0}, put = {0};
    int r = backup_container_call(c, &head, "HEAD", container, err);

    if (r == -ERR_NOT_FOUND) {
        err_clear(err);
        r = backup_container_call(c, &put, "PUT", container, err);
        return r < 0 ? err_wrap(err, "making the container %s", container) : 0;
    }
    if (r < 0)
        return err_wrap(err, "looking at the container %s", container);
    const char *read = call_header(&head, "X-Container-Read");
    if (!read || !strstr(read, ".r:"))
        return 0;
    err_set(err, ERR_DENIED,
            "everybody may read the container %s (%s), and an export is not encrypted", container,
            read);
    return err_hint(err, "another container, which is made if it is not there");
}

/* Of a run that was cut off. Without a manifest it is nobody's export. */
static int clear_prefix(Cloud *c, const char *container, const char *prefix, Err *err)
{
    _cleanup_json_ json_t *rows = NULL;
    const json_t *row;
    size_t i;
    int r = swift_list(c, container, prefix, &rows, err);

    json_array_foreach (rows, i, row) {
        const char *name = json_str_or(row, "name", "");
        if (r < 0 || !ends_with(name, "/" EXPORT_MANIFEST))
            continue;
        err_set(err, ERR_CONFLICT, "an export is in %s/%s already", container, prefix);
        return err_hint(err, "an export is never written over: name another prefix");
    }
    json_array_foreach (rows, i, row) {
        const char *name = json_str_or(row, "name", "");
        bool ours = starts_with(name, prefix) && starts_with(name + strlen(prefix), EXPORT_PIECES);
        _cleanup_free_ char *path = xasprintf("%s/%s", container, name);
        if (r == 0 && ours)
            r = swift_delete(c, path, err);
    }
    return r;
}

int export_to_container(Cloud *c, const char *container, const char *prefix, const ExportWork *work,
                        ExportPlace *ret, Err *err)
{
    _cleanup_(export_place_clear) ExportPlace p = {.keep = keep_in_container,
                                                   .end = end_container,
                                                   .cloud = c,
                                                   .stage = path_join(work->path, "pieces"),
                                                   .to = xasprintf("%s/%s/", container, prefix)};
    _cleanup_free_ char *folder = xasprintf("%s/", prefix);
    Buf command = BUF_INIT(BUF_MAX_LINE), url = BUF_INIT(BUF_MAX_LINE);
    const char *base = NULL;
    int r = check_container(c, container, err);

    if (r == 0)
        r = clear_prefix(c, container, folder, err);
    if (r == 0)
        r = cloud_endpoint(c, CLOUD_OBJECT, &base, err);
    if (r == 0)
        r = file_mkdirs(p.stage, 0700, err);
    if (r < 0)
        return r;
    buf_printf(&url, "%s/", base);
    buf_url_quote(&url, p.to, "/");
    buf_printf(&command,
               "curl -f -H \"X-Auth-Token: $OS_TOKEN\" \"%s" EXPORT_PIECES "[00000-LAST]\"", url.p);
    buf_clear(&url);
    p.command = buf_detach(&command);
    hand_over(&p, ret);
    return 0;
}
