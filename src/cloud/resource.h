/* What an island is made of: resources, wanted and found, in the same words.
 *
 * A resource is a kind, a key and a generation. Its key is stable and says what it is for
 * ("server.web.0" has kind SERVER and key "web.0"); the generation lets a replacement stand beside
 * what it replaces. Wanted and found resources carry the same attributes in `attrs`, so that
 * comparing them is comparing values; where one refers to another, both hold its *key*: reading the
 * world turns ids into keys where the id is one of ours and leaves foreign ids as they are.
 *
 * Identity in the cloud (design: "The cloud is the state"): name = island-kind-key with dots as
 * dashes, and the marker "atoll:<island>" in the create call: `description` in Neutron and on
 * volumes (with metadata atoll=<island>), metadata and a tag on servers, X-Container-Meta-Atoll on
 * containers, `description` on users; a server group has only its name. A generation above 1 is
 * "-g2" at the name's end. A volume has it in its key as well ("db.0-g2"), since which one a server
 * has is written down (host/release.h), and the others are kept. Markers never change. Tier names
 * have no dash, so names read back exactly. Floating IPs have no name: their description is
 * "atoll:<island>", one an island. A volume has its generation in its key ("db.0-g2"), and each
 * counts as a thing of its own: which one a server has is written down (host/release.h), and the
 * others are kept.
 */
#pragma once
#include "base/json.h"
#include "base/time.h"
#include "base/vec.h"

/* In order of creation where nothing else decides; deletion goes the other way. */
typedef enum ResourceKind {
    RESOURCE_NETWORK,     /* attrs: {} */
    RESOURCE_SUBNET,      /* {network, cidr, gateway, dns: [..], dhcp} */
    RESOURCE_ROUTER,      /* {external: network id} */
    RESOURCE_GROUP,       /* security group: {rules: ["in tcp 5432 group:web", "in tcp 80
                             0.0.0.0/0", ...] sorted; only ingress is ours}. Found ones also have
                             rule_ids {rule: id} */
    RESOURCE_INTERFACE,   /* router interface on a port of our own: {network, subnet, address,
                             router: KEY or ""} */
    RESOURCE_PORT,        /* {network, subnet, groups: [KEY..]}; found: address, device: id or "" */
    RESOURCE_FLOATING_IP, /* {external: network id, port: KEY or ""}; found: address */
    RESOURCE_SERVER_GROUP, /* {policy}; found: members: [server id..] */
    RESOURCE_VOLUME,    /* {size_gb, type}; type "" wanted: the cloud's default, filled: it gets the
                           data of one that is kept, or a backup's; found: server: id or "" */
    RESOURCE_USER,      /* Keystone user: {roles: [name..]} on the cloud's project, domain */
    RESOURCE_CONTAINER, /* {read, write: [user KEY..], cors: origin or "", versions: bool,
                           temp_url: bool}; name as in `name`; found: objects and bytes
                           in it */
    RESOURCE_SERVER,    /* {flavor, image, ports: [KEY..], volumes: [KEY..], group: KEY}; found:
                           metadata {..}, task; image is recorded at birth and never differs */
    RESOURCE_HOST,      /* what runs on a server; wanted: see island/want.h; found (host/mail.h):
                           {boot, hello: bool, sent: n, next: n, sent_spec, sent_until,
                           sent_key, seen: n, state, state_since, report} */
    RESOURCE_KINDS
} ResourceKind;

/* Whose login: an island may keep media and backups in other projects (design: least privilege). */
typedef enum CloudRole { CLOUD_OF_ISLAND, CLOUD_OF_MEDIA, CLOUD_OF_BACKUP, CLOUD_ROLES } CloudRole;

typedef struct Resource {
    ResourceKind kind;
    char *key;
    int generation; /* from 1 */
    char *name;     /* in the cloud */
    CloudRole cloud;
    json_t *attrs; /* owned */
    /* Wanted only. */
    bool protect; /* holds data or an address people know: destroy leaves it without --data */
    /* Found only. */
    char *id;
    char *status;    /* the service's word: "ACTIVE", "in-use"; "" where there is none */
    char *fault;     /* the service's words when status is an error; or NULL */
    Msec created_at; /* 0: the service does not tell */
    Msec changed_at; /* the same; by anybody, us included */
    bool used;       /* something hangs on it: never removed as a duplicate */
    /* Found ones' attrs also hold `ids`: {attr: what stood there before ids became keys}. */
} Resource;

typedef VEC(Resource) ResourceVec;

/* A whole world: what is there, and the facts it is made with. */
typedef struct World {
    ResourceVec items;
    /* {"clouds": {"island": {project_id, user_id, domain_id, domain_name, region, auth_url,
     * object_url}, "media": {...}}, "external": {name: id}, "flavors": {name: {id, vcpus, ram_mb}},
     * "images": {name: id}, "volume_types": [name..], "roles": {name: id} of the media cloud, empty
     * where its login may not see them, "asked": true when they are of this very look} */
    json_t *facts;
    json_t *mail; /* names in the mail container, in swift_list's shape, as listed with it; NULL:
                     not looked at, or not there */
    Msec now;     /* by the island's cloud, when it was looked at; 0: not known */
} World;

/* One row a kind: words and order. */
typedef struct ResourceRow {
    const char *word;   /* "security group" */
    const char *prefix; /* of names and of keys in output: "group" */
    bool named;         /* has a name of ours in the cloud */
} ResourceRow;
const ResourceRow *resource_row(ResourceKind kind);

/* "reef-group-web", "reef-web-0" for servers (prefix left out), with "-g2" for generation 2. */
char *resource_name(const char *island, ResourceKind kind, const char *key, int generation);
/* The way back; false if the name is not of that island and kind. ret_key to be freed. */
bool resource_parse_name(const char *island, ResourceKind kind, const char *name, char **ret_key,
                         int *ret_generation) _must_check_;
/* "atoll:reef"; to be freed. */
char *resource_marker(const char *island);

/* "db.0", "db.0-g2"; to be freed. */
char *volume_key_new(const char *server, int generation);
int volume_generation(const char *key); /* of a volume's key */
/* Are these volumes of one server, whatever their generations? */
bool volume_is_of(const char *key, const char *other);

/* True for a found SERVER that Nova is deleting. */
bool server_leaving(const Resource *server);

Resource *world_add(World *w, Resource r); /* takes r's parts; pointer valid until the next add */
/* generation 0: any, the highest. NULL if not there. With several of one key and generation, the
 * first listed. */
Resource *world_find(const World *w, ResourceKind kind, const char *key, int generation);
Resource *world_find_id(const World *w, ResourceKind kind, const char *id);
World world_copy(const World *w);
void world_clear(World *w);
DEFINE_CLEAR(World, world_clear)
void resource_clear(Resource *r);
Resource resource_copy(const Resource *r);
DEFINE_CLEAR(Resource, resource_clear)
