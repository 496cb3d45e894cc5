/* `atoll host`: the program on every server.
 *
 * It reads <root>/etc/atoll/boot.json, makes its key pair once (<root>/var/lib/atoll/host.key,
 * 0600), says hello, and polls its inbox for bundle last+1 every second (10 s once healthy for 10
 * minutes); each bundle is checked (host/bundle.h), kept (the sealed text, so that a reboot needs
 * no network), turned into services and given to the driver; reports go out when a state changes
 * and every minute. On a real server (root "") it first sees to what the machine itself needs, and
 * reboots it for updates at night (host/machine.h). On SIGTERM it stops services carefully and
 * exits 0. It survives kill -9: services of the child driver die with it and are started again from
 * the kept bundle.
 */
#pragma once
#include "base/err.h"
#include "host/supervisor.h"
#include <signal.h>

typedef struct AgentOptions {
    const char *root; /* "" for a real server */
    const ServiceDriver *driver;
    const volatile sig_atomic_t *stop;
} AgentOptions;
/* 0 when it was stopped; 1 when it has unpacked another version of itself (host/upgrade.h), which
 * is to be executed now. */
int agent_run(const AgentOptions *o, Err *err) _must_check_;
