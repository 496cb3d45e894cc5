/* The island file: what a person wrote, checked, with defaults filled in.
 *
 * One table (island_rows) has every key with its type, default, unit, range and sentence; the
 * loader, the checks, `atoll init`'s comments and doc/island.md come from it. Every error is
 * ERR_CONFIG with file:line:column, what is allowed, and the nearest right spelling.
 */
#pragma once
#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "base/vec.h"
#include "island/roles.h"

#define ISLAND_TIERS_MAX 16
#define ISLAND_COUNT_MAX 64

/* A time of one queue's own. */
typedef struct QueueSpan {
    char *queue;
    int64_t ms;
} QueueSpan;
typedef VEC(QueueSpan) QueueSpans;

/* At least `min` servers on the days of `days` (bit 0 Sunday) from minute to minute of the day,
 * UTC; a `to` that is not above `from` is on the next day. */
typedef struct TierHours {
    unsigned days;
    int from, to, min;
} TierHours;
#define ISLAND_CALENDAR_MAX 16

typedef struct Tier {
    char *name; /* [a-z][a-z0-9]{0,15}: "web" */
    char *flavor;
    int count;            /* servers of it; 1 */
    unsigned roles;       /* bits 1 << ROLE_X */
    int processes[ROLES]; /* of each role: worker processes, Puma workers; 1 */
    int threads[ROLES];   /* per process; web 5, worker 5 */
    StrList queues;    /* of its worker role; empty: all (the scheduler queue has one process only:
                          island_scheduler) */
    int volume_gb;     /* 0: none */
    char *volume_type; /* "" the cloud's default */
    struct {
        bool on; /* the file has `scale:`; count is then max */
        int min, max;
        char *policy;      /* "latency", "backlog" or "depth" */
        int64_t boot_ms;   /* until a new server does its first job */
        int budget_h;      /* server-hours a day; 0: no limit */
        int clients;       /* of one streaming server */
        QueueSpans queues; /* a job has to begin within so long */
        QueueSpans drain;  /* and to end within so long where its server goes */
        VEC(TierHours) calendar;
        bool told; /* `numbers` is what is wanted; else apply_goal sets it, by what is there */
    } scale;
    uint64_t
        numbers; /* of a scaled tier: its servers are those whose bit is set; not the loader's */
} Tier;

typedef enum ReleaseKind { RELEASE_IMAGE, RELEASE_TREE, RELEASE_CANARY } ReleaseKind;

typedef struct IslandEnv {
    char *name;
    char *value;  /* NULL when it is a secret of the vault */
    char *secret; /* its name there, or NULL */
} IslandEnv;

/* In place of the login `cloud` (an entry of clouds.yaml) the control server gets `login`. */
typedef struct IslandLogin {
    char *cloud, *login;
} IslandLogin;

/* The volumes of tier `to` are those that tier `from` had. */
typedef struct IslandMove {
    char *to, *from;
} IslandMove;

typedef struct Island {
    char *path;        /* of the file, for messages */
    char *text;        /* all of it, as a control server gets it; "" if it was not a file */
    char *environment; /* of `-e`; "" none */
    char *name;        /* [a-z][a-z0-9-]{0,20}, not ending in a dash */
    char *domain;      /* LOCAL_DOMAIN */
    char *cloud;       /* an entry of clouds.yaml */
    char *image;       /* server image, by name */
    struct {
        ReleaseKind kind;
        char *image, *version, *tree;
        char *stream; /* "atoll" or "node": who serves the streaming API */
    } release;
    struct {
        char *name, *email; /* of the account that owns the instance; NULL: made by hand */
    } owner;
    struct {
        char *image, *version; /* of the search server (search.h); always there */
    } search;
    struct {
        char *external; /* external network's name; "" the only one */
        char *cidr;     /* 10.77.0.0/24; 127.77.0.0/24 where cloud is a pocket */
        StrList dns;
        char *router;        /* somebody else's, that is used; "": one of its own */
        char *name, *subnet; /* the same, of a network; both or neither */
    } network;
    struct {
        int http, https; /* ports of the edge; 80, and 443 with a certificate. https 0: none */
        char *tls_certificate, *tls_key; /* files, relative to the island file; "" none */
        char tls_mark[17]; /* of the certificate in the file (io/cert.h); "" not known: it is not
                              on this machine, and the island keeps what it has. Not the loader's:
                              filled in by who reads that file */
        char *acme_email;  /* a certificate from an ACME server (RFC 8555); "" none */
        char *acme_server; /* its directory's URL; "" certbot's own: Let's Encrypt */
        char *acme_ca;     /* a file, relative to the island file: who signs that server; "" any
                              that the system trusts */
        char *acme_ca_pem; /* what is in it; "" until who reads files has filled it in */
    } edge;
    Tier tiers[ISLAND_TIERS_MAX];
    size_t n_tiers;
    struct {
        char *cloud;     /* "" the island's */
        char *container; /* "<name>-media" */
        char *isolation; /* required level: "project" (with a cloud of its own), "container" or
                            "none" (what is reached is only named) */
        char *role;      /* Keystone role of the upload user; "media" */
        char *user, *user_id, *password_file; /* an upload user that is given; "" one of our own */
        char *url; /* public base ("https://media.reef.example"); "" Swift's own */
    } media;
    struct {
        bool on;         /* the file has `backup:` */
        char *cloud;     /* "" the island's */
        char *container; /* "<name>-backup" */
        int every_h;     /* hours between base backups */
        struct {
            int daily, weekly, monthly, window_d; /* window: in days */
        } keep;
        char *media_cloud, *media_container; /* the media's mirror (atoll backup media); "" none */
    } backup;
    struct {
        VEC(IslandLogin) logins;
    } control;
    VEC(IslandMove) moved;
    VEC(IslandEnv) env;
    StrList ssh_keys; /* authorised for the servers' admin */
    json_t *places;   /* where each key stands: {"servers.web.flavor": "7:20"} */
} Island;

struct IslandLoad;
struct YamlNode;

typedef struct IslandRow {
    const char *path;    /* "servers.*.volume.size" */
    const char *type;    /* "name", "text", "count", "size", "list", "map", ... for the reference */
    const char *def;     /* as written in a file; NULL: it must be given; "": none; "{}": the map's
                            own defaults; "<words>": worked out from other keys */
    const char *allowed; /* "1 to 64", "edge, web, worker, ..." */
    const char *sentence;
    /* For the loader: reads the value into the Island or the Tier that the path is in. */
    int (*read)(struct IslandLoad *l, const struct IslandRow *row, const struct YamlNode *n,
                Err *err);
    size_t offset;    /* of the field there */
    int64_t min, max; /* of numbers */
} IslandRow;
extern const IslandRow island_rows[]; /* ended by a NULL path */

/* `environment`: of `-e`, or NULL: the file is then another island, `<island>-<environment>` on
 * `<environment>.<domain>`, with what the file has below environments.<environment> in place of its
 * own. */
int island_load(const char *path, const char *environment, Island *ret, Err *err) _must_check_;
int island_parse_as(const char *name, Str text, const char *environment, Island *ret,
                    Err *err) _must_check_;
int island_parse(const char *name, Str text, Island *ret, Err *err) _must_check_;
void island_clear(Island *i);
DEFINE_CLEAR(Island, island_clear)
/* "reef.yaml:7:20: servers.web.flavor" for a message about a key, or without the numbers where the
 * file leaves it out. To be freed. */
char *island_place(const Island *i, const char *path);
/* doc/island.md's table. */
void island_reference(Buf *out);
/* A first island file for `atoll init`, with comments; flavors etc. as chosen by the caller. */
typedef struct IslandTemplate {
    const char *name, *domain, *cloud, *image, *flavor, *volume_type, *media_cloud;
    bool pocket; /* canary release, loopback network, port 8080 */
} IslandTemplate;
void island_template(const IslandTemplate *t, Buf *out);
/* Up to 16 of a-z and 0-9, a letter first: it becomes a part of the name and of the domain. */
bool environment_name_ok(const char *name);
/* Is NAME.number one of the tier's servers? */
bool tier_has(const Tier *t, int number);
/* Which entry of clouds.yaml goes to the control server in place of `cloud`: itself, unless
 * control.logins says otherwise. Borrowed. */
const char *island_login(const Island *i, const char *cloud);
/* The entries of clouds.yaml that the island uses, each once: its own first. Borrowed. */
void island_clouds(const Island *i, const char *ret[static 4]); /* NULL-ended */
const Tier *island_tier(const Island *i, const char *name);
/* The first server ("web.0") that carries a role, or NULL. To be freed. */
char *island_first_server(const Island *i, Role role);
/* The server whose first worker process alone takes Mastodon's scheduler queue: the tier that names
 * it, else the first that takes all queues. To be freed. */
char *island_scheduler(const Island *i);
/* 1 to 64 of a-z, A-Z, 0-9, and inside also dots, dashes and underscores. */
bool island_version_ok(const char *version);
/* A file that the island's file names: relative to its folder. To be freed. */
char *island_file_new(const Island *i, const char *path);
/* Servers of all tiers. */
int island_count(const Island *i);
/* True where the streaming API is the release's own Node server. */
bool island_streams_node(const Island *i);
/* True where the island runs on an embedded cloud: its entry is "pocket" or "pocket-...". */
bool island_is_pocket(const Island *i);
/* Mastodon's Sidekiq queues, NULL-ended (mastodon.md 4). */
extern const char *const island_queues[];
