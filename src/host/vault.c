#include "host/vault.h"
#include "base/vec.h"

#define VAULT_MAX_BYTES ((size_t)1 << 20)
#define PASSWORD_CHARS 32

typedef struct VaultItem {
    char *name;
    Secret *value;
} VaultItem;

struct Vault {
    VEC(VaultItem) items;
};

/* How each secret of an island is made: one row a name. */
typedef enum MakeHow {
    MAKE_BYTES,
    MAKE_PASSWORD,
    MAKE_HEX,
    MAKE_VAPID,
    MAKE_SIGN,
    MAKE_BESIDE,
    MAKE_DERIVED
} MakeHow;
typedef struct MakeRow {
    const char *name;
    MakeHow how;
    size_t n;           /* bytes or characters */
    const char *public; /* the other half's name, for a pair; it has a row of its own */
} MakeRow;

static const MakeRow make_rows[] = {
    {"master", MAKE_BYTES, CRYPT_KEY_BYTES},
    {"db_password", MAKE_PASSWORD, PASSWORD_CHARS},
    {"redis_password", MAKE_PASSWORD, PASSWORD_CHARS},
    {"media_password", MAKE_PASSWORD, PASSWORD_CHARS},
    {"secret_key_base", MAKE_HEX, 64},
    {"vapid_private", MAKE_VAPID, 0, "vapid_public"},
    {"vapid_public", MAKE_BESIDE},
    {"active_record_primary", MAKE_PASSWORD, 32},
    {"active_record_deterministic", MAKE_PASSWORD, 32},
    {"active_record_salt", MAKE_PASSWORD, 32},
    {"sign_secret", MAKE_SIGN, 0, "sign_public"},
    {"sign_public", MAKE_BESIDE},
    {"search_password", MAKE_DERIVED},
};

Vault *vault_new(void)
{
    return NEW(Vault);
}

Vault *vault_free(Vault *v)
{
    if (!v)
        return NULL;
    for (size_t i = 0; i < v->items.len; i++) {
        free(v->items.items[i].name);
        (void)secret_free(v->items.items[i].value);
    }
    vec_clear(&v->items);
    free(v);
    return NULL;
}

static VaultItem *find(const Vault *v, const char *name)
{
    for (size_t i = 0; i < v->items.len; i++)
        if (streq(v->items.items[i].name, name))
            return &v->items.items[i];
    return NULL;
}

const Secret *vault_secret(const Vault *v, const char *name)
{
    const VaultItem *item = find(v, name);
    return item ? item->value : NULL;
}

void vault_set(Vault *v, const char *name, const Secret *value)
{
    VaultItem *item = find(v, name);
    Secret *copy = secret_copy(value);

    if (item) {
        (void)secret_free(item->value);
        item->value = copy;
    } else {
        vec_push(&v->items, (VaultItem){xstrdup(name), copy});
    }
}

void vault_remove(Vault *v, const char *name)
{
    VaultItem *item = find(v, name);

    if (!item)
        return;
    free(item->name);
    (void)secret_free(item->value);
    *item = *vec_last(&v->items);
    v->items.len--;
}

static void set_text(Vault *v, const char *name, const char *text)
{
    _cleanup_secret_ Secret *value = secret_new(text, strlen(text));
    vault_set(v, name, value);
}

static Secret *hex_new(size_t bytes)
{
    _cleanup_secret_ Secret *raw = crypt_random_new(bytes);
    _cleanup_(buf_wipe) Buf hex = BUF_INIT(BUF_MAX_LINE);

    crypt_hex(&hex, secret_expose(raw).p, bytes);
    return secret_new(hex.p, hex.len);
}

static void make_pair(Vault *v, const MakeRow *row)
{
    _cleanup_(keypair_clear) KeyPair pair = {0};

    if (row->how == MAKE_SIGN)
        crypt_sign_keys(&pair);
    else
        crypt_vapid(&pair.secret, &pair.public_b64);
    vault_set(v, row->name, pair.secret);
    set_text(v, row->public, pair.public_b64);
}

/* Younger than some islands' vaults: it comes from what every vault has, so that it is the same
 * whether it was put there or not. OpenSearch refuses a password without a capital, a small letter,
 * a digit and something else. */
static Secret *derived_new(const Vault *v, const char *name)
{
    _cleanup_secret_ Secret *hex = vault_derive_new(v, name);
    _cleanup_(buf_wipe) Buf text = BUF_INIT(BUF_MAX_LINE);

    buf_printf(&text, "Sr-%s", secret_expose(hex).p);
    return secret_new(text.p, text.len);
}

static void make(Vault *v, const MakeRow *row)
{
    _cleanup_secret_ Secret *value = NULL;

    switch (row->how) {
    case MAKE_BYTES:
        value = crypt_random_new(row->n);
        break;
    case MAKE_PASSWORD:
        value = crypt_password_new(row->n);
        break;
    case MAKE_HEX:
        value = hex_new(row->n);
        break;
    case MAKE_VAPID:
    case MAKE_SIGN:
        make_pair(v, row);
        return;
    case MAKE_DERIVED:
        value = derived_new(v, row->name);
        break;
    case MAKE_BESIDE:
        return;
    }
    vault_set(v, row->name, value);
}

void vault_generate(Vault *v)
{
    for (size_t i = 0; i < ARRAY_LEN(make_rows); i++)
        if (!find(v, make_rows[i].name))
            make(v, &make_rows[i]);
}

int vault_sign_keys(const Vault *v, KeyPair *ret, Err *err)
{
    const Secret *secret = vault_secret(v, "sign_secret"), *public = vault_secret(v, "sign_public");

    if (!secret || !public)
        return err_set(err, ERR_CORRUPT, "the vault has no key to sign bundles with");
    ret->secret = secret_copy(secret);
    /* The public half is no secret; it is kept beside the other because pairs are kept whole. */
    ret->public_b64 = xstrdup(secret_expose(public).p);
    return 0;
}

Secret *vault_derive_new(const Vault *v, const char *label)
{
    const Secret *master = vault_secret(v, "master");
    BUG_IF(!master);
    _cleanup_secret_ Secret *raw = crypt_derive_new(master, label);
    _cleanup_(buf_wipe) Buf hex = BUF_INIT(BUF_MAX_LINE);

    crypt_hex(&hex, secret_expose(raw).p, CRYPT_KEY_BYTES);
    return secret_new(hex.p, hex.len);
}

/* {"name":"<base64>",...}. Written by hand, so that every copy of a value can be wiped. */
static void write_text(const Vault *v, Buf *ret)
{
    buf_char(ret, '{');
    for (size_t i = 0; i < v->items.len; i++) {
        const VaultItem *item = &v->items.items[i];
        _cleanup_json_ json_t *name = json_string(item->name);
        _cleanup_free_ char *quoted = json_text_new(name);
        Str value = secret_expose(item->value);
        buf_printf(ret, "%s%s:\"", i ? "," : "", quoted);
        crypt_base64(ret, value.p, value.n);
        buf_char(ret, '"');
    }
    buf_char(ret, '}');
}

static int read_text(Str text, Vault *v, Err *err)
{
    _cleanup_json_ json_t *all = json_parse_new(text.p, text.n, err);
    const char *name;
    json_t *value;

    if (!json_is_object(all))
        return err_set(err, ERR_CORRUPT, "the vault's content is not what atoll wrote");
    json_object_foreach (all, name, value) {
        _cleanup_(buf_wipe) Buf raw = BUF_INIT(VAULT_MAX_BYTES);
        const char *b64 = json_string_value(value);
        if (!b64 || !crypt_unbase64(&raw, str_of(b64)))
            return err_set(err, ERR_CORRUPT, "the vault's secret %s is damaged", name);
        _cleanup_secret_ Secret *secret = secret_new(raw.p, raw.len);
        vault_set(v, name, secret);
    }
    return 0;
}

int vault_write(const Vault *v, Buf *ret, Err *err)
{
    write_text(v, ret);
    return ret->overflow ? err_set(err, ERR_CONFIG, "the vault would be larger than %zu bytes",
                                   VAULT_MAX_BYTES)
                         : 0;
}

static int seal(const Vault *v, const char *purpose, const StrList *recipients, Buf *ret, Err *err)
{
    _cleanup_(buf_wipe) Buf text = BUF_INIT(VAULT_MAX_BYTES);

    if (recipients->len == 0)
        return err_set(err, ERR_BUG, "nobody to seal the vault for");
    int r = vault_write(v, &text, err);
    if (r < 0)
        return r;
    return crypt_seal((const char *const *)recipients->items, purpose, buf_as_str(&text), ret, err);
}

int vault_seal(const Vault *v, const char *island, const StrList *recipients, Buf *ret, Err *err)
{
    _cleanup_free_ char *purpose = xasprintf("vault/%s", island);

    return seal(v, purpose, recipients, ret, err);
}

/* Adds to `v`. */
static int unseal(Str sealed, const char *purpose, const KeyPair *key, Vault *v, Err *err)
{
    _cleanup_(buf_wipe) Buf text = BUF_INIT(VAULT_MAX_BYTES);

    int r = crypt_open(key, purpose, sealed, &text, err);
    if (r == -ERR_DENIED)
        return err_hint(err, "it was sealed for other keys: use the island's key file, or its "
                             "recovery key");
    return r < 0 ? r : read_text(buf_as_str(&text), v, err);
}

/* An older vault is given what can be derived. */
static int complete(Vault *v, Err *err)
{
    for (size_t i = 0; i < ARRAY_LEN(make_rows); i++) {
        if (find(v, make_rows[i].name))
            continue;
        if (make_rows[i].how != MAKE_DERIVED)
            return err_set(err, ERR_CORRUPT, "the vault has no secret %s", make_rows[i].name);
        make(v, &make_rows[i]);
    }
    return 0;
}

int vault_unseal(Str sealed, const char *island, const KeyPair *key, Vault **ret, Err *err)
{
    _cleanup_free_ char *purpose = xasprintf("vault/%s", island);
    _cleanup_(vault_drop) Vault *v = vault_new();
    int r = unseal(sealed, purpose, key, v, err);

    if (r == 0)
        r = complete(v, err);
    if (r == 0)
        *ret = TAKE(v);
    return r;
}

int vault_read(Str text, Vault **ret, Err *err)
{
    _cleanup_(vault_drop) Vault *v = vault_new();
    int r = read_text(text, v, err);

    if (r == 0)
        r = complete(v, err);
    if (r == 0)
        *ret = TAKE(v);
    return r;
}

/* Fills the place if it is empty; that somebody else just did is as good. */
static int create(Cloud *c, const char *path, const char *island, const StrList *recipients,
                  Err *err)
{
    _cleanup_(vault_drop) Vault *v = vault_new();
    _cleanup_(buf_clear) Buf sealed = BUF_INIT(2 * VAULT_MAX_BYTES);

    vault_generate(v);
    int r = vault_seal(v, island, recipients, &sealed, err);
    if (r < 0)
        return r;
    r = swift_put(c, path, &(SwiftPut){.body = buf_as_str(&sealed), .only_new = true}, err);
    if (r == -ERR_CONFLICT) {
        err_clear(err);
        return 0;
    }
    return r;
}

int vault_open(Cloud *c, const char *island, const KeyPair *operator_key, const StrList *recipients,
               bool make_it, Vault **ret, Err *err)
{
    _cleanup_free_ char *path = xasprintf("%s-vault/secrets", island);
    _cleanup_(buf_clear) Buf sealed = BUF_INIT(2 * VAULT_MAX_BYTES);
    _cleanup_(err_clear) Err local = {0};

    int r = swift_get(c, path, 2 * VAULT_MAX_BYTES, &sealed, &local);
    if (r == -ERR_NOT_FOUND && make_it) {
        err_clear(&local);
        r = create(c, path, island, recipients, &local);
        /* What is used is what was read back: of two first runs, both use the winner's. */
        if (r == 0)
            r = swift_get(c, path, 2 * VAULT_MAX_BYTES, &sealed, &local);
    }
    if (r == 0)
        r = vault_unseal(buf_as_str(&sealed), island, operator_key, ret, &local);
    if (r < 0) {
        (void)err_wrap(&local, "opening the vault of %s", island);
        return err_move(err, &local);
    }
    return 0;
}

int vault_part_load(Cloud *c, const char *island, const char *part, const KeyPair *key, Vault *v,
                    Err *err)
{
    _cleanup_free_ char *path = xasprintf("%s-vault/%s", island, part);
    _cleanup_free_ char *purpose = xasprintf("vault/%s/%s", island, part);
    _cleanup_(buf_clear) Buf sealed = BUF_INIT(2 * VAULT_MAX_BYTES);

    int r = swift_get(c, path, 2 * VAULT_MAX_BYTES, &sealed, err);
    if (r == 0)
        r = unseal(buf_as_str(&sealed), purpose, key, v, err);
    return r < 0 ? err_wrap(err, "opening %s of the vault of %s", part, island) : 0;
}

int vault_part_store(Cloud *c, const char *island, const VaultPart *part, Err *err)
{
    _cleanup_free_ char *path = xasprintf("%s-vault/%s", island, part->name);
    _cleanup_free_ char *purpose = xasprintf("vault/%s/%s", island, part->name);
    _cleanup_(buf_clear) Buf sealed = BUF_INIT(2 * VAULT_MAX_BYTES);

    int r = seal(part->secrets, purpose, part->recipients, &sealed, err);
    if (r == 0)
        r = swift_put(c, path,
                      &(SwiftPut){.body = buf_as_str(&sealed), .content_type = part->content_type},
                      err);
    return r < 0 ? err_wrap(err, "writing %s into the vault of %s", part->name, island) : 0;
}
