/* Archives of releases of the kind `tree` (release.h), and of images that are an archive
 * (`oci-archive:FILE`), in the boot container.
 *
 * An archive is one object, <island>-boot/release-<version>.tar.gz, written once (If-None-Match)
 * and never changed: another archive is another version. Its content type says what it is:
 *
 *   application/vnd.atoll.tree; sha256=<64 hex>; mac=<64 hex>
 *
 * The MAC is HMAC-SHA256, with a key that only the vault gives, over "<version>/<sha256>": whoever
 * may write into the container can't make a host run an archive of theirs. A bundle brings a
 * TempURL and the SHA-256 for each tree that its spec names (bundle.h), and the host compares
 * before it unpacks.
 */
#pragma once
#include "cloud/cloud.h"
#include "host/vault.h"

/* Before the name of a file in a release's ref: an image that was saved into it. */
#define TREE_IMAGE_FILE "oci-archive:"
/* Swift takes 5 GiB as one object. */
#define TREE_MAX_BYTES ((int64_t)4000000000)

typedef struct TreeInput {
    Cloud *cloud;
    const char *island;
    const char *file, *file_version; /* an archive on this machine, and of what; or NULL */
    json_t *known; /* {version: sha256}: what was found good in this run; added to. Or NULL */
} TreeInput;

/* True for a release that comes from an archive: a tree, or an image that is one. */
bool tree_is_needed(const json_t *release);
/* "release-v4.7.6.tar.gz", an image's too; to be freed. */
char *tree_name(const char *version);
/* ERR_PREFLIGHT if the archive at `path` can't be one: not there, no file, too large. */
int tree_file_check(const char *path, Err *err) _must_check_;
/* Is there an archive of that version in the container, good or not? */
int tree_is_there(Cloud *cloud, const char *island, const char *version, bool *ret,
                  Err *err) _must_check_;
/* Brings it about that the version's archive is in the container, from in->file if that is of this
 * version. ERR_CONFLICT if the file is another archive than the one there; ERR_DENIED if what is
 * there was not put there with this vault; ERR_PREFLIGHT without either. *ret_sha256 to be freed.
 */
int tree_put(const TreeInput *in, const Vault *v, const char *version, char **ret_sha256,
             Err *err) _must_check_;
/* For each tree that a host's spec names ("release", "prepare", "fetch"): {version: {"url",
 * "sha256"}}. Errors as tree_put. */
int tree_urls(const TreeInput *in, const Vault *v, const json_t *spec, Msec expires, json_t **ret,
              Err *err) _must_check_;
/* Removes all archives but those of the releases in `keep`, an array. */
int tree_prune(Cloud *cloud, const char *island, const json_t *keep, Err *err) _must_check_;
