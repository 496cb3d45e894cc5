/* What a driver of a store is (store.h has what it is for). Names are checked and temporary errors
 * tried again above it: each function here makes one attempt.
 */
#pragma once
#include "backup/store.h"

typedef struct StoreShared StoreShared; /* of a store and its clones */

typedef struct StoreDriver {
    /* Required. */
    int (*put)(Store *s, const char *name, Str body, StorePut how, Err *err);
    Store *(*clone)(const Store *s);
    void (*free)(Store *s); /* the driver's own part */
    /* NULL: this store can't, ERR_DENIED. */
    int (*get)(Store *s, const char *name, const char *version, int64_t offset, int64_t size,
               Buf *ret, Err *err);
    int (*list)(Store *s, const char *prefix, bool versions, StoreItems *ret, Err *err);
    int (*remove)(Store *s, const StoreItem *item, Err *err);
    /* NULL: nothing expires by itself. */
    int (*expiries)(Store *s, StoreItems *items, Err *err);
    /* NULL: this machine's clock. */
    Msec (*now)(const Store *s);
    /* NULL: what store_words says. */
    const char *(*place)(const Store *s);
} StoreDriver;

/* A driver's own struct begins with it. */
struct Store {
    const StoreDriver *driver;
    StoreOptions options;
    char *words;         /* owned; store_words */
    StoreShared *shared; /* counted */
};
/* Fills in the head of a new store (takes `words`), or of a clone. */
void store_init(Store *s, const StoreDriver *driver, const StoreOptions *o, char *words);
void store_init_clone(Store *s, const Store *of);
/* A driver that made `n` requests says so. */
void store_count(Store *s, uint64_t n);
