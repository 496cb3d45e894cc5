/* Servers that run: a server is a folder, an address of loopback, and a tree of processes.
 *
 *     DIR/servers/ID/root/        the server's disk (0711); user_data runs in it
 *     DIR/servers/ID/root.new/    what the next boot makes its root: after a rebuild
 *     DIR/servers/ID/user_data    the metadata service's copy (0600)
 *     DIR/servers/ID/boot         environment of the next boot, a line each (0600)
 *     DIR/servers/ID/console.log  standard output and error of everything (0600)
 *     DIR/servers/ID/lock         held by its init
 *
 * Power is a process: pocket starts `atoll-pocket --server-init ID`, which boots, collects orphans
 * (it is their subreaper) and holds the end of a pipe to pocket as its standard input. When the
 * pipe ends, for whatever reason, the whole tree is killed: kill -9 of pocket is a power cut of
 * every server. (PR_SET_PDEATHSIG would follow the thread that forked, and here that thread belongs
 * to a connection.) server_off kills the tree from outside.
 *
 * A boot runs root/var/lib/atoll/boot if it is executable (what a real server's init would start),
 * else user_data if it begins with "#!", with the root as its folder and this environment: PATH,
 * HOME and ATOLL_ROOT (the root folder), LANG, ATOLL_ADDRESS, ATOLL_HOSTNAME, ATOLL_BOOT_ID
 * (another one each boot, as Linux has it), ATOLL_VOLUMES ("id=folder:id=folder"). Volumes are also
 * links root/dev/disk/by-id/virtio-<first 20 characters of the id>, as udev names them on a real
 * server. A server stays on when nothing runs in it.
 *
 * Everything runs as the user pocket runs as, and is confined by nothing but its network namespace,
 * with --namespaces (netns.h).
 *
 * Thread: under pocket's lock. One pocket a process.
 */
#pragma once
#include "pocket/pocket.h"

typedef struct ServerSpec {
    const char *id, *name;
    const char *address;   /* NULL: none */
    const json_t *volumes; /* array of volume ids */
} ServerSpec;

/* main() for `atoll-pocket --server-init ID [NETNS]`: argv as there. Returns the exit code. */
int server_init_main(int argc, char **argv);

/* Removes the folders in DIR/`what` that belong to no row of this kind: requests that a crash cut
 * off before they were committed. */
void server_sweep(Pocket *p, const char *what, const char *kind);
/* Makes the folder and keeps user_data (not base64; may be empty). */
int server_make(Pocket *p, const char *id, Str user_data, Err *err) _must_check_;
/* Switches it on; one that is on is switched off first. */
int server_on(Pocket *p, const ServerSpec *spec, Err *err) _must_check_;
bool server_is_on(const char *id);
/* A power cut; its folder stays. */
void server_off(const char *id);
void server_all_off(void);
/* Asks what runs to end (SIGTERM to the boot's own process, 10 s), then boots again. Does not
 * wait. False: it is not on. */
bool server_restart(Pocket *p, const ServerSpec *spec);
/* A new, empty root with this user_data for the next boot. One that is on boots at once, after what
 * runs was asked to end as in server_restart. Its volumes stay. Does not wait. */
int server_rebuild(Pocket *p, const ServerSpec *spec, Str user_data, Err *err) _must_check_;
/* A power cut, and the folder is removed. */
void server_remove(Pocket *p, const char *id);
/* Plugs in exactly these volumes while it runs; the environment is as it was until the next boot.
 */
int server_plug(Pocket *p, const char *id, const json_t *volumes, Err *err) _must_check_;
/* The last lines of the console log (0: as many as are kept), at most 100 kB; appended as UTF-8. */
void server_console(Pocket *p, const char *id, int64_t lines, Buf *ret);
