/* Redis: queues must outlive a restart and must never be evicted (mastodon.md 3.4). */
#include "host/role.h"

int role_redis(const RoleContext *c, Services *ret, Err *err)
{
    const Secret *password;
    int r = role_secret(c, "redis_password", &password, err);
    if (r < 0)
        return r;
    _cleanup_free_ char *config = role_path(c, "redis", "redis.conf");
    _cleanup_free_ char *data = xasprintf("%s/redis", c->paths->data);
    Service s = role_service(c, ROLE_REDIS, "redis");

    /* argv has only the file: the password is in it. */
    role_argv(&s, (const char *const[]){"redis-server", config, NULL});
    role_plain_env(&s);
    service_dir(&s, 0700, xstrdup(data));
    Buf *b = service_file(&s, 0600, xstrdup(config));
    buf_printf(b, "bind %s\nport %d\n", c->paths->address, role_rows[ROLE_REDIS].port);
    buf_printf(b, "requirepass \"%s\"\n", secret_expose(password).p);
    buf_printf(b, "dir \"%s\"\n", data);
    /* The append-only file is the copy that counts; snapshots beside it would write all twice. */
    buf_str(b, "appendonly yes\n"
               "appendfsync everysec\n"
               "save \"\"\n"
               "maxmemory-policy noeviction\n"
               "protected-mode yes\n"
               "daemonize no\n"
               "supervised no\n"
               "pidfile \"\"\n"
               "logfile \"\"\n");
    s.health = HEALTH_REDIS;
    s.health_secret = password;
    s.stop = STOP_TERM;
    s.stop_ms = 30 * SECOND;
    s.start_ms = 5 * MINUTE; /* it reads the whole file before it answers */
    vec_push(ret, s);
    return 0;
}
