/* A service whose program is in a container image: podman(1)'s arguments for it.
 *
 * The image is only a file system and a user here. The container has the machine's network, and no
 * control group of its own: what a unit limits (memory, tasks, addresses) holds for all in it, and
 * systemd's kill reaches all of it. Inside nothing can be written but /tmp, which is on the disk,
 * and the application's tmp/, which is in memory; there are no capabilities and no way to new ones.
 *
 * A service is conmon's child: podman starts conmon and leaves, so a container costs 2 MB and not
 * podman's 36. conmon is the unit's main process; it hands on TERM, INT and QUIT and ends with the
 * container's exit status. Other signals go to the container's first process. What runs `once`
 * stays podman's child: it may end before conmon could be told to systemd.
 *
 * The environment goes by a file that only root reads (podman's --env-file): in podman's own
 * environment the island's variables would steer podman.
 */
#pragma once
#include "host/service.h"

/* Of Mastodon's image; another image has its own (Service.image_user, image_args). */
#define CONTAINER_USER "991:991"
#define CONTAINER_FOLDER "/opt/mastodon"
/* The whole of the options before a command of podman: its events would fill the journal. */
#define CONTAINER_PODMAN "--events-backend=none"
/* In an argument of CONTAINER_SERVICE and CONTAINER_ONCE: systemd puts another value there with
 * each start (systemd.exec(5)). It must be replaced by systemd, and nothing else with a '$'. */
#define CONTAINER_START_ID "${INVOCATION_ID}"

typedef enum ContainerUse {
    CONTAINER_SERVICE, /* in a unit of Type=notify; podman leaves */
    CONTAINER_ONCE,    /* in a unit of Type=exec; podman stays, and ends with its exit status */
    CONTAINER_COMMAND  /* beside what runs: a further command in the same release. Its standard
                          input and outputs are podman's own; it ends when podman is told to */
} ContainerUse;

/* The image's name in podman's storage; to be freed. "ref:version"; "ref" alone if it has a digest;
 * of an archive ("oci-archive:FILE") a name of ours. */
char *container_image_new(const json_t *release);
ContainerUse container_use(const Service *s); /* of one that is run by a unit */
/* "podman", its arguments, the image and s->argv. `env_file`: container_env's text. */
void container_argv(const Service *s, ContainerUse use, const char *env_file, StrList *ret);
/* What removes the rest of it, if there is one: "podman" and its arguments. */
void container_remove_argv(const Service *s, StrList *ret);
/* Makes the described command `s` podman's, which its caller then runs as root: argv of
 * CONTAINER_COMMAND, and `mark` ("NAME=value", no secret) in podman's environment and in there. Its
 * own environment is written to `env_file` (root's, 0600; with its folder), each time anew. ERR_IO.
 */
int container_command(Service *s, const char *env_file, const char *mark, Err *err) _must_check_;
/* Its environment as podman reads it, without quotes: values have no line ends (host/env.h). */
void container_env(const Service *s, Buf *ret);
/* The first process in the container whose conmon is `main_pid`; 0 if it is not there. */
pid_t container_init(const Service *s, pid_t main_pid);
/* To that process. SIGTSTP only when what it hands it on to has a handler: without one it would be
 * stopped as at a terminal, and never end. (On the machine itself there is nobody to continue it,
 * so the kernel passes it over; in a container there is, the first process.) */
void container_signal(pid_t init, int sig);
/* The host name in that container: another one with each start of it. ERR_NOT_FOUND. */
int container_host(pid_t init, char ret[static 65], Err *err) _must_check_;
