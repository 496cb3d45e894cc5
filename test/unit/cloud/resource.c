#include "cloud/resource.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

static void names_go_and_come_back(void **state)
{
    static const struct {
        ResourceKind kind;
        const char *key;
        int generation;
        const char *name;
    } rows[] = {
        {RESOURCE_NETWORK, "main", 1, "reef-network-main"},
        {RESOURCE_SUBNET, "main", 1, "reef-subnet-main"},
        {RESOURCE_ROUTER, "main", 2, "reef-router-main-g2"},
        {RESOURCE_GROUP, "web", 1, "reef-group-web"},
        {RESOURCE_GROUP, "g2", 1, "reef-group-g2"},
        {RESOURCE_GROUP, "g2", 3, "reef-group-g2-g3"},
        {RESOURCE_INTERFACE, "main", 1, "reef-interface-main"},
        {RESOURCE_PORT, "web.0", 1, "reef-port-web-0"},
        {RESOURCE_SERVER_GROUP, "web", 1, "reef-servergroup-web"},
        /* A volume's is a part of its key: two are two things. */
        {RESOURCE_VOLUME, "db.10", 1, "reef-volume-db-10"},
        {RESOURCE_VOLUME, "db.10-g12", 1, "reef-volume-db-10-g12"},
        {RESOURCE_USER, "media", 1, "reef-user-media"},
        {RESOURCE_CONTAINER, "vault", 1, "reef-vault"},
        {RESOURCE_SERVER, "web.0", 1, "reef-web-0"},
        {RESOURCE_SERVER, "g2.0", 2, "reef-g2-0-g2"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_free_ char *name =
            resource_name("reef", rows[i].kind, rows[i].key, rows[i].generation);
        _cleanup_free_ char *key = NULL;
        int generation = 0;
        assert_string_equal(name, rows[i].name);
        assert_true(resource_parse_name("reef", rows[i].kind, name, &key, &generation));
        assert_string_equal(key, rows[i].key);
        assert_int_equal(generation, rows[i].generation);
    }
}

static void names_of_others_are_refused(void **state)
{
    static const struct {
        ResourceKind kind;
        const char *name;
    } rows[] = {
        {RESOURCE_SERVER, "reef-web"},
        {RESOURCE_SERVER, "reef-web-"},
        {RESOURCE_SERVER, "reef-web-x"},
        {RESOURCE_SERVER, "reef-web-00"},
        {RESOURCE_SERVER, "reef-web-+1"},
        {RESOURCE_SERVER, "reef-web-0-1"},
        {RESOURCE_SERVER, "reef-web-0-g1"},
        {RESOURCE_SERVER, "reef-web-0-g02"},
        {RESOURCE_SERVER, "reef-web-0-g2-x"},
        {RESOURCE_SERVER, "reef-web-db-0"}, /* db.0 of the island reef-web */
        {RESOURCE_SERVER, "reef2-web-0"},
        {RESOURCE_SERVER, "reef-Web-0"},
        {RESOURCE_SERVER, "reef"},
        {RESOURCE_SERVER, ""},
        {RESOURCE_SERVER, NULL},
        {RESOURCE_GROUP, "reef-group-web-0"},
        {RESOURCE_GROUP, "reef-lease"},
        {RESOURCE_SERVER_GROUP, "reef-servergroup-servergroup-web"},
        {RESOURCE_NETWORK, "reef-network-"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char *key = NULL;
        int generation = 77;
        assert_false(resource_parse_name("reef", rows[i].kind, rows[i].name, &key, &generation));
        assert_null(key);
        assert_int_equal(generation, 77);
    }
}

static Resource made(ResourceKind kind, const char *key, int generation, const char *id)
{
    return (Resource){.kind = kind,
                      .key = xstrdup(key),
                      .generation = generation,
                      .id = id ? xstrdup(id) : NULL,
                      .attrs = json_make_new("{s:s}", "id", id ? id : "")};
}

static void finding(void **state)
{
    _cleanup_(world_clear) World w = {0};

    (void)state;
    (void)world_add(&w, made(RESOURCE_SERVER, "web.0", 0, "a"));
    (void)world_add(&w, made(RESOURCE_SERVER, "web.0", 2, "b"));
    (void)world_add(&w, made(RESOURCE_SERVER, "web.0", 2, "c"));
    (void)world_add(&w, made(RESOURCE_PORT, "web.0", 1, NULL));
    assert_string_equal(world_find(&w, RESOURCE_SERVER, "web.0", 1)->id, "a");
    assert_string_equal(world_find(&w, RESOURCE_SERVER, "web.0", 0)->id, "b");
    assert_string_equal(world_find(&w, RESOURCE_SERVER, "web.0", 2)->id, "b");
    assert_null(world_find(&w, RESOURCE_SERVER, "web.0", 3));
    assert_null(world_find(&w, RESOURCE_SERVER, "web.1", 0));
    assert_string_equal(world_find_id(&w, RESOURCE_SERVER, "c")->key, "web.0");
    assert_null(world_find_id(&w, RESOURCE_PORT, "c"));
}

static void a_copy_is_its_own(void **state)
{
    World w = {.facts = json_make_new("{s:s}", "a", "b")};

    (void)state;
    (void)world_add(&w, made(RESOURCE_VOLUME, "db.0", 1, "v"));
    w.items.items[0].fault = xstrdup("no space");
    World c = world_copy(&w);
    json_object_set_new(w.items.items[0].attrs, "id", json_string("changed"));
    world_clear(&w);
    assert_int_equal(c.items.len, 1);
    assert_string_equal(json_str(c.items.items[0].attrs, "id"), "v");
    assert_string_equal(c.items.items[0].fault, "no space");
    assert_string_equal(json_str(c.facts, "a"), "b");
    world_clear(&c);
    world_clear(&c);
}

static void every_kind_has_words(void **state)
{
    (void)state;
    for (int kind = 0; kind < RESOURCE_KINDS; kind++) {
        assert_non_null(resource_row((ResourceKind)kind)->word);
        assert_non_null(resource_row((ResourceKind)kind)->prefix);
    }
    _cleanup_free_ char *marker = resource_marker("reef");
    assert_string_equal(marker, "atoll:reef");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_go_and_come_back),
        cmocka_unit_test(names_of_others_are_refused),
        cmocka_unit_test(finding),
        cmocka_unit_test(a_copy_is_its_own),
        cmocka_unit_test(every_kind_has_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
