#include "backup/base.h"

#include "backup/base_state.h"
#include "backup/catalogue.h"
#include "backup/rate.h"
#include "backup/tar.h"
#include "io/repl.h"

#include <stdio.h>
#include <unistd.h>

#define RUN_HEX 16
#define THREADS_MAX 4
#define LOOK_MS SECOND

/* One run. */
typedef struct Take {
    const BaseOptions *o;
    ObjectSeal seal;
    ReplSystem system;
    char run[RUN_HEX + 1];
    Repl *repl;
    ReplBegin begin;
    ReplBaseEnd end;
    BaseStateAsk ask;
    BaseState state;
    Manifest *manifest;
    Pages *pages;
    Tar tar;
    uint32_t tablespace; /* whose archive this is; 0: the data folder's */
    bool in_manifest;    /* what comes is backup_manifest */
    char path[TAR_NAME_MAX + 32];
    StrList warnings;
    int64_t limit; /* by the load; 0: none */
    Msec looked;
    int64_t looked_bytes;
} Take;

static void take_clear(Take *t)
{
    pages_free(t->pages);
    manifest_free(t->manifest);
    base_state_clear(&t->state);
    (void)repl_free(t->repl);
    strlist_clear(&t->warnings);
    free(t->end.words);
}
DEFINE_CLEAR(Take, take_clear)

void base_result_clear(BaseResult *r)
{
    free(r->name);
    json_decref(r->facts);
    strlist_clear(&r->warnings);
    *r = (BaseResult){0};
}

static void tell(const Take *t)
{
    if (!t->o->progress)
        return;
    const BaseProgress p = {.done = pages_seen(t->pages),
                            .total = t->begin.bytes,
                            .sent = pages_stored(t->pages),
                            .reused = pages_reused(t->pages),
                            .rate_bytes = t->limit > 0 ? t->limit : t->o->rate_bytes};
    t->o->progress(t->o->user, &p);
}

/* The load, each second; then waits if more came than may. What is not read holds the server's
 * sender back, since its socket fills up. */
static void pace(Take *t)
{
    if (!t->o->sql)
        return;
    Msec now = time_mono(), passed = now - t->looked;
    int64_t bytes = pages_seen(t->pages) - t->looked_bytes;

    if (passed < LOOK_MS) {
        if (t->limit > 0 && bytes > t->limit * LOOK_MS / SECOND)
            time_sleep(LOOK_MS - passed);
        else
            return;
        passed = LOOK_MS;
    }
    _cleanup_(strlist_clear) StrList cells = {0};
    RateLook look = {.measured = bytes * SECOND / passed};
    /* A server that does not answer is a busy one. */
    if (pg_query(t->o->sql, rate_query, NULL, &cells, NULL) < 0 || cells.len < 2 ||
        !parse_int(cells.items[0], 0, INT32_MAX, &look.active) ||
        !parse_int(cells.items[1], 0, INT32_MAX, &look.waiting))
        look.active = look.waiting = 2;
    t->limit = rate_next(t->limit, &look);
    t->looked = time_mono();
    t->looked_bytes = pages_seen(t->pages);
}

static void set_path(Take *t)
{
    if (t->tablespace)
        snprintf(t->path, sizeof t->path, "pg_tblspc/%u/%s", t->tablespace, t->tar.entry.path);
    else
        snprintf(t->path, sizeof t->path, "%s", t->tar.entry.path);
}

static int end_entry(Take *t, Err *err)
{
    static const char *const kinds[] = {
        [TAR_FILE] = "file", [TAR_DIR] = "dir", [TAR_LINK] = "link"};
    const TarEntry *e = &t->tar.entry;
    const ManifestFile f = {.path = t->path,
                            .kind = kinds[e->kind],
                            .target = e->kind == TAR_LINK ? e->target : NULL,
                            .mode = e->mode,
                            .size = e->size,
                            .mtime = e->mtime,
                            .tablespace = t->tablespace};

    return e->kind == TAR_FILE ? pages_end_file(t->pages, &f, err)
                               : manifest_file(t->manifest, &f, err);
}

static int feed_tar(Take *t, Str input, Err *err)
{
    TarEvent event = TAR_DATA;
    Str data;
    int r = 0;

    while (r == 0 && event != TAR_MORE) {
        r = tar_next(&t->tar, &input, &event, &data, err);
        if (r < 0)
            break;
        if (event == TAR_ENTRY)
            set_path(t);
        else if (event == TAR_DATA)
            r = pages_data(t->pages, t->path, data, err);
        else if (event == TAR_DONE)
            r = end_entry(t, err);
    }
    return r;
}

/* "base.tar", or "16400.tar" and the folder of the tablespace. */
static int begin_archive(Take *t, Str names, Err *err)
{
    int64_t oid = 0;
    const char *name = names.p, *target = name + strlen(name) + 1;
    int r = tar_finish(&t->tar, err);

    if (r < 0)
        return r;
    t->tar = (Tar){0};
    t->tablespace = 0;
    if (streq(name, "base.tar"))
        return 0;
    _cleanup_free_ char *number = xstrndup(name, strcspn(name, "."));
    if (!parse_int(number, 1, UINT32_MAX, &oid))
        return err_set(err, ERR_CORRUPT, "PostgreSQL sends an archive of no known name");
    t->tablespace = (uint32_t)oid;
    snprintf(t->path, sizeof t->path, "pg_tblspc/%u", t->tablespace);
    const ManifestFile link = {.path = t->path,
                               .kind = "link",
                               .target = target,
                               .mode = 0777,
                               .tablespace = t->tablespace};
    return manifest_file(t->manifest, &link, err);
}

static int take_part(Take *t, ReplPart part, Str data, Err *err)
{
    int r = 0;

    switch (part) {
    case REPL_ARCHIVE:
        return begin_archive(t, data, err);
    case REPL_MANIFEST:
        t->in_manifest = true;
        snprintf(t->path, sizeof t->path, "backup_manifest");
        return tar_finish(&t->tar, err);
    case REPL_DATA:
        r = t->in_manifest ? pages_data(t->pages, t->path, data, err) : feed_tar(t, data, err);
        pace(t);
        tell(t);
        return r;
    case REPL_PROGRESS:
    case REPL_END:
        break;
    }
    return r;
}

static int take_files(Take *t, Err *err)
{
    ReplPart part = REPL_PROGRESS;
    Str data;
    int r = 0;

    while (r == 0 && part != REPL_END) {
        if (t->o->stop && *t->o->stop)
            return err_set(err, ERR_INTERRUPTED, "interrupted");
        r = repl_base_next(t->repl, &part, &data, err);
        if (r == 0)
            r = take_part(t, part, data, err);
    }
    if (r < 0)
        return r;
    if (!t->in_manifest)
        return err_set(err, ERR_CORRUPT, "PostgreSQL ended the backup without its manifest");
    const ManifestFile f = {
        .path = "backup_manifest", .kind = "file", .mode = 0600, .mtime = t->o->now / SECOND};
    r = pages_end_file(t->pages, &f, err);
    if (r == 0)
        r = repl_base_end(t->repl, &t->end, err);
    return r == 0 ? pages_finish(t->pages, err) : r;
}

static int begin_server(Take *t, Err *err)
{
    const BaseOptions *o = t->o;
    int r = repl_open(o->server, "atoll base", &t->repl, &t->system, err);

    if (r < 0)
        return r;
    t->seal = *o->seal;
    if (t->seal.system && !streq(t->seal.system, t->system.id))
        return err_set(err, ERR_CONFLICT,
                       "this is another cluster: its system identifier is %s, not %s", t->system.id,
                       t->seal.system);
    t->seal.system = t->system.id;
    if (!t->system.checksums)
        strlist_add(&t->warnings, "the cluster has no page checksums: damage on the server's disk "
                                  "can't be noticed (pg_checksums --enable, with the server off)");
    return 0;
}

static int begin_state(Take *t, Err *err)
{
    const BaseOptions *o = t->o;

    if (!o->state)
        return 0;
    t->ask = (BaseStateAsk){.folder = o->state,
                            .system = t->system.id,
                            .tli = t->system.tli,
                            .full = o->full,
                            .now = o->now};
    pagemap_binding(t->system.id, store_place(o->store), t->seal.recipients, &t->ask.binding);
    return base_state_open(&t->ask, &t->state, &t->warnings, err);
}

static void begin_pages(Take *t)
{
    const BaseOptions *o = t->o;
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    size_t threads = o->threads ? o->threads : (size_t)MIN(MAX(processors, 1L), (long)THREADS_MAX);

    crypt_random_hex(t->run, RUN_HEX);
    t->manifest = manifest_new();
    const PagesOptions p = {.sources = t->state.sources,
                            .source_count = t->state.source_count,
                            .map = t->state.map,
                            .manifest = t->manifest,
                            .packer = {.store = o->store,
                                       .seal = &t->seal,
                                       .run = t->run,
                                       .threads = threads,
                                       .level = o->level ? o->level : 1}};
    t->pages = pages_new(&p);
    t->looked = time_mono();
}

static json_t *packs_json_new(const PackRefs *packs)
{
    json_t *list = json_array();

    for (size_t i = 0; i < packs->len; i++) {
        const PackRef *p = &packs->items[i];
        json_array_append_new(list,
                              json_make_new("[s, I, s]", p->name, (json_int_t)p->bytes, p->head));
    }
    return list;
}

static json_t *facts_new(const Take *t, const char *id, const char *map)
{
    char start[LSN_TEXT_MAX], stop[LSN_TEXT_MAX];
    const char *checksums = !t->system.checksums      ? "off"
                            : t->end.checksums_failed ? "failed"
                                                      : "verified";

    return json_make_new(
        "{s:s, s:s, s:s, s:s, s:I, s:i, s:I, s:I, s:I, s:o, s:s, s:s, s:o}", "id", id, "label",
        t->o->label, "start", lsn_format(t->begin.start, start), "stop",
        lsn_format(t->end.stop, stop), "tli", (json_int_t)t->begin.tli, "version",
        t->system.version, "segment", (json_int_t)t->system.segment_bytes, "bytes",
        (json_int_t)pages_seen(t->pages), "stored", (json_int_t)pages_stored(t->pages), "packs",
        packs_json_new(pages_packs(t->pages)), "map", map, "checksums", checksums, "warnings",
        json_list_new(&t->warnings));
}

/* What the server and the state had to say, as warnings. */
static void gather_warnings(Take *t)
{
    Str rest = str_of(t->end.words), line;

    if (pages_map_trouble(t->pages))
        strlist_addf(&t->warnings, "%s: the next backup will send all pages again",
                     pages_map_trouble(t->pages));
    while (t->end.words && str_next(&rest, '\n', &line))
        strlist_addf(&t->warnings, "PostgreSQL: %.*s", (int)line.n, line.p);
}

/* The page map is whole before the manifest says its hash, and takes the last one's place after. */
static int finish(Take *t, BaseResult *ret, Err *err)
{
    char map[65] = "", hash[OBJECT_HASH_MAX], utc[TIME_TEXT_MAX];
    _cleanup_(buf_clear) Buf object = BUF_INIT(OBJECT_MAX);
    _cleanup_(err_clear) Err own = {0};
    bool keeps_map = t->state.map && !pages_map_trouble(t->pages);

    gather_warnings(t);
    if (keeps_map && pagemap_finish(t->state.map, map, &own) < 0) {
        strlist_addf(&t->warnings, "%s: the next backup will send all pages again", own.text);
        keeps_map = false;
    }
    time_format(t->o->now, false, utc);
    size_t n = 0;
    for (const char *c = utc; *c; c++)
        if (*c != '-' && *c != ':')
            ret->id[n++] = *c;
    snprintf(ret->id + n, sizeof ret->id - n, "-%s", t->run);
    ret->facts = facts_new(t, ret->id, map);
    int r = manifest_end(t->manifest, &t->seal, json_incref(ret->facts), &object, hash, err);
    if (r < 0)
        return err_wrap(err, "writing the manifest");
    ret->name = name_base_new(ret->id, hash);
    r = store_put(t->o->store, ret->name, buf_as_str(&object), STORE_ANY, err);
    if (r < 0)
        return r;
    /* From here on the backup is there, whatever becomes of the state. */
    err_clear(&own);
    if (keeps_map && base_state_finish(&t->state, &t->ask, map, &own) < 0)
        strlist_addf(&t->warnings, "%s: the next backup will send all pages again", own.text);
    return 0;
}

int base_take(const BaseOptions *o, BaseResult *ret, Err *err)
{
    _cleanup_(take_clear) Take t = {.o = o};
    _cleanup_(base_result_clear) BaseResult result = {0};
    const ReplBase ask = {
        .label = o->label, .fast = o->fast, .rate_bytes = o->rate_bytes, .stop = o->stop};

    int r = begin_server(&t, err);
    if (r == 0)
        r = begin_state(&t, err);
    if (r < 0)
        return r;
    begin_pages(&t);
    tell(&t);
    r = repl_base(t.repl, &ask, &t.begin, err);
    if (r == 0)
        r = take_files(&t, err);
    if (r == 0)
        r = finish(&t, &result, err);
    if (r < 0)
        return r;
    result.start = t.begin.start;
    result.stop = t.end.stop;
    result.bytes = pages_seen(t.pages);
    result.stored = pages_stored(t.pages);
    result.reused = pages_reused(t.pages);
    result.checksums_failed = t.end.checksums_failed;
    result.warnings = t.warnings;
    t.warnings = (StrList){0};
    *ret = result;
    result = (BaseResult){0};
    return 0;
}

int base_wait(const BaseWait *w, Lsn *ret_at, Err *err)
{
    Msec until = time_mono() + w->wait_ms;
    _cleanup_(repl_drop) Repl *repl = NULL;
    ReplSystem system;
    uint32_t tli;

    *ret_at = 0;
    int r = repl_open(w->server, "atoll base", &repl, &system, err);
    while (r == 0) {
        r = repl_slot(repl, w->slot, w->sql, ret_at, &tli, err);
        if (r < 0 || *ret_at >= w->stop)
            break;
        if (w->interrupt && *w->interrupt)
            return err_set(err, ERR_INTERRUPTED, "interrupted");
        if (time_mono() >= until) {
            char at[LSN_TEXT_MAX], stop[LSN_TEXT_MAX];
            (void)err_set(err, ERR_TEMPORARY,
                          "the log is stored up to %s, and the backup needs it up to %s",
                          lsn_format(*ret_at, at), lsn_format(w->stop, stop));
            return err_hint(err, "is `atoll backup stream` running?");
        }
        time_sleep(200);
    }
    return r;
}
