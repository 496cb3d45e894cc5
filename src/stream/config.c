#include "stream/config.h"
#include "io/file.h"
#include "stream/head.h"
#include <arpa/inet.h>

typedef struct Reading {
    const StreamEnvironment *e;
    EnvFile file;
} Reading;

void env_file_clear(EnvFile *e)
{
    strlist_wipe(&e->names);
    strlist_wipe(&e->values);
}

/* A value in quotes may go over lines; in double ones \n is a new line. */
static Str quoted(Str rest, Buf *value)
{
    char quote = rest.p[0];
    size_t i = 1;

    for (; i < rest.n && rest.p[i] != quote; i++) {
        bool newline = quote == '"' && rest.p[i] == '\\' && i + 1 < rest.n && rest.p[i + 1] == 'n';
        buf_char(value, newline ? '\n' : rest.p[i]);
        i += newline;
    }
    return (Str){rest.p + i, rest.n - i};
}

void env_file_parse(Str text, EnvFile *ret)
{
    while (text.n) {
        const char *end = memchr(text.p, '\n', text.n);
        Str line = {text.p, end ? (size_t)(end - text.p) : text.n};
        Str next = end ? (Str){end + 1, text.n - line.n - 1} : (Str){0};
        Str name = str_trim(line);
        if (name.n > 7 && memcmp(name.p, "export ", 7) == 0)
            name = str_trim((Str){name.p + 7, name.n - 7});
        const char *equals = name.n ? memchr(name.p, '=', name.n) : NULL;
        if (equals && name.p[0] != '#') {
            _cleanup_(buf_wipe) Buf value = BUF_INIT(BUF_MAX_LINE);
            Str v = str_trim((Str){equals + 1, (size_t)(name.p + name.n - equals - 1)});
            name = str_trim((Str){name.p, (size_t)(equals - name.p)});
            if (v.n && strchr("\"'`", v.p[0]) &&
                memchr(v.p + 1, v.p[0], text.n - (size_t)(v.p + 1 - text.p))) {
                Str rest = quoted((Str){v.p, text.n - (size_t)(v.p - text.p)}, &value);
                end = rest.n ? memchr(rest.p, '\n', rest.n) : NULL;
                next = end ? (Str){end + 1, rest.n - (size_t)(end + 1 - rest.p)} : (Str){0};
            } else {
                const char *comment = v.n ? memchr(v.p, '#', v.n) : NULL;
                v = comment ? str_trim((Str){v.p, (size_t)(comment - v.p)}) : v;
                buf_add(&value, v.p, v.n);
            }
            strlist_addf(&ret->names, "%.*s", (int)name.n, name.p);
            strlist_add(&ret->values, value.p);
        }
        text = next;
    }
}

/* The process's environment wins. */
static const char *get(void *user, const char *name)
{
    Reading *r = user;
    const char *value = r->e->get(r->e->user, name);

    for (size_t i = r->file.names.len; !value && i > 0; i--)
        if (streq(r->file.names.items[i - 1], name))
            value = r->file.values.items[i - 1];
    return value;
}

/* NULL for what is not there or empty. */
static const char *text(Reading *r, const char *name)
{
    const char *value = get(r, name);
    return value && *value ? value : NULL;
}

static int integer(Reading *r, const char *name, int64_t def, int64_t max, int64_t *ret, Err *err)
{
    const char *value = text(r, name);
    *ret = def;
    if (value && !parse_int(value, 0, max, ret))
        return err_set(err, ERR_CONFIG, "%s is not a number: '%s'", name, value);
    return 0;
}

/* ---- URLs ---- */

typedef struct Url {
    Str scheme, user, password, host, port, path, query; /* p NULL: not there */
    bool has_user, has_password;
} Url;

static bool url_parse(Str s, Url *ret)
{
    *ret = (Url){0};
    const char *colon = memmem(s.p, s.n, ":", 1);
    if (!colon)
        return false;
    ret->scheme = (Str){s.p, (size_t)(colon - s.p)};
    s = (Str){colon + 1, s.n - ret->scheme.n - 1};
    if (s.n >= 2 && memcmp(s.p, "//", 2) == 0) {
        s = (Str){s.p + 2, s.n - 2};
        size_t n = 0;
        while (n < s.n && s.p[n] != '/' && s.p[n] != '?')
            n++;
        Str authority = {s.p, n};
        s = (Str){s.p + n, s.n - n};
        const char *at = n ? memrchr(authority.p, '@', authority.n) : NULL;
        if (at) {
            Str login = {authority.p, (size_t)(at - authority.p)};
            authority = (Str){at + 1, authority.n - login.n - 1};
            const char *c = login.n ? memchr(login.p, ':', login.n) : NULL;
            ret->user = c ? (Str){login.p, (size_t)(c - login.p)} : login;
            ret->has_user = ret->user.n > 0;
            if (c)
                ret->password = (Str){c + 1, (size_t)(login.p + login.n - c - 1)};
            ret->has_password = ret->password.n > 0;
        }
        const char *bracket =
            authority.n && authority.p[0] == '[' ? memchr(authority.p, ']', authority.n) : NULL;
        const char *from = bracket ? bracket : authority.p;
        size_t left = authority.n - (size_t)(from - authority.p);
        const char *port = left ? memchr(from, ':', left) : NULL;
        ret->host = port ? (Str){authority.p, (size_t)(port - authority.p)} : authority;
        if (bracket)
            ret->host = (Str){authority.p + 1, (size_t)(bracket - authority.p - 1)};
        if (port)
            ret->port = (Str){port + 1, (size_t)(authority.p + authority.n - port - 1)};
    }
    const char *mark = s.n ? memchr(s.p, '?', s.n) : NULL;
    ret->path = mark ? (Str){s.p, (size_t)(mark - s.p)} : s;
    ret->query = mark ? (Str){mark + 1, s.n - (size_t)(mark + 1 - s.p)} : STR_LIT("");
    return true;
}

static char *decoded_new(Str s)
{
    Buf b = BUF_INIT(BUF_MAX_LINE);

    url_decode(s, &b);
    return buf_detach(&b);
}

/* ---- PostgreSQL ---- */

static void pg_add(StreamConfig *c, const char *key, const char *value)
{
    if (!value)
        return;
    strlist_add(&c->pg_keys, key);
    strlist_add(&c->pg_values, value);
}

/* Node's words for TLS in libpq's: anything but these means checked against trusted roots. */
static void pg_tls(StreamConfig *c, const char *mode, bool has_root)
{
    if (!mode)
        return;
    bool off = streq(mode, "disable") || !*mode, blind = streq(mode, "no-verify");
    pg_add(c, "sslmode", off ? "disable" : blind ? "require" : "verify-full");
    if (!off && !blind && !has_root)
        pg_add(c, "sslrootcert", c->ca_file);
}

static int pg_url(Reading *r, const char *url, StreamConfig *c, Err *err)
{
    static const char *const passed[] = {"sslcert", "sslkey", "sslrootcert", "options", NULL};
    Url u;
    bool root = false, socket = false;

    if (!url_parse(str_of(url), &u) ||
        !(str_eq(u.scheme, STR_LIT("postgres")) || str_eq(u.scheme, STR_LIT("postgresql"))))
        return err_set(err, ERR_CONFIG, "DATABASE_URL is not a postgres:// URL");
    for (size_t i = 0; passed[i]; i++) {
        _cleanup_(buf_clear) Buf value = BUF_INIT(BUF_MAX_LINE);
        if (query_value(u.query, passed[i], &value)) {
            pg_add(c, passed[i], value.p);
            root = root || streq(passed[i], "sslrootcert");
        }
    }
    _cleanup_(buf_clear) Buf mode = BUF_INIT(64), host = BUF_INIT(BUF_MAX_LINE);
    if (query_value(u.query, "sslmode", &mode))
        pg_tls(c, mode.p, root);
    _cleanup_free_ char *user = decoded_new(u.user), *password = decoded_new(u.password),
                        *name = decoded_new(u.host), *port = decoded_new(u.port),
                        *database =
                            decoded_new(u.path.n ? (Str){u.path.p + 1, u.path.n - 1} : STR_LIT(""));
    if (query_value(u.query, "host", &host) == 0)
        buf_str(&host, name);
    socket = host.p[0] == '/';
    if (host.len)
        pg_add(c, "host", host.p);
    if (host.len && !socket)
        c->pg_host = xstrdup(host.p);
    pg_add(c, "port", *port ? port : NULL);
    pg_add(c, "user", u.has_user ? user : NULL);
    pg_add(c, "password", u.has_password ? password : text(r, "DB_PASS"));
    pg_add(c, "dbname", *database ? database : NULL);
    explicit_bzero(password, strlen(password));
    return 0;
}

static int pg_read(Reading *r, bool production, StreamConfig *c, Err *err)
{
    const char *url = text(r, "DATABASE_URL"), *prepared = text(r, "PREPARED_STATEMENTS");
    int64_t port;

    c->pg_prepare = !streq(prepared, "false");
    int failed = integer(r, "DB_POOL", 10, 1000, &c->pg_pool, err);
    if (failed < 0)
        return failed;
    c->pg_pool = MAX(c->pg_pool, 1);
    pg_add(c, "application_name", "");
    pg_add(c, "client_encoding", "UTF8");
    pg_add(c, "connect_timeout", "10");
    if (url)
        return pg_url(r, url, c, err);
    failed = integer(r, "DB_PORT", production ? 5432 : 0, 65535, &port, err);
    if (failed < 0)
        return failed;
    const char *host = text(r, "DB_HOST"), *user = text(r, "DB_USER"), *name = text(r, "DB_NAME");
    if (!host && production)
        host = "localhost";
    pg_add(c, "host", host);
    if (host && host[0] != '/')
        c->pg_host = xstrdup(host);
    char digits[16];
    (void)snprintf(digits, sizeof(digits), "%d", (int)port);
    pg_add(c, "port", port ? digits : NULL);
    pg_add(c, "user", user ? user : production ? "mastodon" : NULL);
    pg_add(c, "password", text(r, "DB_PASS"));
    pg_add(c, "dbname", name ? name : production ? "mastodon_production" : "mastodon_development");
    const char *mode = get(r, "DB_SSLMODE");
    if (!mode)
        mode = get(r, "PGSSLMODE");
    pg_tls(c, mode, false);
    return 0;
}

/* ---- Redis ---- */

static int redis_url(const char *url, RedisPlace *p, Err *err)
{
    Url u;
    bool unixy;

    if (!url_parse(str_of(url), &u))
        return err_set(err, ERR_CONFIG, "REDIS_URL is not a URL");
    unixy = str_eq(u.scheme, STR_LIT("unix"));
    p->tls = str_eq(u.scheme, STR_LIT("rediss"));
    if (!unixy && !p->tls && !str_eq(u.scheme, STR_LIT("redis")))
        return err_set(err, ERR_CONFIG,
                       "REDIS_URL begins with none of redis://, rediss://, unix://");
    if (u.has_user)
        p->user = decoded_new(u.user);
    if (u.has_password) {
        _cleanup_free_ char *password = decoded_new(u.password);
        p->password = secret_new(password, strlen(password));
        explicit_bzero(password, strlen(password));
    }
    _cleanup_(buf_clear) Buf db = BUF_INIT(64);
    if (unixy) {
        p->path = decoded_new(u.path);
        (void)query_value(u.query, "db", &db);
    } else {
        p->host = u.host.n ? decoded_new(u.host) : xstrdup("127.0.0.1");
        if (u.path.n > 1)
            buf_add(&db, u.path.p + 1, u.path.n - 1);
    }
    int64_t port = 6379;
    _cleanup_free_ char *digits = decoded_new(u.port);
    if ((u.port.n && !parse_int(digits, 1, 65535, &port)) ||
        (db.len && !parse_int(db.p, 0, 65535, &p->db)))
        return err_set(err, ERR_CONFIG, "REDIS_URL has a port or a database that is no number");
    p->port = (int)port;
    return 0;
}

static Secret *secret_of(const char *value)
{
    return value ? secret_new(value, strlen(value)) : NULL;
}

static int sentinels(Reading *r, const char *list, StreamConfig *c, Err *err)
{
    const char *user = text(r, "REDIS_SENTINEL_USERNAME"),
               *password = text(r, "REDIS_SENTINEL_PASSWORD"),
               *master = text(r, "REDIS_SENTINEL_MASTER");
    Str rest = str_of(list), part;
    int64_t def;

    if (!master)
        return err_set(err, ERR_CONFIG, "REDIS_SENTINELS is set, but not REDIS_SENTINEL_MASTER");
    c->sentinel_master = xstrdup(master);
    int failed = integer(r, "REDIS_SENTINEL_PORT", 26379, 65535, &def, err);
    if (failed < 0)
        return failed;
    while (str_next(&rest, ',', &part)) {
        part = str_trim(part);
        const char *colon = part.n ? memrchr(part.p, ':', part.n) : NULL;
        int64_t port = def;
        if (part.n == 0)
            continue;
        if (colon && part.p[0] != '[' && memchr(part.p, ':', part.n) != colon)
            colon = NULL; /* a bare IPv6 address */
        if (colon && part.p[0] == '[' && colon[-1] != ']')
            colon = NULL;
        if (colon) {
            _cleanup_free_ char *digits =
                xstrndup(colon + 1, (size_t)(part.p + part.n - colon - 1));
            if (!parse_int(digits, 1, 65535, &port))
                return err_set(err, ERR_CONFIG, "REDIS_SENTINELS has a port '%s'", digits);
            part.n = (size_t)(colon - part.p);
        }
        if (part.n > 2 && part.p[0] == '[')
            part = (Str){part.p + 1, part.n - 2};
        c->sentinels = xrealloc(c->sentinels, c->sentinels_len + 1, sizeof(*c->sentinels));
        RedisPlace *p = &c->sentinels[c->sentinels_len++];
        *p = (RedisPlace){.host = xstrndup(part.p, part.n), .port = (int)port};
        if (!user)
            user = text(r, "REDIS_USER");
        if (!password)
            password = text(r, "REDIS_PASSWORD");
        p->user = user ? xstrdup(user) : NULL;
        p->password = secret_of(password);
    }
    return 0;
}

static int redis_read(Reading *r, StreamConfig *c, Err *err)
{
    const char *url = text(r, "REDIS_URL"), *list = text(r, "REDIS_SENTINELS");
    RedisPlace *p = &c->redis;
    int64_t port;

    if (url)
        return redis_url(url, p, err);
    int failed = integer(r, "REDIS_PORT", 6379, 65535, &port, err);
    if (failed == 0)
        failed = integer(r, "REDIS_DB", 0, 65535, &p->db, err);
    if (failed < 0)
        return failed;
    const char *host = text(r, "REDIS_HOST"), *user = text(r, "REDIS_USER");
    p->host = xstrdup(host ? host : "127.0.0.1");
    p->port = (int)port;
    p->user = user ? xstrdup(user) : NULL;
    p->password = secret_of(text(r, "REDIS_PASSWORD"));
    return list ? sentinels(r, list, c, err) : 0;
}

/* ---- the rest ---- */

static int read_file(Reading *r, const char *environment)
{
    const char *name = streq(environment, "production") ? ".env.production" : ".env";
    const char *const folders[] = {r->e->root ? r->e->root : ".", r->e->root ? NULL : ".."};
    bool found = false;

    for (size_t i = 0; i < ARRAY_LEN(folders) && folders[i] && !found; i++) {
        _cleanup_free_ char *path = xasprintf("%s/%s", folders[i], name);
        _cleanup_(buf_wipe) Buf body = BUF_INIT((size_t)1 << 20);
        found = file_read(path, &body, NULL) == 0;
        if (found)
            env_file_parse(buf_as_str(&body), &r->file);
    }
    return 0;
}

static void trusted(Reading *r, StreamConfig *c)
{
    static const char *const usual[] = {"127.0.0.0/8",   "::1/128",        "10.0.0.0/8",
                                        "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"};
    const char *list = text(r, "TRUSTED_PROXY_IP");

    for (size_t i = 0; !list && i < ARRAY_LEN(usual); i++)
        strlist_add(&c->trusted, usual[i]);
    for (Str rest = str_of(list); rest.n;) {
        size_t n = 0;
        while (n < rest.n && rest.p[n] != ',' && rest.p[n] != ' ')
            n++;
        if (n)
            strlist_addf(&c->trusted, "%.*s", (int)n, rest.p);
        n += n < rest.n;
        rest = (Str){rest.p + n, rest.n - n};
    }
}

static LogLevel level_of(const char *word, bool production)
{
    static const struct {
        const char *word;
        LogLevel level;
    } levels[] = {{"trace", LOG_LEVEL_DEBUG}, {"debug", LOG_LEVEL_DEBUG},
                  {"info", LOG_LEVEL_INFO},   {"warn", LOG_LEVEL_WARN},
                  {"error", LOG_LEVEL_ERROR}, {"fatal", LOG_LEVEL_ERROR}};
    for (size_t i = 0; i < ARRAY_LEN(levels); i++)
        if (streq(levels[i].word, word))
            return levels[i].level;
    return production ? LOG_LEVEL_INFO : LOG_LEVEL_DEBUG;
}

static int config_read(Reading *r, StreamConfig *c, Err *err)
{
    const char *environment = text(r, "NODE_ENV");
    if (!environment)
        environment = "development";
    bool production = streq(environment, "production");
    if (!production && !streq(environment, "development") && !text(r, "DATABASE_URL"))
        return err_set(err, ERR_CONFIG, "NODE_ENV is neither production nor development: '%s'",
                       environment);
    (void)read_file(r, environment);
    const char *socket = text(r, "SOCKET"), *bind = text(r, "BIND"),
               *ca = text(r, "NODE_EXTRA_CA_CERTS"), *ns = r->e->namespace;
    if (!ca)
        ca = text(r, "SSL_CERT_FILE");
    c->ca_file = xstrdup(ca ? ca : "/etc/ssl/certs/ca-certificates.crt");
    c->socket = socket ? xstrdup(socket) : NULL;
    size_t n = bind ? strlen(bind) : 0;
    c->bind = !bind                                           ? xstrdup("127.0.0.1")
              : n > 2 && bind[0] == '[' && bind[n - 1] == ']' ? xstrndup(bind + 1, n - 2)
                                                              : xstrdup(bind);
    c->log_level = level_of(text(r, "LOG_LEVEL"), production);
    if (!ns)
        ns = text(r, "REDIS_NAMESPACE");
    c->prefix = ns && *ns ? xasprintf("%s:", ns) : xstrdup("");
    trusted(r, c);
    int failed = integer(r, "PORT", 4000, 65535, &c->port, err);
    if (failed == 0)
        failed = pg_read(r, production, c, err);
    if (failed == 0)
        failed = redis_read(r, c, err);
    stream_settings_default(&c->settings);
    if (failed == 0)
        failed = stream_settings_environment(&c->settings, get, r, err);
    return failed;
}

int stream_config_read(const StreamEnvironment *e, StreamConfig *ret, Err *err)
{
    Reading r = {.e = e};
    *ret = (StreamConfig){0};
    int failed = config_read(&r, ret, err);
    env_file_clear(&r.file);
    if (failed < 0)
        stream_config_clear(ret);
    return failed;
}

static void place_clear(RedisPlace *p)
{
    free(p->host);
    free(p->path);
    free(p->user);
    (void)secret_free(p->password);
}

void stream_config_clear(StreamConfig *c)
{
    free(c->socket);
    free(c->bind);
    free(c->pg_host);
    free(c->sentinel_master);
    free(c->prefix);
    free(c->ca_file);
    strlist_clear(&c->trusted);
    strlist_clear(&c->pg_keys);
    strlist_wipe(&c->pg_values);
    place_clear(&c->redis);
    for (size_t i = 0; i < c->sentinels_len; i++)
        place_clear(&c->sentinels[i]);
    free(c->sentinels);
    *c = (StreamConfig){0};
}

/* An address as 16 bytes, IPv4 as ::ffff:a.b.c.d. */
static bool address_bytes(const char *text, uint8_t ret[static 16])
{
    memset(ret, 0, 16);
    if (inet_pton(AF_INET6, text, ret) == 1)
        return true;
    ret[10] = ret[11] = 0xff;
    return inet_pton(AF_INET, text, ret + 12) == 1;
}

bool stream_trusts(const StrList *ranges, const char *address)
{
    uint8_t a[16], b[16];

    if (!address_bytes(address, a))
        return false;
    for (size_t i = 0; i < ranges->len; i++) {
        const char *slash = strchr(ranges->items[i], '/');
        _cleanup_free_ char *base =
            slash ? xstrndup(ranges->items[i], (size_t)(slash - ranges->items[i]))
                  : xstrdup(ranges->items[i]);
        int64_t bits = 128;
        if (!address_bytes(base, b))
            continue;
        if (slash && !parse_int(slash + 1, 0, 128, &bits))
            continue;
        if (slash && !strchr(base, ':'))
            bits += 96;
        size_t whole = (size_t)MIN(bits, 128) / 8, left = (size_t)MIN(bits, 128) % 8;
        uint8_t mask = (uint8_t)(left ? 0xffu << (8 - left) : 0u);
        if (memcmp(a, b, whole) == 0 && (!left || (a[whole] & mask) == (b[whole] & mask)))
            return true;
    }
    return false;
}
