/* Files: whole reads with a cap, and writes that are there in full or not at all. */
#pragma once
#include "base/buf.h"
#include "base/err.h"
#include <sys/types.h>

/* Reads a whole file into *ret (a Buf with its cap set; ERR_CORRUPT if the file is larger).
 * ERR_NOT_FOUND, ERR_IO. */
int file_read(const char *path, Buf *ret, Err *err) _must_check_;
/* Writes to a temporary file in the same folder, fsyncs it, renames it over `path`, fsyncs the
 * folder. Mode as given (umask ignored). */
int file_write(const char *path, Str content, unsigned mode, Err *err) _must_check_;
/* As file_write, but the file belongs to that user and group (-1: as it is) from the moment it has
 * its name. Safe in a folder that is not the caller's alone. */
int file_write_as(const char *path, Str content, unsigned mode, uid_t uid, gid_t gid,
                  Err *err) _must_check_;
/* As file_write, but fails with ERR_CONFLICT if `path` exists. */
int file_create(const char *path, Str content, unsigned mode, Err *err) _must_check_;
/* Renames and makes the rename durable (fsync of the folder of `to`). */
int file_rename(const char *from, const char *to, Err *err) _must_check_;
/* The names in a folder outlast a power cut. */
int file_sync_folder(const char *folder, Err *err) _must_check_;
/* ERR_CONFLICT if something has that name, be it a link that leads nowhere. */
int file_absent(const char *path, Err *err) _must_check_;
/* mkdir -p; mode for the folders it makes. */
int file_mkdirs(const char *path, unsigned mode, Err *err) _must_check_;
/* Removes a tree without following symbolic links; a missing one is fine. What is mounted below it
 * is not touched: ERR_IO. */
int file_remove_tree(const char *path, Err *err) _must_check_;
bool file_exists(const char *path);
/* Names in a folder, sorted, without . and ..; ERR_NOT_FOUND. */
int file_list(const char *path, StrList *ret, Err *err) _must_check_;
/* Opens (making it) and locks `path` exclusively, without waiting: ERR_HELD if somebody has it.
 * The lock goes with the descriptor, which is close-on-exec. */
int file_lock(const char *path, int *ret_fd, Err *err) _must_check_;
/* "/a/b" + "c" -> "/a/b/c"; to be freed. */
char *path_join(const char *a, const char *b);
/* True if a path that came from elsewhere stays below the folder that it is joined to: relative,
 * with no empty part, no "." and "..", and no control characters. */
bool path_is_inner(const char *path);
/* The folder of a path: "/a/b" -> "/a", "b" -> ".", "/b" -> "/"; to be freed. */
char *path_folder(const char *path);
/* $XDG_CONFIG_HOME/atoll or ~/.config/atoll, $XDG_CACHE_HOME/atoll or ~/.cache/atoll: to be freed;
 * not created. NULL when there is no home. */
char *path_config(void);
char *path_cache(void);
