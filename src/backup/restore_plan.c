#include "backup/restore_plan.h"
#include "io/file.h"

#define PAGE_COUNT_MAX UINT32_MAX /* of a file: 32 TiB */

void restore_plan_clear(RestorePlan *p)
{
    for (size_t i = 0; i < p->files.len; i++) {
        free(p->files.items[i].path);
        free(p->files.items[i].target);
    }
    for (size_t i = 0; i < p->packs.len; i++) {
        free(p->packs.items[i].name);
        free(p->packs.items[i].head);
        vec_clear(&p->packs.items[i].uses);
    }
    vec_clear(&p->files);
    vec_clear(&p->packs);
}

static int plan_packs(const json_t *facts, RestorePlan *p, Err *err)
{
    size_t i;
    json_t *row;

    json_array_foreach (json_at(facts, "packs"), i, row) {
        const char *name = json_string_value(json_array_get(row, 0));
        const char *head = json_string_value(json_array_get(row, 2));
        int64_t bytes = json_integer_value(json_array_get(row, 1));
        if (!name || name_parse(name).kind != NAME_PACK || bytes <= 0 ||
            (uint64_t)bytes > OBJECT_MAX)
            return err_set(err, ERR_CORRUPT, "the manifest's pack %zu is none", i);
        vec_push(
            &p->packs,
            (PlanPack){.name = xstrdup(name), .bytes = bytes, .head = xstrdup(head ? head : "")});
    }
    return 0;
}

#define TABLESPACES "pg_tblspc/"

static bool is_tablespace_link(const char *path)
{
    int64_t oid;

    return starts_with(path, TABLESPACES) &&
           parse_int(path + strlen(TABLESPACES), 1, UINT32_MAX, &oid);
}

static int add_run(RestorePlan *p, const json_t *run, uint32_t file, int64_t *page, Err *err)
{
    json_int_t v[4];

    for (size_t i = 0; i < ARRAY_LEN(v); i++) {
        const json_t *n = json_array_get(run, i);
        if (!json_is_integer(n))
            return err_set(err, ERR_CORRUPT, "a run is not four numbers");
        v[i] = json_integer_value(n);
    }
    int64_t wanted = (p->files.items[file].size + PAGE_BYTES - 1) / PAGE_BYTES;
    bool hole = v[0] == -1;
    if (v[3] <= 0 || v[3] > wanted - *page)
        return err_set(err, ERR_CORRUPT, "its runs have more pages than it has bytes");
    if (!hole && (v[0] < 0 || (size_t)v[0] >= p->packs.len || v[1] < 0 || v[1] > UINT32_MAX ||
                  v[2] < 0 || v[2] > FRAME_PAGES - v[3]))
        return err_set(err, ERR_CORRUPT, "a run is in no pack");
    if (!hole) {
        PlanPack *pack = &p->packs.items[v[0]];
        vec_push(&pack->uses, (PlanUse){.frame = (uint32_t)v[1],
                                        .page = (uint32_t)v[2],
                                        .pages = (uint32_t)v[3],
                                        .file = file,
                                        .file_page = (uint32_t)*page});
        pack->pages += v[3];
    }
    *page += v[3];
    return 0;
}

static int add_runs(RestorePlan *p, const json_t *row, uint32_t file, Err *err)
{
    int64_t page = 0, wanted = (p->files.items[file].size + PAGE_BYTES - 1) / PAGE_BYTES;
    size_t i;
    json_t *run;

    json_array_foreach (json_at(row, "runs"), i, run) {
        int r = add_run(p, run, file, &page, err);
        if (r < 0)
            return r;
    }
    if (page != wanted)
        return err_set(err, ERR_CORRUPT, "its runs have fewer pages than it has bytes");
    return 0;
}

/* "pg_tblspc/OID/..." for what lies in a tablespace, in either of the ways to say so. */
static char *path_of_new(const json_t *row)
{
    const char *path = json_str_or(row, "path", "");
    const json_t *space = json_at(row, "tablespace");

    if (json_is_integer(space) && json_integer_value(space) > 0 && !starts_with(path, TABLESPACES))
        return xasprintf(TABLESPACES "%lld%s%s", (long long)json_integer_value(space),
                         *path ? "/" : "", path);
    if (json_is_string(space) && *json_string_value(space) && !starts_with(path, TABLESPACES))
        return xasprintf(TABLESPACES "%s%s%s", json_string_value(space), *path ? "/" : "", path);
    return xstrdup(path);
}

static int add_file(RestorePlan *p, const json_t *row, Err *err)
{
    static const char *const kinds[] = {"file", "dir", "link"};
    const char *kind = json_str_or(row, "kind", "");
    size_t k = 0;
    int64_t size = json_int(row, "size", 0);
    int64_t mode = json_int(row, "mode", 0);

    while (k < ARRAY_LEN(kinds) && !streq(kinds[k], kind))
        k++;
    _cleanup_free_ char *path = path_of_new(row);
    if (k == ARRAY_LEN(kinds))
        return err_set(err, ERR_CORRUPT, "'%s' is no kind of file", kind);
    if (strlen(path) > PLAN_PATH_MAX || !path_is_inner(path))
        return err_set(err, ERR_CORRUPT, "'%s' is not a path within the cluster", path);
    if (k == PLAN_LINK && !is_tablespace_link(path))
        return err_set(err, ERR_CORRUPT, "%s is a link and no tablespace", path);
    if (size < 0 || size / PAGE_BYTES >= PAGE_COUNT_MAX || mode < 0 || mode > 07777 ||
        p->files.len >= UINT32_MAX)
        return err_set(err, ERR_CORRUPT, "the size or mode of %s can't be", path);
    /* Somebody started a restore that was not finished, and backed it up: that is not this one's
     * marker. */
    bool foreign = streq(path, RESTORE_MARKER);
    vec_push(&p->files, (PlanFile){.kind = (PlanKind)k,
                                   .path = xasprintf("%s%s", path, foreign ? ".old" : ""),
                                   .mode = (unsigned)mode & 0777,
                                   .size = k == PLAN_FILE ? size : 0,
                                   .target = xstrdup(json_str_or(row, "target", ""))});
    if (k != PLAN_FILE)
        return 0;
    if (size > INT64_MAX - p->bytes)
        return err_set(err, ERR_CORRUPT, "the files up to %s are too large to be counted", path);
    p->bytes += size;
    int r = add_runs(p, row, (uint32_t)(p->files.len - 1), err);
    return r < 0 ? err_wrap(err, "%s", path) : 0;
}

static int compare_uses(const void *a, const void *b)
{
    const PlanUse *x = a, *y = b;

    if (x->frame != y->frame)
        return x->frame < y->frame ? -1 : 1;
    if (x->page != y->page)
        return x->page < y->page ? -1 : 1;
    return 0;
}

static int plan_lines(Str list, RestorePlan *p, Err *err)
{
    Str line;

    for (size_t n = 1; str_next(&list, '\n', &line); n++) {
        if (line.n == 0)
            continue;
        _cleanup_json_ json_t *row = json_parse_new(line.p, line.n, err);
        int r = row ? add_file(p, row, err) : -(int)ERR_CORRUPT;
        if (r < 0)
            return err_wrap(err, "line %zu of the manifest", n);
    }
    return 0;
}

int restore_plan(const json_t *facts, Str list, RestorePlan *ret, Err *err)
{
    RestorePlan p = {0};
    int r = plan_packs(facts, &p, err);

    if (r == 0)
        r = plan_lines(list, &p, err);
    if (r == 0 && p.files.len == 0)
        r = err_set(err, ERR_CORRUPT, "the manifest has no files");
    if (r < 0) {
        restore_plan_clear(&p);
        return r;
    }
    for (size_t i = 0; i < p.packs.len; i++) {
        PlanPack *pack = &p.packs.items[i];
        if (pack->uses.len == 0)
            continue;
        qsort(pack->uses.items, pack->uses.len, sizeof *pack->uses.items, compare_uses);
        p.stored += pack->bytes;
    }
    *ret = p;
    return 0;
}

int plan_ranges(const ObjectHead *head, const PlanPack *pack, size_t gap_bytes, PlanRanges *ret,
                Err *err)
{
    size_t at = head->frames_at;
    uint32_t frame = 0;

    for (size_t i = 0; i < pack->uses.len; i++) {
        const PlanUse *u = &pack->uses.items[i];
        if (u->frame >= head->frames.len ||
            /* A file's last page may be shorter. */
            ((size_t)u->page + u->pages - 1) * PAGE_BYTES >= head->frames.items[u->frame].plain)
            return err_set(err, ERR_CORRUPT, "%s has not the pages that the manifest says",
                           pack->name);
        for (; frame < u->frame; frame++)
            at += head->frames.items[frame].stored;
        PlanRange *last = ret->len ? vec_last(ret) : NULL;
        size_t bytes = head->frames.items[frame].stored;
        if (last && last->last == frame)
            continue;
        if (last && at - (last->offset + last->bytes) <= gap_bytes &&
            at + bytes - last->offset <= PLAN_RANGE_BYTES) {
            last->bytes = at + bytes - last->offset;
            last->last = frame;
            continue;
        }
        vec_push(ret, (PlanRange){at, bytes, frame, frame});
    }
    return 0;
}

/* The part behind '=' if the part before it names this tablespace. */
static const char *asked_for(const PlanFile *link, const char *pair)
{
    const char *equals = strchr(pair, '=');
    const char *oid = link->path + strlen(TABLESPACES);
    size_t n = equals ? (size_t)(equals - pair) : 0;

    if (n == 0 || equals[1] != '/')
        return NULL;
    bool is_oid = strlen(oid) == n && strncmp(pair, oid, n) == 0;
    bool is_target = strlen(link->target) == n && strncmp(pair, link->target, n) == 0;
    return is_oid || is_target ? equals + 1 : NULL;
}

char *plan_tablespace_new(const PlanFile *link, const char *to, const StrList *asked)
{
    for (size_t i = 0; asked && i < asked->len; i++) {
        const char *folder = asked_for(link, asked->items[i]);
        if (folder)
            return xstrdup(folder);
    }
    return xasprintf("%s/tablespaces/%s", to, link->path + strlen(TABLESPACES));
}

int plan_tablespaces_check(const RestorePlan *p, const StrList *asked, Err *err)
{
    for (size_t i = 0; asked && i < asked->len; i++) {
        bool used = false;
        for (size_t f = 0; f < p->files.len && !used; f++)
            used = p->files.items[f].kind == PLAN_LINK &&
                   asked_for(&p->files.items[f], asked->items[i]);
        if (used)
            continue;
        err_set(err, ERR_USAGE, "the backup has no tablespace for '%s'", asked->items[i]);
        return err_hint(err, "--tablespace OID=/FOLDER, or /OLD/FOLDER=/FOLDER");
    }
    return 0;
}
