#include "pocket/fault.h"
#include "base/json.h"
#include "base/vec.h"
#include "io/file.h"
#include <errno.h>
#include <fnmatch.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>

#define BARRIER_WAIT (10 * SECOND)
#define BARRIER_LOOK ((Msec)100) /* how soon a waiting request sees that pocket stops */

typedef struct Rule {
    int64_t n, every; /* 0: not given */
    double chance;    /* < 0: not given */
    uint64_t state;   /* of its random numbers */
    int64_t times;    /* what is left; -1: without limit */
    char *service, *method, *path;
    Fault fault;
    int64_t seen;
} Rule;

typedef struct Barrier {
    char *name;
    int waiting;
    uint64_t round; /* how often it opened */
} Barrier;

struct Faults {
    char *path;
    pthread_mutex_t lock;
    pthread_cond_t opened;
    VEC(Barrier) barriers;
    struct timespec mtime;
    ino_t inode;
    off_t size;
    VEC(Rule) rules;
};

static const struct {
    const char *word;
    FaultKind kind;
    bool may_be_after;
} words[] = {
    {"delay", FAULT_DELAY, true}, {"status", FAULT_STATUS, false},
    {"reset", FAULT_RESET, true}, {"truncate", FAULT_TRUNCATE, true},
    {"kill", FAULT_KILL, true},   {"stop", FAULT_STOP, true},
    {"late", FAULT_LATE, false},  {"barrier", FAULT_BARRIER, false},
};

const char *fault_word(FaultKind k)
{
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (words[i].kind == k)
            return words[i].word;
    return NULL;
}

void fault_clear(Fault *f)
{
    free(f->message);
    free(f->pid_file);
    free(f->name);
    *f = (Fault){0};
}

static void rule_clear(Rule *r)
{
    free(r->service);
    free(r->method);
    free(r->path);
    fault_clear(&r->fault);
}

static void rules_clear(Faults *f)
{
    for (size_t i = 0; i < f->rules.len; i++)
        rule_clear(&f->rules.items[i]);
    vec_clear(&f->rules);
}

static char *text_of(const json_t *j, const char *key)
{
    const char *s = json_str(j, key);
    return s ? xstrdup(s) : NULL;
}

static int read_action(const json_t *j, Fault *f, Err *err)
{
    const char *word = json_str(j, "do");
    bool may_be_after = false;
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (streq(word, words[i].word)) {
            f->kind = words[i].kind;
            may_be_after = words[i].may_be_after;
        }
    if (f->kind == FAULT_NONE)
        return err_set(err, ERR_CONFIG,
                       "\"do\" must be delay, status, reset, truncate, kill, stop, late or "
                       "barrier");
    const char *when = json_str_or(j, "when", f->kind == FAULT_TRUNCATE ? "after" : "before");
    f->after = streq(when, "after");
    if ((!f->after && !streq(when, "before")) || (f->after && !may_be_after))
        return err_set(err, ERR_CONFIG, "\"when\":\"%s\" does not go with %s", when, word);
    f->delay_ms = json_int(j, "ms", f->kind == FAULT_BARRIER ? BARRIER_WAIT : 0);
    f->parties = (int)json_int(j, "parties", 2);
    f->status = (int)json_int(j, "status", 503);
    f->retry_after_s = (int)json_int(j, "retry_after", -1);
    f->bytes = json_int(j, "bytes", -1);
    if (f->status < 400 || f->status > 599)
        return err_set(err, ERR_CONFIG, "\"status\" must be 400 to 599");
    if ((f->kind == FAULT_KILL || f->kind == FAULT_LATE) && !json_str(j, "pid_file"))
        return err_set(err, ERR_CONFIG, "%s needs \"pid_file\"", word);
    if (f->parties < 2)
        return err_set(err, ERR_CONFIG, "\"parties\" must be 2 or more");
    f->message = text_of(j, "message");
    f->pid_file = text_of(j, "pid_file");
    f->name = text_of(j, "name");
    return 0;
}

static int read_rule(const json_t *j, Rule *r, Err *err)
{
    static const char *const keys[] = {"n",       "every",   "chance", "seed",     "service",
                                       "match",   "do",      "ms",     "status",   "retry_after",
                                       "message", "when",    "bytes",  "pid_file", "times",
                                       "name",    "parties", NULL};
    const char *key;
    json_t *value;
    json_object_foreach ((json_t *)(uintptr_t)j, key, value) {
        size_t i = 0;
        while (keys[i] && !streq(keys[i], key))
            i++;
        if (!keys[i])
            return err_set(err, ERR_CONFIG, "unknown key \"%s\"", key);
    }
    if (read_action(j, &r->fault, err) < 0)
        return -(int)err->kind;
    const json_t *chance = json_at(j, "chance");
    r->n = json_int(j, "n", 0);
    r->every = json_int(j, "every", 0);
    r->chance = json_is_number(chance) ? json_number_value(chance) : -1;
    r->state = (uint64_t)json_int(j, "seed", 1);
    r->times = json_int(j, "times", -1);
    r->service = text_of(j, "service");
    const char *match = json_str(j, "match");
    if (!match)
        return 0;
    const char *space = strchr(match, ' ');
    if (!space)
        return err_set(err, ERR_CONFIG, "\"match\" must be a method and a path");
    r->method = xstrndup(match, (size_t)(space - match));
    r->path = xstrdup(space + 1);
    return 0;
}

static int read_line(Faults *f, Str line, Err *err)
{
    line = str_trim(line);
    if (line.n == 0)
        return 0;
    _cleanup_json_ json_t *j = json_parse_new(line.p, line.n, err);
    if (!j)
        return -ERR_CONFIG;
    if (!json_is_object(j))
        return err_set(err, ERR_CONFIG, "not an object");
    Rule r = {0};
    int e = read_rule(j, &r, err);
    if (e < 0) {
        rule_clear(&r);
        return e;
    }
    vec_push(&f->rules, r);
    return 0;
}

/* Reads all lines; the first bad one gives the error, the good ones are kept. */
static int read_rules(Faults *f, Err *err)
{
    rules_clear(f);
    _cleanup_(buf_clear) Buf text = BUF_INIT(BUF_MAX_BODY);
    int r = file_read(f->path, &text, err);
    if (r == -ERR_NOT_FOUND) {
        err_clear(err);
        return 0;
    }
    if (r < 0)
        return r;
    Str rest = buf_as_str(&text), line;
    int first = 0;
    for (int n = 1; str_next(&rest, '\n', &line); n++) {
        _cleanup_(err_clear) Err e = {0};
        if (read_line(f, line, &e) < 0 && first == 0)
            first = err_set(err, ERR_CONFIG, "%s:%d: %s", f->path, n, e.text);
    }
    return first;
}

/* True when the file is another one than the one that was read. */
static bool changed(Faults *f)
{
    struct stat st;
    if (stat(f->path, &st) < 0)
        st = (struct stat){0};
    bool same = st.st_ino == f->inode && st.st_size == f->size &&
                st.st_mtim.tv_sec == f->mtime.tv_sec && st.st_mtim.tv_nsec == f->mtime.tv_nsec;
    f->inode = st.st_ino;
    f->size = st.st_size;
    f->mtime = st.st_mtim;
    return !same;
}

int faults_open(const char *path, Faults **ret, Err *err)
{
    Faults *f = NEW(Faults);
    f->path = xstrdup(path);
    pthread_mutex_init(&f->lock, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&f->opened, &monotonic);
    pthread_condattr_destroy(&monotonic);
    (void)changed(f);
    _cleanup_(err_clear) Err e = {0};
    if (read_rules(f, &e) < 0) {
        (void)faults_close(f);
        return err_move(err, &e);
    }
    *ret = f;
    return 0;
}

Faults *faults_close(Faults *f)
{
    if (!f)
        return NULL;
    rules_clear(f);
    free(f->path);
    for (size_t i = 0; i < f->barriers.len; i++)
        free(f->barriers.items[i].name);
    vec_clear(&f->barriers);
    pthread_cond_destroy(&f->opened);
    pthread_mutex_destroy(&f->lock);
    free(f);
    return NULL;
}

/* splitmix64: a rule with a seed does the same in every run. */
static double next_random(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (double)((z ^ (z >> 31)) >> 11) / 9007199254740992.0;
}

static bool fits(const Rule *r, const char *service, const char *method, const char *path)
{
    if (r->service && !streq(r->service, service))
        return false;
    if (!r->method)
        return true;
    if (!streq(r->method, "*") && !streq(r->method, method))
        return false;
    return strchr(r->path, '*') ? fnmatch(r->path, path, 0) == 0 : starts_with(path, r->path);
}

static bool hits(Rule *r)
{
    r->seen++;
    bool hit = true;
    if (r->n > 0)
        hit = r->seen == r->n;
    else if (r->every > 0)
        hit = r->seen % r->every == 0;
    else if (r->chance >= 0)
        hit = next_random(&r->state) < r->chance;
    return hit && r->times != 0;
}

void faults_next(Faults *f, const char *service, const char *method, const char *path, Fault *ret)
{
    *ret = (Fault){0};
    if (!f)
        return;
    pthread_mutex_lock(&f->lock);
    if (changed(f)) {
        _cleanup_(err_clear) Err e = {0};
        if (read_rules(f, &e) < 0)
            fprintf(stderr, "pocket: faults: %s\n", e.text);
    }
    Rule *winner = NULL;
    for (size_t i = 0; i < f->rules.len; i++) {
        Rule *r = &f->rules.items[i];
        if (fits(r, service, method, path) && hits(r) && !winner)
            winner = r;
    }
    if (winner) {
        if (winner->times > 0)
            winner->times--;
        *ret = winner->fault;
        ret->message = ret->message ? xstrdup(ret->message) : NULL;
        ret->pid_file = ret->pid_file ? xstrdup(ret->pid_file) : NULL;
        ret->name = ret->name ? xstrdup(ret->name) : NULL;
    }
    pthread_mutex_unlock(&f->lock);
}

/* The barrier of that name, made if it is not there; its place stays, the pointer may not. */
static size_t barrier_at(Faults *f, const char *name)
{
    for (size_t i = 0; i < f->barriers.len; i++)
        if (streq(f->barriers.items[i].name, name))
            return i;
    vec_push(&f->barriers, (Barrier){.name = xstrdup(name)});
    return f->barriers.len - 1;
}

static void wait_a_bit(Faults *f, Msec until)
{
    Msec end = MIN(until, time_mono() + BARRIER_LOOK);
    struct timespec at = {.tv_sec = end / SECOND, .tv_nsec = (end % SECOND) * 1000000};
    (void)pthread_cond_timedwait(&f->opened, &f->lock, &at);
}

bool faults_meet(Faults *f, const Fault *fault, const volatile bool *stopping)
{
    Msec until = time_mono() + fault->delay_ms;
    pthread_mutex_lock(&f->lock);
    size_t at = barrier_at(f, fault->name ? fault->name : "");
    uint64_t round = f->barriers.items[at].round;
    if (++f->barriers.items[at].waiting >= fault->parties) {
        f->barriers.items[at].waiting = 0;
        f->barriers.items[at].round++;
        pthread_cond_broadcast(&f->opened);
    }
    while (f->barriers.items[at].round == round && time_mono() < until && !*stopping)
        wait_a_bit(f, until);
    bool opened = f->barriers.items[at].round != round;
    if (!opened)
        f->barriers.items[at].waiting--;
    pthread_mutex_unlock(&f->lock);
    return opened;
}
