/* One service of the supervisor: its process, and where it is on its way up or down.
 *
 * What is wanted of it is in `leaving` and `next`; where it is, in `phase`. The driver decides when
 * it may start and when it is to stop; each call here moves it on by what it finds. Nothing waits.
 */
#pragma once
#include "host/driver.h"
#include "host/health.h"

typedef enum Phase {
    PHASE_IDLE,     /* no process */
    PHASE_UP,       /* it runs */
    PHASE_DRAINING, /* told to be quiet */
    PHASE_STOPPING, /* the first signal was sent */
    PHASE_KILLING   /* the last one */
} Phase;

typedef struct Proc {
    const ServiceDriver *driver; /* borrowed, with `d` */
    void *d;
    Service service;
    Service next; /* takes its place when it has stopped; name NULL: none */
    bool leaving; /* no longer wanted */
    Phase phase;
    ServiceState state;
    pid_t pid;
    bool foreign;        /* runs as another description: to be stopped, then started */
    bool done;           /* `once`: ran to its end */
    bool given_up;       /* `no_retry`: it failed */
    bool known_well;     /* since its process started */
    bool unheard;        /* told to be quiet before it could hear that */
    Msec started, since; /* since: phase or, for a process, start */
    Msec trouble;        /* began to be started, or to be unwell; 0: well */
    Msec start_at, backoff;
    Msec check_at;
    Health *check;
    Msec asked; /* when `check` was begun */
    int misses, restarts;
    char why[160];
} Proc;

/* Takes a description, with a copy of its own of the secret that it borrows. */
void proc_take(Service *to, Service *from);
/* Frees what proc_take made. */
void proc_drop(Service *s);
Proc *proc_free(Proc *p); /* takes NULL, returns NULL; what runs runs on */
void proc_set_why(Proc *p, const char *why);

/* Something that runs, of which only the name is known; it is to go. */
Proc *proc_found_new(const ServiceDriver *driver, void *d, const char *name, Msec now);
/* Starts it, or notes why that did not work and when it is tried again. Returns whether a process
 * was started. */
bool proc_start(Proc *p, Msec now);
/* It may be started but its time has not come. */
void proc_wait(Proc *p, Msec now);
/* Looks at its health, if it is up. */
void proc_check(Proc *p, Msec now);
/* `go`: it is to stop now; without it a stop that has begun goes on. */
void proc_stop(Proc *p, bool go, Msec now);
/* Notices that its process has ended. */
void proc_reap(Proc *p, Msec now);
/* A fresh beginning with p->service as it is. */
void proc_renew(Proc *p);
