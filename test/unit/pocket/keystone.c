/* Keystone as a client sees it, without sockets. */
#include "calls.h"

static int setup(void **state)
{
    *state = calls_new();
    return 0;
}

static int teardown(void **state)
{
    calls_free(*state);
    return 0;
}

/* JSON with single quotes for double ones. */
static int ask_with(Calls *c, const char *method, const char *path, const char *body)
{
    _cleanup_free_ char *text = body ? xstrdup(body) : NULL;
    for (char *p = text; p && *p; p++)
        *p = *p == '\'' ? '"' : *p;
    return ask_keystone(c, method, path, text);
}

static void must(Calls *c, int want, const char *method, const char *path, const char *body)
{
    int got = ask_with(c, method, path, body);
    if (got != want)
        fail_msg("%s %s: %d, not %d: %s", method, path, got, want, c->body.p);
}

static char *role_id(Calls *c, const char *name)
{
    _cleanup_json_ json_t *role = store_find_new(c->p.store, "role", NULL, name);
    return xstrdup(json_str(role, "id"));
}

static char *make_user(Calls *c, const char *name)
{
    _cleanup_free_ char *body = xasprintf("{'user':{'name':'%s','password':'pw'}}", name);
    must(c, 201, "POST", "/v3/users", body);
    return xstrdup(json_str(c->json, "user.id"));
}

static char *grant_path(Calls *c, const char *user, const char *role)
{
    _cleanup_free_ char *id = role_id(c, role);
    return xasprintf("/v3/projects/%s/users/%s/roles/%s", c->project, user, id);
}

static bool alive(Calls *c, const char *token)
{
    const char *before = c->token;
    c->token = token;
    int status = ask_with(c, "GET", "/v3/auth/projects", NULL);
    c->token = before;
    return status == 200;
}

static void test_login(void **state)
{
    Calls *c = *state;
    _cleanup_free_ char *password = seeded_password(c, "demo");
    _cleanup_free_ char *scoped = login(c, "demo", password, "demo");
    assert_non_null(scoped);
    assert_string_equal(json_str(c->json, "token.user.name"), "demo");
    assert_string_equal(json_str(c->json, "token.project.name"), "demo");
    assert_string_equal(json_str(c->json, "token.user.domain.id"), "default");
    const json_t *catalog = json_at(c->json, "token.catalog");
    assert_int_equal(json_array_size(catalog), 6);
    size_t i;
    json_t *service;
    json_array_foreach (catalog, i, service) {
        assert_int_equal(json_array_size(json_object_get(service, "endpoints")), 3);
    }
    _cleanup_free_ char *unscoped = login(c, "demo", password, NULL);
    assert_non_null(unscoped);
    assert_null(json_at(c->json, "token.catalog"));
    assert_null(json_at(c->json, "token.roles"));
    assert_null(login(c, "demo", "wrong", "demo"));
    assert_string_equal(json_str(c->json, "error.title"), "Unauthorized");
    assert_null(login(c, "nobody", password, "demo"));
    assert_null(login(c, "demo", password, "admin"));
    assert_null(login(c, "demo", password, "nowhere"));
    /* Another scope with the token. */
    _cleanup_free_ char *rescope =
        xasprintf("{'auth':{'identity':{'methods':['token'],'token':{'id':'%s'}},"
                  "'scope':{'project':{'name':'demo-media','domain':{'id':'default'}}}}}",
                  unscoped);
    must(c, 201, "POST", "/v3/auth/tokens", rescope);
    must(c, 400, "POST", "/v3/auth/tokens", "{'auth':{}}");
    must(c, 400, "POST", "/v3/auth/tokens", "{'auth':");
    /* Nothing of a password or token is in the rows. */
    _cleanup_json_ json_t *users = store_list_new(c->p.store, "user", NULL);
    _cleanup_json_ json_t *tokens = store_list_new(c->p.store, "token", NULL);
    _cleanup_free_ char *users_text = json_text_new(users);
    _cleanup_free_ char *tokens_text = json_text_new(tokens);
    assert_null(strstr(users_text, password));
    assert_null(strstr(tokens_text, scoped));
}

static void test_token_life(void **state)
{
    Calls *c = *state;
    assert_true(alive(c, c->demo));
    calls_now += 3599 * SECOND;
    assert_true(alive(c, c->demo));
    calls_now += 2 * SECOND;
    assert_false(alive(c, c->demo));
    assert_int_equal(c->status, 401);
    assert_non_null(header(c, "WWW-Authenticate"));
    calls_close(c);
    calls_open(c); /* a start drops what has expired */
    assert_int_equal(store_count(c->p.store, "token", NULL), 0);
}

static void test_domain_manager(void **state)
{
    Calls *c = *state; /* demo is member and manager */
    _cleanup_free_ char *user = make_user(c, "upl");
    must(c, 409, "POST", "/v3/users", "{'user':{'name':'upl','password':'x'}}");
    must(c, 400, "POST", "/v3/users", "{'user':{'password':'x'}}");
    must(c, 403, "POST", "/v3/users", "{'user':{'name':'x','domain_id':'other'}}");
    _cleanup_free_ char *media = grant_path(c, user, "media");
    _cleanup_free_ char *admin_grant = grant_path(c, user, "admin");
    must(c, 404, "HEAD", media, NULL);
    must(c, 204, "PUT", media, NULL);
    must(c, 204, "PUT", media, NULL);
    must(c, 204, "HEAD", media, NULL);
    must(c, 403, "PUT", admin_grant, NULL);
    must(c, 403, "POST", "/v3/roles", "{'role':{'name':'x'}}");
    must(c, 403, "POST", "/v3/projects", "{'project':{'name':'x'}}");
    must(c, 200, "GET", "/v3/users?name=upl", NULL);
    assert_int_equal(json_array_size(json_object_get(c->json, "users")), 1);
    assert_null(strstr(c->body.p, "hash"));
    must(c, 200, "GET", "/v3/roles?name=media", NULL);
    must(c, 200, "GET", "/v3/role_assignments?include_names", NULL);
    /* Not over an admin: that would make the manager one. */
    _cleanup_json_ json_t *admin = store_find_new(c->p.store, "user", NULL, "admin");
    _cleanup_free_ char *path = xasprintf("/v3/users/%s", json_str(admin, "id"));
    must(c, 403, "PATCH", path, "{'user':{'password':'mine'}}");
    must(c, 403, "DELETE", path, NULL);
    /* The new user may nothing of this. */
    _cleanup_free_ char *token = login(c, "upl", "pw", "demo");
    c->token = token;
    must(c, 403, "GET", "/v3/users", NULL);
    assert_string_equal(json_str(c->json, "error.message"),
                        "You are not authorized to perform the requested action: "
                        "identity:list_users.");
    must(c, 403, "POST", "/v3/users", "{'user':{'name':'y'}}");
    _cleanup_free_ char *self = xasprintf("/v3/users/%s", user);
    must(c, 200, "GET", self, NULL);
    must(c, 403, "PATCH", self, "{'user':{'enabled':false}}");
}

/* What a token stood for goes: the token goes with it. */
static void test_revocation(void **state)
{
    Calls *c = *state;
    _cleanup_free_ char *user = make_user(c, "upl");
    _cleanup_free_ char *path = xasprintf("/v3/users/%s", user);
    _cleanup_free_ char *media = grant_path(c, user, "media");
    _cleanup_free_ char *reader = grant_path(c, user, "reader");
    must(c, 204, "PUT", media, NULL);
    must(c, 204, "PUT", reader, NULL);
    _cleanup_free_ char *first = login(c, "upl", "pw", "demo");
    assert_true(alive(c, first));
    must(c, 204, "DELETE", reader, NULL);
    must(c, 404, "DELETE", reader, NULL);
    assert_false(alive(c, first));
    _cleanup_free_ char *second = login(c, "upl", "pw", "demo");
    assert_true(alive(c, second));
    must(c, 200, "PATCH", path, "{'user':{'password':'pw2'}}");
    assert_false(alive(c, second));
    assert_null(login(c, "upl", "pw", "demo"));
    _cleanup_free_ char *third = login(c, "upl", "pw2", "demo");
    must(c, 200, "PATCH", path, "{'user':{'enabled':false}}");
    assert_false(alive(c, third));
    assert_null(login(c, "upl", "pw2", "demo"));
    must(c, 200, "PATCH", path, "{'user':{'enabled':true}}");
    _cleanup_free_ char *fourth = login(c, "upl", "pw2", "demo");
    must(c, 204, "DELETE", path, NULL);
    must(c, 404, "DELETE", path, NULL);
    assert_false(alive(c, fourth));
    assert_int_equal(store_count(c->p.store, "token", user), 0);
}

static void test_own_password(void **state)
{
    Calls *c = *state;
    _cleanup_free_ char *user = make_user(c, "upl");
    _cleanup_free_ char *path = xasprintf("/v3/users/%s/password", user);
    _cleanup_free_ char *row = xasprintf("/v3/users/%s", user);
    c->token = NULL;
    must(c, 401, "POST", path, "{'user':{'original_password':'no','password':'x'}}");
    must(c, 204, "POST", path, "{'user':{'original_password':'pw','password':'x'}}");
    c->token = c->demo;
    must(c, 200, "PATCH", row, "{'user':{'options':{'lock_password':true}}}");
    must(c, 400, "POST", path, "{'user':{'original_password':'x','password':'y'}}");
    _cleanup_free_ char *token = login(c, "upl", "x", NULL);
    assert_non_null(token);
}

/* A token by application credential; NULL: refused. */
static char *credential_login(Calls *c, const char *id, const char *secret, const char *more)
{
    _cleanup_free_ char *body = xasprintf(
        "{'auth':{'identity':{'methods':['application_credential'],'application_credential':"
        "{%s,'secret':'%s'}}%s}}",
        id, secret, more);
    const char *before = c->token;
    c->token = NULL;
    int status = ask_with(c, "POST", "/v3/auth/tokens", body);
    c->token = before;
    return status == 201 ? xstrdup(header(c, "X-Subject-Token")) : NULL;
}

static void test_credentials(void **state)
{
    Calls *c = *state;
    _cleanup_json_ json_t *demo = store_find_new(c->p.store, "user", NULL, "demo");
    const char *user = json_str(demo, "id");
    _cleanup_free_ char *path = xasprintf("/v3/users/%s/application_credentials", user);
    must(c, 201, "POST", path,
         "{'application_credential':{'name':'ac','secret':'chosen','roles':[{'name':'reader'}]}}");
    assert_string_equal(json_str(c->json, "application_credential.secret"), "chosen");
    _cleanup_free_ char *id =
        xasprintf("'id':'%s'", json_str(c->json, "application_credential.id"));
    _cleanup_free_ char *one =
        xasprintf("%s/%s", path, json_str(c->json, "application_credential.id"));
    must(c, 200, "GET", one, NULL);
    assert_null(strstr(c->body.p, "chosen"));
    assert_null(strstr(c->body.p, "hash"));
    must(c, 409, "POST", path, "{'application_credential':{'name':'ac'}}");
    must(c, 400, "POST", path, "{'application_credential':{}}");
    must(c, 400, "POST", path,
         "{'application_credential':{'name':'x','roles':[{'name':'admin'}]}}");
    must(c, 400, "POST", path,
         "{'application_credential':{'name':'x','expires_at':'2020-01-01T00:00:00Z'}}");
    must(c, 400, "POST", path,
         "{'application_credential':{'name':'x','access_rules':[{'path':'/x'}]}}");
    must(c, 200, "GET", path, NULL);
    assert_int_equal(json_array_size(json_object_get(c->json, "application_credentials")), 1);
    _cleanup_free_ char *token = credential_login(c, id, "chosen", "");
    assert_non_null(token);
    assert_int_equal(json_array_size(json_at(c->json, "token.roles")), 1);
    assert_null(credential_login(c, id, "wrong", ""));
    assert_null(credential_login(c, id, "chosen", ",'scope':{'project':{'name':'demo'}}"));
    _cleanup_free_ char *by_name = credential_login(
        c, "'name':'ac','user':{'name':'demo','domain':{'name':'default'}}", "chosen", "");
    assert_non_null(by_name);
    /* It can't make another one, nor widen itself. */
    c->token = token;
    must(c, 403, "POST", path, "{'application_credential':{'name':'z'}}");
    c->token = c->demo;
    must(c, 204, "DELETE", one, NULL);
    must(c, 404, "DELETE", one, NULL);
    assert_false(alive(c, token));
}

static void test_access_rules(void **state)
{
    Calls *c = *state;
    _cleanup_json_ json_t *demo = store_find_new(c->p.store, "user", NULL, "demo");
    _cleanup_free_ char *path =
        xasprintf("/v3/users/%s/application_credentials", json_str(demo, "id"));
    _cleanup_free_ char *body = xasprintf(
        "{'application_credential':{'name':'put','secret':'s','roles':[{'name':'member'}],"
        "'access_rules':[{'service':'object-store','method':'PUT','path':'/v1/AUTH_%s/box/**'}]}}",
        c->project);
    assert_int_equal(ask(c, "PUT", "/box", NULL, NULL), 201);
    must(c, 201, "POST", path, body);
    _cleanup_free_ char *id =
        xasprintf("'id':'%s'", json_str(c->json, "application_credential.id"));
    _cleanup_free_ char *token = credential_login(c, id, "s", "");
    c->token = token;
    assert_int_equal(ask(c, "PUT", "/box/o", NULL, "x"), 201);
    assert_int_equal(ask(c, "GET", "/box/o", NULL, NULL), 401);
    assert_int_equal(ask(c, "DELETE", "/box/o", NULL, NULL), 401);
    assert_int_equal(ask(c, "PUT", "/box", NULL, NULL), 401);
    assert_int_equal(ask(c, "PUT", "/other", NULL, NULL), 401);
    /* Keystone itself does not look at them. */
    must(c, 200, "GET", "/v3/auth/projects", NULL);
}

static void test_versions(void **state)
{
    Calls *c = *state;
    c->token = NULL;
    must(c, 300, "GET", "/", NULL);
    must(c, 200, "GET", "/v3", NULL);
    assert_string_equal(json_str(c->json, "version.id"), "v3.14");
    must(c, 401, "GET", "/v3/users", NULL);
    must(c, 404, "GET", "/v3/nothing", NULL);
    must(c, 405, "DELETE", "/v3/users", NULL);
    assert_non_null(header(c, "X-Openstack-Request-Id"));
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_login),        CASE(test_token_life),   CASE(test_domain_manager),
        CASE(test_revocation),   CASE(test_own_password), CASE(test_credentials),
        CASE(test_access_rules), CASE(test_versions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
