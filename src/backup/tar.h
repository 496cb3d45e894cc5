/* Reads tar as PostgreSQL's BASE_BACKUP writes it, fed piece by piece: nothing is ever held but one
 * header of 512 bytes.
 *
 * The form is POSIX ustar (IEEE 1003.1, "pax", ustar Interchange Format) in the part that
 * PostgreSQL uses (src/port/tar.c, tarCreateHeader): files, folders and symbolic links, names of at
 * most 99 bytes, numbers in octal or, where they are too large for that, in base 256 (first byte
 * 0x80). A header whose checksum is wrong, another type, a name that leaves the folder ("/", "..")
 * are ERR_CORRUPT. The archive ends with a block of zeros (15 and later), or with the input (before
 * 15 there is none).
 *
 *     Tar t = {0};
 *     while (more input) {
 *         Str in = ...;
 *         for (;;) {
 *             r = tar_next(&t, &in, &event, &data, err);
 *             if (event == TAR_MORE) break;
 *             ...
 *
 * A Tar owns nothing: it needs no end, but tar_finish tells whether the input ended in the middle.
 */
#pragma once
#include "base/buf.h"
#include "base/err.h"

#define TAR_BLOCK 512
#define TAR_NAME_MAX 257 /* prefix, '/', name and the end */

typedef enum TarKind { TAR_FILE, TAR_DIR, TAR_LINK } TarKind;
typedef struct TarEntry {
    TarKind kind;
    char path[TAR_NAME_MAX]; /* without a leading "./" and without a '/' at its end */
    char target[101];        /* TAR_LINK */
    unsigned mode;           /* permission bits */
    int64_t size;            /* bytes; 0 but for files */
    int64_t mtime;           /* seconds since the epoch */
} TarEntry;

typedef enum TarEvent {
    TAR_MORE,  /* all of the input was used */
    TAR_ENTRY, /* `entry` is new */
    TAR_DATA,  /* *ret_data: some of its bytes, borrowed from the input */
    TAR_DONE,  /* the entry's last byte was given; for each entry */
    TAR_END    /* the archive's end; what follows in the input is dropped */
} TarEvent;

typedef struct Tar {
    TarEntry entry;
    uint8_t block[TAR_BLOCK];
    size_t have;          /* bytes of `block` */
    int64_t left;         /* of the entry's data */
    size_t padding;       /* to be skipped behind it */
    bool in_entry, ended; /* between TAR_ENTRY and TAR_DONE; after TAR_END */
} Tar;

/* Takes what it uses from *input. ERR_CORRUPT. */
int tar_next(Tar *t, Str *input, TarEvent *ret, Str *ret_data, Err *err) _must_check_;
/* At the input's end: ERR_CORRUPT if that is in the middle of something. */
int tar_finish(const Tar *t, Err *err) _must_check_;
