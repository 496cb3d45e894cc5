/* What is known of Mastodon's releases: may one go from here to there, what does that demand, and
 * what has to be done on the way. Pure, and tables: the facts are rows in rules.c, each with its
 * source, and a release that atoll does not know is said to be unknown, never guessed.
 *
 * The rules:
 * - Patch releases may be skipped; of every minor one release must have run, with its
 *   post-deployment migrations, before the next (mastodon.md 4.3). 4.0 comes after 3.5.
 * - Down across a minor goes only as the way back of a deploy, and only one minor. Once its
 *   post-deployment migrations have run only a backup leads back (mastodon.md 4.5).
 * - What a release demands is refused when it is known not to be met. A fact that is not given
 *   (0, NULL) is not judged.
 * - The canary's releases are whole each: any later one may follow, and nothing is demanded.
 *
 * Not here: reading the facts, backup age, disk, which migrations are pending.
 */
#pragma once
#include "base/vec.h"
#include "deploy/version.h"

typedef enum FindingKind {
    FINDING_REFUSAL, /* the way must not be gone */
    FINDING_WARNING, /* an operator should know before it is */
    FINDING_STEP,    /* is to be done on the way */
} FindingKind;

/* When a step is done. A refusal or warning is FINDING_AT_FIRST. */
typedef enum FindingWhen {
    FINDING_AT_FIRST, /* before the pre-deployment migrations */
    FINDING_ROLLING,  /* together with the restart of web and workers */
    FINDING_AT_LAST,  /* after the post-deployment migrations */
} FindingWhen;

/* What the step is, for a caller that can do it. */
typedef enum FindingAction {
    ACTION_BY_HAND, /* the words say it; always so for refusals and warnings */
    ACTION_SECRETS, /* the three ACTIVE_RECORD_ENCRYPTION_* must exist */
    ACTION_RESTART_STREAMING,
    ACTION_TOOTCTL, /* `command` is what follows `bin/tootctl` */
} FindingAction;

typedef struct Finding {
    FindingKind kind;
    FindingWhen when;
    FindingAction action;
    const char *command; /* of the table; NULL unless ACTION_TOOTCTL */
    char *words;         /* for an operator: a sentence without its full stop */
    const char *source;  /* of the table: where the fact is from */
} Finding;
typedef VEC(Finding) Findings;

/* A way, and what is known of the island. Borrows everything. */
typedef struct DeployWay {
    const Version *from; /* what runs, or ran last; NULL: a first install */
    const Version *to;
    bool rollback;     /* `from` is a deploy that is taken back */
    bool post_pending; /* post-deployment migrations of `from` have not run (yet) */
    bool post_run;     /* on the way down: some that only `from` has did run */
    bool stopped;      /* every process is stopped meanwhile: an outage is accepted */
    bool tree;         /* from a source tree: Ruby and Node are the machine's, not an image's */
    bool search, swift, streaming; /* the island has these */
    const char *schema;            /* the newest version in schema_migrations, "20260812154114" */
    int postgres;                  /* server_version_num: 150018 is 15.18 */
    int redis;                     /* the same way: 70015 is 7.0.15 */
    const char *today;             /* "2026-11-28" */
} DeployWay;

/* Appends what there is to say: refusals first, then warnings, then steps in the order of the way
 * (which is the order of `when`, then of the versions). Appending nothing is: just go. */
void rules_find(const DeployWay *way, Findings *ret);
/* What a release's tootctl does when the definitions of indexes are others than those that its
 * search server has. What empties an index before it fills it again is a person's decision. */
typedef struct SearchRule {
    const char *since;   /* the first release of which this is so; NULL: any */
    const char *command; /* what follows `bin/tootctl` */
    bool by_itself;
    const char *words; /* for an operator: a sentence without its full stop */
    const char *source;
} SearchRule;
const SearchRule *rules_search(const Version *to);
bool findings_refuse(const Findings *l);
void findings_clear(Findings *l);
DEFINE_CLEAR(Findings, findings_clear)
