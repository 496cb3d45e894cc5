/* Names of objects in a store: made and taken apart. */
#include "backup/catalogue.h"

#include <ctype.h>
#include <stdio.h>

#define IDENTITY_DIGITS 32

char *name_wal_new(Timeline tli, Lsn start, Lsn end, const char *hash)
{
    return xasprintf("host/wal/%08x/%016llx-%016llx-%.32s", tli, (unsigned long long)start,
                     (unsigned long long)end, hash);
}

char *name_history_new(Timeline tli, const char *hash)
{
    return xasprintf("host/wal/%08x/history-%.32s", tli, hash);
}

char *name_pack_new(const char *run, uint32_t number, const char *hash)
{
    return xasprintf("host/pack/%s-%06u-%.32s", run, number, hash);
}

char *name_base_new(const char *id, const char *hash)
{
    return xasprintf("host/base/%s-%.32s", id, hash);
}

char *name_note_new(int64_t number)
{
    return xasprintf("catalogue/%010lld", (long long)number);
}

char *name_notes_new(int64_t first, int64_t last)
{
    return xasprintf("catalogue/%010lld-%010lld", (long long)first, (long long)last);
}

/* Exactly n lower-case hex digits; *s moves behind them. */
static bool hex(const char **s, size_t n, uint64_t *ret)
{
    uint64_t value = 0;

    for (size_t i = 0; i < n; i++) {
        char c = (*s)[i];
        if (!(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'f'))
            return false;
        value = value << 4 | (uint64_t)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    *s += n;
    if (ret)
        *ret = value;
    return true;
}

static bool literal(const char **s, const char *what)
{
    size_t n = strlen(what);

    if (strncmp(*s, what, n) != 0)
        return false;
    *s += n;
    return true;
}

/* The identity at the end of a name. */
static bool identity(const char *s, Name *n)
{
    const char *end = s;

    if (!hex(&end, IDENTITY_DIGITS, NULL) || *end)
        return false;
    memcpy(n->identity, s, IDENTITY_DIGITS);
    return true;
}

/* "<id>-<identity>", where the id may have dashes itself. */
static bool id_and_identity(const char *s, Name *n)
{
    const char *dash = strrchr(s, '-');

    if (!dash || dash == s || (size_t)(dash - s) >= sizeof n->id || !identity(dash + 1, n))
        return false;
    memcpy(n->id, s, (size_t)(dash - s));
    return strchr(n->id, '/') == NULL;
}

static bool wal(const char *s, Name *n)
{
    uint64_t tli;

    if (!hex(&s, 8, &tli) || !literal(&s, "/"))
        return false;
    n->tli = (Timeline)tli;
    if (literal(&s, "history-")) {
        n->kind = NAME_HISTORY;
        return identity(s, n);
    }
    return hex(&s, 16, &n->start) && literal(&s, "-") && hex(&s, 16, &n->end) && literal(&s, "-") &&
           identity(s, n) && n->start < n->end;
}

/* "<timeline>/<segment's name>-<n>"; how long a segment is the name does not say, so the first LSN
 * is the reader's to find out (segment_parse). */
static bool segment(const char *s, Name *n)
{
    uint64_t tli;
    const char *file;

    if (!hex(&s, 8, &tli) || !literal(&s, "/"))
        return false;
    n->tli = (Timeline)tli;
    file = s;
    while (isxdigit((unsigned char)*s))
        s++;
    if (s - file != SEGMENT_NAME_MAX - 1 || *s != '-')
        return false;
    memcpy(n->id, file, SEGMENT_NAME_MAX - 1);
    s++;
    /* As it is written and in no other way, or two names would be one piece. */
    if (!isdigit((unsigned char)*s) || (*s == '0' && s[1]))
        return false;
    return parse_int(s, 0, INT32_MAX, &n->number);
}

#define NUMBER_DIGITS 10

static bool note(const char *s, Name *n)
{
    size_t digits = strspn(s, "0123456789");
    _cleanup_free_ char *first = xstrndup(s, digits);

    if (digits != NUMBER_DIGITS || !parse_int(first, 1, INT64_MAX, &n->number))
        return false;
    if (!s[digits])
        return true;
    const char *last = s + digits + 1;
    n->kind = NAME_NOTES;
    return s[digits] == '-' && strlen(last) == NUMBER_DIGITS &&
           strspn(last, "0123456789") == NUMBER_DIGITS &&
           parse_int(last, n->number, INT64_MAX, &n->last);
}

Name name_parse(const char *name)
{
    static const struct {
        const char *prefix;
        NameKind kind;
        bool (*parse)(const char *s, Name *n);
    } rows[] = {
        {"host/wal/", NAME_WAL, wal},
        {"host/pack/", NAME_PACK, id_and_identity},
        {"host/base/", NAME_BASE, id_and_identity},
        {"segment/", NAME_SEGMENT, segment},
        {"catalogue/", NAME_NOTE, note},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const char *s = name;
        Name n = {.kind = rows[i].kind};
        if (literal(&s, rows[i].prefix))
            return rows[i].parse(s, &n) ? n : (Name){.kind = NAME_OTHER};
    }
    return (Name){.kind = NAME_OTHER};
}
