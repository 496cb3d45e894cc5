#include "pocket/netns.h"
#include "base/log.h"
#include "io/child.h"
#include "io/crypt.h"
#include "io/file.h"
#include "pocket/neutron.h"
#include "pocket/neutron_forward.h"
#include <sys/wait.h>
#include <unistd.h>

#define COMMAND_WAIT (20 * SECOND)
#define NETNS_DIR "/run/netns"
#define PATH_ENV "PATH=/usr/sbin:/usr/bin:/sbin:/bin"

/* What was made, by this process: at its start everything of the folder's prefix was removed. */
static struct {
    char prefix[12];
    json_t *bridges; /* network: true */
    json_t *servers; /* server: {"wires": {port: interface}, "rules": the table that is loaded} */
    Forward *services;
} made;

/* ---- the two programs */

/* `where`: a namespace, or NULL for this machine's own. */
static int run(const char *const *argv, const char *input, Err *err)
{
    static const char *const env[] = {PATH_ENV, NULL};
    _cleanup_(buf_clear) Buf out = BUF_INIT(BUF_MAX_LINE);
    ChildSpec spec = {.argv = argv, .env = env};
    int status;
    char text[64];
    int r = child_run(&spec, str_of(input), COMMAND_WAIT, &out, &status, err);
    if (r < 0)
        return r;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    Str said = str_trim(buf_as_str(&out));
    return err_set(err, ERR_IO, "%s: %s: %.*s", argv[0], child_status_text(status, text),
                   (int)said.n, said.p);
}

/* Lines for `ip -batch`, in a namespace or (NULL) outside. */
static int run_ip(const char *name, const char *lines, Err *err)
{
    const char *const outside[] = {"ip", "-batch", "-", NULL};
    const char *const inside[] = {"ip", "-n", name, "-batch", "-", NULL};
    return run(name ? inside : outside, lines, err);
}

static int run_nft(const char *name, const char *table, Err *err)
{
    const char *const argv[] = {"ip", "netns", "exec", name, "nft", "-f", "-", NULL};
    return run(argv, table, err);
}

static void complain(Err *err, const char *what, const char *name)
{
    (void)err_wrap(err, "%s %s", what, name);
    log_err(err);
    err_clear(err);
}

/* ---- names */

static char *space_name(const char *server)
{
    return xasprintf("%s-%s", made.prefix, server);
}

/* A device's name has 15 characters: six of the id have to do. */
static char *device_name(char kind, const char *id)
{
    return xasprintf("%s%c%.6s", made.prefix, kind, id);
}

char *netns_path(const Pocket *p, const char *server)
{
    if (!p->namespaces)
        return NULL;
    _cleanup_free_ char *name = space_name(server);
    return path_join(NETNS_DIR, name);
}

/* ---- removing */

static void remove_device(const char *name)
{
    _cleanup_free_ char *line = xasprintf("link del %s\n", name);
    _cleanup_(err_clear) Err err = {0};
    if (run_ip(NULL, line, &err) < 0)
        complain(&err, "removing", name);
}

static void remove_space(const char *name)
{
    _cleanup_free_ char *line = xasprintf("netns del %s\n", name);
    _cleanup_(err_clear) Err err = {0};
    if (run_ip(NULL, line, &err) < 0)
        complain(&err, "removing", name);
}

static void remove_server(const char *server)
{
    const json_t *wires = json_object_get(json_object_get(made.servers, server), "wires");
    _cleanup_free_ char *name = space_name(server);
    const char *port;
    json_t *value;
    json_object_foreach ((json_t *)(uintptr_t)wires, port, value) {
        _cleanup_free_ char *device = device_name('v', port);
        remove_device(device);
    }
    remove_space(name);
}

/* Everything with our prefix, whoever made it. */
static void remove_left(void)
{
    static const struct {
        const char *folder;
        void (*remove)(const char *name);
    } places[] = {{NETNS_DIR, remove_space}, {"/sys/class/net", remove_device}};
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        _cleanup_(strlist_clear) StrList names = {0};
        if (file_list(places[i].folder, &names, NULL) < 0)
            continue; /* no namespace was ever made */
        for (size_t j = 0; j < names.len; j++) {
            _cleanup_free_ char *path = path_join(places[i].folder, names.items[j]);
            /* A wire goes with its namespace, but when is the kernel's affair. */
            if (starts_with(names.items[j], made.prefix) && file_exists(path))
                places[i].remove(names.items[j]);
        }
    }
}

/* ---- making */

static json_t *row_new(Pocket *p, const NeutronKind *k, const char *id)
{
    return store_get_new(p->store, k->name, id);
}

static int prefix_bits(const json_t *subnet)
{
    const char *slash = strchr(row_get(subnet, "cidr"), '/');
    int64_t bits = 24;
    return slash && parse_int(slash + 1, 1, 32, &bits) ? (int)bits : 24;
}

static void make_bridge(Pocket *p, const char *network)
{
    if (json_object_get(made.bridges, network))
        return;
    _cleanup_free_ char *name = device_name('b', network);
    _cleanup_(buf_clear) Buf lines = BUF_INIT(BUF_MAX_BODY);
    _cleanup_(err_clear) Err err = {0};
    _cleanup_json_ json_t *subnets = store_list_new(p->store, kind_subnet.name, NULL);
    size_t i;
    json_t *subnet;
    buf_printf(&lines, "link add %s type bridge\n", name);
    json_array_foreach (subnets, i, subnet) {
        const char *gateway = row_get(subnet, "gateway_ip");
        if (streq(row_get(subnet, "network_id"), network) && *gateway && !strchr(gateway, ':'))
            buf_printf(&lines, "addr add %s/%d dev %s\n", gateway, prefix_bits(subnet), name);
    }
    buf_printf(&lines, "link set %s up\n", name);
    if (run_ip(NULL, lines.p, &err) < 0)
        complain(&err, "making", name);
    json_object_set_new(made.bridges, network, json_true());
}

static void make_space(const char *server)
{
    _cleanup_free_ char *name = space_name(server), *line = xasprintf("netns add %s\n", name);
    _cleanup_(err_clear) Err err = {0};
    if (json_object_get(made.servers, server))
        return;
    if (run_ip(NULL, line, &err) < 0 || run_ip(name, "link set lo up\n", &err) < 0)
        complain(&err, "making", name);
    json_object_set_new(made.servers, server, json_make_new("{s:{}, s:s}", "wires", "rules", ""));
}

static void make_wire(Pocket *p, const json_t *port)
{
    const char *server = row_get(port, "device_id"), *id = row_get(port, "id");
    const char *network = row_get(port, "network_id");
    json_t *wires = json_object_get(json_object_get(made.servers, server), "wires");
    if (json_object_get(wires, id))
        return;
    _cleanup_json_ json_t *subnet = row_new(p, &kind_subnet, neutron_fixed_subnet(port));
    _cleanup_free_ char *space = space_name(server), *device = device_name('v', id);
    _cleanup_free_ char *bridge = device_name('b', network);
    _cleanup_free_ char *interface = xasprintf("eth%zu", json_object_size(wires));
    _cleanup_free_ char *outside =
        xasprintf("link add %s type veth peer name %s address %s netns %s\n"
                  "link set %s master %s up\n",
                  device, interface, row_get(port, "mac_address"), space, device, bridge);
    const char *gateway = row_get(subnet, "gateway_ip");
    _cleanup_free_ char *route = *gateway && json_object_size(wires) == 0
                                     ? xasprintf("route add default via %s\n", gateway)
                                     : xstrdup("");
    _cleanup_free_ char *inside =
        xasprintf("addr add %s/%d dev %s\nlink set %s up\n%s", neutron_fixed_address(port),
                  prefix_bits(subnet), interface, interface, route);
    _cleanup_(err_clear) Err err = {0};
    if (run_ip(NULL, outside, &err) < 0 || run_ip(space, inside, &err) < 0)
        complain(&err, "making", device);
    json_object_set_new(wires, id, json_string(interface));
}

/* ---- what the rows want */

/* Ports of servers, with an IPv4 address. */
static json_t *wanted_new(const json_t *ports)
{
    json_t *out = json_array(), *port;
    size_t i;
    json_array_foreach (ports, i, port) {
        const char *address = neutron_fixed_address(port);
        if (starts_with(row_get(port, "device_owner"), "compute:") && *row_get(port, "device_id") &&
            *address && !strchr(address, ':'))
            json_array_append(out, port);
    }
    return out;
}

/* Is there a port whose `key` is `value`? */
static bool any(const json_t *ports, const char *key, const char *value)
{
    size_t i;
    json_t *port;
    json_array_foreach (ports, i, port) {
        if (streq(row_get(port, key), value))
            return true;
    }
    return false;
}

static void remove_unwanted(const json_t *wanted)
{
    const char *id;
    json_t *value;
    void *next;
    json_object_foreach_safe(made.servers, next, id, value)
    {
        if (any(wanted, "device_id", id))
            continue;
        remove_server(id);
        json_object_del(made.servers, id);
    }
    json_object_foreach_safe(made.bridges, next, id, value)
    {
        if (any(wanted, "network_id", id))
            continue;
        _cleanup_free_ char *name = device_name('b', id);
        remove_device(name);
        json_object_del(made.bridges, id);
    }
}

static void load_rules(const char *server, json_t *state, const json_t *wanted, const json_t *rules,
                       const json_t *ports)
{
    VEC(NetnsPort) own = {0};
    size_t i;
    json_t *port;
    json_array_foreach (wanted, i, port) {
        const char *interface = json_string_value(
            json_object_get(json_object_get(state, "wires"), row_get(port, "id")));
        if (interface && streq(row_get(port, "device_id"), server))
            vec_push(&own, (NetnsPort){interface, port});
    }
    _cleanup_(buf_clear) Buf table = BUF_INIT(BUF_MAX_BODY);
    _cleanup_free_ char *space = space_name(server);
    _cleanup_(err_clear) Err err = {0};
    netns_rules(own.items, own.len, rules, ports, &table);
    vec_clear(&own);
    if (streq(row_get(state, "rules"), table.p))
        return;
    if (run_nft(space, table.p, &err) < 0)
        complain(&err, "rules of", space);
    else
        row_text(state, "rules", table.p);
}

/* The services' ports on 127.0.0.1 of every namespace. */
static void forward_services(Pocket *p)
{
    ForwardRoutes routes = {0};
    const char *server;
    json_t *value;
    json_object_foreach (made.servers, server, value) {
        _cleanup_free_ char *path = netns_path(p, server);
        for (int s = 0; s < POCKET_SERVICES; s++) {
            ForwardRoute route = {.from = "127.0.0.1", .to = "127.0.0.1", .port = p->port[s]};
            (void)snprintf(route.netns, sizeof route.netns, "%s", path);
            vec_push(&routes, route);
        }
    }
    forward_set(made.services, routes.items, routes.len);
    /* A server's first program may ask for them at once. */
    forward_settle(made.services);
    vec_clear(&routes);
}

void netns_sync(Pocket *p)
{
    if (!p->namespaces)
        return;
    _cleanup_json_ json_t *ports = store_list_new(p->store, kind_port.name, NULL);
    _cleanup_json_ json_t *rules = store_list_new(p->store, kind_rule.name, NULL);
    _cleanup_json_ json_t *wanted = wanted_new(ports);
    size_t i, before = json_object_size(made.servers);
    json_t *port, *state;
    const char *server;
    remove_unwanted(wanted);
    bool changed = before != json_object_size(made.servers);
    json_array_foreach (wanted, i, port) {
        server = row_get(port, "device_id");
        changed = changed || !json_object_get(made.servers, server);
        make_bridge(p, row_get(port, "network_id"));
        make_space(server);
        make_wire(p, port);
    }
    json_object_foreach (made.servers, server, state) {
        load_rules(server, state, wanted, rules, ports);
    }
    if (changed)
        forward_services(p);
}

/* ---- start and end */

int netns_open(Pocket *p, Err *err)
{
    if (geteuid() != 0)
        return err_set(err, ERR_DENIED, "--namespaces needs root: it makes network namespaces");
    _cleanup_(buf_clear) Buf hash = BUF_INIT(128);
    crypt_hash(CRYPT_SHA256, str_of(p->dir), &hash);
    (void)snprintf(made.prefix, sizeof made.prefix, "pk%.6s", hash.p);
    /* One that goes again at once shows whether the programs are there and the kernel lets us. */
    _cleanup_free_ char *probe = space_name("probe");
    _cleanup_free_ char *line = xasprintf("netns add %s\n", probe);
    remove_left();
    int r = run_ip(NULL, line, err);
    if (r < 0)
        return err_wrap(err, "network namespaces (package iproute2)");
    r = run_nft(probe, "table inet pocket {}\n", err);
    remove_space(probe);
    if (r < 0)
        return err_wrap(err, "rules in a network namespace (package nftables)");
    r = forward_open(&made.services, err);
    if (r < 0)
        return r;
    made.bridges = json_object();
    made.servers = json_object();
    p->namespaces = true;
    return 0;
}

void netns_close(Pocket *p)
{
    if (!p->namespaces)
        return;
    p->namespaces = false;
    made.services = forward_close(made.services);
    json_decref(made.bridges);
    json_decref(made.servers);
    made.bridges = made.servers = NULL;
    remove_left();
}
