/* The checks, in the order in which a person would find the faults: settings, login, region, then
 * what the upload user may do, what it may not, what everybody may and may not. */
#include "media/check.h"
#include "io/child.h"
#include "io/crypt.h"
#include "io/file.h"

typedef struct Run {
    const MediaCheck *in;
    MediaLines *lines;
    Cloud *user;  /* logged in as the upload user */
    char *object; /* "atoll-check/<random>" */
    Str content;  /* its bytes, random too */
    bool written;
    bool may_compute;   /* it may create servers */
    bool may_elsewhere; /* it may write outside its container */
    bool login_ok;
} Run;

static void line(Run *r, const char *name, MediaOutcome outcome, char *words, char *remedy)
{
    vec_push(r->lines, ((MediaLine){name, outcome, words, remedy}));
}

void media_lines_clear(MediaLines *l)
{
    for (size_t i = 0; i < l->len; i++) {
        free(l->items[i].words);
        free(l->items[i].remedy);
    }
    vec_clear(l);
}

/* Settings that fog-openstack reads otherwise than one would think (mastodon.md 1.2). */
static void check_settings(Run *r)
{
    const MediaSettings *s = r->in->settings;
    size_t before = r->lines->len;
    if (ends_with(s->auth_url, "/"))
        line(r, "auth url", MEDIA_FAILED,
             xasprintf("SWIFT_AUTH_URL=%s ends in a slash: fog-openstack would ask for "
                       "/v3//auth/tokens",
                       s->auth_url),
             xasprintf("SWIFT_AUTH_URL=%.*s", (int)strlen(s->auth_url) - 1, s->auth_url));
    else if (strstr(s->auth_url, "/auth/tokens"))
        line(r, "auth url", MEDIA_FAILED,
             xasprintf("SWIFT_AUTH_URL=%s names /auth/tokens, which fog-openstack adds itself",
                       s->auth_url),
             xstrdup("end it in /v3"));
    else if (!ends_with(s->auth_url, "/v3"))
        line(r, "auth url", MEDIA_FAILED,
             xasprintf("SWIFT_AUTH_URL=%s does not end in /v3", s->auth_url),
             xasprintf("SWIFT_AUTH_URL=%s/v3", s->auth_url));
    if (s->tenant)
        line(r, "tenant", MEDIA_FAILED,
             xstrdup("SWIFT_TENANT is set (even empty it makes fog-openstack speak Keystone v2)"),
             xstrdup("remove the line, and scope by SWIFT_PROJECT_ID"));
    if (!s->project_id || !*s->project_id)
        line(r, "project", MEDIA_FAILED, xstrdup("SWIFT_PROJECT_ID is not set"),
             xstrdup("set it to the id of the project that has the container"));
    if (s->region && !*s->region)
        line(r, "region", MEDIA_FAILED, xstrdup("SWIFT_REGION is empty, which matches no endpoint"),
             xstrdup("set the region, or remove the line where there is only one"));
    if (ends_with(s->object_url, "/"))
        line(
            r, "object url", MEDIA_FAILED,
            xasprintf("SWIFT_OBJECT_URL=%s ends in a slash: every address gets two", s->object_url),
            xstrdup("remove the slash"));
    if (r->lines->len == before)
        line(r, "settings", MEDIA_OK, xstrdup("no known trap in SWIFT_*"), NULL);
}

/* A trap in the address has its line already; the rest is tried with it mended. */
static CloudConfig user_config(const MediaSettings *s, const CloudConfig *owner)
{
    CloudConfig c = {.name = xstrdup("media user"),
                     .source = xstrdup("SWIFT_*"),
                     .auth_type = AUTH_PASSWORD,
                     .username = xstrdup(s->username),
                     .user_domain_name = xstrdup(s->user_domain),
                     .project_id = s->project_id ? xstrdup(s->project_id) : NULL,
                     .secret = secret_copy(s->password),
                     .interface = xstrdup("public")};
    size_t n = strlen(s->auth_url);
    while (n > 0 && s->auth_url[n - 1] == '/')
        n--;
    bool versioned = n >= 3 && strncmp(s->auth_url + n - 3, "/v3", 3) == 0;
    c.auth_url = xasprintf("%.*s%s", (int)n, s->auth_url, versioned ? "" : "/v3");
    if (s->region && *s->region)
        c.region = xstrdup(s->region);
    /* SWIFT_* can't name a certificate authority; the owner's entry of clouds.yaml does. */
    if (owner) {
        c.ca_file = owner->ca_file ? xstrdup(owner->ca_file) : NULL;
        c.insecure = owner->insecure;
    }
    return c;
}

static bool check_login(Run *r)
{
    _cleanup_(err_clear) Err err = {0};
    CloudConfig config =
        user_config(r->in->settings, r->in->owner ? cloud_config(r->in->owner) : NULL);
    r->user = cloud_new(&config, &r->in->options);
    cloud_config_clear(&config);
    int e = cloud_login(r->user, &err);
    if (e < 0) {
        line(r, "login", MEDIA_FAILED, xasprintf("as %s: %s", r->in->settings->username, err.text),
             xstrdup(
                 "check SWIFT_USERNAME, SWIFT_PASSWORD, SWIFT_DOMAIN_NAME, SWIFT_PROJECT_ID; the "
                 "user needs a role on that project to get a token for it"));
        return false;
    }
    line(r, "login", MEDIA_OK, xasprintf("as %s", r->in->settings->username), NULL);
    const char *url = NULL;
    e = cloud_endpoint(r->user, CLOUD_OBJECT, &url, &err);
    if (e < 0) {
        line(r, "region", MEDIA_FAILED, xstrdup(err.text),
             xstrdup("SWIFT_REGION must be a region of the catalogue, to the letter"));
        return false;
    }
    line(r, "region", MEDIA_OK, xasprintf("uploads go to %s", url), NULL);
    return true;
}

/* One call with a login; the status, 0 when there was no answer. */
static int status_of(Cloud *c, CloudService service, const char *method, const char *path,
                     json_t *body, const char *header, Call *ret)
{
    *ret = (Call){.cloud = c,
                  .service = service,
                  .kind = CALL_IDEMPOTENT,
                  .method = method,
                  .path = xstrdup(path),
                  .body = body,
                  .want_text = service == CLOUD_OBJECT};
    ret->text = BUF_INIT(BUF_MAX_LINE);
    if (header)
        strlist_add(&ret->headers, header);
    (void)cloud_perform(ret, 1, NULL); /* its outcome is in the call */
    return ret->status;
}

static int quick_status(Cloud *c, CloudService service, const char *method, const char *path,
                        json_t *body, const char *header)
{
    _cleanup_(call_clear) Call call = {0};
    return status_of(c, service, method, path, body, header, &call);
}

/* Why a write ACL lets nobody in, from its text (openstack.md b). */
static char *explain_acl(Run *r)
{
    const MediaSettings *s = r->in->settings;
    if (!r->in->owner)
        return xasprintf("X-Container-Write must hold <project id>:<user id> of %s", s->username);
    _cleanup_(call_clear) Call head = {0};
    _cleanup_free_ char *path = xasprintf("/%s", s->container);
    int status = status_of(r->in->owner, CLOUD_OBJECT, "HEAD", path, NULL, NULL, &head);
    if (status == 404)
        return xasprintf("the container is not there: make it (fog-openstack does not)");
    const char *acl = call_header(&head, "X-Container-Write");
    _cleanup_free_ char *right =
        xasprintf("%s:%s", cloud_project_id(r->user), cloud_user_id(r->user));
    if (!acl || !*acl)
        return xasprintf("it has no write ACL; set X-Container-Write: %s", right);
    if (!strchr(acl, ':'))
        return xasprintf("its write ACL is '%s': a bare word is the name of a role, not of a user; "
                         "set X-Container-Write: %s",
                         acl, right);
    if (strstr(acl, s->username) && !streq(cloud_domain_id(r->user), "default"))
        return xasprintf("its write ACL '%s' has the user's name, and names count only in the "
                         "default domain (the user is in %s); set X-Container-Write: %s",
                         acl, cloud_domain_name(r->user), right);
    return xasprintf("its write ACL '%s' does not match this user with a token of project %s; set "
                     "X-Container-Write: %s",
                     acl, cloud_project_id(r->user), right);
}

static void check_write(Run *r)
{
    const MediaSettings *s = r->in->settings;
    _cleanup_(err_clear) Err err = {0};
    _cleanup_free_ char *path = xasprintf("%s/%s", s->container, r->object);
    int e = swift_put(r->user, path,
                      &(SwiftPut){.body = r->content, .content_type = "application/octet-stream"},
                      &err);
    r->written = e == 0;
    if (e == 0)
        line(r, "write", MEDIA_OK, xasprintf("PUT %s 201", path), NULL);
    else
        line(r, "write", MEDIA_FAILED, xasprintf("PUT %s: %s", path, err.text), explain_acl(r));
    if (e < 0)
        return;
    _cleanup_(buf_clear) Buf back = BUF_INIT(BUF_MAX_LINE);
    e = swift_get(r->user, path, BUF_MAX_LINE, &back, &err);
    bool same = e == 0 && str_eq(buf_as_str(&back), r->content);
    line(r, "read", same ? MEDIA_OK : MEDIA_FAILED,
         e == 0 ? xasprintf("GET %s 200%s", path, same ? "" : ", but other bytes")
                : xasprintf("GET %s: %s", path, err.text),
         same ? NULL : xstrdup("X-Container-Read: .r:* lets everybody read objects"));
}

static HttpResponse ask(Run *r, const char *method, const char *url, const char *origin)
{
    _cleanup_(strlist_clear) StrList headers = {0};
    if (origin) {
        strlist_addf(&headers, "Origin: %s", origin);
        if (streq(method, "OPTIONS"))
            strlist_add(&headers, "Access-Control-Request-Method: GET");
    }
    const CloudConfig *config = cloud_config(r->user);
    HttpRequest request = {.method = method,
                           .url = url,
                           .headers = &headers,
                           .ca_file = config->ca_file,
                           .insecure = config->insecure};
    HttpResponse answer = {0};
    http_perform(r->in->options.http, &request, &answer, 1);
    return answer;
}

static char *status_words(const char *what, const HttpResponse *a)
{
    return a->status ? xasprintf("%s %d", what, a->status)
                     : xasprintf("%s: %s", what, a->err.text ? a->err.text : "no answer");
}

static bool allows(const HttpResponse *a, const char *origin)
{
    const char *allowed = http_header(a, "Access-Control-Allow-Origin");
    return streq(allowed, "*") || streq(allowed, origin);
}

static void check_public(Run *r)
{
    const MediaSettings *s = r->in->settings;
    _cleanup_free_ char *origin = xasprintf("https://%s", r->in->domain);
    _cleanup_free_ char *url = xasprintf("%s/%s", s->object_url, r->object);
    _cleanup_(http_response_clear) HttpResponse get = ask(r, "GET", url, origin);
    bool same = get.status == 200 && str_eq(buf_as_str(&get.body), r->content);
    line(r, "public", same ? MEDIA_OK : MEDIA_FAILED, status_words("anonymous GET", &get),
         same                ? NULL
         : get.status == 401 ? xstrdup("set X-Container-Read: .r:*")
         : get.status == 404 ? xstrdup("SWIFT_OBJECT_URL must be <object store>/v1/AUTH_<project "
                                       "id>/<container>, or a host that stands for it")
                             : xstrdup("check SWIFT_OBJECT_URL"));
    _cleanup_free_ char *remedy =
        xasprintf("set X-Container-Meta-Access-Control-Allow-Origin: %s (or *)", origin);
    const char *allowed = http_header(&get, "Access-Control-Allow-Origin");
    bool cors = allows(&get, origin);
    line(r, "cors", cors ? MEDIA_OK : MEDIA_FAILED,
         allowed ? xasprintf("GET from %s: Access-Control-Allow-Origin: %s", origin, allowed)
                 : xasprintf("GET from %s: no Access-Control-Allow-Origin", origin),
         cors ? NULL : xstrdup(remedy));
    _cleanup_(http_response_clear) HttpResponse options = ask(r, "OPTIONS", url, origin);
    bool preflight = options.status == 200 && allows(&options, origin);
    line(r, "preflight", preflight ? MEDIA_OK : MEDIA_FAILED, status_words("OPTIONS", &options),
         preflight ? NULL : xstrdup(remedy));
}

static void check_listing(Run *r)
{
    _cleanup_(http_response_clear) HttpResponse a =
        ask(r, "GET", r->in->settings->object_url, NULL);
    bool refused = a.status == 401 || a.status == 403 || a.status == 404;
    line(r, "listing", refused ? MEDIA_OK : MEDIA_FAILED, status_words("anonymous list", &a),
         refused ? NULL
                 : xstrdup("everybody can list all uploads: set X-Container-Read: .r:* without "
                           ".rlistings"));
}

static void check_delete(Run *r)
{
    _cleanup_free_ char *path = xasprintf("/%s/%s", r->in->settings->container, r->object);
    int status = quick_status(r->user, CLOUD_OBJECT, "DELETE", path, NULL, NULL);
    r->written = r->written && status != 204;
    line(r, "delete", status == 204 ? MEDIA_OK : MEDIA_FAILED, xasprintf("DELETE %d", status),
         status == 204 ? NULL : xstrdup("the write ACL gives DELETE too: see the line `write`"));
}

/* What the upload user must be refused: new containers, other containers, its own container's
 * headers. The probes are harmless where they are let through, and undone. */
static void check_elsewhere(Run *r)
{
    const MediaSettings *s = r->in->settings;
    _cleanup_free_ char *probe = xasprintf("/atoll-probe-%.8s", r->object + strlen("atoll-check/"));
    int made = quick_status(r->user, CLOUD_OBJECT, "PUT", probe, NULL, NULL);
    if (made / 100 == 2)
        (void)quick_status(r->user, CLOUD_OBJECT, "DELETE", probe, NULL, NULL);
    _cleanup_free_ char *own = xasprintf("/%s", s->container);
    int changed =
        quick_status(r->user, CLOUD_OBJECT, "POST", own, NULL, "X-Container-Meta-Atoll-Probe: 1");
    if (changed / 100 == 2)
        (void)quick_status(r->user, CLOUD_OBJECT, "POST", own, NULL,
                           "X-Remove-Container-Meta-Atoll-Probe: x");
    int listed = quick_status(r->user, CLOUD_OBJECT, "GET", "?format=json", NULL, NULL);
    r->may_elsewhere = made / 100 == 2 || changed / 100 == 2 || listed / 100 == 2;
    bool refused = made == 403 && changed == 403 && listed == 403;
    line(r, "elsewhere", refused ? MEDIA_OK : MEDIA_FAILED,
         xasprintf("new container %d, own container's headers %d, list of containers %d", made,
                   changed, listed),
         refused ? NULL
                 : xstrdup("the user has a role that owns the account (member, admin): give it a "
                           "spare role, and the container's write ACL"));
}

/* May there be servers in the user's project at all? Nova says so to whoever has a role on it. */
static bool no_servers_allowed(Run *r)
{
    _cleanup_(err_clear) Err err = {0};
    _cleanup_json_ json_t *limits = NULL;
    if (cloud_get(r->user, CLOUD_COMPUTE, "/limits", &limits, &err) < 0)
        return false;
    const json_t *absolute = json_at(json_at(limits, "limits"), "absolute");
    return json_int(absolute, "maxTotalInstances", -1) == 0;
}

/* A valid request with an unknown flavor: 403 where servers may not be created, 400 where they may
 * (openstack.md; a DELETE of a random id proves nothing). Policies before 2023.1, and later ones
 * that keep the old defaults, let every role of a project create servers: then a quota of none is
 * as good, and is looked at by Nova only after the flavor. */
static void check_compute(Run *r)
{
    _cleanup_(err_clear) Err err = {0};
    const char *url = NULL;
    if (cloud_endpoint(r->user, CLOUD_COMPUTE, &url, &err) < 0) {
        line(r, "servers", MEDIA_OK, xstrdup("its catalogue has no compute service"), NULL);
        return;
    }
    json_t *body = json_make_new("{s:{s:s, s:s, s:s, s:s}}", "server", "name", "atoll-probe",
                                 "flavorRef", "00000000-0000-0000-0000-000000000000", "imageRef",
                                 "00000000-0000-0000-0000-000000000000", "networks", "none");
    int status = quick_status(r->user, CLOUD_COMPUTE, "POST", "/servers", body, NULL);
    bool let_through = status != 403 && status != 401;
    bool no_quota = let_through && no_servers_allowed(r);
    r->may_compute = let_through && !no_quota;
    if (!no_quota && (status == 0 || status >= 500)) {
        line(r, "servers", MEDIA_FAILED,
             xasprintf("POST /servers gave no useful answer (%d)", status),
             xstrdup("whether the user may create servers is not known: try again"));
        return;
    }
    if (no_quota) {
        line(r, "servers", MEDIA_OK, xstrdup("its project has a quota of 0 servers"), NULL);
        return;
    }
    line(r, "servers", r->may_compute ? MEDIA_FAILED : MEDIA_OK,
         xasprintf("POST /servers with an unknown flavor %d%s", status,
                   r->may_compute ? ": it may create servers" : ""),
         r->may_compute
             ? xstrdup("take the user's role away (member may create servers; with policies from "
                       "before 2023.1 every role may), or give media a project of its own with a "
                       "quota of 0 servers (`openstack quota set --instances 0 PROJECT`)")
             : NULL);
}

static MediaLevel level_of(const Run *r)
{
    if (!r->login_ok || r->may_compute || r->may_elsewhere)
        return MEDIA_NONE;
    const char *other = r->in->other_project;
    return other && !streq(other, cloud_project_id(r->user)) ? MEDIA_PROJECT : MEDIA_CONTAINER;
}

static void check_level(Run *r, MediaLevel reached)
{
    bool enough = reached <= r->in->required;
    line(r, "isolation", enough ? MEDIA_OK : MEDIA_FAILED,
         xasprintf("%s (required: %s)", media_levels[reached], media_levels[r->in->required]),
         enough ? NULL
                : xstrdup("see the lines above; a project of its own for media gives `project`"));
}

/* Ruby with fog-openstack, given exactly what Mastodon gets. */
static void check_fog(Run *r)
{
    const MediaSettings *s = r->in->settings;
    if (!r->in->fog) {
        line(r, "fog", MEDIA_SKIPPED, xstrdup("its script is not installed"), NULL);
        return;
    }
    _cleanup_(strlist_wipe) StrList env = {0};
    strlist_add(&env, "PATH=/usr/local/bin:/usr/bin:/bin");
    strlist_add(&env, "LANG=C.UTF-8");
    strlist_addf(&env, "SWIFT_AUTH_URL=%s", s->auth_url);
    strlist_addf(&env, "SWIFT_USERNAME=%s", s->username);
    strlist_addf(&env, "SWIFT_PASSWORD=%s", secret_expose(s->password).p);
    strlist_addf(&env, "SWIFT_DOMAIN_NAME=%s", s->user_domain);
    strlist_addf(&env, "SWIFT_CONTAINER=%s", s->container);
    strlist_addf(&env, "SWIFT_OBJECT_URL=%s", s->object_url);
    if (s->project_id)
        strlist_addf(&env, "SWIFT_PROJECT_ID=%s", s->project_id);
    if (s->region)
        strlist_addf(&env, "SWIFT_REGION=%s", s->region);
    if (s->tenant)
        strlist_addf(&env, "SWIFT_TENANT=%s", s->tenant);
    ChildSpec spec = {.argv = (const char *const[]){"ruby", r->in->fog, NULL},
                      .env = (const char *const *)env.items};
    _cleanup_(buf_clear) Buf out = BUF_INIT(BUF_MAX_LINE);
    _cleanup_(err_clear) Err err = {0};
    int status = 0;
    int e = child_run(&spec, (Str){0}, 30 * SECOND, &out, &status, &err);
    Str first = {0}, rest = buf_as_str(&out);
    (void)str_next(&rest, '\n', &first);
    if (e == -ERR_NOT_FOUND || (e == 0 && WEXITSTATUS(status) == 77))
        line(r, "fog", MEDIA_SKIPPED, xstrdup("ruby with fog-openstack is not on this machine"),
             NULL);
    else if (e == 0 && status == 0)
        line(r, "fog", MEDIA_OK, xasprintf("%.*s", (int)first.n, first.p), NULL);
    else
        line(r, "fog", MEDIA_FAILED,
             e < 0 ? xstrdup(err.text) : xasprintf("fog-openstack: %.*s", (int)first.n, first.p),
             xstrdup("Mastodon would fail in the same way: see the lines above"));
}

static bool logged_in(const Run *r)
{
    return r->login_ok;
}

static bool written(const Run *r)
{
    return r->written;
}

static void log_in(Run *r)
{
    r->login_ok = check_login(r);
}

/* In order; `when` (or NULL): only then it tells anything. */
static const struct {
    void (*check)(Run *r);
    bool (*when)(const Run *r);
} checks[] = {
    {check_settings, NULL},
    {log_in, NULL},
    {check_write, logged_in},
    {check_public, written},
    {check_listing, logged_in},
    {check_delete, written},
    {check_elsewhere, logged_in},
    {check_compute, logged_in},
    {check_fog, NULL},
};

static bool stopped(const Run *r)
{
    return r->in->options.stop && *r->in->options.stop;
}

/* What a check left is removed also after Ctrl-C. */
static void clean_up(Run *r)
{
    if (!r->written || !r->user)
        return;
    _cleanup_(call_clear) Call call = {.cloud = r->user,
                                       .service = CLOUD_OBJECT,
                                       .kind = CALL_IDEMPOTENT,
                                       .method = "DELETE",
                                       .last_word = true};
    call.path = xasprintf("/%s/%s", r->in->settings->container, r->object);
    (void)cloud_perform(&call, 1, NULL); /* its failure had a line of its own */
}

int media_check(const MediaCheck *c, MediaLines *ret, MediaLevel *ret_level, Err *err)
{
    char name[] = "atoll-check/0123456789abcdef0123456789abcdef";
    char content[32 + 1];

    crypt_random_hex(name + strlen("atoll-check/"), 32);
    crypt_random_hex(content, 32);
    Run r = {.in = c, .lines = ret, .object = name, .content = str_of(content)};
    for (size_t i = 0; i < ARRAY_LEN(checks) && !stopped(&r); i++)
        if (!checks[i].when || checks[i].when(&r))
            checks[i].check(&r);
    clean_up(&r);
    *ret_level = level_of(&r);
    bool early = stopped(&r);
    if (!early)
        check_level(&r, *ret_level);
    r.user = cloud_free(r.user);
    return early ? err_set(err, ERR_INTERRUPTED, "interrupted; not everything was checked") : 0;
}
