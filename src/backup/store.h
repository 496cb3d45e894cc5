/* Where a backup is kept: named objects, written once, read by ranges, listed by prefix.
 *
 * Three drivers (style.md 10): a plain folder (a test, a USB disk), a Swift container by a login
 * (the operator's side and `control`), and a Swift container by PUT-only prefix TempURLs (the
 * database's side: it can put, and nothing else: all other functions answer ERR_DENIED). What is
 * written is whole or not there at all.
 *
 * Names are [A-Za-z0-9._/-], at most 200 bytes, none of their parts "." or "..".
 *
 * Thread: a Store belongs to one thread; store_clone gives another one for another thread.
 * Retries: temporary errors are tried again inside, within the budget of the options, with jitter;
 * a put is safe to repeat since its bytes are the same and its name says their hash. With Swift an
 * ETag (MD5) goes with each put, so a damaged transfer is refused (422).
 */
#pragma once
#include "base/buf.h"
#include "base/err.h"
#include "base/time.h"
#include "base/vec.h"
#include "cloud/cloud.h"
#include <signal.h>

typedef struct Store Store;

typedef struct StoreOptions {
    const volatile sig_atomic_t *stop; /* or NULL */
    Msec patience_ms; /* of one call, repetitions included; 0: 60 s. -1: for as long as it takes */
    uint64_t seed;    /* of the jitter */
} StoreOptions;

/* The folder is made if `make`. ERR_NOT_FOUND, ERR_IO. */
int store_folder(const char *path, bool make, const StoreOptions *o, Store **ret,
                 Err *err) _must_check_;
/* Below `prefix` ("" or "name/") of a container. Takes `cloud`'s configuration, not the object:
 * each clone logs in by itself (with the token cache). */
typedef struct StoreSwift {
    const CloudConfig *config; /* borrowed, copied */
    const char *cache_dir;     /* or NULL */
    const char *container, *prefix;
} StoreSwift;
int store_swift(const StoreSwift *s, const StoreOptions *o, Store **ret, Err *err) _must_check_;
/* `file`: one PUT prefix TempURL a line, "<not before, RFC 3339> <URL>"; the newest that has begun
 * is used. Read again when a put is refused (401) or the file has changed, so that new URLs are
 * taken without a restart. A URL never stands in an error's text. */
int store_urls(const char *file, const StoreOptions *o, Store **ret, Err *err) _must_check_;
Store *store_clone(const Store *s);
Store *store_free(Store *s);
static inline void store_drop(Store *s)
{
    (void)store_free(s);
}
DEFINE_CLEANUP(Store *, store_drop)
/* For messages: "folder /mnt/usb", "container reef-backup of catalyst". Borrowed. */
const char *store_words(const Store *s);
/* Which store it is: the same text for the same folder or container, another for another one. No
 * secret. Borrowed, until the next put. */
const char *store_place(const Store *s);

/* How a put is meant. */
typedef enum StorePut {
    STORE_ANY, /* over what is there, if anything: for names that say their content */
    STORE_NEW, /* ERR_CONFLICT if the name is there */
} StorePut;
/* When it returns 0 the object is durable (fsync of file and folder; Swift's 201). ERR_QUOTA (also:
 * no space left), ERR_AUTH (URLs ended), ERR_DENIED, ERR_TEMPORARY after the patience. */
int store_put(Store *s, const char *name, Str body, StorePut how, Err *err) _must_check_;
/* The whole object or `size` bytes from `offset` (size 0: to its end), appended to *ret, whose cap
 * is the caller's. ERR_NOT_FOUND. A shorter answer than asked for is ERR_CORRUPT. */
int store_get(Store *s, const char *name, int64_t offset, int64_t size, Buf *ret,
              Err *err) _must_check_;

/* One object, or one version of it. */
typedef struct StoreItem {
    char *name;    /* owned; without the store's own prefix */
    char *version; /* owned; NULL where the store has no versions */
    char *etag;    /* owned; MD5 in hex; NULL where the store tells none */
    int64_t bytes;
    Msec written; /* by the store's clock, never the writer's */
    bool newest;  /* what a plain get would give */
    bool expires; /* the store will remove it by itself (X-Delete-At); only after store_expiries */
} StoreItem;
typedef VEC(StoreItem) StoreItems;
void store_items_clear(StoreItems *l);
DEFINE_CLEAR(StoreItems, store_items_clear)
/* All below a prefix, by name, then oldest version first. An incomplete listing is an error, never
 * a shorter list. `versions`: also what was overwritten (a store without versions: the same as
 * without).
 */
int store_list(Store *s, const char *prefix, bool versions, StoreItems *ret, Err *err) _must_check_;
/* Fills in `expires` of the newest versions: a HEAD each, many at once. */
int store_expiries(Store *s, StoreItems *items, Err *err) _must_check_;
/* One version of an object (of store_list). */
int store_get_version(Store *s, const StoreItem *item, int64_t offset, int64_t size, Buf *ret,
                      Err *err) _must_check_;
/* Removes one version for good; without versions the object. Not there: 0. */
int store_delete(Store *s, const StoreItem *item, Err *err) _must_check_;
/* The store's own clock (Date of its last answer), else this machine's. */
Msec store_now(const Store *s);
/* Requests made so far by this store and its clones. */
uint64_t store_requests(const Store *s);
