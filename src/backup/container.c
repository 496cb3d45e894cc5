#include "backup/container.h"
#include "backup/store_urls.h"
#include "io/crypt.h"

#include <strings.h>

#define KEY_HEADER "X-Container-Meta-Temp-URL-Key"
#define VERSIONS_HEADER "X-Versions-Enabled"
#define KEY_LETTERS 48
/* A host whose clock is a little behind must find that an address has begun. */
#define URLS_EARLY_MS HOUR

int backup_container_call(Cloud *c, Call *call, const char *method, const char *container, Err *err)
{
    Buf path = BUF_INIT(BUF_MAX_LINE);

    buf_char(&path, '/');
    buf_url_quote(&path, container, NULL);
    call->cloud = c;
    call->service = CLOUD_OBJECT;
    call->kind = streq(method, "HEAD") ? CALL_READ : CALL_IDEMPOTENT;
    call->method = method;
    call->path = buf_detach(&path);
    return cloud_perform(call, 1, err);
}

typedef struct Found {
    bool there, versions, key;
    const char *legacy; /* name of the header, literal */
} Found;

static int look(Cloud *c, const char *container, Found *ret, Err *err)
{
    static const char *const legacy[] = {"X-Versions-Location", "X-History-Location"};
    _cleanup_(call_clear) Call head = {0};
    int r = backup_container_call(c, &head, "HEAD", container, err);

    *ret = (Found){0};
    if (r == -ERR_NOT_FOUND) {
        err_clear(err);
        return 0;
    }
    if (r < 0)
        return err_wrap(err, "looking at the container %s", container);
    ret->there = true;
    ret->versions = backup_container_has_versions(&head);
    ret->key = call_header(&head, KEY_HEADER) != NULL;
    for (size_t i = 0; i < ARRAY_LEN(legacy); i++)
        if (call_header(&head, legacy[i]))
            ret->legacy = legacy[i];
    return 0;
}

static int refuse_legacy(const char *container, const char *header, Err *err)
{
    err_set(err, ERR_PREFLIGHT,
            "the container %s keeps old versions in another container (%s), and that protects no "
            "backup: who may write can tell an object to expire in a second, and of that no copy "
            "is kept",
            container, header);
    return err_hint(err,
                    "name a container that is not there yet: it is made with X-Versions-Enabled");
}

static int no_versions(const char *container, Err *err)
{
    err_set(err, ERR_PREFLIGHT,
            "this cloud can't keep versions of the objects in %s (X-Versions-Enabled): whoever "
            "takes the database host's addresses could write over backups, for three days",
            container);
    return err_hint(err, "a cloud whose Swift has object versioning; or --without-versions, and a "
                         "second repository elsewhere");
}

bool backup_container_has_versions(const Call *head)
{
    const char *word = call_header(head, VERSIONS_HEADER);

    return word && strcasecmp(word, "true") == 0;
}

int backup_container_call_versions(Cloud *c, Call *call, const char *method, const char *container,
                                   Err *err)
{
    strlist_add(&call->headers, VERSIONS_HEADER ": true");
    int r = backup_container_call(c, call, method, container, err);

    /* One refuses the header, with whatever status it likes for that. */
    if (r < 0 && call->status >= 400 && call->status < 500 && r != -ERR_AUTH && r != -ERR_DENIED &&
        r != -ERR_QUOTA && r != -ERR_TEMPORARY)
        return no_versions(container, err);
    return r;
}

static int set(Cloud *c, const char *container, const Found *found, bool versions, Err *err)
{
    const char *method = found->there ? "POST" : "PUT";
    _cleanup_(call_clear) Call put = {0};

    if (!found->key) {
        _cleanup_secret_ Secret *key = crypt_password_new(KEY_LETTERS);
        strlist_addf(&put.headers, KEY_HEADER ": %s", secret_expose(key).p);
    }
    int r = versions ? backup_container_call_versions(c, &put, method, container, err)
                     : backup_container_call(c, &put, method, container, err);
    return r < 0 && r != -ERR_PREFLIGHT ? err_wrap(err, "making the container %s", container) : r;
}

int backup_container_make(Cloud *c, const ContainerMake *m, ContainerOutcome *ret,
                          bool *ret_versions, Err *err)
{
    Found before = {0}, after = {0};
    int r = look(c, m->name, &before, err);

    if (r < 0)
        return r;
    if (before.legacy)
        return refuse_legacy(m->name, before.legacy, err);
    if (before.versions && before.key) {
        *ret = CONTAINER_KEPT;
        *ret_versions = true;
        return 0;
    }
    r = set(c, m->name, &before, !before.versions, err);
    if (r == -ERR_PREFLIGHT && m->without_versions) {
        err_clear(err);
        r = set(c, m->name, &before, false, err);
    }
    if (r == 0)
        r = look(c, m->name, &after, err);
    if (r < 0)
        return r;
    if (!after.versions && !m->without_versions)
        return no_versions(m->name, err);
    *ret = before.there ? CONTAINER_CHANGED : CONTAINER_MADE;
    *ret_versions = after.versions;
    return 0;
}

int backup_container_urls(Cloud *c, const char *container, const char *prefix, Buf *ret, Err *err)
{
    _cleanup_(call_clear) Call head = {0};
    int r = backup_container_call(c, &head, "HEAD", container, err);
    static const char advice[] = "`atoll backup init` makes the container and its key";

    if (r == -ERR_NOT_FOUND)
        return err_hint(err, "%s", advice);
    if (r < 0)
        return err_wrap(err, "looking at the container %s", container);
    const char *text = call_header(&head, KEY_HEADER);
    if (!text) {
        err_set(err, ERR_NOT_FOUND, "the container %s has no TempURL key that can be read",
                container);
        return err_hint(err, "%s", advice);
    }
    _cleanup_secret_ Secret *key = secret_new(text, strlen(text));
    _cleanup_free_ char *path = xasprintf("%s/%s" URLS_REACH, container, prefix);
    Msec now = cloud_now(c);
    char from[TIME_TEXT_MAX], until[TIME_TEXT_MAX], *url = NULL;
    r = swift_temp_url(c, key, "PUT", path, true, now + URLS_LIVE_MS, &url, err);
    if (r < 0)
        return r;
    buf_printf(ret, "# PUT-only, until %s. `atoll backup audit` writes this file anew each hour.\n",
               time_format(now + URLS_LIVE_MS, false, until));
    buf_printf(ret, "%s %s\n", time_format(now - URLS_EARLY_MS, false, from), url);
    explicit_bzero(url, strlen(url));
    free(url);
    return 0;
}
