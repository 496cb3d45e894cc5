/* Worlds on paper, for the tests of the engine. */
#pragma once
#include "host/spec.h"
#include "island/want.h"
#include "plan/kind.h"
#include <setjmp.h>

#include <cmocka.h>

#define NOW ((Msec)1764000000000)

#define PAPER_HEAD                                                                                 \
    "island: reef\ndomain: reef.example\ncloud: catalyst\nrelease: {canary: true}\nservers:\n"

static const char paper_two_tiers[] =
    PAPER_HEAD "  web: {flavor: small, roles: [edge, web, worker]}\n"
               "  db: {flavor: big, roles: [postgres, redis], volume: {size: 50GB, type: nvme}}\n";

/* The same with a further tier and a second web server. */
static _unused_ const char paper_more[] =
    PAPER_HEAD "  web: {flavor: small, count: 2, roles: [edge, web]}\n"
               "  jobs: {flavor: small, count: 2, roles: [worker], volume: {size: 1GB}}\n"
               "  db: {flavor: big, roles: [postgres, redis], volume: {size: 50GB, type: nvme}}\n";

/* One server that does everything, and the same with its database on a server of its own. */
static _unused_ const char paper_all[] = PAPER_HEAD
    "  all: {flavor: big, roles: [edge, web, worker, postgres, redis], volume: {size: 50GB}}\n";
static _unused_ const char paper_apart[] =
    "moved: {db: all}\n" PAPER_HEAD "  all: {flavor: big, roles: [edge, web, worker]}\n"
    "  db: {flavor: big, roles: [postgres, redis], volume: {size: 50GB}}\n";

static const char paper_facts[] =
    "{\"clouds\": {\"island\": {\"project_id\": \"p\", \"auth_url\": \"https://k/v3\", "
    "\"object_url\": \"https://s/v1/AUTH_p\", \"region\": \"r\", \"domain_name\": \"Default\"}},"
    " \"external\": {\"wan\": \"net-1\"}}";

static World paper_world(void)
{
    World w = {.facts = json_parse_new(paper_facts, strlen(paper_facts), NULL), .now = NOW};

    assert_non_null(w.facts);
    return w;
}

static Goal paper_goal(const char *text)
{
    _cleanup_json_ json_t *facts = json_parse_new(paper_facts, strlen(paper_facts), NULL);
    _cleanup_(island_clear) Island i = {0};
    _cleanup_(err_clear) Err err = {0};
    Goal g = {0};

    if (island_parse("reef.yaml", str_of(text), &i, &err) < 0)
        fail_msg("%s", err.text);
    island_want(&i, facts, &g.want);
    return g;
}

/* Everything made, and each thing with an id of its own. */
static _unused_ World paper_built(const Goal *g)
{
    World w = paper_world();
    _cleanup_(steps_clear) Steps steps = {0};
    _cleanup_(err_clear) Err err = {0};

    if (plan_make(g, &w, NOW, &steps, &err) < 0)
        fail_msg("%s", err.text);
    for (size_t i = 0; i < steps.len; i++)
        plan_predict(g, &w, &steps.items[i]);
    for (size_t i = 0; i < w.items.len; i++) {
        Resource *r = &w.items.items[i];

        free(r->id);
        r->id = r->generation > 1 ? xasprintf("id-%s-%s-g%d", resource_row(r->kind)->prefix, r->key,
                                              r->generation)
                                  : xasprintf("id-%s-%s", resource_row(r->kind)->prefix, r->key);
        json_object_del(r->attrs, "ids");
        r->created_at = NOW - HOUR;
        if (r->kind == RESOURCE_PORT)
            json_object_set_new(r->attrs, "address", json_string("10.77.0.9"));
    }
    for (size_t i = 0; i < w.items.len; i++) {
        Resource *r = &w.items.items[i];
        const Resource *want = goal_find(g, r->kind, r->key);
        _cleanup_json_ json_t *spec = NULL;
        char hash[17];

        if (r->kind == RESOURCE_FLOATING_IP)
            json_object_set_new(
                r->attrs, "ids",
                json_make_new("{s:s}", "port",
                              world_find(&w, RESOURCE_PORT, json_str(r->attrs, "port"), 0)->id));
        if (r->kind != RESOURCE_HOST)
            continue;
        spec = host_spec_new(want, &w);
        assert_non_null(spec);
        host_spec_hash(spec, hash);
        json_object_set_new(r->attrs, "sent_spec", json_string(hash));
        host_rest_hash(spec, hash);
        json_object_set_new(r->attrs, "sent_rest", json_string(hash));
    }
    return w;
}

static _unused_ void paper_next(const Goal *g, const World *w, Next *ret)
{
    _cleanup_(err_clear) Err err = {0};

    if (plan_next(g, w, NOW, ret, &err) < 0)
        fail_msg("%s", err.text);
}

static const char *const paper_verbs[KIND_VERBS] = {
    "create", "rules", "unrule", "attach",  "detach",  "grant",  "change", "empty", "delete",
    "send",   "mark",  "resize", "confirm", "rebuild", "extend", "retype", "rename"};

/* "create server web.0; attach ip main": the whole of it, for one comparison. */
static _unused_ char *paper_text(const Next *n)
{
    Buf b = BUF_INIT(BUF_MAX_BODY);

    for (size_t i = 0; i < n->steps.len; i++) {
        const Step *s = &n->steps.items[i];

        buf_printf(&b, "%s%s %s %s%s%s", b.len ? "; " : "", paper_verbs[s->verb],
                   resource_row(s->kind)->prefix, s->key, s->detail ? " " : "",
                   s->detail ? s->detail : "");
    }
    for (size_t i = 0; i < n->waits.len; i++)
        buf_printf(&b, "%swait %s %s: %s", b.len ? "; " : "",
                   resource_row(n->waits.items[i].kind)->prefix, n->waits.items[i].key,
                   n->waits.items[i].what);
    for (size_t i = 0; i < n->stucks.len; i++)
        buf_printf(&b, "%sstuck %s %s: %s", b.len ? "; " : "",
                   resource_row(n->stucks.items[i].kind)->prefix, n->stucks.items[i].key,
                   n->stucks.items[i].why);
    return buf_detach(&b);
}

static _unused_ void paper_remove(World *w, ResourceKind kind, const char *key)
{
    Resource *r = world_find(w, kind, key, 0);
    size_t at;

    assert_non_null(r);
    at = (size_t)(r - w->items.items);
    resource_clear(r);
    vec_remove(&w->items, at);
}

static _unused_ void paper_status(World *w, ResourceKind kind, const char *key, const char *status)
{
    Resource *r = world_find(w, kind, key, 0);

    assert_non_null(r);
    free(r->status);
    r->status = xstrdup(status);
}

static _unused_ void paper_attr(World *w, ResourceKind kind, const char *key, const char *attr,
                                json_t *value)
{
    Resource *r = world_find(w, kind, key, 0);

    assert_non_null(r);
    json_object_set_new(r->attrs, attr, value);
}
