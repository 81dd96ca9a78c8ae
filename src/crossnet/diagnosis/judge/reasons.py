"""What a kernel's reason for a drop means, and which of the findings it proves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from crossnet.diagnosis.course import Stop
from crossnet.diagnosis.drop_events import Dropped
from crossnet.diagnosis.finding import Direction, Finding
from crossnet.diagnosis.foretold import Foretold
from crossnet.netfilter.foreign import Tool
from crossnet.values import Address
from crossnet.verification.conntrack import Entry

_OF_ROUTES = (
    *("route-blackhole", "route-prohibit", "route-unreachable", "policy-rule-diverts"),
    *("no-route", "prefix-mismatch", "link-down", "address-missing", "gateway-route-elsewhere"),
)
_OF_FILTERS = (
    *("filter-rule-drop", "filter-policy-drop", "filter-reject", "conntrack-invalid", "src-output-filtered"),
    *("conntrack-table-full", "snat-ports-exhausted"),
)

# include/net/dropreason-core.h: what each can be the reason of, the likeliest first.
_MEANS: dict[str, tuple[str, ...]] = {
    "IP_INADDRERRORS": ("ip-forward-disabled", "interface-forwarding-disabled"),
    "IP_INNOROUTES": ("no-route", *_OF_ROUTES),
    "IP_OUTNOROUTES": ("no-route", *_OF_ROUTES),
    "IP_RPFILTER": ("reverse-path-filter",),
    "IP_LOCAL_SOURCE": ("martian-source",),
    "IP_INVALID_SOURCE": ("martian-source",),
    "IP_LOCALNET": ("martian-source",),
    "IP_INVALID_DEST": ("destination-is-broadcast",),
    "NETFILTER_DROP": _OF_FILTERS,
    "XFRM_POLICY": ("ipsec-policy-drop",),
    "PKT_TOO_BIG": ("mtu-exceeded", "pmtu-black-hole"),
    **dict.fromkeys(("TC_INGRESS", "TC_EGRESS", "BPF_CGROUP_EGRESS", "XDP"), ("tc-or-xdp-drop",)),
}

# Where the reason says little, the function that dropped it says more.
_MEANS_IN: dict[tuple[str, str], tuple[str, ...]] = {
    **dict.fromkeys((("IP_INHDR", "ip_forward"), ("IP_INHDR", "ip6_forward")), ("ttl-expired",)),
    **dict.fromkeys((("NOT_SPECIFIED", "ip_error"), ("NOT_SPECIFIED", "ip6_pkt_drop")), _OF_ROUTES),
    # Of the source, by kernels that have no word for it yet.
    ("NOT_SPECIFIED", "ip_rcv_finish_core"): ("martian-source", "reverse-path-filter"),
    **dict.fromkeys(
        (("NOT_SPECIFIED", "nf_queue"), ("NOT_SPECIFIED", "nf_reinject")), ("queue-without-listener",)
    ),
}


# Where connection tracking takes packets in, and where it translates their source.
_AT: dict[str, tuple[str, ...]] = {
    "conntrack-table-full": ("prerouting", "output"),
    "snat-ports-exhausted": ("postrouting", "input"),
}


def meanings(dropped: Dropped) -> tuple[str, ...]:
    """The codes that a reason can be the evidence of, the likeliest first; none where it tells of none."""
    if dropped.is_of_queue or (dropped.reason == "NOT_SPECIFIED" and "xdp" in dropped.function):
        return ("tc-or-xdp-drop",)
    if dropped.reason == "NO_SOCKET":
        # An answer on a host that should hand it on; elsewhere every answer ends so that a program has got.
        return ("reply-not-untranslated",)
    return _MEANS_IN.get((dropped.reason, dropped.function), _MEANS.get(dropped.reason, ()))


def is_of_others(dropped: Dropped, tracked: Mapping[str, Sequence[Entry]], source: Address | None) -> bool:
    """Whether it says that answers were not known, and connection tracking has answers to most echoes of `source`.

    Then somebody else's end there, perhaps of the host itself. One of its own that is answered alone tells nothing: it
    may be older than the probes, and go on.
    """
    if meanings(dropped) != ("reply-not-untranslated",):
        return False
    own = [entry for entry in tracked.get(dropped.host, ()) if entry.source == source]
    return 2 * sum(entry.replied for entry in own) > len(own)  # a large one may be lost for its length


def agreeing(dropped: Dropped, foretold: Foretold) -> list[Finding]:
    """The findings of which it can be the evidence."""
    codes = meanings(dropped)
    found = [
        each for each in foretold.of(dropped.direction) if each.host == dropped.host and each.code in codes
    ]
    if dropped.reason != "NETFILTER_DROP":
        return found
    return [each for each in found if _is_at(each, dropped)]


def _is_at(finding: Finding, dropped: Dropped) -> bool:
    """Whether the function and the hook in which a filter dropped it are the finding's."""
    if finding.chain is None:
        there = _AT.get(finding.code, ())
        return not dropped.is_of_nft and (dropped.hook is None or not there or dropped.hook in there)
    # Chains of other families are called from a bridge, too (br_netfilter).
    at_hook = dropped.hook in (None, "bridge", finding.chain.hook)
    return at_hook and (finding.chain.tool is Tool.IPTABLES_LEGACY) is not dropped.is_of_nft


def confirmed(foretold: Foretold, dropped: Dropped | None) -> Foretold:
    """The same where the one finding is certain of which a host's kernel gives the reason."""
    found = agreeing(dropped, foretold) if dropped is not None else []
    if len(found) != 1 or found[0].certain:
        return foretold
    findings = tuple(replace(each, certain=True) if each == found[0] else each for each in foretold.findings)
    return replace(foretold, findings=findings)


def cause(dropped: Dropped, foretold: Foretold, stop: Stop) -> Finding | None:
    """What the kernel's reason says stops it: a finding that it proves, or one that facts do not know."""
    found = agreeing(dropped, foretold)
    if found:
        return next((each for each in found if each.certain), found[0])
    codes = meanings(dropped)
    if not codes:
        return None
    forward = dropped.direction is Direction.FORWARD
    interface = dropped.interface or (stop.ingress if forward else stop.egress)
    words = f"its kernel says {dropped.reason} in {dropped.function}"
    is_sender = forward and dropped.interface is None
    code = "src-output-filtered" if is_sender and "src-output-filtered" in codes else codes[0]
    return Finding(code, stop.host, interface, dropped.direction, words, len(codes) == 1)


def disagrees(dropped: Dropped, foretold: Foretold) -> Sequence[str]:
    """The codes that facts have for the end of these packets where the kernel has another reason."""
    known = [each for each in foretold.of(dropped.direction) if each.host == dropped.host]
    if not known or not meanings(dropped) or agreeing(dropped, foretold):
        return ()
    return list(dict.fromkeys(each.code for each in known))
