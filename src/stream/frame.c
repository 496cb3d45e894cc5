#include "stream/frame.h"
#include "stream/js.h"
#include "stream/ws.h"

Frame *frame_new(Str bytes)
{
    Frame *f = xcalloc(1, sizeof(*f) + bytes.n);
    f->refs = 1;
    f->len = (uint32_t)bytes.n;
    memcpy(f->data, bytes.p, bytes.n);
    return f;
}

Frame *frame_ref(Frame *f)
{
    f->refs++;
    return f;
}

Frame *frame_unref(Frame *f)
{
    if (f && --f->refs == 0)
        free(f);
    return NULL;
}

/* What is between the payload's text and its filtered member: an object's end is left out. */
static Str open_object(const FrameEvent *e)
{
    return (Str){e->payload.p, e->payload.n - 1};
}

static bool is_empty_object(const FrameEvent *e)
{
    return e->payload.n == 2;
}

/* Appends text as js_quote_again does, but without the quotes. */
static void add_inside(Buf *out, Str text)
{
    size_t at = out->len;
    js_quote_again(out, text);
    if (out->overflow)
        return;
    memmove(out->p + at, out->p + at + 1, out->len - at - 2);
    buf_truncate(out, out->len - 2);
}

static void ws_payload(const FrameEvent *e, Buf *out)
{
    bool composed = e->payload.p[0] == '{' || e->payload.p[0] == '[';

    if (!composed) {
        buf_add(out, e->payload.p, e->payload.n);
    } else if (e->filtered.n == 0) {
        js_quote_again(out, e->payload);
    } else {
        buf_char(out, '"');
        add_inside(out, open_object(e));
        buf_str(out, is_empty_object(e) ? "\\\"filtered\\\":" : ",\\\"filtered\\\":");
        add_inside(out, e->filtered);
        buf_str(out, "}\"");
    }
}

Frame *frame_ws_new(const FrameEvent *e, Str label, Buf *scratch)
{
    uint8_t head[WS_HEADER_MAX];

    buf_truncate(scratch, 0);
    buf_str(scratch, "{\"stream\":");
    buf_add(scratch, label.p, label.n);
    buf_str(scratch, ",\"event\":");
    buf_add(scratch, e->event.p, e->event.n);
    buf_str(scratch, ",\"payload\":");
    ws_payload(e, scratch);
    buf_char(scratch, '}');
    size_t n = ws_header(WS_OP_TEXT, scratch->len, head);
    Frame *f = xcalloc(1, sizeof(*f) + n + scratch->len);
    f->refs = 1;
    f->len = (uint32_t)(n + scratch->len);
    memcpy(f->data, head, n);
    memcpy(f->data + n, scratch->p, scratch->len);
    return f;
}

/* A JSON string's characters, or any other value as it is. */
static void add_plain(Str json, Buf *out)
{
    if (json.p[0] != '"') {
        buf_add(out, json.p, json.n);
        return;
    }
    JsNode node = {.type = JS_STRING, .at = 0, .len = (uint32_t)json.n};
    Js js = JS_INIT;
    buf_add(&js.out, json.p, json.n);
    (void)js_string(&js, &node, out); /* it is one */
    js_clear(&js);
}

static void add_chunk(Buf *out, Str bytes)
{
    buf_printf(out, "%zx\r\n", bytes.n);
    buf_add(out, bytes.p, bytes.n);
    buf_str(out, "\r\n");
}

Frame *frame_sse_new(const FrameEvent *e, Buf *scratch)
{
    _cleanup_(buf_clear) Buf part = BUF_INIT(SIZE_MAX / 2);

    buf_truncate(scratch, 0);
    buf_str(&part, "event: ");
    add_plain(e->event, &part);
    buf_char(&part, '\n');
    add_chunk(scratch, buf_as_str(&part));
    buf_truncate(&part, 0);
    buf_str(&part, "data: ");
    if (e->filtered.n == 0) {
        add_plain(e->payload, &part);
    } else {
        Str object = open_object(e);
        buf_add(&part, object.p, object.n);
        buf_str(&part, is_empty_object(e) ? "\"filtered\":" : ",\"filtered\":");
        buf_add(&part, e->filtered.p, e->filtered.n);
        buf_char(&part, '}');
    }
    buf_str(&part, "\n\n");
    add_chunk(scratch, buf_as_str(&part));
    return frame_new(buf_as_str(scratch));
}
