/* A Swift container by PUT-only prefix TempURLs: the database's side of a repository. */
#include "backup/store_urls.h"
#include "backup/store_driver.h"
#include "cloud/answer.h"
#include "io/crypt.h"
#include "io/file.h"

#include <sys/stat.h>

#define FILE_MAX ((size_t)1 << 20)
#define BYTES_PER_MS 100 /* as the cloud's own transfers */

typedef struct Urls {
    Store store;
    Http *http;
    char *file;
    UrlList list;
    struct timespec changed; /* of the file, as read */
    ino_t inode;
    Msec skew_ms; /* the store's clock less this machine's */
} Urls;

static Urls *urls_of(const Store *s)
{
    return (Urls *)(uintptr_t)s;
}

/* The file of addresses */

static bool take_url(Str text, Url *ret)
{
    _cleanup_free_ char *url = xstrndup(text.p, text.n);
    char *query = strchr(url, '?');
    const char *expires = query ? strstr(query, "temp_url_expires=") : NULL;
    int64_t seconds;

    if (!query || !expires || !strstr(url, "://"))
        return false;
    expires += strlen("temp_url_expires=");
    _cleanup_free_ char *digits = xstrndup(expires, strcspn(expires, "&"));
    *query = 0;
    /* What is put has a name below host/, and the address stops there. */
    if (!ends_with(url, "/" URLS_REACH) || !parse_int(digits, 1, INT64_MAX / SECOND, &seconds))
        return false;
    ret->base = xstrdup(url);
    ret->query = secret_new(query + 1, strlen(query + 1));
    ret->until = seconds * SECOND;
    return true;
}

int urls_parse(const char *name, Str text, UrlList *ret, Err *err)
{
    _cleanup_(urls_clear) UrlList list = {0};
    Str line;

    for (int n = 1; str_next(&text, '\n', &line); n++) {
        Url url = {0};
        line = str_trim(line);
        if (line.n == 0 || line.p[0] == '#')
            continue;
        const char *space = memchr(line.p, ' ', line.n);
        size_t at = space ? (size_t)(space - line.p) : line.n;
        _cleanup_free_ char *from = xstrndup(line.p, at);
        if (!space || !time_parse(from, &url.from) ||
            !take_url(str_trim((Str){line.p + at, line.n - at}), &url))
            return err_set(
                err, ERR_CONFIG,
                "%s:%d: a line is a time, a space, and a PUT address that ends at " URLS_REACH,
                name, n);
        vec_push(&list, url);
    }
    if (list.len == 0)
        return err_set(err, ERR_CONFIG, "%s has no address in it", name);
    *ret = list;
    list = (UrlList){0};
    return 0;
}

void urls_clear(UrlList *l)
{
    for (size_t i = 0; i < l->len; i++) {
        free(l->items[i].base);
        (void)secret_free(l->items[i].query);
    }
    vec_clear(l);
}

const Url *urls_choose(const UrlList *l, Msec now)
{
    const Url *best = NULL;

    for (size_t i = 0; i < l->len; i++) {
        const Url *u = &l->items[i];
        if (u->from <= now && (!best || u->from > best->from))
            best = u;
    }
    return best;
}

/* Reads the file if it is another one than before. *ret_new says so. */
static int look(Urls *u, bool *ret_new, Err *err)
{
    _cleanup_(buf_wipe) Buf text = BUF_INIT(FILE_MAX);
    UrlList list = {0};
    struct stat st;

    *ret_new = false;
    if (stat(u->file, &st) == 0 && st.st_ino == u->inode &&
        st.st_mtim.tv_sec == u->changed.tv_sec && st.st_mtim.tv_nsec == u->changed.tv_nsec)
        return 0;
    int r = file_read(u->file, &text, err);
    if (r == 0)
        r = urls_parse(u->file, buf_as_str(&text), &list, err);
    if (r < 0)
        return err_hint(err, "`atoll backup audit --urls FILE` writes it, elsewhere");
    urls_clear(&u->list);
    u->list = list;
    u->changed = st.st_mtim;
    u->inode = st.st_ino;
    *ret_new = true;
    return 0;
}

/* Requests */

typedef struct UrlPut {
    const char *name;
    Str body;
    StorePut how;
    const char *md5;
} UrlPut;

static void request(Urls *u, const Url *url, const UrlPut *p, bool head, HttpResponse *ret)
{
    _cleanup_(buf_wipe) Buf address = BUF_INIT(BUF_MAX_LINE);
    _cleanup_(strlist_clear) StrList headers = {0};

    buf_printf(&address, "%s%s?%s", url->base, p->name + strlen(URLS_REACH),
               secret_expose(url->query).p);
    HttpRequest q = {.method = head ? "HEAD" : "PUT", .url = address.p, .headers = &headers};
    if (!head) {
        strlist_addf(&headers, "ETag: %s", p->md5);
        strlist_add(&headers, "Content-Type: application/octet-stream");
        if (p->how == STORE_NEW)
            strlist_add(&headers, "If-None-Match: *");
        q.body = p->body.p ? p->body : STR_LIT("");
        q.timeout_ms = MINUTE + (Msec)p->body.n / BYTES_PER_MS;
    }
    http_perform(u->http, &q, ret, 1);
    const char *date = http_header(ret, "Date");
    Msec at;
    if (date && time_parse_http(date, &at))
        u->skew_ms = at + SECOND / 2 - time_now();
}

/* Is what is there what was to be put? An answer may have been lost. */
static bool is_ours(Urls *u, const Url *url, const UrlPut *p)
{
    _cleanup_(http_response_clear) HttpResponse r = {0};

    request(u, url, p, true, &r);
    const char *etag = r.status == 200 ? http_header(&r, "Etag") : NULL;
    return etag && strncmp(etag + strspn(etag, "\""), p->md5, strlen(p->md5)) == 0;
}

/* The addresses are refused. Waiting helps only who waits for as long as it takes: then a new file
 * is taken as soon as it is there. */
static int refused(const Urls *u, const Url *url, Err *err)
{
    char when[TIME_TEXT_MAX];
    ErrKind kind = u->store.options.patience_ms < 0 ? ERR_TEMPORARY : ERR_AUTH;

    if (!url)
        err_set(err, kind, "no address in %s has begun", u->file);
    else if (url->until <= time_now() + u->skew_ms)
        err_set(err, kind, "the addresses in %s ended at %s", u->file,
                time_format(url->until, false, when));
    else
        err_set(err, kind,
                "the object store refuses the addresses in %s: the container's key is another one",
                u->file);
    return err_hint(err, "run `atoll backup audit --urls FILE` elsewhere and put its file here; it "
                         "is taken without a restart");
}

static int settle(Urls *u, const Url *url, const UrlPut *p, HttpResponse *r, Err *err)
{
    if (r->status == 0)
        return err_move(err, &r->err);
    if (r->status >= 200 && r->status < 300)
        return 0;
    if (r->status == 401)
        return refused(u, url, err);
    if (r->status == 412)
        return is_ours(u, url, p) ? 0 : err_set(err, ERR_CONFLICT, "it is there already");
    if (r->status == 422)
        return err_set(err, ERR_TEMPORARY, "it arrived damaged");
    if (r->status == 507)
        return err_set(err, ERR_QUOTA, "the object store is full");
    return answer_error(&(Answer){CLOUD_OBJECT, r->status, &r->headers, buf_as_str(&r->body)}, NULL,
                        err);
}

static int attempt(Urls *u, const UrlPut *p, bool *ret_refused, Err *err)
{
    _cleanup_(http_response_clear) HttpResponse r = {0};
    const Url *url = urls_choose(&u->list, time_now() + u->skew_ms);

    *ret_refused = !url;
    if (!url)
        return refused(u, NULL, err);
    request(u, url, p, false, &r);
    *ret_refused = r.status == 401;
    return settle(u, url, p, &r, err);
}

static int put(Store *s, const char *name, Str body, StorePut how, Err *err)
{
    Urls *u = urls_of(s);
    _cleanup_(buf_clear) Buf md5 = BUF_INIT(BUF_MAX_LINE);
    bool is_new, is_refused;

    if (!starts_with(name, URLS_REACH))
        return err_set(err, ERR_DENIED, "the addresses in %s reach only " URLS_REACH, u->file);
    crypt_hash(CRYPT_MD5, body, &md5);
    UrlPut p = {.name = name, .body = body, .how = how, .md5 = md5.p};
    int r = look(u, &is_new, err);
    if (r < 0)
        return r;
    r = attempt(u, &p, &is_refused, err);
    if (!is_refused)
        return r;
    /* It may have been replaced in this moment. */
    _cleanup_(err_clear) Err unread = {0};
    if (look(u, &is_new, &unread) == 0 && is_new) {
        err_clear(err);
        r = attempt(u, &p, &is_refused, err);
    }
    return r;
}

static void count(void *user, const HttpTrace *t)
{
    (void)t;
    store_count(user, 1);
}

static Urls *urls_new(const char *file)
{
    Urls *u = NEW(Urls);

    u->file = xstrdup(file);
    return u;
}

static void urls_connect(Urls *u)
{
    u->http = http_new(
        &(HttpOptions){.stop = u->store.options.stop, .trace = count, .trace_user = &u->store});
}

static Store *clone(const Store *s)
{
    Urls *u = urls_new(urls_of(s)->file);

    store_init_clone(&u->store, s);
    u->skew_ms = urls_of(s)->skew_ms;
    urls_connect(u);
    return &u->store;
}

static void free_urls(Store *s)
{
    Urls *u = urls_of(s);

    (void)http_free(u->http);
    urls_clear(&u->list);
    free(u->file);
}

static Msec now(const Store *s)
{
    return time_now() + urls_of(s)->skew_ms;
}

/* The file may lead to another container from one day to the next. */
static const char *place(const Store *s)
{
    const UrlList *l = &urls_of(s)->list;

    return l->len > 0 ? vec_last(l)->base : s->words;
}

int store_urls(const char *file, const StoreOptions *o, Store **ret, Err *err)
{
    static const StoreDriver driver = {
        .put = put, .clone = clone, .free = free_urls, .now = now, .place = place};
    Urls *u = urls_new(file);
    bool is_new;

    store_init(&u->store, &driver, o, xasprintf("the addresses in %s", file));
    urls_connect(u);
    int r = look(u, &is_new, err);
    if (r < 0) {
        (void)store_free(&u->store);
        return r;
    }
    *ret = &u->store;
    return 0;
}
