/* Inside Neutron: one row a kind of resource, generic calls on all of them (neutron_rest.c), and
 * hooks for what is particular to a kind. Only neutron*.c and nova*.c include this.
 *
 * A hook that fails has filled the reply and returns false; the core rolls the whole request back,
 * so a bulk POST is atomic and a hook may write as it goes.
 */
#pragma once
#include "pocket/rows.h"

typedef enum AttrType {
    ATTR_TEXT,
    ATTR_ID, /* a UUID */
    ATTR_BOOL,
    ATTR_INT,
    ATTR_LIST,
    ATTR_OBJECT,
    ATTR_ANY /* the kind's hook checks it */
} AttrType;

enum { /* NeutronAttr.flags */
       ON_POST = 1,
       ON_PUT = 2,
       ON_BOTH = 3,
       NEEDED = 4,
       OR_NULL = 8,
       BY_ADMIN = 16, /* 403 for others, unless it is the default */
       OR_EMPTY = 32  /* ATTR_ID: "" too */
};

typedef struct NeutronAttr {
    const char *name; /* NULL ends the table */
    AttrType type;
    unsigned flags;
    const char *def; /* JSON text; NULL: no default, the hook makes one */
} NeutronAttr;

typedef struct NeutronKind {
    const char *name;          /* kind in the store, key of a body, quota: "port" */
    const char *plural, *path; /* "security_groups", "security-groups" */
    const char *missing;       /* error type: "PortNotFound" */
    const char *missing_before, *missing_after; /* its message around the id */
    int first_revision;                         /* of a new row, as Neutron happens to count */
    const NeutronAttr *attrs;
    const char *const *filters; /* further names that may be asked for in a list; NULL-ended */
    bool tagged;
    /* `in`: what the client gave; `row`: attributes with defaults filled in, id, project. */
    bool (*create)(Pocket *p, const PocketCall *c, const json_t *in, json_t *row, PocketReply *r);
    void (*created)(Pocket *p, json_t *row); /* after the row was stored; may be NULL */
    /* All bodies of a bulk POST, before the first is made; may be NULL. */
    bool (*bulk)(Pocket *p, const PocketCall *c, const json_t *many, PocketReply *r);
    /* `next` has the changes already. */
    bool (*update)(Pocket *p, const PocketCall *c, const json_t *in, const json_t *row,
                   json_t *next, PocketReply *r);
    bool (*remove)(Pocket *p, const PocketCall *c, const json_t *row, PocketReply *r);
    void (*view)(Pocket *p, json_t *row); /* adds what is derived; may be NULL */
    /* Another's row that the caller may see all the same; may be NULL. */
    bool (*shared)(Pocket *p, const json_t *row);
} NeutronKind;

extern const NeutronKind kind_network, kind_subnet, kind_port, kind_router, kind_group, kind_rule,
    kind_floating;
extern const NeutronKind *const neutron_kinds[]; /* NULL-ended */
extern const QuotaSet neutron_quotas;

/* neutron_rest.c: the handlers, and rows. */
PocketHandler neutron_list, neutron_show, neutron_create, neutron_update, neutron_remove,
    neutron_tags_get, neutron_tags_put, neutron_tags_delete, neutron_tag_get, neutron_tag_put,
    neutron_tag_delete;
/* A row with attributes from `in` (or defaults), id, project, stamps and revision; not stored.
 * NULL when the reply holds a 400 or 403. `c` NULL: pocket itself makes it. */
json_t *neutron_row_new(Pocket *p, const PocketCall *c, const NeutronKind *k, json_t *in,
                        PocketReply *r);
void neutron_put(Pocket *p, const NeutronKind *k, const json_t *row);
/* A new revision number and updated_at; stored. */
void neutron_bump(Pocket *p, const NeutronKind *k, json_t *row);
void neutron_bump_id(Pocket *p, const NeutronKind *k, const char *id);
/* The row if the caller may see it; else NULL and a 404 of the kind. */
json_t *neutron_get_new(Pocket *p, const PocketCall *c, const NeutronKind *k, const char *id,
                        PocketReply *r);
json_t *neutron_view_new(Pocket *p, const NeutronKind *k, const json_t *row);
bool neutron_visible(Pocket *p, const PocketCall *c, const NeutronKind *k, const json_t *row);
bool neutron_quota_left(Pocket *p, const NeutronKind *k, const char *project, int64_t more,
                        PocketReply *r);
bool neutron_if_match(const PocketCall *c, const json_t *row, PocketReply *r);
#define neutron_fail(r, status, type, ...) pocket_fail(POCKET_NEUTRON, r, status, type, __VA_ARGS__)

/* neutron_check.c: attributes against their table. */
/* Checks `in` and copies its values to `row`; `flag`: ON_POST or ON_PUT. */
bool neutron_check(const NeutronKind *k, const PocketCall *c, json_t *in, unsigned flag,
                   json_t *row, PocketReply *r);
bool neutron_is_uuid(const char *s);

/* neutron_filter.c */
/* 400 if the query asks for an attribute that the kind does not have. */
bool neutron_query_check(const NeutronKind *k, const PocketCall *c, PocketReply *r);
bool neutron_query_matches(const PocketCall *c, const json_t *view);
void neutron_sort(const PocketCall *c, json_t *views);
/* Leaves only the `fields` that were asked for. */
void neutron_fields(const PocketCall *c, json_t *view);

/* neutron_networks.c */
bool neutron_network_external(Pocket *p, const char *id);

/* neutron_ports.c */
/* Makes a port of pocket's own (router interface, gateway, floating IP, a server's): owner and
 * device set, one address (`address` NULL: any) of `subnet` (NULL: the network's first). NULL with
 * a filled reply when there is none. */
typedef struct PortWish {
    const char *project, *name, *network, *subnet, *address, *owner, *device, *status;
    const json_t *groups; /* borrowed; NULL: none */
} PortWish;
json_t *neutron_port_new(Pocket *p, const PortWish *w, PocketReply *r);
/* Ports of a device with this owner, as an array. */
json_t *neutron_ports_of_new(Pocket *p, const char *device, const char *owner);
/* The first address of a port, or "". Borrowed from the row. */
const char *neutron_fixed_address(const json_t *port);
const char *neutron_fixed_subnet(const json_t *port);
bool neutron_subnet_used(Pocket *p, const char *subnet);
void neutron_forget_port(Pocket *p, const char *port_id); /* deletes it without asking */

/* neutron_routers.c */
PocketHandler neutron_interface_add, neutron_interface_remove;
/* The router between this subnet and the external network, or NULL. */
json_t *neutron_route_new(Pocket *p, const char *subnet, const char *external);

/* neutron_floating.c */
bool neutron_floating_uses(Pocket *p, const char *key, const char *value);
void neutron_floating_release(Pocket *p, const char *port_id); /* the port goes away */
/* Listens for every associated floating IP as its groups' rules say. */
void neutron_forward_sync(Pocket *p);

/* neutron_rules.c */
/* The id of the project's group `default`, which is made if it is not there. To be freed. */
char *neutron_default_group(Pocket *p, const char *project);
/* The group of that id or name in the project; its id, to be freed, or NULL. */
char *neutron_find_group(Pocket *p, const char *project, const char *id_or_name);
/* One line that is equal for rules that Neutron takes for the same. To be freed. */
char *neutron_rule_key(const json_t *rule);
/* Protocols by name or number, lower case; "" for any. */
const char *neutron_protocol(const json_t *protocol, char out[static 32]);
