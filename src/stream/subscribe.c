#include "stream/internal.h"

#define UNEXPECTED "An unexpected error occurred"

/* What a client said, before it is understood. All JSON texts; n 0: not there. */
typedef struct Words {
    bool subscribe;
    const JsNode *stream, *tag, *list; /* in js_small */
} Words;

/* Tells the client, each kind in its way. */
static void refuse(Server *s, Conn *c, bool subscribe, int status, const char *text)
{
    _cleanup_(buf_clear) Buf body = BUF_INIT(BUF_MAX_LINE);

    if (c->kind == CLIENT_EVENTSOURCE) {
        serve_error(s, c, status, text);
        return;
    }
    buf_str(&body, "{\"error\":");
    js_quote(&body, str_of(subscribe ? text : "Error unsubscribing from channel"));
    if (subscribe)
        buf_printf(&body, ",\"status\":%d", status);
    buf_char(&body, '}');
    conn_ws_frame(s, c, WS_OP_TEXT, buf_as_str(&body));
}

static void refuse_ask(Server *s, Conn *c, int status, const char *text)
{
    refuse(s, c, c->input->ask.subscribe, status, text);
}

static Ask *ask_of(Conn *c)
{
    Ask *a = &conn_input(c)->ask;

    buf_truncate(&a->tag, 0);
    buf_truncate(&a->label, 0);
    a->list = 0;
    return a;
}

/* ---- the end of it: subscribed or not ---- */

static void add_subscription(Server *s, Conn *c, Subscription *sub, StreamId stream)
{
    sub->conn = c;
    sub->stream = (uint8_t)stream;
    sub->since = s->messages;
    sub->next = c->subscriptions;
    c->subscriptions = sub;
    c->subscriptions_len++;
    s->metrics.streams[c->kind][stream] += stream == STREAM_SYSTEM ? sub->links_len : 1;
}

static void remove_subscription(Server *s, Conn *c, Subscription *sub)
{
    Subscription **at = &c->subscriptions;

    while (*at != sub)
        at = &(*at)->next;
    *at = sub->next;
    c->subscriptions_len--;
    s->metrics.streams[c->kind][sub->stream] -= sub->stream == STREAM_SYSTEM ? sub->links_len : 1;
    hub_unsubscribe(&s->hub, sub);
}

void unsubscribe_all(Server *s, Conn *c)
{
    while (c->subscriptions)
        remove_subscription(s, c, c->subscriptions);
}

static size_t channels_of(const Server *s, const Conn *c, const Ask *a, Buf names[STREAM_CHANNELS])
{
    StreamAsk ask = {.id = a->stream,
                     .account = c->account->id,
                     .number = a->stream == STREAM_SYSTEM ? c->token : a->list,
                     .notifications = stream_allowed(STREAM_USER_NOTIFICATION, c->scopes),
                     .tag = buf_as_str(&a->tag)};
    return stream_channels(&ask, s->config->prefix, names);
}

static void names_init(Buf names[STREAM_CHANNELS])
{
    for (size_t i = 0; i < STREAM_CHANNELS; i++)
        names[i] = BUF_INIT(UINT16_MAX);
}

static void names_clear(Buf names[STREAM_CHANNELS])
{
    for (size_t i = 0; i < STREAM_CHANNELS; i++)
        buf_clear(&names[i]);
}

void subscribe_system(Server *s, Conn *c)
{
    Buf names[STREAM_CHANNELS];
    Ask a = {.stream = STREAM_SYSTEM, .tag = BUF_INIT(1)};

    names_init(names);
    size_t n = channels_of(s, c, &a, names);
    add_subscription(s, c, hub_subscribe(&s->hub, names, n, false), STREAM_SYSTEM);
    names_clear(names);
}

/* Nothing stands in the way. */
static void settle(Server *s, Conn *c, const bool deny[2])
{
    Ask *a = &c->input->ask;
    Buf names[STREAM_CHANNELS];

    names_init(names);
    size_t n = channels_of(s, c, a, names);
    Subscription *there = hub_find(&s->hub, c->subscriptions, names, n);
    if (!a->subscribe) {
        if (there)
            remove_subscription(s, c, there);
    } else if (!there) {
        Subscription *sub = hub_subscribe(&s->hub, names, n, true);
        sub->deny_local = deny[0];
        sub->deny_remote = deny[1];
        sub->own_label = a->label.len > 0;
        if (sub->own_label)
            sub->label = xstrdup(a->label.p);
        else
            sub->fixed_label = stream_row(a->stream)->label;
        add_subscription(s, c, sub, a->stream);
    }
    names_clear(names);
    if (c->kind == CLIENT_EVENTSOURCE)
        serve_sse_start(s, c);
}

/* ---- what PostgreSQL says ---- */

/* The connection waited for this; it goes on afterwards. */
static bool is_waiting(Conn *c)
{
    bool was = c->busy || c->state == CONN_ASKING;
    c->busy = false;
    return was && c->input;
}

void subscribe_list_answer(Server *s, Conn *c, bool ok, int64_t owner)
{
    static const bool deny[2];

    if (!is_waiting(c))
        return;
    if (ok && owner == c->account->id)
        settle(s, c, deny);
    else
        refuse_ask(s, c, 401, "Not authorized to stream this list");
    conn_resume(s, c);
}

void subscribe_access_answer(Server *s, Conn *c, bool ok, const FeedAccess *access)
{
    if (!is_waiting(c))
        return;
    if (ok)
        settle(s, c, access->deny[stream_row(c->input->ask.stream)->access == ACCESS_TOPIC]);
    else
        refuse_ask(s, c, 500, UNEXPECTED);
    conn_resume(s, c);
}

/* ---- what is asked ---- */

static void wait_for_answer(Server *s, Conn *c)
{
    if (c->kind == CLIENT_EVENTSOURCE) {
        c->state = CONN_ASKING;
        conn_timer(s, c);
    } else {
        c->busy = true;
    }
}

/* c->input->ask is complete. */
static void go(Server *s, Conn *c)
{
    static const bool deny[2];
    const Ask *a = &c->input->ask;
    const StreamRow *row = stream_row(a->stream);

    if (a->subscribe && c->subscriptions_len > (uint64_t)s->settings->subscriptions) {
        s->metrics.over_subscriptions++; /* the system's own is not counted: hence not >= */
        refuse_ask(s, c, 429, "Too many subscriptions");
    } else if (row->asks == PARAMETER_LIST) {
        wait_for_answer(s, c);
        lookup_list(s->lookup, conn_ref(c), a->list);
    } else if (a->subscribe && row->access != ACCESS_ANY && !c->view_feeds) {
        wait_for_answer(s, c);
        lookup_access(s->lookup, conn_ref(c));
    } else {
        settle(s, c, deny);
    }
}

/* The label ["hashtag",TAG] with the tag as the client wrote it. */
static void add_label(Ask *a, const Js *js, const JsNode *parameter)
{
    Str text = js_text(js, parameter);

    buf_printf(&a->label, "[\"%s\",", stream_row(a->stream)->name);
    buf_add(&a->label, text.p, text.n);
    buf_char(&a->label, ']');
}

static bool is_missing(const JsNode *n)
{
    return !n || n->type == JS_NULL || n->type == JS_FALSE ||
           ((n->type == JS_STRING || n->type == JS_ARRAY) && n->len == 2);
}

static void ask_tag(Server *s, Conn *c, const Words *w)
{
    _cleanup_(buf_clear) Buf tag = BUF_INIT(BUF_MAX_LINE);
    Ask *a = &c->input->ask;

    if (is_missing(w->tag)) {
        refuse_ask(s, c, 400, "Missing tag name parameter");
        return;
    }
    if (!js_string(&s->js_small, w->tag, &tag)) {
        refuse_ask(s, c, 500, UNEXPECTED);
        return;
    }
    tag_normal(buf_as_str(&tag), &a->tag);
    add_label(a, &s->js_small, w->tag);
    go(s, c);
}

static void ask_list(Server *s, Conn *c, const Words *w)
{
    Ask *a = &c->input->ask;

    if (is_missing(w->list)) {
        refuse_ask(s, c, 400, "Missing list name parameter");
        return;
    }
    if (!js_id(&s->js_small, w->list, &a->list)) {
        refuse_ask(s, c, 401, "Not authorized to stream this list");
        return;
    }
    add_label(a, &s->js_small, w->list);
    go(s, c);
}

static void ask_stream(Server *s, Conn *c, const Words *w)
{
    const StreamRow *row = stream_row(c->input->ask.stream);

    if (row->asks == PARAMETER_TAG)
        ask_tag(s, c, w);
    else if (row->asks == PARAMETER_LIST)
        ask_list(s, c, w);
    else
        go(s, c);
}

/* By name: scopes are looked at first, then whether there is such a stream. */
static void ask_name(Server *s, Conn *c, const Words *w)
{
    _cleanup_(buf_clear) Buf name = BUF_INIT(BUF_MAX_LINE);
    StreamId stream = STREAM_USER; /* what is unknown needs what most need */
    Ask *a = ask_of(c);

    a->subscribe = w->subscribe;
    bool known =
        js_string(&s->js_small, w->stream, &name) && stream_by_name(buf_as_str(&name), &stream);
    if (w->subscribe && !stream_allowed(stream, c->scopes)) {
        refuse_ask(s, c, 401, "Access token does not have the required scopes");
        return;
    }
    if (!known) {
        refuse_ask(s, c, 400, "Unknown stream type");
        return;
    }
    a->stream = stream;
    ask_stream(s, c, w);
}

void subscribe_word(Server *s, Conn *c, Str text)
{
    Js *js = &s->js_small;

    if (!js_read(js, text) || js->nodes.items[0].type != JS_OBJECT)
        return; /* as the reference: in silence */
    const JsNode *root = &js->nodes.items[0], *type = js_get(js, root, "type");
    Words w = {.subscribe = js_is(js, type, "subscribe"),
               .stream = js_get(js, root, "stream"),
               .tag = js_get(js, root, "tag"),
               .list = js_get(js, root, "list")};
    if (!w.subscribe && !js_is(js, type, "unsubscribe"))
        return;
    if (w.stream && w.stream->type == JS_ARRAY)
        w.stream = js_first(js, w.stream);
    ask_name(s, c, &w);
}

/* Makes {"stream":..,"tag":..,"list":..} of a query, so that both ways are one. */
static size_t query_words(Server *s, const Conn *c, Words *w)
{
    static const char *const names[] = {"stream", "tag", "list"};
    const JsNode **const into[] = {&w->stream, &w->tag, &w->list};
    _cleanup_(buf_clear) Buf json = BUF_INIT(BUF_MAX_LINE * 8);
    Str query = c->input->head.query;
    bool repeated = false;

    buf_char(&json, '{');
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        _cleanup_(buf_clear) Buf value = BUF_INIT(HEAD_MAX);
        size_t n = query_value(query, names[i], &value);
        if (n == 0)
            continue;
        buf_printf(&json, "%s\"%s\":", json.len > 1 ? "," : "", names[i]);
        /* Express makes an array of what is repeated. */
        repeated = n > 1 && c->kind == CLIENT_EVENTSOURCE;
        buf_str(&json, repeated ? "[" : "");
        js_quote(&json, buf_as_str(&value));
        buf_str(&json, repeated ? "]" : "");
    }
    buf_char(&json, '}');
    *w = (Words){.subscribe = true};
    if (!js_read(&s->js_small, buf_as_str(&json)))
        return 0;
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        *into[i] = js_get(&s->js_small, &s->js_small.nodes.items[0], names[i]);
    return 1;
}

void subscribe_query(Server *s, Conn *c)
{
    Words w;

    if (query_words(s, c, &w) && js_truthy(&s->js_small, w.stream))
        ask_name(s, c, &w);
}

void subscribe_sse(Server *s, Conn *c)
{
    _cleanup_(buf_clear) Buf media = BUF_INIT(HEAD_MAX);
    Words w;
    Ask *a = ask_of(c);

    a->subscribe = true;
    a->stream = c->input->sse_stream;
    if (query_value(c->input->head.query, "only_media", &media) && query_truthy(buf_as_str(&media)))
        a->stream = stream_row(a->stream)->media;
    c->state = CONN_ASKING;
    if (!stream_allowed(a->stream, c->scopes))
        refuse_ask(s, c, 401, "Access token does not have the required scopes");
    else if (query_words(s, c, &w))
        ask_stream(s, c, &w);
    conn_resume(s, c);
}
