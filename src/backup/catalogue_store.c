/* The catalogue in its store: loading, writing the next note, and objects by their names. */
#include "backup/catalogue.h"

int catalogue_refresh(Store *s, const StrList *auditors, Catalogue *c, Err *err)
{
    StoreItems listing = {0};
    int r = store_list(s, "", true, &listing, err);

    if (!c->system)
        c->system = xstrdup("");
    if (r == 0)
        r = catalogue_read(s, auditors, &listing, c, err);
    if (r == 0)
        catalogue_join(c, &listing);
    store_items_clear(&listing);
    return r;
}

int catalogue_load(Store *s, const StrList *auditors, Catalogue *ret, Err *err)
{
    Catalogue c = {0};
    int r = catalogue_refresh(s, auditors, &c, err);

    if (r < 0) {
        catalogue_clear(&c);
        return r;
    }
    *ret = c;
    return 0;
}

/* Writing the next one */

/* Two who write one note at the same moment may both be told that it was new; the store's first
 * version decides, behind `strays` of them that are no notes. */
static int was_first(Store *s, const char *name, size_t strays, Str text, Err *err)
{
    StoreItems l = {0};
    _cleanup_(buf_clear) Buf md5 = BUF_INIT(BUF_MAX_LINE);
    int r = store_list(s, name, true, &l, err);

    crypt_hash(CRYPT_MD5, text, &md5);
    if (r == 0 && l.len > strays + 1 && l.items[strays].etag && !streq(l.items[strays].etag, md5.p))
        r = err_set(err, ERR_CONFLICT, "another auditor wrote %s in the same moment", name);
    store_items_clear(&l);
    return r;
}

int catalogue_note(Store *s, Catalogue *c, const KeyPair *auditor, const char *kind, json_t *body,
                   Err *err)
{
    _cleanup_(note_clear) Note n = {.number = (int64_t)c->notes.len + 1,
                                    .kind = xstrdup(kind),
                                    .at = store_now(s),
                                    .body = body};
    _cleanup_free_ char *name = name_note_new(n.number);
    _cleanup_(buf_clear) Buf text = BUF_INIT(NOTE_MAX);

    if (c->notes.len)
        memcpy(n.prev, vec_last(&c->notes)->hash, sizeof n.prev);
    note_write(&n, auditor, &text);
    if (text.overflow)
        return err_set(err, ERR_BUG, "a note of more than %zu bytes", (size_t)NOTE_MAX);
    const Stray *over = catalogue_stray(c, name);
    int r = store_put(s, name, buf_as_str(&text), over ? STORE_ANY : STORE_NEW, err);
    if (r == 0)
        r = was_first(s, name, over ? over->versions : 0, buf_as_str(&text), err);
    if (r == -ERR_CONFLICT)
        return err_hint(err, "another `atoll backup audit` works on this repository");
    if (r == 0)
        r = catalogue_add(c, &n, err);
    catalogue_settle(c);
    return r;
}

/* Objects by their names */

/* Are these the bytes that the name says, and signed by a host? */
static int is_right(const Name *n, Str bytes, const StrList *hosts, Err *err)
{
    char hash[OBJECT_HASH_MAX];
    int r = object_check(bytes, hosts, hash, err);

    if (r == 0 && strncmp(hash, n->identity, strlen(n->identity)) != 0)
        r = err_set(err, ERR_CORRUPT, "its bytes are not those that its name says");
    return r;
}

static int fetch_older(Store *s, const StrList *hosts, const char *name, Buf *ret, Err *err)
{
    StoreItems l = {0};
    Name n = name_parse(name);
    size_t before = ret->len;
    int r = store_list(s, name, true, &l, err), last = -ERR_NOT_FOUND;

    for (size_t i = 0; r == 0 && last < 0 && i < l.len; i++) {
        _cleanup_(err_clear) Err own = {0};
        if (!streq(l.items[i].name, name))
            continue;
        buf_truncate(ret, before);
        last = store_get_version(s, &l.items[i], 0, 0, ret, &own);
        if (last == 0)
            last = is_right(&n, (Str){ret->p + before, ret->len - before}, hosts, &own);
        if (last < 0 && !object_is_bad(last))
            r = err_move(err, &own);
    }
    store_items_clear(&l);
    return r < 0 ? r : last;
}

int catalogue_fetch(Store *s, const StrList *hosts, const char *name, Buf *ret, Err *err)
{
    Name n = name_parse(name);
    size_t before = ret->len;
    Err older = {0};

    if (!n.identity[0])
        return err_set(err, ERR_CORRUPT, "the name %s says no identity", name);
    int r = store_get(s, name, 0, 0, ret, err);
    if (r == 0)
        r = is_right(&n, (Str){ret->p + before, ret->len - before}, hosts, err);
    if (!object_is_bad(r))
        return r < 0 ? err_wrap(err, "%s", name) : 0;
    /* Somebody wrote over it, or hid it. What was first is kept where the store keeps versions. */
    buf_truncate(ret, before);
    int again = fetch_older(s, hosts, name, ret, &older);
    if (again == 0) {
        err_clear(err);
        return 0;
    }
    buf_truncate(ret, before);
    if (older.kind)
        return err_move(err, &older);
    return err_wrap(err, "%s", name);
}
