/* Inside island/ only: what the readers of a file share. */
#pragma once
#include "io/yaml.h"
#include "island/island.h"

typedef struct IslandLoad {
    const Yaml *yaml;
    Island *island;
    Tier *tier;                              /* the tier being read, or NULL */
    const IslandRow *row;                    /* whose default is being read, or NULL */
    const YamlNode *tiers[ISLAND_TIERS_MAX]; /* where each stands */
} IslandLoad;

/* Reads the keys of a map whose row is `path` ("" for the file itself): each by its row, then the
 * defaults of those that are not there. */
int load_map(IslandLoad *l, const char *path, const YamlNode *map, Err *err) _must_check_;
/* "servers.web.flavor" for the row "servers.*.flavor" while web is read; `key` (or NULL) for a '*'
 * at its end. To be freed. */
char *load_path(const IslandLoad *l, const char *path, const char *key);
/* Everything that one key alone can't tell. */
int check_island(IslandLoad *l, Err *err) _must_check_;
/* "10.77.0.0/24" to host order; false if it is not IPv4, or has bits behind the prefix. */
bool cidr_parse(const char *text, uint32_t *ret_base, int *ret_prefix) _must_check_;
