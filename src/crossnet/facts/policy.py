"""Policy rules of both families: which routing table a packet is looked up in."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from ipaddress import ip_network
from typing import Any

from crossnet.facts.iproute import Words, dsfield, whole, words
from crossnet.facts.question import Question, refuse
from crossnet.transport.batch import Answer
from crossnet.values import Family, Network, Ports, family_of, show_network


@dataclass(frozen=True, slots=True)
class PolicyRule:
    """One `ip rule`; a packet that matches every selector is looked up, or ends, as `action` says.

    `action` is lookup, goto, nop, blackhole, unreachable or prohibit. A selector that is not set matches all
    packets; `negated` turns the whole of them. Lookups that find nothing, or only what `suppress_prefix` and
    `suppress_group` pass over, go on with the next rule. `unknown` are words that crossnet does not know: whether
    the rule matches cannot be said then. (ip-rule(8), net/core/fib_rules.c)
    """

    family: Family
    priority: int
    action: str = "lookup"
    table: str = ""  # of a lookup; as `ip` prints it, a name or a number
    target: int | None = None  # the priority that a goto goes on with
    negated: bool = False
    source: Network | None = None
    destination: Network | None = None
    iif: str = ""
    oif: str = ""
    mark: int = 0
    mark_mask: int = 0  # 0: the mark is not asked
    tos: int = 0
    protocol: str = ""  # of the transport: ip-rule's ipproto
    source_ports: Ports | None = None
    destination_ports: Ports | None = None
    users: tuple[int, int] | None = None
    tunnel: int | None = None
    l3mdev: bool = False  # the table is that of the interface's VRF
    suppress_prefix: int | None = None
    suppress_group: str = ""
    realm: str = ""
    origin: str = ""  # ip-rule's proto, who made it; nothing where the host's `ip` does not print it
    unknown: str = ""

    @property
    def is_usual(self) -> bool:
        """Whether every host has it: the kernel makes it by itself (fib_default_rules_init, fib6_rules_net_init).

        One that was not told counts too where nobody knows whether the kernel goes by it all the same.
        """
        unknown = self.unknown if self.unknown == NOT_TOLD else ""
        plain = PolicyRule(self.family, self.priority, table=self.table, origin=self.origin, unknown=unknown)
        return self == plain and (self.priority, self.table) in _USUAL

    def __str__(self) -> str:
        """As `ip rule` prints it."""
        words = [f"{self.priority}:", *(["not"] if self.negated else [])]
        words += ["from", show_network(self.source) if self.source else "all"]
        words += ["to", show_network(self.destination)] if self.destination else []
        words += ["tos", hex(self.tos)] if self.tos else []
        if self.mark_mask:
            mask = "" if self.mark_mask == 0xFFFFFFFF else f"/{self.mark_mask:#x}"
            words += ["fwmark", f"{self.mark:#x}{mask}"]
        words += ["iif", self.iif] if self.iif else []
        words += ["oif", self.oif] if self.oif else []
        words += ["ipproto", self.protocol] if self.protocol else []
        words += ["sport", str(self.source_ports)] if self.source_ports else []
        words += ["dport", str(self.destination_ports)] if self.destination_ports else []
        words += ["uidrange", "{}-{}".format(*self.users)] if self.users else []
        words += ["tun_id", str(self.tunnel)] if self.tunnel is not None else []
        words += [self.unknown] if self.unknown else []
        match self.action:
            case "lookup":
                words += ["lookup", "[l3mdev-table]" if self.l3mdev else self.table]
            case "goto":
                words += ["goto", str(self.target)]
            case action:
                words.append(action)
        words += (
            ["suppress_prefixlength", str(self.suppress_prefix)] if self.suppress_prefix is not None else []
        )
        words += ["suppress_ifgroup", self.suppress_group] if self.suppress_group else []
        return " ".join(words)


_USUAL = frozenset(((0, "local"), (32766, "main"), (32767, "default")))
# What stands as unknown in a rule that every host has, and that this one did not tell.
NOT_TOLD = "(not told: perhaps the kernel goes by it)"
_ENDS = frozenset(("nop", "blackhole", "unreachable", "prohibit"))


def parse_rules(answer: str, family: Family) -> tuple[PolicyRule, ...]:
    """What `ip -4|-6 rule` prints: `1001:	not from all fwmark 0x1/0xff lookup 1000`."""
    return tuple(_rule(line, family) for line in answer.split("\n") if line)


def told_rules(answer: str, family: Family) -> tuple[PolicyRule, ...]:
    """The rules that a host told, with those of the usual ones in doubt that it did not tell.

    A host without any rule of IPv4 routes nothing, and a tool that is broken prints nothing too. IPv6 asks for its
    two tables whatever rules were taken away, until somebody adds one (fib6_has_custom_rules, which is set when a
    rule is added; measured on 6.18), and nobody tells whether there was one.
    """
    rules = parse_rules(answer, family)
    usual = _without_tables(family)
    if rules if family is Family.V4 else not all(rule.is_usual for rule in rules):
        return rules
    missing = (rule for rule in usual if rule.priority not in {each.priority for each in rules})
    in_doubt = (replace(rule, unknown=NOT_TOLD) for rule in missing)
    return tuple(sorted((*rules, *in_doubt), key=lambda rule: rule.priority))


def _rule(line: str, family: Family) -> PolicyRule:
    said = Words(words(line))
    priority = whole(said.next().removesuffix(":"))
    found: dict[str, Any] = {"action": ""}
    unknown: list[str] = []
    while said:
        begun = said.at
        try:
            understood = _read(said, family, found)
        except ValueError:
            understood = False  # a key that is known, with a value that is not
        if not understood:
            unknown += said.left[begun : said.at]
    if not found["action"]:
        found["action"] = "nop"
        unknown = unknown or ["without an action"]
    return PolicyRule(family, priority, unknown=" ".join(unknown), **found)


def _read(said: Words, family: Family, found: dict[str, Any]) -> bool:
    """One selector or action; False where it is not known."""
    match word := said.next():
        case "not":
            found["negated"] = True
        case "from" | "to":
            place = "source" if word == "from" else "destination"
            found[place] = _network(said.next(), family)
        case "tos" | "dsfield":
            if (tos := dsfield(said.next())) is None:
                return False
            found["tos"] = tos
        case "fwmark":
            mark, slash, mask = said.next().partition("/")
            found["mark"], found["mark_mask"] = int(mark, 16), int(mask, 16) if slash else 0xFFFFFFFF
        case "iif" | "dev" | "oif":
            found["oif" if word == "oif" else "iif"] = said.next()
            said.skip("[detached]")  # no such interface now
        case "ipproto":
            found["protocol"] = said.next()
        case "sport" | "dport":
            place = "source_ports" if word == "sport" else "destination_ports"
            found[place] = _ports(said.next())
        case "uidrange":
            first, _, last = said.next().partition("-")
            found["users"] = (whole(first), whole(last))
        case "tun_id":
            found["tunnel"] = whole(said.next(), 2**64 - 1)
        case "lookup" | "table":
            table = said.next()
            if table == "[l3mdev-table]":
                found |= {"action": "lookup", "l3mdev": True}
            elif table != "unspec":  # what busybox prints for no table at all
                found |= {"action": "lookup", "table": table}
        case "suppress_prefixlength":
            found["suppress_prefix"] = whole(said.next())
        case "suppress_ifgroup":
            found["suppress_group"] = said.next()
        case "realms" | "realm":
            found["realm"] = said.next()
        case "goto":
            target = said.next()
            found |= {"action": "goto", "target": None if target == "none" else whole(target)}
            said.skip("[unresolved]")
        case "proto" | "protocol":
            found["origin"] = said.next()
        case _ if word in _ENDS:
            found["action"] = word
        case _:
            return False
    return True


def _network(word: str, family: Family) -> Network | None:
    """None where it is every address; `0/8` is a network without an address."""
    if word in ("all", "default", "any"):
        return None
    if word.startswith("0/"):
        word = ("0.0.0.0" if family is Family.V4 else "::") + word[1:]
    found = ip_network(word, strict=False)
    if family_of(found) is not family:
        raise ValueError(f"{word} is no {family.label} network")
    return found


def _ports(word: str) -> Ports:
    first, dash, last = word.partition("-")
    return Ports(whole(first), whole(last) if dash else whole(first))


# What stands as unknown in a rule of which a tool may have left out a part.
NOT_ALL_TOLD = "this ip does not tell all of a rule"


def not_sure(rules: Iterable[PolicyRule]) -> tuple[PolicyRule, ...]:
    """The rules that a tool told which leaves out what it does not know, such as `not` (measured: busybox 1.35).

    Where the kernel's own stand (0, 32766 and 32767), they are believed.
    """
    return tuple(
        rule if rule.is_usual else replace(rule, unknown=f"{rule.unknown} {NOT_ALL_TOLD}".lstrip())
        for rule in rules
    )


def _without_tables(family: Family) -> tuple[PolicyRule, ...]:
    """What a kernel does that has no policy rules (CONFIG_IP_MULTIPLE_TABLES)."""
    return PolicyRule(family, 0, table="local"), PolicyRule(family, 32766, table="main")


def _question(family: Family, script: str) -> Question[tuple[PolicyRule, ...]]:
    def failed(answer: Answer) -> tuple[PolicyRule, ...]:
        if answer.stdout.strip() or not any(words in answer.error_text for words in _NOT_IN_KERNEL):
            refuse(answer, "ip")
        return _without_tables(family)

    parse = partial(told_rules, family=family)
    return Question(f"ran `ip -{family.value} rule`", ("sh", "-c", script), parse, failed)


_NOT_IN_KERNEL = ("Operation not supported", "Address family not supported")

RULES4 = _question(Family.V4, "exec ip -4 rule")
# Of a kernel without IPv6 nothing is asked, as of its routes.
RULES6 = _question(
    Family.V6,
    "[ -e /proc/net/if_inet6 ] || { echo 'Address family not supported' >&2; exit 1; }; exec ip -6 rule",
)
