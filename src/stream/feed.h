/* Redis, for all who listen to the channels of one hub: one connection that subscribes and on which
 * messages come, and one that writes subscribed: keys, by which Rails knows that somebody listens.
 *
 * The hub is a server's own or, where there are several loops, the relay's: a channel is subscribed
 * to once and has one key, however many listen. Borrows the hub and the wheel, into which it puts
 * the channels' next beats. One thread: the loop's.
 */
#pragma once
#include "stream/config.h"
#include "stream/hub.h"
#include "stream/wheel.h"
#include <uv.h>

typedef struct Feed Feed;

typedef struct FeedOptions {
    uv_loop_t *loop;
    const StreamConfig *config; /* borrowed, as all here */
    Hub *hub;
    Wheel *wheel;
    void (*message)(void *user, Str channel, Str text); /* borrowed for the call */
    void (*renewed)(void *user); /* connected anew: what was said meanwhile was not heard */
    void *user;
} FeedOptions;

Feed *feed_new(const FeedOptions *o); /* begins to connect, and never gives up */
Feed *feed_free(Feed *f);             /* takes NULL, returns NULL */
/* Tells Redis of channels that came and went in this turn of the loop, and frees those. */
void feed_end_turn(Feed *f);
void feed_due(Feed *f, WheelNode *beat); /* one of a channel's is due */
void feed_tick(Feed *f, Msec now_mono);  /* called about every second */

typedef struct FeedNumbers {
    uint64_t channels, messages; /* subscribed to now; received */
} FeedNumbers;
FeedNumbers feed_numbers(const Feed *f);
