#include "stream/settings.h"
#include "base/table.h"
#include "base/time.h"
#include "host/env.h"

#include <stdio.h>

#define ROW(field) .offset = offsetof(StreamSettings, field)
const StreamSetting stream_settings[] = {
    {"loops", UNIT_CORES, 1, STREAM_LOOPS_MAX, 1,
     "Event loops, each a thread with its share of the clients and of DB_POOL; auto: one a core.",
     ROW(loops)},
    {"connections", UNIT_COUNT, 1, 10000000, 1000000,
     "Connections at most, in all; more are closed at once.", ROW(connections)},
    {"connections-per-address", UNIT_COUNT, 1, 10000000, 1000,
     "Connections of one client address. Addresses of trusted proxies do not count.",
     ROW(per_address)},
    {"connections-per-account", UNIT_COUNT, 1, 10000000, 300, "Connections of one account.",
     ROW(per_account)},
    {"subscriptions-per-connection", UNIT_COUNT, 1, 100000, 200,
     "Streams that one connection may subscribe to.", ROW(subscriptions)},
    {"queue", UNIT_BYTES, 4096, 1LL << 30, 256 << 10,
     "Bytes that may wait for a client that reads slowly; then it is cut.", ROW(queue_bytes)},
    {"message", UNIT_BYTES, 256, 16 << 20, 4096,
     "Bytes of a message that a client may send; larger ones end the connection with 1009.",
     ROW(message_bytes)},
    {"handshake", UNIT_MS, 100, HOUR, 10 * SECOND,
     "Time for a request's head to arrive, and for an idle kept-alive connection.",
     ROW(handshake_ms)},
    {"ping", UNIT_MS, 100, HOUR, 30 * SECOND,
     "Time between pings; a client that has not answered at the next one is cut.", ROW(ping_ms)},
    {"thump", UNIT_MS, 100, HOUR, 15 * SECOND, "Time between comments to event sources.",
     ROW(thump_ms)},
    {"beat", UNIT_MS, 100, HOUR, 360 * SECOND,
     "Time between writes of a channel's subscribed: key.", ROW(beat_ms)},
    {"beat-life", UNIT_MS, 1000, HOUR, 1080 * SECOND, "Life of a subscribed: key.",
     ROW(beat_life_ms)},
    {"pending", UNIT_COUNT, 1, 1000000, 1000,
     "Messages that may wait for PostgreSQL, in each loop; more are dropped.", ROW(pending_jobs)},
    {"pending-bytes", UNIT_BYTES, 65536, 1LL << 40, 64 << 20, "Bytes of these.",
     ROW(pending_bytes)},
    {"backlog", UNIT_BYTES, 65536, 1LL << 40, 64 << 20,
     "Bytes of messages that may wait for one of several loops; then its clients are sent away.",
     ROW(backlog_bytes)},
    {"batch", UNIT_COUNT, 1, 10000, 500, "Tokens, lists or viewers asked about in one statement.",
     ROW(batch)},
    {"redis-silence", UNIT_MS, 1000, HOUR, 30 * SECOND,
     "Time without a word from Redis, its answer to PING included, until it is given up.",
     ROW(redis_silence_ms)},
    {"drain", UNIT_MS, 100, HOUR, ENV_STREAM_DRAIN_MS,
     "Time that clients have to close on SIGTERM; each loop tells 200 a second to, or as many more "
     "as "
     "leave the last a fifth of it.",
     ROW(drain_ms)},
    {0},
};

static int64_t *field(StreamSettings *s, const StreamSetting *row)
{
    return (int64_t *)(void *)((char *)s + row->offset);
}

void stream_settings_default(StreamSettings *s)
{
    for (const StreamSetting *row = stream_settings; row->name; row++)
        *field(s, row) = row->def;
}

static int set(StreamSettings *s, const StreamSetting *row, const char *value, Err *err)
{
    int64_t v;
    if (row->unit == UNIT_CORES && streq(value, "auto")) {
        *field(s, row) = 0;
        return 0;
    }
    bool ok =
        row->unit == UNIT_MS ? span_or_ms_parse(value, &v) : parse_int(value, 0, INT64_MAX, &v);
    if (!ok || v < row->min || v > row->max) {
        static const char *const also[] = {"", "", " ms; 30s, 5m", ", or auto"};
        err_set(err, ERR_USAGE, "%s cannot be '%s'", row->name, value);
        return err_hint(err, "from %lld to %lld%s", (long long)row->min, (long long)row->max,
                        also[row->unit]);
    }
    *field(s, row) = v;
    return 0;
}

int stream_settings_set(StreamSettings *s, const char *assignment, Err *err)
{
    const char *equals = strchr(assignment, '=');
    _cleanup_free_ char *name =
        xstrndup(assignment, equals ? (size_t)(equals - assignment) : strlen(assignment));
    const char *names[ARRAY_LEN(stream_settings)] = {0};
    size_t n = 0;

    for (const StreamSetting *row = stream_settings; row->name; row++) {
        names[n++] = row->name;
        if (equals && streq(row->name, name))
            return set(s, row, equals + 1, err);
    }
    if (!equals)
        return err_set(err, ERR_USAGE, "'%s' has no value: NAME=VALUE", assignment);
    err_set(err, ERR_USAGE, "there is no setting '%s'", name);
    const char *near = util_nearest(name, names);
    return near ? err_hint(err, "did you mean %s?", near)
                : err_hint(err, "`atoll stream --show-settings` lists them");
}

static void variable(const StreamSetting *row, Buf *out)
{
    buf_str(out, ENV_STREAM);
    for (const char *p = row->name; *p; p++)
        buf_char(out, (char)(*p == '-' ? '_' : *p >= 'a' && *p <= 'z' ? *p - 32 : *p));
}

int stream_settings_environment(StreamSettings *s, StreamGetenv *get, void *user, Err *err)
{
    for (const StreamSetting *row = stream_settings; row->name; row++) {
        _cleanup_(buf_clear) Buf name = BUF_INIT(256);
        variable(row, &name);
        const char *value = get(user, name.p);
        if (value && *value && set(s, row, value, err) < 0)
            return err_wrap(err, "%s", name.p);
    }
    return 0;
}

void stream_settings_show(const StreamSettings *s, Buf *out)
{
    static const char *const units[] = {"", " bytes", " ms", ""};
    for (const StreamSetting *row = stream_settings; row->name; row++) {
        StreamSettings copy = *s;
        char number[24] = "auto";
        if (row->unit != UNIT_CORES || *field(&copy, row))
            (void)snprintf(number, sizeof(number), "%lld", (long long)*field(&copy, row));
        buf_printf(out, "%-30s %10s%-6s  %s\n", row->name, number, units[row->unit], row->sentence);
    }
}

static void quantity(SettingUnit unit, int64_t v, Buf *out)
{
    char span[TIME_TEXT_MAX];

    if (unit == UNIT_MS)
        buf_str(out, time_span(v, span));
    else
        buf_printf(out, "%lld", (long long)v);
}

void stream_setting_default(const StreamSetting *row, Buf *out)
{
    quantity(row->unit, row->def, out);
}

void stream_setting_allowed(const StreamSetting *row, Buf *out)
{
    static const char *const after[] = {"", " bytes", "", ", or auto"};

    quantity(row->unit, row->min, out);
    buf_str(out, " to ");
    quantity(row->unit, row->max, out);
    buf_str(out, after[row->unit]);
}

void stream_settings_reference(Buf *out)
{
    buf_str(out,
            "# The streaming server's bounds and intervals\n\n"
            "`atoll stream --set NAME=VALUE`, or the variable in its environment or in Mastodon's "
            ".env file; on an\nisland under `env:`. Made from the table that the program reads "
            "them with: `atoll reference stream`.\nTimes are given as `30s`, `5m`, or in "
            "milliseconds. [stream.md](stream.md) tells the rest.\n\n"
            "| name | variable | default | allowed | what it does |\n"
            "| --- | --- | --- | --- | --- |\n");
    for (const StreamSetting *row = stream_settings; row->name; row++) {
        buf_printf(out, "| `%s` | `", row->name);
        variable(row, out);
        buf_str(out, "` | ");
        stream_setting_default(row, out);
        buf_str(out, " | ");
        stream_setting_allowed(row, out);
        buf_printf(out, " | %s |\n", row->sentence);
    }
}
