/* The head of an HTTP/1.1 request, and its query. libhttp-parser does the reading; pure.
 *
 * Everything borrowed points into the caller's bytes. Limits: HEAD_MAX bytes (Node's).
 */
#pragma once
#include "base/buf.h"

#define HEAD_MAX 16384

typedef enum HeadField {
    HEAD_AUTHORIZATION,
    HEAD_FORWARDED_FOR,
    HEAD_UPGRADE,
    HEAD_WS_KEY,
    HEAD_WS_PROTOCOL,
    HEAD_WS_VERSION,
    HEAD_REQUEST_HEADERS, /* Access-Control-Request-Headers */
    HEAD_FIELDS
} HeadField;

typedef struct Head {
    Str method;
    Str path, query;        /* without the "?" */
    Str field[HEAD_FIELDS]; /* p NULL: not there; the first of several */
    bool upgrade;           /* Connection: upgrade, and an Upgrade field */
    bool keep_alive;
    bool has_body;
} Head;

typedef enum HeadResult { HEAD_OK, HEAD_MORE, HEAD_BAD, HEAD_TOO_LARGE } HeadResult;
/* `bytes` may go on behind the head: *ret_used is its length, for HEAD_OK. */
HeadResult head_read(Str bytes, Head *ret, size_t *ret_used);

/* Appends the first value of a query parameter, decoded ("+" is a space; what is no escape stays);
 * returns how often it is there. */
size_t query_value(Str query, const char *name, Buf *out);
/* Appends a part of a URL outside its query, decoded: there a "+" is one. */
void url_decode(Str s, Buf *out);
/* Appends the line for a log: the target with the value of access_token left out. */
void head_redact(const Head *h, Buf *out);
