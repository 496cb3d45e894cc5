#include "host/mail.h"
#include "base/buf.h"
#include "host/spec.h"
#include "island/roles.h"

/* What of the listing counts for one server. */
typedef struct MailBox {
    bool hello;
    Msec hello_at;
    const char *hello_hash; /* borrowed, as the rest of this kind */
    Str sent_hello;
    int64_t sent, seen;
    int64_t last;      /* the highest number, asks included */
    VEC(int64_t) asks; /* their numbers */
    Str sent_spec, sent_rest,
        sent_key; /* these and the rest: borrowed from the listing; NULL: none */
    Msec sent_at, sent_until;
    bool sent_scheduler;
    json_t *keeps, *kept; /* role: disk; owned */
    const char *state, *report;
    size_t state_len;
    const char *stamp; /* of the newest report */
    Msec since;
} MailBox;

#define NUMBER_DIGITS 8
#define NUMBER_MAX 99999999

static const char *const states[] = {"starting", "healthy", "failed", "refused", NULL};

bool mail_number(Str s, int64_t *ret)
{
    char text[NUMBER_DIGITS + 1];

    if (s.n != NUMBER_DIGITS)
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
    memcpy(text, s.p, s.n);
    text[NUMBER_DIGITS] = '\0';
    return parse_int(text, 1, NUMBER_MAX, ret);
}

static Str unquoted(Str s)
{
    return s.n >= 2 && s.p[0] == '"' && s.p[s.n - 1] == '"' ? (Str){s.p + 1, s.n - 2} : s;
}

Str mail_param(const char *content_type, const char *kind, const char *name)
{
    Str rest = str_of(content_type ? content_type : ""), part;
    size_t n = strlen(name);

    if (!str_next(&rest, ';', &part) || !str_eq(part, str_of(kind)))
        return (Str){0};
    while (str_next(&rest, ';', &part)) {
        part = str_trim(part);
        if (part.n > n && part.p[n] == '=' && strncmp(part.p, name, n) == 0)
            return unquoted((Str){part.p + n + 1, part.n - n - 1});
    }
    return (Str){0};
}

static Str read_param(const char *content_type, const char *name)
{
    return mail_param(content_type, MAIL_BUNDLE_TYPE, name);
}

/* 16 hex digits, or nothing. */
static Str read_hex(const char *content_type, const char *name)
{
    Str s = read_param(content_type, name);

    return s.n == 16 && strspn(s.p, "0123456789abcdef") >= 16 ? s : (Str){0};
}

/* Unix seconds as milliseconds; 0: not told. */
static Msec read_until(const char *content_type)
{
    Str s = read_param(content_type, "until");
    _cleanup_free_ char *text = xstrndup(s.p ? s.p : "", s.n);
    int64_t seconds;

    return parse_int(text, 1, INT64_MAX / SECOND, &seconds) ? seconds * SECOND : 0;
}

/* "; redis=root" */
static json_t *read_keeps_new(const char *type)
{
    json_t *keeps = json_object();

    for (size_t role = 0; role < ROLES; role++) {
        const RoleRow *row = &role_rows[role];
        Str disk = row->keeps ? read_param(type, row->name) : (Str){0};

        if (str_eq(disk, STR_LIT("root")) || str_eq(disk, STR_LIT("volume")))
            json_object_set_new(keeps, row->name, json_stringn(disk.p, disk.n));
    }
    return keeps;
}

static bool is_ask(const char *type)
{
    Str rest = str_of(type), part;

    return str_next(&rest, ';', &part) && str_eq(part, STR_LIT(MAIL_ASK_TYPE));
}

static void read_in(Str name, const json_t *object, MailBox *box)
{
    const char *type = json_str(object, "content_type");
    int64_t number;
    if (!mail_number(name, &number))
        return;
    box->last = MAX(box->last, number);
    if (is_ask(type)) {
        vec_push(&box->asks, number);
        return;
    }
    _cleanup_json_ json_t *keeps = read_keeps_new(type);
    host_kept(box->kept, keeps);
    if (number <= box->sent)
        return;
    box->sent = number;
    json_object_clear(box->keeps);
    json_object_update(box->keeps, keeps);
    if (!time_parse(json_str_or(object, "last_modified", ""), &box->sent_at))
        box->sent_at = 0;
    box->sent_spec = read_hex(type, "spec");
    box->sent_rest = read_hex(type, "rest");
    box->sent_key = read_hex(type, "key");
    box->sent_hello = read_hex(type, "hello");
    box->sent_until = read_until(type);
    box->sent_scheduler = str_eq(read_param(type, "scheduler"), STR_LIT("1"));
}

static bool is_state(Str s)
{
    for (size_t i = 0; states[i]; i++)
        if (str_eq(s, str_of(states[i])))
            return true;
    return false;
}

/* A host that is too old to know asks reports of one as of a bundle that it refuses. */
static bool is_asks(const MailBox *box, int64_t number)
{
    for (size_t i = 0; i < box->asks.len; i++)
        if (box->asks.items[i] == number)
            return true;
    return false;
}

/* The newest report of the highest number tells: a host goes from starting to healthy, and maybe
 * to failed and back, and each of these is an object of its own that stays. */
static void read_out(Str name, const json_t *object, MailBox *box)
{
    if (str_eq(name, STR_LIT("hello"))) {
        box->hello = true;
        box->hello_hash = json_str(object, "hash");
        if (!time_parse(json_str_or(object, "last_modified", ""), &box->hello_at))
            box->hello_at = 0;
        return;
    }
    Str number_part, state = name;
    int64_t number;
    if (!str_next(&state, '-', &number_part) || !mail_number(number_part, &number) || !state.p ||
        !is_state(state) || is_asks(box, number))
        return;
    const char *stamp = json_str_or(object, "last_modified", "");
    Msec since = 0;
    if (!time_parse(stamp, &since))
        since = 0;
    /* Within one millisecond the text decides: Swift gives microseconds. */
    if (number < box->seen ||
        (number == box->seen &&
         (since < box->since || (since == box->since && strcmp(stamp, box->stamp) <= 0))))
        return;
    box->seen = number;
    box->state = state.p;
    box->state_len = state.n;
    box->since = since;
    box->stamp = stamp;
    box->report = json_str(object, "name");
}

static MailBox read_box(const json_t *listing, const char *server, const char *nonce)
{
    MailBox box = {.stamp = "", .keeps = json_object(), .kept = json_object()};
    _cleanup_free_ char *prefix = xasprintf("%s/%s/", server, nonce);
    size_t i;
    const json_t *object;

    /* What is out can be told when all that is in is known. */
    for (int out = 0; out <= 1; out++) {
        json_array_foreach (listing, i, object) {
            const char *name = json_str_or(object, "name", "");
            if (!starts_with(name, prefix))
                continue;
            const char *rest = name + strlen(prefix);
            if (!out && starts_with(rest, "in/"))
                read_in(str_of(rest + 3), object, &box);
            else if (out && starts_with(rest, "out/"))
                read_out(str_of(rest + 4), object, &box);
        }
    }
    vec_clear(&box.asks);
    return box;
}

/* Somebody has said hello once more, in other words than those that were answered. */
static bool other_hello(const MailBox *box)
{
    return box->sent_hello.n && box->hello_hash && strlen(box->hello_hash) >= 16 &&
           strncmp(box->hello_hash, box->sent_hello.p, 16) != 0;
}

static void set_str(json_t *attrs, const char *name, Str value)
{
    json_object_set_new(attrs, name, json_stringn(value.n ? value.p : "", value.n));
}

static json_t *host_attrs_new(const Resource *server, const json_t *listing)
{
    const char *nonce = json_str_or(server->attrs, "metadata.atoll-boot", "");
    MailBox box = {.stamp = ""};

    if (*nonce)
        box = read_box(listing, server->key, nonce);
    json_t *attrs = json_make_new("{s:s, s:s, s:b, s:I, s:I, s:I, s:I, s:s}", "boot", nonce,
                                  "server_status", server->status ? server->status : "", "hello",
                                  box.hello ? 1 : 0, "hello_at", (json_int_t)box.hello_at, "sent",
                                  (json_int_t)box.sent, "seen", (json_int_t)box.seen, "state_since",
                                  (json_int_t)box.since, "report", box.report ? box.report : "");
    set_str(attrs, "sent_spec", box.sent_spec);
    set_str(attrs, "sent_rest", box.sent_rest);
    set_str(attrs, "sent_key", box.sent_key);
    json_object_set_new(attrs, "hello_other", json_boolean(other_hello(&box)));
    json_object_set_new(attrs, "sent_at", json_integer((json_int_t)box.sent_at));
    json_object_set_new(attrs, "next", json_integer((json_int_t)box.last + 1));
    json_object_set_new(attrs, "sent_scheduler", json_boolean(box.sent_scheduler));
    json_object_set_new(attrs, "keeps", box.keeps ? box.keeps : json_object());
    json_object_set_new(attrs, "kept", box.kept ? box.kept : json_object());
    json_object_set_new(attrs, "sent_until", json_integer((json_int_t)box.sent_until));
    json_object_set_new(attrs, "state", json_stringn(box.state ? box.state : "", box.state_len));
    return attrs;
}

void mail_read(const json_t *listing, World *w)
{
    /* world_add may move the items: the number of them is taken first, and each server is looked
     * up by its place. */
    size_t n = w->items.len;

    for (size_t i = 0; i < n; i++) {
        const Resource *server = &w->items.items[i];
        if (server->kind != RESOURCE_SERVER)
            continue;
        Resource host = {
            .kind = RESOURCE_HOST,
            .key = xstrdup(server->key),
            .generation = server->generation,
            .name = xstrdup(server->name ? server->name : ""),
            .cloud = server->cloud,
            .attrs = host_attrs_new(server, listing),
            .id = xstrdup(server->id ? server->id : ""),
            /* A rebuilt server boots anew. */
            .created_at = MAX(server->created_at, json_int(server->attrs, "updated", 0)),
        };
        host.status = xstrdup(json_str_or(host.attrs, "state", ""));
        (void)world_add(w, host);
    }
}

bool mail_silent(const Resource *host, Msec now)
{
    Msec since = MAX(json_int(host->attrs, "state_since", 0), json_int(host->attrs, "sent_at", 0));

    return since > 0 && now - since > MAIL_SILENT;
}

bool mail_failed(const Resource *host)
{
    const char *state = json_str_or(host->attrs, "state", "");

    return streq(state, "failed") || streq(state, "refused");
}

char *mail_report_words_new(const json_t *report)
{
    Buf words = BUF_INIT(BUF_MAX_LINE);
    const char *own = json_str(report, "why");
    const json_t *s;
    size_t i;

    buf_str(&words, own);
    json_array_foreach (json_object_get(report, "services"), i, s) {
        const char *why = json_str_or(s, "why", "");

        if (streq(json_str(s, "state"), "healthy") || !why[0])
            continue;
        buf_printf(&words, "%s%s: %s", words.len ? "; " : "", json_str_or(s, "name", "?"), why);
    }
    return words.len ? buf_detach(&words) : NULL;
}

char *mail_in(const char *server, const char *nonce, int64_t number)
{
    return xasprintf("%s/%s/in/%08lld", server, nonce, (long long)number);
}

char *mail_out(const char *server, const char *nonce, int64_t number, const char *state)
{
    return xasprintf("%s/%s/out/%08lld-%s", server, nonce, (long long)number, state);
}

int64_t mail_next(const json_t *listing, const char *server, const char *nonce, int64_t number,
                  bool *ret_ask)
{
    MailBox box = read_box(listing, server, nonce);
    _cleanup_free_ char *name = mail_in(server, nonce, number);
    size_t i;
    const json_t *object;

    *ret_ask = false;
    json_array_foreach (listing, i, object) {
        if (streq(json_str(object, "name"), name))
            *ret_ask = is_ask(json_str(object, "content_type"));
    }
    json_decref(box.keeps);
    json_decref(box.kept);
    return box.last + 1;
}

char *mail_hello(const char *server, const char *nonce)
{
    return xasprintf("%s/%s/out/hello", server, nonce);
}

char *mail_url(const char *prefix_url, const char *name)
{
    const char *query = strchr(prefix_url, '?');
    size_t path = query ? (size_t)(query - prefix_url) : strlen(prefix_url);

    return xasprintf("%.*s%s%s", (int)path, prefix_url, name, query ? query : "");
}
