#include "base/table.h"
#include "base/time.h"
#include <ctype.h>

typedef struct Unit {
    const char *name;
    int64_t factor;
} Unit;

/* From the smallest. */
static const Unit span_units[] = {
    {"ms", 1}, {"s", SECOND}, {"m", MINUTE}, {"h", HOUR}, {"d", DAY}, {0},
};
static const Unit size_units[] = {
    {"B", 1},
    {"kB", 1000},
    {"KB", 1000},
    {"MB", 1000 * 1000},
    {"GB", 1000 * 1000 * 1000},
    {"TB", (int64_t)1000 * 1000 * 1000 * 1000},
    {"PB", (int64_t)1000 * 1000 * 1000 * 1000 * 1000},
    {0},
};

/* Decimal digits and one of the units, nothing else; not negative. */
static bool quantity_parse(const char *s, const Unit *units, int64_t *ret_value)
{
    if (!s)
        return false;
    size_t digits = strspn(s, "0123456789");
    char number[20]; /* INT64_MAX has 19 digits */
    if (digits == 0 || digits >= sizeof number)
        return false;
    memcpy(number, s, digits);
    number[digits] = '\0';
    int64_t value;
    if (!parse_int(number, 0, INT64_MAX, &value))
        return false;
    for (; units->name; units++) {
        if (streq(s + digits, units->name))
            return !__builtin_mul_overflow(value, units->factor, ret_value);
    }
    return false;
}

bool span_parse(const char *s, int64_t *ret_ms)
{
    int64_t ms;
    if (!quantity_parse(s, span_units, &ms))
        return false;
    *ret_ms = ms;
    return true;
}

bool span_or_ms_parse(const char *s, int64_t *ret_ms)
{
    return span_parse(s, ret_ms) || parse_int(s, 0, INT64_MAX, ret_ms);
}

bool size_parse(const char *s, int64_t *ret_bytes)
{
    int64_t bytes;
    if (!quantity_parse(s, size_units, &bytes))
        return false;
    *ret_bytes = bytes;
    return true;
}

const char *size_format(int64_t bytes, char out[static SIZE_TEXT_MAX])
{
    static const char *const names[] = {"kB", "MB", "GB", "TB", "PB", "EB"};
    double value = (double)bytes;
    size_t i = 0;

    if (bytes < 1000) {
        snprintf(out, SIZE_TEXT_MAX, "%lld bytes", (long long)bytes);
        return out;
    }
    /* 999.5 would be printed as 1000. */
    for (value /= 1000; value >= 999.5 && i + 1 < ARRAY_LEN(names); i++)
        value /= 1000;
    snprintf(out, SIZE_TEXT_MAX, value < 9.95 ? "%.1f %s" : "%.0f %s", value, names[i]);
    return out;
}

/* A number of an option as it is typed: a span in the largest unit that leaves no rest. */
static void add_value(Buf *out, OptType type, int64_t value)
{
    const Unit *unit = &span_units[0];
    if (type == OPT_SPAN) {
        for (const Unit *u = unit; u->name && value != 0; u++) {
            if (value % u->factor == 0)
                unit = u;
        }
        if (value == 0)
            unit = &span_units[1];
    }
    buf_printf(out, "%lld", (long long)(type == OPT_SPAN ? value / unit->factor : value));
    if (type == OPT_SPAN)
        buf_str(out, unit->name);
}

static bool has_range(const Opt *opt)
{
    return opt->min != 0 || opt->max != 0;
}

/* "1 to 8", "1s or more": a largest of INT64_MAX is none. */
static void add_range(Buf *out, const Opt *opt)
{
    add_value(out, opt->type, opt->min);
    if (opt->max == INT64_MAX) {
        buf_str(out, " or more");
        return;
    }
    buf_str(out, " to ");
    add_value(out, opt->type, opt->max);
}

/* What one call of opt_parse knows. */
typedef struct Parser {
    const Opt *const *tables;
    void *const *options;
    char **argv; /* what is not read yet */
    Err *err;
} Parser;

/* An option and where its value goes. `opt` is NULL when there is none of that name. */
typedef struct Target {
    const Opt *opt;
    char *field;
} Target;

static Target find(const Parser *p, Str name, char letter)
{
    for (size_t i = 0; p->tables[i]; i++) {
        for (const Opt *o = p->tables[i]; o->name; o++) {
            if (letter ? o->letter == letter : str_eq(str_of(o->name), name))
                return (Target){o, (char *)p->options[i] + o->offset};
        }
    }
    return (Target){0};
}

static int store_number(const Target *t, const char *value, Err *err)
{
    const Opt *o = t->opt;
    int64_t number;
    bool is_span = o->type == OPT_SPAN;
    if (is_span && !span_parse(value, &number)) {
        (void)err_set(err, ERR_USAGE, "--%s: \"%s\" is not a time", o->name, value);
        return err_hint(err, "a number and one of ms, s, m, h, d: 30s");
    }
    if (!is_span && !parse_int(value, INT64_MIN, INT64_MAX, &number))
        return err_set(err, ERR_USAGE, "--%s: \"%s\" is not a whole number", o->name, value);
    if (has_range(o) ? number < o->min || number > o->max : number < 0) {
        (void)err_set(err, ERR_USAGE, "--%s: %s is out of range", o->name, value);
        _cleanup_(buf_clear) Buf range = BUF_INIT(BUF_MAX_LINE);
        if (has_range(o))
            add_range(&range, o);
        else
            buf_str(&range, "0 or more");
        return err_hint(err, "allowed: %s", range.p);
    }
    memcpy(t->field, &number, sizeof number);
    return 0;
}

static int store_more(const Target *t, const char *value, Err *err)
{
    OptList *list = (OptList *)(void *)t->field;

    if (list->len == OPT_LIST_MAX)
        return err_set(err, ERR_USAGE, "--%s is given more than %d times", t->opt->name,
                       OPT_LIST_MAX);
    list->items[list->len++] = value;
    return 0;
}

/* Keeps the text of a value; strings are borrowed. */
static int store(const Target *t, const char *value, Err *err)
{
    bool flag = streq(value, "true");
    switch (t->opt->type) {
    case OPT_FLAG:
        memcpy(t->field, &flag, sizeof flag);
        return 0;
    case OPT_STRING:
        memcpy(t->field, &value, sizeof value);
        return 0;
    case OPT_INT:
    case OPT_SPAN:
        return store_number(t, value, err);
    case OPT_LIST:
        return store_more(t, value, err);
    }
    util_bug(__FILE__, __LINE__, "an option of a type that there is not");
}

/* Zeroes, then defaults. A default that does not parse is ours. */
static void set_default(const Target *t)
{
    const char *none = NULL;
    int64_t zero = 0;
    switch (t->opt->type) {
    case OPT_FLAG:
        memset(t->field, 0, sizeof(bool));
        break;
    case OPT_STRING:
        memcpy(t->field, &none, sizeof none);
        break;
    case OPT_INT:
    case OPT_SPAN:
        memcpy(t->field, &zero, sizeof zero);
        break;
    case OPT_LIST:
        memset(t->field, 0, sizeof(OptList));
        break;
    }
    if (t->opt->def)
        BUG_IF(store(t, t->opt->def, NULL) < 0);
}

static int unknown_option(const Parser *p, Str name)
{
    _cleanup_(strlist_clear) StrList names = {0};
    for (size_t i = 0; p->tables[i]; i++) {
        for (const Opt *o = p->tables[i]; o->name; o++) {
            strlist_add(&names, o->name);
            if (o->type == OPT_FLAG)
                strlist_addf(&names, "no-%s", o->name);
        }
    }
    _cleanup_free_ char *word = xstrndup(name.p, name.n);
    (void)err_set(p->err, ERR_USAGE, "unknown option --%s", word);
    const char *nearest = names.items ? util_nearest(word, (const char *const *)names.items) : NULL;
    if (nearest)
        return err_hint(p->err, "did you mean --%s?", nearest);
    return -ERR_USAGE;
}

/* The value of an option: what was attached, or the next word. */
static int store_value(Parser *p, const Target *t, const char *attached)
{
    if (!attached)
        attached = *p->argv ? *p->argv++ : NULL;
    if (!attached)
        return err_set(p->err, ERR_USAGE, "--%s needs a value: %s", t->opt->name,
                       t->opt->argument ? t->opt->argument : "VALUE");
    return store(t, attached, p->err);
}

/* `text` is behind the two dashes. */
static int parse_long(Parser *p, const char *text)
{
    size_t n = strcspn(text, "=");
    const char *attached = text[n] ? text + n + 1 : NULL;
    Str name = {text, n};
    Target t = find(p, name, 0);
    const char *flag = "true";
    if (!t.opt && starts_with(text, "no-")) {
        t = find(p, (Str){text + 3, n - 3}, 0);
        flag = "false";
        if (t.opt && t.opt->type != OPT_FLAG)
            t.opt = NULL;
    }
    if (!t.opt)
        return unknown_option(p, name);
    if (t.opt->type != OPT_FLAG)
        return store_value(p, &t, attached);
    if (attached)
        return err_set(p->err, ERR_USAGE, "--%.*s takes no value", (int)n, text);
    return store(&t, flag, p->err);
}

/* One or more letters; the first that takes a value takes the rest of the word. */
static int parse_letters(Parser *p, const char *letters)
{
    for (; *letters; letters++) {
        Target t = find(p, (Str){0}, *letters);
        if (!t.opt)
            return err_set(p->err, ERR_USAGE, "unknown option -%c", *letters);
        if (t.opt->type != OPT_FLAG)
            return store_value(p, &t, letters[1] ? letters + 1 : NULL);
        if (store(&t, "true", p->err) < 0)
            return -ERR_USAGE;
    }
    return 0;
}

static int parse(int argc, char **argv, const Opt *const *tables, void *const *options,
                 bool leading, char ***ret_operands, Err *err)
{
    /* The words are read to their NULL, which a caller's part of an argv need not have. */
    size_t count = argc > 1 ? (size_t)argc - 1 : 0;
    _cleanup_free_ char **words = xcalloc(count + 1, sizeof *words);
    if (count)
        memcpy(words, argv + 1, count * sizeof *words);
    _cleanup_free_ char **operands = xcalloc(count + 1, sizeof *operands);
    size_t operand_count = 0;
    Parser p = {.tables = tables, .options = options, .argv = words, .err = err};

    for (size_t i = 0; tables[i]; i++) {
        for (const Opt *o = tables[i]; o->name; o++)
            set_default(&(Target){o, (char *)options[i] + o->offset});
    }
    bool options_ended = false;
    while (*p.argv) {
        char *word = *p.argv++;
        int r = 0;
        if (options_ended || word[0] != '-' || word[1] == '\0')
            operands[operand_count++] = word, options_ended = options_ended || leading;
        else if (streq(word, "--"))
            options_ended = true;
        else
            r = word[1] == '-' ? parse_long(&p, word + 2) : parse_letters(&p, word + 1);
        if (r < 0)
            return r;
    }
    *ret_operands = TAKE(operands);
    return 0;
}

int opt_parse(int argc, char **argv, const Opt *const *tables, void *const *options,
              char ***ret_operands, Err *err)
{
    return parse(argc, argv, tables, options, false, ret_operands, err);
}

int opt_parse_leading(int argc, char **argv, const Opt *const *tables, void *const *options,
                      char ***ret_operands, Err *err)
{
    return parse(argc, argv, tables, options, true, ret_operands, err);
}

#define HELP_COLUMN 30
#define HELP_MIN_TEXT 20

/* Adds `text` from column HELP_COLUMN on, wrapped between words. */
static void add_wrapped(Buf *out, const char *text, size_t width)
{
    size_t used = 0;
    Str rest = str_of(text), word;
    while (str_next(&rest, ' ', &word)) {
        if (used > 0 && used + 1 + word.n > width) {
            buf_printf(out, "\n%*s", HELP_COLUMN, "");
            used = 0;
        } else if (used > 0) {
            buf_char(out, ' ');
            used++;
        }
        buf_add(out, word.p, word.n);
        used += word.n;
    }
    buf_char(out, '\n');
}

static void add_sentence(Buf *out, const Opt *opt)
{
    buf_str(out, opt->sentence);
    bool range = (opt->type == OPT_INT || opt->type == OPT_SPAN) && has_range(opt);
    if (!range && !opt->def)
        return;
    buf_str(out, " (");
    if (range)
        add_range(out, opt);
    if (opt->def)
        buf_printf(out, "%sdefault %s", range ? "; " : "", opt->def);
    buf_char(out, ')');
}

void opt_help(const Opt *table, int width, Buf *out)
{
    size_t text_width = MAX((size_t)MAX(width - HELP_COLUMN, 0), (size_t)HELP_MIN_TEXT);
    for (const Opt *o = table; o->name; o++) {
        _cleanup_(buf_clear) Buf left = BUF_INIT(BUF_MAX_LINE);
        _cleanup_(buf_clear) Buf right = BUF_INIT(BUF_MAX_LINE);
        if (o->letter)
            buf_printf(&left, "  -%c, --%s", o->letter, o->name);
        else
            buf_printf(&left, "      --%s", o->name);
        if (o->type != OPT_FLAG)
            buf_printf(&left, "=%s", o->argument ? o->argument : "VALUE");
        add_sentence(&right, o);
        /* A left half that is too wide has a line of its own. */
        if (left.len + 2 > HELP_COLUMN)
            buf_printf(out, "%s\n%*s", left.p, HELP_COLUMN, "");
        else
            buf_printf(out, "%-*s", HELP_COLUMN, left.p);
        add_wrapped(out, right.p, text_width);
    }
}
