/* The first rows of a new cloud, and the file with which people log in. */
#include "io/crypt.h"
#include "io/file.h"
#include "pocket/keystone_rows.h"

static void put_new(Pocket *p, const char *kind, const char *project, json_t *row_taken)
{
    store_put(p->store, kind, project, json_str(row_taken, "name"), row_taken);
    json_decref(row_taken);
}

static char *add_project(Pocket *p, const char *name)
{
    char *id = pocket_uuid(false);
    put_new(p, "project", DEFAULT_DOMAIN,
            json_make_new("{s:s,s:s,s:s,s:b,s:s,s:b,s:s,s:[]}", "id", id, "name", name, "domain_id",
                          DEFAULT_DOMAIN, "enabled", 1, "description", "", "is_domain", 0,
                          "parent_id", DEFAULT_DOMAIN, "tags"));
    return id;
}

static void grant(Pocket *p, const json_t *user, const char *project_id, const char *role_name)
{
    _cleanup_json_ json_t *role = ks_role_new(p, role_name);
    const char *user_id = json_str(user, "id"), *role_id = json_str(role, "id");
    _cleanup_free_ char *id = xasprintf("%s:%s:%s", user_id, project_id, role_id);
    _cleanup_json_ json_t *row = json_make_new("{s:s,s:s,s:s,s:s}", "id", id, "user_id", user_id,
                                               "project_id", project_id, "role_id", role_id);
    store_put(p->store, "assignment", project_id, user_id, row);
}

static void cloud_text(const Pocket *p, const char *name, const char *user, const char *project,
                       const Secret *password, Buf *out)
{
    buf_printf(out,
               "  %s:\n"
               "    auth:\n"
               "      auth_url: http://127.0.0.1:%d/v3\n"
               "      username: %s\n"
               "      password: %s\n"
               "      project_name: %s\n"
               "      user_domain_name: Default\n"
               "      project_domain_name: Default\n"
               "    region_name: %s\n"
               "    identity_api_version: 3\n",
               name, p->port[POCKET_KEYSTONE], user, secret_expose(password).p, project, p->region);
}

static int seed(Pocket *p, const char *clouds_path, Err *err)
{
    static const char *const roles[] = {"admin", "manager", "member", "reader", "media"};
    put_new(p, "domain", NULL,
            json_make_new("{s:s,s:s,s:b,s:s}", "id", DEFAULT_DOMAIN, "name", "Default", "enabled",
                          1, "description", "The default domain"));
    for (size_t i = 0; i < ARRAY_LEN(roles); i++) {
        _cleanup_free_ char *id = pocket_uuid(false);
        put_new(p, "role", NULL, json_make_new("{s:s,s:s}", "id", id, "name", roles[i]));
    }
    _cleanup_free_ char *admin_project = add_project(p, "admin");
    _cleanup_free_ char *demo_project = add_project(p, "demo");
    _cleanup_free_ char *media_project = add_project(p, "demo-media");
    _cleanup_secret_ Secret *admin_password = crypt_password_new(32);
    _cleanup_secret_ Secret *demo_password = crypt_password_new(32);
    _cleanup_json_ json_t *admin =
        ks_add_user(p, "admin", DEFAULT_DOMAIN, secret_expose(admin_password).p);
    _cleanup_json_ json_t *demo =
        ks_add_user(p, "demo", DEFAULT_DOMAIN, secret_expose(demo_password).p);
    grant(p, admin, admin_project, "admin");
    grant(p, demo, demo_project, "member");
    grant(p, demo, demo_project, "manager");
    grant(p, demo, media_project, "member");
    grant(p, demo, media_project, "manager");
    _cleanup_(buf_wipe) Buf text = BUF_INIT(BUF_MAX_LINE);
    buf_str(&text, "# Written by atoll-pocket at its first start.\nclouds:\n");
    cloud_text(p, "pocket", "demo", "demo", demo_password, &text);
    cloud_text(p, "pocket-media", "demo", "demo-media", demo_password, &text);
    cloud_text(p, "pocket-admin", "admin", "admin", admin_password, &text);
    return file_write(clouds_path, buf_as_str(&text), 0600, err);
}

/* Another port than last time (--port-base): the file's passwords stay, only the URL changes. */
static int update_url(const Pocket *p, const char *clouds_path, Err *err)
{
    _cleanup_(buf_wipe) Buf old = BUF_INIT(BUF_MAX_LINE);
    _cleanup_(buf_wipe) Buf text = BUF_INIT(2 * BUF_MAX_LINE);
    int r = file_read(clouds_path, &old, err);
    if (r < 0)
        return r;
    Str rest = buf_as_str(&old), line;
    while (str_next(&rest, '\n', &line)) {
        Str trimmed = str_trim(line);
        static const char key[] = "auth_url:";
        bool url = trimmed.n >= sizeof key - 1 && memcmp(trimmed.p, key, sizeof key - 1) == 0;
        if (url)
            buf_printf(&text, "      auth_url: http://127.0.0.1:%d/v3", p->port[POCKET_KEYSTONE]);
        else
            buf_add(&text, line.p, line.n);
        if (rest.p)
            buf_char(&text, '\n');
    }
    if (str_eq(buf_as_str(&old), buf_as_str(&text)))
        return 0;
    return file_write(clouds_path, buf_as_str(&text), 0600, err);
}

int keystone_start(Pocket *p, bool fresh, Err *err)
{
    _cleanup_free_ char *path = path_join(p->dir, "clouds.yaml");
    if (fresh)
        return seed(p, path, err);
    ks_drop_expired(p);
    /* Somebody may have moved the file elsewhere: then the URL is his business. */
    return file_exists(path) ? update_url(p, path, err) : 0;
}
