#include "base/log.h"
#include "stream/internal.h"

void frame_cache_clear(FrameCache *cache)
{
    cache->sse = frame_unref(cache->sse);
    for (size_t i = 0; i < cache->ws_len; i++)
        (void)frame_unref(cache->ws[i].frame);
    cache->ws_len = 0;
}

/* The frame for one spelling of the stream's name: viewers of one share it. */
static Frame *ws_frame(Server *s, const char *label, const FrameEvent *e, FrameCache *cache)
{
    size_t i = 0;

    while (i < cache->ws_len && cache->ws[i].label != label && !streq(cache->ws[i].label, label))
        i++;
    if (i < cache->ws_len)
        return cache->ws[i].frame;
    Frame *f = frame_ws_new(e, str_of(label), &s->scratch);
    if (i == ARRAY_LEN(cache->ws)) {
        i--;
        (void)frame_unref(cache->ws[i].frame);
    } else {
        cache->ws_len++;
    }
    cache->ws[i].label = label;
    cache->ws[i].frame = f;
    return f;
}

void message_send(Server *s, const Subscription *to, const FrameEvent *e, FrameCache *cache)
{
    Conn *c = to->conn;

    if (c->dead || c->state != CONN_OPEN)
        return;
    s->metrics.sent[c->kind]++;
    if (c->kind == CLIENT_WEBSOCKET) {
        conn_queue(s, c, ws_frame(s, to->label, e, cache));
        return;
    }
    if (!cache->sse)
        cache->sse = frame_sse_new(e, &s->scratch);
    conn_queue(s, c, cache->sse);
}

void message_deliver(Server *s, Channel *ch, const Delivery *d)
{
    FrameCache cache = {0};
    FrameEvent e = {.event = d->event, .payload = d->payload};

    for (const Link *l = ch->first; l; l = l->next)
        if (l->of->since < d->number)
            message_send(s, l->of, &e, &cache);
    frame_cache_clear(&cache);
}

static void kill_connection(Server *s, Conn *c)
{
    if (c->dead || c->state == CONN_CLOSING)
        return;
    s->metrics.killed++;
    if (c->state == CONN_OPEN)
        conn_farewell(s, c, WS_CLOSE_NONE);
    else
        conn_close(s, c);
}

/* For the server, not for clients. */
static void system_message(Server *s, Channel *ch, const JsNode *event)
{
    if (js_is(&s->js, event, "kill")) {
        for (Link *l = ch->first, *next; l; l = next) {
            next = l->next; /* the connection takes its link away */
            kill_connection(s, l->of->conn);
        }
    } else if (js_is(&s->js, event, "filters_changed")) {
        for (Link *l = ch->first; l; l = l->next)
            hub_filters_forget(&s->hub, l->of->conn->account);
    }
}

void message_received(Server *s, Str channel, Str text)
{
    Channel *ch = hub_channel(&s->hub, channel);

    s->messages++;
    if (!ch || !ch->first)
        return;
    if (!js_read(&s->js, text) || s->js.nodes.items[0].type != JS_OBJECT) {
        s->metrics.malformed++;
        log_warn("a message on %s is not JSON", ch->name);
        return;
    }
    const JsNode *root = s->js.nodes.items, *event = js_get(&s->js, root, "event"),
                 *payload = js_get(&s->js, root, "payload");
    if (ch->first->of->stream == STREAM_SYSTEM) {
        system_message(s, ch, event);
        return;
    }
    if (!js_truthy(&s->js, event) || !js_truthy(&s->js, payload))
        return;
    Delivery d = {.event = js_text(&s->js, event),
                  .payload = js_text(&s->js, payload),
                  .number = s->messages};
    if (!jobs_take(s->jobs, ch, &d, payload))
        message_deliver(s, ch, &d);
}
