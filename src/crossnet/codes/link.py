"""What stops packets on a segment between two hosts: links, addresses, neighbours."""

from __future__ import annotations

from crossnet.codes.code import Code

LINK = (
    Code(
        "link-down",
        "An interface on the way is down or has no carrier, or IPv6 is off on it.",
        "The flags of the interface, its disable_ipv6, and an MTU below 1280.",
        "`ip link set INTERFACE up`; without a carrier, check the cable or the port. Its routes have to be added "
        "again.",
    ),
    Code(
        "address-missing",
        "A host does not have the address that others send to.",
        "The address list of the host; questions for the address reach it, and it does not answer.",
        "`ip address add ADDRESS/LENGTH dev INTERFACE`, and the same in the host's own network configuration.",
    ),
    Code(
        "prefix-mismatch",
        "Two hosts on one segment disagree on how large its network is.",
        "Their addresses there have different prefix lengths, so that one of them looks for the other elsewhere.",
        "On the wrong one, `ip address add ADDRESS/LENGTH dev INTERFACE`, then `ip address del` for the old one.",
    ),
    Code(
        "duplicate-address",
        "Two machines on one segment have the same address.",
        "Two hardware addresses answer for it, or its packets go to another one than the host's own.",
        "`arping -D -I INTERFACE ADDRESS` finds the second one; give it another address.",
    ),
    Code(
        "wrong-destination-mac",
        "Frames are sent to a hardware address that the next hop does not have.",
        "A permanent or stale entry in the sender's list of neighbours; the frame, where it can be seen, is for "
        "somebody else.",
        "On the sender, `ip neigh del ADDRESS dev INTERFACE`.",
    ),
    Code(
        "arp-not-answered",
        "A host has the address that is asked for, and does not answer for it on that interface.",
        "arp_ignore and arp_filter of the interface, rules for ARP, and where the address is; the question is seen "
        "there, and no answer.",
        "`sysctl -w net.ipv4.conf.INTERFACE.arp_ignore=0`, the same of `all`, remove the rule, or give the interface "
        "an address of its own.",
    ),
    Code(
        "partial-loss",
        "Some packets pass and some do not, and there is no order in it.",
        "Several packets of one kind with different fates, and a rule or a queue that drops by chance or by rate: "
        "`statistic`, `random`, `limit`, a policer.",
        "Remove the limit or widen it, in its owner's own tool.",
    ),
    Code(
        "lost-between",
        "One host sends packets, the next one does not get them, and nothing on either is known to stop them.",
        "Both ends were watched, or, where only `crossnet verify` looked, the crossing's counter on the gateway did "
        "not move and connection tracking has no such flow.",
        "Look at what lies between: a switch, a VLAN, a port of the cloud. Then at the client's route, and at other "
        "rules on the gateway.",
    ),
)
