/* The search server's image and its memory. */
#include "island/search.h"

#include <setjmp.h>

#include <cmocka.h>

static void the_heap_follows_the_servers_memory(void **state)
{
    static const struct {
        int64_t memory_mb;
        bool alone;
        int heap_mb;
    } rows[] = {
        {0, true, 256},        {-1, true, 256},        {512, true, 256},     {1024, true, 512},
        {2048, true, 1024},    {2048, false, 512},     {3000, true, 1500},   {8192, true, 4096},
        {8192, false, 2048},   {63488, true, 31744},   {63490, true, 31744}, {65536, true, 31744},
        {262144, true, 31744}, {262144, false, 31744},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_int_equal(search_heap_mb(rows[i].memory_mb, rows[i].alone), rows[i].heap_mb);
}

#define DIGEST "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void an_image_has_a_registry_and_no_tag(void **state)
{
    static const struct {
        const char *image, *why; /* the words begin so; NULL: it is good */
    } rows[] = {
        {SEARCH_IMAGE, NULL},
        {"docker.io/opensearchproject/opensearch", NULL},
        {"localhost/search", NULL},
        {"127.0.0.1:5000/search@sha256:" DIGEST, NULL},
        {"elasticsearch", "give it with its registry"},
        {"opensearchproject/opensearch", "give it with its registry"},
        {"/opensearch", "give it with its registry"},
        {"docker.io/", "the part behind"},
        {"docker.io//opensearch", "the part behind"},
        {"docker.io/-x", "the part behind"},
        {"docker.io/elastic search", "an image's name has"},
        {"docker.io/Elasticsearch", "an image's name has"},
        {"docker.io/x$(id)", "an image's name has"},
        {"docker.io/elasticsearch:8.19.0", "the tag goes"},
        {"docker.io/elasticsearch@sha256:12", "a digest is"},
        {"docker.io/elasticsearch@md5:" DIGEST "000", "a digest is"},
        {"oci-archive:search.tar", "a search server's image comes from a registry"},
        {"", "give it with its registry"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const char *why = search_image_why(rows[i].image);

        if (rows[i].why ? !why || !starts_with(why, rows[i].why) : why != NULL)
            fail_msg("%s: %s", rows[i].image, why ? why : "taken");
    }
}

static void the_two_have_users_of_their_own(void **state)
{
    (void)state;
    assert_string_equal(search_user(SEARCH_IMAGE), "elastic");
    assert_string_equal(search_user("docker.io/opensearchproject/opensearch"), "admin");
    /* Whose registry it is says nothing. */
    assert_string_equal(search_user("opensearch.example/elasticsearch"), "elastic");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_heap_follows_the_servers_memory),
        cmocka_unit_test(an_image_has_a_registry_and_no_tag),
        cmocka_unit_test(the_two_have_users_of_their_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
