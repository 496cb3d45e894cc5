/* The loop's outside: an OpenStack cloud, a vault, a lease. */
#include "host/boot.h"
#include "host/mail.h"
#include "host/release.h"
#include "host/spec.h"
#include "island/want.h"
#include "plan/apply_driver.h"
#include "plan/kind.h"
#include "plan/lease.h"

#define USER_DATA_MAX ((size_t)64 << 10)
#define REPORT_MAX ((size_t)64 << 10)
/* Of a pause, so that Ctrl-C is noticed although it came just before the sleep. */
#define SLICE ((Msec)100)

typedef struct Driver {
    const ApplyContext *c;
    const Vault *vault;
    bool may_send; /* before_send was called */
    Lease lease;
} Driver;

/* What one request needs while it is under way. */
typedef struct Secrets {
    KindSecrets kind;
    Secret *key;
    Buf user_data;
    char nonce[17];
} Secrets;

static int open_vault(Driver *d, Err *err)
{
    if (d->vault)
        return 0;
    if (!d->c->need_vault)
        return err_set(err, ERR_BUG, "a step needs a secret, and there is no vault");
    return d->c->need_vault(d->c->need_vault_user, &d->vault, err);
}

static int begin_sending(Driver *d, Err *err)
{
    if (d->may_send || !d->c->before_send)
        return 0;
    int r = d->c->before_send(d->c->need_vault_user, err);
    d->may_send = r == 0;
    return r;
}

static bool needs_secret(const Goal *g, const Step *s)
{
    const Resource *want = goal_find(g, s->kind, s->key);

    if (s->verb == KIND_SEND)
        return true;
    if (s->verb == KIND_REBUILD)
        return true;
    if (s->verb == KIND_CREATE && (s->kind == RESOURCE_USER || s->kind == RESOURCE_SERVER))
        return true;
    return (s->verb == KIND_CREATE || s->verb == KIND_CHANGE) && s->kind == RESOURCE_CONTAINER &&
           want && json_bool(want->attrs, "temp_url", false);
}

static int fill_user_data(Driver *d, const Step *s, Secrets *ret, Err *err)
{
    BootInput in = {.cloud = d->c->clouds->of[CLOUD_OF_ISLAND],
                    .island = d->c->clouds->island,
                    .server = s->key,
                    .nonce = ret->nonce,
                    .package = d->c->package,
                    .now = cloud_now(d->c->clouds->of[CLOUD_OF_ISLAND])};
    int r;

    if (!d->c->package)
        return err_set(err, ERR_PREFLIGHT, "no package of atoll to install on a new server");
    /* Fresh for each attempt: a second one must not meet what the first left (traps.md). */
    boot_nonce(ret->nonce);
    r = boot_user_data(&in, d->vault, &ret->user_data, err);
    ret->kind.user_data = ret->user_data.p;
    ret->kind.boot = ret->nonce;
    return r;
}

static int fill_secrets(Driver *d, const Goal *g, const Step *s, Secrets *ret, Err *err)
{
    if (!needs_secret(g, s))
        return 0;
    if (s->kind == RESOURCE_USER) {
        ret->kind.user_password = vault_secret(d->vault, "media_password");
        return ret->kind.user_password
                   ? 0
                   : err_set(err, ERR_CORRUPT, "the vault has no media_password");
    }
    if (s->kind == RESOURCE_CONTAINER) {
        _cleanup_free_ char *label = xasprintf("temp-url/%s", s->key);

        ret->key = vault_derive_new(d->vault, label);
        ret->kind.temp_url_key = ret->key;
        return ret->key ? 0 : err_set(err, ERR_CORRUPT, "the vault has no master key");
    }
    return fill_user_data(d, s, ret, err);
}

static void secrets_clear(Secrets *s)
{
    (void)secret_free(s->key);
    buf_wipe(&s->user_data);
}

/* Nothing is deleted unless marker, kind, island and name agree (iac.md 2.8): the marker was the
 * list's filter, the rest is asked here once more. */
static bool is_ours(const Driver *d, const Resource *have)
{
    _cleanup_(strlist_clear) StrList containers = {0};
    _cleanup_free_ char *key = NULL, *tagged = NULL;
    int generation;

    if (have->kind == RESOURCE_CONTAINER) {
        island_containers(d->c->island, &containers);
        tagged = xasprintf("%d:%s", have->cloud, have->name);
        return strlist_has(&containers, tagged);
    }
    if (!resource_row(have->kind)->named)
        return have->kind == RESOURCE_FLOATING_IP;
    return resource_parse_name(d->c->clouds->island, have->kind, have->name, &key, &generation) &&
           streq(key, have->key) && generation == have->generation;
}

static bool removes(KindVerb verb)
{
    return verb == KIND_DELETE || verb == KIND_EMPTY || verb == KIND_DETACH;
}

/* A renamed one is wanted by its new key. */
static const char *wanted_key(const Step *s)
{
    return s->verb == KIND_RENAME ? s->detail : s->key;
}

/* Of two generations of a port, the address goes to the one that serves. */
static void serving_port(const World *w, const Step *s, Resource *want)
{
    const char *key = json_str_or(want->attrs, "port", "");
    const Resource *port = s->kind == RESOURCE_FLOATING_IP && s->verb == KIND_ATTACH
                               ? world_find(w, RESOURCE_PORT, key, host_current(w, key))
                               : NULL;

    if (port && port->id)
        json_object_set_new(want->attrs, "port", json_string(port->id));
}

static int build(Driver *d, const Goal *g, const World *w, const Step *s, Secrets *secrets,
                 Call *ret, Err *err)
{
    const Resource *want = removes(s->verb) ? NULL : goal_find(g, s->kind, wanted_key(s));
    const Resource *have = s->verb == KIND_CREATE ? NULL : plan_target(w, s);
    _cleanup_(resource_clear) Resource own = {0};
    int r;

    if (want) {
        own = want_at_new(want, s->generation);
        serving_port(w, s, &own);
        want = &own;
    }

    if (removes(s->verb) && (!have || !is_ours(d, have)))
        return err_set(err, ERR_AMBIGUOUS, "%s is not certainly the island's: it is left alone",
                       have ? have->name : s->key);
    if ((r = fill_secrets(d, g, s, secrets, err)) < 0)
        return r;
    return kind_call(d->c->clouds, w, s->kind, s->verb, want, have, s->detail, &secrets->kind, ret,
                     err);
}

/* What a failure means for the step. */
static DoingOutcome outcome_of(const Step *s, const Err *err, bool unknown)
{
    bool removal = removes(s->verb) || s->verb == KIND_UNRULE;

    if (removal && err->kind == ERR_NOT_FOUND)
        return DOING_DONE;
    if (unknown)
        return DOING_UNKNOWN;
    if (err->kind == ERR_CONFLICT && s->verb == KIND_CREATE)
        return DOING_THERE;
    /* Of rules, an earlier try's may be there already; the next look tells. */
    if (err->kind == ERR_CONFLICT && s->verb != KIND_SEND)
        return DOING_LATER;
    return DOING_FAILED;
}

static void read_answer(Driver *d, const World *w, Call *call, Doing *doing)
{
    const Step *s = doing->step;

    if (call->err.kind || call->unknown_effect) {
        (void)err_move(&doing->err, &call->err);
        doing->outcome = outcome_of(s, &doing->err, call->unknown_effect);
    } else if (s->verb != KIND_CREATE) {
        doing->outcome = DOING_DONE;
    } else if (kind_created(d->c->clouds, w, s->kind, call, &doing->resource, &doing->err) < 0) {
        /* It is made, but the answer can't be read. */
        doing->outcome = DOING_UNKNOWN;
    } else {
        doing->outcome = DOING_DONE;
    }
}

static int send_one(Driver *d, const Goal *g, const World *w, const Step *s, Err *err)
{
    const Resource *have = plan_target(w, s);
    _cleanup_json_ json_t *spec = have ? plan_sent_spec_new(g, w, have, s) : NULL;

    if (!spec)
        return err_set(err, ERR_BUG, "its settings can't be told yet");
    return boot_send(&(SendInput){.cloud = d->c->clouds->of[CLOUD_OF_ISLAND],
                                  .island = d->c->clouds->island,
                                  .server = s->key,
                                  .nonce = json_str_or(have->attrs, "boot", ""),
                                  .number = MAX(json_int(have->attrs, "sent", 0) + 1,
                                                json_int(have->attrs, "next", 0)),
                                  .expect_key = json_str(have->attrs, "sent_key"),
                                  .spec = spec,
                                  .backup_cloud = json_object_get(spec, "backup")
                                                      ? d->c->clouds->of[CLOUD_OF_BACKUP]
                                                      : NULL,
                                  .tree = d->c->tree,
                                  .tree_version = d->c->tree_version,
                                  .trees = d->c->trees,
                                  .now = cloud_now(d->c->clouds->of[CLOUD_OF_ISLAND])},
                     d->vault, err);
}

static void send_all(Driver *d, const Goal *g, const World *w, Doing *doing, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (doing[i].step->verb != KIND_SEND)
            continue;
        if (d->c->stop && *d->c->stop) {
            (void)err_set(&doing[i].err, ERR_INTERRUPTED, "interrupted before it was sent");
            continue;
        }
        doing[i].outcome =
            send_one(d, g, w, doing[i].step, &doing[i].err) == 0 ? DOING_DONE : DOING_FAILED;
    }
}

static int drive_perform(void *user, const Goal *g, const World *w, Doing *doing, size_t n,
                         Err *err)
{
    Driver *d = user;
    Call *calls = xcalloc(n, sizeof *calls);
    Secrets *secrets = xcalloc(n, sizeof *secrets);
    Doing **of = xcalloc(n, sizeof(Doing *));
    size_t m = 0;
    int r = 0;

    for (size_t i = 0; i < n; i++)
        secrets[i].user_data = BUF_INIT(USER_DATA_MAX);
    for (size_t i = 0; i < n && r == 0; i++) {
        if (needs_secret(g, doing[i].step))
            r = open_vault(d, err);
        if (r == 0 && doing[i].step->verb == KIND_SEND)
            r = begin_sending(d, err);
    }
    for (size_t i = 0; i < n && r == 0; i++) {
        if (doing[i].step->verb == KIND_SEND)
            continue;
        if (build(d, g, w, doing[i].step, &secrets[i], &calls[m], &doing[i].err) < 0)
            doing[i].outcome = outcome_of(doing[i].step, &doing[i].err, false);
        else
            of[m++] = &doing[i];
    }
    if (r == 0 && m)
        (void)!cloud_perform(calls, m, NULL); /* each call has its own outcome */
    for (size_t i = 0; i < m; i++) {
        if (r == 0)
            read_answer(d, w, &calls[i], of[i]);
        call_clear(&calls[i]);
    }
    if (r == 0)
        send_all(d, g, w, doing, n);
    for (size_t i = 0; i < n; i++)
        secrets_clear(&secrets[i]);
    free(of);
    free(secrets);
    free(calls);
    return r;
}

static void drive_pause(void *user, Msec ms)
{
    Driver *d = user;
    Msec end = time_mono() + ms;

    for (Msec left = ms; left > 0 && !(d->c->stop && *d->c->stop); left = end - time_mono())
        time_sleep(MIN(left, SLICE));
}

static int drive_look(void *user, unsigned mask, World *w, Err *err)
{
    const ApplyContext *c = ((Driver *)user)->c;

    return apply_look_kinds(&(ApplyLook){c->clouds, c->island, c->release, c->stop}, mask, w, err);
}

static Msec drive_now(void *user)
{
    const Driver *d = user;

    return cloud_now(d->c->clouds->of[CLOUD_OF_ISLAND]);
}

static int drive_lease_take(void *user, bool *ret_took_over, Msec *ret_since, Err *err)
{
    Driver *d = user;
    int r = lease_take(d->c->clouds, d->c->holder, drive_now(d), &d->lease, err);

    if (r < 0)
        return r;
    *ret_took_over = d->lease.took_over;
    *ret_since = d->lease.created_at;
    return 0;
}

static int drive_lease_renew(void *user, Err *err)
{
    Driver *d = user;

    return lease_renew(d->c->clouds, &d->lease, drive_now(d), err);
}

static void drive_lease_drop(void *user)
{
    Driver *d = user;

    lease_drop(d->c->clouds, &d->lease);
    lease_clear(&d->lease);
}

static void drive_tidy(void *user, const World *w)
{
    Driver *d = user;
    _cleanup_(strlist_clear) StrList old = {0};

    release_old(w->mail, &old);
    for (size_t i = 0; i < old.len; i++) {
        _cleanup_free_ char *path = xasprintf("%s-mail/%s", d->c->clouds->island, old.items[i]);

        if (swift_delete(d->c->clouds->of[CLOUD_OF_ISLAND], path, NULL) < 0)
            return;
    }
}

static Msec drive_mono(void *user)
{
    (void)user;
    return time_mono();
}

static char *drive_report(void *user, const char *object)
{
    Driver *d = user;
    _cleanup_free_ char *path = xasprintf("%s-mail/%s", d->c->clouds->island, object);
    _cleanup_(buf_clear) Buf body = BUF_INIT(REPORT_MAX);
    _cleanup_json_ json_t *report = NULL;

    /* It is only for words: without it the state alone has to do. */
    if (swift_get(d->c->clouds->of[CLOUD_OF_ISLAND], path, REPORT_MAX, &body, NULL) < 0)
        return NULL;
    report = json_parse_new(body.p, body.len, NULL);
    return report ? mail_report_words_new(report) : NULL;
}

const ApplyDriver apply_cloud_driver = {.perform = drive_perform,
                                        .look = drive_look,
                                        .lease_take = drive_lease_take,
                                        .lease_renew = drive_lease_renew,
                                        .lease_drop = drive_lease_drop,
                                        .now = drive_now,
                                        .mono = drive_mono,
                                        .pause = drive_pause,
                                        .tidy = drive_tidy,
                                        .report = drive_report};

int apply_run(const ApplyContext *c, const Goal *g, const Steps *plan, World *w, Err *err)
{
    Driver d = {.c = c};
    int r = apply_with(c, &apply_cloud_driver, &d, g, plan, w, err);

    lease_clear(&d.lease);
    return r;
}
