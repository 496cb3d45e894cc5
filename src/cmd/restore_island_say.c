/* Which volumes there are, and what is to come, in words. */
#include "cmd/restore_island_work.h"

char *cmd_restore_words_new(const ReleaseRecord *r)
{
    const char *how = r->restore ? "" : " --undo";
    _cleanup_free_ char *what =
        r->restore ? xasprintf("the database as it was at %s", r->restore_to ? r->restore_to : "?")
                   : xstrdup("the database's volume of before");

    if (r->swap == SWAP_NONE)
        return NULL;
    return xasprintf("%s: %s; `atoll restore --island%s` goes on%s", what,
                     r->swap == SWAP_CLOSE ? "Mastodon is stopped" : "its server changes volumes",
                     how, r->restore ? ", with --undo it goes back" : "");
}

/* The volume that the database is to have, as wanted. */
const Resource *island_wanted_volume(const Goal *g)
{
    for (size_t i = 0; i < g->want.len; i++) {
        const Resource *r = &g->want.items[i];
        const char *key = r->kind == RESOURCE_HOST ? json_str(r->attrs, "volume") : NULL;

        if (!key || !json_list_has(json_object_get(r->attrs, "roles"), "postgres"))
            continue;
        for (size_t k = 0; k < g->want.len; k++)
            if (g->want.items[k].kind == RESOURCE_VOLUME && streq(g->want.items[k].key, key))
                return &g->want.items[k];
    }
    return NULL;
}

void cmd_restore_kept(const Goal *g, const World *w, StrList *ret)
{
    const Resource *want = island_wanted_volume(g);

    for (size_t i = w->items.len; want && i-- > 0;) {
        const Resource *r = &w->items.items[i];

        if (r->kind == RESOURCE_VOLUME && volume_is_of(r->key, want->key) &&
            !streq(r->key, want->key))
            strlist_add(ret, r->name);
    }
}

const Resource *island_found_volume(const IslandRestore *w, int generation)
{
    _cleanup_free_ char *key = volume_key_new(w->db, generation);

    return world_find(&w->d.plan.world, RESOURCE_VOLUME, key, 0);
}

int island_next_generation(const IslandRestore *w)
{
    const World *world = &w->d.plan.world;
    int newest = MAX(w->d.record.db, w->d.record.db_before);

    for (size_t i = 0; i < world->items.len; i++) {
        const Resource *r = &world->items.items[i];

        if (r->kind == RESOURCE_VOLUME && volume_is_of(r->key, w->db))
            newest = MAX(newest, volume_generation(r->key));
    }
    return newest + 1;
}

char *island_moment_new(const IslandRestore *w)
{
    char text[TIME_TEXT_MAX];

    if (w->target.kind == TARGET_TIME)
        return xstrdup(time_format(w->target.time, true, text));
    return xstrdup(w->target.kind == TARGET_LSN ? w->o->restore->at : "the end of the log");
}

/* Redis, where it is on the same volume, begins empty. */
static const char *also_lost(const IslandRestore *w)
{
    const Island *i = &w->c->island;
    size_t n = strcspn(w->db, ".");

    for (size_t k = 0; k < i->n_tiers; k++) {
        const Tier *t = &i->tiers[k];

        if (strlen(t->name) == n && strncmp(t->name, w->db, n) == 0 &&
            t->roles & ROLE_BIT(ROLE_REDIS))
            return "; Redis is on the same volume: jobs that wait, and home feeds (`atoll tootctl "
                   "feeds build` makes those again)";
    }
    return "";
}

static int64_t pack_bytes(const Base *b)
{
    const json_t *pack;
    size_t i;
    int64_t sum = 0;

    json_array_foreach (json_at(b->facts, "packs"), i, pack) {
        sum += json_integer_value(json_array_get(pack, 1));
    }
    return sum;
}

void island_say_restore(const IslandRestore *w)
{
    const Choice *ch = &w->choice;
    const Resource *now = island_found_volume(w, w->d.record.db);
    _cleanup_free_ char *moment = island_moment_new(w);
    _cleanup_free_ char *key = volume_key_new(w->db, island_next_generation(w));
    _cleanup_free_ char *name = resource_name(w->c->island.name, RESOURCE_VOLUME, key, 1);
    char made[TIME_TEXT_MAX], last[TIME_TEXT_MAX], span[TIME_TEXT_MAX];
    int64_t files = pack_bytes(ch->base), log = (int64_t)(ch->end.end - ch->base->start);
    /* What a small server does: 25 MB a second of files, 10 of log; and to stop and start. */
    Msec away = MINUTE + files / 25000 + log / 10000;

    time_format(ch->base->written, false, made);
    time_format(ch->end.last, false, last);
    if (w->c->common.json) {
        cmd_json(json_make_new("{s:s, s:s, s:s, s:s, s:s, s:s?, s:I, s:I, s:I}", "event",
                               "restore plan", "to", moment, "base", ch->base->id, "log_until",
                               last, "volume", name, "kept", now ? now->name : NULL, "file_bytes",
                               (json_int_t)files, "log_bytes", (json_int_t)log, "downtime_ms",
                               (json_int_t)away));
        return;
    }
    cmd_say(w->c,
            "%s on %s: the database of %s as it was at %s\n"
            "  1  the edge answers 503; Mastodon's processes are stopped\n"
            "  2  a new volume %s; %s is kept\n"
            "  3  %s fills it: the backup of %s, %lld MB, and up to %lld MB of log\n"
            "  4  everything is started again\n"
            "  loss: all that was written after that moment (the log ends at %s)%s\n"
            "  downtime: about %s\n",
            w->c->island.name, w->c->island.cloud, w->db, moment, name,
            now ? now->name : "the one of before", w->db, made, (long long)(files / 1000000),
            (long long)(log / 1000000), last, also_lost(w), time_span(away, span));
}

void island_say_undo(const IslandRestore *w)
{
    const Resource *to = island_found_volume(w, w->d.record.db_before);

    if (w->c->common.json) {
        cmd_json(json_make_new("{s:s, s:s, s:s?, s:I}", "event", "restore plan", "to", "before",
                               "volume", to ? to->name : NULL, "downtime_ms", (json_int_t)MINUTE));
        return;
    }
    cmd_say(w->c,
            "%s on %s: the database of %s goes back to %s\n"
            "  1  the edge answers 503; Mastodon's processes are stopped\n"
            "  2  %s changes volumes; the one that it has now is kept\n"
            "  3  everything is started again\n"
            "  loss: all that was written since the restore%s\n"
            "  downtime: about a minute\n",
            w->c->island.name, w->c->island.cloud, w->db, to ? to->name : "?", w->db, also_lost(w));
}
