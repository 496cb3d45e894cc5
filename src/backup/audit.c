#include "backup/audit.h"
#include "backup/merge.h"

#define CONFLICTS_MAX 5

void audit_clear(Audit *a)
{
    catalogue_clear(&a->catalogue);
    *a = (Audit){0};
}

bool audit_is_quiet(const AuditLook *l, Msec alarm_ms, Msec now)
{
    return l->newest > 0 && alarm_ms > 0 && now - l->newest > alarm_ms;
}

static bool is_ours(NameKind kind)
{
    return kind != NAME_OTHER && kind != NAME_NOTE && kind != NAME_NOTES;
}

static bool is_new(const Seen *s)
{
    return s->note == 0 && is_ours(name_parse(s->name).kind);
}

/* The cluster's identifier, from a signed object's head. ERR_DENIED, ERR_CORRUPT: not this one. */
static int system_of(Audit *a, const char *name, char **ret, Err *err)
{
    _cleanup_(buf_clear) Buf whole = BUF_INIT(OBJECT_MAX);
    _cleanup_(object_head_clear) ObjectHead head = {0};
    int r = catalogue_fetch(a->store, a->hosts, name, &whole, err);

    if (r == 0)
        r = object_head_whole(buf_as_str(&whole), &head, err);
    if (r == 0)
        *ret = xstrdup(head.system);
    return r;
}

/* The first note, once there is an object that a known host signed. */
static int begin(Audit *a, Err *err)
{
    const Catalogue *c = &a->catalogue;
    _cleanup_free_ char *system = NULL;
    _cleanup_(err_clear) Err last = {0};

    for (size_t i = 0; i < c->objects.len && !system; i++) {
        const Seen *s = &c->objects.items[i];
        NameKind kind = name_parse(s->name).kind;
        if (kind != NAME_WAL && kind != NAME_PACK && kind != NAME_BASE)
            continue;
        int r = system_of(a, s->name, &system, &last);
        if (r < 0 && !object_is_bad(r))
            return err_move(err, &last);
    }
    if (!system && last.kind) {
        err_set(err, ERR_DENIED, "no object was signed by a host of host.pub: %s", last.text);
        return err_hint(err, "host.pub here must be that of the host.key on the database's side");
    }
    if (!system)
        return 0;
    return catalogue_note(
        a->store, &a->catalogue, a->auditor, "begin",
        json_make_new("{s:s, s:o}", "system", system, "hosts", json_list_new(a->hosts)), err);
}

/* A host that was replaced has a key of its own. */
static int add_hosts(Audit *a, Err *err)
{
    StrList more = {0};
    int r = 0;

    for (size_t i = 0; i < a->hosts->len; i++)
        if (!strlist_has(&a->catalogue.hosts, a->hosts->items[i]))
            strlist_add(&more, a->hosts->items[i]);
    if (more.len)
        r = catalogue_note(a->store, &a->catalogue, a->auditor, "host",
                           json_make_new("{s:o}", "hosts", json_list_new(&more)), err);
    strlist_clear(&more);
    return r;
}

static json_t *row_new(const Seen *s)
{
    char when[TIME_TEXT_MAX];

    return json_make_new("[s, I, s?, s]", s->name, (json_int_t)s->bytes, s->etag,
                         time_format(s->written, true, when));
}

/* The next note of what is new; *ret_more: there is more than one note holds. */
static int tell(Audit *a, AuditLook *look, bool *ret_more, Err *err)
{
    const Catalogue *c = &a->catalogue;
    json_t *rows = json_array();
    int64_t bytes = 0;

    *ret_more = false;
    for (size_t i = 0; i < c->objects.len; i++) {
        const Seen *s = &c->objects.items[i];
        if (!is_new(s))
            continue;
        if (json_array_size(rows) == NOTE_OBJECTS_MAX) {
            *ret_more = true;
            break;
        }
        json_array_append_new(rows, row_new(s));
        bytes += s->bytes;
    }
    size_t n = json_array_size(rows);
    if (n == 0) {
        json_decref(rows);
        return 0;
    }
    int r = catalogue_note(a->store, &a->catalogue, a->auditor, "seen",
                           json_make_new("{s:o}", "objects", rows), err);
    if (r == 0) {
        look->seen += n;
        look->bytes += bytes;
    }
    return r;
}

static int write_notes(Audit *a, AuditLook *look, Err *err)
{
    bool more = true;
    int r = 0;

    if (a->catalogue.notes.len == 0)
        r = begin(a, err);
    if (r < 0 || a->catalogue.notes.len == 0)
        return r;
    r = add_hosts(a, err);
    while (r == 0 && more)
        r = tell(a, look, &more, err);
    return r;
}

static json_t *merged_new(const Merge *m, const Merged *to)
{
    return json_make_new("{s:s, s:s, s:o}", "segment", to->name, "sha256", to->hash, "from",
                         json_list_new(&m->from));
}

/* A piece that is none, or was damaged, holds nobody up: as far as merging goes it is not there. */
static int put_merged(Audit *a, Merges *list, Merged *done, size_t *ret_n, Err *err)
{
    int r = 0;

    for (bool again = true; r == 0 && again;) {
        again = false;
        merges_clear(list);
        merge_choose(&a->catalogue, a->segment_bytes, store_now(a->store) - a->merge_after_ms,
                     list);
        for (*ret_n = 0; r == 0 && !again && *ret_n < list->len; *ret_n += r == 0) {
            Merged *to = &done[*ret_n];
            free(to->name);
            *to = (Merged){0};
            r = merge_put(a->store, &a->catalogue, &list->items[*ret_n], to, err);
            again = to->bad && catalogue_disown(&a->catalogue, to->bad);
        }
        if (again) {
            err_clear(err);
            r = 0;
        }
    }
    return r;
}

/* The objects first; then the note that has seen them; then those that say what is in them. A run
 * that is cut off in between finds them again, with the same bytes. */
static int merge(Audit *a, AuditLook *look, Err *err)
{
    _cleanup_(merges_clear) Merges list = {0};
    Merged done[MERGE_MOST] = {0};
    size_t n = 0;
    bool more = true;
    int r = put_merged(a, &list, done, &n, err);

    if (r == 0 && n > 0)
        r = catalogue_refresh(a->store, a->auditors, &a->catalogue, err);
    while (r == 0 && n > 0 && more)
        r = tell(a, look, &more, err);
    for (size_t i = 0; r == 0 && i < n; i++) {
        r = catalogue_note(a->store, &a->catalogue, a->auditor, "merged",
                           merged_new(&list.items[i], &done[i]), err);
        look->merged += r == 0;
    }
    for (size_t i = 0; i < MERGE_MOST; i++)
        free(done[i].name);
    return r;
}

static void count(const Audit *a, AuditLook *look)
{
    for (size_t i = 0; i < a->catalogue.objects.len; i++) {
        const Seen *s = &a->catalogue.objects.items[i];
        NameKind kind = name_parse(s->name).kind;
        look->odd += kind == NAME_OTHER;
        if (is_ours(kind) && kind != NAME_SEGMENT && s->written > look->newest)
            look->newest = s->written;
    }
    look->odd += a->catalogue.strays.len;
}

int audit_look(Audit *a, AuditLook *ret, Err *err)
{
    AuditLook look = {0};
    int r = -ERR_CONFLICT;

    for (int i = 0; i < CONFLICTS_MAX && r == -ERR_CONFLICT; i++) {
        err_clear(err);
        r = catalogue_refresh(a->store, a->auditors, &a->catalogue, err);
        if (r == 0)
            r = write_notes(a, &look, err);
        if (r == 0 && a->segment_bytes)
            r = merge(a, &look, err);
    }
    bool more = r == 0;
    while (r == 0 && more)
        r = catalogue_bundle(a->store, a->auditors, &a->catalogue, &more, err);
    if (r < 0)
        return r;
    count(a, &look);
    *ret = look;
    return 0;
}
