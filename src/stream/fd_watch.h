/* A file descriptor in a libuv loop, in memory of its own: libuv wants a handle to outlive the call
 * that ends it, and its owner may go at once. */
#pragma once
#include "base/util.h"
#include <uv.h>

typedef struct FdWatch FdWatch;
/* `events`: UV_READABLE, UV_WRITABLE as they are; both on an error. */
typedef void FdWatchReady(void *user, int events);

FdWatch *fd_watch_new(uv_loop_t *loop, int fd, FdWatchReady *ready, void *user);
void fd_watch_for(FdWatch *w, int events); /* 0: nothing for now */
/* Ends it, and closes the descriptor if told to. Takes NULL, returns NULL. */
FdWatch *fd_watch_end(FdWatch *w, bool close_fd);
