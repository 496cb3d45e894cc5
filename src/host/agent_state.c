#include "host/agent_state.h"
#include "io/file.h"

#include <unistd.h>

#define BOOT_MAX_BYTES ((size_t)16 << 10)

static int read_boot(AgentState *s, Err *err)
{
    _cleanup_(buf_wipe) Buf text = BUF_INIT(BOOT_MAX_BYTES);
    _cleanup_json_ json_t *boot = NULL;

    int r = file_read(s->boot_path, &text, err);
    if (r < 0)
        return r;
    boot = json_parse_new(text.p, text.len, err);
    if (!boot)
        return err_wrap(err, "reading %s", s->boot_path);
    const char *k = json_str(boot, "k");
    const struct {
        const char *name;
        char **to;
    } needed[] = {
        {"server", &s->server}, {"nonce", &s->nonce}, {"sign_public", &s->sign_public},
        {"in", &s->in_url},     {"out", &s->out_url},
    };
    for (size_t i = 0; i < ARRAY_LEN(needed); i++) {
        const char *value = json_str(boot, needed[i].name);
        if (!value)
            return err_set(err, ERR_CORRUPT, "%s has no '%s'", s->boot_path, needed[i].name);
        *needed[i].to = xstrdup(value);
    }
    s->k = k ? secret_new(k, strlen(k)) : NULL;
    return 0;
}

static int make_key(const char *path, KeyPair *ret, Err *err)
{
    _cleanup_(keypair_clear) KeyPair pair = {0};
    _cleanup_(buf_wipe) Buf text = BUF_INIT(BUF_MAX_LINE);

    crypt_box_keys(&pair);
    Str raw = secret_expose(pair.secret);
    crypt_base64(&text, raw.p, raw.n);
    buf_char(&text, '\n');
    int r = file_create(path, buf_as_str(&text), 0600, err);
    if (r == 0) {
        *ret = pair;
        pair = (KeyPair){0};
    }
    return r;
}

static int open_key(AgentState *s, Err *err)
{
    _cleanup_free_ char *path = path_join(s->folder, "host.key");
    _cleanup_(buf_wipe) Buf text = BUF_INIT(BUF_MAX_LINE), raw = BUF_INIT(BUF_MAX_LINE);

    if (!file_exists(path))
        return make_key(path, &s->key, err);
    int r = file_read(path, &text, err);
    if (r < 0)
        return r;
    if (!crypt_unbase64(&raw, str_trim(buf_as_str(&text))) || raw.len != CRYPT_KEY_BYTES)
        return err_set(err, ERR_CORRUPT, "%s is not a host's key", path);
    _cleanup_secret_ Secret *secret = secret_new(raw.p, raw.len);
    return crypt_box_public(secret, &s->key, err);
}

static int read_last(AgentState *s, Err *err)
{
    _cleanup_free_ char *path = path_join(s->folder, "last");
    _cleanup_(buf_clear) Buf text = BUF_INIT(BUF_MAX_LINE);

    if (!file_exists(path))
        return 0;
    int r = file_read(path, &text, err);
    if (r < 0)
        return r;
    while (text.len > 0 && text.p[text.len - 1] == '\n')
        buf_truncate(&text, text.len - 1);
    if (!parse_int(text.p, 0, INT32_MAX, &s->last))
        return err_set(err, ERR_CORRUPT, "%s is not a number", path);
    return 0;
}

int agent_state_open(const char *root, AgentState *ret, Err *err)
{
    _cleanup_(agent_state_clear) AgentState s = {
        .folder = xasprintf("%s/var/lib/atoll", root),
        .boot_path = xasprintf("%s/etc/atoll/boot.json", root),
        .lock_fd = -1,
    };
    _cleanup_free_ char *lock = path_join(s.folder, "lock");

    int r = file_mkdirs(s.folder, 0711, err);
    if (r == 0)
        r = file_lock(lock, &s.lock_fd, err);
    if (r == -ERR_HELD)
        return err_wrap(err, "another atoll host runs here");
    if (r == 0)
        r = read_boot(&s, err);
    if (r == 0)
        r = open_key(&s, err);
    if (r == 0)
        r = read_last(&s, err);
    if (r < 0)
        return r;
    *ret = s;
    s = (AgentState){.lock_fd = -1};
    return 0;
}

void agent_state_clear(AgentState *s)
{
    free(s->folder);
    free(s->boot_path);
    free(s->server);
    free(s->nonce);
    free(s->sign_public);
    free(s->in_url);
    free(s->out_url);
    (void)secret_free(s->k);
    keypair_clear(&s->key);
    if (s->lock_fd > 0)
        close(s->lock_fd);
    *s = (AgentState){.lock_fd = -1};
}

int agent_state_bundle(const AgentState *s, Buf *ret, Err *err)
{
    _cleanup_free_ char *path = path_join(s->folder, "bundle");
    return file_read(path, ret, err);
}

int agent_state_pass(AgentState *s, int64_t number, Err *err)
{
    _cleanup_free_ char *path = path_join(s->folder, "last");
    _cleanup_free_ char *text = xasprintf("%lld\n", (long long)number);

    int r = file_write(path, str_of(text), 0600, err);
    if (r == 0)
        s->last = number;
    return r;
}

static int forget_k(AgentState *s, Err *err)
{
    if (!s->k)
        return 0;
    _cleanup_json_ json_t *boot =
        json_make_new("{s:i, s:s, s:s, s:s, s:s, s:s}", "v", 1, "server", s->server, "nonce",
                      s->nonce, "sign_public", s->sign_public, "in", s->in_url, "out", s->out_url);
    _cleanup_free_ char *text = json_text_new(boot);
    int r = file_write(s->boot_path, str_of(text), 0600, err);
    if (r == 0)
        s->k = secret_free(s->k);
    return r;
}

int agent_state_keep(AgentState *s, int64_t number, Str text, Err *err)
{
    _cleanup_free_ char *path = path_join(s->folder, "bundle");

    /* The bundle first: a number without its bundle would be a bundle that is never run. */
    int r = file_write(path, text, 0600, err);
    if (r == 0)
        r = agent_state_pass(s, number, err);
    return r < 0 ? r : forget_k(s, err);
}
