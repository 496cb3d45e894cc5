/* The catalogue in memory: notes one by one, and the objects that they tell of. Pure. */
#include "backup/catalogue.h"

void catalogue_clear(Catalogue *c)
{
    for (size_t i = 0; i < c->notes.len; i++)
        note_clear(&c->notes.items[i]);
    vec_clear(&c->notes);
    for (size_t i = 0; i < c->objects.len; i++) {
        free(c->objects.items[i].name);
        free(c->objects.items[i].etag);
    }
    vec_clear(&c->objects);
    for (size_t i = 0; i < c->strays.len; i++)
        free(c->strays.items[i].name);
    vec_clear(&c->strays);
    strlist_clear(&c->hosts);
    free(c->system);
    *c = (Catalogue){0};
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const Seen *)a)->name, ((const Seen *)b)->name);
}

/* Which of two notes was first counts: later ones about the same object are no news. */
static int by_name_and_note(const void *a, const void *b)
{
    const Seen *x = a, *y = b;
    int names = by_name(a, b);

    /* No note at all is later than any. */
    uint64_t nx = (uint64_t)x->note - 1, ny = (uint64_t)y->note - 1;
    return names ? names : (nx > ny) - (nx < ny);
}

static Seen *find_among(const Catalogue *c, size_t n, const char *name)
{
    Seen key = {.name = (char *)(uintptr_t)name};

    return n ? bsearch(&key, c->objects.items, n, sizeof key, by_name) : NULL;
}

const Seen *catalogue_find(const Catalogue *c, const char *name)
{
    return find_among(c, c->objects.len, name);
}

bool catalogue_disown(Catalogue *c, const char *name)
{
    Seen *s = find_among(c, c->objects.len, name);
    bool did_count = s && !s->rubbish;

    if (s)
        s->rubbish = true;
    return did_count;
}

const Stray *catalogue_stray(const Catalogue *c, const char *name)
{
    for (size_t i = 0; i < c->strays.len; i++)
        if (streq(c->strays.items[i].name, name))
            return &c->strays.items[i];
    return NULL;
}

void catalogue_settle(Catalogue *c)
{
    size_t kept = 0;

    if (c->settled == c->objects.len)
        return;
    qsort(c->objects.items, c->objects.len, sizeof *c->objects.items, by_name_and_note);
    for (size_t i = 0; i < c->objects.len; i++) {
        Seen *s = &c->objects.items[i], *first = kept ? &c->objects.items[kept - 1] : NULL;
        if (!first || !streq(first->name, s->name)) {
            c->objects.items[kept++] = *s;
            continue;
        }
        first->gone = first->gone && s->gone;
        free(s->name);
        free(s->etag);
    }
    c->objects.len = c->settled = kept;
}

/* What each kind of note does */

typedef struct NoteKind {
    const char *kind;
    int (*add)(Catalogue *c, Note *n, Err *err);
} NoteKind;

static int odd(const Note *n, Err *err)
{
    return err_set(err, ERR_CORRUPT, "a note of the kind \"%s\" can't say what it says", n->kind);
}

static int add_hosts(Catalogue *c, Note *n, Err *err)
{
    const json_t *hosts = json_object_get(n->body, "hosts"), *key;
    size_t i;

    if (!json_is_array(hosts))
        return odd(n, err);
    json_array_foreach (hosts, i, key) {
        if (!json_is_string(key))
            return odd(n, err);
        if (!strlist_has(&c->hosts, json_string_value(key)))
            strlist_add(&c->hosts, json_string_value(key));
    }
    return 0;
}

static int add_begin(Catalogue *c, Note *n, Err *err)
{
    const char *system = json_str(n->body, "system");

    if (n->number != 1 || !system)
        return odd(n, err);
    free(c->system);
    c->system = xstrdup(system);
    return add_hosts(c, n, err);
}

static bool take_seen(Catalogue *c, const Note *n, const json_t *row)
{
    const char *name = json_string_value(json_array_get(row, 0));
    const char *etag = json_string_value(json_array_get(row, 2));
    const char *written = json_string_value(json_array_get(row, 3));
    Seen s = {.note = n->number, .gone = true};

    if (!name || !written || !json_is_integer(json_array_get(row, 1)) ||
        !time_parse(written, &s.written))
        return false;
    s.name = xstrdup(name);
    s.etag = etag ? xstrdup(etag) : NULL;
    s.bytes = json_integer_value(json_array_get(row, 1));
    vec_push(&c->objects, s);
    return true;
}

static int add_seen(Catalogue *c, Note *n, Err *err)
{
    const json_t *rows = json_object_get(n->body, "objects"), *row;
    size_t i, before = c->objects.len;

    if (!json_is_array(rows))
        return odd(n, err);
    json_array_foreach (rows, i, row) {
        if (take_seen(c, n, row))
            continue;
        for (; c->objects.len > before; c->objects.len--) {
            free(vec_last(&c->objects)->name);
            free(vec_last(&c->objects)->etag);
        }
        return odd(n, err);
    }
    json_decref(n->body);
    n->body = json_object();
    return 0;
}

/* Calls `change` for each object that a note names. */
static int each_object(Catalogue *c, Note *n, void (*change)(Seen *s, const Note *n), Err *err)
{
    const json_t *names = json_object_get(n->body, "objects"), *name;
    size_t i;

    if (!json_is_array(names))
        return odd(n, err);
    catalogue_settle(c);
    json_array_foreach (names, i, name) {
        const char *text = json_string_value(name);
        Seen *s = text ? find_among(c, c->objects.len, text) : NULL;
        if (!text)
            return odd(n, err);
        if (s)
            change(s, n);
    }
    return 0;
}

static void mark(Seen *s, const Note *n)
{
    s->marked = n->number;
    if (!time_parse(json_str_or(n->body, "not_before", ""), &s->not_before))
        s->not_before = INT64_MAX;
}

static void unmark(Seen *s, const Note *n)
{
    (void)n;
    s->marked = 0;
    s->not_before = 0;
}

static void prune(Seen *s, const Note *n)
{
    s->pruned = n->number;
}

static int add_mark(Catalogue *c, Note *n, Err *err)
{
    Msec t;

    if (!time_parse(json_str_or(n->body, "not_before", ""), &t))
        return odd(n, err);
    return each_object(c, n, mark, err);
}

static int add_unmark(Catalogue *c, Note *n, Err *err)
{
    return each_object(c, n, unmark, err);
}

static int add_pruned(Catalogue *c, Note *n, Err *err)
{
    return each_object(c, n, prune, err);
}

static const NoteKind kinds[] = {
    {"begin", add_begin}, {"host", add_hosts},    {"seen", add_seen},
    {"mark", add_mark},   {"unmark", add_unmark}, {"pruned", add_pruned},
};

static int add_kind(Catalogue *c, Note *n, Err *err)
{
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (streq(n->kind, kinds[i].kind))
            return kinds[i].add(c, n, err);
    return 0;
}

int catalogue_add(Catalogue *c, Note *n, Err *err)
{
    const char *prev = c->notes.len ? vec_last(&c->notes)->hash : "";
    int r = 0;

    if (n->number != (int64_t)c->notes.len + 1)
        r = err_set(err, ERR_CORRUPT, "it is number %lld, and number %zu was to come",
                    (long long)n->number, c->notes.len + 1);
    else if (!streq(n->prev, prev))
        r = err_set(err, ERR_CORRUPT,
                    "the note before it is not the one that it was written after");
    else if ((n->number == 1) != streq(n->kind, "begin"))
        r = odd(n, err);
    if (r == 0)
        r = add_kind(c, n, err);
    if (r < 0) {
        note_clear(n);
        return r;
    }
    vec_push(&c->notes, *n);
    *n = (Note){0};
    return 0;
}

/* Those that only an earlier listing knew. */
static void forget_listed(Catalogue *c)
{
    size_t kept = 0;

    for (size_t i = 0; i < c->objects.len; i++) {
        Seen *s = &c->objects.items[i];
        if (s->note) {
            s->gone = true;
            c->objects.items[kept++] = *s;
            continue;
        }
        free(s->name);
        free(s->etag);
    }
    c->objects.len = c->settled = kept;
}

void catalogue_join(Catalogue *c, const StoreItems *listing)
{
    const char *last = NULL;

    catalogue_settle(c);
    forget_listed(c);
    size_t noted = c->objects.len;
    for (size_t i = 0; i < listing->len; i++) {
        const StoreItem *item = &listing->items[i];
        /* Of one name the first is the oldest. */
        Name n = name_parse(item->name);
        if (n.kind == NAME_NOTES && n.last % NOTES_BUNDLE == 0 && n.last <= (int64_t)c->notes.len)
            c->bundled = MAX(c->bundled, n.last);
        if (n.kind == NAME_NOTE || n.kind == NAME_NOTES || streq(last, item->name))
            continue;
        last = item->name;
        Seen *s = find_among(c, noted, item->name);
        if (s) {
            s->gone = false;
            continue;
        }
        vec_push(&c->objects, (Seen){.name = xstrdup(item->name),
                                     .etag = item->etag ? xstrdup(item->etag) : NULL,
                                     .bytes = item->bytes,
                                     .written = item->written});
    }
    catalogue_settle(c);
}
