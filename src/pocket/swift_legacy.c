/* The older versioning (middleware versioned_writes): copies in a container that anybody with the
 * right to it can see. Stack: a DELETE brings the previous one back. History: a DELETE leaves a
 * marker. (openstack.md d: neither asks for rights on the versions container.) */
#include "pocket/swift_call.h"

static const char marker_type[] = "application/x-deleted;swift_versions_deleted=1";

/* The versions container of `k`; false: it is no such container. *ret is zeroed if it is named but
 * not there. */
static bool location(SwiftCall *c, const SwiftContainer *k, bool *ret_stack, SwiftContainer *ret)
{
    const char *stack = json_str(k->meta, "X-Versions-Location");
    const char *history = json_str(k->meta, "X-History-Location");
    if (!stack && !history)
        return false;
    *ret_stack = stack != NULL;
    _cleanup_(buf_clear) Buf name = BUF_INIT(BUF_MAX_LINE);
    if (!buf_url_unquote(&name, str_of(stack ? stack : history)))
        return true;
    name.p[strcspn(name.p, "/")] = 0;
    (void)swift_container_get(c->p, k->account, name.p, ret);
    return true;
}

/* "002db/": three hex digits of the name's length, the name, a slash. */
static char *prefix_of(const char *object)
{
    return xasprintf("%03zx%s/", strlen(object), object);
}

static char *version_name(const char *object, int64_t stamp)
{
    char text[32];
    _cleanup_free_ char *prefix = prefix_of(object);
    swift_stamp_text(stamp, text);
    return xasprintf("%s%s", prefix, text);
}

/* The row goes into the other container under another name; the bytes stay where they are. */
static void move(SwiftCall *c, const SwiftObject *o, int64_t container, const char *name)
{
    SwiftObject to = *o;
    _cleanup_free_ char *copy = xstrdup(name);
    swift_object_delete(c->p, o);
    to.container = container;
    to.name = copy;
    to.current = true;
    swift_object_put(c->p, &to);
}

bool swift_legacy_put(SwiftCall *c, const SwiftContainer *k, const SwiftObject *now)
{
    bool stack;
    _cleanup_(swift_container_clear) SwiftContainer versions = {0};
    if (!location(c, k, &stack, &versions))
        return true;
    if (!versions.id)
        return swift_fail(c, 412, NULL);
    _cleanup_free_ char *name = version_name(now->name, now->stamp);
    move(c, now, versions.id, name);
    return true;
}

static bool keep_last(void *user, const SwiftObject *o)
{
    char **last = user;
    free(*last);
    *last = xstrdup(o->name);
    return true;
}

static int stack_delete(SwiftCall *c, const SwiftContainer *k, const SwiftContainer *versions,
                        const SwiftObject *now)
{
    _cleanup_free_ char *prefix = prefix_of(now->name);
    _cleanup_free_ char *last = NULL;
    SwiftWalk walk = {.prefix = prefix, .see = keep_last, .user = &last};
    swift_walk_objects(c->p, versions, &walk);
    swift_object_delete(c->p, now);
    if (now->file)
        strlist_add(&c->garbage, now->file);
    _cleanup_(swift_object_clear) SwiftObject older = {0};
    if (last && swift_object_get(c->p, versions, last, NULL, &older))
        move(c, &older, k->id, now->name);
    return 204;
}

static void add_marker(SwiftCall *c, const SwiftContainer *versions, const char *object)
{
    int64_t stamp = swift_stamp(c->p);
    _cleanup_(swift_object_clear)
        SwiftObject marker = {.container = versions->id,
                              .name = version_name(object, stamp),
                              .version = xstrdup("null"),
                              .current = true,
                              .etag = xstrdup("d41d8cd98f00b204e9800998ecf8427e"),
                              .type = xstrdup(marker_type),
                              .stamp = stamp,
                              .meta = json_object()};
    swift_object_put(c->p, &marker);
}

bool swift_legacy_delete(SwiftCall *c, const SwiftContainer *k, const char *object, int *ret_status)
{
    bool stack;
    _cleanup_(swift_container_clear) SwiftContainer versions = {0};
    _cleanup_(swift_object_clear) SwiftObject now = {0};
    if (!location(c, k, &stack, &versions))
        return false;
    bool found = swift_object_get(c->p, k, object, NULL, &now) && !swift_expired(c, &now);
    *ret_status = found ? 204 : 404;
    if (!versions.id) {
        *ret_status = 412;
    } else if (stack) {
        if (found)
            *ret_status = stack_delete(c, k, &versions, &now);
    } else {
        if (found) {
            _cleanup_free_ char *name = version_name(object, now.stamp);
            move(c, &now, versions.id, name);
        }
        add_marker(c, &versions, object);
    }
    return true;
}
