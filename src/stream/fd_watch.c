#include "stream/fd_watch.h"
#include <unistd.h>

struct FdWatch {
    uv_poll_t handle; /* first: freed through it */
    int fd, events;
    FdWatchReady *ready;
    void *user;
};

static void on_ready(uv_poll_t *handle, int status, int events)
{
    FdWatch *w = (FdWatch *)handle;
    w->ready(w->user, status < 0 ? UV_READABLE | UV_WRITABLE : events);
}

static void on_closed(uv_handle_t *handle)
{
    free(handle);
}

FdWatch *fd_watch_new(uv_loop_t *loop, int fd, FdWatchReady *ready, void *user)
{
    FdWatch *w = NEW(FdWatch);
    w->fd = fd;
    w->ready = ready;
    w->user = user;
    BUG_IF(uv_poll_init(loop, &w->handle, fd) < 0);
    return w;
}

void fd_watch_for(FdWatch *w, int events)
{
    if (w->events == events)
        return;
    w->events = events;
    if (events)
        (void)uv_poll_start(&w->handle, events, on_ready); /* fails for no open handle */
    else
        (void)uv_poll_stop(&w->handle);
}

FdWatch *fd_watch_end(FdWatch *w, bool close_fd)
{
    if (!w)
        return NULL;
    uv_close((uv_handle_t *)&w->handle, on_closed); /* out of epoll at once, while it is open */
    if (close_fd)
        (void)close(w->fd);
    return NULL;
}
