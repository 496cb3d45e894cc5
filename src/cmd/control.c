/* What a control server is given (host/control.h). */
#include "host/control.h"
#include "cmd/cmd.h"
#include "io/file.h"

bool cmd_has_control(const Cmd *c)
{
    _cleanup_free_ char *server = island_first_server(&c->island, ROLE_CONTROL);

    return server != NULL;
}

/* A token ends within hours, and a certificate's key is a file of this machine. */
static int check_login(const CloudConfig *login, const char *cloud, const char *place, Err *err)
{
    const char *why = login->auth_type == AUTH_TOKEN ? "is a token, which ends within hours"
                      : login->cert_file || login->key_file
                          ? "needs a certificate of this machine's"
                          : NULL;

    if (!why)
        return 0;
    (void)err_set(err, ERR_CONFIG, "%s: the control server can't be given the login %s: it %s",
                  place, login->name, why);
    return err_hint(err,
                    "`openstack application credential create %s-control` makes one; name its "
                    "entry of clouds.yaml with control: {logins: {%s: ENTRY}}",
                    cloud, cloud);
}

/* On the control server itself its own logins are those that it has. */
static int login_of(const Cmd *c, const char *cloud, CloudConfig *ret, Err *err)
{
    const char *name = c->lent ? cloud : island_login(&c->island, cloud);
    _cleanup_free_ char *key = xasprintf("control.logins.%s", cloud);
    _cleanup_free_ char *place = island_place(&c->island, key);
    int r = cloud_config_load(name, ret, err);

    if (r < 0)
        return err_wrap(err, "%s", place);
    r = check_login(ret, cloud, place, err);
    if (r < 0)
        cloud_config_clear(ret);
    return r;
}

static int add_login(const Cmd *c, const char *cloud, json_t *clouds, Err *err)
{
    _cleanup_(cloud_config_clear) CloudConfig login = {0};
    _cleanup_(buf_clear) Buf pem = BUF_INIT(BUF_MAX_BODY);
    int r = login_of(c, cloud, &login, err);

    if (r == 0 && login.ca_file)
        r = file_read(login.ca_file, &pem, err);
    if (r < 0)
        return r;
    json_t *entry = cloud_config_entry_new(&login);
    if (login.ca_file)
        json_object_set_new(entry, "cacert", json_string(pem.p));
    json_object_set_new(clouds, cloud, entry);
    return 0;
}

int cmd_control_check(const Cmd *c, Err *err)
{
    const char *names[4];
    int r = 0;

    island_clouds(&c->island, names);
    for (size_t i = 0; r == 0 && names[i] && cmd_has_control(c); i++) {
        _cleanup_(cloud_config_clear) CloudConfig login = {0};
        r = login_of(c, names[i], &login, err);
    }
    return r;
}

int cmd_control_kit(Cmd *c, Err *err)
{
    _cleanup_json_ json_t *clouds = json_object();
    const char *names[4];
    int r = 0;

    island_clouds(&c->island, names);
    for (size_t i = 0; r == 0 && names[i]; i++)
        r = add_login(c, names[i], clouds, err);
    return r < 0 ? r : control_vault(c->vault, &c->keys.recipients, clouds, err);
}
