"""What is wrong with the translation of addresses."""

from __future__ import annotations

from crossnet.codes.code import Code

NAT = (
    Code(
        "snat-missing",
        "Nothing gives packets a source that their destination is sure to find a way back to.",
        "They leave with a source that is in none of the gateway's networks there.",
        "Write `translate: snat`, or give the destination a route to the clients through the gateway.",
    ),
    Code(
        "snat-address-not-local",
        "The gateway would translate to an address that is not its own: replies would never come back.",
        "The gateway's addresses, listed as candidates.",
        "Use one of them, or leave the choice to `translate: snat`.",
    ),
    Code(
        "dnat-captures",
        "A rule gives packets another destination before they are routed.",
        "The rule that is named, walked with these packets.",
        "Exclude the crossing's clients or destinations in its owner's own tool.",
    ),
    Code(
        "reply-not-untranslated",
        "Answers come to an address of a host on the way, and nothing translates it back to the client's.",
        "A translated flow whose answers connection tracking does not see as its own: notrack, or another"
        " zone.",
        "Exclude the crossing from the rule with `notrack` or a zone, in both directions alike.",
    ),
)
