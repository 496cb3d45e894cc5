#include "base/vec.h"

#define VEC_FIRST ((size_t)8)

void *vec_grow(void *items, size_t *cap, size_t need, size_t item_size)
{
    if (need <= *cap)
        return items;
    size_t more = MAX(VEC_FIRST, need);
    /* Doubling that would overflow is left to xrealloc's check of `need` alone. */
    if (*cap <= SIZE_MAX / 2)
        more = MAX(more, *cap * 2);
    items = xrealloc(items, more, item_size);
    *cap = more;
    return items;
}
