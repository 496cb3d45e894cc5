/* The store's functions: names are checked and temporary errors tried again here, for all drivers.
 */
#include "backup/store_driver.h"

#include <ctype.h>
#include <stdatomic.h>

#define NAME_MAX_BYTES 200
#define PATIENCE_MS (60 * SECOND)
#define WAIT_FIRST_MS 200
#define WAIT_MAX_MS (10 * SECOND)

struct StoreShared {
    atomic_size_t users;
    atomic_uint_fast64_t requests;
};

void store_init(Store *s, const StoreDriver *driver, const StoreOptions *o, char *words)
{
    *s = (Store){.driver = driver, .options = *o, .words = words, .shared = NEW(StoreShared)};
    atomic_init(&s->shared->users, 1);
}

void store_init_clone(Store *s, const Store *of)
{
    *s = (Store){.driver = of->driver,
                 .options = of->options,
                 .words = xstrdup(of->words),
                 .shared = of->shared};
    /* Clones of one store must not try again in step. */
    s->options.seed += atomic_fetch_add(&s->shared->users, 1);
}

Store *store_clone(const Store *s)
{
    return s->driver->clone(s);
}

Store *store_free(Store *s)
{
    if (!s)
        return NULL;
    s->driver->free(s);
    free(s->words);
    if (atomic_fetch_sub(&s->shared->users, 1) == 1)
        free(s->shared);
    free(s);
    return NULL;
}

void store_count(Store *s, uint64_t n)
{
    atomic_fetch_add(&s->shared->requests, n);
}

uint64_t store_requests(const Store *s)
{
    return atomic_load(&s->shared->requests);
}

const char *store_words(const Store *s)
{
    return s->words;
}

const char *store_place(const Store *s)
{
    return s->driver->place ? s->driver->place(s) : s->words;
}

Msec store_now(const Store *s)
{
    return s->driver->now ? s->driver->now(s) : time_now();
}

/* Whatever a listing shows may be a name; what we ask for must be one. */
static bool name_ok(const char *name)
{
    size_t n = strlen(name);

    if (n == 0 || n > NAME_MAX_BYTES || name[0] == '/' || name[n - 1] == '/')
        return false;
    for (size_t i = 0; i < n; i++)
        if (!isalnum((unsigned char)name[i]) && !strchr("._/-", name[i]))
            return false;
    Str rest = str_of(name), part;
    while (str_next(&rest, '/', &part))
        if (part.n == 0 || str_eq(part, STR_LIT(".")) || str_eq(part, STR_LIT("..")))
            return false;
    return true;
}

static int check_name(const char *name, Err *err)
{
    if (name_ok(name))
        return 0;
    return err_set(err, ERR_CORRUPT, "\"%.200s\" is no name of an object", name);
}

static int cannot(const Store *s, const char *what, Err *err)
{
    err_set(err, ERR_DENIED, "%s can only be written to, not %s", s->words, what);
    return err_hint(err, "use settings whose repository has a login or a folder");
}

/* Waiting between tries. */
typedef struct Tries {
    Msec until, wait_ms;
} Tries;

static Tries tries_begin(const Store *s)
{
    Msec patience = s->options.patience_ms ? s->options.patience_ms : PATIENCE_MS;

    return (Tries){.until = patience < 0 ? INT64_MAX : time_mono() + patience,
                   .wait_ms = WAIT_FIRST_MS};
}

/* Is `r` worth another try? Then it has waited. */
static bool tries_again(Store *s, Tries *t, int r)
{
    bool stopped = s->options.stop && *s->options.stop;

    if (r != -ERR_TEMPORARY || stopped)
        return false;
    /* Half the wait, and up to a half by chance (a linear congruence is chance enough). */
    s->options.seed = s->options.seed * 6364136223846793005U + 1442695040888963407U;
    Msec half = t->wait_ms / 2;
    Msec wait = half + (Msec)((s->options.seed >> 33) % (uint64_t)(half + 1));
    if (time_mono() + wait >= t->until)
        return false;
    time_sleep(wait);
    t->wait_ms = MIN(2 * t->wait_ms, WAIT_MAX_MS);
    return !(s->options.stop && *s->options.stop);
}

int store_put(Store *s, const char *name, Str body, StorePut how, Err *err)
{
    Tries t = tries_begin(s);
    int r = check_name(name, err);

    if (r < 0)
        return r;
    do
        r = s->driver->put(s, name, body, how, err);
    while (tries_again(s, &t, r));
    return r < 0 ? err_wrap(err, "storing %s in %s", name, s->words) : 0;
}

static int get(Store *s, const char *name, const char *version, int64_t offset, int64_t size,
               Buf *ret, Err *err)
{
    Tries t = tries_begin(s);
    size_t before = ret->len;
    int r;

    if (!s->driver->get)
        return cannot(s, "read", err);
    r = check_name(name, err);
    if (r < 0)
        return r;
    do {
        buf_truncate(ret, before);
        r = s->driver->get(s, name, version, offset, size, ret, err);
    } while (tries_again(s, &t, r));
    if (r == 0 && ret->overflow)
        r = err_set(err, ERR_CORRUPT, "it is larger than %zu bytes", ret->max);
    if (r == 0 && size > 0 && ret->len - before != (size_t)size)
        r = err_set(err, ERR_CORRUPT, "%zu bytes came, not %lld", ret->len - before,
                    (long long)size);
    return r < 0 ? err_wrap(err, "reading %s of %s", name, s->words) : 0;
}

int store_get(Store *s, const char *name, int64_t offset, int64_t size, Buf *ret, Err *err)
{
    return get(s, name, NULL, offset, size, ret, err);
}

int store_get_version(Store *s, const StoreItem *item, int64_t offset, int64_t size, Buf *ret,
                      Err *err)
{
    return get(s, item->name, item->version, offset, size, ret, err);
}

void store_items_clear(StoreItems *l)
{
    for (size_t i = 0; i < l->len; i++) {
        free(l->items[i].name);
        free(l->items[i].version);
        free(l->items[i].etag);
    }
    vec_clear(l);
}

static int by_name_and_age(const void *a, const void *b)
{
    const StoreItem *x = a, *y = b;
    int names = strcmp(x->name, y->name);

    if (names)
        return names;
    if (x->written != y->written)
        return x->written < y->written ? -1 : 1;
    return x->newest - y->newest;
}

int store_list(Store *s, const char *prefix, bool versions, StoreItems *ret, Err *err)
{
    Tries t = tries_begin(s);
    StoreItems items = {0};
    int r;

    if (!s->driver->list)
        return cannot(s, "listed", err);
    do {
        store_items_clear(&items);
        r = s->driver->list(s, prefix, versions, &items, err);
    } while (tries_again(s, &t, r));
    if (r < 0) {
        store_items_clear(&items);
        return err_wrap(err, "listing %s", s->words);
    }
    if (items.len > 0)
        qsort(items.items, items.len, sizeof *items.items, by_name_and_age);
    *ret = items;
    return 0;
}

int store_expiries(Store *s, StoreItems *items, Err *err)
{
    Tries t = tries_begin(s);
    int r;

    if (!s->driver->expiries)
        return 0;
    do
        r = s->driver->expiries(s, items, err);
    while (tries_again(s, &t, r));
    return r < 0 ? err_wrap(err, "looking at the objects of %s", s->words) : 0;
}

int store_delete(Store *s, const StoreItem *item, Err *err)
{
    Tries t = tries_begin(s);
    int r;

    if (!s->driver->remove)
        return cannot(s, "removed from", err);
    do
        r = s->driver->remove(s, item, err);
    while (tries_again(s, &t, r));
    return r < 0 ? err_wrap(err, "removing %s from %s", item->name, s->words) : 0;
}
