/* What an agent keeps on disk: <root>/etc/atoll/boot.json, and in <root>/var/lib/atoll its key, the
 * sealed bundle it runs and the number of the last one it looked at. */
#pragma once
#include "base/json.h"
#include "io/crypt.h"

typedef struct AgentState {
    char *folder, *boot_path;
    char *server, *nonce, *sign_public;
    char *in_url, *out_url; /* of the first boot */
    Secret *k;              /* NULL once it has been used */
    KeyPair key;            /* the host's own */
    int64_t last;
    int lock_fd;
} AgentState;

/* Reads all of it, making the key if there is none. ERR_HELD if another agent runs on this root. */
int agent_state_open(const char *root, AgentState *ret, Err *err) _must_check_;
void agent_state_clear(AgentState *s);
DEFINE_CLEAR(AgentState, agent_state_clear)
/* The text of the bundle that is kept; ERR_NOT_FOUND. */
int agent_state_bundle(const AgentState *s, Buf *ret, Err *err) _must_check_;
/* Keeps a bundle that was taken (sealed, as it came) and its number, and forgets K for good. */
int agent_state_keep(AgentState *s, int64_t number, Str text, Err *err) _must_check_;
/* A bundle that was refused: it is not looked at again. */
int agent_state_pass(AgentState *s, int64_t number, Err *err) _must_check_;
