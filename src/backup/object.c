#include "backup/object.h"

#include "io/zip.h"

#define MAGIC "ATOLLBK1"
#define HEAD_MAX ((size_t)16 << 20)
#define FRAME_MAX ((size_t)16 << 20)
#define SPLIT_BYTES ((size_t)1 << 20)

const char *const object_kinds[OBJECT_KINDS] = {
    [OBJECT_WAL] = "wal",
    [OBJECT_HISTORY] = "history",
    [OBJECT_PACK] = "pack",
    [OBJECT_BASE] = "base",
};

int object_frame(const Secret *data_key, uint32_t index, Str plain, int level, Buf *ret, Err *err)
{
    _cleanup_(buf_clear) Buf packed = BUF_INIT(FRAME_MAX + SPLIT_BYTES);

    BUG_IF(plain.n > FRAME_MAX);
    int r = zip_pack(plain, level, &packed, err);
    if (r < 0)
        return r;
    crypt_frame_seal(data_key, index, buf_as_str(&packed), ret);
    return ret->overflow ? err_set(err, ERR_BUG, "a frame is larger than its buffer") : 0;
}

int object_frame_open(const Secret *data_key, uint32_t index, Str stored, size_t plain, Buf *ret,
                      Err *err)
{
    _cleanup_(buf_clear) Buf packed = BUF_INIT(FRAME_MAX + SPLIT_BYTES);

    if (plain > FRAME_MAX)
        return err_set(err, ERR_CORRUPT, "a frame of %zu bytes", plain);
    if (!crypt_frame_open(data_key, index, stored, &packed))
        return err_set(err, ERR_CORRUPT, "frame %u is damaged", index);
    return zip_unpack(buf_as_str(&packed), plain, ret, err);
}

/* Writing */

static void hash_of(Str data, char ret[static OBJECT_HASH_MAX])
{
    _cleanup_(buf_clear) Buf hex = BUF_INIT(OBJECT_HASH_MAX);

    crypt_hash(CRYPT_SHA256, data, &hex);
    memcpy(ret, hex.p, OBJECT_HASH_MAX);
}

static void signed_text(const char *hash, Buf *ret)
{
    buf_printf(ret, "atoll backup object\n%s", hash);
}

static void add_le32(Buf *b, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        buf_char(b, (char)(value >> (8 * i)));
}

static json_t *frames_json_new(const ObjectFrames *frames)
{
    json_t *list = json_array();

    for (size_t i = 0; i < frames->len; i++)
        json_array_append_new(list, json_make_new("[i, i]", (int)frames->items[i].stored,
                                                  (int)frames->items[i].plain));
    return list;
}

int object_write(const ObjectSeal *seal, const ObjectParts *parts, json_t *facts, Buf *ret,
                 char ret_hash[static OBJECT_HASH_MAX], Err *err)
{
    _cleanup_json_ json_t *to = json_object(), *owned = facts;
    int r = crypt_seal_key(seal->recipients, parts->data_key, to, err);
    if (r < 0)
        return r;
    _cleanup_json_ json_t *head = json_make_new(
        "{s:s, s:s, s:O, s:o, s:O}", "kind", object_kinds[parts->kind], "system", seal->system,
        "to", to, "frames", frames_json_new(parts->frames), "facts", owned);
    _cleanup_free_ char *text = json_text_new(head);
    size_t start = ret->len, n = strlen(text);
    if (n > HEAD_MAX)
        return err_set(err, ERR_BUG, "an object's head of %zu bytes", n);

    buf_str(ret, MAGIC);
    add_le32(ret, (uint32_t)n);
    buf_str(ret, text);
    buf_add(ret, parts->stored.p, parts->stored.n);
    hash_of((Str){ret->p + start, ret->len - start}, ret_hash);
    _cleanup_(buf_clear) Buf what = BUF_INIT(BUF_MAX_LINE), b64 = BUF_INIT(BUF_MAX_LINE);
    signed_text(ret_hash, &what);
    crypt_sign(seal->signer, buf_as_str(&what), &b64);
    bool ok = crypt_unbase64(ret, buf_as_str(&b64));
    if (!ok || ret->overflow)
        return err_set(err, ERR_BUG, "an object is larger than %zu bytes", ret->max);
    return 0;
}

int object_seal(const ObjectSeal *seal, ObjectKind kind, Str plain, json_t *facts, Buf *ret,
                char ret_hash[static OBJECT_HASH_MAX], Err *err)
{
    enum { LEVEL = 1 }; /* beat lz4 in speed and ratio on pages and log (backup.md 6.5) */
    _cleanup_json_ json_t *owned = facts;
    _cleanup_secret_ Secret *key = crypt_random_new(CRYPT_KEY_BYTES);
    _cleanup_(buf_clear) Buf stored = BUF_INIT(OBJECT_MAX);
    ObjectFrames frames = {0};
    int r = 0;

    for (size_t at = 0; r == 0 && (at < plain.n || frames.len == 0);) {
        Str part = {plain.p + at, MIN(plain.n - at, SPLIT_BYTES)};
        size_t before = stored.len;
        r = object_frame(key, (uint32_t)frames.len, part, LEVEL, &stored, err);
        vec_push(&frames, (ObjectFrame){.stored = (uint32_t)(stored.len - before),
                                        .plain = (uint32_t)part.n});
        at += part.n;
    }
    if (r == 0) {
        ObjectParts parts = {kind, key, &frames, buf_as_str(&stored)};
        r = object_write(seal, &parts, json_incref(owned), ret, ret_hash, err);
    }
    vec_clear(&frames);
    return r;
}

/* Reading */

void object_head_clear(ObjectHead *h)
{
    json_decref(h->json);
    vec_clear(&h->frames);
    *h = (ObjectHead){0};
}

static uint32_t read_le32(const char *p)
{
    uint32_t value = 0;

    for (int i = 0; i < 4; i++)
        value |= (uint32_t)(unsigned char)p[i] << (8 * i);
    return value;
}

static bool read_kind(const char *word, ObjectKind *ret)
{
    for (int k = 0; word && k < OBJECT_KINDS; k++)
        if (streq(word, object_kinds[k])) {
            *ret = (ObjectKind)k;
            return true;
        }
    return false;
}

/* [[stored, plain], ...]; false if it is anything else, or too much. */
static bool read_frames(const json_t *list, ObjectHead *h)
{
    size_t i;
    const json_t *pair;

    if (!json_is_array(list))
        return false;
    json_array_foreach (list, i, pair) {
        json_int_t stored = json_integer_value(json_array_get(pair, 0));
        json_int_t plain = json_integer_value(json_array_get(pair, 1));
        if (json_array_size(pair) != 2 || stored < CRYPT_FRAME_BYTES ||
            stored > (json_int_t)OBJECT_MAX || plain < 0 || plain > (json_int_t)FRAME_MAX)
            return false;
        vec_push(&h->frames, (ObjectFrame){(uint32_t)stored, (uint32_t)plain});
        h->bytes += (size_t)stored;
        if (h->bytes > OBJECT_MAX)
            return false;
    }
    return true;
}

int object_head(Str start, size_t *ret_need, ObjectHead *ret, Err *err)
{
    *ret_need = 0;
    if (memcmp(start.p, MAGIC, MIN(start.n, strlen(MAGIC))) != 0)
        return err_set(err, ERR_CORRUPT, "not an object of a backup");
    if (start.n < OBJECT_PREFIX_BYTES) {
        *ret_need = OBJECT_PREFIX_BYTES;
        return 0;
    }
    size_t n = read_le32(start.p + strlen(MAGIC));
    if (n > HEAD_MAX)
        return err_set(err, ERR_CORRUPT, "an object's head of %zu bytes", n);
    if (start.n < OBJECT_PREFIX_BYTES + n) {
        *ret_need = OBJECT_PREFIX_BYTES + n;
        return 0;
    }
    _cleanup_(object_head_clear) ObjectHead h = {.frames_at = OBJECT_PREFIX_BYTES + n};
    h.json = json_parse_new(start.p + OBJECT_PREFIX_BYTES, n, err);
    if (!h.json)
        return err_wrap(err, "reading an object's head");
    h.bytes = h.frames_at + CRYPT_SIGNATURE_BYTES;
    h.facts = json_at(h.json, "facts");
    h.system = json_str(h.json, "system");
    if (!read_kind(json_str(h.json, "kind"), &h.kind) || !h.system || !json_is_object(h.facts) ||
        !read_frames(json_at(h.json, "frames"), &h))
        return err_set(err, ERR_CORRUPT, "an object's head is not what it has to be");
    *ret = h;
    h = (ObjectHead){0};
    return 0;
}

int object_head_whole(Str whole, ObjectHead *ret, Err *err)
{
    size_t need;
    int r = object_head(whole, &need, ret, err);

    if (r < 0)
        return r;
    if (need > 0)
        return err_set(err, ERR_CORRUPT, "an object is cut short at %zu bytes", whole.n);
    if (ret->bytes != whole.n)
        return err_set(err, ERR_CORRUPT, "an object has %zu bytes, not %zu", whole.n, ret->bytes);
    return 0;
}

int object_check(Str whole, const StrList *signers, char ret_hash[static OBJECT_HASH_MAX], Err *err)
{
    _cleanup_(object_head_clear) ObjectHead h = {0};
    int r = object_head_whole(whole, &h, err);
    if (r < 0)
        return r;
    size_t n = whole.n - CRYPT_SIGNATURE_BYTES;
    char hash[OBJECT_HASH_MAX];
    hash_of((Str){whole.p, n}, hash);
    _cleanup_(buf_clear) Buf what = BUF_INIT(BUF_MAX_LINE), b64 = BUF_INIT(BUF_MAX_LINE);
    signed_text(hash, &what);
    crypt_base64(&b64, whole.p + n, CRYPT_SIGNATURE_BYTES);
    for (size_t i = 0; i < signers->len; i++)
        if (crypt_verify(signers->items[i], buf_as_str(&what), buf_as_str(&b64))) {
            memcpy(ret_hash, hash, sizeof hash);
            return 0;
        }
    memcpy(ret_hash, hash, sizeof hash);
    return err_set(err, ERR_DENIED, "an object is signed by no key that is known");
}

bool object_is_bad(int r)
{
    return r == -ERR_CORRUPT || r == -ERR_DENIED || r == -ERR_NOT_FOUND;
}

int object_key(const ObjectHead *h, const KeyPair *recipient, Secret **ret, Err *err)
{
    return crypt_open_key(recipient, json_at(h->json, "to"), ret, err);
}

int object_open(Str whole, const KeyPair *recipient, Buf *ret, Err *err)
{
    _cleanup_(object_head_clear) ObjectHead h = {0};
    _cleanup_secret_ Secret *key = NULL;
    int r = object_head_whole(whole, &h, err);
    if (r == 0)
        r = object_key(&h, recipient, &key, err);
    size_t at = h.frames_at;
    for (size_t i = 0; r == 0 && i < h.frames.len; i++) {
        const ObjectFrame *f = &h.frames.items[i];
        r = object_frame_open(key, (uint32_t)i, (Str){whole.p + at, f->stored}, f->plain, ret, err);
        at += f->stored;
    }
    return r;
}
