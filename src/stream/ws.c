#include "stream/ws.h"
#include "io/crypt.h"
#include "stream/js.h"

static void fail(WsEvent *ret, int code)
{
    *ret = (WsEvent){.kind = WS_ERROR, .code = code};
}

static void unmask(char *p, size_t n, const char key[static 4])
{
    for (size_t i = 0; i < n; i++)
        p[i] = (char)(p[i] ^ key[i & 3]);
}

/* Codes that may stand in a frame (RFC 6455 7.4, and IANA's list). */
static bool may_be_sent(int code)
{
    return (code >= 1000 && code <= 1014 && code != 1004 && code != 1005 && code != 1006) ||
           (code >= 3000 && code <= 4999);
}

static void control(WsOpcode opcode, Str data, WsEvent *ret)
{
    ret->data = data;
    if (opcode != WS_OP_CLOSE) {
        ret->kind = opcode == WS_OP_PING ? WS_PING : WS_PONG;
        return;
    }
    ret->kind = WS_CLOSE;
    ret->code = WS_CLOSE_NONE;
    if (data.n == 0)
        return;
    if (data.n == 1) {
        fail(ret, WS_CLOSE_PROTOCOL);
        return;
    }
    ret->code = (uint8_t)data.p[0] << 8 | (uint8_t)data.p[1];
    ret->data = (Str){data.p + 2, data.n - 2};
    if (!may_be_sent(ret->code))
        fail(ret, WS_CLOSE_PROTOCOL);
    else if (!js_utf8(ret->data))
        fail(ret, WS_CLOSE_DATA);
}

/* One frame of a message: the last one gives the message. */
static void part(WsReader *r, WsOpcode opcode, bool fin, Str data, WsEvent *ret)
{
    bool alone = fin && opcode != WS_OP_MORE;

    if (opcode != WS_OP_MORE)
        r->opcode = opcode;
    if (!alone) {
        buf_add(&r->message, data.p, data.n);
        if (!fin)
            return;
        data = buf_as_str(&r->message);
    }
    ret->kind = r->opcode == WS_OP_TEXT ? WS_TEXT : WS_BINARY;
    ret->data = data;
    r->opcode = WS_OP_MORE;
    if (ret->kind == WS_TEXT && !js_utf8(data))
        fail(ret, WS_CLOSE_DATA);
}

typedef struct Header {
    bool fin;
    WsOpcode opcode;
    uint64_t len;
    size_t size; /* of the header, with the mask's key */
} Header;

/* 0: more bytes are needed; -1: *ret_code says why it is none of ours. */
static int header(const WsReader *r, const uint8_t *p, size_t n, Header *ret, int *ret_code)
{
    *ret_code = WS_CLOSE_PROTOCOL;
    if (n < 2)
        return 0;
    ret->fin = p[0] & 0x80;
    ret->opcode = (WsOpcode)(p[0] & 0x0f);
    ret->len = p[1] & 0x7f;
    if ((p[0] & 0x70) || !(p[1] & 0x80))
        return -1;
    if (ret->opcode >= WS_OP_CLOSE) {
        if (ret->opcode > WS_OP_PONG || !ret->fin || ret->len > 125)
            return -1;
    } else if (ret->opcode > WS_OP_BINARY ||
               (ret->opcode == WS_OP_MORE) == (r->opcode == WS_OP_MORE)) {
        return -1;
    }
    size_t extra = ret->len == 126 ? 2 : ret->len == 127 ? 8 : 0;
    ret->size = 2 + extra + 4;
    if (n < 2 + extra)
        return 0;
    if (extra) {
        ret->len = 0;
        for (size_t i = 0; i < extra; i++)
            ret->len = ret->len << 8 | p[2 + i];
    }
    return 1;
}

void ws_read(WsReader *r, char *bytes, size_t n, size_t max, WsEvent *ret)
{
    Header h;
    int code;

    *ret = (WsEvent){.kind = WS_PART};
    if (!r->message.p)
        r->message = BUF_INIT(SIZE_MAX / 2);
    int got = header(r, (const uint8_t *)bytes, n, &h, &code);
    if (got < 0)
        fail(ret, code);
    if (got <= 0)
        return;
    if (h.opcode < WS_OP_CLOSE && (h.len > max || h.len > max - MIN(max, r->message.len))) {
        fail(ret, WS_CLOSE_SIZE);
        return;
    }
    if (n < h.size || n - h.size < h.len)
        return;
    if (r->opcode == WS_OP_MORE && h.opcode < WS_OP_CLOSE)
        buf_truncate(&r->message, 0);
    char *data = bytes + h.size;
    unmask(data, (size_t)h.len, data - 4);
    ret->used = h.size + (size_t)h.len;
    if (h.opcode >= WS_OP_CLOSE)
        control(h.opcode, (Str){data, (size_t)h.len}, ret);
    else
        part(r, h.opcode, h.fin, (Str){data, (size_t)h.len}, ret);
}

void ws_reader_clear(WsReader *r)
{
    if (r->message.p)
        buf_clear(&r->message);
    r->opcode = WS_OP_MORE;
}

size_t ws_header(WsOpcode opcode, size_t payload, uint8_t ret[static WS_HEADER_MAX])
{
    ret[0] = (uint8_t)(0x80 | opcode);
    if (payload < 126) {
        ret[1] = (uint8_t)payload;
        return 2;
    }
    size_t extra = payload < 65536 ? 2 : 8;
    ret[1] = extra == 2 ? 126 : 127;
    for (size_t i = 0; i < extra; i++)
        ret[2 + i] = (uint8_t)((uint64_t)payload >> (8 * (extra - 1 - i)));
    return 2 + extra;
}

void ws_close(Buf *out, int code, const char *reason)
{
    size_t n = code == WS_CLOSE_NONE ? 0 : 2 + MIN(strlen(reason), (size_t)123);
    uint8_t head[WS_HEADER_MAX];

    buf_add(out, head, ws_header(WS_OP_CLOSE, n, head));
    if (n == 0)
        return;
    buf_char(out, (char)(code >> 8));
    buf_char(out, (char)(code & 0xff));
    buf_add(out, reason, n - 2);
}

bool ws_accept(Str key, Buf *out)
{
    _cleanup_(buf_clear) Buf bytes = BUF_INIT(64), text = BUF_INIT(128), hex = BUF_INIT(64);

    if (key.n != 24 || key.p[22] != '=' || key.p[23] != '=' || memchr(key.p, '-', 22) ||
        memchr(key.p, '_', 22) || !crypt_unbase64(&bytes, key) || bytes.len != 16)
        return false;
    buf_add(&text, key.p, key.n);
    buf_str(&text, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"); /* RFC 6455 1.3 */
    crypt_hash(CRYPT_SHA1, buf_as_str(&text), &hex);
    buf_truncate(&bytes, 0);
    if (!crypt_unhex(&bytes, buf_as_str(&hex)))
        return false;
    crypt_base64(out, bytes.p, bytes.len);
    return true;
}
