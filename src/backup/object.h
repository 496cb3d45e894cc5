/* The one form of everything that the database's side writes into a store: pieces of WAL, packs of
 * pages, backups' manifests. What it protects: only holders of a recipient's secret key read it; a
 * byte that was changed, an object cut short or put under another's name is noticed by anybody with
 * the public signing key, without any secret.
 *
 *     8 bytes   "ATOLLBK1"
 *     4 bytes   length of the head, little-endian, at most 16 MiB
 *     head      JSON, one line, keys sorted: {"kind":"wal", "system":"7321...", "to":{"<X25519
 * public key>":"<data key sealed to it, crypto_box_seal>"}, "frames":[[stored, plain], ...],
 *               "facts":{...}}
 *     frames    each zstd of the plain bytes, then XChaCha20-Poly1305 under the data key, with its
 *               index as nonce (a data key serves one object): 16 bytes longer
 *     64 bytes  Ed25519 signature of "atoll backup object\n" and the SHA-256, in hex, of all that
 * is before it
 *
 * The head tells the lengths, so objects that stand one behind another can be parted again, and one
 * frame can be read by a range. The SHA-256 is the object's identity: its first 32 hex digits end
 * its name, the whole of it stands in manifests and catalogue. Limits: 64 MiB an object, 16 MiB a
 * frame's plain bytes, 8 recipients.
 */
#pragma once
#include "base/json.h"
#include "base/vec.h"
#include "io/crypt.h"

#define OBJECT_MAX ((size_t)64 << 20)
#define OBJECT_HASH_MAX 65     /* SHA-256 in hex and its end */
#define OBJECT_PREFIX_BYTES 12 /* magic and length */

typedef enum ObjectKind {
    OBJECT_WAL,     /* facts: tli, start, end (LSNs as text), prev (identity of the piece before, or
                       ""), */
                    /* sent (server's time in ms), run (random, of one process) */
    OBJECT_HISTORY, /* facts: tli. One frame: the timeline's history file */
    OBJECT_PACK,    /* facts: run, number */
    OBJECT_BASE,    /* facts: see base.h */
    OBJECT_KINDS
} ObjectKind;
extern const char *const object_kinds[OBJECT_KINDS];

/* Who writes. Borrowed by every writer. */
typedef struct ObjectSeal {
    const char *system;            /* cluster's system identifier, decimal */
    const char *const *recipients; /* NULL-ended public keys */
    const KeyPair *signer;
} ObjectSeal;

/* One frame: compressed and encrypted, appended to *ret. Pure, for any thread. */
int object_frame(const Secret *data_key, uint32_t index, Str plain, int level, Buf *ret,
                 Err *err) _must_check_;

typedef struct ObjectFrame {
    uint32_t stored, plain; /* bytes */
} ObjectFrame;
typedef VEC(ObjectFrame) ObjectFrames;
/* The whole object from frames that are ready: appended to *ret, its identity into `ret_hash`.
 * Takes `facts`. */
typedef struct ObjectParts {
    ObjectKind kind;
    const Secret *data_key;
    const ObjectFrames *frames;
    Str stored; /* the frames, one behind another */
} ObjectParts;
int object_write(const ObjectSeal *seal, const ObjectParts *parts, json_t *facts, Buf *ret,
                 char ret_hash[static OBJECT_HASH_MAX], Err *err) _must_check_;
/* In one go, from one or more plain texts of up to 1 MiB each. Takes `facts`. */
int object_seal(const ObjectSeal *seal, ObjectKind kind, Str plain, json_t *facts, Buf *ret,
                char ret_hash[static OBJECT_HASH_MAX], Err *err) _must_check_;

/* What a head says. `frames_at` is the offset of the first frame, `bytes` the whole object's size.
 */
typedef struct ObjectHead {
    ObjectKind kind;
    json_t *json; /* owned; "facts" in it */
    const json_t *facts;
    const char *system;
    ObjectFrames frames;
    size_t frames_at, bytes;
} ObjectHead;
void object_head_clear(ObjectHead *h);
DEFINE_CLEAR(ObjectHead, object_head_clear)
/* From an object's first bytes. *ret_need > 0 (and 0 returned, *ret untouched): so many bytes are
 * needed to tell. ERR_CORRUPT. */
int object_head(Str start, size_t *ret_need, ObjectHead *ret, Err *err) _must_check_;
/* The same of an object that is there as a whole, and nothing behind it. */
int object_head_whole(Str whole, ObjectHead *ret, Err *err) _must_check_;
/* Checks a whole object: length, signature by one of the keys. Its identity into `ret_hash`.
 * ERR_CORRUPT; ERR_DENIED when it is whole but signed by nobody of these. */
int object_check(Str whole, const StrList *signers, char ret_hash[static OBJECT_HASH_MAX],
                 Err *err) _must_check_;
/* Of what fetching or opening returned: is it the object's fault, not the store's or ours, so that
 * another version or another object may do? */
bool object_is_bad(int r);
/* The data key, with a recipient's key pair. ERR_DENIED if it is not sealed to it. */
int object_key(const ObjectHead *h, const KeyPair *recipient, Secret **ret, Err *err) _must_check_;
/* A frame's plain bytes, appended. ERR_CORRUPT. */
int object_frame_open(const Secret *data_key, uint32_t index, Str stored, size_t plain, Buf *ret,
                      Err *err) _must_check_;
/* All frames of a whole, checked object. */
int object_open(Str whole, const KeyPair *recipient, Buf *ret, Err *err) _must_check_;
