/* A table for a terminal, through libsmartcols. */
#pragma once
#include "base/buf.h"

typedef struct Columns Columns;
/* `names`: NULL-ended. Columns that do not fit are cut from the right-most inwards. */
Columns *columns_new(const char *const *names);
void columns_row(Columns *c, const char *const *cells); /* as many as names; copies; NULL: empty */
void columns_print(Columns *c, Buf *out, int width);    /* width 0: as wide as needed */
Columns *columns_free(Columns *c);
