/* What is read is written in a form that reads back as itself; jansson agrees that it is JSON. */
#include "base/json.h"
#include "fuzz.h"
#include "stream/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_(js_clear) Js first = JS_INIT, second = JS_INIT;
    _cleanup_(buf_clear) Buf text = BUF_INIT(1 << 24), plain = BUF_INIT(1 << 24);

    if (!js_read(&first, (Str){(const char *)data, size}))
        return 0;
    BUG_IF(!js_read(&second, buf_as_str(&first.out)));
    BUG_IF(!str_eq(buf_as_str(&first.out), buf_as_str(&second.out)));
    BUG_IF(!js_utf8(buf_as_str(&first.out)));
    BUG_IF(first.nodes.items[0].next != first.nodes.len);
    js_quote_again(&text, buf_as_str(&first.out));
    BUG_IF(!js_read(&second, buf_as_str(&text)));
    BUG_IF(!js_string(&second, second.nodes.items, &plain));
    text_of_status(&first, first.nodes.items, &plain);
    return 0;
}
