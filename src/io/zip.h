/* zstd: whole buffers. (RFC 8878.) Pure, for any thread. */
#pragma once
#include "base/buf.h"
#include "base/err.h"

/* Appends one frame with its content size. Levels 1 to 19. */
int zip_pack(Str plain, int level, Buf *ret, Err *err) _must_check_;
/* Appends exactly `plain_bytes`. ERR_CORRUPT if it is anything else. */
int zip_unpack(Str packed, size_t plain_bytes, Buf *ret, Err *err) _must_check_;
