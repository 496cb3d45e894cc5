/* Time is milliseconds in an int64_t, everywhere, and is passed in (style.md 13).
 *
 * `Msec` since the Unix epoch for moments (UTC), since an unspecified start for time_mono. Only
 * the edges (verbs, daemon loops, adapters with deadlines) call time_now and time_mono.
 */
#pragma once
#include "base/util.h"

typedef int64_t Msec;
#define SECOND ((Msec)1000)
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)

Msec time_now(void);      /* wall clock */
Msec time_mono(void);     /* never goes back */
void time_sleep(Msec ms); /* ends early on a signal; nothing in a test calls it */

#define TIME_TEXT_MAX 40
/* RFC 3339 in UTC: "2026-11-24T17:31:39Z" (with_ms: ".123Z"). Returns `out`. */
const char *time_format(Msec t, bool with_ms, char out[static TIME_TEXT_MAX]);
/* RFC 7231 date: "Tue, 24 Nov 2026 17:31:39 GMT". */
const char *time_format_http(Msec t, char out[static TIME_TEXT_MAX]);
/* RFC 3339 with Z, an offset or (as OpenStack sends it) no zone at all, which is UTC; a fraction of
 * any length; also a space for the T. */
bool time_parse(const char *s, Msec *ret_t) _must_check_;
bool time_parse_http(const char *s, Msec *ret_t) _must_check_;
/* A calendar's: "18:05" is minute 1085 of the day, "24:00" the next day's first, 0. */
bool time_parse_minute(const char *s, int *ret_minute) _must_check_;
extern const char *const time_days[8]; /* "sun", "mon", ...; NULL-ended */
/* "350 ms", "12 s", "3 min 5 s", "2 h", "5 days": for people. */
const char *time_span(Msec ms, char out[static TIME_TEXT_MAX]);
