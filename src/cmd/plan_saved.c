/* A plan in a file. Applying it makes the plan anew and refuses what is not in the file: so
 * identity, order and safety are the engine's, and the file is only what a person has agreed to. */
#include "cmd/cmd.h"
#include "io/crypt.h"
#include "io/file.h"

#define SAVED_VERSION 1
#define SAVED_MAX ((size_t)16 << 20)

static int digest(const char *path, Buf *ret, Err *err)
{
    return crypt_hash_file(CRYPT_SHA256, path, ret, err);
}

/* Which objects: of a delete, the very one. */
static json_t *step_new(const Goal *g, const Step *s)
{
    return plan_step_json_new(g, s);
}

static json_t *projects_new(const json_t *facts)
{
    return json_make_new("{s:s, s:s}", "island", json_str_or(facts, "clouds.island.project_id", ""),
                         "media", json_str_or(facts, "clouds.media.project_id", ""));
}

int cmd_saved_write(const Cmd *c, const GoalAsk *ask, const CmdPlan *p, const char *path, Err *err)
{
    _cleanup_(buf_clear) Buf hash = BUF_INIT(BUF_MAX_LINE);
    char now[TIME_TEXT_MAX];
    int r = digest(c->common.file, &hash, err);

    if (r < 0)
        return r;
    json_t *steps = json_array();
    for (size_t i = 0; i < p->steps.len; i++)
        json_array_append_new(steps, step_new(&p->goal, &p->steps.items[i]));
    _cleanup_json_ json_t *plan = json_make_new(
        "{s:i, s:s, s:s, s:s, s:s, s:o, s:b, s:o, s:o, s:o, s:o}", "atoll_plan", SAVED_VERSION,
        "atoll", ATOLL_VERSION, "island", c->island.name, "file_sha256", hash.p, "made_at",
        time_format(time_now(), false, now), "projects", projects_new(p->world.facts),
        "allow_rebuild", ask->rebuild, "only", json_list_new(&p->goal.only), "replace_ids",
        json_list_new(&p->goal.replace), "delete", json_list_new(&p->goal.release), "steps", steps);
    _cleanup_free_ char *text = json_dumps(plan, JSON_INDENT(1) | JSON_SORT_KEYS);
    BUG_IF(!text);
    _cleanup_free_ char *whole = xasprintf("%s\n", text);
    r = file_write(path, str_of(whole), 0600, err);
    return r < 0 ? err_wrap(err, "writing the plan to %s", path) : 0;
}

static void read_texts(const json_t *plan, const char *name, StrList *ret)
{
    const json_t *item;
    size_t i;

    json_array_foreach (json_object_get(plan, name), i, item) {
        if (json_is_string(item))
            strlist_add(ret, json_string_value(item));
    }
}

/* Of the shape that cmd_saved_write gives it. */
static int check_shape(const CmdSaved *s, Err *err)
{
    static const char *const arrays[] = {"only", "replace_ids", "delete", "steps"};
    static const char *const texts[] = {"island", "file_sha256", "projects.island",
                                        "projects.media"};
    const json_t *version = json_object_get(s->plan, "atoll_plan");

    if (!json_is_integer(version)) {
        (void)err_set(err, ERR_CONFIG, "%s is no plan of atoll", s->path);
        return err_hint(err, "`atoll plan --out FILE` writes one");
    }
    if (json_integer_value(version) != SAVED_VERSION ||
        !streq(json_str(s->plan, "atoll"), ATOLL_VERSION)) {
        (void)err_set(err, ERR_CONFIG,
                      "%s was written by atoll %s (format %lld); this is " ATOLL_VERSION
                      " (format %d)",
                      s->path, json_str_or(s->plan, "atoll", "?"),
                      (long long)json_integer_value(version), SAVED_VERSION);
        return err_hint(err, "make the plan anew: `atoll plan --out %s`", s->path);
    }
    bool whole = true;
    for (size_t i = 0; i < ARRAY_LEN(arrays); i++)
        whole = whole && json_is_array(json_object_get(s->plan, arrays[i]));
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        whole = whole && json_str(s->plan, texts[i]);
    if (!whole)
        return err_set(err, ERR_CORRUPT, "%s is not a whole plan", s->path);
    return 0;
}

static int check_file(const Cmd *c, const CmdSaved *s, Err *err)
{
    _cleanup_(buf_clear) Buf hash = BUF_INIT(BUF_MAX_LINE);
    int r = digest(c->common.file, &hash, err);

    if (r < 0)
        return r;
    if (!streq(json_str(s->plan, "island"), c->island.name))
        r = err_set(err, ERR_CHANGED, "%s is a plan of the island %s, and %s is about %s", s->path,
                    json_str(s->plan, "island"), c->common.file, c->island.name);
    else if (!streq(json_str(s->plan, "file_sha256"), hash.p))
        r = err_set(err, ERR_CHANGED, "%s is not what it was when %s was made", c->common.file,
                    s->path);
    return r < 0 ? err_hint(err, "make the plan anew: `atoll plan --out %s`", s->path) : 0;
}

int cmd_saved_read(const Cmd *c, const char *path, CmdSaved *ret, Err *err)
{
    _cleanup_(buf_clear) Buf text = BUF_INIT(SAVED_MAX);
    _cleanup_(cmd_saved_clear) CmdSaved s = {.path = xstrdup(path)};
    int r = file_read(path, &text, err);

    if (r < 0)
        return err_wrap(err, "reading the plan");
    s.plan = json_parse_new(text.p, text.len, err);
    if (!s.plan) {
        (void)err_wrap(err, "%s is no plan, or half of one", path);
        err->kind = ERR_CORRUPT;
        return err_hint(err, "make it anew: `atoll plan --out %s`", path);
    }
    r = check_shape(&s, err);
    if (r == 0)
        r = check_file(c, &s, err);
    if (r < 0)
        return r;
    s.ask.agreed = true;
    s.ask.rebuild = json_bool(s.plan, "allow_rebuild", false);
    read_texts(s.plan, "only", &s.ask.only);
    read_texts(s.plan, "replace_ids", &s.ask.replace_ids);
    read_texts(s.plan, "delete", &s.ask.release);
    *ret = s;
    s = (CmdSaved){0};
    return 0;
}

/* What makes two steps the same to the engine (plan_has), and of a delete the very object. */
static bool same_step(const json_t *a, const json_t *b)
{
    static const char *const parts[] = {"kind", "key", "verb", "generation", "detail"};

    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        const json_t *x = json_object_get(a, parts[i]), *y = json_object_get(b, parts[i]);

        if ((x || y) && !json_equal(x, y))
            return false;
    }
    const char *id = json_str(a, "id"), *other = json_str(b, "id");
    return !id || !other || streq(id, "?") || streq(other, "?") || streq(id, other);
}

int cmd_saved_check(const CmdSaved *s, const CmdPlan *p, Err *err)
{
    _cleanup_json_ json_t *projects = projects_new(p->world.facts);
    const json_t *saved;
    size_t k;

    if (!json_equal(projects, json_object_get(s->plan, "projects"))) {
        (void)err_set(err, ERR_CHANGED, "%s is a plan for another project of the cloud", s->path);
        return err_hint(err, "make the plan anew: `atoll plan --out %s`", s->path);
    }
    for (size_t i = 0; i < p->steps.len; i++) {
        const Step *step = &p->steps.items[i];
        _cleanup_json_ json_t *now = step_new(&p->goal, step);
        bool found = false;

        json_array_foreach (json_object_get(s->plan, "steps"), k, saved) {
            found = found || same_step(saved, now);
        }
        if (found)
            continue;
        _cleanup_free_ char *words = plan_words_new(step);
        (void)err_set(err, ERR_CHANGED, "the cloud is not what %s was made of; it has no: %s",
                      s->path, words);
        return err_hint(err, "make the plan anew: `atoll plan --out %s`", s->path);
    }
    return 0;
}

void cmd_saved_clear(CmdSaved *s)
{
    free(s->path);
    json_decref(s->plan);
    goal_ask_clear(&s->ask);
    *s = (CmdSaved){0};
}
