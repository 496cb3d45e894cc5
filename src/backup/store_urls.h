/* The file of PUT-only addresses: inside of backup/ and for `atoll backup audit`, which writes it.
 *
 * A line: "<not before, RFC 3339> <prefix TempURL for PUT>"; empty lines and such with a '#' are
 * passed over. An address ends (before its '?') at "host/": names below that are put behind it.
 * What stands behind the '?' is a secret.
 */
#pragma once
#include "base/buf.h"
#include "base/err.h"
#include "base/secret.h"
#include "base/time.h"
#include "base/vec.h"

#define URLS_REACH "host/"

typedef struct Url {
    Msec from, until;
    char *base; /* to the "host/" at its end */
    Secret *query;
} Url;
typedef VEC(Url) UrlList;
void urls_clear(UrlList *l);
DEFINE_CLEAR(UrlList, urls_clear)
/* Pure. `name` is for messages, which never show an address. ERR_CONFIG. */
int urls_parse(const char *name, Str text, UrlList *ret, Err *err) _must_check_;
/* Pure. The one that began last; NULL: none has begun. */
const Url *urls_choose(const UrlList *l, Msec now);
