#include "cloud/cloud.h"
#include "cloud/answer.h"
#include "cloud/login.h"

Cloud *cloud_new(CloudConfig *config, const CloudOptions *options)
{
    Cloud *c = NEW(Cloud);

    c->config = *config;
    *config = (CloudConfig){0};
    c->http = options->http;
    c->cache_dir = options->cache_dir ? xstrdup(options->cache_dir) : NULL;
    c->stop = options->stop;
    c->random = options->seed;
    return c;
}

Cloud *cloud_free(Cloud *c)
{
    if (!c)
        return NULL;
    cloud_config_clear(&c->config);
    secret_free(c->token);
    json_decref(c->session);
    for (size_t i = 0; i < CLOUD_SERVICES; i++)
        free(c->endpoints[i]);
    free(c->cache_dir);
    free(c);
    return NULL;
}

int cloud_login(Cloud *c, Err *err)
{
    return login_all(&c, 1, err);
}

const char *cloud_project_id(const Cloud *c)
{
    return json_str_or(c->session, "project_id", "");
}

const char *cloud_user_id(const Cloud *c)
{
    return json_str_or(c->session, "user_id", "");
}

const char *cloud_domain_id(const Cloud *c)
{
    return json_str_or(c->session, "domain_id", "");
}

const char *cloud_domain_name(const Cloud *c)
{
    return json_str_or(c->session, "domain_name", "");
}

const char *cloud_region(const Cloud *c)
{
    _cleanup_free_ char *url = NULL;
    const char *region = NULL;

    if (catalogue_endpoint(json_object_get(c->session, "catalog"), &c->config, cloud_project_id(c),
                           CLOUD_OBJECT, &url, &region, NULL) < 0)
        region = c->config.region;
    return region ? region : "";
}

bool cloud_has_role(const Cloud *c, const char *role)
{
    const json_t *r;
    size_t i;

    json_array_foreach (json_object_get(c->session, "roles"), i, r) {
        if (strcasecmp(json_string_value(r), role) == 0)
            return true;
    }
    return false;
}

const CloudConfig *cloud_config(const Cloud *c)
{
    return &c->config;
}

int cloud_endpoint(Cloud *c, CloudService s, const char **ret, Err *err)
{
    const char *region;
    int r = 0;

    /* Where one logs in, unless the settings send all else to another place. */
    if (s == CLOUD_IDENTITY && !catalogue_overrides(&c->config, s)) {
        *ret = c->config.auth_url;
        return 0;
    }
    if (!c->endpoints[s])
        r = catalogue_endpoint(json_object_get(c->session, "catalog"), &c->config,
                               cloud_project_id(c), s, &c->endpoints[s], &region, err);
    if (r == 0)
        *ret = c->endpoints[s];
    return r;
}

int cloud_get(Cloud *c, CloudService s, const char *path, json_t **ret, Err *err)
{
    _cleanup_(call_clear) Call call = {
        .cloud = c, .service = s, .kind = CALL_READ, .method = "GET", .path = xstrdup(path)};
    int r = cloud_perform(&call, 1, err);

    if (r == 0 && ret)
        *ret = TAKE(call.json);
    return r;
}

const char *call_header(const Call *c, const char *name)
{
    return answer_header(&c->reply_headers, name);
}

void call_clear(Call *c)
{
    answer_wipe(c->body);
    json_decref(c->body);
    answer_wipe(c->json);
    json_decref(c->json);
    free(c->path);
    /* A header may be a Temp-URL key. */
    strlist_wipe(&c->headers);
    strlist_wipe(&c->reply_headers);
    if (c->text.p)
        buf_wipe(&c->text);
    err_clear(&c->err);
    *c = (Call){0};
}
