/* Objects by addresses of their own, for reading: the store of a kit. */
#include "backup/kit.h"
#include "backup/store_driver.h"
#include "cloud/answer.h"
#include "io/http.h"

#define BYTES_PER_MS 100 /* as the cloud's own transfers */

typedef struct KitStore {
    Store store;
    Http *http;
    const json_t *urls;
} KitStore;

static KitStore *kit_store_of(const Store *s)
{
    return (KitStore *)(uintptr_t)s;
}

/* What came of a request: an address never stands in a text. */
static int settle(HttpResponse *r, bool part, Err *err)
{
    if (r->status == 0)
        return err_move(err, &r->err);
    if (r->status == 206 || (r->status == 200 && !part))
        return 0;
    if (r->status == 200)
        return err_set(err, ERR_CORRUPT, "the object store answers a range with the whole object");
    if (r->status == 401) {
        err_set(err, ERR_AUTH, "the restore's addresses have ended");
        return err_hint(err, "`atoll restore --island` once more makes new ones, and goes on");
    }
    return answer_error(&(Answer){CLOUD_OBJECT, r->status, &r->headers, buf_as_str(&r->body)}, NULL,
                        err);
}

static int get(Store *s, const char *name, const char *version, int64_t offset, int64_t size,
               Buf *ret, Err *err)
{
    const KitStore *k = kit_store_of(s);
    const char *url = json_string_value(json_object_get(k->urls, name));
    _cleanup_(strlist_clear) StrList headers = {0};
    _cleanup_(http_response_clear) HttpResponse r = {0};
    bool part = offset > 0 || size > 0;

    if (!url || version)
        return err_set(err, ERR_NOT_FOUND, "the restore's kit does not have it");
    if (part && size > 0)
        strlist_addf(&headers, "Range: bytes=%lld-%lld", (long long)offset,
                     (long long)(offset + size - 1));
    else if (part)
        strlist_addf(&headers, "Range: bytes=%lld-", (long long)offset);
    HttpRequest q = {.method = "GET",
                     .url = url,
                     .headers = &headers,
                     .max_body = OBJECT_MAX,
                     .timeout_ms = MINUTE + (size > 0 ? size : (int64_t)OBJECT_MAX) / BYTES_PER_MS};
    http_perform(k->http, &q, &r, 1);
    int settled = settle(&r, part, err);
    if (settled == 0)
        buf_add(ret, r.body.p, r.body.len);
    return settled;
}

static int put(Store *s, const char *name, Str body, StorePut how, Err *err)
{
    (void)name;
    (void)body;
    (void)how;
    return err_set(err, ERR_DENIED, "%s can only be read", store_words(s));
}

static void count(void *user, const HttpTrace *t)
{
    (void)t;
    store_count(user, 1);
}

static void connect_to(KitStore *k)
{
    k->http = http_new(
        &(HttpOptions){.stop = k->store.options.stop, .trace = count, .trace_user = &k->store});
}

static Store *clone(const Store *s)
{
    KitStore *k = NEW(KitStore);

    k->urls = kit_store_of(s)->urls;
    store_init_clone(&k->store, s);
    connect_to(k);
    return &k->store;
}

static void free_kit(Store *s)
{
    (void)http_free(kit_store_of(s)->http);
}

int store_kit(const json_t *urls, const StoreOptions *o, Store **ret, Err *err)
{
    static const StoreDriver driver = {.put = put, .get = get, .clone = clone, .free = free_kit};

    if (!json_is_object(urls))
        return err_set(err, ERR_CORRUPT, "the restore's kit has no addresses");
    KitStore *k = NEW(KitStore);
    k->urls = urls;
    store_init(&k->store, &driver, o, xstrdup("the restore's kit"));
    connect_to(k);
    *ret = &k->store;
    return 0;
}
