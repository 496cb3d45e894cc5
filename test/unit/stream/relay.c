#include "stream/relay.h"
#include "stream/census.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#define LOOPS 3
#define BACKLOG (4 << 20)

/* A loop of which nothing runs but what the test lets run. */
typedef struct Loop {
    uv_loop_t loop;
    Port *port;
    Hub hub;
    Buf heard; /* "channel=text;" of each message, "!" behind, "*" renewed, "." drained */
    int messages, sockets;
} Loop;

typedef struct World {
    uv_loop_t loop;
    Relay *relay;
    Loop loops[LOOPS];
    bool ended;
    int lost; /* a socket that no loop got to see; 0: none */
} World;

static void on_behind(void *user)
{
    buf_char(&((Loop *)user)->heard, '!');
}

static void on_renewed(void *user)
{
    buf_char(&((Loop *)user)->heard, '*');
}

static void on_connection(void *user, int fd)
{
    ((Loop *)user)->sockets++;
    (void)close(fd);
}

static void on_message(void *user, Str channel, Str text)
{
    Loop *l = user;

    l->messages++;
    assert_int_equal(text.p[text.n], '\0');
    if (text.n < 20)
        buf_printf(&l->heard, "%.*s=%.*s;", (int)channel.n, channel.p, (int)text.n, text.p);
}

static void on_drain(void *user)
{
    buf_char(&((Loop *)user)->heard, '.');
}

static void on_ended(void *user)
{
    ((World *)user)->ended = true;
}

static int set_up(void **state)
{
    static const PortEvents events = {.behind = on_behind,
                                      .renewed = on_renewed,
                                      .connection = on_connection,
                                      .message = on_message,
                                      .drain = on_drain};
    World *w = NEW(World);

    assert_int_equal(uv_loop_init(&w->loop), 0);
    w->relay = relay_new(&(RelayOptions){
        .loop = &w->loop, .ports = LOOPS, .backlog_bytes = BACKLOG, .ended = on_ended, .user = w});
    for (size_t i = 0; i < LOOPS; i++) {
        Loop *l = &w->loops[i];
        assert_int_equal(uv_loop_init(&l->loop), 0);
        hub_init(&l->hub, i);
        l->heard = BUF_INIT(BUF_MAX_BODY);
        l->port = relay_port(w->relay, i);
        port_open(l->port, &l->loop, &events, l);
    }
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    World *w = *state;

    for (size_t i = 0; i < LOOPS; i++) {
        Loop *l = &w->loops[i];
        port_close(l->port);
        (void)uv_run(&l->loop, UV_RUN_DEFAULT);
        assert_int_equal(uv_loop_close(&l->loop), 0);
        hub_clear(&l->hub);
        buf_clear(&l->heard);
    }
    relay_close(w->relay);
    (void)uv_run(&w->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&w->loop), 0);
    w->relay = relay_free(w->relay);
    assert_true(!w->lost || fcntl(w->lost, F_GETFD) < 0);
    free(w);
    return 0;
}

static void turn(uv_loop_t *loop)
{
    (void)uv_run(loop, UV_RUN_NOWAIT);
}

static Subscription *listens(Loop *l, const char *channel)
{
    Buf name = BUF_INIT(200);

    buf_str(&name, channel);
    Subscription *s = hub_subscribe(&l->hub, &name, 1, true);
    buf_clear(&name);
    return s;
}

/* Ends everybody's turn until nothing is on its way any more. */
static void settle(World *w)
{
    Metrics none = {0};

    for (int round = 0; round < 4; round++) {
        for (size_t i = 0; i < LOOPS; i++)
            port_end_turn(w->loops[i].port, &w->loops[i].hub);
        turn(&w->loop);
        relay_end_turn(w->relay, &none);
        for (size_t i = 0; i < LOOPS; i++)
            turn(&w->loops[i].loop);
    }
}

static uint32_t loops_of(World *w, const char *channel)
{
    const Channel *c = hub_channel(relay_hub(w->relay), str_of(channel));
    return c ? c->loops : 0;
}

/* As a feed does at the end of a turn: how many channels came or went. */
static size_t fetched(World *w)
{
    Hub *h = relay_hub(w->relay);
    size_t n = h->changed.len;

    for (size_t i = 0; i < n; i++)
        hub_settled(h, h->changed.items[i]);
    h->changed.len = 0;
    return n;
}

static void say(World *w, const char *channel, const char *text)
{
    relay_message(w->relay, str_of(channel), str_of(text));
}

static void test_a_channel_is_wanted_once(void **state)
{
    World *w = *state;
    Subscription *a = listens(&w->loops[0], "x"), *b = listens(&w->loops[2], "x"),
                 *again = listens(&w->loops[0], "x");

    settle(w);
    assert_int_equal(loops_of(w, "x"), 5);
    assert_true(hub_channel(relay_hub(w->relay), STR_LIT("x"))->beats);
    assert_int_equal(fetched(w), 1);
    hub_unsubscribe(&w->loops[0].hub, a);
    settle(w);
    assert_int_equal(loops_of(w, "x"), 5);
    hub_unsubscribe(&w->loops[0].hub, again);
    settle(w);
    assert_int_equal(loops_of(w, "x"), 4);
    assert_int_equal(fetched(w), 0); /* Redis has nothing to be told */
    hub_unsubscribe(&w->loops[2].hub, b);
    settle(w);
    assert_int_equal(fetched(w), 1);
    assert_null(hub_channel(relay_hub(w->relay), STR_LIT("x")));
    assert_null(hub_channel(&w->loops[2].hub, STR_LIT("x")));
}

/* Came and went, went and came: only what is left is told. */
static void test_wishes_cancel_out(void **state)
{
    World *w = *state;

    hub_unsubscribe(&w->loops[1].hub, listens(&w->loops[1], "brief"));
    settle(w);
    assert_int_equal(fetched(w), 0);
    Subscription *s = listens(&w->loops[1], "x");
    settle(w);
    assert_int_equal(fetched(w), 1);
    hub_unsubscribe(&w->loops[1].hub, s);
    (void)listens(&w->loops[1], "x");
    settle(w);
    assert_int_equal(fetched(w), 0);
    assert_int_equal(loops_of(w, "x"), 2);
}

/* While the relay does not take them, they stay in the hub, once each. */
static void test_wishes_wait_for_the_relay(void **state)
{
    World *w = *state;
    Loop *l = &w->loops[0];

    (void)listens(l, "first");
    port_end_turn(l->port, &l->hub);
    assert_int_equal(l->hub.changed.len, 0);
    for (int i = 0; i < 1000; i++) {
        hub_unsubscribe(&l->hub, listens(l, "second"));
        port_end_turn(l->port, &l->hub);
    }
    (void)listens(l, "third");
    port_end_turn(l->port, &l->hub);
    assert_int_equal(l->hub.changed.len, 2);
    turn(&w->loop);
    assert_int_equal(loops_of(w, "first"), 1);
    assert_int_equal(loops_of(w, "third"), 0);
    turn(&l->loop); /* it is woken for what is left */
    port_end_turn(l->port, &l->hub);
    turn(&w->loop);
    assert_int_equal(loops_of(w, "third"), 1);
    assert_int_equal(loops_of(w, "second"), 0);
    assert_int_equal(l->hub.channels.len, 2);
}

static void test_messages_go_where_they_are_wanted(void **state)
{
    World *w = *state;

    (void)listens(&w->loops[0], "x");
    (void)listens(&w->loops[1], "x");
    (void)listens(&w->loops[1], "y");
    settle(w);
    say(w, "x", "1");
    say(w, "y", "2");
    say(w, "nobody's", "3");
    say(w, "x", "4");
    settle(w);
    assert_string_equal(w->loops[0].heard.p, "x=1;x=4;");
    assert_string_equal(w->loops[1].heard.p, "x=1;y=2;x=4;");
    assert_string_equal(w->loops[2].heard.p, "");
}

/* One that does not run gets nothing more, is told so once, and gets again what comes then. */
static void test_a_loop_that_is_behind(void **state)
{
    World *w = *state;
    Metrics none = {0};
    char *large = xcalloc(1, 100001);

    memset(large, 'x', 100000);
    for (size_t i = 0; i < 2; i++)
        (void)listens(&w->loops[i], "x");
    settle(w);
    for (int i = 0; i < 100; i++) { /* 10 MB; loop 1 does not run */
        say(w, "x", large);
        relay_end_turn(w->relay, &none);
        turn(&w->loops[0].loop);
    }
    turn(&w->loops[0].loop);
    assert_int_equal(w->loops[0].messages, 100);
    assert_string_equal(w->loops[0].heard.p, "");
    relay_renewed(w->relay);
    settle(w);
    assert_int_equal(w->loops[1].messages, 0);
    assert_string_equal(w->loops[1].heard.p, "!*");
    say(w, "x", "1");
    settle(w);
    assert_string_equal(w->loops[1].heard.p, "!*x=1;");
    for (int i = 0; i < 100; i++) /* in one turn of the relay */
        say(w, "x", large);
    settle(w);
    assert_string_equal(w->loops[1].heard.p, "!*x=1;!");
    assert_int_equal(w->loops[1].messages, 1);
    free(large);
}

/* A turn is bounded; what comes meanwhile is not forgotten. */
static void test_many_messages_take_several_turns(void **state)
{
    World *w = *state;
    Loop *l = &w->loops[0];
    Metrics none = {0};
    char *large = xcalloc(1, 100001);

    memset(large, 'x', 100000);
    (void)listens(l, "x");
    settle(w);
    for (int i = 0; i < 30; i++)
        say(w, "x", large);
    relay_end_turn(w->relay, &none);
    turn(&l->loop);
    assert_in_range(l->messages, 1, 15);
    say(w, "x", "last");
    relay_drain(w->relay);
    relay_end_turn(w->relay, &none);
    for (int i = 0; i < 5; i++)
        turn(&l->loop);
    assert_int_equal(l->messages, 31);
    assert_string_equal(l->heard.p, "x=last;.");
    free(large);
}

static int socket_new(void)
{
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

static void test_connections_go_to_the_fewest(void **state)
{
    World *w = *state;

    for (int i = 0; i < 7; i++)
        relay_connection(w->relay, socket_new());
    settle(w);
    assert_int_equal(w->loops[0].sockets, 3);
    assert_int_equal(w->loops[1].sockets, 2);
    assert_int_equal(w->loops[2].sockets, 2);
    for (int i = 0; i < 2; i++)
        port_connection_ended(w->loops[1].port);
    assert_int_equal(relay_connections(w->relay), 5);
    for (int i = 0; i < 3; i++)
        relay_connection(w->relay, socket_new());
    settle(w);
    assert_int_equal(w->loops[1].sockets, 5);
    assert_int_equal(w->loops[2].sockets, 2);
    w->lost = socket_new();
    relay_connection(w->relay, w->lost);
    for (size_t i = 0; i < LOOPS; i++) {
        assert_false(w->ended);
        port_ended(w->loops[i].port);
        turn(&w->loop);
    }
    assert_true(w->ended);
}

static void test_numbers_are_of_all(void **state)
{
    World *w = *state;
    Metrics m = {.redis_messages = 7, .over_connections = 1}, all;

    relay_end_turn(w->relay, &m);
    for (uint64_t i = 0; i < LOOPS; i++)
        port_publish(w->loops[i].port,
                     &(Metrics){.killed = i, .over_connections = 10, .pg.total = 2});
    port_numbers(w->loops[1].port, &all);
    assert_int_equal(all.redis_messages, 7);
    assert_int_equal(all.killed, 3);
    assert_int_equal(all.over_connections, 31);
    assert_int_equal(all.pg.total, 6);
}

/* Two loops' hubs, one census. */
static void test_census(void **state)
{
    Census c;
    Account *a[2];
    Hub hubs[2];
    uint64_t n;

    (void)state;
    for (int several = 0; several < 2; several++) {
        census_init(&c, several);
        for (int i = 0; i < 2; i++) {
            hub_init(&hubs[i], 1);
            a[i] = hub_account_ref(&hubs[i], 42);
        }
        assert_int_equal(census_enter_account(&c, a[0]), 1);
        assert_int_equal(census_enter_account(&c, a[1]), several ? 2 : 1);
        census_leave_account(&c, a[0]);
        hub_account_unref(&hubs[0], a[0]);
        a[0] = hub_account_ref(&hubs[1], 42);
        assert_int_equal(census_enter_account(&c, a[0]), 2);
        for (int i = 0; i < 2; i++) {
            census_leave_account(&c, a[i]);
            hub_account_unref(&hubs[1], a[i]);
        }
        census_leave_account(&c, NULL);
        Address *x = census_enter_address(&c, "192.0.2.1", &n);
        assert_int_equal(n, 1);
        assert_ptr_equal(census_enter_address(&c, "192.0.2.1", &n), x);
        assert_int_equal(n, 2);
        census_leave_address(&c, x);
        census_leave_address(&c, x);
        assert_int_equal(c.hub.accounts.len + c.hub.addresses.len, 0);
        for (int i = 0; i < 2; i++)
            hub_clear(&hubs[i]);
        census_clear(&c);
    }
}

#define WITH_WORLD(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_WORLD(test_a_channel_is_wanted_once),
        WITH_WORLD(test_wishes_cancel_out),
        WITH_WORLD(test_wishes_wait_for_the_relay),
        WITH_WORLD(test_messages_go_where_they_are_wanted),
        WITH_WORLD(test_a_loop_that_is_behind),
        WITH_WORLD(test_many_messages_take_several_turns),
        WITH_WORLD(test_connections_go_to_the_fewest),
        WITH_WORLD(test_numbers_are_of_all),
        cmocka_unit_test(test_census),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
