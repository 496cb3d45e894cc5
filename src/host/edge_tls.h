/* The agent's part in a certificate that its edge gets by itself (acme.h): which pair nginx serves,
 * that a new one is served at once, that it is sent to the operator, and what a report says of it.
 *
 * Without edge.tls.acme nothing here does anything. Owned by the agent's thread. Nothing blocks but
 * for reading small files, each second at most.
 */
#pragma once
#include "host/vault.h"

typedef struct EdgeTls EdgeTls;
EdgeTls *edge_tls_open(const char *root);
EdgeTls *edge_tls_close(EdgeTls *t); /* takes NULL, returns NULL */

/* Makes the secrets of a bundle hold the pair to serve: that which begins last, of certbot's and
 * the bundle's own; while there is none, one that signs itself, so that nginx can start and serve
 * the challenge. `wall`: time_now. ERR_IO. */
int edge_tls_pair(EdgeTls *t, const json_t *spec, Vault *secrets, Msec wall, Err *err) _must_check_;
/* One turn: true when certbot has another pair, which `secrets` now hold. `now`: time_mono. */
bool edge_tls_turn(EdgeTls *t, const json_t *spec, Vault *secrets, Msec now, Msec wall);

typedef struct EdgeLetter {
    char *name;
    Buf body;
    int64_t life_s;
} EdgeLetter;
/* A letter with the pair and certbot's store for it (tls.h), where the operator's bundle does not
 * have that pair: true if one is due. It stays due until edge_tls_sent, and is again a day later.
 * Words of a failure go to the report. */
bool edge_tls_letter(EdgeTls *t, const json_t *spec, const Vault *secrets, Msec wall,
                     EdgeLetter *ret);
void edge_tls_sent(EdgeTls *t);
void edge_letter_clear(EdgeLetter *l);
DEFINE_CLEAR(EdgeLetter, edge_letter_clear)

/* {"ends": Unix seconds, "self": nobody has signed it, "why": words of the last failure or ""};
 * NULL: nothing to say. */
json_t *edge_tls_report_new(const EdgeTls *t);
