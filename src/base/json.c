#include "base/json.h"
#include <stdio.h>

json_t *json_parse_new(const char *text, size_t len, Err *err)
{
    json_error_t error;
    json_t *j = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
    if (j)
        return j;
    /* jansson quotes the place ("… near 'x'"), and x may be a secret. */
    char *quote = strstr(error.text, " near '");
    if (quote)
        *quote = '\0';
    (void)err_set(err, ERR_CORRUPT, "not valid JSON: line %d, column %d: %s", error.line,
                  error.column, error.text);
    return NULL;
}

json_t *json_at(const json_t *j, const char *path)
{
    json_t *found = NULL;
    Str rest = str_of(path), key;
    while (str_next(&rest, '.', &key)) {
        found = json_object_getn(j, key.p, key.n);
        if (!found)
            return NULL;
        j = found;
    }
    return found;
}

const char *json_str(const json_t *j, const char *path)
{
    return json_string_value(json_at(j, path));
}

const char *json_str_or(const json_t *j, const char *path, const char *def)
{
    const char *s = json_str(j, path);
    return s ? s : def;
}

int64_t json_int(const json_t *j, const char *path, int64_t def)
{
    const json_t *at = json_at(j, path);
    return json_is_integer(at) ? json_integer_value(at) : def;
}

bool json_bool(const json_t *j, const char *path, bool def)
{
    const json_t *at = json_at(j, path);
    return json_is_boolean(at) ? json_is_true(at) : def;
}

json_t *json_list_new(const StrList *l)
{
    json_t *list = json_array();

    for (size_t i = 0; i < l->len; i++)
        json_array_append_new(list, json_string(l->items[i]));
    return list;
}

bool json_list_has(const json_t *list, const char *text)
{
    size_t i;
    const json_t *v;

    json_array_foreach (list, i, v) {
        if (streq(json_string_value(v), text))
            return true;
    }
    return false;
}

char *json_text_new(const json_t *j)
{
    char *text = json_dumps(j, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);
    BUG_IF(!text);
    return text;
}

json_t *json_make_new(const char *format, ...)
{
    json_error_t error;
    va_list ap;
    va_start(ap, format);
    json_t *j = json_vpack_ex(&error, 0, format, ap);
    va_end(ap);
    if (!j) {
        /* Only the kind of error is told: the values may be secret. */
        (void)fprintf(stderr, "json_make_new(\"%s\"): column %d, error %d\n", format, error.column,
                      (int)json_error_code(&error));
        util_bug(__FILE__, __LINE__, "json_make_new");
    }
    return j;
}
