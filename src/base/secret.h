/* A value that must not be seen: it has no format, no argv and no JSON; it is overwritten when
 * freed. Reading it back is one function, so that `grep secret_expose` lists every place where a
 * secret leaves this type (and test/ has a table of them with reasons).
 */
#pragma once
#include "base/buf.h"

typedef struct Secret Secret;

Secret *secret_new(const void *bytes, size_t n); /* copies; the caller wipes its own copy */
Secret *secret_copy(const Secret *s);
Secret *secret_free(Secret *s); /* takes NULL, returns NULL */
/* The bytes, followed by a NUL that is not counted. Borrowed. */
Str secret_expose(const Secret *s);
bool secret_eq(const Secret *a, const Secret *b); /* in constant time */
static inline void secret_drop(Secret *s)
{
    (void)secret_free(s);
}
DEFINE_CLEANUP(Secret *, secret_drop)
#define _cleanup_secret_ _cleanup_(secret_drop)
