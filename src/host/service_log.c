#include "host/service_log.h"

#include <fcntl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

int service_log_open(const char *folder, const char *service, int *ret_fd, Err *err)
{
    _cleanup_free_ char *path = xasprintf("%s/%s.log", folder, service);

    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0640);
    if (fd < 0)
        return err_set(err, ERR_IO, "cannot open %s: %m", path);
    *ret_fd = fd;
    return 0;
}

static bool copy(int from, int to, int64_t size)
{
    off_t at = 0;

    while (at < size) {
        ssize_t n = sendfile(to, from, &at, (size_t)(size - at));
        if (n <= 0)
            return n == 0;
    }
    return true;
}

void service_log_rotate(const char *folder, const char *service)
{
    _cleanup_free_ char *path = xasprintf("%s/%s.log", folder, service);
    _cleanup_free_ char *old = xasprintf("%s.1", path);
    struct stat st;

    if (stat(path, &st) < 0 || st.st_size <= SERVICE_LOG_MAX)
        return;
    int from = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    int to = open(old, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0640);
    /* If the copy fails (a full disk), the log is emptied all the same: that is what the cap is
     * for. */
    if (from >= 0 && to >= 0)
        (void)copy(from, to, st.st_size);
    if (from >= 0 && ftruncate(from, 0) < 0)
        (void)unlink(path);
    if (from >= 0)
        close(from);
    if (to >= 0)
        close(to);
}
