/* Live progress of a run: on a terminal one line per resource that is being worked on, rewritten in
 * place, above which finished ones scroll by; elsewhere one line per change; with --json an event.
 */
#pragma once
#include "plan/apply.h"

typedef struct Progress Progress;
Progress *progress_new(bool terminal, bool json, bool quiet, bool color);
void progress_event(void *progress, const ApplyEvent *e); /* an ApplyContext's `event` */
/* Removes the live lines; frees. */
Progress *progress_free(Progress *p);
