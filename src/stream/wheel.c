#include "stream/wheel.h"

void wheel_init(Wheel *w, Msec now_mono)
{
    w->now = 0;
    w->start = now_mono;
    for (size_t i = 0; i < WHEEL_SLOTS; i++)
        w->slots[i].next = w->slots[i].prev = &w->slots[i];
}

void wheel_cancel(WheelNode *n)
{
    if (!n->next)
        return;
    n->next->prev = n->prev;
    n->prev->next = n->next;
    n->next = n->prev = NULL;
}

static void link_before(WheelNode *head, WheelNode *n)
{
    n->prev = head->prev;
    n->next = head;
    n->prev->next = n;
    head->prev = n;
}

void wheel_set(Wheel *w, WheelNode *n, Msec in_ms)
{
    wheel_cancel(n);
    n->due = w->now + 1 + (uint32_t)(MAX(in_ms, 0) / WHEEL_TICK_MS);
    link_before(&w->slots[n->due % WHEEL_SLOTS], n);
}

/* The nodes of one slot whose turn it is; what is set meanwhile goes to other slots or, a whole
 * round ahead, to the end of this one. */
static void turn_slot(Wheel *w, void (*due)(void *user, WheelNode *n), void *user)
{
    WheelNode *slot = &w->slots[w->now % WHEEL_SLOTS], later = {0};

    later.next = later.prev = &later;
    while (slot->next != slot) {
        WheelNode *n = slot->next;
        wheel_cancel(n);
        if (n->due == w->now)
            due(user, n);
        else
            link_before(&later, n);
    }
    while (later.next != &later) {
        WheelNode *n = later.next;
        wheel_cancel(n);
        link_before(slot, n);
    }
}

void wheel_turn(Wheel *w, Msec now_mono, void (*due)(void *user, WheelNode *n), void *user)
{
    uint32_t until = (uint32_t)((now_mono - w->start) / WHEEL_TICK_MS);
    while (w->now < until) {
        w->now++;
        turn_slot(w, due, user);
    }
}
