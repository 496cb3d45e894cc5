/* The services' ports: kept in DIR/ports.json, so that the URLs a client has stay valid over
 * restarts. */
#pragma once
#include "pocket/pocket.h"

/* Listens for every service on 127.0.0.1: from `base` on if it is not 0, else where it was last
 * time, else on free ports. Fills p->port. ERR_CONFLICT when a kept or asked-for port is taken:
 * moving away silently would break whoever has the URL. */
int ports_listen(Pocket *p, int base, int ret_fds[static POCKET_SERVICES], Err *err) _must_check_;
