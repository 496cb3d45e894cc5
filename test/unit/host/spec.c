#include "host/spec.h"

#include <setjmp.h>

#include <cmocka.h>

static void add(World *w, ResourceKind kind, const char *key, const char *id, json_t *attrs)
{
    (void)world_add(w, (Resource){.kind = kind,
                                  .key = xstrdup(key),
                                  .generation = 1,
                                  .name = xasprintf("reef-%s", key),
                                  .id = xstrdup(id),
                                  .attrs = attrs});
}

/* A world in which everything that web.0 needs is there. */
static World whole_world(void)
{
    World w = {0};
    w.facts = json_make_new("{s:{s:{s:s, s:s}, s:{s:s, s:s, s:s, s:s, s:s}}}", "clouds", "island",
                            "project_id", "p-island", "auth_url", "http://k/v3", "media",
                            "project_id", "p-media", "domain_name", "Default", "region", "nz-1",
                            "auth_url", "https://k/v3", "object_url", "https://s/v1/AUTH_p-media");
    add(&w, RESOURCE_PORT, "web.0", "po-1", json_make_new("{s:s}", "address", "10.77.0.10"));
    add(&w, RESOURCE_PORT, "db.0", "po-2", json_make_new("{s:s}", "address", "10.77.0.11"));
    add(&w, RESOURCE_USER, "media", "u-1", json_object());
    add(&w, RESOURCE_VOLUME, "web.0", "8a3b9c1d-0000-4000-8000-000000000001", json_object());
    return w;
}

static Resource wanted(const char *media_url)
{
    return (Resource){.kind = RESOURCE_HOST,
                      .key = xstrdup("web.0"),
                      .generation = 1,
                      .attrs = json_make_new("{s:s, s:{s:[s], s:[s, s]}, s:{s:s, s:s, s:s}, s:s}",
                                             "server", "web.0", "peers", "postgres", "db.0", "web",
                                             "web.0", "db.0", "media", "container", "user uploads",
                                             "user", "media", "url", media_url, "volume", "web.0")};
}

static void keys_become_addresses(void **state)
{
    (void)state;
    _cleanup_(world_clear) World w = whole_world();
    _cleanup_(resource_clear) Resource want = wanted("");
    _cleanup_json_ json_t *before = json_deep_copy(want.attrs);
    _cleanup_json_ json_t *spec = host_spec_new(&want, &w);

    assert_non_null(spec);
    assert_true(json_equal(before, want.attrs));
    _cleanup_json_ json_t *expect = json_make_new(
        "{s:s, s:s, s:s, s:s, s:{s:[s], s:[s, s]}, s:{s:s, s:s, s:s, s:s, s:s, s:s, s:s}}",
        "server", "web.0", "address", "10.77.0.10", "volume", "web.0", "volume_id",
        "8a3b9c1d-0000-4000-8000-000000000001", "peers", "postgres", "10.77.0.11", "web",
        "10.77.0.10", "10.77.0.11", "media", "container", "user uploads", "username", "reef-media",
        "user_domain", "Default", "project_id", "p-media", "region", "nz-1", "auth_url",
        "https://k/v3", "object_url", "https://s/v1/AUTH_p-media/user%20uploads");
    assert_true(json_equal(spec, expect));
}

static void an_own_media_address_is_kept(void **state)
{
    (void)state;
    _cleanup_(world_clear) World w = whole_world();
    _cleanup_(resource_clear) Resource want = wanted("https://media.reef.example/");
    _cleanup_json_ json_t *spec = host_spec_new(&want, &w);

    assert_string_equal(json_str(spec, "media.object_url"), "https://media.reef.example");
}

static void nothing_is_guessed(void **state)
{
    (void)state;
    static const struct {
        ResourceKind kind;
        const char *key;
    } missing[] = {
        {RESOURCE_PORT, "web.0"},
        {RESOURCE_PORT, "db.0"},
        {RESOURCE_USER, "media"},
        {RESOURCE_VOLUME, "web.0"},
    };
    for (size_t i = 0; i < ARRAY_LEN(missing); i++) {
        _cleanup_(world_clear) World w = whole_world();
        _cleanup_(resource_clear) Resource want = wanted("");
        for (size_t k = 0; k < w.items.len; k++)
            if (w.items.items[k].kind == missing[i].kind &&
                streq(w.items.items[k].key, missing[i].key)) {
                resource_clear(&w.items.items[k]);
                vec_remove(&w.items, k);
                break;
            }
        assert_null(host_spec_new(&want, &w));
    }
    _cleanup_(world_clear) World w = whole_world();
    _cleanup_(resource_clear) Resource want = wanted("");
    json_object_set_new(world_find(&w, RESOURCE_PORT, "web.0", 1)->attrs, "address",
                        json_string(""));
    assert_null(host_spec_new(&want, &w));
}

static void a_host_without_media_and_volume(void **state)
{
    (void)state;
    _cleanup_(world_clear) World w = whole_world();
    _cleanup_(resource_clear) Resource want = wanted("");
    json_object_del(want.attrs, "media");
    json_object_set_new(want.attrs, "volume", json_null());
    _cleanup_json_ json_t *spec = host_spec_new(&want, &w);

    assert_non_null(spec);
    assert_null(json_object_get(spec, "media"));
    assert_null(json_object_get(spec, "volume_id"));
}

static void equal_specs_have_equal_hashes(void **state)
{
    (void)state;
    _cleanup_json_ json_t *a = json_make_new("{s:i, s:i}", "a", 1, "b", 2);
    _cleanup_json_ json_t *b = json_make_new("{s:i, s:i}", "b", 2, "a", 1);
    _cleanup_json_ json_t *c = json_make_new("{s:i, s:i}", "b", 2, "a", 3);
    char x[17], y[17], z[17];

    host_spec_hash(a, x);
    host_spec_hash(b, y);
    host_spec_hash(c, z);
    assert_int_equal(strlen(x), 16);
    assert_string_equal(x, y);
    assert_string_not_equal(x, z);
    /* SHA-256 of {"a":1,"b":2} */
    assert_string_equal(x, "43258cff783fe703");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_become_addresses),
        cmocka_unit_test(an_own_media_address_is_kept),
        cmocka_unit_test(nothing_is_guessed),
        cmocka_unit_test(a_host_without_media_and_volume),
        cmocka_unit_test(equal_specs_have_equal_hashes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
