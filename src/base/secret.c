#include "base/secret.h"

struct Secret {
    size_t n;
    char bytes[]; /* n and a NUL */
};

Secret *secret_new(const void *bytes, size_t n)
{
    size_t size;
    BUG_IF(__builtin_add_overflow(sizeof(Secret) + 1, n, &size));
    Secret *s = xcalloc(1, size);
    s->n = n;
    if (n)
        memcpy(s->bytes, bytes, n);
    return s;
}

Secret *secret_copy(const Secret *s)
{
    return s ? secret_new(s->bytes, s->n) : NULL;
}

Secret *secret_free(Secret *s)
{
    if (s) {
        explicit_bzero(s, sizeof *s + s->n);
        free(s);
    }
    return NULL;
}

Str secret_expose(const Secret *s)
{
    /* An absent secret that passed for an empty one would be a key that everybody knows. */
    BUG_IF(!s);
    return (Str){s->bytes, s->n};
}

bool secret_eq(const Secret *a, const Secret *b)
{
    /* The length is no secret. Two absent ones are not equal: nobody may log in with nothing. */
    if (!a || !b || a->n != b->n)
        return false;
    volatile unsigned char difference = 0;
    for (size_t i = 0; i < a->n; i++)
        difference = (unsigned char)(difference | (a->bytes[i] ^ b->bytes[i]));
    return difference == 0;
}
