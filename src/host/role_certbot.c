/* What asks for the island's certificate (acme.h): beside the one edge that the floating IP leads
 * to. It runs as root without capabilities: what it keeps is for nobody else on the server, nginx's
 * workers included. */
#include "host/acme.h"
#include "host/acme_store.h"
#include "host/role.h"
#include "host/tls.h"

#include <signal.h>

static int write_settings(const RoleContext *c, const json_t *acme, Service *s, Err *err)
{
    const Secret *secret = vault_secret(c->secrets, TLS_STORE);
    Str kept = secret ? secret_expose(secret) : (Str){0};
    json_t *store = secret ? json_parse_new(kept.p, kept.n, err) : json_null();
    _cleanup_free_ char *webroot = role_path(c, "edge", EDGE_CHALLENGES);

    if (!store)
        return err_wrap(err, "what certbot had on an earlier server");
    _cleanup_json_ json_t *settings =
        json_make_new("{s:s, s:s, s:s, s:s, s:o}", "domain", json_str_or(c->spec, "domain", ""),
                      "email", json_str_or(acme, "email", ""), "server",
                      json_str_or(acme, "server", ""), "webroot", webroot, "store", store);
    role_json(s, role_path(c, s->name, "settings.json"), settings);
    return 0;
}

/* For the authority's own server; everything else is asked of nobody. */
static void add_authority(const RoleContext *c, const json_t *acme, Service *s)
{
    const char *pem = json_str_or(acme, "ca", "");
    _cleanup_free_ char *path = role_path(c, s->name, "ca.pem");

    if (!*pem)
        return;
    buf_str(service_file(s, 0600, xstrdup(path)), pem);
    strlist_addf(&s->env, "REQUESTS_CA_BUNDLE=%s", path);
}

int role_certbot(const RoleContext *c, Services *ret, Err *err)
{
    const json_t *acme = json_at(c->spec, "listen.acme");

    if (!json_bool(acme, "here", false))
        return 0;
    Service s = role_service(c, ROLE_EDGE, ACME_SERVICE);
    free(TAKE(s.user));
    service_dir(&s, 0755, role_path(c, "edge", EDGE_CHALLENGES));
    role_plain_env(&s);
    strlist_addf(&s.env, "HOME=%s", s.cwd);
    add_authority(c, acme, &s);
    int r = write_settings(c, acme, &s, err);
    if (r < 0) {
        service_clear(&s);
        return r;
    }
    _cleanup_free_ char *program = xasprintf("%s/usr/bin/atoll", c->paths->root);
    role_argv(&s, (const char *const[]){program, "certbot", s.cwd, NULL});
    role_after(ret, &s, (const char *const[]){"edge", NULL});
    s.limits.tasks = 64;
    s.limits.chown = true; /* of a renewed key, to the group that it has */
    s.health = HEALTH_RUNNING;
    s.reload_signal = SIGHUP;
    s.stop = STOP_TERM;
    s.stop_ms = 60 * SECOND; /* certbot may be between an order and its certificate */
    vec_push(ret, s);
    return 0;
}
