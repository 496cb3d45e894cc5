#include "bench/publisher.h"
#include <fcntl.h>

bool publisher_open(Publisher *b, Peers *p, const char *address)
{
    const char *colon = strrchr(address, ':');
    int64_t port = 6379;
    struct timeval limit = {.tv_sec = 10};

    if (colon && !parse_int(colon + 1, 1, 65535, &port))
        return false;
    b->port = (int)port;
    (void)snprintf(b->host, sizeof b->host, "%.*s", (int)(colon ? colon - address : 63), address);
    b->one = redisConnectWithTimeout(b->host, b->port, limit);
    b->many = redisConnectWithTimeout(b->host, b->port, limit);
    if (!b->one || b->one->err || !b->many || b->many->err) {
        publisher_close(b, p);
        return false;
    }
    (void)redisSetTimeout(b->one, limit);
    int flags = fcntl(b->many->fd, F_GETFL);
    BUG_IF(flags < 0 || fcntl(b->many->fd, F_SETFL, flags | O_NONBLOCK) < 0);
    b->many->flags &= ~REDIS_BLOCK;
    peers_watch(p, b->many->fd, b);
    return true;
}

void publisher_close(Publisher *b, Peers *p)
{
    if (b->many && b->many->fd >= 0)
        peers_forget(p, b->many->fd);
    if (b->many)
        redisFree(b->many);
    if (b->one)
        redisFree(b->one);
    b->many = b->one = NULL;
}

void publisher_add(Publisher *b, const char *channel, const char *text, size_t len)
{
    const char *words[] = {"PUBLISH", channel, text};
    const size_t sizes[] = {7, strlen(channel), len};
    BUG_IF(redisAppendCommandArgv(b->many, 3, words, sizes) != REDIS_OK);
}

bool publisher_flush(Publisher *b)
{
    int done = 0;
    while (!done)
        if (redisBufferWrite(b->many, &done) != REDIS_OK)
            return false;
    return true;
}

bool publisher_read(Publisher *b)
{
    void *reply;

    if (redisBufferRead(b->many) != REDIS_OK)
        return false;
    while (redisGetReplyFromReader(b->many, &reply) == REDIS_OK && reply) {
        redisReply *r = reply;
        if (b->on_reply)
            b->on_reply(b, r->type == REDIS_REPLY_INTEGER ? r->integer : -1);
        freeReplyObject(r);
    }
    return true;
}

int64_t publisher_channels(Publisher *b)
{
    redisReply *r = redisCommand(b->one, "INFO stats");
    int64_t n = -1;

    if (r && r->type == REDIS_REPLY_STRING) {
        const char *at = strstr(r->str, "pubsub_channels:");
        if (at) {
            at += strlen("pubsub_channels:");
            _cleanup_free_ char *digits = xstrndup(at, strspn(at, "0123456789"));
            if (!parse_int(digits, 0, INT64_MAX, &n))
                n = -1;
        }
    }
    if (r)
        freeReplyObject(r);
    return n;
}
