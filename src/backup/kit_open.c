/* A kit is opened again. What is in it was sealed by who made it, and is believed; that it is whole
 * is asked all the same. */
#include "backup/kit_work.h"

void kit_clear(Kit *k)
{
    store_drop(k->store);
    catalogue_clear(&k->catalogue);
    wal_histories_clear(&k->histories);
    free(k->base.name);
    json_decref(k->base.facts);
    keypair_clear(&k->reader);
    json_decref(k->json);
    *k = (Kit){0};
}

static bool read_lsn(const json_t *j, Lsn *ret)
{
    return json_is_string(j) && lsn_parse(json_string_value(j), ret);
}

static bool read_base(const json_t *j, Base *ret)
{
    const char *name = json_str(j, "name"), *id = json_str(j, "id");
    Base b = {.tli = (Timeline)json_int(j, "tli", 0),
              .written = json_int(j, "written", 0),
              .note = json_int(j, "note", 0)};

    if (!name || !id || strlen(id) >= sizeof b.id || !b.tli ||
        !read_lsn(json_object_get(j, "start"), &b.start) ||
        !read_lsn(json_object_get(j, "stop"), &b.stop) ||
        !json_is_object(json_object_get(j, "facts")))
        return false;
    memcpy(b.id, id, strlen(id) + 1);
    b.name = xstrdup(name);
    b.facts = json_incref(json_object_get(j, "facts"));
    *ret = b;
    return true;
}

static bool read_choice(const json_t *j, const Base *base, Choice *ret)
{
    const json_t *end = json_object_get(j, "end");
    Choice c = {
        .base = base,
        .tli = (Timeline)json_int(j, "tli", 0),
        .end = {.tli = (Timeline)json_int(end, "tli", 0), .last = json_int(end, "last", 0)}};

    if (!c.tli || !c.end.tli || !read_lsn(json_object_get(end, "end"), &c.end.end) ||
        !read_lsn(json_object_get(end, "beyond"), &c.end.beyond))
        return false;
    *ret = c;
    return true;
}

static bool read_target(const json_t *j, Target *ret)
{
    int64_t kind = json_int(j, "kind", -1);
    Target t = {.kind = (TargetKind)kind, .time = json_int(j, "time", 0)};

    if (kind < TARGET_LATEST || kind > TARGET_LSN || !read_lsn(json_object_get(j, "lsn"), &t.lsn))
        return false;
    *ret = t;
    return true;
}

static bool read_histories(const json_t *j, WalHistories *ret)
{
    const json_t *row, *parent;
    size_t i, k;

    json_array_foreach (j, i, row) {
        WalHistory h = {.tli = (Timeline)json_integer_value(json_array_get(row, 0))};

        vec_push(ret, h);
        json_array_foreach (json_array_get(row, 1), k, parent) {
            WalParent p = {.tli = (Timeline)json_integer_value(json_array_get(parent, 0))};

            if (!read_lsn(json_array_get(parent, 1), &p.end))
                return false;
            vec_push(&vec_last(ret)->parents, p);
        }
    }
    return json_is_array(j);
}

static bool read_objects(const json_t *j, SeenList *ret)
{
    const json_t *row;
    size_t i;

    json_array_foreach (j, i, row) {
        const char *name = json_string_value(json_array_get(row, 0));

        if (!name)
            return false;
        vec_push(ret, (Seen){.name = xstrdup(name),
                             .bytes = json_integer_value(json_array_get(row, 1)),
                             .written = json_integer_value(json_array_get(row, 2)),
                             .note = json_integer_value(json_array_get(row, 3)),
                             .gone = json_is_true(json_array_get(row, 4))});
    }
    return json_is_array(j);
}

static bool read_catalogue(const json_t *j, Catalogue *ret)
{
    const json_t *v;
    size_t i;

    ret->system = xstrdup(json_str_or(j, "system", ""));
    json_array_foreach (json_object_get(j, "hosts"), i, v) {
        strlist_add(&ret->hosts, json_string_value(v) ? json_string_value(v) : "");
    }
    json_array_foreach (json_object_get(j, "merged"), i, v) {
        vec_push(
            &ret->notes,
            (Note){.number = (int64_t)i + 1, .kind = xstrdup("merged"), .body = json_deep_copy(v)});
    }
    if (!read_objects(json_object_get(j, "objects"), &ret->objects))
        return false;
    catalogue_settle(ret);
    return true;
}

int kit_open(Str sealed, KeyPair *key, const StoreOptions *o, Kit *ret, Err *err)
{
    _cleanup_(buf_wipe) Buf text = BUF_INIT(KIT_MAX);
    int r = crypt_open(key, KIT_PURPOSE, sealed, &text, err);

    if (r < 0)
        return err_wrap(err, "opening the restore's kit");
    ret->json = json_parse_new(text.p, text.len, err);
    if (!ret->json)
        return err_wrap(err, "reading the restore's kit");
    const json_t *j = ret->json;
    if (json_int(j, "v", 0) != 1 || !read_base(json_object_get(j, "base"), &ret->base) ||
        !read_choice(j, &ret->base, &ret->choice) ||
        !read_target(json_object_get(j, "target"), &ret->target) ||
        !read_histories(json_object_get(j, "histories"), &ret->histories) ||
        !read_catalogue(j, &ret->catalogue))
        return err_set(err, ERR_CORRUPT, "the restore's kit is not one that this version knows");
    r = store_kit(json_object_get(j, "urls"), o, &ret->store, err);
    if (r < 0)
        return r;
    ret->reader = *key;
    *key = (KeyPair){0};
    ret->reader.grants = json_incref(json_object_get(ret->json, "grants"));
    return 0;
}
