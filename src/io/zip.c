#include "io/zip.h"

#include <zstd.h>

/* A context costs as much as compressing a few pages: each thread keeps its own until it ends. */
typedef struct Contexts {
    ZSTD_CCtx *pack;
    ZSTD_DCtx *unpack;
} Contexts;

#include <pthread.h>

static pthread_key_t contexts_key;
static pthread_once_t contexts_once = PTHREAD_ONCE_INIT;

static void contexts_free(void *p)
{
    Contexts *c = p;

    ZSTD_freeCCtx(c->pack);
    ZSTD_freeDCtx(c->unpack);
    free(c);
}

static void contexts_init(void)
{
    BUG_IF(pthread_key_create(&contexts_key, contexts_free) != 0);
}

static Contexts *contexts(void)
{
    BUG_IF(pthread_once(&contexts_once, contexts_init) != 0);
    Contexts *c = pthread_getspecific(contexts_key);
    if (c)
        return c;
    c = NEW(Contexts);
    c->pack = ZSTD_createCCtx();
    c->unpack = ZSTD_createDCtx();
    BUG_IF(!c->pack || !c->unpack || pthread_setspecific(contexts_key, c) != 0);
    return c;
}

int zip_pack(Str plain, int level, Buf *ret, Err *err)
{
    size_t max = ZSTD_compressBound(plain.n);
    char *out = buf_room(ret, max);
    if (!out)
        return err_set(err, ERR_BUG, "compressed data may be larger than %zu bytes", ret->max);
    size_t n = ZSTD_compressCCtx(contexts()->pack, out, max, plain.p, plain.n, level);

    buf_grow(ret, ZSTD_isError(n) ? 0 : n);
    return ZSTD_isError(n) ? err_set(err, ERR_BUG, "compressing: %s", ZSTD_getErrorName(n)) : 0;
}

int zip_unpack(Str packed, size_t plain_bytes, Buf *ret, Err *err)
{
    char *out = buf_room(ret, plain_bytes);
    if (!out)
        return err_set(err, ERR_CORRUPT, "data is larger than %zu bytes", ret->max);
    size_t n = ZSTD_decompressDCtx(contexts()->unpack, out, plain_bytes, packed.p, packed.n);

    buf_grow(ret, n == plain_bytes ? n : 0);
    if (ZSTD_isError(n))
        return err_set(err, ERR_CORRUPT, "compressed data is damaged: %s", ZSTD_getErrorName(n));
    if (n != plain_bytes)
        return err_set(err, ERR_CORRUPT, "compressed data has %zu bytes, not %zu", n, plain_bytes);
    return 0;
}
