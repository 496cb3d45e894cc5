/* The driver that supervises processes itself: for pocket servers and for tests.
 *
 * One Proc a service. What is wanted of it is in `leaving` and `next`; where it is, in `phase`;
 * each turn moves it on by what it finds. Nothing here waits.
 */
#include "base/log.h"
#include "host/health.h"
#include "host/service_log.h"
#include "host/sessions.h"
#include "io/child.h"
#include "io/file.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#define BACKOFF_FIRST (1 * SECOND)
#define BACKOFF_MAX (30 * SECOND)
#define BACKOFF_FORGET (1 * MINUTE) /* well for so long: the next crash begins anew */
#define CHECK_SOON (250)
#define CHECK_WELL (5 * SECOND)
#define CHECK_MISSES 3 /* so many in a row make a well service unwell */
#define START_DEFAULT (1 * MINUTE)
#define STOP_DEFAULT (10 * SECOND)
#define STOP_LAST (5 * SECOND) /* after the last signal of a stop rule: SIGKILL for all of it */
#define DRAIN_ASK (1 * SECOND)
#define DRAIN_BLIND 3 /* Redis did not answer so often: nothing is known of jobs any more */
#define LOG_LOOK (10 * SECOND)

typedef enum Phase {
    PHASE_IDLE,     /* no process */
    PHASE_UP,       /* it runs */
    PHASE_DRAINING, /* told to be quiet */
    PHASE_STOPPING, /* the first signal was sent */
    PHASE_KILLING   /* the last one */
} Phase;

typedef struct Proc {
    Service service;
    Service next; /* takes its place when it has stopped; name NULL: none */
    bool leaving; /* no longer wanted */
    Phase phase;
    ServiceState state;
    pid_t pid;
    bool done;           /* `once`: ran to its end */
    bool known_well;     /* since its process started */
    Msec started, since; /* since: phase or, for a process, start */
    Msec trouble;        /* began to be started, or to be unwell; 0: well */
    Msec start_at, backoff;
    Msec check_at;
    Health *check;
    int misses, restarts;
    char why[160];
} Proc;

typedef struct Driver {
    char *root, *log_dir, *note;
    VEC(Proc *) procs;
    bool stopping;
    bool noted; /* the sessions on disk are those that run */
    Msec log_at;
} Driver;

/* The signals of a stop rule: the first, and the last after stop_ms. */
static const struct {
    int first, last;
} stop_signals[] = {
    [STOP_TERM] = {SIGTERM, SIGKILL},
    [STOP_QUIET_TERM] = {SIGTERM, SIGKILL},
    [STOP_FAST] = {SIGINT, SIGQUIT},
};

static void *driver_open(const char *root, const char *log_dir)
{
    Driver *d = NEW(Driver);

    d->root = xstrdup(root);
    d->log_dir = xstrdup(log_dir);
    d->note = xasprintf("%s/.sessions", log_dir);
    /* Without the folder every start fails, and each says why. */
    if (file_mkdirs(log_dir, 0711, NULL) < 0)
        log_debug("cannot make %s", log_dir);
    sessions_end_old(d->note, root);
    return d;
}

static Proc *find(const Driver *d, const char *name)
{
    for (size_t i = 0; i < d->procs.len; i++)
        if (streq(d->procs.items[i]->service.name, name))
            return d->procs.items[i];
    return NULL;
}

static void set_why(Proc *p, const char *why)
{
    snprintf(p->why, sizeof p->why, "%s", why ? why : "");
}

static void drop_check(Proc *p)
{
    p->check = health_free(p->check);
}

/* The secret that a description borrows goes with the bundle it came in, while a service that is
 * stopping may still need it: the driver keeps a copy of its own. */
static void take(Service *to, Service *from)
{
    *to = *from;
    *from = (Service){0};
    if (to->health_secret)
        to->health_secret = secret_copy(to->health_secret);
}

static void drop(Service *s)
{
    (void)secret_free((Secret *)(uintptr_t)s->health_secret);
    service_clear(s);
}

/* --- starting --- */

/* The first of `after` that is not well, or NULL. */
static const char *waits_for(const Driver *d, const Proc *p)
{
    for (size_t i = 0; i < p->service.after.len; i++) {
        const Proc *other = find(d, p->service.after.items[i]);
        if (other && other->state != SERVICE_HEALTHY)
            return other->service.name;
    }
    return NULL;
}

static void well(Proc *p)
{
    p->state = SERVICE_HEALTHY;
    p->known_well = true;
    p->trouble = 0;
    p->misses = 0;
    set_why(p, "");
}

/* Not well: starting while there is time, failed after it. */
static void unwell(Proc *p, const char *why, Msec now)
{
    Msec limit = p->service.start_ms ? p->service.start_ms : START_DEFAULT;

    if (p->trouble == 0)
        p->trouble = now;
    p->state = now - p->trouble >= limit ? SERVICE_FAILED : SERVICE_STARTING;
    if (why)
        set_why(p, why);
}

static void start_later(Proc *p, Msec now)
{
    p->backoff = p->backoff ? MIN(2 * p->backoff, BACKOFF_MAX) : BACKOFF_FIRST;
    p->start_at = now + p->backoff;
}

static int spawn(Driver *d, Proc *p, Err *err)
{
    const Service *s = &p->service;
    /* As an ordinary user everything is that user's. */
    const char *user = geteuid() == 0 ? s->user : NULL;
    static const char *const nothing[] = {NULL};
    int log;

    int r = service_prepare(s, user, err);
    if (r == 0)
        r = service_log_open(d->log_dir, s->name, &log, err);
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

static void start(Driver *d, Proc *p, Msec now)
{
    _cleanup_(err_clear) Err err = {0};

    if (p->service.skip_path && file_exists(p->service.skip_path)) {
        p->done = true;
        well(p);
        return;
    }
    if (spawn(d, p, &err) < 0) {
        p->pid = 0;
        unwell(p, err.text, now);
        start_later(p, now);
        return;
    }
    d->noted = false;
    p->phase = PHASE_UP;
    p->known_well = false;
    p->misses = 0;
    p->started = now;
    p->check_at = now + CHECK_SOON;
    unwell(p, NULL, now);
}

static void try_start(Driver *d, Proc *p, Msec now)
{
    if (p->phase != PHASE_IDLE || p->leaving || d->stopping || p->done)
        return;
    const char *other = waits_for(d, p);
    if (other) {
        p->state = SERVICE_WAITING;
        snprintf(p->why, sizeof p->why, "waits for %s", other);
    } else if (now >= p->start_at) {
        start(d, p, now);
    } else {
        unwell(p, NULL, now);
    }
}

/* --- health --- */

static void read_answer(Proc *p, int r, const char *why, Msec now)
{
    drop_check(p);
    p->check_at = now + CHECK_SOON;
    if (r == 0) {
        well(p);
        p->check_at = now + CHECK_WELL;
    } else if (p->state == SERVICE_HEALTHY && ++p->misses < CHECK_MISSES) {
        set_why(p, why);
    } else {
        unwell(p, why, now);
    }
}

static void check(Proc *p, Msec now)
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
    } else if (now >= p->check_at) {
        p->check = health_begin(&p->service, ASK_HEALTH, p->pid, !p->known_well);
    }
    if (p->state == SERVICE_STARTING)
        unwell(p, NULL, now);
}

/* --- stopping --- */

static void send_signal(const Proc *p, int sig)
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
    set_why(p, "is being stopped");
    if (p->service.stop == STOP_QUIET_TERM) {
        send_signal(p, SIGTSTP);
        enter(p, PHASE_DRAINING, now);
        p->check_at = now + DRAIN_ASK;
    } else {
        send_signal(p, stop_signals[p->service.stop].first);
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

/* Something that is to go and says that it comes after `p` is still there. */
static bool is_needed(const Driver *d, const Proc *p)
{
    for (size_t i = 0; i < d->procs.len; i++) {
        const Proc *other = d->procs.items[i];
        if (other != p && other->phase != PHASE_IDLE && (d->stopping || other->leaving) &&
            strlist_has(&other->service.after, p->service.name))
            return true;
    }
    return false;
}

static void advance_stop(Driver *d, Proc *p, Msec now)
{
    Msec stop_ms = p->service.stop_ms ? p->service.stop_ms : STOP_DEFAULT;
    bool go = d->stopping || p->leaving;

    switch (p->phase) {
    case PHASE_IDLE:
        break;
    case PHASE_UP:
        if ((go && !is_needed(d, p)) || p->next.name)
            begin_stop(p, now);
        break;
    case PHASE_DRAINING:
        if (drained(p, now)) {
            drop_check(p);
            send_signal(p, stop_signals[p->service.stop].first);
            enter(p, PHASE_STOPPING, now);
        }
        break;
    case PHASE_STOPPING:
        if (now - p->since >= stop_ms) {
            send_signal(p, stop_signals[p->service.stop].last);
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

/* --- turns --- */

static void swap_in(Proc *p)
{
    drop(&p->service);
    p->service = p->next;
    p->next = (Service){0};
    p->state = SERVICE_WAITING;
    p->done = false;
    p->backoff = p->start_at = p->trouble = 0;
    set_why(p, "");
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

static void reap(Proc *p, Msec now)
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

static void note_sessions(Driver *d)
{
    Sessions running = {0};

    if (d->noted)
        return;
    for (size_t i = 0; i < d->procs.len; i++)
        if (d->procs.items[i]->pid)
            vec_push(&running, d->procs.items[i]->pid);
    /* A disk that is full must not stop what runs; it is tried again at the next turn. */
    d->noted = sessions_note(d->note, &running, NULL) == 0;
    vec_clear(&running);
}

static void look_at_logs(Driver *d, Msec now)
{
    if (now < d->log_at)
        return;
    d->log_at = now + LOG_LOOK;
    for (size_t i = 0; i < d->procs.len; i++)
        service_log_rotate(d->log_dir, d->procs.items[i]->service.name);
}

static void proc_free(Proc *p)
{
    drop_check(p);
    drop(&p->service);
    drop(&p->next);
    free(p);
}

static void remove_gone(Driver *d)
{
    for (size_t i = d->procs.len; i-- > 0;) {
        Proc *p = d->procs.items[i];
        if (p->phase != PHASE_IDLE)
            continue;
        if (p->next.name) {
            swap_in(p);
        } else if (p->leaving) {
            proc_free(p);
            vec_remove(&d->procs, i);
        }
    }
}

static void driver_tick(void *driver, Msec now)
{
    Driver *d = driver;

    for (size_t i = 0; i < d->procs.len; i++)
        reap(d->procs.items[i], now);
    for (size_t i = 0; i < d->procs.len; i++) {
        check(d->procs.items[i], now);
        advance_stop(d, d->procs.items[i], now);
    }
    remove_gone(d);
    for (size_t i = 0; i < d->procs.len; i++)
        try_start(d, d->procs.items[i], now);
    note_sessions(d);
    look_at_logs(d, now);
}

/* --- the wanted set --- */

static bool wants(const Services *s, const char *name)
{
    for (size_t i = 0; i < s->len; i++)
        if (streq(s->items[i].name, name))
            return true;
    return false;
}

static int check_set(const Services *s, Err *err)
{
    for (size_t i = 0; i < s->len; i++) {
        const Service *one = &s->items[i];
        for (size_t k = 0; k < i; k++)
            if (streq(one->name, s->items[k].name))
                return err_set(err, ERR_BUG, "two services are called %s", one->name);
        for (size_t k = 0; k < one->after.len; k++)
            if (!wants(s, one->after.items[k]))
                return err_set(err, ERR_BUG, "%s comes after %s, which is not there", one->name,
                               one->after.items[k]);
    }
    return 0;
}

/* The new description of what runs on, or of what is to come when the old one has stopped. Takes
 * `s`. */
static int renew(Proc *p, Service *s, Err *err)
{
    bool same = service_same(&p->service, s), same_files = service_same_files(&p->service, s);
    bool up = p->phase == PHASE_UP && !p->next.name;
    int r = 0;

    p->leaving = false;
    drop(&p->next);
    if (p->phase == PHASE_IDLE || (up && same && (same_files || s->reload_signal))) {
        drop(&p->service);
        take(&p->service, s);
        p->known_well = false;
        if (p->phase == PHASE_IDLE) {
            /* `once` runs again for every set; what was about to start has a fresh chance. */
            p->done = false;
            p->state = SERVICE_WAITING;
            p->backoff = p->start_at = p->trouble = 0;
        } else if (!same_files) {
            r = service_prepare(&p->service, geteuid() == 0 ? p->service.user : NULL, err);
            if (r == 0)
                send_signal(p, p->service.reload_signal);
        }
    } else {
        take(&p->next, s);
    }
    return r;
}

static int driver_set(void *driver, Services *services, Msec now, Err *err)
{
    Driver *d = driver;

    int r = check_set(services, err);
    for (size_t i = 0; r == 0 && i < d->procs.len; i++) {
        Proc *p = d->procs.items[i];
        if (!wants(services, p->service.name)) {
            drop(&p->next);
            p->leaving = true;
        }
    }
    for (size_t i = 0; r == 0 && i < services->len; i++) {
        Service *s = &services->items[i];
        Proc *p = find(d, s->name);
        if (p) {
            r = renew(p, s, err);
        } else {
            p = NEW(Proc);
            take(&p->service, s);
            p->state = SERVICE_WAITING;
            vec_push(&d->procs, p);
        }
    }
    services_clear(services);
    if (r == 0)
        driver_tick(d, now);
    return r;
}

static size_t driver_status(void *driver, ServiceStatus *ret, size_t max)
{
    const Driver *d = driver;
    size_t n = 0;

    for (size_t i = 0; i < d->procs.len && n < max; i++) {
        const Proc *p = d->procs.items[i];
        if (p->leaving)
            continue;
        ret[n] = (ServiceStatus){
            .name = p->service.name, .state = p->state, .restarts = p->restarts, .pid = p->pid};
        memcpy(ret[n].why, p->why, sizeof p->why);
        n++;
    }
    return n;
}

static bool driver_stop(void *driver, Msec now)
{
    Driver *d = driver;

    d->stopping = true;
    driver_tick(d, now);
    for (size_t i = 0; i < d->procs.len; i++)
        if (d->procs.items[i]->phase != PHASE_IDLE)
            return false;
    return true;
}

static void driver_close(void *driver)
{
    Driver *d = driver;

    for (size_t i = 0; i < d->procs.len; i++) {
        Proc *p = d->procs.items[i];
        if (p->pid) {
            child_kill_tree(p->pid);
            while (waitpid(p->pid, NULL, 0) < 0 && errno == EINTR)
                ;
        }
        proc_free(p);
    }
    vec_clear(&d->procs);
    free(d->root);
    free(d->log_dir);
    free(d->note);
    free(d);
}

const ServiceDriver driver_child = {
    .name = "child",
    .open = driver_open,
    .set = driver_set,
    .tick = driver_tick,
    .status = driver_status,
    .stop = driver_stop,
    .close = driver_close,
};
