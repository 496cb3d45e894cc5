/* Cinder's quotas: of the project, and of each volume type in it. */
#include "pocket/cinder.h"
#include <inttypes.h>

/* A volume that is being deleted counts until it is gone; one that grows counts as it will be. */
static int64_t sum(Pocket *p, const char *project, const char *type, bool sizes)
{
    _cleanup_json_ json_t *rows = store_list_new(p->store, CINDER_VOLUME, project);
    int64_t n = 0;
    size_t i;
    json_t *row;
    json_array_foreach (rows, i, row) {
        if (cinder_volume_gone(row) || (type && !streq(type, row_get(row, "volume_type"))))
            continue;
        n += sizes ? json_int(row, "_then_size", json_int(row, "size", 0)) : 1;
    }
    return n;
}

static int64_t used_volumes(Pocket *p, const char *project)
{
    return sum(p, project, NULL, false);
}

static int64_t used_gigabytes(Pocket *p, const char *project)
{
    return sum(p, project, NULL, true);
}

#define OF_TYPE(word, type)                                                                        \
    static int64_t volumes_##word(Pocket *p, const char *project)                                  \
    {                                                                                              \
        return sum(p, project, type, false);                                                       \
    }                                                                                              \
    static int64_t gigabytes_##word(Pocket *p, const char *project)                                \
    {                                                                                              \
        return sum(p, project, type, true);                                                        \
    }
#define QUOTAS_OF(word, type)                                                                      \
    {"volumes_" type, -1, volumes_##word}, {"gigabytes_" type, -1, gigabytes_##word},              \
    {                                                                                              \
        "snapshots_" type, -1, NULL                                                                \
    }

OF_TYPE(ssd, "pocket-ssd")
OF_TYPE(plain, "pocket")
OF_TYPE(nvme, "b1.sr-r3-nvme-1000")
OF_TYPE(file, "file")
OF_TYPE(default, "__DEFAULT__")

static const Quota quotas[] = {
    {"volumes", 20, used_volumes},
    {"per_volume_gigabytes", -1, NULL},
    {"snapshots", 10, NULL},
    {"gigabytes", 1000, used_gigabytes},
    {"backups", 10, NULL},
    {"backup_gigabytes", 1000, NULL},
    QUOTAS_OF(ssd, "pocket-ssd"),
    QUOTAS_OF(plain, "pocket"),
    QUOTAS_OF(nvme, "b1.sr-r3-nvme-1000"),
    QUOTAS_OF(file, "file"),
    QUOTAS_OF(default, "__DEFAULT__"),
    {"groups", 10, NULL},
    {0},
};
const QuotaSet cinder_quotas = {"cinder_quota", quotas};

/* ---- is there room */

static bool over_limit(PocketReply *r, const char *format, ...) _printf_(2, 3);
static bool over_limit(PocketReply *r, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    _cleanup_free_ char *words = xvasprintf(format, ap);
    va_end(ap);
    pocket_fail(POCKET_CINDER, r, 413, "overLimit", "%s", words);
    row_text(json_object_get(r->json, "overLimit"), "retryAfter", "0");
    strlist_add(&r->headers, "Retry-After: 0");
    return false;
}

/* The first of the two quotas, the project's or the type's, that has no room for so many; NULL:
 * both have. To be freed. */
static char *too_small(Pocket *p, const char *project, const char *name, const char *type,
                       int64_t more)
{
    _cleanup_free_ char *of_type = xasprintf("%s_%s", name, type);
    if (more < 1)
        return NULL;
    if (!quota_allows(p, &cinder_quotas, project, name, more))
        return xstrdup(name);
    return quota_allows(p, &cinder_quotas, project, of_type, more) ? NULL : TAKE(of_type);
}

bool cinder_quota_left(Pocket *p, const char *project, const CinderNeed *need, PocketReply *r)
{
    int64_t each = quota_limit(p, &cinder_quotas, project, "per_volume_gigabytes");
    if (each >= 0 && need->total > each)
        return over_limit(r,
                          "VolumeSizeExceedsLimit: Requested volume size %" PRId64
                          "G is larger than maximum allowed limit %" PRId64 "G.",
                          need->total, each);
    _cleanup_free_ char *gigabytes =
        too_small(p, project, "gigabytes", need->type, need->gigabytes);
    /* An extension names the project's quota, whichever was too small. */
    const char *name = gigabytes && need->volumes == 0 ? "gigabytes" : gigabytes;
    if (name)
        return over_limit(r,
                          "VolumeSizeExceedsAvailableQuota: Requested volume or snapshot exceeds "
                          "allowed %s quota. Requested %" PRId64 "G, quota is %" PRId64
                          "G and %" PRId64 "G has been consumed.",
                          name, need->gigabytes, quota_limit(p, &cinder_quotas, project, name),
                          quota_used(p, &cinder_quotas, project, name));
    _cleanup_free_ char *volumes = too_small(p, project, "volumes", need->type, need->volumes);
    if (volumes)
        return over_limit(r,
                          "VolumeLimitExceeded: Maximum number of volumes allowed (%" PRId64
                          ") exceeded for quota '%s'.",
                          quota_limit(p, &cinder_quotas, project, volumes), volumes);
    return true;
}

/* ---- routes */

static bool quota_allowed(const PocketCall *c, const char *project, PocketReply *r)
{
    if (!cinder_path_ok(c, r))
        return false;
    if (row_admin(c) || streq(project, c->user->project_id))
        return true;
    cinder_fail(r, 403, "Policy doesn't allow volume_extension:quotas:show to be performed.");
    return false;
}

static void quota_answer(Pocket *p, const PocketCall *c, PocketReply *r, QuotaView view)
{
    const char *project = cinder_arg(c, 0);
    if (!quota_allowed(c, project, r))
        return;
    json_t *set = quota_view_new(p, &cinder_quotas, project, view, "in_use");
    /* The answer to a change does not say whose they are. */
    if (!streq(c->method, "PUT"))
        row_text(set, "id", project);
    r->status = 200;
    r->json = json_make_new("{s:o}", "quota_set", set);
}

void cinder_quota_show(Pocket *p, const PocketCall *c, PocketReply *r)
{
    const char *usage = pocket_query(c, "usage");
    quota_answer(p, c, r, usage && strcasecmp(usage, "true") == 0 ? QUOTA_DETAILS : QUOTA_LIMITS);
}

void cinder_quota_defaults(Pocket *p, const PocketCall *c, PocketReply *r)
{
    quota_answer(p, c, r, QUOTA_DEFAULTS);
}

void cinder_quota_put(Pocket *p, const PocketCall *c, PocketReply *r)
{
    json_t *in = json_object_get(c->body, "quota_set");
    const char *unknown = quota_unknown(&cinder_quotas, in), *project = cinder_arg(c, 0);
    int64_t limit;
    const char *over = quota_overdrawn(p, &cinder_quotas, project, in, &limit);
    if (over)
        cinder_fail(r, 400,
                    "Quota %s limit must be equal or greater than existing resources. Current "
                    "usage is %" PRId64 " and the requested limit is %" PRId64 ".",
                    over, quota_used(p, &cinder_quotas, project, over), limit);
    else if (json_is_object(in) && quota_change(p, &cinder_quotas, project, in))
        quota_answer(p, c, r, QUOTA_LIMITS);
    else if (unknown)
        cinder_fail(r, 400, "Invalid input received: Bad key(s) in quota set: %s", unknown);
    else
        cinder_fail(r, 400, "Invalid input for field/attribute quota_set.");
}

void cinder_quota_delete(Pocket *p, const PocketCall *c, PocketReply *r)
{
    quota_reset(p, &cinder_quotas, cinder_arg(c, 0));
    r->status = 200;
}

void cinder_limits(Pocket *p, const PocketCall *c, PocketReply *r)
{
    static const struct {
        const char *name, *quota;
        bool used;
    } rows[] = {{"maxTotalVolumes", "volumes", false},
                {"maxTotalSnapshots", "snapshots", false},
                {"maxTotalVolumeGigabytes", "gigabytes", false},
                {"maxTotalBackups", "backups", false},
                {"maxTotalBackupGigabytes", "backup_gigabytes", false},
                {"totalVolumesUsed", "volumes", true},
                {"totalGigabytesUsed", "gigabytes", true},
                {"totalSnapshotsUsed", "snapshots", true},
                {"totalBackupsUsed", "backups", true},
                {"totalBackupGigabytesUsed", "backup_gigabytes", true}};
    if (!cinder_path_ok(c, r))
        return;
    const char *project = c->user->project_id;
    json_t *absolute = json_object();
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int64_t n = rows[i].used ? quota_used(p, &cinder_quotas, project, rows[i].quota)
                                 : quota_limit(p, &cinder_quotas, project, rows[i].quota);
        json_object_set_new(absolute, rows[i].name, json_integer(n));
    }
    r->status = 200;
    r->json = json_make_new("{s:{s:[], s:o}}", "limits", "rate", "absolute", absolute);
}
