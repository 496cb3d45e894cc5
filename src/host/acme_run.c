#include "host/acme_run.h"
#include "base/log.h"
#include "host/acme.h"
#include "host/acme_store.h"
#include "io/child.h"
#include "io/crypt.h"
#include "io/file.h"

#define TURN ((Msec)500)
#define CERTBOT_MS (10 * MINUTE)
#define OUTPUT_MAX ((size_t)256 << 10)
#define LOG_MAX ((size_t)4 << 20) /* certbot begins another at 1 MiB */
#define SETTINGS_MAX (2 * ACME_STORE_MAX)
#define JITTER (1 * HOUR)

typedef struct Runner {
    const AcmeRun *r;
    json_t *j; /* settings.json */
    AcmeSettings s;
    AcmeState state;
} Runner;

static void runner_clear(Runner *w)
{
    json_decref(w->j);
    acme_state_clear(&w->state);
}
DEFINE_CLEAR(Runner, runner_clear)

/* With the same settings as before, the next look is when it was to be. */
static int load(Runner *w, bool again, Err *err)
{
    _cleanup_free_ char *path = path_join(w->r->folder, "settings.json");
    _cleanup_(buf_wipe) Buf text = BUF_INIT(SETTINGS_MAX);
    _cleanup_(buf_clear) Buf hex = BUF_INIT(BUF_MAX_LINE);

    int r = file_read(path, &text, err);
    if (r < 0)
        return r;
    json_t *j = json_parse_new(text.p, text.len, err);
    if (!j)
        return err_wrap(err, "%s", path);
    json_decref(w->j);
    w->j = j;
    w->s = (AcmeSettings){.domain = json_str_or(j, "domain", ""),
                          .email = json_str_or(j, "email", ""),
                          .server = json_str_or(j, "server", ""),
                          .webroot = json_str_or(j, "webroot", "")};
    crypt_hash(CRYPT_SHA256, buf_as_str(&text), &hex);
    acme_state_clear(&w->state);
    acme_state_read(w->r->folder, &w->state);
    if (again || strncmp(w->state.of, hex.p, 16) != 0)
        w->state.next = 0;
    snprintf(w->state.of, sizeof w->state.of, "%.16s", hex.p);
    return 0;
}

static bool other_server(const Runner *w)
{
    _cleanup_free_ char *path = xasprintf("%s/conf/renewal/%s.conf", w->r->folder, w->s.domain);
    _cleanup_(buf_clear) Buf conf = BUF_INIT(SETTINGS_MAX);

    return file_read(path, &conf, NULL) == 0 && acme_other_server(buf_as_str(&conf), w->s.server);
}

static AcmeDo what_is_due(const Runner *w, Msec now)
{
    Cert have;
    bool has = acme_pair(w->r->folder, w->s.domain, &have, NULL, NULL, NULL) == 0;

    if (has && other_server(w))
        return ACME_RENEW;
    return acme_due(has ? &have : NULL, now);
}

static void say_why(const Runner *w, Str output, Buf *ret)
{
    _cleanup_free_ char *path = xasprintf("%s/logs/letsencrypt.log", w->r->folder);
    _cleanup_(buf_clear) Buf log = BUF_INIT(LOG_MAX);

    if (file_read(path, &log, NULL) == 0 && acme_log_words(output, buf_as_str(&log), ret))
        return;
    acme_words(output, ret);
}

/* What certbot leaves of each attempt, and does not need: requests, and keys once more. */
static int sweep(const Runner *w, Err *err)
{
    static const char *const names[] = {"csr", "keys"};
    int r = 0;

    for (size_t i = 0; r == 0 && i < ARRAY_LEN(names); i++) {
        _cleanup_free_ char *path = xasprintf("%s/conf/%s", w->r->folder, names[i]);
        r = file_remove_tree(path, err);
    }
    return r;
}

static int run_certbot(const Runner *w, AcmeDo what, Err *err)
{
    _cleanup_(strlist_clear) StrList argv = {0};
    _cleanup_(buf_clear) Buf out = BUF_INIT(OUTPUT_MAX), words = BUF_INIT(BUF_MAX_LINE);
    int status = 0;

    acme_argv(w->r->folder, &w->s, what, &argv);
    int r = sweep(w, err);
    if (r < 0)
        return r;
    r = child_run(&(ChildSpec){.argv = (const char *const *)argv.items,
                               .cwd = w->r->folder,
                               .die_with_parent = true},
                  (Str){0}, CERTBOT_MS, &out, &status, err);
    if (r < 0 || status == 0)
        return r;
    say_why(w, buf_as_str(&out), &words);
    return err_set(err, ERR_TEMPORARY, "%s", words.p);
}

static int look(Runner *w, Msec now, Err *err)
{
    int r = 0;

    if (!acme_store_there(w->r->folder, w->s.domain)) {
        const json_t *store = json_object_get(w->j, "store");
        r = acme_store_unpack(w->r->folder, w->s.domain, store, err);
        if (r < 0)
            return r;
    }
    AcmeDo what = what_is_due(w, now);
    if (what == ACME_NOTHING)
        return 0;
    if (what == ACME_RENEW)
        log_info("asking %s for a certificate for %s", acme_server(w->s.server), w->s.domain);
    return run_certbot(w, what, err);
}

/* All the world's twelve hours should not end in one minute. */
static Msec jitter(void)
{
    uint32_t n;

    crypt_random(&n, sizeof n);
    return (Msec)n % JITTER;
}

static void look_now(Runner *w, Msec now)
{
    _cleanup_(err_clear) Err err = {0}, full = {0};
    int r = look(w, now, &err);

    w->state.failed = r < 0 ? w->state.failed + 1 : 0;
    w->state.next = now + acme_wait(w->state.failed) + (r < 0 ? 0 : jitter());
    if (r == 0)
        w->state.asked = now;
    free(w->state.why);
    w->state.why = xstrdup(r < 0 ? err.text : "");
    if (r < 0) {
        char span[TIME_TEXT_MAX];
        log_warn("no certificate: %s; again in %s", err.text,
                 time_span(acme_wait(w->state.failed), span));
    }
    if (acme_state_write(w->r->folder, &w->state, &full) < 0)
        log_err(&full); /* it looks again too early after a restart, no more */
}

int acme_run(const AcmeRun *run, Err *err)
{
    _cleanup_(runner_clear) Runner w = {.r = run};
    int r = load(&w, false, err);

    while (r == 0 && !*run->stop) {
        Msec now = time_now();

        if (*run->again) {
            *run->again = 0;
            r = load(&w, true, err);
            continue;
        }
        /* A clock that was set back must not make it wait for longer. */
        if (now >= w.state.next || w.state.next > now + ACME_EVERY + JITTER)
            look_now(&w, now);
        time_sleep(TURN);
    }
    return r;
}
