/* Metadata in headers: reading it from a request, writing it to a reply. */
#include "pocket/swift_call.h"
#include <ctype.h>

#define META_NAME_MAX 128
#define META_VALUE_MAX 256
#define META_COUNT_MAX 90
#define META_SIZE_MAX 4096

static bool plain(SwiftCall *c, const char *format, ...) _printf_(2, 3);
static bool plain(SwiftCall *c, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    _cleanup_free_ char *text = xvasprintf(format, ap);
    va_end(ap);
    return swift_fail(c, 400, text);
}

/* The name behind "X-Object-Meta-" of a header line, or NULL; *ret_value is its value. */
static char *meta_name(const char *line, const char *prefix, const char **ret_value)
{
    size_t n = strlen(prefix);
    const char *colon = strchr(line, ':');
    if (strncasecmp(line, prefix, n) != 0 || !colon || colon < line + n)
        return NULL;
    *ret_value = colon + 1 + strspn(colon + 1, " ");
    return xstrndup(line + n, (size_t)(colon - line) - n);
}

bool swift_meta_check(SwiftCall *c, const char *kind)
{
    _cleanup_free_ char *prefix = xasprintf("X-%s-Meta-", kind);
    size_t count = 0, size = 0;
    for (size_t i = 0; i < c->http->headers.len; i++) {
        const char *value;
        _cleanup_free_ char *name = meta_name(c->http->headers.items[i], prefix, &value);
        if (!name)
            continue;
        _cleanup_json_ json_t *utf8 = json_string(value);
        count++;
        size += strlen(name) + strlen(value);
        if (!*name)
            return plain(c, "Metadata name cannot be empty");
        if (!utf8)
            return plain(c, "Metadata must be valid UTF-8");
        if (strlen(name) > META_NAME_MAX)
            return plain(c, "Metadata name too long: %s%s", prefix, name);
        if (strlen(value) > META_VALUE_MAX)
            return plain(c, "Metadata value longer than %d: %s%s", META_VALUE_MAX, prefix, name);
    }
    if (count > META_COUNT_MAX)
        return plain(c, "Too many metadata items; max %d", META_COUNT_MAX);
    if (size > META_SIZE_MAX)
        return plain(c, "Total metadata too large; max %d", META_SIZE_MAX);
    return true;
}

static void set(json_t *meta, const char *name, const char *value)
{
    _cleanup_free_ char *title = swift_title(name);
    if (*value)
        json_object_set_new(meta, title, json_string(value));
    else
        json_object_del(meta, title);
}

bool swift_meta_update(SwiftCall *c, json_t *meta, const char *kind, const char *const *names)
{
    if (!swift_meta_check(c, kind))
        return false;
    _cleanup_free_ char *prefix = xasprintf("X-%s-Meta-", kind);
    _cleanup_free_ char *remove = xasprintf("X-Remove-%s-Meta-", kind);
    for (size_t i = 0; i < c->http->headers.len; i++) {
        const char *value;
        _cleanup_free_ char *name = meta_name(c->http->headers.items[i], prefix, &value);
        _cleanup_free_ char *gone = meta_name(c->http->headers.items[i], remove, &value);
        _cleanup_free_ char *full = xasprintf("%s%s", prefix, name ? name : gone ? gone : "");
        if (name || gone)
            set(meta, full, gone ? "" : value);
    }
    for (size_t i = 0; names && names[i]; i++) {
        const char *value = swift_header(c, names[i]);
        _cleanup_free_ char *removal = xasprintf("X-Remove-%s", names[i] + strlen("X-"));
        if (swift_header(c, removal))
            value = "";
        if (value)
            set(meta, names[i], value);
    }
    return true;
}

/* Shown to the owner only. */
static bool hidden(const char *name)
{
    static const char *const names[] = {"X-Container-Read",
                                        "X-Container-Write",
                                        "X-Account-Meta-Temp-Url-Key",
                                        "X-Account-Meta-Temp-Url-Key-2",
                                        "X-Container-Meta-Temp-Url-Key",
                                        "X-Container-Meta-Temp-Url-Key-2",
                                        NULL};
    for (size_t i = 0; names[i]; i++)
        if (streq(names[i], name))
            return true;
    return false;
}

void swift_meta_reply(SwiftCall *c, const json_t *meta)
{
    const char *name;
    json_t *value;
    json_object_foreach ((json_t *)(uintptr_t)meta, name, value) {
        bool ours = starts_with(name, "X-Pocket-");
        if (json_is_string(value) && !ours && (c->owner || !hidden(name)))
            swift_set_header(c, name, json_string_value(value));
    }
}
