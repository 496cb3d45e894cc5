/* A folder of its own, a driver, and turns of it until something is so: for tests that run real
 * processes. The driver's clock is the test's: it runs 20 times as fast as the real one, so that
 * waits of seconds take moments. Every wait has a deadline on the real clock. */
#pragma once
#include "host/supervisor.h"
#include "io/file.h"

#include <poll.h>
#include <unistd.h>

#define TURN_REAL_MS 5
#define TURN_MS 100
#define DEADLINE_MS (20 * SECOND)

typedef struct Turns {
    char folder[64];
    const ServiceDriver *driver;
    Supervisor *d;
    Msec now;
} Turns;

/* $ATOLL_DRIVER=systemd: on a machine that systemd runs, as root (test/story/boot.py). */
static const ServiceDriver *tested_driver(void)
{
    const char *name = getenv("ATOLL_DRIVER");
    return streq(name, "systemd") ? &driver_systemd : &driver_child;
}

static int turns_setup(void **state)
{
    Turns *t = NEW(Turns);
    t->driver = tested_driver();
    /* Units have a /tmp of their own. */
    snprintf(t->folder, sizeof t->folder, "%s/atoll-host.XXXXXX",
             t->driver->outlives ? "/var/lib" : "/tmp");
    if (!mkdtemp(t->folder) || chmod(t->folder, 0711) < 0)
        return -1;
    _cleanup_free_ char *logs = path_join(t->folder, "log");
    t->d = supervisor_open(t->driver, t->folder, logs);
    t->now = 1000000;
    *state = t;
    return 0;
}

static void turn(Turns *t)
{
    t->now += TURN_MS;
    supervisor_tick(t->d, t->now);
    (void)poll(NULL, 0, TURN_REAL_MS);
}

static void stop_all(Turns *t);

static int turns_teardown(void **state)
{
    Turns *t = *state;
    if (t->d && t->driver->outlives)
        stop_all(t);
    (void)supervisor_close(t->d);
    int r = file_remove_tree(t->folder, NULL);
    free(t);
    return r;
}

static ServiceStatus status_of(const Turns *t, const char *name)
{
    ServiceStatus all[32];
    size_t n = supervisor_status(t->d, all, ARRAY_LEN(all));
    for (size_t i = 0; i < n; i++)
        if (streq(all[i].name, name))
            return all[i];
    return (ServiceStatus){.state = SERVICE_STOPPED};
}

static _unused_ void until_state(Turns *t, const char *name, ServiceState state)
{
    Msec deadline = time_mono() + DEADLINE_MS;
    while (status_of(t, name).state != state) {
        if (time_mono() > deadline) {
            ServiceStatus s = status_of(t, name);
            fail_msg("%s is %s (%s), not %s", name, service_state_word(s.state), s.why,
                     service_state_word(state));
        }
        turn(t);
    }
}

static _unused_ char *trace_path(const Turns *t)
{
    return path_join(t->folder, "trace");
}

static _unused_ void read_trace(const Turns *t, Buf *ret)
{
    _cleanup_free_ char *path = trace_path(t);
    buf_truncate(ret, 0);
    if (file_exists(path))
        assert_int_equal(file_read(path, ret, NULL), 0);
}

static _unused_ void until_trace(Turns *t, const char *expect)
{
    Msec deadline = time_mono() + DEADLINE_MS;
    _cleanup_(buf_clear) Buf trace = BUF_INIT(BUF_MAX_LINE);
    for (;;) {
        read_trace(t, &trace);
        if (streq(trace.p, expect))
            return;
        if (time_mono() > deadline)
            fail_msg("the trace is '%s', not '%s'", trace.p, expect);
        turn(t);
    }
}

static _unused_ void set_services(Turns *t, Services *s)
{
    _cleanup_(err_clear) Err err = {0};
    t->now += TURN_MS;
    if (supervisor_set(t->d, s, t->now, &err) < 0)
        fail_msg("%s", err.text);
}

static void stop_all(Turns *t)
{
    Msec deadline = time_mono() + DEADLINE_MS;
    while (!supervisor_stop(t->d, t->now)) {
        if (time_mono() > deadline)
            fail_msg("it does not stop");
        t->now += TURN_MS;
        (void)poll(NULL, 0, TURN_REAL_MS);
    }
}
