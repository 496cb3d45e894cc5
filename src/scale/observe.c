#include "scale/observe.h"

#include <math.h>
#include <stdio.h>
#include <uthash.h>

#define DRAIN_MARK_S "3600" /* who drains for longer has an agent that calls it unwell */
#define MINUTE_KEYS 4       /* this minute's and the last one's, in two forms */
#define BUSY_MEMORY_S 120.0 /* of the mean of what a queue keeps busy */

/* What stays the same about a process is read once. */
typedef struct Known {
    SidekiqProcess p;
    bool there;
    UT_hash_handle hh;
} Known;

/* What was seen of a queue. */
typedef struct Past {
    char *name;
    double len, done, ms, busy;
    bool seen; /* len is of the last tick */
    UT_hash_handle hh;
} Past;

struct Observer {
    char *prefix, *lease, *holder;
    Msec lease_ms;
    Known *known;
    Past *past;
    json_t *minutes; /* {key: {field: n}} of the last tick */
    json_t *classes; /* {class: queue} */
    double at, processed, offset_s;
    bool began, by_class; /* some tick was done; run-time counters were seen */
    size_t turn;          /* whose work is looked into next */
};

/* KEYS: lease, generation. ARGV: holder, milliseconds. {ours, generation, holder} */
static const char lease_script[] =
    "local h = redis.call('GET', KEYS[1]) "
    "if not h then redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) "
    "return {1, redis.call('INCR', KEYS[2]), ARGV[1]} end "
    "if h == ARGV[1] then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end "
    "return {h == ARGV[1] and 1 or 0, tonumber(redis.call('GET', KEYS[2]) or 0), h}";
static const char leave_script[] = "if redis.call('GET', KEYS[1]) == ARGV[1] then "
                                   "return redis.call('DEL', KEYS[1]) end return 0";

Observer *observer_new(const ObserveOptions *options)
{
    Observer *o = NEW(Observer);

    o->prefix = xstrdup(options->prefix ? options->prefix : "");
    o->lease = options->lease ? xstrdup(options->lease) : NULL;
    o->holder = options->holder ? xstrdup(options->holder) : NULL;
    o->lease_ms = options->lease_ms;
    o->minutes = json_object();
    o->classes = json_object();
    return o;
}

Observer *observer_free(Observer *o)
{
    if (!o)
        return NULL;
    Known *k = o->known;
    Past *p = o->past;
    HASH_CLEAR(hh, o->known);
    HASH_CLEAR(hh, o->past);
    while (k) {
        Known *next = k->hh.next;
        sidekiq_process_clear(&k->p);
        free(k);
        k = next;
    }
    while (p) {
        Past *next = p->hh.next;
        free(p->name);
        free(p);
        p = next;
    }
    free(o->prefix);
    free(o->lease);
    free(o->holder);
    json_decref(o->minutes);
    json_decref(o->classes);
    free(o);
    return NULL;
}

void observed_clear(Observed *o)
{
    for (size_t i = 0; i < o->queues.len; i++)
        free(o->queues.items[i].name);
    for (size_t i = 0; i < o->processes.len; i++)
        sidekiq_process_clear(&o->processes.items[i]);
    vec_clear(&o->queues);
    vec_clear(&o->processes);
    free(o->holder);
    *o = (Observed){0};
}

const ObservedQueue *observed_queue(const Observed *o, const char *name)
{
    for (size_t i = 0; i < o->queues.len; i++)
        if (streq(o->queues.items[i].name, name))
            return &o->queues.items[i];
    return NULL;
}

static void send_key(const Observer *o, Redis *r, const char *command, const char *key,
                     const char *const *more)
{
    const char *argv[12] = {command};
    _cleanup_free_ char *whole = xasprintf("%s%s", o->prefix, key);
    size_t n = 1;

    argv[n++] = whole;
    for (; more && *more; more++)
        argv[n++] = *more;
    redis_send(r, argv);
}

/* An error reply is one answer's own; only a lost connection, a login that is none and a server
 * that loads are everybody's. */
static int next(Redis *r, RedisReply *ret, Err *err)
{
    _cleanup_(err_clear) Err one = {0};
    int k = redis_next(r, ret, &one);

    if (k == 0)
        return 0;
    if (redis_broken(r) || k == -ERR_AUTH || k == -ERR_TEMPORARY)
        return err_move(err, &one);
    *ret = (RedisReply){.type = REDIS_NIL};
    return 0;
}

typedef struct First {
    RedisReply queues, processes, paused, time, processed, due[2], minutes[MINUTE_KEYS], lease;
} First;

static void first_clear(First *f)
{
    RedisReply *all[] = {&f->queues,    &f->processes, &f->paused, &f->time,
                         &f->processed, &f->due[0],    &f->due[1], &f->lease};

    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        redis_reply_clear(all[i]);
    for (size_t i = 0; i < MINUTE_KEYS; i++)
        redis_reply_clear(&f->minutes[i]);
}
DEFINE_CLEAR(First, first_clear)

static void send_lease(const Observer *o, Redis *r)
{
    _cleanup_free_ char *key = xasprintf("atoll:scale:%s", o->lease);
    _cleanup_free_ char *generation = xasprintf("atoll:scale:%s:generation", o->lease);
    _cleanup_free_ char *ms = xasprintf("%lld", (long long)o->lease_ms);

    redis_send(
        r, (const char *const[]){"EVAL", lease_script, "2", key, generation, o->holder, ms, NULL});
}

static int ask_first(Observer *o, Redis *r, double now, char *const minutes[MINUTE_KEYS], First *f,
                     Err *err)
{
    char in_60[64], in_300[64];

    snprintf(in_60, sizeof in_60, "%.3f", now + o->offset_s + 60);
    snprintf(in_300, sizeof in_300, "%.3f", now + o->offset_s + 300);
    send_key(o, r, "SMEMBERS", "queues", NULL);
    send_key(o, r, "SMEMBERS", "processes", NULL);
    send_key(o, r, "SMEMBERS", "paused", NULL);
    redis_send(r, (const char *const[]){"TIME", NULL});
    send_key(o, r, "GET", "stat:processed", NULL);
    send_key(o, r, "ZCOUNT", "retry", (const char *const[]){"-inf", in_60, NULL});
    send_key(o, r, "ZCOUNT", "retry", (const char *const[]){"-inf", in_300, NULL});
    for (size_t i = 0; i < MINUTE_KEYS; i++)
        send_key(o, r, "HGETALL", minutes[i], NULL);
    if (o->lease)
        send_lease(o, r);
    RedisReply *order[] = {&f->queues,    &f->processes, &f->paused, &f->time,
                           &f->processed, &f->due[0],    &f->due[1]};
    int k = 0;
    for (size_t i = 0; k == 0 && i < ARRAY_LEN(order); i++)
        k = next(r, order[i], err);
    for (size_t i = 0; k == 0 && i < MINUTE_KEYS; i++)
        k = next(r, &f->minutes[i], err);
    return k == 0 && o->lease ? next(r, &f->lease, err) : k;
}

static double number(const RedisReply *reply)
{
    return reply->type == REDIS_INTEGER ? (double)reply->integer
           : reply->text                ? strtod(reply->text, NULL)
                                        : 0;
}

static void read_lease(const Observer *o, const RedisReply *lease, Observed *ret)
{
    if (!o->lease || lease->type != REDIS_LIST || lease->len != 3)
        return;
    ret->leader = lease->items[0].integer == 1;
    ret->generation = lease->items[1].integer;
    if (!ret->leader && lease->items[2].text)
        ret->holder = xstrdup(lease->items[2].text);
}

static bool member(const RedisReply *set, const char *name)
{
    for (size_t i = 0; set->type == REDIS_LIST && i < set->len; i++)
        if (streq(set->items[i].text, name))
            return true;
    return false;
}

static Past *past_of(Observer *o, const char *name)
{
    Past *p = NULL;

    HASH_FIND_STR(o->past, name, p);
    if (p)
        return p;
    p = NEW(Past);
    p->name = xstrdup(name);
    HASH_ADD_KEYPTR(hh, o->past, p->name, strlen(p->name), p);
    return p;
}

static int by_number(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

/* The last elements, the oldest last. The middle of three: one that was put back after a TERM has
 * its old enqueued_at (sidekiq#5506). */
static double age_of(Observer *o, const RedisReply *tail, const char *queue, double now)
{
    double at[3];
    size_t n = 0;

    for (size_t i = 0; tail->type == REDIS_LIST && i < tail->len && n < 3; i++) {
        const RedisReply *text = &tail->items[i];
        _cleanup_(sidekiq_job_clear) SidekiqJob job = {0};
        if (text->text)
            sidekiq_job((Str){text->text, text->len}, &job);
        if (job.at <= 0)
            continue;
        at[n++] = job.at;
        if (job.name && !json_object_get(o->classes, job.name) &&
            json_object_size(o->classes) < 4096)
            json_object_set_new(o->classes, job.name, json_string(queue));
    }
    if (n == 0)
        return 0;
    qsort(at, n, sizeof *at, by_number);
    return fmax(now - at[n == 3 ? 1 : 0], 0);
}

static void send_queues(const Observer *o, Redis *r, const First *f, Observed *ret)
{
    for (size_t i = 0; f->queues.type == REDIS_LIST && i < f->queues.len; i++) {
        const char *name = f->queues.items[i].text;
        if (!name)
            continue;
        if (ret->queues.len == OBSERVE_QUEUES) {
            ret->left_out++;
            continue;
        }
        _cleanup_free_ char *key = xasprintf("queue:%s", name);
        send_key(o, r, "LLEN", key, NULL);
        send_key(o, r, "LRANGE", key, (const char *const[]){"-3", "-1", NULL});
        vec_push(&ret->queues,
                 (ObservedQueue){.name = xstrdup(name), .paused = member(&f->paused, name)});
    }
}

static int next_queue(Observer *o, Redis *r, ObservedQueue *q, double now, Err *err)
{
    _cleanup_(redis_reply_clear) RedisReply len = {0};
    _cleanup_(redis_reply_clear) RedisReply tail = {0};
    int k = next(r, &len, err);

    if (k == 0)
        k = next(r, &tail, err);
    q->known = len.type == REDIS_INTEGER;
    q->len = (double)len.integer;
    q->age_s = age_of(o, &tail, q->name, now);
    return k;
}

static Known *known_of(const Observer *o, const char *identity)
{
    Known *k = NULL;

    HASH_FIND_STR(o->known, identity, k);
    return k;
}

static void send_process(const Observer *o, Redis *r, const char *identity)
{
    static const char *const all[] = {"info", "concurrency", "busy", "beat", "quiet", NULL};

    send_key(o, r, "HMGET", identity, known_of(o, identity) ? all + 1 : all);
}

/* What is known of it already is not read again: it can't change for this identity. */
static int next_process(Observer *o, Redis *r, const char *identity, double now, Observed *ret,
                        Err *err)
{
    _cleanup_(redis_reply_clear) RedisReply hash = {0};
    Known *k = known_of(o, identity);
    const char *fields[5] = {0};
    size_t skip = k ? 1 : 0;
    int result = next(r, &hash, err);

    for (size_t i = skip; hash.type == REDIS_LIST && i < 5 && i - skip < hash.len; i++)
        fields[i] = hash.items[i - skip].text;
    if (k && fields[3])
        fields[0] = "{}";
    SidekiqProcess p;
    sidekiq_process(identity, fields, now, &p);
    if (!k && p.alive) {
        k = NEW(Known);
        k->p = (SidekiqProcess){.identity = xstrdup(identity),
                                .host = xstrdup(p.host),
                                .embedded = p.embedded,
                                .threads = p.threads};
        for (size_t i = 0; i < p.queues.len; i++)
            strlist_add(&k->p.queues, p.queues.items[i]);
        HASH_ADD_KEYPTR(hh, o->known, k->p.identity, strlen(k->p.identity), k);
    } else if (k) {
        free(p.host);
        p.host = xstrdup(k->p.host);
        p.embedded = k->p.embedded;
        p.threads = p.threads > 0 ? p.threads : k->p.threads;
        for (size_t i = 0; i < k->p.queues.len; i++)
            strlist_add(&p.queues, k->p.queues.items[i]);
    }
    if (k)
        k->there = true;
    if (p.alive)
        ret->busy += p.busy;
    vec_push(&ret->processes, p);
    return result;
}

/* Which queues the threads are at work on, of some processes in turn. */
static int next_work(Redis *r, json_t *busy, Err *err)
{
    _cleanup_(redis_reply_clear) RedisReply work = {0};
    int k = next(r, &work, err);

    for (size_t i = 1; work.type == REDIS_LIST && i < work.len; i += 2) {
        const RedisReply *entry = &work.items[i];
        _cleanup_free_ char *queue =
            entry->text ? sidekiq_work_queue_new((Str){entry->text, entry->len}) : NULL;
        if (queue)
            json_object_set_new(busy, queue, json_integer(json_int(busy, queue, 0) + 1));
    }
    return k;
}

static void forget_gone(Observer *o)
{
    Known *k = o->known;

    HASH_CLEAR(hh, o->known);
    while (k) {
        Known *next = k->hh.next;
        if (k->there) {
            k->there = false;
            HASH_ADD_KEYPTR(hh, o->known, k->p.identity, strlen(k->p.identity), k);
        } else {
            sidekiq_process_clear(&k->p);
            free(k);
        }
        k = next;
    }
}

static int ask_second(Observer *o, Redis *r, const First *f, json_t *busy, Observed *ret, Err *err)
{
    size_t n = f->processes.type == REDIS_LIST ? MIN(f->processes.len, OBSERVE_PROCESSES) : 0;
    size_t looked = MIN(n, OBSERVE_WORK);
    int k = 0;

    ret->left_out += f->processes.type == REDIS_LIST ? f->processes.len - n : 0;
    send_queues(o, r, f, ret);
    for (size_t i = 0; i < n; i++)
        send_process(o, r, f->processes.items[i].text ? f->processes.items[i].text : "");
    for (size_t i = 0; i < looked; i++) {
        const char *identity = f->processes.items[(o->turn + i) % n].text;
        /* `:workers` up to 6.4.1. */
        _cleanup_free_ char *work = xasprintf("%s:work", identity ? identity : "");
        _cleanup_free_ char *workers = xasprintf("%s:workers", identity ? identity : "");
        send_key(o, r, "HGETALL", work, NULL);
        send_key(o, r, "HGETALL", workers, NULL);
    }
    for (size_t i = 0; k == 0 && i < ret->queues.len; i++)
        k = next_queue(o, r, &ret->queues.items[i], ret->epoch, err);
    for (size_t i = 0; k == 0 && i < n; i++)
        k = next_process(o, r, f->processes.items[i].text ? f->processes.items[i].text : "",
                         ret->epoch, ret, err);
    for (size_t i = 0; k == 0 && i < 2 * looked; i++)
        k = next_work(r, busy, err);
    o->turn = n ? (o->turn + looked) % n : 0;
    if (k == 0)
        forget_gone(o);
    return k;
}

/* What the run-time counters of classes have grown by: into the queues that are known, the rest
 * into *rest. True if there are such counters. */
static bool count_classes(Observer *o, char *const keys[MINUTE_KEYS], const First *f,
                          double *ret_done, double *ret_ms)
{
    json_t *minutes = json_object();
    bool any = false;

    for (size_t i = 0; i < MINUTE_KEYS; i++) {
        const RedisReply *hash = &f->minutes[i];
        const json_t *before = json_object_get(o->minutes, keys[i]);
        json_t *fields = json_object();
        for (size_t k = 0; hash->type == REDIS_LIST && k + 1 < hash->len; k += 2) {
            const char *field = hash->items[k].text, *value = hash->items[k + 1].text;
            const char *bar = field ? strrchr(field, '|') : NULL;
            int64_t n = 0;
            if (!bar || !value || !parse_int(value, 0, INT64_MAX, &n))
                continue;
            any = true;
            json_object_set_new(fields, field, json_integer(n));
            double grown = (double)(n - json_integer_value(json_object_get(before, field)));
            bool done = streq(bar, "|p"), ms = streq(bar, "|ms");
            if (!o->began || grown <= 0 || !(done || ms))
                continue;
            _cleanup_free_ char *name = xstrndup(field, (size_t)(bar - field));
            const char *queue = json_string_value(json_object_get(o->classes, name));
            Past *p = queue ? past_of(o, queue) : NULL;
            *(done ? (p ? &p->done : ret_done) : (p ? &p->ms : ret_ms)) += grown;
        }
        json_object_set_new(minutes, keys[i], fields);
    }
    json_decref(o->minutes);
    o->minutes = minutes;
    return any;
}

/* Shares out what was done in no queue that is known: by what each keeps busy, and at least what a
 * queue has lost in length. */
static void share_out(Observer *o, const Observed *seen, double done, double ms)
{
    double busy = 0, lost = 0;

    for (size_t i = 0; i < seen->queues.len; i++) {
        const Past *p = past_of(o, seen->queues.items[i].name);
        busy += p->busy;
        lost += p->seen ? fmax(p->len - seen->queues.items[i].len, 0) : 0;
    }
    double plain = fmax(done - lost, 0), some = done < lost && lost > 0 ? done / lost : 1;
    for (size_t i = 0; i < seen->queues.len; i++) {
        Past *p = past_of(o, seen->queues.items[i].name);
        double share = busy > 0 ? p->busy / busy : 1 / (double)seen->queues.len;
        p->done +=
            plain * share + (p->seen ? fmax(p->len - seen->queues.items[i].len, 0) : 0) * some;
        p->ms += ms * share;
    }
}

static void note_busy(Observer *o, const json_t *busy, double factor, double dt)
{
    double w = dt > 0 ? 1 - exp(-dt / BUSY_MEMORY_S) : 1;
    const char *name = NULL;
    json_t *n = NULL;

    json_object_foreach ((json_t *)(uintptr_t)busy, name, n) /* it takes no const */
    {
        (void)past_of(o, name);
    }
    for (Past *p = o->past, *after = NULL; p; p = after) {
        after = p->hh.next;
        double now = (double)json_integer_value(json_object_get(busy, p->name)) * factor;
        p->busy += (now - p->busy) * w;
    }
}

static void count_work(Observer *o, char *const keys[MINUTE_KEYS], const First *f,
                       const json_t *busy, Observed *ret)
{
    double dt = o->began ? fmax(ret->epoch - o->at, 0) : 0, done = 0, ms = 0, sum = 0;
    double processed = number(&f->processed), before = o->processed;
    const char *name = NULL;
    json_t *n = NULL;

    json_object_foreach ((json_t *)(uintptr_t)busy, name, n) /* it takes no const */
    {
        sum += (double)json_integer_value(n);
    }
    note_busy(o, busy, sum > 0 ? ret->busy / sum : 1, dt);
    ret->reset = o->began && processed < before;
    o->by_class |= count_classes(o, keys, f, &done, &ms);
    if (!o->by_class && o->began && !ret->reset) {
        done = processed - before;
        ms = ret->busy * dt * 1000; /* Little's law: what is busy is what is worked off */
    }
    share_out(o, ret, done, ms);
    o->processed = processed;
    o->at = ret->epoch;
    for (size_t i = 0; i < ret->queues.len; i++) {
        ObservedQueue *q = &ret->queues.items[i];
        Past *p = past_of(o, q->name);
        if (q->known)
            p->len = q->len;
        p->seen = q->known;
        q->done = p->done;
        q->ms = p->ms;
        q->busy = p->busy;
    }
    o->began = true;
}

int observer_tick(Observer *o, Redis *r, double now, Observed *ret, Err *err)
{
    double redis_now = now + o->offset_s;
    char *keys[MINUTE_KEYS];
    _cleanup_(first_clear) First f = {0};
    _cleanup_json_ json_t *busy = json_object();

    observed_clear(ret);
    for (size_t i = 0; i < MINUTE_KEYS; i++)
        keys[i] = sidekiq_minute_key(redis_now - (i & 1 ? 60 : 0), i & 2);
    int k = ask_first(o, r, now, keys, &f, err);
    if (k == 0 && f.time.type == REDIS_LIST && f.time.len == 2)
        ret->epoch = number(&f.time.items[0]) + number(&f.time.items[1]) / 1e6;
    else
        ret->epoch = redis_now;
    if (k == 0) {
        o->offset_s = ret->offset_s = ret->epoch - now;
        ret->due_60 = number(&f.due[0]);
        ret->due_300 = number(&f.due[1]);
        read_lease(o, &f.lease, ret);
        k = ask_second(o, r, &f, busy, ret, err);
    }
    if (k == 0)
        count_work(o, keys, &f, busy, ret);
    for (size_t i = 0; i < MINUTE_KEYS; i++)
        free(keys[i]);
    return k < 0 ? err_wrap(err, "looking at the queues") : 0;
}

int observer_signal(const Observer *o, Redis *r, const char *identity, const char *signal_name,
                    Err *err)
{
    _cleanup_free_ char *key = xasprintf("%s-signals", identity);
    _cleanup_free_ char *mark = xasprintf(SIDEKIQ_DRAIN_MARK "%s", identity);
    int result = 0;

    redis_send(r, (const char *const[]){"MULTI", NULL});
    send_key(o, r, "LPUSH", key, (const char *const[]){signal_name, NULL});
    send_key(o, r, "EXPIRE", key, (const char *const[]){"60", NULL});
    if (streq(signal_name, "TSTP"))
        redis_send(r, (const char *const[]){"SET", mark, "1", "EX", DRAIN_MARK_S, NULL});
    redis_send(r, (const char *const[]){"EXEC", NULL});
    for (int i = 0; i < (streq(signal_name, "TSTP") ? 5 : 4); i++) {
        _cleanup_(redis_reply_clear) RedisReply reply = {0};
        _cleanup_(err_clear) Err one = {0};
        int k = redis_next(r, &reply, &one);
        if (k < 0 && result == 0)
            result = err_move(err, &one);
    }
    return result < 0 ? err_wrap(err, "telling %s to %s", identity, signal_name) : 0;
}

int observer_leave(const Observer *o, Redis *r, Err *err)
{
    _cleanup_(redis_reply_clear) RedisReply reply = {0};
    if (!o->lease)
        return 0;
    _cleanup_free_ char *key = xasprintf("atoll:scale:%s", o->lease);
    return redis_command(r, (const char *const[]){"EVAL", leave_script, "1", key, o->holder, NULL},
                         &reply, err);
}
