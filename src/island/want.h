/* From an island file to the resources that it wants. Pure.
 *
 * Keys: network `main`, subnet `main`, router `main`, interface `main`, groups and server groups by
 * tier (`web`), ports and servers by number (`web.0`), floating IP `main` (on the first edge
 * server's port), volumes by server (`db.0`), containers `boot`, `mail`, `vault`, `media`,
 * `backup`, user `media`, hosts as their servers (`web.0`).
 *
 * Where the file names a router or a network that is there already, there is no such want: the
 * interface (its router) or the ports (network and subnet) hold the id and {"foreign": true}. A
 * volume that another tier had has {"moved": "web.0"}, its old key.
 *
 * A wanted HOST's attrs are all that its bundle holds that is no secret, with other resources named
 * by key: {"island", "domain", "server", "roles": [..], "processes": {role: n}, "threads":
 * {role: n}, "queues": [..], "release": {"kind": "image", "tree" or "canary",
 * "version", "ref": the image's address or ""}, "prepare": true on the one host that prepares the
 * database, "scheduler": true on the one host whose first worker process takes the scheduler queue,
 * "only_web": true where no other server has the role web, "streams_node": true where a host has
 * the role stream and Mastodon's own server is to do it, "listen": {"http", "https", "pair": the
 * certificate's mark, or "" where it is not known, "acme": {"email", "server": URL or "", "ca": PEM
 * or "", "here": true on the one edge that asks for the certificate, the floating IP's}; only where
 * edge.tls says acme}, "peers":
 * {"postgres": [port keys], "redis": [..], "web": [..], "stream": [..], "search": [..]} (those its
 * roles connect to; "search" only where there is one, then also "search_user": ES_USER), "search":
 * {"kind": "search", "ref", "version", "heap_mb"} where it runs, "media": {"container", "user":
 * "media", "url"} where web or worker runs, "volume": "db.0" or null, "volume_gb" where there is
 * one (a host grows its file system when told so), "env": {name: value}, "env_secrets": {name:
 * secret} (where web, stream or worker runs), "ssh_keys": [..], "backup": {"container",
 * "every_h"} on the one with the database, where the file has backups}. host/spec.h resolves the
 * keys.
 */
#pragma once
#include "cloud/resource.h"
#include "island/island.h"

/* `facts`: of the world (ids of external networks and of what is only used); may lack what the
 * cloud does not have: then the want holds the name, and island_preflight says so. Appends to *ret
 * (wanted Resources). */
void island_want(const Island *i, const json_t *facts, ResourceVec *ret);
/* {"kind", "version", "ref"} of the file. */
json_t *island_release_new(const Island *i);
/* What the cloud lacks: flavor, image, volume type, external network. ERR_PREFLIGHT with the island
 * file's place, the nearest right spelling and what there is. */
int island_preflight(const Island *i, const json_t *facts, Err *err) _must_check_;
/* True for what holds data, or an address people know: volumes, the floating IP, the media and
 * vault containers. Asked of found resources too: what a file no longer names is still somebody's
 * data. */
bool island_protects(ResourceKind kind, const char *key);
/* Containers for world_look ("0:reef-boot", ...). */
void island_containers(const Island *i, StrList *ret);
