"""What drops or refuses packets: rules of a firewall, and what works beside them."""

from __future__ import annotations

from crossnet.codes.code import Code

FILTERS = (
    Code(
        "filter-rule-drop",
        "A rule drops packets, or does something that can drop them.",
        "The rules of the chain that is named, walked with these packets; what could not be known stands after "
        "`if`. Packets reach the host and do not leave it, and the rule's counter rises where it has one.",
        "Put a rule that accepts before that one, in its owner's own tool: firewalld, ufw, docker, "
        "iptables or nft.",
    ),
    Code(
        "filter-policy-drop",
        "No rule of a chain accepts packets, and the chain's policy drops them.",
        "The chain that is named, walked with these packets.",
        "Accept them there: new ones on the way there, `ct state established,related` on the way back.",
    ),
    Code(
        "filter-reject",
        "A rule refuses packets, and tells their sender.",
        "The rules of the chain that is named, walked with these packets.",
        "Put a rule that accepts before that one, in its owner's own tool.",
    ),
    Code(
        "queue-without-listener",
        "A rule gives packets to a program, which decides; without the program they are dropped.",
        "A rule with `queue` or `NFQUEUE` and without `bypass` meets these packets; "
        "/proc/net/netfilter/nfnetlink_queue shows who listens.",
        "Start the program, add `bypass` to the rule, or exclude the crossing from the rule.",
    ),
    Code(
        "conntrack-invalid",
        "A rule drops packets that belong to no connection which the host has seen begin.",
        "A rule with `ct state invalid`, or one that accepts known connections only, and a path on which the host sees "
        "one direction alone.",
        "Let requests and answers take the same way: translate the source on the gateway, or correct the route where "
        "the answers go astray. Keep the rule.",
    ),
    Code(
        "conntrack-table-full",
        "The connection tracking table is full: packets of new flows are dropped.",
        "net.netfilter.nf_conntrack_count has reached nf_conntrack_max.",
        "`sysctl -w net.netfilter.nf_conntrack_max=NUMBER`, and the same in /etc/sysctl.d.",
    ),
    Code(
        "tc-or-xdp-drop",
        "A program or a filter at an interface sees packets before or after all rules, and may drop them.",
        "XDP at the link, a filter or classifier of tc, or a queue that drops; what it does is not read.",
        "`tc filter show dev INTERFACE ingress`, `ip link set dev INTERFACE xdp off`; ask its owner.",
    ),
    Code(
        "ipsec-policy-drop",
        "An IPsec policy applies to these packets, and may drop them or send them another way.",
        "`ip xfrm policy` on the host.",
        "Exclude the crossing in the IPsec configuration.",
    ),
)
