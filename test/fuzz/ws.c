/* Frames of a client, in pieces of a size that the first byte gives: what is read does not depend
 * on the pieces, and never grows past the limit. */
#include "stream/ws.h"
#include "fuzz.h"

#define MESSAGE_MAX 300

typedef struct Sum {
    uint64_t hash;
    int events;
} Sum;

static void add(Sum *s, const WsEvent *e)
{
    if (e->kind == WS_PART)
        return;
    s->events++;
    s->hash = s->hash * 31 + (uint64_t)e->kind * 7 + (uint64_t)e->code;
    for (size_t i = 0; i < e->data.n; i++)
        s->hash = s->hash * 31 + (uint8_t)e->data.p[i];
    BUG_IF(e->kind == WS_TEXT && e->data.n > MESSAGE_MAX);
}

static Sum run(const uint8_t *data, size_t size, size_t piece)
{
    _cleanup_(buf_clear) Buf b = BUF_INIT(1 << 20);
    WsReader r = {0};
    WsEvent e = {0};
    Sum sum = {0};

    for (size_t at = 0; at < size && e.kind != WS_ERROR; at += piece) {
        buf_add(&b, data + at, MIN(piece, size - at));
        do {
            ws_read(&r, b.p, b.len, MESSAGE_MAX, &e);
            add(&sum, &e);
            BUG_IF(e.used > b.len);
            if (e.kind == WS_ERROR)
                break;
            memmove(b.p, b.p + e.used, b.len - e.used);
            buf_truncate(&b, b.len - e.used);
        } while (e.used);
    }
    ws_reader_clear(&r);
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    Sum whole = run(data + 1, size - 1, size), pieces = run(data + 1, size - 1, 1 + data[0] % 32);
    BUG_IF(whole.hash != pieces.hash || whole.events != pieces.events);
    return 0;
}
