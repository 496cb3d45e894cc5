/* The request log: one JSON object a line, written before the answer leaves.
 *
 *   {"n":17,"service":"nova","method":"POST","path":"/v2.1/servers","query":"","status":202,
 *    "user":"demo","request_id":"req-...","fault":"reset"}
 *
 * `n` is the number of arrival; lines stand in the order in which requests ended, because a line
 * must not wait for an upload of hours. Status 0: the connection was reset by a fault; 499: the
 * client went away. Values of temp_url_sig are replaced by "..."; tokens are never in it.
 */
#pragma once
#include "base/err.h"

typedef struct Journal Journal;

typedef struct JournalLine {
    int64_t n;
    const char *service, *method, *path, *query;
    int status;
    const char *user; /* or NULL */
    const char *request_id;
    const char *fault; /* or NULL */
} JournalLine;

/* Appends to `path` (0600). ERR_IO. */
int journal_open(const char *path, Journal **ret, Err *err) _must_check_;
Journal *journal_close(Journal *j);
int64_t journal_arrival(Journal *j); /* the next number, from 1 in each run */
void journal_write(Journal *j, const JournalLine *l);
