#include "cloud/answer.h"

#define FIRST_WAIT_MS 500
/* A body that can't be read is asked for again a few times only: it may be as long each time. */
#define CORRUPT_TRIES 3
#define PAGE_SIZE_SWIFT 10000
#define PAGE_SIZE_OFFSET 100

/* Retry-After: seconds or a date (RFC 7231 7.1.3). False if it is neither. */
static bool parse_retry_after(const char *s, Msec now, Msec *ret_wait)
{
    int64_t seconds;
    Msec date;

    if (!s)
        return false;
    if (parse_int(s, 0, INT32_MAX, &seconds)) {
        *ret_wait = seconds * SECOND;
        return true;
    }
    if (!time_parse_http(s, &date))
        return false;
    *ret_wait = MAX(date - now, 0);
    return true;
}

/* 0.5 s, 1 s, 2 s, ... and up to a quarter more or less, so that many clients part. */
static Msec backoff(int tries, uint64_t random)
{
    Msec base = (Msec)FIRST_WAIT_MS << MIN(MAX(tries - 1, 0), 6);
    return base * 3 / 4 + (Msec)(random % (uint64_t)(base / 2));
}

typedef enum Effect { EFFECT_FINAL, EFFECT_REFUSED, EFFECT_UNKNOWN } Effect;

/* What is known about a request that failed: FINAL, the service said no; REFUSED, it did nothing
 * and may do it later; UNKNOWN, it may have happened. */
static Effect effect_of(const RetryCase *c, bool told_to_wait)
{
    switch (c->status) {
    case 0:
        if (c->failure == ERR_TEMPORARY || c->failure == ERR_CORRUPT)
            return c->sent ? EFFECT_UNKNOWN : EFFECT_REFUSED;
        return c->failure == ERR_INTERRUPTED && c->sent ? EFFECT_UNKNOWN : EFFECT_FINAL;
    case 429:
        return EFFECT_REFUSED;
    case 498:
        return c->service == CLOUD_OBJECT ? EFFECT_REFUSED : EFFECT_FINAL;
    case 503:
        return told_to_wait ? EFFECT_REFUSED : EFFECT_UNKNOWN;
    case 408:
        return EFFECT_UNKNOWN;
    case 501:
        return EFFECT_FINAL;
    default:
        return c->status >= 500 ? EFFECT_UNKNOWN : EFFECT_FINAL;
    }
}

Retry answer_retry(const RetryCase *c)
{
    Msec wait = 0;
    bool told = parse_retry_after(c->retry_after, c->now, &wait);

    if (c->status == 401)
        return (Retry){.what = c->relogged ? RETRY_NO : RETRY_LOGIN};
    Effect effect = effect_of(c, told);
    if (effect == EFFECT_FINAL)
        return (Retry){0};
    bool unknown = effect == EFFECT_UNKNOWN && c->kind != CALL_READ;
    if (unknown && c->kind == CALL_CREATE)
        return (Retry){.unknown_effect = true};
    int most = c->status == 0 && c->failure == ERR_CORRUPT ? CORRUPT_TRIES : RETRY_TRIES;
    if (c->tries >= most || (c->status == 0 && c->failure == ERR_INTERRUPTED))
        return (Retry){.unknown_effect = unknown};
    /* A little more than told, so that not all come at the same moment. */
    wait = told ? wait + (Msec)(c->random % 250) : backoff(c->tries, c->random);
    if (c->spent_ms + wait > RETRY_BUDGET)
        return (Retry){.unknown_effect = unknown};
    return (Retry){.what = RETRY_WAIT, .wait_ms = wait, .unknown_effect = unknown};
}

/* Pages */

/* `url` with another query. */
static char *with_query(const char *url, const char *query)
{
    return xasprintf("%.*s?%s", (int)strcspn(url, "?"), url, query);
}

/* The value of a parameter, undecoded; p NULL if it is not there. */
static Str query_value(const char *url, const char *name)
{
    const char *query = strchr(url, '?');
    Str rest = str_of(query ? query + 1 : ""), part;
    size_t n = strlen(name);

    while (str_next(&rest, '&', &part))
        if (part.n > n && strncmp(part.p, name, n) == 0 && part.p[n] == '=')
            return (Str){part.p + n + 1, part.n - n - 1};
    return (Str){0};
}

/* The same query with one parameter set to another value. */
static char *with_parameter(const char *url, const char *name, const char *value)
{
    const char *query = strchr(url, '?');
    Str rest = str_of(query ? query + 1 : ""), part;
    size_t n = strlen(name);
    _cleanup_(buf_clear) Buf b = BUF_INIT(BUF_MAX_BODY);

    while (query && str_next(&rest, '&', &part)) {
        if (part.n == 0 || (part.n > n && strncmp(part.p, name, n) == 0 && part.p[n] == '='))
            continue;
        buf_add(&b, part.p, part.n);
        buf_char(&b, '&');
    }
    buf_printf(&b, "%s=%s", name, value);
    return with_query(url, b.p);
}

static bool counts_offset(CloudService s, const char *plural)
{
    return s == CLOUD_COMPUTE && streq(plural, "server_groups");
}

char *answer_first_url(CloudService s, const char *plural, const char *base, const char *path)
{
    _cleanup_free_ char *url = xasprintf("%s%s", base, path);

    if (!plural || query_value(url, "limit").p)
        return TAKE(url);
    if (s == CLOUD_OBJECT) {
        _cleanup_free_ char *limit = xasprintf("%d", PAGE_SIZE_SWIFT);
        _cleanup_free_ char *limited = with_parameter(url, "limit", limit);
        return with_parameter(limited, "format", "json");
    }
    if (counts_offset(s, plural)) {
        _cleanup_free_ char *limit = xasprintf("%d", PAGE_SIZE_OFFSET);
        return with_parameter(url, "limit", limit);
    }
    /* 25 a page is Glance's default. */
    return s == CLOUD_IMAGE ? with_parameter(url, "limit", "1000") : TAKE(url);
}

static int64_t query_int(const char *url, const char *name)
{
    Str value = query_value(url, name);
    _cleanup_free_ char *text = xstrndup(value.p ? value.p : "", value.n);
    int64_t n = 0;
    return parse_int(text, 0, INT32_MAX, &n) ? n : 0;
}

/* The link to the next page that a service gives, in its own way; NULL without one. Borrowed. */
static const char *next_link(CloudService s, const char *plural, const json_t *page)
{
    _cleanup_free_ char *key = xasprintf("%s_links", plural);
    const json_t *link;
    size_t i;

    if (s == CLOUD_IDENTITY)
        return json_str(page, "links.next");
    if (s == CLOUD_IMAGE)
        return json_str(page, "next");
    json_array_foreach (json_object_get(page, key), i, link) {
        if (streq(json_str(link, "rel"), "next"))
            return json_str(link, "href");
    }
    return NULL;
}

/* Swift says nothing: there may be more behind a full page, or behind a short one (some stores cut
 * at less than was asked for) while the container counts more objects than were listed. */
static char *next_by_marker(const AnswerPage *p, const json_t *items)
{
    size_t n = json_array_size(items);
    const json_t *last = n ? json_array_get(items, n - 1) : NULL;
    const char *name = json_str(last, "name");
    _cleanup_(buf_clear) Buf quoted = BUF_INIT(BUF_MAX_LINE);
    bool full = (int64_t)n >= query_int(p->url, "limit");

    if (!name || (!full && p->total <= (int64_t)(p->before + n)))
        return NULL;
    buf_url_quote(&quoted, name, NULL);
    const char *version = json_str(last, "version_id");
    if (!version)
        return with_parameter(p->url, "marker", quoted.p);
    _cleanup_free_ char *next = with_parameter(p->url, "marker", quoted.p);
    /* More versions of that name may follow; a marker alone would pass them over. */
    buf_truncate(&quoted, 0);
    buf_url_quote(&quoted, version, NULL);
    return with_parameter(next, "version_marker", quoted.p);
}

static char *next_by_offset(const char *url, const json_t *items)
{
    size_t n = json_array_size(items);

    if (n == 0 || (int64_t)n < query_int(url, "limit"))
        return NULL;
    _cleanup_free_ char *offset =
        xasprintf("%lld", (long long)query_int(url, "offset") + (long long)n);
    return with_parameter(url, "offset", offset);
}

/* The next page by a link; NULL if there is none. */
static int next_by_link(const AnswerPage *p, char **ret, Err *err)
{
    const char *link = next_link(p->service, p->plural, p->json);
    const char *query = link ? strchr(link, '?') : NULL;
    const char *who = answer_service_name(p->service);

    if (link && !query)
        return err_set(err, ERR_CORRUPT, "the %s names a next page of `%s` that can't be asked for",
                       who, p->plural);
    if (!link && json_bool(p->json, "truncated", false))
        return err_set(err, ERR_CORRUPT, "the %s cut the list `%s` short", who, p->plural);
    *ret = link ? with_query(p->url, query + 1) : NULL;
    return 0;
}

int answer_page(const AnswerPage *p, json_t **ret_items, char **ret_next_url, Err *err)
{
    json_t *items = *p->plural ? json_object_get(p->json, p->plural) : (json_t *)(uintptr_t)p->json;
    char *next = NULL;
    int r = 0;

    if (!json_is_array(items))
        return err_set(err, ERR_CORRUPT, "the answer of the %s has no list `%s`",
                       answer_service_name(p->service), p->plural);
    if (!*p->plural)
        next = next_by_marker(p, items);
    else if (counts_offset(p->service, p->plural))
        next = next_by_offset(p->url, items);
    else
        r = next_by_link(p, &next, err);
    if (r < 0)
        return r;
    if (next && streq(next, p->url)) {
        free(next);
        return err_set(err, ERR_CORRUPT, "the %s names a page of `%s` as its own next one",
                       answer_service_name(p->service), p->plural);
    }
    *ret_items = items;
    *ret_next_url = next;
    return 0;
}
