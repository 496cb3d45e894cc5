#include "io/httpd.h"
#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#define HEAD_MAX ((size_t)64 << 10) /* MHD's pool of a connection; the head gets half of it */
#define CONNECTIONS_MAX 1000u
#define IDLE_S 300u
#define STACK_BYTES ((size_t)512 << 10)
#define BLOCK_BYTES ((size_t)128 << 10) /* of a body that is read from files */

struct Httpd {
    struct MHD_Daemon *daemon;
    const HttpdHandler *handler;
    void *user;
};

typedef struct Request {
    HttpdCall call; /* first: a HttpdCall is a Request */
    struct MHD_Connection *connection;
    char *target, *query;
    char peer[INET6_ADDRSTRLEN];
    bool begun, discard, queued;
} Request;

/* What a reply made of pieces reads from. */
typedef struct Body {
    HttpdPiece *pieces;
    size_t len, at;
    int64_t before; /* bytes in the pieces before `at` */
    int64_t cut_at;
    int socket;
} Body;

static int socket_of(struct MHD_Connection *c)
{
    const union MHD_ConnectionInfo *i =
        MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD);
    return i ? i->connect_fd : -1;
}

/* The next close of the socket sends RST instead of FIN. */
static void arm_reset(int fd)
{
    struct linger l = {.l_onoff = 1, .l_linger = 0};
    if (fd >= 0)
        (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof l);
}

static void *on_uri(void *cls, const char *uri, struct MHD_Connection *connection)
{
    (void)cls;
    Request *q = NEW(Request);
    q->connection = connection;
    const char *mark = strchr(uri, '?');
    q->target = mark ? xstrndup(uri, (size_t)(mark - uri)) : xstrdup(uri);
    q->query = xstrdup(mark ? mark + 1 : "");
    q->call.target = q->target;
    q->call.query = q->query;
    q->call.reply.cut_at = -1;
    q->call.reply.body = BUF_INIT(BUF_MAX_BODY);
    return q;
}

static enum MHD_Result on_header(void *cls, enum MHD_ValueKind kind, const char *name,
                                 const char *value)
{
    (void)kind;
    Str trimmed = str_trim(str_of(value)); /* RFC 7230 3.2.4; MHD leaves what is behind it */
    strlist_addf(cls, "%s: %.*s", name, (int)trimmed.n, trimmed.p);
    return MHD_YES;
}

static void read_peer(Request *q)
{
    const union MHD_ConnectionInfo *i =
        MHD_get_connection_info(q->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    q->call.peer = q->peer;
    if (!i || !i->client_addr)
        return;
    if (i->client_addr->sa_family == AF_INET) {
        struct sockaddr_in a;
        memcpy(&a, i->client_addr, sizeof a);
        (void)inet_ntop(AF_INET, &a.sin_addr, q->peer, sizeof q->peer);
    } else if (i->client_addr->sa_family == AF_INET6) {
        struct sockaddr_in6 a;
        memcpy(&a, i->client_addr, sizeof a);
        (void)inet_ntop(AF_INET6, &a.sin6_addr, q->peer, sizeof q->peer);
    }
}

static void begin(const Httpd *h, Request *q, const char *method)
{
    HttpdCall *c = &q->call;
    c->method = method;
    c->user = h->user;
    (void)MHD_get_connection_values(q->connection, MHD_HEADER_KIND, on_header, &c->headers);
    read_peer(q);
    const char *length = httpd_header(c, "Content-Length");
    const char *coding = httpd_header(c, "Transfer-Encoding");
    if (coding && strcasecmp(coding, "identity") != 0)
        c->body_size = -1;
    else if (length && !parse_int(length, 0, INT64_MAX, &c->body_size))
        c->body_size = 0; /* MHD itself refuses such a request with 400 */
    q->begun = true;
    h->handler->begin(c);
    q->discard = c->answered;
}

static ssize_t on_read(void *cls, uint64_t position, char *out, size_t max)
{
    Body *b = cls;
    int64_t at = (int64_t)position;
    if (b->cut_at >= 0) {
        if (at >= b->cut_at) {
            arm_reset(b->socket);
            return MHD_CONTENT_READER_END_WITH_ERROR;
        }
        max = MIN(max, (size_t)(b->cut_at - at));
    }
    while (b->at < b->len && at >= b->before + b->pieces[b->at].size)
        b->before += b->pieces[b->at++].size;
    if (b->at == b->len)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    const HttpdPiece *p = &b->pieces[b->at];
    int64_t skip = at - b->before;
    size_t n = (size_t)MIN((int64_t)max, p->size - skip);
    if (p->text) {
        memcpy(out, p->text + skip, n);
        return (ssize_t)n;
    }
    ssize_t got;
    do
        got = pread(p->fd, out, n, p->offset + skip);
    while (got < 0 && errno == EINTR);
    return got > 0 ? got : MHD_CONTENT_READER_END_WITH_ERROR;
}

static void close_pieces(HttpdPiece *pieces, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        free(pieces[i].text);
        bool last = !pieces[i].text;
        for (size_t j = i + 1; j < len && last; j++)
            last = pieces[j].text || pieces[j].fd != pieces[i].fd;
        if (last)
            close(pieces[i].fd);
    }
    free(pieces);
}

static void on_body_free(void *cls)
{
    Body *b = cls;
    close_pieces(b->pieces, b->len);
    free(b);
}

static struct MHD_Response *response_of(Request *q)
{
    HttpdReply *r = &q->call.reply;
    int64_t size = httpd_reply_size(r);
    if (size == 0) {
        close_pieces(r->pieces.items, r->pieces.len);
        r->pieces.items = NULL;
        r->pieces.len = r->pieces.cap = 0;
        return MHD_create_response_from_buffer(0, buf_empty, MHD_RESPMEM_PERSISTENT);
    }
    if (r->pieces.len == 0 && r->cut_at < 0)
        return MHD_create_response_from_buffer((size_t)size, buf_detach(&r->body),
                                               MHD_RESPMEM_MUST_FREE);
    if (r->pieces.len == 0)
        vec_push(&r->pieces, (HttpdPiece){.text = buf_detach(&r->body), .size = size});
    Body *b = NEW(Body);
    *b = (Body){.pieces = r->pieces.items,
                .len = r->pieces.len,
                .cut_at = r->cut_at,
                .socket = socket_of(q->connection)};
    r->pieces.items = NULL;
    r->pieces.len = r->pieces.cap = 0;
    size_t block = (size_t)MIN(size, (int64_t)BLOCK_BYTES);
    return MHD_create_response_from_callback((uint64_t)size, block, on_read, b, on_body_free);
}

static enum MHD_Result queue_reply(Request *q)
{
    HttpdReply *r = &q->call.reply;
    q->queued = true;
    if (r->drop) {
        arm_reset(socket_of(q->connection));
        return MHD_NO;
    }
    BUG_IF(r->status < 200);
    struct MHD_Response *response = response_of(q);
    if (!response)
        return MHD_NO;
    for (size_t i = 0; i < r->headers.len; i++) {
        char *line = r->headers.items[i];
        char *colon = strchr(line, ':');
        if (!colon)
            continue;
        *colon = 0;
        const char *value = colon + 1 + strspn(colon + 1, " ");
        /* A value that may not stand in a head (a line end, nothing at all) is left out. */
        (void)MHD_add_response_header(response, line, value);
        *colon = ':';
    }
    enum MHD_Result ok = MHD_queue_response(q->connection, (unsigned)r->status, response);
    MHD_destroy_response(response);
    return ok;
}

/* MHD calls this once with the head, once for each part of the body, and once at its end. A reply
 * queued in the first call would make MHD close the connection (it can't know whether the body is
 * still coming), so an early answer waits for the end of the body; unless the client has asked
 * ("Expect: 100-continue") before sending it. */
static enum MHD_Result on_call(void *cls, struct MHD_Connection *connection, const char *url,
                               const char *method, const char *version, const char *data,
                               size_t *data_size, void **state)
{
    (void)connection, (void)url, (void)version;
    const Httpd *h = cls;
    Request *q = *state;
    if (!q->begun) {
        begin(h, q, method);
        if (!q->call.answered)
            return MHD_YES;
        return httpd_header(&q->call, "Expect") ? queue_reply(q) : MHD_YES;
    }
    if (*data_size > 0) {
        if (!q->discard && !h->handler->body(&q->call, (Str){data, *data_size}))
            q->discard = true;
        *data_size = 0;
        return MHD_YES;
    }
    if (q->queued)
        return MHD_YES;
    if (!q->call.answered)
        h->handler->end(&q->call);
    return queue_reply(q);
}

static void on_completed(void *cls, struct MHD_Connection *connection, void **state,
                         enum MHD_RequestTerminationCode why)
{
    (void)connection;
    const Httpd *h = cls;
    Request *q = *state;
    if (!q)
        return;
    *state = NULL;
    if (q->begun && h->handler->close)
        h->handler->close(&q->call, why == MHD_REQUEST_TERMINATED_COMPLETED_OK);
    HttpdReply *r = &q->call.reply;
    close_pieces(r->pieces.items, r->pieces.len);
    buf_clear(&r->body);
    strlist_clear(&r->headers);
    strlist_clear(&q->call.headers);
    free(q->target);
    free(q->query);
    free(q);
}

int httpd_listen(const char *address, int port, int *ret_fd, int *ret_port, Err *err)
{
    struct sockaddr_storage a = {0};
    struct sockaddr_in *v4 = (struct sockaddr_in *)&a;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&a;
    socklen_t size;
    if (inet_pton(AF_INET, address, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons((uint16_t)port);
        size = sizeof *v4;
    } else if (inet_pton(AF_INET6, address, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons((uint16_t)port);
        size = sizeof *v6;
    } else {
        return err_set(err, ERR_USAGE, "%s is not an IP address", address);
    }
    int fd = socket(a.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return err_set(err, ERR_IO, "making a socket: %m");
    /* Only lets us listen while old connections linger; on Linux it shares nothing. MHD's own
     * option would let a second process take a share of the connections. */
    int on = 1;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&a, size) < 0 || listen(fd, 1024) < 0 ||
        getsockname(fd, (struct sockaddr *)&a, &size) < 0) {
        ErrKind kind = errno == EADDRINUSE ? ERR_CONFLICT : ERR_IO;
        int r = err_set(err, kind, "listening on %s port %d: %m", address, port);
        close(fd);
        return r;
    }
    *ret_fd = fd;
    *ret_port = ntohs(a.ss_family == AF_INET ? v4->sin_port : v6->sin6_port);
    return 0;
}

int httpd_start(int fd, const HttpdHandler *handler, void *user, Httpd **ret, Err *err)
{
    Httpd *h = NEW(Httpd);
    h->handler = handler;
    h->user = user;
    h->daemon = MHD_start_daemon(
        MHD_USE_POLL | MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_THREAD_PER_CONNECTION, 0, NULL,
        NULL, on_call, h, MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_URI_LOG_CALLBACK, on_uri, h,
        MHD_OPTION_NOTIFY_COMPLETED, on_completed, h, MHD_OPTION_CONNECTION_MEMORY_LIMIT, HEAD_MAX,
        MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT, IDLE_S,
        MHD_OPTION_THREAD_STACK_SIZE, STACK_BYTES, MHD_OPTION_END);
    if (!h->daemon) {
        int r = err_set(err, ERR_IO, "starting the HTTP server: %m");
        close(fd);
        free(h);
        return r;
    }
    *ret = h;
    return 0;
}

Httpd *httpd_stop(Httpd *h)
{
    if (!h)
        return NULL;
    MHD_stop_daemon(h->daemon);
    free(h);
    return NULL;
}

const char *httpd_header(const HttpdCall *c, const char *name)
{
    size_t n = strlen(name);
    for (size_t i = 0; i < c->headers.len; i++) {
        const char *line = c->headers.items[i];
        if (strncasecmp(line, name, n) == 0 && line[n] == ':')
            return line + n + 1 + strspn(line + n + 1, " ");
    }
    return NULL;
}

bool httpd_gone(const HttpdCall *c)
{
    const Request *q = (const Request *)(const void *)c;
    char byte;
    ssize_t n = recv(socket_of(q->connection), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
}

void httpd_reply_file(HttpdCall *c, int fd, int64_t offset, int64_t size)
{
    vec_push(&c->reply.pieces, (HttpdPiece){.fd = fd, .offset = offset, .size = size});
}

int64_t httpd_reply_size(const HttpdReply *r)
{
    if (r->pieces.len == 0)
        return (int64_t)r->body.len;
    int64_t size = 0;
    for (size_t i = 0; i < r->pieces.len; i++)
        size += r->pieces.items[i].size;
    return size;
}
