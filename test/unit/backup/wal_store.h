/* A folder with real pieces of log in it, and the catalogue that says so. */
#pragma once
#include "io/file.h"
#include "wal_rows.h"

#include <unistd.h>

#define SEGMENT ((uint32_t)1 << 20)
#define SYSTEM "7000000000000000001"

typedef struct WalStore {
    char folder[64];
    Store *store;
    KeyPair reader, host;
    const char *recipients[2];
    ObjectSeal seal;
    Catalogue catalogue;
} WalStore;

static void wal_store_make(WalStore *w)
{
    crypt_init();
    *w = (WalStore){.folder = "/tmp/atoll-wal-XXXXXX"};
    assert_non_null(mkdtemp(w->folder));
    assert_int_equal(
        store_folder(w->folder, true, &(StoreOptions){.patience_ms = 1}, &w->store, NULL), 0);
    crypt_box_keys(&w->reader);
    crypt_sign_keys(&w->host);
    w->recipients[0] = w->reader.public_b64;
    w->seal = (ObjectSeal){SYSTEM, w->recipients, &w->host};
    w->catalogue.system = xstrdup(SYSTEM);
    strlist_add(&w->catalogue.hosts, w->host.public_b64);
}

static void wal_store_free(WalStore *w)
{
    store_drop(w->store);
    keypair_clear(&w->reader);
    keypair_clear(&w->host);
    catalogue_clear(&w->catalogue);
    assert_int_equal(file_remove_tree(w->folder, NULL), 0);
}

/* What the log of a history has at a place: 8 bytes at a time, so that any stretch is known. */
static void log_bytes(unsigned history, Lsn start, Lsn end, Buf *ret)
{
    for (Lsn at = start; at < end; at++)
        buf_char(ret, (char)(1 + (at >> (8 * (at % 4)) & 0x3f) + history * 64));
}

static Buf piece_of(WalStore *w, Timeline tli, Lsn start, Lsn end, unsigned history, char **name)
{
    _cleanup_(buf_clear) Buf plain = BUF_INIT(SEGMENT * 8);
    Buf object = BUF_INIT(OBJECT_MAX);
    char s[LSN_TEXT_MAX], e[LSN_TEXT_MAX], hash[OBJECT_HASH_MAX];

    log_bytes(history, start, end, &plain);
    json_t *facts = json_make_new("{s:i, s:s, s:s, s:s, s:i, s:s}", "tli", (int)tli, "start",
                                  lsn_format(start, s), "end", lsn_format(end, e), "prev", "",
                                  "sent", 1, "run", "r");
    assert_int_equal(
        object_seal(&w->seal, OBJECT_WAL, buf_as_str(&plain), facts, &object, hash, NULL), 0);
    *name = name_wal_new(tli, start, end, hash);
    return object;
}

/* Stores it; the name is the catalogue's. */
static _unused_ const char *add_piece_as(WalStore *w, Timeline tli, Lsn start, Lsn end,
                                         unsigned history, int64_t note)
{
    char *name;
    _cleanup_(buf_clear) Buf object = piece_of(w, tli, start, end, history, &name);

    assert_int_equal(store_put(w->store, name, buf_as_str(&object), STORE_ANY, NULL), 0);
    vec_push(&w->catalogue.objects, (Seen){.name = name, .note = note});
    catalogue_sort(&w->catalogue);
    return name;
}

static _unused_ void add_history_as(WalStore *w, Timeline tli, const char *text, int64_t note)
{
    _cleanup_(buf_clear) Buf object = BUF_INIT(OBJECT_MAX);
    char hash[OBJECT_HASH_MAX];

    assert_int_equal(object_seal(&w->seal, OBJECT_HISTORY, str_of(text),
                                 json_make_new("{s:i}", "tli", (int)tli), &object, hash, NULL),
                     0);
    char *name = name_history_new(tli, hash);
    assert_int_equal(store_put(w->store, name, buf_as_str(&object), STORE_ANY, NULL), 0);
    vec_push(&w->catalogue.objects, (Seen){.name = name, .note = note});
    catalogue_sort(&w->catalogue);
}

static _unused_ void add_history(WalStore *w, Timeline tli, const char *text)
{
    add_history_as(w, tli, text, 1);
}

static _unused_ WalReader *reader_of(WalStore *w, const WalHistories *h, Timeline tli)
{
    return wal_reader_new(&(WalReaderOptions){.store = w->store,
                                              .catalogue = &w->catalogue,
                                              .reader = &w->reader,
                                              .segment_bytes = SEGMENT,
                                              .histories = h,
                                              .tli = tli});
}
