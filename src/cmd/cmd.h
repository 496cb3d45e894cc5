/* The command line: verbs, what they share, and how they speak.
 *
 * A verb is one file: options, usage, work. Its row in the verb table (verbs.c) declares what it
 * needs; main (atoll.c) brings that about before the verb runs and cleans up after it. Verbs show
 * everything and own nothing.
 *
 * Output: results on standard output; progress, warnings and errors on standard error. With --json
 * standard output is one event a line.
 */
#pragma once
#include "base/table.h"
#include "cloud/kinds.h"
#include "host/release.h"
#include "host/tls.h"
#include "island/island.h"
#include "island/want.h"
#include "plan/apply.h"
#include <signal.h>

typedef struct CmdCommon {
    const char *file;        /* -f: the island file */
    const char *environment; /* -e; or NULL */
    bool json, verbose, quiet, no_cache;
    bool color;
} CmdCommon;

enum {
    NEED_ISLAND = 1 << 0, /* island file loaded and checked */
    NEED_CLOUD = 1 << 1,  /* with NEED_ISLAND: its clouds configured (no request made yet) */
};

typedef struct Cmd Cmd;

typedef struct Verb {
    const char *name;     /* "plan"; with a sub-verb "media check" */
    const char *usage;    /* "plan [options]" without the program's name */
    const char *sentence; /* one, for the list */
    const char *text;     /* the man page's description; paragraphs parted by an empty line */
    unsigned needs;
    size_t operands; /* how many it takes at most */
    bool hidden;     /* for other programs: in no list */
    bool verbatim;   /* the first operand ends the options: what follows is another program's */
    size_t options_size;
    const Opt *options;
    int (*run)(Cmd *c, char **operands,
               Err *err); /* 0, a negative ErrKind, or a positive exit code */
} Verb;
/* The row of verbs that ask before they begin; their options have a bool yes. */
#define OPT_YES(T)                                                                                 \
    {                                                                                              \
        .name = "yes", .letter = 'y', .type = OPT_FLAG, .sentence = "Do not ask.",                 \
        .offset = offsetof(T, yes)                                                                 \
    }
/* The row of verbs that hold the lease; their options have an int64_t lease_wait_ms. */
#define OPT_LEASE_WAIT(T)                                                                          \
    {                                                                                              \
        .name = "lease-wait", .type = OPT_SPAN, .argument = "SPAN",                                \
        .sentence = "Wait so long for another run on this island to end.",                         \
        .offset = offsetof(T, lease_wait_ms), .min = 0, .max = 24 * HOUR                           \
    }
/* The row of verbs that put atoll itself onto servers; their options have a const char *package.
 * `more`: a literal behind "atoll's own .deb". */
#define OPT_PACKAGE(T, more)                                                                       \
    {                                                                                              \
        .name = "package", .type = OPT_STRING, .argument = "FILE",                                 \
        .sentence = "atoll's own .deb" more, .offset = offsetof(T, package)                        \
    }
/* The row of verbs that make a recovery key; their options have a const char *recovery_file. */
#define OPT_RECOVERY_FILE(T)                                                                       \
    {                                                                                              \
        .name = "recovery-file", .type = OPT_STRING, .argument = "FILE",                           \
        .sentence = "Write the recovery key to a new file (0600) instead of showing it.",          \
        .offset = offsetof(T, recovery_file)                                                       \
    }
extern const Verb *const verbs[]; /* NULL-ended, in the order of help */
extern const Opt common_options[];
extern const Verb verb_init, verb_check, verb_plan, verb_apply, verb_adopt, verb_destroy,
    verb_deploy, verb_rollback, verb_maintenance, verb_upgrade, verb_renew, verb_status, verb_exec,
    verb_tootctl, verb_rails, verb_logs, verb_media_check, verb_key_check, verb_backup_init,
    verb_backup_base, verb_backup_audit, verb_backup_list, verb_unlock, verb_host, verb_version,
    verb_reference;
extern const Verb verb_stream;
extern const Verb verb_backup_dump, verb_backup_media, verb_backup_export, verb_backup_prune,
    verb_backup_verify;
extern const Verb verb_backup_settings, verb_backup_stream, verb_restore, verb_drill,
    verb_backup_segment, verb_backup_receive, verb_certbot;
extern const Verb verb_scale, verb_scale_decide, verb_scale_replay, verb_scale_set;

/* The island's keys. */
typedef struct CmdKeys {
    KeyPair own;
    StrList recipients;
} CmdKeys;

struct Cmd {
    const Verb *verb;
    CmdCommon common;
    void *options; /* the verb's own */
    Island island;
    Http *http;
    Cloud *owned[CLOUD_ROLES];
    Clouds clouds;
    char *cache_dir;
    bool lent;    /* this is a control server: the vault is in a file (host/control.h) */
    CmdKeys keys; /* once a step needed them */
    bool has_keys;
    Vault *vault;    /* the same */
    int64_t release; /* number of the newest record of a release that this run has seen or put */
    json_t *trees;   /* archives in the cloud, as known in host/tree.h; NULL: none so far */
    Cert tls;        /* which certificate the cloud says it has; if has_tls */
    bool has_tls, tls_told; /* in the mail container */
    char *tls_letter;       /* where the mail container has it, while the vault does not; or NULL */
    bool tls_warned;        /* once is enough: a deploy looks often */
    const volatile sig_atomic_t *stop;
    size_t calls; /* HTTP requests so far, retries and pages included */
    Msec started; /* time_mono */
};

/* Configures one login of clouds.yaml with this run's http, cache and stop; owned by the caller
 * (cloud_free). `name` NULL: the default. */
int cmd_cloud(Cmd *c, const char *name, Cloud **ret, Err *err) _must_check_;
/* The same for settings that come from elsewhere; takes *config. */
Cloud *cmd_cloud_of(Cmd *c, CloudConfig *config);
/* Loads the island file and configures its clouds, as `needs` says (main does it for the verb's).
 */
int cmd_prepare(Cmd *c, unsigned needs, Err *err) _must_check_;
/* Asks for the passphrase. */
int cmd_keys(Cmd *c, CmdKeys *ret, Err *err) _must_check_;
void cmd_keys_clear(CmdKeys *k);
DEFINE_CLEAR(CmdKeys, cmd_keys_clear)
/* The same, once a run: c->keys. */
int cmd_need_keys(Cmd *c, Err *err) _must_check_;
/* The island's vault, opened once a run with c->keys. Borrowed. */
int cmd_need_vault(Cmd *c, bool make, const Vault **ret, Err *err) _must_check_;
/* Opens the island's vault with them. */
int cmd_vault(Cmd *c, const CmdKeys *keys, bool make, Vault **ret, Err *err) _must_check_;
/* Looks at the certificate in the operator's files and in the cloud, for a plan: fills in
 * island.edge.tls_mark, or leaves it empty where the cloud's counts. Refuses a pair that is new and
 * could not serve the domain. Without https: nothing to do. */
int cmd_tls_look(Cmd *c, const World *w, Err *err) _must_check_;
/* The files alone: whether they could serve the domain. Words in praise of them, to be freed. Files
 * that are not there are no error: the cloud may have them. */
int cmd_tls_check(const Cmd *c, char **ret_words, Err *err) _must_check_;
/* Gives an opened vault the certificate and its key; those of the files first go to the cloud where
 * they are newer. ERR_CHANGED if they are not those that the plan was made of. */
int cmd_tls_vault(Cmd *c, Vault *v, Err *err) _must_check_;
/* Logs a warning where the certificate has ended, or ends soon. */
void cmd_tls_warn(const Cmd *c, Msec now);
/* Shows a recovery key once, or writes it to `file` (or NULL). _can: ERR_USAGE where nobody would
 * see it. _keep is a KeepRecovery (host/keys.h) whose user is a CmdRecovery. */
typedef struct CmdRecovery {
    const Cmd *c;
    const char *file;
} CmdRecovery;
int cmd_recovery_can(const CmdRecovery *r, Err *err) _must_check_;
int cmd_recovery_keep(void *user, const Secret *recovery, Err *err) _must_check_;
/* A tier has the role control. */
bool cmd_has_control(const Cmd *c);
/* What that server is to be given goes among the secrets of c->vault (host/control.h): logins out
 * of clouds.yaml, as the island file's control.logins has them. ERR_CONFIG for a login that can't
 * be handed on. */
int cmd_control_kit(Cmd *c, Err *err) _must_check_;
/* ERR_CONFIG for such a login, before anything is done. */
int cmd_control_check(const Cmd *c, Err *err) _must_check_;
/* The path of atoll's own .deb, as given or else where it usually is; to be freed. */
int cmd_package(const char *given, char **ret, Err *err) _must_check_;
/* One event as a line of JSON on standard output (takes `event`). */
void cmd_json(json_t *event);
/* Text on standard output, unless --quiet or --json. */
void cmd_say(const Cmd *c, const char *format, ...) _printf_(2, 3);
/* "yes" typed on the terminal; false with a hint when there is none. */
int cmd_ask(const char *question, const char *expected, Err *err) _must_check_;
/* "18 calls, 0.41 s" */
void cmd_cost(const Cmd *c, Buf *out);

/* What shapes a plan: options of plan and of apply. */
typedef struct CmdAsk {
    bool rebuild;
    OptList only, replace, release;
} CmdAsk;
#define OPTS_ASK(T, field)                                                                         \
    {.name = "only",                                                                               \
     .type = OPT_LIST,                                                                             \
     .argument = "WHAT",                                                                           \
     .sentence = "Only a tier (web), a server (web.0) or one thing (volume.db.0); may be given "   \
                 "again.",                                                                         \
     .offset = offsetof(T, field.only)},                                                           \
        {.name = "replace",                                                                        \
         .type = OPT_LIST,                                                                         \
         .argument = "SERVER",                                                                     \
         .sentence = "Make this server (web.0) anew, around its volume; may be given again.",      \
         .offset = offsetof(T, field.replace)},                                                    \
        {.name = "allow-rebuild",                                                                  \
         .type = OPT_FLAG,                                                                         \
         .sentence = "Servers whose image is not the file's are rebuilt: their root disks are "    \
                     "lost.",                                                                      \
         .offset = offsetof(T, field.rebuild)},                                                    \
    {                                                                                              \
        .name = "delete", .type = OPT_LIST, .argument = "NAME",                                    \
        .sentence = "Let a kept thing go, by its full name in the cloud (reef-volume-db-1), and "  \
                    "what it holds; may be given again.",                                          \
        .offset = offsetof(T, field.release)                                                       \
    }
void cmd_ask_goal(const CmdAsk *ask, GoalAsk *ret);

/* The plan of a goal, printed (or as JSON events): shared by plan, apply, destroy. */
typedef struct CmdPlan {
    World world;
    Goal goal;
    Steps steps;
    Next next; /* what is under way now, and what no step can put right */
} CmdPlan;
/* Also asks the quotas, when it makes things: ERR_PREFLIGHT after the plan is printed. */
int cmd_plan(Cmd *c, const GoalAsk *ask, CmdPlan *ret, Err *err) _must_check_;
/* cmd_plan's parts: prints (plan_print.c), and what one may know before the first write
 * (plan_checks.c). */
void cmd_plan_print(Cmd *c, const CmdPlan *p, Msec now);
int cmd_plan_quota(Cmd *c, const CmdPlan *p, Err *err) _must_check_;
/* ERR_PREFLIGHT if this machine's clock is not the cloud's; after any call. */
int cmd_check_clock(const Cmd *c, Err *err) _must_check_;
bool cmd_plan_creates(const CmdPlan *p, ResourceKind kind);
/* Nothing to do, nothing under way, and nothing stuck. */
bool cmd_plan_done(const CmdPlan *p);

/* A plan in a file (0600), without secrets: which steps, of which file and projects, with which
 * options. */
int cmd_saved_write(const Cmd *c, const GoalAsk *ask, const CmdPlan *p, const char *path,
                    Err *err) _must_check_;
typedef struct CmdSaved {
    char *path;
    json_t *plan;
    GoalAsk ask;
} CmdSaved;
/* ERR_CORRUPT for what is none, or not whole; ERR_CONFIG for one of another version of atoll;
 * ERR_CHANGED for one of another island file. */
int cmd_saved_read(const Cmd *c, const char *path, CmdSaved *ret, Err *err) _must_check_;
/* ERR_CHANGED if the new plan has a step that the saved one has not, or is of another project. */
int cmd_saved_check(const CmdSaved *s, const CmdPlan *p, Err *err) _must_check_;
void cmd_saved_clear(CmdSaved *s);
DEFINE_CLEAR(CmdSaved, cmd_saved_clear)

void cmd_plan_clear(CmdPlan *p);
DEFINE_CLEAR(CmdPlan, cmd_plan_clear)
/* The same without a word. */
int cmd_plan_quiet(Cmd *c, const GoalAsk *ask, CmdPlan *ret, Err *err) _must_check_;
/* As in ApplyContext (plan/apply.h). */
typedef struct CmdPerform {
    const char *package;
    Msec lease_wait_ms, timeout_ms;
    bool no_wait;
} CmdPerform;
/* What the next apply_look is to see. Borrows. */
ApplyLook cmd_look(const Cmd *c);
/* Performs it with live progress. */
int cmd_perform(Cmd *c, CmdPlan *p, const CmdPerform *how, Err *err) _must_check_;
/* "jo@laptop": this person, for others' eyes. */
void cmd_holder(char ret[static 320]);

/* The island's release (host/release.h) as a world shows it; without a record, the file's. */
void cmd_release_read(const Cmd *c, const World *w, ReleaseRecord *ret);
/* Makes the account of the file's owner, with Mastodon's own tootctl on a web server, and shows its
 * password. One that is there already gets another password. */
int cmd_owner_make(Cmd *c, Err *err) _must_check_;
/* A tier has the role search. */
bool cmd_has_search(const Cmd *c);
/* Search indexes are as the release that runs has them: made, where there are none yet; mapped anew
 * after another release came, if its definitions are others and its tootctl can (deploy/rules.h);
 * else it is said what a person has to run. `r` is changed with what is put into the cloud.
 * Without anything to do: no call. ERR_PARTIAL if tootctl fails; another run tries again. */
int cmd_search_settle(Cmd *c, ReleaseRecord *r, Err *err) _must_check_;
/* Writes the record; ERR_CHANGED if another run has written one of its number. */
int cmd_release_put(Cmd *c, const ReleaseRecord *r, Err *err) _must_check_;
/* Can a release's archive be had, if it is a tree: from the file `from` (NULL: the one that the
 * island file names for this version), or from the cloud, where it is already? ERR_PREFLIGHT; asks
 * for no key, writes nothing. */
int cmd_tree_look(Cmd *c, const json_t *release, const char *from, Err *err) _must_check_;
/* Puts it into the cloud unless it is there. ERR_CONFLICT if another archive has that version. */
int cmd_tree_put(Cmd *c, const json_t *release, const char *from, Err *err) _must_check_;
/* After a deploy: removes the archives of releases that neither run nor ran before. */
void cmd_tree_prune(const Cmd *c, const World *w, const ReleaseRecord *r);
/* The archive that the island file names, or NULL. To be freed. */
char *cmd_tree_file_new(const Cmd *c);
/* Help for one verb, and the man page (mdoc) and island reference, from the tables. */
void cmd_help(const Verb *v, int width, Buf *out);
void cmd_man(Buf *out);
