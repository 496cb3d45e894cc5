/* What two rows of listings say to each other. */
#include "backup/mirror.h"

#include <stdio.h>

const char *const mirror_outcomes[MIRROR_OUTCOMES] = {"same", "copied", "gone", "failed"};

/* Swift has the ETag of a static large object in quotes, also in a listing. */
static void take_large(const char *etag, char ret[static 64])
{
    size_t n;

    etag += strspn(etag, "\"");
    n = strcspn(etag, "\"");
    (void)snprintf(ret, 64, "%.*s", (int)n, etag);
}

bool mirror_row(const json_t *row, MirrorRow *ret)
{
    MirrorRow r = {.name = json_str(row, "name"),
                   .hash = json_str(row, "hash"),
                   .bytes = json_int(row, "bytes", -1)};

    take_large(json_str_or(row, "slo_etag", ""), r.large);
    if (!r.name || !*r.name || !r.hash || r.bytes < 0)
        return false;
    *ret = r;
    return true;
}

static bool is_md5(const char *hash)
{
    return strlen(hash) == 32 && strspn(hash, "0123456789abcdef") == 32;
}

MirrorNeed mirror_need(const MirrorRow *want, const MirrorRow *have)
{
    if (want->bytes == 0)
        return MIRROR_NEED_LOOK;
    if (!have || have->bytes != want->bytes)
        return MIRROR_NEED_COPY;
    if (*want->large)
        return streq(want->large, have->large) ? MIRROR_NEED_NONE : MIRROR_NEED_COPY;
    if (*have->large)
        return MIRROR_NEED_COPY;
    return streq(want->hash, have->hash) || !is_md5(want->hash) ? MIRROR_NEED_NONE
                                                                : MIRROR_NEED_COPY;
}

bool mirror_same(const char *etag, bool large, int64_t bytes, const MirrorRow *have)
{
    MirrorRow want = {.hash = etag, .bytes = bytes};

    if (!have || !etag || have->bytes != bytes)
        return false;
    if (!large)
        return !*have->large && (streq(etag, have->hash) || !is_md5(etag));
    take_large(etag, want.large);
    return streq(want.large, have->large);
}

char *mirror_segment_path(const char *container, const char *path)
{
    return xasprintf("%s" MIRROR_SEGMENTS "/%s", container, path + strspn(path, "/"));
}
