/* How one service's process is started, told things and watched.
 *
 * `child` runs it as a child of this program, whose end it shares: pocket servers and tests.
 * `systemd` runs it as a unit, which goes on when this program ends (an upgrade, a crash) and is
 * taken over by the next: real servers. When something starts, stops or is given up is not theirs
 * to decide: host/supervisor.h. One table of tests runs on both (test/unit/host/supervisor.c).
 */
#pragma once
#include "host/service.h"

/* The steps of a stop rule (service.h), each after the one before was not enough. */
typedef enum StopStep {
    STOP_STEP_FIRST, /* the rule's first signal, to its main process */
    STOP_STEP_LAST,  /* its last signal */
    STOP_STEP_ALL    /* SIGKILL for all that belongs to it */
} StopStep;

/* What became of a process. */
typedef enum RunState {
    RUN_UP,
    RUN_NEW,  /* it ended, and the service manager has started it again: another pid */
    RUN_ENDED /* it ended and nobody starts it but the supervisor */
} RunState;

typedef struct Run {
    pid_t pid;
    bool foreign; /* it was running already, as another description: to be stopped first */
    int status;   /* RUN_NEW, RUN_ENDED: as of waitpid */
} Run;

typedef struct ServiceDriver {
    const char *name;
    bool outlives; /* what it runs goes on when this program ends */
    /* Ends what a killed agent left and that does not outlive it. */
    void *(*open)(const char *root, const char *log_dir);
    /* Names of what runs already; NULL: nothing ever does. */
    void (*found)(void *d, StrList *ret);
    /* Its folders and files are there. ERR_NOT_FOUND if the program is not. */
    int (*start)(void *d, const Service *s, Run *ret, Err *err);
    /* A signal to its main process: SIGTSTP to be quiet, SIGHUP to reload. */
    void (*tell)(void *d, const Service *s, pid_t pid, int sig);
    void (*stop)(void *d, const Service *s, pid_t pid, StopStep step);
    RunState (*look)(void *d, const Service *s, Run *run);
    /* Its socket (Service.keep_socket) is no longer kept open for a successor: who connects is
     * refused as soon as its process stops listening. Kept again by the next start. */
    void (*release)(void *d, const Service *s);
    /* It will not be started again: NULL: nothing to tidy. */
    void (*forget)(void *d, const Service *s);
    /* The machine is shutting down: then also what would outlive this program is to be stopped with
     * care. NULL: it never does. */
    bool (*going_down)(void *d);
    void (*turn)(void *d, Msec now); /* once a turn, for its own books; may be NULL */
    void (*close)(void *d); /* what outlives it runs on; the rest was stopped or is killed */
} ServiceDriver;
extern const ServiceDriver driver_child, driver_systemd;

/* The first and the last signal of a stop rule. */
int stop_signal(ServiceStop rule, StopStep step);
