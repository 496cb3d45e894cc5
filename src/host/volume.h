/* The data volume of a server.
 *
 * Nova attaches it as /dev/disk/by-id/virtio-<first 20 characters of its id> (the serial that
 * libvirt's virtio disks carry). There it is a block device: it gets an ext4 file system if it is
 * blank, and only then, is mounted, and grows to the size of the device each time it is asked for.
 * On a pocket server it is a link to a folder, used as it is.
 */
#pragma once
#include "base/err.h"

/* Lets go of the volume, if it is mounted, so that it can be detached. ERR_TEMPORARY while
 * something still uses it. */
int volume_release(const char *root, Err *err) _must_check_;
/* *ret: the folder that data goes to, to be freed: the mounted volume, or <root>/srv/atoll when
 * volume_id is NULL. ERR_TEMPORARY when the volume is not attached yet; ERR_CONFLICT when it holds
 * something that is not a mountable file system: it is never formatted then. */
int volume_folder(const char *root, const char *volume_id, char **ret, Err *err) _must_check_;
