/* Facts of a status that decide who may see it. Pure; jobs.c acts on them. */
#pragma once
#include "base/vec.h"
#include "stream/js.h"

typedef struct Facts {
    bool local, has_filtered;
    int64_t author;
    VEC(int64_t) targets; /* the author and who is mentioned */
    char *language;       /* JSON, with quotes; NULL: none */
    char *domain;         /* of the author; NULL: here */
} Facts;
/* False if it is no Status. */
bool facts_read(const Js *js, const JsNode *status, Facts *ret) _must_check_;
void facts_clear(Facts *f);
