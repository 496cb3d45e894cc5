/* Who changed a server, and when: the last entry of Nova's list of its actions. Asked only about
 * servers that are not as they should be.
 *
 * Source: GET /servers/{id}/os-instance-actions, the newest first; user_id, action, start_time.
 */
#pragma once
#include "cloud/kinds.h"

typedef struct ServerAct {
    char *action;  /* "resize", "reboot", ...; NULL: not told */
    char *user_id; /* or NULL: the service itself */
    Msec at;       /* 0: not told */
} ServerAct;

/* One call a server, all in one batch; those whose answer fails stay empty, since this is only for
 * words. */
void server_history(Cloud *c, const char *const *ids, size_t n, ServerAct *ret);
/* The newest of an answer's; pure. */
void server_history_read(const json_t *answer, ServerAct *ret);
void server_act_clear(ServerAct *a);
