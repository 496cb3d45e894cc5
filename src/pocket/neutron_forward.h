/* Forwards TCP from floating addresses to servers' addresses: what a router's NAT does.
 *
 * One thread with poll(2) listens on every route and copies bytes both ways; a side that has ended
 * its half is ended on the other side too, and the other half goes on. Ports that may not be bound
 * (below 1024 for a plain user) are skipped with a log line; one that somebody else has is tried
 * again every second. Connections of a route that is taken away are cut (as Neutron's agent drops
 * the tracked connections of a floating IP that moves); those that wait to be accepted go where it
 * is now.
 *
 * Limits: 256 connections, 32 kB of memory each; above that new ones wait in the listen queue. The
 * server sees them come from 127.0.0.1, not from the client.
 *
 * Thread: all calls may come from any thread, one at a time.
 */
#pragma once
#include "base/err.h"
#include "base/vec.h"

typedef struct ForwardRoute {
    char from[16], to[16]; /* IPv4 addresses */
    char netns[96];        /* file of the network namespace that `from` is in; "": ours */
    int port;              /* on both */
} ForwardRoute;
typedef VEC(ForwardRoute) ForwardRoutes;

typedef struct Forward Forward;

int forward_open(Forward **ret, Err *err) _must_check_; /* ERR_IO */
/* Makes the set of routes exactly this; copies; does not wait. */
void forward_set(Forward *f, const ForwardRoute *routes, size_t n);
/* Waits until the last set listens (2 s at most). */
void forward_settle(Forward *f);
/* Cuts all and ends the thread. Takes NULL, returns NULL. */
Forward *forward_close(Forward *f);
