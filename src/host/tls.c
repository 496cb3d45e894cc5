#include "host/tls.h"
#include "host/mail.h"

#define TLS_TYPE "application/vnd.atoll.tls"

#define LETTER_HEAD "tls-"
#define LETTER_MAX ((size_t)4 << 20)
#define KEY_LABEL "tls-letter"

static Msec seconds_of(Str s)
{
    _cleanup_free_ char *text = xstrndup(s.p ? s.p : "", s.n);
    int64_t seconds;

    return parse_int(text, 1, INT64_MAX / SECOND, &seconds) ? seconds * SECOND : 0;
}

/* The three things that are no secret. */
static bool cert_of(Str mark, Str from, Str until, Cert *ret)
{
    Cert c = {.begins = seconds_of(from), .ends = seconds_of(until)};

    if (mark.n != 16 || strspn(mark.p, "0123456789abcdef") < 16 || !c.ends)
        return false;
    memcpy(c.mark, mark.p, 16);
    *ret = c;
    return true;
}

static bool read_type(const char *type, Cert *ret)
{
    return cert_of(mail_param(type, TLS_TYPE, "mark"), mail_param(type, TLS_TYPE, "from"),
                   mail_param(type, TLS_TYPE, "until"), ret);
}

bool tls_record_read(const json_t *mail, Cert *ret)
{
    const json_t *object;
    size_t i;

    json_array_foreach (mail, i, object) {
        if (streq(json_str(object, "name"), TLS_PART))
            return read_type(json_str(object, "content_type"), ret);
    }
    return false;
}

void tls_record_type(const Cert *c, Buf *b)
{
    buf_printf(b, TLS_TYPE "; mark=%s; from=%lld; until=%lld", c->mark,
               (long long)(c->begins / SECOND), (long long)(c->ends / SECOND));
}

bool tls_spec(const json_t *mail, json_t *spec)
{
    json_t *listen = json_object_get(spec, "listen"), *control = json_object_get(spec, "control");
    Cert c;

    /* It has all secrets, and so is told of another certificate. */
    if (control && !*json_str_or(control, "pair", "") && tls_record_read(mail, &c))
        json_object_set_new(control, "pair", json_string(c.mark));
    if (json_int(listen, "https", 0) == 0 || *json_str_or(listen, "pair", ""))
        return true;
    /* Its edge begins without one. */
    if (json_object_get(listen, "acme"))
        return true;
    if (!tls_record_read(mail, &c))
        return false;
    json_object_set_new(listen, "pair", json_string(c.mark));
    return true;
}

bool tls_of_vault(const Vault *v, Cert *ret)
{
    const Secret *certificate = vault_secret(v, TLS_CERTIFICATE);

    return certificate && vault_secret(v, TLS_KEY) &&
           cert_read(secret_expose(certificate), ret, NULL, NULL) == 0;
}

/* "web.0/<nonce>/out/tls-<mark>-<from>-<until>" */
static bool read_letter_name(const char *name, Cert *ret)
{
    Str rest = str_of(name), part, mark, from;

    for (int i = 0; i < 2; i++)
        if (!str_next(&rest, '/', &part) || part.n == 0)
            return false;
    if (!str_next(&rest, '/', &part) || !str_eq(part, STR_LIT("out")) ||
        !str_next(&rest, '-', &part) || !str_eq(part, STR_LIT("tls")) ||
        !str_next(&rest, '-', &mark) || !str_next(&rest, '-', &from))
        return false;
    return cert_of(mark, from, rest, ret);
}

bool tls_letter_find(const json_t *mail, Cert *ret, const char **ret_name)
{
    bool found = false;
    const json_t *object;
    size_t i;

    json_array_foreach (mail, i, object) {
        const char *name = json_str_or(object, "name", "");
        Cert c = {0};

        if (!read_letter_name(name, &c) || (found && c.begins < ret->begins))
            continue;
        *ret = c;
        *ret_name = name;
        found = true;
    }
    return found;
}

static Secret *secret_of_json(const json_t *j)
{
    char *text = json_text_new(j);
    size_t n = strlen(text);
    Secret *s = secret_new(text, n);

    explicit_bzero(text, n);
    free(text);
    return s;
}

Secret *tls_letter_key_new(const Vault *v, const StrList *recipients)
{
    _cleanup_secret_ Secret *key = vault_derive_new(v, KEY_LABEL);
    _cleanup_json_ json_t *j =
        json_make_new("{s:o, s:s}", "to", json_list_new(recipients), "key", secret_expose(key).p);
    return secret_of_json(j);
}

static const char *const letter_parts[][2] = {
    {TLS_CERTIFICATE, "certificate"}, {TLS_KEY, "key"}, {TLS_STORE, "store"}};

static int letter_plain(const Vault *v, Secret **ret, Err *err)
{
    _cleanup_json_ json_t *plain = json_object();

    for (size_t i = 0; i < ARRAY_LEN(letter_parts); i++) {
        const Secret *s = vault_secret(v, letter_parts[i][0]);
        json_t *text = s ? json_string(secret_expose(s).p) : NULL;
        if (!text)
            return err_set(err, ERR_CORRUPT, "there is no %s for a letter", letter_parts[i][1]);
        json_object_set_new(plain, letter_parts[i][1], text);
    }
    *ret = secret_of_json(plain);
    return 0;
}

static int letter_seal(const json_t *how, const char *purpose, Str plain, Buf *ret, Err *err)
{
    const char *to[8] = {NULL};
    const json_t *one;
    size_t i;

    json_array_foreach (json_object_get(how, "to"), i, one)
        if (i < ARRAY_LEN(to) - 1)
            to[i] = json_string_value(one);
    if (!to[0])
        return err_set(err, ERR_CONFIG, "the bundle does not say whom to seal a certificate to");
    return crypt_seal(to, purpose, plain, ret, err);
}

int tls_letter_make(const char *island, const Vault *v, char **ret_name, Buf *ret, Err *err)
{
    const Secret *given = vault_secret(v, TLS_LETTER);
    Str text = given ? secret_expose(given) : (Str){0};
    _cleanup_json_ json_t *how = given ? json_parse_new(text.p, text.n, NULL) : NULL;
    _cleanup_secret_ Secret *plain = NULL, *key = NULL;
    _cleanup_(buf_clear) Buf sealed = BUF_INIT(LETTER_MAX), mac = BUF_INIT(BUF_MAX_LINE);
    const char *key_text = json_str(how, "key");
    Cert cert;

    if (!key_text)
        return err_set(err, ERR_CONFIG, "the bundle does not say how to send a certificate");
    if (!tls_of_vault(v, &cert))
        return err_set(err, ERR_CORRUPT, "there is no certificate for a letter");
    _cleanup_free_ char *purpose = xasprintf("tls/%s/%s", island, cert.mark);
    int r = letter_plain(v, &plain, err);
    if (r == 0)
        r = letter_seal(how, purpose, secret_expose(plain), &sealed, err);
    if (r < 0)
        return r;
    key = secret_new(key_text, strlen(key_text));
    crypt_hmac(CRYPT_SHA256, key, buf_as_str(&sealed), &mac);
    _cleanup_json_ json_t *letter =
        json_make_new("{s:i, s:s, s:s}", "v", 1, "sealed", sealed.p, "mac", mac.p);
    _cleanup_free_ char *body = json_text_new(letter);
    buf_str(ret, body);
    *ret_name = xasprintf(LETTER_HEAD "%s-%lld-%lld", cert.mark, (long long)(cert.begins / SECOND),
                          (long long)(cert.ends / SECOND));
    return 0;
}

static int check_mac(const json_t *letter, const Vault *v, Err *err)
{
    _cleanup_secret_ Secret *key = vault_derive_new(v, KEY_LABEL);
    _cleanup_(buf_clear) Buf mac = BUF_INIT(BUF_MAX_LINE);

    crypt_hmac(CRYPT_SHA256, key, str_of(json_str_or(letter, "sealed", "")), &mac);
    if (crypt_equal(buf_as_str(&mac), str_of(json_str_or(letter, "mac", ""))))
        return 0;
    return err_set(err, ERR_DENIED, "it does not come from an edge of this island");
}

int tls_letter_open(const TlsLetter *l, const KeyPair *key, const Vault *v, Vault *ret, Err *err)
{
    _cleanup_json_ json_t *letter = json_parse_new(l->text.p, l->text.n, err);
    _cleanup_json_ json_t *inside = NULL;
    _cleanup_(buf_wipe) Buf plain = BUF_INIT(LETTER_MAX);
    _cleanup_(vault_drop) Vault *parts = vault_new();
    _cleanup_free_ char *purpose = xasprintf("tls/%s/%s", l->island, l->mark);
    Cert cert;

    if (!letter)
        return -ERR_CORRUPT;
    int r = check_mac(letter, v, err);
    if (r == 0)
        r = crypt_open(key, purpose, str_of(json_str_or(letter, "sealed", "")), &plain, err);
    if (r < 0)
        return r;
    inside = json_parse_new(plain.p, plain.len, err);
    for (size_t i = 0; i < ARRAY_LEN(letter_parts); i++) {
        const char *text = json_str_or(inside, letter_parts[i][1], "");
        _cleanup_secret_ Secret *s = secret_new(text, strlen(text));
        vault_set(parts, letter_parts[i][0], s);
    }
    if (!tls_of_vault(parts, &cert) || !streq(cert.mark, l->mark))
        return err_set(err, ERR_CORRUPT, "it is of another certificate than its name says");
    for (size_t i = 0; i < ARRAY_LEN(letter_parts); i++)
        vault_set(ret, letter_parts[i][0], vault_secret(parts, letter_parts[i][0]));
    return 0;
}
