#include "cloud/heat.h"

#define SERVER_TYPE "OS::Nova::Server"
#define ADDRESS_OF_STACKS "/stacks/"

static const char *const group_types[] = {"OS::Heat::ResourceGroup", "OS::Heat::AutoScalingGroup"};

void heat_stack_clear(HeatStack *s)
{
    free(s->path);
    free(s->status);
    free(s->reason);
    free(s->updated);
    *s = (HeatStack){0};
}

bool heat_is_busy(const HeatStack *s)
{
    return ends_with(s->status, "_IN_PROGRESS");
}

void heat_group_clear(HeatGroup *g)
{
    free(g->name);
    free(g->victims);
    strlist_clear(&g->sizes);
    *g = (HeatGroup){0};
}

static void member_clear(HeatMember *m)
{
    free(m->name);
    free(m->path);
    free(m->status);
    free(m->id);
    free(m->server);
}

void heat_members_clear(HeatMembers *m)
{
    for (size_t i = 0; i < m->items.len; i++)
        member_clear(&m->items.items[i]);
    vec_clear(&m->items);
}

/* --- the stack ------------------------------------------------------------------------------- */

int heat_stack(Cloud *c, const char *name, HeatStack *ret, Err *err)
{
    _cleanup_(buf_clear) Buf path = BUF_INIT(BUF_MAX_LINE);
    _cleanup_json_ json_t *answer = NULL;

    /* Not by its address, which is answered with another one, and works out all outputs. */
    buf_str(&path, "/stacks?name=");
    buf_url_quote(&path, name, NULL);
    int r = cloud_get(c, CLOUD_ORCHESTRATION, path.p, &answer, err);
    if (r < 0)
        return err_wrap(err, "stack %s", name);
    const json_t *s = json_array_get(json_object_get(answer, "stacks"), 0);
    if (!s) {
        (void)err_set(err, ERR_NOT_FOUND, "there is no stack %s", name);
        return err_hint(err, "`openstack stack list` shows those of the project");
    }
    if (!json_str(s, "id") || !json_str(s, "stack_name"))
        return err_set(err, ERR_CORRUPT, "Heat lists a stack without id and name");
    heat_stack_clear(ret);
    ret->path = xasprintf("/stacks/%s/%s", json_str(s, "stack_name"), json_str(s, "id"));
    ret->status = xstrdup(json_str_or(s, "stack_status", ""));
    ret->reason = xstrdup(json_str_or(s, "stack_status_reason", ""));
    ret->updated = xstrdup(json_str_or(s, "updated_time", ""));
    return 0;
}

/* --- the template ---------------------------------------------------------------------------- */

/* The parameter that a property is: {"get_param": "size"}; NULL if it is none. Borrowed. */
static const char *parameter(const json_t *value)
{
    const json_t *name = json_object_get(value, "get_param");

    if (json_is_array(name) && json_array_size(name) == 1)
        name = json_array_get(name, 0);
    return json_string_value(name);
}

static bool is_group(const json_t *resource, bool *ret_autoscaling)
{
    for (size_t i = 0; i < ARRAY_LEN(group_types); i++)
        if (streq(json_str(resource, "type"), group_types[i])) {
            *ret_autoscaling = i == 1;
            return true;
        }
    return false;
}

static int none_found(const char *name, const StrList *found, Err *err)
{
    _cleanup_(buf_clear) Buf names = BUF_INIT(BUF_MAX_LINE);

    for (size_t i = 0; i < found->len; i++)
        buf_printf(&names, "%s%s", i ? ", " : "", found->items[i]);
    if (found->len == 0)
        return err_set(err, ERR_CONFIG, "its template has no %s and no %s", group_types[0],
                       group_types[1]);
    if (name)
        return err_set(err, ERR_CONFIG, "its template has no group %s, but %s", name, names.p);
    return err_set(err, ERR_CONFIG, "its template has several groups, and one has to be named: %s",
                   names.p);
}

static int find_group(const json_t *heat_template, const char *name, HeatGroup *ret,
                      const json_t **ret_properties, Err *err)
{
    _cleanup_(strlist_clear) StrList found = {0};
    const json_t *resource, *chosen = NULL;
    const char *key;
    bool autoscaling = false;

    json_object_foreach (json_object_get(heat_template, "resources"), key, resource) {
        if (!is_group(resource, &autoscaling))
            continue;
        strlist_add(&found, key);
        if (!name || streq(name, key))
            chosen = resource;
    }
    if (!chosen || (!name && found.len > 1))
        return none_found(name, &found, err);
    (void)is_group(chosen, &ret->autoscaling);
    ret->name = xstrdup(name ? name : found.items[0]);
    *ret_properties = json_object_get(chosen, "properties");
    return 0;
}

static int read_autoscaling(const json_t *properties, HeatGroup *ret, Err *err)
{
    static const char *const bounds[] = {"desired_capacity", "min_size", "max_size"};

    if (!parameter(json_object_get(properties, bounds[0]))) {
        (void)err_set(err, ERR_CONFIG, "desired_capacity of the group %s is no parameter",
                      ret->name);
        return err_hint(err, "min_size, max_size and desired_capacity: {get_param: size}, with "
                             "parameters: {size: {type: number, default: 1}}");
    }
    for (size_t i = 0; i < ARRAY_LEN(bounds); i++) {
        const char *p = parameter(json_object_get(properties, bounds[i]));
        if (p && !strlist_has(&ret->sizes, p))
            strlist_add(&ret->sizes, p);
    }
    return 0;
}

static int read_resource_group(const json_t *properties, HeatGroup *ret, Err *err)
{
    const char *size = parameter(json_object_get(properties, "count")), *victims = NULL;
    const json_t *policy;
    size_t i;

    json_array_foreach (json_object_get(properties, "removal_policies"), i, policy) {
        if (!victims)
            victims = parameter(json_object_get(policy, "resource_list"));
    }
    if (!size || !victims) {
        (void)err_set(err, ERR_CONFIG, "%s of the group %s is no parameter",
                      size ? "resource_list of removal_policies" : "count", ret->name);
        return err_hint(err, "count: {get_param: size}, removal_policies: [{resource_list: "
                             "{get_param: victims}}], with parameters: {size: {type: number, "
                             "default: 1}, victims: {type: comma_delimited_list, default: []}}");
    }
    strlist_add(&ret->sizes, size);
    ret->victims = xstrdup(victims);
    return 0;
}

int heat_group_read(const json_t *heat_template, const char *name, HeatGroup *ret, Err *err)
{
    _cleanup_(heat_group_clear) HeatGroup g = {0};
    const json_t *properties = NULL;

    int r = find_group(heat_template, name, &g, &properties, err);
    if (r == 0)
        r = g.autoscaling ? read_autoscaling(properties, &g, err)
                          : read_resource_group(properties, &g, err);
    if (r < 0)
        return r;
    *ret = g;
    g = (HeatGroup){0};
    return 0;
}

int heat_group(Cloud *c, const HeatStack *s, const char *name, HeatGroup *ret, Err *err)
{
    _cleanup_free_ char *path = xasprintf("%s/template", s->path);
    _cleanup_json_ json_t *answer = NULL;

    int r = cloud_get(c, CLOUD_ORCHESTRATION, path, &answer, err);
    return r < 0 ? r : heat_group_read(answer, name, ret, err);
}

/* --- members --------------------------------------------------------------------------------- */

/* "/stacks/NAME/ID..." of a link; NULL if there is none. Borrowed. */
static const char *link_of(const json_t *resource, const char *rel)
{
    const json_t *l;
    size_t i;

    json_array_foreach (json_object_get(resource, "links"), i, l) {
        const char *href = json_str(l, "href");
        if (href && streq(json_str(l, "rel"), rel))
            return strstr(href, ADDRESS_OF_STACKS);
    }
    return NULL;
}

/* Is it a resource of the stack with this id? */
static bool is_in(const json_t *resource, const char *stack_id)
{
    const char *stack = link_of(resource, "stack"), *slash = stack ? strrchr(stack, '/') : NULL;

    return *stack_id && slash && streq(slash + 1, stack_id);
}

/* A member's server: itself, or the one in the stack that it is. "" if there is none. */
static const char *server_id(const json_t *resources, const json_t *member)
{
    const char *id = json_str_or(member, "physical_resource_id", "");
    const json_t *r;
    size_t i;

    if (streq(json_str(member, "resource_type"), SERVER_TYPE))
        return id;
    json_array_foreach (resources, i, r) {
        if (is_in(r, id) && streq(json_str(r, "resource_type"), SERVER_TYPE))
            return json_str_or(r, "physical_resource_id", "");
    }
    return "";
}

static void note_server(const json_t *servers, HeatMember *m)
{
    const json_t *s;
    size_t i;

    json_array_foreach (servers, i, s) {
        if (!*m->id || !streq(json_str(s, "id"), m->id) || streq(json_str(s, "status"), "DELETED"))
            continue;
        m->server = xstrdup(json_str_or(s, "name", m->id));
        m->error = streq(json_str(s, "status"), "ERROR");
        if (!time_parse(json_str_or(s, "created", ""), &m->made))
            m->made = 0;
    }
}

void heat_members_read(const json_t *resources, const json_t *servers, const HeatGroup *g,
                       HeatMembers *ret)
{
    const char *stack_id = "";
    const json_t *r;
    size_t i;

    json_array_foreach (resources, i, r) {
        if (!json_str(r, "parent_resource") && streq(json_str(r, "resource_name"), g->name))
            stack_id = json_str_or(r, "physical_resource_id", "");
    }
    json_array_foreach (resources, i, r) {
        const char *path = link_of(r, "self"), *status = json_str_or(r, "resource_status", "");
        if (!is_in(r, stack_id) || !path || streq(status, "DELETE_COMPLETE"))
            continue;
        HeatMember m = {.name = xstrdup(json_str_or(r, "resource_name", "")),
                        .path = xstrdup(path),
                        .status = xstrdup(status),
                        .id = xstrdup(server_id(resources, r))};
        if (!time_parse(json_str_or(r, "creation_time", ""), &m.made))
            m.made = 0;
        note_server(servers, &m);
        vec_push(&ret->items, m);
    }
}

/* One whose cell is down Nova leaves out of its list, with a 200 (its setting
 * list_records_by_skipping_down_cells). Only a 404 of its own says that a server is gone. */
static int ask_missing(Cloud *c, const HeatMember *m, Err *err)
{
    _cleanup_(err_clear) Err own = {0};
    _cleanup_(call_clear) Call call = {.cloud = c,
                                       .service = CLOUD_COMPUTE,
                                       .kind = CALL_READ,
                                       .method = "GET",
                                       .path = xasprintf("/servers/%s", m->id)};

    if (m->server || !*m->id)
        return 0;
    int r = cloud_perform(&call, 1, &own);
    if (r == -ERR_NOT_FOUND)
        return 0;
    return err_set(err, ERR_TEMPORARY, "Nova's list is without %s's server, which is not gone%s%s",
                   m->name, r < 0 ? ": " : "", r < 0 && own.text ? own.text : "");
}

int heat_members(Cloud *c, const HeatStack *s, const HeatGroup *g, HeatMembers *ret, Err *err)
{
    Call calls[] = {{.cloud = c,
                     .service = CLOUD_ORCHESTRATION,
                     .kind = CALL_READ,
                     .method = "GET",
                     .path = xasprintf("%s/resources?nested_depth=2", s->path)},
                    {.cloud = c,
                     .service = CLOUD_COMPUTE,
                     .kind = CALL_READ,
                     .method = "GET",
                     .path = xstrdup("/servers/detail"),
                     .plural = "servers"}};
    int r = cloud_perform(calls, ARRAY_LEN(calls), err);
    const json_t *resources = json_object_get(calls[0].json, "resources");

    if (r == 0 && !json_is_array(resources))
        r = err_set(err, ERR_CORRUPT, "the answer of Heat has no list `resources`");
    if (r == 0)
        heat_members_read(resources, calls[1].json, g, ret);
    for (size_t i = 0; r == 0 && i < ret->items.len; i++)
        r = ask_missing(c, &ret->items.items[i], err);
    for (size_t i = 0; i < ARRAY_LEN(calls); i++)
        call_clear(&calls[i]);
    return r;
}

/* --- changes --------------------------------------------------------------------------------- */

static int patch(Cloud *c, const char *path, json_t *body, Err *err)
{
    /* What it answers is a line of text, or null. */
    _cleanup_(call_clear) Call call = {.cloud = c,
                                       .service = CLOUD_ORCHESTRATION,
                                       .kind = CALL_IDEMPOTENT,
                                       .method = "PATCH",
                                       .path = xstrdup(path),
                                       .body = body,
                                       .want_text = true};
    return cloud_perform(&call, 1, err);
}

/* Goes first at the next update, and is not counted. */
static int condemn(Cloud *c, const HeatMember *m, Err *err)
{
    int r = patch(c, m->path,
                  json_make_new("{s:b, s:s}", "mark_unhealthy", 1, "resource_status_reason",
                                "atoll scale: it goes"),
                  err);
    return r < 0 ? err_wrap(err, "marking %s", m->name) : 0;
}

int heat_resize(Cloud *c, const HeatStack *s, const HeatGroup *g, int size, const HeatMembers *m,
                Err *err)
{
    json_t *parameters = json_object(), *victims = json_array();
    int r = 0;

    for (size_t i = 0; i < m->items.len && r == 0; i++) {
        const HeatMember *one = &m->items.items[i];
        if (!one->goes)
            continue;
        json_array_append_new(victims, json_string(one->name));
        r = g->autoscaling ? condemn(c, one, err) : 0;
    }
    for (size_t i = 0; i < g->sizes.len; i++)
        json_object_set_new(parameters, g->sizes.items[i], json_integer(size));
    if (g->victims)
        json_object_set(parameters, g->victims, victims);
    json_t *body = json_make_new("{s:o}", "parameters", parameters);
    json_decref(victims);
    if (r < 0) {
        json_decref(body);
        return r;
    }
    return patch(c, s->path, body, err);
}

static const HeatMember *find(const HeatMembers *m, const char *id)
{
    for (size_t i = 0; i < m->items.len; i++)
        if (m->items.items[i].server && streq(m->items.items[i].id, id))
            return &m->items.items[i];
    return NULL;
}

int heat_verify(const HeatMembers *before, int size, const HeatMembers *now, Err *err)
{
    _cleanup_(buf_clear) Buf wrong = BUF_INIT(BUF_MAX_LINE);
    int there = 0;

    for (size_t i = 0; i < now->items.len; i++)
        there += now->items.items[i].server != NULL;
    if (there != size)
        buf_printf(&wrong, "%d servers, not %d", there, size);
    for (size_t i = 0; i < before->items.len; i++) {
        const HeatMember *m = &before->items.items[i];
        bool stays = m->server && find(now, m->id) != NULL;
        if (m->server && stays == m->goes)
            buf_printf(&wrong, "%s%s %s", wrong.len ? ", " : "", m->server,
                       stays ? "is still there" : "is gone, and was to stay");
    }
    if (!wrong.len)
        return 0;
    return err_set(err, ERR_PARTIAL,
                   "its update is complete, but the group has not become what "
                   "was asked for: %s",
                   wrong.p);
}
