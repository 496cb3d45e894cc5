#include "bench/sample.h"
#include "bench/peer.h"
#include <libpq-fe.h>
#include <sys/resource.h>
#include <unistd.h>

static bool read_file(const char *path, char *text, size_t size)
{
    FILE *f = fopen(path, "re");
    if (!f)
        return false;
    size_t n = fread(text, 1, size - 1, f);
    text[n] = 0;
    (void)fclose(f);
    return n > 0;
}

/* Seconds of a process; with those of its children that have ended, if asked. */
static double process_cpu(int pid, bool waited)
{
    char path[64], text[1024];
    double ticks = 0;

    (void)snprintf(path, sizeof path, "/proc/%d/stat", pid);
    if (!read_file(path, text, sizeof text))
        return 0;
    char *at = strrchr(text, ')'); /* a program's name may hold anything */
    for (int field = 2; at && field < (waited ? 17 : 15); field++) {
        at = strchr(at + 1, ' ');
        if (at && field >= 13)
            ticks += strtod(at, NULL);
    }
    return ticks / (double)sysconf(_SC_CLK_TCK);
}

static double tree_cpu(int pid)
{
    char path[64];
    static char text[1 << 16];
    double total = process_cpu(pid, true);

    (void)snprintf(path, sizeof path, "/proc/%d/task/%d/children", pid, pid);
    if (!read_file(path, text, sizeof text))
        return total;
    for (char *at = text, *end; *at; at = end) {
        long child = strtol(at, &end, 10);
        if (end == at)
            break;
        total += process_cpu((int)child, false);
    }
    return total;
}

static void statements(const char *conninfo, Sample *s)
{
    PGconn *c = PQconnectdb(conninfo);
    PGresult *r = PQexec(
        c, "SELECT coalesce(sum(total_exec_time), 0) / 1000, coalesce(sum(calls), 0)::bigint "
           "FROM pg_stat_statements WHERE query !~ 'pg_stat_statements'");
    if (PQresultStatus(r) == PGRES_TUPLES_OK) {
        s->statement_s = strtod(PQgetvalue(r, 0, 0), NULL);
        s->statements = strtoll(PQgetvalue(r, 0, 1), NULL, 10);
    }
    PQclear(r);
    PQfinish(c);
}

void sample_take(const SampleOf *of, Sample *ret)
{
    struct rusage usage;

    *ret = (Sample){.statement_s = -1};
    if (of->conninfo)
        statements(of->conninfo, ret);
    if (of->postgres_pid)
        ret->postgres_cpu_s = tree_cpu(of->postgres_pid);
    if (of->server_pid)
        ret->server_cpu_s = process_cpu(of->server_pid, false);
    (void)getrusage(RUSAGE_SELF, &usage);
    ret->client_cpu_s = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                        (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
    ret->wall_s = peer_now();
}

bool sample_memory(int pid, int64_t *ret_private_kb, int64_t *ret_resident_kb)
{
    char path[64], text[4096];
    int64_t private = 0;

    (void)snprintf(path, sizeof path, "/proc/%d/smaps_rollup", pid);
    if (!read_file(path, text, sizeof text))
        return false;
    for (const char *at = text; (at = strstr(at, "\nPrivate_")); at++) {
        const char *colon = strchr(at, ':');
        private += colon ? strtoll(colon + 1, NULL, 10) : 0;
    }
    const char *rss = strstr(text, "\nRss:");
    *ret_resident_kb = rss ? strtoll(rss + 5, NULL, 10) : 0;
    *ret_private_kb = private;
    return true;
}
