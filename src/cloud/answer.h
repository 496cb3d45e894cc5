/* What the answer of an OpenStack service means. Pure: a table of how each service says things.
 *
 * Sources: reference iac.md 2.6 (errors, quotas), 2.8 (pages), 2.4 (which POST may be repeated).
 */
#pragma once
#include "cloud/cloud.h"

/* An answer, borrowed. */
typedef struct Answer {
    CloudService service;
    int status;
    const StrList *headers; /* "Name: value" */
    Str body;
} Answer;

/* "network service" */
const char *answer_service_name(CloudService s);
/* Value of a header, name in any case; NULL if it is not there. Borrowed. */
const char *answer_header(const StrList *headers, const char *name);
/* "404 Not Found"; to be freed. */
char *answer_status_text(int status);

/* The error of an answer outside 2xx: kind from the status and the service's own quota words; text
 * in the service's own words; request id. `request` (or NULL) is what was sent: a secret of it that
 * the service quotes back is replaced. Returns -kind. */
int answer_error(const Answer *a, json_t *request, Err *err);

/* May a request be repeated? */
typedef enum RetryWhat { RETRY_NO, RETRY_WAIT, RETRY_LOGIN } RetryWhat;
typedef struct RetryCase {
    CallKind kind;
    CloudService service;
    int status; /* 0: no answer, or none that could be read; then `failure` */
    ErrKind failure;
    bool sent;               /* the request may have reached the server */
    const char *retry_after; /* the header or NULL */
    bool relogged;           /* the login was renewed for this request already */
    int tries;               /* so far, with this one */
    Msec spent_ms;           /* since the first */
    Msec now;                /* wall clock, for a Retry-After that is a date */
    uint64_t random;
} RetryCase;
typedef struct Retry {
    RetryWhat what;
    Msec wait_ms;
    bool unknown_effect; /* no read, and it may have happened */
} Retry;
#define RETRY_TRIES 6
#define RETRY_BUDGET MINUTE
Retry answer_retry(const RetryCase *c);

/* One page of a list. */
typedef struct AnswerPage {
    CloudService service;
    const char *plural, *url; /* as asked for */
    const json_t *json;
    size_t before; /* items on earlier pages */
    int64_t total; /* objects in the container, as Swift counts them; -1: not told */
} AnswerPage;
/* Its items (borrowed from the page), and the URL of the next one (to be freed; NULL if this was
 * the last), made from this one's, whose scheme, host and path are kept: proxies leak wrong ones.
 * ERR_CORRUPT if the list is not in the answer or says that it was cut short. */
int answer_page(const AnswerPage *p, json_t **ret_items, char **ret_next_url,
                Err *err) _must_check_;
/* The URL of a list's first page: with the page size where the service has a small default or no
 * word for "there is more". To be freed. */
char *answer_first_url(CloudService s, const char *plural, const char *base, const char *path);

/* Overwrites passwords and the like in a request or answer before it is freed. */
void answer_wipe(json_t *j);
