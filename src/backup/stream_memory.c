#include "backup/stream_internal.h"
#include "io/file.h"

#include <fcntl.h>
#include <unistd.h>

#define MEMORY_BYTES 512 /* a line is as long as any, so that it is written over at once */

static void parse(const char *text, size_t n, Memory *ret)
{
    _cleanup_json_ json_t *j = json_parse_new(text, n, NULL);
    Memory m = {.stored.tli = (Timeline)json_int(j, "tli", 0),
                .history = (Timeline)json_int(j, "history", 0)};
    const char *system = json_str_or(j, "system", ""), *hash = json_str_or(j, "hash", "");

    if (!*system || strlen(system) >= sizeof m.system || strlen(hash) >= sizeof m.hash ||
        !lsn_parse(json_str_or(j, "stored", ""), &m.stored.lsn))
        return;
    snprintf(m.system, sizeof m.system, "%s", system);
    snprintf(m.hash, sizeof m.hash, "%s", hash);
    *ret = m;
}

int memory_open(const char *folder, MemoryFile *ret_file, Memory *ret, Err *err)
{
    MemoryFile f = {.fd = -1, .lock = -1};
    char text[MEMORY_BYTES];

    *ret = (Memory){0};
    *ret_file = f;
    if (!folder)
        return 0;
    _cleanup_free_ char *path = path_join(folder, "stream.json");
    _cleanup_free_ char *lock = path_join(folder, "stream.lock");
    int r = file_mkdirs(folder, 0700, err);
    if (r == 0)
        r = file_lock(lock, &f.lock, err);
    if (r == -ERR_HELD)
        return err_set(err, ERR_HELD, "another stream has the state in %s", folder);
    if (r < 0)
        return r;
    *ret_file = f;
    ret_file->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (ret_file->fd < 0)
        return err_set(err, ERR_IO, "cannot open %s: %m", path);
    ssize_t n = pread(ret_file->fd, text, sizeof text, 0);
    if (n > 0)
        parse(text, (size_t)n, ret);
    return 0;
}

void memory_write(const MemoryFile *f, const Memory *m)
{
    char lsn[LSN_TEXT_MAX], text[MEMORY_BYTES];
    if (f->fd < 0)
        return;
    _cleanup_json_ json_t *j =
        json_make_new("{s:s, s:I, s:s, s:s, s:I}", "system", m->system, "tli",
                      (json_int_t)m->stored.tli, "stored", lsn_format(m->stored.lsn, lsn), "hash",
                      m->hash, "history", (json_int_t)m->history);
    _cleanup_free_ char *line = json_text_new(j);
    int n = snprintf(text, sizeof text, "%-*s", MEMORY_BYTES - 2, line);

    BUG_IF(n != MEMORY_BYTES - 2);
    text[n] = '\n';
    /* A disk that is full: then it is as if it were lost. */
    if (pwrite(f->fd, text, (size_t)n + 1, 0) != n + 1)
        (void)!ftruncate(f->fd, 0);
}

void memory_close(MemoryFile *f)
{
    if (f->fd >= 0)
        close(f->fd);
    if (f->lock >= 0)
        close(f->lock);
    f->fd = f->lock = -1;
}
