/* What the two halves of retention share: which backups are kept (retention_choose.c), and what
 * that means for every object (retention.c). */
#pragma once
#include "backup/retention.h"

typedef struct Backup {
    const Base *base;
    const Seen *seen;
    Msec came;
    int64_t whole;     /* the note by which it was; 0: it is not */
    bool proven, good; /* good: its last drill was */
    char *why;         /* NULL: not kept */
} Backup;

typedef struct Deciding {
    const Catalogue *c;
    const RetentionRules *rules;
    Msec *floors;        /* by note: what an object that it saw can't be older than */
    VEC(Backup) backups; /* oldest first */
    WalPieces pieces;
    Name *names;
    const Seen **holder;                          /* merged segment that an object is wholly in */
    bool *keep;                                   /* all three by object of the catalogue */
    Backup *anchor, *newest_proven, *newest_good; /* or NULL */
} Deciding;

/* Fills in `floors` and `backups`, with why each is kept. ERR_CORRUPT as retention_decide. */
int retention_choose(Deciding *d, const Bases *bases, Err *err) _must_check_;
/* When an object came, as retention.h has it. */
Msec retention_came(const Deciding *d, const Seen *s);
/* Marked long enough ago to be removed. */
bool retention_due(const Deciding *d, const Seen *s);
/* In time or in notes: a clock that went back takes nothing out. */
bool retention_since(const Backup *b, Msec came, int64_t note);
