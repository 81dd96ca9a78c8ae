"""What stops packets at a port of OpenStack Neutron."""

from __future__ import annotations

from crossnet.codes.code import Code

OPENSTACK = (
    Code(
        "neutron-antispoof-source",
        "The gateway's port drops answers, because they come from addresses that the port does not own.",
        "The gateway sends the answer and the client does not get it; port security is on, and the destination is "
        "in no `allowed_address_pairs` of the port.",
        "`openstack port set --allowed-address ip-address=NETWORK PORT`; or, where that is permitted, `openstack "
        "port set --no-security-group --no-allowed-address --disable-port-security PORT`.",
    ),
    Code(
        "neutron-antispoof-destination",
        "The gateway's port drops requests, because they go to addresses that the port does not own.",
        "The client sends and the gateway gets nothing, though it answers for its own address; OVN checks both "
        "directions.",
        "`openstack port set --allowed-address ip-address=NETWORK PORT`, on the gateway's port towards the clients.",
    ),
    Code(
        "neutron-security-group",
        "No rule of a port's security groups admits the packets.",
        "One end sends and the other gets nothing; the rules of the port's groups, those with remote groups "
        "included.",
        "`openstack security group rule create --ingress --protocol PROTOCOL --dst-port PORT --remote-ip SOURCE "
        "GROUP`.",
    ),
    Code(
        "neutron-port-down",
        "A port is switched off, or is bound to no host.",
        "`openstack port show PORT`: its status is not ACTIVE, or its admin state is down.",
        "`openstack port set --enable PORT`; detach and attach one that is not bound.",
    ),
)
