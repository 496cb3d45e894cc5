/* Search: Elasticsearch or OpenSearch, one node, in a container of its own image.
 *
 * It listens on the tier's address alone, in clear text (as PostgreSQL and Redis do: whom it
 * answers is the security groups' business), and to its password. What nodes would say to each
 * other stays on loopback, where there is nobody; so neither asks for certificates, and neither
 * makes its checks of a production cluster, but for the one that matters: vm.max_map_count
 * (host/machine.c).
 *
 * Settings go by the environment, as both images take them; the password is read from there by the
 * image's own entry point, and is in no argv. Its configuration folder is a copy in memory, since
 * the entry point writes a keystore there.
 *
 * On a pocket server no image can be run: there a stand-in is, which comes with the canary and
 * reads the same environment (data/canary/README.md). It is no search.
 */
#include "host/container.h"
#include "host/role.h"
#include "island/search.h"

#define START (5 * MINUTE) /* a JVM on a small server, and the recovery of its indexes */

/* What the two say differently. */
typedef struct Engine {
    const char *home, *user; /* of the image: its folder, and uid:gid there */
    const char *password, *java;
    const char *settings[10]; /* NULL-ended */
} Engine;

/* OpenSearch's own demonstration certificates are for between nodes, and so for nobody here; its
 * entry point makes the administrator of the password and turns the plugin on. */
static const Engine elasticsearch = {
    .home = "/usr/share/elasticsearch",
    .user = "1000:0",
    .password = "ELASTIC_PASSWORD",
    .java = "ES_JAVA_OPTS",
    .settings = {"xpack.security.enabled=true", "xpack.security.http.ssl.enabled=false",
                 "xpack.license.self_generated.type=basic", "xpack.ml.enabled=false",
                 "xpack.watcher.enabled=false", "ingest.geoip.downloader.enabled=false", NULL}};
static const Engine opensearch = {.home = "/usr/share/opensearch",
                                  .user = "1000:1000",
                                  .password = "OPENSEARCH_INITIAL_ADMIN_PASSWORD",
                                  .java = "OPENSEARCH_JAVA_OPTS",
                                  .settings = {"plugins.security.ssl.http.enabled=false",
                                               "DISABLE_PERFORMANCE_ANALYZER_AGENT_CLI=true",
                                               NULL}};

static void add_env(const RoleContext *c, const Engine *e, const Secret *password, Service *s)
{
    int64_t heap = json_int(json_object_get(c->spec, "search"), "heap_mb", search_heap_mb(0, true));

    strlist_addf(&s->env, "cluster.name=%s", json_str_or(c->spec, "island", "atoll"));
    strlist_addf(&s->env, "node.name=%s", json_str_or(c->spec, "server", "search"));
    strlist_add(&s->env, "discovery.type=single-node");
    strlist_addf(&s->env, "http.host=%s", c->paths->address);
    strlist_addf(&s->env, "http.port=%d", role_rows[ROLE_SEARCH].port);
    strlist_add(&s->env, "transport.host=127.0.0.1");
    strlist_add(&s->env, "thread_pool.write.queue_size=1000"); /* as Mastodon's compose file */
    for (size_t i = 0; e->settings[i]; i++)
        strlist_add(&s->env, e->settings[i]);
    strlist_addf(&s->env, "%s=-Xms%lldm -Xmx%lldm", e->java, (long long)heap, (long long)heap);
    strlist_addf(&s->env, "%s=%s", e->password, secret_expose(password).p);
}

static void run_image(const Engine *e, const json_t *search, char *data, char *logs, Service *s)
{
    s->image = container_image_new(search);
    s->image_user = xstrdup(e->user);
    strlist_addf(&s->image_args, "--tmpfs=%s/config", e->home);
    strlist_addf(&s->image_args, "--volume=%s:%s/data", data, e->home);
    strlist_addf(&s->image_args, "--volume=%s:%s/logs", logs, e->home);
    service_dir(s, 0700, logs);
}

static void run_stand_in(const RoleContext *c, const char *data, Service *s)
{
    _cleanup_free_ char *program = xasprintf("%s/search/server.rb", c->paths->canary);

    role_argv(s, (const char *const[]){"ruby", program, NULL});
    role_plain_env(s);
    strlist_addf(&s->env, "path.data=%s", data);
}

int role_search(const RoleContext *c, Services *ret, Err *err)
{
    const json_t *search = json_object_get(c->spec, "search");
    const char *image = json_str_or(search, "ref", SEARCH_IMAGE);
    const Engine *e = search_is_opensearch(image) ? &opensearch : &elasticsearch;
    const Secret *password;

    if (!json_is_object(search))
        return err_set(err, ERR_CONFIG, "the bundle does not say which search server runs");
    int r = role_secret(c, "search_password", &password, err);
    if (r < 0)
        return r;
    _cleanup_free_ char *data = xasprintf("%s/search", c->paths->data);
    Service s = role_service(c, ROLE_SEARCH, "search");

    if (*c->paths->root)
        run_stand_in(c, data, &s);
    else
        run_image(e, search, data, role_path(c, "search", "logs"), &s);
    add_env(c, e, password, &s);
    service_dir(&s, 0700, role_path(c, "search", "tmp"));
    service_dir(&s, 0700, TAKE(data));
    s.health = HEALTH_SEARCH;
    s.health_user = search_user(image);
    s.health_secret = password;
    s.stop = STOP_TERM;
    s.stop_ms = 1 * MINUTE; /* it writes its translog down */
    s.start_ms = START;
    vec_push(ret, s);
    return 0;
}
