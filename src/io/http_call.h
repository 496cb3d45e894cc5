/* One request on one libcurl handle: for http.c only. */
#pragma once
#include "io/http.h"
#include <curl/curl.h>

typedef struct Call {
    const HttpRequest *request; /* borrowed */
    HttpResponse *response;     /* borrowed */
    CURL *easy;                 /* borrowed, while in flight; else NULL */
    struct curl_slist *headers, *resolve;
    char words[CURL_ERROR_SIZE]; /* libcurl's own */
    Err own;                     /* why we cut the transfer off ourselves */
    Msec start;
    int64_t body_at; /* of body_fd or body_read */
    off_t sink_start;
    size_t header_bytes, body_bytes;
    bool head_complete; /* the empty line behind the headers was there */
    int tries;          /* connections this request was put on */
} Call;

/* Sets every option of the (reset) handle. A request that cannot be sent as it is: ERR_CONFIG. */
int call_setup(Call *c, CURL *easy, Err *err) _must_check_;
/* Fills the response from what the handle knows and lets go of the handle. */
void call_end(Call *c, CURLcode code);
/* The same for a call that is given up: what the server did is unknown if anything was sent. */
void call_interrupt(Call *c);
/* Fails a call that never got a handle. */
void call_refuse(Call *c, Err *err);
