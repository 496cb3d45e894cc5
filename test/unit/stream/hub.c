#include "stream/hub.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

typedef struct Timer {
    WheelNode node;
    Msec due, ended;
    bool again;
} Timer;

typedef struct Turn {
    Wheel *wheel;
    Msec now;
} Turn;

static void ended(void *user, WheelNode *n)
{
    Turn *t = user;
    Timer *timer = (Timer *)n;
    timer->ended = t->now;
    if (timer->again)
        wheel_set(t->wheel, n, 0);
}

/* Each ends once, not early, and at most a tick and a turn late. */
static void test_wheel(void **state)
{
    (void)state;
    Wheel *w = NEW(Wheel);
    Timer *timers = xcalloc(500, sizeof(Timer));
    Turn t = {.wheel = w, .now = 12345};

    wheel_init(w, t.now);
    for (int i = 0; i < 500; i++) {
        timers[i].due = t.now + i * 397; /* past two rounds of the wheel */
        wheel_set(w, &timers[i].node, i * 397);
    }
    wheel_cancel(&timers[100].node);
    for (Msec end = t.now + 210000; t.now < end; t.now += 30)
        wheel_turn(w, t.now, ended, &t);
    for (int i = 0; i < 500; i++) {
        assert_false(wheel_is_set(&timers[i].node));
        if (i == 100) {
            assert_int_equal(timers[i].ended, 0);
            continue;
        }
        assert_true(timers[i].ended >= timers[i].due);
        assert_true(timers[i].ended <= timers[i].due + 2 * WHEEL_TICK_MS + 30);
    }
    free(timers);
    free(w);
}

static void test_wheel_sets_again(void **state)
{
    (void)state;
    Wheel *w = NEW(Wheel);
    Timer timer = {.again = true};
    Turn t = {.wheel = w};

    wheel_init(w, 0);
    wheel_set(w, &timer.node, 0);
    for (t.now = 0; t.now < 1000; t.now += 100)
        wheel_turn(w, t.now, ended, &t);
    assert_true(wheel_is_set(&timer.node));
    wheel_cancel(&timer.node);
    free(w);
}

static void test_slab(void **state)
{
    (void)state;
    Slab s;
    uint32_t first, index;

    slab_init(&s, 24);
    char *a = slab_take(&s, &first);
    memset(a, 1, 24);
    for (int i = 0; i < 1000; i++)
        (void)slab_take(&s, &index);
    assert_ptr_equal(slab_at(&s, first), a); /* it does not move */
    slab_give(&s, first);
    assert_ptr_equal(slab_take(&s, &index), a);
    assert_null(slab_at(&s, 5000));
    slab_clear(&s);
}

static Buf name_of(const char *text)
{
    Buf b = BUF_INIT(100);
    buf_str(&b, text);
    return b;
}

static void settle_all(Hub *h)
{
    for (size_t i = 0; i < h->changed.len; i++)
        hub_settled(h, h->changed.items[i]);
    h->changed.len = 0;
}

static void test_hub(void **state)
{
    (void)state;
    Hub h;
    Buf two[] = {name_of("timeline:1"), name_of("timeline:1:notifications")};

    hub_init(&h, 42);
    Subscription *a = hub_subscribe(&h, two, 2, true), *b = hub_subscribe(&h, &two[1], 1, true);
    Channel *c = hub_channel(&h, STR_LIT("timeline:1:notifications"));
    assert_non_null(c);
    assert_ptr_equal(c->first->of, a);
    assert_ptr_equal(c->last->of, b);
    assert_int_equal(h.changed.len, 2);
    assert_ptr_equal(hub_find(&h, a, two, 2), a);
    assert_null(hub_find(&h, a, &two[1], 1)); /* another list of channels */
    settle_all(&h);
    hub_unsubscribe(&h, a);
    assert_null(hub_channel(&h, STR_LIT("timeline:1"))->first);
    assert_int_equal(h.changed.len, 1);
    settle_all(&h);
    assert_null(hub_channel(&h, STR_LIT("timeline:1")));
    hub_unsubscribe(&h, b);
    b = hub_subscribe(&h, &two[1], 1, true); /* before Redis was told */
    settle_all(&h);
    assert_non_null(hub_channel(&h, STR_LIT("timeline:1:notifications")));
    hub_unsubscribe(&h, b);
    settle_all(&h);
    assert_int_equal(h.channels.len, 0);
    hub_clear(&h);
    buf_clear(&two[0]);
    buf_clear(&two[1]);
}

static void test_accounts(void **state)
{
    (void)state;
    Hub h;

    hub_init(&h, 7);
    Account *a = hub_account_ref(&h, 5), *again = hub_account_ref(&h, 5);
    assert_ptr_equal(a, again);
    Languages *l = languages_ref(a, STR_LIT("[\"en\",\"pt-BR\"]")),
              *same = languages_ref(a, STR_LIT("[\"en\",\"pt-BR\"]")),
              *other = languages_ref(a, STR_LIT("[]"));
    assert_ptr_equal(l, same);
    assert_true(languages_have(l, STR_LIT("\"pt-BR\"")));
    assert_false(languages_have(l, STR_LIT("\"pt\"")));
    assert_false(languages_have(other, STR_LIT("\"en\"")));
    languages_unref(l);
    languages_unref(same);
    languages_unref(other);
    a->filters_state = FILTERS_KNOWN;
    hub_filters_forget(&h, NULL);
    assert_int_equal(a->filters_state, FILTERS_UNKNOWN);
    for (int64_t i = 0; i < 1000; i++)
        (void)hub_account_ref(&h, i + 100);
    for (int64_t i = 0; i < 1000; i++)
        hub_account_unref(&h, hub_account(&h, i + 100));
    hub_account_unref(&h, a);
    assert_non_null(hub_account(&h, 5));
    hub_account_unref(&h, a);
    assert_null(hub_account(&h, 5));
    Address *x = hub_address_ref(&h, "192.0.2.1");
    assert_int_equal(hub_address_ref(&h, "192.0.2.1")->conns, 2);
    hub_address_unref(&h, x);
    hub_address_unref(&h, x);
    hub_clear(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wheel), cmocka_unit_test(test_wheel_sets_again),
        cmocka_unit_test(test_slab), cmocka_unit_test(test_hub), cmocka_unit_test(test_accounts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
