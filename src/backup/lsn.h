/* Places in the write-ahead log: an LSN is a byte position in it, a timeline says which history of
 * the cluster it belongs to, a segment is a file of it. Pure.
 *
 * Texts are PostgreSQL's: an LSN "16/B374D848" (datatype pg_lsn), a segment's file name of 24 hex
 * digits: timeline, then the two halves of the segment's number (XLogFileName of
 * access/xlog_internal.h), a history file "00000002.history".
 */
#pragma once
#include "base/util.h"

typedef uint64_t Lsn;
typedef uint32_t Timeline;
#define LSN_TEXT_MAX 18     /* "FFFFFFFF/FFFFFFFF" and its end */
#define SEGMENT_NAME_MAX 25 /* 24 digits and the end */
#define SEGMENT_BYTES                                                                              \
    (16u << 20) /* the default; a cluster may have 1 MiB to 1 GiB, a power of 2                    \
                 */

const char *lsn_format(Lsn l, char out[static LSN_TEXT_MAX]); /* returns out */
bool lsn_parse(const char *s, Lsn *ret) _must_check_;
const char *segment_format(Timeline tli, Lsn at, uint32_t segment_bytes,
                           char out[static SEGMENT_NAME_MAX]);
/* A name of exactly 24 digits; *ret_start is the segment's first byte. */
bool segment_parse(const char *name, uint32_t segment_bytes, Timeline *ret_tli,
                   Lsn *ret_start) _must_check_;
/* "00000002.history" */
bool history_parse(const char *name, Timeline *ret_tli) _must_check_;
