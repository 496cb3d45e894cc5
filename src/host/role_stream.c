/* The streaming API: atoll's own server (cmd/verb_stream.c), whatever the release is. It is given
 * PostgreSQL and Redis and, of the island file's variables, those that are about streaming; no
 * other secret of Mastodon's. Where the island asks for it (spec "streaming", host/release.h)
 * Mastodon's own Node server runs instead, with the same environment, in its image.
 *
 * It waits for PostgreSQL and Redis by itself, and keeps its clients while they are away, so
 * nothing of theirs restarts it; and as it is not of the release, neither does a deploy. Another
 * version of atoll does. */
#include "base/table.h"
#include "host/container.h"
#include "host/env.h"
#include "host/role.h"

#define STOP_MS (5 * SECOND) /* beside the time that clients have to go */

static void run_own(const RoleContext *c, Service *s)
{
    _cleanup_free_ char *atoll = xasprintf("%s/usr/bin/atoll", c->paths->root);

    /* --root: nobody's .env is looked for. */
    role_argv(s, (const char *const[]){atoll, "stream", "--root", s->cwd, NULL});
    role_plain_env(s);
    /* `atoll upgrade`, which goes from server to server, restarts it: another environment. */
    strlist_add(&s->env, "ATOLL_VERSION=" ATOLL_VERSION);
    s->notify = true;
}

static int run_node(const RoleContext *c, const json_t *image, Service *s, Err *err)
{
    if (*c->paths->root)
        return err_set(err, ERR_CONFIG,
                       "Mastodon's own streaming server is run by podman on a real server; on "
                       "pocket's own servers atoll serves it");
    s->image = container_image_new(image);
    role_argv(s, (const char *const[]){"node", "./streaming/index.js", NULL});
    service_dir(s, 01777, role_path(c, s->name, "tmp"));
    return 0;
}

static Msec drain_ms(const RoleContext *c)
{
    const char *text = json_str_or(json_object_get(c->spec, "env"), ENV_STREAM_DRAIN, "");
    Msec ms;

    return span_or_ms_parse(text, &ms) ? ms : ENV_STREAM_DRAIN_MS;
}

int role_stream(const RoleContext *c, Services *ret, Err *err)
{
    const json_t *image = json_object_get(c->spec, "streaming");
    Service s = role_service(c, ROLE_STREAM, "stream");
    int r = 0;

    if (image)
        r = run_node(c, image, &s, err);
    else
        run_own(c, &s);
    if (r == 0)
        r = env_stream(c->spec, c->secrets, &s.env, err);
    if (r < 0) {
        service_clear(&s);
        return r;
    }
    role_after(ret, &s, (const char *const[]){"postgres", "redis", NULL});
    s.health = HEALTH_HTTP;
    s.health_path = xstrdup(role_rows[ROLE_STREAM].health);
    s.stop = STOP_TERM;
    s.stop_ms = drain_ms(c) + STOP_MS;
    vec_push(ret, s);
    return 0;
}
