"""What may take packets beside routes and rules: IPsec policies, and programs and classifiers of tc and XDP."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from crossnet.facts.iproute import Words, records, words
from crossnet.facts.question import Question
from crossnet.values import Network, network


@dataclass(frozen=True, slots=True)
class IpsecPolicy:
    """One policy of `ip xfrm policy`: `direction` is in, out or fwd, `text` its selector and action as `ip` prints it.

    Protocol and ports of the selector narrow it further, and stand only in the text.
    """

    direction: str
    source: Network
    destination: Network
    text: str


@dataclass(frozen=True, slots=True)
class Programs:
    """What was told of either; `classifiers` are the qdiscs of tc that hold filters, by the device."""

    ipsec: tuple[IpsecPolicy, ...] = ()
    classifiers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


def parse_programs(answer: str) -> Programs:
    """What `tc qdisc show` and behind it `ip xfrm policy` print."""
    policies, classifiers = list[IpsecPolicy](), dict[str, str]()
    for first, *lines in records(answer):
        said = words(first)
        if said[:1] == ["qdisc"]:
            if said[1] in ("clsact", "ingress") and "dev" in said:
                device = said[said.index("dev") + 1]
                classifiers[device] = f"tc qdisc {said[1]} dev {device}"
        elif said[:1] == ["src"]:
            policy = _policy(said, lines)
            policies += [policy] if policy else []
    return Programs(tuple(policies), MappingProxyType(classifiers))


def _policy(selector: list[str], lines: Iterable[str]) -> IpsecPolicy | None:
    """`src 10.0.0.0/24 dst 10.1.0.0/24 proto tcp`, and `dir out action block priority 0 ptype main` below."""
    said = Words(selector)
    sides = {}
    while said:
        word = said.next()
        if word in ("src", "dst"):
            sides[word] = network(said.next())
    for line in lines:
        below = words(line)
        # `socket in` is a socket's own.
        if below[:1] == ["dir"] and below[1] in ("in", "out", "fwd"):
            more = " ".join(below[: below.index("ptype")] if "ptype" in below else below)
            return IpsecPolicy(below[1], sides["src"], sides["dst"], f"{' '.join(selector)} {more}")
    return None


# Asked only where the part of the kernel is there: its module, or a kernel without modules, of which nobody can tell.
_SCRIPT = r"""
there() { [ -d "/sys/module/$1" ] || [ ! -e /proc/modules ]; }
there sch_ingress && tc qdisc show 2>/dev/null
there xfrm_user && ip xfrm policy 2>/dev/null
true
"""

PROGRAMS = Question(
    "asked for IPsec policies and tc", ("sh", "-c", _SCRIPT), parse_programs, failed=lambda _: Programs()
)
