#include "host/proc.h"
#include "host/service_log.h"
#include "io/child.h"
#include "io/file.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#define BACKOFF_FIRST (1 * SECOND)
#define BACKOFF_ONCE (2 * SECOND)
#define BACKOFF_YOUNG (5 * SECOND)
#define BACKOFF_MAX (30 * SECOND)
#define BACKOFF_FORGET (1 * MINUTE) /* well for so long: the next crash begins anew */
#define CHECK_SOON (250)
#define CHECK_WELL (5 * SECOND)
#define CHECK_MISSES 3           /* so many in a row make a well service unwell */
#define CHECK_LATE (10 * SECOND) /* no answer for so long is a miss */
#define START_DEFAULT (1 * MINUTE)
#define STOP_DEFAULT (10 * SECOND)
#define STOP_LAST (5 * SECOND) /* after the last signal of a stop rule: SIGKILL for all of it */
#define DRAIN_ASK (1 * SECOND)
#define DRAIN_BLIND 3 /* Redis did not answer so often: nothing is known of jobs any more */

/* The signals of a stop rule: the first, and the last after stop_ms. */
static const struct {
    int first, last;
} stop_signals[] = {
    [STOP_TERM] = {SIGTERM, SIGKILL},
    [STOP_QUIET_TERM] = {SIGTERM, SIGKILL},
    [STOP_FAST] = {SIGINT, SIGQUIT},
};

void proc_set_why(Proc *p, const char *why)
{
    snprintf(p->why, sizeof p->why, "%s", why ? why : "");
}

static void drop_check(Proc *p)
{
    p->check = health_free(p->check);
}

/* The secret that a description borrows goes with the bundle it came in, while a service that is
 * stopping may still need it: the driver keeps a copy of its own. */
void proc_take(Service *to, Service *from)
{
    *to = *from;
    *from = (Service){0};
    if (to->health_secret)
        to->health_secret = secret_copy(to->health_secret);
}

void proc_drop(Service *s)
{
    (void)secret_free((Secret *)(uintptr_t)s->health_secret);
    service_clear(s);
}

Proc *proc_free(Proc *p)
{
    if (!p)
        return NULL;
    drop_check(p);
    proc_drop(&p->service);
    proc_drop(&p->next);
    free(p);
    return NULL;
}

static void well(Proc *p)
{
    p->state = SERVICE_HEALTHY;
    p->known_well = true;
    p->trouble = 0;
    p->misses = 0;
    proc_set_why(p, "");
}

/* Not well: starting while there is time, failed after it. */
static void unwell(Proc *p, const char *why, Msec now)
{
    Msec limit = p->service.start_ms ? p->service.start_ms : START_DEFAULT;

    if (p->trouble == 0)
        p->trouble = now;
    p->state = now - p->trouble >= limit ? SERVICE_FAILED : SERVICE_STARTING;
    if (why)
        proc_set_why(p, why);
}

/* In the first minutes the usual reason is that another server is not ready yet: a person waits for
 * the island, so it is tried often. What is called failed has another reason, and time. */
static void start_later(Proc *p, Msec now)
{
    Msec limit = p->state == SERVICE_FAILED ? BACKOFF_MAX
                 : p->service.once          ? BACKOFF_ONCE
                                            : BACKOFF_YOUNG;

    p->backoff = p->backoff ? MIN(2 * p->backoff, limit) : BACKOFF_FIRST;
    p->start_at = now + p->backoff;
}

static int spawn(Proc *p, const char *log_dir, Err *err)
{
    const Service *s = &p->service;
    /* As an ordinary user everything is that user's. */
    const char *user = geteuid() == 0 ? s->user : NULL;
    static const char *const nothing[] = {NULL};
    int log = -1;

    int r = service_prepare(s, user, err);
    if (r == 0)
        r = service_log_open(log_dir, s->name, &log, err);
    if (r < 0)
        return r;
    r = child_spawn(&(ChildSpec){.argv = (const char *const *)s->argv.items,
                                 .env = s->env.len ? (const char *const *)s->env.items : nothing,
                                 .cwd = s->cwd,
                                 .user = user,
                                 .out_fd = log,
                                 .err_fd = log,
                                 .new_session = true,
                                 .die_with_parent = true},
                    &p->pid, err);
    close(log);
    return r;
}

bool proc_start(Proc *p, const char *log_dir, Msec now)
{
    _cleanup_(err_clear) Err err = {0};

    if (p->service.skip_path && file_exists(p->service.skip_path)) {
        p->done = true;
        well(p);
        return false;
    }
    if (spawn(p, log_dir, &err) < 0) {
        p->pid = 0;
        unwell(p, err.text, now);
        start_later(p, now);
        return false;
    }
    p->phase = PHASE_UP;
    p->known_well = false;
    p->misses = 0;
    p->started = now;
    p->check_at = now + CHECK_SOON;
    unwell(p, NULL, now);
    return true;
}

void proc_wait(Proc *p, Msec now)
{
    unwell(p, NULL, now);
}

static void read_answer(Proc *p, int r, const char *why, Msec now)
{
    drop_check(p);
    p->check_at = now + CHECK_SOON;
    if (r == 0) {
        well(p);
        p->check_at = now + CHECK_WELL;
    } else if (p->state == SERVICE_HEALTHY && ++p->misses < CHECK_MISSES) {
        proc_set_why(p, why);
    } else {
        unwell(p, why, now);
    }
}

void proc_check(Proc *p, Msec now)
{
    char why[160];
    int r;

    if (p->phase != PHASE_UP)
        return;
    if (now - p->started >= BACKOFF_FORGET && p->state == SERVICE_HEALTHY)
        p->backoff = 0;
    if (p->service.once) {
        unwell(p, NULL, now);
    } else if (p->service.health == HEALTH_RUNNING) {
        if (now - p->started >= SECOND)
            well(p);
    } else if (p->check) {
        if (health_answer(p->check, &r, why))
            read_answer(p, r, why, now);
        else if (p->known_well && now - p->asked >= CHECK_LATE)
            /* Not of one that is starting: its first question may make a database, and a second
             * beside it would get in its way. start_ms is the limit of that. */
            read_answer(p, -ERR_TEMPORARY, "it does not answer", now);
    } else if (now >= p->check_at) {
        p->check = health_begin(&p->service, ASK_HEALTH, p->pid, !p->known_well);
        p->asked = now;
    }
    if (p->state == SERVICE_STARTING)
        unwell(p, NULL, now);
}

void proc_signal(const Proc *p, int sig)
{
    /* The service itself decides what its workers do; only SIGKILL goes to all of them. */
    (void)kill(sig == SIGKILL ? -p->pid : p->pid, sig);
}

static void enter(Proc *p, Phase phase, Msec now)
{
    p->phase = phase;
    p->since = now;
}

static void begin_stop(Proc *p, Msec now)
{
    drop_check(p);
    p->misses = 0;
    p->state = SERVICE_WAITING;
    proc_set_why(p, "is being stopped");
    if (p->service.stop == STOP_QUIET_TERM) {
        proc_signal(p, SIGTSTP);
        enter(p, PHASE_DRAINING, now);
        p->check_at = now + DRAIN_ASK;
    } else {
        proc_signal(p, stop_signals[p->service.stop].first);
        enter(p, PHASE_STOPPING, now);
    }
}

/* True when Sidekiq has nothing at work any more, or when nothing will be known in time. */
static bool drained(Proc *p, Msec now)
{
    char why[160];
    int r;

    if (now - p->since >= p->service.drain_ms)
        return true;
    if (!p->check) {
        if (now >= p->check_at)
            p->check = health_begin(&p->service, ASK_DRAINED, p->pid, false);
        return false;
    }
    if (!health_answer(p->check, &r, why))
        return false;
    drop_check(p);
    p->check_at = now + DRAIN_ASK;
    p->misses = r == -ERR_TEMPORARY ? p->misses + 1 : 0;
    return r == 0 || p->misses >= DRAIN_BLIND;
}

void proc_stop(Proc *p, bool go, Msec now)
{
    Msec stop_ms = p->service.stop_ms ? p->service.stop_ms : STOP_DEFAULT;

    switch (p->phase) {
    case PHASE_IDLE:
        break;
    case PHASE_UP:
        if (go)
            begin_stop(p, now);
        break;
    case PHASE_DRAINING:
        if (drained(p, now)) {
            drop_check(p);
            proc_signal(p, stop_signals[p->service.stop].first);
            enter(p, PHASE_STOPPING, now);
        }
        break;
    case PHASE_STOPPING:
        if (now - p->since >= stop_ms) {
            proc_signal(p, stop_signals[p->service.stop].last);
            enter(p, PHASE_KILLING, now);
        }
        break;
    case PHASE_KILLING:
        if (now - p->since >= STOP_LAST) {
            child_kill_tree(p->pid);
            enter(p, PHASE_KILLING, now);
        }
        break;
    }
}

void proc_renew(Proc *p)
{
    p->state = SERVICE_WAITING;
    p->done = false;
    p->backoff = p->start_at = p->trouble = 0;
    proc_set_why(p, "");
}

static void ended(Proc *p, int status, Msec now)
{
    char words[64];
    bool wanted = p->phase == PHASE_UP;

    /* What it left behind in its session would hold its port. */
    (void)kill(-p->pid, SIGKILL);
    drop_check(p);
    p->pid = 0;
    p->phase = PHASE_IDLE;
    if (!wanted) {
        p->state = SERVICE_STOPPED;
        return;
    }
    if (p->service.once && WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        p->done = true;
        well(p);
        return;
    }
    p->restarts++;
    if (now - p->started >= BACKOFF_FORGET)
        p->backoff = 0;
    unwell(p, child_status_text(status, words), now);
    start_later(p, now);
}

void proc_reap(Proc *p, Msec now)
{
    int status;

    if (p->phase == PHASE_IDLE)
        return;
    pid_t got = waitpid(p->pid, &status, WNOHANG);
    if (got == p->pid)
        ended(p, status, now);
    else if (got < 0 && errno == ECHILD)
        ended(p, 0, now); /* somebody else reaped it; how it ended is not known */
}
