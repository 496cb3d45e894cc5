/* A plan on paper: steps, what is stuck, what is kept, isolation, and the sum. */
#include "cloud/history.h"
#include "cmd/cmd.h"

typedef struct Tally {
    int add, change, remove, downtime_s, losses;
} Tally;

static Tally tally(const Steps *steps)
{
    Tally t = {0};
    for (size_t i = 0; i < steps->len; i++) {
        const Step *s = &steps->items[i];
        t.add += s->verb == KIND_CREATE;
        t.remove += s->verb == KIND_DELETE;
        t.change += s->verb != KIND_CREATE && s->verb != KIND_DELETE;
        t.downtime_s += s->downtime_s;
        t.losses += s->loss != NULL;
    }
    return t;
}

/* Who touched a server last: only of those that a plan or a person has to put right. */
#define HISTORY_MAX 8
typedef struct History {
    StrList ids; /* of servers */
    ServerAct acts[HISTORY_MAX];
} History;

static void history_clear(History *h)
{
    for (size_t i = 0; i < h->ids.len; i++)
        server_act_clear(&h->acts[i]);
    strlist_clear(&h->ids);
}
DEFINE_CLEAR(History, history_clear)

static void history_add(History *h, const World *w, ResourceKind kind, const char *key)
{
    const Resource *have = kind == RESOURCE_SERVER ? world_find(w, kind, key, 0) : NULL;

    if (have && have->id && h->ids.len < HISTORY_MAX && !strlist_has(&h->ids, have->id))
        strlist_add(&h->ids, have->id);
}

static void history_ask(Cmd *c, const CmdPlan *p, History *h)
{
    for (size_t i = 0; i < p->steps.len; i++) {
        const Step *s = &p->steps.items[i];

        if (s->verb != KIND_CREATE && s->verb != KIND_DELETE && s->verb != KIND_CONFIRM)
            history_add(h, &p->world, s->kind, s->key);
    }
    for (size_t i = 0; i < p->next.stucks.len; i++)
        history_add(h, &p->world, p->next.stucks.items[i].kind, p->next.stucks.items[i].key);
    if (h->ids.len)
        server_history(c->clouds.of[CLOUD_OF_ISLAND], (const char *const *)h->ids.items, h->ids.len,
                       h->acts);
}

/* "14:03Z", with the day where it was not today. */
static void add_time(Buf *out, Msec at, Msec now)
{
    char text[TIME_TEXT_MAX];

    time_format(at, false, text);
    if (at / DAY != now / DAY)
        buf_printf(out, "%.10s ", text);
    buf_printf(out, "%.5sZ", text + 11);
}

/* "changed 14:03Z (resize by user 5f3c..)": a change to what is there since a while. */
static void add_changed(Cmd *c, const CmdPlan *p, const History *h, ResourceKind kind,
                        const char *key, Msec now, Buf *out)
{
    const Resource *have = world_find(&p->world, kind, key, 0);

    if (!have || !have->changed_at || kind == RESOURCE_HOST)
        return;
    buf_str(out, "; changed ");
    add_time(out, have->changed_at, now);
    for (size_t i = 0; kind == RESOURCE_SERVER && i < h->ids.len; i++) {
        const ServerAct *a = &h->acts[i];

        if (!streq(h->ids.items[i], have->id) || !a->action)
            continue;
        buf_printf(out, " (last: %s by ", a->action);
        if (!a->user_id)
            buf_str(out, "the cloud");
        else if (streq(a->user_id, cloud_user_id(c->clouds.of[CLOUD_OF_ISLAND])))
            buf_str(out, "this login");
        else
            buf_printf(out, "user %s", a->user_id);
        buf_char(out, ' ');
        add_time(out, a->at, now);
        buf_char(out, ')');
    }
}

static void add_changed_json(const CmdPlan *p, const History *h, const Step *s, json_t *event)
{
    const Resource *have = world_find(&p->world, s->kind, s->key, 0);
    char text[TIME_TEXT_MAX];

    if (!have || !have->changed_at || s->verb == KIND_CREATE)
        return;
    json_object_set_new(event, "changed_at",
                        json_string(time_format(have->changed_at, false, text)));
    for (size_t i = 0; s->kind == RESOURCE_SERVER && i < h->ids.len; i++)
        if (streq(h->ids.items[i], have->id) && h->acts[i].action)
            json_object_set_new(event, "last",
                                json_make_new("{s:s, s:s?, s:s}", "action", h->acts[i].action,
                                              "user_id", h->acts[i].user_id, "at",
                                              time_format(h->acts[i].at, false, text)));
}

static void print_steps(Cmd *c, const CmdPlan *p, const History *h, Msec now)
{
    for (size_t i = 0; i < p->steps.len; i++) {
        const Step *s = &p->steps.items[i];

        if (c->common.json) {
            json_t *event = plan_step_json_new(&p->goal, s);
            json_object_set_new(event, "event", json_string("planned_change"));
            add_changed_json(p, h, s, event);
            cmd_json(event);
            continue;
        }
        _cleanup_(buf_clear) Buf line = BUF_INIT(BUF_MAX_LINE);
        plan_line(&p->goal, s, &line);
        if (s->verb != KIND_CREATE && s->verb != KIND_DELETE)
            add_changed(c, p, h, s->kind, s->key, now, &line);
        cmd_say(c, "%s\n", line.p);
    }
}

/* What is not as the file says, and no step can put right. */
static void print_stucks(Cmd *c, const CmdPlan *p, const History *h, Msec now)
{
    for (size_t i = 0; i < p->next.stucks.len; i++) {
        const Stuck *s = &p->next.stucks.items[i];
        if (c->common.json) {
            cmd_json(json_make_new("{s:s, s:s, s:s, s:s}", "event", "stuck", "kind",
                                   resource_row(s->kind)->prefix, "key", s->key, "why", s->why));
            continue;
        }
        _cleanup_(buf_clear) Buf line = BUF_INIT(BUF_MAX_LINE);
        plan_stuck_line(s, &line);
        add_changed(c, p, h, s->kind, s->key, now, &line);
        cmd_say(c, "%s\n", line.p);
    }
    for (size_t i = 0; c->common.json && i < p->next.waits.len; i++) {
        const Wait *w = &p->next.waits.items[i];
        cmd_json(json_make_new("{s:s, s:s, s:s, s:s}", "event", "under_way", "kind",
                               resource_row(w->kind)->prefix, "key", w->key, "what", w->what));
    }
}

/* What the file no longer names and that stays; destroy tells it at its end. */
static void print_kept(const Cmd *c, const CmdPlan *p)
{
    for (size_t i = 0; !p->goal.destroy && i < p->world.items.len; i++) {
        const Resource *have = &p->world.items.items[i];

        if (!goal_keeps(&p->goal, have))
            continue;
        if (c->common.json)
            cmd_json(json_make_new("{s:s, s:s, s:s, s:s}", "event", "kept", "kind",
                                   resource_row(have->kind)->prefix, "key", have->key, "name",
                                   have->name));
        else
            cmd_say(c,
                    "  = %s %s is kept, though the file does not name it; `--delete %s` lets it "
                    "go\n",
                    resource_row(have->kind)->word, have->key, have->name);
    }
}

/* What the settings promise of the upload user; only the check performs it. */
static const char *isolation(const Cmd *c, const CmdPlan *p)
{
    static const char *const powerful[] = {"member",  "_member_",      "admin",
                                           "manager", "swiftoperator", "ResellerAdmin"};
    const char *island = json_str_or(p->world.facts, "clouds.island.project_id", "");
    const char *media = json_str_or(p->world.facts, "clouds.media.project_id", island);

    if (!streq(island, media))
        return "project";
    for (size_t i = 0; i < ARRAY_LEN(powerful); i++)
        if (streq(c->island.media.role, powerful[i]))
            return "none";
    return "container";
}

static void print_isolation(const Cmd *c, const CmdPlan *p)
{
    static const struct {
        const char *level, *words;
    } rows[] = {
        {"project", "media in a project of its own"},
        {"container", "media in the island's project, its user with a role for nothing else"},
        {"none", "the media user's role may do more than write media"},
    };
    const char *level = isolation(c, p);

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (!streq(rows[i].level, level))
            continue;
        if (c->common.json)
            cmd_json(json_make_new("{s:s, s:s, s:s}", "event", "isolation", "level", level,
                                   "required", c->island.media.isolation));
        else
            cmd_say(c, "isolation: %s (%s; proven by `atoll media check`)\n", level, rows[i].words);
    }
}

static void print_summary(const Cmd *c, const CmdPlan *p, const char *under_way)
{
    size_t stuck = p->next.stucks.len;
    Tally t = tally(&p->steps);
    if (c->common.json) {
        cmd_json(json_make_new("{s:s, s:i, s:i, s:i, s:i, s:I}", "event", "change_summary", "add",
                               t.add, "change", t.change, "remove", t.remove, "downtime_s",
                               t.downtime_s, "calls", (json_int_t)c->calls));
        return;
    }
    _cleanup_(buf_clear) Buf cost = BUF_INIT(BUF_MAX_LINE);
    cmd_cost(c, &cost);
    if (p->steps.len == 0 && stuck > 0) {
        cmd_say(c,
                "No changes that atoll could make; %zu thing%s marked ! %s looking at%s%s. %s.\n",
                stuck, stuck == 1 ? "" : "s", stuck == 1 ? "needs" : "need", *under_way ? "; " : "",
                under_way, cost.p);
        return;
    }
    if (p->steps.len == 0 && *under_way) {
        cmd_say(c, "No changes to make; %s. %s.\n", under_way, cost.p);
        return;
    }
    if (p->steps.len == 0) {
        cmd_say(c, "No changes: %s is as the file says%s. %s.\n", c->island.name,
                p->goal.only.len ? ", as far as --only lets one see" : "", cost.p);
        return;
    }
    cmd_say(c, "Plan: %d to add, %d to change, %d to delete.", t.add, t.change, t.remove);
    if (t.downtime_s)
        cmd_say(c, " Downtime: about %d s.", t.downtime_s);
    if (t.losses)
        cmd_say(c, " DATA IS LOST in %d of them.", t.losses);
    cmd_say(c, " %s.\n", cost.p);
}

void cmd_plan_print(Cmd *c, const CmdPlan *p, Msec now)
{
    _cleanup_(history_clear) History history = {0};
    _cleanup_(buf_clear) Buf under_way = BUF_INIT(BUF_MAX_LINE);

    history_ask(c, p, &history);
    print_steps(c, p, &history, now);
    print_stucks(c, p, &history, now);
    print_kept(c, p);
    if (!p->goal.destroy)
        print_isolation(c, p);
    plan_under_way(&p->next, now, &under_way);
    print_summary(c, p, under_way.p);
}
