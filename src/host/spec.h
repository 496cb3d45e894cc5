/* What a host is to be, with keys turned into addresses: the part of a bundle that is no secret. */
#pragma once
#include "cloud/resource.h"

/* `want`: a wanted HOST. Adds to its attrs: peers as addresses, "address" (its own), "media":
 * {container, username, user_domain, project_id, region, auth_url, object_url}, "volume_id".
 * NULL if something it needs is not there yet (a port without an address, no media user). */
json_t *host_spec_new(const Resource *want, const World *w);
/* 16 hex digits of SHA-256 over its sorted text. */
void host_spec_hash(const json_t *spec, char ret[static 17]);
