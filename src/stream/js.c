#include "stream/js.h"
#include <float.h>
#include <math.h>

/* Bytes that may be copied as they are: all but control characters, quote, backslash, non-ASCII. */
static inline bool is_plain(unsigned char c)
{
    return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

/* The length of the UTF-8 sequence at p (2 to 4), or 0 if there is none; *ret_bad is then how many
 * bytes one U+FFFD stands for (the longest prefix of a sequence, WHATWG Encoding). */
static size_t sequence(const unsigned char *p, const unsigned char *end, size_t *ret_bad)
{
    size_t n = *p >= 0xf0 ? 4 : *p >= 0xe0 ? 3 : 2;
    unsigned char low = 0x80, high = 0xbf;

    *ret_bad = 1;
    if (*p < 0xc2 || *p > 0xf4)
        return 0;
    if (*p == 0xe0)
        low = 0xa0;
    else if (*p == 0xed)
        high = 0x9f;
    else if (*p == 0xf0)
        low = 0x90;
    else if (*p == 0xf4)
        high = 0x8f;
    for (size_t i = 1; i < n; i++) {
        if (p + i >= end || p[i] < low || p[i] > high) {
            *ret_bad = i;
            return 0;
        }
        low = 0x80;
        high = 0xbf;
    }
    return n;
}

void js_add_utf8(Buf *b, uint32_t c)
{
    if (c < 0x80) {
        buf_char(b, (char)c);
    } else if (c < 0x800) {
        buf_char(b, (char)(0xc0 | (c >> 6)));
        buf_char(b, (char)(0x80 | (c & 0x3f)));
    } else if (c < 0x10000) {
        buf_char(b, (char)(0xe0 | (c >> 12)));
        buf_char(b, (char)(0x80 | ((c >> 6) & 0x3f)));
        buf_char(b, (char)(0x80 | (c & 0x3f)));
    } else {
        buf_char(b, (char)(0xf0 | (c >> 18)));
        buf_char(b, (char)(0x80 | ((c >> 12) & 0x3f)));
        buf_char(b, (char)(0x80 | ((c >> 6) & 0x3f)));
        buf_char(b, (char)(0x80 | (c & 0x3f)));
    }
}

bool js_utf8(Str text)
{
    const unsigned char *p = (const unsigned char *)text.p, *end = p + text.n;
    size_t bad;

    while (p < end) {
        size_t n = *p < 0x80 ? 1 : sequence(p, end, &bad);
        if (n == 0)
            return false;
        p += n;
    }
    return true;
}

uint32_t js_char(const char **p)
{
    const unsigned char *u = (const unsigned char *)*p;
    size_t n = *u < 0x80 ? 1 : *u < 0xe0 ? 2 : *u < 0xf0 ? 3 : 4;
    uint32_t c = n == 1 ? *u : *u & (0xffu >> (n + 1));

    for (size_t i = 1; i < n; i++)
        c = c << 6 | (u[i] & 0x3f);
    *p += n;
    return c;
}

/* One character as JSON.stringify escapes it. */
static void add_escaped(Buf *b, uint32_t c)
{
    static const char letters[] = "btn\0fr"; /* from 8 on */
    if (c == '"' || c == '\\') {
        buf_char(b, '\\');
        buf_char(b, (char)c);
    } else if (c >= 8 && c <= 13 && c != 11) {
        buf_char(b, '\\');
        buf_char(b, letters[c - 8]);
    } else if (c < 0x20 || (c >= 0xd800 && c < 0xe000)) {
        buf_printf(b, "\\u%04x", (unsigned)c);
    } else {
        js_add_utf8(b, c);
    }
}

static bool hex4(const char *p, const char *end, uint32_t *ret)
{
    uint32_t c = 0;

    if (end - p < 4)
        return false;
    for (int i = 0; i < 4; i++) {
        int digit = hex_value(p[i]);
        if (digit < 0)
            return false;
        c = c << 4 | (uint32_t)digit;
    }
    *ret = c;
    return true;
}

/* One escape sequence, js->p behind its backslash. */
static bool escape(Js *js)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    uint32_t c, low;

    if (js->p >= js->end)
        return false;
    if (*js->p != 'u') {
        const char *at = memchr(from, *js->p, sizeof(from) - 1);
        if (!at)
            return false;
        js->p++;
        add_escaped(&js->out, (unsigned char)to[at - from]);
        return true;
    }
    if (!hex4(js->p + 1, js->end, &c))
        return false;
    js->p += 5;
    if (c >= 0xd800 && c < 0xdc00 && js->end - js->p >= 6 && js->p[0] == '\\' && js->p[1] == 'u' &&
        hex4(js->p + 2, js->end, &low) && low >= 0xdc00 && low < 0xe000) {
        js->p += 6;
        c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
    }
    add_escaped(&js->out, c);
    return true;
}

/* Copies what is not ASCII. */
static const char *copy_wide(Buf *out, const char *at, const char *end)
{
    size_t bad, n = sequence((const unsigned char *)at, (const unsigned char *)end, &bad);
    if (n)
        buf_add(out, at, n);
    else
        buf_str(out, "\xef\xbf\xbd");
    return at + (n ? n : bad);
}

static inline void put(Buf *b, char c)
{
    if (b->cap - b->len > 1)
        b->p[b->len++] = c;
    else
        buf_char(b, c);
}

#define ONES 0x0101010101010101u
#define HIGHS 0x8080808080808080u

/* Eight bytes at once: the high bit of the first that is a quote or a backslash (a zero byte after
 * the xor; what is set behind the first may be wrong). */
static inline uint64_t quotes_in(uint64_t w)
{
    uint64_t quote = w ^ (ONES * '"'), slash = w ^ (ONES * '\\');
    return (((quote - ONES) & ~quote) | ((slash - ONES) & ~slash)) & HIGHS;
}

/* The same for all that is not plain: also what is below 0x20 (a borrow) or not ASCII. */
static inline uint64_t special_in(uint64_t w)
{
    return quotes_in(w) | ((((w - ONES * 0x20) & ~w) | w) & HIGHS);
}

/* Which of the eight bytes, in memory's order. */
static inline size_t first_of(uint64_t bits)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    return (size_t)__builtin_ctzll(bits) / 8;
#else
    (void)bits;
    return 0; /* nothing is skipped: the caller looks at the first by itself */
#endif
}

/* Copies plain bytes, of which most of a message is, eight at a time. */
static const char *copy_plain(Buf *out, const char *p, const char *end)
{
    char *o = buf_room(out, (size_t)(end - p) + 8);
    if (!o)
        return end; /* what is read is given up for the overflow */
    while (end - p >= 8) {
        uint64_t w;
        memcpy(&w, p, 8);
        memcpy(o, &w, 8); /* what is too much is written over */
        uint64_t special = special_in(w);
        if (special) {
            p += first_of(special);
            o += first_of(special);
            break;
        }
        p += 8;
        o += 8;
    }
    while (p < end && is_plain((unsigned char)*p))
        *o++ = *p++;
    out->len = (size_t)(o - out->p);
    return p;
}

/* A string, js->p behind its opening quote; writes both quotes. */
static bool string(Js *js)
{
    put(&js->out, '"');
    for (;;) {
        js->p = copy_plain(&js->out, js->p, js->end);
        if (js->p >= js->end)
            return false;
        unsigned char c = (unsigned char)*js->p;
        if (c == '"') {
            js->p++;
            put(&js->out, '"');
            return true;
        }
        if (c >= 0x80) {
            js->p = copy_wide(&js->out, js->p, js->end);
        } else {
            js->p++;
            if (c != '\\' || !escape(js))
                return false;
        }
    }
}

void js_number(Buf *out, double d)
{
    char text[40], digits[24];
    int precision, exponent, k = 0;

    if (!isfinite(d)) {
        buf_str(out, "null");
        return;
    }
    if (d == 0) {
        buf_char(out, '0');
        return;
    }
    /* The shortest decimal that reads back as the same double (ECMA-262, Number::toString): with 15
     * digits, shorter ones are this one with zeros; with 17 all do. The smallest have fewer. */
    for (precision = fabs(d) < DBL_MIN ? 0 : 14; precision <= 16; precision++) {
        (void)snprintf(text, sizeof(text), "%.*e", precision, d);
        if (precision == 16 || strtod(text, NULL) == d)
            break;
    }
    if (d < 0)
        buf_char(out, '-');
    const char *e = strchr(text, 'e');
    for (const char *p = text; p < e; p++)
        if (*p >= '0' && *p <= '9' && k < (int)sizeof(digits) - 1)
            digits[k++] = *p;
    while (k > 1 && digits[k - 1] == '0')
        k--;
    exponent = (int)strtol(e + 1, NULL, 10) + 1; /* the value is 0.digits times 10^exponent */
    digits[k] = '\0';
    if (k <= exponent && exponent <= 21)
        buf_printf(out, "%s%.*s", digits, exponent - k, "000000000000000000000");
    else if (exponent > 0 && exponent <= 21)
        buf_printf(out, "%.*s.%s", exponent, digits, digits + exponent);
    else if (exponent > -6 && exponent <= 0)
        buf_printf(out, "0.%.*s%s", -exponent, "000000", digits);
    else
        buf_printf(out, "%c%s%se%c%d", digits[0], k > 1 ? "." : "", digits + 1,
                   exponent > 0 ? '+' : '-', exponent > 0 ? exponent - 1 : 1 - exponent);
}

static bool digit(const Js *js)
{
    return js->p < js->end && *js->p >= '0' && *js->p <= '9';
}

static bool digits(Js *js)
{
    if (!digit(js))
        return false;
    while (digit(js))
        js->p++;
    return true;
}

/* A decimal that JavaScript writes the same: two of at most 15 digits are never one double. */
static bool is_canonical(const char *p, size_t n)
{
    size_t digits = 0;
    bool zero = true;

    for (size_t i = 0; i < n; i++) {
        if (p[i] == 'e' || p[i] == 'E')
            return false;
        zero = zero && (p[i] == '0' || p[i] == '.' || p[i] == '-');
        digits += !zero && p[i] != '.';
    }
    /* Below 0.001 an exponent is near; zeros at the end go. */
    return digits && digits <= 15 && p[n - 1] != '0' && n <= digits + 4;
}

/* A number whose JavaScript form has to be worked out, unless it was a moment ago. */
static void slow_number(Js *js, const char *start, size_t n)
{
    uint32_t hash = 0;

    for (size_t i = 0; i < n; i++)
        hash = hash * 31 + (unsigned char)start[i];
    JsMemo *m = &js->memo[(hash ^ hash >> 16) % ARRAY_LEN(js->memo)];
    if (m->from_len == n && memcmp(m->from, start, n) == 0) {
        buf_add(&js->out, m->to, m->to_len);
        return;
    }
    _cleanup_free_ char *text = xstrndup(start, n);
    size_t at = js->out.len;
    js_number(&js->out, strtod(text, NULL));
    if (n > sizeof(m->from) || js->out.len - at > sizeof(m->to))
        return;
    m->from_len = (uint8_t)n;
    m->to_len = (uint8_t)(js->out.len - at);
    memcpy(m->from, start, n);
    memcpy(m->to, js->out.p + at, m->to_len);
}

static bool number(Js *js)
{
    const char *start = js->p;
    bool whole = true;

    if (*js->p == '-')
        js->p++;
    if (js->p < js->end && *js->p == '0')
        js->p++;
    else if (!digits(js))
        return false;
    if (js->p < js->end && *js->p == '.') {
        whole = false;
        js->p++;
        if (!digits(js))
            return false;
    }
    if (js->p < js->end && (*js->p == 'e' || *js->p == 'E')) {
        whole = false;
        js->p++;
        if (js->p < js->end && (*js->p == '+' || *js->p == '-'))
            js->p++;
        if (!digits(js))
            return false;
    }
    size_t n = (size_t)(js->p - start);
    bool minus_zero = n == 2 && start[0] == '-' && start[1] == '0';
    if (whole ? n <= 15 && !minus_zero : is_canonical(start, n)) {
        buf_add(&js->out, start, n);
    } else {
        slow_number(js, start, n);
    }
    return true;
}

static void space(Js *js)
{
    while (js->p < js->end && (*js->p == ' ' || *js->p == '\n' || *js->p == '\r' || *js->p == '\t'))
        js->p++;
}

static bool next_is(Js *js, char c)
{
    space(js);
    if (js->p >= js->end || *js->p != c)
        return false;
    js->p++;
    return true;
}

static bool word(Js *js, const char *text)
{
    size_t n = strlen(text);
    if ((size_t)(js->end - js->p) < n || memcmp(js->p, text, n) != 0)
        return false;
    js->p += n;
    buf_add(&js->out, text, n);
    return true;
}

/* "0" to "4294967294" as JavaScript orders them before other keys; -1: no such key. */
static int64_t array_index(Str key)
{
    int64_t value = 0;

    if (key.n == 0 || key.n > 10 || (key.p[0] == '0' && key.n > 1))
        return -1;
    for (size_t i = 0; i < key.n; i++) {
        if (key.p[i] < '0' || key.p[i] > '9')
            return -1;
        value = value * 10 + (key.p[i] - '0');
    }
    return value <= 4294967294 ? value : -1;
}

static Str node_key(const Js *js, uint32_t i)
{
    return (Str){js->out.p + js->nodes.items[i].key, js->nodes.items[i].key_len};
}

/* Does JavaScript keep these members (js->members from `first` on) as they stand? */
static bool in_order(const Js *js, size_t first)
{
    int64_t last = -1;
    bool others = false;

    for (size_t i = first; i < js->members.len; i++) {
        Str key = node_key(js, js->members.items[i]);
        int64_t index = array_index(key);
        if (index >= 0 && (others || index <= last))
            return false;
        if (index >= 0) {
            last = index;
            continue;
        }
        others = true;
        for (size_t j = first; j < i; j++)
            if (str_eq(key, node_key(js, js->members.items[j])))
                return false;
    }
    return true;
}

static void add_member(Js *js, uint32_t key, uint32_t value, bool *first)
{
    const JsNode *n = &js->nodes.items[value];
    if (!*first)
        buf_char(&js->spare, ',');
    *first = false;
    buf_char(&js->spare, '"');
    buf_add(&js->spare, js->out.p + js->nodes.items[key].key, js->nodes.items[key].key_len);
    buf_str(&js->spare, "\":");
    buf_add(&js->spare, js->out.p + n->at, n->len);
}

/* The last member of the same key; and whether `i` is the first of it. */
static uint32_t last_of(const Js *js, size_t first, size_t i, bool *ret_first)
{
    Str key = node_key(js, js->members.items[i]);
    uint32_t last = js->members.items[i];

    *ret_first = true;
    for (size_t j = first; j < js->members.len; j++)
        if (str_eq(key, node_key(js, js->members.items[j]))) {
            last = js->members.items[j];
            *ret_first = *ret_first && j >= i;
        }
    return last;
}

/* Writes the object that began at `at` anew, in JavaScript's order. */
static void reorder(Js *js, size_t first, size_t at)
{
    bool start = true, is_first;
    int64_t done = -1;

    buf_truncate(&js->spare, 0);
    for (;;) { /* array indexes ascending: each the smallest above the last */
        int64_t best = INT64_MAX;
        size_t which = 0;
        for (size_t i = first; i < js->members.len; i++) {
            int64_t index = array_index(node_key(js, js->members.items[i]));
            if (index > done && index < best) {
                best = index;
                which = i;
            }
        }
        if (best == INT64_MAX)
            break;
        done = best;
        add_member(js, js->members.items[which], last_of(js, first, which, &is_first), &start);
    }
    for (size_t i = first; i < js->members.len; i++) {
        uint32_t last = last_of(js, first, i, &is_first);
        if (is_first && array_index(node_key(js, js->members.items[i])) < 0)
            add_member(js, js->members.items[i], last, &start);
    }
    buf_truncate(&js->out, at + 1);
    buf_add(&js->out, js->spare.p, js->spare.len);
    js->again = true;
}

static bool value(Js *js, int depth, uint32_t key, uint32_t key_len);

static bool object(Js *js, int depth)
{
    size_t at = js->out.len, first = js->members.len;

    put(&js->out, '{');
    if (!next_is(js, '}')) {
        do {
            if (js->members.len > first)
                put(&js->out, ',');
            if (!next_is(js, '"'))
                return false;
            size_t key = js->out.len + 1;
            if (!string(js) || !next_is(js, ':'))
                return false;
            size_t key_len = js->out.len - 1 - key;
            put(&js->out, ':');
            vec_push(&js->members, (uint32_t)js->nodes.len);
            if (!value(js, depth, (uint32_t)key, (uint32_t)key_len))
                return false;
        } while (next_is(js, ','));
        if (!next_is(js, '}'))
            return false;
    }
    /* Objects of very many members are looked through in quadratic time: none comes from Rails. */
    if (js->members.len - first > 4096)
        return false;
    if (!in_order(js, first))
        reorder(js, first, at);
    js->members.len = first;
    put(&js->out, '}');
    return true;
}

static bool array(Js *js, int depth)
{
    bool first = true;

    put(&js->out, '[');
    if (!next_is(js, ']')) {
        do {
            if (!first)
                put(&js->out, ',');
            first = false;
            if (!value(js, depth, 0, 0))
                return false;
        } while (next_is(js, ','));
        if (!next_is(js, ']'))
            return false;
    }
    put(&js->out, ']');
    return true;
}

static bool content(Js *js, JsType *ret_type, int depth)
{
    switch (*js->p) {
    case '{':
        *ret_type = JS_OBJECT;
        js->p++;
        return depth > 0 && object(js, depth - 1);
    case '[':
        *ret_type = JS_ARRAY;
        js->p++;
        return depth > 0 && array(js, depth - 1);
    case '"':
        *ret_type = JS_STRING;
        js->p++;
        return string(js);
    case 't':
        *ret_type = JS_TRUE;
        return word(js, "true");
    case 'f':
        *ret_type = JS_FALSE;
        return word(js, "false");
    case 'n':
        *ret_type = JS_NULL;
        return word(js, "null");
    default:
        *ret_type = JS_NUMBER;
        return number(js);
    }
}

static bool value(Js *js, int depth, uint32_t key, uint32_t key_len)
{
    JsType type;
    size_t index = js->nodes.len, at = js->out.len;

    space(js);
    if (js->p >= js->end)
        return false;
    vec_push(&js->nodes, (JsNode){.key = key, .key_len = key_len, .at = (uint32_t)at});
    if (!content(js, &type, depth))
        return false;
    JsNode *node = &js->nodes.items[index];
    node->type = type == JS_NUMBER && js->out.p[at] == 'n' ? JS_NULL : type;
    node->len = (uint32_t)(js->out.len - at);
    node->next = (uint32_t)js->nodes.len;
    return true;
}

static bool document(Js *js, Str text)
{
    js->p = text.p;
    js->end = text.p + text.n;
    js->again = false;
    js->nodes.len = js->members.len = 0;
    buf_truncate(&js->out, 0);
    if (text.n >= js->out.max || !buf_room(&js->out, text.n + text.n / 4 + 64))
        return false;
    bool ok = value(js, JS_DEPTH, 0, 0);
    js->out.p[js->out.len] = '\0';
    if (!ok)
        return false;
    space(js);
    return js->p == js->end && !js->out.overflow && !js->spare.overflow;
}

bool js_read(Js *js, Str text)
{
    if (!document(js, text))
        return false;
    if (!js->again)
        return true;
    /* The places of the values have moved. What was written is in order now: read it again. */
    _cleanup_(buf_clear) Buf once = js->out;
    js->out = BUF_INIT(once.max);
    return document(js, buf_as_str(&once));
}

void js_clear(Js *js)
{
    buf_clear(&js->out);
    buf_clear(&js->spare);
    vec_clear(&js->nodes);
    vec_clear(&js->members);
}

const JsNode *js_first(const Js *js, const JsNode *node)
{
    if (!node || (node->type != JS_OBJECT && node->type != JS_ARRAY))
        return NULL;
    const JsNode *first = node + 1;
    return first < &js->nodes.items[node->next] ? first : NULL;
}

const JsNode *js_after(const Js *js, const JsNode *parent, const JsNode *node)
{
    return node->next < parent->next ? &js->nodes.items[node->next] : NULL;
}

const JsNode *js_get(const Js *js, const JsNode *node, const char *key)
{
    Str wanted = str_of(key);

    if (!node || node->type != JS_OBJECT)
        return NULL;
    for (const JsNode *n = js_first(js, node); n; n = js_after(js, node, n))
        if (str_eq(wanted, (Str){js->out.p + n->key, n->key_len}))
            return n;
    return NULL;
}

Str js_text(const Js *js, const JsNode *node)
{
    return (Str){js->out.p + node->at, node->len};
}

bool js_truthy(const Js *js, const JsNode *node)
{
    if (!node)
        return false;
    switch (node->type) {
    case JS_NULL:
    case JS_FALSE:
        return false;
    case JS_NUMBER:
        return !str_eq(js_text(js, node), STR_LIT("0"));
    case JS_STRING:
        return node->len > 2;
    default:
        return true;
    }
}

bool js_is(const Js *js, const JsNode *node, const char *text)
{
    return node && node->type == JS_STRING &&
           str_eq((Str){js->out.p + node->at + 1, node->len - 2}, str_of(text));
}

bool js_string(const Js *js, const JsNode *node, Buf *out)
{
    uint32_t c;

    if (!node || node->type != JS_STRING)
        return false;
    const char *p = js->out.p + node->at + 1, *end = p + node->len - 2;
    while (p < end) {
        const char *slash = memchr(p, '\\', (size_t)(end - p));
        buf_add(out, p, (size_t)((slash ? slash : end) - p));
        if (!slash)
            break;
        p = slash + 2;
        switch (slash[1]) {
        case 'u':
            c = 0xfffd;
            if (hex4(p, end, &c) && c >= 0xd800 && c < 0xe000)
                c = 0xfffd;
            js_add_utf8(out, c);
            p += 4;
            break;
        case 'b':
            buf_char(out, '\b');
            break;
        case 'f':
            buf_char(out, '\f');
            break;
        case 'n':
            buf_char(out, '\n');
            break;
        case 'r':
            buf_char(out, '\r');
            break;
        case 't':
            buf_char(out, '\t');
            break;
        default:
            buf_char(out, slash[1]);
        }
    }
    return true;
}

bool js_id(const Js *js, const JsNode *node, int64_t *ret)
{
    char text[24];

    if (!node || (node->type != JS_STRING && node->type != JS_NUMBER))
        return false;
    Str s = js_text(js, node);
    if (node->type == JS_STRING)
        s = (Str){s.p + 1, s.n - 2};
    if (s.n == 0 || s.n >= sizeof(text))
        return false;
    memcpy(text, s.p, s.n);
    text[s.n] = '\0';
    return parse_int(text, INT64_MIN, INT64_MAX, ret);
}

void js_quote(Buf *out, Str text)
{
    const char *p = text.p, *end = p + text.n;

    buf_char(out, '"');
    while (p < end) {
        const char *run = p;
        while (p < end && is_plain((unsigned char)*p))
            p++;
        buf_add(out, run, (size_t)(p - run));
        if (p >= end)
            break;
        if ((unsigned char)*p >= 0x80)
            p = copy_wide(out, p, end);
        else
            add_escaped(out, (unsigned char)*p++);
    }
    buf_char(out, '"');
}

void js_quote_again(Buf *out, Str text)
{
    const char *p = text.p, *end = p + text.n;
    char *o = buf_room(out, text.n * 2 + 10);
    if (!o)
        return;
    *o++ = '"';
    while (end - p >= 8) {
        uint64_t w;
        memcpy(&w, p, 8);
        memcpy(o, &w, 8);
        uint64_t special = quotes_in(w);
        size_t n = special ? first_of(special) : 8;
        p += n;
        o += n;
        if (special) {
            *o = '\\';
            o += *p == '"' || *p == '\\';
            *o++ = *p++;
        }
    }
    while (p < end) {
        char c = *p++;
        *o = '\\';
        o += c == '"' || c == '\\';
        *o++ = c;
    }
    *o++ = '"';
    *o = '\0';
    out->len = (size_t)(o - out->p);
}
