/* The few macros and allocation helpers that every file uses.
 *
 * Memory: running out of it ends the program with a line (style.md 6), so no caller checks.
 * Lifetimes: locals are freed by _cleanup_; objects by their own _free, which takes NULL.
 */
#pragma once
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#define _cleanup_(f) __attribute__((cleanup(f##_p)))
#define _cleanup_free_ __attribute__((cleanup(util_free_p)))
#define _printf_(fmt, args) __attribute__((format(printf, fmt, args)))
#define _must_check_ __attribute__((warn_unused_result))
#define _unused_ __attribute__((unused))
#define _noreturn_ __attribute__((noreturn))

/* DEFINE_CLEANUP(Buf *, buf_free) makes buf_free_p so that `_cleanup_(buf_free) Buf *b` works.
 * For a struct on the stack that is cleared through its address: DEFINE_CLEAR(Err, err_clear). */
#define DEFINE_CLEANUP(type, f)                                                                    \
    static inline _unused_ void f##_p(type *p)                                                     \
    {                                                                                              \
        if (*p)                                                                                    \
            f(*p);                                                                                 \
    }
#define DEFINE_CLEAR(type, f)                                                                      \
    static inline _unused_ void f##_p(type *p)                                                     \
    {                                                                                              \
        f(p);                                                                                      \
    }

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))
/* Hands a pointer over: `return TAKE(p);` leaves p NULL, so that its cleanup does nothing. */
#define TAKE(p)                                                                                    \
    __extension__({                                                                                \
        __typeof__(p) taken_ = (p);                                                                \
        (p) = NULL;                                                                                \
        taken_;                                                                                    \
    })

static inline void util_free_p(void *p)
{
    free(*(void **)p);
}

/* These abort with a line when memory is out; sizes are checked for overflow. */
void *xcalloc(size_t count, size_t size) __attribute__((malloc, returns_nonnull));
void *xrealloc(void *p, size_t count, size_t size) __attribute__((returns_nonnull));
char *xstrdup(const char *s) __attribute__((malloc, returns_nonnull));
char *xstrndup(const char *s, size_t n) __attribute__((malloc, returns_nonnull));
char *xasprintf(const char *format, ...) _printf_(1, 2) __attribute__((malloc, returns_nonnull));
char *xvasprintf(const char *format, va_list ap) _printf_(1, 0) __attribute__((returns_nonnull));
#define NEW(T) ((T *)xcalloc(1, sizeof(T)))

/* Both may be NULL; NULL equals only NULL. */
bool streq(const char *a, const char *b);
bool starts_with(const char *s, const char *prefix);
bool ends_with(const char *s, const char *suffix);
/* Decimal, the whole of `s`, within [min, max]; false otherwise and *ret_value untouched. */
bool parse_int(const char *s, int64_t min, int64_t max, int64_t *ret_value) _must_check_;
/* Our own bug: prints the place and aborts. For what a peer, file or user did: an Err instead. */
_noreturn_ void util_bug(const char *file, int line, const char *what);
#define BUG_IF(c) ((c) ? util_bug(__FILE__, __LINE__, #c) : (void)0)
/* The nearest word of a NULL-ended list by edit distance (at most 2, or 1/3 of the word), or NULL:
 * for "did you mean". Borrowed from the list. */
const char *util_nearest(const char *word, const char *const *list);
