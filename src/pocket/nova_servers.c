/* Servers: rows, how they settle, lists, update and delete. */
#include "base/log.h"
#include "io/file.h"
#include "pocket/cinder.h"
#include "pocket/neutron.h"
#include "pocket/nova.h"
#include "pocket/server.h"
#include <regex.h>

void nova_server_put(Pocket *p, const json_t *row)
{
    store_put(p->store, NOVA_SERVER, row_get(row, "project_id"), row_get(row, "name"), row);
}

static void stamp(const Pocket *p, json_t *row, const char *key)
{
    _cleanup_free_ char *now = pocket_stamp(p, POCKET_NOVA);
    row_text(row, key, now);
}

void nova_server_change(Pocket *p, json_t *row, const char *status, const char *task,
                        const char *then)
{
    json_object_del(row, "_left");
    json_object_del(row, "_then");
    /* First: `then` may be the row's own status. */
    if (then) {
        row_text(row, "_then", then);
        row_unsettle(p, row);
    }
    row_text(row, "status", status);
    row_text(row, "task_state", task);
    stamp(p, row, "updated");
    nova_server_put(p, row);
}

void nova_set_fault(Pocket *p, json_t *row, const char *message)
{
    row_text(row, "status", "ERROR");
    json_object_set_new(row, "fault", json_make_new("{s:i, s:s}", "code", 500, "message", message));
    stamp(p, json_object_get(row, "fault"), "created");
}

json_t *nova_volume_ids_new(const json_t *row)
{
    json_t *ids = json_array();
    size_t i;
    json_t *v;
    json_array_foreach (json_object_get(row, "volumes"), i, v) {
        json_array_append(ids, json_object_get(v, "id"));
    }
    return ids;
}

/* `volumes` is to be kept as long as the result. */
static ServerSpec spec_of(Pocket *p, const json_t *row, const json_t *volumes)
{
    const char *port = json_string_value(json_array_get(json_object_get(row, "ports"), 0));
    return (ServerSpec){.id = row_get(row, "id"),
                        .name = row_get(row, "name"),
                        .address = port ? neutron_port_address(p, port) : NULL,
                        .volumes = volumes};
}

void nova_power_on(Pocket *p, json_t *row)
{
    if (!p->servers_run)
        return;
    _cleanup_json_ json_t *volumes = nova_volume_ids_new(row);
    ServerSpec spec = spec_of(p, row, volumes);
    _cleanup_(err_clear) Err err = {0};
    if (server_on(p, &spec, &err) < 0)
        nova_set_fault(p, row, err.text);
}

bool nova_restart(Pocket *p, const json_t *row)
{
    _cleanup_json_ json_t *volumes = nova_volume_ids_new(row);
    ServerSpec spec = spec_of(p, row, volumes);
    return !p->servers_run || server_restart(p, &spec);
}

void nova_wipe(Pocket *p, json_t *row, Str user_data)
{
    if (!p->servers_run)
        return;
    _cleanup_json_ json_t *volumes = nova_volume_ids_new(row);
    ServerSpec spec = spec_of(p, row, volumes);
    _cleanup_(err_clear) Err err = {0};
    if (server_rebuild(p, &spec, user_data, &err) < 0)
        nova_set_fault(p, row, err.text);
}

static bool deleting(const json_t *row)
{
    return streq(row_get(row, "task_state"), "deleting");
}

bool nova_server_gone(const json_t *row)
{
    return deleting(row) && json_int(row, "_left", 0) <= 0;
}

/* Counts a look: what was on its way arrives. False: it is gone. */
static bool look(Pocket *p, json_t *row)
{
    bool was_settling = row_settling(row);
    if (row_settle(row)) {
        if (deleting(row)) {
            (void)store_delete(p->store, NOVA_SERVER, row_get(row, "id"));
            return false;
        }
        if (streq(row_get(row, "status"), "BUILD") || streq(row_get(row, "status"), "REBUILD"))
            stamp(p, row, "launched");
        if (json_str(row, "_then_flavor"))
            row_text(row, "flavor", row_get(row, "_then_flavor"));
        json_object_del(row, "_then_flavor");
        row_text(row, "status", row_get(row, "_then"));
        row_text(row, "task_state", NULL);
        json_object_del(row, "_then");
    }
    /* Nova compares power states from time to time: a server whose init was killed is off. */
    if (p->servers_run && !row_settling(row) && streq(row_get(row, "status"), "ACTIVE") &&
        !server_is_on(row_get(row, "id")))
        nova_server_change(p, row, "SHUTOFF", NULL, NULL);
    else if (was_settling)
        nova_server_put(p, row);
    return true;
}

json_t *nova_server_get_new(Pocket *p, const PocketCall *c, bool looks, PocketReply *r)
{
    const char *id = c->args.items[0];
    _cleanup_json_ json_t *row = store_get_new(p->store, NOVA_SERVER, id);
    bool there = row && row_own(c, row);
    if (there && (looks ? look(p, row) : !nova_server_gone(row)))
        return TAKE(row);
    nova_fail(r, 404, "Instance %s could not be found.", id);
    return NULL;
}

/* ---- lists */

static const char *const list_params[] = {"limit",
                                          "marker",
                                          "name",
                                          "status",
                                          "flavor",
                                          "image",
                                          "ip",
                                          "ip6",
                                          "tags",
                                          "tags-any",
                                          "not-tags",
                                          "not-tags-any",
                                          "sort_key",
                                          "sort_dir",
                                          "tenant_id",
                                          "project_id",
                                          "user_id",
                                          "all_tenants",
                                          "changes-since",
                                          "changes-before",
                                          "uuid",
                                          "host",
                                          "hostname",
                                          "key_name",
                                          "vm_state",
                                          "task_state",
                                          "power_state",
                                          "deleted",
                                          "availability_zone",
                                          "config_drive",
                                          "reservation_id",
                                          "locked",
                                          "description",
                                          NULL};

static bool params_known(const PocketCall *c, PocketReply *r)
{
    const char *name;
    json_t *value;
    json_object_foreach (c->query, name, value) {
        bool known = c->microversion < 75;
        for (size_t i = 0; list_params[i] && !known; i++)
            known = streq(list_params[i], name);
        if (!known) {
            nova_fail(r, 400,
                      "Invalid input for query parameters. Additional properties are not allowed "
                      "('%s' was unexpected)",
                      name);
            return false;
        }
    }
    return true;
}

static bool project_matches(const PocketCall *c, const json_t *row)
{
    const char *all = pocket_query(c, "all_tenants"), *project = pocket_query(c, "project_id");
    bool every = row_admin(c) && all && !streq(all, "0") && strcasecmp(all, "false") != 0;
    if (!every)
        return streq(row_get(row, "project_id"), c->user->project_id);
    return !project || streq(project, row_get(row, "project_id"));
}

/* Tags as in Neutron: all of, any of, not all of, none of; since 2.26. */
static bool tags_match(const PocketCall *c, const json_t *tags)
{
    static const struct {
        const char *name;
        bool any, want;
    } filters[] = {{"tags", false, true},
                   {"tags-any", true, true},
                   {"not-tags", false, false},
                   {"not-tags-any", true, false}};
    for (size_t i = 0; i < ARRAY_LEN(filters) && c->microversion >= 26; i++) {
        const char *list = pocket_query(c, filters[i].name);
        Str rest = str_of(list), part;
        bool result = !filters[i].any;
        while (list && str_next(&rest, ',', &part)) {
            _cleanup_free_ char *tag = xstrndup(part.p, part.n);
            if (row_matches(tags, tag) == filters[i].any)
                result = filters[i].any;
        }
        if (list && result != filters[i].want)
            return false;
    }
    return true;
}

static bool row_listed(const PocketCall *c, const json_t *row, const regex_t *name)
{
    static const struct {
        const char *filter, *key;
    } exact[] = {
        {"flavor", "flavor"}, {"image", "image"}, {"key_name", "key_name"}, {"uuid", "id"}};
    for (size_t i = 0; i < ARRAY_LEN(exact); i++)
        if (!row_query(c, exact[i].filter, json_object_get(row, exact[i].key)))
            return false;
    const char *status = pocket_query(c, "status");
    if (status && strcasecmp(status, row_get(row, "status")) != 0)
        return false;
    Msec since, updated;
    const char *changes = pocket_query(c, "changes-since");
    if (changes && time_parse(changes, &since) && time_parse(row_get(row, "updated"), &updated) &&
        updated < since)
        return false;
    return (!name || regexec(name, row_get(row, "name"), 0, NULL, 0) == 0) &&
           tags_match(c, json_object_get(row, "tags"));
}

/* What a list is sorted by: the row's key of it, or NULL. */
static const char *sort_key(const char *name)
{
    static const char *const keys[][2] = {{"created_at", "created"},
                                          {"updated_at", "updated"},
                                          {"launched_at", "launched"},
                                          {"display_name", "name"},
                                          {"uuid", "id"},
                                          {"hostname", "hostname"},
                                          {"key_name", "key_name"},
                                          {"vm_state", "status"},
                                          {"project_id", "project_id"},
                                          {"user_id", "user_id"}};
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        if (streq(name, keys[i][0]))
            return keys[i][1];
    return NULL;
}

static bool sort_valid(const PocketCall *c, PocketReply *r)
{
    const char *name = pocket_query(c, "sort_key");
    if (!name || sort_key(name))
        return true;
    nova_fail(r, 400, "Invalid input for query parameters sort_key. Value: %s.", name);
    return false;
}

/* Newest first, as Nova sorts unless it is told otherwise; the rows come oldest first. */
static json_t *sorted_new(const PocketCall *c, const json_t *rows)
{
    const char *name = pocket_query(c, "sort_key"), *dir = pocket_query(c, "sort_dir");
    const char *key = name ? sort_key(name) : "created";
    bool down = !dir || !streq(dir, "asc");
    json_t *list = json_array();
    for (size_t n = json_array_size(rows), i = 0; i < n; i++)
        json_array_append(list, json_array_get(rows, down ? n - 1 - i : i));
    if (!streq(key, "created"))
        row_sort(list, key, down);
    return list;
}

static void list(Pocket *p, const PocketCall *c, PocketReply *r, bool detail)
{
    const char *pattern = pocket_query(c, "name");
    regex_t name;
    if (!params_known(c, r) || !sort_valid(c, r))
        return;
    /* MySQL's REGEXP, which Nova leaves it to, looks at no case. */
    if (pattern && regcomp(&name, pattern, REG_EXTENDED | REG_ICASE | REG_NOSUB) != 0) {
        nova_fail(r, 400, "Invalid filter values: name");
        return;
    }
    _cleanup_json_ json_t *all = store_list_new(p->store, NOVA_SERVER, NULL);
    _cleanup_json_ json_t *rows = sorted_new(c, all);
    json_t *views = json_array();
    size_t i;
    json_t *row;
    json_array_foreach (rows, i, row) {
        if (project_matches(c, row) && look(p, row) && row_listed(c, row, pattern ? &name : NULL))
            json_array_append_new(views, nova_view_new(p, c, row, detail));
    }
    if (pattern)
        regfree(&name);
    pocket_page(p, POCKET_NOVA, c, r, "servers", views);
}

void nova_server_list(Pocket *p, const PocketCall *c, PocketReply *r)
{
    list(p, c, r, false);
}

void nova_server_detail(Pocket *p, const PocketCall *c, PocketReply *r)
{
    list(p, c, r, true);
}

void nova_server_show(Pocket *p, const PocketCall *c, PocketReply *r)
{
    _cleanup_json_ json_t *row = nova_server_get_new(p, c, true, r);
    if (!row)
        return;
    r->status = 200;
    r->json = json_make_new("{s:o}", "server", nova_view_new(p, c, row, true));
}

void nova_server_ips(Pocket *p, const PocketCall *c, PocketReply *r)
{
    _cleanup_json_ json_t *row = nova_server_get_new(p, c, false, r);
    if (!row)
        return;
    r->status = 200;
    r->json = json_make_new("{s:o}", "addresses", nova_addresses_new(p, row));
}

/* ---- update, delete */

static bool update_known(json_t *in, PocketReply *r)
{
    static const char *const known[] = {"name",       "description", "hostname",
                                        "accessIPv4", "accessIPv6",  "OS-DCF:diskConfig"};
    const char *name;
    json_t *value;
    json_object_foreach (in, name, value) {
        bool fits = false;
        for (size_t i = 0; i < ARRAY_LEN(known); i++)
            fits = fits || streq(name, known[i]);
        if (!fits) {
            nova_fail(r, 400,
                      "Invalid input for field/attribute server. Additional properties are not "
                      "allowed ('%s' was unexpected)",
                      name);
            return false;
        }
    }
    return true;
}

void nova_server_update(Pocket *p, const PocketCall *c, PocketReply *r)
{
    _cleanup_json_ json_t *row = nova_server_get_new(p, c, false, r);
    json_t *in = json_object_get(c->body, "server");
    if (!row)
        return;
    if (!json_is_object(in)) {
        nova_fail(r, 400, "'server' is a required property");
        return;
    }
    if (!update_known(in, r) ||
        (json_object_get(in, "name") && !nova_name_valid(json_str(in, "name"), r)))
        return;
    if (json_str(in, "name"))
        row_text(row, "name", json_str(in, "name"));
    if (c->microversion >= 19 && json_object_get(in, "description"))
        row_text(row, "description", json_str(in, "description"));
    stamp(p, row, "updated");
    nova_server_put(p, row);
    r->status = 200;
    r->json = json_make_new("{s:o}", "server", nova_view_new(p, c, row, true));
}

static void free_volumes(Pocket *p, const json_t *row)
{
    size_t i;
    json_t *v;
    json_array_foreach (json_object_get(row, "volumes"), i, v) {
        const char *id = row_get(v, "id");
        cinder_detach(p, id);
        if (!json_bool(v, "delete", false))
            continue;
        _cleanup_free_ char *dir = cinder_volume_dir(p, id);
        _cleanup_(err_clear) Err err = {0};
        if (file_remove_tree(dir, &err) < 0)
            log_err(&err);
        (void)store_delete(p->store, CINDER_VOLUME, id);
    }
}

static void free_ports(Pocket *p, const json_t *row)
{
    const json_t *own = json_object_get(row, "own_ports");
    size_t i;
    json_t *item;
    json_array_foreach (json_object_get(row, "ports"), i, item) {
        const char *id = json_string_value(item);
        _cleanup_json_ json_t *port = store_get_new(p->store, kind_port.name, id);
        if (!streq(row_get(port, "device_id"), row_get(row, "id")))
            continue;
        if (row_matches(own, id))
            neutron_forget_port(p, id);
        else
            (void)neutron_bind_port(p, id, NULL);
    }
    neutron_forward_sync(p);
}

/* Power, ports and volumes go at once, so that nobody waits for them in vain; the row itself stays
 * in sight, deleting, for as many looks as everything takes to settle. */
void nova_server_delete(Pocket *p, const PocketCall *c, PocketReply *r)
{
    _cleanup_json_ json_t *row = nova_server_get_new(p, c, false, r);
    if (!row)
        return;
    r->status = 204;
    if (deleting(row))
        return;
    nova_record(p, c, row, "delete");
    server_remove(p, row_get(row, "id"));
    free_volumes(p, row);
    free_ports(p, row);
    json_object_set_new(row, "ports", json_array());
    json_object_set_new(row, "volumes", json_array());
    nova_server_change(p, row, row_get(row, "status"), "deleting", row_get(row, "status"));
    if (p->settle_lists == 0)
        (void)store_delete(p->store, NOVA_SERVER, row_get(row, "id"));
}
