#include "base/log.h"
#include "stream/internal.h"
#include <errno.h>
#include <limits.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define WRITE_FRAMES 64
#define LINGER_MS (2 * SECOND)

static void set_interest(Server *s, Conn *c, uint32_t interest)
{
    struct epoll_event e = {.events = interest,
                            .data.u64 = (uint64_t)c->generation << 32 | c->index};

    if (interest == c->interest || c->dead)
        return;
    if (epoll_ctl(s->epoll_fd, c->interest ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, c->fd, &e) < 0)
        conn_drop(s, c);
    else
        c->interest = interest;
}

/* Reading is switched off lazily: only when something comes while it must wait. */
static bool may_read(const Conn *c)
{
    return c->state != CONN_LOGIN && c->state != CONN_ASKING && !c->busy;
}

Conn *conn_find(const Server *s, ConnRef ref)
{
    Conn *c = slab_at(&s->conns, ref.index);
    return c && c->generation == ref.generation && c->fd >= 0 && !c->dead ? c : NULL;
}

void conn_accept(Server *s, int fd)
{
    uint32_t index;

    if (s->open >= (uint64_t)s->settings->connections) {
        s->metrics.over_connections++;
        (void)close(fd);
        return;
    }
    Conn *c = slab_take(&s->conns, &index);
    uint32_t generation = c->generation + 1;
    *c = (Conn){.fd = fd, .index = index, .generation = generation, .state = CONN_HEAD};
    c->timer.kind = WHEEL_CONN;
    s->open++;
    set_interest(s, c, EPOLLIN | EPOLLRDHUP);
    conn_timer(s, c);
}

/* ---- memory that an idle connection has not ---- */

Input *conn_input(Conn *c)
{
    if (!c->input) {
        c->input = NEW(Input);
        c->input->bytes = BUF_INIT(SIZE_MAX / 2);
        c->input->ask.tag = c->input->ask.label = BUF_INIT(BUF_MAX_LINE);
    }
    return c->input;
}

void conn_input_done(Conn *c)
{
    Input *in = c->input;

    if (!in || c->busy || c->state == CONN_LOGIN || c->state == CONN_ASKING)
        return;
    if (in->bytes.len || in->reader.opcode != WS_OP_MORE)
        return;
    buf_wipe(&in->bytes);
    buf_clear(&in->ask.tag);
    buf_clear(&in->ask.label);
    ws_reader_clear(&in->reader);
    free(in);
    c->input = NULL;
}

static void input_free(Conn *c)
{
    if (!c->input)
        return;
    c->busy = false;
    c->state = CONN_CLOSING;
    buf_truncate(&c->input->bytes, 0);
    ws_reader_clear(&c->input->reader);
    conn_input_done(c);
}

/* ---- the queue ---- */

static void mark_dirty(Server *s, Conn *c)
{
    if (!c->dirty)
        vec_push(&s->dirty, c);
    c->dirty = true;
}

static void flush(Server *s, Conn *c);

static bool is_full(const Server *s, const Conn *c, const Frame *f)
{
    return c->queue_len && c->queue_bytes + (uint64_t)f->len > (uint64_t)s->settings->queue_bytes;
}

void conn_queue(Server *s, Conn *c, Frame *f)
{
    if (c->dead)
        return;
    /* One turn may bring more than the bound: only what the socket does not take is a backlog. */
    if (is_full(s, c, f) && !(c->interest & EPOLLOUT))
        flush(s, c);
    if (c->dead)
        return;
    if (is_full(s, c, f)) {
        s->metrics.over_queue++;
        conn_drop(s, c);
        return;
    }
    if (c->queue_len == c->queue_cap) {
        uint16_t cap = c->queue_cap ? (uint16_t)(c->queue_cap * 2) : 4;
        if (c->queue_cap > UINT16_MAX / 2) {
            s->metrics.over_queue++;
            conn_drop(s, c);
            return;
        }
        Frame **queue = xcalloc(cap, sizeof(Frame *));
        for (uint16_t i = 0; i < c->queue_len; i++)
            queue[i] = c->queue[(c->queue_head + i) % c->queue_cap];
        free(c->queue);
        c->queue = queue;
        c->queue_cap = cap;
        c->queue_head = 0;
    }
    c->queue[(c->queue_head + c->queue_len) % c->queue_cap] = frame_ref(f);
    c->queue_len++;
    c->queue_bytes += f->len;
    mark_dirty(s, c);
}

void conn_text(Server *s, Conn *c, Str bytes)
{
    Frame *f = frame_new(bytes);
    conn_queue(s, c, f);
    (void)frame_unref(f);
}

void conn_ws_frame(Server *s, Conn *c, WsOpcode opcode, Str payload)
{
    _cleanup_(buf_clear) Buf b = BUF_INIT(BUF_MAX_LINE);
    uint8_t head[WS_HEADER_MAX];

    buf_add(&b, head, ws_header(opcode, payload.n, head));
    buf_add(&b, payload.p, payload.n);
    conn_text(s, c, buf_as_str(&b));
}

static void queue_free(Conn *c)
{
    for (uint16_t i = 0; i < c->queue_len; i++)
        (void)frame_unref(c->queue[(c->queue_head + i) % c->queue_cap]);
    free(c->queue);
    c->queue = NULL;
    c->queue_len = c->queue_cap = c->queue_head = 0;
    c->queue_offset = c->queue_bytes = 0;
}

/* `n` bytes have been sent. */
static void sent(Conn *c, size_t n)
{
    while (n) {
        Frame *f = c->queue[c->queue_head];
        size_t left = f->len - c->queue_offset;
        if (n < left) {
            c->queue_offset += (uint32_t)n;
            return;
        }
        n -= left;
        c->queue_bytes -= f->len;
        c->queue_offset = 0;
        c->queue_head = (uint16_t)((c->queue_head + 1) % c->queue_cap);
        c->queue_len--;
        (void)frame_unref(f);
    }
}

static ssize_t send_some(Conn *c)
{
    struct iovec parts[WRITE_FRAMES];
    struct msghdr message = {.msg_iov = parts};
    uint16_t n = MIN(c->queue_len, WRITE_FRAMES);

    for (uint16_t i = 0; i < n; i++) {
        Frame *f = c->queue[(c->queue_head + i) % c->queue_cap];
        uint32_t skip = i == 0 ? c->queue_offset : 0;
        parts[i] = (struct iovec){f->data + skip, f->len - skip};
    }
    if (n == 1)
        return send(c->fd, parts[0].iov_base, parts[0].iov_len, MSG_NOSIGNAL | MSG_DONTWAIT);
    message.msg_iovlen = n;
    return sendmsg(c->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* All is written: a closing one has nothing more to do than to see its client off. */
static void written(Server *s, Conn *c)
{
    free(c->queue);
    c->queue = NULL;
    c->queue_cap = c->queue_head = 0;
    if (c->interest & EPOLLOUT)
        set_interest(s, c, c->interest & ~(uint32_t)EPOLLOUT);
    if (c->state != CONN_CLOSING)
        return;
    if (c->gone)
        conn_drop(s, c);
    else if (!c->closed_ws)
        (void)shutdown(c->fd, SHUT_WR); /* what it still sends must not become a reset */
}

static void flush(Server *s, Conn *c)
{
    while (c->queue_len) {
        ssize_t n = send_some(c);
        if (n >= 0) {
            sent(c, (size_t)n);
            continue;
        }
        if (errno == EINTR)
            continue;
        if (errno != EAGAIN) {
            conn_drop(s, c);
            return;
        }
        set_interest(s, c, c->interest | EPOLLOUT);
        return;
    }
    written(s, c);
}

/* ---- the end ---- */

void conn_drop(Server *s, Conn *c)
{
    if (!c->dead)
        vec_push(&s->dead, c);
    c->dead = true;
}

void conn_close(Server *s, Conn *c)
{
    if (c->state == CONN_CLOSING || c->dead)
        return;
    serve_session_end(s, c);
    input_free(c);
    c->state = CONN_CLOSING;
    conn_timer(s, c);
    mark_dirty(s, c);
}

void conn_ws_close(Server *s, Conn *c, int code, const char *reason)
{
    _cleanup_(buf_clear) Buf b = BUF_INIT(256);

    if (c->closed_ws)
        return;
    ws_close(&b, code, reason);
    conn_text(s, c, buf_as_str(&b));
    c->closed_ws = true;
    conn_close(s, c);
}

void conn_farewell(Server *s, Conn *c, int code)
{
    if (c->kind == CLIENT_WEBSOCKET) {
        conn_ws_close(s, c, code, "");
        return;
    }
    conn_text(s, c, STR_LIT("0\r\n\r\n"));
    conn_close(s, c);
}

static void conn_end(Server *s, Conn *c)
{
    serve_session_end(s, c);
    wheel_cancel(&c->timer);
    input_free(c);
    queue_free(c);
    (void)close(c->fd);
    c->fd = -1;
    c->generation++;
    s->open--;
    if (s->port)
        port_connection_ended(s->port);
    slab_give(&s->conns, c->index);
}

void conns_end_turn(Server *s)
{
    for (size_t i = 0; i < s->dirty.len; i++) {
        Conn *c = s->dirty.items[i];
        c->dirty = false;
        if (!c->dead)
            flush(s, c);
    }
    s->dirty.len = 0;
    for (size_t i = 0; i < s->dead.len; i++)
        conn_end(s, s->dead.items[i]);
    s->dead.len = 0;
}

/* ---- timers ---- */

void conn_timer(Server *s, Conn *c)
{
    const StreamSettings *set = s->settings;
    Msec in = 0;

    switch (c->state) {
    case CONN_HEAD:
        in = set->handshake_ms;
        break;
    case CONN_OPEN:
        if (s->draining && wheel_is_set(&c->timer))
            return; /* its farewell's */
        in = s->draining ? 0 : c->kind == CLIENT_WEBSOCKET ? set->ping_ms : set->thump_ms;
        break;
    case CONN_CLOSING:
        in = s->draining ? set->drain_ms : LINGER_MS;
        break;
    default: /* PostgreSQL's answer has a deadline of its own */
        wheel_cancel(&c->timer);
        return;
    }
    wheel_set(&s->wheel, &c->timer, in);
}

void conn_due(Server *s, WheelNode *n)
{
    Conn *c = (Conn *)(void *)((char *)n - offsetof(Conn, timer));

    if (c->dead)
        return;
    if (c->state != CONN_OPEN) {
        s->metrics.handshake_late += c->state == CONN_HEAD && c->input;
        conn_drop(s, c);
        return;
    }
    if (s->draining) {
        conn_farewell(s, c, WS_CLOSE_AWAY);
        return;
    }
    if (c->kind == CLIENT_WEBSOCKET && c->pinged) {
        s->metrics.ping_late++;
        conn_drop(s, c);
        return;
    }
    c->pinged = c->kind == CLIENT_WEBSOCKET;
    conn_queue(s, c, c->pinged ? s->ping : s->thump);
    conn_timer(s, c);
}

/* ---- reading ---- */

static void on_ws_event(Server *s, Conn *c, const WsEvent *e)
{
    switch (e->kind) {
    case WS_TEXT:
        subscribe_word(s, c, e->data);
        break;
    case WS_BINARY:
        conn_ws_close(s, c, WS_CLOSE_UNSUPPORTED,
                      "The mastodon streaming server does not support binary messages");
        break;
    case WS_PING:
        conn_ws_frame(s, c, WS_OP_PONG, e->data);
        break;
    case WS_PONG:
        c->pinged = false;
        break;
    case WS_CLOSE:
        c->gone = true; /* after the answer there is nothing to wait for */
        conn_ws_close(s, c, e->code, "");
        break;
    case WS_ERROR:
        s->metrics.over_message += e->code == WS_CLOSE_SIZE;
        s->metrics.bad_requests += e->code != WS_CLOSE_SIZE;
        conn_ws_close(s, c, e->code, "");
        break;
    case WS_PART:
        break;
    }
}

/* Returns how many bytes were used. */
static size_t read_ws(Server *s, Conn *c, char *p, size_t n)
{
    size_t used = 0;
    WsReader none = {0};

    while (used < n && c->state == CONN_OPEN && !c->busy && !c->dead) {
        WsReader *r = c->input ? &c->input->reader : &none;
        WsEvent e;
        ws_read(r, p + used, n - used, (size_t)s->settings->message_bytes, &e);
        if (r == &none && none.opcode != WS_OP_MORE) {
            conn_input(c)->reader = none; /* a message in several frames begins */
            none = (WsReader){0};
        }
        if (e.kind == WS_PART && e.used == 0)
            break;
        used += e.used;
        on_ws_event(s, c, &e);
        if (e.kind == WS_ERROR)
            return n;
    }
    ws_reader_clear(&none);
    return c->state == CONN_OPEN ? used : n;
}

/* Closing: only the client's own close frame counts. */
static void read_farewell(Server *s, Conn *c, char *p, size_t n)
{
    WsReader r = {0};
    WsEvent e = {.used = 1};

    for (size_t used = 0; c->closed_ws && used < n && e.used; used += e.used) {
        ws_read(&r, p + used, n - used, (size_t)s->settings->message_bytes, &e);
        if (e.kind == WS_CLOSE) {
            c->gone = true;
            if (!c->queue_len)
                conn_drop(s, c);
            break;
        }
    }
    ws_reader_clear(&r);
}

/* One request at most; what follows waits for its answer. Returns whether there was one. */
static bool read_head(Server *s, Conn *c)
{
    Input *in = c->input;
    size_t used = 0;

    switch (head_read(buf_as_str(&in->bytes), &in->head, &used)) {
    case HEAD_MORE:
        return false;
    case HEAD_BAD:
        s->metrics.bad_requests++;
        serve_bad(s, c, 400);
        return false;
    case HEAD_TOO_LARGE:
        s->metrics.bad_requests++;
        serve_bad(s, c, 431);
        return false;
    default:
        in->head_bytes = used;
        serve_request(s, c);
        return true;
    }
}

static void process(Server *s, Conn *c)
{
    while (c->input && c->input->bytes.len && !c->dead && may_read(c)) {
        if (c->state == CONN_HEAD) {
            if (!read_head(s, c))
                break;
        } else if (c->state == CONN_OPEN && c->kind == CLIENT_WEBSOCKET) {
            size_t used = read_ws(s, c, c->input->bytes.p, c->input->bytes.len);
            if (!c->input || used == 0)
                break;
            buf_cut(&c->input->bytes, MIN(used, c->input->bytes.len));
        } else {
            buf_truncate(&c->input->bytes, 0); /* an event source has nothing to say */
        }
    }
    conn_input_done(c);
}

void conn_resume(Server *s, Conn *c)
{
    if (c->dead)
        return;
    if (!(c->interest & EPOLLIN))
        set_interest(s, c, c->interest | EPOLLIN);
    process(s, c);
}

static void take(Server *s, Conn *c, char *p, size_t n)
{
    if (c->state == CONN_CLOSING) {
        read_farewell(s, c, p, n);
        return;
    }
    if (c->state == CONN_OPEN && !(c->input && c->input->bytes.len)) {
        size_t used = c->kind == CLIENT_WEBSOCKET ? read_ws(s, c, p, n) : n;
        if (used < n && !c->dead)
            buf_add(&conn_input(c)->bytes, p + used, n - used);
        conn_input_done(c);
        return;
    }
    buf_add(&conn_input(c)->bytes, p, n);
    process(s, c);
}

static void readable(Server *s, Conn *c)
{
    char *bytes = s->input;

    for (int i = 0; i < 4 && !c->dead && may_read(c); i++) {
        ssize_t n = recv(c->fd, bytes, INPUT_BYTES, MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0) {
            c->gone = true;
            if (n == 0 && c->queue_len && c->state == CONN_HEAD)
                conn_close(s, c); /* it may still read the answer */
            else if (n < 0 || !c->queue_len || c->state != CONN_CLOSING)
                conn_drop(s, c);
            return;
        }
        take(s, c, bytes, (size_t)n);
        if (n < INPUT_BYTES)
            return;
    }
}

void conn_event(Server *s, Conn *c, uint32_t events)
{
    if (events & (EPOLLERR | EPOLLHUP)) {
        conn_drop(s, c);
        return;
    }
    if (events & EPOLLOUT)
        flush(s, c);
    if (c->dead)
        return;
    if (events & (EPOLLIN | EPOLLRDHUP)) {
        if (may_read(c))
            readable(s, c);
        else if (events & EPOLLRDHUP)
            conn_drop(s, c);
        else
            set_interest(s, c, c->interest & ~(uint32_t)EPOLLIN);
    }
}
