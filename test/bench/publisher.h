/* Publishes through Redis, many at once, without waiting for each answer; and asks it a question
 * now and then. */
#pragma once
#include "bench/peer.h"
#include <hiredis/hiredis.h>

typedef struct Publisher Publisher;
struct Publisher {
    redisContext *many, *one; /* pipelined; for questions that wait */
    /* Answers come in the order of the questions: how many servers heard it. NULL: not asked. */
    void (*on_reply)(Publisher *b, int64_t heard);
    void *user;
    char host[64];
    int port;
};

/* "127.0.0.1:6379". False when it can't be reached. */
bool publisher_open(Publisher *b, Peers *p, const char *address);
void publisher_close(Publisher *b, Peers *p);
/* Queued; publisher_flush writes. */
void publisher_add(Publisher *b, const char *channel, const char *text, size_t len);
bool publisher_flush(Publisher *b);
/* To be called when its descriptor is readable. False: Redis is gone. */
bool publisher_read(Publisher *b);
/* Of INFO: pubsub_channels. -1: Redis is gone. */
int64_t publisher_channels(Publisher *b);
