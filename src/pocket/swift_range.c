/* Range headers and what they select. Read as swob reads them: a header with a mistake is as none,
 * ranges behind the end are left out, and 416 comes when none is left. */
#include "pocket/swift_call.h"

/* "a-b", "a-" or "-n". False: a mistake. *ret_end <= *ret_start: nothing of `size` is in it. */
static bool parse_one(Str item, int64_t size, ByteRange *ret)
{
    Str to_raw = str_trim(item), from_raw;
    (void)str_next(&to_raw, '-', &from_raw);
    if (!to_raw.p)
        return false;
    _cleanup_free_ char *from = xstrndup(from_raw.p, from_raw.n);
    _cleanup_free_ char *to = xstrndup(to_raw.p, to_raw.n);
    int64_t first = 0, last = size - 1;
    bool suffix = !*from;
    if ((suffix && !*to) || (!suffix && !parse_int(from, 0, INT64_MAX, &first)) ||
        (*to && !parse_int(to, 0, INT64_MAX, &last)) || (!suffix && *to && last < first))
        return false;
    if (suffix)
        *ret = (ByteRange){MAX(0, size - last), last > 0 ? size : 0};
    else
        *ret = (ByteRange){first, MIN(size - 1, last) + 1};
    return true;
}

bool swift_ranges(SwiftCall *c, int64_t size, ByteRanges *ret)
{
    const char *text = swift_header(c, "Range"), *guard = swift_header(c, "If-Range");
    if (!text || !starts_with(text, "bytes="))
        return true;
    if (guard && !swift_etag_listed(guard, swift_reply_get(c, "Etag")) &&
        !streq(guard, swift_reply_get(c, "Last-Modified")))
        return true;
    Str rest = str_of(text + strlen("bytes=")), item;
    while (str_next(&rest, ',', &item)) {
        ByteRange r;
        if (!parse_one(item, size, &r)) {
            vec_clear(ret);
            return true;
        }
        if (r.start < r.end)
            vec_push(ret, r);
    }
    if (ret->len > 0)
        return true;
    swift_reply_header(c, "Content-Range", "bytes */%lld", (long long)size);
    return swift_fail(c, 416, NULL);
}

/* Adds the part [start, end) of the pieces; false: a file is not there. */
static bool add_pieces(SwiftCall *c, const Large *l, ByteRange r)
{
    int64_t at = 0;
    for (size_t i = 0; i < l->pieces.len; i++) {
        const LargePiece *piece = &l->pieces.items[i];
        int64_t low = MAX(r.start, at), high = MIN(r.end, at + piece->size);
        if (low < high) {
            int fd = swift_open_file(c->p, piece->file);
            if (fd < 0)
                return swift_fail(c, 503, NULL);
            httpd_reply_file(c->http, fd, piece->offset + low - at, high - low);
        }
        at += piece->size;
    }
    return true;
}

static void add_text(SwiftCall *c, char *text_taken)
{
    vec_push(&c->http->reply.pieces,
             (HttpdPiece){.text = text_taken, .fd = -1, .size = (int64_t)strlen(text_taken)});
}

static bool add_multipart(SwiftCall *c, const Large *l, const ByteRanges *ranges)
{
    _cleanup_free_ char *boundary = pocket_uuid(false);
    _cleanup_free_ char *type = xstrdup(swift_reply_get(c, "Content-Type"));
    for (size_t i = 0; i < ranges->len; i++) {
        ByteRange r = ranges->items[i];
        add_text(c, xasprintf("%s--%s\r\nContent-Type: %s\r\nContent-Range: bytes "
                              "%lld-%lld/%lld\r\n\r\n",
                              i ? "\r\n" : "", boundary, type, (long long)r.start,
                              (long long)r.end - 1, (long long)l->size));
        if (!add_pieces(c, l, r))
            return false;
    }
    add_text(c, xasprintf("\r\n--%s--", boundary));
    swift_reply_header(c, "Content-Type", "multipart/byteranges;boundary=%s", boundary);
    return true;
}

void swift_reply_content(SwiftCall *c, const Large *l)
{
    _cleanup_(ranges_clear) ByteRanges ranges = {0};
    /* Swift's HEAD knows no ranges. */
    if (streq(c->http->method, "GET") && !swift_ranges(c, l->size, &ranges))
        return;
    if (ranges.len == 1)
        swift_reply_header(c, "Content-Range", "bytes %lld-%lld/%lld",
                           (long long)ranges.items[0].start, (long long)ranges.items[0].end - 1,
                           (long long)l->size);
    bool ok = ranges.len > 1
                  ? add_multipart(c, l, &ranges)
                  : add_pieces(c, l, ranges.len ? ranges.items[0] : (ByteRange){0, l->size});
    if (ok)
        c->http->reply.status = ranges.len ? 206 : 200;
}

void large_crop(Large *l, ByteRange r)
{
    int64_t at = 0;
    for (size_t i = 0; i < l->pieces.len; i++) {
        LargePiece *piece = &l->pieces.items[i];
        int64_t low = MAX(r.start, at), high = MIN(r.end, at + piece->size);
        int64_t begin = at;
        at += piece->size;
        piece->offset += MAX(0, low - begin);
        piece->size = MAX(0, high - low);
    }
    l->size = r.end - r.start;
}
