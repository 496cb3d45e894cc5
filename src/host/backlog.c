#include "host/backlog.h"

#define MAX_QUEUES 64

static bool name_ok(const char *s)
{
    size_t n = strlen(s);

    return n >= 1 && n <= 64 &&
           strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == n;
}

static int by_name(const void *a, const void *b)
{
    const RedisReply *one = a, *other = b;

    return strcmp(one->text ? one->text : "", other->text ? other->text : "");
}

static int ask_queues(Redis *redis, json_t *queues, Err *err)
{
    _cleanup_(redis_reply_clear) RedisReply names = {0};
    int r = redis_command(redis, (const char *const[]){"SMEMBERS", "queues", NULL}, &names, err);

    if (r < 0 || names.type != REDIS_LIST)
        return r;
    if (names.len)
        qsort(names.items, names.len, sizeof *names.items, by_name);
    for (size_t i = 0, asked = 0; i < names.len && asked < MAX_QUEUES; i++) {
        _cleanup_(redis_reply_clear) RedisReply n = {0};
        const char *name = names.items[i].text;

        if (!name || !name_ok(name))
            continue;
        asked++;
        _cleanup_free_ char *key = xasprintf("queue:%s", name);
        r = redis_command(redis, (const char *const[]){"LLEN", key, NULL}, &n, err);
        if (r < 0)
            return r;
        if (n.integer > 0)
            json_object_set_new(queues, name, json_integer((json_int_t)n.integer));
    }
    return 0;
}

/* The set may still name a process that is dead: its own hash is gone by then. */
static int ask_busy(Redis *redis, int64_t *ret, Err *err)
{
    _cleanup_(redis_reply_clear) RedisReply names = {0};
    int r = redis_command(redis, (const char *const[]){"SMEMBERS", "processes", NULL}, &names, err);

    for (size_t i = 0; r == 0 && names.type == REDIS_LIST && i < names.len; i++) {
        _cleanup_(redis_reply_clear) RedisReply busy = {0};
        int64_t n;

        if (!names.items[i].text)
            continue;
        r = redis_command(redis, (const char *const[]){"HGET", names.items[i].text, "busy", NULL},
                          &busy, err);
        if (r == 0 && busy.text && parse_int(busy.text, 0, INT32_MAX, &n))
            *ret += n;
    }
    return r;
}

int backlog_ask(Redis *redis, json_t **ret, Err *err)
{
    _cleanup_json_ json_t *queues = json_object();
    int64_t busy = 0;

    int r = ask_queues(redis, queues, err);
    if (r == 0)
        r = ask_busy(redis, &busy, err);
    if (r == 0)
        *ret = json_make_new("{s:O, s:I}", "queues", queues, "busy", (json_int_t)busy);
    return r;
}
