#include "plan/quota_need.h"

#include <limits.h>

/* Neutron gives each new group two rules for what goes out. */
#define RULES_OF_A_GROUP 2

/* What one of a kind counts for by its number alone; QUOTA_ITEMS: nothing. */
static QuotaItem item_of(ResourceKind kind)
{
    static const struct {
        ResourceKind kind;
        QuotaItem item;
    } rows[] = {
        {RESOURCE_NETWORK, QUOTA_NETWORKS},         {RESOURCE_SUBNET, QUOTA_SUBNETS},
        {RESOURCE_ROUTER, QUOTA_ROUTERS},           {RESOURCE_GROUP, QUOTA_GROUPS},
        {RESOURCE_INTERFACE, QUOTA_PORTS},          {RESOURCE_PORT, QUOTA_PORTS},
        {RESOURCE_FLOATING_IP, QUOTA_FLOATING_IPS}, {RESOURCE_SERVER_GROUP, QUOTA_SERVER_GROUPS},
        {RESOURCE_VOLUME, QUOTA_VOLUMES},           {RESOURCE_SERVER, QUOTA_INSTANCES},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (rows[i].kind == kind)
            return rows[i].item;
    return QUOTA_ITEMS;
}

typedef struct Count {
    const World *w;
    int64_t now[QUOTA_ITEMS], peak[QUOTA_ITEMS];
    json_t *members; /* {group: servers} */
} Count;

static void add(Count *c, QuotaItem item, int64_t n)
{
    c->now[item] += n;
    c->peak[item] = MAX(c->peak[item], c->now[item]);
}

static void add_flavor(Count *c, const json_t *attrs, int64_t sign)
{
    const json_t *flavor =
        json_object_get(json_at(c->w->facts, "flavors"), json_str_or(attrs, "flavor", ""));

    add(c, QUOTA_CORES, sign * json_int(flavor, "vcpus", 0));
    add(c, QUOTA_RAM_MB, sign * json_int(flavor, "ram_mb", 0));
}

static void add_member(Count *c, const json_t *attrs, int64_t sign)
{
    const char *group = json_str_or(attrs, "group", "");
    int64_t n = json_int(c->members, group, 0) + sign;

    if (!*group)
        return;
    json_object_set_new(c->members, group, json_integer(n));
    c->peak[QUOTA_GROUP_MEMBERS] = MAX(c->peak[QUOTA_GROUP_MEMBERS], n);
}

/* One comes (sign 1) or goes (-1). */
static void add_one(Count *c, const Resource *r, int64_t sign)
{
    QuotaItem item = item_of(r->kind);

    if (item < QUOTA_ITEMS)
        add(c, item, sign);
    if (r->kind == RESOURCE_GROUP && sign > 0)
        add(c, QUOTA_RULES, RULES_OF_A_GROUP);
    if (r->kind == RESOURCE_GROUP && sign < 0)
        add(c, QUOTA_RULES,
            -RULES_OF_A_GROUP - (int64_t)json_array_size(json_object_get(r->attrs, "rules")));
    if (r->kind == RESOURCE_VOLUME)
        add(c, QUOTA_GIGABYTES, sign * json_int(r->attrs, "size_gb", 0));
    if (r->kind == RESOURCE_SERVER) {
        add_flavor(c, r->attrs, sign);
        add_member(c, r->attrs, sign);
    }
}

static int64_t missing_rules(const Resource *want, const Resource *have)
{
    const json_t *there = have ? json_object_get(have->attrs, "rules") : NULL, *rule;
    int64_t n = 0;
    size_t i;

    json_array_foreach (json_object_get(want->attrs, "rules"), i, rule) {
        n += !json_list_has(there, json_string_value(rule));
    }
    return n;
}

static void add_step(Count *c, const Goal *g, const Step *s)
{
    const Resource *want = goal_find(g, s->kind, s->key);
    const Resource *have = s->id && !streq(s->id, "?") ? world_find_id(c->w, s->kind, s->id)
                                                       : world_find(c->w, s->kind, s->key, 0);

    if (s->verb == KIND_CREATE && want)
        add_one(c, want, 1);
    else if (s->verb == KIND_DELETE && (have || want))
        add_one(c, have ? have : want, -1);
    else if (s->verb == KIND_RULES && want)
        add(c, QUOTA_RULES, missing_rules(want, have));
    else if (s->verb == KIND_UNRULE)
        add(c, QUOTA_RULES, -1);
    else if (s->verb == KIND_EXTEND && want && have)
        add(c, QUOTA_GIGABYTES,
            json_int(want->attrs, "size_gb", 0) - json_int(have->attrs, "size_gb", 0));
    else if (s->verb == KIND_RESIZE && want && have) {
        /* Nova counts the difference, though the old place is kept until it is confirmed. */
        add_flavor(c, have->attrs, -1);
        add_flavor(c, want->attrs, 1);
    }
}

void quota_need(const Goal *g, const World *w, const Steps *plan, int64_t ret[static QUOTA_ITEMS])
{
    Count c = {.w = w, .members = json_object()};
    int64_t before = 0;

    for (size_t i = 0; i < w->items.len; i++)
        if (w->items.items[i].kind == RESOURCE_SERVER)
            add_member(&c, w->items.items[i].attrs, 1);
    before = c.peak[QUOTA_GROUP_MEMBERS];
    for (size_t i = 0; i < plan->len; i++)
        add_step(&c, g, &plan->items[i]);
    /* The lease is a group of its own, for as long as the run lasts. */
    if (c.peak[QUOTA_GROUPS] > 0) {
        c.peak[QUOTA_GROUPS]++;
        c.peak[QUOTA_RULES] += RULES_OF_A_GROUP;
    }
    if (c.peak[QUOTA_GROUP_MEMBERS] <= before)
        c.peak[QUOTA_GROUP_MEMBERS] = 0;
    memcpy(ret, c.peak, sizeof c.peak);
    json_decref(c.members);
}

static int64_t left_of(const Quota *q)
{
    return q->limit < 0 ? INT64_MAX : MAX(q->limit - MAX(q->used, 0), 0);
}

int quota_room(const int64_t one[static QUOTA_ITEMS], const Quota have[static QUOTA_ITEMS])
{
    int64_t room = INT_MAX;

    for (size_t i = 0; i < QUOTA_ITEMS; i++)
        if (one[i] > 0)
            room = MIN(room, left_of(&have[i]) / one[i]);
    return (int)room;
}

int quota_fits(const int64_t need[static QUOTA_ITEMS], const Quota have[static QUOTA_ITEMS],
               Err *err)
{
    _cleanup_(buf_clear) Buf lacks = BUF_INIT(BUF_MAX_LINE);

    for (size_t i = 0; i < QUOTA_ITEMS; i++) {
        int64_t left = left_of(&have[i]);

        if (need[i] <= 0 || have[i].limit < 0 || need[i] <= left)
            continue;
        const char *words = need[i] == 1 ? quota_rows[i].one : quota_rows[i].many;
        if (i == QUOTA_GROUP_MEMBERS)
            buf_printf(&lacks, "%sneeds %lld %s, %lld are allowed", lacks.len ? "; " : "",
                       (long long)need[i], words, (long long)have[i].limit);
        else
            buf_printf(&lacks, "%sneeds %lld more %s, %lld %s left of %lld", lacks.len ? "; " : "",
                       (long long)need[i], words, (long long)left, left == 1 ? "is" : "are",
                       (long long)have[i].limit);
    }
    if (!lacks.len)
        return 0;
    (void)err_set(err, ERR_PREFLIGHT, "the project's quota is too small: the plan %s", lacks.p);
    return err_hint(err, "ask the provider for more, or make the island smaller; nothing was "
                         "written");
}
