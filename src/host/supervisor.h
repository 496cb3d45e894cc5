/* Makes a set of services so, and keeps it so: who waits for whom, restarts with backoff, health,
 * careful stops. Time is passed in. Nothing here waits: it is moved on by supervisor_tick.
 */
#pragma once
#include "host/driver.h"

typedef struct Supervisor Supervisor;

Supervisor *supervisor_open(const ServiceDriver *driver, const char *root, const char *log_dir);
/* Makes the set of services exactly this (taken, also on failure): starts, restarts what changed,
 * stops the rest in reverse order. Does not wait for health. ERR_BUG for a set that makes no sense:
 * nothing is changed then. */
int supervisor_set(Supervisor *s, Services *services, Msec now, Err *err) _must_check_;
/* The same for the one service of the set that is called so (taken, all of it): of the others
 * nothing is changed, and none runs again. */
int supervisor_renew(Supervisor *s, Services *services, const char *name, Err *err) _must_check_;
/* One turn: notices ends, restarts with backoff (1 s, doubling to a few seconds while it may still
 * come up in time, to 30 s after that), checks health. Never blocks more than 200 ms, but for a
 * service manager that reads its units anew. */
void supervisor_tick(Supervisor *s, Msec now);
size_t supervisor_status(const Supervisor *s, ServiceStatus *ret, size_t max);
/* True while something runs that is to run to its end: a migration. */
bool supervisor_busy(const Supervisor *s);
/* True if this program may end and leave everything running, for its successor to take over. */
bool supervisor_may_leave(const Supervisor *s);
/* Stops everything carefully; true when nothing runs any more. Called until then. */
bool supervisor_stop(Supervisor *s, Msec now);
/* Takes NULL, returns NULL. What outlives this program (driver.h) runs on. */
Supervisor *supervisor_close(Supervisor *s);
static inline void supervisor_drop(Supervisor *s)
{
    (void)supervisor_close(s);
}
DEFINE_CLEANUP(Supervisor *, supervisor_drop)
