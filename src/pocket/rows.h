/* What the services made of rows (Nova, Neutron, Cinder) share: who may see a row, comparing it
 * with a query, states that settle, and quotas. Called under pocket's lock.
 */
#pragma once
#include "pocket/pocket.h"

bool row_admin(const PocketCall *c);
/* The caller's project, or admin's eyes. Rows have "project_id". */
bool row_own(const PocketCall *c, const json_t *row);
/* Sets a text; NULL makes it null. */
void row_text(json_t *row, const char *key, const char *value);
/* A text that is null or not there is "". Borrowed. */
const char *row_get(const json_t *row, const char *key);

/* Compares a row's value with a query's text as OpenStack's filters do: numbers by their digits,
 * booleans by any of their spellings, a list by any member, null and "" alike. */
bool row_matches(const json_t *value, const char *text);
/* True if the query has no `name`, or one of its values (a repeated name means "or") matches. */
bool row_query(const PocketCall *c, const char *name, const json_t *value);

/* Sorts by one key's texts or numbers; equal ones keep their order. */
void row_sort(json_t *rows, const char *key, bool down);

/* A state that becomes final after so many looks (Pocket.settle_lists). row_unsettle starts the
 * count; row_settle counts one look and is true when the state is due (and was not before). The
 * caller stores the row after a look. */
void row_unsettle(const Pocket *p, json_t *row);
bool row_settle(json_t *row);
bool row_settling(const json_t *row);

/* A view of the row for an answer: a deep copy without keys that begin with "_". */
json_t *row_public_new(const json_t *row);

typedef struct Quota {
    const char *name;                                /* NULL ends the table */
    int64_t limit;                                   /* -1: none */
    int64_t (*used)(Pocket *p, const char *project); /* NULL: a limit of one request or row */
} Quota;
typedef struct QuotaSet {
    const char *kind; /* of the rows with changed limits; the row's id is the project */
    const Quota *rows;
} QuotaSet;
typedef enum QuotaView { QUOTA_LIMITS, QUOTA_DEFAULTS, QUOTA_DETAILS } QuotaView;

int64_t quota_limit(Pocket *p, const QuotaSet *set, const char *project, const char *name);
int64_t quota_used(Pocket *p, const QuotaSet *set, const char *project, const char *name);
/* True if `more` fit in beside what is used. */
bool quota_allows(Pocket *p, const QuotaSet *set, const char *project, const char *name,
                  int64_t more);
/* {name: limit} or, as details, {name: {"limit", `used_word`, "reserved"}}. */
json_t *quota_view_new(Pocket *p, const QuotaSet *set, const char *project, QuotaView view,
                       const char *used_word);
/* The first name in `limits` that is no quota; NULL: all are. Borrowed. */
const char *quota_unknown(const QuotaSet *set, json_t *limits);
/* The first of the changed limits that is below what is used already; NULL: none. Borrowed. */
const char *quota_overdrawn(Pocket *p, const QuotaSet *set, const char *project, json_t *limits,
                            int64_t *ret_limit);
/* Takes changed limits; false if a name is unknown or a value is no number (nothing is stored). */
bool quota_change(Pocket *p, const QuotaSet *set, const char *project, json_t *limits);
void quota_reset(Pocket *p, const QuotaSet *set, const char *project);
