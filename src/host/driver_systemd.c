/* Services as units of systemd: real servers. Units and environments are in /run: what is to run is
 * in the bundle that the agent keeps, and after a reboot the agent writes them again. */
#include "base/log.h"
#include "host/container.h"
#include "host/driver.h"
#include "host/unit.h"
#include "io/child.h"
#include "io/file.h"
#include "io/systemd.h"

#include <signal.h>
#include <unistd.h>

#define ENV_FOLDER "/run/atoll"
#define UNIT_MAX_BYTES ((size_t)256 << 10)

/* A main process, so that it need not be asked for at each turn. */
typedef struct Known {
    char *name;
    pid_t pid;
    int64_t ticks; /* with the pid it names a process for ever */
} Known;

typedef struct Driver {
    Systemd *systemd; /* NULL: it could not be reached yet */
    VEC(Known) known;
    StrList started;  /* since this program began */
    bool reload_done; /* the units on disk are those that systemd knows */
} Driver;

static int reach(Driver *d, Err *err)
{
    return d->systemd ? 0 : systemd_open(&d->systemd, err);
}

static void *driver_open(const char *root, const char *log_dir)
{
    Driver *d = NEW(Driver);
    _cleanup_(err_clear) Err err = {0};

    (void)root;
    (void)log_dir; /* the journal has what they print */
    if (reach(d, &err) < 0)
        log_warn("%s", err.text); /* every start tries again, and says why it can't */
    return d;
}

static char *unit_path_new(const char *service)
{
    return xasprintf(UNIT_FOLDER "/atoll-%s.service", service);
}

static char *env_path_new(const char *service)
{
    return xasprintf(ENV_FOLDER "/%s.env", service);
}

static void driver_found(void *driver, StrList *ret)
{
    _cleanup_(strlist_clear) StrList names = {0};

    (void)driver;
    if (file_list(UNIT_FOLDER, &names, NULL) < 0)
        return; /* no folder: no units */
    for (size_t i = 0; i < names.len; i++) {
        const char *name = names.items[i];
        size_t n = strlen(name), head = strlen("atoll-"), tail = strlen(".service");
        char hash[17];
        _cleanup_(buf_clear) Buf text = BUF_INIT(UNIT_MAX_BYTES);
        _cleanup_free_ char *path = xasprintf(UNIT_FOLDER "/%s", name);

        if (n > head + tail && starts_with(name, "atoll-") && streq(name + n - tail, ".service") &&
            file_read(path, &text, NULL) == 0 && unit_hash(buf_as_str(&text), hash))
            strlist_addf(ret, "%.*s", (int)(n - head - tail), name + head);
    }
}

static Known *known(Driver *d, const char *name)
{
    for (size_t i = 0; i < d->known.len; i++)
        if (streq(d->known.items[i].name, name))
            return &d->known.items[i];
    vec_push(&d->known, (Known){.name = xstrdup(name)});
    return vec_last(&d->known);
}

static void know(Driver *d, const char *name, pid_t pid)
{
    Known *k = known(d, name);

    k->pid = pid;
    k->ticks = pid ? child_start_ticks(pid) : 0;
}

/* It has a process, or is about to have one. */
static bool runs(const SystemdUnit *u)
{
    if (streq(u->sub, "auto-restart") || streq(u->sub, "exited"))
        return false;
    return streq(u->active, "active") || streq(u->active, "reloading") ||
           streq(u->active, "activating") || streq(u->active, "deactivating");
}

/* The files of a socket that is kept open, or none. *ret_changed: systemd does not know them yet.
 */
static int write_socket(const Service *s, bool *ret_changed, Err *err)
{
    static const struct {
        char *(*name)(const char *service);
        void (*text)(const Service *s, Buf *ret);
    } rows[] = {{unit_held_name_new, unit_held_text}, {unit_socket_name_new, unit_socket_text}};
    int r = file_mkdirs(UNIT_FOLDER, 0755, err);

    for (size_t i = 0; r == 0 && i < ARRAY_LEN(rows); i++) {
        _cleanup_free_ char *name = rows[i].name(s->name);
        _cleanup_free_ char *path = path_join(UNIT_FOLDER, name);
        _cleanup_(buf_clear) Buf text = BUF_INIT(UNIT_MAX_BYTES), old = BUF_INIT(UNIT_MAX_BYTES);

        if (!s->keep_socket) {
            *ret_changed |= unlink(path) == 0;
            continue;
        }
        rows[i].text(s, &text);
        if (file_exists(path) && file_read(path, &old, NULL) == 0 &&
            str_eq(buf_as_str(&old), buf_as_str(&text)))
            continue;
        *ret_changed = true;
        r = file_write(path, buf_as_str(&text), 0644, err);
    }
    return r;
}

static int write_files(const char *unit_path, Str unit, const char *env_path, const Service *s,
                       Err *err)
{
    _cleanup_(buf_wipe) Buf env = BUF_INIT(UNIT_MAX_BYTES);

    if (s->image)
        container_env(s, &env);
    else
        unit_env(s, &env);
    int r = file_mkdirs(ENV_FOLDER, 0700, err);
    if (r == 0)
        r = file_write(env_path, buf_as_str(&env), 0600, err);
    if (r == 0)
        r = file_mkdirs(UNIT_FOLDER, 0755, err);
    return r < 0 ? r : file_write(unit_path, unit, 0644, err);
}

/* What is there of it: its process, whether that runs by this description, and whether its unit's
 * text is the one that it would get. */
typedef struct Found {
    SystemdUnit unit;
    bool same, same_text;
} Found;

static int look_first(Driver *d, const Service *s, const char *unit, const char *path, Str text,
                      Found *ret, Err *err)
{
    _cleanup_(buf_clear) Buf old = BUF_INIT(UNIT_MAX_BYTES);
    char hash[17], own[17];

    int r = systemd_unit(d->systemd, unit, &ret->unit, err);
    if (r < 0)
        return r;
    if (!file_exists(path) || file_read(path, &old, NULL) < 0)
        return 0;
    service_hash(s, own);
    ret->same = unit_hash(buf_as_str(&old), hash) && streq(hash, own);
    ret->same_text = str_eq(buf_as_str(&old), text);
    return 0;
}

static int find_program(const Service *s, char **ret, Err *err)
{
    static const char *const podman[] = {"podman", NULL};
    ChildSpec spec = {.argv = (const char *const *)s->argv.items,
                      .env = (const char *const *)s->env.items};

    if (s->image)
        spec = (ChildSpec){.argv = podman};
    int r = child_program(&spec, ret, err);
    if (r == 0 && **ret != '/') {
        /* A program of the release itself; units know no relative paths. */
        char *whole = path_join(s->cwd ? s->cwd : "/", *ret);
        free(*ret);
        *ret = whole;
    }
    return r;
}

/* Until a container is started its unit's main process is podman, which leaves. */
static pid_t main_pid(const Service *s, const SystemdUnit *u)
{
    return s->image && streq(u->active, "activating") ? 0 : u->pid;
}

/* The socket first: what would start the one that holds it open is then gone. */
static void driver_release(void *driver, const Service *s)
{
    Driver *d = driver;
    _cleanup_free_ char *socket = unit_socket_name_new(s->name);
    _cleanup_free_ char *held = unit_held_name_new(s->name), *path = path_join(UNIT_FOLDER, socket);

    if (!d->systemd || !file_exists(path))
        return;
    (void)systemd_stop(d->systemd, socket, NULL);
    (void)systemd_stop(d->systemd, held, NULL);
}

static int driver_start(void *driver, const Service *s, Run *ret, Err *err)
{
    Driver *d = driver;
    _cleanup_free_ char *unit = unit_name_new(s->name), *path = unit_path_new(s->name);
    _cleanup_free_ char *env_path = env_path_new(s->name), *program = NULL;
    _cleanup_(buf_clear) Buf text = BUF_INIT(UNIT_MAX_BYTES);
    bool first = !strlist_has(&d->started, s->name);
    Found found = {0};

    int r = reach(d, err);
    if (r == 0)
        r = find_program(s, &program, err);
    if (r < 0)
        return r;
    unit_text(s, program, env_path, &text);
    if (text.overflow)
        return err_set(err, ERR_CONFIG, "the unit %s would be too large", unit);
    r = look_first(d, s, unit, path, buf_as_str(&text), &found, err);
    if (r < 0)
        return r;
    if (first)
        strlist_add(&d->started, s->name);
    /* What ran to its end before this program began, did; also what is tried only once. */
    bool done =
        first && found.same &&
        (streq(found.unit.sub, "exited") || (s->no_retry && streq(found.unit.active, "failed")));
    if (runs(&found.unit) || done) {
        *ret = (Run){.pid = main_pid(s, &found.unit), .foreign = !found.same};
        know(d, s->name, ret->pid);
        return 0;
    }
    /* A text that is right on disk tells nothing of what systemd knows: the reload after it may
     * have failed, or an agent before was killed between the two. What is started then would be
     * the release before, under the name of this one. */
    if (!found.same_text)
        d->reload_done = false;
    if (!s->keep_socket)
        driver_release(d, s);
    bool changed = false;
    r = write_socket(s, &changed, err);
    if (changed)
        d->reload_done = false;
    if (r == 0)
        r = write_files(path, buf_as_str(&text), env_path, s, err);
    if (r == 0 && !d->reload_done) {
        r = systemd_reload(d->systemd, err);
        d->reload_done = r == 0;
    }
    if (r == 0)
        r = systemd_restart(d->systemd, unit, err);
    know(d, s->name, 0);
    return r;
}

static void driver_tell(void *driver, const Service *s, pid_t pid, int sig)
{
    Driver *d = driver;
    _cleanup_free_ char *unit = unit_name_new(s->name);

    pid_t init = container_init(s, pid);
    if (init > 0)
        container_signal(init, sig);
    else if (d->systemd)
        (void)systemd_kill(d->systemd, unit, "main", sig, NULL); /* it may have ended */
}

static bool driver_going_down(void *driver)
{
    Driver *d = driver;

    return d->systemd && systemd_going_down(d->systemd);
}

static void driver_stop(void *driver, const Service *s, pid_t pid, StopStep step)
{
    Driver *d = driver;
    _cleanup_free_ char *unit = unit_name_new(s->name);

    if (!d->systemd)
        return;
    /* Going down, systemd's own stop of it is queued behind the agent's end, and a second would
     * wait there too. */
    if (step == STOP_STEP_FIRST && !driver_going_down(d))
        (void)systemd_stop(d->systemd, unit, NULL); /* the next look says whether it ended */
    else if (step == STOP_STEP_ALL)
        (void)systemd_kill(d->systemd, unit, "all", SIGKILL, NULL);
    else
        driver_tell(d, s, pid, stop_signal(s->stop, step));
}

static RunState driver_look(void *driver, const Service *s, Run *run)
{
    Driver *d = driver;
    _cleanup_free_ char *unit = unit_name_new(s->name);
    const Known *k = known(d, s->name);
    SystemdUnit u;

    if (k->pid && child_alive(k->pid, k->ticks)) {
        run->pid = k->pid;
        return RUN_UP;
    }
    /* PID 1 may be busy, or executing itself again: nothing is known then. */
    if (!d->systemd || systemd_unit(d->systemd, unit, &u, NULL) < 0)
        return RUN_UP;
    run->status = u.status;
    /* A queued start or stop will change it. But going down a stop of each is queued that waits for
     * us. */
    if (u.job && !driver_going_down(d))
        return RUN_UP;
    if (!runs(&u))
        return RUN_ENDED;
    pid_t pid = main_pid(s, &u);
    bool other = run->pid && pid && pid != run->pid;
    run->pid = pid;
    know(d, s->name, pid);
    return other ? RUN_NEW : RUN_UP;
}

static void driver_forget(void *driver, const Service *s)
{
    Driver *d = driver;
    _cleanup_free_ char *unit = unit_name_new(s->name), *path = unit_path_new(s->name);
    _cleanup_free_ char *env_path = env_path_new(s->name);
    bool gone = false;

    driver_release(d, s);
    (void)write_socket(&(Service){.name = s->name}, &gone, NULL);
    (void)unlink(path); /* may be gone already */
    (void)unlink(env_path);
    if (!d->systemd)
        return;
    /* One that has crashed would be started again by systemd itself, some seconds later. */
    (void)systemd_stop(d->systemd, unit, NULL);
    (void)systemd_reset(d->systemd, unit, NULL);
}

static void driver_close(void *driver)
{
    Driver *d = driver;

    (void)systemd_close(d->systemd);
    for (size_t i = 0; i < d->known.len; i++)
        free(d->known.items[i].name);
    vec_clear(&d->known);
    strlist_clear(&d->started);
    free(d);
}

const ServiceDriver driver_systemd = {
    .name = "systemd",
    .outlives = true,
    .open = driver_open,
    .found = driver_found,
    .start = driver_start,
    .tell = driver_tell,
    .stop = driver_stop,
    .look = driver_look,
    .release = driver_release,
    .forget = driver_forget,
    .going_down = driver_going_down,
    .close = driver_close,
};
