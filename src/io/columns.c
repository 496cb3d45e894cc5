#include "io/columns.h"

#include <libsmartcols.h>
#include <locale.h>

struct Columns {
    struct libscols_table *table;
    size_t n;
};

Columns *columns_new(const char *const *names)
{
    Columns *c = NEW(Columns);

    scols_init_debug(0);
    c->table = scols_new_table();
    BUG_IF(!c->table);
    for (; names[c->n]; c->n++)
        BUG_IF(!scols_table_new_column(c->table, names[c->n], 0, 0));
    return c;
}

void columns_row(Columns *c, const char *const *cells)
{
    struct libscols_line *line = scols_table_new_line(c->table, NULL);
    BUG_IF(!line);
    for (size_t i = 0; i < c->n; i++)
        BUG_IF(scols_line_set_data(line, i, cells[i] ? cells[i] : "") != 0);
}

/* Width of the widest line, in characters. */
static size_t widest(const char *text)
{
    size_t most = 0, n = 0;
    for (; *text; text++) {
        bool continues = ((unsigned char)*text & 0xc0) == 0x80; /* inside a UTF-8 sequence */
        n = *text == '\n' ? 0 : n + !continues;
        most = MAX(most, n);
    }
    return most;
}

/* The table with its `cut` right-most columns allowed to shrink (not below their names); to be
 * freed. */
static char *print_cut(Columns *c, size_t cut)
{
    char *text = NULL;
    for (size_t i = 0; i < c->n; i++)
        scols_column_set_flags(scols_table_get_column(c->table, i),
                               i + cut >= c->n ? SCOLS_FL_TRUNC : 0);
    BUG_IF(scols_print_table_to_string(c->table, &text) != 0);
    return text;
}

void columns_print(Columns *c, Buf *out, int width)
{
    /* libsmartcols counts columns and escapes what is not printable by the locale. Names are UTF-8
     * whatever the terminal's locale says: a cron job has none. */
    locale_t utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
    locale_t before = utf8 ? uselocale(utf8) : (locale_t)0;

    scols_table_set_termforce(c->table, width > 0 ? SCOLS_TERMFORCE_ALWAYS : SCOLS_TERMFORCE_NEVER);
    if (width > 0)
        scols_table_set_termwidth(c->table, (size_t)width);
    _cleanup_free_ char *text = print_cut(c, 1);
    for (size_t cut = 2; width > 0 && cut <= c->n && widest(text) > (size_t)width; cut++) {
        free(text);
        text = print_cut(c, cut);
    }
    if (*text) {
        buf_str(out, text);
        buf_char(out, '\n');
    }
    if (utf8) {
        uselocale(before);
        freelocale(utf8);
    }
}

Columns *columns_free(Columns *c)
{
    if (c) {
        scols_unref_table(c->table);
        free(c);
    }
    return NULL;
}
