#include "io/child.h"
#include "io/httpd.h"

#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "turns.h"

/* A service that is a shell script; $T is the trace file, $D the test's folder. */
static Service *add(Services *l, const Turns *t, const char *name, const char *script)
{
    Service s = {.name = xstrdup(name), .cwd = xstrdup(t->folder), .health = HEALTH_RUNNING};
    strlist_add(&s.argv, "sh");
    strlist_add(&s.argv, "-c");
    strlist_add(&s.argv, script);
    strlist_add(&s.env, "PATH=/usr/bin:/bin");
    strlist_addf(&s.env, "T=%s/trace", t->folder);
    strlist_addf(&s.env, "D=%s", t->folder);
    service_dir(&s, 0711, xstrdup(t->folder));
    vec_push(l, s);
    return vec_last(l);
}

static Service *add_once(Services *l, const Turns *t, const char *name, const char *script)
{
    Service *s = add(l, t, name, script);
    s->once = true;
    s->health = HEALTH_ONCE;
    return s;
}

#define FOREVER "while :; do sleep 1000 & wait; done"

static void they_start_in_order(void **state)
{
    Turns *t = *state;
    Services l = {0};
    strlist_add(&add(&l, t, "web", "echo web >>$T; " FOREVER)->after, "prepare");
    strlist_add(&add_once(&l, t, "prepare", "sleep 0.1; echo prepare >>$T")->after, "db");
    (void)add(&l, t, "db", "echo db >>$T; " FOREVER);

    assert_false(supervisor_busy(t->d));
    set_services(t, &l);
    assert_int_equal(l.len, 0);
    assert_int_equal(status_of(t, "web").state, SERVICE_WAITING);
    assert_string_equal(status_of(t, "web").why, "waits for prepare");
    until_state(t, "prepare", SERVICE_STARTING);
    assert_true(supervisor_busy(t->d));
    until_state(t, "web", SERVICE_HEALTHY);
    assert_false(supervisor_busy(t->d));
    until_trace(t, "db\nprepare\nweb\n");
    assert_int_equal(status_of(t, "prepare").pid, 0);
}

static void once_is_tried_until_it_succeeds(void **state)
{
    Turns *t = *state;
    Services l = {0};
    (void)add_once(&l, t, "prepare", "echo try >>$T; test $(wc -l <$T) -ge 3");

    set_services(t, &l);
    until_state(t, "prepare", SERVICE_HEALTHY);
    until_trace(t, "try\ntry\ntry\n");
    assert_int_equal(status_of(t, "prepare").restarts, 2);
}

static void once_that_never_succeeds_is_failed_and_tried_on(void **state)
{
    Turns *t = *state;
    Services l = {0};
    /* Ample: a unit takes its time to start, at a clock that runs 20 times as fast. */
    add_once(&l, t, "prepare", "test -e $D/ready || exit 3")->start_ms = 30 * SECOND;

    set_services(t, &l);
    until_state(t, "prepare", SERVICE_FAILED);
    assert_string_equal(status_of(t, "prepare").why, "exit status 3");
    _cleanup_free_ char *ready = path_join(t->folder, "ready");
    assert_int_equal(file_write(ready, STR_LIT(""), 0600, NULL), 0);
    until_state(t, "prepare", SERVICE_HEALTHY);
    assert_string_equal(status_of(t, "prepare").why, "");
}

static void once_is_skipped_where_it_was_done(void **state)
{
    Turns *t = *state;
    Services l = {0};
    Service *s = add_once(&l, t, "init", "echo init >>$T; touch $D/done");
    s->skip_path = path_join(t->folder, "done");

    set_services(t, &l);
    until_state(t, "init", SERVICE_HEALTHY);
    until_trace(t, "init\n");
    s = add_once(&l, t, "init", "echo init >>$T; touch $D/done");
    s->skip_path = path_join(t->folder, "done");
    set_services(t, &l);
    until_state(t, "init", SERVICE_HEALTHY);
    until_trace(t, "init\n");
}

static void until_why(Turns *t, const char *name, const char *why)
{
    Msec deadline = time_mono() + DEADLINE_MS;

    while (!streq(status_of(t, name).why, why)) {
        if (time_mono() > deadline)
            fail_msg("%s says \"%s\", not \"%s\"", name, status_of(t, name).why, why);
        turn(t);
    }
}

/* The agent may read what the service may not: so only a file of its own counts. */
static void once_says_how_far_it_is(void **state)
{
    Turns *t = *state;
    Services l = {0};
    Service *s = add_once(&l, t, "init",
                          "echo '1 of 2' >$D/far; until test -e $D/on; do sleep 0.05; done; "
                          "echo secret >$D/secret; rm $D/far; ln -s secret $D/far; echo linked "
                          ">>$T; until test -e $D/end; do sleep 0.05; done");
    _cleanup_free_ char *on = path_join(t->folder, "on"), *end = path_join(t->folder, "end");
    s->progress_path = path_join(t->folder, "far");
    s->start_ms = 1 * HOUR;

    set_services(t, &l);
    until_why(t, "init", "1 of 2");
    assert_int_equal(status_of(t, "init").state, SERVICE_STARTING);
    assert_int_equal(file_write(on, STR_LIT(""), 0600, NULL), 0);
    until_trace(t, "linked\n");
    for (int i = 0; i < 100; i++) {
        turn(t);
        assert_string_equal(status_of(t, "init").why, "1 of 2");
    }
    assert_int_equal(file_write(end, STR_LIT(""), 0600, NULL), 0);
    until_state(t, "init", SERVICE_HEALTHY);
    assert_string_equal(status_of(t, "init").why, "");
}

static void what_crashes_is_started_again(void **state)
{
    Turns *t = *state;
    Services l = {0};
    (void)add(&l, t, "web", "echo up >>$T; " FOREVER);

    set_services(t, &l);
    until_state(t, "web", SERVICE_HEALTHY);
    pid_t first = status_of(t, "web").pid;
    assert_int_equal(kill(first, SIGKILL), 0);
    until_trace(t, "up\nup\n");
    until_state(t, "web", SERVICE_HEALTHY);
    assert_int_not_equal(status_of(t, "web").pid, first);
    assert_int_equal(status_of(t, "web").restarts, 1);
}

/* What a dead service left behind in its session must not live on beside its successor. */
static void nothing_of_a_crashed_service_is_left(void **state)
{
    Turns *t = *state;
    Services l = {0};
    (void)add(&l, t, "web", "sleep 1000 & echo $! >$D/left; wait");
    _cleanup_free_ char *path = path_join(t->folder, "left");
    _cleanup_(buf_clear) Buf text = BUF_INIT(BUF_MAX_LINE);

    set_services(t, &l);
    until_state(t, "web", SERVICE_HEALTHY);
    assert_int_equal(file_read(path, &text, NULL), 0);
    pid_t left = (pid_t)strtol(text.p, NULL, 10);
    assert_true(child_alive(left, 0));
    assert_int_equal(kill(status_of(t, "web").pid, SIGKILL), 0);
    Msec deadline = time_mono() + DEADLINE_MS;
    while (child_alive(left, 0)) {
        assert_true(time_mono() < deadline);
        turn(t);
    }
}

static void crashes_are_slowed_down(void **state)
{
    Turns *t = *state;
    Services l = {0};
    add(&l, t, "web", "echo up >>$T; exit 7")->start_ms = 20 * SECOND;
    Msec from = t->now;

    set_services(t, &l);
    until_trace(t, "up\nup\nup\nup\n");
    /* 1 + 2 + 4 s lie between four starts. */
    assert_true(t->now - from >= 7 * SECOND);
    assert_int_equal(status_of(t, "web").state, SERVICE_STARTING);
    until_state(t, "web", SERVICE_FAILED);
    assert_string_equal(status_of(t, "web").why, "exit status 7");
}

static void what_cannot_be_started_says_why(void **state)
{
    Turns *t = *state;
    Services l = {0};
    Service *s = add(&l, t, "web", "");
    strlist_clear(&s->argv);
    strlist_add(&s->argv, "no-such-program");
    s->start_ms = 2 * SECOND;

    set_services(t, &l);
    until_state(t, "web", SERVICE_FAILED);
    assert_non_null(strstr(status_of(t, "web").why, "no-such-program"));
}

/* A script that writes each signal it gets, and ends at the one given. */
static char *signal_script(const char *last)
{
    return xasprintf("for s in INT QUIT TSTP HUP TERM; do "
                     "if test $s = %s; then trap \"echo $s >>$T; exit 0\" $s; "
                     "else trap \"echo $s >>$T\" $s; fi; done; "
                     "echo up >>$T; while :; do sleep 0.02; done",
                     last);
}

static void stop_rules_send_their_signals(void **state)
{
    static const struct {
        ServiceStop stop;
        const char *last, *trace;
    } rows[] = {
        {STOP_TERM, "TERM", "up\nTERM\n"},
        {STOP_TERM, "never", "up\nTERM\n"}, /* then SIGKILL */
        {STOP_FAST, "INT", "up\nINT\n"},
        {STOP_FAST, "QUIT", "up\nINT\nQUIT\n"},
        {STOP_FAST, "never", "up\nINT\nQUIT\n"},
        {STOP_QUIET_TERM, "TERM", "up\nTSTP\nTERM\n"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        void *inner = NULL;
        assert_int_equal(turns_setup(&inner), 0);
        Turns *t = inner;
        Services l = {0};
        _cleanup_free_ char *script = signal_script(rows[i].last);
        Service *s = add(&l, t, "one", script);
        s->stop = rows[i].stop;
        s->stop_ms = 8 * SECOND;
        s->drain_ms = 30 * SECOND;
        s->health_address = xstrdup("127.0.0.1");
        s->health_port = 1; /* nobody: draining is blind */

        set_services(t, &l);
        until_trace(t, "up\n");
        pid_t pid = status_of(t, "one").pid;
        stop_all(t);
        assert_false(child_alive(pid, 0));
        until_trace(t, rows[i].trace);
        assert_int_equal(turns_teardown(&inner), 0);
    }
}

static void they_stop_in_reverse_order(void **state)
{
    Turns *t = *state;
    Services l = {0};
    (void)add(&l, t, "db", "trap 'echo db >>$T; exit 0' TERM; " FOREVER);
    strlist_add(&add(&l, t, "web", "trap 'sleep 0.2; echo web >>$T; exit 0' TERM; " FOREVER)->after,
                "db");

    set_services(t, &l);
    until_state(t, "web", SERVICE_HEALTHY);
    stop_all(t);
    until_trace(t, "web\ndb\n");
}

/* What is no longer wanted stops; what stays is not touched; `once` runs again. */
static void a_new_set_changes_only_what_differs(void **state)
{
    Turns *t = *state;
    Services l = {0};
    (void)add(&l, t, "stays", FOREVER);
    (void)add(&l, t, "goes", "trap 'echo gone >>$T; exit 0' TERM; " FOREVER);
    (void)add_once(&l, t, "prepare", "echo prepare >>$T");
    set_services(t, &l);
    until_trace(t, "prepare\n");
    until_state(t, "prepare",
                SERVICE_HEALTHY); /* its end is noticed: one that runs is left alone */
    until_state(t, "stays", SERVICE_HEALTHY);
    until_state(t, "goes", SERVICE_HEALTHY);
    pid_t pid = status_of(t, "stays").pid;

    (void)add(&l, t, "stays", FOREVER);
    (void)add_once(&l, t, "prepare", "echo prepare >>$T");
    strlist_add(&add(&l, t, "comes", FOREVER)->after, "prepare");
    set_services(t, &l);
    until_state(t, "comes", SERVICE_HEALTHY);
    assert_int_equal(status_of(t, "stays").pid, pid);
    assert_int_equal(status_of(t, "stays").restarts, 0);
    assert_int_equal(status_of(t, "goes").state, SERVICE_STOPPED);
    _cleanup_(buf_clear) Buf trace = BUF_INIT(BUF_MAX_LINE);
    read_trace(t, &trace);
    assert_int_equal(trace.len, strlen("prepare\ngone\nprepare\n"));
}

static void a_changed_environment_restarts_it_carefully(void **state)
{
    Turns *t = *state;
    Services l = {0};
    static const char script[] =
        "trap 'echo stop >>$T; exit 0' TERM; echo \"up $V\" >>$T; " FOREVER;
    strlist_add(&add(&l, t, "web", script)->env, "V=1");
    set_services(t, &l);
    until_state(t, "web", SERVICE_HEALTHY);

    strlist_add(&add(&l, t, "web", script)->env, "V=2");
    set_services(t, &l);
    until_trace(t, "up 1\nstop\nup 2\n");
    until_state(t, "web", SERVICE_HEALTHY);
    /* A restart that was wanted is none that is counted. */
    assert_int_equal(status_of(t, "web").restarts, 0);
}

static void with_file(const Turns *t, Service *s, const char *content)
{
    _cleanup_free_ char *path = xasprintf("%s/%s.conf", t->folder, s->name);
    buf_str(service_file(s, 0640, TAKE(path)), content);
}

static void a_changed_file_restarts_only_its_service(void **state)
{
    Turns *t = *state;
    Services l = {0};
    static const char script[] = "echo \"a $(cat $D/a.conf)\" >>$T; " FOREVER;
    with_file(t, add(&l, t, "a", script), "1");
    with_file(t, add(&l, t, "b", FOREVER), "1");
    set_services(t, &l);
    until_state(t, "a", SERVICE_HEALTHY);
    until_state(t, "b", SERVICE_HEALTHY);
    pid_t b = status_of(t, "b").pid;
    _cleanup_free_ char *path = path_join(t->folder, "a.conf");
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0640);

    with_file(t, add(&l, t, "a", script), "2");
    with_file(t, add(&l, t, "b", FOREVER), "1");
    set_services(t, &l);
    until_trace(t, "a 1\na 2\n");
    assert_int_equal(status_of(t, "b").pid, b);
    until_state(t, "a", SERVICE_HEALTHY);
}

static void a_changed_file_reloads_what_can_reload(void **state)
{
    Turns *t = *state;
    Services l = {0};
    static const char script[] =
        "trap 'echo \"hup $(cat $D/edge.conf)\" >>$T' HUP; echo up >>$T; " FOREVER;
    Service *s = add(&l, t, "edge", script);
    s->reload_signal = SIGHUP;
    with_file(t, s, "1");
    set_services(t, &l);
    until_state(t, "edge", SERVICE_HEALTHY);
    pid_t pid = status_of(t, "edge").pid;

    s = add(&l, t, "edge", script);
    s->reload_signal = SIGHUP;
    with_file(t, s, "2");
    set_services(t, &l);
    until_trace(t, "up\nhup 2\n");
    assert_int_equal(status_of(t, "edge").pid, pid);
}

/* What runs to its end is not run again for it, as it would be for a new set. */
static void one_service_is_renewed_alone(void **state)
{
    Turns *t = *state;
    static const char script[] =
        "trap 'echo \"hup $(cat $D/edge.conf)\" >>$T' HUP; echo up >>$T; " FOREVER;

    for (int i = 1; i <= 2; i++) {
        Services l = {0};
        Service *once = add(&l, t, "once", "echo once >>$T");
        once->once = true;
        once->health = HEALTH_ONCE;
        Service *s = add(&l, t, "edge", script);
        strlist_add(&s->after, "once");
        s->reload_signal = SIGHUP;
        with_file(t, s, i == 1 ? "1" : "2");
        if (i == 1)
            set_services(t, &l);
        else
            assert_int_equal(supervisor_renew(t->d, &l, "edge", NULL), 0);
        until_state(t, "edge", SERVICE_HEALTHY);
    }
    until_trace(t, "once\nup\nhup 2\n");
    Services none = {0};
    add(&none, t, "other", FOREVER);
    assert_int_equal(supervisor_renew(t->d, &none, "other", NULL), 0);
    assert_int_equal(supervisor_status(t->d, (ServiceStatus[4]){{0}}, 4), 2);
}

static void a_set_that_makes_no_sense_changes_nothing(void **state)
{
    Turns *t = *state;
    Services l = {0};
    (void)add(&l, t, "a", FOREVER);
    set_services(t, &l);
    until_state(t, "a", SERVICE_HEALTHY);

    (void)add(&l, t, "b", FOREVER);
    (void)add(&l, t, "b", FOREVER);
    assert_int_equal(supervisor_set(t->d, &l, t->now, NULL), -ERR_BUG);
    strlist_add(&add(&l, t, "b", FOREVER)->after, "nobody");
    assert_int_equal(supervisor_set(t->d, &l, t->now, NULL), -ERR_BUG);
    turn(t);
    assert_int_equal(status_of(t, "a").state, SERVICE_HEALTHY);
}

static void the_environment_is_only_what_is_given(void **state)
{
    Turns *t = *state;
    Services l = {0};
    Service *s = add_once(&l, t, "env", "");
    strlist_clear(&s->argv);
    strlist_clear(&s->env);
    strlist_add(&s->argv, "/usr/bin/env");
    assert_int_equal(setenv("ATOLL_TEST_LEAK", "leak", 1), 0);
    _cleanup_free_ char *log = path_join(t->folder, "log/env.log");
    _cleanup_(buf_clear) Buf text = BUF_INIT(BUF_MAX_LINE);

    set_services(t, &l);
    until_state(t, "env", SERVICE_HEALTHY);
    assert_int_equal(file_read(log, &text, NULL), 0);
    assert_string_equal(text.p, "");
}

/* --- health over HTTP --- */

static atomic_int http_answer;
static void http_begin(HttpdCall *c)
{
    c->answered = true;
    c->reply.status = atomic_load(&http_answer);
}
static const HttpdHandler http_handler = {.begin = http_begin};

static void health_over_http(void **state)
{
    Turns *t = *state;
    Services l = {0};
    Httpd *httpd = NULL;
    int fd, port;
    assert_int_equal(httpd_listen("127.0.0.1", 0, &fd, &port, NULL), 0);
    assert_int_equal(httpd_start(fd, &http_handler, NULL, &httpd, NULL), 0);
    Service *s = add(&l, t, "web", FOREVER);
    s->health = HEALTH_HTTP;
    s->health_address = xstrdup("127.0.0.1");
    s->health_port = port;
    s->health_path = xstrdup("/health");
    s->start_ms = 10 * SECOND;

    atomic_store(&http_answer, 503);
    set_services(t, &l);
    until_state(t, "web", SERVICE_FAILED);
    assert_string_equal(status_of(t, "web").why, "/health answers 503");
    atomic_store(&http_answer, 200);
    until_state(t, "web", SERVICE_HEALTHY);
    atomic_store(&http_answer, 500);
    until_state(t, "web", SERVICE_STARTING);
    until_state(t, "web", SERVICE_FAILED);
    assert_int_equal(status_of(t, "web").restarts, 0);
    (void)httpd_stop(httpd);
}

/* A question that stays without an answer is a miss, long before the system gives it up. */
static void health_without_an_answer(void **state)
{
    Turns *t = *state;
    Services l = {0};
    Httpd *httpd = NULL;
    int fd, port, silent;
    assert_int_equal(httpd_listen("127.0.0.1", 0, &fd, &port, NULL), 0);
    assert_int_equal(httpd_start(fd, &http_handler, NULL, &httpd, NULL), 0);
    Service *s = add(&l, t, "web", FOREVER);
    s->health = HEALTH_HTTP;
    s->health_address = xstrdup("127.0.0.1");
    s->health_port = port;
    s->start_ms = HOUR;

    atomic_store(&http_answer, 200);
    set_services(t, &l);
    until_state(t, "web", SERVICE_HEALTHY);
    (void)httpd_stop(httpd);
    /* The kernel accepts, and nobody reads. */
    assert_int_equal(httpd_listen("127.0.0.1", port, &silent, &port, NULL), 0);
    until_state(t, "web", SERVICE_STARTING);
    Msec deadline = time_mono() + DEADLINE_MS;
    while (!streq(status_of(t, "web").why, "it does not answer")) {
        assert_true(time_mono() < deadline);
        turn(t);
    }
    close(silent);
}

static void health_over_tcp(void **state)
{
    Turns *t = *state;
    Services l = {0};
    int fd, port;
    assert_int_equal(httpd_listen("127.0.0.1", 0, &fd, &port, NULL), 0);
    Service *s = add(&l, t, "edge", FOREVER);
    s->health = HEALTH_TCP;
    s->health_address = xstrdup("127.0.0.1");
    s->health_port = port;
    s->start_ms = 5 * SECOND;

    set_services(t, &l);
    until_state(t, "edge", SERVICE_HEALTHY);
    close(fd);
    until_state(t, "edge", SERVICE_FAILED);
    assert_non_null(strstr(status_of(t, "edge").why, "refused"));
}

/* --- the agent killed --- */

/* In a process of its own: starts the service and waits to be killed. */
static _noreturn_ void run_and_wait(const Turns *t)
{
    _cleanup_free_ char *logs = path_join(t->folder, "log");
    Turns own = *t;
    Services l = {0};
    /* Its shell dies with the driver; what the shell started does not. */
    (void)add(&l, t, "web", "sleep 1000 & echo \"$$ $!\" >$D/new; mv $D/new $D/pids; wait");
    own.d = supervisor_open(t->driver, t->folder, logs);
    if (supervisor_set(own.d, &l, own.now, NULL) < 0)
        _exit(1);
    for (;;)
        turn(&own);
}

static void gone_within_deadline(pid_t pid)
{
    Msec deadline = time_mono() + DEADLINE_MS;
    while (child_alive(pid, 0)) {
        assert_true(time_mono() < deadline);
        (void)poll(NULL, 0, TURN_REAL_MS);
    }
}

static void until_written(const char *path, const char *content)
{
    Msec deadline = time_mono() + DEADLINE_MS;
    for (;;) {
        _cleanup_(buf_clear) Buf text = BUF_INIT(BUF_MAX_LINE);
        if (file_exists(path) && file_read(path, &text, NULL) == 0 &&
            (!*content || streq(text.p, content)))
            return;
        assert_true(time_mono() < deadline);
        (void)poll(NULL, 0, TURN_REAL_MS);
    }
}

static void a_killed_agent_leaves_nothing_for_the_next(void **state)
{
    Turns *t = *state;
    _cleanup_free_ char *path = path_join(t->folder, "pids"), *logs = path_join(t->folder, "log");
    _cleanup_free_ char *note = path_join(logs, ".sessions");
    _cleanup_(buf_clear) Buf text = BUF_INIT(BUF_MAX_LINE);
    t->d = supervisor_close(t->d);

    pid_t agent = fork();
    if (agent == 0)
        run_and_wait(t);
    until_written(path, "");
    assert_int_equal(file_read(path, &text, NULL), 0);
    char *end;
    pid_t service = (pid_t)strtol(text.p, &end, 10), left = (pid_t)strtol(end, NULL, 10);
    _cleanup_free_ char *noted = xasprintf("%d\n", (int)service);
    until_written(note, noted);
    assert_int_equal(kill(agent, SIGKILL), 0);
    assert_int_equal(waitpid(agent, NULL, 0), agent);
    gone_within_deadline(service);
    assert_true(child_alive(left, 0));
    t->d = supervisor_open(t->driver, t->folder, logs);
    gone_within_deadline(left);
}

static void folders_in_the_way_are_refused(void **state)
{
    Turns *t = *state;
    Services l = {0};
    _cleanup_free_ char *link = path_join(t->folder, "link");
    assert_int_equal(symlink("/tmp", link), 0);
    Service *s = add(&l, t, "db", FOREVER);
    s->start_ms = 1 * SECOND;
    service_dir(s, 0700, xstrdup(link));

    set_services(t, &l);
    until_state(t, "db", SERVICE_FAILED);
    assert_non_null(strstr(status_of(t, "db").why, "is in the way"));
}

static void logs_have_an_end(void **state)
{
    Turns *t = *state;
    Services l = {0};
    _cleanup_free_ char *log = path_join(t->folder, "log/web.log"),
                        *old = path_join(t->folder, "log/web.log.1"), *trace = trace_path(t);
    struct stat st;
    (void)add(&l, t, "web",
              "head -c 11000000 /dev/zero; echo; echo written >>$T; "
              "while ! test -e $D/go; do sleep 0.02; done; echo after; " FOREVER);

    set_services(t, &l);
    /* Without a turn: one in the middle of the writing would find a log that is too large already.
     */
    Msec deadline = time_mono() + DEADLINE_MS;
    while (!file_exists(trace)) {
        assert_true(time_mono() < deadline);
        (void)poll(NULL, 0, TURN_REAL_MS);
    }
    while (!file_exists(old)) {
        assert_true(time_mono() < deadline);
        turn(t);
    }
    assert_int_equal(stat(old, &st), 0);
    assert_int_equal(st.st_size, 11000001);
    /* The service writes on into the same file, which began anew. */
    _cleanup_free_ char *go = path_join(t->folder, "go");
    assert_int_equal(file_write(go, STR_LIT(""), 0600, NULL), 0);
    while (stat(log, &st) < 0 || st.st_size == 0) {
        assert_true(time_mono() < deadline);
        turn(t);
    }
    _cleanup_(buf_clear) Buf text = BUF_INIT(BUF_MAX_LINE);
    assert_int_equal(file_read(log, &text, NULL), 0);
    assert_string_equal(text.p, "after\n");
}

/* --- a socket that outlives who serves on it --- */

/* Answers each connection with $ANSWER and its end; takes the socket it is given, or makes its own.
 */
static const char server_script[] =
    "use Socket; $SIG{TERM} = sub { $end = 1 };"
    "if (($ENV{LISTEN_PID} // 0) == $$) { open(S, '+<&=3') or die }"
    "else { socket(S, PF_INET, SOCK_STREAM, 0); setsockopt(S, SOL_SOCKET, SO_REUSEADDR, 1);"
    "bind(S, sockaddr_in($ENV{PORT}, inet_aton('127.0.0.1'))) or die; listen(S, 9) or die }"
    "while (!$end) { accept(C, S) or next; syswrite C, $ENV{ANSWER}; close C }";

/* Its start takes a while, as Puma's does. */
static Service *add_server(Services *l, const Turns *t, int port, const char *answer, bool keep)
{
    Service *s = add(l, t, "web", "sleep 0.3; exec perl -e \"$SCRIPT\"");

    strlist_addf(&s->env, "SCRIPT=%s", server_script);
    strlist_addf(&s->env, "PORT=%d", port);
    strlist_addf(&s->env, "ANSWER=%s", answer);
    s->health = HEALTH_TCP;
    s->health_address = xstrdup("127.0.0.1");
    s->health_port = port;
    s->keep_socket = keep;
    return s;
}

static int free_port(void)
{
    int fd, port;

    assert_int_equal(httpd_listen("127.0.0.1", 0, &fd, &port, NULL), 0);
    close(fd);
    return port;
}

/* -1: refused. */
static int connect_to(int port)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons((uint16_t)port),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval limit = {.tv_sec = 10};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit), 0);
    if (connect(fd, (struct sockaddr *)&a, sizeof a) == 0)
        return fd;
    assert_int_equal(errno, ECONNREFUSED);
    close(fd);
    return -1;
}

/* The byte that it is answered, or "." for an end without an answer. */
static char answer_of(int fd)
{
    char c = '.';

    (void)read(fd, &c, 1); /* a reset is no answer */
    close(fd);
    return c;
}

/* One connection a turn until another process than `old` is well; what each was answered. */
static void connect_through(Turns *t, int port, pid_t old, Buf *answers)
{
    int fds[1024];
    size_t n = 0;
    Msec deadline = time_mono() + DEADLINE_MS;

    for (;;) {
        ServiceStatus s = status_of(t, "web");
        assert_true(n < ARRAY_LEN(fds) && time_mono() < deadline);
        fds[n++] = connect_to(port);
        if (s.state == SERVICE_HEALTHY && s.pid && s.pid != old)
            break;
        turn(t);
    }
    buf_truncate(answers, 0);
    for (size_t i = 0; i < n; i++)
        buf_char(answers, fds[i] < 0 ? '-' : answer_of(fds[i]));
}

/* Its release changes, and its process dies: who connects meanwhile waits. */
static void who_connects_waits_for_the_next(void **state)
{
    Turns *t = *state;
    Services l = {0}, none = {0};
    int port = free_port();
    _cleanup_(buf_clear) Buf answers = BUF_INIT(BUF_MAX_LINE);

    (void)add_server(&l, t, port, "1", true);
    set_services(t, &l);
    until_state(t, "web", SERVICE_HEALTHY);
    assert_int_equal(answer_of(connect_to(port)), '1');
    pid_t old = status_of(t, "web").pid;
    (void)add_server(&l, t, port, "2", true);
    set_services(t, &l);
    connect_through(t, port, old, &answers);
    assert_true(strspn(answers.p, "1") < answers.len);
    assert_int_equal(strspn(answers.p, "1") + strspn(answers.p + strspn(answers.p, "1"), "2"),
                     answers.len);
    old = status_of(t, "web").pid;
    assert_int_equal(kill(old, SIGKILL), 0);
    gone_within_deadline(old); /* what it had accepted goes with it */
    connect_through(t, port, old, &answers);
    assert_int_equal(strspn(answers.p, "2"), answers.len);
    set_services(t, &none);
    while (status_of(t, "web").state != SERVICE_STOPPED)
        turn(t);
    Msec deadline = time_mono() + DEADLINE_MS;
    for (int fd; (fd = connect_to(port)) >= 0; turn(t)) {
        assert_true(time_mono() < deadline);
        close(fd);
    }
}

/* There are others to ask now, so a wait would be worse than a refusal. */
static void a_socket_that_is_kept_no_longer(void **state)
{
    Turns *t = *state;
    Services l = {0};
    int port = free_port();
    _cleanup_(buf_clear) Buf answers = BUF_INIT(BUF_MAX_LINE);

    (void)add_server(&l, t, port, "1", true);
    set_services(t, &l);
    until_state(t, "web", SERVICE_HEALTHY);
    pid_t old = status_of(t, "web").pid;
    (void)add_server(&l, t, port, "1", false);
    set_services(t, &l);
    turn(t);
    assert_int_equal(status_of(t, "web").pid, old);
    for (int keep = 0; keep < 2; keep++) {
        (void)add_server(&l, t, port, keep ? "3" : "2", keep);
        set_services(t, &l);
        connect_through(t, port, old, &answers);
        if (!keep)
            assert_non_null(strchr(answers.p, '-'));
        old = status_of(t, "web").pid;
        assert_int_equal(answer_of(connect_to(port)), keep ? '3' : '2');
    }
}

/* It never comes up: from then on who connects is refused, and can ask elsewhere. */
static void nobody_waits_for_what_has_failed(void **state)
{
    Turns *t = *state;
    Services l = {0};
    int port = free_port();
    Service *s = add_server(&l, t, port, "1", true);

    strlist_clear(&s->argv);
    strlist_add(&s->argv, "no-such-program");
    s->start_ms = 3 * SECOND;
    set_services(t, &l);
    until_state(t, "web", SERVICE_FAILED);
    Msec deadline = time_mono() + DEADLINE_MS;
    for (int fd; (fd = connect_to(port)) >= 0; turn(t)) {
        assert_true(time_mono() < deadline);
        close(fd);
    }
}

/* --- the agent's successor --- */

static void begin_anew(Turns *t)
{
    _cleanup_free_ char *logs = path_join(t->folder, "log");
    (void)supervisor_close(t->d);
    t->d = supervisor_open(t->driver, t->folder, logs);
}

static void the_next_agent_takes_over_what_runs(void **state)
{
    Turns *t = *state;
    Services l = {0};
    (void)add(&l, t, "web", "echo up >>$T; " FOREVER);
    (void)add_once(&l, t, "prepare", "echo prepare >>$T");
    set_services(t, &l);
    until_state(t, "web", SERVICE_HEALTHY);
    until_state(t, "prepare", SERVICE_HEALTHY);
    _cleanup_(buf_clear) Buf trace = BUF_INIT(BUF_MAX_LINE);
    pid_t pid = status_of(t, "web").pid;
    assert_true(pid > 0);

    begin_anew(t);
    assert_true(child_alive(pid, 0));
    (void)add(&l, t, "web", "echo up >>$T; " FOREVER);
    (void)add_once(&l, t, "prepare", "echo prepare >>$T");
    set_services(t, &l);
    until_state(t, "web", SERVICE_HEALTHY);
    until_state(t, "prepare", SERVICE_HEALTHY);
    assert_int_equal(status_of(t, "web").pid, pid);
    assert_int_equal(status_of(t, "web").restarts, 0);
    read_trace(t, &trace);
    assert_int_equal(trace.len, strlen("up\nprepare\n"));
    assert_true(supervisor_may_leave(t->d));
}

static void the_next_agent_stops_what_is_another_or_nobodys(void **state)
{
    Turns *t = *state;
    Services l = {0};
    (void)add(&l, t, "web", "trap 'echo stop >>$T; exit 0' TERM; echo 1 >>$T; " FOREVER);
    (void)add(&l, t, "gone", FOREVER);
    set_services(t, &l);
    until_state(t, "web", SERVICE_HEALTHY);
    until_state(t, "gone", SERVICE_HEALTHY);
    pid_t gone = status_of(t, "gone").pid;

    begin_anew(t);
    (void)add(&l, t, "web", "echo 2 >>$T; " FOREVER);
    set_services(t, &l);
    until_trace(t, "1\nstop\n2\n");
    until_state(t, "web", SERVICE_HEALTHY);
    until_state(t, "gone", SERVICE_STOPPED);
    assert_false(child_alive(gone, 0));
}

/* A service manager with one unit that takes its time to stop, as Sidekiq does that puts back its
 * jobs. */
typedef struct Slow {
    StopStep worst;
    int stops;
} Slow;

static Slow slow;

static void *slow_open(const char *root, const char *log_dir)
{
    (void)root;
    (void)log_dir;
    slow = (Slow){.worst = STOP_STEP_FIRST};
    return &slow;
}

static void slow_found(void *d, StrList *ret)
{
    (void)d;
    strlist_add(ret, "worker.2");
}

static int slow_start(void *d, const Service *s, Run *ret, Err *err)
{
    (void)d;
    (void)ret;
    return err_set(err, ERR_BUG, "%s is started", s->name);
}

static void slow_tell(void *d, const Service *s, pid_t pid, int sig)
{
    (void)d;
    (void)s;
    (void)pid;
    (void)sig;
}

static void slow_stop(void *d, const Service *s, pid_t pid, StopStep step)
{
    Slow *own = d;

    (void)s;
    (void)pid;
    own->stops++;
    own->worst = MAX(own->worst, step);
}

static RunState slow_look(void *d, const Service *s, Run *run)
{
    (void)d;
    (void)s;
    (void)run;
    return RUN_UP;
}

static void slow_close(void *d)
{
    (void)d;
}

static const ServiceDriver slow_driver = {.name = "slow",
                                          .outlives = true,
                                          .open = slow_open,
                                          .found = slow_found,
                                          .start = slow_start,
                                          .tell = slow_tell,
                                          .stop = slow_stop,
                                          .look = slow_look,
                                          .close = slow_close};

/* Its stop rule is not known here, but to the service manager: nothing is killed before that would.
 */
static void a_stranger_has_the_time_that_its_unit_gives_it(void **state)
{
    (void)state;
    _cleanup_(supervisor_drop) Supervisor *d = supervisor_open(&slow_driver, "", "");
    Services none = {0};
    Msec now = 1000000, end = now + 1 * MINUTE;

    assert_int_equal(supervisor_set(d, &none, now, NULL), 0);
    for (; now < end; now += SECOND)
        supervisor_tick(d, now);
    assert_int_equal(slow.stops, 1);
    assert_int_equal(slow.worst, STOP_STEP_FIRST);
    for (end += 10 * MINUTE; now < end; now += SECOND)
        supervisor_tick(d, now);
    assert_int_equal(slow.worst, STOP_STEP_ALL);
}

static void unit_state(const char *name, Buf *ret)
{
    _cleanup_free_ char *unit = xasprintf("atoll-%s.service", name);
    int status = -1;

    buf_truncate(ret, 0);
    assert_int_equal(child_run(&(ChildSpec){.argv = (const char *const[]){"systemctl", "show", "-P",
                                                                          "SubState", unit, NULL}},
                               (Str){0}, 10 * SECOND, ret, &status, NULL),
                     0);
    assert_int_equal(status, 0);
}

/* A migration that failed is tried again when a person says so, not when the agent is upgraded. Nor
 * has the agent lost its connection for good when systemd has executed itself again. */
static void the_next_agent_does_not_try_again_what_is_tried_once(void **state)
{
    Turns *t = *state;
    Services l = {0};
    int status = -1;

    add_once(&l, t, "prepare", "echo try >>$T; exit 3")->no_retry = true;
    set_services(t, &l);
    until_state(t, "prepare", SERVICE_FAILED);
    begin_anew(t);
    assert_int_equal(
        child_run(&(ChildSpec){.argv = (const char *const[]){"systemctl", "daemon-reexec", NULL}},
                  (Str){0}, 30 * SECOND, NULL, &status, NULL),
        0);
    assert_true(supervisor_may_leave(t->d));
    add_once(&l, t, "prepare", "echo try >>$T; exit 3")->no_retry = true;
    set_services(t, &l);
    until_state(t, "prepare", SERVICE_FAILED);
    assert_string_equal(status_of(t, "prepare").why, "exit status 3");
    until_trace(t, "try\n");
}

/* systemd itself would start it again some seconds later. */
static void what_has_crashed_and_is_let_go_of_stays_down(void **state)
{
    Turns *t = *state;
    Services l = {0}, none = {0};
    _cleanup_(buf_clear) Buf sub = BUF_INIT(BUF_MAX_LINE);
    Msec deadline = time_mono() + DEADLINE_MS;

    (void)add(&l, t, "crash", "exit 1");
    set_services(t, &l);
    while (status_of(t, "crash").restarts < 1)
        turn(t);
    unit_state("crash", &sub);
    assert_string_equal(sub.p, "auto-restart\n");
    set_services(t, &none);
    while (!streq(sub.p, "dead\n")) {
        if (time_mono() > deadline)
            fail_msg("it is %s", sub.p);
        turn(t);
        unit_state("crash", &sub);
    }
}

/* An agent was killed after it had written a unit, before systemd had read it. */
static void a_unit_that_systemd_has_not_read_is_read(void **state)
{
    Turns *t = *state;
    Services l = {0};
    static const char path[] = "/run/systemd/system/atoll-web.service";
    _cleanup_(buf_clear) Buf second = BUF_INIT(BUF_MAX_BODY);

    (void)add(&l, t, "web", "echo 2 >>$T; " FOREVER);
    set_services(t, &l);
    until_trace(t, "2\n");
    assert_int_equal(file_read(path, &second, NULL), 0);
    stop_all(t);
    begin_anew(t);
    (void)add(&l, t, "web", "echo 1 >>$T; " FOREVER);
    set_services(t, &l);
    until_trace(t, "2\n1\n");
    stop_all(t);
    assert_int_equal(file_write(path, buf_as_str(&second), 0644, NULL), 0);
    begin_anew(t);
    (void)add(&l, t, "web", "echo 2 >>$T; " FOREVER);
    set_services(t, &l);
    until_trace(t, "2\n1\n2\n");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, turns_setup, turns_teardown)
/* The child driver's own ways, what both share, the systemd driver's own ways. */
static const struct CMUnitTest tests[] = {
    TEST(the_environment_is_only_what_is_given),
    TEST(a_killed_agent_leaves_nothing_for_the_next),
    TEST(logs_have_an_end),
    TEST(they_start_in_order),
    TEST(once_is_tried_until_it_succeeds),
    TEST(once_that_never_succeeds_is_failed_and_tried_on),
    TEST(once_is_skipped_where_it_was_done),
    TEST(once_says_how_far_it_is),
    TEST(what_crashes_is_started_again),
    TEST(nothing_of_a_crashed_service_is_left),
    TEST(crashes_are_slowed_down),
    TEST(what_cannot_be_started_says_why),
    cmocka_unit_test(stop_rules_send_their_signals),
    TEST(they_stop_in_reverse_order),
    TEST(a_new_set_changes_only_what_differs),
    TEST(a_changed_environment_restarts_it_carefully),
    TEST(a_changed_file_restarts_only_its_service),
    TEST(a_changed_file_reloads_what_can_reload),
    TEST(one_service_is_renewed_alone),
    TEST(a_set_that_makes_no_sense_changes_nothing),
    TEST(health_over_http),
    TEST(health_without_an_answer),
    TEST(health_over_tcp),
    TEST(who_connects_waits_for_the_next),
    TEST(a_socket_that_is_kept_no_longer),
    TEST(nobody_waits_for_what_has_failed),
    cmocka_unit_test(a_stranger_has_the_time_that_its_unit_gives_it),
    TEST(folders_in_the_way_are_refused),
    TEST(the_next_agent_takes_over_what_runs),
    TEST(the_next_agent_stops_what_is_another_or_nobodys),
    TEST(the_next_agent_does_not_try_again_what_is_tried_once),
    TEST(what_has_crashed_and_is_let_go_of_stays_down),
    TEST(a_unit_that_systemd_has_not_read_is_read),
};
#define CHILD_ONLY 3
#define SYSTEMD_ONLY 5

int main(void)
{
    bool systemd = tested_driver()->outlives;

    return _cmocka_run_group_tests("tests", tests + (systemd ? CHILD_ONLY : 0),
                                   ARRAY_LEN(tests) - (systemd ? CHILD_ONLY : SYSTEMD_ONLY), NULL,
                                   NULL);
}
