/* Memory for very many small things of one size, in large pieces, without a word of overhead each;
 * a thing may be found by its number. Pieces are kept for reuse and freed with the slab. */
#pragma once
#include "base/vec.h"

typedef struct Slab {
    size_t size; /* of a thing */
    VEC(char *) pieces;
    uint32_t *free; /* numbers */
    size_t free_len, free_cap;
    uint32_t made;
} Slab;

void slab_init(Slab *s, size_t size);
void slab_clear(Slab *s);
/* A thing, not initialised when it was used before (zero when new); its number in *ret_index. */
void *slab_take(Slab *s, uint32_t *ret_index);
void slab_give(Slab *s, uint32_t index);
/* The thing of that number, which was taken at some time; NULL if it never was. */
void *slab_at(const Slab *s, uint32_t index);
