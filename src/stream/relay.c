#include "stream/relay.h"
#include "io/crypt.h"
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#define TURN_BYTES ((size_t)1 << 20)  /* of messages; then others have a turn */
#define KEPT_BYTES ((size_t)64 << 10) /* of a buffer that was used */

_Static_assert(STREAM_LOOPS_MAX <= 8 * sizeof(((Channel *)NULL)->loops), "a bit for each loop");

/* What Redis said, with its channel in front. */
typedef struct Message {
    atomic_uint refs;
    uint32_t channel_len;
    size_t text_len;
    char bytes[]; /* both, each with a NUL behind it */
} Message;

/* What is on its way to a loop. */
typedef struct Inbox {
    VEC(Message *) messages;
    VEC(int) sockets;
    size_t bytes; /* of messages */
    bool behind, renewed, drain;
} Inbox;

struct Port {
    Relay *relay;
    uint32_t bit;
    uv_async_t woken; /* in the loop */
    const PortEvents *events;
    void *user;
    atomic_uint open; /* connections that were given and have not ended */
    Inbox next;       /* the relay's: of this turn */
    Inbox taken;      /* the loop's: being worked on */
    size_t at;        /* the next message in `taken` */
    Buf draft;        /* the loop's: being put together */

    pthread_mutex_t lock; /* of all below */
    Inbox inbox;
    Buf wishes; /* see add_wish; empty: the relay has taken them */
    bool more;  /* wishes wait for that */
    bool ended;
    Metrics numbers;
};

struct Relay {
    RelayOptions o;
    Hub hub;
    uv_async_t woken;
    Buf draft; /* the wishes of a loop, being read */
    Port *ports;
    pthread_mutex_t lock; /* of `numbers` */
    Metrics numbers;
};

/* ---- messages ---- */

static Message *message_new(Str channel, Str text)
{
    Message *m = xcalloc(1, sizeof(*m) + channel.n + text.n + 2);

    atomic_init(&m->refs, 1);
    m->channel_len = (uint32_t)channel.n;
    m->text_len = text.n;
    memcpy(m->bytes, channel.p, channel.n);
    memcpy(m->bytes + channel.n + 1, text.p, text.n);
    return m;
}

static size_t message_size(const Message *m)
{
    return sizeof(*m) + m->channel_len + m->text_len;
}

static void message_unref(Message *m)
{
    if (atomic_fetch_sub_explicit(&m->refs, 1, memory_order_acq_rel) == 1)
        free(m);
}

static void inbox_drop_messages(Inbox *in, size_t from)
{
    for (size_t i = from; i < in->messages.len; i++)
        message_unref(in->messages.items[i]);
    in->messages.len = 0;
    in->bytes = 0;
}

static void inbox_clear(Inbox *in, size_t from)
{
    inbox_drop_messages(in, from);
    for (size_t i = 0; i < in->sockets.len; i++)
        (void)close(in->sockets.items[i]);
    vec_clear(&in->messages);
    vec_clear(&in->sockets);
}

/* What was in it is somewhere else now. */
static void inbox_reset(Inbox *in)
{
    if (in->messages.cap > KEPT_BYTES / sizeof(Message *))
        vec_clear(&in->messages);
    in->messages.len = in->sockets.len = in->bytes = 0;
    in->behind = in->renewed = in->drain = false;
}

static bool inbox_is_empty(const Inbox *in)
{
    return !in->messages.len && !in->sockets.len && !in->behind && !in->renewed && !in->drain;
}

/* ---- the relay: to the loops ---- */

/* Too much: nothing of it is worth more than that its clients come back and read it all. */
static void fall_behind(Inbox *in)
{
    inbox_drop_messages(in, 0);
    in->behind = true;
}

static void post(Port *p, Message *m)
{
    Inbox *next = &p->next;

    if (next->behind)
        return;
    if (next->bytes + message_size(m) > p->relay->o.backlog_bytes) {
        fall_behind(next);
        return;
    }
    atomic_fetch_add_explicit(&m->refs, 1, memory_order_relaxed);
    next->bytes += message_size(m);
    vec_push(&next->messages, m);
}

void relay_message(Relay *r, Str channel, Str text)
{
    const Channel *c = hub_channel(&r->hub, channel);

    if (!c || !c->loops)
        return;
    Message *m = message_new(channel, text);
    for (uint32_t left = c->loops; left; left &= left - 1)
        post(&r->ports[__builtin_ctz(left)], m);
    message_unref(m);
}

void relay_renewed(Relay *r)
{
    for (size_t i = 0; i < r->o.ports; i++)
        r->ports[i].next.renewed = true;
}

void relay_drain(Relay *r)
{
    for (size_t i = 0; i < r->o.ports; i++)
        r->ports[i].next.drain = true;
}

static unsigned open_of(const Port *p)
{
    return atomic_load_explicit(&p->open, memory_order_relaxed);
}

void relay_connection(Relay *r, int fd)
{
    Port *least = r->ports;

    for (size_t i = 1; i < r->o.ports; i++)
        if (open_of(&r->ports[i]) < open_of(least))
            least = &r->ports[i];
    atomic_fetch_add_explicit(&least->open, 1, memory_order_relaxed);
    vec_push(&least->next.sockets, fd);
}

uint64_t relay_connections(const Relay *r)
{
    uint64_t n = 0;
    for (size_t i = 0; i < r->o.ports; i++)
        n += open_of(&r->ports[i]);
    return n;
}

/* Adds `next` to the inbox, under the lock. */
static void inbox_add(Inbox *in, Inbox *next, size_t backlog_bytes)
{
    if (in->behind || next->behind || in->bytes + next->bytes > backlog_bytes) {
        inbox_drop_messages(next, 0);
        fall_behind(in);
    }
    for (size_t i = 0; i < next->messages.len; i++)
        vec_push(&in->messages, next->messages.items[i]);
    for (size_t i = 0; i < next->sockets.len; i++)
        vec_push(&in->sockets, next->sockets.items[i]);
    in->bytes += next->bytes;
    in->renewed = in->renewed || next->renewed;
    in->drain = in->drain || next->drain;
}

static void hand_over(Port *p)
{
    Inbox *next = &p->next;

    if (inbox_is_empty(next))
        return;
    pthread_mutex_lock(&p->lock);
    bool waiting = !inbox_is_empty(&p->inbox); /* it was woken for that, and has not come yet */
    inbox_add(&p->inbox, next, p->relay->o.backlog_bytes);
    pthread_mutex_unlock(&p->lock);
    inbox_reset(next);
    if (!waiting)
        (void)uv_async_send(&p->woken);
}

void relay_end_turn(Relay *r, const Metrics *own)
{
    pthread_mutex_lock(&r->lock);
    r->numbers = *own;
    pthread_mutex_unlock(&r->lock);
    for (size_t i = 0; i < r->o.ports; i++)
        hand_over(&r->ports[i]);
}

/* ---- a loop: what comes ---- */

/* Takes all that waits. */
static void take(Port *p)
{
    Inbox *t = &p->taken;

    pthread_mutex_lock(&p->lock);
    Inbox in = p->inbox;
    p->inbox = *t; /* empty, with room */
    pthread_mutex_unlock(&p->lock);
    *t = in;
    p->at = 0;
    if (t->behind)
        p->events->behind(p->user);
    if (t->renewed)
        p->events->renewed(p->user);
    for (size_t i = 0; i < t->sockets.len; i++)
        p->events->connection(p->user, t->sockets.items[i]);
    t->sockets.len = 0;
}

static void on_port_woken(uv_async_t *woken)
{
    Port *p = woken->data;
    Inbox *t = &p->taken;
    size_t bytes = 0;
    bool rest = p->at < t->messages.len; /* of an earlier turn; what came since is still there */

    if (!rest)
        take(p);
    while (p->at < t->messages.len && bytes < TURN_BYTES) {
        Message *m = t->messages.items[p->at++];
        bytes += message_size(m);
        p->events->message(p->user, (Str){m->bytes, m->channel_len},
                           (Str){m->bytes + m->channel_len + 1, m->text_len});
        message_unref(m);
    }
    bool more = p->at < t->messages.len;
    if (!more) {
        if (t->drain)
            p->events->drain(p->user);
        inbox_reset(t);
        p->at = 0;
    }
    if (more || rest)
        (void)uv_async_send(&p->woken); /* the loop comes back at once */
}

void port_connection_ended(Port *p)
{
    atomic_fetch_sub_explicit(&p->open, 1, memory_order_relaxed);
}

/* ---- a loop: what it wishes ---- */

/* A wish: a byte that says what, two of length, the channel's name. */
enum { WISH_GO, WISH_COME, WISH_COME_AND_BEAT };
#define WISH_HEAD 3

static void add_wish(Buf *out, const Channel *c)
{
    char head[WISH_HEAD] = {c->first ? c->beats ? WISH_COME_AND_BEAT : WISH_COME : WISH_GO};

    memcpy(head + 1, &c->len, sizeof(c->len));
    buf_add(out, head, sizeof(head));
    buf_add(out, c->name, c->len);
}

static void read_wishes(Hub *h, uint32_t loop, Str wishes)
{
    while (wishes.n) {
        uint16_t len;
        memcpy(&len, wishes.p + 1, sizeof(len));
        Str name = {wishes.p + WISH_HEAD, len};
        if (wishes.p[0] == WISH_GO)
            hub_loop_goes(h, name, loop);
        else
            hub_loop_comes(h, name, loop, wishes.p[0] == WISH_COME_AND_BEAT);
        wishes.p += WISH_HEAD + len;
        wishes.n -= WISH_HEAD + len;
    }
}

static void swap(Buf *a, Buf *b)
{
    Buf was = *a;
    *a = *b;
    *b = was;
}

static void empty(Buf *b)
{
    if (b->cap > KEPT_BYTES)
        buf_clear(b);
    buf_truncate(b, 0);
}

void port_end_turn(Port *p, Hub *h)
{
    Channels *changed = &h->changed;

    if (!changed->len)
        return;
    pthread_mutex_lock(&p->lock);
    bool taken = p->wishes.len == 0; /* only we fill it: so it stays */
    p->more = !taken;
    pthread_mutex_unlock(&p->lock);
    if (!taken)
        return;
    for (size_t i = 0; i < changed->len; i++) {
        Channel *c = changed->items[i];
        if (c->subscribed != (c->first != NULL))
            add_wish(&p->draft, c);
        c->subscribed = c->first;
        hub_settled(h, c);
    }
    changed->len = 0;
    if (!p->draft.len)
        return;
    pthread_mutex_lock(&p->lock);
    swap(&p->wishes, &p->draft);
    pthread_mutex_unlock(&p->lock);
    (void)uv_async_send(&p->relay->woken);
}

void port_ended(Port *p)
{
    pthread_mutex_lock(&p->lock);
    p->ended = true;
    pthread_mutex_unlock(&p->lock);
    (void)uv_async_send(&p->relay->woken);
}

static void on_relay_woken(uv_async_t *woken)
{
    Relay *r = woken->data;
    bool ended = true;

    for (size_t i = 0; i < r->o.ports; i++) {
        Port *p = &r->ports[i];
        pthread_mutex_lock(&p->lock);
        swap(&p->wishes, &r->draft);
        bool more = p->more;
        p->more = false;
        ended = ended && p->ended;
        pthread_mutex_unlock(&p->lock);
        read_wishes(&r->hub, p->bit, buf_as_str(&r->draft));
        empty(&r->draft);
        if (more)
            (void)uv_async_send(&p->woken); /* the end of its turn brings them */
    }
    if (ended)
        r->o.ended(r->o.user);
}

/* ---- numbers ---- */

void port_publish(Port *p, const Metrics *own)
{
    pthread_mutex_lock(&p->lock);
    p->numbers = *own;
    pthread_mutex_unlock(&p->lock);
}

void port_numbers(const Port *p, Metrics *ret)
{
    Relay *r = p->relay;

    pthread_mutex_lock(&r->lock);
    *ret = r->numbers;
    pthread_mutex_unlock(&r->lock);
    for (size_t i = 0; i < r->o.ports; i++) {
        Port *other = &r->ports[i];
        pthread_mutex_lock(&other->lock);
        metrics_add(ret, &other->numbers);
        pthread_mutex_unlock(&other->lock);
    }
}

/* ---- beginning and end ---- */

Relay *relay_new(const RelayOptions *o)
{
    Relay *r = NEW(Relay);
    uint64_t seed;

    BUG_IF(o->ports < 1 || o->ports > STREAM_LOOPS_MAX);
    crypt_random(&seed, sizeof(seed));
    r->o = *o;
    hub_init(&r->hub, seed);
    r->draft = BUF_INIT(SIZE_MAX / 2);
    (void)pthread_mutex_init(&r->lock, NULL); /* cannot fail without attributes */
    BUG_IF(uv_async_init(o->loop, &r->woken, on_relay_woken) < 0);
    r->woken.data = r;
    r->ports = xcalloc(o->ports, sizeof(Port));
    for (size_t i = 0; i < o->ports; i++) {
        Port *p = &r->ports[i];
        p->relay = r;
        p->bit = 1u << i;
        p->draft = p->wishes = BUF_INIT(SIZE_MAX / 2);
        (void)pthread_mutex_init(&p->lock, NULL);
    }
    return r;
}

Port *relay_port(Relay *r, size_t number)
{
    return &r->ports[number];
}

Hub *relay_hub(Relay *r)
{
    return &r->hub;
}

void port_open(Port *p, uv_loop_t *loop, const PortEvents *events, void *user)
{
    p->events = events;
    p->user = user;
    BUG_IF(uv_async_init(loop, &p->woken, on_port_woken) < 0);
    p->woken.data = p;
}

void port_close(Port *p)
{
    uv_close((uv_handle_t *)&p->woken, NULL);
}

void relay_close(Relay *r)
{
    uv_close((uv_handle_t *)&r->woken, NULL);
}

Relay *relay_free(Relay *r)
{
    if (!r)
        return NULL;
    for (size_t i = 0; i < r->o.ports; i++) {
        Port *p = &r->ports[i];
        inbox_clear(&p->next, 0);
        inbox_clear(&p->inbox, 0);
        inbox_clear(&p->taken, p->at);
        buf_clear(&p->draft);
        buf_clear(&p->wishes);
        (void)pthread_mutex_destroy(&p->lock);
    }
    free(r->ports);
    buf_clear(&r->draft);
    hub_clear(&r->hub);
    (void)pthread_mutex_destroy(&r->lock);
    free(r);
    return NULL;
}
