/* What an agent that was killed left behind.
 *
 * Every service is a session of its own and dies with the agent; but what it started itself (an
 * nginx worker, say) may live on and hold its port. So the sessions are written down, and a new
 * agent ends what is left of them. A number alone could be another program's by now: only processes
 * whose working folder is inside the host's root are taken.
 */
#pragma once
#include "base/err.h"
#include "base/vec.h"

typedef VEC(pid_t) Sessions;

/* Ends what is left of the sessions noted in `path`; nothing when root is "" (there the service
 * manager does it). */
void sessions_end_old(const char *path, const char *root);
/* Replaces the note. */
int sessions_note(const char *path, const Sessions *s, Err *err) _must_check_;
