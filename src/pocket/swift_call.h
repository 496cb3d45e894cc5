/* What the files of Swift share: one call, its path, who calls, and the reply. */
#pragma once
#include "io/crypt.h"
#include "pocket/core.h"
#include "pocket/keystone.h"
#include "pocket/swift.h"
#include "pocket/swift_rows.h"

#define SWIFT_MAX_FILE ((int64_t)5368709122)
#define SWIFT_MAX_LISTING 10000
#define SWIFT_MAX_NAME 1024
#define SWIFT_MAX_CONTAINER_NAME 256

/* A body on its way to the disk. */
typedef struct Upload {
    int fd; /* of the temporary file */
    char *temporary, *file;
    Hasher *md5;
    int64_t bytes;
    int failed; /* errno of a write, or 0 */
} Upload;

typedef struct TempUrl {
    bool tried; /* the query has one, good or bad */
    bool used, account_scope;
    bool inline_;
    char *filename; /* or NULL */
    int64_t expires;
} TempUrl;

typedef struct SwiftCall {
    Arrival arrival;
    Pocket *p;
    HttpdCall *http;
    char *account, *container, *object; /* NULL: the path ends before */
    json_t *query;
    Caller *caller;
    TempUrl temp_url;
    bool owner; /* may see ACLs and keys: set by the last swift_authorize */
    Buf body;   /* of small requests */
    Upload *upload;
    StrList garbage; /* files to remove when the transaction is committed */
    bool rejected;   /* roll back */
} SwiftCall;

/* --- reply --- */
/* Sets status and, for `text` NULL, Swift's own page for the status. Returns false, for `return
 * swift_fail(...)` in checks. */
bool swift_fail(SwiftCall *c, int status, const char *text);
void swift_reply_header(SwiftCall *c, const char *name, const char *format, ...) _printf_(3, 4);
/* Replaces the header of that name. */
void swift_set_header(SwiftCall *c, const char *name, const char *value);
const char *swift_reply_get(const SwiftCall *c, const char *name);
void swift_reply_json(SwiftCall *c, int status, json_t *j_taken);

/* --- request --- */
const char *swift_header(const SwiftCall *c, const char *name);
const char *swift_query(const SwiftCall *c, const char *name); /* NULL if not there */
bool swift_truth(const char *text);                            /* true, 1, yes, on, t, y */
int64_t swift_now(const SwiftCall *c);                         /* seconds */
/* "2026-11-24T17:31:39.123450", no zone. To be freed. */
char *swift_time_text(int64_t stamp);
void swift_version_header(SwiftCall *c, const char *version);
bool swift_versioned(const SwiftContainer *k); /* X-Versions-Enabled is on */
/* Was it ever on: then answers carry X-Object-Version-Id. */
bool swift_version_aware(const SwiftContainer *k);
/* "X-Object-Meta-Foo" as Swift writes names: Title-Case. To be freed. */
char *swift_title(const char *name);
/* The headers of the request that begin with `prefix` or are in `names`, into meta; an empty value
 * or X-Remove-... removes. False: too much of it (400 is set). */
bool swift_meta_update(SwiftCall *c, json_t *meta, const char *kind, const char *const *names);
bool swift_meta_check(SwiftCall *c, const char *kind);
void swift_meta_reply(SwiftCall *c, const json_t *meta);

/* --- who may (swift_auth.c) --- */
/* keystoneauth's order of rules. `acl` may be NULL. 0, 401 or 403; sets c->owner. */
int swift_authorize(SwiftCall *c, const char *account, const char *container, const char *object,
                    const char *acl);
/* Pure: the rules on plain values. */
typedef struct AclCaller {
    const char *user_id, *user_name, *project_id, *project_name; /* NULL: not there */
    const StrList *roles;
    bool names_allowed; /* all in the default domain */
} AclCaller;
typedef enum AclAnswer { ACL_DENIED, ACL_ALLOWED, ACL_OWNER } AclAnswer;
/* `caller` NULL: anonymous. */
AclAnswer acl_decide(const AclCaller *caller, const char *account, bool is_object, const char *acl,
                     const char *referer);
bool acl_referrer_allowed(const char *referer, const char *acl);
/* Cleans a header's value; false with Swift's words in *ret_error. */
bool acl_clean(bool write, const char *value, char **ret, char **ret_error);
const char *swift_container_acl(const SwiftContainer *k, bool write);

/* --- temp URLs (temp_url.c) --- */
/* Looks for temp_url_sig. False: the reply is 401 or 400. */
bool swift_temp_url(SwiftCall *c);
void swift_temp_url_reply(SwiftCall *c); /* headers of a GET or HEAD */

/* --- CORS (swift_cors.c) --- */
void swift_options(SwiftCall *c);
void swift_cors_reply(SwiftCall *c);

/* --- operations, in a transaction --- */
void swift_account_call(SwiftCall *c);
void swift_container_call(SwiftCall *c);
void swift_container_list(SwiftCall *c, const SwiftContainer *k);
void swift_account_list(SwiftCall *c, const json_t *meta);
int swift_container_remove(SwiftCall *c, const char *account, const char *container,
                           const char **ret_text);
void swift_object_call(SwiftCall *c); /* GET, HEAD, POST, DELETE, COPY and small PUTs */
int swift_object_remove(SwiftCall *c, const char *account, const char *container,
                        const char *object);
/* The object that a read wants; false: the reply is filled. `k` is filled if it is there. */
bool swift_object_open(SwiftCall *c, const char *account, const char *container, const char *object,
                       SwiftContainer *k, SwiftObject *o);
/* The current object becomes a version that has its time as its id. */
void swift_keep_version(SwiftCall *c, const SwiftContainer *k, SwiftObject *o);
bool swift_expired(const SwiftCall *c, const SwiftObject *o);
void swift_bulk_delete(SwiftCall *c);
void swift_info(SwiftCall *c);

/* --- PUT (swift_put.c) --- */
/* At the head: everything that can be refused before the body. True: c->upload takes the body;
 * false: answered, or the call needs its body in c->body (c->http->answered tells which). */
void swift_put_begin(SwiftCall *c);
bool swift_put_body(SwiftCall *c, Str part);
/* Without the lock: everything up to the durable file. False: the reply is filled. */
bool swift_put_settle(SwiftCall *c);
void swift_put_commit(SwiftCall *c); /* in the transaction */
Upload *upload_free(Upload *u);
/* Stores a finished file (or none) as the object of the path: expiry, versions, quota and
 * preconditions. False: the reply is filled. `o` gets name, version, stamp. */
bool swift_store(SwiftCall *c, SwiftContainer *k, SwiftObject *o);
void swift_copy(SwiftCall *c, const char *from_account, const char *from_path);
/* Headers of an upload into an object's row; false: 400 is set. */
bool swift_object_headers(SwiftCall *c, SwiftObject *o);
bool swift_delete_at(SwiftCall *c, int64_t *ret); /* 0: none given */

/* --- the older versioning, X-Versions-Location and X-History-Location (swift_legacy.c) --- */
/* Before an overwrite: the current object moves to the versions container. False: 412 is set. */
bool swift_legacy_put(SwiftCall *c, const SwiftContainer *k, const SwiftObject *now);
/* True: it is such a container, and *ret_status is the DELETE's. */
bool swift_legacy_delete(SwiftCall *c, const SwiftContainer *k, const char *object,
                         int *ret_status);

/* --- files --- */
char *swift_path(const Pocket *p, const char *file);    /* to be freed */
int swift_open_file(const Pocket *p, const char *file); /* -1 */
char *swift_new_file(const Pocket *p);                  /* "ab/abcdef..."; its folder is made */

/* --- large objects (swift_large.c) --- */
bool swift_is_slo(const SwiftObject *o);
/* The pieces of a static or dynamic large object. False: the reply is filled. */
typedef struct LargePiece {
    char *file;
    int64_t offset, size;
} LargePiece;
typedef struct Large {
    VEC(LargePiece) pieces;
    int64_t size;
    Buf etag; /* of the whole, in quotes */
} Large;
void large_clear(Large *l);
/* A plain object as the one piece of a "large" one. */
void large_single(const SwiftObject *o, Large *l);
typedef struct ByteRange {
    int64_t start, end; /* end: behind the last byte */
} ByteRange;
typedef VEC(ByteRange) ByteRanges;
static inline void ranges_clear(ByteRanges *r)
{
    vec_clear(r);
}
DEFINE_CLEAR(ByteRanges, ranges_clear)
/* The ranges that the request asks for; none: the whole. False: 416 is set. */
bool swift_ranges(SwiftCall *c, int64_t size, ByteRanges *ret);
/* Answers with the content or with what the request's Range selects of it. */
void swift_reply_content(SwiftCall *c, const Large *l);
void large_crop(Large *l, ByteRange r);
/* True if the list of a conditional header has the etag (quotes and W/ do not count) or is "*". */
bool swift_etag_listed(const char *list, const char *etag);
/* ?multipart-manifest=get. Always false: the reply is filled. */
bool swift_slo_manifest(SwiftCall *c, const SwiftObject *o);
DEFINE_CLEAR(Large, large_clear)
bool swift_large_open(SwiftCall *c, const SwiftObject *o, Large *ret);
void swift_slo_put(SwiftCall *c); /* the manifest is in c->body */
void swift_slo_delete(SwiftCall *c);
