/* Any bytes as a backup's object: as they are; as a head and frames that the host signed, which is
 * what a thief of the host can send; and as what is inside of a frame.
 */
#include "backup/object.h"
#include "fuzz.h"

#define PLAIN_MAX ((size_t)32 << 20)

typedef struct Keys {
    KeyPair host, reader;
    Secret *data;
} Keys;

/* The same keys each time, so that an input does the same each time. */
static Keys *keys(void)
{
    static Keys k;
    static const char host[CRYPT_KEY_BYTES + 1] = "the host's key, of 32 characters";
    static const char reader[CRYPT_KEY_BYTES + 1] = "a reader's key of 32 characters.";
    static const char data[CRYPT_KEY_BYTES + 1] = "the data key, 32 characters long";

    if (k.data)
        return &k;
    crypt_init();
    _cleanup_secret_ Secret *seed = secret_new(host, CRYPT_KEY_BYTES);
    _cleanup_secret_ Secret *box = secret_new(reader, CRYPT_KEY_BYTES);
    crypt_sign_keys_from(seed, &k.host);
    BUG_IF(crypt_box_public(box, &k.reader, NULL) < 0);
    k.data = secret_new(data, CRYPT_KEY_BYTES);
    return &k;
}

/* A head is told the same by its first bytes as by the whole, or it asks for more of them. */
static void read_head(Str object)
{
    size_t need = 0, last = 0;

    for (;;) {
        _cleanup_(object_head_clear) ObjectHead h = {0};
        _cleanup_(err_clear) Err err = {0};
        int r = object_head((Str){object.p, MIN(last, object.n)}, &need, &h, &err);
        BUG_IF(r < 0 && (!err.text || h.json));
        if (r < 0 || need == 0) {
            BUG_IF(r == 0 && (h.frames_at > last || h.bytes < h.frames_at || !h.system ||
                              h.bytes > OBJECT_MAX + (2 << 20)));
            return;
        }
        if (last >= object.n && last > 0)
            return;
        BUG_IF(need <= last || h.json);
        last = need;
    }
}

static void read_whole(Str object)
{
    char hash[OBJECT_HASH_MAX];
    const StrList signers = {.items = &keys()->host.public_b64, .len = 1};
    _cleanup_(buf_clear) Buf plain = BUF_INIT(PLAIN_MAX);

    read_head(object);
    int r = object_check(object, &signers, hash, NULL);
    BUG_IF(r < 0 && r != -ERR_CORRUPT && r != -ERR_DENIED);
    int opened = object_open(object, &keys()->reader, &plain, NULL);
    /* Opened means that its length is right, which the check says too. */
    BUG_IF(opened == 0 && r == -ERR_CORRUPT);
}

/* The input up to its first line end is the head, the rest are frames. */
static void read_signed(Str input)
{
    const char *end = input.n ? memchr(input.p, '\n', input.n) : NULL;
    size_t n = end ? (size_t)(end - input.p) : input.n;
    _cleanup_(buf_clear) Buf object = BUF_INIT(OBJECT_MAX), hex = BUF_INIT(OBJECT_HASH_MAX);
    _cleanup_(buf_clear) Buf what = BUF_INIT(BUF_MAX_LINE), b64 = BUF_INIT(BUF_MAX_LINE);

    buf_str(&object, "ATOLLBK1");
    for (int i = 0; i < 4; i++)
        buf_char(&object, (char)(n >> (8 * i)));
    buf_add(&object, input.p, n);
    if (end)
        buf_add(&object, end + 1, input.n - n - 1);
    crypt_hash(CRYPT_SHA256, buf_as_str(&object), &hex);
    buf_printf(&what, "atoll backup object\n%s", hex.p);
    crypt_sign(&keys()->host, buf_as_str(&what), &b64);
    BUG_IF(!crypt_unbase64(&object, buf_as_str(&b64)));
    read_whole(buf_as_str(&object));

    const StrList signers = {.items = &keys()->host.public_b64, .len = 1};
    char hash[OBJECT_HASH_MAX];
    int r = object_check(buf_as_str(&object), &signers, hash, NULL);
    BUG_IF(r == -ERR_DENIED || (r == 0 && !streq(hash, hex.p)));
}

/* What a key holder wrote into a frame: the first three bytes say how long it claims to be. */
static void read_frame(Str input)
{
    size_t plain = 0;

    for (size_t i = 0; i < MIN(input.n, (size_t)3); i++)
        plain |= (size_t)(uint8_t)input.p[i] << (8 * i);
    _cleanup_(buf_clear) Buf sealed = BUF_INIT(OBJECT_MAX), out = BUF_INIT(PLAIN_MAX);
    _cleanup_(buf_clear) Buf again = BUF_INIT(OBJECT_MAX), back = BUF_INIT(PLAIN_MAX);
    size_t skip = MIN(input.n, (size_t)3);
    Str packed = {input.p + skip, input.n - skip};
    crypt_frame_seal(keys()->data, 7, packed, &sealed);
    int r = object_frame_open(keys()->data, 7, buf_as_str(&sealed), plain, &out, NULL);
    BUG_IF(r == 0 ? out.len != plain : r != -ERR_CORRUPT || out.len > 0);
    BUG_IF(object_frame_open(keys()->data, 8, buf_as_str(&sealed), plain, &out, NULL) == 0);

    /* And the way back, for what is small. */
    if (input.n > 4096)
        return;
    BUG_IF(object_frame(keys()->data, 9, input, 1, &again, NULL) < 0 ||
           object_frame_open(keys()->data, 9, buf_as_str(&again), input.n, &back, NULL) < 0 ||
           !str_eq(buf_as_str(&back), input));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Str input = {size ? (const char *)data : "", size};

    read_whole(input);
    read_signed(input);
    read_frame(input);
    return 0;
}
