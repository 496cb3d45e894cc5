/* What the kinds' rows share. */
#include "plan/kind.h"

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

const Resource *turn_find(const Turn *t, ResourceKind kind, const char *key)
{
    const Resource *found = NULL;

    for (size_t i = 0; i < t->w->items.len; i++) {
        const Resource *r = &t->w->items.items[i];

        if (r->kind == kind && !t->skip[i] && streq(r->key, key) &&
            (!found || r->generation > found->generation))
            found = r;
    }
    return found;
}

const Resource *turn_ready(const Turn *t, ResourceKind kind, const char *key)
{
    const Resource *r = turn_find(t, kind, key);
    const PlanKind *row = plan_kind(kind);

    return r && (!row->state || row->state(r).is == STATE_READY) ? r : NULL;
}

const Resource *goal_find(const Goal *g, ResourceKind kind, const char *key)
{
    for (size_t i = 0; i < g->want.len; i++) {
        if (g->want.items[i].kind == kind && streq(g->want.items[i].key, key))
            return &g->want.items[i];
    }
    return NULL;
}

bool turn_wanted(const Turn *t, const Resource *have)
{
    const Resource *newest;

    if (t->g->destroy || !goal_find(t->g, have->kind, have->key))
        return false;
    /* An older generation stays until the newer one can stand alone. */
    newest = turn_ready(t, have->kind, have->key);
    return !newest || newest->generation <= have->generation;
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

        turn_stuck(t, of, of->kind == RESOURCE_HOST ? ERR_HEALTH : ERR_PARTIAL,
                   "still %s after %s; delete %s %s in the cloud and apply again to have it made "
                   "anew%s",
                   s->what, time_span(t->now - s->since, span),
                   server ? "server" : resource_row(of->kind)->word, of->name ? of->name : of->key,
                   server ? " (volumes stay)" : "");
        return;
    }
    vec_push(&t->next->waits, (Wait){.kind = of->kind,
                                     .key = xstrdup(of->key),
                                     .what = xstrdup(s->what),
                                     .since = s->since,
                                     .deadline = deadline});
}

void turn_blocked(Turn *t, const Resource *of, const char *why)
{
    free(t->blocked_key);
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

bool list_has(const json_t *list, const char *text)
{
    size_t i;
    const json_t *v;

    json_array_foreach (list, i, v) {
        if (streq(json_string_value(v), text))
            return true;
    }
    return false;
}

bool list_same(const json_t *a, const json_t *b)
{
    size_t i;
    const json_t *v;

    if (json_array_size(a) != json_array_size(b))
        return false;
    json_array_foreach (a, i, v) {
        if (!json_is_string(v) || !list_has(b, json_string_value(v)))
            return false;
    }
    return true;
}

const char *rule_group(const char *rule)
{
    const char *at = strstr(rule, " group:");

    return at ? at + strlen(" group:") : NULL;
}
