#include "scale/sidekiq.h"

#include <stdio.h>
#include <time.h>

#define MAX_JOB ((size_t)1 << 20) /* larger ones are not looked into */
#define MS_FROM 1e11              /* a number of at least so much is milliseconds */

/* 0: it is none. */
static double moment(const json_t *v)
{
    double t = json_number_value(v);

    if (json_is_string(v)) {
        char *end = NULL;
        const char *text = json_string_value(v);
        t = strtod(text, &end);
        if (end == text || *end)
            return 0;
    }
    if (!(t > 0))
        return 0;
    return t >= MS_FROM ? t / 1000 : t;
}

static json_t *job_new(Str job)
{
    return job.n <= MAX_JOB ? json_loadb(job.p, job.n, JSON_DISABLE_EOF_CHECK, NULL) : NULL;
}

void sidekiq_job(Str job, SidekiqJob *ret)
{
    _cleanup_json_ json_t *j = job_new(job);
    double at = moment(json_object_get(j, "enqueued_at"));
    const char *name = json_str_or(j, "wrapped", json_str(j, "class"));

    *ret = (SidekiqJob){.at = at > 0 ? at : moment(json_object_get(j, "created_at")),
                        .name = name ? xstrdup(name) : NULL};
}

void sidekiq_job_clear(SidekiqJob *j)
{
    free(j->name);
    *j = (SidekiqJob){0};
}

static int count(const char *s)
{
    int64_t n = 0;

    return s && parse_int(s, 0, 100000, &n) ? (int)n : 0;
}

static void read_info(const json_t *info, SidekiqProcess *p)
{
    const json_t *queues = json_object_get(info, "queues");
    const char *host = json_str(info, "hostname");

    if (host)
        p->host = xstrdup(host);
    p->embedded = json_bool(info, "embedded", false);
    p->threads = (int)json_int(info, "concurrency", 0);
    for (size_t i = 0; i < json_array_size(queues); i++)
        if (json_is_string(json_array_get(queues, i)))
            strlist_add(&p->queues, json_string_value(json_array_get(queues, i)));
    /* From 8.0.9 on, and alone when 9.0 has dropped the list. */
    const json_t *capsules = json_object_get(info, "capsules");
    const char *name = NULL;
    json_t *capsule = NULL;
    if (p->queues.len == 0)
        json_object_foreach ((json_t *)(uintptr_t)capsules, name, capsule) /* it takes no const */
        {
            const char *queue = NULL;
            json_t *weight = NULL;
            json_object_foreach (json_object_get(capsule, "weights"), queue, weight) {
                strlist_add(&p->queues, queue);
            }
        }
}

void sidekiq_process(const char *identity, const char *const fields[static 5], double now,
                     SidekiqProcess *ret)
{
    const char *info = fields[0], *beat = fields[3];
    SidekiqProcess p = {.identity = xstrdup(identity)};
    _cleanup_json_ json_t *j = info ? json_loads(info, 0, NULL) : NULL;

    read_info(j, &p);
    if (!p.host) {
        const char *end = strchr(identity, ':');
        p.host = end ? xstrndup(identity, (size_t)(end - identity)) : xstrdup(identity);
    }
    if (count(fields[1]) > 0) /* a field of its own since 8.1.2 */
        p.threads = count(fields[1]);
    p.busy = count(fields[2]);
    p.beat = beat ? strtod(beat, NULL) : 0;
    p.quiet = streq(fields[4], "true");
    p.alive = info && beat && now - p.beat < SIDEKIQ_BEAT_MAX_S;
    *ret = p;
}

void sidekiq_process_clear(SidekiqProcess *p)
{
    free(p->identity);
    free(p->host);
    strlist_clear(&p->queues);
    *p = (SidekiqProcess){0};
}

char *sidekiq_work_queue_new(Str entry)
{
    _cleanup_json_ json_t *j = job_new(entry);
    const char *queue = json_str(j, "queue");

    return queue ? xstrdup(queue) : NULL;
}

char *sidekiq_minute_key(double t, bool of_8)
{
    time_t at = (time_t)t;
    struct tm tm = {0};

    if (!gmtime_r(&at, &tm))
        return xstrdup("j|");
    return of_8 ? xasprintf("j|%02d%02d%02d|%d:%02d", tm.tm_year % 100, tm.tm_mon + 1, tm.tm_mday,
                            tm.tm_hour, tm.tm_min)
                : xasprintf("j|%04d%02d%02d|%d:%d", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday,
                            tm.tm_hour, tm.tm_min);
}
