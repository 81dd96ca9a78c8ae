"""What is wrong with the translation of addresses."""

from __future__ import annotations

from crossnet.codes.code import Code

NAT = (
    Code(
        "snat-missing",
        "Nothing gives packets a source that their destination is sure to find a way back to.",
        "They leave the gateway with the client's source, which is in none of the gateway's networks there.",
        "Write `translate: snat` and run `crossnet apply`, or give the destination a route to the clients through the "
        "gateway.",
    ),
    Code(
        "snat-skipped",
        "A rule that should translate the source is there, and these packets do not meet it.",
        "They leave untranslated, and the rule does not match: another interface, source, destination or protocol, a "
        "verdict before it, or connection tracking is off for them.",
        "Correct that one match in its owner's own tool; move the rule up where another one comes first.",
    ),
    Code(
        "snat-stale-conntrack",
        "A connection that is older than the rule keeps what it had, so the rule does nothing for it.",
        "`conntrack -L` shows the flow without the translation; new flows are translated.",
        "`conntrack -D -s CLIENT -d DESTINATION` for this flow alone; do not flush the table.",
    ),
    Code(
        "snat-address-not-local",
        "The gateway translates, or would translate, to an address that is not its own: replies never come back.",
        "The address against the gateway's own, which a plan lists as candidates; requests leave with it, and the "
        "destination's question for it stays unanswered.",
        "Use one of the gateway's addresses, or leave the choice to `translate: snat`.",
    ),
    Code(
        "snat-address-unsuitable",
        "The gateway translates to an address of its own that the destination cannot answer.",
        "The address is of another network than the egress's, or of an interface on which the destination does not "
        "find it; requests leave with it, and no answer comes.",
        "Correct the address in the rule; with crossnet, `translate: {snat: ADDRESS}`.",
    ),
    Code(
        "snat-ports-exhausted",
        "No port is left with which another flow could be translated.",
        "`conntrack -S`: insert_failed rises; the range of ports or addresses in the rule, against the flows that hold "
        "them.",
        "Widen the range: more ports, or more addresses.",
    ),
    Code(
        "dnat-captures",
        "A rule gives packets another destination before they are routed.",
        "The rule that is named, walked with these packets; the destination changes on the gateway. Even an answer may "
        "come, from somebody else.",
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
