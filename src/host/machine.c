#include "host/machine.h"
#include "host/machine_files.h"
#include "host/machine_job.h"
#include "host/machine_needs.h"
#include "host/spec.h"
#include "io/crypt.h"
#include "io/file.h"
#include "island/roles.h"

#include <stdio.h>

#define WAIT_MS ((Msec)100) /* for what takes moments, in one call */
#define RETRY_FIRST (5 * SECOND)
#define RETRY_MAX (5 * MINUTE)
#define CLOSE_EVERY (5 * MINUTE)
#define REBOOT_BEGIN (3 * HOUR)
#define REBOOT_END (5 * HOUR)
#define REBOOT_REST (3 * HOUR)
#define REBOOT_LOOK (1 * MINUTE)
#define REBOOT_AGAIN (10 * MINUTE)

struct Machine {
    char *root, *path;
    /* Getting ready. */
    char spec[17]; /* the hash of what is being brought about */
    json_t *want;
    size_t step;
    Job job;
    StrList packages, missing, units;
    bool installed; /* apt-get has run, and has said that all is well */
    bool journal;   /* its limits are new */
    bool masks;     /* and masks are */
    char *why;      /* of the last failure; NULL */
    Msec retry_at, backoff;
    Msec began; /* with this spec */
    /* Looking after it. */
    Job firewall, reboot;
    Msec born, close_at, reboot_at;
    bool busy;
};

/* --- the steps --- */

/* Starts the step's job, or does the step and starts none. */
typedef int StepBegin(Machine *m, Msec now, Err *err);
/* Reads what its job printed; called when that has ended well. */
typedef int StepEnd(Machine *m, const Buf *out, Err *err);

static int begin_script(Machine *m, const char *script, const StrList *words, Msec now, Err *err)
{
    VEC(const char *) argv = {0};

    vec_push(&argv, "sh");
    vec_push(&argv, "-c");
    vec_push(&argv, script);
    vec_push(&argv, "sh");
    for (size_t i = 0; i < words->len; i++)
        vec_push(&argv, words->items[i]);
    vec_push(&argv, NULL);
    int r = job_begin(&m->job, m->path, argv.items, (Str){0}, now, err);
    vec_clear(&argv);
    return r;
}

static int begin_files(Machine *m, Msec now, Err *err)
{
    (void)now;
    int r = machine_updates(m->root, err);
    if (r == 0)
        r = machine_journal(m->root, &m->journal, err);
    if (r == 0 && machine_roles(m->want) & ROLE_BIT(ROLE_POSTGRES))
        r = machine_no_cluster(m->root, err);
    if (r == 0 && machine_roles(m->want) & ROLE_BIT(ROLE_SEARCH))
        r = machine_maps(m->root, err);
    for (size_t i = 0; r == 0 && i < m->units.len; i++)
        r = machine_mask(m->root, m->units.items[i], &m->masks, err);
    if (r == 0 && json_is_array(json_object_get(m->want, "ssh_keys")))
        r = machine_ssh_keys(m->root, json_object_get(m->want, "ssh_keys"), err);
    return r;
}

/* dpkg-query exits 1 if it does not know one of them. */
static int begin_look(Machine *m, Msec now, Err *err)
{
    static const char script[] =
        "dpkg-query --show --showformat='${Package} ${db:Status-Status}\\n' \"$@\" 2>/dev/null || "
        "[ $? = 1 ]";
    return begin_script(m, script, &m->packages, now, err);
}

static int end_look(Machine *m, const Buf *out, Err *err)
{
    _cleanup_(strlist_clear) StrList there = {0};
    Str rest = buf_as_str(out), line;

    while (str_next(&rest, '\n', &line)) {
        Str name;
        if (str_next(&line, ' ', &name) && str_eq(line, STR_LIT("installed")))
            strlist_addf(&there, "%.*s", (int)name.n, name.p);
    }
    strlist_clear(&m->missing);
    for (size_t i = 0; i < m->packages.len; i++)
        if (!strlist_has(&there, m->packages.items[i]))
            strlist_add(&m->missing, m->packages.items[i]);
    if (m->missing.len > 0 && m->installed)
        return err_set(err, ERR_TEMPORARY, "apt-get has installed it, but %s is not there",
                       m->missing.items[0]);
    return 0;
}

/* The list of packages may be too old for what it names; if it can't be renewed, apt-get says soon
 * what it lacks. After a power cut in the middle of it dpkg has to be told to finish first; before
 * apt-get has failed, what is half done may be somebody else's who is at it. */
static int begin_install(Machine *m, Msec now, Err *err)
{
    static const char script[] =
        "umask 022\n"
        "apt() {\n"
        "    apt-get -q -o DPkg::Lock::Timeout=600 -o Dpkg::Use-Pty=0 -o Acquire::Retries=2 \\\n"
        "        -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold \"$@\"\n"
        "}\n"
        "apt update\n"
        "apt install -y --no-install-recommends \"$@\" && exit 0\n"
        "[ -n \"$(ls /var/lib/dpkg/updates; dpkg --audit)\" ] || exit 1\n"
        "dpkg --force-confdef --force-confold --configure -a &&\n"
        "    apt install -y --no-install-recommends \"$@\"\n";

    m->installed = false;
    return m->missing.len > 0 ? begin_script(m, script, &m->missing, now, err) : 0;
}

static int end_install(Machine *m, const Buf *out, Err *err)
{
    (void)out;
    (void)err;
    m->installed = true;
    return 0;
}

static int begin_second_look(Machine *m, Msec now, Err *err)
{
    return m->installed ? begin_look(m, now, err) : 0;
}

/* What an image brought along may run although it is masked. All instances of a template. */
static int begin_units(Machine *m, Msec now, Err *err)
{
    static const char script[] =
        "if [ \"$1\" = new ]; then systemctl daemon-reload || exit 1; fi\n"
        "shift\n"
        "systemctl stop \"$@\" || [ $? = 5 ]\n"; /* 5: there is no such unit */
    _cleanup_(strlist_clear) StrList words = {0};

    if (m->units.len == 0)
        return 0;
    strlist_add(&words, m->masks ? "new" : "old");
    for (size_t i = 0; i < m->units.len; i++) {
        const char *unit = m->units.items[i], *at = strstr(unit, "@.");
        strlist_addf(&words, "%.*s%s%s", at ? (int)(at + 1 - unit) : (int)strlen(unit), unit,
                     at ? "*" : "", at ? at + 1 : "");
    }
    return begin_script(m, script, &words, now, err);
}

static int end_units(Machine *m, const Buf *out, Err *err)
{
    (void)out;
    (void)err;
    m->masks = false;
    return 0;
}

static int begin_journal(Machine *m, Msec now, Err *err)
{
    static const char *const argv[] = {"systemctl", "try-restart", "systemd-journald.service",
                                       NULL};

    return m->journal ? job_begin(&m->job, m->path, argv, (Str){0}, now, err) : 0;
}

static int end_journal(Machine *m, const Buf *out, Err *err)
{
    (void)out;
    (void)err;
    m->journal = false;
    return 0;
}

/* Those that no package brings (mastodon). */
static int begin_users(Machine *m, Msec now, Err *err)
{
    static const char script[] =
        "for name; do\n"
        "    getent passwd \"$name\" >/dev/null ||\n"
        "        useradd --system --user-group --no-create-home --home-dir /nonexistent \\\n"
        "            --shell /usr/sbin/nologin \"$name\" || exit 1\n"
        "done\n";
    _cleanup_(strlist_clear) StrList users = {0};
    unsigned roles = machine_roles(m->want);

    for (int i = 0; i < ROLES; i++)
        if (roles & ROLE_BIT(i) && role_rows[i].user && !strlist_has(&users, role_rows[i].user))
            strlist_add(&users, role_rows[i].user);
    return begin_script(m, script, &users, now, err);
}

/* All or nothing, and the same however often it is loaded: the first line is for the second, which
 * fails if the table is not there. What is forwarded (a container with a network of its own) has no
 * user. */
static const char rules[] = "table inet atoll\n"
                            "delete table inet atoll\n"
                            "table inet atoll {\n"
                            "    chain output {\n"
                            "        type filter hook output priority 0; policy accept;\n"
                            "        ip daddr 169.254.169.254 meta skuid != 0 reject\n"
                            "        ip6 daddr fe80::a9fe:a9fe meta skuid != 0 reject\n"
                            "    }\n"
                            "    chain forward {\n"
                            "        type filter hook forward priority 0; policy accept;\n"
                            "        ip daddr 169.254.169.254 reject\n"
                            "        ip6 daddr fe80::a9fe:a9fe reject\n"
                            "    }\n"
                            "}\n";
static const char *const nft_argv[] = {"nft", "-f", "-", NULL};

static int begin_firewall(Machine *m, Msec now, Err *err)
{
    return job_begin(&m->job, m->path, nft_argv, str_of(rules), now, err);
}

static const struct {
    const char *doing; /* for the words of a failure */
    StepBegin *begin;
    StepEnd *end; /* or NULL */
} steps[] = {
    {"writing the system's settings", begin_files, NULL},
    {"looking which packages are installed", begin_look, end_look},
    {"installing packages", begin_install, end_install},
    {"looking which packages are installed", begin_second_look, end_look},
    {"stopping units of packages", begin_units, end_units},
    {"restarting the journal", begin_journal, end_journal},
    {"making users", begin_users, NULL},
    {"closing the metadata address", begin_firewall, NULL},
};

/* Words that stay the same while it goes on, as far as they can: each change is a report. */
static int say_what(const Machine *m, Err *err)
{
    _cleanup_(buf_clear) Buf words = BUF_INIT(BUF_MAX_LINE);

    if (m->why)
        return err_set(err, ERR_TEMPORARY, "%s%s", m->why, m->job.pid ? "; trying again" : "");
    if (steps[m->step].begin != begin_install)
        return err_set(err, ERR_TEMPORARY, "%s", steps[m->step].doing);
    for (size_t i = 0; i < m->missing.len; i++)
        buf_printf(&words, "%s%s", i ? ", " : "", m->missing.items[i]);
    return err_set(err, ERR_TEMPORARY, "installing %s", words.p);
}

/* Ends the step whose job has ended. */
static int step_end(Machine *m, int status, const Buf *out, Err *err)
{
    if (status != 0)
        return job_failed(steps[m->step].doing, status, out, err);
    int r = steps[m->step].end ? steps[m->step].end(m, out, err) : 0;
    if (r == 0)
        m->step++;
    return r;
}

/* Goes on as far as it comes in WAIT_MS. Not done with the last step: a job runs. */
static int go_on(Machine *m, Msec now, Err *err)
{
    Msec deadline = time_mono() + WAIT_MS;

    while (m->step < ARRAY_LEN(steps)) {
        _cleanup_(buf_clear) Buf out = BUF_INIT(JOB_OUTPUT_MAX);
        int status, r;

        if (!m->job.pid) {
            r = steps[m->step].begin(m, now, err);
            if (r < 0)
                return r;
            if (!m->job.pid) {
                m->step++;
                continue;
            }
        }
        job_wait(&m->job, deadline - time_mono());
        if (!job_end(&m->job, now, &status, &out))
            return 0;
        r = step_end(m, status, &out, err);
        if (r < 0)
            return r;
    }
    return 0;
}

static void forget_failure(Machine *m)
{
    free(TAKE(m->why));
    m->backoff = 0;
    m->retry_at = 0;
}

static void take_spec(Machine *m, const json_t *spec, const char *hash, Msec now)
{
    snprintf(m->spec, sizeof m->spec, "%s", hash);
    json_decref(m->want);
    m->want = json_deep_copy(spec);
    strlist_clear(&m->packages);
    strlist_clear(&m->missing);
    strlist_clear(&m->units);
    machine_needs(spec, &m->packages, &m->units);
    forget_failure(m);
    m->installed = false;
    m->step = 0;
    m->began = now;
}

static void note_failure(Machine *m, Err *e, Msec now)
{
    free(m->why);
    m->why = xstrdup(e->text);
    m->step = 0;
    m->installed = false;
    m->backoff = m->backoff ? MIN(2 * m->backoff, RETRY_MAX) : RETRY_FIRST;
    m->retry_at = now + m->backoff;
}

int machine_ready(Machine *m, const json_t *spec, Msec now, Err *err)
{
    _cleanup_(err_clear) Err failure = {0};
    char hash[17];

    host_spec_hash(spec, hash);
    if (!streq(hash, m->spec)) {
        _cleanup_(buf_clear) Buf out = BUF_INIT(JOB_OUTPUT_MAX);
        int status;
        /* What runs for another spec comes to its end first, whatever that is. */
        if (m->job.pid && !job_end(&m->job, now, &status, &out))
            return say_what(m, err);
        take_spec(m, spec, hash, now);
    }
    if (now < m->retry_at)
        return say_what(m, err);
    if (go_on(m, now, &failure) < 0)
        note_failure(m, &failure, now);
    else if (m->step == ARRAY_LEN(steps)) {
        forget_failure(m);
        m->close_at = now + CLOSE_EVERY;
        return 0;
    }
    return say_what(m, err);
}

bool machine_working(const Machine *m, Msec now)
{
    return m->spec[0] && !m->why && m->step < ARRAY_LEN(steps) && now - m->began < JOB_LIMIT;
}

/* --- while services run --- */

static int keep_closed(Machine *m, Msec now, Err *err)
{
    _cleanup_(buf_clear) Buf out = BUF_INIT(JOB_OUTPUT_MAX);
    int status;

    if (!m->firewall.pid) {
        if (m->step < ARRAY_LEN(steps) || now < m->close_at)
            return 0;
        m->close_at = now + CLOSE_EVERY;
        return job_begin(&m->firewall, m->path, nft_argv, str_of(rules), now, err);
    }
    if (!job_end(&m->firewall, now, &status, &out) || status == 0)
        return 0;
    return job_failed("closing the metadata address", status, &out, err);
}

/* 0 to 59. Servers of one tier are 23 minutes apart, which comes round after 60 of them. */
static int64_t reboot_minute(const char *key)
{
    _cleanup_(buf_clear) Buf hex = BUF_INIT(BUF_MAX_LINE);
    const char *dot = strrchr(key, '.');
    int64_t number = 0, minute = 0;

    if (dot && !parse_int(dot + 1, 0, 1000000, &number))
        dot = NULL;
    crypt_hash(CRYPT_SHA256, dot ? (Str){key, (size_t)(dot - key)} : str_of(key), &hex);
    for (size_t i = 0; i < 8; i++)
        minute = (minute * 31 + hex.p[i]) % 60;
    return (minute + number * 23) % 60;
}

bool machine_reboot_due(bool required, Msec now, const char *key, Msec started)
{
    Msec today = now % DAY;

    return required && now - started >= REBOOT_REST && today < REBOOT_END &&
           today >= REBOOT_BEGIN + reboot_minute(key) * MINUTE;
}

/* A migration that another server is at would end in the middle with its database. Rails holds an
 * advisory lock through all of db:migrate (ActiveRecord::Migrator#with_advisory_lock), whoever
 * started it. One that holds it for ever is looked for by a person: no reboot is worth a schema. */
static const char reboot_script[] =
    "if [ -d \"$1\" ] && n=$(runuser -u postgres -- psql -h \"$1\" -qtAXc "
    "\"SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'\") && [ \"${n:-0}\" -gt 0 ]; "
    "then\n"
    "    exit 0\n"
    "fi\n"
    "exec systemctl reboot\n";

/* systemd then stops the agent, which stops its services the careful way. */
static int reboot_if_due(Machine *m, const char *key, Msec now, Msec wall, Err *err)
{
    _cleanup_free_ char *postgres = xasprintf("%s/run/atoll-postgres", m->root);
    const char *const argv[] = {"sh", "-c", reboot_script, "sh", postgres, NULL};
    _cleanup_free_ char *mark = xasprintf("%s/run/reboot-required", m->root);
    _cleanup_(buf_clear) Buf out = BUF_INIT(JOB_OUTPUT_MAX);
    int status;

    if (m->reboot.pid) {
        if (!job_end(&m->reboot, now, &status, &out) || status == 0)
            return 0;
        return job_failed("rebooting", status, &out, err);
    }
    if (now < m->reboot_at || m->job.pid || m->busy)
        return 0;
    m->reboot_at = now + REBOOT_LOOK;
    if (!machine_reboot_due(file_exists(mark), wall, key, wall - (now - m->born)))
        return 0;
    m->reboot_at = now + REBOOT_AGAIN;
    return job_begin(&m->reboot, m->path, argv, (Str){0}, now, err);
}

void machine_busy(Machine *m, bool busy)
{
    m->busy = busy;
}

int machine_tick(Machine *m, const char *key, Msec now, Msec wall, Err *err)
{
    int r = keep_closed(m, now, err);
    return r < 0 ? r : reboot_if_due(m, key, now, wall, err);
}

Machine *machine_new(const char *root, const char *path, Msec now)
{
    Machine *m = NEW(Machine);

    m->root = xstrdup(root);
    m->path = path ? xstrdup(path) : NULL;
    m->born = now;
    return m;
}

Machine *machine_free(Machine *m)
{
    if (!m)
        return NULL;
    job_drop(&m->job);
    job_drop(&m->firewall);
    job_drop(&m->reboot);
    json_decref(m->want);
    strlist_clear(&m->packages);
    strlist_clear(&m->missing);
    strlist_clear(&m->units);
    free(m->root);
    free(m->path);
    free(m->why);
    free(m);
    return NULL;
}
