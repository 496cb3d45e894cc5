/* Servers: rows, how they settle, views, lists, update and delete. */
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
    row_text(row, "status", status);
    row_text(row, "task_state", task);
    stamp(p, row, "updated");
    json_object_del(row, "_left");
    json_object_del(row, "_then");
    if (then) {
        row_text(row, "_then", then);
        row_unsettle(p, row);
    }
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
    json_array_foreach(json_object_get(row, "volumes"), i, v)
        json_array_append(ids, json_object_get(v, "id"));
    return ids;
}

void nova_power_on(Pocket *p, json_t *row)
{
    if (!p->servers_run)
        return;
    const char *port = json_string_value(json_array_get(json_object_get(row, "ports"), 0));
    _cleanup_json_ json_t *volumes = nova_volume_ids_new(row);
    ServerSpec spec = {.id = row_get(row, "id"),
                       .name = row_get(row, "name"),
                       .address = port ? neutron_port_address(p, port) : NULL,
                       .volumes = volumes};
    _cleanup_(err_clear) Err err = {0};
    if (server_on(p, &spec, &err) < 0)
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
        if (streq(row_get(row, "status"), "BUILD"))
            stamp(p, row, "launched");
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

/* ---- views */

static const struct {
    const char *status, *vm_state;
    int power; /* 0 pending, 1 running, 4 shut down */
} states[] = {{"BUILD", "building", 0},  {"ACTIVE", "active", 1},     {"SHUTOFF", "stopped", 4},
              {"REBOOT", "active", 1},   {"HARD_REBOOT", "active", 1}, {"ERROR", "error", 0}};

static size_t state_of(const json_t *row)
{
    for (size_t i = 0; i < ARRAY_LEN(states); i++)
        if (streq(states[i].status, row_get(row, "status")))
            return i;
    return ARRAY_LEN(states) - 1;
}

const char *nova_vm_state(const json_t *row)
{
    return states[state_of(row)].vm_state;
}

static void add_address(json_t *list, const json_t *port, const char *address, const char *type)
{
    json_array_append_new(list, json_make_new("{s:i, s:s, s:s, s:s}", "version", 4, "addr",
                                              address, "OS-EXT-IPS:type", type,
                                              "OS-EXT-IPS-MAC:mac_addr",
                                              row_get(port, "mac_address")));
}

/* {network name: [address, ...]}: fixed ones, then their floating ones. */
static json_t *addresses_new(Pocket *p, const json_t *row)
{
    json_t *out = json_object();
    _cleanup_json_ json_t *floating = store_list_new(p->store, kind_floating.name, NULL);
    size_t i, j;
    json_t *id, *item;
    json_array_foreach(json_object_get(row, "ports"), i, id)
    {
        _cleanup_json_ json_t *port =
            store_get_new(p->store, kind_port.name, json_string_value(id));
        _cleanup_json_ json_t *net =
            store_get_new(p->store, kind_network.name, row_get(port, "network_id"));
        if (!port || !net)
            continue;
        if (!json_object_get(out, row_get(net, "name")))
            json_object_set_new(out, row_get(net, "name"), json_array());
        json_t *list = json_object_get(out, row_get(net, "name"));
        json_array_foreach(json_object_get(port, "fixed_ips"), j, item)
            add_address(list, port, row_get(item, "ip_address"), "fixed");
        json_array_foreach(floating, j, item)
        {
            if (streq(row_get(item, "port_id"), row_get(port, "id")))
                add_address(list, port, row_get(item, "floating_ip_address"), "floating");
        }
    }
    return out;
}

/* Names of the groups of its ports, each once. */
static json_t *groups_new(Pocket *p, const json_t *row)
{
    json_t *out = json_array();
    StrList seen = {0};
    size_t i, j;
    json_t *id, *group_id;
    json_array_foreach(json_object_get(row, "ports"), i, id)
    {
        _cleanup_json_ json_t *port =
            store_get_new(p->store, kind_port.name, json_string_value(id));
        json_array_foreach(json_object_get(port, "security_groups"), j, group_id)
        {
            if (strlist_has(&seen, json_string_value(group_id)))
                continue;
            strlist_add(&seen, json_string_value(group_id));
            _cleanup_json_ json_t *group =
                store_get_new(p->store, kind_group.name, json_string_value(group_id));
            if (group)
                json_array_append_new(out, json_make_new("{s:s}", "name", row_get(group, "name")));
        }
    }
    strlist_clear(&seen);
    return out;
}

static json_t *attached_new(const PocketCall *c, const json_t *row)
{
    json_t *out = json_array();
    size_t i;
    json_t *v;
    json_array_foreach(json_object_get(row, "volumes"), i, v)
    {
        json_t *one = json_make_new("{s:s}", "id", row_get(v, "id"));
        if (c->microversion >= 3)
            json_object_set_new(one, "delete_on_termination",
                                json_boolean(json_bool(v, "delete", false)));
        json_array_append_new(out, one);
    }
    return out;
}

static json_t *flavor_new(Pocket *p, const PocketCall *c, const json_t *row)
{
    const Flavor *f = nova_flavor(row_get(row, "flavor"));
    if (c->microversion >= 47)
        return json_make_new("{s:i, s:i, s:i, s:i, s:i, s:s, s:{}}", "vcpus", f->vcpus, "ram",
                             f->ram_mb, "disk", f->disk_gb, "ephemeral", 0, "swap", 0,
                             "original_name", f->name, "extra_specs");
    return json_make_new("{s:s, s:o}", "id", f->id, "links", nova_links_new(p, "flavors", f->id));
}

static json_t *image_new(Pocket *p, const json_t *row)
{
    const char *id = row_get(row, "image");
    if (!*id)
        return json_string("");
    return json_make_new("{s:s, s:o}", "id", id, "links", nova_links_new(p, "images", id));
}

/* One host a server, so that anti-affinity holds: its name is the server's own id. */
static void admin_view(const PocketCall *c, const json_t *row, json_t *view)
{
    row_text(view, "OS-EXT-SRV-ATTR:host", "pocket");
    row_text(view, "OS-EXT-SRV-ATTR:hypervisor_hostname", row_get(row, "id"));
    row_text(view, "OS-EXT-SRV-ATTR:instance_name", row_get(row, "id"));
    if (c->microversion < 3)
        return;
    row_text(view, "OS-EXT-SRV-ATTR:user_data", json_str(row, "user_data"));
    row_text(view, "OS-EXT-SRV-ATTR:hostname", row_get(row, "hostname"));
    row_text(view, "OS-EXT-SRV-ATTR:root_device_name", "/dev/vda");
}

/* What later microversions added. */
static void newer_view(const PocketCall *c, const json_t *row, json_t *view)
{
    static const struct {
        int since;
        const char *name, *value; /* of the row, or JSON text */
    } parts[] = {{9, "locked", "false"},
                 {19, "description", NULL},
                 {26, "tags", NULL},
                 {63, "trusted_image_certificates", "null"},
                 {73, "locked_reason", "null"}};
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        if (c->microversion < parts[i].since)
            continue;
        json_t *value = parts[i].value ? json_loads(parts[i].value, JSON_DECODE_ANY, NULL)
                                       : json_incref(json_object_get(row, parts[i].name));
        json_object_set_new(view, parts[i].name, value);
    }
    if (c->microversion >= 71)
        json_object_set_new(view, "server_groups",
                            *row_get(row, "group") ? json_make_new("[s]", row_get(row, "group"))
                                                   : json_array());
    if (c->microversion >= 90)
        row_text(view, "OS-EXT-SRV-ATTR:hostname", row_get(row, "hostname"));
}

static json_t *detail_new(Pocket *p, const PocketCall *c, const json_t *row)
{
    const char *status = row_get(row, "status");
    json_t *view = json_make_new(
        "{s:s, s:s, s:s, s:s, s:s, s:O, s:o, s:o, s:s, s:s, s:o, s:s, s:s, s:s, s:s, s:s, s:i,"
        " s:n, s:s}",
        "id", row_get(row, "id"), "name", row_get(row, "name"), "status", status, "tenant_id",
        row_get(row, "project_id"), "user_id", row_get(row, "user_id"), "metadata",
        json_object_get(row, "metadata"), "image", image_new(p, row), "flavor",
        flavor_new(p, c, row), "created", row_get(row, "created"), "updated",
        row_get(row, "updated"), "addresses", addresses_new(p, row), "accessIPv4", "",
        "accessIPv6", "", "OS-DCF:diskConfig", "MANUAL", "OS-EXT-AZ:availability_zone", "nova",
        "OS-EXT-STS:vm_state", nova_vm_state(row), "OS-EXT-STS:power_state",
        states[state_of(row)].power, "OS-SRV-USG:terminated_at", "hostId", row_get(row, "host_id"));
    json_object_set_new(view, "links", nova_links_new(p, "servers", row_get(row, "id")));
    json_object_set_new(view, "os-extended-volumes:volumes_attached", attached_new(c, row));
    row_text(view, "OS-EXT-STS:task_state", json_str(row, "task_state"));
    row_text(view, "OS-SRV-USG:launched_at", json_str(row, "launched"));
    row_text(view, "key_name", json_str(row, "key_name"));
    row_text(view, "config_drive", json_bool(row, "config_drive", false) ? "True" : "");
    if (json_array_size(json_object_get(row, "ports")) > 0)
        json_object_set_new(view, "security_groups", groups_new(p, row));
    if (streq(status, "ERROR"))
        json_object_set(view, "fault", json_object_get(row, "fault"));
    else
        json_object_set_new(view, "progress", json_integer(streq(status, "ACTIVE") ? 100 : 0));
    newer_view(c, row, view);
    if (row_admin(c))
        admin_view(c, row, view);
    return view;
}

static json_t *view_new(Pocket *p, const PocketCall *c, const json_t *row, bool detail)
{
    const char *id = row_get(row, "id");
    if (detail)
        return detail_new(p, c, row);
    return json_make_new("{s:s, s:s, s:o}", "id", id, "name", row_get(row, "name"), "links",
                         nova_links_new(p, "servers", id));
}

/* ---- lists */

static const char *const list_params[] = {
    "limit",  "marker",   "name",      "status",       "flavor",    "image",      "ip",
    "ip6",    "tags",     "tags-any",  "not-tags",     "not-tags-any", "sort_key", "sort_dir",
    "tenant_id", "project_id", "user_id", "all_tenants", "changes-since", "changes-before", "uuid",
    "host",   "hostname", "key_name",  "vm_state",     "task_state", "power_state", "deleted",
    "availability_zone", "config_drive", "reservation_id", "locked", "description", NULL};

static bool params_known(const PocketCall *c, PocketReply *r)
{
    const char *name;
    json_t *value;
    json_object_foreach(c->query, name, value)
    {
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
    } exact[] = {{"flavor", "flavor"}, {"image", "image"}, {"key_name", "key_name"}, {"uuid", "id"}};
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

static void list(Pocket *p, const PocketCall *c, PocketReply *r, bool detail)
{
    const char *pattern = pocket_query(c, "name");
    regex_t name;
    if (!params_known(c, r))
        return;
    /* MySQL's REGEXP, which Nova leaves it to, looks at no case. */
    if (pattern && regcomp(&name, pattern, REG_EXTENDED | REG_ICASE | REG_NOSUB) != 0) {
        nova_fail(r, 400, "Invalid filter values: name");
        return;
    }
    _cleanup_json_ json_t *rows = store_list_new(p->store, NOVA_SERVER, NULL);
    json_t *views = json_array();
    /* Newest first, as Nova sorts unless it is told otherwise. */
    for (size_t i = json_array_size(rows); i-- > 0;) {
        json_t *row = json_array_get(rows, i);
        if (project_matches(c, row) && look(p, row) && row_listed(c, row, pattern ? &name : NULL))
            json_array_append_new(views, view_new(p, c, row, detail));
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
    r->json = json_make_new("{s:o}", "server", view_new(p, c, row, true));
}

void nova_server_ips(Pocket *p, const PocketCall *c, PocketReply *r)
{
    _cleanup_json_ json_t *row = nova_server_get_new(p, c, false, r);
    if (!row)
        return;
    r->status = 200;
    r->json = json_make_new("{s:o}", "addresses", addresses_new(p, row));
}

/* ---- update, delete */

void nova_server_update(Pocket *p, const PocketCall *c, PocketReply *r)
{
    _cleanup_json_ json_t *row = nova_server_get_new(p, c, false, r);
    const json_t *in = json_object_get(c->body, "server");
    if (!row)
        return;
    if (!json_is_object(in)) {
        nova_fail(r, 400, "'server' is a required property");
        return;
    }
    if (json_object_get(in, "name") && !nova_name_valid(json_str(in, "name"), r))
        return;
    if (json_str(in, "name"))
        row_text(row, "name", json_str(in, "name"));
    if (c->microversion >= 19 && json_object_get(in, "description"))
        row_text(row, "description", json_str(in, "description"));
    stamp(p, row, "updated");
    nova_server_put(p, row);
    r->status = 200;
    r->json = json_make_new("{s:o}", "server", view_new(p, c, row, true));
}

static void free_volumes(Pocket *p, const json_t *row)
{
    size_t i;
    json_t *v;
    json_array_foreach(json_object_get(row, "volumes"), i, v)
    {
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
    json_array_foreach(json_object_get(row, "ports"), i, item)
    {
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
    server_remove(p, row_get(row, "id"));
    free_volumes(p, row);
    free_ports(p, row);
    json_object_set_new(row, "ports", json_array());
    json_object_set_new(row, "volumes", json_array());
    nova_server_change(p, row, row_get(row, "status"), "deleting", row_get(row, "status"));
    if (p->settle_lists == 0)
        (void)store_delete(p->store, NOVA_SERVER, row_get(row, "id"));
}
