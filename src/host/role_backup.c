/* The database's backup, on its own server: atoll's stream of the log, and whole copies from time
 * to time. Both read over PostgreSQL's replication protocol, by a role that can do no more, and
 * write through one address that can only add (host/backup.h). */
#include "host/backup.h"
#include "host/role.h"

#include <signal.h>

#define NAME "backup"

static Buf *file_in(const RoleContext *c, Service *s, const char *name)
{
    return service_file(s, 0600, role_path(c, NAME, name));
}

static int secret_file(const RoleContext *c, Service *s, const char *file, const char *secret,
                       const char *before, Err *err)
{
    const Secret *value;
    int r = role_secret(c, secret, &value, err);

    if (r == 0) {
        Buf *b = file_in(c, s, file);
        buf_str(b, before);
        buf_str(b, secret_expose(value).p);
        buf_char(b, '\n');
    }
    return r;
}

/* The settings file of `atoll backup` (backup/settings.h). */
static void write_settings(const RoleContext *c, const char *socket, const char *state, Buf *b)
{
    buf_printf(b,
               "# atoll writes this file anew whenever the island's settings change.\n"
               "postgres: {host: \"%s\", port: %d, user: " BACKUP_ROLE "}\n"
               "slot: atoll\n"
               "repository: {urls: backup.urls}\n"
               "keys: .\n"
               "state: \"%s\"\n",
               socket, role_rows[ROLE_POSTGRES].port, state);
    (void)c;
}

/* A service of `atoll backup`. Its files are looked at again while it runs, so nothing has to be
 * done when they change: SIGCONT tells a running process nothing. */
static Service backup_service(const RoleContext *c, const char *name, const char *verb)
{
    Service s = role_service(c, ROLE_POSTGRES, name);
    _cleanup_free_ char *atoll = xasprintf("%s/usr/bin/atoll", c->paths->root);
    _cleanup_free_ char *settings = role_path(c, NAME, "backup.yaml");

    role_argv(&s, (const char *const[]){atoll, "backup", verb, "--settings", settings, NULL});
    role_plain_env(&s);
    s.limits = (ServiceLimits){.memory_percent = 25, .tasks = 64, .files = 1024, .oom_adjust = 100};
    s.health = HEALTH_RUNNING;
    s.stop = STOP_TERM;
    s.stop_ms = 35 * SECOND; /* the stream stores what it has, for half a minute at most */
    s.reload_signal = SIGCONT;
    return s;
}

int role_backup(const RoleContext *c, const char *socket, Services *ret, Err *err)
{
    if (!json_object_get(c->spec, "backup"))
        return 0;
    _cleanup_free_ char *state = xasprintf("%s/backup", c->paths->data);
    Service stream = backup_service(c, "backup-stream", "stream");
    role_argv(&stream, (const char *const[]){"--make-slot", NULL});
    role_after(ret, &stream, (const char *const[]){"postgres", NULL});
    service_dir(&stream, 0700, xstrdup(state));
    service_dir(&stream, 0700, role_path(c, NAME, ""));
    write_settings(c, socket, state, file_in(c, &stream, "backup.yaml"));
    int r = secret_file(c, &stream, "host.key", BACKUP_HOST_KEY, "", err);
    if (r == 0)
        r = secret_file(c, &stream, "recipients", BACKUP_RECIPIENTS, "", err);
    if (r == 0)
        r = secret_file(c, &stream, "backup.urls", BACKUP_URL, "1970-01-01T00:00:00Z ", err);
    vec_push(ret, stream);
    if (r < 0)
        return r;

    _cleanup_free_ char *every =
        xasprintf("--every=%lldh", (long long)json_int(c->spec, "backup.every_h", 24));
    Service base = backup_service(c, "backup-base", "base");
    role_argv(&base, (const char *const[]){every, NULL});
    role_after(ret, &base, (const char *const[]){"postgres", "backup-stream", NULL});
    service_dir(&base, 0700, xstrdup(state));
    vec_push(ret, base);
    return 0;
}
