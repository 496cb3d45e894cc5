/* Commands of an operator's against a mailbox on loopback, with real programs. The monotonic clock
 * is the test's. */
#include "host/ask_run.h"
#include "io/file.h"

#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "mail_store.h"

#define NONCE "00112233aabbccdd"
#define ID "0123456789abcdef"
#define CLOCK (1800000000 * SECOND)
#define DEADLINE_MS (60 * SECOND)
#define TURN ((Msec)50)

typedef struct Place {
    char folder[64], *state_folder;
    Httpd *httpd;
    Mailbox *mail;
    Vault *vault;
    KeyPair reader;
    json_t *spec;
    HostPaths paths;
    AskRuns *runs;
    Msec now;
    int64_t number;
} Place;

static void open_runs(Place *p, int64_t last)
{
    p->runs = ask_runs_open(&(AskHost){.server = "db.0",
                                       .nonce = NONCE,
                                       .folder = p->state_folder,
                                       .paths = &p->paths,
                                       .driver = "child",
                                       .mail = p->mail},
                            last);
}

static int setup(void **state)
{
    Place *p = NEW(Place);
    int fd, port;

    crypt_init();
    signal(SIGPIPE, SIG_IGN); /* as the program has it */
    snprintf(p->folder, sizeof p->folder, "/tmp/atoll-ask.XXXXXX");
    if (!mkdtemp(p->folder) || chmod(p->folder, 0711) < 0)
        return -1;
    assert_int_equal(httpd_listen("127.0.0.1", 0, &fd, &port, NULL), 0);
    assert_int_equal(httpd_start(fd, &store_handler, NULL, &p->httpd, NULL), 0);
    _cleanup_free_ char *in = xasprintf("http://127.0.0.1:%d/in/?s=1", port);
    _cleanup_free_ char *out = xasprintf("http://127.0.0.1:%d/out/?s=1", port);
    p->mail = mailbox_open(in, out, 1);
    p->vault = vault_new();
    vault_generate(p->vault);
    crypt_box_keys(&p->reader);
    p->spec = json_make_new("{s:s, s:s, s:[s]}", "server", "db.0", "address", "127.0.0.1", "roles",
                            "redis");
    p->paths = (HostPaths){.root = p->folder, .canary = p->folder};
    p->state_folder = path_join(p->folder, "var/lib/atoll");
    p->now = 1000000;
    open_runs(p, 0);
    *state = p;
    return 0;
}

static int teardown(void **state)
{
    Place *p = *state;

    store_set_away(false);
    p->runs = ask_runs_close(p->runs);
    (void)mailbox_close(p->mail, 10 * SECOND);
    (void)httpd_stop(p->httpd);
    store_clear();
    (void)vault_free(p->vault);
    keypair_clear(&p->reader);
    json_decref(p->spec);
    free(p->state_folder);
    int r = file_remove_tree(p->folder, NULL);
    free(p);
    return r;
}

/* As the agent takes one; its number. */
static int64_t take(Place *p, const Ask *a)
{
    _cleanup_json_ json_t *j = NULL;
    _cleanup_(err_clear) Err err = {0};
    Ask full = *a;

    full.id = a->id ? a->id : (char *)(uintptr_t)ID;
    full.limit = a->limit ? a->limit : HOUR;
    full.until = a->until ? a->until : CLOCK + MINUTE;
    strlist_add(&full.to, p->reader.public_b64);
    assert_int_equal(ask_write(&full, &j, NULL), 0);
    strlist_clear(&full.to);
    p->number++;
    ask_runs_note(p->runs, p->number, j);
    if (ask_runs_take(p->runs,
                      &(AskInput){.number = p->number,
                                  .ask = j,
                                  .spec = p->spec,
                                  .secrets = p->vault,
                                  .now = p->now,
                                  .clock = CLOCK},
                      &err) < 0)
        fail_msg("%s", err.text);
    return p->number;
}

static int64_t take_script(Place *p, const char *script, Msec limit, bool input)
{
    Ask a = {.verb = ASK_EXEC, .limit = limit, .input = input};

    strlist_add(&a.argv, "sh");
    strlist_add(&a.argv, "-c");
    strlist_add(&a.argv, script);
    int64_t number = take(p, &a);
    strlist_clear(&a.argv);
    return number;
}

static int64_t take_shell(Place *p, const char *script, Msec limit)
{
    return take_script(p, script, limit, false);
}

static void turn(Place *p)
{
    p->now += TURN;
    ask_runs_tick(p->runs, p->now);
    (void)poll(NULL, 0, 5);
}

/* An answer as it comes. */
typedef struct Answer {
    int64_t number, chunk, input, taken;
    Buf out, err;
    json_t *begun, *end;
} Answer;

static Answer answer_to(int64_t number)
{
    return (Answer){.number = number, .out = BUF_INIT(BUF_MAX_BODY), .err = BUF_INIT(BUF_MAX_BODY)};
}

static void answer_clear(Answer *a)
{
    buf_clear(&a->out);
    buf_clear(&a->err);
    json_decref(a->begun);
    json_decref(a->end);
}
DEFINE_CLEAR(Answer, answer_clear)

/* Reads one chunk; false if it has not come. */
static bool read_chunk(Place *p, Answer *a, int64_t chunk)
{
    ChunkPlace place = {"db.0", NONCE, a->number, chunk};
    _cleanup_free_ char *name = chunk_name(&place), *path = xasprintf("/out/%s", name);
    _cleanup_free_ char *life = NULL, *sealed = store_get(path, &life);
    _cleanup_(chunk_clear) Chunk c = {0};
    const char *from;
    Str data;

    if (!sealed)
        return false;
    assert_string_equal(life, "3600");
    assert_int_equal(chunk_open(str_of(sealed), &place, &p->reader, &c, NULL), 0);
    for (size_t i = 0; chunk_part(&c, i, &from, &data); i++)
        buf_add(streq(from, "err") ? &a->err : &a->out, data.p, data.n);
    assert_null(a->end);
    a->input = json_int(c.head, "input", 0);
    a->taken = json_int(c.head, "taken", 0);
    if (json_object_get(c.head, "begun"))
        a->begun = json_incref(json_object_get(c.head, "begun"));
    if (json_object_get(c.head, "end"))
        a->end = json_incref(json_object_get(c.head, "end"));
    return true;
}

static void until_out(Place *p, Answer *a, const char *words)
{
    Msec deadline = time_mono() + DEADLINE_MS;

    while (!strstr(a->out.p, words)) {
        if (time_mono() > deadline)
            fail_msg("'%s' does not come, but '%s'", words, a->out.p);
        turn(p);
        a->chunk += read_chunk(p, a, a->chunk);
    }
}

static void until_end(Place *p, Answer *a)
{
    Msec deadline = time_mono() + DEADLINE_MS;

    while (!a->end) {
        if (time_mono() > deadline)
            fail_msg("the answer does not end");
        turn(p);
        while (!a->end && read_chunk(p, a, a->chunk))
            a->chunk++;
    }
}

static char *note_of(const Place *p, int64_t number)
{
    return xasprintf("%s/asks/%08lld", p->state_folder, (long long)number);
}

static void read_audit(const Place *p, Buf *ret)
{
    _cleanup_free_ char *path = path_join(p->folder, "var/log/atoll/audit.log");
    struct stat st;

    buf_truncate(ret, 0);
    assert_int_equal(file_read(path, ret, NULL), 0);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
}

static void it_answers(void **state)
{
    Place *p = *state;
    _cleanup_(buf_clear) Buf audit = BUF_INIT(BUF_MAX_LINE);
    _cleanup_(answer_clear) Answer a = answer_to(take_shell(
        p, "echo out; echo err >&2; cat; echo \"$REDISCLI_AUTH\" >&2; pwd; exit 3", HOUR));
    _cleanup_free_ char *note = note_of(p, a.number), *home = NULL, *errors = NULL;

    assert_true(file_exists(note));
    until_end(p, &a);
    home = xasprintf("out\n%s/var/lib/atoll-services/exec-redis\n", p->folder);
    errors = xasprintf("err\n%s\n", secret_expose(vault_secret(p->vault, "redis_password")).p);
    assert_string_equal(a.out.p, home);
    assert_string_equal(a.err.p, errors);
    assert_non_null(a.begun);
    assert_int_equal(json_int(a.end, "exit", -1), 3);
    assert_false(file_exists(note));
    assert_false(ask_runs_busy(p->runs));
    assert_true(ask_runs_lively(p->runs, p->now));
    assert_false(ask_runs_lively(p->runs, p->now + 2 * MINUTE));
    read_audit(p, &audit);
    assert_non_null(strstr(audit.p, "ask 1 of : exec: sh: begins\n"));
    assert_non_null(strstr(audit.p, "ask 1 of : exec: sh: exit status 3 after "));
    assert_null(strstr(audit.p, "REDISCLI"));
}

static void what_may_not_begin_is_refused(void **state)
{
    Place *p = *state;
    Ask late = {.verb = ASK_EXEC, .until = CLOCK - 5 * SECOND};
    Ask other = {.verb = ASK_EXEC, .what = (char *)(uintptr_t) "web"};
    Ask none = {.verb = ASK_EXEC};
    Ask nothing = {.verb = ASK_LOGS, .what = (char *)(uintptr_t) "worker.9"};
    struct {
        Ask *ask;
        const char *program, *words;
    } rows[] = {
        {&late, "true", "5 s too late"},
        {&other, "true", "does not have the role web"},
        {&none, "no-such-program", "not found"},
        {&nothing, NULL, "no service worker.9"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (rows[i].program)
            strlist_add(&rows[i].ask->argv, rows[i].program);
        _cleanup_(answer_clear) Answer a = answer_to(take(p, rows[i].ask));
        _cleanup_free_ char *note = note_of(p, a.number);
        strlist_clear(&rows[i].ask->argv);
        until_end(p, &a);
        if (!strstr(json_str_or(a.end, "refused", ""), rows[i].words))
            fail_msg("row %zu: %s", i, json_str_or(a.end, "refused", "(not refused)"));
        assert_false(file_exists(note));
    }
    assert_false(ask_runs_busy(p->runs));
    json_object_set_new(p->spec, "stop", json_true());
    _cleanup_(answer_clear) Answer a = answer_to(take_shell(p, "true", HOUR));
    until_end(p, &a);
    assert_non_null(strstr(json_str_or(a.end, "refused", ""), "told to stop"));
}

static void an_ask_of_a_newer_atoll_has_no_answer(void **state)
{
    Place *p = *state;
    _cleanup_json_ json_t *j = json_make_new("{s:s}", "verb", "dance");
    _cleanup_(err_clear) Err err = {0};
    _cleanup_free_ char *note = note_of(p, 1);

    ask_runs_note(p->runs, 1, j);
    assert_int_equal(ask_runs_take(p->runs,
                                   &(AskInput){.number = 1,
                                               .ask = j,
                                               .spec = p->spec,
                                               .secrets = p->vault,
                                               .now = p->now,
                                               .clock = CLOCK},
                                   &err),
                     -ERR_CORRUPT);
    assert_non_null(strstr(err.text, "dance"));
    assert_false(file_exists(note));
}

/* While the object store is away the command waits, and all of it arrives in the end. */
static void nothing_is_lost_while_the_store_is_away(void **state)
{
    Place *p = *state;
    _cleanup_free_ char *done = path_join(p->folder, "done"),
                        *script = xasprintf("seq 1 800000; : >%s", done);
    _cleanup_(answer_clear) Answer a = answer_to(take_shell(p, script, HOUR));
    Msec deadline = time_mono() + DEADLINE_MS;

    store_set_away(true);
    while (mailbox_room(p->mail) > 0) {
        assert_true(time_mono() < deadline);
        turn(p);
    }
    for (int i = 0; i < 20; i++)
        turn(p);
    assert_false(file_exists(done)); /* 5 MB fit nowhere */
    for (int i = 0; i < 40; i++) {   /* reports go past it, and push out none of it */
        _cleanup_free_ char *name = xasprintf("%08d-healthy", i);
        mailbox_put(p->mail, name, "{}", 60);
    }
    store_set_away(false);
    until_end(p, &a);
    assert_int_equal(json_int(a.end, "exit", -1), 0);
    assert_null(json_object_get(a.end, "cut"));
    Str rest = buf_as_str(&a.out), line;
    for (int i = 1; i <= 800000; i++) {
        char expect[16];
        snprintf(expect, sizeof expect, "%d", i);
        assert_true(str_next(&rest, '\n', &line) && str_eq(line, str_of(expect)));
    }
    assert_int_equal(rest.n, 0);
    /* The newest report came through. */
    _cleanup_free_ char *report = NULL;
    while (!report) {
        assert_true(time_mono() < deadline);
        turn(p);
        report = store_get("/out/00000039-healthy", NULL);
    }
}

static void output_is_cut_and_the_command_goes_on(void **state)
{
    Place *p = *state;
    _cleanup_(answer_clear) Answer a =
        answer_to(take_shell(p, "head -c 20000000 /dev/zero | tr '\\0' x; exit 5", HOUR));

    until_end(p, &a);
    assert_int_equal(a.out.len, ASK_OUTPUT_MAX);
    assert_int_equal(json_int(a.end, "cut", 0), ASK_OUTPUT_MAX);
    assert_int_equal(json_int(a.end, "exit", -1), 5);
}

/* A zombie is its new parent's business: it has no environment any more. */
static void until_gone(Place *p, const char *pid)
{
    _cleanup_free_ char *path = xasprintf("/proc/%.*s/environ", (int)strcspn(pid, "\n"), pid);
    Msec deadline = time_mono() + DEADLINE_MS;

    for (;;) {
        char byte;
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t n = fd < 0 ? 0 : read(fd, &byte, 1);
        if (fd >= 0)
            close(fd);
        if (n <= 0)
            return;
        assert_true(time_mono() < deadline);
        turn(p);
    }
}

static void a_limit_ends_all_of_it(void **state)
{
    Place *p = *state;
    _cleanup_(answer_clear) Answer a = answer_to(
        take_shell(p,
                   "trap '' TERM; setsid sh -c 'trap \"\" TERM; echo $$; while :; do read x; sleep "
                   "9; done' & wait; wait; sleep 1000",
                   10 * SECOND));

    until_out(p, &a, "\n");
    until_end(p, &a);
    assert_int_equal(json_int(a.end, "signal", 0), SIGKILL);
    assert_string_equal(json_str(a.end, "why"), "ended at its limit");
    until_gone(p, a.out.p);
}

static void what_it_leaves_running_is_ended(void **state)
{
    Place *p = *state;
    _cleanup_(answer_clear) Answer a =
        answer_to(take_shell(p, "setsid sleep 1000 & echo $!; exit 0", HOUR));

    until_end(p, &a);
    assert_int_equal(json_int(a.end, "exit", -1), 0);
    until_gone(p, a.out.p);
}

static void it_can_be_ended_and_go_on_for_longer(void **state)
{
    Place *p = *state;
    Ask cancel = {.verb = ASK_CANCEL}, extend = {.verb = ASK_EXTEND};
    Ask stranger = {.verb = ASK_CANCEL, .id = (char *)(uintptr_t) "ffffffffffffffff"};
    _cleanup_(answer_clear) Answer a = answer_to(take_shell(p, "echo x; exec sleep 1000", MINUTE));

    until_out(p, &a, "x\n");
    (void)take(p, &stranger);
    p->now += 50 * SECOND;
    (void)take(p, &extend);
    p->now += 30 * SECOND;
    turn(p);
    assert_true(ask_runs_busy(p->runs));
    (void)take(p, &cancel);
    until_end(p, &a);
    assert_int_equal(json_int(a.end, "signal", 0), SIGTERM);
    assert_string_equal(json_str(a.end, "why"), "ended by the operator");
}

static void send_input(Place *p, const char *words, bool eof)
{
    Ask input = {.verb = ASK_INPUT, .data = BUF_INIT(ASK_INPUT_BYTES), .eof = eof};

    buf_str(&input.data, words);
    (void)take(p, &input);
    buf_clear(&input.data);
}

static void input_is_passed_on(void **state)
{
    Place *p = *state;
    _cleanup_(answer_clear) Answer a =
        answer_to(take_script(p, "while read -r x; do echo \"<$x>\"; done; echo end", HOUR, true));

    send_input(p, "on", false);
    send_input(p, "e\ntwo\n", false);
    until_out(p, &a, "<one>\n<two>\n");
    assert_null(strstr(a.out.p, "end"));
    send_input(p, "three", false);
    send_input(p, "\n", true);
    until_end(p, &a);
    assert_string_equal(a.out.p, "<one>\n<two>\n<three>\nend\n");
    assert_int_equal(a.input, 14);
    assert_int_equal(a.taken, p->number);
}

/* What a program does not read is taken from the operator all the same. */
static void input_that_nobody_reads_goes_nowhere(void **state)
{
    Place *p = *state;
    _cleanup_(answer_clear) Answer a = answer_to(take_script(
        p, "read -r x; exec <&-; echo closed; while :; do sleep 1000; done", HOUR, true));
    Ask cancel = {.verb = ASK_CANCEL};
    Msec deadline = time_mono() + DEADLINE_MS;

    send_input(p, "x\n", false);
    until_out(p, &a, "closed\n");
    for (int i = 0; i < 3; i++)
        send_input(p, "more\n", false);
    while (a.input < 17) {
        assert_true(time_mono() < deadline);
        turn(p);
        a.chunk += read_chunk(p, &a, a.chunk);
    }
    (void)take(p, &cancel);
    until_end(p, &a);
}

/* So that who waits knows that somebody is there. */
static void a_silent_command_is_heard_of(void **state)
{
    Place *p = *state;
    Ask cancel = {.verb = ASK_CANCEL};
    _cleanup_(answer_clear) Answer a = answer_to(take_shell(p, "exec sleep 1000", HOUR));
    Msec deadline = time_mono() + DEADLINE_MS;

    while (a.chunk < 4) {
        assert_true(time_mono() < deadline);
        p->now += ANSWER_BEAT / 2;
        turn(p);
        a.chunk += read_chunk(p, &a, a.chunk);
    }
    assert_int_equal(a.out.len, 0);
    (void)take(p, &cancel);
    until_end(p, &a);
}

static void one_too_many_is_refused(void **state)
{
    Place *p = *state;
    for (int i = 0; i < ASK_RUNS; i++)
        (void)take_shell(p, "exec sleep 1000", HOUR);
    Msec deadline = time_mono() + DEADLINE_MS;
    while (mailbox_room(p->mail) < MAILBOX_KEPT) {
        assert_true(time_mono() < deadline);
        turn(p);
    }
    _cleanup_(answer_clear) Answer a = answer_to(take_shell(p, "true", HOUR));
    until_end(p, &a);
    assert_non_null(strstr(json_str_or(a.end, "refused", ""), "8 commands run here already"));
}

/* What a killed agent leaves is a note. */
static void a_lost_one_is_said(void **state)
{
    Place *p = *state;
    _cleanup_json_ json_t *ask =
        json_make_new("{s:s, s:[s]}", "id", ID, "to", p->reader.public_b64);
    _cleanup_free_ char *taken = note_of(p, 4), *ahead = note_of(p, 5);

    ask_runs_note(p->runs, 4, ask);
    ask_runs_note(p->runs, 5, ask);
    p->runs = ask_runs_close(p->runs);
    open_runs(p, 4);
    _cleanup_(answer_clear) Answer a = answer_to(4), b = answer_to(5);
    Msec deadline = time_mono() + DEADLINE_MS;
    while (!read_chunk(p, &a, ANSWER_LOST)) {
        assert_true(time_mono() < deadline);
        turn(p);
    }
    assert_true(json_bool(a.end, "lost", false));
    assert_false(read_chunk(p, &b, ANSWER_LOST));
    assert_false(file_exists(taken));
    assert_false(file_exists(ahead));
}

static void logs_are_followed(void **state)
{
    Place *p = *state;
    _cleanup_free_ char *path = path_join(p->folder, "var/log/atoll/redis.log");
    Ask logs = {.verb = ASK_LOGS, .lines = 2, .follow = true}, cancel = {.verb = ASK_CANCEL};

    assert_int_equal(file_write(path, STR_LIT("one\ntwo\nthree\n"), 0640, NULL), 0);
    _cleanup_(answer_clear) Answer a = answer_to(take(p, &logs));
    until_out(p, &a, "two\nthree\n");
    assert_null(strstr(a.out.p, "one"));
    int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
    assert_true(fd >= 0 && dprintf(fd, "four\n") > 0);
    close(fd);
    until_out(p, &a, "three\nfour\n");
    (void)take(p, &cancel);
    until_end(p, &a);
    /* Not followed it ends by itself. */
    logs.follow = false;
    _cleanup_(answer_clear) Answer b = answer_to(take(p, &logs));
    until_end(p, &b);
    assert_string_equal(b.out.p, "three\nfour\n");
    assert_int_equal(json_int(b.end, "exit", -1), 0);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(it_answers),
        TEST(what_may_not_begin_is_refused),
        TEST(an_ask_of_a_newer_atoll_has_no_answer),
        TEST(nothing_is_lost_while_the_store_is_away),
        TEST(output_is_cut_and_the_command_goes_on),
        TEST(a_limit_ends_all_of_it),
        TEST(what_it_leaves_running_is_ended),
        TEST(it_can_be_ended_and_go_on_for_longer),
        TEST(input_is_passed_on),
        TEST(input_that_nobody_reads_goes_nowhere),
        TEST(a_silent_command_is_heard_of),
        TEST(one_too_many_is_refused),
        TEST(a_lost_one_is_said),
        TEST(logs_are_followed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
