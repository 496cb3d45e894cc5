/* What the files of the stream share; nobody else includes this. */
#pragma once
#include "backup/stream.h"

#define SYSTEM_ID_MAX 24

/* What is remembered between runs: a line of JSON in the state's folder. It may be lost, and is
 * taken for lost when it can't be read. It is written before PostgreSQL is told what is stored, but
 * without fsync: after a power cut it may be older than the slot, never newer than the store. */
typedef struct Memory {
    char system[SYSTEM_ID_MAX];
    StreamPlace stored;
    char hash[OBJECT_HASH_MAX]; /* identity of the last piece */
    Timeline history;           /* whose history file is stored; 0: none */
} Memory;
typedef struct MemoryFile {
    int fd, lock; /* -1: there is no folder */
} MemoryFile;
/* ERR_HELD: another stream has it. ERR_IO. `folder` NULL: remembers nothing. */
int memory_open(const char *folder, MemoryFile *ret_file, Memory *ret, Err *err) _must_check_;
void memory_write(const MemoryFile *f, const Memory *m);
void memory_close(MemoryFile *f);
DEFINE_CLEAR(MemoryFile, memory_close)

/* Objects on their way to the store, in order. Each is tried until it is there. */
typedef struct Put {
    char *name;
    Buf object;
    char hash[OBJECT_HASH_MAX];
    bool history;
    Timeline tli;
    Lsn end;
    size_t plain;
    Msec took; /* the try that went through */
    bool done; /* false: it was abandoned */
} Put;
Put *put_free(Put *p);
static inline void put_drop(Put *p)
{
    (void)put_free(p);
}
DEFINE_CLEANUP(Put *, put_drop)

typedef struct Puts Puts;
Puts *puts_new(Store *store);
/* What is not stored yet is given up. */
Puts *puts_free(Puts *p);
static inline void puts_drop(Puts *p)
{
    (void)puts_free(p);
}
DEFINE_CLEANUP(Puts *, puts_drop)
bool puts_full(Puts *p);
size_t puts_count(Puts *p);
int puts_fd(const Puts *p);
void puts_push(Puts *p, Put *put); /* takes it */
Put *puts_take(Puts *p);           /* the oldest, if it is stored; else NULL */
#define TROUBLE_MAX 300
/* Why the store doesn't take them, "" while it does. */
void puts_trouble(Puts *p, char out[static TROUBLE_MAX]);

/* synchronous_standby_names and the slot's alarm, by the SQL login. */
typedef struct Watch {
    const PgTarget *sql; /* NULL: there is none */
    const char *slot;
    BackupSync wanted;
    Msec give_up_ms;
    bool known;    /* the setting was read */
    bool promoted; /* our name stands in it */
    bool foreign;  /* it is the operator's own value: never changed */
    Msec next_look, next_say, next_try;
    SlotAlarm alarm;
    Msec given_up; /* wall clock; 0: not */
    Lsn given_up_at;
} Watch;
/* The setting as it is: again after each connection. ERR_CONFIG: it names others, and not us. */
int watch_begin(Watch *w, Err *err) _must_check_;
typedef struct WatchView {
    bool caught_up;
    Msec since; /* as in SyncView; of time_mono */
    Lsn stored;
} WatchView;
/* Does what sync_next says, and looks after the slot each half minute. Logs. */
void watch_step(Watch *w, const WatchView *v, Msec now);
/* At a clean end: give_up takes its name away. */
void watch_end(Watch *w);
/* A server that takes no logins while it still sends its log: it is shutting down, and waits for
 * us. */
bool watch_going_down(const Watch *w);
