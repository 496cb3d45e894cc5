/* A note as text. */
#include "backup/catalogue.h"

#define NOTE_PURPOSE "atoll backup note\n"

void note_clear(Note *n)
{
    free(n->kind);
    json_decref(n->body);
    *n = (Note){0};
}

static void hash_of(Str line, char ret[static OBJECT_HASH_MAX])
{
    _cleanup_(buf_clear) Buf hex = BUF_INIT(BUF_MAX_LINE);

    crypt_hash(CRYPT_SHA256, line, &hex);
    memcpy(ret, hex.p, OBJECT_HASH_MAX);
}

/* What is signed; to be cleared. */
static Buf signed_text(Str line)
{
    Buf b = BUF_INIT(BUF_MAX_BODY);

    buf_str(&b, NOTE_PURPOSE);
    buf_add(&b, line.p, line.n);
    return b;
}

void note_write(Note *n, const KeyPair *auditor, Buf *ret)
{
    char at[TIME_TEXT_MAX];
    _cleanup_json_ json_t *j = json_make_new(
        "{s:s, s:O, s:s, s:I, s:s, s:i}", "at", time_format(n->at, true, at), "body", n->body,
        "kind", n->kind, "number", (json_int_t)n->number, "prev", n->prev, "v", 1);
    _cleanup_free_ char *line = json_text_new(j);
    _cleanup_(buf_clear) Buf text = signed_text(str_of(line));

    hash_of(str_of(line), n->hash);
    buf_printf(ret, "%s\n", line);
    crypt_sign(auditor, buf_as_str(&text), ret);
    buf_char(ret, '\n');
}

static bool is_signed(Str line, Str signature, const StrList *auditors)
{
    _cleanup_(buf_clear) Buf text = signed_text(line);

    for (size_t i = 0; i < auditors->len; i++)
        if (crypt_verify(auditors->items[i], buf_as_str(&text), signature))
            return true;
    return false;
}

static int take(const json_t *j, Note *ret, Err *err)
{
    const char *kind = json_str(j, "kind"), *at = json_str(j, "at"), *prev = json_str(j, "prev");
    const json_t *body = json_object_get(j, "body");
    Note n = {.number = json_int(j, "number", 0)};

    if (json_int(j, "v", 0) != 1)
        return err_set(err, ERR_CORRUPT, "it is of another version of atoll");
    if (!kind || !at || !prev || !json_is_object(body) || n.number < 1 ||
        strlen(prev) >= sizeof n.prev || !time_parse(at, &n.at))
        return err_set(err, ERR_CORRUPT, "it is signed, and no note");
    memcpy(n.prev, prev, strlen(prev) + 1);
    memcpy(n.hash, ret->hash, sizeof n.hash);
    n.kind = xstrdup(kind);
    n.body = json_incref((json_t *)(uintptr_t)body);
    *ret = n;
    return 0;
}

int note_parse(Str text, const StrList *auditors, Note *ret, Err *err)
{
    Str line = {0}, signature = {0};
    Note n = {0};

    if (!str_next(&text, '\n', &line) || !str_next(&text, '\n', &signature) || text.n > 0)
        return err_set(err, ERR_CORRUPT, "it is not two lines");
    if (!is_signed(line, signature, auditors))
        return err_set(err, ERR_CORRUPT, "no auditor that is believed has signed it");
    _cleanup_json_ json_t *j = json_parse_new(line.p, line.n, err);
    if (!j)
        return -ERR_CORRUPT;
    hash_of(line, n.hash);
    int r = take(j, &n, err);
    if (r == 0)
        *ret = n;
    return r;
}

bool note_claims(Str text, int64_t number, const char *prev)
{
    Str line = {0};

    if (!str_next(&text, '\n', &line))
        return false;
    _cleanup_json_ json_t *j = json_parse_new(line.p, line.n, NULL);
    return j && json_int(j, "number", 0) == number && streq(json_str(j, "prev"), prev);
}
