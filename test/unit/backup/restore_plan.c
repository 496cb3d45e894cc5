#include "backup/restore_plan.h"

#include <setjmp.h>

#include <cmocka.h>

#define PACK(c) "host/pack/run-00000" c "-0123456789abcdef0123456789abcde" c

static json_t *facts_new(void)
{
    return json_make_new("{s:[[s,i,s],[s,i]]}", "packs", PACK("1"), 1000000, "aa", PACK("2"),
                         2000000);
}

static void pages_are_sorted_by_pack_and_frame(void **state)
{
    static const char list[] =
        "{\"path\":\"base\",\"kind\":\"dir\",\"mode\":448}\n"
        "{\"path\":\"base/1\",\"kind\":\"file\",\"mode\":384,\"size\":40960,"
        "\"runs\":[[1,3,0,2],[-1,0,0,1],[0,2,5,1],[1,0,7,1]]}\n"
        "{\"path\":\"PG_VERSION\",\"kind\":\"file\",\"mode\":384,\"size\":3,"
        "\"runs\":[[1,0,6,1]]}\n"
        "{\"path\":\"empty\",\"kind\":\"file\",\"mode\":384,\"size\":0,\"runs\":[]}\n"
        "{\"path\":\"pg_tblspc/16400\",\"kind\":\"link\",\"target\":\"/srv/fast\"}\n"
        "{\"path\":\"PG_15/x\",\"tablespace\":16400,\"kind\":\"dir\",\"mode\":448}\n";
    _cleanup_json_ json_t *facts = facts_new();
    _cleanup_(restore_plan_clear) RestorePlan p = {0};
    (void)state;

    assert_int_equal(restore_plan(facts, str_of(list), &p, NULL), 0);
    assert_int_equal(p.files.len, 6);
    assert_int_equal(p.bytes, 40963);
    assert_int_equal(p.stored, 3000000);
    assert_string_equal(p.files.items[5].path, "pg_tblspc/16400/PG_15/x");
    assert_int_equal(p.packs.items[0].uses.len, 1);
    assert_int_equal(p.packs.items[0].uses.items[0].file_page, 3);
    const PlanPack *second = &p.packs.items[1];
    assert_int_equal(second->uses.len, 3);
    assert_int_equal(second->pages, 4);
    /* Frame 0: page 6 is PG_VERSION, page 7 is base/1's last; then frame 3. */
    assert_int_equal(second->uses.items[0].file, 2);
    assert_int_equal(second->uses.items[1].file_page, 4);
    assert_int_equal(second->uses.items[2].frame, 3);
    assert_int_equal(second->uses.items[2].pages, 2);
    /* Without its head's hash only the whole can be checked. */
    assert_string_equal(second->head, "");
    assert_string_not_equal(p.packs.items[0].head, "");
}

/* The manifest was written by a machine that may have been stolen. */
static void what_a_manifest_must_not_say(void **state)
{
    static const char *const lists[] = {
        "",
        "not JSON\n",
        "{\"path\":\"/etc/passwd\",\"kind\":\"file\",\"size\":0}\n",
        "{\"path\":\"../x\",\"kind\":\"file\",\"size\":0}\n",
        "{\"path\":\"a/../../x\",\"kind\":\"file\",\"size\":0}\n",
        "{\"path\":\"a//x\",\"kind\":\"file\",\"size\":0}\n",
        "{\"path\":\"\",\"kind\":\"file\",\"size\":0}\n",
        "{\"path\":\"x\",\"kind\":\"device\"}\n",
        "{\"path\":\"x\",\"kind\":\"link\",\"target\":\"/etc\"}\n",
        "{\"path\":\"pg_tblspc/../x\",\"kind\":\"link\",\"target\":\"/etc\"}\n",
        "{\"path\":\"x\",\"kind\":\"file\",\"size\":-1}\n",
        "{\"path\":\"x\",\"kind\":\"file\",\"size\":9000,\"runs\":[[0,0,0,1]]}\n",
        "{\"path\":\"x\",\"kind\":\"file\",\"size\":8192,\"runs\":[[0,0,0,2]]}\n",
        "{\"path\":\"x\",\"kind\":\"file\",\"size\":8192,\"runs\":[[2,0,0,1]]}\n",
        "{\"path\":\"x\",\"kind\":\"file\",\"size\":8192,\"runs\":[[-2,0,0,1]]}\n",
        "{\"path\":\"x\",\"kind\":\"file\",\"size\":8192,\"runs\":[[0,-1,0,1]]}\n",
        "{\"path\":\"x\",\"kind\":\"file\",\"size\":8192,\"runs\":[[0,0,128,1]]}\n",
        "{\"path\":\"x\",\"kind\":\"file\",\"size\":8192,\"runs\":[[0,0,9223372036854775807,1]]}\n",
        "{\"path\":\"x\",\"kind\":\"file\",\"size\":8192,\"runs\":[[0,0,0,-1]]}\n",
        "{\"path\":\"x\",\"kind\":\"file\",\"size\":8192,\"runs\":[[0,0,0]]}\n",
        "{\"path\":\"x\",\"kind\":\"file\",\"size\":8192,\"runs\":[[0,\"0\",0,1]]}\n",
    };
    _cleanup_json_ json_t *facts = facts_new();
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        _cleanup_(restore_plan_clear) RestorePlan p = {0};
        _cleanup_(err_clear) Err err = {0};
        assert_int_equal(restore_plan(facts, str_of(lists[i]), &p, &err), -ERR_CORRUPT);
        assert_non_null(err.text);
    }
}

/* Frames, of 100 bytes where nothing else is said, at 50; which are fetched together depends on how
 * far apart they are, and how large it would be. */
static void near_frames_are_one_request(void **state)
{
    static const struct {
        uint32_t frames[4];
        size_t count, gap;
        uint32_t bytes;
        const char *want; /* "offset+bytes:first-last ..." */
    } rows[] = {
        {{0}, 1, 0, 100, "50+100:0-0"},
        {{0, 1, 2}, 3, 0, 100, "50+300:0-2"},
        {{0, 2}, 2, 99, 100, "50+100:0-0 250+100:2-2"},
        {{0, 2}, 2, 100, 100, "50+300:0-2"},
        {{1, 1, 3, 9}, 4, 100, 100, "150+300:1-3 950+100:9-9"},
        {{10}, 1, 0, 100, ""},
        {{0, 1, 2}, 3, 0, PLAN_RANGE_BYTES / 2, "50+4194304:0-1 4194354+2097152:2-2"},
        {{0, 1}, 2, 0, PLAN_RANGE_BYTES + 1, "50+4194305:0-0 4194355+4194305:1-1"},
    };
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        ObjectHead head = {.frames_at = 50};
        PlanPack pack = {.name = PACK("1")};
        PlanRanges ranges = {0};
        char got[200] = "";
        size_t at = 0;
        for (size_t f = 0; f < 10; f++)
            vec_push(&head.frames, (ObjectFrame){rows[i].bytes, FRAME_PAGES * PAGE_BYTES});
        for (size_t u = 0; u < rows[i].count; u++)
            vec_push(&pack.uses, (PlanUse){.frame = rows[i].frames[u], .pages = 1});
        int r = plan_ranges(&head, &pack, rows[i].gap, &ranges, NULL);
        for (size_t k = 0; r == 0 && k < ranges.len; k++)
            at += (size_t)snprintf(got + at, sizeof got - at, "%s%zu+%zu:%u-%u", k ? " " : "",
                                   ranges.items[k].offset, ranges.items[k].bytes,
                                   ranges.items[k].first, ranges.items[k].last);
        assert_string_equal(got, rows[i].want);
        assert_int_equal(r, *rows[i].want ? 0 : -ERR_CORRUPT);
        vec_clear(&ranges);
        vec_clear(&pack.uses);
        vec_clear(&head.frames);
    }
}

static void tablespaces_go_where_they_are_told(void **state)
{
    static const struct {
        const char *asked, *want; /* NULL: refused */
    } rows[] = {
        {NULL, "/to/tablespaces/16400"},
        {"16400=/new", "/new"},
        {"/srv/fast=/new=er", "/new=er"},
        {"16401=/new", NULL},
        {"/srv/fas=/new", NULL},
        {"16400=new", NULL},
        {"16400", NULL},
        {"=/new", NULL},
    };
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_(strlist_clear) StrList asked = {0};
        _cleanup_(restore_plan_clear) RestorePlan p = {0};
        vec_push(&p.files, (PlanFile){.kind = PLAN_LINK,
                                      .path = xstrdup("pg_tblspc/16400"),
                                      .target = xstrdup("/srv/fast")});
        if (rows[i].asked)
            strlist_add(&asked, rows[i].asked);
        int r = plan_tablespaces_check(&p, &asked, NULL);
        assert_int_equal(r, rows[i].want ? 0 : -ERR_USAGE);
        _cleanup_free_ char *got = plan_tablespace_new(&p.files.items[0], "/to", &asked);
        assert_string_equal(got, rows[i].want ? rows[i].want : "/to/tablespaces/16400");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pages_are_sorted_by_pack_and_frame),
        cmocka_unit_test(what_a_manifest_must_not_say),
        cmocka_unit_test(near_frames_are_one_request),
        cmocka_unit_test(tablespaces_go_where_they_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
