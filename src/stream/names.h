/* Streams by name, the Redis channels behind them, and how a tag becomes one. Pure.
 *
 * One row a stream: the WebSocket's name, the path of server-sent events, what a token must be
 * allowed, what is asked for. Channels are those that Mastodon (Rails) publishes to.
 */
#pragma once
#include "base/buf.h"

typedef enum StreamId {
    STREAM_USER,
    STREAM_USER_NOTIFICATION,
    STREAM_PUBLIC,
    STREAM_PUBLIC_MEDIA,
    STREAM_PUBLIC_LOCAL,
    STREAM_PUBLIC_LOCAL_MEDIA,
    STREAM_PUBLIC_REMOTE,
    STREAM_PUBLIC_REMOTE_MEDIA,
    STREAM_HASHTAG,
    STREAM_HASHTAG_LOCAL,
    STREAM_LIST,
    STREAM_DIRECT,
    STREAM_SYSTEM, /* every connection's own; no name that a client could ask for */
    STREAMS
} StreamId;

/* What a token may do. */
enum { SCOPE_READ = 1, SCOPE_STATUSES = 2, SCOPE_NOTIFICATIONS = 4 };
/* Scopes of a token, parted by spaces. */
unsigned scopes_of(Str text);

typedef enum StreamParameter { PARAMETER_NONE, PARAMETER_TAG, PARAMETER_LIST } StreamParameter;
/* Which pair of the instance's settings says who may see it. */
typedef enum StreamAccess { ACCESS_ANY, ACCESS_LIVE, ACCESS_TOPIC } StreamAccess;

typedef struct StreamRow {
    const char *name;  /* "public:local" */
    const char *label; /* ["public:local"] */
    const char *path;  /* behind /api/v1/streaming/; NULL: none of its own */
    unsigned scope;    /* beside SCOPE_READ, which allows everything */
    StreamParameter asks;
    StreamAccess access;
    bool filtered;       /* statuses pass the viewer's blocks, mutes, languages and filters here */
    StreamId media;      /* the variant for only_media; itself: none */
    const char *channel; /* "timeline:public"; NULL: made of an id or a tag */
} StreamRow;
const StreamRow *stream_row(StreamId id);
/* By name, or by path; false if there is none. */
bool stream_by_name(Str name, StreamId *ret) _must_check_;
bool stream_by_path(Str path, StreamId *ret) _must_check_;
bool stream_allowed(StreamId id, unsigned scopes);

/* The first of at most two channels. `account` and, for a list, `number` are ids; `tag` is what
 * tag_normal made. `prefix` is a namespace with its colon, or "". Two for STREAM_USER whose token
 * may see notifications. Returns how many; each Buf is started anew. */
#define STREAM_CHANNELS 2
typedef struct StreamAsk {
    StreamId id;
    int64_t account, number;
    bool notifications;
    Str tag;
} StreamAsk;
size_t stream_channels(const StreamAsk *ask, const char *prefix, Buf ret[static STREAM_CHANNELS]);

/* A tag as Mastodon names its channel: NFKC, lower case, accented Latin letters of Latin-1 and
 * Latin Extended-A without their accents, and of the rest only letters, numbers, "_", U+00B7 and
 * U+200C. `tag` is UTF-8. Appends; what is left may be nothing. */
void tag_normal(Str tag, Buf *out);

/* A query parameter that is only false if it is empty or one of 0 f F false FALSE off OFF. */
bool query_truthy(Str value);
