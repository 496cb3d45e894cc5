#include "cloud/answer.h"
#include "cloud/login.h"
#include "io/crypt.h"
#include "io/file.h"

#include <sys/stat.h>
#include <unistd.h>

#define CACHE_VERSION 1
#define CACHE_MAX ((size_t)4 << 20)

/* Who and where, without the secret: a file's name is no place for a hash of a password. */
char *cache_path(const char *cache_dir, const char *prefix, const CloudConfig *c)
{
    const char *const parts[] = {c->auth_url,
                                 c->username,
                                 c->user_id,
                                 c->user_domain_name,
                                 c->user_domain_id,
                                 c->project_name,
                                 c->project_id,
                                 c->project_domain_name,
                                 c->project_domain_id,
                                 c->application_credential_id,
                                 c->application_credential_name,
                                 c->region,
                                 c->interface};
    _cleanup_(buf_clear) Buf who = BUF_INIT(BUF_MAX_LINE), hash = BUF_INIT(BUF_MAX_LINE);

    if (!cache_dir)
        return NULL;
    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        buf_printf(&who, "%s\n", parts[i] ? parts[i] : "");
    crypt_hash(CRYPT_SHA256, buf_as_str(&who), &hash);
    return xasprintf("%s/%s-%.16s", cache_dir, prefix, hash.p);
}

/* A file that others could have written is not believed. */
static bool is_private(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && (st.st_mode & 077) == 0 && st.st_uid == geteuid();
}

void token_cache_load(Cloud *c, Msec now)
{
    _cleanup_free_ char *path = cache_path(c->cache_dir, "token", &c->config);
    _cleanup_(buf_wipe) Buf text = BUF_INIT(CACHE_MAX);

    if (!path || !is_private(path) || file_read(path, &text, NULL) < 0)
        return;
    _cleanup_json_ json_t *j = json_parse_new(text.p, text.len, NULL);
    json_t *session = json_object_get(j, "session");
    const char *token = json_str(j, "secret");
    Msec expires_at = json_int(j, "expires_at", 0);
    if (json_int(j, "version", 0) == CACHE_VERSION && token && now < expires_at - TOKEN_SPARE &&
        json_str(session, "project_id") && json_str(session, "user_id")) {
        c->token = secret_new(token, strlen(token));
        c->expires_at = expires_at;
        json_decref(c->session);
        c->session = json_incref(session);
        c->logins++;
    }
    answer_wipe(j);
}

void token_cache_save(const Cloud *c)
{
    _cleanup_free_ char *path = cache_path(c->cache_dir, "token", &c->config);

    if (!path || !c->token)
        return;
    json_t *j = json_make_new("{s:i, s:s, s:I, s:O}", "version", CACHE_VERSION, "secret",
                              secret_expose(c->token).p, "expires_at", (json_int_t)c->expires_at,
                              "session", c->session);
    char *text = json_text_new(j);
    bool kept = file_mkdirs(c->cache_dir, 0700, NULL) == 0 &&
                file_write(path, str_of(text), 0600, NULL) == 0;
    (void)kept; /* without a cache everything works, only slower */
    explicit_bzero(text, strlen(text));
    free(text);
    answer_wipe(j);
    json_decref(j);
}

void token_cache_drop(const Cloud *c)
{
    _cleanup_free_ char *path = cache_path(c->cache_dir, "token", &c->config);
    if (path)
        (void)unlink(path); /* it may not be there */
}
