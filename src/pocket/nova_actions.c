/* Actions on servers, and their volumes. */
#include "pocket/cinder.h"
#include "pocket/nova.h"
#include "pocket/server.h"

bool nova_in_state(const json_t *row, const char *action, const char *const *vm_states,
                   PocketReply *r)
{
    const char *state = nova_vm_state(row);
    for (size_t i = 0; vm_states[i]; i++) {
        if (streq(vm_states[i], state))
            return true;
    }
    nova_fail(r, 409, "Cannot '%s' instance %s while it is in vm_state %s", action,
              row_get(row, "id"), state);
    return false;
}

bool nova_ready(const json_t *row, const char *action, const char *const *vm_states, PocketReply *r)
{
    const char *task = json_str(row, "task_state");
    if (vm_states && !nova_in_state(row, action, vm_states, r))
        return false;
    if (task)
        nova_fail(r, 409, "Cannot '%s' instance %s while it is in task_state %s", action,
                  row_get(row, "id"), task);
    return !task;
}

static const char *const active[] = {"active", NULL};
static const char *const running[] = {"active", "error", NULL};
static const char *const stopped[] = {"stopped", NULL};
static const char *const any_power[] = {"active", "stopped", "error", NULL};
static const char *const attachable[] = {"active", "stopped", "resized", NULL};

/* What a start of the processes leads to. */
static void start_then_active(Pocket *p, json_t *row, const char *status, const char *task)
{
    json_object_del(row, "fault");
    row_text(row, "status", status);
    nova_power_on(p, row);
    bool failed = streq(row_get(row, "status"), "ERROR");
    nova_server_change(p, row, status, task, failed ? "ERROR" : "ACTIVE");
}

static void reboot(Pocket *p, _unused_ const PocketCall *c, const json_t *in, json_t *row,
                   PocketReply *r)
{
    const char *type = json_str_or(in, "type", "");
    bool hard = strcasecmp(type, "HARD") == 0;
    if (!hard && strcasecmp(type, "SOFT") != 0) {
        nova_fail(r, 400,
                  "Invalid input for field/attribute type. Value: %s. '%s' is not one of "
                  "['HARD', 'Hard', 'hard', 'SOFT', 'Soft', 'soft']",
                  type, type);
        return;
    }
    if (!nova_ready(row, "reboot", hard ? any_power : active, r))
        return;
    r->status = 202;
    if (hard)
        start_then_active(p, row, "HARD_REBOOT", "rebooting_hard");
    else if (nova_restart(p, row))
        nova_server_change(p, row, "REBOOT", "rebooting", "ACTIVE");
    else
        start_then_active(p, row, "REBOOT", "rebooting");
}

static void stop(Pocket *p, _unused_ const PocketCall *c, _unused_ const json_t *in, json_t *row,
                 PocketReply *r)
{
    if (!nova_ready(row, "stop", running, r))
        return;
    server_off(row_get(row, "id"));
    nova_server_change(p, row, row_get(row, "status"), "powering-off", "SHUTOFF");
    r->status = 202;
}

static void start(Pocket *p, _unused_ const PocketCall *c, _unused_ const json_t *in, json_t *row,
                  PocketReply *r)
{
    if (!nova_ready(row, "start", stopped, r))
        return;
    start_then_active(p, row, "SHUTOFF", "powering-on");
    r->status = 202;
}

static void console(Pocket *p, _unused_ const PocketCall *c, const json_t *in, json_t *row,
                    PocketReply *r)
{
    const json_t *length = json_object_get(in, "length");
    int64_t lines = json_integer_value(length);
    if (json_is_string(length) && !parse_int(json_string_value(length), -1, INT32_MAX, &lines)) {
        nova_fail(r, 400, "Invalid input for field/attribute length.");
        return;
    }
    _cleanup_(buf_clear) Buf text = BUF_INIT((size_t)1 << 20);
    server_console(p, row_get(row, "id"), lines, &text);
    r->status = 200;
    r->json = json_make_new("{s:s}", "output", text.p);
}

static void reset_state(Pocket *p, const PocketCall *c, const json_t *in, json_t *row,
                        PocketReply *r)
{
    const char *state = json_str_or(in, "state", "");
    if (!row_admin(c)) {
        nova_fail(r, 403,
                  "Policy doesn't allow os_compute_api:os-admin-actions:reset_state to be "
                  "performed.");
        return;
    }
    if (!streq(state, "error") && !streq(state, "active")) {
        nova_fail(r, 400, "Invalid input for field/attribute state. Value: %s.", state);
        return;
    }
    json_object_del(row, "_then_flavor");
    nova_server_change(p, row, streq(state, "error") ? "ERROR" : "ACTIVE", NULL, NULL);
    r->status = 202;
}

static void not_here(_unused_ Pocket *p, _unused_ const PocketCall *c, _unused_ const json_t *in,
                     _unused_ json_t *row, PocketReply *r)
{
    nova_fail(r, 501,
              "The pocket cloud has no such action: a server there is a folder and "
              "processes, without a disk image or a memory that could be saved");
}

static const struct {
    const char *name;
    NovaAction *act;
    const char *recorded; /* as; NULL: not */
} actions[] = {
    {"reboot", reboot, "reboot"},
    {"os-stop", stop, "stop"},
    {"os-start", start, "start"},
    {"os-getConsoleOutput", console, NULL},
    {"os-resetState", reset_state, NULL},
    {"createImage", not_here, NULL},
    {"resize", nova_resize, "resize"},
    {"confirmResize", nova_confirm_resize, "confirmResize"},
    {"revertResize", nova_revert_resize, "revertResize"},
    {"rebuild", nova_rebuild, "rebuild"},
    {"suspend", not_here, NULL},
    {"resume", not_here, NULL},
    {"pause", not_here, NULL},
    {"unpause", not_here, NULL},
    {"shelve", not_here, NULL},
    {"rescue", not_here, NULL},
};

void nova_server_action(Pocket *p, const PocketCall *c, PocketReply *r)
{
    _cleanup_json_ json_t *row = nova_server_get_new(p, c, false, r);
    if (!row)
        return;
    for (size_t i = 0; i < ARRAY_LEN(actions); i++) {
        const json_t *in = json_object_get(c->body, actions[i].name);
        if (in) {
            actions[i].act(p, c, in, row, r);
            if (actions[i].recorded && r->status < 300)
                nova_record(p, c, row, actions[i].recorded);
            return;
        }
    }
    const char *name = c->body ? json_object_iter_key(json_object_iter(c->body)) : NULL;
    nova_fail(r, 400, "There is no such action: %s", name ? name : "");
}

/* ---- volumes */

/* /dev/vda is the root disk. */
static void device_name(const json_t *row, char out[static 16])
{
    size_t n = json_array_size(json_object_get(row, "volumes"));
    (void)snprintf(out, 16, "/dev/vd%c", (char)('b' + (int)MIN(n, 24)));
}

bool nova_attach(Pocket *p, const PocketCall *c, json_t *row, const char *volume_id,
                 bool delete_with_server, PocketReply *r)
{
    char device[16];
    _cleanup_json_ json_t *volume = store_get_new(p->store, CINDER_VOLUME, volume_id);
    if (!volume || !row_own(c, volume)) {
        nova_fail(r, 400, "Volume %s could not be found.", volume_id);
        return false;
    }
    if (!cinder_attach(p, volume_id, row_get(row, "id"))) {
        nova_fail(r, 400,
                  "Invalid volume: volume '%s' status must be 'available'. Currently in '%s'",
                  volume_id, row_get(volume, "status"));
        return false;
    }
    device_name(row, device);
    json_array_append_new(json_object_get(row, "volumes"),
                          json_make_new("{s:s, s:s, s:b}", "id", volume_id, "device", device,
                                        "delete", delete_with_server));
    return true;
}

static json_t *attachment_view_new(const PocketCall *c, const json_t *row, const json_t *v)
{
    json_t *view = json_make_new("{s:s, s:s, s:s}", "volumeId", row_get(v, "id"), "serverId",
                                 row_get(row, "id"), "device", row_get(v, "device"));
    if (c->microversion < 89)
        row_text(view, "id", row_get(v, "id"));
    if (c->microversion >= 70)
        json_object_set_new(view, "tag", json_null());
    if (c->microversion >= 79)
        json_object_set_new(view, "delete_on_termination",
                            json_boolean(json_bool(v, "delete", false)));
    return view;
}

void nova_attachment_list(Pocket *p, const PocketCall *c, PocketReply *r)
{
    _cleanup_json_ json_t *row = nova_server_get_new(p, c, false, r);
    if (!row)
        return;
    json_t *views = json_array();
    size_t i;
    json_t *v;
    json_array_foreach (json_object_get(row, "volumes"), i, v) {
        json_array_append_new(views, attachment_view_new(c, row, v));
    }
    r->status = 200;
    r->json = json_make_new("{s:o}", "volumeAttachments", views);
}

/* Where the volume named by the path is among the row's, or -1 and a 404. */
static ssize_t attachment_find(const PocketCall *c, const json_t *row, PocketReply *r)
{
    size_t i;
    json_t *v;
    json_array_foreach (json_object_get(row, "volumes"), i, v) {
        if (streq(row_get(v, "id"), c->args.items[1]))
            return (ssize_t)i;
    }
    nova_fail(r, 404, "Instance %s is not attached to volume %s", row_get(row, "id"),
              c->args.items[1]);
    return -1;
}

void nova_attachment_show(Pocket *p, const PocketCall *c, PocketReply *r)
{
    _cleanup_json_ json_t *row = nova_server_get_new(p, c, false, r);
    ssize_t at = row ? attachment_find(c, row, r) : -1;
    if (at < 0)
        return;
    const json_t *v = json_array_get(json_object_get(row, "volumes"), (size_t)at);
    r->status = 200;
    r->json = json_make_new("{s:o}", "volumeAttachment", attachment_view_new(c, row, v));
}

/* Shows a running server its volumes; the reply's status is 500 if that fails. */
static bool plug(Pocket *p, const json_t *row, PocketReply *r)
{
    _cleanup_json_ json_t *ids = nova_volume_ids_new(row);
    _cleanup_(err_clear) Err err = {0};
    if (!server_is_on(row_get(row, "id")) || server_plug(p, row_get(row, "id"), ids, &err) == 0)
        return true;
    nova_fail(r, 500, "%s", err.text);
    return false;
}

void nova_attachment_create(Pocket *p, const PocketCall *c, PocketReply *r)
{
    const json_t *in = json_object_get(c->body, "volumeAttachment");
    const char *id = json_str(in, "volumeId");
    _cleanup_json_ json_t *row = nova_server_get_new(p, c, false, r);
    if (!row)
        return;
    if (!id) {
        nova_fail(r, 400,
                  "Invalid input for field/attribute volumeAttachment. 'volumeId' is a "
                  "required property");
        return;
    }
    _cleanup_json_ json_t *volume = store_get_new(p->store, CINDER_VOLUME, id);
    if (!volume || !row_own(c, volume)) {
        nova_fail(r, 404, "Volume %s could not be found.", id);
        return;
    }
    bool gone_too = c->microversion >= 79 && json_bool(in, "delete_on_termination", false);
    if (!nova_ready(row, "attach_volume", attachable, r) ||
        !nova_attach(p, c, row, id, gone_too, r) || !plug(p, row, r))
        return;
    nova_server_put(p, row);
    nova_record(p, c, row, "attach_volume");
    const json_t *list = json_object_get(row, "volumes");
    json_t *view = attachment_view_new(c, row, json_array_get(list, json_array_size(list) - 1));
    row_text(view, "id", id); /* 2.89 took it from the other answers only */
    r->status = 200;
    r->json = json_make_new("{s:o}", "volumeAttachment", view);
}

void nova_attachment_delete(Pocket *p, const PocketCall *c, PocketReply *r)
{
    _cleanup_json_ json_t *row = nova_server_get_new(p, c, false, r);
    ssize_t at = row ? attachment_find(c, row, r) : -1;
    if (at < 0 || !nova_ready(row, "detach_volume", attachable, r))
        return;
    json_array_remove(json_object_get(row, "volumes"), (size_t)at);
    if (!plug(p, row, r))
        return;
    cinder_detach(p, c->args.items[1]);
    nova_server_put(p, row);
    nova_record(p, c, row, "detach_volume");
    r->status = 202;
}
