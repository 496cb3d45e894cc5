/* What is published: a status as Mastodon's API shapes it, of 3.4 KB (3.9 KB in a WebSocket's
 * frame), with a sequence number for its id, and how the number is found again in what arrives.
 */
#pragma once
#include "base/buf.h"

enum { POST_MAX = 8192 };
#define POST_FIRST 100000000000000000LL /* ids as long as Mastodon's */

/* Author: a remote account that no viewer knows, so that each viewer is sent it. keyword: a word of
 * viewers' filters is in it. Returns its length. */
size_t post_write(char out[static POST_MAX], int64_t sequence, bool keyword);
/* {"event":"delete","payload":"ID"} */
size_t post_delete(char out[static POST_MAX], int64_t sequence);
/* From the first bytes of a delivered payload; -1: there is none. */
int64_t post_sequence(const char *start);
