/* JSON as JavaScript would write it again: one pass that checks a text, rewrites it in the form of
 * JSON.stringify(JSON.parse(text)), and notes where each value is.
 *
 * Mastodon's streaming server is written in JavaScript and its clients see texts that went through
 * its parser: minimal escapes, numbers as doubles (1.0 is 1, 1e400 is null), the last of two equal
 * keys at the place of the first, keys that look like array indexes first. jansson keeps none of
 * these and makes a tree of allocations, which at tens of thousands of messages a second is most of
 * the work; hence this.
 *
 * A Js is used again for message after message and keeps its memory. Pure. Limits: JS_DEPTH levels;
 * texts below 2 GB. What is not UTF-8 becomes U+FFFD, as in JavaScript's decoder.
 */
#pragma once
#include "base/buf.h"
#include "base/vec.h"

#define JS_DEPTH 200

typedef enum JsType {
    JS_NULL,
    JS_FALSE,
    JS_TRUE,
    JS_NUMBER,
    JS_STRING,
    JS_ARRAY,
    JS_OBJECT
} JsType;

typedef struct JsNode {
    JsType type;
    uint32_t key, key_len; /* in out, without quotes; of a member of an object */
    uint32_t at, len;      /* in out, quotes and brackets included */
    uint32_t next;         /* the first node that is not inside this one */
} JsNode;

/* A number and how it is written: pictures of one shape have one aspect ratio. */
typedef struct JsMemo {
    uint8_t from_len, to_len;
    char from[23], to[30];
} JsMemo;

typedef struct Js {
    Buf out;
    VEC(JsNode) nodes;
    JsMemo memo[32];
    /* Inside js_read only: */
    const char *p, *end;
    bool again; /* an object's members were moved: what nodes say is stale */
    Buf spare;
    VEC(uint32_t) members;
} Js;

#define JS_INIT ((Js){.out = BUF_INIT(UINT32_MAX / 2), .spare = BUF_INIT(UINT32_MAX / 2)})
void js_clear(Js *js);
DEFINE_CLEAR(Js, js_clear)

/* False if it is no JSON, or too deep. The root is node 0. */
bool js_read(Js *js, Str text) _must_check_;
/* The member `key` of an object, or NULL: also where `node` is NULL or no object. */
const JsNode *js_get(const Js *js, const JsNode *node, const char *key);
/* The first element (member) of an array (object), then the next one; NULL at the end. */
const JsNode *js_first(const Js *js, const JsNode *node);
const JsNode *js_after(const Js *js, const JsNode *parent, const JsNode *node);
/* Its text as JSON. */
Str js_text(const Js *js, const JsNode *node);
/* JavaScript's idea of true; NULL is false. */
bool js_truthy(const Js *js, const JsNode *node);
/* Is it this string? NULL is none. */
bool js_is(const Js *js, const JsNode *node, const char *text);
/* Appends a string's characters as UTF-8; half a surrogate pair is U+FFFD. False (and nothing) if
 * it is no string. */
bool js_string(const Js *js, const JsNode *node, Buf *out);
/* A string of decimal digits, as Mastodon writes ids, or a whole number. */
bool js_id(const Js *js, const JsNode *node, int64_t *ret) _must_check_;

/* Appends `text` (UTF-8; what is not becomes U+FFFD) as a JSON string, quotes included. */
void js_quote(Buf *out, Str text);
/* The same for text that js_read wrote, which has neither control characters nor bad UTF-8. */
void js_quote_again(Buf *out, Str text);
/* Is all of it UTF-8? */
bool js_utf8(Str text) _must_check_;
/* Appends a character. */
void js_add_utf8(Buf *out, uint32_t c);
/* Reads one character of what js_utf8 accepts; *p moves behind it. */
uint32_t js_char(const char **p);
/* Appends a double as JavaScript writes it. */
void js_number(Buf *out, double d);
