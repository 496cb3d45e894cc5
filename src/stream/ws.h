/* WebSocket frames (RFC 6455), strict: what a client sends, and the headers of what a server does.
 *
 * Frames of a client are masked, have no reserved bits (there are no extensions here) and are no
 * larger than the limit that the caller gives. Reading keeps nothing between messages: only a
 * message in several frames has memory, in the reader, which is empty again after it. Pure.
 */
#pragma once
#include "base/buf.h"

typedef enum WsOpcode {
    WS_OP_MORE = 0,
    WS_OP_TEXT = 1,
    WS_OP_BINARY = 2,
    WS_OP_CLOSE = 8,
    WS_OP_PING = 9,
    WS_OP_PONG = 10
} WsOpcode;

enum {
    WS_CLOSE_NORMAL = 1000,
    WS_CLOSE_AWAY = 1001,
    WS_CLOSE_PROTOCOL = 1002,
    WS_CLOSE_UNSUPPORTED = 1003,
    WS_CLOSE_NONE = 1005, /* no code was in the frame; never sent */
    WS_CLOSE_DATA = 1007,
    WS_CLOSE_POLICY = 1008,
    WS_CLOSE_SIZE = 1009,
};

typedef struct WsReader {
    WsOpcode opcode; /* of the message that is under way; WS_OP_MORE: none */
    Buf message;     /* its frames so far */
} WsReader;

typedef enum WsKind {
    WS_PART,   /* the frame is not all there; or one of a message that goes on: see used */
    WS_TEXT,   /* data: checked UTF-8 */
    WS_BINARY, /* data */
    WS_PING,   /* data: to be sent back */
    WS_PONG,
    WS_CLOSE, /* code: WS_CLOSE_NONE if there was none */
    WS_ERROR  /* code to close with */
} WsKind;

typedef struct WsEvent {
    WsKind kind;
    int code;
    Str data; /* in the caller's bytes or the reader's: good until the next call */
    size_t used;
} WsEvent;

/* Takes one frame from the beginning of `bytes`, which it unmasks in place. `max` bounds a message.
 * used is 0 only for WS_PART (more bytes are needed) and WS_ERROR. */
void ws_read(WsReader *r, char *bytes, size_t n, size_t max, WsEvent *ret);
/* Drops a message that was under way. */
void ws_reader_clear(WsReader *r);

#define WS_HEADER_MAX 10
/* The header of an unmasked frame that is a whole message; its length. */
size_t ws_header(WsOpcode opcode, size_t payload, uint8_t ret[static WS_HEADER_MAX]);
/* Appends a close frame; WS_CLOSE_NONE: without a code. `reason` is cut to what fits. */
void ws_close(Buf *out, int code, const char *reason);
/* Sec-WebSocket-Accept for a key; false if the key is not 16 bytes in base64. */
bool ws_accept(Str key, Buf *out) _must_check_;
