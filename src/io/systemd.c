#include "io/systemd.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-daemon.h>

#define SOCKET "unix:path=/run/systemd/private"
#define DESTINATION "org.freedesktop.systemd1"
#define MANAGER DESTINATION, "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager"
#define UNIT "org.freedesktop.systemd1.Unit"
#define SERVICE "org.freedesktop.systemd1.Service"

struct Systemd {
    sd_bus *bus;
};

static int failed(Err *err, const char *what, int r, const sd_bus_error *e)
{
    ErrKind kind = e && sd_bus_error_has_name(e, "org.freedesktop.systemd1.NoSuchUnit")
                       ? ERR_NOT_FOUND
                       : ERR_IO;

    return err_set(err, kind, "systemd: %s: %s", what, e && e->message ? e->message : strerror(-r));
}

static int join(Systemd *s, Err *err)
{
    sd_bus *bus = NULL;

    s->bus = sd_bus_flush_close_unref(s->bus);
    int r = sd_bus_new(&bus);
    if (r >= 0)
        r = sd_bus_set_address(bus, SOCKET);
    if (r >= 0)
        r = sd_bus_start(bus);
    if (r >= 0)
        r = sd_bus_set_method_call_timeout(bus, (uint64_t)SYSTEMD_CALL_MS * 1000);
    if (r < 0) {
        sd_bus_unref(bus);
        return failed(err, "cannot talk to it", r, NULL);
    }
    s->bus = bus;
    return 0;
}

int systemd_open(Systemd **ret, Err *err)
{
    Systemd *s = NEW(Systemd);

    int r = join(s, err);
    if (r < 0) {
        free(s);
        return r;
    }
    *ret = s;
    return 0;
}

Systemd *systemd_close(Systemd *s)
{
    if (!s)
        return NULL;
    sd_bus_flush_close_unref(s->bus);
    free(s);
    return NULL;
}

/* What a call says, beside the unit it is of. */
typedef struct Call {
    const char *method, *unit, *word; /* unit, word: NULL: none */
    int number;                       /* 0: none */
} Call;

static int call_once(Systemd *s, const Call *c, sd_bus_message **ret, sd_bus_error *e)
{
    sd_bus_message *m = NULL;

    int r = sd_bus_message_new_method_call(s->bus, &m, MANAGER, c->method);
    if (r >= 0 && c->unit)
        r = sd_bus_message_append(m, "s", c->unit);
    if (r >= 0 && c->word)
        r = sd_bus_message_append(m, "s", c->word);
    if (r >= 0 && c->number)
        r = sd_bus_message_append(m, "i", c->number);
    if (r >= 0)
        r = sd_bus_call(s->bus, m, 0, e, ret);
    sd_bus_message_unref(m);
    return r;
}

/* Again on a new connection if this one has ended, as at every re-exec of PID 1. */
static int call(Systemd *s, const Call *c, sd_bus_message **ret, Err *err)
{
    int r = 0;

    for (int attempt = 0; attempt < 2; attempt++) {
        sd_bus_error e = SD_BUS_ERROR_NULL;

        if (!s->bus || sd_bus_is_open(s->bus) <= 0)
            r = join(s, err);
        if (!s->bus)
            return r;
        r = call_once(s, c, ret, &e);
        bool again = attempt == 0 && (r == -ECONNRESET || r == -ENOTCONN || r == -EPIPE);
        int result = r < 0 && !again ? failed(err, c->unit ? c->unit : c->method, r, &e) : 0;
        sd_bus_error_free(&e);
        if (!again)
            return result;
        s->bus = sd_bus_flush_close_unref(s->bus);
    }
    return 0; /* not reached: the second attempt returns */
}

static int call_only(Systemd *s, const Call *c, Err *err)
{
    sd_bus_message *answer = NULL;

    int r = call(s, c, &answer, err);
    sd_bus_message_unref(answer);
    return r;
}

int systemd_reload(Systemd *s, Err *err)
{
    return call_only(s, &(Call){"Reload"}, err);
}

int systemd_restart(Systemd *s, const char *unit, Err *err)
{
    return call_only(s, &(Call){"RestartUnit", unit, "replace"}, err);
}

int systemd_stop(Systemd *s, const char *unit, Err *err)
{
    return call_only(s, &(Call){"StopUnit", unit, "replace"}, err);
}

int systemd_kill(Systemd *s, const char *unit, const char *whom, int sig, Err *err)
{
    return call_only(s, &(Call){"KillUnit", unit, whom, sig}, err);
}

int systemd_reset(Systemd *s, const char *unit, Err *err)
{
    return call_only(s, &(Call){"ResetFailedUnit", unit}, err);
}

bool systemd_is_there(void)
{
    return sd_booted() > 0;
}

bool systemd_going_down(Systemd *s)
{
    char *state = NULL;
    int r = -ENOTCONN;

    /* As in call(): the connection may have ended long ago, with an update of systemd; the reboot
     * after it is one that needs care too. */
    for (int attempt = 0; attempt < 2 && r < 0; attempt++) {
        if ((!s->bus || sd_bus_is_open(s->bus) <= 0) && join(s, NULL) < 0)
            return false;
        r = sd_bus_get_property_string(s->bus, MANAGER, "SystemState", NULL, &state);
        if (r < 0)
            s->bus = sd_bus_flush_close_unref(s->bus);
    }
    bool down = state && strcmp(state, "stopping") == 0;
    free(state);
    return down;
}

static int text(Systemd *s, const char *path, const char *name, char ret[static 24])
{
    char *value = NULL;

    int r = sd_bus_get_property_string(s->bus, DESTINATION, path, UNIT, name, NULL, &value);
    if (r >= 0)
        snprintf(ret, 24, "%s", value);
    free(value);
    return r;
}

static int number(Systemd *s, const char *path, const char *name, char type, void *ret)
{
    return sd_bus_get_property_trivial(s->bus, DESTINATION, path, SERVICE, name, NULL, type, ret);
}

static int job_of(Systemd *s, const char *path, uint32_t *ret)
{
    sd_bus_message *m = NULL;
    const char *job;

    int r = sd_bus_get_property(s->bus, DESTINATION, path, UNIT, "Job", NULL, &m, "(uo)");
    if (r >= 0)
        r = sd_bus_message_read(m, "(uo)", ret, &job);
    sd_bus_message_unref(m);
    return r;
}

static int how_it_ended(int32_t code, int32_t status)
{
    /* CLD_EXITED, or else a signal. */
    return code == 1 ? status << 8 : status;
}

int systemd_unit(Systemd *s, const char *unit, SystemdUnit *ret, Err *err)
{
    sd_bus_message *answer = NULL;
    SystemdUnit u = {.active = ""};
    uint32_t pid = 0, job = 0;
    int32_t code = 0, status = 0;
    const char *path;

    /* LoadUnit also finds one that has been let go of since it ended. */
    int r = call(s, &(Call){"LoadUnit", unit}, &answer, err);
    if (r < 0)
        return r;
    r = sd_bus_message_read(answer, "o", &path);
    /* First: with no job any more, what is read after it is what came of the job. The other way
     * round a start between the two would read as an end. */
    if (r >= 0)
        r = job_of(s, path, &job);
    if (r >= 0)
        r = text(s, path, "ActiveState", u.active);
    if (r >= 0)
        r = text(s, path, "SubState", u.sub);
    if (r >= 0)
        r = number(s, path, "MainPID", 'u', &pid);
    if (r >= 0)
        r = number(s, path, "ExecMainCode", 'i', &code);
    if (r >= 0)
        r = number(s, path, "ExecMainStatus", 'i', &status);
    sd_bus_message_unref(answer);
    if (r < 0)
        return failed(err, unit, r, NULL);
    u.pid = (pid_t)pid;
    u.status = how_it_ended(code, status);
    u.job = job != 0;
    *ret = u;
    return 0;
}

void systemd_notify(const char *state)
{
    (void)sd_notify(0, state); /* only words: nothing depends on it */
}
