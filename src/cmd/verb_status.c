/* atoll status: one screen: what runs, how well, and what is under way. */
#include "base/log.h"
#include "cmd/backup_age.h"
#include "cmd/restore_island.h"
#include "cmd/status.h"
#include "host/boot.h"
#include <stdio.h>

typedef struct Options {
    bool all;
} Options;

static const Opt options[] = {
    {.name = "long",
     .letter = 'l',
     .type = OPT_FLAG,
     .sentence = "Tell of every server's services, not only of what is not well.",
     .offset = offsetof(Options, all)},
    OPT_END,
};

static void print_addresses(const Cmd *c, const World *w)
{
    const Resource *address = world_find(w, RESOURCE_FLOATING_IP, "main", 0);
    const char *ip = address ? json_str_or(address->attrs, "address", "") : "";
    const char *object_url = json_str_or(w->facts, "clouds.media.object_url", "");
    if (c->common.json) {
        cmd_json(json_make_new("{s:s, s:s, s:i, s:i, s:s, s:s}", "event", "addresses",
                               "floating_ip", ip, "http", c->island.edge.http, "https",
                               c->island.edge.https, "media", object_url, "container",
                               c->island.media.container));
        return;
    }
    if (*ip && c->island.edge.https && c->island.edge.https != 443)
        cmd_say(c, "web          https://%s:%d/ at %s\n", c->island.domain, c->island.edge.https,
                ip);
    else if (*ip && c->island.edge.https)
        cmd_say(c, "web          https://%s/ at %s\n", c->island.domain, ip);
    else if (*ip && c->island.edge.http != 80)
        cmd_say(c, "web          http://%s:%d/\n", ip, c->island.edge.http);
    else if (*ip)
        cmd_say(c, "web          http://%s/\n", ip);
    cmd_say(c, "media        %s/%s/\n", object_url, c->island.media.container);
}

static void print_json(json_t *island, const json_t *rows)
{
    json_t *row;
    size_t i;

    json_object_set_new(island, "event", json_string("island"));
    cmd_json(json_incref(island));
    json_array_foreach (rows, i, row) {
        json_object_set_new(row, "event", json_string("server"));
        cmd_json(json_incref(row));
    }
}

/* What keeps an edge from getting its certificate, in certbot's words. */
static void warn_of_renewal(const json_t *rows)
{
    const json_t *row;
    size_t i;

    json_array_foreach (rows, i, row) {
        const char *why = json_str_or(row, "tls.why", "");
        if (*why)
            log_warn("%s gets no new certificate: %s", json_str_or(row, "key", "?"), why);
    }
}

/* What the edge serves, by what the cloud says: no call. */
static void print_certificate(const Cmd *c, Msec now)
{
    char at[TIME_TEXT_MAX];
    bool soon = c->has_tls && c->tls.ends - now < TLS_WARN;

    if (c->island.edge.https && !c->has_tls && *c->island.edge.acme_email && !c->common.json)
        cmd_say(c, "tls          no certificate yet: browsers are shown one that signs itself\n");
    if (!c->island.edge.https || !c->has_tls)
        return;
    time_format(c->tls.ends, false, at);
    if (c->common.json)
        cmd_json(json_make_new("{s:s, s:s, s:b}", "event", "certificate", "ends", at, "warning",
                               soon ? 1 : 0));
    else
        cmd_say(c, "tls          certificate until %s\n", at);
    cmd_tls_warn(c, now);
}

/* Backups that can't be looked at are no reason to say nothing of all else. */
static void print_backup(Cmd *c)
{
    _cleanup_(err_clear) Err err = {0};
    _cleanup_(buf_clear) Buf words = BUF_INIT(BUF_MAX_LINE);
    char log[TIME_TEXT_MAX], copy[TIME_TEXT_MAX], signed_at[TIME_TEXT_MAX], proven[TIME_TEXT_MAX];
    BackupAge age;

    if (!c->island.backup.on)
        return;
    if (cmd_backup_age(c, &age, &err) < 0) {
        log_warn("%s", err.text);
        return;
    }
    Msec now = cloud_now(c->clouds.of[CLOUD_OF_BACKUP]);
    const char *warning = cmd_backup_age_warning(&age, c->island.backup.every_h, now);
    if (c->common.json) {
        cmd_json(json_make_new(
            "{s:s, s:s?, s:s?, s:s?, s:s?, s:s?}", "event", "backup", "log",
            age.log ? time_format(age.log, false, log) : NULL, "copy",
            age.copy ? time_format(age.copy, false, copy) : NULL, "countersigned",
            age.countersigned ? time_format(age.countersigned, false, signed_at) : NULL, "proven",
            age.proven ? time_format(age.proven, false, proven) : NULL, "warning", warning));
        return;
    }
    cmd_backup_age_words(&age, now, &words);
    cmd_say(c, "backup       %s\n", words.p);
    if (warning)
        log_warn("%s", warning);
}

/* A restore that is under way, and the volumes that the database had before. */
static void print_restore(const Cmd *c, const CmdPlan *p)
{
    _cleanup_(release_clear) ReleaseRecord release = {0};
    _cleanup_(strlist_clear) StrList kept = {0};

    cmd_release_read(c, &p->world, &release);
    cmd_restore_kept(&p->goal, &p->world, &kept);
    _cleanup_free_ char *words = cmd_restore_words_new(&release);
    if (c->common.json && (words || kept.len)) {
        cmd_json(json_make_new("{s:s, s:s, s:s?, s:o, s:b}", "event", "database", "swap",
                               release_swap_word(release.swap), "to", release.restore_to, "kept",
                               json_list_new(&kept), "undo", release.db_before > 0));
        return;
    }
    if (c->common.json)
        return;
    if (words)
        cmd_say(c, "restore      %s\n", words);
    for (size_t i = 0; i < kept.len; i++)
        cmd_say(c,
                "kept         %s: not the database's now; `atoll apply --delete %s` lets "
                "it go\n",
                kept.items[i], kept.items[i]);
    if (!words && release.db_before && kept.len)
        cmd_say(c, "             `atoll restore --island --undo` goes back to the one of before\n");
}

/* In the last third: half of the time has gone by in which an apply, or the control server, would
 * have renewed them. */
static void warn_of_ends(const World *w, Msec now)
{
    const Resource *first = NULL;
    Msec until = now + MAIL_URL_LIFE / 3;
    char span[TIME_TEXT_MAX];

    for (size_t i = 0; i < w->items.len; i++) {
        const Resource *r = &w->items.items[i];
        Msec end = r->kind == RESOURCE_HOST ? json_int(r->attrs, "sent_until", 0) : 0;
        if (end > now && end < until) {
            first = r;
            until = end;
        }
    }
    if (first)
        log_warn("the mailbox addresses of %s end in %s, and then it can only be replaced: "
                 "`atoll renew` sends new ones",
                 first->key, time_span(until - now, span));
}

static int run(Cmd *c, char **operands, Err *err)
{
    (void)operands; /* none */
    const Options *o = c->options;
    _cleanup_(cmd_plan_clear) CmdPlan p = {0};
    _cleanup_(next_clear) Next next = {0};
    _cleanup_(buf_clear) Buf cost = BUF_INIT(BUF_MAX_LINE), under_way = BUF_INIT(BUF_MAX_LINE);

    ApplyLook look = cmd_look(c);
    int r = apply_look(&look, c->cache_dir, time_now(), &p.world, err);
    if (r < 0)
        return r;
    Msec now = cloud_now(c->clouds.of[CLOUD_OF_ISLAND]);
    _cleanup_(err_clear) Err no_file = {0};
    if (cmd_tls_look(c, &p.world, &no_file) < 0)
        log_warn("%s", no_file.text);
    r = apply_goal(&c->island, &p.world, &(GoalAsk){0}, &p.goal, err);
    if (r == 0)
        r = plan_next(&p.goal, &p.world, now, &next, err);
    if (r < 0)
        return r;
    bool differs = next.steps.len || next.stucks.len;
    _cleanup_json_ json_t *rows = status_servers_new(c, &p.world, now);
    _cleanup_json_ json_t *island =
        status_island_new(c, &p.world, rows, !differs && next.waits.len == 0);
    if (c->common.json) {
        print_json(island, rows);
        print_addresses(c, &p.world);
        print_certificate(c, now);
        print_backup(c);
        print_restore(c, &p);
        warn_of_renewal(rows);
        warn_of_ends(&p.world, now);
        return 0;
    }
    cmd_cost(c, &cost);
    plan_under_way(&next, now, &under_way);
    cmd_say(c, "%s (%s) on %s: %s. %s.\n\n", c->island.name, c->island.domain, c->island.cloud,
            differs          ? "differs from the file, see `atoll plan`"
            : next.waits.len ? under_way.p
                             : "as the file says",
            cost.p);
    status_print_island(c, &p.world, island);
    print_addresses(c, &p.world);
    print_certificate(c, now);
    print_backup(c);
    print_restore(c, &p);
    warn_of_renewal(rows);
    warn_of_ends(&p.world, now);
    putchar('\n');
    status_print_servers(c, rows, now, o->all);
    return 0;
}

const Verb verb_status = {
    .name = "status",
    .usage = "status [options]",
    .sentence = "Show what runs, how well, and what is under way.",
    .text =
        "The release, a change of it that is under way or waits, maintenance, when the "
        "certificate ends (with a warning in its "
        "last 14 days), jobs that wait "
        "and are at work (as counted within the last minutes), and the public addresses. Each "
        "server with what its host last reported and when (\"silent\" when it has not for 5 "
        "minutes): health, the release it runs, how long the agent has been up. Where a server "
        "does not run HEALTH has the cloud's word. Below that, what is not well, in the host's "
        "own words, and a host whose atoll is another version; with -l every service.\n\n"
        "With `backup:` in the file, how long ago the database's log and a whole copy of it "
        "were stored, "
        "and, on a machine that has the island's backup settings, when a backup was last "
        "proven by a drill; a restore of the database that is under way, and what goes on with it; "
        "and the volumes that it had before and that are kept.\n\n"
        "It reads one object for each server more than `atoll plan` does.",
    .needs = NEED_ISLAND | NEED_CLOUD,
    .options_size = sizeof(Options),
    .options = options,
    .run = run,
};
