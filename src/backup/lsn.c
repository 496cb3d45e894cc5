#include "backup/lsn.h"

#include <ctype.h>
#include <stdio.h>

const char *lsn_format(Lsn l, char out[static LSN_TEXT_MAX])
{
    (void)snprintf(out, LSN_TEXT_MAX, "%X/%X", (unsigned)(l >> 32), (unsigned)l);
    return out;
}

/* Up to 8 hex digits; *s moves behind them. */
static bool hex32(const char **s, size_t exactly, uint32_t *ret)
{
    size_t n = 0;
    uint32_t value = 0;

    while (n < 8 && isxdigit((unsigned char)(*s)[n])) {
        int c = tolower((unsigned char)(*s)[n++]);
        value = value << 4 | (uint32_t)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    if (n == 0 || (exactly && n != exactly))
        return false;
    *s += n;
    *ret = value;
    return true;
}

bool lsn_parse(const char *s, Lsn *ret)
{
    uint32_t high, low;

    if (!hex32(&s, 0, &high) || *s++ != '/' || !hex32(&s, 0, &low) || *s)
        return false;
    *ret = (Lsn)high << 32 | low;
    return true;
}

const char *segment_format(Timeline tli, Lsn at, uint32_t segment_bytes,
                           char out[static SEGMENT_NAME_MAX])
{
    uint64_t number = at / segment_bytes, each = (UINT64_C(1) << 32) / segment_bytes;

    (void)snprintf(out, SEGMENT_NAME_MAX, "%08X%08X%08X", tli, (unsigned)(number / each),
                   (unsigned)(number % each));
    return out;
}

bool segment_parse(const char *name, uint32_t segment_bytes, Timeline *ret_tli, Lsn *ret_start)
{
    uint32_t tli, high, low;
    uint64_t each = (UINT64_C(1) << 32) / segment_bytes;

    if (!hex32(&name, 8, &tli) || !hex32(&name, 8, &high) || !hex32(&name, 8, &low) || *name ||
        low >= each)
        return false;
    *ret_tli = tli;
    *ret_start = (high * each + low) * segment_bytes;
    return true;
}

bool history_parse(const char *name, Timeline *ret_tli)
{
    uint32_t tli;

    if (!hex32(&name, 8, &tli) || !streq(name, ".history"))
        return false;
    *ret_tli = tli;
    return true;
}
