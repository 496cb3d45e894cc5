/* What answers mean. */
#include "host/health.h"

#include <setjmp.h>

#include <cmocka.h>

static void what_a_search_server_answers(void **state)
{
    static const struct {
        int status;
        const char *body;
        int kind;
        const char *words;
    } rows[] = {
        {200, "{\"cluster_name\":\"reef\",\"status\":\"green\"}", 0, NULL},
        {200, "{\"status\":\"yellow\",\"timed_out\":false}", 0, NULL},
        {200, "{\"status\":\"red\"}", ERR_TEMPORARY, "the search cluster is red"},
        {200, "{}", ERR_TEMPORARY, "of no status"},
        {200, "{\"status\":7}", ERR_TEMPORARY, "of no status"},
        {200, "<html>", ERR_TEMPORARY, "of no status"},
        {200, "", ERR_TEMPORARY, "of no status"},
        {401, "{}", ERR_DENIED, "does not take its password"},
        {503, "{\"error\":\"master_not_discovered_exception\"}", ERR_TEMPORARY, "answers 503"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_(err_clear) Err err = {0};
        assert_int_equal(health_search(rows[i].status, str_of(rows[i].body), &err), -rows[i].kind);
        assert_true(!rows[i].words || strstr(err.text, rows[i].words));
    }
}

static void what_a_streaming_server_answers(void **state)
{
    static const struct {
        const char *body, *json;
    } rows[] = {
        {"# HELP connected_clients Clients\n# TYPE connected_clients gauge\n"
         "connected_clients{type=\"websocket\"} 12\nconnected_clients{type=\"eventsource\"} 3\n"
         "connected_channels{type=\"websocket\",channel=\"user\"} 9\n",
         "{\"eventsource\":3,\"websocket\":12}"},
        {"connected_clients{type=\"websocket\"} 1", "{\"websocket\":1}"}, /* Node's, at first */
        {"connected_clients{type=\"websocket\"} -1\nconnected_clients{type=\"telnet\"} 1\n", NULL},
        {"<html>", NULL},
        {"", NULL},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_json_ json_t *found = NULL;
        int r = health_clients(str_of(rows[i].body), &found, NULL);
        _cleanup_free_ char *text = found ? json_text_new(found) : NULL;
        assert_int_equal(r, rows[i].json ? 0 : -ERR_NOT_FOUND);
        assert_true(streq(text, rows[i].json));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_a_search_server_answers),
                                       cmocka_unit_test(what_a_streaming_server_answers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
