#include "base/log.h"
#include "cmd/restore_island_work.h"
#include "cmd/status.h"
#include "host/mail.h"
#include "host/spec.h"

#define CLOSE_LIMIT (1 * HOUR)
#define MOVE_LIMIT (1 * DAY)
#define SETTLE (3 * SECOND)

static void work_clear(IslandRestore *w)
{
    cmd_deploy_clear(&w->d);
    cmd_restore_clear(&w->repository);
    free(w->db);
    free(w->volume);
}
DEFINE_CLEAR(IslandRestore, work_clear)

/* Looking. */

static int look(IslandRestore *w, Err *err)
{
    const Island *i = &w->c->island;
    int r = cmd_deploy_look(&w->d, err);

    if (r < 0)
        return r;
    if (!i->backup.on) {
        (void)err_set(err, ERR_PREFLIGHT, "%s has no backup", i->path);
        return err_hint(err, "`backup: {}` in it, and `atoll apply`, begins one");
    }
    if (w->d.record.number == 0)
        return cmd_deploy_installed(&w->d, err);
    if (w->d.record.phase != RELEASE_DONE) {
        (void)err_set(err, ERR_CONFLICT, "a deploy is under way (%s)",
                      release_phase_word(w->d.record.phase));
        return err_hint(err, "`atoll deploy` finishes it, `atoll rollback` takes it back");
    }
    const Resource *want = island_wanted_volume(&w->d.plan.goal);
    free(w->db);
    w->db = island_first_server(i, ROLE_POSTGRES);
    free(w->volume);
    w->volume = want ? xstrdup(want->key) : NULL;
    if (want)
        return 0;
    (void)err_set(err, ERR_PREFLIGHT, "the database of %s is on its server's root disk", w->db);
    return err_hint(err, "give its tier a `volume`; `atoll restore --to` makes a folder");
}

/* Records. */

static void say_record(const IslandRestore *w)
{
    const ReleaseRecord *r = &w->d.record;

    if (w->c->common.json)
        cmd_json(json_make_new("{s:s, s:s, s:s?, s:i, s:i, s:I}", "event", "restore", "phase",
                               release_swap_word(r->swap), "to", r->restore_to, "volume", r->db,
                               "kept", r->db_before, "number", (json_int_t)r->number));
}

static int step(IslandRestore *w, ReleaseRecord *next, Err *err)
{
    int r = cmd_deploy_step(&w->d, next, err);

    if (r == 0)
        say_record(w);
    return r;
}

static void end_swap(ReleaseRecord *r)
{
    r->swap = SWAP_NONE;
    r->maintenance = r->was_closed;
    free(TAKE(r->restore));
    free(TAKE(r->restore_to));
    r->turn = 0;
    r->attempt = 1;
}

/* Steps that a restore may take: settings of hosts, and the database's volume. */
static bool may_step(const IslandRestore *w, const Step *s)
{
    if (s->verb == KIND_SEND && s->kind == RESOURCE_HOST)
        return true;
    if (s->kind == RESOURCE_VOLUME && s->verb == KIND_CREATE)
        return streq(s->key, w->volume);
    return s->kind == RESOURCE_SERVER && streq(s->key, w->db) &&
           (s->verb == KIND_ATTACH || s->verb == KIND_DETACH) && volume_is_of(s->detail, w->db);
}

static int check_steps(const IslandRestore *w, Err *err)
{
    const CmdPlan *p = &w->d.plan;

    for (size_t i = 0; i < p->steps.len; i++) {
        const Step *s = &p->steps.items[i];

        if (may_step(w, s))
            continue;
        (void)err_set(err, ERR_PREFLIGHT, "the island is otherwise not what its file says: %s %s",
                      resource_row(s->kind)->word, s->key);
        return err_hint(err, "`atoll plan` shows it, `atoll apply` makes it so; then again");
    }
    return 0;
}

/* Only hosts that do Mastodon's work; or the database's, with what it is on; or all. */
typedef enum Whom { WRITERS, DATABASE, ALL } Whom;

static void ask_writers(IslandRestore *w)
{
    const Island *i = &w->c->island;

    for (size_t k = 0; k < i->n_tiers; k++)
        for (int n = 0; n < i->tiers[k].count; n++)
            if (i->tiers[k].roles &
                (ROLE_BIT(ROLE_EDGE) | ROLE_BIT(ROLE_WEB) | ROLE_BIT(ROLE_WORKER)))
                strlist_addf(&w->d.ask.only, "%s.%s.%d", resource_row(RESOURCE_HOST)->prefix,
                             i->tiers[k].name, n);
}

static void ask(IslandRestore *w, Whom whom)
{
    if (whom == WRITERS)
        ask_writers(w);
    if (whom != DATABASE)
        return;
    strlist_add(&w->d.ask.only, w->db);
    strlist_addf(&w->d.ask.only, "volume.%s", w->volume);
}

/* Makes the island as the record says. */
static int converge(IslandRestore *w, Whom whom, Msec limit, Err *err)
{
    int64_t mine = w->d.record.number;

    /* Of what is asked for, the volume's key is the record's: so it is looked at twice. */
    strlist_clear(&w->d.ask.only);
    int r = look(w, err);
    if (r == 0 && whom != ALL) {
        ask(w, whom);
        r = look(w, err);
    }
    if (r < 0)
        return r;
    if (w->d.record.number != mine) {
        (void)err_set(err, ERR_CHANGED, "another run has gone on meanwhile");
        return err_hint(err, "`atoll status` shows what it is at");
    }
    r = check_steps(w, err);
    return r < 0
               ? r
               : cmd_perform(
                     w->c, &w->d.plan,
                     &(CmdPerform){.lease_wait_ms = w->o->lease_wait_ms, .timeout_ms = limit}, err);
}

static void to_move(const IslandRestore *w, bool undo, ReleaseRecord *next)
{
    next->swap = SWAP_MOVE;
    next->db_before = w->d.record.db;
    next->db = undo ? w->d.record.db_before : island_next_generation(w);
    next->attempt = 1;
}

/* Would all of it fit? The plan as it will be, made before anything is written. */
static int rehearse(IslandRestore *w, Err *err)
{
    _cleanup_(release_clear) ReleaseRecord next = {0};
    _cleanup_(buf_clear) Buf type = BUF_INIT(BUF_MAX_LINE);
    _cleanup_free_ char *name = NULL;
    CmdPlan *p = &w->d.plan;
    Goal goal = {0};

    int r = check_steps(w, err);
    if (r < 0)
        return r;
    release_next(&w->d.record, &next);
    to_move(w, w->o->undo, &next);
    next.restore = w->o->undo ? NULL : xstrdup("0000000000000000");
    release_type(&next, &type);
    name = release_name(next.number);
    json_array_append_new(p->world.mail,
                          json_make_new("{s:s, s:s}", "name", name, "content_type", type.p));
    r = apply_goal(&w->c->island, &p->world, &(GoalAsk){0}, &goal, err);
    if (r == 0) {
        goal_clear(&p->goal);
        steps_clear(&p->steps);
        p->goal = goal;
        r = plan_make(&p->goal, &p->world, cloud_now(w->c->clouds.of[CLOUD_OF_ISLAND]), &p->steps,
                      err);
    } else {
        goal_clear(&goal);
    }
    const Resource *want = r == 0 ? island_wanted_volume(&p->goal) : NULL;
    if (want) {
        free(w->volume);
        w->volume = xstrdup(want->key);
        r = check_steps(w, err);
    }
    return r < 0 ? r : cmd_plan_quota(w->c, p, err);
}

/* An agent that is older would not stop what writes, or would begin with an empty database. */
static int check_agents(IslandRestore *w, Err *err)
{
    const World *world = &w->d.plan.world;
    Msec now = cloud_now(w->c->clouds.of[CLOUD_OF_ISLAND]);
    _cleanup_json_ json_t *rows = status_servers_new(w->c, world, now);
    const json_t *row;
    size_t i;

    json_array_foreach (rows, i, row) {
        const char *atoll = json_str(row, "atoll");

        if (!atoll || streq(atoll, ATOLL_VERSION))
            continue;
        (void)err_set(err, ERR_PREFLIGHT, "%s has atoll %s, this is " ATOLL_VERSION,
                      json_str_or(row, "key", "?"), atoll);
        return err_hint(err, "`atoll upgrade` puts this one on every server; then again");
    }
    return 0;
}

/* Beginning. */

static int begin_close(IslandRestore *w, Err *err)
{
    _cleanup_free_ char *id = island_new_id();
    ReleaseRecord next = {0};
    /* What can fail does so before the site is closed; but for the end of a log that goes on. */
    int r = !w->o->undo && w->target.kind != TARGET_LATEST ? island_put_kit(w, id, err) : 0;

    if (r < 0)
        return r;
    release_next(&w->d.record, &next);
    next.swap = SWAP_CLOSE;
    next.was_closed = w->d.record.maintenance;
    next.maintenance = true;
    next.attempt = 1;
    if (!w->o->undo) {
        next.restore = TAKE(id);
        next.restore_to = island_moment_new(w);
    }
    return step(w, &next, err);
}

static int begin(IslandRestore *w, bool *ret_nothing, Err *err)
{
    int r = 0;

    if (w->o->undo && (!w->d.record.db_before || !island_found_volume(w, w->d.record.db_before))) {
        (void)err_set(err, ERR_NOT_FOUND, "no volume of before is kept");
        return err_hint(err, "`atoll restore --island --at WHEN` leads to any moment that is "
                             "stored");
    }
    if (r == 0)
        r = check_agents(w, err);
    if (r == 0 && !w->o->undo)
        r = island_choose(w, err);
    if (r < 0)
        return r;
    w->o->undo ? island_say_undo(w) : island_say_restore(w);
    r = rehearse(w, err);
    *ret_nothing = w->o->dry_run;
    if (r < 0 || w->o->dry_run)
        return r;
    r = w->o->yes ? 0 : cmd_ask("Do this? Type yes:", "yes", err);
    return r < 0 ? r : begin_close(w, err);
}

/* Going on. */

/* What was written last is stored by then. */
static void settle(const IslandRestore *w)
{
    for (Msec waited = 0; waited < SETTLE && !*w->c->stop; waited += 100)
        time_sleep(100);
}

static bool any_refused(const World *world)
{
    for (size_t i = 0; i < world->items.len; i++)
        if (world->items.items[i].kind == RESOURCE_HOST &&
            streq(json_str(world->items.items[i].attrs, "state"), "refused"))
            return true;
    return false;
}

static int closed(IslandRestore *w, Err *err)
{
    _cleanup_(err_clear) Err why = {0};
    ReleaseRecord next = {0};
    bool undo = !w->d.record.restore;
    Timeline newest = 0;

    cmd_say(w->c, "closing: the edge answers 503, Mastodon's processes are stopped\n");
    int r = converge(w, WRITERS, CLOSE_LIMIT, &why);
    /* What is left on a server without Mastodon may be as unwell as it was; but one that refused to
     * be told goes on writing. */
    if (r == -ERR_HEALTH && !any_refused(&w->d.plan.world))
        log_warn("%s; going on", why.text);
    else if (r < 0)
        return err_move(err, &why);
    r = undo ? island_newest_timeline(w, &newest, err) : 0;
    if (!undo && !w->kit) {
        settle(w);
        r = island_choose(w, err);
        if (r == 0)
            r = island_put_kit(w, w->d.record.restore, err);
    }
    if (r < 0)
        return r;
    release_next(&w->d.record, &next);
    to_move(w, undo, &next);
    next.turn = newest;
    if (!undo) {
        free(next.restore_to);
        next.restore_to = island_moment_new(w);
    }
    return step(w, &next, err);
}

static int moved(IslandRestore *w, Err *err)
{
    _cleanup_(err_clear) Err why = {0};
    ReleaseRecord next = {0};

    cmd_say(w->c, "moving: %s changes volumes%s\n", w->db,
            w->d.record.restore ? " and is filled; `atoll logs postgres-init` tells how far" : "");
    int r = converge(w, DATABASE, MOVE_LIMIT, &why);
    if (r == -ERR_HEALTH) {
        (void)err_set(err, ERR_HEALTH, "%s", why.text);
        return err_hint(
            err, "`atoll logs %s` says more; the same command tries again%s",
            w->d.record.restore ? "postgres-init" : "postgres-turn",
            w->d.record.restore ? ", and with --undo it goes back to the volume of before" : "");
    }
    if (r < 0)
        return err_move(err, &why);
    release_next(&w->d.record, &next);
    end_swap(&next);
    return step(w, &next, err);
}

static int finish(IslandRestore *w, Err *err)
{
    _cleanup_(strlist_clear) StrList kept = {0};

    cmd_say(w->c, "opening: everything is started again\n");
    int r = converge(w, ALL, CLOSE_LIMIT, err);
    if (r < 0)
        return r;
    island_remove_kits(w);
    cmd_restore_kept(&w->d.plan.goal, &w->d.plan.world, &kept);
    if (w->c->common.json)
        cmd_json(json_make_new("{s:s, s:s, s:s?}", "event", "restored", "volume", w->volume, "kept",
                               kept.len ? kept.items[0] : NULL));
    cmd_say(w->c, "Done: the database of %s is on %s.%s\n", w->c->island.name, w->volume,
            w->d.record.maintenance ? " The edge stays closed, as it was." : "");
    if (w->d.record.db_before)
        cmd_say(w->c,
                "The volume of before is kept: `atoll restore --island --undo` goes back to it.\n");
    for (size_t i = 0; i < kept.len; i++)
        cmd_say(w->c, "`atoll apply --delete %s` lets it go.\n", kept.items[i]);
    return 0;
}

/* Another way than the one that is under way. */
static int turn_back(IslandRestore *w, Err *err)
{
    ReleaseRecord next = {0};
    Timeline newest = 0;

    if (w->d.record.swap == SWAP_CLOSE) {
        cmd_say(w->c, "The restore had not begun to change anything: it is given up.\n");
        release_next(&w->d.record, &next);
        end_swap(&next);
        return step(w, &next, err);
    }
    int r = island_newest_timeline(w, &newest, err);
    if (r < 0)
        return r;
    if (!island_found_volume(w, w->d.record.db_before)) {
        (void)err_set(err, ERR_NOT_FOUND, "the volume of before is not there");
        return err_hint(err, "`atoll restore --island` goes on");
    }
    release_next(&w->d.record, &next);
    free(TAKE(next.restore));
    free(TAKE(next.restore_to));
    next.db = w->d.record.db_before;
    next.db_before = 0; /* nobody goes back to one that is half filled */
    next.turn = newest;
    return step(w, &next, err);
}

/* It failed, for addresses that have ended or for what is mended meanwhile. */
static int once_more(IslandRestore *w, Err *err)
{
    const World *world = &w->d.plan.world;
    int generation = host_current(world, w->db), r = 0;
    const Resource *host = generation ? world_find(world, RESOURCE_HOST, w->db, generation) : NULL;
    ReleaseRecord next = {0};

    if (w->d.record.swap != SWAP_MOVE || !host || !mail_failed(host))
        return 0;
    if (w->d.record.restore)
        r = island_choose(w, err);
    if (r == 0 && w->d.record.restore)
        r = island_put_kit(w, w->d.record.restore, err);
    if (r < 0)
        return r;
    release_next(&w->d.record, &next);
    next.attempt = w->d.record.attempt + 1;
    if (next.restore) {
        free(next.restore_to);
        next.restore_to = island_moment_new(w);
    }
    return step(w, &next, err);
}

static int resume(IslandRestore *w, Err *err)
{
    _cleanup_free_ char *words = cmd_restore_words_new(&w->d.record);

    cmd_say(w->c, "under way: %s\n", words);
    if (w->o->dry_run)
        return 0;
    if (!w->d.record.restore && !w->o->undo) {
        (void)err_set(err, ERR_CONFLICT, "the way back to the volume of before is under way");
        return err_hint(err, "`atoll restore --island --undo` finishes it");
    }
    return w->o->undo && w->d.record.restore ? turn_back(w, err) : once_more(w, err);
}

int cmd_restore_island(Cmd *c, const CmdRestoreIsland *o, Err *err)
{
    _cleanup_(work_clear)
        IslandRestore w = {.c = c, .o = o, .d = {.c = c, .lease_wait_ms = o->lease_wait_ms}};
    bool nothing = false;

    int r = look(&w, err);
    if (r < 0)
        return r;
    if (w.d.record.swap == SWAP_NONE)
        r = begin(&w, &nothing, err);
    else
        r = resume(&w, err);
    if (r < 0 || nothing || o->dry_run)
        return r;
    if (w.d.record.swap == SWAP_CLOSE)
        r = closed(&w, err);
    if (r == 0 && w.d.record.swap == SWAP_MOVE)
        r = moved(&w, err);
    return r < 0 ? r : finish(&w, err);
}
