/* The output of a service: <folder>/<service>.log, at most SERVICE_LOG_MAX bytes and one old file
 * (<service>.log.1). */
#pragma once
#include "base/err.h"

#define SERVICE_LOG_MAX ((int64_t)10 << 20)

/* For appending; close-on-exec. */
int service_log_open(const char *folder, const char *service, int *ret_fd, Err *err) _must_check_;
/* If it has grown too large: its content becomes the old file, and it starts again from nothing.
 * The service keeps its descriptor; a line written during the copy may be lost. */
void service_log_rotate(const char *folder, const char *service);
