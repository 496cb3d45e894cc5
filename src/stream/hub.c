#include "stream/hub.h"

static uint32_t hash_bytes(uint64_t seed, const void *data, size_t n)
{
    const uint8_t *p = data;
    uint64_t h = seed ^ 0xcbf29ce484222325u; /* FNV-1a, from a start that nobody knows */
    for (size_t i = 0; i < n; i++)
        h = (h ^ p[i]) * 0x100000001b3u;
    h ^= h >> 32;
    return (uint32_t)h ^ (uint32_t)(h >> 15);
}

static void table_grow(Table *t)
{
    uint32_t size = t->size ? t->size * 2 : 64;
    Entry **buckets = xcalloc(size, sizeof(Entry *));

    for (uint32_t i = 0; i < t->size; i++)
        for (Entry *e = t->buckets[i], *next; e; e = next) {
            next = e->next;
            e->next = buckets[e->hash & (size - 1)];
            buckets[e->hash & (size - 1)] = e;
        }
    free(t->buckets);
    t->buckets = buckets;
    t->size = size;
}

static void table_add(Table *t, Entry *e)
{
    if (t->len >= t->size)
        table_grow(t);
    e->next = t->buckets[e->hash & (t->size - 1)];
    t->buckets[e->hash & (t->size - 1)] = e;
    t->len++;
}

static void table_remove(Table *t, const Entry *e)
{
    Entry **at = &t->buckets[e->hash & (t->size - 1)];
    while (*at != e)
        at = &(*at)->next;
    *at = e->next;
    t->len--;
}

static Entry *table_bucket(const Table *t, uint32_t hash)
{
    return t->size ? t->buckets[hash & (t->size - 1)] : NULL;
}

void hub_init(Hub *h, uint64_t seed)
{
    *h = (Hub){.seed = seed};
    slab_init(&h->subscriptions, sizeof(Subscription));
}

static void entries_clear(Table *t, void (*drop)(Entry *e))
{
    for (uint32_t i = 0; i < t->size; i++)
        for (Entry *e = t->buckets[i], *next; e; e = next) {
            next = e->next;
            drop(e);
        }
    free(t->buckets);
    *t = (Table){0};
}

static void filters_drop(Account *a)
{
    if (a->filters) {
        filters_clear(a->filters);
        free(a->filters);
        a->filters = NULL;
    }
}

static void drop_plain(Entry *e)
{
    free(e);
}

static void drop_account(Entry *e)
{
    Account *a = (Account *)e;
    filters_drop(a);
    languages_unref(a->languages);
    free(a);
}

void hub_clear(Hub *h)
{
    entries_clear(&h->channels, drop_plain);
    entries_clear(&h->accounts, drop_account);
    entries_clear(&h->addresses, drop_plain);
    slab_clear(&h->subscriptions);
    vec_clear(&h->changed);
}

/* ---- channels ---- */

Channel *hub_channel(const Hub *h, Str name)
{
    uint32_t hash = hash_bytes(h->seed, name.p, name.n);

    for (Entry *e = table_bucket(&h->channels, hash); e; e = e->next) {
        Channel *c = (Channel *)e;
        if (e->hash == hash && str_eq(name, (Str){c->name, c->len}))
            return c;
    }
    return NULL;
}

void hub_each(const Hub *h, void (*f)(void *user, Channel *c), void *user)
{
    for (uint32_t i = 0; i < h->channels.size; i++)
        for (Entry *e = h->channels.buckets[i]; e; e = e->next)
            f(user, (Channel *)e);
}

void hub_touch(Hub *h, Channel *c)
{
    if (!c->listed)
        vec_push(&h->changed, c);
    c->listed = true;
}

static Channel *channel_make(Hub *h, Str name)
{
    Channel *c = xcalloc(1, sizeof(*c) + name.n + 1);

    c->entry.hash = hash_bytes(h->seed, name.p, name.n);
    c->len = (uint16_t)name.n;
    memcpy(c->name, name.p, name.n);
    table_add(&h->channels, &c->entry);
    hub_touch(h, c);
    return c;
}

/* With one more listener, whom the caller adds. */
static Channel *channel_for(Hub *h, Str name, bool beats)
{
    Channel *c = hub_channel(h, name);

    if (!c)
        c = channel_make(h, name);
    else if (!channel_is_heard(c))
        hub_touch(h, c); /* it was about to go */
    c->beats = c->beats || beats;
    return c;
}

void hub_loop_comes(Hub *h, Str name, uint32_t loop, bool beats)
{
    channel_for(h, name, beats)->loops |= loop;
}

void hub_loop_goes(Hub *h, Str name, uint32_t loop)
{
    Channel *c = hub_channel(h, name);

    if (!c)
        return;
    c->loops &= ~loop;
    if (!channel_is_heard(c))
        hub_touch(h, c);
}

void hub_settled(Hub *h, Channel *c)
{
    c->listed = false;
    if (channel_is_heard(c) || c->jobs)
        return;
    wheel_cancel(&c->beat);
    table_remove(&h->channels, &c->entry);
    free(c);
}

Subscription *hub_find(const Hub *h, Subscription *first, const Buf *names, size_t n)
{
    Channel *wanted[STREAM_CHANNELS] = {0};

    for (size_t i = 0; i < n; i++) {
        wanted[i] = hub_channel(h, buf_as_str(&names[i]));
        if (!wanted[i])
            return NULL;
    }
    for (Subscription *s = first; s; s = s->next) {
        bool same = s->links_len == n;
        for (size_t i = 0; same && i < n; i++)
            same = s->links[i].channel == wanted[i];
        if (same)
            return s;
    }
    return NULL;
}

Subscription *hub_subscribe(Hub *h, const Buf *names, size_t n, bool beats)
{
    uint32_t index;
    Subscription *s = slab_take(&h->subscriptions, &index);

    *s = (Subscription){.index = index, .links_len = (uint8_t)n};
    for (size_t i = 0; i < n; i++) {
        Link *l = &s->links[i];
        Channel *c = channel_for(h, buf_as_str(&names[i]), beats);
        *l = (Link){.prev = c->last, .channel = c, .of = s};
        if (c->last)
            c->last->next = l;
        else
            c->first = l;
        c->last = l;
    }
    return s;
}

void hub_unsubscribe(Hub *h, Subscription *s)
{
    for (size_t i = 0; i < s->links_len; i++) {
        Link *l = &s->links[i];
        Channel *c = l->channel;
        if (l->next)
            l->next->prev = l->prev;
        else
            c->last = l->prev;
        if (l->prev)
            l->prev->next = l->next;
        else
            c->first = l->next;
        if (!c->first)
            hub_touch(h, c);
    }
    if (s->own_label)
        free(s->label);
    slab_give(&h->subscriptions, s->index);
}

/* ---- accounts and addresses ---- */

Account *hub_account(const Hub *h, int64_t id)
{
    uint32_t hash = hash_bytes(h->seed, &id, sizeof(id));

    for (Entry *e = table_bucket(&h->accounts, hash); e; e = e->next)
        if (((Account *)e)->id == id)
            return (Account *)e;
    return NULL;
}

Account *hub_account_ref(Hub *h, int64_t id)
{
    Account *a = hub_account(h, id);

    if (!a) {
        a = NEW(Account);
        a->id = id;
        a->entry.hash = hash_bytes(h->seed, &id, sizeof(id));
        table_add(&h->accounts, &a->entry);
    }
    a->conns++;
    return a;
}

void hub_account_unref(Hub *h, Account *a)
{
    if (!a || --a->conns)
        return;
    table_remove(&h->accounts, &a->entry);
    drop_account(&a->entry);
}

Address *hub_address_ref(Hub *h, const char *text)
{
    size_t n = strlen(text);
    uint32_t hash = hash_bytes(h->seed, text, n);

    for (Entry *e = table_bucket(&h->addresses, hash); e; e = e->next) {
        Address *a = (Address *)e;
        if (e->hash == hash && streq(a->text, text)) {
            a->conns++;
            return a;
        }
    }
    Address *a = xcalloc(1, sizeof(*a) + n + 1);
    a->entry.hash = hash;
    a->conns = 1;
    memcpy(a->text, text, n);
    table_add(&h->addresses, &a->entry);
    return a;
}

void hub_address_unref(Hub *h, Address *a)
{
    if (!a || --a->conns)
        return;
    table_remove(&h->addresses, &a->entry);
    free(a);
}

static void forget(Account *a)
{
    a->generation++;
    if (a->filters_state == FILTERS_KNOWN)
        a->filters_state = FILTERS_UNKNOWN;
    filters_drop(a);
}

void hub_filters_forget(Hub *h, Account *a)
{
    if (a) {
        forget(a);
        return;
    }
    for (uint32_t i = 0; i < h->accounts.size; i++)
        for (Entry *e = h->accounts.buckets[i]; e; e = e->next)
            forget((Account *)e);
}

Languages *languages_ref(Account *a, Str text)
{
    Languages *l = a->languages;

    if (!l || !str_eq(text, (Str){l->text, l->len})) {
        languages_unref(a->languages);
        l = xcalloc(1, sizeof(*l) + text.n + 1);
        l->refs = 1; /* the account's */
        l->len = (uint32_t)text.n;
        memcpy(l->text, text.p, text.n);
        a->languages = l;
    }
    l->refs++;
    return l;
}

void languages_unref(Languages *l)
{
    if (l && --l->refs == 0)
        free(l);
}

bool languages_have(const Languages *l, Str language)
{
    /* In an array of strings, a string with its quotes stands only for itself. */
    return memmem(l->text, l->len, language.p, language.n);
}
