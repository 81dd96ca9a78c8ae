"""What may take packets beside routes and rules: IPsec policies, and programs and classifiers of tc and XDP."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

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
class Programs:
    """What was told of either; `classifiers` are the qdiscs of tc that hold filters, by the device."""

    ipsec: tuple[IpsecPolicy, ...] = ()
    classifiers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


def parse_programs(answer: str) -> Programs:
    """What `tc qdisc show` prints, then `empty eth0` for each of those that hold no filter, and `ip xfrm policy`."""
    policies, classifiers = list[IpsecPolicy](), dict[str, str]()
    for first, *lines in records(answer):
        said = words(first)
        if said[:1] == ["qdisc"]:
            if said[1] in ("clsact", "ingress") and "dev" in said:
                device = said[said.index("dev") + 1]
                classifiers[device] = f"tc qdisc {said[1]} dev {device}"
        elif said[:1] == ["empty"]:
            classifiers.pop(said[1], None)
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
# A clsact or ingress that holds no filter does nothing; of a block that is shared (tc(8)) others tell.
none() { said=$(tc filter show dev "$device" "$@" 2>&1 | head -n 1) && [ -z "$said" ]; }
ingress && told=$(tc qdisc show 2>/dev/null) && {
    printf '%s\n' "$told"
    printf '%s\n' "$told" | while read -r _ kind _ _ device rest; do
        case "$kind $rest" in
        *_block*) ;;
        clsact*) none ingress && none egress && printf 'empty %s\n' "$device" ;;
        ingress*) none parent ffff: && printf 'empty %s\n' "$device" ;;
        esac
    done
}
xfrm && ip xfrm policy 2>/dev/null
true
"""

PROGRAMS = Question(
    "asked for IPsec policies and tc", ("sh", "-c", _SCRIPT), parse_programs, failed=lambda _: Programs()
)
