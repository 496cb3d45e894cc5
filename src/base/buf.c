#include "base/buf.h"
#include <errno.h>
#include <stdio.h>

/* Memory up to this size is overwritten when a Buf outgrows it, since a Buf that will be wiped
 * can't be told from another. Secrets are small; bodies of many megabytes go on with a plain
 * realloc. */
#define WIPE_ON_GROWTH ((size_t)64 << 10)
#define FIRST_CAP ((size_t)64)

/* What an empty Buf points at. Never written to: all threads share it. */
char buf_empty[1] = "";

bool str_eq(Str a, Str b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

bool str_next(Str *rest, char separator, Str *ret_part)
{
    if (!rest->p)
        return false;
    const char *end = rest->n ? memchr(rest->p, separator, rest->n) : NULL;
    if (!end) {
        *ret_part = *rest;
        *rest = (Str){0};
        return true;
    }
    size_t n = (size_t)(end - rest->p);
    *ret_part = (Str){rest->p, n};
    *rest = (Str){end + 1, rest->n - n - 1};
    return true;
}

/* Not <ctype.h>'s, which asks the locale. */
static bool is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

Str str_trim(Str s)
{
    while (s.n > 0 && is_blank(s.p[0])) {
        s.p++;
        s.n--;
    }
    while (s.n > 0 && is_blank(s.p[s.n - 1]))
        s.n--;
    return s;
}

/* Makes room for n more bytes and the NUL. False, and overflow, when the cap does not allow it or
 * something did not fit before: what a Buf holds is always the beginning of what was added. */
static bool make_room(Buf *b, size_t n)
{
    if (b->overflow || n > b->max - b->len) {
        b->overflow = true;
        return false;
    }
    size_t need = b->len + n + 1;
    if (need <= b->cap)
        return true;
    size_t cap = MAX(need, b->cap < SIZE_MAX / 2 ? b->cap * 2 : b->cap);
    cap = MAX(cap, FIRST_CAP);
    cap = MAX(need, MIN(cap, b->max < SIZE_MAX ? b->max + 1 : b->max));
    if (b->cap > WIPE_ON_GROWTH) {
        b->p = xrealloc(b->p, cap, 1);
    } else {
        char *p = xrealloc(NULL, cap, 1);
        if (b->len)
            memcpy(p, b->p, b->len);
        p[b->len] = '\0';
        if (b->cap) {
            explicit_bzero(b->p, b->cap);
            free(b->p);
        }
        b->p = p;
    }
    b->cap = cap;
    return true;
}

void buf_add(Buf *b, const void *data, size_t n)
{
    if (n == 0 || !make_room(b, n))
        return;
    memcpy(b->p + b->len, data, n);
    b->len += n;
    b->p[b->len] = '\0';
}

char *buf_room(Buf *b, size_t n)
{
    return make_room(b, n) ? b->p + b->len : NULL;
}

void buf_grow(Buf *b, size_t n)
{
    BUG_IF(n >= b->cap - b->len);
    b->len += n;
    b->p[b->len] = '\0';
}

void buf_str(Buf *b, const char *s)
{
    if (s)
        buf_add(b, s, strlen(s));
}

void buf_char(Buf *b, char c)
{
    buf_add(b, &c, 1);
}

void buf_printf(Buf *b, const char *format, ...)
{
    int error = errno; /* for %m in the second turn */
    va_list ap, again;
    va_start(ap, format);
    va_copy(again, ap);
    size_t room = b->cap ? b->cap - b->len : 0;
    int n = vsnprintf(room ? b->p + b->len : NULL, room, format, ap);
    va_end(ap);
    BUG_IF(n < 0);
    if ((size_t)n < room && !b->overflow) {
        b->len += (size_t)n;
    } else {
        if (room)
            b->p[b->len] = '\0';
        if (n > 0 && make_room(b, (size_t)n)) {
            errno = error;
            (void)vsnprintf(b->p + b->len, (size_t)n + 1, format, again);
            b->len += (size_t)n;
        }
    }
    va_end(again);
}

void buf_truncate(Buf *b, size_t len)
{
    BUG_IF(len > b->len);
    b->len = len;
    if (b->cap)
        b->p[len] = '\0';
    if (len == 0)
        b->overflow = false;
}

/* Empty, with the cap it was born with. */
static void reset(Buf *b)
{
    *b = BUF_INIT(b->max);
}

void buf_cut(Buf *b, size_t n)
{
    BUG_IF(n > b->len);
    memmove(b->p, b->p + n, b->len - n);
    buf_truncate(b, b->len - n);
}

char *buf_detach(Buf *b)
{
    char *p = b->cap ? b->p : xstrdup("");
    reset(b);
    return p;
}

void buf_clear(Buf *b)
{
    if (b->cap)
        free(b->p);
    reset(b);
}

void buf_wipe(Buf *b)
{
    if (b->cap)
        explicit_bzero(b->p, b->cap);
    buf_clear(b);
}

static bool is_unreserved(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '-' ||
           c == '.' || c == '_' || c == '~';
}

void buf_url_quote(Buf *b, const char *s, const char *keep)
{
    static const char hex[] = "0123456789ABCDEF";
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;
        if (is_unreserved(*s) || (keep && strchr(keep, *s)))
            buf_char(b, *s);
        else
            buf_add(b, (char[]){'%', hex[c >> 4], hex[c & 15]}, 3);
    }
}

int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

bool buf_url_unquote(Buf *b, Str s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] != '%') {
            buf_char(b, s.p[i]);
            continue;
        }
        if (s.n - i < 3)
            return false;
        int high = hex_value(s.p[i + 1]), low = hex_value(s.p[i + 2]);
        if (high < 0 || low < 0)
            return false;
        buf_char(b, (char)(high << 4 | low));
        i += 2;
    }
    return true;
}

void buf_shell_quote(Buf *b, const char *s)
{
    buf_char(b, '\'');
    for (; *s; s++) {
        if (*s == '\'')
            buf_str(b, "'\\''");
        else
            buf_char(b, *s);
    }
    buf_char(b, '\'');
}

/* Takes `s`. */
static void strlist_take(StrList *l, char *s)
{
    /* There is no field for the capacity: grown at every power of two, counting the NULL. */
    size_t used = l->len + 1;
    if (!l->items || (used & (used - 1)) == 0)
        l->items = xrealloc(l->items, MAX(used * 2, (size_t)2), sizeof *l->items);
    l->items[l->len++] = s;
    l->items[l->len] = NULL;
}

void strlist_add(StrList *l, const char *s)
{
    strlist_take(l, xstrdup(s));
}

void strlist_addf(StrList *l, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    strlist_take(l, xvasprintf(format, ap));
    va_end(ap);
}

bool strlist_has(const StrList *l, const char *s)
{
    for (size_t i = 0; i < l->len; i++) {
        if (streq(l->items[i], s))
            return true;
    }
    return false;
}

void strlist_clear(StrList *l)
{
    for (size_t i = 0; i < l->len; i++)
        free(l->items[i]);
    free(l->items);
    *l = (StrList){0};
}

void strlist_wipe(StrList *l)
{
    for (size_t i = 0; i < l->len; i++)
        explicit_bzero(l->items[i], strlen(l->items[i]));
    strlist_clear(l);
}
