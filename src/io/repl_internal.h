/* What repl.c (streaming) and repl_base.c (BASE_BACKUP) share; nobody else includes this. */
#pragma once
#include "io/pg_internal.h"
#include "io/repl.h"

#define REPL_TIMEOUT_MS MINUTE /* of a command's first answer */

typedef struct ReplBaseState ReplBaseState; /* repl_base.c's */
void repl_base_free(ReplBaseState *b);

struct Repl {
    PGconn *c;
    int version;         /* server_version_num */
    PGresult *end;       /* which timeline follows */
    char *copy;          /* what the last message's data lies in */
    ReplBaseState *base; /* of a base backup */
};

/* One walsender command; its words may name the server's own. */
int repl_ask(Repl *r, const char *command, PGresult **ret, char ret_state[static SQLSTATE_MAX],
             Err *err) _must_check_;
/* "16/B374D848"; false if it is none. */
bool repl_lsn(const char *text, uint64_t *ret) _must_check_;
