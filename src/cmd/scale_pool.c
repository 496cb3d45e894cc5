#include "cmd/scale_pool.h"
#include "cmd/status.h"
#include "host/mail.h"
#include "io/child.h"
#include "plan/apply_driver.h"
#include "plan/quota_need.h"

#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

#define LIST_MAX ((size_t)1 << 20)
#define LIST_WAIT (30 * SECOND)
#define QUOTA_EVERY MINUTE

/* True while it runs. */
static bool child_busy(pid_t *child, const char *what, int *ret_result, Err *err)
{
    int status = 0;
    char words[64];

    *ret_result = 0;
    if (*child == 0)
        return false;
    pid_t r = waitpid(*child, &status, WNOHANG);
    if (r == 0)
        return true;
    *child = 0;
    if (r > 0 && (!WIFEXITED(status) || WEXITSTATUS(status) != 0)) {
        /* Its own words were printed by it. */
        bool full = WIFEXITED(status) && WEXITSTATUS(status) == err_row(ERR_PREFLIGHT)->exit_code;
        *ret_result = err_set(err, full ? ERR_QUOTA : ERR_PARTIAL, "%s ended: %s", what,
                              child_status_text(status, words));
    }
    return false;
}

void pool_child_end(pid_t *child)
{
    int status = 0;

    if (*child == 0)
        return;
    (void)kill(*child, SIGTERM); /* it ends what it is at; whoever comes next goes on */
    (void)waitpid(*child, &status, 0);
    *child = 0;
}

/* --- an island's tier ------------------------------------------------------------------------ */

void pool_plan_clear(PlanPool *p)
{
    pool_child_end(&p->child);
    free(p->redis);
    json_decref(p->flavor);
}

static void note_redis(PlanPool *p, const World *w)
{
    _cleanup_free_ char *key = island_first_server(&p->c->island, ROLE_REDIS);
    const Resource *port = key ? world_find(w, RESOURCE_PORT, key, 0) : NULL;
    const char *address = port ? json_str(port->attrs, "address") : NULL;

    if (!address || !*address || streq(address, p->redis))
        return;
    free(p->redis);
    p->redis = xstrdup(address);
}

/* Of the tier's flavor, from what the cloud had when it was asked last. */
static void note_flavor(PlanPool *p)
{
    _cleanup_(world_clear) World w = {0};

    if (!p->flavor && world_facts(&p->c->clouds, p->c->cache_dir, false, time_now(), &w, NULL) == 0)
        p->flavor = json_incref(json_object_get(json_at(w.facts, "flavors"), p->tier->flavor));
}

/* How many servers the quotas allow, with the `there` that there are. A failure leaves what was
 * known: the change itself will tell. */
static void note_quota(PlanPool *p, int there)
{
    static const unsigned mask = 1u << QUOTA_INSTANCES | 1u << QUOTA_CORES | 1u << QUOTA_RAM_MB |
                                 1u << QUOTA_PORTS | 1u << QUOTA_GROUP_MEMBERS;
    int64_t one[QUOTA_ITEMS] = {[QUOTA_INSTANCES] = 1, [QUOTA_PORTS] = 1};
    Quota have[QUOTA_ITEMS];

    if (p->quota_at && time_mono() - p->quota_at < QUOTA_EVERY)
        return;
    note_flavor(p);
    one[QUOTA_CORES] = json_int(p->flavor, "vcpus", 0);
    one[QUOTA_RAM_MB] = json_int(p->flavor, "ram_mb", 0);
    if (quota_look(&p->c->clouds, mask, have, NULL) < 0)
        return;
    int64_t quota = (int64_t)there + quota_room(one, have);
    if (have[QUOTA_GROUP_MEMBERS].limit > 0) /* all of a tier are in one group */
        quota = MIN(quota, have[QUOTA_GROUP_MEMBERS].limit);
    p->quota = quota < INT_MAX ? (int)quota : 0;
    p->quota_at = time_mono();
}

/* By its host's newest report, if that says that all is well. */
static int64_t clients_of(const World *w, const char *key, const json_t *reports)
{
    const Resource *host = world_find(w, RESOURCE_HOST, key, 0);
    const json_t *report =
        host ? json_object_get(reports, json_str_or(host->attrs, "report", "")) : NULL;
    const json_t *clients = json_object_get(report, "clients");

    if (!host || !json_is_object(clients) || !streq(json_str(host->attrs, "state"), "healthy") ||
        mail_silent(host, w->now))
        return -1;
    return json_int(clients, "websocket", 0) + json_int(clients, "eventsource", 0);
}

static int plan_look(void *self, Pool *ret, Err *err)
{
    PlanPool *p = self;
    ApplyLook look = cmd_look(p->c);
    /* Whether hosts can be read the mail's container tells. */
    unsigned kinds = KIND_BIT(RESOURCE_SERVER) | KIND_BIT(RESOURCE_HOST) |
                     KIND_BIT(RESOURCE_CONTAINER) | (p->redis ? 0 : KIND_BIT(RESOURCE_PORT));
    _cleanup_(world_clear) World w = {0};
    size_t n = strlen(p->tier->name);

    int r = apply_look_kinds(&look, kinds, &w, err);
    if (r < 0)
        return err_wrap(err, "looking at the servers");
    note_redis(p, &w);
    p->there = p->going = 0;
    _cleanup_json_ json_t *reports =
        p->tier->roles & ROLE_BIT(ROLE_STREAM) ? status_reports_new(p->c, &w) : NULL;
    for (size_t i = 0; i < w.items.len; i++) {
        const Resource *s = &w.items.items[i];
        int64_t number = 0;
        if (s->kind != RESOURCE_SERVER || !starts_with(s->key, p->tier->name) || s->key[n] != '.' ||
            !parse_int(s->key + n + 1, 0, ISLAND_COUNT_MAX - 1, &number))
            continue;
        /* Of two generations the newer one counts; the engine takes care of the other. */
        if (world_find(&w, RESOURCE_SERVER, s->key, 0) != s)
            continue;
        bool leaving = apply_going(&w, s);
        *(leaving ? &p->going : &p->there) |= (uint64_t)1 << number;
        vec_push(&ret->servers, (PoolServer){.name = xstrdup(s->key),
                                             .error = streq(s->status, "ERROR"),
                                             .leaving = leaving,
                                             .made = s->created_at,
                                             .clients = clients_of(&w, s->key, reports)});
    }
    note_quota(p, (int)ret->servers.len);
    ret->quota = p->quota;
    return 0;
}

/* The number in "worker.3". */
static int number_of(const char *key)
{
    const char *dot = strchr(key, '.');
    int64_t number = -1;

    return dot && parse_int(dot + 1, 0, ISLAND_COUNT_MAX - 1, &number) ? (int)number : -1;
}

static char *numbers_new(uint64_t numbers)
{
    Buf b = BUF_INIT(BUF_MAX_LINE);

    for (int n = 0; n < ISLAND_COUNT_MAX; n++)
        if (numbers >> n & 1)
            buf_printf(&b, "%s%d", b.len ? "," : "", n);
    if (!b.len)
        buf_str(&b, "none");
    return buf_detach(&b);
}

static int plan_set(void *self, int size, const char *const *without, int64_t generation, Err *err)
{
    PlanPool *p = self;
    uint64_t numbers = p->there;
    const CmdCommon *common = &p->c->common;
    (void)
        generation; /* the engine's own lease keeps two apart, and each asks for an absolute size */

    for (; *without; without++) {
        int n = number_of(*without);
        if (n >= 0)
            numbers &= ~((uint64_t)1 << n);
    }
    /* A number that is still going would be kept; and none that stays goes for one that comes, when
     * those that still finish their jobs fill the tier. */
    size = MIN(size, p->tier->scale.max);
    for (int n = 0; n < ISLAND_COUNT_MAX && __builtin_popcountll(numbers) < size; n++)
        if (!((p->there | p->going) >> n & 1))
            numbers |= (uint64_t)1 << n;
    _cleanup_free_ char *text = numbers_new(numbers);
    const char *argv[16] = {"/proc/self/exe", "scale", "set",       p->tier->name, text,
                            "--quiet",        "-f",    common->file};
    size_t n = 8;
    if (common->environment) {
        argv[n++] = "-e";
        argv[n++] = common->environment;
    }
    if (p->package) {
        argv[n++] = "--package";
        argv[n++] = p->package;
    }
    return child_spawn(&(ChildSpec){.argv = argv, .die_with_parent = true}, &p->child, err);
}

static bool plan_busy(void *self, int *ret_result, Err *err)
{
    PlanPool *p = self;

    return child_busy(&p->child, "the change of the tier", ret_result, err);
}

const PoolDriver pool_plan = {
    .name = "plan", .look = plan_look, .set = plan_set, .busy = plan_busy};

/* --- a command ------------------------------------------------------------------------------- */

/* A line of `COMMAND list`: NAME [error|leaving] [seconds since it was asked for]. */
static int read_line(Str line, Pool *ret, Err *err)
{
    Str rest = line, word;
    PoolServer s = {0};
    int64_t age = 0;

    while (str_next(&rest, ' ', &word)) {
        _cleanup_free_ char *text = xstrndup(word.p, word.n);
        if (!*text)
            continue;
        if (!s.name)
            s.name = TAKE(text);
        else if (streq(text, "error"))
            s.error = true;
        else if (streq(text, "leaving"))
            s.leaving = true;
        else if (parse_int(text, 0, INT32_MAX, &age))
            s.made = time_now() - age * SECOND;
        else {
            (void)err_set(err, ERR_CORRUPT, "its list says '%s' of %s", text, s.name);
            free(s.name);
            return -ERR_CORRUPT;
        }
    }
    if (s.name)
        vec_push(&ret->servers, s);
    return 0;
}

static int exec_look(void *self, Pool *ret, Err *err)
{
    const ExecPool *p = self;
    _cleanup_(buf_clear) Buf out = BUF_INIT(LIST_MAX);
    const char *const argv[] = {p->command, "list", NULL};
    int status = 0;
    char words[64];

    int r = child_run(&(ChildSpec){.argv = argv}, str_of(""), LIST_WAIT, &out, &status, err);
    if (r == 0 && status != 0)
        r = err_set(err, ERR_IO, "%s: %.200s", child_status_text(status, words), out.p);
    Str rest = buf_as_str(&out), line;
    while (r == 0 && str_next(&rest, '\n', &line))
        r = read_line(line, ret, err);
    return r < 0 ? err_wrap(err, "%s list", p->command) : 0;
}

static int exec_set(void *self, int size, const char *const *without, int64_t generation, Err *err)
{
    ExecPool *p = self;
    _cleanup_free_ char *number = xasprintf("%d", size);
    _cleanup_free_ char *fence = xasprintf("ATOLL_GENERATION=%lld", (long long)generation);
    _cleanup_(strlist_clear) StrList argv = {0};
    _cleanup_(strlist_clear) StrList env = {0};

    strlist_add(&argv, p->command);
    strlist_add(&argv, "set");
    strlist_add(&argv, number);
    for (; *without; without++)
        strlist_add(&argv, *without);
    for (char **e = environ; *e; e++)
        strlist_add(&env, *e);
    strlist_add(&env, fence);
    return child_spawn(&(ChildSpec){.argv = (const char *const *)argv.items,
                                    .env = (const char *const *)env.items,
                                    .die_with_parent = true},
                       &p->child, err);
}

static bool exec_busy(void *self, int *ret_result, Err *err)
{
    ExecPool *p = self;

    return child_busy(&p->child, p->command, ret_result, err);
}

const PoolDriver pool_exec = {
    .name = "exec", .look = exec_look, .set = exec_set, .busy = exec_busy};
