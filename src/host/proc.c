#include "host/proc.h"
#include "io/child.h"
#include "io/file.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
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
/* Of what only its unit knows the stop rule of: more than any unit gives (TimeoutStopSec). */
#define STOP_STRANGER (5 * MINUTE)
#define STOP_LAST (5 * SECOND) /* after the last signal of a stop rule: SIGKILL for all of it */
#define DRAIN_ASK (1 * SECOND)
#define DRAIN_BLIND 3 /* Redis did not answer so often: nothing is known of jobs any more */

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

/* Who waits at a socket that is kept open is told to go elsewhere. */
static void release(Proc *p)
{
    if (p->driver->release)
        p->driver->release(p->d, &p->service);
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
    if (p->state == SERVICE_FAILED)
        release(p); /* nobody knows when it is back, if ever */
}

/* As an ordinary user everything is that user's. */
static int prepare_and_start(Proc *p, Run *ret, Err *err)
{
    int r = service_prepare(&p->service, geteuid() == 0 ? p->service.user : NULL, err);
    return r < 0 ? r : p->driver->start(p->d, &p->service, ret, err);
}

static void is_up(Proc *p, const Run *run, Msec now)
{
    p->pid = run->pid;
    p->foreign = run->foreign;
    p->phase = PHASE_UP;
    p->known_well = false;
    p->misses = 0;
    p->started = now;
    p->check_at = now + CHECK_SOON;
}

bool proc_start(Proc *p, Msec now)
{
    _cleanup_(err_clear) Err err = {0};
    Run run = {0};

    if (p->service.skip_path && file_exists(p->service.skip_path)) {
        p->done = true;
        well(p);
        return false;
    }
    if (prepare_and_start(p, &run, &err) < 0) {
        p->pid = 0;
        unwell(p, err.text, now);
        start_later(p, now);
        return false;
    }
    is_up(p, &run, now);
    unwell(p, NULL, now);
    return true;
}

Proc *proc_found_new(const ServiceDriver *driver, void *d, const char *name, Msec now)
{
    Proc *p = NEW(Proc);

    p->driver = driver;
    p->d = d;
    p->service.name = xstrdup(name);
    p->service.stop_ms = STOP_STRANGER;
    p->leaving = true;
    is_up(p, &(Run){0}, now);
    return p;
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

/* Its own words for how far it is: they go into the report. The file is the service's, so it may be
 * anything. */
static void read_progress(Proc *p)
{
    char line[128] = "";
    struct stat st;
    int fd = p->service.progress_path
                 ? open(p->service.progress_path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
                 : -1;

    if (fd < 0)
        return;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_nlink == 1 &&
        read(fd, line, sizeof line - 1) > 0) {
        line[strcspn(line, "\n")] = '\0';
        proc_set_why(p, line);
    }
    close(fd);
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
        if (now >= p->check_at) {
            read_progress(p);
            p->check_at = now + CHECK_WELL;
        }
    } else if (p->service.health == HEALTH_RUNNING) {
        if (p->pid && now - p->started >= SECOND)
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

static void stop_step(Proc *p, StopStep step)
{
    p->driver->stop(p->d, &p->service, p->pid, step);
}

static void enter(Proc *p, Phase phase, Msec now)
{
    p->phase = phase;
    p->since = now;
}

/* It goes for good, or has a successor that binds its own. */
static bool keeps_socket(const Proc *p)
{
    return p->next.name ? p->next.keep_socket : p->foreign && !p->leaving && p->service.keep_socket;
}

static void begin_stop(Proc *p, Msec now)
{
    drop_check(p);
    if (!keeps_socket(p))
        release(p);
    p->misses = 0;
    p->state = SERVICE_WAITING;
    proc_set_why(p, "is being stopped");
    if (p->service.stop == STOP_QUIET_TERM) {
        p->driver->tell(p->d, &p->service, p->pid, SIGTSTP);
        enter(p, PHASE_DRAINING, now);
        p->unheard = false;
        p->check_at = now + DRAIN_ASK;
    } else {
        stop_step(p, STOP_STEP_FIRST);
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
    if (r == -ERR_NOT_FOUND) {
        p->unheard = true; /* it has a handler once it is registered */
    } else if (p->unheard) {
        p->driver->tell(p->d, &p->service, p->pid, SIGTSTP);
        p->unheard = false;
    }
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
            stop_step(p, STOP_STEP_FIRST);
            enter(p, PHASE_STOPPING, now);
        }
        break;
    case PHASE_STOPPING:
        if (now - p->since >= stop_ms) {
            stop_step(p, STOP_STEP_LAST);
            enter(p, PHASE_KILLING, now);
        }
        break;
    case PHASE_KILLING:
        if (now - p->since >= STOP_LAST) {
            stop_step(p, STOP_STEP_ALL);
            enter(p, PHASE_KILLING, now);
        }
        break;
    }
}

void proc_renew(Proc *p)
{
    p->state = SERVICE_WAITING;
    p->done = p->given_up = false;
    p->backoff = p->start_at = p->trouble = 0;
    proc_set_why(p, "");
}

static void crashed(Proc *p, int status, Msec now)
{
    char words[64];

    p->restarts++;
    if (now - p->started >= BACKOFF_FORGET)
        p->backoff = 0;
    unwell(p, child_status_text(status, words), now);
}

static void ended(Proc *p, int status, Msec now)
{
    bool wanted = p->phase == PHASE_UP && !p->foreign;

    drop_check(p);
    p->pid = 0;
    p->phase = PHASE_IDLE;
    p->foreign = false;
    if (!wanted) {
        p->state = SERVICE_STOPPED;
    } else if (p->service.once && WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        p->done = true;
        well(p);
    } else {
        crashed(p, status, now);
        start_later(p, now);
        if (p->service.no_retry) {
            p->state = SERVICE_FAILED;
            p->given_up = true;
        }
    }
}

void proc_reap(Proc *p, Msec now)
{
    Run run = {.pid = p->pid};

    if (p->phase == PHASE_IDLE)
        return;
    switch (p->driver->look(p->d, &p->service, &run)) {
    case RUN_UP:
        if (!p->pid && run.pid)
            p->started = now; /* the service manager took its time */
        p->pid = run.pid;
        break;
    case RUN_NEW:
        drop_check(p);
        crashed(p, run.status, now);
        if (p->phase == PHASE_UP)
            is_up(p, &run, now);
        break;
    case RUN_ENDED:
        ended(p, run.status, now);
        break;
    }
}
