#include "stream/feed.h"
#include "base/log.h"
#include "stream/redis_link.h"

#define NAMES_MAX 500 /* in one command */

typedef struct Command {
    RedisLink *link;
    const char *argv[NAMES_MAX + 1];
    size_t len[NAMES_MAX + 1];
    int n;
} Command;

struct Feed {
    FeedOptions o;
    RedisLink *listen, *say;
    FeedNumbers numbers;
    Command come, go; /* being put together; too large for a stack */
};

static void command_send(Command *m)
{
    if (m->n > 1)
        redis_link_add(m->link, m->n, m->argv, m->len);
    m->n = 1;
}

static void command_begin(Command *m, RedisLink *link, const char *word)
{
    m->link = link;
    m->argv[0] = word;
    m->len[0] = strlen(word);
    m->n = 1;
}

static void command_name(Command *m, const Channel *c)
{
    m->argv[m->n] = c->name;
    m->len[m->n++] = c->len;
    if (m->n > NAMES_MAX)
        command_send(m);
}

/* Tells Rails that somebody listens: it publishes to homes and lists only then. The key's channel
 * is without the namespace, which stands before the whole. */
static void beat(Feed *f, Channel *c)
{
    char life[24];
    const char *prefix = f->o.config->prefix;
    const StreamSettings *settings = &f->o.config->settings;
    _cleanup_(buf_clear) Buf key = BUF_INIT(BUF_MAX_LINE * 2);

    buf_printf(&key, "%ssubscribed:%s", prefix, c->name + strlen(prefix));
    (void)snprintf(life, sizeof(life), "%lld", (long long)settings->beat_life_ms / SECOND);
    const char *argv[] = {"SET", key.p, "1", "EX", life};
    redis_link_add(f->say, 5, argv, NULL);
    c->beat.kind = WHEEL_CHANNEL;
    wheel_set(f->o.wheel, &c->beat, settings->beat_ms);
}

void feed_due(Feed *f, WheelNode *n)
{
    Channel *c = (Channel *)(void *)((char *)n - offsetof(Channel, beat));
    if (channel_is_heard(c))
        beat(f, c);
}

void feed_end_turn(Feed *f)
{
    Channels *changed = &f->o.hub->changed;
    bool ready = redis_link_is_ready(f->listen);

    command_begin(&f->come, f->listen, "SUBSCRIBE");
    command_begin(&f->go, f->listen, "UNSUBSCRIBE");
    for (size_t i = 0; i < changed->len; i++) {
        Channel *c = changed->items[i];
        bool heard = channel_is_heard(c);
        if (heard && c->beats && !wheel_is_set(&c->beat))
            beat(f, c);
        if (ready && heard && !c->subscribed) {
            command_name(&f->come, c);
            f->numbers.channels++;
        } else if (ready && !heard && c->subscribed) {
            command_name(&f->go, c);
            f->numbers.channels--;
        }
        c->subscribed = ready && heard;
    }
    command_send(&f->come);
    command_send(&f->go);
    for (size_t i = 0; i < changed->len; i++)
        hub_settled(f->o.hub, changed->items[i]);
    changed->len = 0;
    redis_link_flush(f->listen);
    redis_link_flush(f->say);
}

/* ---- after a connection was made ---- */

static void subscribe_again(void *user, Channel *c)
{
    Feed *f = user;

    c->subscribed = channel_is_heard(c);
    if (c->subscribed) {
        command_name(&f->come, c);
        f->numbers.channels++;
    }
}

static void listen_ready(void *user)
{
    Feed *f = user;

    f->numbers.channels = 0;
    command_begin(&f->come, f->listen, "SUBSCRIBE");
    hub_each(f->o.hub, subscribe_again, f);
    command_send(&f->come);
    f->o.renewed(f->o.user);
    redis_link_flush(f->listen);
}

static void beat_again(void *user, Channel *c)
{
    if (c->beats && channel_is_heard(c))
        beat(user, c);
}

static void say_ready(void *user)
{
    Feed *f = user;
    hub_each(f->o.hub, beat_again, f);
    redis_link_flush(f->say);
}

static bool is_word(const redisReply *r, const char *word)
{
    return r->type == REDIS_REPLY_STRING && streq(r->str, word);
}

static void listen_reply(void *user, redisReply *r)
{
    Feed *f = user;

    if (r->type == REDIS_REPLY_ERROR)
        log_warn("Redis: %s", r->str);
    if (r->type != REDIS_REPLY_ARRAY || r->elements != 3 || !is_word(r->element[0], "message") ||
        r->element[2]->type != REDIS_REPLY_STRING)
        return;
    f->numbers.messages++;
    f->o.message(f->o.user, (Str){r->element[1]->str, (size_t)r->element[1]->len},
                 (Str){r->element[2]->str, (size_t)r->element[2]->len});
}

static void say_reply(void *user, redisReply *r)
{
    (void)user;
    if (r->type == REDIS_REPLY_ERROR)
        log_warn("Redis: %s", r->str);
}

void feed_tick(Feed *f, Msec now_mono)
{
    redis_link_tick(f->listen, now_mono);
    redis_link_tick(f->say, now_mono);
}

FeedNumbers feed_numbers(const Feed *f)
{
    return f->numbers;
}

Feed *feed_new(const FeedOptions *o)
{
    Feed *f = NEW(Feed);

    f->o = *o;
    f->listen = redis_link_new(&(RedisLinkOptions){.loop = o->loop,
                                                   .config = o->config,
                                                   .word = "subscriptions",
                                                   .ready = listen_ready,
                                                   .reply = listen_reply,
                                                   .user = f});
    f->say = redis_link_new(&(RedisLinkOptions){.loop = o->loop,
                                                .config = o->config,
                                                .word = "keys",
                                                .ready = say_ready,
                                                .reply = say_reply,
                                                .user = f});
    return f;
}

Feed *feed_free(Feed *f)
{
    if (!f)
        return NULL;
    f->listen = redis_link_free(f->listen);
    f->say = redis_link_free(f->say);
    free(f);
    return NULL;
}
