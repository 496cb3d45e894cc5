#include "plan/ask.h"
#include "paper.h"

static Goal ask_goal(const GoalAsk *ask, const World *w, int *ret, Err *err)
{
    Goal g = paper_goal(paper_two_tiers);

    *ret = goal_ask(ask, w, &g, err);
    return g;
}

static void add_text(StrList *l, const char *text)
{
    if (text)
        strlist_add(l, text);
}

static void what_is_asked(void **state)
{
    static const struct {
        const char *only, *replace, *release; /* NULL: not asked */
        bool agreed;
        const char *text, *hint; /* NULL: it is fine; parts of the words */
    } rows[] = {
        {"web", NULL, NULL, false, NULL, NULL},
        {"web.0", NULL, NULL, false, NULL, NULL},
        {"volume.db.0", NULL, NULL, false, NULL, NULL},
        {"volume.old.0", NULL, NULL, false, NULL, NULL}, /* there, not wanted */
        {"group.web", NULL, NULL, false, NULL, NULL},
        {"wbe", NULL, NULL, false, "did you mean \"web\"?", "there are: web, web.0, db, db.0"},
        {"volume.web.0", NULL, NULL, false, "neither the file nor the cloud has that", NULL},
        {"gone", NULL, NULL, true, NULL, NULL},
        {NULL, "web.0", NULL, false, NULL, NULL},
        {NULL, "web.1", NULL, false, "did you mean \"web.0\"?", "there is: web.0, db.0"},
        {NULL, "web", NULL, false, "--replace web: that server is not there", NULL},
        {NULL, NULL, "reef-volume-old-0", false, NULL, NULL},
        {NULL, NULL, "reef-volume-db-0", false, "the island file still wants it", NULL},
        {NULL, NULL, "old.0", false, "nothing that is kept has that name",
         "kept, though the file does not name it: reef-volume-old-0"},
        {NULL, NULL, "reef-web-0", false, "nothing that is kept", NULL}, /* not protected */
        {NULL, NULL, "reef-volume-gone-0", true, NULL, NULL},
    };
    Goal built = paper_goal(paper_two_tiers);
    World w = paper_built(&built);

    (void)state;
    (void)world_add(&w, (Resource){.kind = RESOURCE_VOLUME,
                                   .key = xstrdup("old.0"),
                                   .generation = 1,
                                   .name = xstrdup("reef-volume-old-0"),
                                   .id = xstrdup("id-old"),
                                   .status = xstrdup("available"),
                                   .attrs = json_make_new("{s:i}", "size_gb", 5)});
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_(goal_ask_clear) GoalAsk ask = {.agreed = rows[i].agreed};
        _cleanup_(err_clear) Err err = {0};
        int r;

        add_text(&ask.only, rows[i].only);
        add_text(&ask.replace, rows[i].replace);
        add_text(&ask.release, rows[i].release);
        Goal g = ask_goal(&ask, &w, &r, &err);
        if (!rows[i].text && r < 0)
            fail_msg("row %zu: %s", i, err.text);
        if (rows[i].text) {
            assert_int_equal(r, -ERR_USAGE);
            if (!strstr(err.text, rows[i].text))
                fail_msg("row %zu: %s", i, err.text);
        }
        if (rows[i].hint && !streq(err.hint, rows[i].hint) && !strstr(err.hint, rows[i].hint))
            fail_msg("row %zu: %s", i, err.hint);
        if (!rows[i].text && rows[i].replace) {
            assert_int_equal(g.replace.len, 1);
            assert_string_equal(g.replace.items[0], "id-server-web.0");
        }
        goal_clear(&g);
    }
    goal_clear(&built);
    world_clear(&w);
}

static void what_is_kept(void **state)
{
    static const struct {
        ResourceKind kind;
        const char *key, *name, *released;
        bool data, kept;
    } rows[] = {
        {RESOURCE_VOLUME, "old.0", "reef-volume-old-0", NULL, false, true},
        {RESOURCE_VOLUME, "old.0", "reef-volume-old-0", "reef-volume-old-0", false, false},
        {RESOURCE_VOLUME, "old.0", "reef-volume-old-0", NULL, true, false},
        {RESOURCE_VOLUME, "db.0", "reef-volume-db-0", NULL, false, false},
        {RESOURCE_SERVER, "old.0", "reef-old-0", NULL, false, false},
        {RESOURCE_FLOATING_IP, "main", "reef-main", NULL, false, false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        Goal g = paper_goal(paper_two_tiers);
        char *key = xstrdup(rows[i].key), *name = xstrdup(rows[i].name);

        g.data = rows[i].data;
        add_text(&g.release, rows[i].released);
        assert_int_equal(
            goal_keeps(&g, &(Resource){.kind = rows[i].kind, .key = key, .name = name}),
            rows[i].kept);
        free(key);
        free(name);
        goal_clear(&g);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_asked),
        cmocka_unit_test(what_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
