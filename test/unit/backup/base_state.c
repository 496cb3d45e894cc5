/* Which page map a backup begins with. */
#include "backup/base_state.h"
#include "io/crypt.h"
#include "io/file.h"

#include <setjmp.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

static void finish(BaseState *s, const BaseStateAsk *ask)
{
    char sha256[65];

    assert_int_equal(pagemap_finish(s->map, sha256, NULL), 0);
    assert_int_equal(base_state_finish(s, ask, sha256, NULL), 0);
    base_state_clear(s);
}

/* A backup upon packs that others' prune has taken would be none. */
static void a_map_counts_on_its_own_timeline(void **state)
{
    static const struct {
        Timeline before, now;
        const char *system;
        size_t sources;
    } rows[] = {{1, 1, "7", 1}, {1, 2, "7", 0}, {1, 3, "7", 0}, {3, 3, "7", 1}, {1, 1, "8", 0}};
    (void)state;

    crypt_init();
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char folder[] = "/tmp/atoll-state-XXXXXX";
        _cleanup_(strlist_clear) StrList warnings = {0};
        BaseState s;
        assert_non_null(mkdtemp(folder));
        BaseStateAsk ask = {
            .folder = folder, .system = "7", .tli = rows[i].before, .now = 1764378000000};
        assert_int_equal(base_state_open(&ask, &s, &warnings, NULL), 0);
        assert_int_equal(s.source_count, 0);
        finish(&s, &ask);
        assert_int_equal(warnings.len, 0);
        ask.tli = rows[i].now;
        ask.system = rows[i].system;
        ask.now += 1000;
        assert_int_equal(base_state_open(&ask, &s, &warnings, NULL), 0);
        assert_int_equal(s.source_count, rows[i].sources);
        assert_int_equal(warnings.len, 1 - rows[i].sources);
        base_state_clear(&s);
        assert_int_equal(file_remove_tree(folder, NULL), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_map_counts_on_its_own_timeline),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
