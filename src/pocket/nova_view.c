/* How a server is shown, by microversion. */
#include "pocket/neutron.h"
#include "pocket/nova.h"

static const struct {
    const char *status, *vm_state; /* NULL: by "_off" */
    int power;                     /* 0 pending, 1 running or by "_off", 4 shut down */
} states[] = {{"BUILD", "building", 0},
              {"ACTIVE", "active", 1},
              {"SHUTOFF", "stopped", 4},
              {"REBOOT", "active", 1},
              {"HARD_REBOOT", "active", 1},
              {"RESIZE", NULL, 1},
              {"VERIFY_RESIZE", "resized", 1},
              {"REVERT_RESIZE", "resized", 1},
              {"REBUILD", NULL, 1},
              {"ERROR", "error", 0}};

static size_t state_of(const json_t *row)
{
    for (size_t i = 0; i < ARRAY_LEN(states); i++)
        if (streq(states[i].status, row_get(row, "status")))
            return i;
    return ARRAY_LEN(states) - 1;
}

const char *nova_vm_state(const json_t *row)
{
    const char *state = states[state_of(row)].vm_state;
    return state ? state : json_bool(row, "_off", false) ? "stopped" : "active";
}

/* A server that was shut down stays so while it is resized or rebuilt. */
static int power_state(const json_t *row)
{
    int power = states[state_of(row)].power;
    bool changing =
        ends_with(row_get(row, "status"), "RESIZE") || streq(row_get(row, "status"), "REBUILD");
    return changing && json_bool(row, "_off", false) ? 4 : power;
}

static void add_address(json_t *list, const json_t *port, const char *address, const char *type)
{
    json_array_append_new(list, json_make_new("{s:i, s:s, s:s, s:s}", "version", 4, "addr", address,
                                              "OS-EXT-IPS:type", type, "OS-EXT-IPS-MAC:mac_addr",
                                              row_get(port, "mac_address")));
}

/* {network name: [address, ...]}: fixed ones, then their floating ones. */
json_t *nova_addresses_new(Pocket *p, const json_t *row)
{
    json_t *out = json_object();
    _cleanup_json_ json_t *floating = store_list_new(p->store, kind_floating.name, NULL);
    size_t i, j;
    json_t *id, *item;
    json_array_foreach (json_object_get(row, "ports"), i, id) {
        _cleanup_json_ json_t *port =
            store_get_new(p->store, kind_port.name, json_string_value(id));
        _cleanup_json_ json_t *net =
            store_get_new(p->store, kind_network.name, row_get(port, "network_id"));
        if (!port || !net)
            continue;
        if (!json_object_get(out, row_get(net, "name")))
            json_object_set_new(out, row_get(net, "name"), json_array());
        json_t *list = json_object_get(out, row_get(net, "name"));
        json_array_foreach (json_object_get(port, "fixed_ips"), j, item) {
            add_address(list, port, row_get(item, "ip_address"), "fixed");
        }
        json_array_foreach (floating, j, item) {
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
    json_array_foreach (json_object_get(row, "ports"), i, id) {
        _cleanup_json_ json_t *port =
            store_get_new(p->store, kind_port.name, json_string_value(id));
        json_array_foreach (json_object_get(port, "security_groups"), j, group_id) {
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
    json_array_foreach (json_object_get(row, "volumes"), i, v) {
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

static bool has_progress(const char *status)
{
    static const char *const with[] = {"ACTIVE", "BUILD", "REBUILD", "RESIZE", "VERIFY_RESIZE"};
    for (size_t i = 0; i < ARRAY_LEN(with); i++)
        if (streq(status, with[i]))
            return true;
    return false;
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
        row_get(row, "updated"), "addresses", nova_addresses_new(p, row), "accessIPv4", "",
        "accessIPv6", "", "OS-DCF:diskConfig", "MANUAL", "OS-EXT-AZ:availability_zone", "nova",
        "OS-EXT-STS:vm_state", nova_vm_state(row), "OS-EXT-STS:power_state", power_state(row),
        "OS-SRV-USG:terminated_at", "hostId", row_get(row, "host_id"));
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
    if (has_progress(status))
        json_object_set_new(view, "progress", json_integer(0)); /* which few drivers raise */
    newer_view(c, row, view);
    if (row_admin(c))
        admin_view(c, row, view);
    return view;
}

json_t *nova_view_new(Pocket *p, const PocketCall *c, const json_t *row, bool detail)
{
    const char *id = row_get(row, "id");
    if (detail)
        return detail_new(p, c, row);
    return json_make_new("{s:s, s:s, s:o}", "id", id, "name", row_get(row, "name"), "links",
                         nova_links_new(p, "servers", id));
}
