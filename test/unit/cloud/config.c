#include "cloud/config.h"
#include "io/file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <unistd.h>

#define AUTH                                                                                       \
    "      auth_url: https://k.example:5000\n"                                                     \
    "      username: jo\n"                                                                         \
    "      password: sesame\n"                                                                     \
    "      project_name: reef\n"                                                                   \
    "      user_domain_name: Default\n"                                                            \
    "      project_domain_name: Corp\n"

static char *folder;

static void forget_env(void)
{
    for (char **line = environ; *line;) {
        if (!starts_with(*line, "OS_") && !starts_with(*line, "XDG_CONFIG_HOME=")) {
            line++;
            continue;
        }
        _cleanup_free_ char *name = xstrndup(*line, strcspn(*line, "="));
        unsetenv(name);
        line = environ;
    }
}

/* An empty home and working folder, and no OS_* but those of `variables` ("A=b|C=d"). */
static void put_env(const char *variables)
{
    Str rest = str_of(variables), line;

    forget_env();
    setenv("HOME", folder, 1);
    while (variables && str_next(&rest, '|', &line)) {
        _cleanup_free_ char *text = xstrndup(line.p, line.n);
        char *equals = strchr(text, '=');
        *equals = '\0';
        setenv(text, equals + 1, 1);
    }
}

static void put_file(const char *name, const char *text)
{
    _cleanup_free_ char *path = path_join(folder, name);
    if (text)
        assert_int_equal(file_write(path, str_of(text), 0600, NULL), 0);
    else
        (void)unlink(path);
}

/* What a login comes out as, in one line. */
static char *shown(const CloudConfig *c)
{
    static const char *const types[] = {"password", "token", "credential"};
    Buf b = BUF_INIT(BUF_MAX_LINE);

    buf_printf(&b, "%s %s %s user=%s/%s@%s/%s project=%s/%s@%s/%s", c->name, types[c->auth_type],
               c->auth_url, c->username ? c->username : "", c->user_id ? c->user_id : "",
               c->user_domain_name ? c->user_domain_name : "",
               c->user_domain_id ? c->user_domain_id : "", c->project_name ? c->project_name : "",
               c->project_id ? c->project_id : "",
               c->project_domain_name ? c->project_domain_name : "",
               c->project_domain_id ? c->project_domain_id : "");
    if (c->application_credential_id || c->application_credential_name)
        buf_printf(&b, " credential=%s/%s",
                   c->application_credential_id ? c->application_credential_id : "",
                   c->application_credential_name ? c->application_credential_name : "");
    buf_printf(&b, " secret=%s %s %s %s%s", secret_expose(c->secret).p, c->region ? c->region : "-",
               c->interface, c->ca_file ? c->ca_file : "-", c->insecure ? " insecure" : "");
    if (c->cert_file)
        buf_printf(&b, " cert=%s,%s", c->cert_file, c->key_file ? c->key_file : "");
    for (size_t i = 0; i < c->overrides.len; i++)
        buf_printf(&b, " %s", c->overrides.items[i]);
    return buf_detach(&b);
}

#define JO "user=jo/@Default/ project=reef/@Corp/ secret=sesame"

/* Handed on to another machine, it is the same login. */
static void check_entry(const CloudConfig *c)
{
    _cleanup_json_ json_t *clouds =
        json_make_new("{s:{s:o}}", "clouds", c->name, cloud_config_entry_new(c));
    _cleanup_free_ char *text = json_text_new(clouds), *line = shown(c);
    _cleanup_(cloud_config_clear) CloudConfig again = {0};
    _cleanup_(err_clear) Err err = {0};

    put_env(NULL);
    put_file("clouds.yaml", text);
    put_file("secure.yaml", NULL);
    if (cloud_config_load(c->name, &again, &err) < 0)
        fail_msg("%s: %s", line, err.text);
    _cleanup_free_ char *other = shown(&again);
    assert_string_equal(other, line);
}

static void what_is_read(void **state)
{
    static const struct {
        const char *clouds, *secure, *env, *name, *expected;
    } rows[] = {
        {"clouds:\n  a:\n    auth:\n" AUTH, NULL, NULL, NULL,
         "a password https://k.example:5000/v3 " JO " - public -"},
        /* Old versions and slashes at the end; old names; dashes. */
        {"clouds:\n  a:\n    auth:\n      auth-url: http://k/identity/v2.0/\n      username: jo\n"
         "      password: sesame\n      tenant_name: reef\n      domain_name: Default\n",
         NULL, NULL, "a",
         "a password http://k/identity/v3 user=jo/@Default/ project=reef/@Default/ secret=sesame - "
         "public -"},
        {"clouds:\n  a:\n    auth:\n      auth_url: http://k/v3/\n      user_id: u1\n      "
         "password: "
         "sesame\n      project_id: p1\n",
         NULL, NULL, "a",
         "a password http://k/v3 user=/u1@/ project=/p1@/ secret=sesame - public -"},
        {"clouds:\n  a:\n    auth:\n      auth_url: http://k\n      username: jo\n      password: "
         "sesame\n      project_name: reef\n      default_domain: default\n",
         NULL, NULL, "a",
         "a password http://k/v3 user=jo/@/default project=reef/@/default secret=sesame - public "
         "-"},
        /* The project's domain is the user's where nothing else is said. */
        {"clouds:\n  a:\n    auth:\n      auth_url: http://k\n      username: jo\n      password: "
         "sesame\n      project_name: reef\n      user_domain_name: Corp\n",
         NULL, NULL, "a",
         "a password http://k/v3 user=jo/@Corp/ project=reef/@Corp/ secret=sesame - public -"},
        {"clouds:\n  a:\n    auth_type: v3token\n    auth:\n      auth_url: http://k\n      token: "
         "tok\n      project_id: p1\n",
         NULL, NULL, "a", "a token http://k/v3 user=/@/ project=/p1@/ secret=tok - public -"},
        {"clouds:\n  a:\n    auth_type: v3applicationcredential\n    auth:\n      auth_url: "
         "http://k\n      application_credential_id: c1\n      application_credential_secret: s\n",
         NULL, NULL, "a",
         "a credential http://k/v3 user=/@/ project=/@/ credential=c1/ secret=s - public -"},
        {"clouds:\n  a:\n    auth_type: v3application_credential\n    auth:\n      auth_url: "
         "http://k\n      application_credential_name: n\n      username: jo\n      "
         "user_domain_id: d\n      application_credential_secret: s\n",
         NULL, NULL, "a",
         "a credential http://k/v3 user=jo/@/d project=/@/d credential=/n secret=s - public -"},
        /* secure.yaml lies over clouds.yaml; empty values count for nothing. */
        {"clouds:\n  a:\n    auth:\n      auth_url: http://k\n      username: jo\n      password: "
         "''\n      project_name: reef\n      user_domain_name: Default\n      "
         "project_domain_name: Corp\n",
         "clouds:\n  a:\n    auth:\n      password: sesame\n", NULL, "a",
         "a password http://k/v3 " JO " - public -"},
        /* TLS, interface, regions, overrides. */
        {"clouds:\n  a:\n    verify: false\n    cacert: ~/ca.pem\n    interface: internalURL\n    "
         "region_name: GRA7\n    object_store_region: GRA\n    network_endpoint_override: "
         "http://n:9696\n    auth:\n" AUTH,
         NULL, NULL, "a",
         "a password https://k.example:5000/v3 " JO " GRA7 internal HOME/ca.pem insecure "
         "network=http://n:9696 object-store@region=GRA"},
        {"clouds:\n  a:\n    insecure: 'True'\n    endpoint_type: admin\n    auth:\n" AUTH, NULL,
         NULL, "a", "a password https://k.example:5000/v3 " JO " - admin - insecure"},
        {"clouds:\n  a:\n    regions: [one, two]\n    auth:\n" AUTH, NULL, NULL, "a",
         "a password https://k.example:5000/v3 " JO " one public -"},
        {"clouds:\n  a:\n    regions:\n      - one\n      - name: two\n        values:\n          "
         "auth:\n            auth_url: http://{region_name}.k\n    auth:\n" AUTH,
         NULL, "OS_REGION_NAME=two", "a", "a password http://two.k/v3 " JO " two public -"},
        {"clouds:\n  a:\n    auth:\n" AUTH, NULL, "OS_REGION_NAME=two", "a",
         "a password https://k.example:5000/v3 " JO " two public -"},
        /* Which cloud. */
        {"clouds:\n  a: {auth: {}}\n  b:\n    auth:\n" AUTH, NULL, "OS_CLOUD=b", NULL,
         "b password https://k.example:5000/v3 " JO " - public -"},
        {"clouds:\n  a: {auth: {}}\n  b:\n    auth:\n" AUTH, NULL, "OS_CLOUD=a", "b",
         "b password https://k.example:5000/v3 " JO " - public -"},
        /* The environment is a cloud of its own, unless OS_CLOUD is set: then it is ignored. */
        {"clouds:\n  a:\n    auth:\n" AUTH, NULL,
         "OS_AUTH_URL=http://e/v3|OS_USERNAME=jo|OS_PASSWORD=sesame|OS_PROJECT_NAME=reef|"
         "OS_USER_DOMAIN_NAME=Default|OS_PROJECT_DOMAIN_NAME=Corp|OS_IDENTITY_API_VERSION=3",
         NULL, "envvars password http://e/v3 " JO " - public -"},
        {"clouds:\n  a:\n    auth:\n" AUTH, NULL, "OS_CLOUD=a|OS_AUTH_URL=http://e|OS_USERNAME=x",
         NULL, "a password https://k.example:5000/v3 " JO " - public -"},
        {NULL, NULL,
         "OS_AUTH_TYPE=v3applicationcredential|OS_AUTH_URL=http://e|"
         "OS_APPLICATION_CREDENTIAL_ID=c|OS_APPLICATION_CREDENTIAL_SECRET=s|OS_REGION_NAME=r",
         NULL,
         "envvars credential http://e/v3 user=/@/ project=/@/ credential=c/ secret=s r public "
         "-"},
        /* Not a login. */
        {"clouds:\n  a:\n    auth:\n" AUTH, NULL, "OS_TEST_TIMEOUT=1|OS_LOG_CAPTURE=1", NULL,
         "a password https://k.example:5000/v3 " JO " - public -"},
        /* Settings of others are none of our business. */
        {"clouds:\n  a:\n    image_format: qcow2\n    identity_api_version: 3\n    "
         "floating_ip_source: neutron\n    networks:\n      - name: x\n    auth:\n" AUTH,
         NULL, NULL, "a", "a password https://k.example:5000/v3 " JO " - public -"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_(cloud_config_clear) CloudConfig c = {0};
        _cleanup_(err_clear) Err err = {0};
        put_env(rows[i].env);
        put_file("clouds.yaml", rows[i].clouds);
        put_file("secure.yaml", rows[i].secure);
        if (cloud_config_load(rows[i].name, &c, &err) < 0)
            fail_msg("row %zu: %s", i, err.text);
        _cleanup_free_ char *line = shown(&c);
        _cleanup_(buf_clear) Buf expected = BUF_INIT(BUF_MAX_LINE);
        const char *home = strstr(rows[i].expected, "HOME");
        buf_add(&expected, rows[i].expected,
                home ? (size_t)(home - rows[i].expected) : strlen(rows[i].expected));
        if (home)
            buf_printf(&expected, "%s%s", folder, home + 4);
        assert_string_equal(line, expected.p);
        check_entry(&c);
    }
    put_file("secure.yaml", NULL);
}

/* openstacksdk's rules, one a row; what it does was read from config/loader.py and
 * config/cloud_region.py. */
static void rules_of_openstacksdk(void **state)
{
#define NO_URL                                                                                     \
    "      username: jo\n      password: sesame\n      project_name: reef\n"                       \
    "      user_domain_name: Default\n      project_domain_name: Corp\n"
#define VENDOR                                                                                     \
    "public-clouds:\n  catalyst:\n    auth:\n      auth_url: https://{region_name}.v\n"            \
    "      username: nobody\n    regions: [por, hlz]\n    verify: false\n"
    static const struct {
        const char *rule, *clouds, *secure, *vendors, *env, *name, *expected;
    } rows[] = {
        {"profile lies below the entry; its auth is merged, its first region taken",
         "clouds:\n  a:\n    profile: catalyst\n    auth:\n" NO_URL, NULL, VENDOR, NULL, "a",
         "a password https://por.v/v3 " JO " por public - insecure"},
        {"`cloud` is the old word for profile",
         "clouds:\n  a:\n    cloud: catalyst\n    verify: true\n    auth:\n" NO_URL, NULL, VENDOR,
         "OS_REGION_NAME=hlz", "a", "a password https://hlz.v/v3 " JO " hlz public -"},
        {"an unknown profile does nothing", "clouds:\n  a:\n    profile: other\n    auth:\n" AUTH,
         NULL, VENDOR, NULL, "a", "a password https://k.example:5000/v3 " JO " - public -"},
        {"the entry's region_name is chosen, not the profile's",
         "clouds:\n  a:\n    profile: catalyst\n    region_name: own\n    auth:\n" NO_URL, NULL,
         VENDOR, NULL, "a", "a password https://own.v/v3 " JO " own public - insecure"},
        {"auth wins over what stands beside it",
         "clouds:\n  a:\n    username: x\n    project_name: y\n    auth:\n" AUTH, NULL, NULL, NULL,
         "a", "a password https://k.example:5000/v3 " JO " - public -"},
        {"also over secure.yaml's beside it", "clouds:\n  a:\n    auth:\n" AUTH,
         "clouds:\n  a:\n    password: x\n", NULL, NULL, "a",
         "a password https://k.example:5000/v3 " JO " - public -"},
        {"project_name wins over tenant_name, in whatever order",
         "clouds:\n  a:\n    auth:\n" AUTH "      tenant_name: x\n", NULL, NULL, NULL, "a",
         "a password https://k.example:5000/v3 " JO " - public -"},
        {"endpoint_type wins over interface",
         "clouds:\n  a:\n    endpoint_type: internalURL\n    interface: public\n    auth:\n" AUTH,
         NULL, NULL, NULL, "a", "a password https://k.example:5000/v3 " JO " - internal -"},
        {"an entry may be in secure.yaml alone", "clouds: {}\n", "clouds:\n  a:\n    auth:\n" AUTH,
         NULL, NULL, "a", "a password https://k.example:5000/v3 " JO " - public -"},
        {"region, interface and address for one service",
         "clouds:\n  a:\n    compute_interface: internal\n    block_storage_endpoint_type: "
         "adminURL\n"
         "    volumev3_region_name: R\n    image_endpoint: http://i\n"
         "    network_endpoint_override: http://n\n    auth:\n" AUTH,
         NULL, NULL, NULL, "a",
         "a password https://k.example:5000/v3 " JO
         " - public - network=http://n volumev3@region=R "
         "compute@interface=internal block-storage@interface=admin image=http://i"},
        {"region_name with a comma is a list",
         "clouds:\n  a:\n    region_name: one, two\n    auth:\n" AUTH, NULL, NULL,
         "OS_REGION_NAME=two", "a", "a password https://k.example:5000/v3 " JO " two public -"},
        {"its first is the default", "clouds:\n  a:\n    region_name: one,two\n    auth:\n" AUTH,
         NULL, NULL, NULL, "a", "a password https://k.example:5000/v3 " JO " one public -"},
        {"verify: false wins over cacert",
         "clouds:\n  a:\n    verify: false\n    cacert: /ca\n    auth:\n" AUTH, NULL, NULL, NULL,
         "a", "a password https://k.example:5000/v3 " JO " - public /ca insecure"},
        {"cert and key", "clouds:\n  a:\n    cert: /c.pem\n    key: ~/k.pem\n    auth:\n" AUTH,
         NULL, NULL, NULL, "a",
         "a password https://k.example:5000/v3 " JO " - public - cert=/c.pem,HOME/k.pem"},
        {"OS_CLOUD_NAME names the login of the environment", NULL, NULL, NULL,
         "OS_CLOUD_NAME=mine|OS_AUTH_URL=http://e|OS_TOKEN=t|OS_AUTH_TYPE=token|OS_PROJECT_ID=p",
         "mine", "mine token http://e/v3 user=/@/ project=/p@/ secret=t - public -"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_(cloud_config_clear) CloudConfig c = {0};
        _cleanup_(err_clear) Err err = {0};
        put_env(rows[i].env);
        put_file("clouds.yaml", rows[i].clouds);
        put_file("secure.yaml", rows[i].secure);
        put_file("clouds-public.yaml", rows[i].vendors);
        if (cloud_config_load(rows[i].name, &c, &err) < 0)
            fail_msg("%s: %s", rows[i].rule, err.text);
        _cleanup_free_ char *line = shown(&c);
        _cleanup_(buf_clear) Buf expected = BUF_INIT(BUF_MAX_LINE);
        const char *home = strstr(rows[i].expected, "HOME");
        buf_add(&expected, rows[i].expected,
                home ? (size_t)(home - rows[i].expected) : strlen(rows[i].expected));
        if (home)
            buf_printf(&expected, "%s%s", folder, home + 4);
        if (!streq(line, expected.p))
            fail_msg("%s:\n got    %s\n wanted %s", rows[i].rule, line, expected.p);
    }
    put_file("secure.yaml", NULL);
    put_file("clouds-public.yaml", NULL);
}

static void what_is_refused(void **state)
{
    static const struct {
        const char *clouds, *env, *name;
        const char *place, *words; /* after the file's name; "" for none */
    } rows[] = {
        {"clouds:\n  a:\n    auth:\n      auth_url: http://k\n      usrname: jo\n", NULL, "a",
         ":5:7: ", "unknown key `usrname`: did you mean `username`?"},
        {"clouds:\n  a:\n    auth_tpye: password\n", NULL, "a",
         ":3:5: ", "unknown key `auth_tpye`: did you mean `auth_type`?"},
        {"clouds:\n  a:\n    auth_type: v3passwort\n    auth:\n" AUTH, NULL, "a", ":3:16: ",
         "auth_type `v3passwort` is not known: did you mean `v3password`?; allowed: password, "
         "v3password, token, v3token, v3applicationcredential"},
        {"clouds:\n  a:\n    auth: text\n", NULL, "a",
         ":3:11: ", "`auth` must be a map (auth_url, username, ...)"},
        {"clouds:\n  a:\n    auth:\n      username: jo\n", NULL, "a",
         ":2:3: ", "the cloud `a` has no `auth_url`"},
        {"clouds:\n  a:\n    profile: catalyst\n    auth:\n      username: jo\n", NULL, "a",
         ":3:14: ",
         "the profile `catalyst` is not in a clouds-public.yaml (those that come with openstacksdk "
         "or "
         "stand at an address are not read): write `auth_url` into `auth`"},
        {"clouds:\n  a:\n    compute_interface: outside\n    auth:\n" AUTH, NULL, "a",
         ":3:24: ", "compute_interface must be public, internal or admin, not `outside`"},
        {"clouds:\n  a:\n    region_name: one\n    auth:\n" AUTH, "OS_REGION_NAME=two", "a",
         ":3:18: ", "the cloud `a` has no region `two` (OS_REGION_NAME); it has: one"},
        {"clouds:\n  envvars:\n    auth:\n" AUTH "  a:\n    auth:\n" AUTH, "OS_AUTH_URL=http://e",
         "a", ":2:3: ", "`envvars` is also the name of the login that OS_* make; rename this one"},
        {"clouds:\n  a:\n    auth:\n      auth_url: k.example\n", NULL, "a",
         ":4:17: ", "auth_url must begin with https:// (or http://)"},
        {"clouds:\n  a:\n    auth:\n      auth_url: http://k\n      username: jo\n      "
         "user_domain_name: Default\n      project_name: reef\n",
         NULL, "a", ":2:3: ",
         "the cloud `a` has no password; auth_type password takes: auth_url, username or user_id, "
         "password, user_domain_name or user_domain_id, project_name or project_id, "
         "project_domain_name or project_domain_id"},
        {"clouds:\n  a:\n    auth:\n      auth_url: http://k\n      password: x\n", NULL, "a",
         ":2:3: ", "the cloud `a` has no username; "},
        {"clouds:\n  a:\n    auth:\n      auth_url: http://k\n      username: jo\n      password: "
         "x\n      project_name: reef\n",
         NULL, "a", ":2:3: ", "the cloud `a` has no user_domain_name; "},
        {"clouds:\n  a:\n    auth:\n      auth_url: http://k\n      user_id: u\n      password: "
         "x\n",
         NULL, "a", ":2:3: ", "the cloud `a` has no project_name; "},
        {"clouds:\n  a:\n    auth:\n      auth_url: http://k\n      user_id: u\n      password: "
         "x\n      project_name: reef\n",
         NULL, "a", ":2:3: ", "the cloud `a` has no project_domain_name; "},
        {"clouds:\n  a:\n    auth_type: v3applicationcredential\n    auth:\n      auth_url: "
         "http://k\n",
         NULL, "a", ":2:3: ", "the cloud `a` has no application_credential_id; "},
        {"clouds:\n  a:\n    verify: maybe\n    auth:\n" AUTH, NULL, "a",
         ":3:13: ", "`verify` must be true or false, not `maybe`"},
        {"clouds:\n  a:\n    interface: outside\n    auth:\n" AUTH, NULL, "a",
         ":3:16: ", "interface must be public, internal or admin, not `outside`"},
        {"clouds:\n  a:\n    regions: [one, two]\n    auth:\n" AUTH, "OS_REGION_NAME=three", "a",
         ":3:14: ", "the cloud `a` has no region `three` (OS_REGION_NAME); it has: one, two"},
        {"clouds:\n  a: {}\n  catalyst: {}\n", NULL, "catalist",
         ":2:3: ", "no cloud `catalist` here: did you mean `catalyst`?; there are: a, catalyst"},
        {"clouds:\n  a: {}\n  b: {}\n", NULL, NULL,
         ":2:3: ", "several clouds and no choice: set OS_CLOUD to one of a, b"},
        {"cluods:\n  a: {}\n", NULL, "a", ":1:1: ", "there are no `clouds` in this file"},
        {"clouds:\n  a: text\n", NULL, "a", ":2:6: ", "the cloud `a` must be a map"},
        {"clouds:\n  a: [\n", NULL, "a", "", NULL},
        {"clouds: {}\n", "OS_AUTH_URL=http://e|OS_USERNAME=jo", NULL, "",
         "the environment (OS_*): the cloud `envvars` has no password; "},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_(cloud_config_clear) CloudConfig c = {0};
        _cleanup_(err_clear) Err err = {0};
        put_env(rows[i].env);
        put_file("clouds.yaml", rows[i].clouds);
        assert_int_equal(cloud_config_load(rows[i].name, &c, &err), -ERR_CONFIG);
        _cleanup_free_ char *begin = xasprintf("%s%s%s", *rows[i].place ? "./clouds.yaml" : "",
                                               rows[i].place, rows[i].words ? rows[i].words : "");
        if (rows[i].words && !starts_with(err.text, begin))
            fail_msg("row %zu: %s", i, err.text);
    }
}

static void no_file_at_all(void **state)
{
    _cleanup_(cloud_config_clear) CloudConfig c = {0};
    _cleanup_(err_clear) Err err = {0};

    (void)state;
    put_env(NULL);
    put_file("clouds.yaml", NULL);
    assert_int_equal(cloud_config_load(NULL, &c, &err), -ERR_NOT_FOUND);
    assert_non_null(err.hint);
}

static void the_first_file_counts_alone(void **state)
{
    _cleanup_(err_clear) Err err = {0};
    _cleanup_free_ char *dir = path_join(folder, ".config/openstack");
    _cleanup_free_ char *other = xasprintf("OS_CLIENT_CONFIG_FILE=%s/other.yaml", folder);
    _cleanup_free_ char *source = xasprintf("clouds.yaml of %s", dir);

    (void)state;
    assert_int_equal(file_mkdirs(dir, 0700, NULL), 0);
    put_file("clouds.yaml", NULL);
    put_file(".config/openstack/clouds.yaml", "clouds:\n  home:\n    auth:\n" AUTH);
    put_file("other.yaml", "clouds:\n  other:\n    auth:\n" AUTH);
    for (int i = 0; i < 2; i++) {
        _cleanup_(cloud_config_clear) CloudConfig c = {0};
        put_env(i ? other : NULL);
        assert_int_equal(cloud_config_load(NULL, &c, &err), 0);
        assert_string_equal(c.name, i ? "other" : "home");
        if (i == 0)
            assert_string_equal(c.source, source);
    }
    put_file("clouds.yaml", "clouds:\n  here:\n    auth:\n" AUTH);
    put_env(NULL);
    _cleanup_(cloud_config_clear) CloudConfig c = {0};
    assert_int_equal(cloud_config_load("home", &c, &err), -ERR_CONFIG);
}

static int open_folder(void **state)
{
    char pattern[] = "/tmp/atoll-config-XXXXXX";

    (void)state;
    folder = mkdtemp(pattern) ? xstrdup(pattern) : NULL;
    return folder && chdir(folder) == 0 ? 0 : -1;
}

static int close_folder(void **state)
{
    (void)state;
    int r = chdir("/") == 0 ? file_remove_tree(folder, NULL) : -1;
    free(folder);
    return r;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_read),
        cmocka_unit_test(rules_of_openstacksdk),
        cmocka_unit_test(what_is_refused),
        cmocka_unit_test(no_file_at_all),
        cmocka_unit_test(the_first_file_counts_alone),
    };
    return cmocka_run_group_tests(tests, open_folder, close_folder);
}
