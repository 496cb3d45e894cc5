/* The media user, and Swift containers. */
#include "plan/kind.h"

/* User. */

static const char *user_blocked(const Turn *t, const Resource *want)
{
    (void)want;
    /* Its password is in the vault, which is in a container. */
    return turn_ready(t, RESOURCE_CONTAINER, "vault") ? NULL : "the vault is not there";
}

static void user_differ(Turn *t, const Resource *want, const Resource *have)
{
    const json_t *v, *there = json_object_get(have->attrs, "roles");
    size_t i;

    json_array_foreach (json_object_get(want->attrs, "roles"), i, v) {
        if (!json_list_has(there, json_string_value(v)))
            turn_step(t, KIND_GRANT, have, json_string_value(v), "role missing: %s",
                      json_string_value(v));
    }
}

static void user_made(json_t *attrs)
{
    json_object_set_new(attrs, "roles", json_array());
}

static void user_words(const Resource *r, Buf *out)
{
    const json_t *v;
    size_t i;

    json_array_foreach (json_object_get(r->attrs, "roles"), i, v) {
        buf_printf(out, "%s%s", i ? ", " : "role ", json_string_value(v));
    }
}

/* One that was made for the island by somebody else stays. */
static bool user_leave(Turn *t, const Resource *have)
{
    (void)t;
    return json_bool(have->attrs, "given", false);
}

const PlanKind plan_user = {.blocked = user_blocked,
                            .differ = user_differ,
                            .leave = user_leave,
                            .made = user_made,
                            .status = "",
                            .words = user_words};

/* Container. */

static const char *container_blocked(const Turn *t, const Resource *want)
{
    const json_t *v;
    size_t i;

    if (json_bool(want->attrs, "temp_url", false) && !turn_ready(t, RESOURCE_CONTAINER, "vault"))
        return "its key is in the vault, which is not there";
    json_array_foreach (json_object_get(want->attrs, "write"), i, v) {
        if (!turn_ready(t, RESOURCE_USER, json_string_value(v)))
            return "the user that may write to it is not there";
    }
    return NULL;
}

static void container_differ(Turn *t, const Resource *want, const Resource *have)
{
    static const char *const attrs[] = {"read", "write", "cors", "versions", "temp_url"};
    _cleanup_(buf_clear) Buf differ = BUF_INIT(BUF_MAX_LINE);
    const char *why;

    for (size_t i = 0; i < ARRAY_LEN(attrs); i++) {
        const json_t *a = json_object_get(want->attrs, attrs[i]);
        const json_t *b = json_object_get(have->attrs, attrs[i]);
        _cleanup_free_ char *a_text = NULL, *b_text = NULL;

        if (json_is_array(a) && json_is_array(b) ? list_same(a, b) : json_equal(a, b))
            continue;
        a_text = json_text_new(a);
        b_text = b ? json_text_new(b) : xstrdup("none");
        buf_printf(&differ, "%s%s is %s, to be %s", differ.len ? "; " : "", attrs[i], b_text,
                   a_text);
    }
    if (!differ.len)
        return;
    if ((why = container_blocked(t, want)))
        turn_blocked(t, have, why);
    else
        turn_step(t, KIND_CHANGE, have, NULL, "%s", differ.p);
}

/* The vault goes last: what else is left can be opened as long as it is there. But for backups,
 * which the operator's key and the recovery key read. */
static bool others_left(const Turn *t, const Resource *r, const void *with)
{
    (void)t;
    return !streq(r->key, with) && !streq(r->key, "backup");
}

static bool container_leave(Turn *t, const Resource *have)
{
    Step *s;

    /* Backups outlive the island: only a person takes them away. */
    if (streq(have->key, "backup"))
        return true;
    if (!streq(have->key, "media") && turn_any(t, RESOURCE_SERVER, NULL, NULL)) {
        turn_blocked(t, have, "servers still use it");
        return true;
    }
    if (streq(have->key, "vault") && (turn_any(t, RESOURCE_CONTAINER, others_left, "vault") ||
                                      turn_any(t, RESOURCE_VOLUME, NULL, NULL))) {
        turn_blocked(t, have, "other data of the island is still there");
        return true;
    }
    if (!have->used)
        return false;
    s = turn_step(t, KIND_EMPTY, have, NULL, "before it is deleted");
    if (streq(have->key, "media"))
        s->loss = xasprintf("all media in %s", have->name);
    else if (streq(have->key, "vault"))
        s->loss = xstrdup("the island's secrets");
    return true;
}

static void container_words(const Resource *r, Buf *out)
{
    buf_str(out, r->name);
}

const PlanKind plan_container = {.blocked = container_blocked,
                                 .differ = container_differ,
                                 .leave = container_leave,
                                 .status = "",
                                 .words = container_words};
