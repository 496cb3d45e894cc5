#include "io/yaml.h"
#include "base/vec.h"
#include "io/file.h"

#include <yaml.h>

#define MAX_DEPTH 32

typedef VEC(YamlNode) Nodes;

typedef struct Reader {
    const char *name;
    Str text;
    yaml_parser_t parser;
    yaml_event_t event; /* the one being looked at */
    Err *err;
} Reader;

static int error_at(const char *name, int line, int column, Err *err, const char *format,
                    va_list ap) _printf_(5, 0);
static int error_at(const char *name, int line, int column, Err *err, const char *format,
                    va_list ap)
{
    _cleanup_free_ char *words = xvasprintf(format, ap);
    return err_set(err, ERR_CONFIG, "%s:%d:%d: %s", name, line, column, words);
}

static int place(size_t from_zero)
{
    return (int)MIN(from_zero, (size_t)INT32_MAX - 1) + 1;
}

static int refuse(const Reader *r, yaml_mark_t mark, const char *format, ...) _printf_(3, 4);
static int refuse(const Reader *r, yaml_mark_t mark, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    int e = error_at(r->name, place(mark.line), place(mark.column), r->err, format, ap);
    va_end(ap);
    return e;
}

/* Errors of the encoding come with a byte offset only. */
static yaml_mark_t mark_of_offset(Str text, size_t offset)
{
    yaml_mark_t m = {0};
    for (size_t i = 0; i < MIN(offset, text.n); i++) {
        m.column++;
        if (text.p[i] == '\n') {
            m.line++;
            m.column = 0;
        }
    }
    return m;
}

static int next(Reader *r)
{
    const yaml_parser_t *p = &r->parser;

    yaml_event_delete(&r->event);
    if (yaml_parser_parse(&r->parser, &r->event))
        return 0;
    const char *words = p->problem ? p->problem : "not readable";
    if (p->error == YAML_READER_ERROR)
        return refuse(r, mark_of_offset(r->text, p->problem_offset), "%s", words);
    if (p->context)
        return refuse(r, p->problem_mark, "%s (%s that begins in line %d)", words, p->context,
                      place(p->context_mark.line));
    return refuse(r, p->problem_mark, "%s", words);
}

static void node_clear(YamlNode *n)
{
    for (size_t i = 0; i < n->len; i++)
        node_clear(&n->items[i]);
    free(n->items);
    free(n->key);
    free(n->text);
    *n = (YamlNode){0};
}

/* What a node of ours must not have. */
static int check_plain(const Reader *r)
{
    const yaml_event_t *e = &r->event;
    const yaml_char_t *anchor = NULL, *tag = NULL;

    switch (e->type) {
    case YAML_ALIAS_EVENT:
        return refuse(r, e->start_mark, "aliases (*name) are not allowed: write the value again");
    case YAML_SCALAR_EVENT:
        anchor = e->data.scalar.anchor;
        tag = e->data.scalar.tag;
        break;
    case YAML_SEQUENCE_START_EVENT:
        anchor = e->data.sequence_start.anchor;
        tag = e->data.sequence_start.tag;
        break;
    case YAML_MAPPING_START_EVENT:
        anchor = e->data.mapping_start.anchor;
        tag = e->data.mapping_start.tag;
        break;
    default:
        return refuse(r, e->start_mark, "a value is expected here");
    }
    if (anchor)
        return refuse(r, e->start_mark, "anchors (&%s) are not allowed", (const char *)anchor);
    if (tag)
        return refuse(r, e->start_mark, "tags (%s) are not allowed", (const char *)tag);
    return 0;
}

/* The text of the scalar being looked at, to be freed. */
static int take_text(const Reader *r, char **ret)
{
    const char *value = (const char *)r->event.data.scalar.value;
    size_t n = r->event.data.scalar.length;

    if (memchr(value, '\0', n))
        return refuse(r, r->event.start_mark, "a NUL character");
    *ret = xstrndup(value, n);
    return 0;
}

static int read_node(Reader *r, int depth, YamlNode *ret);

static int read_list(Reader *r, int depth, Nodes *items)
{
    for (;;) {
        int e = next(r);
        if (e < 0 || r->event.type == YAML_SEQUENCE_END_EVENT)
            return e;
        vec_push(items, (YamlNode){0});
        e = read_node(r, depth + 1, vec_last(items));
        if (e < 0)
            return e;
    }
}

static int read_key(Reader *r, YamlNode *ret)
{
    int e = check_plain(r);
    if (e < 0)
        return e;
    if (r->event.type != YAML_SCALAR_EVENT)
        return refuse(r, r->event.start_mark, "a key must be a single word or text");
    ret->key_line = place(r->event.start_mark.line);
    ret->key_column = place(r->event.start_mark.column);
    e = take_text(r, &ret->key);
    if (e < 0)
        return e;
    if (streq(ret->key, "<<") && r->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE)
        return refuse(r, r->event.start_mark, "merge keys (<<) are not allowed");
    return 0;
}

static int compare_keys(const void *a, const void *b)
{
    const YamlNode *x = *(const YamlNode *const *)a, *y = *(const YamlNode *const *)b;
    int order = strcmp(x->key, y->key);
    return order ? order : (x > y) - (x < y);
}

/* By sorting: comparing each with each takes minutes on a hostile file. */
static int check_duplicates(const Reader *r, const Nodes *items)
{
    _cleanup_free_ const YamlNode **sorted = xcalloc(items->len + 1, sizeof *sorted);
    const YamlNode *found = NULL, *first = NULL;

    for (size_t i = 0; i < items->len; i++)
        sorted[i] = &items->items[i];
    qsort(sorted, items->len, sizeof *sorted, compare_keys);
    for (size_t i = 1; i < items->len; i++) {
        if (!streq(sorted[i - 1]->key, sorted[i]->key) || (found && found < sorted[i]))
            continue;
        first = sorted[i - 1];
        found = sorted[i];
    }
    if (!found)
        return 0;
    yaml_mark_t mark = {.line = (size_t)found->key_line - 1,
                        .column = (size_t)found->key_column - 1};
    return refuse(r, mark, "\"%s\" is there twice, first in line %d", found->key, first->key_line);
}

static int read_map(Reader *r, int depth, Nodes *items)
{
    for (;;) {
        int e = next(r);
        if (e < 0)
            return e;
        if (r->event.type == YAML_MAPPING_END_EVENT)
            return check_duplicates(r, items);
        vec_push(items, (YamlNode){0});
        e = read_key(r, vec_last(items));
        if (e == 0)
            e = next(r);
        if (e == 0)
            e = read_node(r, depth + 1, vec_last(items));
        if (e < 0)
            return e;
    }
}

/* Fills *ret (whose key is set already) from the event being looked at and those below it. What
 * was read before a failure is in *ret too, to be freed. */
static int read_node(Reader *r, int depth, YamlNode *ret)
{
    yaml_event_t *e = &r->event;
    int failed = check_plain(r);

    if (failed < 0)
        return failed;
    if (depth > MAX_DEPTH)
        return refuse(r, e->start_mark, "more than %d levels deep", MAX_DEPTH);
    ret->line = place(e->start_mark.line);
    ret->column = place(e->start_mark.column);
    if (e->type == YAML_SCALAR_EVENT) {
        ret->type = YAML_SCALAR;
        ret->quoted = e->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
        return take_text(r, &ret->text);
    }
    ret->type = e->type == YAML_MAPPING_START_EVENT ? YAML_MAP : YAML_LIST;
    Nodes items = {0};
    failed = ret->type == YAML_MAP ? read_map(r, depth, &items) : read_list(r, depth, &items);
    ret->items = items.items;
    ret->len = items.len;
    return failed;
}

/* STREAM-START, then nothing or one document. */
static int read_stream(Reader *r, YamlNode *root)
{
    int e = next(r);
    if (e == 0)
        e = next(r);
    if (e < 0)
        return e;
    if (r->event.type == YAML_STREAM_END_EVENT) {
        *root = (YamlNode){.type = YAML_MAP, .line = 1, .column = 1};
        return 0;
    }
    e = next(r);
    if (e == 0)
        e = read_node(r, 1, root);
    if (e == 0)
        e = next(r); /* DOCUMENT-END */
    if (e == 0)
        e = next(r);
    if (e < 0)
        return e;
    if (r->event.type != YAML_STREAM_END_EVENT)
        return refuse(r, r->event.start_mark, "a second document is not allowed");
    /* "---" and nothing behind it is an empty document too. */
    /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): read_node has succeeded */
    if (root->type == YAML_SCALAR && !root->quoted && !*root->text) {
        int line = root->line, column = root->column;
        node_clear(root);
        *root = (YamlNode){.type = YAML_MAP, .line = line, .column = column};
    }
    return 0;
}

int yaml_parse(const char *name, Str text, Yaml *ret, Err *err)
{
    Reader r = {.name = name, .text = text, .err = err};
    if (text.n > YAML_MAX_BYTES)
        return err_set(err, ERR_CONFIG, "%s:1:1: larger than %zu bytes", name, YAML_MAX_BYTES);

    BUG_IF(!yaml_parser_initialize(&r.parser));
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)text.p, text.n);
    /* Nothing else is announced to the person: the file is text in one encoding. */
    yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
    YamlNode root = {0};
    int e = read_stream(&r, &root);
    yaml_event_delete(&r.event);
    yaml_parser_delete(&r.parser);
    if (e < 0) {
        node_clear(&root);
        return e;
    }
    *ret = (Yaml){.name = xstrdup(name), .root = root};
    return 0;
}

int yaml_read(const char *path, Buf *ret, Err *err)
{
    int e = file_read(path, ret, err);

    return e == -ERR_CORRUPT
               ? err_set(err, ERR_CONFIG, "%s:1:1: larger than %zu bytes", path, YAML_MAX_BYTES)
               : e;
}

int yaml_load(const char *path, Yaml *ret, Err *err)
{
    _cleanup_(buf_wipe) Buf text = BUF_INIT(YAML_MAX_BYTES);
    int e = yaml_read(path, &text, err);

    return e < 0 ? e : yaml_parse(path, buf_as_str(&text), ret, err);
}

void yaml_clear(Yaml *y)
{
    node_clear(&y->root);
    free(y->name);
    y->name = NULL;
}

const YamlNode *yaml_get(const YamlNode *map, const char *key)
{
    if (!map || map->type != YAML_MAP)
        return NULL;
    for (size_t i = 0; i < map->len; i++)
        if (streq(map->items[i].key, key))
            return &map->items[i];
    return NULL;
}

const char *yaml_text(const YamlNode *map, const char *key)
{
    const YamlNode *n = yaml_get(map, key);
    return n && n->type == YAML_SCALAR ? n->text : NULL;
}

int yaml_error(const Yaml *y, const YamlNode *n, Err *err, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    int e = error_at(y->name, n->line, n->column, err, format, ap);
    va_end(ap);
    return e;
}

int yaml_key_error(const Yaml *y, const YamlNode *n, Err *err, const char *format, ...)
{
    bool has_key = n->key != NULL;
    va_list ap;
    va_start(ap, format);
    int e = error_at(y->name, has_key ? n->key_line : n->line, has_key ? n->key_column : n->column,
                     err, format, ap);
    va_end(ap);
    return e;
}
