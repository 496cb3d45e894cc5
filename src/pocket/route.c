#include "pocket/core.h"
#include <stdio.h>

static void add_value(json_t *query, const char *name, const char *value)
{
    json_t *text = json_string(value);
    if (!text)
        text = json_string("");
    json_t *there = json_object_get(query, name);
    if (!there) {
        json_object_set_new(query, name, text);
    } else if (json_is_array(there)) {
        json_array_append_new(there, text);
    } else {
        json_t *both = json_array();
        json_array_append(both, there);
        json_array_append_new(both, text);
        json_object_set_new(query, name, both);
    }
}

static void decode_form(Str raw, Buf *out)
{
    _cleanup_(buf_clear) Buf spaced = BUF_INIT(BUF_MAX_LINE);
    buf_add(&spaced, raw.p, raw.n);
    for (size_t i = 0; i < spaced.len; i++)
        if (spaced.p[i] == '+')
            spaced.p[i] = ' ';
    if (!buf_url_unquote(out, buf_as_str(&spaced))) {
        buf_truncate(out, 0);
        buf_add(out, raw.p, raw.n);
    }
}

json_t *query_parse_new(const char *query)
{
    json_t *j = json_object();
    Str rest = str_of(query), part;
    while (str_next(&rest, '&', &part)) {
        Str name_raw;
        Str value_raw = part;
        if (!str_next(&value_raw, '=', &name_raw) || name_raw.n == 0)
            continue;
        _cleanup_(buf_clear) Buf name = BUF_INIT(BUF_MAX_LINE);
        _cleanup_(buf_clear) Buf value = BUF_INIT(BUF_MAX_LINE);
        decode_form(name_raw, &name);
        if (value_raw.p)
            decode_form(value_raw, &value);
        add_value(j, name.p, value.p);
    }
    return j;
}

/* The next raw segment of a path; false at its end (a final slash is no segment). */
static bool next_segment(const char **path, Str *ret)
{
    const char *p = *path;
    while (*p == '/')
        p++;
    if (!*p)
        return false;
    size_t n = strcspn(p, "/");
    *ret = (Str){p, n};
    *path = p + n;
    return true;
}

static void add_arg(StrList *args, Str raw)
{
    _cleanup_(buf_clear) Buf b = BUF_INIT(BUF_MAX_LINE);
    if (!buf_url_unquote(&b, raw)) {
        buf_truncate(&b, 0);
        buf_add(&b, raw.p, raw.n);
    }
    strlist_add(args, b.p);
}

/* How many literal segments matched, plus one; 0: it does not match. */
static int match(const char *pattern, const char *target, StrList *args)
{
    int literal = 1;
    Str want, have;
    while (next_segment(&pattern, &want)) {
        bool variable = want.n > 2 && want.p[0] == '{';
        if (variable && want.n > 5 && memcmp(want.p + want.n - 4, "...}", 4) == 0) {
            add_arg(args, str_of(target + strspn(target, "/")));
            return literal;
        }
        if (!next_segment(&target, &have))
            return 0;
        if (variable) {
            add_arg(args, have);
            continue;
        }
        if (!str_eq(want, have))
            return 0;
        literal++;
    }
    return next_segment(&target, &have) ? 0 : literal;
}

const PocketRoute *route_find(const PocketRoute *table, const char *method, const char *target,
                              StrList *ret_args, bool *ret_other_method)
{
    const PocketRoute *best = NULL;
    int best_score = 0;
    *ret_other_method = false;
    for (const PocketRoute *r = table; r->method; r++) {
        StrList args = {0};
        int literal = match(r->pattern, target, &args);
        bool same = streq(r->method, method);
        bool fits = same || (streq(method, "HEAD") && streq(r->method, "GET"));
        int score = literal > 0 && fits ? 2 * literal + same : 0;
        if (literal > 0 && !fits)
            *ret_other_method = true;
        if (score > best_score) {
            best = r;
            best_score = score;
            strlist_clear(ret_args);
            *ret_args = args;
        } else {
            strlist_clear(&args);
        }
    }
    return best;
}

const char *header_of(const StrList *headers, const char *name)
{
    size_t n = strlen(name);
    for (size_t i = 0; headers && i < headers->len; i++) {
        const char *line = headers->items[i];
        if (strncasecmp(line, name, n) == 0 && line[n] == ':')
            return line + n + 1 + strspn(line + n + 1, " \t");
    }
    return NULL;
}

static int parse_version(const char *text, int major, int max)
{
    if (strcasecmp(text, "latest") == 0)
        return max;
    char prefix[8];
    (void)snprintf(prefix, sizeof prefix, "%d.", major);
    int64_t minor;
    if (!starts_with(text, prefix) || !parse_int(text + strlen(prefix), 0, max, &minor))
        return -1;
    return (int)minor;
}

char *microversion_text(PocketService s, const StrList *headers)
{
    const char *word = s == POCKET_NOVA ? "compute " : "volume ";
    Str rest = str_of(header_of(headers, "OpenStack-API-Version")), part;
    while (rest.p && str_next(&rest, ',', &part)) {
        _cleanup_free_ char *text = xstrndup(part.p, part.n);
        const char *at = text + strspn(text, " ");
        if (strncasecmp(at, word, strlen(word)) == 0)
            return xstrdup(at + strlen(word));
    }
    const char *older =
        s == POCKET_NOVA ? header_of(headers, "X-OpenStack-Nova-API-Version") : NULL;
    return older ? xstrdup(older) : NULL;
}

bool version_shaped(const char *text)
{
    const char *dot = strchr(text, '.');
    return dot && dot > text && dot[1] && strspn(text, "0123456789") == (size_t)(dot - text) &&
           strspn(dot + 1, "0123456789") == strlen(dot + 1);
}

int microversion_of(PocketService s, const StrList *headers, int max)
{
    static const struct {
        PocketService service;
        int major, none;
    } rows[] = {{POCKET_NOVA, 2, 1}, {POCKET_CINDER, 3, 0}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (rows[i].service != s)
            continue;
        _cleanup_free_ char *text = microversion_text(s, headers);
        return text ? parse_version(text, rows[i].major, max) : rows[i].none;
    }
    return 0;
}

bool access_path_matches(const char *pattern, const char *path)
{
    if (!*pattern)
        return !*path;
    if (pattern[0] == '*' && pattern[1] == '*') {
        for (;; path++) {
            if (access_path_matches(pattern + 2, path))
                return true;
            if (!*path)
                return false;
        }
    }
    /* "*" and "{name}" stand for a part of one segment. */
    if (*pattern == '*' || *pattern == '{') {
        const char *behind = *pattern == '*' ? pattern + 1 : strchr(pattern, '}');
        if (!behind)
            return false;
        behind += *behind == '}';
        for (;; path++) {
            if (access_path_matches(behind, path))
                return true;
            if (!*path || *path == '/')
                return false;
        }
    }
    return *pattern == *path && access_path_matches(pattern + 1, path + 1);
}
