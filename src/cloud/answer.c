#include "cloud/answer.h"

#include <ctype.h>
#include <strings.h>

#define MAX_WORDS 400

static const char *const service_names[CLOUD_SERVICES] = {
    [CLOUD_IDENTITY] = "identity service",
    [CLOUD_COMPUTE] = "compute service",
    [CLOUD_NETWORK] = "network service",
    [CLOUD_VOLUME] = "volume service",
    [CLOUD_IMAGE] = "image service",
    [CLOUD_OBJECT] = "object store",
    [CLOUD_ORCHESTRATION] = "orchestration service",
};

static const struct {
    int status;
    const char *words;
} reasons[] = {
    {300, "Multiple Choices"},
    {301, "Moved Permanently"},
    {302, "Found"},
    {307, "Temporary Redirect"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {406, "Not Acceptable"},
    {409, "Conflict"},
    {412, "Precondition Failed"},
    {413, "Request Entity Too Large"},
    {422, "Unprocessable Entity"},
    {429, "Too Many Requests"},
    {498, "Rate Limited"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {502, "Bad Gateway"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {507, "Insufficient Storage"},
};

/* Kinds by status; what is not here is a conflict, and 5xx is temporary. */
static const struct {
    int status;
    ErrKind kind;
} kinds[] = {
    {401, ERR_AUTH},  {403, ERR_DENIED},    {404, ERR_NOT_FOUND}, {408, ERR_TEMPORARY},
    {413, ERR_QUOTA}, {429, ERR_TEMPORARY}, {498, ERR_TEMPORARY},
};

/* Statuses that mean a quota only if the service says so: where, and how that begins. */
static const struct {
    CloudService service;
    int status;
    const char *path; /* in the body; NULL: in the words */
    const char *begins;
} quota_words[] = {
    {CLOUD_COMPUTE, 403, NULL, "Quota exceeded"},
    {CLOUD_NETWORK, 409, "NeutronError.type", "OverQuota"},
};

/* Where a service's words are; tried in order. Behind them: {"badRequest": {"message": ...}}. */
static const char *const word_paths[] = {
    "NeutronError.message", "error.message", "NeutronError", "message", "error_msg",
    "faultstring",          "error.title"};

static const char *const request_id_headers[] = {"X-Openstack-Request-Id", "X-Compute-Request-Id",
                                                 "X-Trans-Id"};

static const char *const secret_keys[] = {"password", "user_data", "secret", "adminPass"};

const char *answer_service_name(CloudService s)
{
    return service_names[s];
}

const char *answer_header(const StrList *headers, const char *name)
{
    size_t n = strlen(name);

    for (size_t i = 0; headers && i < headers->len; i++) {
        const char *line = headers->items[i];
        if (strncasecmp(line, name, n) == 0 && line[n] == ':')
            return line + n + 1 + strspn(line + n + 1, " \t");
    }
    return NULL;
}

char *answer_status_text(int status)
{
    for (size_t i = 0; i < ARRAY_LEN(reasons); i++)
        if (reasons[i].status == status)
            return xasprintf("%d %s", status, reasons[i].words);
    return xasprintf("%d", status);
}

/* Words */

static bool is_secret_key(const char *key)
{
    for (size_t i = 0; i < ARRAY_LEN(secret_keys); i++)
        if (streq(key, secret_keys[i]))
            return true;
    return false;
}

static void replace(Buf *b, const char *what)
{
    size_t n = strlen(what);
    const char *at = n ? strstr(b->p, what) : NULL;

    if (!at)
        return;
    Buf shorter = BUF_INIT(b->max);
    const char *rest = b->p;
    for (; at; at = strstr(rest, what)) {
        buf_add(&shorter, rest, (size_t)(at - rest));
        buf_str(&shorter, "...");
        rest = at + n;
    }
    buf_str(&shorter, rest);
    buf_wipe(b);
    *b = shorter;
}

/* Nova's schema check quotes the value that it refuses, and user_data holds a key. */
static void redact(Buf *words, json_t *request)
{
    const char *key;
    json_t *value;
    size_t i;

    if (json_is_array(request)) {
        json_array_foreach (request, i, value) {
            redact(words, value);
        }
        return;
    }
    json_object_foreach (request, key, value) {
        if (is_secret_key(key) && json_is_string(value))
            replace(words, json_string_value(value));
        else
            redact(words, value);
    }
}

/* The service's own words in a JSON body; NULL if there are none. Borrowed. */
static const char *json_words(const json_t *j)
{
    for (size_t i = 0; i < ARRAY_LEN(word_paths); i++) {
        const char *words = json_str(j, word_paths[i]);
        if (words && *words)
            return words;
    }
    if (!json_is_object(j) || json_object_size(j) != 1)
        return NULL;
    const json_t *only = json_object_iter_value(json_object_iter((json_t *)(uintptr_t)j));
    const char *words = json_str(only, "message");
    return words && *words ? words : NULL;
}

/* Text between tags, white space collapsed. */
static void strip_tags(Str html, Buf *out)
{
    bool in_tag = false;

    for (size_t i = 0; i < html.n; i++) {
        unsigned char c = (unsigned char)html.p[i];
        bool was_in_tag = in_tag;
        if (c == '<')
            in_tag = true;
        else if (c == '>')
            in_tag = false;
        if (in_tag || was_in_tag || isspace(c) || iscntrl(c)) {
            if (out->len && out->p[out->len - 1] != ' ')
                buf_char(out, ' ');
            continue;
        }
        buf_char(out, (char)c);
    }
    while (out->len && out->p[out->len - 1] == ' ')
        buf_truncate(out, out->len - 1);
}

/* What a body that is not JSON says: "502 Bad Gateway" from a page's title, or the text behind its
 * heading. */
static void html_words(const char *html, bool behind_heading, Buf *out)
{
    const char *begin = strcasestr(html, "<title>");
    const char *end = begin ? strcasestr(begin, "</title>") : NULL;

    if (behind_heading) {
        begin = strcasestr(html, "</h1>");
        begin = begin ? begin + strlen("</h1>") : strcasestr(html, "<html") ? NULL : html;
        end = begin ? begin + strlen(begin) : NULL;
    } else if (begin) {
        begin += strlen("<title>");
    }
    if (begin && end)
        strip_tags((Str){begin, (size_t)(end - begin)}, out);
}

/* Swift and Glance answer in HTML by habit; from the others it is a gateway that speaks. */
static void words_of_text(const Answer *a, Buf *out)
{
    bool habit = a->service == CLOUD_OBJECT || a->service == CLOUD_IMAGE;
    _cleanup_free_ char *status = answer_status_text(a->status);
    _cleanup_free_ char *html = xstrndup(a->body.p ? a->body.p : "", a->body.n);
    _cleanup_(buf_clear) Buf more = BUF_INIT(BUF_MAX_LINE);

    if (!*html || (habit && a->status < 500)) {
        html_words(html, true, &more);
        buf_printf(out, "the %s answers %s", service_names[a->service], status);
    } else {
        html_words(html, false, &more);
        buf_printf(out, "the answer of the %s is not JSON: %s", service_names[a->service], status);
    }
    if (more.len && !streq(more.p, status) && !ends_with(status, more.p))
        buf_printf(out, ": %s", more.p);
}

static ErrKind kind_of(const Answer *a, const json_t *body, const char *words)
{
    for (size_t i = 0; i < ARRAY_LEN(quota_words); i++) {
        if (quota_words[i].service != a->service || quota_words[i].status != a->status)
            continue;
        const char *text = quota_words[i].path ? json_str(body, quota_words[i].path) : words;
        if (text && starts_with(text, quota_words[i].begins))
            return ERR_QUOTA;
    }
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (kinds[i].status == a->status)
            return kinds[i].kind;
    return a->status >= 500 ? ERR_TEMPORARY : ERR_CONFLICT;
}

int answer_error(const Answer *a, json_t *request, Err *err)
{
    _cleanup_json_ json_t *body = json_parse_new(a->body.p ? a->body.p : "", a->body.n, NULL);
    _cleanup_(buf_wipe) Buf words = BUF_INIT(BUF_MAX_BODY);
    const char *own = body ? json_words(body) : NULL;

    if (own)
        buf_str(&words, own);
    else if (body)
        words_of_text(&(Answer){.service = a->service, .status = a->status}, &words);
    else
        words_of_text(a, &words);
    redact(&words, request);
    /* Onto one line, and nothing that moves a terminal's cursor. */
    for (size_t i = 0; i < words.len; i++)
        if (iscntrl((unsigned char)words.p[i]))
            words.p[i] = ' ';
    if (words.len > MAX_WORDS) {
        buf_truncate(&words, MAX_WORDS);
        buf_str(&words, "...");
    } else {
        while (words.len && strchr(". \n", words.p[words.len - 1]))
            buf_truncate(&words, words.len - 1);
    }
    err_set(err, kind_of(a, body, words.p), "%s", words.p);
    for (size_t i = 0; i < ARRAY_LEN(request_id_headers); i++) {
        const char *id = answer_header(a->headers, request_id_headers[i]);
        if (id) {
            err_request_id(err, id);
            break;
        }
    }
    return err ? -(int)err->kind : -(int)kind_of(a, body, words.p);
}

void answer_wipe(json_t *j)
{
    const char *key;
    json_t *value;
    size_t i;

    if (json_is_array(j)) {
        json_array_foreach (j, i, value) {
            answer_wipe(value);
        }
        return;
    }
    json_object_foreach (j, key, value) {
        if (!json_is_string(value))
            answer_wipe(value);
        else if (is_secret_key(key))
            explicit_bzero((void *)(uintptr_t)json_string_value(value), json_string_length(value));
    }
}
