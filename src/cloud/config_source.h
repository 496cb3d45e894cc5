/* Where the settings of one cloud come from: files and the environment, flattened to a list.
 *
 * Each setting knows its place, so that a message about it can point there. The names are
 * openstacksdk's, with underscores and without their old aliases (tenant_name is project_name). Of
 * several of one name the one of the highest rank wins, then the last. Empty values are left out.
 */
#pragma once
#include "base/vec.h"
#include "io/yaml.h"

typedef struct Setting {
    char *name;
    char *value;
    int rank;             /* a new name beats its alias, then `auth` beats what stands beside it */
    const Yaml *file;     /* NULL: the environment */
    const YamlNode *node; /* in it */
} Setting;

typedef struct ConfigSource {
    VEC(Setting) settings;
    char *name;            /* the entry's */
    char *source;          /* for messages */
    const YamlNode *entry; /* in clouds.yaml; NULL: the environment */
    Yaml clouds, secure, vendors;
    StrList regions; /* the ones the entry allows; empty: any */
} ConfigSource;

/* As cloud_config_load: finds the files, chooses the entry and its region, collects. */
int config_source_load(const char *name, ConfigSource *ret, Err *err) _must_check_;
const Setting *config_source_find(const ConfigSource *s, const char *name); /* NULL: not there */
const char *config_source_value(const ConfigSource *s, const char *name);
/* ERR_CONFIG at the setting's place, or at the entry's when there is none. */
int config_source_error(const ConfigSource *s, const Setting *at, Err *err, const char *format, ...)
    _printf_(4, 5);
void config_source_clear(ConfigSource *s); /* overwrites what may be secret */
DEFINE_CLEAR(ConfigSource, config_source_clear)
