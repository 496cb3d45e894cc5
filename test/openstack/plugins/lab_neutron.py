"""Neutron's mechanism driver of the lab: every port is bound at once, with no agent. Those of the host
whose servers are containers get a bridge, which Nova makes."""
from neutron_lib.plugins.ml2 import api

CONTAINERS = "lxc1"  # test/openstack/containers


class Mechanism(api.MechanismDriver):
    connectivity = "l2"

    def initialize(self):
        pass

    def bind_port(self, context):
        kind = "bridge" if context.host == CONTAINERS else "ovs"
        for segment in context.segments_to_bind:
            context.set_binding(segment[api.ID], kind, {"port_filter": True}, status="ACTIVE")
            return
