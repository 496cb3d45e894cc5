/* What every fuzz target defines: one function that takes any bytes and must neither crash nor
 * leak.
 *
 * What must hold for every input (a round trip, say) is checked with BUG_IF, which aborts.
 * libFuzzer calls it with bytes of its own (-Dfuzz=true), replay.c with the files of the corpus.
 * The bytes are borrowed, not terminated, and end where the memory ends. Returns 0.
 */
#pragma once
#include "base/buf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The input as a terminated string, cut at its first NUL; to be freed. */
static inline _unused_ char *fuzz_string_new(const uint8_t *data, size_t size)
{
    return size ? xstrndup((const char *)data, size) : xstrdup("");
}
