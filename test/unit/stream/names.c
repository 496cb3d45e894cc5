#include "stream/names.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const struct {
    const char *tag, *normal;
} tags[] = {
    {"Coral", "coral"},
    {"\xc3\x9cn\xc3\xaf"
     "C\xc3\xb6"
     "De",
     "unicode"},
    {"\xef\xbc\xa6\xef\xbd\x95\xef\xbd\x8c\xef\xbd\x8c", "full"}, /* full width */
    {"a-b c!#d", "abcd"},
    {"snake_case", "snake_case"},
    {"\xc5\x81\xc3\xb3"
     "d\xc5\xba",
     "lodz"},
    {"stra\xc3\x9f"
     "e",
     "stra\xc3\x9f"
     "e"},
    {"\xc4\xb0stanbul", "istanbul"},
    {"\xe6\x97\xa5\xe6\x9c\xac", "\xe6\x97\xa5\xe6\x9c\xac"},
    {"l\xc2\xb7"
     "l",
     "l\xc2\xb7"
     "l"},
    {"\xce\xa3\xce\xaf\xcf\x83\xcf\x85\xcf\x86\xce\xbf\xcf\x83",
     "\xcf\x83\xce\xaf\xcf\x83\xcf\x85\xcf\x86\xce\xbf\xcf\x83"},
    {"123", "123"},
    {"!!!", ""},
    {"", ""},
};

static void test_tags(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(tags); i++) {
        _cleanup_(buf_clear) Buf b = BUF_INIT(1000);
        tag_normal(str_of(tags[i].tag), &b);
        assert_string_equal(b.p, tags[i].normal);
    }
}

static void test_names_and_paths(void **state)
{
    (void)state;
    StreamId id;

    for (int i = 0; i < STREAM_SYSTEM; i++) {
        const StreamRow *row = stream_row((StreamId)i);
        assert_true(stream_by_name(str_of(row->name), &id) && (int)id == i);
        if (row->path)
            assert_true(stream_by_path(str_of(row->path), &id) && (int)id == i);
    }
    assert_false(stream_by_name(STR_LIT("system"), &id));
    assert_false(stream_by_name(STR_LIT("Public"), &id));
    assert_false(stream_by_path(STR_LIT("public:local"), &id));
    assert_false(stream_by_path(STR_LIT("user/"), &id));
}

static void test_scopes(void **state)
{
    (void)state;
    assert_int_equal(scopes_of(STR_LIT("write read:statuses follow")), SCOPE_STATUSES);
    assert_int_equal(scopes_of(STR_LIT("reader readx")), 0);
    assert_true(stream_allowed(STREAM_PUBLIC, SCOPE_READ));
    assert_true(stream_allowed(STREAM_PUBLIC, SCOPE_STATUSES));
    assert_false(stream_allowed(STREAM_PUBLIC, SCOPE_NOTIFICATIONS));
    assert_false(stream_allowed(STREAM_USER_NOTIFICATION, SCOPE_STATUSES));
}

static void test_channels(void **state)
{
    (void)state;
    Buf names[STREAM_CHANNELS] = {BUF_INIT(200), BUF_INIT(200)};

    assert_int_equal(stream_channels(&(StreamAsk){.id = STREAM_USER, .account = 7}, "", names), 1);
    assert_string_equal(names[0].p, "timeline:7");
    assert_int_equal(
        stream_channels(&(StreamAsk){.id = STREAM_USER, .account = 7, .notifications = true},
                        "ns:", names),
        2);
    assert_string_equal(names[1].p, "ns:timeline:7:notifications");
    (void)stream_channels(&(StreamAsk){.id = STREAM_HASHTAG_LOCAL, .tag = STR_LIT("x")}, "", names);
    assert_string_equal(names[0].p, "timeline:hashtag:x:local");
    (void)stream_channels(&(StreamAsk){.id = STREAM_SYSTEM, .account = 7, .number = 9}, "", names);
    assert_string_equal(names[0].p, "timeline:access_token:9");
    assert_string_equal(names[1].p, "timeline:system:7");
    for (size_t i = 0; i < STREAM_CHANNELS; i++)
        buf_clear(&names[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tags), cmocka_unit_test(test_names_and_paths),
        cmocka_unit_test(test_scopes), cmocka_unit_test(test_channels)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
