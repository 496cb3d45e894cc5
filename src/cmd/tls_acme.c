/* The island's certificate where its edge gets it by itself: from the edge's letter into the vault.
 */
#include "cmd/tls.h"
#include "host/acme.h"

#define LETTER_MAX ((size_t)4 << 20)

/* Who signs the authority's server, where the file says so. */
static int read_authority(const Cmd *c, Buf *ret, Err *err)
{
    const char *name = c->island.edge.acme_ca;
    _cleanup_(buf_clear) Buf text = BUF_INIT(CERT_MAX_BYTES);
    Cert cert;

    if (!*name)
        return 0;
    int r = tls_read_file(c, "edge.tls.ca", name, &text, err);
    if (r < 0)
        return r;
    r = cert_read(buf_as_str(&text), &cert, ret, err);
    return r < 0 ? tls_fail(c, "edge.tls.ca", name, err) : 0;
}

int tls_acme_check(const Cmd *c, char **ret_words, Err *err)
{
    _cleanup_(buf_clear) Buf pem = BUF_INIT(CERT_MAX_BYTES);
    int r = read_authority(c, &pem, err);

    if (r == 0)
        *ret_words = xasprintf("the edge asks %s for it, in the name of %s",
                               acme_server(c->island.edge.acme_server), c->island.edge.acme_email);
    return r;
}

/* The newest certificate that an edge has got, whether the vault has it yet or not. */
int tls_acme_look(Cmd *c, const World *w, Err *err)
{
    _cleanup_(buf_clear) Buf pem = BUF_INIT(CERT_MAX_BYTES);
    const char *name = NULL;
    Cert letter;
    int r = read_authority(c, &pem, err);

    if (r < 0)
        return r;
    free(c->island.edge.acme_ca_pem);
    c->island.edge.acme_ca_pem = xstrdup(pem.p);
    free(TAKE(c->tls_letter));
    if (!c->lent && tls_letter_find(w->mail, &letter, &name) &&
        (!c->has_tls || (!streq(letter.mark, c->tls.mark) && !tls_is_older(&letter, &c->tls)))) {
        c->tls_letter = xstrdup(name);
        c->tls = letter;
        c->has_tls = true;
        c->tls_told = false;
    }
    if (!c->has_tls)
        return tls_look_into_vault(c, w, err);
    snprintf(c->island.edge.tls_mark, sizeof c->island.edge.tls_mark, "%s", c->tls.mark);
    return 0;
}

/* A letter that is not what it should be stops the apply: it may be somebody else's who can write
 * into the container. */
static int open_letter(const Cmd *c, const Vault *v, Vault *part, Err *err)
{
    _cleanup_(buf_clear) Buf text = BUF_INIT(LETTER_MAX);
    _cleanup_secret_ Secret *key = NULL;
    _cleanup_free_ char *path = xasprintf("%s-mail/%s", c->island.name, c->tls_letter);
    int r = swift_get(c->clouds.of[CLOUD_OF_ISLAND], path, LETTER_MAX, &text, err);

    if (r == 0)
        r = tls_letter_open(&(TlsLetter){.island = c->island.name,
                                         .mark = c->island.edge.tls_mark,
                                         .text = buf_as_str(&text)},
                            &c->keys.own, v, part, err);
    if (r == -ERR_DENIED || r == -ERR_CORRUPT)
        (void)err_hint(err,
                       "somebody else may have written it: remove it, and the edge sends its own "
                       "within a day, or when atoll-host is restarted there");
    if (r < 0)
        return err_wrap(err, "the edge's letter %s", path);
    Str pem = secret_expose(vault_secret(part, TLS_CERTIFICATE));
    r = cert_key(pem, secret_expose(vault_secret(part, TLS_KEY)), &key, err);
    /* Whether it has ended meanwhile is no reason not to keep it: its account is in it too. */
    if (r == 0)
        r = cert_check(pem, c->island.domain, c->tls.begins + SECOND, err);
    return r < 0 ? err_wrap(err, "the certificate that the edge has got") : 0;
}

/* The vault gets what the letter brings; and `v` what the edge's bundle needs to write the next. */
int tls_acme_vault(Cmd *c, Vault *v, Err *err)
{
    _cleanup_secret_ Secret *how = tls_letter_key_new(v, &c->keys.recipients);
    _cleanup_(vault_drop) Vault *part = vault_new();
    Cert have = {0};

    vault_set(v, TLS_LETTER, how);
    bool has = tls_of_vault(v, &have);
    if (!c->tls_letter || (has && streq(have.mark, c->island.edge.tls_mark)))
        return 0;
    int r = open_letter(c, v, part, err);
    return r < 0 ? r : tls_store(c, &c->tls, part, v, err);
}
