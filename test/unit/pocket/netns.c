/* Security groups as nftables' rules, without the kernel. */
#include "pocket/netns.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static json_t *json_new(const char *text)
{
    _cleanup_free_ char *copy = xstrdup(text);
    for (char *s = copy; *s; s++)
        if (*s == '\'')
            *s = '"';
    json_t *j = json_parse_new(copy, strlen(copy), NULL);
    if (!j)
        fail_msg("test's own rows are no JSON: %s", text);
    return j;
}

static const char ports[] =
    "[{'id':'a','security_groups':['web'],'fixed_ips':[{'ip_address':'10.1.0.2'}]},"
    " {'id':'b','security_groups':['web','db'],'fixed_ips':[{'ip_address':'10.1.0.3'}]},"
    " {'id':'c','security_groups':['web'],'fixed_ips':[]},"
    " {'id':'d','security_groups':['db'],'port_security_enabled':false,"
    "  'fixed_ips':[{'ip_address':'10.1.0.4'}]}]";

/* The lines between the two that are always there and the end, of both chains. */
static char *rules_of(const char *rules, size_t at)
{
    _cleanup_json_ json_t *all = json_new(ports), *list = json_new(rules);
    _cleanup_(buf_clear) Buf b = BUF_INIT(BUF_MAX_BODY);
    const NetnsPort own = {"eth0", json_array_get(all, at)};
    netns_rules(&own, 1, list, all, &b);
    const char *table = "table inet pocket {}\ndelete table inet pocket\ntable inet pocket {\n";
    assert_memory_equal(b.p, table, strlen(table));
    _cleanup_(buf_clear) Buf out = BUF_INIT(BUF_MAX_BODY);
    Str rest = buf_as_str(&b), line;
    while (str_next(&rest, '\n', &line)) {
        line = str_trim(line);
        bool name = line.n > 5 && memcmp(line.p + 1, "ifname", 6) == 0;
        if (line.n > 12 && memcmp(line.p, "chain output", 12) == 0)
            buf_str(&out, "|");
        if (name)
            buf_printf(&out, "%.*s;", (int)line.n, line.p);
    }
    /* Whatever the groups say: dropped unless something below lets it through. */
    assert_non_null(strstr(b.p, "hook input priority 0; policy drop;\n    iif \"lo\" accept\n"
                                "    ct state established,related accept\n"));
    assert_non_null(strstr(b.p, "hook output priority 0; policy drop;"));
    return buf_detach(&out);
}

#define RULE "{'security_group_id':'db','direction':'ingress','ethertype':'IPv4',"

static void test_rules(void **state)
{
    (void)state;
    static const struct {
        const char *rules, *want;
    } rows[] = {
        {"[]", "|"},
        {"[" RULE "'protocol':null}]", "iifname \"eth0\" accept;|"},
        {"[" RULE "'protocol':'tcp','port_range_min':5432,'port_range_max':5432,"
         "'remote_group_id':'web'}]",
         "iifname \"eth0\" ip saddr { 10.1.0.2, 10.1.0.3 } tcp dport 5432-5432 accept;|"},
        {"[" RULE "'protocol':'tcp','port_range_min':1,'port_range_max':9,"
         "'remote_ip_prefix':'10.2.0.0/16'}]",
         "iifname \"eth0\" ip saddr 10.2.0.0/16 tcp dport 1-9 accept;|"},
        {"[" RULE "'protocol':'udp','remote_ip_prefix':'0.0.0.0/0'}]",
         "iifname \"eth0\" meta l4proto udp accept;|"},
        {"[" RULE "'protocol':'17','port_range_min':53,'port_range_max':53}]",
         "iifname \"eth0\" udp dport 53-53 accept;|"},
        {"[" RULE "'protocol':'icmp','port_range_min':8}]",
         "iifname \"eth0\" icmp type 8 accept;|"},
        {"[{'security_group_id':'db','direction':'egress','ethertype':'IPv4',"
         "'remote_group_id':'db'}]",
         "|oifname \"eth0\" ip daddr { 10.1.0.3, 10.1.0.4 } accept;"},
        /* A group without a member, another group's rule, the other family: nothing. */
        {"[" RULE "'remote_group_id':'work'}]", "|"},
        {"[{'security_group_id':'work','direction':'ingress','ethertype':'IPv4'}]", "|"},
        {"[{'security_group_id':'db','direction':'ingress','ethertype':'IPv6'}]", "|"},
        {"[" RULE "'remote_address_group_id':'x'}]", "|"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_free_ char *got = rules_of(rows[i].rules, 1);
        if (rows[i].want && !streq(got, rows[i].want))
            fail_msg("%s: %s", rows[i].rules, got);
    }
}

static void test_no_port_security(void **state)
{
    (void)state;
    _cleanup_free_ char *got = rules_of("[]", 3);
    assert_string_equal(got, "iifname \"eth0\" accept;|oifname \"eth0\" accept;");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rules),
                                       cmocka_unit_test(test_no_port_security)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
