#include "backup/base_state.h"

#include "base/json.h"
#include "io/file.h"

#include <unistd.h>

#define MAP "pages"
#define NOTE "pages.note"
#define LOCK "base.lock"

void base_state_clear(BaseState *s)
{
    for (size_t i = 0; i < s->source_count; i++)
        (void)pagemap_free(s->sources[i]);
    pagemap_writer_free(s->map);
    strlist_clear(&s->journals);
    free(s->journal);
    free(s->folder);
    if (s->lock_fd > 0)
        close(s->lock_fd);
    *s = (BaseState){0};
}

static void add_source(BaseState *s, PageMap *m)
{
    s->sources[s->source_count++] = m;
}

/* NULL where there is none, or it can't be read. */
static json_t *read_note_new(const BaseState *s)
{
    _cleanup_free_ char *path = path_join(s->folder, NOTE);
    _cleanup_(buf_clear) Buf text = BUF_INIT(BUF_MAX_LINE);

    if (file_read(path, &text, NULL) < 0)
        return NULL;
    return json_parse_new(text.p, text.len, NULL);
}

static void open_last(BaseState *s, const BaseStateAsk *ask, StrList *warnings)
{
    _cleanup_json_ json_t *note = read_note_new(s);
    _cleanup_free_ char *path = path_join(s->folder, MAP);
    _cleanup_(err_clear) Err err = {0};
    PageMap *m = NULL;
    const char *system = json_str_or(note, "system", "");

    if (!note && !file_exists(path))
        return; /* the first backup */
    if (note && !streq(system, ask->system)) {
        strlist_addf(warnings,
                     "the page map is of another cluster (system identifier %s, this one's is %s): "
                     "all pages are sent",
                     system, ask->system);
        return;
    }
    int64_t tli = json_int(note, "tli", 0);
    if (tli != ask->tli) {
        strlist_addf(warnings,
                     "the page map is of timeline %lld, and the server is on %u: what it names may "
                     "have been pruned, so all pages are sent",
                     (long long)tli, ask->tli);
        return;
    }
    if (pagemap_open(path, &ask->binding, json_str_or(note, "map", ""), ask->now, &m, &err) < 0)
        strlist_addf(warnings, "the page map is of no use: %s: all pages are sent", err.text);
    else
        add_source(s, m);
}

/* The newest first: it knows most of what the older ones knew. */
static void open_journals(BaseState *s, const BaseStateAsk *ask)
{
    _cleanup_(strlist_clear) StrList names = {0};
    int64_t made = 0;

    if (file_list(s->folder, &names, NULL) < 0)
        return;
    for (size_t i = names.len; i-- > 0;) {
        if (!starts_with(names.items[i], MAP ".") ||
            !parse_int(names.items[i] + strlen(MAP "."), 0, INT64_MAX, &made))
            continue;
        _cleanup_free_ char *path = path_join(s->folder, names.items[i]);
        PageMap *m = NULL;
        strlist_add(&s->journals, path);
        if (ask->full || s->source_count == PAGES_SOURCES_MAX ||
            pagemap_open(path, &ask->binding, NULL, ask->now, &m, NULL) < 0)
            continue;
        s->resumed |= pagemap_pages(m) > 0;
        add_source(s, m);
    }
}

int base_state_open(const BaseStateAsk *ask, BaseState *ret, StrList *warnings, Err *err)
{
    _cleanup_(base_state_clear) BaseState s = {.folder = xstrdup(ask->folder)};
    _cleanup_free_ char *lock = path_join(ask->folder, LOCK);
    Msec made = ask->now;

    int r = file_mkdirs(ask->folder, 0700, err);
    if (r == 0)
        r = file_lock(lock, &s.lock_fd, err);
    if (r == -ERR_HELD)
        return err_set(err, ERR_HELD, "another base backup runs with the state in %s", ask->folder);
    if (r < 0)
        return r;
    open_journals(&s, ask);
    for (size_t i = 0; i < s.source_count; i++)
        made = MIN(made, pagemap_made(s.sources[i]));
    /* One place is left for the last backup's map, which is worth more than an old journal. */
    if (s.source_count == PAGES_SOURCES_MAX)
        (void)pagemap_free(s.sources[--s.source_count]);
    if (!ask->full)
        open_last(&s, ask, warnings);
    s.journal = xasprintf("%s/" MAP ".%lld", ask->folder, (long long)ask->now);
    _cleanup_(err_clear) Err own = {0};
    if (pagemap_create(s.journal, &ask->binding, made, &s.map, &own) < 0)
        strlist_addf(warnings, "%s: the next backup will send all pages again", own.text);
    *ret = s;
    s = (BaseState){0};
    return 0;
}

int base_state_finish(BaseState *s, const BaseStateAsk *ask, const char *sha256, Err *err)
{
    _cleanup_free_ char *note_path = path_join(s->folder, NOTE), *map = path_join(s->folder, MAP);
    _cleanup_json_ json_t *note = json_make_new("{s:s, s:s, s:I}", "system", ask->system, "map",
                                                sha256, "tli", (json_int_t)ask->tli);
    _cleanup_free_ char *text = json_text_new(note);

    /* In this order: after a crash in between the journal still counts as one. */
    int r = file_write(note_path, str_of(text), 0600, err);
    if (r == 0)
        r = file_rename(s->journal, map, err);
    for (size_t i = 0; r == 0 && i < s->journals.len; i++)
        (void)unlink(s->journals.items[i]); /* one that stays is read for nothing, and gets old */
    return r;
}
