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

static const char *const swaps[SWAPS] = {
    [SWAP_NONE] = "none", [SWAP_CLOSE] = "close", [SWAP_MOVE] = "move"};

const char *release_swap_word(ReleaseSwap s)
{
    return swaps[s];
}

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

/* So many hex digits, or NULL. */
static char *read_hash_new(Str s, size_t n)
{
    return s.n == n && strspn(s.p, "0123456789abcdef") >= n ? xstrndup(s.p, s.n) : NULL;
}

static void read_swap(const char *type, ReleaseRecord *r)
{
    Str to = mail_param(type, RELEASE_TYPE, "restore-to");

    r->db = MAX(number_of(mail_param(type, RELEASE_TYPE, "db"), 1), 1);
    r->db_before = number_of(mail_param(type, RELEASE_TYPE, "db-before"), 0);
    r->turn = (uint32_t)number_of(mail_param(type, RELEASE_TYPE, "turn"), 0);
    r->restore = read_hash_new(mail_param(type, RELEASE_TYPE, "restore"), 16);
    r->restore_to = to.n ? xstrndup(to.p, to.n) : NULL;
    r->was_closed = number_of(mail_param(type, RELEASE_TYPE, "was-closed"), 0);
}

static void write_swap(const ReleaseRecord *r, Buf *b)
{
    if (r->db > 1)
        buf_printf(b, "; db=%d", r->db);
    if (r->db_before)
        buf_printf(b, "; db-before=%d", r->db_before);
    if (r->swap == SWAP_NONE)
        return;
    buf_printf(b, "; swap=%s", swaps[r->swap]);
    if (r->restore)
        buf_printf(b, "; restore=%s", r->restore);
    if (r->restore_to)
        buf_printf(b, "; restore-to=\"%s\"", r->restore_to);
    if (r->turn)
        buf_printf(b, "; turn=%u", r->turn);
    if (r->was_closed)
        buf_str(b, "; was-closed=1");
}

/* False for what is none of ours, or was written by a later version in words not known here: the
 * one before it counts then, and no step is taken twice, for its number is taken. */
static bool read_one(const char *type, ReleaseRecord *ret)
{
    int phase = 0, prepare = 0, swap = SWAP_NONE;
    Str swap_word = mail_param(type, RELEASE_TYPE, "swap");

    ReleaseRecord r = {.now = parse_release_new(mail_param(type, RELEASE_TYPE, "now")),
                       .to = parse_release_new(mail_param(type, RELEASE_TYPE, "to")),
                       .attempt = number_of(mail_param(type, RELEASE_TYPE, "try"), 1),
                       .gate_s = number_of(mail_param(type, RELEASE_TYPE, "gate"), GATE_S),
                       .maintenance = number_of(mail_param(type, RELEASE_TYPE, "maintenance"), 0),
                       .owner = number_of(mail_param(type, RELEASE_TYPE, "owner"), 0),
                       .index = read_hash_new(mail_param(type, RELEASE_TYPE, "index"), 16),
                       .index_due = number_of(mail_param(type, RELEASE_TYPE, "index-due"), 0)};
    if (!r.now || !r.to ||
        !word_of(mail_param(type, RELEASE_TYPE, "phase"), phases, RELEASE_PHASES, &phase) ||
        !word_of(mail_param(type, RELEASE_TYPE, "prepare"), prepares, PREPARES, &prepare) ||
        (swap_word.n && !word_of(swap_word, swaps, SWAPS, &swap))) {
        release_clear(&r);
        return false;
    }
    r.phase = (ReleasePhase)phase;
    r.prepare = (ReleasePrepare)prepare;
    read_keys(mail_param(type, RELEASE_TYPE, "told"), &r.told);
    r.atoll = read_hash_new(mail_param(type, RELEASE_TYPE, "atoll"), 64);
    r.atoll_to = read_hash_new(mail_param(type, RELEASE_TYPE, "atoll-to"), 64);
    read_keys(mail_param(type, RELEASE_TYPE, "atoll-told"), &r.atoll_told);
    r.swap = (ReleaseSwap)swap;
    read_swap(type, &r);
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
    ret->attempt = ret->db = 1;
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

/* The oldest record that is still needed; 0: all are. */
static int64_t oldest_needed(const json_t *mail)
{
    _cleanup_(release_clear) ReleaseRecord newest = {0}, r = {0};
    int done = 0;
    bool other = false;

    if (!read_below(mail, INT64_MAX, &newest))
        return 0;
    for (int64_t limit = INT64_MAX; done < RELEASE_KEEP || !other; limit = r.number) {
        release_clear(&r);
        if (!read_below(mail, limit, &r))
            return 0;
        done += r.phase == RELEASE_DONE;
        other |= !release_same(r.now, newest.now);
    }
    return r.number;
}

void release_old(const json_t *mail, StrList *ret)
{
    int64_t oldest = oldest_needed(mail);
    const json_t *object;
    size_t i;

    json_array_foreach (mail, i, object) {
        int64_t number = object_number(object);

        if (number > 0 && number < oldest && ret->len < RELEASE_OLD_MAX)
            strlist_add(ret, json_str(object, "name"));
    }
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
    r.index = from->index ? xstrdup(from->index) : NULL;
    r.atoll = from->atoll ? xstrdup(from->atoll) : NULL;
    r.atoll_to = from->atoll_to ? xstrdup(from->atoll_to) : NULL;
    r.restore = from->restore ? xstrdup(from->restore) : NULL;
    r.restore_to = from->restore_to ? xstrdup(from->restore_to) : NULL;
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
    free(r->index);
    free(r->atoll);
    free(r->atoll_to);
    free(r->restore);
    free(r->restore_to);
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
    if (r->index)
        buf_printf(b, "; index=%s", r->index);
    if (r->index_due)
        buf_str(b, "; index-due=1");
    if (r->atoll)
        buf_printf(b, "; atoll=%s", r->atoll);
    if (r->atoll_to)
        buf_printf(b, "; atoll-to=%s", r->atoll_to);
    write_keys("atoll-told", &r->atoll_told, b);
    write_swap(r, b);
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

/* What the database's server does with the volume that it is given. */
static void swap_spec(const ReleaseRecord *r, json_t *spec)
{
    if (r->restore)
        json_object_set_new(spec, "restore",
                            json_make_new("{s:s, s:i}", "id", r->restore, "attempt", r->attempt));
    else if (r->turn)
        json_object_set_new(
            spec, "turn",
            json_make_new("{s:I, s:i}", "after", (json_int_t)r->turn, "attempt", r->attempt));
}

/* Of Mastodon's own streaming server: an image beside the release's since 4.3, in it before
 * (mastodon.md 4.1). A version that says nothing is a new one. */
static json_t *streaming_image_new(const json_t *release)
{
    const char *version = json_str_or(release, "version", ""), *p = version + (*version == 'v');
    char *end;
    long major = strtol(p, &end, 10);
    long minor = end > p && *end == '.' ? strtol(end + 1, NULL, 10) : 0;
    bool old = end > p && (major < 4 || (major == 4 && minor < 3));
    _cleanup_free_ char *ref =
        xasprintf("%s%s", json_str_or(release, "ref", ""), old ? "" : "-streaming");

    return json_make_new("{s:s, s:s, s:s}", "kind", old ? "image" : "streaming", "version", version,
                         "ref", ref);
}

void release_spec(const ReleaseRecord *r, json_t *spec)
{
    const char *key = json_str_or(spec, "server", "");
    const json_t *runs = release_of_host(r, key);
    const char *atoll = strlist_has(&r->atoll_told, key) ? r->atoll_to : r->atoll;
    bool prepares_it = json_bool(spec, "prepare", false);
    const json_t *roles = json_object_get(spec, "roles");
    bool mastodon = json_list_has(roles, "web") || json_list_has(roles, "worker");
    bool node = json_bool(spec, "streams_node", false);

    json_object_del(spec, "prepare");
    json_object_del(spec, "release");
    if (atoll)
        json_object_set_new(spec, "atoll", json_string(atoll));
    if (r->maintenance && json_list_has(roles, "edge"))
        json_object_set_new(spec, "maintenance", json_true());
    if (r->swap == SWAP_MOVE && json_list_has(roles, "postgres"))
        swap_spec(r, spec);
    json_object_del(spec, "streams_node");
    if (node)
        json_object_set_new(spec, "streaming", streaming_image_new(runs));
    if (r->swap != SWAP_NONE && (mastodon || json_list_has(roles, "stream")))
        json_object_set_new(spec, "paused", json_true());
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

static Resource *want_of(ResourceVec *want, ResourceKind kind, const char *key)
{
    for (size_t i = 0; i < want->len; i++)
        if (want->items[i].kind == kind && streq(want->items[i].key, key))
            return &want->items[i];
    return NULL;
}

/* The one with the database, if that is on a volume. */
static Resource *database_host(ResourceVec *want)
{
    for (size_t i = 0; i < want->len; i++) {
        Resource *r = &want->items[i];

        if (r->kind == RESOURCE_HOST && json_str(r->attrs, "volume") &&
            json_list_has(json_object_get(r->attrs, "roles"), "postgres"))
            return r;
    }
    return NULL;
}

int release_found_db(const World *w, const char *server)
{
    int found = 0;

    for (size_t i = 0; i < w->items.len; i++) {
        const Resource *r = &w->items.items[i];

        if (r->kind != RESOURCE_VOLUME || !volume_is_of(r->key, server))
            continue;
        if (found && found != volume_generation(r->key))
            return 0;
        found = volume_generation(r->key);
    }
    return MAX(found, 1);
}

/* With the mail container goes what says which volume counts; a database that is not the newest is
 * not what anybody means. */
static int find_db(const World *w, const Resource *host, const Resource *volume, ReleaseRecord *r,
                   Err *err)
{
    const char *moved = json_str_or(volume->attrs, "moved", "");

    if (read_below(w->mail, INT64_MAX, r))
        return 0;
    r->db = release_found_db(w, host->key);
    if (r->db == 1 && *moved && !world_find(w, RESOURCE_VOLUME, host->key, 0))
        r->db = release_found_db(w, moved);
    if (r->db)
        return 0;
    (void)err_set(err, ERR_AMBIGUOUS,
                  "%s has several volumes, of before and after a restore, and nothing tells any "
                  "more which one is the database's",
                  host->key);
    return err_hint(err, "delete the ones that are not, or rename them, in the cloud; the highest "
                         "number behind -g is the one that was made last");
}

int release_want(const World *w, ResourceVec *want, Err *err)
{
    _cleanup_(release_clear) ReleaseRecord r = {0};
    Resource *host = database_host(want);

    if (!host)
        return 0;
    Resource *server = want_of(want, RESOURCE_SERVER, host->key);
    Resource *volume = want_of(want, RESOURCE_VOLUME, host->key);
    const char *island = json_str_or(host->attrs, "island", ""), *moved;
    int k = server && volume ? find_db(w, host, volume, &r, err) : 0;
    if (k < 0 || !server || !volume)
        return k;
    if (r.swap == SWAP_MOVE)
        json_object_set_new(volume->attrs, "filled", json_true());
    if (r.db <= 1)
        return 0;
    char *key = volume_key_new(host->key, r.db);
    moved = json_str(volume->attrs, "moved");
    if (moved) {
        _cleanup_free_ char *from = volume_key_new(moved, r.db);
        json_object_set_new(volume->attrs, "moved", json_string(from));
    }
    free(volume->key);
    free(volume->name);
    volume->key = key;
    volume->name = resource_name(island, RESOURCE_VOLUME, key, 1);
    json_object_set_new(server->attrs, "volumes", json_make_new("[s]", key));
    json_object_set_new(host->attrs, "volume", json_string(key));
    return 0;
}
