#include "backup/rate.h"

const char rate_query[] =
    "SELECT count(*), count(*) FILTER (WHERE wait_event_type = 'IO' OR wait_event_type = 'LWLock' "
    "AND wait_event ~ '^(WAL|Buffer)') FROM pg_catalog.pg_stat_activity "
    "WHERE state = 'active' AND backend_type = 'client backend' AND pid <> pg_backend_pid()";

int64_t rate_next(int64_t limit, const RateLook *look)
{
    /* One client that is seen waiting for its commit is no queue. */
    bool busy = look->waiting >= 2 && 3 * look->waiting >= look->active;
    int64_t now = limit > 0 ? limit : MIN(look->measured, RATE_MOST);

    if (busy)
        return MAX(now / 2, RATE_LEAST);
    if (limit == 0)
        return 0;
    int64_t more = limit + limit / 4;
    return more >= RATE_MOST ? 0 : more;
}
