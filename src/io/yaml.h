/* YAML (1.1 as libyaml reads it) as a tree in which every node knows where it stands, so that a
 * message can say file:line:column. Aliases, merge keys, tags and several documents are refused,
 * and so are duplicate keys; depth is at most 32 and size 1 MiB. Scalars stay text: what "yes" or
 * "10GB" means is the schema's business.
 */
#pragma once
#include "base/buf.h"
#include "base/err.h"

#define YAML_MAX_BYTES ((size_t)1 << 20)

typedef enum YamlType { YAML_SCALAR, YAML_LIST, YAML_MAP } YamlType;

typedef struct YamlNode {
    YamlType type;
    int line, column; /* of the value, from 1 */
    char *key;        /* inside a map; else NULL */
    int key_line, key_column;
    char *text;             /* scalar */
    bool quoted;            /* "5" in quotes is text, not a number */
    struct YamlNode *items; /* children of a list or map, in order */
    size_t len;
} YamlNode;

typedef struct Yaml {
    char *name; /* for messages: the file's name */
    YamlNode root;
} Yaml;

/* `name` is for messages. ERR_CONFIG with "name:line:column: ...". An empty document is an empty
 * map. */
int yaml_parse(const char *name, Str text, Yaml *ret, Err *err) _must_check_;
/* A file's text, into a Buf of YAML_MAX_BYTES. ERR_NOT_FOUND, ERR_CONFIG. */
int yaml_read(const char *path, Buf *ret, Err *err) _must_check_;
int yaml_load(const char *path, Yaml *ret, Err *err) _must_check_; /* ERR_NOT_FOUND, ERR_CONFIG */
void yaml_clear(Yaml *y);
DEFINE_CLEAR(Yaml, yaml_clear)
const YamlNode *yaml_get(const YamlNode *map, const char *key); /* NULL if absent or not a map */
const char *yaml_text(const YamlNode *map, const char *key);    /* NULL if not a scalar */
/* Sets ERR_CONFIG: "name:line:column: <words>". Returns -ERR_CONFIG. */
int yaml_error(const Yaml *y, const YamlNode *n, Err *err, const char *format, ...) _printf_(4, 5);
int yaml_key_error(const Yaml *y, const YamlNode *n, Err *err, const char *format, ...)
    _printf_(4, 5); /* points at the key */

/* What readers of tables of keys share. Words set ERR_CONFIG and a hint, and return -ERR_CONFIG. */
typedef struct YamlRow {
    const char *path;    /* "media.user.name", in the file's own words */
    const char *type;    /* "a port": what it must be */
    const char *allowed; /* "1 to 65535" */
} YamlRow;
/* The last part of a row's path if it is a direct child of `path` ("" for the file), else NULL.
 * Borrowed from it. */
const char *yaml_row_child(const char *row_path, const char *path);
/* The value of `row` has the wrong type, is empty, or is none that is allowed. */
int yaml_wrong(const Yaml *y, const YamlNode *n, const YamlRow *row, Err *err);
/* `map` has not got it. */
int yaml_missing(const Yaml *y, const YamlNode *map, const YamlRow *row, Err *err);
/* A key of a map (`where`, or "" for the file) that is none of a NULL-ended list. */
int yaml_unknown_key(const Yaml *y, const YamlNode *n, const char *where, const char *const *names,
                     Err *err);
