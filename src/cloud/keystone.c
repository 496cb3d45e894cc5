/* Keystone v3: the user that uploads media, and its role on the project. */
#include "cloud/kind.h"

/* lock_password: a stolen password can't be changed by who stole it (openstack.md d). */
static json_t *user_body_new(const KindTask *t, Err *err)
{
    if (!t->secrets || !t->secrets->user_password) {
        err_set(err, ERR_BUG, "no password for the user %s", t->want->name);
        return NULL;
    }
    Str password = secret_expose(t->secrets->user_password);
    return json_make_new(
        "{s:s, s:s, s:s, s:s, s:o, s:{s:b}}", "name", t->want->name, "description", t->marker,
        "domain_id", cloud_domain_id(t->cloud), "default_project_id", cloud_project_id(t->cloud),
        "password", json_stringn_nocheck(password.p, password.n), "options", "lock_password", 1);
}

static int user_call(const KindTask *t, Call *ret, Err *err)
{
    const char *name = t->detail ? t->detail : "";

    if (t->verb != KIND_GRANT)
        return 1;
    const char *role = json_string_value(json_object_get(json_at(t->world->facts, "roles"), name));
    if (!role) {
        err_set(err, ERR_PREFLIGHT, "the cloud has no role `%s`, or its login may not see it",
                name);
        return err_hint(err, "an administrator makes it with `openstack role create %s`", name);
    }
    return kind_request(ret, CALL_IDEMPOTENT, "PUT", "/projects/%s/users/%s/roles/%s",
                        cloud_project_id(t->cloud), t->have->id, role);
}

/* Roles are a list of their own: world.c adds them. */
static bool user_read(const Look *l, const json_t *item, Resource *ret)
{
    if (!kind_read(l, RESOURCE_USER, item, json_str_or(item, "description", ""), ret))
        return false;
    ret->cloud = CLOUD_OF_MEDIA;
    ret->attrs = json_make_new("{s:[]}", "roles");
    return true;
}

const KindRow kind_user = {.service = CLOUD_IDENTITY,
                           .singular = "user",
                           .collection = "/users",
                           .body_new = user_body_new,
                           .call = user_call,
                           .read = user_read};
