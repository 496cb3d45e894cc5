/* Strings: `Str` borrows, `Buf` grows.
 *
 * Str is a pointer and a length into somebody else's memory; it is not terminated. Buf owns its
 * bytes, is always terminated with a NUL past its length, never has a NULL pointer, and has a cap
 * given at birth: appending past the cap sets `overflow`, keeps what fitted before and ignores the
 * rest, so that a writer may append freely and check once. What comes from outside is always read
 * into a Buf with a cap (style.md 7).
 */
#pragma once
#include "base/util.h"

typedef struct Str {
    const char *p;
    size_t n;
} Str;

#define STR_LIT(s) ((Str){("" s), sizeof(s) - 1})
static inline Str str_of(const char *s)
{
    return (Str){s ? s : "", s ? strlen(s) : 0};
}
bool str_eq(Str a, Str b);
/* The part of *rest before `separator`; *rest becomes what is behind it. False when *rest was used
 * up (p is NULL then). "a,,b" gives "a", "", "b". */
bool str_next(Str *rest, char separator, Str *ret_part);
Str str_trim(Str s);

typedef struct Buf {
    char *p;
    size_t len;
    size_t cap;    /* bytes allocated */
    size_t max;    /* the cap given at birth */
    bool overflow; /* something did not fit */
} Buf;

/* Caps used in many places, in bytes. */
#define BUF_MAX_LINE ((size_t)64 << 10)
#define BUF_MAX_BODY ((size_t)64 << 20)

#define BUF_INIT(max_bytes) ((Buf){.p = buf_empty, .max = (max_bytes)})
extern char buf_empty[1];

void buf_add(Buf *b, const void *data, size_t n);
void buf_str(Buf *b, const char *s); /* NULL adds nothing */
void buf_char(Buf *b, char c);
void buf_printf(Buf *b, const char *format, ...) _printf_(2, 3);
/* Room for `n` bytes behind what it holds, or NULL where a buf_add of them would not fit: for who
 * can write there at once. buf_grow says how much of it counts (0: nothing), and terminates. */
char *buf_room(Buf *b, size_t n);
void buf_grow(Buf *b, size_t n);
/* Shortens to `len` bytes (which must not be more than there are). Keeps the memory. Shortening to
 * 0 starts over: `overflow` is forgotten. */
void buf_truncate(Buf *b, size_t len);
/* Drops the first `n` bytes (which must not be more than there are). Keeps the memory. */
void buf_cut(Buf *b, size_t n);
/* Gives the bytes (terminated, to be freed) and leaves the Buf empty. */
char *buf_detach(Buf *b);
/* Frees; the Buf is empty and usable after it. */
void buf_clear(Buf *b);
/* The same, and the bytes are overwritten first: for buffers that held a secret. */
void buf_wipe(Buf *b);
DEFINE_CLEAR(Buf, buf_clear)
DEFINE_CLEAR(Buf, buf_wipe)
static inline Str buf_as_str(const Buf *b)
{
    return (Str){b->p, b->len};
}

/* Percent-encodes all but unreserved characters (RFC 3986 2.3) and those in `keep`. */
void buf_url_quote(Buf *b, const char *s, const char *keep);
/* The value of a hexadecimal digit, or -1. */
int hex_value(char c);
/* Decodes %XX; false on a bad escape. A decoded NUL is kept: the caller looks for it. */
bool buf_url_unquote(Buf *b, Str s) _must_check_;
/* As one word of a POSIX shell: in single quotes. */
void buf_shell_quote(Buf *b, const char *s);

/* A list of owned strings. */
typedef struct StrList {
    char **items; /* NULL-ended once anything was added; NULL when empty */
    size_t len;
} StrList;
void strlist_add(StrList *l, const char *s); /* copies */
void strlist_addf(StrList *l, const char *format, ...) _printf_(2, 3);
bool strlist_has(const StrList *l, const char *s);
void strlist_clear(StrList *l);
/* The same, and the bytes are overwritten first: for lists that held a secret. */
void strlist_wipe(StrList *l);
DEFINE_CLEAR(StrList, strlist_clear)
DEFINE_CLEAR(StrList, strlist_wipe)
