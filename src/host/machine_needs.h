/* Which of Debian's packages a server needs: the one table. Pure. */
#pragma once
#include "base/buf.h"
#include "base/json.h"

/* The packages for a bundle's spec, and the units that they would start. Both lists are added to,
 * each name once. */
void machine_needs(const json_t *spec, StrList *ret_packages, StrList *ret_units);
/* The roles that a spec names, as bits; what is no role is left out. */
unsigned machine_roles(const json_t *spec);
