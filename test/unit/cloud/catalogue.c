#include "cloud/login.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

/* Catalogues as clouds have them: with versions and without, several regions, dead services. */
static const char catalogue_text[] =
    "[{\"type\":\"compute\",\"endpoints\":["
    "{\"interface\":\"internal\",\"region\":\"one\",\"url\":\"http://inner:8774/v2.1\"},"
    "{\"interface\":\"public\",\"region\":\"two\",\"url\":\"https://two:8774/v2.1/p1\"},"
    "{\"interface\":\"public\",\"region\":\"one\",\"url\":\"https://one:8774/v2.1/\"}]},"
    "{\"type\":\"computev3\",\"endpoints\":["
    "{\"interface\":\"public\",\"region\":\"one\",\"url\":\"https://dead/v3\"}]},"
    "{\"type\":\"network\",\"endpoints\":["
    "{\"interface\":\"public\",\"region\":\"one\",\"url\":\"https://one:9696/\"},"
    "{\"interface\":\"public\",\"region_id\":\"two\",\"url\":\"https://two/network/v2.0\"}]},"
    "{\"type\":\"volumev2\",\"endpoints\":["
    "{\"interface\":\"public\",\"region\":\"one\",\"url\":\"https://old/v2/p1\"}]},"
    "{\"type\":\"volume\",\"endpoints\":["
    "{\"interface\":\"public\",\"region\":\"one\",\"url\":\"https://old/v2/p1\"}]},"
    "{\"type\":\"block-storage\",\"endpoints\":["
    "{\"interface\":\"public\",\"region\":\"one\",\"url\":\"https://one:8776/v3\"},"
    "{\"interface\":\"public\",\"region\":\"two\",\"url\":\"https://two/volume\"}]},"
    "{\"type\":\"image\",\"endpoints\":["
    "{\"interface\":\"public\",\"region\":\"one\",\"url\":\"https://one:9292\"}]},"
    "{\"type\":\"object-store\",\"endpoints\":["
    "{\"interface\":\"public\",\"region\":\"GRA\",\"url\":\"https://s/v1/AUTH_p1\"}]}]";

static void addresses(void **state)
{
    static const struct {
        CloudService service;
        const char *region, *override, *interface;
        const char *url, *found_in;
    } rows[] = {
        {CLOUD_COMPUTE, "one", NULL, NULL, "https://one:8774/v2.1", "one"},
        {CLOUD_COMPUTE, "two", NULL, NULL, "https://two:8774/v2.1/p1", "two"},
        {CLOUD_COMPUTE, NULL, NULL, NULL, "https://two:8774/v2.1/p1", "two"},
        {CLOUD_COMPUTE, "one", NULL, "internal", "http://inner:8774/v2.1", "one"},
        {CLOUD_NETWORK, "one", NULL, NULL, "https://one:9696/v2.0", "one"},
        {CLOUD_NETWORK, "two", NULL, NULL, "https://two/network/v2.0", "two"},
        {CLOUD_NETWORK, "one", "network=http://n", NULL, "http://n/v2.0", "one"},
        {CLOUD_VOLUME, "one", NULL, NULL, "https://one:8776/v3/p1", "one"},
        {CLOUD_VOLUME, "two", NULL, NULL, "https://two/volume/v3/p1", "two"},
        {CLOUD_VOLUME, "two", "block-storage=https://x/v3/p1", NULL, "https://x/v3/p1", "two"},
        {CLOUD_IMAGE, "one", NULL, NULL, "https://one:9292/v2", "one"},
        {CLOUD_ORCHESTRATION, "one", "orchestration=https://h:8004", NULL, "https://h:8004/v1/p1",
         "one"},
        {CLOUD_OBJECT, NULL, NULL, NULL, "https://s/v1/AUTH_p1", "GRA"},
        {CLOUD_OBJECT, "GRA7", "object-store@region=GRA", NULL, "https://s/v1/AUTH_p1", "GRA"},
        {CLOUD_OBJECT, "GRA7", "object-store=https://r/swift/v1", NULL, "https://r/swift/v1",
         "GRA7"},
    };
    _cleanup_json_ json_t *catalogue = json_parse_new(catalogue_text, strlen(catalogue_text), NULL);

    (void)state;
    assert_non_null(catalogue);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_(err_clear) Err err = {0};
        _cleanup_free_ char *url = NULL;
        const char *region = NULL;
        CloudConfig c = {.region = rows[i].region ? xstrdup(rows[i].region) : NULL,
                         .interface = rows[i].interface ? xstrdup(rows[i].interface) : NULL};
        if (rows[i].override)
            strlist_add(&c.overrides, rows[i].override);
        if (catalogue_endpoint(catalogue, &c, "p1", rows[i].service, &url, &region, &err) < 0)
            fail_msg("row %zu: %s", i, err.text);
        assert_string_equal(url, rows[i].url);
        assert_string_equal(region, rows[i].found_in);
        cloud_config_clear(&c);
    }
}

static void what_is_missing_is_named(void **state)
{
    _cleanup_json_ json_t *catalogue = json_parse_new(catalogue_text, strlen(catalogue_text), NULL);
    _cleanup_(err_clear) Err err = {0};
    CloudConfig c = {.name = xstrdup("ovh"), .region = xstrdup("GRA7")};
    char *url = NULL;
    const char *region = NULL;

    (void)state;
    assert_int_equal(catalogue_endpoint(catalogue, &c, "p1", CLOUD_OBJECT, &url, &region, &err),
                     -ERR_NOT_FOUND);
    assert_string_equal(err.text,
                        "the cloud ovh has no object store in region GRA7 (object-store, interface "
                        "public); it has compute, computev3, network, volumev2, volume, "
                        "block-storage, image, object-store in the regions one, two, GRA");
    assert_null(url);
    cloud_config_clear(&c);
}

static void login_bodies(void **state)
{
    static const struct {
        CloudConfig c;
        const char *body;
    } rows[] = {
        {{.auth_type = AUTH_PASSWORD,
          .username = "jo",
          .user_domain_name = "Default",
          .project_name = "reef",
          .project_domain_id = "d"},
         "{\"auth\":{\"identity\":{\"methods\":[\"password\"],\"password\":{\"user\":{\"domain\":{"
         "\"name\":\"Default\"},\"name\":\"jo\",\"password\":\"se\\\"same\"}}},\"scope\":{"
         "\"project\":{\"domain\":{\"id\":\"d\"},\"name\":\"reef\"}}}}"},
        {{.auth_type = AUTH_PASSWORD, .user_id = "u", .username = "jo", .project_id = "p"},
         "{\"auth\":{\"identity\":{\"methods\":[\"password\"],\"password\":{\"user\":{\"id\":\"u\","
         "\"password\":\"se\\\"same\"}}},\"scope\":{\"project\":{\"id\":\"p\"}}}}"},
        {{.auth_type = AUTH_TOKEN, .project_id = "p"},
         "{\"auth\":{\"identity\":{\"methods\":[\"token\"],\"token\":{\"id\":\"se\\\"same\"}},"
         "\"scope\":{\"project\":{\"id\":\"p\"}}}}"},
        {{.auth_type = AUTH_APPLICATION_CREDENTIAL, .application_credential_id = "c"},
         "{\"auth\":{\"identity\":{\"application_credential\":{\"id\":\"c\",\"secret\":"
         "\"se\\\"same\"},\"methods\":[\"application_credential\"]}}}"},
        {{.auth_type = AUTH_APPLICATION_CREDENTIAL,
          .application_credential_name = "n",
          .username = "jo",
          .user_domain_id = "d"},
         "{\"auth\":{\"identity\":{\"application_credential\":{\"name\":\"n\",\"secret\":"
         "\"se\\\"same\",\"user\":{\"domain\":{\"id\":\"d\"},\"name\":\"jo\"}},\"methods\":["
         "\"application_credential\"]}}}"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        CloudConfig c = rows[i].c;
        c.secret = secret_new("se\"same", 7);
        _cleanup_json_ json_t *body = login_body_new(&c);
        _cleanup_free_ char *text = json_text_new(body);
        assert_string_equal(text, rows[i].body);
        secret_free(c.secret);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses),
        cmocka_unit_test(what_is_missing_is_named),
        cmocka_unit_test(login_bodies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
