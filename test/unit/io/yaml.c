#include "io/yaml.h"
#include "base/time.h"
#include "io/file.h"

#include <setjmp.h>
#include <unistd.h>

#include <cmocka.h>

static void test_tree(void **state)
{
    static const char text[] = "island: reef\n"
                               "servers:\n"
                               "  web: {flavor: c1.c2r2, roles: [edge, \"5\"]}\n"
                               "  \"\\u00e9t\\u00e9\": ~\n"
                               "text: |\n"
                               "  two\n"
                               "  lines\n"
                               "empty:\n";
    (void)state;
    _cleanup_(yaml_clear) Yaml y = {0};
    _cleanup_(err_clear) Err err = {0};
    if (yaml_parse("a.yaml", str_of(text), &y, &err) < 0)
        fail_msg("%s", err.text);

    assert_string_equal(yaml_text(&y.root, "island"), "reef");
    assert_string_equal(yaml_text(&y.root, "text"), "two\nlines\n");
    assert_string_equal(yaml_text(&y.root, "empty"), "");
    assert_null(yaml_text(&y.root, "servers"));
    assert_null(yaml_get(&y.root, "nowhere"));
    assert_null(yaml_get(NULL, "x"));
    const YamlNode *servers = yaml_get(&y.root, "servers");
    const YamlNode *web = yaml_get(servers, "web"), *roles = yaml_get(web, "roles");
    assert_non_null(yaml_get(servers, "\xc3\xa9t\xc3\xa9"));
    assert_int_equal(web->type, YAML_MAP);
    assert_int_equal(web->key_line, 3);
    assert_int_equal(web->key_column, 3);
    assert_int_equal(web->line, 3);
    assert_int_equal(web->column, 8);
    assert_int_equal(roles->type, YAML_LIST);
    assert_int_equal(roles->len, 2);
    assert_string_equal(roles->items[0].text, "edge");
    assert_false(roles->items[0].quoted);
    assert_true(roles->items[1].quoted);
    assert_null(roles->items[1].key);
    assert_int_equal(roles->items[1].column, 40);
    assert_null(yaml_get(roles, "edge"));

    assert_int_equal(yaml_error(&y, roles, &err, "no %s", "such role"), -ERR_CONFIG);
    assert_string_equal(err.text, "a.yaml:3:33: no such role");
    assert_int_equal(yaml_key_error(&y, roles, &err, "unknown key"), -ERR_CONFIG);
    assert_string_equal(err.text, "a.yaml:3:26: unknown key");
    assert_int_equal(yaml_key_error(&y, &roles->items[1], &err, "x"), -ERR_CONFIG);
    assert_string_equal(err.text, "a.yaml:3:40: x");
}

static void test_empty(void **state)
{
    static const char *const table[] = {"",      "\n",         "# only a comment\n",
                                        "---\n", "---\n...\n", "{}"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        _cleanup_(yaml_clear) Yaml y = {0};
        _cleanup_(err_clear) Err err = {0};
        assert_int_equal(yaml_parse("e", str_of(table[i]), &y, &err), 0);
        assert_int_equal(y.root.type, YAML_MAP);
        assert_int_equal(y.root.len, 0);
    }
    /* But an empty text in quotes is a text. */
    _cleanup_(yaml_clear) Yaml y = {0};
    assert_int_equal(yaml_parse("e", STR_LIT("''"), &y, NULL), 0);
    assert_int_equal(y.root.type, YAML_SCALAR);
}

static void test_refused(void **state)
{
    /* Where the message must point, and a word it must have. */
    static const struct {
        const char *text, *where, *word;
    } table[] = {
        {"a: 1\nb: 2\na: 3\n", "f:3:1: ", "twice, first in line 1"},
        {"m: {b: 1, a: 1, a: 2, b: 3}\n", "f:1:17: ", "\"a\" is there twice"},
        {"a: &x 1\n", "f:1:4: ", "anchors"},
        {"a: &x [1]\n", "f:1:4: ", "anchors"},
        {"a: *x\n", "f:1:4: ", "aliases"},
        {"*x : 1\n", "f:1:1: ", "aliases"},
        {"a: !!str 1\n", "f:1:4: ", "tags"},
        {"a: ! 1\n", "f:1:4: ", "tags"},
        {"a: !x {b: 1}\n", "f:1:4: ", "tags"},
        {"!x a: 1\n", "f:1:1: ", "tags"},
        {"a:\n  <<: {b: 1}\n", "f:2:3: ", "merge keys"},
        {"a: 1\n---\nb: 2\n", "f:2:1: ", "second document"},
        {"? [a]\n: 1\n", "f:1:3: ", "a key must be"},
        {"a: [1\n", "f:2:1: ", "begins in line 1"},
        {"a: b: c\n", "f:1:5: ", "not allowed"},
        {"a:\n\tb: 1\n", "f:2:1: ", "cannot start any token"},
        {"a: \"x\\0y\"\n", "f:1:4: ", "NUL"},
        {"\"x\\0y\": 1\n", "f:1:1: ", "NUL"},
        {"a: 1\nb: \x01\n", "f:2:4: ", "control characters"},
        {"a: \xff\n", "f:1:4: ", "UTF-8"},
        {"a: 'x\n", "f:2:1: ", "begins in line 1"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        Yaml y = {0};
        _cleanup_(err_clear) Err err = {0};
        int r = yaml_parse("f", str_of(table[i].text), &y, &err);
        if (r != -ERR_CONFIG || !starts_with(err.text, table[i].where) ||
            !strstr(err.text, table[i].word))
            fail_msg("%s gives %d: %s", table[i].text, r, err.text ? err.text : "");
    }
    /* "<<" in quotes is a key like any other. */
    _cleanup_(yaml_clear) Yaml y = {0};
    assert_int_equal(yaml_parse("f", STR_LIT("'<<': 1"), &y, NULL), 0);
}

static void test_limits(void **state)
{
    (void)state;
    _cleanup_(err_clear) Err err = {0};

    for (int depth = 31; depth <= 33; depth++) {
        _cleanup_(buf_clear) Buf b = BUF_INIT(BUF_MAX_LINE);
        _cleanup_(yaml_clear) Yaml y = {0};
        for (int i = 0; i < depth - 1; i++)
            buf_char(&b, '[');
        buf_char(&b, '1');
        for (int i = 0; i < depth - 1; i++)
            buf_char(&b, ']');
        int r = yaml_parse("f", buf_as_str(&b), &y, &err);
        assert_int_equal(r, depth <= 32 ? 0 : -ERR_CONFIG);
    }
    assert_true(starts_with(err.text, "f:1:33: more than 32 levels"));

    size_t size = (1 << 20) + 1;
    char *big = xcalloc(size, 1);
    memset(big, '#', size);
    Yaml y = {0};
    assert_int_equal(yaml_parse("f", (Str){big, size}, &y, &err), -ERR_CONFIG);
    assert_true(starts_with(err.text, "f:1:1: larger than"));
    assert_int_equal(yaml_parse("f", (Str){big, size - 1}, &y, &err), 0);
    yaml_clear(&y);
    free(big);
}

/* As many keys as fit: finding that two are equal must not take the square of that. */
static void test_many_keys(void **state)
{
    (void)state;
    _cleanup_(buf_clear) Buf b = BUF_INIT(BUF_MAX_BODY);
    _cleanup_(err_clear) Err err = {0};
    for (int i = 0; i < 90000; i++)
        buf_printf(&b, "k%d: 1\n", i);
    buf_str(&b, "k0: 2\n");
    Yaml y = {0};
    Msec start = time_mono();
    assert_int_equal(yaml_parse("f", buf_as_str(&b), &y, &err), -ERR_CONFIG);
    assert_string_equal(err.text, "f:90001:1: \"k0\" is there twice, first in line 1");
    assert_true(time_mono() - start < 20 * SECOND);
}

static void test_load(void **state)
{
    (void)state;
    char folder[] = "/tmp/atoll-yaml.XXXXXX", expected[256];
    _cleanup_(err_clear) Err err = {0};
    _cleanup_(yaml_clear) Yaml y = {0};
    assert_non_null(mkdtemp(folder));
    _cleanup_free_ char *path = path_join(folder, "f.yaml");

    assert_int_equal(yaml_load(path, &y, &err), -ERR_NOT_FOUND);
    assert_int_equal(file_write(path, STR_LIT("a: [\n"), 0600, &err), 0);
    assert_int_equal(yaml_load(path, &y, &err), -ERR_CONFIG);
    snprintf(expected, sizeof expected, "%s:2:1: ", path);
    assert_true(starts_with(err.text, expected));
    size_t size = (1 << 20) + 2;
    char *big = xcalloc(size, 1);
    memset(big, '#', size);
    assert_int_equal(file_write(path, (Str){big, size}, 0600, &err), 0);
    assert_int_equal(yaml_load(path, &y, &err), -ERR_CONFIG);
    free(big);
    /* With a byte order mark, as some editors write it. */
    assert_int_equal(file_write(path,
                                STR_LIT("\xef\xbb\xbf"
                                        "a: 1\n"),
                                0600, &err),
                     0);
    assert_int_equal(yaml_load(path, &y, &err), 0);
    assert_string_equal(yaml_text(&y.root, "a"), "1");
    assert_string_equal(y.name, path);
    assert_int_equal(file_remove_tree(folder, &err), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tree),      cmocka_unit_test(test_empty),
        cmocka_unit_test(test_refused),   cmocka_unit_test(test_limits),
        cmocka_unit_test(test_many_keys), cmocka_unit_test(test_load),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
