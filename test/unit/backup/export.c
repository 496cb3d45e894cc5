#include "backup/export.h"
#include "backup/restore.h"
#include "io/child.h"
#include "io/crypt.h"
#include "io/file.h"

#include <setjmp.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#define BIG ((size_t)21 << 20)

static char root[] = "/tmp/atoll-export-XXXXXX";

static char *in(const char *name)
{
    return path_join(root, name);
}

static void put(const char *name, const void *bytes, size_t n)
{
    _cleanup_free_ char *path = in(name), *folder = path_folder(path);

    assert_int_equal(file_mkdirs(folder, 0700, NULL), 0);
    assert_int_equal(file_write(path, (Str){bytes, n}, 0600, NULL), 0);
}

static char *text_of(const char *name)
{
    _cleanup_free_ char *path = in(name);
    Buf b = BUF_INIT(BUF_MAX_BODY);

    if (file_read(path, &b, NULL) < 0)
        return NULL;
    return buf_detach(&b);
}

/* As the README says, with nothing but a shell and Debian's programs. */
static int shell(const char *command)
{
    const char *const argv[] = {"/bin/sh", "-c", command, NULL};
    const char *const env[] = {"LC_ALL=C", "PATH=/usr/bin:/bin", NULL};
    int status = -1;

    if (child_run(&(ChildSpec){.argv = argv, .env = env, .cwd = root}, STR_LIT(""), MINUTE, NULL,
                  &status, NULL) < 0)
        return -1;
    return status;
}

/* What a restore leaves: a tablespace's link to where it lies, and its own marker. */
static void make_cluster(bool configured)
{
    _cleanup_free_ char *bytes = xcalloc(BIG, 1), *link = in("cluster/pg_tblspc/16400"),
                        *space = in("cluster/tablespaces/16400"), *gone = in("cluster");

    assert_int_equal(file_remove_tree(gone, NULL), 0);
    crypt_random(bytes, BIG);
    put("cluster/base/5/16384", bytes, BIG);
    put("cluster/PG_VERSION", "15\n", 3);
    put("cluster/tablespaces/16400/PG_15/5/1", "there", 5);
    put("cluster/" RESTORE_MARKER, "x", 1);
    put("cluster/postmaster.opts", "x", 1);
    put("cluster/pg_twophase/0000", "x", 1);
    if (configured)
        put("cluster/postgresql.conf", "port = 1\n", 9);
    put("cluster/pg_tblspc/x", "", 0);
    assert_int_equal(symlink(space, link), 0);
}

static int run(const char *to, ExportResult *ret, Err *err)
{
    _cleanup_free_ char *path = in(to), *unfinished = xasprintf("%s.unfinished", path),
                        *cluster = in("cluster");
    _cleanup_(export_work_clear) ExportWork work = {0};
    _cleanup_(export_place_clear) ExportPlace place = {0};
    _cleanup_json_ json_t *drill = json_make_new("{s:s, s:s, s:s}", "id", "b1", "reached", "0/1",
                                                 "reached_time", "2026-11-29T01:00:00Z");
    int r = export_work_open(unfinished, &work, err);

    if (r == 0)
        r = export_to_folder(path, &work, &place, err);
    if (r < 0)
        return r;
    const ExportOptions o = {.folder = cluster,
                             .place = &place,
                             .drill = drill,
                             .version = 150010,
                             .piece_bytes = 5 << 20,
                             .threads = 2};
    return export_run(&o, ret, err);
}

static void round_trip(void **state)
{
    (void)state;
    _cleanup_(export_result_clear) ExportResult result = {0};
    _cleanup_(err_clear) Err err = {0};

    make_cluster(false);
    if (run("out", &result, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(result.pieces, 4); /* of three frames of 2 MiB each, and the last */
    assert_true(result.plain_bytes > (int64_t)BIG && result.bytes > (int64_t)BIG);
    /* The README's command, to the letter. */
    _cleanup_free_ char *readme = text_of("out/README.txt"),
                        *manifest = text_of("out/manifest.json");
    _cleanup_free_ char *command = TAKE(result.command);
    BUG_IF(!readme || !manifest || !command);
    assert_non_null(strstr(readme, command));
    assert_non_null(strstr(readme, "NOT ENCRYPTED"));
    assert_non_null(strstr(readme, "PostgreSQL 15"));
    assert_int_equal(shell(command), 0);
    assert_int_equal(shell("cmp cluster/base/5/16384 restored/base/5/16384"), 0);
    assert_int_equal(shell("cd out && sha256sum --quiet -c SHA256SUMS"), 0);
    assert_int_equal(
        shell("test ! -e restored/" RESTORE_MARKER " -a ! -e restored/postmaster.opts"), 0);
    /* Moved elsewhere, the tablespace is found, and not the one that was moved from. */
    assert_int_equal(shell("rm -r cluster/tablespaces && mv restored elsewhere && "
                           "grep -q there elsewhere/pg_tblspc/16400/PG_15/5/1"),
                     0);
    assert_int_equal(shell("grep -q 'max_prepared_transactions = 1' elsewhere/postgresql.conf && "
                           "grep -q peer elsewhere/pg_hba.conf && test -e elsewhere/pg_ident.conf"),
                     0);
    assert_int_equal(
        shell("test $(stat -c %a out elsewhere out/* | sort -u | tr '\\n' ,) = 600,700,"), 0);
    assert_int_equal(shell("test ! -e out.unfinished"), 0);
    _cleanup_json_ json_t *j = json_parse_new(manifest, strlen(manifest), NULL);
    assert_int_equal(json_array_size(json_at(j, "pieces")), 4);
    assert_string_equal(json_str(j, "backup"), "b1");
    assert_false(json_bool(j, "encrypted", true));
    assert_int_equal(json_int(j, "bytes", 0), result.bytes);
}

static void own_configuration(void **state)
{
    (void)state;
    _cleanup_(export_result_clear) ExportResult result = {0};

    make_cluster(true);
    assert_int_equal(run("out 'two'", &result, NULL), 0); /* a name to be quoted */
    assert_int_equal(shell("rm -rf restored"), 0);
    assert_int_equal(shell(result.command), 0);
    _cleanup_free_ char *conf = text_of("restored/postgresql.conf");
    assert_string_equal(conf, "port = 1\n");
}

static void refused(void **state)
{
    (void)state;
    _cleanup_(export_result_clear) ExportResult result = {0};
    _cleanup_(err_clear) Err err = {0};
    _cleanup_(export_work_clear) ExportWork work = {0}, second = {0};
    _cleanup_free_ char *none = in("none/x"), *w = in("w");

    make_cluster(true);
    put("there/x", "", 0);
    assert_int_equal(run("there", &result, &err), -ERR_CONFLICT);
    /* Somebody's folder of that name. */
    put("mine.unfinished/x", "mine", 4);
    assert_int_equal(run("mine", &result, &err), -ERR_CONFLICT);
    _cleanup_free_ char *x = text_of("mine.unfinished/x");
    assert_string_equal(x, "mine");
    assert_int_equal(export_work_open(none, &work, &err), -ERR_NOT_FOUND);
    assert_int_equal(export_work_open(w, &work, &err), 0);
    assert_int_equal(export_work_open(w, &second, &err), -ERR_HELD);
    put("cluster/postmaster.pid", "1", 1);
    assert_int_equal(run("running", &result, &err), -ERR_CONFLICT);
    assert_int_equal(shell("test ! -e running -a ! -e running.unfinished"), 0);
}

/* A run that was killed left a piece, and the cluster. */
static void begun_anew(void **state)
{
    (void)state;
    _cleanup_(export_result_clear) ExportResult result = {0};

    make_cluster(true);
    put("again.unfinished/lock", "", 0);
    put("again.unfinished/export/cluster.tar.zst.00007", "old", 3);
    put("again.unfinished/cluster/x", "old", 3);
    assert_int_equal(run("again", &result, NULL), 0);
    assert_int_equal(shell("test $(ls again | wc -l) = 7 -a ! -e again.unfinished"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(round_trip),
                                       cmocka_unit_test(own_configuration),
                                       cmocka_unit_test(refused), cmocka_unit_test(begun_anew)};

    crypt_init();
    if (!mkdtemp(root))
        return 1;
    int failures = cmocka_run_group_tests(tests, NULL, NULL);
    return file_remove_tree(root, NULL) < 0 ? 1 : failures;
}
