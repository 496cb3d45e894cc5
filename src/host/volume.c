#include "host/volume.h"
#include "base/buf.h"
#include "io/child.h"
#include "io/file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define SERIAL_CHARS 20       /* of a virtio disk (virtio spec, 5.2: VIRTIO_BLK_T_GET_ID) */
#define TOOL_MS (10 * MINUTE) /* mkfs of a large, slow volume */
#define LOOK_BYTES ((int64_t)4 << 20)
#define BLKID_NOTHING 2 /* blkid(8): nothing was recognised */

static int run_tool(const char *const *argv, Buf *out, int *ret_exit, Err *err)
{
    static const char *const env[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", NULL};
    int status;

    int r = child_run(&(ChildSpec){.argv = argv, .env = env}, (Str){0}, TOOL_MS, out, &status, err);
    if (r < 0)
        return r;
    *ret_exit = WIFEXITED(status) ? WEXITSTATUS(status) : 255;
    return 0;
}

/* The type of the file system on a device, or "" if blkid(8) knows nothing of what is there. Probed
 * on the device itself, not from its cache; a partition table counts as something. */
static int probe(const char *device, Buf *ret_type, Err *err)
{
    _cleanup_(buf_clear) Buf out = BUF_INIT(BUF_MAX_LINE);
    int code;

    int r = run_tool((const char *const[]){"blkid", "--probe", "--output", "full", device, NULL},
                     &out, &code, err);
    if (r < 0)
        return r;
    if (code == BLKID_NOTHING && out.len == 0)
        return 0;
    const char *at = code == 0 ? strstr(out.p, " TYPE=\"") : NULL;
    if (!at)
        return err_set(err, ERR_CONFLICT,
                       "the volume %s holds something that is no file system; it is left as it is",
                       device);
    at += strlen(" TYPE=\"");
    buf_add(ret_type, at, strcspn(at, "\""));
    return 0;
}

/* True if so many bytes from `at` on are there and all zero. */
static bool is_zero(int fd, int64_t at, int64_t bytes)
{
    char piece[64 << 10];

    for (int64_t end = at + bytes; at < end;) {
        ssize_t n = pread(fd, piece, (size_t)MIN((int64_t)sizeof piece, end - at), (off_t)at);
        if (n <= 0)
            return false;
        for (ssize_t i = 0; i < n; i++)
            if (piece[i])
                return false;
        at += n;
    }
    return true;
}

/* A volume as Cinder hands it out: nothing at its beginning, nothing at its end. What blkid does
 * not know (a volume of another program, a broken file system) is somebody's data all the same. */
static int check_blank(const char *device, Err *err)
{
    int fd = open(device, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_set(err, ERR_IO, "cannot open the volume %s: %m", device);
    int64_t size = lseek(fd, 0, SEEK_END);
    bool blank = size >= LOOK_BYTES && is_zero(fd, 0, LOOK_BYTES) &&
                 is_zero(fd, size - LOOK_BYTES, LOOK_BYTES);
    close(fd);
    if (blank)
        return 0;
    (void)err_set(err, ERR_CONFLICT, "the volume %s is not blank; it is not formatted", device);
    return err_hint(err, "if nothing on it is wanted: blkdiscard --zeroout %s", device);
}

static int format(const char *device, Err *err)
{
    _cleanup_(buf_clear) Buf out = BUF_INIT(BUF_MAX_LINE);
    int code;

    /* mkfs asks before it overwrites something, but only a person at a terminal. */
    int r = check_blank(device, err);
    if (r < 0)
        return r;
    r = run_tool((const char *const[]){"mkfs.ext4", "-q", "-L", "atoll", device, NULL}, &out, &code,
                 err);
    if (r == 0 && code != 0)
        r = err_set(err, ERR_IO, "cannot make a file system on %s: %.*s", device,
                    (int)strcspn(out.p, "\n"), out.p);
    return r;
}

static bool is_mounted(const char *folder)
{
    struct stat st, up;
    _cleanup_free_ char *parent = xasprintf("%s/..", folder);

    return stat(folder, &st) == 0 && stat(parent, &up) == 0 && st.st_dev != up.st_dev;
}

/* To the size that the device has by now; nothing happens if it fills it already. */
static int grow(const char *device, const char *type, Err *err)
{
    _cleanup_(buf_clear) Buf out = BUF_INIT(BUF_MAX_LINE);
    int code;

    if (!streq(type, "ext4"))
        return 0;
    int r = run_tool((const char *const[]){"resize2fs", device, NULL}, &out, &code, err);
    if (r == 0 && code != 0)
        r = err_set(err, ERR_IO, "cannot grow the file system on %s: %.*s", device,
                    (int)strcspn(out.p, "\n"), out.p);
    return r;
}

static int mount_device(const char *device, const char *folder, Err *err)
{
    _cleanup_(buf_clear) Buf type = BUF_INIT(BUF_MAX_LINE);

    int r = probe(device, &type, err);
    if (r == 0 && is_mounted(folder))
        return grow(device, type.p, err);
    if (r == 0 && type.len == 0) {
        r = format(device, err);
        buf_str(&type, "ext4");
    }
    if (r == 0)
        r = file_mkdirs(folder, 0711, err);
    if (r < 0)
        return r;
    if (mount(device, folder, type.p, MS_NODEV | MS_NOSUID | MS_NOATIME, NULL) < 0)
        return err_set(err, errno == ENODEV || errno == EINVAL ? ERR_CONFLICT : ERR_IO,
                       "cannot mount the volume %s (%s) at %s: %m", device, type.p, folder);
    return grow(device, type.p, err);
}

int volume_folder(const char *root, const char *volume_id, char **ret, Err *err)
{
    _cleanup_free_ char *folder = xasprintf("%s/srv/atoll", root);
    struct stat st;

    if (!volume_id || !*volume_id) {
        *ret = TAKE(folder);
        return 0;
    }
    _cleanup_free_ char *device =
        xasprintf("%s/dev/disk/by-id/virtio-%.*s", root, SERIAL_CHARS, volume_id);
    if (stat(device, &st) < 0)
        return err_set(err, ERR_TEMPORARY, "the volume %s is not attached yet", volume_id);
    if (S_ISDIR(st.st_mode)) {
        *ret = TAKE(device);
        return 0;
    }
    if (!S_ISBLK(st.st_mode))
        return err_set(err, ERR_CONFLICT, "%s is neither a device nor a folder", device);
    int r = mount_device(device, folder, err);
    if (r == 0)
        *ret = TAKE(folder);
    return r;
}

int volume_release(const char *root, Err *err)
{
    _cleanup_free_ char *folder = xasprintf("%s/srv/atoll", root);

    if (!is_mounted(folder) || umount(folder) == 0)
        return 0;
    return err_set(err, errno == EBUSY ? ERR_TEMPORARY : ERR_IO, "cannot unmount the volume: %m");
}
