"""What stops packets where a host receives them and chooses their way on."""

from __future__ import annotations

from crossnet.codes.code import Code

GATEWAY = (
    Code(
        "ip-forward-disabled",
        "The gateway does not forward packets.",
        "net.ipv4.ip_forward, or IPv6's net.ipv6.conf.all.forwarding, is 0 on the gateway.",
        "Run `crossnet apply`, which also writes it for the next boot.",
    ),
    Code(
        "interface-forwarding-disabled",
        "An interface does not forward what comes in by it, though the host forwards.",
        "net.ipv4.conf.INTERFACE.forwarding is 0.",
        "`sysctl -w net.ipv4.conf.INTERFACE.forwarding=1`, and the same in /etc/sysctl.d.",
    ),
    Code(
        "reverse-path-filter",
        "A host drops packets whose source it would answer by another interface.",
        "The greater of rp_filter of `all` and of the interface, and the route back to the source.",
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
        "For the destination, the routing tables that its policy rules lead to hold no route, or a blackhole.",
        "Add the route on the gateway first: `ip route add NETWORK via ADDRESS dev INTERFACE`.",
    ),
    Code(
        "route-blackhole",
        "A blackhole route drops packets, and nobody is told.",
        "The route that wins, and the policy rule that looks in its table.",
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
        "A policy rule of somebody else leads packets of the crossing elsewhere, and no rule can come before it.",
        "`ip rule` on the host: it has the priority 0 or 1, or too many rules would be needed.",
        "Give that rule a higher priority number, or exclude the crossing's packets from it.",
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
        "A rule that sets it, or the number of hosts on the way.",
        "Rule out a forwarding-loop; remove the rule that lowers it.",
    ),
    Code(
        "mtu-exceeded",
        "Packets are longer than what the interface or the route can carry.",
        "The MTU of the link and of the route, against the packets' length.",
        "`ip link set INTERFACE mtu NUMBER` where the network allows it, or clamp TCP's segments to the "
        "path's MTU.",
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
