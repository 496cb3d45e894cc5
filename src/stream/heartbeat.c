#include "base/log.h"
#include "stream/internal.h"

#define NAMES_MAX 500 /* in one command */

typedef struct Command {
    RedisLink *link;
    const char *argv[NAMES_MAX + 1];
    size_t len[NAMES_MAX + 1];
    int n;
} Command;

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
static void beat(Server *s, Channel *c)
{
    char life[24];
    const char *prefix = s->config->prefix;
    _cleanup_(buf_clear) Buf key = BUF_INIT(BUF_MAX_LINE * 2);

    buf_printf(&key, "%ssubscribed:%s", prefix, c->name + strlen(prefix));
    (void)snprintf(life, sizeof(life), "%lld", (long long)s->settings->beat_life_ms / SECOND);
    const char *argv[] = {"SET", key.p, "1", "EX", life};
    redis_link_add(s->say_link, 5, argv, NULL);
    c->beat.kind = WHEEL_CHANNEL;
    wheel_set(&s->wheel, &c->beat, s->settings->beat_ms);
}

void heartbeat_due(Server *s, Channel *c)
{
    if (c->first)
        beat(s, c);
}

/* What came and went in this turn. */
void heartbeat_end_turn(Server *s)
{
    static Command come, go;
    Channels *changed = &s->hub.changed;
    bool ready = redis_link_is_ready(s->listen_link);

    command_begin(&come, s->listen_link, "SUBSCRIBE");
    command_begin(&go, s->listen_link, "UNSUBSCRIBE");
    for (size_t i = 0; i < changed->len; i++) {
        Channel *c = changed->items[i];
        if (c->first && c->beats && !wheel_is_set(&c->beat))
            beat(s, c);
        if (ready && c->first && !c->subscribed) {
            command_name(&come, c);
            s->hub.redis_channels++;
        } else if (ready && !c->first && c->subscribed) {
            command_name(&go, c);
            s->hub.redis_channels--;
        }
        c->subscribed = ready && c->first;
    }
    command_send(&come);
    command_send(&go);
    for (size_t i = 0; i < changed->len; i++)
        hub_settled(&s->hub, changed->items[i]);
    changed->len = 0;
    redis_link_flush(s->listen_link);
    redis_link_flush(s->say_link);
}

/* ---- after a connection was made ---- */

static void subscribe_again(void *user, Channel *c)
{
    Command *m = user;
    if (c->first)
        command_name(m, c);
    c->subscribed = c->first;
}

static void count(void *user, Channel *c)
{
    *(uint32_t *)user += c->subscribed;
}

static void listen_ready(void *user)
{
    static Command m;
    Server *s = user;

    command_begin(&m, s->listen_link, "SUBSCRIBE");
    hub_each(&s->hub, subscribe_again, &m);
    command_send(&m);
    s->hub.redis_channels = 0;
    hub_each(&s->hub, count, &s->hub.redis_channels);
    /* What was said meanwhile was not heard: filters may be others now. */
    hub_filters_forget(&s->hub, NULL);
    redis_link_flush(s->listen_link);
}

static void beat_again(void *user, Channel *c)
{
    if (c->first && c->beats)
        beat(user, c);
}

static void say_ready(void *user)
{
    Server *s = user;
    hub_each(&s->hub, beat_again, s);
    redis_link_flush(s->say_link);
}

static bool is_word(const redisReply *r, const char *word)
{
    return r->type == REDIS_REPLY_STRING && streq(r->str, word);
}

static void listen_reply(void *user, redisReply *r)
{
    if (r->type == REDIS_REPLY_ERROR)
        log_warn("Redis: %s", r->str);
    if (r->type != REDIS_REPLY_ARRAY || r->elements != 3 || !is_word(r->element[0], "message") ||
        r->element[2]->type != REDIS_REPLY_STRING)
        return;
    message_received(user, (Str){r->element[1]->str, (size_t)r->element[1]->len},
                     (Str){r->element[2]->str, (size_t)r->element[2]->len});
}

static void say_reply(void *user, redisReply *r)
{
    (void)user;
    if (r->type == REDIS_REPLY_ERROR)
        log_warn("Redis: %s", r->str);
}

void heartbeat_open(Server *s)
{
    s->listen_link = redis_link_new(&(RedisLinkOptions){.loop = &s->loop,
                                                        .config = s->config,
                                                        .word = "subscriptions",
                                                        .ready = listen_ready,
                                                        .reply = listen_reply,
                                                        .user = s});
    s->say_link = redis_link_new(&(RedisLinkOptions){.loop = &s->loop,
                                                     .config = s->config,
                                                     .word = "keys",
                                                     .ready = say_ready,
                                                     .reply = say_reply,
                                                     .user = s});
}
