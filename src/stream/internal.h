/* What the parts of the server share: one Server, its connections, and who calls whom.
 *
 *   loops.c      one server, or several with the relay: who runs where
 *   server.c     a loop: its turns, its time, draining
 *   conn.c       a connection's socket: reading, the queue, writing, timers, its end
 *   serve.c      HTTP: routes, login, answers, upgrades
 *   subscribe.c  asks of clients: scopes, ownership, access; subscribing
 *   lookup.c     what is asked of PostgreSQL, in batches
 *   message.c    messages from Redis: to whom, in which form
 *   jobs.c       those that wait for PostgreSQL, and their filtering
 *
 * A Server is one thread's. Where there is one it has the listener and the feed (Redis) itself;
 * where there are several each has a port to the relay instead (relay.h), and they share nothing
 * but the census.
 *
 * Connections that end while others are looked at are only marked (`dead`) and taken away at the
 * end of the loop's turn; so is what is queued written then. Answers of PostgreSQL find their
 * connection by reference, which is of no connection once it has ended.
 */
#pragma once
#include "stream/census.h"
#include "stream/config.h"
#include "stream/fd_watch.h"
#include "stream/feed.h"
#include "stream/frame.h"
#include "stream/head.h"
#include "stream/hub.h"
#include "stream/listener.h"
#include "stream/metrics.h"
#include "stream/relay.h"
#include "stream/server.h"
#include "stream/ws.h"

typedef struct Server Server;

typedef enum ConnState {
    CONN_HEAD,    /* a request's head is awaited */
    CONN_LOGIN,   /* PostgreSQL is asked who it is */
    CONN_ASKING,  /* event source: PostgreSQL is asked whether it may */
    CONN_OPEN,    /* WebSocket or event source */
    CONN_CLOSING, /* what is queued is written, then it ends */
} ConnState;

/* What a client asks for, while PostgreSQL is asked whether it may. */
typedef struct Ask {
    bool subscribe;
    StreamId stream;
    int64_t list;
    Buf tag;   /* normal */
    Buf label; /* JSON */
} Ask;

/* What a connection only has while something is under way. */
typedef struct Input {
    Buf bytes;
    WsReader reader;
    Head head; /* points into bytes */
    size_t head_bytes;
    Ask ask;
    bool sse;
    StreamId sse_stream;
} Input;

struct Conn {
    int fd;
    uint32_t index, generation;
    uint8_t state, kind; /* ConnState, ClientKind */
    uint8_t scopes;
    bool dead, dirty, busy;        /* busy: an ask is out; nothing is read */
    bool counted;                  /* as a client */
    bool pinged, view_feeds, gone; /* gone: the peer has closed its side */
    bool keep_alive, closed_ws;    /* closed_ws: a close frame was sent */
    uint32_t interest;             /* epoll's */
    uint16_t queue_head, queue_len, queue_cap;
    uint32_t queue_offset, queue_bytes; /* offset: sent of the first frame */
    uint32_t subscriptions_len;
    Frame **queue;
    Account *account;
    Languages *languages; /* NULL: all */
    Address *address;
    Subscription *subscriptions;
    Input *input;
    int64_t token;
    WheelNode timer;
};

typedef struct ConnRef {
    uint32_t index, generation;
} ConnRef;

typedef VEC(Conn *) Conns;
typedef struct Lookup Lookup;
typedef struct Jobs Jobs;

#define INPUT_BYTES (64 << 10)

struct Server {
    const StreamConfig *config;
    const StreamSettings *settings;
    Census *census;                    /* all servers' */
    const volatile sig_atomic_t *stop; /* NULL: the relay says so */
    Listener *listener;                /* NULL: the relay's */
    Feed *feed;                        /* likewise */
    Port *port;                        /* NULL: there is one server */
    uv_loop_t loop;
    uv_timer_t tick;
    uv_prepare_t turn;
    FdWatch *clients;
    int epoll_fd;
    bool draining;
    Msec drain_until, next_second;
    Slab conns;
    uint32_t open; /* connections */
    Conns dirty, dead;
    Wheel wheel;
    Hub hub;
    Metrics metrics, all; /* its own; see server_numbers */
    PgPool *pg;
    Lookup *lookup;
    Jobs *jobs;
    Js js, js_small; /* for messages; for what is inside one, and clients' words */
    Buf scratch;
    char *input; /* INPUT_BYTES, for what a socket is read into */
    Frame *ping, *thump;
    uint64_t messages; /* number of the last message from Redis */
};

/* ---- server.c ---- */
typedef struct ServerOptions {
    const StreamConfig *config;
    Census *census;
    size_t pg_connections;
    const volatile sig_atomic_t *stop; /* of the only server; the others' is NULL */
    Port *port;                        /* of one of several; the only one's is NULL */
} ServerOptions;
int server_open(Server *s, const ServerOptions *o, Err *err) _must_check_;
void server_run(Server *s); /* until it was told to end and its clients have gone */
void server_close(Server *s);
/* For /metrics: of all servers; borrowed until the next call. */
const Metrics *server_numbers(Server *s);

/* ---- conn.c ---- */
void conn_accept(Server *s, int fd);
void conn_event(Server *s, Conn *c, uint32_t events);
void conn_due(Server *s, WheelNode *n);
Conn *conn_find(const Server *s, ConnRef ref); /* NULL: it has ended */
static inline ConnRef conn_ref(const Conn *c)
{
    return (ConnRef){c->index, c->generation};
}
/* Takes a reference of its own. */
void conn_queue(Server *s, Conn *c, Frame *f);
void conn_text(Server *s, Conn *c, Str bytes);
void conn_ws_frame(Server *s, Conn *c, WsOpcode opcode, Str payload);
/* Ends it when what is queued is written. */
void conn_close(Server *s, Conn *c);
/* Ends it with the turn; nothing more is written. */
void conn_drop(Server *s, Conn *c);
Input *conn_input(Conn *c);           /* made if it has none */
void conn_input_done(Conn *c);        /* frees what it does not need */
void conn_resume(Server *s, Conn *c); /* after busy: goes on with what it had read */
void conn_timer(Server *s, Conn *c);  /* as its state needs it */
void conn_ws_close(Server *s, Conn *c, int code, const char *reason);
/* An open one, in its client's way; `code` is a WebSocket's. */
void conn_farewell(Server *s, Conn *c, int code);
void conns_end_turn(Server *s); /* writes what is queued; takes the dead away */

/* ---- serve.c ---- */
/* A head is in c->input->head. */
void serve_request(Server *s, Conn *c);
void serve_error(Server *s, Conn *c, int status, const char *text);
void serve_sse_start(Server *s, Conn *c);
void serve_bad(Server *s, Conn *c, int status);
/* Nobody's any more: subscriptions, account and address are given up. */
void serve_session_end(Server *s, Conn *c);

/* ---- subscribe.c ---- */
void subscribe_word(Server *s, Conn *c, Str text); /* a WebSocket's message */
void subscribe_query(Server *s, Conn *c);          /* its query, at the beginning */
void subscribe_sse(Server *s, Conn *c);
void subscribe_system(Server *s, Conn *c);
void unsubscribe_all(Server *s, Conn *c);

/* ---- lookup.c ---- */
Lookup *lookup_new(Server *s);
Lookup *lookup_free(Lookup *l);
typedef struct TokenFound {
    int64_t id, account, permissions;
    unsigned scopes;
    bool has_languages;
    Str languages;
} TokenFound;
/* Each is answered from the loop; `ok` false: PostgreSQL failed. */
void lookup_token(Lookup *l, ConnRef ref, const char *token);
void lookup_list(Lookup *l, ConnRef ref, int64_t list);
void lookup_access(Lookup *l, ConnRef ref);
void lookup_end_turn(Lookup *l);
/* Answers: found NULL: there is none. */
void serve_login(Server *s, Conn *c, bool ok, const TokenFound *found);
void subscribe_list_answer(Server *s, Conn *c, bool ok, int64_t owner);
/* Denied by the settings: live local, live remote, topic local, topic remote. */
typedef struct FeedAccess {
    bool deny[2][2];
} FeedAccess;
void subscribe_access_answer(Server *s, Conn *c, bool ok, const FeedAccess *access);
/* Accounts among `viewers` to whom the author's message must not go. `done` gets column 0. */
void lookup_relations(Lookup *l, const char *viewers, const char *targets, const char *author,
                      const char *domain, PgDone *done, void *user);
void lookup_filters(Lookup *l, const char *accounts, PgDone *done, void *user);
/* Appends {1,2,3}. */
void pg_array_add(Buf *out, int64_t id);
void pg_array_end(Buf *out);

/* ---- message.c, jobs.c ---- */
void message_received(Server *s, Str channel, Str text);
/* To all links of a channel, unless they are later than message `number`. */
typedef struct Delivery {
    Str event, payload;
    uint64_t number;
} Delivery;
void message_deliver(Server *s, Channel *c, const Delivery *d);
/* One viewer; `cache` is kept by the caller for the frames of one message. */
typedef struct FrameCache {
    Frame *sse;
    struct {
        const char *label;
        Frame *frame;
    } ws[8];
    size_t ws_len;
} FrameCache;
void message_send(Server *s, const Subscription *to, const FrameEvent *e, FrameCache *cache);
void frame_cache_clear(FrameCache *cache);
Jobs *jobs_new(Server *s);
Jobs *jobs_free(Jobs *j);
/* The message in s->js, with its payload; true if it was taken (or dropped), false if it may be
 * delivered at once. */
bool jobs_take(Jobs *j, Channel *c, const Delivery *d, const JsNode *payload);
