/* jansson, with what every reader of somebody else's JSON needs.
 *
 * The getters never fail: a missing key or another type gives the default. So a reader says what
 * it expects and then checks what it must have. References: `json_t *` results are borrowed unless
 * a name ends in _new. Dotted paths ("server.flavor.id") go through objects only.
 */
#pragma once
#include "base/buf.h"
#include "base/err.h"
#include <jansson.h>

static inline void json_free(json_t *j)
{
    json_decref(j);
}
DEFINE_CLEANUP(json_t *, json_free)
#define _cleanup_json_ _cleanup_(json_free)

/* Parses exactly one document of any type; duplicate keys and trailing bytes are errors.
 * ERR_CORRUPT with line and column. The result is the caller's. */
json_t *json_parse_new(const char *text, size_t len, Err *err);
json_t *json_at(const json_t *j, const char *path);      /* NULL if not there */
const char *json_str(const json_t *j, const char *path); /* NULL if not a string */
const char *json_str_or(const json_t *j, const char *path, const char *def);
int64_t json_int(const json_t *j, const char *path, int64_t def);
bool json_bool(const json_t *j, const char *path, bool def);
/* An array of these texts. */
json_t *json_list_new(const StrList *l);
/* Is it an array that has this text? */
bool json_list_has(const json_t *list, const char *text);
/* One line, keys sorted: equal values give equal text. To be freed. */
char *json_text_new(const json_t *j);
/* json_pack that cannot fail: aborts on a wrong format, which is our bug. */
json_t *json_make_new(const char *format, ...);
