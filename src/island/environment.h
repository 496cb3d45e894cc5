/* Inside island/ only: `-e staging`, another island from the same file.
 *
 * What stands below environments.staging is put over the file's own keys before anything is read:
 * maps key by key, everything else as a whole, `release` too, whose forms exclude each other. Every
 * value keeps its line and column, so messages point at the one that counts.
 */
#pragma once
#include "island/load.h"

typedef struct Environment {
    const char *name;
    bool has_domain, has_container, has_url; /* of its own, in the file */
} Environment;
/* ERR_CONFIG if the file has environments and not this one, or has in it what can't differ. Sets
 * the rest of *e. */
int environment_overlay(Yaml *yaml, Environment *e, Err *err) _must_check_;
/* Once all keys are read, and before their defaults: name, domain and container of its own; the
 * address of the other's media is not its own. */
int environment_finish(IslandLoad *l, const Environment *e, Err *err) _must_check_;
/* The checks of environment_overlay for each that the file has, chosen or not. */
int environment_check(const Yaml *yaml, const YamlNode *environment, Err *err) _must_check_;
