/* Services: what runs on a server, described once, run by a driver.
 *
 * A role becomes a list of services (role_services.h). The supervisor (supervisor.h) decides what
 * starts, stops and waits; a driver (driver.h) does it.
 */
#pragma once
#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "base/secret.h"
#include "base/time.h"
#include "base/vec.h"

/* A file that a service needs; written whole before it starts. If its content differs from what is
 * there, the service is reloaded or restarted. */
typedef struct ServiceFile {
    char *path;  /* absolute, inside the host's root */
    Buf content; /* may hold secrets: mode 0600 and wiped */
    unsigned mode;
} ServiceFile;

/* A folder that a service needs, made before its files are written; with its parents (0711), which
 * stay the agent's. One that is there must be a real folder, the agent's or the service's user's.
 */
typedef struct ServiceDir {
    char *path;
    unsigned mode;
} ServiceDir;

typedef enum ServiceHealth {
    HEALTH_RUNNING,  /* it runs, for a second at least */
    HEALTH_TCP,      /* address:port accepts */
    HEALTH_HTTP,     /* GET path answers 200 */
    HEALTH_POSTGRES, /* as superuser over the socket in the folder health_path: first Mastodon's
                        role (with health_secret as its password) and database are made, which may
                        be repeated, then a statement is answered */
    HEALTH_REDIS,    /* PING is answered PONG (with the password) */
    HEALTH_SEARCH,   /* /_cluster/health says yellow or green to health_user with health_secret */
    HEALTH_SIDEKIQ, /* its process is in Redis' `processes` set; address, port, secret are Redis' */
    HEALTH_ONCE     /* it ran to its end with status 0 */
} ServiceHealth;

typedef enum ServiceStop {
    STOP_TERM,       /* SIGTERM, then SIGKILL after stop_ms */
    STOP_QUIET_TERM, /* Sidekiq: TSTP, wait for busy = 0 (at most drain_ms), TERM */
    STOP_FAST        /* PostgreSQL: SIGINT (fast shutdown), then SIGQUIT after stop_ms */
} ServiceStop;

/* What it may take of the server: the systemd driver's; on pocket nobody's. */
typedef struct ServiceLimits {
    int memory_percent; /* of the server's memory, together with its children; 0: all */
    int tasks;          /* processes and threads; 0: systemd's default */
    int files;          /* open files; 0: systemd's default */
    int oom_adjust;     /* -1000 to 1000: who goes first when memory runs out (proc(5)) */
    bool low_ports;     /* binds ports below 1024, and lowers its own workers to a user */
    bool chown;         /* calls chown(2), if only to say what is so already (certbot) */
    bool interfaces;    /* asks the kernel for this machine's addresses (getifaddrs(3)) */
} ServiceLimits;

typedef struct Service {
    char *name; /* "web", "worker.1", "prepare" */
    StrList argv;
    char *image; /* argv is run in a container of it (host/container.h); NULL: on the machine itself
                  */
    char *image_user;   /* in there: "1000:0"; NULL: the image has Mastodon's user and folders */
    StrList image_args; /* further arguments of podman's: what else is mounted */
    StrList env; /* "NAME=value": the whole environment; may hold secrets, so it is never logged */
    char *cwd;
    char *user;    /* as root: dropped to; otherwise ignored */
    bool once;     /* runs to its end, again for a new bundle; others wait for it (`after`) */
    bool no_retry; /* `once`: when it fails it stays failed; what ran to its end is not run again */
    StrList after; /* services that must be healthy first */
    VEC(ServiceDir) dirs;
    VEC(ServiceFile) files;
    char *skip_path;     /* `once`: nothing to do if this is there; or NULL */
    char *progress_path; /* `once`: a file whose first line says how far it is; or NULL */
    ServiceHealth health;
    char *health_address; /* "127.77.0.11" */
    int health_port;
    char *machine;     /* what Sidekiq calls its machine: "web.0.worker.1"; NULL: by its own name */
    char *health_path; /* HTTP path, or a file */
    const char *health_user;     /* a constant; for SEARCH */
    const Secret *health_secret; /* borrowed from the bundle for REDIS, POSTGRES, SEARCH */
    /* It listens on health_address:health_port and takes that socket as sd_listen_fds(3) says: the
     * driver keeps it open while the service is restarted, so who connects waits instead of being
     * refused. Whether it is kept may change while it runs. */
    bool keep_socket;
    bool
        notify; /* it says when it is ready (sd_notify(3)): not a container, which says it anyway */
    ServiceStop stop;
    Msec stop_ms, drain_ms;
    Msec start_ms; /* it must be healthy after so long, or is reported as failed while it is tried
                      further; 0: 60 s */
    int reload_signal; /* on changed files; 0: restart */
    ServiceLimits limits;
} Service;
typedef VEC(Service) Services;

typedef enum ServiceState {
    SERVICE_WAITING,
    SERVICE_STARTING,
    SERVICE_HEALTHY,
    SERVICE_FAILED,
    SERVICE_STOPPING, /* no longer wanted; finishing what it is at */
    SERVICE_STOPPED
} ServiceState;
typedef struct ServiceStatus {
    const char *name; /* borrowed */
    ServiceState state;
    char why[160]; /* the last failure's words, without secrets */
    int restarts;
    pid_t pid;
} ServiceStatus;

/* For those who describe services. */
void service_dir(Service *s, unsigned mode, char *path);  /* takes path */
Buf *service_file(Service *s, unsigned mode, char *path); /* takes path; fill the result
                                                             before the next call */
/* True if a running `a` can go on as `b`, files apart; and if their files are the same. */
bool service_same(const Service *a, const Service *b);
bool service_same_files(const Service *a, const Service *b);
/* Makes folders and writes files, as `owner` (NULL: whoever runs this). ERR_IO. */
int service_prepare(const Service *s, const char *owner, Err *err) _must_check_;
const char *service_state_word(ServiceState s);
/* 16 hex digits over what must be the same for a running process to be taken over: argv,
 * environment, user, files. */
void service_hash(const Service *s, char ret[static 17]);
void service_clear(Service *s);
bool services_have(const Services *s, const char *name);
void services_clear(Services *s);
DEFINE_CLEAR(Services, services_clear)
