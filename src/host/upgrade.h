/* Another version of atoll on this server: the agent replaces itself.
 *
 * A spec may name the package that is to be installed by its SHA-256 ("atoll"); the bundle then has
 * the address ("package"). It is fetched and checked, and a unit of its own (atoll-upgrade)
 * installs it and starts the agent again: services run on meanwhile and are taken over. A new agent
 * that does not say within a minute that it works is replaced by the one before, which reports that
 * and does not try that package again. What is installed is noted beside its package in
 * <root>/var/lib/atoll: package.deb, package.sha256; by the first boot too.
 *
 * On a pocket server the package is unpacked below the root and the agent executes itself anew; its
 * services are stopped with care and started again.
 */
#pragma once
#include "base/err.h"
#include "base/json.h"
#include "base/time.h"

#define UPGRADE_PACKAGE "var/lib/atoll/package.deb" /* below the root; the agent alone reads it */

typedef struct Upgrade Upgrade;

Upgrade *upgrade_open(const char *root);
Upgrade *upgrade_close(Upgrade *u); /* takes NULL, returns NULL; what it has begun goes on */
/* 0 if what the spec names is installed, or it names none. ERR_TEMPORARY while it is fetched and
 * until this program is ended by it; ERR_IO if that failed; ERR_CONFLICT if the package was tried
 * and did not come up. Blocks for moments. `urls`: of the bundle. */
int upgrade_ready(Upgrade *u, const json_t *spec, const json_t *urls, Msec now,
                  Err *err) _must_check_;
/* Pocket: it is unpacked, and this program should stop its services and execute itself anew. */
bool upgrade_wants_exec(const Upgrade *u);
/* This agent works: the unit that waits for it leaves it in place. */
void upgrade_alive(Upgrade *u);
