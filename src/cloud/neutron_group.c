/* Neutron security groups and their rules. */
#include "cloud/kind.h"

#include <stdio.h>

static const struct {
    const char *neutron, *ours;
} protocols[] = {
    {"6", "tcp"}, {"17", "udp"}, {"1", "icmp"}, {"ipv6-icmp", "icmpv6"}, {"58", "icmpv6"},
};

static const char *our_protocol(const char *p)
{
    if (!p || streq(p, "any") || streq(p, "0"))
        return "any";
    for (size_t i = 0; i < ARRAY_LEN(protocols); i++)
        if (streq(p, protocols[i].neutron))
            return protocols[i].ours;
    return p;
}

/* "*", "80" or "3000-3010"; for ICMP the type, or type and code. */
static void add_ports(Buf *b, const json_t *rule)
{
    int64_t min = json_int(rule, "port_range_min", -1), max = json_int(rule, "port_range_max", -1);

    if (min < 0 && max < 0)
        buf_str(b, "*");
    else if (min == max || max < 0)
        buf_printf(b, "%lld", (long long)min);
    else
        buf_printf(b, "%lld-%lld", (long long)min, (long long)max);
}

/* From whom. Everybody is 0.0.0.0/0 or null, as a cloud likes. A group's rule is for IPv4 unless it
 * says so: those for IPv6 are not ours, and have to look different from ours. */
static void add_source(Buf *b, const json_t *rule)
{
    bool v6 = streq(json_str(rule, "ethertype"), "IPv6");
    const char *group = json_str(rule, "remote_group_id");
    const char *prefix = json_str(rule, "remote_ip_prefix");
    const char *addresses = json_str(rule, "remote_address_group_id");

    if (group)
        buf_printf(b, "group:%s%s", group, v6 ? " ipv6" : "");
    else if (prefix)
        buf_str(b, prefix);
    else if (addresses)
        buf_printf(b, "addresses:%s%s", addresses, v6 ? " ipv6" : "");
    else
        buf_str(b, v6 ? "::/0" : "0.0.0.0/0");
}

char *rule_text_new(const json_t *rule)
{
    Buf b = BUF_INIT(BUF_MAX_LINE);
    const json_t *protocol = json_object_get(rule, "protocol");
    char number[16] = "";

    if (!streq(json_str(rule, "direction"), "ingress"))
        return NULL;
    if (json_is_integer(protocol))
        snprintf(number, sizeof number, "%d", (int)json_integer_value(protocol));
    buf_printf(&b, "in %s ", our_protocol(*number ? number : json_string_value(protocol)));
    add_ports(&b, rule);
    buf_char(&b, ' ');
    add_source(&b, rule);
    return buf_detach(&b);
}

static int bad_rule(const char *text, Err *err)
{
    return err_set(err, ERR_BUG, "a rule that can't be read: %s", text);
}

static bool set_ports(json_t *body, Str ports)
{
    _cleanup_free_ char *text = xstrndup(ports.p, ports.n);
    char *dash = strchr(text, '-');
    int64_t min, max;

    if (streq(text, "*"))
        return true;
    if (dash)
        *dash = '\0';
    if (!parse_int(text, 0, 65535, &min) || !parse_int(dash ? dash + 1 : text, 0, 65535, &max))
        return false;
    json_object_set_new(body, "port_range_min", json_integer(min));
    json_object_set_new(body, "port_range_max", json_integer(max));
    return true;
}

json_t *rule_body_new(const KindTask *t, const char *group_id, const char *text, Err *err)
{
    Str rest = str_of(text), in, protocol, ports, from;

    if (!str_next(&rest, ' ', &in) || !str_eq(in, STR_LIT("in")) ||
        !str_next(&rest, ' ', &protocol) || !str_next(&rest, ' ', &ports) ||
        !str_next(&rest, ' ', &from) || rest.p) {
        bad_rule(text, err);
        return NULL;
    }
    _cleanup_free_ char *source = xstrndup(from.p, from.n);
    bool v6 = strchr(source, ':') && !starts_with(source, "group:");
    _cleanup_json_ json_t *body =
        json_make_new("{s:s, s:s, s:s, s:s}", "security_group_id", group_id, "direction", "ingress",
                      "ethertype", v6 ? "IPv6" : "IPv4", "description", t->marker);
    if (!set_ports(body, ports)) {
        bad_rule(text, err);
        return NULL;
    }
    if (str_eq(protocol, STR_LIT("icmpv6")))
        json_object_set_new(body, "protocol", json_string("ipv6-icmp"));
    else if (!str_eq(protocol, STR_LIT("any")))
        json_object_set_new(body, "protocol", json_stringn(protocol.p, protocol.n));
    if (starts_with(source, "group:")) {
        const char *id = kind_id(t, RESOURCE_GROUP, source + strlen("group:"), err);
        if (!id)
            return NULL;
        json_object_set_new(body, "remote_group_id", json_string(id));
    } else {
        json_object_set_new(body, "remote_ip_prefix", json_string(source));
    }
    return TAKE(body);
}

void rules_link(const World *w, json_t *attrs)
{
    json_t *ids = json_object_get(attrs, "rule_ids"), *linked, *rules, *id;
    const char *text;

    if (!ids)
        return;
    linked = json_object();
    rules = json_array();
    json_object_foreach (ids, text, id) {
        const char *group = strstr(text, "group:");
        _cleanup_free_ char *old = group ? xstrdup(group + strlen("group:")) : NULL;
        if (old)
            old[strcspn(old, " ")] = '\0';
        const Resource *r = old ? world_find_id(w, RESOURCE_GROUP, old) : NULL;
        _cleanup_free_ char *changed = r ? xasprintf("%.*sgroup:%s%s", (int)(group - text), text,
                                                     r->key, group + strlen("group:") + strlen(old))
                                         : xstrdup(text);
        json_object_set(linked, changed, id);
        json_array_append_new(rules, json_string(changed));
    }
    kind_sort_texts(rules);
    json_object_set_new(attrs, "rules", rules);
    json_object_set_new(attrs, "rule_ids", linked);
}

/* Group */

static json_t *group_body_new(const KindTask *t, Err *err)
{
    (void)err;
    return json_make_new("{s:s, s:s}", "name", t->want->name, "description", t->marker);
}

/* One bulk POST: all or nothing, and all of one group (Neutron refuses to mix them). */
static int rules_call(const KindTask *t, Call *ret, Err *err)
{
    const json_t *there = json_object_get(t->have->attrs, "rule_ids"), *rule;
    _cleanup_json_ json_t *missing = json_array();
    size_t i;

    json_array_foreach (json_object_get(t->want->attrs, "rules"), i, rule) {
        const char *text = json_string_value(rule);
        if (!text || json_object_get(there, text))
            continue;
        json_t *body = rule_body_new(t, t->have->id, text, err);
        if (!body)
            return -ERR_BUG;
        json_array_append_new(missing, body);
    }
    ret->body = json_make_new("{s:O}", "security_group_rules", missing);
    return kind_request(ret, CALL_CREATE, "POST", "/security-group-rules");
}

static int group_call(const KindTask *t, Call *ret, Err *err)
{
    if (t->verb == KIND_RULES)
        return rules_call(t, ret, err);
    if (t->verb != KIND_UNRULE)
        return 1;
    const char *id = json_string_value(
        json_object_get(json_object_get(t->have->attrs, "rule_ids"), t->detail ? t->detail : ""));
    if (!id)
        return err_set(err, ERR_BUG, "the rule is not in the group %s: %s", t->have->key,
                       t->detail ? t->detail : "");
    return kind_request(ret, CALL_IDEMPOTENT, "DELETE", "/security-group-rules/%s", id);
}

static bool group_read(const Look *l, const json_t *item, Resource *ret)
{
    const json_t *rule;
    size_t i;

    if (!kind_read(l, RESOURCE_GROUP, item, json_str_or(item, "description", ""), ret))
        return false;
    json_t *ids = json_object();
    json_array_foreach (json_object_get(item, "security_group_rules"), i, rule) {
        _cleanup_free_ char *text = rule_text_new(rule);
        if (text && !json_object_get(ids, text))
            json_object_set_new(ids, text, json_string(json_str_or(rule, "id", "")));
    }
    ret->attrs = json_make_new("{s:o}", "rule_ids", ids);
    return true;
}

const KindRow kind_group = {.service = CLOUD_NETWORK,
                            .singular = "security_group",
                            .collection = "/security-groups",
                            .body_new = group_body_new,
                            .call = group_call,
                            .read = group_read};
