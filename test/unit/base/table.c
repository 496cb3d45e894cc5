#include "base/table.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

typedef struct Own {
    bool detailed, fresh;
    const char *file;
    int64_t count, wait_ms, any;
    OptList only;
} Own;

static const Opt own[] = {
    {"detailed-exitcode", 0, OPT_FLAG, NULL, "Exit with 2 when there are changes.", 0, 0,
     offsetof(Own, detailed), NULL},
    {"fresh", 'f', OPT_FLAG, NULL, "Start anew.", 0, 0, offsetof(Own, fresh), "true"},
    {"output", 'o', OPT_STRING, "FILE", "Write to FILE.", 0, 0, offsetof(Own, file), "-"},
    {"count", 'n', OPT_INT, "N", "How many.", 1, 8, offsetof(Own, count), "2"},
    {"wait", 'w', OPT_SPAN, "TIME", "How long to wait.", 1000, 3600000, offsetof(Own, wait_ms),
     "30s"},
    {"any", 0, OPT_INT, "N", "Any number.", 0, 0, offsetof(Own, any), NULL},
    {"only", 0, OPT_LIST, "WHAT", "Only that.", 0, 0, offsetof(Own, only), NULL},
    OPT_END,
};

typedef struct Common {
    bool json, verbose;
    const char *cloud;
} Common;

static const Opt common[] = {
    {"json", 0, OPT_FLAG, NULL, "One event a line.", 0, 0, offsetof(Common, json), NULL},
    {"verbose", 'v', OPT_FLAG, NULL, "Say more.", 0, 0, offsetof(Common, verbose), NULL},
    {"cloud", 'c', OPT_STRING, "NAME", "The cloud.", 0, 0, offsetof(Common, cloud), NULL},
    OPT_END,
};

#define MAX_WORDS 10

/* Parses `words`, of which the first is the verb. The operands come back joined by '|'. */
static int parse_as(bool leading, const char *const *words, Own *o, Common *c,
                    char joined[static 256], Err *err)
{
    char *argv[MAX_WORDS + 1] = {0};
    int argc = 0;
    for (; words[argc]; argc++)
        argv[argc] = xstrdup(words[argc]);
    const Opt *const tables[] = {own, common, NULL};
    memset(o, 0xee, sizeof *o); /* what is not set shows */
    memset(c, 0xee, sizeof *c);
    char **operands = NULL;
    int r = (leading ? opt_parse_leading : opt_parse)(argc, argv, tables, (void *const[]){o, c},
                                                      &operands, err);
    if (r < 0)
        assert_null(operands);
    joined[0] = '\0';
    size_t len = 0;
    for (char **p = operands; p && *p; p++)
        len += (size_t)snprintf(joined + len, 256 - len, "%s|", *p);
    free(operands);
    /* String options are borrowed from argv, which goes away here. */
    static char file[64], cloud[64];
    if (r == 0) {
        (void)snprintf(file, sizeof file, "%s", o->file);
        (void)snprintf(cloud, sizeof cloud, "%s", c->cloud ? c->cloud : "(none)");
        o->file = file;
        c->cloud = cloud;
    }
    for (int i = 0; i < argc; i++)
        free(argv[i]);
    return r;
}

static int parse(const char *const *words, Own *o, Common *c, char joined[static 256], Err *err)
{
    return parse_as(false, words, o, c, joined, err);
}

static void good_lines(void **state)
{
    (void)state;
    static const struct {
        const char *words[MAX_WORDS];
        Own own;
        Common common;
        const char *operands;
    } rows[] = {
#define OWN .fresh = true, .file = "-", .count = 2, .wait_ms = 30000
        {{"plan"}, {OWN}, {.cloud = "(none)"}, ""},
        {{"plan", "a", "--json", "b"}, {OWN}, {.json = true, .cloud = "(none)"}, "a|b|"},
        {{"plan", "--detailed-exitcode", "--no-fresh"},
         {.detailed = true, .file = "-", .count = 2, .wait_ms = 30000},
         {.cloud = "(none)"},
         ""},
        {{"plan", "--count=8", "--wait", "5m", "--any=0"},
         {.fresh = true, .file = "-", .count = 8, .wait_ms = 300000},
         {.cloud = "(none)"},
         ""},
        {{"plan", "-n3", "-w", "2s", "-vfc", "reef"},
         {.fresh = true, .file = "-", .count = 3, .wait_ms = 2000},
         {.verbose = true, .cloud = "reef"},
         ""},
        {{"plan", "-vcreef", "-o", "--json"},
         {.fresh = true, .file = "--json", .count = 2, .wait_ms = 30000},
         {.verbose = true, .cloud = "reef"},
         ""},
        {{"exec", "web.0", "--", "ls", "-l", "--json", "--"},
         {OWN},
         {.cloud = "(none)"},
         "web.0|ls|-l|--json|--|"},
        {{"plan", "-", ""}, {OWN}, {.cloud = "(none)"}, "-||"},
        {{"plan", "--cloud=", "--output=a=b"},
         {.fresh = true, .file = "a=b", .count = 2, .wait_ms = 30000},
         {.cloud = ""},
         ""},
        {{"plan", "--count=3", "--count=4", "--json", "--no-json"},
         {.fresh = true, .file = "-", .count = 4, .wait_ms = 30000},
         {.cloud = "(none)"},
         ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        Own o;
        Common c;
        char operands[256];
        _cleanup_(err_clear) Err err = {0};
        int r = parse(rows[i].words, &o, &c, operands, &err);
        if (r < 0)
            print_error("row %zu: %s\n", i, err.text);
        assert_int_equal(r, 0);
        assert_int_equal(o.detailed, rows[i].own.detailed);
        assert_int_equal(o.fresh, rows[i].own.fresh);
        assert_string_equal(o.file, rows[i].own.file);
        assert_int_equal(o.count, rows[i].own.count);
        assert_int_equal(o.wait_ms, rows[i].own.wait_ms);
        assert_int_equal(o.any, rows[i].own.any);
        assert_int_equal(c.json, rows[i].common.json);
        assert_int_equal(c.verbose, rows[i].common.verbose);
        assert_string_equal(c.cloud, rows[i].common.cloud);
        assert_string_equal(operands, rows[i].operands);
    }
}

static void bad_lines(void **state)
{
    (void)state;
    static const struct {
        const char *words[MAX_WORDS];
        const char *text, *hint;
    } rows[] = {
        {{"plan", "--detialed-exitcode"},
         "unknown option --detialed-exitcode",
         "did you mean --detailed-exitcode?"},
        {{"plan", "--no-jsn"}, "unknown option --no-jsn", "did you mean --no-json?"},
        {{"plan", "--clud=x"}, "unknown option --clud", "did you mean --cloud?"},
        {{"plan", "--xyzzy"}, "unknown option --xyzzy", NULL},
        {{"plan", "--no-"}, "unknown option --no-", NULL},
        {{"plan", "--no-cloud"}, "unknown option --no-cloud", NULL},
        {{"plan", "--=x"}, "unknown option --", NULL},
        {{"plan", "-x"}, "unknown option -x", NULL},
        {{"plan", "-vx"}, "unknown option -x", NULL},
        {{"plan", "--json=1"}, "--json takes no value", NULL},
        {{"plan", "--no-json=1"}, "--no-json takes no value", NULL},
        {{"plan", "--output"}, "--output needs a value: FILE", NULL},
        {{"plan", "-n"}, "--count needs a value: N", NULL},
        {{"plan", "--count="}, "--count: \"\" is not a whole number", NULL},
        {{"plan", "--count=2x"}, "--count: \"2x\" is not a whole number", NULL},
        {{"plan", "--count=9"}, "--count: 9 is out of range", "allowed: 1 to 8"},
        {{"plan", "--count", "-1"}, "--count: -1 is out of range", "allowed: 1 to 8"},
        {{"plan", "--any=-1"}, "--any: -1 is out of range", "allowed: 0 or more"},
        {{"plan", "--wait=30"},
         "--wait: \"30\" is not a time",
         "a number and one of ms, s, m, h, d: 30s"},
        {{"plan", "--wait=2h"}, "--wait: 2h is out of range", "allowed: 1s to 1h"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        Own o;
        Common c;
        char operands[256];
        _cleanup_(err_clear) Err err = {0};
        assert_int_equal(parse(rows[i].words, &o, &c, operands, &err), -ERR_USAGE);
        assert_string_equal(err.text, rows[i].text);
        assert_true(streq(err.hint, rows[i].hint));
        assert_int_equal(parse(rows[i].words, &o, &c, operands, NULL), -ERR_USAGE);
    }
}

/* A verb hands on a part of an argv, which has no NULL at its end. */
static void argc_is_the_end(void **state)
{
    (void)state;
    Own o;
    const Opt *const tables[] = {own, NULL};
    char *argv[] = {(char[]){"plan"}, (char[]){"a"}, (char[]){"--count=3"}, (char[]){"--count=99"}};
    char **operands = NULL;
    assert_int_equal(opt_parse(3, argv, tables, (void *const[]){&o}, &operands, NULL), 0);
    assert_int_equal(o.count, 3);
    assert_ptr_equal(operands[0], argv[1]);
    assert_null(operands[1]);
    free(operands);
    assert_int_equal(opt_parse(0, NULL, tables, (void *const[]){&o}, &operands, NULL), 0);
    assert_int_equal(o.count, 2);
    assert_null(operands[0]);
    free(operands);
}

static void lists(void **state)
{
    (void)state;
    Own o;
    const Opt *const tables[] = {own, NULL};
    char *argv[OPT_LIST_MAX + 3] = {(char[]){"plan"}, (char[]){"--only"}, (char[]){"web"},
                                    (char[]){"--only=web.0"}};
    char **operands = NULL;
    assert_int_equal(opt_parse(4, argv, tables, (void *const[]){&o}, &operands, NULL), 0);
    free(operands);
    assert_int_equal(o.only.len, 2);
    assert_string_equal(o.only.items[0], "web");
    assert_string_equal(o.only.items[1], "web.0");
    char more[] = "--only=x";
    for (size_t i = 1; i < ARRAY_LEN(argv); i++)
        argv[i] = more;
    _cleanup_(err_clear) Err err = {0};
    assert_int_equal(
        opt_parse((int)ARRAY_LEN(argv), argv, tables, (void *const[]){&o}, &operands, &err),
        -ERR_USAGE);
    assert_string_equal(err.text, "--only is given more than 64 times");
}

static void help(void **state)
{
    (void)state;
    static const Opt table[] = {
        {"fresh", 'f', OPT_FLAG, NULL, "Start anew, whatever was there and however long it took.",
         0, 0, 0, NULL},
        {"a-name-that-is-rather-long", 0, OPT_STRING, "FILE", "Short.", 0, 0, 0, "-"},
        {"count", 'n', OPT_INT, "N", "How many.", 1, 8, 0, "2"},
        {"wait", 0, OPT_SPAN, "TIME", "How long.", 0, 5400000, 0, NULL},
        {"more", 0, OPT_INT, "N", "More.", 1, INT64_MAX, 0, NULL},
        OPT_END,
    };
    _cleanup_(buf_clear) Buf b = BUF_INIT(BUF_MAX_LINE);
    opt_help(table, 60, &b);
    assert_string_equal(b.p, "  -f, --fresh                 Start anew, whatever was there\n"
                             "                              and however long it took.\n"
                             "      --a-name-that-is-rather-long=FILE\n"
                             "                              Short. (default -)\n"
                             "  -n, --count=N               How many. (1 to 8; default 2)\n"
                             "      --wait=TIME             How long. (0s to 90m)\n"
                             "      --more=N                More. (1 or more)\n");
    _cleanup_(buf_clear) Buf narrow = BUF_INIT(BUF_MAX_LINE);
    opt_help(table, 10, &narrow);
    assert_non_null(strstr(narrow.p, "How many. (1 to 8;\n"));
}

static void quantities(void **state)
{
    (void)state;
    static const struct {
        bool (*parse)(const char *, int64_t *);
        const char *text;
        int64_t value; /* -1: refused */
    } rows[] = {
        {span_parse, "250ms", 250},
        {span_parse, "30s", 30000},
        {span_parse, "5m", 300000},
        {span_parse, "2h", 7200000},
        {span_parse, "7d", 604800000},
        {span_parse, "0s", 0},
        {span_parse, "30", -1},
        {span_parse, "s", -1},
        {span_parse, "", -1},
        {span_parse, "-1s", -1},
        {span_parse, "+1s", -1},
        {span_parse, " 1s", -1},
        {span_parse, "1 s", -1},
        {span_parse, "1s ", -1},
        {span_parse, "1.5h", -1},
        {span_parse, "1h30m", -1},
        {span_parse, "1S", -1},
        {span_parse, "1w", -1},
        {span_parse, "9223372036854775807ms", INT64_MAX},
        {span_parse, "9223372036854775808ms", -1},
        {span_parse, "9223372036854775807d", -1},
        {span_parse, "99999999999999999999999999s", -1},
        {span_parse, NULL, -1},
        {span_or_ms_parse, "30s", 30000},
        {span_or_ms_parse, "20000", 20000},
        {span_or_ms_parse, "-1", -1},
        {span_or_ms_parse, "1w", -1},
        {span_or_ms_parse, NULL, -1},
        {size_parse, "10GB", 10000000000},
        {size_parse, "512MB", 512000000},
        {size_parse, "1TB", 1000000000000},
        {size_parse, "4kB", 4000},
        {size_parse, "4KB", 4000},
        {size_parse, "5B", 5},
        {size_parse, "9PB", 9000000000000000},
        {size_parse, "10000PB", -1},
        {size_parse, "10", -1},
        {size_parse, "10G", -1},
        {size_parse, "10gb", -1},
        {size_parse, "10GiB", -1},
        {size_parse, "1.5GB", -1},
        {size_parse, "-1GB", -1},
        {size_parse, NULL, -1},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int64_t value = 4711;
        assert_int_equal(rows[i].parse(rows[i].text, &value), rows[i].value >= 0);
        assert_int_equal(value, rows[i].value >= 0 ? rows[i].value : 4711);
    }
}

/* For words that are another program's. */
static void the_first_operand_ends_the_options(void **state)
{
    (void)state;
    static const struct {
        const char *words[MAX_WORDS];
        const char *expect;
        bool json;
    } rows[] = {
        {{"x", "--json", "a", "--json", "-v", "--", "b"}, "a|--json|-v|--|b|", true},
        {{"x", "--", "--json", "--"}, "--json|--|", false},
        {{"x", "-c", "n", "-", "--json"}, "-|--json|", false},
        {{"x", "--json"}, "", true},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        Own o;
        Common c;
        char joined[256];
        assert_int_equal(parse_as(true, rows[i].words, &o, &c, joined, NULL), 0);
        assert_string_equal(joined, rows[i].expect);
        assert_int_equal(c.json, rows[i].json);
        assert_false(c.verbose);
    }
}

static void test_size_format(void **state)
{
    (void)state;
    static const struct {
        int64_t bytes;
        const char *text;
    } table[] = {{0, "0 bytes"},          {999, "999 bytes"},     {1000, "1.0 kB"},
                 {9940, "9.9 kB"},        {9950, "10 kB"},        {999499, "999 kB"},
                 {999500, "1.0 MB"},      {2770000000, "2.8 GB"}, {INT64_MAX, "9.2 EB"},
                 {120000000000, "120 GB"}};

    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        char text[SIZE_TEXT_MAX];
        assert_string_equal(size_format(table[i].bytes, text), table[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_lines),       cmocka_unit_test(bad_lines),
        cmocka_unit_test(argc_is_the_end),  cmocka_unit_test(help),
        cmocka_unit_test(quantities),       cmocka_unit_test(lists),
        cmocka_unit_test(test_size_format), cmocka_unit_test(the_first_operand_ends_the_options),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
