/* Volumes, on real block devices where this machine lets us make loop devices; else skipped. */
#include "host/volume.h"
#include "base/buf.h"
#include "io/child.h"
#include "io/file.h"

#include <fcntl.h>
#include <setjmp.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define ID "8a3b9c1d-0000-4000-8000-000000000001"
#define IMAGE_BYTES (32 << 20)

typedef struct Place {
    char folder[64];
    char *image, *link, *mounted;
    Buf device; /* "" : there are no loop devices here */
} Place;

static int run(const char *const *argv, Buf *out)
{
    int status = -1;
    static const char *const env[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", NULL};
    if (child_run(&(ChildSpec){.argv = argv, .env = env}, (Str){0}, MINUTE, out, &status, NULL) < 0)
        return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int setup(void **state)
{
    Place *p = NEW(Place);
    snprintf(p->folder, sizeof p->folder, "/tmp/atoll-volume.XXXXXX");
    if (!mkdtemp(p->folder))
        return -1;
    _cleanup_free_ char *by_id = path_join(p->folder, "dev/disk/by-id");
    p->image = path_join(p->folder, "image");
    p->link = path_join(by_id, "virtio-8a3b9c1d-0000-4000-8");
    p->mounted = path_join(p->folder, "srv/atoll");
    p->device = BUF_INIT(BUF_MAX_LINE);
    *state = p;
    if (file_mkdirs(by_id, 0711, NULL) < 0 || file_write(p->image, STR_LIT(""), 0600, NULL) < 0 ||
        truncate(p->image, IMAGE_BYTES) < 0)
        return -1;
    if (geteuid() != 0 || run((const char *const[]){"losetup", "--find", "--show", p->image, NULL},
                              &p->device) != 0) {
        buf_clear(&p->device);
        return 0;
    }
    buf_truncate(&p->device, strcspn(p->device.p, "\n"));
    return symlink(p->device.p, p->link);
}

static int teardown(void **state)
{
    Place *p = *state;
    (void)umount(p->mounted); /* only some tests have mounted it */
    if (p->device.len > 0)
        (void)run((const char *const[]){"losetup", "--detach", p->device.p, NULL}, NULL);
    int r = file_remove_tree(p->folder, NULL);
    buf_clear(&p->device);
    free(p->image);
    free(p->link);
    free(p->mounted);
    free(p);
    return r;
}

static bool can_mount(const Place *p)
{
    _cleanup_free_ char *folder = path_join(p->folder, "try");
    if (p->device.len == 0 || mkdir(folder, 0700) < 0 ||
        mount("none", folder, "tmpfs", 0, NULL) < 0)
        return false;
    return umount(folder) == 0;
}

static void image_hash(const Place *p, Buf *ret)
{
    _cleanup_(buf_clear) Buf out = BUF_INIT(BUF_MAX_LINE);
    assert_int_equal(run((const char *const[]){"sha256sum", p->image, NULL}, &out), 0);
    buf_add(ret, out.p, 64);
}

static void a_blank_one_is_formatted_and_kept(void **state)
{
    Place *p = *state;
    if (!can_mount(p))
        skip();
    _cleanup_free_ char *first = NULL, *again = NULL, *file = path_join(p->mounted, "x");
    _cleanup_(err_clear) Err err = {0};
    _cleanup_(buf_clear) Buf text = BUF_INIT(BUF_MAX_LINE);

    if (volume_folder(p->folder, ID, &first, &err) < 0)
        fail_msg("%s", err.text);
    assert_string_equal(first, p->mounted);
    assert_int_equal(file_write(file, STR_LIT("data"), 0600, NULL), 0);
    /* Mounted already, and after a reboot. */
    assert_int_equal(volume_folder(p->folder, ID, &again, NULL), 0);
    assert_int_equal(umount(p->mounted), 0);
    assert_false(file_exists(file));
    free(TAKE(again));
    assert_int_equal(volume_folder(p->folder, ID, &again, NULL), 0);
    assert_int_equal(file_read(file, &text, NULL), 0);
    assert_string_equal(text.p, "data");
}

/* Data that nobody can name, at the beginning or at the end. */
static void what_is_not_blank_is_left_as_it_is(void **state)
{
    Place *p = *state;
    static const off_t places[] = {0, 512, 1 << 20, IMAGE_BYTES - 512, IMAGE_BYTES - 1};
    if (!can_mount(p))
        skip();
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        _cleanup_free_ char *folder = NULL;
        _cleanup_(err_clear) Err err = {0};
        _cleanup_(buf_clear) Buf before = BUF_INIT(BUF_MAX_LINE), after = BUF_INIT(BUF_MAX_LINE);
        int fd = open(p->device.p, O_RDWR | O_CLOEXEC);
        assert_int_equal(pwrite(fd, "x", 1, places[i]), 1);
        assert_int_equal(fsync(fd), 0);
        image_hash(p, &before);

        assert_int_equal(volume_folder(p->folder, ID, &folder, &err), -ERR_CONFLICT);
        assert_non_null(strstr(err.text, "not blank"));
        image_hash(p, &after);
        assert_string_equal(before.p, after.p);
        assert_int_equal(pwrite(fd, "", 1, places[i]), 1);
        close(fd);
    }
}

static void a_swap_area_is_no_file_system(void **state)
{
    Place *p = *state;
    if (!can_mount(p))
        skip();
    _cleanup_free_ char *folder = NULL;
    _cleanup_(buf_clear) Buf before = BUF_INIT(BUF_MAX_LINE), after = BUF_INIT(BUF_MAX_LINE);
    if (run((const char *const[]){"mkswap", p->device.p, NULL}, NULL) != 0)
        skip();
    image_hash(p, &before);

    assert_true(volume_folder(p->folder, ID, &folder, NULL) < 0);
    image_hash(p, &after);
    assert_string_equal(before.p, after.p);
}

static void folders_and_files_at_its_place(void **state)
{
    Place *p = *state;
    _cleanup_free_ char *target = path_join(p->folder, "volume"), *plain = NULL, *folder = NULL;
    _cleanup_free_ char *none = NULL;
    if (file_exists(p->link))
        assert_int_equal(unlink(p->link), 0);

    assert_int_equal(volume_folder(p->folder, NULL, &plain, NULL), 0);
    assert_string_equal(plain, p->mounted);
    assert_int_equal(volume_folder(p->folder, ID, &none, NULL), -ERR_TEMPORARY);
    /* A pocket server's volume. */
    assert_int_equal(mkdir(target, 0700), 0);
    assert_int_equal(symlink(target, p->link), 0);
    assert_int_equal(volume_folder(p->folder, ID, &folder, NULL), 0);
    assert_string_equal(folder, p->link);
    assert_int_equal(unlink(p->link), 0);
    assert_int_equal(file_write(p->link, STR_LIT("data"), 0600, NULL), 0);
    assert_int_equal(volume_folder(p->folder, ID, &none, NULL), -ERR_CONFLICT);
    assert_null(none);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_blank_one_is_formatted_and_kept),
        TEST(what_is_not_blank_is_left_as_it_is),
        TEST(a_swap_area_is_no_file_system),
        TEST(folders_and_files_at_its_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
