#include "pocket/fault.h"
#include "io/file.h"
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

typedef struct Folder {
    char dir[64];
    char *path;
    Faults *faults;
} Folder;

static int setup(void **state)
{
    Folder *f = NEW(Folder);
    (void)snprintf(f->dir, sizeof f->dir, "/tmp/atoll-fault-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    f->path = path_join(f->dir, "faults");
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    Folder *f = *state;
    (void)faults_close(f->faults);
    int r = file_remove_tree(f->dir, NULL);
    free(f->path);
    free(f);
    return r;
}

static void write_rules(Folder *f, const char *text)
{
    assert_int_equal(file_write(f->path, str_of(text), 0600, NULL), 0);
}

static void open_rules(Folder *f, const char *text)
{
    f->faults = faults_close(f->faults);
    write_rules(f, text);
    assert_int_equal(faults_open(f->path, &f->faults, NULL), 0);
}

/* One letter for each of n requests: - none, d delay, s status, r reset, t truncate, k kill, p
 * stop, l late, b barrier; upper case: after the effect. */
static void assert_hits(Folder *f, const char *service, const char *method, const char *path,
                        const char *want)
{
    static const char letters[] = "-dsrtkplb", after[] = "-DSRTKP";
    for (size_t i = 0; want[i]; i++) {
        Fault fault;
        faults_next(f->faults, service, method, path, &fault);
        char got = (fault.after ? after : letters)[fault.kind];
        fault_clear(&fault);
        if (got != want[i])
            fail_msg("request %zu of \"%s\": %c", i + 1, want, got);
    }
}

static void test_which(void **state)
{
    Folder *f = *state;
    open_rules(f, "{\"n\":3,\"do\":\"reset\"}\n");
    assert_hits(f, "nova", "GET", "/x", "--r---");
    open_rules(f, "{\"every\":2,\"do\":\"reset\",\"when\":\"after\",\"times\":2}\n");
    assert_hits(f, "nova", "GET", "/x", "-R-R----");
    open_rules(f, "{\"do\":\"truncate\",\"times\":1}\n\n{\"n\":2,\"do\":\"stop\"}\n");
    assert_hits(f, "nova", "GET", "/x", "Tp-");
    open_rules(f, "{\"service\":\"swift\",\"n\":2,\"do\":\"reset\"}");
    assert_hits(f, "nova", "GET", "/x", "---");
    assert_hits(f, "swift", "GET", "/x", "-r-");
    open_rules(f, "{\"match\":\"POST /v2.0/ports\",\"do\":\"status\",\"status\":429}");
    assert_hits(f, "neutron", "POST", "/v2.0/networks", "-");
    assert_hits(f, "neutron", "GET", "/v2.0/ports", "-");
    assert_hits(f, "neutron", "POST", "/v2.0/ports", "ss");
    open_rules(f, "{\"match\":\"* /v1/*/box/*.gz\",\"do\":\"delay\",\"ms\":5}");
    assert_hits(f, "swift", "PUT", "/v1/AUTH_x/box/a.gz", "d");
    assert_hits(f, "swift", "PUT", "/v1/AUTH_x/box/a.tar", "-");
}

static void test_details(void **state)
{
    Folder *f = *state;
    open_rules(f, "{\"do\":\"status\",\"status\":503,\"retry_after\":2,\"message\":\"busy\"}");
    Fault fault;
    faults_next(f->faults, "nova", "GET", "/", &fault);
    assert_int_equal(fault.status, 503);
    assert_int_equal(fault.retry_after_s, 2);
    assert_string_equal(fault.message, "busy");
    fault_clear(&fault);
    open_rules(f, "{\"do\":\"kill\",\"when\":\"after\",\"pid_file\":\"/run/x.pid\"}");
    faults_next(f->faults, "nova", "GET", "/", &fault);
    assert_true(fault.after);
    assert_string_equal(fault.pid_file, "/run/x.pid");
    assert_string_equal(fault_word(fault.kind), "kill");
    fault_clear(&fault);
    open_rules(f, "{\"n\":2,\"do\":\"late\",\"pid_file\":\"x\"}\n{\"do\":\"barrier\",\"times\":2}");
    assert_hits(f, "nova", "GET", "/", "blb-");
}

typedef struct Guest {
    Faults *faults;
    Fault fault;
    pthread_t thread;
    bool met;
} Guest;

static const volatile bool never = false, now = true;

static void *meet(void *arg)
{
    Guest *g = arg;
    g->met = faults_meet(g->faults, &g->fault, &never);
    return NULL;
}

/* Three by three; who is left over goes on alone after a while, and counts no more. */
static void test_barrier(void **state)
{
    Folder *f = *state;
    open_rules(f, "{\"do\":\"barrier\",\"parties\":3,\"name\":\"x\",\"ms\":20000}");
    for (int round = 0; round < 2; round++) {
        Guest guests[3] = {0};
        for (size_t i = 0; i < ARRAY_LEN(guests); i++) {
            guests[i].faults = f->faults;
            faults_next(f->faults, "nova", "GET", "/", &guests[i].fault);
            assert_int_equal(pthread_create(&guests[i].thread, NULL, meet, &guests[i]), 0);
        }
        for (size_t i = 0; i < ARRAY_LEN(guests); i++) {
            pthread_join(guests[i].thread, NULL);
            assert_true(guests[i].met);
            fault_clear(&guests[i].fault);
        }
        Fault alone;
        faults_next(f->faults, "nova", "GET", "/", &alone);
        assert_false(faults_meet(f->faults, &alone, &now));
        alone.delay_ms = 1;
        assert_false(faults_meet(f->faults, &alone, &never));
        fault_clear(&alone);
    }
}

/* The same seed gives the same requests; about so many as it says. */
static void test_chance(void **state)
{
    Folder *f = *state;
    char first[401] = {0};
    int hits = 0;
    for (int round = 0; round < 2; round++) {
        open_rules(f, "{\"chance\":0.3,\"seed\":7,\"do\":\"reset\"}");
        for (int i = 0; i < 400; i++) {
            Fault fault;
            faults_next(f->faults, "nova", "GET", "/", &fault);
            char c = fault.kind == FAULT_RESET ? 'r' : '-';
            fault_clear(&fault);
            hits += c == 'r';
            assert_true(round == 0 || first[i] == c);
            first[i] = c;
        }
    }
    assert_in_range(hits / 2, 80, 160);
}

static void test_changes(void **state)
{
    Folder *f = *state;
    assert_int_equal(faults_open(f->path, &f->faults, NULL), 0); /* not there yet */
    assert_hits(f, "nova", "GET", "/", "--");
    write_rules(f, "{\"n\":2,\"do\":\"reset\"}");
    assert_hits(f, "nova", "GET", "/", "-r-");
    write_rules(f, "{\"n\":2,\"do\":\"delay\"}"); /* counts anew */
    assert_hits(f, "nova", "GET", "/", "-d-");
    /* A line that went bad is reported; the good ones are used. */
    write_rules(f, "{\"do\":\"explode\"}\n{\"n\":1,\"do\":\"reset\"}");
    assert_hits(f, "nova", "GET", "/", "r-");
    assert_int_equal(unlink(f->path), 0);
    assert_hits(f, "nova", "GET", "/", "--");
}

static void test_bad_rules(void **state)
{
    Folder *f = *state;
    static const struct {
        const char *text, *words;
    } rows[] = {
        {"{\"n\":1}", ":1: \"do\" must be"},
        {"{\"do\":\"reset\"}\n{\"do\":\"explode\"}", ":2: \"do\" must be"},
        {"{\"do\":\"reset\",\"service\":", ":1: "},
        {"[1]", "not an object"},
        {"{\"do\":\"reset\",\"ns\":1}", "unknown key \"ns\""},
        {"{\"do\":\"status\",\"when\":\"after\"}", "does not go with status"},
        {"{\"do\":\"reset\",\"when\":\"later\"}", "\"later\""},
        {"{\"do\":\"status\",\"status\":200}", "400 to 599"},
        {"{\"do\":\"kill\"}", "pid_file"},
        {"{\"do\":\"late\"}", "late needs \"pid_file\""},
        {"{\"do\":\"late\",\"pid_file\":\"x\",\"when\":\"after\"}", "does not go with late"},
        {"{\"do\":\"barrier\",\"parties\":1}", "2 or more"},
        {"{\"do\":\"reset\",\"match\":\"/v3\"}", "method and a path"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_(err_clear) Err err = {0};
        write_rules(f, rows[i].text);
        Faults *faults;
        assert_int_equal(faults_open(f->path, &faults, &err), -ERR_CONFIG);
        if (!strstr(err.text, rows[i].words))
            fail_msg("%s: %s", rows[i].text, err.text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_which, setup, teardown),
        cmocka_unit_test_setup_teardown(test_details, setup, teardown),
        cmocka_unit_test_setup_teardown(test_barrier, setup, teardown),
        cmocka_unit_test_setup_teardown(test_chance, setup, teardown),
        cmocka_unit_test_setup_teardown(test_changes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad_rules, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
