#include "backup/segments.h"
#include "backup/restore.h"
#include "io/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define NAME_MAX_BYTES 64
#define PEER_TIMEOUT_S 10
#define FILE_BYTES ((size_t)1 << 30) /* a segment's at most */
/* More than 125: PostgreSQL gives up instead of taking it for the end of the log. */
#define CLIENT_FAILED 200

struct SegmentServer {
    int fd;
    char *path;
    WalReader *reader;
    Err err;
    char last[NAME_MAX_BYTES];
};

static int address_of(const char *path, struct sockaddr_un *ret, Err *err)
{
    *ret = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof ret->sun_path)
        return err_set(err, ERR_IO, "the path of a socket is too long: %s", path);
    memcpy(ret->sun_path, path, strlen(path) + 1);
    return 0;
}

int segment_server_open(const char *path, WalReader *w, uid_t uid, gid_t gid, SegmentServer **ret,
                        Err *err)
{
    struct sockaddr_un a;
    _cleanup_(segment_server_drop) SegmentServer *s = NEW(SegmentServer);

    s->reader = w;
    s->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int r = address_of(path, &a, err);
    if (r < 0)
        return r;
    if (s->fd < 0 || bind(s->fd, (struct sockaddr *)&a, sizeof a) < 0)
        return err_set(err, ERR_IO, "listening on %s: %m", path);
    s->path = xstrdup(path);
    if (chmod(path, 0600) < 0 || (uid != (uid_t)-1 && chown(path, uid, gid) < 0) ||
        listen(s->fd, 8) < 0)
        return err_set(err, ERR_IO, "listening on %s: %m", path);
    *ret = TAKE(s);
    return 0;
}

SegmentServer *segment_server_free(SegmentServer *s)
{
    if (!s)
        return NULL;
    if (s->fd >= 0)
        close(s->fd);
    if (s->path)
        (void)unlink(s->path); /* its folder goes too */
    free(s->path);
    err_clear(&s->err);
    free(s);
    return NULL;
}

int segment_server_fd(const SegmentServer *s)
{
    return s->fd;
}

Err *segment_server_error(SegmentServer *s)
{
    return &s->err;
}

const char *segment_server_last(const SegmentServer *s)
{
    return s->last;
}

static void set_timeouts(int fd)
{
    const struct timeval t = {.tv_sec = PEER_TIMEOUT_S};

    BUG_IF(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t) < 0);
    BUG_IF(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof t) < 0);
}

static bool send_all(int fd, const char *p, size_t n)
{
    while (n > 0) {
        ssize_t sent = send(fd, p, n, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent <= 0)
            return false;
        p += sent;
        n -= (size_t)sent;
    }
    return true;
}

static bool receive_all(int fd, char *p, size_t n)
{
    while (n > 0) {
        ssize_t got = recv(fd, p, n, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        p += got;
        n -= (size_t)got;
    }
    return true;
}

static bool receive_name(int fd, char ret[static NAME_MAX_BYTES])
{
    for (size_t n = 0; n + 1 < NAME_MAX_BYTES; n++) {
        if (!receive_all(fd, &ret[n], 1))
            return false;
        if (ret[n] == '\n') {
            ret[n] = '\0';
            return true;
        }
    }
    return false;
}

static void answer(SegmentServer *s, int fd, const char *name)
{
    _cleanup_(buf_clear) Buf file = BUF_INIT(FILE_BYTES);
    _cleanup_(err_clear) Err err = {0};
    char head[9] = "f";
    int r = wal_reader_get(s->reader, name, &file, &err);

    if (r < 0) {
        if (r != -ERR_NOT_FOUND && !s->err.kind) {
            (void)err_move(&s->err, &err);
            (void)err_wrap(&s->err, "the log's file %s", name);
        }
        /* If nobody hears it, the client takes silence for the same as 'e'. */
        (void)send_all(fd, r == -ERR_NOT_FOUND ? "a" : "e", 1);
        return;
    }
    Timeline tli;
    if (!history_parse(name, &tli))
        snprintf(s->last, sizeof s->last, "%s", name);
    for (size_t i = 0; i < 8; i++)
        head[1 + i] = (char)(file.len >> (8 * i));
    (void)(send_all(fd, head, sizeof head) && send_all(fd, file.p, file.len)); /* the same */
}

void segment_server_turn(SegmentServer *s)
{
    char name[NAME_MAX_BYTES];
    int fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC);

    if (fd < 0)
        return;
    set_timeouts(fd);
    if (receive_name(fd, name))
        answer(s, fd, name);
    close(fd);
}

static int save(int fd, const char *path)
{
    unsigned char head[8];
    uint64_t left = 0;
    static char chunk[256 << 10];

    if (!receive_all(fd, (char *)head, sizeof head))
        return CLIENT_FAILED;
    for (size_t i = 0; i < 8; i++)
        left |= (uint64_t)head[i] << (8 * i);
    int out = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (out < 0)
        return CLIENT_FAILED;
    while (left > 0) {
        ssize_t got = recv(fd, chunk, MIN(sizeof chunk, left), 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0 || write(out, chunk, (size_t)got) != got)
            break;
        left -= (uint64_t)got;
    }
    if (close(out) < 0 || left > 0) {
        (void)unlink(path); /* half a file is none; PostgreSQL gives up in any case */
        return CLIENT_FAILED;
    }
    return 0;
}

int segment_client(const char *socket_path, const char *name, const char *path)
{
    struct sockaddr_un a;
    char kind = 'e';
    _cleanup_free_ char *line = xasprintf("%s\n", name);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || address_of(socket_path, &a, NULL) < 0)
        return CLIENT_FAILED;
    int result = CLIENT_FAILED;
    /* No deadline: fetching may take as long as the store's patience; when the other side ends, the
     * socket does. */
    if (connect(fd, (struct sockaddr *)&a, sizeof a) == 0 && send_all(fd, line, strlen(line)) &&
        receive_all(fd, &kind, 1))
        result = kind == 'f' ? save(fd, path) : kind == 'a' ? 1 : CLIENT_FAILED;
    close(fd);
    return result;
}
