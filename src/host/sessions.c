#include "host/sessions.h"
#include "io/file.h"

#include <dirent.h>
#include <limits.h>
#include <unistd.h>

int sessions_note(const char *path, const Sessions *s, Err *err)
{
    _cleanup_(buf_clear) Buf text = BUF_INIT(BUF_MAX_LINE);

    for (size_t i = 0; i < s->len; i++)
        buf_printf(&text, "%d\n", (int)s->items[i]);
    return file_write(path, buf_as_str(&text), 0600, err);
}

/* 0 if it is gone. */
static pid_t session_of(pid_t pid)
{
    pid_t session = getsid(pid);
    return session < 0 ? 0 : session;
}

static bool lives_below(pid_t pid, const char *root)
{
    char link[64], folder[PATH_MAX];

    snprintf(link, sizeof link, "/proc/%d/cwd", (int)pid);
    ssize_t n = readlink(link, folder, sizeof folder - 1);
    if (n <= 0)
        return false;
    folder[n] = '\0';
    size_t len = strlen(root);
    return strncmp(folder, root, len) == 0 && (folder[len] == '/' || folder[len] == '\0');
}

static bool has(const Sessions *s, pid_t session)
{
    for (size_t i = 0; i < s->len; i++)
        if (s->items[i] == session)
            return true;
    return false;
}

static void end_members(const Sessions *old, const char *root)
{
    DIR *dir = opendir("/proc");
    if (!dir)
        return;
    for (struct dirent *d; (d = readdir(dir));) {
        int64_t pid;
        if (parse_int(d->d_name, 2, INT32_MAX, &pid) && pid != getpid() &&
            has(old, session_of((pid_t)pid)) && lives_below((pid_t)pid, root))
            (void)kill((pid_t)pid, SIGKILL);
    }
    closedir(dir);
}

void sessions_end_old(const char *path, const char *root)
{
    _cleanup_(buf_clear) Buf text = BUF_INIT(BUF_MAX_LINE);
    char real[PATH_MAX];
    Sessions old = {0};

    if (!*root || !realpath(root, real) || file_read(path, &text, NULL) < 0)
        return;
    Str rest = buf_as_str(&text), line;
    while (str_next(&rest, '\n', &line)) {
        _cleanup_free_ char *word = xstrndup(line.p, line.n);
        int64_t session;
        if (parse_int(word, 2, INT32_MAX, &session) && session != getsid(0))
            vec_push(&old, (pid_t)session);
    }
    if (old.len > 0)
        end_members(&old, real);
    vec_clear(&old);
}
