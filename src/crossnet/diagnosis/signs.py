"""What codes, errors and settings mean where a flow is judged."""

from __future__ import annotations

from collections.abc import Mapping

# What a host leads another way, or nowhere.
LEADS_ELSEWHERE = frozenset(
    {
        *("src-route-other-next-hop", "src-route-on-link", "policy-rule-diverts", "gateway-route-elsewhere"),
        *(
            "src-no-route",
            "no-route",
            "route-blackhole",
            "route-unreachable",
            "route-prohibit",
            "return-route-elsewhere",
        ),
        *("no-return-route", "forwarding-loop"),
    }
)

# Connections of which one may still be on its way.
ENOUGH = 2

# What gives packets another destination.
REWRITES = frozenset({"dnat-captures"})

# As whom a gateway lets packets leave.
UNSUITABLE = frozenset({"snat-missing", "snat-skipped", "snat-address-not-local", "snat-address-unsuitable"})

STRANGERS = frozenset({"snat-address-not-local", "snat-address-unsuitable"})

# Why a host does not answer for its address.
KEEPS_FROM_ANSWERING = frozenset(
    {
        *("link-down", "address-missing", "arp-not-answered", "reverse-path-filter", "martian-source"),
        *("no-route", "route-blackhole", "prefix-mismatch", "next-hop-elsewhere"),
    }
)

# What keeps packets from leaving a host, by any interface.
ENDS_THERE = frozenset(
    {
        *("src-no-route", "src-output-filtered", "no-route", "route-blackhole", "route-unreachable"),
        *("route-prohibit", "ip-forward-disabled", "interface-forwarding-disabled", "reverse-path-filter"),
        *("martian-source", "filter-rule-drop", "filter-policy-drop", "filter-reject", "ipsec-policy-drop"),
        *("conntrack-table-full", "queue-without-listener"),
    }
)

# What stops packets at a port of a cloud: outside of the host that is plugged into it.
AT_PORTS = frozenset({"neutron-antispoof-source", "neutron-security-group", "neutron-port-down"})

# What of it stops questions for neighbours too (of Neutron's iptables driver, measured).
OFF = frozenset({"neutron-port-down"})

# What tells the sender that its packets are not wanted.
REFUSES = frozenset({"filter-reject", "route-unreachable", "route-prohibit"})

# What may stop packets behind all rules, where connection tracking knows them already: also by stopping ARP.
BEHIND_RULES = frozenset({"tc-or-xdp-drop", "ipsec-policy-drop", "next-hop-unresolved"})

# What a host's error tells of another one, of which its facts say nothing.
OF_OTHERS = frozenset({"destination-absent", "next-hop-unresolved"})

# What perhaps stops some packets and lets others pass.
PERHAPS = frozenset(
    {
        *("filter-rule-drop", "filter-reject", "filter-policy-drop", "src-output-filtered"),
        *("queue-without-listener", "tc-or-xdp-drop", "conntrack-table-full", "conntrack-invalid"),
    }
)

# RFC 792, RFC 1812: what the type and the code of an error mean.
ERRORS: Mapping[tuple[int | None, int | None], str] = {
    (3, 0): "no-route",
    (3, 1): "destination-absent",
    (3, 3): "filter-reject",
    (3, 4): "mtu-exceeded",
    (3, 9): "filter-reject",
    (3, 10): "filter-reject",
    (3, 13): "filter-reject",
    (11, 0): "ttl-expired",
    (1, 0): "no-route",
    (1, 3): "destination-absent",
    (1, 1): "filter-reject",
    (2, 0): "mtu-exceeded",
}


# The queues that an interface has of itself (net.core.default_qdisc).
USUAL_QUEUES = ("noqueue", "noop", "mq", "pfifo_fast", "fq_codel", "fq")

PORT_UNREACHABLE = ((3, 3), (1, 4))
