/* A login to an OpenStack project, and calls made with it, many at once.
 *
 * The token and the catalogue are kept in a cache file (0600, path_cache()/token-<hash of who and
 * where>) until two minutes before they expire: some clouds allow 60 logins a minute (iac.md 2.6).
 * Nothing is asked before the first call. Version discovery is not done: suffixes are added by the
 * rules of iac.md 2.1, and the Nova microversion is pinned to 2.67 or what the cloud has, found at
 * the first 406.
 *
 * A call is data. What may be repeated is decided from its kind:
 *   CALL_READ        anything temporary is retried
 *   CALL_IDEMPOTENT  the same (PUT of a container, DELETE, POST of metadata): same effect twice
 *   CALL_CREATE      only what the service refused (401 once, 429, 503 with Retry-After) or what
 *                    never left this machine. Otherwise `unknown_effect` is set and the caller
 *                    lists by marker and adopts (iac.md 2.4).
 * Budget: 6 tries within 60 s, waiting what Retry-After says, else 0.5 s doubling with jitter.
 * A quota error is final and gets ERR_QUOTA; each service says it differently (iac.md 2.6).
 *
 * Thread: a Cloud and its Http belong to one thread.
 */
#pragma once
#include "base/json.h"
#include "cloud/config.h"
#include "io/http.h"

typedef enum CloudService {
    CLOUD_IDENTITY,
    CLOUD_COMPUTE,
    CLOUD_NETWORK,
    CLOUD_VOLUME,
    CLOUD_IMAGE,
    CLOUD_OBJECT,
    CLOUD_ORCHESTRATION, /* Heat: of no island, and not of every cloud */
    CLOUD_SERVICES
} CloudService;

typedef struct Cloud Cloud;

typedef struct CloudOptions {
    Http *http;            /* shared by several clouds; borrowed */
    const char *cache_dir; /* NULL: no cache */
    const volatile sig_atomic_t *stop;
    uint64_t seed; /* of the jitter */
} CloudOptions;

/* Takes the config (moved out of *config). */
Cloud *cloud_new(CloudConfig *config, const CloudOptions *options);
Cloud *cloud_free(Cloud *c);
/* Logs in unless a cached token is good. ERR_AUTH with the service's words, ERR_TEMPORARY. */
int cloud_login(Cloud *c, Err *err) _must_check_;
/* After cloud_login; borrowed. */
const char *cloud_project_id(const Cloud *c);
const char *cloud_user_id(const Cloud *c);
const char *cloud_domain_id(const Cloud *c); /* the user's */
const char *cloud_domain_name(const Cloud *c);
const char *cloud_region(const Cloud *c); /* of the object store's endpoint */
bool cloud_has_role(const Cloud *c, const char *role);
const CloudConfig *cloud_config(const Cloud *c);
/* How far the cloud's clock is ahead of this machine's (negative: behind), by the Date of
 * its last answer; 0 within half a minute, or when no answer had one. */
Msec cloud_skew(const Cloud *c);
/* The cloud's time: what leases, signed URLs, and ages of what it made are judged by. */
Msec cloud_now(const Cloud *c);
/* Base address with its version suffix and no trailing slash ("http://h:p/v2.0"); ERR_NOT_FOUND
 * with the services that the catalogue has, and the regions. */
int cloud_endpoint(Cloud *c, CloudService s, const char **ret, Err *err) _must_check_;

typedef enum CallKind { CALL_READ, CALL_IDEMPOTENT, CALL_CREATE } CallKind;

typedef struct Call {
    Cloud *cloud;
    CloudService service;
    CallKind kind;
    const char *method;     /* literal */
    char *path;             /* behind the base, with the query; owned */
    json_t *body;           /* owned; or NULL */
    StrList headers;        /* further ones; owned */
    Str raw;                /* body that is not JSON; borrowed */
    int64_t raw_size;       /* or a file of so many bytes */
    int raw_fd;             /* borrowed */
    HttpBodyRead *raw_read; /* or so many bytes that are made as they are sent (io/http.h) */
    void *raw_user;
    bool want_text;     /* keep the answer's body as text */
    bool last_word;     /* made after Ctrl-C as well (one try): what cleans up */
    const char *plural; /* a list: the array's name in the answer ("servers"; "" for a bare array as
                           Swift's): all pages are read and joined. An answer without the array is
                           ERR_CORRUPT: never taken for an empty list */
    size_t max;         /* bytes of the answer's body; 0: 64 MB. More is ERR_CORRUPT */
    /* Result. */
    json_t *json; /* owned: the answer; for a list the joined array */
    Buf text;
    StrList reply_headers; /* owned */
    /* Kind from the status: 401 AUTH, 403 DENIED or QUOTA, 404 NOT_FOUND, 409 CONFLICT or QUOTA,
     * 413 QUOTA, 429/5xx TEMPORARY, else CONFLICT; text in the service's own words; request id. */
    Err err;
    int status;
    int tries;
    bool unknown_effect;
    bool unsure; /* some try of it, not a CALL_READ, may have had its effect though it failed */
} Call;

/* Performs all, in parallel, logging in first where needed. Each call has its own outcome. A DELETE
 * answered with 404 has succeeded (iac.md 2.4). Returns 0 if all succeeded (2xx), else the kind of
 * the first that failed, with *err its words. */
int cloud_perform(Call *calls, size_t n, Err *err);
const char *call_header(const Call *c, const char *name); /* of the answer; NULL if not there */
void call_clear(Call *c);
DEFINE_CLEAR(Call, call_clear)
/* One call, the shape of most uses; ret may be NULL (json), else the caller's. */
int cloud_get(Cloud *c, CloudService s, const char *path, json_t **ret, Err *err) _must_check_;

/* Swift objects: small ones whole. `path` is "container/object", quoted here. */
int swift_get(Cloud *c, const char *path, size_t max, Buf *ret, Err *err) _must_check_;
/* A part of an object, or of one version of it, appended to *ret, whose cap holds. What comes may
 * be shorter than `size`. ERR_NOT_FOUND; ERR_CORRUPT: it ends before `offset`. */
typedef struct SwiftGet {
    const char *version;  /* NULL: the newest */
    int64_t offset, size; /* size 0: to its end */
} SwiftGet;
int swift_get_part(Cloud *c, const char *path, const SwiftGet *get, Buf *ret,
                   Err *err) _must_check_;
typedef struct SwiftPut {
    Str body;
    const char *file;         /* instead of body */
    const char *content_type; /* or NULL */
    int64_t delete_after_s;   /* 0: never */
    bool only_new;            /* If-None-Match: *; there already: ERR_CONFLICT */
} SwiftPut;
int swift_put(Cloud *c, const char *path, const SwiftPut *put, Err *err) _must_check_;
/* The content type of an object. *ret to be freed. ERR_NOT_FOUND. */
int swift_type(Cloud *c, const char *path, char **ret, Err *err) _must_check_;
int swift_delete(Cloud *c, const char *path, Err *err) _must_check_; /* 404 is success */
/* All names below a prefix: array of {name, hash, bytes, content_type, last_modified}. */
int swift_list(Cloud *c, const char *container, const char *prefix, json_t **ret,
               Err *err) _must_check_;
/* With what was overwritten, where the container keeps versions: {..., version_id, is_latest},
 * newest first within a name. (Swift API, "Object versioning".) */
int swift_list_versions(Cloud *c, const char *container, const char *prefix, json_t **ret,
                        Err *err) _must_check_;
/* One page of a container's names, in the store's order (that of their bytes): rows as swift_list
 * gives them, and none at the end. For what must not hold a whole list. */
typedef struct SwiftPage {
    Cloud *cloud;
    const char *container;
    const char *after, *before; /* only names between these two; NULL: no bound */
    json_t *rows;               /* result; the caller's */
} SwiftPage;
/* n of them at once. ERR_NOT_FOUND: no such container. */
int swift_pages(SwiftPage *pages, size_t n, Err *err) _must_check_;
/* One version for good; NULL: as swift_delete. */
int swift_delete_version(Cloud *c, const char *path, const char *version, Err *err) _must_check_;
/* When n objects expire, in seconds of Unix time: a HEAD each, many at once. 0: never, or it is not
 * there; -1: at a time that can't be read. */
int swift_expiries(Cloud *c, const char *const *paths, size_t n, int64_t *ret,
                   Err *err) _must_check_;
/* "https://.../v1/AUTH_x/path?temp_url_sig=..&temp_url_expires=..[&temp_url_prefix=..]": a URL that
 * works until `expires` for `method`. With prefix, `path` is "container/prefix" and the result's
 * path part stops there: the user of the URL puts an object's name before the '?'. To be freed. */
int swift_temp_url(Cloud *c, const Secret *key, const char *method, const char *path, bool prefix,
                   Msec expires, char **ret, Err *err) _must_check_;
