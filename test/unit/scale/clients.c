/* How many streaming servers, by their clients. */
#include "scale/clients.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static const ClientsConfig config = {.min = 1, .max = 6, .each = 1000, .calm_ms = 20 * MINUTE};

typedef struct Row {
    Msec minute;
    int there;
    bool all_tell;
    int64_t clients;
    int desired;
    ScaleBinding binding;
} Row;

static void assert_rows(const Row *rows, size_t n)
{
    ClientsLaw law = {0};

    for (size_t i = 0; i < n; i++) {
        const Row *r = &rows[i];
        ClientsDecision d;
        clients_decide(&law, &config,
                       &(ClientsSeen){.now = HOUR + r->minute * MINUTE,
                                      .there = r->there,
                                      .all_tell = r->all_tell,
                                      .clients = r->clients},
                       &d);
        if (d.desired != r->desired || d.binding != r->binding)
            fail_msg("row %zu: %d by %s: %s", i, d.desired, scale_bindings[d.binding], d.reason);
    }
}

/* The others must have room for those of one that goes. */
static void it_grows_before_it_is_full(void **state)
{
    static const Row rows[] = {
        {0, 1, true, 0, 1, SCALE_BY_LOAD},     {1, 1, true, 750, 1, SCALE_BY_LOAD},
        {2, 1, true, 751, 2, SCALE_BY_LOAD},   {3, 2, false, 800, 2, SCALE_BY_BLIND},
        {4, 2, false, 3000, 4, SCALE_BY_LOAD}, {5, 4, true, 3000, 4, SCALE_BY_LOAD},
        {6, 4, true, 30000, 6, SCALE_BY_MAX},  {7, 0, true, 0, 1, SCALE_BY_LOAD},
    };

    (void)state;
    assert_rows(rows, sizeof rows / sizeof *rows);
}

static void it_shrinks_one_by_one_after_a_while(void **state)
{
    static const Row rows[] = {
        {0, 4, true, 3000, 4, SCALE_BY_LOAD},
        {1, 4, true, 700, 4, SCALE_BY_HOLD},
        {20, 4, true, 700, 4, SCALE_BY_HOLD},
        {21, 4, true, 700, 3, SCALE_BY_LOAD},
        {22, 3, true, 700, 3, SCALE_BY_HOLD},
        {42, 3, true, 700, 2, SCALE_BY_LOAD},
        /* They come back for a moment: the time begins anew. */
        {43, 2, true, 700, 2, SCALE_BY_HOLD},
        {50, 2, true, 1400, 2, SCALE_BY_LOAD},
        {51, 2, true, 700, 2, SCALE_BY_HOLD},
        {70, 2, true, 700, 2, SCALE_BY_HOLD},
        {71, 2, true, 700, 1, SCALE_BY_LOAD},
    };

    (void)state;
    assert_rows(rows, sizeof rows / sizeof *rows);
}

static void what_is_not_known_lowers_nothing(void **state)
{
    static const Row rows[] = {
        {0, 3, true, 700, 3, SCALE_BY_HOLD},
        {19, 3, false, 400, 3, SCALE_BY_BLIND},
        {30, 3, true, 700, 3, SCALE_BY_HOLD}, /* counted anew */
        {50, 3, true, 700, 2, SCALE_BY_LOAD},
    };

    (void)state;
    assert_rows(rows, sizeof rows / sizeof *rows);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_grows_before_it_is_full),
        cmocka_unit_test(it_shrinks_one_by_one_after_a_while),
        cmocka_unit_test(what_is_not_known_lowers_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
