/* What an island file may put into Mastodon's environment. One table for the file's check, which
 * says where it stands, and for the host, which trusts no bundle.
 */
#pragma once
#include "base/buf.h"

/* Why nobody but atoll may set the variable; NULL: it is free. */
const char *env_rule_why(const char *name);
/* True for the variables that say where search is: atoll's where a tier has that role. */
bool env_rule_search(const char *name);
/* True if dotenv and Docker read the value alike: dotenv strips quotes and escapes, expands '$' and
 * cuts at '#'; Docker takes the text as it is. So none of these, no backslash, no space. */
bool env_reads_alike(Str value);
/* True for a secret that the vault makes itself and that Mastodon may know. The keys that open and
 * sign things (master, sign_secret) are not among them. */
bool env_secret_made(const char *name);
