/* Where clients come in: one listening socket, TCP or unix, and a loop that accepts from it. One
 * thread: the loop's. */
#pragma once
#include "stream/config.h"
#include <uv.h>

typedef struct Listener Listener;
/* Gives a connected socket that does not block. -1: one came, and there was no descriptor left for
 * it; the kernel keeps it, and the next listener_tick tries again. */
typedef void ListenerTake(void *user, int fd);

/* ERR_IO, ERR_CONFIG when it cannot listen there. */
int listener_open(uv_loop_t *loop, const StreamConfig *c, ListenerTake *take, void *user,
                  Listener **ret, Err *err) _must_check_;
/* Nobody is accepted any more; a unix socket's file goes. Takes NULL, returns NULL. */
Listener *listener_close(Listener *l);
void listener_tick(Listener *l); /* called about every second; takes NULL */
