/* Which cloud, and as whom: clouds.yaml, secure.yaml and OS_* by openstacksdk's rules.
 *
 * Files: $OS_CLIENT_CONFIG_FILE, ./clouds.yaml, ~/.config/openstack/clouds.yaml,
 * /etc/openstack/clouds.yaml: the first that exists is read, alone; secure.yaml is looked for the
 * same way ($OS_CLIENT_SECURE_FILE) and merged over it, and `profile` puts an entry of
 * clouds-public.yaml below it. Any OS_* variable but OS_CLOUD,
 * OS_REGION_NAME and the two file names makes a cloud called `envvars`, unless OS_CLOUD is set.
 * Source: openstacksdk, config/loader.py.
 */
#pragma once
#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "base/secret.h"

typedef enum AuthType { AUTH_PASSWORD, AUTH_TOKEN, AUTH_APPLICATION_CREDENTIAL } AuthType;

typedef struct CloudConfig {
    char *name;   /* the entry's */
    char *source; /* "clouds.yaml of /home/jo/.config/openstack", for messages */
    AuthType auth_type;
    char *auth_url; /* ends in /v3, no trailing slash */
    char *username, *user_id, *user_domain_name, *user_domain_id;
    char *project_name, *project_id, *project_domain_name, *project_domain_id;
    char *application_credential_id, *application_credential_name;
    Secret *secret;             /* password, token or application credential secret */
    char *region;               /* NULL: the only one */
    char *interface;            /* "public" */
    char *ca_file;              /* cacert, or NULL */
    char *cert_file, *key_file; /* this side's own certificate; or NULL */
    bool insecure;              /* wins over ca_file */
    StrList overrides;          /* "object-store=https://..." from <service>_endpoint_override,
                                   "object-store@region=GRA" from <service>_region_name,
                                   "object-store@interface=internal" from <service>_interface; the first of
                                   a service counts */
} CloudConfig;

/* `name` NULL: $OS_CLOUD, else `envvars` if there are any, else the only entry. The environment is
 * read here and nowhere else. ERR_CONFIG (with file:line:column, and the nearest right spelling or
 * the entries that exist), ERR_NOT_FOUND when there is no file. */
int cloud_config_load(const char *name, CloudConfig *ret, Err *err) _must_check_;
/* The entry of a clouds.yaml that is read as this one again, its secret among it. Paths of files
 * stay as they are. */
json_t *cloud_config_entry_new(const CloudConfig *c);
void cloud_config_copy(const CloudConfig *c, CloudConfig *ret);
void cloud_config_clear(CloudConfig *c);
DEFINE_CLEAR(CloudConfig, cloud_config_clear)
