/* PostgreSQL: its data folder on the volume, everything of ours beside it.
 *
 * The superuser has no password: the agent reaches it over the unix socket by its operating system
 * user (peer, pg_ident.conf), so there is none to keep, to leak, or to lose with the server when a
 * volume outlives it. Mastodon's role and database are made by the health check (host/health.c),
 * as the first thing that is asked of a server that has just started.
 */
#include "host/role.h"
#include "io/crypt.h"

#include <pwd.h>
#include <sys/un.h>
#include <unistd.h>

/* initdb in a folder beside, so that a run that was cut off leaves nothing that looks like a
 * database. Arguments: programs' folder, data folder. */
static const char init_script[] =
    "set -eu\n"
    "rm -rf \"$2.new\"\n"
    "\"$1/initdb\" --pgdata=\"$2.new\" --username=postgres --auth-local=peer "
    "--auth-host=scram-sha-256 --encoding=UTF8 --locale=C --data-checksums\n"
    "mv \"$2.new\" \"$2\"\n"
    "sync\n";

/* A value of postgresql.conf in quotes. */
static void setting(Buf *b, const char *name, const char *value)
{
    buf_printf(b, "%s = '", name);
    for (const char *p = value; *p; p++) {
        if (*p == '\'')
            buf_char(b, '\'');
        buf_char(b, *p);
    }
    buf_str(b, "'\n");
}

/* A socket's path has 107 bytes at most (unix(7)), and a pocket server's root may be deep: hence
 * the short name, and a socket without a file (PostgreSQL 14 and later: '@' and its name) where
 * even that is too long. It goes with the process, so that nothing is left of a server whose power
 * was cut. Anybody may connect to it, but pg_hba.conf lets nobody in but us, and anybody may take
 * its name first, but the health check talks to the service's user only. */
static char *socket_folder_new(const RoleContext *c)
{
    char *folder =
        xasprintf("%s/run/%s", c->paths->root, *c->paths->root ? "pg" : "atoll-postgres");
    struct sockaddr_un a;

    if (strlen(folder) + strlen("/.s.PGSQL.65535") < sizeof a.sun_path)
        return folder;
    _cleanup_(buf_clear) Buf hex = BUF_INIT(BUF_MAX_LINE);
    crypt_hash(CRYPT_SHA256, str_of(folder), &hex);
    free(folder);
    return xasprintf("@atoll-%.16s", hex.p);
}

static void write_settings(const RoleContext *c, const char *data, const char *socket, Buf *b)
{
    _cleanup_free_ char *hba = role_path(c, "postgres", "pg_hba.conf");
    _cleanup_free_ char *ident = role_path(c, "postgres", "pg_ident.conf");

    setting(b, "data_directory", data);
    setting(b, "hba_file", hba);
    setting(b, "ident_file", ident);
    setting(b, "listen_addresses", c->paths->address);
    buf_printf(b, "port = %d\n", role_rows[ROLE_POSTGRES].port);
    setting(b, "unix_socket_directories", socket);
    setting(b, "unix_socket_permissions", "0700");
    setting(b, "cluster_name", json_str_or(c->spec, "island", "atoll"));
    buf_str(b, "password_encryption = 'scram-sha-256'\n"
               "max_connections = 200\n"
               "timezone = 'UTC'\n"
               "log_timezone = 'UTC'\n"
               "log_line_prefix = '%m [%p] %q%u@%d '\n"
               "log_checkpoints = on\n");
}

/* The island's net is the one that the server is in. On a pocket server clients come from 127.0.0.1
 * unless they bind their own address. */
static const char hba[] = "local all postgres peer map=atoll\n"
                          "host mastodon_production mastodon samenet scram-sha-256\n"
                          "host mastodon_production mastodon 127.0.0.0/8 scram-sha-256\n";

static void write_ident(const Service *s, Buf *b)
{
    const struct passwd *me = getpwuid(geteuid());

    if (me)
        buf_printf(b, "atoll \"%s\" postgres\n", me->pw_name);
    if (s->user && (!me || !streq(me->pw_name, s->user)))
        buf_printf(b, "atoll \"%s\" postgres\n", s->user);
}

static Service init_service(const RoleContext *c, const char *programs, const char *data)
{
    Service s = role_service(c, ROLE_POSTGRES, "postgres-init");

    role_argv(&s, (const char *const[]){"sh", "-c", init_script, "init", programs, data, NULL});
    role_plain_env(&s);
    service_dir(&s, 0700, xasprintf("%s/postgres", c->paths->data));
    s.once = true;
    s.health = HEALTH_ONCE;
    s.skip_path = xasprintf("%s/PG_VERSION", data);
    s.start_ms = 2 * MINUTE;
    return s;
}

int role_postgres(const RoleContext *c, Services *ret, Err *err)
{
    const char *programs = c->paths->pg_bin ? c->paths->pg_bin : "";
    const Secret *password;

    if (!c->paths->pg_bin && !c->paths->paper)
        return err_set(err, ERR_CONFIG, "PostgreSQL is not installed on this server");
    int r = role_secret(c, "db_password", &password, err);
    if (r < 0)
        return r;
    _cleanup_free_ char *data = xasprintf("%s/postgres/pgdata", c->paths->data);
    _cleanup_free_ char *socket = socket_folder_new(c);
    _cleanup_free_ char *program = xasprintf("%s/postgres", programs);
    _cleanup_free_ char *config = role_path(c, "postgres", "postgresql.conf");
    _cleanup_free_ char *option = xasprintf("--config-file=%s", config);
    Service s = role_service(c, ROLE_POSTGRES, "postgres");

    vec_push(ret, init_service(c, programs, data));
    role_argv(&s, (const char *const[]){program, option, NULL});
    role_plain_env(&s);
    role_after(ret, &s, (const char *const[]){"postgres-init", NULL});
    /* What it writes to has to be named: all else is closed to it (host/unit.h). */
    service_dir(&s, 0700, xasprintf("%s/postgres", c->paths->data));
    if (*socket == '/')
        service_dir(&s, 0700, xstrdup(socket));
    s.limits.interfaces = true; /* `samenet` in pg_hba.conf */
    write_settings(c, data, socket, service_file(&s, 0600, xstrdup(config)));
    buf_str(service_file(&s, 0600, role_path(c, "postgres", "pg_hba.conf")), hba);
    write_ident(&s, service_file(&s, 0600, role_path(c, "postgres", "pg_ident.conf")));
    s.health = HEALTH_POSTGRES;
    s.health_path = xstrdup(socket);
    s.health_secret = password;
    s.stop = STOP_FAST;
    s.stop_ms = 1 * MINUTE;
    s.start_ms = 3 * MINUTE; /* after a power cut it replays its log first */
    vec_push(ret, s);
    return 0;
}
