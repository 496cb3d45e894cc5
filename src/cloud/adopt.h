/* Making something that is there already the island's own: one PUT gives it our name and marker.
 *
 * Floating IP: description. Volume: name, description, metadata. Network, subnet, router, security
 * group: name, description. Other kinds can't be handed over: what makes them ours is given once,
 * at their creation, or they are worth nothing.
 */
#pragma once
#include "cloud/kinds.h"

/* "network, subnet, ..."; NULL-ended list of the prefixes of kinds that can be adopted. */
extern const char *const adopt_kinds[];
bool adopt_parse(const char *prefix, ResourceKind *ret) _must_check_;
typedef struct Adoption {
    Resource have; /* as it would be: with its key and name, and its links turned to keys */
    char *was;     /* its name now, or its address */
    json_t *marks; /* what the PUT sets */
} Adoption;
void adoption_clear(Adoption *a);
DEFINE_CLEAR(Adoption, adoption_clear)

/* What is there under `id`, as it would be if it were `want`. ERR_NOT_FOUND;
 * ERR_AMBIGUOUS if another island's marker is on it; ERR_CONFLICT if it is the island's already, or
 * in use by something that is not the island's. */
int adopt_look(const Clouds *c, const World *w, const Resource *want, const char *id, Adoption *ret,
               Err *err) _must_check_;
/* The PUT. */
int adopt_write(const Clouds *c, const Adoption *a, Err *err) _must_check_;
