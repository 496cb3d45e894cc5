#include "host/marked.h"
#include "base/buf.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#define ENVIRON_MAX ((size_t)256 << 10)
#define ROUNDS 5 /* one that was forking has a child that was not seen */

/* proc(5): what the program was started with; ours to read, or root's. */
static bool has_mark(const char *pid, Str mark)
{
    char path[64], piece[4096];
    Buf text = BUF_INIT(ENVIRON_MAX);
    bool found = false;
    ssize_t n;

    snprintf(path, sizeof path, "/proc/%.20s/environ", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    while ((n = read(fd, piece, sizeof piece)) > 0)
        buf_add(&text, piece, (size_t)n);
    close(fd);
    Str rest = buf_as_str(&text), part;
    while (!found && str_next(&rest, '\0', &part))
        found = str_eq(part, mark);
    buf_wipe(&text); /* it holds secrets */
    return found;
}

static bool kill_round(Str mark)
{
    DIR *dir = opendir("/proc");
    bool any = false;

    if (!dir)
        return false;
    for (struct dirent *d; (d = readdir(dir));) {
        int64_t pid;
        if (parse_int(d->d_name, 2, INT32_MAX, &pid) && pid != getpid() &&
            has_mark(d->d_name, mark) && kill((pid_t)pid, SIGKILL) == 0)
            any = true;
    }
    closedir(dir);
    return any;
}

void marked_kill(const char *id)
{
    _cleanup_free_ char *mark = xasprintf(MARKED_NAME "=%s", id);

    for (int i = 0; *id && i < ROUNDS && kill_round(str_of(mark)); i++)
        ;
}
