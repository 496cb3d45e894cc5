/* Any bytes are read to an end or an error, with no name that leaves a folder and no byte too many;
 * and the same in whatever pieces they come. */
#include "backup/tar.h"
#include "fuzz.h"

/* What was read, in short: events and bytes. */
static int read_all(Str all, size_t step, uint64_t *ret_sum)
{
    Tar t = {0};
    int64_t left = 0;
    int r = 0;

    *ret_sum = 0;
    while (r == 0 && all.n > 0) {
        Str in = {all.p, MIN(step, all.n)}, data;
        TarEvent e = TAR_DATA;
        all = (Str){all.p + in.n, all.n - in.n};
        while (e != TAR_MORE) {
            r = tar_next(&t, &in, &e, &data, NULL);
            if (r < 0)
                break;
            if (e == TAR_ENTRY) {
                BUG_IF(t.entry.size < 0 || strstr(t.entry.path, "../") || *t.entry.path == '/');
                left = t.entry.size;
                *ret_sum = *ret_sum * 31 + strlen(t.entry.path);
            }
            BUG_IF(e == TAR_DATA && (data.n == 0 || (int64_t)data.n > left));
            left -= (int64_t)data.n;
            BUG_IF(e == TAR_DONE && left != 0);
            for (size_t i = 0; i < data.n; i++)
                *ret_sum = *ret_sum * 31 + (uint8_t)data.p[i];
        }
    }
    return r < 0 ? r : tar_finish(&t, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Str all = {(const char *)data, size};
    /* Byte by byte, odd pieces, and such as end at a block's end, before and behind it. */
    static const size_t steps[] = {1, 7, 255, TAR_BLOCK - 1, TAR_BLOCK, TAR_BLOCK + 1};
    uint64_t whole, pieces;
    int r = read_all(all, size ? size : 1, &whole);

    for (size_t i = 0; i < ARRAY_LEN(steps); i++)
        BUG_IF(read_all(all, steps[i], &pieces) != r || pieces != whole);
    return 0;
}
