/* How fast a base backup may read when it follows the primary's load. Pure.
 *
 * Each second the server is asked how many of its clients work, and how many of them wait for its
 * disk or its log at that moment (pg_stat_activity: wait_event_type IO, and the LWLocks of the log
 * and of buffers). When they wait, the backup gives way: half the rate. When they do not, it takes
 * a quarter more, up to no limit at all. Below RATE_LEAST it never goes, or it would not end.
 */
#pragma once
#include "base/util.h"

#define RATE_LEAST ((int64_t)4 << 20) /* bytes a second */
#define RATE_MOST ((int64_t)1 << 30)  /* from here on there is no limit */

typedef struct RateLook {
    int64_t active, waiting; /* clients that work; of these, that wait for disk or log */
    int64_t measured;        /* bytes a second that went through lately */
} RateLook;
extern const char rate_query[]; /* one row: active, waiting */
/* The next limit; 0: none. */
int64_t rate_next(int64_t limit, const RateLook *look);
