/* A timer wheel: tens of thousands of timers of seconds and minutes, each set and cancelled in
 * constant time without memory of its own. Time is passed in. Pure; one thread.
 *
 * Resolution is WHEEL_TICK_MS; a timer never ends early. A node may be set again at any time, also
 * inside the callback, and must be cancelled before its owner's memory goes.
 */
#pragma once
#include "base/time.h"

#define WHEEL_TICK_MS 50
#define WHEEL_SLOTS 1024

enum { WHEEL_CONN, WHEEL_CHANNEL }; /* whose a node is: a connection's, a channel's next beat */

typedef struct WheelNode {
    struct WheelNode *next, *prev; /* NULL: not set */
    uint32_t due;                  /* tick */
    uint32_t kind;                 /* WHEEL_ */
} WheelNode;

typedef struct Wheel {
    WheelNode slots[WHEEL_SLOTS];
    uint32_t now; /* tick */
    Msec start;
} Wheel;

void wheel_init(Wheel *w, Msec now_mono);
void wheel_set(Wheel *w, WheelNode *n, Msec in_ms);
void wheel_cancel(WheelNode *n);
static inline bool wheel_is_set(const WheelNode *n)
{
    return n->next;
}
/* Calls `due` for each node whose time has come; the node is no longer set then. */
void wheel_turn(Wheel *w, Msec now_mono, void (*due)(void *user, WheelNode *n), void *user);
