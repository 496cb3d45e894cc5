#include "stream/listener.h"
#include "stream/fd_watch.h"
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define ACCEPTS 256 /* before others have a turn */

struct Listener {
    const StreamConfig *config;
    ListenerTake *take;
    void *user;
    int fd;
    FdWatch *watch;
};

static int listen_unix(const StreamConfig *c, int *ret, Err *err)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};

    if (strlen(c->socket) >= sizeof(a.sun_path))
        return err_set(err, ERR_CONFIG, "SOCKET is too long a path: %s", c->socket);
    memcpy(a.sun_path, c->socket, strlen(c->socket));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || chmod(c->socket, 0666) < 0 ||
        listen(fd, 4096) < 0) {
        err_set(err, ERR_IO, "cannot listen on %s: %m", c->socket);
        if (errno == EADDRINUSE)
            err_hint(err, "remove the file if no other streaming server uses it");
        if (fd >= 0)
            (void)close(fd);
        return -ERR_IO;
    }
    *ret = fd;
    return 0;
}

static int listen_tcp(const StreamConfig *c, int *ret, Err *err)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *found = NULL;
    char port[16];
    int on = 1, fd = -1;

    (void)snprintf(port, sizeof(port), "%d", (int)c->port);
    int r = getaddrinfo(c->bind, port, &hints, &found);
    if (r != 0)
        return err_set(err, ERR_CONFIG, "BIND %s: %s", c->bind, gai_strerror(r));
    fd = socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
        bind(fd, found->ai_addr, found->ai_addrlen) < 0 || listen(fd, 4096) < 0) {
        err_set(err, ERR_IO, "cannot listen on %s port %d: %m", c->bind, (int)c->port);
        if (fd >= 0)
            (void)close(fd);
        fd = -1;
    }
    freeaddrinfo(found);
    *ret = fd;
    return fd < 0 ? -ERR_IO : 0;
}

static void on_listening(void *user, int events)
{
    Listener *l = user;
    int on = 1;

    (void)events;
    for (int i = 0; i < ACCEPTS; i++) {
        int fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0 && (errno == EMFILE || errno == ENFILE)) {
            fd_watch_for(l->watch, 0); /* until some may have gone */
            l->take(l->user, -1);
            return;
        }
        if (fd < 0)
            return;
        if (!l->config->socket) /* frames are written whole: nothing gains by waiting */
            (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        l->take(l->user, fd);
    }
}

void listener_tick(Listener *l)
{
    if (l)
        fd_watch_for(l->watch, UV_READABLE);
}

int listener_open(uv_loop_t *loop, const StreamConfig *c, ListenerTake *take, void *user,
                  Listener **ret, Err *err)
{
    int fd = -1, failed = c->socket ? listen_unix(c, &fd, err) : listen_tcp(c, &fd, err);

    if (failed < 0)
        return failed;
    Listener *l = NEW(Listener);
    *l = (Listener){.config = c, .take = take, .user = user, .fd = fd};
    l->watch = fd_watch_new(loop, fd, on_listening, l);
    fd_watch_for(l->watch, UV_READABLE);
    *ret = l;
    return 0;
}

Listener *listener_close(Listener *l)
{
    if (!l)
        return NULL;
    l->watch = fd_watch_end(l->watch, true);
    if (l->config->socket)
        (void)unlink(l->config->socket);
    free(l);
    return NULL;
}
