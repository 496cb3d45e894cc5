/* The life of one Swift call: path, caller, dispatch by level, reply. */
#include "io/file.h"
#include "pocket/swift_call.h"
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define SMALL_BODY_MAX ((size_t)8 << 20)

/* Swift's pages (swob): title and sentence. */
static const struct {
    int status;
    const char *title, *sentence;
} pages[] = {
    {202, "Accepted", "The request is accepted for processing."},
    {400, "Bad Request",
     "The server could not comply with the request since it is either malformed or otherwise "
     "incorrect."},
    {401, "Unauthorized",
     "This server could not verify that you are authorized to access the document you requested."},
    {403, "Forbidden", "Access was denied to this resource."},
    {404, "Not Found", "The resource could not be found."},
    {405, "Method Not Allowed", "The method is not allowed for this resource."},
    {406, "Not Acceptable",
     "The resource is not available in a format acceptable to your browser."},
    {409, "Conflict", "There was a conflict when trying to complete your request."},
    {411, "Length Required", "Content-Length header required."},
    {412, "Precondition Failed", "A precondition for this request was not met."},
    {413, "Request Entity Too Large", "The body of your request was too large for this server."},
    {416, "Requested Range Not Satisfiable", "The Range requested is not available."},
    {422, "Unprocessable Entity", "Unable to process the contained instructions"},
    {499, "Client Disconnect", "The client was disconnected during request."},
    {501, "Not Implemented", "The requested method is not implemented by this server."},
    {503, "Service Unavailable",
     "The server is currently unavailable. Please try again at a later time."},
    {507, "Insufficient Storage", "There was not enough space to save the resource."},
};

bool swift_fail(SwiftCall *c, int status, const char *text)
{
    HttpdReply *r = &c->http->reply;
    r->status = status;
    c->rejected = status >= 400;
    buf_truncate(&r->body, 0);
    for (size_t i = 0; i < ARRAY_LEN(pages) && !text; i++)
        if (pages[i].status == status)
            buf_printf(&r->body, "<html><h1>%s</h1><p>%s</p></html>", pages[i].title,
                       pages[i].sentence);
    if (text)
        buf_str(&r->body, text);
    if (r->body.len > 0)
        swift_set_header(c, "Content-Type", "text/html; charset=UTF-8");
    if (status == 401 && !c->temp_url.tried) {
        _cleanup_free_ char *url = pocket_url(c->p, POCKET_KEYSTONE);
        _cleanup_free_ char *value = xasprintf("Keystone uri=\"%s\"", url);
        swift_set_header(c, "WWW-Authenticate", value);
        strlist_addf(&r->headers, "Www-Authenticate: Swift realm=\"%s\"",
                     c->account ? c->account : "unknown");
    }
    return false;
}

void swift_set_header(SwiftCall *c, const char *name, const char *value)
{
    StrList *l = &c->http->reply.headers;
    size_t n = strlen(name);
    for (size_t i = 0; i < l->len; i++) {
        if (strncasecmp(l->items[i], name, n) != 0 || l->items[i][n] != ':')
            continue;
        free(l->items[i]);
        l->items[i] = xasprintf("%s: %s", name, value);
        return;
    }
    strlist_addf(l, "%s: %s", name, value);
}

void swift_reply_header(SwiftCall *c, const char *name, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    _cleanup_free_ char *value = xvasprintf(format, ap);
    va_end(ap);
    swift_set_header(c, name, value);
}

const char *swift_reply_get(const SwiftCall *c, const char *name)
{
    return header_of(&c->http->reply.headers, name);
}

void swift_reply_json(SwiftCall *c, int status, json_t *j_taken)
{
    _cleanup_free_ char *text = json_dumps(j_taken, JSON_COMPACT);
    json_decref(j_taken);
    c->http->reply.status = status;
    buf_str(&c->http->reply.body, text);
    swift_set_header(c, "Content-Type", "application/json; charset=utf-8");
}

const char *swift_header(const SwiftCall *c, const char *name)
{
    return httpd_header(c->http, name);
}

const char *swift_query(const SwiftCall *c, const char *name)
{
    const json_t *v = json_object_get(c->query, name);
    return json_string_value(json_is_array(v) ? json_array_get(v, 0) : v);
}

bool swift_truth(const char *text)
{
    static const char *const words[] = {"true", "1", "yes", "on", "t", "y", NULL};
    for (size_t i = 0; text && words[i]; i++)
        if (strcasecmp(text, words[i]) == 0)
            return true;
    return false;
}

int64_t swift_now(const SwiftCall *c)
{
    return c->p->now() / SECOND;
}

bool swift_versioned(const SwiftContainer *k)
{
    return k->meta && swift_truth(json_str(k->meta, "X-Versions-Enabled"));
}

bool swift_version_aware(const SwiftContainer *k)
{
    return k->meta && json_object_get(k->meta, "X-Versions-Enabled");
}

void swift_version_header(SwiftCall *c, const char *version)
{
    swift_set_header(c, "X-Object-Version-Id", version);
}

char *swift_title(const char *name)
{
    char *s = xstrdup(name);
    bool first = true;
    for (char *p = s; *p; p++) {
        *p = (char)(first ? toupper((unsigned char)*p) : tolower((unsigned char)*p));
        first = !isalpha((unsigned char)*p);
    }
    return s;
}

char *swift_path(const Pocket *p, const char *file)
{
    return xasprintf("%s/swift/%s", p->dir, file);
}

int swift_open_file(const Pocket *p, const char *file)
{
    _cleanup_free_ char *path = swift_path(p, file);
    return open(path, O_RDONLY | O_CLOEXEC);
}

char *swift_new_file(const Pocket *p)
{
    _cleanup_free_ char *id = pocket_uuid(false);
    (void)p;
    return xasprintf("%.2s/%s", id, id);
}

/* The path, decoded as a whole and then split: so %2F is a slash (Mastodon sends all of its own
 * like that). False: the reply is filled. */
static bool parse_path(SwiftCall *c)
{
    _cleanup_(buf_clear) Buf path = BUF_INIT(BUF_MAX_LINE);
    bool decoded = buf_url_unquote(&path, str_of(c->http->target));
    _cleanup_json_ json_t *utf8 = json_stringn(path.p, path.len);
    if (!decoded || !utf8 || strlen(path.p) != path.len)
        return swift_fail(c, 412, "Invalid UTF8 or contains NULL");
    Str rest = buf_as_str(&path), part;
    (void)str_next(&rest, '/', &part); /* before the first slash */
    if (!str_next(&rest, '/', &part) || part.n == 0)
        return swift_fail(c, 404, NULL);
    bool known = str_eq(part, STR_LIT("v1")) || str_eq(part, STR_LIT("v1.0"));
    if (!str_next(&rest, '/', &part) || part.n == 0)
        return swift_fail(c, 412, "Bad URL");
    if (!known)
        return swift_fail(c, 400, NULL);
    c->account = xstrndup(part.p, part.n);
    if (!str_next(&rest, '/', &part) || part.n == 0)
        return true;
    c->container = xstrndup(part.p, part.n);
    if (rest.p && rest.n > 0)
        c->object = xstrndup(rest.p, rest.n);
    return true;
}

static void find_caller(SwiftCall *c)
{
    const char *token = swift_header(c, "X-Auth-Token");
    token = token ? token : swift_header(c, "X-Storage-Token");
    c->caller = token ? keystone_caller_new(c->p, token) : NULL;
    if (!c->caller)
        return;
    c->arrival.user = xstrdup(c->caller->user.user_name);
    /* A bad token, or one whose access rules do not allow this, is as none (openstack.md d). */
    if (!caller_may(c->caller, POCKET_SWIFT, c->http->method, c->http->target))
        c->caller = caller_free(c->caller);
}

static bool is(const SwiftCall *c, const char *method)
{
    return streq(c->http->method, method);
}

/* /info and /healthcheck, which need neither account nor token. */
static bool without_account(SwiftCall *c)
{
    if (streq(c->http->target, "/info") && (is(c, "GET") || is(c, "HEAD"))) {
        swift_info(c);
        return true;
    }
    if (!streq(c->http->target, "/healthcheck"))
        return false;
    c->http->reply.status = 200;
    buf_str(&c->http->reply.body, "OK");
    swift_set_header(c, "Content-Type", "text/plain");
    return true;
}

static bool is_upload(const SwiftCall *c)
{
    return c->object && is(c, "PUT");
}

/* What every reply gets, once, at the end; under the lock. */
static void finish(SwiftCall *c)
{
    swift_temp_url_reply(c);
    swift_cors_reply(c);
    if (c->http->reply.status == 204 || c->http->reply.status == 304)
        buf_truncate(&c->http->reply.body, 0);
}

static void on_begin(HttpdCall *http)
{
    const Listener *l = http->user;
    SwiftCall *c = NEW(SwiftCall);
    c->p = l->pocket;
    c->http = http;
    c->body = BUF_INIT(SMALL_BODY_MAX);
    http->state = c;
    if (!arrival_begin(&c->arrival, l, http))
        return;
    c->query = query_parse_new(http->query);
    if (without_account(c)) {
        http->answered = true;
        arrival_end(&c->arrival, http);
        return;
    }
    pocket_lock(c->p);
    find_caller(c);
    if (!parse_path(c) || !swift_temp_url(c))
        http->answered = true;
    else if (is_upload(c))
        swift_put_begin(c);
    if (http->answered)
        finish(c);
    pocket_unlock(c->p);
    if (http->answered)
        arrival_end(&c->arrival, http);
}

static bool on_body(HttpdCall *http, Str part)
{
    SwiftCall *c = http->state;
    if (c->upload)
        return swift_put_body(c, part);
    buf_add(&c->body, part.p, part.n);
    return !c->body.overflow;
}

static void remove_garbage(SwiftCall *c)
{
    for (size_t i = 0; i < c->garbage.len; i++) {
        _cleanup_free_ char *path = swift_path(c->p, c->garbage.items[i]);
        (void)unlink(path); /* what stays is removed at the next start */
    }
}

static void perform(SwiftCall *c)
{
    if (c->upload)
        swift_put_commit(c);
    else if (is(c, "OPTIONS"))
        swift_options(c);
    else if (c->body.overflow)
        (void)swift_fail(c, 413, NULL);
    else if (swift_query(c, "bulk-delete") && (is(c, "POST") || is(c, "DELETE")))
        swift_bulk_delete(c);
    else if (c->object)
        swift_object_call(c);
    else if (c->container)
        swift_container_call(c);
    else
        swift_account_call(c);
}

static void on_end(HttpdCall *http)
{
    SwiftCall *c = http->state;
    bool ok = !c->upload || swift_put_settle(c);
    arrival_land(&c->arrival, http);
    pocket_lock(c->p);
    if (ok) {
        store_begin(c->p->store);
        perform(c);
        store_end(c->p->store, !c->rejected);
    }
    finish(c);
    if (c->rejected)
        strlist_clear(&c->garbage);
    pocket_unlock(c->p);
    remove_garbage(c);
    arrival_end(&c->arrival, http);
}

static void on_close(HttpdCall *http, bool sent)
{
    (void)sent;
    SwiftCall *c = http->state;
    arrival_close(&c->arrival, http);
    c->upload = upload_free(c->upload);
    (void)caller_free(c->caller);
    strlist_clear(&c->garbage);
    buf_clear(&c->body);
    json_decref(c->query);
    free(c->temp_url.filename);
    free(c->account);
    free(c->container);
    free(c->object);
    free(c);
}

const HttpdHandler swift_handler = {on_begin, on_body, on_end, on_close};

/* Files that no row names: of a PUT that a crash cut between rename and commit, or of a DELETE
 * between commit and unlink. */
static void sweep_folder(Pocket *p, const char *folder)
{
    _cleanup_free_ char *path = swift_path(p, folder);
    _cleanup_(strlist_clear) StrList names = {0};
    if (file_list(path, &names, NULL) < 0)
        return;
    for (size_t i = 0; i < names.len; i++) {
        _cleanup_free_ char *file = xasprintf("%s/%s", folder, names.items[i]);
        _cleanup_free_ char *full = swift_path(p, file);
        if (!swift_file_used(p, file))
            (void)unlink(full);
    }
}

int swift_start(Pocket *p, Err *err)
{
    swift_rows_start(p);
    _cleanup_free_ char *root = swift_path(p, "");
    _cleanup_free_ char *temporary = swift_path(p, "tmp");
    if (file_mkdirs(temporary, 0700, err) < 0)
        return -(int)err->kind;
    /* All folders at once: a PUT then has only one folder to make durable. */
    for (int i = 0; i < 256; i++) {
        _cleanup_free_ char *folder = xasprintf("%s%02x", root, (unsigned)i);
        if (file_mkdirs(folder, 0700, err) < 0)
            return -(int)err->kind;
    }
    if (file_sync_folder(root, err) < 0 || file_sync_folder(p->dir, err) < 0)
        return -(int)err->kind;
    _cleanup_(strlist_clear) StrList folders = {0};
    int r = file_list(root, &folders, err);
    for (size_t i = 0; i < folders.len && r >= 0; i++)
        sweep_folder(p, folders.items[i]);
    return r;
}
