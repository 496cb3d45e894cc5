/* Keypairs (of a user) and server groups (of a project). */
#include "io/crypt.h"
#include "pocket/nova.h"

/* ---- keypairs: row id "USER/NAME" */

static char *keypair_id(const char *user_id, const char *name)
{
    return xasprintf("%s/%s", user_id, name);
}

json_t *nova_keypair_new(Pocket *p, const char *user_id, const char *name)
{
    _cleanup_free_ char *id = keypair_id(user_id, name);
    return store_get_new(p->store, NOVA_KEYPAIR, id);
}

/* Whose keys: one's own; from 2.10 admin may name another user. NULL: refused. */
static const char *keypair_user(const PocketCall *c, const char *asked, PocketReply *r)
{
    if (!asked || streq(asked, c->user->user_id))
        return c->user->user_id;
    if (c->microversion >= 10 && row_admin(c))
        return asked;
    nova_fail(r, 403, "Policy doesn't allow os_compute_api:os-keypairs to be performed.");
    return NULL;
}

static json_t *keypair_view_new(const PocketCall *c, const json_t *row, bool detail)
{
    static const char *const keys[] = {"name", "public_key", "fingerprint"};
    json_t *view = json_object();
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        json_object_set(view, keys[i], json_object_get(row, keys[i]));
    if (c->microversion >= 2)
        json_object_set_new(view, "type", json_string("ssh"));
    if (!detail)
        return view;
    static const char *const more[] = {"user_id", "created_at"};
    for (size_t i = 0; i < ARRAY_LEN(more); i++)
        json_object_set(view, more[i], json_object_get(row, more[i]));
    json_object_set_new(view, "deleted", json_false());
    json_object_set_new(view, "deleted_at", json_null());
    json_object_set_new(view, "updated_at", json_null());
    return view;
}

void nova_keypair_list(Pocket *p, const PocketCall *c, PocketReply *r)
{
    const char *user = keypair_user(c, pocket_query(c, "user_id"), r);
    if (!user)
        return;
    _cleanup_json_ json_t *rows = store_list_new(p->store, NOVA_KEYPAIR, NULL);
    json_t *views = json_array();
    size_t i;
    json_t *row;
    json_array_foreach (rows, i, row) {
        if (streq(row_get(row, "user_id"), user))
            /* The marker of this list is a name. */
            json_array_append_new(views, json_make_new("{s:s, s:o}", "id", row_get(row, "name"),
                                                       "keypair", keypair_view_new(c, row, false)));
    }
    pocket_page(p, POCKET_NOVA, c, r, "keypairs", views);
    json_array_foreach (json_object_get(r->json, "keypairs"), i, row) {
        json_object_del(row, "id");
    }
}

static json_t *keypair_get_new(Pocket *p, const PocketCall *c, PocketReply *r)
{
    const char *user = keypair_user(c, pocket_query(c, "user_id"), r);
    if (!user)
        return NULL;
    json_t *row = nova_keypair_new(p, user, c->args.items[0]);
    if (!row)
        nova_fail(r, 404, "Keypair %s not found for user %s", c->args.items[0], user);
    return row;
}

void nova_keypair_show(Pocket *p, const PocketCall *c, PocketReply *r)
{
    _cleanup_json_ json_t *row = keypair_get_new(p, c, r);
    if (!row)
        return;
    r->status = 200;
    r->json = json_make_new("{s:o}", "keypair", keypair_view_new(c, row, true));
}

/* MD5 of the key's blob, as ssh-keygen -E md5 shows it. NULL: it is no OpenSSH public key. */
static char *fingerprint(const char *public_key)
{
    Str rest = str_of(public_key), type, blob;
    _cleanup_(buf_clear) Buf raw = BUF_INIT(BUF_MAX_LINE);
    _cleanup_(buf_clear) Buf hex = BUF_INIT(64);
    _cleanup_(buf_clear) Buf out = BUF_INIT(64);
    if (!str_next(&rest, ' ', &type) || !str_next(&rest, ' ', &blob))
        return NULL;
    blob = str_trim(blob);
    if (!crypt_unbase64(&raw, blob) || raw.overflow || raw.len < 4 + type.n)
        return NULL;
    /* The blob begins with its own type, as a length and a text. */
    size_t n = (size_t)(unsigned char)raw.p[2] << 8 | (unsigned char)raw.p[3];
    if (n != type.n || memcmp(raw.p + 4, type.p, n) != 0)
        return NULL;
    crypt_hash(CRYPT_MD5, buf_as_str(&raw), &hex);
    for (size_t i = 0; i < hex.len; i += 2)
        buf_printf(&out, "%s%.2s", i ? ":" : "", hex.p + i);
    return buf_detach(&out);
}

static bool keypair_body(const PocketCall *c, const json_t *in, char **ret_print, PocketReply *r)
{
    const char *key = json_str(in, "public_key"), *type = json_str_or(in, "type", "ssh");
    if (!nova_name_valid(json_str(in, "name"), r))
        return false;
    if (c->microversion >= 2 && !streq(type, "ssh")) {
        nova_fail(r, 501, "The pocket cloud has keypairs of type ssh only");
        return false;
    }
    /* From 2.92 on Nova makes no key either. */
    if (!key && c->microversion < 92) {
        nova_fail(r, 501, "The pocket cloud makes no private keys: give public_key");
        return false;
    }
    *ret_print = key ? fingerprint(key) : NULL;
    if (!*ret_print)
        nova_fail(r, 400, "Keypair data is invalid: failed to generate fingerprint");
    return *ret_print != NULL;
}

void nova_keypair_create(Pocket *p, const PocketCall *c, PocketReply *r)
{
    const json_t *in = json_object_get(c->body, "keypair");
    const char *user = keypair_user(c, json_str(in, "user_id"), r);
    _cleanup_free_ char *print = NULL, *now = pocket_stamp(p, POCKET_NOVA);
    if (!user || !keypair_body(c, in, &print, r))
        return;
    _cleanup_free_ char *id = keypair_id(user, json_str(in, "name"));
    _cleanup_json_ json_t *there = store_get_new(p->store, NOVA_KEYPAIR, id);
    if (there) {
        nova_fail(r, 409, "Key pair '%s' already exists.", json_str(in, "name"));
        return;
    }
    _cleanup_json_ json_t *row = json_make_new(
        "{s:s, s:s, s:s, s:s, s:s, s:s}", "id", id, "user_id", user, "name", json_str(in, "name"),
        "public_key", json_str(in, "public_key"), "fingerprint", print, "created_at", now);
    store_put(p->store, NOVA_KEYPAIR, NULL, id, row);
    json_t *view = keypair_view_new(c, row, false);
    row_text(view, "user_id", user);
    r->status = c->microversion >= 2 ? 201 : 200;
    r->json = json_make_new("{s:o}", "keypair", view);
}

void nova_keypair_delete(Pocket *p, const PocketCall *c, PocketReply *r)
{
    _cleanup_json_ json_t *row = keypair_get_new(p, c, r);
    if (!row)
        return;
    (void)store_delete(p->store, NOVA_KEYPAIR, row_get(row, "id"));
    r->status = c->microversion >= 2 ? 204 : 202;
}

/* ---- server groups */

json_t *nova_group_members_new(Pocket *p, const char *group_id)
{
    _cleanup_json_ json_t *rows = store_list_new(p->store, NOVA_SERVER, NULL);
    json_t *ids = json_array();
    size_t i;
    json_t *row;
    json_array_foreach (rows, i, row) {
        if (streq(row_get(row, "group"), group_id) && !nova_server_gone(row))
            json_array_append(ids, json_object_get(row, "id"));
    }
    return ids;
}

static json_t *group_view_new(Pocket *p, const PocketCall *c, const json_t *row)
{
    json_t *view =
        json_make_new("{s:s, s:s, s:o}", "id", row_get(row, "id"), "name", row_get(row, "name"),
                      "members", nova_group_members_new(p, row_get(row, "id")));
    if (c->microversion >= 64) {
        row_text(view, "policy", row_get(row, "policy"));
        json_object_set(view, "rules", json_object_get(row, "rules"));
    } else {
        json_object_set_new(view, "policies", json_make_new("[s]", row_get(row, "policy")));
        json_object_set_new(view, "metadata", json_object());
    }
    if (c->microversion >= 13) {
        row_text(view, "project_id", row_get(row, "project_id"));
        row_text(view, "user_id", row_get(row, "user_id"));
    }
    return view;
}

/* limit and offset, no marker and no links, as this one list of Nova's has it. */
static bool page_bounds(const Pocket *p, const PocketCall *c, size_t *ret_from, size_t *ret_n,
                        PocketReply *r)
{
    int64_t max = p->page_max > 0 ? p->page_max : 1000, limit = 0, offset = 0;
    const char *l = pocket_query(c, "limit"), *o = pocket_query(c, "offset");
    if ((l && !parse_int(l, 0, INT32_MAX, &limit)) || (o && !parse_int(o, 0, INT32_MAX, &offset))) {
        nova_fail(r, 400, "Invalid input for query parameters limit or offset.");
        return false;
    }
    *ret_from = (size_t)offset;
    *ret_n = (size_t)(limit == 0 ? max : MIN(limit, max));
    return true;
}

void nova_group_list(Pocket *p, const PocketCall *c, PocketReply *r)
{
    size_t from, n;
    if (!page_bounds(p, c, &from, &n, r))
        return;
    bool all = row_admin(c) && pocket_query(c, "all_projects");
    _cleanup_json_ json_t *rows =
        store_list_new(p->store, NOVA_GROUP, all ? NULL : c->user->project_id);
    json_t *views = json_array();
    size_t i;
    json_t *row;
    json_array_foreach (rows, i, row) {
        if (i >= from && i - from < n)
            json_array_append_new(views, group_view_new(p, c, row));
    }
    r->status = 200;
    r->json = json_make_new("{s:o}", "server_groups", views);
}

static json_t *group_get_new(Pocket *p, const PocketCall *c, PocketReply *r)
{
    _cleanup_json_ json_t *row = store_get_new(p->store, NOVA_GROUP, c->args.items[0]);
    if (row && row_own(c, row))
        return TAKE(row);
    nova_fail(r, 404, "Instance group %s could not be found.", c->args.items[0]);
    return NULL;
}

void nova_group_show(Pocket *p, const PocketCall *c, PocketReply *r)
{
    _cleanup_json_ json_t *row = group_get_new(p, c, r);
    if (!row)
        return;
    r->status = 200;
    r->json = json_make_new("{s:o}", "server_group", group_view_new(p, c, row));
}

/* `policy` from 2.64, one of `policies` before. Borrowed; NULL: none that exists. */
static const char *group_policy(const PocketCall *c, const json_t *in)
{
    static const char *const policies[] = {"anti-affinity", "affinity", "soft-anti-affinity",
                                           "soft-affinity"};
    const json_t *old = json_object_get(in, "policies");
    const char *asked = c->microversion >= 64       ? json_str(in, "policy")
                        : json_array_size(old) == 1 ? json_string_value(json_array_get(old, 0))
                                                    : NULL;
    if ((c->microversion >= 64) == (old != NULL))
        return NULL;
    size_t known = c->microversion >= 15 ? ARRAY_LEN(policies) : 2;
    for (size_t i = 0; i < known; i++)
        if (streq(asked, policies[i]))
            return policies[i];
    return NULL;
}

/* Policies are kept and shown. There is no host to keep apart or together: each server counts as on
 * a host of its own, so anti-affinity always holds. */
void nova_group_create(Pocket *p, const PocketCall *c, PocketReply *r)
{
    const json_t *in = json_object_get(c->body, "server_group");
    const char *policy = group_policy(c, in);
    if (!json_is_object(in) || !nova_name_valid(json_str(in, "name"), r)) {
        if (!r->status)
            nova_fail(r, 400, "'server_group' is a required property");
        return;
    }
    if (!policy) {
        nova_fail(r, 400, "Invalid input for field/attribute %s.",
                  c->microversion >= 64 ? "policy" : "policies");
        return;
    }
    if (!quota_allows(p, &nova_quotas, c->user->project_id, "server_groups", 1)) {
        nova_fail(r, 403, "Quota exceeded, too many server groups.");
        return;
    }
    _cleanup_free_ char *id = pocket_uuid(true);
    const json_t *rules = json_object_get(in, "rules");
    _cleanup_json_ json_t *row =
        json_make_new("{s:s, s:s, s:s, s:s, s:s, s:o}", "id", id, "name", json_str(in, "name"),
                      "project_id", c->user->project_id, "user_id", c->user->user_id, "policy",
                      policy, "rules", rules ? json_deep_copy(rules) : json_object());
    store_put(p->store, NOVA_GROUP, c->user->project_id, json_str(in, "name"), row);
    r->status = 200;
    r->json = json_make_new("{s:o}", "server_group", group_view_new(p, c, row));
}

void nova_group_delete(Pocket *p, const PocketCall *c, PocketReply *r)
{
    _cleanup_json_ json_t *row = group_get_new(p, c, r);
    if (!row)
        return;
    (void)store_delete(p->store, NOVA_GROUP, row_get(row, "id"));
    r->status = 204;
}
