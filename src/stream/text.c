#include "stream/text.h"
#include <gumbo.h>
#include <utf8proc.h>

/* Text nodes in order, without recursion: the depth is the sender's choice. */
static void walk(const GumboNode *root, Buf *out)
{
    const GumboNode *node = root;
    size_t index = 0; /* of the child of node to look at next */

    for (;;) {
        bool inner = node->type == GUMBO_NODE_ELEMENT;
        if (inner && index < node->v.element.children.length) {
            const GumboNode *child = node->v.element.children.data[index];
            if (child->type == GUMBO_NODE_ELEMENT) {
                node = child;
                index = 0;
                continue;
            }
            if (child->type == GUMBO_NODE_TEXT || child->type == GUMBO_NODE_WHITESPACE ||
                child->type == GUMBO_NODE_CDATA)
                buf_str(out, child->v.text.text);
            index++;
            continue;
        }
        if (node == root)
            return;
        index = node->index_within_parent + 1;
        node = node->parent;
    }
}

/* Line breaks first, as the reference does before it parses. */
static void break_lines(Str html, Buf *out)
{
    static const struct {
        const char *from, *to;
    } breaks[] = {{"<br>", "\n"}, {"<br/>", "\n"}, {"<br />", "\n"}, {"</p><p>", "\n\n"}};

    for (size_t i = 0; i < html.n;) {
        size_t b = 0;
        while (b < ARRAY_LEN(breaks) &&
               (html.n - i < strlen(breaks[b].from) ||
                memcmp(html.p + i, breaks[b].from, strlen(breaks[b].from)) != 0))
            b++;
        if (b < ARRAY_LEN(breaks)) {
            buf_str(out, breaks[b].to);
            i += strlen(breaks[b].from);
        } else {
            buf_char(out, html.p[i++]);
        }
    }
}

void text_of_html(Str html, Buf *out)
{
    _cleanup_(buf_clear) Buf lines = BUF_INIT(BUF_MAX_BODY);
    break_lines(html, &lines);
    if (!memchr(lines.p, '<', lines.len) && !memchr(lines.p, '&', lines.len) &&
        !memchr(lines.p, '\0', lines.len) && !memchr(lines.p, '\r', lines.len)) {
        buf_add(out, lines.p, lines.len);
        return;
    }
    GumboOptions options = kGumboDefaultOptions;
    options.fragment_context = GUMBO_TAG_BODY;
    options.max_errors = 0;
    GumboOutput *parsed = gumbo_parse_with_options(&options, lines.p, lines.len);
    if (!parsed)
        return;
    walk(parsed->root, out);
    gumbo_destroy_output(&options, parsed);
}

static void add_html(const Js *js, const JsNode *text, bool *first, Buf *html)
{
    if (!*first)
        buf_str(html, "\n\n");
    *first = false;
    (void)js_string(js, text, html); /* null adds nothing */
}

void text_of_status(const Js *js, const JsNode *status, Buf *out)
{
    _cleanup_(buf_clear) Buf html = BUF_INIT(BUF_MAX_BODY);
    bool first = true;

    add_html(js, js_get(js, status, "spoiler_text"), &first, &html);
    add_html(js, js_get(js, status, "content"), &first, &html);
    const JsNode *options = js_get(js, js_get(js, status, "poll"), "options");
    for (const JsNode *o = js_first(js, options); o; o = js_after(js, options, o))
        add_html(js, js_get(js, o, "title"), &first, &html);
    const JsNode *media = js_get(js, status, "media_attachments");
    for (const JsNode *m = js_first(js, media); m; m = js_after(js, media, m))
        add_html(js, js_get(js, m, "description"), &first, &html);
    text_of_html(buf_as_str(&html), out);
}

void text_units(Str utf8, Units *out)
{
    const char *p = utf8.p, *end = p + utf8.n;

    while (p < end) {
        uint32_t c = js_char(&p);
        if (c >= 0x10000) {
            vec_push(out, (uint16_t)(0xd800 + ((c - 0x10000) >> 10)));
            vec_push(out, (uint16_t)(0xdc00 + ((c - 0x10000) & 0x3ff)));
        } else {
            vec_push(out, (uint16_t)c);
        }
    }
}

uint16_t text_fold(uint16_t unit)
{
    if (unit < 0x80)
        return unit >= 'a' && unit <= 'z' ? (uint16_t)(unit - 32) : unit;
    if (unit >= 0xd800 && unit < 0xe000)
        return unit;
    /* utf8proc maps sharp s to its capital; JavaScript's full mapping has two letters for it, which
     * Canonicalize does not use. */
    if (unit == 0xdf || unit == 0x149 || unit == 0x1f0 || unit == 0x390 || unit == 0x3b0 ||
        unit == 0x587 || (unit >= 0x1e96 && unit <= 0x1e9a) || (unit >= 0xfb00 && unit <= 0xfb17) ||
        (unit >= 0x1f50 && unit <= 0x1f56 && !(unit & 1)) || (unit >= 0x1f80 && unit <= 0x1ffc))
        return unit >= 0x1f80 && unit <= 0x1ffc &&
                       (unit == 0x1fb0 || unit == 0x1fb1 || unit == 0x1fd0 || unit == 0x1fd1 ||
                        unit == 0x1fe0 || unit == 0x1fe1 || unit == 0x1fe5 || unit == 0x1fbe)
                   ? (uint16_t)utf8proc_toupper(unit)
                   : unit;
    utf8proc_int32_t up = utf8proc_toupper(unit);
    return up < 0x80 || up > 0xffff ? unit : (uint16_t)up;
}
