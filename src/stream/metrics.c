#include "stream/metrics.h"
#include <dirent.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

static const char *const kinds[CLIENT_KINDS] = {"websocket", "eventsource"};

typedef struct Row {
    const char *name, *type, *help;
    size_t offset;
} Row;
#define AT(field) offsetof(Metrics, field)
static const Row rows[] = {
    {"redis_subscriptions", "gauge", "Redis channels subscribed to", AT(redis_channels)},
    {"redis_messages_received_total", "counter", "Messages received from Redis",
     AT(redis_messages)},
    {"pg_pool_total_connections", "gauge", "Connections to PostgreSQL", AT(pg.total)},
    {"pg_pool_idle_connections", "gauge", "Connections to PostgreSQL that have nothing to do",
     AT(pg.idle)},
    {"pg_pool_waiting_queries", "gauge", "Queries that wait for a connection", AT(pg.waiting)},
    {"atoll_stream_connections", "gauge", "Open sockets of clients", AT(connections)},
    {"atoll_stream_statements_total", "counter", "Statements sent to PostgreSQL",
     AT(pg.statements)},
    {"atoll_stream_statements_failed_total", "counter", "Statements that failed", AT(pg.failed)},
};
/* One metric, atoll_stream_refused_total, by reason. */
static const struct {
    const char *reason;
    size_t offset;
} refused[] = {
    {"connections", AT(over_connections)},
    {"connections_per_address", AT(over_address)},
    {"connections_per_account", AT(over_account)},
    {"subscriptions_per_connection", AT(over_subscriptions)},
    {"queue", AT(over_queue)},
    {"message", AT(over_message)},
    {"pending", AT(over_pending)},
    {"backlog", AT(over_backlog)},
    {"handshake", AT(handshake_late)},
    {"ping", AT(ping_late)},
    {"malformed", AT(malformed)},
    {"filter_failed", AT(failed_filter)},
    {"bad_request", AT(bad_requests)},
    {"killed", AT(killed)},
};

_Static_assert(sizeof(Metrics) % sizeof(uint64_t) == 0 && sizeof(size_t) == sizeof(uint64_t),
               "all that is counted is 64 bits wide");

static uint64_t value(const Metrics *m, size_t offset)
{
    uint64_t v;
    memcpy(&v, (const char *)m + offset, sizeof(v));
    return v;
}

void metrics_add(Metrics *to, const Metrics *more)
{
    for (size_t at = 0; at < sizeof(Metrics); at += sizeof(uint64_t)) {
        uint64_t sum = value(to, at) + value(more, at);
        memcpy((char *)to + at, &sum, sizeof(sum));
    }
}

static void head(Buf *out, const char *name, const char *type, const char *help)
{
    buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void process_numbers(Buf *out)
{
    struct rusage use;
    struct rlimit files;
    unsigned long long pages = 0, open = 0;

    (void)getrusage(RUSAGE_SELF, &use); /* cannot fail */
    head(out, "process_cpu_user_seconds_total", "counter", "User CPU time in seconds");
    buf_printf(out, "process_cpu_user_seconds_total %lld.%06ld\n", (long long)use.ru_utime.tv_sec,
               (long)use.ru_utime.tv_usec);
    head(out, "process_cpu_system_seconds_total", "counter", "System CPU time in seconds");
    buf_printf(out, "process_cpu_system_seconds_total %lld.%06ld\n", (long long)use.ru_stime.tv_sec,
               (long)use.ru_stime.tv_usec);
    FILE *f = fopen("/proc/self/statm", "re");
    if (f) {
        char line[128] = "";
        char *end = NULL;
        if (fgets(line, sizeof(line), f)) {
            (void)strtoull(line, &end, 10);
            pages = strtoull(end, NULL, 10);
        }
        (void)fclose(f);
    }
    head(out, "process_resident_memory_bytes", "gauge", "Resident memory in bytes");
    buf_printf(out, "process_resident_memory_bytes %llu\n",
               pages * (unsigned long long)sysconf(_SC_PAGESIZE));
    DIR *d = opendir("/proc/self/fd");
    while (d && readdir(d))
        open++;
    if (d)
        (void)closedir(d);
    head(out, "process_open_fds", "gauge", "Open file descriptors");
    buf_printf(out, "process_open_fds %llu\n", open > 3 ? open - 3 : 0);
    head(out, "process_max_fds", "gauge", "File descriptors at most");
    if (getrlimit(RLIMIT_NOFILE, &files) == 0)
        buf_printf(out, "process_max_fds %llu\n", (unsigned long long)files.rlim_cur);
}

void metrics_write(const Metrics *m, Buf *out)
{
    head(out, "connected_clients", "gauge", "Clients connected");
    for (int k = 0; k < CLIENT_KINDS; k++)
        buf_printf(out, "connected_clients{type=\"%s\"} %llu\n", kinds[k],
                   (unsigned long long)m->clients[k]);
    head(out, "connected_channels", "gauge", "Streams that clients are subscribed to");
    for (int k = 0; k < CLIENT_KINDS; k++)
        for (int i = 0; i < STREAMS; i++)
            buf_printf(out, "connected_channels{type=\"%s\",channel=\"%s\"} %llu\n", kinds[k],
                       stream_row((StreamId)i)->name, (unsigned long long)m->streams[k][i]);
    head(out, "messages_sent_total", "counter", "Messages sent to clients");
    for (int k = 0; k < CLIENT_KINDS; k++)
        buf_printf(out, "messages_sent_total{type=\"%s\"} %llu\n", kinds[k],
                   (unsigned long long)m->sent[k]);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        head(out, rows[i].name, rows[i].type, rows[i].help);
        buf_printf(out, "%s %llu\n", rows[i].name, (unsigned long long)value(m, rows[i].offset));
    }
    head(out, "atoll_stream_refused_total", "counter", "Refused, cut or dropped, by reason");
    for (size_t i = 0; i < ARRAY_LEN(refused); i++)
        buf_printf(out, "atoll_stream_refused_total{reason=\"%s\"} %llu\n", refused[i].reason,
                   (unsigned long long)value(m, refused[i].offset));
    process_numbers(out);
}
