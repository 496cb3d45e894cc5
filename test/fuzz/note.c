/* Lines that an auditor signed, as a catalogue's notes: each is taken or refused with words, and
 * what was taken is written as it was, and can be asked. The chain of them is made here, since no
 * input finds a hash: a line is what is in "body", and its kind.
 */
#include "backup/catalogue.h"
#include "fuzz.h"

typedef struct Auditor {
    KeyPair key;
    StrList believed;
} Auditor;

static const Auditor *auditor(void)
{
    static Auditor a;
    static const char seed[CRYPT_KEY_BYTES + 1] = "the auditor's, of 32 characters.";

    if (!a.key.secret) {
        crypt_init();
        _cleanup_secret_ Secret *s = secret_new(seed, CRYPT_KEY_BYTES);
        crypt_sign_keys_from(s, &a.key);
        strlist_add(&a.believed, a.key.public_b64);
    }
    return &a;
}

/* A line as it is, signed. */
static void read_line(Str line)
{
    _cleanup_(buf_clear) Buf text = BUF_INIT(NOTE_MAX), what = BUF_INIT(NOTE_MAX);
    _cleanup_(buf_clear) Buf back = BUF_INIT(NOTE_MAX);
    _cleanup_(note_clear) Note n = {0}, again = {0};
    _cleanup_(err_clear) Err err = {0};

    buf_str(&what, "atoll backup note\n");
    buf_add(&what, line.p, line.n);
    buf_add(&text, line.p, line.n);
    buf_char(&text, '\n');
    crypt_sign(&auditor()->key, buf_as_str(&what), &text);
    buf_char(&text, '\n');
    if (note_parse(buf_as_str(&text), &auditor()->believed, &n, &err) < 0) {
        BUG_IF(err.kind != ERR_CORRUPT || !err.text || n.kind);
        return;
    }
    note_write(&n, &auditor()->key, &back);
    BUG_IF(note_parse(buf_as_str(&back), &auditor()->believed, &again, &err) < 0);
    BUG_IF(again.at != n.at || again.number != n.number || !streq(again.kind, n.kind) ||
           !streq(again.prev, n.prev) || !json_equal(again.body, n.body));
}

/* The next note of a catalogue, of the line's kind and with its body. */
static void add_line(Catalogue *c, Str line)
{
    _cleanup_json_ json_t *j = json_parse_new(line.p, line.n, NULL);
    const char *kind = json_str(j, "kind");
    json_t *body = json_object_get(j, "body");
    _cleanup_(err_clear) Err err = {0};

    if (!kind || !json_is_object(body))
        return;
    size_t notes = c->notes.len, objects = c->objects.len;
    _cleanup_(buf_clear) Buf text = BUF_INIT(NOTE_MAX);
    _cleanup_(note_clear) Note n = {.number = (int64_t)notes + 1, .at = 1764378000000};
    n.kind = xstrdup(kind);
    n.body = json_incref(body);
    if (notes > 0)
        memcpy(n.prev, vec_last(&c->notes)->hash, sizeof n.prev);
    note_write(&n, &auditor()->key, &text);
    int r = catalogue_add(c, &n, &err);
    BUG_IF(r < 0 ? c->notes.len != notes || !err.text : c->notes.len != notes + 1);
    /* A refused one adds nothing; settling may only have put objects together. */
    BUG_IF(r < 0 && c->objects.len > objects);
}

static void check_catalogue(const Catalogue *c)
{
    for (size_t i = 0; i < c->objects.len; i++) {
        const Seen *s = &c->objects.items[i];
        BUG_IF(i > 0 && strcmp(c->objects.items[i - 1].name, s->name) >= 0);
        BUG_IF(catalogue_find(c, s->name) != s);
        BUG_IF(s->note < 0 || s->note > (int64_t)c->notes.len);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Str all = {size ? (const char *)data : "", size}, line;
    _cleanup_(catalogue_clear) Catalogue c = {0};
    StoreItem item = {.name =
                          xstrdup("host/wal/00000001/history-0123456789abcdef0123456789abcdef")};
    StoreItems listing = {0};

    vec_push(&listing, item);
    for (size_t lines = 0; lines < 64 && str_next(&all, '\n', &line); lines++) {
        read_line(line);
        add_line(&c, line);
    }
    catalogue_settle(&c);
    check_catalogue(&c);
    catalogue_join(&c, &listing);
    check_catalogue(&c);
    BUG_IF(!catalogue_find(&c, item.name) || catalogue_find(&c, item.name)->gone);
    free(item.name);
    vec_clear(&listing);
    return 0;
}
