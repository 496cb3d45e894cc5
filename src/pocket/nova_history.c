/* What was done to servers, by whom and when. It outlives them. */
#include "pocket/nova.h"

#define NOVA_ACT "server_act"

void nova_record(Pocket *p, const PocketCall *c, const json_t *server, const char *action)
{
    _cleanup_free_ char *now = pocket_stamp(p, POCKET_NOVA);
    _cleanup_free_ char *start = xasprintf("%.*s.000000", (int)strcspn(now, "Z"), now);
    _cleanup_json_ json_t *act = json_make_new(
        "{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:n}", "id", c->request_id, "action", action,
        "instance_uuid", row_get(server, "id"), "request_id", c->request_id, "user_id",
        c->user->user_id, "project_id", c->user->project_id, "start_time", start, "message");
    store_put(p->store, NOVA_ACT, row_get(server, "project_id"), NULL, act);
}

static json_t *act_view_new(const PocketCall *c, const json_t *act)
{
    json_t *view = row_public_new(act);
    json_object_del(view, "id");
    if (c->microversion >= 51)
        json_object_set(view, "updated_at", json_object_get(act, "start_time"));
    return view;
}

/* Those of the path's server, newest first; NULL with a 404 when there is and was none. */
static json_t *acts_new(Pocket *p, const PocketCall *c, PocketReply *r)
{
    const char *server = c->args.items[0];
    _cleanup_json_ json_t *all =
        store_list_new(p->store, NOVA_ACT, row_admin(c) ? NULL : c->user->project_id);
    _cleanup_json_ json_t *acts = json_array();
    for (size_t i = json_array_size(all); i-- > 0;) {
        json_t *act = json_array_get(all, i);
        if (streq(row_get(act, "instance_uuid"), server))
            json_array_append(acts, act);
    }
    if (json_array_size(acts) > 0)
        return TAKE(acts);
    nova_fail(r, 404, "Instance %s could not be found.", server);
    return NULL;
}

void nova_act_list(Pocket *p, const PocketCall *c, PocketReply *r)
{
    _cleanup_json_ json_t *acts = acts_new(p, c, r);
    if (!acts)
        return;
    json_t *views = json_array();
    size_t i;
    json_t *act;
    json_array_foreach (acts, i, act) {
        json_array_append_new(views, act_view_new(c, act));
    }
    r->status = 200;
    r->json = json_make_new("{s:o}", "instanceActions", views);
}

/* Its events are told to who may see hosts; here there are none. */
void nova_act_show(Pocket *p, const PocketCall *c, PocketReply *r)
{
    const char *request = c->args.items[1];
    _cleanup_json_ json_t *acts = acts_new(p, c, r);
    size_t i;
    json_t *act;
    if (!acts)
        return;
    json_array_foreach (acts, i, act) {
        if (!streq(row_get(act, "request_id"), request))
            continue;
        r->status = 200;
        r->json = json_make_new("{s:o}", "instanceAction", act_view_new(c, act));
        json_object_set_new(json_object_get(r->json, "instanceAction"), "events", json_array());
        return;
    }
    nova_fail(r, 404, "Action %s not found", request);
}
