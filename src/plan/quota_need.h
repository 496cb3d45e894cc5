/* What a plan adds to a project, at its highest point, and whether that fits. Pure.
 *
 * A replacement stands beside what it replaces before that goes, so the steps are counted in the
 * plan's order, and the peak is what must fit.
 */
#pragma once
#include "cloud/quota.h"
#include "plan/plan.h"

void quota_need(const Goal *g, const World *w, const Steps *plan, int64_t ret[static QUOTA_ITEMS]);
/* How many more things that each need `one` have room; INT_MAX: nothing limits them. */
int quota_room(const int64_t one[static QUOTA_ITEMS], const Quota have[static QUOTA_ITEMS]);
/* ERR_PREFLIGHT that names all that lack: "needs 3 more servers, 2 are left of 10". */
int quota_fits(const int64_t need[static QUOTA_ITEMS], const Quota have[static QUOTA_ITEMS],
               Err *err) _must_check_;
