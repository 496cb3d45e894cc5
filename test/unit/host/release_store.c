/* The store of releases with its real programs: cp, curl, tar, sha256sum. The canary here is a few
 * files, and trees come from file: addresses. */
#include "host/release_store.h"
#include "io/child.h"
#include "io/crypt.h"
#include "io/file.h"

#include <setjmp.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#define LONGEST (30 * SECOND)

typedef struct Place {
    char root[64], canary[96];
    ReleaseStore *store;
    Msec now; /* what the store is told */
} Place;

static void shell(const Place *p, const char *script)
{
    _cleanup_free_ char *root = xasprintf("R=%s", p->root);
    _cleanup_(buf_clear) Buf out = BUF_INIT(BUF_MAX_BODY);
    int status = -1;
    int r = child_run(&(ChildSpec){.argv = (const char *const[]){"sh", "-euc", script, NULL},
                                   .env = (const char *const[]){"PATH=/usr/bin:/bin", root, NULL}},
                      (Str){0}, MINUTE, &out, &status, NULL);
    if (r < 0 || status != 0)
        fail_msg("%s: %s", script, out.p);
}

static int setup(void **state)
{
    Place *p = NEW(Place);
    crypt_init();
    snprintf(p->root, sizeof p->root, "/tmp/atoll-store.XXXXXX");
    if (!mkdtemp(p->root))
        return -1;
    snprintf(p->canary, sizeof p->canary, "%s/canary", p->root);
    shell(p, "mkdir -p $R/canary/releases; cd $R/canary; echo 1 >VERSION; echo one >code\n"
             "for v in 2 3 4 5; do mkdir releases/$v; echo $v >releases/$v/VERSION; done\n"
             "echo two >releases/2/code; echo 2 >releases/3/ON; echo 9 >releases/5/ON\n");
    p->store = release_store_open(p->root, p->canary);
    p->now = 1000;
    *state = p;
    return 0;
}

static int teardown(void **state)
{
    Place *p = *state;
    (void)release_store_close(p->store);
    int r = file_remove_tree(p->root, NULL);
    free(p);
    return r;
}

static void reopen(Place *p)
{
    (void)release_store_close(p->store);
    p->store = release_store_open(p->root, p->canary);
}

static json_t *release_new(const char *kind, const char *version)
{
    return json_make_new("{s:s, s:s, s:s}", "kind", kind, "version", version, "ref", "");
}

/* {"release", "fetch": [..]} of canaries; NULL: none. */
static json_t *spec_new(const char *runs, const char *fetch)
{
    json_t *spec = json_object();
    if (runs)
        json_object_set_new(spec, "release", release_new("canary", runs));
    if (fetch)
        json_object_set_new(spec, "fetch", json_make_new("[o]", release_new("canary", fetch)));
    return spec;
}

/* Asks until the child has ended, at the same time of the store's. */
static int ask(Place *p, const json_t *spec, const json_t *urls, Err *err)
{
    Msec end = time_mono() + LONGEST;

    for (;;) {
        err_clear(err);
        int r = release_store_ready(p->store, spec, urls, p->now, err);
        if (r != -ERR_TEMPORARY)
            return r;
        if (time_mono() > end)
            fail_msg("%s", err->text);
        time_sleep(5);
    }
}

/* What may be an accident is tried thrice, ten seconds apart, before it is called failed. */
static int ask_thrice(Place *p, const json_t *spec, const json_t *urls, Err *err)
{
    Msec from = p->now, end = time_mono() + LONGEST;
    bool again = false;
    int r;

    while ((r = release_store_ready(p->store, spec, urls, p->now, err)) == -ERR_TEMPORARY) {
        again |= starts_with(err->text, "fetching the release again: ");
        assert_true(time_mono() < end);
        err_clear(err);
        p->now += 100;
        time_sleep(5);
    }
    assert_true(again && p->now - from >= 20 * SECOND);
    return r;
}

static void is_ready(Place *p, const char *runs, const char *fetch)
{
    _cleanup_json_ json_t *spec = spec_new(runs, fetch);
    _cleanup_(err_clear) Err err = {0};
    if (ask(p, spec, NULL, &err) < 0)
        fail_msg("%s", err.text);
}

/* What is in the folder of releases, in one line. */
static void holds(const Place *p, const char *names)
{
    _cleanup_free_ char *folder = xasprintf("%s/opt/atoll/releases", p->root);
    _cleanup_(strlist_clear) StrList list = {0};
    _cleanup_(buf_clear) Buf text = BUF_INIT(BUF_MAX_LINE);
    if (file_exists(folder))
        assert_int_equal(file_list(folder, &list, NULL), 0);
    for (size_t i = 0; i < list.len; i++)
        if (list.items[i][0] != '.')
            buf_printf(&text, "%s%s", text.len ? " " : "", list.items[i]);
    assert_string_equal(text.p, names);
}

static void has_text(const Place *p, const char *name, const char *wanted)
{
    _cleanup_free_ char *path = xasprintf("%s/opt/atoll/releases/%s", p->root, name);
    _cleanup_(buf_clear) Buf text = BUF_INIT(BUF_MAX_BODY);
    if (file_read(path, &text, NULL) < 0)
        fail_msg("there is no %s", path);
    assert_string_equal(text.p, wanted);
}

static bool has(const Place *p, const char *name)
{
    _cleanup_free_ char *path = xasprintf("%s/opt/atoll/releases/%s", p->root, name);
    return file_exists(path);
}

/* podman is not asked: what it has is written down, under the image's whole name. */
static void an_image_that_is_noted_is_there(void **state)
{
    Place *p = *state;
    _cleanup_json_ json_t *release = release_new("image", "v1"), *spec = NULL;
    _cleanup_(err_clear) Err err = {0};
    json_object_set_new(release, "ref", json_string("ghcr.io/mastodon/mastodon@sha256:00"));
    spec = json_make_new("{s:O}", "release", release);

    shell(p, "mkdir -p $R/opt/atoll/releases; cd $R/opt/atoll/releases\n"
             "echo ghcr.io/mastodon/mastodon@sha256:00 >image-v1\n");
    assert_int_equal(release_store_ready(p->store, spec, NULL, p->now, &err), 0);
    holds(p, "image-v1");
    /* And stays, since it has run, when something else is fetched. */
    is_ready(p, "1", NULL);
    holds(p, "canary-1 image-v1");
}

/* The search server's image is kept by what the spec names, not by what ran. */
static void a_search_servers_image_stays_while_it_is_named(void **state)
{
    Place *p = *state;
    _cleanup_json_ json_t *spec = spec_new("1", NULL);
    _cleanup_(err_clear) Err err = {0};

    json_object_set_new(spec, "search", release_new("search", "8.2"));
    shell(p, "mkdir -p $R/opt/atoll/releases; cd $R/opt/atoll/releases\n"
             "for v in 8.1 8.2; do echo localhost/atoll-test:$v >search-$v; done\n");
    assert_int_equal(ask(p, spec, NULL, &err), 0);
    holds(p, "canary-1 search-8.2");
}

static void a_canary_is_laid_over_what_it_stands_on(void **state)
{
    Place *p = *state;
    _cleanup_json_ json_t *spec = spec_new("1", NULL);
    _cleanup_(err_clear) Err err = {0};

    /* Nothing waits: the first answer is that it is under way. */
    assert_int_equal(release_store_ready(p->store, spec, NULL, p->now, &err), -ERR_TEMPORARY);
    assert_string_equal(err.text, "fetching the release canary 1");
    is_ready(p, "1", "3");
    holds(p, "canary-1 canary-3");
    has_text(p, "canary-1/code", "one\n");
    has_text(p, "canary-3/code", "two\n");
    has_text(p, "canary-3/VERSION", "3\n");
    assert_false(has(p, "canary-3/ON"));
    assert_false(has(p, "canary-1/releases"));
}

static void what_fails_is_said_and_tried_again_later(void **state)
{
    Place *p = *state;
    static const struct {
        const char *version, *words;
        ErrKind kind;
    } rows[] = {
        {"77", "cannot fetch the release canary 77: the canary has no version 77", ERR_IO},
        {"5",
         "cannot fetch the release canary 5: the canary's version 5 stands on '9', which is not "
         "there",
         ERR_IO},
        {"../../x", "'../../x' is no version of a release", ERR_CONFIG},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_json_ json_t *spec = spec_new(rows[i].version, NULL);
        _cleanup_(err_clear) Err err = {0};
        assert_int_equal(ask(p, spec, NULL, &err), -(int)rows[i].kind);
        assert_string_equal(err.text, rows[i].words);
        holds(p, "");
        p->now += MINUTE;
    }
    _cleanup_json_ json_t *spec = spec_new("77", NULL);
    _cleanup_(err_clear) Err err = {0};
    assert_int_equal(ask(p, spec, NULL, &err), -ERR_IO);
    shell(p, "mkdir $R/canary/releases/77");
    p->now += 9 * SECOND;
    assert_int_equal(ask(p, spec, NULL, &err), -ERR_IO);
    holds(p, "");
    p->now += 2 * SECOND;
    assert_int_equal(release_store_ready(p->store, spec, NULL, p->now, NULL), -ERR_IO);
    Msec end = time_mono() + LONGEST;
    while (release_store_ready(p->store, spec, NULL, p->now, NULL) < 0 && time_mono() < end)
        time_sleep(5);
    holds(p, "canary-77");
    assert_int_equal(ask(p, spec, NULL, &err), 0);
}

static void what_is_old_goes_but_for_what_ran_before(void **state)
{
    Place *p = *state;

    is_ready(p, "1", NULL);
    is_ready(p, "1", "2");
    is_ready(p, "2", "1");
    is_ready(p, "2", NULL);
    holds(p, "canary-1 canary-2"); /* nothing is fetched, nothing goes */
    is_ready(p, "2", "3");
    holds(p, "canary-1 canary-2 canary-3"); /* 1 ran before 2 */
    is_ready(p, "3", "2");
    shell(p, "cd $R/opt/atoll/releases; mkdir canary-6.new; echo x >tree-7.tar.gz");
    reopen(p); /* and it is known what ran */
    is_ready(p, "3", "4");
    holds(p, "canary-2 canary-3 canary-4");
    /* 4 was fetched and never ran. */
    is_ready(p, "3", NULL);
    is_ready(p, "3", "1");
    holds(p, "canary-1 canary-2 canary-3");
    /* A server that is told nothing of releases any more loses none. */
    is_ready(p, NULL, NULL);
    holds(p, "canary-1 canary-2 canary-3");
}

/* --- trees --- */

static const char make_trees[] =
    "cd $R; mkdir -p tree/bin; echo hello >tree/bin/rails; chmod 0700 tree/bin/rails\n"
    "tar -czf good.tar.gz -C tree .; tar -czf outside.tar.gz tree\n"
    "head -c 100 good.tar.gz >cut.tar.gz; echo no archive >text.tar.gz\n"
    "mkfifo slow.tar.gz\n";

static json_t *tree_urls_new(const Place *p, const char *version, const char *file, bool right)
{
    _cleanup_free_ char *path = path_join(p->root, file), *url = xasprintf("file://%s", path);
    _cleanup_(buf_clear) Buf sha = BUF_INIT(BUF_MAX_LINE);
    struct stat st;
    if (right && stat(path, &st) == 0 && S_ISREG(st.st_mode))
        assert_int_equal(crypt_hash_file(CRYPT_SHA256, path, &sha, NULL), 0);
    else
        buf_printf(&sha, "%064d", 0);
    return json_make_new("{s:{s:{s:s, s:s}}}", "trees", version, "url", url, "sha256", sha.p);
}

static void a_tree_is_unpacked_when_it_is_the_right_one(void **state)
{
    Place *p = *state;
    static const struct {
        const char *file, *words; /* NULL: none in the bundle; all is well */
        bool right;
    } rows[] = {
        {NULL, "the bundle has no address for it", true},
        {"gone.tar.gz", "curl: (37) Couldn't open file", true},
        {"good.tar.gz", "its archive is not the one that was deployed: the SHA-256 differs", false},
        {"cut.tar.gz", "its archive can't be unpacked: ", true},
        {"text.tar.gz", "its archive can't be unpacked: ", true},
        {"outside.tar.gz", "its archive has no bin/rails: it has to be packed inside the tree",
         true},
        {"good.tar.gz", NULL, true},
    };
    shell(p, make_trees);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_json_ json_t *spec =
            json_make_new("{s:o}", "release", release_new("tree", "v4.7.6"));
        _cleanup_json_ json_t *urls =
            rows[i].file ? tree_urls_new(p, "v4.7.6", rows[i].file, rows[i].right) : NULL;
        _cleanup_free_ char *words = xasprintf("cannot fetch the release tree v4.7.6: %s",
                                               rows[i].words ? rows[i].words : "");
        _cleanup_(err_clear) Err err = {0};
        int r;

        reopen(p); /* it would wait else before it tries again */
        r = streq(rows[i].file, "gone.tar.gz") ? ask_thrice(p, spec, urls, &err)
                                               : ask(p, spec, urls, &err);
        assert_int_equal(r, rows[i].words ? -ERR_IO : 0);
        if (rows[i].words && !starts_with(err.text, words))
            fail_msg("%s, not %s", err.text, words);
        holds(p, rows[i].words ? "" : "tree-v4.7.6");
    }
    /* Whoever runs it can read it. */
    struct stat st;
    _cleanup_free_ char *rails = xasprintf("%s/opt/atoll/releases/tree-v4.7.6/bin/rails", p->root);
    assert_int_equal(stat(rails, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0755);
}

static void a_kill_in_the_middle_leaves_no_half_folder(void **state)
{
    Place *p = *state;
    _cleanup_json_ json_t *spec = json_make_new("{s:o}", "release", release_new("tree", "v1"));
    _cleanup_json_ json_t *urls = NULL;
    _cleanup_(err_clear) Err err = {0};
    Msec end = time_mono() + LONGEST;

    shell(p, make_trees);
    urls = tree_urls_new(p, "v1", "slow.tar.gz", true); /* which nobody ever writes */
    while (!has(p, "tree-v1.new") && time_mono() < end) {
        assert_int_equal(release_store_ready(p->store, spec, urls, p->now, NULL), -ERR_TEMPORARY);
        time_sleep(5);
    }
    p->store = release_store_close(p->store);
    shell(p, "echo half >$R/opt/atoll/releases/tree-v1.new/half");
    holds(p, "tree-v1.new");
    p->store = release_store_open(p->root, p->canary);
    json_decref(urls);
    urls = tree_urls_new(p, "v1", "good.tar.gz", true);
    assert_int_equal(ask(p, spec, urls, &err), 0);
    holds(p, "tree-v1");
    has_text(p, "tree-v1/bin/rails", "hello\n");
    assert_false(has(p, "tree-v1/half"));
}

static void what_takes_too_long_is_ended(void **state)
{
    Place *p = *state;
    _cleanup_json_ json_t *spec = json_make_new("{s:o}", "release", release_new("tree", "v1"));
    _cleanup_json_ json_t *urls = NULL;
    _cleanup_(err_clear) Err err = {0};

    shell(p, make_trees);
    urls = tree_urls_new(p, "v1", "slow.tar.gz", true);
    assert_int_equal(release_store_ready(p->store, spec, urls, p->now, NULL), -ERR_TEMPORARY);
    p->now += 31 * MINUTE;
    assert_int_equal(ask(p, spec, urls, &err), -ERR_IO);
    assert_string_equal(err.text, "cannot fetch the release tree v1: killed by signal 9 (Killed)");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_image_that_is_noted_is_there, setup, teardown),
        cmocka_unit_test_setup_teardown(a_search_servers_image_stays_while_it_is_named, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_canary_is_laid_over_what_it_stands_on, setup, teardown),
        cmocka_unit_test_setup_teardown(what_fails_is_said_and_tried_again_later, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_old_goes_but_for_what_ran_before, setup, teardown),
        cmocka_unit_test_setup_teardown(a_tree_is_unpacked_when_it_is_the_right_one, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_kill_in_the_middle_leaves_no_half_folder, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(what_takes_too_long_is_ended, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
