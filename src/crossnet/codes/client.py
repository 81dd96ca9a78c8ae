"""What stops packets at the client: its routes, its own rules, its next hop."""

from __future__ import annotations

from crossnet.codes.code import Code

CLIENT = (
    Code(
        "src-no-route",
        "The client has no route to the destination.",
        "The probe could not be sent: network is unreachable.",
        "Run `crossnet apply`, or on the client `ip route add NETWORK via NEXT-HOP dev INTERFACE`.",
    ),
    Code(
        "src-route-other-next-hop",
        "The client's winning route uses a gateway or interface other than the crossing's.",
        "The client's main routing table, for the probe's destination.",
        "Run `crossnet apply`; where a more specific route of somebody else wins, remove it.",
    ),
    Code(
        "src-output-filtered",
        "A host's own rule drops what the host sends.",
        "The rules at its output hook, walked with these packets.",
        "Put a rule that accepts before that one, in its owner's own tool.",
    ),
    Code(
        "next-hop-unresolved",
        "The next hop did not answer when its address was last asked for.",
        "The neighbour is FAILED in the list of neighbours.",
        "`arping -I INTERFACE NEXT-HOP`; on the next hop, check the interface and its address.",
    ),
)
