"""What stops packets at a port of OpenStack Neutron."""

from __future__ import annotations

from crossnet.codes.code import Code

OPENSTACK = (
    Code(
        "neutron-antispoof-source",
        "A port drops packets that come from addresses that it does not own; at a gateway, the destinations' answers.",
        "One host sends it and the next does not get it; the source is none of the port's addresses and in none of its "
        "`allowed_address_pairs`, and port security is on.",
        "`openstack port set --allowed-address ip-address=NETWORK PORT`; or, where that is permitted, `openstack "
        "port set --no-security-group --no-allowed-address --disable-port-security PORT`.",
    ),
    Code(
        "neutron-antispoof-destination",
        "The gateway's port drops requests, because they go to addresses that the port does not own.",
        "The client sends and the gateway gets nothing, though it answers for its own address. Only OVN checks that, "
        "and the API does not tell whether it is there: a candidate, never more.",
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
        "`openstack port show PORT`: its admin state is down. The status `DOWN` or `ERROR` is a doubt only, and none "
        "where packets came in by it.",
        "`openstack port set --enable PORT`; detach and attach one that is not bound.",
    ),
    Code(
        "port-may-send",
        "The gateway's port may send packets that come from other addresses than its own.",
        "The allowed address pairs that the plan gives it: destinations where clients are, clients where nothing is "
        "translated.",
        "It is what answers need; a narrower `to` opens less. A program on the gateway could send in their name.",
    ),
    Code(
        "port-admits",
        "The gateway's port takes what the clients send by the crossing.",
        "A security group of crossnet's own, which no other rule names.",
        "Nothing; a narrower `allow` admits less.",
    ),
    Code(
        "port-security-off",
        "A port sends from any address and takes what anybody sends.",
        "Its port security is off, or the spec says `port-security: disable`.",
        "Leave `port-security: least`; where it was off before, `openstack port set --enable-port-security "
        "--security-group GROUP PORT`.",
    ),
    Code(
        "pairs-in-shared-group",
        "What the gateway's port may send gets in on the ports of a security group that admits its members.",
        "A rule with a remote group counts the allowed address pairs of its members too.",
        "Give the gateway's port a group that no rule names, or make `to` narrower.",
    ),
    Code(
        "cloud-unasked",
        "A cloud was not asked for the ports of a host, or did not answer.",
        "What the cloud, or its library, said.",
        "Do what the message says; or take `openstack` out of the spec, and open the ports by other means.",
    ),
    Code(
        "port-unknown",
        "A cloud does not tell which port an interface of the gateway is plugged into.",
        "The ports with its hardware address that these credentials may see.",
        "Use credentials of the project of that port, or write `port-security: leave`.",
    ),
    Code(
        "cloud-cannot",
        "A cloud has no means to open a port in the way that is asked for.",
        "Its list of extensions: `port-security`, `allowed-address-pairs`.",
        "Write another `port-security`, as the message says.",
    ),
    Code(
        "several-clouds",
        "The crossings of a gateway name several clouds.",
        "`openstack` in the specs that stand there.",
        "Name the one that the gateway is a machine of.",
    ),
)
