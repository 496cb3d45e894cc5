#include "cloud/history.h"

void server_act_clear(ServerAct *a)
{
    free(a->action);
    free(a->user_id);
    *a = (ServerAct){0};
}

void server_history_read(const json_t *answer, ServerAct *ret)
{
    const json_t *item, *last = NULL;
    Msec newest = 0, at;
    size_t i;

    json_array_foreach (json_object_get(answer, "instanceActions"), i, item) {
        if (!time_parse(json_str_or(item, "start_time", ""), &at) || (last && at <= newest))
            continue;
        last = item;
        newest = at;
    }
    if (!last || !json_str(last, "action"))
        return;
    const char *user = json_str(last, "user_id");
    *ret = (ServerAct){.action = xstrdup(json_str(last, "action")),
                       .user_id = user ? xstrdup(user) : NULL,
                       .at = newest};
}

void server_history(Cloud *c, const char *const *ids, size_t n, ServerAct *ret)
{
    Call *calls = xcalloc(MAX(n, (size_t)1), sizeof *calls);

    for (size_t i = 0; i < n; i++) {
        ret[i] = (ServerAct){0};
        calls[i] = (Call){.cloud = c,
                          .service = CLOUD_COMPUTE,
                          .kind = CALL_READ,
                          .method = "GET",
                          .path = xasprintf("/servers/%s/os-instance-actions", ids[i])};
    }
    (void)cloud_perform(calls, n, NULL); /* each has its own outcome */
    for (size_t i = 0; i < n; i++) {
        if (!calls[i].err.kind)
            server_history_read(calls[i].json, &ret[i]);
        call_clear(&calls[i]);
    }
    free(calls);
}
