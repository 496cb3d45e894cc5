#include "scale/pool_heat.h"

#include <ctype.h>

/* The older engine answers before its stack says that it is at it. */
#define BEGIN_WAIT MINUTE
#define HOST_MAX 63

void pool_heat_clear(HeatPool *p)
{
    free(p->name);
    free(p->group_name);
    free(p->updated);
    heat_stack_clear(&p->stack);
    heat_group_clear(&p->group);
    heat_members_clear(&p->now);
    heat_members_clear(&p->before);
}

int pool_heat_open(Cloud *c, const char *what, HeatPool *ret, Err *err)
{
    size_t n = strcspn(what, "/");

    *ret = (HeatPool){.cloud = c,
                      .name = xstrndup(what, n),
                      .group_name = what[n] ? xstrdup(what + n + 1) : NULL};
    int r = heat_stack(c, ret->name, &ret->stack, err);
    if (r < 0)
        return r;
    r = heat_group(c, &ret->stack, ret->group_name, &ret->group, err);
    return r < 0 ? err_wrap(err, "stack %s", ret->name) : 0;
}

char *pool_heat_host_new(const char *server)
{
    Buf b = BUF_INIT(BUF_MAX_LINE);

    for (const char *p = server; *p; p++) {
        bool dash = strchr(" _.-", *p) != NULL;
        if (dash ? b.len > 0 : isascii(*p) && isalnum((unsigned char)*p))
            buf_char(&b, dash ? '-' : (char)tolower((unsigned char)*p));
    }
    buf_truncate(&b, MIN(b.len, (size_t)HOST_MAX));
    while (b.len && b.p[b.len - 1] == '-')
        buf_truncate(&b, b.len - 1);
    return buf_detach(&b);
}

/* --- what is there --------------------------------------------------------------------------- */

/* Told to go by what was asked for last. */
static bool is_going(const HeatPool *p, const HeatMember *m)
{
    for (size_t i = 0; p->asked && i < p->before.items.len; i++)
        if (p->before.items.items[i].goes && *m->id && streq(p->before.items.items[i].id, m->id))
            return true;
    return starts_with(m->status, "DELETE_");
}

static int look(void *self, Pool *ret, Err *err)
{
    HeatPool *p = self;
    HeatMembers now = {0};

    int r = heat_stack(p->cloud, p->name, &p->stack, err);
    if (r == 0)
        r = heat_members(p->cloud, &p->stack, &p->group, &now, err);
    if (r < 0)
        return err_wrap(err, "looking at the servers of Heat");
    heat_members_clear(&p->now);
    p->now = now;
    for (size_t i = 0; i < now.items.len; i++) {
        const HeatMember *m = &now.items.items[i];
        /* One without a server is under way, or what an update that failed has left of it. */
        if (!m->server && !heat_is_busy(&p->stack))
            continue;
        vec_push(&ret->servers,
                 (PoolServer){.name = m->server ? pool_heat_host_new(m->server)
                                                : xasprintf("%s/%s", p->group.name, m->name),
                              .error = m->error,
                              .leaving = is_going(p, m),
                              .made = m->made});
    }
    return 0;
}

/* --- changes --------------------------------------------------------------------------------- */

static bool is_named(const HeatMember *m, const char *const *names)
{
    _cleanup_free_ char *host = m->server ? pool_heat_host_new(m->server) : NULL;

    for (; host && *names; names++)
        if (streq(*names, host))
            return true;
    return false;
}

/* Marks who goes; true if the group is not as it is to be. */
static bool choose(HeatPool *p, int size, const char *const *without)
{
    int stay = 0;
    bool any = false;

    for (size_t i = 0; i < p->now.items.len; i++) {
        HeatMember *m = &p->now.items.items[i];
        m->goes = !m->server || is_named(m, without) || starts_with(m->status, "DELETE_");
        any |= m->goes;
        stay += !m->goes;
    }
    return any || stay != size;
}

static int set(void *self, int size, const char *const *without, int64_t generation, Err *err)
{
    HeatPool *p = self;
    (void)generation;

    if (heat_is_busy(&p->stack))
        return err_set(err, ERR_TEMPORARY, "stack %s is %s: it is waited for", p->name,
                       p->stack.status);
    if (!choose(p, size, without))
        return 0;
    int r = heat_resize(p->cloud, &p->stack, &p->group, size, &p->now, err);
    if (r < 0)
        return err_wrap(err, "stack %s", p->name);
    heat_members_clear(&p->before);
    p->before = p->now;
    p->now = (HeatMembers){0};
    p->asked = true;
    p->size = size;
    free(p->updated);
    p->updated = xstrdup(p->stack.updated);
    p->asked_at = time_mono();
    return 0;
}

static int failed(const HeatPool *p, Err *err)
{
    bool full = strcasestr(p->stack.reason, "quota exceeded") != NULL;

    return err_set(err, full ? ERR_QUOTA : ERR_PARTIAL, "%s: %s", p->stack.status, p->stack.reason);
}

static bool busy(void *self, int *ret_result, Err *err)
{
    HeatPool *p = self;
    _cleanup_(heat_members_clear) HeatMembers now = {0};

    *ret_result = 0;
    /* That it can't be looked at the look will say. */
    if (heat_stack(p->cloud, p->name, &p->stack, NULL) < 0)
        return p->asked;
    if (heat_is_busy(&p->stack))
        return true;
    if (!p->asked)
        return false;
    bool begun = !streq(p->stack.updated, p->updated);
    if (!begun && time_mono() - p->asked_at < BEGIN_WAIT)
        return true;
    if (heat_members(p->cloud, &p->stack, &p->group, &now, NULL) < 0)
        return true;
    p->asked = false;
    *ret_result = streq(p->stack.status, "UPDATE_COMPLETE")
                      ? heat_verify(&p->before, p->size, &now, err)
                      : failed(p, err);
    if (*ret_result < 0)
        (void)err_wrap(err, "stack %s", p->name);
    return false;
}

const PoolDriver pool_heat = {.name = "heat", .look = look, .set = set, .busy = busy};
