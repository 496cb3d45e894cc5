/* A growing array of any type, as macros over one growth function.
 *
 *     typedef VEC(Step) Steps;
 *     Steps s = {0};
 *     vec_push(&s, (Step){...});
 *     for (size_t i = 0; i < s.len; i++) use(&s.items[i]);
 *     vec_clear(&s);      // frees the array, not what its items own
 *
 * Pointers to items are valid until the next push.
 */
#pragma once
#include "base/util.h"

#define VEC(T)                                                                                     \
    struct {                                                                                       \
        T *items;                                                                                  \
        size_t len, cap;                                                                           \
    }

void *vec_grow(void *items, size_t *cap, size_t need, size_t item_size);

#define vec_push(v, ...)                                                                           \
    do {                                                                                           \
        (v)->items = vec_grow((v)->items, &(v)->cap, (v)->len + 1, sizeof *(v)->items);            \
        (v)->items[(v)->len++] = (__VA_ARGS__);                                                    \
    } while (0)
#define vec_last(v) (&(v)->items[(v)->len - 1])
/* Removes item i; the order of the others is kept. */
#define vec_remove(v, i)                                                                           \
    do {                                                                                           \
        size_t at_ = (i);                                                                          \
        memmove(&(v)->items[at_], &(v)->items[at_ + 1],                                            \
                ((v)->len - at_ - 1) * sizeof *(v)->items);                                        \
        (v)->len--;                                                                                \
    } while (0)
#define vec_clear(v)                                                                               \
    do {                                                                                           \
        free((v)->items);                                                                          \
        (v)->items = NULL;                                                                         \
        (v)->len = (v)->cap = 0;                                                                   \
    } while (0)
