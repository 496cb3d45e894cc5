#include "host/ask.h"

#define ID_DIGITS 16
#define WORD_SHOWN 100

static const char *const verb_words[ASK_VERBS] = {[ASK_EXEC] = "exec",
                                                  [ASK_LOGS] = "logs",
                                                  [ASK_CANCEL] = "cancel",
                                                  [ASK_EXTEND] = "extend",
                                                  [ASK_INPUT] = "input"};

void ask_clear(Ask *a)
{
    free(a->id);
    free(a->by);
    free(a->what);
    strlist_wipe(&a->argv); /* it may hold a secret */
    strlist_clear(&a->to);
    buf_wipe(&a->data);
    *a = (Ask){0};
}

int ask_write(const Ask *a, json_t **ret, Err *err)
{
    _cleanup_json_ json_t *argv = json_array();
    size_t size = 0;

    for (size_t i = 0; i < a->argv.len; i++) {
        json_t *word = json_string(a->argv.items[i]);
        if (!word)
            return err_set(err, ERR_USAGE, "word %zu of the command is not UTF-8", i + 1);
        json_array_append_new(argv, word);
        size += strlen(a->argv.items[i]) + 1;
    }
    if (size > ASK_ARGV_MAX)
        return err_set(err, ERR_USAGE, "the command has %zu bytes, and %zu are possible", size,
                       ASK_ARGV_MAX);
    *ret = json_make_new("{s:s, s:s, s:s, s:s, s:O, s:I, s:b, s:I, s:I, s:o}", "verb",
                         verb_words[a->verb], "id", a->id, "by", a->by ? a->by : "", "what",
                         a->what ? a->what : "", "argv", argv, "lines", (json_int_t)a->lines,
                         "follow", a->follow ? 1 : 0, "seconds", (json_int_t)(a->limit / SECOND),
                         "until", (json_int_t)(a->until / SECOND), "to", json_list_new(&a->to));
    if (a->input)
        json_object_set_new(*ret, "input", json_true());
    if (a->verb == ASK_INPUT) {
        _cleanup_(buf_wipe) Buf b64 = BUF_INIT(2 * ASK_INPUT_BYTES);
        BUG_IF(a->data.len > ASK_INPUT_BYTES);
        crypt_base64(&b64, a->data.p ? a->data.p : "", a->data.len);
        json_object_set_new(*ret, "data", json_string(b64.p));
        json_object_set_new(*ret, "eof", json_boolean(a->eof));
    }
    return 0;
}

static bool read_texts(const json_t *j, StrList *ret)
{
    size_t i;
    const json_t *word;

    json_array_foreach (j, i, word) {
        if (!json_is_string(word) || strlen(json_string_value(word)) != json_string_length(word))
            return false;
        strlist_add(ret, json_string_value(word));
    }
    return true;
}

static bool is_id(const char *s)
{
    return s && strlen(s) == ID_DIGITS && strspn(s, "0123456789abcdef") == ID_DIGITS;
}

static bool is_whole(const Ask *a)
{
    if (!is_id(a->id) || a->lines < 0 || a->lines > ASK_LINES_MAX || a->limit <= 0 ||
        a->limit > ASK_LIMIT_MAX || a->until <= 0)
        return false;
    if (a->verb != ASK_EXEC && a->verb != ASK_LOGS)
        return true;
    return a->to.len > 0 && (a->argv.len > 0) == (a->verb == ASK_EXEC);
}

int ask_read(const json_t *j, Ask *ret, Err *err)
{
    _cleanup_(ask_clear) Ask a = {0};
    const char *verb = json_str_or(j, "verb", "");
    int v = 0;

    while (v < ASK_VERBS && !streq(verb_words[v], verb))
        v++;
    if (v == ASK_VERBS)
        return err_set(err, ERR_CORRUPT, "atoll %s does not know the ask '%s'", ATOLL_VERSION,
                       verb);
    int64_t seconds = json_int(j, "seconds", 0), until = json_int(j, "until", 0);
    a.verb = (AskVerb)v;
    a.id = xstrdup(json_str_or(j, "id", ""));
    a.by = xstrdup(json_str_or(j, "by", ""));
    a.what = xstrdup(json_str_or(j, "what", ""));
    a.lines = json_int(j, "lines", 0);
    a.follow = json_bool(j, "follow", false);
    a.input = json_bool(j, "input", false);
    a.eof = json_bool(j, "eof", false);
    a.data = BUF_INIT(ASK_INPUT_BYTES);
    a.limit = seconds > ASK_LIMIT_MAX / SECOND ? 0 : seconds * SECOND;
    a.until = until > INT64_MAX / SECOND ? 0 : until * SECOND;
    if (!read_texts(json_object_get(j, "argv"), &a.argv) ||
        !read_texts(json_object_get(j, "to"), &a.to) ||
        !crypt_unbase64(&a.data, str_of(json_str_or(j, "data", ""))) || a.data.overflow ||
        !is_whole(&a))
        return err_set(err, ERR_CORRUPT, "the ask is not what atoll writes");
    *ret = a;
    a = (Ask){0};
    return 0;
}

static void add_word(Buf *b, const char *word)
{
    for (size_t i = 0; i < WORD_SHOWN && word[i]; i++)
        buf_char(b, word[i] > ' ' && word[i] < 0x7f ? word[i] : '?');
}

char *ask_words(const Ask *a)
{
    Buf b = BUF_INIT(BUF_MAX_LINE);

    buf_str(&b, verb_words[a->verb]);
    if (*a->what) {
        buf_char(&b, ' ');
        add_word(&b, a->what);
    }
    if (a->argv.len > 0) {
        buf_str(&b, ": ");
        add_word(&b, a->argv.items[0]);
        if (a->argv.len > 1 && a->argv.items[1][0] != '-' &&
            (streq(a->argv.items[0], "bin/tootctl") || streq(a->argv.items[0], "bin/rails"))) {
            buf_char(&b, ' ');
            add_word(&b, a->argv.items[1]);
        }
    }
    return buf_detach(&b);
}

bool ask_means(const char *what, const char *service)
{
    size_t n = strlen(what);

    if (n == 0 || streq(what, service))
        return true;
    return strncmp(service, what, n) == 0 && (service[n] == '.' || service[n] == '-');
}

/* --- chunks --- */

void chunk_clear(Chunk *c)
{
    json_decref(c->head);
    c->head = NULL;
    buf_wipe(&c->bytes);
}

static void begin(Chunk *c)
{
    if (c->head)
        return;
    c->head = json_make_new("{s:[]}", "parts");
    c->bytes = BUF_INIT(ANSWER_SEALED_MAX);
}

void chunk_add(Chunk *c, const char *from, Str data)
{
    begin(c);
    json_t *parts = json_object_get(c->head, "parts");
    json_t *last = json_array_get(parts, json_array_size(parts) - 1);

    buf_add(&c->bytes, data.p, data.n);
    if (last && streq(json_string_value(json_array_get(last, 0)), from)) {
        json_int_t n = json_integer_value(json_array_get(last, 1));
        json_array_set_new(last, 1, json_integer(n + (json_int_t)data.n));
    } else {
        json_array_append_new(parts, json_make_new("[s, I]", from, (json_int_t)data.n));
    }
}

void chunk_say(Chunk *c, const char *key, json_t *words)
{
    begin(c);
    json_object_set_new(c->head, key, words);
}

bool chunk_part(const Chunk *c, size_t i, const char **ret_from, Str *ret_data)
{
    const json_t *parts = json_object_get(c->head, "parts");
    size_t at = 0;

    if (i >= json_array_size(parts))
        return false;
    for (size_t k = 0; k < i; k++)
        at += (size_t)json_integer_value(json_array_get(json_array_get(parts, k), 1));
    const json_t *part = json_array_get(parts, i);
    *ret_from = json_string_value(json_array_get(part, 0));
    *ret_data = (Str){c->bytes.p + at, (size_t)json_integer_value(json_array_get(part, 1))};
    return true;
}

char *chunk_name(const ChunkPlace *p)
{
    return xasprintf("answer-%08lld-%06lld", (long long)p->number, (long long)p->chunk);
}

static char *purpose_new(const ChunkPlace *p)
{
    return xasprintf("answer/%s/%s/%lld/%lld", p->server, p->nonce, (long long)p->number,
                     (long long)p->chunk);
}

int chunk_seal(const Chunk *c, const ChunkPlace *p, const StrList *to, Buf *ret, Err *err)
{
    static const char nothing[] = "{\"parts\":[]}";
    _cleanup_(buf_wipe) Buf plain = BUF_INIT(ANSWER_SEALED_MAX);
    _cleanup_free_ char *head = c->head ? json_text_new(c->head) : xstrdup(nothing);
    _cleanup_free_ char *purpose = purpose_new(p);

    buf_printf(&plain, "%s\n", head);
    buf_add(&plain, c->bytes.p ? c->bytes.p : "", c->bytes.len);
    BUG_IF(plain.overflow);
    return crypt_seal((const char *const *)to->items, purpose, buf_as_str(&plain), ret, err);
}

/* Each part is within the bytes that there are, and they are all of them. */
static bool parts_fit(const json_t *head, size_t bytes)
{
    const json_t *parts = json_object_get(head, "parts"), *part;
    size_t i, sum = 0;

    if (!json_is_array(parts))
        return false;
    json_array_foreach (parts, i, part) {
        const json_t *n = json_array_get(part, 1);

        if (!json_is_string(json_array_get(part, 0)) || !json_is_integer(n) ||
            json_integer_value(n) < 0 || (uint64_t)json_integer_value(n) > bytes - sum)
            return false;
        sum += (size_t)json_integer_value(n);
    }
    return sum == bytes;
}

int chunk_open(Str sealed, const ChunkPlace *p, const KeyPair *key, Chunk *ret, Err *err)
{
    _cleanup_(buf_wipe) Buf plain = BUF_INIT(ANSWER_SEALED_MAX);
    _cleanup_free_ char *purpose = purpose_new(p);
    _cleanup_(chunk_clear) Chunk c = {0};

    int r = crypt_open(key, purpose, sealed, &plain, err);
    if (r < 0)
        return err_wrap(err, "opening the answer of %s", p->server);
    Str rest = buf_as_str(&plain), head;
    if (str_next(&rest, '\n', &head))
        c.head = json_parse_new(head.p, head.n, NULL);
    if (!rest.p)
        rest = STR_LIT("");
    if (!parts_fit(c.head, rest.n))
        return err_set(err, ERR_CORRUPT, "the answer of %s is not what atoll writes", p->server);
    c.bytes = BUF_INIT(ANSWER_SEALED_MAX);
    buf_add(&c.bytes, rest.p, rest.n);
    *ret = c;
    c = (Chunk){0}; /* NOLINT(clang-analyzer-deadcode.DeadStores): its cleanup reads it */
    return 0;
}
