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
    Buf file; /* the last one: its memory is used again */
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
    s->file = BUF_INIT(FILE_BYTES);
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
    buf_clear(&s->file);
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

/* A message's one descriptor, or -1. */
static int descriptor_of(struct msghdr *m)
{
    const struct cmsghdr *c = CMSG_FIRSTHDR(m);
    int fd = -1;

    if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
        memcpy(&fd, CMSG_DATA(c), sizeof fd);
    return fd;
}

typedef union Control {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(sizeof(int))]; /* what does not fit is closed by the kernel */
} Control;

/* The name, and where it is to be written: the first descriptor that comes. */
static bool receive(int fd, char ret[static NAME_MAX_BYTES], int *ret_out)
{
    for (size_t n = 0; n + 1 < NAME_MAX_BYTES; n++) {
        struct iovec part = {&ret[n], 1};
        Control control;
        struct msghdr m = {.msg_iov = &part,
                           .msg_iovlen = 1,
                           .msg_control = control.bytes,
                           .msg_controllen = sizeof control.bytes};
        ssize_t got = recvmsg(fd, &m, MSG_CMSG_CLOEXEC);
        int more = got > 0 ? descriptor_of(&m) : -1;
        if (more >= 0 && *ret_out < 0)
            *ret_out = more;
        else if (more >= 0)
            close(more);
        if (got <= 0)
            return false;
        if (ret[n] == '\n') {
            ret[n] = '\0';
            return true;
        }
    }
    return false;
}

static int write_out(int out, Str bytes, Err *err)
{
    struct stat st;

    /* Nothing that could make this wait. */
    if (out < 0 || fstat(out, &st) < 0 || !S_ISREG(st.st_mode))
        return err_set(err, ERR_IO, "it was not said where to write it");
    while (bytes.n > 0) {
        ssize_t n = write(out, bytes.p, bytes.n);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return err_set(err, errno == ENOSPC || errno == EDQUOT ? ERR_QUOTA : ERR_IO,
                           "writing it: %m");
        bytes = (Str){bytes.p + n, bytes.n - (size_t)n};
    }
    return 0;
}

/* 'f', 'a' or 'e'. */
static char answer(SegmentServer *s, const char *name, int out)
{
    _cleanup_(err_clear) Err err = {0};
    Timeline tli;

    buf_truncate(&s->file, 0);
    int r = wal_reader_get(s->reader, name, &s->file, &err);
    if (r == -ERR_NOT_FOUND)
        return 'a';
    if (r == 0)
        r = write_out(out, buf_as_str(&s->file), &err);
    if (r < 0) {
        if (!s->err.kind) {
            (void)err_move(&s->err, &err);
            (void)err_wrap(&s->err, "the log's file %s", name);
        }
        return 'e';
    }
    if (!history_parse(name, &tli))
        snprintf(s->last, sizeof s->last, "%s", name);
    return 'f';
}

void segment_server_turn(SegmentServer *s)
{
    char name[NAME_MAX_BYTES];
    int fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC), out = -1;

    if (fd < 0)
        return;
    set_timeouts(fd);
    if (receive(fd, name, &out)) {
        char kind = answer(s, name, out);
        (void)!send(fd, &kind, 1, MSG_NOSIGNAL); /* no answer is taken for 'e' */
    }
    if (out >= 0)
        close(out);
    close(fd);
}

static bool ask(int fd, const char *name, int out)
{
    _cleanup_free_ char *line = xasprintf("%s\n", name);
    struct iovec part = {line, strlen(line)};
    Control control = {0};
    struct msghdr m = {.msg_iov = &part,
                       .msg_iovlen = 1,
                       .msg_control = control.bytes,
                       .msg_controllen = sizeof control.bytes};
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);

    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof out);
    memcpy(CMSG_DATA(c), &out, sizeof out);
    return sendmsg(fd, &m, MSG_NOSIGNAL) == (ssize_t)part.iov_len;
}

/* 'e' if there is no answer. No deadline: fetching may take as long as the store's patience; when
 * the other side ends, the socket does. */
static char answer_of(int fd)
{
    char kind = 'e';
    ssize_t n;

    do
        n = recv(fd, &kind, 1, 0);
    while (n < 0 && errno == EINTR);
    return kind;
}

int segment_client(const char *socket_path, const char *name, const char *path)
{
    struct sockaddr_un a;
    char kind = 'e';
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int out = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    if (fd >= 0 && out >= 0 && address_of(socket_path, &a, NULL) == 0 &&
        connect(fd, (struct sockaddr *)&a, sizeof a) == 0 && ask(fd, name, out))
        kind = answer_of(fd);
    if (fd >= 0)
        close(fd);
    if (out >= 0 && close(out) < 0)
        kind = 'e';
    if (kind != 'f' && out >= 0)
        (void)unlink(path); /* half a file is none; PostgreSQL goes by the exit status */
    return kind == 'f' ? 0 : kind == 'a' ? 1 : CLIENT_FAILED;
}
