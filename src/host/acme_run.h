/* `atoll certbot`: the service that gets the island's certificate, and renews it (acme.h).
 *
 * At its start, when its settings have changed, and twice a day it looks whether a new certificate
 * is due, and has certbot ask for it. A failure is logged, noted in state.json (the agent reports
 * it), and tried again later; it is never this program's own: nginx goes on with what it has.
 */
#pragma once
#include "base/err.h"
#include <signal.h>

typedef struct AcmeRun {
    const char *folder;
    const volatile sig_atomic_t *stop;
    volatile sig_atomic_t *again; /* set by SIGHUP: read the settings anew, and look now */
} AcmeRun;
/* 0 when it was stopped. ERR_NOT_FOUND, ERR_CORRUPT: the settings can't be read. */
int acme_run(const AcmeRun *r, Err *err) _must_check_;
