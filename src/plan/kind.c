/* What the kinds' rows share. */
#include "plan/kind.h"
#include "host/spec.h"

const PlanKind *plan_kind(ResourceKind kind)
{
    static const PlanKind *const rows[RESOURCE_KINDS] = {
        [RESOURCE_NETWORK] = &plan_network,
        [RESOURCE_SUBNET] = &plan_subnet,
        [RESOURCE_ROUTER] = &plan_router,
        [RESOURCE_GROUP] = &plan_group,
        [RESOURCE_INTERFACE] = &plan_interface,
        [RESOURCE_PORT] = &plan_port,
        [RESOURCE_FLOATING_IP] = &plan_floating_ip,
        [RESOURCE_SERVER_GROUP] = &plan_server_group,
        [RESOURCE_VOLUME] = &plan_volume,
        [RESOURCE_USER] = &plan_user,
        [RESOURCE_CONTAINER] = &plan_container,
        [RESOURCE_SERVER] = &plan_server,
        [RESOURCE_HOST] = &plan_host,
    };

    BUG_IF(kind >= RESOURCE_KINDS);
    return rows[kind];
}

/* `staying`: not one that is being removed. */
static const Resource *find(const Turn *t, ResourceKind kind, const char *key, int generation,
                            bool staying)
{
    const PlanKind *row = plan_kind(kind);
    const Resource *found = NULL;

    for (size_t i = 0; i < t->w->items.len; i++) {
        const Resource *r = &t->w->items.items[i];

        if (r->kind == kind && !t->skip[i] && streq(r->key, key) &&
            (!generation || r->generation == generation) &&
            (!found || r->generation > found->generation) &&
            !(staying && row->state && row->state(r).is == STATE_LEAVING))
            found = r;
    }
    return found;
}

const Resource *turn_find_at(const Turn *t, ResourceKind kind, const char *key, int generation)
{
    return find(t, kind, key, generation, false);
}

const Resource *turn_find(const Turn *t, ResourceKind kind, const char *key)
{
    return turn_find_at(t, kind, key, 0);
}

const Resource *turn_ready_at(const Turn *t, ResourceKind kind, const char *key, int generation)
{
    const Resource *r = turn_find_at(t, kind, key, generation);
    const PlanKind *row = plan_kind(kind);

    return r && (!row->state || row->state(r).is == STATE_READY) ? r : NULL;
}

const Resource *turn_ready(const Turn *t, ResourceKind kind, const char *key)
{
    return turn_ready_at(t, kind, key, 0);
}

const Resource *goal_moved(const Goal *g, const Resource *have)
{
    for (size_t i = 0; i < g->want.len; i++) {
        const Resource *want = &g->want.items[i];

        if (want->kind == have->kind && streq(json_str(want->attrs, "moved"), have->key))
            return want;
    }
    return NULL;
}

const Resource *turn_moved(const Turn *t, const Resource *want)
{
    const char *from = json_str_or(want->attrs, "moved", "");

    return from[0] && !goal_find(t->g, want->kind, from) ? turn_find(t, want->kind, from) : NULL;
}

/* Generations: a server, its port and its host come and go together. */

static bool has_generations(ResourceKind kind)
{
    return kind == RESOURCE_SERVER || kind == RESOURCE_PORT || kind == RESOURCE_HOST;
}

bool is_marked(const Resource *server)
{
    return json_str_or(json_object_get(server->attrs, "metadata"), PLAN_MARK, "")[0] != '\0';
}

static bool has_volumes(const Goal *g, const char *key)
{
    const Resource *server = goal_find(g, RESOURCE_SERVER, key);

    return server && json_array_size(json_object_get(server->attrs, "volumes")) > 0;
}

/* The generation that is to be there. */
static int generation_of(const Turn *t, const char *key)
{
    const Resource *server = find(t, RESOURCE_SERVER, key, 0, true);
    const Resource *port = turn_find(t, RESOURCE_PORT, key);
    int generation = MAX(port ? port->generation : 1, server ? server->generation : 1);

    /* One that is about to be gone needs nothing beside it. */
    if (server && server->generation == generation && is_marked(server) && !has_volumes(t->g, key))
        generation++;
    return generation;
}

Resource want_at_new(const Resource *want, int generation)
{
    Resource r = resource_copy(want);

    r.generation = generation;
    if (generation > 1) {
        free(r.name);
        r.name = xasprintf("%s-g%d", want->name, generation);
    }
    return r;
}

const Resource *turn_want(Turn *t, const Resource *want)
{
    int generation = has_generations(want->kind) ? generation_of(t, want->key) : 1;

    if (generation == want->generation)
        return want;
    for (size_t i = 0; i < t->wanted.len; i++) {
        Resource *r = t->wanted.items[i];

        if (r->kind == want->kind && r->generation == generation && streq(r->key, want->key))
            return r;
    }
    Resource *r = NEW(Resource);
    *r = want_at_new(want, generation);
    vec_push(&t->wanted, r); /* NOLINT(bugprone-sizeof-expression): pointers are meant */
    return r;
}

/* An older generation stays until the newer one serves; a server with volumes goes first, since
 * they can only be at one. */
static bool generation_wanted(const Turn *t, const Resource *have)
{
    const Resource *newest = turn_find(t, have->kind, have->key);
    const Resource *server = turn_find_at(t, RESOURCE_SERVER, have->key, have->generation);
    bool older = newest && newest->generation > have->generation;

    if (have->kind == RESOURCE_PORT)
        return !older || (server && host_current(t->w, have->key) <= have->generation);
    if (!older)
        return !server || !is_marked(server) || !has_volumes(t->g, have->key);
    return host_current(t->w, have->key) <= have->generation;
}

bool turn_wanted(const Turn *t, const Resource *have)
{
    const Resource *newest;

    if (t->g->destroy || !goal_find(t->g, have->kind, have->key))
        return false;
    if (has_generations(have->kind))
        return generation_wanted(t, have);
    newest = turn_ready(t, have->kind, have->key);
    return !newest || newest->generation <= have->generation;
}

const char *linked_id(const Resource *r, const char *attr)
{
    if (!json_str_or(r->attrs, attr, "")[0])
        return "";
    return json_str_or(json_object_get(r->attrs, "ids"), attr, "");
}

bool same_tier(const char *a, const char *b)
{
    size_t n = strcspn(a, ".");

    return n == strcspn(b, ".") && strncmp(a, b, n) == 0;
}

const Resource *turn_any(const Turn *t, ResourceKind kind,
                         bool (*test)(const Turn *t, const Resource *r, const void *with),
                         const void *with)
{
    for (size_t i = 0; i < t->w->items.len; i++) {
        const Resource *r = &t->w->items.items[i];

        if (r->kind == kind && (!test || test(t, r, with)))
            return r;
    }
    return NULL;
}

Step *turn_step(Turn *t, KindVerb verb, const Resource *of, const char *detail, const char *reason,
                ...)
{
    va_list ap;
    Step s = {.verb = verb,
              .kind = of->kind,
              .key = xstrdup(of->key),
              .generation = of->generation,
              .detail = detail ? xstrdup(detail) : NULL,
              .id = of->id ? xstrdup(of->id) : NULL};

    va_start(ap, reason);
    s.reason = xvasprintf(reason, ap);
    va_end(ap);
    vec_push(&t->next->steps, s);
    return vec_last(&t->next->steps);
}

void turn_stuck(Turn *t, const Resource *of, int err_kind, const char *why, ...)
{
    va_list ap;
    Stuck s = {.kind = of->kind, .key = xstrdup(of->key), .err_kind = err_kind};

    va_start(ap, why);
    s.why = xvasprintf(why, ap);
    va_end(ap);
    vec_push(&t->next->stucks, s);
}

void turn_wait(Turn *t, const Resource *of, const State *s)
{
    char span[TIME_TEXT_MAX];
    Msec deadline = s->since && s->limit ? s->since + s->limit : 0;

    if (deadline && t->now >= deadline) {
        bool server = of->kind == RESOURCE_SERVER || of->kind == RESOURCE_HOST;
        _cleanup_free_ char *instead =
            server
                ? xasprintf("`atoll apply --replace %s` has it made anew (volumes stay)", of->key)
                : xasprintf("delete %s %s in the cloud and apply again to have it made anew",
                            resource_row(of->kind)->word, of->name ? of->name : of->key);

        turn_stuck(t, of, of->kind == RESOURCE_HOST ? ERR_HEALTH : ERR_PARTIAL,
                   "still %s after %s; %s", s->what, time_span(t->now - s->since, span), instead);
        return;
    }
    vec_push(&t->next->waits, (Wait){.kind = of->kind,
                                     .key = xstrdup(of->key),
                                     .what = xstrdup(s->what),
                                     .since = s->since,
                                     .deadline = deadline});
}

bool is_volume_of(const Turn *t, const Resource *r, const void *with)
{
    (void)t;
    return volume_is_of(r->key, with);
}

bool is_asked(const Goal *g, ResourceKind kind, const char *key)
{
    _cleanup_free_ char *full = xasprintf("%s.%s", resource_row(kind)->prefix, key);
    _cleanup_free_ char *tier = xstrndup(key, strcspn(key, "."));

    return !g->only.len || strlist_has(&g->only, key) || strlist_has(&g->only, full) ||
           strlist_has(&g->only, tier);
}

void turn_blocked(Turn *t, const Resource *of, const char *why)
{
    if (t->blocked || !is_asked(t->g, of->kind, of->key))
        return;
    t->blocked = why;
    t->blocked_key = xstrdup(of->key);
    t->blocked_kind = of->kind;
}

/* A value as a person writes it. */
static char *shown(const json_t *v)
{
    if (json_is_string(v))
        return xstrdup(json_string_value(v));
    return v ? json_text_new(v) : xstrdup("none");
}

bool turn_same(Turn *t, const Resource *want, const Resource *have, const char *attr,
               const char *instead)
{
    const json_t *a = json_object_get(want->attrs, attr), *b = json_object_get(have->attrs, attr);
    bool lists = json_is_array(a) && json_is_array(b);
    _cleanup_free_ char *a_text = NULL, *b_text = NULL;

    if (lists ? list_same(a, b) : json_equal(a, b))
        return true;
    a_text = shown(a);
    b_text = shown(b);
    turn_stuck(t, have, ERR_PARTIAL,
               "%s is %s, the island file makes it %s, and changing it is not "
               "built yet: %s",
               attr, b_text, a_text, instead);
    return false;
}

bool list_same(const json_t *a, const json_t *b)
{
    size_t i;
    const json_t *v;

    if (json_array_size(a) != json_array_size(b))
        return false;
    json_array_foreach (a, i, v) {
        if (!json_is_string(v) || !json_list_has(b, json_string_value(v)))
            return false;
    }
    return true;
}

const char *rule_group(const char *rule)
{
    const char *at = strstr(rule, " group:");

    return at ? at + strlen(" group:") : NULL;
}
