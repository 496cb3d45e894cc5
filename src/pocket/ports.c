#include "pocket/ports.h"
#include "io/crypt.h"
#include "io/file.h"
#include "io/httpd.h"
#include "pocket/core.h"
#include <unistd.h>

/* Below the range from which the kernel takes ports of outgoing connections (32768 on): one of
 * those could be in the way at a restart. */
#define FREE_FIRST 20000
#define FREE_COUNT 12000
#define FREE_TRIES 200

static int listen_free(int *ret_fd, int *ret_port, Err *err)
{
    for (int i = 0; i < FREE_TRIES; i++) {
        uint16_t random;
        crypt_random(&random, sizeof random);
        err_clear(err);
        int r = httpd_listen("127.0.0.1", FREE_FIRST + random % FREE_COUNT, ret_fd, ret_port, err);
        if (r != -ERR_CONFLICT)
            return r;
    }
    return err_wrap(err, "looking for a free port");
}

static int load(const char *path, json_t **ret, Err *err)
{
    _cleanup_(buf_clear) Buf text = BUF_INIT(BUF_MAX_LINE);
    int r = file_read(path, &text, err);
    if (r == -ERR_NOT_FOUND) {
        err_clear(err);
        *ret = NULL;
        return 0;
    }
    if (r < 0)
        return r;
    *ret = json_parse_new(text.p, text.len, err);
    return *ret ? 0 : err_wrap(err, "%s", path);
}

static int listen_one(Pocket *p, PocketService s, int base, const json_t *kept, int *ret_fd,
                      Err *err)
{
    int port = base ? base + (int)s : (int)json_int(kept, service_name(s), 0);
    if (!port)
        return listen_free(ret_fd, &p->port[s], err);
    int r = httpd_listen("127.0.0.1", port, ret_fd, &p->port[s], err);
    if (r == -ERR_CONFLICT)
        return err_hint(err, "end the program that has the port, or give --port-base");
    return r;
}

int ports_listen(Pocket *p, int base, int ret_fds[static POCKET_SERVICES], Err *err)
{
    _cleanup_free_ char *path = path_join(p->dir, "ports.json");
    _cleanup_json_ json_t *kept = NULL;
    int r = load(path, &kept, err);
    for (int s = 0; s < POCKET_SERVICES && r >= 0; s++) {
        r = listen_one(p, (PocketService)s, base, kept, &ret_fds[s], err);
        for (int i = 0; r < 0 && i < s; i++)
            close(ret_fds[i]);
    }
    if (r < 0)
        return r;
    _cleanup_json_ json_t *now = json_object();
    for (int s = 0; s < POCKET_SERVICES; s++)
        json_object_set_new(now, service_name((PocketService)s), json_integer(p->port[s]));
    if (json_equal(now, kept))
        return 0;
    _cleanup_free_ char *text = json_text_new(now);
    return file_write(path, str_of(text), 0600, err);
}
