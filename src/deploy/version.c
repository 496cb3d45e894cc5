#include "deploy/version.h"
#include <ctype.h>

#define LARGEST 99999

static int refuse(const char *text, const char *words, Err *err)
{
    int r = err_set(err, ERR_CONFIG, "\"%s\" %s", text, words);
    (void)err_hint(err, "write it as the release is called, for example v4.7.6");
    return r;
}

/* Digits of a version, at most LARGEST and without a leading zero; *at moves behind them. */
static bool number(const char **at, int *ret)
{
    const char *s = *at;
    int n = 0;

    if (!isdigit((unsigned char)*s) || (*s == '0' && isdigit((unsigned char)s[1])))
        return false;
    for (; isdigit((unsigned char)*s); s++) {
        n = n * 10 + (*s - '0');
        if (n > LARGEST)
            return false;
    }
    *at = s;
    *ret = n;
    return true;
}

/* Identifiers of letters, digits and hyphens with dots between; the length, 0 if it is no such. */
static size_t identifiers(const char *s)
{
    size_t n = 0;
    bool empty = true;

    for (; isalnum((unsigned char)s[n]) || s[n] == '-' || s[n] == '.'; n++) {
        if (s[n] == '.' && empty)
            return 0;
        empty = s[n] == '.';
    }
    return empty ? 0 : n;
}

/* What may follow a whole x.y.z. */
static bool suffix(const char *at, Version *v)
{
    if (*at == '-') {
        v->pre = (size_t)(at + 1 - v->text);
        v->pre_len = identifiers(at + 1);
        if (v->pre_len == 0)
            return false;
        at += 1 + v->pre_len;
    }
    if (*at == '+') {
        size_t n = identifiers(at + 1);
        if (n == 0)
            return false;
        at += 1 + n;
    }
    return *at == '\0';
}

int version_parse(const char *text, Version *ret, Err *err)
{
    Version v = {.minor = VERSION_UNSAID, .patch = VERSION_UNSAID};
    bool prefixed = text[0] == 'v';
    size_t n = strlen(text) - prefixed;

    if (streq(text, "edge") || streq(text, "nightly") || streq(text, "latest"))
        return refuse(text, "is another version from one day to the next", err);
    if (n >= sizeof v.text)
        return refuse(text, "is too long for a version", err);
    memcpy(v.text, text + prefixed, n + 1);

    const char *at = v.text;
    bool good = number(&at, &v.major);
    if (good && *at == '\0') {
        if (prefixed)
            return refuse(text, "names no minor version", err);
        v.canary = true;
        *ret = v;
        return 0;
    }
    good = good && *at++ == '.' && number(&at, &v.minor);
    if (good && *at == '.') {
        at++;
        good = number(&at, &v.patch) && suffix(at, &v);
    } else {
        good = good && *at == '\0';
    }
    if (!good)
        return refuse(text, "is not a version", err);
    *ret = v;
    return 0;
}

static bool digits_only(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!isdigit((unsigned char)s[i]))
            return false;
    return true;
}

static int compare_text(const char *a, size_t a_len, const char *b, size_t b_len)
{
    int r = memcmp(a, b, MIN(a_len, b_len));
    return r ? r : (a_len > b_len) - (a_len < b_len);
}

/* One identifier: numbers by value (which is length and then text), and before any word. */
static int compare_identifier(const char *a, size_t a_len, const char *b, size_t b_len)
{
    bool a_digits = digits_only(a, a_len), b_digits = digits_only(b, b_len);

    if (a_digits != b_digits)
        return a_digits ? -1 : 1;
    if (a_digits && a_len != b_len)
        return a_len < b_len ? -1 : 1;
    return compare_text(a, a_len, b, b_len);
}

static size_t identifier_len(const char *s, size_t n)
{
    const char *dot = memchr(s, '.', n);
    return dot ? (size_t)(dot - s) : n;
}

static int compare_pre(const Version *a, const Version *b)
{
    const char *s = a->text + a->pre, *t = b->text + b->pre;
    size_t n = a->pre_len, m = b->pre_len;

    if (n == 0 || m == 0)
        return (n == 0) - (m == 0); /* the release itself is the later one */
    while (n > 0 && m > 0) {
        size_t i = identifier_len(s, n), j = identifier_len(t, m);
        int r = compare_identifier(s, i, t, j);
        if (r != 0)
            return r;
        i = MIN(i + 1, n);
        j = MIN(j + 1, m);
        s += i;
        n -= i;
        t += j;
        m -= j;
    }
    return (n > 0) - (m > 0);
}

int version_compare(const Version *a, const Version *b)
{
    BUG_IF(a->canary != b->canary);
    const int of_a[] = {a->major, MAX(a->minor, 0), MAX(a->patch, 0)};
    const int of_b[] = {b->major, MAX(b->minor, 0), MAX(b->patch, 0)};

    for (size_t i = 0; i < ARRAY_LEN(of_a); i++)
        if (of_a[i] != of_b[i])
            return of_a[i] < of_b[i] ? -1 : 1;
    return compare_pre(a, b);
}

bool version_is_tag(const Version *v)
{
    return !v->canary && v->patch == VERSION_UNSAID;
}

bool version_is_pre(const Version *v)
{
    return v->pre_len > 0;
}
