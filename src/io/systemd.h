/* systemd's manager (PID 1) over its private socket: units are started, stopped and looked at.
 *
 * The socket /run/systemd/private is root's and needs no D-Bus daemon; the interface is
 * org.freedesktop.systemd1(5). Calls block until PID 1 answers, which takes milliseconds, at most
 * SYSTEMD_CALL_MS. Unit names are with their suffix ("atoll-web.service").
 */
#pragma once
#include "base/err.h"
#include "base/time.h"
#include <sys/types.h>

#define SYSTEMD_CALL_MS ((Msec)5000)

typedef struct Systemd Systemd;

/* ERR_IO where systemd is not PID 1, or we are not root. Connects anew by itself when PID 1 has
 * executed itself again. */
int systemd_open(Systemd **ret, Err *err) _must_check_;
Systemd *systemd_close(Systemd *s); /* takes NULL, returns NULL */

/* True while the machine is shutting down. */
bool systemd_going_down(Systemd *s);
/* True if systemd is this machine's PID 1. */
bool systemd_is_there(void);
/* Reads all unit files anew (daemon-reload). */
int systemd_reload(Systemd *s, Err *err) _must_check_;
/* These queue the job and do not wait for it; what became of it, systemd_unit says. Restart starts
 * what does not run, also what systemd itself would start again some time later. */
int systemd_restart(Systemd *s, const char *unit, Err *err) _must_check_;
int systemd_stop(Systemd *s, const char *unit, Err *err);
/* `whom`: "main" or "all". */
int systemd_kill(Systemd *s, const char *unit, const char *whom, int sig, Err *err);
/* Forgets that it failed, so that a stopped unit is let go of. */
int systemd_reset(Systemd *s, const char *unit, Err *err);

typedef struct SystemdUnit {
    char active[24]; /* "active", "activating", "inactive", "failed"... */
    char sub[24];    /* "running", "exited", "auto-restart"... */
    pid_t pid;       /* of the main process; 0: none */
    int status;      /* how the last one ended, as of waitpid */
    bool job;        /* a start or stop of it is queued */
} SystemdUnit;
/* ERR_NOT_FOUND if the manager does not know it. */
int systemd_unit(Systemd *s, const char *unit, SystemdUnit *ret, Err *err) _must_check_;

/* Tells whoever started this process (Type=notify) how it is: "READY=1", "STATUS=..."
 * (sd_notify(3)). Where nobody listens: nothing. */
void systemd_notify(const char *state);
