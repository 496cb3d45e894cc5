/* A real PostgreSQL for the tests of pg.c and repl.c. */
#pragma once
#include "base/buf.h"
#include "base/time.h"
#include "io/child.h"
#include "io/file.h"
#include "io/pg.h"

#include <fcntl.h>
#include <glob.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* A real server in a folder of its own, reached by its unix socket. It does not run as root. */
typedef struct World {
    char folder[64];
    char bin[128];
    const char *user;
    Secret *password;
    PgTarget admin;
    pid_t pid;
} World;

static bool find_server(World *w)
{
    glob_t g = {0};
    bool found = glob("/usr/lib/postgresql/*/bin", 0, NULL, &g) == 0 && g.gl_pathc > 0;
    if (found)
        snprintf(w->bin, sizeof w->bin, "%s", g.gl_pathv[g.gl_pathc - 1]);
    globfree(&g);
    return found;
}

static int make_cluster(World *w)
{
    _cleanup_free_ char *initdb = path_join(w->bin, "initdb"), *data = path_join(w->folder, "data");
    const char *const argv[] = {initdb,
                                "-D",
                                data,
                                "-U",
                                "admin",
                                "-A",
                                "scram-sha-256",
                                "--pwfile=/dev/stdin",
                                "--no-sync",
                                "-E",
                                "UTF8",
                                "--locale=C",
                                NULL};
    _cleanup_(buf_clear) Buf out = BUF_INIT(BUF_MAX_LINE);
    int status;
    int r = child_run(&(ChildSpec){.argv = argv, .user = w->user, .cwd = w->folder},
                      secret_expose(w->password), MINUTE, &out, &status, NULL);
    if (r < 0 || status != 0)
        print_error("initdb: %s\n", out.p);
    return r < 0 || status != 0 ? -1 : 0;
}

static int start_server(World *w)
{
    _cleanup_free_ char *program = path_join(w->bin, "postgres");
    _cleanup_free_ char *data = path_join(w->folder, "data");
    const char *const argv[] = {
        program, "-D",        data, "-k", w->folder, "-p", "5432", "-c", "listen_addresses=",
        "-c",    "fsync=off", NULL};
    _cleanup_free_ char *log = path_join(w->folder, "log");
    int fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    int r = child_spawn(&(ChildSpec){.argv = argv,
                                     .user = w->user,
                                     .cwd = w->folder,
                                     .out_fd = fd,
                                     .err_fd = fd,
                                     .die_with_parent = true},
                        &w->pid, NULL);
    close(fd);
    return r;
}

static bool wait_ready(const World *w)
{
    static const char *const ask[] = {"SELECT 1", NULL};
    _cleanup_(err_clear) Err err = {0};
    for (Msec end = time_mono() + 30 * SECOND; time_mono() < end; time_sleep(20)) {
        int r = pg_run(&w->admin, ask, &err);
        if (r == 0)
            return true;
        if (r != -ERR_TEMPORARY) {
            print_error("starting: %s\n", err.text);
            return false;
        }
    }
    return false;
}

static int setup(void **state)
{
    World *w = NEW(World);
    *state = w;
    snprintf(w->folder, sizeof w->folder, "/tmp/atoll-pg.XXXXXX");
    if (!find_server(w) || !mkdtemp(w->folder))
        return 0;
    w->user = getuid() == 0 ? "postgres" : NULL;
    const char *const own[] = {"chown", "postgres", w->folder, NULL};
    int status;
    if (w->user &&
        child_run(&(ChildSpec){.argv = own}, STR_LIT(""), 10 * SECOND, NULL, &status, NULL) < 0)
        return -1;
    w->password = secret_new("it's \\secret", 12);
    w->admin = (PgTarget){.host = w->folder,
                          .port = 5432,
                          .user = "admin",
                          .database = "postgres",
                          .password = w->password};
    if (make_cluster(w) < 0 || start_server(w) < 0 || !wait_ready(w))
        return -1;
    return 0;
}

static int teardown(void **state)
{
    World *w = *state;
    if (w->pid > 0) {
        kill(w->pid, SIGQUIT);
        waitpid(w->pid, NULL, 0);
    }
    int r = *w->bin ? file_remove_tree(w->folder, NULL) : 0;
    secret_free(w->password);
    free(w);
    return r;
}

static World *need_server(void **state)
{
    World *w = *state;
    if (w->pid <= 0)
        skip();
    return w;
}
