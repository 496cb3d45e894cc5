/* Reading notes, one by one or in bundles, by several threads; and making bundles. */
#include "backup/catalogue.h"
#include "backup/pool.h"

#define THREADS 8
#define BOUND 64

/* Notes `first` to `last`: one, or those of a bundle. */
typedef struct NoteJob {
    const StrList *auditors;
    const StoreItems *listing;
    int64_t first, last;
    Notes notes;
    bool keep; /* the texts too */
    Buf text;
    Err err;
} NoteJob;

static int compare_name(const void *key, const void *item)
{
    return strcmp(key, ((const StoreItem *)item)->name);
}

/* The versions of a name in a listing, oldest first; *ret_n 0: none. */
static const StoreItem *versions_of(const StoreItems *l, const char *name, size_t *ret_n)
{
    const StoreItem *item =
        l->len ? bsearch(name, l->items, l->len, sizeof *l->items, compare_name) : NULL;

    *ret_n = 0;
    if (!item)
        return NULL;
    while (item > l->items && streq(item[-1].name, name))
        item--;
    while (item + *ret_n < l->items + l->len && streq(item[*ret_n].name, name))
        (*ret_n)++;
    return item;
}

/* Each note is two lines; they must be `first` to `last`. */
static int parse_all(NoteJob *j, Str text, Notes *ret, Err *err)
{
    for (int64_t number = j->first; number <= j->last; number++) {
        const char *line = memchr(text.p, '\n', text.n);
        const char *end =
            line ? memchr(line + 1, '\n', text.n - (size_t)(line + 1 - text.p)) : NULL;
        size_t n = end && number < j->last ? (size_t)(end + 1 - text.p) : text.n;
        Note note = {0};
        int r = note_parse((Str){text.p, n}, j->auditors, &note, err);
        if (r < 0)
            return r;
        vec_push(ret, note);
        if (note.number != number)
            return err_set(err, ERR_CORRUPT, "it has the number of another one");
        text = (Str){text.p + n, text.n - n};
    }
    return 0;
}

static void notes_clear(Notes *l)
{
    for (size_t i = 0; i < l->len; i++)
        note_clear(&l->items[i]);
    vec_clear(l);
}

/* `item` NULL: plainly by the name, since listings may be late. */
static int read_version(Store *s, NoteJob *j, const char *name, const StoreItem *item, Err *err)
{
    _cleanup_(buf_clear) Buf text = BUF_INIT(j->first < j->last ? OBJECT_MAX : NOTE_MAX);
    Notes notes = {0};
    int r =
        item ? store_get_version(s, item, 0, 0, &text, err) : store_get(s, name, 0, 0, &text, err);

    if (r == 0)
        r = parse_all(j, buf_as_str(&text), &notes, err);
    if (r == 0) {
        for (size_t i = 0; i < notes.len; i++)
            vec_push(&j->notes, notes.items[i]);
        if (j->keep)
            buf_add(&j->text, text.p, text.len);
        vec_clear(&notes);
    }
    notes_clear(&notes);
    return r;
}

static bool is_no_good(int r)
{
    return r == -ERR_CORRUPT || r == -ERR_NOT_FOUND;
}

/* The first version that is right; what somebody wrote over it does not matter. */
static int read_name(Store *s, NoteJob *j, const char *name, Err *err)
{
    size_t n;
    const StoreItem *items = versions_of(j->listing, name, &n);
    int r = -ERR_NOT_FOUND;

    for (size_t i = 0; i < MAX(n, 1) && is_no_good(r); i++) {
        Err own = {0};
        r = read_version(s, j, name, i < n ? &items[i] : NULL, &own);
        if (r == 0)
            err_clear(err);
        else if (!err->kind || !is_no_good(r))
            err_move(err, &own);
        err_clear(&own);
    }
    return r;
}

static int read_one(Store *s, NoteJob *j, Err *err)
{
    _cleanup_free_ char *name = name_note_new(j->first);
    int r = read_name(s, j, name, err);

    if (r == -ERR_NOT_FOUND)
        r = err_set(err, ERR_CORRUPT, "it is missing, and there are later ones");
    return r < 0 ? err_wrap(err, "note %s", name) : 0;
}

/* A bundle that is no good is as if it were not there. */
static void work(void *state, void *job)
{
    NoteJob *j = job;
    int64_t first = j->first, last = j->last;
    int r = -ERR_NOT_FOUND;

    if (first < last) {
        _cleanup_free_ char *name = name_notes_new(first, last);
        r = read_name(state, j, name, &j->err);
        if (r == 0 || !is_no_good(r))
            return;
        err_clear(&j->err);
    }
    for (r = 0; r == 0 && first <= last; first++) {
        j->first = j->last = first;
        r = read_one(state, j, &j->err);
    }
}

static void *begin(void *user)
{
    return store_clone(user);
}

static void end(void *state)
{
    (void)store_free(state);
}

static void drop_job(void *job)
{
    NoteJob *j = job;

    notes_clear(&j->notes);
    buf_clear(&j->text);
    err_clear(&j->err);
    free(j);
}

/* Is there a bundle that begins with this note? */
static bool bundle_at(const StoreItems *l, int64_t first)
{
    _cleanup_free_ char *name = name_notes_new(first, first + NOTES_BUNDLE - 1);
    size_t n;

    (void)versions_of(l, name, &n);
    return first % NOTES_BUNDLE == 1 && n > 0;
}

/* The last of the notes from `first` on that are listed without a gap; first - 1: none is. */
static int64_t last_in_row(const Catalogue *c, const StoreItems *l, int64_t first)
{
    for (;;) {
        _cleanup_free_ char *name = name_note_new(first);
        const Stray *known = catalogue_stray(c, name);
        size_t n;
        (void)versions_of(l, name, &n);
        if (bundle_at(l, first))
            first += NOTES_BUNDLE;
        else if (n > 0 && !(known && known->versions == n))
            first++;
        else
            return first - 1;
    }
}

/* What takes the finished jobs, in order. */
typedef struct Taker {
    int (*take)(void *user, NoteJob *j, Err *err);
    void *user;
} Taker;

static int take_next(Pool *p, const Taker *t, Err *err)
{
    NoteJob *j = pool_take(p, true);
    int r = 0;

    if (!j)
        return 0;
    r = j->err.kind ? err_move(err, &j->err) : t->take(t->user, j, err);
    drop_job(j);
    return r;
}

/* Notes `first` to `last`, by bundles where `what->keep` is not set and there are some. */
static int read_range(Store *s, const NoteJob *what, const Taker *t, Err *err)
{
    int64_t next = what->first, last = what->last;
    Pool *p = pool_new(&(PoolWork){.begin = begin, .work = work, .end = end, .user = s},
                       (size_t)MIN(last - next + 1, (int64_t)THREADS), BOUND);
    int r = 0;

    while (r == 0 && next <= last) {
        bool bundle =
            !what->keep && next + NOTES_BUNDLE - 1 <= last && bundle_at(what->listing, next);
        NoteJob *j = NEW(NoteJob);
        *j = *what;
        j->first = next;
        j->last = bundle ? next + NOTES_BUNDLE - 1 : next;
        j->text = BUF_INIT(NOTE_MAX);
        next = j->last + 1;
        if (pool_full(p))
            r = take_next(p, t, err);
        if (r < 0)
            drop_job(j);
        else
            pool_push(p, j);
    }
    while (r == 0 && pool_count(p) > 0)
        r = take_next(p, t, err);
    pool_free(p, drop_job);
    return r;
}

static int add_notes(void *user, NoteJob *j, Err *err)
{
    Catalogue *c = user;
    int r = 0;

    for (size_t i = 0; r == 0 && i < j->notes.len; i++) {
        int64_t number = j->notes.items[i].number;
        r = catalogue_add(c, &j->notes.items[i], err);
        if (r < 0)
            err_wrap(err, "note catalogue/%010lld", (long long)number);
    }
    return r;
}

/* Is one of these versions a later note that was signed, or the very next one by whomever? An
 * unknown auditor's would be a missing key, which nobody must write over. 1, 0, or an error. */
static int is_note(Store *s, const NoteJob *what, const Catalogue *c, const StoreItem *versions,
                   size_t n, Err *err)
{
    int64_t number = name_parse(versions->name).number, next = (int64_t)c->notes.len + 1;
    const char *prev = c->notes.len ? vec_last(&c->notes)->hash : "";
    int found = number == 1;

    for (size_t i = 0; found == 0 && i < n; i++) {
        _cleanup_(buf_clear) Buf text = BUF_INIT(NOTE_MAX);
        _cleanup_(err_clear) Err own = {0};
        _cleanup_(note_clear) Note note = {0};
        int r = store_get_version(s, &versions[i], 0, 0, &text, &own);
        if (r < 0 && !is_no_good(r))
            return err_move(err, &own);
        if (r == 0 && note_parse(buf_as_str(&text), what->auditors, &note, &own) == 0)
            found = note.number >= next; /* a copy of an earlier one tells nothing */
        else if (r == 0 && number == next)
            found = note_claims(buf_as_str(&text), number, prev);
    }
    return found;
}

static void forget_strays(Strays *l)
{
    for (size_t i = 0; i < l->len; i++)
        free(l->items[i].name);
    vec_clear(l);
}

/* What is listed behind the last note that could be read: *ret_last is the last of them that is a
 * note, 0: none is, and all of them are strays. Those that were strays before are not read again.
 */
static int look_behind(Store *s, const NoteJob *what, Catalogue *c, int64_t *ret_last, Err *err)
{
    const StoreItems *l = what->listing;
    Strays found = {0};
    int r = 0;

    *ret_last = 0;
    for (size_t at = 0, n; r >= 0 && at < l->len; at += n) {
        const StoreItem *item = &l->items[at];
        for (n = 1; at + n < l->len && streq(l->items[at + n].name, item->name);)
            n++;
        Name name = name_parse(item->name);
        if (name.kind != NAME_NOTE || name.number <= (int64_t)c->notes.len)
            continue;
        const Stray *known = catalogue_stray(c, item->name);
        r = known && known->versions == n ? 0 : is_note(s, what, c, item, n, err);
        if (r == 0)
            vec_push(&found, (Stray){xstrdup(item->name), n});
        if (r == 1)
            *ret_last = name.number;
    }
    if (r < 0) {
        forget_strays(&found);
        return r;
    }
    forget_strays(&c->strays);
    c->strays = found;
    return 0;
}

int catalogue_read(Store *s, const StrList *auditors, const StoreItems *listing, Catalogue *c,
                   Err *err)
{
    const Taker taker = {.take = add_notes, .user = c};
    _cleanup_(err_clear) Err own = {0};
    NoteJob what = {.auditors = auditors, .listing = listing, .first = (int64_t)c->notes.len + 1};
    int64_t last = 0;
    int r = 0;

    what.last = last_in_row(c, listing, what.first);
    if (what.first <= what.last)
        r = read_range(s, &what, &taker, &own);
    if (r < 0 && r != -ERR_CORRUPT)
        return err_move(err, &own);
    int behind = look_behind(s, &what, c, &last, err);
    if (behind < 0 || last == 0)
        return behind;
    if (r < 0)
        return err_move(err, &own);
    /* There is a later one, so those between were there: a listing may be late. */
    what.first = (int64_t)c->notes.len + 1;
    what.last = last;
    return read_range(s, &what, &taker, err);
}

static int add_text(void *user, NoteJob *j, Err *err)
{
    (void)err; /* what does not fit is seen by the caller */
    buf_add(user, j->text.p, j->text.len);
    return 0;
}

int catalogue_bundle(Store *s, const StrList *auditors, Catalogue *c, bool *ret, Err *err)
{
    int64_t first = c->bundled + 1, last = c->bundled + NOTES_BUNDLE;
    _cleanup_(buf_clear) Buf text = BUF_INIT(OBJECT_MAX / 2);
    _cleanup_free_ char *name = name_notes_new(first, last);
    StoreItems listing = {0};

    *ret = last <= (int64_t)c->notes.len;
    if (!*ret)
        return 0;
    NoteJob what = {
        .auditors = auditors, .listing = &listing, .first = first, .last = last, .keep = true};
    int r = store_list(s, "catalogue/", true, &listing, err);
    if (r == 0)
        r = read_range(s, &what, &(Taker){.take = add_text, .user = &text}, err);
    if (r == 0 && !text.overflow)
        r = store_put(s, name, buf_as_str(&text), STORE_NEW, err);
    if (r == -ERR_CONFLICT) {
        err_clear(err); /* another auditor's is as good */
        r = 0;
    }
    store_items_clear(&listing);
    if (r == 0)
        c->bundled = last;
    return r < 0 ? err_wrap(err, "bundling notes") : 0;
}
