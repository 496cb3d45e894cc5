/* A kit: what a machine that holds no key and no login needs for one restore, and for nothing else.
 *
 * An island's database is restored on its own server, which may never read backups. So whoever may
 * (the operator's side) chooses the backup and the moment, and puts together which objects lead
 * there. For each of them the kit has what the catalogue says of it, an address that gets that one
 * object for a day, and its data key, sealed to the key of this one restore (crypt_grant). The
 * server fetches, checks and decrypts as any restore does (restore.h). It learns nothing but what
 * it is about to have in the clear; the key that reads backups stays where it is, and the data
 * takes the short way.
 *
 * What it costs: the head of each object is read when the kit is made, many at once. A day of a
 * busy database's log is some ten thousand.
 *
 * Of an object that somebody has written over, an address reads the last version only: then the
 * restore ends with that object's name, and `atoll restore --to`, which reads the versions, is the
 * way. Limits: 1,000,000 objects, KIT_MAX bytes.
 */
#pragma once
#include "backup/restore.h"

#define KIT_MAX ((size_t)1 << 30)

typedef struct KitAsk {
    Store *store;
    const Catalogue *catalogue;
    const KeyPair *reader;
    const Choice *choice;
    const WalHistories *histories;
    Target target;
    const char *recipient; /* public key of whoever restores */
    /* An address that gets the object; to be freed. */
    int (*url)(void *user, const char *name, char **ret, Err *err);
    void *user;
    const volatile sig_atomic_t *stop;
} KitAsk;
/* Sealed, appended. *ret_objects: how many it reaches. The store's errors; ERR_DENIED for an object
 * that is not sealed to the reader; ERR_CORRUPT for one that is not what its name says. */
int kit_make(const KitAsk *ask, Buf *ret, size_t *ret_objects, Err *err) _must_check_;

/* Opened: all that restore_run wants beside the machine's own. Must not be moved. */
typedef struct Kit {
    Catalogue catalogue;
    WalHistories histories;
    Base base;
    Choice choice; /* of `base` */
    Target target;
    KeyPair reader;
    Store *store;
    json_t *json;
} Kit;
void kit_clear(Kit *k);
DEFINE_CLEAR(Kit, kit_clear)
/* Takes key's parts. ERR_DENIED: it is of another restore; ERR_CORRUPT. */
int kit_open(Str sealed, KeyPair *key, const StoreOptions *o, Kit *ret, Err *err) _must_check_;

/* Inside: a store of which `urls`, {name: address}, can be read, and nothing else. Borrows it, for
 * clones too. ERR_AUTH when the addresses have ended. */
int store_kit(const json_t *urls, const StoreOptions *o, Store **ret, Err *err) _must_check_;
