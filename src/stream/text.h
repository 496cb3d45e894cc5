/* A status as plain text, in UTF-16 units with case taken away: what custom filters are matched
 * against. gumbo (an HTML5 parser) reads the fragment. Pure. */
#pragma once
#include "stream/js.h"

typedef VEC(uint16_t) Units;

/* HTML to text as a browser's textContent of the fragment: entities decoded, tags, comments and
 * templates gone; <br> a newline and </p><p> an empty line. Appends UTF-8. */
void text_of_html(Str html, Buf *out);
/* The searchable text of a status: warning, content, options of the poll, descriptions of media.
 * Appends UTF-8. `status` is a Status object. */
void text_of_status(const Js *js, const JsNode *status, Buf *out);
/* UTF-8 (checked) to UTF-16. */
void text_units(Str utf8, Units *out);
/* One unit as an ECMAScript regular expression with the flag i compares it (Canonicalize). */
uint16_t text_fold(uint16_t unit);
