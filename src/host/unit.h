/* A service as a unit of systemd (systemd.service(5), systemd.exec(5)): text, nothing else.
 *
 * What a service may do is closed first and opened where its description asks for it: it sees the
 * system read-only and writes only its own folders, has no capabilities, no devices, no namespaces
 * of its own, and can't reach the metadata address. `systemd-analyze security` rates each at most
 * 3.0 (test/story/boot.py). A service of an image is podman's (host/container.h): its unit has what
 * podman needs to confine it, and is rated at most 3.3; 3.4 where a folder of the image is copied
 * into memory (test/story/boot.py).
 */
#pragma once
#include "host/service.h"

#define UNIT_FOLDER "/run/systemd/system"

/* "atoll-web.service"; to be freed. */
char *unit_name_new(const char *service);
/* `program`: argv[0], or podman, as a path. `env_file`: where the environment is; it is never in
 * the unit, which every user can read. The first line has the service's hash (unit_hash). */
void unit_text(const Service *s, const char *program, const char *env_file, Buf *ret);
/* Of a service with keep_socket two further units (systemd.socket(5)). "atoll-web.socket" listens,
 * also while nobody serves, and the service's unit inherits it (Sockets=). It may not start that
 * service for who connects, because when that happens is the agent's to say: it starts
 * "atoll-web-held.service" instead, once, which does nothing and counts as running for ever. */
char *unit_socket_name_new(const char *service);
char *unit_held_name_new(const char *service);
void unit_socket_text(const Service *s, Buf *ret);
void unit_held_text(const Service *s, Buf *ret);
/* The service's hash in a unit's text; false if there is none. */
bool unit_hash(Str text, char ret[static 17]);
/* The content of the file that EnvironmentFile= names; it may hold secrets. Of an image's it is
 * container_env's. */
void unit_env(const Service *s, Buf *ret);
