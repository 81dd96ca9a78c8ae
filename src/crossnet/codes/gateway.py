"""What stops packets where a host receives them and chooses their way on."""

from __future__ import annotations

from crossnet.codes.code import Code

GATEWAY = (
    Code(
        "ip-forward-disabled",
        "The gateway does not forward packets.",
        "net.ipv4.ip_forward, or IPv6's net.ipv6.conf.all.forwarding, is 0 on the gateway. Packets come in, nothing "
        "leaves, nobody is told, and Ip.InAddrErrors rises.",
        "Run `crossnet apply`, which brings its fence too, and writes it for the next boot. By hand, `sysctl -w "
        "net.ipv4.ip_forward=1` lets everybody pass, where no rules keep others out.",
    ),
    Code(
        "interface-forwarding-disabled",
        "An interface does not forward what comes in by it, though the host forwards.",
        "net.ipv4.conf.INTERFACE.forwarding is 0. On the ingress that stops the requests, on the egress the answers.",
        "Run `crossnet apply`. By hand, `sysctl -w net.ipv4.conf.INTERFACE.forwarding=1` lets everybody pass by that "
        "interface, where no rules keep others out.",
    ),
    Code(
        "reverse-path-filter",
        "A host drops packets whose source it would answer by another interface.",
        "The greater of rp_filter of `all` and of the interface, and the route back to the source; "
        "TcpExt.IPReversePathFilter rises. Questions for a neighbour are left unanswered too.",
        "Give the host a route to the source by that interface, or `sysctl -w "
        "net.ipv4.conf.INTERFACE.rp_filter=2`.",
    ),
    Code(
        "martian-source",
        "No packet can come from such a source: it is the host's own address, no host's address, or one that is "
        "never forwarded.",
        "The host's addresses, and the type of the route to the source.",
        "Remove the address from the host that should not have it, or give the sender another one.",
    ),
    Code(
        "no-route",
        "The gateway, or another host on the way, has no route to where packets should go.",
        "For the destination, the routing tables that its policy rules lead to hold no route, or a blackhole; the "
        "host answers that the network is unreachable.",
        "Add the route on the gateway first: `ip route add NETWORK via ADDRESS dev INTERFACE`.",
    ),
    Code(
        "route-blackhole",
        "A blackhole route drops packets, and nobody is told.",
        "The route that wins, and the policy rule that looks in its table; a client with such a route is told "
        "`Invalid argument` by its own kernel.",
        "`ip route del blackhole NETWORK`, or add a more specific route.",
    ),
    Code(
        "route-unreachable",
        "An unreachable route refuses packets, and their sender is told that the host cannot be reached.",
        "The route that wins, and the policy rule that looks in its table.",
        "`ip route del unreachable NETWORK`, or add a more specific route.",
    ),
    Code(
        "route-prohibit",
        "A prohibit route or policy rule refuses packets, and their sender is told so.",
        "The route that wins, or the policy rule.",
        "`ip route del prohibit NETWORK`, `ip rule del pref NUMBER`, or add a more specific route.",
    ),
    Code(
        "route-not-told",
        "A route takes packets, and the host's tools do not show all of it.",
        "The route as the host's `ip` prints it; busybox's, for one, does not show several next hops.",
        "Install iproute2 on the host, or give that route a single next hop.",
    ),
    Code(
        "policy-rule-diverts",
        "A policy rule of somebody else leads packets elsewhere; where it is why there is no plan, no rule of "
        "crossnet's can come before it.",
        "`ip rule` on the host, and the table that the rule looks in. There is no plan where its priority is 0 or 1, "
        "or where too many rules would be needed.",
        "Give that rule a higher priority number, exclude the crossing's packets from it, or remove it: `ip rule del "
        "pref NUMBER`.",
    ),
    Code(
        "forwarding-loop",
        "Packets come back to a host unchanged.",
        "The routes of the hosts that they pass.",
        "Correct the route of the host that sends them back.",
    ),
    Code(
        "ttl-expired",
        "The packets' time to live runs out at a host that should forward them.",
        "A rule that sets it, the sender's ip_default_ttl, or the number of hosts on the way; the sender is told that "
        "the time was exceeded, and Ip.InHdrErrors rises.",
        "Rule out a forwarding-loop; remove the rule that lowers it; `sysctl -w net.ipv4.ip_default_ttl=64` on the "
        "sender.",
    ),
    Code(
        "mtu-exceeded",
        "Packets are longer than what the interface or the route can carry.",
        "The MTU of the link and of the route, against the packets' length. Small packets pass; the sender of a large "
        "one that must not be cut is told the MTU.",
        "`ip link set INTERFACE mtu NUMBER` where the network allows it, or clamp TCP's segments to the "
        "path's MTU.",
    ),
    Code(
        "pmtu-black-hole",
        "Large packets are lost, and their sender is never told that they are too large.",
        "A small packet passes, a large one does not, and no ICMP `fragmentation needed` comes back; the MTU on the "
        "way, and rules that drop ICMP.",
        "Let ICMP `fragmentation-needed` (`packet-too-big` in IPv6) pass, or clamp TCP's segments to the path's MTU; "
        "set the same MTU on both ends of a segment.",
    ),
    Code(
        "gateway-route-elsewhere",
        "The gateway has a route, and it leads elsewhere than the crossing: out by another interface, or to another "
        "next hop.",
        "`ip route get DESTINATION from CLIENT iif INGRESS` on the gateway; for the answers, the same for the client. "
        "The packet, or a question for a neighbour, leaves that way.",
        "Remove the route that wins, or make the right one win: `ip route replace DESTINATION dev EGRESS`.",
    ),
    Code(
        "destination-is-local",
        "The gateway, or the client itself, has the destination's address, or a route that makes it its own, and takes "
        "the packets.",
        "The address lists of the hosts, and routes of type `local` that no address has brought. It may even answer, "
        "with a time to live that no router has lowered; nothing leaves for the destination.",
        "`ip address del ADDRESS dev INTERFACE` on the host that should not have it, or "
        "`ip route del local NETWORK dev lo`.",
    ),
    Code(
        "stopped-on-gateway",
        "The gateway admitted the flow, and it did not get as far as leaving the gateway.",
        "The crossing's counters, and connection tracking, which knows a flow only when it has passed all rules; "
        "or the interface to the destination sent nothing.",
        "Look at others' rules after crossnet's own on the gateway, also in postrouting and tc; accept the "
        "crossing in their owner's own tool.",
    ),
)
