/* Who is meant by an ask, and may they be asked. */
#include "cmd/ask.h"
#include "host/mail.h"
#include "host/spec.h"
#include <stdio.h>

static const Tier *tier_of(const AskSession *s, const char *server)
{
    _cleanup_free_ char *tier = xstrndup(server, strcspn(server, "."));
    return island_tier(&s->c->island, tier);
}

/* The generation that serves stands for its key. */
static bool is_current(const AskSession *s, const Resource *r)
{
    return r->kind == RESOURCE_HOST && r->generation == host_current(&s->world, r->key);
}

static void add_target(AskSession *s, const Resource *host, const char *what)
{
    vec_push(&s->targets, (AskTarget){host, xstrdup(what)});
}

static bool add_server(AskSession *s, const char *key, const char *what)
{
    for (size_t i = 0; i < s->world.items.len; i++) {
        const Resource *r = &s->world.items.items[i];
        if (is_current(s, r) && streq(r->key, key)) {
            add_target(s, r, what);
            return true;
        }
    }
    return false;
}

/* All servers that carry one of `roles`. */
static bool add_roles(AskSession *s, unsigned roles, const char *what)
{
    for (size_t i = 0; i < s->world.items.len; i++) {
        const Resource *r = &s->world.items.items[i];
        const Tier *tier = r->kind == RESOURCE_HOST ? tier_of(s, r->key) : NULL;
        if (tier && (tier->roles & roles) && is_current(s, r))
            add_target(s, r, what);
    }
    return s->targets.len > 0;
}

/* Services are called by their role: "worker.1", "postgres-init"; but for what prepares. */
static unsigned roles_of_service(const char *service)
{
    _cleanup_free_ char *name = xstrndup(service, strcspn(service, ".-"));
    Role role;

    if (streq(service, "prepare"))
        return ROLE_BIT(ROLE_WEB) | ROLE_BIT(ROLE_WORKER);
    return !streq(name, service) && role_parse(name, &role) ? ROLE_BIT(role) : 0;
}

static int not_there(const AskSession *s, const char *where, bool services, Err *err)
{
    _cleanup_(strlist_clear) StrList names = {0};
    Role role;

    if (role_parse(where, &role)) {
        err_set(err, ERR_NOT_FOUND, "no server of %s has the role %s", s->c->island.name, where);
        return err_hint(err, "`atoll status` shows the servers and their roles");
    }
    for (size_t i = 0; i < s->world.items.len; i++)
        if (is_current(s, &s->world.items.items[i]))
            strlist_add(&names, s->world.items.items[i].key);
    for (size_t i = 0; i < s->c->island.n_tiers; i++)
        for (int r = 0; r < ROLES; r++)
            if (s->c->island.tiers[i].roles & ROLE_BIT(r))
                strlist_add(&names, role_rows[r].name);
    const char *near = names.len ? util_nearest(where, (const char *const *)names.items) : NULL;
    err_set(err, ERR_NOT_FOUND, "%s has no server%s '%s'", s->c->island.name,
            services ? ", role or service" : " or role", where);
    return near ? err_hint(err, "did you mean %s?", near)
                : err_hint(err, "`atoll status` shows the servers and their roles");
}

static int find_targets(AskSession *s, const char *where, bool services, Err *err)
{
    const char *slash = where && services ? strchr(where, '/') : NULL;
    Role role;

    if (!where)
        return add_roles(s, ~0u, "")
                   ? 0
                   : err_set(err, ERR_NOT_FOUND, "%s has no server yet", s->c->island.name);
    if (slash) {
        _cleanup_free_ char *server = xstrndup(where, (size_t)(slash - where));
        return add_server(s, server, slash + 1) ? 0 : not_there(s, server, services, err);
    }
    if (add_server(s, where, ""))
        return 0;
    if (role_parse(where, &role) && add_roles(s, ROLE_BIT(role), where))
        return 0;
    if (services && add_roles(s, roles_of_service(where), where))
        return 0;
    return not_there(s, where, services, err);
}

static int by_key(const void *a, const void *b)
{
    const AskTarget *x = a, *y = b;
    size_t nx = strlen(x->host->key), ny = strlen(y->host->key);

    /* web.2 before web.10 */
    return nx != ny && strcspn(x->host->key, ".") == strcspn(y->host->key, ".")
               ? (nx > ny) - (nx < ny)
               : strcmp(x->host->key, y->host->key);
}

/* Why a host can't be asked now. */
static int check_host(const Resource *host, Msec now, Err *err)
{
    Msec until = json_int(host->attrs, "sent_until", 0);
    Msec since = MAX(json_int(host->attrs, "state_since", 0), json_int(host->attrs, "sent_at", 0));
    const char *status = json_str_or(host->attrs, "server_status", "");
    char span[TIME_TEXT_MAX];

    if (!streq(status, "ACTIVE")) {
        err_set(err, ERR_HEALTH, "%s can't be asked: its server is %s", host->key, status);
        return err_hint(err, "`atoll plan` says what would put that right");
    }
    if (!json_bool(host->attrs, "hello", false))
        return err_set(err, ERR_HEALTH, "%s can't be asked yet: it is still booting", host->key);
    if (!json_int(host->attrs, "sent", 0)) {
        err_set(err, ERR_HEALTH, "%s can't be asked: it has no settings yet", host->key);
        return err_hint(err, "`atoll apply` sends them");
    }
    if (until && until <= now)
        err_set(err, ERR_HEALTH, "%s can't be asked: its mailbox addresses ended %s ago", host->key,
                time_span(now - until, span));
    else if (mail_silent(host, now))
        err_set(err, ERR_HEALTH, "%s can't be asked: it has not reported for %s", host->key,
                time_span(now - since, span));
    else
        return 0;
    return err_hint(err,
                    "`openstack console log show %s` may say why; `atoll apply --replace %s` has "
                    "it made anew (volumes stay)",
                    host->name, host->key);
}

static bool is_healthy(const AskTarget *t)
{
    return streq(json_str(t->host->attrs, "state"), "healthy");
}

static void drop(AskSession *s, size_t i)
{
    free(s->targets.items[i].what);
    vec_remove(&s->targets, i);
}

static int choose(AskSession *s, bool first, Err *err)
{
    Msec now = cloud_now(s->c->clouds.of[CLOUD_OF_ISLAND]);
    size_t best = 0;

    for (size_t i = 0; i < s->targets.len;) {
        _cleanup_(err_clear) Err why = {0};
        if (check_host(s->targets.items[i].host, now, &why) == 0) {
            i++;
            continue;
        }
        if (s->targets.len == 1)
            return err_move(err, &why);
        if (!s->c->common.quiet)
            fprintf(stderr, "%s\n", why.text);
        drop(s, i);
    }
    while (first && best < s->targets.len && !is_healthy(&s->targets.items[best]))
        best++;
    for (size_t i = s->targets.len; first && i-- > 0;)
        if (i != (best < s->targets.len ? best : 0) && s->targets.len > 1) {
            drop(s, i);
            best -= i < best;
        }
    return 0;
}

/* Servers and their mail: two calls. */
static int look_at_hosts(Cmd *c, World *w, Err *err)
{
    _cleanup_free_ char *mail = xasprintf("%d:%s-mail/", CLOUD_OF_ISLAND, c->island.name);
    const char *const containers[] = {mail, NULL};

    int r = world_look(&c->clouds, 1u << RESOURCE_SERVER | 1u << RESOURCE_CONTAINER, containers, w,
                       err);
    if (r < 0)
        return r;
    w->now = cloud_now(c->clouds.of[CLOUD_OF_ISLAND]);
    mail_read(w->mail, w);
    return 0;
}

int ask_session_open(Cmd *c, const char *where, bool services, bool first, AskSession *ret,
                     Err *err)
{
    *ret = (AskSession){.c = c};
    int r = look_at_hosts(c, &ret->world, err);

    if (r == 0)
        r = find_targets(ret, where, services, err);
    if (r < 0)
        return r;
    qsort(ret->targets.items, ret->targets.len, sizeof *ret->targets.items, by_key);
    size_t found = ret->targets.len;
    r = choose(ret, first, err);
    if (r == 0 && found > 1 && ret->targets.len == 1 && !c->common.quiet)
        fprintf(stderr, "on %s\n", ret->targets.items[0].host->key);
    return r < 0 ? r : cmd_need_vault(c, false, &ret->vault, err);
}

void ask_session_role(AskSession *s, const char *role)
{
    for (size_t i = 0; i < s->targets.len; i++) {
        free(s->targets.items[i].what);
        s->targets.items[i].what = xstrdup(role);
    }
}

void ask_session_close(AskSession *s)
{
    for (size_t i = 0; i < s->targets.len; i++)
        free(s->targets.items[i].what);
    vec_clear(&s->targets);
    world_clear(&s->world);
}

static bool collect(void *user, const AskTarget *t, const char *from, Str data)
{
    (void)t;
    (void)from;
    buf_add(user, data.p, data.n);
    return true;
}

int ask_session_collect(AskSession *s, const char *const *argv, Msec limit, int *ret_status,
                        Buf *out, Err *err)
{
    _cleanup_(ask_clear) Ask a = {.verb = ASK_EXEC, .limit = limit};

    for (size_t i = 0; argv[i]; i++)
        strlist_add(&a.argv, argv[i]);
    return ask_session_run(s, &a, &(AskOutput){.part = collect, .user = out}, ret_status, err);
}
