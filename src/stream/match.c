#include "stream/match.h"

void filters_clear(Filters *f)
{
    for (size_t i = 0; i < f->items.len; i++) {
        Filter *one = &f->items.items[i];
        free(one->shown);
        for (size_t k = 0; k < one->keywords.len; k++)
            vec_clear(&one->keywords.items[k].units);
        vec_clear(&one->keywords);
    }
    vec_clear(&f->items);
}

static char *shown_new(const FilterRow *row)
{
    static const char *const actions[] = {"warn", "hide"};
    _cleanup_(buf_clear) Buf b = BUF_INIT(BUF_MAX_BODY);
    char expires[TIME_TEXT_MAX];

    buf_printf(&b, "{\"id\":\"%lld\",\"title\":", (long long)row->id);
    js_quote(&b, row->phrase);
    buf_str(&b, ",\"context\":[");
    for (size_t i = 0; i < row->contexts_len; i++) {
        if (i)
            buf_char(&b, ',');
        js_quote(&b, row->contexts[i]);
    }
    buf_str(&b, "],\"expires_at\":");
    if (row->expires)
        buf_printf(&b, "\"%s\"", time_format(row->expires, true, expires));
    else
        buf_str(&b, "null");
    if (row->action >= 0 && row->action < (int)ARRAY_LEN(actions))
        buf_printf(&b, ",\"filter_action\":\"%s\"", actions[row->action]);
    buf_char(&b, '}');
    return buf_detach(&b);
}

void filters_add(Filters *f, const FilterRow *row)
{
    if (f->items.len == 0 || vec_last(&f->items)->id != row->id)
        vec_push(&f->items,
                 (Filter){.id = row->id, .expires = row->expires, .shown = shown_new(row)});
    Keyword k = {.whole_word = row->whole_word};
    if (js_utf8(row->keyword))
        text_units(row->keyword, &k.units);
    for (size_t i = 0; i < k.units.len; i++)
        k.units.items[i] = text_fold(k.units.items[i]);
    vec_push(&vec_last(&f->items)->keywords, k);
}

static bool is_live(const Filter *f, Msec now)
{
    return f->expires == 0 || f->expires > now;
}

bool filters_live(const Filters *f, Msec now)
{
    for (size_t i = 0; i < f->items.len; i++)
        if (is_live(&f->items.items[i], now))
            return true;
    return false;
}

void haystack_set(Haystack *h, Str utf8)
{
    h->units.len = h->folded.len = 0;
    text_units(utf8, &h->units);
    for (size_t i = 0; i < h->units.len; i++)
        vec_push(&h->folded, text_fold(h->units.items[i]));
}

void haystack_clear(Haystack *h)
{
    vec_clear(&h->units);
    vec_clear(&h->folded);
}

static bool is_word(uint16_t unit)
{
    return (unit >= 'A' && unit <= 'Z') || (unit >= 'a' && unit <= 'z') ||
           (unit >= '0' && unit <= '9') || unit == '_';
}

/* A boundary (\b) before unit i? */
static bool is_boundary(const Units *u, size_t i)
{
    bool before = i > 0 && is_word(u->items[i - 1]), after = i < u->len && is_word(u->items[i]);
    return before != after;
}

static bool keyword_at(const Keyword *k, const Haystack *h, size_t at)
{
    size_t n = k->units.len;

    if (n > h->folded.len - at)
        return false;
    if (n && memcmp(k->units.items, h->folded.items + at, n * sizeof(uint16_t)) != 0)
        return false;
    if (!k->whole_word || n == 0)
        return true;
    return (!is_word(k->units.items[0]) || is_boundary(&h->units, at)) &&
           (!is_word(k->units.items[n - 1]) || is_boundary(&h->units, at + n));
}

/* Where this keyword is first found at or behind `from` and before `before`. */
static bool keyword_find(const Keyword *k, const Haystack *h, size_t before, size_t *ret)
{
    if (k->units.len == 0) {
        *ret = 0;
        return before > 0;
    }
    for (size_t at = 0; at < before && at + k->units.len <= h->folded.len; at++)
        if (h->folded.items[at] == k->units.items[0] && keyword_at(k, h, at)) {
            *ret = at;
            return true;
        }
    return false;
}

static void add_units(Buf *out, const uint16_t *u, size_t n)
{
    _cleanup_(buf_clear) Buf text = BUF_INIT(SIZE_MAX / 2);

    for (size_t i = 0; i < n; i++) {
        uint32_t c = u[i];
        if (c >= 0xd800 && c < 0xdc00 && i + 1 < n && u[i + 1] >= 0xdc00 && u[i + 1] < 0xe000)
            c = 0x10000 + ((c - 0xd800) << 10) + (u[++i] - 0xdc00u);
        js_add_utf8(&text, c);
    }
    js_quote(out, buf_as_str(&text));
}

/* The leftmost match of any keyword, of equal ones the first row's. */
static bool find(const Filter *f, const Haystack *h, size_t *ret_at, size_t *ret_n)
{
    size_t best = h->folded.len + 1, at;

    for (size_t i = 0; i < f->keywords.len; i++)
        if (keyword_find(&f->keywords.items[i], h, best, &at)) {
            best = *ret_at = at;
            *ret_n = f->keywords.items[i].units.len;
        }
    return best <= h->folded.len;
}

void filters_match(const Filters *f, const Haystack *h, Msec now, Buf *out)
{
    size_t at = 0, n = 0;
    bool first = true;

    buf_char(out, '[');
    for (size_t i = 0; i < f->items.len && h->units.len; i++) {
        const Filter *one = &f->items.items[i];
        if (!is_live(one, now) || !find(one, h, &at, &n))
            continue;
        buf_printf(out, "%s{\"filter\":%s,\"keyword_matches\":[", first ? "" : ",", one->shown);
        add_units(out, h->units.items + at, n);
        buf_str(out, "],\"status_matches\":null}");
        first = false;
    }
    buf_char(out, ']');
}
