#include "plan/lease_text.h"
#include "io/crypt.h"
#include "io/file.h"
#include <unistd.h>

char *lease_text_new(const char *island, const char *holder, const char *run, Msec until)
{
    _cleanup_free_ char *word = xstrndup(holder, 60);
    char at[TIME_TEXT_MAX];

    /* The parts of the text are told apart by spaces and by their names. */
    for (char *p = word; *p; p++) {
        if (*p <= ' ' || *p == '=' || *p == 0x7f)
            *p = '_';
    }
    return xasprintf("atoll-lease:%s holder=%s run=%s until=%s", island, word, run,
                     time_format(until, false, at));
}

/* The value of " name=" up to the next space; to be freed, or NULL. */
static char *word_of(const char *text, const char *name)
{
    _cleanup_free_ char *key = xasprintf(" %s=", name);
    const char *at = strstr(text, key);

    if (!at)
        return NULL;
    at += strlen(key);
    return xstrndup(at, strcspn(at, " "));
}

static bool read_one(const json_t *group, const char *island, LeaseText *ret)
{
    _cleanup_free_ char *head = xasprintf("atoll-lease:%s ", island);
    const char *text = json_str_or(group, "description", ""), *id = json_str(group, "id");
    const char *created = json_str(group, "created_at");
    _cleanup_free_ char *until = NULL;
    LeaseText l = {0};

    if (!id || !starts_with(text, head))
        return false;
    l.id = xstrdup(id);
    l.holder = word_of(text, "holder");
    l.run = word_of(text, "run");
    until = word_of(text, "until");
    /* One that somebody has spoilt holds nothing: it has expired. */
    if (!until || !l.run || !time_parse(until, &l.until))
        l.until = 0;
    if (!created || !time_parse(created, &l.created_at))
        l.created_at = 0;
    if (!l.holder)
        l.holder = xstrdup("somebody");
    if (!l.run)
        l.run = xstrdup("");
    *ret = l;
    return true;
}

void lease_read(const json_t *groups, const char *island, LeaseTexts *ret)
{
    const json_t *group;
    LeaseText l;
    size_t i;

    json_array_foreach (groups, i, group) {
        if (read_one(group, island, &l))
            vec_push(ret, l);
    }
}

void lease_texts_clear(LeaseTexts *l)
{
    for (size_t i = 0; i < l->len; i++) {
        free(l->items[i].id);
        free(l->items[i].holder);
        free(l->items[i].run);
    }
    vec_clear(l);
}

static void add_file(Buf *b, const char *path)
{
    _cleanup_(buf_clear) Buf text = BUF_INIT(BUF_MAX_LINE);

    if (file_read(path, &text, NULL) == 0)
        buf_str(b, text.p);
    buf_char(b, '\n');
}

/* One word for "where process ids mean what they mean here": the machine, its boot and its process
 * namespace, hashed since a machine id is nobody's business. */
static void machine(char ret[static 17])
{
    _cleanup_(buf_clear) Buf where = BUF_INIT(BUF_MAX_LINE), hex = BUF_INIT(BUF_MAX_LINE);
    char namespace[64] = "";

    add_file(&where, "/etc/machine-id");
    add_file(&where, "/proc/sys/kernel/random/boot_id");
    if (readlink("/proc/self/ns/pid", namespace, sizeof namespace - 1) > 0)
        buf_str(&where, namespace);
    crypt_hash(CRYPT_SHA256, buf_as_str(&where), &hex);
    BUG_IF(hex.len < 16);
    memcpy(ret, hex.p, 16);
    ret[16] = '\0';
}

/* When a process started, in ticks since boot: a pid alone is used again. 0: it is not there. */
static int64_t start_ticks(int64_t pid)
{
    _cleanup_free_ char *path = xasprintf("/proc/%lld/stat", (long long)pid);
    _cleanup_(buf_clear) Buf text = BUF_INIT(BUF_MAX_LINE);
    char *behind_name;
    int64_t ticks = 0;
    Str rest, field;

    if (file_read(path, &text, NULL) < 0 || !(behind_name = strrchr(text.p, ')')))
        return 0;
    /* proc(5): the name in brackets is field 2, the start is field 22. */
    rest = str_of(behind_name + 1);
    for (int at = 2; at <= 22 && str_next(&rest, ' ', &field); at++) {
        _cleanup_free_ char *word = xstrndup(field.p, field.n);

        if (at == 22 && !parse_int(word, 0, INT64_MAX, &ticks))
            return 0;
    }
    return ticks;
}

char *lease_run_new(const char *nonce)
{
    char here[17];
    long long pid = (long long)getpid();

    machine(here);
    return xasprintf("%s:%lld:%lld:%s", here, pid, (long long)start_ticks(pid), nonce);
}

bool lease_run_lives(const char *run)
{
    Str rest = str_of(run), where, pid_text, ticks_text;
    int64_t pid, ticks;
    char here[17];

    if (!str_next(&rest, ':', &where) || !str_next(&rest, ':', &pid_text) ||
        !str_next(&rest, ':', &ticks_text))
        return true;
    machine(here);
    if (!str_eq(where, str_of(here)))
        return true;
    _cleanup_free_ char *p = xstrndup(pid_text.p, pid_text.n);
    _cleanup_free_ char *t = xstrndup(ticks_text.p, ticks_text.n);
    if (!parse_int(p, 1, INT32_MAX, &pid) || !parse_int(t, 0, INT64_MAX, &ticks))
        return true;
    return start_ticks(pid) == ticks;
}

LeaseElection lease_elect(const LeaseTexts *l, const char *id, Msec now,
                          const LeaseText **ret_other)
{
    const LeaseText *own = NULL, *tie = NULL;

    for (size_t i = 0; i < l->len; i++) {
        if (streq(l->items[i].id, id))
            own = &l->items[i];
    }
    for (size_t i = 0; i < l->len; i++) {
        const LeaseText *other = &l->items[i];

        if (other == own || other->until <= now)
            continue;
        if (!own || other->created_at / SECOND < own->created_at / SECOND ||
            (other->created_at / SECOND == own->created_at / SECOND &&
             strcmp(other->id, own->id) < 0)) {
            *ret_other = other;
            return LEASE_LOST;
        }
        if (other->created_at / SECOND == own->created_at / SECOND)
            tie = other;
    }
    if (tie)
        *ret_other = tie;
    return !own ? LEASE_LOST : tie ? LEASE_TIE : LEASE_WON;
}
