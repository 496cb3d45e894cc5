#include "host/tls.h"
#include "host/mail.h"

#define TLS_TYPE "application/vnd.atoll.tls"

static Msec seconds_of(Str s)
{
    _cleanup_free_ char *text = xstrndup(s.p ? s.p : "", s.n);
    int64_t seconds;

    return parse_int(text, 1, INT64_MAX / SECOND, &seconds) ? seconds * SECOND : 0;
}

static bool read_type(const char *type, Cert *ret)
{
    Str mark = mail_param(type, TLS_TYPE, "mark");
    Cert c = {.begins = seconds_of(mail_param(type, TLS_TYPE, "from")),
              .ends = seconds_of(mail_param(type, TLS_TYPE, "until"))};

    if (mark.n != 16 || strspn(mark.p, "0123456789abcdef") < 16 || !c.ends)
        return false;
    memcpy(c.mark, mark.p, 16);
    *ret = c;
    return true;
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
    json_t *listen = json_object_get(spec, "listen");
    Cert c;

    if (json_int(listen, "https", 0) == 0 || *json_str_or(listen, "pair", ""))
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
