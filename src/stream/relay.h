/* Between Redis and the loops, where there are several (the setting `loops`). Each loop is a thread
 * with a Server of its own; the main thread runs one more loop, which accepts, talks to Redis and
 * has no clients. Both meet here and nowhere else (but for census.h):
 *
 *     a loop's thread                      the relay's thread
 *     its hub       ---- came, went --->   hub: which loops have a channel  --->  feed, Redis
 *     messages      <---------------       one copy for all that have it   <---  feed, Redis
 *     connections   <---------------       to the loop that has the fewest  <---  listener
 *     drain         <---------------       SIGTERM
 *     /metrics      <-- numbers ---->      everybody's
 *
 * Whatever a turn of one side brings is handed over at its end, under the port's lock, and wakes
 * the other side once. Messages keep their order.
 *
 * Bounds. Messages: when more than `backlog` bytes wait for a loop, all of them are thrown away and
 * the loop is told that it is behind; it sends its clients away, who come back (to whichever loop
 * has the fewest, which may be the same) and read what they missed (a loop may hold another
 * `backlog` that it works on). Channels: what the relay has not taken yet stays in the loop's hub,
 * which has each channel once. Sockets: as many as there may be connections.
 *
 * A message is bytes that do not change, counted by the loops that hold it. Frames made of it are
 * each loop's own (frame.h).
 */
#pragma once
#include "stream/hub.h"
#include "stream/metrics.h"
#include "stream/settings.h"
#include <uv.h>

typedef struct Relay Relay;
typedef struct Port Port; /* where a loop meets the relay */

/* ---- the relay's thread ---- */

typedef struct RelayOptions {
    uv_loop_t *loop; /* the relay's */
    size_t ports;    /* 1 to STREAM_LOOPS_MAX */
    size_t backlog_bytes;
    void (*ended)(void *user); /* all loops have */
    void *user;
} RelayOptions;
Relay *relay_new(const RelayOptions *o);
/* Once no loop runs any more: gives its handle back to its loop, which must run once more before
 * relay_free. */
void relay_close(Relay *r);
Relay *relay_free(Relay *r); /* takes NULL, returns NULL; after its ports were closed */
Port *relay_port(Relay *r, size_t number);

Hub *relay_hub(Relay *r); /* for a feed: channels that any loop listens to */
/* To the loops that have this channel. Copies. */
void relay_message(Relay *r, Str channel, Str text);
void relay_renewed(Relay *r); /* the feed's: to all loops */
/* To the loop that has the fewest connections; takes the socket. */
void relay_connection(Relay *r, int fd);
uint64_t relay_connections(const Relay *r); /* open, or on their way to a loop */
void relay_drain(Relay *r);
/* Hands over what this turn has brought; `own` are the relay's numbers. */
void relay_end_turn(Relay *r, const Metrics *own);

/* ---- a loop's thread ---- */

/* Called from the loop, in this order where one turn brings several. */
typedef struct PortEvents {
    void (*behind)(void *user);  /* messages for this loop were thrown away */
    void (*renewed)(void *user); /* connected to Redis anew */
    void (*connection)(void *user, int fd);
    void (*message)(void *user, Str channel, Str text);
    void (*drain)(void *user);
} PortEvents;
/* Before the loop runs, by whoever makes it. */
void port_open(Port *p, uv_loop_t *loop, const PortEvents *events, void *user);
/* After it has run: its handle goes back to its loop, which must run once more. */
void port_close(Port *p);
/* A connection that the relay gave has ended. */
void port_connection_ended(Port *p);
/* Tells the relay what came and went in the hub, and settles it. */
void port_end_turn(Port *p, Hub *h);
/* For /metrics, whichever loop answers: this loop's numbers, and those of all together. */
void port_publish(Port *p, const Metrics *own);
void port_numbers(const Port *p, Metrics *ret);
void port_ended(Port *p); /* the loop will not run again */
