#include "base/util.h"
#include <ctype.h>
#include <errno.h>
#include <stdio.h>

/* Words longer than this are nobody's typing mistake, and edit distance costs the product. */
#define NEAREST_MAX 63

static _noreturn_ void out_of_memory(void)
{
    /* fputs needs no memory: standard error is unbuffered. */
    (void)fputs("out of memory\n", stderr);
    abort();
}

void *xcalloc(size_t count, size_t size)
{
    void *p = calloc(count ? count : 1, size ? size : 1);
    if (!p)
        out_of_memory();
    return p;
}

void *xrealloc(void *p, size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes))
        out_of_memory();
    p = realloc(p, bytes ? bytes : 1);
    if (!p)
        out_of_memory();
    return p;
}

char *xstrdup(const char *s)
{
    return xstrndup(s, SIZE_MAX);
}

char *xstrndup(const char *s, size_t n)
{
    BUG_IF(!s);
    char *copy = strndup(s, n);
    if (!copy)
        out_of_memory();
    return copy;
}

char *xvasprintf(const char *format, va_list ap)
{
    char *text = NULL;
    if (vasprintf(&text, format, ap) < 0)
        out_of_memory();
    return text;
}

char *xasprintf(const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    char *text = xvasprintf(format, ap);
    va_end(ap);
    return text;
}

bool streq(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

bool starts_with(const char *s, const char *prefix)
{
    return s && prefix && strncmp(s, prefix, strlen(prefix)) == 0;
}

bool ends_with(const char *s, const char *suffix)
{
    if (!s || !suffix)
        return false;
    size_t n = strlen(s), m = strlen(suffix);
    return n >= m && memcmp(s + n - m, suffix, m) == 0;
}

bool parse_int(const char *s, int64_t min, int64_t max, int64_t *ret_value)
{
    /* strtoll would also take leading blanks and a plus sign. */
    if (!s || !(isdigit((unsigned char)s[0]) || (s[0] == '-' && isdigit((unsigned char)s[1]))))
        return false;
    char *end;
    errno = 0;
    long long value = strtoll(s, &end, 10);
    if (errno || *end || value < min || value > max)
        return false;
    *ret_value = value;
    return true;
}

void util_bug(const char *file, int line, const char *what)
{
    (void)fprintf(stderr, "%s:%d: this is a bug of ours: %s\n", file, line, what);
    abort();
}

static int lower(char c)
{
    return tolower((unsigned char)c);
}

/* Insertions, deletions, replacements and swaps of neighbours, not counting case. */
static size_t edit_distance(const char *a, size_t n, const char *b, size_t m)
{
    size_t row[3][NEAREST_MAX + 1];
    size_t *before = row[0], *last = row[1], *now = row[2];
    for (size_t j = 0; j <= m; j++)
        last[j] = j;
    for (size_t i = 1; i <= n; i++) {
        now[0] = i;
        for (size_t j = 1; j <= m; j++) {
            bool same = lower(a[i - 1]) == lower(b[j - 1]);
            now[j] = MIN(MIN(last[j], now[j - 1]) + 1, last[j - 1] + !same);
            if (i > 1 && j > 1 && lower(a[i - 1]) == lower(b[j - 2]) &&
                lower(a[i - 2]) == lower(b[j - 1]))
                now[j] = MIN(now[j], before[j - 2] + 1);
        }
        size_t *spare = before;
        before = last;
        last = now;
        now = spare;
    }
    return last[m];
}

const char *util_nearest(const char *word, const char *const *list)
{
    size_t n = word ? strlen(word) : 0;
    if (n == 0 || n > NEAREST_MAX)
        return NULL;
    const char *nearest = NULL;
    /* A distance as long as the word itself would make anything near to anything. */
    size_t limit = MIN(MAX((size_t)2, n / 3) + 1, n);
    for (; *list; list++) {
        size_t m = strlen(*list);
        if (m > NEAREST_MAX)
            continue;
        size_t distance = edit_distance(word, n, *list, m);
        if (distance < limit) {
            limit = distance;
            nearest = *list;
        }
    }
    return nearest;
}
