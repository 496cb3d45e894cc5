/* Services as children of this program, each a session of its own: for pocket servers and tests. */
#include "base/log.h"
#include "host/driver.h"
#include "host/service_log.h"
#include "host/sessions.h"
#include "io/child.h"
#include "io/file.h"
#include "io/httpd.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#define LOG_LOOK (10 * SECOND)

/* A listening socket that outlives the service's processes. */
typedef struct Kept {
    char *name; /* the service's */
    int fd;
} Kept;

typedef struct Driver {
    char *log_dir, *note;
    Sessions running;
    VEC(Kept) kept;
    StrList logs; /* of which services */
    bool noted;   /* the sessions on disk are those that run */
    Msec log_at;
} Driver;

static void *driver_open(const char *root, const char *log_dir)
{
    Driver *d = NEW(Driver);

    d->log_dir = xstrdup(log_dir);
    d->note = xasprintf("%s/.sessions", log_dir);
    /* Without the folder every start fails, and each says why. */
    if (file_mkdirs(log_dir, 0711, NULL) < 0)
        log_debug("cannot make %s", log_dir);
    sessions_end_old(d->note, root);
    return d;
}

static void driver_release(void *driver, const Service *s)
{
    Driver *d = driver;

    for (size_t i = d->kept.len; i-- > 0;) {
        if (!streq(d->kept.items[i].name, s->name))
            continue;
        close(d->kept.items[i].fd);
        free(d->kept.items[i].name);
        vec_remove(&d->kept, i);
    }
}

/* *ret is the driver's; 0 if the service makes its own. */
static int keep_socket(Driver *d, const Service *s, int *ret, Err *err)
{
    int port;

    *ret = 0;
    if (!s->keep_socket)
        return 0;
    for (size_t i = 0; *ret == 0 && i < d->kept.len; i++)
        if (streq(d->kept.items[i].name, s->name))
            *ret = d->kept.items[i].fd;
    if (*ret)
        return 0;
    int r = httpd_listen(s->health_address, s->health_port, ret, &port, err);
    if (r == 0)
        vec_push(&d->kept, (Kept){.name = xstrdup(s->name), .fd = *ret});
    return r;
}

static int driver_start(void *driver, const Service *s, Run *ret, Err *err)
{
    Driver *d = driver;
    static const char *const nothing[] = {NULL};
    int log = -1, listens = 0;

    int r = service_log_open(d->log_dir, s->name, &log, err);
    if (r == 0)
        r = keep_socket(d, s, &listens, err);
    if (r < 0) {
        if (log >= 0)
            close(log);
        return r;
    }
    r = child_spawn(&(ChildSpec){.argv = (const char *const *)s->argv.items,
                                 .env = s->env.len ? (const char *const *)s->env.items : nothing,
                                 .cwd = s->cwd,
                                 .user = geteuid() == 0 ? s->user : NULL,
                                 .out_fd = log,
                                 .err_fd = log,
                                 .listen_fd = listens,
                                 .new_session = true,
                                 .die_with_parent = true},
                    &ret->pid, err);
    close(log);
    if (r < 0)
        return r;
    vec_push(&d->running, ret->pid);
    d->noted = false;
    if (!strlist_has(&d->logs, s->name))
        strlist_add(&d->logs, s->name);
    return 0;
}

static void driver_tell(void *driver, const Service *s, pid_t pid, int sig)
{
    (void)driver;
    (void)s;
    (void)kill(pid, sig); /* it may have ended: the next look says so */
}

static void driver_stop(void *driver, const Service *s, pid_t pid, StopStep step)
{
    int sig = stop_signal(s->stop, step);

    (void)driver;
    if (step == STOP_STEP_ALL)
        child_kill_tree(pid);
    else
        /* The service itself decides what its workers do; only SIGKILL goes to all of them. */
        (void)kill(sig == SIGKILL ? -pid : pid, sig);
}

static RunState driver_look(void *driver, const Service *s, Run *run)
{
    Driver *d = driver;

    (void)s;
    pid_t got = waitpid(run->pid, &run->status, WNOHANG);
    if (got == 0 || (got < 0 && errno != ECHILD))
        return RUN_UP;
    if (got < 0)
        run->status = 0; /* somebody else reaped it; how it ended is not known */
    /* What it left behind in its session would hold its port. */
    (void)kill(-run->pid, SIGKILL);
    for (size_t i = d->running.len; i-- > 0;)
        if (d->running.items[i] == run->pid)
            vec_remove(&d->running, i);
    d->noted = false;
    return RUN_ENDED;
}

static void driver_turn(void *driver, Msec now)
{
    Driver *d = driver;

    /* A disk that is full must not stop what runs; it is tried again at the next turn. */
    if (!d->noted)
        d->noted = sessions_note(d->note, &d->running, NULL) == 0;
    if (now < d->log_at)
        return;
    d->log_at = now + LOG_LOOK;
    for (size_t i = 0; i < d->logs.len; i++)
        service_log_rotate(d->log_dir, d->logs.items[i]);
}

static void driver_close(void *driver)
{
    Driver *d = driver;

    for (size_t i = 0; i < d->running.len; i++) {
        child_kill_tree(d->running.items[i]);
        while (waitpid(d->running.items[i], NULL, 0) < 0 && errno == EINTR)
            ;
    }
    vec_clear(&d->running);
    for (size_t i = 0; i < d->kept.len; i++) {
        close(d->kept.items[i].fd);
        free(d->kept.items[i].name);
    }
    vec_clear(&d->kept);
    strlist_clear(&d->logs);
    free(d->log_dir);
    free(d->note);
    free(d);
}

const ServiceDriver driver_child = {
    .name = "child",
    .open = driver_open,
    .start = driver_start,
    .tell = driver_tell,
    .stop = driver_stop,
    .look = driver_look,
    .release = driver_release,
    .turn = driver_turn,
    .close = driver_close,
};
