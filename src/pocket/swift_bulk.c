/* Bulk delete (middleware bulk) and /info. */
#include "pocket/swift_call.h"

#define DELETES_MAX 10000

typedef struct Bulk {
    int deleted, missing, seen;
    json_t *errors;
} Bulk;

/* The status of deleting "/container" or "/container/object", decoded. */
static int remove_path(SwiftCall *c, const char *path)
{
    path += strspn(path, "/");
    const char *slash = strchr(path, '/');
    const char *text;
    if (!slash || !slash[1]) {
        _cleanup_free_ char *container = xstrndup(path, strcspn(path, "/"));
        return swift_container_remove(c, c->account, container, &text);
    }
    _cleanup_free_ char *container = xstrndup(path, (size_t)(slash - path));
    return swift_object_remove(c, c->account, container, slash + 1);
}

static void remove_line(SwiftCall *c, Str line, Bulk *b)
{
    line = str_trim(line);
    if (line.n == 0)
        return;
    _cleanup_free_ char *quoted = xstrndup(line.p, line.n);
    _cleanup_(buf_clear) Buf path = BUF_INIT(BUF_MAX_LINE);
    if (!buf_url_unquote(&path, line)) {
        buf_truncate(&path, 0);
        buf_add(&path, line.p, line.n);
    }
    b->seen++;
    /* Access rules name a method and a path of their own for each. */
    _cleanup_free_ char *target = xasprintf("/v1/%s/%s", c->account, path.p + strspn(path.p, "/"));
    int status = c->caller && !caller_may(c->caller, POCKET_SWIFT, "DELETE", target)
                     ? 401
                     : remove_path(c, path.p);
    if (status == 204)
        b->deleted++;
    else if (status == 404)
        b->missing++;
    else {
        _cleanup_free_ char *text = xasprintf("%d %s", status, status_title(status));
        json_array_append_new(b->errors, json_make_new("[s,s]", quoted, text));
    }
}

static void reply_text(SwiftCall *c, const Bulk *b, const char *status, const char *body)
{
    Buf *out = &c->http->reply.body;
    c->http->reply.status = 200;
    swift_set_header(c, "Content-Type", "text/plain");
    buf_printf(out,
               "Number Deleted: %d\nNumber Not Found: %d\nResponse Body: %s\nResponse Status: %s\n"
               "Errors:\n",
               b->deleted, b->missing, body, status);
    size_t i;
    json_t *pair;
    json_array_foreach (b->errors, i, pair) {
        buf_printf(out, "%s, %s\n", json_string_value(json_array_get(pair, 0)),
                   json_string_value(json_array_get(pair, 1)));
    }
}

void swift_bulk_delete(SwiftCall *c)
{
    Bulk b = {.errors = json_array()};
    Str rest = buf_as_str(&c->body), line;
    while (b.seen < DELETES_MAX && str_next(&rest, '\n', &line))
        remove_line(c, line, &b);
    bool none = b.deleted == 0 && b.missing == 0;
    bool bad = none || json_array_size(b.errors) > 0;
    const char *status = bad ? "400 Bad Request" : "200 OK";
    const char *body = none && json_array_size(b.errors) == 0 ? "Invalid bulk delete." : "";
    const char *accept = swift_header(c, "Accept");
    if (accept && strstr(accept, "application/json"))
        swift_reply_json(c, 200,
                         json_make_new("{s:s,s:s,s:i,s:i,s:O}", "Response Status", status,
                                       "Response Body", body, "Number Deleted", b.deleted,
                                       "Number Not Found", b.missing, "Errors", b.errors));
    else
        reply_text(c, &b, status, body);
    json_decref(b.errors);
}

void swift_info(SwiftCall *c)
{
    int listing = c->p->page_max > 0 ? MIN(c->p->page_max, SWIFT_MAX_LISTING) : SWIFT_MAX_LISTING;
    json_t *info = json_make_new(
        "{s:{s:s,s:I,s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:b,s:[{s:s,s:s,s:b}]}}", "swift",
        "version", "2.30.1", "max_file_size", (json_int_t)SWIFT_MAX_FILE, "max_object_name_length",
        SWIFT_MAX_NAME, "max_container_name_length", SWIFT_MAX_CONTAINER_NAME,
        "max_account_name_length", 256, "max_meta_name_length", 128, "max_meta_value_length", 256,
        "max_meta_count", 90, "max_meta_overall_size", 4096, "container_listing_limit", listing,
        "account_listing_limit", listing, "strict_cors_mode", 1, "policies", "name", "Policy-0",
        "aliases", "Policy-0", "default", 1);
    json_object_set_new(
        info, "tempurl",
        json_make_new("{s:[s,s,s,s,s],s:[s,s,s],s:[s],s:[s],s:[s],s:[]}", "methods", "GET", "HEAD",
                      "PUT", "POST", "DELETE", "allowed_digests", "sha1", "sha256", "sha512",
                      "deprecated_digests", "sha1", "incoming_remove_headers", "x-timestamp",
                      "outgoing_remove_headers", "x-object-meta-*", "incoming_allow_headers"));
    json_object_set_new(info, "bulk_delete",
                        json_make_new("{s:i,s:i}", "max_deletes_per_request", DELETES_MAX,
                                      "max_failed_deletes", 1000));
    json_object_set_new(info, "slo",
                        json_make_new("{s:i,s:i,s:i}", "max_manifest_segments", 1000,
                                      "max_manifest_size", 8388608, "min_segment_size", 1));
    json_object_set_new(info, "dlo", json_make_new("{s:i}", "max_segments", 10000));
    json_object_set_new(
        info, "versioned_writes",
        json_make_new("{s:[s,s]}", "allowed_flags", "x-versions-location", "x-history-location"));
    json_object_set_new(info, "object_versioning", json_object());
    json_object_set_new(info, "container_quotas", json_object());
    json_object_set_new(info, "keystoneauth", json_object());
    swift_reply_json(c, 200, info);
}
