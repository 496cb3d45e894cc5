/* What a real server needs beside its services, before they start: Debian's packages, users, who
 * may log in, limits for the journal, security updates, and the metadata address closed.
 *
 * For a server whose root is "": on a pocket server the machine is somebody's own, and nothing here
 * is called. Everything is made from the bundle's spec, is looked at first, and is changed only
 * where it is not so already: a server that has everything needs no network, and a few
 * milliseconds. What takes long (apt-get) is a child process. Nothing here blocks for more than
 * 200 ms, and nothing is done twice at once.
 *
 * Programs of Debian's packages are run by atoll, as services with files of their own. So the
 * units that the packages bring (nginx.service and so on) are masked before they come, and
 * PostgreSQL makes no cluster. That stays so: an update must not start them either.
 *
 * The metadata address (169.254.169.254, fe80::a9fe:a9fe) is closed to every user but root, and to
 * what is forwarded, by the nftables table `inet atoll`. It holds user_data, with the bootstrap
 * key. The table goes with a reboot; the agent makes it again before it starts a service.
 *
 * Security updates are unattended-upgrades', from Debian's security archive alone. It never
 * reboots; the agent does, see machine_reboot_due. Programs that run take their update with their
 * next start.
 */
#pragma once
#include "base/err.h"
#include "base/json.h"
#include "base/time.h"

typedef struct Machine Machine;
/* `root`: "" on a real server; tests give a folder. `path`: where programs are searched, as in
 * $PATH; NULL: the system's. Both are copied. `now`: time_mono. */
Machine *machine_new(const char *root, const char *path, Msec now);
/* What runs (apt-get) runs on to its end. Takes NULL, returns NULL. */
Machine *machine_free(Machine *m);

/* 0 when all is there that a server with this spec needs. Else ERR_TEMPORARY: something is being
 * done ("installing nginx-light, ruby"), or has failed and is tried again, 5 s later at first and
 * 5 min later at last; the text has the last words of the program that failed. To be called until
 * it is 0, and once for each new spec. `now`: time_mono. */
int machine_ready(Machine *m, const json_t *spec, Msec now, Err *err) _must_check_;
/* Something is being done, and nothing has failed yet: the time this takes is no fault of the
 * server's. At most half an hour. */
bool machine_working(const Machine *m, Msec now);

/* One turn of what is looked after while services run. Every 5 minutes the metadata address is
 * closed again, in case somebody has flushed the rules; and the machine is rebooted when it is due.
 * ERR_IO in words for the log. `key`: the server's, "web.0". `now`: time_mono; `wall`: time_now. */
int machine_tick(Machine *m, const char *key, Msec now, Msec wall, Err *err) _must_check_;

/* While it is at something that a reboot would end in the middle, updates wait for another night.
 * So they do while somebody, here or on another server, migrates the database that is here. */
void machine_busy(Machine *m, bool busy);

/* Whether a reboot that updates ask for (/run/reboot-required) is made now: between 03:00 and 05:00
 * UTC, from a minute of the first of these hours on that depends on the server's key. Servers of
 * one tier ("web.0", "web.1") have different minutes, as long as there are at most 60. Never within
 * 3 hours after `started`, so that a server reboots once a night at most. Pure. */
bool machine_reboot_due(bool required, Msec now, const char *key, Msec started);
