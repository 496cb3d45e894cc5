/* The half of child.h that looks at /proc: who is alive, who descends from whom. */
#include "base/vec.h"
#include "io/child.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

typedef struct Stat {
    pid_t pid, parent;
    char state;
    int64_t start_ticks;
} Stat;
typedef VEC(Stat) Stats;
typedef VEC(pid_t) Pids;

/* proc(5): "pid (comm) state ppid ... starttime(22)". The name may hold anything, also ") ". */
static bool read_stat(pid_t pid, Stat *ret)
{
    char path[64], text[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    if (n <= 0)
        return false;
    text[n] = '\0';

    const char *p = strrchr(text, ')');
    int parent;
    long long start;
    if (!p || sscanf(p + 1,
                     " %c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d "
                     "%lld",
                     &ret->state, &parent, &start) != 3)
        return false;
    ret->pid = pid;
    ret->parent = parent;
    ret->start_ticks = start;
    return true;
}

int64_t child_start_ticks(pid_t pid)
{
    Stat s;
    return pid > 0 && read_stat(pid, &s) ? s.start_ticks : 0;
}

bool child_alive(pid_t pid, int64_t start_ticks)
{
    Stat s;
    if (pid <= 0 || !read_stat(pid, &s))
        return false;
    /* A zombie does nothing any more; only its parent has not looked yet. */
    return s.state != 'Z' && s.state != 'X' && (start_ticks == 0 || s.start_ticks == start_ticks);
}

static void read_all(Stats *ret)
{
    DIR *dir = opendir("/proc");
    if (!dir)
        return;
    for (struct dirent *d; (d = readdir(dir));) {
        int64_t pid;
        Stat s;
        if (parse_int(d->d_name, 1, INT32_MAX, &pid) && read_stat((pid_t)pid, &s))
            vec_push(ret, s);
    }
    closedir(dir);
}

size_t child_descendants(pid_t root, pid_t **ret_pids)
{
    Stats all = {0};
    Pids found = {0};

    read_all(&all);
    pid_t parent = root;
    for (size_t next = 0;; parent = found.items[next++]) {
        for (size_t i = 0; i < all.len; i++)
            if (all.items[i].parent == parent && all.items[i].pid != root)
                vec_push(&found, all.items[i].pid);
        if (next >= found.len)
            break;
    }
    vec_clear(&all);
    *ret_pids = found.items;
    return found.len;
}

static bool has_pid(const Pids *pids, pid_t pid)
{
    for (size_t i = 0; i < pids->len; i++)
        if (pids->items[i] == pid)
            return true;
    return false;
}

/* A signal takes a moment to arrive, and until then the process may still fork. Bounded: one that
 * sleeps in the kernel cannot be stopped, but does not fork either. */
static void stop_and_wait(pid_t pid)
{
    Stat s;

    if (kill(pid, SIGSTOP) < 0)
        return;
    for (int i = 0; i < 500 && read_stat(pid, &s) && !strchr("TtZX", s.state); i++)
        time_sleep(1);
}

/* Stops the descendants that are not in the list yet, nearest first; false if there are none. */
static bool stop_new(pid_t root, Pids *stopped)
{
    _cleanup_free_ pid_t *pids = NULL;
    size_t n = child_descendants(root, &pids);
    bool any = false;

    for (size_t i = 0; i < n; i++) {
        if (has_pid(stopped, pids[i]))
            continue;
        stop_and_wait(pids[i]);
        vec_push(stopped, pids[i]);
        any = true;
    }
    return any;
}

void child_kill_tree(pid_t root)
{
    Pids stopped = {0};

    BUG_IF(root <= 1);
    stop_and_wait(root);
    /* A process that forked just before it was stopped has a child that was not in the list: look
     * again until there is nobody new. */
    while (stop_new(root, &stopped))
        ;
    /* From the leaves: a group of stopped processes that loses its last parent outside is woken
     * by the kernel (SIGHUP, SIGCONT) and would run on for a moment. */
    for (size_t i = stopped.len; i-- > 0;)
        (void)kill(stopped.items[i], SIGKILL);
    (void)kill(root, SIGKILL);
    vec_clear(&stopped);
}
