/* A viewer's custom filters, and what of a text they match, as Mastodon's streaming server tells
 * its clients. Pure; time is passed in.
 *
 * Keywords of one filter are alternatives in the order of rows: the leftmost match wins, then the
 * first keyword. Comparison is by UTF-16 unit without case; a whole word has a boundary where the
 * keyword begins or ends with an ASCII letter, digit or underscore.
 */
#pragma once
#include "base/time.h"
#include "stream/text.h"

typedef struct Keyword {
    Units units; /* folded */
    bool whole_word;
} Keyword;

typedef struct Filter {
    int64_t id;
    char *shown;  /* {"id":"..","title":..,"context":[..],"expires_at":..[,"filter_action":..]} */
    Msec expires; /* 0: never */
    VEC(Keyword) keywords;
} Filter;

/* In ascending order of id. */
typedef struct Filters {
    VEC(Filter) items;
} Filters;
void filters_clear(Filters *f);

typedef struct FilterRow {
    int64_t id;
    Str phrase;
    const Str *contexts;
    size_t contexts_len;
    Msec expires; /* 0: never */
    int action;   /* 0 warn, 1 hide, others have no name here */
    Str keyword;
    bool whole_word;
} FilterRow;
/* Adds a keyword, and its filter if it is not there yet: rows come by ascending id. */
void filters_add(Filters *f, const FilterRow *row);
/* Has it one that has not expired? */
bool filters_live(const Filters *f, Msec now);

/* A text ready to be searched for many viewers. */
typedef struct Haystack {
    Units units, folded;
} Haystack;
void haystack_set(Haystack *h, Str utf8);
void haystack_clear(Haystack *h);

/* The value of `filtered`: a JSON array, "[]" if nothing matches. */
void filters_match(const Filters *f, const Haystack *h, Msec now, Buf *out);
