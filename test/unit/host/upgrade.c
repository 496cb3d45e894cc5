#include "host/upgrade.h"
#include "io/file.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#define SHA_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
/* of "it runs\n" */
#define IT_RUNS "5232c2c20ffcd33926587a75d818396c44144195f6b4f29204717a9d6e3cda6a"

typedef struct Place {
    char root[64];
    Upgrade *u;
    json_t *spec, *urls;
} Place;

static void note(const Place *p, const char *name, const char *text)
{
    _cleanup_free_ char *path = xasprintf("%s/var/lib/atoll/%s", p->root, name);

    assert_int_equal(file_write(path, str_of(text), 0600, NULL), 0);
}

static int setup(void **state)
{
    Place *p = NEW(Place);

    snprintf(p->root, sizeof p->root, "/tmp/atoll-upgrade.XXXXXX");
    if (!mkdtemp(p->root))
        return -1;
    _cleanup_free_ char *folder = xasprintf("%s/var/lib/atoll", p->root);
    if (file_mkdirs(folder, 0700, NULL) < 0)
        return -1;
    note(p, "package.sha256", "0000\n");
    p->u = upgrade_open(p->root);
    p->spec = json_make_new("{s:s}", "atoll", SHA_A);
    /* Nothing listens there. */
    p->urls = json_make_new("{s:s}", "package", "http://127.0.0.1:1/package.deb");
    *state = p;
    return 0;
}

static int teardown(void **state)
{
    Place *p = *state;

    (void)upgrade_close(p->u);
    json_decref(p->spec);
    json_decref(p->urls);
    int r = file_remove_tree(p->root, NULL);
    free(p);
    return r;
}

static void what_is_installed_is_well(void **state)
{
    Place *p = *state;
    _cleanup_(err_clear) Err err = {0};

    note(p, "package.sha256", SHA_A "\n");
    assert_int_equal(upgrade_ready(p->u, p->spec, p->urls, 1000, &err), 0);
    _cleanup_json_ json_t *nothing = json_object();
    assert_int_equal(upgrade_ready(p->u, nothing, p->urls, 1000, &err), 0);
}

/* The new version is noted before the agent of it runs: the one before must not say for it that it
 * works, or the next server would be given it too. */
static void the_agent_before_does_not_speak_for_the_new_one(void **state)
{
    Place *p = *state;
    _cleanup_(err_clear) Err err = {0};

    assert_int_equal(upgrade_ready(p->u, p->spec, p->urls, 1000, &err), -ERR_TEMPORARY);
    note(p, "package.sha256", SHA_A "\n");
    assert_int_not_equal(upgrade_ready(p->u, p->spec, p->urls, 1001, &err), 0);
}

/* A power cut came after the note of the new version, and before its package had its name: what is
 * gone back to later is what runs, not the one before it. */
static void the_package_that_runs_is_kept(void **state)
{
    Place *p = *state;
    _cleanup_(err_clear) Err err = {0};
    _cleanup_(buf_clear) Buf kept = BUF_INIT(BUF_MAX_LINE);
    _cleanup_free_ char *path = xasprintf("%s/var/lib/atoll/package.deb", p->root);
    Msec deadline = time_mono() + 20 * SECOND;

    note(p, "package.deb", "the one before");
    note(p, "package.new.deb", "it runs\n");
    note(p, "package.sha256", IT_RUNS "\n");
    while (upgrade_ready(p->u, p->spec, p->urls, 1000, &err) == -ERR_TEMPORARY) {
        assert_true(time_mono() < deadline);
        (void)poll(NULL, 0, 5);
    }
    assert_int_equal(file_read(path, &kept, NULL), 0);
    assert_string_equal(kept.p, "it runs\n");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_installed_is_well, setup, teardown),
        cmocka_unit_test_setup_teardown(the_agent_before_does_not_speak_for_the_new_one, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(the_package_that_runs_is_kept, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
