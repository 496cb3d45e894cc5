#include "backup/catalogue.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define HASH "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define IDENTITY "0123456789abcdef0123456789abcdef"

static void test_round_trip(void **state)
{
    (void)state;
    char *names[] = {
        name_wal_new(3, 0x16b374d848, 0x16b3800000, HASH),
        name_history_new(3, HASH),
        name_pack_new("00ff00ff00ff00ff", 17, HASH),
        name_base_new("20261129T013000Z-00ff00ff00ff00ff", HASH),
    };
    static const char *const texts[] = {
        "host/wal/00000003/00000016b374d848-00000016b3800000-" IDENTITY,
        "host/wal/00000003/history-" IDENTITY,
        "host/pack/00ff00ff00ff00ff-000017-" IDENTITY,
        "host/base/20261129T013000Z-00ff00ff00ff00ff-" IDENTITY,
    };
    static const NameKind kinds[] = {NAME_WAL, NAME_HISTORY, NAME_PACK, NAME_BASE};

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        assert_string_equal(names[i], texts[i]);
        Name n = name_parse(names[i]);
        assert_int_equal(n.kind, kinds[i]);
        assert_string_equal(n.identity, IDENTITY);
        free(names[i]);
    }
    Name n = name_parse(texts[0]);
    assert_int_equal(n.tli, 3);
    assert_true(n.start == 0x16b374d848 && n.end == 0x16b3800000);
    assert_string_equal(name_parse(texts[2]).id, "00ff00ff00ff00ff-000017");
    assert_string_equal(name_parse(texts[3]).id, "20261129T013000Z-00ff00ff00ff00ff");
}

static void test_others(void **state)
{
    static const struct {
        const char *name;
        NameKind kind;
    } rows[] = {
        {"catalogue/0000000007", NAME_NOTE},
        {"catalogue/0000000000", NAME_OTHER},
        {"catalogue/7", NAME_OTHER},
        {"catalogue/00000000071", NAME_OTHER},
        {"segment/00000001/000000010000000000000001-0", NAME_SEGMENT},
        {"segment/00000001/000000010000000000000001", NAME_OTHER},
        {"segment/00000001/00000001000000000000000-0", NAME_OTHER},
        {"segment/00000001/000000010000000000000001-00", NAME_OTHER},
        {"segment/00000001/000000010000000000000001-07", NAME_OTHER},
        {"segment/00000001/000000010000000000000001--0", NAME_OTHER},
        {"host/wal/00000001/history-" IDENTITY "0", NAME_OTHER},
        {"host/wal/1/history-" IDENTITY, NAME_OTHER},
        /* Upper case is another name for the same thing: not ours. */
        {"host/wal/0000000A/history-" IDENTITY, NAME_OTHER},
        /* Empty, and backwards. */
        {"host/wal/00000001/0000000000000001-0000000000000001-" IDENTITY, NAME_OTHER},
        {"host/wal/00000001/0000000000000002-0000000000000001-" IDENTITY, NAME_OTHER},
        {"host/wal/00000001/0000000000000001-0000000000000002-" IDENTITY, NAME_WAL},
        {"host/pack/-" IDENTITY, NAME_OTHER},
        {"host/pack/a/b-" IDENTITY, NAME_OTHER},
        {"host/base/" IDENTITY, NAME_OTHER},
        {"host/", NAME_OTHER},
        {"", NAME_OTHER},
        {"else", NAME_OTHER},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_int_equal(name_parse(rows[i].name).kind, rows[i].kind);
    assert_int_equal(name_parse("catalogue/0000000007").number, 7);
    assert_string_equal(name_parse("segment/00000001/000000010000000000000001-12").id,
                        "000000010000000000000001");
    assert_int_equal(name_parse("segment/00000001/000000010000000000000001-12").number, 12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
