#include "host/release.h"
#include "host/mail.h"

#define RELEASE_TYPE "application/vnd.atoll.release"
#define FOLDER "release/"
#define GATE_S 180

static const char *const phases[RELEASE_PHASES] = {
    [RELEASE_DONE] = "done", [RELEASE_FETCH] = "fetch", [RELEASE_PRE] = "pre",
    [RELEASE_ROLL] = "roll", [RELEASE_HELD] = "held",   [RELEASE_POST] = "post",
    [RELEASE_BACK] = "back"};

static const char *const prepares[PREPARES] = {[PREPARE_INSTALL] = "install",
                                               [PREPARE_PRE] = "pre",
                                               [PREPARE_POST] = "post",
                                               [PREPARE_NONE] = "none"};

const char *release_phase_word(ReleasePhase p)
{
    return phases[p];
}

static bool word_of(Str s, const char *const *words, size_t n, int *ret)
{
    for (size_t i = 0; i < n; i++) {
        if (str_eq(s, str_of(words[i]))) {
            *ret = (int)i;
            return true;
        }
    }
    return false;
}

/* "kind,version,ref" */
static json_t *parse_release_new(Str s)
{
    Str kind, version;

    if (!str_next(&s, ',', &kind) || !str_next(&s, ',', &version) || !kind.n || !version.n)
        return NULL;
    return json_make_new("{s:o, s:o, s:o}", "kind", json_stringn(kind.p, kind.n), "version",
                         json_stringn(version.p, version.n), "ref",
                         json_stringn(s.p ? s.p : "", s.n));
}

static void release_text(const json_t *r, Buf *b)
{
    /* In quotes: in a listing Swift cuts a bare value at the first ',' '/' ':' or '@'. */
    buf_printf(b, "\"%s,%s,%s\"", json_str_or(r, "kind", ""), json_str_or(r, "version", ""),
               json_str_or(r, "ref", ""));
}

static int number_of(Str s, int otherwise)
{
    _cleanup_free_ char *text = xstrndup(s.p ? s.p : "", s.n);
    int64_t n;

    return parse_int(text, 0, INT32_MAX, &n) ? (int)n : otherwise;
}

/* "web.0+web.1" */
static void read_keys(Str s, StrList *ret)
{
    Str key;

    while (str_next(&s, '+', &key))
        if (key.n)
            strlist_addf(ret, "%.*s", (int)key.n, key.p);
}

static void write_keys(const char *name, const StrList *keys, Buf *b)
{
    for (size_t i = 0; i < keys->len; i++)
        i ? buf_printf(b, "+%s", keys->items[i]) : buf_printf(b, "; %s=%s", name, keys->items[i]);
}

/* 64 hex digits, or NULL. */
static char *read_hash_new(Str s)
{
    return s.n == 64 && strspn(s.p, "0123456789abcdef") >= 64 ? xstrndup(s.p, s.n) : NULL;
}

/* False for what is none of ours, or was written by a later version in words not known here: the
 * one before it counts then, and no step is taken twice, for its number is taken. */
static bool read_one(const char *type, ReleaseRecord *ret)
{
    int phase = 0, prepare = 0;

    ReleaseRecord r = {.now = parse_release_new(mail_param(type, RELEASE_TYPE, "now")),
                       .to = parse_release_new(mail_param(type, RELEASE_TYPE, "to")),
                       .attempt = number_of(mail_param(type, RELEASE_TYPE, "try"), 1),
                       .gate_s = number_of(mail_param(type, RELEASE_TYPE, "gate"), GATE_S),
                       .maintenance = number_of(mail_param(type, RELEASE_TYPE, "maintenance"), 0),
                       .owner = number_of(mail_param(type, RELEASE_TYPE, "owner"), 0)};
    if (!r.now || !r.to ||
        !word_of(mail_param(type, RELEASE_TYPE, "phase"), phases, RELEASE_PHASES, &phase) ||
        !word_of(mail_param(type, RELEASE_TYPE, "prepare"), prepares, PREPARES, &prepare)) {
        release_clear(&r);
        return false;
    }
    r.phase = (ReleasePhase)phase;
    r.prepare = (ReleasePrepare)prepare;
    read_keys(mail_param(type, RELEASE_TYPE, "told"), &r.told);
    r.atoll = read_hash_new(mail_param(type, RELEASE_TYPE, "atoll"));
    r.atoll_to = read_hash_new(mail_param(type, RELEASE_TYPE, "atoll-to"));
    read_keys(mail_param(type, RELEASE_TYPE, "atoll-told"), &r.atoll_told);
    *ret = r;
    return true;
}

/* 0 for an object that is no record. */
static int64_t object_number(const json_t *object)
{
    const char *name = json_str_or(object, "name", "");
    int64_t number;

    return starts_with(name, FOLDER) && mail_number(str_of(name + strlen(FOLDER)), &number) ? number
                                                                                            : 0;
}

/* The newest below `limit` that read_one takes, with that number; false if there is none. */
static bool read_below(const json_t *mail, int64_t limit, ReleaseRecord *ret)
{
    ReleaseRecord best = {0};

    /* A listing is sorted, so from its end on hardly more than one is read. */
    for (size_t i = json_array_size(mail); i-- > 0;) {
        const json_t *object = json_array_get(mail, i);
        int64_t number = object_number(object);
        ReleaseRecord r;

        if (number <= best.number || number >= limit ||
            !read_one(json_str(object, "content_type"), &r))
            continue;
        release_clear(&best);
        best = r;
        best.number = number;
    }
    *ret = best;
    return best.number > 0;
}

bool release_read(const json_t *mail, const json_t *file_release, ReleaseRecord *ret)
{
    if (read_below(mail, INT64_MAX, ret))
        return true;
    ret->now = json_deep_copy(file_release);
    ret->to = json_deep_copy(file_release);
    ret->attempt = 1;
    ret->gate_s = GATE_S;
    return false;
}

int64_t release_unknown(const json_t *mail)
{
    int64_t known = release_newest(mail), newest = 0;
    const json_t *object;
    size_t i;

    json_array_foreach (mail, i, object) {
        newest = MAX(newest, object_number(object));
    }
    return newest > known ? newest : 0;
}

int64_t release_newest(const json_t *mail)
{
    _cleanup_(release_clear) ReleaseRecord r = {0};

    (void)release_read(mail, NULL, &r); /* its number says whether there is one */
    return r.number;
}

json_t *release_before_new(const json_t *mail, const ReleaseRecord *r)
{
    _cleanup_(release_clear) ReleaseRecord old = {.number = r->number};

    for (int64_t limit = r->number; limit > 0; limit = old.number) {
        release_clear(&old);
        if (read_below(mail, limit, &old) && !release_same(old.now, r->now))
            return json_incref(old.now);
    }
    return NULL;
}

void release_copy(ReleaseRecord *to, const ReleaseRecord *from)
{
    ReleaseRecord r = *from;

    r.now = json_incref(from->now);
    r.to = json_incref(from->to);
    r.told = r.atoll_told = (StrList){0};
    r.atoll = from->atoll ? xstrdup(from->atoll) : NULL;
    r.atoll_to = from->atoll_to ? xstrdup(from->atoll_to) : NULL;
    for (size_t i = 0; i < from->told.len; i++)
        strlist_add(&r.told, from->told.items[i]);
    for (size_t i = 0; i < from->atoll_told.len; i++)
        strlist_add(&r.atoll_told, from->atoll_told.items[i]);
    *to = r;
}

void release_next(const ReleaseRecord *r, ReleaseRecord *ret)
{
    release_copy(ret, r);
    ret->number++;
}

void release_clear(ReleaseRecord *r)
{
    json_decref(r->now);
    json_decref(r->to);
    strlist_clear(&r->told);
    strlist_clear(&r->atoll_told);
    free(r->atoll);
    free(r->atoll_to);
    *r = (ReleaseRecord){0};
}

char *release_name(int64_t number)
{
    return xasprintf(FOLDER "%08lld", (long long)number);
}

void release_type(const ReleaseRecord *r, Buf *b)
{
    buf_printf(b, RELEASE_TYPE "; phase=%s; now=", phases[r->phase]);
    release_text(r->now, b);
    buf_str(b, "; to=");
    release_text(r->to, b);
    buf_printf(b, "; prepare=%s; try=%d; gate=%d", prepares[r->prepare], r->attempt, r->gate_s);
    write_keys("told", &r->told, b);
    if (r->maintenance)
        buf_str(b, "; maintenance=1");
    if (r->owner)
        buf_str(b, "; owner=1");
    if (r->atoll)
        buf_printf(b, "; atoll=%s", r->atoll);
    if (r->atoll_to)
        buf_printf(b, "; atoll-to=%s", r->atoll_to);
    write_keys("atoll-told", &r->atoll_told, b);
}

const json_t *release_of_host(const ReleaseRecord *r, const char *key)
{
    bool all_new = r->phase == RELEASE_HELD || r->phase == RELEASE_POST;
    bool by_turns = r->phase == RELEASE_ROLL || r->phase == RELEASE_BACK;

    return all_new || (by_turns && strlist_has(&r->told, key)) ? r->to : r->now;
}

/* Migrations are done with the code that needs them; when nothing changes or all goes back, with
 * what runs. */
static const json_t *prepare_release(const ReleaseRecord *r)
{
    bool now = r->phase == RELEASE_DONE || r->phase == RELEASE_FETCH || r->phase == RELEASE_BACK;

    return now ? r->now : r->to;
}

void release_spec(const ReleaseRecord *r, json_t *spec)
{
    const char *key = json_str_or(spec, "server", "");
    const json_t *runs = release_of_host(r, key);
    const char *atoll = strlist_has(&r->atoll_told, key) ? r->atoll_to : r->atoll;
    bool prepares_it = json_bool(spec, "prepare", false);
    const json_t *roles = json_object_get(spec, "roles");
    bool mastodon = json_list_has(roles, "web") || json_list_has(roles, "worker");

    json_object_del(spec, "prepare");
    json_object_del(spec, "release");
    if (atoll)
        json_object_set_new(spec, "atoll", json_string(atoll));
    if (r->maintenance && json_list_has(roles, "edge"))
        json_object_set_new(spec, "maintenance", json_true());
    if (!mastodon)
        return;
    json_object_set_new(spec, "release", json_deep_copy(runs));
    json_object_set_new(spec, "gate_s", json_integer(r->gate_s));
    if (r->phase != RELEASE_DONE)
        json_object_set_new(spec, "fetch",
                            json_make_new("[O]", release_same(runs, r->to) ? r->now : r->to));
    if (prepares_it && r->prepare != PREPARE_NONE)
        json_object_set_new(spec, "prepare",
                            json_make_new("{s:s, s:O, s:i}", "do", prepares[r->prepare], "release",
                                          prepare_release(r), "attempt", r->attempt));
}

const char *release_words(const json_t *release, char out[static 128])
{
    const char *ref = json_str_or(release, "ref", "");

    snprintf(out, 128, "%.90s %.32s", *ref ? ref : json_str_or(release, "kind", "?"),
             json_str_or(release, "version", "?"));
    return out;
}

bool release_same(const json_t *a, const json_t *b)
{
    return json_equal(a, b);
}
