/* What one service does is in proc.c; here is the set of them, and who waits for whom. */
#include "host/supervisor.h"
#include "host/proc.h"

#include <unistd.h>

struct Supervisor {
    const ServiceDriver *driver;
    void *d;
    VEC(Proc *) procs;
    bool stopping;
    bool looked; /* for what ran before */
};

Supervisor *supervisor_open(const ServiceDriver *driver, const char *root, const char *log_dir)
{
    Supervisor *s = NEW(Supervisor);

    s->driver = driver;
    s->d = driver->open(root, log_dir);
    return s;
}

static Proc *find(const Supervisor *d, const char *name)
{
    for (size_t i = 0; i < d->procs.len; i++)
        if (streq(d->procs.items[i]->service.name, name))
            return d->procs.items[i];
    return NULL;
}

/* The first of `after` that is not well, or NULL. */
static const char *waits_for(const Supervisor *d, const Proc *p)
{
    for (size_t i = 0; i < p->service.after.len; i++) {
        const Proc *other = find(d, p->service.after.items[i]);
        if (other && other->state != SERVICE_HEALTHY)
            return other->service.name;
    }
    return NULL;
}

static void try_start(Supervisor *d, Proc *p, Msec now)
{
    if (p->phase != PHASE_IDLE || p->leaving || d->stopping || p->done || p->given_up)
        return;
    const char *other = waits_for(d, p);
    if (other) {
        p->state = SERVICE_WAITING;
        snprintf(p->why, sizeof p->why, "waits for %s", other);
    } else if (now >= p->start_at) {
        (void)proc_start(p, now); /* it notes why it did not */
    } else {
        proc_wait(p, now);
    }
}

/* Something that is to go and says that it comes after `p` is still there. */
static bool is_needed(const Supervisor *d, const Proc *p)
{
    for (size_t i = 0; i < d->procs.len; i++) {
        const Proc *other = d->procs.items[i];
        if (other != p && other->phase != PHASE_IDLE && (d->stopping || other->leaving) &&
            strlist_has(&other->service.after, p->service.name))
            return true;
    }
    return false;
}

static void swap_in(Proc *p)
{
    proc_drop(&p->service);
    p->service = p->next;
    p->next = (Service){0};
    proc_renew(p);
}

static void remove_gone(Supervisor *d)
{
    for (size_t i = d->procs.len; i-- > 0;) {
        Proc *p = d->procs.items[i];
        if (p->phase != PHASE_IDLE)
            continue;
        if (p->next.name) {
            swap_in(p);
        } else if (p->leaving) {
            if (d->driver->forget)
                d->driver->forget(d->d, &p->service);
            (void)proc_free(p);
            vec_remove(&d->procs, i); /* NOLINT(bugprone-sizeof-expression): pointers are meant */
        }
    }
}

void supervisor_tick(Supervisor *d, Msec now)
{
    for (size_t i = 0; i < d->procs.len; i++)
        proc_reap(d->procs.items[i], now);
    for (size_t i = 0; i < d->procs.len; i++) {
        Proc *p = d->procs.items[i];
        bool go = ((d->stopping || p->leaving) && !is_needed(d, p)) || p->next.name || p->foreign;
        proc_check(p, now);
        proc_stop(p, go, now);
    }
    remove_gone(d);
    for (size_t i = 0; i < d->procs.len; i++)
        try_start(d, d->procs.items[i], now);
    if (d->driver->turn)
        d->driver->turn(d->d, now);
}

static int check_set(const Services *s, Err *err)
{
    for (size_t i = 0; i < s->len; i++) {
        const Service *one = &s->items[i];
        for (size_t k = 0; k < i; k++)
            if (streq(one->name, s->items[k].name))
                return err_set(err, ERR_BUG, "two services are called %s", one->name);
        for (size_t k = 0; k < one->after.len; k++)
            if (!services_have(s, one->after.items[k]))
                return err_set(err, ERR_BUG, "%s comes after %s, which is not there", one->name,
                               one->after.items[k]);
    }
    return 0;
}

/* The new description of what runs on, or of what is to come when the old one has stopped. Takes
 * `s`. */
static int renew(Proc *p, Service *s, Err *err)
{
    if (p->foreign) {
        /* Its first description here is not what runs either. */
        proc_drop(&p->next);
        proc_take(&p->next, s);
        p->leaving = false;
        return 0;
    }
    bool same = service_same(&p->service, s), same_files = service_same_files(&p->service, s);
    bool up = p->phase == PHASE_UP && !p->next.name;
    int r = 0;

    p->leaving = false;
    proc_drop(&p->next);
    if (p->phase == PHASE_IDLE || (up && same && (same_files || s->reload_signal))) {
        bool settled =
            s->no_retry && p->phase == PHASE_IDLE && (p->done || p->given_up) && same && same_files;
        proc_drop(&p->service);
        proc_take(&p->service, s);
        if (settled)
            return 0;
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
                p->driver->tell(p->d, &p->service, p->pid, p->service.reload_signal);
        }
    } else {
        proc_take(&p->next, s);
    }
    return r;
}

/* What an earlier run of this program left running and that nobody wants any more. */
static void stop_strangers(Supervisor *d, const Services *wanted, Msec now)
{
    _cleanup_(strlist_clear) StrList names = {0};

    if (d->looked || !d->driver->found)
        return;
    d->looked = true;
    d->driver->found(d->d, &names);
    for (size_t i = 0; i < names.len; i++)
        if (!services_have(wanted, names.items[i]))
            vec_push(&d->procs, /* NOLINT(bugprone-sizeof-expression): pointers are meant */
                     proc_found_new(d->driver, d->d, names.items[i], now));
}

int supervisor_set(Supervisor *d, Services *services, Msec now, Err *err)
{
    int r = check_set(services, err);

    if (r == 0)
        stop_strangers(d, services, now);
    for (size_t i = 0; r == 0 && i < d->procs.len; i++) {
        Proc *p = d->procs.items[i];
        if (!services_have(services, p->service.name)) {
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
            p->driver = d->driver;
            p->d = d->d;
            proc_take(&p->service, s);
            p->state = SERVICE_WAITING;
            vec_push(&d->procs, p); /* NOLINT(bugprone-sizeof-expression): pointers are meant */
        }
    }
    services_clear(services);
    if (r == 0)
        supervisor_tick(d, now);
    return r;
}

int supervisor_renew(Supervisor *d, Services *services, const char *name, Err *err)
{
    Proc *p = find(d, name);
    int r = 0;

    for (size_t i = 0; r == 0 && p && i < services->len; i++)
        if (streq(services->items[i].name, name))
            r = renew(p, &services->items[i], err);
    services_clear(services);
    return r;
}

size_t supervisor_status(const Supervisor *d, ServiceStatus *ret, size_t max)
{
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

bool supervisor_busy(const Supervisor *d)
{
    for (size_t i = 0; i < d->procs.len; i++)
        if (d->procs.items[i]->service.once && d->procs.items[i]->phase != PHASE_IDLE)
            return true;
    return false;
}

bool supervisor_may_leave(const Supervisor *d)
{
    return d->driver->outlives && !(d->driver->going_down && d->driver->going_down(d->d));
}

bool supervisor_stop(Supervisor *d, Msec now)
{
    d->stopping = true;
    supervisor_tick(d, now);
    for (size_t i = 0; i < d->procs.len; i++)
        if (d->procs.items[i]->phase != PHASE_IDLE)
            return false;
    return true;
}

Supervisor *supervisor_close(Supervisor *d)
{
    if (!d)
        return NULL;
    for (size_t i = 0; i < d->procs.len; i++) {
        Proc *p = d->procs.items[i];
        if (p->phase != PHASE_IDLE && !d->driver->outlives)
            d->driver->stop(d->d, &p->service, p->pid, STOP_STEP_ALL);
        (void)proc_free(p);
    }
    vec_clear(&d->procs);
    d->driver->close(d->d);
    free(d);
    return NULL;
}
