/* With --namespaces (as root) each server is in a network namespace of its own, and packets between
 * servers are filtered as the security groups of their ports say.
 *
 *     pk<dir>b<network>   a bridge a network, which has the subnets' gateway addresses: this
 * machine is the router, and "outside" for the rules pk<dir>v<port>      this end of a port's wire;
 * the other one is eth0, eth1... in the namespace, with the port's MAC and fixed address
 *     pk<dir>-<server>    the namespace (in /run/netns)
 *
 * <dir> is a hash of the cloud's folder: what a killed pocket left behind is found by it and
 * removed at the next start. Rules are nftables' table `pocket` in each namespace: in and out
 * dropped unless a rule allows it, answers to what is allowed go through, groups as remotes are the
 * addresses of their ports now. Loopback of a namespace is free, and 127.0.0.1 there has the
 * cloud's services on their ports (forwarded by pocket itself). A floating IP is pocket's forwarder
 * as ever: the server sees its gateway as the client.
 *
 * Not here: IPv6, a way out to other machines, routes between networks, servers with addresses of
 * 127/8 (a namespace has a loopback of its own; give the network another cidr).
 *
 * `ip` and `nft` run as child processes. All calls under pocket's lock; without --namespaces they
 * do nothing.
 */
#pragma once
#include "pocket/pocket.h"

/* Checks that this machine lets us, and removes what an earlier pocket on this folder left.
 * ERR_DENIED without root, ERR_NOT_FOUND without the programs. Sets p->namespaces. */
int netns_open(Pocket *p, Err *err) _must_check_;
void netns_close(Pocket *p);
/* Makes namespaces, wires and rules what the rows say now. */
void netns_sync(Pocket *p);
/* The file that a server's init enters: "/run/netns/..."; to be freed. NULL: none. */
char *netns_path(const Pocket *p, const char *server);

/* One interface of a server, for its rules. */
typedef struct NetnsPort {
    const char *interface; /* "eth0" */
    const json_t *port;
} NetnsPort;
/* Pure: the table for nft(8) of a server with these ports. `rules` and `ports` are all of the
 * cloud. */
void netns_rules(const NetnsPort *own, size_t n, const json_t *rules, const json_t *ports,
                 Buf *ret);
