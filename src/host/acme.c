#include "host/acme.h"
#include "io/file.h"

#define CERTBOT_DAYS (30 * DAY) /* certbot 2's own renew_before_expiry */
#define WAIT_FIRST (5 * MINUTE)
#define WAIT_MAX (1 * HOUR)
#define WORDS_MAX 300
#define STATE_MAX ((size_t)64 << 10)

const char *acme_server(const char *given)
{
    return *given ? given : ACME_SERVER;
}

AcmeDo acme_due(const Cert *have, Msec now)
{
    Msec left = have ? have->ends - now : 0;

    if (!have || left <= (have->ends - have->begins) / 3)
        return ACME_RENEW;
    return left > CERTBOT_DAYS ? ACME_LOOK : ACME_NOTHING;
}

Msec acme_wait(int64_t failed)
{
    Msec wait = WAIT_FIRST;

    if (failed <= 0)
        return ACME_EVERY;
    for (int64_t i = 1; i < failed && wait < WAIT_MAX; i++)
        wait *= 2;
    return MIN(wait, WAIT_MAX);
}

void acme_argv(const char *folder, const AcmeSettings *s, AcmeDo what, StrList *ret)
{
    const char *const fixed[] = {"certbot",        "certonly",  "--non-interactive", "--agree-tos",
                                 "--no-eff-email", "--webroot", "--email",           s->email,
                                 "--cert-name",    s->domain,   "--domain",          s->domain,
                                 "--webroot-path", s->webroot};

    for (size_t i = 0; i < ARRAY_LEN(fixed); i++)
        strlist_add(ret, fixed[i]);
    strlist_add(ret, "--server");
    strlist_add(ret, acme_server(s->server));
    strlist_add(ret, what == ACME_RENEW ? "--force-renewal" : "--keep-until-expiring");
    strlist_add(ret, "--config-dir");
    strlist_addf(ret, "%s/conf", folder);
    strlist_add(ret, "--work-dir");
    strlist_addf(ret, "%s/work", folder);
    strlist_add(ret, "--logs-dir");
    strlist_addf(ret, "%s/logs", folder);
    strlist_add(ret, "--max-log-backups");
    strlist_add(ret, "10");
}

bool acme_other_server(Str conf, const char *server)
{
    Str line;

    while (str_next(&conf, '\n', &line)) {
        Str name, value = line;
        if (str_next(&value, '=', &name) && str_eq(str_trim(name), STR_LIT("server")))
            return !str_eq(str_trim(value), str_of(acme_server(server)));
    }
    return false;
}

/* Whether the line begins so; *ret is then what is behind that. */
static bool after_head(Str line, Str head, Str *ret)
{
    if (line.n < head.n || memcmp(line.p, head.p, head.n) != 0)
        return false;
    *ret = (Str){line.p + head.n, line.n - head.n};
    return true;
}

/* Lines that say nothing of the reason. */
static bool is_idle(Str line)
{
    static const char *const heads[] = {
        "Saving debug log",
        "Ask for help",
        "An unexpected error occurred",
        "Some challenges have failed",
        "Requesting a certificate",
        "Renewing an existing certificate",
        "Account registered",
        "- - - -",
        "Hint: ",
    };

    for (size_t i = 0; i < ARRAY_LEN(heads); i++)
        if (after_head(line, str_of(heads[i]), &line))
            return true;
    return line.n == 0;
}

static void add_words(Buf *b, Str s)
{
    for (size_t i = 0; i < MIN(s.n, (size_t)WORDS_MAX); i++)
        buf_char(b, (unsigned char)s.p[i] < 0x20 || s.p[i] == 0x7f ? ' ' : s.p[i]);
}

void acme_words(Str output, Buf *ret)
{
    Str line, best = {0};
    bool detail = false;

    while (str_next(&output, '\n', &line)) {
        line = str_trim(line);
        bool is_detail = after_head(line, STR_LIT("Detail: "), &line);
        if (is_idle(line) || (detail && !is_detail))
            continue;
        best = line;
        detail = detail || is_detail;
    }
    add_words(ret, best.n ? best : STR_LIT("certbot says nothing"));
}

/* certbot 2.1 on Python 3.11 says "can't set attribute" for whatever its authority refuses
 * (github.com/certbot/certbot/issues/9539; Debian 12 has both). */
bool acme_log_words(Str output, Str log, Buf *ret)
{
    static const char hidden[] = "AttributeError: can't set attribute";
    Str line, best = {0};

    if (!output.n || !memmem(output.p, output.n, hidden, strlen(hidden)))
        return false;
    while (str_next(&log, '\n', &line))
        (void)after_head(line, STR_LIT("acme.messages.Error: "), &best); /* the last counts */
    add_words(ret, best);
    return best.n > 0;
}

char *acme_live(const char *folder, const char *domain, const char *name)
{
    return xasprintf("%s/conf/live/%s/%s", folder, domain, name);
}

int acme_pair(const char *folder, const char *domain, Cert *ret, Buf *ret_pem, Secret **ret_key,
              Err *err)
{
    _cleanup_free_ char *chain = acme_live(folder, domain, "fullchain.pem"),
                        *key = acme_live(folder, domain, "privkey.pem");
    _cleanup_(buf_clear) Buf pem = BUF_INIT(CERT_MAX_BYTES);
    _cleanup_(buf_wipe) Buf key_pem = BUF_INIT(CERT_MAX_BYTES);
    _cleanup_secret_ Secret *secret = NULL;
    Cert cert;

    int r = file_read(chain, &pem, err);
    if (r == 0)
        r = file_read(key, &key_pem, err);
    if (r == 0)
        r = cert_read(buf_as_str(&pem), &cert, ret_pem, err);
    if (r == 0)
        r = cert_key(buf_as_str(&pem), buf_as_str(&key_pem), &secret, err);
    if (r < 0)
        return r;
    *ret = cert;
    if (ret_key)
        *ret_key = TAKE(secret);
    return 0;
}

static char *state_path_new(const char *folder)
{
    return path_join(folder, "state.json");
}

void acme_state_read(const char *folder, AcmeState *ret)
{
    _cleanup_free_ char *path = state_path_new(folder);
    _cleanup_(buf_clear) Buf text = BUF_INIT(STATE_MAX);
    _cleanup_json_ json_t *j = NULL;

    if (file_read(path, &text, NULL) == 0)
        j = json_parse_new(text.p, text.len, NULL);
    *ret = (AcmeState){.next = json_int(j, "next", 0),
                       .asked = json_int(j, "asked", 0),
                       .failed = json_int(j, "failed", 0),
                       .why = xstrdup(json_str_or(j, "why", ""))};
    snprintf(ret->of, sizeof ret->of, "%s", json_str_or(j, "of", ""));
}

int acme_state_write(const char *folder, const AcmeState *s, Err *err)
{
    _cleanup_free_ char *path = state_path_new(folder);
    json_t *why = json_string(s->why); /* NULL: cut inside a character */
    _cleanup_json_ json_t *j =
        json_make_new("{s:s, s:I, s:I, s:I, s:o}", "of", s->of, "next", (json_int_t)s->next,
                      "asked", (json_int_t)s->asked, "failed", (json_int_t)s->failed, "why",
                      why ? why : json_string("certbot's words are not text"));
    _cleanup_free_ char *text = json_text_new(j);

    return file_write(path, str_of(text), 0600, err);
}

void acme_state_clear(AcmeState *s)
{
    free(s->why);
    *s = (AcmeState){0};
}
