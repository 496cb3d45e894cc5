/* The edge: nginx in front of the web servers, after Mastodon's own dist/nginx.conf (mastodon.md
 * 5.1). There is no location for the streaming API as long as there is no role that serves it:
 * without one the request goes to the web servers, which say 404, and clients go back to asking. */
#include "host/role.h"

/* Only what is critical is logged: below that, at each failure of a web server, nginx writes the
 * whole line of the request, with the query, which may hold access tokens. The access log says that
 * it failed, without the query. */
static const char head[] = "daemon off;\n"
                           "worker_processes auto;\n"
                           "error_log stderr crit;\n";

static const char http_settings[] =
    "    default_type application/octet-stream;\n"
    "    server_tokens off;\n"
    "    sendfile on;\n"
    "    keepalive_timeout 70;\n"
    "    client_max_body_size 99m;\n"
    "    gzip on;\n"
    "    gzip_proxied any;\n"
    "    gzip_vary on;\n"
    "    gzip_types text/plain text/css application/json application/javascript "
    "application/activity+json image/svg+xml;\n";

/* Without the query: it may hold access tokens. */
static const char log_format[] =
    "    log_format short '$remote_addr $request_method $host$uri $status $body_bytes_sent '\n"
    "                     '$request_time $upstream_addr $upstream_response_time';\n";

/* Who ends TLS in front of the island says so in the header; Mastodon redirects all else to https.
 */
static const char forwarded[] = "    map $http_x_forwarded_proto $proto {\n"
                                "        default $scheme;\n"
                                "        https https;\n"
                                "    }\n";

static const char proxy[] =
    "        location ^~ /metrics {\n"
    "            return 404;\n"
    "        }\n"
    "        location / {\n"
    "            proxy_pass http://web;\n"
    "            proxy_http_version 1.1;\n"
    "            proxy_set_header Host $http_host;\n"
    "            proxy_set_header Connection '';\n"
    "            proxy_set_header Proxy '';\n"
    "            proxy_set_header X-Real-IP $remote_addr;\n"
    "            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;\n"
    "            proxy_set_header X-Forwarded-Host $http_host;\n"
    "            proxy_set_header X-Forwarded-Proto $proto;\n"
    "            proxy_set_header X-Request-Start t=$msec;\n"
    "            proxy_connect_timeout 5;\n"
    "            proxy_read_timeout 120;\n"
    "        }\n";

/* What a unit's standard output is connected to, the journal, can't be opened by a name. */
static const char *access_log(const RoleContext *c)
{
    return *c->paths->root ? "/dev/stdout short"
                           : "syslog:server=unix:/run/systemd/journal/dev-log,nohostname short";
}

static void add_upstream(const json_t *web, Buf *b)
{
    buf_str(b, "    upstream web {\n");
    for (size_t i = 0; i < json_array_size(web); i++)
        buf_printf(b, "        server %s:%d max_fails=1 fail_timeout=2s;\n",
                   json_string_value(json_array_get(web, i)), role_rows[ROLE_WEB].port);
    buf_str(b, "    }\n");
}

static void write_config(const RoleContext *c, const Service *s, int port, const json_t *web,
                         Buf *b)
{
    static const char *const temporary[] = {"client_body", "proxy", "fastcgi", "uwsgi", "scgi"};
    const char *folder = s->cwd;

    if (s->user)
        buf_printf(b, "user %s;\n", s->user);
    buf_str(b, head);
    buf_printf(b, "pid \"%s/nginx.pid\";\n", folder);
    buf_str(b, "events {\n    worker_connections 4096;\n}\nhttp {\n");
    buf_str(b, log_format);
    buf_str(b, forwarded);
    buf_str(b, http_settings);
    buf_printf(b, "    access_log %s;\n", access_log(c));
    for (size_t i = 0; i < ARRAY_LEN(temporary); i++)
        buf_printf(b, "    %s_temp_path \"%s/tmp/%s\";\n", temporary[i], folder, temporary[i]);
    add_upstream(web, b);
    buf_printf(b, "    server {\n        listen %s:%d;\n        server_name _;\n",
               c->paths->address, port);
    buf_str(b, proxy);
    buf_str(b, "    }\n}\n");
}

int role_edge(const RoleContext *c, Services *ret, Err *err)
{
    const json_t *web = json_object_get(json_object_get(c->spec, "peers"), "web");
    const json_t *listen = json_object_get(c->spec, "listen");
    int port = (int)json_int(listen, "http", 80);

    if (*json_str_or(listen, "certificate", ""))
        return err_set(err, ERR_CONFIG,
                       "TLS at the edge is not built yet in atoll %s: leave the "
                       "certificate out, or end TLS in front of the island",
                       ATOLL_VERSION);
    if (json_array_size(web) == 0)
        return err_set(err, ERR_CONFIG, "no server of the island carries the role web");
    Service s = role_service(c, ROLE_EDGE, "edge");
    _cleanup_free_ char *config = role_path(c, "edge", "nginx.conf");

    /* nginx lowers its workers to the user by itself; the first process binds the port. Its folder
     * must let them pass to their temporary files. */
    s.dirs.items[0].mode = 0711;
    service_dir(&s, 0711, role_path(c, "edge", "tmp"));
    write_config(c, &s, port, web, service_file(&s, 0600, xstrdup(config)));
    free(TAKE(s.user));
    role_argv(&s, (const char *const[]){"nginx", "-e", "stderr", "-p", s.cwd, "-c", config, NULL});
    role_plain_env(&s);
    s.limits.low_ports = true;
    s.health = HEALTH_TCP;
    s.health_port = port;
    s.reload_signal = SIGHUP;
    s.stop = STOP_TERM;
    s.stop_ms = 10 * SECOND;
    vec_push(ret, s);
    return 0;
}
