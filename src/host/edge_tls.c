#include "host/edge_tls.h"
#include "base/log.h"
#include "host/acme.h"
#include "host/acme_store.h"
#include "host/tls.h"
#include "io/file.h"

#include <sys/stat.h>

#define LOOK_EVERY (1 * SECOND)
#define TELL_AGAIN (1 * DAY) /* in case the letter was lost */

/* Of a file: what changes when it is another. */
typedef struct Stamp {
    ino_t inode;
    Msec changed;
} Stamp;

struct EdgeTls {
    char *root, *folder; /* certbot's service's */
    Msec look_at;
    Stamp pair, state; /* as they were when they were read */
    Cert serves;       /* mark "": there is nothing to say */
    char self[17];     /* the mark of the pair that signs itself */
    char told[17];     /* of the newest letter */
    Msec told_at;      /* when it is to be sent again */
    Msec now;          /* of the newest turn */
    bool letter_due;   /* to be looked at, once each second */
    char *why;         /* certbot's */
    char *trouble;     /* ours; NULL */
};

EdgeTls *edge_tls_open(const char *root)
{
    EdgeTls *t = NEW(EdgeTls);

    t->root = xstrdup(root);
    t->folder = xasprintf("%s/var/lib/atoll-services/" ACME_SERVICE, root);
    t->why = xstrdup("");
    return t;
}

EdgeTls *edge_tls_close(EdgeTls *t)
{
    if (!t)
        return NULL;
    free(t->root);
    free(t->folder);
    free(t->why);
    free(t->trouble);
    free(t);
    return NULL;
}

static const json_t *acme_of(const json_t *spec)
{
    return json_at(spec, "listen.acme");
}

static const char *domain_of(const json_t *spec)
{
    return json_str_or(spec, "domain", "");
}

static Stamp stamp_of(const char *path)
{
    struct stat st;

    if (stat(path, &st) < 0)
        return (Stamp){0};
    return (Stamp){st.st_ino, st.st_mtim.tv_sec * SECOND + st.st_mtim.tv_nsec / 1000000};
}

static bool same_stamp(Stamp a, Stamp b)
{
    return a.inode == b.inode && a.changed == b.changed;
}

static void set_pair(Vault *secrets, const Buf *pem, const Secret *key)
{
    _cleanup_secret_ Secret *certificate = secret_new(pem->p, pem->len);

    vault_set(secrets, TLS_CERTIFICATE, certificate);
    vault_set(secrets, TLS_KEY, key);
}

/* Both in one file of the agent's own; a new one where it can't be read. */
static int self_pair(const EdgeTls *t, const char *domain, Msec wall, Vault *secrets, Err *err)
{
    _cleanup_free_ char *path = xasprintf("%s/var/lib/atoll/self.pem", t->root);
    _cleanup_(buf_wipe) Buf both = BUF_INIT(2 * CERT_MAX_BYTES);
    _cleanup_(buf_clear) Buf pem = BUF_INIT(CERT_MAX_BYTES);
    _cleanup_secret_ Secret *key = NULL;
    Cert cert;

    if (file_read(path, &both, NULL) == 0 &&
        cert_check(buf_as_str(&both), domain, wall, NULL) == 0 &&
        cert_read(buf_as_str(&both), &cert, &pem, NULL) == 0 &&
        cert_key(buf_as_str(&both), buf_as_str(&both), &key, NULL) == 0) {
        set_pair(secrets, &pem, key);
        return 0;
    }
    buf_truncate(&pem, 0);
    int r = cert_self(domain, wall, &pem, &key, err);
    if (r < 0)
        return r;
    set_pair(secrets, &pem, key);
    buf_truncate(&both, 0);
    buf_add(&both, pem.p, pem.len);
    buf_add(&both, secret_expose(key).p, secret_expose(key).n);
    _cleanup_(err_clear) Err full = {0};
    if (file_write(path, buf_as_str(&both), 0600, &full) < 0)
        log_warn("%s; the next start makes another certificate", full.text);
    return 0;
}

static bool serves_self(const EdgeTls *t)
{
    return *t->self && streq(t->self, t->serves.mark);
}

int edge_tls_pair(EdgeTls *t, const json_t *spec, Vault *secrets, Msec wall, Err *err)
{
    _cleanup_(buf_clear) Buf pem = BUF_INIT(CERT_MAX_BYTES);
    _cleanup_secret_ Secret *key = NULL;
    Cert have = {0}, got;

    t->serves = (Cert){0};
    if (!acme_of(spec))
        return 0;
    bool has = tls_of_vault(secrets, &have) && !streq(have.mark, t->self);
    /* While certbot changes them the two don't fit: then the next look finds them. */
    bool other = json_bool(acme_of(spec), "here", false) &&
                 acme_pair(t->folder, domain_of(spec), &got, &pem, &key, NULL) == 0 &&
                 (!has || (!streq(have.mark, got.mark) && got.begins >= have.begins));
    if (other) {
        set_pair(secrets, &pem, key);
        have = got;
    } else if (!has) {
        int r = self_pair(t, domain_of(spec), wall, secrets, err);
        if (r < 0)
            return r;
        (void)tls_of_vault(secrets, &have); /* it has just been made */
        memcpy(t->self, have.mark, sizeof t->self);
    }
    t->serves = have;
    return 0;
}

static void read_state(EdgeTls *t)
{
    _cleanup_free_ char *path = path_join(t->folder, "state.json");
    _cleanup_(acme_state_clear) AcmeState s = {0};
    Stamp now = stamp_of(path);

    if (same_stamp(now, t->state))
        return;
    t->state = now;
    acme_state_read(t->folder, &s);
    free(t->why);
    t->why = TAKE(s.why);
}

bool edge_tls_turn(EdgeTls *t, const json_t *spec, Vault *secrets, Msec now, Msec wall)
{
    char before[17];

    if (!json_bool(acme_of(spec), "here", false) || now < t->look_at)
        return false;
    t->look_at = now + LOOK_EVERY;
    t->now = now;
    t->letter_due = true;
    read_state(t);
    _cleanup_free_ char *path = acme_live(t->folder, domain_of(spec), "fullchain.pem");
    Stamp stamp = stamp_of(path);
    if (!stamp.inode || same_stamp(stamp, t->pair))
        return false;
    memcpy(before, t->serves.mark, sizeof before);
    if (edge_tls_pair(t, spec, secrets, wall, NULL) < 0)
        return false;
    /* Where the key did not fit yet, it is looked at again. */
    Cert whole;
    if (acme_pair(t->folder, domain_of(spec), &whole, NULL, NULL, NULL) == 0)
        t->pair = stamp;
    return !streq(before, t->serves.mark);
}

/* What is served may be the bundle's own while certbot has nothing. */
static bool is_news(const EdgeTls *t, const json_t *spec)
{
    Cert live;

    return *t->serves.mark && !serves_self(t) &&
           (!streq(t->told, t->serves.mark) || t->now >= t->told_at) &&
           !streq(json_str_or(spec, "listen.pair", ""), t->serves.mark) &&
           acme_pair(t->folder, domain_of(spec), &live, NULL, NULL, NULL) == 0 &&
           streq(live.mark, t->serves.mark);
}

static int make_letter(const EdgeTls *t, const json_t *spec, const Vault *secrets, EdgeLetter *ret,
                       Err *err)
{
    static const char *const names[] = {TLS_CERTIFICATE, TLS_KEY, TLS_LETTER};
    _cleanup_(vault_drop) Vault *parts = vault_new();
    _cleanup_(buf_wipe) Buf store = BUF_INIT(2 * ACME_STORE_MAX);

    int r = acme_store_pack(t->folder, domain_of(spec), &store, err);
    if (r < 0)
        return r;
    _cleanup_secret_ Secret *kept = secret_new(store.p, store.len);
    vault_set(parts, TLS_STORE, kept);
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (vault_secret(secrets, names[i]))
            vault_set(parts, names[i], vault_secret(secrets, names[i]));
    ret->body = BUF_INIT(BUF_MAX_BODY);
    return tls_letter_make(json_str_or(spec, "island", ""), parts, &ret->name, &ret->body, err);
}

bool edge_tls_letter(EdgeTls *t, const json_t *spec, const Vault *secrets, Msec wall,
                     EdgeLetter *ret)
{
    _cleanup_(err_clear) Err err = {0};

    if (!t->letter_due || !is_news(t, spec))
        return false;
    t->letter_due = false;
    int r = make_letter(t, spec, secrets, ret, &err);
    free(TAKE(t->trouble));
    if (r < 0)
        t->trouble = xasprintf("the certificate can't be sent to the vault: %s", err.text);
    ret->life_s = MAX(t->serves.ends - wall, DAY) / SECOND;
    return r == 0;
}

void edge_tls_sent(EdgeTls *t)
{
    memcpy(t->told, t->serves.mark, sizeof t->told);
    t->told_at = t->now + TELL_AGAIN;
}

void edge_letter_clear(EdgeLetter *l)
{
    free(l->name);
    buf_clear(&l->body);
    *l = (EdgeLetter){0};
}

json_t *edge_tls_report_new(const EdgeTls *t)
{
    const char *why = *t->why || !t->trouble ? t->why : t->trouble;

    if (!*t->serves.mark)
        return NULL;
    return json_make_new("{s:I, s:b, s:s}", "ends", (json_int_t)(t->serves.ends / SECOND), "self",
                         serves_self(t) ? 1 : 0, "why", why);
}
