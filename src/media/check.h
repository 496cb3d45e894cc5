/* `media check`: whether media on Swift will work for Mastodon, and for nobody else. Every line is
 * a performed call, not a setting read back (design: "Least privilege is proven").
 *
 * Works on the exact SWIFT_* settings that Mastodon gets, from an island or from the
 * .env.production of somebody who runs Mastodon another way. The owner's login is optional: it
 * explains failures (the ACL that is there) and tells whether media has a project of its own.
 *
 * Objects it makes are named atoll-check/<random> and removed at the end, also after a failure.
 */
#pragma once
#include "base/vec.h"
#include "cloud/cloud.h"

typedef struct MediaSettings {
    char *auth_url, *username, *user_domain, *project_id, *region, *container, *object_url;
    char *tenant; /* SWIFT_TENANT, which must not be there; NULL */
    Secret *password;
} MediaSettings;
void media_settings_clear(MediaSettings *s);
DEFINE_CLEAR(MediaSettings, media_settings_clear)
/* Reads SWIFT_* out of an environment file (NAME=value lines as dotenv and docker agree on). */
int media_settings_read(const char *path, MediaSettings *ret, Err *err) _must_check_;

/* In order of what they grant: nothing but the container, in a project of its own; the same in the
 * island's project; anything more. */
typedef enum MediaLevel { MEDIA_PROJECT, MEDIA_CONTAINER, MEDIA_NONE, MEDIA_LEVELS } MediaLevel;
extern const char *const media_levels[MEDIA_LEVELS];

typedef enum MediaOutcome { MEDIA_OK, MEDIA_FAILED, MEDIA_SKIPPED } MediaOutcome;

typedef struct MediaLine {
    const char *name; /* "write", "listing"... */
    MediaOutcome outcome;
    char *words;  /* what was done and answered */
    char *remedy; /* what to do; NULL when there is nothing */
} MediaLine;
typedef VEC(MediaLine) MediaLines;

typedef struct MediaCheck {
    const MediaSettings *settings;
    const char *domain; /* the instance's, for CORS */
    Cloud *owner;       /* of the container's project, or NULL */
    const char
        *other_project; /* the island's project id when media should be apart from it; or NULL */
    MediaLevel required;
    CloudOptions options; /* for the media user's own login */
    const char *fog;      /* the Ruby script that logs in as Mastodon does; NULL: not tried */
} MediaCheck;

/* Appends one line a check; *ret_level is the level reached. Failed checks are lines; the only
 * error is ERR_INTERRUPTED, after which *ret has the lines so far. */
int media_check(const MediaCheck *c, MediaLines *ret, MediaLevel *ret_level, Err *err) _must_check_;
void media_lines_clear(MediaLines *l);
DEFINE_CLEAR(MediaLines, media_lines_clear)
