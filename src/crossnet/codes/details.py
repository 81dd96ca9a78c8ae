"""What an answer leaves open: honesty about it, never a cause."""

from __future__ import annotations

from crossnet.codes.code import Code

DETAILS = (
    Code(
        "static-dynamic-disagree",
        "What was seen differs from what routes, rules and settings say, or from what the spec promises.",
        "A packet passed where a rule should stop it, or the other way round; or the crossing's counter did not move, "
        "or connection tracking shows another source.",
        "Trust what was seen. Look at the client's routes and at other translation rules on the gateway; where they "
        "explain nothing, please report it.",
    ),
    Code(
        "unmodelled-rule",
        "A rule has a match or an action that crossnet does not know, so both outcomes were kept open.",
        "The rule that is named, on the way of these packets.",
        "Read that rule; what was seen of the packets counts more.",
    ),
    Code(
        "unmodelled-hook",
        "Something beside the rules works on the packets, and crossnet does not read what it does.",
        "A filter of tc, an XDP program, a flowtable or ipvs on the way.",
        "Ask its owner; without it, ask again.",
    ),
    Code(
        "facts-missing",
        "A host, or a part of what there is to know about it, could not be read.",
        "The error that stands beside it.",
        "Give crossnet the access that it names, and ask again.",
    ),
    Code(
        "facts-stale",
        "Routes, rules or settings were read before something changed.",
        "What was seen of the packets is later than what was read, and differs from it.",
        "Ask again when nobody changes the host.",
    ),
    Code(
        "host-not-observed",
        "Nobody watched the packets on a host.",
        "The host is not in the spec, cannot be reached, or has no tcpdump.",
        "Add the host to the question, or install tcpdump there; until then absence there means nothing.",
    ),
    Code(
        "observer-lost-packets",
        "A capture missed packets, so that one which was not seen may still have passed.",
        "tcpdump tells that the kernel dropped some, or connection tracking knows a flow of which it printed nothing.",
        "Ask again when the host has less to do.",
    ),
    Code(
        "offload-hides-packet",
        "The network card or a flowtable handles packets where a capture does not see them as they are on the wire.",
        "Segments longer than the MTU in a capture, or a flowtable on the way.",
        "`ethtool -K INTERFACE gro off tso off gso off` while you look, if the host can bear it.",
    ),
    Code(
        "clock-not-aligned",
        "The hosts' clocks could not be compared well enough to put what happened in order.",
        "Too few packets were seen on both hosts.",
        "Trust the order on each host alone.",
    ),
    Code(
        "assumed-conntrack-new",
        "The walk through the rules took the packets for the first of a new connection.",
        "Nothing: packets of an older connection may meet other rules.",
        "Nothing; a probe always begins a new connection.",
    ),
    Code(
        "return-path-not-checked",
        "The way back was not looked at.",
        "The request did not arrive, or what the answer meets is not known.",
        "Mend what stops the request, then ask again.",
    ),
    Code(
        "reason-not-specified-by-kernel",
        "The kernel dropped the packet and gave no reason for it.",
        "The drop event of the kernel has the reason NOT_SPECIFIED; before Linux 5.17 it has none at all.",
        "Look at what the host has at that place: special routes, queues, XDP.",
    ),
    Code(
        "insufficient-privilege",
        "Something that needs root could not be looked at.",
        "The user that crossnet is on the host may not read it, and sudo does not help.",
        "Reach the host as root or with `become: sudo`, and ask again.",
    ),
)
