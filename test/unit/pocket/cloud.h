/* A pocket cloud without HTTP for tests of its services: a folder, a store, two users, and calls
 * through the real route tables. A failed call is rolled back, as serve.c does it.
 *
 * Bodies are JSON with single quotes. References to earlier answers go in by printf formats.
 */
#pragma once
#include "io/crypt.h"
#include "io/file.h"
#include "pocket/core.h"
#include "pocket/pocket.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

typedef struct Cloud {
    Pocket p;
    PocketUser user, other, admin;
    const PocketUser *as; /* who calls; &user at first */
    int microversion;     /* of the next calls; 93 for Nova at first */
    const char *if_match; /* header of the next call */
    json_t *answer;       /* of the last call */
    StrList headers;      /* of the last answer */
} Cloud;

static Msec cloud_now;

static _unused_ Msec cloud_clock(void)
{
    return cloud_now;
}

static _unused_ PocketUser cloud_user(const char *name, const char *project, const char *role)
{
    PocketUser u = {.user_id = xasprintf("user-%s", name),
                    .user_name = xstrdup(name),
                    .user_domain = xstrdup("Default"),
                    .project_id = xstrdup(project),
                    .project_name = xstrdup(project)};
    strlist_add(&u.roles, role);
    return u;
}

static _unused_ void cloud_open_store(Cloud *c)
{
    _cleanup_free_ char *path = path_join(c->p.dir, "pocket.db");
    bool fresh;
    assert_int_equal(store_open(path, &c->p.store, &fresh, NULL), 0);
    store_begin(c->p.store);
    if (fresh) {
        _cleanup_json_ json_t *project =
            json_make_new("{s:s, s:s}", "id", "project-admin", "name", "admin");
        store_put(c->p.store, "project", NULL, "admin", project);
        _cleanup_json_ json_t *image =
            json_make_new("{s:s, s:s, s:s, s:s, s:s}", "id", "image-1", "name", "debian-12",
                          "status", "active", "visibility", "public", "owner", "project-admin");
        store_put(c->p.store, "image", NULL, "debian-12", image);
    }
    neutron_start(&c->p, fresh);
    cinder_start(&c->p, fresh);
    nova_start(&c->p, fresh);
    store_end(c->p.store, true);
}

static _unused_ Cloud *cloud_new(bool servers_run)
{
    Cloud *c = NEW(Cloud);
    char dir[] = "/tmp/atoll-pocket-test-XXXXXX";
    crypt_init();
    cloud_now = 1795000000000;
    assert_non_null(mkdtemp(dir));
    c->p.dir = xstrdup(dir);
    c->p.region = xstrdup("pocket-1");
    c->p.servers_run = servers_run;
    c->p.now = cloud_clock;
    for (int i = 0; i < POCKET_SERVICES; i++)
        c->p.port[i] = 20000 + i;
    c->user = cloud_user("demo", "project-demo", "member");
    c->other = cloud_user("jo", "project-jo", "member");
    c->admin = cloud_user("admin", "project-admin", "admin");
    c->as = &c->user;
    c->microversion = POCKET_COMPUTE_MINOR;
    cloud_open_store(c);
    return c;
}

static _unused_ void cloud_user_clear(PocketUser *u)
{
    free(u->user_id);
    free(u->user_name);
    free(u->user_domain);
    free(u->project_id);
    free(u->project_name);
    strlist_clear(&u->roles);
}

static _unused_ void cloud_free(Cloud *c)
{
    nova_stop(&c->p);
    neutron_stop(&c->p);
    (void)store_close(c->p.store);
    assert_int_equal(file_remove_tree(c->p.dir, NULL), 0);
    free(c->p.dir);
    free(c->p.region);
    cloud_user_clear(&c->user);
    cloud_user_clear(&c->other);
    cloud_user_clear(&c->admin);
    json_decref(c->answer);
    strlist_clear(&c->headers);
    free(c);
}

static _unused_ json_t *cloud_json_new(const char *text)
{
    _cleanup_free_ char *copy = xstrdup(text);
    for (char *s = copy; *s; s++)
        if (*s == '\'')
            *s = '"';
    json_t *j = json_parse_new(copy, strlen(copy), NULL);
    if (!j)
        fail_msg("test's own body is no JSON: %s", text);
    return j;
}

static _unused_ bool cloud_may(const PocketUser *u, PocketNeed need)
{
    bool admin = pocket_has_role(u, "admin");
    return need == NEED_ADMIN    ? admin
           : need == NEED_MEMBER ? admin || pocket_has_role(u, "member")
                                 : true;
}

/* Calls; returns the status and keeps the answer in c->answer. The body (printf) may be NULL. */
static _unused_ int cloud_call(Cloud *c, PocketService s, const char *method, const char *target,
                               const char *body)
{
    static const PocketRoute *const tables[] = {[POCKET_NOVA] = nova_routes,
                                                [POCKET_NEUTRON] = neutron_routes,
                                                [POCKET_CINDER] = cinder_routes};
    const char *mark = strchr(target, '?');
    _cleanup_free_ char *path = xstrndup(target, mark ? (size_t)(mark - target) : strlen(target));
    StrList args = {0}, in = {0};
    bool other;
    const PocketRoute *route = route_find(tables[s], method, path, &args, &other);
    if (!route)
        fail_msg("no route for %s %s", method, target);
    if (c->if_match)
        strlist_addf(&in, "If-Match: %s", c->if_match);
    PocketCall call = {.method = method,
                       .path = path,
                       .args = args,
                       .query = query_parse_new(mark ? mark + 1 : ""),
                       .headers = &in,
                       .body = body ? cloud_json_new(body) : NULL,
                       .user = c->as,
                       .request_id = "req-test",
                       .microversion = s == POCKET_NEUTRON ? 0 : c->microversion};
    PocketReply r = {.text = BUF_INIT(BUF_MAX_LINE)};
    pocket_lock(&c->p);
    store_begin(c->p.store);
    if (cloud_may(c->as, route->need))
        route->handler(&c->p, &call, &r);
    else
        pocket_fail(s, &r, 403, NULL, "denied");
    store_end(c->p.store, r.status < 400);
    pocket_unlock(&c->p);
    assert_in_range(r.status, 200, 599);
    json_decref(call.query);
    json_decref(call.body);
    strlist_clear(&args);
    strlist_clear(&in);
    buf_clear(&r.text);
    json_decref(c->answer);
    c->answer = r.json;
    strlist_clear(&c->headers);
    c->headers = r.headers;
    c->if_match = NULL;
    return r.status;
}

static _unused_ int cloud_get(Cloud *c, PocketService s, const char *target)
{
    return cloud_call(c, s, "GET", target, NULL);
}

/* A body made with printf; the status. */
static _unused_ _printf_(5, 6) int cloud_send(Cloud *c, PocketService s, const char *method,
                                              const char *target, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    _cleanup_free_ char *body = xvasprintf(format, ap);
    va_end(ap);
    return cloud_call(c, s, method, target, body);
}

/* A text of the last answer; "" if it is not there. */
static _unused_ const char *cloud_text(const Cloud *c, const char *path)
{
    return json_str_or(c->answer, path, "");
}

/* Makes something and gives its id (to be freed). `key`: "network". */
static _unused_ _printf_(5, 6) char *cloud_make(Cloud *c, PocketService s, const char *target,
                                                const char *key, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    _cleanup_free_ char *body = xvasprintf(format, ap);
    va_end(ap);
    int status = cloud_call(c, s, "POST", target, body);
    _cleanup_free_ char *path = xasprintf("%s.id", key);
    if (status >= 300) {
        _cleanup_free_ char *text = json_text_new(c->answer);
        fail_msg("POST %s %s: %d %s", target, body, status, text);
    }
    return xstrdup(cloud_text(c, path));
}

/* Number of things in the answer's list. */
static _unused_ size_t cloud_count(const Cloud *c, const char *plural)
{
    return json_array_size(json_object_get(c->answer, plural));
}

static _unused_ const char *cloud_nth(const Cloud *c, const char *plural, size_t i,
                                      const char *path)
{
    return json_str_or(json_array_get(json_object_get(c->answer, plural), i), path, "");
}
