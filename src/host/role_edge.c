/* The edge: nginx in front of the web and streaming servers, after Mastodon's own dist/nginx.conf
 * (mastodon.md 5.1). Where no server has the role stream there is no location for its API either:
 * the request goes to the web servers, which say 404, and clients go back to asking. */
#include "host/role.h"
#include "host/tls.h"

#define CERTIFICATE_FILE "certificate.pem"
#define KEY_FILE "key.pem"

typedef struct Listen {
    int http, https; /* https 0: none; TLS, if any, ends in front of the island */
} Listen;

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

/* As Mastodon's own: TLS as Mozilla's "intermediate" has it, two years of HSTS. */
static const char tls_settings[] =
    "        ssl_protocols TLSv1.2 TLSv1.3;\n"
    "        ssl_ciphers ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:"
    "ECDHE-RSA-CHACHA20-POLY1305;\n"
    "        ssl_prefer_server_ciphers off;\n"
    "        ssl_session_cache shared:tls:10m;\n"
    "        ssl_session_timeout 1d;\n"
    "        ssl_session_tickets off;\n"
    "        proxy_hide_header Strict-Transport-Security;\n"
    "        add_header Strict-Transport-Security \"max-age=63072000; includeSubDomains\" "
    "always;\n";

static const char no_metrics[] = "        location ^~ /metrics {\n"
                                 "            return 404;\n"
                                 "        }\n";

#define PROXY_HEADERS                                                                              \
    "            proxy_http_version 1.1;\n"                                                        \
    "            proxy_set_header Host $http_host;\n"                                              \
    "            proxy_set_header Proxy '';\n"                                                     \
    "            proxy_set_header X-Real-IP $remote_addr;\n"                                       \
    "            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;\n"                   \
    "            proxy_set_header X-Forwarded-Host $http_host;\n"                                  \
    "            proxy_set_header X-Forwarded-Proto $proto;\n"                                     \
    "            proxy_connect_timeout 5;\n"                                                       \
    "            proxy_read_timeout 120;\n"

/* What a location says that leads to the web servers. */
static const char proxy[] = "            proxy_pass http://web;\n"
                            "            proxy_set_header Connection '';\n"
                            "            proxy_set_header X-Request-Start t=$msec;\n" PROXY_HEADERS;

/* And to the streaming servers: each event at once, and a connection stays as long as both sides
 * want it. They say something every 15 s (SSE) or 30 s (a ping), well within the 120. */
static const char streaming[] = "        location ^~ /api/v1/streaming {\n"
                                "            proxy_pass http://streaming;\n"
                                "            proxy_set_header Upgrade $http_upgrade;\n"
                                "            proxy_set_header Connection $asks;\n"
                                "            proxy_buffering off;\n"
                                "            proxy_send_timeout 120;\n" PROXY_HEADERS "        }\n";

/* What asks for another protocol on its connection goes on with it. */
static const char upgrade[] = "    map $http_upgrade $asks {\n"
                              "        default upgrade;\n"
                              "        '' '';\n"
                              "    }\n";

/* What a unit's standard output is connected to, the journal, can't be opened by a name. */
static const char *access_log(const RoleContext *c)
{
    return *c->paths->root ? "/dev/stdout short"
                           : "syslog:server=unix:/run/systemd/journal/dev-log,nohostname short";
}

static void add_servers_of(const json_t *peers, Role role, Buf *b)
{
    size_t n = json_array_size(peers);

    /* A web server is asked once more where it closed an accepted connection before it had heard
     * anything, as Puma does when it stops: who starts has its socket by then
     * (Service.keep_socket). */
    for (size_t i = 0; n == 1 && i < (role == ROLE_WEB ? 2 : 1); i++)
        buf_printf(b, "        server %s:%d max_fails=0;\n",
                   json_string_value(json_array_get(peers, 0)), role_rows[role].port);
    for (size_t i = 0; n > 1 && i < n; i++)
        buf_printf(b, "        server %s:%d max_fails=1 fail_timeout=2s;\n",
                   json_string_value(json_array_get(peers, i)), role_rows[role].port);
    buf_str(b, "    }\n");
}

static const json_t *peers_of(const RoleContext *c, Role role)
{
    return json_object_get(json_object_get(c->spec, "peers"), role_rows[role].name);
}

static bool streams(const RoleContext *c)
{
    return json_array_size(peers_of(c, ROLE_STREAM)) > 0;
}

/* Connections to streaming servers stay, so whoever has the fewest gets the next one; all of
 * nginx's workers count them together. */
static void add_upstreams(const RoleContext *c, Buf *b)
{
    buf_str(b, "    upstream web {\n");
    add_servers_of(peers_of(c, ROLE_WEB), ROLE_WEB, b);
    if (!streams(c))
        return;
    buf_str(b, upgrade);
    buf_str(b, "    upstream streaming {\n        zone streaming 64k;\n        least_conn;\n");
    add_servers_of(peers_of(c, ROLE_STREAM), ROLE_STREAM, b);
}

static void add_proxy(Buf *b, const char *location)
{
    buf_printf(b, "        location %s {\n%s        }\n", location, proxy);
}

/* The answer is nginx's own, text and all: a POST gets it too, which for a file would be a 405.
 * Other servers of the network take a 503 for what it is, and deliver again later. What says
 * whether the island is well, and what renews its certificate, go on. */
static void add_maintenance(const RoleContext *c, Buf *b)
{
    add_proxy(b, "= /health");
    add_proxy(b, "^~ /.well-known/acme-challenge/");
    buf_printf(b,
               "        location / {\n"
               "            default_type text/html;\n"
               "            add_header Retry-After 120 always;\n"
               "            add_header Cache-Control no-store always;\n"
               "            return 503 '<!doctype html>\\n<html lang=\"en\">\\n"
               "<meta charset=\"utf-8\">\\n"
               "<meta name=\"viewport\" content=\"width=device-width\">\\n"
               "<title>Maintenance</title>\\n"
               "<h1>Maintenance</h1>\\n"
               "<p>%s is being worked on, and comes back soon. Posts that other servers send "
               "meanwhile are sent again.</p>\\n"
               "</html>\\n';\n"
               "        }\n",
               json_str_or(c->spec, "domain", "This server"));
}

/* What the world gets: the web servers' answers, or word that they are being worked on. */
static void add_site(const RoleContext *c, Buf *b)
{
    buf_str(b, no_metrics);
    if (json_bool(c->spec, "maintenance", false)) {
        add_maintenance(c, b);
    } else {
        if (streams(c))
            buf_str(b, streaming);
        add_proxy(b, "/");
    }
}

/* "server {", up to what it serves. */
static void begin_server(const RoleContext *c, int port, const char *how, Buf *b)
{
    buf_printf(b, "    server {\n        listen %s:%d%s;\n        server_name _;\n",
               c->paths->address, port, how);
}

/* Who asks whether this server is well follows no redirect, and who proves that the domain is his
 * is asked over plain HTTP (RFC 8555 8.3). */
static void add_redirect(const RoleContext *c, const Service *s, const Listen *l, Buf *b)
{
    char port[16] = "";

    if (l->https != 443)
        snprintf(port, sizeof port, ":%d", l->https);
    begin_server(c, l->http, "", b);
    buf_printf(b,
               "        location ^~ /.well-known/acme-challenge/ {\n"
               "            root \"%s/" EDGE_CHALLENGES "\";\n"
               "            default_type text/plain;\n"
               "        }\n",
               s->cwd);
    add_proxy(b, "= /health");
    buf_printf(b,
               "        location / {\n"
               "            return 301 https://$host%s$request_uri;\n"
               "        }\n"
               "    }\n",
               port);
}

static void add_tls(const RoleContext *c, const Service *s, const Listen *l, Buf *b)
{
    begin_server(c, l->https, " ssl http2", b);
    buf_printf(b,
               "        ssl_certificate \"%s/" CERTIFICATE_FILE "\";\n"
               "        ssl_certificate_key \"%s/" KEY_FILE "\";\n",
               s->cwd, s->cwd);
    buf_str(b, tls_settings);
    add_site(c, b);
    buf_str(b, "    }\n");
}

static void add_servers(const RoleContext *c, const Service *s, const Listen *l, Buf *b)
{
    if (l->https) {
        add_redirect(c, s, l, b);
        add_tls(c, s, l, b);
        return;
    }
    begin_server(c, l->http, "", b);
    add_site(c, b);
    buf_str(b, "    }\n");
}

static void write_config(const RoleContext *c, const Service *s, const Listen *l, Buf *b)
{
    static const char *const temporary[] = {"client_body", "proxy", "fastcgi", "uwsgi", "scgi"};
    const char *folder = s->cwd;

    if (s->user)
        buf_printf(b, "user %s;\n", s->user);
    buf_str(b, head);
    buf_printf(b, "pid \"%s/nginx.pid\";\n", folder);
    /* A streaming client takes two for hours, one of them to its server; and without an end workers
     * from before a reload would stay as long as it does. */
    if (streams(c))
        buf_str(b, "worker_shutdown_timeout 1h;\n");
    buf_printf(b, "events {\n    worker_connections %d;\n}\nhttp {\n", streams(c) ? 32768 : 4096);
    buf_str(b, log_format);
    buf_str(b, forwarded);
    buf_str(b, http_settings);
    buf_printf(b, "    access_log %s;\n", access_log(c));
    for (size_t i = 0; i < ARRAY_LEN(temporary); i++)
        buf_printf(b, "    %s_temp_path \"%s/tmp/%s\";\n", temporary[i], folder, temporary[i]);
    add_upstreams(c, b);
    add_servers(c, s, l, b);
    buf_str(b, "}\n");
}

/* The first process of nginx reads them, as root where there is one: its workers need not. */
static int add_pair(const RoleContext *c, Service *s, Err *err)
{
    const struct {
        const char *secret, *file;
    } files[] = {{TLS_CERTIFICATE, CERTIFICATE_FILE}, {TLS_KEY, KEY_FILE}};

    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        const Secret *value;
        int r = role_secret(c, files[i].secret, &value, err);

        if (r < 0)
            return r;
        Str text = secret_expose(value);
        buf_add(service_file(s, 0600, role_path(c, s->name, files[i].file)), text.p, text.n);
    }
    return 0;
}

int role_edge(const RoleContext *c, Services *ret, Err *err)
{
    const json_t *listen = json_object_get(c->spec, "listen");
    Listen l = {.http = (int)json_int(listen, "http", 80),
                .https = (int)json_int(listen, "https", 0)};

    if (json_array_size(peers_of(c, ROLE_WEB)) == 0)
        return err_set(err, ERR_CONFIG, "no server of the island carries the role web");
    Service s = role_service(c, ROLE_EDGE, "edge");
    _cleanup_free_ char *config = role_path(c, "edge", "nginx.conf");

    /* nginx lowers its workers to the user by itself; the first process binds the port. Its folder
     * must let them pass to their temporary files. */
    s.dirs.items[0].mode = 0711;
    service_dir(&s, 0711, role_path(c, "edge", "tmp"));
    if (l.https) {
        service_dir(&s, 0755, role_path(c, "edge", EDGE_CHALLENGES));
        int r = add_pair(c, &s, err);
        if (r < 0) {
            service_clear(&s);
            return r;
        }
    }
    write_config(c, &s, &l, service_file(&s, 0600, xstrdup(config)));
    free(TAKE(s.user));
    role_argv(&s, (const char *const[]){"nginx", "-e", "stderr", "-p", s.cwd, "-c", config, NULL});
    role_plain_env(&s);
    s.limits.low_ports = true;
    s.health = HEALTH_TCP;
    s.health_port = l.http;
    s.reload_signal = SIGHUP;
    s.stop = STOP_TERM;
    s.stop_ms = 10 * SECOND;
    vec_push(ret, s);
    return 0;
}
