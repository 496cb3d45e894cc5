/* What the parts of pocket that are no service share: arrivals (request ids, faults, the request
 * log) and the pieces of dispatch that its tests look at. A service's handlers need pocket.h only.
 */
#pragma once
#include "io/httpd.h"
#include "pocket/fault.h"
#include "pocket/journal.h"
#include "pocket/pocket.h"

typedef struct PocketCore {
    Faults *faults; /* NULL: none */
    Journal *journal;
    int64_t token_life_s;
    volatile bool stopping; /* ends what waits */
} PocketCore;

typedef struct Listener {
    Pocket *pocket;
    PocketService service;
    Httpd *httpd;
} Listener;

/* "nova", as in the request log and in fault rules; and the catalogue's type, "compute". */
const char *service_name(PocketService s);
const char *service_type(PocketService s);

/* One request from its arrival to its line in the log. */
typedef struct Arrival {
    Pocket *pocket;
    PocketService service;
    int64_t n;
    char *request_id;
    char *user; /* name of the caller for the log, or NULL */
    Fault fault;
    bool logged;
} Arrival;

/* Numbers the request and performs what a fault rule wants before the effect. False: the call is
 * answered (c->answered and the reply are set) and nothing may happen. */
bool arrival_begin(Arrival *a, const Listener *l, HttpdCall *c);
/* To be called when the whole request is here, before its effect and without the lock: a rule may
 * want the client dead by then. */
void arrival_land(Arrival *a, HttpdCall *c);
/* To be called with the finished reply, after the commit: adds the request id, performs what a
 * rule wants after the effect, writes the log line. */
void arrival_end(Arrival *a, HttpdCall *c);
/* Logs a request that never came to its end as 499, and frees. */
void arrival_close(Arrival *a, const HttpdCall *c);

/* The route for a raw path: segments are matched decoded, one {name} takes one segment (so an id
 * with %2F in it), {name...} the rest; the most literal one wins; a final slash does not matter;
 * HEAD falls back to GET. NULL: *ret_allowed says whether the path exists with another method. */
const PocketRoute *route_find(const PocketRoute *table, const char *method, const char *target,
                              StrList *ret_args, bool *ret_other_method);
/* Object of strings and arrays of strings. */
json_t *query_parse_new(const char *query);
/* The minor version asked for in OpenStack-API-Version ("compute 2.67") or the older header; 1 (or
 * 0 for Cinder) if none; -1 if it is above `max` or no version at all. */
int microversion_of(PocketService s, const StrList *headers, int max);
/* The version asked for of this service ("2.67", "latest"), or NULL; to be freed. The header may
 * name several services. */
char *microversion_text(PocketService s, const StrList *headers);
bool version_shaped(const char *text); /* "2.67" */
/* The path of an access rule of an application credential: one star stands for one segment, two
 * for any number. */
bool access_path_matches(const char *pattern, const char *path);
/* First header of that name in any case; NULL if none. */
const char *header_of(const StrList *headers, const char *name);
/* 409: "Conflict"; borrowed. */
const char *status_title(int status);

/* Turns an error's parts (r->json as Glance has it) into the page for people. */
void error_page(PocketReply *r);

extern const HttpdHandler serve_handler; /* of the JSON services; user: a Listener */
extern const HttpdHandler swift_handler;
