#include "io/file.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

typedef struct Place {
    char folder[64];
    char path[128];
} Place;

static int setup(void **state)
{
    Place *p = NEW(Place);
    snprintf(p->folder, sizeof p->folder, "/tmp/atoll-file.XXXXXX");
    if (!mkdtemp(p->folder))
        return -1;
    snprintf(p->path, sizeof p->path, "%s/f", p->folder);
    *state = p;
    return 0;
}

static int teardown(void **state)
{
    Place *p = *state;
    int r = file_remove_tree(p->folder, NULL);
    free(p);
    return r;
}

static void assert_content(const char *path, const char *content)
{
    _cleanup_(buf_clear) Buf b = BUF_INIT(BUF_MAX_LINE);
    _cleanup_(err_clear) Err err = {0};
    assert_int_equal(file_read(path, &b, &err), 0);
    assert_string_equal(b.p, content);
}

static size_t count_files(const char *folder)
{
    _cleanup_(strlist_clear) StrList names = {0};
    assert_int_equal(file_list(folder, &names, NULL), 0);
    return names.len;
}

static void test_read(void **state)
{
    Place *p = *state;
    _cleanup_(err_clear) Err err = {0};
    _cleanup_(buf_clear) Buf b = BUF_INIT(4);

    assert_int_equal(file_read(p->path, &b, &err), -ERR_NOT_FOUND);
    assert_non_null(strstr(err.text, p->path));
    assert_int_equal(file_write(p->path, STR_LIT("1234"), 0600, &err), 0);
    assert_int_equal(file_read(p->path, &b, &err), 0);
    assert_string_equal(b.p, "1234");
    assert_int_equal(file_write(p->path, STR_LIT("12345"), 0600, &err), 0);
    _cleanup_(buf_clear) Buf small = BUF_INIT(4);
    assert_int_equal(file_read(p->path, &small, &err), -ERR_CORRUPT);
    assert_int_equal(file_read(p->folder, &small, &err), -ERR_IO);
    /* A file whose size the kernel does not know beforehand. */
    _cleanup_(buf_clear) Buf proc = BUF_INIT(BUF_MAX_LINE);
    assert_int_equal(file_read("/proc/self/status", &proc, &err), 0);
    assert_true(proc.len > 100);
}

static void test_write(void **state)
{
    Place *p = *state;
    _cleanup_(err_clear) Err err = {0};
    struct stat st;
    mode_t mask = umask(077);

    assert_int_equal(file_write(p->path, STR_LIT("one"), 0644, &err), 0);
    umask(mask);
    assert_int_equal(stat(p->path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0644);
    assert_int_equal(file_write(p->path, STR_LIT("two"), 0600, &err), 0);
    assert_int_equal(stat(p->path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_content(p->path, "two");
    assert_int_equal(count_files(p->folder), 1);

    assert_int_equal(file_write("/nonexistent/f", STR_LIT("x"), 0600, &err), -ERR_NOT_FOUND);
    /* A folder of that name can't be replaced; nothing may be left behind. */
    _cleanup_free_ char *folder = path_join(p->folder, "d/e");
    assert_int_equal(file_mkdirs(folder, 0700, &err), 0);
    _cleanup_free_ char *d = path_join(p->folder, "d");
    assert_int_equal(file_write(d, STR_LIT("x"), 0600, &err), -ERR_IO);
    assert_int_equal(count_files(p->folder), 2);
}

/* A full disk, as a limit of this process's child: the old content stays, no temporary file. */
static void test_write_full(void **state)
{
    Place *p = *state;
    _cleanup_(err_clear) Err err = {0};
    char *big = xcalloc(1 << 20, 1);
    memset(big, 'x', 1 << 20);
    assert_int_equal(file_write(p->path, STR_LIT("old"), 0600, &err), 0);

    pid_t pid = fork();
    if (pid == 0) {
        struct rlimit limit = {64 << 10, 64 << 10};
        signal(SIGXFSZ, SIG_IGN);
        setrlimit(RLIMIT_FSIZE, &limit);
        int r = file_write(p->path, (Str){big, 1 << 20}, 0600, &err);
        int c = file_create("new", (Str){big, 1 << 20}, 0600, &err);
        _exit(r == -ERR_IO && c == -ERR_IO && !file_exists("new") ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    free(big);
    assert_content(p->path, "old");
    assert_int_equal(count_files(p->folder), 1);
}

/* The same on a file system that is really full (needs the right to mount). */
static void test_write_enospc(void **state)
{
    Place *p = *state;
    _cleanup_(err_clear) Err err = {0};
    if (mount("tmpfs", p->folder, "tmpfs", 0, "size=64k") < 0)
        skip();

    char *big = xcalloc(1 << 20, 1);
    int first = file_write(p->path, STR_LIT("old"), 0600, &err);
    int second = file_write(p->path, (Str){big, 1 << 20}, 0600, &err);
    size_t files = count_files(p->folder);
    _cleanup_(buf_clear) Buf b = BUF_INIT(BUF_MAX_LINE);
    int third = file_read(p->path, &b, NULL);
    free(big);
    assert_int_equal(umount(p->folder), 0);
    assert_int_equal(first, 0);
    assert_int_equal(second, -ERR_IO);
    assert_non_null(strstr(err.text, "No space left"));
    assert_int_equal(files, 1);
    assert_int_equal(third, 0);
    assert_string_equal(b.p, "old");
}

static void test_create(void **state)
{
    Place *p = *state;
    _cleanup_(err_clear) Err err = {0};

    assert_int_equal(file_create(p->path, STR_LIT("one"), 0600, &err), 0);
    assert_int_equal(file_create(p->path, STR_LIT("two"), 0600, &err), -ERR_CONFLICT);
    assert_content(p->path, "one");
    assert_int_equal(count_files(p->folder), 1);
}

static void test_absent(void **state)
{
    Place *p = *state;
    _cleanup_(err_clear) Err err = {0};
    _cleanup_free_ char *below = path_join(p->path, "f");

    assert_int_equal(file_absent(p->path, &err), 0);
    assert_int_equal(symlink("/nonexistent", p->path), 0);
    assert_int_equal(file_absent(p->path, &err), -ERR_CONFLICT);
    assert_int_equal(unlink(p->path), 0);
    assert_int_equal(file_write(p->path, STR_LIT("x"), 0600, &err), 0);
    assert_int_equal(file_absent(p->path, &err), -ERR_CONFLICT);
    assert_int_equal(file_absent(below, &err), -ERR_NOT_FOUND); /* nothing can be made there */
}

static void test_inner_paths(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        bool inner;
    } rows[] = {
        {"a", true},      {"base/1/2.x", true}, {"..a/b..", true}, {"", false},       {"/a", false},
        {"a/", false},    {"a//b", false},      {".", false},      {"a/../b", false}, {"..", false},
        {"a/./b", false}, {"a\nb", false},      {"a\x7f", false},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_int_equal(path_is_inner(rows[i].path), rows[i].inner);
}

static void test_rename(void **state)
{
    Place *p = *state;
    _cleanup_(err_clear) Err err = {0};
    _cleanup_free_ char *to = path_join(p->folder, "g");

    assert_int_equal(file_rename(p->path, to, &err), -ERR_NOT_FOUND);
    assert_int_equal(file_write(p->path, STR_LIT("x"), 0600, &err), 0);
    assert_int_equal(file_rename(p->path, to, &err), 0);
    assert_content(to, "x");
    assert_false(file_exists(p->path));
}

static void test_folders(void **state)
{
    Place *p = *state;
    _cleanup_(err_clear) Err err = {0};
    _cleanup_(strlist_clear) StrList names = {0};
    _cleanup_free_ char *deep = path_join(p->folder, "a//b/c/"), *a = path_join(p->folder, "a");
    struct stat st;

    mode_t mask = umask(077);
    assert_int_equal(file_mkdirs(deep, 0755, &err), 0);
    assert_int_equal(file_mkdirs(deep, 0755, &err), 0);
    umask(mask);
    assert_int_equal(stat(a, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0755);

    _cleanup_free_ char *z = path_join(a, "z"), *under = path_join(z, "y");
    assert_int_equal(file_write(z, STR_LIT(""), 0600, &err), 0);
    assert_int_equal(file_mkdirs(z, 0755, &err), -ERR_IO);
    assert_int_equal(file_mkdirs(under, 0755, &err), -ERR_IO);
    assert_int_equal(file_list(a, &names, &err), 0);
    assert_int_equal(names.len, 2);
    assert_string_equal(names.items[0], "b");
    assert_string_equal(names.items[1], "z");
    assert_int_equal(file_list(deep, &names, &err), 0);
    assert_int_equal(names.len, 0);
    assert_int_equal(file_list("/nonexistent", &names, &err), -ERR_NOT_FOUND);
}

static void test_remove_tree(void **state)
{
    Place *p = *state;
    _cleanup_(err_clear) Err err = {0};
    _cleanup_free_ char *tree = path_join(p->folder, "t"), *deep = path_join(tree, "a/b");
    _cleanup_free_ char *link = path_join(tree, "a/link"), *kept = path_join(p->folder, "kept");
    _cleanup_free_ char *inside = path_join(kept, "f"), *file = path_join(deep, "f");

    assert_int_equal(file_mkdirs(deep, 0700, &err), 0);
    assert_int_equal(file_mkdirs(kept, 0700, &err), 0);
    assert_int_equal(file_write(inside, STR_LIT("x"), 0600, &err), 0);
    assert_int_equal(file_write(file, STR_LIT("x"), 0600, &err), 0);
    assert_int_equal(symlink(kept, link), 0);
    assert_int_equal(file_remove_tree(tree, &err), 0);
    assert_false(file_exists(tree));
    assert_true(file_exists(inside));
    assert_int_equal(file_remove_tree(tree, &err), 0);
    /* A link itself, and a plain file. */
    assert_int_equal(symlink(kept, tree), 0);
    assert_int_equal(file_remove_tree(tree, &err), 0);
    assert_true(file_exists(inside));
    assert_int_equal(file_remove_tree(inside, &err), 0);
    assert_false(file_exists(inside));
}

/* What is mounted below a tree survives. */
static void test_remove_tree_mount(void **state)
{
    Place *p = *state;
    _cleanup_(err_clear) Err err = {0};
    _cleanup_free_ char *point = path_join(p->folder, "t/point"), *real = path_join(p->folder, "r");
    _cleanup_free_ char *inside = path_join(real, "f"), *tree = path_join(p->folder, "t");

    assert_int_equal(file_mkdirs(point, 0700, &err), 0);
    assert_int_equal(file_mkdirs(real, 0700, &err), 0);
    assert_int_equal(file_write(inside, STR_LIT("x"), 0600, &err), 0);
    if (mount(real, point, NULL, MS_BIND, NULL) < 0)
        skip();
    int r = file_remove_tree(tree, &err);
    assert_int_equal(umount(point), 0);
    assert_int_equal(r, -ERR_IO);
    assert_true(file_exists(inside));
}

static void test_lock(void **state)
{
    Place *p = *state;
    _cleanup_(err_clear) Err err = {0};
    int fd = -1, second = -1;

    assert_int_equal(file_lock(p->path, &fd, &err), 0);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    assert_int_equal(file_lock(p->path, &second, &err), -ERR_HELD);
    close(fd);
    assert_int_equal(file_lock(p->path, &second, &err), 0);
    close(second);
    assert_int_equal(file_lock("/nonexistent/lock", &fd, &err), -ERR_IO);
}

static void test_paths(void **state)
{
    static const struct {
        const char *a, *b, *joined;
    } table[] = {
        {"/a/b", "c", "/a/b/c"}, {"/a/b/", "c", "/a/b/c"}, {"/", "c", "/c"},
        {"a", "/c", "a/c"},      {"", "c", "c"},           {"a", "", "a/"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        _cleanup_free_ char *joined = path_join(table[i].a, table[i].b);
        assert_string_equal(joined, table[i].joined);
    }
    setenv("HOME", "/home/ann", 1);
    setenv("XDG_CONFIG_HOME", "/cfg", 1);
    setenv("XDG_CACHE_HOME", "relative", 1);
    _cleanup_free_ char *config = path_config(), *cache = path_cache();
    assert_string_equal(config, "/cfg/atoll");
    assert_string_equal(cache, "/home/ann/.cache/atoll");
    unsetenv("XDG_CONFIG_HOME");
    _cleanup_free_ char *home_config = path_config();
    assert_string_equal(home_config, "/home/ann/.config/atoll");
    unsetenv("HOME");
    assert_null(path_config());

    static const char *const folders[][2] = {
        {"/a/b", "/a"}, {"b", "."}, {"/b", "/"}, {"a/b/c", "a/b"}};
    for (size_t i = 0; i < ARRAY_LEN(folders); i++) {
        _cleanup_free_ char *folder = path_folder(folders[i][0]);
        assert_string_equal(folder, folders[i][1]);
    }
}

/* As another user, and never by its name: who owns the folder cannot make the file root's way to
 * another one. */
static void test_write_as(void **state)
{
    Place *p = *state;
    struct stat st;
    assert_int_equal(file_write_as(p->path, STR_LIT("one"), 0640, (uid_t)-1, (gid_t)-1, NULL), 0);
    assert_int_equal(stat(p->path, &st), 0);
    assert_int_equal(st.st_uid, geteuid());
    if (geteuid() != 0)
        skip();
    _cleanup_free_ char *other = path_join(p->folder, "other");
    assert_int_equal(file_write(other, STR_LIT("root's"), 0600, NULL), 0);
    assert_int_equal(unlink(p->path), 0);
    assert_int_equal(symlink(other, p->path), 0);
    assert_int_equal(file_write_as(p->path, STR_LIT("two"), 04640, 65534, 65533, NULL), 0);
    assert_int_equal(lstat(p->path, &st), 0);
    assert_true(S_ISREG(st.st_mode));
    assert_int_equal(st.st_mode & 07777, 04640);
    assert_int_equal(st.st_uid, 65534);
    assert_int_equal(st.st_gid, 65533);
    assert_int_equal(stat(other, &st), 0);
    assert_int_equal(st.st_uid, 0);
    assert_content(other, "root's");
}

#define IN_FOLDER(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_FOLDER(test_read),         IN_FOLDER(test_write),
        IN_FOLDER(test_write_as),     IN_FOLDER(test_write_full),
        IN_FOLDER(test_write_enospc), IN_FOLDER(test_create),
        IN_FOLDER(test_rename),       IN_FOLDER(test_folders),
        IN_FOLDER(test_remove_tree),  IN_FOLDER(test_remove_tree_mount),
        IN_FOLDER(test_lock),         IN_FOLDER(test_absent),
        cmocka_unit_test(test_paths), cmocka_unit_test(test_inner_paths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
