/* Python's dict literals, as far as filters on metadata have them. */
#include "pocket/cinder.h"

/* 'text' or "text" at *s, which is moved behind it; NULL if it is none. */
static char *literal(const char **s)
{
    char quote = **s;
    if (quote != '\'' && quote != '"')
        return NULL;
    _cleanup_(buf_clear) Buf out = BUF_INIT(BUF_MAX_LINE);
    const char *at = *s + 1;
    for (; *at && *at != quote; at++) {
        if (*at == '\\' && at[1])
            at++;
        buf_char(&out, *at);
    }
    if (*at != quote)
        return NULL;
    *s = at + 1;
    return buf_detach(&out);
}

static void spaces(const char **s)
{
    *s += strspn(*s, " \t");
}

static bool expect(const char **s, char c)
{
    spaces(s);
    if (**s != c)
        return false;
    (*s)++;
    spaces(s);
    return true;
}

json_t *cinder_dict_new(const char *text)
{
    const char *s = text;
    _cleanup_json_ json_t *out = json_object();
    if (!expect(&s, '{'))
        return NULL;
    while (!expect(&s, '}')) {
        if (*s == 'u') /* Python 2's u'text' */
            s++;
        _cleanup_free_ char *key = literal(&s);
        if (!key || !expect(&s, ':'))
            return NULL;
        if (*s == 'u')
            s++;
        _cleanup_free_ char *value = literal(&s);
        if (!value)
            return NULL;
        row_text(out, key, value);
        if (!expect(&s, ',') && *s != '}')
            return NULL;
    }
    return *s ? NULL : TAKE(out);
}
