/* atoll-pocket: options, start and end. */
#include "base/log.h"
#include "base/table.h"
#include "io/child.h"
#include "io/crypt.h"
#include "io/file.h"
#include "pocket/core.h"
#include "pocket/keystone.h"
#include "pocket/netns.h"
#include "pocket/ports.h"
#include "pocket/server.h"
#include "pocket/swift.h"
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct Options {
    const char *dir, *fault, *log;
    int64_t port_base, settle_lists, page_max, token_life_s, clock_ahead_s;
    bool no_servers, namespaces, help, version;
} Options;

static const Opt options_table[] = {
    {"dir", 0, OPT_STRING, "DIR", "Folder that holds this cloud; made if it is not there.",
     .offset = offsetof(Options, dir)},
    {"port-base", 0, OPT_INT, "N",
     "Listen on ports N to N+5 (default: free ports, kept in DIR for the next start).", 0, 65000,
     offsetof(Options, port_base)},
    {"fault", 0, OPT_STRING, "FILE",
     "Fault rules, one JSON object a line; read again whenever the file changes.",
     .offset = offsetof(Options, fault)},
    {"no-servers", 0, OPT_FLAG, NULL, "Servers become ACTIVE but nothing runs in them.",
     .offset = offsetof(Options, no_servers)},
    {"namespaces", 0, OPT_FLAG, NULL,
     "As root: each server has a network namespace of its own, and nftables enforce its security "
     "groups.",
     .offset = offsetof(Options, namespaces)},
    {"settle-lists", 0, OPT_INT, "N",
     "States like BUILD become final after so many looks at the object.", 0, 1000,
     offsetof(Options, settle_lists), "1"},
    {"page-max", 0, OPT_INT, "N", "Largest page of every list (0: as the services have it).", 0,
     100000, offsetof(Options, page_max), "0"},
    {"token-life", 0, OPT_INT, "SEC", "How long a token is good.", 1, 864000,
     offsetof(Options, token_life_s), "3600"},
    {"clock-ahead", 0, OPT_INT, "SEC",
     "The cloud's clock goes before this machine's by so much: tokens and TempURLs end earlier.", 0,
     315360000, offsetof(Options, clock_ahead_s), "0"},
    {"log", 0, OPT_STRING, "FILE", "Request log, JSON lines (default: DIR/requests.jsonl).",
     .offset = offsetof(Options, log)},
    {"help", 'h', OPT_FLAG, NULL, "Show this help.", .offset = offsetof(Options, help)},
    {"version", 0, OPT_FLAG, NULL, "Show the version.", .offset = offsetof(Options, version)},
    OPT_END,
};

static void print_help(void)
{
    _cleanup_(buf_clear) Buf b = BUF_INIT(BUF_MAX_LINE);
    buf_str(&b,
            "usage: atoll-pocket --dir DIR [options]\n\n"
            "A small OpenStack on loopback: Keystone, Nova, Neutron, Cinder, Glance, Swift.\n"
            "Servers are folders and processes of this machine; no packet is filtered (but see\n"
            "--namespaces), no flavor limits anything. Whoever can log in runs programs as this "
            "user.\n\n");
    opt_help(options_table, 80, &b);
    (void)fwrite(b.p, 1, b.len, stdout);
}

static int usage(Err *err)
{
    log_err(err);
    return err_exit_code(-(int)err->kind);
}

static Msec clock_ahead; /* set once, before any thread starts */

static Msec clock_now(void)
{
    return time_now() + clock_ahead;
}

/* One run: what is opened, in this order, and closed in the other. */
typedef struct Run {
    Pocket pocket;
    PocketCore core;
    Listener listeners[POCKET_SERVICES];
    int lock_fd;
} Run;

static int make_dir(Run *run, const char *dir, Err *err)
{
    if (file_mkdirs(dir, 0711, err) < 0)
        return -(int)err->kind;
    run->pocket.dir = realpath(dir, NULL);
    if (!run->pocket.dir || chmod(run->pocket.dir, 0711) < 0)
        return err_set(err, ERR_IO, "%s: %m", dir);
    _cleanup_free_ char *lock = path_join(run->pocket.dir, "lock");
    int r = file_lock(lock, &run->lock_fd, err);
    if (r == -ERR_HELD) {
        err_clear(err);
        return err_set(err, ERR_HELD, "another atoll-pocket runs on %s", run->pocket.dir);
    }
    return r;
}

/* As root, services run as users of their own, who have to get at their folders. */
static int can_be_entered(const Pocket *p, Err *err)
{
    _cleanup_free_ char *path = xstrdup(p->dir);
    struct stat st;

    for (char *slash; p->servers_run && geteuid() == 0 && (slash = strrchr(path, '/')) > path;) {
        *slash = '\0';
        if (stat(path, &st) == 0 && st.st_mode & 0001)
            continue;
        (void)err_set(err, ERR_USAGE, "%s lets nobody but its owner pass", path);
        return err_hint(err,
                        "servers run programs as users of their own (redis, postgres): take a "
                        "--dir elsewhere, such as below /var/tmp, or `chmod o+x %s`",
                        path);
    }
    return 0;
}

static int open_core(Run *run, const Options *o, Err *err)
{
    Pocket *p = &run->pocket;
    _cleanup_free_ char *log = o->log ? xstrdup(o->log) : path_join(p->dir, "requests.jsonl");
    run->core.token_life_s = o->token_life_s;
    p->core = &run->core;
    p->region = xstrdup("pocket-1");
    p->servers_run = !o->no_servers;
    p->settle_lists = (int)o->settle_lists;
    p->page_max = (int)o->page_max;
    clock_ahead = o->clock_ahead_s * SECOND;
    p->now = clock_now;
    int r = journal_open(log, &run->core.journal, err);
    return r < 0 || !o->fault ? r : faults_open(o->fault, &run->core.faults, err);
}

static int start_services(Pocket *p, Err *err)
{
    bool fresh;
    _cleanup_free_ char *path = path_join(p->dir, "pocket.db");
    if (store_open(path, &p->store, &fresh, err) < 0)
        return -(int)err->kind;
    pocket_lock(p);
    store_begin(p->store);
    int r = keystone_start(p, fresh, err);
    r = r < 0 ? r : swift_start(p, err);
    if (r >= 0) {
        neutron_start(p, fresh);
        cinder_start(p, fresh);
        glance_start(p, fresh);
        nova_start(p, fresh);
    }
    store_end(p->store, r >= 0);
    pocket_unlock(p);
    return r;
}

static int start_listeners(Run *run, const int *fds, Err *err)
{
    for (int s = 0; s < POCKET_SERVICES; s++) {
        Listener *l = &run->listeners[s];
        *l = (Listener){.pocket = &run->pocket, .service = (PocketService)s};
        const HttpdHandler *handler = s == POCKET_SWIFT ? &swift_handler : &serve_handler;
        int r = httpd_start(fds[s], handler, l, &l->httpd, err);
        if (r < 0)
            return r;
    }
    return 0;
}

/* Requests end before the servers do: none is made behind nova_stop's back. */
static void stop(Run *run, bool services)
{
    run->core.stopping = true;
    for (int s = 0; s < POCKET_SERVICES; s++)
        run->listeners[s].httpd = httpd_stop(run->listeners[s].httpd);
    if (services) {
        nova_stop(&run->pocket);
        neutron_stop(&run->pocket);
    }
    netns_close(&run->pocket);
    (void)store_close(run->pocket.store);
    (void)faults_close(run->core.faults);
    (void)journal_close(run->core.journal);
    free(run->pocket.dir);
    free(run->pocket.region);
    if (run->lock_fd > 0)
        close(run->lock_fd);
}

static int run_cloud(Run *run, const Options *o, const sigset_t *signals, Err *err)
{
    int fds[POCKET_SERVICES];
    int r = make_dir(run, o->dir, err);
    r = r < 0 ? r : open_core(run, o, err);
    r = r < 0 ? r : can_be_entered(&run->pocket, err);
    r = r < 0 || !o->namespaces ? r : netns_open(&run->pocket, err);
    r = r < 0 ? r : ports_listen(&run->pocket, (int)o->port_base, fds, err);
    r = r < 0 ? r : start_services(&run->pocket, err);
    bool services = r >= 0;
    r = r < 0 ? r : start_listeners(run, fds, err);
    if (r >= 0) {
        printf("pocket: ready: OS_CLIENT_CONFIG_FILE=%s/clouds.yaml (keystone "
               "http://127.0.0.1:%d/v3)\n",
               run->pocket.dir, run->pocket.port[POCKET_KEYSTONE]);
        (void)fflush(stdout);
        child_notify("READY=1");
        int sig;
        (void)sigwait(signals, &sig);
        child_notify("STOPPING=1");
    }
    stop(run, services);
    return r;
}

int main(int argc, char **argv)
{
    _cleanup_(err_clear) Err err = {0};
    Options o;
    char **operands = NULL;
    log_init(NULL, LOG_LEVEL_INFO);
    /* A server's init is this same program: it needs nothing but itself in a bare folder. */
    if (argc > 1 && streq(argv[1], "--server-init"))
        return server_init_main(argc, argv);
    if (opt_parse(argc, argv, (const Opt *const[]){options_table, NULL}, (void *const[]){&o},
                  &operands, &err) < 0)
        return usage(&err);
    bool extra = operands[0] != NULL;
    free((void *)operands);
    if (o.help) {
        print_help();
        return 0;
    }
    if (o.version) {
        printf("atoll-pocket %s\n", ATOLL_VERSION);
        return 0;
    }
    bool idle = o.namespaces && o.no_servers;
    if (!o.dir || extra || idle) {
        (void)err_set(&err, ERR_USAGE,
                      extra  ? "no operands, only options"
                      : idle ? "--namespaces does not go with --no-servers"
                             : "--dir is missing");
        (void)err_hint(&err, "atoll-pocket --help");
        return usage(&err);
    }
    umask(0077);
    crypt_init();
    (void)signal(SIGPIPE, SIG_IGN);
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    /* Before any thread starts, so that all of them leave the two to main. */
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    Run run = {0};
    int r = run_cloud(&run, &o, &signals, &err);
    if (r < 0)
        log_err(&err);
    return err_exit_code(r);
}
