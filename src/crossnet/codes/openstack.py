"""What stops packets at a port of OpenStack Neutron, and what a cloud opens and offers."""

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
        "member-no-more",
        "What the gateway sends by itself does not get to ports any more that admit the members of its groups.",
        "A port whose port security is off is in no security group; the rules with a remote group that names one of "
        "those it was in. Answers still get in.",
        "Write `port-security: least`, or admit the gateway's address in those groups.",
    ),
    Code(
        "port-not-switched",
        "Packets of a port go by the network card, and not all by the cloud's switch.",
        "`openstack port show PORT`: binding_vnic_type is not `normal`, as with SR-IOV.",
        "Try which of pairs and security groups count there, as `crossnet verify` does.",
    ),
    Code(
        "many-address-pairs",
        "A port would have more allowed address pairs than a cloud usually allows.",
        "max_allowed_address_pair in neutron.conf, 10 by default; no API tells it.",
        "Write fewer and larger networks in `to`.",
    ),
    Code(
        "stays-unseen",
        "What crossnet opened at a cloud stays, and stays recorded: it cannot be seen there with these credentials.",
        "The id that the host's record has, the project that it is of, and that of the credentials. A port that those "
        "of its own project, or an administrator, do not see is gone.",
        "Do it again with credentials of that project, or of an administrator.",
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
        "Agree on one name for the entry of clouds.yaml; each has it with credentials of their own.",
    ),
    Code(
        "route-with-lease",
        "A client gets its route from its subnet, with the next DHCP lease, and has none yet.",
        "The spec says `routes: neutron`; the client's main table has no route to a destination by the next "
        "hop.",
        "Have it renew its lease, as the plan and `crossnet status` say, then `crossnet verify`.",
    ),
    Code(
        "address-not-leased",
        "A client that is to get its route with a lease may take none.",
        "`ip addr` shows no end of its address. Some DHCP clients set addresses so (busybox), and so do "
        "leases without an end.",
        "See what configures the interface; where that is no DHCP client, write `routes: host`.",
    ),
    Code(
        "routes-for-all",
        "Every machine of a subnet gets the route that clients need.",
        "`host_routes` are of a subnet, not of a machine (DHCP option 121, RFC 3442).",
        "Nothing where the gateway's fence is on: nobody more gets through. Else write `fence: on`, or "
        "`routes: host`.",
    ),
    Code(
        "subnet-without-dhcp",
        "No machine gets the routes of a subnet that has no DHCP.",
        "`openstack subnet show SUBNET`: enable_dhcp is False.",
        "`openstack subnet set --dhcp SUBNET`, or write `routes: host`.",
    ),
    Code(
        "lease-has-default",
        "A lease with routes names the default route too, and clients ignore its router option.",
        "RFC 3442, DHCP client behaviour. Neutron adds the default route to the others "
        "(neutron/agent/linux/dhcp.py; with OVN ovn_client.py).",
        "Nothing where Neutron or OVN gives the leases; another DHCP server has to add it as well.",
    ),
    Code(
        "many-host-routes",
        "A subnet would offer more routes than a cloud usually allows.",
        "max_subnet_host_routes in neutron.conf, 20 by default; no API tells it.",
        "Write fewer and larger networks in `to`, or `routes: host`.",
    ),
    Code(
        "gateway-takes-lease",
        "The gateway takes leases of the subnet that offers routes through itself.",
        "Its address there has an end. A route through an address of one's own leads onto that interface, "
        "where nobody answers.",
        "Have its DHCP client take no routes there, or set the address for good; or write `routes: host`.",
    ),
    Code(
        "leases-keep-routes",
        "Machines keep a route that their subnet offers no more until they renew their leases.",
        "A DHCP client sets what its last lease said.",
        "Nothing: the gateway lets nothing through for it. Renew the leases where that must be over sooner.",
    ),
    Code(
        "flows-live-on",
        "Flows to services of the gateway itself that a port had admitted go on when it admits them no more.",
        "Neutron lets flows pass that it knows. What goes through the gateway ends: its answers need the address pair.",
        "Nothing, where they may end by themselves; else end them on the gateway: `ss -K`, or restart the service.",
    ),
    Code(
        "host-routes-not-offered",
        "No lease can bring the routes of a crossing.",
        "DHCPv6 has no routes, and a default route is the subnet's `gateway_ip`.",
        "Write `routes: host` for these destinations, in a crossing of their own.",
    ),
    Code(
        "subnet-unknown",
        "A client is in no subnet in which the gateway is, as far as the cloud tells.",
        "The subnets of the network that the gateway's port is in.",
        "Use credentials that see the subnet, or write `routes: host`.",
    ),
    Code(
        "host-routes-differ",
        "Crossings would have one subnet offer two ways to one destination.",
        "The next hops of all crossings with `routes: neutron` that the gateway carries.",
        "Give them the same `next-hop`, or write `routes: host` in one.",
    ),
    Code(
        "host-route-of-others",
        "Somebody else has a subnet offer another way to a destination, or to a part of it.",
        "`openstack subnet show SUBNET`: host_routes.",
        "Remove that entry if nobody needs it, leave that part out of `to` with `except`, or write `routes: host`.",
    ),
)
