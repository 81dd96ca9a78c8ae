"""What of a set-up by hand is wider than its crossings need, or ends at the next boot."""

from __future__ import annotations

from crossnet.codes.code import Code

ADOPTION = (
    Code(
        "snat-for-everybody",
        "A rule translates what others send too, not only the clients.",
        "A rule of SNAT or masquerade without a source (`-s`), or with a larger one than the clients have.",
        "`crossnet apply` makes a rule for the clients alone; the command that is shown then takes away the old one.",
    ),
    Code(
        "snat-by-hand",
        "A rule translates just what the crossing translates, which needs it no more.",
        "A rule of SNAT or masquerade for the clients' own addresses.",
        "Take it away with the command that is shown, when the spec is applied.",
    ),
    Code(
        "forwards-for-everybody",
        "The gateway forwards for every host on its networks, and not only for the clients.",
        "Forwarding is on, and no rule stops what no crossing names: the policy of FORWARD is ACCEPT.",
        "`fence: on`, which `crossnet adopt` writes where nothing shows that others need it.",
    ),
    Code(
        "others-forwarded",
        "The gateway shows that it forwards for others than the clients, so the spec does not keep them out.",
        "Rules that name others, such as the clients' whole network, and interfaces of docker, libvirt and the like.",
        "Name all who need it, as clients or in crossings of their own, then write `fence: on`; or leave it open.",
    ),
    Code(
        "lost-at-boot",
        "What the crossing needs is there now, and nothing brings it back at the next boot.",
        "No file of the host sets it.",
        "`crossnet apply` writes it in the way of that distribution.",
    ),
    Code(
        "default-route-by-gateway",
        "Everything that a client has no other route to goes over the gateway.",
        "Its default route, which has an address of the gateway as next hop.",
        "`crossnet adopt` with `--to` for the networks that are needed; then a default route by its own router.",
    ),
    Code(
        "pairs-wider",
        "A port of the gateway may send packets that come from more addresses than the crossing needs.",
        "Its allowed address pairs.",
        "The command that is shown, when the spec is applied and has set the pairs that are needed.",
    ),
)
