/* Bounds and intervals of the streaming server: one row each, from which the reader, the man page,
 * `--show-settings` and the counters of what was refused come (style.md 8). */
#pragma once
#include "base/buf.h"
#include "base/err.h"

typedef struct StreamSettings {
    int64_t loops, per_address, per_account, connections, subscriptions, queue_bytes, message_bytes,
        handshake_ms, ping_ms, thump_ms, beat_ms, beat_life_ms, pending_jobs, pending_bytes,
        backlog_bytes, batch, redis_silence_ms, drain_ms;
} StreamSettings;

#define STREAM_LOOPS_MAX 32 /* as many as a channel can name (hub.h) */

/* UNIT_CORES: a count, or `auto` (0): as many as there are cores. */
typedef enum SettingUnit { UNIT_COUNT, UNIT_BYTES, UNIT_MS, UNIT_CORES } SettingUnit;

typedef struct StreamSetting {
    const char *name; /* "connections-per-address"; from ATOLL_STREAM_CONNECTIONS_PER_ADDRESS too */
    SettingUnit unit;
    int64_t min, max, def;
    const char *sentence;
    size_t offset;
} StreamSetting;
extern const StreamSetting stream_settings[]; /* ends with a NULL name */

void stream_settings_default(StreamSettings *s);
/* "connections-per-address=100"; "30s" for times. ERR_USAGE with the nearest right spelling. */
int stream_settings_set(StreamSettings *s, const char *assignment, Err *err) _must_check_;
/* From the environment; `get` is getenv or what reads a file. */
typedef const char *StreamGetenv(void *user, const char *name);
int stream_settings_environment(StreamSettings *s, StreamGetenv *get, void *user,
                                Err *err) _must_check_;
/* The table with its values, for people. */
void stream_settings_show(const StreamSettings *s, Buf *out);
/* "1 to 32, or auto", "100 ms to 1 h", "4096 to 1073741824 bytes"; and its default. */
void stream_setting_allowed(const StreamSetting *row, Buf *out);
void stream_setting_default(const StreamSetting *row, Buf *out);
/* doc/stream-settings.md. */
void stream_settings_reference(Buf *out);
