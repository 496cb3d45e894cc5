/* What parses is written as one line that parses to the same value and is written the same. */
#include "base/json.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_(err_clear) Err err = {0};
    _cleanup_json_ json_t *first = json_parse_new((const char *)data, size, &err);
    BUG_IF(!first != (err.kind == ERR_CORRUPT));
    if (!first)
        return 0;
    _cleanup_free_ char *text = json_text_new(first);
    BUG_IF(strchr(text, '\n'));
    _cleanup_json_ json_t *second = json_parse_new(text, strlen(text), NULL);
    BUG_IF(!second || !json_equal(first, second));
    _cleanup_free_ char *again = json_text_new(second);
    BUG_IF(!streq(text, again));

    (void)json_str(first, "a.b");
    (void)json_int(first, "a", 0);
    (void)json_bool(first, "a.b.c", false);
    return 0;
}
