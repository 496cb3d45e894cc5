#include "io/yaml.h"

const char *yaml_row_child(const char *row_path, const char *path)
{
    size_t n = strlen(path);
    const char *name = row_path;

    if (n) {
        if (!starts_with(row_path, path) || row_path[n] != '.')
            return NULL;
        name += n + 1;
    }
    return strchr(name, '.') ? NULL : name;
}

int yaml_wrong(const Yaml *y, const YamlNode *n, const YamlRow *row, Err *err)
{
    if (n->type != YAML_SCALAR)
        (void)yaml_error(y, n, err, "%s is a %s; it must be %s", row->path,
                         n->type == YAML_LIST ? "list" : "map", row->type);
    else if (!n->text[0])
        (void)yaml_error(y, n, err, "%s is empty; it must be %s", row->path, row->type);
    else
        (void)yaml_error(y, n, err, "%s is \"%s\"; it must be %s", row->path, n->text, row->type);
    return err_hint(err, "allowed: %s", row->allowed);
}

int yaml_missing(const Yaml *y, const YamlNode *map, const YamlRow *row, Err *err)
{
    (void)yaml_key_error(y, map, err, "%s is missing", row->path);
    return err_hint(err, "it must be %s: %s", row->type, row->allowed);
}

int yaml_unknown_key(const Yaml *y, const YamlNode *n, const char *where, const char *const *names,
                     Err *err)
{
    _cleanup_(buf_clear) Buf all = BUF_INIT(BUF_MAX_LINE);
    const char *near = util_nearest(n->key, names);

    for (size_t i = 0; names[i]; i++)
        buf_printf(&all, "%s%s", i ? ", " : "", names[i]);
    (void)yaml_key_error(y, n, err, "unknown key \"%s\"%s%s%s%s%s", n->key, where[0] ? " in " : "",
                         where, near ? ": did you mean \"" : "", near ? near : "",
                         near ? "\"?" : "");
    return err_hint(err, "allowed: %s", all.p);
}
