/* What a real server needs, in a folder that stands for the server. Programs that would change this
 * machine (apt-get, systemctl, useradd) are scripts that note how they were called; apt-config and
 * nft are the real ones where they are there. */
#include "host/machine.h"
#include "host/machine_files.h"
#include "host/machine_needs.h"
#include "io/child.h"
#include "io/file.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define DEADLINE_MS (20 * SECOND)
#define LOOK_MS 5

/* Each call is a line of `calls`. What is installed is in `installed`; a file `broken.NAME` makes
 * that program print it and fail; `gate`, a fifo, holds an installation up until somebody writes
 * to it. */
static const char stand_in[] =
    "#!/bin/sh\n"
    "dir=${0%/bin/*}; name=${0##*/}\n"
    "echo \"$name $*\" >>\"$dir/calls\"\n"
    "if text=$(cat \"$dir/broken.$name\" 2>/dev/null); then echo \"$text\"; exit 100; fi\n"
    "case \"$name $*\" in\n"
    "dpkg-query*)\n"
    "    status=0\n"
    "    for p; do\n"
    "        case $p in --*) continue ;; esac\n"
    "        if grep -qx -- \"$p\" \"$dir/installed\"; then echo \"$p installed\"\n"
    "        else echo \"$p not-installed\"; status=1; fi\n"
    "    done\n"
    "    exit $status ;;\n"
    "apt-get*install*)\n"
    "    ls \"$dir/root/etc/systemd/system\" >\"$dir/masked\" 2>/dev/null\n"
    "    [ ! -e \"$dir/gate\" ] || read -r line <\"$dir/gate\"\n"
    "    for p; do echo \"$p\"; done >>\"$dir/installed\" ;;\n"
    "nft*) cat >\"$dir/rules\" ;;\n"
    "getent*mastodon) exit 2 ;;\n"
    "runuser*psql*) cat \"$dir/locks\" ;;\n"
    "esac\n";
static const char *const stand_ins[] = {"apt-get", "dpkg",    "dpkg-query", "getent",
                                        "nft",     "useradd", "systemctl",  "runuser"};

typedef struct Place {
    char folder[64];
    char *root, *path;
    Machine *machine;
    Msec now;
} Place;

static char *in_place(const Place *p, const char *name)
{
    return path_join(p->folder, name);
}

static void put(const Place *p, const char *name, const char *text)
{
    _cleanup_free_ char *path = in_place(p, name), *folder = path_folder(path);
    assert_int_equal(file_mkdirs(folder, 0755, NULL), 0);
    assert_int_equal(file_write(path, str_of(text), 0755, NULL), 0);
}

/* To be freed; "" if it is not there. */
static char *get(const Place *p, const char *name)
{
    _cleanup_free_ char *path = in_place(p, name);
    Buf text = BUF_INIT(BUF_MAX_LINE);
    int r = file_read(path, &text, NULL);
    assert_true(r == 0 || r == -ERR_NOT_FOUND);
    return buf_detach(&text);
}

static void drop(const Place *p, const char *name)
{
    _cleanup_free_ char *path = in_place(p, name);
    assert_int_equal(unlink(path), 0);
}

static size_t count(const Place *p, const char *words)
{
    _cleanup_free_ char *calls = get(p, "calls");
    size_t n = 0;
    for (const char *at = calls; (at = strstr(at, words)); at += strlen(words))
        n++;
    return n;
}

static int setup(void **state)
{
    Place *p = NEW(Place);
    snprintf(p->folder, sizeof p->folder, "/tmp/atoll-machine.XXXXXX");
    if (!mkdtemp(p->folder))
        return -1;
    *state = p;
    p->root = in_place(p, "root");
    p->path = xasprintf("%s/bin:/usr/bin:/bin", p->folder);
    p->now = 10 * DAY;
    for (size_t i = 0; i < ARRAY_LEN(stand_ins); i++) {
        _cleanup_free_ char *name = xasprintf("bin/%s", stand_ins[i]);
        put(p, name, stand_in);
    }
    put(p, "installed", "");
    _cleanup_free_ char *passwd =
        xasprintf("root:x:%u:%u::/root:/bin/sh\n", (unsigned)geteuid(), (unsigned)getegid());
    put(p, "root/etc/passwd", passwd);
    put(p, "root/root/x", "");
    p->machine = machine_new(p->root, p->path, p->now);
    return 0;
}

static int teardown(void **state)
{
    Place *p = *state;
    p->machine = machine_free(p->machine);
    int r = file_remove_tree(p->folder, NULL);
    free(p->root);
    free(p->path);
    free(p);
    return r;
}

static json_t *spec_new(const char *roles, const char *release)
{
    _cleanup_free_ char *text = xasprintf("{\"roles\":[%s],\"release\":{\"kind\":\"%s\"},"
                                          "\"ssh_keys\":[\"ssh-ed25519 AAAA jo\"]}",
                                          roles, release);
    json_t *spec = json_parse_new(text, strlen(text), NULL);
    assert_non_null(spec);
    return spec;
}

/* Asks until it is ready (NULL) or says these words; the clock stands still. */
static void until(Place *p, const json_t *spec, const char *words)
{
    Msec deadline = time_mono() + DEADLINE_MS;

    for (;;) {
        _cleanup_(err_clear) Err err = {0};
        int r = machine_ready(p->machine, spec, p->now, &err);
        if (words ? r < 0 && strstr(err.text, words) : r == 0)
            return;
        assert_true(r == 0 || r == -ERR_TEMPORARY);
        if (time_mono() > deadline)
            fail_msg("waited for '%s', but: %s", words ? words : "ready",
                     r < 0 ? err.text : "ready");
        (void)poll(NULL, 0, LOOK_MS);
    }
}

/* Asks until nothing is being tried again: what follows happens to the next attempt. */
static void until_at_rest(Place *p, const json_t *spec)
{
    Msec deadline = time_mono() + DEADLINE_MS;

    for (bool again = true; again;) {
        _cleanup_(err_clear) Err err = {0};
        assert_int_equal(machine_ready(p->machine, spec, p->now, &err), -ERR_TEMPORARY);
        again = ends_with(err.text, "; trying again");
        assert_true(time_mono() < deadline);
        (void)poll(NULL, 0, LOOK_MS);
    }
}

static void a_bare_server_gets_what_it_needs_once(void **state)
{
    Place *p = *state;
    _cleanup_json_ json_t *spec = spec_new("\"edge\",\"web\",\"redis\",\"postgres\"", "canary");
    until(p, spec, NULL);

    _cleanup_free_ char *calls = get(p, "calls"), *masked = get(p, "masked");
    const char *install = strstr(calls, "install -y");
    const char *stop = strstr(calls, "systemctl stop nginx.service");
    const char *user = strstr(calls, "useradd"), *nft = strstr(calls, "nft -f -");
    assert_non_null(install);
    assert_true(install < stop && stop < user && user < nft);
    assert_non_null(strstr(install, " nginx-light "));
    assert_non_null(strstr(install, " nftables "));
    assert_non_null(strstr(stop, " postgresql@*.service"));
    assert_non_null(strstr(user, " mastodon\n"));
    assert_int_equal(count(p, "useradd"), 1); /* getent knows the others */
    /* Before apt-get could start them. */
    assert_non_null(strstr(masked, "nginx.service\n"));
    assert_non_null(strstr(masked, "postgresql@.service\n"));
    _cleanup_free_ char *cluster = get(p, "root/etc/postgresql-common/createcluster.d/atoll.conf");
    assert_non_null(strstr(cluster, "create_main_cluster = false\n"));
    assert_int_equal(count(p, "systemctl daemon-reload"), 1);
    assert_int_equal(count(p, "systemctl try-restart systemd-journald"), 1);

    /* The agent starts again: nothing is installed and no setting is new. */
    p->machine = machine_free(p->machine);
    p->machine = machine_new(p->root, p->path, p->now);
    until(p, spec, NULL);
    assert_int_equal(count(p, "apt-get"), 2); /* update and install, both the first time */
    assert_int_equal(count(p, "systemctl daemon-reload"), 1);
    assert_int_equal(count(p, "systemctl try-restart"), 1);
    assert_int_equal(count(p, "nft -f -"), 2);
    /* Being asked again costs no program. */
    until(p, spec, NULL);
    assert_int_equal(count(p, "dpkg-query"), 3);
}

static void a_failure_is_told_and_tried_again(void **state)
{
    Place *p = *state;
    _cleanup_json_ json_t *spec = spec_new("\"redis\"", "canary");
    static const Msec waits[] = {5 * SECOND,  10 * SECOND,  20 * SECOND,  40 * SECOND,
                                 80 * SECOND, 160 * SECOND, 300 * SECOND, 300 * SECOND};

    put(p, "broken.apt-get",
        "Err:1 http://deb.debian.org bookworm InRelease\n  Could not resolve 'deb.debian.org'\n"
        "W: Failed to fetch http://deb.debian.org/x  Could not resolve 'deb.debian.org'\n"
        "E: Unable to locate package redis-server\n");
    until(p, spec, "installing packages: W: Failed to fetch http://deb.debian.org/x  Could not");
    assert_false(machine_working(p->machine, p->now));
    for (size_t i = 0; i < ARRAY_LEN(waits); i++) {
        assert_int_equal(count(p, "install -y"), i + 1);
        p->now += waits[i] - 1;
        assert_int_equal(machine_ready(p->machine, spec, p->now, NULL), -ERR_TEMPORARY);
        assert_int_equal(count(p, "install -y"), i + 1);
        p->now++;
        Msec deadline = time_mono() + DEADLINE_MS;
        bool again = true;
        while ((again || count(p, "install -y") == i + 1) && time_mono() < deadline) {
            _cleanup_(err_clear) Err err = {0};
            assert_int_equal(machine_ready(p->machine, spec, p->now, &err), -ERR_TEMPORARY);
            assert_non_null(strstr(err.text, "W: Failed to fetch"));
            again = ends_with(err.text, "; trying again");
        }
    }
    drop(p, "broken.apt-get");
    p->now += 5 * MINUTE;
    until(p, spec, NULL);
}

/* It is a promise: no service without it. */
static void without_the_firewall_nothing_is_ready(void **state)
{
    Place *p = *state;
    _cleanup_json_ json_t *spec = spec_new("\"redis\"", "canary");

    put(p, "broken.nft", "netlink: Error: cache initialization failed: Operation not permitted\n");
    until(p, spec, "closing the metadata address: netlink: Error: cache initialization failed");
    for (int i = 0; i < 20; i++) {
        p->now += MINUTE;
        assert_int_equal(machine_ready(p->machine, spec, p->now, NULL), -ERR_TEMPORARY);
    }
    until_at_rest(p, spec);
    drop(p, "broken.nft");
    p->now += 5 * MINUTE;
    until(p, spec, NULL);
}

static void a_new_spec_waits_for_the_installation_of_the_old_one(void **state)
{
    Place *p = *state;
    _cleanup_json_ json_t *first = spec_new("\"redis\"", "canary");
    _cleanup_json_ json_t *second = spec_new("\"redis\",\"edge\"", "canary");
    _cleanup_free_ char *gate = in_place(p, "gate");

    assert_int_equal(mkfifo(gate, 0600), 0);
    until(p, first, "installing nftables, unattended-upgrades, redis-server");
    assert_true(machine_working(p->machine, p->now));
    assert_false(machine_working(p->machine, p->now + 31 * MINUTE));
    for (int i = 0; i < 5; i++)
        assert_int_equal(machine_ready(p->machine, second, p->now, NULL), -ERR_TEMPORARY);
    /* Opens once the reader is there. */
    FILE *f = fopen(gate, "we");
    assert_non_null(f);
    assert_int_equal(count(p, "install -y"), 1);
    _cleanup_free_ char *open_gate = in_place(p, "gate.open");
    assert_int_equal(rename(gate, open_gate), 0);
    assert_true(fputs("go\n", f) >= 0);
    assert_int_equal(fclose(f), 0);
    until(p, second, NULL);
    assert_int_equal(count(p, "install -y"), 2);
    _cleanup_free_ char *calls = get(p, "calls");
    assert_non_null(strstr(calls, "install -y --no-install-recommends nginx-light\n"));
}

/* --- what is looked after while services run --- */

static void the_address_is_closed_again_every_five_minutes(void **state)
{
    Place *p = *state;
    _cleanup_json_ json_t *spec = spec_new("\"redis\"", "canary");
    _cleanup_(err_clear) Err err = {0};

    assert_int_equal(machine_tick(p->machine, "web.0", p->now, 0, NULL), 0);
    assert_int_equal(count(p, "nft"), 0); /* nothing is promised yet */
    until(p, spec, NULL);
    for (int i = 0; i < 299; i++) {
        p->now += SECOND;
        assert_int_equal(machine_tick(p->machine, "web.0", p->now, 0, NULL), 0);
    }
    assert_int_equal(count(p, "nft -f"), 1);
    put(p, "broken.nft", "Error: no\n");
    p->now += SECOND;
    Msec deadline = time_mono() + DEADLINE_MS;
    int r = 0;
    while (r == 0 && time_mono() < deadline) {
        r = machine_tick(p->machine, "web.0", p->now, 0, &err);
        (void)poll(NULL, 0, LOOK_MS);
    }
    assert_int_equal(r, -ERR_TEMPORARY);
    assert_string_equal(err.text, "closing the metadata address: Error: no");
    assert_int_equal(count(p, "nft -f"), 2);
}

static void a_reboot_is_asked_for_once(void **state)
{
    Place *p = *state;
    Msec wall = 20000 * DAY + 4 * HOUR;

    p->now += 4 * HOUR;
    assert_int_equal(machine_tick(p->machine, "web.0", p->now, wall, NULL), 0);
    put(p, "root/run/reboot-required", "");
    p->now += MINUTE;
    /* Not while a migration runs. */
    machine_busy(p->machine, true);
    assert_int_equal(machine_tick(p->machine, "web.0", p->now, wall, NULL), 0);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* nothing was begun */
    machine_busy(p->machine, false);
    Msec deadline = time_mono() + DEADLINE_MS;
    while (count(p, "systemctl reboot") == 0 && time_mono() < deadline)
        assert_int_equal(machine_tick(p->machine, "web.0", p->now, wall, NULL), 0);
    for (int i = 0; i < 500; i++)
        assert_int_equal(machine_tick(p->machine, "web.0", p->now + i * SECOND, wall, NULL), 0);
    assert_int_equal(count(p, "systemctl reboot"), 1);
}

/* Another server's migration holds a lock in the database: its server waits. Where the database
 * does not answer, nobody migrates it. */
static void a_database_that_is_migrated_is_not_rebooted(void **state)
{
    static const struct {
        const char *locks;
        size_t asks;
    } rows[] = {{"1\n", 0}, {"0\n", 1}, {"", 1}};
    Place *p = *state;
    Msec wall = 20000 * DAY + 4 * HOUR;

    p->now += 4 * HOUR;
    put(p, "root/run/reboot-required", "");
    put(p, "root/run/atoll-postgres/x", "");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        Msec deadline = time_mono() + DEADLINE_MS;

        put(p, "locks", rows[i].locks);
        put(p, "calls", "");
        while (count(p, "runuser -u postgres -- psql") == 0 && time_mono() < deadline)
            assert_int_equal(machine_tick(p->machine, "db.0", p->now, wall, NULL), 0);
        /* Ten minutes later it has long ended. */
        for (int k = 0; k < 200; k++) {
            assert_int_equal(machine_tick(p->machine, "db.0", p->now + SECOND, wall, NULL), 0);
            (void)poll(NULL, 0, 1);
        }
        assert_int_equal(count(p, "systemctl reboot"), rows[i].asks);
        p->now += 11 * MINUTE;
    }
}

#define NIGHT (20000 * DAY)
static const struct {
    bool required, due;
    Msec at, up;
} reboot_rows[] = {
    {true, true, 4 * HOUR, DAY},
    {true, true, 5 * HOUR - 1, DAY},
    {true, true, 4 * HOUR, 3 * HOUR},
    {false, false, 4 * HOUR, DAY},
    {true, false, 4 * HOUR, 3 * HOUR - 1}, /* it has just been rebooted, or is new */
    {true, false, 4 * HOUR, 0},
    {true, false, 5 * HOUR, DAY},
    {true, false, 3 * HOUR - 1, DAY},
    {true, false, 0, DAY},
    {true, false, 15 * HOUR, DAY},
    {true, false, DAY - 1, DAY},
};

/* The minute of a night in which it is first due, 0 to 119. */
static int64_t first_minute(const char *key)
{
    for (Msec at = 3 * HOUR; at < 5 * HOUR; at += MINUTE)
        if (machine_reboot_due(true, NIGHT + at, key, NIGHT - DAY))
            return (at - 3 * HOUR) / MINUTE;
    fail_msg("%s is never due", key);
    return -1;
}

static void reboots_have_their_hours(void **state)
{
    (void)state;
    static const char *const keys[] = {"web.0", "db.0", "worker.11", "x", "odd.name", "a.99999999"};

    for (size_t k = 0; k < ARRAY_LEN(keys); k++) {
        assert_in_range(first_minute(keys[k]), 0, 59);
        for (size_t i = 0; i < ARRAY_LEN(reboot_rows); i++)
            if (machine_reboot_due(reboot_rows[i].required, NIGHT + reboot_rows[i].at, keys[k],
                                   NIGHT + reboot_rows[i].at - reboot_rows[i].up) !=
                reboot_rows[i].due)
                fail_msg("row %zu, %s", i, keys[k]);
    }
}

static void servers_of_a_tier_do_not_go_at_once(void **state)
{
    (void)state;
    bool taken[60] = {0};

    for (int i = 0; i < 60; i++) {
        _cleanup_free_ char *key = xasprintf("web.%d", i);
        int64_t minute = first_minute(key);
        assert_false(taken[minute]);
        taken[minute] = true;
    }
    assert_int_not_equal(first_minute("web.0"), first_minute("db.0"));
}

/* --- tables and files --- */

static const struct {
    const char *roles, *release, *has, *has_not, *unit;
} need_rows[] = {
    {"\"edge\"", "canary", "nginx-light", "ruby", "nginx.service"},
    {"\"redis\"", "canary", "redis-server", "postgresql", "redis-server.service"},
    {"\"postgres\"", "tree", "postgresql", "bundler", "postgresql@.service"},
    {"\"web\"", "canary", "ruby-fog-openstack", "podman", NULL},
    {"\"web\",\"worker\"", "tree", "bundler", "ruby-sidekiq", NULL},
    {"\"worker\"", "image", "podman", "ruby", "podman.socket"},
    {"\"search\"", "", "podman", "ruby", "podman.socket"},
    {"\"edge\",\"unheard-of\",7", "image", "nftables", "podman", "nginx.service"},
    {"", "", "unattended-upgrades", "nginx-light", NULL},
};

static void each_role_has_its_packages(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(need_rows); i++) {
        _cleanup_json_ json_t *spec = spec_new(need_rows[i].roles, need_rows[i].release);
        _cleanup_(strlist_clear) StrList packages = {0}, units = {0};
        machine_needs(spec, &packages, &units);
        assert_true(strlist_has(&packages, need_rows[i].has));
        assert_false(strlist_has(&packages, need_rows[i].has_not));
        if (need_rows[i].unit)
            assert_true(strlist_has(&units, need_rows[i].unit));
        else
            assert_int_equal(units.len, 0);
        for (size_t k = 0; k < packages.len; k++)
            for (size_t m = 0; m < k; m++)
                assert_string_not_equal(packages.items[k], packages.items[m]);
    }
}

/* Only the edge that asks for the certificate; and certbot never by a timer of Debian's. */
static void certbot_is_for_who_asks(void **state)
{
    (void)state;
    for (int here = 0; here <= 1; here++) {
        _cleanup_json_ json_t *spec = spec_new("\"edge\"", "canary");
        _cleanup_(strlist_clear) StrList packages = {0}, units = {0};
        json_object_set_new(spec, "listen", json_make_new("{s:{s:b}}", "acme", "here", here));
        machine_needs(spec, &packages, &units);
        assert_int_equal(strlist_has(&packages, "certbot"), here);
        assert_int_equal(strlist_has(&units, "certbot.timer"), here);
        assert_true(strlist_has(&packages, "nginx-light"));
    }
}

#define BEGIN "# atoll: the next lines are ssh_keys of the island file\n"
#define END "# atoll: end\n"
static const struct {
    const char *before, *keys, *after;
} ssh_rows[] = {
    {"", "[]", ""},
    {"", "[\"ssh-a A jo\"]", BEGIN "ssh-a A jo\n" END},
    {"ssh-b B al\n", "[\"ssh-a A jo\"]", "ssh-b B al\n" BEGIN "ssh-a A jo\n" END},
    {"ssh-b B al", "[\"ssh-a A jo\"]", "ssh-b B al\n" BEGIN "ssh-a A jo\n" END},
    {"ssh-b B al\n\n\n", "[]", "ssh-b B al\n\n\n"},
    {BEGIN "ssh-a A jo\nssh-c C\n" END, "[\"ssh-c C\"]", BEGIN "ssh-c C\n" END},
    {"x\n" BEGIN "ssh-a A jo\n" END "y\n", "[]", "x\ny\n"},
    {BEGIN "ssh-a A jo\n" END, "[\"ssh-a A jo\"]", BEGIN "ssh-a A jo\n" END},
    {BEGIN "ssh-a A jo\n", "[]", ""}, /* cut off: what follows the mark is ours */
    {END, "[]", END},
    {"", "[\"ssh-a A\\nssh-evil E\"]", BEGIN "ssh-a A\n" END},
};

static void authorized_keys_has_one_exact_block(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(ssh_rows); i++) {
        _cleanup_json_ json_t *keys =
            json_parse_new(ssh_rows[i].keys, strlen(ssh_rows[i].keys), NULL);
        _cleanup_(buf_clear) Buf after = BUF_INIT(BUF_MAX_LINE);
        machine_ssh_text(str_of(ssh_rows[i].before), keys, &after);
        assert_string_equal(after.p, ssh_rows[i].after);
    }
}

static void keys_are_debians_and_links_are_not_followed(void **state)
{
    Place *p = *state;
    _cleanup_json_ json_t *keys = json_parse_new("[\"ssh-a A jo\"]", 14, NULL);
    _cleanup_free_ char *passwd = xasprintf(
        "root:x:%u:%u::/root:/bin/sh\ndebian:x:%u:%u::/home/debian:/bin/sh\n", (unsigned)geteuid(),
        (unsigned)getegid(), (unsigned)geteuid(), (unsigned)getegid());
    _cleanup_free_ char *path = in_place(p, "root/home/debian/.ssh/authorized_keys");
    struct stat st;

    /* Without such a user: root. */
    assert_int_equal(machine_ssh_keys(p->root, keys, NULL), 0);
    _cleanup_free_ char *of_root = get(p, "root/root/.ssh/authorized_keys");
    assert_string_equal(of_root, BEGIN "ssh-a A jo\n" END);
    put(p, "root/etc/passwd", passwd);
    put(p, "root/home/debian/x", "");
    assert_int_equal(machine_ssh_keys(p->root, keys, NULL), 0);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink("/etc/hostname", path), 0);
    assert_int_equal(machine_ssh_keys(p->root, keys, NULL), -ERR_IO);
}

static const struct {
    int64_t disk_gb, most_mb;
} journal_rows[] = {{0, 64}, {1, 64}, {2, 102}, {10, 512}, {20, 1024}, {40, 2048}, {4000, 2048}};

static void the_journal_is_limited_by_the_disk(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(journal_rows); i++) {
        _cleanup_(buf_clear) Buf text = BUF_INIT(BUF_MAX_LINE);
        _cleanup_free_ char *most =
            xasprintf("\nSystemMaxUse=%lldM\n", (long long)journal_rows[i].most_mb);
        machine_journal_text(journal_rows[i].disk_gb << 30, &text);
        assert_non_null(strstr(text.p, most));
        assert_non_null(strstr(text.p, "\nRuntimeMaxUse=64M\n"));
    }
}

static void somebodys_own_unit_is_not_masked(void **state)
{
    Place *p = *state;
    _cleanup_json_ json_t *spec = spec_new("\"edge\"", "canary");

    put(p, "root/etc/systemd/system/nginx.service", "[Service]\n");
    until(p, spec, "nginx.service is somebody's own unit");
    assert_int_equal(count(p, "apt-get"), 0);
}

/* Read by apt itself, after the packages' own file. */
static void apt_reads_the_settings_of_updates(void **state)
{
    Place *p = *state;
    _cleanup_(buf_clear) Buf out = BUF_INIT(BUF_MAX_LINE);
    _cleanup_free_ char *own = in_place(p, "root/etc/apt/apt.conf.d/52atoll");
    static const char sh[] = "APT_CONFIG=\"$1\" apt-config -c \"$2\" dump";
    _cleanup_free_ char *packages = in_place(p, "50unattended-upgrades");
    int status = -1;

    if (access("/usr/bin/apt-config", X_OK) < 0)
        skip();
    put(p, "50unattended-upgrades",
        "Unattended-Upgrade::Origins-Pattern { \"origin=Debian,label=Debian\"; };\n"
        "Unattended-Upgrade::Automatic-Reboot \"true\";\n");
    assert_int_equal(machine_updates(p->root, NULL), 0);
    assert_int_equal(child_run(&(ChildSpec){.argv = (const char *const[]){"sh", "-c", sh, "sh",
                                                                          packages, own, NULL}},
                               (Str){0}, MINUTE, &out, &status, NULL),
                     0);
    assert_int_equal(status, 0);
    assert_non_null(strstr(out.p, "Origins-Pattern:: \"origin=Debian,codename=${distro_codename}-"
                                  "security,label=Debian-Security\";"));
    assert_null(strstr(out.p, "label=Debian\""));
    assert_non_null(strstr(out.p, "Automatic-Reboot \"false\""));
    assert_non_null(strstr(out.p, "APT::Periodic::Unattended-Upgrade \"1\""));
}

static void a_search_server_has_its_maps(void **state)
{
    Place *p = *state;

    put(p, "root/proc/sys/vm/max_map_count", "65530\n");
    assert_int_equal(machine_maps(p->root, NULL), 0);
    _cleanup_free_ char *now = get(p, "root/proc/sys/vm/max_map_count");
    assert_string_equal(now, "262144\n");
    _cleanup_free_ char *kept = get(p, "root/etc/sysctl.d/60-atoll-search.conf");
    assert_string_equal(kept, "# Made by atoll.\nvm.max_map_count = 262144\n");
    /* What an administrator has raised further stays. */
    put(p, "root/proc/sys/vm/max_map_count", "1048576\n");
    assert_int_equal(machine_maps(p->root, NULL), 0);
    _cleanup_free_ char *more = get(p, "root/proc/sys/vm/max_map_count");
    assert_string_equal(more, "1048576\n");
}

/* --- the rules, by nft, in a network namespace of the test's own --- */

static int connect_as(uid_t uid)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(80)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    inet_pton(AF_INET, "169.254.169.254", &to.sin_addr);
    if (fd < 0 || (uid && seteuid(uid) < 0))
        return -1;
    /* A socket is whose it is when it is made. */
    int own = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int r = connect(own, (const struct sockaddr *)&to, sizeof to) == 0 ? 0 : errno;
    if (uid && seteuid(0) < 0)
        return -1;
    close(own);
    close(fd);
    return r;
}

static bool sh(const char *script, const char *argument)
{
    int status = -1;
    static const char *const env[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", NULL};
    const char *const argv[] = {"sh", "-c", script, "sh", argument, NULL};
    return child_run(&(ChildSpec){.argv = argv, .env = env}, (Str){0}, MINUTE, NULL, &status,
                     NULL) == 0 &&
           status == 0;
}

enum { CLOSED = 0, CANNOT = 77 };
static _noreturn_ void in_a_network_of_its_own(const char *rules)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(80)};

    if (unshare(CLONE_NEWNET) < 0 || !sh("nft list tables", rules) ||
        !sh("ip link set lo up && ip addr add 169.254.169.254/32 dev lo", rules))
        _exit(CANNOT);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    inet_pton(AF_INET, "169.254.169.254", &at.sin_addr);
    if (bind(fd, (const struct sockaddr *)&at, sizeof at) < 0 || listen(fd, 8) < 0)
        _exit(1);
    if (connect_as(0) != 0 || connect_as(65534) != 0)
        _exit(2);
    /* Twice is as once. */
    if (!sh("nft -f \"$1\" && nft list table inet atoll >\"$1.1\" && nft -f \"$1\" && "
            "nft list table inet atoll >\"$1.2\" && cmp \"$1.1\" \"$1.2\"",
            rules))
        _exit(3);
    if (connect_as(0) != 0)
        _exit(4);
    _exit(connect_as(65534) == ECONNREFUSED ? CLOSED : 5);
}

static void only_root_reaches_the_metadata_address(void **state)
{
    Place *p = *state;
    _cleanup_json_ json_t *spec = spec_new("\"redis\"", "canary");
    _cleanup_free_ char *rules = in_place(p, "rules");
    int status;

    if (geteuid() != 0)
        skip();
    until(p, spec, NULL);
    pid_t pid = fork();
    if (pid == 0)
        in_a_network_of_its_own(rules);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == CANNOT)
        skip();
    assert_int_equal(WEXITSTATUS(status), CLOSED);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_bare_server_gets_what_it_needs_once),
        TEST(a_failure_is_told_and_tried_again),
        TEST(without_the_firewall_nothing_is_ready),
        TEST(a_new_spec_waits_for_the_installation_of_the_old_one),
        TEST(the_address_is_closed_again_every_five_minutes),
        TEST(a_reboot_is_asked_for_once),
        TEST(a_database_that_is_migrated_is_not_rebooted),
        cmocka_unit_test(reboots_have_their_hours),
        cmocka_unit_test(servers_of_a_tier_do_not_go_at_once),
        cmocka_unit_test(each_role_has_its_packages),
        cmocka_unit_test(certbot_is_for_who_asks),
        cmocka_unit_test(authorized_keys_has_one_exact_block),
        TEST(keys_are_debians_and_links_are_not_followed),
        cmocka_unit_test(the_journal_is_limited_by_the_disk),
        TEST(somebodys_own_unit_is_not_masked),
        TEST(apt_reads_the_settings_of_updates),
        TEST(a_search_server_has_its_maps),
        TEST(only_root_reaches_the_metadata_address),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
