/* What can be known before a plan's first write. */
#include "cmd/cmd.h"
#include "plan/quota_need.h"

bool cmd_plan_creates(const CmdPlan *p, ResourceKind kind)
{
    for (size_t i = 0; i < p->steps.len; i++)
        if (p->steps.items[i].kind == kind &&
            (p->steps.items[i].verb == KIND_CREATE || p->steps.items[i].verb == KIND_REBUILD))
            return true;
    return false;
}

/* The lease is judged by the cloud's clock, but URLs of minutes are made by ours. */
#define SKEW_MAX (5 * MINUTE)

int cmd_check_clock(const Cmd *c, Err *err)
{
    char span[TIME_TEXT_MAX];
    Msec skew = 0;

    /* The same Keystone, mostly; the login that was used last knows. */
    for (int i = 0; i < CLOUD_ROLES && !skew; i++)
        skew = cloud_skew(c->clouds.of[i]);
    if (skew >= -SKEW_MAX && skew <= SKEW_MAX)
        return 0;
    err_set(err, ERR_PREFLIGHT, "this machine's clock is %s %s the cloud's",
            time_span(((skew < 0 ? -skew : skew) + MINUTE / 2) / MINUTE * MINUTE, span),
            skew < 0 ? "ahead of" : "behind");
    return err_hint(err,
                    "set it (`timedatectl set-ntp true`): leases and signed URLs depend on it");
}

/* Only what adds to something is asked about: a plan without changes costs nothing more. */
int cmd_plan_quota(Cmd *c, const CmdPlan *p, Err *err)
{
    int64_t need[QUOTA_ITEMS];
    Quota have[QUOTA_ITEMS];
    unsigned mask = 0;

    quota_need(&p->goal, &p->world, &p->steps, need);
    for (size_t i = 0; i < QUOTA_ITEMS; i++)
        mask |= need[i] > 0 ? 1u << i : 0;
    if (!mask)
        return 0;
    int r = quota_look(&c->clouds, mask, have, err);
    return r < 0 ? r : quota_fits(need, have, err);
}
