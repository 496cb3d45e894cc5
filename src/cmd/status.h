/* What `atoll status` knows, as JSON; the verb prints it one way or the other.
 *
 * Beside the listings that a plan is made of, each host's newest report is read: one GET a host,
 * all at once. One that can't be read is no error: the row says so.
 */
#pragma once
#include "cmd/cmd.h"

/* The newest reports of hosts by their names; what could not be read is not there. */
json_t *status_reports_new(Cmd *c, const World *w);
/* One for each server there is, in the order of the file, in an array of the caller's:
 * {key, roles: "edge web", status: the cloud's word, address, health: state of its newest report,
 * or "silent", "new", "booting", "no report"; reported: when, or "";
 * by its report, or null: release {kind, version, ref}, atoll: its version, started: since when it
 * runs, services [{name, state, why, restarts}], backlog {queues: {name: jobs}, busy: jobs},
 * clients {websocket: n, eventsource: n} of its streaming server; why: what is not well, in words,
 * or ""} */
json_t *status_servers_new(Cmd *c, const World *w, Msec now);
/* {name, domain, cloud, as_file: bool, phase: of the release's change, now, to, told: [..],
 * installed: bool, maintenance: bool, upgrading: bool, backlog: as above
 * or null, clients: of all streaming servers or null, search: {image, version, indexes: "none",
 * "made" or, after a deploy, "due"} or null}; `servers` as above. */
json_t *status_island_new(const Cmd *c, const World *w, const json_t *servers, bool as_file);
/* The same for a person: release, deploy, upgrade, maintenance, search and jobs, as far as there is
 * something to say; a table, and below it what is not well, or (`all`) every service. */
void status_print_island(const Cmd *c, const World *w, const json_t *island);
void status_print_servers(const Cmd *c, const json_t *servers, Msec now, bool all);
