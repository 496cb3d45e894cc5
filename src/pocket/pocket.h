/* The pocket cloud: a small OpenStack on loopback, for a first run, for tests and for faults.
 *
 * Real protocol (Keystone v3, Nova 2.1 with microversions, Neutron v2.0, Cinder v3, Glance v2,
 * Swift with TempURL, versions and CORS), durable, with the error bodies of each service. Each
 * service listens on a port of its own, as real clouds do. What it can't show it says: packets are
 * not filtered (a server is a folder, an address of 127/8 and processes) unless it runs as root
 * with
 * --namespaces, images have no content,
 * flavors limit nothing.
 *
 * Shape: routes are tables, one a service; a handler is a function from call to reply. All handlers
 * but Swift's object bodies run one at a time under one lock, inside one SQLite transaction that is
 * committed (synchronous=FULL) before the answer leaves. So a 2xx is on disk, and a handler never
 * thinks about threads. Rows are JSON documents in one table (store.h); object bodies are files.
 *
 * It shares nothing with the client: no table, error shape or URL. That duplication is the test.
 */
#pragma once
#include "base/buf.h"
#include "base/json.h"
#include "base/time.h"
#include "pocket/store.h"

typedef enum PocketService {
    POCKET_KEYSTONE,
    POCKET_NOVA,
    POCKET_NEUTRON,
    POCKET_CINDER,
    POCKET_GLANCE,
    POCKET_SWIFT,
    POCKET_SERVICES
} PocketService;

/* Newest compute and volume microversions answered: those of Zed. A request for a newer one gets
 * 406 before its handler runs. */
#define POCKET_COMPUTE_MINOR 93
#define POCKET_VOLUME_MINOR 70

typedef struct Pocket {
    char *dir; /* 0711; files in it 0600 */
    Store *store;
    int port[POCKET_SERVICES];
    char *region;     /* "pocket-1" */
    bool servers_run; /* false with --no-servers: a server's ACTIVE is all that happens */
    bool namespaces;  /* servers have networks of their own: netns.h */
    int settle_lists; /* BUILD, creating... become final after so many lists or shows of it;
                         0: at the first */
    int page_max;     /* largest page of every list; 0: 1000 */
    Msec (*now)(void);
    struct PocketCore *core; /* faults, log, token life: core.h; no service needs it */
} Pocket;

/* Who calls: from the token (keystone.c fills it; other services check `need` before a handler). */
typedef struct PocketUser {
    char *user_id, *user_name, *user_domain;
    char *project_id, *project_name; /* NULL for an unscoped token */
    StrList roles;                   /* names */
    bool application_credential, unrestricted;
} PocketUser;

typedef struct PocketCall {
    const char *method;
    const char *path;       /* decoded */
    StrList args;           /* what the {braces} of the route's pattern matched, decoded */
    json_t *query;          /* object of strings; a repeated name becomes an array */
    const StrList *headers; /* "Name: value" */
    json_t *body;           /* parsed JSON, or NULL */
    const PocketUser *user; /* NULL when the route needs none and there was no token */
    const char *request_id; /* "req-<uuid>" */
    int microversion;       /* Nova: minor of 2.N asked for (1 if none); Cinder: of 3.N; else 0 */
    char *answered_in;      /* the whole version, for the answer's headers; NULL: none (serve.c) */
} PocketCall;

typedef struct PocketReply {
    int status;
    json_t *json;    /* taken */
    Buf text;        /* instead of json */
    StrList headers; /* further "Name: value" */
} PocketReply;

typedef enum PocketNeed {
    NEED_NOTHING, /* version documents, login */
    NEED_TOKEN,   /* any valid token */
    NEED_PROJECT, /* any role on the project: reading */
    /* Writing: role member or admin. Nova's, Neutron's and Cinder's defaults since 2023.1
     * (enforce_new_defaults); before it any role on the project could. */
    NEED_MEMBER,
    NEED_ADMIN
} PocketNeed;

typedef void PocketHandler(Pocket *p, const PocketCall *c, PocketReply *r);

typedef struct PocketRoute {
    const char *method;
    const char *pattern; /* "/v2.0/ports/{id}"; {rest...} takes the slashes too */
    PocketNeed need;
    PocketHandler *handler;
} PocketRoute;

/* The one lock. Handlers run under it; a service's own threads take it for each look at the store
 * and wrap writes in store_begin/store_end. Not recursive. */
void pocket_lock(Pocket *p);
void pocket_unlock(Pocket *p);

/* Tables ended by a NULL method. */
extern const PocketRoute keystone_routes[], nova_routes[], neutron_routes[], cinder_routes[],
    glance_routes[];

/* Helpers for handlers. */
/* The service's own error shape (reference: iac.md 2.6): nova and cinder {"badRequest":{"code",
 * "message"}}, neutron {"NeutronError":{"type","message","detail"}}, keystone {"error":{...}},
 * glance HTML. `type` is nova's outer key or neutron's type; NULL: from the status. */
void pocket_fail(PocketService s, PocketReply *r, int status, const char *type, const char *format,
                 ...) _printf_(5, 6);
const char *pocket_query(const PocketCall *c, const char *name); /* first value or NULL */
const char *pocket_header(const PocketCall *c, const char *name);
bool pocket_has_role(const PocketUser *u, const char *role);
/* A list answer: {"<plural>":[...], "<plural>_links":[{"rel":"next","href":...}]} from rows
 * (taken), after limit, marker and page_max; 400 on a bad limit or an unknown marker. */
void pocket_page(Pocket *p, PocketService s, const PocketCall *c, PocketReply *r,
                 const char *plural, json_t *rows);
/* "http://127.0.0.1:PORT" of a service; to be freed. */
char *pocket_url(const Pocket *p, PocketService s);
/* A random UUID with dashes (Keystone, Glance, Nova, Neutron, Cinder ids); without for users and
 * projects. To be freed. */
char *pocket_uuid(bool dashes);
/* Now as the service writes it: "2026-11-24T17:31:39Z" (nova, neutron), with microseconds and no
 * zone (cinder: "2026-11-24T17:31:39.000000"). To be freed. */
char *pocket_stamp(const Pocket *p, PocketService s);

/* Life cycle of a service's own threads and rows: called under the lock at start (with the seed of
 * a new cloud) and without it at the end. */
void neutron_start(Pocket *p, bool fresh);
void nova_start(Pocket *p, bool fresh); /* also starts servers that were running before */
void cinder_start(Pocket *p, bool fresh);
void glance_start(Pocket *p, bool fresh);
void nova_stop(Pocket *p);    /* powers every server off */
void neutron_stop(Pocket *p); /* ends the floating-IP forwarders */
/* Across services, under the lock (direct calls where real services call each other). */
/* The port's fixed address, or NULL; borrowed until the next store call. */
const char *neutron_port_address(Pocket *p, const char *port_id);
/* Binds a port to a server (device_id, ACTIVE) or frees it (server_id NULL). False: not there or
 * in use by another. */
bool neutron_bind_port(Pocket *p, const char *port_id, const char *server_id);
/* Attaches a volume (status in-use) or detaches it; false: not there or not `available`. */
bool cinder_attach(Pocket *p, const char *volume_id, const char *server_id);
void cinder_detach(Pocket *p, const char *volume_id);
/* Folder that stands for a volume's content; to be freed. */
char *cinder_volume_dir(Pocket *p, const char *volume_id);
