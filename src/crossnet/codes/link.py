"""What stops packets on a segment between two hosts: links, addresses, neighbours."""

from __future__ import annotations

from crossnet.codes.code import Code

LINK = (
    Code(
        "link-down",
        "An interface on the way is down, or IPv6 is off on it.",
        "The flags of the interface, its disable_ipv6, and an MTU below 1280.",
        "`ip link set INTERFACE up`; without a carrier, check the cable or the port. Its routes have to be added "
        "again.",
    ),
    Code(
        "arp-not-answered",
        "A host has the address that is asked for, and does not answer for it on that interface.",
        "arp_ignore of the interface, and where the address is.",
        "`sysctl -w net.ipv4.conf.INTERFACE.arp_ignore=0`, or give the interface an address of its own.",
    ),
    Code(
        "lost-between",
        "The client sent, and the gateway's rule for the crossing did not see a new flow.",
        "The crossing's counter did not move, and connection tracking has no such flow.",
        "Look at the client's route, at what lies between, and at other rules on the gateway.",
    ),
)
