#include "stream/names.h"
#include "stream/js.h"
#include <utf8proc.h>

/* The name, and what it is in JSON as the label of a message. */
#define NAMED(text) .name = text, .label = "[\"" text "\"]"
static const StreamRow rows[STREAMS] = {
    [STREAM_USER] = {NAMED("user"), .path = "user", .scope = SCOPE_STATUSES, .media = STREAM_USER},
    [STREAM_USER_NOTIFICATION] = {NAMED("user:notification"), .path = "user/notification",
                                  .scope = SCOPE_NOTIFICATIONS, .media = STREAM_USER_NOTIFICATION},
    [STREAM_PUBLIC] = {NAMED("public"), .path = "public", .scope = SCOPE_STATUSES,
                       .access = ACCESS_LIVE, .filtered = true, .media = STREAM_PUBLIC_MEDIA,
                       .channel = "timeline:public"},
    [STREAM_PUBLIC_MEDIA] = {NAMED("public:media"), .scope = SCOPE_STATUSES, .access = ACCESS_LIVE,
                             .filtered = true, .media = STREAM_PUBLIC_MEDIA,
                             .channel = "timeline:public:media"},
    [STREAM_PUBLIC_LOCAL] = {NAMED("public:local"), .path = "public/local", .scope = SCOPE_STATUSES,
                             .access = ACCESS_LIVE, .filtered = true,
                             .media = STREAM_PUBLIC_LOCAL_MEDIA,
                             .channel = "timeline:public:local"},
    [STREAM_PUBLIC_LOCAL_MEDIA] = {NAMED("public:local:media"), .scope = SCOPE_STATUSES,
                                   .access = ACCESS_LIVE, .filtered = true,
                                   .media = STREAM_PUBLIC_LOCAL_MEDIA,
                                   .channel = "timeline:public:local:media"},
    [STREAM_PUBLIC_REMOTE] = {NAMED("public:remote"), .path = "public/remote",
                              .scope = SCOPE_STATUSES, .access = ACCESS_LIVE, .filtered = true,
                              .media = STREAM_PUBLIC_REMOTE_MEDIA,
                              .channel = "timeline:public:remote"},
    [STREAM_PUBLIC_REMOTE_MEDIA] = {NAMED("public:remote:media"), .scope = SCOPE_STATUSES,
                                    .access = ACCESS_LIVE, .filtered = true,
                                    .media = STREAM_PUBLIC_REMOTE_MEDIA,
                                    .channel = "timeline:public:remote:media"},
    [STREAM_HASHTAG] = {NAMED("hashtag"), .path = "hashtag", .scope = SCOPE_STATUSES,
                        .asks = PARAMETER_TAG, .access = ACCESS_TOPIC, .filtered = true,
                        .media = STREAM_HASHTAG},
    [STREAM_HASHTAG_LOCAL] = {NAMED("hashtag:local"), .path = "hashtag/local",
                              .scope = SCOPE_STATUSES, .asks = PARAMETER_TAG,
                              .access = ACCESS_TOPIC, .filtered = true,
                              .media = STREAM_HASHTAG_LOCAL},
    [STREAM_LIST] = {NAMED("list"), .path = "list", .scope = SCOPE_STATUSES, .asks = PARAMETER_LIST,
                     .media = STREAM_LIST},
    [STREAM_DIRECT] = {NAMED("direct"), .path = "direct", .scope = SCOPE_STATUSES,
                       .media = STREAM_DIRECT},
    [STREAM_SYSTEM] = {NAMED("system"), .media = STREAM_SYSTEM},
};

const StreamRow *stream_row(StreamId id)
{
    return &rows[id];
}

bool stream_by_name(Str name, StreamId *ret)
{
    for (int i = 0; i < STREAM_SYSTEM; i++)
        if (str_eq(name, str_of(rows[i].name))) {
            *ret = (StreamId)i;
            return true;
        }
    return false;
}

bool stream_by_path(Str path, StreamId *ret)
{
    for (int i = 0; i < STREAM_SYSTEM; i++)
        if (rows[i].path && str_eq(path, str_of(rows[i].path))) {
            *ret = (StreamId)i;
            return true;
        }
    return false;
}

unsigned scopes_of(Str text)
{
    static const struct {
        const char *name;
        unsigned bit;
    } known[] = {{"read", SCOPE_READ},
                 {"read:statuses", SCOPE_STATUSES},
                 {"read:notifications", SCOPE_NOTIFICATIONS}};
    unsigned scopes = 0;
    Str part;

    while (str_next(&text, ' ', &part))
        for (size_t i = 0; i < ARRAY_LEN(known); i++)
            if (str_eq(part, str_of(known[i].name)))
                scopes |= known[i].bit;
    return scopes;
}

bool stream_allowed(StreamId id, unsigned scopes)
{
    return scopes & (SCOPE_READ | rows[id].scope);
}

size_t stream_channels(const StreamAsk *ask, const char *prefix, Buf ret[static STREAM_CHANNELS])
{
    long long account = (long long)ask->account;
    size_t n = 1;

    for (size_t i = 0; i < STREAM_CHANNELS; i++) {
        buf_truncate(&ret[i], 0);
        buf_str(&ret[i], prefix);
    }
    switch (ask->id) {
    case STREAM_USER:
        buf_printf(&ret[0], "timeline:%lld", account);
        if (ask->notifications)
            buf_printf(&ret[n++], "timeline:%lld:notifications", account);
        break;
    case STREAM_USER_NOTIFICATION:
        buf_printf(&ret[0], "timeline:%lld:notifications", account);
        break;
    case STREAM_HASHTAG:
    case STREAM_HASHTAG_LOCAL:
        buf_str(&ret[0], "timeline:hashtag:");
        buf_add(&ret[0], ask->tag.p, ask->tag.n);
        buf_str(&ret[0], ask->id == STREAM_HASHTAG_LOCAL ? ":local" : "");
        break;
    case STREAM_LIST:
        buf_printf(&ret[0], "timeline:list:%lld", (long long)ask->number);
        break;
    case STREAM_DIRECT:
        buf_printf(&ret[0], "timeline:direct:%lld", account);
        break;
    case STREAM_SYSTEM: /* number: the token's id */
        buf_printf(&ret[0], "timeline:access_token:%lld", (long long)ask->number);
        buf_printf(&ret[n++], "timeline:system:%lld", account);
        break;
    default:
        buf_str(&ret[0], rows[ask->id].channel);
    }
    return n;
}

/* The letter below the accent, for lower-case letters of Latin-1 and Latin Extended-A; what has
 * none (such as the ligatures) stays. */
static uint32_t without_accent(uint32_t c)
{
    static const struct {
        uint16_t from, to;
        char letter;
    } folds[] = {
        {0xe0, 0xe5, 'a'},   {0xe7, 0xe7, 'c'},   {0xe8, 0xeb, 'e'},   {0xec, 0xef, 'i'},
        {0xf0, 0xf0, 'd'},   {0xf1, 0xf1, 'n'},   {0xf2, 0xf6, 'o'},   {0xf8, 0xf8, 'o'},
        {0xf9, 0xfc, 'u'},   {0xfd, 0xfd, 'y'},   {0xff, 0xff, 'y'},   {0x100, 0x105, 'a'},
        {0x106, 0x10d, 'c'}, {0x10e, 0x111, 'd'}, {0x112, 0x11b, 'e'}, {0x11c, 0x123, 'g'},
        {0x124, 0x127, 'h'}, {0x128, 0x131, 'i'}, {0x134, 0x135, 'j'}, {0x136, 0x138, 'k'},
        {0x139, 0x142, 'l'}, {0x143, 0x14b, 'n'}, {0x14c, 0x151, 'o'}, {0x154, 0x159, 'r'},
        {0x15a, 0x161, 's'}, {0x162, 0x167, 't'}, {0x168, 0x173, 'u'}, {0x174, 0x175, 'w'},
        {0x176, 0x178, 'y'}, {0x179, 0x17e, 'z'}, {0x17f, 0x17f, 's'},
    };
    for (size_t i = 0; i < ARRAY_LEN(folds); i++)
        if (c >= folds[i].from && c <= folds[i].to)
            return (unsigned char)folds[i].letter;
    return c;
}

static bool is_cased(uint32_t c)
{
    utf8proc_category_t k = utf8proc_category((utf8proc_int32_t)c);
    return k == UTF8PROC_CATEGORY_LU || k == UTF8PROC_CATEGORY_LL || k == UTF8PROC_CATEGORY_LT;
}

/* Kept by Mastodon in the name of a tag. */
static bool is_kept(uint32_t c)
{
    utf8proc_category_t k = utf8proc_category((utf8proc_int32_t)c);
    return (k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_LO) ||
           (k >= UTF8PROC_CATEGORY_ND && k <= UTF8PROC_CATEGORY_NO) || c == '_' || c == 0xb7 ||
           c == 0x200c;
}

void tag_normal(Str tag, Buf *out)
{
    utf8proc_uint8_t *composed = NULL;
    ssize_t n = utf8proc_map((const utf8proc_uint8_t *)tag.p, (ssize_t)tag.n, &composed,
                             UTF8PROC_COMPOSE | UTF8PROC_COMPAT);
    if (n <= 0) {
        free(composed);
        return;
    }
    const char *p = (const char *)composed, *end = p + n;
    uint32_t last = 0;
    while (p < end) {
        uint32_t c = js_char(&p);
        uint32_t low = (uint32_t)utf8proc_tolower((utf8proc_int32_t)c);
        if (c == 0x130) {
            low = 'i';           /* its dot is a mark, which is dropped */
        } else if (c == 0x3a3) { /* sigma at the end of a word has a form of its own */
            const char *ahead = p;
            bool more = p < end && is_cased(js_char(&ahead));
            low = is_cased(last) && !more ? 0x3c2 : 0x3c3;
        }
        last = c;
        low = without_accent(low);
        if (is_kept(low))
            js_add_utf8(out, low);
    }
    free(composed);
}

bool query_truthy(Str value)
{
    static const char *const falsy[] = {"", "0", "f", "F", "false", "FALSE", "off", "OFF"};
    for (size_t i = 0; i < ARRAY_LEN(falsy); i++)
        if (str_eq(value, str_of(falsy[i])))
            return false;
    return true;
}
