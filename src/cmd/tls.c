/* The island's certificate: from the operator's files into the vault. */
#include "host/tls.h"
#include "base/log.h"
#include "cmd/tls.h"
#include "io/file.h"

/* As the file writes it: relative to it. To be freed. */
static char *path_of(const Cmd *c, const char *name)
{
    _cleanup_free_ char *folder = path_folder(c->island.path);

    return *name == '/' || streq(folder, ".") ? xstrdup(name) : path_join(folder, name);
}

/* "island.yaml:9:20: edge.tls.key: privkey.pem: ..." */
int tls_fail(const Cmd *c, const char *key, const char *path, Err *err)
{
    _cleanup_free_ char *place = island_place(&c->island, key);

    return err_wrap(err, "%s: %s", place, path);
}

int tls_read_file(const Cmd *c, const char *key, const char *name, Buf *ret, Err *err)
{
    _cleanup_free_ char *path = path_of(c, name);
    int r = file_read(path, ret, err);

    return r < 0 ? tls_fail(c, key, path, err) : 0;
}

static int read_key(const Cmd *c, Str certificate, Secret **ret, Err *err)
{
    _cleanup_(buf_wipe) Buf text = BUF_INIT(CERT_MAX_BYTES);
    _cleanup_free_ char *path = path_of(c, c->island.edge.tls_key);
    int r = tls_read_file(c, "edge.tls.key", c->island.edge.tls_key, &text, err);

    if (r < 0)
        return r;
    r = cert_key(certificate, buf_as_str(&text), ret, err);
    return r < 0 ? tls_fail(c, "edge.tls.key", path, err) : 0;
}

/* The files, if what they hold can serve the domain. The parts are those of the vault's; or NULL.
 */
static int check_pair(const Cmd *c, Str pem, Vault *ret, Err *err)
{
    _cleanup_secret_ Secret *key = NULL, *certificate = NULL;
    _cleanup_(buf_clear) Buf clean = BUF_INIT(2 * CERT_MAX_BYTES);
    _cleanup_free_ char *path = path_of(c, c->island.edge.tls_certificate);
    Cert cert = {0};
    int r = cert_check(pem, c->island.domain, cloud_now(c->clouds.of[CLOUD_OF_ISLAND]), err);

    if (r == 0)
        r = cert_read(pem, &cert, &clean, err);
    if (r < 0)
        return tls_fail(c, "edge.tls.certificate", path, err);
    r = read_key(c, pem, &key, err);
    if (r < 0 || !ret)
        return r;
    certificate = secret_new(clean.p, clean.len);
    vault_set(ret, TLS_CERTIFICATE, certificate);
    vault_set(ret, TLS_KEY, key);
    return 0;
}

int cmd_tls_check(const Cmd *c, char **ret_words, Err *err)
{
    if (*c->island.edge.acme_email)
        return tls_acme_check(c, ret_words, err);
    _cleanup_(buf_wipe) Buf pem = BUF_INIT(CERT_MAX_BYTES);
    char at[TIME_TEXT_MAX];
    Cert cert = {0};
    int r = tls_read_file(c, "edge.tls.certificate", c->island.edge.tls_certificate, &pem, err);

    if (r == -ERR_NOT_FOUND) {
        *ret_words = xasprintf("%s is not on this machine: the island's own counts",
                               c->island.edge.tls_certificate);
        err_clear(err);
        return 0;
    }
    if (r == 0)
        r = check_pair(c, buf_as_str(&pem), NULL, err);
    if (r == 0)
        r = cert_read(buf_as_str(&pem), &cert, NULL, err);
    if (r == 0)
        *ret_words = xasprintf("a certificate for %s until %s, and its key", c->island.domain,
                               time_format(cert.ends, false, at));
    return r;
}

/* Of two certificates the one that was issued later counts: a file that somebody forgot on his
 * machine does not undo a renewal. */
bool tls_is_older(const Cert *a, const Cert *b)
{
    return !streq(a->mark, b->mark) && a->begins < b->begins;
}

static _printf_(2, 3) void warn_once(Cmd *c, const char *format, ...)
{
    va_list ap;

    if (c->tls_warned)
        return;
    va_start(ap, format);
    _cleanup_free_ char *text = xvasprintf(format, ap);
    va_end(ap);
    log_warn("%s", text);
    c->tls_warned = true;
}

/* An island that was destroyed has left its vault. */
int tls_look_into_vault(Cmd *c, const World *w, Err *err)
{
    _cleanup_free_ char *container = xasprintf("%s-vault", c->island.name);
    _cleanup_json_ json_t *listing = NULL;

    if (!world_find(w, RESOURCE_CONTAINER, "vault", 0))
        return 0;
    int r = swift_list(c->clouds.of[CLOUD_OF_ISLAND], container, TLS_PART, &listing, err);
    if (r < 0)
        return err_wrap(err, "looking for a certificate in the vault");
    c->has_tls = tls_record_read(listing, &c->tls);
    if (c->has_tls)
        snprintf(c->island.edge.tls_mark, sizeof c->island.edge.tls_mark, "%s", c->tls.mark);
    return 0;
}

/* The file can't be read, for the reason in *err. */
static int not_here(Cmd *c, const World *w, int r, Err *err)
{
    _cleanup_(err_clear) Err vault = {0};

    if (!c->has_tls && tls_look_into_vault(c, w, &vault) < 0)
        return err_move(err, &vault);
    if (!c->has_tls) {
        if (r == -ERR_NOT_FOUND)
            (void)err_hint(err, "the island has no certificate yet: put it and its key there; or "
                                "leave edge.tls out, and end TLS in front of the island");
        return r;
    }
    if (r != -ERR_NOT_FOUND)
        warn_once(c, "%s; the island keeps the certificate that it has", err->text);
    err_clear(err);
    return 0;
}

int cmd_tls_look(Cmd *c, const World *w, Err *err)
{
    _cleanup_(buf_wipe) Buf pem = BUF_INIT(CERT_MAX_BYTES); /* there may be a key in it */
    _cleanup_free_ char *path = path_of(c, c->island.edge.tls_certificate);
    Cert file = {0};

    c->island.edge.tls_mark[0] = '\0';
    c->has_tls = c->tls_told = tls_record_read(w->mail, &c->tls);
    if (!c->island.edge.https)
        return 0;
    if (*c->island.edge.acme_email)
        return tls_acme_look(c, w, err);
    int r = tls_read_file(c, "edge.tls.certificate", c->island.edge.tls_certificate, &pem, err);
    if (r < 0)
        return not_here(c, w, r, err);
    r = cert_read(buf_as_str(&pem), &file, NULL, err);
    if (r < 0)
        return tls_fail(c, "edge.tls.certificate", path, err);
    if (c->has_tls && tls_is_older(&file, &c->tls)) {
        warn_once(c, "%s was issued before the certificate that the island has: it keeps its own",
                  path);
        return 0;
    }
    if (!c->has_tls || !streq(file.mark, c->tls.mark))
        r = check_pair(c, buf_as_str(&pem), NULL, err);
    if (r == 0)
        snprintf(c->island.edge.tls_mark, sizeof c->island.edge.tls_mark, "%s", file.mark);
    return r;
}

int tls_store(Cmd *c, const Cert *cert, const Vault *part, Vault *v, Err *err)
{
    static const char *const names[] = {TLS_CERTIFICATE, TLS_KEY, TLS_STORE};
    _cleanup_(buf_clear) Buf type = BUF_INIT(BUF_MAX_LINE);

    tls_record_type(cert, &type);
    int r = vault_part_store(c->clouds.of[CLOUD_OF_ISLAND], c->island.name,
                             &(VaultPart){.name = TLS_PART,
                                          .content_type = type.p,
                                          .recipients = &c->keys.recipients,
                                          .secrets = part},
                             err);
    for (size_t i = 0; r == 0 && i < ARRAY_LEN(names); i++)
        if (vault_secret(part, names[i]))
            vault_set(v, names[i], vault_secret(part, names[i]));
    return r;
}

/* What the plan was made of goes into the vault, and to `v`. */
static int store(Cmd *c, Str pem, const Cert *file, Vault *v, Err *err)
{
    _cleanup_(vault_drop) Vault *part = vault_new();

    if (!streq(file->mark, c->island.edge.tls_mark))
        return err_set(err, ERR_CHANGED, "%s is another one since the plan was made",
                       c->island.edge.tls_certificate);
    int r = check_pair(c, pem, part, err);
    return r < 0 ? r : tls_store(c, file, part, v, err);
}

/* The vault's pair is that of the file, if that is newer. */
static int renew(Cmd *c, Vault *v, Err *err)
{
    _cleanup_(buf_wipe) Buf pem = BUF_INIT(CERT_MAX_BYTES);
    Cert file = {0}, have = {0};
    bool has = tls_of_vault(v, &have);

    if (!*c->island.edge.tls_mark || (has && streq(have.mark, c->island.edge.tls_mark)))
        return 0;
    int r = tls_read_file(c, "edge.tls.certificate", c->island.edge.tls_certificate, &pem, err);
    if (r == 0)
        r = cert_read(buf_as_str(&pem), &file, NULL, err);
    if (r < 0 || (has && tls_is_older(&file, &have)))
        return r;
    return store(c, buf_as_str(&pem), &file, v, err);
}

/* After the vault, so that it never tells of a certificate that is not there. */
static int write_record(Cmd *c, const Cert *have, Err *err)
{
    _cleanup_free_ char *path = xasprintf("%s-mail/" TLS_PART, c->island.name);
    _cleanup_(buf_clear) Buf type = BUF_INIT(BUF_MAX_LINE);
    int r;

    if (c->tls_told && streq(c->tls.mark, have->mark))
        return 0;
    tls_record_type(have, &type);
    r = swift_put(c->clouds.of[CLOUD_OF_ISLAND], path,
                  &(SwiftPut){.body = STR_LIT("{}"), .content_type = type.p}, err);
    if (r < 0)
        return err_wrap(err, "writing down which certificate the island has");
    c->tls = *have;
    c->has_tls = c->tls_told = true;
    return 0;
}

/* What a control server was given is not its to change. */
static int check_lent(const Cmd *c, const Vault *v, Err *err)
{
    Cert have = {0};

    if (!c->has_tls || (tls_of_vault(v, &have) && streq(have.mark, c->tls.mark)))
        return 0;
    return err_set(err, ERR_CHANGED,
                   "the island's certificate is another than this server was given: the apply that "
                   "changed it sends it here, too");
}

int cmd_tls_vault(Cmd *c, Vault *v, Err *err)
{
    bool acme = *c->island.edge.acme_email;
    Cert have = {0};

    if (!c->island.edge.https)
        return 0;
    if (c->lent)
        return check_lent(c, v, err);
    int r = vault_part_load(c->clouds.of[CLOUD_OF_ISLAND], c->island.name, TLS_PART, &c->keys.own,
                            v, err);
    if (r == -ERR_NOT_FOUND) {
        err_clear(err);
        r = 0;
    }
    if (r == 0)
        r = acme ? tls_acme_vault(c, v, err) : renew(c, v, err);
    if (r < 0)
        return r;
    if (tls_of_vault(v, &have))
        return write_record(c, &have, err);
    if (acme && !*c->island.edge.tls_mark)
        return 0; /* its edge is about to ask for the first */
    (void)err_set(err, ERR_CORRUPT, "the vault has no certificate any more");
    if (acme)
        return err_hint(err, "remove the object " TLS_PART " from the container %s-mail, and apply",
                        c->island.name);
    return err_hint(err, "put edge.tls.certificate and edge.tls.key at their places, and apply");
}

void cmd_tls_warn(const Cmd *c, Msec now)
{
    char at[TIME_TEXT_MAX], span[TIME_TEXT_MAX];
    bool acme = *c->island.edge.acme_email;
    _cleanup_free_ char *what =
        acme ? xstrdup("renewing it fails, see `atoll status`")
             : xasprintf("put a new one at %s and apply", c->island.edge.tls_certificate);

    if (!c->island.edge.https || !c->has_tls || c->tls.ends - now >= TLS_WARN)
        return;
    if (c->tls.ends <= now)
        log_warn("the certificate ended at %s: browsers refuse it; %s",
                 time_format(c->tls.ends, false, at), what);
    else
        log_warn("the certificate ends in %s: %s", time_span(c->tls.ends - now, span), what);
}
