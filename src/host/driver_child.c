/* The driver that supervises processes itself: for pocket servers and for tests. What one service
 * does is in proc.c; here is the set of them, and who waits for whom. */
#include "base/log.h"
#include "host/proc.h"
#include "host/service_log.h"
#include "host/sessions.h"
#include "io/child.h"
#include "io/file.h"

#include <errno.h>
#include <sys/wait.h>
#include <unistd.h>

#define LOG_LOOK (10 * SECOND)

typedef struct Driver {
    char *root, *log_dir, *note;
    VEC(Proc *) procs;
    bool stopping;
    bool noted; /* the sessions on disk are those that run */
    Msec log_at;
} Driver;

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

static void try_start(Driver *d, Proc *p, Msec now)
{
    if (p->phase != PHASE_IDLE || p->leaving || d->stopping || p->done)
        return;
    const char *other = waits_for(d, p);
    if (other) {
        p->state = SERVICE_WAITING;
        snprintf(p->why, sizeof p->why, "waits for %s", other);
    } else if (now >= p->start_at) {
        d->noted = !proc_start(p, d->log_dir, now) && d->noted;
    } else {
        proc_wait(p, now);
    }
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

static void swap_in(Proc *p)
{
    proc_drop(&p->service);
    p->service = p->next;
    p->next = (Service){0};
    proc_renew(p);
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
            (void)proc_free(p);
            vec_remove(&d->procs, i); /* NOLINT(bugprone-sizeof-expression): pointers are meant */
        }
    }
}

static void driver_tick(void *driver, Msec now)
{
    Driver *d = driver;

    for (size_t i = 0; i < d->procs.len; i++)
        proc_reap(d->procs.items[i], now);
    for (size_t i = 0; i < d->procs.len; i++) {
        Proc *p = d->procs.items[i];
        bool go = ((d->stopping || p->leaving) && !is_needed(d, p)) || p->next.name;
        proc_check(p, now);
        proc_stop(p, go, now);
    }
    remove_gone(d);
    for (size_t i = 0; i < d->procs.len; i++)
        try_start(d, d->procs.items[i], now);
    note_sessions(d);
    look_at_logs(d, now);
}

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
    proc_drop(&p->next);
    if (p->phase == PHASE_IDLE || (up && same && (same_files || s->reload_signal))) {
        proc_drop(&p->service);
        proc_take(&p->service, s);
        /* A question that is out was asked with what the old one said. */
        p->check = health_free(p->check);
        p->check_at = 0;
        p->known_well = false;
        if (p->phase == PHASE_IDLE) {
            /* `once` runs again for every set; what was about to start has a fresh chance. */
            proc_renew(p);
        } else if (!same_files) {
            r = service_prepare(&p->service, geteuid() == 0 ? p->service.user : NULL, err);
            if (r == 0)
                proc_signal(p, p->service.reload_signal);
        }
    } else {
        proc_take(&p->next, s);
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
            proc_drop(&p->next);
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
            proc_take(&p->service, s);
            p->state = SERVICE_WAITING;
            vec_push(&d->procs, p); /* NOLINT(bugprone-sizeof-expression): pointers are meant */
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
        ret[n] = (ServiceStatus){
            .name = p->service.name, .state = p->state, .restarts = p->restarts, .pid = p->pid};
        memcpy(ret[n].why, p->why, sizeof p->why);
        if (p->leaving)
            ret[n].state = SERVICE_STOPPING;
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
        (void)proc_free(p);
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
