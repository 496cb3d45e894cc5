/* Dispatch for the services that are tables of routes. */
#include "pocket/core.h"
#include "pocket/keystone.h"

#define BODY_MAX ((size_t)16 << 20)

typedef struct Call {
    Arrival arrival;
    Buf body;
} Call;

static const PocketRoute *table_of(PocketService s)
{
    switch (s) {
    case POCKET_KEYSTONE:
        return keystone_routes;
    case POCKET_NOVA:
        return nova_routes;
    case POCKET_NEUTRON:
        return neutron_routes;
    case POCKET_CINDER:
        return cinder_routes;
    case POCKET_GLANCE:
        return glance_routes;
    case POCKET_SWIFT:
    case POCKET_SERVICES:
        break;
    }
    util_bug(__FILE__, __LINE__, "a service without routes");
}

static void on_begin(HttpdCall *c)
{
    Call *call = NEW(Call);
    call->body = BUF_INIT(BODY_MAX);
    c->state = call;
    (void)arrival_begin(&call->arrival, c->user, c);
}

static bool on_body(HttpdCall *c, Str part)
{
    Call *call = c->state;
    buf_add(&call->body, part.p, part.n);
    return !call->body.overflow;
}

/* What keystonemiddleware answers in front of every service, and Keystone itself. */
static void fail_login(const Pocket *p, PocketReply *r)
{
    pocket_fail(POCKET_KEYSTONE, r, 401, NULL,
                "The request you have made requires authentication.");
    _cleanup_free_ char *url = pocket_url(p, POCKET_KEYSTONE);
    strlist_addf(&r->headers, "WWW-Authenticate: Keystone uri=\"%s\"", url);
}

static bool allowed(const Pocket *p, PocketService s, PocketNeed need, const Caller *caller,
                    PocketReply *r)
{
    if (need == NEED_NOTHING)
        return true;
    if (!caller) {
        fail_login(p, r);
        return false;
    }
    const PocketUser *u = &caller->user;
    bool admin = pocket_has_role(u, "admin");
    bool ok = need == NEED_TOKEN || (need == NEED_PROJECT && u->project_id) ||
              (need == NEED_MEMBER && u->project_id && (admin || pocket_has_role(u, "member"))) ||
              (need == NEED_ADMIN && admin);
    if (!ok)
        pocket_fail(s, r, 403, NULL, "Policy doesn't allow this action to be performed.");
    return ok;
}

/* The body as JSON, or NULL without one. False: it is broken; the reply is filled. */
static bool parse_body(PocketService s, const HttpdCall *http, const Call *call, json_t **ret,
                       PocketReply *r)
{
    *ret = NULL;
    if (call->body.overflow) {
        pocket_fail(s, r, 413, NULL, "Request is too large.");
        return false;
    }
    const char *type = httpd_header(http, "Content-Type");
    if (call->body.len == 0 || (type && !strcasestr(type, "json")))
        return true;
    _cleanup_(err_clear) Err err = {0};
    *ret = json_parse_new(call->body.p, call->body.len, &err);
    if (!*ret)
        pocket_fail(s, r, 400, NULL, "Malformed JSON in request body: %s", err.text);
    return *ret != NULL;
}

/* Nova and Cinder tell which version they answered in, also with an error of theirs. */
static void version_headers(PocketService s, PocketReply *r, const char *version)
{
    const char *word = s == POCKET_NOVA ? "compute" : "volume";
    strlist_addf(&r->headers, "OpenStack-API-Version: %s %s", word, version);
    if (s == POCKET_NOVA)
        strlist_addf(&r->headers, "X-OpenStack-Nova-API-Version: %s", version);
    strlist_addf(&r->headers, "Vary: OpenStack-API-Version%s",
                 s == POCKET_NOVA ? ", X-OpenStack-Nova-API-Version" : "");
}

/* The version that was asked for; false with a filled reply when there is no such one. */
static bool set_version(PocketService s, PocketCall *pc, PocketReply *r)
{
    int major = s == POCKET_NOVA ? 2 : 3;
    int max = s == POCKET_NOVA ? POCKET_COMPUTE_MINOR : POCKET_VOLUME_MINOR;
    if (s != POCKET_NOVA && s != POCKET_CINDER)
        return true;
    _cleanup_free_ char *asked = microversion_text(s, pc->headers);
    if (s == POCKET_CINDER && !asked && header_of(pc->headers, "OpenStack-API-Version")) {
        pocket_fail(s, r, 400, NULL,
                    "The server could not comply with the request since it is either malformed or "
                    "otherwise incorrect.");
        return false;
    }
    if (asked && strcasecmp(asked, "latest") != 0 && !version_shaped(asked)) {
        pocket_fail(s, r, 400, NULL,
                    "API Version String %s is of invalid format. Must be of format "
                    "MajorNum.MinorNum.",
                    asked);
        return false;
    }
    pc->microversion = microversion_of(s, pc->headers, max);
    if (pc->microversion >= 0) {
        pc->answered_in = xasprintf("%d.%d", major, pc->microversion);
        return true;
    }
    pc->answered_in = xstrdup(asked);
    pocket_fail(s, r, 406, NULL,
                "Version %s is not supported by the API. Minimum is %d.%d and maximum is %d.%d.",
                asked, major, s == POCKET_NOVA, major, max);
    return false;
}

static void run_route(Pocket *p, PocketService s, const PocketRoute *route, PocketCall *pc,
                      const Caller *caller, PocketReply *r)
{
    if (!allowed(p, s, route->need, caller, r))
        return;
    if (set_version(s, pc, r))
        route->handler(p, pc, r);
}

static void answer(Pocket *p, PocketService s, HttpdCall *http, Call *call, PocketReply *r)
{
    StrList args = {0};
    bool other_method;
    const PocketRoute *route =
        route_find(table_of(s), http->method, http->target, &args, &other_method);
    const char *token = httpd_header(http, "X-Auth-Token");
    _cleanup_(caller_drop) Caller *caller = token ? keystone_caller_new(p, token) : NULL;
    if (caller)
        call->arrival.user = xstrdup(caller->user.user_name);
    if (caller && !caller_may(caller, s, http->method, http->target))
        caller = caller_free(caller);
    _cleanup_(buf_clear) Buf path = BUF_INIT(BUF_MAX_LINE);
    if (!buf_url_unquote(&path, str_of(http->target)))
        buf_str(&path, http->target);
    PocketCall pc = {.method = http->method,
                     .path = path.p,
                     .args = args,
                     .headers = &http->headers,
                     .query = query_parse_new(http->query),
                     .user = caller ? &caller->user : NULL,
                     .request_id = call->arrival.request_id};
    if (!route)
        pocket_fail(s, r, other_method ? 405 : 404, NULL,
                    other_method ? "The method is not allowed for this resource."
                                 : "The resource could not be found.");
    else if (parse_body(s, http, call, &pc.body, r))
        run_route(p, s, route, &pc, caller, r);
    const char *accept = httpd_header(http, "Accept");
    bool json_only = accept && strstr(accept, "application/json") && !strstr(accept, "*/*") &&
                     !strstr(accept, "text/html");
    if (s == POCKET_GLANCE && r->status >= 400 && json_str(r->json, "title") && !json_only)
        error_page(r);
    json_decref(pc.body);
    json_decref(pc.query);
    strlist_clear(&args);
    if (pc.answered_in)
        version_headers(s, r, pc.answered_in);
    free(pc.answered_in);
}

static void copy_reply(HttpdCall *http, PocketReply *r)
{
    HttpdReply *out = &http->reply;
    out->status = r->status;
    out->headers = r->headers;
    r->headers = (StrList){0};
    if (r->json) {
        _cleanup_free_ char *text = json_dumps(r->json, JSON_COMPACT);
        BUG_IF(!text);
        buf_str(&out->body, text);
        if (!header_of(&out->headers, "Content-Type"))
            strlist_add(&out->headers, "Content-Type: application/json");
    } else if (r->text.len > 0) {
        buf_add(&out->body, r->text.p, r->text.len);
    }
    json_decref(r->json);
    buf_clear(&r->text);
}

static void on_end(HttpdCall *c)
{
    const Listener *l = c->user;
    Call *call = c->state;
    Pocket *p = l->pocket;
    PocketReply r = {.text = BUF_INIT(BUF_MAX_BODY)};
    arrival_land(&call->arrival, c);
    pocket_lock(p);
    store_begin(p->store);
    answer(p, l->service, c, call, &r);
    BUG_IF(r.status < 200);
    store_end(p->store, r.status < 400);
    pocket_unlock(p);
    copy_reply(c, &r);
    arrival_end(&call->arrival, c);
}

static void on_close(HttpdCall *c, bool sent)
{
    (void)sent;
    Call *call = c->state;
    arrival_close(&call->arrival, c);
    buf_wipe(&call->body);
    free(call);
}

const HttpdHandler serve_handler = {on_begin, on_body, on_end, on_close};
