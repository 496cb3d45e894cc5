/* Servers that run: real processes under this program as their init. */
#include "pocket/server.h"
#include "base/log.h"
#include "cloud.h"
#include "io/child.h"
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define DEADLINE (20 * SECOND)

static char *root_path(const Cloud *c, const char *id, const char *rest)
{
    return xasprintf("%s/servers/%s/root/%s", c->p.dir, id, rest);
}

/* What is in a file below the root, once it has a whole line; to be freed. */
static char *wait_line(const Cloud *c, const char *id, const char *rest)
{
    _cleanup_free_ char *path = root_path(c, id, rest);
    for (Msec end = time_mono() + DEADLINE; time_mono() < end; time_sleep(5)) {
        _cleanup_(buf_clear) Buf b = BUF_INIT(BUF_MAX_LINE);
        if (file_read(path, &b, NULL) == 0 && b.len > 0 && b.p[b.len - 1] == '\n')
            return buf_detach(&b);
    }
    fail_msg("%s was not written", path);
    return NULL;
}

static pid_t wait_pid(const Cloud *c, const char *id, const char *rest)
{
    _cleanup_free_ char *line = wait_line(c, id, rest);
    return (pid_t)strtol(line, NULL, 10);
}

static bool gone(pid_t pid)
{
    for (Msec end = time_mono() + DEADLINE; time_mono() < end; time_sleep(5))
        if (!child_alive(pid, 0))
            return true;
    return false;
}

static char *volume_new(Cloud *c)
{
    return cloud_make(c, POCKET_CINDER, "/v3/volumes", "volume", "{'volume':{'size':1}}");
}

/* A server with this script; `volume` may be NULL. Its id. */
static char *server_new(Cloud *c, const char *script, const char *volume)
{
    static int count;
    _cleanup_(buf_clear) Buf data = BUF_INIT(BUF_MAX_LINE);
    crypt_base64(&data, script, strlen(script));
    _cleanup_free_ char *network =
        cloud_make(c, POCKET_NEUTRON, "/v2.0/networks", "network", "{'network':{'name':'n'}}");
    free(cloud_make(c, POCKET_NEUTRON, "/v2.0/subnets", "subnet",
                    "{'subnet':{'network_id':'%s','ip_version':4,'cidr':'127.88.%d.0/24'}}",
                    network, count++));
    _cleanup_free_ char *bdm =
        volume ? xasprintf("{'uuid':'%s','source_type':'volume','destination_type':'volume',"
                           "'boot_index':-1}",
                           volume)
               : xstrdup("");
    return cloud_make(c, POCKET_NOVA, "/v2.1/servers", "server",
                      "{'server':{'name':'web-0','flavorRef':'2','imageRef':'image-1',"
                      "'networks':[{'uuid':'%s'}],'user_data':'%s',"
                      "'block_device_mapping_v2':[%s]}}",
                      network, data.p, bdm);
}

static int call_server(Cloud *c, const char *method, const char *id, const char *rest,
                       const char *body)
{
    _cleanup_free_ char *path = xasprintf("/v2.1/servers/%s%s", id, rest);
    return cloud_call(c, POCKET_NOVA, method, path, body);
}

static const char *status_of(Cloud *c, const char *id)
{
    return call_server(c, "GET", id, "", NULL) == 200 ? cloud_text(c, "server.status") : "404";
}

static void test_boot(void **state)
{
    Cloud *c = *state;
    _cleanup_free_ char *volume = volume_new(c);
    _cleanup_free_ char *id =
        server_new(c,
                   "#!/bin/sh\n"
                   "echo on the console\n"
                   "echo data > \"dev/disk/by-id/virtio-$(echo \"${ATOLL_VOLUMES%%=*}\" |"
                   " cut -c1-20)/file\"\n"
                   "echo \"$ATOLL_HOSTNAME $ATOLL_ADDRESS $HOME $ATOLL_ROOT $(pwd) $LANG\" > out\n",
                   volume);
    assert_string_equal(status_of(c, id), "ACTIVE");
    _cleanup_free_ char *out = wait_line(c, id, "out"), *root = root_path(c, id, "");
    root[strlen(root) - 1] = 0;
    const char *address =
        json_str(json_array_get(json_at(c->answer, "server.addresses.n"), 0), "addr");
    _cleanup_free_ char *want = xasprintf("web-0 %s %s %s %s C.UTF-8\n", address, root, root, root);
    assert_string_equal(out, want);
    _cleanup_free_ char *dir = cinder_volume_dir(&c->p, volume);
    _cleanup_free_ char *file = path_join(dir, "file");
    assert_true(file_exists(file));

    /* The script has ended; the server stays. */
    assert_string_equal(status_of(c, id), "ACTIVE");
    assert_int_equal(call_server(c, "POST", id, "/action", "{'os-getConsoleOutput':{'length':50}}"),
                     200);
    assert_non_null(strstr(cloud_text(c, "output"), "on the console\n"));

    /* user_data is a secret of its owner; other users may walk through the root. */
    struct stat st;
    _cleanup_free_ char *copy = xasprintf("%s/servers/%s/user_data", c->p.dir, id);
    assert_int_equal(stat(copy, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(stat(root, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0711);
    assert_int_equal(call_server(c, "DELETE", id, "", NULL), 204);
    assert_false(file_exists(root));
    assert_true(file_exists(file));
}

/* A daemon that left its session, its parent and its terminal dies with its server. */
static const char daemon_script[] = "#!/bin/sh\n"
                                    "(setsid sh -c 'echo $$ > orphan; exec sleep 1000' &)\n"
                                    "echo $$ > main\n"
                                    "exec sleep 1000\n";

static void test_power_cut(void **state)
{
    Cloud *c = *state;
    _cleanup_free_ char *id = server_new(c, daemon_script, NULL);
    pid_t orphan = wait_pid(c, id, "orphan"), main_pid = wait_pid(c, id, "main");
    assert_string_equal(status_of(c, id), "ACTIVE");
    assert_true(child_alive(orphan, 0) && child_alive(main_pid, 0));
    assert_int_equal(call_server(c, "POST", id, "/action", "{'os-stop':null}"), 202);
    assert_true(gone(orphan) && gone(main_pid));
    assert_string_equal(status_of(c, id), "SHUTOFF");
    _cleanup_free_ char *mark = root_path(c, id, "main");
    assert_int_equal(unlink(mark), 0); /* the folder stays */
    assert_int_equal(call_server(c, "POST", id, "/action", "{'os-start':null}"), 202);
    main_pid = wait_pid(c, id, "main");
    assert_string_equal(status_of(c, id), "ACTIVE");
    assert_int_equal(call_server(c, "DELETE", id, "", NULL), 204);
    assert_true(gone(main_pid));
}

/* A later boot runs what the first one installed. A soft reboot asks first. */
static void test_reboot(void **state)
{
    Cloud *c = *state;
    _cleanup_free_ char *id =
        server_new(c,
                   "#!/bin/sh\n"
                   "mkdir -p var/lib/atoll\n"
                   "printf '#!/bin/sh\\necho $$ > second\\nexec sleep 1000\\n' >"
                   " var/lib/atoll/boot\n"
                   "chmod +x var/lib/atoll/boot\n"
                   "trap 'echo asked > asked; exit' TERM\n"
                   "echo $$ > first\n"
                   "while :; do sleep 0.05; done\n",
                   NULL);
    pid_t first = wait_pid(c, id, "first");
    assert_string_equal(status_of(c, id), "ACTIVE");
    assert_int_equal(call_server(c, "POST", id, "/action", "{'reboot':{'type':'SOFT'}}"), 202);
    free(wait_line(c, id, "asked"));
    assert_true(gone(first));
    pid_t second = wait_pid(c, id, "second");
    assert_string_equal(status_of(c, id), "ACTIVE");
    _cleanup_free_ char *mark = root_path(c, id, "second");
    assert_int_equal(unlink(mark), 0);
    assert_int_equal(call_server(c, "POST", id, "/action", "{'reboot':{'type':'HARD'}}"), 202);
    assert_true(gone(second));
    assert_int_not_equal(wait_pid(c, id, "second"), second);
}

/* A resize boots it again; a rebuild wipes its root and runs user_data as on the first day.
 * Programs are asked first, both times, and volumes stay. */
static void test_resize_and_rebuild(void **state)
{
    Cloud *c = *state;
    _cleanup_free_ char *volume = volume_new(c);
    _cleanup_free_ char *id =
        server_new(c,
                   "#!/bin/sh\n"
                   "trap 'echo asked >\"${ATOLL_VOLUMES#*=}/asked\"; exit' TERM\n"
                   "echo $$ > pid\n"
                   "echo $ATOLL_BOOT_ID >\"$$.boot\"\n"
                   "while :; do sleep 0.05; done\n",
                   volume);
    _cleanup_free_ char *folder = cinder_volume_dir(&c->p, volume);
    _cleanup_free_ char *asked = path_join(folder, "asked");
    pid_t pids[3] = {wait_pid(c, id, "pid")};
    static const char *const bodies[] = {
        "{'resize':{'flavorRef':'3'}}",
        /* #!/bin/sh / echo $$ > pid / exec sleep 1000 */
        "{'rebuild':{'imageRef':'image-1',"
        "'user_data':'IyEvYmluL3NoCmVjaG8gJCQgPiBwaWQKZXhlYyBzbGVlcCAxMDAwCg=='}}"};
    assert_string_equal(status_of(c, id), "ACTIVE");
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
        _cleanup_free_ char *mark = root_path(c, id, "pid"), *boot = xasprintf("%d.boot", pids[i]);
        if (i == 0)
            free(wait_line(c, id, boot));
        assert_int_equal(unlink(mark), 0);
        assert_int_equal(call_server(c, "POST", id, "/action", bodies[i]), 202);
        assert_true(gone(pids[i]));
        pids[i + 1] = wait_pid(c, id, "pid");
        assert_int_not_equal(pids[i + 1], pids[i]);
        assert_true(file_exists(asked));
        assert_int_equal(unlink(asked), 0);
        if (i == 0) {
            assert_string_equal(status_of(c, id), "VERIFY_RESIZE");
            assert_int_equal(call_server(c, "POST", id, "/action", "{'confirmResize':null}"), 204);
            _cleanup_free_ char *next = xasprintf("%d.boot", pids[1]);
            _cleanup_free_ char *first = wait_line(c, id, boot), *second = wait_line(c, id, next);
            assert_string_not_equal(first, second);
        }
        assert_string_equal(status_of(c, id), "ACTIVE");
        /* What the first life left is there after a resize, and gone after a rebuild. */
        _cleanup_free_ char *left = xasprintf("%d.boot", pids[0]);
        _cleanup_free_ char *path = root_path(c, id, left);
        assert_int_equal(file_exists(path), i == 0);
    }
    _cleanup_free_ char *plugged = root_path(c, id, "dev/disk/by-id");
    _cleanup_(strlist_clear) StrList links = {0};
    assert_int_equal(file_list(plugged, &links, NULL), 0);
    assert_int_equal(links.len, 1);
}

/* What is no script runs nothing; a missing interpreter is told on the console. */
static void test_no_script(void **state)
{
    Cloud *c = *state;
    static const struct {
        const char *script, *words;
    } rows[] = {{"#cloud-config\nhostname: x\n", "nothing to run"},
                {"#!/no/such/shell\n", "no boot: cannot start"}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_free_ char *id = server_new(c, rows[i].script, NULL);
        bool said = false;
        for (Msec end = time_mono() + DEADLINE; !said && time_mono() < end; time_sleep(5)) {
            call_server(c, "POST", id, "/action", "{'os-getConsoleOutput':{}}");
            said = strstr(cloud_text(c, "output"), rows[i].words) != NULL;
        }
        assert_true(said);
        assert_string_equal(status_of(c, id), "ACTIVE");
    }
}

/* Somebody kills the init: the server is off, as when a machine fails. */
static void test_init_killed(void **state)
{
    Cloud *c = *state;
    _cleanup_free_ char *id = server_new(c, daemon_script, NULL);
    pid_t main_pid = wait_pid(c, id, "main");
    _cleanup_free_ pid_t *pids = NULL;
    assert_string_equal(status_of(c, id), "ACTIVE");
    size_t n = child_descendants(getpid(), &pids);
    assert_true(n >= 2);
    child_kill_tree(pids[0]);
    assert_true(gone(main_pid));
    assert_true(gone(pids[0]));
    assert_string_equal(status_of(c, id), "SHUTOFF");
}

/* kill -9 of pocket is a power cut of all its servers, and the next start boots them. */
static void test_pocket_dies(void **state)
{
    Cloud *c = *state;
    _cleanup_free_ char *id = NULL;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    c->p.store = store_close(c->p.store);
    pid_t pocket = fork();
    assert_true(pocket >= 0);
    if (pocket == 0) {
        cloud_open_store(c);
        id = server_new(c, daemon_script, NULL);
        status_of(c, id);
        if (write(ends[1], id, strlen(id)) < 0)
            _exit(1);
        for (;;)
            pause();
    }
    char text[64] = {0};
    assert_true(read(ends[0], text, sizeof text - 1) > 0);
    close(ends[0]);
    close(ends[1]);
    pid_t orphan = wait_pid(c, text, "orphan"), main_pid = wait_pid(c, text, "main");
    _cleanup_free_ char *mark = root_path(c, text, "main");
    assert_int_equal(unlink(mark), 0);
    assert_int_equal(kill(pocket, SIGKILL), 0);
    assert_int_equal(waitpid(pocket, NULL, 0), pocket);
    /* At once: the new life waits until the old one is over. */
    cloud_open_store(c);
    pid_t second = wait_pid(c, text, "main");
    assert_false(child_alive(orphan, 0));
    assert_false(child_alive(main_pid, 0));
    assert_true(child_alive(second, 0));
    assert_string_equal(status_of(c, text), "ACTIVE");
}

static void test_console(void **state)
{
    Cloud *c = *state;
    static const struct {
        int64_t lines;
        const char *want;
    } rows[] = {{1, "c\n"}, {2, "b\nc\n"}, {3, "a\nb\nc\n"}, {9, "a\nb\nc\n"}, {0, "a\nb\nc\n"}};
    _cleanup_free_ char *dir = xasprintf("%s/servers/x", c->p.dir);
    _cleanup_free_ char *log = path_join(dir, "console.log");
    assert_int_equal(file_mkdirs(dir, 0700, NULL), 0);
    assert_int_equal(file_write(log, STR_LIT("a\nb\nc\n"), 0600, NULL), 0);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_(buf_clear) Buf b = BUF_INIT(1024);
        server_console(&c->p, "x", rows[i].lines, &b);
        assert_string_equal(b.p, rows[i].want);
    }
    /* What is no UTF-8 becomes question marks, and the answer stays JSON. */
    assert_int_equal(file_write(log, STR_LIT("\xc3\xa9 \xff\xc3) \x01\n"), 0600, NULL), 0);
    _cleanup_(buf_clear) Buf b = BUF_INIT(1024);
    server_console(&c->p, "x", 0, &b);
    assert_string_equal(b.p, "\xc3\xa9 ?\?) ?\n");
}

static int setup(void **state)
{
    *state = cloud_new(true);
    return 0;
}

static int teardown(void **state)
{
    cloud_free(*state);
    return 0;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(test_boot),      TEST(test_power_cut),          TEST(test_reboot),
        TEST(test_no_script), TEST(test_init_killed),        TEST(test_pocket_dies),
        TEST(test_console),   TEST(test_resize_and_rebuild),
    };
    /* Pocket starts itself as the init of its servers. */
    if (argc > 1 && streq(argv[1], "--server-init"))
        return server_init_main(argc, argv);
    (void)signal(SIGPIPE, SIG_IGN);
    log_init("test", LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
