/* How many streaming servers a tier should have, by the clients that are connected to it. Pure, as
 * scale/decide.h is: what was seen and the time go in, a number and its reason come out.
 *
 * A server is full at `each` clients, and the tier has a quarter more room than its clients take:
 * when a server goes away, all of its clients come back to the others at once. More are asked for
 * at once. Fewer, and one at a time, only when they would have been enough for all of the last
 * `calm_ms`: to close its connections is all that a server that goes can do, and each of them is
 * opened anew elsewhere. What is not known lowers nothing: while a server does not tell of its
 * clients the size is held.
 */
#pragma once
#include "base/time.h"
#include "scale/decide.h"

typedef struct ClientsConfig {
    int min, max;
    int64_t each; /* clients of one server, at the most; above 0 */
    Msec calm_ms;
} ClientsConfig;

typedef struct ClientsSeen {
    Msec now;        /* never goes back */
    int there;       /* servers that serve or boot */
    bool all_tell;   /* each of them serves, and its number is known */
    int64_t clients; /* connected, as far as known */
} ClientsSeen;

/* What is remembered; zero at first. After a restart it is calm_ms until the first server goes. */
typedef struct ClientsLaw {
    Msec since; /* fewer have been enough since then; 0: they are not */
    int most;   /* needed since then */
} ClientsLaw;

typedef struct ClientsDecision {
    int desired;
    ScaleBinding binding;
    char reason[160]; /* one sentence without its full stop */
} ClientsDecision;

void clients_decide(ClientsLaw *law, const ClientsConfig *c, const ClientsSeen *seen,
                    ClientsDecision *ret);
