#include "pocket/swift_call.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* The rows are the table of openstack.md (a), (b), (c), asked on a real Swift. */
static const struct {
    const char *acl;
    const char *who; /* a key of `callers`, or anon */
    bool object;
    const char *referer;
    AclAnswer want;
} rows[] = {
    {"", "member", true, NULL, ACL_OWNER},
    {"", "admin", false, NULL, ACL_OWNER},
    {"", "manager", true, NULL, ACL_DENIED},
    {"", "reader", true, NULL, ACL_DENIED},
    {"", "other", true, NULL, ACL_DENIED},
    {"", "anon", true, NULL, ACL_DENIED},
    {"", "reseller", true, NULL, ACL_OWNER},
    /* (a) */
    {".r:*", "anon", true, NULL, ACL_ALLOWED},
    {".r:*", "anon", false, NULL, ACL_DENIED},
    {".r:*,.rlistings", "anon", true, NULL, ACL_ALLOWED},
    {".r:*,.rlistings", "anon", false, NULL, ACL_ALLOWED},
    {".rlistings", "anon", true, NULL, ACL_DENIED},
    {".rlistings", "anon", false, NULL, ACL_DENIED},
    {".r:*", "other", true, NULL, ACL_ALLOWED},
    {".r:*", "other", false, NULL, ACL_DENIED},
    {".r:*", "member", false, NULL, ACL_OWNER},
    /* (b) */
    {"p1:u-role", "role", true, NULL, ACL_ALLOWED},
    {"p1:u-role", "reader", true, NULL, ACL_DENIED},
    {"demo:role", "role", true, NULL, ACL_ALLOWED},
    {"p1:role", "role", true, NULL, ACL_ALLOWED},
    {"demo:u-role", "role", true, NULL, ACL_ALLOWED},
    {"*:u-role", "role", true, NULL, ACL_ALLOWED},
    {"*:role", "role", true, NULL, ACL_ALLOWED},
    {"u-role", "role", true, NULL, ACL_DENIED},
    {"p1:*", "role", true, NULL, ACL_ALLOWED},
    {"p1:*", "reader", true, NULL, ACL_ALLOWED},
    {"p1:*", "other", true, NULL, ACL_DENIED},
    {"p1:u-other", "other", true, NULL, ACL_DENIED},
    {"p2:u-other", "other", true, NULL, ACL_ALLOWED},
    {"*:u-other", "other", true, NULL, ACL_ALLOWED},
    {"*:u-none", "none", true, NULL, ACL_ALLOWED},
    {"*:none", "none", true, NULL, ACL_ALLOWED},
    {"p1:u-none", "none", true, NULL, ACL_DENIED},
    {"*:*", "none", true, NULL, ACL_ALLOWED},
    {"*:*", "anon", true, NULL, ACL_DENIED},
    {"backupwriter", "role", true, NULL, ACL_ALLOWED},
    {"BackupWriter", "role", true, NULL, ACL_ALLOWED},
    {"backupwriter", "reader", true, NULL, ACL_DENIED},
    {"backupwriter", "foreign", true, NULL, ACL_DENIED},
    {"reader", "reader", true, NULL, ACL_ALLOWED},
    {"corpproj:corp", "corp", true, NULL, ACL_DENIED},
    {"*:corp", "corp", true, NULL, ACL_DENIED},
    {"*:u-corp", "corp", true, NULL, ACL_ALLOWED},
    {"a%2Cb:x,p1:u%2Drole", "role", true, NULL, ACL_ALLOWED},
    /* (c): a rule on the Referer denies nothing to a user */
    {".r:-backupuser", "role", true, NULL, ACL_DENIED},
    {".r:-backupuser", "anon", true, "http://backupuser/", ACL_DENIED},
    {".r:*,.r:-backupuser", "role", true, NULL, ACL_ALLOWED},
    {".r:*,.r:-backupuser", "anon", true, NULL, ACL_ALLOWED},
    {".r:*,.r:-backupuser", "anon", true, "http://backupuser/x?y", ACL_DENIED},
    {".r:*,.r:-backupuser", "role", true, "http://backupuser/", ACL_DENIED},
    {"backupwriter,.r:-backupuser", "role", true, "http://backupuser/", ACL_ALLOWED},
    {"demo:role,.r:-backupuser", "role", true, "http://backupuser/", ACL_ALLOWED},
    {".r:.example.com", "anon", true, "https://u:p@A.Example.com:8080/p", ACL_ALLOWED},
    {".r:.example.com", "anon", true, "https://example.org/", ACL_DENIED},
    {".r:.example.com", "anon", true, NULL, ACL_DENIED},
    /* A referrer rule that fits, on a listing: decides before the roles. */
    {".r:*,backupwriter", "role", false, NULL, ACL_DENIED},
    {"backupwriter", "role", false, NULL, ACL_ALLOWED},
};

static const struct {
    const char *name, *user, *user_name, *project, *project_name, *role;
    bool names;
} callers[] = {
    {"member", "u-member", "member", "p1", "demo", "member", true},
    {"admin", "u-admin", "admin", "p1", "demo", "Admin", true},
    {"manager", "u-manager", "manager", "p1", "demo", "manager", true},
    {"reader", "u-reader", "reader", "p1", "demo", "reader", true},
    {"role", "u-role", "role", "p1", "demo", "backupwriter", true},
    {"other", "u-other", "other", "p2", "otherproj", "member", true},
    {"foreign", "u-foreign", "foreign", "p2", "otherproj", "backupwriter", true},
    {"none", "u-none", "none", NULL, NULL, NULL, true},
    {"corp", "u-corp", "corp", "p3", "corpproj", "uselessrole", false},
    {"reseller", "u-res", "res", "p2", "otherproj", "ResellerAdmin", true},
};

static void test_decide(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        StrList roles = {0};
        AclCaller caller = {0};
        for (size_t j = 0; j < ARRAY_LEN(callers); j++)
            if (streq(callers[j].name, rows[i].who)) {
                caller = (AclCaller){callers[j].user,
                                     callers[j].user_name,
                                     callers[j].project,
                                     callers[j].project_name,
                                     &roles,
                                     callers[j].names};
                if (callers[j].role)
                    strlist_add(&roles, callers[j].role);
            }
        AclAnswer got = acl_decide(caller.user_id ? &caller : NULL, "AUTH_p1", rows[i].object,
                                   rows[i].acl, rows[i].referer);
        if (got != rows[i].want)
            fail_msg("\"%s\" for %s on %s: %d", rows[i].acl, rows[i].who,
                     rows[i].object ? "an object" : "a listing", (int)got);
        strlist_clear(&roles);
    }
}

/* Swift's own table of messy ACLs (middleware acl, clean_acl). */
static void test_clean(void **state)
{
    (void)state;
    static const struct {
        bool write;
        const char *value, *want; /* NULL: refused ... */
        const char *words;        /* ... with these */
    } cases[] = {
        {false, "bob, sue", "bob,sue", NULL},
        {false, "bob , sue", "bob,sue", NULL},
        {false, "bob,,,sue", "bob,sue", NULL},
        {false, "", "", NULL},
        {false, ".referrer : *", ".r:*", NULL},
        {false, ".ref:*.example.com", ".r:.example.com", NULL},
        {false, ".r:*, .rlistings", ".r:*,.rlistings", NULL},
        {false, ".r:*,.r:-.thief.com", ".r:*,.r:-.thief.com", NULL},
        {false, ".r: - .thief.com", ".r:-.thief.com", NULL},
        {true, "p:u, *:* ", "p:u,*:*", NULL},
        {true, ".r:*", NULL, "Referrers not allowed in write ACL: '.r:*'"},
        {false, ".r:", NULL, "No host/domain value after referrer designation in ACL: '.r:'"},
        {false, ".r:-", NULL, "No host/domain value"},
        {false, ".unknown:x", NULL, "Unknown designator '.unknown' in ACL: '.unknown:x'"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        _cleanup_free_ char *clean = NULL, *error = NULL;
        bool ok = acl_clean(cases[i].write, cases[i].value, &clean, &error);
        assert_int_equal(ok, cases[i].want != NULL);
        if (cases[i].want)
            assert_string_equal(clean, cases[i].want);
        else if (!strstr(error, cases[i].words))
            fail_msg("%s: %s", cases[i].value, error);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_decide), cmocka_unit_test(test_clean)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
