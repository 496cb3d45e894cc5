/* The releases that are on this server's disk.
 *
 * A canary and a tree are folders, <root>/opt/atoll/releases/<kind>-<version>, made beside and
 * renamed when whole; an image is podman's, with a note beside them that it is there. What a spec
 * names ("release", "fetch", "prepare") is fetched by a child process; nothing here waits. A tree
 * comes from the address in the bundle, and is unpacked if it has the bundle's SHA-256 (tree.h). So
 * does an image whose ref is `oci-archive:FILE`; any other is pulled from its registry, where a tag
 * may be moved: a ref with a digest is the same for ever.
 *
 * So are the search server's image ("search" in the spec) and that of Mastodon's own streaming
 * server
 * ("streaming"), which stay as long as the spec names them.
 *
 * The same child first removes older releases: what the spec names stays, and what ran before it,
 * which <root>/opt/atoll/releases/.ran tells.
 */
#pragma once
#include "base/err.h"
#include "base/json.h"
#include "base/time.h"

typedef struct ReleaseStore ReleaseStore;

/* `canary`: the folder that comes with atoll's package. */
ReleaseStore *release_store_open(const char *root, const char *canary);
ReleaseStore *
release_store_close(ReleaseStore *s); /* takes NULL, returns NULL; ends what it does */
/* 0 when all that the spec names is there. ERR_TEMPORARY, with words for the report, while it is
 * fetched, also again after a first accident; ERR_IO, and why, when that failed thrice or for a
 * reason that another attempt does not mend: it is tried further. `urls`: of the bundle (bundle.h).
 */
int release_store_ready(ReleaseStore *s, const json_t *spec, const json_t *urls, Msec now,
                        Err *err) _must_check_;
/* Where the code of a canary or a tree is; to be freed. */
char *release_folder_new(const char *root, const json_t *release);
