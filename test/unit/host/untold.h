/* That a text does not tell a secret. One of raw bytes (`master`) may begin with a zero and cannot
 * stand in a text as it is: it is looked for as base64 and as hex, too. */
#pragma once
#include "io/crypt.h"

#include <setjmp.h>

#include <cmocka.h>

static void assert_untold(Str text, const Secret *s)
{
    _cleanup_(buf_wipe) Buf base64 = BUF_INIT(BUF_MAX_LINE), hex = BUF_INIT(BUF_MAX_LINE);
    Str raw = secret_expose(s);
    crypt_base64(&base64, raw.p, raw.n);
    crypt_hex(&hex, raw.p, raw.n);
    const Str forms[] = {raw, buf_as_str(&base64), buf_as_str(&hex)};
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        assert_true(forms[i].n >= 16);
        assert_null(memmem(text.p, text.n, forms[i].p, forms[i].n));
    }
}
