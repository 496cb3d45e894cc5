/* The agent against a mailbox on loopback, with the real Redis as its service. */
#include "host/agent.h"
#include "base/log.h"
#include "host/ask.h"
#include "host/boot.h"
#include "host/bundle.h"
#include "io/child.h"
#include "io/file.h"
#include "io/httpd.h"
#include "io/redis.h"

#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "mail_store.h"
#include "untold.h"

#define NONCE "00112233aabbccdd"
#define DEADLINE_MS (30 * SECOND)
#define LOOK_MS 20

/* --- an operator and a server --- */

typedef struct Place {
    char folder[64], address[32];
    Vault *vault;
    KeyPair sign;
    Httpd *httpd;
    int port;
    pid_t agent;
    char *public; /* the host's, from its hello */
} Place;

static char *url_of(const Place *p, const char *box)
{
    return xasprintf("http://127.0.0.1:%d/%s/?sig=1", p->port, box);
}

static void write_boot(const Place *p)
{
    _cleanup_secret_ Secret *k = vault_derive_new(p->vault, "boot/all.0/" NONCE);
    _cleanup_free_ char *in = url_of(p, "in"), *out = url_of(p, "out");
    _cleanup_free_ char *folder = path_join(p->folder, "etc/atoll");
    _cleanup_free_ char *path = path_join(folder, "boot.json");
    _cleanup_json_ json_t *boot = json_make_new(
        "{s:i, s:s, s:s, s:s, s:s, s:s, s:s, s:i}", "v", 1, "server", "all.0", "nonce", NONCE, "k",
        secret_expose(k).p, "sign_public", p->sign.public_b64, "in", in, "out", out, "expires", 1);
    _cleanup_free_ char *text = json_text_new(boot);
    assert_int_equal(file_mkdirs(folder, 0755, NULL), 0);
    assert_int_equal(file_write(path, str_of(text), 0600, NULL), 0);
}

static int setup(void **state)
{
    Place *p = NEW(Place);
    int fd;
    crypt_init();
    snprintf(p->folder, sizeof p->folder, "/tmp/atoll-agent.XXXXXX");
    snprintf(p->address, sizeof p->address, "127.%d.%d.11", 64 + getpid() % 64,
             getpid() / 64 % 256);
    if (!mkdtemp(p->folder))
        return -1;
    p->vault = vault_new();
    vault_generate(p->vault);
    assert_int_equal(vault_sign_keys(p->vault, &p->sign, NULL), 0);
    assert_int_equal(httpd_listen("127.0.0.1", 0, &fd, &p->port, NULL), 0);
    assert_int_equal(httpd_start(fd, &store_handler, NULL, &p->httpd, NULL), 0);
    write_boot(p);
    *state = p;
    return 0;
}

static volatile sig_atomic_t stop_agent;
static void on_term(int sig)
{
    (void)sig;
    stop_agent = 1;
}

static void start_agent(Place *p)
{
    p->agent = fork();
    assert_true(p->agent >= 0);
    if (p->agent > 0)
        return;
    _cleanup_free_ char *log = path_join(p->folder, "agent.log");
    signal(SIGTERM, on_term);
    if (!freopen(log, "a", stderr))
        _exit(9);
    log_init("host", LOG_LEVEL_DEBUG);
    Err err = {0};
    int r = agent_run(
        &(AgentOptions){.root = p->folder, .driver = &driver_child, .stop = &stop_agent}, &err);
    if (r < 0)
        log_err(&err);
    fflush(stderr);
    _exit(err_exit_code(r));
}

static int wait_agent(Place *p)
{
    int status;
    assert_int_equal(waitpid(p->agent, &status, 0), p->agent);
    p->agent = 0;
    return status;
}

static int teardown(void **state)
{
    Place *p = *state;
    if (p->agent > 0) {
        kill(p->agent, SIGTERM);
        (void)wait_agent(p);
    }
    (void)httpd_stop(p->httpd);
    store_clear();
    int r = file_remove_tree(p->folder, NULL);
    (void)vault_free(p->vault);
    keypair_clear(&p->sign);
    free(p->public);
    free(p);
    return r;
}

static char *until_there(const char *name)
{
    Msec deadline = time_mono() + DEADLINE_MS;
    for (;;) {
        char *body = store_get(name, NULL);
        if (body)
            return body;
        if (time_mono() > deadline)
            fail_msg("%s does not come", name);
        (void)poll(NULL, 0, LOOK_MS);
    }
}

static void read_hello(Place *p)
{
    _cleanup_secret_ Secret *k = vault_derive_new(p->vault, "boot/all.0/" NONCE);
    _cleanup_free_ char *hello = until_there("/out/hello");
    free(TAKE(p->public));
    assert_int_equal(boot_hello_check(k, "all.0", NONCE, str_of(hello), &p->public, NULL), 0);
}

/* Puts a bundle for `role` into the mailbox. `number` inside, `place` in its name. */
static void send_bundle(const Place *p, const char *role, int64_t number, int64_t place,
                        const KeyPair *other_sign, const char *out_box)
{
    _cleanup_json_ json_t *spec =
        json_make_new("{s:s, s:s, s:s, s:[s], s:{}}", "island", "reef", "server", "all.0",
                      "address", p->address, "roles", role, "env_secrets");
    _cleanup_(buf_clear) Buf text = BUF_INIT((size_t)8 << 20);
    _cleanup_free_ char *in = url_of(p, "in"), *out = url_of(p, out_box);
    _cleanup_free_ char *name = xasprintf("/in/%08lld", (long long)place);
    _cleanup_(vault_drop) Vault *v = vault_new();
    _cleanup_secret_ Secret *public = secret_new(p->sign.public_b64, strlen(p->sign.public_b64));

    vault_set(v, "redis_password", vault_secret(p->vault, "redis_password"));
    vault_set(v, "sign_secret", (other_sign ? other_sign : &p->sign)->secret);
    vault_set(v, "sign_public", public);
    assert_int_equal(bundle_make(&(BundleHead){"all.0", NONCE, number}, p->public, spec, v,
                                 &(BundleUrls){in, out, 1}, &text, NULL),
                     0);
    store_put(name, text.p, NULL);
}

static int open_redis(const Place *p, Redis **ret)
{
    return redis_open(&(RedisTarget){.host = p->address,
                                     .port = 6379,
                                     .password = vault_secret(p->vault, "redis_password")},
                      ret, NULL);
}

static bool redis_answers(const Place *p)
{
    _cleanup_(redis_drop) Redis *redis = NULL;
    return open_redis(p, &redis) == 0;
}

static void until_redis(const Place *p, bool there)
{
    Msec deadline = time_mono() + DEADLINE_MS;
    while (redis_answers(p) != there) {
        assert_true(time_mono() < deadline);
        (void)poll(NULL, 0, LOOK_MS);
    }
}

static void assert_no_secret(const Place *p, const char *text)
{
    static const char *const names[] = {"redis_password", "db_password", "sign_secret", "master"};
    _cleanup_secret_ Secret *k = vault_derive_new(p->vault, "boot/all.0/" NONCE);
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        assert_untold(str_of(text), vault_secret(p->vault, names[i]));
    assert_untold(str_of(text), k);
    assert_null(strstr(text, "sig=1"));
}

static bool redis_installed(void)
{
    return file_exists("/usr/bin/redis-server");
}

static void first_boot_to_healthy(void **state)
{
    Place *p = *state;
    if (!redis_installed())
        skip();
    _cleanup_free_ char *boot_path = path_join(p->folder, "etc/atoll/boot.json");
    _cleanup_free_ char *key_path = path_join(p->folder, "var/lib/atoll/host.key");
    _cleanup_free_ char *log_path = path_join(p->folder, "agent.log"), *delete_after = NULL;
    _cleanup_(buf_clear) Buf boot = BUF_INIT(BUF_MAX_LINE), log = BUF_INIT(BUF_MAX_BODY);
    struct stat st;

    start_agent(p);
    read_hello(p);
    assert_int_equal(stat(key_path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    send_bundle(p, "redis", 1, 1, NULL, "out");
    _cleanup_free_ char *body = until_there("/out/00000001-healthy");
    assert_true(redis_answers(p));

    _cleanup_json_ json_t *report = json_parse_new(body, strlen(body), NULL);
    assert_int_equal(json_int(report, "number", 0), 1);
    assert_string_equal(json_str(report, "state"), "healthy");
    assert_string_equal(json_str(report, "version"), ATOLL_VERSION);
    json_t *service = json_array_get(json_object_get(report, "services"), 0);
    assert_string_equal(json_str(service, "name"), "redis");
    assert_string_equal(json_str(service, "state"), "healthy");
    assert_int_equal(json_int(service, "restarts", -1), 0);
    free(store_get("/out/00000001-healthy", &delete_after));
    assert_string_equal(delete_after, "604800");
    free(TAKE(delete_after));
    free(store_get("/out/hello", &delete_after));
    assert_string_equal(delete_after, "");

    /* K is used up. */
    assert_int_equal(file_read(boot_path, &boot, NULL), 0);
    assert_null(strstr(boot.p, "\"k\""));
    kill(p->agent, SIGTERM);
    assert_int_equal(wait_agent(p), 0);
    assert_false(redis_answers(p));
    assert_int_equal(file_read(log_path, &log, NULL), 0);
    assert_no_secret(p, log.p);
    for (size_t i = 0; i < store.objects.len; i++)
        if (starts_with(store.objects.items[i].name, "/out"))
            assert_no_secret(p, store.objects.items[i].body);
}

static void redis_do(const Place *p, const char *const *argv)
{
    _cleanup_(redis_drop) Redis *redis = NULL;
    _cleanup_(redis_reply_clear) RedisReply reply = {0};
    assert_int_equal(open_redis(p, &redis), 0);
    assert_int_equal(redis_command(redis, argv, &reply, NULL), 0);
}

/* What waits, and what is at work; not what it is. */
static void the_server_with_redis_tells_what_waits(void **state)
{
    Place *p = *state;
    static const char *const commands[][8] = {
        {"SADD", "queues", "default", "push", "pull", "bad name", NULL},
        {"LPUSH", "queue:default", "{\"class\":\"S3CRET\"}", "{}", NULL},
        {"LPUSH", "queue:pull", "{}", NULL},
        {"LPUSH", "queue:bad name", "{}", NULL},
        {"SADD", "processes", "host:1:00112233aabb", "host:2:00112233aabb", "dead:3:00112233aabb"},
        {"HSET", "host:1:00112233aabb", "busy", "4", NULL},
        {"HSET", "host:2:00112233aabb", "busy", "1", NULL},
    };
    if (!redis_installed())
        skip();
    start_agent(p);
    read_hello(p);
    send_bundle(p, "redis", 1, 1, NULL, "out");
    free(until_there("/out/00000001-healthy"));
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        redis_do(p, commands[i]);
    send_bundle(p, "redis", 2, 2, NULL, "out");
    free(until_there("/out/00000002-healthy"));

    _cleanup_json_ json_t *report = NULL;
    Msec deadline = time_mono() + DEADLINE_MS;
    while (!json_at(report, "backlog")) {
        _cleanup_free_ char *body = store_get("/out/00000002-healthy", NULL);
        json_decref(report);
        report = json_parse_new(body, strlen(body), NULL);
        assert_null(strstr(body, "S3CRET"));
        assert_true(time_mono() < deadline);
        (void)poll(NULL, 0, LOOK_MS);
    }
    _cleanup_free_ char *backlog = json_text_new(json_at(report, "backlog"));
    assert_string_equal(backlog, "{\"busy\":5,\"queues\":{\"default\":2,\"pull\":1}}");
    Msec started;
    assert_true(time_parse(json_str_or(report, "started", ""), &started));
    assert_true(time_now() - started < DEADLINE_MS);
    assert_null(json_at(report, "release"));
}

static void refused_bundles_change_nothing(void **state)
{
    Place *p = *state;
    if (!redis_installed())
        skip();
    _cleanup_(keypair_clear) KeyPair thief = {0};
    crypt_sign_keys(&thief);
    start_agent(p);
    read_hello(p);
    send_bundle(p, "redis", 1, 1, NULL, "out");
    free(until_there("/out/00000001-healthy"));

    send_bundle(p, "redis", 2, 2, &thief, "out");
    _cleanup_free_ char *forged = until_there("/out/00000002-refused");
    assert_non_null(strstr(forged, "not signed by"));
    send_bundle(p, "redis", 1, 3, NULL, "out");
    _cleanup_free_ char *old = until_there("/out/00000003-refused");
    assert_non_null(strstr(old, "taken already"));
    send_bundle(p, "moon", 4, 4, NULL, "out");
    _cleanup_free_ char *unknown = until_there("/out/00000004-refused");
    assert_non_null(strstr(unknown, "the role moon is not known"));
    assert_true(redis_answers(p));
    store_put("/in/00000005", "garbage", NULL);
    free(until_there("/out/00000005-refused"));

    /* The next good one is taken, and its URLs are used from then on. */
    send_bundle(p, "redis", 6, 6, NULL, "elsewhere");
    free(until_there("/elsewhere/00000006-healthy"));
    assert_true(redis_answers(p));
}

/* As on a full disk: the bundle is run, once, and the next one is looked for. */
static void a_bundle_that_cannot_be_kept_is_taken_once(void **state)
{
    Place *p = *state;
    if (!redis_installed())
        skip();
    _cleanup_free_ char *in_the_way = path_join(p->folder, "var/lib/atoll/bundle/x");
    _cleanup_free_ char *log_path = path_join(p->folder, "agent.log");
    _cleanup_(buf_clear) Buf log = BUF_INIT(BUF_MAX_BODY);
    assert_int_equal(file_mkdirs(in_the_way, 0711, NULL), 0);

    start_agent(p);
    read_hello(p);
    send_bundle(p, "redis", 1, 1, NULL, "out");
    free(until_there("/out/00000001-healthy"));
    send_bundle(p, "redis", 2, 2, NULL, "out");
    free(until_there("/out/00000002-healthy"));
    /* A bundle of another server: what is refused is passed over too. */
    _cleanup_free_ char *last = path_join(p->folder, "var/lib/atoll/last/x");
    assert_int_equal(file_mkdirs(last, 0700, NULL), 0);
    store_put("/in/00000003", "rubbish", NULL);
    free(until_there("/out/00000003-refused"));
    send_bundle(p, "redis", 4, 4, NULL, "out");
    free(until_there("/out/00000004-healthy"));
    assert_int_equal(file_read(log_path, &log, NULL), 0);
    const char *taken = strstr(log.p, "bundle 1 is taken");
    assert_non_null(taken);
    assert_null(strstr(taken + 1, "bundle 1 is taken"));
}

static void it_survives_a_power_cut_without_a_network(void **state)
{
    Place *p = *state;
    if (!redis_installed())
        skip();
    start_agent(p);
    read_hello(p);
    send_bundle(p, "redis", 1, 1, NULL, "out");
    free(until_there("/out/00000001-healthy"));

    kill(p->agent, SIGKILL);
    (void)wait_agent(p);
    until_redis(p, false);
    p->httpd = httpd_stop(p->httpd);
    start_agent(p);
    until_redis(p, true);
    kill(p->agent, SIGTERM);
    assert_int_equal(wait_agent(p), 0);
    assert_false(redis_answers(p));
}

/* Puts an ask to run `script` into the mailbox. */
static void send_shell(const Place *p, const char *script, int64_t number)
{
    Ask a = {.verb = ASK_EXEC,
             .id = (char *)(uintptr_t) "0123456789abcdef",
             .limit = HOUR,
             .until = time_now() + HOUR};
    _cleanup_json_ json_t *ask = NULL;
    _cleanup_(buf_clear) Buf text = BUF_INIT((size_t)8 << 20);
    _cleanup_free_ char *name = xasprintf("/in/%08lld", (long long)number);

    strlist_add(&a.argv, "sh");
    strlist_add(&a.argv, "-c");
    strlist_add(&a.argv, script);
    strlist_add(&a.to, p->public); /* anybody's */
    assert_int_equal(ask_write(&a, &ask, NULL), 0);
    strlist_clear(&a.argv);
    strlist_clear(&a.to);
    assert_int_equal(bundle_make_ask(&(BundleHead){"all.0", NONCE, number}, p->public, ask,
                                     p->vault, &text, NULL),
                     0);
    store_put(name, text.p, NULL);
}

static void an_ask_is_run_once_and_changes_nothing(void **state)
{
    Place *p = *state;
    if (!redis_installed())
        skip();
    _cleanup_free_ char *marker = path_join(p->folder, "marker"),
                        *script = xasprintf("echo x >>%s; exec sleep 1000", marker);
    _cleanup_(buf_clear) Buf marks = BUF_INIT(BUF_MAX_LINE);

    start_agent(p);
    read_hello(p);
    send_bundle(p, "redis", 1, 1, NULL, "out");
    free(until_there("/out/00000001-healthy"));
    assert_int_equal(file_write(marker, STR_LIT(""), 0666, NULL), 0);
    send_shell(p, script, 2);
    Msec deadline = time_mono() + DEADLINE_MS;
    while (marks.len == 0) {
        assert_true(time_mono() < deadline);
        assert_int_equal(file_read(marker, &marks, NULL), 0);
        (void)poll(NULL, 0, LOOK_MS);
    }
    free(until_there("/out/answer-00000002-000000"));
    assert_true(redis_answers(p));

    kill(p->agent, SIGKILL);
    (void)wait_agent(p);
    start_agent(p);
    free(until_there("/out/answer-00000002-999999"));
    /* The bundle that was kept is run; the next number is looked for. */
    until_redis(p, true);
    send_shell(p, "exit 0", 3);
    free(until_there("/out/answer-00000003-000001"));
    buf_truncate(&marks, 0);
    assert_int_equal(file_read(marker, &marks, NULL), 0);
    assert_string_equal(marks.p, "x\n");
    /* Forged ones are as forged bundles. */
    store_put("/in/00000004", "{}", NULL);
    free(until_there("/out/00000004-refused"));
    send_bundle(p, "redis", 5, 5, NULL, "out");
    free(until_there("/out/00000005-healthy"));
}

/* The key is made once: a host that starts again before its first bundle says the same hello. */
static void the_key_is_kept(void **state)
{
    Place *p = *state;
    start_agent(p);
    read_hello(p);
    _cleanup_free_ char *first = xstrdup(p->public);
    kill(p->agent, SIGKILL);
    (void)wait_agent(p);
    store_put("/out/hello", "", NULL);

    start_agent(p);
    Msec deadline = time_mono() + DEADLINE_MS;
    for (;;) {
        _cleanup_free_ char *hello = store_get("/out/hello", NULL);
        if (*hello)
            break;
        assert_true(time_mono() < deadline);
        (void)poll(NULL, 0, LOOK_MS);
    }
    read_hello(p);
    assert_string_equal(p->public, first);
}

static void two_agents_do_not_share_a_root(void **state)
{
    Place *p = *state;
    start_agent(p);
    read_hello(p);
    pid_t first = p->agent;

    start_agent(p);
    int status = wait_agent(p);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), err_row(ERR_HELD)->exit_code);
    p->agent = first;
}

static void without_a_first_boot_it_says_so(void **state)
{
    Place *p = *state;
    _cleanup_free_ char *path = path_join(p->folder, "etc/atoll/boot.json");
    _cleanup_(err_clear) Err err = {0};
    static const char *const contents[] = {"", "{}", "{\"server\":\"x\"}"};
    AgentOptions o = {.root = p->folder, .driver = &driver_child, .stop = &stop_agent};

    for (size_t i = 0; i < ARRAY_LEN(contents); i++) {
        assert_int_equal(file_write(path, str_of(contents[i]), 0600, NULL), 0);
        assert_int_equal(agent_run(&o, NULL), -ERR_CORRUPT);
    }
    assert_int_equal(unlink(path), 0);
    assert_int_equal(agent_run(&o, &err), -ERR_NOT_FOUND);
    assert_non_null(strstr(err.text, "boot.json"));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(first_boot_to_healthy),
        TEST(the_server_with_redis_tells_what_waits),
        TEST(refused_bundles_change_nothing),
        TEST(a_bundle_that_cannot_be_kept_is_taken_once),
        TEST(it_survives_a_power_cut_without_a_network),
        TEST(an_ask_is_run_once_and_changes_nothing),
        TEST(the_key_is_kept),
        TEST(two_agents_do_not_share_a_root),
        TEST(without_a_first_boot_it_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
