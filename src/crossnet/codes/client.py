"""What stops packets at the client: its routes, its own rules, its next hop."""

from __future__ import annotations

from crossnet.codes.code import Code

CLIENT = (
    Code(
        "src-no-route",
        "The client has no route to the destination.",
        "The client's routing tables hold none, and sending fails at once: network is unreachable.",
        "Run `crossnet apply`, or on the client `ip route add NETWORK via NEXT-HOP dev INTERFACE`.",
    ),
    Code(
        "src-route-other-next-hop",
        "The client's winning route uses a gateway or interface other than the crossing's.",
        "The route that `ip route get DESTINATION` shows on the client: a more specific one, one with a lower metric, "
        "or one that a policy rule leads to. Packets, or questions for a neighbour, leave that way.",
        "Run `crossnet apply`; where a more specific route of somebody else wins, remove it, and where a policy "
        "rule does, `ip rule del pref NUMBER`.",
    ),
    Code(
        "src-route-on-link",
        "The client's route has no next hop, so the client looks for the destination on its own segment.",
        "A route with `dev` and without `via`, or an address whose network is too large; the client asks for the "
        "destination's own address by ARP, and nobody answers.",
        "`ip route replace NETWORK via NEXT-HOP dev INTERFACE`; correct the prefix length of an address that is "
        "too wide.",
    ),
    Code(
        "src-address-unsuitable",
        "The client sends from an address to which the gateway or the destination cannot answer.",
        "The source that `ip route get DESTINATION` shows, against the client's addresses and the gateway's routes.",
        "`ip route change NETWORK via NEXT-HOP dev INTERFACE src ADDRESS`, or bind the program to that address.",
    ),
    Code(
        "src-output-filtered",
        "A host's own rule drops or refuses what the host sends.",
        "The rules at its output hook, walked with these packets; sending may fail with `Operation not permitted`, "
        "and nothing leaves.",
        "Put a rule that accepts before that one, in its owner's own tool.",
    ),
    Code(
        "next-hop-unresolved",
        "The next hop does not answer when its address is asked for.",
        "The neighbour is FAILED in the list of neighbours, and questions for it go out without an answer.",
        "`arping -I INTERFACE NEXT-HOP`; on the next hop, check the interface, its address and the port behind it. "
        "A strict rp_filter there looks the same: it leaves such questions unanswered too.",
    ),
)
