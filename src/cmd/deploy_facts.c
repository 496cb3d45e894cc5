/* What the servers themselves say before a deploy and in it. */
#include "cmd/ask.h"
#include "cmd/deploy.h"
#include "deploy/facts.h"
#include "io/file.h"

#define OUTPUT_MAX ((size_t)256 << 10)
#define LEAST_FREE_KB ((int64_t)1 << 20) /* a release, and room for what runs */

/* What each target wrote, in their order. */
typedef struct Outputs {
    const AskSession *s;
    VEC(Buf) of;
} Outputs;

static bool collect(void *user, const AskTarget *t, const char *from, Str data)
{
    Outputs *o = user;

    if (streq(from, "out"))
        buf_add(&o->of.items[t - o->s->targets.items], data.p, data.n);
    return true;
}

static void outputs_clear(Outputs *o)
{
    for (size_t i = 0; i < o->of.len; i++)
        buf_clear(&o->of.items[i]);
    vec_clear(&o->of);
}
DEFINE_CLEAR(Outputs, outputs_clear)

/* Runs `argv` (NULL-ended) on a server, or (where NULL) on each. */
static int ask_servers(Cmd *c, const char *where, const char *role, const char *const *argv,
                       AskSession *s, Outputs *ret, Err *err)
{
    _cleanup_(ask_clear) Ask a = {.verb = ASK_EXEC, .limit = MINUTE};
    int status;

    int r = ask_session_open(c, where, false, false, s, err);
    if (r < 0)
        return r;
    ret->s = s;
    if (role)
        ask_session_role(s, role);
    for (size_t i = 0; i < s->targets.len; i++)
        vec_push(&ret->of, BUF_INIT(OUTPUT_MAX));
    for (size_t i = 0; argv[i]; i++)
        strlist_add(&a.argv, argv[i]);
    return ask_session_run(s, &a, &(AskOutput){.part = collect, .user = ret}, &status, err);
}

static double gb(int64_t kb)
{
    return (double)kb / (1024 * 1024);
}

int cmd_deploy_disk(CmdDeploy *d, Err *err)
{
    _cleanup_(ask_session_close) AskSession s = {0};
    _cleanup_(outputs_clear) Outputs out = {0};
    _cleanup_(buf_clear) Buf words = BUF_INIT(BUF_MAX_LINE);

    int r =
        ask_servers(d->c, NULL, NULL, (const char *const[]){"df", "-Pk", ".", NULL}, &s, &out, err);
    if (r < 0)
        return err_wrap(err, "asking the servers for their free disk");
    for (size_t i = 0; i < s.targets.len; i++) {
        const char *key = s.targets.items[i].host->key;
        int64_t kb = facts_free_kb(buf_as_str(&out.of.items[i]));

        if (kb >= 0 && kb < LEAST_FREE_KB) {
            (void)err_set(err, ERR_PREFLIGHT, "%s has only %.1f GB of disk left", key, gb(kb));
            return err_hint(err, "make room, or give it a larger disk; a release takes about 1 GB");
        }
        buf_printf(&words, "%s%s ", i ? ", " : "", key);
        kb < 0 ? buf_str(&words, "does not say") : buf_printf(&words, "%.1f GB", gb(kb));
    }
    cmd_say(d->c, "  disk free: %s\n", words.p);
    return 0;
}

/* Images have no folder to look into. */
static bool has_folder(const json_t *release)
{
    return !streq(json_str(release, "kind"), "image");
}

int cmd_deploy_pending(CmdDeploy *d, Err *err)
{
    _cleanup_(ask_session_close) AskSession web = {0}, db = {0};
    _cleanup_(outputs_clear) Outputs files = {0}, versions = {0};
    _cleanup_free_ char *prepares = island_first_server(&d->c->island, ROLE_WEB);
    const json_t *to = d->record.to;
    /* Beside the release that runs, in which commands are run. */
    _cleanup_free_ char *folder =
        xasprintf("../%s-%s/db", json_str_or(to, "kind", ""), json_str_or(to, "version", ""));
    _cleanup_free_ char *pre = path_join(folder, "migrate"),
                        *post = path_join(folder, "post_migrate");
    Pending p;

    if (!has_folder(to) || !has_folder(d->record.now))
        return 0;
    int r = ask_servers(d->c, prepares, "web", (const char *const[]){"ls", pre, post, NULL}, &web,
                        &files, err);
    if (r == 0)
        r = ask_servers(d->c, "postgres", "postgres",
                        (const char *const[]){"psql", "-AtXc",
                                              "SELECT version FROM schema_migrations",
                                              "mastodon_production", NULL},
                        &db, &versions, err);
    if (r < 0)
        return err_wrap(err, "looking for pending migrations");
    if (files.of.len == 0 || versions.of.len == 0 ||
        !facts_pending(buf_as_str(&files.of.items[0]), buf_as_str(&versions.of.items[0]), &p))
        return 0; /* only words: the migrations themselves find out */
    if (d->c->common.json)
        cmd_json(json_make_new("{s:s, s:i, s:i}", "event", "pending", "before", p.before, "after",
                               p.after));
    else
        cmd_say(d->c, "pending: %d migrations before the restart, %d after it\n", p.before,
                p.after);
    return 0;
}
