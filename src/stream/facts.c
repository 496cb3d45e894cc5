#include "stream/facts.h"

/* The text behind the first "@" of an account's name, up to the next. */
static char *domain_new(Str acct)
{
    const char *at = acct.n ? memchr(acct.p, '@', acct.n) : NULL;
    if (!at)
        return NULL;
    Str rest = {at + 1, acct.n - (size_t)(at + 1 - acct.p)}, domain = {0};
    return str_next(&rest, '@', &domain) && domain.n ? xstrndup(domain.p, domain.n) : NULL;
}

bool facts_read(const Js *js, const JsNode *status, Facts *ret)
{
    _cleanup_(buf_clear) Buf username = BUF_INIT(BUF_MAX_LINE), acct = BUF_INIT(BUF_MAX_LINE);
    const JsNode *account = js_get(js, status, "account"),
                 *mentions = js_get(js, status, "mentions"),
                 *language = js_get(js, status, "language");
    int64_t id;

    *ret = (Facts){0};
    if (!js_id(js, js_get(js, account, "id"), &ret->author) ||
        !js_string(js, js_get(js, account, "acct"), &acct) || !mentions ||
        mentions->type != JS_ARRAY || memchr(acct.p, '\0', acct.len))
        return false;
    bool named = js_string(js, js_get(js, account, "username"), &username);
    ret->local = named && str_eq(buf_as_str(&username), buf_as_str(&acct));
    vec_push(&ret->targets, ret->author);
    for (const JsNode *m = js_first(js, mentions); m; m = js_after(js, mentions, m)) {
        if (!js_id(js, js_get(js, m, "id"), &id)) {
            facts_clear(ret);
            return false;
        }
        vec_push(&ret->targets, id);
    }
    if (language && language->type == JS_STRING)
        ret->language = xstrndup(js_text(js, language).p, js_text(js, language).n);
    ret->domain = domain_new(buf_as_str(&acct));
    ret->has_filtered = js_get(js, status, "filtered");
    return true;
}

void facts_clear(Facts *f)
{
    vec_clear(&f->targets);
    free(f->language);
    free(f->domain);
    *f = (Facts){0};
}
