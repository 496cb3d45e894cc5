#include "host/bundle.h"
#include "host/backup.h"
#include "host/control.h"
#include "host/tls.h"
#include "island/roles.h"

#define BUNDLE_MAX_BYTES ((size_t)1 << 20)

/* Which role needs which of the vault's secrets: all that it has, and nothing else has it. */
#define APP (ROLE_BIT(ROLE_WEB) | ROLE_BIT(ROLE_WORKER))
static const struct {
    const char *name;
    unsigned roles;
} secret_rows[] = {
    {"db_password", APP | ROLE_BIT(ROLE_STREAM) | ROLE_BIT(ROLE_POSTGRES)},
    {"redis_password", APP | ROLE_BIT(ROLE_STREAM) | ROLE_BIT(ROLE_REDIS)},
    {"media_password", APP},
    {"secret_key_base", APP},
    {"vapid_private", APP},
    {"vapid_public", APP},
    {"active_record_primary", APP},
    {"active_record_deterministic", APP},
    {"active_record_salt", APP},
};

void bundle_secrets_for(unsigned roles, const json_t *env_secrets, StrList *ret)
{
    for (size_t i = 0; i < ARRAY_LEN(secret_rows); i++)
        if ((secret_rows[i].roles & roles) && !strlist_has(ret, secret_rows[i].name))
            strlist_add(ret, secret_rows[i].name);
    if (!(roles & APP))
        return;
    const char *variable;
    json_t *name;
    json_object_foreach ((json_t *)(uintptr_t)env_secrets, variable, name) {
        if (json_is_string(name) && !strlist_has(ret, json_string_value(name)))
            strlist_add(ret, json_string_value(name));
    }
}

static unsigned spec_roles(const json_t *spec)
{
    const json_t *names = json_object_get(spec, "roles");
    unsigned roles = 0;

    for (size_t i = 0; i < json_array_size(names); i++) {
        Role role;
        if (role_parse(json_string_value(json_array_get(names, i)), &role))
            roles |= ROLE_BIT(role);
    }
    return roles;
}

static int add_secrets(const json_t *spec, const Vault *v, json_t *secrets, Err *err)
{
    _cleanup_(strlist_clear) StrList names = {0};

    bundle_secrets_for(spec_roles(spec), json_object_get(spec, "env_secrets"), &names);
    if (json_object_get(spec, "search") || json_at(spec, "peers.search"))
        strlist_add(&names, "search_password");
    if (*json_str_or(spec, "listen.pair", "")) {
        strlist_add(&names, TLS_CERTIFICATE);
        strlist_add(&names, TLS_KEY);
    }
    if (json_bool(spec, "listen.acme.here", false)) {
        strlist_add(&names, TLS_LETTER);
        if (vault_secret(v, TLS_STORE)) /* certbot's; there is none before its first certificate */
            strlist_add(&names, TLS_STORE);
    }
    if (json_object_get(spec, "control"))
        strlist_add(&names, CONTROL_KIT);
    if (json_object_get(spec, "backup")) {
        strlist_add(&names, BACKUP_HOST_KEY);
        strlist_add(&names, BACKUP_RECIPIENTS);
    }
    for (size_t i = 0; i < names.len; i++) {
        const Secret *value = vault_secret(v, names.items[i]);
        if (!value)
            return err_set(err, ERR_CONFIG, "the vault has no secret %s", names.items[i]);
        Str s = secret_expose(value);
        json_t *text = json_stringn(s.p, s.n);
        if (!text)
            return err_set(err, ERR_CONFIG, "the secret %s is not text", names.items[i]);
        json_object_set_new(secrets, names.items[i], text);
    }
    return 0;
}

static char *purpose_new(const BundleHead *head)
{
    return xasprintf("bundle/%s/%s/%lld", head->server, head->nonce, (long long)head->number);
}

static int seal_body(const BundleHead *head, const char *host_public_b64, const json_t *body,
                     Buf *ret, Err *err)
{
    _cleanup_(buf_wipe) Buf plain = BUF_INIT(BUNDLE_MAX_BYTES);
    _cleanup_free_ char *text = json_text_new(body), *purpose = purpose_new(head);
    buf_str(&plain, text);
    explicit_bzero(text, strlen(text));
    if (plain.overflow)
        return err_set(err, ERR_CONFIG, "the bundle would be larger than %zu bytes",
                       BUNDLE_MAX_BYTES);
    return crypt_seal((const char *const[]){host_public_b64, NULL}, purpose, buf_as_str(&plain),
                      ret, err);
}

static int make(const BundleHead *head, const char *host_public_b64, const json_t *body,
                const Vault *v, Buf *ret, Err *err)
{
    _cleanup_(keypair_clear) KeyPair sign = {0};
    _cleanup_(buf_clear) Buf sealed = BUF_INIT(2 * BUNDLE_MAX_BYTES),
                             b64 = BUF_INIT(4 * BUNDLE_MAX_BYTES), mark = BUF_INIT(BUF_MAX_LINE);

    int r = vault_sign_keys(v, &sign, err);
    if (r == 0)
        r = seal_body(head, host_public_b64, body, &sealed, err);
    if (r < 0)
        return err_wrap(err, "making bundle %lld of %s", (long long)head->number, head->server);
    _cleanup_json_ json_t *inner =
        json_make_new("{s:s, s:s, s:I, s:s}", "server", head->server, "nonce", head->nonce,
                      "number", (json_int_t)head->number, "sealed", sealed.p);
    _cleanup_free_ char *text = json_text_new(inner);
    crypt_base64(&b64, text, strlen(text));
    crypt_sign(&sign, str_of(text), &mark);
    buf_printf(ret, "{\"v\":1,\"signed\":\"%s\",\"signature\":\"%s\"}", b64.p, mark.p);
    return 0;
}

int bundle_make(const BundleHead *head, const char *host_public_b64, const json_t *spec,
                const Vault *v, const BundleUrls *urls, Buf *ret, Err *err)
{
    _cleanup_json_ json_t *secrets = json_object();
    int r = add_secrets(spec, v, secrets, err);
    if (r < 0)
        return err_wrap(err, "making bundle %lld of %s", (long long)head->number, head->server);
    _cleanup_json_ json_t *body =
        json_make_new("{s:O, s:O, s:{s:s, s:s, s:I}}", "spec", spec, "secrets", secrets, "urls",
                      "in", urls->in, "out", urls->out, "expires", (json_int_t)urls->expires_s);
    if (urls->package)
        json_object_set_new(json_object_get(body, "urls"), "package", json_string(urls->package));
    if (json_object_size(urls->trees) > 0)
        json_object_set_new(json_object_get(body, "urls"), "trees", json_deep_copy(urls->trees));
    if (urls->backup)
        json_object_set_new(json_object_get(body, "secrets"), BACKUP_URL,
                            json_string(urls->backup));
    if (urls->kit) {
        json_t *in = json_object_get(body, "secrets");

        json_object_set_new(in, BACKUP_KIT_URL, json_string(urls->kit));
        json_object_set_new(in, BACKUP_KIT_KEY, json_string(secret_expose(urls->kit_key).p));
    }
    return make(head, host_public_b64, body, v, ret, err);
}

int bundle_make_ask(const BundleHead *head, const char *host_public_b64, const json_t *ask,
                    const Vault *v, Buf *ret, Err *err)
{
    _cleanup_json_ json_t *body = json_make_new("{s:O}", "ask", ask);

    return make(head, host_public_b64, body, v, ret, err);
}

static int not_ours(Err *err, const char *what)
{
    return err_set(err, ERR_CORRUPT, "the bundle is damaged: %s", what);
}

/* The signed part, once its signature is good: nothing of it is read before. */
static int open_outer(Str text, const char *sign_public_b64, json_t **ret_inner, Err *err)
{
    _cleanup_json_ json_t *outer = json_parse_new(text.p, text.n, NULL);
    const char *b64 = json_str(outer, "signed"), *mark = json_str(outer, "signature");
    _cleanup_(buf_clear) Buf plain = BUF_INIT(4 * BUNDLE_MAX_BYTES);

    if (!b64 || !mark)
        return not_ours(err, "it is not what atoll writes");
    if (json_int(outer, "v", 0) != 1)
        return err_set(err, ERR_CORRUPT,
                       "the bundle has format %lld, which this version does not "
                       "know",
                       (long long)json_int(outer, "v", 0));
    if (!crypt_unbase64(&plain, str_of(b64)))
        return not_ours(err, "its signed part is not base64");
    if (!crypt_verify(sign_public_b64, buf_as_str(&plain), str_of(mark)))
        return err_set(err, ERR_DENIED, "the bundle is not signed by this island's operator");
    json_t *inner = json_parse_new(plain.p, plain.len, NULL);
    if (!inner)
        return not_ours(err, "its signed part is not JSON");
    *ret_inner = inner;
    return 0;
}

static int check_head(const json_t *inner, const BundleHead *expect, int64_t last, int64_t *ret,
                      Err *err)
{
    int64_t number = json_int(inner, "number", 0);

    if (!streq(json_str(inner, "server"), expect->server))
        return err_set(err, ERR_DENIED, "the bundle is for the server %s",
                       json_str_or(inner, "server", "?"));
    if (!streq(json_str(inner, "nonce"), expect->nonce))
        return err_set(err, ERR_DENIED, "the bundle is for another boot of this server");
    if (number <= last)
        return err_set(err, ERR_CONFLICT, "the bundle has number %lld, and %lld was taken already",
                       (long long)number, (long long)last);
    if (expect->number > 0 && number != expect->number)
        return err_set(err, ERR_DENIED, "the bundle of number %lld stands at the place of %lld",
                       (long long)number, (long long)expect->number);
    *ret = number;
    return 0;
}

int bundle_open(Str text, const char *sign_public_b64, const KeyPair *host_key,
                const BundleHead *expect, int64_t last, json_t **ret_body, Err *err)
{
    _cleanup_json_ json_t *inner = NULL;
    _cleanup_(buf_wipe) Buf plain = BUF_INIT(BUNDLE_MAX_BYTES);
    BundleHead head = *expect;

    int r = open_outer(text, sign_public_b64, &inner, err);
    if (r == 0)
        r = check_head(inner, expect, last, &head.number, err);
    if (r < 0)
        return r;
    _cleanup_free_ char *purpose = purpose_new(&head);
    r = crypt_open(host_key, purpose, str_of(json_str_or(inner, "sealed", "")), &plain, err);
    if (r < 0)
        return err_wrap(err, "opening bundle %lld", (long long)head.number);
    json_t *body = json_parse_new(plain.p, plain.len, NULL);
    if (!json_is_object(json_object_get(body, "ask")) &&
        (!json_is_object(json_object_get(body, "spec")) ||
         !json_is_object(json_object_get(body, "secrets")))) {
        json_decref(body);
        return not_ours(err, "its inside is not what atoll writes");
    }
    json_object_set_new(body, "number", json_integer((json_int_t)head.number));
    *ret_body = body;
    return 0;
}

int bundle_vault(const json_t *body, Vault *v, Err *err)
{
    const char *name;
    json_t *value;

    json_object_foreach (json_object_get(body, "secrets"), name, value) {
        if (!json_is_string(value))
            return err_set(err, ERR_CORRUPT, "the bundle's secret %s is not text", name);
        _cleanup_secret_ Secret *secret =
            secret_new(json_string_value(value), json_string_length(value));
        vault_set(v, name, secret);
    }
    return 0;
}
