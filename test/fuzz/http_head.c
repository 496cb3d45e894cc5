/* The head of a request, byte by byte too: all that it points at lies inside. */
#include "fuzz.h"
#include "stream/head.h"

static void inside(Str part, Str whole)
{
    BUG_IF(part.n && whole.n && !(part.p >= whole.p && part.p + part.n <= whole.p + whole.n));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_(buf_clear) Buf b = BUF_INIT(1 << 20), out = BUF_INIT(1 << 20);
    Head h;
    size_t used = 0;

    buf_add(&b, data, size);
    if (head_read(buf_as_str(&b), &h, &used) != HEAD_OK)
        return 0;
    BUG_IF(used > b.len || used > HEAD_MAX);
    for (int i = 0; i < HEAD_FIELDS; i++)
        inside(h.field[i], buf_as_str(&b));
    if (h.query.n)
        inside(h.query, buf_as_str(&b));
    (void)query_value(h.query, "tag", &out);
    head_redact(&h, &out);
    return 0;
}
