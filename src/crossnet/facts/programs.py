"""What may take packets beside routes and rules: IPsec policies, and programs and classifiers of tc and XDP."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from crossnet.facts.iproute import Words, records, words
from crossnet.facts.question import Question
from crossnet.values import Network, network

# The queues of tc (tc(8)) that take what fits: those that kernels and distributions set by themselves, and their like.
# Any other drops by its nature, or by filters that stand in it, which are not read. `noop` is one of an interface
# that is down.
_TAKING = frozenset(
    ("noqueue", "noop", "mq", "mqprio", "pfifo_fast", "pfifo", "bfifo", "pfifo_head_drop", "fq", "fq_codel")
) | {"fq_pie", "codel", "pie", "sfq", "cake", "htb", "red", "dualpi2"}


def dropping_queue(kind: str) -> bool:
    """Whether a queue of this kind may drop packets though it is not full."""
    return bool(kind) and kind not in _TAKING


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
class TcFilter:
    """One filter of tc at `ingress` or `egress` of a device; `selector` names it alone to `tc filter del dev …`."""

    hook: str
    selector: str
    may_drop: bool


def _empty() -> Mapping[str, Any]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Programs:
    """What was told of either.

    By the device: `classifiers` are the qdiscs of tc that hold filters, `filters` those that could be listed, `queues`
    the handles of their root qdiscs, where those have one.
    """

    ipsec: tuple[IpsecPolicy, ...] = ()
    classifiers: Mapping[str, str] = field(default_factory=_empty)
    filters: Mapping[str, tuple[TcFilter, ...]] = field(default_factory=_empty)
    queues: Mapping[str, str] = field(default_factory=_empty)


def parse_programs(answer: str) -> Programs:
    """What `tc qdisc show` and `ip xfrm policy` print, and between them what the qdiscs for filters hold.

    That is `empty eth0` of one without a filter, and `held eth0 ingress` before what `tc filter show` prints.
    """
    policies, classifiers, queues = list[IpsecPolicy](), dict[str, str](), dict[str, str]()
    filters, held = dict[str, list[TcFilter]](), ("", "")
    for first, *lines in records(answer):
        said = words(first)
        if said[:1] == ["qdisc"] and "dev" in said:
            device = said[said.index("dev") + 1]
            if said[1] in ("clsact", "ingress"):
                classifiers[device] = f"tc qdisc {said[1]} dev {device}"
            elif "root" in said and said[2] != "0:":
                queues[device] = said[2]
        elif said[:1] == ["empty"]:
            classifiers.pop(said[1], None)
        elif said[:1] == ["held"]:
            held = (said[1], said[2])
            filters.setdefault(held[0], [])
        elif said[:1] == ["filter"] and held[0]:
            found = _filter(held[1], said, lines)
            filters[held[0]] += [found] if found else []
        elif said[:1] == ["src"]:
            policy = _policy(said, lines)
            policies += [policy] if policy else []
    return Programs(
        tuple(policies),
        MappingProxyType(classifiers),
        MappingProxyType({device: tuple(some) for device, some in filters.items()}),
        MappingProxyType(queues),
    )


def _filter(hook: str, said: list[str], lines: Iterable[str]) -> TcFilter | None:
    """`filter protocol all pref 49152 bpf chain 0 handle 0x1 …`, and its actions below; None of a line about others.

    Each preference has a line without a handle first, and one of u32 a line for its table (tc-u32(8)).
    """
    try:
        protocol, preference = said[said.index("protocol") + 1], said[said.index("pref") + 1]
        kind = said[said.index("pref") + 2]
        rest = said[said.index(kind, said.index("pref") + 2) + 1 :]
        handle = next(rest[at + 1] for at, word in enumerate(rest[:-1]) if word in ("handle", "fh"))
    except (ValueError, IndexError, StopIteration):
        return None
    if "divisor" in rest:
        return None
    chain = rest[rest.index("chain") + 1] if "chain" in rest[:-1] else "0"
    of_chain = f" chain {chain}" if chain != "0" else ""
    selector = f"{hook} protocol {protocol} pref {preference}{of_chain} handle {handle} {kind}"
    return TcFilter(hook, selector, _may_drop(rest, lines))


# What actions of tc that do not let a packet go on are called (tc-actions(8), tc-mirred(8), tc-police(8)); a program
# of tc-bpf(8) that acts directly, and one that is an action, decide by themselves.
_TAKES = frozenset(("drop", "shot", "stolen", "trap", "police", "bpf", "direct-action")) | {
    "Redirect",
    "redirect",
}


def _may_drop(rest: Iterable[str], lines: Iterable[str]) -> bool:
    said = {word.strip("(),") for line in lines for word in words(line)}
    return bool(_TAKES & (said | {word for word in rest if word == "direct-action"}))


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


# Each costs the host a process and may load a module, so they are asked only where the part of the kernel can be there.
# Built in, it has no folder in /sys/module. Of xfrm_user the kernel has a socket for NETLINK_XFRM (6) then, which are
# listed by their protocol (netlink(7), net/netlink/af_netlink.c); af_key sets policies without it. Of sch_ingress there
# is a file where it is a module that nobody has loaded; without one nobody can tell.
_SCRIPT = r"""
xfrm() {
    [ -e /proc/net/netlink ] && [ ! -e /proc/net/pfkey ] || return 0
    while read -r _ protocol _; do
        case $protocol in 6) return 0 ;; [789] | 1?) return 1 ;; esac
    done </proc/net/netlink
    return 1
}
ingress() {
    [ ! -d /sys/module/sch_ingress ] && [ -e /proc/modules ] || return 0
    read -r release </proc/sys/kernel/osrelease || return 0
    for file in "/lib/modules/$release/kernel/net/sched/sch_ingress.ko"*; do
        [ ! -e "$file" ] || return 1
    done
}
queues() {
    for module in /sys/module/sch_*; do
        case $module in *'*' | *_fq | *_fq_codel | *_ingress) ;; *) return 0 ;; esac
    done
    return 1
}
# A clsact or ingress that holds no filter does nothing; of a block that is shared (tc(8)) others tell.
none() { # HOOK WORD…
    hook=$1
    shift
    said=$(tc filter show dev "$device" "$@" 2>&1 | head -n 400)
    [ -n "$said" ] || return 0
    case $said in filter*) printf 'held %s %s\n%s\n' "$device" "$hook" "$said" ;; esac
    return 1
}
{ ingress || queues; } && told=$(tc qdisc show 2>/dev/null) && {
    printf '%s\n' "$told"
    printf '%s\n' "$told" | while read -r _ kind _ _ device rest; do
        case "$kind $rest" in
        *_block*) ;;
        clsact*)
            empty=yes
            none ingress ingress || empty=
            none egress egress || empty=
            [ -z "$empty" ] || printf 'empty %s\n' "$device"
            ;;
        ingress*) none ingress parent ffff: && printf 'empty %s\n' "$device" ;;
        esac
    done
}
xfrm && ip xfrm policy 2>/dev/null
true
"""

PROGRAMS = Question(
    "asked for IPsec policies and tc", ("sh", "-c", _SCRIPT), parse_programs, failed=lambda _: Programs()
)
