#include "host/unit.h"
#include "base/util.h"
#include "host/container.h"
#include "io/file.h"

#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static Service service_of(const char *name)
{
    Service s = {.name = xstrdup(name), .cwd = xstrdup("/var/lib/x"), .user = xstrdup("mastodon")};

    strlist_add(&s.argv, "puma");
    strlist_add(&s.argv, "-C");
    strlist_add(&s.argv, "a \"b\" 100% $HOME \\");
    strlist_add(&s.env, "DB_PASS=geheim");
    service_dir(&s, 0700, xstrdup("/var/lib/x"));
    return s;
}

static void render(const Service *s, Buf *ret)
{
    buf_truncate(ret, 0);
    unit_text(s, "/usr/bin/puma", "/run/atoll/web.env", ret);
}

static bool has_line(const Buf *b, const char *line)
{
    _cleanup_free_ char *whole = xasprintf("\n%s\n", line);
    return strstr(b->p, whole) != NULL;
}

static void a_service_becomes_a_unit(void **state)
{
    Service s = service_of("web");
    _cleanup_(buf_clear) Buf b = BUF_INIT((size_t)64 << 10);
    (void)state;

    s.limits =
        (ServiceLimits){.memory_percent = 60, .tasks = 100, .files = 1024, .oom_adjust = 200};
    s.stop_ms = 35500;
    render(&s, &b);
    assert_true(has_line(&b, "ExecStart=:\"/usr/bin/puma\" \"-C\" "
                             "\"a \\\"b\\\" 100%% $HOME \\\\\""));
    assert_true(has_line(&b, "User=mastodon"));
    assert_true(has_line(&b, "WorkingDirectory=/var/lib/x"));
    assert_true(has_line(&b, "EnvironmentFile=/run/atoll/web.env"));
    assert_true(has_line(&b, "TimeoutStopSec=36s"));
    assert_true(has_line(&b, "MemoryMax=60%"));
    assert_true(has_line(&b, "TasksMax=100"));
    assert_true(has_line(&b, "LimitNOFILE=1024"));
    assert_true(has_line(&b, "OOMScoreAdjust=200"));
    assert_true(has_line(&b, "CapabilityBoundingSet="));
    assert_true(has_line(&b, "Restart=always"));
    assert_true(has_line(&b, "ReadWritePaths=\"/var/lib/x\""));
    /* Every user can read a unit. */
    assert_null(strstr(b.p, "geheim"));
    assert_null(strstr(b.p, "AF_NETLINK"));
    s.limits.interfaces = true;
    render(&s, &b);
    assert_true(has_line(&b, "RestrictAddressFamilies=AF_NETLINK"));
    s.notify = true; /* up to then systemd waits */
    render(&s, &b);
    assert_true(has_line(&b, "Type=notify"));
    service_clear(&s);
}

/* podman gets what it needs to confine it, and no more; the environment only by a file. */
static void an_image_becomes_podmans_unit(void **state)
{
    Service s = service_of("worker.1");
    _cleanup_(buf_clear) Buf b = BUF_INIT((size_t)64 << 10);
    (void)state;

    s.image = xstrdup("localhost/canary:1");
    service_dir(&s, 01777, xstrdup("/var/lib/x/tmp"));
    render(&s, &b);
    assert_true(has_line(&b, "Type=notify"));
    assert_non_null(strstr(b.p, "\nExecStart=\"/usr/bin/puma\" \"--events-backend=none\" \"run\" "
                                "\"--rm\" \"--detach\" \"--sdnotify=conmon\" "));
    static const char *const words[] = {
        " \"--name=atoll-worker.1\" \"--replace\" \"--hostname=worker.1-${INVOCATION_ID}\" ",
        " \"--pull=never\" ",
        " \"--user=991:991\" \"--cap-drop=all\" \"--security-opt=no-new-privileges\" ",
        " \"--read-only\" ",
        " \"--volume=/var/lib/x/tmp:/tmp:nosuid,nodev\" \"--env-file=/run/atoll/web.env\" ",
        " \"localhost/canary:1\" \"puma\" \"-C\" \"a \\\"b\\\" 100%% $$HOME \\\\\"\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        assert_non_null(strstr(b.p, words[i]));
    static const char *const not_there[] = {"geheim",
                                            "\nUser=",
                                            "\nWorkingDirectory=",
                                            "\nEnvironmentFile=",
                                            "PrivateDevices",
                                            "RestrictNamespaces=yes",
                                            "CapabilityBoundingSet=\n"};
    for (size_t i = 0; i < ARRAY_LEN(not_there); i++)
        assert_null(strstr(b.p, not_there[i]));
    assert_true(has_line(&b, "NoNewPrivileges=yes"));
    assert_true(has_line(&b, "ReadWritePaths=/run /var/lib/containers"));
    assert_non_null(strstr(b.p,
                           "\nExecStopPost=-:\"/usr/bin/puma\" \"--events-backend=none\" \"rm\" "
                           "\"--force\" "));

    /* What ends by itself is waited for by podman. */
    s.once = true;
    render(&s, &b);
    assert_true(has_line(&b, "Type=exec"));
    assert_null(strstr(b.p, "--detach"));
    service_clear(&s);
}

/* An image that is not laid out as Mastodon's has its own user and mounts. */
static void an_image_of_another_kind(void **state)
{
    Service s = service_of("search");
    _cleanup_(buf_clear) Buf b = BUF_INIT((size_t)64 << 10);
    (void)state;

    s.image = xstrdup("docker.io/x/search:1");
    s.image_user = xstrdup("1000:0");
    strlist_add(&s.image_args, "--tmpfs=/usr/share/search/config");
    render(&s, &b);
    assert_non_null(strstr(b.p, " \"--user=1000:0\" \"--cap-drop=all\" "
                                "\"--security-opt=no-new-privileges\" \"--read-only\" "
                                "\"--tmpfs=/usr/share/search/config\" \"--env-file="));
    assert_null(strstr(b.p, "/opt/mastodon"));
    assert_true(has_line(&b, "CapabilityBoundingSet=CAP_CHOWN CAP_FOWNER"));
    service_clear(&s);
}

/* As podman reads a file of them: nothing is quoted. */
static void a_containers_environment_is_plain(void **state)
{
    Service s = service_of("web");
    _cleanup_(buf_clear) Buf b = BUF_INIT(BUF_MAX_LINE);
    (void)state;

    strlist_add(&s.env, "B=a=b%c");
    container_env(&s, &b);
    assert_string_equal(b.p, "DB_PASS=geheim\nB=a=b%c\n");
    service_clear(&s);
}

/* A further command in the release: beside what runs, so with no name of its own. */
static void a_command_in_an_image(void **state)
{
    Service s = service_of("exec-web");
    char folder[] = "/tmp/test-unit-XXXXXX";
    (void)state;
    assert_non_null(mkdtemp(folder));
    _cleanup_free_ char *file = xasprintf("%s/own/exec-web.env", folder);
    _cleanup_free_ char *option = xasprintf("--env-file=%s", file);
    _cleanup_free_ char *own = xasprintf("%s/own", folder);
    _cleanup_(buf_clear) Buf text = BUF_INIT(BUF_MAX_LINE);
    struct stat st;

    s.image = xstrdup("localhost/canary:1");
    assert_int_equal(container_command(&s, file, "ATOLL_ASK=12", NULL), 0);
    assert_string_equal(s.argv.items[0], "podman");
    assert_true(strlist_has(&s.argv, "--interactive"));
    assert_true(strlist_has(&s.argv, "--env=ATOLL_ASK"));
    assert_true(strlist_has(&s.argv, option));
    assert_string_equal(s.argv.items[s.argv.len - 4], "localhost/canary:1");
    assert_string_equal(s.argv.items[s.argv.len - 1], "a \"b\" 100% $HOME \\");
    assert_true(strlist_has(&s.env, "ATOLL_ASK=12"));
    assert_false(strlist_has(&s.env, "DB_PASS=geheim"));
    for (size_t i = 0; i < s.argv.len; i++)
        assert_false(starts_with(s.argv.items[i], "--name=") || strstr(s.argv.items[i], "geheim"));
    assert_int_equal(file_read(file, &text, NULL), 0);
    assert_string_equal(text.p, "DB_PASS=geheim\n");
    assert_int_equal(stat(file, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(unlink(file), 0);
    assert_int_equal(rmdir(own), 0);
    assert_int_equal(rmdir(folder), 0);
    service_clear(&s);
}

static void stop_rules(void **state)
{
    static const struct {
        ServiceStop stop;
        const char *line, *last;
    } rows[] = {
        {STOP_TERM, "KillSignal=15", NULL},
        {STOP_QUIET_TERM, "KillSignal=15", NULL},
        {STOP_FAST, "KillSignal=2", "FinalKillSignal=3"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        Service s = service_of("web");
        _cleanup_(buf_clear) Buf b = BUF_INIT((size_t)64 << 10);
        s.stop = rows[i].stop;
        render(&s, &b);
        assert_true(has_line(&b, rows[i].line));
        assert_int_equal(rows[i].last != NULL, strstr(b.p, "FinalKillSignal=") != NULL);
        if (rows[i].last)
            assert_true(has_line(&b, rows[i].last));
        service_clear(&s);
    }
}

/* What makes a running process another: not how it is stopped, nor who waits for it. */
static void the_hash_is_of_what_runs(void **state)
{
    Service a = service_of("web"), b = service_of("web");
    _cleanup_(buf_clear) Buf text = BUF_INIT((size_t)64 << 10);
    char of_a[17], of_b[17], of_text[17];
    (void)state;

    b.stop_ms = 1000;
    strlist_add(&b.after, "db");
    service_hash(&a, of_a);
    service_hash(&b, of_b);
    assert_string_equal(of_a, of_b);
    render(&a, &text);
    assert_true(unit_hash(buf_as_str(&text), of_text));
    assert_string_equal(of_text, of_a);
    assert_false(unit_hash(STR_LIT("[Unit]\n"), of_text));

    buf_str(service_file(&b, 0600, xstrdup("/var/lib/x/config")), "1");
    service_hash(&b, of_b);
    assert_string_not_equal(of_a, of_b);
    a.image = xstrdup("localhost/canary:2");
    service_hash(&a, of_b);
    assert_string_not_equal(of_a, of_b);
    free(TAKE(a.image));
    strlist_add(&a.env, "MORE=1");
    service_hash(&a, of_b);
    assert_string_not_equal(of_a, of_b);
    service_clear(&a);
    service_clear(&b);
}

/* certbot's, and no other's; behind what takes it away (systemd.exec(5): in order). */
static void chown_is_open_to_who_asks(void **state)
{
    Service s = service_of("certbot");
    _cleanup_(buf_clear) Buf b = BUF_INIT((size_t)64 << 10);
    (void)state;

    render(&s, &b);
    assert_false(has_line(&b, "SystemCallFilter=@chown"));
    s.limits.chown = true;
    render(&s, &b);
    assert_true(strstr(b.p, "\nSystemCallFilter=@chown\n") >
                strstr(b.p, "\nSystemCallFilter=~@privileged\n"));
    service_clear(&s);
}

static void the_environment_is_quoted(void **state)
{
    Service s = {.name = xstrdup("x")};
    _cleanup_(buf_clear) Buf b = BUF_INIT(BUF_MAX_LINE);
    (void)state;

    strlist_add(&s.env, "A=1");
    strlist_add(&s.env, "B=a \"b\" $c \\ =");
    strlist_add(&s.env, "C=");
    unit_env(&s, &b);
    assert_string_equal(b.p, "A=\"1\"\nB=\"a \\\"b\\\" \\$c \\\\ =\"\nC=\"\"\n");
    service_clear(&s);
}

/* The service's unit inherits the socket, and who connects starts something else. */
static void a_kept_socket_is_a_unit(void **state)
{
    static const struct {
        const char *address, *line;
    } rows[] = {{"127.77.0.10", "ListenStream=127.77.0.10:3000"},
                {"fd00::a", "ListenStream=[fd00::a]:3000"}};
    Service s = service_of("web");
    _cleanup_(buf_clear) Buf b = BUF_INIT((size_t)64 << 10);
    (void)state;

    render(&s, &b);
    assert_null(strstr(b.p, "Sockets="));
    s.keep_socket = true;
    s.health_port = 3000;
    render(&s, &b);
    assert_true(has_line(&b, "Sockets=atoll-web.socket"));
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        free(s.health_address);
        s.health_address = xstrdup(rows[i].address);
        buf_truncate(&b, 0);
        unit_socket_text(&s, &b);
        assert_true(has_line(&b, rows[i].line));
        assert_true(has_line(&b, "Service=atoll-web-held.service"));
    }
    buf_truncate(&b, 0);
    unit_held_text(&s, &b);
    assert_true(has_line(&b, "RemainAfterExit=yes"));
    assert_true(has_line(&b, "CapabilityBoundingSet="));
    service_clear(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_service_becomes_a_unit),
        cmocka_unit_test(a_kept_socket_is_a_unit),
        cmocka_unit_test(an_image_becomes_podmans_unit),
        cmocka_unit_test(an_image_of_another_kind),
        cmocka_unit_test(a_containers_environment_is_plain),
        cmocka_unit_test(a_command_in_an_image),
        cmocka_unit_test(stop_rules),
        cmocka_unit_test(the_hash_is_of_what_runs),
        cmocka_unit_test(the_environment_is_quoted),
        cmocka_unit_test(chown_is_open_to_who_asks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
