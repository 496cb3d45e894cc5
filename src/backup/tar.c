#include "backup/tar.h"
#include "io/file.h"

/* Offsets and sizes of a header's fields (ustar). */
enum {
    AT_NAME = 0,
    AT_MODE = 100,
    AT_SIZE = 124,
    AT_MTIME = 136,
    AT_SUM = 148,
    AT_TYPE = 156,
    AT_TARGET = 157,
    AT_MAGIC = 257,
    AT_PREFIX = 345
};

/* A number of `n` bytes: octal digits that end with a space, a NUL or the field; or base 256. */
static bool number(const uint8_t *p, size_t n, int64_t *ret)
{
    uint64_t v = 0;

    if (*p & 0x80) {
        /* Only the rest counts, and what does not fit into 63 bits is nothing that is meant. */
        v = *p & 0x7f;
        for (size_t i = 1; i < n; i++) {
            if (v >> 55)
                return false;
            v = v << 8 | p[i];
        }
        *ret = (int64_t)v;
        return true;
    }
    size_t i = 0;
    while (i < n && p[i] == ' ')
        i++;
    size_t digits = 0;
    for (; i < n && p[i] >= '0' && p[i] <= '7'; i++, digits++)
        v = v << 3 | (uint64_t)(p[i] - '0');
    *ret = (int64_t)v;
    return digits > 0 && (i == n || p[i] == ' ' || p[i] == '\0');
}

static bool sum_is_right(const uint8_t *b)
{
    int64_t told, sum = 0;

    for (size_t i = 0; i < TAR_BLOCK; i++)
        sum += i >= AT_SUM && i < AT_SUM + 8 ? ' ' : b[i];
    return number(b + AT_SUM, 8, &told) && told == sum;
}

static bool all_zero(const uint8_t *b)
{
    return b[0] == 0 && memcmp(b, b + 1, TAR_BLOCK - 1) == 0;
}

static void copy_path(TarEntry *e, const uint8_t *b)
{
    const char *prefix = (const char *)b + AT_PREFIX, *name = (const char *)b + AT_NAME;
    size_t prefix_bytes = strnlen(prefix, 155), name_bytes = strnlen(name, 100);
    char *to = e->path;

    if (prefix_bytes > 0) {
        memcpy(to, prefix, prefix_bytes);
        to += prefix_bytes;
        *to++ = '/';
    }
    memcpy(to, name, name_bytes);
    to += name_bytes;
    *to = '\0';
    if (starts_with(e->path, "./"))
        memmove(e->path, e->path + 2, strlen(e->path + 2) + 1);
    size_t n = strlen(e->path);
    if (n > 1 && e->path[n - 1] == '/')
        e->path[n - 1] = '\0';
}

static int read_header(Tar *t, Err *err)
{
    const uint8_t *b = t->block;
    TarEntry *e = &t->entry;
    int64_t mode = 0;

    *e = (TarEntry){0};
    if (!sum_is_right(b) || memcmp(b + AT_MAGIC, "ustar", 5) != 0)
        return err_set(err, ERR_CORRUPT, "the archive has a header that is none");
    copy_path(e, b);
    /* Names are made of bytes that we did not choose, and later name files that somebody restores.
     */
    if (!path_is_inner(e->path))
        return err_set(err, ERR_CORRUPT, "the archive has a name that is none of a cluster's");
    if (!number(b + AT_MODE, 8, &mode) || !number(b + AT_SIZE, 12, &e->size) ||
        !number(b + AT_MTIME, 12, &e->mtime))
        return err_set(err, ERR_CORRUPT, "the archive has a number that is none, at %s", e->path);
    e->mode = (unsigned)mode & 07777;
    switch (b[AT_TYPE]) {
    case '0':
    case '\0':
        e->kind = TAR_FILE;
        break;
    case '5':
        e->kind = TAR_DIR;
        break;
    case '2':
        e->kind = TAR_LINK;
        memcpy(e->target, b + AT_TARGET, 100);
        break;
    default:
        return err_set(err, ERR_CORRUPT, "the archive has a thing of type %d, at %s", b[AT_TYPE],
                       e->path);
    }
    if (e->kind != TAR_FILE)
        e->size = 0;
    t->left = e->size;
    t->padding = (size_t)(-e->size & (TAR_BLOCK - 1));
    t->in_entry = true;
    return 0;
}

static void take(Str *input, size_t n)
{
    input->p += n;
    input->n -= n;
}

/* The next header, once all of it is there. */
static int next_header(Tar *t, Str *input, TarEvent *ret, Err *err)
{
    size_t skip = MIN(t->padding, input->n);
    take(input, skip);
    t->padding -= skip;
    size_t n = MIN(TAR_BLOCK - t->have, input->n);
    if (n > 0)
        memcpy(t->block + t->have, input->p, n);
    take(input, n);
    t->have += n;
    *ret = TAR_MORE;
    if (t->have < TAR_BLOCK)
        return 0;
    t->have = 0;
    if (all_zero(t->block)) {
        t->ended = true;
        *ret = TAR_END;
        return 0;
    }
    *ret = TAR_ENTRY;
    return read_header(t, err);
}

int tar_next(Tar *t, Str *input, TarEvent *ret, Str *ret_data, Err *err)
{
    *ret_data = (Str){"", 0};
    if (t->ended) {
        take(input, input->n);
        *ret = TAR_MORE;
        return 0;
    }
    if (!t->in_entry)
        return next_header(t, input, ret, err);
    if (t->left == 0) {
        t->in_entry = false;
        *ret = TAR_DONE;
        return 0;
    }
    size_t n = (size_t)MIN((int64_t)input->n, t->left);
    *ret = n > 0 ? TAR_DATA : TAR_MORE;
    *ret_data = (Str){input->p, n};
    take(input, n);
    t->left -= (int64_t)n;
    return 0;
}

int tar_finish(const Tar *t, Err *err)
{
    if (t->in_entry || t->have > 0 || t->padding > 0)
        return err_set(err, ERR_CORRUPT, "the archive ends in the middle of %s", t->entry.path);
    return 0;
}
