#include "cloud/quota.h"
#include "cloud/answer.h"
#include "cloud/kind.h"

const QuotaRow quota_rows[QUOTA_ITEMS] = {
    [QUOTA_INSTANCES] = {"server", "servers", CLOUD_COMPUTE},
    [QUOTA_CORES] = {"core", "cores", CLOUD_COMPUTE},
    [QUOTA_RAM_MB] = {"MB of memory", "MB of memory", CLOUD_COMPUTE},
    [QUOTA_SERVER_GROUPS] = {"server group", "server groups", CLOUD_COMPUTE},
    [QUOTA_GROUP_MEMBERS] = {"server in one server group", "servers in one server group",
                             CLOUD_COMPUTE},
    [QUOTA_VOLUMES] = {"volume", "volumes", CLOUD_VOLUME},
    [QUOTA_GIGABYTES] = {"GB of volumes", "GB of volumes", CLOUD_VOLUME},
    [QUOTA_NETWORKS] = {"network", "networks", CLOUD_NETWORK},
    [QUOTA_SUBNETS] = {"subnet", "subnets", CLOUD_NETWORK},
    [QUOTA_ROUTERS] = {"router", "routers", CLOUD_NETWORK},
    [QUOTA_PORTS] = {"port", "ports", CLOUD_NETWORK},
    [QUOTA_FLOATING_IPS] = {"floating IP", "floating IPs", CLOUD_NETWORK},
    [QUOTA_GROUPS] = {"security group", "security groups", CLOUD_NETWORK},
    [QUOTA_RULES] = {"security group rule", "security group rules", CLOUD_NETWORK},
};

/* How each service calls them: Nova by two names, the others by one with parts. */
static const struct {
    QuotaItem item;
    const char *limit, *used;
} nova_names[] = {
    {QUOTA_INSTANCES, "maxTotalInstances", "totalInstancesUsed"},
    {QUOTA_CORES, "maxTotalCores", "totalCoresUsed"},
    {QUOTA_RAM_MB, "maxTotalRAMSize", "totalRAMUsed"},
    {QUOTA_SERVER_GROUPS, "maxServerGroups", "totalServerGroupsUsed"},
    {QUOTA_GROUP_MEMBERS, "maxServerGroupMembers", NULL},
};
static const struct {
    QuotaItem item;
    CloudService service;
    const char *name;
} names[] = {
    {QUOTA_VOLUMES, CLOUD_VOLUME, "volumes"},
    {QUOTA_GIGABYTES, CLOUD_VOLUME, "gigabytes"},
    {QUOTA_NETWORKS, CLOUD_NETWORK, "network"},
    {QUOTA_SUBNETS, CLOUD_NETWORK, "subnet"},
    {QUOTA_ROUTERS, CLOUD_NETWORK, "router"},
    {QUOTA_PORTS, CLOUD_NETWORK, "port"},
    {QUOTA_FLOATING_IPS, CLOUD_NETWORK, "floatingip"},
    {QUOTA_GROUPS, CLOUD_NETWORK, "security_group"},
    {QUOTA_RULES, CLOUD_NETWORK, "security_group_rule"},
};

static bool read_nova(const json_t *answer, Quota *ret)
{
    const json_t *absolute = json_at(answer, "limits.absolute");
    bool any = false;

    for (size_t i = 0; i < ARRAY_LEN(nova_names); i++) {
        Quota *q = &ret[nova_names[i].item];

        q->limit = json_int(absolute, nova_names[i].limit, -1);
        q->used = nova_names[i].used ? json_int(absolute, nova_names[i].used, -1) : 0;
        any = any || q->limit >= 0 || json_object_get(absolute, nova_names[i].limit);
    }
    return any;
}

static bool read_parts(CloudService s, const json_t *set, Quota *ret)
{
    bool any = false;

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        const json_t *one = json_object_get(set, names[i].name);
        Quota *q = &ret[names[i].item];

        if (names[i].service != s || !one)
            continue;
        any = true;
        if (json_is_integer(one)) {
            *q = (Quota){json_integer_value(one), -1};
            continue;
        }
        int64_t used = json_int(one, "used", json_int(one, "in_use", -1));
        int64_t reserved = json_int(one, "reserved", 0);
        *q = (Quota){json_int(one, "limit", -1), used < 0 ? -1 : used + reserved};
    }
    return any;
}

bool quota_read(CloudService s, const json_t *answer, Quota ret[static QUOTA_ITEMS])
{
    if (s == CLOUD_COMPUTE)
        return read_nova(answer, ret);
    return read_parts(s, json_object_get(answer, s == CLOUD_VOLUME ? "quota_set" : "quota"), ret);
}

static Call ask(Cloud *c, CloudService s, bool plain)
{
    const char *project = cloud_project_id(c);
    Call call = {.cloud = c, .service = s, .kind = CALL_READ, .method = "GET"};

    if (s == CLOUD_COMPUTE)
        call.path = xstrdup("/limits");
    else if (s == CLOUD_VOLUME)
        call.path = xasprintf("/os-quota-sets/%s?usage=true", project);
    else
        call.path = xasprintf("/quotas/%s%s", project, plain ? "" : "/details.json");
    return call;
}

/* Refused, in whatever words: not every cloud has these calls, or lets everybody make them. */
static bool untold(const Call *call)
{
    return call->status >= 400 && call->status < 500 && call->err.kind != ERR_AUTH &&
           call->err.kind != ERR_TEMPORARY;
}

int quota_look(const Clouds *c, unsigned mask, Quota ret[static QUOTA_ITEMS], Err *err)
{
    static const CloudService services[] = {CLOUD_COMPUTE, CLOUD_VOLUME, CLOUD_NETWORK};
    Cloud *cloud = c->of[CLOUD_OF_ISLAND];
    Call calls[ARRAY_LEN(services)] = {0};
    size_t n = 0;
    int r = clouds_login(c, err); /* the project's id is in the addresses */

    if (r < 0)
        return r;
    for (size_t i = 0; i < QUOTA_ITEMS; i++)
        ret[i] = (Quota){-1, -1};
    for (size_t s = 0; s < ARRAY_LEN(services); s++) {
        bool needed = false;

        for (size_t i = 0; i < QUOTA_ITEMS; i++)
            needed |= (mask & (1u << i)) && quota_rows[i].service == services[s];
        if (needed)
            calls[n++] = ask(cloud, services[s], false);
    }
    (void)cloud_perform(calls, n, NULL); /* each has its own error */
    for (size_t i = 0; i < n; i++) {
        CloudService s = calls[i].service;

        if (s == CLOUD_NETWORK && calls[i].err.kind == ERR_NOT_FOUND) {
            call_clear(&calls[i]);
            calls[i] = ask(cloud, s, true);
            (void)cloud_perform(&calls[i], 1, NULL);
        }
        if (r == 0 && calls[i].err.kind && !untold(&calls[i])) {
            err_move(err, &calls[i].err);
            r = err_wrap(err, "asking for the quotas of the %s", answer_service_name(s));
        } else if (r == 0 && !calls[i].err.kind && !quota_read(s, calls[i].json, ret)) {
            r = err_set(err, ERR_CORRUPT, "the %s answers without the quotas that it was asked for",
                        answer_service_name(s));
        }
        call_clear(&calls[i]);
    }
    return r;
}

int quota_may_create_servers(const Clouds *c, Err *err)
{
    static const char nowhere[] = "00000000-0000-4000-8000-000000000000";
    _cleanup_(call_clear)
        Call call = {.cloud = c->of[CLOUD_OF_ISLAND],
                     .service = CLOUD_COMPUTE,
                     .kind = CALL_IDEMPOTENT,
                     .method = "POST",
                     .path = xstrdup("/servers"),
                     .body = json_make_new("{s:{s:s, s:s, s:s, s:[]}}", "server", "name",
                                           "atoll-may-i", "flavorRef", "atoll-no-such-flavor",
                                           "imageRef", nowhere, "networks")};

    (void)cloud_perform(&call, 1, NULL); /* its outcome is in the call */
    if (call.err.kind == ERR_DENIED) {
        err_set(err, ERR_DENIED, "this login may look at servers, but not create them: %s",
                call.err.text);
        return err_hint(err, "it needs the role `member` on the project (before 2023.1 any role "
                             "will do); a `reader` may not");
    }
    if (call.err.kind == ERR_TEMPORARY || call.err.kind == ERR_AUTH ||
        call.err.kind == ERR_INTERRUPTED) {
        err_move(err, &call.err);
        return err_wrap(err, "asking whether this login may create servers");
    }
    return 0;
}
