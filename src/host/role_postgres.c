/* PostgreSQL: its data folder on the volume, everything of ours beside it.
 *
 * The superuser has no password: the agent reaches it over the unix socket by its operating system
 * user (peer, pg_ident.conf), so there is none to keep, to leak, or to lose with the server when a
 * volume outlives it. Mastodon's role and database are made by the health check (host/health.c),
 * as the first thing that is asked of a server that has just started.
 */
#include "host/backup.h"
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

/* A cluster that others have taken leave of goes on behind them: it gets a timeline that nobody
 * has, or the log of two that differ would be told apart by nothing. PostgreSQL takes the next
 * number after those whose history it knows, hence the files; what is in them it does not read,
 * since it is told to stay on its own timeline to the end. Arguments: programs' folder, data
 * folder, the newest timeline that is known of, the file that says that it is done. */
static const char turn_script[] =
    "set -eu\n"
    "\"$1/pg_ctl\" -D \"$2\" -m fast -w stop 2>/dev/null || :\n" /* of a run that was killed */
    "tli() { LC_ALL=C \"$1/pg_controldata\" -D \"$2\" | sed -n \"s/^Latest checkpoint's "
    "TimeLineID: *//p\"; }\n"
    "now=$(tli \"$1\" \"$2\")\n"
    "if [ \"$now\" -le \"$3\" ]; then\n"
    "  run=$(mktemp -d)\n"
    "  trap 'rm -rf \"$run\"' EXIT\n"
    "  : >\"$run/none\"\n"
    "  echo local all all reject >\"$run/hba\"\n"
    "  n=$((now + 1))\n"
    "  while [ $n -le \"$3\" ]; do\n"
    "    f=\"$2/pg_wal/$(printf %08X.history $n)\"\n"
    "    [ -e \"$f\" ] || printf '%d\\t0/0\\tleft\\n' \"$now\" >\"$f\"\n"
    "    n=$((n + 1))\n"
    "  done\n"
    "  : >\"$2/recovery.signal\"\n"
    "  \"$1/pg_ctl\" -D \"$2\" -w -t 3600 -l \"$run/log\" -o \"-c config_file=$run/none -c "
    "hba_file=$run/hba -c ident_file=$run/none -c listen_addresses= -c "
    "unix_socket_directories=$run -c restore_command=false -c recovery_target_timeline=current -c "
    "hot_standby=off\" start || { cat \"$run/log\"; exit 1; }\n"
    /* pg_ctl is content as soon as recovery has begun (postmaster.c, PMSIGNAL_RECOVERY_STARTED). */
    "  until grep -q '^ready' \"$2/postmaster.pid\"; do\n"
    "    \"$1/pg_ctl\" -D \"$2\" status >/dev/null || { cat \"$run/log\"; exit 1; }\n"
    "    sleep 0.1\n"
    "  done\n"
    "  \"$1/pg_ctl\" -D \"$2\" -m fast -w -t 3600 stop\n"
    "  [ \"$(tli \"$1\" \"$2\")\" -gt \"$3\" ]\n"
    "fi\n"
    "sync\n"
    ": >\"$4\"\n";

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
    buf_printf(b, "max_connections = %d\n", ROLE_POSTGRES_CONNECTIONS);
    buf_str(b, "password_encryption = 'scram-sha-256'\n"
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

static void ident_line(Buf *b, const char *user)
{
    buf_printf(b, "atoll \"%s\" postgres\natoll \"%s\" " BACKUP_ROLE "\n", user, user);
}

static void write_ident(const Service *s, Buf *b)
{
    const struct passwd *me = getpwuid(geteuid());

    if (me)
        ident_line(b, me->pw_name);
    if (s->user && (!me || !streq(me->pw_name, s->user)))
        ident_line(b, s->user);
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

/* The data comes out of a backup, before there is a database (cmd/verb_backup_receive.c). */
static int restore_service(const RoleContext *c, const char *programs, const char *data,
                           Service *ret, Err *err)
{
    _cleanup_free_ char *atoll = xasprintf("%s/usr/bin/atoll", c->paths->root);
    _cleanup_free_ char *folder = role_path(c, "postgres-init", "kit");
    const Secret *url = NULL, *key = NULL;
    int r = role_secret(c, BACKUP_KIT_URL, &url, err);

    if (r == 0)
        r = role_secret(c, BACKUP_KIT_KEY, &key, err);
    if (r < 0)
        return r;
    strlist_clear(&ret->argv);
    role_argv(ret, (const char *const[]){atoll, "backup", "receive", "--programs", programs, folder,
                                         data, NULL});
    service_dir(ret, 0700, xstrdup(folder));
    buf_str(service_file(ret, 0600, role_path(c, "postgres-init", "kit/url")),
            secret_expose(url).p);
    buf_str(service_file(ret, 0600, role_path(c, "postgres-init", "kit/key")),
            secret_expose(key).p);
    ret->progress_path = role_path(c, "postgres-init", "kit/progress");
    ret->start_ms = 1 * DAY;
    ret->no_retry = true; /* it waits for the store itself; another attempt has other addresses */
    return 0;
}

/* Once a volume and a turn: the mark is on the volume. */
static Service turn_service(const RoleContext *c, const char *programs, const char *data)
{
    long long after = (long long)json_int(c->spec, "turn.after", 0);
    Service s = role_service(c, ROLE_POSTGRES, "postgres-turn");
    _cleanup_free_ char *number = xasprintf("%lld", after);
    _cleanup_free_ char *attempt =
        xasprintf("%lld", (long long)json_int(c->spec, "turn.attempt", 1));
    _cleanup_free_ char *mark = xasprintf("%s/postgres/turned-%lld", c->paths->data, after);

    role_argv(&s, (const char *const[]){"sh", "-c", turn_script, "turn", programs, data, number,
                                        mark, attempt, NULL});
    role_plain_env(&s);
    service_dir(&s, 0700, xasprintf("%s/postgres", c->paths->data));
    s.once = true;
    s.health = HEALTH_ONCE;
    s.no_retry = true;
    s.skip_path = TAKE(mark);
    s.start_ms = 1 * HOUR;
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
    if (json_object_get(c->spec, "restore"))
        r = restore_service(c, programs, data, vec_last(ret), err);
    if (r < 0) {
        service_clear(&s);
        return r;
    }
    if (json_object_get(c->spec, "turn")) {
        vec_push(ret, turn_service(c, programs, data));
        role_after(ret, vec_last(ret), (const char *const[]){"postgres-init", NULL});
    }
    role_argv(&s, (const char *const[]){program, option, NULL});
    role_plain_env(&s);
    role_after(ret, &s, (const char *const[]){"postgres-init", "postgres-turn", NULL});
    /* What it writes to has to be named: all else is closed to it (host/unit.h). */
    service_dir(&s, 0700, xasprintf("%s/postgres", c->paths->data));
    if (*socket == '/')
        service_dir(&s, 0700, xstrdup(socket));
    s.limits.interfaces = true; /* `samenet` in pg_hba.conf */
    write_settings(c, data, socket, service_file(&s, 0600, xstrdup(config)));
    Buf *rules = service_file(&s, 0600, role_path(c, "postgres", "pg_hba.conf"));
    buf_str(rules, hba);
    if (json_object_get(c->spec, "backup"))
        buf_str(rules, "local replication,postgres " BACKUP_ROLE " peer map=atoll\n");
    write_ident(&s, service_file(&s, 0600, role_path(c, "postgres", "pg_ident.conf")));
    s.health = HEALTH_POSTGRES;
    s.health_path = xstrdup(socket);
    s.health_secret = password;
    s.stop = STOP_FAST;
    s.stop_ms = 1 * MINUTE;
    s.start_ms = 3 * MINUTE; /* after a power cut it replays its log first */
    vec_push(ret, s);
    return role_backup(c, socket, ret, err);
}
