/* Watches what is given back to the allocator: memory that was freed can't be looked at afterwards.
 *
 * A test that includes this is linked with --wrap=free (meson.build). While `freed_mark` is not 0,
 * blocks that still hold four bytes of it in a row are counted.
 */
#pragma once
#include <malloc.h>
#include <stdbool.h>
#include <stdlib.h>

static char freed_mark;
static int freed_unwiped;

/* $MALLOC_PERTURB_, which meson sets to a number by chance, would fill new blocks with the very
 * mark. */
static __attribute__((constructor)) void no_filling(void)
{
    (void)mallopt(M_PERTURB, 0);
}

void __real_free(void *p);
void __wrap_free(void *p);
void __wrap_free(void *p)
{
    int run = 0, longest = 0;
    size_t n = freed_mark && p ? malloc_usable_size(p) : 0;
    for (size_t i = 0; i < n; i++) {
        run = ((const volatile char *)p)[i] == freed_mark ? run + 1 : 0;
        longest = run > longest ? run : longest;
    }
    freed_unwiped += longest >= 4;
    __real_free(p);
}
