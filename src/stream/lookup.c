#include "stream/internal.h"

#define IN_FLIGHT 4 /* batches of one kind */

static const PgStatement token_statement = {
    "atoll_token",
    "SELECT t.token, t.id, t.scopes, u.account_id, array_to_json(u.chosen_languages)::text, "
    "COALESCE(r.permissions, 0) FROM oauth_access_tokens t JOIN users u ON t.resource_owner_id = "
    "u.id JOIN accounts a ON u.account_id = a.id LEFT JOIN user_roles r ON u.role_id = r.id WHERE "
    "t.token = ANY($1::text[]) AND t.revoked_at IS NULL AND u.disabled = false AND a.suspended_at "
    "IS NULL",
    1};
static const PgStatement list_statement = {
    "atoll_list", "SELECT id, account_id FROM lists WHERE id = ANY($1::bigint[])", 1};
static const PgStatement access_statement = {
    "atoll_access",
    "SELECT var, value FROM settings WHERE var IN ('local_live_feed_access', "
    "'remote_live_feed_access', 'local_topic_feed_access', 'remote_topic_feed_access')",
    0};
/* One statement for all viewers of a message. The + 0 keeps the planner from looking up each viewer
 * in the index (account_id, target_account_id): few block an author, and the index of targets finds
 * those few; of a thousand viewers the other way costs ten times as much. */
static const PgStatement relations_statement = {
    "atoll_relations",
    "SELECT account_id FROM blocks WHERE target_account_id = ANY($2::bigint[]) AND account_id + 0 "
    "= ANY($1::bigint[]) UNION ALL SELECT target_account_id FROM blocks WHERE account_id = "
    "$3::bigint AND target_account_id + 0 = ANY($1::bigint[]) UNION ALL SELECT account_id FROM "
    "mutes WHERE target_account_id = ANY($2::bigint[]) AND account_id + 0 = ANY($1::bigint[]) "
    "UNION ALL SELECT account_id FROM account_domain_blocks WHERE $4::text IS NOT NULL AND domain "
    "= $4::text AND account_id = ANY($1::bigint[])",
    4};
static const PgStatement filters_statement = {
    "atoll_filters",
    "SELECT f.account_id, f.id, f.phrase, array_to_json(f.context)::text, (EXTRACT(EPOCH FROM "
    "f.expires_at) * 1000)::bigint, f.action, k.keyword, k.whole_word FROM custom_filter_keywords "
    "k JOIN custom_filters f ON f.id = k.custom_filter_id WHERE f.account_id = "
    "ANY($1::bigint[]) AND (f.expires_at IS NULL OR f.expires_at > (NOW() AT TIME ZONE 'UTC')) "
    "ORDER BY f.account_id, f.id, k.id",
    1};

typedef struct Asked {
    ConnRef ref;
    char *token; /* of a token's */
    int64_t id;  /* of a list's */
} Asked;
typedef VEC(Asked) AskedList;

typedef enum Kind { KIND_TOKEN, KIND_LIST, KIND_ACCESS, KINDS } Kind;
static const PgStatement *const statements[KINDS] = {&token_statement, &list_statement,
                                                     &access_statement};

typedef struct Batch {
    Lookup *lookup;
    Kind kind;
    AskedList asked;
} Batch;

struct Lookup {
    Server *server;
    AskedList waiting[KINDS];
    size_t in_flight[KINDS];
};

void pg_array_add(Buf *out, int64_t id)
{
    buf_printf(out, "%c%lld", out->len ? ',' : '{', (long long)id);
}

void pg_array_end(Buf *out)
{
    buf_str(out, out->len ? "}" : "{}");
}

/* A text as an element of an array. */
static void array_add_text(Buf *out, const char *text)
{
    buf_str(out, out->len ? ",\"" : "{\"");
    for (const char *p = text; *p; p++) {
        if (*p == '"' || *p == '\\')
            buf_char(out, '\\');
        buf_char(out, *p);
    }
    buf_char(out, '"');
}

static void asked_clear(AskedList *list)
{
    for (size_t i = 0; i < list->len; i++) {
        if (list->items[i].token)
            explicit_bzero(list->items[i].token, strlen(list->items[i].token));
        free(list->items[i].token);
    }
    vec_clear(list);
}

static int row_of(const PGresult *r, const char *key)
{
    for (int i = 0; i < PQntuples(r); i++)
        if (streq(PQgetvalue(r, i, 0), key))
            return i;
    return -1;
}

static void answer_token(Server *s, Conn *c, const Asked *a, const PGresult *r)
{
    int row = r ? row_of(r, a->token) : -1;
    TokenFound f = {0};

    if (row >= 0) {
        f = (TokenFound){.id = pg_cell_int(r, row, 1),
                         .scopes = scopes_of(pg_cell(r, row, 2)),
                         .account = pg_cell_int(r, row, 3),
                         .has_languages = !PQgetisnull(r, row, 4),
                         .languages = pg_cell(r, row, 4),
                         .permissions = pg_cell_int(r, row, 5)};
    }
    serve_login(s, c, r, row >= 0 ? &f : NULL);
}

static void answer_list(Server *s, Conn *c, const Asked *a, const PGresult *r)
{
    char id[24];
    (void)snprintf(id, sizeof(id), "%lld", (long long)a->id);
    int row = r ? row_of(r, id) : -1;
    subscribe_list_answer(s, c, row >= 0, row >= 0 ? pg_cell_int(r, row, 1) : 0);
}

static void answer_access(Server *s, Conn *c, const PGresult *r)
{
    static const char *const names[2][2] = {
        {"local_live_feed_access", "remote_live_feed_access"},
        {"local_topic_feed_access", "remote_topic_feed_access"}};
    FeedAccess access = {0};

    for (int i = 0; r && i < 4; i++) {
        int row = row_of(r, names[i / 2][i % 2]);
        access.deny[i / 2][i % 2] =
            row >= 0 && str_eq(pg_cell(r, row, 1), STR_LIT("--- disabled\n"));
    }
    subscribe_access_answer(s, c, r, &access);
}

static void on_batch(void *user, const PGresult *r)
{
    Batch *b = user;
    Server *s = b->lookup->server;

    b->lookup->in_flight[b->kind]--;
    for (size_t i = 0; i < b->asked.len; i++) {
        const Asked *a = &b->asked.items[i];
        Conn *c = conn_find(s, a->ref);
        if (!c)
            continue; /* it went away meanwhile: nothing is left of it */
        if (b->kind == KIND_TOKEN)
            answer_token(s, c, a, r);
        else if (b->kind == KIND_LIST)
            answer_list(s, c, a, r);
        else
            answer_access(s, c, r);
    }
    asked_clear(&b->asked);
    free(b);
}

static void send_batch(Lookup *l, Kind kind)
{
    AskedList *w = &l->waiting[kind];
    size_t n = MIN(w->len, (size_t)l->server->settings->batch);
    _cleanup_(buf_wipe) Buf values = BUF_INIT(BUF_MAX_BODY);
    Batch *b = NEW(Batch);

    b->lookup = l;
    b->kind = kind;
    for (size_t i = 0; i < n; i++) {
        const Asked *a = &w->items[i];
        vec_push(&b->asked, *a);
        if (kind == KIND_TOKEN)
            array_add_text(&values, a->token);
        else if (kind == KIND_LIST)
            pg_array_add(&values, a->id);
    }
    memmove(w->items, w->items + n, (w->len - n) * sizeof(*w->items));
    w->len -= n;
    pg_array_end(&values);
    l->in_flight[kind]++;
    const char *const parameters[] = {values.p};
    pg_pool_ask(l->server->pg, statements[kind], parameters, on_batch, b);
}

/* What was asked in one turn goes together; while answers are out, more comes together. */
void lookup_end_turn(Lookup *l)
{
    for (int k = 0; k < KINDS; k++)
        while (l->waiting[k].len && l->in_flight[k] < IN_FLIGHT)
            send_batch(l, (Kind)k);
}

void lookup_token(Lookup *l, ConnRef ref, const char *token)
{
    vec_push(&l->waiting[KIND_TOKEN], (Asked){.ref = ref, .token = xstrdup(token)});
}

void lookup_list(Lookup *l, ConnRef ref, int64_t list)
{
    vec_push(&l->waiting[KIND_LIST], (Asked){.ref = ref, .id = list});
}

void lookup_access(Lookup *l, ConnRef ref)
{
    vec_push(&l->waiting[KIND_ACCESS], (Asked){.ref = ref});
}

void lookup_relations(Lookup *l, const char *viewers, const char *targets, const char *author,
                      const char *domain, PgDone *done, void *user)
{
    const char *const values[] = {viewers, targets, author, domain};
    pg_pool_ask(l->server->pg, &relations_statement, values, done, user);
}

void lookup_filters(Lookup *l, const char *accounts, PgDone *done, void *user)
{
    const char *const values[] = {accounts};
    pg_pool_ask(l->server->pg, &filters_statement, values, done, user);
}

Lookup *lookup_new(Server *s)
{
    Lookup *l = NEW(Lookup);
    l->server = s;
    return l;
}

Lookup *lookup_free(Lookup *l)
{
    for (int k = 0; l && k < KINDS; k++)
        asked_clear(&l->waiting[k]);
    free(l);
    return NULL;
}
