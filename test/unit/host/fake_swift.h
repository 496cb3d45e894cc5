/* An object store in memory, in place of cloud/swift.c: the unit tests of host/ look at what is
 * stored, and at what happens when somebody else was faster. The real calls are the contract tests'
 * business. */
#pragma once
#include "base/vec.h"
#include "cloud/cloud.h"
#include "io/file.h"

typedef struct FakeObject {
    char *path, *type;
    Buf body;
    int64_t delete_after_s;
} FakeObject;

static struct {
    VEC(FakeObject) objects;
    int puts, gets;
    Buf rival; /* if not empty: somebody else's object, there just before the next PUT */
    const char *rival_type;
} fake;

static FakeObject *fake_find(const char *path)
{
    for (size_t i = 0; i < fake.objects.len; i++)
        if (streq(fake.objects.items[i].path, path))
            return &fake.objects.items[i];
    return NULL;
}

static FakeObject *fake_put(const char *path, Str body)
{
    FakeObject *o = fake_find(path);
    if (!o) {
        vec_push(&fake.objects,
                 (FakeObject){.path = xstrdup(path), .body = BUF_INIT((size_t)16 << 20)});
        o = vec_last(&fake.objects);
    }
    buf_truncate(&o->body, 0);
    buf_add(&o->body, body.p, body.n);
    return o;
}

static void fake_clear(void)
{
    for (size_t i = 0; i < fake.objects.len; i++) {
        free(fake.objects.items[i].path);
        free(fake.objects.items[i].type);
        buf_clear(&fake.objects.items[i].body);
    }
    vec_clear(&fake.objects);
    buf_clear(&fake.rival);
    fake.rival_type = NULL;
    fake.puts = fake.gets = 0;
}

int swift_get(Cloud *c, const char *path, size_t max, Buf *ret, Err *err)
{
    (void)c;
    FakeObject *o = fake_find(path);
    fake.gets++;
    if (!o)
        return err_set(err, ERR_NOT_FOUND, "there is no object %s", path);
    if (o->body.len > max)
        return err_set(err, ERR_CORRUPT, "too large");
    buf_add(ret, o->body.p, o->body.len);
    return 0;
}

int swift_put(Cloud *c, const char *path, const SwiftPut *put, Err *err)
{
    (void)c;
    _cleanup_(buf_clear) Buf file = BUF_INIT((size_t)16 << 20);
    fake.puts++;
    if (fake.rival.len > 0) {
        FakeObject *first = fake_put(path, buf_as_str(&fake.rival));
        free(first->type);
        first->type = fake.rival_type ? xstrdup(fake.rival_type) : NULL;
        buf_clear(&fake.rival);
    }
    if (put->only_new && fake_find(path))
        return err_set(err, ERR_CONFLICT, "%s is there", path);
    if (put->file) {
        int r = file_read(put->file, &file, err);
        if (r < 0)
            return r;
    }
    FakeObject *o = fake_put(path, put->file ? buf_as_str(&file) : put->body);
    free(o->type);
    o->type = xstrdup(put->content_type ? put->content_type : "");
    o->delete_after_s = put->delete_after_s;
    return 0;
}

int swift_list(Cloud *c, const char *container, const char *prefix, json_t **ret, Err *err)
{
    (void)c;
    (void)err;
    _cleanup_free_ char *start = xasprintf("%s/%s", container, prefix);
    size_t skip = strlen(container) + 1;
    *ret = json_array();
    for (size_t i = 0; i < fake.objects.len; i++)
        if (starts_with(fake.objects.items[i].path, start))
            json_array_append_new(
                *ret,
                json_make_new("{s:s, s:I, s:s}", "name", fake.objects.items[i].path + skip, "bytes",
                              (json_int_t)fake.objects.items[i].body.len, "content_type",
                              fake.objects.items[i].type ? fake.objects.items[i].type : ""));
    return 0;
}

int swift_type(Cloud *c, const char *path, char **ret, Err *err)
{
    (void)c;
    FakeObject *o = fake_find(path);
    if (!o)
        return err_set(err, ERR_NOT_FOUND, "there is no object %s", path);
    *ret = xstrdup(o->type ? o->type : "");
    return 0;
}

int swift_delete(Cloud *c, const char *path, Err *err)
{
    (void)c;
    (void)err;
    for (size_t i = 0; i < fake.objects.len; i++) {
        if (!streq(fake.objects.items[i].path, path))
            continue;
        free(fake.objects.items[i].path);
        free(fake.objects.items[i].type);
        buf_clear(&fake.objects.items[i].body);
        vec_remove(&fake.objects, i);
        break;
    }
    return 0;
}

int swift_temp_url(Cloud *c, const Secret *key, const char *method, const char *path, bool prefix,
                   Msec expires, char **ret, Err *err)
{
    (void)c;
    (void)err;
    assert_non_null(key);
    *ret = xasprintf("https://swift.example:8080/v1/AUTH_0123456789abcdef0123456789abcdef/%s"
                     "?temp_url_sig=%s%064d&temp_url_expires=%lld%s%s",
                     path, method, 0, (long long)(expires / SECOND),
                     prefix ? "&temp_url_prefix=" : "", prefix ? strchr(path, '/') + 1 : "");
    return 0;
}
