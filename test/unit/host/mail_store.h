/* An object store on loopback for a host's mailbox: names and bodies, and who may be away. One a
 * program; its handler runs on the server's threads, the rest is the tests'. */
#pragma once
#include "base/buf.h"
#include "base/vec.h"
#include "io/httpd.h"

#include <pthread.h>

typedef struct Object {
    char *name, *body, *delete_after;
} Object;
static struct {
    pthread_mutex_t lock;
    VEC(Object) objects;
    bool away; /* answers 503 to a PUT */
} store = {.lock = PTHREAD_MUTEX_INITIALIZER};

static Object *store_find(const char *name)
{
    for (size_t i = 0; i < store.objects.len; i++)
        if (streq(store.objects.items[i].name, name))
            return &store.objects.items[i];
    return NULL;
}

static void store_put(const char *name, const char *body, const char *delete_after)
{
    pthread_mutex_lock(&store.lock);
    Object *o = store_find(name);
    if (!o) {
        vec_push(&store.objects, (Object){.name = xstrdup(name)});
        o = vec_last(&store.objects);
    }
    free(o->body);
    free(o->delete_after);
    o->body = xstrdup(body);
    o->delete_after = xstrdup(delete_after ? delete_after : "");
    pthread_mutex_unlock(&store.lock);
}

/* To be freed; NULL if it is not there. */
static char *store_get(const char *name, char **ret_delete_after)
{
    pthread_mutex_lock(&store.lock);
    Object *o = store_find(name);
    char *body = o ? xstrdup(o->body) : NULL;
    if (o && ret_delete_after)
        *ret_delete_after = xstrdup(o->delete_after);
    pthread_mutex_unlock(&store.lock);
    return body;
}

static void store_begin(HttpdCall *c)
{
    Buf *body = NEW(Buf);
    *body = BUF_INIT((size_t)8 << 20);
    c->state = body;
}
static bool store_body(HttpdCall *c, Str part)
{
    buf_add(c->state, part.p, part.n);
    return true;
}
static void store_end(HttpdCall *c)
{
    pthread_mutex_lock(&store.lock);
    bool away = store.away;
    pthread_mutex_unlock(&store.lock);
    if (streq(c->method, "PUT") && away) {
        c->reply.status = 503;
        return;
    }
    if (streq(c->method, "PUT")) {
        store_put(c->target, ((Buf *)c->state)->p, httpd_header(c, "X-Delete-After"));
        c->reply.status = 201;
        return;
    }
    _cleanup_free_ char *body = store_get(c->target, NULL);
    c->reply.status = body ? 200 : 404;
    buf_str(&c->reply.body, body);
}
static void store_close(HttpdCall *c, bool sent)
{
    (void)sent;
    buf_clear(c->state);
    free(c->state);
}
static const HttpdHandler store_handler = {
    .begin = store_begin, .body = store_body, .end = store_end, .close = store_close};

static _unused_ void store_set_away(bool away)
{
    pthread_mutex_lock(&store.lock);
    store.away = away;
    pthread_mutex_unlock(&store.lock);
}

/* When nobody uses it any more. */
static void store_clear(void)
{
    for (size_t i = 0; i < store.objects.len; i++) {
        free(store.objects.items[i].name);
        free(store.objects.items[i].body);
        free(store.objects.items[i].delete_after);
    }
    vec_clear(&store.objects);
    store.away = false;
}
