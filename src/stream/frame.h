/* What is sent: bytes that never change, counted by those who still have to send them. A message
 * for a thousand viewers is one Frame. One thread: the counter is plain. */
#pragma once
#include "base/buf.h"

typedef struct Frame {
    uint32_t refs;
    uint32_t len;
    char data[];
} Frame;

Frame *frame_new(Str bytes); /* copies; one reference, the caller's */
Frame *frame_ref(Frame *f);
Frame *frame_unref(Frame *f); /* takes NULL, returns NULL */
static inline void frame_drop(Frame *f)
{
    (void)frame_unref(f);
}
DEFINE_CLEANUP(Frame *, frame_drop)

/* An event in its parts, all as js_read wrote them (JSON). */
typedef struct FrameEvent {
    Str event; /* a string, quotes included */
    Str payload;
    Str filtered; /* put into the payload (an object) as its last member; n 0: not */
} FrameEvent;
/* A text message {"stream":<label>,"event":..,"payload":..}: objects as a string, as Mastodon's
 * clients expect it. */
Frame *frame_ws_new(const FrameEvent *e, Str label, Buf *scratch);
/* Two chunks of a server-sent event; `event` and a string payload are written without quotes. */
Frame *frame_sse_new(const FrameEvent *e, Buf *scratch);
