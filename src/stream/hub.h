/* Who listens to what: channels by name with the subscriptions to them, accounts and client
 * addresses with their connections. Names are looked up in intrusive tables, which cost a pointer
 * and a hash each (uthash's handle is 56 bytes, and an idle user has four channels).
 *
 * Owns channels, accounts, addresses and subscriptions; each goes when its last user does. What to
 * tell Redis is collected here and fetched once a turn. One thread.
 *
 * Where there are several loops each has a hub, and the relay one more, whose channels have loops
 * for listeners (relay.h); the census has the addresses and accounts of all (census.h).
 */
#pragma once
#include "base/buf.h"
#include "stream/match.h"
#include "stream/names.h"
#include "stream/slab.h"
#include "stream/wheel.h"

typedef struct Conn Conn; /* conn.h */
typedef struct Job Job;   /* jobs.h */

typedef struct Entry {
    struct Entry *next;
    uint32_t hash;
} Entry;
typedef struct Table {
    Entry **buckets;
    uint32_t size, len;
} Table;

typedef struct Channel {
    Entry entry;
    uint16_t len;
    bool beats : 1;      /* has a subscribed: key */
    bool subscribed : 1; /* Redis (or the relay) has been told */
    bool listed : 1;     /* in `changed` */
    uint32_t loops;      /* of the relay's: those that listen, a bit each */
    struct Link *first, *last;
    WheelNode beat;
    Job *jobs; /* the last of those that wait, in a ring; NULL: none */
    char name[];
} Channel;

/* Chosen languages, shared by connections of one login. */
typedef struct Languages {
    uint32_t refs;
    uint32_t len;
    char text[]; /* ["en","de"] as PostgreSQL and js_read write it */
} Languages;

typedef enum FiltersState { FILTERS_UNKNOWN, FILTERS_LOADING, FILTERS_KNOWN } FiltersState;
typedef struct Account {
    Entry entry;
    uint8_t filters_state;
    uint32_t conns;
    int64_t id;
    uint32_t generation;  /* of its filters: an older answer is out of date */
    Filters *filters;     /* NULL: none */
    Languages *languages; /* the newest, or NULL */
} Account;

typedef struct Address {
    Entry entry;
    uint32_t conns;
    char text[];
} Address;

typedef struct Link {
    struct Link *next, *prev; /* in the channel, oldest first */
    Channel *channel;
    struct Subscription *of;
} Link;

typedef struct Subscription {
    struct Subscription *next; /* of the connection */
    Conn *conn;
    union {
        char *label; /* JSON of "stream": owned if own_label */
        const char *fixed_label;
    };
    uint64_t since; /* message number: earlier ones are not for it */
    uint32_t index;
    uint8_t stream; /* StreamId */
    uint8_t links_len;
    bool deny_local, deny_remote, own_label;
    Link links[STREAM_CHANNELS];
} Subscription;

typedef VEC(Channel *) Channels;

typedef struct Hub {
    Table channels, accounts, addresses;
    Slab subscriptions;
    Channels changed; /* it is not told yet that these came or went */
    uint64_t seed;
} Hub;

void hub_init(Hub *h, uint64_t seed);
void hub_clear(Hub *h);

Channel *hub_channel(const Hub *h, Str name); /* NULL: nobody listens */
static inline bool channel_is_heard(const Channel *c)
{
    return c->first || c->loops;
}
/* Calls for each channel; it must not subscribe or unsubscribe. */
void hub_each(const Hub *h, void (*f)(void *user, Channel *c), void *user);
/* Is there a subscription of `first` to exactly these channels? */
Subscription *hub_find(const Hub *h, Subscription *first, const Buf *names, size_t n);
/* Makes one (the caller links it to its connection), and the channels that are new. */
Subscription *hub_subscribe(Hub *h, const Buf *names, size_t n, bool beats);
void hub_unsubscribe(Hub *h, Subscription *s);
/* One of the loops (its bit) listens to this channel, or does not any more. */
void hub_loop_comes(Hub *h, Str name, uint32_t loop, bool beats);
void hub_loop_goes(Hub *h, Str name, uint32_t loop);
/* Lists a channel as changed: its last user other than a subscription has gone. */
void hub_touch(Hub *h, Channel *c);
/* It was fetched from `changed`. Frees channels that nobody listens to any more, once Redis was
 * told. */
void hub_settled(Hub *h, Channel *c);

/* Take a reference: one connection more. */
Account *hub_account_ref(Hub *h, int64_t id);
Account *hub_account(const Hub *h, int64_t id); /* NULL: not here */
void hub_account_unref(Hub *h, Account *a);
Address *hub_address_ref(Hub *h, const char *text);
void hub_address_unref(Hub *h, Address *a);
/* Filters are read anew when next needed; all of them where `a` is NULL. */
void hub_filters_forget(Hub *h, Account *a);

Languages *languages_ref(Account *a, Str text); /* shares the account's if it is the same */
void languages_unref(Languages *l);
/* Has it this one? `language` as JSON, quotes included. */
bool languages_have(const Languages *l, Str language);
