#include "scale/clients.h"
#include "base/util.h"

#include <stdarg.h>
#include <stdio.h>

static void decide(ClientsDecision *d, int desired, ScaleBinding binding, const char *reason, ...)
    _printf_(4, 5);

static void decide(ClientsDecision *d, int desired, ScaleBinding binding, const char *reason, ...)
{
    va_list words;

    *d = (ClientsDecision){.desired = desired, .binding = binding};
    va_start(words, reason);
    (void)vsnprintf(d->reason, sizeof d->reason, reason, words);
    va_end(words);
}

/* With which `clients` fill three quarters. */
static int needed(int64_t clients, int64_t each)
{
    int64_t n = (4 * clients + 3 * each - 1) / (3 * each);

    return (int)MAX(1, MIN(n, SCALE_SERVERS));
}

/* Fewer would be enough now. */
static void maybe_fewer(ClientsLaw *law, const ClientsConfig *c, const ClientsSeen *seen, int need,
                        ClientsDecision *ret)
{
    if (!law->since)
        *law = (ClientsLaw){.since = seen->now, .most = need};
    law->most = MAX(law->most, need);
    if (seen->now - law->since < c->calm_ms) {
        decide(ret, seen->there, SCALE_BY_HOLD,
               "%d would be enough for %lld clients, but not for long yet", need,
               (long long)seen->clients);
        return;
    }
    decide(ret, seen->there - 1, SCALE_BY_LOAD, "%d have been enough for %lld clients and more",
           law->most, (long long)seen->clients);
    *law = (ClientsLaw){0};
}

void clients_decide(ClientsLaw *law, const ClientsConfig *c, const ClientsSeen *seen,
                    ClientsDecision *ret)
{
    int need = needed(seen->clients, c->each);

    if (need >= seen->there || !seen->all_tell)
        *law = (ClientsLaw){0};
    if (need > seen->there)
        decide(ret, need, SCALE_BY_LOAD, "%lld clients, and room for those of a server that goes",
               (long long)seen->clients);
    else if (!seen->all_tell)
        decide(ret, seen->there, SCALE_BY_BLIND, "not every server tells of its clients yet");
    else if (need < seen->there)
        maybe_fewer(law, c, seen, need, ret);
    else
        decide(ret, seen->there, SCALE_BY_LOAD, "enough for %lld clients",
               (long long)seen->clients);
    if (ret->desired < c->min)
        decide(ret, c->min, SCALE_BY_MIN, "the least is %d", c->min);
    if (ret->desired > c->max)
        decide(ret, c->max, SCALE_BY_MAX, "%lld clients, but the most is %d",
               (long long)seen->clients, c->max);
}
