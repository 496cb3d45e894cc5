/* What a host is to be, with keys turned into addresses: the part of a bundle that is no secret. */
#pragma once
#include "cloud/resource.h"

/* `want`: a wanted HOST. Adds to its attrs: peers as addresses, "address" (its own), "media":
 * {container, username, user_domain, project_id, region, auth_url, object_url}, "volume_id".
 * "scheduler" stays false while another host may still listen to that queue: scheduled jobs are
 * pushed once for each listener. NULL if something it needs is not there yet (a port without an
 * address, no media user, no certificate). */
json_t *host_spec_new(const Resource *want, const World *w);
/* What a host is told before its server goes: to stop everything the careful way, in which Sidekiq
 * finishes its jobs. {"server", "roles": [], "stop": true}. `have`: a found HOST. */
json_t *host_stop_spec_new(const Resource *have);
/* The generation that serves under a key: of those that were not told to stop, and whose server
 * does not go, the newest that is healthy, or else the oldest; else the oldest of all. 0: there is
 * no such host. */
int host_current(const World *w, const char *key);
/* {role: "root" or "volume"}: which roles of `spec` keep data (roles.h), and on which disk. */
json_t *host_keeps_new(const json_t *spec);
/* Adds that to what was kept before: what has been on the root disk is there still. */
void host_kept(json_t *kept, const json_t *keeps);
/* True if the newest bundle of a found HOST was made of this spec. */
bool host_was_sent(const Resource *have, const json_t *spec);
/* True if that one differs at most in whom it talks to: servers came, went, or moved. */
bool host_was_sent_rest(const Resource *have, const json_t *spec);
/* 16 hex digits of SHA-256 over its sorted text. */
void host_spec_hash(const json_t *spec, char ret[static 17]);
/* The same without its peers. */
void host_rest_hash(const json_t *spec, char ret[static 17]);
