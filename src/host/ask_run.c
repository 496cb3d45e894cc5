#include "host/ask_run.h"
#include "base/log.h"
#include "host/ask_programs.h"
#include "host/container.h"
#include "host/marked.h"
#include "io/child.h"
#include "io/file.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#define FLUSH_EVERY ((Msec)500)
#define END_GRACE (5 * SECOND)
#define LINGER (1 * SECOND) /* output of those it left behind, after its end */
#define LIVELY (1 * MINUTE)
#define NOTE_MAX ((size_t)16 << 10)

typedef struct Run {
    int64_t number, chunk;
    Ask ask;
    Programs programs;
    int64_t in_said; /* of programs.in_bytes */
    Msec flushed, began, limit_at;
    Msec kill_at, exited; /* 0: not yet */
    const char *ended_why;
} Run;

struct AskRuns {
    AskHost host;
    char *notes, *audit;
    Run *runs[ASK_RUNS];
    Msec asked;    /* 0: never */
    int64_t taken; /* the number of the last */
};

/* --- what is written down --- */

static char *note_path(const AskRuns *a, int64_t number)
{
    return xasprintf("%s/%08lld", a->notes, (long long)number);
}

void ask_runs_note(AskRuns *a, int64_t number, const json_t *ask)
{
    _cleanup_free_ char *path = note_path(a, number);
    _cleanup_json_ json_t *note = json_make_new("{s:s, s:O?}", "id", json_str_or(ask, "id", ""),
                                                "to", json_object_get(ask, "to"));
    _cleanup_free_ char *text = json_text_new(note);

    /* Without it nobody is told that the agent was killed; no reason not to run. */
    if (file_mkdirs(a->notes, 0700, NULL) < 0 || file_write(path, str_of(text), 0600, NULL) < 0)
        log_debug("cannot write %s", path);
}

static void drop_note(const AskRuns *a, int64_t number)
{
    _cleanup_free_ char *path = note_path(a, number);
    (void)unlink(path);
}

static void audit(const AskRuns *a, const Run *r, const char *what)
{
    _cleanup_free_ char *words = ask_words(&r->ask), *by = xstrdup(r->ask.by);
    char when[TIME_TEXT_MAX];

    for (char *p = by; *p; p++)
        if (*p <= ' ' || *p >= 0x7f)
            *p = '?';
    _cleanup_free_ char *line =
        xasprintf("ask %lld of %.100s: %s: %s", (long long)r->number, by, words, what);
    log_info("%s", line);
    int fd = open(a->audit, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0 || dprintf(fd, "%s %s\n", time_format(time_now(), false, when), line) < 0)
        log_warn("cannot write to %s: %s", a->audit, strerror(errno));
    if (fd >= 0)
        close(fd);
}

/* --- chunks --- */

static ChunkPlace place(const AskRuns *a, int64_t number, int64_t chunk)
{
    return (ChunkPlace){a->host.server, a->host.nonce, number, chunk};
}

/* False if there is no room for it now. */
static bool put(const AskRuns *a, const Chunk *c, const ChunkPlace *p, const StrList *to)
{
    _cleanup_(buf_clear) Buf text = BUF_INIT(ANSWER_SEALED_MAX);
    _cleanup_(err_clear) Err err = {0};
    _cleanup_free_ char *name = chunk_name(p);

    if (mailbox_room(a->host.mail) == 0)
        return false;
    if (chunk_seal(c, p, to, &text, &err) < 0) {
        log_err(&err); /* a recipient's key that is none: nobody could read it */
        return true;
    }
    return mailbox_put_kept(a->host.mail, name, text.p, ANSWER_LIFE / SECOND);
}

static bool flush(const AskRuns *a, Run *r, Msec now)
{
    ChunkPlace p = place(a, r->number, r->chunk);

    chunk_say(&r->programs.out, "input", json_integer(r->programs.in_bytes));
    chunk_say(&r->programs.out, "taken", json_integer(a->taken));
    if (!put(a, &r->programs.out, &p, &r->ask.to))
        return false;
    chunk_clear(&r->programs.out);
    r->chunk++;
    r->flushed = now;
    r->in_said = r->programs.in_bytes;
    return true;
}

/* --- beginning --- */

static void run_free(Run *r)
{
    programs_clear(&r->programs);
    ask_clear(&r->ask);
    free(r);
}

static int begin_exec(const AskRuns *a, Run *r, const AskInput *in, Err *err)
{
    Service s = {0};
    HostPaths paths = *a->host.paths;

    paths.address = json_str_or(in->spec, "address", "");
    paths.data = "/srv/atoll";
    int e = role_command(in->spec, in->secrets, &paths, r->ask.what, &r->ask.argv, &s, err);
    const char *user = paths.as_root ? s.user : NULL;
    _cleanup_free_ char *mark = xasprintf(MARKED_NAME "=%s", r->ask.id);
    if (e == 0)
        e = service_prepare(&s, user, err);
    if (e == 0 && s.image) {
        _cleanup_free_ char *env_file = xasprintf("/run/atoll/%s.env", s.name);
        user = NULL; /* podman's; its container has one of its own */
        e = container_command(&s, env_file, mark, err);
    } else {
        strlist_add(&s.env, mark);
    }
    if (e == 0)
        e = programs_exec(&r->programs, &s, user, r->ask.input, err);
    if (e == 0 && s.image)
        chunk_say(&r->programs.out, "begun",
                  json_make_new("{s:s, s:s}", "user", CONTAINER_USER, "folder", CONTAINER_FOLDER));
    else if (e == 0)
        chunk_say(&r->programs.out, "begun",
                  json_make_new("{s:s, s:s}", "user", user ? user : "", "folder", s.cwd));
    service_clear(&s);
    return e;
}

/* Adds the log of one service as a program that shows it. */
static int add_log(const AskRuns *a, Run *r, const char *service, Err *err)
{
    _cleanup_(strlist_clear) StrList argv = {0};

    if (streq(a->host.driver, "systemd")) {
        strlist_add(&argv, "journalctl");
        strlist_addf(&argv, "--unit=atoll-%s.service", service);
        strlist_add(&argv, "--output=short-iso");
        strlist_add(&argv, "--no-pager");
        strlist_add(&argv, "--quiet");
        strlist_addf(&argv, "--lines=%lld", (long long)r->ask.lines);
        if (r->ask.follow)
            strlist_add(&argv, "--follow");
    } else {
        strlist_add(&argv, "tail");
        strlist_addf(&argv, "--lines=%lld", (long long)r->ask.lines);
        if (r->ask.follow)
            strlist_add(&argv, "--follow=name");
        if (r->ask.follow)
            strlist_add(&argv, "--retry");
        strlist_addf(&argv, "%s/var/log/atoll/%s.log", a->host.paths->root, service);
    }
    return programs_log(&r->programs, service, &argv, err);
}

static int begin_logs(const AskRuns *a, Run *r, const AskInput *in, Err *err)
{
    _cleanup_(services_clear) Services all = {0};
    HostPaths paths = *a->host.paths;

    paths.address = json_str_or(in->spec, "address", "");
    paths.data = "/srv/atoll";
    int e = role_services(in->spec, in->secrets, &paths, &all, err);
    if (e < 0)
        return e;
    json_t *names = json_array();
    for (size_t i = 0; e == 0 && i < all.len && r->programs.n_sources < PROGRAM_STREAMS; i++) {
        if (!ask_means(r->ask.what, all.items[i].name))
            continue;
        e = add_log(a, r, all.items[i].name, err);
        json_array_append_new(names, json_string(all.items[i].name));
    }
    chunk_say(&r->programs.out, "begun", json_make_new("{s:o}", "services", names));
    if (e == 0 && r->programs.n_sources == 0)
        return err_set(err, ERR_NOT_FOUND, "this server runs no service %s", r->ask.what);
    return e;
}

static int begin(const AskRuns *a, Run *r, const AskInput *in, Err *err)
{
    if (in->refuse)
        return err_set(err, ERR_CONFLICT, "%s", in->refuse);
    if (in->clock > r->ask.until) {
        char span[TIME_TEXT_MAX];
        return err_set(err, ERR_CONFLICT,
                       "it came %s too late, by this server's clock, and was not begun",
                       time_span(in->clock - r->ask.until, span));
    }
    if (!in->spec)
        return err_set(err, ERR_CONFLICT, "this server has no settings yet");
    if (json_bool(in->spec, "stop", false))
        return err_set(err, ERR_CONFLICT, "this server has been told to stop");
    return r->ask.verb == ASK_EXEC ? begin_exec(a, r, in, err) : begin_logs(a, r, in, err);
}

/* --- ending --- */

static void stop_run(Run *r, const char *why, Msec now)
{
    if (r->kill_at || r->exited)
        return;
    r->ended_why = why;
    r->kill_at = now + END_GRACE;
    programs_signal(&r->programs, SIGTERM);
}

static json_t *end_words_new(const Run *r, const char *refused)
{
    json_t *end = json_object();

    if (refused)
        json_object_set_new(end, "refused", json_string(refused));
    else if (WIFSIGNALED(r->programs.status))
        json_object_set_new(end, "signal", json_integer(WTERMSIG(r->programs.status)));
    else
        json_object_set_new(end, "exit", json_integer(WEXITSTATUS(r->programs.status)));
    if (r->ended_why)
        json_object_set_new(end, "why", json_string(r->ended_why));
    if (r->programs.cut)
        json_object_set_new(end, "cut", json_integer(ASK_OUTPUT_MAX));
    return end;
}

static void note_end(const AskRuns *a, const Run *r, Msec now)
{
    char status[64], span[TIME_TEXT_MAX];
    _cleanup_free_ char *words =
        xasprintf("%s after %s%s%s", child_status_text(r->programs.status, status),
                  time_span(now - r->began, span), r->ended_why ? ", " : "",
                  r->ended_why ? r->ended_why : "");
    audit(a, r, words);
}

/* As many full chunks as the mailbox takes. True if all that there is was read. */
static bool send_output(const AskRuns *a, Run *r, Msec now)
{
    for (size_t i = 0; i < MAILBOX_KEPT && mailbox_room(a->host.mail) > 0; i++) {
        if (!programs_read(&r->programs))
            return true;
        if (r->programs.out.bytes.len >= ANSWER_CHUNK_BYTES && !flush(a, r, now))
            return false;
    }
    return false;
}

/* True when the whole answer is on its way. */
static bool run_tick(const AskRuns *a, Run *r, Msec now)
{
    if (now >= r->limit_at)
        stop_run(r, "ended at its limit", now);
    if (r->chunk >= ANSWER_LOST - 2)
        stop_run(r, "its answer became too long", now);
    if (r->kill_at && now >= r->kill_at && !r->exited) {
        programs_signal(&r->programs, SIGKILL);
        r->kill_at = now + END_GRACE;
    }
    programs_pass_input(&r->programs);
    if (!r->exited && programs_reap(&r->programs)) {
        r->exited = now;
        note_end(a, r, now);
    }
    bool whole = send_output(a, r, now);
    if (whole && r->exited && (!programs_open(&r->programs) || now - r->exited >= LINGER)) {
        chunk_say(&r->programs.out, "end", end_words_new(r, NULL));
        if (flush(a, r, now))
            return true;
        json_object_del(r->programs.out.head, "end"); /* more may come before there is room */
        return false;
    }
    bool news = r->programs.out.bytes.len > 0 || r->programs.in_bytes > r->in_said;
    if (now - r->flushed >= (news ? FLUSH_EVERY : ANSWER_BEAT))
        (void)flush(a, r, now);
    return false;
}

/* --- the set of them --- */

static void refuse(AskRuns *a, const AskInput *in, const Run *r, const Err *why)
{
    _cleanup_(chunk_clear) Chunk c = {0};
    ChunkPlace p = place(a, in->number, 0);
    _cleanup_free_ char *words = xasprintf("refused: %s", why->text);

    audit(a, r, words);
    chunk_say(&c, "end", end_words_new(r, why->text));
    /* Without room the asker hears nothing, and says that. */
    if (!put(a, &c, &p, &r->ask.to))
        log_warn("ask %lld: no room for its answer", (long long)in->number);
}

static void take_input(Run *r, const Ask *more, Msec now)
{
    if (!programs_input(&r->programs, buf_as_str(&more->data), more->eof))
        stop_run(r, "more input came than it takes", now);
}

static Run *find(const AskRuns *a, const char *id)
{
    for (size_t i = 0; i < ASK_RUNS; i++)
        if (a->runs[i] && streq(a->runs[i]->ask.id, id))
            return a->runs[i];
    return NULL;
}

static bool is_about_another(const AskRuns *a, const Ask *ask, Msec now)
{
    Run *r = find(a, ask->id);

    if (r && ask->verb == ASK_CANCEL)
        stop_run(r, "ended by the operator", now);
    if (r && ask->verb == ASK_EXTEND)
        r->limit_at = now + r->ask.limit;
    if (r && ask->verb == ASK_INPUT)
        take_input(r, ask, now);
    return ask->verb != ASK_EXEC && ask->verb != ASK_LOGS;
}

int ask_runs_take(AskRuns *a, const AskInput *in, Err *why)
{
    _cleanup_(err_clear) Err err = {0};
    Run *r = NEW(Run);
    size_t slot = 0;
    a->asked = in->now;
    a->taken = in->number;
    r->programs.in_fd = -1;
    int e = ask_read(in->ask, &r->ask, why);
    r->number = in->number;
    r->began = in->now;
    r->limit_at = in->now + r->ask.limit;
    r->programs.id = r->ask.id;
    r->programs.out_max = r->ask.follow ? 0 : ASK_OUTPUT_MAX;
    if (e < 0 || is_about_another(a, &r->ask, in->now)) {
        drop_note(a, in->number);
        run_free(r);
        return e;
    }
    while (slot < ASK_RUNS && a->runs[slot])
        slot++;
    if (slot == ASK_RUNS)
        e = err_set(&err, ERR_CONFLICT, "%d commands run here already", ASK_RUNS);
    if (e == 0)
        e = begin(a, r, in, &err);
    if (e < 0) {
        programs_signal(&r->programs, SIGKILL); /* some of the logs may have begun */
        refuse(a, in, r, &err);
        drop_note(a, in->number);
        programs_await(&r->programs);
        run_free(r);
        return 0;
    }
    audit(a, r, "begins");
    (void)flush(a, r, in->now);
    r->flushed = in->now - FLUSH_EVERY; /* the first words at once */
    a->runs[slot] = r;
    return 0;
}

void ask_runs_tick(AskRuns *a, Msec now)
{
    for (size_t i = 0; i < ASK_RUNS; i++) {
        Run *r = a->runs[i];
        if (!r || !run_tick(a, r, now))
            continue;
        drop_note(a, r->number);
        run_free(r);
        a->runs[i] = NULL;
    }
}

bool ask_runs_busy(const AskRuns *a)
{
    for (size_t i = 0; i < ASK_RUNS; i++)
        if (a->runs[i])
            return true;
    return false;
}

bool ask_runs_lively(const AskRuns *a, Msec now)
{
    return ask_runs_busy(a) || (a->asked && now - a->asked < LIVELY);
}

/* An agent was killed with it. What it started may live on, but for the program itself. */
static void end_lost(AskRuns *a, const char *name, int64_t last)
{
    _cleanup_free_ char *path = path_join(a->notes, name);
    _cleanup_(buf_clear) Buf text = BUF_INIT(NOTE_MAX);
    _cleanup_(strlist_clear) StrList to = {0};
    _cleanup_(chunk_clear) Chunk c = {0};
    int64_t number;
    size_t i;
    const json_t *key;

    if (!parse_int(name, 1, INT32_MAX, &number) || file_read(path, &text, NULL) < 0)
        return;
    _cleanup_json_ json_t *note = json_parse_new(text.p, text.len, NULL);
    marked_kill(json_str_or(note, "id", ""));
    json_array_foreach (json_object_get(note, "to"), i, key) {
        if (json_is_string(key))
            strlist_add(&to, json_string_value(key));
    }
    /* One that was not taken yet is read again, and run then. */
    if (number <= last && to.len > 0) {
        ChunkPlace p = place(a, number, ANSWER_LOST);
        log_warn("ask %lld: this program was killed while it ran", (long long)number);
        chunk_say(&c, "end", json_make_new("{s:b}", "lost", 1));
        (void)put(a, &c, &p, &to); /* without room nobody has waited for long */
    }
    (void)unlink(path);
}

AskRuns *ask_runs_open(const AskHost *h, int64_t last)
{
    AskRuns *a = NEW(AskRuns);
    _cleanup_(strlist_clear) StrList notes = {0};

    a->host = *h;
    a->notes = path_join(h->folder, "asks");
    a->audit = xasprintf("%s/var/log/atoll/audit.log", h->paths->root);
    _cleanup_free_ char *logs = path_folder(a->audit);
    if (file_mkdirs(logs, 0711, NULL) < 0)
        log_debug("cannot make %s", logs); /* every line that can't be written says so */
    if (file_list(a->notes, &notes, NULL) == 0)
        for (size_t i = 0; i < notes.len; i++)
            end_lost(a, notes.items[i], last);
    return a;
}

AskRuns *ask_runs_close(AskRuns *a)
{
    if (!a)
        return NULL;
    for (size_t i = 0; i < ASK_RUNS; i++) {
        Run *r = a->runs[i];
        if (!r)
            continue;
        programs_signal(&r->programs, SIGKILL);
        r->ended_why = "ended with the host program, which was stopped";
        programs_await(&r->programs);
        note_end(a, r, time_mono());
        (void)programs_read(&r->programs);
        chunk_say(&r->programs.out, "end", end_words_new(r, NULL));
        /* The note stays: whether this goes out before the end is not known. */
        (void)flush(a, r, time_mono());
        run_free(r);
    }
    free(a->notes);
    free(a->audit);
    free(a);
    return NULL;
}
