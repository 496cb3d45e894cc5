/* A pocket cloud whose HTTP handlers are called directly, without sockets: Keystone and Swift as a
 * client sees them. The clock is the test's.
 *
 *     Calls *c = calls_new();
 *     c->token = demo's;                                  // or NULL: anonymous
 *     assert_int_equal(ask(c, "PUT", "/box", "", NULL), 201);
 *
 * A path that does not begin with /v1 or / alone is below the account of the demo project. Headers
 * are one string, "A: 1\nB: 2".
 */
#pragma once
#include "io/crypt.h"
#include "io/file.h"
#include "pocket/core.h"
#include "pocket/keystone.h"
#include "pocket/swift_call.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <unistd.h>

#include <cmocka.h>

typedef struct Calls {
    Pocket p;
    PocketCore core;
    Listener keystone, swift;
    char *demo, *admin; /* tokens of the seeded users on their projects */
    char *project;      /* id of demo's */
    const char *token;  /* of the next calls */
    int status;         /* of the last answer */
    StrList headers;
    Buf body;
    json_t *json; /* the body, if it is JSON */
} Calls;

static Msec calls_now;

static _unused_ Msec calls_clock(void)
{
    return calls_now;
}

static _unused_ void take_reply(Calls *c, HttpdCall *h)
{
    HttpdReply *r = &h->reply;
    c->status = r->status;
    strlist_clear(&c->headers);
    c->headers = r->headers;
    r->headers = (StrList){0};
    buf_truncate(&c->body, 0);
    buf_add(&c->body, r->body.p, r->body.len);
    for (size_t i = 0; i < r->pieces.len; i++) {
        HttpdPiece *piece = &r->pieces.items[i];
        if (piece->text) {
            buf_add(&c->body, piece->text, (size_t)piece->size);
            free(piece->text);
            continue;
        }
        _cleanup_free_ char *text = xcalloc(1, (size_t)piece->size + 1);
        assert_int_equal(pread(piece->fd, text, (size_t)piece->size, piece->offset), piece->size);
        buf_add(&c->body, text, (size_t)piece->size);
        close(piece->fd);
    }
    vec_clear(&r->pieces);
    buf_clear(&r->body);
    json_decref(c->json);
    c->json = json_parse_new(c->body.p, c->body.len, NULL);
}

static _unused_ void add_headers(StrList *l, const char *text)
{
    Str rest = str_of(text), line;
    while (str_next(&rest, '\n', &line)) {
        _cleanup_free_ char *one = xstrndup(line.p, line.n);
        if (*one)
            strlist_add(l, one);
    }
}

/* The body is given in two parts, as a network would. `end` false: the client goes away instead. */
static _unused_ int call_parts(Calls *c, Listener *l, const char *method, const char *target,
                               const char *headers, const char *body, bool end)
{
    const HttpdHandler *handler = l == &c->swift ? &swift_handler : &serve_handler;
    const char *mark = strchr(target, '?');
    _cleanup_free_ char *path = xstrndup(target, mark ? (size_t)(mark - target) : strlen(target));
    HttpdCall h = {.method = method,
                   .target = path,
                   .query = mark ? mark + 1 : "",
                   .peer = "127.0.0.1",
                   .body_size = body ? (int64_t)strlen(body) : 0,
                   .user = l,
                   .reply = {.cut_at = -1, .body = BUF_INIT(BUF_MAX_BODY)}};
    add_headers(&h.headers, headers ? headers : "");
    if (c->token)
        strlist_addf(&h.headers, "x-auth-TOKEN: %s", c->token);
    if (body || streq(method, "PUT"))
        strlist_addf(&h.headers, "Content-Length: %lld", (long long)h.body_size);
    handler->begin(&h);
    size_t n = body ? strlen(body) : 0;
    bool more = !h.answered;
    if (more && n > 0)
        more = handler->body(&h, (Str){body, n / 2});
    if (more && n > 0 && end)
        (void)handler->body(&h, (Str){body + n / 2, n - n / 2});
    if (!h.answered && end)
        handler->end(&h);
    take_reply(c, &h);
    handler->close(&h, end);
    strlist_clear(&h.headers);
    return c->status;
}

static _unused_ int ask(Calls *c, const char *method, const char *path, const char *headers,
                        const char *body)
{
    bool whole = starts_with(path, "/v1") || starts_with(path, "/info");
    _cleanup_free_ char *target =
        whole ? xstrdup(path) : xasprintf("/v1/AUTH_%s%s", c->project, path);
    return call_parts(c, &c->swift, method, target, headers, body, true);
}

static _unused_ int ask_keystone(Calls *c, const char *method, const char *path, const char *body)
{
    return call_parts(c, &c->keystone, method, path, "", body, true);
}

static _unused_ const char *header(const Calls *c, const char *name)
{
    return header_of(&c->headers, name);
}

/* A token for a user of the default domain; project NULL: unscoped. To be freed; NULL: refused. */
static _unused_ char *login(Calls *c, const char *user, const char *password, const char *project)
{
    _cleanup_json_ json_t *body = json_make_new(
        "{s:{s:{s:[s],s:{s:{s:s,s:s,s:{s:s}}}}}}", "auth", "identity", "methods", "password",
        "password", "user", "name", user, "password", password, "domain", "name", "DEFAULT");
    if (project)
        json_object_set_new(json_object_get(body, "auth"), "scope",
                            json_make_new("{s:{s:s,s:{s:s}}}", "project", "name", project, "domain",
                                          "name", "Default"));
    _cleanup_free_ char *text = json_text_new(body);
    const char *before = c->token;
    c->token = NULL;
    int status = ask_keystone(c, "POST", "/v3/auth/tokens", text);
    c->token = before;
    return status == 201 ? xstrdup(header(c, "X-Subject-Token")) : NULL;
}

/* The password of a user in clouds.yaml. */
static _unused_ char *seeded_password(Calls *c, const char *user)
{
    _cleanup_free_ char *path = path_join(c->p.dir, "clouds.yaml");
    _cleanup_(buf_clear) Buf text = BUF_INIT(BUF_MAX_LINE);
    assert_int_equal(file_read(path, &text, NULL), 0);
    _cleanup_free_ char *want = xasprintf("username: %s\n      password: ", user);
    const char *at = strstr(text.p, want);
    assert_non_null(at);
    at += strlen(want);
    return xstrndup(at, strcspn(at, "\n"));
}

static _unused_ void calls_open(Calls *c)
{
    _cleanup_free_ char *path = path_join(c->p.dir, "pocket.db");
    _cleanup_free_ char *log = path_join(c->p.dir, "requests.jsonl");
    bool fresh;
    assert_int_equal(store_open(path, &c->p.store, &fresh, NULL), 0);
    assert_int_equal(journal_open(log, &c->core.journal, NULL), 0);
    store_begin(c->p.store);
    assert_int_equal(keystone_start(&c->p, fresh, NULL), 0);
    assert_int_equal(swift_start(&c->p, NULL), 0);
    store_end(c->p.store, true);
}

static _unused_ void calls_close(Calls *c)
{
    c->p.store = store_close(c->p.store);
    c->core.journal = journal_close(c->core.journal);
}

static _unused_ Calls *calls_new(void)
{
    Calls *c = NEW(Calls);
    char dir[] = "/tmp/atoll-pocket-test-XXXXXX";
    crypt_init();
    calls_now = 1795000000000;
    assert_non_null(mkdtemp(dir));
    c->body = BUF_INIT(BUF_MAX_BODY);
    c->p = (Pocket){
        .dir = xstrdup(dir), .region = xstrdup("pocket-1"), .now = calls_clock, .core = &c->core};
    for (int i = 0; i < POCKET_SERVICES; i++)
        c->p.port[i] = 20000 + i;
    c->core.token_life_s = 3600;
    c->keystone = (Listener){.pocket = &c->p, .service = POCKET_KEYSTONE};
    c->swift = (Listener){.pocket = &c->p, .service = POCKET_SWIFT};
    calls_open(c);
    _cleanup_free_ char *demo = seeded_password(c, "demo");
    _cleanup_free_ char *admin = seeded_password(c, "admin");
    c->admin = login(c, "admin", admin, "admin");
    c->demo = login(c, "demo", demo, "demo");
    assert_non_null(c->admin);
    assert_non_null(c->demo);
    c->project = xstrdup(json_str(c->json, "token.project.id"));
    c->token = c->demo;
    return c;
}

static _unused_ void calls_free(Calls *c)
{
    calls_close(c);
    assert_int_equal(file_remove_tree(c->p.dir, NULL), 0);
    free(c->p.dir);
    free(c->p.region);
    free(c->demo);
    free(c->admin);
    free(c->project);
    strlist_clear(&c->headers);
    buf_clear(&c->body);
    json_decref(c->json);
    free(c);
}

/* Number of files that hold bodies; in tmp, too. */
static _unused_ size_t count_files(Calls *c)
{
    size_t n = 0;
    _cleanup_free_ char *root = path_join(c->p.dir, "swift");
    _cleanup_(strlist_clear) StrList folders = {0};
    assert_int_equal(file_list(root, &folders, NULL), 0);
    for (size_t i = 0; i < folders.len; i++) {
        _cleanup_free_ char *folder = path_join(root, folders.items[i]);
        _cleanup_(strlist_clear) StrList files = {0};
        assert_int_equal(file_list(folder, &files, NULL), 0);
        n += files.len;
    }
    return n;
}
