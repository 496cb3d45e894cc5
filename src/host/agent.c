#include "host/agent.h"
#include "base/log.h"
#include "host/agent_state.h"
#include "host/ask_run.h"
#include "host/boot.h"
#include "host/bundle.h"
#include "host/edge_tls.h"
#include "host/health.h"
#include "host/machine.h"
#include "host/mailbox.h"
#include "host/release_store.h"
#include "host/role_services.h"
#include "host/upgrade.h"
#include "host/volume.h"
#include "io/child.h"
#include "io/file.h"
#include "island/roles.h"

#include <signal.h>
#include <sys/stat.h>

#define MAX_SERVICES 64
#define TURN_MS 100
#define TURN_BUSY_MS 20 /* while somebody waits for an answer */
#define REPORT_EVERY (1 * MINUTE)
#define REPORT_LIFE_S (7 * DAY / SECOND)
#define COUNT_EVERY (30 * SECOND)
#define COUNT_RETRY (2 * SECOND)
#define REPORT_GAP (1 * SECOND) /* of reports that differ in words only */
#define POLL_FAST (1 * SECOND)
#define POLL_SLOW (10 * SECOND)
#define POLL_ASKED ((Msec)250) /* somebody is there who waits */
#define CALM_AFTER (10 * MINUTE)
#define INSTALL_RETRY (2 * SECOND)
#define LOOK_SOON ((Msec)300)
#define INSTALL_LIMIT (3 * MINUTE)
#define FLUSH_MS (2 * SECOND)

/* Numbers that go along with a report, asked of a service while it is well. */
static const struct {
    const char *part; /* of the report */
    const char *service;
    Role role;
    ServiceHealth health;
    HealthAsk ask;
} count_rows[] = {
    {"backlog", "redis", ROLE_REDIS, HEALTH_REDIS, ASK_BACKLOG},
    {"clients", "stream", ROLE_STREAM, HEALTH_HTTP, ASK_CLIENTS},
};

typedef struct Count {
    Health *asked;
    json_t *found; /* NULL: not known */
    Msec at;       /* when to ask again */
    bool told;     /* the newest report has it */
} Count;

typedef struct Agent {
    const AgentOptions *o;
    AgentState state;
    HostPaths paths;
    Mailbox *mail;
    Supervisor *services;
    ReleaseStore *releases;
    Upgrade *upgrade;
    Machine *machine; /* NULL on a pocket server */
    EdgeTls *tls;
    /* The bundle that is run; number 0: none yet. */
    int64_t number;
    json_t *spec, *urls;
    Vault *secrets;
    bool installed;      /* the driver has it */
    bool install_failed; /* for a reason that time alone does not mend */
    Msec install_at, since;
    char *install_why;
    /* Reports. */
    char *last_body, *last_state;
    Msec reported, healthy_since;
    AskRuns *asks;
    char started[TIME_TEXT_MAX];
    Count counts[ARRAY_LEN(count_rows)];
    char *trouble; /* the mailbox's, as it was logged */
    char *machine_trouble;
} Agent;

static const char *own_word(const Agent *a, const ServiceStatus *s, size_t n, Msec now)
{
    const char *word = "healthy";

    if (!a->installed)
        return now - a->since >= INSTALL_LIMIT || a->install_failed ? "failed" : "starting";
    for (size_t i = 0; i < n; i++) {
        if (s[i].state == SERVICE_FAILED)
            return "failed";
        if (s[i].state != SERVICE_HEALTHY)
            word = "starting";
    }
    return word;
}

/* No secret has a way into it: names, states, and words of failures that are made of names, numbers
 * and what programs say of addresses and exit statuses. */
static char *report_body_new(const Agent *a, int64_t number, const char *state, const char *why,
                             const ServiceStatus *s, size_t n)
{
    _cleanup_json_ json_t *services = json_array();

    for (size_t i = 0; i < n; i++) {
        /* A service's words may be cut inside a character. */
        json_t *words = json_string(s[i].why);
        json_array_append_new(services, json_make_new("{s:s, s:s, s:o, s:i}", "name", s[i].name,
                                                      "state", service_state_word(s[i].state),
                                                      "why", words ? words : json_string(""),
                                                      "restarts", s[i].restarts));
    }
    _cleanup_json_ json_t *body =
        json_make_new("{s:I, s:s, s:O, s:s, s:s}", "number", (json_int_t)number, "state", state,
                      "services", services, "version", ATOLL_VERSION, "server", a->state.server);
    json_object_set_new(body, "started", json_string(a->started));
    if (a->installed && json_object_get(a->spec, "release"))
        json_object_set(body, "release", json_object_get(a->spec, "release"));
    if (why && *why)
        json_object_set_new(body, "why", json_string(why));
    json_t *tls = edge_tls_report_new(a->tls);
    if (tls)
        json_object_set_new(body, "tls", tls);
    return json_text_new(body);
}

/* Numbers change all the time: they go along with a report, and are no reason for one. */
static char *with_counts_new(const Agent *a, const char *body)
{
    _cleanup_json_ json_t *whole = json_parse_new(body, strlen(body), NULL);

    BUG_IF(!whole);
    for (size_t i = 0; i < ARRAY_LEN(count_rows); i++)
        if (a->counts[i].found)
            json_object_set(whole, count_rows[i].part, a->counts[i].found);
    return json_text_new(whole);
}

static void drop_count(Count *count)
{
    json_decref(count->found);
    (void)health_free(count->asked);
    *count = (Count){.told = count->told};
}

static void drop_counts(Agent *a)
{
    for (size_t i = 0; i < ARRAY_LEN(count_rows); i++)
        drop_count(&a->counts[i]);
}

static void take_count(Count *count, Msec now)
{
    char why[160];
    int r;

    if (!health_answer(count->asked, &r, why))
        return;
    json_t *found = health_found_new(count->asked);
    drop_count(count);
    count->found = found;
    count->at = now + (r == 0 ? COUNT_EVERY : COUNT_RETRY);
}

static void ask_count(Agent *a, size_t i)
{
    Service s = {
        .health = count_rows[i].health,
        .health_address = (char *)(uintptr_t)json_str_or(a->spec, "address", ""),
        .health_port = role_rows[count_rows[i].role].port,
        .health_secret = vault_secret(a->secrets, "redis_password"),
    };
    a->counts[i].asked = health_begin(&s, count_rows[i].ask, 0, false);
}

static void look_at_counts(Agent *a, Msec now)
{
    ServiceStatus s[MAX_SERVICES];
    size_t n = supervisor_status(a->services, s, MAX_SERVICES);

    for (size_t i = 0; i < ARRAY_LEN(count_rows); i++) {
        Count *count = &a->counts[i];
        bool well = false;

        for (size_t k = 0; k < n; k++)
            well =
                well || (streq(s[k].name, count_rows[i].service) && s[k].state == SERVICE_HEALTHY);
        if (count->asked)
            take_count(count, now);
        else if (!well || !a->installed)
            drop_count(count);
        else if (now >= count->at)
            ask_count(a, i);
    }
}

/* Is there one that no report has told yet? */
static bool counts_untold(const Agent *a)
{
    for (size_t i = 0; i < ARRAY_LEN(count_rows); i++)
        if (a->counts[i].found && !a->counts[i].told)
            return true;
    return false;
}

static void put_report(Agent *a, int64_t number, const char *state, const char *body)
{
    _cleanup_free_ char *name = xasprintf("%08lld-%s", (long long)number, state);
    mailbox_put(a->mail, name, body, REPORT_LIFE_S);
}

/* A report goes out at once when the state is another, soon when its words are, and every minute.
 */
static void report(Agent *a, Msec now)
{
    ServiceStatus s[MAX_SERVICES];

    if (a->number == 0)
        return;
    size_t n = supervisor_status(a->services, s, MAX_SERVICES);
    const char *state = own_word(a, s, n, now);
    if (!streq(state, "healthy"))
        a->healthy_since = 0;
    else if (a->healthy_since == 0)
        a->healthy_since = now;

    bool other_state = !streq(state, a->last_state);
    Msec age = now - a->reported;
    if (!other_state && age < REPORT_GAP)
        return;
    char *body = report_body_new(a, a->number, state, a->installed ? NULL : a->install_why, s, n);
    bool other_body = !streq(body, a->last_body) || counts_untold(a);
    if (!other_state && age < REPORT_EVERY && !other_body) {
        free(body);
        return;
    }
    _cleanup_free_ char *whole = with_counts_new(a, body);
    put_report(a, a->number, state, whole);
    for (size_t i = 0; i < ARRAY_LEN(count_rows); i++)
        a->counts[i].told = a->counts[i].found != NULL;
    if (other_state)
        log_info("bundle %lld is %s", (long long)a->number, state);
    free(a->last_body);
    free(a->last_state);
    a->last_body = body;
    a->last_state = xstrdup(state);
    a->reported = now;
}

/* --- installing --- */

/* Services that run as other users have to pass through folders that are the agent's. */
static void let_pass(const Agent *a, const char *folder)
{
    struct stat st;
    if (a->paths.as_root && *folder && stat(folder, &st) == 0 && (st.st_mode & 0011) != 0011)
        (void)chmod(folder, (st.st_mode | 0011) & 07777); /* starting will say what is wrong */
}

/* Told to stop: done when all services have, and the volume may be detached. */
static int let_go(Agent *a, Err *err)
{
    ServiceStatus s[MAX_SERVICES];

    if (!json_bool(a->spec, "stop", false))
        return 0;
    if (supervisor_status(a->services, s, MAX_SERVICES) > 0)
        return err_set(err, ERR_TEMPORARY, "its services are finishing what they are at");
    return volume_release(a->paths.root, err);
}

/* What the server itself needs, before its services. One that is told to stop needs nothing. */
static int get_ready(Agent *a, Msec now, Err *err)
{
    if (!a->machine || json_bool(a->spec, "stop", false))
        return 0;
    int r = machine_ready(a->machine, a->spec, now, err);
    /* INSTALL_LIMIT is for what is ours, not for a slow mirror of packages. */
    if (machine_working(a->machine, now))
        a->since = now;
    if (r == 0)
        host_paths_again(&a->paths);
    return r;
}

/* What is fetched has limits of its own (release_store.c, upgrade.c), longer than INSTALL_LIMIT: an
 * image of gigabytes is no failure. */
static int fetched(Agent *a, int r, Msec now)
{
    if (r == -ERR_TEMPORARY)
        a->since = now;
    return r;
}

/* The services of the bundle, as they are on this server. */
static int describe(const Agent *a, const char *data, Services *ret, Err *err)
{
    HostPaths paths = a->paths;

    let_pass(a, a->paths.root);
    let_pass(a, data);
    paths.address = json_str_or(a->spec, "address", "");
    paths.server = a->state.server;
    paths.data = data;
    return role_services(a->spec, a->secrets, &paths, ret, err);
}

static int data_folder(const Agent *a, char **ret, Err *err)
{
    return volume_folder(a->paths.root, json_str(a->spec, "volume_id"), ret, err);
}

static int install(Agent *a, Msec now, Err *err)
{
    _cleanup_free_ char *data = NULL;
    _cleanup_(services_clear) Services services = {0};

    int r = get_ready(a, now, err);
    if (r == 0)
        r = data_folder(a, &data, err);
    if (r < 0)
        return r;
    r = fetched(a, release_store_ready(a->releases, a->spec, a->urls, now, err), now);
    if (r < 0)
        return r;
    r = describe(a, data, &services, err);
    if (r == 0)
        r = supervisor_set(a->services, &services, now, err);
    if (r == 0)
        r = let_go(a, err);
    /* Last, so that one that fails holds up nothing else. */
    return r < 0 ? r : fetched(a, upgrade_ready(a->upgrade, a->spec, a->urls, now, err), now);
}

static void try_install(Agent *a, Msec now)
{
    _cleanup_(err_clear) Err err = {0};

    if (a->number == 0 || a->installed || now < a->install_at)
        return;
    if (install(a, now, &err) == 0) {
        a->installed = true;
        a->install_failed = false;
        return;
    }
    a->install_failed = err.kind != ERR_TEMPORARY;
    if (!streq(a->install_why, err.text))
        log_warn("bundle %lld: %s", (long long)a->number, err.text);
    free(a->install_why);
    a->install_why = xstrdup(err.text);
    bool soon =
        json_bool(a->spec, "stop", false) || (a->machine && machine_working(a->machine, now));
    a->install_at = now + (soon ? LOOK_SOON : INSTALL_RETRY);
}

/* --- bundles --- */

static int open_bundle(Agent *a, Str text, int64_t number, int64_t last, json_t **ret_body,
                       Err *err)
{
    BundleHead expect = {a->state.server, a->state.nonce, number};
    return bundle_open(text, a->state.sign_public, &a->state.key, &expect, last, ret_body, err);
}

/* Makes an opened bundle the one that is run. It is tried out on paper first: what this version
 * does not know is refused, and the last good one runs on. */
static int adopt(Agent *a, json_t *body, Msec now, Err *err)
{
    _cleanup_(vault_drop) Vault *secrets = vault_new();
    _cleanup_(services_clear) Services services = {0};
    json_t *spec = json_object_get(body, "spec");
    HostPaths paths = a->paths;

    int r = bundle_vault(body, secrets, err);
    if (r < 0)
        return r;
    paths.address = json_str_or(spec, "address", "");
    paths.data = "/srv/atoll";
    paths.paper = a->machine != NULL;
    if (!*paths.address && !json_bool(spec, "stop", false))
        return err_set(err, ERR_CONFIG, "the bundle does not say this server's address");
    r = edge_tls_pair(a->tls, spec, secrets, time_now(), err);
    if (r == 0)
        r = role_services(spec, secrets, &paths, &services, err);
    if (r < 0)
        return r;
    /* `services` borrows from the secrets. */
    services_clear(&services);
    json_decref(a->spec);
    json_decref(a->urls);
    (void)vault_free(a->secrets);
    a->spec = json_incref(spec);
    a->urls = json_incref(json_object_get(body, "urls"));
    a->secrets = TAKE(secrets);
    a->number = json_int(body, "number", 0);
    a->installed = a->install_failed = false;
    a->install_at = 0;
    a->since = now;
    free(TAKE(a->install_why));
    free(TAKE(a->last_state));
    drop_counts(a);
    return 0;
}

static void refuse(Agent *a, int64_t number, const Err *why)
{
    _cleanup_(err_clear) Err err = {0};
    _cleanup_free_ char *body = report_body_new(a, number, "refused", why->text, NULL, 0);

    log_warn("bundle %lld is refused: %s", (long long)number, why->text);
    put_report(a, number, "refused", body);
    if (agent_state_pass(&a->state, number, &err) < 0)
        log_err(&err);
    a->state.last = MAX(a->state.last, number);
}

/* Its number is noted before it is run, so that it is run once at most. */
static void take_ask(Agent *a, int64_t number, const json_t *ask, Msec now)
{
    _cleanup_(err_clear) Err err = {0}, full = {0};

    ask_runs_note(a->asks, number, ask);
    if (agent_state_pass(&a->state, number, &full) < 0)
        log_err(&full);
    a->state.last = MAX(a->state.last, number);
    if (ask_runs_take(a->asks,
                      &(AskInput){.number = number,
                                  .ask = ask,
                                  .spec = a->spec,
                                  .secrets = a->secrets,
                                  .refuse = full.text,
                                  .now = now,
                                  .clock = time_now()},
                      &err) < 0)
        refuse(a, number, &err);
}

static void take_bundle(Agent *a, int64_t number, Str text, Msec now)
{
    _cleanup_(err_clear) Err err = {0};
    _cleanup_json_ json_t *body = NULL;

    int r = open_bundle(a, text, number, a->state.last, &body, &err);
    if (r == 0 && json_object_get(body, "ask")) {
        take_ask(a, number, json_object_get(body, "ask"), now);
        return;
    }
    if (r == 0)
        r = adopt(a, body, now, &err);
    if (r < 0) {
        refuse(a, number, &err);
        return;
    }
    log_info("bundle %lld is taken", (long long)number);
    const json_t *urls = json_object_get(body, "urls");
    if (json_str(urls, "in") && json_str(urls, "out"))
        mailbox_urls(a->mail, json_str(urls, "in"), json_str(urls, "out"));
    /* If this disk is full the bundle is run all the same. It is asked for again after a restart,
     * not before: taking it once more would begin all services anew. */
    if (agent_state_keep(&a->state, number, text, &err) < 0)
        log_err(&err);
    a->state.last = MAX(a->state.last, number);
}

/* The bundle that ran before this program was started. *ret_body is NULL if there is none. */
static void open_kept(Agent *a, json_t **ret_body, Msec now)
{
    _cleanup_(buf_clear) Buf text = BUF_INIT(BUNDLE_TEXT_MAX);
    _cleanup_(err_clear) Err err = {0};

    int r = agent_state_bundle(&a->state, &text, &err);
    if (r == -ERR_NOT_FOUND)
        return;
    if (r == 0)
        r = open_bundle(a, buf_as_str(&text), 0, 0, ret_body, &err);
    if (r == 0)
        r = adopt(a, *ret_body, now, &err);
    if (r < 0) {
        (void)err_wrap(&err, "the bundle that was kept cannot be used");
        log_err(&err);
        return;
    }
    a->state.last = MAX(a->state.last, a->number);
}

static void open_mail(Agent *a, const json_t *kept)
{
    const json_t *urls = json_object_get(kept, "urls");

    a->mail = mailbox_open(json_str_or(urls, "in", a->state.in_url),
                           json_str_or(urls, "out", a->state.out_url), a->state.last + 1);
    if (a->number == 0 && a->state.k) {
        _cleanup_(buf_clear) Buf hello = BUF_INIT(BUF_MAX_LINE);
        boot_hello_make(a->state.k, a->state.server, a->state.nonce, a->state.key.public_b64,
                        &hello);
        /* It stays: every bundle is sealed to the key in it. */
        mailbox_put(a->mail, "hello", hello.p, 0);
    }
}

/* --- the loop --- */

static void look_at_mail(Agent *a, Msec now)
{
    _cleanup_free_ char *text = NULL;
    int64_t number;

    if (mailbox_take(a->mail, &number, &text))
        take_bundle(a, number, str_of(text), now);
    bool calm = a->healthy_since && now - a->healthy_since >= CALM_AFTER;
    mailbox_next(a->mail, a->state.last + 1,
                 ask_runs_lively(a->asks, now) ? POLL_ASKED
                 : calm                        ? POLL_SLOW
                                               : POLL_FAST);

    char *trouble = mailbox_trouble(a->mail);
    if (trouble && !streq(trouble, a->trouble))
        log_warn("%s", trouble);
    else if (!trouble && a->trouble)
        log_info("the object store answers again");
    free(a->trouble);
    a->trouble = trouble;
}

static void look_at_machine(Agent *a, Msec now)
{
    _cleanup_(err_clear) Err err = {0};

    if (!a->machine)
        return;
    machine_busy(a->machine, supervisor_busy(a->services));
    if (machine_tick(a->machine, a->state.server, now, time_now(), &err) == 0)
        return;
    if (!streq(a->machine_trouble, err.text))
        log_warn("%s", err.text);
    free(a->machine_trouble);
    a->machine_trouble = xstrdup(err.text);
}

/* nginx alone is told: all else goes on as it is. */
static void serve_certificate(Agent *a)
{
    _cleanup_(services_clear) Services services = {0};
    _cleanup_(err_clear) Err err = {0};
    _cleanup_free_ char *data = NULL;

    int r = data_folder(a, &data, &err);
    if (r == 0)
        r = describe(a, data, &services, &err);
    if (r == 0)
        r = supervisor_renew(a->services, &services, "edge", &err);
    if (r < 0)
        log_err(&err);
    else
        log_info("nginx is told of the new certificate");
}

static void look_at_certificate(Agent *a, Msec now)
{
    _cleanup_(edge_letter_clear) EdgeLetter letter = {0};
    Msec wall = time_now();

    if (a->number == 0)
        return;
    if (edge_tls_turn(a->tls, a->spec, a->secrets, now, wall) && a->installed)
        serve_certificate(a);
    if (edge_tls_letter(a->tls, a->spec, a->secrets, wall, &letter) &&
        mailbox_put_kept(a->mail, letter.name, letter.body.p, letter.life_s))
        edge_tls_sent(a->tls);
}

static void agent_turn(Agent *a)
{
    Msec now = time_mono();

    look_at_mail(a, now);
    look_at_machine(a, now);
    try_install(a, now);
    /* Packages that a new version needs may take longer than it is waited for (upgrade.h). */
    if (a->installed || (a->machine && a->number && machine_working(a->machine, now)))
        upgrade_alive(a->upgrade);
    supervisor_tick(a->services, now);
    look_at_certificate(a, now);
    ask_runs_tick(a->asks, now);
    look_at_counts(a, now);
    report(a, now);
}

static void agent_clear(Agent *a)
{
    (void)ask_runs_close(a->asks);
    (void)mailbox_close(a->mail, FLUSH_MS);
    (void)supervisor_close(a->services);
    agent_state_clear(&a->state);
    (void)release_store_close(a->releases);
    (void)upgrade_close(a->upgrade);
    json_decref(a->spec);
    json_decref(a->urls);
    (void)vault_free(a->secrets);
    free(a->install_why);
    drop_counts(a);
    free(a->last_body);
    free(a->last_state);
    free(a->trouble);
    free(a->machine_trouble);
    (void)machine_free(a->machine);
    (void)edge_tls_close(a->tls);
    host_paths_clear(&a->paths);
}
DEFINE_CLEAR(Agent, agent_clear)

int agent_run(const AgentOptions *o, Err *err)
{
    _cleanup_(agent_clear) Agent a = {.o = o, .state.lock_fd = -1};
    _cleanup_free_ char *log_dir = xasprintf("%s/var/log/atoll", o->root);
    json_t *kept = NULL;

    int r = host_paths_find(o->root, &a.paths, err);
    if (r == 0)
        r = agent_state_open(o->root, &a.state, err);
    if (r < 0)
        return r;
    time_format(time_now(), false, a.started);
    a.services = supervisor_open(o->driver, o->root, log_dir);
    a.releases = release_store_open(o->root, a.paths.canary);
    a.upgrade = upgrade_open(o->root);
    a.tls = edge_tls_open(o->root);
    if (!*o->root)
        a.machine = machine_new("", NULL, time_mono());
    open_kept(&a, &kept, time_mono());
    open_mail(&a, kept);
    json_decref(kept);
    a.asks = ask_runs_open(&(AskHost){.server = a.state.server,
                                      .nonce = a.state.nonce,
                                      .folder = a.state.folder,
                                      .paths = &a.paths,
                                      .driver = o->driver->name,
                                      .mail = a.mail},
                           a.state.last);
    log_info("%s is up; its services are run by the %s driver", a.state.server, o->driver->name);
    child_notify("READY=1");
    while (!*o->stop && !upgrade_wants_exec(a.upgrade)) {
        agent_turn(&a);
        if (!*o->stop)
            time_sleep(ask_runs_busy(a.asks) ? TURN_BUSY_MS : TURN_MS);
    }
    a.asks = ask_runs_close(a.asks);
    child_notify("STOPPING=1");
    if (supervisor_may_leave(a.services)) {
        log_info("the services run on");
        return 0;
    }
    log_info("stopping the services");
    while (!supervisor_stop(a.services, time_mono()))
        time_sleep(TURN_MS);
    return upgrade_wants_exec(a.upgrade) ? 1 : 0;
}
