/* Sources are named as in Mastodon's repository and in mastodon.md (by section). */
#include "deploy/rules.h"
#include "base/buf.h"
#include <stdio.h>

/* One row a minor version, in their order: what follows a row is the next minor, also across a
 * major. NULL and 0: not known, or none. */
typedef struct Minor {
    int major, minor;
    int postgres, redis;     /* as server_version_num */
    const char *ruby, *node; /* least, outside of the image */
    const char *schema;    /* rolling (SKIP_POST_DEPLOYMENT_MIGRATIONS) only from this schema on */
    const char *schema_of; /* whose schema that is */
    const char *until;     /* support ends */
    const char *source;
} Minor;

#define NOTES "release notes (mastodon.md 0.1)"
#define CHECK "lib/tasks/db.rake, db:pre_migration_check (mastodon.md 0.1 and 4.3)"

static const Minor minors[] = {
    {3, 1, 90500, 0, "2.5", "10.13", NULL, NULL, NULL, NOTES},
    {3, 2, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL},
    {3, 3, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL},
    {3, 4, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL},
    {3, 5, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL},
    {4, 0, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL},
    {4, 1, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL},
    /* The code asks for PostgreSQL 9.5, the notes for 10. */
    {4, 2, 100000, 40000, "3.0", "16", NULL, NULL, NULL, NOTES},
    {4, 3, 120000, 40000, "3.1", "18", NULL, NULL, NULL, CHECK},
    {4, 4, 130000, 60200, "3.2", "20", "20230907150100", "4.2", "2026-12-17", CHECK},
    {4, 5, 140000, 70000, "3.2", "20.19", "20230907150100", "4.2", "2027-02-20", CHECK},
    {4, 6, 140000, 70000, "3.3", "22", "20230907150100", "4.2", NULL, CHECK},
    {4, 7, 140000, 70000, "3.3", "22", "20241007071624", "4.3", NULL, CHECK},
};

typedef enum Need { NEED_NONE, NEED_SEARCH, NEED_SWIFT, NEED_STREAMING, NEED_TREE } Need;

/* What is to be known or done when the way crosses a version: from < version <= to. A first
 * install crosses nothing. That there is one scheduler, and that someone listens to `ingress` (4.0)
 * and `fasp` (4.4), is so in atoll's own layout and has no row. */
typedef struct Crossing {
    const char *version;
    FindingKind kind;
    FindingWhen when;
    Need need;
    FindingAction action;
    const char *command;
    const char *words;
    const char *source;
} Crossing;

#define WARNING FINDING_WARNING, FINDING_AT_FIRST
#define AT_FIRST FINDING_STEP, FINDING_AT_FIRST
#define ROLLING FINDING_STEP, FINDING_ROLLING
#define AT_LAST FINDING_STEP, FINDING_AT_LAST
#define BY_HAND ACTION_BY_HAND, NULL
#define TOOTCTL(command) ACTION_TOOTCTL, command

static const Crossing crossings[] = {
    {"3.4.0", AT_LAST, NEED_NONE, TOOTCTL("cache clear"), "clear the cache: tootctl cache clear",
     "mastodon.md 4.4"},
    {"4.2.0", AT_LAST, NEED_SEARCH, TOOTCTL("search deploy"),
     "there is a new index, public_statuses: tootctl search deploy; search is incomplete until it "
     "ends, which takes hours to days on a large instance",
     "mastodon.md 4.4"},
    {"4.3.0", AT_FIRST, NEED_NONE, ACTION_SECRETS, NULL,
     "the three ACTIVE_RECORD_ENCRYPTION_* secrets must be made, the same for every process and "
     "for good, before anything of 4.3 starts",
     "mastodon.md 3.2 and 4.4"},
    {"4.3.0", WARNING, NEED_NONE, BY_HAND,
     "what 4.3 encrypts it does not decrypt again: a way back loses two-factor secrets made "
     "meanwhile",
     "mastodon.md 4.5"},
    {"4.3.0", WARNING, NEED_NONE, BY_HAND,
     "while 4.2 and 4.3 run beside each other a cookie of the one may not be known to the other; "
     "some people have to sign in again",
     "release notes 4.3.0 (mastodon.md 4.4)"},
    {"4.3.0", ROLLING, NEED_STREAMING, BY_HAND,
     "streaming has an image of its own from 4.3 on: mastodon-streaming of the same version",
     "mastodon.md 4.1 and 4.4"},
    {"4.3.0", AT_LAST, NEED_SEARCH, TOOTCTL("search deploy --only=accounts"),
     "the accounts index changed: tootctl search deploy --only=accounts",
     "release notes 4.3.0 (mastodon/chart#161)"},
    {"4.4.0", WARNING, NEED_NONE, BY_HAND,
     "4.4 does not start while REDIS_NAMESPACE is set; rename the keys first "
     "(mastodon/redis_namespace_migration) and set ES_PREFIX to what it was",
     "mastodon.md 3.4"},
    {"4.4.0", AT_LAST, NEED_NONE, BY_HAND,
     "OTP_SECRET is not read any more; take it out of the environment, and keep it with the "
     "backups that are older than 4.4",
     "mastodon.md 3.2 and 4.4"},
    {"4.4.0", AT_LAST, NEED_SEARCH, TOOTCTL("search deploy --only-mapping --only=accounts"),
     "the mapping of the accounts index changed: tootctl search deploy --only-mapping "
     "--only=accounts; where that option is not known (4.4.0), without --only-mapping",
     "release notes 4.4.0 (mastodon/mastodon#35334)"},
    {"4.5.0", WARNING, NEED_NONE, BY_HAND,
     "all replies are always fetched from 4.5 on: the pull queue gets more work",
     "mastodon.md 2.3 and 4.4"},
    {"4.6.0", AT_FIRST, NEED_TREE, BY_HAND, "libvips must be installed; ImageMagick is not used",
     "mastodon.md 4.4"},
    {"4.7.0", WARNING, NEED_NONE, BY_HAND,
     "its migrations take long: the unique index on accounts.uri is built anew, materialized views "
     "are converted, and keypairs are copied after the deployment",
     "release notes 4.7.0 (mastodon.md 4.4)"},
    {"4.7.0", WARNING, NEED_NONE, BY_HAND,
     "cookies written before 4.3 are not accepted any more: who has not visited since signs in "
     "again",
     "release notes 4.7.0 (mastodon.md 4.4)"},
    {"4.7.0", ROLLING, NEED_STREAMING, ACTION_RESTART_STREAMING, NULL,
     "streaming must be restarted", "release notes 4.7.0 (mastodon.md 4.4)"},
    {"4.7.6", AT_FIRST, NEED_TREE, BY_HAND,
     "Ruby must be at least 4.0.10, 3.4.13 or 3.3.14, for its security fixes",
     "release notes 4.7.6 (mastodon.md 0.1)"},
};

/* The last row that fits. The canary's tootctl knows what the newest does. */
static const SearchRule search_rules[] = {
    {NULL, "search deploy", false,
     "the definitions of search indexes changed: this makes those anew and fills them, which takes "
     "hours to days on a large instance; search is incomplete until it ends",
     "lib/mastodon/cli/search.rb (mastodon.md 4.4)"},
    {"4.4.1", "search deploy --only-mapping", true,
     "the definitions of search indexes changed: their mappings are brought up to date",
     "lib/mastodon/cli/search.rb, release notes 4.4.0 (mastodon/mastodon#35334)"},
};

/* Wrong with releases from `since` (or all) up to, not including, `fixed`. */
typedef struct Defect {
    const char *since, *fixed;
    Need need;
    const char *words, *source;
} Defect;

#define LOGINS                                                                                     \
    NEED_SWIFT,                                                                                    \
        "every upload logs in to Keystone anew, which many clouds answer with 429; fixed in "      \
        "4.4.15 and 4.5.8",                                                                        \
        "mastodon/mastodon#38145 (mastodon.md 1.3)"

static const Defect defects[] = {
    {"4.3.0", "4.3.1", NEED_SWIFT,
     "4.3.0 shows no media that lie on Swift: its content security policy lacks their host; take "
     "4.3.1 or later",
     "mastodon/mastodon#32438 and #32439"},
    {NULL, "4.4.15", LOGINS},
    {"4.5.0", "4.5.8", LOGINS},
    {NULL, "4.7.4", NEED_SWIFT,
     "the HTTP client of the Swift backend has known holes, fixed in 4.7.4",
     "release notes 4.4.27, 4.5.20 and 4.7.4 (mastodon.md 0.1)"},
};

static bool needed(const DeployWay *w, Need need)
{
    switch (need) {
    case NEED_NONE:
        return true;
    case NEED_SEARCH:
        return w->search;
    case NEED_SWIFT:
        return w->swift;
    case NEED_STREAMING:
        return w->streaming;
    case NEED_TREE:
        return w->tree;
    }
    return false;
}

static void add(Findings *l, FindingKind kind, const char *source, const char *format, ...)
    _printf_(4, 5);
static void add(Findings *l, FindingKind kind, const char *source, const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    vec_push(l, (Finding){.kind = kind, .words = xvasprintf(format, ap), .source = source});
    va_end(ap);
}

/* Of a text of the tables above. */
static Version known(const char *text)
{
    Version v;
    BUG_IF(version_parse(text, &v, NULL) < 0);
    return v;
}

/* Where the version's minor stands in the table; -1: not in it. */
static int place(const Version *v)
{
    for (int i = 0; i < (int)ARRAY_LEN(minors); i++)
        if (minors[i].major == v->major && minors[i].minor == v->minor)
            return i;
    return -1;
}

static int order_of_minor(const Version *v, const Minor *m)
{
    return v->major != m->major ? v->major - m->major : v->minor - m->minor;
}

#define ORDER "docs.joinmastodon.org, admin/upgrading (mastodon.md 4.3)"
#define BACK "mastodon.md 4.5"

/* Can it be what comes next after the table's last minor, which nobody knows yet? */
static bool after_the_table(const Version *v)
{
    const Minor *last = &minors[ARRAY_LEN(minors) - 1];

    return (v->major == last->major && v->minor == last->minor + 1) ||
           (v->major == last->major + 1 && v->minor == 0);
}

static bool same_minor(const Version *a, const Version *b)
{
    return a->major == b->major && a->minor == b->minor;
}

static void no_minor_skipped(const DeployWay *w, Findings *l)
{
    int from = place(w->from), to = place(w->to), rows = (int)ARRAY_LEN(minors);

    if (from < 0) {
        if (order_of_minor(w->from, &minors[0]) < 0)
            add(l, FINDING_REFUSAL, NOTES, "%s is older than what atoll knows (%d.%d)",
                w->from->text, minors[0].major, minors[0].minor);
        return;
    }
    if (from + 1 < rows && to != from + 1)
        add(l, FINDING_REFUSAL, ORDER,
            "%s cannot follow %s: deploy a release of %d.%d first (no minor may be skipped)",
            w->to->text, w->from->text, minors[from + 1].major, minors[from + 1].minor);
    else if (to < 0 && !after_the_table(w->to))
        add(l, FINDING_REFUSAL, ORDER, "%s cannot follow %s: a minor between them would be skipped",
            w->to->text, w->from->text);
}

static void post_is_done(const DeployWay *w, Findings *l)
{
    if (w->post_pending)
        add(l, FINDING_REFUSAL, ORDER,
            "post-deployment migrations of %s have not run; finish that deploy before %s",
            w->from->text, w->to->text);
}

static void upwards(const DeployWay *w, Findings *l)
{
    if (same_minor(w->from, w->to))
        return;
    post_is_done(w, l);
    if (version_is_pre(w->from))
        add(l, FINDING_WARNING, ORDER, "%s is not a release; deploy one of %d.%d before %s",
            w->from->text, w->from->major, w->from->minor, w->to->text);
    no_minor_skipped(w, l);
}

/* Of what the table does not know the numbers must say it. */
static bool one_minor_back(const Version *from, const Version *to)
{
    int a = place(from), b = place(to), last = (int)ARRAY_LEN(minors) - 1;

    if (a >= 0 && b >= 0)
        return a - b == 1;
    if (from->major == to->major)
        return from->minor - to->minor == 1;
    return from->major - to->major == 1 && from->minor == 0 && (b < 0 || b == last);
}

static void backwards(const DeployWay *w, Findings *l)
{
    const Version *from = w->from, *to = w->to;

    if (same_minor(from, to)) {
        add(l, FINDING_WARNING, BACK,
            "%s is older than %s, and what the newer one mended comes back", to->text, from->text);
    } else if (!w->rollback) {
        add(l, FINDING_REFUSAL, BACK,
            "%s is older than %s; only a deploy can be taken back, before its post-deployment "
            "migrations",
            to->text, from->text);
    } else if (!one_minor_back(from, to)) {
        add(l, FINDING_REFUSAL, BACK,
            "the code of %s does not know the database of %s: the way back is of one minor only",
            to->text, from->text);
    }
    if (version_is_pre(from))
        add(l, FINDING_WARNING, "release notes of pre-releases (mastodon.md 4.5)",
            "%s is a pre-release, and a way back from one is not promised to work", from->text);
}

static void after_post(const DeployWay *w, Findings *l)
{
    if (w->post_run)
        add(l, FINDING_REFUSAL, BACK,
            "the post-deployment migrations of %s have run, and %s cannot work on that database; "
            "deploy a later version that is mended, or restore a backup from before",
            w->from->text, w->to->text);
    if (w->rollback)
        add(l, FINDING_WARNING, BACK,
            "jobs of a kind that only %s knows fail and wait to be retried until it is back",
            w->from->text);
}

static void canary(const DeployWay *w, Findings *l)
{
    int compared = version_compare(w->to, w->from);

    if (compared < 0 && !w->rollback)
        add(l, FINDING_REFUSAL, "data/canary/README.md",
            "%s is older than %s; it can only be rolled back to", w->to->text, w->from->text);
    if (compared < 0)
        after_post(w, l);
    if (compared > 0)
        post_is_done(w, l);
}

/* May this follow that? */
static void order(const DeployWay *w, Findings *l)
{
    if (w->from->canary != w->to->canary) {
        add(l, FINDING_REFUSAL, "data/canary/README.md",
            "the canary's database is not Mastodon's: %s cannot follow %s on the same island",
            w->to->text, w->from->text);
        return;
    }
    if (w->from->canary) {
        canary(w, l);
        return;
    }
    /* How the tag of a minor stands to a release of it cannot be known. */
    if (same_minor(w->from, w->to) && (version_is_tag(w->from) || version_is_tag(w->to)))
        return;
    int compared = version_compare(w->to, w->from);
    if (compared > 0)
        upwards(w, l);
    if (compared < 0) {
        backwards(w, l);
        after_post(w, l);
    }
}

static void version_text(int number, char *ret, size_t size)
{
    /* PostgreSQL counts with one number since 10, Redis with two. */
    if (number >= 100000)
        snprintf(ret, size, "%d", number / 10000);
    else
        snprintf(ret, size, "%d.%d", number / 10000, number / 100 % 100);
}

static void demand(const char *what, int have, int least, const DeployWay *w, const char *source,
                   Findings *l)
{
    char need[32], is[32];

    if (have == 0 || have >= least)
        return;
    version_text(least, need, sizeof need);
    version_text(have, is, sizeof is);
    add(l, FINDING_REFUSAL, source, "%s needs %s %s or later, and here is %s", w->to->text, what,
        need, is);
}

static void demands(const DeployWay *w, Findings *l)
{
    const Minor *last = &minors[ARRAY_LEN(minors) - 1];
    int at = place(w->to);
    if (at < 0 && order_of_minor(w->to, &minors[0]) < 0) {
        add(l, FINDING_REFUSAL, NOTES, "%s is older than what atoll knows (%d.%d)", w->to->text,
            minors[0].major, minors[0].minor);
        return;
    }
    if (at < 0) /* and at least what its forerunner demanded */
        add(l, FINDING_WARNING, NOTES,
            "%s is newer than what atoll %s knows (%d.%d); read its release notes", w->to->text,
            ATOLL_VERSION, last->major, last->minor);
    const Minor *m = at < 0 ? last : &minors[at];
    demand("PostgreSQL", w->postgres, m->postgres, w, m->source, l);
    demand("Redis", w->redis, m->redis, w, m->source, l);
    if (w->postgres >= 140000 && w->postgres < 140004)
        add(l, FINDING_WARNING, "mastodon.md 3.3",
            "PostgreSQL 14.0 to 14.3 can damage indexes; upgrade it to 14.4 or later");
    /* The way back runs no migration. */
    if (m->schema && w->schema && !w->stopped && !w->rollback && strcmp(w->schema, m->schema) < 0)
        add(l, FINDING_REFUSAL, m->source,
            "the database is at %s, and %s migrates beside running processes only from %s's schema "
            "(%s) on; finish the deploy before, or stop every process",
            w->schema, w->to->text, m->schema_of, m->schema);
    if (m->until && w->today && at >= 0 && strcmp(w->today, m->until) > 0)
        add(l, FINDING_WARNING, NOTES, "support of %d.%d ended on %s", m->major, m->minor,
            m->until);
    if (w->tree && m->ruby && !(w->from && same_minor(w->from, w->to)))
        add(l, FINDING_WARNING, m->source, "%s needs Ruby %s and Node %s or later on each server",
            w->to->text, m->ruby, m->node);
    if (version_is_tag(w->to))
        add(l, FINDING_WARNING, "mastodon.md 4.1",
            "%s is a tag that moves to each patch release; name one, for all servers to get the "
            "same",
            w->to->text);
    if (version_is_pre(w->to))
        add(l, FINDING_WARNING, "release notes of pre-releases (mastodon.md 4.5)",
            "%s is a pre-release, and a way back from one is not promised to work", w->to->text);
}

static void find_defects(const DeployWay *w, Findings *l)
{
    /* The tag of a minor stands for its newest release. */
    if (version_is_tag(w->to))
        return;
    for (size_t i = 0; i < ARRAY_LEN(defects); i++) {
        const Defect *d = &defects[i];
        Version fixed = known(d->fixed);
        if (!needed(w, d->need) || version_compare(w->to, &fixed) >= 0)
            continue;
        if (d->since) {
            Version since = known(d->since);
            if (version_compare(w->to, &since) < 0)
                continue;
        }
        add(l, FINDING_WARNING, d->source, "%s", d->words);
    }
}

/* Is the row's version after `from` and not after `to`? A pre-release has its release's steps, the
 * tag of a minor those of all its releases. */
static bool crossed(const DeployWay *w, const Crossing *c)
{
    Version v = known(c->version), from = *w->from, to = *w->to;

    from.pre_len = to.pre_len = 0;
    if (version_is_tag(&to) && same_minor(&to, &v))
        to.patch = v.patch;
    return version_compare(&from, &v) < 0 && version_compare(&to, &v) >= 0;
}

static void cross(const DeployWay *w, Findings *l)
{
    for (size_t i = 0; i < ARRAY_LEN(crossings); i++) {
        const Crossing *c = &crossings[i];
        if (!needed(w, c->need) || !crossed(w, c))
            continue;
        vec_push(l, (Finding){.kind = c->kind,
                              .when = c->when,
                              .action = c->action,
                              .command = c->command,
                              .words = xasprintf("%s: %s", c->version, c->words),
                              .source = c->source});
    }
}

/* Refusals, warnings, steps; within each by time; else as they were found. */
static void sort(Findings *found, Findings *ret)
{
    for (int kind = FINDING_REFUSAL; kind <= FINDING_STEP; kind++)
        for (int when = FINDING_AT_FIRST; when <= FINDING_AT_LAST; when++)
            for (size_t i = 0; i < found->len; i++)
                if ((int)found->items[i].kind == kind && (int)found->items[i].when == when)
                    vec_push(ret, found->items[i]);
    vec_clear(found);
}

void rules_find(const DeployWay *way, Findings *ret)
{
    Findings found = {0};

    if (way->from)
        order(way, &found);
    if (!way->to->canary) {
        demands(way, &found);
        find_defects(way, &found);
    }
    if (way->from && !way->from->canary && !way->to->canary)
        cross(way, &found);
    sort(&found, ret);
}

const SearchRule *rules_search(const Version *to)
{
    const SearchRule *found = search_rules;

    for (size_t i = 1; i < ARRAY_LEN(search_rules); i++) {
        Version since = known(search_rules[i].since);

        if (to->canary || version_compare(to, &since) >= 0)
            found = &search_rules[i];
    }
    return found;
}

bool findings_refuse(const Findings *l)
{
    for (size_t i = 0; i < l->len; i++)
        if (l->items[i].kind == FINDING_REFUSAL)
            return true;
    return false;
}

void findings_clear(Findings *l)
{
    for (size_t i = 0; i < l->len; i++)
        free(l->items[i].words);
    vec_clear(l);
}
