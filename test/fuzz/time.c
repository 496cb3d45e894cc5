/* A moment that was read is written and read back the same; so are spans and sizes bounded. */
#include "base/time.h"
#include "base/table.h"
#include "fuzz.h"

/* The years that have four digits; an offset may lead out of them. */
#define FIRST ((Msec)-62167219200 * SECOND)
#define LAST ((Msec)253402300800 * SECOND - 1)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_free_ char *s = fuzz_string_new(data, size);
    char text[TIME_TEXT_MAX];
    Msec t, back;
    if (time_parse(s, &t) && t >= FIRST && t <= LAST) {
        BUG_IF(!time_parse(time_format(t, true, text), &back) || back != t);
        BUG_IF(!time_parse_http(time_format_http(t, text), &back));
        BUG_IF(t - back < 0 || t - back >= SECOND);
    }
    if (time_parse_http(s, &t) && t <= LAST)
        BUG_IF(!time_parse(time_format(t, false, text), &back) || back != t);
    int64_t value;
    if (span_parse(s, &value))
        BUG_IF(value < 0 || strlen(time_span(value, text)) == 0);
    BUG_IF(size_parse(s, &value) && value < 0);

    /* Any number at all can be shown. */
    memset(&t, 0, sizeof t);
    memcpy(&t, data, size < sizeof t ? size : sizeof t);
    BUG_IF(strlen(time_format(t, true, text)) >= TIME_TEXT_MAX);
    BUG_IF(strlen(time_format_http(t, text)) >= TIME_TEXT_MAX);
    BUG_IF(strlen(time_span(t, text)) >= TIME_TEXT_MAX);
    return 0;
}
