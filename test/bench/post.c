#include "bench/post.h"

enum { SIZE = 3400 };

static const char head[] =
    "{\"event\":\"update\",\"payload\":{\"id\":\"%lld\",\"created_at\":\"2026-08-21T10:00:00."
    "000Z\","
    "\"in_reply_to_id\":null,\"in_reply_to_account_id\":null,\"sensitive\":false,\"spoiler_text\":"
    "\"\","
    "\"visibility\":\"public\",\"language\":\"en\",\"uri\":\"https://far.example/users/coral/"
    "statuses/1\","
    "\"url\":\"https://far.example/@coral/1\",\"replies_count\":0,\"reblogs_count\":0,"
    "\"favourites_count\":0,\"edited_at\":null,\"content\":\"\\u003cp\\u003e%s ";
static const char tail[] =
    "\\u003c/p\\u003e\",\"reblog\":null,\"account\":{\"id\":\"90000001\",\"username\":\"coral\","
    "\"acct\":\"coral@far.example\",\"display_name\":\"Coral\",\"locked\":false,\"bot\":false,"
    "\"discoverable\":true,\"indexable\":false,\"group\":false,"
    "\"created_at\":\"2022-11-05T00:00:00.000Z\",\"note\":\"\\u003cp\\u003eReefs, tides and "
    "lighthouses.\\u003c/p\\u003e\",\"url\":\"https://far.example/@coral\","
    "\"uri\":\"https://far.example/users/coral\",\"avatar\":\"https://files.example/cache/a/"
    "original/1.jpg\","
    "\"avatar_static\":\"https://files.example/cache/a/static/1.jpg\","
    "\"header\":\"https://files.example/cache/h/original/1.jpg\","
    "\"header_static\":\"https://files.example/cache/h/static/1.jpg\",\"followers_count\":1204,"
    "\"following_count\":532,\"statuses_count\":8817,\"last_status_at\":\"2026-08-21\","
    "\"hide_collections\":false,\"emojis\":[],\"fields\":[{\"name\":\"Site\",\"value\":"
    "\"\\u003ca href=\\\"https://far.example\\\"\\u003efar.example\\u003c/a\\u003e\","
    "\"verified_at\":null},{\"name\":\"Pronouns\",\"value\":\"they\",\"verified_at\":null}]},"
    "\"media_attachments\":[{\"id\":\"7001\",\"type\":\"image\",\"url\":"
    "\"https://files.example/cache/m/original/1.jpg\",\"preview_url\":"
    "\"https://files.example/cache/m/small/1.jpg\",\"remote_url\":\"https://far.example/m/1.jpg\","
    "\"preview_remote_url\":null,\"text_url\":null,\"meta\":{\"original\":{\"width\":1600,"
    "\"height\":1200,\"size\":\"1600x1200\",\"aspect\":1.3333333333333333},\"small\":{\"width\":"
    "554,"
    "\"height\":416,\"size\":\"554x416\",\"aspect\":1.3317307692307692},\"focus\":{\"x\":0.0,\"y\":"
    "0.0}},"
    "\"description\":\"A lighthouse above a calm "
    "sea\",\"blurhash\":\"UBL_:rOpGG-oBUNG,qRj2so|=eE1w^n4S5NH\"}],"
    "\"mentions\":[{\"id\":\"90000002\",\"username\":\"kelper\",\"url\":\"https://near.example/"
    "@kelper\","
    "\"acct\":\"kelper@near.example\"}],\"tags\":[{\"name\":\"sea\",\"url\":"
    "\"https://reef.example/tags/sea\"}],\"emojis\":[],\"card\":null,\"poll\":null}}";

size_t post_write(char out[static POST_MAX], int64_t sequence, bool keyword)
{
    static const char words[] = "the tide goes out and the lamp is lit again over rock and weed ";
    int n = snprintf(out, POST_MAX, head, (long long)(POST_FIRST + sequence),
                     keyword ? "forest of kelp" : "nothing of note");
    size_t at = (size_t)n, end = SIZE - (sizeof tail - 1);

    for (size_t i = 0; at < end; i++)
        out[at++] = words[i % (sizeof words - 1)];
    memcpy(out + at, tail, sizeof tail);
    return at + sizeof tail - 1;
}

size_t post_delete(char out[static POST_MAX], int64_t sequence)
{
    return (size_t)snprintf(out, POST_MAX, "{\"event\":\"delete\",\"payload\":\"%lld\"}",
                            (long long)(POST_FIRST + sequence));
}

int64_t post_sequence(const char *start)
{
    static const char *const marks[] = {"\\\"id\\\":\\\"", "\"payload\":\""};

    for (size_t i = 0; i < ARRAY_LEN(marks); i++) {
        const char *at = strstr(start, marks[i]);
        if (!at)
            continue;
        int64_t id = strtoll(at + strlen(marks[i]), NULL, 10);
        if (id >= POST_FIRST)
            return id - POST_FIRST;
    }
    return -1;
}
