#include "stream/slab.h"

#define PIECE 256 /* things */

void slab_init(Slab *s, size_t size)
{
    *s = (Slab){.size = (size + 15) & ~(size_t)15};
}

void slab_clear(Slab *s)
{
    for (size_t i = 0; i < s->pieces.len; i++)
        free(s->pieces.items[i]);
    vec_clear(&s->pieces);
    free(s->free);
    s->free = NULL;
    s->free_len = s->free_cap = 0;
    s->made = 0;
}

void *slab_at(const Slab *s, uint32_t index)
{
    return index < s->made ? s->pieces.items[index / PIECE] + (index % PIECE) * s->size : NULL;
}

void *slab_take(Slab *s, uint32_t *ret_index)
{
    if (s->free_len) {
        *ret_index = s->free[--s->free_len];
    } else {
        if (s->made % PIECE == 0)
            vec_push(&s->pieces, xcalloc(PIECE, s->size));
        *ret_index = s->made++;
    }
    return slab_at(s, *ret_index);
}

void slab_give(Slab *s, uint32_t index)
{
    s->free = vec_grow(s->free, &s->free_cap, s->free_len + 1, sizeof(*s->free));
    s->free[s->free_len++] = index;
}
