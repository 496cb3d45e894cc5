/* Segments over a unix socket: what restore answers, and the client that PostgreSQL runs.
 *
 * A request is a file name and a newline, and with its first byte the descriptor of an empty file
 * that is open for writing (SCM_RIGHTS, unix(7)). The answer is a byte: 'f': its bytes were written
 * there; 'a': absent by the catalogue; 'e': could not be had, as is no answer. One client at a
 * time, as PostgreSQL asks.
 */
#pragma once
#include "backup/wal.h"

typedef struct SegmentServer SegmentServer;
/* Borrows the reader. The socket belongs to that user (-1: as it is). */
int segment_server_open(const char *path, WalReader *w, uid_t uid, gid_t gid, SegmentServer **ret,
                        Err *err) _must_check_;
SegmentServer *segment_server_free(SegmentServer *s);
static inline void segment_server_drop(SegmentServer *s)
{
    (void)segment_server_free(s);
}
DEFINE_CLEANUP(SegmentServer *, segment_server_drop)
int segment_server_fd(const SegmentServer *s); /* for poll(2) */
/* Answers one client that waits, if any. */
void segment_server_turn(SegmentServer *s);
/* Why an answer was 'e', the first time; its kind is ERR_NONE if none was. */
Err *segment_server_error(SegmentServer *s);
/* Name of the last segment that was found; "" before. */
const char *segment_server_last(const SegmentServer *s);
